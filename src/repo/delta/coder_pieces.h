/* SPDX-License-Identifier: Apache-2.0 */
/* Codes the table of a file's pieces: three numbers each, whose likely values show in the pieces before, for
 * the same change often comes again in the next file. */
#pragma once

#include "repo/delta/coder.h"

struct delta_piece_coder;
int delta_piece_coder_new(struct delta_piece_coder **ret);
struct delta_piece_coder *delta_piece_coder_free(struct delta_piece_coder *x);
DEFINE_CLEANUP(struct delta_piece_coder, delta_piece_coder_free)

/* Before the first piece of a file; kind: its predictor. */
void delta_piece_coder_begin(struct delta_piece_coder *x, unsigned kind);
struct delta_piece_numbers {
        uint64_t gap;    /* new bytes left out before it */
        int64_t jump;    /* from the end of the last piece in the old file to its begin */
        uint64_t length; /* less one */
};
/* Below 2^62; what is read past an end or limit is wrong, and harmless: the caller checks. */
void delta_piece_coder_code(struct delta_piece_coder *x, struct delta_coder *c,
                            struct delta_piece_numbers *n);
