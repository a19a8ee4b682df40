/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_target.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void assert_path(const char *encoded, const char *decoded) {
        char out[64];
        assert_int_equal(http_target_path(encoded, strlen(encoded), out), 0);
        assert_string_equal(out, decoded);
}

static void paths_are_decoded(void **state) {
        assert_path("/", "/");
        assert_path("/a/b", "/a/b");
        assert_path("/a%20b+c", "/a b+c");
        assert_path("/%C3%A9", "/\xc3\xa9");
        assert_path("/%2525", "/%25"); /* once */
        assert_path("/..a/b..", "/..a/b..");
        assert_path("/...", "/...");
}

static void dangerous_paths_are_refused(void **state) {
        static const char *const bad[] = {
                "",    "a",       "*",       "/%",   "/%4",  "/%4g", "/%00", "/a%0d",      "/a%7f",  "/a%2Fb",
                "/..", "/a/../b", "/%2e%2e", "/%2e", "/./a", "/%ff", "/%c3", "/%ed%a0%80", "/%c0%ae"};
        char out[64];
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(http_target_path(bad[i], strlen(bad[i]), out), -EINVAL);
}

static void assert_query(const char *query, const char *name, const char *value) {
        char out[64];
        size_t len = 0;
        assert_true(http_target_query_is_valid(query));
        const char *found = http_target_query_find(query, name, &len);
        if (!value) {
                assert_null(found);
                return;
        }
        assert_non_null(found);
        http_target_query_decode(found, len, out);
        assert_string_equal(out, value);
}

static void queries_are_searched_and_decoded(void **state) {
        assert_query("a=1&b=2", "b", "2");
        assert_query("a=1&a=2", "a", "1");
        assert_query("a=1&b", "b", "");
        assert_query("a=1&b=", "b", "");
        assert_query("&&a=x%26y+z", "a", "x&y z");
        assert_query("a%2b=1", "a+", "1");
        assert_query("a=b=c", "a", "b=c");
        assert_query("ab=1", "a", NULL);
        assert_query("a=1", "ab", NULL);
        assert_query("", "a", NULL);
        assert_query("q=%e4%bd%a0", "q", "\xe4\xbd\xa0");
}

static void broken_queries_are_refused(void **state) {
        static const char *const bad[] = {"a=%",   "a=%1",  "%zz=1",     "a=%00",
                                          "a=%ff", "a=%c3", "a=%c3\xa9", "a=\xff"};
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_false(http_target_query_is_valid(bad[i]));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(paths_are_decoded),
                cmocka_unit_test(dangerous_paths_are_refused),
                cmocka_unit_test(queries_are_searched_and_decoded),
                cmocka_unit_test(broken_queries_are_refused),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
