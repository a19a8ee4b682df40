/* SPDX-License-Identifier: Apache-2.0 */
/* Matches the changed pairs of files of two images on several threads, and gathers what goes into the shared
 * tables of the delta. */
#pragma once

#include "repo/delta/coder_packed.h"
#include "repo/delta/make.h"
#include "repo/delta/make_pairs.h"
#include "repo/delta/predict.h"

struct delta_matches {
        struct delta_match *items;    /* one for each file of the new image; empty where not changed */
        struct delta_packed **packed; /* likewise; NULL for most: the match is one of plain bytes then */
        size_t n;
        struct buf shared; /* encoded tables */
};
void delta_matches_done(struct delta_matches *m);
int delta_matches_make(const struct delta_make_options *o, const struct delta_image *old_image,
                       const struct delta_image *new_image, const struct delta_file_pair *pairs,
                       struct delta_matches *ret, struct err **err);

/* Gives the pages of an image that were read back to the system: it is mapped, so they are but a cache. */
void delta_image_forget(const struct delta_image *image);
