/* SPDX-License-Identifier: Apache-2.0 */
/* The one connection to the edge: the open events response, and status reports beside it.
 *
 * The link is up from the `hello` line on. It goes down when the response ends, when nothing was heard for
 * 2.5 heartbeats (all counted on a clock that goes on in suspend and never jumps), or when what is heard is
 * no edge; then it comes again, at the next address, after a wait that doubles with full jitter. One that
 * was up for a while comes again quickly. */
#pragma once

#include "agent/edge_address.h"
#include "codec/json.h"
#include "net/loop.h"

struct link;
struct link_listener {
        void (*up)(void *arg);
        void (*down)(void *arg, const char *why);
        /* An event other than hello and ping. */
        void (*event)(void *arg, const char *type, const json_t *event);
        /* The version of the assignment that is held, 0 for none. */
        int64_t (*assignment)(void *arg);
        /* The next report as malloc'ed JSON, or NULL when there is nothing new; full: the first of a
         * connection. */
        char *(*status)(void *arg, bool full);
        /* The edge took the last report (or did not: the next is a full one). */
        void (*status_sent)(void *arg, bool taken);
        void *arg;
};

int link_new(struct loop *l, struct edge_address *edge, struct http_client *client, msec_t heartbeat_ms,
             const struct link_listener *listener, struct link **ret, struct err **err);
struct link *link_free(struct link *k);
void link_start(struct link *k);
bool link_is_up(const struct link *k);
/* Ends the connection and makes a new one soon: new certificate, new bundle. */
void link_renew(struct link *k);
/* The network changed: asks the edge for a sign of life, and reconnects when none comes. */
void link_probe(struct link *k);
/* There may be something to report. Reports that follow each other closely become one. */
void link_report(struct link *k);
