/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"

static void comparing(void **state) {
        assert_true(str_eq("a", "a"));
        assert_false(str_eq("a", "b"));
        assert_true(str_eq(NULL, NULL));
        assert_false(str_eq(NULL, ""));
        assert_false(str_eq("", NULL));
        assert_true(str_is_empty(NULL));
        assert_true(str_is_empty(""));
        assert_false(str_is_empty(" "));
        assert_true(str_has_prefix("abc", "ab"));
        assert_true(str_has_prefix("abc", ""));
        assert_false(str_has_prefix("ab", "abc"));
        assert_false(str_has_prefix(NULL, ""));
        assert_true(str_has_suffix("abc", "bc"));
        assert_true(str_has_suffix("abc", ""));
        assert_false(str_has_suffix("bc", "abc"));
        assert_false(str_has_suffix(NULL, "x"));
        assert_string_equal(str_after_prefix("labels.site", "labels."), "site");
        assert_null(str_after_prefix("label", "labels."));
}

static void copying(void **state) {
        assert_null(str_dup(NULL));
        assert_null(str_dup_n(NULL, 3));
        _cleanup_(x_freep) char *a = str_dup("abc"), *b = str_dup_n("abc", 2),
                                *c = str_format("%d-%s", 1, "x");
        assert_string_equal(a, "abc");
        assert_string_equal(b, "ab");
        assert_string_equal(c, "1-x");
        assert_int_equal(str_replace(&a, a + 1), 0); /* a part of itself */
        assert_string_equal(a, "bc");
        assert_int_equal(str_replace(&a, NULL), 0);
        assert_null(a);
        assert_int_equal(str_replace(&a, "new"), 0);
        assert_string_equal(a, "new");
}

static void numbers(void **state) {
        uint64_t u = 7;
        int64_t i = 7;
        assert_int_equal(str_to_u64("0", &u), 0);
        assert_int_equal(u, 0);
        assert_int_equal(str_to_u64("18446744073709551615", &u), 0);
        assert_true(u == UINT64_MAX);
        assert_int_equal(str_to_u64("0042", &u), 0);
        assert_int_equal(u, 42);
        assert_int_equal(str_to_u64("18446744073709551616", &u), -ERANGE);
        assert_int_equal(str_to_u64("99999999999999999999999999", &u), -ERANGE);
        static const char *const wrong[] = {
                "", " 1", "1 ", "+1", "0x10", "1e3", "1.0", "a", "99999999999999999999x"};
        for (size_t k = 0; k < ARRAY_SIZE(wrong); k++) {
                assert_int_equal(str_to_u64(wrong[k], &u), -EINVAL);
                assert_int_equal(str_to_i64(wrong[k], &i), -EINVAL);
        }
        assert_int_equal(str_to_u64("-1", &u), -EINVAL);
        assert_int_equal(str_to_u64(NULL, &u), -EINVAL);
        assert_int_equal(u, 42);
        assert_int_equal(str_to_i64("-9223372036854775808", &i), 0);
        assert_true(i == INT64_MIN);
        assert_int_equal(str_to_i64("9223372036854775807", &i), 0);
        assert_true(i == INT64_MAX);
        assert_int_equal(str_to_i64("9223372036854775808", &i), -ERANGE);
        assert_int_equal(str_to_i64("-9223372036854775809", &i), -ERANGE);
        assert_int_equal(str_to_i64("-", &i), -EINVAL);
        assert_int_equal(str_to_i64("--1", &i), -EINVAL);
        assert_int_equal(str_to_i64(NULL, &i), -EINVAL);
}

static void durations(void **state) {
        static const struct {
                const char *text;
                int64_t ms;
        } right[] = {
                {"0", 0},           {"90", 90000},
                {"90s", 90000},     {"5m", 300000},
                {"1h30m", 5400000}, {"250ms", 250},
                {"2d", 172800000},  {"1d2h3m4s5ms", 93784005},
                {"1m0s", 60000},    {"36525d", INT64_C(36525) * 86400000},
        };
        int64_t ms = 7;
        for (size_t i = 0; i < ARRAY_SIZE(right); i++) {
                assert_int_equal(str_to_duration_ms(right[i].text, &ms), 0);
                assert_int_equal(ms, right[i].ms);
        }
        static const char *const wrong[] = {"",     " 5s",  "5s ",  "-5s",   "5 s",  "5x",
                                            "s",    "1.5h", "1h30", "5S",    "5m5m", "1s1m",
                                            "5sec", "m5",   "5msx", "1h 3m", "+5"};
        ms = 7;
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
                assert_int_equal(str_to_duration_ms(wrong[i], &ms), -EINVAL);
        assert_int_equal(str_to_duration_ms(NULL, &ms), -EINVAL);
        assert_int_equal(str_to_duration_ms("36525d1ms", &ms), -ERANGE);
        assert_int_equal(str_to_duration_ms("99999999999999999999s", &ms), -ERANGE);
        assert_int_equal(str_to_duration_ms("18446744073709551615d", &ms), -ERANGE);
        assert_int_equal(ms, 7);
}

static void durations_for_people(void **state) {
        char text[32];
        static const struct {
                int64_t ms;
                const char *text;
        } cases[] = {
                {0, "0s"},          {250, "250ms"},    {45000, "45s"},  {5400000, "1h30m"},   {3605000, "1h"},
                {90061001, "1d1h"}, {1500, "1s500ms"}, {-60000, "-1m"}, {86399999, "23h59m"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                assert_string_equal(duration_format(cases[i].ms, text, sizeof(text)), cases[i].text);
        assert_string_equal(duration_format(5400000, text, 3), "1h"); /* cut, but ended */
        assert_non_null(duration_format(INT64_MIN, text, sizeof(text)));
}

static void dns_labels(void **state) {
        assert_true(name_is_dns_label("a"));
        assert_true(name_is_dns_label("0"));
        assert_true(name_is_dns_label("shop-1"));
        assert_true(name_is_dns_label("a23456789012345678901234567890123456789012345678901234567890123"));
        assert_false(name_is_dns_label("a234567890123456789012345678901234567890123456789012345678901234"));
        static const char *const wrong[] = {"", "-a", "a-", "-", "A", "a.b", "a_b", "a b", "\xc3\xa4", "a\n"};
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
                assert_false(name_is_dns_label(wrong[i]));
        assert_false(name_is_dns_label(NULL));
}

static void distances(void **state) {
        assert_int_equal(str_distance("", "", 5), 0);
        assert_int_equal(str_distance("kitten", "sitting", 5), 3);
        assert_int_equal(str_distance("kitten", "sitting", 3), 3);
        assert_int_equal(str_distance("kitten", "sitting", 2), 3); /* limit + 1 */
        assert_int_equal(str_distance("", "abc", 5), 3);
        assert_int_equal(str_distance("abc", "", 1), 2);
        /* Neighbours that changed places are one slip, anywhere in the word, more than once. */
        assert_int_equal(str_distance("gte", "get", 5), 1);
        assert_int_equal(str_distance("egt", "get", 5), 1);
        assert_int_equal(str_distance("ab", "ba", 5), 1);
        assert_int_equal(str_distance("lable", "label", 1), 1);
        assert_int_equal(str_distance("selcetro", "selector", 5), 2);
        assert_int_equal(str_distance("selcetro", "selector", 1), 2);
        assert_int_equal(str_distance("gteX", "get", 5), 2);
        assert_int_equal(str_distance("abc", "cab", 5), 2);
        assert_int_equal(str_distance("ca", "abc", 5), 3); /* what was swapped is not edited again */
        char a[500], b[500];
        memset(a, 'a', sizeof(a));
        memset(b, 'a', sizeof(b));
        a[499] = b[498] = '\0';
        assert_int_equal(str_distance(a, b, 3), 4); /* too long to look at */
        assert_int_equal(str_distance(a, a, 3), 0);
}

static void nearest_name(void **state) {
        static const char *const names[] = {"selector", "template", "rollout", "a", "apps"};
        const size_t n = ARRAY_SIZE(names);
        assert_string_equal(str_nearest("selectr", names, n), "selector");
        assert_string_equal(str_nearest("templates", names, n), "template");
        assert_string_equal(str_nearest("rolout", names, n), "rollout");
        assert_string_equal(str_nearest("app", names, n), "apps");
        assert_string_equal(str_nearest("paps", names, n), "apps");
        static const char *const commands[] = {"describe", "events", "get", "init", "node"};
        assert_string_equal(str_nearest("gte", commands, ARRAY_SIZE(commands)), "get");
        assert_string_equal(str_nearest("ndoe", commands, ARRAY_SIZE(commands)), "node");
        assert_null(str_nearest("completely-different", names, n));
        assert_null(str_nearest("x", names, n)); /* one letter is not a slip of another one */
        assert_null(str_nearest("", names, n));
        assert_null(str_nearest("a", names, 0));
}

static void vectors(void **state) {
        _cleanup_(strv_freep) char **v = NULL;
        assert_int_equal(strv_len(NULL), 0);
        assert_false(strv_has(NULL, "a"));
        assert_null(strv_free(NULL));
        assert_int_equal(strv_push(&v, "a"), 0);
        assert_int_equal(strv_push(&v, "b"), 0);
        assert_int_equal(strv_len(v), 2);
        assert_true(strv_has(v, "b"));
        assert_false(strv_has(v, "c"));
        _cleanup_(strv_freep) char **pieces = strv_split(",a,,b;c,", ",;");
        assert_int_equal(strv_len(pieces), 3);
        assert_string_equal(pieces[0], "a");
        assert_string_equal(pieces[1], "b");
        assert_string_equal(pieces[2], "c");
        _cleanup_(strv_freep) char **none = strv_split(",,", ",");
        assert_non_null(none);
        assert_null(none[0]);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(comparing),
                cmocka_unit_test(copying),
                cmocka_unit_test(numbers),
                cmocka_unit_test(durations),
                cmocka_unit_test(durations_for_people),
                cmocka_unit_test(dns_labels),
                cmocka_unit_test(distances),
                cmocka_unit_test(nearest_name),
                cmocka_unit_test(vectors),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
