/* SPDX-License-Identifier: Apache-2.0 */
/* Push webhooks. The answer is given before the fetch: Git hosts wait only a few seconds. */
#include "base/log.h"
#include "server/api.h"
#include "server/settings.h"
#include "server/sources.h"
#include "server/webhook.h"

static void refuse(struct http_exchange *x) {
        http_respond_error(x, 401, "unauthorized",
                           "the signature does not fit the secret of such a source (webhookSecretFile)");
}

static void receive(struct http_exchange *x, const char *body, size_t len, void *arg) {
        struct control *c = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *secret = NULL;
        enum webhook_host host;
        enum webhook_verdict verdict;
        if (webhook_host_from_name(http_parameter(x, "host"), &host) < 0) {
                http_respond_error(x, 404, "not_found", "webhooks are taken from github, gitlab and gitea");
                return;
        }
        const struct webhook_headers *headers = webhook_headers(host);
        struct source *s = sources_find(c, http_parameter(x, "source"));
        /* An unknown source answers as a wrong signature does: outsiders learn no names. */
        if (!s || !source_spec(s)->webhook_secret_file) {
                refuse(x);
                return;
        }
        if (settings_read_passphrase(source_spec(s)->webhook_secret_file, &secret, &err) < 0) {
                log_error("a webhook's secret cannot be read", "source", source_name(s), "error",
                          err_message(err), NULL);
                http_respond_error(x, 503, "unavailable", "the webhook's secret cannot be read here");
                return;
        }
        if (!webhook_signature_is_valid(host, http_header(x, headers->signature), secret, body, len)) {
                log_warning("a webhook with a wrong signature", "source", source_name(s), "address",
                            http_peer_address(x), NULL);
                refuse(x);
                return;
        }
        int r = webhook_judge(host, http_header(x, headers->event), source_branch(s), body, len, &verdict,
                              &err);
        if (r < 0) {
                http_respond_error(x, 400, "invalid", err_message(err));
                return;
        }
        const char *delivery = http_header(x, headers->delivery);
        bool is_new = !delivery || source_delivery_is_new(s, delivery);
        if (verdict == WEBHOOK_FETCH && is_new)
                sources_notify(c, s, NULL, NULL);
        json_t *answer = json_object_new();
        json_put(answer, "fetch", json_boolean(verdict == WEBHOOK_FETCH && is_new));
        api_answer(x, 202, answer);
}

void api_hooks_receive(struct http_exchange *x, void *arg) {
        http_read_body(x, API_HOOK_MAX, receive, arg);
}
