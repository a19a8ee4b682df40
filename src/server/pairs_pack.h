/* SPDX-License-Identifier: Apache-2.0 */
/* Label sets that outlive a compile: `struct pairs` with its strings in one block of malloc'ed memory,
 * so that ten thousand nodes cost no ten thousand arenas. Release with free(). */
#pragma once

#include "fleet/labels.h"

#define LABELS_MAX 64 /* labels a person or a token may put on one node */

struct pairs *pairs_pack(const struct pairs *p) _must_use_;
/* As pairs_merge(), packed; any of them may be NULL. Later ones win. */
struct pairs *pairs_pack_merged(const struct pairs *a, const struct pairs *b, const struct pairs *c)
        _must_use_;
static inline bool pairs_same(const struct pairs *a, const struct pairs *b) { /* NULL is empty */
        static const struct pairs none;
        return pairs_equal(a ? a : &none, b ? b : &none);
}
/* NULL gives an empty object. */
json_t *pairs_json(const struct pairs *p) _must_use_;
/* Canonical text for a database column; NULL for none. */
char *pairs_text(const struct pairs *p) _must_use_;
/* The reverse; text NULL gives an empty set. Bad text (a damaged database) too. */
struct pairs *pairs_from_text(const char *text) _must_use_;
/* Labels from a request: checked keys and values, at most LABELS_MAX. */
int pairs_from_request(const json_t *object, struct pairs **ret, struct err **err);
