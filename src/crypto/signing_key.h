/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that sign documents, of the kinds TUF names: Ed25519 (RFC 8032), ECDSA on P-256 with SHA-256 (FIPS
 * 186-4, signatures in DER), RSASSA-PSS with SHA-256 (RFC 8017; verified only, keys from 2048 to 8192 bits).
 * Private halves live in PKCS#8 PEM files, under a passphrase where one is given (PBES2, scrypt,
 * AES-256-CBC). A key does not change once made; any thread may use it. */
#pragma once

#include "base/err.h"

enum signing_scheme { SIGNING_ED25519, SIGNING_ECDSA_P256, SIGNING_RSA_PSS };
#define SIGNING_SIGNATURE_MAX 1024 /* bytes: RSA of 8192 bits */

struct signing_key; /* a private key with its public half, or a public key alone */
struct signing_key *signing_key_ref(struct signing_key *k);
struct signing_key *signing_key_free(struct signing_key *k); /* drops one reference */
DEFINE_CLEANUP(struct signing_key, signing_key_free)

/* Not SIGNING_RSA_PSS: -EOPNOTSUPP. */
int signing_key_generate(enum signing_scheme scheme, struct signing_key **ret, struct err **err);
/* Private (passphrase NULL: it must be in the clear) or public. -EKEYREJECTED: of a kind or size that is not
 * taken, or the passphrase is missing or does not open it; -EINVAL: no key. */
int signing_key_from_pem(const char *pem, const char *passphrase, struct signing_key **ret, struct err **err);
int signing_key_from_ed25519(const uint8_t public_key[32], struct signing_key **ret, struct err **err);
/* 0600, atomically. passphrase NULL: in the clear. */
int signing_key_save(const struct signing_key *k, const char *path, const char *passphrase, struct err **err);
int signing_key_load(const char *path, const char *passphrase, struct signing_key **ret, struct err **err);
/* Is the private key in this PEM text under a passphrase? */
bool signing_key_pem_is_encrypted(const char *pem) _pure_;

enum signing_scheme signing_key_scheme(const struct signing_key *k);
bool signing_key_is_private(const struct signing_key *k);
int signing_key_public_pem(const struct signing_key *k, char **ret_pem, struct err **err);
/* Ed25519 alone; -EINVAL for others. */
int signing_key_public_ed25519(const struct signing_key *k, uint8_t ret[32]);
/* Hex SHA-256 of the DER SubjectPublicKeyInfo: the same key gives the same text however it was written. */
int signing_key_fingerprint(const struct signing_key *k, char ret[65], struct err **err);

/* Writes the signature and its length. */
int signing_key_sign(const struct signing_key *k, const void *message, size_t n,
                     uint8_t ret[SIGNING_SIGNATURE_MAX], size_t *ret_len, struct err **err);
/* 0, or -EKEYREJECTED. RSA: salt of any length. */
int signing_key_verify(const struct signing_key *k, const void *message, size_t n, const void *signature,
                       size_t len);
