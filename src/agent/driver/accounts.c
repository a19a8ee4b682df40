/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/driver/accounts.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>

#include "base/str.h"

#define ACCOUNTS_FILE_MAX ((size_t)4 << 20)

static bool is_whole_system(struct root_dir *sysroot) {
        return str_eq(root_dir_path(sysroot), "/");
}

/* A number that a uid_t holds; the last one means "leave" to the system calls. */
static bool is_number(const char *name, uint32_t *ret) {
        uint64_t n;
        if (str_to_u64(name, &n) < 0 || n >= UINT32_MAX)
                return false;
        *ret = (uint32_t)n;
        return true;
}

/* Field `index` (from 0) of a line of fields parted by ':', as a number. */
static bool line_number(const char *line, size_t len, unsigned index, uint32_t *ret) {
        const char *end = line + len;
        for (; index > 0; index--) {
                line = memchr(line, ':', (size_t)(end - line));
                if (!line)
                        return false;
                line++;
        }
        const char *stop = memchr(line, ':', (size_t)(end - line));
        _cleanup_(x_freep) char *text = str_dup_n(line, (size_t)((stop ? stop : end) - line));
        return text && is_number(text, ret);
}

/* Looks a name up in the sysroot's passwd or group file: both have the number third. */
static int look_up(struct root_dir *sysroot, const char *file, const char *what, const char *name,
                   uint32_t *ret_third, uint32_t *ret_fourth, struct err **err) {
        _cleanup_(x_freep) char *text = NULL;
        size_t len, name_len = strlen(name);
        int r = root_dir_read(sysroot, file, ACCOUNTS_FILE_MAX, &text, &len, NULL, NULL);
        if (r < 0)
                return err_set(err, ENOENT,
                               "%s '%s' cannot be looked up: %s%s cannot be read (%s); use a number instead",
                               what, name, root_dir_path(sysroot), file, strerror(-r));
        for (const char *line = text; line < text + len;) {
                const char *newline = memchr(line, '\n', (size_t)(text + len - line));
                size_t n = newline ? (size_t)(newline - line) : (size_t)(text + len - line);
                if (n > name_len && line[name_len] == ':' && memcmp(line, name, name_len) == 0 &&
                    line_number(line, n, 2, ret_third)) {
                        if (ret_fourth && !line_number(line, n, 3, ret_fourth))
                                *ret_fourth = *ret_third;
                        return 0;
                }
                line += n + 1;
        }
        return err_set(err, ENOENT, "%s '%s' is not in %s%s", what, name, root_dir_path(sysroot), file);
}

int accounts_user(struct root_dir *sysroot, const char *name, uid_t *ret_uid, gid_t *ret_gid,
                  struct err **err) {
        uint32_t uid, gid;
        if (is_number(name, &uid)) {
                gid = uid;
        } else if (str_eq(name, "root")) {
                uid = gid = 0;
        } else if (is_whole_system(sysroot)) {
                errno = 0;
                const struct passwd *p = getpwnam(name);
                if (!p)
                        return err_set(err, ENOENT, "there is no user '%s' on this machine", name);
                uid = p->pw_uid;
                gid = p->pw_gid;
        } else {
                int r = look_up(sysroot, "/etc/passwd", "user", name, &uid, &gid, err);
                if (r < 0)
                        return r;
        }
        *ret_uid = uid;
        *ret_gid = gid;
        return 0;
}

int accounts_group(struct root_dir *sysroot, const char *name, gid_t *ret_gid, struct err **err) {
        uint32_t gid;
        if (is_number(name, &gid)) {
                *ret_gid = gid;
                return 0;
        }
        if (str_eq(name, "root")) {
                *ret_gid = 0;
                return 0;
        }
        if (is_whole_system(sysroot)) {
                const struct group *g = getgrnam(name);
                if (!g)
                        return err_set(err, ENOENT, "there is no group '%s' on this machine", name);
                *ret_gid = g->gr_gid;
                return 0;
        }
        int r = look_up(sysroot, "/etc/group", "group", name, &gid, NULL, err);
        if (r < 0)
                return r;
        *ret_gid = gid;
        return 0;
}
