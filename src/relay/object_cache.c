/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/object_cache.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/list.h"
#include "base/str.h"
#include "base/table.h"
#include "crypto/digest.h"
#include "net/backoff.h"

#define OBJECT_MAX ((size_t)64 << 30)
#define VERIFIED_MAX 100000 /* digests remembered as checked; past it the memory starts over */
#define ATTEMPTS_MAX 6
#define ROOM_BYTES ((int64_t)64 << 20) /* freed on a full disk, past twice of what was to be written */
#define BACKOFF_BASE_MS 200
#define BACKOFF_CAP_MS 5000

struct object_cache {
        struct loop *loop;
        struct object_store *store;
        struct upstream *upstream;
        struct table *fetches;  /* digest -> struct fetch */
        struct table *verified; /* digests of objects that were checked since the start */
        struct prng random;
        struct object_cache_stats stats;
};

struct waiter {
        struct list link;
        void (*done)(void *arg, int fd);
        void *arg;
};

/* One object on its way: checked on disk, then fetched, then committed; the steps that block run on the
 * worker pool. */
struct fetch {
        struct object_cache *cache; /* NULL: the cache went while a worker had it */
        struct object_store *store;
        char sha256[SHA256_HEX_SIZE];
        struct list waiters;
        struct http_call *call;
        struct object_writer *writer;
        struct loop_timer *retry;
        struct backoff backoff;
        uint64_t offset;        /* bytes in the writer */
        uint64_t offset_before; /* when the last attempt began */
        int attempts;
        int write_error;
        bool made_room; /* the disk was full once */
        bool working;   /* a worker has it */
        int result;     /* of the worker */
};

static void fetch_free(struct fetch *f) {
        object_writer_free(f->writer);
        loop_timer_free(f->retry);
        free(f);
}

static void remember_verified(struct object_cache *c, const char *sha256) {
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

/* Tells all that wait and ends the fetch. */
static void finish(struct fetch *f, int result) {
        struct object_cache *c = f->cache;
        (void)table_take(c->fetches, f->sha256);
        if (result < 0)
                c->stats.failures++;
        while (!list_is_empty(&f->waiters)) {
                struct waiter *w = LIST_ENTRY(f->waiters.next, struct waiter, link);
                list_remove(&w->link);
                int fd = result < 0 ? result : object_store_open_object(f->store, f->sha256);
                w->done(w->arg, fd);
                free(w);
        }
        fetch_free(f);
}

static void hand_to_worker(struct fetch *f, void (*work)(void *arg), void (*done)(void *arg)) {
        f->working = true;
        if (loop_work(f->cache->loop, work, done, f) < 0) {
                f->working = false;
                finish(f, -ENOMEM);
        }
}

/* Back on the loop: false when the cache has gone, and then so has the fetch. */
static bool back_from_worker(struct fetch *f) {
        f->working = false;
        if (f->cache)
                return true;
        fetch_free(f);
        return false;
}

/* ---- fetching */

static void start_transfer(void *arg);

/* A full disk: older objects go, once, and the transfer begins anew. */
static void work_make_room(void *arg) {
        struct fetch *f = arg;
        f->result = object_store_make_room(f->store, ROOM_BYTES + 2 * (int64_t)f->offset, NULL);
}

static void on_room_made(void *arg) {
        struct fetch *f = arg;
        if (!back_from_worker(f))
                return;
        f->offset = f->offset_before = 0;
        if (f->result < 0)
                finish(f, -ENOSPC);
        else
                start_transfer(f);
}

static bool make_room(struct fetch *f, int error) {
        if (error != -ENOSPC || f->made_room)
                return false;
        f->made_room = true;
        f->write_error = 0;
        f->writer = object_writer_free(f->writer);
        hand_to_worker(f, work_make_room, on_room_made);
        return true;
}

static void work_commit(void *arg) {
        struct fetch *f = arg;
        f->result = object_writer_commit(f->writer, NULL);
        if (f->result >= 0)
                (void)object_store_trim(f->store, NULL);
}

static void on_committed(void *arg) {
        struct fetch *f = arg;
        if (!back_from_worker(f))
                return;
        if (make_room(f, f->result))
                return;
        if (f->result >= 0) {
                f->cache->stats.fetched++;
                f->cache->stats.fetched_bytes += f->offset;
                remember_verified(f->cache, f->sha256);
        }
        finish(f, f->result);
}

/* A link that breaks takes the transfers on it along: one that had got somewhere waits for the link to come
 * back, a few times, and counts afresh with every byte that it gets. */
static void try_again(struct fetch *f) {
        if (f->offset > f->offset_before)
                f->attempts = 0;
        f->offset_before = f->offset;
        if (++f->attempts >= ATTEMPTS_MAX || (f->offset == 0 && !upstream_is_up(f->cache->upstream))) {
                finish(f, -EHOSTUNREACH);
                return;
        }
        if (!f->retry)
                f->retry = loop_timer_new(f->cache->loop, start_transfer, f);
        if (!f->retry)
                finish(f, -ENOMEM);
        else
                loop_timer_set(f->retry, backoff_next(&f->backoff, &f->cache->random, -1));
}

static void on_headers(void *arg, int status) {
        struct fetch *f = arg;
        if (status == 200) { /* the whole from its start */
                f->writer = object_writer_free(f->writer);
                f->offset = 0;
                f->write_error = object_writer_new(f->store, f->sha256, OBJECT_MAX, &f->writer, NULL);
        } else if (status >= 200 && status < 300 && (status != 206 || !f->writer)) {
                f->write_error = -EPROTO;
        }
}

static int on_data(void *arg, const char *p, size_t n) {
        struct fetch *f = arg;
        if (f->write_error >= 0)
                f->write_error = f->writer ? object_writer_append(f->writer, p, n, NULL) : -EPROTO;
        if (f->write_error >= 0)
                f->offset += n;
        return f->write_error;
}

static void on_transferred(void *arg, const struct http_result *r) {
        struct fetch *f = arg;
        f->call = NULL;
        if (make_room(f, f->write_error))
                return;
        if (f->write_error < 0)
                finish(f, f->write_error);
        else if (r->error < 0 || r->status >= 500 || r->status == 429)
                try_again(f);
        else if (r->status == 200 || r->status == 206 ||
                 (r->status == 416 && f->writer)) /* it broke after the last byte */
                hand_to_worker(f, work_commit, on_committed);
        else
                finish(f, r->status == 404 ? -ENOENT : -EHOSTUNREACH);
}

static void start_transfer(void *arg) {
        struct fetch *f = arg;
        struct object_cache *c = f->cache;
        char path[sizeof("/edge/v1/objects/sha256/") + SHA256_HEX_SIZE], range[64], condition[96];
        if (!upstream_is_up(c->upstream)) {
                try_again(f);
                return;
        }
        snprintf(path, sizeof(path), "/edge/v1/objects/sha256/%s", f->sha256);
        snprintf(range, sizeof(range), "Range: bytes=%llu-", (unsigned long long)f->offset);
        snprintf(condition, sizeof(condition), "If-Range: \"%s\"", f->sha256);
        const char *headers[] = {range, condition, NULL};
        _cleanup_(x_freep) char *url = upstream_url(c->upstream, path);
        struct http_request q = {
                .url = url,
                .headers = f->offset > 0 ? headers : NULL,
                .on_headers = on_headers,
                .on_data = on_data,
                .done = on_transferred,
                .arg = f,
        };
        if (!url || http_client_send(upstream_client(c->upstream), &q, &f->call, NULL) < 0)
                finish(f, -ENOMEM);
}

/* ---- checking what is here */

static void work_check(void *arg) {
        struct fetch *f = arg;
        f->result = object_store_check(f->store, f->sha256, NULL);
}

static void on_checked(void *arg) {
        struct fetch *f = arg;
        if (!back_from_worker(f))
                return;
        if (f->result < 0) { /* damaged, and now removed */
                start_transfer(f);
                return;
        }
        f->cache->stats.hits++;
        remember_verified(f->cache, f->sha256);
        finish(f, 0);
}

static int add_waiter(struct fetch *f, void (*done)(void *arg, int fd), void *arg) {
        struct waiter *w = calloc(1, sizeof(*w));
        if (!w)
                return -ENOMEM;
        w->done = done;
        w->arg = arg;
        list_append(&f->waiters, &w->link);
        return 0;
}

void object_cache_get(struct object_cache *c, const char *sha256, void (*done)(void *arg, int fd),
                      void *arg) {
        if (!sha256_hex_is_valid(sha256)) {
                done(arg, -EINVAL);
                return;
        }
        struct fetch *f = table_get(c->fetches, sha256);
        if (f) {
                if (add_waiter(f, done, arg) < 0)
                        done(arg, -ENOMEM);
                return;
        }
        if (table_get(c->verified, sha256)) {
                int fd = object_store_open_object(c->store, sha256);
                if (fd >= 0) {
                        c->stats.hits++;
                        done(arg, fd);
                        return;
                }
                (void)table_remove(c->verified, sha256); /* trimmed since */
        }
        f = calloc(1, sizeof(*f));
        if (!f || (list_init(&f->waiters), add_waiter(f, done, arg)) < 0) {
                free(f);
                done(arg, -ENOMEM);
                return;
        }
        f->cache = c;
        f->store = c->store;
        f->backoff = (struct backoff)BACKOFF_INIT(BACKOFF_BASE_MS, BACKOFF_CAP_MS);
        memcpy(f->sha256, sha256, SHA256_HEX_SIZE);
        if (table_set(c->fetches, sha256, f) < 0)
                finish(f, -ENOMEM);
        else if (object_store_has(c->store, sha256))
                hand_to_worker(f, work_check, on_checked);
        else
                start_transfer(f);
}

void object_cache_stats(const struct object_cache *c, struct object_cache_stats *ret) {
        *ret = c->stats;
}

int object_cache_new(struct loop *l, struct object_store *store, struct upstream *upstream,
                     struct object_cache **ret, struct err **err) {
        _cleanup_(object_cache_freep) struct object_cache *c = calloc(1, sizeof(*c));
        if (!c)
                return err_set(err, ENOMEM, "out of memory");
        c->loop = l;
        c->store = store;
        c->upstream = upstream;
        c->fetches = table_new(NULL);
        c->verified = table_new(NULL);
        prng_seed_random(&c->random);
        if (!c->fetches || !c->verified)
                return err_set(err, ENOMEM, "out of memory");
        *ret = TAKE_PTR(c);
        return 0;
}

struct object_cache *object_cache_free(struct object_cache *c) {
        if (!c)
                return NULL;
        const char *sha256;
        void *value;
        for (size_t i = 0; c->fetches && table_next(c->fetches, &i, &sha256, &value);) {
                struct fetch *f = value;
                while (!list_is_empty(&f->waiters)) {
                        struct waiter *w = LIST_ENTRY(f->waiters.next, struct waiter, link);
                        list_remove(&w->link);
                        w->done(w->arg, -ECANCELED);
                        free(w);
                }
                http_call_cancel(f->call);
                (void)table_take(c->fetches, sha256);
                f->cache = NULL;
                if (!f->working)
                        fetch_free(f);
        }
        table_free(c->fetches);
        table_free(c->verified);
        free(c);
        return NULL;
}
