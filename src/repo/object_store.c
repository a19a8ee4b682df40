/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/object_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/encode.h"
#include "base/fs.h"
#include "base/random.h"
#include "base/str.h"
#include "crypto/digest.h"

#define OBJECT_PATH_SIZE (sizeof("sha256/ab/") + SHA256_HEX_SIZE)
#define SHARD_PATH_LEN (sizeof("sha256/ab") - 1)
#define TEMPORARY_SIZE (sizeof("tmp/") + 32)
#define BYTES_UNKNOWN ((int64_t)-1)

struct object_store {
        char *root;
        int fd;
        int64_t max_bytes;
        _Atomic int64_t bytes; /* BYTES_UNKNOWN until somebody asks */
        _Atomic int64_t beside;
};

struct object_writer {
        struct object_store *store;
        struct sha256 *digest;
        char sha256[SHA256_HEX_SIZE];
        char temporary[TEMPORARY_SIZE]; /* "" once it is gone */
        int fd;
        size_t len, limit;
};

static int object_path(const char *sha256, char out[OBJECT_PATH_SIZE]) {
        if (!sha256_hex_is_valid(sha256))
                return -EINVAL;
        snprintf(out, OBJECT_PATH_SIZE, "sha256/%.2s/%s", sha256, sha256 + 2);
        return 0;
}

static int no_digest(struct err **err, const char *sha256) {
        return err_set(err, EINVAL, "\"%.80s\" is no SHA-256 in lower-case hex", sha256 ? sha256 : "");
}

static void add_bytes(struct object_store *s, int64_t n) {
        int64_t now = atomic_load(&s->bytes);
        while (now != BYTES_UNKNOWN &&
               !atomic_compare_exchange_weak(&s->bytes, &now, MAX(now + n, (int64_t)0)))
                ;
}

/* ---- walking */

struct entry {
        char sha256[SHA256_HEX_SIZE];
        int64_t size;
        struct timespec used;
};

/* Calls each() for every object; stops at its first negative result. */
static int walk(struct object_store *s, int (*each)(void *arg, const struct entry *e), void *arg) {
        for (unsigned shard = 0; shard < 256; shard++) {
                char path[SHARD_PATH_LEN + 1];
                snprintf(path, sizeof(path), "sha256/%02x", shard);
                int fd = openat(s->fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (fd < 0) {
                        if (errno == ENOENT)
                                continue;
                        return -errno;
                }
                DIR *dir = fdopendir(fd);
                if (!dir) {
                        int r = -errno;
                        close(fd);
                        return r;
                }
                int r = 0;
                for (struct dirent *d; r >= 0 && (d = readdir(dir));) {
                        struct entry e;
                        struct stat st;
                        snprintf(e.sha256, sizeof(e.sha256), "%02x%.62s", shard, d->d_name);
                        if (strlen(d->d_name) != SHA256_HEX_SIZE - 3 || !sha256_hex_is_valid(e.sha256) ||
                            fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
                                continue;
                        e.size = st.st_size;
                        e.used = st.st_mtim;
                        r = each(arg, &e);
                }
                closedir(dir);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int remove_object(struct object_store *s, const char *sha256, int64_t size) {
        char path[OBJECT_PATH_SIZE];
        if (object_path(sha256, path) < 0)
                return -EINVAL;
        if (unlinkat(s->fd, path, 0) < 0)
                return errno == ENOENT ? 0 : -errno;
        add_bytes(s, -size);
        return 0;
}

static int sum_entry(void *arg, const struct entry *e) {
        *(int64_t *)arg += e->size;
        return 0;
}

int64_t object_store_bytes(struct object_store *s) {
        int64_t known = atomic_load(&s->bytes);
        if (known != BYTES_UNKNOWN)
                return known;
        int64_t sum = 0;
        if (walk(s, sum_entry, &sum) < 0)
                return 0;
        if (atomic_compare_exchange_strong(&s->bytes, &known, sum))
                return sum;
        return known;
}

/* ---- opening */

static void clear_temporaries(const struct object_store *s) {
        int fd = openat(s->fd, "tmp", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
        if (!dir) {
                if (fd >= 0)
                        close(fd);
                return;
        }
        for (struct dirent *d; (d = readdir(dir));)
                if (d->d_name[0] != '.')
                        (void)unlinkat(fd, d->d_name, 0);
        closedir(dir);
}

static int make_folder(int fd, const char *path) {
        if (mkdirat(fd, path, 0700) < 0 && errno != EEXIST)
                return -errno;
        return 0;
}

int object_store_open(const char *root, int64_t max_bytes, struct object_store **ret, struct err **err) {
        int r = dir_make(root, 0700, err);
        if (r < 0)
                return r;
        _cleanup_(object_store_freep) struct object_store *s = calloc(1, sizeof(*s));
        if (!s)
                return err_set(err, ENOMEM, "out of memory");
        s->fd = -EBADF;
        s->max_bytes = MAX(max_bytes, (int64_t)0);
        atomic_init(&s->bytes, BYTES_UNKNOWN);
        atomic_init(&s->beside, 0);
        s->root = str_dup(root);
        if (!s->root)
                return err_set(err, ENOMEM, "out of memory");
        s->fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (s->fd < 0)
                return err_set_errno(err, errno, "open object store %s", root);
        r = make_folder(s->fd, "sha256");
        if (r >= 0)
                r = make_folder(s->fd, "tmp");
        if (r < 0)
                return err_set_errno(err, -r, "prepare object store %s", root);
        clear_temporaries(s);
        *ret = TAKE_PTR(s);
        return 0;
}

struct object_store *object_store_free(struct object_store *s) {
        if (!s)
                return NULL;
        x_closep(&s->fd);
        free(s->root);
        free(s);
        return NULL;
}

/* ---- reading */

static int open_object(struct object_store *s, const char *sha256, struct stat *ret_stat) {
        char path[OBJECT_PATH_SIZE];
        int r = object_path(sha256, path);
        if (r < 0)
                return r;
        _cleanup_(x_closep) int fd = openat(s->fd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (fstat(fd, ret_stat) < 0)
                return -errno;
        if (!S_ISREG(ret_stat->st_mode))
                return -ENOENT;
        return TAKE_FD(fd);
}

bool object_store_has(struct object_store *s, const char *sha256) {
        char path[OBJECT_PATH_SIZE];
        struct stat st = {0};
        return object_path(sha256, path) >= 0 && fstatat(s->fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
               S_ISREG(st.st_mode);
}

static void mark_used(const struct object_store *s, int fd) {
        static const struct timespec now[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_NOW}};
        if (s->max_bytes > 0)
                (void)futimens(fd, now); /* its loss costs a cache miss */
}

int object_store_open_object(struct object_store *s, const char *sha256) {
        struct stat st = {0};
        int fd = open_object(s, sha256, &st);
        if (fd >= 0)
                mark_used(s, fd);
        return fd;
}

static int fail_open(struct err **err, const struct object_store *s, const char *sha256, int r) {
        if (r == -EINVAL)
                return no_digest(err, sha256);
        return err_set_errno(err, -r, "open object %s in %s", sha256, s->root);
}

static int damaged(struct object_store *s, const char *sha256, int64_t size, struct err **err) {
        (void)remove_object(s, sha256, size);
        return err_set(err, EBADMSG, "object %s in %s was damaged on disk; it has been removed", sha256,
                       s->root);
}

int object_store_read(struct object_store *s, const char *sha256, size_t limit, char **ret_data,
                      size_t *ret_len, struct err **err) {
        struct stat st = {0};
        _cleanup_(x_closep) int fd = open_object(s, sha256, &st);
        if (fd < 0)
                return fail_open(err, s, sha256, fd);
        if ((uint64_t)st.st_size > limit)
                return err_set(err, EFBIG, "object %s is over %zu bytes", sha256, limit);
        size_t size = (size_t)st.st_size, len = 0;
        _cleanup_(x_freep) char *data = malloc(size + 1);
        if (!data)
                return err_set(err, ENOMEM, "out of memory");
        while (len < size) {
                ssize_t n = read(fd, data + len, size - len);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return err_set_errno(err, errno, "read object %s in %s", sha256, s->root);
                if (n == 0)
                        break;
                len += (size_t)n;
        }
        data[len] = '\0';
        char found[SHA256_HEX_SIZE];
        sha256_hex(data, len, found);
        if (!str_eq(found, sha256))
                return damaged(s, sha256, st.st_size, err);
        mark_used(s, fd);
        *ret_data = TAKE_PTR(data);
        *ret_len = len;
        return 0;
}

int object_store_check(struct object_store *s, const char *sha256, struct err **err) {
        struct stat st = {0};
        char found[SHA256_HEX_SIZE];
        _cleanup_(x_closep) int fd = open_object(s, sha256, &st);
        if (fd < 0)
                return fail_open(err, s, sha256, fd);
        int r = sha256_file_hex(fd, found);
        if (r < 0)
                return err_set_errno(err, -r, "read object %s in %s", sha256, s->root);
        if (!str_eq(found, sha256))
                return damaged(s, sha256, st.st_size, err);
        return 0;
}

/* ---- writing */

int object_writer_new(struct object_store *s, const char *sha256, size_t limit, struct object_writer **ret,
                      struct err **err) {
        if (!sha256_hex_is_valid(sha256))
                return no_digest(err, sha256);
        _cleanup_(object_writer_freep) struct object_writer *w = calloc(1, sizeof(*w));
        if (!w)
                return err_set(err, ENOMEM, "out of memory");
        w->store = s;
        w->fd = -EBADF;
        w->limit = limit;
        memcpy(w->sha256, sha256, SHA256_HEX_SIZE);
        w->digest = sha256_new();
        if (!w->digest)
                return err_set(err, ENOMEM, "out of memory");
        uint8_t bytes[12];
        char name[2 * sizeof(bytes) + 1];
        random_bytes(bytes, sizeof(bytes));
        hex_encode(bytes, sizeof(bytes), name);
        snprintf(w->temporary, sizeof(w->temporary), "tmp/%s", name);
        w->fd = openat(s->fd, w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (w->fd < 0) {
                int r = -errno;
                w->temporary[0] = '\0';
                return err_set_errno(err, -r, "create a temporary file in %s", s->root);
        }
        *ret = TAKE_PTR(w);
        return 0;
}

int object_writer_append(struct object_writer *w, const void *p, size_t n, struct err **err) {
        if (n > w->limit - w->len)
                return err_set(err, EFBIG, "object %s is over %zu bytes", w->sha256, w->limit);
        for (size_t done = 0; done < n;) {
                ssize_t written = write(w->fd, (const char *)p + done, n - done);
                if (written < 0 && errno == EINTR)
                        continue;
                if (written < 0)
                        return err_set_errno(err, errno, "write object %s in %s", w->sha256, w->store->root);
                done += (size_t)written;
        }
        sha256_update(w->digest, p, n);
        w->len += n;
        return 0;
}

/* The folder's own entry must be on disk before anybody is told that the object is there. */
static int sync_folder(int root, const char *path) {
        _cleanup_(x_closep) int fd = openat(root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || fsync(fd) < 0)
                return -errno;
        return 0;
}

/* from: below the folder from_fd. */
static int move_into_place(struct object_store *s, const char *sha256, int fd, int from_fd, const char *from,
                           int64_t len) {
        char path[OBJECT_PATH_SIZE], shard[SHARD_PATH_LEN + 1];
        (void)object_path(sha256, path);
        memcpy(shard, path, SHARD_PATH_LEN);
        shard[SHARD_PATH_LEN] = '\0';

        if (fsync(fd) < 0)
                return -errno;
        if (mkdirat(s->fd, shard, 0700) == 0) {
                int r = sync_folder(s->fd, "sha256");
                if (r < 0)
                        return r;
        } else if (errno != EEXIST)
                return -errno;
        struct stat old;
        bool replaces = fstatat(s->fd, path, &old, AT_SYMLINK_NOFOLLOW) == 0;
        if (renameat(from_fd, from, s->fd, path) < 0)
                return -errno;
        add_bytes(s, len - (replaces ? old.st_size : 0));
        return sync_folder(s->fd, shard);
}

int object_writer_commit(struct object_writer *w, struct err **err) {
        uint8_t digest[SHA256_SIZE];
        char found[SHA256_HEX_SIZE];
        if (!w->digest || w->fd < 0)
                return err_set(err, EINVAL, "object %s was committed before", w->sha256);
        sha256_final(w->digest, digest);
        w->digest = sha256_free(w->digest);
        hex_encode(digest, sizeof(digest), found);
        if (!str_eq(found, w->sha256))
                return err_set(err, EBADMSG, "what came for object %s has digest %s", w->sha256, found);
        int r = move_into_place(w->store, w->sha256, w->fd, w->store->fd, w->temporary, (int64_t)w->len);
        if (r < 0)
                return err_set_errno(err, -r, "store object %s in %s", w->sha256, w->store->root);
        w->temporary[0] = '\0';
        return 0;
}

int object_store_adopt(struct object_store *s, const char *sha256, const char *path, struct err **err) {
        if (!sha256_hex_is_valid(sha256))
                return no_digest(err, sha256);
        char found[SHA256_HEX_SIZE];
        struct stat st;
        _cleanup_(x_closep) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0)
                return err_set_errno(err, errno, "open %s", path);
        int r = sha256_file_hex(fd, found);
        if (r < 0)
                return err_set_errno(err, -r, "read %s", path);
        if (!str_eq(found, sha256))
                return err_set(err, EBADMSG, "what came for object %s has digest %s", sha256, found);
        r = move_into_place(s, sha256, fd, AT_FDCWD, path, st.st_size);
        if (r < 0)
                return err_set_errno(err, -r, "store object %s in %s", sha256, s->root);
        return 0;
}

struct object_writer *object_writer_free(struct object_writer *w) {
        if (!w)
                return NULL;
        if (w->temporary[0])
                (void)unlinkat(w->store->fd, w->temporary, 0);
        x_closep(&w->fd);
        sha256_free(w->digest);
        free(w);
        return NULL;
}

int object_store_put(struct object_store *s, const char *sha256, const void *data, size_t len,
                     struct err **err) {
        char found[SHA256_HEX_SIZE], path[OBJECT_PATH_SIZE];
        struct stat st = {0};
        if (object_path(sha256, path) < 0)
                return no_digest(err, sha256);
        sha256_hex(data, len, found);
        if (!str_eq(found, sha256))
                return err_set(err, EBADMSG, "what came for object %s has digest %s", sha256, found);
        if (fstatat(s->fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
            (uint64_t)st.st_size == len)
                return 0;
        _cleanup_(object_writer_freep) struct object_writer *w = NULL;
        int r = object_writer_new(s, sha256, len, &w, err);
        if (r >= 0)
                r = object_writer_append(w, data, len, err);
        if (r >= 0)
                r = object_writer_commit(w, err);
        return r;
}

/* ---- making room */

struct sweep {
        struct object_store *store;
        bool (*keep)(void *arg, const char *sha256);
        void *arg;
        size_t removed;
};

static int sweep_entry(void *arg, const struct entry *e) {
        struct sweep *w = arg;
        if (w->keep(w->arg, e->sha256))
                return 0;
        int r = remove_object(w->store, e->sha256, e->size);
        if (r >= 0)
                w->removed++;
        return r;
}

int object_store_sweep(struct object_store *s, bool (*keep)(void *arg, const char *sha256), void *arg,
                       size_t *ret_removed, struct err **err) {
        struct sweep w = {s, keep, arg, 0};
        int r = walk(s, sweep_entry, &w);
        if (r < 0)
                return err_set_errno(err, -r, "sweep object store %s", s->root);
        if (ret_removed)
                *ret_removed = w.removed;
        return 0;
}

struct entries {
        struct entry *items;
        size_t len, size;
        int64_t bytes;
};

static int collect_entry(void *arg, const struct entry *e) {
        struct entries *all = arg;
        if (all->len == all->size) {
                size_t size = all->size ? all->size * 2 : 64;
                struct entry *more = reallocarray(all->items, size, sizeof(*more));
                if (!more)
                        return -ENOMEM;
                all->items = more;
                all->size = size;
        }
        all->items[all->len++] = *e;
        all->bytes += e->size;
        return 0;
}

static int by_use(const void *a, const void *b) {
        const struct entry *x = a, *y = b;
        if (x->used.tv_sec != y->used.tv_sec)
                return x->used.tv_sec < y->used.tv_sec ? -1 : 1;
        if (x->used.tv_nsec != y->used.tv_nsec)
                return x->used.tv_nsec < y->used.tv_nsec ? -1 : 1;
        return strcmp(x->sha256, y->sha256);
}

/* Removes the least recently used until at most `target` bytes are left, and `less` fewer than there were. */
static int evict(struct object_store *s, int64_t target, int64_t less, struct err **err) {
        struct entries all = {0};
        int r = walk(s, collect_entry, &all);
        if (r >= 0 && all.len > 0)
                qsort(all.items, all.len, sizeof(*all.items), by_use);
        target = MIN(target, all.bytes - less);
        for (size_t i = 0; r >= 0 && i < all.len && all.bytes > target; i++) {
                r = remove_object(s, all.items[i].sha256, all.items[i].size);
                all.bytes -= all.items[i].size;
        }
        free(all.items);
        if (r < 0)
                return err_set_errno(err, -r, "make room in object store %s", s->root);
        return 0;
}

int object_store_trim(struct object_store *s, struct err **err) {
        int64_t bound = MAX(s->max_bytes - atomic_load(&s->beside), (int64_t)0);
        if (s->max_bytes == 0 || object_store_bytes(s) <= bound)
                return 0;
        return evict(s, bound - bound / 10, 0, err);
}

void object_store_set_beside(struct object_store *s, int64_t bytes) {
        atomic_store(&s->beside, MAX(bytes, (int64_t)0));
}

int64_t object_store_max(const struct object_store *s) {
        return s->max_bytes;
}

int object_store_make_room(struct object_store *s, int64_t bytes, struct err **err) {
        if (s->max_bytes == 0)
                return err_set(err, ENOSPC, "object store %s has no bound: nothing in it may go", s->root);
        return evict(s, INT64_MAX, MAX(bytes, (int64_t)0), err);
}
