/* SPDX-License-Identifier: Apache-2.0 */
/* TLS 1.3 contexts: mutual authentication with SPIFFE identities, session resumption, hot reload.
 *
 * A `struct tls_config` holds the material; listeners and clients hold a reference. tls_config_reload()
 * swaps it under them: new handshakes use the new material, live connections go on. Buffers are given
 * back while a connection is idle (SSL_MODE_RELEASE_BUFFERS). */
#pragma once

#include <openssl/ssl.h>

#include "base/clock.h"
#include "base/err.h"

enum tls_peer_check {
        TLS_PEER_NONE,     /* server only: do not ask for a certificate (API listener) */
        TLS_PEER_OPTIONAL, /* ask; a certificate that is shown must verify (edge listener: enrolment) */
        TLS_PEER_REQUIRED,
        TLS_PEER_PIN, /* client only: accept the chain that ends in the root with `pin` */
};

struct tls_material {
        const char *certificate_pem; /* chain, leaf first; NULL for a client without one */
        const char *key_pem;
        const char *bundle_pem; /* roots that peers must chain to; NULL: the system's */
        const char *pin;        /* TLS_PEER_PIN: hex SHA-256 of the root's SubjectPublicKeyInfo */
        enum tls_peer_check peer;
        const char *trust_domain; /* not NULL: the peer's SPIFFE ID must be in it (clients too) */
        bool check_host;          /* client: also match the DNS name or address of the server */
        bool peer_is_edge; /* client: the peer must be a server or relay by its SPIFFE ID. A node chains
                              to the same roots, but does not speak for the edge */
};

struct tls_config;
int tls_server_new(const struct tls_material *m, struct tls_config **ret, struct err **err);
int tls_client_new(const struct tls_material *m, struct tls_config **ret, struct err **err);
int tls_config_reload(struct tls_config *c, const struct tls_material *m, struct err **err);
struct tls_config *tls_config_ref(struct tls_config *c);
struct tls_config *tls_config_free(struct tls_config *c); /* drops a reference */
DEFINE_CLEANUP(struct tls_config, tls_config_free)

SSL_CTX *tls_config_context(struct tls_config *c); /* the one for new handshakes, borrowed */
bool tls_config_checks_host(const struct tls_config *c);
/* Applies the config to a context made by somebody else (libcurl's CURLOPT_SSL_CTX_FUNCTION), which must not
 * outlive the config. check_host is left to the caller, who knows the host. */
int tls_client_apply(struct tls_config *c, SSL_CTX *context, struct err **err);

/* The verified peer's SPIFFE ID (malloc'ed), or NULL when it showed no certificate. */
char *tls_peer_spiffe_id(SSL *ssl);
/* Serial number (hex, malloc'ed) of the verified peer's certificate, or NULL. */
char *tls_peer_serial(SSL *ssl);
/* When the verified peer's certificate ends, or 0 where there is none. */
msec_t tls_peer_not_after(SSL *ssl);
/* Lets go of the peer's certificates, several KB of a connection; call it when ID and serial were taken. */
void tls_forget_peer(SSL *ssl);
