/* SPDX-License-Identifier: Apache-2.0 */
/* What a node says of the artifacts it is told to have (docs/protocol.md, "Status"): how far each is, by
 * which way it came, and how many bytes that took against what was predicted. Pure. */
#pragma once

#include <jansson.h>

#include "base/err.h"

#define REPORT_ARTIFACTS_MAX 256
#define REPORT_WORD_MAX 32 /* bytes of a state or a way */

struct report_artifact {
        char *name, *version, *state, *way, *message; /* way and message may be NULL */
        int64_t predicted, fetched, total;            /* bytes */
};
struct report_artifacts {
        struct report_artifact *items;
        size_t n;
};
void report_artifacts_done(struct report_artifacts *a);
/* list: the member `artifacts` of a status; NULL: it has none, which is fine. */
int report_artifacts_check(const json_t *list, struct err **err);
/* Replaces what was known by a list that was checked; NULL changes nothing. */
void report_artifacts_take(struct report_artifacts *a, const json_t *list);
json_t *report_artifacts_json(const struct report_artifacts *a) _must_use_;
