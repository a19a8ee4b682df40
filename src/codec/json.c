/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/json.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "codec/yaml.h"

#define DECODE_DEPTH_MAX 64
#define ENCODE_DEPTH_MAX                                                                                     \
        256 /* what code builds around what was read; keeps the recursion within the stack                   \
             */
#define KEYS_ON_STACK 32

/* ---- Reading ---- */

static int refuse_at(const char *text, size_t len, size_t offset, struct err **err, const char *what) {
        size_t line = 1, column = 1;
        for (size_t i = 0; i < offset && i < len; i++) {
                if (text[i] == '\n') {
                        line++;
                        column = 1;
                } else
                        column++;
        }
        return err_set(err, EINVAL, "line %zu column %zu: %s", line, column, what);
}

/* Where the depth limit is passed, or SIZE_MAX. A scan ahead of the parser, which would go on much deeper. */
static size_t find_too_deep(const char *text, size_t len) {
        bool in_string = false;
        size_t depth = 0;
        for (size_t i = 0; i < len; i++) {
                char c = text[i];
                if (in_string) {
                        if (c == '\\')
                                i++;
                        else if (c == '"')
                                in_string = false;
                } else if (c == '"')
                        in_string = true;
                else if (c == '[' || c == '{') {
                        if (++depth > DECODE_DEPTH_MAX)
                                return i;
                } else if ((c == ']' || c == '}') && depth > 0)
                        depth--;
        }
        return SIZE_MAX;
}

int json_decode(const char *text, size_t len, json_t **ret, struct err **err) {
        size_t deep = find_too_deep(text, len);
        if (deep != SIZE_MAX)
                return refuse_at(text, len, deep, err, "nested deeper than 64 levels");
        json_error_t e;
        json_t *j = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
        if (j) {
                *ret = j;
                return 0;
        }
        if (json_error_code(&e) == json_error_out_of_memory)
                return err_set_errno(err, ENOMEM, "read JSON");
        return refuse_at(text, len, e.position > 0 ? (size_t)e.position - 1 : 0, err, e.text);
}

/* ---- Canonical writing ---- */

struct canonical_writer {
        struct buf *out;
        struct err **err;
        unsigned char escaped_below; /* control characters are escaped: 0x20; or are not: 0 */
};

static void write_string(const struct canonical_writer *w, const char *s, size_t len) {
        struct buf *out = w->out;
        buf_putc(out, '"');
        size_t plain = 0; /* bytes not yet written that need no escape */
        for (size_t i = 0; i < len; i++) {
                unsigned char c = (unsigned char)s[i];
                if (c >= w->escaped_below && c != '"' && c != '\\')
                        continue;
                buf_append(out, s + plain, i - plain);
                plain = i + 1;
                if (c < w->escaped_below)
                        buf_printf(out, "\\u%04x", c);
                else {
                        buf_putc(out, '\\');
                        buf_putc(out, (char)c);
                }
        }
        buf_append(out, s + plain, len - plain);
        buf_putc(out, '"');
}

static int compare_text(const void *a, const void *b) {
        return strcmp(*(const char *const *)a, *(const char *const *)b); /* strcmp compares unsigned bytes */
}

static int write_canonical(const struct canonical_writer *w, const json_t *j, unsigned depth);

static int write_canonical_object(const struct canonical_writer *w, const json_t *j, unsigned depth) {
        size_t n = json_object_size(j), i = 0;
        const char *few[KEYS_ON_STACK];
        _cleanup_(x_freep) const char **many = NULL;
        const char **keys = few;
        if (n > ARRAY_SIZE(few)) {
                keys = many = calloc(n, sizeof(*many));
                if (!many)
                        return err_set_errno(w->err, ENOMEM, "write JSON");
        }
        /* jansson's iteration wants a non-const object but does not change it. */
        json_t *object = (json_t *)j;
        for (void *it = json_object_iter(object); it && i < n; it = json_object_iter_next(object, it))
                keys[i++] = json_object_iter_key(it);
        qsort(keys, n, sizeof(*keys), compare_text);
        buf_putc(w->out, '{');
        for (i = 0; i < n; i++) {
                if (i > 0)
                        buf_putc(w->out, ',');
                write_string(w, keys[i], strlen(keys[i]));
                buf_putc(w->out, ':');
                int r = write_canonical(w, json_object_get(j, keys[i]), depth + 1);
                if (r < 0)
                        return r;
        }
        buf_putc(w->out, '}');
        return 0;
}

static int write_canonical(const struct canonical_writer *w, const json_t *j, unsigned depth) {
        if (depth > ENCODE_DEPTH_MAX)
                return err_set(w->err, EINVAL, "JSON nested deeper than %d levels", ENCODE_DEPTH_MAX);
        if (!j)
                return err_set(w->err, EINVAL, "no JSON value to write");
        switch (json_typeof(j)) {
        case JSON_NULL: buf_puts(w->out, "null"); return 0;
        case JSON_TRUE: buf_puts(w->out, "true"); return 0;
        case JSON_FALSE: buf_puts(w->out, "false"); return 0;
        case JSON_INTEGER: buf_printf(w->out, "%" JSON_INTEGER_FORMAT, json_integer_value(j)); return 0;
        case JSON_REAL:
                return err_set(w->err, EINVAL,
                               "number %g: numbers with a fraction have no canonical form, write it as text",
                               json_real_value(j));
        case JSON_STRING:
                if (memchr(json_string_value(j), '\0', json_string_length(j)))
                        return err_set(w->err, EINVAL, "text with a NUL character in it");
                write_string(w, json_string_value(j), json_string_length(j));
                return 0;
        case JSON_ARRAY:
                buf_putc(w->out, '[');
                for (size_t i = 0; i < json_array_size(j); i++) {
                        if (i > 0)
                                buf_putc(w->out, ',');
                        int r = write_canonical(w, json_array_get(j, i), depth + 1);
                        if (r < 0)
                                return r;
                }
                buf_putc(w->out, ']');
                return 0;
        case JSON_OBJECT: return write_canonical_object(w, j, depth);
        }
        return err_set(w->err, EINVAL, "JSON value of unknown type");
}

static int encode_canonical(const json_t *j, unsigned char escaped_below, struct buf *out, struct err **err) {
        const struct canonical_writer w = {.out = out, .err = err, .escaped_below = escaped_below};
        size_t before = out->len;
        int r = write_canonical(&w, j, 0);
        if (r == 0 && buf_failed(out) < 0)
                r = err_set_errno(err, -buf_failed(out), "write JSON");
        if (r < 0 && out->data) { /* what could not be finished is not left half written */
                out->len = before;
                out->data[before] = '\0';
        }
        return r;
}

int json_encode_canonical(const json_t *j, struct buf *out, struct err **err) {
        return encode_canonical(j, 0x20, out, err);
}

int json_encode_olpc(const json_t *j, struct buf *out, struct err **err) {
        return encode_canonical(j, 0, out, err);
}

/* ---- Writing for peers and people ---- */

char *json_encode_compact(const json_t *j) {
        return json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY);
}

char *json_encode_pretty(const json_t *j) {
        _cleanup_(x_freep) char *text = json_dumps(j, JSON_INDENT(2) | JSON_ENCODE_ANY);
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        if (!text)
                return NULL;
        buf_puts(&out, text);
        buf_putc(&out, '\n');
        return buf_take(&out, NULL);
}

/* Would some YAML reader take this plain scalar for something other than this very text? Besides our own
 * schema there are the words and forms of YAML 1.1, which much other software still reads. */
static bool plain_is_text(const char *s, size_t len) {
        static const char *const words[] = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"};
        if (len == 0 || yaml_plain_type(s, len) != VALUE_STRING)
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(words); i++)
                if (strcasecmp(s, words[i]) == 0)
                        return false;
        bool letter = (s[0] >= 'a' && s[0] <= 'z') || (s[0] >= 'A' && s[0] <= 'Z') || s[0] == '_' ||
                      s[0] == '/' || (unsigned char)s[0] >= 0x80;
        /* What begins as a number or a date may be one to somebody, but for versions, addresses and ids. */
        bool digit_first = s[0] >= '0' && s[0] <= '9';
        if (!letter && !(digit_first && strpbrk(s, "ghijklmnpqruvwyGHIJKLMNPQRUVWY")))
                return false;
        for (size_t i = 0; i < len; i++) {
                unsigned char c = (unsigned char)s[i];
                if (c < 0x20 || c == 0x7f)
                        return false;
                if (c == ':' && (i + 1 == len || s[i + 1] == ' '))
                        return false;
                if (c == '#' && s[i - 1] == ' ') /* never the first: a letter or digit is */
                        return false;
        }
        return s[len - 1] != ' ';
}

/* Letters beyond ASCII may stand as they are; invisible ones that some readers take for line breaks not. */
static bool is_printable(const char *s, size_t len) {
        for (size_t i = 0; i < len;) {
                uint32_t c;
                size_t n = utf8_decode(s + i, len - i, &c);
                if (n == 0 || (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7f && c < 0xa0) ||
                    c == 0x2028 || c == 0x2029 || c == 0xfeff)
                        return false;
                i += n;
        }
        return true;
}

static void write_escaped(struct buf *out, const char *s, size_t len) {
        buf_putc(out, '"');
        for (size_t i = 0; i < len;) {
                uint32_t c = 0;
                size_t n = utf8_decode(s + i, len - i, &c);
                if (n == 0)
                        buf_puts(out, "\\uFFFD");
                else if (c == '"' || c == '\\')
                        buf_printf(out, "\\%c", (char)c);
                else if (c == '\n')
                        buf_puts(out, "\\n");
                else if (c == '\t')
                        buf_puts(out, "\\t");
                else if (!is_printable(s + i, n))
                        buf_printf(out, "\\u%04X", c);
                else
                        buf_append(out, s + i, n);
                i += MAX(n, (size_t)1);
        }
        buf_putc(out, '"');
}

static void write_indent(struct buf *out, unsigned indent) {
        for (unsigned i = 0; i < indent; i++)
                buf_puts(out, "  ");
}

/* Several lines as a block, where nothing in them would be lost. */
static bool is_block(const char *s, size_t len) {
        if (len < 2 || !memchr(s, '\n', len - 1) || s[0] == ' ' || s[0] == '\t' || s[0] == '\n' ||
            !is_printable(s, len))
                return false;
        /* Blanks before a line's end would be invisible; a second line break at the end needs "|+". */
        return !strstr(s, " \n") && !strstr(s, "\t\n") && s[len - 1] != ' ' && s[len - 1] != '\t' &&
               !(s[len - 1] == '\n' && s[len - 2] == '\n');
}

static void write_yaml_string(struct buf *out, const char *s, size_t len, unsigned indent) {
        if (is_block(s, len)) {
                bool ends = s[len - 1] == '\n';
                buf_puts(out, ends ? "|" : "|-");
                for (const char *line = s; line && *line;) {
                        const char *end = strchr(line, '\n');
                        size_t n = end ? (size_t)(end - line) : strlen(line);
                        buf_putc(out, '\n');
                        if (n > 0)
                                write_indent(out, indent);
                        buf_append(out, line, n);
                        line = end ? end + 1 : NULL;
                }
        } else if (plain_is_text(s, len) && is_printable(s, len))
                buf_append(out, s, len);
        else
                write_escaped(out, s, len);
}

static void write_yaml_scalar(struct buf *out, const json_t *j, unsigned indent) {
        switch (json_typeof(j)) {
        case JSON_TRUE: buf_puts(out, "true"); break;
        case JSON_FALSE: buf_puts(out, "false"); break;
        case JSON_INTEGER: buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(j)); break;
        case JSON_REAL: {
                _cleanup_(x_freep) char *text = json_dumps(j, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
                buf_puts(out, text ? text : "null");
                break;
        }
        case JSON_STRING:
                write_yaml_string(out, json_string_value(j), json_string_length(j), MAX(indent, 1u));
                break;
        case JSON_OBJECT: buf_puts(out, "{}"); break;
        case JSON_ARRAY: buf_puts(out, "[]"); break;
        default: buf_puts(out, "null"); break;
        }
}

static bool is_filled(const json_t *j) {
        return json_object_size(j) > 0 || json_array_size(j) > 0;
}

/* The cursor stands where the first line goes; further lines are indented. Ends with a line break. */
static void write_yaml(struct buf *out, const json_t *j, unsigned indent) {
        if (!is_filled(j) || indent > ENCODE_DEPTH_MAX) {
                write_yaml_scalar(out, is_filled(j) ? json_null() : j, indent);
                buf_putc(out, '\n');
                return;
        }
        bool first = true;
        for (size_t i = 0; i < json_array_size(j); i++, first = false) {
                if (!first)
                        write_indent(out, indent);
                buf_puts(out, "- ");
                write_yaml(out, json_array_get(j, i), indent + 1);
        }
        const char *key;
        json_t *value;
        json_object_foreach ((json_t *)j, key, value) {
                if (!first)
                        write_indent(out, indent);
                first = false;
                if (plain_is_text(key, strlen(key)) && is_printable(key, strlen(key)))
                        buf_puts(out, key);
                else
                        write_escaped(out, key, strlen(key));
                buf_putc(out, ':');
                /* A list under a key stands at the key's own indentation, as kubectl prints it. */
                unsigned below = json_is_array(value) ? indent : indent + 1;
                if (is_filled(value)) {
                        buf_putc(out, '\n');
                        write_indent(out, below);
                } else
                        buf_putc(out, ' ');
                write_yaml(out, value, below);
        }
}

char *json_encode_yaml(const json_t *j) {
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        if (!j)
                return NULL;
        write_yaml(&out, j, 0);
        return buf_take(&out, NULL);
}

/* ---- From YAML ---- */

json_t *json_from_value(const struct value *v) {
        switch (v->type) {
        case VALUE_NULL: return json_null();
        case VALUE_BOOL: return json_boolean(v->boolean);
        case VALUE_INT: return json_integer(v->integer);
        case VALUE_FLOAT:
                /* JSON has no infinity and no NaN: their text says what was written. */
                return isfinite(v->number) ? json_real(v->number) : json_string_nocheck(v->text);
        case VALUE_STRING: return json_string_nocheck(v->text);
        case VALUE_LIST: {
                json_t *list = json_array();
                for (size_t i = 0; list && i < v->n_items; i++)
                        if (json_array_append_new(list, json_from_value(v->items[i])) < 0) {
                                json_decref(list);
                                return NULL;
                        }
                return list;
        }
        case VALUE_MAP: {
                json_t *map = json_object();
                for (size_t i = 0; map && i < v->n_pairs; i++)
                        if (json_object_set_new_nocheck(map, v->pairs[i].key,
                                                        json_from_value(v->pairs[i].value)) < 0) {
                                json_decref(map);
                                return NULL;
                        }
                return map;
        }
        }
        return NULL;
}

/* ---- Reading fields ---- */

static const char *type_name(const json_t *j) {
        switch (json_typeof(j)) {
        case JSON_OBJECT: return "an object";
        case JSON_ARRAY: return "a list";
        case JSON_STRING: return "text";
        case JSON_INTEGER:
        case JSON_REAL: return "a number";
        case JSON_TRUE:
        case JSON_FALSE: return "true or false";
        case JSON_NULL: return "null";
        }
        return "nothing";
}

static int refuse_type(const json_t *found, const char *key, const char *expected, struct err **err) {
        if (!found)
                return err_set(err, EINVAL, "field %s: expected %s, it is missing", key, expected);
        return err_set(err, EINVAL, "field %s: expected %s, found %s", key, expected, type_name(found));
}

/* NULL also for null. */
static const json_t *get_optional(const json_t *o, const char *key) {
        const json_t *j = json_object_get(o, key);
        return json_is_null(j) ? NULL : j;
}

int json_read_string(const json_t *o, const char *key, const char **ret, struct err **err) {
        const json_t *j = json_object_get(o, key);
        if (!json_is_string(j))
                return refuse_type(j, key, "text", err);
        *ret = json_string_value(j);
        return 0;
}

int json_read_optional_string(const json_t *o, const char *key, const char **ret, struct err **err) {
        return get_optional(o, key) ? json_read_string(o, key, ret, err) : 0;
}

int json_read_int(const json_t *o, const char *key, int64_t *ret, struct err **err) {
        const json_t *j = json_object_get(o, key);
        if (!json_is_integer(j))
                return refuse_type(j, key, "a whole number", err);
        *ret = json_integer_value(j);
        return 0;
}

int json_read_optional_int(const json_t *o, const char *key, int64_t *ret, struct err **err) {
        return get_optional(o, key) ? json_read_int(o, key, ret, err) : 0;
}

int json_read_optional_bool(const json_t *o, const char *key, bool *ret, struct err **err) {
        const json_t *j = get_optional(o, key);
        if (!j)
                return 0;
        if (!json_is_boolean(j))
                return refuse_type(j, key, "true or false", err);
        *ret = json_is_true(j);
        return 0;
}

int json_read_object(const json_t *o, const char *key, const json_t **ret, struct err **err) {
        const json_t *j = json_object_get(o, key);
        if (!json_is_object(j))
                return refuse_type(j, key, "an object", err);
        *ret = j;
        return 0;
}

int json_read_array(const json_t *o, const char *key, const json_t **ret, struct err **err) {
        const json_t *j = json_object_get(o, key);
        if (!json_is_array(j))
                return refuse_type(j, key, "a list", err);
        *ret = j;
        return 0;
}

int json_check_fields(const json_t *o, const char *const *names, size_t n, struct err **err) {
        if (!json_is_object(o))
                return err_set(err, EINVAL, "expected an object, found %s", o ? type_name(o) : "nothing");
        for (void *it = json_object_iter((json_t *)o); it; it = json_object_iter_next((json_t *)o, it)) {
                const char *key = json_object_iter_key(it);
                size_t i = 0;
                while (i < n && strcmp(names[i], key) != 0)
                        i++;
                if (i < n)
                        continue;
                const char *nearest = str_nearest(key, names, n);
                return err_set(err, EINVAL, "unknown field \"%.100s\"%s%s%s", key,
                               nearest ? " (did you mean \"" : "", nearest ? nearest : "",
                               nearest ? "\"?)" : "");
        }
        return 0;
}
