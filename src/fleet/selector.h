/* SPDX-License-Identifier: Apache-2.0 */
/* Label selectors with Kubernetes' meaning: every matchLabels pair and every expression must hold. An
 * empty selector matches everything. NotIn and DoesNotExist hold for an absent key. */
#pragma once

#include "base/buf.h"
#include "fleet/labels.h"

enum selector_operator { SELECTOR_IN, SELECTOR_NOT_IN, SELECTOR_EXISTS, SELECTOR_DOES_NOT_EXIST };

#define SELECTOR_TEXT_MAX 16384
#define SELECTOR_TERMS_MAX 64
#define SELECTOR_VALUES_MAX 1024 /* of one term */

struct selector_term {
        const char *key;
        enum selector_operator operator_;
        const char **values;
        size_t n_values;
};
struct selector {
        struct pairs match_labels;
        struct selector_term *terms;
        size_t n_terms;
};

bool selector_matches(const struct selector *s, const struct pairs *labels);
/* Is the key certainly present on everything that the selector matches? */
bool selector_guarantees(const struct selector *s, const char *key);
/* Can no label set match both? (True only when it is certain.) */
bool selector_disjoint(const struct selector *a, const struct selector *b);

/* kubectl's text form: "a=b,c!=d,e in (x,y),f notin (z),g,!h". -EINVAL with the column. */
int selector_parse(struct arena *arena, const char *text, struct selector *ret, struct err **err);
/* The same form; an empty selector gives "". */
void selector_format(const struct selector *s, struct buf *out);
json_t *selector_to_json(const struct selector *s) _must_use_; /* {"matchLabels":..,"matchExpressions":..} */
int selector_from_json(struct arena *arena, const json_t *j, struct selector *ret, struct err **err);
