/* SPDX-License-Identifier: Apache-2.0 */
/* The head of a delta file and the limits of its parts (docs/formats/delta.md). */
#pragma once

#include "crypto/digest.h"
#include "repo/delta/apply.h"
#include "repo/delta/coder_columns.h"

#define DELTA_MAGIC "SKDELTA\n"
#define DELTA_VERSION 2u
#define DELTA_HEAD_SIZE 256

/* Limits that a node holds to, and so the publisher. */
#define DELTA_CHUNK 16384u          /* a run is worked on in chunks of this size */
#define DELTA_FILES_OPEN_MAX 4096u  /* files begun and not ended */
#define DELTA_PIECES_MAX 131072u    /* of all open files */
#define DELTA_EXTENTS_MAX 65536u    /* of all open files */
#define DELTA_SIDE_MAX (2u << 20)   /* bytes of side information of all open files */
#define DELTA_SHARED_MAX (1u << 20) /* bytes of shared tables */

#define DELTA_PACKED_MAX ((int64_t)4718592) /* bytes of all open files that are made by packing */

struct delta_head {
        int64_t seed_length, target_length;
        uint8_t seed_sha256[SHA256_SIZE], target_sha256[SHA256_SIZE];
        int64_t lengths[DELTA_COLUMNS]; /* of the columns, which follow the head in their order */
};
void delta_head_encode(const struct delta_head *h, uint8_t out[DELTA_HEAD_SIZE]);
/* -EBADMSG. file_length: of the whole delta. */
int delta_head_decode(const uint8_t in[DELTA_HEAD_SIZE], int64_t file_length, struct delta_head *ret,
                      struct err **err);

/* What the publisher takes bytes for, where no predictor knows better: for its report. */
enum {
        DELTA_CONTENT_BINARY = 0,
        DELTA_CONTENT_TEXT = 1,
        DELTA_CONTENT_METADATA = 2,
        DELTA_CONTENT_CODE = 3,
};

/* Whole reads and writes at a place; -EBADMSG-free: 0, -ENODATA at the end, other -Exxx. */
int delta_read_at(int fd, void *p, size_t n, int64_t offset);
int delta_write_at(int fd, const void *p, size_t n, int64_t offset);
