/* SPDX-License-Identifier: Apache-2.0 */
/* A deflate compressor (RFC 1951) that makes the choices GNU gzip and zlib make at levels 4 to 9, so that
 * what they compressed can be told by its plain bytes and made again on the node, bit for bit. Where it
 * differs the maker notices and tells those bytes otherwise; nothing but size hangs on it. */
#pragma once

#include <stdatomic.h>

#include "base/buf.h"

struct delta_deflate_style {
        uint8_t level;      /* 4 to 9 */
        uint8_t hash_bits;  /* 15 (gzip; zlib's memLevel 8) or 16 (memLevel 9) */
        uint8_t block_bits; /* symbols of a block: 2^15 (gzip, memLevel 9) or 2^14 (memLevel 8), less one */
        uint8_t truncates;  /* ends blocks early where that looks good, as gzip does */
};
#define DELTA_DEFLATE_STYLES 3
extern const struct delta_deflate_style delta_deflate_styles[DELTA_DEFLATE_STYLES]; /* level to be set */

/* Appends the deflate stream of p. At most some 600 KiB of memory besides. -EINVAL for a style out of range,
 * -ENOMEM, -EMSGSIZE past the buffer's limit. -ECANCELED once *cancel is set, which may be NULL: bytes chosen
 * with malice take many seconds. */
int delta_deflate(const struct delta_deflate_style *style, const uint8_t *p, size_t n,
                  const atomic_bool *cancel, struct buf *ret);
