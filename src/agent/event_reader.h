/* SPDX-License-Identifier: Apache-2.0 */
/* The events response taken apart: bytes as they come in, one JSON object a line out.
 *
 * Sans I/O. A line is at most EVENT_LINE_MAX bytes; a longer one, or one that is no JSON object with a
 * text `type`, ends the stream with an error, since such a peer is not an edge (a captive portal, a
 * proxy's error page). Blank lines are skipped. */
#pragma once

#include "base/buf.h"
#include "codec/json.h"

#define EVENT_LINE_MAX ((size_t)1 << 20)

struct event_reader {
        struct buf line; /* what has come of the current line; no memory while none has */
        /* Takes one event; non-zero ends the reading and is handed on. */
        int (*event)(void *arg, const char *type, const json_t *event, struct err **err);
        void *arg;
};

void event_reader_init(struct event_reader *r,
                       int (*event)(void *arg, const char *type, const json_t *event, struct err **err),
                       void *arg);
void event_reader_done(struct event_reader *r);
/* Forgets half a line, for a new stream. */
void event_reader_reset(struct event_reader *r);
/* 0, -EMSGSIZE, -EINVAL, -ENOMEM or what event() returned. After an error only reset is allowed. */
int event_reader_feed(struct event_reader *r, const char *p, size_t n, struct err **err);
