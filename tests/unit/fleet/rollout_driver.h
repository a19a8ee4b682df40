/* SPDX-License-Identifier: Apache-2.0 */
/* A rollout in a test's hand: short words for events, and what came of them. Included by the tests of the
 * rollout alone. */
#pragma once

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "codec/json.h"
#include "fleet/rollout.h"

#define T0 ((msec_t)1790000000000)
#define S ((msec_t)1000)

struct driver {
        struct rollout *r;
        msec_t now;
        struct rollout_effects effects; /* of the last event */
        struct err *err;                /* of the last event that was refused */
        struct rollout_policy policy;
        struct rollout_wave_policy waves[8];
        struct rollout_candidate candidates[64];
        char names[64][16];
        struct pair labels[64][1];
        size_t n;
};

static inline int driver_setup(void **state) {
        struct driver *d = calloc(1, sizeof(*d));
        assert_non_null(d);
        d->now = T0;
        rollout_policy_default(&d->policy);
        d->policy.waves = d->waves;
        *state = d;
        return 0;
}

static inline int driver_teardown(void **state) {
        struct driver *d = *state;
        rollout_effects_done(&d->effects);
        rollout_free(d->r);
        err_free(d->err);
        free(d);
        return 0;
}

/* n nodes "a", "b", ... all connected, with the previous revision "old". */
static inline void nodes(struct driver *d, size_t n) {
        for (size_t i = 0; i < n; i++) {
                (void)snprintf(d->names[i], sizeof(d->names[i]), "%s%c", i < 26 ? "" : "z",
                               (char)('a' + i % 26));
                d->labels[i][0] = (struct pair){"role", "shop"};
                d->candidates[i] = (struct rollout_candidate){.node = d->names[i],
                                                              .labels = {d->labels[i], 1},
                                                              .connected = true,
                                                              .previous_revision = "old"};
        }
        d->n = n;
}

static inline struct rollout_wave_policy *wave(struct driver *d, const char *name, int64_t limit) {
        struct rollout_wave_policy *w = &d->waves[d->policy.n_waves++];
        w->name = name;
        if (limit > 0)
                w->limit = (struct quantity){true, false, limit};
        return w;
}

static inline int event(struct driver *d, struct rollout_event e) {
        rollout_effects_done(&d->effects);
        d->err = err_free(d->err);
        int k = rollout_step(d->r, &e, d->now, &d->effects, &d->err);
        if (k < 0) {
                assert_int_equal(k, -EINVAL);
                assert_non_null(d->err);
                assert_int_equal(d->effects.n, 0);
        }
        assert_true(rollout_is_consistent(d->r));
        return k;
}

static inline void must(struct driver *d, struct rollout_event e) {
        if (event(d, e) < 0)
                fail_msg("%s", err_message(d->err));
}

static inline void make(struct driver *d) {
        if (rollout_new("01rollout", "shops", "new", &d->policy, d->candidates, d->n, d->now, &d->r,
                        &d->err) < 0)
                fail_msg("%s", err_message(d->err));
}

static inline void begin(struct driver *d) {
        make(d);
        must(d, (struct rollout_event){.type = ROLLOUT_EVENT_START});
}

static inline void say_about(struct driver *d, const char *node, enum member_state state,
                             const char *revision) {
        must(d,
             (struct rollout_event){
                     .type = ROLLOUT_EVENT_NODE_STATE, .node = node, .state = state, .revision = revision});
}
static inline void say(struct driver *d, const char *node, enum member_state state) {
        say_about(d, node, state, "new");
}
static inline void say_each(struct driver *d, const char *names, enum member_state state) {
        for (; *names; names++)
                say(d, (char[]){*names, 0}, state);
}
static inline void come(struct driver *d, const char *node) {
        must(d, (struct rollout_event){.type = ROLLOUT_EVENT_CONNECTED, .node = node});
}
static inline void go(struct driver *d, const char *node) {
        must(d, (struct rollout_event){.type = ROLLOUT_EVENT_DISCONNECTED, .node = node});
}
static inline void tick(struct driver *d) {
        must(d, (struct rollout_event){.type = ROLLOUT_EVENT_TICK});
}
/* Time passes, with the ticks that the rollout asks for. */
static inline void wait_ms(struct driver *d, msec_t ms) {
        msec_t until = d->now + ms;
        for (msec_t wake; (wake = rollout_next_wake(d->r)) != 0 && wake <= until;) {
                d->now = MAX(d->now, wake);
                tick(d);
        }
        d->now = until;
}
static inline void person(struct driver *d, enum rollout_event_type type) {
        must(d, (struct rollout_event){.type = type});
}

static inline const struct rollout_member *member(struct driver *d, const char *node) {
        size_t i = rollout_find_member(d->r, node);
        assert_int_not_equal(i, SIZE_MAX);
        return &d->r->members[i];
}
static inline size_t count_effects(const struct driver *d, enum rollout_effect_type type) {
        size_t n = 0;
        for (size_t i = 0; i < d->effects.n; i++)
                n += d->effects.items[i].type == type;
        return n;
}
static inline bool has_effect(const struct driver *d, enum rollout_effect_type type, const char *node) {
        size_t member = rollout_find_member(d->r, node);
        for (size_t i = 0; i < d->effects.n; i++)
                if (d->effects.items[i].type == type && d->effects.items[i].member == member)
                        return true;
        return false;
}

#define assert_phase(d, p) assert_string_equal(rollout_phase_name((d)->r->phase), p)
#define assert_state(d, node, s) assert_string_equal(member_state_name(member((d), (node))->state), s)
#define assert_wave(d, w) assert_int_equal((d)->r->wave, w)
#define assert_reason(d, text) assert_string_equal((d)->r->reason ? (d)->r->reason : "", text)
#define assert_refused(d, t, text)                                                                           \
        do {                                                                                                 \
                assert_int_equal(event((d), (struct rollout_event){.type = (t)}), -EINVAL);                  \
                assert_string_equal(err_message((d)->err), text);                                            \
        } while (0)
