/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a relay's repository cache share. Belongs to repository_*.c alone. */
#pragma once

#include "net/loop.h"
#include "relay/edge.h"
#include "relay/repository_path.h"
#include "relay/repository_sources.h"
#include "repo/object_store.h"

struct repository_context {
        struct loop *loop;
        const char *work; /* folder for what is not whole yet, packs, and names; owned by the cache */
        struct object_store *store;
        struct repository_transport transport;
        struct repository_sources sources;
        struct prng random;
        struct table *verified; /* digests of objects in the store that were checked since the start */
        struct repository_cache_stats *stats;
        bool closing;
};

static inline msec_t repository_now(const struct repository_context *c) {
        return clock_mono_ms(loop_clock(c->loop));
}
/* Counts bytes that came from a source. */
void repository_count(struct repository_context *c, unsigned source, uint64_t bytes);

bool repository_is_verified(const struct repository_context *c, const char *sha256);
void repository_set_verified(struct repository_context *c, const char *sha256);

/* The answer's shape for what failed. */
static inline struct edge_repository_file repository_failure(int error, const char *message) {
        return (struct edge_repository_file){.error = error, .fd = -1, .message = message};
}
