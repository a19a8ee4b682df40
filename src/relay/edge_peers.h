/* SPDX-License-Identifier: Apache-2.0 */
/* Who is connected to an edge, directly or through a relay, and how a word reaches them.
 *
 * A node is in one place at a time: where it was heard of last. Belongs to edge.c alone. */
#pragma once

#include "relay/edge.h"
#include "relay/edge_streams.h"

struct edge_peers;

int edge_peers_new(struct loop *l, msec_t heartbeat_ms, const struct edge_backend *backend,
                   struct edge_peers **ret, struct err **err);
struct edge_peers *edge_peers_free(struct edge_peers *p);
/* Ends all streams; the backend is told nothing. */
void edge_peers_end(struct edge_peers *p);

/* A peer opened its events stream: answers x, takes the place of an older stream of the same peer, and tells
 * the backend. */
void edge_peers_join(struct edge_peers *p, struct http_exchange *x, const struct edge_peer *who,
                     msec_t heartbeat_ms, int64_t version);

/* A relay's batch, as edge_body_batch() let it through. false: that relay's stream is not open here, nothing
 * was taken. */
bool edge_peers_batch(struct edge_peers *p, const char *relay, const json_t *batch);

/* See edge.h. */
bool edge_peers_send(struct edge_peers *p, const char *node, const char *type, json_t *body);
void edge_peers_broadcast(struct edge_peers *p, const char *type, json_t *body);
void edge_peers_send_relays(struct edge_peers *p, const char *type, json_t *body);
/* Tells every relay to close a node's connections. */
void edge_peers_send_drop(struct edge_peers *p, const char *node);

void edge_peers_stats(const struct edge_peers *p, struct edge_stats *ret);
