/* SPDX-License-Identifier: Apache-2.0 */
/* How a node shall get one target: by delta, by chunks, or whole; the way with the fewest predicted bytes
 * that the link's rules allow. Pure and total: any values give a plan, the same values the same plan,
 * whatever the order of deltas and seeds. The server predicts with the same function as the node decides
 * with. */
#pragma once

#include "base/err.h"

enum fetch_way { FETCH_NOTHING, FETCH_DELTA, FETCH_CHUNKS, FETCH_WHOLE, FETCH_REFUSED };
const char *fetch_way_name(enum fetch_way w); /* "present", "delta", "chunks", "whole", "refused" */

struct fetch_offer { /* what the repository has for this target */
        int64_t length;
        int64_t whole_wire; /* bytes on the wire for the whole (compressed where that is offered); 0: length
                             */
        bool has_chunks;
        int64_t chunk_index_length, chunk_pack_length; /* index: 0 where the node has it already */
        const struct fetch_delta {
                char from[65];
                int64_t length;
        } * deltas;
        size_t n_deltas;
};
struct fetch_situation { /* what the node has */
        bool present;
        const char *const *seeds; /* SHA-256 of whole targets that lie there */
        size_t n_seeds;
        int64_t chunks_missing; /* pack bytes that its seeds do not give; -1: not known yet (predicted from
                                   the pack) */
        bool never_full;        /* metered: never the whole, nor a way that comes to as much */
        int64_t budget_left;    /* bytes that may still be used today; -1: no limit */
        unsigned failed_ways;   /* 1 << FETCH_DELTA ...: tried on this target and failed */
};
struct fetch_plan {
        enum fetch_way way;
        char from[65];                                  /* FETCH_DELTA: the seed */
        int64_t bytes;                                  /* predicted on the wire; FETCH_REFUSED: what the
                                                           cheapest way would take, 0 where there is none */
        int64_t bytes_delta, bytes_chunks, bytes_whole; /* of each way; -1: not possible */
        /* The seeds may give chunks, and nobody has looked: with the chunk index (it is within the budget)
         * and chunks_missing known, fewer bytes than those planned are possible. Fetch it and plan again. */
        bool wants_chunk_index;
        char reason[160]; /* why this way, in words; why refused, and the way out */
};
void fetch_plan_make(const struct fetch_offer *o, const struct fetch_situation *s, struct fetch_plan *ret);
