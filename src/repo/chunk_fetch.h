/* SPDX-License-Identifier: Apache-2.0 */
/* Rebuilds a target from chunks that lie on the node and ranges of a pack. Sans-network: it says which range
 * of the pack it wants next, the caller brings bytes. Calls block on the disk (worker pool).
 *
 * Every chunk is verified when it is written; after a kill chunk_fetch_open() finds again what is in the
 * target file (by a small journal, re-verified), so nothing is fetched twice. Memory stays under 32 MiB. */
#pragma once

#include "repo/chunk_index.h"

struct chunk_fetch;
/* seeds: open files (whole targets, other versions, the other slot), read only. target_fd: read and write.
 * journal: path of a small file beside it; removed by chunk_fetch_finish(). The index is borrowed. */
int chunk_fetch_open(const struct chunk_index *index, const int *seeds, size_t n_seeds, int target_fd,
                     const char *journal, struct chunk_fetch **ret, struct err **err);
struct chunk_fetch *chunk_fetch_free(struct chunk_fetch *f);
DEFINE_CLEANUP(struct chunk_fetch, chunk_fetch_free)

int64_t
chunk_fetch_missing(const struct chunk_fetch *f); /* bytes of the pack still to be had, joined ranges */
/* The next range of the pack, neighbours joined (a gap smaller than a request costs is fetched along), at
 * most max_bytes but at least one frame; false: nothing is missing. */
bool chunk_fetch_next(struct chunk_fetch *f, int64_t max_bytes, int64_t *ret_offset, int64_t *ret_length);
/* Bytes of the range asked for last, in order, in pieces of any size. -EBADMSG: a chunk is not what the index
 * says; the range may be asked again, from another mirror. */
int chunk_fetch_feed(struct chunk_fetch *f, const void *p, size_t n, struct err **err);
/* All is there: checks the whole against its digest, makes it durable. -EBADMSG. */
int chunk_fetch_finish(struct chunk_fetch *f, struct err **err);
