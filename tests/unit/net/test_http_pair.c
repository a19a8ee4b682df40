/* SPDX-License-Identifier: Apache-2.0 */
/* Our client and our server, HTTP/2 over mutual TLS, on one loop. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/str.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include "tls_fixture.h"

#define HOUR ((msec_t)3600 * 1000)
#define CALLS 40

struct fixture {
        struct loop *loop;
        struct authority authority, stranger;
        struct member server_member, client_member;
        struct tls_config *server_tls, *client_tls;
        struct http_server *server;
        struct http_client *client;
        struct http_exchange *stream;
        char peers[256]; /* who called, as the server saw it */
        int waiting_for;
};

/* ---- the server's side */

static void on_echo(struct http_exchange *x, const char *body, size_t len, void *arg) {
        http_respond(x, 200, "text/plain", body, len);
}

static void on_post(struct http_exchange *x, void *arg) {
        http_read_body(x, 0, on_echo, arg);
}

static void on_who(struct http_exchange *x, void *arg) {
        const char *id = http_peer_spiffe_id(x);
        http_respond(x, 200, "text/plain", id ? id : "nobody", strlen(id ? id : "nobody"));
}

static void on_stream(struct http_exchange *x, void *arg) {
        struct fixture *f = arg;
        assert_int_equal(http_begin(x, 200, "application/x-ndjson"), 0);
        assert_int_equal(http_write(x, "hello\n", 6), 0);
        f->stream = x;
}

static void on_hang_up(struct http_exchange *x, void *arg) {
        http_abort(x);
}

static const struct http_route routes[] = {
        {"POST", "/echo", on_post, NULL},
        {"GET", "/who", on_who, NULL},
        {"GET", "/stream", on_stream, NULL},
        {"GET", "/hang-up", on_hang_up, NULL},
        {NULL, NULL, NULL, NULL},
};

/* ---- set-up */

static int make(void **state) {
        static struct fixture f;
        f = (struct fixture){0};
        assert_int_equal(loop_new(&f.loop, NULL), 0);
        authority_init(&f.authority);
        authority_init(&f.stranger);
        member_init(&f.server_member, &f.authority, "spiffe://example.org/server/one", NULL, HOUR);
        member_init(&f.client_member, &f.authority, "spiffe://example.org/node/a", NULL, HOUR);
        struct tls_material server = {
                .certificate_pem = f.server_member.chain,
                .key_pem = f.server_member.key,
                .bundle_pem = f.authority.root,
                .peer = TLS_PEER_OPTIONAL,
                .trust_domain = "example.org",
        };
        assert_int_equal(tls_server_new(&server, &f.server_tls, NULL), 0);
        struct http_server_options o = {
                .name = "test", .address = "127.0.0.1:0", .tls = f.server_tls, .routes = routes, .arg = &f};
        assert_int_equal(http_server_start(f.loop, &o, &f.server, NULL), 0);
        *state = &f;
        return 0;
}

static struct tls_material client_material(const struct fixture *f) {
        return (struct tls_material){
                .certificate_pem = f->client_member.chain,
                .key_pem = f->client_member.key,
                .bundle_pem = f->authority.root,
                .peer = TLS_PEER_REQUIRED,
                .trust_domain = "example.org",
        };
}

static void make_client(struct fixture *f, const struct tls_material *m) {
        assert_int_equal(tls_client_new(m, &f->client_tls, NULL), 0);
        struct http_client_options o = {.tls = f->client_tls};
        assert_int_equal(http_client_new(f->loop, &o, &f->client, NULL), 0);
}

static void stopped(void *arg) {
        loop_stop(arg, 0);
}

static int release(void **state) {
        struct fixture *f = *state;
        http_client_free(f->client);
        http_server_stop(f->server, 0, stopped, f->loop);
        loop_run(f->loop);
        loop_free(f->loop);
        tls_config_free(f->client_tls);
        tls_config_free(f->server_tls);
        member_done(&f->server_member);
        member_done(&f->client_member);
        authority_done(&f->authority);
        authority_done(&f->stranger);
        return 0;
}

/* ---- calls */

struct outcome {
        struct fixture *f;
        int status, error;
        struct buf body, streamed;
        char message[512];
        bool ended;
};

static void on_done(void *arg, const struct http_result *r) {
        struct outcome *o = arg;
        assert_false(o->ended);
        o->ended = true;
        o->status = r->status;
        o->error = r->error;
        assert_int_equal(buf_append(&o->body, r->body, r->body_len), 0);
        if (r->message)
                snprintf(o->message, sizeof(o->message), "%s", r->message);
        if (--o->f->waiting_for == 0)
                loop_stop(o->f->loop, 0);
}

static int on_data(void *arg, const char *p, size_t n) {
        struct outcome *o = arg;
        assert_int_equal(buf_append(&o->streamed, p, n), 0);
        if (str_has_suffix(buf_str(&o->streamed), "\n") && --o->f->waiting_for == 0)
                loop_stop(o->f->loop, 0);
        return 0;
}

static void begin(struct fixture *f, struct outcome *o, struct http_request *q, const char *path) {
        _cleanup_(x_freep) char *url =
                str_format("https://127.0.0.1:%d%s", http_server_port(f->server), path);
        o->f = f;
        q->url = url;
        q->done = on_done;
        q->arg = o;
        f->waiting_for++;
        assert_int_equal(http_client_send(f->client, q, NULL, NULL), 0);
}

static void get(struct fixture *f, struct outcome *o, const char *path) {
        struct http_request q = {0};
        begin(f, o, &q, path);
        loop_run(f->loop);
        assert_true(o->ended);
}

static void outcome_done(struct outcome *o) {
        buf_done(&o->body);
        buf_done(&o->streamed);
}

static void test_one_connection_carries_all(void **state) {
        struct fixture *f = *state;
        struct tls_material m = client_material(f);
        make_client(f, &m);
        /* A response that stays open, and calls beside it, made before the connection stands. */
        _cleanup_(outcome_done) struct outcome stream = {0};
        struct outcome posts[CALLS] = {0};
        struct http_request q = {.streaming = true, .on_data = on_data};
        begin(f, &stream, &q, "/stream");
        for (int i = 0; i < CALLS; i++) {
                char text[16];
                snprintf(text, sizeof(text), "call %d", i);
                q = (struct http_request){.method = "POST", .body = text, .body_len = strlen(text)};
                begin(f, &posts[i], &q, "/echo");
        }
        loop_run(f->loop);
        for (int i = 0; i < CALLS; i++) {
                char text[16];
                snprintf(text, sizeof(text), "call %d", i);
                assert_int_equal(posts[i].status, 200);
                assert_string_equal(buf_str(&posts[i].body), text);
                outcome_done(&posts[i]);
        }
        assert_string_equal(buf_str(&stream.streamed), "hello\n");
        assert_false(stream.ended);

        /* The stream still runs. */
        f->waiting_for = 1;
        assert_int_equal(http_write(f->stream, "more\n", 5), 0);
        loop_run(f->loop);
        assert_string_equal(buf_str(&stream.streamed), "hello\nmore\n");

        struct http_client_stats c;
        struct http_server_stats s;
        http_client_stats(f->client, &c);
        http_server_stats(f->server, &s);
        assert_int_equal(c.connections, 1);
        assert_int_equal(s.accepted, 1);
        assert_int_equal(s.exchanges, CALLS + 1);
}

static void test_server_knows_the_caller(void **state) {
        struct fixture *f = *state;
        struct tls_material m = client_material(f);
        make_client(f, &m);
        _cleanup_(outcome_done) struct outcome first = {0}, second = {0};
        get(f, &first, "/who");
        assert_string_equal(buf_str(&first.body), "spiffe://example.org/node/a");

        /* A new certificate is shown by new connections, which a reconnect makes. */
        member_done(&f->client_member);
        member_init(&f->client_member, &f->authority, "spiffe://example.org/node/b", NULL, HOUR);
        m = client_material(f);
        assert_int_equal(tls_config_reload(f->client_tls, &m, NULL), 0);
        http_client_reconnect(f->client);
        get(f, &second, "/who");
        assert_string_equal(buf_str(&second.body), "spiffe://example.org/node/b");
}

static void test_without_certificate(void **state) {
        struct fixture *f = *state;
        struct tls_material m = {.peer = TLS_PEER_PIN, .pin = f->authority.pin};
        make_client(f, &m);
        _cleanup_(outcome_done) struct outcome o = {0};
        get(f, &o, "/who");
        assert_int_equal(o.error, 0);
        assert_string_equal(buf_str(&o.body), "nobody");
}

static void expect_refusal(struct fixture *f, const struct tls_material *m) {
        make_client(f, m);
        _cleanup_(outcome_done) struct outcome o = {0};
        get(f, &o, "/who");
        assert_int_equal(o.status, 0);
        if (o.error != -EKEYREJECTED)
                fail_msg("%d: %s", o.error, o.message);
        assert_true(strlen(o.message) > 0);
}

static void test_wrong_root(void **state) {
        struct fixture *f = *state;
        struct tls_material m = client_material(f);
        m.bundle_pem = f->stranger.root;
        expect_refusal(f, &m);
}

static void test_wrong_pin(void **state) {
        struct fixture *f = *state;
        struct tls_material m = {.peer = TLS_PEER_PIN, .pin = f->stranger.pin};
        expect_refusal(f, &m);
}

static void test_wrong_trust_domain(void **state) {
        struct fixture *f = *state;
        struct tls_material m = client_material(f);
        m.trust_domain = "other.org";
        expect_refusal(f, &m);
}

static void test_server_refuses_our_certificate(void **state) {
        struct fixture *f = *state;
        struct member forged;
        member_init(&forged, &f->stranger, "spiffe://example.org/node/a", NULL, HOUR);
        struct tls_material m = client_material(f);
        m.certificate_pem = forged.chain;
        m.key_pem = forged.key;
        expect_refusal(f, &m);
        member_done(&forged);
}

static void test_host_is_checked_when_asked(void **state) {
        struct fixture *f = *state;
        struct tls_material m = client_material(f);
        m.check_host = true; /* the server's certificate names no host */
        expect_refusal(f, &m);
}

static void test_broken_answers(void **state) {
        struct fixture *f = *state;
        struct tls_material m = client_material(f);
        make_client(f, &m);
        _cleanup_(outcome_done) struct outcome reset = {0}, stream = {0};
        get(f, &reset, "/hang-up");
        assert_int_equal(reset.error, -EIO);

        struct http_request q = {.streaming = true, .on_data = on_data};
        begin(f, &stream, &q, "/stream");
        loop_run(f->loop);
        f->waiting_for = 1;
        assert_int_equal(http_server_drop_peer(f->server, "spiffe://example.org/node/a"), 1);
        loop_run(f->loop);
        assert_true(stream.ended);
        assert_int_equal(stream.status, 200);
        assert_int_equal(stream.error, -EIO);
}

static void test_stream_that_ends_well(void **state) {
        struct fixture *f = *state;
        struct tls_material m = client_material(f);
        make_client(f, &m);
        _cleanup_(outcome_done) struct outcome stream = {0};
        struct http_request q = {.streaming = true, .on_data = on_data};
        begin(f, &stream, &q, "/stream");
        loop_run(f->loop);
        f->waiting_for = 1;
        http_finish(f->stream);
        loop_run(f->loop);
        assert_int_equal(stream.error, 0);
        assert_int_equal(stream.status, 200);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_one_connection_carries_all, make, release),
                cmocka_unit_test_setup_teardown(test_server_knows_the_caller, make, release),
                cmocka_unit_test_setup_teardown(test_without_certificate, make, release),
                cmocka_unit_test_setup_teardown(test_wrong_root, make, release),
                cmocka_unit_test_setup_teardown(test_wrong_pin, make, release),
                cmocka_unit_test_setup_teardown(test_wrong_trust_domain, make, release),
                cmocka_unit_test_setup_teardown(test_server_refuses_our_certificate, make, release),
                cmocka_unit_test_setup_teardown(test_host_is_checked_when_asked, make, release),
                cmocka_unit_test_setup_teardown(test_broken_answers, make, release),
                cmocka_unit_test_setup_teardown(test_stream_that_ends_well, make, release),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
