/* SPDX-License-Identifier: Apache-2.0 */
#include "server/repository.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "base/table.h"
#include "codec/json.h"
#include "relay/edge.h"
#include "relay/repository_cache.h"
#include "relay/repository_path.h"
#include "repo/object_store.h"
#include "repo/tuf/client.h"
#include "repo/tuf/metadata.h"
#include "server/authority.h"
#include "server/memory.h"

#define ROOT_EVERY_MS ((msec_t)60 * 1000) /* how soon a new root is noticed by itself */
#define SAID_MAX 10000
#define CACHE_BYTES_MAX ((int64_t)50 << 30)

struct repository {
        struct control *control;
        struct root_dir *folder;        /* a published folder, or NULL: */
        struct repository_cache *cache; /* of what is served elsewhere */
        struct object_store *store;     /* the cache's */
        json_t *root;                   /* newest that is trusted */
        int64_t root_version;
        struct tuf_metadata *trusted; /* the same, to judge the next one by */
        struct loop_timer *timer;
        bool reading_root, root_is_new, stopped;
        struct table *said_ahead; /* digests of artifacts that relays were told of */
        int said;                 /* the error that was logged last */
};

bool repository_is_there(const struct control *c) {
        return c->repository != NULL;
}

/* ---- a folder */

static int open_folder(struct repository *r, const char *path, struct err **err) {
        _cleanup_(x_freep) char *published = must(path_join(path, "public"));
        struct stat st;
        bool is_work = stat(published, &st) == 0 && S_ISDIR(st.st_mode);
        int e = root_dir_open(is_work ? published : path, &r->folder, err);
        return e < 0 ? err_wrap_code(err, e, "--repository") : 0;
}

static int open_file(const struct repository *r, const char *path, struct stat *ret) {
        /* Not waiting for a peer: what stands there might be a pipe. */
        _cleanup_(x_closep) int fd =
                root_dir_openat(r->folder, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
        if (fd < 0)
                return fd == -ENOTDIR || fd == -EXDEV || fd == -ELOOP ? -ENOENT : fd;
        if (fstat(fd, ret) < 0)
                return -errno;
        return S_ISREG(ret->st_mode) ? TAKE_FD(fd) : -ENOENT;
}

static void serve_folder(const struct repository *r, const struct edge_repository_request *q,
                         void (*done)(void *arg, const struct edge_repository_file *f), void *arg) {
        struct stat st = {0};
        char etag[64];
        int fd = open_file(r, q->path, &st);
        /* What changes is replaced by another file. */
        (void)snprintf(etag, sizeof(etag), "%llx-%llx-%llx", (unsigned long long)st.st_ino,
                       (unsigned long long)st.st_mtim.tv_sec * 1000000000u +
                               (unsigned long long)st.st_mtim.tv_nsec,
                       (unsigned long long)st.st_size);
        struct edge_repository_file f = {
                .error = fd < 0 ? fd : 0,
                .fd = fd,
                .length = st.st_size,
                .etag = q->named->immutable ? q->named->etag : etag,
                .immutable = q->named->immutable,
        };
        done(arg, &f);
}

/* ---- either */

void repository_serve(struct control *c, const struct edge_repository_request *q,
                      void (*done)(void *arg, const struct edge_repository_file *f), void *arg) {
        struct repository *r = c->repository;
        if (r && r->folder) {
                serve_folder(r, q, done, arg);
        } else if (r && r->cache) {
                repository_cache_get(r->cache, q, done, arg);
        } else {
                struct edge_repository_file f = {.error = -ENODEV, .fd = -1};
                done(arg, &f);
        }
}

struct reading {
        void (*done)(void *arg, int fd);
        void *arg;
};

static void on_read(void *arg, const struct edge_repository_file *f) {
        struct reading *reading = arg;
        void (*done)(void *arg, int fd) = reading->done;
        void *done_arg = reading->arg;
        free(reading);
        done(done_arg, f->error == -ENODEV ? -ENOENT : f->error < 0 ? f->error : f->fd);
}

void repository_read(struct control *c, const char *path, bool fresh, void (*done)(void *arg, int fd),
                     void *arg) {
        struct repository_path named;
        int r = repository_path_parse(path, &named);
        if (r < 0) {
                done(arg, r);
                return;
        }
        struct reading *reading = NEW(struct reading);
        *reading = (struct reading){done, arg};
        struct edge_repository_request q = {.path = path, .named = &named, .fresh = fresh};
        repository_serve(c, &q, on_read, reading);
}

/* ---- the newest root */

static void read_next_root(struct repository *r);

/* Nodes and relays that came before the repository had a root hear of it. */
static json_t *bundle_with_repository(const struct control *c) {
        json_t *bundle = authority_bundle(c->authority), *repository = repository_bundle(c);
        if (repository)
                json_put(bundle, "repository", repository);
        return bundle;
}

/* What nodes without a root are given is what they trust from then on: so each root must be signed by the
 * keys of the one before, as on the nodes (TUF 5.3). Whoever can write to the repository cannot make one. */
static int take_root_text(struct repository *r, const char *text, size_t len, struct err **err) {
        _cleanup_json_ json_t *j = NULL;
        _cleanup_(tuf_metadata_freep) struct tuf_metadata *m = NULL;
        int e = json_decode(text, len, &j, err);
        if (e < 0 || (e = tuf_metadata_parse(TUF_ROOT, text, len, &m, err)) < 0)
                return e;
        if (r->trusted && m->version != r->root_version + 1)
                return err_set(err, EBADMSG, "root version %lld stands where %lld should",
                               (long long)m->version, (long long)r->root_version + 1);
        if ((r->trusted &&
             (e = tuf_metadata_verify(m, "root", r->trusted, &r->trusted->roles[TUF_ROOT], err)) < 0) ||
            (e = tuf_metadata_verify(m, "root", m, &m->roles[TUF_ROOT], err)) < 0)
                return e;
        json_decref(r->root);
        r->root = TAKE_PTR(j);
        tuf_metadata_free(r->trusted);
        r->root_version = m->version;
        r->trusted = TAKE_PTR(m);
        return 0;
}

/* Where the catalog's reader keeps the root that it came to by the chain. The very first is taken as it is
 * found in the repository; after that a restart begins here, and not with what lies there by then. */
static void take_stored_root(struct repository *r) {
        _cleanup_(x_freep) char *path =
                must(path_join(r->control->settings->state, "director/trusted/root.json"));
        _cleanup_(x_freep) char *text = NULL;
        size_t len = 0;
        if (file_read(path, TUF_ROOT_MAX, &text, &len, NULL) == 0)
                (void)take_root_text(r, text, len, NULL);
}

static int take_root(struct repository *r, int fd, struct err **err) {
        _cleanup_(x_freep) char *text = must(malloc(TUF_ROOT_MAX));
        size_t len = 0;
        while (len < TUF_ROOT_MAX) {
                ssize_t n = pread(fd, text + len, TUF_ROOT_MAX - len, (off_t)len);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return err_set_errno(err, errno, "read it");
                if (n == 0)
                        break;
                len += (size_t)n;
        }
        if (len == TUF_ROOT_MAX)
                return err_set_errno(err, EFBIG, "read it");
        int e = take_root_text(r, text, len, err);
        r->root_is_new |= e >= 0;
        return e;
}

static void on_root(void *arg, int fd) {
        struct repository *r = arg;
        _cleanup_(x_closep) _unused_ int owned = fd;
        _cleanup_(err_freep) struct err *err = NULL;
        int e = fd < 0 ? fd : take_root(r, fd, &err);
        r->reading_root = false;
        if (e == -ECANCELED || r->stopped)
                return;
        if (e >= 0) {
                read_next_root(r);
                return;
        }
        if (r->root_is_new && r->control->edge)
                edge_broadcast(r->control->edge, "bundle", bundle_with_repository(r->control));
        r->root_is_new = false;
        if (e == -ENOENT && r->root)
                e = 0; /* this is the newest */
        if (e < 0 && e != r->said)
                log_warning("the repository's root metadata cannot be read or is not to be trusted",
                            "repository", r->control->settings->repository, "error",
                            err ? err_message(err) : strerror(-e), NULL);
        r->said = e;
        loop_timer_set(r->timer, ROOT_EVERY_MS);
}

/* Every root names its successor's keys, so they are kept for ever and counted from 1. */
static void read_next_root(struct repository *r) {
        char path[64];
        if (r->reading_root)
                return;
        r->reading_root = true;
        (void)snprintf(path, sizeof(path), "metadata/%lld.root.json", (long long)r->root_version + 1);
        repository_read(r->control, path, true, on_root, r);
}

static void on_timer(void *arg) {
        read_next_root(arg);
}

const json_t *repository_root(const struct control *c) {
        return c->repository ? c->repository->root : NULL;
}

json_t *repository_bundle(const struct control *c) {
        const struct repository *r = c->repository;
        const struct settings *s = c->settings;
        if (!r || !r->root)
                return NULL;
        json_t *j = json_object_new(), *mirrors = json_array_new();
        for (size_t i = 0; s->repository_mirrors && s->repository_mirrors[i]; i++)
                json_add(mirrors, json_text(s->repository_mirrors[i]));
        json_put(j, "root", json_incref(r->root));
        json_put(j, "trust", json_text(s->repository_trust));
        json_put(j, "mirrors", mirrors);
        return j;
}

bool repository_say_once(struct control *c, const char *sha256) {
        struct repository *r = c->repository;
        if (!r || table_get(r->said_ahead, sha256))
                return false;
        if (table_len(r->said_ahead) >= SAID_MAX) {
                table_free(r->said_ahead);
                r->said_ahead = must(table_new(NULL));
        }
        must_do(table_set(r->said_ahead, sha256, r));
        return true;
}

void repository_prefetch(struct control *c, const char *const *paths, size_t n) {
        json_t *list = json_array_new();
        for (size_t i = 0; i < n; i++)
                json_add(list, json_text(paths[i]));
        json_t *body = json_object_new();
        json_put(body, "paths", list);
        if (c->edge && n > 0)
                edge_send_relays(c->edge, "prefetch", body);
        else
                json_decref(body);
}

/* ---- life */

static int open_cache(struct repository *r, const char *url, struct err **err) {
        struct control *c = r->control;
        _cleanup_(x_freep) char *objects = must(path_join(c->settings->state, "repository")),
                                *work = must(path_join(c->settings->state, "repository/work"));
        const char *const mirrors[] = {url, NULL};
        struct repository_cache_options o = {.work = work, .mirrors = mirrors};
        int e = object_store_open(objects, CACHE_BYTES_MAX, &r->store, err);
        if (e < 0)
                return e;
        o.store = r->store;
        return repository_cache_new(c->loop, &o, &r->cache, err);
}

int repository_open(struct control *c, struct err **err) {
        const char *where = c->settings->repository;
        if (!where)
                return 0;
        struct repository *r = NEW(struct repository);
        c->repository = r;
        r->control = c;
        r->said_ahead = must(table_new(NULL));
        r->timer = must(loop_timer_new(c->loop, on_timer, r));
        take_stored_root(r);
        bool is_url = str_has_prefix(where, "https://") || str_has_prefix(where, "http://");
        return is_url ? open_cache(r, where, err) : open_folder(r, where, err);
}

void repository_start(struct control *c) {
        if (c->repository)
                read_next_root(c->repository);
}

void repository_stop(struct control *c) {
        struct repository *r = c->repository;
        if (!r)
                return;
        r->stopped = true;
        r->cache = repository_cache_free(r->cache);
        r->timer = loop_timer_free(r->timer);
}

struct repository *repository_free(struct repository *r) {
        if (!r)
                return NULL;
        object_store_free(r->store);
        root_dir_free(r->folder);
        table_free(r->said_ahead);
        json_decref(r->root);
        tuf_metadata_free(r->trusted);
        free(r);
        return NULL;
}
