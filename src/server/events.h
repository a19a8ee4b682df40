/* SPDX-License-Identifier: Apache-2.0 */
/* The event log: what happened, in order, with a number each. Kept in the database (the newest
 * EVENTS_KEPT), the newest also in memory, and told to whoever listens once they are durable. */
#pragma once

#include "net/http_server.h"
#include "server/turns.h"

#define EVENTS_KEPT 100000
#define EVENTS_IN_MEMORY 4096

struct event { /* fields may be NULL where they do not concern it */
        const char *type, *message, *node, *fleet, *rollout, *source, *actor;
};

struct events;
int events_open(struct loop *l, struct db *db, struct turns *turns, struct events **ret, struct err **err);
struct events *events_free(struct events *e);

/* How much of the log one member may fill by what it says of itself: EVENTS_AT_ONCE, and one more every
 * EVENTS_EVERY_MS. Without it a single hostile node would push what people did out of the log. Starts as
 * zeroes.
 */
#define EVENTS_AT_ONCE 60
#define EVENTS_EVERY_MS 5000
struct event_allowance {
        msec_t at; /* monotonic; 0: never used */
        int left;
        unsigned unsaid; /* refused since the last that was allowed */
};
/* false: not now. ret_unsaid: how many were refused before this one. */
bool event_allowance_take(struct event_allowance *a, msec_t now, unsigned *ret_unsaid);

/* Called with each event, within the turn that adds it, with its time; one at most. */
void events_watch(struct events *e, void (*fn)(void *arg, const struct event *event, msec_t now), void *arg);

/* Adds one to this turn. */
void events_add(struct events *e, const struct event *event);

struct event_filter {
        int64_t since; /* events after this number; lists: -1 for the newest ones */
        const char *node, *rollout;
        int64_t limit; /* lists only */
};
/* Answers an exchange with a list, or with server-sent events that go on until its client leaves. */
void events_answer_list(struct events *e, struct http_exchange *x, const struct event_filter *f);
void events_answer_stream(struct events *e, struct http_exchange *x, const struct event_filter *f);
/* Ends every stream, at shutdown. */
void events_end_streams(struct events *e);
void events_stop(struct events *e);            /* lets go of the loop */
int64_t events_newest(const struct events *e); /* number of the newest durable one */
