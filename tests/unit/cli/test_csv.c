/* SPDX-License-Identifier: Apache-2.0 */
/* Comma-separated values: RFC 4180's forms, what spreadsheets make of them, and what is none. */
#include "cli/csv.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"

/* The next record's fields, joined by '|'. */
static void expect(struct csv_reader *r, const char *joined, size_t line) {
        _cleanup_(strv_freep) char **fields = NULL;
        char text[512] = "";
        _cleanup_(err_freep) struct err *err = NULL;
        if (csv_next(r, &fields, &err) != 1)
                fail_msg("%s", err ? err_message(err) : "the end");
        for (size_t i = 0; fields[i]; i++) {
                strcat(text, i ? "|" : "");
                strcat(text, fields[i]);
        }
        assert_string_equal(text, joined);
        assert_int_equal(r->line, line);
}

static void expect_end(struct csv_reader *r) {
        char **fields = NULL;
        assert_int_equal(csv_next(r, &fields, NULL), 0);
        assert_null(fields);
}

static void test_forms(void **state) {
        static const char text[] =
                "\xef\xbb\xbfname,site\r\na,kiel\n\n\r\nb,\n,c\n\"d, \"\"e\"\"\",\"f\ng\"\nh,i";
        struct csv_reader r;
        csv_init(&r, text, sizeof(text) - 1);
        expect(&r, "name|site", 1);
        expect(&r, "a|kiel", 2);
        expect(&r, "b|", 5);
        expect(&r, "|c", 6);
        expect(&r, "d, \"e\"|f\ng", 7);
        expect(&r, "h|i", 9);
        expect_end(&r);
        csv_init(&r, "", 0);
        expect_end(&r);
        csv_init(&r, "\n\r\n\n", 4);
        expect_end(&r);
}

static void refuse(const char *text, size_t len, const char *words) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct csv_reader r;
        char **fields = NULL;
        csv_init(&r, text, len);
        int k;
        while ((k = csv_next(&r, &fields, &err)) == 1)
                fields = strv_free(fields);
        assert_int_equal(k, -EINVAL);
        if (!strstr(err_message(err), words))
                fail_msg("%s", err_message(err));
}

static void test_none(void **state) {
        refuse("a\n\"b\nc", 6, "line 2: the quote that begins there does not end");
        refuse("a\n\"b\"c\n", 7, "line 2: a comma or the end of the line must follow");
        refuse("a\nb\"c\n", 6, "line 2: a quote within a field");
        refuse("a\nb\0c\n", 6, "line 2: a NUL");
        char many[CSV_FIELDS_MAX + 8];
        memset(many, ',', sizeof(many));
        refuse(many, sizeof(many), "line 1: more than 256 fields");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_forms),
                cmocka_unit_test(test_none),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
