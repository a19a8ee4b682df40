/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "repo/transfer_limit.h"

#define HOUR_S 3600
#define DAY_S 86400
#define MB 1000000
#define MONDAY (20000 * (int64_t)DAY_S) /* a midnight */

static struct transfer_time at(int64_t monotonic_ms, int64_t wall_s) {
        return (struct transfer_time){.monotonic_ms = monotonic_ms, .wall_s = wall_s};
}

static struct transfer_time later(struct transfer_time t, int64_t ms) {
        t.monotonic_ms += ms;
        t.wall_s += ms / 1000;
        return t;
}

static struct transfer_policy policy(int64_t rate, int64_t day) {
        return (struct transfer_policy){.bytes_per_second = rate, .bytes_per_day = day};
}

static void test_no_limit(void **state) {
        struct transfer_limit l;
        struct transfer_policy p = policy(TRANSFER_NO_LIMIT, TRANSFER_NO_LIMIT);
        struct transfer_time now = at(5, MONDAY);
        transfer_limit_init(&l, &p, NULL, &now);
        assert_true(transfer_limit_allowed(&l, &now) == TRANSFER_NO_LIMIT);
        transfer_limit_used(&l, &now, INT64_MAX);
        transfer_limit_used(&l, &now, INT64_MAX);
        assert_true(transfer_limit_allowed(&l, &now) == TRANSFER_NO_LIMIT);
        assert_int_equal(transfer_limit_wait_ms(&l, &now, INT64_MAX), 0);
        assert_int_equal(transfer_limit_budget_left(&l, &now), -1);
}

static void test_rate(void **state) {
        struct transfer_limit l;
        struct transfer_policy p = policy(MB, TRANSFER_NO_LIMIT);
        struct transfer_time now = at(1000, MONDAY);
        transfer_limit_init(&l, &p, NULL, &now);
        assert_int_equal(transfer_limit_allowed(&l, &now), MB); /* a second's worth at once */
        transfer_limit_used(&l, &now, MB);
        assert_int_equal(transfer_limit_allowed(&l, &now), 0);
        assert_int_equal(transfer_limit_wait_ms(&l, &now, 1), 1);
        assert_int_equal(transfer_limit_wait_ms(&l, &now, 250000), 250);
        assert_int_equal(transfer_limit_wait_ms(&l, &now, 50 * MB), 1000); /* never more at once */
        now = later(now, 250);
        assert_int_equal(transfer_limit_allowed(&l, &now), 250000);
        now = later(now, 3600 * 1000);
        assert_int_equal(transfer_limit_allowed(&l, &now), MB);
        transfer_limit_used(&l, &now, 4 * MB); /* more came than was allowed: a debt */
        assert_int_equal(transfer_limit_wait_ms(&l, &now, 1), 3001);
        now = later(now, 3000);
        assert_int_equal(transfer_limit_allowed(&l, &now), 0);
        now = later(now, 1);
        assert_int_equal(transfer_limit_allowed(&l, &now), 1000);

        /* A slow link still gets requests that are worth one. */
        p = policy(100, TRANSFER_NO_LIMIT);
        transfer_limit_init(&l, &p, NULL, &now);
        assert_int_equal(transfer_limit_allowed(&l, &now), 16384);
}

/* Whoever asks for as much as is allowed, as soon as it is, goes at the rate. */
static void test_rate_over_an_hour(void **state) {
        struct transfer_limit l;
        struct transfer_policy p = policy(300000, TRANSFER_NO_LIMIT);
        struct transfer_time now = at(0, MONDAY);
        struct prng r;
        prng_seed(&r, 3);
        transfer_limit_init(&l, &p, NULL, &now);
        int64_t total = 0, end = HOUR_S * 1000;
        while (now.monotonic_ms < end) {
                int64_t wish = 1 + (int64_t)prng_below(&r, MB), wait = transfer_limit_wait_ms(&l, &now, wish);
                assert_true(wait >= 0 && wait <= 1000);
                now.monotonic_ms += wait;
                now.wall_s = MONDAY + now.monotonic_ms / 1000;
                int64_t n = transfer_limit_allowed(&l, &now);
                assert_true(n >= MIN(wish, 300000));
                transfer_limit_used(&l, &now, MIN(wish, n));
                total += MIN(wish, n);
        }
        assert_true(total <= 300000ll * (HOUR_S + 1));
        assert_true(total >= 300000ll * (HOUR_S - 2));
}

static void test_times_of_day(void **state) {
        struct transfer_limit l;
        struct transfer_policy p = policy(0, TRANSFER_NO_LIMIT);
        p.windows[0] = (struct transfer_window){22 * 60, 6 * 60, TRANSFER_NO_LIMIT}; /* over midnight */
        p.windows[1] = (struct transfer_window){12 * 60, 13 * 60, 1000};
        p.n_windows = 2;
        assert_int_equal(transfer_policy_check(&p, NULL), 0);
        struct transfer_time now = at(0, MONDAY + 7 * HOUR_S);
        transfer_limit_init(&l, &p, NULL, &now);
        assert_int_equal(transfer_limit_allowed(&l, &now), 0);
        assert_int_equal(transfer_limit_wait_ms(&l, &now, 1), 5 * HOUR_S * 1000);
        now = later(now, 5 * HOUR_S * 1000);
        assert_int_equal(transfer_limit_allowed(&l, &now), 16384);
        transfer_limit_used(&l, &now, 16384);
        assert_int_equal(transfer_limit_wait_ms(&l, &now, 1000), 1000);
        /* A debt that noon cannot pay is waited for until the evening. */
        transfer_limit_used(&l, &now, 100 * MB);
        assert_int_equal(transfer_limit_wait_ms(&l, &now, 1), 10 * HOUR_S * 1000);
        now = later(now, 10 * HOUR_S * 1000);
        assert_true(transfer_limit_allowed(&l, &now) == TRANSFER_NO_LIMIT);
        now = later(now, 7 * HOUR_S * 1000 + 59 * 60 * 1000);
        assert_true(transfer_limit_allowed(&l, &now) == TRANSFER_NO_LIMIT);
        now = later(now, 60 * 1000);
        assert_int_equal(transfer_limit_allowed(&l, &now), 0);

        /* The day is that of the place. */
        now.utc_offset_s = 6 * HOUR_S; /* 6:00 becomes noon */
        assert_true(transfer_limit_allowed(&l, &now) > 0);
        now.utc_offset_s = -3 * HOUR_S; /* 3:00 */
        assert_true(transfer_limit_allowed(&l, &now) == TRANSFER_NO_LIMIT);

        p = policy(0, TRANSFER_NO_LIMIT);
        transfer_limit_set_policy(&l, &p, &now);
        assert_int_equal(transfer_limit_allowed(&l, &now), 0);
        assert_true(transfer_limit_wait_ms(&l, &now, 1) == TRANSFER_NEVER);
}

static void test_windows_that_are_none(void **state) {
        struct transfer_policy p = policy(0, 0);
        _cleanup_(err_freep) struct err *err = NULL;
        p.n_windows = 1;
        p.windows[0] = (struct transfer_window){60, 60, 1};
        assert_int_equal(transfer_policy_check(&p, &err), -EINVAL);
        assert_non_null(strstr(err_message(err), "window 1"));
        p.windows[0] = (struct transfer_window){1440, 60, 1};
        assert_int_equal(transfer_policy_check(&p, NULL), -EINVAL);
        p.windows[0] = (struct transfer_window){0, 1441, 1};
        assert_int_equal(transfer_policy_check(&p, NULL), -EINVAL);
        p.windows[0] = (struct transfer_window){0, 1440, 1};
        assert_int_equal(transfer_policy_check(&p, NULL), 0);
        p.n_windows = TRANSFER_WINDOWS_MAX + 1;
        assert_int_equal(transfer_policy_check(&p, NULL), -EINVAL);
}

static void test_budget_of_the_day(void **state) {
        struct transfer_limit l;
        struct transfer_policy p = policy(TRANSFER_NO_LIMIT, 10 * MB);
        struct transfer_time now = at(0, MONDAY + 20 * HOUR_S);
        transfer_limit_init(&l, &p, NULL, &now);
        assert_int_equal(transfer_limit_allowed(&l, &now), 10 * MB);
        transfer_limit_used(&l, &now, 9 * MB);
        assert_int_equal(transfer_limit_budget_left(&l, &now), MB);
        assert_int_equal(transfer_limit_wait_ms(&l, &now, MB), 0);
        assert_int_equal(transfer_limit_wait_ms(&l, &now, 2 * MB), 4 * HOUR_S * 1000);
        transfer_limit_used(&l, &now, 3 * MB); /* the last answer was longer */
        assert_int_equal(transfer_limit_allowed(&l, &now), 0);

        /* A restart keeps it. */
        struct transfer_usage kept = transfer_limit_usage(&l);
        struct transfer_limit again;
        struct transfer_time booted = at(3, now.wall_s + 60);
        transfer_limit_init(&again, &p, &kept, &booted);
        assert_int_equal(transfer_limit_budget_left(&again, &booted), 0);

        now = later(now, 4 * HOUR_S * 1000 - 1000);
        assert_int_equal(transfer_limit_allowed(&l, &now), 0);
        now = later(now, 1000);
        assert_int_equal(transfer_limit_allowed(&l, &now), 10 * MB);
        /* Both limits bind. */
        p.bytes_per_second = MB;
        transfer_limit_set_policy(&l, &p, &now);
        assert_int_equal(transfer_limit_allowed(&l, &now), 16384);
        now = later(now, 5000);
        assert_int_equal(transfer_limit_allowed(&l, &now), MB);
        transfer_limit_used(&l, &now, 10 * MB);
        assert_int_equal(transfer_limit_wait_ms(&l, &now, 1), (DAY_S - 5) * 1000ll);
        p.bytes_per_day = 0;
        transfer_limit_set_policy(&l, &p, &now);
        assert_int_equal(transfer_limit_allowed(&l, &now), 0);
        assert_true(transfer_limit_wait_ms(&l, &now, 1) == TRANSFER_NEVER);
}

static void test_clock_set_back_by_years(void **state) {
        struct transfer_limit l;
        struct transfer_policy p = policy(TRANSFER_NO_LIMIT, 10 * MB);
        struct transfer_time now = at(0, MONDAY + HOUR_S);
        transfer_limit_init(&l, &p, NULL, &now);
        transfer_limit_used(&l, &now, 10 * MB);
        now.wall_s = 0; /* a battery that is empty */
        assert_int_equal(transfer_limit_budget_left(&l, &now), 0);
        now.wall_s = -5ll * 365 * DAY_S;
        assert_int_equal(transfer_limit_budget_left(&l, &now), 0);
        now.wall_s = MONDAY + 2 * HOUR_S; /* and right again: the same day */
        assert_int_equal(transfer_limit_budget_left(&l, &now), 0);
        now.wall_s = MONDAY + DAY_S;
        assert_int_equal(transfer_limit_budget_left(&l, &now), 10 * MB);
}

static void test_clock_set_forward_by_years(void **state) {
        struct transfer_limit l;
        struct transfer_policy p = policy(TRANSFER_NO_LIMIT, 10 * MB);
        struct transfer_time now = at(0, MONDAY + HOUR_S);
        transfer_limit_init(&l, &p, NULL, &now);
        transfer_limit_used(&l, &now, 10 * MB);
        now.wall_s += 20ll * 365 * DAY_S;
        assert_int_equal(transfer_limit_budget_left(&l, &now), 10 * MB); /* one budget too many */
        transfer_limit_used(&l, &now, 10 * MB);
        now = at(1000, MONDAY + HOUR_S); /* right again */
        for (int day = 0; day < 3; day++) {
                assert_int_equal(transfer_limit_budget_left(&l, &now), 0);
                int64_t wait = transfer_limit_wait_ms(&l, &now, 1);
                assert_true(wait > 0 && wait <= DAY_S * 1000ll);
                now = later(now, wait);
                assert_int_equal(transfer_limit_budget_left(&l, &now), 10 * MB); /* not in twenty years */
                transfer_limit_used(&l, &now, 10 * MB);
        }
        /* The running time counts over restarts. */
        l.usage.day = INT64_MAX;
        struct transfer_time boot = now;
        for (int restart = 0; restart < 30; restart++) {
                struct transfer_usage kept = transfer_limit_usage(&l);
                boot = at(10, boot.wall_s + HOUR_S);
                transfer_limit_init(&l, &p, &kept, &boot);
                boot = later(boot, HOUR_S * 1000);
                if (transfer_limit_budget_left(&l, &boot) > 0) {
                        assert_true(restart >= 20);
                        return;
                }
        }
        fail_msg("no budget after 30 hours of running");
}

static void test_monotonic_jumps(void **state) {
        struct transfer_limit l;
        struct transfer_policy p = policy(MB, TRANSFER_NO_LIMIT);
        struct transfer_time now = at(1000000, MONDAY);
        transfer_limit_init(&l, &p, NULL, &now);
        transfer_limit_used(&l, &now, MB);
        now.monotonic_ms = 5; /* another boot */
        assert_int_equal(transfer_limit_allowed(&l, &now), 0);
        now.monotonic_ms = 105;
        assert_int_equal(transfer_limit_allowed(&l, &now), 100000);
        now.monotonic_ms = INT64_MAX;
        assert_int_equal(transfer_limit_allowed(&l, &now), MB);
        now.monotonic_ms = INT64_MIN;
        assert_int_equal(transfer_limit_allowed(&l, &now), MB);
}

static void test_fetch_plan_is_narrowed(void **state) {
        struct transfer_limit node, site;
        struct transfer_policy metered = policy(TRANSFER_NO_LIMIT, 1000);
        struct transfer_policy shared = policy(MB, 700), open = policy(MB, TRANSFER_NO_LIMIT);
        struct transfer_time now = at(0, MONDAY);
        metered.never_full = true;
        struct fetch_situation s = {.budget_left = -1, .chunks_missing = -1};
        transfer_limit_init(&node, &open, NULL, &now);
        transfer_limit_narrow(&node, &now, &s);
        assert_int_equal(s.budget_left, -1);
        assert_false(s.never_full);
        transfer_limit_init(&node, &metered, NULL, &now);
        transfer_limit_init(&site, &shared, NULL, &now);
        transfer_limit_narrow(&node, &now, &s);
        assert_int_equal(s.budget_left, 1000);
        transfer_limit_narrow(&site, &now, &s);
        transfer_limit_narrow(&node, &now, &s);
        assert_int_equal(s.budget_left, 700);
        assert_true(s.never_full);
}

/* Any clock, any policy, any usage: answers within bounds, and never more than the budget a day. */
static void test_any_values(void **state) {
        static const int64_t values[] = {
                INT64_MIN, INT64_MIN + 1,  -1,         0,         1,         999,           16384,    MB,
                DAY_S,     DAY_S * 1000ll, MONDAY + 1, 1ll << 40, 1ll << 62, INT64_MAX - 1, INT64_MAX};
        struct prng r;
        prng_seed(&r, 11);
        for (int i = 0; i < 20000; i++) {
#define ANY() values[prng_below(&r, ARRAY_SIZE(values))]
                struct transfer_policy p = policy(ANY(), ANY());
                p.n_windows = prng_below(&r, 4);
                for (size_t k = 0; k < p.n_windows; k++)
                        p.windows[k] = (struct transfer_window){(unsigned)prng_below(&r, 1440),
                                                                (unsigned)prng_below(&r, 1441), ANY()};
                struct transfer_usage usage = {ANY(), ANY(), ANY()};
                struct transfer_limit l;
                struct transfer_time now = at(ANY(), ANY());
                transfer_limit_init(&l, &p, prng_below(&r, 2) ? &usage : NULL, &now);
                for (int k = 0; k < 6; k++) {
                        int64_t allowed = transfer_limit_allowed(&l, &now);
                        int64_t left = transfer_limit_budget_left(&l, &now);
                        assert_true(allowed >= 0 && left >= -1);
                        if (left >= 0)
                                assert_true(allowed <= left);
                        int64_t wait = transfer_limit_wait_ms(&l, &now, ANY());
                        assert_true(wait >= 0);
                        transfer_limit_used(&l, &now, ANY());
                        now = at(ANY(), ANY());
                        now.utc_offset_s = (int32_t)prng_below(&r, 2 * DAY_S) - DAY_S;
                }
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_no_limit),
                cmocka_unit_test(test_rate),
                cmocka_unit_test(test_rate_over_an_hour),
                cmocka_unit_test(test_times_of_day),
                cmocka_unit_test(test_windows_that_are_none),
                cmocka_unit_test(test_budget_of_the_day),
                cmocka_unit_test(test_clock_set_back_by_years),
                cmocka_unit_test(test_clock_set_forward_by_years),
                cmocka_unit_test(test_monotonic_jumps),
                cmocka_unit_test(test_fetch_plan_is_narrowed),
                cmocka_unit_test(test_any_values),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
