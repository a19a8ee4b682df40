/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/payload/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/str.h"

#define PIECE (256u << 10)
#define HOLE_BLOCK 4096
#define HOLE_MIN (64 << 10) /* a shorter run of zeros stays data */
#define NAMES_MAX (64u << 10)
#define VALUE_MAX (64u << 10)

void tree_init(struct tree *t) {
        *t = (struct tree){.spool_fd = -1};
}

void tree_done(struct tree *t) {
        for (size_t i = 0; i < t->n; i++)
                pax_entry_done(&t->items[i].entry);
        free(t->items);
        root_dir_free(t->root);
        if (t->spool_fd >= 0)
                (void)close(t->spool_fd);
        tree_init(t);
}

static int too_much(struct err **err) {
        return err_set(err, EFBIG, "more than %zu entries or %lld GiB of files", TREE_ENTRIES_MAX,
                       (long long)(TREE_BYTES_MAX >> 30));
}

int tree_add(struct tree *t, struct pax_entry *e, struct tree_item **ret, struct err **err) {
        if (t->n >= TREE_ENTRIES_MAX || e->size > TREE_BYTES_MAX - t->bytes) {
                pax_entry_done(e);
                return too_much(err);
        }
        if (t->n == t->cap) {
                size_t cap = t->cap ? t->cap * 2 : 256;
                struct tree_item *more = realloc(t->items, cap * sizeof(*more));
                if (!more) {
                        pax_entry_done(e);
                        return err_set_errno(err, ENOMEM, "gather the entries");
                }
                t->items = more;
                t->cap = cap;
        }
        t->items[t->n] = (struct tree_item){.entry = *e, .spool = -1};
        *e = (struct pax_entry){0};
        t->bytes += t->items[t->n].entry.size;
        *ret = &t->items[t->n++];
        return 0;
}

int spool_open(struct err **err) {
        const char *folder = getenv("TMPDIR");
        if (str_is_empty(folder))
                folder = "/var/tmp";
        int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
                _cleanup_(x_freep) char *name = str_format("%s/skerry-XXXXXX", folder);
                fd = name ? mkostemp(name, O_CLOEXEC) : -1;
                if (fd >= 0)
                        (void)unlink(name);
        }
        return fd >= 0 ? fd
                       : err_set_errno(err, errno,
                                       "make a temporary file in %s (TMPDIR names another folder)", folder);
}

/* ---- a folder */

static int read_attributes(int dirfd, const char *name, struct pax_entry *e, struct err **err) {
        char path[64 + 256];
        _cleanup_(x_freep) char *names = malloc(NAMES_MAX), *value = malloc(VALUE_MAX);
        if (!names || !value)
                return err_set_errno(err, ENOMEM, "read extended attributes");
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dirfd, name);
        ssize_t n = llistxattr(path, names, NAMES_MAX);
        if (n < 0)
                return errno == ENOTSUP ? 0 : err_set_errno(err, errno, "read extended attributes");
        for (const char *p = names; p < names + n; p += strlen(p) + 1) {
                if (!pax_attribute_travels(p))
                        continue;
                ssize_t len = lgetxattr(path, p, value, VALUE_MAX);
                if (len < 0)
                        return err_set_errno(err, errno, "read the extended attribute %s", p);
                int r = pax_entry_add_attribute(e, p, value, (size_t)len);
                if (r < 0)
                        return err_set_errno(err, -r, "read the extended attribute %s", p);
        }
        return 0;
}

static int read_link(int dirfd, const char *name, struct pax_entry *e, struct err **err) {
        char text[PAX_PATH_MAX + 1];
        ssize_t n = readlinkat(dirfd, name, text, sizeof(text));
        if (n < 0)
                return err_set_errno(err, errno, "read the symbolic link");
        if (n == 0 || n >= PAX_PATH_MAX)
                return err_set(err, EINVAL, "its text is empty or longer than %d bytes", PAX_PATH_MAX - 1);
        e->link = str_dup_n(text, (size_t)n);
        return e->link ? 0 : err_set_errno(err, ENOMEM, "read the symbolic link");
}

static int kind_of(const struct stat *st, enum pax_kind *ret, struct err **err) {
        switch (st->st_mode & S_IFMT) {
        case S_IFREG: *ret = PAX_FILE; return 0;
        case S_IFDIR: *ret = PAX_FOLDER; return 0;
        case S_IFLNK: *ret = PAX_SYMBOLIC_LINK; return 0;
        case S_IFIFO: *ret = PAX_FIFO; return 0;
        case S_IFCHR:
        case S_IFBLK:
                if (geteuid() != 0)
                        return err_set(err, EINVAL,
                                       "it is a device; only root can push one. Leave it out of the folder");
                *ret = S_ISCHR(st->st_mode) ? PAX_CHARACTER_DEVICE : PAX_BLOCK_DEVICE;
                return 0;
        case S_IFSOCK:
                return err_set(err, EINVAL,
                               "it is a socket, which no archive carries. Leave it out of the folder");
        default: return err_set(err, EINVAL, "it is of a kind that no archive carries");
        }
}

static int make_entry(int dirfd, const char *name, const struct stat *st, struct pax_entry *e,
                      struct err **err) {
        int r = kind_of(st, &e->kind, err);
        if (r < 0)
                return r;
        e->mode = e->kind == PAX_SYMBOLIC_LINK ? 0777 : st->st_mode & 07777;
        /* Who is not root could not have given the files to anybody: they are nobody's in particular. */
        e->uid = geteuid() == 0 ? st->st_uid : 0;
        e->gid = geteuid() == 0 ? st->st_gid : 0;
        if (e->kind == PAX_FILE)
                e->size = st->st_size;
        if (e->kind == PAX_CHARACTER_DEVICE || e->kind == PAX_BLOCK_DEVICE) {
                e->major = major(st->st_rdev);
                e->minor = minor(st->st_rdev);
        }
        if (e->kind == PAX_SYMBOLIC_LINK)
                return read_link(dirfd, name, e, err);
        return e->kind == PAX_FILE || e->kind == PAX_FOLDER ? read_attributes(dirfd, name, e, err) : 0;
}

static int read_folder(struct tree *t, int dirfd, const char *prefix, unsigned depth, struct err **err);

static int read_entry(struct tree *t, int dirfd, const char *prefix, const char *name, unsigned depth,
                      struct err **err) {
        struct pax_entry e = {.path = str_format("%s%s%s", prefix, *prefix ? "/" : "", name)};
        char shown[256];
        struct stat st;
        if (!e.path)
                return err_set_errno(err, ENOMEM, "gather the entries");
        (void)pax_shown(e.path, shown);
        int r;
        if (!pax_path_is_valid(e.path))
                r = err_set(err, EINVAL, "its path is longer than %d bytes or has more than %d folders",
                            PAX_PATH_MAX, PAX_DEPTH_MAX);
        else if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                r = err_set_errno(err, errno, "look at it");
        else
                r = make_entry(dirfd, name, &st, &e, err);
        if (r < 0) {
                pax_entry_done(&e);
                return err_wrap_code(err, r, "%s", shown);
        }
        _cleanup_(x_freep) char *path = str_dup(e.path);
        struct tree_item *item = NULL;
        if ((r = tree_add(t, &e, &item, err)) < 0)
                return r;
        if (item->entry.kind == PAX_FILE && st.st_nlink > 1) {
                item->device = st.st_dev;
                item->inode = st.st_ino;
        }
        if (!S_ISDIR(st.st_mode))
                return 0;
        int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return err_set_errno(err, errno, "open the folder %s", shown);
        return path ? read_folder(t, fd, path, depth + 1, err)
                    : err_set_errno(err, ENOMEM, "gather the entries");
}

/* Takes dirfd over. */
static int read_folder(struct tree *t, int dirfd, const char *prefix, unsigned depth, struct err **err) {
        DIR *dir = fdopendir(dirfd);
        if (!dir) {
                int e = errno;
                (void)close(dirfd);
                return err_set_errno(err, e, "read the folder %s", prefix);
        }
        int r = 0;
        while (r == 0) {
                errno = 0;
                const struct dirent *d = readdir(dir);
                if (!d) {
                        if (errno)
                                r = err_set_errno(err, errno, "read the folder %s", prefix);
                        break;
                }
                if (!str_eq(d->d_name, ".") && !str_eq(d->d_name, ".."))
                        r = read_entry(t, dirfd, prefix, d->d_name, depth, err);
        }
        (void)closedir(dir);
        return r;
}

int tree_read_folder(struct tree *t, const char *path, struct err **err) {
        int r = root_dir_open(path, &t->root, err);
        if (r < 0)
                return r;
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return err_set_errno(err, errno, "open the folder %s", path);
        r = read_folder(t, fd, "", 0, err);
        return r < 0 ? err_wrap_code(err, r, "%s", path) : 0;
}

/* ---- holes: by content, so that a copy made by a tool that fills them gives the same bytes */

static bool is_zero(const char *p, size_t n) {
        return p[0] == '\0' && memcmp(p, p + 1, n - 1) == 0;
}

static int add_extent(struct pax_entry *e, size_t *cap, int64_t from, int64_t to) {
        if (from >= to)
                return 0;
        /* One is kept back: a file that ends in a hole needs it to say so. */
        if (e->n_extents + 1 >= PAX_EXTENTS_MAX)
                return -E2BIG;
        if (e->n_extents == *cap) {
                size_t more_cap = *cap ? *cap * 2 : 8;
                struct pax_extent *more = realloc(e->extents, more_cap * sizeof(*more));
                if (!more)
                        return -ENOMEM;
                e->extents = more;
                *cap = more_cap;
        }
        e->extents[e->n_extents++] = (struct pax_extent){from, to - from};
        return 0;
}

static ssize_t read_piece(int fd, char *p, size_t n, int64_t at) {
        size_t done = 0;
        while (done < n) {
                ssize_t got = pread(fd, p + done, n - done, at + (int64_t)done);
                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0)
                        return -errno;
                if (got == 0)
                        return -EINVAL;
                done += (size_t)got;
        }
        return (ssize_t)done;
}

/* The file system may know at once that a piece is a hole. */
static bool is_known_hole(int fd, int64_t at, int64_t n) {
        off_t data = lseek(fd, at, SEEK_DATA);
        return data < 0 ? errno == ENXIO : data >= at + n;
}

static int find_extents_longer_than(struct pax_entry *e, int fd, int64_t base, int64_t hole_min,
                                    char *piece) {
        size_t cap = 0;
        int64_t data_from = 0, zeros_from = -1; /* of what is being run through */
        free(e->extents);
        e->extents = NULL;
        e->n_extents = 0;
        for (int64_t at = 0; at < e->size; at += PIECE) {
                size_t n = (size_t)MIN(e->size - at, (int64_t)PIECE);
                if (is_known_hole(fd, base + at, (int64_t)n)) {
                        if (zeros_from < 0)
                                zeros_from = at;
                        continue;
                }
                ssize_t got = read_piece(fd, piece, n, base + at);
                if (got < 0)
                        return (int)got;
                for (size_t k = 0; k < n; k += HOLE_BLOCK) {
                        int64_t here = at + (int64_t)k;
                        if (is_zero(piece + k, MIN(n - k, (size_t)HOLE_BLOCK))) {
                                if (zeros_from < 0)
                                        zeros_from = here;
                                continue;
                        }
                        if (zeros_from >= 0 && here - zeros_from >= hole_min) {
                                int r = add_extent(e, &cap, data_from, zeros_from);
                                if (r < 0)
                                        return r;
                                data_from = here;
                        }
                        zeros_from = -1;
                }
        }
        bool ends_in_hole = zeros_from >= 0 && e->size - zeros_from >= hole_min;
        return add_extent(e, &cap, data_from, ends_in_hole ? zeros_from : e->size);
}

static int find_extents(struct pax_entry *e, int fd, int64_t base, char *piece) {
        int r = -E2BIG;
        for (int64_t hole_min = HOLE_MIN; r == -E2BIG; hole_min *= 4)
                r = find_extents_longer_than(e, fd, base, hole_min, piece);
        return r;
}

/* ---- writing */

int pax_write_from(struct pax_writer *w, int fd, int64_t offset, int64_t length, struct err **err) {
        _cleanup_(x_freep) char *piece = malloc(PIECE);
        if (!piece)
                return err_set_errno(err, ENOMEM, "write the payload");
        while (length > 0) {
                size_t n = (size_t)MIN(length, (int64_t)PIECE);
                ssize_t got = read_piece(fd, piece, n, offset);
                if (got == -EINVAL)
                        return err_set(err, EINVAL, "it became shorter while it was read");
                if (got < 0)
                        return err_set_errno(err, (int)-got, "read it");
                int r = pax_write_data(w, piece, n, err);
                if (r < 0)
                        return r;
                offset += (int64_t)n;
                length -= (int64_t)n;
        }
        return 0;
}

static int open_content(struct tree *t, const struct tree_item *item, struct err **err) {
        int fd = root_dir_openat(t->root, item->entry.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
        if (fd < 0)
                return err_set_errno(err, -fd, "open it");
        struct stat st;
        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size != item->entry.size) {
                (void)close(fd);
                return err_set(err, EINVAL, "it changed while the folder was read");
        }
        return fd;
}

static int write_file(struct tree *t, struct pax_writer *w, struct tree_item *item, char *piece,
                      struct err **err) {
        _cleanup_(x_closep) int own = -1;
        int fd = t->spool_fd, r;
        if (item->spool < 0 && item->entry.size > 0 && (own = fd = open_content(t, item, err)) < 0)
                return fd;
        int64_t base = MAX(item->spool, (int64_t)0);
        r = item->entry.size > 0 ? find_extents(&item->entry, fd, base, piece) : 0;
        if (r < 0)
                return err_set_errno(err, -r, "read it");
        r = pax_write_entry(w, &item->entry, err);
        for (size_t i = 0; r == 0 && i < item->entry.n_extents; i++)
                r = pax_write_from(w, fd, base + item->entry.extents[i].offset, item->entry.extents[i].length,
                                   err);
        free(item->entry.extents);
        item->entry.extents = NULL;
        item->entry.n_extents = 0;
        return r;
}

static int by_path(const void *a, const void *b) {
        const struct tree_item *x = a, *y = b;
        return strcmp(x->entry.path, y->entry.path);
}

static int by_content(const void *a, const void *b) {
        const struct tree_item *x = *(struct tree_item *const *)a, *y = *(struct tree_item *const *)b;
        if (x->device != y->device)
                return x->device < y->device ? -1 : 1;
        if (x->inode != y->inode)
                return x->inode < y->inode ? -1 : 1;
        return x < y ? -1 : x > y; /* they lie in the order of their paths */
}

/* Of files that are one, the first carries the content and the others link to it. */
static int link_same(struct tree *t, struct err **err) {
        size_t n = 0;
        struct tree_item **same = calloc(t->n + 1, sizeof(struct tree_item *));
        if (!same)
                return err_set_errno(err, ENOMEM, "gather the entries");
        for (size_t i = 0; i < t->n; i++)
                if (t->items[i].entry.kind == PAX_FILE && (t->items[i].device || t->items[i].inode))
                        same[n++] = &t->items[i];
        qsort(same, n, sizeof(struct tree_item *), by_content);
        const struct tree_item *first = NULL;
        int r = 0;
        for (size_t i = 0; r == 0 && i < n; i++) {
                if (!first || first->device != same[i]->device || first->inode != same[i]->inode) {
                        first = same[i];
                        continue;
                }
                struct pax_entry *e = &same[i]->entry;
                e->kind = PAX_HARD_LINK;
                t->bytes -= e->size;
                e->size = 0;
                for (size_t k = 0; k < e->n_attributes; k++) {
                        free(e->attributes[k].name);
                        free(e->attributes[k].value);
                }
                e->n_attributes = 0;
                e->link = str_dup(first->entry.path);
                /* One file has one of each. */
                e->mode = first->entry.mode;
                e->uid = first->entry.uid;
                e->gid = first->entry.gid;
                if (!e->link)
                        r = err_set_errno(err, ENOMEM, "gather the entries");
        }
        free(same);
        return r;
}

struct telling {
        const struct payload_progress *p;
        int64_t total;
};

static void tell(void *arg, int64_t written) {
        const struct telling *x = arg;
        x->p->progress(x->p->arg, MIN(written, x->total), x->total);
}

int tree_write(struct tree *t, int64_t time, int fd, const struct payload_progress *p, struct err **err) {
        _cleanup_(x_freep) char *piece = malloc(PIECE);
        struct pax_writer w;
        if (t->n > 0)
                qsort(t->items, t->n, sizeof(*t->items), by_path);
        int r = link_same(t, err);
        if (r < 0)
                return r;
        struct telling telling = {p, t->bytes + (int64_t)t->n * 512};
        if (pax_writer_init(&w, fd) < 0 || !piece)
                r = err_set_errno(err, ENOMEM, "write the payload");
        if (p && p->progress) {
                w.progress = tell;
                w.progress_arg = &telling;
        }
        for (size_t i = 0; r == 0 && i < t->n; i++) {
                struct tree_item *item = &t->items[i];
                char shown[256];
                item->entry.time = time;
                r = item->entry.kind == PAX_FILE ? write_file(t, &w, item, piece, err)
                                                 : pax_write_entry(&w, &item->entry, err);
                if (r < 0)
                        r = err_wrap_code(err, r, "%s", pax_shown(item->entry.path, shown));
        }
        if (r == 0)
                r = pax_write_end(&w, err);
        pax_writer_done(&w);
        return r;
}
