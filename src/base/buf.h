/* SPDX-License-Identifier: Apache-2.0 */
/* A growable byte buffer, always NUL-terminated past its end once it holds anything.
 *
 * `struct buf b = BUF_INIT;` is ready to use; `_cleanup_(buf_done)` releases it. Growing past `limit`
 * (0: BUF_DEFAULT_LIMIT) fails with -EMSGSIZE, so that a peer cannot make us hold arbitrary amounts.
 * A failed append leaves the contents as they were and sets `failed`, so that a run of appends may be
 * checked once at the end with buf_failed(). */
#pragma once

#include <stdarg.h>

#include "base/macros.h"

#define BUF_DEFAULT_LIMIT ((size_t)1 << 30)

struct buf {
        char *data;
        size_t len;
        size_t cap;
        size_t limit;
        int failed; /* 0, or the first -Exxx that an append met */
};

#define BUF_INIT                                                                                             \
        { NULL, 0, 0, 0, 0 }

void buf_done(struct buf *b);
void buf_clear(struct buf *b); /* keeps the memory, clears `failed` */

int buf_reserve(struct buf *b, size_t extra) _must_use_; /* room for extra more bytes */
int buf_append(struct buf *b, const void *data, size_t len);
int buf_puts(struct buf *b, const char *s);
int buf_putc(struct buf *b, char c);
int buf_printf(struct buf *b, const char *format, ...) _printf_(2, 3);
int buf_vprintf(struct buf *b, const char *format, va_list ap) _printf_(2, 0);

/* Drops n bytes at the front (all of them when n >= len). */
void buf_consume(struct buf *b, size_t n);

static inline int buf_failed(const struct buf *b) {
        return b->failed;
}

/* The contents as a C string, "" when empty; valid until the next change. */
const char *buf_str(const struct buf *b);

/* Hands the malloc'ed, NUL-terminated contents over and empties the buffer. NULL when an append had
 * failed or there is no memory. */
char *buf_take(struct buf *b, size_t *ret_len);
