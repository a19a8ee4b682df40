/* SPDX-License-Identifier: Apache-2.0 */
/* Tells when the machine's addresses or default routes change (rtnetlink(7)), so that a connection that
 * went dead with the old network is noticed in seconds, not after the next missed heartbeats. */
#pragma once

#include "net/loop.h"

struct network_watch;
/* Changes that follow each other closely are told once. Fails where netlink is not allowed; one can do
 * without. */
int network_watch_new(struct loop *l, void (*changed)(void *arg), void *arg, struct network_watch **ret,
                      struct err **err);
struct network_watch *network_watch_free(struct network_watch *w);
