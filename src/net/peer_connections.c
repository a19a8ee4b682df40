/* SPDX-License-Identifier: Apache-2.0 */
#include "net/peer_connections.h"

#include <errno.h>
#include <string.h>

#include "base/table.h"

struct peer_entry {
        struct list connections; /* the oldest first */
        uint32_t n;
        char id[];
};

struct peer_connections {
        struct table *entries;
};

struct peer_connections *peer_connections_new(void) {
        struct peer_connections *p = calloc(1, sizeof(*p));
        if (p && !(p->entries = table_new(NULL))) {
                free(p);
                return NULL;
        }
        return p;
}

struct peer_connections *peer_connections_free(struct peer_connections *p) {
        if (!p)
                return NULL;
        table_free(p->entries);
        free(p);
        return NULL;
}

static struct peer_entry *entry_get(struct peer_connections *p, const char *id) {
        struct peer_entry *e = table_get(p->entries, id);
        if (e)
                return e;
        size_t size = strlen(id) + 1;
        e = calloc(1, sizeof(*e) + size);
        if (!e)
                return NULL;
        list_init(&e->connections);
        memcpy(e->id, id, size);
        if (table_set(p->entries, id, e) < 0) {
                free(e);
                return NULL;
        }
        return e;
}

int peer_connections_add(struct peer_connections *p, const char *id, struct peer_connection *c,
                         uint32_t limit, struct peer_connection **ret_oldest) {
        struct peer_entry *e = entry_get(p, id);
        if (!e)
                return -ENOMEM;
        c->entry = e;
        list_append(&e->connections, &c->link);
        e->n++;
        *ret_oldest = e->n > limit ? LIST_ENTRY(e->connections.next, struct peer_connection, link) : NULL;
        return 0;
}

void peer_connections_remove(struct peer_connections *p, struct peer_connection *c) {
        struct peer_entry *e = c->entry;
        if (!e)
                return;
        c->entry = NULL;
        list_remove(&c->link);
        if (--e->n > 0)
                return;
        (void)table_take(p->entries, e->id);
        free(e);
}
