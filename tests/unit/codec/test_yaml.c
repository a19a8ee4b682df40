/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "base/buf.h"
#include "codec/yaml.h"

struct fixture {
        struct arena *arena;
        struct value **documents;
        size_t n;
        struct position where;
        struct err *err;
};

static int setup(void **state) {
        struct fixture *f = calloc(1, sizeof(*f));
        if (!f || !(f->arena = arena_new(0)))
                return -1;
        *state = f;
        return 0;
}

static int teardown(void **state) {
        struct fixture *f = *state;
        arena_free(f->arena);
        err_free(f->err);
        free(f);
        return 0;
}

static int decode_bytes(struct fixture *f, const char *text, size_t len) {
        f->err = err_free(f->err);
        f->where = (struct position){0};
        f->documents = NULL;
        f->n = 99;
        int r = yaml_decode(f->arena, "fleet/a.yaml", text, len, &f->documents, &f->n, &f->where, &f->err);
        if (r < 0) { /* out-parameters are left alone */
                assert_null(f->documents);
                assert_int_equal(f->n, 99);
                assert_non_null(f->err);
        } else
                assert_null(f->err);
        return r;
}

static const struct value *one(struct fixture *f, const char *text) {
        if (decode_bytes(f, text, strlen(text)) < 0)
                fail_msg("%s: %s", text, err_message(f->err));
        assert_int_equal(f->n, 1);
        return f->documents[0];
}

static void refused(struct fixture *f, const char *text, unsigned line, unsigned column, const char *words) {
        if (decode_bytes(f, text, strlen(text)) != -EINVAL)
                fail_msg("taken: %s", text);
        if (!strstr(err_message(f->err), words))
                fail_msg("%s: \"%s\" does not say \"%s\"", text, err_message(f->err), words);
        assert_string_equal(f->where.file, "fleet/a.yaml");
        assert_int_equal(f->where.line, line);
        assert_int_equal(f->where.column, column);
}

/* ---- The core schema ---- */

static void plain_scalars(void **state) {
        struct fixture *f = *state;
        static const struct {
                const char *text;
                enum value_type type;
        } cases[] = {
                {"~", VALUE_NULL},
                {"null", VALUE_NULL},
                {"Null", VALUE_NULL},
                {"NULL", VALUE_NULL},
                {"nUll", VALUE_STRING},
                {"true", VALUE_BOOL},
                {"True", VALUE_BOOL},
                {"TRUE", VALUE_BOOL},
                {"tRUE", VALUE_STRING},
                {"false", VALUE_BOOL},
                {"False", VALUE_BOOL},
                {"FALSE", VALUE_BOOL},
                /* YAML 1.1's words are text */
                {"yes", VALUE_STRING},
                {"no", VALUE_STRING},
                {"on", VALUE_STRING},
                {"off", VALUE_STRING},
                {"y", VALUE_STRING},
                {"n", VALUE_STRING},
                {"NO", VALUE_STRING},
                {"0", VALUE_INT},
                {"-0", VALUE_INT},
                {"+12", VALUE_INT},
                {"0644", VALUE_INT},
                {"0o17", VALUE_INT},
                {"0x1F", VALUE_INT},
                {"0xff", VALUE_INT},
                {"0o8", VALUE_STRING},
                {"0xg", VALUE_STRING},
                {"0x", VALUE_STRING},
                {"0o", VALUE_STRING},
                {"-0x1", VALUE_STRING},
                {"0b1", VALUE_STRING},
                {"1_000", VALUE_STRING},
                {"12:30", VALUE_STRING},
                {"1.2.3", VALUE_STRING},
                {"1.5", VALUE_FLOAT},
                {"1.", VALUE_FLOAT},
                {".5", VALUE_FLOAT},
                {"-1e3", VALUE_FLOAT},
                {"1E-3", VALUE_FLOAT},
                {"1e", VALUE_STRING},
                {"1e+", VALUE_STRING},
                {".", VALUE_STRING},
                {"..", VALUE_STRING},
                {"+", VALUE_STRING},
                {"-x", VALUE_STRING},
                {".e3", VALUE_STRING},
                {".inf", VALUE_FLOAT},
                {"-.Inf", VALUE_FLOAT},
                {"+.INF", VALUE_FLOAT},
                {".nan", VALUE_FLOAT},
                {"-.nan", VALUE_STRING},
                {".infx", VALUE_STRING},
                {"e3", VALUE_STRING},
                {"12e03", VALUE_FLOAT},
                {"2026-11-20", VALUE_STRING},
                {"1 2", VALUE_STRING},
                {"=", VALUE_STRING},
                {"0.", VALUE_FLOAT},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                const struct value *v = one(f, cases[i].text);
                if (v->type != cases[i].type)
                        fail_msg("%s is %s", cases[i].text, value_type_name(v->type));
                assert_int_equal(yaml_plain_type(cases[i].text, strlen(cases[i].text)), cases[i].type);
                assert_string_equal(v->text, cases[i].text);
                assert_false(v->quoted);
        }
        assert_int_equal(yaml_plain_type("", 0), VALUE_NULL);
}

static void values_of_scalars(void **state) {
        struct fixture *f = *state;
        assert_true(one(f, "True")->boolean);
        assert_false(one(f, "false")->boolean);
        assert_int_equal(one(f, "0o17")->integer, 15);
        assert_int_equal(one(f, "0xfF")->integer, 255);
        assert_int_equal(one(f, "-12")->integer, -12);
        assert_int_equal(one(f, "0644")->integer, 644); /* not octal: that is 0o644 */
        assert_true(one(f, "9223372036854775807")->integer == INT64_MAX);
        assert_true(one(f, "-9223372036854775808")->integer == INT64_MIN);
        assert_true(one(f, "1.5e3")->number == 1500);
        assert_true(one(f, "-.5")->number == -0.5);
        assert_true(isinf(one(f, "-.inf")->number) && one(f, "-.inf")->number < 0);
        assert_true(isinf(one(f, ".Inf")->number) && one(f, ".Inf")->number > 0);
        assert_true(isnan(one(f, ".NaN")->number));
}

static void quoted_scalars_are_text(void **state) {
        struct fixture *f = *state;
        static const char *const texts[] = {"\"true\"", "'12'", "\"\"", "'~'", "|\n  5\n", ">-\n  null\n"};
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                const struct value *v = one(f, texts[i]);
                assert_int_equal(v->type, VALUE_STRING);
                assert_true(v->quoted);
        }
        assert_string_equal(one(f, "\"a\\tb\\u00e4\\n\"")->text, "a\tb\xc3\xa4\n");
        assert_string_equal(one(f, "|\n  a\n   b\n\n")->text, "a\n b\n");
}

static void numbers_that_do_not_fit(void **state) {
        struct fixture *f = *state;
        refused(f, "a: 9223372036854775808", 1, 4, "put it in quotes");
        refused(f, "a: -9223372036854775809", 1, 4, "too large");
        refused(f, "a: 0xffffffffffffffff", 1, 4, "too large");
        refused(f, "a: 99999999999999999999999", 1, 4, "too large");
        refused(f, "a: 1e999", 1, 4, "too large");
}

/* ---- Structure and positions ---- */

static void positions(void **state) {
        struct fixture *f = *state;
        const struct value *v =
                one(f, "# comment\nkind: Fleet\nspec:\n  apps: [web,  till]\n  list:\n  - x\n  - {k: v}\n");
        assert_int_equal(v->type, VALUE_MAP);
        assert_int_equal(v->n_pairs, 2);
        assert_int_equal(v->position.line, 2);
        assert_int_equal(v->position.column, 1);
        assert_string_equal(v->position.file, "fleet/a.yaml");
        assert_string_equal(v->pairs[1].key, "spec");
        assert_int_equal(v->pairs[1].key_position.line, 3);
        const struct value *apps = value_get(v->pairs[1].value, "apps");
        assert_int_equal(apps->type, VALUE_LIST);
        assert_int_equal(apps->n_items, 2);
        assert_int_equal(apps->position.column, 9);
        assert_int_equal(apps->items[1]->position.line, 4);
        assert_int_equal(apps->items[1]->position.column, 16);
        const struct value *list = value_get(v->pairs[1].value, "list");
        assert_int_equal(list->items[1]->pairs[0].key_position.line, 7);
        assert_int_equal(list->items[1]->pairs[0].key_position.column, 6);
}

/* libyaml counts characters; people's editors are told bytes, the same whatever is written before. */
static void columns_count_bytes(void **state) {
        struct fixture *f = *state;
        const struct value *v = one(f, "k\xc3\xb6y: [\xe6\x9d\xb1, b]\nx: \xf0\x9f\x9a\x80\n");
        assert_int_equal(v->pairs[0].value->position.column, 7);
        assert_int_equal(v->pairs[0].value->items[0]->position.column, 8);
        assert_int_equal(v->pairs[0].value->items[1]->position.column, 13);
        assert_int_equal(v->pairs[1].key_position.line, 2);
        assert_int_equal(v->pairs[1].key_position.column, 1);
        refused(f, "\xc3\xa4: 1\n\xc3\xb6\xc3\xb6: &x 2\n", 2, 7, "anchor");
        refused(f, "\xc3\xa4: 1\nb: [1\n", 3, 1, "expected");
}

static void byte_order_mark_and_line_ends(void **state) {
        struct fixture *f = *state;
        const struct value *v = one(f, "\xef\xbb\xbf"
                                       "a: 1\r\nb: 2\r\n");
        assert_int_equal(v->n_pairs, 2);
        assert_int_equal(v->pairs[0].key_position.column, 1);
        assert_int_equal(v->pairs[1].key_position.line, 2);
        assert_int_equal(v->pairs[1].value->integer, 2);
}

static void many_documents(void **state) {
        struct fixture *f = *state;
        const char text[] = "---\na: 1\n---\n# nothing\n---\n---\nb: 2\n...\n---\nnull\n--- \"\"\n";
        assert_int_equal(decode_bytes(f, text, strlen(text)), 0);
        assert_int_equal(f->n, 4); /* empty ones are skipped; a written null or "" is not empty */
        assert_string_equal(f->documents[1]->pairs[0].key, "b");
        assert_int_equal(f->documents[1]->position.line, 7);
        assert_int_equal(f->documents[2]->type, VALUE_NULL);
        assert_int_equal(f->documents[3]->type, VALUE_STRING);
}

static void nothing_at_all(void **state) {
        struct fixture *f = *state;
        static const char *const texts[] = {"", "\n\n", "# only a comment\n", "---\n", "---\n---\n...\n"};
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                assert_int_equal(decode_bytes(f, texts[i], strlen(texts[i])), 0);
                assert_int_equal(f->n, 0);
        }
}

static void json_is_yaml(void **state) {
        struct fixture *f = *state;
        const struct value *v = one(f, "{\"a\":[1,2.5,true,null,\"x\\u00e4\"],\"b\":{}, \"c\":[]}");
        assert_int_equal(v->pairs[0].value->n_items, 5);
        assert_string_equal(v->pairs[0].value->items[4]->text, "x\xc3\xa4");
        assert_int_equal(v->pairs[1].value->type, VALUE_MAP);
        assert_int_equal(v->pairs[1].value->n_pairs, 0);
        assert_int_equal(v->pairs[2].value->n_items, 0);
}

static void empty_values_are_null(void **state) {
        struct fixture *f = *state;
        const struct value *v = one(f, "a:\nb: {c: , d}\ne: [x, ]\nl:\n-\n- 1\n");
        assert_int_equal(value_get(v, "a")->type, VALUE_NULL);
        assert_string_equal(value_get(v, "a")->text, "");
        assert_int_equal(value_get(v, "a")->position.line, 1);
        assert_int_equal(value_get(value_get(v, "b"), "c")->type, VALUE_NULL);
        assert_int_equal(value_get(value_get(v, "b"), "d")->type, VALUE_NULL);
        assert_int_equal(value_get(v, "e")->n_items, 1); /* a comma at the end is no item */
        assert_int_equal(value_get(v, "l")->items[0]->type, VALUE_NULL);
}

/* ---- What is refused ---- */

static void anchors_aliases_tags(void **state) {
        struct fixture *f = *state;
        refused(f, "a: &x 1\n", 1, 4, "anchor &x");
        refused(f, "a: 1\nb: *x\n", 2, 4, "alias *x");
        refused(f, "a: &m\n  b: 1\n", 1, 4, "anchor &m");
        refused(f, "a: &l [1]\n", 1, 4, "anchor &l");
        refused(f, "&k a: 1\n", 1, 1, "anchor &k");
        refused(f, "a: !!str 1\n", 1, 4, "tag tag:yaml.org,2002:str");
        refused(f, "a: !custom {b: 1}\n", 1, 4, "tags are not supported");
        refused(f, "a: ! x\n", 1, 4, "tags are not supported");
        refused(f, "%TAG !e! tag:example.org,2000:\n---\na: 1\n", 1, 1, "%TAG");
        refused(f, "a: &x [1]\nb: *x\n", 1, 4, "write the value out");
}

static void duplicate_keys(void **state) {
        struct fixture *f = *state;
        refused(f, "a: 1\nb: 2\na: 3\n", 3, 1, "duplicate key \"a\": it stands in line 1");
        refused(f, "x:\n  k: 1\n  \"k\": 2\n", 3, 3, "duplicate key \"k\": it stands in line 2");
        refused(f, "{a: 1, b: {c: 1, c: 2}}", 1, 18, "duplicate key \"c\"");
        one(f, "a: {k: 1}\nb: {k: 2}\n"); /* in different maps */
        /* In large maps too: the first key that comes a second time is named. */
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        for (int i = 0; i < 100; i++)
                buf_printf(&b, "key%d: x\n", i);
        one(f, b.data);
        buf_puts(&b, "z: 1\nkey50: y\nkey7: y\nkey50: y\n");
        refused(f, b.data, 102, 1, "duplicate key \"key50\": it stands in line 51");
}

static void odd_keys(void **state) {
        struct fixture *f = *state;
        refused(f, "? [a]\n: 1\n", 1, 3, "a list cannot be a key");
        refused(f, "{{a: 1}: 2}", 1, 2, "a map cannot be a key");
        refused(f, "a: 1\n?\n: 2\n", 2, 2, "a key is missing");
        refused(f, ": 1\n", 1, 1, "key");
        const struct value *v = one(f, "1: a\ntrue: b\n\"\": c\n");
        assert_string_equal(v->pairs[0].key, "1");
        assert_string_equal(v->pairs[1].key, "true");
        assert_string_equal(v->pairs[2].key, "");
}

static void broken_text(void **state) {
        struct fixture *f = *state;
        refused(f, "a: 1\n\tb: 2\n", 2, 1, "tab");
        refused(f, "a: @home\n", 1, 4, "put it in quotes");
        refused(f, "a: `x`\n", 1, 4, "put it in quotes");
        refused(f, "a: \"x\n", 2, 1, "quoted scalar");
        refused(f, "a: [1, 2\nb: 3\n", 2, 2, "");
        refused(f, "a: 1\n  b: 2\n", 2, 4, "mapping values");
        refused(f, "a: \"\\q\"\n", 1, 5, "escape");
        refused(f, "a: \"x\\0y\"\n", 1, 4, "NUL");
        refused(f, "\"x\\0y\": 1\n", 1, 1, "NUL");
        refused(f, "a: \xc3(\n", 1, 4, "0xc3 is not UTF-8");
        refused(f, "a: 1\nbb: \xed\xa0\x80\n", 2, 5, "UTF-8");
        refused(f, "a: \x01\n", 1, 4, "control characters");
        assert_int_equal(decode_bytes(f, "a: b\0c", 6), -EINVAL);
        assert_int_equal(decode_bytes(f,
                                      "\xff\xfe"
                                      "a\0",
                                      4),
                         -EINVAL); /* UTF-16 */
}

static void position_in_the_message(void **state) {
        struct fixture *f = *state;
        struct value **documents;
        size_t n;
        assert_int_equal(yaml_decode(f->arena, "x.yaml", "a: *b", 5, &documents, &n, NULL, &f->err), -EINVAL);
        assert_non_null(strstr(err_message(f->err), "x.yaml:1:4: alias"));
        assert_int_equal(yaml_decode(f->arena, "x.yaml", "a: *b", 5, &documents, &n, NULL, NULL), -EINVAL);
}

/* ---- Limits ---- */

static void depth(void **state) {
        struct fixture *f = *state;
        char text[2 * YAML_MAX_DEPTH + 16];
        for (size_t levels = YAML_MAX_DEPTH; levels <= YAML_MAX_DEPTH + 1; levels++) {
                memset(text, '[', levels);
                memset(text + levels, ']', levels);
                text[2 * levels] = '\0';
                if (levels <= YAML_MAX_DEPTH)
                        one(f, text);
                else
                        refused(f, text, 1, YAML_MAX_DEPTH + 1, "deeper than 64");
        }
        /* Brackets without end are refused as soon as they are too many. */
        _cleanup_(x_freep) char *brackets = malloc(100001);
        memset(brackets, '[', 100000);
        brackets[100000] = '\0';
        refused(f, brackets, 1, YAML_MAX_DEPTH + 1, "deeper than 64");
        for (size_t i = 0; i < 100000; i += 2)
                memcpy(brackets + i, "- ", 2);
        refused(f, brackets, 1, 2 * YAML_MAX_DEPTH + 1, "deeper than 64");
}

static void bytes(void **state) {
        struct fixture *f = *state;
        _cleanup_(x_freep) char *text = malloc(YAML_MAX_BYTES + 2);
        memset(text, '#', YAML_MAX_BYTES + 1);
        text[YAML_MAX_BYTES + 1] = '\0';
        assert_int_equal(decode_bytes(f, text, YAML_MAX_BYTES), 0);
        refused(f, text, 1, 1, "at most 4194304");
}

static void nodes(void **state) {
        struct fixture *f = *state;
        size_t n = YAML_MAX_NODES + 10; /* the list counts too */
        _cleanup_(x_freep) char *text = malloc(2 * n + 4);
        text[0] = '[';
        for (size_t i = 0; i < n; i++)
                memcpy(text + 1 + 2 * i, "a,", 2);
        memcpy(text + 1 + 2 * n, "]", 2);
        refused(f, text, 1, 2 * (YAML_MAX_NODES - 1) + 2, "split it");
}

static int checked(struct fixture *f, const char *text) {
        f->where = (struct position){0};
        return yaml_check("a.yaml", text, strlen(text), &f->where, NULL);
}

/* What is refused for safety's sake is YAML all the same; what is no YAML is told with its place. */
static void check_alone(void **state) {
        struct fixture *f = *state;
        static const char *const fine[] = {
                "",           "a: 1\n---\nb: [x]\n",    "a: &x {<<: *x, b: !t y}\n", "a: 1\na: 2\n",
                "? [a]\n: b", "%TAG ! x:\n---\na: 1\n",
        };
        for (size_t i = 0; i < ARRAY_SIZE(fine); i++)
                assert_int_equal(checked(f, fine[i]), 0);
        assert_int_equal(checked(f, "a: b\nc: {d: [\n"), -EINVAL);
        assert_int_equal(f->where.line, 3);
        assert_string_equal(f->where.file, "a.yaml");
        assert_int_equal(checked(f, "{{ if .Values.x }}\nkind: Thing\n{{ end }}\n"), -EINVAL);
        assert_int_equal(f->where.line, 2);
        assert_int_equal(checked(f, "ok: yes\n\tkind: x\n"), -EINVAL);
        assert_int_equal(checked(f, "a: \xff\n"), -EINVAL);
        assert_int_equal(f->where.column, 4);

        char deep[1000]; /* nobody looks that far */
        memset(deep, '[', sizeof(deep));
        assert_int_equal(yaml_check("a.yaml", deep, sizeof(deep), &f->where, NULL), 0);
}

static void arena_that_is_full(void **state) {
        struct fixture *f = *state;
        const char text[] = "a: [1, 2, 3, {b: c}]\nd: \"some text\"\n";
        for (size_t limit = 1; limit < 2000; limit += 7) {
                _cleanup_(arena_freep) struct arena *small = arena_new(limit);
                _cleanup_(err_freep) struct err *err = NULL;
                struct value **documents = NULL;
                size_t n = 0;
                int r = yaml_decode(small, "a.yaml", text, strlen(text), &documents, &n, &f->where, &err);
                if (r == 0) {
                        assert_int_equal(n, 1);
                        assert_true(limit > 500);
                        return;
                }
                assert_int_equal(r, -ENOMEM);
                assert_null(documents);
        }
        fail_msg("never enough");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(plain_scalars, setup, teardown),
                cmocka_unit_test_setup_teardown(values_of_scalars, setup, teardown),
                cmocka_unit_test_setup_teardown(quoted_scalars_are_text, setup, teardown),
                cmocka_unit_test_setup_teardown(numbers_that_do_not_fit, setup, teardown),
                cmocka_unit_test_setup_teardown(positions, setup, teardown),
                cmocka_unit_test_setup_teardown(columns_count_bytes, setup, teardown),
                cmocka_unit_test_setup_teardown(byte_order_mark_and_line_ends, setup, teardown),
                cmocka_unit_test_setup_teardown(many_documents, setup, teardown),
                cmocka_unit_test_setup_teardown(nothing_at_all, setup, teardown),
                cmocka_unit_test_setup_teardown(json_is_yaml, setup, teardown),
                cmocka_unit_test_setup_teardown(empty_values_are_null, setup, teardown),
                cmocka_unit_test_setup_teardown(anchors_aliases_tags, setup, teardown),
                cmocka_unit_test_setup_teardown(duplicate_keys, setup, teardown),
                cmocka_unit_test_setup_teardown(odd_keys, setup, teardown),
                cmocka_unit_test_setup_teardown(broken_text, setup, teardown),
                cmocka_unit_test_setup_teardown(position_in_the_message, setup, teardown),
                cmocka_unit_test_setup_teardown(depth, setup, teardown),
                cmocka_unit_test_setup_teardown(bytes, setup, teardown),
                cmocka_unit_test_setup_teardown(nodes, setup, teardown),
                cmocka_unit_test_setup_teardown(check_alone, setup, teardown),
                cmocka_unit_test_setup_teardown(arena_that_is_full, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
