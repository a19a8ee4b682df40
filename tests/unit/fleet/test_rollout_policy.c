/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/rollout_policy.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "base/str.h"
#include "codec/json.h"

static void quantities_read_and_write(void **state) {
        static const char *const good[] = {"0", "3", "10%", "100%", "0%", "1000000"};
        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                struct quantity q;
                char text[QUANTITY_TEXT_SIZE];
                assert_int_equal(quantity_parse(good[i], &q), 0);
                assert_true(q.is_set);
                assert_string_equal(quantity_format(&q, text), good[i]);
        }
        static const char *const bad[] = {"",
                                          "%",
                                          "101%",
                                          "-1",
                                          "+1",
                                          " 1",
                                          "1 ",
                                          "1.5",
                                          "1%%",
                                          "%1",
                                          "0x1",
                                          "ten",
                                          "99999999999999999999",
                                          "2000000000000",
                                          "1 %"};
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct quantity q = {.value = 7};
                if (quantity_parse(bad[i], &q) != -EINVAL)
                        fail_msg("was taken: \"%s\"", bad[i]);
                assert_int_equal(q.value, 7);
        }
        char text[QUANTITY_TEXT_SIZE];
        assert_string_equal(quantity_format(&(struct quantity){0}, text), "");
}

static int64_t of(bool percent, int64_t value, int64_t total) {
        return quantity_of(&(struct quantity){true, percent, value}, total);
}

static void quantities_of_a_total(void **state) {
        assert_int_equal(of(false, 3, 10), 3);
        assert_int_equal(of(false, 3, 2), 2);
        assert_int_equal(of(false, 0, 10), 0);
        assert_int_equal(of(true, 10, 100), 10);
        assert_int_equal(of(true, 10, 101), 11);
        assert_int_equal(of(true, 1, 3), 1);
        assert_int_equal(of(true, 0, 3), 0);
        assert_int_equal(of(true, 100, 7), 7);
        assert_int_equal(of(true, 50, 0), 0);
        assert_int_equal(of(true, 33, 100000), 33000);
        assert_true(of(true, 100, INT64_MAX) == INT64_MAX);
        assert_int_equal(quantity_of(&(struct quantity){0}, 10), 0);
        /* Against the definition: the smallest whole number not below the share. */
        for (int64_t total = 1; total < 300; total++)
                for (int64_t value = 0; value <= 100; value++) {
                        int64_t n = of(true, value, total);
                        assert_true(n * 100 >= total * value && (n - 1) * 100 < total * value);
                }
}

static void the_default_is_one_wave_of_everything(void **state) {
        struct rollout_policy p;
        rollout_policy_default(&p);
        assert_string_equal(p.name, "");
        assert_int_equal(p.n_waves, 0);
        assert_false(p.max_failed.is_set);
        assert_int_equal(p.min_sample, 1);
        assert_int_equal(p.progress_deadline_ms, 600000);
        assert_int_equal(p.defer_after_ms, 60000);
        assert_true(p.rollback_on_failure);
}

static json_t *parse(const char *text) {
        json_t *j = NULL;
        assert_int_equal(json_decode(text, strlen(text), &j, NULL), 0);
        return j;
}

static void json_restores_a_policy(void **state) {
        static const char *const texts[] = {
                "{}",
                "{\"name\":\"careful\",\"waves\":[{\"name\":\"canary\",\"selector\":{\"matchLabels\":{"
                "\"canary\":\"true\"}},"
                "\"limit\":\"1\",\"pauseMs\":30500,\"successThreshold\":\"100%\"},{\"name\":\"rest\"}],"
                "\"maxFailed\":\"10%\","
                "\"minSample\":3,\"progressDeadlineMs\":1,\"deferAfterMs\":0,\"rollbackOnFailure\":false}",
        };
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                _cleanup_(arena_freep) struct arena *arena = arena_new(0);
                struct rollout_policy p, q;
                json_t *j = parse(texts[i]);
                assert_int_equal(rollout_policy_from_json(arena, j, &p, NULL), 0);
                json_t *first = rollout_policy_to_json(&p);
                assert_int_equal(rollout_policy_from_json(arena, first, &q, NULL), 0);
                json_t *second = rollout_policy_to_json(&q);
                assert_true(json_equal(first, second));
                if (i == 1) {
                        assert_int_equal(q.n_waves, 2);
                        assert_string_equal(q.waves[0].name, "canary");
                        assert_string_equal(pairs_get(&q.waves[0].selector.match_labels, "canary"), "true");
                        assert_int_equal(q.waves[0].limit.value, 1);
                        assert_int_equal(q.waves[0].pause_ms, 30500);
                        assert_true(q.waves[0].success_threshold.is_percent);
                        assert_false(q.waves[1].success_threshold.is_set);
                        assert_int_equal(q.max_failed.value, 10);
                        assert_int_equal(q.min_sample, 3);
                        assert_int_equal(q.progress_deadline_ms, 1);
                        assert_int_equal(q.defer_after_ms, 0);
                        assert_false(q.rollback_on_failure);
                }
                json_decref(j);
                json_decref(first);
                json_decref(second);
        }
}

static void bad_policies_are_refused(void **state) {
        static const char *const texts[] = {
                "[]",
                "{\"waves\":{}}",
                "{\"waves\":[{}]}",
                "{\"waves\":[1]}",
                "{\"waves\":[{\"name\":\"\"}]}",
                "{\"waves\":[{\"name\":\"a\"},{\"name\":\"a\"}]}",
                "{\"waves\":[{\"name\":\"a\",\"limit\":1}]}",
                "{\"waves\":[{\"name\":\"a\",\"limit\":\"x\"}]}",
                "{\"waves\":[{\"name\":\"a\",\"pauseMs\":-1}]}",
                "{\"waves\":[{\"name\":\"a\",\"selector\":7}]}",
                "{\"waves\":[{\"name\":\"0123456789012345678901234567890123456789012345678901234567890123\"}]"
                "}",
                "{\"maxFailed\":\"101%\"}",
                "{\"minSample\":0}",
                "{\"progressDeadlineMs\":0}",
                "{\"progressDeadlineMs\":9223372036854775807}",
                "{\"deferAfterMs\":-1}",
                "{\"rollbackOnFailure\":\"yes\"}",
                "{\"name\":1}",
        };
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                _cleanup_(arena_freep) struct arena *arena = arena_new(0);
                _cleanup_(err_freep) struct err *err = NULL;
                struct rollout_policy p = {.min_sample = 77};
                json_t *j = parse(texts[i]);
                if (rollout_policy_from_json(arena, j, &p, &err) != -EINVAL)
                        fail_msg("was taken: %s", texts[i]);
                assert_non_null(err);
                assert_int_equal(p.min_sample, 77);
                json_decref(j);
        }
        _cleanup_(arena_freep) struct arena *arena = arena_new(0);
        struct rollout_policy p;
        json_t *waves = json_array();
        for (int i = 0; i <= ROLLOUT_WAVES_MAX; i++)
                json_array_append_new(waves, json_pack("{s:o}", "name", json_sprintf("w%d", i)));
        json_t *j = json_pack("{s:o}", "waves", waves);
        assert_int_equal(rollout_policy_from_json(arena, j, &p, NULL), -EINVAL);
        json_decref(j);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(quantities_read_and_write),
                cmocka_unit_test(quantities_of_a_total),
                cmocka_unit_test(the_default_is_one_wave_of_everything),
                cmocka_unit_test(json_restores_a_policy),
                cmocka_unit_test(bad_policies_are_refused),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
