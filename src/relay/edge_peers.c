/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/edge_peers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/list.h"
#include "base/str.h"
#include "base/table.h"
#include "codec/json.h"

#define KEY_SIZE 128 /* "<type>/<node>" */

struct relay_peer;

struct node_peer {
        struct list link;       /* in via->nodes when it is behind a relay */
        struct relay_peer *via; /* NULL: connected here */
        struct stream *stream;  /* connected here */
        uint32_t mark;          /* of the last reset batch that named it */
        char name[];
};

struct relay_peer {
        struct stream *stream;
        struct list nodes;
        size_t n_nodes;
        uint32_t mark;
        char name[];
};

/* What a stream belongs to: the first member of both tells which. */
struct owner {
        bool is_relay;
        char name[];
};

struct edge_peers {
        const struct edge_backend *backend;
        struct streams *streams;
        struct table *nodes;  /* name -> struct node_peer */
        struct table *relays; /* name -> struct relay_peer, while its stream is open */
        bool ending;
        uint64_t direct, via_relay, status_received;
};

/* ---- nodes */

static void leave_relay(struct edge_peers *p, struct node_peer *n) {
        if (!n->via)
                return;
        list_remove(&n->link);
        n->via->n_nodes--;
        n->via = NULL;
        p->via_relay--;
}

/* Ends the stream that a node has here, quietly. */
static void leave_stream(struct edge_peers *p, struct node_peer *n) {
        if (!n->stream)
                return;
        struct stream *s = TAKE_PTR(n->stream);
        free(stream_owner(s));
        stream_close(s);
        p->direct--;
}

static struct node_peer *node_get(struct edge_peers *p, const char *name) {
        struct node_peer *n = table_get(p->nodes, name);
        if (n)
                return n;
        size_t size = strlen(name) + 1;
        n = calloc(1, sizeof(*n) + size);
        if (!n)
                return NULL;
        list_init(&n->link);
        memcpy(n->name, name, size);
        if (table_set(p->nodes, name, n) < 0) {
                free(n);
                return NULL;
        }
        return n;
}

/* Takes a node out and tells the backend. */
static void node_gone(struct edge_peers *p, struct node_peer *n, const char *via) {
        leave_relay(p, n);
        (void)table_take(p->nodes, n->name);
        if (!p->ending)
                p->backend->presence(p->backend->arg, n->name, false, via, NULL, 0);
        free(n);
}

/* ---- streams */

/* The line of an event: the body with its type, and the node's name when it goes through a relay. */
static char *make_line(const char *type, const char *node, const json_t *body, size_t *ret_len) {
        _cleanup_json_ json_t *line = json_object();
        if (!line || json_object_set_new(line, "type", json_string(type)) < 0 ||
            (node && json_object_set_new(line, "node", json_string(node)) < 0) ||
            (body && json_object_update_missing(line, (json_t *)body) < 0))
                return NULL;
        _cleanup_(x_freep) char *text = json_encode_compact(line);
        if (!text)
                return NULL;
        size_t len = strlen(text);
        char *whole = realloc(text, len + 2);
        if (!whole)
                return NULL;
        (void)TAKE_PTR(text);
        whole[len] = '\n';
        whole[len + 1] = '\0';
        *ret_len = len + 1;
        return whole;
}

static void relay_gone(struct edge_peers *p, struct relay_peer *r) {
        struct list gone;
        list_init(&gone);
        (void)table_take(p->relays, r->name);
        /* All leave before the backend hears of the first: what it then says to one of the others must not
         * go into the stream that is ending. */
        LIST_FOREACH (it, &r->nodes) {
                leave_relay(p, LIST_ENTRY(it, struct node_peer, link));
                list_append(&gone, it);
        }
        while (!list_is_empty(&gone)) {
                struct node_peer *n = LIST_ENTRY(gone.next, struct node_peer, link);
                list_remove(&n->link);
                node_gone(p, n, r->name);
        }
        if (!p->ending && p->backend->relay_presence)
                p->backend->relay_presence(p->backend->arg, r->name, false, NULL);
        free(r);
}

static void on_stream_closed(void *arg, struct stream *s) {
        struct edge_peers *p = arg;
        struct owner *owner = stream_owner(s);
        if (owner->is_relay) {
                struct relay_peer *r = table_get(p->relays, owner->name);
                if (r && r->stream == s)
                        relay_gone(p, r);
        } else {
                struct node_peer *n = table_get(p->nodes, owner->name);
                if (n && n->stream == s) {
                        n->stream = NULL;
                        p->direct--;
                        node_gone(p, n, NULL);
                }
        }
        free(owner);
}

/* Whoever has the stream now hears why it ends: two that take turns at it are one identity too many. */
static void tell_replaced(struct stream *old, const char *address) {
        _cleanup_json_ json_t *body = json_pack("{s:s?}", "address", address);
        size_t len = 0;
        _cleanup_(x_freep) char *line = make_line("replaced", NULL, body, &len);
        if (line)
                stream_say_last(old, line, len);
}

static void join_node(struct edge_peers *p, struct stream *s, const struct edge_peer *who, int64_t version) {
        struct node_peer *n = node_get(p, who->name);
        if (!n) {
                free(stream_owner(s));
                stream_close(s);
                return;
        }
        leave_relay(p, n);
        if (n->stream)
                tell_replaced(n->stream, who->address);
        leave_stream(p, n);
        n->stream = s;
        p->direct++;
        if (p->backend->certificate)
                p->backend->certificate(p->backend->arg, who->name, who->serial);
        p->backend->presence(p->backend->arg, who->name, true, NULL, who->address, version);
}

static void join_relay(struct edge_peers *p, struct stream *s, const struct edge_peer *who) {
        struct relay_peer *r = table_get(p->relays, who->name);
        if (r) {
                /* Its nodes stay until its reset batch says who is still there. */
                struct stream *old = r->stream;
                r->stream = s;
                tell_replaced(old, who->address);
                free(stream_owner(old));
                stream_close(old);
        } else {
                size_t size = strlen(who->name) + 1;
                r = calloc(1, sizeof(*r) + size);
                if (!r || table_set(p->relays, who->name, r) < 0) {
                        free(r);
                        free(stream_owner(s));
                        stream_close(s);
                        return;
                }
                memcpy(r->name, who->name, size);
                list_init(&r->nodes);
                r->stream = s;
        }
        if (p->backend->relay_presence)
                p->backend->relay_presence(p->backend->arg, who->name, true, who->address);
}

void edge_peers_join(struct edge_peers *p, struct http_exchange *x, const struct edge_peer *who,
                     msec_t heartbeat_ms, int64_t version) {
        if (p->ending) {
                http_respond_error(x, 503, "unavailable", "this edge is stopping");
                return;
        }
        size_t size = strlen(who->name) + 1;
        struct owner *owner = malloc(sizeof(*owner) + size);
        if (!owner) {
                http_respond_error(x, 503, "unavailable", "out of memory");
                return;
        }
        owner->is_relay = who->is_relay;
        memcpy(owner->name, who->name, size);
        struct stream *s = stream_open(p->streams, x, heartbeat_ms, owner);
        if (!s)
                free(owner);
        else if (who->is_relay)
                join_relay(p, s, who);
        else
                join_node(p, s, who, version);
}

/* ---- words out */

static void send_to_relay(struct relay_peer *r, const char *node, const char *type, const json_t *body) {
        size_t len = 0;
        _cleanup_(x_freep) char *line = make_line(type, node, body, &len);
        char key[KEY_SIZE];
        snprintf(key, sizeof(key), "%s/%s", type, node);
        if (line)
                stream_send(r->stream, key, line, len);
}

bool edge_peers_send(struct edge_peers *p, const char *node, const char *type, json_t *body) {
        _cleanup_json_ json_t *owned = body;
        struct node_peer *n = table_get(p->nodes, node);
        if (!n || (!n->via && !n->stream))
                return false;
        if (n->via) {
                send_to_relay(n->via, node, type, owned);
                return true;
        }
        size_t len = 0;
        _cleanup_(x_freep) char *line = make_line(type, NULL, owned, &len);
        if (!line)
                return false;
        stream_send(n->stream, type, line, len);
        return true;
}

void edge_peers_broadcast(struct edge_peers *p, const char *type, json_t *body) {
        _cleanup_json_ json_t *owned = body;
        size_t len = 0;
        _cleanup_(x_freep) char *line = make_line(type, NULL, owned, &len);
        const char *name;
        void *value;
        if (!line)
                return;
        for (size_t i = 0; table_next(p->relays, &i, &name, &value);) {
                struct relay_peer *r = value;
                stream_send(r->stream, type, line, len);
        }
        /* A stream that is let go takes its node out of the table at once, which is the current entry. */
        for (size_t i = 0; table_next(p->nodes, &i, &name, &value);) {
                struct node_peer *n = value;
                if (n->stream)
                        stream_send(n->stream, type, line, len);
        }
}

void edge_peers_send_relays(struct edge_peers *p, const char *type, json_t *body) {
        _cleanup_json_ json_t *owned = body;
        size_t len = 0;
        _cleanup_(x_freep) char *line = make_line(type, NULL, owned, &len);
        const char *name;
        void *value;
        for (size_t i = 0; line && table_next(p->relays, &i, &name, &value);) {
                struct relay_peer *r = value;
                stream_send(r->stream, type, line, len);
        }
}

void edge_peers_send_drop(struct edge_peers *p, const char *node) {
        const char *name;
        void *value;
        for (size_t i = 0; table_next(p->relays, &i, &name, &value);)
                send_to_relay(value, node, "drop", NULL);
}

/* ---- a relay's batch */

/* May the node be behind that relay? The relay cannot judge by itself whether a certificate was replaced: it
 * is told to refuse that one, and the name goes on. */
static bool batch_admit(struct edge_peers *p, struct relay_peer *r, struct edge_peer *who) {
        const char *serial = who->serial;
        if (!p->backend->admit)
                return true;
        who->serial = NULL;
        if (!p->backend->admit(p->backend->arg, who)) {
                send_to_relay(r, who->name, "drop", NULL);
                return false;
        }
        who->serial = serial;
        if (!serial || p->backend->admit(p->backend->arg, who))
                return true;
        _cleanup_json_ json_t *body = json_pack("{s:s}", "serial", serial);
        send_to_relay(r, who->name, "drop", body);
        return false;
}

static void batch_presence(struct edge_peers *p, struct relay_peer *r, const char *node, const json_t *item) {
        const char *address = NULL, *serial = NULL;
        int64_t version = 0;
        (void)json_read_optional_string(item, "address", &address, NULL);
        (void)json_read_optional_string(item, "serial", &serial, NULL);
        (void)json_read_optional_int(item, "assignment", &version, NULL);
        if (!json_is_true(json_object_get(item, "connected"))) {
                struct node_peer *n = table_get(p->nodes, node);
                if (n && n->via == r)
                        node_gone(p, n, r->name);
                return;
        }
        struct edge_peer who = {.name = node, .serial = serial, .address = address};
        if (!batch_admit(p, r, &who))
                return;
        struct node_peer *n = node_get(p, node);
        if (!n)
                return;
        leave_stream(p, n);
        if (n->via != r) {
                leave_relay(p, n);
                n->via = r;
                list_append(&r->nodes, &n->link);
                r->n_nodes++;
                p->via_relay++;
        }
        n->mark = r->mark;
        if (json_is_true(json_object_get(item, "revoked"))) {
                send_to_relay(r, node, "admit", NULL);
                if (table_get(p->nodes, node) != n || n->via != r) /* the relay's stream ended by it */
                        return;
        }
        p->backend->presence(p->backend->arg, node, true, r->name, address, version);
}

static void batch_status(struct edge_peers *p, struct relay_peer *r, const char *node, const json_t *status) {
        /* What a relay kept while we were away must not overwrite what the node said elsewhere since. */
        const struct node_peer *n = table_get(p->nodes, node);
        if (n && n->via != r)
                return;
        p->status_received++;
        p->backend->status(p->backend->arg, node, r->name, status);
}

bool edge_peers_batch(struct edge_peers *p, const char *relay, const json_t *batch) {
        struct relay_peer *r = table_get(p->relays, relay);
        if (!r) /* its stream ended while the batch was on its way: it will start over with a reset */
                return false;
        bool reset = json_is_true(json_object_get(batch, "reset"));
        const json_t *items = json_object_get(batch, "items");
        if (reset)
                r->mark++;
        for (size_t i = 0; i < json_array_size(items); i++) {
                const json_t *item = json_array_get(items, i);
                const char *node = json_string_value(json_object_get(item, "node"));
                const json_t *status = json_object_get(item, "status");
                if (status)
                        batch_status(p, r, node, status);
                else
                        batch_presence(p, r, node, item);
                /* A word to the relay may have ended its stream, and so it. */
                if (table_get(p->relays, relay) != r)
                        return true;
        }
        if (!reset)
                return true;
        LIST_FOREACH (it, &r->nodes) {
                struct node_peer *n = LIST_ENTRY(it, struct node_peer, link);
                if (n->mark == r->mark)
                        continue;
                node_gone(p, n, r->name);
                if (table_get(p->relays, relay) != r)
                        return true;
        }
        return true;
}

/* ---- life */

void edge_peers_stats(const struct edge_peers *p, struct edge_stats *ret) {
        ret->nodes_direct = p->direct;
        ret->nodes_via_relay = p->via_relay;
        ret->relays = table_len(p->relays);
        ret->events_sent = streams_sent(p->streams);
        ret->status_received += p->status_received;
}

void edge_peers_end(struct edge_peers *p) {
        const char *name;
        void *value;
        p->ending = true;
        for (size_t i = 0; table_next(p->nodes, &i, &name, &value);) {
                struct node_peer *n = value;
                leave_stream(p, n);
                leave_relay(p, n);
                (void)table_take(p->nodes, name);
                free(n);
        }
        for (size_t i = 0; table_next(p->relays, &i, &name, &value);) {
                struct relay_peer *r = value;
                free(stream_owner(r->stream));
                stream_close(r->stream);
                (void)table_take(p->relays, name);
                free(r);
        }
}

int edge_peers_new(struct loop *l, msec_t heartbeat_ms, const struct edge_backend *backend,
                   struct edge_peers **ret, struct err **err) {
        struct edge_peers *p = calloc(1, sizeof(*p));
        if (!p)
                return err_set(err, ENOMEM, "out of memory");
        p->backend = backend;
        p->nodes = table_new(NULL);
        p->relays = table_new(NULL);
        int r = p->nodes && p->relays ? streams_new(l, heartbeat_ms, on_stream_closed, p, &p->streams, err)
                                      : err_set(err, ENOMEM, "out of memory");
        if (r < 0) {
                edge_peers_free(p);
                return r;
        }
        *ret = p;
        return 0;
}

struct edge_peers *edge_peers_free(struct edge_peers *p) {
        if (!p)
                return NULL;
        if (p->nodes && p->relays)
                edge_peers_end(p);
        table_free(p->nodes);
        table_free(p->relays);
        streams_free(p->streams);
        free(p);
        return NULL;
}
