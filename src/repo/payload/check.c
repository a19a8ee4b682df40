/* SPDX-License-Identifier: Apache-2.0 */
/* Is a folder still what its payload says? */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/str.h"
#include "base/table.h"
#include "repo/payload.h"
#include "repo/payload/pax.h"

#define PIECE (256u << 10)
#define VALUE_MAX (64u << 10)

struct checking {
        struct pax_reader reader;
        struct root_dir *folder;
        bool quick;
        unsigned differ, found;
        char *first;
        size_t first_size;
        char *piece, *other;
};

static void differs(struct checking *c, const char *path, const char *how) {
        char shown[256];
        if (c->differ++ == 0 && c->first && c->first_size > 0)
                (void)snprintf(c->first, c->first_size, "%s: %s", pax_shown(path, shown), how);
}

/* 1: the same; 0: not. */
static int is_same_content(struct checking *c, int fd, const struct pax_entry *e, struct err **err) {
        int64_t from = e->data, at = 0;
        for (size_t i = 0; at < e->size;) {
                /* Holes read as zeros. */
                bool data = i < e->n_extents && at >= e->extents[i].offset;
                int64_t end = data               ? e->extents[i].offset + e->extents[i].length
                              : i < e->n_extents ? e->extents[i].offset
                                                 : e->size;
                size_t n = (size_t)MIN(end - at, (int64_t)PIECE);
                if (data) {
                        int r = pax_read_at(&c->reader, from, c->piece, n, err);
                        if (r < 0)
                                return r;
                        from += (int64_t)n;
                } else {
                        memset(c->piece, 0, n);
                }
                for (size_t k = 0; k < n;) {
                        ssize_t got = pread(fd, c->other, n - k, at + (int64_t)k);
                        if (got < 0 && errno == EINTR)
                                continue;
                        if (got <= 0 || memcmp(c->other, c->piece + k, (size_t)got) != 0)
                                return 0;
                        k += (size_t)got;
                }
                at += (int64_t)n;
                if (data && at == end)
                        i++;
        }
        return 1;
}

static bool has_attributes(struct checking *c, int fd, const struct pax_entry *e) {
        for (size_t i = 0; i < e->n_attributes; i++) {
                const struct pax_attribute *a = &e->attributes[i];
                /* The others are there only where owners were kept. */
                if (!str_has_prefix(a->name, "user."))
                        continue;
                ssize_t n = fgetxattr(fd, a->name, c->other, VALUE_MAX);
                if (n != (ssize_t)a->len || memcmp(c->other, a->value, a->len) != 0)
                        return false;
        }
        return true;
}

static int check_opened(struct checking *c, const struct pax_entry *e, const char **ret_how,
                        struct err **err) {
        int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
        _cleanup_(x_closep) int fd = root_dir_openat(c->folder, e->path, flags, 0);
        if (fd < 0) {
                *ret_how = "it cannot be read";
                return 0;
        }
        if (!has_attributes(c, fd, e)) {
                *ret_how = "its extended attributes differ";
                return 0;
        }
        if (e->kind != PAX_FILE)
                return 0;
        int r = is_same_content(c, fd, e, err);
        if (r == 0)
                *ret_how = "its content differs";
        return r < 0 ? r : 0;
}

static bool is_kind(const struct stat *st, enum pax_kind kind) {
        static const mode_t types[] = {
                [PAX_FILE] = S_IFREG,          [PAX_HARD_LINK] = S_IFREG,
                [PAX_SYMBOLIC_LINK] = S_IFLNK, [PAX_CHARACTER_DEVICE] = S_IFCHR,
                [PAX_BLOCK_DEVICE] = S_IFBLK,  [PAX_FOLDER] = S_IFDIR,
                [PAX_FIFO] = S_IFIFO,
        };
        return (st->st_mode & S_IFMT) == types[kind];
}

static int stat_beneath(struct checking *c, const char *path, struct stat *ret) {
        _cleanup_(x_closep) int fd = root_dir_openat(c->folder, path, O_PATH | O_NOFOLLOW, 0);
        if (fd < 0)
                return fd;
        return fstat(fd, ret) < 0 ? -errno : 0;
}

static int read_link(struct checking *c, const char *path, char text[PAX_PATH_MAX + 1]) {
        _cleanup_(x_closep) int fd = root_dir_openat(c->folder, path, O_PATH | O_NOFOLLOW, 0);
        ssize_t n = fd < 0 ? -1 : readlinkat(fd, "", text, PAX_PATH_MAX);
        text[MAX(n, (ssize_t)0)] = '\0';
        return n < 0 ? -EINVAL : 0;
}

static int check_entry(struct checking *c, const struct pax_entry *e, const char **ret_how,
                       struct err **err) {
        struct stat st, linked;
        char text[PAX_PATH_MAX + 1];
        if (stat_beneath(c, e->path, &st) < 0) {
                *ret_how = "it is missing";
                return 0;
        }
        c->found++;
        if (!is_kind(&st, e->kind)) {
                *ret_how = "it is of another kind";
                return 0;
        }
        if (e->kind == PAX_SYMBOLIC_LINK) {
                if (read_link(c, e->path, text) < 0 || !str_eq(text, e->link))
                        *ret_how = "it links to something else";
                return 0;
        }
        if (e->kind == PAX_HARD_LINK) { /* one file has one mode: that of the entry with the content */
                if (stat_beneath(c, e->link, &linked) < 0 || linked.st_ino != st.st_ino ||
                    linked.st_dev != st.st_dev)
                        *ret_how = "it is not linked any more";
                return 0;
        }
        mode_t mode = st.st_mode & 07777;
        if (mode != e->mode && mode != (e->mode & 01777)) {
                *ret_how = "its mode differs";
                return 0;
        }
        if (e->kind == PAX_FILE && st.st_size != e->size) {
                *ret_how = "its size differs";
                return 0;
        }
        if ((e->kind == PAX_CHARACTER_DEVICE || e->kind == PAX_BLOCK_DEVICE) &&
            st.st_rdev != makedev(e->major, e->minor)) {
                *ret_how = "it is another device";
                return 0;
        }
        if (c->quick || (e->kind != PAX_FILE && e->kind != PAX_FOLDER))
                return 0;
        return check_opened(c, e, ret_how, err);
}

static int check_entries(struct checking *c, struct err **err) {
        for (;;) {
                struct pax_entry e = {0};
                const char *how = NULL;
                int r = pax_read_entry(&c->reader, &e, err);
                if (r <= 0)
                        return r;
                r = check_entry(c, &e, &how, err);
                if (how)
                        differs(c, e.path, how);
                pax_entry_done(&e);
                if (r < 0)
                        return r;
        }
}

static int count(void *arg, const char *path, const struct stat *st) {
        unsigned *n = arg;
        (*n)++;
        return 0;
}

struct search {
        struct checking *c;
        struct table *known;
};

static int find_unknown(void *arg, const char *path, const struct stat *st) {
        struct search *s = arg;
        if (table_get(s->known, path))
                return 0;
        differs(s->c, path, "it is not of the artifact");
        return 0;
}

/* Only when there is more than there should be are all names held in memory, to say which. */
static int check_more(struct checking *c, struct err **err) {
        unsigned there = 0;
        int r = root_dir_walk(c->folder, "", count, &there, err);
        if (r < 0 || there <= c->found)
                return r;
        struct search s = {.c = c, .known = table_new(NULL)};
        pax_reader_seek(&c->reader, 0);
        while (s.known) {
                struct pax_entry e = {0};
                r = pax_read_entry(&c->reader, &e, err);
                if (r > 0 && table_set(s.known, e.path, c) < 0)
                        r = err_set_errno(err, ENOMEM, "check the folder");
                pax_entry_done(&e);
                if (r <= 0)
                        break;
        }
        if (!s.known)
                r = err_set_errno(err, ENOMEM, "check the folder");
        if (r == 0)
                r = root_dir_walk(c->folder, "", find_unknown, &s, err);
        table_free(s.known);
        return r;
}

int payload_check_tree(int payload_fd, struct root_dir *folder, bool quick, unsigned *ret_differ, char *first,
                       size_t first_size, struct err **err) {
        struct checking c = {.folder = folder, .quick = quick, .first = first, .first_size = first_size};
        c.piece = malloc(PIECE);
        c.other = malloc(PIECE);
        if (first && first_size > 0)
                first[0] = '\0';
        int r = c.piece && c.other ? pax_reader_init(&c.reader, payload_fd, err)
                                   : err_set_errno(err, ENOMEM, "check the folder");
        if (r == 0)
                r = check_entries(&c, err);
        if (r == 0)
                r = check_more(&c, err);
        pax_reader_done(&c.reader);
        free(c.piece);
        free(c.other);
        if (r < 0)
                return err_wrap_code(err, r, "check %s", root_dir_path(folder));
        *ret_differ = c.differ;
        return 0;
}
