/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of docs/rollouts.md, one test a rule. What no order of events may break is tests/sim's. */
#include "rollout_driver.h"

/* ---- membership */

static void waves_take_nodes_in_order(void **state) {
        struct driver *d = *state;
        nodes(d, 10);
        static struct pair canary[] = {{"role", "canary"}};
        d->labels[4][0] = canary[0];
        wave(d, "canary", 0)->selector.match_labels = (struct pairs){canary, 1};
        wave(d, "nobody", 0)->selector.match_labels = (struct pairs){(struct pair[]){{"role", "none"}}, 1};
        wave(d, "some", 0)->limit = (struct quantity){true, true, 30};
        begin(d);
        assert_int_equal(d->r->n_waves, 3);
        assert_string_equal(d->r->waves[0].name, "canary");
        assert_string_equal(d->r->waves[1].name, "some");
        assert_string_equal(d->r->waves[2].name, "rest");
        struct wave_counts c;
        rollout_count(d->r, 0, &c);
        assert_int_equal(c.total, 1);
        assert_int_equal(member(d, "e")->wave, 0);
        rollout_count(d->r, 1, &c);
        assert_int_equal(c.total, 3); /* of all ten that match */
        rollout_count(d->r, 2, &c);
        assert_int_equal(c.total, 6);
        rollout_count(d->r, SIZE_MAX, &c);
        assert_int_equal(c.total, 10);
        assert_int_equal(c.pending, 9);
        assert_int_equal(c.progressing, 1);
        for (size_t i = 1; i < d->r->n_members; i++)
                assert_true(strcmp(d->r->members[i - 1].node, d->r->members[i].node) < 0);
}

static void the_rest_finds_a_free_name(void **state) {
        struct driver *d = *state;
        nodes(d, 3);
        wave(d, "rest", 1);
        begin(d);
        assert_string_equal(d->r->waves[1].name, "rest-2");
}

static void a_limit_takes_connected_nodes_first(void **state) {
        struct driver *d = *state;
        nodes(d, 20);
        for (size_t i = 0; i < 20; i++)
                d->candidates[i].connected = i == 7 || i == 12;
        wave(d, "canary", 3);
        make(d);
        assert_int_equal(member(d, "h")->wave, 0);
        assert_int_equal(member(d, "m")->wave, 0);
        assert_string_equal(rollout_wave_state(d->r, 0), "Pending");
}

/* Another rollout has other canaries; the same one has the same, whatever order its nodes come in. */
static void canaries_are_drawn_by_lot(void **state) {
        struct driver *d = *state;
        char digests[8][65];
        nodes(d, 20);
        wave(d, "canary", 2);
        for (int i = 0; i < 8; i++) {
                char id[27];
                (void)snprintf(id, sizeof(id), "rollout-%d", i / 2);
                if (i % 2 == 1) {
                        struct rollout_candidate swap = d->candidates[0];
                        d->candidates[0] = d->candidates[19];
                        d->candidates[19] = swap;
                }
                assert_int_equal(
                        rollout_new(id, "shops", "new", &d->policy, d->candidates, 20, T0, &d->r, NULL), 0);
                memcpy(digests[i], d->r->members_digest, 65);
                d->r = rollout_free(d->r);
        }
        assert_string_equal(digests[0], digests[1]);
        assert_string_equal(digests[2], digests[3]);
        assert_string_not_equal(digests[0], digests[2]);
        assert_string_not_equal(digests[2], digests[4]);
}

/* printf 'one/a\none/b\none/c\n' | sha256sum */
static void the_digest_names_waves_and_nodes(void **state) {
        struct driver *d = *state;
        nodes(d, 3);
        wave(d, "one", 0)->limit = (struct quantity){true, true, 100};
        begin(d);
        assert_string_equal(d->r->members_digest,
                            "79dba98988b3ae9d3d7438243aa9978722122c7c9cd4760d0703e93a1cb9af0a");
}

static void what_is_no_rollout_is_refused(void **state) {
        struct driver *d = *state;
        nodes(d, 3);
        struct rollout *r = NULL;
        static const char *const ids[] = {"", "this-id-is-longer-than-26-bytes"};
        for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
                _cleanup_(err_freep) struct err *err = NULL;
                assert_int_equal(rollout_new(ids[i], "f", "new", &d->policy, d->candidates, 3, T0, &r, &err),
                                 -EINVAL);
                assert_non_null(err);
        }
        _cleanup_(err_freep) struct err *err = NULL;
        d->candidates[2].node = "a";
        assert_int_equal(rollout_new("x", "f", "new", &d->policy, d->candidates, 3, T0, &r, &err), -EINVAL);
        assert_string_equal(err_message(err), "node a is in the rollout twice");
        assert_null(r);
}

static void a_rollout_without_nodes_succeeds(void **state) {
        struct driver *d = *state;
        wave(d, "canary", 1);
        begin(d);
        assert_phase(d, "Succeeded");
        assert_int_equal(count_effects(d, ROLLOUT_EFFECT_FINISHED), 1);
        assert_int_equal(rollout_next_wake(d->r), 0);
}

/* ---- the straight way */

static void waves_go_one_after_the_other(void **state) {
        struct driver *d = *state;
        nodes(d, 4);
        wave(d, "canary", 1)->pause_ms = 30 * S;
        make(d);
        assert_phase(d, "Pending");
        assert_int_equal(rollout_next_wake(d->r), 0);
        person(d, ROLLOUT_EVENT_START);
        assert_phase(d, "Progressing");
        assert_int_equal(count_effects(d, ROLLOUT_EFFECT_ASSIGN), 1);
        assert_int_equal(count_effects(d, ROLLOUT_EFFECT_CHANGED), 1);
        assert_int_equal(count_effects(d, ROLLOUT_EFFECT_MEMBER), 1);

        const char *canary = NULL;
        for (size_t i = 0; i < 4; i++)
                if (d->r->members[i].wave == 0)
                        canary = d->r->members[i].node;
        assert_state(d, canary, "Offered");
        static const enum member_state steps[] = {MEMBER_DOWNLOADING, MEMBER_STAGED, MEMBER_APPLYING,
                                                  MEMBER_CONFIRMING};
        for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
                d->now += S;
                say(d, canary, steps[i]);
                assert_int_equal(member(d, canary)->accepted, T0 + S);
                assert_int_equal(rollout_next_wake(d->r), T0 + S + d->policy.progress_deadline_ms);
        }
        say(d, canary, MEMBER_HEALTHY);
        assert_phase(d, "Soaking");
        assert_string_equal(rollout_wave_state(d->r, 0), "Soaking");
        assert_int_equal(rollout_next_wake(d->r), d->now + 30 * S);
        wait_ms(d, 30 * S - 1);
        assert_phase(d, "Soaking");
        wait_ms(d, 1);
        assert_phase(d, "Progressing");
        assert_wave(d, 1);
        assert_int_equal(count_effects(d, ROLLOUT_EFFECT_ASSIGN), 3);
        assert_string_equal(rollout_wave_state(d->r, 0), "Passed");
        assert_string_equal(rollout_wave_state(d->r, 1), "Progressing");

        for (size_t i = 0; i < 4; i++)
                say(d, d->r->members[i].node, MEMBER_HEALTHY); /* from Offered at once: it ran that already */
        assert_phase(d, "Succeeded");
        assert_null(d->r->reason);
        assert_int_equal(d->r->finished_at, d->now);
        assert_int_equal(count_effects(d, ROLLOUT_EFFECT_FINISHED), 1);
        assert_int_equal(rollout_next_wake(d->r), 0);
}

static void reports_about_something_else_are_ignored(void **state) {
        struct driver *d = *state;
        nodes(d, 2);
        wave(d, "one", 1);
        begin(d);
        const char *first = d->r->members[0].wave == 0 ? "a" : "b",
                   *second = d->r->members[0].wave == 0 ? "b" : "a";
        say_about(d, first, MEMBER_HEALTHY, "old");
        assert_int_equal(d->effects.n, 0);
        say_about(d, first, MEMBER_HEALTHY, NULL);
        say(d, "nobody", MEMBER_FAILED);
        say(d, second, MEMBER_FAILED); /* not offered anything: left from an earlier try */
        static const enum member_state not_theirs[] = {MEMBER_PENDING, MEMBER_OFFERED, MEMBER_TIMED_OUT,
                                                       MEMBER_DEFERRED, (enum member_state)77};
        for (size_t i = 0; i < ARRAY_SIZE(not_theirs); i++)
                say(d, first, not_theirs[i]);
        assert_int_equal(d->effects.n, 0);
        assert_state(d, first, "Offered");
        assert_state(d, second, "Pending");
        assert_phase(d, "Progressing");
        say(d, first, MEMBER_APPLYING);
        assert_true(d->effects.n > 0);
        say(d, first, MEMBER_APPLYING); /* said before */
        assert_int_equal(d->effects.n, 0);
}

/* Every state of a member against every state that a node can report. */
static void reports_move_members_by_the_table(void **state) {
        struct driver *d = *state;
        /* Rows: from; columns as `reported`; '.' ignored, '=' the same again. */
        static const enum member_state reported[] = {
                MEMBER_DOWNLOADING, MEMBER_STAGED,  MEMBER_WAITING_WINDOW, MEMBER_APPLYING,
                MEMBER_CONFIRMING,  MEMBER_HEALTHY, MEMBER_FAILED,         MEMBER_ROLLED_BACK,
        };
        static const struct {
                enum member_state from;
                const char *may;
        } table[] = {
                {MEMBER_PENDING, "........"},        {MEMBER_OFFERED, "DSWACHFR"},
                {MEMBER_DOWNLOADING, "=SWACHFR"},    {MEMBER_STAGED, "D=WACHFR"},
                {MEMBER_WAITING_WINDOW, "DS=ACHFR"}, {MEMBER_APPLYING, "DSW=CHFR"},
                {MEMBER_CONFIRMING, "DSWA=HFR"},     {MEMBER_HEALTHY, "DSWAC=FR"},
                {MEMBER_FAILED, "DSWACH=R"},         {MEMBER_ROLLED_BACK, "DSWACHF="},
                {MEMBER_TIMED_OUT, "DSWACHFR"},      {MEMBER_DEFERRED, "DSWACHFR"},
        };
        assert_int_equal(ARRAY_SIZE(table), MEMBER_DEFERRED + 1);
        nodes(d, 3);
        d->policy.max_failed = (struct quantity){true, false, 3};
        begin(d);
        json_t *j = rollout_to_json(d->r, true);
        json_t *first = json_array_get(json_object_get(j, "members"), 0);
        for (size_t i = 0; i < ARRAY_SIZE(table); i++)
                for (size_t k = 0; k < ARRAY_SIZE(reported); k++) {
                        json_object_set_new(first, "state", json_string(member_state_name(table[i].from)));
                        json_object_set_new(first, "deadline",
                                            json_integer(table[i].from == MEMBER_PENDING ? 0 : T0 + 60 * S));
                        d->r = rollout_free(d->r);
                        assert_int_equal(rollout_from_json(j, NULL, &d->r, NULL), 0);
                        say(d, "a", reported[k]);
                        bool moves = table[i].may[k] != '.' && table[i].may[k] != '=';
                        assert_string_equal(member_state_name(member(d, "a")->state),
                                            member_state_name(moves ? reported[k] : table[i].from));
                        assert_int_equal(count_effects(d, ROLLOUT_EFFECT_MEMBER) > 0, moves);
                }
        json_decref(j);
}

/* ---- the rest */

static void a_removed_node_is_out_of_every_count(void **state) {
        struct driver *d = *state;
        nodes(d, 3);
        begin(d);
        say_each(d, "ab", MEMBER_HEALTHY);
        must(d, (struct rollout_event){.type = ROLLOUT_EVENT_NODE_REMOVED, .node = "c"});
        assert_phase(d, "Succeeded");
        assert_null(d->r->reason);
        struct wave_counts c;
        rollout_count(d->r, 0, &c);
        assert_int_equal(c.total, 2);
        say(d, "c", MEMBER_FAILED);
        assert_int_equal(d->effects.n, 0);
}

static void a_removed_node_is_not_waited_for_on_the_way_back(void **state) {
        struct driver *d = *state;
        nodes(d, 2);
        begin(d);
        say(d, "a", MEMBER_FAILED);
        say_about(d, "a", MEMBER_HEALTHY, "old");
        assert_phase(d, "RollingBack");
        must(d, (struct rollout_event){.type = ROLLOUT_EVENT_NODE_REMOVED, .node = "b"});
        assert_phase(d, "RolledBack");
}

static void a_wave_whose_nodes_all_left_waits_for_a_person(void **state) {
        struct driver *d = *state;
        nodes(d, 2);
        wave(d, "one", 1);
        begin(d);
        must(d, (struct rollout_event){.type = ROLLOUT_EVENT_NODE_REMOVED,
                                       .node = d->r->members[d->r->members[0].wave == 0 ? 0 : 1].node});
        assert_wave(d, 0);
        assert_true(d->r->paused);
        assert_non_null(strstr(d->r->reason, "wave one"));
        must(d, (struct rollout_event){.type = ROLLOUT_EVENT_RESUME});
        assert_wave(d, 1);
}

static void time_without_us_does_not_count(void **state) {
        struct driver *d = *state;
        nodes(d, 3);
        d->candidates[1].connected = false;
        wave(d, "all", 0)->pause_ms = 60 * S;
        begin(d);
        say(d, "a", MEMBER_APPLYING);
        say(d, "c", MEMBER_APPLYING);
        go(d, "c");
        d->now += 10 * S + 3600 * S;
        must(d, (struct rollout_event){.type = ROLLOUT_EVENT_TIME_GAP, .gap_ms = 3600 * S});
        tick(d);
        assert_state(d, "a", "Applying");
        assert_state(d, "b", "Offered");
        assert_int_equal(rollout_next_wake(d->r), d->now + 50 * S);
        wait_ms(d, 50 * S);
        assert_state(d, "b", "Deferred");
        say_each(d, "ac", MEMBER_HEALTHY);
        assert_phase(d, "Soaking");
        d->now += 1000 * S;
        must(d, (struct rollout_event){.type = ROLLOUT_EVENT_TIME_GAP, .gap_ms = 960 * S});
        tick(d);
        assert_phase(d, "Soaking");
        wait_ms(d, 20 * S);
        assert_phase(d, "Succeeded");
}

static size_t restart(struct driver *d, enum rollout_effect_type type) {
        rollout_effects_done(&d->effects);
        assert_int_equal(rollout_restart(d->r, &d->effects), 0);
        return count_effects(d, type);
}

static void restart_gives_lost_effects_again(void **state) {
        struct driver *d = *state;
        nodes(d, 4);
        wave(d, "one", 2);
        make(d);
        assert_int_equal(restart(d, ROLLOUT_EFFECT_ASSIGN), 0);
        person(d, ROLLOUT_EVENT_START);
        assert_int_equal(restart(d, ROLLOUT_EFFECT_ASSIGN), 2);
        assert_int_equal(d->effects.n, 2);
        for (size_t i = 0; i < 4; i++)
                if (d->r->members[i].wave == 0)
                        say(d, d->r->members[i].node, MEMBER_FAILED);
        assert_int_equal(restart(d, ROLLOUT_EFFECT_ASSIGN_BACK), 2);
        assert_int_equal(d->effects.n, 2);
        for (size_t i = 0; i < 4; i++)
                if (d->r->members[i].wave == 0)
                        say_about(d, d->r->members[i].node, MEMBER_HEALTHY, "old");
        assert_phase(d, "RolledBack");
        assert_int_equal(restart(d, ROLLOUT_EFFECT_FINISHED), 1);
        assert_int_equal(count_effects(d, ROLLOUT_EFFECT_ASSIGN_BACK), 2);
}

static void names_go_both_ways(void **state) {
        for (int i = 0; i <= ROLLOUT_SUPERSEDED; i++) {
                enum rollout_phase p = (enum rollout_phase)99;
                assert_int_equal(rollout_phase_from_name(rollout_phase_name((enum rollout_phase)i), &p), 0);
                assert_int_equal(p, i);
        }
        for (int i = 0; i <= MEMBER_DEFERRED; i++) {
                enum member_state m = (enum member_state)99;
                assert_int_equal(member_state_from_name(member_state_name((enum member_state)i), &m), 0);
                assert_int_equal(m, i);
        }
        enum rollout_phase p = ROLLOUT_SOAKING;
        assert_int_equal(rollout_phase_from_name("pending", &p), -EINVAL);
        assert_int_equal(rollout_phase_from_name(NULL, &p), -EINVAL);
        assert_int_equal(p, ROLLOUT_SOAKING);
        assert_string_equal(rollout_phase_name((enum rollout_phase)99), "Unknown");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, driver_setup, driver_teardown)
        const struct CMUnitTest tests[] = {
                TEST(waves_take_nodes_in_order),
                TEST(the_rest_finds_a_free_name),
                TEST(a_limit_takes_connected_nodes_first),
                TEST(canaries_are_drawn_by_lot),
                TEST(the_digest_names_waves_and_nodes),
                TEST(what_is_no_rollout_is_refused),
                TEST(a_rollout_without_nodes_succeeds),
                TEST(waves_go_one_after_the_other),
                TEST(reports_about_something_else_are_ignored),
                TEST(reports_move_members_by_the_table),
                TEST(a_removed_node_is_out_of_every_count),
                TEST(a_removed_node_is_not_waited_for_on_the_way_back),
                TEST(a_wave_whose_nodes_all_left_waits_for_a_person),
                TEST(time_without_us_does_not_count),
                TEST(restart_gives_lost_effects_again),
                cmocka_unit_test(names_go_both_ways),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
