/* SPDX-License-Identifier: Apache-2.0 */
/* Rebuilds a target from a seed and a delta (docs/formats/delta.md). Blocking: belongs on the worker pool.
 *
 * The target is written from its beginning to its end; reads jump only in the seed. Memory stays below
 * DELTA_APPLY_MEMORY_MAX whatever the sizes. Progress is journaled: after a kill or power loss the same call
 * with the same files goes on where it was, after re-verifying what it had written last. The caller checks
 * nothing: 0 means the target has the length and SHA-256 asked for and is on the disk. */
#pragma once

#include <stdatomic.h>

#include "base/err.h"

#define DELTA_APPLY_MEMORY_MAX (32u << 20)
#define DELTA_LENGTH_MAX ((int64_t)1 << 40) /* of seed and target */

struct delta_apply_options {
        int delta_fd;        /* whole, seekable */
        int seed_fd;         /* seekable; a file or a block device */
        int target_fd;       /* read and write; a file (made sparse) or a block device */
        const char *journal; /* path of a small file beside the target; removed on success. NULL: none kept */
        int64_t target_length;
        const char *target_sha256;
        /* Called now and then with the bytes done; may be NULL. */
        void (*progress)(void *arg, int64_t done, int64_t total);
        void *progress_arg;
        const atomic_bool
                *cancel; /* set by another thread: ends with -ECANCELED, to be resumed. NULL: none */
};
/* -EBADMSG: the delta is damaged or does not fit seed and target (also: result has another digest; the
 * journal is gone then, and the caller takes another way); -ENOSPC, -EIO and others of the file system: try
 * again later, goes on from the journal. */
int delta_apply(const struct delta_apply_options *o, struct err **err);

struct delta_header {
        int64_t seed_length, target_length;
        char seed_sha256[65], target_sha256[65];
};
/* Reads the head alone. -EBADMSG. */
int delta_read_header(int delta_fd, struct delta_header *ret, struct err **err);
