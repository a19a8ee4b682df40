/* SPDX-License-Identifier: Apache-2.0 */
/* Push webhooks of GitHub, GitLab and Gitea: is it really the host, and is it our branch? Pure. */
#pragma once

#include "base/err.h"

enum webhook_host { WEBHOOK_GITHUB, WEBHOOK_GITLAB, WEBHOOK_GITEA };
int webhook_host_from_name(const char *name, enum webhook_host *ret); /* -EINVAL */

struct webhook_headers { /* names of the headers that this host uses */
        const char *signature, *event, *delivery;
};
const struct webhook_headers *webhook_headers(enum webhook_host host);

/* github: X-Hub-Signature-256 "sha256=<hex HMAC>"; gitea: X-Gitea-Signature "<hex HMAC>"; gitlab:
 * X-Gitlab-Token, the secret itself. Compared in constant time. An empty secret accepts nothing. */
bool webhook_signature_is_valid(enum webhook_host host, const char *signature, const char *secret,
                                const char *body, size_t len);

enum webhook_verdict {
        WEBHOOK_FETCH,  /* a push to the followed branch, or of a tag where tags are followed */
        WEBHOOK_IGNORE, /* another event, or another ref */
};
struct webhook_follows {
        bool tags;          /* tags count, and branches do not */
        const char *prefix; /* of their names, or NULL */
        const char *branch; /* NULL: any */
};
/* event: value of the event header, or NULL. -EINVAL: the body is no push. */
int webhook_judge(enum webhook_host host, const char *event, const struct webhook_follows *follows,
                  const char *body, size_t len, enum webhook_verdict *ret, struct err **err);
