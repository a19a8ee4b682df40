/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256, SHA-512 (FIPS 180-4), HMAC-SHA-256 (RFC 2104) and comparison in constant time. */
#pragma once

#include "base/macros.h"

#define SHA256_SIZE 32
#define SHA256_HEX_SIZE 65 /* with NUL */

struct sha256; /* a running digest */
struct sha256 *sha256_new(void) _must_use_;
struct sha256 *sha256_free(struct sha256 *s);
DEFINE_CLEANUP(struct sha256, sha256_free)
void sha256_update(struct sha256 *s, const void *p, size_t n);
void sha256_final(struct sha256 *s, uint8_t out[SHA256_SIZE]); /* s may only be freed after */

void sha256_of(const void *p, size_t n, uint8_t out[SHA256_SIZE]);
void sha256_hex(const void *p, size_t n, char out[SHA256_HEX_SIZE]);
#define SHA512_HEX_SIZE 129
void sha512_hex(const void *p, size_t n, char out[SHA512_HEX_SIZE]);
/* 64 lower-case hex digits? */
bool sha256_hex_is_valid(const char *s);
/* Digest of a whole file, streamed. */
int sha256_file_hex(int fd, char out[SHA256_HEX_SIZE]);

void hmac_sha256(const void *key, size_t key_len, const void *p, size_t n, uint8_t out[SHA256_SIZE]);
bool bytes_equal_constant_time(const void *a, const void *b, size_t n);
