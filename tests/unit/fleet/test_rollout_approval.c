/* SPDX-License-Identifier: Apache-2.0 */
/* What named people agree to, and what a wave has of its own. */
#include "rollout_driver.h"

static int says(struct driver *d, enum rollout_event_type type, const char *by) {
        return event(d, (struct rollout_event){.type = type, .by = by, .reason = "looked at it"});
}

#define assert_says_no(d, type, by, text)                                                                    \
        do {                                                                                                 \
                assert_int_equal(says((d), (type), (by)), -EINVAL);                                          \
                assert_string_equal(err_message((d)->err), text);                                            \
        } while (0)

/* a in the first wave, b in one that is to be approved; approvers may be NULL. */
static struct rollout_wave_policy *two_waves(struct driver *d, const char **approvers, size_t n) {
        nodes(d, 2);
        d->labels[0][0] = (struct pair){"role", "canary"};
        wave(d, "canary", 0)->selector.match_labels = (struct pairs){d->labels[0], 1};
        struct rollout_wave_policy *w = wave(d, "many", 0);
        w->approvals = 1;
        w->approvers = approvers;
        w->n_approvers = n;
        return w;
}

static void a_wave_waits_to_be_approved(void **state) {
        struct driver *d = *state;
        const char *people[] = {"anna", "ben"};
        two_waves(d, people, 2);
        begin(d);
        assert_says_no(d, ROLLOUT_EVENT_APPROVE, "anna",
                       "cannot approve: no wave waits for it, the rollout is Progressing");
        say(d, "a", MEMBER_HEALTHY);
        assert_phase(d, "AwaitingApproval");
        assert_wave(d, 1);
        assert_state(d, "b", "Pending");
        assert_reason(d, "wave many waits to be approved by anna or ben (0 of 1)");
        assert_string_equal(rollout_wave_state(d->r, 1), "AwaitingApproval");
        assert_int_equal(rollout_wave_missing_approvals(d->r, 1), 1);
        assert_int_equal(rollout_next_wake(d->r), 0);
        assert_says_no(d, ROLLOUT_EVENT_APPROVE, "carl",
                       "cannot approve: wave many is to be approved by anna or ben, not by carl");
        assert_says_no(d, ROLLOUT_EVENT_APPROVE, NULL, "cannot approve: nobody is named who says so");
        assert_says_no(d, ROLLOUT_EVENT_APPROVE, "", "cannot approve: nobody is named who says so");
        assert_int_equal(
                event(d,
                      (struct rollout_event){.type = ROLLOUT_EVENT_APPROVE, .by = "anna", .wave = "canary"}),
                -EINVAL);
        assert_string_equal(err_message(d->err),
                            "cannot approve: the rollout is at wave many, not at canary");
        assert_int_equal(says(d, ROLLOUT_EVENT_APPROVE, "ben"), 0);
        assert_phase(d, "Progressing");
        assert_null(d->r->reason);
        assert_state(d, "b", "Offered");
        assert_int_equal(d->r->n_approvals, 1);
        assert_string_equal(d->r->approvals[0].by, "ben");
        assert_string_equal(d->r->approvals[0].reason, "looked at it");
        assert_int_equal(d->r->approvals[0].at, d->now);
        assert_int_equal(d->r->approvals[0].wave, 1);
        say(d, "b", MEMBER_HEALTHY);
        assert_phase(d, "Succeeded");
}

static void the_first_wave_can_wait_too(void **state) {
        struct driver *d = *state;
        nodes(d, 1);
        wave(d, "all", 0)->approvals = 2;
        begin(d);
        assert_phase(d, "AwaitingApproval");
        assert_reason(d, "wave all waits to be approved by anybody who may act on it (0 of 2)");
        assert_int_equal(says(d, ROLLOUT_EVENT_APPROVE, "anna"), 0);
        assert_reason(d, "wave all waits to be approved by anybody who may act on it (1 of 2)");
        assert_says_no(d, ROLLOUT_EVENT_APPROVE, "anna", "cannot approve: anna has said so already");
        assert_int_equal(says(d, ROLLOUT_EVENT_APPROVE, "ben"), 0);
        assert_state(d, "a", "Offered");
}

static void what_happens_meanwhile_counts(void **state) {
        struct driver *d = *state;
        two_waves(d, NULL, 0);
        begin(d);
        say(d, "a", MEMBER_HEALTHY);
        assert_phase(d, "AwaitingApproval");
        say(d, "a", MEMBER_FAILED);
        assert_phase(d, "RollingBack");
        assert_int_equal(says(d, ROLLOUT_EVENT_APPROVE, "anna"), -EINVAL);
}

static void a_pause_outlasts_an_approval(void **state) {
        struct driver *d = *state;
        two_waves(d, NULL, 0);
        begin(d);
        say(d, "a", MEMBER_HEALTHY);
        must(d, (struct rollout_event){.type = ROLLOUT_EVENT_PAUSE, .reason = "lunch"});
        assert_reason(d, "lunch");
        assert_int_equal(says(d, ROLLOUT_EVENT_APPROVE, "anna"), 0);
        assert_state(d, "b", "Pending");
        assert_reason(d, "lunch");
        person(d, ROLLOUT_EVENT_RESUME);
        assert_state(d, "b", "Offered");
}

static void a_new_beginning_asks_again(void **state) {
        struct driver *d = *state;
        two_waves(d, NULL, 0);
        begin(d);
        say(d, "a", MEMBER_HEALTHY);
        assert_int_equal(says(d, ROLLOUT_EVENT_APPROVE, "anna"), 0);
        person(d, ROLLOUT_EVENT_ABORT);
        person(d, ROLLOUT_EVENT_RETRY);
        assert_int_equal(d->r->n_approvals, 0);
        say(d, "a", MEMBER_HEALTHY);
        assert_phase(d, "AwaitingApproval");
}

static void two_people_skip_the_soaks(void **state) {
        struct driver *d = *state;
        nodes(d, 2);
        wave(d, "one", 1)->pause_ms = 3600 * S;
        wave(d, "two", 0)->pause_ms = 3600 * S;
        begin(d);
        const char *first = d->r->members[d->r->members[0].wave == 0 ? 0 : 1].node;
        const char *second = d->r->members[d->r->members[0].wave == 0 ? 1 : 0].node;
        say(d, first, MEMBER_HEALTHY);
        assert_phase(d, "Soaking");
        assert_int_equal(says(d, ROLLOUT_EVENT_EMERGENCY, "anna"), 0);
        assert_phase(d, "Soaking");
        assert_false(d->r->emergency);
        assert_says_no(d, ROLLOUT_EVENT_EMERGENCY, "anna", "cannot skip the soak: anna has said so already");
        assert_int_equal(says(d, ROLLOUT_EVENT_EMERGENCY, "ben"), 0);
        assert_true(d->r->emergency);
        assert_wave(d, 1);
        assert_says_no(d, ROLLOUT_EVENT_EMERGENCY, "carl", "cannot skip the soak: it is skipped already");
        say(d, second, MEMBER_HEALTHY);
        assert_phase(d, "Succeeded");
        assert_says_no(d, ROLLOUT_EVENT_EMERGENCY, "carl", "cannot skip the soak: the rollout is Succeeded");
}

static void an_emergency_still_needs_health(void **state) {
        struct driver *d = *state;
        nodes(d, 2);
        wave(d, "all", 0)->pause_ms = 60 * S;
        begin(d);
        assert_int_equal(says(d, ROLLOUT_EVENT_EMERGENCY, "anna"), 0);
        assert_int_equal(says(d, ROLLOUT_EVENT_EMERGENCY, "ben"), 0);
        say(d, "a", MEMBER_HEALTHY);
        assert_phase(d, "Progressing");
        say(d, "b", MEMBER_FAILED);
        assert_phase(d, "RollingBack");
}

static void two_people_promote_a_wave(void **state) {
        struct driver *d = *state;
        nodes(d, 4);
        for (size_t i = 0; i < 2; i++)
                d->labels[i][0] = (struct pair){"role", "canary"};
        wave(d, "canary", 0)->selector.match_labels = (struct pairs){d->labels[0], 1};
        d->waves[0].pause_ms = 60 * S;
        make(d);
        assert_says_no(d, ROLLOUT_EVENT_PROMOTE, "anna", "cannot promote: the rollout is Pending");
        person(d, ROLLOUT_EVENT_START);
        say(d, "a", MEMBER_APPLYING);
        assert_int_equal(says(d, ROLLOUT_EVENT_PROMOTE, "anna"), 0);
        assert_wave(d, 0);
        assert_says_no(d, ROLLOUT_EVENT_PROMOTE, "anna", "cannot promote: anna has said so already");
        assert_int_equal(says(d, ROLLOUT_EVENT_PROMOTE, "ben"), 0);
        assert_wave(d, 1);
        assert_true(member(d, "a")->straggler && member(d, "b")->straggler);
        assert_state(d, "c", "Offered");
        say_each(d, "cd", MEMBER_HEALTHY);
        assert_phase(d, "Succeeded");
        assert_reason(d, "2 deferred");
}

static void who_agreed_is_kept(void **state) {
        struct driver *d = *state;
        struct rollout *back = NULL;
        two_waves(d, NULL, 0);
        begin(d);
        say(d, "a", MEMBER_HEALTHY);
        assert_int_equal(says(d, ROLLOUT_EVENT_APPROVE, "anna"), 0);
        assert_int_equal(says(d, ROLLOUT_EVENT_EMERGENCY, "ben"), 0);
        assert_int_equal(event(d, (struct rollout_event){.type = ROLLOUT_EVENT_PROMOTE, .by = "carl"}), 0);
        json_t *j = rollout_to_json(d->r, true);
        assert_int_equal(rollout_from_json(j, NULL, &back, NULL), 0);
        json_t *again = rollout_to_json(back, true);
        assert_true(json_equal(j, again));
        assert_int_equal(back->n_approvals, 3);
        assert_string_equal(back->approvals[2].by, "carl");
        assert_null(back->approvals[2].reason);
        assert_int_equal(back->approvals[1].kind, ROLLOUT_APPROVAL_EMERGENCY);
        assert_ptr_equal(back->waves[1].policy, &back->policy.waves[1]);
        json_object_set_new(json_array_get(json_object_get(j, "approvals"), 0), "wave", json_string("none"));
        rollout_free(back);
        assert_int_equal(rollout_from_json(j, NULL, &back, &d->err), -EINVAL);
        assert_string_equal(err_message(d->err), "approval 1: field wave: there is no wave \"none\"");
        json_decref(j);
        json_decref(again);
}

static void a_wave_has_a_budget_of_its_own(void **state) {
        struct driver *d = *state;
        nodes(d, 6);
        d->policy.max_failed = (struct quantity){true, false, 5};
        wave(d, "all", 0)->failure_budget = (struct quantity){true, false, 1};
        begin(d);
        say(d, "a", MEMBER_FAILED);
        assert_phase(d, "Progressing");
        say(d, "b", MEMBER_FAILED);
        assert_phase(d, "RollingBack");
        assert_reason(d, "2 nodes of wave all failed, 1 tolerated (b: Failed)");
}

static void a_wave_has_a_sample_of_its_own(void **state) {
        struct driver *d = *state;
        nodes(d, 4);
        for (size_t i = 1; i < 4; i++)
                d->candidates[i].connected = false;
        wave(d, "all", 0)->min_sample = 2;
        begin(d);
        say(d, "a", MEMBER_HEALTHY);
        wait_ms(d, 600 * S);
        assert_phase(d, "Progressing");
        come(d, "b");
        say(d, "b", MEMBER_HEALTHY);
        assert_phase(d, "Succeeded");
}

static void every_phase_has_its_deadline(void **state) {
        struct driver *d = *state;
        nodes(d, 3);
        d->policy.max_failed = (struct quantity){true, false, 3};
        d->policy.download_deadline_ms = 100 * S;
        d->policy.apply_deadline_ms = 20 * S;
        d->policy.confirm_deadline_ms = 30 * S;
        begin(d);
        say_each(d, "abc", MEMBER_DOWNLOADING);
        assert_int_equal(rollout_next_wake(d->r), d->now + 100 * S);
        wait_ms(d, 90 * S);
        say_each(d, "bc", MEMBER_APPLYING);
        say(d, "c", MEMBER_CONFIRMING);
        wait_ms(d, 10 * S);
        assert_state(d, "a", "TimedOut");
        assert_string_equal(member(d, "a")->reason, "more than 1m40s Downloading");
        wait_ms(d, 10 * S);
        assert_state(d, "b", "TimedOut");
        assert_string_equal(member(d, "b")->reason, "more than 20s Applying");
        assert_state(d, "c", "Confirming");
        say(d, "c", MEMBER_HEALTHY);
        assert_phase(d, "Succeeded");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, driver_setup, driver_teardown)
        const struct CMUnitTest tests[] = {
                TEST(a_wave_waits_to_be_approved),
                TEST(the_first_wave_can_wait_too),
                TEST(what_happens_meanwhile_counts),
                TEST(a_pause_outlasts_an_approval),
                TEST(a_new_beginning_asks_again),
                TEST(two_people_skip_the_soaks),
                TEST(an_emergency_still_needs_health),
                TEST(two_people_promote_a_wave),
                TEST(who_agreed_is_kept),
                TEST(a_wave_has_a_budget_of_its_own),
                TEST(a_wave_has_a_sample_of_its_own),
                TEST(every_phase_has_its_deadline),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
