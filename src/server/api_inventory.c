/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes that are expected, and nodes whose machine is replaced. */
#include <errno.h>

#include "codec/json.h"
#include "server/api.h"
#include "server/api_bodies.h"
#include "server/inventory_import.h"

#define IMPORT_BODY_MAX ((size_t)8 << 20)

static void refuse(struct http_exchange *x, json_t *errors) {
        if (str_eq(http_route_context(x), "check")) { /* they are what was asked for */
                json_t *answer = json_object_new();
                json_put(answer, "errors", errors);
                api_answer(x, 200, answer);
                return;
        }
        json_t *body = json_object_new(), *error = json_object_new();
        _cleanup_(x_freep) char *message = must(
                str_format("%zu of the nodes will not do; nothing was changed", json_array_size(errors)));
        json_put(error, "code", json_text("invalid"));
        json_put(error, "message", json_text(message));
        json_put(body, "error", error);
        json_put(body, "errors", errors);
        api_answer(x, 422, body);
}

static void import(struct http_exchange *x, const char *text, size_t len, void *arg) {
        struct control *c = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        struct import_body wanted = {0};
        json_t *errors = NULL, *body = api_read_object(x, text, len);
        size_t n = 0;
        if (!body)
                return;
        int r = body_import(body, &wanted, &err);
        if (str_eq(http_route_context(x), "check"))
                wanted.dry_run = true;
        if (r < 0)
                api_answer_error(x, r, err);
        else if (json_array_size(wanted.nodes) > IMPORT_NODES_MAX) {
                _cleanup_(x_freep) char *message =
                        must(str_format("nodes: more than %d at a time: part the list", IMPORT_NODES_MAX));
                http_respond_error(x, 422, "invalid", message);
        } else if (wanted.dry_run || api_may_act(c, x, wanted.reason)) {
                if (inventory_import(c, wanted.nodes, wanted.dry_run, &n, &errors) < 0)
                        refuse(x, errors);
                else {
                        json_t *answer = json_object_new();
                        json_put(answer, "imported", json_number((int64_t)n));
                        json_put(answer, "dryRun", json_boolean(wanted.dry_run));
                        if (!wanted.dry_run) {
                                json_t *detail = json_object_new(), *names = json_array_new();
                                size_t i;
                                const json_t *item;
                                json_array_foreach (wanted.nodes, i, item)
                                        json_add(names, json_incref(json_object_get(item, "name")));
                                json_put(detail, "nodes", names);
                                api_record(c, x,
                                           &(struct audit_act){.act = "node.import",
                                                               .reason = wanted.reason,
                                                               .detail = detail});
                                json_decref(detail);
                        }
                        api_answer_after(c, x, 200, answer);
                }
        }
        json_decref(body);
}

void api_nodes_import(struct http_exchange *x, void *arg) {
        http_read_body(x, IMPORT_BODY_MAX, import, arg);
}

static void replace(struct http_exchange *x, const char *text, size_t len, void *arg) {
        struct control *c = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        struct replace_body wanted = {0};
        struct node *n = inventory_node(c, http_parameter(x, "name"));
        if (!n) {
                api_answer_missing(x, "node", http_parameter(x, "name"));
                return;
        }
        json_t *body = api_read_optional_object(x, text, len);
        if (!body)
                return;
        int r = body_replace(body, &wanted, &err);
        if (r < 0)
                api_answer_error(x, r, err);
        else if (api_may_act(c, x, wanted.reason)) {
                json_t *detail = json_object_new();
                json_put(detail, "ttlSeconds", json_number(wanted.ttl_seconds));
                inventory_replace(c, n, wanted.ttl_seconds * 1000);
                api_record(c, x,
                           &(struct audit_act){.act = "node.replace",
                                               .kind = "Node",
                                               .name = n->name,
                                               .reason = wanted.reason,
                                               .detail = detail});
                json_decref(detail);
                api_answer_after(c, x, 200, inventory_json(c, n));
        }
        json_decref(body);
}

void api_nodes_replace(struct http_exchange *x, void *arg) {
        http_read_body(x, API_BODY_MAX, replace, arg);
}
