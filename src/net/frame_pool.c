/* SPDX-License-Identifier: Apache-2.0 */
#include "net/frame_pool.h"

#include <sys/mman.h>

#define SMALLEST 16384
#define BUFFERS_PER_BLOCK 256

/* Blocks of address space are taken as the connections come, and kept: their pages are given back one by one.
 */
struct frame_pool {
        char **blocks;
        size_t block_count;
        void **unused; /* stack of buffers; it has room for all there are */
        size_t unused_count;
};

struct frame_pool *frame_pool_new(void) {
        return calloc(1, sizeof(struct frame_pool));
}

struct frame_pool *frame_pool_free(struct frame_pool *p) {
        if (!p)
                return NULL;
        for (size_t i = 0; i < p->block_count; i++)
                (void)munmap(p->blocks[i], (size_t)BUFFERS_PER_BLOCK * FRAME_BUFFER_BYTES);
        free(p->blocks);
        free(p->unused);
        free(p);
        return NULL;
}

bool frame_pool_serves(size_t size) {
        return size >= SMALLEST && size <= FRAME_BUFFER_BYTES;
}

static bool add_block(struct frame_pool *p) {
        const size_t bytes = (size_t)BUFFERS_PER_BLOCK * FRAME_BUFFER_BYTES;
        size_t count = p->block_count + 1;
        char **blocks = reallocarray(p->blocks, count, sizeof(*blocks));
        if (!blocks)
                return false;
        p->blocks = blocks;
        void **unused = reallocarray(p->unused, count * BUFFERS_PER_BLOCK, sizeof(*unused));
        if (!unused)
                return false;
        p->unused = unused;
        char *block =
                mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (block == MAP_FAILED)
                return false;
        /* A huge page would tie 100 buffers together. */
        (void)madvise(block, bytes, MADV_NOHUGEPAGE);
        p->blocks[p->block_count++] = block;
        for (size_t i = BUFFERS_PER_BLOCK; i-- > 0;)
                p->unused[p->unused_count++] = block + i * FRAME_BUFFER_BYTES;
        return true;
}

void *frame_pool_take(struct frame_pool *p) {
        if (p->unused_count == 0 && !add_block(p))
                return NULL;
        return p->unused[--p->unused_count];
}

void frame_pool_release(void *buffer) {
        (void)madvise(buffer, FRAME_BUFFER_BYTES, MADV_DONTNEED);
}

void frame_pool_put(struct frame_pool *p, void *buffer) {
        frame_pool_release(buffer);
        p->unused[p->unused_count++] = buffer;
}
