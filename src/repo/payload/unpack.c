/* SPDX-License-Identifier: Apache-2.0 */
/* A tree payload onto a disk. Each name is made in a folder that was opened component by component, links
 * never followed: so an archive can only reach what it made itself, below the folder it was given. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/str.h"
#include "repo/payload.h"
#include "repo/payload/pax.h"

#define PIECE (256u << 10)
#define BYTES_MAX ((int64_t)64 << 30)
#define ENTRIES_MAX ((int64_t)4 << 20)
#define FOLDERS_MAX ((size_t)1 << 20)

struct unpacking {
        struct pax_reader reader;
        const struct payload_unpack_options *options;
        int root;
        int folder; /* of the last entry, so that its neighbours need not be looked for */
        char *folder_path;
        int64_t bytes_left, entries_left;
        int64_t *folders; /* where their headers are: they get their attributes last, the deepest first */
        size_t n_folders, cap_folders;
        char *piece;
};

/* The folder that path lies in, opened; a borrowed descriptor. */
static int open_parent(struct unpacking *u, const char *path, const char **ret_name, struct err **err) {
        const char *slash = strrchr(path, '/');
        *ret_name = slash ? slash + 1 : path;
        if (!slash)
                return u->root;
        size_t len = (size_t)(slash - path);
        if (u->folder_path && strlen(u->folder_path) == len && memcmp(u->folder_path, path, len) == 0)
                return u->folder;
        _cleanup_(x_freep) char *parent = str_dup_n(path, len), *rest = str_dup(parent);
        _cleanup_(x_closep) int at = -1;
        if (!parent || !rest)
                return err_set_errno(err, ENOMEM, "unpack");
        for (char *p = rest; p;) {
                char *end = strchr(p, '/');
                if (end)
                        *end = '\0';
                int next = openat(at >= 0 ? at : u->root, p, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (next < 0)
                        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP
                                       ? err_set(err, EINVAL, "it lies in no folder of the archive")
                                       : err_set_errno(err, errno, "open the folder that it lies in");
                if (at >= 0)
                        (void)close(at);
                at = next;
                p = end ? end + 1 : NULL;
        }
        if (u->folder >= 0)
                (void)close(u->folder);
        free(u->folder_path);
        u->folder = TAKE_FD(at);
        u->folder_path = TAKE_PTR(parent);
        return u->folder;
}

/* ---- attributes */

static int set_attributes(const struct unpacking *u, int fd, const struct pax_entry *e, struct err **err) {
        bool keep = u->options->keep_owner;
        /* Owner first: changing it takes set-user-id bits and capabilities away. */
        if (keep && fchown(fd, (uid_t)e->uid, (gid_t)e->gid) < 0)
                return err_set_errno(err, errno, "set its owner");
        for (size_t i = 0; i < e->n_attributes; i++) {
                const struct pax_attribute *a = &e->attributes[i];
                if (!keep && !str_has_prefix(a->name, "user."))
                        continue;
                if (fsetxattr(fd, a->name, a->value, a->len, 0) < 0)
                        return err_set_errno(err, errno, "set the extended attribute %s", a->name);
        }
        if (fchmod(fd, e->mode & (keep ? 07777 : 01777)) < 0)
                return err_set_errno(err, errno, "set its mode");
        const struct timespec times[2] = {{.tv_sec = e->time}, {.tv_sec = e->time}};
        return futimens(fd, times) < 0 ? err_set_errno(err, errno, "set its time") : 0;
}

/* For what cannot be opened: links, devices, pipes. */
static int set_owner_and_time(const struct unpacking *u, int dirfd, const char *name,
                              const struct pax_entry *e, struct err **err) {
        const struct timespec times[2] = {{.tv_sec = e->time}, {.tv_sec = e->time}};
        if (u->options->keep_owner &&
            fchownat(dirfd, name, (uid_t)e->uid, (gid_t)e->gid, AT_SYMLINK_NOFOLLOW) < 0)
                return err_set_errno(err, errno, "set its owner");
        if (e->kind != PAX_SYMBOLIC_LINK && fchmodat(dirfd, name, e->mode & 01777, 0) < 0)
                return err_set_errno(err, errno, "set its mode");
        if (utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW) < 0)
                return err_set_errno(err, errno, "set its time");
        return 0;
}

/* ---- entries */

static int write_at(int fd, const char *p, size_t n, int64_t at) {
        while (n > 0) {
                ssize_t done = pwrite(fd, p, n, at);
                if (done < 0 && errno == EINTR)
                        continue;
                if (done < 0)
                        return -errno;
                p += done;
                n -= (size_t)done;
                at += done;
        }
        return 0;
}

static int make_file(struct unpacking *u, int dirfd, const char *name, const struct pax_entry *e,
                     struct err **err) {
        if (e->size > u->bytes_left)
                return err_set(err, EINVAL,
                               "with it the files come to more than the %lld bytes that are allowed",
                               (long long)(u->options->max_bytes ? u->options->max_bytes : BYTES_MAX));
        u->bytes_left -= e->size;
        _cleanup_(x_closep) int fd =
                openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
                return err_set_errno(err, errno, "make it");
        int64_t from = e->data;
        for (size_t i = 0; i < e->n_extents; i++) {
                int64_t at = e->extents[i].offset, end = at + e->extents[i].length;
                while (at < end) {
                        size_t n = (size_t)MIN(end - at, (int64_t)PIECE);
                        int r = pax_read_at(&u->reader, from, u->piece, n, err);
                        if (r < 0)
                                return r;
                        if ((r = write_at(fd, u->piece, n, at)) < 0)
                                return err_set_errno(err, -r, "write it");
                        from += (int64_t)n;
                        at += (int64_t)n;
                }
        }
        if (e->packed < e->size && ftruncate(fd, e->size) < 0)
                return err_set_errno(err, errno, "make it %lld bytes long", (long long)e->size);
        return set_attributes(u, fd, e, err);
}

static int make_hard_link(struct unpacking *u, int dirfd, const char *name, const struct pax_entry *e,
                          struct err **err) {
        /* The other folder's descriptor would take the place of this one. */
        _cleanup_(x_closep) int into = fcntl(dirfd, F_DUPFD_CLOEXEC, 3);
        const char *old = NULL;
        struct stat st;
        char shown[256];
        if (into < 0)
                return err_set_errno(err, errno, "make it");
        int from = open_parent(u, e->link, &old, err);
        if (from < 0)
                return from;
        if (fstatat(from, old, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
                return err_set(err, EINVAL, "it is a hard link to '%s', which is no file of the archive",
                               pax_shown(e->link, shown));
        return linkat(from, old, into, name, 0) < 0 ? err_set_errno(err, errno, "link it") : 0;
}

static int make_folder(struct unpacking *u, int dirfd, const char *name, int64_t header, struct err **err) {
        if (u->n_folders >= FOLDERS_MAX)
                return err_set(err, EINVAL, "the archive has more than %zu folders", FOLDERS_MAX);
        if (u->n_folders == u->cap_folders) {
                size_t cap = u->cap_folders ? u->cap_folders * 2 : 64;
                int64_t *more = realloc(u->folders, cap * sizeof(*more));
                if (!more)
                        return err_set_errno(err, ENOMEM, "unpack");
                u->folders = more;
                u->cap_folders = cap;
        }
        u->folders[u->n_folders++] = header;
        return mkdirat(dirfd, name, 0700) < 0 ? err_set_errno(err, errno, "make it") : 0;
}

static int make_node(struct unpacking *u, int dirfd, const char *name, const struct pax_entry *e,
                     struct err **err) {
        mode_t type = e->kind == PAX_FIFO ? S_IFIFO : e->kind == PAX_BLOCK_DEVICE ? S_IFBLK : S_IFCHR;
        if (e->kind != PAX_FIFO && !u->options->devices)
                return err_set(err, EINVAL, "it is a %s, and those are not asked for",
                               pax_kind_name(e->kind));
        if (mknodat(dirfd, name, type | 0600, makedev(e->major, e->minor)) < 0)
                return err_set_errno(err, errno, "make it");
        return set_owner_and_time(u, dirfd, name, e, err);
}

static int make_entry(struct unpacking *u, const struct pax_entry *e, int64_t header, struct err **err) {
        const char *name = NULL;
        if (u->entries_left-- <= 0)
                return err_set(err, EINVAL, "the archive has more entries than are allowed");
        int dirfd = open_parent(u, e->path, &name, err);
        if (dirfd < 0)
                return dirfd;
        switch (e->kind) {
        case PAX_FILE: return make_file(u, dirfd, name, e, err);
        case PAX_HARD_LINK: return make_hard_link(u, dirfd, name, e, err);
        case PAX_SYMBOLIC_LINK:
                if (symlinkat(e->link, dirfd, name) < 0)
                        return err_set_errno(err, errno, "make it");
                return set_owner_and_time(u, dirfd, name, e, err);
        case PAX_FOLDER: return make_folder(u, dirfd, name, header, err);
        case PAX_FIFO:
        case PAX_CHARACTER_DEVICE:
        case PAX_BLOCK_DEVICE: return make_node(u, dirfd, name, e, err);
        }
        return err_set(err, EINVAL, "it is of no kind");
}

static int make_entries(struct unpacking *u, struct err **err) {
        for (;;) {
                struct pax_entry e = {0};
                char shown[256];
                int64_t header = u->reader.at;
                int r = pax_read_entry(&u->reader, &e, err);
                if (r <= 0)
                        return r;
                r = make_entry(u, &e, header, err);
                if (r < 0)
                        r = err_wrap_code(err, r, "the entry '%s'", pax_shown(e.path, shown));
                pax_entry_done(&e);
                if (r < 0)
                        return r;
        }
}

/* What is made in a folder changes its time, and a folder may forbid that anything is: so they come last. */
static int finish_folders(struct unpacking *u, struct err **err) {
        for (size_t i = u->n_folders; i-- > 0;) {
                struct pax_entry e = {0};
                const char *name = NULL;
                char shown[256];
                pax_reader_seek(&u->reader, u->folders[i]);
                int r = pax_read_entry(&u->reader, &e, err);
                if (r <= 0)
                        return r < 0 ? r : err_set(err, EIO, "the payload changed while it was read");
                int dirfd = open_parent(u, e.path, &name, err);
                _cleanup_(x_closep) int fd =
                        dirfd < 0 ? dirfd
                                  : openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (dirfd < 0)
                        r = dirfd;
                else
                        r = fd < 0 ? err_set_errno(err, errno, "open it") : set_attributes(u, fd, &e, err);
                if (r < 0)
                        r = err_wrap_code(err, r, "the entry '%s'", pax_shown(e.path, shown));
                pax_entry_done(&e);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int refuse_any(void *arg, const char *path, const struct stat *st) {
        return -ENOTEMPTY;
}

int payload_unpack_tree(int payload_fd, struct root_dir *into, const struct payload_unpack_options *o,
                        struct err **err) {
        static const struct payload_unpack_options usual = {0};
        struct unpacking u = {.options = o ? o : &usual, .folder = -1};
        if (root_dir_walk(into, "", refuse_any, NULL, NULL) == -ENOTEMPTY)
                return err_set_errno(err, ENOTEMPTY, "unpack into %s", root_dir_path(into));
        _cleanup_(x_closep) int root = root_dir_openat(into, ".", O_RDONLY | O_DIRECTORY, 0);
        if (root < 0)
                return err_set_errno(err, -root, "open the folder %s", root_dir_path(into));
        u.root = root;
        u.bytes_left = u.options->max_bytes ? u.options->max_bytes : BYTES_MAX;
        u.entries_left = u.options->max_entries ? u.options->max_entries : ENTRIES_MAX;
        u.piece = malloc(PIECE);
        int r = u.piece ? pax_reader_init(&u.reader, payload_fd, err) : err_set_errno(err, ENOMEM, "unpack");
        if (r == 0)
                r = make_entries(&u, err);
        if (r == 0)
                r = finish_folders(&u, err);
        /* One call for all of it, instead of one for each file. */
        if (r == 0 && syncfs(root) < 0)
                r = err_set_errno(err, errno, "write it to the disk");
        pax_reader_done(&u.reader);
        if (u.folder >= 0)
                (void)close(u.folder);
        free(u.folder_path);
        free(u.folders);
        free(u.piece);
        return r < 0 ? err_wrap_code(err, r, "unpack into %s", root_dir_path(into)) : 0;
}
