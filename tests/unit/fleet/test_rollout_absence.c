/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of docs/rollouts.md, one test a rule. What no order of events may break is tests/sim's. */
#include "rollout_driver.h"

/* ---- who is not there */

static void an_offline_canary_does_not_pass(void **state) {
        struct driver *d = *state;
        nodes(d, 3);
        for (size_t i = 0; i < 3; i++)
                d->candidates[i].connected = false;
        wave(d, "canary", 1);
        begin(d);
        assert_int_equal(rollout_next_wake(d->r), T0 + d->policy.defer_after_ms);
        wait_ms(d, 3600 * S);
        assert_phase(d, "Progressing");
        assert_wave(d, 0);
        assert_int_equal(rollout_next_wake(d->r), 0); /* waits for the node, not for time */
        size_t i = 0;
        while (d->r->members[i].wave != 0)
                i++;
        assert_state(d, d->r->members[i].node, "Deferred");
        assert_string_equal(d->r->members[i].reason, "not reached within 1m");
        assert_false(d->r->members[i].failed);
        come(d, d->r->members[i].node);
        assert_int_equal(count_effects(d, ROLLOUT_EFFECT_ASSIGN), 1);
        assert_state(d, d->r->members[i].node, "Offered");
        say(d, d->r->members[i].node, MEMBER_HEALTHY);
        assert_wave(d, 1);
}

static void the_deferral_clock_runs_from_when_it_went(void **state) {
        struct driver *d = *state;
        nodes(d, 2);
        begin(d);
        d->now += 100 * S;
        go(d, "a");
        assert_int_equal(rollout_next_wake(d->r), T0 + 160 * S);
        d->now += 30 * S;
        come(d, "a");
        d->now += S;
        go(d, "a");
        assert_int_equal(rollout_next_wake(d->r), T0 + 191 * S);
        wait_ms(d, 60 * S);
        assert_state(d, "a", "Deferred");
        assert_int_equal(member(d, "a")->since, T0 + 191 * S);
}

/* Connected or coming and going: whoever does not answer is waited for only so long. */
static void who_does_not_answer_is_deferred_at_the_deadline(void **state) {
        struct driver *d = *state;
        nodes(d, 2);
        begin(d);
        say(d, "b", MEMBER_HEALTHY);
        while (d->now < T0 + d->policy.progress_deadline_ms - S) {
                wait_ms(d, S);
                if (d->now / S % 2)
                        go(d, "a");
                else
                        come(d, "a");
        }
        assert_state(d, "a", "Offered");
        wait_ms(d, 2 * S);
        assert_state(d, "a", "Deferred");
        assert_phase(d, "Succeeded");
        assert_reason(d, "1 deferred");
}

static void a_connected_node_that_does_not_answer_says_so(void **state) {
        struct driver *d = *state;
        nodes(d, 1);
        begin(d);
        wait_ms(d, d->policy.progress_deadline_ms);
        assert_state(d, "a", "Deferred");
        assert_string_equal(member(d, "a")->reason, "connected, but did not answer the offer within 10m");
        assert_phase(d, "Progressing");
        say(d, "a", MEMBER_DOWNLOADING); /* late, yet here it is */
        assert_state(d, "a", "Downloading");
        say(d, "a", MEMBER_HEALTHY);
        assert_phase(d, "Succeeded");
}

static void silence_after_applying_is_a_failure_at_the_deadline(void **state) {
        struct driver *d = *state;
        nodes(d, 3);
        begin(d);
        say_each(d, "ab", MEMBER_HEALTHY);
        say(d, "c", MEMBER_APPLYING);
        go(d, "c");
        wait_ms(d, d->policy.progress_deadline_ms - 1);
        assert_state(d, "c", "Applying"); /* keeps its slot */
        assert_phase(d, "Progressing");
        wait_ms(d, 1);
        assert_state(d, "c", "TimedOut");
        assert_true(member(d, "c")->failed);
        assert_phase(d, "RollingBack");
        assert_reason(
                d,
                "1 node failed, 0 tolerated (c: not healthy within 10m, last seen Applying, silent since)");
}

static void staged_counts_as_silence_too(void **state) {
        struct driver *d = *state;
        nodes(d, 1);
        begin(d);
        say(d, "a", MEMBER_STAGED); /* it may go on without a network */
        go(d, "a");
        wait_ms(d, d->policy.progress_deadline_ms);
        assert_state(d, "a", "TimedOut");
}

static void who_is_cut_off_while_downloading_is_deferred(void **state) {
        struct driver *d = *state;
        nodes(d, 2);
        begin(d);
        say(d, "a", MEMBER_HEALTHY);
        say(d, "b", MEMBER_DOWNLOADING);
        go(d, "b");
        wait_ms(d, d->policy.progress_deadline_ms);
        assert_state(d, "b", "Deferred");
        assert_int_equal(member(d, "b")->accepted, 0);
        assert_phase(d, "Succeeded");
        assert_reason(d, "1 deferred");
}

static void slow_downloading_is_a_failure(void **state) {
        struct driver *d = *state;
        nodes(d, 1);
        begin(d);
        say(d, "a", MEMBER_DOWNLOADING);
        wait_ms(d, d->policy.progress_deadline_ms);
        assert_state(d, "a", "TimedOut");
        assert_string_equal(member(d, "a")->reason, "not healthy within 10m, last seen Downloading");
}

static void the_deadline_stands_still_in_a_window(void **state) {
        struct driver *d = *state;
        nodes(d, 1);
        begin(d);
        say(d, "a", MEMBER_DOWNLOADING);
        d->now += 100 * S;
        say(d, "a", MEMBER_WAITING_WINDOW);
        assert_int_equal(rollout_next_wake(d->r), 0);
        wait_ms(d, 7 * 86400 * S);
        assert_state(d, "a", "WaitingWindow");
        say(d, "a", MEMBER_APPLYING);
        assert_int_equal(rollout_next_wake(d->r), d->now + 500 * S);
}

/* Stragglers hold nothing up, and count when they are decided. */
static void stragglers_hold_nothing_up(void **state) {
        struct driver *d = *state;
        nodes(d, 4);
        d->candidates[3].connected = false;
        begin(d);
        say_each(d, "ab", MEMBER_HEALTHY);
        wait_ms(d, 60 * S);
        assert_state(d, "d", "Deferred");
        come(d, "d");
        say(d, "d", MEMBER_APPLYING);
        say(d, "c", MEMBER_HEALTHY);
        assert_phase(d, "Succeeded");
        assert_reason(d, "1 deferred");
        say(d, "d", MEMBER_HEALTHY); /* the record goes on to tell the truth */
        assert_state(d, "d", "Healthy");
        assert_reason(d, "");
        assert_phase(d, "Succeeded");
        assert_int_equal(count_effects(d, ROLLOUT_EFFECT_CHANGED), 1);
        assert_int_equal(count_effects(d, ROLLOUT_EFFECT_FINISHED), 0);
        say(d, "d", MEMBER_FAILED); /* what happens later is no matter of the rollout */
        assert_int_equal(d->effects.n, 0);
}

static void a_straggler_of_an_earlier_wave_counts(void **state) {
        struct driver *d = *state;
        nodes(d, 4);
        d->labels[0][0] = d->labels[1][0] = (struct pair){"role", "canary"};
        wave(d, "canary", 0)->selector.match_labels = (struct pairs){d->labels[0], 1};
        d->candidates[1].connected = false;
        begin(d);
        say(d, "a", MEMBER_HEALTHY);
        wait_ms(d, 60 * S);
        assert_wave(d, 1);
        assert_state(d, "b", "Deferred");
        come(d, "b");
        assert_state(d, "b", "Offered"); /* at once */
        say(d, "b", MEMBER_ROLLED_BACK);
        assert_phase(d, "RollingBack");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, driver_setup, driver_teardown)
        const struct CMUnitTest tests[] = {
                TEST(an_offline_canary_does_not_pass),
                TEST(the_deferral_clock_runs_from_when_it_went),
                TEST(who_does_not_answer_is_deferred_at_the_deadline),
                TEST(a_connected_node_that_does_not_answer_says_so),
                TEST(silence_after_applying_is_a_failure_at_the_deadline),
                TEST(staged_counts_as_silence_too),
                TEST(who_is_cut_off_while_downloading_is_deferred),
                TEST(slow_downloading_is_a_failure),
                TEST(the_deadline_stands_still_in_a_window),
                TEST(stragglers_hold_nothing_up),
                TEST(a_straggler_of_an_earlier_wave_counts),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
