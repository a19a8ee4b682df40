/* SPDX-License-Identifier: Apache-2.0 */
/* Slots: which members count as out of service in which groups, and who waits for a slot. Kept up with every
 * change of a member, as the counters of rollout_index.h are, and like those made anew from the members alone
 * after a restart. Inside of the rollout alone.
 *
 * Members that are in the same groups form a cell, and wait in it in the order in which they came. So looking
 * for somebody who can be given a slot costs as much as there are cells with somebody waiting, however many
 * members wait. */
#pragma once

#include "fleet/rollout.h"

struct group_tally {
        size_t total, used;
};

struct rollout_slots;

/* NULL in *ret where the policy has no budgets. -ENOMEM. */
int rollout_slots_new(const struct rollout *r, struct rollout_slots **ret) _must_use_;
struct rollout_slots *rollout_slots_free(struct rollout_slots *x);
DEFINE_CLEANUP(struct rollout_slots, rollout_slots_free)

/* Counts the member in or out (x may be NULL). */
void rollout_slots_take(const struct rollout *r, struct rollout_slots *x, const struct rollout_member *m);
void rollout_slots_put(const struct rollout *r, struct rollout_slots *x, const struct rollout_member *m);

/* Who can be given a slot now: a member that waits, and all whose groups have one free. SIZE_MAX: nobody. */
size_t rollout_slots_next(const struct rollout *r, struct rollout_slots *x);
/* Has every group of the member one free? */
bool rollout_slots_have_room(const struct rollout *r, const struct rollout_member *m);
bool rollout_slots_are_equal(const struct rollout *r, const struct rollout_slots *a,
                             const struct rollout_slots *b);

/* Finds or makes the groups of the members: names[member * n_budgets + budget], owned by the caller. */
int rollout_groups_build(struct rollout *r, char *const *names, struct err **err) _must_use_;
/* "site=kiel,rack=2" of a node with these labels; malloc'ed. */
char *rollout_group_name(const struct rollout_budget *b, const struct pairs *labels) _must_use_;
