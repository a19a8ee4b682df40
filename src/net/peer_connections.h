/* SPDX-License-Identifier: Apache-2.0 */
/* The connections that each verified peer has open on a server, in the order in which they came, so that one
 * identity cannot hold any number of them, from however many addresses. */
#pragma once

#include "base/list.h"

struct peer_connections;
struct peer_entry;

struct peer_connection { /* part of a connection; zeroed: belongs to nobody */
        struct list link;
        struct peer_entry *entry;
};

struct peer_connections *peer_connections_new(void) _must_use_;
/* All must have been removed. */
struct peer_connections *peer_connections_free(struct peer_connections *p);
/* One more of that peer, the newest. Its oldest one, where there are more than limit by it now, in
 * ret_oldest, else NULL. -ENOMEM. */
int peer_connections_add(struct peer_connections *p, const char *id, struct peer_connection *c,
                         uint32_t limit, struct peer_connection **ret_oldest);
/* Does nothing for one that belongs to nobody. */
void peer_connections_remove(struct peer_connections *p, struct peer_connection *c);
