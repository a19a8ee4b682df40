/* SPDX-License-Identifier: Apache-2.0 */
/* The Rollout kind: how a change moves through a fleet. */
#pragma once

#include "base/clock.h"
#include "fleet/selector.h"

struct quantity { /* "3" or "10%" */
        bool is_set, is_percent;
        int64_t value;
};
/* Of a total, never more than it; percentages round up, so at least 1 when the total is not 0 and the value
 * is not 0. 0 when it is not set. */
int64_t quantity_of(const struct quantity *q, int64_t total);
int quantity_parse(const char *text, struct quantity *ret); /* -EINVAL; percent over 100 too */
#define QUANTITY_TEXT_SIZE 24
const char *quantity_format(const struct quantity *q, char out[QUANTITY_TEXT_SIZE]); /* "" when not set */

struct rollout_wave_policy {
        const char *name;
        struct selector selector; /* among the fleet's nodes; empty: all not yet in a wave */
        struct quantity limit; /* most nodes taken into the wave; percent: of the fleet's nodes that match */
        msec_t pause_ms;       /* soak after the wave is healthy */
        struct quantity success_threshold; /* of those that accepted. Not set: all but what max_failed
                                              tolerates */
};

#define ROLLOUT_WAVES_MAX 64
#define ROLLOUT_WAVE_NAME_MAX 63
#define ROLLOUT_TIME_MAX_MS ((msec_t)3650 * 86400 * 1000)
#define ROLLOUT_PROGRESS_DEADLINE_MS ((msec_t)600 * 1000)
#define ROLLOUT_DEFER_AFTER_MS ((msec_t)60 * 1000)

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
/* {"name","waves":[{"name","selector","limit","pauseMs","successThreshold"}],"maxFailed","minSample",
 * "progressDeadlineMs","deferAfterMs","rollbackOnFailure"}; quantities as text, absent when not set. */
json_t *rollout_policy_to_json(const struct rollout_policy *p) _must_use_;
/* Absent fields get the defaults. -EINVAL also for limits: ROLLOUT_WAVES_MAX, wave names twice or longer than
 * 63 bytes, times below 0 or over 10 years (a deadline must be above 0), min_sample below 1. */
int rollout_policy_from_json(struct arena *arena, const json_t *j, struct rollout_policy *ret,
                             struct err **err);
