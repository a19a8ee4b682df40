/* SPDX-License-Identifier: Apache-2.0 */
/* P-256 keys: make, keep in PEM files (PKCS#8, optionally under a passphrase), sign and verify. */
#pragma once

#include "base/err.h"

struct key; /* a private key with its public half, or a public key alone */

int key_generate(struct key **ret, struct err **err);
struct key *key_ref(struct key *k);
struct key *key_free(struct key *k); /* drops one reference; takes NULL, returns NULL */
DEFINE_CLEANUP(struct key, key_free)

/* passphrase NULL: plain PKCS#8. With one: PBES2, scrypt + AES-256-CBC. Written 0600, atomically. */
int key_save(const struct key *k, const char *path, const char *passphrase, struct err **err);
int key_load(const char *path, const char *passphrase, struct key **ret, struct err **err);
int key_to_pem(const struct key *k, char **ret_pem, struct err **err); /* private, PKCS#8 */
int key_from_pem(const char *pem, struct key **ret, struct err **err); /* private or public */
/* As key_from_pem(), for a public key as key_public_pem() writes it. A P-256 key takes 0.02 ms rather than
 * the 0.4 of OpenSSL's decoders: for those who read one for every signature. */
int key_from_public_pem(const char *pem, struct key **ret, struct err **err);
int key_public_pem(const struct key *k, char **ret_pem, struct err **err); /* SubjectPublicKeyInfo */

/* Hex SHA-256 of the DER SubjectPublicKeyInfo: names a key. */
int key_id(const struct key *k, char out[65], struct err **err);

/* ECDSA with SHA-256 over the message; DER signature in standard base64. */
int key_sign(const struct key *k, const void *message, size_t n, char **ret_base64, struct err **err);
/* 0, or -EKEYREJECTED when the signature does not fit, -EINVAL when it cannot be read. */
int key_verify(const struct key *k, const void *message, size_t n, const char *signature_base64,
               struct err **err);

/* The OpenSSL EVP_PKEY inside, borrowed; for crypto/ and net/ only. */
void *key_evp(const struct key *k);
