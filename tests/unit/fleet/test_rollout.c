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
                TEST(a_failure_in_the_soak_rolls_back),
                TEST(the_soak_stands_still_while_a_node_is_at_work),
                TEST(a_relapse_ends_at_the_deadline),
                TEST(relapses_within_the_budget_do_not_hold_the_wave),
                TEST(a_soak_that_nobody_sees_does_not_end),
                TEST(a_passed_wave_is_still_watched),
                TEST(only_who_was_offered_goes_back),
                TEST(who_is_away_is_not_waited_for),
                TEST(who_does_not_confirm_is_waited_for_until_the_deadline),
                TEST(who_never_answered_need_not_confirm),
                TEST(nothing_to_go_back_to_is_failed),
                TEST(who_ran_nothing_need_not_confirm),
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
                TEST(a_removed_node_is_out_of_every_count),
                TEST(a_removed_node_is_not_waited_for_on_the_way_back),
                TEST(a_wave_whose_nodes_all_left_waits_for_a_person),
                TEST(time_without_us_does_not_count),
                TEST(restart_gives_lost_effects_again),
                cmocka_unit_test(names_go_both_ways),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
