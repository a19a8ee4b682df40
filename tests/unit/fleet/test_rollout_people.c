/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of docs/rollouts.md, one test a rule. What no order of events may break is tests/sim's. */
#include "rollout_driver.h"

/* ---- people */

static void pause_stops_offers_and_nothing_else(void **state) {
        struct driver *d = *state;
        nodes(d, 4);
        d->candidates[1].connected = false;
        d->labels[3][0] = (struct pair){"role", "other"};
        wave(d, "first", 0)->selector.match_labels = (struct pairs){d->labels[0], 1};
        begin(d);
        wait_ms(d, 60 * S);
        assert_state(d, "b", "Deferred");
        must(d, (struct rollout_event){.type = ROLLOUT_EVENT_PAUSE, .reason = "freeze"});
        assert_reason(d, "freeze");
        come(d, "b");
        assert_int_equal(count_effects(d, ROLLOUT_EFFECT_ASSIGN), 0);
        assert_state(d, "b", "Deferred");
        say_each(d, "ac", MEMBER_HEALTHY);
        wait_ms(d, 3600 * S);
        assert_wave(d, 0);
        person(d, ROLLOUT_EVENT_RESUME);
        assert_wave(d, 1);
        assert_int_equal(count_effects(d, ROLLOUT_EFFECT_ASSIGN),
                         2); /* the one that came back, and the next wave */
        assert_state(d, "b", "Offered");
        assert_state(d, "d", "Offered");
}

static void deadlines_run_in_a_pause(void **state) {
        struct driver *d = *state;
        nodes(d, 2);
        begin(d);
        say(d, "a", MEMBER_APPLYING);
        person(d, ROLLOUT_EVENT_PAUSE);
        wait_ms(d, d->policy.progress_deadline_ms);
        assert_state(d, "a", "TimedOut");
        assert_phase(d, "RollingBack");
        assert_false(d->r->paused);
}

static void a_soak_goes_on_in_a_pause_and_passes_after(void **state) {
        struct driver *d = *state;
        nodes(d, 2);
        wave(d, "one", 1)->pause_ms = 10 * S;
        begin(d);
        say(d, d->r->members[d->r->members[0].wave == 0 ? 0 : 1].node, MEMBER_HEALTHY);
        person(d, ROLLOUT_EVENT_PAUSE);
        assert_int_equal(rollout_next_wake(d->r), 0);
        wait_ms(d, 60 * S);
        assert_phase(d, "Soaking");
        person(d, ROLLOUT_EVENT_RESUME);
        assert_wave(d, 1);
}

static void a_rollout_paused_before_it_begins_waits(void **state) {
        struct driver *d = *state;
        nodes(d, 2);
        make(d);
        person(d, ROLLOUT_EVENT_PAUSE);
        person(d, ROLLOUT_EVENT_START);
        assert_int_equal(count_effects(d, ROLLOUT_EFFECT_ASSIGN), 0);
        person(d, ROLLOUT_EVENT_RESUME);
        assert_int_equal(count_effects(d, ROLLOUT_EFFECT_ASSIGN), 2);
}

static void abort_leaves_nodes_as_they_are(void **state) {
        struct driver *d = *state;
        nodes(d, 2);
        begin(d);
        must(d, (struct rollout_event){.type = ROLLOUT_EVENT_ABORT, .reason = "wrong branch"});
        assert_phase(d, "Aborted");
        assert_reason(d, "wrong branch");
        assert_int_equal(count_effects(d, ROLLOUT_EFFECT_ASSIGN_BACK), 0);
        assert_string_equal(rollout_wave_state(d->r, 0), "Stopped");
        say(d, "a", MEMBER_FAILED);
        come(d, "a");
        go(d, "a");
        tick(d);
        assert_int_equal(d->effects.n, 0);
}

static void abort_with_rollback_goes_back(void **state) {
        struct driver *d = *state;
        nodes(d, 2);
        begin(d);
        must(d, (struct rollout_event){.type = ROLLOUT_EVENT_ABORT, .rollback = true});
        assert_phase(d, "RollingBack");
        assert_int_equal(event(d, (struct rollout_event){.type = ROLLOUT_EVENT_ABORT, .rollback = true}),
                         -EINVAL);
        assert_string_equal(err_message(d->err), "cannot abort: the rollout is rolling back already");
        say_about(d, "a", MEMBER_HEALTHY, "old");
        say_about(d, "b", MEMBER_HEALTHY, "old");
        assert_phase(d, "RolledBack");
        assert_reason(d, "by request");
}

static void aborting_the_way_back_is_the_end(void **state) {
        struct driver *d = *state;
        nodes(d, 2);
        begin(d);
        say(d, "a", MEMBER_FAILED);
        assert_phase(d, "RollingBack");
        person(d, ROLLOUT_EVENT_ABORT);
        assert_phase(d, "Failed");
        assert_int_equal(rollout_next_wake(d->r), 0);
}

static void a_newer_revision_takes_over_in_any_phase(void **state) {
        struct driver *d = *state;
        nodes(d, 2);
        wave(d, "all", 0)->pause_ms = 60 * S;
        for (int i = 0; i < 5; i++) {
                make(d);
                if (i > 0)
                        person(d, ROLLOUT_EVENT_START);
                if (i == 2)
                        say_each(d, "ab", MEMBER_HEALTHY);
                if (i == 3)
                        say(d, "a", MEMBER_FAILED);
                if (i == 4)
                        person(d, ROLLOUT_EVENT_PAUSE);
                static const char *const phases[] = {"Pending", "Progressing", "Soaking", "RollingBack",
                                                     "Progressing"};
                assert_phase(d, phases[i]);
                must(d, (struct rollout_event){.type = ROLLOUT_EVENT_SUPERSEDE, .reason = "commit 2"});
                assert_phase(d, "Superseded");
                assert_reason(d, "commit 2");
                assert_int_equal(count_effects(d, ROLLOUT_EFFECT_FINISHED), 1);
                assert_refused(d, ROLLOUT_EVENT_SUPERSEDE, "cannot supersede: the rollout is Superseded");
                d->r = rollout_free(d->r);
        }
}

static void what_makes_no_sense_is_refused(void **state) {
        struct driver *d = *state;
        nodes(d, 1);
        make(d);
        assert_refused(d, ROLLOUT_EVENT_RESUME, "cannot resume: the rollout is not paused");
        assert_refused(d, ROLLOUT_EVENT_RETRY, "cannot retry: the rollout is Pending");
        person(d, ROLLOUT_EVENT_START);
        assert_refused(d, ROLLOUT_EVENT_START, "cannot start: the rollout is Progressing");
        person(d, ROLLOUT_EVENT_PAUSE);
        say(d, "a", MEMBER_HEALTHY);
        assert_refused(d, ROLLOUT_EVENT_RETRY, "cannot retry: the rollout is paused, resume it first");
        person(d, ROLLOUT_EVENT_RESUME);
        assert_phase(d, "Succeeded");
        assert_refused(d, ROLLOUT_EVENT_PAUSE, "cannot pause: the rollout is Succeeded");
        assert_refused(d, ROLLOUT_EVENT_ABORT, "cannot abort: the rollout is Succeeded");
        assert_refused(d, ROLLOUT_EVENT_RETRY, "cannot retry: the rollout is Succeeded");
        assert_refused(d, ROLLOUT_EVENT_CONNECTED, "an event of a node that names no node");
        assert_refused(d, (enum rollout_event_type)99, "unknown event 99");
        assert_int_equal(event(d, (struct rollout_event){.type = ROLLOUT_EVENT_TIME_GAP, .gap_ms = -1}),
                         -EINVAL);
        d->now = 0;
        assert_int_equal(event(d, (struct rollout_event){.type = ROLLOUT_EVENT_TICK}), -EINVAL);
}

static void retry_begins_a_rollout_anew(void **state) {
        struct driver *d = *state;
        nodes(d, 4);
        wave(d, "one", 2);
        begin(d);
        char digest[65];
        memcpy(digest, d->r->members_digest, 65);
        for (size_t i = 0; i < 4; i++)
                if (d->r->members[i].wave == 0)
                        say(d, d->r->members[i].node, MEMBER_FAILED);
        for (size_t i = 0; i < 4; i++)
                if (d->r->members[i].wave == 0)
                        say_about(d, d->r->members[i].node, MEMBER_HEALTHY, "old");
        assert_phase(d, "RolledBack");
        d->now += 3600 * S;
        person(d, ROLLOUT_EVENT_RETRY);
        assert_phase(d, "Progressing");
        assert_int_equal(count_effects(d, ROLLOUT_EFFECT_ASSIGN), 2);
        assert_int_equal(d->r->finished_at, 0);
        assert_string_equal(d->r->members_digest, digest);
        for (size_t w = 0; w < 2; w++)
                for (size_t i = 0; i < 4; i++)
                        if (d->r->members[i].wave == w)
                                say(d, d->r->members[i].node, MEMBER_HEALTHY);
        assert_phase(d, "Succeeded");
}

/* Aborted without a rollback, then retried: who has the revision already goes back too if it fails now. */
static void who_kept_the_revision_goes_back_after_a_retry(void **state) {
        struct driver *d = *state;
        nodes(d, 4);
        d->labels[0][0] = (struct pair){"role", "canary"};
        wave(d, "canary", 0)->selector.match_labels = (struct pairs){d->labels[0], 1};
        begin(d);
        say(d, "a", MEMBER_HEALTHY);
        say(d, "b", MEMBER_HEALTHY);
        person(d, ROLLOUT_EVENT_ABORT);
        person(d, ROLLOUT_EVENT_RETRY);
        assert_state(d, "b", "Pending");
        say(d, "a", MEMBER_FAILED);
        assert_phase(d, "RollingBack");
        assert_int_equal(count_effects(d, ROLLOUT_EFFECT_ASSIGN_BACK), 4);
        for (const char *n = "abcd"; *n; n++)
                say_about(d, (char[]){*n, 0}, MEMBER_HEALTHY, "old");
        assert_phase(d, "RolledBack");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, driver_setup, driver_teardown)
        const struct CMUnitTest tests[] = {
                TEST(pause_stops_offers_and_nothing_else),
                TEST(deadlines_run_in_a_pause),
                TEST(a_soak_goes_on_in_a_pause_and_passes_after),
                TEST(a_rollout_paused_before_it_begins_waits),
                TEST(abort_leaves_nodes_as_they_are),
                TEST(abort_with_rollback_goes_back),
                TEST(aborting_the_way_back_is_the_end),
                TEST(a_newer_revision_takes_over_in_any_phase),
                TEST(what_makes_no_sense_is_refused),
                TEST(retry_begins_a_rollout_anew),
                TEST(who_kept_the_revision_goes_back_after_a_retry),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
