/* SPDX-License-Identifier: Apache-2.0 */
/* What age and SOPS are made of, from OpenSSL; for those two alone. All return 0 or -Exxx. */
#pragma once

#include "base/macros.h"

#define X25519_SIZE 32
#define AEAD_TAG_SIZE 16
#define CHACHA_KEY_SIZE 32
#define CHACHA_NONCE_SIZE 12

int x25519_public(const uint8_t private_key[X25519_SIZE], uint8_t ret[X25519_SIZE]);
/* -EKEYREJECTED: the point is of low order, so the shared secret would be zero. */
int x25519_shared(const uint8_t private_key[X25519_SIZE], const uint8_t public_key[X25519_SIZE],
                  uint8_t ret[X25519_SIZE]);
/* RFC 5869 with SHA-256; 32 bytes. */
int hkdf_sha256(const void *key, size_t key_len, const void *salt, size_t salt_len, const char *info,
                uint8_t ret[32]);
/* out: n + AEAD_TAG_SIZE bytes. */
int chacha20_poly1305_seal(const uint8_t key[CHACHA_KEY_SIZE], const uint8_t nonce[CHACHA_NONCE_SIZE],
                           const void *data, size_t n, uint8_t *out);
/* n counts the tag; out: n - AEAD_TAG_SIZE bytes. -EBADMSG: the tag does not fit; out is wiped then. */
int chacha20_poly1305_open(const uint8_t key[CHACHA_KEY_SIZE], const uint8_t nonce[CHACHA_NONCE_SIZE],
                           const void *data, size_t n, uint8_t *out);
/* AES-256 in GCM with a nonce of any length from 1 to 128 and additional data; the tag stands apart. */
int aes256_gcm_seal(const uint8_t key[32], const void *nonce, size_t nonce_len, const char *additional,
                    const void *data, size_t n, uint8_t *out, uint8_t tag[AEAD_TAG_SIZE]);
int aes256_gcm_open(const uint8_t key[32], const void *nonce, size_t nonce_len, const char *additional,
                    const void *data, size_t n, const uint8_t tag[AEAD_TAG_SIZE], uint8_t *out);
