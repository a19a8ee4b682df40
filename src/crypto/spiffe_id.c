/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/spiffe_id.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"

static const char scheme[] = "spiffe://";

static const char *const kind_names[] = {
        [IDENTITY_NODE] = "node",
        [IDENTITY_RELAY] = "relay",
        [IDENTITY_SERVER] = "server",
        [IDENTITY_USER] = "user",
};

static bool is_domain_char(char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}

static bool is_path_char(char c) {
        return is_domain_char(c) || (c >= 'A' && c <= 'Z');
}

static bool domain_span_is_valid(const char *s, size_t len) {
        if (len == 0 || len > TRUST_DOMAIN_MAX)
                return false;
        for (size_t i = 0; i < len; i++)
                if (!is_domain_char(s[i]))
                        return false;
        return true;
}

bool trust_domain_is_valid(const char *s) {
        return s && domain_span_is_valid(s, strnlen(s, TRUST_DOMAIN_MAX + 1));
}

static bool segment_is_valid(const char *s, size_t len) {
        if (len == 0 || (len == 1 && s[0] == '.') || (len == 2 && s[0] == '.' && s[1] == '.'))
                return false;
        for (size_t i = 0; i < len; i++)
                if (!is_path_char(s[i]))
                        return false;
        return true;
}

/* Where the trust domain ends, after checking the whole. */
static int check(const char *id, const char **ret_domain, size_t *ret_domain_len, struct err **err) {
        if (!id || strnlen(id, SPIFFE_ID_MAX + 1) > SPIFFE_ID_MAX)
                return err_set(err, EINVAL, "SPIFFE ID is longer than %d bytes", SPIFFE_ID_MAX);
        const char *domain = str_after_prefix(id, scheme);
        if (!domain)
                return err_set(err, EINVAL, "\"%s\" is no SPIFFE ID: it must start with %s", id, scheme);
        size_t domain_len = strcspn(domain, "/");
        if (!domain_span_is_valid(domain, domain_len))
                return err_set(
                        err, EINVAL,
                        "SPIFFE ID \"%s\": the trust domain must be 1 to %d of a-z, 0-9, '.', '-', '_'", id,
                        TRUST_DOMAIN_MAX);
        for (const char *p = domain + domain_len; *p;) {
                p++; /* the slash */
                size_t len = strcspn(p, "/");
                if (!segment_is_valid(p, len))
                        return err_set(err, EINVAL,
                                       "SPIFFE ID \"%s\": a path segment must be of a-z, A-Z, 0-9, '.', '-', "
                                       "'_' and not be empty, \".\" or \"..\"",
                                       id);
                p += len;
        }
        *ret_domain = domain;
        *ret_domain_len = domain_len;
        return 0;
}

int spiffe_id_check(const char *id, struct err **err) {
        const char *domain;
        size_t len;
        return check(id, &domain, &len, err);
}

int spiffe_id_parse(const char *id, char **ret_domain, char **ret_path, struct err **err) {
        const char *start;
        size_t len;
        int r = check(id, &start, &len, err);
        if (r < 0)
                return r;
        _cleanup_(x_freep) char *domain = str_dup_n(start, len);
        _cleanup_(x_freep) char *path = str_dup(start + len);
        if (!domain || !path)
                return err_set(err, ENOMEM, "out of memory");
        *ret_domain = TAKE_PTR(domain);
        *ret_path = TAKE_PTR(path);
        return 0;
}

const char *identity_kind_name(enum identity_kind kind) {
        if ((size_t)kind < ARRAY_SIZE(kind_names) && kind_names[kind])
                return kind_names[kind];
        return "other";
}

char *spiffe_id_make(const char *domain, enum identity_kind kind, const char *name) {
        if (kind == IDENTITY_OTHER) /* the name is a whole path, as spiffe_id_member() gives it */
                return str_format("%s%s%s", scheme, domain, name);
        return str_format("%s%s/%s/%s", scheme, domain, identity_kind_name(kind), name);
}

int spiffe_id_member(const char *id, const char *domain, enum identity_kind *ret_kind, char **ret_name) {
        const char *start;
        size_t len;
        if (check(id, &start, &len, NULL) < 0)
                return -EINVAL;
        if (strlen(domain) != len || memcmp(start, domain, len) != 0)
                return -EXDEV;

        const char *path = start + len;
        enum identity_kind kind = IDENTITY_OTHER;
        const char *name = path;
        for (size_t i = 0; i < ARRAY_SIZE(kind_names) && path[0] == '/'; i++) {
                const char *rest = str_after_prefix(path + 1, kind_names[i]);
                if (rest && rest[0] == '/' && !strchr(rest + 1, '/')) {
                        kind = (enum identity_kind)i;
                        name = rest + 1;
                        break;
                }
        }
        char *copy = str_dup(name);
        if (!copy)
                return -ENOMEM;
        *ret_kind = kind;
        *ret_name = copy;
        return 0;
}
