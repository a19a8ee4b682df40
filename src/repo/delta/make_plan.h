/* SPDX-License-Identifier: Apache-2.0 */
/* The program of a delta before it is coded: what stands where in the target, and what it is made from. */
#pragma once

#include "repo/delta/coder_program.h"
#include "repo/delta/make_index.h"
#include "repo/delta/make_pairs.h"

struct delta_plan_step {
        enum delta_op_type type; /* ZERO, COPY, MATCH, LITERAL; FILE for bytes of a changed file */
        int64_t target, length;
        int64_t seed;     /* COPY, MATCH */
        unsigned content; /* MATCH, LITERAL */
        uint32_t file;    /* FILE: of the new image */
        int64_t at;       /* FILE: offset in that file */
};
struct delta_plan {
        struct delta_plan_step *steps; /* by rising target, without gaps */
        size_t n, room;
};
void delta_plan_done(struct delta_plan *p);
/* -ENOMEM. */
int delta_plan_make(const struct delta_image *old_image, const struct delta_image *new_image,
                    const struct delta_file_pair *pairs, size_t index_entries_max, struct delta_plan *ret);
/* What new bytes look like: DELTA_CONTENT_*. */
unsigned delta_plan_content(const uint8_t *p, size_t n);
