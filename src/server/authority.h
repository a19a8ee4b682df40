/* SPDX-License-Identifier: Apache-2.0 */
/* The certificate authority and the key that signs assignments.
 *
 * STATE/ca/root.pem, root.key         10 years; the key is needed only to make the next intermediate
 * STATE/ca/intermediate.pem, .key     2 years; signs every leaf. Made anew when a third of its time
 *                                     is left and the root's key is at hand
 * STATE/ca/assignment.key             signs what nodes are told to run
 *
 * Keys are 0600, or under a passphrase. Who holds which certificate is kept by inventory and relays. */
#pragma once

#include <jansson.h>

#include "crypto/cert.h"

struct authority;

/* Makes the material in a fresh state folder. *ret_pin (65 bytes): SHA-256 of the root's public key. */
int authority_create(const char *state, const char *domain, const char *passphrase, msec_t now,
                     char ret_pin[65], struct err **err);
int authority_open(const char *state, const char *domain, const char *passphrase, int64_t bundle_sequence,
                   msec_t now, struct authority **ret, struct err **err);
/* For servers that run for years: makes the next intermediate when it is due. */
int authority_refresh(struct authority *a, const char *state, const char *passphrase, msec_t now,
                      struct err **err);
struct authority *authority_free(struct authority *a);
DEFINE_CLEANUP(struct authority, authority_free)

const char *authority_domain(const struct authority *a);
const char *authority_roots(const struct authority *a); /* PEM */
const char *authority_pin(const struct authority *a);

/* A leaf for the key: chain with intermediate and root, PEM, malloc'ed. info (may be NULL) is released by
 * the caller. */
int authority_issue(struct authority *a, enum identity_kind kind, const char *name, struct key *subject,
                    const char *const *dns_names, msec_t ttl, msec_t now, char **ret_chain,
                    struct cert_info *ret_info, struct err **err);

/* Checks a renewal: the chain is ours (at most grace_ms past its end), the proof over the request's text
 * is by its key, the request is sound. Hands out whose it is and the new public key. */
struct renewal {
        enum identity_kind kind;
        char *name;
        char serial[41]; /* of the certificate shown */
        struct key *subject;
};
void renewal_done(struct renewal *r);
int authority_check_renewal(struct authority *a, const char *csr, const char *chain, const char *proof,
                            msec_t grace_ms, msec_t now, struct renewal *ret, struct err **err);

/* The protocol's "bundle" body; new reference. */
json_t *authority_bundle(const struct authority *a) _must_use_;
/* {"signed":document,"signatures":[...]}; takes document. NULL when signing fails. */
json_t *authority_sign(struct authority *a, json_t *document) _must_use_;
