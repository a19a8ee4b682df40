/* SPDX-License-Identifier: Apache-2.0 */
/* What a relay owes its server: who is connected, and what the nodes reported. Sans I/O.
 *
 * One entry a node, so the queue is bounded by the number of nodes however long the server is away:
 * presence is the latest there is, and reports merge into one that says what all of them said together. At
 * most one batch is on its way; what it holds is kept until it is known to have arrived, and merges
 * with what came since when it did not. */
#pragma once

#include <jansson.h>

#include "base/err.h"

#define REPORT_MERGED_MAX ((size_t)512 * 1024) /* bytes of one node's merged report */
#define REPORT_MERGED_APPS_MAX 512             /* apps in it */

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
/* -ENOMEM; -EMSGSIZE when the queue is full or the node's report too large: then what was held of this node
 * is gone as well, and the caller makes the node connect again, since the first report of a connection is
 * full. */
int report_queue_status(struct report_queue *q, const char *node, const json_t *status);

/* The server knows nothing of us any more: the next batch says who is connected, all of them. */
void report_queue_reset(struct report_queue *q);

/* Nodes that have something to say, a reset counting as one more; 0 while a batch is on its way. */
size_t report_queue_ready(const struct report_queue *q);
/* The next batch's body: at most max_items nodes and, past the first, max_bytes of reports (a reset takes all
 * that are connected and no reports); NULL: nothing to say, a batch is on its way, or no memory. */
json_t *report_queue_take(struct report_queue *q, size_t max_items, size_t max_bytes) _must_use_;
/* What became of it. */
void report_queue_arrived(struct report_queue *q);
void report_queue_failed(struct report_queue *q);

/* For the status page. */
size_t report_queue_nodes(const struct report_queue *q); /* connected */
size_t report_queue_bytes(const struct report_queue *q);

/* One report that says what `older` and then `newer` said: a full one stands alone; else its members replace
 * those of the older, and its apps those of the same name. New reference, or NULL. */
json_t *status_merge(const json_t *older, const json_t *newer) _must_use_;
