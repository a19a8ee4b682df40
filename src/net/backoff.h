/* SPDX-License-Identifier: Apache-2.0 */
/* Exponential backoff with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"):
 * the n-th wait is uniform in [0, min(cap, base * 2^n)], with a floor so that a tight loop cannot form.
 * Pure: randomness is passed in. */
#pragma once

#include "base/clock.h"
#include "base/random.h"

struct backoff {
        msec_t base_ms, cap_ms, floor_ms;
        unsigned failures;
};
#define BACKOFF_INIT(base, cap)                                                                              \
        { (base), (cap), (base) / 4, 0 }

/* Counts a failure and returns how long to wait. at_least_ms (a Retry-After) wins when larger. */
msec_t backoff_next(struct backoff *b, struct prng *random, msec_t at_least_ms);
void backoff_reset(struct backoff *b);
