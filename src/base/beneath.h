/* SPDX-License-Identifier: Apache-2.0 */
/* Opening names that cannot lead out of a folder: not by "..", not by a symlink, whoever renames meanwhile.
 *
 * The kernel does it by openat2(RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS). Where there is none (Linux before
 * 5.6, seccomp filters of container runtimes, user-mode emulation) the same walk is done here, a component at
 * a time. Both give the same errors:
 *   -EXDEV  the path is absolute, or leaves the folder by "..", or meets a symlink with an absolute target
 *   -ELOOP  more than 40 symlinks; a magic link of /proc; a symlink where none may be
 *   -EAGAIN others kept moving the folders of the path for as long as it was tried
 * and what open(2) gives. */
#pragma once

#include <linux/openat2.h>
#include <stdint.h>
#include <sys/types.h>

/* Opens path beneath the folder dirfd: flags as open(2), O_CLOEXEC is added; mode counts where a file is
 * made. resolve: 0, or RESOLVE_NO_SYMLINKS (-ELOOP on any that would be followed), or RESOLVE_NO_XDEV (-EXDEV
 * on a mounted file system, bind mounts included), or both. Returns a descriptor or -Exxx. */
int open_beneath(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve);

/* The two ways, apart: -ENOSYS or -EPERM from the first is what open_beneath() takes the second for. */
int open_beneath_by_kernel(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve);
int open_beneath_by_hand(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve);
