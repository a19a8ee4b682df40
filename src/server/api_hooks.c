/* SPDX-License-Identifier: Apache-2.0 */
/* Push webhooks. The answer is given before the fetch: Git hosts wait only a few seconds. */
#include "base/log.h"
#include "server/api.h"
#include "server/settings.h"
#include "server/sources.h"
#include "server/webhook.h"

struct hook { /* one that is being read; its signature is not known to be right */
        struct control *control;
        enum webhook_host host;
};

static void refuse(struct http_exchange *x) {
        http_respond_error(x, 401, "unauthorized",
                           "the signature does not fit the secret of such a source (webhookSecretFile)");
}

/* The source that the path names, if it takes webhooks. */
static struct source *source_of(struct control *c, struct http_exchange *x) {
        struct source *s = sources_find(c, http_parameter(x, "source"));
        return s && source_spec(s)->webhook_secret_file ? s : NULL;
}

static void judge(struct control *c, struct http_exchange *x, enum webhook_host host, struct source *s,
                  const char *body, size_t len) {
        _cleanup_(err_freep) struct err *err = NULL;
        const struct webhook_headers *headers = webhook_headers(host);
        enum webhook_verdict verdict;
        const struct source_spec *spec = source_spec(s);
        const struct webhook_follows follows = {spec->tags != NULL, spec->tag_prefix, source_branch(s)};
        if (webhook_judge(host, http_header(x, headers->event), &follows, body, len, &verdict, &err) < 0) {
                http_respond_error(x, 400, "invalid", err_message(err));
                return;
        }
        enum hook_verdict hook = HOOK_REPLAY;
        if (verdict == WEBHOOK_FETCH)
                hook = source_take_hook(s, http_header(x, headers->delivery), body, len);
        if (hook == HOOK_FLOOD) {
                http_set_header(x, "retry-after", "5");
                http_respond_error(x, 429, "too_many",
                                   "too many webhooks for this source; it is looked at soon");
                return;
        }
        bool fetch = hook == HOOK_NEW;
        if (fetch)
                sources_notify(c, s, NULL, NULL);
        json_t *answer = json_object_new();
        json_put(answer, "fetch", json_boolean(fetch));
        api_answer(x, 202, answer);
}

static void check(struct http_exchange *x, const char *body, size_t len, void *arg) {
        struct hook *hook = arg;
        struct control *c = hook->control;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *secret = NULL;
        struct source *s = source_of(c, x);
        if (!s) { /* deleted meanwhile */
                refuse(x);
                return;
        }
        if (settings_read_passphrase(source_spec(s)->webhook_secret_file, &secret, &err) < 0) {
                log_error("a webhook's secret cannot be read", "source", source_name(s), "error",
                          err_message(err), NULL);
                http_respond_error(x, 503, "unavailable", "the webhook's secret cannot be read here");
                return;
        }
        if (!webhook_signature_is_valid(hook->host, http_header(x, webhook_headers(hook->host)->signature),
                                        secret, body, len)) {
                log_warning("a webhook with a wrong signature", "source", source_name(s), "address",
                            http_peer_address(x), NULL);
                refuse(x);
                return;
        }
        judge(c, x, hook->host, s, body, len);
}

static void hook_closed(struct http_exchange *x, void *arg) {
        struct hook *hook = arg;
        hook->control->hooks--;
        free(hook);
}

void api_hooks_receive(struct http_exchange *x, void *arg) {
        struct control *c = arg;
        enum webhook_host host;
        if (webhook_host_from_name(http_parameter(x, "host"), &host) < 0) {
                http_respond_error(x, 404, "not_found", "webhooks are taken from github, gitlab and gitea");
                return;
        }
        /* An unknown source answers as a wrong signature does: outsiders learn no names. */
        if (!source_of(c, x) || !http_header(x, webhook_headers(host)->signature)) {
                refuse(x);
                return;
        }
        if (c->hooks >= API_HOOKS_AT_ONCE) {
                http_set_header(x, "retry-after", "5");
                http_respond_error(x, 503, "unavailable", "too many webhooks at once");
                return;
        }
        struct hook *hook = NEW(struct hook);
        *hook = (struct hook){c, host};
        c->hooks++;
        http_on_close(x, hook_closed, hook);
        http_read_body(x, API_HOOK_MAX, check, hook);
}
