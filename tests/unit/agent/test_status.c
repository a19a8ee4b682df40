/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "agent/edge_address.h"
#include "agent/enrolment.h"
#include "agent/status.h"
#include "base/str.h"
#include "codec/json.h"

static json_t *status(const char *state, const char *web) {
        return json_pack("{s:s, s:i, s:n, s:s, s:s, s:n, s:i, s:[{s:s, s:s}, {s:s, s:s}]}", "bootId", "b",
                         "assignment", 7, "revision", "target", "t", "state", state, "message",
                         "driftCorrected", 0, "apps", "name", "web", "state", web, "name", "db", "state",
                         "Healthy");
}

static json_t *difference(const json_t *before, const json_t *now, bool full) {
        json_t *d = NULL;
        assert_int_equal(status_difference(before, now, 12, full, &d), 0);
        return d;
}

static void the_first_says_all(void **state) {
        _cleanup_json_ json_t *now = status("Applying", "Pending"), *d = difference(NULL, now, false);
        assert_true(json_is_true(json_object_get(d, "full")));
        assert_int_equal(json_integer_value(json_object_get(d, "seq")), 12);
        assert_int_equal(json_array_size(json_object_get(d, "apps")), 2);
        assert_string_equal(json_string_value(json_object_get(d, "bootId")), "b");
}

static void nothing_new_is_nothing(void **state) {
        _cleanup_json_ json_t *a = status("Healthy", "Healthy"), *b = status("Healthy", "Healthy");
        assert_null(difference(a, b, false));
        _cleanup_json_ json_t *d = difference(a, b, true);
        assert_true(json_is_true(json_object_get(d, "full")));
}

static void later_ones_say_what_changed(void **state) {
        _cleanup_json_ json_t *a = status("Applying", "Applying"), *b = status("Applying", "Confirming"),
                              *d = difference(a, b, false);
        assert_null(json_object_get(d, "full"));
        assert_null(json_object_get(d, "bootId"));
        assert_null(json_object_get(d, "message"));
        assert_null(json_object_get(d, "driftCorrected"));
        assert_int_equal(json_integer_value(json_object_get(d, "assignment")), 7);
        assert_string_equal(json_string_value(json_object_get(d, "state")), "Applying");
        assert_true(json_is_null(json_object_get(d, "revision")));
        assert_string_equal(json_string_value(json_object_get(d, "target")), "t");
        const json_t *apps = json_object_get(d, "apps");
        assert_int_equal(json_array_size(apps), 1);
        assert_string_equal(json_string_value(json_object_get(json_array_get(apps, 0), "state")),
                            "Confirming");

        _cleanup_json_ json_t *c = status("Failed", "Confirming");
        json_object_set_new(c, "message", json_string("because"));
        _cleanup_json_ json_t *e = difference(b, c, false);
        assert_string_equal(json_string_value(json_object_get(e, "message")), "because");
        assert_null(json_object_get(e, "apps"));
}

static void an_app_that_is_gone_takes_a_full_report(void **state) {
        _cleanup_json_ json_t *a = status("Healthy", "Healthy"), *b = status("Healthy", "Healthy");
        json_array_remove(json_object_get(b, "apps"), 1);
        _cleanup_json_ json_t *d = difference(a, b, false);
        assert_true(json_is_true(json_object_get(d, "full")));
        assert_int_equal(json_array_size(json_object_get(d, "apps")), 1);
}

static void renewal_is_before_half_of_the_life(void **state) {
        assert_int_equal(renewal_due(1000, 101000, 0.0), 51000);
        assert_int_equal(renewal_due(1000, 101000, 0.5), 46000);
        assert_true(renewal_due(1000, 101000, 0.999) >= 41000);
        assert_int_equal(renewal_due(5000, 4000, 0.5), 5000); /* nonsense does not overflow */
}

static void addresses_are_checked_and_taken_in_turn(void **state) {
        struct edge_address *e = NULL;
        static const char *const bad[] = {
                "", ",", "http://x:1", "https://", "https://x/y", "https://x?y", "https://u@x", "x:8444"};
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_true(edge_address_parse(bad[i], &e, NULL) < 0);
        assert_null(e);
        assert_int_equal(edge_address_parse("https://a:1/, https://b:2", &e, NULL), 0);
        assert_string_equal(edge_address_current(e), "https://a:1");
        _cleanup_(x_freep) char *url = edge_address_url(e, "/edge/v1/bundle");
        assert_string_equal(url, "https://a:1/edge/v1/bundle");
        edge_address_next(e);
        assert_string_equal(edge_address_current(e), "https://b:2");
        edge_address_next(e);
        assert_string_equal(edge_address_current(e), "https://a:1");

        static const struct {
                struct http_result r;
                const char *words;
        } answers[] = {
                {{.status = 403,
                  .body = "{\"error\":{\"code\":\"forbidden\",\"message\":\"revoked\"}}",
                  .body_len = 50},
                 "revoked"},
                {{.status = 200, .error = -111, .message = "https://a:1: refused", .body = ""},
                 "https://a:1: refused"},
                {{.status = 302, .body = "<html>"}, "captive portal"},
                {{.status = 502, .body = "<html>", .body_len = 6}, "something else"},
                {{.status = 0, .error = -110, .body = ""}, "https://a:1"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
                struct err *err = NULL;
                struct http_result r = answers[i].r;
                r.body_len = strlen(r.body);
                assert_true(edge_answer_error(e, &r, &err) < 0);
                if (!strstr(err_message(err), answers[i].words))
                        fail_msg("\"%s\" does not say \"%s\"", err_message(err), answers[i].words);
                err_free(err);
        }
        edge_address_free(e);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_first_says_all),
                cmocka_unit_test(nothing_new_is_nothing),
                cmocka_unit_test(later_ones_say_what_changed),
                cmocka_unit_test(an_app_that_is_gone_takes_a_full_report),
                cmocka_unit_test(renewal_is_before_half_of_the_life),
                cmocka_unit_test(addresses_are_checked_and_taken_in_turn),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
