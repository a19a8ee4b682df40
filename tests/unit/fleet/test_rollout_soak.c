/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of docs/rollouts.md, one test a rule. What no order of events may break is tests/sim's. */
#include "rollout_driver.h"

/* ---- the soak */

static void a_failure_in_the_soak_rolls_back(void **state) {
        struct driver *d = *state;
        nodes(d, 2);
        wave(d, "all", 0)->pause_ms = 60 * S;
        begin(d);
        say_each(d, "ab", MEMBER_HEALTHY);
        wait_ms(d, 59 * S);
        say(d, "b", MEMBER_ROLLED_BACK);
        assert_phase(d, "RollingBack");
}

static void the_soak_stands_still_while_a_node_is_at_work(void **state) {
        struct driver *d = *state;
        nodes(d, 2);
        wave(d, "all", 0)->pause_ms = 60 * S;
        begin(d);
        say_each(d, "ab", MEMBER_HEALTHY);
        wait_ms(d, 40 * S);
        say(d, "a", MEMBER_CONFIRMING);
        assert_phase(d, "Progressing");
        wait_ms(d, 100 * S);
        assert_phase(d, "Progressing");
        say(d, "a", MEMBER_HEALTHY);
        assert_phase(d, "Soaking");
        assert_int_equal(rollout_next_wake(d->r), d->now + 20 * S);
        wait_ms(d, 20 * S);
        assert_phase(d, "Succeeded");
}

static void a_relapse_ends_at_the_deadline(void **state) {
        struct driver *d = *state;
        nodes(d, 2);
        wave(d, "all", 0)->pause_ms = 60 * S;
        begin(d);
        say_each(d, "ab", MEMBER_HEALTHY);
        wait_ms(d, 40 * S);
        say(d, "a", MEMBER_APPLYING);
        wait_ms(d, d->policy.progress_deadline_ms);
        assert_state(d, "a", "TimedOut");
        assert_phase(d, "RollingBack");
}

/* As many as may still fail are not waited for, so that a large wave comes to an end. */
static void relapses_within_the_budget_do_not_hold_the_wave(void **state) {
        struct driver *d = *state;
        nodes(d, 5);
        d->policy.max_failed = (struct quantity){true, false, 1};
        wave(d, "all", 0)->pause_ms = 60 * S;
        begin(d);
        say_each(d, "abcde", MEMBER_HEALTHY);
        say(d, "a", MEMBER_CONFIRMING);
        assert_phase(d, "Soaking");
        say(d, "b", MEMBER_CONFIRMING);
        assert_phase(d, "Progressing");
        say(d, "b", MEMBER_HEALTHY);
        wait_ms(d, 60 * S);
        assert_phase(d, "Succeeded");
}

static void a_soak_that_nobody_sees_does_not_end(void **state) {
        struct driver *d = *state;
        nodes(d, 1);
        wave(d, "all", 0)->pause_ms = 60 * S;
        begin(d);
        say(d, "a", MEMBER_HEALTHY);
        go(d, "a");
        assert_int_equal(rollout_next_wake(d->r), 0);
        wait_ms(d, 3600 * S);
        tick(d);
        assert_phase(d, "Soaking");
        come(d, "a");
        assert_phase(d, "Succeeded");
}

static void a_passed_wave_is_still_watched(void **state) {
        struct driver *d = *state;
        nodes(d, 3);
        d->labels[0][0] = (struct pair){"role", "canary"};
        wave(d, "canary", 0)->selector.match_labels = (struct pairs){d->labels[0], 1};
        begin(d);
        say(d, "a", MEMBER_HEALTHY);
        assert_wave(d, 1);
        say(d, "a", MEMBER_ROLLED_BACK);
        assert_phase(d, "RollingBack");
        assert_int_equal(count_effects(d, ROLLOUT_EFFECT_ASSIGN_BACK), 3);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, driver_setup, driver_teardown)
        const struct CMUnitTest tests[] = {
                TEST(a_failure_in_the_soak_rolls_back),
                TEST(the_soak_stands_still_while_a_node_is_at_work),
                TEST(a_relapse_ends_at_the_deadline),
                TEST(relapses_within_the_budget_do_not_hold_the_wave),
                TEST(a_soak_that_nobody_sees_does_not_end),
                TEST(a_passed_wave_is_still_watched),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
