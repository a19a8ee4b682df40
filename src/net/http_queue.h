/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes on their way out: appended at one end, taken at the other, no memory while empty. */
#pragma once

#include "base/macros.h"

struct http_queue {
        char *data;
        size_t start, end, size;
};

static inline size_t http_queue_len(const struct http_queue *q) {
        return q->end - q->start;
}
static inline const char *http_queue_front(const struct http_queue *q) {
        return q->data + q->start;
}
int http_queue_append(struct http_queue *q, const void *p, size_t n); /* 0 or -ENOMEM */
void http_queue_consume(struct http_queue *q, size_t n);              /* n <= len */
void http_queue_done(struct http_queue *q);
