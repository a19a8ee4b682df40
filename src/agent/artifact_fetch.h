/* SPDX-License-Identifier: Apache-2.0 */
/* Gets one artifact's payload onto the node, by the way with the fewest bytes (repo/fetch_plan.h), and makes
 * it ready to be used. What is there of an earlier try, in this process or one before, is gone on with.
 *
 *   list of deltas, chunk index (small)  ->  plan  ->  delta | chunks | whole  ->  verified payload  ->  tree
 *
 * A way that fails for a reason of its own (a damaged delta, a server that sends no ranges) is not taken
 * again for this target, and the next one is; when the network or the disk is the reason, it is tried again,
 * with backoff and jitter, for ever. Nothing is ever shown to an app whose SHA-256 is not the signed one.
 *
 * What blocks (applying, hashing, unpacking) runs on the worker pool; freeing a fetch lets a worker end by
 * itself, and the target is claimed (agent/artifact_store.h) until it has. */
#pragma once

#include "agent/artifact_store.h"
#include "agent/download.h"
#include "repo/fetch_plan.h"

struct artifact_fetch;
struct artifact_fetch_host {
        struct loop *loop;
        struct repository_sources *sources;
        struct artifact_store *artifacts;
        const struct download_limit *limit; /* may be NULL */
        bool never_full;
        int64_t (*budget_left)(void *budget_arg); /* -1: no limit; may be NULL */
        void *budget_arg;
        /* The disk is full: make room; true when some was made. May be NULL. */
        bool (*make_room)(void *arg);
        void *arg;
        bool once; /* no second pass: for an import, where what is not there will not come */
};
struct artifact_fetch_listener {
        void (*done)(void *arg); /* the artifact is ready to be used */
        /* It does not go on at the moment, and is tried again. */
        void (*delayed)(void *arg, const char *message);
        /* Only with `once`: it cannot be had here. */
        void (*failed)(void *arg, int error, const char *message);
        void (*changed)(void *arg); /* progress */
        void *arg;
};

enum artifact_fetch_state {
        ARTIFACT_FETCH_PLANNING,
        ARTIFACT_FETCH_FETCHING,
        ARTIFACT_FETCH_APPLYING, /* rebuilding, checking, unpacking */
        ARTIFACT_FETCH_WAITING,  /* for the network, the disk, the budget */
        ARTIFACT_FETCH_READY,
};
const char *artifact_fetch_state_name(enum artifact_fetch_state s); /* "Planning", "Fetching", ... */

struct artifact_fetch_progress {
        enum artifact_fetch_state state;
        enum fetch_way way;
        int64_t predicted; /* bytes on the wire, by the plan; -1: no plan yet */
        int64_t fetched;   /* bytes that came, everything counted */
        int64_t total;     /* of the payload */
};

/* The artifact is copied. */
int artifact_fetch_new(const struct artifact_fetch_host *host, const char *target, const struct artifact *a,
                       const struct artifact_fetch_listener *listener, struct artifact_fetch **ret,
                       struct err **err);
struct artifact_fetch *artifact_fetch_free(struct artifact_fetch *f);
/* Try again now. */
void artifact_fetch_hurry(struct artifact_fetch *f);
void artifact_fetch_progress(const struct artifact_fetch *f, struct artifact_fetch_progress *ret);
