/* SPDX-License-Identifier: Apache-2.0 */
/* The chunk index: a target as a list of content-defined chunks, each with its digest and its place in a pack
 * of zstd frames (docs/formats/chunks.md). Unsigned: what is rebuilt is checked against the signed digest. */
#pragma once

#include "base/err.h"

#define CHUNK_INDEX_MAX (64u << 20) /* bytes */
#define CHUNK_MAX (256u << 10)      /* bytes of one chunk, but of zeros: CHUNK_ZERO_MAX */
#define CHUNK_ZERO_MAX (1u << 30)
#define CHUNK_COUNT_MAX (320u << 10) /* what a node holds of each stays below its memory limit */

/* A frame holds the chunk's bytes. A repeat is equal to an earlier frame, and has that one's digest, packed
 * and offset. Zeros are not in the pack: packed 0, no digest. */
enum chunk_kind { CHUNK_FRAME = 0, CHUNK_ZERO = 1, CHUNK_REPEAT = 2 };

struct chunk {
        uint8_t digest[16]; /* the first 16 bytes of its SHA-256 */
        uint32_t length;    /* 0 < length <= CHUNK_MAX, of zeros CHUNK_ZERO_MAX */
        uint32_t kind : 2;
        uint32_t packed : 30; /* bytes of its frame; as many as length: stored as it is */
        int64_t offset;       /* of its frame in the pack; rises from frame to frame */
};
struct chunk_index {
        int64_t target_length, pack_length;
        char target_sha256[65];
        unsigned average_log; /* seeds are cut as the target was */
        unsigned window_log, segment_log;
        struct chunk *chunks; /* in the target's order */
        size_t n_chunks;
};
/* Bounds are checked: lengths sum to the target's, frames to the pack's. -EBADMSG; -EPROTONOSUPPORT: of a
 * later version than this program's. */
int chunk_index_parse(const void *p, size_t n, struct chunk_index **ret, struct err **err);
struct chunk_index *chunk_index_free(struct chunk_index *i);
DEFINE_CLEANUP(struct chunk_index, chunk_index_free)
/* The bytes of the file. malloc'ed. */
int chunk_index_encode(const struct chunk_index *i, void **ret, size_t *ret_length);

/* Cuts target_fd and writes index and pack, both from where their descriptors stand. Blocking. The same
 * target gives the same files, whatever the number of threads (0: as many as there are processors); memory
 * below 300 MB. progress is called by the caller's thread. -EFBIG: too large for an index. */
int chunk_index_make(int target_fd, int index_fd, int pack_fd, unsigned threads,
                     void (*progress)(void *arg, int64_t done, int64_t total), void *progress_arg,
                     struct err **err);
