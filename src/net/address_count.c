/* SPDX-License-Identifier: Apache-2.0 */
#include "net/address_count.h"

#include <errno.h>

#include "base/str.h"
#include "base/table.h"

struct address_count {
        struct table *counts; /* address -> uint32_t */
};

struct address_count *address_count_new(void) {
        struct address_count *a = calloc(1, sizeof(*a));
        if (!a)
                return NULL;
        a->counts = table_new(free);
        return a->counts ? a : address_count_free(a);
}

struct address_count *address_count_free(struct address_count *a) {
        if (!a)
                return NULL;
        table_free(a->counts);
        free(a);
        return NULL;
}

static bool is_loopback(const char *address) {
        return str_has_prefix(address, "127.") || str_eq(address, "::1");
}

int address_count_add(struct address_count *a, const char *address, uint32_t limit) {
        if (is_loopback(address))
                return 0;
        uint32_t *count = table_get(a->counts, address);
        if (count) {
                if (*count >= limit)
                        return -EUSERS;
                ++*count;
                return 0;
        }
        if (limit == 0)
                return -EUSERS;
        _cleanup_(x_freep) uint32_t *first = malloc(sizeof(*first));
        if (!first)
                return -ENOMEM;
        *first = 1;
        int r = table_set(a->counts, address, first);
        if (r < 0)
                return r;
        (void)TAKE_PTR(first);
        return 0;
}

void address_count_remove(struct address_count *a, const char *address) {
        uint32_t *count = is_loopback(address) ? NULL : table_get(a->counts, address);
        if (count && --*count == 0)
                (void)table_remove(a->counts, address);
}
