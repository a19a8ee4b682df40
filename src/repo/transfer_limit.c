/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "repo/transfer_limit.h"

#define DAY_S 86400
#define DAY_MINUTES 1440
#define DAY_MS ((int64_t)DAY_S * 1000)
/* A bucket holds one second of its rate, so that a link is never much above it; but enough for a request that
 * is worth one. */
#define BURST_MIN (16 << 10)
#define RATE_MAX (INT64_MAX / (4 * DAY_MS)) /* rate times milliseconds of some days stays a number */

int transfer_policy_check(const struct transfer_policy *p, struct err **err) {
        if (p->n_windows > TRANSFER_WINDOWS_MAX)
                return err_set(err, EINVAL, "%zu windows in a day: at most %d are possible", p->n_windows,
                               TRANSFER_WINDOWS_MAX);
        for (size_t i = 0; i < p->n_windows; i++) {
                const struct transfer_window *w = &p->windows[i];
                if (w->from >= DAY_MINUTES || w->to > DAY_MINUTES || w->from == w->to)
                        return err_set(
                                err, EINVAL,
                                "window %zu goes from minute %u to minute %u of the day: give two different "
                                "ones within 0 and 1440",
                                i + 1, w->from, w->to);
        }
        return 0;
}

static int64_t floor_div(int64_t a, int64_t b) {
        return a / b - (a % b < 0);
}

static int64_t local_s(const struct transfer_time *t) {
        /* Wherever the clock is, half of the range is room enough for offsets. */
        int64_t wall = MAX(INT64_MIN / 2, MIN(t->wall_s, INT64_MAX / 2));
        return wall + t->utc_offset_s;
}

static bool within(const struct transfer_window *w, int64_t minute) {
        if (w->from < w->to)
                return minute >= w->from && minute < w->to;
        return minute >= w->from || minute < w->to;
}

static int64_t rate_at(const struct transfer_policy *p, int64_t second_of_day) {
        int64_t rate = p->bytes_per_second;
        for (size_t i = 0; i < p->n_windows && i < TRANSFER_WINDOWS_MAX; i++)
                if (within(&p->windows[i], second_of_day / 60)) {
                        rate = p->windows[i].bytes_per_second;
                        break;
                }
        if (rate == TRANSFER_NO_LIMIT)
                return rate;
        return MAX((int64_t)0, MIN(rate, RATE_MAX));
}

static int64_t burst_milli(int64_t rate) {
        return MAX(rate, (int64_t)BURST_MIN) * 1000;
}

static int64_t add_capped(int64_t a, int64_t b, int64_t cap) {
        int64_t sum;
        if (__builtin_add_overflow(a, b, &sum))
                sum = b > 0 ? cap : INT64_MIN / 2;
        return MIN(sum, cap);
}

/* Brings the bucket and the day up to now. */
static void advance(struct transfer_limit *l, const struct transfer_time *now) {
        int64_t elapsed;
        /* Another boot's clock: no time is known to have passed. */
        if (__builtin_sub_overflow(now->monotonic_ms, l->seen_ms, &elapsed) || elapsed < 0)
                elapsed = 0;
        l->seen_ms = now->monotonic_ms;
        int64_t local = local_s(now), day = floor_div(local, DAY_S);
        int64_t rate = rate_at(&l->policy, local - day * DAY_S);
        if (rate == TRANSFER_NO_LIMIT)
                l->tokens_milli = burst_milli(0);
        else if (rate > 0)
                l->tokens_milli = add_capped(l->tokens_milli, rate * MIN(elapsed, DAY_MS), burst_milli(rate));

        l->usage.ran_ms = add_capped(l->usage.ran_ms, elapsed, DAY_MS);
        if (day > l->usage.day || l->usage.ran_ms >= DAY_MS)
                l->usage = (struct transfer_usage){.day = day};
}

void transfer_limit_init(struct transfer_limit *l, const struct transfer_policy *p,
                         const struct transfer_usage *usage, const struct transfer_time *now) {
        int64_t local = local_s(now), day = floor_div(local, DAY_S);
        *l = (struct transfer_limit){.policy = *p, .seen_ms = now->monotonic_ms};
        l->usage.day = day;
        if (usage) { /* from a file: no value of it may do harm */
                l->usage = *usage;
                l->usage.used = MAX((int64_t)0, usage->used);
                l->usage.ran_ms = MAX((int64_t)0, usage->ran_ms);
        }
        int64_t rate = rate_at(p, local - day * DAY_S);
        l->tokens_milli = burst_milli(rate == TRANSFER_NO_LIMIT ? 0 : rate);
        advance(l, now);
}

void transfer_limit_set_policy(struct transfer_limit *l, const struct transfer_policy *p,
                               const struct transfer_time *now) {
        advance(l, now);
        l->policy = *p;
        advance(l, now);
}

static int64_t budget_left(const struct transfer_limit *l) {
        if (l->policy.bytes_per_day == TRANSFER_NO_LIMIT)
                return TRANSFER_NO_LIMIT;
        return MAX((int64_t)0,
                   l->policy.bytes_per_day - MIN(l->usage.used, MAX((int64_t)0, l->policy.bytes_per_day)));
}

static int64_t rate_now(const struct transfer_limit *l, const struct transfer_time *now) {
        int64_t local = local_s(now);
        return rate_at(&l->policy, local - floor_div(local, DAY_S) * DAY_S);
}

int64_t transfer_limit_allowed(struct transfer_limit *l, const struct transfer_time *now) {
        advance(l, now);
        int64_t rate = rate_now(l, now), left = budget_left(l);
        if (rate == TRANSFER_NO_LIMIT)
                return left;
        if (rate == 0 || l->tokens_milli < 1000)
                return 0;
        return MIN(l->tokens_milli / 1000, left);
}

void transfer_limit_used(struct transfer_limit *l, const struct transfer_time *now, int64_t bytes) {
        advance(l, now);
        if (bytes <= 0)
                return;
        l->usage.used = add_capped(l->usage.used, bytes, INT64_MAX);
        if (rate_now(l, now) != TRANSFER_NO_LIMIT)
                l->tokens_milli = MAX(INT64_MIN / 2, l->tokens_milli) - MIN(bytes, INT64_MAX / 4000) * 1000;
}

/* Milliseconds until the rate may be another one; the end of the day counts too. */
static int64_t next_change_ms(const struct transfer_policy *p, int64_t ms_of_day) {
        int64_t next = DAY_MS;
        for (size_t i = 0; i < p->n_windows && i < TRANSFER_WINDOWS_MAX; i++) {
                const int64_t edges[] = {(int64_t)p->windows[i].from * 60000,
                                         (int64_t)p->windows[i].to * 60000};
                for (size_t k = 0; k < ARRAY_SIZE(edges); k++)
                        if (edges[k] > ms_of_day)
                                next = MIN(next, edges[k]);
        }
        return next - ms_of_day;
}

/* Until the bucket holds the wish; a debt may take days. */
static int64_t bucket_wait_ms(const struct transfer_limit *l, int64_t ms_of_day, int64_t wish) {
        int64_t tokens = l->tokens_milli, waited = 0, at_midnight = 0;
        bool day_seen = false;
        for (unsigned step = 0; step < 10000; step++) {
                int64_t rate = rate_at(&l->policy, ms_of_day / 1000);
                if (rate == TRANSFER_NO_LIMIT)
                        return waited;
                int64_t change = next_change_ms(&l->policy, ms_of_day);
                if (rate > 0) {
                        int64_t want = MIN(MIN(wish, INT64_MAX / 1000) * 1000, burst_milli(rate));
                        if (tokens >= want)
                                return waited;
                        int64_t need = (want - tokens) / rate + ((want - tokens) % rate != 0);
                        if (need <= change)
                                return waited + need;
                        tokens = add_capped(tokens, rate * change, burst_milli(rate));
                }
                waited += change;
                ms_of_day = (ms_of_day + change) % DAY_MS;
                if (ms_of_day != 0)
                        continue;
                if (day_seen && tokens == at_midnight)
                        return TRANSFER_NEVER; /* a whole day brought nothing */
                day_seen = true;
                at_midnight = tokens;
        }
        return waited;
}

int64_t transfer_limit_wait_ms(struct transfer_limit *l, const struct transfer_time *now, int64_t wish) {
        advance(l, now);
        int64_t local = local_s(now), day = floor_div(local, DAY_S), second = local - day * DAY_S;
        int64_t bucket = bucket_wait_ms(l, second * 1000, MAX(wish, (int64_t)1));
        if (bucket == TRANSFER_NEVER || l->policy.bytes_per_day <= 0)
                return TRANSFER_NEVER;
        if (budget_left(l) >= MIN(MAX(wish, (int64_t)1), l->policy.bytes_per_day))
                return bucket;
        /* A new budget: with the next day, if the clock is not behind the latest day seen; or after a day's
         * running. */
        int64_t renewed = DAY_MS - l->usage.ran_ms;
        if (day >= l->usage.day)
                renewed = MIN(renewed, (DAY_S - second) * 1000);
        return MAX(bucket, renewed);
}

int64_t transfer_limit_budget_left(struct transfer_limit *l, const struct transfer_time *now) {
        advance(l, now);
        int64_t left = budget_left(l);
        return left == TRANSFER_NO_LIMIT ? -1 : left;
}

void transfer_limit_narrow(struct transfer_limit *l, const struct transfer_time *now,
                           struct fetch_situation *s) {
        int64_t left = transfer_limit_budget_left(l, now);
        s->never_full = s->never_full || l->policy.never_full;
        if (left >= 0)
                s->budget_left = s->budget_left < 0 ? left : MIN(left, s->budget_left);
}
