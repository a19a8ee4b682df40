/* SPDX-License-Identifier: Apache-2.0 */
/* The control plane as the edge's backend (relay/edge.h): who may join and speak, what they report, what they
 * may fetch. */
#pragma once

#include "relay/edge.h"
#include "server/control.h"

struct edge_backend edge_backend_make(struct control *c);
