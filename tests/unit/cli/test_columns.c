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
        /* then the optional one goes, and what it leaves is made use of, */
        assert_look(t, &(struct columns_look){.width = 30},
                    "NAME       FLEET         COUNT\n"
                    "a          shops-of-th~      7\n"
                    "long-name  -             12345\n");
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

/* name, state, seen, message */
static void add_row(struct columns *t, const char *name, const char *state, const char *seen,
                    const char *message, const char *wide) {
        columns_cell(t, STYLE_NONE, name);
        columns_cell(t, STYLE_NONE, state);
        columns_cell(t, STYLE_NONE, seen);
        columns_cell(t, STYLE_NONE, message);
        columns_cell(t, STYLE_NONE, wide);
        columns_cell(t, STYLE_NONE, "-");
}
static const struct column node_like[] = {
        {"NAME", 0},
        {"STATE", COLUMN_OPTIONAL},
        {"SEEN", COLUMN_RIGHT | COLUMN_AGE},
        {"MESSAGE", COLUMN_TEXT},
        {"LABELS", COLUMN_WIDE},
        {"RELAY", COLUMN_WIDE},
};

static void test_sentences_are_worth_more_than_a_word(void **state) {
        _cleanup_(columns_freep) struct columns *t = columns_new(node_like, ARRAY_SIZE(node_like));
        add_row(t, "shop-1", "Failed", "now", "app web: connection refused on port 80", "a=b");
        assert_look(t, &(struct columns_look){.width = 46},
                    "NAME    STATE   SEEN  MESSAGE\n"
                    "shop-1  Failed   now  app web: connection ref~\n");
        assert_look(t, &(struct columns_look){.width = 40},
                    "NAME    SEEN  MESSAGE\n"
                    "shop-1   now  app web: connection refus~\n");
}

static void test_wide_tables_fit_too(void **state) {
        _cleanup_(columns_freep) struct columns *t = columns_new(node_like, ARRAY_SIZE(node_like));
        _cleanup_(buf_done) struct buf out = BUF_INIT, left_out = BUF_INIT;
        add_row(t, "shop-1", "Failed", "now", "-", "site=kiel,role=shop");
        add_row(t, "shop-2", "Healthy", "now", "-", "site=ulm");
        /* Columns that hold nothing go first, and nobody misses them; */
        assert_look(t, &(struct columns_look){.width = 42, .wide = true},
                    "NAME    STATE    SEEN  LABELS\n"
                    "shop-1  Failed    now  site=kiel,role=shop\n"
                    "shop-2  Healthy   now  site=ulm\n");
        /* of others it is told. */
        buf_puts(&left_out, "");
        assert_int_equal(
                columns_print(t, &(struct columns_look){.width = 41, .wide = true, .left_out = &left_out},
                              &out),
                0);
        assert_string_equal(buf_str(&out), "NAME    STATE    SEEN\n"
                                           "shop-1  Failed    now\n"
                                           "shop-2  Healthy   now\n");
        assert_string_equal(buf_str(&left_out), "LABELS");
}

static void test_a_table_that_goes_on(void **state) {
        size_t widths[ARRAY_SIZE(node_like)] = {0};
        struct columns_look look = {.widths = widths, .width = 60};
        _cleanup_(columns_freep) struct columns *first = columns_new(node_like, ARRAY_SIZE(node_like)),
                                                *second = columns_new(node_like, ARRAY_SIZE(node_like)),
                                                *third = columns_new(node_like, ARRAY_SIZE(node_like));
        add_row(first, "shop-1", "Healthy", "now", "-", "");
        add_row(second, "shop-2", "Failed", "5m", "a message", "");
        add_row(third, "shop-3", "Confirming", "now", "-", "");
        assert_look(first, &look,
                    "NAME    STATE    SEEN  MESSAGE\n"
                    "shop-1  Healthy   now  -\n");
        look.only_changes = true;
        assert_look(second, &look, "shop-2  Failed     5m  a message\n");
        /* Columns that have to move get their titles again. */
        assert_look(third, &look,
                    "NAME    STATE       SEEN  MESSAGE\n"
                    "shop-3  Confirming   now  -\n");
        assert_look(first, &look, "shop-1  Healthy      now  -\n");
        look.no_titles = true;
        assert_look(second, &look, "shop-2  Failed        5m  a message\n");
}

static void test_rows_that_say_the_same(void **state) {
        _cleanup_(columns_freep) struct columns *t = columns_new(node_like, ARRAY_SIZE(node_like));
        add_row(t, "shop-1", "Away", "5m", "-", "a=b");
        add_row(t, "shop-1", "Away", "6m", "-", "a=c");
        add_row(t, "shop-1", "Healthy", "6m", "-", "a=c");
        _cleanup_(x_freep) char *a = columns_row_text(t, 0, false), *b = columns_row_text(t, 1, false),
                                *c = columns_row_text(t, 2, false), *wide = columns_row_text(t, 1, true),
                                *before = columns_row_text(t, 0, true), *none = columns_row_text(t, 3, false);
        assert_string_equal(a, b); /* time goes by */
        assert_string_not_equal(b, c);
        assert_string_not_equal(before, wide);
        assert_string_equal(none, "");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_as_wide_as_needed),
                cmocka_unit_test(test_fits_the_terminal),
                cmocka_unit_test(test_sentences_are_worth_more_than_a_word),
                cmocka_unit_test(test_wide_tables_fit_too),
                cmocka_unit_test(test_a_table_that_goes_on),
                cmocka_unit_test(test_rows_that_say_the_same),
                cmocka_unit_test(test_columns_count_what_is_seen),
                cmocka_unit_test(test_what_others_wrote_cannot_steer_the_terminal),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
