/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/repository_sources.h"

#include <errno.h>

#define LIE_MS 60000 /* whoever gave something wrong is left alone at least so long */

static const enum repository_source_kind order_immutable[] = {SOURCE_PEER, SOURCE_MIRROR, SOURCE_SERVER};
static const enum repository_source_kind order_mutable[] = {SOURCE_SERVER, SOURCE_MIRROR};

int repository_sources_pick(const struct repository_sources *s, bool immutable, source_mask tried, msec_t now,
                            bool desperate, unsigned *ret) {
        const enum repository_source_kind *order = immutable ? order_immutable : order_mutable;
        size_t kinds = immutable ? ARRAY_SIZE(order_immutable) : ARRAY_SIZE(order_mutable);
        for (int round = 0; round < (desperate ? 2 : 1); round++)
                for (size_t k = 0; k < kinds; k++)
                        for (unsigned i = 0; i < s->n; i++) {
                                const struct repository_source *one = &s->all[i];
                                if (one->kind != order[k] || (tried & (source_mask)1 << i) ||
                                    (s->is_reachable && !s->is_reachable(s->arg, i)) ||
                                    (round == 0 && one->not_before > now))
                                        continue;
                                *ret = i;
                                return 0;
                        }
        return -ENOENT;
}

void repository_source_did_well(struct repository_source *s, uint64_t bytes) {
        s->bytes += bytes;
        s->not_before = 0;
        backoff_reset(&s->backoff);
}

void repository_source_failed(struct repository_source *s, bool lied, msec_t now, msec_t retry_after_ms,
                              struct prng *random) {
        msec_t wait = backoff_next(&s->backoff, random, retry_after_ms);
        if (lied)
                s->lies++;
        else
                s->failures++;
        s->not_before = now + (lied ? MAX(wait, (msec_t)LIE_MS) : wait);
}

bool repository_sources_are_sure(const struct repository_sources *s, source_mask absent, source_mask asked) {
        source_mask origins = 0, servers = 0;
        for (unsigned i = 0; i < s->n; i++) {
                source_mask bit = (source_mask)1 << i;
                if (s->all[i].kind != SOURCE_PEER) /* a peer says only what it has itself */
                        origins |= bit;
                if (s->all[i].kind == SOURCE_SERVER)
                        servers |= bit;
        }
        /* Mirrors lag behind: the server's word is enough, theirs only when nobody who was asked is missing.
         */
        absent &= origins;
        return absent && ((absent & servers) || absent == (asked & origins));
}
