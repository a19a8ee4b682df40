/* SPDX-License-Identifier: Apache-2.0 */
#include "server/api.h"
#include "server/api_bodies.h"
#include "server/shapes.h"
#include "server/tokens.h"

void api_tokens_list(struct http_exchange *x, void *arg) {
        api_answer_list(x, "TokenList", tokens_join_json(arg));
}

static void create(struct http_exchange *x, const char *text, size_t len, void *arg) {
        struct control *c = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *token_text = NULL;
        struct token_body wanted = {0};
        struct join_token *t = NULL;
        json_t *body = api_read_object(x, text, len);
        if (!body)
                return;
        int r = body_token(body, &wanted, &err);
        struct join_request request = {.kind = wanted.kind,
                                       .name = wanted.name,
                                       .labels = wanted.labels,
                                       .uses = wanted.uses,
                                       .ttl_seconds = wanted.ttl_seconds};
        if (r >= 0 && !api_may_act(c, x, wanted.reason)) {
                free(request.labels);
                json_decref(body);
                return;
        }
        if (r >= 0)
                r = tokens_create_join(c, &request, api_actor(c, x), &t, &token_text, &err);
        if (r < 0)
                api_answer_error(x, r, err);
        else {
                json_t *detail = json_object_new();
                json_put(detail, "kind", json_text(t->kind));
                json_put(detail, "uses", json_number(t->uses));
                json_put(detail, "labels", pairs_json(t->labels));
                json_put(detail, "expiresAt", json_time(t->expires_at));
                api_record(c, x,
                           &(struct audit_act){.act = "token.create",
                                               .kind = "Token",
                                               .name = t->id,
                                               .reason = wanted.reason,
                                               .detail = detail});
                json_decref(detail);
                api_answer_after(c, x, 201, join_token_json(t, token_text));
        }
        free(request.labels);
        json_decref(body);
}

void api_tokens_create(struct http_exchange *x, void *arg) {
        http_read_body(x, API_BODY_MAX, create, arg);
}

void api_tokens_delete(struct http_exchange *x, void *arg) {
        struct control *c = arg;
        struct join_token *t = tokens_find_join(c, http_parameter(x, "id"));
        if (!t) {
                api_answer_missing(x, "join token", http_parameter(x, "id"));
                return;
        }
        const char *reason = NULL;
        if (!api_query_reason(x, &reason) || !api_may_act(c, x, reason))
                return;
        api_record(
                c, x,
                &(struct audit_act){.act = "token.delete", .kind = "Token", .name = t->id, .reason = reason});
        tokens_delete_join(c, t);
        api_answer_after(c, x, 204, NULL);
}
