/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "cli/rollout_view.h"
#include "codec/json.h"

#define NOW 1795190400000 /* 2026-11-20T16:00:00Z */

static json_t *decode(const char *text) {
        json_t *j = NULL;
        struct err *err = NULL;
        if (json_decode(text, strlen(text), &j, &err) < 0)
                fail_msg("%s", err_message(err));
        return j;
}

static json_t *failing(void) {
        return decode("{\"metadata\":{\"name\":\"01kabc\"},"
                      "\"spec\":{\"fleet\":\"shops\",\"commit\":\"a1b2c3d4e5f6\",\"commitSubject\":\"Make it "
                      "blue\"},"
                      "\"status\":{\"phase\":\"RollingBack\",\"paused\":false,\"reason\":\"wave canary: 1 "
                      "failed\",\"wave\":\"canary\","
                      "\"startedAt\":\"2026-11-20T15:59:48Z\",\"total\":4,\"pending\":2,\"progressing\":1,"
                      "\"healthy\":0,\"failed\":1,"
                      "\"deferred\":0,\"waves\":["
                      "{\"name\":\"canary\",\"state\":\"Failed\",\"total\":2,\"pending\":0,\"progressing\":1,"
                      "\"healthy\":0,\"failed\":1,"
                      "\"deferred\":0},"
                      "{\"name\":\"rest\",\"state\":\"Pending\",\"total\":2,\"pending\":2,\"progressing\":0,"
                      "\"healthy\":0,\"failed\":0,"
                      "\"deferred\":0}],"
                      "\"members\":["
                      "{\"node\":\"kiel-1\",\"wave\":\"canary\",\"state\":\"RolledBack\",\"reason\":\"app "
                      "web: check http failed\","
                      "\"since\":\"2026-11-20T15:59:58Z\",\"connected\":true},"
                      "{\"node\":\"kiel-2\",\"wave\":\"canary\",\"state\":\"Applying\",\"reason\":null,"
                      "\"since\":\"2026-11-20T15:59:57Z\",\"connected\":false},"
                      "{\"node\":\"ulm-1\",\"wave\":\"rest\",\"state\":\"Pending\",\"reason\":null,"
                      "\"connected\":true},"
                      "{\"node\":\"ulm-2\",\"wave\":\"rest\",\"state\":\"Pending\",\"reason\":null,"
                      "\"connected\":true}]}}");
}

static void test_picture(void **state) {
        _cleanup_json_ json_t *r = failing();
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        const struct rollout_look look = {.width = 70};
        rollout_draw(&out, r, NOW, &look);
        assert_string_equal(buf_str(&out), "shops  RollingBack: wave canary: 1 failed\n"
                                           "a1b2c3d4e Make it blue, rollout 01kabc\n"
                                           "0 of 4 healthy, 1 failed, 1 progressing, 2 pending, for 12s\n"
                                           "\n"
                                           "> canary  xxxxxxxxxxxxxxx++++++++++++++  0/2  Failed, 1 failed\n"
                                           "  rest    .............................  0/2  Pending\n"
                                           "\n"
                                           "  x kiel-1    RolledBack   app web: check http failed\n"
                                           "\n"
                                           "  + kiel-2    Applying     for 3s  away\n");
}

static void set(json_t *object, const char *key, const char *text) {
        assert_int_equal(json_object_set_new(object, key, json_string(text)), 0);
}

/* Whole: reasons in as many lines as they take, who went back without having failed, and what to do next. */
static void test_whole_picture(void **state) {
        _cleanup_json_ json_t *r = failing();
        json_t *status = json_object_get(r, "status"), *members = json_object_get(status, "members"),
               *canary = json_array_get(json_object_get(status, "waves"), 0);
        set(status, "phase", "RolledBack");
        set(status, "reason", "1 node failed, 0 tolerated (kiel-1: app web: check http failed)");
        set(status, "finishedAt", "2026-11-20T15:59:58Z");
        set(json_object_get(r, "spec"), "commitSubject",
            "A subject that goes on and on and on and on and on");
        set(json_array_get(members, 0), "reason", "app web: check http failed: connection refused");
        set(json_array_get(members, 1), "state", "RolledBack");
        json_object_set_new(status, "progressing", json_integer(0));
        json_object_set_new(status, "rolledBack", json_integer(1));
        json_object_set_new(canary, "progressing", json_integer(0));
        json_object_set_new(canary, "rolledBack", json_integer(1));
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        rollout_draw(&out, r, NOW, &(struct rollout_look){.width = 60, .whole = true});
        assert_string_equal(buf_str(&out), "shops  RolledBack: 1 node failed, 0 tolerated (kiel-1: app\n"
                                           "    web: check http failed)\n"
                                           "a1b2c3d4e A subject that goes on and on and~, rollout 01kabc\n"
                                           "0 of 4 healthy, 1 failed, 1 went back, 2 pending, took 10s\n"
                                           "\n"
                                           "  canary  xxxxxx<<<<<<  0/2  Failed, 1 failed, 1 went back\n"
                                           "  rest    ............  0/2  Pending\n"
                                           "\n"
                                           "  x kiel-1    RolledBack   app web: check http failed:\n"
                                           "                           connection refused\n"
                                           "\n"
                                           "  < kiel-2    RolledBack   with the others  away\n"
                                           "\n"
                                           "Push a commit that mends it, or 'skerry rollout retry shops'\n"
                                           "  to try the same again; 'skerry events --rollout 01kabc'\n"
                                           "  tells the whole story.\n");
}

static void test_next_steps(void **state) {
        static const struct {
                const char *phase;
                bool paused;
                const char *words;
        } cases[] = {
                {"Progressing", false, NULL},      {"Progressing", true, "rollout resume shops"},
                {"Succeeded", false, NULL},        {"Failed", false, "rollout retry shops"},
                {"RolledBack", false, "01kabc"},   {"Aborted", false, NULL},
                {"Failed", true, "rollout retry"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_json_ json_t *r = failing();
                set(json_object_get(r, "status"), "phase", cases[i].phase);
                json_object_set_new(json_object_get(r, "status"), "paused", json_boolean(cases[i].paused));
                _cleanup_(x_freep) char *next = rollout_next_step(r);
                if (cases[i].words)
                        assert_non_null(strstr(next, cases[i].words));
                else
                        assert_null(next);
        }
}

static void test_no_line_is_too_wide_or_too_many(void **state) {
        _cleanup_json_ json_t *r = failing();
        json_t *members = json_object_get(json_object_get(r, "status"), "members");
        for (int i = 0; i < 60; i++)
                assert_int_equal(json_array_append_new(
                                         members, json_pack("{s:s, s:s, s:s, s:b}", "node",
                                                            "a-node-with-a-name-that-goes-on-and-on", "state",
                                                            "Failed", "reason",
                                                            "日本語 a reason that is longer than any line",
                                                            "connected", 1)),
                                 0);
        for (size_t width = 40; width < 120; width += 7) {
                for (size_t height = 8; height < 40; height += 3) {
                        _cleanup_(buf_done) struct buf out = BUF_INIT;
                        const struct rollout_look look = {.width = width, .height = height, .unicode = true};
                        size_t lines = 0;
                        rollout_draw(&out, r, NOW, &look);
                        for (const char *p = buf_str(&out); *p; p += strcspn(p, "\n") + 1, lines++)
                                assert_true(utf8_width(p, strcspn(p, "\n")) <= width);
                        assert_true(lines <= height);
                }
        }
}

static void test_soak_counts_down(void **state) {
        _cleanup_json_ json_t *r = failing();
        json_t *wave = json_array_get(json_object_get(json_object_get(r, "status"), "waves"), 0);
        json_object_set_new(wave, "state", json_string("Soaking"));
        json_object_set_new(wave, "soakUntil", json_string("2026-11-20T16:00:24.200Z"));
        const struct rollout_look look = {.width = 80};
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        rollout_draw(&out, r, NOW, &look);
        assert_non_null(strstr(buf_str(&out), "Soaking, 25s to go"));
        buf_clear(&out);
        rollout_draw(&out, r, NOW + 24200, &look);
        assert_non_null(strstr(buf_str(&out), "Soaking, 0s to go"));
}

static void test_only_what_changed_is_told(void **state) {
        _cleanup_json_ json_t *before = failing(), *after = failing();
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        rollout_tell(&out, NULL, before, NOW);
        assert_string_equal(buf_str(&out), "16:00:00  fleet shops: rollout 01kabc of a1b2c3d4e Make it blue\n"
                                           "16:00:00  wave canary: Failed, 0 of 2 healthy, 1 failed\n"
                                           "16:00:00  wave rest: Pending, 0 of 2 healthy\n"
                                           "16:00:00  node kiel-1: RolledBack: app web: check http failed\n"
                                           "16:00:00  RollingBack: wave canary: 1 failed (0 of 4 healthy)\n");
        buf_clear(&out);
        rollout_tell(&out, before, after, NOW);
        assert_string_equal(buf_str(&out), "");
        json_t *status = json_object_get(after, "status");
        json_object_set_new(status, "phase", json_string("RolledBack"));
        json_object_set_new(json_array_get(json_object_get(status, "members"), 1), "state",
                            json_string("Deferred"));
        rollout_tell(&out, before, after, NOW);
        assert_string_equal(buf_str(&out), "16:00:00  node kiel-2: Deferred\n"
                                           "16:00:00  RolledBack: wave canary: 1 failed (0 of 4 healthy)\n");
        /* Another rollout is told from its beginning. */
        json_object_set_new(json_object_get(after, "metadata"), "name", json_string("01kdef"));
        buf_clear(&out);
        rollout_tell(&out, before, after, NOW);
        assert_non_null(strstr(buf_str(&out), "rollout 01kdef"));
        assert_non_null(strstr(buf_str(&out), "wave rest"));
}

static void test_ends(void **state) {
        static const struct {
                const char *phase;
                bool final;
                int code;
        } cases[] = {
                {"Pending", false, 0},     {"Progressing", false, 0}, {"Soaking", false, 0},
                {"RollingBack", false, 0}, {"Succeeded", true, 0},    {"Failed", true, 1},
                {"Aborted", true, 1},      {"RolledBack", true, 1},   {"Superseded", true, 1},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_json_ json_t *r = json_pack("{s:{s:s}}", "status", "phase", cases[i].phase);
                assert_int_equal(rollout_is_final(r), cases[i].final);
                assert_int_equal(rollout_exit_code(r), cases[i].code);
        }
}

static void test_bars_add_up(void **state) {
        size_t cells[3];
        rollout_bar((const int64_t[]){0, 0, 0}, 3, 10, cells);
        assert_int_equal(cells[0] + cells[1] + cells[2], 0);
        rollout_bar((const int64_t[]){9999, 1, 0}, 3, 10, cells);
        assert_int_equal(cells[0], 9);
        assert_int_equal(cells[1], 1);
        assert_int_equal(cells[2], 0);
        rollout_bar((const int64_t[]){1, 1, 1}, 3, 2, cells);
        assert_int_equal(cells[0] + cells[1] + cells[2], 2);
        for (int64_t a = 0; a < 20; a++)
                for (int64_t b = 0; b < 20; b++)
                        for (int64_t c = 1; c < 20; c++) {
                                rollout_bar((const int64_t[]){a, b, c}, 3, 8, cells);
                                assert_int_equal(cells[0] + cells[1] + cells[2], 8);
                                assert_true((a > 0) == (cells[0] > 0) && (b > 0) == (cells[1] > 0) &&
                                            cells[2] > 0);
                        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_picture),
                cmocka_unit_test(test_whole_picture),
                cmocka_unit_test(test_next_steps),
                cmocka_unit_test(test_no_line_is_too_wide_or_too_many),
                cmocka_unit_test(test_soak_counts_down),
                cmocka_unit_test(test_only_what_changed_is_told),
                cmocka_unit_test(test_ends),
                cmocka_unit_test(test_bars_add_up),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
