/* SPDX-License-Identifier: Apache-2.0 */
/* What a delta says of a file that it makes from an old version: where that lies in the seed, the pieces that
 * were matched, what the predictor is told (docs/formats/delta.md, "Files"). */
#pragma once

#include "repo/delta/coder_columns.h"
#include "repo/delta/coder_packed.h"
#include "repo/delta/predict.h"

struct delta_extent {
        int64_t offset, length;
};
/* A file of the target that has an old version in the seed. */
struct delta_program_file {
        struct delta_extent *extents; /* of the old version, in the seed */
        uint32_t n_extents;
        int64_t old_length; /* sum of the extents */
        int64_t new_length;
        unsigned predictor; /* DELTA_PREDICT_* */
        unsigned content;   /* DELTA_CONTENT_*, for reports */
        struct delta_piece *pieces;
        uint32_t *by_old;
        uint32_t n_pieces;
        struct buf side;
        struct delta_packed
                *packed; /* the pieces are of plain bytes then; no predictor. NULL: the file as it is */
};
void delta_program_file_done(struct delta_program_file *f);

/* What all open files hold together. */
struct delta_held {
        size_t pieces, extents, side;
        int64_t packed;
};
bool delta_held_has_room(const struct delta_held *h, size_t pieces, size_t extents, size_t side,
                         int64_t packed);
void delta_held_add(struct delta_held *h, const struct delta_program_file *f);
void delta_held_remove(struct delta_held *h, const struct delta_program_file *f);

/* Where things lie, for what is told by distances. */
struct delta_seed_places {
        int64_t length, next[2]; /* [0]: behind the last whole blocks, [1]: behind the last bytes */
};

/* Reading: f is empty before. *ret_what says what is damaged where -EBADMSG is returned. */
int delta_file_code(struct delta_columns *c, struct delta_seed_places *seed, const struct delta_held *held,
                    int64_t target_length, struct delta_program_file *f, const char **ret_what);
/* A number of bytes and then these; reading: into an empty buffer. -EBADMSG: past the limit. */
int delta_side_code(struct delta_columns *c, size_t max, struct buf *b);
