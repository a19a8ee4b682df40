/* SPDX-License-Identifier: Apache-2.0 */
/* The edge with a backend that writes down what it is told, and members that speak HTTP/2 over mutual TLS. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../net/tls_fixture.h"
#include "base/buf.h"
#include "base/fs.h"
#include "base/str.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "net/http_client.h"
#include "relay/edge.h"

#define HOUR ((msec_t)3600 * 1000)
#define DOMAIN "example.org"

/* As a node signs it; nobody here looks at the signature. */
#define REPORT(status) "{\"signed\":" status ",\"signature\":{\"serial\":\"0a\",\"sig\":\"c2ln\"}}"

struct fixture;

/* A node or relay: its certificate and its client. */
struct peer {
        struct fixture *f;
        struct member member;
        struct tls_config *tls;
        struct http_client *client;
};

struct fixture {
        struct loop *loop;
        struct authority authority;
        struct member server_member;
        struct tls_config *tls;
        struct edge *edge;
        struct peer a, b, relay, other_relay, nobody;
        struct buf told; /* what the backend heard, a line each */
        struct edge_reply *reply;
        char revoked[64];
        char *folder;
        bool stopped, has_bundle;
        void (*settled)(void *arg, int error);
        void *settled_arg;
        bool hold_settle;
};

/* One pass of the loop after another until it holds; the test's time limit is the end of patience. */
#define UNTIL(f, condition)                                                                                  \
        while (!(condition))                                                                                 \
        uv_run(loop_uv((f)->loop), UV_RUN_ONCE)

/* ---- the backend */

static void backend_enrol(void *arg, const json_t *request, const char *address, struct edge_reply *reply) {
        struct fixture *f = arg;
        buf_printf(&f->told, "enrol %s %s\n", json_string_value(json_object_get(request, "token")), address);
        f->reply = reply;
}

static void backend_renew(void *arg, const json_t *request, struct edge_reply *reply) {
        struct fixture *f = arg;
        buf_printf(&f->told, "renew\n");
        f->reply = reply;
}

static void backend_presence(void *arg, const char *node, bool connected, const char *via,
                             const char *address, int64_t version) {
        struct fixture *f = arg;
        buf_printf(&f->told, "%s %s%s%s %lld\n", node, connected ? "here" : "gone", via ? " via " : "",
                   via ? via : "", (long long)version);
        if (connected)
                assert_non_null(address);
}

static void backend_status(void *arg, const char *node, const char *via, const json_t *status) {
        struct fixture *f = arg;
        _cleanup_(x_freep) char *text = json_encode_compact(status);
        buf_printf(&f->told, "%s%s%s says %s\n", node, via ? " via " : "", via ? via : "", text);
}

static void backend_relay_presence(void *arg, const char *relay, bool connected, const char *address) {
        struct fixture *f = arg;
        buf_printf(&f->told, "relay %s %s\n", relay, connected ? "here" : "gone");
}

static void backend_settle(void *arg, void (*done)(void *done_arg, int error), void *done_arg) {
        struct fixture *f = arg;
        if (!f->hold_settle) {
                done(done_arg, 0);
                return;
        }
        f->settled = done;
        f->settled_arg = done_arg;
}

static void backend_object(void *arg, const char *sha256, void (*done)(void *done_arg, int fd),
                           void *done_arg) {
        struct fixture *f = arg;
        _cleanup_(x_freep) char *path = path_join(f->folder, sha256);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 && sha256[0] == '0')
                done(done_arg, -EHOSTUNREACH);
        else
                done(done_arg, fd < 0 ? -ENOENT : fd);
}

static bool backend_admit(void *arg, const struct edge_peer *peer) {
        const struct fixture *f = arg;
        return !str_eq(f->revoked, peer->name) && !str_eq(peer->serial, "0bad");
}

static json_t *backend_bundle(void *arg) {
        const struct fixture *f = arg;
        return f->has_bundle ? json_pack("{s:s}", "trustDomain", DOMAIN) : NULL;
}

static bool told(const struct fixture *f, const char *what) {
        return strstr(buf_str(&f->told), what) != NULL;
}

/* ---- set-up */

static void peer_init(struct peer *p, struct fixture *f, const char *id) {
        p->f = f;
        struct tls_material m = {
                .bundle_pem = f->authority.root, .peer = TLS_PEER_REQUIRED, .trust_domain = DOMAIN};
        if (id) {
                member_init(&p->member, &f->authority, id, NULL, HOUR);
                m.certificate_pem = p->member.chain;
                m.key_pem = p->member.key;
        }
        assert_int_equal(tls_client_new(&m, &p->tls, NULL), 0);
        struct http_client_options o = {.tls = p->tls};
        assert_int_equal(http_client_new(f->loop, &o, &p->client, NULL), 0);
}

static void peer_done(struct peer *p) {
        http_client_free(p->client);
        tls_config_free(p->tls);
        member_done(&p->member);
}

static int make(void **state) {
        static struct fixture f;
        f = (struct fixture){.has_bundle = true};
        char folder[] = "/tmp/skerry-test-edge-XXXXXX";
        assert_non_null(mkdtemp(folder));
        f.folder = strdup(folder);
        assert_int_equal(loop_new(&f.loop, NULL), 0);
        authority_init(&f.authority);
        member_init(&f.server_member, &f.authority, "spiffe://" DOMAIN "/server/one", NULL, HOUR);
        struct tls_material m = {
                .certificate_pem = f.server_member.chain,
                .key_pem = f.server_member.key,
                .bundle_pem = f.authority.root,
                .peer = TLS_PEER_OPTIONAL,
                .trust_domain = DOMAIN,
        };
        assert_int_equal(tls_server_new(&m, &f.tls, NULL), 0);
        struct edge_options o = {
                .address = "127.0.0.1:0", .tls = f.tls, .trust_domain = DOMAIN, .accept_relays = true};
        struct edge_backend backend = {
                .arg = &f,
                .enrol = backend_enrol,
                .renew = backend_renew,
                .presence = backend_presence,
                .status = backend_status,
                .settle = backend_settle,
                .relay_presence = backend_relay_presence,
                .object = backend_object,
                .admit = backend_admit,
                .bundle = backend_bundle,
        };
        assert_int_equal(edge_start(f.loop, &o, &backend, &f.edge, NULL), 0);
        peer_init(&f.a, &f, "spiffe://" DOMAIN "/node/a");
        peer_init(&f.b, &f, "spiffe://" DOMAIN "/node/b");
        peer_init(&f.relay, &f, "spiffe://" DOMAIN "/relay/kiel");
        peer_init(&f.other_relay, &f, "spiffe://" DOMAIN "/relay/bonn");
        peer_init(&f.nobody, &f, NULL);
        *state = &f;
        return 0;
}

static void on_stopped(void *arg) {
        struct fixture *f = arg;
        f->stopped = true;
}

static int release(void **state) {
        struct fixture *f = *state;
        peer_done(&f->a);
        peer_done(&f->b);
        peer_done(&f->relay);
        peer_done(&f->other_relay);
        peer_done(&f->nobody);
        if (!f->stopped) {
                edge_stop(f->edge, on_stopped, f);
                UNTIL(f, f->stopped);
        }
        loop_free(f->loop);
        tls_config_free(f->tls);
        member_done(&f->server_member);
        authority_done(&f->authority);
        buf_done(&f->told);
        int r = path_remove(f->folder, NULL);
        free(f->folder);
        return r;
}

/* ---- calls */

struct call {
        struct http_call *handle;
        bool ended;
        int status, error;
        msec_t retry_after_ms;
        struct buf body, lines;
};

static void on_done(void *arg, const struct http_result *r) {
        struct call *c = arg;
        c->ended = true;
        c->status = r->status;
        c->error = r->error;
        c->retry_after_ms = r->retry_after_ms;
        assert_int_equal(buf_append(&c->body, r->body, r->body_len), 0);
}

static int on_lines(void *arg, const char *p, size_t n) {
        struct call *c = arg;
        return buf_append(&c->lines, p, n);
}

static void call_done(struct call *c) {
        buf_done(&c->body);
        buf_done(&c->lines);
}

static void begin(struct peer *p, struct call *c, const char *method, const char *path, const char *body) {
        _cleanup_(x_freep) char *url =
                str_format("https://127.0.0.1:%d/edge/v1%s", edge_port(p->f->edge), path);
        bool stream = str_has_prefix(path, "/events");
        struct http_request q = {
                .method = method,
                .url = url,
                .body = body,
                .body_len = body ? strlen(body) : 0,
                .streaming = stream,
                .on_data = stream ? on_lines : NULL,
                .done = on_done,
                .arg = c,
        };
        assert_int_equal(http_client_send(p->client, &q, &c->handle, NULL), 0);
}

static int status_of(struct peer *p, const char *method, const char *path, const char *body) {
        _cleanup_(call_done) struct call c = {0};
        begin(p, &c, method, path, body);
        UNTIL(p->f, c.ended);
        assert_int_equal(c.error, 0);
        return c.status;
}

static bool has_line(const struct call *c, const char *what) {
        return strstr(buf_str(&c->lines), what) != NULL;
}

static size_t lines_with(const struct call *c, const char *what) {
        size_t n = 0;
        for (const char *at = buf_str(&c->lines); (at = strstr(at, what)); at++)
                n++;
        return n;
}

static json_t *assignment(int version) {
        return json_pack("{s:{s:i}, s:[]}", "signed", "version", version, "signatures");
}

static void join(struct peer *p, struct call *c, const char *query, const char *heard) {
        _cleanup_(x_freep) char *path = str_format("/events%s", query);
        begin(p, c, "GET", path, NULL);
        UNTIL(p->f, has_line(c, "\"hello\"") && told(p->f, heard));
}

/* A libcurl of 7.88 tells the peer of a call that was given up only with the next thing it says: so the
 * connection goes with it. */
static void leave(struct peer *p, struct call *c) {
        http_call_cancel(c->handle);
        http_client_reconnect(p->client);
}

/* ---- nodes */

static void test_events(void **state) {
        struct fixture *f = *state;
        _cleanup_(call_done) struct call c = {0};
        join(&f->a, &c, "?assignment=7&heartbeat=60", "a here 7\n");
        assert_true(has_line(&c, "{\"type\":\"hello\",\"heartbeat\":60,\"time\":"));
        assert_true(edge_send(f->edge, "a", "assignment", assignment(8)));
        UNTIL(f, has_line(&c, "{\"type\":\"assignment\",\"signed\":{\"version\":8},\"signatures\":[]}\n"));
        assert_true(edge_send(f->edge, "a", "renew", NULL));
        UNTIL(f, has_line(&c, "{\"type\":\"renew\"}\n"));
        edge_broadcast(f->edge, "bundle", json_pack("{s:i}", "sequence", 3));
        UNTIL(f, has_line(&c, "{\"type\":\"bundle\",\"sequence\":3}\n"));
        assert_false(edge_send(f->edge, "b", "renew", NULL));

        struct edge_stats s;
        edge_stats(f->edge, &s);
        assert_int_equal(s.nodes_direct, 1);
        assert_int_equal(s.events_sent, 3);

        leave(&f->a, &c);
        UNTIL(f, told(f, "a gone 0\n"));
        assert_false(edge_send(f->edge, "a", "renew", NULL));
        edge_stats(f->edge, &s);
        assert_int_equal(s.nodes_direct, 0);
}

static void test_second_stream_replaces_the_first(void **state) {
        struct fixture *f = *state;
        _cleanup_(call_done) struct call first = {0}, second = {0};
        join(&f->a, &first, "?assignment=1", "a here 1\n");
        join(&f->a, &second, "?assignment=2", "a here 2\n");
        UNTIL(f, first.ended);
        assert_int_equal(first.error, 0);
        assert_false(told(f, "gone"));
        assert_true(edge_send(f->edge, "a", "renew", NULL));
        UNTIL(f, has_line(&second, "renew"));
        assert_false(has_line(&first, "renew"));
        leave(&f->a, &second);
        UNTIL(f, told(f, "a gone 0\n"));
}

static void test_heartbeat(void **state) {
        struct fixture *f = *state;
        _cleanup_(call_done) struct call c = {0};
        join(&f->a, &c, "?heartbeat=1", "a here 0\n");
        UNTIL(f, lines_with(&c, "{\"type\":\"ping\"}\n") >= 2);
        leave(&f->a, &c);
}

static void test_heartbeat_is_what_it_can_be(void **state) {
        struct fixture *f = *state;
        static const char *const queries[] = {"", "?heartbeat=0", "?heartbeat=-5", "?heartbeat=soon",
                                              "?heartbeat=999999999999999999"};
        static const char *const hellos[] = {"\"heartbeat\":240,", "\"heartbeat\":240,", "\"heartbeat\":240,",
                                             "\"heartbeat\":240,", "\"heartbeat\":3600,"};
        for (size_t i = 0; i < ARRAY_SIZE(queries); i++) {
                _cleanup_(call_done) struct call c = {0};
                join(&f->a, &c, queries[i], "a here 0\n");
                assert_true(has_line(&c, hellos[i]));
                leave(&f->a, &c);
                UNTIL(f, told(f, "a gone"));
                buf_clear(&f->told);
        }
}

/* A peer that does not read: what it is owed stays bounded, and it gets the newest in the end. */
static void test_slow_peer_gets_the_newest(void **state) {
        struct fixture *f = *state;
        _cleanup_(call_done) struct call c = {0};
        static char padding[20001];
        join(&f->a, &c, "", "a here 0\n");
        memset(padding, 'x', sizeof(padding) - 1);
        for (int version = 1; version <= 500; version++) {
                json_t *body = assignment(version);
                json_object_set_new(body, "padding", json_string(padding));
                assert_true(edge_send(f->edge, "a", "assignment", body));
        }
        assert_true(edge_send(f->edge, "a", "renew", NULL));
        UNTIL(f, has_line(&c, "\"version\":500") && has_line(&c, "renew"));
        assert_true(lines_with(&c, "assignment") < 100);
        assert_int_equal(lines_with(&c, "\"version\":500"), 1);
        leave(&f->a, &c);
}

static void test_status(void **state) {
        struct fixture *f = *state;
        assert_int_equal(status_of(&f->a, "POST", "/status", REPORT("{\"seq\":1}")), 204);
        assert_true(told(f, "a says " REPORT("{\"seq\":1}") "\n"));
        assert_int_equal(status_of(&f->a, "POST", "/status", "[]"), 400);
        assert_int_equal(status_of(&f->a, "POST", "/status", "{\"seq\":1}"), 400);
        assert_int_equal(status_of(&f->a, "POST", "/status", "{\"seq\":1,}"), 400);
        char *huge = malloc(300 * 1024);
        assert_non_null(huge);
        memset(huge, ' ', 300 * 1024 - 1);
        huge[300 * 1024 - 1] = '\0';
        assert_int_equal(status_of(&f->a, "POST", "/status", huge), 413);
        free(huge);
}

static void test_a_flood_of_reports_is_stemmed(void **state) {
        struct fixture *f = *state;
        int taken = 0, status;
        while ((status = status_of(&f->a, "POST", "/status", REPORT("{\"seq\":1}"))) == 204)
                taken++;
        assert_int_equal(status, 429);
        assert_true(taken >= EDGE_REPORTS_MAX);
        assert_int_equal(status_of(&f->b, "POST", "/status", REPORT("{\"seq\":1}")),
                         204); /* not the others */
}

static void test_heard_only_when_durable(void **state) {
        struct fixture *f = *state;
        _cleanup_(call_done) struct call c = {0}, lost = {0};
        f->hold_settle = true;
        begin(&f->a, &c, "POST", "/status", REPORT("{\"seq\":1}"));
        UNTIL(f, f->settled);
        assert_false(c.ended);
        f->settled(f->settled_arg, 0);
        UNTIL(f, c.ended);
        assert_int_equal(c.status, 204);
        f->settled = NULL;
        begin(&f->a, &lost, "POST", "/status", REPORT("{\"seq\":2}"));
        UNTIL(f, f->settled);
        f->settled(f->settled_arg, -EIO);
        UNTIL(f, lost.ended);
        assert_int_equal(lost.status, 503);
}

static void test_who_may_do_what(void **state) {
        struct fixture *f = *state;
        assert_int_equal(status_of(&f->nobody, "GET", "/events", NULL), 401);
        assert_int_equal(status_of(&f->nobody, "POST", "/status", "{}"), 401);
        assert_int_equal(status_of(&f->nobody, "GET", "/bundle", NULL), 401);
        assert_int_equal(status_of(&f->a, "POST", "/batch", "{\"items\":[]}"), 403);
        assert_int_equal(status_of(&f->relay, "POST", "/status", "{}"), 403);
        assert_int_equal(status_of(&f->a, "GET", "/nothing", NULL), 404);
        strcpy(f->revoked, "a");
        assert_int_equal(status_of(&f->a, "GET", "/events", NULL), 403);
        assert_int_equal(status_of(&f->a, "POST", "/status", "{}"), 403);
        assert_int_equal(status_of(&f->b, "POST", "/status", REPORT("{}")), 204);
        assert_string_equal(buf_str(&f->told), "b says " REPORT("{}") "\n");
}

static void test_workloads_and_servers_are_no_members(void **state) {
        struct fixture *f = *state;
        static const char *const ids[] = {"spiffe://" DOMAIN "/node/a/app/web",
                                          "spiffe://" DOMAIN "/server/two", "spiffe://" DOMAIN "/user/eve"};
        for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
                struct peer p = {0};
                peer_init(&p, f, ids[i]);
                assert_int_equal(status_of(&p, "POST", "/status", "{}"), 403);
                peer_done(&p);
        }
        assert_string_equal(buf_str(&f->told), "");
}

static void test_drop(void **state) {
        struct fixture *f = *state;
        _cleanup_(call_done) struct call a = {0}, b = {0};
        join(&f->a, &a, "", "a here");
        join(&f->b, &b, "", "b here");
        strcpy(f->revoked, "a");
        edge_drop(f->edge, IDENTITY_NODE, "a");
        UNTIL(f, a.ended);
        assert_int_equal(a.error, -EIO);
        assert_true(told(f, "a gone"));
        assert_true(edge_send(f->edge, "b", "renew", NULL));
        UNTIL(f, has_line(&b, "renew"));
        leave(&f->b, &b);
}

/* ---- enrolment */

static const char enrol_body[] = "{\"token\":\"t\",\"csr\":\"c\"}";

static void test_enrol(void **state) {
        struct fixture *f = *state;
        _cleanup_(call_done) struct call ok = {0}, refused = {0}, away = {0};
        begin(&f->nobody, &ok, "POST", "/enrol", enrol_body);
        UNTIL(f, f->reply);
        assert_true(told(f, "enrol t 127.0.0.1\n"));
        edge_reply_json(TAKE_PTR(f->reply), json_pack("{s:s}", "name", "a"));
        UNTIL(f, ok.ended);
        assert_int_equal(ok.status, 200);
        assert_string_equal(buf_str(&ok.body), "{\"name\":\"a\"}");

        begin(&f->nobody, &refused, "POST", "/enrol", enrol_body);
        UNTIL(f, f->reply);
        edge_reply_error(TAKE_PTR(f->reply), 409, "conflict", "that name is taken");
        UNTIL(f, refused.ended);
        assert_int_equal(refused.status, 409);
        assert_non_null(strstr(buf_str(&refused.body), "that name is taken"));

        begin(&f->nobody, &away, "POST", "/renew", "{\"csr\":\"c\",\"certificate\":\"x\",\"proof\":\"p\"}");
        UNTIL(f, f->reply);
        edge_reply_error(TAKE_PTR(f->reply), 503, "unavailable", "away");
        UNTIL(f, away.ended);
        assert_int_equal(away.status, 503);
        assert_true(away.retry_after_ms > 0);
        assert_int_equal(status_of(&f->nobody, "POST", "/enrol", "{}"), 400);
}

static void test_peer_leaves_before_the_answer(void **state) {
        struct fixture *f = *state;
        _cleanup_(call_done) struct call c = {0};
        struct edge_stats s;
        begin(&f->nobody, &c, "POST", "/enrol", enrol_body);
        UNTIL(f, f->reply);
        http_call_cancel(c.handle);
        f->nobody.client = http_client_free(f->nobody.client);
        do {
                uv_run(loop_uv(f->loop), UV_RUN_ONCE);
                edge_stats(f->edge, &s);
        } while (s.http.open_exchanges > 0);
        edge_reply_json(TAKE_PTR(f->reply), json_object());
}

static void test_answer_after_the_edge_has_gone(void **state) {
        struct fixture *f = *state;
        _cleanup_(call_done) struct call c = {0};
        begin(&f->nobody, &c, "POST", "/enrol", enrol_body);
        UNTIL(f, f->reply);
        f->nobody.client = http_client_free(f->nobody.client);
        edge_stop(f->edge, on_stopped, f);
        UNTIL(f, f->stopped);
        edge_reply_error(TAKE_PTR(f->reply), 503, "unavailable", "too late");
}

/* ---- objects and bundle */

static void test_objects(void **state) {
        struct fixture *f = *state;
        char sha256[SHA256_HEX_SIZE];
        sha256_hex("content", 7, sha256);
        _cleanup_(x_freep) char *file = path_join(f->folder, sha256);
        _cleanup_(x_freep) char *path = str_format("/objects/sha256/%s", sha256);
        assert_int_equal(file_write_atomic(file, "content", 7, 0600, NULL), 0);
        _cleanup_(call_done) struct call c = {0}, away = {0};
        begin(&f->a, &c, "GET", path, NULL);
        UNTIL(f, c.ended);
        assert_int_equal(c.status, 200);
        assert_string_equal(buf_str(&c.body), "content");
        assert_int_equal(status_of(&f->relay, "GET", path, NULL), 200);
        assert_int_equal(status_of(&f->nobody, "GET", path, NULL), 401);
        path[strlen(path) - 1] = 'X';
        assert_int_equal(status_of(&f->a, "GET", path, NULL), 400);
        assert_int_equal(
                status_of(&f->a, "GET",
                          "/objects/sha256/ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
                          NULL),
                404);
        begin(&f->a, &away, "GET",
              "/objects/sha256/0000000000000000000000000000000000000000000000000000000000000000", NULL);
        UNTIL(f, away.ended);
        assert_int_equal(away.status, 503);
        assert_true(away.retry_after_ms > 0);
        struct edge_stats s;
        edge_stats(f->edge, &s);
        assert_int_equal(s.objects_served, 2);
}

static void test_bundle(void **state) {
        struct fixture *f = *state;
        assert_int_equal(status_of(&f->a, "GET", "/bundle", NULL), 200);
        f->has_bundle = false;
        assert_int_equal(status_of(&f->a, "GET", "/bundle", NULL), 503);
}

/* ---- relays */

static void test_behind_a_relay(void **state) {
        struct fixture *f = *state;
        _cleanup_(call_done) struct call r = {0};
        struct edge_stats s;
        assert_int_equal(status_of(&f->relay, "POST", "/batch", "{\"items\":[]}"), 409);
        join(&f->relay, &r, "", "relay kiel here\n");
        assert_int_equal(
                status_of(&f->relay, "POST", "/batch",
                          "{\"reset\":true,\"items\":["
                          "{\"node\":\"a\",\"connected\":true,\"address\":\"10.0.0.1\",\"assignment\":4},"
                          "{\"node\":\"b\",\"connected\":true,\"address\":\"10.0.0.2\"},"
                          "{\"node\":\"a\",\"status\":{\"seq\":1}}]}"),
                204);
        assert_true(told(f, "a here via kiel 4\nb here via kiel 0\na via kiel says {\"seq\":1}\n"));
        edge_stats(f->edge, &s);
        assert_int_equal(s.nodes_via_relay, 2);
        assert_int_equal(s.relays, 1);

        assert_true(edge_send(f->edge, "a", "assignment", assignment(5)));
        UNTIL(f, has_line(&r, "{\"type\":\"assignment\",\"node\":\"a\",\"signed\":{\"version\":5},"
                              "\"signatures\":[]}\n"));
        edge_drop(f->edge, IDENTITY_NODE, "elsewhere");
        UNTIL(f, has_line(&r, "{\"type\":\"drop\",\"node\":\"elsewhere\"}\n"));
        edge_broadcast(f->edge, "bundle", json_pack("{s:i}", "sequence", 3));
        UNTIL(f, has_line(&r, "{\"type\":\"bundle\",\"sequence\":3}\n"));

        /* A node leaves; then the relay comes back with other nodes than it had. */
        assert_int_equal(
                status_of(&f->relay, "POST", "/batch", "{\"items\":[{\"node\":\"b\",\"connected\":false}]}"),
                204);
        assert_true(told(f, "b gone via kiel 0\n"));
        assert_int_equal(
                status_of(
                        &f->relay, "POST", "/batch",
                        "{\"reset\":true,\"items\":[{\"node\":\"c\",\"connected\":true,\"address\":\"x\"}]}"),
                204);
        assert_true(told(f, "c here via kiel 0\na gone via kiel 0\n"));

        leave(&f->relay, &r);
        UNTIL(f, told(f, "c gone via kiel 0\nrelay kiel gone\n"));
        edge_stats(f->edge, &s);
        assert_int_equal(s.nodes_via_relay, 0);
        assert_int_equal(s.relays, 0);
}

static void test_relay_comes_again_before_it_left(void **state) {
        struct fixture *f = *state;
        _cleanup_(call_done) struct call first = {0}, second = {0};
        join(&f->relay, &first, "", "relay kiel here\n");
        assert_int_equal(status_of(&f->relay, "POST", "/batch",
                                   "{\"items\":[{\"node\":\"a\",\"connected\":true,\"address\":\"x\"}]}"),
                         204);
        buf_clear(&f->told);
        join(&f->relay, &second, "", "relay kiel here\n");
        UNTIL(f, first.ended);
        assert_false(told(f, "gone")); /* its nodes stay */
        assert_true(edge_send(f->edge, "a", "renew", NULL));
        UNTIL(f, has_line(&second, "renew"));
        leave(&f->relay, &second);
        UNTIL(f, told(f, "a gone"));
}

static void test_revoked_node_behind_a_relay(void **state) {
        struct fixture *f = *state;
        _cleanup_(call_done) struct call r = {0};
        join(&f->relay, &r, "", "relay kiel here\n");
        strcpy(f->revoked, "a");
        assert_int_equal(status_of(&f->relay, "POST", "/batch",
                                   "{\"items\":[{\"node\":\"a\",\"connected\":true,\"address\":\"x\"}]}"),
                         204);
        UNTIL(f, has_line(&r, "{\"type\":\"drop\",\"node\":\"a\"}\n"));
        assert_false(told(f, "a here"));
        assert_false(edge_send(f->edge, "a", "renew", NULL));

        /* A certificate that was replaced, of a node that goes on with another one. */
        assert_int_equal(status_of(&f->relay, "POST", "/batch",
                                   "{\"items\":[{\"node\":\"b\",\"connected\":true,\"address\":\"x\","
                                   "\"serial\":\"0bad\"}]}"),
                         204);
        UNTIL(f, has_line(&r, "\"type\":\"drop\"") && has_line(&r, "\"serial\":\"0bad\""));
        assert_false(told(f, "b here"));
        assert_int_equal(status_of(&f->relay, "POST", "/batch",
                                   "{\"items\":[{\"node\":\"b\",\"connected\":true,\"address\":\"x\","
                                   "\"serial\":\"0a\"}]}"),
                         204);
        assert_true(told(f, "b here via kiel 0\n"));

        /* A relay that remembers a revocation asks, and is told that it is over. */
        assert_int_equal(status_of(&f->relay, "POST", "/batch",
                                   "{\"items\":[{\"node\":\"a\",\"connected\":true,\"revoked\":true}]}"),
                         204);
        UNTIL(f, lines_with(&r, "{\"type\":\"drop\",\"node\":\"a\"}\n") == 2);
        f->revoked[0] = '\0';
        assert_int_equal(status_of(&f->relay, "POST", "/batch",
                                   "{\"items\":[{\"node\":\"a\",\"connected\":true,\"revoked\":true,"
                                   "\"address\":\"x\"}]}"),
                         204);
        UNTIL(f, has_line(&r, "{\"type\":\"admit\",\"node\":\"a\"}\n"));
        assert_true(told(f, "a here via kiel 0\n"));
        leave(&f->relay, &r);
        UNTIL(f, told(f, "relay kiel gone"));
}

static void test_nodes_move(void **state) {
        struct fixture *f = *state;
        _cleanup_(call_done) struct call kiel = {0}, bonn = {0}, direct = {0};
        static const char here[] = "{\"items\":[{\"node\":\"a\",\"connected\":true,\"address\":\"x\"}]}";
        static const char gone[] = "{\"items\":[{\"node\":\"a\",\"connected\":false}]}";
        static const char says[] = "{\"items\":[{\"node\":\"a\",\"status\":{\"stale\":true}}]}";
        join(&f->relay, &kiel, "", "relay kiel here\n");
        join(&f->other_relay, &bonn, "", "relay bonn here\n");
        assert_int_equal(status_of(&f->relay, "POST", "/batch", here), 204);
        assert_int_equal(status_of(&f->other_relay, "POST", "/batch", here), 204);
        buf_clear(&f->told);
        /* The relay that it left notices late, and has an old report to pass on. */
        assert_int_equal(status_of(&f->relay, "POST", "/batch", gone), 204);
        assert_int_equal(status_of(&f->relay, "POST", "/batch", says), 204);
        assert_string_equal(buf_str(&f->told), "");
        assert_true(edge_send(f->edge, "a", "renew", NULL));
        UNTIL(f, has_line(&bonn, "renew"));

        join(&f->a, &direct, "", "a here 0\n");
        assert_int_equal(status_of(&f->other_relay, "POST", "/batch", gone), 204);
        assert_false(told(f, "gone"));
        assert_true(edge_send(f->edge, "a", "renew", NULL));
        UNTIL(f, has_line(&direct, "renew"));

        assert_int_equal(status_of(&f->relay, "POST", "/batch", here), 204);
        UNTIL(f, direct.ended);
        assert_false(told(f, "gone"));
        /* A report by a node that has left since is taken. */
        assert_int_equal(status_of(&f->relay, "POST", "/batch", gone), 204);
        assert_int_equal(status_of(&f->relay, "POST", "/batch", says), 204);
        assert_true(told(f, "a gone via kiel 0\na via kiel says {\"stale\":true}\n"));
        leave(&f->relay, &kiel);
        leave(&f->other_relay, &bonn);
        UNTIL(f, told(f, "relay kiel gone") && told(f, "relay bonn gone"));
}

static void test_bad_batch_does_nothing(void **state) {
        struct fixture *f = *state;
        _cleanup_(call_done) struct call r = {0};
        join(&f->relay, &r, "", "relay kiel here\n");
        buf_clear(&f->told);
        assert_int_equal(
                status_of(&f->relay, "POST", "/batch",
                          "{\"reset\":true,\"items\":[{\"node\":\"a\",\"connected\":true},{\"node\":7}]}"),
                400);
        assert_string_equal(buf_str(&f->told), "");
        leave(&f->relay, &r);
        UNTIL(f, told(f, "relay kiel gone"));
}

static void test_stop_lets_all_go(void **state) {
        struct fixture *f = *state;
        _cleanup_(call_done) struct call a = {0}, r = {0};
        join(&f->a, &a, "", "a here");
        join(&f->relay, &r, "", "relay kiel here");
        assert_int_equal(status_of(&f->relay, "POST", "/batch",
                                   "{\"items\":[{\"node\":\"b\",\"connected\":true,\"address\":\"x\"}]}"),
                         204);
        buf_clear(&f->told);
        edge_stop(f->edge, on_stopped, f);
        UNTIL(f, f->stopped && a.ended && r.ended);
        assert_int_equal(a.error, 0); /* ended, not broken */
        assert_string_equal(buf_str(&f->told), "");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_events, make, release),
                cmocka_unit_test_setup_teardown(test_second_stream_replaces_the_first, make, release),
                cmocka_unit_test_setup_teardown(test_heartbeat, make, release),
                cmocka_unit_test_setup_teardown(test_heartbeat_is_what_it_can_be, make, release),
                cmocka_unit_test_setup_teardown(test_slow_peer_gets_the_newest, make, release),
                cmocka_unit_test_setup_teardown(test_status, make, release),
                cmocka_unit_test_setup_teardown(test_a_flood_of_reports_is_stemmed, make, release),
                cmocka_unit_test_setup_teardown(test_heard_only_when_durable, make, release),
                cmocka_unit_test_setup_teardown(test_who_may_do_what, make, release),
                cmocka_unit_test_setup_teardown(test_workloads_and_servers_are_no_members, make, release),
                cmocka_unit_test_setup_teardown(test_drop, make, release),
                cmocka_unit_test_setup_teardown(test_enrol, make, release),
                cmocka_unit_test_setup_teardown(test_peer_leaves_before_the_answer, make, release),
                cmocka_unit_test_setup_teardown(test_answer_after_the_edge_has_gone, make, release),
                cmocka_unit_test_setup_teardown(test_objects, make, release),
                cmocka_unit_test_setup_teardown(test_bundle, make, release),
                cmocka_unit_test_setup_teardown(test_behind_a_relay, make, release),
                cmocka_unit_test_setup_teardown(test_relay_comes_again_before_it_left, make, release),
                cmocka_unit_test_setup_teardown(test_revoked_node_behind_a_relay, make, release),
                cmocka_unit_test_setup_teardown(test_nodes_move, make, release),
                cmocka_unit_test_setup_teardown(test_bad_batch_does_nothing, make, release),
                cmocka_unit_test_setup_teardown(test_stop_lets_all_go, make, release),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
