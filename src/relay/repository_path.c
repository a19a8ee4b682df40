/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/repository_path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/str.h"

#define DIGEST_LEN (SHA256_HEX_SIZE - 1)

/* 64 hex digits at p, copied. */
static bool take_digest(const char *p, char out[SHA256_HEX_SIZE]) {
        if (strnlen(p, DIGEST_LEN) < DIGEST_LEN)
                return false;
        memcpy(out, p, DIGEST_LEN);
        out[DIGEST_LEN] = '\0';
        return sha256_hex_is_valid(out);
}

/* "ab/" before a digest that begins with ab; what follows the slash, or NULL. */
static const char *after_shard(const char *p) {
        return strnlen(p, 5) == 5 && p[2] == '/' && p[0] == p[3] && p[1] == p[4] ? p + 3 : NULL;
}

static int parse_metadata(const char *name, struct repository_path *p) {
        size_t digits = strspn(name, "0123456789");
        if (str_eq(name, "timestamp.json")) {
                p->kind = REPOSITORY_TIMESTAMP;
                return 0;
        }
        char number[20];
        if (digits == 0 || digits >= sizeof(number) - 1 || name[0] == '0' || name[digits] != '.')
                return -ENOENT;
        memcpy(number, name, digits);
        number[digits] = '\0';
        const char *role = name + digits + 1;
        if (strchr(role, '/') || !str_has_suffix(role, ".json") || strlen(role) <= strlen(".json") ||
            str_to_i64(number, &p->version) < 0)
                return -ENOENT;
        p->kind = str_eq(role, "root.json") ? REPOSITORY_ROOT : REPOSITORY_METADATA;
        p->immutable = true;
        /* A role may have any name; an entity tag not. */
        char digest[SHA256_HEX_SIZE];
        sha256_hex(name, strlen(name), digest);
        (void)snprintf(p->etag, sizeof(p->etag), "%s-%.16s", number, digest);
        return 0;
}

static int parse_target(const char *rest, struct repository_path *p) {
        const char *slash = strrchr(rest, '/'), *name = slash ? slash + 1 : rest;
        if (!take_digest(name, p->sha256) || name[DIGEST_LEN] != '.' || !name[DIGEST_LEN + 1])
                return -ENOENT;
        p->kind = REPOSITORY_TARGET;
        p->immutable = true;
        (void)snprintf(p->etag, sizeof(p->etag), "%s", p->sha256);
        return 0;
}

static int parse_chunks(const char *rest, struct repository_path *p) {
        const char *name = after_shard(rest);
        if (!name || !take_digest(name, p->sha256))
                return -ENOENT;
        if (str_eq(name + DIGEST_LEN, ".index"))
                p->kind = REPOSITORY_INDEX;
        else if (str_eq(name + DIGEST_LEN, ".pack"))
                p->kind = REPOSITORY_PACK;
        else
                return -ENOENT;
        p->immutable = true;
        (void)snprintf(p->etag, sizeof(p->etag), "%s", name);
        return 0;
}

static int parse_delta(const char *rest, struct repository_path *p) {
        const char *name = after_shard(rest);
        if (!name || !take_digest(name, p->sha256))
                return -ENOENT;
        const char *end = name + DIGEST_LEN;
        if (str_eq(end, ".json")) {
                p->kind = REPOSITORY_DELTA_LIST;
                return 0;
        }
        if (end[0] != '/' || !take_digest(end + 1, p->from) || !str_eq(end + 1 + DIGEST_LEN, ".delta"))
                return -ENOENT;
        p->kind = REPOSITORY_DELTA;
        p->immutable = true;
        (void)snprintf(p->etag, sizeof(p->etag), "%s-%s", p->sha256, p->from);
        return 0;
}

int repository_path_parse(const char *path, struct repository_path *ret) {
        static const struct {
                const char *prefix;
                int (*parse)(const char *rest, struct repository_path *p);
        } folders[] = {
                {"metadata/", parse_metadata},
                {"targets/", parse_target},
                {"chunks/", parse_chunks},
                {"deltas/", parse_delta},
        };
        if (!path || !path_is_beneath(path) || strlen(path) > REPOSITORY_PATH_MAX)
                return -EINVAL;
        for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
                const char *rest = str_after_prefix(path, folders[i].prefix);
                if (!rest)
                        continue;
                struct repository_path p = {0};
                int r = folders[i].parse(rest, &p);
                if (r >= 0)
                        *ret = p;
                return r;
        }
        return -ENOENT;
}

char *repository_url(const char *base, const char *path) {
        static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/";
        struct buf b = BUF_INIT;
        size_t len = strlen(base);
        while (len > 0 && base[len - 1] == '/')
                len--;
        (void)buf_append(&b, base, len);
        (void)buf_putc(&b, '/');
        for (const char *p = path; *p; p++)
                if (strchr(plain, *p))
                        (void)buf_putc(&b, *p);
                else /* '+' too: some object stores read it as a blank */
                        (void)buf_printf(&b, "%%%02X", (unsigned)(unsigned char)*p);
        if (buf_failed(&b) < 0) {
                buf_done(&b);
                return NULL;
        }
        return b.data;
}
