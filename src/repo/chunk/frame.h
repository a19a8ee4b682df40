/* SPDX-License-Identifier: Apache-2.0 */
/* One chunk as a zstd frame that may refer to what stands before it in the target (docs/formats/chunks.md).
 *
 * A node rebuilds a target in order, so all that comes before a chunk is there when the chunk is unpacked.
 * The target is divided into segments; the frames of the chunks that begin in one may copy from the `window`
 * before the segment: a zero byte, then up to 1 << window_log bytes. (The zero byte keeps zstd from taking
 * them for a dictionary in its own format.) */
#pragma once

#include "base/macros.h"

#define CHUNK_WINDOW_LOG 20
#define CHUNK_WINDOW_LOG_MIN 10
#define CHUNK_WINDOW_LOG_MAX 22
#define CHUNK_SEGMENT_LOG 15
#define CHUNK_SEGMENT_LOG_MIN 12
#define CHUNK_SEGMENT_LOG_MAX 22

/* The window of a chunk that begins at `offset`. */
static inline void chunk_window(int64_t offset, unsigned window_log, unsigned segment_log, int64_t *ret_begin,
                                int64_t *ret_end) {
        *ret_end = offset >> segment_log << segment_log;
        *ret_begin = MAX((int64_t)0, *ret_end - ((int64_t)1 << window_log));
}

struct chunk_packer;
int chunk_packer_new(struct chunk_packer **ret);
struct chunk_packer *chunk_packer_free(struct chunk_packer *p);
DEFINE_CLEANUP(struct chunk_packer, chunk_packer_free)
/* The window of the frames to come: `zero_and_window` begins with a zero byte. -ENOMEM. */
int chunk_packer_set_window(struct chunk_packer *p, const uint8_t *zero_and_window, size_t n);
/* Into at most n bytes; as many as n: p itself, for it could not be made smaller. */
int chunk_pack(struct chunk_packer *p, const uint8_t *data, size_t n, uint8_t *out, size_t *ret_packed);

struct chunk_unpacker;
int chunk_unpacker_new(struct chunk_unpacker **ret);
struct chunk_unpacker *chunk_unpacker_free(struct chunk_unpacker *u);
DEFINE_CLEANUP(struct chunk_unpacker, chunk_unpacker_free)
/* Hostile bytes into exactly n. CHUNK_FRAME_ROOM bytes before `packed` are written over. -EBADMSG. */
#define CHUNK_FRAME_ROOM 4
int chunk_unpack(struct chunk_unpacker *u, const uint8_t *zero_and_window, size_t window_length,
                 uint8_t *packed, size_t packed_length, uint8_t *out, size_t n);
