/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "codec/json.h"
#include "codec/yaml.h"

static json_t *decoded(const char *text) {
        _cleanup_(err_freep) struct err *err = NULL;
        json_t *j = NULL;
        if (json_decode(text, strlen(text), &j, &err) < 0)
                fail_msg("%s: %s", text, err_message(err));
        return j;
}

static void refused(const char *text, size_t len, const char *words) {
        _cleanup_(err_freep) struct err *err = NULL;
        json_t *j = (json_t *)&err;
        if (json_decode(text, len, &j, &err) != -EINVAL)
                fail_msg("taken: %s", text);
        assert_ptr_equal(j, &err);
        if (!strstr(err_message(err), words))
                fail_msg("%s: \"%s\" does not say \"%s\"", text, err_message(err), words);
        assert_int_equal(json_decode(text, len, &j, NULL), -EINVAL);
}
#define REFUSED(text, words) refused(text, sizeof(text) - 1, words)

static void decode_takes_one_text(void **state) {
        _cleanup_json_ json_t *j = decoded(" {\"a\":[1,-2,true,null,\"x\"]} \n");
        assert_int_equal(json_array_size(json_object_get(j, "a")), 5);
        _cleanup_json_ json_t *scalar = decoded("\"text\"");
        assert_string_equal(json_string_value(scalar), "text");
        _cleanup_json_ json_t *big = decoded("[9223372036854775807,-9223372036854775808]");
        assert_true(json_integer_value(json_array_get(big, 1)) == INT64_MIN);
}

static void decode_refuses(void **state) {
        REFUSED("", "line 1 column 1");
        REFUSED("{\"a\":1} x", "line 1 column 9");
        REFUSED("{}{}", "end of file expected");
        REFUSED("{\"a\":1,\n \"a\":2}", "line 2");
        REFUSED("{\"a\":1,\n \"a\":2}", "duplicate");
        REFUSED("{\"a\":\"x\\u0000y\"}", "\\u0000");
        REFUSED("{\"x\\u0000y\":1}", "\\u0000");
        REFUSED("[\"a\0b\"]", "line 1");
        REFUSED("[1,]", "line 1 column 4");
        REFUSED("[1\n,2\n,x]", "line 3 column 2");
        REFUSED("[9223372036854775808]", "integer");
        REFUSED("[1e999]", "overflow");
        REFUSED("[\"\xc3(\"]", "byte 0xc3");
        REFUSED("[\"\xed\xa0\x80\"]", "byte 0xed");
        REFUSED("[\"\\ud800\"]", "line 1");
        REFUSED("[\"a\nb\"]", "line 1");
        REFUSED("{a:1}", "line 1 column 2");
        REFUSED("['a']", "line 1 column 2");
        REFUSED("[01]", "line 1");
        REFUSED("[NaN]", "line 1");
        REFUSED("\xef\xbb\xbf{}", "line 1");
}

static void decode_bounds_depth(void **state) {
        char text[200];
        for (size_t levels = 64; levels <= 65; levels++) {
                memset(text, '[', levels);
                memset(text + levels, ']', levels);
                text[2 * levels] = '\0';
                if (levels == 64) {
                        _cleanup_json_ json_t *j = decoded(text);
                        assert_true(json_is_array(j));
                } else
                        refused(text, 2 * levels, "line 1 column 65: nested deeper than 64 levels");
        }
        _cleanup_(x_freep) char *brackets = malloc(1000000);
        memset(brackets, '[', 1000000);
        refused(brackets, 1000000, "deeper");
        /* Brackets in text do not nest. */
        memset(brackets, '[', 200);
        memcpy(brackets, "\"\\\"", 3);
        brackets[199] = '"';
        brackets[200] = '\0';
        _cleanup_json_ json_t *j = decoded(brackets);
        assert_int_equal(json_string_length(j), 197);
}

static void canonical(const char *text, const char *expected) {
        _cleanup_json_ json_t *j = decoded(text);
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        assert_int_equal(json_encode_canonical(j, &out, NULL), 0);
        assert_string_equal(buf_str(&out), expected);
        /* What is canonical already stays. */
        _cleanup_json_ json_t *again = decoded(expected);
        _cleanup_(buf_done) struct buf second = BUF_INIT;
        assert_int_equal(json_encode_canonical(again, &second, NULL), 0);
        assert_string_equal(buf_str(&second), expected);
}

static void canonical_form(void **state) {
        canonical("{ \"b\" : 1, \"a\" : [ true , false , null ] }", "{\"a\":[true,false,null],\"b\":1}");
        canonical("{}", "{}");
        canonical("[]", "[]");
        canonical("[-0, 9223372036854775807]", "[0,9223372036854775807]");
        canonical("\"\\u00e4\\/\\u007f\"", "\"\xc3\xa4/\x7f\"");
        canonical("\"\\b\\f\\n\\r\\t\\u0001\\u001F\\\"\\\\\"",
                  "\"\\u0008\\u000c\\u000a\\u000d\\u0009\\u0001\\u001f\\\"\\\\\"");
        /* By bytes: upper case first, then lower, then what begins with a byte over 127, by its bytes. */
        canonical(
                "{\"\xc3\xa4\":1,\"a\":2,\"Z\":3,\"\xf0\x9f\x9a\x80\":4,\"\xef\xbf\xbd\":5,\"\":6,\"aa\":7}",
                "{\"\":6,\"Z\":3,\"a\":2,\"aa\":7,\"\xc3\xa4\":1,\"\xef\xbf\xbd\":5,\"\xf0\x9f\x9a\x80\":4}");
}

static void canonical_sorts_many_keys(void **state) {
        _cleanup_json_ json_t *j = json_object();
        char key[16];
        for (int i = 999; i >= 0; i--) {
                (void)snprintf(key, sizeof(key), "k%03d", i);
                json_object_set_new(j, key, json_integer(i));
        }
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        assert_int_equal(json_encode_canonical(j, &out, NULL), 0);
        const char *at = buf_str(&out);
        for (int i = 0; i < 1000; i++) {
                (void)snprintf(key, sizeof(key), "\"k%03d\":", i);
                at = strstr(at, key);
                assert_non_null(at);
        }
}

static void canonical_refuses(void **state) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        buf_puts(&out, "before");
        _cleanup_json_ json_t *real = decoded("{\"a\":[1,0.5]}");
        assert_int_equal(json_encode_canonical(real, &out, &err), -EINVAL);
        assert_non_null(strstr(err_message(err), "0.5"));
        assert_string_equal(buf_str(&out), "before"); /* nothing half written */
        _cleanup_json_ json_t *nul = json_stringn("a\0b", 3);
        assert_int_equal(json_encode_canonical(nul, &out, NULL), -EINVAL);
        assert_int_equal(json_encode_canonical(NULL, &out, NULL), -EINVAL);
        json_t *deep = json_array();
        for (int i = 0; i < 300; i++) {
                json_t *outer = json_array();
                json_array_append_new(outer, deep);
                deep = outer;
        }
        assert_int_equal(json_encode_canonical(deep, &out, NULL), -EINVAL);
        json_decref(deep);
        assert_string_equal(buf_str(&out), "before");
        struct buf small = {.limit = 10};
        _cleanup_json_ json_t *text = json_string("longer than ten bytes");
        assert_int_equal(json_encode_canonical(text, &small, NULL), -EMSGSIZE);
        buf_done(&small);
}

static void compact_and_pretty(void **state) {
        _cleanup_json_ json_t *j = decoded("{\"b\":1,\"a\":[\"x\"]}");
        _cleanup_(x_freep) char *compact = json_encode_compact(j), *pretty = json_encode_pretty(j);
        assert_string_equal(compact, "{\"b\":1,\"a\":[\"x\"]}");
        assert_string_equal(pretty, "{\n  \"b\": 1,\n  \"a\": [\n    \"x\"\n  ]\n}\n");
        assert_null(json_encode_compact(NULL));
        assert_null(json_encode_pretty(NULL));
        assert_null(json_encode_yaml(NULL));
}

static void yaml_for_people(void **state) {
        _cleanup_json_ json_t *j = decoded(
                "{\"kind\":\"Node\",\"metadata\":{\"name\":\"shop-1\",\"labels\":{}},\"items\":[1,{\"a\":"
                "\"b\",\"c\":null},[true,[]]],"
                "\"script\":\"#!/bin/sh\\n\\n  echo "
                "hi\\n\",\"note\":\"a\\nb\",\"url\":\"https://x.example/a\",\"image\":\"nginx:1.27\"}");
        _cleanup_(x_freep) char *yaml = json_encode_yaml(j);
        assert_string_equal(yaml, "kind: Node\n"
                                  "metadata:\n"
                                  "  name: shop-1\n"
                                  "  labels: {}\n"
                                  "items:\n"
                                  "- 1\n"
                                  "- a: b\n"
                                  "  c: null\n"
                                  "- - true\n"
                                  "  - []\n"
                                  "script: |\n"
                                  "  #!/bin/sh\n"
                                  "\n"
                                  "    echo hi\n"
                                  "note: |-\n"
                                  "  a\n"
                                  "  b\n"
                                  "url: https://x.example/a\n"
                                  "image: nginx:1.27\n");
}

/* Text that another YAML reader could take for something else is quoted. */
static void yaml_quotes_what_is_ambiguous(void **state) {
        static const char *const quoted[] = {
                "",
                "true",
                "False",
                "null",
                "~",
                "yes",
                "NO",
                "on",
                "y",
                "12",
                "-1",
                "0x1f",
                "1.5",
                "1e5",
                ".inf",
                "12:30",
                "1_000",
                "0o7",
                "2026-11-20",
                "2026-11-20T15:04:05Z",
                " a",
                "a ",
                "a: b",
                "a:",
                "a #b",
                "- a",
                "#a",
                "&a",
                "*a",
                "!a",
                "@a",
                "%a",
                "`a",
                "{a",
                "[a",
                "|",
                ">",
                "'a",
                "\"a",
                "?",
                "a\tb",
                "=",
                "<<",
                "\x7f",
                "\xc2\x85",
                "\xe2\x80\xa8x",
                "\xef\xbb\xbfz",
                "---",
                "...",
                ",",
        };
        for (size_t i = 0; i < ARRAY_SIZE(quoted); i++) {
                _cleanup_json_ json_t *j = json_string(quoted[i]);
                _cleanup_(x_freep) char *yaml = json_encode_yaml(j);
                if (yaml[0] != '"')
                        fail_msg("\"%s\" is written %s", quoted[i], yaml);
        }
        static const char *const plain[] = {"a",   "shop-1", "5m", "a b",         "1h30m", "/etc/x",
                                            "a#b", "a:b",    "_x", "K\xc3\xb6ln", "v1.2.3"};
        for (size_t i = 0; i < ARRAY_SIZE(plain); i++) {
                _cleanup_json_ json_t *j = json_string(plain[i]);
                _cleanup_(x_freep) char *yaml = json_encode_yaml(j);
                assert_int_equal(yaml[strlen(yaml) - 1], '\n');
                yaml[strlen(yaml) - 1] = '\0';
                assert_string_equal(yaml, plain[i]);
        }
}

/* Whatever the text, our own reader gives it back. */
static void yaml_comes_back(void **state) {
        static const char *const texts[] = {
                "plain",
                "",
                "true",
                "a\nb",
                "a\nb\n",
                "a\nb\n\n",
                "\n",
                "\na",
                " lead\nx",
                "a \nb",
                "a\n\tb\n",
                "a\t\nb",
                "a\r\nb",
                "tab\t",
                "x\n  y\n z\n",
                "quote\"d",
                "back\\slash",
                "\x01",
                "\x7f",
                "\xc2\x85",
                "\xe2\x80\xa8",
                "\xef\xbb\xbf",
                "\xf0\x9f\x9a\x80 up",
                "a: b\nc: d\n",
                "---\nx\n",
                "# c\n# d",
                "line\n...\nmore",
                "- x\n- y",
        };
        _cleanup_json_ json_t *all = json_array(), *map = json_object();
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                json_array_append_new(all, json_string(texts[i]));
                json_object_set_new(map, texts[i], json_string(texts[i])); /* as keys too */
        }
        json_array_append(all, map);
        _cleanup_json_ json_t *nested = json_pack("{s:[O,{s:O}]}", "deep", all, "er", all);
        json_t *const trees[] = {all, map, nested, json_array_get(all, 5), json_array_get(all, 26)};
        for (size_t i = 0; i < ARRAY_SIZE(trees); i++) {
                _cleanup_(arena_freep) struct arena *arena = arena_new(0);
                _cleanup_(err_freep) struct err *err = NULL;
                _cleanup_(x_freep) char *yaml = json_encode_yaml(trees[i]);
                struct value **documents;
                size_t n;
                if (yaml_decode(arena, "f", yaml, strlen(yaml), &documents, &n, NULL, &err) < 0)
                        fail_msg("%s\n%s", err_message(err), yaml);
                assert_int_equal(n, 1);
                _cleanup_json_ json_t *back = json_from_value(documents[0]);
                if (!json_equal(back, trees[i]))
                        fail_msg("changed: %s", yaml);
        }
}

static void from_value_keeps_types(void **state) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(0);
        const char text[] = "s: text\ni: 7\nf: 0.5\nb: true\nn: null\nl: [1, {x: y}]\ninf: .inf\nm: {}\n";
        struct value **documents;
        size_t n;
        assert_int_equal(yaml_decode(arena, "f", text, strlen(text), &documents, &n, NULL, NULL), 0);
        _cleanup_json_ json_t *j = json_from_value(documents[0]);
        _cleanup_(x_freep) char *compact = json_encode_compact(j);
        assert_string_equal(compact,
                            "{\"s\":\"text\",\"i\":7,\"f\":0.5,\"b\":true,\"n\":null,\"l\":[1,{\"x\":\"y\"}],"
                            "\"inf\":\".inf\",\"m\":{}}");
}

static void readers(void **state) {
        _cleanup_json_ json_t *o =
                decoded("{\"s\":\"x\",\"i\":5,\"b\":true,\"o\":{},\"a\":[],\"n\":null,\"r\":1.5}");
        _cleanup_(err_freep) struct err *err = NULL;
        const char *s = "kept";
        int64_t i = 42;
        bool b = false;
        const json_t *j = NULL;
        assert_int_equal(json_read_string(o, "s", &s, &err), 0);
        assert_string_equal(s, "x");
        assert_int_equal(json_read_int(o, "i", &i, &err), 0);
        assert_int_equal(i, 5);
        assert_int_equal(json_read_optional_bool(o, "b", &b, &err), 0);
        assert_true(b);
        assert_int_equal(json_read_object(o, "o", &j, &err), 0);
        assert_true(json_is_object(j));
        assert_int_equal(json_read_array(o, "a", &j, &err), 0);
        assert_true(json_is_array(j));
        assert_null(err);

        /* Absent and null leave optional ones alone; required ones are missed. */
        static const char *const gone[] = {"n", "absent"};
        for (size_t k = 0; k < 2; k++) {
                assert_int_equal(json_read_optional_string(o, gone[k], &s, NULL), 0);
                assert_int_equal(json_read_optional_int(o, gone[k], &i, NULL), 0);
                assert_int_equal(json_read_optional_bool(o, gone[k], &b, NULL), 0);
                assert_int_equal(json_read_string(o, gone[k], &s, NULL), -EINVAL);
                assert_int_equal(json_read_int(o, gone[k], &i, NULL), -EINVAL);
                assert_int_equal(json_read_object(o, gone[k], &j, NULL), -EINVAL);
                assert_int_equal(json_read_array(o, gone[k], &j, NULL), -EINVAL);
        }
        /* Wrong types are refused in both. */
        assert_int_equal(json_read_string(o, "i", &s, &err), -EINVAL);
        assert_string_equal(err_message(err), "field i: expected text, found a number");
        assert_int_equal(json_read_string(o, "absent", &s, &err), -EINVAL);
        assert_string_equal(err_message(err), "field absent: expected text, it is missing");
        assert_int_equal(json_read_optional_string(o, "a", &s, NULL), -EINVAL);
        assert_int_equal(json_read_int(o, "r", &i, NULL), -EINVAL);
        assert_int_equal(json_read_optional_int(o, "s", &i, NULL), -EINVAL);
        assert_int_equal(json_read_optional_bool(o, "i", &b, NULL), -EINVAL);
        assert_int_equal(json_read_object(o, "a", &j, NULL), -EINVAL);
        assert_int_equal(json_read_array(o, "o", &j, NULL), -EINVAL);
        assert_string_equal(s, "x");
        assert_int_equal(i, 5);
        /* A peer may send something else than an object. */
        _cleanup_json_ json_t *list = json_array();
        assert_int_equal(json_read_string(list, "s", &s, NULL), -EINVAL);
        assert_int_equal(json_read_optional_string(list, "s", &s, NULL), 0);
        assert_int_equal(json_read_string(NULL, "s", &s, NULL), -EINVAL);
}

static void only_known_fields(void **state) {
        static const char *const fields[] = {"selector", "template"};
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_json_ json_t *right = decoded("{\"template\":1}"), *wrong = decoded("{\"selektor\":1}"),
                              *strange = decoded("{\"zzzzzz\":1}"), *list = decoded("[]");
        assert_int_equal(json_check_fields(right, fields, 2, &err), 0);
        assert_int_equal(json_check_fields(wrong, fields, 2, &err), -EINVAL);
        assert_string_equal(err_message(err), "unknown field \"selektor\" (did you mean \"selector\"?)");
        assert_int_equal(json_check_fields(strange, fields, 2, &err), -EINVAL);
        assert_string_equal(err_message(err), "unknown field \"zzzzzz\"");
        assert_int_equal(json_check_fields(list, fields, 2, &err), -EINVAL);
        assert_int_equal(json_check_fields(NULL, fields, 2, &err), -EINVAL);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(decode_takes_one_text),
                cmocka_unit_test(decode_refuses),
                cmocka_unit_test(decode_bounds_depth),
                cmocka_unit_test(canonical_form),
                cmocka_unit_test(canonical_sorts_many_keys),
                cmocka_unit_test(canonical_refuses),
                cmocka_unit_test(compact_and_pretty),
                cmocka_unit_test(yaml_for_people),
                cmocka_unit_test(yaml_quotes_what_is_ambiguous),
                cmocka_unit_test(yaml_comes_back),
                cmocka_unit_test(from_value_keeps_types),
                cmocka_unit_test(readers),
                cmocka_unit_test(only_known_fields),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
