/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/schema.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "fleet/expand.h"

#define FIELDS_MAX 64
#define SHOWN_TEXT_MAX 60

/* ---- Reporting */

static void report(struct schema_decoder *d, enum severity severity, const struct position *where,
                   const char *suggestion, const char *format, va_list ap) _printf_(5, 0);
static void report(struct schema_decoder *d, enum severity severity, const struct position *where,
                   const char *suggestion, const char *format, va_list ap) {
        char message[1024];

        (void)vsnprintf(message, sizeof message, format, ap);
        diagnostics_add(d->diagnostics, severity, where, suggestion, "%s", message);
}

void schema_error(struct schema_decoder *d, const struct position *where, const char *suggestion,
                  const char *format, ...) {
        va_list ap;
        va_start(ap, format);
        report(d, SEVERITY_ERROR, where, suggestion, format, ap);
        va_end(ap);
}

void schema_warning(struct schema_decoder *d, const struct position *where, const char *suggestion,
                    const char *format, ...) {
        va_list ap;
        va_start(ap, format);
        report(d, SEVERITY_WARNING, where, suggestion, format, ap);
        va_end(ap);
}

const char *suggest_nearest(const char *name, const char *const *candidates, size_t n, char *buf,
                            size_t size) {
        const char *nearest = str_nearest(name, candidates, n);
        if (!nearest)
                return NULL;
        (void)snprintf(buf, size, "did you mean \"%s\"?", nearest);
        return buf;
}

static int shown_length(const char *text) {
        size_t n = strcspn(text, "\n");
        if (n <= SHOWN_TEXT_MAX)
                return (int)n;
        n = SHOWN_TEXT_MAX;
        while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80) /* not inside a UTF-8 sequence */
                n--;
        return (int)n;
}

const char *schema_describe(const struct value *v, char *buf, size_t size) {
        const char *text = v->text ? v->text : "";
        int n = shown_length(text);
        const char *more = text[n] ? "..." : "";

        switch (v->type) {
        case VALUE_NULL: return "nothing";
        case VALUE_BOOL: (void)snprintf(buf, size, "%s", v->boolean ? "true" : "false"); return buf;
        case VALUE_INT:
        case VALUE_FLOAT: (void)snprintf(buf, size, "number %.*s%s", n, text, more); return buf;
        case VALUE_STRING: (void)snprintf(buf, size, "text \"%.*s%s\"", n, text, more); return buf;
        case VALUE_LIST: return "a list";
        case VALUE_MAP: return "a map";
        }
        return "something unknown";
}

static bool is_scalar(const struct value *v) {
        return v->type == VALUE_BOOL || v->type == VALUE_INT || v->type == VALUE_FLOAT ||
               v->type == VALUE_STRING;
}

static void report_type(struct schema_decoder *d, const char *what, const char *expected,
                        const struct value *v) {
        char found[128], way_out[SUGGESTION_SIZE];
        bool quote = str_eq(expected, "text") && is_scalar(v);

        if (quote)
                (void)snprintf(way_out, sizeof way_out, "write \"%.*s\" in quotes", shown_length(v->text),
                               v->text);
        schema_error(d, &v->position, quote ? way_out : NULL, "%s: expected %s, found %s", what, expected,
                     schema_describe(v, found, sizeof found));
}

/* ---- References */

static int add_reference(struct schema_decoder *d, const struct reference *r, const struct position *where) {
        if (d->n_references == d->cap_references) {
                size_t cap = d->cap_references ? d->cap_references * 2 : 8;
                struct located_reference *grown = arena_calloc(d->arena, cap, sizeof *grown);
                if (!grown)
                        return d->failed = -ENOMEM;
                if (d->n_references)
                        memcpy(grown, d->references, d->n_references * sizeof *grown);
                d->references = grown;
                d->cap_references = cap;
        }
        d->references[d->n_references++] =
                (struct located_reference){.name = r->name, .has_default = r->has_default, .where = *where};
        return 0;
}

void schema_collect_references(struct schema_decoder *d, const struct value *v) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct reference *references = NULL;
        size_t n = 0, fault = 0;
        int r;

        if (v->type != VALUE_STRING || !strstr(v->text, "${"))
                return;
        r = expand_references(d->arena, v->text, strlen(v->text), &references, &n, &fault, &err);
        if (r == -ENOMEM) {
                d->failed = r;
                return;
        }
        if (r < 0) {
                struct position where = source_reference(d->source, &v->position, v->text, fault);
                schema_error(d, &where, NULL, "%s", err_message(err));
                return;
        }
        for (size_t i = 0; i < n; i++) {
                struct position where =
                        source_reference(d->source, &v->position, v->text, references[i].offset);
                if (add_reference(d, &references[i], &where) < 0)
                        return;
        }
}

void schema_collect_content_references(struct schema_decoder *d, const struct source *source) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct reference *references = NULL;
        size_t n = 0, fault = 0;
        int r;

        if (!source->len || !memmem(source->text, source->len, "${", 2))
                return;
        r = expand_references(d->arena, source->text, source->len, &references, &n, &fault, &err);
        if (r == -ENOMEM) {
                d->failed = r;
                return;
        }
        if (r < 0) {
                struct position where = source_position(source, fault);
                schema_error(d, &where, NULL, "%s", err_message(err));
                return;
        }
        for (size_t i = 0; i < n; i++) {
                struct position where = source_position(source, references[i].offset);
                if (add_reference(d, &references[i], &where) < 0)
                        return;
        }
}

/* ---- One decoder a type. `what` names the field in messages. */

typedef void (*decode_fn)(struct schema_decoder *d, const struct schema_field *f, const char *what,
                          const struct value *v, void *target);

static void decode_text(struct schema_decoder *d, const struct schema_field *f, const char *what,
                        const struct value *v, void *target) {
        if (v->type != VALUE_STRING) {
                report_type(d, what, "text", v);
                return;
        }
        if (f->expands)
                schema_collect_references(d, v);
        *(const char **)target = v->text;
}

static void decode_word(struct schema_decoder *d, const struct schema_field *f, const char *what,
                        const struct value *v, void *target) {
        if (v->type == VALUE_STRING)
                for (const char *p = v->text; *p || p == v->text; p++)
                        if ((unsigned char)*p <= ' ' || *p == 0x7f) {
                                schema_error(d, &v->position, NULL,
                                             *p ? "%s: no blanks may stand in \"%.*s\""
                                                : "%s: the text is empty%.*s",
                                             what, *p ? shown_length(v->text) : 0, v->text);
                                return;
                        }
        decode_text(d, f, what, v, target);
}

static void decode_name(struct schema_decoder *d, const struct schema_field *f, const char *what,
                        const struct value *v, void *target) {
        if (v->type != VALUE_STRING) {
                report_type(d, what, "text", v);
                return;
        }
        if (!name_is_dns_label(v->text)) {
                schema_error(d, &v->position,
                             "use at most 63 of a-z, 0-9 and -, with a letter or digit at both ends",
                             "%s: \"%.*s\" is not a DNS label", what, shown_length(v->text), v->text);
                return;
        }
        *(const char **)target = v->text;
}

static void decode_located(struct schema_decoder *d, const struct schema_field *f, const char *what,
                           const struct value *v, void *target) {
        struct located *located = target;
        if (v->type != VALUE_STRING) {
                report_type(d, what, "text", v);
                return;
        }
        if (f->expands)
                schema_collect_references(d, v);
        *located = (struct located){v->text, v->position};
}

static void decode_located_name(struct schema_decoder *d, const struct schema_field *f, const char *what,
                                const struct value *v, void *target) {
        const char *name = NULL;
        decode_name(d, f, what, v, &name);
        if (name)
                *(struct located *)target = (struct located){name, v->position};
}

static void decode_port(struct schema_decoder *d, const struct schema_field *f, const char *what,
                        const struct value *v, void *target) {
        int64_t port = 0;
        if (v->type != VALUE_STRING && v->type != VALUE_INT) {
                report_type(d, what, "a port number", v);
                return;
        }
        if (v->type == VALUE_STRING && strstr(v->text, "${")) {
                schema_collect_references(d, v);
        } else if (str_to_i64(v->text, &port) < 0 || port < 1 || port > 65535) {
                report_type(d, what, "a port number from 1 to 65535", v);
                return;
        }
        *(const char **)target = v->text;
}

static void decode_bool(struct schema_decoder *d, const struct schema_field *f, const char *what,
                        const struct value *v, void *target) {
        if (v->type != VALUE_BOOL) {
                report_type(d, what, "true or false", v);
                return;
        }
        *(bool *)target = v->boolean;
}

static void decode_integer(struct schema_decoder *d, const struct schema_field *f, const char *what,
                           const struct value *v, void *target) {
        if (v->type != VALUE_INT) {
                report_type(d, what, "a whole number", v);
                return;
        }
        if ((f->min || f->max) && (v->integer < f->min || v->integer > f->max)) {
                schema_error(d, &v->position, NULL, "%s: %" PRId64 " is not from %" PRId64 " to %" PRId64,
                             what, v->integer, f->min, f->max);
                return;
        }
        *(int64_t *)target = v->integer;
}

static void decode_duration(struct schema_decoder *d, const struct schema_field *f, const char *what,
                            const struct value *v, void *target) {
        char low[32], high[32];
        int64_t ms = 0;
        if (v->type != VALUE_STRING || v->text[strspn(v->text, "0123456789")] == '\0' ||
            str_to_duration_ms(v->text, &ms) < 0) {
                report_type(d, what, "a duration such as 30s, 5m or 1h30m", v);
                return;
        }
        if ((f->min || f->max) && (ms < f->min || ms > f->max)) {
                schema_error(d, &v->position, NULL, "%s: %s is not from %s to %s", what, v->text,
                             duration_format(f->min, low, sizeof low),
                             duration_format(f->max, high, sizeof high));
                return;
        }
        *(msec_t *)target = ms;
}

static void decode_seconds(struct schema_decoder *d, const struct schema_field *f, const char *what,
                           const struct value *v, void *target) {
        if (v->type != VALUE_INT) {
                report_type(d, what, "a whole number of seconds", v);
                return;
        }
        if (v->integer < f->min / 1000 || v->integer > f->max / 1000) {
                schema_error(d, &v->position, NULL,
                             "%s: %" PRId64 " is not from %" PRId64 " to %" PRId64 " seconds", what,
                             v->integer, f->min / 1000, f->max / 1000);
                return;
        }
        *(msec_t *)target = v->integer * 1000;
}

static void decode_quantity(struct schema_decoder *d, const struct schema_field *f, const char *what,
                            const struct value *v, void *target) {
        struct quantity q = {0};
        if ((v->type != VALUE_STRING && v->type != VALUE_INT) || quantity_parse(v->text, &q) < 0) {
                report_type(d, what, "a number such as 3 or a share such as \"10%\"", v);
                return;
        }
        *(struct quantity *)target = q;
}

static void decode_mode(struct schema_decoder *d, const struct schema_field *f, const char *what,
                        const struct value *v, void *target) {
        const char *p = v->text;
        unsigned mode = 0;

        if (v->type == VALUE_INT) {
                schema_error(d, &v->position, "write it in quotes, with a leading zero",
                             "%s: expected octal permissions such as \"0644\", found number %s", what,
                             v->text);
                return;
        }
        if (v->type != VALUE_STRING || strlen(p) < 3 || strlen(p) > 4 || p[strspn(p, "01234567")]) {
                report_type(d, what, "octal permissions such as \"0644\"", v);
                return;
        }
        for (; *p; p++)
                mode = mode * 8 + (unsigned)(*p - '0');
        if (mode > 0777) {
                schema_error(d, &v->position, NULL,
                             "%s: \"%s\" sets more than read, write and execute for owner, group and others",
                             what, v->text);
                return;
        }
        *(unsigned *)target = mode;
}

static void decode_bytes(struct schema_decoder *d, const struct schema_field *f, const char *what,
                         const struct value *v, void *target) {
        int64_t bytes = 0;
        if ((v->type != VALUE_STRING && v->type != VALUE_INT) || schema_parse_bytes(v->text, &bytes) < 0 ||
            bytes < 1) {
                report_type(d, what, "an amount of memory such as 64Mi or 1Gi", v);
                return;
        }
        *(int64_t *)target = bytes;
}

static void decode_cpu(struct schema_decoder *d, const struct schema_field *f, const char *what,
                       const struct value *v, void *target) {
        int64_t millis = 0;
        if (!is_scalar(v) || v->type == VALUE_BOOL || schema_parse_cpu(v->text, &millis) < 0 || millis < 1) {
                report_type(d, what, "processors such as 500m or 1.5", v);
                return;
        }
        *(int64_t *)target = millis;
}

static void format_choices(const char *const *choices, char *buf, size_t size) {
        size_t used = 0;
        buf[0] = '\0';
        for (size_t i = 0; choices[i] && used < size; i++) {
                int n = snprintf(buf + used, size - used, "%s%s",
                                 i == 0           ? ""
                                 : choices[i + 1] ? ", "
                                                  : " or ",
                                 choices[i]);
                used += n > 0 ? (size_t)n : 0;
        }
}

static void decode_choice(struct schema_decoder *d, const struct schema_field *f, const char *what,
                          const struct value *v, void *target) {
        char expected[256], suggestion[SUGGESTION_SIZE], found[128];
        size_t n = 0;

        for (; f->choices[n]; n++)
                if (v->type == VALUE_STRING && str_eq(v->text, f->choices[n])) {
                        *(int *)target = (int)n;
                        return;
                }
        format_choices(f->choices, expected, sizeof expected);
        schema_error(d, &v->position,
                     v->type == VALUE_STRING
                             ? suggest_nearest(v->text, f->choices, n, suggestion, sizeof suggestion)
                             : NULL,
                     "%s: expected %s, found %s", what, expected, schema_describe(v, found, sizeof found));
}

static bool too_many(struct schema_decoder *d, const struct schema_field *f, const char *what,
                     const struct value *v, size_t n) {
        if (!f->max || n <= (size_t)f->max)
                return false;
        schema_error(d, &v->position, NULL, "%s: %zu are too many, at most %" PRId64, what, n, f->max);
        return true;
}

static void decode_texts(struct schema_decoder *d, const struct schema_field *f, const char *what,
                         const struct value *v, void *target) {
        struct located_list *list = target;
        struct located *items;

        if (v->type != VALUE_LIST) {
                report_type(d, what, "a list of texts", v);
                return;
        }
        if (v->n_items == 0 && f->type == SCHEMA_TEXTS) {
                schema_error(d, &v->position, NULL, "%s: the list is empty", what);
                return;
        }
        if (too_many(d, f, what, v, v->n_items))
                return;
        items = arena_calloc(d->arena, v->n_items + 1, sizeof *items);
        if (!items) {
                d->failed = -ENOMEM;
                return;
        }
        *list = (struct located_list){.items = items};
        for (size_t i = 0; i < v->n_items; i++) {
                const struct value *item = v->items[i];
                const char *name = NULL;
                bool repeated = false;

                if (f->type == SCHEMA_NAMES) {
                        decode_name(d, f, what, item, &name);
                        if (!name)
                                continue;
                        for (size_t j = 0; j < list->n && !repeated; j++)
                                repeated = str_eq(list->items[j].text, name);
                        if (repeated) {
                                schema_error(d, &item->position, NULL, "%s: \"%s\" is listed twice", what,
                                             name);
                                continue;
                        }
                } else if (item->type != VALUE_STRING) {
                        report_type(d, what, "text", item);
                        continue;
                } else if (f->expands) {
                        schema_collect_references(d, item);
                }
                items[list->n++] = (struct located){item->text, item->position};
        }
}

static int compare_pairs(const void *a, const void *b) {
        return strcmp(((const struct pair *)a)->key, ((const struct pair *)b)->key);
}

static bool environment_name_is_valid(const char *s) {
        return *s && !strchr(s, '=');
}

struct pairs_rule {
        const char *key_is, *key_rule, *value_rule;
        bool (*key_is_valid)(const char *);
        bool (*value_is_valid)(const char *);
};

static const struct pairs_rule *pairs_rule(enum schema_type type) {
        static const struct pairs_rule
                labels = {"label",
                          "use at most 253 of letters, digits and ._/- with a letter or digit at both ends",
                          "use at most 63 of letters, digits and ._-", label_key_is_valid,
                          label_value_is_valid},
                variables = {"variable", "use letters, digits and _, not starting with a digit",
                             "use at most 4096 bytes", variable_name_is_valid, variable_value_is_valid},
                environment = {"environment variable", "leave out the equals sign", NULL,
                               environment_name_is_valid, NULL};
        return type == SCHEMA_LABELS ? &labels : type == SCHEMA_VARIABLES ? &variables : &environment;
}

static void decode_pairs(struct schema_decoder *d, const struct schema_field *f, const char *what,
                         const struct value *v, void *target) {
        const struct pairs_rule *rule = pairs_rule(f->type);
        struct pairs pairs = {0};
        char name[160];

        if (v->type != VALUE_MAP) {
                report_type(d, what, "a map of texts", v);
                return;
        }
        if (too_many(d, f, what, v, v->n_pairs))
                return;
        pairs.items = arena_calloc(d->arena, v->n_pairs + 1, sizeof *pairs.items);
        if (!pairs.items) {
                d->failed = -ENOMEM;
                return;
        }
        for (size_t i = 0; i < v->n_pairs; i++) {
                const struct value_pair *p = &v->pairs[i];

                if (!rule->key_is_valid(p->key)) {
                        schema_error(d, &p->key_position, rule->key_rule, "%s \"%.*s\" is not a valid name",
                                     rule->key_is, shown_length(p->key), p->key);
                        continue;
                }
                (void)snprintf(name, sizeof name, "%s \"%.*s\"", rule->key_is, shown_length(p->key), p->key);
                if (p->value->type != VALUE_STRING) {
                        report_type(d, name, "text", p->value);
                        continue;
                }
                if (rule->value_is_valid && !rule->value_is_valid(p->value->text)) {
                        schema_error(d, &p->value->position, rule->value_rule,
                                     "%s: \"%.*s\" is not a valid value", name, shown_length(p->value->text),
                                     p->value->text);
                        continue;
                }
                if (f->expands)
                        schema_collect_references(d, p->value);
                else if (f->type == SCHEMA_VARIABLES && strstr(p->value->text, "${"))
                        schema_warning(d, &p->value->position, "put the reference where the variable is used",
                                       "%s: references in variables are not expanded", name);
                pairs.items[pairs.n++] = (struct pair){p->key, p->value->text};
        }
        if (pairs.n > 1)
                qsort(pairs.items, pairs.n, sizeof *pairs.items, compare_pairs);
        *(struct pairs *)target = pairs;
}

static void decode_object(struct schema_decoder *d, const struct schema_field *f, const char *what,
                          const struct value *v, void *target) {
        (void)schema_decode(d, f->nested, v, target);
}

static void decode_objects(struct schema_decoder *d, const struct schema_field *f, const char *what,
                           const struct value *v, void *target) {
        struct {
                void *items;
                size_t n;
        } *list = target;
        size_t n;

        if (v->type != VALUE_LIST) {
                report_type(d, what, "a list", v);
                return;
        }
        n = v->n_items;
        if (too_many(d, f, what, v, n))
                return;
        list->items = arena_calloc(d->arena, n + 1, f->nested->size);
        if (!list->items) {
                d->failed = -ENOMEM;
                return;
        }
        list->n = n;
        for (size_t i = 0; i < n && !d->failed; i++)
                (void)schema_decode(d, f->nested, v->items[i], (char *)list->items + i * f->nested->size);
}

static const struct {
        const char *shown; /* in the reference page */
        decode_fn decode;
} types[] = {
        [SCHEMA_TEXT] = {"text", decode_text},
        [SCHEMA_WORD] = {"text", decode_word},
        [SCHEMA_NAME] = {"name", decode_name},
        [SCHEMA_LOCATED] = {"text", decode_located},
        [SCHEMA_LOCATED_NAME] = {"name", decode_located_name},
        [SCHEMA_PORT] = {"port", decode_port},
        [SCHEMA_BOOL] = {"true or false", decode_bool},
        [SCHEMA_INTEGER] = {"number", decode_integer},
        [SCHEMA_DURATION] = {"duration", decode_duration},
        [SCHEMA_SECONDS] = {"number of seconds", decode_seconds},
        [SCHEMA_QUANTITY] = {"number or share", decode_quantity},
        [SCHEMA_MODE] = {"quoted octal", decode_mode},
        [SCHEMA_BYTES] = {"memory", decode_bytes},
        [SCHEMA_CPU] = {"processors", decode_cpu},
        [SCHEMA_CHOICE] = {"one of", decode_choice},
        [SCHEMA_TEXTS] = {"list of texts", decode_texts},
        [SCHEMA_NAMES] = {"list of names", decode_texts},
        [SCHEMA_LABELS] = {"labels", decode_pairs},
        [SCHEMA_VARIABLES] = {"variables", decode_pairs},
        [SCHEMA_PAIRS] = {"map of texts", decode_pairs},
        [SCHEMA_OBJECT] = {"", decode_object},
        [SCHEMA_OBJECTS] = {"list of", decode_objects},
};

/* ---- A map */

/* Defaults go through the same decoders, so that the reference page cannot promise another one. */
static void set_fallback(struct schema_decoder *d, const struct schema_field *f, void *target) {
        struct value v = {.type = VALUE_STRING, .quoted = true, .text = f->fallback};

        if (f->type == SCHEMA_BOOL) {
                v.type = VALUE_BOOL;
                v.boolean = str_eq(f->fallback, "true");
        } else if ((f->type == SCHEMA_INTEGER || f->type == SCHEMA_SECONDS) &&
                   str_to_i64(f->fallback, &v.integer) == 0) {
                v.type = VALUE_INT;
        }
        types[f->type].decode(d, f, f->name, &v, target);
}

static void set_defaults(struct schema_decoder *d, const struct schema *s, void *object) {
        for (const struct schema_field *f = s->fields; f->name; f++) {
                void *target = (char *)object + f->offset;
                if (f->fallback)
                        set_fallback(d, f, target);
                else if (f->type == SCHEMA_OBJECT)
                        set_defaults(d, f->nested, target);
                else if (f->type == SCHEMA_CHOICE)
                        *(int *)target = -1;
        }
}

/* Gives the bit of the field that was probably meant, or 0. */
static uint64_t report_unknown(struct schema_decoder *d, const struct schema *s, const struct value_pair *p) {
        const char *names[FIELDS_MAX];
        char suggestion[SUGGESTION_SIZE], known[SUGGESTION_SIZE - 32];
        size_t n = 0, used = 0;
        const char *nearest;

        known[0] = '\0';
        for (const struct schema_field *f = s->fields; f->name && n < FIELDS_MAX; f++) {
                names[n++] = f->name;
                if (used < sizeof known)
                        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s",
                                                 n == 1 ? "" : ", ", f->name);
        }
        nearest = str_nearest(p->key, names, n);
        if (nearest)
                (void)snprintf(suggestion, sizeof suggestion, "did you mean \"%s\"?", nearest);
        else
                (void)snprintf(suggestion, sizeof suggestion, "known are: %s", known);
        schema_error(d, &p->key_position, suggestion, "unknown field \"%.*s\" in %s", shown_length(p->key),
                     p->key, s->name);
        for (size_t i = 0; i < n; i++)
                if (names[i] == nearest)
                        return UINT64_C(1) << i;
        return 0;
}

static void note_broken(const struct schema_decoder *d, const struct schema *s, void *object,
                        size_t errors_before) {
        if (s->broken_offset)
                *(bool *)((char *)object + s->broken_offset) =
                        diagnostics_errors(d->diagnostics) > errors_before;
}

int schema_decode(struct schema_decoder *d, const struct schema *s, const struct value *v, void *object) {
        size_t errors_before = diagnostics_errors(d->diagnostics);
        uint64_t seen = 0;
        char what[96];

        set_defaults(d, s, object);
        if (s->where_offset)
                *(struct position *)(void *)((char *)object + s->where_offset) = v->position;
        if (v->type != VALUE_MAP) {
                report_type(d, s->name, "a map", v);
                note_broken(d, s, object, errors_before);
                return d->failed;
        }
        for (size_t i = 0; i < v->n_pairs && !d->failed; i++) {
                const struct value_pair *p = &v->pairs[i];
                const struct schema_field *f = s->fields;

                while (f->name && !str_eq(f->name, p->key))
                        f++;
                if (!f->name) {
                        seen |= report_unknown(d, s, p); /* it is not missing too */
                        continue;
                }
                if (p->value->type == VALUE_NULL) /* "field:" with nothing behind it is not given */
                        continue;
                seen |= UINT64_C(1) << (f - s->fields);
                (void)snprintf(what, sizeof what, "field \"%s\"", f->name);
                types[f->type].decode(d, f, what, p->value, (char *)object + f->offset);
        }
        for (const struct schema_field *f = s->fields; f->name; f++)
                if (f->required && !(seen & UINT64_C(1) << (f - s->fields)))
                        schema_error(d, &v->position, NULL, "%s: field \"%s\" is missing", s->name, f->name);
        note_broken(d, s, object, errors_before);
        if (s->check && !d->failed)
                s->check(d, v, object);
        note_broken(d, s, object, errors_before);
        return d->failed;
}

/* ---- The reference page */

static void write_type(const struct schema_field *f, struct buf *out) {
        char choices[256];

        if (f->type == SCHEMA_CHOICE) {
                format_choices(f->choices, choices, sizeof choices);
                buf_printf(out, "%s", choices);
        } else if (f->type == SCHEMA_OBJECT) {
                buf_printf(out, "%s", f->nested->name);
        } else if (f->type == SCHEMA_OBJECTS) {
                buf_printf(out, "list of %s", f->nested->name);
        } else {
                buf_puts(out, types[f->type].shown);
        }
}

void schema_write_reference(struct schema_page *page, const struct schema *s, const char *heading) {
        struct buf *out = page->out;

        for (size_t i = 0; i < page->n_written; i++)
                if (page->written[i] == s)
                        return;
        if (page->n_written == SCHEMA_PAGE_MAX)
                return;
        page->written[page->n_written++] = s;
        buf_printf(out, "%s %s\n\n%s\n\n| field | type | default | |\n|---|---|---|---|\n", heading, s->name,
                   s->documentation);
        for (const struct schema_field *f = s->fields; f->name; f++) {
                buf_printf(out, "| `%s` | ", f->name);
                write_type(f, out);
                if (f->fallback)
                        buf_printf(out, " | `%s`", f->fallback);
                else
                        buf_puts(out, f->required ? " | required" : " |");
                buf_printf(out, " | %s%s |\n", f->documentation, f->expands ? " May hold references." : "");
        }
        buf_putc(out, '\n');
        for (const struct schema_field *f = s->fields; f->name; f++)
                if (f->nested)
                        schema_write_reference(page, f->nested, "###");
}
