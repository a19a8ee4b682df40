/* SPDX-License-Identifier: Apache-2.0 */
/* Git over ssh, by OpenSSH's client; see git_transport.h. */
#pragma once

#include "server/git_transport.h"

int git_ssh_subtransport(git_smart_subtransport **out, git_transport *owner, void *access);
