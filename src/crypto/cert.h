/* SPDX-License-Identifier: Apache-2.0 */
/* X.509: certificate authority, signing requests, X.509-SVIDs and their verification.
 *
 * Profiles follow the X.509-SVID specification: exactly one URI SAN on a leaf, CA:FALSE, key usage
 * digitalSignature critical, extended key usage serverAuth and clientAuth. CA certificates get unique
 * subjects. Serial numbers are 128 random bits. Times are Unix milliseconds; notBefore is set one
 * hour back so that a node with a slow clock can use what it just got; on a leaf by no more than a tenth of
 * its life, so that half of the time between its dates is about half of its life. */
#pragma once

#include "base/clock.h"
#include "base/err.h"
#include "crypto/key.h"
#include "crypto/spiffe_id.h"

#define CERT_PEM_MAX (64 * 1024) /* longest chain or bundle read from a peer */

struct cert_info {
        char *spiffe_id;      /* NULL when there is no URI SAN */
        char *public_key;     /* SubjectPublicKeyInfo, PEM */
        char serial[41];      /* lower-case hex */
        char fingerprint[65]; /* SHA-256 of the DER */
        msec_t not_before, not_after;
        bool is_ca;
};
void cert_info_done(struct cert_info *i);

/* Self-signed root, 10 years; spiffe://<domain> as URI SAN. PEM malloc'ed. */
int cert_make_root(struct key *k, const char *domain, msec_t now, char **ret_pem, struct err **err);
/* Intermediate signed by the root, pathlen 1, 2 years. */
int cert_make_intermediate(struct key *subject, const char *domain, const char *issuer_pem,
                           struct key *issuer_key, msec_t now, char **ret_pem, struct err **err);

/* A signing request carrying the key and a common name; PEM malloc'ed. */
int csr_make(struct key *k, const char *common_name, char **ret_pem, struct err **err);
/* Reads a request (at most 16 KB), checks its self-signature and that its key is P-256 or stronger;
 * hands back the public key. -EINVAL, -EKEYREJECTED. */
int csr_check(const char *csr_pem, struct key **ret_public, struct err **err);

struct cert_request {
        const char *spiffe_id;
        const char *const *dns_names; /* NULL-terminated, may be NULL (servers: names and addresses) */
        msec_t not_after;
};
/* Issues a leaf for the public key; PEM of the leaf alone. */
int cert_issue(struct key *subject_public, const struct cert_request *request, const char *issuer_pem,
               struct key *issuer_key, msec_t now, char **ret_pem, struct err **err);

/* First certificate of the PEM. */
int cert_inspect(const char *pem, struct cert_info *ret, struct err **err);
/* Public key of the first certificate. */
int cert_public_key(const char *pem, struct key **ret, struct err **err);
/* Hex SHA-256 of the DER SubjectPublicKeyInfo of the last certificate: a join token's pin. */
int cert_pin_of_root(const char *pem_chain, char out[65], struct err **err);

/* Verifies chain (leaf first) against the bundle at `now` by the X.509-SVID rules; the leaf's ID must
 * be in `domain`. grace_ms: how long past notAfter is still let through (0: none). Malloc'ed ID.
 * -EKEYREJECTED with the reason. */
int cert_verify_svid(const char *chain_pem, const char *bundle_pem, const char *domain, msec_t now,
                     msec_t grace_ms, char **ret_spiffe_id, struct err **err);
