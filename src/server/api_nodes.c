/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/selector.h"
#include "server/api.h"
#include "server/api_bodies.h"
#include "server/assignments.h"
#include "server/fleets.h"
#include "server/inventory.h"

#define GONE_MS ((msec_t)5 * 60 * 1000) /* a node may be forgotten unrevoked when it was away this long */

/* ---- the list: names are noted at once, nodes rendered as the client takes them */

struct listing {
        struct control *control;
        char **names;
        size_t at;
};

static json_t *listing_next(void *arg) {
        struct listing *l = arg;
        while (l->names[l->at]) {
                const struct node *n = inventory_node(l->control, l->names[l->at++]);
                if (n)
                        return inventory_json(l->control, n);
        }
        return NULL;
}

static void listing_done(void *arg) {
        struct listing *l = arg;
        strv_free(l->names);
        free(l);
}

void api_nodes_list(struct http_exchange *x, void *arg) {
        struct control *c = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(arena_freep) struct arena *arena = must(arena_new(0));
        const char *fleet = http_query(x, "fleet"), *text = http_query(x, "selector");
        struct selector selector = {0};
        static const struct pairs none;
        struct node *n;
        if (text && selector_parse(arena, text, &selector, &err) < 0) {
                http_respond_error(x, 400, "invalid", err_message(err));
                return;
        }
        struct listing *l = NEW(struct listing);
        l->control = c;
        l->names = new0((inventory_size(c) + 1) * sizeof(*l->names));
        size_t count = 0;
        for (size_t i = 0; inventory_next(c, &i, &n);)
                if ((!fleet || (n->fleet && str_eq(fleet_name(n->fleet), fleet))) &&
                    (!text || selector_matches(&selector, n->traits ? n->traits : &none)))
                        l->names[count++] = copy_text(n->name);
        api_answer_stream(x, "NodeList", &(struct api_stream){listing_next, listing_done, l});
}

/* ---- one */

static struct node *node_of(struct control *c, struct http_exchange *x) {
        struct node *n = inventory_node(c, http_parameter(x, "name"));
        if (!n)
                api_answer_missing(x, "node", http_parameter(x, "name"));
        return n;
}

void api_nodes_get(struct http_exchange *x, void *arg) {
        struct control *c = arg;
        const struct node *n = node_of(c, x);
        if (n)
                api_answer(x, 200, inventory_json(c, n));
}

/* To be carried to a node that no link reaches (skerry repo export): what is signed may pass through any
 * hand. */
void api_nodes_assignment(struct http_exchange *x, void *arg) {
        struct control *c = arg;
        const struct node *n = node_of(c, x);
        if (!n)
                return;
        json_t *document = n->revoked_at ? NULL : assignments_signed(c, n);
        if (document) {
                api_answer(x, 200, document);
                return;
        }
        _cleanup_(x_freep) char *message = must(
                str_format("node %s has no assignment%s", n->name, n->revoked_at ? ": it was revoked" : ""));
        http_respond_error(x, 404, "not_found", message);
}

static void label(struct http_exchange *x, const char *text, size_t len, void *arg) {
        struct control *c = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        struct label_change change = {0};
        struct pairs *labels = NULL;
        struct node *n = node_of(c, x);
        json_t *body = n ? api_read_object(x, text, len) : NULL;
        if (!body)
                return;
        int r = body_label_change(body, &change, &err);
        if (r >= 0)
                r = label_change_apply(&change, n->manual_labels, &labels, &err);
        if (r < 0)
                api_answer_error(x, r, err);
        else if (api_may_act(c, x, change.reason)) {
                json_t *detail = json_object_new();
                json_put(detail, "set", pairs_json(change.set));
                if (change.remove)
                        json_put(detail, "remove", json_incref((json_t *)change.remove));
                api_record(c, x,
                           &(struct audit_act){.act = "node.label",
                                               .kind = "Node",
                                               .name = n->name,
                                               .reason = change.reason,
                                               .detail = detail});
                json_decref(detail);
                inventory_set_labels(c, n, TAKE_PTR(labels));
                api_answer_after(c, x, 200, inventory_json(c, n));
        }
        free(labels);
        free(change.set);
        json_decref(body);
}

void api_nodes_label(struct http_exchange *x, void *arg) {
        http_read_body(x, API_BODY_MAX, label, arg);
}

static void take_revocation(struct http_exchange *x, const char *text, size_t len, void *arg) {
        struct control *c = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        struct reason_body why = {0};
        struct node *n = node_of(c, x);
        json_t *body = n ? api_read_optional_object(x, text, len) : NULL;
        if (!body)
                return;
        int r = body_reason(body, false, &why, &err);
        if (r < 0)
                api_answer_error(x, r, err);
        else if (api_may_act(c, x, why.reason)) {
                api_record(
                        c, x,
                        &(struct audit_act){
                                .act = "node.revoke", .kind = "Node", .name = n->name, .reason = why.reason});
                inventory_revoke(c, n, why.reason, api_actor(c, x));
                api_answer_after(c, x, 200, inventory_json(c, n));
        }
        json_decref(body);
}

void api_nodes_revoke(struct http_exchange *x, void *arg) {
        http_read_body(x, API_BODY_MAX, take_revocation, arg);
}

void api_nodes_delete(struct http_exchange *x, void *arg) {
        struct control *c = arg;
        struct node *n = node_of(c, x);
        if (!n)
                return;
        if (!n->revoked_at && (n->connected || control_now(c) - n->last_seen_at < GONE_MS)) {
                _cleanup_(x_freep) char *message = must(str_format(
                        "node %s is alive and not revoked: revoke it first (skerry node revoke %s)", n->name,
                        n->name));
                http_respond_error(x, 409, "conflict", message);
                return;
        }
        const char *reason = NULL;
        if (!api_query_reason(x, &reason) || !api_may_act(c, x, reason))
                return;
        api_record(
                c, x,
                &(struct audit_act){.act = "node.delete", .kind = "Node", .name = n->name, .reason = reason});
        inventory_forget(c, n);
        api_answer_after(c, x, 204, NULL);
}
