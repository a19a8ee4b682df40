/* SPDX-License-Identifier: Apache-2.0 */
#include "server/source_hooks.h"

#include <stdlib.h>
#include <string.h>

#include "server/memory.h"

void source_hooks_done(struct source_hooks *h) {
        free(h->seen);
        *h = (struct source_hooks){0};
}

static bool is_seen(const struct source_hooks *h, const uint8_t digest[SHA256_SIZE], msec_t now) {
        for (size_t i = 0; i < HOOKS_REMEMBERED; i++)
                if (h->seen[i].at && now - h->seen[i].at < HOOKS_WINDOW_MS &&
                    memcmp(h->seen[i].digest, digest, SHA256_SIZE) == 0)
                        return true;
        return false;
}

static void remember(struct source_hooks *h, const uint8_t digest[SHA256_SIZE], msec_t now) {
        memcpy(h->seen[h->next].digest, digest, SHA256_SIZE);
        h->seen[h->next].at = now;
        h->next = (h->next + 1) % HOOKS_REMEMBERED;
}

static bool allowance_take(struct source_hooks *h, msec_t now) {
        if (h->counted_at == 0)
                h->left = HOOKS_AT_ONCE;
        else {
                msec_t more = (now - h->counted_at) / HOOKS_EVERY_MS;
                if (more <= 0 && h->left <= 0)
                        return false;
                h->left = (int)MIN(more + h->left, (msec_t)HOOKS_AT_ONCE);
                if (more > 0)
                        h->counted_at += more * HOOKS_EVERY_MS;
                h->left--;
                return true;
        }
        h->counted_at = now;
        h->left--;
        return true;
}

enum hook_verdict source_hooks_take(struct source_hooks *h, const char *delivery, const void *body,
                                    size_t len, msec_t now) {
        uint8_t by_body[SHA256_SIZE], by_number[SHA256_SIZE];
        if (!h->seen)
                h->seen = new0(HOOKS_REMEMBERED * sizeof(*h->seen));
        sha256_of(body, len, by_body);
        if (delivery)
                sha256_of(delivery, strlen(delivery), by_number);
        if (is_seen(h, by_body, now) || (delivery && is_seen(h, by_number, now)))
                return HOOK_REPLAY;
        if (!allowance_take(h, now))
                return HOOK_FLOOD;
        remember(h, by_body, now);
        if (delivery)
                remember(h, by_number, now);
        return HOOK_NEW;
}
