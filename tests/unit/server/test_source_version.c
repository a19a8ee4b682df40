/* SPDX-License-Identifier: Apache-2.0 */
#include "server/source_version.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"

static void test_precedence(void **state) {
        /* Section 11 of the specification, and what it says of builds. */
        static const char *const rising[] = {
                "0.9.9",      "1.0.0-0",      "1.0.0-alpha",   "1.0.0-alpha.1", "1.0.0-alpha.beta",
                "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1",    "1.0.0",
                "1.0.1",      "1.2.0",        "1.10.0",        "v2.0.0",
        };
        for (size_t i = 0; i < ARRAY_SIZE(rising); i++)
                for (size_t k = 0; k < ARRAY_SIZE(rising); k++) {
                        struct version a, b;
                        assert_true(version_parse(rising[i], &a) && version_parse(rising[k], &b));
                        int order = version_compare(&a, &b);
                        assert_true(i < k ? order < 0 : i > k ? order > 0 : order == 0);
                }
        struct version a, b;
        assert_true(version_parse("1.0.0+one", &a) && version_parse("1.0.0+two.3", &b));
        assert_int_equal(version_compare(&a, &b), 0);
}

static void test_what_is_no_version(void **state) {
        static const char *const wrong[] = {
                "",        "1",        "1.2",        "1.2.3.4",    "01.2.3",
                "1.2.3-",  "1.2.3-01", "1.2.3+",     "release",    "1.2.x",
                "vv1.2.3", "1.2.3 ",   "1.2.3-a..b", "1.2.3-\xff", "99999999999999999999.0.0",
        };
        struct version v;
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
                assert_false(version_parse(wrong[i], &v));
}

static void test_ranges(void **state) {
        static const struct {
                const char *range, *in, *out; /* lists with blanks between */
        } cases[] = {
                {">=1.2 <2", "1.2.0 1.2.9 1.99.0", "1.1.9 2.0.0 2.0.0-rc.1 1.3.0-rc.1"},
                {">=1.2.0-0 <2", "1.2.0-rc.1 1.2.0 1.3.0-rc.1", "1.1.9 2.0.0 2.0.0-rc.1"},
                {"^1.4.2", "1.4.2 1.9.0", "1.4.1 2.0.0"},
                {"^0.4.2", "0.4.2 0.4.9", "0.5.0 1.0.0"},
                {"^0.0.3", "0.0.3", "0.0.4 0.0.2"},
                {"^0", "0.0.1 0.9.0", "1.0.0"},
                {"~1.4.2", "1.4.2 1.4.9", "1.5.0 1.4.1"},
                {"~1", "1.0.0 1.9.0", "2.0.0"},
                {"1.2", "1.2.0 1.2.7", "1.3.0 1.1.9"},
                {"1.x", "1.0.0 1.9.9", "2.0.0 0.9.0"},
                {"1.2.*", "1.2.5", "1.3.0"},
                {"=1.2.3", "1.2.3", "1.2.4"},
                {"v1.2.3", "1.2.3", "1.2.2"},
                {"*", "0.0.1 99.0.0", "1.0.0-rc.1"},
                {">1.2", "1.3.0 2.0.0", "1.2.9 1.2.0"},
                {">1.2.3", "1.2.4", "1.2.3"},
                {"<=1.2", "1.2.9 0.1.0", "1.3.0"},
                {"<=1.2.3-rc.2", "1.2.3-rc.1 1.2.3-rc.2 1.2.2", "1.2.3"},
                {">1.2.3-rc.1", "1.2.3-rc.1.1 1.2.3-rc.2 1.2.3", "1.2.3-rc.1"},
                {"1.2 || >= 3.1", "1.2.3 3.1.0", "1.3.0 3.0.9"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct version_range range;
                assert_int_equal(version_range_parse(cases[i].range, &range, NULL), 0);
                for (int side = 0; side < 2; side++) {
                        char text[128];
                        (void)snprintf(text, sizeof(text), "%s", side ? cases[i].out : cases[i].in);
                        for (char *rest = text, *one; (one = strsep(&rest, " "));) {
                                struct version v;
                                assert_true(version_parse(one, &v));
                                if (version_range_has(&range, &v) != (side == 0))
                                        fail_msg("%s and %s", cases[i].range, one);
                        }
                }
        }
}

static void test_what_is_no_range(void **state) {
        static const struct {
                const char *range, *says;
        } cases[] = {
                {"", "empty"},           {"1.2 ||", "empty"},        {"|| 1", "empty"},
                {">=one", "column 1"},   {">=1 <2.x.3", "column 5"}, {">*", "column 1"},
                {"1.2.3.4", "column 1"}, {"1,2", "column 1"},        {">=", "column 1"},
                {"1.02", "column 1"},
        };
        struct version_range range;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(err_freep) struct err *err = NULL;
                assert_int_equal(version_range_parse(cases[i].range, &range, &err), -EINVAL);
                if (!strstr(err_message(err), cases[i].says))
                        fail_msg("%s: %s", cases[i].range, err_message(err));
        }
        char many[VERSION_RANGE_TEXT_MAX + 2];
        memset(many, '1', sizeof(many) - 1);
        many[sizeof(many) - 1] = '\0';
        assert_int_equal(version_range_parse(many, &range, NULL), -EINVAL);
        many[0] = '\0';
        for (int i = 0; i < 40; i++)
                strcat(many, "1 1 1 ");
        many[VERSION_RANGE_TEXT_MAX - 1] = '\0';
        assert_int_equal(version_range_parse(many, &range, NULL), -EINVAL);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_precedence),
                cmocka_unit_test(test_what_is_no_version),
                cmocka_unit_test(test_ranges),
                cmocka_unit_test(test_what_is_no_range),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
