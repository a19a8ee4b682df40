/* SPDX-License-Identifier: Apache-2.0 */
/* Objects for a relay's nodes: from its disk, else fetched from the server once however many ask.
 *
 * Nothing is handed out before its digest was checked: what comes from the server when it is whole, what
 * lies on the disk the first time that it is asked for. A transfer that breaks is gone on with where it
 * broke. */
#pragma once

#include "relay/upstream.h"
#include "repo/object_store.h"

struct object_cache;

struct object_cache_stats {
        uint64_t hits, fetched, fetched_bytes, failures;
};

int object_cache_new(struct loop *l, struct object_store *store, struct upstream *upstream,
                     struct object_cache **ret, struct err **err);
/* Waiting callers are told -ECANCELED. Before upstream_free(). Work in hand ends when the loop is freed. */
struct object_cache *object_cache_free(struct object_cache *c);
DEFINE_CLEANUP(struct object_cache, object_cache_free)

/* Calls done once with a descriptor or -Exxx: -ENOENT (the server has none), -EHOSTUNREACH (not here, and
 * the server away). May call it at once. */
void object_cache_get(struct object_cache *c, const char *sha256, void (*done)(void *arg, int fd), void *arg);
void object_cache_stats(const struct object_cache *c, struct object_cache_stats *ret);
