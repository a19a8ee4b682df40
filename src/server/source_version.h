/* SPDX-License-Identifier: Apache-2.0 */
/* Versions as tags carry them (Semantic Versioning 2.0.0, a leading "v" is let pass) and ranges of them:
 *
 *   range      = set *( "||" set )               any of the sets
 *   set        = comparator *( blank comparator ) all of the comparators
 *   comparator = [ ">=" | ">" | "<=" | "<" | "=" | "^" | "~" ] partial
 *   partial    = "*" | 1 | 1.2 | 1.2.3 | 1.2.3-rc.1, with "x" or "*" for a part that does not matter
 *
 * "1.2" is all of 1.2; ">1.2" begins with 1.3.0; "^1.2" stays below 2.0.0, "~1.2" below 1.3.0. A pre-release
 * is in a set only if a comparator of the set names one, as in ">=1.2.0-0". Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define VERSION_BOUNDS_MAX 64
#define VERSION_RANGE_TEXT_MAX 256

struct version { /* borrows from the text it was read from */
        uint64_t major, minor, patch;
        const char *pre; /* behind the "-"; pre_len 0: a release */
        size_t pre_len;
};
/* False: no version of three numbers. */
bool version_parse(const char *text, struct version *ret);
/* Precedence by section 11 of the specification: negative, 0 or positive; build metadata does not count. */
int version_compare(const struct version *a, const struct version *b);

struct version_bound {
        enum { VERSION_GE, VERSION_GT, VERSION_LE, VERSION_LT } relation;
        struct version version;
        size_t set; /* of the range */
        bool names_pre;
};
struct version_range { /* borrows from the text */
        struct version_bound bounds[VERSION_BOUNDS_MAX];
        size_t n, n_sets;
};
/* -EINVAL with the words that cannot be read. */
int version_range_parse(const char *text, struct version_range *ret, struct err **err);
bool version_range_has(const struct version_range *range, const struct version *v);
