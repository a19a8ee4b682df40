/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "cli/style.h"

static void test_cut(void **state) {
        static const struct {
                const char *text;
                size_t columns;
                const char *expected;
        } cases[] = {
                {"", 0, ""},      {"abc", 3, "abc"},       {"abcd", 3, "ab…"},     {"abcd", 1, "…"},
                {"abcd", 0, ""},  {"日本語", 6, "日本語"}, {"日本語", 5, "日本…"}, {"日本語", 4, "日…"},
                {"éàü", 2, "é…"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(buf_done) struct buf b = BUF_INIT;
                text_put_cut(&b, cases[i].text, cases[i].columns, true);
                assert_string_equal(buf_str(&b), cases[i].expected);
        }
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        text_put_cut(&b, "abcd", 3, false);
        assert_string_equal(buf_str(&b), "ab~");
}

static void test_safe(void **state) {
        static const char *const cases[][2] = {
                {"plain ü 日", "plain ü 日"}, {"a\r\nb\tc", "a  b c"},   {"\x1b[31m", "?[31m"},
                {"\xe2\x82", "??"},           {"\xc2\x85next", "?next"}, {"\xed\xa0\x80", "???"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(buf_done) struct buf b = BUF_INIT;
                text_put_safe(&b, cases[i][0]);
                assert_string_equal(buf_str(&b), cases[i][1]);
        }
}

static void wrapped(const char *text, size_t at, size_t indent, size_t width, const char *expected) {
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        buf_puts(&b, "");
        text_put_wrapped(&b, text, at, indent, width);
        assert_string_equal(buf_str(&b), expected);
}

static void test_wrapped(void **state) {
        wrapped("one two three", 0, 0, 0, "one two three");
        wrapped("", 5, 5, 40, "");
        wrapped("one two three four five six seven eight nine", 6, 6, 40,
                "one two three four five six seven\n      eight nine");
        /* What ends at the edge is not broken; */
        wrapped("one two three four five six seven 12345678", 0, 4, 42,
                "one two three four five six seven 12345678");
        /* the first word goes to the next line where it does not fit behind what is there; */
        wrapped("sevenandthirty is long", 35, 4, 40, "\n    sevenandthirty is long");
        /* a word longer than the line stays whole; */
        wrapped("a 0123456789012345678901234567890123456789 b", 0, 2, 30,
                "a\n  0123456789012345678901234567890123456789\n  b");
        /* columns count, not bytes; blanks inside stay, those at a break and at the end go; */
        wrapped("日本語 日本語  x ", 0, 0, 16, "日本語 日本語  x");
        wrapped("日本語 日本語  x", 0, 0, 15, "日本語 日本語\nx");
        /* on a narrow terminal the indent gives way. */
        wrapped("one two three four five six seven", 33, 33, 40, "one two\n     three four five six seven");
}

static void test_dressed_only_with_colour(void **state) {
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        style_puts(&b, false, STYLE_BAD, "x");
        style_puts(&b, true, STYLE_NONE, "y");
        style_puts(&b, true, STYLE_BAD, "");
        style_printf(&b, true, STYLE_BAD, "%d", 7);
        assert_string_equal(buf_str(&b), "xy\x1b[31m7\x1b[0m");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_cut),
                cmocka_unit_test(test_safe),
                cmocka_unit_test(test_wrapped),
                cmocka_unit_test(test_dressed_only_with_colour),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
