/* SPDX-License-Identifier: Apache-2.0 */
/* JSON lines taken apart: bytes in, one object out for each line. Sans I/O. */
#pragma once

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"

#define LINE_BYTES_MAX ((size_t)2 << 20)

struct line_reader {
        struct buf line; /* the line so far; no memory while there is none */
};

/* Calls line(arg, type, object) for each whole line; blank ones are skipped. -EMSGSIZE for a line over the
 * limit, -EINVAL for one that is no object with a text "type"; then the stream is worth nothing more. Stops
 * with -ECANCELED when line() returns false. */
int line_reader_feed(struct line_reader *r, const char *p, size_t n,
                     bool (*line)(void *arg, const char *type, const json_t *object), void *arg,
                     struct err **err);
void line_reader_reset(struct line_reader *r);
