/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/str.h"
#include "relay/revocations.h"

static char *folder, *path;

static int make_folder(void **state) {
        char template[] = "/tmp/skerry-test-revoked-XXXXXX";
        if (!mkdtemp(template))
                return -1;
        folder = strdup(template);
        path = path_join(folder, "revoked.json");
        return folder && path ? 0 : -1;
}

static int remove_folder(void **state) {
        int r = path_remove(folder, NULL);
        free(folder);
        free(path);
        return r;
}

static void test_remembered(void **state) {
        {
                _cleanup_(revocations_freep) struct revocations *r = NULL;
                assert_int_equal(revocations_open(path, &r, NULL), 0);
                assert_false(revocations_have(r, "shop-1"));
                assert_int_equal(revocations_add(r, "shop-1", 1000, NULL), 0);
                assert_int_equal(revocations_add(r, "shop-2", 2000, NULL), 0);
                assert_int_equal(revocations_add(r, "shop-2", 3000, NULL), 0);
                assert_int_equal(revocations_len(r), 2);
                assert_int_equal(revocations_add_serial(r, "0a", 4000, NULL), 0);
                assert_false(revocations_have(r, "0a"));
                assert_false(revocations_have_serial(r, "shop-1"));
        }
        {
                _cleanup_(revocations_freep) struct revocations *r = NULL;
                assert_int_equal(revocations_open(path, &r, NULL), 0);
                assert_true(revocations_have(r, "shop-1"));
                assert_int_equal(revocations_remove(r, "shop-1", NULL), 0);
                assert_int_equal(revocations_remove(r, "never-there", NULL), 0);
        }
        _cleanup_(revocations_freep) struct revocations *r = NULL;
        assert_int_equal(revocations_open(path, &r, NULL), 0);
        assert_false(revocations_have(r, "shop-1"));
        assert_true(revocations_have(r, "shop-2"));
        assert_true(revocations_have_serial(r, "0a"));
        assert_false(revocations_have_serial(r, NULL));
}

static void test_a_damaged_file_is_not_an_empty_one(void **state) {
        static const char *const damage[] = {
                "", "{", "[]", "{}", "{\"nodes\":[]}", "{\"nodes\":{},\"serials\":1}"};
        for (size_t i = 0; i < ARRAY_SIZE(damage); i++) {
                struct revocations *r = NULL;
                _cleanup_(err_freep) struct err *err = NULL;
                assert_int_equal(file_write_atomic(path, damage[i], strlen(damage[i]), 0600, NULL), 0);
                assert_true(revocations_open(path, &r, &err) < 0);
                assert_non_null(strstr(err_message(err), path));
                assert_null(r);
        }
}

static void test_a_full_disk_does_not_let_a_node_in(void **state) {
        _cleanup_(revocations_freep) struct revocations *r = NULL;
        assert_int_equal(revocations_open("/nonexistent/revoked.json", &r, NULL), 0);
        assert_true(revocations_add(r, "shop-1", 1, NULL) < 0);
        assert_true(revocations_have(r, "shop-1"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_remembered, make_folder, remove_folder),
                cmocka_unit_test_setup_teardown(test_a_damaged_file_is_not_an_empty_one, make_folder,
                                                remove_folder),
                cmocka_unit_test(test_a_full_disk_does_not_let_a_node_in),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
