/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "server/api.h"
#include "server/api_bodies.h"
#include "server/sources.h"

void api_sources_list(struct http_exchange *x, void *arg) {
        api_answer_list(x, "SourceList", sources_json(arg));
}

static struct source *source_of(struct control *c, struct http_exchange *x) {
        struct source *s = sources_find(c, http_parameter(x, "name"));
        if (!s)
                api_answer_missing(x, "source", http_parameter(x, "name"));
        return s;
}

void api_sources_get(struct http_exchange *x, void *arg) {
        const struct source *s = source_of(arg, x);
        if (s)
                api_answer(x, 200, source_json(s));
}

static void create(struct http_exchange *x, const char *text, size_t len, void *arg) {
        struct control *c = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(source_spec_done) struct source_spec spec = {0};
        const char *name = NULL, *reason = NULL;
        struct source *s = NULL;
        json_t *body = api_read_object(x, text, len);
        if (!body)
                return;
        int r = body_source(body, &name, &spec, &err);
        if (r >= 0)
                r = body_why(body, &reason, &err);
        if (r >= 0 && !api_may_act(c, x, reason)) {
                json_decref(body);
                return;
        }
        if (r >= 0)
                r = sources_create(c, name, &spec, &s, &err);
        if (r < 0)
                api_answer_error(x, r, err);
        else {
                json_t *shown = source_json(s);
                api_record(c, x,
                           &(struct audit_act){.act = "source.create",
                                               .kind = "Source",
                                               .name = source_name(s),
                                               .reason = reason,
                                               .detail = json_object_get(shown, "spec")});
                json_decref(shown);
                api_answer_after(c, x, 201, source_json(s));
        }
        json_decref(body);
}

void api_sources_create(struct http_exchange *x, void *arg) {
        http_read_body(x, API_BODY_MAX, create, arg);
}

void api_sources_delete(struct http_exchange *x, void *arg) {
        struct control *c = arg;
        struct source *s = source_of(c, x);
        if (!s)
                return;
        const char *reason = NULL;
        if (!api_query_reason(x, &reason) || !api_may_act(c, x, reason))
                return;
        api_record(
                c, x,
                &(struct audit_act){
                        .act = "source.delete", .kind = "Source", .name = source_name(s), .reason = reason});
        sources_delete(c, s);
        api_answer_after(c, x, 204, NULL);
}

/* ---- notify: the answer may wait for the whole of what follows */

struct notice {
        struct control *control;
        struct http_exchange *x; /* NULL: left */
        char *name;
        bool is_due;
};

static void notice_free(struct notice *n) {
        free(n->name);
        free(n);
}

static void notice_closed(struct http_exchange *x, void *arg) {
        struct notice *n = arg;
        n->x = NULL;
        if (n->is_due)
                notice_free(n);
}

static void notice_due(void *arg, int error) {
        struct notice *n = arg;
        struct http_exchange *x = n->x;
        n->is_due = true;
        if (!x) {
                notice_free(n);
                return;
        }
        if (error == -ECANCELED)
                return;
        const struct source *s = sources_find(n->control, n->name);
        if (!s)
                http_respond_error(x, 404, "not_found", "the source was deleted meanwhile");
        else
                api_answer(x, 200, source_json(s));
}

static void notify(struct http_exchange *x, const char *text, size_t len, void *arg) {
        struct control *c = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        bool wait = false;
        struct source *s = source_of(c, x);
        json_t *body = s ? api_read_optional_object(x, text, len) : NULL;
        if (!body)
                return;
        int r = body_notify(body, &wait, &err);
        json_decref(body);
        if (r < 0) {
                api_answer_error(x, r, err);
                return;
        }
        if (!wait) {
                sources_notify(c, s, NULL, NULL);
                api_answer(x, 202, source_json(s));
                return;
        }
        struct notice *n = NEW(struct notice);
        *n = (struct notice){.control = c, .x = x, .name = copy_text(source_name(s))};
        http_on_close(x, notice_closed, n);
        sources_notify(c, s, notice_due, n);
}

void api_sources_notify(struct http_exchange *x, void *arg) {
        http_read_body(x, API_BODY_MAX, notify, arg);
}
