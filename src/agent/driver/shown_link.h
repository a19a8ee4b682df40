/* SPDX-License-Identifier: Apache-2.0 */
/* Symbolic links beneath the sysroot that show what lies elsewhere, replaced in one step. */
#pragma once

#include "base/fs.h"

/* *ret_changed: it was not so before (left alone otherwise). */
int shown_link_put(struct root_dir *sysroot, const char *path, const char *to, bool *ret_changed,
                   struct err **err);
