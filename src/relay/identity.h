/* SPDX-License-Identifier: Apache-2.0 */
/* A relay's own identity: name, key, certificate chain, trust bundle and server, in STATE/identity.json
 * (0600), replaced whole so that key and certificate always belong together. */
#pragma once

#include <jansson.h>

#include "base/clock.h"
#include "base/err.h"
#include "net/tls.h"

struct identity {
        char *name, *trust_domain;
        char *server; /* https://host:port */
        char *key_pem, *certificate_pem, *roots_pem;
        json_t *bundle; /* as the protocol has it */
        int64_t bundle_sequence;
        msec_t not_before, not_after;
        msec_t received_at; /* notBefore lies before that, so that slow clocks can use a certificate at once
                             */
};

struct identity *identity_free(struct identity *i);
DEFINE_CLEANUP(struct identity, identity_free)

/* -ENOENT: this relay has not enrolled yet. */
int identity_load(const char *state, struct identity **ret, struct err **err);
int identity_save(const struct identity *i, const char *state, struct err **err);

/* The body of an enrolment or a renewal, and the new key it is for (PEM). */
int identity_enrol_request(const char *token, const char *name, char **ret_body, char **ret_key_pem,
                           struct err **err);
int identity_renew_request(const struct identity *i, char **ret_body, char **ret_key_pem, struct err **err);
/* The answer to either, checked: the certificate is of a relay, for the key, and chains to the bundle.
 * previous (may be NULL): its name, trust domain and bundle sequence must not be left. */
int identity_from_answer(const char *answer, size_t len, const char *key_pem, const char *server,
                         const struct identity *previous, msec_t now, struct identity **ret,
                         struct err **err);

/* Takes a newer bundle: 0, -ESTALE when it is not newer, -EINVAL. */
int identity_take_bundle(struct identity *i, const json_t *bundle, struct err **err);
/* Half of the certificate's life with us is over at this time. */
msec_t identity_renew_at(const struct identity *i);

/* TLS material borrowed from the identity. */
struct tls_material identity_server_material(const struct identity *i);
struct tls_material identity_client_material(const struct identity *i);
/* Without a certificate: for renewals, which prove themselves and may be late. */
struct tls_material identity_anonymous_material(const struct identity *i);
