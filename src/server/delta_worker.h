/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the deltas that the fleet needs: from what nodes run to what they are to run, and to the newest
 * version of it once that is pushed, so that the delta is there when the commit comes; those that most nodes
 * can use first. One at a time, on a thread with low priority; nobody waits for it.
 *
 * One that fails for a reason outside of its files (a full disk, a folder that is away) is tried again, after
 * 1 s to 15 min, DELTA_TRIES times in all, and once more whenever the repository has changed. One that cannot
 * be made of these two files, or would be no smaller than the target, has failed for good, and says why.
 *
 * Only where the repository is a folder that the server may write. Deltas need no signature, so no key is
 * needed here. */
#pragma once

#include <jansson.h>

#include "server/control.h"

#define DELTAS_SHOWN 256
#define DELTA_TRIES 8

struct delta_worker;

int delta_worker_open(struct control *c, struct err **err);
/* What nodes run, what they are to run or what the repository holds has changed. */
void delta_worker_wake(struct control *c);
void delta_worker_stop(
        struct control *c); /* tells the running one to end, waits for it, lets go of the loop */
struct delta_worker *delta_worker_free(struct delta_worker *w);
/* [{"metadata":{"name"},"artifact","from","to","state":"Waiting|Making|Made|Retrying|Failed","nodes","bytes",
 * "failures","retryInSeconds","message"}]: what is wanted, and what was made or failed since the start. */
json_t *delta_worker_json(const struct control *c) _must_use_;
