/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "agent/app_state.h"

static void every_state_has_its_words(void **state) {
        static const char *const reports[] = {"Pending", "Applying", "Confirming",
                                              "Healthy", "Failed",   "RolledBack"};
        for (unsigned s = 0; s < APP_N_STATES; s++) {
                bool known = false;
                assert_string_not_equal(app_state_name((enum app_state)s), "Unknown");
                for (size_t i = 0; i < ARRAY_SIZE(reports); i++)
                        known = known || strcmp(app_state_report((enum app_state)s), reports[i]) == 0;
                assert_true(known);
        }
        assert_string_equal(app_state_name(APP_N_STATES), "Unknown");
}

static void nothing_follows_itself(void **state) {
        for (unsigned s = 0; s < APP_N_STATES; s++)
                assert_false(app_state_may_follow((enum app_state)s, (enum app_state)s));
        assert_false(app_state_may_follow(APP_N_STATES, APP_HEALTHY));
        assert_false(app_state_may_follow(APP_HEALTHY, APP_N_STATES));
}

static void success_is_only_reached_through_confirmation(void **state) {
        static const enum app_state well[] = {APP_HEALTHY, APP_ROLLED_BACK};
        for (size_t i = 0; i < ARRAY_SIZE(well); i++) {
                assert_false(app_state_may_follow(APP_PENDING, well[i]));
                assert_false(app_state_may_follow(APP_APPLYING, well[i]));
                assert_false(app_state_may_follow(APP_ROLLING_BACK, well[i]));
                assert_false(app_state_may_follow(APP_REMOVING, well[i]));
                assert_true(app_state_may_follow(APP_CONFIRMING, well[i]));
                assert_true(app_state_may_follow(well[i], APP_DEGRADED));
                assert_true(app_state_may_follow(APP_DEGRADED, well[i]));
                assert_false(app_state_may_follow(well[i], APP_FAILED));
        }
}

static void every_state_can_be_left_and_removed(void **state) {
        for (unsigned s = 0; s < APP_N_STATES; s++)
                if (s != APP_REMOVING)
                        assert_true(app_state_may_follow((enum app_state)s, APP_REMOVING));
        assert_true(app_state_may_follow(APP_REMOVING, APP_FAILED));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_state_has_its_words),
                cmocka_unit_test(nothing_follows_itself),
                cmocka_unit_test(success_is_only_reached_through_confirmation),
                cmocka_unit_test(every_state_can_be_left_and_removed),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
