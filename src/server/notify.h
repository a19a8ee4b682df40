/* SPDX-License-Identifier: Apache-2.0 */
/* Tells people outside (notify_receiver.h) of what happens here.
 *
 * What is to be told is written down in the turn of the event, and taken off only when the receiver has said
 * yes: a kill loses nothing, and may tell something twice. Each receiver has a queue and a connection of its
 * own, so that a dead one holds up nobody; it is tried again with backoff for NOTIFY_KEPT_MS. The same event
 * within NOTIFY_SAME_MS is told once; how much one receiver may be told is bounded as events are
 * (event_allowance). A node's going is told when it stays away. */
#pragma once

#include "server/control.h"

#define NOTIFY_SAME_MS ((msec_t)5 * 60 * 1000)
#define NOTIFY_KEPT_MS ((msec_t)24 * 3600 * 1000)
#define NOTIFY_QUEUE_MAX 1000 /* of one receiver; the oldest go */

struct notify;
/* Reads the file of the settings. -EINVAL says what is wrong with it. */
int notify_open(struct control *c, struct err **err);
void notify_stop(struct control *c); /* lets go of the loop */
struct notify *notify_free(struct notify *n);
