/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/digest.h"

#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "base/encode.h"

/* A digest that cannot be computed must never be mistaken for one that was: SHA-256 over memory fails
 * only when memory is out or the library is broken, and then the process stops. */
static void must(int ok) {
        if (!ok)
                abort();
}

struct sha256 {
        EVP_MD_CTX *context;
};

struct sha256 *sha256_new(void) {
        struct sha256 *s = calloc(1, sizeof(*s));
        if (!s)
                return NULL;
        s->context = EVP_MD_CTX_new();
        if (!s->context || EVP_DigestInit_ex(s->context, EVP_sha256(), NULL) != 1)
                return sha256_free(s);
        return s;
}

struct sha256 *sha256_free(struct sha256 *s) {
        if (!s)
                return NULL;
        EVP_MD_CTX_free(s->context);
        free(s);
        return NULL;
}

void sha256_update(struct sha256 *s, const void *p, size_t n) {
        if (n > 0)
                must(EVP_DigestUpdate(s->context, p, n) == 1);
}

void sha256_final(struct sha256 *s, uint8_t out[SHA256_SIZE]) {
        unsigned len = SHA256_SIZE;
        must(EVP_DigestFinal_ex(s->context, out, &len) == 1 && len == SHA256_SIZE);
}

void sha256_of(const void *p, size_t n, uint8_t out[SHA256_SIZE]) {
        unsigned len = SHA256_SIZE;
        must(EVP_Digest(n > 0 ? p : "", n, out, &len, EVP_sha256(), NULL) == 1 && len == SHA256_SIZE);
}

void sha256_hex(const void *p, size_t n, char out[SHA256_HEX_SIZE]) {
        uint8_t digest[SHA256_SIZE];
        sha256_of(p, n, digest);
        hex_encode(digest, sizeof(digest), out);
}

void sha512_hex(const void *p, size_t n, char out[SHA512_HEX_SIZE]) {
        uint8_t digest[64];
        unsigned len = sizeof(digest);
        must(EVP_Digest(n > 0 ? p : "", n, digest, &len, EVP_sha512(), NULL) == 1 && len == sizeof(digest));
        hex_encode(digest, sizeof(digest), out);
}

bool sha256_hex_is_valid(const char *s) {
        if (!s)
                return false;
        for (size_t i = 0; i < SHA256_HEX_SIZE - 1; i++)
                if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f')))
                        return false;
        return s[SHA256_HEX_SIZE - 1] == '\0';
}

int sha256_file_hex(int fd, char out[SHA256_HEX_SIZE]) {
        _cleanup_(sha256_freep) struct sha256 *s = sha256_new();
        if (!s)
                return -ENOMEM;
        _cleanup_(x_freep) char *chunk = malloc(64 * 1024);
        if (!chunk)
                return -ENOMEM;
        off_t offset = 0;
        for (;;) {
                ssize_t n = pread(fd, chunk, 64 * 1024, offset);
                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (n == 0)
                        break;
                sha256_update(s, chunk, (size_t)n);
                offset += n;
        }
        uint8_t digest[SHA256_SIZE];
        sha256_final(s, digest);
        hex_encode(digest, sizeof(digest), out);
        return 0;
}

void hmac_sha256(const void *key, size_t key_len, const void *p, size_t n, uint8_t out[SHA256_SIZE]) {
        unsigned len = SHA256_SIZE;
        must(key_len <= INT_MAX);
        must(HMAC(EVP_sha256(), key_len > 0 ? key : "", (int)key_len, n > 0 ? p : (const void *)"", n, out,
                  &len) &&
             len == SHA256_SIZE);
}

bool bytes_equal_constant_time(const void *a, const void *b, size_t n) {
        return CRYPTO_memcmp(a, b, n) == 0;
}
