/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "codec/value.h"
#include "codec/yaml.h"

static void every_type_has_a_name(void **state) {
        assert_string_equal(value_type_name(VALUE_NULL), "nothing");
        assert_string_equal(value_type_name(VALUE_BOOL), "true or false");
        assert_string_equal(value_type_name(VALUE_INT), "number");
        assert_string_equal(value_type_name(VALUE_FLOAT), "decimal number");
        assert_string_equal(value_type_name(VALUE_STRING), "text");
        assert_string_equal(value_type_name(VALUE_LIST), "list");
        assert_string_equal(value_type_name(VALUE_MAP), "map");
        assert_non_null(value_type_name((enum value_type)99));
}

static void get_finds_in_maps_alone(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct value **documents;
        size_t n;
        const char text[] = "a: 1\nb: {c: x}\nl: [a]\n";
        assert_int_equal(yaml_decode(a, "f", text, strlen(text), &documents, &n, NULL, NULL), 0);
        const struct value *v = documents[0];
        assert_int_equal(value_get(v, "a")->integer, 1);
        assert_string_equal(value_get(value_get(v, "b"), "c")->text, "x");
        assert_null(value_get(v, "c"));
        assert_null(value_get(value_get(v, "l"), "a"));
        assert_null(value_get(value_get(v, "a"), "a"));
        assert_null(value_get(NULL, "a"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_type_has_a_name),
                cmocka_unit_test(get_finds_in_maps_alone),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
