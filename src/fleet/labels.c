/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/labels.h"

#include <errno.h>
#include <string.h>

#define LABEL_KEY_MAX 253
#define LABEL_VALUE_MAX 63
#define VARIABLE_NAME_MAX 253
#define VARIABLE_VALUE_MAX 4096

const char *pairs_get(const struct pairs *p, const char *key) {
        size_t low = 0, high = p->n;
        while (low < high) {
                size_t middle = low + (high - low) / 2;
                int r = strcmp(p->items[middle].key, key);
                if (r == 0)
                        return p->items[middle].value;
                if (r < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return NULL;
}

bool pairs_equal(const struct pairs *a, const struct pairs *b) {
        if (a->n != b->n)
                return false;
        for (size_t i = 0; i < a->n; i++)
                if (strcmp(a->items[i].key, b->items[i].key) != 0 ||
                    strcmp(a->items[i].value, b->items[i].value) != 0)
                        return false;
        return true;
}

static int copy_pair(struct arena *arena, const struct pair *from, struct pair *to) {
        const char *key = arena_strdup(arena, from->key), *value = arena_strdup(arena, from->value);
        if (!key || !value)
                return -ENOMEM;
        *to = (struct pair){.key = key, .value = value};
        return 0;
}

int pairs_merge(struct arena *arena, const struct pairs *a, const struct pairs *b, struct pairs *ret) {
        struct pairs merged = {.items = arena_calloc(arena, a->n + b->n, sizeof(struct pair))};
        if (!merged.items)
                return -ENOMEM;
        for (size_t i = 0, j = 0; i < a->n || j < b->n;) {
                int r = i == a->n ? 1 : j == b->n ? -1 : strcmp(a->items[i].key, b->items[j].key);
                const struct pair *next = r < 0 ? &a->items[i] : &b->items[j];
                if (r <= 0)
                        i++;
                if (r >= 0)
                        j++;
                if (copy_pair(arena, next, &merged.items[merged.n++]) < 0)
                        return -ENOMEM;
        }
        *ret = merged;
        return 0;
}

int pairs_copy(struct arena *arena, const struct pairs *from, struct pairs *ret) {
        static const struct pairs none;
        return pairs_merge(arena, from, &none, ret);
}

static int compare_pairs(const void *a, const void *b) {
        return strcmp(((const struct pair *)a)->key, ((const struct pair *)b)->key);
}

int pairs_from_json(struct arena *arena, const json_t *object, bool (*check_key)(const char *),
                    bool (*check_value)(const char *), struct pairs *ret, struct err **err) {
        if (!object) {
                *ret = (struct pairs){0};
                return 0;
        }
        if (!json_is_object(object))
                return err_set(err, EINVAL, "expected an object whose values are text");
        size_t n = json_object_size(object);
        if (n > PAIRS_MAX)
                return err_set(err, EINVAL, "%zu entries: at most %d are taken", n, PAIRS_MAX);
        struct pairs pairs = {.items = arena_calloc(arena, n, sizeof(struct pair))};
        if (!pairs.items)
                return err_set_errno(err, ENOMEM, "read labels");
        const char *key;
        json_t *value;
        json_object_foreach ((json_t *)object, key, value) {
                if (check_key && !check_key(key))
                        return err_set(err, EINVAL, "\"%.300s\" is not a valid name", key);
                if (!json_is_string(value))
                        return err_set(err, EINVAL, "%.300s: expected text", key);
                const char *text = json_string_value(value);
                if (strlen(text) != json_string_length(value))
                        return err_set(err, EINVAL, "%.300s: text with a NUL character in it", key);
                if (check_value && !check_value(text))
                        return err_set(err, EINVAL, "%.300s: \"%.100s\" is not a valid value", key, text);
                const struct pair from = {.key = key, .value = text};
                if (copy_pair(arena, &from, &pairs.items[pairs.n++]) < 0)
                        return err_set_errno(err, ENOMEM, "read labels");
        }
        qsort(pairs.items, pairs.n, sizeof(*pairs.items), compare_pairs);
        *ret = pairs;
        return 0;
}

json_t *pairs_to_json(const struct pairs *p) {
        json_t *object = json_object();
        for (size_t i = 0; object && i < p->n; i++)
                if (json_object_set_new(object, p->items[i].key, json_string(p->items[i].value)) < 0) {
                        json_decref(object);
                        return NULL;
                }
        return object;
}

static bool is_letter(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

/* Letters and digits, and between them also some marks. */
static bool is_name(const char *s, size_t max, const char *marks) {
        size_t n = 0;
        for (; s[n]; n++)
                if (n >= max || !(is_letter(s[n]) || is_digit(s[n]) || (n > 0 && strchr(marks, s[n]))))
                        return false;
        return n > 0 && !strchr(marks, s[n - 1]);
}

bool label_key_is_valid(const char *s) {
        return s && is_name(s, LABEL_KEY_MAX, "._/-");
}

bool label_value_is_valid(const char *s) {
        return s && (!*s || is_name(s, LABEL_VALUE_MAX, "._-"));
}

bool variable_name_is_valid(const char *s) {
        if (!s || is_digit(*s))
                return false;
        size_t n = 0;
        for (; s[n]; n++)
                if (n >= VARIABLE_NAME_MAX || !(is_letter(s[n]) || is_digit(s[n]) || s[n] == '_'))
                        return false;
        return n > 0;
}

bool variable_value_is_valid(const char *s) {
        return s && strnlen(s, VARIABLE_VALUE_MAX + 1) <= VARIABLE_VALUE_MAX;
}
