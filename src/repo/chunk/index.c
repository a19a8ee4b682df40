/* SPDX-License-Identifier: Apache-2.0 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include <zstd.h>

#include "base/encode.h"
#include "crypto/digest.h"
#include "repo/chunk/cut.h"
#include "repo/chunk/frame.h"
#include "repo/chunk/index.h"

/* docs/formats/chunks.md */
#define HEAD_SIZE 72
#define VERSION 1
#define LENGTH_MAX ((int64_t)1 << 40)
#define LEVEL 19
/* Body: kind, length and packed or distance as varints, digest. */
#define ENTRY_MAX (1 + 5 + 5 + 16)

static const char magic[4] = {'S', 'k', 'C', 'I'};

struct chunk_index *chunk_index_free(struct chunk_index *i) {
        if (i) {
                free(i->chunks);
                free(i);
        }
        return NULL;
}

static uint32_t get32(const uint8_t *p) {
        uint32_t v;
        memcpy(&v, p, sizeof(v));
        return le32toh(v);
}

static uint64_t get64(const uint8_t *p) {
        uint64_t v;
        memcpy(&v, p, sizeof(v));
        return le64toh(v);
}

static void put32(uint8_t *p, uint32_t v) {
        v = htole32(v);
        memcpy(p, &v, sizeof(v));
}

static void put64(uint8_t *p, uint64_t v) {
        v = htole64(v);
        memcpy(p, &v, sizeof(v));
}

struct reader {
        const uint8_t *p;
        size_t left;
};

/* Seven bits a byte, lowest first, at most 32 in all. */
static int read_varint(struct reader *r, uint32_t *ret) {
        uint32_t v = 0;
        for (unsigned shift = 0; shift < 35; shift += 7) {
                if (r->left == 0)
                        return -EBADMSG;
                uint8_t b = *r->p++;
                r->left--;
                if (shift == 28 && b > 0x0f)
                        return -EBADMSG;
                v |= (uint32_t)(b & 0x7f) << shift;
                if (!(b & 0x80)) {
                        *ret = v;
                        return 0;
                }
        }
        return -EBADMSG;
}

static uint8_t *write_varint(uint8_t *p, uint32_t v) {
        for (; v >= 0x80; v >>= 7)
                *p++ = (uint8_t)(v | 0x80);
        *p++ = (uint8_t)v;
        return p;
}

static int damaged(struct err **err, const char *what) {
        return err_set(err, EBADMSG, "the chunk index is damaged: %s; fetch it again, or from another mirror",
                       what);
}

/* The columns of the body: kinds, lengths, packed lengths of frames and distances of repeats, digests. */
static int parse_body(struct chunk_index *i, struct reader r, struct err **err) {
        size_t n = i->n_chunks;
        if (r.left < n)
                return damaged(err, "it ends within the kinds");
        for (size_t k = 0; k < n; k++) {
                if (r.p[k] > CHUNK_REPEAT)
                        return damaged(err, "a chunk of unknown kind");
                i->chunks[k].kind = r.p[k] & 3u;
        }
        r.p += n;
        r.left -= n;
        int64_t total = 0, packed = 0;
        for (size_t k = 0; k < n; k++) {
                struct chunk *c = &i->chunks[k];
                uint32_t length;
                if (read_varint(&r, &length) < 0)
                        return damaged(err, "a length is malformed");
                if (length == 0 || length > (c->kind == CHUNK_ZERO ? CHUNK_ZERO_MAX : CHUNK_MAX))
                        return damaged(err, "a length out of bounds");
                c->length = length;
                total += length;
        }
        if (total != i->target_length)
                return damaged(err, "the chunks do not add up to the target");
        for (size_t k = 0; k < n; k++) {
                struct chunk *c = &i->chunks[k];
                uint32_t v;
                if (c->kind == CHUNK_ZERO)
                        continue;
                if (read_varint(&r, &v) < 0)
                        return damaged(err, "a place is malformed");
                if (c->kind == CHUNK_FRAME) {
                        if (v == 0 || v > c->length)
                                return damaged(err, "a frame's length out of bounds");
                        c->packed = v & 0x3fffffffu;
                        c->offset = packed;
                        packed += v;
                } else {
                        if (v == 0 || v > k)
                                return damaged(err, "a repeat of nothing");
                        const struct chunk *of = &i->chunks[k - v];
                        if (of->kind != CHUNK_FRAME || of->length != c->length)
                                return damaged(err, "a repeat of what is no frame of its length");
                        c->packed = of->packed;
                        c->offset = of->offset;
                }
        }
        if (packed != i->pack_length)
                return damaged(err, "the frames do not add up to the pack");
        for (size_t k = 0; k < n; k++) {
                struct chunk *c = &i->chunks[k];
                if (c->kind != CHUNK_FRAME)
                        continue;
                if (r.left < sizeof(c->digest))
                        return damaged(err, "it ends within the digests");
                memcpy(c->digest, r.p, sizeof(c->digest));
                r.p += sizeof(c->digest);
                r.left -= sizeof(c->digest);
        }
        if (r.left > 0)
                return damaged(err, "bytes after its end");
        return 0;
}

/* Repeats were parsed before digests: a second walk over the distances, which were checked. */
static void fill_repeats(struct chunk_index *i, const uint8_t *body, size_t length) {
        struct reader r = {body + i->n_chunks, length - i->n_chunks};
        uint32_t v = 0;
        for (size_t k = 0; k < i->n_chunks; k++)
                (void)read_varint(&r, &v);
        for (size_t k = 0; k < i->n_chunks; k++) {
                struct chunk *c = &i->chunks[k];
                if (c->kind == CHUNK_ZERO || read_varint(&r, &v) < 0)
                        continue;
                if (c->kind == CHUNK_REPEAT)
                        memcpy(c->digest, i->chunks[k - v].digest, sizeof(c->digest));
        }
}

int chunk_index_parse(const void *p, size_t n, struct chunk_index **ret, struct err **err) {
        const uint8_t *head = p;
        if (n > CHUNK_INDEX_MAX)
                return damaged(err, "it is longer than any is");
        if (n < HEAD_SIZE || memcmp(head, magic, sizeof(magic)) != 0)
                return damaged(err, "it does not begin like one");
        if (get32(head + 4) != VERSION)
                return err_set(err, EPROTONOSUPPORT,
                               "the chunk index is of version %u, this program knows %u: install a newer one",
                               get32(head + 4), VERSION);
        _cleanup_(chunk_index_freep) struct chunk_index *i = calloc(1, sizeof(*i));
        if (!i)
                return err_set_errno(err, ENOMEM, "read a chunk index");
        uint64_t target_length = get64(head + 8), pack_length = get64(head + 16);
        uint32_t count = get32(head + 56), body_length = get32(head + 64);
        i->average_log = head[60];
        i->window_log = head[61];
        i->segment_log = head[62];
        if (target_length > (uint64_t)LENGTH_MAX || pack_length > target_length)
                return damaged(err, "its target is too long");
        if (count > CHUNK_COUNT_MAX || body_length > (uint64_t)count * ENTRY_MAX || body_length < count)
                return damaged(err, "too many chunks");
        if (i->average_log < CHUNK_AVERAGE_LOG_MIN || i->average_log > CHUNK_AVERAGE_LOG_MAX ||
            i->window_log < CHUNK_WINDOW_LOG_MIN || i->window_log > CHUNK_WINDOW_LOG_MAX ||
            i->segment_log < CHUNK_SEGMENT_LOG_MIN || i->segment_log > CHUNK_SEGMENT_LOG_MAX ||
            head[63] != 0 || get32(head + 68) != 0)
                return damaged(err, "its parameters are out of bounds");
        i->target_length = (int64_t)target_length;
        i->pack_length = (int64_t)pack_length;
        hex_encode(head + 24, SHA256_SIZE, i->target_sha256);
        i->n_chunks = count;
        _cleanup_(x_freep) uint8_t *body = malloc(MAX(body_length, 1u));
        i->chunks = calloc(MAX(count, 1u), sizeof(*i->chunks));
        if (!body || !i->chunks)
                return err_set_errno(err, ENOMEM, "read a chunk index");
        size_t r = ZSTD_decompress(body, body_length, head + HEAD_SIZE, n - HEAD_SIZE);
        if (ZSTD_isError(r) || r != body_length)
                return damaged(err, "its body does not unpack");
        int e = parse_body(i, (struct reader){body, body_length}, err);
        if (e < 0)
                return e;
        fill_repeats(i, body, body_length);
        *ret = TAKE_PTR(i);
        return 0;
}

int chunk_index_encode(const struct chunk_index *i, void **ret, size_t *ret_length) {
        size_t n = i->n_chunks;
        if (n > CHUNK_COUNT_MAX)
                return -EFBIG;
        _cleanup_(x_freep) uint8_t *body = malloc(MAX(n * ENTRY_MAX, (size_t)1));
        _cleanup_(x_freep) uint32_t *frame_at = malloc(MAX(n, (size_t)1) * sizeof(*frame_at));
        if (!body || !frame_at)
                return -ENOMEM;
        uint8_t *p = body;
        size_t frames = 0;
        for (size_t k = 0; k < n; k++) {
                *p++ = (uint8_t)i->chunks[k].kind;
                if (i->chunks[k].kind == CHUNK_FRAME)
                        frame_at[frames++] = (uint32_t)k;
        }
        for (size_t k = 0; k < n; k++)
                p = write_varint(p, i->chunks[k].length);
        for (size_t k = 0; k < n; k++) {
                const struct chunk *c = &i->chunks[k];
                if (c->kind == CHUNK_FRAME)
                        p = write_varint(p, c->packed);
                if (c->kind != CHUNK_REPEAT)
                        continue;
                /* Frames' offsets rise: the one repeated is found by halving. */
                size_t low = 0, high = frames;
                while (low < high) {
                        size_t middle = low + (high - low) / 2;
                        if (i->chunks[frame_at[middle]].offset < c->offset)
                                low = middle + 1;
                        else
                                high = middle;
                }
                if (low >= frames || frame_at[low] >= k || i->chunks[frame_at[low]].offset != c->offset)
                        return -EINVAL;
                p = write_varint(p, (uint32_t)(k - frame_at[low]));
        }
        for (size_t k = 0; k < n; k++)
                if (i->chunks[k].kind == CHUNK_FRAME) {
                        memcpy(p, i->chunks[k].digest, sizeof(i->chunks[k].digest));
                        p += sizeof(i->chunks[k].digest);
                }
        size_t length = (size_t)(p - body), bound = ZSTD_compressBound(length);
        _cleanup_(x_freep) uint8_t *out = calloc(1, HEAD_SIZE + bound);
        ZSTD_CCtx *z = ZSTD_createCCtx();
        if (!out || !z) {
                ZSTD_freeCCtx(z);
                return -ENOMEM;
        }
        ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, LEVEL);
        ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1);
        size_t r = ZSTD_compress2(z, out + HEAD_SIZE, bound, body, length);
        ZSTD_freeCCtx(z);
        if (ZSTD_isError(r))
                return -EIO;
        memcpy(out, magic, sizeof(magic));
        put32(out + 4, VERSION);
        put64(out + 8, (uint64_t)i->target_length);
        put64(out + 16, (uint64_t)i->pack_length);
        if (hex_decode(i->target_sha256, 64, out + 24, SHA256_SIZE) < 0)
                return -EINVAL;
        put32(out + 56, (uint32_t)n);
        out[60] = (uint8_t)i->average_log;
        out[61] = (uint8_t)i->window_log;
        out[62] = (uint8_t)i->segment_log;
        put32(out + 64, (uint32_t)length);
        *ret = TAKE_PTR(out);
        *ret_length = HEAD_SIZE + r;
        return 0;
}
