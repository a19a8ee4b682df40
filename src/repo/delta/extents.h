/* SPDX-License-Identifier: Apache-2.0 */
/* Which files lie where in an image or archive: what the publisher of a delta looks at to bring old and new
 * versions of a file together. EROFS (uncompressed files), ext4, tar and pax, cpio (newc), and archives
 * within archives. Anything else, and whatever is damaged, simply has no files: only the size of a delta
 * hangs on it. */
#pragma once

#include "base/macros.h"

struct delta_span {
        int64_t offset, length; /* in the image */
};
struct delta_image_file {
        char *path;
        int64_t length; /* sum of the spans */
        uint32_t first_span, n_spans;
};
struct delta_extents {
        struct delta_image_file *files;
        struct delta_span *spans;
        size_t n_files, n_spans;
        size_t files_room, spans_room;
};
void delta_extents_done(struct delta_extents *e);

/* -ENOMEM alone. The spans lie within the image, and no two overlap. */
int delta_extents_find(const uint8_t *image, int64_t length, struct delta_extents *ret);

/* ---- For the readers of single formats */

/* Begins a file; spans follow. Takes a copy of path. */
int delta_extents_file(struct delta_extents *e, const char *path, size_t path_length);
int delta_extents_span(struct delta_extents *e, int64_t offset, int64_t length);

#define DELTA_EXTENTS_FILES_MAX ((size_t)4 << 20)
#define DELTA_EXTENTS_DEPTH_MAX 64

/* 0 when the image is of that kind and was read as far as it went, -ENOENT when it is not, -ENOMEM. base is
 * added to all offsets, prefix to all paths. */
int delta_extents_erofs(struct delta_extents *e, const uint8_t *image, int64_t length);
int delta_extents_ext4(struct delta_extents *e, const uint8_t *image, int64_t length);
int delta_extents_tar(struct delta_extents *e, const uint8_t *image, int64_t length, int64_t base,
                      unsigned depth);
int delta_extents_cpio(struct delta_extents *e, const uint8_t *image, int64_t length, int64_t base);
