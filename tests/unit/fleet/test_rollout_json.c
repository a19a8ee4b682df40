/* SPDX-License-Identifier: Apache-2.0 */
/* A rollout that is written and read back at any point goes on as if nothing had been. */
#include "base/random.h"
#include "rollout_driver.h"

static char *text_of(const struct rollout *r) {
        json_t *j = rollout_to_json(r, true);
        assert_non_null(j);
        char *text = json_encode_compact(j);
        assert_non_null(text);
        json_decref(j);
        return text;
}

/* As the database does it: the rollout's text, and each member's. */
static struct rollout *reload(const struct rollout *r, struct prng *random) {
        json_t *j = rollout_to_json(r, false), *members = json_array();
        for (size_t i = 0; i < r->n_members; i++) {
                json_t *m = rollout_member_to_json(r, i);
                json_array_insert_new(members, prng_below(random, i + 1), m); /* any order */
        }
        char *a = json_encode_compact(j), *b = json_encode_compact(members);
        json_decref(j);
        json_decref(members);
        assert_int_equal(json_decode(a, strlen(a), &j, NULL), 0);
        assert_int_equal(json_decode(b, strlen(b), &members, NULL), 0);
        struct rollout *loaded = NULL;
        struct err *err = NULL;
        if (rollout_from_json(j, members, &loaded, &err) < 0)
                fail_msg("%s", err_message(err));
        json_decref(j);
        json_decref(members);
        free(a);
        free(b);
        return loaded;
}

static struct rollout_event draw_event(struct driver *d, struct prng *random) {
        static const enum rollout_event_type types[] = {
                ROLLOUT_EVENT_START,        ROLLOUT_EVENT_TICK,         ROLLOUT_EVENT_TICK,
                ROLLOUT_EVENT_NODE_STATE,   ROLLOUT_EVENT_NODE_STATE,   ROLLOUT_EVENT_NODE_STATE,
                ROLLOUT_EVENT_NODE_STATE,   ROLLOUT_EVENT_NODE_STATE,   ROLLOUT_EVENT_NODE_STATE,
                ROLLOUT_EVENT_CONNECTED,    ROLLOUT_EVENT_CONNECTED,    ROLLOUT_EVENT_DISCONNECTED,
                ROLLOUT_EVENT_DISCONNECTED, ROLLOUT_EVENT_NODE_REMOVED, ROLLOUT_EVENT_PAUSE,
                ROLLOUT_EVENT_RESUME,       ROLLOUT_EVENT_RESUME,       ROLLOUT_EVENT_ABORT,
                ROLLOUT_EVENT_RETRY,        ROLLOUT_EVENT_RETRY,        ROLLOUT_EVENT_TIME_GAP,
        };
        static const char *const reasons[] = {NULL, "app web: exit 1", "\"quoted\" \xc3\xbc\n"};
        struct rollout_event e = {.type = types[prng_below(random, ARRAY_SIZE(types))]};
        e.node = d->names[prng_below(random, d->n)];
        e.revision =
                prng_below(random, 8) > 0 ? (d->r->phase == ROLLOUT_ROLLING_BACK ? "old" : "new") : "other";
        e.state = prng_below(random, 3) == 0 ? MEMBER_HEALTHY
                                             : (enum member_state)prng_below(random, MEMBER_DEFERRED + 1);
        e.reason = reasons[prng_below(random, ARRAY_SIZE(reasons))];
        e.rollback = prng_below(random, 2) == 0;
        e.gap_ms = (msec_t)prng_below(random, 100000);
        return e;
}

static void draw_setup(struct driver *d, struct prng *random) {
        nodes(d, 1 + prng_below(random, 12));
        for (size_t i = 0; i < d->n; i++) {
                d->candidates[i].connected = prng_below(random, 4) > 0;
                if (prng_below(random, 5) == 0)
                        d->candidates[i].previous_revision = NULL;
        }
        rollout_policy_default(&d->policy);
        d->policy.waves = d->waves;
        memset(d->waves, 0, sizeof(d->waves));
        if (prng_below(random, 3) > 0) {
                struct rollout_wave_policy *w = wave(d, "canary", 1 + (int64_t)prng_below(random, 3));
                w->pause_ms = (msec_t)prng_below(random, 100000);
                if (prng_below(random, 2) == 0)
                        w->success_threshold =
                                (struct quantity){true, true, (int64_t)prng_below(random, 101)};
        }
        d->policy.max_failed =
                (struct quantity){true, prng_below(random, 2) == 0, (int64_t)prng_below(random, 60)};
        d->policy.min_sample = 1 + (int64_t)prng_below(random, 4);
        d->policy.progress_deadline_ms = 1 + (msec_t)prng_below(random, 200000);
        d->policy.defer_after_ms = (msec_t)prng_below(random, 100000);
        d->policy.rollback_on_failure = prng_below(random, 3) > 0;
}

static void compare_effects(const struct rollout_effects *a, const struct rollout_effects *b) {
        assert_int_equal(a->n, b->n);
        for (size_t i = 0; i < a->n; i++) {
                assert_int_equal(a->items[i].type, b->items[i].type);
                assert_int_equal(a->items[i].member, b->items[i].member);
                assert_true(str_eq(a->items[i].text, b->items[i].text));
        }
}

/* Two rollouts, the same events; one of them is written and read back before each. They never differ. */
static void json_restores_a_rollout_at_any_point(void **state) {
        struct driver *d = *state;
        for (uint64_t seed = 1; seed <= 60; seed++) {
                struct prng random;
                prng_seed(&random, seed);
                d->now = T0;
                draw_setup(d, &random);
                make(d);
                struct rollout *twin = reload(d->r, &random);
                for (int step = 0; step < 80; step++) {
                        struct rollout_event e = draw_event(d, &random);
                        _cleanup_(rollout_effects_done) struct rollout_effects here = {0}, there = {0};
                        d->now += (msec_t)prng_below(&random, 30000);
                        struct rollout *loaded = reload(twin, &random);
                        rollout_free(twin);
                        twin = loaded;
                        int k = rollout_step(d->r, &e, d->now, &here, NULL);
                        assert_int_equal(rollout_step(twin, &e, d->now, &there, NULL), k);
                        compare_effects(&here, &there);
                        assert_true(rollout_is_consistent(d->r));
                        assert_true(rollout_is_consistent(twin));
                        assert_int_equal(rollout_next_wake(d->r), rollout_next_wake(twin));
                        char *a = text_of(d->r), *b = text_of(twin);
                        if (strcmp(a, b) != 0)
                                fail_msg("seed %llu, step %d:\n%s\n%s", (unsigned long long)seed, step, a, b);
                        free(a);
                        free(b);
                }
                rollout_free(twin);
                d->r = rollout_free(d->r);
        }
}

static void the_shape_is_that_of_the_api(void **state) {
        struct driver *d = *state;
        nodes(d, 3);
        wave(d, "canary", 1)->pause_ms = 1500;
        begin(d);
        say(d, d->r->members[0].wave == 0 ? "a" : d->r->members[1].wave == 0 ? "b" : "c", MEMBER_HEALTHY);
        json_t *j = rollout_to_json(d->r, true);
        assert_string_equal(json_string_value(json_object_get(j, "phase")), "Soaking");
        assert_string_equal(json_string_value(json_object_get(j, "wave")), "canary");
        assert_true(json_is_false(json_object_get(j, "paused")));
        assert_true(json_is_null(json_object_get(j, "reason")));
        assert_true(json_is_null(json_object_get(j, "finishedAt")));
        char text[TIME_TEXT_SIZE];
        assert_string_equal(json_string_value(json_object_get(j, "startedAt")), time_format(T0, text));
        assert_int_equal(json_integer_value(json_object_get(j, "total")), 3);
        assert_int_equal(json_integer_value(json_object_get(j, "healthy")), 1);
        assert_int_equal(json_integer_value(json_object_get(j, "pending")), 2);
        const json_t *w = json_array_get(json_object_get(j, "waves"), 0);
        assert_string_equal(json_string_value(json_object_get(w, "state")), "Soaking");
        assert_string_equal(json_string_value(json_object_get(w, "soakUntil")), time_format(T0 + 1500, text));
        assert_int_equal(json_integer_value(json_object_get(w, "healthy")), 1);
        assert_int_equal(json_array_size(json_object_get(j, "members")), 3);
        const json_t *m = json_array_get(json_object_get(j, "members"), 0);
        static const char *const keys[] = {"node", "wave", "state", "reason", "since", "connected"};
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
                assert_non_null(json_object_get(m, keys[i]));
        json_decref(j);
}

/* One change at a time to a good text. */
static void damaged_texts_are_refused(void **state) {
        struct driver *d = *state;
        nodes(d, 2);
        wave(d, "canary", 1);
        begin(d);
        static const char *const changes[] = {
                "{\"id\":null}",
                "{\"id\":\"\"}",
                "{\"id\":\"much longer than an id can be\"}",
                "{\"phase\":\"pending\"}",
                "{\"phase\":3}",
                "{\"wave\":\"nowhere\"}",
                "{\"wave\":null}",
                "{\"waves\":{}}",
                "{\"waves\":[{\"name\":\"canary\"}]}",
                "{\"waves\":[{\"name\":\"canary\"},{\"name\":\"rest\"},{\"name\":\"rest\"}]}",
                "{\"waves\":[{\"name\":\"canary\",\"pauseMs\":-1},{\"name\":\"rest\"}]}",
                "{\"waves\":[{\"name\":\"canary\",\"healthyAt\":\"soon\"},{\"name\":\"rest\"}]}",
                "{\"waves\":[{\"name\":\"canary\",\"successThreshold\":\"x\"},{\"name\":\"rest\"}]}",
                "{\"policy\":null}",
                "{\"policy\":{\"minSample\":0}}",
                "{\"createdAt\":\"yesterday\"}",
                "{\"paused\":1}",
                "{\"fleet\":7}",
                "{\"members\":7}",
                "{\"members\":[1]}",
                "{\"members\":[{\"node\":\"a\",\"wave\":\"canary\"}]}",
                "{\"members\":[{\"node\":\"a\",\"wave\":\"x\",\"state\":\"Pending\"}]}",
                "{\"members\":[{\"node\":\"a\",\"wave\":\"canary\",\"state\":\"Gone\"}]}",
                "{\"members\":[{\"node\":\"a\",\"wave\":\"rest\",\"state\":\"Pending\",\"deadline\":-4}]}",
                "{\"members\":[{\"node\":\"a\",\"wave\":\"rest\",\"state\":\"Pending\",\"failed\":\"no\"}]}",
                "{\"members\":[{\"node\":\"a\",\"wave\":\"rest\",\"state\":\"Pending\"},"
                "{\"node\":\"a\",\"wave\":\"rest\",\"state\":\"Pending\"}]}",
        };
        for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
                _cleanup_(err_freep) struct err *err = NULL;
                json_t *j = rollout_to_json(d->r, true), *change = NULL;
                struct rollout *r = NULL;
                assert_int_equal(json_decode(changes[i], strlen(changes[i]), &change, NULL), 0);
                json_object_update(j, change);
                if (rollout_from_json(j, NULL, &r, &err) != -EINVAL)
                        fail_msg("was taken: %s", changes[i]);
                assert_non_null(err);
                assert_null(r);
                json_decref(j);
                json_decref(change);
        }
        struct rollout *r = NULL;
        json_t *array = json_array();
        assert_int_equal(rollout_from_json(array, NULL, &r, NULL), -EINVAL);
        json_decref(array);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, driver_setup, driver_teardown)
        const struct CMUnitTest tests[] = {
                TEST(json_restores_a_rollout_at_any_point),
                TEST(the_shape_is_that_of_the_api),
                TEST(damaged_texts_are_refused),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
