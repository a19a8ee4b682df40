/* SPDX-License-Identifier: Apache-2.0 */
/* How many bytes may go over a link: so many a second, by time of day, and so many a day. Pure: clocks are
 * passed in, nothing is waited for here. A transfer that several limits bind (its node's, its site's) asks
 * each, takes the least, and charges each with what it took.
 *
 *   n = transfer_limit_allowed(l, &now);
 *   n == 0: again in transfer_limit_wait_ms(l, &now, wish);     else ask for n bytes at most,
 *   transfer_limit_used(l, &now, bytes that came) */
#pragma once

#include "repo/fetch_plan.h"

#define TRANSFER_WINDOWS_MAX 16
#define TRANSFER_NO_LIMIT INT64_MAX
#define TRANSFER_NEVER INT64_MAX

struct transfer_policy {
        int64_t bytes_per_second;  /* outside of the windows; TRANSFER_NO_LIMIT; 0 and below: nothing */
        struct transfer_window {   /* of each day; the first that fits counts */
                unsigned from, to; /* minutes of the local day, `to` not in it; from >= to: over midnight */
                int64_t bytes_per_second;
        } windows[TRANSFER_WINDOWS_MAX];
        size_t n_windows;
        int64_t bytes_per_day; /* TRANSFER_NO_LIMIT */
        bool never_full;       /* never a target in full (fetch_plan.h) */
};
/* -EINVAL says which window is none. */
int transfer_policy_check(const struct transfer_policy *p, struct err **err);

struct transfer_time {
        int64_t monotonic_ms; /* never set by anybody; may start anew with the machine */
        int64_t wall_s;       /* since 1970; may be wrong, and jump */
        int32_t utc_offset_s; /* of the local day */
};

/* What was used of a day's budget; kept over restarts.
 *
 * A later day than `day` brings a new budget. A clock that goes back brings none, and none when it comes
 * forward again; so that it cannot hold a budget back for years once it was wrong, 24 hours of running bring
 * one too. A clock set forward past midnight costs one day's budget more than was meant. */
struct transfer_usage {
        int64_t day; /* local days since 1970; the latest seen since the budget was new */
        int64_t used;
        int64_t ran_ms; /* running time seen since the budget was new */
};

struct transfer_limit { /* to be touched by the functions below only */
        struct transfer_policy policy;
        struct transfer_usage usage;
        int64_t tokens_milli; /* thousandths of a byte; below zero: a debt */
        int64_t seen_ms;      /* monotonic */
};
/* usage: what was kept; NULL: none. */
void transfer_limit_init(struct transfer_limit *l, const struct transfer_policy *p,
                         const struct transfer_usage *usage, const struct transfer_time *now);
/* A new policy; what was used today stays used. */
void transfer_limit_set_policy(struct transfer_limit *l, const struct transfer_policy *p,
                               const struct transfer_time *now);
/* Bytes that may be asked for now; TRANSFER_NO_LIMIT. */
int64_t transfer_limit_allowed(struct transfer_limit *l, const struct transfer_time *now);
/* Charges what was transferred, asked for or not. */
void transfer_limit_used(struct transfer_limit *l, const struct transfer_time *now, int64_t bytes);
/* How long until `wish` bytes are allowed, or as many as are ever allowed at once: 0 now, TRANSFER_NEVER. A
 * clock that is set changes it: ask again after an hour at most. */
int64_t transfer_limit_wait_ms(struct transfer_limit *l, const struct transfer_time *now, int64_t wish);
/* Bytes left of the day's budget; -1: there is none to keep, as fetch plans have it. */
int64_t transfer_limit_budget_left(struct transfer_limit *l, const struct transfer_time *now);
/* Narrows a situation to what the limit allows: never_full, budget_left. */
void transfer_limit_narrow(struct transfer_limit *l, const struct transfer_time *now,
                           struct fetch_situation *s);
/* For keeping. */
static inline struct transfer_usage transfer_limit_usage(const struct transfer_limit *l) {
        return l->usage;
}
