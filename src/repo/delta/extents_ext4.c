/* SPDX-License-Identifier: Apache-2.0 */
/* ext4 (kernel documentation, filesystems/ext4): regular files whose blocks are told by extent trees. */
#include <errno.h>
#include <string.h>

#include "repo/delta/extents.h"

#define SUPER_AT 1024
#define EXTENTS_FLAG 0x80000u
#define INLINE_FLAG 0x10000000u
#define ROOT_INODE 2u

struct ext4 {
        struct delta_extents *e;
        const uint8_t *image;
        int64_t length, block;
        uint32_t inodes_per_group, inode_size, inodes;
        uint32_t descriptor_size;
        int64_t descriptors_at;
        uint8_t *seen;
        char path[4096];
};

static uint32_t get16(const uint8_t *p) {
        return p[0] | (uint32_t)p[1] << 8;
}
static uint32_t get32(const uint8_t *p) {
        return get16(p) | get16(p + 2) << 16;
}

static const uint8_t *bytes_at(const struct ext4 *x, int64_t offset, int64_t n) {
        return offset < 0 || n < 0 || offset > x->length || n > x->length - offset ? NULL : x->image + offset;
}

static const uint8_t *inode_at(const struct ext4 *x, uint32_t number) {
        if (number == 0 || number > x->inodes)
                return NULL;
        uint32_t group = (number - 1) / x->inodes_per_group, index = (number - 1) % x->inodes_per_group;
        const uint8_t *d =
                bytes_at(x, x->descriptors_at + (int64_t)group * x->descriptor_size, x->descriptor_size);
        if (!d)
                return NULL;
        uint64_t table = get32(d + 8);
        if (x->descriptor_size >= 64)
                table |= (uint64_t)get32(d + 40) << 32;
        if (table > (uint64_t)(x->length / x->block))
                return NULL;
        return bytes_at(x, (int64_t)table * x->block + (int64_t)index * x->inode_size, x->inode_size);
}

/* Calls each() for runs of blocks in file order; -EBADMSG where there are holes or damage. */
struct blocks {
        int (*each)(struct ext4 *x, void *arg, int64_t offset, int64_t length);
        void *arg;
        int64_t next, left; /* logical block, bytes */
};

static int walk_tree(struct ext4 *x, const uint8_t *node, size_t room, struct blocks *b, unsigned depth) {
        uint32_t entries = get16(node + 2), level = get16(node + 6);
        if (get16(node) != 0xf30a || depth > 5 || 12 + (size_t)entries * 12 > room)
                return -EBADMSG;
        for (uint32_t i = 0; i < entries && b->left > 0; i++) {
                const uint8_t *p = node + 12 + i * 12;
                if (level > 0) {
                        int64_t child = (int64_t)get32(p + 4) | (int64_t)get16(p + 8) << 32;
                        const uint8_t *next =
                                child > x->length / x->block ? NULL : bytes_at(x, child * x->block, x->block);
                        if (!next)
                                return -EBADMSG;
                        int r = walk_tree(x, next, (size_t)x->block, b, depth + 1);
                        if (r < 0)
                                return r;
                        continue;
                }
                int64_t first = get32(p), n = get16(p + 4),
                        start = (int64_t)get32(p + 8) | (int64_t)get16(p + 6) << 32;
                if (first != b->next || n == 0 || n > 32768 || start > x->length / x->block)
                        return -EBADMSG; /* a hole, or blocks never written */
                int64_t bytes = MIN(n * x->block, b->left);
                if (!bytes_at(x, start * x->block, bytes))
                        return -EBADMSG;
                int r = b->each(x, b->arg, start * x->block, bytes);
                if (r < 0)
                        return r;
                b->next += n;
                b->left -= bytes;
        }
        return 0;
}

static int each_block(struct ext4 *x, const uint8_t *inode, int64_t size,
                      int (*each)(struct ext4 *x, void *arg, int64_t offset, int64_t length), void *arg) {
        struct blocks b = {each, arg, 0, size};
        int r = walk_tree(x, inode + 40, 60, &b, 0);
        return r < 0 ? r : b.left > 0 ? -EBADMSG : 0;
}

static int add_span(struct ext4 *x, void *arg, int64_t offset, int64_t length) {
        return delta_extents_span(x->e, offset, length);
}

struct folder {
        size_t path_length;
        unsigned depth;
};

static int walk(struct ext4 *x, uint32_t number, size_t path_length, unsigned depth);

static int walk_entries(struct ext4 *x, void *arg, int64_t offset, int64_t length) {
        const struct folder *f = arg;
        const uint8_t *p = x->image + offset;
        for (int64_t at = 0; length - at >= 12;) {
                uint32_t inode = get32(p + at), room = get16(p + at + 4), n = p[at + 6];
                if (room < 8 || room > length - at || n + 8 > room)
                        return 0;
                const char *name = (const char *)p + at + 8;
                at += room;
                if (inode == 0 || n == 0 || (n == 1 && name[0] == '.') ||
                    (n == 2 && name[0] == '.' && name[1] == '.') || f->path_length + 1 + n >= sizeof(x->path))
                        continue;
                x->path[f->path_length] = '/';
                memcpy(x->path + f->path_length + 1, name, n);
                int r = walk(x, inode, f->path_length + 1 + n, f->depth + 1);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int walk(struct ext4 *x, uint32_t number, size_t path_length, unsigned depth) {
        const uint8_t *inode = inode_at(x, number);
        if (!inode || depth > DELTA_EXTENTS_DEPTH_MAX || x->seen[number / 8] & 1u << number % 8)
                return 0;
        x->seen[number / 8] |= (uint8_t)(1u << number % 8);
        uint32_t mode = get16(inode), flags = get32(inode + 32);
        uint64_t size = get32(inode + 4) | (uint64_t)get32(inode + 108) << 32;
        if (size > (uint64_t)x->length || !(flags & EXTENTS_FLAG) || flags & INLINE_FLAG)
                return 0;
        int r = 0;
        if ((mode & 0170000) == 0040000) {
                struct folder f = {path_length, depth};
                r = each_block(x, inode, (int64_t)size, walk_entries, &f);
        } else if ((mode & 0170000) == 0100000 && size > 0) {
                r = delta_extents_file(x->e, x->path, path_length);
                if (r < 0)
                        return r;
                r = each_block(x, inode, (int64_t)size, add_span, NULL);
                if (r == -EBADMSG) { /* without spans it is dropped */
                        struct delta_image_file *f = &x->e->files[x->e->n_files - 1];
                        x->e->n_spans = f->first_span;
                        f->n_spans = 0;
                        f->length = 0;
                }
        }
        return r == -EBADMSG ? 0 : r;
}

int delta_extents_ext4(struct delta_extents *e, const uint8_t *image, int64_t length) {
        if (length < SUPER_AT + 1024 || get16(image + SUPER_AT + 56) != 0xef53)
                return -ENOENT;
        const uint8_t *super = image + SUPER_AT;
        uint32_t bits = get32(super + 24);
        struct ext4 *x = calloc(1, sizeof(*x));
        if (!x)
                return -ENOMEM;
        x->e = e;
        x->image = image;
        x->length = length;
        x->block = (int64_t)1024 << MIN(bits, 6u);
        x->inodes = get32(super);
        x->inodes_per_group = get32(super + 40);
        x->inode_size = get32(super + 76) >= 1 ? get16(super + 88) : 128;
        x->descriptor_size = get32(super + 96) & 0x80 ? get16(super + 254) : 32;
        x->descriptors_at = ((int64_t)get32(super + 20) + 1) * x->block;
        int r = -ENOENT;
        if (bits <= 6 && x->inodes_per_group > 0 && x->inode_size >= 128 && x->descriptor_size >= 32 &&
            x->inodes <= (uint64_t)length / 128) {
                x->seen = calloc(x->inodes / 8 + 1, 1);
                r = x->seen ? walk(x, ROOT_INODE, 0, 0) : -ENOMEM;
        }
        free(x->seen);
        free(x);
        return r == -E2BIG ? 0 : r;
}
