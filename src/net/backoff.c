/* SPDX-License-Identifier: Apache-2.0 */
#include "net/backoff.h"

msec_t backoff_next(struct backoff *b, struct prng *random, msec_t at_least_ms) {
        msec_t cap = MAX(b->cap_ms, 0);
        msec_t span = MIN(MAX(b->base_ms, 0), cap);
        for (unsigned i = 0; i < b->failures && span < cap; i++)
                span = span > cap / 2 ? cap : span * 2;
        if (b->failures < UINT32_MAX)
                b->failures++;
        msec_t wait = (msec_t)prng_below(random, (uint64_t)span + 1);
        wait = MAX(wait, MIN(b->floor_ms, cap));
        return MAX(wait, at_least_ms);
}

void backoff_reset(struct backoff *b) {
        b->failures = 0;
}
