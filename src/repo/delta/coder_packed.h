/* SPDX-License-Identifier: Apache-2.0 */
/* Files of an image that are compressed with gzip: their delta is one of their plain bytes, which the node
 * compresses again just as it was done before (delta_coder_deflate.h). Held whole while it is made: small
 * files. */
#pragma once

#include "repo/delta/coder_deflate.h"
#include "repo/delta/predict.h"

#define DELTA_PLAIN_MAX (4718592) /* 4.5 MiB: of an old or new file, unpacked */

struct delta_packed {
        struct delta_deflate_style style;
        int64_t old_skip;         /* where the deflate stream begins in the old file */
        int64_t old_plain_length; /* 0: the old file is not used */
        int64_t new_plain_length;
        int64_t head_length; /* bytes before the deflate stream */
        int64_t kept;        /* bytes of the deflate stream that are right; the rest of the file is told */
        uint8_t *bytes;      /* the new file whole; decoding: without what is to be packed */
        uint8_t *plain;      /* its plain bytes */
        struct delta_packing *packing; /* decoding: has taken both over */
};
struct delta_packed *delta_packed_free(struct delta_packed *p);
DEFINE_CLEANUP(struct delta_packed, delta_packed_free)

/* Unpacks n bytes of deflate at `skip` of a file; exactly `length` come out. -EBADMSG, -ENOMEM, errors of
 * read.
 */
int delta_packed_unpack(const struct delta_file *file, int64_t skip, int64_t length, uint8_t **ret);

/* ---- The publisher's side */

/* Looks into a gzip file: where the stream begins, its plain bytes. -ENOENT when there is none, or too long.
 */
int delta_packed_look(const uint8_t *p, int64_t n, int64_t *ret_skip, uint8_t **ret_plain,
                      int64_t *ret_length);
/* How the new file can be made from its plain bytes; -ENOENT when none of the known ways comes near. */
int delta_packed_find(const uint8_t *p, int64_t n, struct delta_packed **ret);
