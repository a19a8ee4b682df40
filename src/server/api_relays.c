/* SPDX-License-Identifier: Apache-2.0 */
#include "server/api.h"
#include "server/api_bodies.h"
#include "server/relays.h"

void api_relays_list(struct http_exchange *x, void *arg) {
        api_answer_list(x, "RelayList", relays_json(arg, NULL));
}

static struct relay *relay_of(struct control *c, struct http_exchange *x) {
        struct relay *r = relays_find(c, http_parameter(x, "name"));
        if (!r)
                api_answer_missing(x, "relay", http_parameter(x, "name"));
        return r;
}

static json_t *relay_json(struct control *c, const struct relay *r) {
        json_t *list = relays_json(c, r->name), *one = json_incref(json_array_get(list, 0));
        json_decref(list);
        return one;
}

void api_relays_get(struct http_exchange *x, void *arg) {
        const struct relay *r = relay_of(arg, x);
        if (r)
                api_answer(x, 200, relay_json(arg, r));
}

static void take_revocation(struct http_exchange *x, const char *text, size_t len, void *arg) {
        struct control *c = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        struct reason_body why = {0};
        struct relay *r = relay_of(c, x);
        json_t *body = r ? api_read_optional_object(x, text, len) : NULL;
        if (!body)
                return;
        int k = body_reason(body, false, &why, &err);
        if (k < 0)
                api_answer_error(x, k, err);
        else if (api_may_act(c, x, why.reason)) {
                api_record(c, x,
                           &(struct audit_act){.act = "relay.revoke",
                                               .kind = "Relay",
                                               .name = r->name,
                                               .reason = why.reason});
                relays_revoke(c, r, why.reason, api_actor(c, x));
                api_answer_after(c, x, 200, relay_json(c, r));
        }
        json_decref(body);
}

void api_relays_revoke(struct http_exchange *x, void *arg) {
        http_read_body(x, API_BODY_MAX, take_revocation, arg);
}

void api_relays_delete(struct http_exchange *x, void *arg) {
        struct control *c = arg;
        struct relay *r = relay_of(c, x);
        if (!r)
                return;
        if (!r->revoked_at && r->connected) {
                http_respond_error(x, 409, "conflict",
                                   "the relay is connected and not revoked: revoke it first");
                return;
        }
        const char *reason = NULL;
        if (!api_query_reason(x, &reason) || !api_may_act(c, x, reason))
                return;
        api_record(c, x,
                   &(struct audit_act){
                           .act = "relay.delete", .kind = "Relay", .name = r->name, .reason = reason});
        relays_forget(c, r);
        api_answer_after(c, x, 204, NULL);
}
