/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>
#include <time.h>

#include "base/encode.h"
#include "base/str.h"
#include "crypto/cert.h"
#include "crypto/cert_openssl.h"
#include "crypto/digest.h"
#include "crypto/openssl_error.h"
#include "crypto/spiffe_id.h"

#define SECURITY_LEVEL 2                 /* 112 bits: no SHA-1, RSA from 2048 */
#define PEER_CHAIN_BYTES_MAX (32 * 1024) /* of certificates that a peer may send */
#define TICKET_LIFETIME_S 7200
/* AES-128 first: its key schedule is the smallest, and it is the fastest where AES is in hardware. */
#define CIPHERSUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS "X25519:P-256"

/* What the verify callback knows. Contexts outlive a reload as long as a connection made with them lives, and
 * a context holds a plain pointer to its policy, so policies stay until the config itself goes. A reload that
 * does not change the policy (all but the first ones) adds none. */
struct tls_policy {
        struct tls_policy *older;
        enum tls_peer_check peer;
        bool check_host, peer_is_edge;
        char *trust_domain;
        uint8_t pin[SHA256_SIZE];
};

struct tls_config {
        unsigned references;
        bool server;
        SSL_CTX *context;
        struct tls_policy *policy, *policies; /* the current one; all of them */
};

static struct tls_policy *policy_free(struct tls_policy *p) {
        if (!p)
                return NULL;
        free(p->trust_domain);
        free(p);
        return NULL;
}
DEFINE_CLEANUP(struct tls_policy, policy_free)

static void context_freep(SSL_CTX **c) {
        SSL_CTX_free(*c);
}
static void stack_freep(STACK_OF(X509) * *s) {
        cert_stack_free(*s);
}
static void bio_freep(BIO **b) {
        BIO_free(*b);
}
static void pkey_freep(EVP_PKEY **k) {
        EVP_PKEY_free(*k);
}

/* ---- verification */

static bool has_pin(const X509 *x, const uint8_t pin[SHA256_SIZE]) {
        unsigned char *der = NULL;
        int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
        if (len <= 0)
                return false;
        uint8_t digest[SHA256_SIZE];
        sha256_of(der, (size_t)len, digest);
        OPENSSL_free(der);
        return memcmp(digest, pin, SHA256_SIZE) == 0;
}

/* Ordinary verification, with the pinned root as the one anchor; the peer sent it along. */
static int verify_pinned(X509_STORE_CTX *store, const struct tls_policy *policy) {
        STACK_OF(X509) *sent = X509_STORE_CTX_get0_untrusted(store);
        STACK_OF(X509) *anchors = sk_X509_new_null();
        if (!anchors) {
                X509_STORE_CTX_set_error(store, X509_V_ERR_OUT_OF_MEM);
                return 0;
        }
        for (int i = 0; i < sk_X509_num(sent) && sk_X509_num(anchors) == 0; i++) {
                X509 *x = sk_X509_value(sent, i);
                if (X509_self_signed(x, 1) == 1 && has_pin(x, policy->pin))
                        (void)sk_X509_push(anchors, x);
        }
        X509_STORE_CTX_set0_trusted_stack(store, anchors);
        int ok = X509_verify_cert(store) == 1;
        if (!ok && sk_X509_num(anchors) == 0)
                X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_UNTRUSTED);
        sk_X509_free(anchors); /* the verified chain holds references of its own */
        return ok;
}

static bool is_edge(const char *id) {
        _cleanup_(x_freep) char *domain = NULL, *path = NULL;
        return spiffe_id_parse(id, &domain, &path, NULL) == 0 &&
               (str_has_prefix(path, "/server/") || str_has_prefix(path, "/relay/"));
}

static int on_verify(X509_STORE_CTX *store, void *arg) {
        const struct tls_policy *policy = arg;
        int ok = policy->peer == TLS_PEER_PIN ? verify_pinned(store, policy) : X509_verify_cert(store) == 1;
        if (ok && (policy->trust_domain || policy->peer_is_edge)) {
                _cleanup_(x_freep) char *id = NULL;
                if (cert_check_svid_leaf(X509_STORE_CTX_get0_cert(store), policy->trust_domain, &id, NULL) <
                            0 ||
                    (policy->peer_is_edge && !is_edge(id))) {
                        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
                        ok = 0;
                }
        }
        /* A callback that answers with an allocation failure still must not leave errors behind. */
        ERR_clear_error();
        return ok;
}

/* ---- resumption */

static int on_ticket_made(SSL *ssl, void *arg) {
        return 1;
}

/* A ticket carries the peer's certificate as it was verified then; it must not outlive it. */
static SSL_TICKET_RETURN on_ticket_read(SSL *ssl, SSL_SESSION *session, const unsigned char *key_name,
                                        size_t key_name_len, SSL_TICKET_STATUS status, void *arg) {
        if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
                return SSL_TICKET_RETURN_IGNORE_RENEW;
        X509 *peer = SSL_SESSION_get0_peer(session);
        if (peer && X509_cmp_current_time(X509_get0_notAfter(peer)) <= 0)
                return SSL_TICKET_RETURN_IGNORE_RENEW;
        return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

/* ---- ALPN */

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                   unsigned int in_len, void *arg) {
        static const unsigned char ours[] = "\x02h2\x08http/1.1";
        unsigned char *chosen = NULL;
        if (SSL_select_next_proto(&chosen, out_len, ours, sizeof(ours) - 1, in, in_len) !=
            OPENSSL_NPN_NEGOTIATED)
                return SSL_TLSEXT_ERR_ALERT_FATAL;
        *out = chosen;
        return SSL_TLSEXT_ERR_OK;
}

/* ---- building a context */

static int no_passphrase(char *buffer, int size, int writing, void *arg) {
        return -1;
}

static int use_identity(SSL_CTX *context, const struct tls_material *m, struct err **err) {
        _cleanup_(stack_freep) STACK_OF(X509) *chain = NULL;
        int r = cert_parse_pem(m->certificate_pem, CERT_CHAIN_MAX, &chain, err);
        if (r < 0) {
                err_wrap(err, "TLS certificate");
                return r;
        }
        _cleanup_(bio_freep) BIO *bio = BIO_new_mem_buf(m->key_pem, -1);
        _cleanup_(pkey_freep) EVP_PKEY *key =
                bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
        if (!key)
                return openssl_err_set(err, EINVAL, "TLS key: not a PEM private key without passphrase");
        if (SSL_CTX_use_certificate(context, sk_X509_value(chain, 0)) != 1)
                return openssl_err_set(err, EINVAL, "TLS certificate");
        /* The whole chain goes out, the root too, so that a machine that holds nothing but the pin can check.
         */
        for (int i = 1; i < sk_X509_num(chain); i++)
                if (SSL_CTX_add1_chain_cert(context, sk_X509_value(chain, i)) != 1)
                        return openssl_err_set(err, EINVAL, "TLS certificate chain, certificate %d", i + 1);
        if (SSL_CTX_use_PrivateKey(context, key) != 1 || SSL_CTX_check_private_key(context) != 1)
                return openssl_err_set(err, EINVAL, "TLS key does not belong to the certificate");
        return 0;
}

static int use_bundle(SSL_CTX *context, const char *bundle_pem, struct err **err) {
        if (!bundle_pem) {
                if (SSL_CTX_set_default_verify_paths(context) != 1)
                        return openssl_err_set(err, EIO, "read the system's trusted certificates");
                return 0;
        }
        _cleanup_(stack_freep) STACK_OF(X509) *roots = NULL;
        int r = cert_parse_pem(bundle_pem, CERT_BUNDLE_MAX, &roots, err);
        if (r < 0) {
                err_wrap(err, "TLS trust bundle");
                return r;
        }
        X509_STORE *store = SSL_CTX_get_cert_store(context);
        for (int i = 0; i < sk_X509_num(roots); i++)
                if (X509_STORE_add_cert(store, sk_X509_value(roots, i)) != 1)
                        return openssl_err_set(err, ENOMEM, "TLS trust bundle, certificate %d", i + 1);
        /* Every certificate of a SPIFFE bundle is an anchor, self-signed or not. */
        (void)X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
        return 0;
}

static int use_server_defaults(SSL_CTX *context, struct err **err) {
        static const unsigned char session_context[] = "skerry";
        SSL_CTX_set_alpn_select_cb(context, on_alpn, NULL);
        /* Resumption by tickets alone: the server keeps nothing. Ticket keys live and die with the context,
         * so a reload ends the resumption of sessions that were verified against older material. */
        (void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
        (void)SSL_CTX_set_num_tickets(context, 1);
        (void)SSL_CTX_set_timeout(context, TICKET_LIFETIME_S);
        if (SSL_CTX_set_session_id_context(context, session_context, sizeof(session_context) - 1) != 1 ||
            SSL_CTX_set_session_ticket_cb(context, on_ticket_made, on_ticket_read, NULL) != 1)
                return openssl_err_set(err, ENOMEM, "TLS session tickets");
        return 0;
}

/* What a context of ours and one that libcurl made have in common. */
static int use_policy(SSL_CTX *context, bool server, struct tls_policy *policy, struct err **err) {
        if (SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
            SSL_CTX_set_ciphersuites(context, CIPHERSUITES) != 1 ||
            SSL_CTX_set1_groups_list(context, GROUPS) != 1)
                return openssl_err_set(err, EIO, "set up TLS 1.3");
        SSL_CTX_set_security_level(context, SECURITY_LEVEL);
        SSL_CTX_set_max_cert_list(context, PEER_CHAIN_BYTES_MAX);
        SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
        int mode = SSL_VERIFY_NONE;
        if (!server || policy->peer == TLS_PEER_OPTIONAL)
                mode = SSL_VERIFY_PEER;
        else if (policy->peer == TLS_PEER_REQUIRED)
                mode = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
        SSL_CTX_set_verify(context, mode, NULL);
        SSL_CTX_set_verify_depth(context, CERT_CHAIN_MAX);
        SSL_CTX_set_cert_verify_callback(context, on_verify, policy);
        return 0;
}

static int check_material(const struct tls_material *m, bool server, struct err **err) {
        if (server && (!m->certificate_pem || !m->key_pem))
                return err_set(err, EINVAL, "a TLS server needs a certificate and its key");
        if (!m->certificate_pem != !m->key_pem)
                return err_set(err, EINVAL, "TLS certificate and key go together, one is missing");
        if (server && m->peer == TLS_PEER_PIN)
                return err_set(err, EINVAL, "a TLS server cannot pin the root of its clients");
        if (server && m->peer != TLS_PEER_NONE && !m->bundle_pem)
                return err_set(err, EINVAL, "a TLS server that checks its clients needs a trust bundle");
        if (!server && m->peer == TLS_PEER_NONE)
                return err_set(err, EINVAL, "a TLS client must check its server");
        if (m->trust_domain && !trust_domain_is_valid(m->trust_domain))
                return err_set(err, EINVAL, "\"%s\" is no trust domain", m->trust_domain);
        return 0;
}

static int policy_new(const struct tls_material *m, struct tls_policy **ret, struct err **err) {
        _cleanup_(policy_freep) struct tls_policy *p = calloc(1, sizeof(*p));
        if (!p)
                return err_set(err, ENOMEM, "out of memory");
        p->peer = m->peer;
        p->check_host = m->check_host;
        p->peer_is_edge = m->peer_is_edge;
        if (m->trust_domain) {
                p->trust_domain = str_dup(m->trust_domain);
                if (!p->trust_domain)
                        return err_set(err, ENOMEM, "out of memory");
        }
        if (m->peer == TLS_PEER_PIN &&
            (!m->pin || hex_decode(m->pin, strlen(m->pin), p->pin, sizeof(p->pin)) < 0))
                return err_set(err, EINVAL, "a pin is the SHA-256 of the root's public key in hex: \"%s\"",
                               m->pin ? m->pin : "");
        *ret = TAKE_PTR(p);
        return 0;
}

static bool policy_equal(const struct tls_policy *a, const struct tls_policy *b) {
        return a->peer == b->peer && a->check_host == b->check_host && a->peer_is_edge == b->peer_is_edge &&
               str_eq(a->trust_domain, b->trust_domain) && memcmp(a->pin, b->pin, sizeof(a->pin)) == 0;
}

int tls_config_reload(struct tls_config *c, const struct tls_material *m, struct err **err) {
        int r = check_material(m, c->server, err);
        if (r < 0)
                return r;
        _cleanup_(policy_freep) struct tls_policy *fresh = NULL;
        r = policy_new(m, &fresh, err);
        if (r < 0)
                return r;
        struct tls_policy *policy = fresh;
        for (struct tls_policy *p = c->policies; p; p = p->older)
                if (policy_equal(p, fresh))
                        policy = p;

        ERR_clear_error();
        _cleanup_(context_freep) SSL_CTX *context =
                SSL_CTX_new(c->server ? TLS_server_method() : TLS_client_method());
        if (!context)
                return openssl_err_set(err, ENOMEM, "make a TLS context");
        r = use_policy(context, c->server, policy, err);
        if (r >= 0 && c->server)
                r = use_server_defaults(context, err);
        if (r >= 0 && m->certificate_pem)
                r = use_identity(context, m, err);
        if (r >= 0 && m->peer != TLS_PEER_NONE && m->peer != TLS_PEER_PIN)
                r = use_bundle(context, m->bundle_pem, err);
        if (r < 0)
                return r;
        /* A socket takes what it takes; what is left is sent from wherever it then lies. */
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);

        SSL_CTX_free(c->context);
        c->context = TAKE_PTR(context);
        c->policy = policy;
        if (policy == fresh) {
                fresh->older = c->policies;
                c->policies = TAKE_PTR(fresh);
        }
        return 0;
}

static int config_new(const struct tls_material *m, bool server, struct tls_config **ret, struct err **err) {
        struct tls_config *c = calloc(1, sizeof(*c));
        if (!c)
                return err_set(err, ENOMEM, "out of memory");
        c->references = 1;
        c->server = server;
        int r = tls_config_reload(c, m, err);
        if (r < 0) {
                tls_config_free(c);
                return r;
        }
        *ret = c;
        return 0;
}

int tls_server_new(const struct tls_material *m, struct tls_config **ret, struct err **err) {
        return config_new(m, true, ret, err);
}

int tls_client_new(const struct tls_material *m, struct tls_config **ret, struct err **err) {
        return config_new(m, false, ret, err);
}

struct tls_config *tls_config_ref(struct tls_config *c) {
        c->references++;
        return c;
}

struct tls_config *tls_config_free(struct tls_config *c) {
        if (!c || --c->references > 0)
                return NULL;
        SSL_CTX_free(c->context);
        while (c->policies) {
                struct tls_policy *older = c->policies->older;
                policy_free(c->policies);
                c->policies = older;
        }
        free(c);
        return NULL;
}

SSL_CTX *tls_config_context(struct tls_config *c) {
        return c->context;
}

bool tls_config_checks_host(const struct tls_config *c) {
        return c->policy->check_host;
}

int tls_client_apply(struct tls_config *c, SSL_CTX *context, struct err **err) {
        int r = use_policy(context, false, c->policy, err);
        if (r < 0)
                return r;
        SSL_CTX_set1_cert_store(context, SSL_CTX_get_cert_store(c->context));
        X509 *leaf = SSL_CTX_get0_certificate(c->context);
        if (!leaf)
                return 0;
        STACK_OF(X509) *chain = NULL;
        (void)SSL_CTX_get0_chain_certs(c->context, &chain);
        if (SSL_CTX_use_certificate(context, leaf) != 1 || SSL_CTX_set1_chain(context, chain) != 1 ||
            SSL_CTX_use_PrivateKey(context, SSL_CTX_get0_privatekey(c->context)) != 1)
                return openssl_err_set(err, EINVAL, "TLS certificate");
        return 0;
}

/* ---- the peer */

static const X509 *verified_peer(SSL *ssl) {
        return SSL_get_verify_result(ssl) == X509_V_OK ? SSL_get0_peer_certificate(ssl) : NULL;
}

char *tls_peer_spiffe_id(SSL *ssl) {
        const X509 *x = verified_peer(ssl);
        char *id = NULL;
        if (!x || cert_check_svid_leaf(x, NULL, &id, NULL) < 0)
                return NULL;
        return id;
}

char *tls_peer_serial(SSL *ssl) {
        const X509 *x = verified_peer(ssl);
        if (!x)
                return NULL;
        const ASN1_INTEGER *serial = X509_get0_serialNumber(x);
        int n = ASN1_STRING_length(serial);
        char *text = n > 0 ? malloc(2 * (size_t)n + 1) : NULL;
        if (text)
                hex_encode(ASN1_STRING_get0_data(serial), (size_t)n, text);
        return text;
}

msec_t tls_peer_not_after(SSL *ssl) {
        const X509 *x = verified_peer(ssl);
        return x ? cert_time_ms(X509_get0_notAfter(x)) : 0;
}

static void empty_stack(STACK_OF(X509) * s) {
        while (s && sk_X509_num(s) > 0)
                X509_free(sk_X509_pop(s));
}

void tls_forget_peer(SSL *ssl) {
        /* OpenSSL has no call for this. The stacks are the connection's own and are only ever read again to
         * make a ticket (out of the leaf alone, on a server) or for callers who ask for them; tickets went
         * out with the handshake. */
        empty_stack(SSL_get_peer_cert_chain(ssl));
        empty_stack(SSL_get0_verified_chain(ssl));
        /* The leaf must stay, but its decoded key, 2 KB with the curve, may be one that is there anyway. */
        X509 *leaf = SSL_get0_peer_certificate(ssl);
        EVP_PKEY *ours = SSL_get_privatekey(ssl);
        if (leaf && ours)
                (void)X509_set_pubkey(leaf, ours);
        ERR_clear_error();
}
