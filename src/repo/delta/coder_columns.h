/* SPDX-License-Identifier: Apache-2.0 */
/* What a delta says, sorted by kind: each kind is a column, a stream of its own that zstd compresses
 * (docs/formats/delta.md, "Columns"). The same calls write and read, so that one piece of code says what
 * stands where. One thread. */
#pragma once

#include "base/buf.h"

enum delta_column {
        DELTA_OPERATIONS, /* types and flags, a byte each */
        DELTA_LENGTHS,    /* of operations */
        DELTA_JUMPS,      /* to places in the seed */
        DELTA_FILES,      /* numbers of files' tables */
        DELTA_PIECE_GAPS,
        DELTA_PIECE_JUMPS,
        DELTA_PIECE_LENGTHS,
        DELTA_SIDE,        /* shared tables and side information */
        DELTA_GAPS,        /* bytes that are as predicted */
        DELTA_RUNS,        /* lengths of runs that are not */
        DELTA_DIFFERENCES, /* their bytes less the predicted ones */
        DELTA_NEW,         /* bytes that nothing predicts */
        DELTA_RAW,         /* such that cannot be compressed: stored */
        DELTA_COLUMNS,
};

struct delta_columns;
/* Reads up to n bytes of a column, those at `offset`; 0 at its end. */
struct delta_columns_source {
        void *arg;
        ssize_t (*read)(void *arg, enum delta_column column, int64_t offset, uint8_t *p, size_t n);
};
int delta_columns_new_read(const struct delta_columns_source *source, struct delta_columns **ret);
/* What is written waits in temporary files. */
int delta_columns_new_write(struct delta_columns **ret);
struct delta_columns *delta_columns_free(struct delta_columns *c);
DEFINE_CLEANUP(struct delta_columns, delta_columns_free)

bool delta_columns_reading(const struct delta_columns *c);
/* The first thing that went wrong, or 0; everything read after it is zero. -EBADMSG: damaged or at its end.
 */
int delta_columns_failed(const struct delta_columns *c);

/* Each takes what is to be written and gives it back, or gives what was read. Numbers are LEB128. */
uint64_t delta_columns_number(struct delta_columns *c, enum delta_column column, uint64_t v);
int64_t delta_columns_signed(struct delta_columns *c, enum delta_column column, int64_t v);
/* Whole blocks are told in blocks. */
uint64_t delta_columns_place(struct delta_columns *c, enum delta_column column, uint64_t v);
int64_t delta_columns_jump(struct delta_columns *c, enum delta_column column, int64_t v);
void delta_columns_bytes(struct delta_columns *c, enum delta_column column, uint8_t *p, size_t n);

/* ---- Writing */

/* From now on bytes that are put into columns are counted there: how often each value, by column. */
typedef uint64_t delta_column_counts[DELTA_COLUMNS][256];
void delta_columns_count_in(struct delta_columns *c, delta_column_counts *counts);
/* Ends all columns. */
int delta_columns_finish(struct delta_columns *c, int64_t ret_lengths[DELTA_COLUMNS]);
/* Once finished: a column from its beginning, in pieces. */
int delta_columns_each(struct delta_columns *c, enum delta_column column,
                       int (*take)(void *arg, const uint8_t *p, size_t n), void *arg);
