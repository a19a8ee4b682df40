/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret.h"

#include <string.h>
#include <sys/mman.h>

struct secret {
        char *data;
        size_t len, room, mapped;
        bool locked;
};

struct secret *secret_new(size_t size, bool inherited) {
        long page = sysconf(_SC_PAGESIZE);
        if (size > SECRET_MAX || page <= 0)
                return NULL;
        struct secret *s = calloc(1, sizeof(*s));
        if (!s)
                return NULL;
        s->room = size;
        s->mapped = (size + (size_t)page) / (size_t)page * (size_t)page;
        void *p = mmap(NULL, s->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) {
                free(s);
                return NULL;
        }
        s->data = p;
        s->locked = mlock(p, s->mapped) == 0;
        (void)madvise(p, s->mapped, MADV_DONTDUMP);
        if (!inherited)
                (void)madvise(p, s->mapped, MADV_WIPEONFORK);
        return s;
}

struct secret *secret_free(struct secret *s) {
        if (!s)
                return NULL;
        explicit_bzero(s->data, s->mapped);
        (void)munmap(s->data, s->mapped);
        free(s);
        return NULL;
}

char *secret_data(struct secret *s) {
        return s->data;
}

const char *secret_text(const struct secret *s) {
        return s->data;
}

size_t secret_len(const struct secret *s) {
        return s->len;
}

size_t secret_room(const struct secret *s) {
        return s->room;
}

void secret_set_len(struct secret *s, size_t len) {
        s->len = MIN(len, s->room);
        explicit_bzero(s->data + s->len, s->mapped - s->len);
}

bool secret_is_locked(const struct secret *s) {
        return s->locked;
}
