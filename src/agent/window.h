/* SPDX-License-Identifier: Apache-2.0 */
/* The maintenance windows of an assignment, as this node keeps them, with a network or without. The schedule
 * came over the server's signature; the time is the machine's own, and so is the zone where the schedule says
 * so. */
#pragma once

#include "fleet/schedule.h"

struct window;

#define WINDOW_LOCAL_ZONE "/etc/localtime"
/* How long at most until it is looked at again: the wall clock may be set meanwhile. */
#define WINDOW_LOOK_MS 30000

/* schedule: JSON of fleet/schedule.h. Where its zone is not known on this node the window is made all the
 * same, and never opens: window_say() tells why. -EINVAL: the schedule is damaged; -ENOMEM. */
int window_new(const json_t *schedule, struct window **ret, struct err **err);
struct window *window_free(struct window *w);
DEFINE_CLEANUP(struct window, window_free)

/* May it be begun now? w NULL: always. */
bool window_is_open(const struct window *w, enum schedule_for what, msec_t now);
/* When to look again: 0 when it is open, else at most WINDOW_LOOK_MS. */
msec_t window_look_in(const struct window *w, enum schedule_for what, msec_t now);
/* "waits for its window: opens 2026-11-20T22:00:00.000Z", "waits: frozen (Christmas) until ..." */
void window_say(const struct window *w, enum schedule_for what, msec_t now, char *out, size_t size);
