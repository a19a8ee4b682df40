/* SPDX-License-Identifier: Apache-2.0 */
/* Brings the files of two images together: which old file a new one was made from. */
#pragma once

#include "repo/delta/extents.h"

struct delta_image {
        const uint8_t *bytes;
        int64_t length;
        struct delta_extents extents;
};

enum delta_pairing { DELTA_PAIR_NEW, DELTA_PAIR_SAME, DELTA_PAIR_CHANGED };
struct delta_file_pair {
        enum delta_pairing how; /* of the new file: nothing like it, the same bytes, another version */
        uint32_t old_file;
};
/* One entry for each new file; malloc'ed. -ENOMEM, -ECANCELED. */
int delta_make_pairs(const struct delta_image *old_image, const struct delta_image *new_image,
                     struct delta_file_pair **ret);

/* The bytes of a file in one piece: within the image where it has one span, else a copy in *ret_own. */
int delta_image_file_bytes(const struct delta_image *image, uint32_t file, const uint8_t **ret,
                           uint8_t **ret_own);
