/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/yaml.h"

#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "base/utf8.h"

/* Maps of more keys than this have their keys sorted to find duplicates; below, comparing each with each is
 * quicker. */
#define COMPARE_ALL_MAX 16

/* ---- Plain scalars: YAML 1.2.2 section 10.3.2 ---- */

static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

static bool is_one_of(const char *s, size_t len, const char *const *words, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (strlen(words[i]) == len && memcmp(s, words[i], len) == 0)
                        return true;
        return false;
}

static bool is_true(const char *s, size_t len) {
        static const char *const words[] = {"true", "True", "TRUE"};
        return is_one_of(s, len, words, ARRAY_SIZE(words));
}

static bool is_false(const char *s, size_t len) {
        static const char *const words[] = {"false", "False", "FALSE"};
        return is_one_of(s, len, words, ARRAY_SIZE(words));
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?   and the infinities and NaN */
static enum value_type number_type(const char *s, size_t len) {
        static const char *const infinities[] = {".inf", ".Inf", ".INF"};
        static const char *const nans[] = {".nan", ".NaN", ".NAN"};
        if (is_one_of(s, len, nans, ARRAY_SIZE(nans)))
                return VALUE_FLOAT;
        if (len > 2 && s[0] == '0' && (s[1] == 'o' || s[1] == 'x')) {
                for (size_t i = 2; i < len; i++) {
                        bool octal = s[i] >= '0' && s[i] <= '7';
                        bool hex = is_digit(s[i]) || (s[i] >= 'a' && s[i] <= 'f') ||
                                   (s[i] >= 'A' && s[i] <= 'F');
                        if (s[1] == 'o' ? !octal : !hex)
                                return VALUE_STRING;
                }
                return VALUE_INT;
        }
        size_t i = 0;
        if (i < len && (s[i] == '-' || s[i] == '+'))
                i++;
        if (is_one_of(s + i, len - i, infinities, ARRAY_SIZE(infinities)))
                return VALUE_FLOAT;
        size_t whole = i;
        while (i < len && is_digit(s[i]))
                i++;
        whole = i - whole;
        if (i == len)
                return whole > 0 ? VALUE_INT : VALUE_STRING;
        if (s[i] == '.') {
                size_t fraction = ++i;
                while (i < len && is_digit(s[i]))
                        i++;
                fraction = i - fraction;
                if (whole + fraction == 0)
                        return VALUE_STRING;
        } else if (whole == 0)
                return VALUE_STRING;
        if (i < len && (s[i] == 'e' || s[i] == 'E')) {
                i++;
                if (i < len && (s[i] == '-' || s[i] == '+'))
                        i++;
                size_t exponent = i;
                while (i < len && is_digit(s[i]))
                        i++;
                if (i == exponent)
                        return VALUE_STRING;
        }
        return i == len ? VALUE_FLOAT : VALUE_STRING;
}

enum value_type yaml_plain_type(const char *s, size_t len) {
        static const char *const nulls[] = {"~", "null", "Null", "NULL"};
        if (len == 0)
                return VALUE_NULL;
        switch (s[0]) {
        case '~':
        case 'n':
        case 'N': return is_one_of(s, len, nulls, ARRAY_SIZE(nulls)) ? VALUE_NULL : VALUE_STRING;
        case 't':
        case 'T': return is_true(s, len) ? VALUE_BOOL : VALUE_STRING;
        case 'f':
        case 'F': return is_false(s, len) ? VALUE_BOOL : VALUE_STRING;
        case '-':
        case '+':
        case '.':
        case '0':
        case '1':
        case '2':
        case '3':
        case '4':
        case '5':
        case '6':
        case '7':
        case '8':
        case '9': return number_type(s, len);
        default: return VALUE_STRING;
        }
}

/* The text has an integer's form. */
static int parse_integer(const char *s, int64_t *ret) {
        bool negative = *s == '-';
        if (*s == '-' || *s == '+')
                s++;
        uint64_t base = s[0] == '0' && s[1] == 'o' ? 8 : s[0] == '0' && s[1] == 'x' ? 16 : 10;
        if (base != 10)
                s += 2;
        uint64_t value = 0;
        for (; *s; s++) {
                uint64_t digit = (uint64_t)(is_digit(*s) ? *s - '0' : (*s | 0x20) - 'a' + 10);
                if (__builtin_mul_overflow(value, base, &value) ||
                    __builtin_add_overflow(value, digit, &value))
                        return -ERANGE;
        }
        if (value > (uint64_t)INT64_MAX + (negative ? 1 : 0))
                return -ERANGE;
        *ret = negative ? (int64_t)(0 - value) : (int64_t)value;
        return 0;
}

/* The text has a decimal number's form. */
static int parse_number(const char *s, double *ret) {
        double sign = *s == '-' ? -1 : 1;
        const char *dot = *s == '-' || *s == '+' ? s + 1 : s;
        if (dot[0] == '.' && !is_digit(dot[1])) {
                *ret = dot[1] == 'n' || dot[1] == 'N' ? (double)NAN : sign * (double)INFINITY;
                return 0;
        }
        /* The C locale by name: strtod() would want a comma where the program runs in German. */
        locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
        if (!c)
                return -ENOMEM;
        double value = strtod_l(s, NULL, c);
        freelocale(c);
        if (!isfinite(value))
                return -ERANGE;
        *ret = value;
        return 0;
}

/* ---- Decoder ---- */

/* A collection that is being read. The outermost one is the list of documents. */
struct frame {
        struct value *collection; /* NULL: the list of documents */
        size_t start;             /* its first pair in the scratch stack */
        bool is_map;
        const char *key; /* read, its value not yet */
        struct position key_position;
};

struct decoder {
        struct arena *arena;
        yaml_parser_t parser;
        const char *file;
        const char *text;
        size_t len;
        bool ascii;

        /* How far the text was walked to turn libyaml's count of characters into lines and bytes. */
        size_t walked_characters, walked_bytes, line_start;
        uint32_t walked_line;

        struct frame frames[YAML_MAX_DEPTH + 1];
        size_t depth;
        struct value_pair *scratch; /* pairs, or list items, of all open collections */
        size_t n_scratch, cap_scratch;
        size_t n_nodes;

        struct position *where;
        struct err **err;
};

static struct position position_at(struct decoder *d, const yaml_mark_t *mark) {
        struct position p = {.file = d->file};
        if (d->ascii) {
                p.line = (uint32_t)mark->line + 1;
                p.column = (uint32_t)mark->column + 1;
                return p;
        }
        /* Marks come in order, so that the walk is one over the whole text; only an error may point back. */
        if (mark->index < d->walked_characters)
                d->walked_characters = d->walked_bytes = d->line_start = d->walked_line = 0;
        while (d->walked_characters < mark->index && d->walked_bytes < d->len) {
                if (d->text[d->walked_bytes] == '\n') {
                        d->walked_line++;
                        d->line_start = d->walked_bytes + 1;
                }
                do
                        d->walked_bytes++;
                while (d->walked_bytes < d->len && ((unsigned char)d->text[d->walked_bytes] & 0xc0) == 0x80);
                d->walked_characters++;
        }
        p.line = d->walked_line + 1;
        p.column = (uint32_t)(d->walked_bytes - d->line_start) + 1;
        return p;
}

static struct position position_at_byte(const struct decoder *d, size_t offset) {
        struct position p = {.file = d->file, .line = 1, .column = 1};
        for (size_t i = 0; i < offset && i < d->len; i++) {
                if (d->text[i] == '\n') {
                        p.line++;
                        p.column = 1;
                } else
                        p.column++;
        }
        return p;
}

static int refuse(struct decoder *d, const struct position *p, const char *format, ...) _printf_(3, 4);
static int refuse(struct decoder *d, const struct position *p, const char *format, ...) {
        char message[512];
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(message, sizeof(message), format, ap);
        va_end(ap);
        if (!d->where)
                return err_set(d->err, EINVAL, "%s:%" PRIu32 ":%" PRIu32 ": %s", d->file, p->line, p->column,
                               message);
        *d->where = *p;
        return err_set(d->err, EINVAL, "%s", message);
}

static int no_memory(struct decoder *d) {
        return err_set_errno(d->err, ENOMEM, "read %s", d->file);
}

static int refuse_syntax(struct decoder *d) {
        const yaml_parser_t *p = &d->parser;
        if (p->error == YAML_MEMORY_ERROR)
                return no_memory(d);
        const char *problem = p->problem ? p->problem : "not YAML";
        if (p->error == YAML_READER_ERROR) {
                struct position at = position_at_byte(d, p->problem_offset);
                return refuse(d, &at, "%s (#%X)", problem, (unsigned)p->problem_value);
        }
        struct position at = position_at(d, &p->problem_mark);
        size_t offset = d->ascii ? p->problem_mark.index : d->walked_bytes;
        char c = offset < d->len ? d->text[offset] : '\0';
        if (c == '\t')
                return refuse(d, &at, "a tab cannot indent YAML: use blanks");
        if (c == '@' || c == '`' || c == '%')
                return refuse(d, &at, "text cannot begin with '%c': put it in quotes", c);
        if (p->context)
                return refuse(d, &at, "%s %s (line %zu)", problem, p->context, p->context_mark.line + 1);
        return refuse(d, &at, "%s", problem);
}

static int push(struct decoder *d, const struct value_pair *pair) {
        if (d->n_scratch == d->cap_scratch) {
                size_t cap = MAX(d->cap_scratch * 2, (size_t)64);
                struct value_pair *grown = reallocarray(d->scratch, cap, sizeof(*grown));
                if (!grown)
                        return no_memory(d);
                d->scratch = grown;
                d->cap_scratch = cap;
        }
        d->scratch[d->n_scratch++] = *pair;
        return 0;
}

/* A value is complete or, a collection, begun: it goes where it belongs. */
static int attach(struct decoder *d, struct value *v) {
        struct frame *f = &d->frames[d->depth];
        if (++d->n_nodes > YAML_MAX_NODES)
                return refuse(d, &v->position, "more than %u values in one file: split it", YAML_MAX_NODES);
        struct value_pair pair = {.value = v, .key = f->key, .key_position = f->key_position};
        f->key = NULL;
        return push(d, &pair);
}

static int refuse_node_properties(struct decoder *d, const yaml_event_t *e, const yaml_char_t *anchor,
                                  const yaml_char_t *tag) {
        struct position p = position_at(d, &e->start_mark);
        if (anchor)
                return refuse(d, &p, "anchor &%s: anchors and aliases are not supported, write the value out",
                              (const char *)anchor);
        return refuse(d, &p, "tag %s: tags are not supported, leave it out (quotes make text)",
                      (const char *)tag);
}

static int read_scalar(struct decoder *d, const yaml_event_t *e) {
        const char *text = (const char *)e->data.scalar.value;
        size_t len = e->data.scalar.length;
        struct frame *f = &d->frames[d->depth];
        if (e->data.scalar.anchor || e->data.scalar.tag)
                return refuse_node_properties(d, e, e->data.scalar.anchor, e->data.scalar.tag);
        bool quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
        if (!f->collection && !quoted && len == 0)
                return 0; /* an empty document */
        struct position position = position_at(d, &e->start_mark);
        if (memchr(text, '\0', len))
                return refuse(d, &position, "text with a NUL character (\\0) in it");
        char *copy = arena_strndup(d->arena, text, len);
        if (!copy)
                return no_memory(d);
        if (f->is_map && !f->key) {
                if (len == 0 && !quoted)
                        return refuse(d, &position, "a key is missing before ':'");
                f->key = copy;
                f->key_position = position;
                return 0;
        }
        struct value *v = arena_alloc(d->arena, sizeof(*v));
        if (!v)
                return no_memory(d);
        v->position = position;
        v->quoted = quoted;
        v->text = copy;
        v->type = quoted ? VALUE_STRING : yaml_plain_type(text, len);
        int r = 0;
        if (v->type == VALUE_BOOL)
                v->boolean = is_true(text, len);
        else if (v->type == VALUE_INT)
                r = parse_integer(copy, &v->integer);
        else if (v->type == VALUE_FLOAT)
                r = parse_number(copy, &v->number);
        if (r == -ERANGE)
                return refuse(d, &position, "number %.40s is too large: put it in quotes to make it text",
                              copy);
        if (r < 0)
                return no_memory(d);
        return attach(d, v);
}

static int begin_collection(struct decoder *d, const yaml_event_t *e, bool is_map) {
        const yaml_char_t *anchor = is_map ? e->data.mapping_start.anchor : e->data.sequence_start.anchor;
        const yaml_char_t *tag = is_map ? e->data.mapping_start.tag : e->data.sequence_start.tag;
        if (anchor || tag)
                return refuse_node_properties(d, e, anchor, tag);
        const struct frame *f = &d->frames[d->depth];
        struct position position = position_at(d, &e->start_mark);
        if (f->is_map && !f->key)
                return refuse(d, &position, "a %s cannot be a key: keys are text",
                              value_type_name(is_map ? VALUE_MAP : VALUE_LIST));
        if (d->depth >= YAML_MAX_DEPTH)
                return refuse(d, &position, "nested deeper than %d levels", YAML_MAX_DEPTH);
        struct value *v = arena_alloc(d->arena, sizeof(*v));
        if (!v)
                return no_memory(d);
        v->type = is_map ? VALUE_MAP : VALUE_LIST;
        v->position = position;
        int r = attach(d, v);
        if (r < 0)
                return r;
        d->frames[++d->depth] = (struct frame){.collection = v, .start = d->n_scratch, .is_map = is_map};
        return 0;
}

static int compare_keys(const void *a, const void *b) {
        const struct value_pair *x = *(const struct value_pair *const *)a;
        const struct value_pair *y = *(const struct value_pair *const *)b;
        int r = strcmp(x->key, y->key);
        return r != 0 ? r : (x > y) - (x < y); /* equal keys stay in the order of the file */
}

/* The first pair whose key an earlier pair has, or NULL; that earlier one in *ret_first. */
static int find_duplicate(const struct value_pair *pairs, size_t n, const struct value_pair **ret_first,
                          const struct value_pair **ret_second) {
        if (n <= COMPARE_ALL_MAX) {
                for (size_t i = 1; i < n; i++)
                        for (size_t j = 0; j < i; j++)
                                if (strcmp(pairs[i].key, pairs[j].key) == 0) {
                                        *ret_first = &pairs[j];
                                        *ret_second = &pairs[i];
                                        return 0;
                                }
                return 0;
        }
        _cleanup_(x_freep) const struct value_pair **sorted = calloc(n, sizeof(*sorted));
        if (!sorted)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                sorted[i] = &pairs[i];
        qsort(sorted, n, sizeof(*sorted), compare_keys);
        for (size_t i = 1; i < n; i++)
                if (strcmp(sorted[i - 1]->key, sorted[i]->key) == 0 &&
                    (!*ret_second || sorted[i] < *ret_second)) {
                        *ret_first = sorted[i - 1];
                        *ret_second = sorted[i];
                }
        return 0;
}

static int end_collection(struct decoder *d) {
        struct frame *f = &d->frames[d->depth];
        struct value *v = f->collection;
        const struct value_pair *pairs = d->scratch + f->start;
        size_t n = d->n_scratch - f->start;
        if (f->is_map) {
                const struct value_pair *first = NULL, *second = NULL;
                if (find_duplicate(pairs, n, &first, &second) < 0)
                        return no_memory(d);
                if (second)
                        return refuse(d, &second->key_position,
                                      "duplicate key \"%.100s\": it stands in line %" PRIu32 " already",
                                      second->key, first->key_position.line);
                v->pairs = arena_memdup(d->arena, pairs, n * sizeof(*pairs));
                v->n_pairs = n;
                if (!v->pairs)
                        return no_memory(d);
        } else {
                v->items = arena_calloc(d->arena, n, sizeof(struct value *));
                v->n_items = n;
                if (!v->items)
                        return no_memory(d);
                for (size_t i = 0; i < n; i++)
                        v->items[i] = pairs[i].value;
        }
        d->n_scratch = f->start;
        d->depth--;
        return 0;
}

static int read_event(struct decoder *d, const yaml_event_t *e) {
        struct position p;
        switch (e->type) {
        case YAML_DOCUMENT_START_EVENT:
                if (e->data.document_start.tag_directives.start == e->data.document_start.tag_directives.end)
                        return 0;
                p = position_at(d, &e->start_mark);
                return refuse(d, &p, "%%TAG directive: tags are not supported");
        case YAML_ALIAS_EVENT:
                p = position_at(d, &e->start_mark);
                return refuse(d, &p, "alias *%s: anchors and aliases are not supported, write the value out",
                              (const char *)e->data.alias.anchor);
        case YAML_SCALAR_EVENT: return read_scalar(d, e);
        case YAML_SEQUENCE_START_EVENT: return begin_collection(d, e, false);
        case YAML_MAPPING_START_EVENT: return begin_collection(d, e, true);
        case YAML_SEQUENCE_END_EVENT:
        case YAML_MAPPING_END_EVENT: return end_collection(d);
        default: return 0;
        }
}

static int run(struct decoder *d) {
        for (;;) {
                yaml_event_t e;
                if (!yaml_parser_parse(&d->parser, &e))
                        return refuse_syntax(d);
                bool end = e.type == YAML_STREAM_END_EVENT;
                int r = read_event(d, &e);
                yaml_event_delete(&e);
                if (r < 0 || end)
                        return r;
        }
}

static int check_text(struct decoder *d) {
        struct position start = {.file = d->file, .line = 1, .column = 1};
        if (d->len > YAML_MAX_BYTES)
                return refuse(d, &start, "file of %zu bytes: at most %u are read, split it", d->len,
                              YAML_MAX_BYTES);
        d->ascii = true;
        for (size_t i = 0; i < d->len; i++)
                d->ascii &= (unsigned char)d->text[i] < 0x80;
        for (size_t i = 0; !d->ascii && i < d->len;) {
                uint32_t c;
                size_t n = utf8_decode(d->text + i, d->len - i, &c);
                if (n == 0) {
                        struct position p = position_at_byte(d, i);
                        return refuse(d, &p, "byte 0x%02x is not UTF-8: save the file as UTF-8",
                                      (unsigned char)d->text[i]);
                }
                i += n;
        }
        return 0;
}

/* Deeper than yaml_decode() goes nobody looks: the scanner gets slow with depth. */
static int check(struct decoder *d) {
        for (size_t depth = 0; depth <= YAML_MAX_DEPTH;) {
                yaml_event_t e;
                if (!yaml_parser_parse(&d->parser, &e))
                        return refuse_syntax(d);
                yaml_event_type_t type = e.type;
                yaml_event_delete(&e);
                if (type == YAML_STREAM_END_EVENT)
                        return 0;
                if (type == YAML_SEQUENCE_START_EVENT || type == YAML_MAPPING_START_EVENT)
                        depth++;
                else if (type == YAML_SEQUENCE_END_EVENT || type == YAML_MAPPING_END_EVENT)
                        depth--;
        }
        return 0;
}

/* A byte order mark says nothing in UTF-8. */
static void skip_byte_order_mark(const char **text, size_t *len) {
        if (*len >= 3 && memcmp(*text, "\xef\xbb\xbf", 3) == 0) {
                *text += 3;
                *len -= 3;
        }
}

int yaml_check(const char *file, const char *text, size_t len, struct position *ret_where, struct err **err) {
        skip_byte_order_mark(&text, &len);
        struct decoder d = {.file = file, .text = text, .len = len, .where = ret_where, .err = err};
        if (len > YAML_MAX_BYTES)
                return 0;
        int r = check_text(&d);
        if (r < 0)
                return r;
        if (!yaml_parser_initialize(&d.parser))
                return no_memory(&d);
        yaml_parser_set_encoding(&d.parser, YAML_UTF8_ENCODING);
        yaml_parser_set_input_string(&d.parser, (const unsigned char *)text, len);
        r = check(&d);
        yaml_parser_delete(&d.parser);
        return r;
}

int yaml_decode(struct arena *arena, const char *file, const char *text, size_t len,
                struct value ***ret_documents, size_t *ret_n, struct position *ret_where, struct err **err) {
        skip_byte_order_mark(&text, &len);
        struct decoder d = {.arena = arena, .text = text, .len = len, .where = ret_where, .err = err};
        d.file = arena_strdup(arena, file);
        if (!d.file)
                return err_set_errno(err, ENOMEM, "read %s", file);
        int r = check_text(&d);
        if (r < 0)
                return r;
        if (!yaml_parser_initialize(&d.parser))
                return no_memory(&d);
        yaml_parser_set_encoding(&d.parser, YAML_UTF8_ENCODING);
        yaml_parser_set_input_string(&d.parser, (const unsigned char *)text, len);
        r = run(&d);
        yaml_parser_delete(&d.parser);
        struct value **documents = NULL;
        if (r == 0) {
                documents = arena_calloc(arena, d.n_scratch, sizeof(*documents));
                if (!documents)
                        r = no_memory(&d);
        }
        if (r == 0) {
                for (size_t i = 0; i < d.n_scratch; i++)
                        documents[i] = d.scratch[i].value;
                *ret_documents = documents;
                *ret_n = d.n_scratch;
        }
        free(d.scratch);
        return r;
}
