/* SPDX-License-Identifier: Apache-2.0 */
/* What is stored and nobody needs any more goes, once a day: revisions that no fleet wants or runs, no node
 * is told to run or would go back to, no rollout in memory speaks of, and that are older than RETENTION_DAYS;
 * then every object that no kept revision refers to. */
#pragma once

#include "server/control.h"

#define RETENTION_DAYS 30

struct retention;
void retention_start(struct control *c);
/* At once, for tests; done (may be NULL) is called when it has ended. -EBUSY: one is under way. */
int retention_run(struct control *c, msec_t older_than_ms, void (*done)(void *arg, size_t removed),
                  void *arg);
void retention_stop(struct control *c); /* lets go of the loop */
struct retention *retention_free(struct retention *r);
