/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_range.h"

#include <string.h>
#include <strings.h>

#include "base/str.h"

/* Digits at *p; false when there are none or they do not fit. */
static bool read_number(const char **p, uint64_t *ret) {
        uint64_t n = 0;
        if (**p < '0' || **p > '9')
                return false;
        for (; **p >= '0' && **p <= '9'; ++*p)
                if (__builtin_mul_overflow(n, 10u, &n) ||
                    __builtin_add_overflow(n, (uint64_t)(**p - '0'), &n))
                        return false;
        *ret = n;
        return true;
}

enum http_range_result http_range_parse(const char *value, uint64_t size, uint64_t *ret_first,
                                        uint64_t *ret_last) {
        uint64_t first = 0, last = 0;
        if (!value || strncasecmp(value, "bytes=", 6) != 0)
                return HTTP_RANGE_WHOLE;
        const char *p = value + 6;
        if (*p == '-') { /* the last so many */
                p++;
                if (!read_number(&p, &last) || *p)
                        return HTTP_RANGE_WHOLE;
                if (last == 0 || size == 0)
                        return HTTP_RANGE_UNSATISFIABLE;
                *ret_first = last < size ? size - last : 0;
                *ret_last = size - 1;
                return HTTP_RANGE_PART;
        }
        if (!read_number(&p, &first) || *p++ != '-')
                return HTTP_RANGE_WHOLE;
        if (*p == '\0')
                last = UINT64_MAX;
        else if (!read_number(&p, &last) || *p || last < first)
                return HTTP_RANGE_WHOLE;
        if (first >= size)
                return HTTP_RANGE_UNSATISFIABLE;
        *ret_first = first;
        *ret_last = MIN(last, size - 1);
        return HTTP_RANGE_PART;
}

bool http_etag_matches(const char *if_none_match, const char *etag) {
        size_t len = strlen(etag);
        if (!if_none_match)
                return false;
        if (str_eq(if_none_match, "*"))
                return true;
        for (const char *p = if_none_match; *p;) {
                p += strspn(p, " \t,");
                if (p[0] == 'W' && p[1] == '/')
                        p += 2;
                if (*p != '"')
                        return false;
                const char *end = strchr(++p, '"');
                if (!end)
                        return false;
                if ((size_t)(end - p) == len && memcmp(p, etag, len) == 0)
                        return true;
                p = end + 1;
                p += strspn(p, " \t");
                if (*p && *p != ',')
                        return false;
        }
        return false;
}

bool http_if_range_holds(const char *if_range, const char *etag) {
        if (!if_range)
                return true;
        size_t len = strlen(etag);
        return if_range[0] == '"' && strncmp(if_range + 1, etag, len) == 0 &&
               str_eq(if_range + 1 + len, "\"");
}
