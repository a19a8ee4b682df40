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
        json_t *reports, *sent_reports; /* likewise: lists in the order in which they came; NULL for none */
        size_t reports_bytes, sent_bytes;
        char name[];
};

struct report_queue {
        struct table *entries;
        struct list pending, flight; /* in the order in which they began to have something to say */
        size_t n_pending, connected, bytes, limit;
        bool reset, sent_reset, on_its_way;
};

/* ---- entries */

static size_t text_bytes(const json_t *j) {
        return json_dumpb(j, NULL, 0, JSON_COMPACT);
}

static void drop_reports(struct report_queue *q, json_t **reports, size_t *bytes) {
        json_decref(*reports);
        *reports = NULL;
        q->bytes -= *bytes;
        *bytes = 0;
}

static void entry_destroy(void *value) {
        struct entry *e = value;
        json_decref(e->reports);
        json_decref(e->sent_reports);
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
        bool says = e->says_presence || e->reports;
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

static bool is_full(const json_t *report) {
        return json_is_true(json_object_get(json_object_get(report, "signed"), "full"));
}

/* Everything that this node has said is said by the full report that begins its next connection. */
static void forget_reports(struct report_queue *q, struct entry *e) {
        drop_reports(q, &e->reports, &e->reports_bytes);
        drop_reports(q, &e->sent_reports, &e->sent_bytes);
}

int report_queue_status(struct report_queue *q, const char *node, const json_t *report) {
        struct entry *e = entry_get(q, node);
        if (!e)
                return -ENOMEM;
        /* It says all: what is on its way need not be said again either, should it be lost. */
        if (is_full(report))
                forget_reports(q, e);
        size_t bytes = text_bytes(report);
        int r = 0;
        if (q->bytes + bytes > q->limit || e->reports_bytes + e->sent_bytes + bytes > REPORTS_BYTES_MAX ||
            json_array_size(e->reports) + json_array_size(e->sent_reports) >= REPORTS_HELD_MAX)
                r = -EMSGSIZE;
        else if ((!e->reports && !(e->reports = json_array())) ||
                 json_array_append(e->reports, (json_t *)report) < 0)
                r = -ENOMEM;
        if (r < 0) {
                forget_reports(q, e);
        } else {
                e->reports_bytes += bytes;
                q->bytes += bytes;
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

static int add_reports(json_t *items, const struct entry *e) {
        json_t *report;
        size_t i;
        json_array_foreach (e->reports, i, report) {
                json_t *item = json_pack("{s:s, s:O}", "node", e->name, "status", report);
                if (!item || json_array_append_new(items, item) < 0)
                        return -1;
        }
        return 0;
}

static void put_on_its_way(struct report_queue *q, struct entry *e, bool presence, bool reports) {
        if (presence) {
                e->sent_presence = true;
                e->says_presence = false;
        }
        if (reports) {
                e->sent_reports = TAKE_PTR(e->reports);
                e->sent_bytes = e->reports_bytes;
                e->reports_bytes = 0;
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
                bool presence = e->says_presence;
                size_t more = json_array_size(e->reports) + (presence ? 1 : 0);
                bytes += e->reports_bytes;
                if (n > 0 && (n + more > max_items || bytes > max_bytes))
                        break;
                n += more;
                if ((presence && e->connected && add_presence(items, e) < 0) || add_reports(items, e) < 0 ||
                    (presence && !e->connected && add_presence(items, e) < 0))
                        return -ENOMEM;
                put_on_its_way(q, e, presence, e->reports);
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
                drop_reports(q, &e->sent_reports, &e->sent_bytes);
                entry_settle(q, e);
        }
        q->on_its_way = q->sent_reset = false;
}

/* What did not arrive comes before what was said since. */
static void put_back(struct report_queue *q, struct entry *e) {
        if (e->reports && json_array_extend(e->sent_reports, e->reports) < 0) {
                /* Without memory the newer ones alone are kept. */
                drop_reports(q, &e->sent_reports, &e->sent_bytes);
                return;
        }
        json_decref(e->reports);
        e->reports = TAKE_PTR(e->sent_reports);
        e->reports_bytes += e->sent_bytes;
        e->sent_bytes = 0;
}

void report_queue_failed(struct report_queue *q) {
        q->reset |= q->sent_reset;
        q->on_its_way = q->sent_reset = false;
        for (struct entry *e; (e = next_in_flight(q));) {
                e->says_presence |= e->sent_presence;
                e->sent_presence = false;
                if (e->sent_reports)
                        put_back(q, e);
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
