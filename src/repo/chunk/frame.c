/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include <zstd.h>

#include "repo/chunk/frame.h"
#include "repo/chunk/index.h"

/* Lazy matching: most of the time goes into entering each window, and the levels that search in trees are ten
 * times slower there for a few percent (docs/decisions/0009-chunks.md). */
#define LEVEL 8

/* Every zstd frame begins so; the pack leaves it out. */
static const uint8_t magic[CHUNK_FRAME_ROOM] = {0x28, 0xb5, 0x2f, 0xfd};

struct chunk_packer {
        ZSTD_CCtx *context;
        ZSTD_CDict *window;
        uint8_t *out;
        size_t room;
};

struct chunk_packer *chunk_packer_free(struct chunk_packer *p) {
        if (p) {
                ZSTD_freeCCtx(p->context);
                ZSTD_freeCDict(p->window);
                free(p->out);
                free(p);
        }
        return NULL;
}

int chunk_packer_new(struct chunk_packer **ret) {
        _cleanup_(chunk_packer_freep) struct chunk_packer *p = calloc(1, sizeof(*p));
        if (!p)
                return -ENOMEM;
        p->room = ZSTD_compressBound(CHUNK_MAX);
        p->out = malloc(p->room);
        p->context = ZSTD_createCCtx();
        if (!p->out || !p->context)
                return -ENOMEM;
        *ret = TAKE_PTR(p);
        return 0;
}

int chunk_packer_set_window(struct chunk_packer *p, const uint8_t *zero_and_window, size_t n) {
        ZSTD_freeCDict(p->window);
        p->window = NULL;
        ZSTD_CCtx_reset(p->context, ZSTD_reset_session_and_parameters);
        ZSTD_CCtx_setParameter(p->context, ZSTD_c_compressionLevel, LEVEL);
        /* The index knows the length and the digest. */
        ZSTD_CCtx_setParameter(p->context, ZSTD_c_contentSizeFlag, 0);
        ZSTD_CCtx_setParameter(p->context, ZSTD_c_checksumFlag, 0);
        ZSTD_CCtx_setParameter(p->context, ZSTD_c_dictIDFlag, 0);
        if (n <= 1)
                return 0;
        p->window = ZSTD_createCDict(zero_and_window, n, LEVEL);
        if (!p->window || ZSTD_isError(ZSTD_CCtx_refCDict(p->context, p->window)))
                return -ENOMEM;
        return 0;
}

int chunk_pack(struct chunk_packer *p, const uint8_t *data, size_t n, uint8_t *out, size_t *ret_packed) {
        size_t r = ZSTD_compress2(p->context, p->out, p->room, data, n);
        if (ZSTD_isError(r) || r < sizeof(magic) || memcmp(p->out, magic, sizeof(magic)) != 0)
                return -EIO;
        r -= sizeof(magic);
        if (r < n)
                memcpy(out, p->out + sizeof(magic), r);
        else
                memcpy(out, data, n);
        *ret_packed = MIN(r, n);
        return 0;
}

struct chunk_unpacker {
        ZSTD_DCtx *context;
};

struct chunk_unpacker *chunk_unpacker_free(struct chunk_unpacker *u) {
        if (u) {
                ZSTD_freeDCtx(u->context);
                free(u);
        }
        return NULL;
}

int chunk_unpacker_new(struct chunk_unpacker **ret) {
        _cleanup_(chunk_unpacker_freep) struct chunk_unpacker *u = calloc(1, sizeof(*u));
        if (!u)
                return -ENOMEM;
        u->context = ZSTD_createDCtx();
        if (!u->context)
                return -ENOMEM;
        *ret = TAKE_PTR(u);
        return 0;
}

int chunk_unpack(struct chunk_unpacker *u, const uint8_t *zero_and_window, size_t window_length,
                 uint8_t *packed, size_t packed_length, uint8_t *out, size_t n) {
        if (packed_length == n) {
                memcpy(out, packed, n);
                return 0;
        }
        memcpy(packed - sizeof(magic), magic, sizeof(magic));
        size_t r = ZSTD_decompress_usingDict(u->context, out, n, packed - sizeof(magic),
                                             packed_length + sizeof(magic), zero_and_window, window_length);
        return ZSTD_isError(r) || r != n ? -EBADMSG : 0;
}
