/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/age_primitives.h"

#include <errno.h>
#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <string.h>

int x25519_public(const uint8_t private_key[X25519_SIZE], uint8_t ret[X25519_SIZE]) {
        size_t n = X25519_SIZE;
        EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, private_key, X25519_SIZE);
        bool ok = key && EVP_PKEY_get_raw_public_key(key, ret, &n) == 1 && n == X25519_SIZE;
        EVP_PKEY_free(key);
        ERR_clear_error();
        return ok ? 0 : -EIO;
}

int x25519_shared(const uint8_t private_key[X25519_SIZE], const uint8_t public_key[X25519_SIZE],
                  uint8_t ret[X25519_SIZE]) {
        size_t n = X25519_SIZE;
        uint8_t any = 0;
        EVP_PKEY *ours = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, private_key, X25519_SIZE);
        EVP_PKEY *theirs = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, public_key, X25519_SIZE);
        EVP_PKEY_CTX *context = ours && theirs ? EVP_PKEY_CTX_new(ours, NULL) : NULL;
        bool ready = context && EVP_PKEY_derive_init(context) == 1 &&
                     EVP_PKEY_derive_set_peer(context, theirs) == 1;
        /* Of a point of low order OpenSSL derives nothing. */
        bool ok = ready && EVP_PKEY_derive(context, ret, &n) == 1 && n == X25519_SIZE;
        for (size_t i = 0; ok && i < X25519_SIZE; i++)
                any |= ret[i];
        EVP_PKEY_CTX_free(context);
        EVP_PKEY_free(ours);
        EVP_PKEY_free(theirs);
        ERR_clear_error();
        if (!ready)
                return -EIO;
        return ok && any ? 0 : -EKEYREJECTED;
}

int hkdf_sha256(const void *key, size_t key_len, const void *salt, size_t salt_len, const char *info,
                uint8_t ret[32]) {
        EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
        EVP_KDF_CTX *context = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
        char digest[] = "SHA256";
        OSSL_PARAM parameters[5], *p = parameters;
        *p++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
        *p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)key, key_len);
        if (salt_len > 0)
                *p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)salt,
                                                         salt_len);
        *p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)info, strlen(info));
        *p = OSSL_PARAM_construct_end();
        bool ok = context && EVP_KDF_derive(context, ret, 32, parameters) == 1;
        EVP_KDF_CTX_free(context);
        EVP_KDF_free(kdf);
        ERR_clear_error();
        return ok ? 0 : -EIO;
}

struct aead {
        const EVP_CIPHER *cipher;
        const uint8_t *key;
        const void *nonce;
        size_t nonce_len;
        const char *additional;
};

static bool aead_begin(const struct aead *a, EVP_CIPHER_CTX *c, bool seal) {
        int ignored, enc = seal ? 1 : 0;
        return EVP_CipherInit_ex(c, a->cipher, NULL, NULL, NULL, enc) == 1 &&
               EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_IVLEN, (int)a->nonce_len, NULL) == 1 &&
               EVP_CipherInit_ex(c, NULL, NULL, a->key, a->nonce, enc) == 1 &&
               (!a->additional || EVP_CipherUpdate(c, NULL, &ignored, (const uint8_t *)a->additional,
                                                   (int)strlen(a->additional)) == 1);
}

/* OpenSSL takes no NULL for nothing. */
static bool aead_body(EVP_CIPHER_CTX *c, const void *data, size_t n, uint8_t *out) {
        int done = 0;
        return n == 0 || (EVP_CipherUpdate(c, out, &done, data, (int)n) == 1 && (size_t)done == n);
}

static int aead_seal(const struct aead *a, const void *data, size_t n, uint8_t *out, uint8_t *tag) {
        uint8_t rest[16];
        int ignored;
        if (n > INT_MAX || (a->additional && strlen(a->additional) > INT_MAX))
                return -EMSGSIZE;
        EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
        bool ok = c && aead_begin(a, c, true) && aead_body(c, data, n, out) &&
                  EVP_CipherFinal_ex(c, rest, &ignored) == 1 &&
                  EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_SIZE, tag) == 1;
        EVP_CIPHER_CTX_free(c);
        ERR_clear_error();
        return ok ? 0 : -EIO;
}

static int aead_open(const struct aead *a, const void *data, size_t n, const uint8_t *tag, uint8_t *out) {
        uint8_t rest[16], expected[AEAD_TAG_SIZE];
        int ignored;
        if (n > INT_MAX || (a->additional && strlen(a->additional) > INT_MAX))
                return -EMSGSIZE;
        memcpy(expected, tag, sizeof(expected));
        EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
        bool ready = c && aead_begin(a, c, false) && aead_body(c, data, n, out) &&
                     EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_SIZE, expected) == 1;
        bool fits = ready && EVP_CipherFinal_ex(c, rest, &ignored) == 1;
        EVP_CIPHER_CTX_free(c);
        ERR_clear_error();
        if (!fits && n > 0)
                explicit_bzero(out, n);
        return fits ? 0 : ready ? -EBADMSG : -EIO;
}

int chacha20_poly1305_seal(const uint8_t key[CHACHA_KEY_SIZE], const uint8_t nonce[CHACHA_NONCE_SIZE],
                           const void *data, size_t n, uint8_t *out) {
        const struct aead a = {EVP_chacha20_poly1305(), key, nonce, CHACHA_NONCE_SIZE, NULL};
        return aead_seal(&a, data, n, out, out + n);
}

int chacha20_poly1305_open(const uint8_t key[CHACHA_KEY_SIZE], const uint8_t nonce[CHACHA_NONCE_SIZE],
                           const void *data, size_t n, uint8_t *out) {
        const struct aead a = {EVP_chacha20_poly1305(), key, nonce, CHACHA_NONCE_SIZE, NULL};
        if (n < AEAD_TAG_SIZE)
                return -EBADMSG;
        n -= AEAD_TAG_SIZE;
        return aead_open(&a, data, n, (const uint8_t *)data + n, out);
}

int aes256_gcm_seal(const uint8_t key[32], const void *nonce, size_t nonce_len, const char *additional,
                    const void *data, size_t n, uint8_t *out, uint8_t tag[AEAD_TAG_SIZE]) {
        const struct aead a = {EVP_aes_256_gcm(), key, nonce, nonce_len, additional};
        return nonce_len < 1 || nonce_len > 128 ? -EINVAL : aead_seal(&a, data, n, out, tag);
}

int aes256_gcm_open(const uint8_t key[32], const void *nonce, size_t nonce_len, const char *additional,
                    const void *data, size_t n, const uint8_t tag[AEAD_TAG_SIZE], uint8_t *out) {
        const struct aead a = {EVP_aes_256_gcm(), key, nonce, nonce_len, additional};
        return nonce_len < 1 || nonce_len > 128 ? -EBADMSG : aead_open(&a, data, n, tag, out);
}
