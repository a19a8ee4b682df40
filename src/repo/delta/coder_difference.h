/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that have a prediction each: how many are as predicted, then a run of those that are not, and so on
 * through all predicted bytes of a delta, wherever they are cut into calls (docs/formats/delta.md). */
#pragma once

#include "repo/delta/coder_columns.h"

struct delta_difference {
        struct delta_columns *columns; /* borrowed */
        uint64_t gap;                  /* reading: left; writing: so far */
        uint64_t run;                  /* likewise */
        bool begun;                    /* reading: a gap was read */
};

/* Writing: says what p is, given the prediction. Reading: puts it over the prediction, predicted being p. */
void delta_difference_code(struct delta_difference *d, const uint8_t *predicted, uint8_t *p, size_t n);
/* Writing: says what is still owed, once at the end. */
void delta_difference_finish(struct delta_difference *d);
