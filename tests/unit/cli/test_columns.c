/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "cli/columns.h"

static const struct column columns[] = {
        {"NAME", 0},
        {"FLEET", COLUMN_SHRINK},
        {"COUNT", COLUMN_RIGHT},
        {"EXTRA", COLUMN_OPTIONAL},
        {"LABELS", COLUMN_WIDE},
};

static struct columns *filled(void) {
        struct columns *t = columns_new(columns, ARRAY_SIZE(columns));
        assert_non_null(t);
        columns_cell(t, STYLE_NONE, "a");
        columns_cell(t, STYLE_GOOD, "shops-of-the-north");
        columns_cellf(t, STYLE_NONE, "%d", 7);
        columns_cell(t, STYLE_NONE, "x");
        columns_cell(t, STYLE_NONE, "k=v");
        columns_cell(t, STYLE_NONE, "long-name");
        columns_cell(t, STYLE_NONE, NULL);
        columns_cellf(t, STYLE_NONE, "%d", 12345);
        columns_cell(t, STYLE_NONE, "");
        columns_cell(t, STYLE_NONE, "m=n");
        return t;
}

static void assert_look(const struct columns *t, const struct columns_look *look, const char *expected) {
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        assert_int_equal(columns_print(t, look, &out), 0);
        assert_string_equal(buf_str(&out), expected);
}

static void test_as_wide_as_needed(void **state) {
        _cleanup_(columns_freep) struct columns *t = filled();
        assert_int_equal(columns_rows(t), 2);
        assert_look(t, &(struct columns_look){0},
                    "NAME       FLEET               COUNT  EXTRA\n"
                    "a          shops-of-the-north      7  x\n"
                    "long-name  -                   12345  -\n");
        assert_look(t, &(struct columns_look){.wide = true, .no_titles = true},
                    "a          shops-of-the-north      7  x  k=v\n"
                    "long-name  -                   12345  -  m=n\n");
}

static void test_fits_the_terminal(void **state) {
        _cleanup_(columns_freep) struct columns *t = filled();
        /* First the text column gives way, */
        assert_look(t, &(struct columns_look){.width = 38, .unicode = true},
                    "NAME       FLEET          COUNT  EXTRA\n"
                    "a          shops-of-the…      7  x\n"
                    "long-name  -              12345  -\n");
        /* then the optional one goes, */
        assert_look(t, &(struct columns_look){.width = 30},
                    "NAME       FLEET     COUNT\n"
                    "a          shops-o~      7\n"
                    "long-name  -         12345\n");
        /* then everything is cut, */
        assert_look(t, &(struct columns_look){.width = 16},
                    "NAME  FLE~  COU~\n"
                    "a     sho~     7\n"
                    "lon~  -     123~\n");
        /* and no width at all is survived. */
        for (size_t width = 1; width < 60; width++) {
                _cleanup_(buf_done) struct buf out = BUF_INIT;
                assert_int_equal(
                        columns_print(t, &(struct columns_look){.width = width, .unicode = true}, &out), 0);
                for (const char *p = buf_str(&out); width >= 13 && *p; p += strcspn(p, "\n") + 1)
                        assert_true(utf8_width(p, strcspn(p, "\n")) <= width);
        }
}

static void test_columns_count_what_is_seen(void **state) {
        static const struct column two[] = {{"A", 0}, {"B", 0}};
        _cleanup_(columns_freep) struct columns *t = columns_new(two, 2);
        columns_cell(t, STYLE_NONE, "日本"); /* two columns each */
        columns_cell(t, STYLE_NONE, "x");
        columns_cell(t, STYLE_BAD, "é");
        columns_cell(t, STYLE_NONE, "y");
        assert_look(t, &(struct columns_look){.colour = true},
                    "\x1b[2mA\x1b[0m     \x1b[2mB\x1b[0m\n日本  x\n\x1b[31mé\x1b[0m     y\n");
}

static void test_what_others_wrote_cannot_steer_the_terminal(void **state) {
        static const struct column one[] = {{"A", 0}};
        _cleanup_(columns_freep) struct columns *t = columns_new(one, 1);
        columns_cell(t, STYLE_NONE, "\x1b[2J\nfake row\t\x7f\xc2\x9b\xff");
        assert_look(t, &(struct columns_look){.no_titles = true}, "?[2J fake row ???\n");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_as_wide_as_needed),
                cmocka_unit_test(test_fits_the_terminal),
                cmocka_unit_test(test_columns_count_what_is_seen),
                cmocka_unit_test(test_what_others_wrote_cannot_steer_the_terminal),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
