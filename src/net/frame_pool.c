/* SPDX-License-Identifier: Apache-2.0 */
#include "net/frame_pool.h"

#include <sys/mman.h>

#define SMALLEST 16384

struct frame_pool {
        char *memory;
        uint32_t count, taken, free_count;
        uint32_t *free; /* stack of those put back; from `taken` on none was ever used */
};

struct frame_pool *frame_pool_new(uint32_t count) {
        struct frame_pool *p = calloc(1, sizeof(*p));
        if (!p)
                return NULL;
        p->count = count;
        p->free = calloc(count, sizeof(*p->free));
        p->memory = mmap(NULL, (size_t)count * FRAME_BUFFER_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p->memory == MAP_FAILED)
                p->memory = NULL;
        if (!p->free || !p->memory)
                return frame_pool_free(p);
        /* A huge page would tie 100 buffers together. */
        (void)madvise(p->memory, (size_t)count * FRAME_BUFFER_BYTES, MADV_NOHUGEPAGE);
        return p;
}

struct frame_pool *frame_pool_free(struct frame_pool *p) {
        if (!p)
                return NULL;
        if (p->memory)
                (void)munmap(p->memory, (size_t)p->count * FRAME_BUFFER_BYTES);
        free(p->free);
        free(p);
        return NULL;
}

bool frame_pool_serves(size_t size) {
        return size >= SMALLEST && size <= FRAME_BUFFER_BYTES;
}

void *frame_pool_take(struct frame_pool *p) {
        if (p->free_count > 0)
                return p->memory + (size_t)p->free[--p->free_count] * FRAME_BUFFER_BYTES;
        return p->taken < p->count ? p->memory + (size_t)p->taken++ * FRAME_BUFFER_BYTES : NULL;
}

void frame_pool_release(struct frame_pool *p, void *buffer) {
        (void)madvise(buffer, FRAME_BUFFER_BYTES, MADV_DONTNEED);
}

void frame_pool_put(struct frame_pool *p, void *buffer) {
        frame_pool_release(p, buffer);
        p->free[p->free_count++] = (uint32_t)((size_t)((char *)buffer - p->memory) / FRAME_BUFFER_BYTES);
}
