/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/coder_packer.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>

#define STEP 16384

struct delta_packed *delta_packed_free(struct delta_packed *p) {
        if (!p)
                return NULL;
        free(p->bytes);
        free(p->plain);
        if (p->packing)
                delta_packing_close(p->packing);
        delta_packing_unref(p->packing);
        free(p);
        return NULL;
}

int delta_packed_unpack(const struct delta_file *file, int64_t skip, int64_t length, uint8_t **ret) {
        _cleanup_(x_freep) uint8_t *plain = NULL;
        uint8_t in[STEP];
        z_stream z = {0};
        if (length < 0 || length > DELTA_PLAIN_MAX || skip < 0 || skip > file->length)
                return -EBADMSG;
        plain = malloc((size_t)length + 1);
        if (!plain || inflateInit2(&z, -15) != Z_OK)
                return -ENOMEM;
        int r = 0, status = Z_OK;
        /* A stream may say nothing at any length: the publisher takes none that is longer than this. */
        int64_t end = file->length - skip > DELTA_PLAIN_MAX ? skip + DELTA_PLAIN_MAX : file->length;
        z.next_out = plain;
        z.avail_out = (unsigned)length + 1; /* one more, so that too long shows */
        while (r == 0 && status == Z_OK && z.avail_out > 0) {
                size_t n = (size_t)MIN((int64_t)sizeof(in), end - skip);
                if (n == 0)
                        break;
                r = file->read(file->arg, skip, in, n);
                z.next_in = in;
                z.avail_in = (unsigned)n;
                skip += (int64_t)n;
                if (r == 0)
                        status = inflate(&z, Z_NO_FLUSH);
        }
        if (r == 0 && (status != Z_STREAM_END || (int64_t)z.total_out != length))
                r = -EBADMSG;
        inflateEnd(&z);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(plain);
        return 0;
}

/* RFC 1952, section 2.3. */
static int64_t head_length(const uint8_t *p, int64_t n) {
        int64_t at = 10;
        if (n < 18 || p[0] != 0x1f || p[1] != 0x8b || p[2] != 8 || p[3] & 0xe0)
                return -1;
        if (p[3] & 4)
                at += 2 + p[10] + 256 * p[11];
        for (unsigned flag = 8; flag <= 16; flag *= 2)
                if (p[3] & flag) {
                        while (at < n && p[at])
                                at++;
                        at++;
                }
        if (p[3] & 2)
                at += 2;
        return at < n ? at : -1;
}

/* With the length of the deflate stream. */
static int look(const uint8_t *p, int64_t n, int64_t *ret_skip, uint8_t **ret_plain, int64_t *ret_length,
                int64_t *ret_stream) {
        int64_t skip = head_length(p, n);
        if (skip < 0 || n > DELTA_PLAIN_MAX)
                return -ENOENT;
        _cleanup_(x_freep) uint8_t *plain = malloc(DELTA_PLAIN_MAX + 1);
        z_stream z = {0};
        if (!plain || inflateInit2(&z, -15) != Z_OK)
                return -ENOMEM;
        z.next_in = (uint8_t *)(uintptr_t)p + skip;
        z.avail_in = (unsigned)(n - skip);
        z.next_out = plain;
        z.avail_out = DELTA_PLAIN_MAX + 1;
        int status = inflate(&z, Z_FINISH);
        *ret_stream = (int64_t)z.total_in;
        *ret_length = (int64_t)z.total_out;
        inflateEnd(&z);
        if (status != Z_STREAM_END || *ret_length > DELTA_PLAIN_MAX)
                return -ENOENT;
        *ret_skip = skip;
        *ret_plain = TAKE_PTR(plain);
        return 0;
}

int delta_packed_look(const uint8_t *p, int64_t n, int64_t *ret_skip, uint8_t **ret_plain,
                      int64_t *ret_length) {
        int64_t stream;
        return look(p, n, ret_skip, ret_plain, ret_length, &stream);
}

int delta_packed_find(const uint8_t *p, int64_t n, struct delta_packed **ret) {
        static const uint8_t levels[] = {9, 6};
        _cleanup_(delta_packed_freep) struct delta_packed *x = calloc(1, sizeof(*x));
        int64_t stream = 0;
        if (!x)
                return -ENOMEM;
        int r = look(p, n, &x->head_length, &x->plain, &x->new_plain_length, &stream);
        if (r < 0)
                return r;
        for (size_t level = 0; level < ARRAY_SIZE(levels); level++)
                for (size_t i = 0; i < DELTA_DEFLATE_STYLES && x->kept < stream; i++) {
                        struct delta_deflate_style style = delta_deflate_styles[i];
                        _cleanup_(buf_done) struct buf out = BUF_INIT;
                        style.level = levels[level];
                        r = delta_deflate(&style, x->plain, (size_t)x->new_plain_length, NULL, &out);
                        if (r < 0)
                                return r;
                        int64_t same = 0, most = MIN(stream, (int64_t)out.len);
                        while (same < most && (uint8_t)out.data[same] == p[x->head_length + same])
                                same++;
                        if (same > x->kept) {
                                x->kept = same;
                                x->style = style;
                        }
                }
        if (x->kept < stream - stream / 8)
                return -ENOENT;
        x->bytes = malloc((size_t)n + 1);
        if (!x->bytes)
                return -ENOMEM;
        memcpy(x->bytes, p, (size_t)n);
        *ret = TAKE_PTR(x);
        return 0;
}
