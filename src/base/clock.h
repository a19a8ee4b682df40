/* SPDX-License-Identifier: Apache-2.0 */
/* Time is passed in. Pure code takes `now` values; the rim takes a `struct clock`. All in
 * milliseconds unless a name says otherwise.
 *
 * `wall` is Unix time (may jump), `mono` counts from boot including suspend (CLOCK_BOOTTIME) and never
 * goes back. Deadlines kept in memory use mono; what is stored on disk uses wall. */
#pragma once

#include "base/macros.h"

typedef int64_t msec_t;

struct clock {
        msec_t (*wall_ms)(const struct clock *c);
        msec_t (*mono_ms)(const struct clock *c);
};

/* The machine's own clock. */
const struct clock *clock_system(void);

/* A clock that moves only when told, for tests and simulation. */
struct virtual_clock {
        struct clock clock;
        msec_t wall;
        msec_t mono;
};
void virtual_clock_init(struct virtual_clock *c, msec_t wall_start);
void virtual_clock_advance(struct virtual_clock *c, msec_t ms);

static inline msec_t clock_wall_ms(const struct clock *c) {
        return c->wall_ms(c);
}
static inline msec_t clock_mono_ms(const struct clock *c) {
        return c->mono_ms(c);
}

#define TIME_TEXT_SIZE 32
/* RFC 3339 in UTC with milliseconds: "2026-11-20T15:04:05.123Z". */
const char *time_format(msec_t wall, char out[TIME_TEXT_SIZE]);
/* Accepts RFC 3339 with any offset and fraction. -EINVAL otherwise. */
int time_parse(const char *s, msec_t *ret_wall);
/* "3s", "12m", "5h", "9d": how long ago, for tables. */
const char *age_format(msec_t ms, char *out, size_t size);
