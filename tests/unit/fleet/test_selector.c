/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "codec/json.h"
#include "fleet/selector.h"

static int setup(void **state) {
        *state = arena_new(0);
        return *state ? 0 : -1;
}
static int teardown(void **state) {
        arena_free(*state);
        return 0;
}

static struct selector parsed(struct arena *arena, const char *text) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct selector s;
        if (selector_parse(arena, text, &s, &err) < 0)
                fail_msg("%s: %s", text, err_message(err));
        return s;
}

/* "a=1,b=2" as labels. */
static struct pairs labels(struct arena *arena, const char *text) {
        return parsed(arena, text).match_labels;
}

static bool matches(struct arena *arena, const char *selector, const char *text) {
        struct selector s = parsed(arena, selector);
        struct pairs l = labels(arena, text);
        return selector_matches(&s, &l);
}

static void matching(void **state) {
        static const struct {
                const char *selector, *labels;
                bool matches;
        } cases[] = {
                {"", "", true},
                {"", "a=1", true},
                {"a=1", "a=1,b=2", true},
                {"a=1", "a=2", false},
                {"a=1", "b=1", false},
                {"a==1", "a=1", true},
                {"a=", "a=", true},
                {"a=", "", false},
                {"a=1,b=2", "a=1", false},
                {"a!=1", "a=2", true},
                {"a!=1", "a=1", false},
                {"a!=1", "", true},
                {"a in (1,2)", "a=2", true},
                {"a in (1,2)", "a=3", false},
                {"a in (1,2)", "", false},
                {"a notin (1,2)", "a=3", true},
                {"a notin (1,2)", "a=1", false},
                {"a notin (1)", "b=1", true},
                {"a", "a=", true},
                {"a", "b=1", false},
                {"!a", "b=1", true},
                {"!a", "a=1", false},
                {"a=1,a=2", "a=1", false},
                {"a=1,a=1", "a=1", true},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                if (matches(*state, cases[i].selector, cases[i].labels) != cases[i].matches)
                        fail_msg("\"%s\" with \"%s\"", cases[i].selector, cases[i].labels);
}

static void guarantees(void **state) {
        struct selector s = parsed(*state, "a=1,b in (x,y),c,d!=1,!e,f notin (z)");
        assert_true(selector_guarantees(&s, "a"));
        assert_true(selector_guarantees(&s, "b"));
        assert_true(selector_guarantees(&s, "c"));
        assert_false(selector_guarantees(&s, "d"));
        assert_false(selector_guarantees(&s, "e"));
        assert_false(selector_guarantees(&s, "f"));
        assert_false(selector_guarantees(&s, "g"));
}

static void disjoint(void **state) {
        static const struct {
                const char *a, *b;
                bool disjoint;
        } cases[] = {
                {"", "", false},
                {"a=1", "", false},
                {"a=1", "a=1", false},
                {"a=1", "a=2", true},
                {"a=1", "b=2", false},
                {"a=1", "!a", true},
                {"a", "!a", true},
                {"!a", "!a", false},
                {"a=1", "a!=1", true},
                {"a=1", "a!=2", false},
                {"a!=1", "a!=2", false},
                {"a in (1,2)", "a in (2,3)", false},
                {"a in (1,2)", "a in (3,4)", true},
                {"a in (1,2)", "a notin (1,2)", true},
                {"a in (1,2)", "a notin (1)", false},
                {"a in (1,2),a!=1", "a!=2", true}, /* only together */
                {"a=1,b=1", "a=1,b=2", true},
                {"a=1,a=2", "", true}, /* one that matches nothing */
                {"a,a notin (1,2,3)", "a", false},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct selector a = parsed(*state, cases[i].a), b = parsed(*state, cases[i].b);
                if (selector_disjoint(&a, &b) != cases[i].disjoint ||
                    selector_disjoint(&b, &a) != cases[i].disjoint)
                        fail_msg("\"%s\" and \"%s\"", cases[i].a, cases[i].b);
        }
}

static const char *random_term(struct arena *arena, struct prng *r) {
        const char *key = prng_below(r, 2) ? "k" : "l";
        int x = (int)prng_below(r, 3), y = (int)prng_below(r, 3);
        switch (prng_below(r, 6)) {
        case 0: return arena_printf(arena, "%s=%d", key, x);
        case 1: return arena_printf(arena, "%s!=%d", key, x);
        case 2: return arena_printf(arena, "%s in (%d,%d)", key, x, y);
        case 3: return arena_printf(arena, "%s notin (%d,%d)", key, x, y);
        case 4: return arena_printf(arena, "%s", key);
        default: return arena_printf(arena, "!%s", key);
        }
}

/* Against trying every label set there is (values 0 to 3 and absent, two keys: 3 is in no selector). */
static void disjoint_agrees_with_trying_all(void **state) {
        struct prng r;
        prng_seed(&r, 5);
        for (int round = 0; round < 3000; round++) {
                struct selector s[2];
                const char *text[2];
                for (int i = 0; i < 2; i++) {
                        text[i] = random_term(*state, &r);
                        for (uint64_t n = prng_below(&r, 3); n > 0; n--)
                                text[i] = arena_printf(*state, "%s,%s", text[i], random_term(*state, &r));
                        s[i] = parsed(*state, text[i]);
                }
                bool both = false;
                for (int k = -1; k < 4; k++)
                        for (int l = -1; l < 4; l++) {
                                const char values[][2] = {"0", "1", "2", "3"};
                                struct pair items[2];
                                size_t n = 0;
                                if (k >= 0)
                                        items[n++] = (struct pair){"k", values[k]};
                                if (l >= 0)
                                        items[n++] = (struct pair){"l", values[l]};
                                const struct pairs set = {.items = items, .n = n};
                                both |= selector_matches(&s[0], &set) && selector_matches(&s[1], &set);
                        }
                if (selector_disjoint(&s[0], &s[1]) == both)
                        fail_msg("\"%s\" and \"%s\"", text[0], text[1]);
        }
}

static void text_comes_back(void **state) {
        static const struct {
                const char *text, *formatted;
        } cases[] = {
                {"", ""},
                {"  ", ""},
                {" b = 2 , a=1 ", "a=1,b=2"},
                {"c!=d,e in (x, y),f notin( z ),g,! h", "c notin (d),e in (x,y),f notin (z),g,!h"},
                {"a=1,a=2", "a=1,a in (2)"},
                {"in in (in,notin)", "in in (in,notin)"},
                {"example.org/site=kiel", "example.org/site=kiel"},
                {"a in (,x)", "a in (,x)"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct selector s = parsed(*state, cases[i].text);
                _cleanup_(buf_done) struct buf out = BUF_INIT;
                selector_format(&s, &out);
                assert_string_equal(buf_str(&out), cases[i].formatted);
                struct selector again = parsed(*state, buf_str(&out));
                _cleanup_(buf_done) struct buf second = BUF_INIT;
                selector_format(&again, &second);
                assert_string_equal(buf_str(&second), cases[i].formatted);
        }
}

static void refused(struct arena *arena, const char *text, size_t column, const char *words) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct selector s = {.n_terms = 77};
        char place[32];
        (void)snprintf(place, sizeof(place), "column %zu:", column);
        if (selector_parse(arena, text, &s, &err) != -EINVAL)
                fail_msg("taken: %s", text);
        assert_int_equal(s.n_terms, 77);
        if (!strstr(err_message(err), words) || !strstr(err_message(err), place))
                fail_msg("\"%s\": %s", text, err_message(err));
}

static void text_is_checked(void **state) {
        refused(*state, ",", 1, "expected a label key");
        refused(*state, "a,", 3, "expected a label key");
        refused(*state, "a,,b", 3, "expected a label key");
        refused(*state, "=1", 1, "expected a label key");
        refused(*state, "!", 2, "expected a label key");
        refused(*state, "!!a", 2, "expected a label key");
        refused(*state, "a b", 3, "expected one of");
        refused(*state, "a=1 b", 5, "expected ','");
        refused(*state, "a=1=2", 4, "expected ','");
        refused(*state, "a in", 5, "expected values in parentheses");
        refused(*state, "a in 1", 6, "expected values in parentheses");
        refused(*state, "a in (1", 8, "expected ',' or ')'");
        refused(*state, "a in (1 2)", 9, "expected ',' or ')'");
        refused(*state, "a In (1)", 3, "expected one of");
        refused(*state, "a=b/c", 3, "\"b/c\" is not a label value");
        refused(*state, "a=1, -b=2", 6, "\"-b\" is not a label key");
        refused(*state, "a)", 2, "expected one of");
        refused(*state, "a=\xc3\xa4", 3, "is not a label value");
}

static void text_is_bounded(void **state) {
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        for (int i = 0; i < SELECTOR_TERMS_MAX; i++)
                buf_printf(&b, "%sk%d", i ? "," : "", i);
        assert_int_equal(parsed(*state, b.data).n_terms, SELECTOR_TERMS_MAX);
        buf_puts(&b, ",more");
        struct selector s;
        assert_int_equal(selector_parse(*state, b.data, &s, NULL), -EINVAL);
        buf_clear(&b);
        buf_puts(&b, "a in (v");
        for (int i = 1; i < SELECTOR_VALUES_MAX; i++)
                buf_puts(&b, ",v");
        buf_putc(&b, ')');
        assert_int_equal(parsed(*state, b.data).terms[0].n_values, SELECTOR_VALUES_MAX);
        b.len--;
        buf_puts(&b, ",v)");
        assert_int_equal(selector_parse(*state, b.data, &s, NULL), -EINVAL);
        buf_clear(&b);
        while (b.len <= SELECTOR_TEXT_MAX)
                buf_putc(&b, ' ');
        assert_int_equal(selector_parse(*state, b.data, &s, NULL), -EINVAL);
}

static void json_comes_back(void **state) {
        static const char *const texts[] = {"", "a=1", "a=1,b=2,c in (x,y),d notin (z),e,!f"};
        static const char *const expected[] = {
                "{}",
                "{\"matchLabels\":{\"a\":\"1\"}}",
                "{\"matchLabels\":{\"a\":\"1\",\"b\":\"2\"},\"matchExpressions\":["
                "{\"key\":\"c\",\"operator\":\"In\",\"values\":[\"x\",\"y\"]},"
                "{\"key\":\"d\",\"operator\":\"NotIn\",\"values\":[\"z\"]},"
                "{\"key\":\"e\",\"operator\":\"Exists\"},{\"key\":\"f\",\"operator\":\"DoesNotExist\"}]}",
        };
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                struct selector s = parsed(*state, texts[i]), back;
                _cleanup_json_ json_t *j = selector_to_json(&s);
                _cleanup_(x_freep) char *text = json_encode_compact(j);
                assert_string_equal(text, expected[i]);
                assert_int_equal(selector_from_json(*state, j, &back, NULL), 0);
                _cleanup_(buf_done) struct buf out = BUF_INIT;
                selector_format(&back, &out);
                assert_string_equal(buf_str(&out), texts[i]);
        }
}

static void json_is_checked(void **state) {
        static const struct {
                const char *text, *words;
        } cases[] = {
                {"[]", "expected an object"},
                {"null", "expected an object"},
                {"{\"matchLabel\":{}}", "did you mean \"matchLabels\""},
                {"{\"matchLabels\":[]}", "matchLabels: expected an object"},
                {"{\"matchLabels\":{\"a\":1}}", "a: expected text"},
                {"{\"matchLabels\":{\"a b\":\"1\"}}", "\"a b\" is not a valid name"},
                {"{\"matchExpressions\":{}}", "expected a list"},
                {"{\"matchExpressions\":[1]}", "matchExpressions[0]: expected an object"},
                {"{\"matchExpressions\":[{\"key\":\"a\"}]}", "field operator"},
                {"{\"matchExpressions\":[{\"operator\":\"In\",\"values\":[\"x\"]}]}", "field key"},
                {"{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"in\",\"values\":[\"x\"]}]}",
                 "use In, NotIn"},
                {"{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"In\"}]}", "needs values"},
                {"{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"NotIn\",\"values\":[]}]}",
                 "needs values"},
                {"{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Exists\",\"values\":[\"x\"]}]}",
                 "takes no values"},
                {"{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Exists\",\"values\":\"x\"}]}",
                 "takes no values"},
                {"{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"In\",\"values\":[1]}]}",
                 "value 1 is not"},
                {"{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"In\",\"values\":[\"x\"],\"v\":1}]}",
                 "unknown field"},
                {"{\"matchExpressions\":[{\"key\":\"-\",\"operator\":\"Exists\"}]}", "not a label key"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_json_ json_t *j = NULL;
                _cleanup_(err_freep) struct err *err = NULL;
                struct selector s = {.n_terms = 77};
                assert_int_equal(json_decode(cases[i].text, strlen(cases[i].text), &j, NULL), 0);
                assert_int_equal(selector_from_json(*state, j, &s, &err), -EINVAL);
                assert_int_equal(s.n_terms, 77);
                if (!strstr(err_message(err), cases[i].words))
                        fail_msg("%s: %s", cases[i].text, err_message(err));
        }
        struct selector s;
        assert_int_equal(selector_from_json(*state, NULL, &s, NULL), -EINVAL);
        _cleanup_json_ json_t *empty = json_pack("{s:[{s:s,s:s,s:[]}]}", "matchExpressions", "key", "a",
                                                 "operator", "Exists", "values");
        assert_int_equal(selector_from_json(*state, empty, &s, NULL), 0); /* an empty list says nothing */
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(matching, setup, teardown),
                cmocka_unit_test_setup_teardown(guarantees, setup, teardown),
                cmocka_unit_test_setup_teardown(disjoint, setup, teardown),
                cmocka_unit_test_setup_teardown(disjoint_agrees_with_trying_all, setup, teardown),
                cmocka_unit_test_setup_teardown(text_comes_back, setup, teardown),
                cmocka_unit_test_setup_teardown(text_is_checked, setup, teardown),
                cmocka_unit_test_setup_teardown(text_is_bounded, setup, teardown),
                cmocka_unit_test_setup_teardown(json_comes_back, setup, teardown),
                cmocka_unit_test_setup_teardown(json_is_checked, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
