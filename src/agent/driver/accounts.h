/* SPDX-License-Identifier: Apache-2.0 */
/* User and group names to numbers. With a sysroot of its own the names are those of the sysroot's
 * etc/passwd and etc/group, since the files are for the system that lives there; a plain number stands
 * for itself, and `root` is 0 everywhere. */
#pragma once

#include <sys/types.h>

#include "base/fs.h"

/* -ENOENT names the user and the file that was looked at. */
int accounts_user(struct root_dir *sysroot, const char *name, uid_t *ret_uid, gid_t *ret_gid,
                  struct err **err);
int accounts_group(struct root_dir *sysroot, const char *name, gid_t *ret_gid, struct err **err);
