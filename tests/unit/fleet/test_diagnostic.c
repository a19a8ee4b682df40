/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "codec/json.h"
#include "fleet/diagnostic.h"

static struct position at(const char *file, uint32_t line, uint32_t column) {
        return (struct position){.file = file, .line = line, .column = column};
}

static void formatted_and_sorted(void **state) {
        _cleanup_(diagnostics_freep) struct diagnostics *d = diagnostics_new();
        struct position p = at("b.yaml", 2, 7);
        diagnostics_add(d, SEVERITY_ERROR, &p, "did you mean \"selector\"?", "unknown field \"%s\"",
                        "selectr");
        p = at("a.yaml", 10, 1);
        diagnostics_add(d, SEVERITY_WARNING, &p, NULL, "second");
        p = at("a.yaml", 9, 5);
        diagnostics_add(d, SEVERITY_ERROR, &p, NULL, "first");
        p = at("a.yaml", 10, 1);
        diagnostics_add(d, SEVERITY_ERROR, &p, NULL, "same place, later");
        p = at("c.yaml", 0, 0);
        diagnostics_add(d, SEVERITY_ERROR, &p, NULL, "too large");
        diagnostics_add(d, SEVERITY_ERROR, NULL, NULL, "no fleet at all");
        assert_int_equal(diagnostics_len(d), 6);
        assert_int_equal(diagnostics_errors(d), 5);
        diagnostics_sort(d);
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        diagnostics_format(d, &out);
        assert_string_equal(buf_str(&out),
                            "error: no fleet at all\n"
                            "a.yaml:9:5: error: first\n"
                            "a.yaml:10:1: warning: second\n"
                            "a.yaml:10:1: error: same place, later\n"
                            "b.yaml:2:7: error: unknown field \"selectr\" (did you mean \"selector\"?)\n"
                            "c.yaml: error: too large\n");
        assert_string_equal(diagnostics_at(d, 1)->message, "first");
        assert_null(diagnostics_at(d, 6));
}

static void as_json(void **state) {
        _cleanup_(diagnostics_freep) struct diagnostics *d = diagnostics_new();
        struct position p = at("a.yaml", 9, 5);
        diagnostics_add(d, SEVERITY_WARNING, &p, "quote it", "odd");
        diagnostics_add(d, SEVERITY_ERROR, NULL, NULL, "bytes \xff\xfe");
        _cleanup_json_ json_t *j = diagnostics_to_json(d);
        _cleanup_(x_freep) char *text = json_encode_compact(j);
        assert_string_equal(
                text,
                "[{\"severity\":\"warning\",\"file\":\"a.yaml\",\"line\":9,\"column\":5,\"message\":\"odd\","
                "\"suggestion\":\"quote it\"},{\"severity\":\"error\",\"file\":\"\",\"line\":0,\"column\":0,"
                "\"message\":\"the text here is not UTF-8\",\"suggestion\":null}]");
}

static void copies_what_it_is_given(void **state) {
        _cleanup_(diagnostics_freep) struct diagnostics *d = diagnostics_new();
        char file[] = "a.yaml", suggestion[] = "this";
        struct position p = at(file, 1, 1);
        diagnostics_add(d, SEVERITY_ERROR, &p, suggestion, "m");
        file[0] = suggestion[0] = '?';
        assert_string_equal(diagnostics_at(d, 0)->file, "a.yaml");
        assert_string_equal(diagnostics_at(d, 0)->suggestion, "this");
}

static void the_rest_is_counted(void **state) {
        _cleanup_(diagnostics_freep) struct diagnostics *d = diagnostics_new();
        for (int i = 0; i < 999; i++)
                diagnostics_add(d, SEVERITY_WARNING, NULL, NULL, "warning %d", i);
        for (int i = 0; i < 3; i++)
                diagnostics_add(d, SEVERITY_ERROR, NULL, NULL, "error %d", i);
        diagnostics_add(d, SEVERITY_WARNING, NULL, NULL, "one too many");
        assert_int_equal(diagnostics_len(d), 1000);
        assert_int_equal(diagnostics_errors(d), 3);
        /* Errors are shown before warnings are: they took the newest ones' places. */
        size_t errors = 0;
        for (size_t i = 0; i < diagnostics_len(d); i++)
                errors += diagnostics_at(d, i)->severity == SEVERITY_ERROR;
        assert_int_equal(errors, 3);
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        diagnostics_format(d, &out);
        assert_non_null(strstr(out.data, "\nand 3 more\n"));
        for (int i = 0; i < 5000; i++)
                diagnostics_add(d, SEVERITY_ERROR, NULL, NULL, "flood");
        assert_int_equal(diagnostics_len(d), 1000);
        assert_int_equal(diagnostics_errors(d), 5003);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(formatted_and_sorted),
                cmocka_unit_test(as_json),
                cmocka_unit_test(copies_what_it_is_given),
                cmocka_unit_test(the_rest_is_counted),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
