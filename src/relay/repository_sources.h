/* SPDX-License-Identifier: Apache-2.0 */
/* Where files of the repository are had from, in which order, and how each of those has been doing. Pure:
 * time and randomness are passed in.
 *
 * What never changes is asked of peers first, then of mirrors as they are listed, then of the server, whose
 * link is the dearest. What changes comes from the server while it is there, so that all of a site see one
 * state, and from mirrors else. */
#pragma once

#include "net/backoff.h"
#include "relay/repository_transport.h"

typedef uint32_t source_mask; /* a bit for each source */

struct repository_sources {
        size_t n;
        bool (*is_reachable)(void *arg, unsigned source); /* is it worth asking? NULL: always */
        void *arg;
        struct repository_source {
                enum repository_source_kind kind;
                const char *name; /* for logs and reports: its address; borrowed */
                struct backoff backoff;
                msec_t not_before; /* mono; it failed, and is left alone until then */
                uint64_t bytes, failures, lies;
                bool no_ranges; /* it gives the whole, whatever part is asked for */
        } all[REPOSITORY_SOURCES_MAX];
};

/* The next to ask, none of `tried`; -ENOENT: none is left. Sources that are left alone for now are taken only
 * when nothing else is there and `desperate`. */
int repository_sources_pick(const struct repository_sources *s, bool immutable, source_mask tried, msec_t now,
                            bool desperate, unsigned *ret);
void repository_source_did_well(struct repository_source *s, uint64_t bytes);
/* It gave no answer, or none that can be used. lied: what it gave was wrong. */
void repository_source_failed(struct repository_source *s, bool lied, msec_t now, msec_t retry_after_ms,
                              struct prng *random);
/* Does the word of those in `absent`, who say that there is no such file, settle it? `asked`: all who
 * answered or should have. */
bool repository_sources_are_sure(const struct repository_sources *s, source_mask absent, source_mask asked);
