/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/driver/shown_link.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

int shown_link_put(struct root_dir *sysroot, const char *path, const char *to, bool *ret_changed,
                   struct err **err) {
        char is[PATH_MAX];
        const char *slash = strrchr(path, '/');
        _cleanup_(x_freep) char *folder = str_dup_n(path, slash && slash > path ? (size_t)(slash - path) : 1);
        const char *name = slash ? slash + 1 : path;
        int r = root_dir_make_parents(sysroot, path);
        if (!folder)
                return err_set_errno(err, ENOMEM, "link %s", path);
        if (r < 0)
                return err_set_errno(err, -r, "folders of %s", path);
        _cleanup_(x_closep) int fd =
                root_dir_openat(sysroot, str_eq(folder, "/") ? "." : folder, O_RDONLY | O_DIRECTORY, 0);
        if (fd < 0)
                return err_set_errno(err, -fd, "folder of %s", path);
        ssize_t n = readlinkat(fd, name, is, sizeof(is) - 1);
        if (n >= 0) {
                is[n] = '\0';
                if (str_eq(is, to))
                        return 0;
        }
        _cleanup_(x_freep) char *fresh = str_format(".%s.skerry-new", name);
        if (!fresh)
                return err_set_errno(err, ENOMEM, "link %s", path);
        (void)unlinkat(fd, fresh, 0);
        if (symlinkat(to, fd, fresh) < 0)
                return err_set_errno(err, errno, "link %s", path);
        if (renameat(fd, fresh, fd, name) < 0) {
                int error = errno;
                (void)unlinkat(fd, fresh, 0);
                return err_set_errno(err, error, "put the link %s in place", path);
        }
        if (fsync(fd) < 0)
                return err_set_errno(err, errno, "link %s", path);
        *ret_changed = true;
        return 0;
}
