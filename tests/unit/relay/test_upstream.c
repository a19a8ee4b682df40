/* SPDX-License-Identifier: Apache-2.0 */
/* A relay's link and its object cache, against an edge that plays the server. */
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
#include "relay/edge.h"
#include "relay/object_cache.h"

#define HOUR ((msec_t)3600 * 1000)
#define DOMAIN "example.org"
#define LARGE ((size_t)32 << 20)

struct fixture {
        struct loop *loop;
        struct authority authority;
        struct member server_member, relay_member;
        struct tls_config *server_tls, *relay_tls;
        struct edge *edge;
        uint16_t port;
        char *folder, *url;
        struct upstream *upstream;
        struct object_store *store;
        struct object_cache *cache;
        struct buf told;    /* what the link said, a line each */
        int objects_asked;  /* of the server */
        const char *forged; /* what the server gives for any object; NULL: the right thing */
        bool stopped, revoked;
};

/* One pass of the loop after another until it holds; the test's time limit is the end of patience. */
#define UNTIL(f, condition)                                                                                  \
        while (!(condition))                                                                                 \
        uv_run(loop_uv((f)->loop), UV_RUN_ONCE)

/* ---- the server's side */

static void backend_enrol(void *arg, const json_t *request, const char *address, struct edge_reply *reply) {
        edge_reply_json(reply, json_pack("{s:s}", "name", "a"));
}

static void backend_renew(void *arg, const json_t *request, struct edge_reply *reply) {
        edge_reply_error(reply, 403, "forbidden", "no");
}

static void backend_presence(void *arg, const char *node, bool connected, const char *via,
                             const char *address, int64_t version) {
}

static void backend_status(void *arg, const char *node, const char *via, const json_t *status) {
}

static bool backend_admit(void *arg, const struct edge_peer *peer) {
        const struct fixture *f = arg;
        return !f->revoked;
}

static void backend_object(void *arg, const char *sha256, void (*done)(void *done_arg, int fd),
                           void *done_arg) {
        struct fixture *f = arg;
        f->objects_asked++;
        _cleanup_(x_freep) char *path = path_join(f->folder, f->forged ? f->forged : sha256);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        done(done_arg, fd < 0 ? -ENOENT : fd);
}

static json_t *backend_bundle(void *arg) {
        return NULL;
}

static void start_server(struct fixture *f) {
        char address[32];
        snprintf(address, sizeof(address), "127.0.0.1:%u", f->port);
        struct edge_options o = {
                .address = address, .tls = f->server_tls, .trust_domain = DOMAIN, .accept_relays = true};
        struct edge_backend backend = {
                .arg = f,
                .enrol = backend_enrol,
                .renew = backend_renew,
                .presence = backend_presence,
                .status = backend_status,
                .object = backend_object,
                .admit = backend_admit,
                .bundle = backend_bundle,
        };
        assert_int_equal(edge_start(f->loop, &o, &backend, &f->edge, NULL), 0);
        f->port = edge_port(f->edge);
}

static void on_stopped(void *arg) {
        struct fixture *f = arg;
        f->stopped = true;
        f->edge = NULL;
}

static void stop_server(struct fixture *f) {
        f->stopped = false;
        edge_stop(f->edge, on_stopped, f);
        UNTIL(f, f->stopped);
}

/* ---- the relay's side */

static void on_up(void *arg) {
        struct fixture *f = arg;
        buf_puts(&f->told, "up\n");
}

static void on_down(void *arg, const char *why, int status) {
        struct fixture *f = arg;
        assert_true(strlen(why) > 0);
        buf_printf(&f->told, "down %d\n", status);
}

static void on_event(void *arg, const char *type, const json_t *event) {
        struct fixture *f = arg;
        buf_printf(&f->told, "%s %s\n", type, json_string_value(json_object_get(event, "node")));
}

static bool told(const struct fixture *f, const char *what) {
        return strstr(buf_str(&f->told), what) != NULL;
}

static int make(void **state) {
        static struct fixture f;
        f = (struct fixture){0};
        char folder[] = "/tmp/skerry-test-upstream-XXXXXX";
        assert_non_null(mkdtemp(folder));
        f.folder = strdup(folder);
        assert_int_equal(loop_new(&f.loop, NULL), 0);
        authority_init(&f.authority);
        member_init(&f.server_member, &f.authority, "spiffe://" DOMAIN "/server/one", NULL, HOUR);
        member_init(&f.relay_member, &f.authority, "spiffe://" DOMAIN "/relay/kiel", NULL, HOUR);
        struct tls_material server = {
                .certificate_pem = f.server_member.chain,
                .key_pem = f.server_member.key,
                .bundle_pem = f.authority.root,
                .peer = TLS_PEER_OPTIONAL,
                .trust_domain = DOMAIN,
        };
        struct tls_material relay = {
                .certificate_pem = f.relay_member.chain,
                .key_pem = f.relay_member.key,
                .bundle_pem = f.authority.root,
                .peer = TLS_PEER_REQUIRED,
                .trust_domain = DOMAIN,
        };
        assert_int_equal(tls_server_new(&server, &f.server_tls, NULL), 0);
        assert_int_equal(tls_client_new(&relay, &f.relay_tls, NULL), 0);
        start_server(&f);
        f.url = str_format("https://127.0.0.1:%u/", f.port);
        struct upstream_options o = {.server = f.url,
                                     .tls = f.relay_tls,
                                     .arg = &f,
                                     .up = on_up,
                                     .down = on_down,
                                     .event = on_event};
        assert_int_equal(upstream_new(f.loop, &o, &f.upstream, NULL), 0);
        _cleanup_(x_freep) char *store = path_join(f.folder, "store");
        assert_int_equal(object_store_open(store, 0, &f.store, NULL), 0);
        assert_int_equal(object_cache_new(f.loop, f.store, f.upstream, &f.cache, NULL), 0);
        *state = &f;
        return 0;
}

static int release(void **state) {
        struct fixture *f = *state;
        object_cache_free(f->cache);
        upstream_free(f->upstream);
        if (f->edge)
                stop_server(f);
        loop_free(f->loop);
        object_store_free(f->store);
        tls_config_free(f->server_tls);
        tls_config_free(f->relay_tls);
        member_done(&f->server_member);
        member_done(&f->relay_member);
        authority_done(&f->authority);
        buf_done(&f->told);
        int r = path_remove(f->folder, NULL);
        free(f->folder);
        free(f->url);
        return r;
}

static void connect_link(struct fixture *f) {
        upstream_start(f->upstream);
        UNTIL(f, upstream_is_up(f->upstream));
}

/* ---- the link */

static void test_up_events_down_up(void **state) {
        struct fixture *f = *state;
        assert_false(upstream_is_up(f->upstream));
        connect_link(f);
        assert_string_equal(buf_str(&f->told), "up\n");
        assert_true(upstream_up_since(f->upstream) > 0);
        edge_drop(f->edge, IDENTITY_NODE, "a");
        UNTIL(f, told(f, "drop a\n"));
        stop_server(f);
        UNTIL(f, told(f, "down"));
        assert_false(upstream_is_up(f->upstream));
        assert_int_equal(upstream_up_since(f->upstream), 0);
        start_server(f);
        UNTIL(f, upstream_is_up(f->upstream));
        edge_drop(f->edge, IDENTITY_NODE, "b");
        UNTIL(f, told(f, "drop b\n"));
}

static void test_link_that_is_given_up(void **state) {
        struct fixture *f = *state;
        connect_link(f);
        upstream_fail(f->upstream, "for a test");
        assert_false(upstream_is_up(f->upstream));
        assert_string_equal(buf_str(&f->told), "up\ndown 0\n");
        UNTIL(f, upstream_is_up(f->upstream));
}

static void test_revoked_relay(void **state) {
        struct fixture *f = *state;
        f->revoked = true;
        upstream_start(f->upstream);
        UNTIL(f, told(f, "down 403\n"));
        f->revoked = false;
        UNTIL(f, upstream_is_up(f->upstream)); /* it goes on asking */
}

struct answer {
        bool ended;
        int status;
        struct buf body;
};

static void on_answer(void *arg, const struct upstream_answer *a) {
        struct answer *w = arg;
        w->ended = true;
        w->status = a->status;
        assert_int_equal(buf_append(&w->body, a->body, a->len), 0);
        if (a->status == 0)
                assert_non_null(a->message);
}

static void test_posts(void **state) {
        struct fixture *f = *state;
        struct answer early = {0}, ok = {0}, refused = {0}, cut = {0}, never = {0};
        upstream_post(f->upstream, "/edge/v1/enrol", "{\"token\":\"t\",\"csr\":\"c\"}", on_answer, &early);
        assert_false(early.ended); /* never from inside the call */
        UNTIL(f, early.ended);
        assert_int_equal(early.status, 0);

        connect_link(f);
        upstream_post(f->upstream, "/edge/v1/enrol", "{\"token\":\"t\",\"csr\":\"c\"}", on_answer, &ok);
        UNTIL(f, ok.ended);
        assert_int_equal(ok.status, 200);
        assert_string_equal(buf_str(&ok.body), "{\"name\":\"a\"}");
        upstream_post(f->upstream, "/edge/v1/enrol", "{}", on_answer, &refused);
        UNTIL(f, refused.ended);
        assert_int_equal(refused.status, 400);

        /* Whatever is open when the link is freed is told so. */
        upstream_post(f->upstream, "/edge/v1/enrol", "{\"token\":\"t\",\"csr\":\"c\"}", on_answer, &cut);
        upstream_fail(f->upstream, "for a test");
        upstream_post(f->upstream, "/edge/v1/enrol", "{}", on_answer, &never);
        f->cache = object_cache_free(f->cache);
        f->upstream = upstream_free(f->upstream);
        assert_true(cut.ended && never.ended);
        assert_int_equal(cut.status + never.status, 0);
        struct answer *const all[] = {&early, &ok, &refused, &cut, &never};
        for (size_t i = 0; i < ARRAY_SIZE(all); i++)
                buf_done(&all[i]->body);
}

/* ---- objects */

struct got {
        int n, fd;
};

static void on_object(void *arg, int fd) {
        struct got *g = arg;
        g->n++;
        if (g->fd > 0)
                close(g->fd);
        g->fd = fd;
}

static void publish(struct fixture *f, const void *data, size_t len, char sha256[SHA256_HEX_SIZE]) {
        sha256_hex(data, len, sha256);
        _cleanup_(x_freep) char *path = path_join(f->folder, sha256);
        assert_int_equal(file_write_atomic(path, data, len, 0600, NULL), 0);
}

static void expect_content(struct got *g, const char *want) {
        char text[64] = {0};
        assert_true(g->fd >= 0);
        assert_int_equal(pread(g->fd, text, sizeof(text) - 1, 0), (ssize_t)strlen(want));
        assert_string_equal(text, want);
        close(g->fd);
        *g = (struct got){0};
}

static void test_fetched_once(void **state) {
        struct fixture *f = *state;
        char sha256[SHA256_HEX_SIZE];
        struct got many[5] = {0}, again = {0};
        publish(f, "content", 7, sha256);
        connect_link(f);
        for (size_t i = 0; i < ARRAY_SIZE(many); i++)
                object_cache_get(f->cache, sha256, on_object, &many[i]);
        UNTIL(f, many[0].n && many[4].n);
        for (size_t i = 0; i < ARRAY_SIZE(many); i++)
                expect_content(&many[i], "content");
        object_cache_get(f->cache, sha256, on_object, &again);
        assert_int_equal(again.n, 1); /* at once */
        expect_content(&again, "content");
        assert_int_equal(f->objects_asked, 1);
        struct object_cache_stats s;
        object_cache_stats(f->cache, &s);
        assert_int_equal(s.fetched, 1);
        assert_int_equal(s.hits, 1);
        assert_int_equal(s.failures, 0);
}

static void test_served_without_the_server(void **state) {
        struct fixture *f = *state;
        char here[SHA256_HEX_SIZE], missing[SHA256_HEX_SIZE];
        struct got g = {0};
        sha256_hex("here", 4, here);
        sha256_hex("missing", 7, missing);
        assert_int_equal(object_store_put(f->store, here, "here", 4, NULL), 0);
        object_cache_get(f->cache, here, on_object, &g);
        UNTIL(f, g.n);
        expect_content(&g, "here");
        object_cache_get(f->cache, missing, on_object, &g);
        UNTIL(f, g.n);
        assert_int_equal(g.fd, -EHOSTUNREACH);
        g = (struct got){0};
        connect_link(f);
        object_cache_get(f->cache, missing, on_object, &g);
        UNTIL(f, g.n);
        assert_int_equal(g.fd, -ENOENT);
        g = (struct got){0};
        object_cache_get(f->cache, "../../etc/passwd", on_object, &g);
        assert_int_equal(g.fd, -EINVAL);
}

static void test_damage_is_mended(void **state) {
        struct fixture *f = *state;
        char sha256[SHA256_HEX_SIZE];
        struct got g = {0};
        publish(f, "content", 7, sha256);
        assert_int_equal(object_store_put(f->store, sha256, "content", 7, NULL), 0);
        _cleanup_(x_freep) char *path = str_format("%s/store/sha256/%.2s/%s", f->folder, sha256, sha256 + 2);
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        assert_int_equal(pwrite(fd, "X", 1, 2), 1);
        close(fd);
        connect_link(f);
        object_cache_get(f->cache, sha256, on_object, &g);
        UNTIL(f, g.n);
        expect_content(&g, "content");
        assert_int_equal(f->objects_asked, 1);
}

static void test_forgery_is_not_passed_on(void **state) {
        struct fixture *f = *state;
        char sha256[SHA256_HEX_SIZE], other[SHA256_HEX_SIZE];
        struct got g = {0};
        publish(f, "content", 7, sha256);
        publish(f, "forgery", 7, other);
        f->forged = other;
        connect_link(f);
        object_cache_get(f->cache, sha256, on_object, &g);
        UNTIL(f, g.n);
        assert_int_equal(g.fd, -EBADMSG);
        assert_false(object_store_has(f->store, sha256));
        g = (struct got){0};
        f->forged = NULL;
        object_cache_get(f->cache, sha256, on_object, &g);
        UNTIL(f, g.n);
        expect_content(&g, "content");
}

static void test_empty_object(void **state) {
        struct fixture *f = *state;
        char sha256[SHA256_HEX_SIZE];
        struct got g = {0};
        publish(f, "", 0, sha256);
        connect_link(f);
        object_cache_get(f->cache, sha256, on_object, &g);
        UNTIL(f, g.n);
        expect_content(&g, "");
}

static void test_broken_transfer_goes_on_where_it_broke(void **state) {
        struct fixture *f = *state;
        char sha256[SHA256_HEX_SIZE];
        struct got g = {0};
        struct http_client_stats c;
        struct edge_stats s;
        uint8_t *data = malloc(LARGE);
        assert_non_null(data);
        for (size_t i = 0; i < LARGE; i++)
                data[i] = (uint8_t)(i * 2654435761u >> 13);
        publish(f, data, LARGE, sha256);
        connect_link(f);
        object_cache_get(f->cache, sha256, on_object, &g);
        do {
                uv_run(loop_uv(f->loop), UV_RUN_ONCE);
                http_client_stats(upstream_client(f->upstream), &c);
        } while (c.bytes_in < LARGE * 5 / 8);
        edge_drop(f->edge, IDENTITY_RELAY, "kiel");
        UNTIL(f, g.n);
        assert_true(g.fd >= 0);
        assert_int_equal(object_store_check(f->store, sha256, NULL), 0);
        edge_stats(f->edge, &s);
        assert_int_equal(f->objects_asked, 2);
        /* A second transfer of the whole would be more. */
        assert_true(s.http.bytes_out < LARGE + LARGE * 5 / 8);
        close(g.fd);
        free(data);
}

static void test_freed_in_the_middle(void **state) {
        struct fixture *f = *state;
        char sha256[SHA256_HEX_SIZE], kept[SHA256_HEX_SIZE];
        struct got fetching = {0}, checking = {0};
        publish(f, "content", 7, sha256);
        sha256_hex("kept", 4, kept);
        assert_int_equal(object_store_put(f->store, kept, "kept", 4, NULL), 0);
        connect_link(f);
        object_cache_get(f->cache, sha256, on_object, &fetching);
        object_cache_get(f->cache, kept, on_object, &checking);
        f->cache = object_cache_free(f->cache);
        assert_int_equal(fetching.fd, -ECANCELED);
        assert_int_equal(checking.fd, -ECANCELED);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_up_events_down_up, make, release),
                cmocka_unit_test_setup_teardown(test_link_that_is_given_up, make, release),
                cmocka_unit_test_setup_teardown(test_revoked_relay, make, release),
                cmocka_unit_test_setup_teardown(test_posts, make, release),
                cmocka_unit_test_setup_teardown(test_fetched_once, make, release),
                cmocka_unit_test_setup_teardown(test_served_without_the_server, make, release),
                cmocka_unit_test_setup_teardown(test_damage_is_mended, make, release),
                cmocka_unit_test_setup_teardown(test_forgery_is_not_passed_on, make, release),
                cmocka_unit_test_setup_teardown(test_empty_object, make, release),
                cmocka_unit_test_setup_teardown(test_broken_transfer_goes_on_where_it_broke, make, release),
                cmocka_unit_test_setup_teardown(test_freed_in_the_middle, make, release),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
