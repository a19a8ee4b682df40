/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
/* */
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "fleet/kinds.h"

static void test_bytes(void **state) {
        static const struct {
                const char *text;
                int result;
                int64_t bytes;
        } cases[] = {
                {"1", 0, 1},
                {"64Mi", 0, 64 << 20},
                {"1.5Gi", 0, 3LL << 29},
                {"2k", 0, 2000},
                {"1T", 0, 1000000000000},
                {"", -EINVAL, 0},
                {"Mi", -EINVAL, 0},
                {"1.", -EINVAL, 0},
                {"1.3", -EINVAL, 0},
                {"1 Mi", -EINVAL, 0},
                {"-1", -EINVAL, 0},
                {"1mi", -EINVAL, 0},
                {"1.5k", 0, 1500},
                {"99999999999999999999", -ERANGE, 0},
                {"99999999999Ti", -ERANGE, 0},
                {"0.00000000000000000000001Ti", -ERANGE, 0},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                int64_t bytes = -7;
                assert_int_equal(schema_parse_bytes(cases[i].text, &bytes), cases[i].result);
                assert_int_equal(bytes, cases[i].result == 0 ? cases[i].bytes : -7);
        }
}

static void test_cpu(void **state) {
        int64_t millis = 0;
        assert_int_equal(schema_parse_cpu("500m", &millis), 0);
        assert_int_equal(millis, 500);
        assert_int_equal(schema_parse_cpu("1.25", &millis), 0);
        assert_int_equal(millis, 1250);
        assert_int_equal(schema_parse_cpu("0.0001", &millis), -EINVAL);
        assert_int_equal(schema_parse_cpu("1u", &millis), -EINVAL);
        assert_int_equal(millis, 1250);
}

static void test_source_positions(void **state) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(0);
        static const char text[] = "one\nb: \"x ${a} $${b}\n  ${c}\"\n";
        struct source s;
        assert_int_equal(source_init(&s, arena, "f", text, sizeof text - 1), 0);
        struct position p = source_position(&s, 0);
        assert_true(p.line == 1 && p.column == 1);
        p = source_position(&s, 4);
        assert_true(p.line == 2 && p.column == 1);
        p = source_position(&s, 10000);
        assert_int_equal(p.line, 4);
        /* The third opening of the folded scalar. */
        const struct position scalar = {"f", 2, 4};
        const char *decoded = "x ${a} $${b} ${c}";
        p = source_reference(&s, &scalar, decoded, (size_t)(strstr(decoded, "${c}") - decoded));
        assert_true(p.line == 3 && p.column == 3);
        const struct position nowhere = {"f", 99, 1};
        p = source_reference(&s, &nowhere, decoded, 2);
        assert_int_equal(p.line, 99);
}

/* The page is printed from the tables: SKERRY_WRITE_EXPECTED=1 in the environment writes it anew. */
static void test_reference_page(void **state) {
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        _cleanup_(x_freep) char *page = NULL;
        size_t len = 0;

        kinds_write_reference(&out);
        assert_int_equal(buf_failed(&out), 0);
        if (getenv("SKERRY_WRITE_EXPECTED"))
                assert_int_equal(file_write_atomic(REFERENCE_PAGE, buf_str(&out), out.len, 0644, NULL), 0);
        assert_int_equal(file_read(REFERENCE_PAGE, 1u << 20, &page, &len, NULL), 0);
        assert_string_equal(page, buf_str(&out));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_bytes),
                cmocka_unit_test(test_cpu),
                cmocka_unit_test(test_source_positions),
                cmocka_unit_test(test_reference_page),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
