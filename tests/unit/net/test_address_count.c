/* SPDX-License-Identifier: Apache-2.0 */
#include "net/address_count.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void each_address_has_its_own_limit(void **state) {
        struct address_count *a = address_count_new();
        assert_non_null(a);
        assert_int_equal(address_count_add(a, "192.0.2.1", 2), 0);
        assert_int_equal(address_count_add(a, "192.0.2.1", 2), 0);
        assert_int_equal(address_count_add(a, "192.0.2.1", 2), -EUSERS);
        assert_int_equal(address_count_add(a, "2001:db8::1", 2), 0);
        address_count_remove(a, "192.0.2.1");
        assert_int_equal(address_count_add(a, "192.0.2.1", 2), 0);
        address_count_remove(a, "192.0.2.1");
        address_count_remove(a, "192.0.2.1");
        address_count_remove(a, "192.0.2.9"); /* never added */
        assert_int_equal(address_count_add(a, "192.0.2.1", 1), 0);
        assert_int_equal(address_count_add(a, "192.0.2.1", 1), -EUSERS);
        address_count_free(a);
}

static void loopback_is_not_counted(void **state) {
        struct address_count *a = address_count_new();
        assert_non_null(a);
        for (int i = 0; i < 5; i++) {
                assert_int_equal(address_count_add(a, "127.0.0.1", 1), 0);
                assert_int_equal(address_count_add(a, "127.9.9.9", 1), 0);
                assert_int_equal(address_count_add(a, "::1", 1), 0);
        }
        address_count_remove(a, "127.0.0.1");
        assert_null(address_count_free(a));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_address_has_its_own_limit),
                cmocka_unit_test(loopback_is_not_counted),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
