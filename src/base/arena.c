/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CHUNK_FIRST ((size_t)1 << 10)
#define CHUNK_LARGEST ((size_t)1 << 17)
#define ALIGNMENT _Alignof(max_align_t)

struct chunk {
        struct chunk *next;
        size_t size, used;
        _Alignas(max_align_t) unsigned char bytes[];
};

struct arena {
        struct chunk *chunks; /* the one being filled comes first */
        size_t limit;
        size_t used;
        size_t next_size;
};

struct arena *arena_new(size_t limit) {
        struct arena *a = calloc(1, sizeof(*a));
        if (!a)
                return NULL;
        a->limit = limit;
        a->next_size = CHUNK_FIRST;
        return a;
}

struct arena *arena_free(struct arena *a) {
        if (!a)
                return NULL;
        for (struct chunk *c = a->chunks; c;) {
                struct chunk *next = c->next;
                free(c);
                c = next;
        }
        free(a);
        return NULL;
}

static struct chunk *chunk_add(struct arena *a, size_t size) {
        /* What takes a good part of a chunk gets one of its own, so that the rest of the chunk in use is not
         * thrown away. */
        bool alone = size > a->next_size / 4;
        size_t room = alone ? size : a->next_size;
        struct chunk *c = calloc(1, sizeof(*c) + room);
        if (!c)
                return NULL;
        c->size = room;
        if (alone && a->chunks) {
                c->next = a->chunks->next;
                a->chunks->next = c;
        } else {
                c->next = a->chunks;
                a->chunks = c;
        }
        if (!alone)
                a->next_size = MIN(a->next_size * 2, CHUNK_LARGEST);
        return c;
}

static void *take(struct arena *a, size_t size, size_t alignment) {
        if (size == 0)
                size = 1;
        if (size > SIZE_MAX / 2)
                return NULL;
        if (a->limit > 0 && (a->used > a->limit || size > a->limit - a->used))
                return NULL;
        struct chunk *c = a->chunks;
        size_t start = c ? (c->used + alignment - 1) & ~(alignment - 1) : 0;
        if (!c || start > c->size || size > c->size - start) {
                c = chunk_add(a, size);
                if (!c)
                        return NULL;
                start = 0;
        }
        c->used = start + size;
        a->used += size;
        return c->bytes + start;
}

void *arena_alloc(struct arena *a, size_t size) {
        return take(a, size, ALIGNMENT);
}

void *arena_calloc(struct arena *a, size_t n, size_t size) {
        size_t total;
        if (__builtin_mul_overflow(n, size, &total))
                return NULL;
        return take(a, total, ALIGNMENT);
}

static char *copy_text(struct arena *a, const char *s, size_t len) {
        char *copy = take(a, len + 1, 1);
        if (copy)
                memcpy(copy, s, len); /* the memory is zeroed: the end is there */
        return copy;
}

char *arena_strdup(struct arena *a, const char *s) {
        return copy_text(a, s, strlen(s));
}

char *arena_strndup(struct arena *a, const char *s, size_t n) {
        return copy_text(a, s, strnlen(s, n));
}

char *arena_printf(struct arena *a, const char *format, ...) {
        va_list ap;
        va_start(ap, format);
        char small[256];
        int n = vsnprintf(small, sizeof(small), format, ap);
        va_end(ap);
        if (n < 0)
                return NULL;
        if ((size_t)n < sizeof(small))
                return copy_text(a, small, (size_t)n);
        char *text = take(a, (size_t)n + 1, 1);
        if (!text)
                return NULL;
        va_start(ap, format);
        (void)vsnprintf(text, (size_t)n + 1, format, ap);
        va_end(ap);
        return text;
}

void *arena_memdup(struct arena *a, const void *p, size_t n) {
        void *copy = take(a, n, ALIGNMENT);
        if (copy && n > 0)
                memcpy(copy, p, n);
        return copy;
}

size_t arena_used(const struct arena *a) {
        return a->used;
}
