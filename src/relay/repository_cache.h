/* SPDX-License-Identifier: Apache-2.0 */
/* The files of the artifact repository for whoever asks here: from the disk, else fetched from a peer, a
 * mirror or the server, once however many ask (docs/decisions/0011-repository-cache.md).
 *
 *   targets, deltas     kept in the object store by their digest; no byte is handed out before the whole is
 *                       there and has it
 *   packs of chunks     kept in blocks as they are asked for; a range waits for its blocks alone
 *   metadata, indexes, lists    small, fetched whole; what can change is asked for anew after a few seconds,
 * and handed out old while no source answers
 *
 * A file on its way survives cuts, other sources and a kill of the process: only what is missing is fetched.
 */
#pragma once

#include "relay/edge.h"
#include "relay/repository_transport.h"
#include "repo/object_store.h"
#include "repo/transfer_limit.h"

struct repository_cache;

#define REPOSITORY_PREFETCH_MAX                                                                              \
        4096 /* files that wait to be fetched ahead; more are left to be asked for                           \
              */

struct repository_cache_options {
        const char *work;           /* a folder on the store's file system, the cache's own */
        struct object_store *store; /* may be shared with others; borrowed */
        struct tls_config *tls;     /* of this relay; NULL: no server, no peers */
        const char *server;         /* https://host:port of the edge; NULL */
        const char *const *mirrors; /* NULL-terminated, or NULL */
        const char *const *peers;
        bool (*server_is_up)(void *arg); /* NULL: it is always worth asking */
        void *arg;
        bool prefetch;
        const struct transfer_policy *limit; /* of large files from mirrors and server; NULL: none */
        msec_t lifetime_ms;                  /* of what can change; 0: 10 s */
        msec_t patience_ms; /* how long somebody is kept waiting before he is told to ask again; 0: 25 s */
        /* Instead of HTTP, with `n_sources` sources of these kinds; for tests. */
        const struct repository_transport *transport;
        const struct repository_web_source *sources;
        size_t n_sources;
};

int repository_cache_new(struct loop *l, const struct repository_cache_options *o,
                         struct repository_cache **ret, struct err **err);
/* Whoever waits is told -ECANCELED. Work in hand ends when the loop is freed; the store must live so long. */
struct repository_cache *repository_cache_free(struct repository_cache *c);
DEFINE_CLEANUP(struct repository_cache, repository_cache_free)

/* done is called once, maybe at once. See edge.h. */
void repository_cache_get(struct repository_cache *c, const struct edge_repository_request *q,
                          void (*done)(void *arg, const struct edge_repository_file *f), void *arg);
/* What cannot be kept, straight from its origin; see edge.h. */
void repository_cache_block(struct repository_cache *c, const char *path, int64_t offset, size_t n,
                            void (*done)(void *arg, int error, const char *p, size_t n), void *arg);
/* Something was published, or the server is back: what can change is asked for anew by the next who wants it.
 */
void repository_cache_expire(struct repository_cache *c);
/* Fetches files ahead, a few at a time; what is no path of a repository is left out. */
void repository_cache_prefetch(struct repository_cache *c, const char *const *paths, size_t n);
/* A new certificate. */
void repository_cache_reconnect(struct repository_cache *c);

struct repository_cache_stats {
        uint64_t hits;         /* answered from the disk at once */
        uint64_t misses;       /* had to be fetched */
        uint64_t coalesced;    /* waited for what another had asked for */
        uint64_t stale;        /* answered with what may be old */
        uint64_t bytes_origin; /* from server and mirrors */
        uint64_t bytes_peers;
        uint64_t verified; /* objects that were found to be what they should be */
        uint64_t refused;  /* that came, and were not */
        uint64_t damaged;  /* that lay here, and were not any more */
        uint64_t passed;   /* blocks passed through for want of room */
        uint64_t prefetched;
        uint64_t failures;   /* told that it cannot be had now */
        int64_t parts_bytes; /* on the disk, beside the store */
        uint64_t waiting;
        uint64_t known; /* large files of which something is remembered */
};
void repository_cache_stats(const struct repository_cache *c, struct repository_cache_stats *ret);
/* For the status page: [{"url","kind","bytes","failures","lies"}]. */
json_t *repository_cache_sources(const struct repository_cache *c) _must_use_;
