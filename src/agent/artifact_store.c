/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/artifact_store_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/fs.h"
#include "base/list.h"
#include "base/str.h"
#include "crypto/digest.h"
#include "repo/payload.h"

#define STORE_CONTENT_S ((int64_t)24 * 3600) /* contents are compared that often, whatever the stamps say */
#define STORE_NEW ".new"                     /* suffix of what is being made */

/* ---- budget */

int artifact_budget_parse(const char *text, struct artifact_budget *ret, struct err **err) {
        static const char units[] = "KMGT";
        size_t len = strlen(text);
        char last = len > 0 ? text[len - 1] : '\0';
        const char *unit = last ? strchr(units, last >= 'a' && last <= 'z' ? last - 'a' + 'A' : last) : NULL;
        _cleanup_(x_freep) char *digits = str_dup_n(text, last == '%' || unit ? len - 1 : len);
        uint64_t n = 0;

        if (!digits)
                return err_set_errno(err, ENOMEM, "artifact budget");
        if (str_to_u64(digits, &n) < 0)
                return err_set(err, EINVAL,
                               "artifact budget '%.40s': expected a number of bytes, with K, M, G or T, or a "
                               "percentage of the file system: 2G, 20%%",
                               text);
        if (last == '%') {
                if (n > 100)
                        return err_set(err, EINVAL, "artifact budget '%.40s': over 100%%", text);
                *ret = (struct artifact_budget){.bytes = -1, .percent = (unsigned)n};
                return 0;
        }
        unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
        if (n > (uint64_t)INT64_MAX >> shift)
                return err_set(err, EINVAL, "artifact budget '%.40s': too large", text);
        *ret = (struct artifact_budget){.bytes = (int64_t)(n << shift)};
        return 0;
}

static int64_t budget_bytes(const struct artifact_store *s) {
        struct statvfs v;
        if (s->budget.bytes >= 0)
                return s->budget.bytes;
        if (statvfs(s->state, &v) < 0)
                return INT64_MAX;
        return (int64_t)(v.f_blocks * v.f_frsize / 100 * s->budget.percent);
}

/* ---- paths */

static char *path_of(const struct artifact_store *s, const char *folder, const char *sha256,
                     const char *suffix) {
        return str_format("%s/%s/%s%s", s->state, folder, sha256, suffix);
}

char *artifact_store_payload(const struct artifact_store *s, const char *sha256) {
        return path_of(s, "artifacts", sha256, "");
}

char *artifact_store_partial(const struct artifact_store *s, const char *sha256, const char *suffix) {
        return path_of(s, "partial", sha256, suffix);
}

char *artifact_store_folder(const struct artifact_store *s, const struct artifact *a) {
        return path_of(s, a->type == ARTIFACT_TREE ? "trees" : "files", a->sha256, "");
}

static const char *file_name_of(const struct artifact *a) {
        return a->file_name ? a->file_name : a->name;
}

char *artifact_store_place(const struct artifact_store *s, const struct artifact *a) {
        _cleanup_(x_freep) char *folder = artifact_store_folder(s, a);
        if (!folder || a->type == ARTIFACT_TREE)
                return TAKE_PTR(folder);
        return path_join(folder, file_name_of(a));
}

/* ---- opening */

int artifact_store_each_name(const struct artifact_store *s, const char *folder,
                             int (*fn)(const struct artifact_store *s, const char *folder, const char *name,
                                       void *arg),
                             void *arg, struct err **err) {
        _cleanup_(x_freep) char *path = path_join(s->state, folder);
        if (!path)
                return err_set_errno(err, ENOMEM, "artifacts");
        DIR *d = opendir(path);
        if (!d)
                return err_set_errno(err, errno, "read %s", path);
        int r = 0;
        for (struct dirent *e; r == 0 && (e = readdir(d));)
                if (!str_eq(e->d_name, ".") && !str_eq(e->d_name, ".."))
                        r = fn(s, folder, e->d_name, arg);
        (void)closedir(d);
        return r < 0 ? err_set_errno(err, -r, "read %s", path) : 0;
}

static int remove_name(const struct artifact_store *s, const char *folder, const char *name) {
        _cleanup_(x_freep) char *path = str_format("%s/%s/%s", s->state, folder, name);
        return path ? path_remove(path, NULL) : -ENOMEM;
}

static int sweep_unfinished(const struct artifact_store *s, const char *folder, const char *name, void *arg) {
        if (!sha256_hex_is_valid(name))
                (void)remove_name(s, folder, name);
        return 0;
}

static int make_folders(const struct artifact_store *s, struct err **err) {
        static const struct {
                const char *name;
                mode_t mode;
        } folders[] = {{"artifacts", 0711}, {"files", 0711}, {"trees", 0711}, {"partial", 0700}};
        for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
                _cleanup_(x_freep) char *path = path_join(s->state, folders[i].name);
                int r = path ? dir_make(path, folders[i].mode, err) : err_set_errno(err, ENOMEM, "artifacts");
                if (r < 0)
                        return r;
                if (chmod(path, folders[i].mode) < 0)
                        return err_set_errno(err, errno, "%s", path);
        }
        /* Apps that run as another user come through here; what else lies in it keeps to itself. */
        _cleanup_(x_freep) char *objects = path_join(s->state, "objects");
        if (objects && chmod(objects, 0700) < 0 && errno != ENOENT)
                return err_set_errno(err, errno, "%s", objects);
        if (chmod(s->state, 0711) < 0)
                return err_set_errno(err, errno, "%s", s->state);
        return 0;
}

int artifact_store_open(const char *state, const struct artifact_budget *budget, const struct clock *clock,
                        struct artifact_store **ret, struct err **err) {
        static const char *const folders[] = {"artifacts", "files", "trees"};
        _cleanup_(artifact_store_freep) struct artifact_store *s = calloc(1, sizeof(*s));
        if (!s || !(s->state = str_dup(state)) || !(s->entries = table_new(artifact_index_free_entry)) ||
            !(s->claimed = table_new(NULL)) || !(s->seen = table_new(free)))
                return err_set_errno(err, ENOMEM, "artifacts");
        (void)pthread_mutex_init(&s->seen_lock, NULL);
        s->budget = *budget;
        s->clock = clock;
        int r = make_folders(s, err);
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(folders); i++)
                r = artifact_store_each_name(s, folders[i], sweep_unfinished, NULL, err);
        if (r == 0)
                r = artifact_index_load(s, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

struct artifact_store *artifact_store_free(struct artifact_store *s) {
        if (!s)
                return NULL;
        table_free(s->entries);
        table_free(s->claimed);
        if (s->seen)
                (void)pthread_mutex_destroy(&s->seen_lock);
        table_free(s->seen);
        strv_free(s->running);
        strv_free(s->previous);
        free(s->state);
        free(s);
        return NULL;
}

int artifact_store_claim(struct artifact_store *s, const char *sha256) {
        if (table_get(s->claimed, sha256))
                return -EBUSY;
        return table_set(s->claimed, sha256, s);
}

void artifact_store_release(struct artifact_store *s, const char *sha256) {
        (void)table_remove(s->claimed, sha256);
}

/* ---- payloads */

bool artifact_store_has(const struct artifact_store *s, const char *sha256, int64_t length) {
        _cleanup_(x_freep) char *path = artifact_store_payload(s, sha256);
        struct stat st;
        return path && lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == length;
}

int artifact_store_open_payload(const struct artifact_store *s, const char *sha256) {
        _cleanup_(x_freep) char *path = artifact_store_payload(s, sha256);
        if (!path)
                return -ENOMEM;
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        return fd < 0 ? -errno : fd;
}

static int push_name(const struct artifact_store *s, const char *folder, const char *name, void *arg) {
        return sha256_hex_is_valid(name) ? strv_push(arg, name) : 0;
}

int artifact_store_seeds(const struct artifact_store *s, const char *name, char ***ret, struct err **err) {
        _cleanup_(strv_freep) char **seeds = NULL;
        int r = artifact_store_each_name(s, "artifacts", push_name, &seeds, err);
        if (r < 0)
                return r;
        size_t first = 0, n = strv_len(seeds);
        void *value;
        for (size_t i = 0; table_next(s->entries, &i, NULL, &value);) {
                const struct artifact *a = ((const struct entry *)value)->artifact;
                for (size_t k = first; k < n && str_eq(a->name, name); k++)
                        if (str_eq(seeds[k], a->sha256)) {
                                char *swapped = seeds[first];
                                seeds[first++] = seeds[k];
                                seeds[k] = swapped;
                                break;
                        }
        }
        *ret = TAKE_PTR(seeds);
        return 0;
}

static int remove_partial_of(const struct artifact_store *s, const char *folder, const char *name,
                             void *arg) {
        if (str_has_prefix(name, arg))
                (void)remove_name(s, folder, name);
        return 0;
}

void artifact_store_drop_partial(const struct artifact_store *s, const char *sha256) {
        (void)artifact_store_each_name(s, "partial", remove_partial_of, (void *)(uintptr_t)sha256, NULL);
}

static int sync_folder(const struct artifact_store *s, const char *folder) {
        _cleanup_(x_freep) char *path = path_join(s->state, folder);
        if (!path)
                return -ENOMEM;
        _cleanup_(x_closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* Digest and length of an open payload. */
static int verify_fd(int fd, const struct artifact *a, const char *what, struct err **err) {
        char digest[SHA256_HEX_SIZE];
        struct stat st;
        if (fstat(fd, &st) < 0)
                return err_set_errno(err, errno, "%s", what);
        if (st.st_size != a->length)
                return err_set(err, EBADMSG, "%s has %lld bytes, not %lld", what, (long long)st.st_size,
                               (long long)a->length);
        int r = sha256_file_hex(fd, digest);
        if (r < 0)
                return err_set_errno(err, -r, "read %s", what);
        if (!str_eq(digest, a->sha256))
                return err_set(err, EBADMSG, "%s has the digest %.12s, not %.12s", what, digest, a->sha256);
        return 0;
}

int artifact_store_commit(const struct artifact_store *s, const struct artifact *a, const char *suffix,
                          bool verify, struct err **err) {
        _cleanup_(x_freep) char *part = artifact_store_partial(s, a->sha256, suffix),
                                *payload = artifact_store_payload(s, a->sha256);
        if (!part || !payload)
                return err_set_errno(err, ENOMEM, "%s:%s", a->name, a->version);
        _cleanup_(x_closep) int fd = open(part, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return err_set_errno(err, errno, "open %s", part);
        int r = verify ? verify_fd(fd, a, "what was fetched", err) : 0;
        if (r < 0) {
                if (r == -EBADMSG)
                        (void)unlink(part);
                return r;
        }
        mode_t mode = 0444 | (a->type == ARTIFACT_FILE ? a->mode & 0111 : 0);
        if (fchmod(fd, mode) < 0 || fsync(fd) < 0 || rename(part, payload) < 0)
                return err_set_errno(err, errno, "keep %s", payload);
        r = sync_folder(s, "artifacts");
        if (r < 0)
                return err_set_errno(err, -r, "keep %s", payload);
        artifact_store_drop_partial(s, a->sha256);
        return 0;
}

/* ---- trees and files */

bool artifact_store_is_ready(const struct artifact_store *s, const struct artifact *a) {
        struct stat st;
        if (a->type != ARTIFACT_TREE && a->type != ARTIFACT_FILE)
                return artifact_store_has(s, a->sha256, a->length);
        _cleanup_(x_freep) char *place = artifact_store_place(s, a);
        if (!place || lstat(place, &st) < 0)
                return false;
        if (a->type == ARTIFACT_TREE)
                return S_ISDIR(st.st_mode);
        return S_ISREG(st.st_mode) && st.st_size == a->length;
}

/* Puts what was made at `fresh` where `path` is, in one step. */
static int exchange(const char *fresh, const char *path, struct err **err) {
        if (renameat2(AT_FDCWD, fresh, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
                return 0;
        if (errno != EEXIST && errno != EINVAL)
                return err_set_errno(err, errno, "make %s", path);
        if (renameat2(AT_FDCWD, fresh, AT_FDCWD, path, RENAME_EXCHANGE) < 0) {
                /* A file system without it: a moment without the folder. */
                int r = path_remove(path, err);
                if (r < 0)
                        return r;
                if (rename(fresh, path) < 0)
                        return err_set_errno(err, errno, "make %s", path);
        }
        return path_remove(fresh, err);
}

static int unpack_tree(const struct artifact_store *s, const struct artifact *a, int payload,
                       struct err **err) {
        _cleanup_(x_freep) char *path = path_of(s, "trees", a->sha256, ""),
                                *fresh = path_of(s, "trees", a->sha256, STORE_NEW);
        _cleanup_(root_dir_freep) struct root_dir *into = NULL;
        struct payload_unpack_options options = {.keep_owner = geteuid() == 0};
        int r;
        if (!path || !fresh)
                return err_set_errno(err, ENOMEM, "%s:%s", a->name, a->version);
        if ((r = path_remove(fresh, err)) < 0 || (r = dir_make(fresh, 0755, err)) < 0 ||
            (r = chmod(fresh, 0755) < 0 ? err_set_errno(err, errno, "%s", fresh) : 0) < 0 || /* umask */
            (r = root_dir_open(fresh, &into, err)) < 0)
                return r;
        r = payload_unpack_tree(payload, into, &options, err);
        if (r < 0) {
                (void)path_remove(fresh, NULL);
                return r;
        }
        if ((r = exchange(fresh, path, err)) < 0)
                return r;
        r = sync_folder(s, "trees");
        return r < 0 ? err_set_errno(err, -r, "make %s", path) : 0;
}

static int link_file(const struct artifact_store *s, const struct artifact *a, int payload,
                     struct err **err) {
        _cleanup_(x_freep) char *folder = artifact_store_folder(s, a), *place = artifact_store_place(s, a),
                                *source = artifact_store_payload(s, a->sha256);
        struct stat st;
        if (!folder || !place || !source)
                return err_set_errno(err, ENOMEM, "%s:%s", a->name, a->version);
        int r = dir_make(folder, 0755, err);
        if (r < 0)
                return r;
        if (chmod(folder, 0755) < 0) /* whatever the umask left of it: its app may be another user's */
                return err_set_errno(err, errno, "%s", folder);
        (void)unlink(place);
        if (fstat(payload, &st) < 0 || fchmod(payload, (st.st_mode & 0111) | 0444 | (a->mode & 0111)) < 0 ||
            link(source, place) < 0)
                return err_set_errno(err, errno, "make %s", place);
        return 0;
}

int artifact_store_prepare(const struct artifact_store *s, const struct artifact *a, bool again,
                           struct err **err) {
        if (!again && artifact_store_is_ready(s, a))
                return 0;
        _cleanup_(x_closep) int payload = artifact_store_open_payload(s, a->sha256);
        if (payload < 0)
                return err_set_errno(err, -payload, "payload of %s:%s", a->name, a->version);
        int r = again ? verify_fd(payload, a, "its payload on this node", err) : 0;
        if (r == 0 && a->type == ARTIFACT_TREE)
                r = unpack_tree(s, a, payload, err);
        else if (r == 0 && a->type == ARTIFACT_FILE)
                r = link_file(s, a, payload, err);
        if (r == -EBADMSG) {
                /* A file is the payload by another name: it is as damaged. */
                if (a->type == ARTIFACT_FILE)
                        (void)remove_name(s, "files", a->sha256);
                (void)remove_name(s, "artifacts", a->sha256);
        }
        return r < 0 ? err_wrap_code(err, r, "artifact %s:%s", a->name, a->version) : 0;
}

static int64_t now_s(const struct artifact_store *s) {
        return clock_wall_ms(s->clock) / 1000;
}

/* ---- checking
 *
 * Sizes and modes are compared each time, contents rarely: at the first check of this process, and after
 * STORE_CONTENT_S of it. A file is compared as well whenever its inode was touched since: ctime cannot be set
 * back, so that what is found unchanged was not written to; only a disk that forgets is left for the rare
 * comparison. Of a tree only the rare comparison reads contents, since it has many inodes. */

struct seen {
        struct timespec changed; /* ctime */
        ino_t inode;
        int64_t at; /* Unix seconds */
};

static bool was_seen(struct artifact_store *s, const char *sha256, const struct stat *st) {
        int64_t now = now_s(s);
        (void)pthread_mutex_lock(&s->seen_lock);
        const struct seen *seen = table_get(s->seen, sha256);
        bool is = seen && now >= seen->at && now - seen->at < STORE_CONTENT_S &&
                  (!st || (st->st_ino == seen->inode && st->st_ctim.tv_sec == seen->changed.tv_sec &&
                           st->st_ctim.tv_nsec == seen->changed.tv_nsec));
        (void)pthread_mutex_unlock(&s->seen_lock);
        return is;
}

static void note_seen(struct artifact_store *s, const char *sha256, const struct stat *st) {
        struct seen *seen = calloc(1, sizeof(*seen));
        if (!seen)
                return; /* it is compared again */
        seen->at = now_s(s);
        if (st) {
                seen->changed = st->st_ctim;
                seen->inode = st->st_ino;
        }
        (void)pthread_mutex_lock(&s->seen_lock);
        if (table_set(s->seen, sha256, seen) < 0)
                free(seen);
        (void)pthread_mutex_unlock(&s->seen_lock);
}

static int check_file(struct artifact_store *s, const struct artifact *a, unsigned *ret_differ, char *first,
                      size_t first_size, struct err **err) {
        _cleanup_(x_freep) char *place = artifact_store_place(s, a);
        char digest[SHA256_HEX_SIZE];
        struct stat st;
        const char *what = NULL;
        if (!place)
                return err_set_errno(err, ENOMEM, "artifact %s:%s", a->name, a->version);
        _cleanup_(x_closep) int fd = open(place, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        mode_t mode = 0444 | (a->mode & 0111);
        if (fd < 0 || fstat(fd, &st) < 0) {
                what = "is missing";
        } else if (!S_ISREG(st.st_mode) || st.st_size != a->length) {
                what = "has another size";
        } else if ((st.st_mode & mode) != mode || (st.st_mode & 07222)) {
                what = "has another mode";
        } else if (!was_seen(s, a->sha256, &st)) {
                int r = sha256_file_hex(fd, digest);
                if (r < 0)
                        return err_set_errno(err, -r, "read %s", place);
                if (str_eq(digest, a->sha256))
                        note_seen(s, a->sha256, &st); /* as it was before it was read */
                else
                        what = "has another content";
        }
        *ret_differ = what != NULL;
        (void)snprintf(first, first_size, "%s%s%s", what ? file_name_of(a) : "", what ? " " : "",
                       what ? what : "");
        return 0;
}

static int check_tree(struct artifact_store *s, const struct artifact *a, unsigned *ret_differ, char *first,
                      size_t first_size, struct err **err) {
        _cleanup_(x_freep) char *place = artifact_store_place(s, a);
        _cleanup_(root_dir_freep) struct root_dir *folder = NULL;
        if (!artifact_store_is_ready(s, a)) {
                *ret_differ = 1;
                (void)snprintf(first, first_size, "%s", file_name_of(a));
                return 0;
        }
        _cleanup_(x_closep) int payload = artifact_store_open_payload(s, a->sha256);
        if (payload < 0)
                return err_set_errno(err, -payload, "payload of %s:%s", a->name, a->version);
        bool quick = was_seen(s, a->sha256, NULL);
        int r = place ? root_dir_open(place, &folder, err) : err_set_errno(err, ENOMEM, "artifact");
        if (r == 0)
                r = payload_check_tree(payload, folder, quick, ret_differ, first, first_size, err);
        if (r == 0 && !quick && *ret_differ == 0)
                note_seen(s, a->sha256, NULL);
        return r < 0 ? err_wrap_code(err, r, "artifact %s:%s", a->name, a->version) : 0;
}

int artifact_store_check(struct artifact_store *s, const struct artifact *a, unsigned *ret_differ,
                         char *first, size_t first_size, struct err **err) {
        if (a->type == ARTIFACT_TREE)
                return check_tree(s, a, ret_differ, first, first_size, err);
        if (a->type == ARTIFACT_FILE)
                return check_file(s, a, ret_differ, first, first_size, err);
        *ret_differ = !artifact_store_is_ready(s, a);
        (void)snprintf(first, first_size, "%s", file_name_of(a));
        return 0;
}

/* ---- room */

struct usage {
        char sha256[65];
        int64_t bytes, last_use;
};
struct inventory {
        struct usage *items;
        size_t n, cap;
        int64_t total;
};

static int count_payload(const struct artifact_store *s, const char *folder, const char *name, void *arg) {
        struct inventory *v = arg;
        struct stat st;
        _cleanup_(x_freep) char *path = path_of(s, folder, name, ""), *tree = path_of(s, "trees", name, "");
        if (!path || !tree)
                return -ENOMEM;
        if (!sha256_hex_is_valid(name) || lstat(path, &st) < 0)
                return 0;
        if (v->n == v->cap) {
                size_t cap = v->cap ? v->cap * 2 : 16;
                struct usage *more = reallocarray(v->items, cap, sizeof(*more));
                if (!more)
                        return -ENOMEM;
                v->items = more;
                v->cap = cap;
        }
        struct usage *u = &v->items[v->n++];
        *u = (struct usage){.bytes = (int64_t)st.st_blocks * 512};
        memcpy(u->sha256, name, sizeof(u->sha256));
        if (access(tree, F_OK) == 0)
                u->bytes *= 2; /* about as much again */
        v->total += u->bytes;
        void *value;
        for (size_t i = 0; table_next(s->entries, &i, NULL, &value);) {
                const struct entry *e = value;
                if (str_eq(e->artifact->sha256, name))
                        u->last_use = MAX(u->last_use, e->last_use);
        }
        return 0;
}

static int by_use(const void *a, const void *b) {
        const struct usage *x = a, *y = b;
        return x->last_use < y->last_use ? -1 : x->last_use > y->last_use;
}

int64_t artifact_store_bytes(const struct artifact_store *s) {
        struct inventory v = {0};
        (void)artifact_store_each_name(s, "artifacts", count_payload, &v, NULL);
        free(v.items);
        return v.total;
}

struct sweep {
        bool (*keep)(void *arg, const char *sha256);
        void *arg;
        bool all;
};

static bool is_needed(const struct artifact_store *s, const struct sweep *w, const char *sha256) {
        /* What only may have run before is let go of when the disk is full, and not earlier. */
        return artifact_index_names(s->running, sha256, true) ||
               artifact_index_names(s->previous, sha256, !w->all) || table_get(s->claimed, sha256) ||
               w->keep(w->arg, sha256);
}

static int sweep_partial(const struct artifact_store *s, const char *folder, const char *name, void *arg) {
        const struct sweep *w = arg;
        _cleanup_(x_freep) char *digest = str_dup_n(name, 64);
        if (!digest)
                return -ENOMEM;
        if (!sha256_hex_is_valid(digest)) {
                (void)remove_name(s, folder, name);
                return 0;
        }
        _cleanup_(x_freep) char *payload = artifact_store_payload(s, digest);
        if (!payload)
                return -ENOMEM;
        /* Also what a kill left between the payload's being there and the end of its partial files. */
        bool whole = access(payload, F_OK) == 0;
        if (!table_get(s->claimed, digest) && (whole || !w->keep(w->arg, digest)))
                (void)remove_name(s, folder, name);
        return 0;
}

/* Trees and files whose payload has gone. */
static int sweep_orphan(const struct artifact_store *s, const char *folder, const char *name, void *arg) {
        _cleanup_(x_freep) char *payload = artifact_store_payload(s, name);
        if (payload && access(payload, F_OK) < 0 && !is_needed(s, arg, name))
                (void)remove_name(s, folder, name);
        return 0;
}

static bool forget_gone(struct artifact_store *s, const struct sweep *w) {
        bool any = false;
        void *value;
        for (size_t i = 0; table_next(s->entries, &i, NULL, &value);) {
                const struct entry *e = value;
                if (is_needed(s, w, e->artifact->sha256) ||
                    artifact_store_has(s, e->artifact->sha256, e->artifact->length))
                        continue;
                _cleanup_(x_freep) char *name = str_dup(e->name);
                if (name)
                        any |= table_remove(s->entries, name);
        }
        return any;
}

int artifact_store_sweep(struct artifact_store *s, bool (*keep)(void *arg, const char *sha256), void *arg,
                         bool all, size_t *ret_removed, struct err **err) {
        struct sweep w = {keep, arg, all};
        struct inventory v = {0};
        int64_t budget = all ? 0 : budget_bytes(s);
        size_t removed = 0;
        if (s->lost) {
                if (ret_removed)
                        *ret_removed = 0;
                return 0;
        }
        int r = artifact_store_each_name(s, "artifacts", count_payload, &v, err);
        if (r == 0 && v.n > 1)
                qsort(v.items, v.n, sizeof(*v.items), by_use);
        for (size_t i = 0; r == 0 && i < v.n && v.total > budget; i++) {
                const char *digest = v.items[i].sha256;
                if (is_needed(s, &w, digest))
                        continue;
                /* What shows goes first: a tree without its payload could not be checked. */
                if (remove_name(s, "trees", digest) < 0 || remove_name(s, "files", digest) < 0 ||
                    remove_name(s, "artifacts", digest) < 0)
                        continue;
                v.total -= v.items[i].bytes;
                removed++;
        }
        free(v.items);
        if (r == 0 && (r = artifact_store_each_name(s, "partial", sweep_partial, &w, err)) == 0 &&
            (r = artifact_store_each_name(s, "trees", sweep_orphan, &w, err)) == 0)
                r = artifact_store_each_name(s, "files", sweep_orphan, &w, err);
        if (r == 0 && forget_gone(s, &w))
                r = artifact_index_save(s, err);
        if (ret_removed)
                *ret_removed = removed;
        return r;
}
