/* SPDX-License-Identifier: Apache-2.0 */
#include "base/encode.h"

#include <errno.h>

void hex_encode(const void *p, size_t n, char *out) {
        static const char digits[] = "0123456789abcdef";
        const uint8_t *bytes = p;
        for (size_t i = 0; i < n; i++) {
                *out++ = digits[bytes[i] >> 4];
                *out++ = digits[bytes[i] & 15];
        }
        *out = '\0';
}

static int hex_digit(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

int hex_decode(const char *s, size_t len, void *out, size_t n) {
        if (len % 2 != 0 || len / 2 != n)
                return -EINVAL;
        for (size_t i = 0; i < len; i++)
                if (hex_digit(s[i]) < 0)
                        return -EINVAL; /* before anything is written */
        uint8_t *bytes = out;
        for (size_t i = 0; i < n; i++)
                bytes[i] = (uint8_t)((unsigned)hex_digit(s[2 * i]) << 4 | (unsigned)hex_digit(s[2 * i + 1]));
        return 0;
}

static char *base64_with(const char *digits, bool pad, const uint8_t *p, size_t n) {
        if (n > SIZE_MAX / 2)
                return NULL;
        char *out = malloc((n + 2) / 3 * 4 + 1), *at = out;
        if (!out)
                return NULL;
        size_t i = 0;
        for (; n - i >= 3; i += 3) {
                uint32_t v = (uint32_t)p[i] << 16 | (uint32_t)p[i + 1] << 8 | p[i + 2];
                *at++ = digits[v >> 18];
                *at++ = digits[v >> 12 & 63];
                *at++ = digits[v >> 6 & 63];
                *at++ = digits[v & 63];
        }
        if (i < n) {
                uint32_t v = (uint32_t)p[i] << 16 | (n - i == 2 ? (uint32_t)p[i + 1] << 8 : 0);
                *at++ = digits[v >> 18];
                *at++ = digits[v >> 12 & 63];
                if (n - i == 2)
                        *at++ = digits[v >> 6 & 63];
                else if (pad)
                        *at++ = '=';
                if (pad)
                        *at++ = '=';
        }
        *at = '\0';
        return out;
}

char *base64_encode(const void *p, size_t n) {
        return base64_with("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", true, p, n);
}

char *base64url_encode(const void *p, size_t n) {
        return base64_with("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", false, p, n);
}

static int base64_digit(char c) {
        if (c >= 'A' && c <= 'Z')
                return c - 'A';
        if (c >= 'a' && c <= 'z')
                return c - 'a' + 26;
        if (c >= '0' && c <= '9')
                return c - '0' + 52;
        if (c == '+' || c == '-')
                return 62;
        if (c == '/' || c == '_')
                return 63;
        return -1;
}

int base64_decode(const char *s, size_t len, void **ret_data, size_t *ret_len) {
        size_t padding = 0;
        while (padding < 2 && len > 0 && s[len - 1] == '=') {
                len--;
                padding++;
        }
        if (len % 4 == 1 || (padding > 0 && (len + padding) % 4 != 0))
                return -EINVAL;
        size_t n = len / 4 * 3 + (len % 4 > 0 ? len % 4 - 1 : 0);
        _cleanup_(x_freep) uint8_t *out = malloc(n + 1);
        if (!out)
                return -ENOMEM;
        uint32_t bits = 0, n_bits = 0;
        size_t at = 0;
        for (size_t i = 0; i < len; i++) {
                int digit = base64_digit(s[i]);
                if (digit < 0)
                        return -EINVAL;
                bits = (bits << 6 | (uint32_t)digit) & 0xfff;
                n_bits += 6;
                if (n_bits >= 8) {
                        n_bits -= 8;
                        out[at++] = (uint8_t)(bits >> n_bits);
                }
        }
        if (bits & ((1u << n_bits) - 1)) /* left-over bits: two texts would mean the same bytes */
                return -EINVAL;
        out[at] = 0;
        *ret_data = TAKE_PTR(out);
        *ret_len = at;
        return 0;
}
