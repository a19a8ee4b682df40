/* SPDX-License-Identifier: Apache-2.0 */
/* `${labels.x}`, `${vars.x}`, `${node.name}`, each also as `${...:-default}` (default used when the name
 * is unknown; it is plain text up to the closing brace). `$${` writes a literal `${`. Anything else in
 * `${}` is an error that says how to write a literal one. A `$` not followed by `{` is plain. */
#pragma once

#include "base/buf.h"
#include "fleet/labels.h"

struct binding { /* what a node substitutes */
        const char *node_name;
        struct pairs labels;
        struct pairs variables;
};

/* Expands text into out. -EINVAL (syntax), -ENOKEY (unknown name, named in the error), -EMSGSIZE (past
 * out's limit; set one, since a reference may stand for much more text than it takes). */
int expand_text(const char *text, size_t len, const struct binding *b, struct buf *out, struct err **err);

/* The value of "labels.site", "vars.port" or "node.name"; NULL where it is unknown or no such name. */
const char *binding_get(const struct binding *b, const char *name);
bool reference_name_is_valid(const char *name);

struct reference {
        const char *name; /* "labels.site", "vars.port", "node.name" */
        bool has_default;
        size_t offset; /* where "${" stands in the text */
};
/* Every reference in the text, without expanding. -EINVAL with *ret_offset at the fault. */
int expand_references(struct arena *arena, const char *text, size_t len, struct reference **ret,
                      size_t *ret_n, size_t *ret_offset, struct err **err);
