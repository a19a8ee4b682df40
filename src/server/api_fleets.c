/* SPDX-License-Identifier: Apache-2.0 */
/* Fleets and apps. */
#include "server/api.h"
#include "server/api_bodies.h"
#include "server/audit.h"
#include "server/fleets.h"

void api_fleets_list(struct http_exchange *x, void *arg) {
        api_answer_list(x, "FleetList", fleets_json(arg, NULL));
}

void api_fleets_get(struct http_exchange *x, void *arg) {
        const char *name = http_parameter(x, "name");
        const struct fleet *f = fleets_find(arg, name);
        if (f)
                api_answer_only(x, fleets_json(arg, f), "fleet", name);
        else
                api_answer_missing(x, "fleet", name);
}

static struct fleet *fleet_of(struct control *c, struct http_exchange *x) {
        struct fleet *f = fleets_find(c, http_parameter(x, "name"));
        if (!f)
                api_answer_missing(x, "fleet", http_parameter(x, "name"));
        return f;
}

static void record(struct control *c, const struct http_exchange *x, const struct fleet *f, const char *act,
                   const char *reason) {
        json_t *detail = json_object_new();
        const struct target *desired = fleet_desired(f);
        json_put(detail, "revision", json_text(desired ? desired->revision : NULL));
        api_record(c, x,
                   &(struct audit_act){.act = act,
                                       .kind = "Fleet",
                                       .name = fleet_name(f),
                                       .reason = reason,
                                       .detail = detail});
        json_decref(detail);
}

static void answer_fleet(struct control *c, struct http_exchange *x, const struct fleet *f) {
        json_t *list = fleets_json(c, f);
        api_answer_after(c, x, 200, must(json_incref(json_array_get(list, 0))));
        json_decref(list);
}

static void rollback(struct http_exchange *x, const char *text, size_t len, void *arg) {
        struct control *c = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        const char *to = NULL, *reason = NULL;
        struct fleet *f = fleet_of(c, x);
        json_t *body = f ? api_read_object(x, text, len) : NULL;
        if (!body)
                return;
        int r = body_fleet_rollback(body, &to, &reason, &err);
        if (r < 0)
                api_answer_error(x, r, err);
        else if (api_may_act(c, x, reason)) {
                r = fleets_pin(c, f, to, api_actor(c, x), reason, &err);
                if (r < 0)
                        api_answer_error(x, r, err);
                else {
                        record(c, x, f, "fleet.rollback", reason);
                        answer_fleet(c, x, f);
                }
        }
        json_decref(body);
}

void api_fleets_rollback(struct http_exchange *x, void *arg) {
        http_read_body(x, API_BODY_MAX, rollback, arg);
}

void api_fleets_follow(struct http_exchange *x, void *arg) {
        struct control *c = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        const char *reason = NULL;
        struct fleet *f = fleet_of(c, x);
        if (!f || !api_query_reason(x, &reason) || !api_may_act(c, x, reason))
                return;
        int r = fleets_unpin(c, f, api_actor(c, x), &err);
        if (r < 0) {
                api_answer_error(x, r, err);
                return;
        }
        record(c, x, f, "fleet.follow", reason);
        answer_fleet(c, x, f);
}

void api_apps_list(struct http_exchange *x, void *arg) {
        api_answer_list(x, "AppList", fleets_apps_json(arg, http_query(x, "fleet"), NULL));
}

/* An app of one name may be in several fleets; ?fleet= says which, else the first is given. */
void api_apps_get(struct http_exchange *x, void *arg) {
        const char *name = http_parameter(x, "name");
        api_answer_only(x, fleets_apps_json(arg, http_query(x, "fleet"), name), "app", name);
}
