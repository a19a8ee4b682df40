/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_range.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void assert_part(const char *value, uint64_t size, uint64_t first, uint64_t last) {
        uint64_t a = 0, b = 0;
        assert_int_equal(http_range_parse(value, size, &a, &b), HTTP_RANGE_PART);
        assert_int_equal(a, first);
        assert_int_equal(b, last);
}

static enum http_range_result parse(const char *value, uint64_t size) {
        uint64_t a, b;
        return http_range_parse(value, size, &a, &b);
}

static void single_ranges_are_parts(void **state) {
        assert_part("bytes=0-0", 10, 0, 0);
        assert_part("bytes=0-4", 10, 0, 4);
        assert_part("BYTES=3-", 10, 3, 9);
        assert_part("bytes=5-99", 10, 5, 9);
        assert_part("bytes=9-18446744073709551615", 10, 9, 9);
        assert_part("bytes=-3", 10, 7, 9);
        assert_part("bytes=-99", 10, 0, 9);
}

static void ranges_past_the_end_cannot_be_had(void **state) {
        assert_int_equal(parse("bytes=10-", 10), HTTP_RANGE_UNSATISFIABLE);
        assert_int_equal(parse("bytes=10-20", 10), HTTP_RANGE_UNSATISFIABLE);
        assert_int_equal(parse("bytes=-0", 10), HTTP_RANGE_UNSATISFIABLE);
        assert_int_equal(parse("bytes=0-", 0), HTTP_RANGE_UNSATISFIABLE);
        assert_int_equal(parse("bytes=-1", 0), HTTP_RANGE_UNSATISFIABLE);
}

static void anything_else_is_answered_with_the_whole(void **state) {
        static const char *const values[] = {NULL,
                                             "",
                                             "bytes",
                                             "bytes=",
                                             "bytes=-",
                                             "bytes=a-b",
                                             "bytes=1",
                                             "bytes=4-2",
                                             "bytes=0-1,3-4",
                                             "bytes= 0-1",
                                             "bytes=0-1 ",
                                             "lines=0-1",
                                             "bytes=18446744073709551616-",
                                             "bytes=--1",
                                             "bytes=0--1"};
        for (size_t i = 0; i < ARRAY_SIZE(values); i++)
                assert_int_equal(parse(values[i], 10), HTTP_RANGE_WHOLE);
}

static void tags_are_found_in_lists(void **state) {
        assert_true(http_etag_matches("\"abc\"", "abc"));
        assert_true(http_etag_matches("W/\"abc\"", "abc"));
        assert_true(http_etag_matches("\"x\", \"y,\" ,W/\"abc\"", "abc"));
        assert_true(http_etag_matches("*", "abc"));
        assert_false(http_etag_matches(NULL, "abc"));
        assert_false(http_etag_matches("", "abc"));
        assert_false(http_etag_matches("abc", "abc"));
        assert_false(http_etag_matches("\"ab\"", "abc"));
        assert_false(http_etag_matches("\"abcd\"", "abc"));
        assert_false(http_etag_matches("\"abc", "abc"));
        assert_false(http_etag_matches("\"x\" \"abc\"", "abc"));
}

static void if_range_wants_the_strong_tag(void **state) {
        assert_true(http_if_range_holds(NULL, "abc"));
        assert_true(http_if_range_holds("\"abc\"", "abc"));
        assert_false(http_if_range_holds("W/\"abc\"", "abc"));
        assert_false(http_if_range_holds("\"abcd\"", "abc"));
        assert_false(http_if_range_holds("Sun, 06 Nov 1994 08:49:37 GMT", "abc"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(single_ranges_are_parts),
                cmocka_unit_test(ranges_past_the_end_cannot_be_had),
                cmocka_unit_test(anything_else_is_answered_with_the_whole),
                cmocka_unit_test(tags_are_found_in_lists),
                cmocka_unit_test(if_range_wants_the_strong_tag),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
