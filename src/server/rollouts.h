/* SPDX-License-Identifier: Apache-2.0 */
/* Rollouts: drives the pure state machine (fleet/rollout.h) with what nodes report, what people say and
 * what time it is; stores it and carries out its effects. A fleet has at most one that is not final. */
#pragma once

#include "server/control.h"
#include "server/fleets.h"

#define ROLLOUTS_KEPT 20 /* finished ones, for each fleet */

struct rollouts;
struct rollout_record;

int rollouts_open(struct control *c, struct err **err);
/* Goes on with what was under way; away_ms: how long nobody watched. */
void rollouts_start(struct control *c, msec_t away_ms);
void rollouts_stop(struct control *c); /* lets go of the loop */
struct rollouts *rollouts_free(struct rollouts *r);

struct rollout_record *rollouts_find(const struct control *c, const char *id);
struct rollout_record *rollouts_active(const struct control *c, const char *fleet); /* NULL: none */
struct rollout_record *rollouts_latest(const struct control *c, const char *fleet); /* NULL: none */
const char *rollouts_id(const struct rollout_record *r);
const char *rollouts_fleet(const struct rollout_record *r);
const char *rollouts_wave(const struct rollout_record *r); /* the current one; NULL: not known any more */
const struct target *rollouts_target(const struct rollout_record *r);
bool rollouts_has_member(const struct rollout_record *r, const char *node);
int64_t rollouts_deferred(const struct rollout_record *r);
/* The revisions that rollouts in memory speak of, history included. */
void rollouts_each_revision(const struct control *c, void (*each)(void *arg, const char *digest), void *arg);
bool rollouts_use_revision(const struct control *c, const char *digest);

void rollouts_begin(struct control *c, struct fleet *f, const struct target *t, struct node *const *nodes,
                    size_t n);
void rollouts_supersede(struct control *c, struct rollout_record *r, const char *commit);
void rollouts_fleet_removed(struct control *c, const char *fleet);

void rollouts_node_presence(struct control *c, struct node *n);
void rollouts_node_report(struct control *c, struct node *n);
void rollouts_node_removed(struct control *c, const char *fleet, struct node *n);

/* A person's word: "pause", "resume", "abort", "retry", "approve", "promote", "emergency". -EINVAL with the
 * reason when it makes no sense now, or is not for this person. */
struct rollout_command {
        const char *verb, *reason, *actor;
        const char *wave; /* approve, promote: which one is meant; NULL: the current one */
        bool rollback;
};
int rollouts_command(struct control *c, struct rollout_record *r, const struct rollout_command *command,
                     struct err **err);

/* The API's shapes. */
json_t *rollouts_json(const struct control *c, const char *fleet, bool only_active)
        _must_use_; /* newest first */
/* Old ones have their members in the database alone: then `members` is a result with the column state of
 * rollout_members, and may be NULL otherwise. */
json_t *rollouts_one_json(const struct rollout_record *r, const struct db_rows *members) _must_use_;
/* What its members fetch for it, as they report:
 * {"nodes","bytesPredicted","bytesFetched","bytesTotal","ways":{}} summed up; NULL where none reports
 * anything. */
json_t *rollouts_transfer_json(const struct control *c, const struct rollout_record *r) _must_use_;
bool rollouts_is_loaded(const struct rollout_record *r);
