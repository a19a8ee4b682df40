/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/edge.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/list.h"
#include "base/str.h"
#include "base/table.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "relay/edge_body.h"
#include "relay/edge_peers.h"
#include "relay/repository_route.h"

#define DEFAULT_HEARTBEAT_MS ((msec_t)240 * 1000)
#define STOP_GRACE_MS 500
#define RETRY_AFTER_S "2"

struct edge {
        struct http_server *server;
        struct edge_backend backend;
        struct edge_peers *peers;
        char *trust_domain;
        struct list replies; /* exchanges that wait for the backend */
        size_t n_asking;     /* enrolments and renewals among them */
        uint64_t status_received, objects_served;
        struct repository_route repository;
        const struct clock *clock;
        struct table *reports; /* node -> unsigned, how many in this window */
        msec_t reports_since;
        void (*stopped)(void *arg);
        void *stopped_arg;
};

/* Who may use a route. */
enum access { ACCESS_ANYONE, ACCESS_NODE, ACCESS_RELAY, ACCESS_MEMBER };

/* ---- who speaks */

struct speaker {
        struct edge_peer peer;
        char *name;
};

static void speaker_done(struct speaker *s) {
        free(s->name);
}

static int speaker_of(const struct edge *e, const struct http_exchange *x, struct speaker *ret) {
        const char *id = http_peer_spiffe_id(x);
        enum identity_kind kind;
        struct speaker s = {0};
        if (!id)
                return -ENOENT;
        int r = spiffe_id_member(id, e->trust_domain, &kind, &s.name);
        if (r < 0)
                return r;
        if ((kind != IDENTITY_NODE && kind != IDENTITY_RELAY) || !name_is_dns_label(s.name)) {
                speaker_done(&s);
                return -EPERM;
        }
        s.peer = (struct edge_peer){
                .name = s.name,
                .is_relay = kind == IDENTITY_RELAY,
                .serial = http_peer_serial(x),
                .address = http_peer_address(x),
        };
        *ret = s;
        return 0;
}

static bool before(struct http_exchange *x, void *arg) {
        struct edge *e = arg;
        const enum access *access = http_route_context(x);
        _cleanup_(speaker_done) struct speaker who = {0};
        if (!access || *access == ACCESS_ANYONE)
                return true;
        int r = speaker_of(e, x, &who);
        if (r == -ENOENT) {
                http_respond_error(x, 401, "unauthorized", "this needs a certificate: enrol first");
                return false;
        }
        if (r < 0 || (*access == ACCESS_NODE && who.peer.is_relay) ||
            (*access == ACCESS_RELAY && !who.peer.is_relay)) {
                http_respond_error(x, 403, "forbidden", "this is not for the kind of member you are");
                return false;
        }
        if (http_peer_has_expired(x)) {
                http_respond_error(x, 403, "expired",
                                   "this certificate has run out: renew it and connect again");
                return false;
        }
        if (e->backend.admit && !e->backend.admit(e->backend.arg, &who.peer)) {
                http_respond_error(x, 403, "revoked", "this certificate has been revoked or replaced");
                return false;
        }
        return true;
}

/* ---- replies of the backend */

struct edge_reply {
        struct list link;        /* in edge->replies while the exchange lives */
        struct edge *edge;       /* valid while linked */
        struct http_exchange *x; /* NULL once the peer left */
        bool asks;               /* counts against EDGE_PENDING_MAX */
};

static void reply_detach(struct edge_reply *r) {
        if (!r->x)
                return;
        list_remove(&r->link);
        if (r->asks)
                r->edge->n_asking--;
        r->x = NULL;
}

static void on_reply_closed(struct http_exchange *x, void *arg) {
        reply_detach(arg);
}

/* NULL: answered already, too much is waiting. */
static struct edge_reply *reply_new(struct edge *e, struct http_exchange *x, bool asks) {
        struct edge_reply *r = !asks || e->n_asking < EDGE_PENDING_MAX ? calloc(1, sizeof(*r)) : NULL;
        if (!r) {
                http_set_header(x, "Retry-After", RETRY_AFTER_S);
                http_respond_error(x, 503, "unavailable", "too many machines are asking at once");
                return NULL;
        }
        r->edge = e;
        r->x = x;
        r->asks = asks;
        list_append(&e->replies, &r->link);
        if (asks)
                e->n_asking++;
        http_on_close(x, on_reply_closed, r);
        return r;
}

/* Ends the wait and the reply; the exchange to answer, or NULL. */
static struct http_exchange *reply_take(struct edge_reply *r) {
        struct http_exchange *x = r->x;
        if (x)
                http_on_close(x, NULL, NULL);
        reply_detach(r);
        free(r);
        return x;
}

void edge_reply_json(struct edge_reply *r, json_t *body) {
        struct http_exchange *x = reply_take(r);
        _cleanup_json_ json_t *owned = body;
        if (!x)
                return;
        _cleanup_(x_freep) char *text = owned ? json_encode_compact(owned) : NULL;
        if (!text) {
                http_respond_error(x, 500, "internal", "out of memory");
                return;
        }
        http_set_header(x, "Cache-Control", "no-store");
        http_respond(x, 200, "application/json", text, strlen(text));
}

void edge_reply_error(struct edge_reply *r, int status, const char *code, const char *message) {
        struct http_exchange *x = reply_take(r);
        if (!x)
                return;
        if (status == 503)
                http_set_header(x, "Retry-After", RETRY_AFTER_S);
        http_respond_error(x, status, code, message);
}

static void respond_bad_body(struct http_exchange *x, int r, const struct err *err) {
        if (r == -EMSGSIZE)
                http_respond_error(x, 413, "too_large", err_message(err));
        else if (r == -ENOMEM)
                http_respond_error(x, 503, "unavailable", "out of memory");
        else
                http_respond_error(x, 400, "invalid", err_message(err));
}

static void on_settled(void *arg, int error) {
        struct edge_reply *r = arg;
        if (error < 0) {
                edge_reply_error(r, 503, "unavailable", "it could not be stored; send it again");
                return;
        }
        struct http_exchange *x = reply_take(r);
        if (x)
                http_respond(x, 204, NULL, NULL, 0);
}

/* The reply is made before the backend is told: what the backend does may close the very exchange. */
static void settle(struct edge *e, struct edge_reply *r) {
        if (e->backend.settle)
                e->backend.settle(e->backend.arg, on_settled, r);
        else
                on_settled(r, 0);
}

/* ---- enrol and renew */

static void on_enrol_body(struct http_exchange *x, const char *body, size_t len, void *arg) {
        struct edge *e = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_json_ json_t *request = NULL;
        int r = edge_body_enrol(body, len, &request, &err);
        if (r < 0) {
                respond_bad_body(x, r, err);
                return;
        }
        struct edge_reply *reply = reply_new(e, x, true);
        if (reply)
                e->backend.enrol(e->backend.arg, request, http_peer_address(x), reply);
}

static void on_renew_body(struct http_exchange *x, const char *body, size_t len, void *arg) {
        struct edge *e = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_json_ json_t *request = NULL;
        int r = edge_body_renew(body, len, &request, &err);
        if (r < 0) {
                respond_bad_body(x, r, err);
                return;
        }
        struct edge_reply *reply = reply_new(e, x, true);
        if (reply)
                e->backend.renew(e->backend.arg, request, reply);
}

static void on_enrol(struct http_exchange *x, void *arg) {
        http_read_body(x, EDGE_ENROL_MAX, on_enrol_body, arg);
}

static void on_renew(struct http_exchange *x, void *arg) {
        http_read_body(x, EDGE_RENEW_MAX, on_renew_body, arg);
}

/* ---- events, status, batch */

static int64_t query_number(const struct http_exchange *x, const char *name) {
        int64_t n = 0;
        const char *text = http_query(x, name);
        if (!text || str_to_i64(text, &n) < 0 || n < 0)
                return 0;
        return n;
}

static void on_events(struct http_exchange *x, void *arg) {
        struct edge *e = arg;
        _cleanup_(speaker_done) struct speaker who = {0};
        if (speaker_of(e, x, &who) < 0) {
                http_respond_error(x, 403, "forbidden", "not a member");
                return;
        }
        int64_t heartbeat = MIN(query_number(x, "heartbeat"), (int64_t)STREAM_HEARTBEAT_MAX_MS / 1000);
        edge_peers_join(e->peers, x, &who.peer, heartbeat * 1000, query_number(x, "assignment"));
}

static bool takes_report(struct edge *e, const char *node) {
        msec_t now = clock_mono_ms(e->clock);
        if (!e->reports || now - e->reports_since >= EDGE_REPORTS_WINDOW_MS) {
                table_free(e->reports);
                e->reports = table_new(free);
                e->reports_since = now;
        }
        unsigned *n = e->reports ? table_get(e->reports, node) : NULL;
        if (n)
                return ++*n <= EDGE_REPORTS_MAX;
        n = calloc(1, sizeof(*n));
        if (!e->reports || !n || table_set(e->reports, node, n) < 0) {
                free(n);
                return false;
        }
        *n = 1;
        return true;
}

static void on_status_body(struct http_exchange *x, const char *body, size_t len, void *arg) {
        struct edge *e = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_json_ json_t *status = NULL;
        _cleanup_(speaker_done) struct speaker who = {0};
        int r = edge_body_status(body, len, &status, &err);
        if (r < 0) {
                respond_bad_body(x, r, err);
                return;
        }
        if (speaker_of(e, x, &who) < 0) {
                http_respond_error(x, 403, "forbidden", "not a member");
                return;
        }
        if (!takes_report(e, who.name)) {
                http_set_header(x, "Retry-After", RETRY_AFTER_S);
                http_respond_error(x, 429, "too_many", "this node reports too often");
                return;
        }
        struct edge_reply *reply = reply_new(e, x, false);
        if (!reply)
                return;
        e->status_received++;
        e->backend.status(e->backend.arg, who.name, NULL, status);
        settle(e, reply);
}

static void on_status(struct http_exchange *x, void *arg) {
        http_read_body(x, EDGE_STATUS_MAX, on_status_body, arg);
}

static void on_batch_body(struct http_exchange *x, const char *body, size_t len, void *arg) {
        struct edge *e = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_json_ json_t *batch = NULL;
        _cleanup_(speaker_done) struct speaker who = {0};
        int r = edge_body_batch(body, len, &batch, &err);
        if (r < 0) {
                respond_bad_body(x, r, err);
                return;
        }
        if (speaker_of(e, x, &who) < 0) {
                http_respond_error(x, 403, "forbidden", "not a member");
                return;
        }
        struct edge_reply *reply = reply_new(e, x, false);
        if (!reply)
                return;
        /* A relay whose stream is not open here would think that what it sent has been heard. */
        if (edge_peers_batch(e->peers, who.name, batch))
                settle(e, reply);
        else
                edge_reply_error(reply, 409, "conflict", "open the events stream first");
}

static void on_batch(struct http_exchange *x, void *arg) {
        http_read_body(x, EDGE_BATCH_MAX, on_batch_body, arg);
}

/* ---- objects and bundle */

struct object_wait {
        struct edge *edge;
        struct http_exchange *x; /* NULL once the peer left */
        char sha256[SHA256_HEX_SIZE];
};

static void on_object_closed(struct http_exchange *x, void *arg) {
        struct object_wait *w = arg;
        w->x = NULL;
}

static void on_object_ready(void *arg, int fd) {
        struct object_wait *w = arg;
        struct http_exchange *x = w->x;
        if (!x) {
                x_closep(&fd);
        } else {
                http_on_close(x, NULL, NULL);
                if (fd >= 0) {
                        w->edge->objects_served++;
                        http_respond_file(x, fd, "application/octet-stream", w->sha256, true);
                } else if (fd == -ENOENT) {
                        http_respond_error(x, 404, "not_found", "no such object");
                } else if (fd == -EHOSTUNREACH) {
                        http_set_header(x, "Retry-After", RETRY_AFTER_S);
                        http_respond_error(x, 503, "unavailable",
                                           "this object is not here yet and the server is away");
                } else {
                        http_respond_error(x, 500, "internal", strerror(-fd));
                }
        }
        free(w);
}

static void on_object(struct http_exchange *x, void *arg) {
        struct edge *e = arg;
        const char *sha256 = http_parameter(x, "digest");
        if (!sha256_hex_is_valid(sha256)) {
                http_respond_error(x, 400, "invalid", "an object is named by 64 lower-case hex digits");
                return;
        }
        struct object_wait *w = calloc(1, sizeof(*w));
        if (!w) {
                http_respond_error(x, 503, "unavailable", "out of memory");
                return;
        }
        w->edge = e;
        w->x = x;
        memcpy(w->sha256, sha256, sizeof(w->sha256));
        http_on_close(x, on_object_closed, w);
        e->backend.object(e->backend.arg, w->sha256, on_object_ready, w);
}

static void on_bundle(struct http_exchange *x, void *arg) {
        struct edge *e = arg;
        _cleanup_json_ json_t *bundle = e->backend.bundle(e->backend.arg);
        _cleanup_(x_freep) char *text = bundle ? json_encode_compact(bundle) : NULL;
        if (!text) {
                http_set_header(x, "Retry-After", RETRY_AFTER_S);
                http_respond_error(x, 503, "unavailable", "the trust bundle is not known here yet");
                return;
        }
        http_respond(x, 200, "application/json", text, strlen(text));
}

static void on_repository(struct http_exchange *x, void *arg) {
        struct edge *e = arg;
        repository_route_serve(&e->repository, x, http_parameter(x, "*"));
}

static const enum access anyone = ACCESS_ANYONE, node_only = ACCESS_NODE, relay_only = ACCESS_RELAY,
                         member = ACCESS_MEMBER;

static const struct http_route server_routes[] = {
        {"POST", "/edge/v1/enrol", on_enrol, &anyone},
        {"POST", "/edge/v1/renew", on_renew, &anyone},
        {"GET", "/edge/v1/events", on_events, &member},
        {"POST", "/edge/v1/status", on_status, &node_only},
        {"POST", "/edge/v1/batch", on_batch, &relay_only},
        {"GET", "/edge/v1/objects/sha256/:digest", on_object, &member},
        {"GET", "/edge/v1/repository/*", on_repository, &member},
        {"GET", "/edge/v1/bundle", on_bundle, &member},
        {NULL, NULL, NULL, NULL},
};

/* Behind a relay there are only nodes, and other relays that ask what it has of the repository. */
static const struct http_route relay_routes[] = {
        {"POST", "/edge/v1/enrol", on_enrol, &anyone},
        {"POST", "/edge/v1/renew", on_renew, &anyone},
        {"GET", "/edge/v1/events", on_events, &node_only},
        {"POST", "/edge/v1/status", on_status, &node_only},
        {"GET", "/edge/v1/objects/sha256/:digest", on_object, &node_only},
        {"GET", "/edge/v1/repository/*", on_repository, &member},
        {"GET", "/edge/v1/bundle", on_bundle, &node_only},
        {NULL, NULL, NULL, NULL},
};

/* ---- life */

static struct edge *edge_free(struct edge *e) {
        if (!e)
                return NULL;
        edge_peers_free(e->peers);
        /* Replies that the backend still owes: they will find no exchange. */
        while (e->replies.next && !list_is_empty(&e->replies))
                reply_detach(LIST_ENTRY(e->replies.next, struct edge_reply, link));
        table_free(e->reports);
        free(e->trust_domain);
        free(e);
        return NULL;
}
DEFINE_CLEANUP(struct edge, edge_free)

int edge_start(struct loop *l, const struct edge_options *o, const struct edge_backend *backend,
               struct edge **ret, struct err **err) {
        _cleanup_(edge_freep) struct edge *e = calloc(1, sizeof(*e));
        if (!e)
                return err_set(err, ENOMEM, "out of memory");
        list_init(&e->replies);
        e->backend = *backend;
        e->repository.backend = &e->backend;
        e->clock = loop_clock(l);
        e->trust_domain = str_dup(o->trust_domain);
        if (!e->trust_domain)
                return err_set(err, ENOMEM, "out of memory");
        int r = edge_peers_new(l, o->heartbeat_ms > 0 ? o->heartbeat_ms : DEFAULT_HEARTBEAT_MS, &e->backend,
                               &e->peers, err);
        if (r < 0)
                return r;
        struct http_server_options server = {
                .name = "edge",
                .address = o->address,
                .tls = o->tls,
                .limits = o->limits,
                .routes = o->accept_relays ? server_routes : relay_routes,
                .arg = e,
                .before = before,
        };
        r = http_server_start(l, &server, &e->server, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(e);
        return 0;
}

uint16_t edge_port(const struct edge *e) {
        return http_server_port(e->server);
}

static void on_server_stopped(void *arg) {
        struct edge *e = arg;
        void (*stopped)(void *arg) = e->stopped;
        void *stopped_arg = e->stopped_arg;
        e->server = NULL;
        edge_free(e);
        if (stopped)
                stopped(stopped_arg);
}

void edge_stop(struct edge *e, void (*done)(void *arg), void *arg) {
        e->stopped = done;
        e->stopped_arg = arg;
        edge_peers_end(e->peers);
        http_server_stop(e->server, STOP_GRACE_MS, on_server_stopped, e);
}

bool edge_send(struct edge *e, const char *node, const char *type, json_t *body) {
        return edge_peers_send(e->peers, node, type, body);
}

void edge_broadcast(struct edge *e, const char *type, json_t *body) {
        edge_peers_broadcast(e->peers, type, body);
}

void edge_send_relays(struct edge *e, const char *type, json_t *body) {
        edge_peers_send_relays(e->peers, type, body);
}

void edge_drop(struct edge *e, enum identity_kind kind, const char *name) {
        _cleanup_(x_freep) char *id = spiffe_id_make(e->trust_domain, kind, name);
        if (id)
                (void)http_server_drop_peer(e->server, id);
        /* All relays hear of it, since the node may turn up at any of them. */
        if (kind == IDENTITY_NODE)
                edge_peers_send_drop(e->peers, name);
}

void edge_stats(const struct edge *e, struct edge_stats *ret) {
        struct edge_stats s = {
                .status_received = e->status_received,
                .objects_served = e->objects_served,
                .repository_served = e->repository.served,
        };
        edge_peers_stats(e->peers, &s);
        http_server_stats(e->server, &s.http);
        *ret = s;
}
