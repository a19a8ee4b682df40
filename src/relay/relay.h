/* SPDX-License-Identifier: Apache-2.0 */
/* skerry-relay itself: an edge whose backend is a link to the server, and what is kept for when that is away.
 */
#pragma once

#include "net/loop.h"
#include "relay/identity.h"
#include "repo/transfer_limit.h"

struct relay;

struct relay_options {
        const char *state;
        const char *listen;
        int64_t cache_max;                         /* bytes of objects; 0: unbounded */
        const char *const *mirrors, *const *peers; /* NULL-terminated, or NULL */
        const struct transfer_policy *limit;       /* of the repository from afar; NULL: none */
        bool prefetch;
};

/* Takes the identity. Logs. */
int relay_start(struct loop *l, const struct relay_options *o, struct identity *identity, struct relay **ret,
                struct err **err);
/* Lets the nodes go and then stops the loop. */
void relay_stop(struct relay *r, int exit_code);
/* Takes everything off the loop, which has ended or will not run again. */
void relay_close(struct relay *r);
/* After relay_close() and loop_free(): until then the worker pool may still read what this frees. */
struct relay *relay_free(struct relay *r);
