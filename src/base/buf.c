/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BUF_FIRST_CAPACITY 64

void buf_done(struct buf *b) {
        free(b->data);
        *b = (struct buf){.limit = b->limit};
}

void buf_clear(struct buf *b) {
        b->len = 0;
        b->failed = 0;
        if (b->data)
                b->data[0] = '\0';
}

static int fail(struct buf *b, int r) {
        if (b->failed == 0)
                b->failed = r;
        return r;
}

int buf_reserve(struct buf *b, size_t extra) {
        if (b->failed < 0)
                return b->failed;
        size_t limit = b->limit > 0 ? b->limit : BUF_DEFAULT_LIMIT;
        limit = MIN(limit, SIZE_MAX / 4); /* so that no sum below can overflow */
        if (b->len > limit || extra > limit - b->len)
                return fail(b, -EMSGSIZE);
        size_t need = b->len + extra + 1;
        if (need <= b->cap)
                return 0;
        size_t cap = MAX(b->cap * 2, (size_t)BUF_FIRST_CAPACITY);
        cap = MIN(MAX(cap, need), limit + 1);
        char *data = realloc(b->data, cap);
        if (!data)
                return fail(b, -ENOMEM);
        b->data = data;
        b->cap = cap;
        b->data[b->len] = '\0';
        return 0;
}

int buf_append(struct buf *b, const void *data, size_t len) {
        int r = buf_reserve(b, len);
        if (r < 0)
                return r;
        if (len > 0)
                memcpy(b->data + b->len, data, len);
        b->len += len;
        b->data[b->len] = '\0';
        return 0;
}

int buf_puts(struct buf *b, const char *s) {
        return buf_append(b, s, strlen(s));
}

int buf_putc(struct buf *b, char c) {
        /* Encoders call this for every byte: the common case stays short. */
        if (b->failed == 0 && b->len + 1 < b->cap && b->len < (b->limit > 0 ? b->limit : BUF_DEFAULT_LIMIT)) {
                b->data[b->len++] = c;
                b->data[b->len] = '\0';
                return 0;
        }
        return buf_append(b, &c, 1);
}

int buf_printf(struct buf *b, const char *format, ...) {
        va_list ap;
        va_start(ap, format);
        int r = buf_vprintf(b, format, ap);
        va_end(ap);
        return r;
}

int buf_vprintf(struct buf *b, const char *format, va_list ap) {
        if (b->failed < 0)
                return b->failed;
        va_list again;
        va_copy(again, ap);
        /* Into the room there is; what does not fit is cut by vsnprintf and printed again after growing. */
        size_t room = b->cap - b->len;
        int n = vsnprintf(b->data ? b->data + b->len : NULL, b->data ? room : 0, format, ap);
        int r = 0;
        if (n < 0)
                r = fail(b, -EINVAL);
        else {
                r = buf_reserve(b, (size_t)n);
                if (r == 0) {
                        if ((size_t)n >= room)
                                (void)vsnprintf(b->data + b->len, (size_t)n + 1, format, again);
                        b->len += (size_t)n;
                }
        }
        va_end(again);
        if (r < 0 && b->data)
                b->data[b->len] = '\0';
        return r;
}

void buf_consume(struct buf *b, size_t n) {
        if (!b->data || n == 0)
                return;
        if (n >= b->len)
                b->len = 0;
        else {
                memmove(b->data, b->data + n, b->len - n);
                b->len -= n;
        }
        b->data[b->len] = '\0';
}

const char *buf_str(const struct buf *b) {
        return b->data ? b->data : "";
}

char *buf_take(struct buf *b, size_t *ret_len) {
        if (b->failed < 0 || buf_reserve(b, 0) < 0)
                return NULL;
        if (ret_len)
                *ret_len = b->len;
        char *data = b->data;
        *b = (struct buf){.limit = b->limit};
        return data;
}
