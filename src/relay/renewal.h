/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps a relay's certificate fresh: asks for a new one, under a new key, when half of its life is over. */
#pragma once

#include "net/loop.h"
#include "relay/identity.h"

struct renewal;

/* *identity is read anew each time; renewed() takes the fresh one, and puts it there. */
int renewal_new(struct loop *l, struct identity *const *identity,
                void (*renewed)(void *arg, struct identity *fresh), void *arg, struct renewal **ret,
                struct err **err);
struct renewal *renewal_free(struct renewal *r);
DEFINE_CLEANUP(struct renewal, renewal_free)
void renewal_start(struct renewal *r);
/* Without waiting for half life. */
void renewal_now(struct renewal *r);
