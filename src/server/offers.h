/* SPDX-License-Identifier: Apache-2.0 */
/* What the repository has to fetch a target with: deltas and chunks (docs/formats/repository.md). Read when
 * asked, and kept for a while: deltas come at any time. Nothing here is signed, and nothing rests on it but
 * what a plan predicts. */
#pragma once

#include <jansson.h>

#include "server/control.h"

/* Calls done once, perhaps at once, with
 * {"deltas":[{"from","length"}],"chunkIndexLength"?,"chunkPackLength"?,"chunksMissing"?}, borrowed; NULL when
 * the repository cannot be read now. seeds: digests of what lies on a node, as "A,B"; NULL: none. The first
 * OFFER_SEEDS_MAX are looked at. chunksMissing: bytes of the pack that those do not give, where the
 * repository has the chunk index of at least one. */
#define OFFER_SEEDS_MAX 8
void offers_read(struct control *c, const char *sha256, const char *seeds,
                 void (*done)(void *arg, const json_t *offer), void *arg);
