/* SPDX-License-Identifier: Apache-2.0 */
/* The text of one file of a fleet repository, so that a place inside a decoded scalar can be named by its own
 * line and column, whatever style the scalar is written in. */
#pragma once

#include "codec/value.h"

struct source {
        const char *path; /* relative to the fleet folder */
        const char *text;
        size_t len;
        uint32_t *lines; /* offset of each line's start */
        size_t n_lines;
};

/* Borrows path and text; the line index lives in the arena. -ENOMEM, or -EFBIG past 4 GiB. */
int source_init(struct source *s, struct arena *arena, const char *path, const char *text, size_t len);
/* Of a byte in the text; positions past the end are the end's. */
struct position source_position(const struct source *s, size_t offset);
/* Where the `${` at this offset of the decoded text stands in the file. Escapes and folding may change the
 * text between, so the n-th `${` of the scalar is looked up as the n-th one after its start. */
struct position source_reference(const struct source *s, const struct position *scalar, const char *decoded,
                                 size_t offset);
