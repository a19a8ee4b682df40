/* SPDX-License-Identifier: Apache-2.0 */
#include "server/api.h"
#include "server/api_bodies.h"
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
        if (r >= 0)
                r = tokens_create_join(c, &request, api_actor(c, x), &t, &token_text, &err);
        free(request.labels);
        json_decref(body);
        if (r < 0)
                api_answer_error(x, r, err);
        else
                api_answer_after(c, x, 201, join_token_json(t, token_text));
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
        tokens_delete_join(c, t);
        api_answer_after(c, x, 204, NULL);
}
