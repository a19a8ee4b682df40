/* SPDX-License-Identifier: Apache-2.0 */
/* How many nodes may be out of service at a time. */
#include "rollout_driver.h"

static struct rollout_budget all(int64_t n) {
        return (struct rollout_budget){.max_unavailable = {true, false, n}};
}

static void budgets(struct driver *d, struct rollout_budget *list, size_t n) {
        d->policy.budgets = list;
        d->policy.n_budgets = n;
}

static size_t holders(const struct driver *d) {
        size_t n = 0;
        for (size_t i = 0; i < d->r->n_members; i++)
                n += d->r->members[i].slot;
        return n;
}

static void a_node_stages_and_waits_for_its_slot(void **state) {
        struct driver *d = *state;
        struct rollout_budget one = all(1);
        nodes(d, 3);
        budgets(d, &one, 1);
        begin(d);
        for (size_t i = 0; i < 3; i++)
                assert_false(d->r->members[i].granted);
        say_each(d, "abc", MEMBER_DOWNLOADING);
        assert_int_equal(holders(d), 0);
        say(d, "b", MEMBER_STAGED);
        assert_true(has_effect(d, ROLLOUT_EFFECT_ASSIGN, "b"));
        assert_true(member(d, "b")->granted && member(d, "b")->slot);
        say(d, "a", MEMBER_STAGED);
        say(d, "c", MEMBER_STAGED);
        assert_int_equal(count_effects(d, ROLLOUT_EFFECT_ASSIGN), 0);
        say(d, "b", MEMBER_APPLYING);
        say(d, "b", MEMBER_CONFIRMING);
        assert_int_equal(holders(d), 1);
        say(d, "b", MEMBER_HEALTHY);
        assert_true(has_effect(d, ROLLOUT_EFFECT_ASSIGN, "a")); /* who came first */
        assert_int_equal(holders(d), 1);
        say(d, "a", MEMBER_HEALTHY);
        say(d, "c", MEMBER_HEALTHY);
        assert_phase(d, "Succeeded");
        assert_int_equal(holders(d), 0);
}

static void without_budgets_everybody_may_apply(void **state) {
        struct driver *d = *state;
        nodes(d, 3);
        begin(d);
        for (size_t i = 0; i < 3; i++)
                assert_true(d->r->members[i].granted);
        say_each(d, "abc", MEMBER_APPLYING);
        assert_int_equal(holders(d), 0);
}

static void every_group_counts_for_itself(void **state) {
        struct driver *d = *state;
        static const char *site[] = {"site"};
        struct rollout_budget list[] = {
                all(3), {.group_by = site, .n_group_by = 1, .max_unavailable = {true, false, 1}}};
        nodes(d, 6);
        for (size_t i = 0; i < 6; i++)
                d->labels[i][0] = (struct pair){"site", i < 3 ? "kiel" : "husum"};
        budgets(d, list, 2);
        begin(d);
        say_each(d, "abcdef", MEMBER_STAGED);
        assert_int_equal(holders(d), 2);
        assert_true(member(d, "a")->slot && member(d, "d")->slot);
        struct group_counts counts;
        for (size_t i = 0; i < d->r->n_groups; i++) {
                rollout_group_count(d->r, i, &counts);
                bool whole = d->r->groups[i].budget == 0;
                assert_int_equal(counts.total, whole ? 6 : 3);
                assert_int_equal(counts.used, whole ? 2 : 1);
                assert_int_equal(counts.allowed, whole ? 3 : 1);
                if (!whole)
                        assert_true(str_eq(d->r->groups[i].name, "site=kiel") ||
                                    str_eq(d->r->groups[i].name, "site=husum"));
        }
        say(d, "d", MEMBER_HEALTHY);
        assert_true(member(d, "e")->slot);
        assert_false(member(d, "b")->slot);
}

static void a_share_of_a_group_is_at_least_one(void **state) {
        struct driver *d = *state;
        struct rollout_budget b = {.max_unavailable = {true, true, 10}};
        nodes(d, 5);
        budgets(d, &b, 1);
        begin(d);
        say_each(d, "abcde", MEMBER_STAGED);
        assert_int_equal(holders(d), 1);
}

/* A possible brick: it is out of service until its deadline says that it has failed. */
static void silence_keeps_the_slot_until_the_deadline(void **state) {
        struct driver *d = *state;
        struct rollout_budget one = all(1);
        nodes(d, 2);
        budgets(d, &one, 1);
        d->policy.max_failed = (struct quantity){true, false, 1};
        begin(d);
        say_each(d, "ab", MEMBER_STAGED);
        say(d, "a", MEMBER_APPLYING);
        go(d, "a");
        wait_ms(d, 599 * S);
        assert_true(member(d, "a")->slot);
        assert_false(member(d, "b")->slot);
        wait_ms(d, 2 * S);
        assert_state(d, "a", "TimedOut");
        assert_true(member(d, "b")->slot);
}

static void granted_and_silent_keeps_it_as_well(void **state) {
        struct driver *d = *state;
        struct rollout_budget one = all(1);
        nodes(d, 2);
        budgets(d, &one, 1);
        begin(d);
        say_each(d, "ab", MEMBER_STAGED);
        go(d, "a");
        wait_ms(d, 300 * S);
        assert_state(d, "a", "Staged");
        assert_true(member(d, "a")->slot);
        wait_ms(d, 400 * S);
        assert_state(d, "a", "TimedOut");
}

static void waiting_has_no_deadline(void **state) {
        struct driver *d = *state;
        struct rollout_budget one = all(1);
        nodes(d, 2);
        budgets(d, &one, 1);
        begin(d);
        say(d, "b", MEMBER_DOWNLOADING);
        wait_ms(d, 100 * S);
        say_each(d, "ab", MEMBER_STAGED);
        say(d, "a", MEMBER_WAITING_WINDOW); /* gives its slot back, and is asked to */
        assert_false(member(d, "a")->granted);
        assert_true(has_effect(d, ROLLOUT_EFFECT_ASSIGN, "a"));
        assert_true(member(d, "a")->slot);
        assert_false(member(d, "b")->slot);
        say(d, "a", MEMBER_WAITING_WINDOW); /* of the newer assignment: it has heard */
        assert_false(member(d, "a")->slot);
        assert_true(member(d, "b")->slot);
        wait_ms(d, 100 * S);
        say(d, "b", MEMBER_HEALTHY);
        wait_ms(d, 100000 * S);
        assert_state(d, "a", "WaitingWindow");
        say(d, "a", MEMBER_STAGED);
        assert_true(member(d, "a")->slot);
        assert_int_equal(rollout_next_wake(d->r), d->now + 600 * S);
        say(d, "a", MEMBER_HEALTHY);
        assert_phase(d, "Succeeded");
}

static void a_slot_that_is_not_given_back_is_taken_at_the_deadline(void **state) {
        struct driver *d = *state;
        struct rollout_budget one = all(1);
        nodes(d, 2);
        budgets(d, &one, 1);
        begin(d);
        say_each(d, "ab", MEMBER_STAGED);
        say(d, "a", MEMBER_WAITING_WINDOW);
        go(d, "a");
        wait_ms(d, 601 * S);
        assert_state(d, "a", "WaitingWindow");
        assert_false(member(d, "a")->slot);
        assert_true(member(d, "b")->slot);
}

static void who_goes_before_its_turn_is_deferred(void **state) {
        struct driver *d = *state;
        struct rollout_budget one = all(1);
        nodes(d, 2);
        budgets(d, &one, 1);
        begin(d);
        say_each(d, "ab", MEMBER_STAGED);
        go(d, "b");
        wait_ms(d, 60 * S);
        assert_state(d, "b", "Deferred");
        assert_string_equal(member(d, "b")->reason, "went away before its turn to apply");
        say(d, "a", MEMBER_HEALTHY);
        assert_phase(d, "Succeeded");
        assert_reason(d, "1 deferred");
}

static void after_the_end_stragglers_still_get_one_each(void **state) {
        struct driver *d = *state;
        struct rollout_budget one = all(1);
        nodes(d, 4);
        for (size_t i = 1; i < 4; i++)
                d->candidates[i].connected = false;
        budgets(d, &one, 1);
        begin(d);
        say_each(d, "a", MEMBER_STAGED);
        say_each(d, "a", MEMBER_HEALTHY);
        wait_ms(d, 60 * S);
        assert_phase(d, "Succeeded");
        for (const char *n = "bcd"; *n; n++)
                come(d, (char[]){*n, 0});
        say_each(d, "bcd", MEMBER_STAGED);
        assert_int_equal(holders(d), 1);
        say(d, "b", MEMBER_APPLYING);
        go(d, "b");
        wait_ms(d, 601 * S);
        assert_state(d, "b", "TimedOut");
        assert_int_equal(holders(d), 1);
        say(d, "c", MEMBER_HEALTHY);
        say(d, "d", MEMBER_HEALTHY);
        assert_reason(d, "");
        assert_phase(d, "Succeeded");
}

static void a_relapse_takes_a_slot(void **state) {
        struct driver *d = *state;
        struct rollout_budget one = all(1);
        nodes(d, 3);
        budgets(d, &one, 1);
        begin(d);
        say(d, "a", MEMBER_STAGED);
        say(d, "a", MEMBER_HEALTHY);
        say(d, "a", MEMBER_APPLYING);
        say(d, "b", MEMBER_STAGED);
        assert_false(member(d, "b")->slot);
        say(d, "a", MEMBER_HEALTHY);
        assert_true(member(d, "b")->slot);
}

static void who_is_out_of_service_already_counts(void **state) {
        struct driver *d = *state;
        struct rollout_budget one = all(1);
        nodes(d, 2);
        d->candidates[0].unavailable = true;
        budgets(d, &one, 1);
        begin(d);
        say(d, "b", MEMBER_STAGED);
        assert_false(member(d, "b")->slot);
        say(d, "a", MEMBER_STAGED); /* it had one, and keeps it */
        assert_true(member(d, "a")->granted);
        assert_true(has_effect(d, ROLLOUT_EFFECT_ASSIGN, "a"));
        say(d, "a", MEMBER_HEALTHY);
        assert_true(member(d, "b")->slot);
}

static void a_pause_gives_no_slots(void **state) {
        struct driver *d = *state;
        struct rollout_budget one = all(1);
        nodes(d, 2);
        budgets(d, &one, 1);
        begin(d);
        person(d, ROLLOUT_EVENT_PAUSE);
        say_each(d, "ab", MEMBER_STAGED);
        assert_int_equal(holders(d), 0);
        person(d, ROLLOUT_EVENT_RESUME);
        assert_int_equal(holders(d), 1);
}

static void slots_are_kept(void **state) {
        struct driver *d = *state;
        static const char *site[] = {"site", "rack"};
        struct rollout_budget list[] = {
                all(2), {.group_by = site, .n_group_by = 2, .max_unavailable = {true, true, 50}}};
        struct rollout *back = NULL;
        nodes(d, 4);
        for (size_t i = 0; i < 4; i++)
                d->labels[i][0] = (struct pair){"site", i < 2 ? "kiel" : "husum"};
        budgets(d, list, 2);
        begin(d);
        say_each(d, "abcd", MEMBER_STAGED);
        json_t *j = rollout_to_json(d->r, true);
        assert_int_equal(rollout_from_json(j, NULL, &back, NULL), 0);
        json_t *again = rollout_to_json(back, true);
        assert_true(json_equal(j, again));
        assert_true(rollout_is_consistent(back));
        assert_string_equal(back->groups[back->members[0].groups[1]].name, "site=kiel,rack=");
        rollout_free(back);
        json_object_del(json_array_get(json_object_get(j, "members"), 1), "groups");
        assert_int_equal(rollout_from_json(j, NULL, &back, &d->err), -EINVAL);
        assert_string_equal(err_message(d->err), "member b: field groups: expected 2 texts");
        json_decref(j);
        json_decref(again);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, driver_setup, driver_teardown)
        const struct CMUnitTest tests[] = {
                TEST(a_node_stages_and_waits_for_its_slot),
                TEST(without_budgets_everybody_may_apply),
                TEST(every_group_counts_for_itself),
                TEST(a_share_of_a_group_is_at_least_one),
                TEST(silence_keeps_the_slot_until_the_deadline),
                TEST(granted_and_silent_keeps_it_as_well),
                TEST(waiting_has_no_deadline),
                TEST(a_slot_that_is_not_given_back_is_taken_at_the_deadline),
                TEST(who_goes_before_its_turn_is_deferred),
                TEST(after_the_end_stragglers_still_get_one_each),
                TEST(a_relapse_takes_a_slot),
                TEST(who_is_out_of_service_already_counts),
                TEST(a_pause_gives_no_slots),
                TEST(slots_are_kept),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
