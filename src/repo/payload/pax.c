/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/payload/pax.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"

const char *pax_kind_name(enum pax_kind k) {
        static const char *const names[] = {
                [PAX_FILE] = "file",
                [PAX_HARD_LINK] = "hard link",
                [PAX_SYMBOLIC_LINK] = "symbolic link",
                [PAX_CHARACTER_DEVICE] = "character device",
                [PAX_BLOCK_DEVICE] = "block device",
                [PAX_FOLDER] = "folder",
                [PAX_FIFO] = "named pipe",
        };
        return (size_t)k < ARRAY_SIZE(names) ? names[k] : "unknown";
}

void pax_entry_done(struct pax_entry *e) {
        free(e->path);
        free(e->link);
        for (size_t i = 0; i < e->n_attributes; i++) {
                free(e->attributes[i].name);
                free(e->attributes[i].value);
        }
        free(e->attributes);
        free(e->extents);
        memset(e, 0, sizeof(*e));
}

int pax_entry_add_attribute(struct pax_entry *e, const char *name, const void *value, size_t len) {
        if (e->n_attributes >= PAX_ATTRIBUTES_MAX)
                return -E2BIG;
        size_t at = 0;
        while (at < e->n_attributes && strcmp(e->attributes[at].name, name) < 0)
                at++;
        if (at < e->n_attributes && str_eq(e->attributes[at].name, name))
                return -EEXIST;
        _cleanup_(x_freep) char *name_copy = str_dup(name), *value_copy = malloc(len + 1);
        struct pax_attribute *more = realloc(e->attributes, (e->n_attributes + 1) * sizeof(*more));
        if (more)
                e->attributes = more;
        if (!name_copy || !value_copy || !more)
                return -ENOMEM;
        if (len > 0)
                memcpy(value_copy, value, len);
        value_copy[len] = '\0';
        memmove(more + at + 1, more + at, (e->n_attributes - at) * sizeof(*more));
        more[at] = (struct pax_attribute){TAKE_PTR(name_copy), TAKE_PTR(value_copy), len};
        e->n_attributes++;
        return 0;
}

bool pax_attribute_travels(const char *name) {
        static const char *const system[] = {"security.capability", "security.ima", "system.posix_acl_access",
                                             "system.posix_acl_default"};
        const char *rest = str_after_prefix(name, "user.");
        if (rest)
                return *rest != '\0' && !strchr(rest, '=');
        for (size_t i = 0; i < ARRAY_SIZE(system); i++)
                if (str_eq(name, system[i]))
                        return true;
        return false;
}

bool pax_path_is_valid(const char *path) {
        size_t depth = 0;
        if (strnlen(path, PAX_PATH_MAX + 1) > PAX_PATH_MAX)
                return false;
        for (const char *p = path;; p++) {
                size_t n = strcspn(p, "/");
                if (n == 0 || n > 255 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.') ||
                    ++depth > PAX_DEPTH_MAX)
                        return false;
                p += n;
                if (!*p)
                        return true;
        }
}

const char *pax_shown(const char *path, char out[256]) {
        size_t i = 0;
        for (; i < 252 && path[i]; i++)
                out[i] = (unsigned char)path[i] < 0x20 || path[i] == 0x7f ? '?' : path[i];
        if (path[i]) {
                memcpy(out + i, "...", 4);
                return out;
        }
        out[i] = '\0';
        return out;
}
