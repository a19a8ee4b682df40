/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "cli/labels_argument.h"
#include "codec/json.h"

static void test_set_and_remove(void **state) {
        _cleanup_json_ json_t *set = json_object(), *gone = json_array();
        assert_int_equal(labels_argument_parse("site=kiel,role=,old-,example.org/tier=gold", set, gone, NULL),
                         0);
        _cleanup_(x_freep) char *sets = json_encode_compact(set), *goes = json_encode_compact(gone);
        assert_string_equal(sets, "{\"site\":\"kiel\",\"role\":\"\",\"example.org/tier\":\"gold\"}");
        assert_string_equal(goes, "[\"old\"]");
}

static void test_mistakes(void **state) {
        static const struct {
                const char *text, *says;
                bool removal;
        } cases[] = {
                {"site", "'site' is not KEY=VALUE", false},
                {"site-", "'site-' is not KEY=VALUE", false},
                {"site", "neither KEY=VALUE nor KEY-", true},
                {"-", "neither KEY=VALUE nor KEY-", true},
                {"no good=x", "'no good' is not the key", true},
                {"a=b c", "'b c' is not the value", true},
                {"a b-", "'a b' is not the key", true},
                {"a=1,a=2", "'a' is given twice", true},
                {"=x", "'' is not the key", true},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_json_ json_t *set = json_object(), *gone = json_array();
                _cleanup_(err_freep) struct err *err = NULL;
                assert_int_equal(
                        labels_argument_parse(cases[i].text, set, cases[i].removal ? gone : NULL, &err),
                        -EINVAL);
                if (!strstr(err_message(err), cases[i].says))
                        fail_msg("'%s' does not say '%s'", err_message(err), cases[i].says);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_set_and_remove),
                cmocka_unit_test(test_mistakes),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
