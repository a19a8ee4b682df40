/* SPDX-License-Identifier: Apache-2.0 */
/* Finds bytes of a target anywhere in a seed: an index of seed blocks by hash, then exact and near extension.
 * For what belongs to no pair of files. Read by any thread once built. */
#pragma once

#include "base/macros.h"

struct delta_area {
        int64_t seed, target, length;
};

struct delta_index;
/* Blocks of `block` bytes, taken at every `stride` bytes of the seed's areas (target is not looked at). At
 * most entries_max blocks: past that the stride is made wider. */
int delta_index_new(const uint8_t *seed, const struct delta_area *areas, size_t n_areas, unsigned block,
                    unsigned stride, size_t entries_max, struct delta_index **ret);
struct delta_index *delta_index_free(struct delta_index *x);
DEFINE_CLEANUP(struct delta_index, delta_index_free)

/* Matches target[from, to) with the seed; calls found() by rising target offset, never overlapping. Matches
 * may have differences within. minimum: shortest exact match that begins one. */
int delta_index_match(const struct delta_index *x, const uint8_t *target, int64_t from, int64_t to,
                      unsigned minimum, int (*found)(void *arg, const struct delta_area *a), void *arg);
