/* SPDX-License-Identifier: Apache-2.0 */
/* A file that comes in blocks, in any order, over any number of runs of the program: the file itself, sparse,
 * and beside it (<path>.map) its length and the SHA-256 of every block that is there.
 *
 * So a kill or a power loss costs at most the block that was being written, and a block that was damaged on
 * the disk is told from a good one. Whether what was written is what it should be is for the caller to know.
 *
 * Calls block. Blocks may be written and checked on worker threads, different blocks at a time; everything
 * else is for one thread, with none of those under way. */
#pragma once

#include "base/err.h"

#define BLOCK_BYTES ((int64_t)1 << 20)
#define BLOCK_FILE_MAX ((int64_t)64 << 30)

struct block_file;

/* Opens what is there, or begins anew; what cannot be read as a map is begun anew, too. */
int block_file_open(const char *path, struct block_file **ret, struct err **err);
struct block_file *block_file_free(struct block_file *f);
DEFINE_CLEANUP(struct block_file, block_file_free)
/* Removes both files, open or not. */
void block_file_remove(const char *path);

int block_file_fd(const struct block_file *f); /* borrowed; of block_file_length() bytes once that is known */
/* -1: not known yet. */
int64_t block_file_length(const struct block_file *f);
/* Forgets all blocks, unless the length is what it was. -EFBIG. */
int block_file_set_length(struct block_file *f, int64_t length, struct err **err);
/* Forgets all blocks and the length. */
int block_file_reset(struct block_file *f, struct err **err);

int64_t block_file_count(const struct block_file *f); /* of blocks; 0 while the length is not known */
int64_t block_file_size(const struct block_file *f, int64_t i); /* of block i in bytes */
bool block_file_has(const struct block_file *f, int64_t i);
/* The first block from `from` on that is missing (count: none is). */
int64_t block_file_missing(const struct block_file *f, int64_t from);
int64_t block_file_bytes(const struct block_file *f); /* of blocks that are there */

/* Writes block i; n must be its size. The block counts as there after block_file_add(). */
int block_file_write(struct block_file *f, int64_t i, const void *p, size_t n);
void block_file_add(struct block_file *f, int64_t i);
/* Was block i, which is there, checked since this file was opened, or written since? */
bool block_file_is_checked(const struct block_file *f, int64_t i);
/* Reads block i and compares it with its digest: -EBADMSG. */
int block_file_check(const struct block_file *f, int64_t i);
void block_file_set_checked(struct block_file *f, int64_t i);
/* Forgets block i. */
int block_file_drop(struct block_file *f, int64_t i);
