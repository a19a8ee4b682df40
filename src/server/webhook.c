/* SPDX-License-Identifier: Apache-2.0 */
#include "server/webhook.h"

#include <errno.h>
#include <string.h>

#include "base/encode.h"
#include "base/str.h"
#include "codec/json.h"
#include "crypto/digest.h"

static const struct host {
        const char *name;
        struct webhook_headers headers;
        const char *push, *tag; /* values of the event header */
} hosts[] = {
        [WEBHOOK_GITHUB] = {"github",
                            {"x-hub-signature-256", "x-github-event", "x-github-delivery"},
                            "push",
                            "push"},
        [WEBHOOK_GITLAB] = {"gitlab",
                            {"x-gitlab-token", "x-gitlab-event", "x-gitlab-event-uuid"},
                            "Push Hook",
                            "Tag Push Hook"},
        [WEBHOOK_GITEA] = {"gitea",
                           {"x-gitea-signature", "x-gitea-event", "x-gitea-delivery"},
                           "push",
                           "push"},
};

int webhook_host_from_name(const char *name, enum webhook_host *ret) {
        for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
                if (str_eq(hosts[i].name, name)) {
                        *ret = (enum webhook_host)i;
                        return 0;
                }
        return -EINVAL;
}

const struct webhook_headers *webhook_headers(enum webhook_host host) {
        return &hosts[host].headers;
}

/* By their digests, so that not even the length is told. */
static bool secrets_equal(const char *a, const char *b) {
        uint8_t x[SHA256_SIZE], y[SHA256_SIZE];
        sha256_of(a, strlen(a), x);
        sha256_of(b, strlen(b), y);
        return bytes_equal_constant_time(x, y, sizeof(x));
}

bool webhook_signature_is_valid(enum webhook_host host, const char *signature, const char *secret,
                                const char *body, size_t len) {
        uint8_t shown[SHA256_SIZE], right[SHA256_SIZE];
        if (str_is_empty(secret) || !signature)
                return false;
        if (host == WEBHOOK_GITLAB)
                return secrets_equal(signature, secret);
        const char *hex = host == WEBHOOK_GITHUB ? str_after_prefix(signature, "sha256=") : signature;
        if (!hex || hex_decode(hex, strlen(hex), shown, sizeof(shown)) < 0)
                return false;
        hmac_sha256(secret, strlen(secret), body, len, right);
        return bytes_equal_constant_time(shown, right, sizeof(right));
}

static bool ref_is_followed(const char *ref, const struct webhook_follows *follows) {
        const char *name = str_after_prefix(ref, follows->tags ? "refs/tags/" : "refs/heads/");
        if (!name)
                return false;
        if (follows->tags)
                return !follows->prefix || str_has_prefix(name, follows->prefix);
        return !follows->branch || str_eq(name, follows->branch);
}

int webhook_judge(enum webhook_host host, const char *event, const struct webhook_follows *follows,
                  const char *body, size_t len, enum webhook_verdict *ret, struct err **err) {
        json_t *j = NULL;
        const char *ref = NULL;
        if (event && !str_eq(event, follows->tags ? hosts[host].tag : hosts[host].push)) {
                *ret = WEBHOOK_IGNORE;
                return 0;
        }
        int r = json_decode(body, len, &j, err);
        if (r < 0)
                return r;
        r = json_read_string(j, "ref", &ref, err);
        if (r >= 0)
                *ret = ref_is_followed(ref, follows) ? WEBHOOK_FETCH : WEBHOOK_IGNORE;
        json_decref(j);
        return r;
}
