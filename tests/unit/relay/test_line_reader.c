/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "relay/line_reader.h"

static char seen[256];
static bool go_on;

static bool on_line(void *arg, const char *type, const json_t *object) {
        assert_true(json_is_object(object));
        assert_true(strlen(seen) + strlen(type) + 2 < sizeof(seen));
        strcat(seen, type);
        strcat(seen, ";");
        return go_on;
}

static int feed(struct line_reader *r, const char *text) {
        return line_reader_feed(r, text, strlen(text), on_line, NULL, NULL);
}

static int start(void **state) {
        seen[0] = '\0';
        go_on = true;
        return 0;
}

static void test_any_pieces(void **state) {
        static const char text[] = "{\"type\":\"a\"}\n\n{\"type\":\"b\",\"x\":[1]}\r\n{\"type\":\"c\"}\n";
        for (size_t piece = 1; piece <= sizeof(text) - 1; piece++) {
                struct line_reader r = {0};
                seen[0] = '\0';
                for (size_t at = 0; at < sizeof(text) - 1; at += piece) {
                        size_t n = MIN(piece, sizeof(text) - 1 - at);
                        assert_int_equal(line_reader_feed(&r, text + at, n, on_line, NULL, NULL), 0);
                }
                assert_string_equal(seen, "a;b;c;");
                line_reader_reset(&r);
        }
}

static void test_half_a_line_is_forgotten(void **state) {
        struct line_reader r = {0};
        assert_int_equal(feed(&r, "{\"type\":\"los"), 0);
        line_reader_reset(&r);
        assert_int_equal(feed(&r, "{\"type\":\"a\"}\n"), 0);
        assert_string_equal(seen, "a;");
        line_reader_reset(&r);
}

static void test_no_events(void **state) {
        static const char *const bad[] = {"<html>\n",          "[]\n", "{}\n", "{\"type\":1}\n",
                                          "{\"type\":\"a\"\n", "1\n"};
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct line_reader r = {0};
                assert_int_equal(feed(&r, bad[i]), -EINVAL);
                line_reader_reset(&r);
        }
        assert_string_equal(seen, "");
}

static void test_reader_may_stop(void **state) {
        struct line_reader r = {0};
        go_on = false;
        assert_int_equal(feed(&r, "{\"type\":\"a\"}\n{\"type\":\"b\"}\n"), -ECANCELED);
        assert_string_equal(seen, "a;");
        line_reader_reset(&r);
}

static void test_limit(void **state) {
        struct line_reader r = {0};
        size_t size = LINE_BYTES_MAX / 2 + 1;
        char *text = malloc(size);
        assert_non_null(text);
        memset(text, ' ', size);
        assert_int_equal(line_reader_feed(&r, text, size, on_line, NULL, NULL), 0);
        assert_int_equal(line_reader_feed(&r, text, size, on_line, NULL, NULL), -EMSGSIZE);
        line_reader_reset(&r);
        free(text);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(test_any_pieces, start),
                cmocka_unit_test_setup(test_half_a_line_is_forgotten, start),
                cmocka_unit_test_setup(test_no_events, start),
                cmocka_unit_test_setup(test_reader_may_stop, start),
                cmocka_unit_test_setup(test_limit, start),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
