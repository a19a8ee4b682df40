/* SPDX-License-Identifier: Apache-2.0 */
/* Open events responses: lines out to one peer, heartbeats, and what waits while a peer is slow.
 *
 * A stream costs little while nothing is said: no buffers, no timer of its own (one coarse wheel serves
 * all). A line that does not fit waits under its key; a newer one with the same key takes its place, so what
 * a slow peer is owed stays bounded by the number of things there are to say. A peer that is owed more than
 * STREAM_PENDING_BYTES is let go: it comes back and is told the newest. */
#pragma once

#include <jansson.h>

#include "net/http_server.h"

#define STREAM_PENDING_BYTES ((size_t)16 << 20)
#define STREAM_HEARTBEAT_MIN_MS 1000
#define STREAM_HEARTBEAT_MAX_MS ((msec_t)3600 * 1000)

struct streams; /* all of an edge's */
struct stream;

/* closed: the peer left, or was let go; the stream is freed when it returns. */
int streams_new(struct loop *l, msec_t heartbeat_ms, void (*closed)(void *arg, struct stream *s), void *arg,
                struct streams **ret, struct err **err);
/* All streams must have ended. */
struct streams *streams_free(struct streams *all);
/* Ends all, without closed(). */
void streams_end(struct streams *all);

/* Answers an exchange with an events stream and sends `hello`. heartbeat_ms: as the peer wished, 0: the
 * edge's own. owner is for the caller. NULL when it failed (the exchange has ended then). */
struct stream *stream_open(struct streams *all, struct http_exchange *x, msec_t heartbeat_ms, void *owner);
void *stream_owner(const struct stream *s);
/* Ends it without closed(): another took its place. */
void stream_close(struct stream *s);

/* A line right before stream_close(), where there is room for one; the stream is as it was. */
void stream_say_last(struct stream *s, const char *line, size_t len);

/* Sends one line (with its newline). key names what it says: "assignment", "assignment/shop-1". */
void stream_send(struct stream *s, const char *key, const char *line, size_t len);
/* Lines sent or put to wait, over all streams. */
uint64_t streams_sent(const struct streams *all);
