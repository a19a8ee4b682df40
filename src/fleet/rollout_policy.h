/* SPDX-License-Identifier: Apache-2.0 */
/* The Rollout kind: how a change moves through a fleet. */
#pragma once

#include "base/clock.h"
#include "fleet/selector.h"

struct quantity { /* "3" or "10%" */
        bool is_set, is_percent;
        int64_t value;
};
/* Of a total; percentages round up, at least 1 when the total is not 0 and the value is not 0. */
int64_t quantity_of(const struct quantity *q, int64_t total);
int quantity_parse(const char *text, struct quantity *ret); /* -EINVAL; percent over 100 too */

struct rollout_wave_policy {
        const char *name;
        struct selector selector;          /* among the fleet's nodes; empty: all not yet in a wave */
        struct quantity limit;             /* most nodes taken into the wave */
        msec_t pause_ms;                   /* soak after the wave is healthy */
        struct quantity success_threshold; /* of those that accepted; default 100% */
};

#define ROLLOUT_WAVES_MAX 64

struct rollout_policy {
        const char *name;                  /* "" for the built-in default: one wave of everything */
        struct rollout_wave_policy *waves; /* nodes that none takes form a last wave "rest" */
        size_t n_waves;
        struct quantity max_failed;  /* failed nodes tolerated in the whole rollout; default 0 */
        int64_t min_sample;          /* real successes a wave needs; default 1 */
        msec_t progress_deadline_ms; /* for one node from offer accepted to healthy; default 10 min */
        msec_t defer_after_ms;       /* unreachable this long after the offer: Deferred; default 1 min */
        bool rollback_on_failure;    /* default true; else the rollout pauses */
};

void rollout_policy_default(struct rollout_policy *p);
json_t *rollout_policy_to_json(const struct rollout_policy *p) _must_use_;
int rollout_policy_from_json(struct arena *arena, const json_t *j, struct rollout_policy *ret,
                             struct err **err);
