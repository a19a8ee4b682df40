/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tls_fixture.h"

#define SERVER_ID "spiffe://example.org/server/main"
#define NODE_ID "spiffe://example.org/node/shop-1"

static struct authority authority, other;
static struct member server, node, stranger, expired;

static int set_up(void **state) {
        authority_init(&authority);
        authority_init(&other);
        member_init(&server, &authority, SERVER_ID, "localhost", 3600000);
        member_init(&node, &authority, NODE_ID, NULL, 3600000);
        member_init(&stranger, &other, NODE_ID, NULL, 3600000);
        member_init(&expired, &authority, NODE_ID, NULL, -60000);
        return 0;
}

static int tear_down(void **state) {
        member_done(&server);
        member_done(&node);
        member_done(&stranger);
        member_done(&expired);
        authority_done(&authority);
        authority_done(&other);
        return 0;
}

static struct tls_material server_material(enum tls_peer_check peer) {
        return (struct tls_material){.certificate_pem = server.chain,
                                     .key_pem = server.key,
                                     .bundle_pem = authority.root,
                                     .peer = peer,
                                     .trust_domain = "example.org"};
}

static struct tls_material client_material(const struct member *m) {
        return (struct tls_material){.certificate_pem = m ? m->chain : NULL,
                                     .key_pem = m ? m->key : NULL,
                                     .bundle_pem = authority.root,
                                     .peer = TLS_PEER_REQUIRED,
                                     .trust_domain = "example.org"};
}

struct pair {
        SSL *server, *client;
};

static void pair_done(struct pair *p) {
        SSL_free(p->server);
        SSL_free(p->client);
}

/* Shakes hands over a memory pipe; true when both sides are content. */
static bool shake_hands(struct tls_config *server_config, struct tls_config *client_config,
                        SSL_SESSION *session, const char *alpn, struct pair *p) {
        BIO *a = NULL, *b = NULL;
        p->server = SSL_new(tls_config_context(server_config));
        p->client = SSL_new(tls_config_context(client_config));
        assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
        SSL_set_bio(p->server, a, a);
        SSL_set_bio(p->client, b, b);
        SSL_set_accept_state(p->server);
        SSL_set_connect_state(p->client);
        if (session)
                assert_int_equal(SSL_set_session(p->client, session), 1);
        if (alpn)
                assert_int_equal(
                        SSL_set_alpn_protos(p->client, (const unsigned char *)alpn, (unsigned)strlen(alpn)),
                        0);
        for (int round = 0; round < 20; round++) {
                int c = SSL_do_handshake(p->client), s = SSL_do_handshake(p->server);
                if (c == 1 && s == 1) {
                        char byte;
                        (void)SSL_read(p->client, &byte, 1); /* takes the ticket */
                        return true;
                }
                if ((c != 1 && SSL_get_error(p->client, c) == SSL_ERROR_SSL) ||
                    (s != 1 && SSL_get_error(p->server, s) == SSL_ERROR_SSL))
                        return false;
        }
        return false;
}

/* Whether a handshake between the two materials goes through. */
static bool agree(struct tls_material s, struct tls_material c) {
        struct tls_config *server_config = NULL, *client_config = NULL;
        assert_int_equal(tls_server_new(&s, &server_config, NULL), 0);
        assert_int_equal(tls_client_new(&c, &client_config, NULL), 0);
        struct pair p;
        bool ok = shake_hands(server_config, client_config, NULL, NULL, &p);
        pair_done(&p);
        tls_config_free(server_config);
        tls_config_free(client_config);
        return ok;
}

static void both_sides_learn_who_the_other_is(void **state) {
        struct tls_material s = server_material(TLS_PEER_REQUIRED), c = client_material(&node);
        struct tls_config *server_config = NULL, *client_config = NULL;
        assert_int_equal(tls_server_new(&s, &server_config, NULL), 0);
        assert_int_equal(tls_client_new(&c, &client_config, NULL), 0);
        struct pair p;
        assert_true(shake_hands(server_config, client_config, NULL, "\x02h2\x08http/1.1", &p));
        assert_int_equal(SSL_version(p.server), TLS1_3_VERSION);

        _cleanup_(x_freep) char *peer_of_server = tls_peer_spiffe_id(p.server);
        _cleanup_(x_freep) char *peer_of_client = tls_peer_spiffe_id(p.client);
        _cleanup_(x_freep) char *serial = tls_peer_serial(p.server);
        struct cert_info info = {0};
        assert_int_equal(cert_inspect(node.chain, &info, NULL), 0);
        assert_string_equal(peer_of_server, NODE_ID);
        assert_string_equal(peer_of_client, SERVER_ID);
        assert_string_equal(serial, info.serial);
        cert_info_done(&info);

        const unsigned char *alpn = NULL;
        unsigned len = 0;
        SSL_get0_alpn_selected(p.client, &alpn, &len);
        assert_int_equal(len, 2);
        assert_memory_equal(alpn, "h2", 2);
        pair_done(&p);
        tls_config_free(server_config);
        tls_config_free(client_config);
}

static void without_a_common_protocol_there_is_no_connection(void **state) {
        struct tls_material s = server_material(TLS_PEER_NONE), c = client_material(NULL);
        struct tls_config *server_config = NULL, *client_config = NULL;
        assert_int_equal(tls_server_new(&s, &server_config, NULL), 0);
        assert_int_equal(tls_client_new(&c, &client_config, NULL), 0);
        struct pair p;
        assert_false(shake_hands(server_config, client_config, NULL, "\x04spdy", &p));
        pair_done(&p);
        tls_config_free(server_config);
        tls_config_free(client_config);
}

static void clients_are_let_in_by_certificate(void **state) {
        assert_true(agree(server_material(TLS_PEER_REQUIRED), client_material(&node)));
        assert_false(agree(server_material(TLS_PEER_REQUIRED), client_material(NULL)));
        assert_false(agree(server_material(TLS_PEER_REQUIRED), client_material(&stranger)));
        assert_false(agree(server_material(TLS_PEER_REQUIRED), client_material(&expired)));
        assert_true(agree(server_material(TLS_PEER_OPTIONAL), client_material(NULL)));
        assert_true(agree(server_material(TLS_PEER_OPTIONAL), client_material(&node)));
        assert_false(agree(server_material(TLS_PEER_OPTIONAL), client_material(&stranger)));
        assert_true(agree(server_material(TLS_PEER_NONE), client_material(&stranger)));
}

static void the_trust_domain_must_fit(void **state) {
        struct tls_material s = server_material(TLS_PEER_REQUIRED), c = client_material(&node);
        s.trust_domain = "other.example";
        assert_false(agree(s, c));
        s.trust_domain = NULL;
        assert_true(agree(s, c));
        c.trust_domain = "other.example";
        assert_false(agree(s, c));
}

static void a_node_does_not_speak_for_the_edge(void **state) {
        struct member relay;
        member_init(&relay, &authority, "spiffe://example.org/relay/north", NULL, 3600000);
        struct tls_material s = server_material(TLS_PEER_OPTIONAL), c = client_material(&node);
        c.peer_is_edge = true;
        assert_true(agree(s, c));
        s.certificate_pem = relay.chain;
        s.key_pem = relay.key;
        assert_true(agree(s, c));
        s.certificate_pem = node.chain;
        s.key_pem = node.key;
        assert_false(agree(s, c));
        c.peer_is_edge = false;
        assert_true(agree(s, c));
        /* nor by the pin that it knows as every member does */
        c = client_material(NULL);
        c.peer = TLS_PEER_PIN;
        c.bundle_pem = c.trust_domain = NULL;
        c.pin = authority.pin;
        assert_true(agree(s, c));
        c.peer_is_edge = true;
        assert_false(agree(s, c));
        member_done(&relay);
}

static void a_root_cannot_act_as_a_member(void **state) {
        struct tls_material s = server_material(TLS_PEER_REQUIRED), c = client_material(&node);
        _cleanup_(x_freep) char *key = NULL;
        assert_int_equal(key_to_pem(authority.root_key, &key, NULL), 0);
        c.certificate_pem = authority.root;
        c.key_pem = key;
        assert_false(agree(s, c));
}

static void a_pin_finds_its_root_in_the_servers_chain(void **state) {
        struct tls_material s = server_material(TLS_PEER_NONE), c = client_material(NULL);
        c.peer = TLS_PEER_PIN;
        c.bundle_pem = NULL;
        c.pin = authority.pin;
        assert_true(agree(s, c));
        c.trust_domain = NULL;
        assert_true(agree(s, c));
        c.pin = other.pin;
        assert_false(agree(s, c));

        /* The right root sent along does not help a chain that it did not sign. */
        _cleanup_(x_freep) char *forged = str_format("%s%s", stranger.chain, authority.root);
        s.certificate_pem = forged;
        s.key_pem = stranger.key;
        c.pin = authority.pin;
        assert_false(agree(s, c));

        /* A server that does not send its root cannot be checked. */
        char *rootless = str_dup_n(server.chain, strlen(server.chain) - strlen(authority.root));
        s = server_material(TLS_PEER_NONE);
        s.certificate_pem = rootless;
        assert_false(agree(s, c));
        free(rootless);
}

static void tickets_resume_without_state_and_end_with_a_reload(void **state) {
        struct tls_material s = server_material(TLS_PEER_REQUIRED), c = client_material(&node);
        struct tls_config *server_config = NULL, *client_config = NULL;
        assert_int_equal(tls_server_new(&s, &server_config, NULL), 0);
        assert_int_equal(tls_client_new(&c, &client_config, NULL), 0);
        struct pair first, second, third;
        assert_true(shake_hands(server_config, client_config, NULL, NULL, &first));
        assert_int_equal(SSL_CTX_sess_number(tls_config_context(server_config)), 0);
        SSL_SESSION *session = SSL_get1_session(first.client);
        assert_int_equal(SSL_SESSION_is_resumable(session), 1);

        assert_true(shake_hands(server_config, client_config, session, NULL, &second));
        assert_true(SSL_session_reused(second.server));
        _cleanup_(x_freep) char *id = tls_peer_spiffe_id(second.server);
        assert_string_equal(id, NODE_ID);

        /* The reload asks for another trust domain: an old ticket must not get around that. */
        s.trust_domain = "other.example";
        assert_int_equal(tls_config_reload(server_config, &s, NULL), 0);
        assert_false(shake_hands(server_config, client_config, session, NULL, &third));
        /* What is live goes on. */
        char byte = 0;
        assert_int_equal(SSL_write(second.client, "x", 1), 1);
        assert_int_equal(SSL_read(second.server, &byte, 1), 1);
        assert_int_equal(byte, 'x');

        SSL_SESSION_free(session);
        pair_done(&first);
        pair_done(&second);
        pair_done(&third);
        tls_config_free(server_config);
        tls_config_free(client_config);
}

static void a_failed_reload_leaves_all_as_it_was(void **state) {
        struct tls_material m = server_material(TLS_PEER_REQUIRED);
        struct tls_config *c = NULL;
        assert_int_equal(tls_server_new(&m, &c, NULL), 0);
        SSL_CTX *before = tls_config_context(c);
        m.key_pem = node.key;
        _cleanup_(err_freep) struct err *err = NULL;
        assert_int_equal(tls_config_reload(c, &m, &err), -EINVAL);
        assert_non_null(strstr(err_message(err), "does not belong to the certificate"));
        assert_ptr_equal(tls_config_context(c), before);
        tls_config_free(c);
}

static void bad_material_is_refused(void **state) {
        struct tls_config *c = NULL;
        struct tls_material m = server_material(TLS_PEER_PIN);
        assert_int_equal(tls_server_new(&m, &c, NULL), -EINVAL);
        m = server_material(TLS_PEER_REQUIRED);
        m.bundle_pem = NULL;
        assert_int_equal(tls_server_new(&m, &c, NULL), -EINVAL);
        m = server_material(TLS_PEER_REQUIRED);
        m.certificate_pem = "no PEM";
        assert_int_equal(tls_server_new(&m, &c, NULL), -EINVAL);
        m = server_material(TLS_PEER_REQUIRED);
        m.key_pem = "no PEM";
        assert_int_equal(tls_server_new(&m, &c, NULL), -EINVAL);
        m = client_material(NULL);
        m.peer = TLS_PEER_NONE;
        assert_int_equal(tls_client_new(&m, &c, NULL), -EINVAL);
        m.peer = TLS_PEER_PIN;
        m.pin = "abc";
        assert_int_equal(tls_client_new(&m, &c, NULL), -EINVAL);
        m.pin = NULL;
        assert_int_equal(tls_client_new(&m, &c, NULL), -EINVAL);
        assert_null(c);
}

static void a_foreign_context_can_be_made_ours(void **state) {
        struct tls_material s = server_material(TLS_PEER_REQUIRED), c = client_material(&node);
        struct tls_config *server_config = NULL, *client_config = NULL;
        assert_int_equal(tls_server_new(&s, &server_config, NULL), 0);
        assert_int_equal(tls_client_new(&c, &client_config, NULL), 0);
        SSL_CTX *foreign = SSL_CTX_new(TLS_client_method());
        assert_int_equal(tls_client_apply(client_config, foreign, NULL), 0);
        assert_int_equal(SSL_CTX_get_verify_mode(foreign), SSL_VERIFY_PEER);
        assert_int_equal(SSL_CTX_get_min_proto_version(foreign), TLS1_3_VERSION);
        assert_int_equal(X509_cmp(SSL_CTX_get0_certificate(foreign),
                                  SSL_CTX_get0_certificate(tls_config_context(client_config))),
                         0);
        SSL_CTX_free(foreign);
        tls_config_free(server_config);
        tls_config_free(client_config);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(both_sides_learn_who_the_other_is),
                cmocka_unit_test(without_a_common_protocol_there_is_no_connection),
                cmocka_unit_test(clients_are_let_in_by_certificate),
                cmocka_unit_test(the_trust_domain_must_fit),
                cmocka_unit_test(a_node_does_not_speak_for_the_edge),
                cmocka_unit_test(a_root_cannot_act_as_a_member),
                cmocka_unit_test(a_pin_finds_its_root_in_the_servers_chain),
                cmocka_unit_test(tickets_resume_without_state_and_end_with_a_reload),
                cmocka_unit_test(a_failed_reload_leaves_all_as_it_was),
                cmocka_unit_test(bad_material_is_refused),
                cmocka_unit_test(a_foreign_context_can_be_made_ours),
        };
        return cmocka_run_group_tests(tests, set_up, tear_down);
}
