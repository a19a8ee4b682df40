/* SPDX-License-Identifier: Apache-2.0 */
/* EROFS, as the kernel's fs/erofs/erofs_fs.h describes it: files stored whole ("flat"), their last part often
 * beside the inode. Compressed files are left alone. */
#include "repo/delta/extents.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SUPER_AT 1024
#define MAGIC 0xe0f5e1e2u
enum { FLAT_PLAIN = 0, FLAT_INLINE = 2, CHUNK_BASED = 4 };

struct erofs {
        struct delta_extents *e;
        const uint8_t *image;
        int64_t length, block, meta;
        uint8_t *seen; /* a bit an inode number: hard links, loops */
        size_t seen_bits;
        char path[4096];
};

static uint32_t get16(const uint8_t *p) {
        return p[0] | (uint32_t)p[1] << 8;
}
static uint32_t get32(const uint8_t *p) {
        return get16(p) | get16(p + 2) << 16;
}
static uint64_t get64(const uint8_t *p) {
        return get32(p) | (uint64_t)get32(p + 4) << 32;
}

static const uint8_t *bytes_at(const struct erofs *x, int64_t offset, int64_t n) {
        return offset < 0 || n < 0 || offset > x->length || n > x->length - offset ? NULL : x->image + offset;
}

struct inode {
        uint32_t mode, layout;
        int64_t size, body, body_length, tail, tail_length;
        int64_t chunks_at;
        uint32_t chunk_format;
};

static int read_inode(const struct erofs *x, uint64_t nid, struct inode *ret) {
        struct inode i = {0};
        if (nid > (uint64_t)x->length / 32)
                return -EBADMSG;
        int64_t at = x->meta + (int64_t)nid * 32;
        const uint8_t *p = bytes_at(x, at, 32);
        if (!p)
                return -EBADMSG;
        uint32_t format = get16(p), xattrs = get16(p + 2);
        bool extended = format & 1;
        if (extended && !bytes_at(x, at, 64))
                return -EBADMSG;
        i.layout = format >> 1 & 7;
        i.mode = get16(p + 4);
        uint64_t size = extended ? get64(p + 8) : get32(p + 8);
        if (size > (uint64_t)x->length)
                return -EBADMSG;
        i.size = (int64_t)size;
        uint32_t u = get32(p + 16);
        int64_t after = at + (extended ? 64 : 32) + (xattrs ? 12 + ((int64_t)xattrs - 1) * 4 : 0);
        if (i.layout == FLAT_PLAIN || i.layout == FLAT_INLINE) {
                int64_t blocks = (i.size + x->block - 1) / x->block;
                i.body = (int64_t)u * x->block;
                i.body_length = i.size;
                if (i.layout == FLAT_INLINE && i.size % x->block != 0) {
                        i.body_length = (blocks - 1) * x->block;
                        i.tail = after;
                        i.tail_length = i.size - i.body_length;
                }
        } else if (i.layout == CHUNK_BASED) {
                i.chunk_format = u & 0xffff;
                i.chunks_at = after;
        } else
                return -ENOENT;
        if ((i.body_length > 0 && !bytes_at(x, i.body, i.body_length)) || !bytes_at(x, i.tail, i.tail_length))
                return -EBADMSG;
        *ret = i;
        return 0;
}

static int add_chunks(struct erofs *x, const struct inode *i) {
        unsigned bits = i->chunk_format & 31;
        bool indexes = i->chunk_format & 32;
        int64_t chunk = x->block << MIN(bits, 30u), entry = indexes ? 8 : 4;
        int64_t at = (i->chunks_at + entry - 1) / entry * entry;
        for (int64_t done = 0; done < i->size; done += chunk, at += entry) {
                const uint8_t *p = bytes_at(x, at, entry);
                uint32_t block = p ? get32(indexes ? p + 4 : p) : 0xffffffff;
                int64_t n = MIN(chunk, i->size - done);
                if (!p || block == 0xffffffff || !bytes_at(x, (int64_t)block * x->block, n))
                        return -EBADMSG; /* holes: the file is left alone */
                int r = delta_extents_span(x->e, (int64_t)block * x->block, n);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int add_file(struct erofs *x, const struct inode *i, size_t path_length) {
        int r = delta_extents_file(x->e, x->path, path_length);
        if (r < 0)
                return r;
        if (i->layout == CHUNK_BASED) {
                r = add_chunks(x, i);
                if (r == -EBADMSG) { /* without spans it is dropped */
                        x->e->n_spans = x->e->files[x->e->n_files - 1].first_span;
                        x->e->files[x->e->n_files - 1].n_spans = 0;
                        x->e->files[x->e->n_files - 1].length = 0;
                        r = 0;
                }
                return r;
        }
        r = delta_extents_span(x->e, i->body, i->body_length);
        return r < 0 ? r : delta_extents_span(x->e, i->tail, i->tail_length);
}

static int walk(struct erofs *x, uint64_t nid, size_t path_length, unsigned depth);

static int walk_block(struct erofs *x, const uint8_t *p, size_t n, size_t path_length, unsigned depth) {
        if (n < 12)
                return 0;
        size_t names = get16(p + 8);
        if (names < 12 || names > n || names % 12 != 0)
                return 0;
        for (size_t i = 0; i < names / 12; i++) {
                const uint8_t *entry = p + i * 12;
                size_t from = get16(entry + 8), to = i + 1 < names / 12 ? get16(entry + 20) : n;
                if (from < names || from > to || to > n)
                        return 0;
                size_t length = strnlen((const char *)p + from, to - from);
                if (length == 0 || (length == 1 && p[from] == '.') ||
                    (length == 2 && p[from] == '.' && p[from + 1] == '.') ||
                    path_length + 1 + length >= sizeof(x->path))
                        continue;
                x->path[path_length] = '/';
                memcpy(x->path + path_length + 1, p + from, length);
                int r = walk(x, get64(entry), path_length + 1 + length, depth + 1);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int walk(struct erofs *x, uint64_t nid, size_t path_length, unsigned depth) {
        struct inode i;
        if (nid >= x->seen_bits || depth > DELTA_EXTENTS_DEPTH_MAX || x->seen[nid / 8] & 1u << nid % 8)
                return 0;
        x->seen[nid / 8] |= (uint8_t)(1u << nid % 8);
        if (read_inode(x, nid, &i) < 0)
                return 0;
        if ((i.mode & 0170000) == 0100000)
                return add_file(x, &i, path_length);
        if ((i.mode & 0170000) != 0040000 || i.layout == CHUNK_BASED)
                return 0;
        for (int64_t done = 0; done < i.body_length; done += x->block) {
                int r = walk_block(x, x->image + i.body + done, (size_t)MIN(x->block, i.body_length - done),
                                   path_length, depth);
                if (r < 0)
                        return r;
        }
        return i.tail_length > 0 ? walk_block(x, x->image + i.tail, (size_t)i.tail_length, path_length, depth)
                                 : 0;
}

int delta_extents_erofs(struct delta_extents *e, const uint8_t *image, int64_t length) {
        if (length < SUPER_AT + 128 || get32(image + SUPER_AT) != MAGIC)
                return -ENOENT;
        const uint8_t *super = image + SUPER_AT;
        unsigned bits = super[12];
        if (bits < 9 || bits > 16)
                return -ENOENT;
        struct erofs *x = calloc(1, sizeof(*x));
        if (!x)
                return -ENOMEM;
        x->e = e;
        x->image = image;
        x->length = length;
        x->block = (int64_t)1 << bits;
        x->meta = (int64_t)get32(super + 40) * x->block;
        x->seen_bits = (size_t)length / 32 + 1;
        x->seen = calloc(x->seen_bits / 8 + 1, 1);
        int r = x->seen ? walk(x, get16(super + 14), 0, 0) : -ENOMEM;
        free(x->seen);
        free(x);
        return r == -E2BIG ? 0 : r;
}
