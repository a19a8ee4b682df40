/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "codec/json.h"
#include "fleet/labels.h"

static int setup(void **state) {
        *state = arena_new(0);
        return *state ? 0 : -1;
}
static int teardown(void **state) {
        arena_free(*state);
        return 0;
}

static struct pairs from_text(struct arena *arena, const char *text) {
        _cleanup_json_ json_t *j = NULL;
        struct pairs p;
        assert_int_equal(json_decode(text, strlen(text), &j, NULL), 0);
        assert_int_equal(pairs_from_json(arena, j, NULL, NULL, &p, NULL), 0);
        return p;
}

static void assert_pairs(const struct pairs *p, const char *expected) {
        _cleanup_json_ json_t *j = pairs_to_json(p);
        _cleanup_(x_freep) char *text = json_encode_compact(j);
        assert_string_equal(text, expected);
}

static void sorted_and_found(void **state) {
        struct pairs p = from_text(*state, "{\"b\":\"2\",\"c\":\"3\",\"a\":\"1\"}");
        assert_pairs(&p, "{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}");
        assert_string_equal(pairs_get(&p, "a"), "1");
        assert_string_equal(pairs_get(&p, "c"), "3");
        assert_null(pairs_get(&p, ""));
        assert_null(pairs_get(&p, "bb"));
        assert_null(pairs_get(&p, "z"));
        struct pairs none = {0};
        assert_null(pairs_get(&none, "a"));
        assert_pairs(&none, "{}");
}

static void merging(void **state) {
        struct pairs a = from_text(*state, "{\"a\":\"1\",\"c\":\"3\",\"d\":\"4\"}");
        struct pairs b = from_text(*state, "{\"b\":\"x\",\"c\":\"y\",\"z\":\"\"}");
        struct pairs none = {0}, m;
        assert_int_equal(pairs_merge(*state, &a, &b, &m), 0);
        assert_pairs(&m, "{\"a\":\"1\",\"b\":\"x\",\"c\":\"y\",\"d\":\"4\",\"z\":\"\"}");
        assert_int_equal(pairs_merge(*state, &none, &a, &m), 0);
        assert_true(pairs_equal(&m, &a));
        assert_int_equal(pairs_merge(*state, &a, &none, &m), 0);
        assert_true(pairs_equal(&m, &a));
        assert_int_equal(pairs_merge(*state, &none, &none, &m), 0);
        assert_int_equal(m.n, 0);
        _cleanup_(arena_freep) struct arena *full = arena_new(40);
        m.n = 77;
        assert_int_equal(pairs_merge(full, &a, &b, &m), -ENOMEM);
        assert_int_equal(m.n, 77);
}

static void equality(void **state) {
        struct pairs a = from_text(*state, "{\"a\":\"1\",\"b\":\"2\"}"),
                     same = from_text(*state, "{\"b\":\"2\",\"a\":\"1\"}"),
                     other = from_text(*state, "{\"a\":\"1\",\"b\":\"3\"}"),
                     key = from_text(*state, "{\"a\":\"1\",\"c\":\"2\"}"),
                     less = from_text(*state, "{\"a\":\"1\"}");
        assert_true(pairs_equal(&a, &same));
        assert_false(pairs_equal(&a, &other));
        assert_false(pairs_equal(&a, &key));
        assert_false(pairs_equal(&a, &less));
}

static void copies_stand_alone(void **state) {
        struct arena *first = arena_new(0);
        struct pairs a = from_text(first, "{\"a\":\"1\",\"b\":\"2\"}"), copy;
        assert_int_equal(pairs_copy(*state, &a, &copy), 0);
        arena_free(first);
        assert_pairs(&copy, "{\"a\":\"1\",\"b\":\"2\"}");
}

static void refused(void **state, const char *text, const char *words) {
        _cleanup_json_ json_t *j = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        struct pairs p = {.n = 77};
        assert_int_equal(json_decode(text, strlen(text), &j, NULL), 0);
        assert_int_equal(pairs_from_json(*state, j, label_key_is_valid, label_value_is_valid, &p, &err),
                         -EINVAL);
        if (!strstr(err_message(err), words))
                fail_msg("%s: %s", text, err_message(err));
        assert_int_equal(p.n, 77);
}

static void json_is_checked(void **state) {
        refused(state, "[]", "expected an object");
        refused(state, "null", "expected an object");
        refused(state, "{\"a\":1}", "a: expected text");
        refused(state, "{\"ok\":\"x\",\"a b\":\"x\"}", "\"a b\" is not a valid name");
        refused(state, "{\"a\":\"x/y\"}", "a: \"x/y\" is not a valid value");
        struct pairs p = {.n = 77};
        assert_int_equal(pairs_from_json(*state, NULL, NULL, NULL, &p, NULL), 0);
        assert_int_equal(p.n, 0);
        _cleanup_json_ json_t *many = json_object();
        char key[16];
        for (int i = 0; i < PAIRS_MAX; i++) {
                (void)snprintf(key, sizeof(key), "k%d", i);
                json_object_set_new(many, key, json_string("v"));
        }
        assert_int_equal(pairs_from_json(*state, many, NULL, NULL, &p, NULL), 0);
        assert_int_equal(p.n, PAIRS_MAX);
        json_object_set_new(many, "more", json_string("v"));
        assert_int_equal(pairs_from_json(*state, many, NULL, NULL, &p, NULL), -EINVAL);
        _cleanup_json_ json_t *nul = json_pack("{s:s#}", "a", "x\0y", 3);
        assert_int_equal(pairs_from_json(*state, nul, NULL, NULL, &p, NULL), -EINVAL);
}

static char *repeat(struct arena *arena, char c, size_t n) {
        char *s = arena_alloc(arena, n + 1);
        memset(s, c, n);
        return s;
}

static void names_and_values(void **state) {
        static const char *const keys[] = {"a", "9", "site", "example.org/site", "a.b_c-d/e", "A"};
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
                assert_true(label_key_is_valid(keys[i]));
        static const char *const not_keys[] = {"",    "-a",  "a-",       "/a",  "a/", ".a",
                                               "a b", "a=b", "\xc3\xa4", "a\n", "a,b"};
        for (size_t i = 0; i < ARRAY_SIZE(not_keys); i++)
                assert_false(label_key_is_valid(not_keys[i]));
        assert_true(label_key_is_valid(repeat(*state, 'a', 253)));
        assert_false(label_key_is_valid(repeat(*state, 'a', 254)));
        assert_false(label_key_is_valid(NULL));

        assert_true(label_value_is_valid(""));
        assert_true(label_value_is_valid("kiel-1.x_Y"));
        assert_false(label_value_is_valid("a/b"));
        assert_false(label_value_is_valid("-a"));
        assert_false(label_value_is_valid("a."));
        assert_false(label_value_is_valid("a b"));
        assert_true(label_value_is_valid(repeat(*state, 'a', 63)));
        assert_false(label_value_is_valid(repeat(*state, 'a', 64)));
        assert_false(label_value_is_valid(NULL));

        assert_true(variable_name_is_valid("port"));
        assert_true(variable_name_is_valid("_P0"));
        assert_false(variable_name_is_valid(""));
        assert_false(variable_name_is_valid("0a"));
        assert_false(variable_name_is_valid("a-b"));
        assert_false(variable_name_is_valid("a.b"));
        assert_false(variable_name_is_valid(repeat(*state, 'a', 254)));
        assert_false(variable_name_is_valid(NULL));

        assert_true(variable_value_is_valid(""));
        assert_true(variable_value_is_valid("any text\nat all ${x}"));
        assert_true(variable_value_is_valid(repeat(*state, 'a', 4096)));
        assert_false(variable_value_is_valid(repeat(*state, 'a', 4097)));
        assert_false(variable_value_is_valid(NULL));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(sorted_and_found, setup, teardown),
                cmocka_unit_test_setup_teardown(merging, setup, teardown),
                cmocka_unit_test_setup_teardown(equality, setup, teardown),
                cmocka_unit_test_setup_teardown(copies_stand_alone, setup, teardown),
                cmocka_unit_test_setup_teardown(json_is_checked, setup, teardown),
                cmocka_unit_test_setup_teardown(names_and_values, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
