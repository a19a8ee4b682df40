/* SPDX-License-Identifier: Apache-2.0 */
/* Rebuilds a target from chunks that lie on the node and ranges of a pack. Sans-network: it says which range
 * of the pack it wants next, the caller brings bytes. Calls block on the disk (worker pool).
 *
 * Every chunk is verified when it is written; what stands in the target, for whatever reason, is found by its
 * digest when it is opened again, and stays where it is; so nothing that came whole is fetched twice, after a
 * kill at any point. After a power cut at most CHUNK_FETCH_SYNC bytes are. Memory stays under 32 MiB. */
#pragma once

#include "repo/chunk/index.h"

#define CHUNK_FETCH_GAP 1024 /* bytes between two ranges that are fetched along: what a request costs */
#define CHUNK_FETCH_GAP_MAX (1 << 20)
#define CHUNK_FETCH_AHEAD 64 /* ranges asked for and not there yet, at most */
#define CHUNK_FETCH_SYNC (32u << 20)

struct chunk_fetch;
/* seeds: open files (whole targets, other versions, the other slot), read only; what of them cannot be read
 * is fetched. target_fd: read and write; a file, which is made as long as the target, or a block device.
 * journal: path of a small file beside it, which says that the seeds need not be read again; removed by
 * chunk_fetch_finish(). The index is borrowed. Reads target and seeds through, and writes what the seeds give
 * into the target. -ENOSPC, -EIO and others of the file system: try again later, goes on where it was. */
int chunk_fetch_open(const struct chunk_index *index, const int *seeds, size_t n_seeds, int target_fd,
                     const char *journal, struct chunk_fetch **ret, struct err **err);
struct chunk_fetch *chunk_fetch_free(struct chunk_fetch *f);
DEFINE_CLEANUP(struct chunk_fetch, chunk_fetch_free)

/* What chunk_fetch_missing() would say at first, with nothing written: for the fetch plan. */
int chunk_fetch_predict(const struct chunk_index *index, const int *seeds, size_t n_seeds,
                        int64_t *ret_missing, struct err **err);
/* The same from the seeds' indexes alone, without their bytes: for a server that has no more of them. Two
 * indexes that were cut with different averages share little here; the node, which cuts its seeds anew, finds
 * more. */
int chunk_fetch_predict_indexes(const struct chunk_index *index, const struct chunk_index *const *seeds,
                                size_t n_seeds, int64_t *ret_missing, struct err **err);

/* Another gap than CHUNK_FETCH_GAP, for what is asked for from now on. Where one request waits for the one
 * before, a gap of as many bytes as the link carries in a round trip costs the least time (and more bytes).
 */
void chunk_fetch_set_gap(struct chunk_fetch *f, int64_t bytes);
int64_t
chunk_fetch_missing(const struct chunk_fetch *f); /* bytes of the pack still to be had, joined ranges */
/* The next range of the pack, neighbours joined (a gap smaller than a request costs is fetched along), at
 * most max_bytes but at least one frame; false: nothing is missing. What was asked for before and has not
 * come whole is given up and asked for anew. */
bool chunk_fetch_next(struct chunk_fetch *f, int64_t max_bytes, int64_t *ret_offset, int64_t *ret_length);
/* As chunk_fetch_next(), for the range after those asked for already, which still stand: so several requests
 * can be under way at once over a link with a long round trip. False: none, or CHUNK_FETCH_AHEAD of them. */
bool chunk_fetch_ahead(struct chunk_fetch *f, int64_t max_bytes, int64_t *ret_offset, int64_t *ret_length);
/* Bytes of the ranges asked for, in the order asked, in pieces of any size. -EBADMSG: a chunk is not what the
 * index says, or more came than was asked for; -ENOSPC and others of the file system. After an error every
 * range is given up: chunk_fetch_next() says from where to go on, from another mirror. */
int chunk_fetch_feed(struct chunk_fetch *f, const void *p, size_t n, struct err **err);
/* All is there: checks the whole against its digest, makes it durable. -EAGAIN: something is missing.
 * -EBADMSG: chunks as the index has them do not make the target; the journal is gone then. */
int chunk_fetch_finish(struct chunk_fetch *f, struct err **err);
