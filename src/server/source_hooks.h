/* SPDX-License-Identifier: Apache-2.0 */
/* What a source remembers of the webhooks that it took: a second delivery of the same one says nothing new
 * (the number of a delivery is not signed, so the signed body counts too), and a flood costs nothing. Pure.
 * Starts as zeroes. */
#pragma once

#include "base/clock.h"
#include "crypto/digest.h"

#define HOOKS_REMEMBERED 128
#define HOOKS_WINDOW_MS 3600000
#define HOOKS_AT_ONCE 20
#define HOOKS_EVERY_MS 5000 /* and one more in this time */

struct source_hooks {
        struct {
                uint8_t digest[SHA256_SIZE];
                msec_t at; /* monotonic; 0: free */
        } * seen;          /* NULL: none was taken yet */
        size_t next;
        msec_t counted_at;
        int left;
};
void source_hooks_done(struct source_hooks *h);

enum hook_verdict {
        HOOK_NEW,
        HOOK_REPLAY, /* taken before */
        HOOK_FLOOD,  /* too many; this one is not remembered, its host may send it again */
};
/* One whose signature is right. delivery: its number, or NULL. now: monotonic, above 0. */
enum hook_verdict source_hooks_take(struct source_hooks *h, const char *delivery, const void *body,
                                    size_t len, msec_t now);
