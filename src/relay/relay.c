/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/relay.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/str.h"
#include "codec/json.h"
#include "net/backoff.h"
#include "relay/assignment_cache.h"
#include "relay/edge.h"
#include "relay/object_cache.h"
#include "relay/renewal.h"
#include "relay/report_queue.h"
#include "relay/repository_cache.h"
#include "relay/revocations.h"
#include "relay/upstream.h"

#define BATCH_DELAY_MS 50
#define BATCH_AT 64   /* nodes with something to say: no more waiting */
#define BATCH_MAX 512 /* items in one batch; the server checks a signature for each report */
#define BATCH_BYTES_MAX ((size_t)1 << 20)
#define REPORTS_MAX_BYTES ((size_t)128 << 20)
#define STATUS_EVERY_MS 10000

struct relay {
        struct loop *loop;
        char *state, *listen;
        int64_t cache_max;
        struct identity *identity;
        struct tls_config *server_tls, *client_tls;
        struct edge *edge;
        struct upstream *upstream;
        struct object_store *store;
        struct object_cache *objects;
        struct repository_cache *repository;
        struct report_queue *reports;
        struct assignment_cache *assignments;
        struct revocations *revoked;
        struct renewal *renewal;

        struct loop_timer *flush, *status_timer;
        struct backoff batch_backoff;
        struct prng random;
        char *status_text; /* as written last */
        char *link_error;  /* why the link is down */
        char *serial;      /* of the certificate of the node that is just coming */
        int exit_code;
        bool stopping;
        bool quiet; /* memory was given back, and nothing has changed since */
};

static msec_t now(const struct relay *r) {
        return clock_wall_ms(loop_clock(r->loop));
}

/* ---- batches up */

static void schedule_flush(struct relay *r) {
        size_t ready = report_queue_ready(r->reports);
        if (ready == 0 || !upstream_is_up(r->upstream) || r->batch_backoff.failures > 0)
                return;
        if (ready >= BATCH_AT)
                loop_timer_set(r->flush, 0);
        else if (!loop_timer_is_set(r->flush))
                loop_timer_set(r->flush, BATCH_DELAY_MS);
}

static void batch_refused(struct relay *r, const struct upstream_answer *a) {
        char status[16];
        snprintf(status, sizeof(status), "%d", a->status);
        log_error("the server refuses a batch", "status", status, "answer", a->body, NULL);
        if (a->status == 400 || a->status == 413) {
                /* It would refuse it again. What matters is said anew after a fresh start. */
                report_queue_arrived(r->reports);
                report_queue_reset(r->reports);
        } else {
                report_queue_failed(r->reports);
        }
        upstream_fail(r->upstream, "the server refuses what this relay says");
}

static void on_batch_answer(void *arg, const struct upstream_answer *a) {
        struct relay *r = arg;
        if (a->status >= 200 && a->status < 300) {
                backoff_reset(&r->batch_backoff);
                report_queue_arrived(r->reports);
                schedule_flush(r);
                return;
        }
        if (a->status >= 400 && a->status < 500 && a->status != 429) {
                batch_refused(r, a);
                return;
        }
        report_queue_failed(r->reports);
        if (!r->stopping && upstream_is_up(r->upstream))
                loop_timer_set(r->flush, backoff_next(&r->batch_backoff, &r->random, a->retry_after_ms));
}

static void on_flush(void *arg) {
        struct relay *r = arg;
        if (!upstream_is_up(r->upstream))
                return;
        _cleanup_json_ json_t *batch = report_queue_take(r->reports, BATCH_MAX, BATCH_BYTES_MAX);
        if (!batch)
                return;
        _cleanup_(x_freep) char *text = json_encode_compact(batch);
        if (!text) {
                report_queue_failed(r->reports);
                return;
        }
        upstream_post(r->upstream, "/edge/v1/batch", text, on_batch_answer, r);
}

/* ---- the edge's backend */

struct forwarded {
        struct relay *relay;
        struct edge_reply *reply;
        bool enrols;
};

static void on_forwarded(void *arg, const struct upstream_answer *a) {
        struct forwarded *f = arg;
        struct relay *r = f->relay;
        _cleanup_json_ json_t *body = NULL;
        if (a->status == 0) {
                edge_reply_error(f->reply, 503, "unavailable", "the server is away; try again later");
        } else if (json_decode(a->body, a->len, &body, NULL) < 0 || !json_is_object(body)) {
                edge_reply_error(f->reply, 502, "unavailable", "the server's answer cannot be read");
        } else if (a->status == 200) {
                const char *name = json_string_value(json_object_get(body, "name"));
                /* The server made it a member anew. */
                const char *kind = json_string_value(json_object_get(body, "kind"));
                if (f->enrols && name && str_eq(kind, "node") && revocations_have(r->revoked, name))
                        (void)revocations_remove(r->revoked, name, NULL);
                edge_reply_json(f->reply, json_incref(body));
        } else {
                const json_t *error = json_object_get(body, "error");
                const char *code = json_string_value(json_object_get(error, "code"));
                const char *message = json_string_value(json_object_get(error, "message"));
                edge_reply_error(f->reply, a->status, code ? code : "unavailable", message ? message : "");
        }
        free(f);
}

static void forward(struct relay *r, const char *path, const json_t *request, struct edge_reply *reply,
                    bool enrols) {
        struct forwarded *f = calloc(1, sizeof(*f));
        _cleanup_(x_freep) char *text = json_encode_compact(request);
        if (!f || !text) {
                free(f);
                edge_reply_error(reply, 503, "unavailable", "out of memory");
                return;
        }
        *f = (struct forwarded){r, reply, enrols};
        upstream_post(r->upstream, path, text, on_forwarded, f);
}

static void backend_enrol(void *arg, const json_t *request, const char *address, struct edge_reply *reply) {
        forward(arg, "/edge/v1/enrol", request, reply, true);
}

static void backend_renew(void *arg, const json_t *request, struct edge_reply *reply) {
        forward(arg, "/edge/v1/renew", request, reply, false);
}

/* The presence that follows says it to the server, which knows whether it was replaced. */
static void backend_certificate(void *arg, const char *node, const char *serial) {
        struct relay *r = arg;
        if (str_replace(&r->serial, serial) < 0)
                log_error("out of memory", "node", node, NULL);
}

static void backend_presence(void *arg, const char *node, bool connected, const char *via,
                             const char *address, int64_t version) {
        struct relay *r = arg;
        _cleanup_(x_freep) char *serial = TAKE_PTR(r->serial);
        struct presence p = {
                .connected = connected, .address = address, .version = version, .serial = serial};
        /* A node that we were told to drop may have been enrolled anew: the server, which is there, will say.
         * Until then it gets nothing that we keep. */
        p.revoked = connected && revocations_have(r->revoked, node);
        int64_t kept = connected && !p.revoked ? assignment_cache_version(r->assignments, node) : 0;
        if (kept > version) {
                json_t *assignment = assignment_cache_get(r->assignments, node);
                if (assignment && edge_send(r->edge, node, "assignment", assignment))
                        p.version = kept; /* it is on its way: the server need not send the same */
        }
        log_debug(connected ? "node connected" : "node left", "node", node, "address", address, NULL);
        if (report_queue_presence(r->reports, node, &p) < 0)
                log_error("out of memory", "node", node, NULL);
        schedule_flush(r);
}

static void backend_status(void *arg, const char *node, const char *via, const json_t *status) {
        struct relay *r = arg;
        int result = report_queue_status(r->reports, node, status);
        if (result < 0) {
                /* What is lost comes back: a new connection begins with a full report. */
                log_warning("a report was dropped, there is no room for it", "node", node, NULL);
                edge_drop(r->edge, IDENTITY_NODE, node);
        }
        schedule_flush(r);
}

static void backend_object(void *arg, const char *sha256, void (*done)(void *done_arg, int fd),
                           void *done_arg) {
        struct relay *r = arg;
        object_cache_get(r->objects, sha256, done, done_arg);
}

static void backend_repository(void *arg, const struct edge_repository_request *q,
                               void (*done)(void *done_arg, const struct edge_repository_file *f),
                               void *done_arg) {
        struct relay *r = arg;
        repository_cache_get(r->repository, q, done, done_arg);
}

static void backend_repository_block(void *arg, const char *path, int64_t offset, size_t n,
                                     void (*done)(void *done_arg, int error, const char *p, size_t n),
                                     void *done_arg) {
        struct relay *r = arg;
        repository_cache_block(r->repository, path, offset, n, done, done_arg);
}

static bool backend_admit(void *arg, const struct edge_peer *peer) {
        const struct relay *r = arg;
        /* Names of relays are not those of nodes; another relay gets nothing here but files. */
        if (peer->is_relay)
                return !revocations_have_serial(r->revoked, peer->serial);
        return !revocations_have_serial(r->revoked, peer->serial) &&
               (!revocations_have(r->revoked, peer->name) || upstream_is_up(r->upstream));
}

static json_t *backend_bundle(void *arg) {
        const struct relay *r = arg;
        return json_incref(r->identity->bundle);
}

/* ---- words from the server */

static void take_assignment(struct relay *r, const char *node, const json_t *event) {
        _cleanup_(err_freep) struct err *err = NULL;
        int result = assignment_cache_put(r->assignments, node, event, &err);
        if (result == -EINVAL) {
                log_warning("the server sent an assignment that is none", "node", node, "error",
                            err_message(err), NULL);
                return;
        }
        if (result < 0 && result != -ESTALE)
                log_error("an assignment cannot be kept", "node", node, "error", err_message(err), NULL);
        json_t *body = json_pack("{s:O, s:O}", "signed", json_object_get(event, "signed"), "signatures",
                                 json_object_get(event, "signatures"));
        if (body)
                (void)edge_send(r->edge, node, "assignment", body);
}

static void take_admit(struct relay *r, const char *node) {
        _cleanup_(err_freep) struct err *err = NULL;
        if (!revocations_have(r->revoked, node))
                return;
        log_info("node is a member again", "node", node, NULL);
        if (revocations_remove(r->revoked, node, &err) < 0)
                log_error("an end of a revocation cannot be kept", "node", node, "error", err_message(err),
                          NULL);
}

static void take_drop(struct relay *r, const char *node) {
        _cleanup_(err_freep) struct err *err = NULL;
        if (!revocations_have(r->revoked, node))
                log_info("node is revoked", "node", node, NULL);
        if (revocations_add(r->revoked, node, now(r), &err) < 0)
                log_error("a revocation cannot be kept", "node", node, "error", err_message(err), NULL);
        assignment_cache_remove(r->assignments, node);
        edge_drop(r->edge, IDENTITY_NODE, node);
}

/* The name goes on with another certificate: whoever shows this one is turned away, server or no server. */
static void take_drop_of_certificate(struct relay *r, const char *node, const char *serial) {
        _cleanup_(err_freep) struct err *err = NULL;
        log_info("a certificate was replaced, and is refused from now on", "node", node, "serial", serial,
                 NULL);
        if (revocations_add_serial(r->revoked, serial, now(r), &err) < 0)
                log_error("a revocation cannot be kept", "node", node, "error", err_message(err), NULL);
        edge_drop(r->edge, IDENTITY_NODE, node);
}

static void reload_tls(struct relay *r) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct tls_material server = identity_server_material(r->identity);
        struct tls_material client = identity_client_material(r->identity);
        if (tls_config_reload(r->server_tls, &server, &err) < 0 ||
            tls_config_reload(r->client_tls, &client, &err) < 0)
                log_error("the new certificate or bundle cannot be used", "error", err_message(err), NULL);
        upstream_reconnect(r->upstream);
        repository_cache_reconnect(r->repository);
}

static void save_identity(struct relay *r) {
        _cleanup_(err_freep) struct err *err = NULL;
        if (identity_save(r->identity, r->state, &err) < 0)
                log_error("the identity cannot be stored", "error", err_message(err), NULL);
}

static void take_bundle(struct relay *r, const json_t *bundle) {
        _cleanup_(err_freep) struct err *err = NULL;
        int result = identity_take_bundle(r->identity, bundle, &err);
        if (result < 0) {
                if (result != -ESTALE)
                        log_warning("the server sent a bundle that cannot be used", "error", err_message(err),
                                    NULL);
                return;
        }
        log_info("trust bundle replaced", NULL);
        save_identity(r);
        reload_tls(r);
        edge_broadcast(r->edge, "bundle", json_incref(r->identity->bundle));
}

static void take_prefetch(struct relay *r, const json_t *event) {
        const json_t *paths = NULL;
        if (json_read_array(event, "paths", &paths, NULL) < 0)
                return;
        /* Said when something new is to be had. */
        repository_cache_expire(r->repository);
        for (size_t i = 0; i < json_array_size(paths) && i < REPOSITORY_PREFETCH_MAX; i++) {
                const char *path = json_string_value(json_array_get(paths, i));
                if (path)
                        repository_cache_prefetch(r->repository, &path, 1);
        }
}

static void on_event(void *arg, const char *type, const json_t *event) {
        struct relay *r = arg;
        const char *node = NULL, *serial = NULL;
        if (json_read_optional_string(event, "node", &node, NULL) < 0 ||
            json_read_optional_string(event, "serial", &serial, NULL) < 0 ||
            (node && !name_is_dns_label(node)))
                return;
        if (str_eq(type, "assignment") && node) {
                /* What it names may be newer than the metadata that is kept here. */
                repository_cache_expire(r->repository);
                take_assignment(r, node, event);
        } else if (str_eq(type, "prefetch"))
                take_prefetch(r, event);
        else if (str_eq(type, "drop") && node && serial)
                take_drop_of_certificate(r, node, serial);
        else if (str_eq(type, "drop") && node)
                take_drop(r, node);
        else if (str_eq(type, "admit") && node)
                take_admit(r, node);
        else if (str_eq(type, "bundle"))
                take_bundle(r, event);
        else if (str_eq(type, "renew") && node)
                (void)edge_send(r->edge, node, "renew", NULL);
        else if (str_eq(type, "renew")) {
                renewal_now(r->renewal);
                edge_broadcast(r->edge, "renew", NULL);
        }
}

/* ---- the status file */

static json_t *repository_json(const struct relay *r) {
        struct repository_cache_stats s;
        struct edge_stats edge;
        repository_cache_stats(r->repository, &s);
        edge_stats(r->edge, &edge);
        return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}",
                         "hits", (json_int_t)s.hits, "misses", (json_int_t)s.misses, "coalesced",
                         (json_int_t)s.coalesced, "stale", (json_int_t)s.stale, "bytesOrigin",
                         (json_int_t)s.bytes_origin, "bytesPeers", (json_int_t)s.bytes_peers, "bytesServed",
                         (json_int_t)edge.http.bytes_out, "served", (json_int_t)edge.repository_served,
                         "verified", (json_int_t)s.verified, "refused", (json_int_t)s.refused, "damaged",
                         (json_int_t)s.damaged, "passed", (json_int_t)s.passed, "prefetched",
                         (json_int_t)s.prefetched, "failures", (json_int_t)s.failures, "bytesBeside",
                         (json_int_t)s.parts_bytes, "sources", repository_cache_sources(r->repository));
}

static json_t *status_json(const struct relay *r) {
        struct object_cache_stats objects;
        struct edge_stats edge;
        char since[TIME_TEXT_SIZE], until[TIME_TEXT_SIZE];
        object_cache_stats(r->objects, &objects);
        edge_stats(r->edge, &edge);
        msec_t up = upstream_up_since(r->upstream);
        return json_pack("{s:s, s:s, s:s, s:s, s:{s:b, s:s*, s:s*}, s:I, s:{s:I, s:I}, s:{s:I, s:I, s:I, "
                         "s:I, s:I}, s:o*, s:I, s:s}",
                         "name", r->identity->name, "trustDomain", r->identity->trust_domain, "server",
                         r->identity->server, "listen", r->listen, "link", "up", up != 0, "since",
                         up ? time_format(up, since) : NULL, "error", up ? NULL : r->link_error, "nodes",
                         (json_int_t)edge.nodes_direct, "waiting", "nodes",
                         (json_int_t)report_queue_ready(r->reports), "bytes",
                         (json_int_t)report_queue_bytes(r->reports), "cache", "bytes",
                         (json_int_t)object_store_bytes(r->store), "maxBytes", (json_int_t)r->cache_max,
                         "hits", (json_int_t)objects.hits, "fetched", (json_int_t)objects.fetched, "failures",
                         (json_int_t)objects.failures, "repository", repository_json(r), "revoked",
                         (json_int_t)revocations_len(r->revoked), "certificateNotAfter",
                         time_format(r->identity->not_after, until));
}

/* false: nothing has changed since it was written last. */
static bool write_status(struct relay *r) {
        _cleanup_json_ json_t *j = status_json(r);
        _cleanup_(x_freep) char *text = j ? json_encode_pretty(j) : NULL;
        _cleanup_(x_freep) char *path = path_join(r->state, "status.json");
        if (!text || !path || str_eq(text, r->status_text))
                return false;
        if (file_write_atomic(path, text, strlen(text), 0644, NULL) >= 0)
                (void)str_replace(&r->status_text, text);
        return true;
}

static void on_status_timer(void *arg) {
        struct relay *r = arg;
        bool changed = write_status(r);
        if (!changed && !r->quiet)
                memory_give_back();
        r->quiet = !changed;
        loop_timer_set(r->status_timer, STATUS_EVERY_MS);
}

/* ---- the link */

static void on_up(void *arg) {
        struct relay *r = arg;
        log_info("link to the server is up", "server", r->identity->server, NULL);
        backoff_reset(&r->batch_backoff);
        (void)str_replace(&r->link_error, NULL);
        report_queue_reset(r->reports);
        repository_cache_expire(r->repository);
        loop_timer_set(r->flush, 0);
        loop_timer_set(r->status_timer, 0);
}

static void on_down(void *arg, const char *why, int status) {
        struct relay *r = arg;
        loop_timer_cancel(r->flush);
        if (!str_eq(why, r->link_error)) /* said once, not at every attempt */
                log_warning("no link to the server", "server", r->identity->server, "error", why, NULL);
        (void)str_replace(&r->link_error, why);
        loop_timer_set(r->status_timer, 0);
}

static void on_renewed(void *arg, struct identity *fresh) {
        struct relay *r = arg;
        char until[TIME_TEXT_SIZE];
        identity_free(r->identity);
        r->identity = fresh;
        save_identity(r);
        reload_tls(r);
        log_info("certificate renewed", "notAfter", time_format(fresh->not_after, until), NULL);
}

/* ---- life */

static int open_parts(struct relay *r, struct err **err) {
        _cleanup_(x_freep) char *objects = path_join(r->state, "objects");
        _cleanup_(x_freep) char *assignments = path_join(r->state, "assignments");
        _cleanup_(x_freep) char *revoked = path_join(r->state, "revoked.json");
        if (!objects || !assignments || !revoked)
                return err_set(err, ENOMEM, "out of memory");
        int result = object_store_open(objects, r->cache_max, &r->store, err);
        if (result >= 0)
                result = assignment_cache_open(assignments, &r->assignments, err);
        if (result >= 0)
                result = revocations_open(revoked, &r->revoked, err);
        if (result < 0)
                return result;
        (void)object_store_bytes(r->store); /* counted now, before there is a loop to hold up */
        r->reports = report_queue_new(REPORTS_MAX_BYTES);
        r->flush = loop_timer_new(r->loop, on_flush, r);
        r->status_timer = loop_timer_new(r->loop, on_status_timer, r);
        if (!r->reports || !r->flush || !r->status_timer)
                return err_set(err, ENOMEM, "out of memory");
        return 0;
}

static bool server_is_up(void *arg) {
        const struct relay *r = arg;
        return upstream_is_up(r->upstream);
}

static int open_repository(struct relay *r, const struct relay_options *o, struct err **err) {
        _cleanup_(x_freep) char *work = path_join(r->state, "repository");
        if (!work)
                return err_set(err, ENOMEM, "out of memory");
        struct repository_cache_options options = {
                .work = work,
                .store = r->store,
                .tls = r->client_tls,
                .server = r->identity->server,
                .mirrors = o->mirrors,
                .peers = o->peers,
                .server_is_up = server_is_up,
                .arg = r,
                .prefetch = o->prefetch,
                .limit = o->limit,
        };
        return repository_cache_new(r->loop, &options, &r->repository, err);
}

static int open_link(struct relay *r, struct err **err) {
        struct tls_material server = identity_server_material(r->identity);
        struct tls_material client = identity_client_material(r->identity);
        int result = tls_server_new(&server, &r->server_tls, err);
        if (result >= 0)
                result = tls_client_new(&client, &r->client_tls, err);
        if (result < 0)
                return result;
        struct upstream_options upstream = {
                .server = r->identity->server,
                .tls = r->client_tls,
                .arg = r,
                .up = on_up,
                .down = on_down,
                .event = on_event,
        };
        result = upstream_new(r->loop, &upstream, &r->upstream, err);
        if (result >= 0)
                result = object_cache_new(r->loop, r->store, r->upstream, &r->objects, err);
        if (result >= 0)
                result = renewal_new(r->loop, &r->identity, on_renewed, r, &r->renewal, err);
        return result;
}

static int open_edge(struct relay *r, struct err **err) {
        struct edge_options edge = {
                .address = r->listen,
                .tls = r->server_tls,
                .trust_domain = r->identity->trust_domain,
        };
        struct edge_backend backend = {
                .arg = r,
                .enrol = backend_enrol,
                .renew = backend_renew,
                .certificate = backend_certificate,
                .presence = backend_presence,
                .status = backend_status,
                .object = backend_object,
                .repository = backend_repository,
                .repository_block = backend_repository_block,
                .admit = backend_admit,
                .bundle = backend_bundle,
        };
        return edge_start(r->loop, &edge, &backend, &r->edge, err);
}

int relay_start(struct loop *l, const struct relay_options *o, struct identity *identity, struct relay **ret,
                struct err **err) {
        struct relay *r = calloc(1, sizeof(*r));
        if (!r) {
                identity_free(identity);
                return err_set(err, ENOMEM, "out of memory");
        }
        r->loop = l;
        r->identity = identity;
        r->cache_max = o->cache_max;
        r->batch_backoff = (struct backoff)BACKOFF_INIT(200, 10000);
        prng_seed_random(&r->random);
        r->state = str_dup(o->state);
        r->listen = str_dup(o->listen);
        int result = r->state && r->listen ? open_parts(r, err) : err_set(err, ENOMEM, "out of memory");
        if (result >= 0)
                result = open_link(r, err);
        if (result >= 0)
                result = open_repository(r, o, err);
        if (result >= 0)
                result = open_edge(r, err);
        if (result < 0) {
                relay_close(r);
                relay_free(r);
                return result;
        }
        char port[16];
        snprintf(port, sizeof(port), "%u", edge_port(r->edge));
        log_info("relay is up", "name", identity->name, "listen", r->listen, "port", port, "server",
                 identity->server, NULL);
        upstream_start(r->upstream);
        renewal_start(r->renewal);
        loop_timer_set(r->status_timer, 0);
        *ret = r;
        return 0;
}

void relay_close(struct relay *r) {
        r->stopping = true;
        r->renewal = renewal_free(r->renewal);
        r->objects = object_cache_free(r->objects);
        r->repository = repository_cache_free(r->repository);
        r->upstream = upstream_free(r->upstream);
        r->flush = loop_timer_free(r->flush);
        r->status_timer = loop_timer_free(r->status_timer);
}

static void on_edge_stopped(void *arg) {
        struct relay *r = arg;
        r->edge = NULL;
        relay_close(r);
        loop_stop(r->loop, r->exit_code);
}

void relay_stop(struct relay *r, int exit_code) {
        if (r->stopping)
                return;
        r->stopping = true;
        r->exit_code = exit_code;
        log_info("stopping", NULL);
        loop_timer_cancel(r->status_timer);
        edge_stop(r->edge, on_edge_stopped, r);
}

struct relay *relay_free(struct relay *r) {
        if (!r)
                return NULL;
        report_queue_free(r->reports);
        assignment_cache_free(r->assignments);
        revocations_free(r->revoked);
        object_store_free(r->store);
        tls_config_free(r->server_tls);
        tls_config_free(r->client_tls);
        identity_free(r->identity);
        free(r->status_text);
        free(r->link_error);
        free(r->serial);
        free(r->state);
        free(r->listen);
        free(r);
        return NULL;
}
