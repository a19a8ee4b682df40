/* SPDX-License-Identifier: Apache-2.0 */
#include "server/api.h"
#include "server/api_bodies.h"
#include "server/rollouts.h"

void api_rollouts_list(struct http_exchange *x, void *arg) {
        bool active = str_eq(http_query(x, "active"), "true");
        api_answer_list(x, "RolloutList", rollouts_json(arg, http_query(x, "fleet"), active));
}

static struct rollout_record *rollout_of(struct control *c, struct http_exchange *x) {
        struct rollout_record *r = rollouts_find(c, http_parameter(x, "id"));
        if (!r)
                api_answer_missing(x, "rollout", http_parameter(x, "id"));
        return r;
}

/* Old ones have their members in the database. */
struct reading {
        struct control *control;
        struct http_exchange *x; /* NULL: left */
        char *id;
};

static void reading_closed(struct http_exchange *x, void *arg) {
        ((struct reading *)arg)->x = NULL;
}

static json_t *one_json(const struct control *c, const struct rollout_record *r, const struct db_rows *rows) {
        json_t *j = rollouts_one_json(r, rows), *transfer = rollouts_transfer_json(c, r);
        if (transfer)
                json_put(json_object_get(j, "status"), "transfer", transfer);
        return j;
}

static void reading_done(void *arg, const struct db_rows *rows, const struct err *err) {
        struct reading *reading = arg;
        struct http_exchange *x = reading->x;
        const struct rollout_record *r = rollouts_find(reading->control, reading->id);
        if (x) {
                http_on_close(x, NULL, NULL);
                if (err)
                        http_respond_error(x, 503, "unavailable", err_message(err));
                else if (!r)
                        api_answer_missing(x, "rollout", reading->id);
                else
                        api_answer(x, 200, one_json(reading->control, r, rows));
        }
        free(reading->id);
        free(reading);
}

void api_rollouts_get(struct http_exchange *x, void *arg) {
        struct control *c = arg;
        const struct rollout_record *r = rollout_of(c, x);
        if (!r)
                return;
        if (rollouts_is_loaded(r)) {
                api_answer(x, 200, one_json(c, r, NULL));
                return;
        }
        struct reading *reading = NEW(struct reading);
        *reading = (struct reading){c, x, copy_text(rollouts_id(r))};
        http_on_close(x, reading_closed, reading);
        if (db_query(c->db, reading_done, reading,
                     "SELECT state FROM rollout_members WHERE rollout = $1 ORDER BY node", "s",
                     reading->id) < 0) {
                http_on_close(x, NULL, NULL);
                free(reading->id);
                free(reading);
                http_respond_error(x, 503, "unavailable", "the database cannot be read now");
        }
}

static void record(struct control *c, const struct http_exchange *x, const struct rollout_record *r,
                   const char *verb, const char *wave, const struct reason_body *why) {
        _cleanup_(x_freep) char *act = must(str_format("rollout.%s", verb));
        json_t *detail = json_object_new();
        json_put(detail, "fleet", json_text(rollouts_fleet(r)));
        if (str_eq(verb, "abort"))
                json_put(detail, "rollback", json_boolean(why->rollback));
        if (wave)
                json_put(detail, "wave", json_text(wave));
        api_record(c, x,
                   &(struct audit_act){.act = act,
                                       .kind = "Rollout",
                                       .name = rollouts_id(r),
                                       .reason = why->reason,
                                       .detail = detail});
        json_decref(detail);
}

static void command(struct http_exchange *x, const char *text, size_t len, void *arg) {
        struct control *c = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        struct reason_body why = {0};
        const char *verb = http_route_context(x);
        struct rollout_record *r = rollout_of(c, x);
        json_t *body = r ? api_read_optional_object(x, text, len) : NULL;
        if (!body)
                return;
        int k = body_rollout_command(body, verb, &why, &err);
        if (k < 0)
                api_answer_error(x, k, err);
        else if (api_may_act(c, x, why.reason)) {
                /* Before the act, which may move on to the next wave. */
                char *wave = str_eq(verb, "approve") || str_eq(verb, "promote") ? copy_text(rollouts_wave(r))
                                                                                : NULL;
                k = rollouts_command(c, r,
                                     &(struct rollout_command){.verb = verb,
                                                               .reason = why.reason,
                                                               .rollback = why.rollback,
                                                               .wave = why.wave,
                                                               .actor = api_actor(c, x)},
                                     &err);
                if (k < 0) {
                        free(wave);
                        http_respond_error(x, 409, "conflict", err_message(err));
                } else {
                        record(c, x, r, verb, wave, &why);
                        free(wave);
                        api_answer_after(c, x, 200, rollouts_one_json(r, NULL));
                }
        }
        json_decref(body);
}

void api_rollouts_command(struct http_exchange *x, void *arg) {
        http_read_body(x, API_BODY_MAX, command, arg);
}
