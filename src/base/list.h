/* SPDX-License-Identifier: Apache-2.0 */
/* An intrusive doubly linked ring. A `struct list` is a head or a link; state is list membership. */
#pragma once

#include "base/macros.h"

struct list {
        struct list *next, *prev;
};

static inline void list_init(struct list *l) {
        l->next = l->prev = l;
}
static inline bool list_is_empty(const struct list *l) {
        return l->next == l;
}
static inline void list_append(struct list *head, struct list *link) {
        link->prev = head->prev;
        link->next = head;
        head->prev->next = link;
        head->prev = link;
}
/* Takes the link out and leaves it initialised; harmless when it is in no list. */
static inline void list_remove(struct list *link) {
        link->prev->next = link->next;
        link->next->prev = link->prev;
        list_init(link);
}

#define LIST_ENTRY(link, type, member) CONTAINER_OF(link, type, member)
/* The current link may be removed inside. */
#define LIST_FOREACH(it, head)                                                                               \
        for (struct list *it = (head)->next, *it##_next = it->next; it != (head);                            \
             it = it##_next, it##_next = it->next)
