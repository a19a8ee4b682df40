/* SPDX-License-Identifier: Apache-2.0 */
/* How age writes bytes as text: base64 without padding in headers, PEM lines around whole files. */
#include <errno.h>
#include <string.h>

#include "base/encode.h"
#include "base/str.h"
#include "crypto/age_internal.h"

#define LINE 64       /* columns */
#define LINE_BYTES 48 /* what they hold */

static const char armor_begin[] = "-----BEGIN AGE ENCRYPTED FILE-----",
                  armor_end[] = "-----END AGE ENCRYPTED FILE-----";

static int base64_digit(char c) {
        if (c >= 'A' && c <= 'Z')
                return c - 'A';
        if (c >= 'a' && c <= 'z')
                return c - 'a' + 26;
        if (c >= '0' && c <= '9')
                return c - '0' + 52;
        return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int age_base64_decode(const char *text, size_t len, uint8_t *ret, size_t n) {
        uint32_t held = 0;
        size_t bits = 0, at = 0;
        if (len != (n * 8 + 5) / 6)
                return -EINVAL;
        for (size_t i = 0; i < len; i++) {
                int digit = base64_digit(text[i]);
                if (digit < 0)
                        return -EINVAL;
                held = (held << 6 | (uint32_t)digit) & 0xffff;
                if ((bits += 6) >= 8) {
                        bits -= 8;
                        ret[at++] = (uint8_t)(held >> bits);
                }
        }
        return (held & ((1u << bits) - 1)) == 0 ? 0 : -EINVAL;
}

int age_base64_append(struct buf *out, const void *data, size_t n) {
        _cleanup_(x_freep) char *text = base64_encode(data, n);
        if (!text)
                return out->failed = -ENOMEM;
        return buf_append(out, text, strcspn(text, "="));
}

bool age_is_armored(const char *data, size_t n) {
        while (n > 0 && strchr(" \t\r\n", *data)) {
                data++;
                n--;
        }
        return n >= sizeof(armor_begin) - 1 && memcmp(data, armor_begin, sizeof(armor_begin) - 1) == 0;
}

int age_armor(const void *data, size_t n, struct buf *out) {
        const uint8_t *p = data;
        buf_printf(out, "%s\n", armor_begin);
        for (size_t at = 0; at < n; at += LINE_BYTES) {
                _cleanup_(x_freep) char *line = base64_encode(p + at, MIN(n - at, (size_t)LINE_BYTES));
                if (!line)
                        return -ENOMEM;
                buf_printf(out, "%s\n", line);
        }
        buf_printf(out, "%s\n", armor_end);
        return buf_failed(out);
}

static bool is_blank(const char *p, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (!strchr(" \t\r\n", p[i]))
                        return false;
        return true;
}

/* One line of the body: LINE columns but for the last, padded, canonical. */
static int take_line(const char *line, size_t n, struct buf *out) {
        uint8_t bytes[LINE_BYTES];
        size_t digits = n;
        while (digits > 0 && n - digits < 2 && line[digits - 1] == '=')
                digits--;
        if (n == 0 || n > LINE || n % 4 != 0 || digits % 4 == 1 ||
            age_base64_decode(line, digits, bytes, digits * 6 / 8) < 0)
                return -EBADMSG;
        return buf_append(out, bytes, digits * 6 / 8);
}

int age_unarmor(const char *text, size_t len, struct buf *out, struct err **err) {
        bool begun = false, last = false;
        for (size_t at = 0; at < len;) {
                const char *line = text + at, *end = memchr(line, '\n', len - at);
                size_t n = end ? (size_t)(end - line) : len - at;
                at += n + 1;
                if (n > 0 && line[n - 1] == '\r')
                        n--;
                if (!begun) {
                        if (is_blank(line, n))
                                continue;
                        if (n != sizeof(armor_begin) - 1 || memcmp(line, armor_begin, n) != 0)
                                break;
                        begun = true;
                        continue;
                }
                if (n == sizeof(armor_end) - 1 && memcmp(line, armor_end, n) == 0) {
                        if (at < len && !is_blank(text + at, len - at))
                                return err_set(err, EBADMSG, "age: something follows the end of the armor");
                        return buf_failed(out) ? err_set_errno(err, ENOMEM, "age") : 0;
                }
                if (last || take_line(line, n, out) < 0)
                        return err_set(err, EBADMSG, "age: a line of the armor is not base64 of 64 columns");
                last = n < LINE || line[n - 1] == '=';
        }
        return err_set(err, EBADMSG, "age: the armor %s", begun ? "has no end" : "has no beginning");
}
