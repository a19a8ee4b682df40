/* SPDX-License-Identifier: Apache-2.0 */
/* The Rollout kind: how a change moves through a fleet. */
#pragma once

#include "base/clock.h"
#include "fleet/schedule.h"
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
        struct quantity failure_budget; /* failed members of this wave tolerated; not set: max_failed alone */
        int64_t min_sample;             /* real successes that this wave needs; 0: the rollout's */
        int64_t approvals;              /* people who must approve before it begins; 0: nobody */
        const char **approvers;         /* who may; none: whoever may act on rollouts */
        size_t n_approvers;
};

/* At most so many nodes of a group may be out of service for the change at a time. */
struct rollout_budget {
        const char **group_by; /* labels; nodes that have the same values are a group. None: all nodes */
        size_t n_group_by;
        struct quantity max_unavailable; /* percent: of the group's members */
};

#define ROLLOUT_WAVES_MAX 64
#define ROLLOUT_WAVE_NAME_MAX 63
#define ROLLOUT_APPROVALS_MAX 8  /* that a wave can need */
#define ROLLOUT_APPROVERS_MAX 64 /* that a wave can name */
#define ROLLOUT_PERSON_MAX 256   /* bytes of a person's name */
#define ROLLOUT_BUDGETS_MAX 8
#define ROLLOUT_GROUP_BY_MAX 8
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

        /* Of one node, within progress_deadline; 0: that alone. The download's and the apply's run in
         * Downloading and Applying, the confirm's in Confirming. */
        msec_t download_deadline_ms, apply_deadline_ms, confirm_deadline_ms;

        /* Where there is any, a node applies only when it was given a slot in each of them (rollout.h). */
        struct rollout_budget *budgets;
        size_t n_budgets;

        const struct schedule *schedule; /* that the nodes keep; NULL: they apply at any time */
};
static inline bool rollout_policy_has_slots(const struct rollout_policy *p) {
        return p->n_budgets > 0;
}

void rollout_policy_default(struct rollout_policy *p);
/* {"name","waves":[{"name","selector","limit","pauseMs","successThreshold","failureBudget","minSample",
 * "approvals","approvers":[]}],"maxFailed","minSample","progressDeadlineMs","deferAfterMs",
 * "rollbackOnFailure","downloadDeadlineMs","applyDeadlineMs","confirmDeadlineMs",
 * "budgets":[{"groupBy":[],"maxUnavailable"}],"schedule":{schedule.h}}; quantities as text; what is not set
 * is absent. */
json_t *rollout_policy_to_json(const struct rollout_policy *p) _must_use_;
/* Absent fields get the defaults. -EINVAL also for limits: ROLLOUT_WAVES_MAX, wave names twice or longer than
 * 63 bytes, times below 0 or over 10 years (a deadline must be above 0), min_sample below 1, more approvals
 * than approvers, a budget that lets no node go. */
int rollout_policy_from_json(struct arena *arena, const json_t *j, struct rollout_policy *ret,
                             struct err **err);
