/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of docs/rollouts.md, one test a rule. What no order of events may break is tests/sim's. */
#include "rollout_driver.h"

/* ---- failures */

static void a_failure_over_budget_rolls_everybody_back(void **state) {
        struct driver *d = *state;
        nodes(d, 6);
        d->policy.max_failed = (struct quantity){true, false, 1};
        begin(d);
        say_each(d, "abc", MEMBER_HEALTHY);
        say(d, "d", MEMBER_FAILED);
        assert_phase(d, "Progressing");
        say(d, "e", MEMBER_ROLLED_BACK);
        assert_phase(d, "RollingBack");
        assert_int_equal(count_effects(d, ROLLOUT_EFFECT_ASSIGN_BACK), 6);
        assert_reason(d, "2 nodes failed, 1 tolerated (e: RolledBack)");
        for (const char *n = "abcdef"; *n; n++)
                say_about(d, (char[]){*n, 0}, MEMBER_HEALTHY, "old");
        assert_phase(d, "RolledBack");
        struct wave_counts c;
        rollout_count(d->r, 0, &c);
        assert_int_equal(c.rolled_back, 4);
        assert_int_equal(c.failed, 2);
        assert_int_equal(c.total, 6);
        assert_string_equal(rollout_wave_state(d->r, 0), "Failed");
}

static void a_budget_in_percent_rounds_up(void **state) {
        struct driver *d = *state;
        nodes(d, 15);
        d->policy.max_failed = (struct quantity){true, true, 10}; /* 1.5: 2 */
        begin(d);
        say_each(d, "ab", MEMBER_FAILED);
        assert_phase(d, "Progressing");
        say(d, "c", MEMBER_FAILED);
        assert_phase(d, "RollingBack");
}

static void a_failure_within_budget_does_not_hold_the_wave(void **state) {
        struct driver *d = *state;
        nodes(d, 3);
        d->policy.max_failed = (struct quantity){true, false, 1};
        begin(d);
        say(d, "a", MEMBER_FAILED);
        say_each(d, "bc", MEMBER_HEALTHY);
        assert_phase(d, "Succeeded");
}

static void failed_stays_failed(void **state) {
        struct driver *d = *state;
        nodes(d, 4);
        d->policy.max_failed = (struct quantity){true, false, 1};
        begin(d);
        say(d, "a", MEMBER_APPLYING);
        wait_ms(d, 5 * S);
        say_each(d, "bcd", MEMBER_APPLYING);
        wait_ms(d, d->policy.progress_deadline_ms - 5 * S);
        assert_state(d, "a", "TimedOut");
        say(d, "a", MEMBER_CONFIRMING); /* at work again: no deadline of its own any more */
        assert_int_equal(rollout_next_wake(d->r), T0 + 5 * S + d->policy.progress_deadline_ms);
        say(d, "a", MEMBER_HEALTHY);
        assert_true(member(d, "a")->failed);
        say(d, "b", MEMBER_FAILED);
        assert_phase(d, "RollingBack"); /* the second */
}

static void min_sample_is_needed(void **state) {
        struct driver *d = *state;
        nodes(d, 5);
        d->policy.min_sample = 3;
        for (size_t i = 2; i < 5; i++)
                d->candidates[i].connected = false;
        begin(d);
        say_each(d, "ab", MEMBER_HEALTHY);
        wait_ms(d, 3600 * S);
        assert_phase(d, "Progressing"); /* two are not three */
        come(d, "d");
        say(d, "d", MEMBER_HEALTHY);
        assert_phase(d, "Succeeded");
        assert_reason(d, "2 deferred");
}

static void a_small_wave_needs_all_its_members(void **state) {
        struct driver *d = *state;
        nodes(d, 2);
        d->policy.min_sample = 10;
        begin(d);
        say(d, "a", MEMBER_HEALTHY);
        assert_phase(d, "Progressing");
        say(d, "b", MEMBER_HEALTHY);
        assert_phase(d, "Succeeded");
}

static void an_impossible_sample_fails_early(void **state) {
        struct driver *d = *state;
        nodes(d, 3);
        d->policy.min_sample = 3;
        d->policy.max_failed = (struct quantity){true, false, 2};
        begin(d);
        say(d, "a", MEMBER_FAILED);
        assert_phase(d, "RollingBack");
        assert_reason(d, "wave rest cannot have 3 healthy nodes any more (a: Failed)");
}

static void the_threshold_is_of_those_that_accepted(void **state) {
        struct driver *d = *state;
        nodes(d, 10);
        for (size_t i = 4; i < 10; i++)
                d->candidates[i].connected = false;
        wave(d, "all", 0)->success_threshold = (struct quantity){true, true, 75};
        d->policy.max_failed = (struct quantity){true, false, 5};
        begin(d);
        say(d, "a", MEMBER_FAILED);
        say_each(d, "bcd", MEMBER_HEALTHY);
        assert_phase(d, "Progressing"); /* six have not been given up yet */
        wait_ms(d, 60 * S);
        assert_phase(d, "Succeeded"); /* 3 of 4 */
        assert_reason(d, "6 deferred");
}

static void an_impossible_threshold_fails_early(void **state) {
        struct driver *d = *state;
        nodes(d, 10);
        wave(d, "all", 0)->success_threshold = (struct quantity){true, true, 90};
        d->policy.max_failed = (struct quantity){true, false, 5};
        begin(d);
        say(d, "a", MEMBER_FAILED);
        assert_phase(d, "Progressing"); /* 9 of 10 can still be */
        say(d, "b", MEMBER_FAILED);
        assert_phase(d, "RollingBack");
        assert_reason(d, "wave all cannot meet its success threshold of 90% any more (b: Failed)");
}

/* Those who cannot be reached are not waited for: the evidence at hand decides. */
static void a_threshold_does_not_wait_for_the_deferred(void **state) {
        struct driver *d = *state;
        nodes(d, 3);
        d->candidates[2].connected = false;
        wave(d, "all", 0)->success_threshold = (struct quantity){true, true, 60};
        d->policy.max_failed = (struct quantity){true, false, 5};
        begin(d);
        say(d, "a", MEMBER_FAILED);
        say(d, "b", MEMBER_HEALTHY);
        assert_phase(d, "Progressing");
        wait_ms(d, 60 * S);
        assert_phase(d, "RollingBack"); /* 1 of 2 */
}

static void without_rollback_it_pauses(void **state) {
        struct driver *d = *state;
        nodes(d, 4);
        d->policy.rollback_on_failure = false;
        wave(d, "one", 2);
        begin(d);
        char first[2] = "", second[2] = "";
        for (size_t i = 0; i < 4; i++)
                if (d->r->members[i].wave == 0)
                        *(first[0] ? second : first) = d->r->members[i].node[0];
        say(d, first, MEMBER_FAILED);
        assert_phase(d, "Progressing");
        assert_true(d->r->paused);
        assert_string_equal(rollout_wave_state(d->r, 0), "Failed");
        say(d, second, MEMBER_HEALTHY);
        assert_wave(d, 0);
        assert_refused(d, ROLLOUT_EVENT_PAUSE, "cannot pause: the rollout is paused already");
        person(d, ROLLOUT_EVENT_RESUME); /* in spite of it: the failure counts no longer */
        assert_false(d->r->paused);
        assert_null(d->r->reason);
        assert_wave(d, 1);
        for (size_t i = 0; i < 4; i++)
                if (d->r->members[i].wave == 1) {
                        say(d, d->r->members[i].node, MEMBER_FAILED); /* a new one does */
                        break;
                }
        assert_true(d->r->paused);
}

static void a_resumed_wave_of_failures_passes(void **state) {
        struct driver *d = *state;
        nodes(d, 1);
        d->policy.rollback_on_failure = false;
        begin(d);
        say(d, "a", MEMBER_FAILED);
        person(d, ROLLOUT_EVENT_RESUME);
        assert_phase(d, "Succeeded");
}

static void retry_offers_to_the_failed_again(void **state) {
        struct driver *d = *state;
        nodes(d, 3);
        d->policy.rollback_on_failure = false;
        begin(d);
        say(d, "a", MEMBER_HEALTHY);
        assert_refused(d, ROLLOUT_EVENT_RETRY, "cannot retry: no node has failed");
        say(d, "b", MEMBER_FAILED);
        person(d, ROLLOUT_EVENT_RETRY);
        assert_int_equal(count_effects(d, ROLLOUT_EFFECT_ASSIGN), 1);
        assert_state(d, "b", "Offered");
        assert_false(member(d, "b")->failed);
        assert_false(d->r->paused);
        say_each(d, "bc", MEMBER_HEALTHY);
        assert_phase(d, "Succeeded");
}

static void retry_takes_in_who_works_again_by_itself(void **state) {
        struct driver *d = *state;
        nodes(d, 2);
        d->policy.rollback_on_failure = false;
        begin(d);
        say(d, "b", MEMBER_HEALTHY);
        say(d, "a", MEMBER_FAILED);
        say(d, "a", MEMBER_APPLYING);
        assert_int_equal(rollout_next_wake(d->r), 0);
        d->now += 9 * S;
        person(d, ROLLOUT_EVENT_RETRY);
        assert_int_equal(count_effects(d, ROLLOUT_EFFECT_ASSIGN), 0);
        assert_int_equal(rollout_next_wake(d->r), d->now + d->policy.progress_deadline_ms);
        say(d, "a", MEMBER_HEALTHY);
        assert_phase(d, "Succeeded");
}

/* ---- going back */

static void only_who_was_offered_goes_back(void **state) {
        struct driver *d = *state;
        nodes(d, 5);
        wave(d, "one", 2);
        begin(d);
        for (size_t i = 0; i < 5; i++)
                if (d->r->members[i].wave == 0)
                        say(d, d->r->members[i].node, MEMBER_FAILED);
        assert_phase(d, "RollingBack");
        for (size_t i = 0; i < 5; i++)
                if (d->r->members[i].wave == 0) {
                        assert_true(d->r->members[i].going_back);
                        say_about(d, d->r->members[i].node, MEMBER_HEALTHY, "old");
                } else {
                        assert_state(d, d->r->members[i].node, "Pending");
                }
        assert_phase(d, "RolledBack");
}

static void who_is_away_is_not_waited_for(void **state) {
        struct driver *d = *state;
        nodes(d, 3);
        begin(d);
        say(d, "a", MEMBER_APPLYING);
        go(d, "a");
        d->now += 30 * S;
        say(d, "b", MEMBER_FAILED);
        assert_phase(d, "RollingBack");
        say_about(d, "b", MEMBER_HEALTHY, "old");
        say_about(d, "c", MEMBER_HEALTHY, "old");
        assert_phase(d, "RollingBack");
        wait_ms(d, 60 * S - 1);
        assert_phase(d, "RollingBack");
        wait_ms(d, 1);
        assert_phase(d, "RolledBack");
        assert_reason(d, "1 node failed, 0 tolerated (b: Failed); 1 node not confirmed");
        assert_string_equal(member(d, "a")->reason, "did not confirm that it went back");
}

static void who_does_not_confirm_is_waited_for_until_the_deadline(void **state) {
        struct driver *d = *state;
        nodes(d, 3);
        begin(d);
        say(d, "a", MEMBER_FAILED);
        say_about(d, "a", MEMBER_APPLYING, "old"); /* on its way */
        say_about(d, "b", MEMBER_FAILED, "old");
        assert_state(d, "b", "Failed");
        assert_string_equal(member(d, "b")->reason, "could not go back: no reason given");
        say_about(d, "c", MEMBER_HEALTHY, "new"); /* too late */
        assert_state(d, "c", "Offered");
        wait_ms(d, d->policy.progress_deadline_ms);
        assert_phase(d, "RolledBack");
        assert_reason(d, "1 node failed, 0 tolerated (a: Failed); 3 nodes not confirmed");
}

static void who_never_answered_need_not_confirm(void **state) {
        struct driver *d = *state;
        nodes(d, 2);
        d->candidates[1].connected = false;
        begin(d);
        wait_ms(d, 60 * S);
        assert_state(d, "b", "Deferred");
        say(d, "a", MEMBER_FAILED);
        say_about(d, "a", MEMBER_HEALTHY, "old");
        assert_phase(d, "RolledBack");
        assert_reason(d, "1 node failed, 0 tolerated (a: Failed)");
}

static void nothing_to_go_back_to_is_failed(void **state) {
        struct driver *d = *state;
        nodes(d, 2);
        d->candidates[0].previous_revision = d->candidates[1].previous_revision = NULL;
        begin(d);
        say(d, "a", MEMBER_FAILED);
        assert_phase(d, "Failed");
        assert_int_equal(count_effects(d, ROLLOUT_EFFECT_ASSIGN_BACK), 2);
        assert_int_equal(count_effects(d, ROLLOUT_EFFECT_FINISHED), 1);
        assert_reason(d, "1 node failed, 0 tolerated (a: Failed); there is nothing to go back to");
}

static void who_ran_nothing_need_not_confirm(void **state) {
        struct driver *d = *state;
        nodes(d, 2);
        d->candidates[0].previous_revision = NULL;
        begin(d);
        say(d, "a", MEMBER_FAILED);
        assert_phase(d, "RollingBack");
        say_about(d, "b", MEMBER_HEALTHY, "old");
        assert_phase(d, "RolledBack");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, driver_setup, driver_teardown)
        const struct CMUnitTest tests[] = {
                TEST(a_failure_over_budget_rolls_everybody_back),
                TEST(a_budget_in_percent_rounds_up),
                TEST(a_failure_within_budget_does_not_hold_the_wave),
                TEST(failed_stays_failed),
                TEST(min_sample_is_needed),
                TEST(a_small_wave_needs_all_its_members),
                TEST(an_impossible_sample_fails_early),
                TEST(the_threshold_is_of_those_that_accepted),
                TEST(an_impossible_threshold_fails_early),
                TEST(a_threshold_does_not_wait_for_the_deferred),
                TEST(without_rollback_it_pauses),
                TEST(a_resumed_wave_of_failures_passes),
                TEST(retry_offers_to_the_failed_again),
                TEST(retry_takes_in_who_works_again_by_itself),
                TEST(only_who_was_offered_goes_back),
                TEST(who_is_away_is_not_waited_for),
                TEST(who_does_not_confirm_is_waited_for_until_the_deadline),
                TEST(who_never_answered_need_not_confirm),
                TEST(nothing_to_go_back_to_is_failed),
                TEST(who_ran_nothing_need_not_confirm),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
