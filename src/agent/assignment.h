/* SPDX-License-Identifier: Apache-2.0 */
/* The assignment: what the server, over its signature, wants this one node to run.
 *
 * A node takes an assignment only when the signature is by an assignment key of its bundle, it names this
 * node, and its version is higher than any seen before; so neither a relay nor a replayed connection can
 * take a node back, or give it another's. What was taken is stored before it is acted upon; reading it
 * back at start needs no key, since keys may have rotated while the node was off. */
#pragma once

#include "agent/bundle.h"
#include "base/clock.h"

#define ASSIGNMENT_MAX ((size_t)1 << 20)

struct assignment {
        int64_t version;
        msec_t issued_at;
        const char *node;
        const char *fleet, *rollout, *commit; /* NULL where null; borrowed from the document */
        const char *revision;                 /* SHA-256; NULL: no fleet selects the node */
        int64_t revision_length;
        const json_t *labels, *variables; /* objects of texts */
        bool waits;                       /* fetch and prepare it, and apply it when a newer one says so */
        const json_t *schedule;           /* when it may be applied and fetched (fleet/schedule.h), or NULL */
        const json_t *artifacts;          /* checked list (agent/assigned_artifact.h), or NULL */
        json_t *document;                 /* {"signed","signatures"} */
};

/* Reads the shape and checks the limits, not the signature. -EINVAL. */
int assignment_parse(const json_t *document, struct assignment **ret, struct err **err);

/* Reads and checks. held: the one taken before, or NULL. floor: the highest version ever seen.
 * -EKEYREJECTED: no signature of a known key fits; -EXDEV: it is for another node; -ESTALE: its version is
 * lower than floor, or the same with other content; -EALREADY: it is the one that is held; -EINVAL. */
int assignment_verify(const json_t *document, const struct bundle *bundle, const char *node,
                      const struct assignment *held, int64_t floor, struct assignment **ret,
                      struct err **err);

struct assignment *assignment_free(struct assignment *a);
DEFINE_CLEANUP(struct assignment, assignment_free)

/* Durable, atomic. */
int assignment_store(const struct assignment *a, const char *path, struct err **err);
/* -ENOENT when none was stored yet. */
int assignment_load(const char *path, struct assignment **ret, struct err **err);
