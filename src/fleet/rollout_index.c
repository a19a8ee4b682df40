/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/rollout_index.h"

#include <errno.h>
#include <string.h>

#define NOWHERE UINT32_MAX

/* ---- deadlines */

/* An offer, and the way back, are given up early for a member that is away: defer_after from when it went, or
 * from the beginning where it was away already. */
static msec_t wake_of_unanswered(const struct rollout *r, const struct rollout_member *m) {
        if (m->connected)
                return m->deadline;
        msec_t begun = m->deadline - r->policy.progress_deadline_ms;
        return MIN(m->deadline, MAX(begun, m->gone_at) + r->policy.defer_after_ms);
}

msec_t rollout_member_wake(const struct rollout *r, const struct rollout_member *m) {
        if (m->removed)
                return 0;
        /* One that waits for its slot has no clock of its own, but is not waited for while it is away. */
        if (rollout_member_may_go_away(m) && !m->connected)
                return m->gone_at + r->policy.defer_after_ms;
        if (m->deadline == 0)
                return 0;
        if (m->going_back || m->state == MEMBER_OFFERED)
                return wake_of_unanswered(r, m);
        return m->phase_deadline != 0 ? MIN(m->deadline, m->phase_deadline) : m->deadline;
}

/* ---- the heap */

/* Ties go by index, so that the order does not depend on how the heap came about. */
static bool is_before(const struct rollout_index *x, uint32_t a, uint32_t b) {
        return x->wake[a] != x->wake[b] ? x->wake[a] < x->wake[b] : a < b;
}

static void heap_set(struct rollout_index *x, size_t at, uint32_t member) {
        x->heap[at] = member;
        x->position[member] = (uint32_t)at;
}

static void heap_up(struct rollout_index *x, size_t at, uint32_t member) {
        for (; at > 0 && is_before(x, member, x->heap[(at - 1) / 2]); at = (at - 1) / 2)
                heap_set(x, at, x->heap[(at - 1) / 2]);
        heap_set(x, at, member);
}

static void heap_down(struct rollout_index *x, size_t at, uint32_t member) {
        for (;;) {
                size_t child = 2 * at + 1;
                if (child >= x->n_heap)
                        break;
                if (child + 1 < x->n_heap && is_before(x, x->heap[child + 1], x->heap[child]))
                        child++;
                if (!is_before(x, x->heap[child], member))
                        break;
                heap_set(x, at, x->heap[child]);
                at = child;
        }
        heap_set(x, at, member);
}

static void heap_remove(struct rollout_index *x, uint32_t member) {
        size_t at = x->position[member];
        x->position[member] = NOWHERE;
        uint32_t last = x->heap[--x->n_heap];
        if (last == member)
                return;
        if (at > 0 && is_before(x, last, x->heap[(at - 1) / 2]))
                heap_up(x, at, last);
        else
                heap_down(x, at, last);
}

/* Leaves the member where it is when its time has not changed: most changes of state keep the deadline. */
static void heap_update(struct rollout_index *x, size_t member, msec_t wake) {
        uint32_t m = (uint32_t)member;
        if (x->wake[m] == wake)
                return;
        if (x->position[m] != NOWHERE)
                heap_remove(x, m);
        x->wake[m] = wake;
        if (wake != 0)
                heap_up(x, x->n_heap++, m);
}

bool rollout_index_first(const struct rollout *r, size_t *ret_member, msec_t *ret_wake) {
        const struct rollout_index *x = r->index;
        if (x->n_heap == 0)
                return false;
        *ret_member = x->heap[0];
        *ret_wake = x->wake[x->heap[0]];
        return true;
}

void rollout_index_shift(struct rollout *r, msec_t gap) {
        struct rollout_index *x = r->index;
        for (size_t i = 0; i < x->n_heap; i++)
                x->wake[x->heap[i]] += gap;
}

/* ---- counters */

static size_t *kind_of(struct wave_tally *t, const struct rollout_member *m) {
        if (m->going_back)
                return &t->progressing;
        switch (m->state) {
        case MEMBER_PENDING: return &t->pending;
        case MEMBER_HEALTHY: return &t->healthy;
        case MEMBER_FAILED:
        case MEMBER_TIMED_OUT: return &t->failed;
        case MEMBER_ROLLED_BACK: return m->failed ? &t->failed : &t->rolled_back;
        case MEMBER_DEFERRED: return &t->deferred;
        case MEMBER_OFFERED:
        case MEMBER_DOWNLOADING:
        case MEMBER_STAGED:
        case MEMBER_WAITING_WINDOW:
        case MEMBER_APPLYING:
        case MEMBER_CONFIRMING: break;
        }
        return &t->progressing;
}

static void tally_change(struct wave_tally *t, const struct rollout_member *m, size_t by) {
        t->total += by;
        *kind_of(t, m) += by;
        if (m->failed && !m->waived)
                t->failures += by;
        if (m->state == MEMBER_HEALTHY) {
                t->ok += by;
                if (m->connected)
                        t->observed += by;
        } else if (m->waived) {
                t->waived += by;
        } else if (m->failed) {
                t->bad += by;
        } else if (m->state == MEMBER_OFFERED || member_state_is_at_work(m->state)) {
                if (m->proven)
                        t->relapsed += by;
                else if (m->straggler)
                        t->late += by;
                else
                        t->undecided += by;
        }
}

/* by is 1 or SIZE_MAX, which takes one away (unsigned arithmetic wraps). */
static void count(const struct rollout *r, struct rollout_index *x, const struct rollout_member *m,
                  size_t by) {
        if (m->removed)
                return;
        tally_change(&x->waves[m->wave], m, by);
        tally_change(&x->waves[r->n_waves], m, by);
        if (m->going_back)
                x->going_back += by;
}

void rollout_index_take(struct rollout *r, size_t member) {
        count(r, r->index, &r->members[member], SIZE_MAX);
        rollout_slots_take(r, r->index->slots, &r->members[member]);
}

void rollout_index_put(struct rollout *r, size_t member) {
        const struct rollout_member *m = &r->members[member];
        count(r, r->index, m, 1);
        rollout_slots_put(r, r->index->slots, m);
        heap_update(r->index, member, rollout_member_wake(r, m));
}

/* ---- the whole */

struct rollout_index *rollout_index_free(struct rollout_index *x) {
        if (!x)
                return NULL;
        free(x->waves);
        free(x->heap);
        free(x->position);
        free(x->wake);
        free(x->touched);
        rollout_slots_free(x->slots);
        free(x);
        return NULL;
}
DEFINE_CLEANUP(struct rollout_index, rollout_index_free)

static int index_new(const struct rollout *r, struct rollout_index **ret) {
        _cleanup_(rollout_index_freep) struct rollout_index *x = calloc(1, sizeof(*x));
        size_t n = MAX(r->n_members, 1u);
        if (!x)
                return -ENOMEM;
        x->waves = calloc(r->n_waves + 1, sizeof(*x->waves));
        x->heap = calloc(n, sizeof(*x->heap));
        x->position = calloc(n, sizeof(*x->position));
        x->wake = calloc(n, sizeof(*x->wake));
        x->touched = calloc(n, sizeof(*x->touched));
        if (!x->waves || !x->heap || !x->position || !x->wake || !x->touched ||
            rollout_slots_new(r, &x->slots) < 0)
                return -ENOMEM;
        memset(x->position, 0xff, n * sizeof(*x->position));
        for (size_t i = 0; i < r->n_members; i++) {
                count(r, x, &r->members[i], 1);
                heap_update(x, i, rollout_member_wake(r, &r->members[i]));
        }
        *ret = TAKE_PTR(x);
        return 0;
}

int rollout_index_build(struct rollout *r) {
        struct rollout_index *x = NULL;
        int k = index_new(r, &x);
        if (k < 0)
                return k;
        rollout_index_free(r->index);
        r->index = x;
        return 0;
}

bool rollout_is_consistent(const struct rollout *r) {
        _cleanup_(rollout_index_freep) struct rollout_index *x = NULL;
        const struct rollout_index *kept = r->index;
        if (index_new(r, &x) < 0)
                return false;
        if (memcmp(x->waves, kept->waves, (r->n_waves + 1) * sizeof(*x->waves)) != 0 ||
            x->going_back != kept->going_back || x->n_heap != kept->n_heap ||
            !rollout_slots_are_equal(r, x->slots, kept->slots))
                return false;
        for (size_t i = 0; i < r->n_members; i++)
                if (x->wake[i] != kept->wake[i] ||
                    (x->position[i] == NOWHERE) != (kept->position[i] == NOWHERE) || kept->touched[i])
                        return false;
        for (size_t i = 1; i < kept->n_heap; i++)
                if (is_before(kept, kept->heap[i], kept->heap[(i - 1) / 2]))
                        return false;
        for (size_t i = 0; i < kept->n_heap; i++)
                if (kept->position[kept->heap[i]] != i)
                        return false;
        return true;
}
