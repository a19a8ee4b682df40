/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with a fleet repository, all of it in one go: place, words, nearest valid name. */
#pragma once

#include <jansson.h>

#include "base/buf.h"
#include "codec/value.h"

enum severity { SEVERITY_ERROR, SEVERITY_WARNING };

struct diagnostic {
        enum severity severity;
        const char *file;       /* relative to the fleet folder; "" when it concerns the whole */
        uint32_t line, column;  /* 0: the whole file */
        const char *message;    /* holds the offending text */
        const char *suggestion; /* "did you mean ...", or another way out; NULL */
};

struct diagnostics; /* owns its strings */
struct diagnostics *diagnostics_new(void) _must_use_;
struct diagnostics *diagnostics_free(struct diagnostics *d);
DEFINE_CLEANUP(struct diagnostics, diagnostics_free)

/* At most 1,000 are kept; the rest are counted. */
void diagnostics_add(struct diagnostics *d, enum severity s, const struct position *where,
                     const char *suggestion, const char *format, ...) _printf_(5, 6);
size_t diagnostics_len(const struct diagnostics *d);
size_t diagnostics_errors(const struct diagnostics *d); /* the uncounted included */
const struct diagnostic *diagnostics_at(const struct diagnostics *d, size_t i);
/* By file, line, column. */
void diagnostics_sort(struct diagnostics *d);
/* "file:line:column: error: message (did you mean ...)" a line each. */
void diagnostics_format(const struct diagnostics *d, struct buf *out);
json_t *diagnostics_to_json(const struct diagnostics *d) _must_use_;
