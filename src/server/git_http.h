/* SPDX-License-Identifier: Apache-2.0 */
/* Git's smart HTTP (git: Documentation/gitprotocol-http.txt) through libcurl; see git_transport.h. */
#pragma once

#include "server/git_transport.h"

int git_http_subtransport(git_smart_subtransport **out, git_transport *owner, void *access);
