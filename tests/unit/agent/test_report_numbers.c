/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/report_numbers.h"
#include "agent/status.h"
#include "base/fs.h"
#include "base/str.h"
#include "codec/json.h"

static int make(void **state) {
        char folder[] = "/tmp/skerry-numbers-XXXXXX";
        assert_non_null(mkdtemp(folder));
        *state = str_dup(folder);
        return 0;
}

static int release(void **state) {
        assert_int_equal(path_remove(*state, NULL), 0);
        free(*state);
        return 0;
}

static struct report_numbers *open_in(const char *folder) {
        _cleanup_(x_freep) char *path = path_join(folder, "report-numbers");
        struct report_numbers *n = NULL;
        assert_int_equal(report_numbers_open(path, &n, NULL), 0);
        return n;
}

static void test_numbers_rise_over_restarts(void **state) {
        int64_t last = 0;
        for (int start = 0; start < 4; start++) {
                struct report_numbers *n = open_in(*state);
                assert_int_equal(report_numbers_are_known(n), start > 0);
                for (int i = 0; i < 2 * REPORT_NUMBERS_AT_ONCE; i += start == 1 ? 1 : 700) {
                        int64_t next = report_numbers_next(n);
                        assert_true(next > last);
                        last = next;
                }
                report_numbers_free(n); /* as a kill: nothing is written at the end */
        }
}

static void test_a_damaged_file_is_none(void **state) {
        static const char *const texts[] = {"", "x", "-5\n", "9223372036854775807\n", "12x\n"};
        _cleanup_(x_freep) char *path = path_join(*state, "report-numbers");
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                assert_int_equal(file_write_atomic(path, texts[i], strlen(texts[i]), 0600, NULL), 0);
                struct report_numbers *n = open_in(*state);
                assert_false(report_numbers_are_known(n));
                assert_int_equal(report_numbers_next(n), 1);
                report_numbers_free(n);
        }
}

static void test_numbers_rise_without_a_disk(void **state) {
        _cleanup_(x_freep) char *nowhere = path_join(*state, "absent/report-numbers");
        struct report_numbers *n = NULL;
        assert_int_equal(report_numbers_open(nowhere, &n, NULL), 0);
        assert_int_equal(report_numbers_next(n), 1);
        assert_int_equal(report_numbers_next(n), 2);
        report_numbers_free(n);
}

static void test_a_report_is_signed(void **state) {
        _cleanup_(key_freep) struct key *key = NULL;
        _cleanup_(x_freep) char *text = NULL;
        _cleanup_json_ json_t *status = json_pack("{s:i, s:s}", "seq", 7, "state", "Healthy"), *report = NULL;
        _cleanup_(buf_done) struct buf covered = BUF_INIT;
        assert_int_equal(key_generate(&key, NULL), 0);
        assert_int_equal(status_sign(status, "shop-1", key, "0a1b", &text), 0);
        assert_int_equal(json_decode(text, strlen(text), &report, NULL), 0);
        const json_t *said = json_object_get(report, "signed"),
                     *signature = json_object_get(report, "signature");
        assert_string_equal(json_string_value(json_object_get(said, "node")), "shop-1");
        assert_string_equal(json_string_value(json_object_get(said, "_type")), "status");
        assert_string_equal(json_string_value(json_object_get(signature, "serial")), "0a1b");
        const char *sig = json_string_value(json_object_get(signature, "sig"));
        assert_int_equal(json_encode_canonical(said, &covered, NULL), 0);
        assert_int_equal(key_verify(key, covered.data, covered.len, sig, NULL), 0);
        covered.data[covered.len - 2] ^= 1;
        assert_int_equal(key_verify(key, covered.data, covered.len, sig, NULL), -EKEYREJECTED);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_numbers_rise_over_restarts, make, release),
                cmocka_unit_test_setup_teardown(test_a_damaged_file_is_none, make, release),
                cmocka_unit_test_setup_teardown(test_numbers_rise_without_a_disk, make, release),
                cmocka_unit_test(test_a_report_is_signed),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
