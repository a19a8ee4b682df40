/* SPDX-License-Identifier: Apache-2.0 */
/* Paths and names of repo/tuf/metadata.h: which delegation may speak of a target, names of roles in files. */
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/str.h"
#include "crypto/digest.h"
#include "repo/tuf/metadata.h"

struct text {
        const char *p, *end;
};

/* The next character; text that is no UTF-8 counts by bytes. */
static uint32_t next(struct text *t) {
        uint32_t c = 0;
        size_t n = utf8_decode(t->p, (size_t)(t->end - t->p), &c);
        if (n == 0) {
                n = 1;
                c = (unsigned char)*t->p;
        }
        t->p += n;
        return c;
}

/* The pattern stands behind a '['. 1: c is in the set, 0: it is not (the pattern then stands behind the ']'),
 * -1: there is no ']', so the '[' stood for itself. */
static int match_set(struct text *pattern, uint32_t c) {
        struct text p = *pattern;
        bool negated = p.p < p.end && *p.p == '!', in = false, first = true;
        if (negated)
                p.p++;
        for (;; first = false) {
                if (p.p >= p.end)
                        return -1;
                if (*p.p == ']' && !first)
                        break;
                uint32_t low = next(&p), high = low;
                if (p.end - p.p >= 2 && *p.p == '-' && p.p[1] != ']') {
                        p.p++;
                        high = next(&p);
                }
                if (c >= low && c <= high)
                        in = true;
        }
        pattern->p = p.p + 1;
        return in != negated;
}

/* One character of the text against what the pattern has next (no '*'). */
static bool match_one(struct text *pattern, struct text *s) {
        uint32_t c = next(s);
        uint32_t want = next(pattern);
        if (want == '?')
                return true;
        if (want == '[') {
                int in = match_set(pattern, c);
                if (in >= 0)
                        return in == 1;
        }
        return want == c;
}

/* Between two slashes. Of all stars only the last one met is ever tried again, which is enough. */
static bool match_segment(struct text pattern, struct text s) {
        struct text star = {NULL, NULL}, retry = s;
        while (s.p < s.end) {
                if (pattern.p < pattern.end && *pattern.p == '*') {
                        pattern.p++;
                        star = pattern;
                        retry = s;
                        continue;
                }
                if (pattern.p < pattern.end && match_one(&pattern, &s))
                        continue;
                if (!star.p)
                        return false;
                (void)next(&retry);
                pattern = star;
                s = retry;
        }
        while (pattern.p < pattern.end && *pattern.p == '*')
                pattern.p++;
        return pattern.p == pattern.end;
}

bool tuf_pattern_matches(const char *pattern, const char *path) {
        for (;;) {
                struct text p = {pattern, strchrnul(pattern, '/')}, s = {path, strchrnul(path, '/')};
                if (!*p.end != !*s.end || !match_segment(p, s))
                        return false;
                if (!*p.end)
                        return true;
                pattern = p.end + 1;
                path = s.end + 1;
        }
}

bool tuf_delegation_covers(const struct tuf_delegation *d, const char *target_path) {
        const json_t *list = d->paths ? d->paths : d->hash_prefixes;
        char digest[SHA256_HEX_SIZE] = "";
        if (!d->paths)
                sha256_hex(target_path, strlen(target_path), digest);
        for (size_t i = 0; i < json_array_size(list); i++) {
                const char *text = json_string_value(json_array_get(list, i));
                if (text &&
                    (d->paths ? tuf_pattern_matches(text, target_path) : str_has_prefix(digest, text)))
                        return true;
        }
        return false;
}

bool tuf_target_path_is_valid(const char *s) {
        return path_is_beneath(s) && strlen(s) <= TUF_TARGET_PATH_MAX && utf8_is_valid(s, strlen(s));
}

char *tuf_role_quote(const char *role) {
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        for (const char *c = role; *c; c++)
                if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
                    strchr("_.~-", *c))
                        buf_putc(&out, *c);
                else
                        buf_printf(&out, "%%%02X", (unsigned)(unsigned char)*c);
        return buf_take(&out, NULL);
}
