/* SPDX-License-Identifier: Apache-2.0 */
#include "server/api.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "codec/json.h"
#include "server/tokens.h"

#define STREAM_ITEMS_PER_TURN 64

/* ---- answering */

void api_answer(struct http_exchange *x, int status, json_t *body) {
        _cleanup_(x_freep) char *text = must(json_encode_compact(body));
        json_decref(body);
        http_respond(x, status, "application/json", text, strlen(text));
}

void api_answer_list(struct http_exchange *x, const char *kind, json_t *items) {
        json_t *list = json_object_new();
        json_put(list, "kind", json_text(kind));
        json_put(list, "items", items);
        api_answer(x, 200, list);
}

void api_answer_missing(struct http_exchange *x, const char *what, const char *name) {
        _cleanup_(x_freep) char *message = must(str_format("there is no %s %s", what, name ? name : ""));
        http_respond_error(x, 404, "not_found", message);
}

void api_answer_only(struct http_exchange *x, json_t *items, const char *what, const char *name) {
        json_t *first = json_array_get(items, 0);
        if (first)
                api_answer(x, 200, json_incref(first));
        else
                api_answer_missing(x, what, name);
        json_decref(items);
}

void api_answer_error(struct http_exchange *x, int error, const struct err *err) {
        static const struct {
                int error, status;
                const char *code;
        } kinds[] = {
                {EEXIST, 409, "conflict"},  {EBUSY, 409, "conflict"}, {ENOENT, 404, "not_found"},
                {EACCES, 403, "forbidden"}, {E2BIG, 422, "invalid"},  {EINVAL, 422, "invalid"},
                {ENOKEY, 422, "invalid"},   {ERANGE, 422, "invalid"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                if (kinds[i].error == -error) {
                        http_respond_error(x, kinds[i].status, kinds[i].code, err_message(err));
                        return;
                }
        http_respond_error(x, 503, "unavailable", err_message(err));
}

struct later { /* an answer that waits for the disk; freed when both its exchange and its wait have ended */
        struct http_exchange *x; /* NULL: left */
        int status;
        json_t *body;
        bool is_due; /* the wait has ended */
};

static void later_closed(struct http_exchange *x, void *arg) {
        struct later *l = arg;
        l->x = NULL;
        if (l->is_due)
                free(l);
}

static void later_due(void *arg, int error) {
        struct later *l = arg;
        struct http_exchange *x = l->x;
        json_t *body = TAKE_PTR(l->body);
        int status = l->status;
        l->is_due = true;
        if (!x || error == -ECANCELED) {
                json_decref(body);
                if (!x)
                        free(l);
                return;
        }
        if (error < 0) {
                json_decref(body);
                http_respond_error(x, 503, "unavailable", "the change could not be written down");
        } else if (body)
                api_answer(x, status, body);
        else
                http_respond(x, status, NULL, NULL, 0);
}

void api_answer_after(struct control *c, struct http_exchange *x, int status, json_t *body) {
        struct later *l = NEW(struct later);
        *l = (struct later){.x = x, .status = status, .body = body};
        http_on_close(x, later_closed, l);
        turns_after(c->turns, later_due, l);
}

/* ---- long lists */

struct streaming {
        struct http_exchange *x;
        struct api_stream items;
        struct buf pending; /* made and not yet taken */
        bool any, ended;
};

static void streaming_closed(struct http_exchange *x, void *arg) {
        struct streaming *s = arg;
        s->items.done(s->items.arg);
        buf_done(&s->pending);
        free(s);
}

static void streaming_fill(struct streaming *s) {
        for (size_t i = 0; i < STREAM_ITEMS_PER_TURN && !s->ended; i++) {
                json_t *item = s->items.next(s->items.arg);
                if (!item) {
                        buf_puts(&s->pending, "]}");
                        s->ended = true;
                        break;
                }
                _cleanup_(x_freep) char *text = must(json_encode_compact(item));
                json_decref(item);
                buf_printf(&s->pending, "%s%s", s->any ? "," : "", text);
                s->any = true;
        }
        must_do(buf_failed(&s->pending));
}

static void streaming_go(struct http_exchange *x, void *arg) {
        struct streaming *s = arg;
        for (;;) {
                if (s->pending.len == 0 && s->ended) {
                        http_finish(x); /* ends in streaming_closed() */
                        return;
                }
                if (s->pending.len == 0)
                        streaming_fill(s);
                int r = http_write(x, s->pending.data, s->pending.len);
                if (r < 0)
                        return; /* comes back when there is room, or is closed */
                buf_clear(&s->pending);
        }
}

void api_answer_stream(struct http_exchange *x, const char *kind, const struct api_stream *items) {
        if (http_begin(x, 200, "application/json") < 0) {
                items->done(items->arg);
                return;
        }
        struct streaming *s = NEW(struct streaming);
        s->x = x;
        s->items = *items;
        buf_printf(&s->pending, "{\"kind\":\"%s\",\"items\":[", kind);
        http_on_close(x, streaming_closed, s);
        http_on_drain(x, streaming_go, s);
        streaming_go(x, s);
}

/* ---- reading */

json_t *api_read_object(struct http_exchange *x, const char *body, size_t len) {
        _cleanup_(err_freep) struct err *err = NULL;
        json_t *j = NULL;
        if (len == 0) {
                http_respond_error(x, 400, "invalid", "the call needs a body, a JSON object");
                return NULL;
        }
        if (json_decode(body, len, &j, &err) < 0) {
                http_respond_error(x, 400, "invalid", err_message(err));
                return NULL;
        }
        if (!json_is_object(j)) {
                json_decref(j);
                http_respond_error(x, 400, "invalid", "the body must be a JSON object");
                return NULL;
        }
        return j;
}

json_t *api_read_optional_object(struct http_exchange *x, const char *body, size_t len) {
        return len == 0 ? json_object_new() : api_read_object(x, body, len);
}

static const char *bearer(const struct http_exchange *x) {
        const char *value = http_header(x, "authorization");
        return value && strncasecmp(value, "bearer ", 7) == 0 ? value + 7 + strspn(value + 7, " ") : NULL;
}

bool api_holder(struct control *c, const struct http_exchange *x, struct admin_holder *ret) {
        const char *token = bearer(x);
        return token && tokens_admin_holder(c, token, ret);
}

const char *api_actor(struct control *c, const struct http_exchange *x) {
        struct admin_holder holder;
        return api_holder(c, x, &holder) ? holder.name : NULL;
}

static bool before(struct http_exchange *x, void *arg) {
        struct control *c = arg;
        if (http_route_context(x) == api_is_open || api_actor(c, x))
                return true;
        http_set_header(x, "www-authenticate", "Bearer realm=\"skerry\"");
        http_respond_error(x, 401, "unauthorized",
                           bearer(x) ? "this token is not known here, was deleted, or has ended"
                                     : "a token is needed: Authorization: Bearer ska_...");
        return false;
}

static void after(struct http_exchange *x, int status, uint64_t bytes_out, msec_t took_ms, void *arg) {
        char code[16], took[24];
        (void)snprintf(code, sizeof(code), "%d", status);
        (void)snprintf(took, sizeof(took), "%lld", (long long)took_ms);
        log_debug("call", "method", http_method(x), "path", http_path(x), "status", code, "ms", took, "peer",
                  http_peer_address(x), NULL);
}

int api_start(struct control *c, struct tls_config *tls, struct err **err) {
        struct http_server_options options = {.name = "api",
                                              .address = c->settings->api_listen,
                                              .tls = tls,
                                              .routes = api_routes,
                                              .arg = c,
                                              .before = before,
                                              .after = after};
        return http_server_start(c->loop, &options, &c->api, err);
}
