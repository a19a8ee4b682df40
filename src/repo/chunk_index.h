/* SPDX-License-Identifier: Apache-2.0 */
/* The chunk index: a target as a list of content-defined chunks, each with its digest and its place in a pack
 * of zstd frames (docs/formats/chunks.md). Unsigned: what is rebuilt is checked against the signed digest. */
#pragma once

#include "base/err.h"

#define CHUNK_INDEX_MAX (64u << 20) /* bytes */
#define CHUNK_MAX (256u << 10)      /* bytes of one chunk */

struct chunk {
        uint8_t digest[16]; /* the first 16 bytes of its SHA-256 */
        uint32_t length;    /* 0 < length <= CHUNK_MAX */
        uint32_t packed;    /* bytes of its frame; equal chunks share one frame */
        int64_t offset;     /* of its frame in the pack */
};
struct chunk_index {
        int64_t target_length, pack_length;
        char target_sha256[65];
        struct chunk *chunks; /* in the target's order */
        size_t n_chunks;
};
/* Bounds are checked: lengths sum to the target's, frames lie within the pack. -EBADMSG. */
int chunk_index_parse(const void *p, size_t n, struct chunk_index **ret, struct err **err);
struct chunk_index *chunk_index_free(struct chunk_index *i);
DEFINE_CLEANUP(struct chunk_index, chunk_index_free)

/* Cuts target_fd and writes index and pack. Blocking. */
int chunk_index_make(int target_fd, int index_fd, int pack_fd, unsigned threads,
                     void (*progress)(void *arg, int64_t done, int64_t total), void *progress_arg,
                     struct err **err);
