/* SPDX-License-Identifier: Apache-2.0 */
/* Where a chunk ends: FastCDC (Xia et al., USENIX ATC 2016) with normalised chunking, and zero runs as chunks
 * of their own (docs/formats/chunks.md). Pure. */
#pragma once

#include "base/macros.h"

#define CHUNK_AVERAGE_LOG_MIN 11
#define CHUNK_AVERAGE_LOG_MAX 17

struct chunk_cutter {
        size_t least, average, most;
        uint64_t mask_before, mask_after; /* strict up to the average, lenient past it */
        uint64_t gear[256];
};
/* average_log within the bounds above. */
void chunk_cutter_init(struct chunk_cutter *c, unsigned average_log);
/* The length of the first chunk of n bytes, which are at least `most`, or all there are. 0 only for n == 0. A
 * zero run may go on past them. */
size_t chunk_cut(const struct chunk_cutter *c, const uint8_t *p, size_t n, bool *ret_zero);
/* How many bytes are zeros at the beginning. */
size_t zero_prefix(const uint8_t *p, size_t n) _pure_;

/* Reads a file through and hands over its chunks in order, `zero` ones without a digest. A zero run may come
 * in several pieces. Non-zero of fn ends it and is returned. */
struct cut_chunk {
        const uint8_t *data;
        int64_t offset;
        uint32_t length;
        bool zero;
        uint8_t digest[16];
};
int chunk_cut_file(const struct chunk_cutter *c, int fd, int (*fn)(void *arg, const struct cut_chunk *chunk),
                   void *arg);
