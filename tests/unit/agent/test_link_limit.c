/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "agent/link_limit.h"
#include "base/str.h"
#include "fixture.h"

static void test_bandwidth_as_people_write_it(void **state) {
        struct transfer_policy p = {.bytes_per_day = TRANSFER_NO_LIMIT};
        assert_int_equal(link_limit_parse_bandwidth("500K", &p, NULL), 0);
        assert_int_equal(p.bytes_per_second, 500 << 10);
        assert_int_equal(p.n_windows, 0);
        assert_int_equal(link_limit_parse_bandwidth("64K,22:00-06:00=none,12:30-13:00=1M", &p, NULL), 0);
        assert_int_equal(p.bytes_per_second, 64 << 10);
        assert_int_equal(p.n_windows, 2);
        assert_int_equal(p.windows[0].from, 22 * 60);
        assert_int_equal(p.windows[0].to, 6 * 60);
        assert_true(p.windows[0].bytes_per_second == TRANSFER_NO_LIMIT);
        assert_int_equal(p.windows[1].bytes_per_second, 1 << 20);
        static const char *const wrong[] = {"fast",           "10%",      "25:00-06:00=1M", "22:00=1M",
                                            "22:00-06:61=1M", "1M,22-6=x"};
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
                assert_int_equal(link_limit_parse_bandwidth(wrong[i], &p, NULL), -EINVAL);
}

static void test_daily_budget_is_kept_over_a_restart(void **state) {
        struct fixture *f = *state;
        struct link_limit *l;
        msec_t wait = 0;
        assert_int_equal(link_limit_new(f->loop, f->state, NULL, "10K", false, &l, NULL), 0);
        const struct download_limit *d = link_limit_download(l);
        assert_int_equal(link_limit_budget_left(l), 10 << 10);
        assert_int_equal(d->allow(d->arg, 6000, &wait), 6000);
        d->used(d->arg, 10 << 10);
        assert_int_equal(link_limit_budget_left(l), 0);
        link_limit_free(l);
        assert_int_equal(link_limit_new(f->loop, f->state, NULL, "10K", false, &l, NULL), 0);
        assert_int_equal(link_limit_budget_left(l), 0);
        d = link_limit_download(l);
        assert_int_equal(d->allow(d->arg, 6000, &wait), 0);
        assert_true(wait > 0);
        link_limit_free(l);
}

static void test_says_what_holds_it_back_and_until_when(void **state) {
        struct fixture *f = *state;
        struct link_limit *l;
        char text[200];
        assert_int_equal(link_limit_new(f->loop, f->state, NULL, "10K", false, &l, NULL), 0);
        const struct download_limit *d = link_limit_download(l);
        d->used(d->arg, 10 << 10);
        d->explain(d->arg, 6000, text, sizeof(text));
        assert_non_null(strstr(text, "day's budget"));
        assert_non_null(strstr(text, "goes on at 20"));
        link_limit_free(l);
        assert_int_equal(link_limit_new(f->loop, f->state, "0", NULL, false, &l, NULL), 0);
        d = link_limit_download(l);
        d->explain(d->arg, 6000, text, sizeof(text));
        assert_non_null(strstr(text, "--bandwidth"));
        assert_non_null(strstr(text, "not be otherwise at any time"));
        link_limit_free(l);
}

static void test_without_limits_nothing_is_asked(void **state) {
        struct fixture *f = *state;
        struct link_limit *l;
        assert_int_equal(link_limit_new(f->loop, f->state, NULL, NULL, true, &l, NULL), 0);
        assert_null(link_limit_download(l));
        assert_int_equal(link_limit_budget_left(l), -1);
        link_limit_free(l);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_bandwidth_as_people_write_it),
                TEST(test_daily_budget_is_kept_over_a_restart),
                TEST(test_says_what_holds_it_back_and_until_when),
                TEST(test_without_limits_nothing_is_asked),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
