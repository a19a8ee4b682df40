/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

static void empty_is_an_empty_string(void **state) {
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        assert_string_equal(buf_str(&b), "");
        buf_consume(&b, 5);
        buf_clear(&b);
        size_t len = 1;
        _cleanup_(x_freep) char *taken = buf_take(&b, &len);
        assert_string_equal(taken, "");
        assert_int_equal(len, 0);
}

static void appends_are_terminated(void **state) {
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        assert_int_equal(buf_puts(&b, "abc"), 0);
        assert_int_equal(buf_putc(&b, '-'), 0);
        assert_int_equal(buf_append(&b, "x\0y", 3), 0);
        assert_int_equal(buf_printf(&b, "%d", 42), 0);
        assert_int_equal(b.len, 9);
        assert_memory_equal(b.data, "abc-x\0y42", 10);
        assert_int_equal(buf_append(&b, NULL, 0), 0);
        assert_int_equal(b.len, 9);
}

static void grows_over_many_appends(void **state) {
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        size_t moves = 0;
        const char *before = NULL;
        for (int i = 0; i < 100000; i++) {
                assert_int_equal(buf_putc(&b, (char)('a' + i % 26)), 0);
                moves += b.data != before;
                before = b.data;
        }
        assert_int_equal(b.len, 100000);
        for (int i = 0; i < 100000; i++)
                assert_int_equal(b.data[i], 'a' + i % 26);
        assert_in_range(moves, 1, 30); /* doubling, not one allocation an append */
}

static void print_longer_than_the_room(void **state) {
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        for (int n = 0; n < 200; n++) {
                buf_clear(&b);
                assert_int_equal(buf_puts(&b, "<"), 0);
                assert_int_equal(buf_printf(&b, "%*s>", n, ""), 0);
                assert_int_equal(b.len, n + 2);
                assert_int_equal(strlen(b.data), n + 2);
                assert_int_equal(b.data[b.len - 1], '>');
        }
}

static void limit_holds_and_leaves_contents(void **state) {
        _cleanup_(buf_done) struct buf b = {.limit = 8};
        assert_int_equal(buf_puts(&b, "12345678"), 0);
        assert_int_equal(buf_failed(&b), 0);
        assert_int_equal(buf_putc(&b, '9'), -EMSGSIZE);
        assert_string_equal(buf_str(&b), "12345678");
        assert_int_equal(buf_failed(&b), -EMSGSIZE);
        buf_clear(&b);
        assert_int_equal(buf_failed(&b), 0);
        assert_int_equal(buf_puts(&b, "1234"), 0);
        assert_int_equal(buf_printf(&b, "%s", "56789"), -EMSGSIZE);
        assert_string_equal(buf_str(&b), "1234");
}

/* A gap in the middle of a message would be worse than its end missing. */
static void nothing_is_appended_after_a_failure(void **state) {
        _cleanup_(buf_done) struct buf b = {.limit = 4};
        assert_int_equal(buf_puts(&b, "ab"), 0);
        assert_int_equal(buf_puts(&b, "too long"), -EMSGSIZE);
        assert_int_equal(buf_putc(&b, 'c'), -EMSGSIZE);
        assert_int_equal(buf_printf(&b, "d"), -EMSGSIZE);
        assert_string_equal(buf_str(&b), "ab");
        assert_null(buf_take(&b, NULL));
}

static void absurd_sizes_do_not_overflow(void **state) {
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        assert_int_equal(buf_puts(&b, "ab"), 0);
        assert_int_equal(buf_reserve(&b, SIZE_MAX), -EMSGSIZE);
        buf_clear(&b);
        assert_int_equal(buf_reserve(&b, SIZE_MAX - 2), -EMSGSIZE);
        buf_clear(&b);
        b.limit = SIZE_MAX;
        assert_int_equal(buf_puts(&b, "ab"), 0);
        assert_int_equal(buf_reserve(&b, SIZE_MAX - 2), -EMSGSIZE);
        assert_string_equal(buf_str(&b), "ab");
}

static void consume_drops_at_the_front(void **state) {
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        buf_puts(&b, "abcdef");
        buf_consume(&b, 2);
        assert_string_equal(buf_str(&b), "cdef");
        buf_consume(&b, 0);
        assert_string_equal(buf_str(&b), "cdef");
        buf_consume(&b, 99);
        assert_string_equal(buf_str(&b), "");
        assert_int_equal(b.len, 0);
        buf_puts(&b, "again");
        assert_string_equal(buf_str(&b), "again");
}

static void take_empties_and_keeps_the_limit(void **state) {
        _cleanup_(buf_done) struct buf b = {.limit = 10};
        buf_puts(&b, "abc");
        size_t len = 0;
        _cleanup_(x_freep) char *taken = buf_take(&b, &len);
        assert_string_equal(taken, "abc");
        assert_int_equal(len, 3);
        assert_int_equal(b.len, 0);
        assert_int_equal(buf_puts(&b, "12345678901"), -EMSGSIZE);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(empty_is_an_empty_string),
                cmocka_unit_test(appends_are_terminated),
                cmocka_unit_test(grows_over_many_appends),
                cmocka_unit_test(print_longer_than_the_room),
                cmocka_unit_test(limit_holds_and_leaves_contents),
                cmocka_unit_test(nothing_is_appended_after_a_failure),
                cmocka_unit_test(absurd_sizes_do_not_overflow),
                cmocka_unit_test(consume_drops_at_the_front),
                cmocka_unit_test(take_empties_and_keeps_the_limit),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
