/* SPDX-License-Identifier: Apache-2.0 */
/* What a relay owes its server: who is connected, and what the nodes reported. Sans I/O.
 *
 * Presence is the latest there is. Reports are signed by their nodes, so they are kept and passed on as they
 * came, in order; a full one says all, and ends the wait of those before it. However long the server is away
 * a node's share is bounded. At most one batch is on its way; what it holds is kept until it is known to
 * have arrived, and goes first in the next one when it did not. */
#pragma once

#include <jansson.h>

#include "base/err.h"

#define REPORTS_BYTES_MAX                                                                                    \
        ((size_t)512 * 1024) /* bytes of one node's reports, those on their way included                     \
                              */
#define REPORTS_HELD_MAX 64  /* likewise, their number */

struct report_queue;

/* limit: bytes of reports held (as JSON text). */
struct report_queue *report_queue_new(size_t limit) _must_use_;
struct report_queue *report_queue_free(struct report_queue *q);
DEFINE_CLEANUP(struct report_queue, report_queue_free)

struct presence {
        bool connected;
        const char *address; /* or NULL */
        int64_t version;     /* the assignment that the node holds or that is on its way to it */
        const char *serial;  /* of the certificate that it showed, or NULL */
        bool revoked;        /* the relay was once told to drop it: is that still so? */
};
/* -ENOMEM. */
int report_queue_presence(struct report_queue *q, const char *node, const struct presence *p);
/* A signed report (docs/protocol.md), kept by reference: it must not change. -ENOMEM; -EMSGSIZE when the
 * queue is full or too much of this node waits: then what was held of it is gone as well, and the caller
 * makes the node connect again, since the first report of a connection is full. */
int report_queue_status(struct report_queue *q, const char *node, const json_t *report);

/* The server knows nothing of us any more: the next batch says who is connected, all of them. */
void report_queue_reset(struct report_queue *q);

/* Nodes that have something to say, a reset counting as one more; 0 while a batch is on its way. */
size_t report_queue_ready(const struct report_queue *q);
/* The next batch's body: past the first node, at most max_items items and max_bytes of reports; a node's are
 * never parted (a reset takes all that are connected and no reports). NULL: nothing to say, a batch is on its
 * way, or no memory. */
json_t *report_queue_take(struct report_queue *q, size_t max_items, size_t max_bytes) _must_use_;
/* What became of it. */
void report_queue_arrived(struct report_queue *q);
void report_queue_failed(struct report_queue *q);

/* For the status page. */
size_t report_queue_nodes(const struct report_queue *q); /* connected */
size_t report_queue_bytes(const struct report_queue *q);
