/* SPDX-License-Identifier: Apache-2.0 */
/* Inside payload_pack(): one function for each type that needs more than a copy. */
#pragma once

#include "repo/payload.h"

int payload_pack_oci(const char *path, const char *platform, int64_t time, int fd,
                     const struct payload_progress *p, struct err **err);
