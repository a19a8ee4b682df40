/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool str_eq(const char *a, const char *b) {
        return a && b ? strcmp(a, b) == 0 : a == b;
}

const char *str_after_prefix(const char *s, const char *prefix) {
        if (!s)
                return NULL;
        size_t n = strlen(prefix);
        return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

bool str_has_prefix(const char *s, const char *prefix) {
        return str_after_prefix(s, prefix) != NULL;
}

bool str_has_suffix(const char *s, const char *suffix) {
        if (!s)
                return false;
        size_t len = strlen(s), n = strlen(suffix);
        return len >= n && memcmp(s + len - n, suffix, n) == 0;
}

char *str_dup(const char *s) {
        return s ? strdup(s) : NULL;
}

char *str_dup_n(const char *s, size_t n) {
        return s ? strndup(s, n) : NULL;
}

char *str_format(const char *format, ...) {
        va_list ap;
        va_start(ap, format);
        char *text = NULL;
        int n = vasprintf(&text, format, ap);
        va_end(ap);
        return n < 0 ? NULL : text;
}

int str_replace(char **dst, const char *src) {
        char *copy = NULL;
        if (src) {
                copy = strdup(src); /* first: src may lie in *dst */
                if (!copy)
                        return -ENOMEM;
        }
        free(*dst);
        *dst = copy;
        return 0;
}

/* ---- Numbers ---- */

/* The digits at *s, at least one; moves past them. */
static int read_u64(const char **s, uint64_t *ret) {
        uint64_t value = 0;
        const char *p = *s;
        if (*p < '0' || *p > '9')
                return -EINVAL;
        bool over = false;
        for (; *p >= '0' && *p <= '9'; p++)
                over |= __builtin_mul_overflow(value, (uint64_t)10, &value) ||
                        __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value);
        *s = p;
        if (over)
                return -ERANGE;
        *ret = value;
        return 0;
}

int str_to_u64(const char *s, uint64_t *ret) {
        uint64_t value = 0;
        if (!s)
                return -EINVAL;
        int r = read_u64(&s, &value);
        if (r == -EINVAL || *s)
                return -EINVAL;
        if (r < 0)
                return r;
        *ret = value;
        return 0;
}

int str_to_i64(const char *s, int64_t *ret) {
        uint64_t value;
        if (!s)
                return -EINVAL;
        bool negative = *s == '-';
        int r = str_to_u64(s + (negative ? 1 : 0), &value);
        if (r < 0)
                return r;
        if (value > (uint64_t)INT64_MAX + (negative ? 1 : 0))
                return -ERANGE;
        *ret = negative ? (int64_t)(0 - value) : (int64_t)value;
        return 0;
}

static const struct unit {
        const char *name;
        int64_t ms;
} units[] = {
        {"d", INT64_C(86400000)}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};
#define DURATION_MAX (INT64_C(36525) * 86400000) /* a hundred years */

int str_to_duration_ms(const char *s, int64_t *ret_ms) {
        if (str_is_empty(s))
                return -EINVAL;
        uint64_t total = 0;
        bool over = false;
        size_t next_unit = 0;
        for (bool first = true; *s; first = false) {
                uint64_t n = 0;
                int r = read_u64(&s, &n);
                if (r == -EINVAL)
                        return r;
                over |= r < 0 || n > (uint64_t)DURATION_MAX;
                size_t letters = strspn(s, "abcdefghijklmnopqrstuvwxyz");
                size_t u;
                if (letters == 0 && !*s && first)
                        u = 3; /* a bare number: seconds */
                else {
                        /* Each unit once, the larger before the smaller: "5m5m" is a slip. */
                        for (u = next_unit; u < ARRAY_SIZE(units); u++)
                                if (strlen(units[u].name) == letters &&
                                    memcmp(units[u].name, s, letters) == 0)
                                        break;
                        if (u == ARRAY_SIZE(units))
                                return -EINVAL;
                }
                s += letters;
                next_unit = u + 1;
                over |= __builtin_mul_overflow(n, (uint64_t)units[u].ms, &n) ||
                        __builtin_add_overflow(total, n, &total);
        }
        if (over || total > (uint64_t)DURATION_MAX)
                return -ERANGE;
        *ret_ms = (int64_t)total;
        return 0;
}

const char *duration_format(int64_t ms, char *out, size_t size) {
        uint64_t rest = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;
        const char *sign = ms < 0 ? "-" : "";
        for (size_t u = 0; u < ARRAY_SIZE(units); u++) {
                uint64_t n = rest / (uint64_t)units[u].ms;
                if (n == 0)
                        continue;
                uint64_t less = 0;
                if (u + 1 < ARRAY_SIZE(units))
                        less = rest % (uint64_t)units[u].ms / (uint64_t)units[u + 1].ms;
                if (less > 0)
                        (void)snprintf(out, size, "%s%" PRIu64 "%s%" PRIu64 "%s", sign, n, units[u].name,
                                       less, units[u + 1].name);
                else
                        (void)snprintf(out, size, "%s%" PRIu64 "%s", sign, n, units[u].name);
                return out;
        }
        (void)snprintf(out, size, "0s");
        return out;
}

/* ---- Names ---- */

bool name_is_dns_label(const char *s) {
        if (!s)
                return false;
        size_t n = 0;
        for (; s[n]; n++) {
                bool letter_or_digit = (s[n] >= 'a' && s[n] <= 'z') || (s[n] >= '0' && s[n] <= '9');
                if (n >= 63 || (!letter_or_digit && (s[n] != '-' || n == 0)))
                        return false;
        }
        return n > 0 && s[n - 1] != '-';
}

#define DISTANCE_LENGTH_MAX 128

size_t str_distance(const char *a, const char *b, size_t limit) {
        size_t n = strlen(a), m = strlen(b);
        if ((n > m ? n - m : m - n) > limit)
                return limit + 1;
        if (n > DISTANCE_LENGTH_MAX ||
            m > DISTANCE_LENGTH_MAX) /* no slip of the keyboard is looked for there */
                return strcmp(a, b) == 0 ? 0 : limit + 1;
        /* Three rows of the table at a time: row[j] is the distance of a's first i bytes to b's first j. */
        size_t rows[3][DISTANCE_LENGTH_MAX + 1];
        for (size_t j = 0; j <= m; j++)
                rows[0][j] = j;
        for (size_t i = 1; i <= n; i++) {
                size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
                size_t least = row[0] = i;
                for (size_t j = 1; j <= m; j++) {
                        size_t best = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
                        best = MIN(best, MIN(above[j], row[j - 1]) + 1);
                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                                best = MIN(best, before[j - 2] + 1);
                        row[j] = best;
                        least = MIN(least, best);
                }
                if (least > limit)
                        return limit + 1;
        }
        return MIN(rows[n % 3][m], limit + 1);
}

const char *str_nearest(const char *s, const char *const *candidates, size_t n) {
        size_t limit = 1 + strlen(s) / 4, best = limit + 1;
        const char *nearest = NULL;
        for (size_t i = 0; i < n; i++) {
                size_t d = str_distance(s, candidates[i], limit);
                /* A candidate that shares no byte with s is no slip of it, however short both are. */
                if (d < best && d < MAX(strlen(s), strlen(candidates[i]))) {
                        best = d;
                        nearest = candidates[i];
                }
        }
        return nearest;
}

/* ---- Vectors ---- */

char **strv_free(char **v) {
        if (v)
                for (size_t i = 0; v[i]; i++)
                        free(v[i]);
        free(v);
        return NULL;
}

size_t strv_len(char *const *v) {
        size_t n = 0;
        while (v && v[n])
                n++;
        return n;
}

int strv_push(char ***v, const char *s) {
        size_t n = strv_len(*v);
        char *copy = strdup(s);
        if (!copy)
                return -ENOMEM;
        char **grown = realloc(*v, (n + 2) * sizeof(*grown));
        if (!grown) {
                free(copy);
                return -ENOMEM;
        }
        grown[n] = copy;
        grown[n + 1] = NULL;
        *v = grown;
        return 0;
}

char **strv_split(const char *s, const char *separators) {
        size_t n = 0;
        for (const char *p = s + strspn(s, separators); *p; n++) {
                p += strcspn(p, separators);
                p += strspn(p, separators);
        }
        _cleanup_(strv_freep) char **v = calloc(n + 1, sizeof(*v));
        if (!v)
                return NULL;
        n = 0;
        for (const char *p = s + strspn(s, separators); *p; n++) {
                size_t len = strcspn(p, separators);
                v[n] = strndup(p, len);
                if (!v[n])
                        return NULL;
                p += len;
                p += strspn(p, separators);
        }
        return TAKE_PTR(v);
}

bool strv_has(char *const *v, const char *s) {
        for (size_t i = 0; v && v[i]; i++)
                if (strcmp(v[i], s) == 0)
                        return true;
        return false;
}
