/* SPDX-License-Identifier: Apache-2.0 */
/* The edge's answers to GET /edge/v1/repository/<path> (docs/protocol.md), out of what a backend has. Belongs
 * to edge.c alone. */
#pragma once

#include "relay/edge.h"

struct repository_route {
        const struct edge_backend *backend;
        uint64_t served;
        unsigned passing; /* answers that go block by block */
};
void repository_route_serve(struct repository_route *r, struct http_exchange *x, const char *path);
