/* SPDX-License-Identifier: Apache-2.0 */
/* Fleets: what Git wants of them, which nodes are theirs, and what those get outside of rollouts.
 *
 * A fleet's target is a revision together with what the repository's Node documents make of it; it is named
 * by a key. `desired` is the newest target that compiled. It becomes `stable` when its rollout has
 * succeeded (or at once, when nothing has to change). While a rollout runs, its members get what their
 * wave allows; everybody else has the stable target. A target whose rollout failed is not tried again until
 * Git gives another one, or a person says `retry`. */
#pragma once

#include "fleet/rollout_policy.h"
#include "server/compile_job.h"
#include "server/control.h"
#include "server/inventory.h"

struct fleets;
struct fleet;
struct rollout_record;

struct target {
        char revision[65];
        int64_t length; /* bytes of the revision */
        char key[65];
        char *source, *commit, *subject, *author;
};
void target_done(struct target *t);
void target_copy(struct target *to, const struct target *from);
json_t *target_to_json(const struct target *t) _must_use_;
/* false: no target there. */
bool target_from_json(const json_t *j, struct target *ret);

int fleets_open(struct control *c, struct err **err);
struct fleets *fleets_free(struct fleets *f);

struct fleet *fleets_find(const struct control *c, const char *name);
bool fleets_next(const struct control *c, size_t *position, struct fleet **ret);
const char *fleet_name(const struct fleet *f);
const char *fleet_source(const struct fleet *f);
const struct rollout_policy *fleet_policy(const struct fleet *f);
const struct target *fleet_desired(const struct fleet *f); /* NULL: none */
const struct target *fleet_stable(const struct fleet *f);  /* NULL: none */

/* Takes over what a source's commit compiled to: fleets, declarations, new targets, rollouts. */
void fleets_apply(struct control *c, const char *source, const struct compiled *compiled);
/* The source was deleted: its fleets go, its nodes keep what they run. */
void fleets_remove_source(struct control *c, const char *source);

/* A node came or its labels changed: finds its owner again and gives it what it should have. */
void fleets_settle_node(struct control *c, struct node *n);
/* Artifacts or releases came or went: what waited for them goes on. */
void fleets_repository_changed(struct control *c);
/* It is about to be forgotten. */
void fleets_drop_node(struct control *c, struct node *n);
/* "a, b": the fleets that select it. Malloc'ed. */
char *fleets_owners_text(const struct control *c, const struct node *n) _must_use_;

/* A rollout of the fleet reached a final phase, or was taken up again. */
void fleets_rollout_succeeded(struct control *c, struct fleet *f, const struct target *t);
void fleets_rollout_failed(struct control *c, struct fleet *f, const struct target *t);
void fleets_rollout_retried(struct control *c, struct fleet *f);

/* ---- a person's word above Git's: the fleet is held at a revision that it had until somebody clears it.
 * What Git wants is remembered meanwhile. See fleets_pin.c. */
/* to: the first digits of a revision that the fleet rolled out before, or of its commit (at least 7).
 * -ENOENT: none fits, -EINVAL: several do, or there is nothing to go back from. */
int fleets_pin(struct control *c, struct fleet *f, const char *to, const char *by, const char *reason,
               struct err **err);
/* Git's word counts again. -ENOENT: there is no pin. */
int fleets_unpin(struct control *c, struct fleet *f, const char *by, struct err **err);

/* The API's shapes. */
json_t *fleets_json(const struct control *c, const struct fleet *only) _must_use_; /* array; NULL: all */
json_t *fleets_apps_json(const struct control *c, const char *fleet, const char *app) _must_use_; /* array */
