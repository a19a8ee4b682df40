/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fleet/expand.h"

static struct pair label_items[] = {{"example.org/zone", "z1"}, {"empty", ""}, {"site", "kiel"}};
static struct pair variable_items[] = {{"port", "8080"}, {"site", "variable"}, {"text", "${labels.site}"}};
static const struct binding binding = {
        .node_name = "shop-1",
        .labels = {.items = label_items, .n = 3},
        .variables = {.items = variable_items, .n = 3},
};

static int by_key(const void *a, const void *b) {
        return strcmp(((const struct pair *)a)->key, ((const struct pair *)b)->key);
}

static int setup(void **state) {
        qsort(label_items, 3, sizeof(label_items[0]), by_key);
        qsort(variable_items, 3, sizeof(variable_items[0]), by_key);
        return 0;
}

static void expands_to(const char *text, const char *expected) {
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        _cleanup_(err_freep) struct err *err = NULL;
        if (expand_text(text, strlen(text), &binding, &out, &err) < 0)
                fail_msg("%s: %s", text, err_message(err));
        assert_string_equal(buf_str(&out), expected);
}

static void references(void **state) {
        expands_to("", "");
        expands_to("plain", "plain");
        expands_to("${labels.site}", "kiel");
        expands_to("a${node.name}b${vars.port}c", "ashop-1b8080c");
        expands_to("${labels.example.org/zone}", "z1");
        expands_to("${vars.site}/${labels.site}", "variable/kiel");
        expands_to("[${labels.empty}]", "[]");
}

static void defaults(void **state) {
        expands_to("${labels.site:-x}", "kiel");
        expands_to("${labels.none:-x}", "x");
        expands_to("${vars.none:-}", "");
        expands_to("${vars.none:-a:-b $ { 1}", "a:-b $ { 1");
        expands_to("${vars.none:-two\nlines}", "two\nlines");
        expands_to("${labels.empty:-x}", ""); /* known, and empty */
        expands_to("${node.name:-x}", "shop-1");
}

static void literals(void **state) {
        expands_to("$${labels.site}", "${labels.site}");
        expands_to("$${", "${");
        expands_to("$$${labels.site}", "$${labels.site}");
        expands_to("$", "$");
        expands_to("$$", "$$");
        expands_to("cost: 5$, $HOME, $(date)", "cost: 5$, $HOME, $(date)");
        expands_to("${labels.site}$", "kiel$");
        expands_to("${vars.text}", "${labels.site}"); /* what comes in is not looked at again */
        expands_to("}{", "}{");
}

static void refused(const char *text, size_t offset, const char *words) {
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(arena_freep) struct arena *arena = arena_new(0);
        struct reference *references = NULL;
        size_t n = 77, at = 99;
        if (expand_text(text, strlen(text), &binding, &out, &err) != -EINVAL)
                fail_msg("taken: %s", text);
        if (!strstr(err_message(err), words))
                fail_msg("%s: %s", text, err_message(err));
        assert_int_equal(expand_references(arena, text, strlen(text), &references, &n, &at, &err), -EINVAL);
        assert_null(references);
        assert_int_equal(n, 77);
        assert_int_equal(at, offset);
}

static void wrong_syntax(void **state) {
        refused("${", 0, "without \"}\"");
        refused("abc ${labels.site", 4, "$${");
        refused("${}", 0, "is none of");
        refused("a ${HOME}", 2, "\"${HOME}\" is none of");
        refused("${HOME}", 0, "write \"$${\" for a literal");
        refused("${labels.}", 0, "is none of");
        refused("${labels.-x}", 0, "is none of");
        refused("${vars.a-b}", 0, "is none of");
        refused("${node.id}", 0, "is none of");
        refused("${ node.name }", 0, "is none of");
        refused("${labels.site:x}", 0, "is none of");
        refused("${labels.site:}", 0, "is none of");
        refused("${vars.site-x}${", 0, "is none of");
        refused("${node.name} ${vars.a:-${vars.b}}", 13, "do not nest");
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        assert_int_equal(expand_text("${node.name\0}", 13, &binding, &out, NULL), -EINVAL);
        buf_clear(&out);
        buf_puts(&out, "${labels.");
        for (int i = 0; i < 5000; i++)
                buf_putc(&out, 'a');
        buf_putc(&out, '}');
        refused(buf_str(&out), 0, "is none of");
        /* Bytes that are no text are not put into messages. */
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(buf_done) struct buf none = BUF_INIT;
        assert_int_equal(expand_text("${\xff\xfe}", 5, &binding, &none, &err), -EINVAL);
        assert_null(strchr(err_message(err), '\xff'));
}

static void unknown_names(void **state) {
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        _cleanup_(err_freep) struct err *err = NULL;
        assert_int_equal(expand_text("${labels.none}", 14, &binding, &out, &err), -ENOKEY);
        assert_non_null(strstr(err_message(err), "${labels.none} is not known for node shop-1"));
        assert_non_null(strstr(err_message(err), "${labels.none:-x}"));
        struct binding nameless = binding;
        nameless.node_name = NULL;
        assert_int_equal(expand_text("${node.name}", 12, &nameless, &out, NULL), -ENOKEY);
}

static void binary_content_passes(void **state) {
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        assert_int_equal(expand_text("\0$\xff${vars.port}\0$", 17, &binding, &out, NULL), 0);
        assert_int_equal(out.len, 9);
        assert_memory_equal(out.data,
                            "\0$\xff"
                            "8080\0$",
                            9);
}

/* A small text may stand for a large one. */
static void output_is_bounded(void **state) {
        _cleanup_(buf_done) struct buf text = BUF_INIT, out = {.limit = 1000};
        _cleanup_(err_freep) struct err *err = NULL;
        for (int i = 0; i < 251; i++)
                buf_puts(&text, "${vars.port}");
        assert_int_equal(expand_text(text.data, text.len, &binding, &out, &err), -EMSGSIZE);
        assert_non_null(err);
        buf_clear(&out);
        assert_int_equal(expand_text(text.data, text.len - 12, &binding, &out, NULL), 0);
        assert_int_equal(out.len, 1000);
}

static void references_are_listed(void **state) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(0);
        const char text[] = "x ${labels.site} $${vars.no} ${vars.port:-1}${node.name}";
        struct reference *found;
        size_t n;
        assert_int_equal(expand_references(arena, text, strlen(text), &found, &n, NULL, NULL), 0);
        assert_int_equal(n, 3);
        assert_string_equal(found[0].name, "labels.site");
        assert_false(found[0].has_default);
        assert_int_equal(found[0].offset, 2);
        assert_string_equal(found[1].name, "vars.port");
        assert_true(found[1].has_default);
        assert_int_equal(found[1].offset, 29);
        assert_string_equal(found[2].name, "node.name");
        assert_int_equal(expand_references(arena, "none", 4, &found, &n, NULL, NULL), 0);
        assert_int_equal(n, 0);
        assert_int_equal(expand_references(arena, "${", 2, &found, &n, NULL, NULL), -EINVAL);
}

static void values_by_name(void **state) {
        assert_string_equal(binding_get(&binding, "labels.site"), "kiel");
        assert_string_equal(binding_get(&binding, "vars.port"), "8080");
        assert_string_equal(binding_get(&binding, "node.name"), "shop-1");
        assert_null(binding_get(&binding, "labels.none"));
        assert_null(binding_get(&binding, "site"));
        assert_true(reference_name_is_valid("labels.a/b"));
        assert_false(reference_name_is_valid("labels."));
        assert_false(reference_name_is_valid("node"));
        assert_false(reference_name_is_valid(""));
        assert_false(reference_name_is_valid(NULL));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(references),        cmocka_unit_test(defaults),
                cmocka_unit_test(literals),          cmocka_unit_test(wrong_syntax),
                cmocka_unit_test(unknown_names),     cmocka_unit_test(binary_content_passes),
                cmocka_unit_test(output_is_bounded), cmocka_unit_test(references_are_listed),
                cmocka_unit_test(values_by_name),
        };
        return cmocka_run_group_tests(tests, setup, NULL);
}
