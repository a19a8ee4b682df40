/* SPDX-License-Identifier: Apache-2.0 */
/* The counters and deadlines of a rollout, kept up member by member, so that an event of one node costs
 * O(log n) in a rollout of 100,000. Inside of the rollout alone.
 *
 * Whoever changes a member takes it out first and puts it back after; both look only at the member itself,
 * so counting anew gives the same (rollout_is_consistent()). */
#pragma once

#include "fleet/rollout_slots.h"

struct wave_tally {
        size_t total; /* those that left the fleet are in none of these */
        size_t pending, progressing, healthy, failed, deferred, rolled_back; /* for people: sum is total */

        size_t undecided; /* the wave waits for them */
        size_t relapsed;  /* were Healthy, are at work again: may still fail, nothing waits for them */
        size_t late;      /* stragglers at work: may still become Healthy, nothing waits for them */
        size_t ok;        /* Healthy */
        size_t observed;  /* Healthy and connected */
        size_t bad;       /* failed, and not Healthy since */
        size_t waived;    /* failures that a person accepted: in none of the six above */
        size_t failures;  /* that count against the budgets, Healthy since or not */
};

struct rollout_index {
        struct wave_tally *waves; /* one more than the rollout has: the sum */
        size_t going_back;
        struct rollout_slots *slots; /* NULL: the policy has no budgets */

        /* A heap of members by the time at which something is due. */
        uint32_t *heap;
        size_t n_heap;
        uint32_t *position; /* of each member in the heap; UINT32_MAX: in none */
        msec_t *wake;

        bool *touched; /* by the step under way: its MEMBER effect is there */
};

/* Makes it from the members as they are; replaces an old one. */
int rollout_index_build(struct rollout *r);
struct rollout_index *rollout_index_free(struct rollout_index *x);

void rollout_index_take(struct rollout *r, size_t member);
void rollout_index_put(struct rollout *r, size_t member);
/* Every deadline moved by the same time, and so keeps its place. */
void rollout_index_shift(struct rollout *r, msec_t gap);

/* When something is due for the member: 0 never. */
msec_t rollout_member_wake(const struct rollout *r, const struct rollout_member *m);
/* The member with the earliest wake; false when there is none. */
bool rollout_index_first(const struct rollout *r, size_t *ret_member, msec_t *ret_wake);

static inline const struct wave_tally *rollout_tally(const struct rollout *r, size_t wave) {
        return &r->index->waves[wave];
}
static inline const struct wave_tally *rollout_tally_all(const struct rollout *r) {
        return &r->index->waves[r->n_waves];
}

/* When the soak ends if the wave stays healthy. */
static inline msec_t rollout_soak_until(const struct rollout *r, const struct rollout_wave *w) {
        return r->emergency ? w->healthy_at : w->healthy_at + w->pause_ms - w->soaked_ms;
}

/* It has the revision, and was not told to apply it yet: nothing of it was touched. */
static inline bool rollout_member_may_go_away(const struct rollout_member *m) {
        return m->state == MEMBER_STAGED && !m->granted && !m->slot && !m->failed && !m->going_back;
}

static inline bool member_state_is_at_work(enum member_state s) {
        return s >= MEMBER_DOWNLOADING && s <= MEMBER_CONFIRMING;
}
static inline bool member_state_is_failure(enum member_state s) {
        return s == MEMBER_FAILED || s == MEMBER_ROLLED_BACK || s == MEMBER_TIMED_OUT;
}
