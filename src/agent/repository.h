/* SPDX-License-Identifier: Apache-2.0 */
/* The image role's word: what an assignment says is held against the signed metadata of the artifact
 * repository (TUF, repo/tuf/client.h), which is signed with keys that no server has.
 *
 * Kept in <state>/repository/: trusted metadata, and `state.json` (twice: agent/kept_state.h):
 *   {"format":1,"rootGiven":SHA-256|"","trust":"server"|"release-key"|null,"timeFloor":Unix
 * ms,"counters":{name: highest}, "revisions":[{"sha256","fleet","counter"} that the
 * repository vouched for],"releases":{fleet:{"highest","lowest"}},"lost":false}
 *
 * State that is lost (both copies damaged, or gone beside metadata) is never taken for a first start: then
 * `release-key` is assumed, until a revision was signed by one or the operator says --trust; counters are at
 * least those of what runs here; and repository_problem() says so. What cannot be written down is not
 * accepted: while the state on the disk is not the one in memory nothing is vouched for.
 *
 * Trust. The root comes from the operator (--repository-root) or, only while none is trusted, from the
 * bundle; from then on by TUF's own chain. With `release-key` the revision itself must be a target too. The
 * bundle may make trust stricter, never weaker; only the operator's own `--trust server` does.
 *
 * Time. TUF metadata expires, so that a mirror which is frozen is noticed; a node's clock may be wrong by
 * years. "Now" is the machine's clock, but never below the floor: the day this program was written, and the
 * `issuedAt` of the newest assignment that was verified (it is signed; the edge's unsigned `hello` does not
 * count). The newest, not the highest: a server whose clock was wrong for a while would else leave all nodes
 * for years in a time in which every repository has expired. Assignments' own versions only rise. So a node
 * whose clock says 1970 takes metadata that is in force by the newest assignment it knows, and still notices
 * one that had expired by then. A clock that runs years ahead sees everything as expired: the message says
 * which time it is taken for.
 *
 * Counters. `releaseCounter` is never lower than the highest that was confirmed healthy for the name, except
 * for what the node still holds as running or previous: going back to that is what a fleet's automatic
 * rollback does, and needs no new bytes. Anything older has to be published again (`skerry artifact yank`).
 * A yanked target is not taken unless it is held.
 *
 * Releases. With `release-key` a revision is refused whose release counter is more than
 * REPOSITORY_RELEASES_BACK below the highest that was taken for its fleet: so far back an automatic rollback
 * may go, over commits that superseded each other, since nobody signs anything for it. A release may be
 * signed as one with no way back ("lowestCounter"): then nothing below that is taken any more. To go back
 * further the old revision is released again, under a new counter. */
#pragma once

#include "agent/artifact_store.h"
#include "agent/assigned_artifact.h"
#include "agent/download.h"

#define REPOSITORY_RELEASES_BACK 3

struct repository;

enum repository_trust { REPOSITORY_TRUST_SERVER, REPOSITORY_TRUST_RELEASE_KEY };
/* "server", "release-key"; -EINVAL. */
int repository_trust_from_name(const char *name, enum repository_trust *ret);
const char *repository_trust_name(enum repository_trust t);

struct repository_options {
        const char *state; /* the agent's folder */
        const char *root;  /* bytes of a root.json given by the operator, or NULL */
        size_t root_len;
        const char *trust; /* given by the operator, or NULL */
        const char *platform;
        struct repository_sources *sources; /* outlives it */
        struct artifact_store *artifacts;
        const struct clock *clock;
        const struct download_limit *limit; /* metadata counts, too; may be NULL; outlives it */
};
int repository_new(const struct repository_options *o, struct repository **ret, struct err **err);
struct repository *repository_free(struct repository *r);
DEFINE_CLEANUP(struct repository, repository_free)

/* `repository` of a bundle: {"root","trust","mirrors"}; NULL: the bundle has none. */
void repository_take_bundle(struct repository *r, const json_t *repository);
/* The newest verified assignment was issued then (Unix ms). */
void repository_saw_time(struct repository *r, msec_t issued_at);
/* What is wrong with what is kept, for people; NULL: nothing. */
const char *repository_problem(const struct repository *r);
/* Is there a root to begin with? */
bool repository_is_configured(const struct repository *r);
enum repository_trust repository_trust(const struct repository *r);
/* Why nothing can be trusted yet, for people. */
#define REPOSITORY_UNCONFIGURED                                                                              \
        "this node trusts no artifact repository yet: the server's bundle has none; configure one there, "   \
        "or "                                                                                                \
        "give --repository-root"

struct repository_question {
        const json_t *artifacts; /* checked list, or NULL */
        const char *revision;    /* SHA-256 */
        int64_t revision_length; /* -1: not known */
        const char *fleet;
        /* It waits for the link's limits, and goes on by itself; may be NULL; gets the arg of done(). */
        void (*delayed)(void *arg, const char *message);
};
/* Was all of it vouched for before? Then no metadata is needed. */
bool repository_knows(const struct repository *r, const struct repository_question *q);

/* Asks: refreshes the metadata and looks everything up; what is vouched for gets described in the artifact
 * store. done() once, never from within. 0; -EPERM: refused, the message says what does not fit and which
 * role says what (new metadata may come: ask again later); others: the metadata could not be had or is not
 * valid (codes of tuf_client_result()). One question at a time: -EBUSY. */
int repository_ask(struct repository *r, const struct repository_question *q,
                   void (*done)(void *arg, int error, const char *message), void *arg, struct err **err);
void repository_cancel(struct repository *r);
bool repository_is_busy(const struct repository *r);
/* The same metadata, through other sources (a folder of an import), for as long as that takes; NULL: back. */
void repository_use_sources(struct repository *r, struct repository_sources *sources);

/* Refreshes and then calls each() for every target of kind artifact that fits this platform; each() is called
 * before done(). For imports. */
int repository_list(struct repository *r,
                    void (*each)(void *arg, const char *target, const struct artifact *a),
                    void (*done)(void *arg, int error, const char *message), void *arg, struct err **err);

/* These artifacts run and were seen well: their counters are the floor from now on. An error: they are in
 * this process, and nothing new is accepted until they are written down. */
int repository_confirm(struct repository *r, const json_t *artifacts, struct err **err);
