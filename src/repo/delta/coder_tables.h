/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of a delta: what is shared by all files, and for each file its predictor, pieces and side
 * information, in the order in which the program begins files. They are a stream of their own, which hangs on
 * nothing that the program makes: a node decodes it ahead, on a thread of its own. */
#pragma once

#include "repo/delta/coder.h"
#include "repo/delta/predict.h"

struct delta_table {
        unsigned predictor, content;
        uint32_t n_pieces;
        struct delta_piece *pieces; /* decoded: numbers as coded, see delta_table_place() */
        struct buf side;
};
void delta_table_done(struct delta_table *t);
/* Turns numbers as coded (gap, jump, length) into pieces; -EBADMSG: they lie outside of the files. */
int delta_table_place(struct delta_table *t, int64_t old_length, int64_t new_length);

struct delta_tables;
/* The coder is borrowed; when it decodes, only this uses it from now on, on another thread. */
int delta_tables_new(struct delta_coder *c, struct delta_tables **ret);
struct delta_tables *delta_tables_free(struct delta_tables *t);
DEFINE_CLEANUP(struct delta_tables, delta_tables_free)

/* Encoding. First the shared tables, once; then files; then the end. Nothing is taken over. */
int delta_tables_put_shared(struct delta_tables *t, const void *p, size_t n);
int delta_tables_put(struct delta_tables *t, const struct delta_table *table);
int delta_tables_put_end(struct delta_tables *t);

/* Decoding: in the same order; waits. -EBADMSG: the stream is damaged, past a limit or at its end. */
int delta_tables_get_shared(struct delta_tables *t, struct buf *ret);
int delta_tables_get(struct delta_tables *t, struct delta_table *ret);
