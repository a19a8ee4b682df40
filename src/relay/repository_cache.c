/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/repository_cache.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/list.h"
#include "base/str.h"
#include "base/table.h"
#include "relay/repository_documents.h"
#include "relay/repository_objects.h"

#define DEFAULT_LIFETIME_MS 10000
#define DEFAULT_PATIENCE_MS 25000
#define VERIFIED_MAX 100000 /* digests remembered as checked; past it the memory starts over */
#define PREFETCHES_AT_ONCE 2

struct repository_cache {
        struct repository_context context;
        struct repository_cache_stats stats;
        struct repository_web *web; /* NULL: the transport is somebody else's */
        char *work;
        char **urls; /* of the sources, in their order */
        struct repository_documents *documents;
        struct repository_objects *objects;
        bool (*server_is_up)(void *arg);
        void *arg;
        bool prefetch;
        struct list prefetches; /* files that wait to be fetched ahead */
        size_t n_prefetches;
        unsigned prefetching;
        struct list passing; /* blocks that pass through */
};

/* ---- what the parts share */

void repository_count(struct repository_context *c, unsigned source, uint64_t bytes) {
        if (c->sources.all[source].kind == SOURCE_PEER)
                c->stats->bytes_peers += bytes;
        else
                c->stats->bytes_origin += bytes;
}

bool repository_is_verified(const struct repository_context *c, const char *sha256) {
        return table_get(c->verified, sha256) != NULL;
}

void repository_set_verified(struct repository_context *c, const char *sha256) {
        if (table_len(c->verified) >= VERIFIED_MAX) {
                struct table *fresh = table_new(NULL);
                if (fresh) {
                        table_free(c->verified);
                        c->verified = fresh;
                }
        }
        /* Its loss costs another check. */
        (void)table_set(c->verified, sha256, c);
}

static bool is_reachable(void *arg, unsigned source) {
        const struct repository_cache *c = arg;
        return c->context.sources.all[source].kind != SOURCE_SERVER || !c->server_is_up ||
               c->server_is_up(c->arg);
}

/* ---- one request */

struct ask {
        struct repository_cache *cache;
        struct repository_path named;
        char *path;
        bool only_if_cached, fresh, patient, looked_again;
        void (*done)(void *arg, const struct edge_repository_file *f);
        void *arg;
};

static void ask_free(struct ask *a) {
        free(a->path);
        free(a);
}

static struct ask *ask_new(struct repository_cache *c, const struct edge_repository_request *q,
                           void (*done)(void *arg, const struct edge_repository_file *f), void *arg) {
        struct ask *a = calloc(1, sizeof(*a));
        if (!a || !(a->path = str_dup(q->path))) {
                free(a);
                return NULL;
        }
        a->cache = c;
        a->named = *q->named;
        a->only_if_cached = q->only_if_cached;
        a->fresh = q->fresh;
        a->done = done;
        a->arg = arg;
        return a;
}

/* A large file has come, or not. */
static void on_object(void *arg, const struct edge_repository_file *f) {
        struct ask *a = arg;
        struct edge_repository_file told = *f;
        told.etag = a->named.etag;
        told.immutable = true;
        a->done(a->arg, &told);
        ask_free(a);
}

static void tell(struct ask *a, int error, const char *message) {
        struct edge_repository_file f = repository_failure(error, message);
        a->done(a->arg, &f);
        ask_free(a);
}

static void get_object(struct ask *a, const char *sha256, int64_t length, const char *range, bool head) {
        char key[SHA256_HEX_SIZE + 8];
        (void)snprintf(key, sizeof(key), "%s%s", sha256 ? sha256 : a->named.sha256, sha256 ? "" : ".pack");
        struct repository_want want = {
                .path = a->path,
                .key = key,
                .sha256 = sha256,
                .length = length,
                .range = range,
                .head = head,
                .fresh = a->fresh,
                .only_if_cached = a->only_if_cached,
                .patient = a->patient,
        };
        repository_objects_get(a->cache->objects, &want, on_object, a);
}

/* ---- deltas: their digest stands in the list of the target's deltas */

static void on_list(void *arg, const struct edge_repository_file *f);

static int get_list(struct ask *a, bool fresh) {
        struct repository_path named;
        char path[REPOSITORY_PATH_MAX];
        (void)snprintf(path, sizeof(path), "deltas/%.2s/%s.json", a->named.sha256, a->named.sha256);
        int r = repository_path_parse(path, &named);
        if (r < 0)
                return r;
        struct edge_repository_request q = {
                .path = path, .named = &named, .fresh = fresh, .only_if_cached = a->only_if_cached};
        repository_documents_get(a->cache->documents, &q, on_list, a);
        return 0;
}

static int read_list(int fd, char **ret, size_t *ret_len) {
        size_t len = 0;
        _cleanup_(x_freep) char *text = malloc(DOCUMENT_LIST_MAX + 1);
        if (!text)
                return -ENOMEM;
        while (len < DOCUMENT_LIST_MAX) {
                ssize_t n = pread(fd, text + len, DOCUMENT_LIST_MAX - len, (off_t)len);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                len += (size_t)n;
        }
        *ret = TAKE_PTR(text);
        *ret_len = len;
        return 0;
}

static void on_list(void *arg, const struct edge_repository_file *f) {
        struct ask *a = arg;
        char sha256[SHA256_HEX_SIZE];
        int64_t length = 0;
        _cleanup_(x_freep) char *text = NULL;
        size_t len = 0;
        if (f->error < 0) {
                tell(a, f->error, f->message);
                return;
        }
        int r = read_list(f->fd, &text, &len);
        (void)close(f->fd);
        if (r >= 0)
                r = repository_delta_find(text, len, a->named.sha256, a->named.from, sha256, &length, NULL);
        /* It may have been made since. */
        if (r == -ENOENT && !a->looked_again && !a->only_if_cached) {
                a->looked_again = true;
                r = get_list(a, true);
                if (r >= 0)
                        return;
        }
        if (r < 0)
                tell(a, r == -ENOENT ? r : -EHOSTUNREACH, NULL);
        else
                get_object(a, sha256, length, NULL, false);
}

/* ---- requests */

static void get_asked(struct ask *a, const char *range, bool head) {
        int r = 0;
        if (a->named.kind == REPOSITORY_TARGET)
                get_object(a, a->named.sha256, -1, NULL, false);
        else if (a->named.kind == REPOSITORY_PACK)
                get_object(a, NULL, -1, range, head);
        else
                r = get_list(a, false);
        if (r < 0)
                tell(a, r, NULL);
}

void repository_cache_get(struct repository_cache *c, const struct edge_repository_request *q,
                          void (*done)(void *arg, const struct edge_repository_file *f), void *arg) {
        if (q->named->kind != REPOSITORY_TARGET && q->named->kind != REPOSITORY_PACK &&
            q->named->kind != REPOSITORY_DELTA) {
                repository_documents_get(c->documents, q, done, arg);
                return;
        }
        struct ask *a = ask_new(c, q, done, arg);
        if (!a) {
                struct edge_repository_file f = repository_failure(-ENOMEM, "out of memory");
                done(arg, &f);
                return;
        }
        get_asked(a, q->range, q->head);
}

/* ---- passing through, where there is no room */

struct passing {
        struct list link;
        struct repository_cache *cache;
        char *path;
        int64_t offset;
        size_t n;
        unsigned source;
        source_mask tried;
        void *call;
        void (*done)(void *arg, int error, const char *p, size_t n);
        void *arg;
};

static void pass(struct passing *p);

static void passing_end(struct passing *p, int error, const char *bytes, size_t n) {
        list_remove(&p->link);
        p->done(p->arg, error, bytes, n);
        free(p->path);
        free(p);
}

static void on_passed(void *arg, const struct repository_result *r) {
        struct passing *p = arg;
        struct repository_context *c = &p->cache->context;
        p->call = NULL;
        p->tried |= (source_mask)1 << p->source;
        repository_count(c, p->source, r->body_len);
        if (r->error == 0 && r->status == 206 && !r->is_page && r->body_len > 0 && r->body_len <= p->n) {
                p->cache->stats.passed++;
                passing_end(p, 0, r->body, r->body_len);
                return;
        }
        if (r->status != 504)
                repository_source_failed(&c->sources.all[p->source], false, repository_now(c),
                                         r->retry_after_ms, &c->random);
        pass(p);
}

static void pass(struct passing *p) {
        struct repository_context *c = &p->cache->context;
        if (repository_sources_pick(&c->sources, true, p->tried, repository_now(c), true, &p->source) < 0) {
                passing_end(p, -EHOSTUNREACH, NULL, 0);
                return;
        }
        struct repository_get get = {
                .source = p->source,
                .path = p->path,
                .first = p->offset,
                .last = p->offset + (int64_t)p->n - 1,
                .limit = p->n,
                .done = on_passed,
                .arg = p,
        };
        int r = c->transport.get(c->transport.arg, &get, &p->call);
        if (r < 0)
                passing_end(p, r, NULL, 0);
}

void repository_cache_block(struct repository_cache *c, const char *path, int64_t offset, size_t n,
                            void (*done)(void *arg, int error, const char *p, size_t n), void *arg) {
        struct passing *p = calloc(1, sizeof(*p));
        if (!p || !(p->path = str_dup(path))) {
                free(p);
                done(arg, -ENOMEM, NULL, 0);
                return;
        }
        p->cache = c;
        p->offset = offset;
        p->n = MIN(n, EDGE_BLOCK_MAX);
        p->done = done;
        p->arg = arg;
        list_append(&c->passing, &p->link);
        pass(p);
}

/* ---- ahead of being asked */

struct prefetch {
        struct list link;
        struct repository_path named;
        char path[];
};

static void prefetch_next(struct repository_cache *c);

static void on_prefetched(void *arg, const struct edge_repository_file *f) {
        struct repository_cache *c = arg;
        if (f->error >= 0) {
                (void)close(f->fd);
                c->stats.prefetched++;
        }
        c->prefetching--;
        if (f->error != -ECANCELED)
                prefetch_next(c);
}

static void prefetch_next(struct repository_cache *c) {
        while (c->prefetching < PREFETCHES_AT_ONCE && !list_is_empty(&c->prefetches)) {
                struct prefetch *p = LIST_ENTRY(c->prefetches.next, struct prefetch, link);
                struct edge_repository_request q = {.path = p->path, .named = &p->named};
                list_remove(&p->link);
                c->n_prefetches--;
                c->prefetching++;
                struct ask *a = ask_new(c, &q, on_prefetched, c);
                if (a && (p->named.kind == REPOSITORY_TARGET || p->named.kind == REPOSITORY_DELTA)) {
                        a->patient = true;
                        get_asked(a, NULL, false);
                } else {
                        if (a)
                                ask_free(a);
                        repository_documents_get(c->documents, &q, on_prefetched, c);
                }
                free(p);
        }
}

void repository_cache_prefetch(struct repository_cache *c, const char *const *paths, size_t n) {
        if (!c->prefetch)
                return;
        for (size_t i = 0; i < n && c->n_prefetches < REPOSITORY_PREFETCH_MAX; i++) {
                struct repository_path named;
                /* A pack as a whole is as much as what it is there to save. */
                if (repository_path_parse(paths[i], &named) < 0 || named.kind == REPOSITORY_PACK)
                        continue;
                size_t size = strlen(paths[i]) + 1;
                struct prefetch *p = calloc(1, sizeof(*p) + size);
                if (!p)
                        return;
                p->named = named;
                memcpy(p->path, paths[i], size);
                list_append(&c->prefetches, &p->link);
                c->n_prefetches++;
        }
        prefetch_next(c);
}

void repository_cache_expire(struct repository_cache *c) {
        repository_documents_expire(c->documents);
        repository_objects_wake(c->objects);
}

void repository_cache_reconnect(struct repository_cache *c) {
        if (c->web)
                repository_web_reconnect(c->web);
}

/* ---- reports */

void repository_cache_stats(const struct repository_cache *c, struct repository_cache_stats *ret) {
        *ret = c->stats;
        ret->parts_bytes = repository_objects_bytes(c->objects);
        ret->waiting = repository_objects_waiting(c->objects);
        ret->known = repository_objects_known(c->objects);
}

json_t *repository_cache_sources(const struct repository_cache *c) {
        static const char *const kinds[] = {"server", "mirror", "peer"};
        json_t *list = json_array();
        for (size_t i = 0; list && i < c->context.sources.n; i++) {
                const struct repository_source *s = &c->context.sources.all[i];
                (void)json_array_append_new(
                        list, json_pack("{s:s, s:s, s:I, s:I, s:I}", "url", s->name, "kind", kinds[s->kind],
                                        "bytes", (json_int_t)s->bytes, "failures", (json_int_t)s->failures,
                                        "lies", (json_int_t)s->lies));
        }
        return list;
}

/* ---- life */

static int add_source(struct repository_cache *c, struct repository_web_source *web,
                      enum repository_source_kind kind, const char *url, struct err **err) {
        struct repository_sources *s = &c->context.sources;
        if (s->n >= REPOSITORY_SOURCES_MAX)
                return err_set(err, E2BIG, "more than %d mirrors and peers", REPOSITORY_SOURCES_MAX - 1);
        if (strv_push(&c->urls, url) < 0)
                return err_set(err, ENOMEM, "out of memory");
        web[s->n] = (struct repository_web_source){kind, c->urls[s->n]};
        s->all[s->n] = (struct repository_source){
                .kind = kind, .name = c->urls[s->n], .backoff = BACKOFF_INIT(1000, 60000)};
        s->n++;
        return 0;
}

static int open_sources(struct repository_cache *c, struct loop *l, const struct repository_cache_options *o,
                        struct err **err) {
        struct repository_web_source web[REPOSITORY_SOURCES_MAX];
        c->context.sources.is_reachable = is_reachable;
        c->context.sources.arg = c;
        int r = o->server ? add_source(c, web, SOURCE_SERVER, o->server, err) : 0;
        for (size_t i = 0; r >= 0 && o->mirrors && o->mirrors[i]; i++)
                r = add_source(c, web, SOURCE_MIRROR, o->mirrors[i], err);
        for (size_t i = 0; r >= 0 && o->peers && o->peers[i]; i++)
                r = add_source(c, web, SOURCE_PEER, o->peers[i], err);
        for (size_t i = 0; r >= 0 && i < o->n_sources; i++)
                r = add_source(c, web, o->sources[i].kind, o->sources[i].url, err);
        if (r < 0)
                return r;
        if (o->transport) {
                c->context.transport = *o->transport;
                return 0;
        }
        r = repository_web_new(l, o->tls, web, c->context.sources.n, &c->web, err);
        if (r < 0)
                return r;
        struct repository_transport t = repository_web_transport(c->web);
        c->context.transport = t;
        return 0;
}

int repository_cache_new(struct loop *l, const struct repository_cache_options *o,
                         struct repository_cache **ret, struct err **err) {
        _cleanup_(repository_cache_freep) struct repository_cache *c = calloc(1, sizeof(*c));
        if (!c)
                return err_set(err, ENOMEM, "out of memory");
        list_init(&c->prefetches);
        list_init(&c->passing);
        c->server_is_up = o->server_is_up;
        c->arg = o->arg;
        c->prefetch = o->prefetch;
        c->work = str_dup(o->work);
        c->context = (struct repository_context){
                .loop = l, .work = c->work, .store = o->store, .stats = &c->stats};
        c->context.verified = table_new(NULL);
        prng_seed_random(&c->context.random);
        if (!c->work || !c->context.verified)
                return err_set(err, ENOMEM, "out of memory");
        int r = open_sources(c, l, o, err);
        if (r >= 0)
                r = repository_documents_new(&c->context,
                                             o->lifetime_ms > 0 ? o->lifetime_ms : DEFAULT_LIFETIME_MS,
                                             &c->documents, err);
        struct repository_objects_options objects = {
                .context = &c->context,
                .limit = o->limit,
                .patience_ms = o->patience_ms > 0 ? o->patience_ms : DEFAULT_PATIENCE_MS,
        };
        if (r >= 0)
                r = repository_objects_new(&objects, &c->objects, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(c);
        return 0;
}

struct repository_cache *repository_cache_free(struct repository_cache *c) {
        if (!c)
                return NULL;
        while (c->prefetches.next && !list_is_empty(&c->prefetches)) {
                struct prefetch *p = LIST_ENTRY(c->prefetches.next, struct prefetch, link);
                list_remove(&p->link);
                free(p);
        }
        while (c->passing.next && !list_is_empty(&c->passing)) {
                struct passing *p = LIST_ENTRY(c->passing.next, struct passing, link);
                c->context.transport.cancel(c->context.transport.arg, p->call);
                passing_end(p, -ECANCELED, NULL, 0);
        }
        repository_documents_free(c->documents);
        repository_objects_free(c->objects);
        repository_web_free(c->web);
        table_free(c->context.verified);
        strv_free(c->urls);
        free(c->work);
        free(c);
        return NULL;
}
