/* SPDX-License-Identifier: Apache-2.0 */
/* The control plane as the edge's backend (relay/edge.h): who may join and speak, what they report, what they
 * may fetch. */
#pragma once

#include "relay/edge.h"
#include "server/control.h"

struct edge_backend edge_backend_make(struct control *c);
/* Closes the connections of a node or relay once what this turn wrote about it is durable. */
void edge_backend_drop_later(struct control *c, enum identity_kind kind, const char *name);
