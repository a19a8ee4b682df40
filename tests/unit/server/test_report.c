/* SPDX-License-Identifier: Apache-2.0 */
#include "server/report.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "codec/json.h"

#define R1 "1111111111111111111111111111111111111111111111111111111111111111"
#define R2 "2222222222222222222222222222222222222222222222222222222222222222"

static int apply(struct report *r, const char *text) {
        json_t *j = NULL;
        assert_int_equal(json_decode(text, strlen(text), &j, NULL), 0);
        int k = report_apply(r, j, NULL);
        json_decref(j);
        return k;
}

static void test_full_then_changes(void **state) {
        _cleanup_(report_done) struct report r = {0};
        assert_int_equal(apply(&r, "{\"full\":true,\"seq\":1,\"assignment\":7,\"revision\":\"" R1
                                   "\",\"target\":\"" R1 "\","
                                   "\"state\":\"Healthy\",\"message\":\"x\",\"platform\":\"linux/"
                                   "amd64\",\"driftCorrected\":2,"
                                   "\"facts\":{\"os\":\"debian\"},"
                                   "\"apps\":[{\"name\":\"web\",\"driver\":\"podman\",\"state\":\"Healthy\","
                                   "\"restarts\":1},"
                                   "{\"name\":\"till\",\"driver\":\"process\",\"state\":\"Healthy\"}]}"),
                         0);
        assert_int_equal(r.n_apps, 2);
        assert_int_equal(apply(&r, "{\"seq\":2,\"assignment\":8,\"state\":\"Applying\",\"target\":\"" R2
                                   "\",\"message\":null,"
                                   "\"apps\":[{\"name\":\"web\",\"state\":\"Applying\",\"restarts\":3}]}"),
                         0);
        assert_int_equal(r.assignment, 8);
        assert_int_equal(r.state, MEMBER_APPLYING);
        assert_string_equal(r.revision, R1);
        assert_string_equal(r.target, R2);
        assert_null(r.message);
        assert_string_equal(r.platform, "linux/amd64");
        assert_int_equal(r.n_apps, 2);
        assert_int_equal(r.apps[0].restarts, 3);
        assert_int_equal(r.apps[0].state, MEMBER_APPLYING);
        assert_string_equal(r.apps[0].driver, "podman");
        assert_int_equal(r.apps[1].state, MEMBER_HEALTHY);

        /* What the database keeps gives the same report. */
        json_t *kept = report_to_json(&r);
        _cleanup_(report_done) struct report again = {0};
        assert_int_equal(report_apply(&again, kept, NULL), 0);
        json_t *twice = report_to_json(&again);
        assert_true(json_equal(kept, twice));
        json_decref(kept);
        json_decref(twice);

        assert_int_equal(apply(&r, "{\"full\":true,\"assignment\":8,\"revision\":null,\"apps\":[]}"), 0);
        assert_int_equal(r.n_apps, 0);
        assert_string_equal(r.revision, "");
        assert_false(r.has_state);
        assert_null(r.platform);
}

static void test_bad_reports_change_nothing(void **state) {
        static const char *const bad[] = {
                "[]",
                "{\"full\":1}",
                "{\"state\":\"Fine\"}",
                "{\"state\":3}",
                "{\"revision\":\"abc\"}",
                "{\"target\":7}",
                "{\"assignment\":\"7\"}",
                "{\"message\":{}}",
                "{\"apps\":{}}",
                "{\"apps\":[1]}",
                "{\"apps\":[{}]}",
                "{\"apps\":[{\"name\":\"Not A Name\"}]}",
                "{\"apps\":[{\"name\":\"web\",\"state\":\"Fine\"}]}",
                "{\"apps\":[{\"name\":\"web\",\"restarts\":\"many\"}]}",
                "{\"facts\":[]}",
                "{\"artifacts\":{}}",
                "{\"artifacts\":[1]}",
                "{\"artifacts\":[{\"name\":\"web\"}]}",
                "{\"artifacts\":[{\"name\":\"We b\",\"version\":\"1\"}]}",
                "{\"artifacts\":[{\"name\":\"web\",\"version\":\"../1\"}]}",
                "{\"artifacts\":[{\"name\":\"web\",\"version\":\"1\",\"state\":7}]}",
                "{\"artifacts\":[{\"name\":\"web\",\"version\":\"1\",\"way\":"
                "\"123456789012345678901234567890123\"}]}",
                "{\"artifacts\":[{\"name\":\"web\",\"version\":\"1\",\"bytesFetched\":-1}]}",
                "{\"artifacts\":[{\"name\":\"web\",\"version\":\"1\",\"bytesTotal\":9223372036854775807}]}",
        };
        _cleanup_(report_done) struct report r = {0};
        assert_int_equal(apply(&r, "{\"full\":true,\"assignment\":1,\"state\":\"Healthy\"}"), 0);
        json_t *before = report_to_json(&r);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(apply(&r, bad[i]), -EINVAL);
        json_t *after = report_to_json(&r);
        assert_true(json_equal(before, after));
        json_decref(before);
        json_decref(after);
}

static void test_artifacts(void **state) {
        _cleanup_(report_done) struct report r = {0};
        char text[3 * REPORT_TEXT_MAX];
        int at = snprintf(
                text, sizeof text,
                "{\"full\":true,\"artifacts\":[{\"name\":\"web\",\"version\":\"1.3.0\",\"state\":\"Ready\","
                "\"way\":\"delta\",\"bytesPredicted\":100,\"bytesFetched\":110,\"bytesTotal\":5000},"
                "{\"name\":\"data\",\"version\":\"7\",\"message\":\"x");
        while (at < 2 * REPORT_TEXT_MAX) /* longer than is kept, and cut within a character */
                at += snprintf(text + at, sizeof text - (size_t)at, "\xc3\xa4");
        (void)snprintf(text + at, sizeof text - (size_t)at, "\"}]}");
        assert_int_equal(apply(&r, text), 0);
        assert_int_equal(r.artifacts.n, 2);
        assert_string_equal(r.artifacts.items[0].way, "delta");
        assert_int_equal(r.artifacts.items[0].fetched, 110);
        assert_null(r.artifacts.items[1].way);
        assert_int_equal(strlen(r.artifacts.items[1].message), REPORT_TEXT_MAX - 1);
        json_t *whole = report_to_json(&r);
        _cleanup_(report_done) struct report back = {0};
        assert_int_equal(report_apply(&back, whole, NULL), 0);
        json_t *again = report_to_json(&back);
        assert_true(json_equal(whole, again));
        json_decref(whole);
        json_decref(again);
        /* What is not named stays, what is named is all there is. */
        assert_int_equal(apply(&r, "{\"state\":\"Healthy\"}"), 0);
        assert_int_equal(r.artifacts.n, 2);
        assert_int_equal(apply(&r, "{\"artifacts\":[]}"), 0);
        assert_int_equal(r.artifacts.n, 0);
}

static void test_bounds(void **state) {
        _cleanup_(report_done) struct report r = {0};
        json_t *j = json_object(), *apps = json_array(), *facts = json_object();
        char long_text[REPORT_TEXT_MAX + 3];
        memset(long_text, 'a', sizeof(long_text) - 1);
        /* A character of two bytes across the cut goes as a whole. */
        long_text[REPORT_TEXT_MAX - 1] = '\xc3';
        long_text[REPORT_TEXT_MAX] = '\xa4';
        long_text[sizeof(long_text) - 1] = '\0';
        json_object_set_new(j, "full", json_true());
        json_object_set_new(j, "message", json_string(long_text));
        assert_int_equal(report_apply(&r, j, NULL), 0);
        assert_int_equal(strlen(r.message), REPORT_TEXT_MAX - 1);
        for (int i = 0; i <= REPORT_APPS_MAX; i++)
                json_array_append_new(apps, json_pack("{s:s}", "name", "web"));
        json_object_set_new(j, "apps", apps);
        assert_int_equal(report_apply(&r, j, NULL), -EINVAL);
        json_object_del(j, "apps");
        for (int i = 0; i < 10; i++) {
                char key[8];
                (void)snprintf(key, sizeof(key), "k%d", i);
                json_object_set_new(facts, key, json_string(long_text));
        }
        json_object_set_new(j, "facts", facts);
        assert_int_equal(report_apply(&r, j, NULL), -EINVAL);
        json_decref(j);
}

static void test_what_it_means_for_a_rollout(void **state) {
        static const struct {
                const char *revision, *target, *state;
                int64_t assignment;
                bool counts;
        } cases[] = {
                {R2, R2, "Healthy", 7, true},
                {R2, R2, "Healthy", 8, true},  /* a newer assignment of the same revision */
                {R2, R2, "Healthy", 6, false}, /* of an older one */
                {R1, R2, "Healthy", 7, false}, /* well, but not with ours */
                {R1, R2, "Downloading", 7, true},
                {R1, R2, "Applying", 7, true},
                {R1, R1, "Applying", 7, false}, /* works at something else */
                {R1, R2, "RolledBack", 7, true},
                {R1, R2, "Failed", 7, true},
                {R1, R1, "Failed", 7, false},
                {R2, R2, "Failed", 7, true},    /* was well, is not any more */
                {R1, R2, "Deferred", 7, false}, /* not a node's word */
                {R1, R2, "TimedOut", 7, false},
                {R1, R2, "Pending", 7, false},
        };
        enum member_state mapped;
        _cleanup_(report_done) struct report none = {0};
        assert_false(report_member_state(&none, 0, R2, &mapped));
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(report_done) struct report r = {0};
                json_t *j = json_pack("{s:b, s:I, s:s, s:s, s:s}", "full", 1, "assignment",
                                      (json_int_t)cases[i].assignment, "revision", cases[i].revision,
                                      "target", cases[i].target, "state", cases[i].state);
                assert_int_equal(report_apply(&r, j, NULL), 0);
                json_decref(j);
                bool counts = report_member_state(&r, 7, R2, &mapped);
                if (counts != cases[i].counts)
                        fail_msg("case %zu: %s", i, cases[i].state);
                if (counts)
                        assert_string_equal(member_state_name(mapped), cases[i].state);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_full_then_changes),
                cmocka_unit_test(test_bad_reports_change_nothing),
                cmocka_unit_test(test_artifacts),
                cmocka_unit_test(test_bounds),
                cmocka_unit_test(test_what_it_means_for_a_rollout),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
