/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_target.h"

#include <errno.h>
#include <string.h>

#include "base/encode.h"
#include "base/str.h"

/* One byte at p, encoded or not; how many bytes it took, 0 when broken. */
static size_t decode_byte(const char *p, size_t n, unsigned char *ret) {
        if (p[0] != '%') {
                *ret = (unsigned char)p[0];
                return 1;
        }
        return n >= 3 && hex_decode(p + 1, 2, ret, 1) == 0 ? 3 : 0;
}

static bool has_dot_segment(const char *path) {
        for (const char *p = path; (p = strchr(p, '/'));) {
                p++;
                size_t len = strcspn(p, "/");
                if ((len == 1 && p[0] == '.') || (len == 2 && p[0] == '.' && p[1] == '.'))
                        return true;
        }
        return false;
}

int http_target_path(const char *path, size_t path_len, char *out) {
        size_t len = 0;
        if (path_len == 0 || path[0] != '/')
                return -EINVAL;
        for (size_t i = 0; i < path_len;) {
                unsigned char byte = 0;
                size_t taken = decode_byte(path + i, path_len - i, &byte);
                if (taken == 0 || byte < 0x20 || byte == 0x7f || (taken == 3 && byte == '/'))
                        return -EINVAL;
                out[len++] = (char)byte;
                i += taken;
        }
        out[len] = '\0';
        return has_dot_segment(out) || !utf8_is_valid(out, len) ? -EINVAL : 0;
}

bool http_target_query_is_valid(const char *query) {
        size_t n = strlen(query);
        /* UTF-8 is checked on the raw and on the encoded bytes apart: a sequence is one or the other. */
        if (!utf8_is_valid(query, n))
                return false;
        for (size_t i = 0; i < n;) {
                unsigned char byte = 0;
                size_t taken = decode_byte(query + i, n - i, &byte);
                if (taken == 0 || byte == 0)
                        return false;
                if (taken == 3 && byte >= 0x80) {
                        char sequence[4];
                        size_t expected = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
                        for (size_t k = 0; k < expected; k++) {
                                taken = i < n ? decode_byte(query + i, n - i, &byte) : 0;
                                if (taken != 3)
                                        return false;
                                sequence[k] = (char)byte;
                                i += taken;
                        }
                        if (!utf8_is_valid(sequence, expected))
                                return false;
                        continue;
                }
                i += taken;
        }
        return true;
}

static bool name_is(const char *encoded, size_t n, const char *name) {
        for (size_t i = 0; i < n; name++) {
                unsigned char byte = 0;
                size_t taken = decode_byte(encoded + i, n - i, &byte);
                if (taken == 1 && byte == '+')
                        byte = ' ';
                if (taken == 0 || byte != (unsigned char)*name)
                        return false;
                i += taken;
        }
        return *name == '\0';
}

const char *http_target_query_find(const char *query, const char *name, size_t *ret_len) {
        for (const char *p = query; *p;) {
                size_t len = strcspn(p, "&");
                const char *equals = memchr(p, '=', len);
                size_t name_len = equals ? (size_t)(equals - p) : len;
                if (name_is(p, name_len, name)) {
                        *ret_len = equals ? len - name_len - 1 : 0;
                        return equals ? equals + 1 : p + len;
                }
                p += len;
                if (*p == '&')
                        p++;
        }
        return NULL;
}

void http_target_query_decode(const char *value, size_t len, char *out) {
        for (size_t i = 0; i < len;) {
                unsigned char byte = 0;
                size_t taken = decode_byte(value + i, len - i, &byte);
                if (taken == 0)
                        break; /* not in a valid query */
                *out++ = taken == 1 && byte == '+' ? ' ' : (char)byte;
                i += taken;
        }
        *out = '\0';
}
