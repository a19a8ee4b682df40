/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/selector.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "codec/json.h"

static const char *const operator_names[] = {
        [SELECTOR_IN] = "In",
        [SELECTOR_NOT_IN] = "NotIn",
        [SELECTOR_EXISTS] = "Exists",
        [SELECTOR_DOES_NOT_EXIST] = "DoesNotExist",
};

/* ---- Matching ---- */

static bool term_has_value(const struct selector_term *t, const char *value) {
        for (size_t i = 0; i < t->n_values; i++)
                if (strcmp(t->values[i], value) == 0)
                        return true;
        return false;
}

/* value NULL: the key is absent. */
static bool term_holds(const struct selector_term *t, const char *value) {
        switch (t->operator_) {
        case SELECTOR_IN: return value && term_has_value(t, value);
        case SELECTOR_NOT_IN: return !value || !term_has_value(t, value);
        case SELECTOR_EXISTS: return value != NULL;
        case SELECTOR_DOES_NOT_EXIST: return value == NULL;
        }
        return false;
}

bool selector_matches(const struct selector *s, const struct pairs *labels) {
        for (size_t i = 0; i < s->match_labels.n; i++) {
                const char *value = pairs_get(labels, s->match_labels.items[i].key);
                if (!value || strcmp(value, s->match_labels.items[i].value) != 0)
                        return false;
        }
        for (size_t i = 0; i < s->n_terms; i++)
                if (!term_holds(&s->terms[i], pairs_get(labels, s->terms[i].key)))
                        return false;
        return true;
}

bool selector_guarantees(const struct selector *s, const char *key) {
        if (pairs_get(&s->match_labels, key))
                return true;
        for (size_t i = 0; i < s->n_terms; i++)
                if (strcmp(s->terms[i].key, key) == 0 &&
                    (s->terms[i].operator_ == SELECTOR_IN || s->terms[i].operator_ == SELECTOR_EXISTS))
                        return true;
        return false;
}

/* ---- Disjointness
 *
 * Keys do not depend on each other: both selectors together match something exactly when each key by itself
 * has a value, or can be absent, so that every condition on it holds. The values to try are few: absent, each
 * value that some condition asks for, and one that no condition names. */

/* Conditions of s on the key hold for the value. */
static bool allows(const struct selector *s, const char *key, const char *value) {
        const char *wanted = pairs_get(&s->match_labels, key);
        if (wanted && (!value || strcmp(wanted, value) != 0))
                return false;
        for (size_t i = 0; i < s->n_terms; i++)
                if (strcmp(s->terms[i].key, key) == 0 && !term_holds(&s->terms[i], value))
                        return false;
        return true;
}

static bool key_is_open(const struct selector *const both[2], const char *key) {
        static const char named_by_none[] = "\n"; /* no label value */
        if ((allows(both[0], key, NULL) && allows(both[1], key, NULL)) ||
            (allows(both[0], key, named_by_none) && allows(both[1], key, named_by_none)))
                return true;
        for (size_t b = 0; b < 2; b++) {
                const char *wanted = pairs_get(&both[b]->match_labels, key);
                if (wanted)
                        return allows(both[0], key, wanted) && allows(both[1], key, wanted);
                for (size_t i = 0; i < both[b]->n_terms; i++) {
                        const struct selector_term *t = &both[b]->terms[i];
                        if (t->operator_ != SELECTOR_IN || strcmp(t->key, key) != 0)
                                continue;
                        for (size_t v = 0; v < t->n_values; v++)
                                if (allows(both[0], key, t->values[v]) && allows(both[1], key, t->values[v]))
                                        return true;
                        return false; /* the value had to be one of these */
                }
        }
        return false;
}

static bool key_came_before(const struct selector *s, size_t term) {
        for (size_t i = 0; i < term; i++)
                if (strcmp(s->terms[i].key, s->terms[term].key) == 0)
                        return true;
        return pairs_get(&s->match_labels, s->terms[term].key) != NULL;
}

bool selector_disjoint(const struct selector *a, const struct selector *b) {
        const struct selector *const both[2] = {a, b};
        for (size_t s = 0; s < 2; s++) {
                for (size_t i = 0; i < both[s]->match_labels.n; i++)
                        if (!key_is_open(both, both[s]->match_labels.items[i].key))
                                return true;
                for (size_t i = 0; i < both[s]->n_terms; i++)
                        if (!key_came_before(both[s], i) && !key_is_open(both, both[s]->terms[i].key))
                                return true;
        }
        return false;
}

/* ---- Building: used by the text form and by JSON ---- */

struct builder {
        struct arena *arena;
        struct pair *pairs;
        struct selector_term *terms;
        size_t n_pairs, n_terms, max;
};

/* Room for max conditions, of whichever form. */
static int builder_init(struct builder *b, struct arena *arena, size_t max) {
        *b = (struct builder){
                .arena = arena,
                .max = max,
                .pairs = arena_calloc(arena, max, sizeof(struct pair)),
                .terms = arena_calloc(arena, max, sizeof(struct selector_term)),
        };
        return b->pairs && b->terms ? 0 : -ENOMEM;
}

static int compare_pairs(const void *a, const void *b) {
        return strcmp(((const struct pair *)a)->key, ((const struct pair *)b)->key);
}

static void builder_finish(struct builder *b, struct selector *ret) {
        qsort(b->pairs, b->n_pairs, sizeof(*b->pairs), compare_pairs);
        *ret = (struct selector){
                .match_labels = {.items = b->pairs, .n = b->n_pairs},
                .terms = b->terms,
                .n_terms = b->n_terms,
        };
}

static int builder_add(struct builder *b, const char *key, enum selector_operator operator_,
                       const char **values, size_t n_values) {
        if (b->n_terms == b->max)
                return -E2BIG;
        b->terms[b->n_terms++] = (struct selector_term){
                .key = key,
                .operator_ = operator_,
                .values = values,
                .n_values = n_values,
        };
        return 0;
}

/* key = value; a key that is there with another value makes a term, so that both must hold. */
static int builder_add_equal(struct builder *b, const char *key, const char *value) {
        for (size_t i = 0; i < b->n_pairs; i++) {
                if (strcmp(b->pairs[i].key, key) != 0)
                        continue;
                if (strcmp(b->pairs[i].value, value) == 0)
                        return 0;
                const char **values = arena_memdup(b->arena, &value, sizeof(value));
                return values ? builder_add(b, key, SELECTOR_IN, values, 1) : -ENOMEM;
        }
        if (b->n_pairs == b->max)
                return -E2BIG;
        b->pairs[b->n_pairs++] = (struct pair){.key = key, .value = value};
        return 0;
}

/* ---- Text ---- */

struct parser {
        const char *text, *at;
        struct arena *arena;
        struct err **err;
};

static int refuse(const struct parser *p, const char *format, ...) _printf_(2, 3);
static int refuse(const struct parser *p, const char *format, ...) {
        char message[400];
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(message, sizeof(message), format, ap);
        va_end(ap);
        return err_set(p->err, EINVAL, "selector, column %zu: %s", (size_t)(p->at - p->text) + 1, message);
}

static void skip_blanks(struct parser *p) {
        p->at += strspn(p->at, " \t");
}

static bool accept(struct parser *p, const char *mark) {
        size_t n = strlen(mark);
        if (strncmp(p->at, mark, n) != 0)
                return false;
        p->at += n;
        return true;
}

/* Up to the next mark or blank; empty is for the caller to judge. NULL when memory is out. */
static const char *read_word(struct parser *p) {
        size_t n = strcspn(p->at, " \t,()=!");
        const char *word = arena_strndup(p->arena, p->at, n);
        p->at += n;
        return word;
}

static int read_key(struct parser *p, const char **ret) {
        skip_blanks(p);
        const char *start = p->at, *key = read_word(p);
        if (!key)
                return -ENOMEM;
        if (label_key_is_valid(key)) {
                *ret = key;
                return 0;
        }
        p->at = start;
        return *key ? refuse(p, "\"%.100s\" is not a label key", key) : refuse(p, "expected a label key");
}

static int read_value(struct parser *p, const char **ret) {
        skip_blanks(p);
        const char *start = p->at, *value = read_word(p);
        if (!value)
                return -ENOMEM;
        if (label_value_is_valid(value)) {
                *ret = value;
                return 0;
        }
        p->at = start;
        return refuse(p, "\"%.100s\" is not a label value", value);
}

/* "(a,b)" */
static int read_values(struct parser *p, const char ***ret, size_t *ret_n) {
        skip_blanks(p);
        if (!accept(p, "("))
                return refuse(p, "expected values in parentheses, such as (a,b)");
        const char **values = NULL;
        size_t n = 0, cap = 0;
        for (;;) {
                if (n == SELECTOR_VALUES_MAX)
                        return refuse(p, "more than %d values", SELECTOR_VALUES_MAX);
                if (n == cap) {
                        /* The arena keeps the smaller ones; together they are no more than the last. */
                        cap = MAX(cap * 2, (size_t)4);
                        const char **grown = arena_calloc(p->arena, cap, sizeof(*grown));
                        if (!grown)
                                return -ENOMEM;
                        if (n > 0)
                                memcpy(grown, values, n * sizeof(*grown));
                        values = grown;
                }
                int r = read_value(p, &values[n]);
                if (r < 0)
                        return r;
                n++;
                skip_blanks(p);
                if (accept(p, ")"))
                        break;
                if (!accept(p, ","))
                        return refuse(p, "expected ',' or ')' in the list of values");
        }
        *ret = values;
        *ret_n = n;
        return 0;
}

static int read_term(struct parser *p, struct builder *b) {
        const char *key = "", **values = NULL;
        size_t n = 0;
        skip_blanks(p);
        if (accept(p, "!")) {
                int r = read_key(p, &key);
                return r < 0 ? r : builder_add(b, key, SELECTOR_DOES_NOT_EXIST, NULL, 0);
        }
        int r = read_key(p, &key);
        if (r < 0)
                return r;
        skip_blanks(p);
        if (*p->at == '\0' || *p->at == ',')
                return builder_add(b, key, SELECTOR_EXISTS, NULL, 0);
        if (accept(p, "!=")) {
                values = arena_calloc(p->arena, 1, sizeof(*values));
                r = values ? read_value(p, values) : -ENOMEM;
                return r < 0 ? r : builder_add(b, key, SELECTOR_NOT_IN, values, 1);
        }
        if (accept(p, "==") || accept(p, "=")) {
                const char *value = "";
                r = read_value(p, &value);
                return r < 0 ? r : builder_add_equal(b, key, value);
        }
        const char *start = p->at, *word = read_word(p);
        if (!word)
                return -ENOMEM;
        bool in = strcmp(word, "in") == 0;
        if (!in && strcmp(word, "notin") != 0) {
                p->at = start;
                return refuse(p, "expected one of =, ==, !=, in, notin after \"%.100s\"", key);
        }
        r = read_values(p, &values, &n);
        return r < 0 ? r : builder_add(b, key, in ? SELECTOR_IN : SELECTOR_NOT_IN, values, n);
}

int selector_parse(struct arena *arena, const char *text, struct selector *ret, struct err **err) {
        struct parser p = {.text = text, .at = text, .arena = arena, .err = err};
        struct builder b;
        if (strnlen(text, SELECTOR_TEXT_MAX + 1) > SELECTOR_TEXT_MAX)
                return err_set(err, EINVAL, "selector longer than %d bytes", SELECTOR_TEXT_MAX);
        /* There are at most as many conditions as commas, and one. */
        size_t max = 1;
        for (const char *c = text; *c; c++)
                max += *c == ',';
        int r = builder_init(&b, arena, MIN(max, (size_t)SELECTOR_TERMS_MAX));
        skip_blanks(&p);
        for (bool more = r == 0 && *p.at; more;) {
                r = read_term(&p, &b);
                if (r == -E2BIG)
                        r = refuse(&p, "more than %d conditions", SELECTOR_TERMS_MAX);
                if (r < 0)
                        break;
                skip_blanks(&p);
                if (*p.at && *p.at != ',') {
                        r = refuse(&p, "expected ',' before the next condition");
                        break;
                }
                more = accept(&p, ",");
        }
        if (r == -ENOMEM)
                return err_set_errno(err, ENOMEM, "read selector");
        if (r < 0)
                return r;
        builder_finish(&b, ret);
        return 0;
}

void selector_format(const struct selector *s, struct buf *out) {
        const char *separator = "";
        for (size_t i = 0; i < s->match_labels.n; i++, separator = ",")
                buf_printf(out, "%s%s=%s", separator, s->match_labels.items[i].key,
                           s->match_labels.items[i].value);
        for (size_t i = 0; i < s->n_terms; i++, separator = ",") {
                const struct selector_term *t = &s->terms[i];
                bool lists = t->operator_ == SELECTOR_IN || t->operator_ == SELECTOR_NOT_IN;
                buf_printf(out, "%s%s%s", separator, t->operator_ == SELECTOR_DOES_NOT_EXIST ? "!" : "",
                           t->key);
                if (!lists)
                        continue;
                buf_puts(out, t->operator_ == SELECTOR_IN ? " in (" : " notin (");
                for (size_t v = 0; v < t->n_values; v++)
                        buf_printf(out, "%s%s", v > 0 ? "," : "", t->values[v]);
                buf_putc(out, ')');
        }
}

/* ---- JSON ---- */

static json_t *term_to_json(const struct selector_term *t) {
        json_t *j = json_pack("{s:s, s:s}", "key", t->key, "operator", operator_names[t->operator_]);
        if (!j || (t->operator_ != SELECTOR_IN && t->operator_ != SELECTOR_NOT_IN))
                return j;
        json_t *values = json_array();
        for (size_t i = 0; values && i < t->n_values; i++)
                if (json_array_append_new(values, json_string(t->values[i])) < 0) {
                        json_decref(values);
                        values = NULL;
                }
        if (json_object_set_new(j, "values", values) < 0) { /* takes values, and fails for NULL */
                json_decref(j);
                return NULL;
        }
        return j;
}

json_t *selector_to_json(const struct selector *s) {
        json_t *j = json_object();
        int r = j ? 0 : -1;
        if (r == 0 && s->match_labels.n > 0)
                r = json_object_set_new(j, "matchLabels", pairs_to_json(&s->match_labels));
        if (r == 0 && s->n_terms > 0) {
                json_t *terms = json_array();
                r = json_object_set_new(j, "matchExpressions", terms);
                for (size_t i = 0; r == 0 && i < s->n_terms; i++)
                        r = json_array_append_new(terms, term_to_json(&s->terms[i]));
        }
        if (r < 0) {
                json_decref(j);
                return NULL;
        }
        return j;
}

static int term_from_json(struct builder *b, const json_t *j, struct err **err) {
        static const char *const fields[] = {"key", "operator", "values"};
        const char *key = NULL, *name = NULL;
        int r = json_check_fields(j, fields, ARRAY_SIZE(fields), err);
        if (r < 0 || (r = json_read_string(j, "key", &key, err)) < 0 ||
            (r = json_read_string(j, "operator", &name, err)) < 0)
                return r;
        if (!label_key_is_valid(key))
                return err_set(err, EINVAL, "\"%.300s\" is not a label key", key);
        size_t operator_ = 0;
        while (operator_ < ARRAY_SIZE(operator_names) && strcmp(operator_names[operator_], name) != 0)
                operator_++;
        if (operator_ == ARRAY_SIZE(operator_names))
                return err_set(err, EINVAL, "operator \"%.100s\": use In, NotIn, Exists or DoesNotExist",
                               name);
        const json_t *list = json_object_get(j, "values");
        size_t n = json_array_size(list);
        bool lists = operator_ == SELECTOR_IN || operator_ == SELECTOR_NOT_IN;
        if (lists ? n == 0 : list && (!json_is_array(list) || n > 0))
                return err_set(err, EINVAL, "key %s: operator %s %s values", key, name,
                               lists ? "needs" : "takes no");
        if (n > SELECTOR_VALUES_MAX)
                return err_set(err, EINVAL, "key %s: more than %d values", key, SELECTOR_VALUES_MAX);
        const char **values = arena_calloc(b->arena, n, sizeof(*values));
        if (!values || !(key = arena_strdup(b->arena, key)))
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                const char *value = json_string_value(json_array_get(list, i));
                if (!label_value_is_valid(value))
                        return err_set(err, EINVAL, "key %s: value %zu is not a label value", key, i + 1);
                values[i] = arena_strdup(b->arena, value);
                if (!values[i])
                        return -ENOMEM;
        }
        return builder_add(b, key, (enum selector_operator)operator_, values, n);
}

static int read_json(struct builder *b, const json_t *j, struct selector *ret, struct err **err) {
        static const char *const fields[] = {"matchLabels", "matchExpressions"};
        struct pairs labels;
        int r = json_check_fields(j, fields, ARRAY_SIZE(fields), err);
        if (r < 0)
                return r;
        r = pairs_from_json(b->arena, json_object_get(j, "matchLabels"), label_key_is_valid,
                            label_value_is_valid, &labels, err);
        if (r < 0)
                return err_wrap_code(err, r, "matchLabels");
        const json_t *terms = json_object_get(j, "matchExpressions");
        if (terms && !json_is_array(terms))
                return err_set(err, EINVAL, "matchExpressions: expected a list");
        size_t n = json_array_size(terms);
        if (n > SELECTOR_TERMS_MAX)
                return err_set(err, EINVAL, "matchExpressions: more than %d", SELECTOR_TERMS_MAX);
        r = builder_init(b, b->arena, n);
        for (size_t i = 0; r == 0 && i < n; i++) {
                r = term_from_json(b, json_array_get(terms, i), err);
                if (r < 0 && r != -ENOMEM)
                        return err_wrap_code(err, r, "matchExpressions[%zu]", i);
        }
        if (r < 0)
                return r;
        builder_finish(b, ret);
        ret->match_labels = labels;
        return 0;
}

int selector_from_json(struct arena *arena, const json_t *j, struct selector *ret, struct err **err) {
        struct builder b = {.arena = arena};
        struct selector read;
        int r = read_json(&b, j, &read, err);
        if (r == -ENOMEM)
                return err_set_errno(err, ENOMEM, "read selector");
        if (r < 0)
                return err_wrap_code(err, r, "selector");
        *ret = read;
        return 0;
}
