/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/report_queue.h"

#include <errno.h>
#include <string.h>

#include "base/list.h"
#include "base/str.h"
#include "base/table.h"
#include "codec/json.h"

struct entry {
        struct list pending; /* in queue->pending */
        struct list flight;  /* in queue->flight */
        bool connected, revoked;
        bool says_presence; /* pending */
        bool sent_presence; /* on its way */
        int64_t version;
        char *address, *serial;
        json_t *status, *sent_status; /* likewise */
        size_t status_bytes, sent_bytes;
        char name[];
};

struct report_queue {
        struct table *entries;
        struct list pending, flight; /* in the order in which they began to have something to say */
        size_t n_pending, connected, bytes, limit;
        bool reset, sent_reset, on_its_way;
};

/* ---- merging */

static size_t app_index(const json_t *apps, const char *name) {
        for (size_t i = 0; i < json_array_size(apps); i++)
                if (str_eq(json_string_value(json_object_get(json_array_get(apps, i), "name")), name))
                        return i;
        return SIZE_MAX;
}

static int merge_apps(json_t *into, const json_t *newer) {
        _cleanup_json_ json_t *apps = json_copy(json_object_get(into, "apps"));
        if (!json_is_array(apps)) {
                json_decref(apps);
                apps = json_array();
        }
        for (size_t i = 0; i < json_array_size(newer); i++) {
                json_t *app = json_array_get(newer, i);
                const char *name = json_string_value(json_object_get(app, "name"));
                size_t at = name ? app_index(apps, name) : SIZE_MAX;
                if (at == SIZE_MAX && json_array_size(apps) >= REPORT_MERGED_APPS_MAX)
                        return -E2BIG;
                int r = at == SIZE_MAX ? json_array_append(apps, app) : json_array_set(apps, at, app);
                if (r < 0)
                        return -ENOMEM;
        }
        return json_object_set(into, "apps", apps) < 0 ? -ENOMEM : 0;
}

json_t *status_merge(const json_t *older, const json_t *newer) {
        if (!older || json_is_true(json_object_get(newer, "full")))
                return json_copy((json_t *)newer);
        _cleanup_json_ json_t *merged = json_copy((json_t *)older);
        if (!merged)
                return NULL;
        const char *key;
        json_t *value;
        json_object_foreach ((json_t *)newer, key, value) {
                int r = 0;
                if (str_eq(key, "full"))
                        continue; /* as the older one was */
                if (str_eq(key, "apps") && json_is_array(value))
                        r = merge_apps(merged, value);
                else
                        r = json_object_set(merged, key, value);
                if (r < 0)
                        return NULL;
        }
        return TAKE_PTR(merged);
}

/* ---- entries */

static size_t text_bytes(const json_t *j) {
        return json_dumpb(j, NULL, 0, JSON_COMPACT);
}

static void set_status(struct report_queue *q, json_t **slot, size_t *slot_bytes, json_t *status) {
        json_decref(*slot);
        q->bytes -= *slot_bytes;
        *slot = status;
        *slot_bytes = status ? text_bytes(status) : 0;
        q->bytes += *slot_bytes;
}

static void entry_destroy(void *value) {
        struct entry *e = value;
        json_decref(e->status);
        json_decref(e->sent_status);
        free(e->address);
        free(e->serial);
        free(e);
}

static struct entry *entry_get(struct report_queue *q, const char *node) {
        struct entry *e = table_get(q->entries, node);
        if (e)
                return e;
        size_t size = strlen(node) + 1;
        e = calloc(1, sizeof(*e) + size);
        if (!e)
                return NULL;
        list_init(&e->pending);
        list_init(&e->flight);
        memcpy(e->name, node, size);
        if (table_set(q->entries, node, e) < 0) {
                free(e);
                return NULL;
        }
        return e;
}

/* Puts the entry where what it holds says: among those with something to say or not, or away. */
static void entry_settle(struct report_queue *q, struct entry *e) {
        bool says = e->says_presence || e->status;
        if (says && list_is_empty(&e->pending)) {
                list_append(&q->pending, &e->pending);
                q->n_pending++;
        } else if (!says && !list_is_empty(&e->pending)) {
                list_remove(&e->pending);
                q->n_pending--;
        }
        if (!says && !e->connected && list_is_empty(&e->flight))
                (void)table_remove(q->entries, e->name);
}

int report_queue_presence(struct report_queue *q, const char *node, const struct presence *p) {
        struct entry *e = entry_get(q, node);
        if (!e || str_replace(&e->address, p->connected ? p->address : NULL) < 0 ||
            str_replace(&e->serial, p->connected ? p->serial : NULL) < 0) {
                if (e)
                        entry_settle(q, e);
                return -ENOMEM;
        }
        if (e->connected != p->connected)
                q->connected = p->connected ? q->connected + 1 : q->connected - 1;
        e->connected = p->connected;
        e->revoked = p->revoked;
        e->version = p->version;
        e->says_presence = true;
        entry_settle(q, e);
        return 0;
}

int report_queue_status(struct report_queue *q, const char *node, const json_t *status) {
        struct entry *e = entry_get(q, node);
        json_t *merged = e ? status_merge(e->status, status) : NULL;
        if (!merged) {
                if (e)
                        entry_settle(q, e);
                return -ENOMEM;
        }
        set_status(q, &e->status, &e->status_bytes, merged);
        int r = 0;
        if (q->bytes > q->limit || e->status_bytes > REPORT_MERGED_MAX) {
                set_status(q, &e->status, &e->status_bytes, NULL);
                r = -EMSGSIZE;
        }
        entry_settle(q, e);
        return r;
}

void report_queue_reset(struct report_queue *q) {
        q->reset = true;
}

/* ---- batches */

size_t report_queue_ready(const struct report_queue *q) {
        return q->on_its_way ? 0 : q->n_pending + (q->reset ? 1 : 0);
}

static int add_presence(json_t *items, const struct entry *e) {
        json_t *item = json_pack("{s:s, s:b}", "node", e->name, "connected", e->connected);
        if (!item || json_array_append_new(items, item) < 0)
                return -1;
        if (!e->connected)
                return 0;
        if ((e->address && json_object_set_new(item, "address", json_string(e->address)) < 0) ||
            (e->serial && json_object_set_new(item, "serial", json_string(e->serial)) < 0) ||
            (e->revoked && json_object_set_new(item, "revoked", json_true()) < 0))
                return -1;
        return json_object_set_new(item, "assignment", json_integer(e->version));
}

static int add_status(json_t *items, const struct entry *e) {
        json_t *item = json_pack("{s:s, s:O}", "node", e->name, "status", e->status);
        return item ? json_array_append_new(items, item) : -1;
}

static void put_on_its_way(struct report_queue *q, struct entry *e, bool presence, bool status) {
        if (presence) {
                e->sent_presence = true;
                e->says_presence = false;
        }
        if (status) {
                e->sent_status = TAKE_PTR(e->status);
                e->sent_bytes = e->status_bytes;
                e->status_bytes = 0;
        }
        if (list_is_empty(&e->flight))
                list_append(&q->flight, &e->flight);
        entry_settle(q, e);
}

/* All that are connected; the absence of the others says that they are not. */
static int take_reset(struct report_queue *q, json_t *items) {
        const char *name;
        void *value;
        for (size_t i = 0; table_next(q->entries, &i, &name, &value);)
                if (((struct entry *)value)->connected && add_presence(items, value) < 0)
                        return -ENOMEM;
        for (size_t i = 0; table_next(q->entries, &i, &name, &value);)
                put_on_its_way(q, value, true, false);
        return 0;
}

static int take_pending(struct report_queue *q, json_t *items, size_t max_items, size_t max_bytes) {
        size_t n = 0, bytes = 0;
        LIST_FOREACH (it, &q->pending) {
                struct entry *e = LIST_ENTRY(it, struct entry, pending);
                bool presence = e->says_presence, status = e->status;
                bytes += e->status_bytes;
                if (n == max_items || (n > 0 && bytes > max_bytes))
                        break;
                n++;
                if ((presence && e->connected && add_presence(items, e) < 0) ||
                    (status && add_status(items, e) < 0) ||
                    (presence && !e->connected && add_presence(items, e) < 0))
                        return -ENOMEM;
                put_on_its_way(q, e, presence, status);
        }
        return 0;
}

json_t *report_queue_take(struct report_queue *q, size_t max_items, size_t max_bytes) {
        if (report_queue_ready(q) == 0)
                return NULL;
        bool reset = q->reset;
        _cleanup_json_ json_t *batch = json_object();
        json_t *items = json_array();
        if (!batch || json_object_set_new(batch, "reset", json_boolean(reset)) < 0 ||
            json_object_set_new(batch, "items", items) < 0)
                return NULL;
        q->on_its_way = true;
        q->sent_reset = reset;
        q->reset = false;
        int r = reset ? take_reset(q, items) : take_pending(q, items, max_items, max_bytes);
        if (r < 0) {
                report_queue_failed(q);
                return NULL;
        }
        return TAKE_PTR(batch);
}

static struct entry *next_in_flight(struct report_queue *q) {
        if (list_is_empty(&q->flight))
                return NULL;
        struct entry *e = LIST_ENTRY(q->flight.next, struct entry, flight);
        list_remove(&e->flight);
        return e;
}

void report_queue_arrived(struct report_queue *q) {
        for (struct entry *e; (e = next_in_flight(q));) {
                e->sent_presence = false;
                set_status(q, &e->sent_status, &e->sent_bytes, NULL);
                entry_settle(q, e);
        }
        q->on_its_way = q->sent_reset = false;
}

void report_queue_failed(struct report_queue *q) {
        q->reset |= q->sent_reset;
        q->on_its_way = q->sent_reset = false;
        for (struct entry *e; (e = next_in_flight(q));) {
                e->says_presence |= e->sent_presence;
                e->sent_presence = false;
                if (e->sent_status) {
                        json_t *merged = e->status ? status_merge(e->sent_status, e->status)
                                                   : json_incref(e->sent_status);
                        /* Without memory the newer one alone is kept. */
                        if (merged)
                                set_status(q, &e->status, &e->status_bytes, merged);
                        set_status(q, &e->sent_status, &e->sent_bytes, NULL);
                }
                entry_settle(q, e);
        }
}

/* ---- life */

size_t report_queue_nodes(const struct report_queue *q) {
        return q->connected;
}

size_t report_queue_bytes(const struct report_queue *q) {
        return q->bytes;
}

struct report_queue *report_queue_new(size_t limit) {
        struct report_queue *q = calloc(1, sizeof(*q));
        if (!q)
                return NULL;
        list_init(&q->pending);
        list_init(&q->flight);
        q->limit = limit;
        q->entries = table_new(entry_destroy);
        if (!q->entries)
                return report_queue_free(q);
        return q;
}

struct report_queue *report_queue_free(struct report_queue *q) {
        if (!q)
                return NULL;
        table_free(q->entries);
        free(q);
        return NULL;
}
