/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_queue.h"

#include <errno.h>
#include <string.h>

int http_queue_append(struct http_queue *q, const void *p, size_t n) {
        if (n == 0)
                return 0;
        size_t len = http_queue_len(q);
        if (n > SIZE_MAX / 2 - len)
                return -ENOMEM;
        if (n > q->size - q->end) {
                if (len + n <= q->size && q->start >= len) {
                        memcpy(q->data, q->data + q->start, len);
                } else {
                        /* Exact at first, since most answers are one piece; then by halves. */
                        size_t size = MAX(len + n, len ? q->size + q->size / 2 : 0);
                        char *data = malloc(size);
                        if (!data)
                                return -ENOMEM;
                        if (len)
                                memcpy(data, q->data + q->start, len);
                        free(q->data);
                        q->data = data;
                        q->size = size;
                }
                q->start = 0;
                q->end = len;
        }
        memcpy(q->data + q->end, p, n);
        q->end += n;
        return 0;
}

void http_queue_consume(struct http_queue *q, size_t n) {
        q->start += n;
        if (q->start >= q->end)
                http_queue_done(q);
}

void http_queue_done(struct http_queue *q) {
        free(q->data);
        *q = (struct http_queue){0};
}
