/* SPDX-License-Identifier: Apache-2.0 */
/* Server-sent events (WHATWG HTML, section 9.2): a reader fed with bytes as they come. Pure. */
#pragma once

#include "base/buf.h"

#define SSE_EVENT_MAX ((size_t)1 << 20) /* bytes of one line, and of one event's data */

struct sse_event {
        const char *type; /* "message" when the server named none */
        const char *data; /* lines joined by newlines */
        const char *id;   /* of this or an earlier event; "" when none came */
};

struct sse_reader {
        struct buf line, data, type, id;
        bool after_cr, begun;
        /* Called for each whole event; non-zero ends sse_feed() with that value. */
        int (*on_event)(void *arg, const struct sse_event *event);
        void *arg;
};

void sse_reader_init(struct sse_reader *r, int (*on_event)(void *arg, const struct sse_event *event),
                     void *arg);
void sse_reader_done(struct sse_reader *r);
/* Forgets a half-read event, keeps the last id: for a new connection. */
void sse_reader_restart(struct sse_reader *r);
/* 0; -EMSGSIZE when the server sends more than SSE_EVENT_MAX without an end; -ENOMEM; or on_event's answer.
 */
int sse_feed(struct sse_reader *r, const char *p, size_t n);
/* "" when no event had an id yet. */
const char *sse_last_id(const struct sse_reader *r);
