/* SPDX-License-Identifier: Apache-2.0 */
/* Text forms of bytes: lower-case hex and base64 (RFC 4648, standard and URL-safe). */
#pragma once

#include "base/macros.h"

/* out needs 2 * n + 1 bytes. */
void hex_encode(const void *p, size_t n, char *out);
/* Exactly 2 * n hex digits (either case) into n bytes; -EINVAL otherwise. */
int hex_decode(const char *s, size_t len, void *out, size_t n);

/* Malloc'ed text; NULL when memory is out. The URL-safe form has no padding. */
char *base64_encode(const void *p, size_t n);
char *base64url_encode(const void *p, size_t n);
/* Either alphabet, padding optional, no blanks. Malloc'ed; -EINVAL, -ENOMEM. */
int base64_decode(const char *s, size_t len, void **ret_data, size_t *ret_len);
