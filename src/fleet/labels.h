/* SPDX-License-Identifier: Apache-2.0 */
/* Labels (and variables): sorted string pairs. Keys are [A-Za-z0-9._/-], 1 to 253 bytes, starting and
 * ending alphanumeric; label values the same set without '/', at most 63 bytes, may be empty. Variable names
 * are [A-Za-z_][A-Za-z0-9_]*, values any text up to 4,096 bytes. */
#pragma once

#include <jansson.h>

#include "base/arena.h"
#include "base/err.h"

#define PAIRS_MAX 1024 /* in one set that comes from outside */

struct pair {
        const char *key, *value;
};
struct pairs { /* sorted by key, keys unique; storage belongs to an arena */
        struct pair *items;
        size_t n;
};

const char *pairs_get(const struct pairs *p, const char *key) _pure_; /* NULL: absent */
bool pairs_equal(const struct pairs *a, const struct pairs *b);
/* a with everything in b put over it. Copies the text: a and b may go. */
int pairs_merge(struct arena *arena, const struct pairs *a, const struct pairs *b, struct pairs *ret);
int pairs_copy(struct arena *arena, const struct pairs *from, struct pairs *ret);
/* An object of strings, at most PAIRS_MAX; -EINVAL names the key. A NULL object is an empty set. check may be
 * NULL. */
int pairs_from_json(struct arena *arena, const json_t *object, bool (*check_key)(const char *),
                    bool (*check_value)(const char *), struct pairs *ret, struct err **err);
json_t *pairs_to_json(const struct pairs *p) _must_use_;

bool label_key_is_valid(const char *s);
bool label_value_is_valid(const char *s);
bool variable_name_is_valid(const char *s);
bool variable_value_is_valid(const char *s);
