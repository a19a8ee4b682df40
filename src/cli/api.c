/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/api.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "cli/sse.h"
#include "codec/json.h"
#include "crypto/token.h"
#include "net/backoff.h"
#include "net/http_client.h"

#define ANSWER_LIMIT ((size_t)256 << 20) /* a list of ten thousand nodes with all they say is some 30 MB */

struct api {
        struct cli_context context;
        char *authorization; /* whole header line, or NULL */
        struct loop *loop;
        struct tls_config *tls;
        struct http_client *client;
        struct prng random;
};

struct api *api_free(struct api *a) {
        if (!a)
                return NULL;
        http_client_free(a->client);
        tls_config_free(a->tls);
        loop_free(a->loop);
        cli_context_done(&a->context);
        free(a->authorization);
        free(a);
        return NULL;
}

static int set_up_tls(struct api *a, struct err **err) {
        struct token token = {0};
        const char *pin = a->context.pin;
        int r = 0;
        /* A token with a pin tells whom to trust; it wins, for it came from the server's own init. */
        if (a->context.token && token_parse(a->context.token, &token, NULL) == 0 && token.pin)
                pin = token.pin;
        if (!str_has_prefix(a->context.server, "http://")) {
                const struct tls_material m = {
                        .pin = pin,
                        .peer = pin ? TLS_PEER_PIN : TLS_PEER_REQUIRED,
                        .check_host = !pin, /* with a pin the root is the server's own: no name to mistake */
                };
                r = tls_client_new(&m, &a->tls, err);
        }
        token_done(&token);
        return r;
}

int api_open(const struct cli_globals *g, struct api **ret, struct err **err) {
        _cleanup_(api_freep) struct api *a = calloc(1, sizeof(*a));
        if (!a)
                return err_set_errno(err, ENOMEM, "prepare to call the server");
        int r = context_resolve(g, &a->context, err);
        if (r == 0)
                r = loop_new(&a->loop, err);
        if (r == 0)
                r = set_up_tls(a, err);
        if (r < 0)
                return r;
        if (a->context.token) {
                for (const char *c = a->context.token; *c; c++)
                        if (!isgraph((unsigned char)*c))
                                return err_set(err, EINVAL,
                                               "the token of context %s is not one: it holds a blank or a"
                                               " control character",
                                               a->context.name);
                a->authorization = str_format("Authorization: Bearer %s", a->context.token);
                if (!a->authorization)
                        return err_set_errno(err, ENOMEM, "prepare to call the server");
        }
        const struct http_client_options o = {.tls = a->tls, .connect_ms = 10000};
        r = http_client_new(a->loop, &o, &a->client, err);
        if (r < 0)
                return r;
        prng_seed_random(&a->random);
        *ret = TAKE_PTR(a);
        return 0;
}

const char *api_server(const struct api *a) {
        return a->context.server;
}

struct loop *api_loop(struct api *a) {
        return a->loop;
}

void url_put(struct buf *out, const char *segment) {
        for (const char *p = segment; *p; p++) {
                if (isalnum((unsigned char)*p) || strchr("-._~", *p))
                        buf_putc(out, *p);
                else
                        buf_printf(out, "%%%02X", (unsigned char)*p);
        }
}

/* ---- what went wrong, in words */

/* The client's words begin with the whole address of the call, which says less than our own. */
static const char *without_address(const struct api *a, const char *message) {
        if (!str_has_prefix(message, a->context.server))
                return message;
        const char *rest = strstr(message, ": ");
        return rest ? rest + 2 : message;
}

static int transport_error(const struct api *a, const struct http_result *r, struct err **err) {
        const char *why = r->message ? without_address(a, r->message) : strerror(-r->error);
        switch (r->error) {
        case -ECONNREFUSED:
                return err_set(err, EHOSTUNREACH,
                               "cannot reach the server at %s: connection refused; is skerry-server running "
                               "there, and"
                               " is this the address of its API?",
                               a->context.server);
        case -EKEYREJECTED:
                return err_set(err, EHOSTUNREACH,
                               "the server at %s is not the one that context %s trusts: %s; if it was set up "
                               "anew, add"
                               " the context again with its new token",
                               a->context.server, a->context.name, why);
        case -EMSGSIZE:
                return err_set(err, EPROTO, "the answer of %s is too large to be true", a->context.server);
        case -ENOMEM: return err_set_errno(err, ENOMEM, "call %s", a->context.server);
        default:
                return err_set(err, EHOSTUNREACH, "cannot reach the server at %s: %s", a->context.server,
                               why);
        }
}

static int status_error(const struct api *a, int status, const char *body, size_t len, struct err **err) {
        _cleanup_json_ json_t *answer = NULL;
        const char *message = NULL, *code = NULL;
        if (json_decode(body, len, &answer, NULL) == 0) {
                code = json_string_value(json_object_get(json_object_get(answer, "error"), "code"));
                message = json_string_value(json_object_get(json_object_get(answer, "error"), "message"));
        }
        _cleanup_(buf_done) struct buf why = BUF_INIT;
        if (message)
                buf_puts(&why, message);
        else
                buf_printf(&why, "HTTP status %d", status);
        const char *text = buf_str(&why);
        if (str_eq(code, "reason_required"))
                return err_set(err, ENODATA, "%s", text);
        switch (status) {
        case 401:
                return err_set(err, EKEYREJECTED,
                               "the server at %s does not accept %s: %s; 'skerry context add %s --server %s "
                               "--token-file"
                               " FILE' puts another token in its place",
                               a->context.server, a->authorization ? "our token" : "calls without a token",
                               text, a->context.name, a->context.server);
        case 403:
                return err_set(err, EKEYREJECTED, "the server at %s forbids it: %s", a->context.server, text);
        case 404: return err_set(err, ENOENT, "%s", text);
        case 409: return err_set(err, EBUSY, "%s", text);
        case 502:
        case 503:
        case 504:
                return err_set(err, EHOSTUNREACH, "the server at %s is not available: %s", a->context.server,
                               text);
        default:
                if (status >= 400 && status < 500)
                        return err_set(err, EINVAL, "%s", text);
                return err_set(err, EIO, "the server at %s failed: %s; its log says more", a->context.server,
                               text);
        }
}

/* An answer as JSON; NULL body (204) is JSON null. */
static int read_answer(const struct api *a, const struct http_result *r, json_t **ret, struct err **err) {
        if (r->error < 0)
                return transport_error(a, r, err);
        if (r->status < 200 || r->status > 299)
                return status_error(a, r->status, r->body, r->body_len, err);
        if (r->body_len == 0) {
                *ret = json_null();
                return 0;
        }
        _cleanup_(err_freep) struct err *why = NULL;
        if (json_decode(r->body, r->body_len, ret, &why) < 0)
                return err_set(err, EPROTO, "the answer of %s is not JSON (%s): is it a Skerry server?",
                               a->context.server, err_message(why));
        return 0;
}

/* ---- calls */

struct call {
        struct api *api;
        api_done_fn done;
        void *arg;
        struct buf *bytes; /* not NULL: the answer goes here as it is */
};

static void on_done(void *arg, const struct http_result *r) {
        struct call *c = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_json_ json_t *answer = NULL;
        if (c->bytes && r->error == 0 && r->status == 200) {
                buf_append(c->bytes, r->body, r->body_len);
                answer = json_null();
        } else {
                (void)read_answer(c->api, r, &answer, &err);
        }
        c->done(c->arg, answer, err);
        free(c);
}

static int send_call(struct api *a, const char *method, const char *path, const json_t *body, bool slow,
                     struct buf *bytes, api_done_fn done, void *arg, struct err **err) {
        _cleanup_(x_freep) char *url = str_format("%s/api/v1%s", a->context.server, path);
        _cleanup_(x_freep) char *text = body ? json_encode_compact(body) : NULL;
        struct call *c = calloc(1, sizeof(*c));
        if (!url || !c || (body && !text)) {
                free(c);
                return err_set_errno(err, ENOMEM, "call %s", a->context.server);
        }
        *c = (struct call){a, done, arg, bytes};
        const char *headers[4];
        size_t n = 0;
        headers[n++] = bytes ? "Accept: */*" : "Accept: application/json";
        if (a->authorization)
                headers[n++] = a->authorization;
        if (text)
                headers[n++] = "Content-Type: application/json";
        headers[n] = NULL;
        const struct http_request request = {
                .method = method,
                .url = url,
                .headers = headers,
                .body = text,
                .body_len = text ? strlen(text) : 0,
                .limit = ANSWER_LIMIT,
                .streaming = slow,
                .done = on_done,
                .arg = c,
        };
        int r = http_client_send(a->client, &request, NULL, err);
        if (r < 0)
                free(c);
        return r;
}

int api_get(struct api *a, const char *path, api_done_fn done, void *arg, struct err **err) {
        return send_call(a, "GET", path, NULL, false, NULL, done, arg, err);
}

struct waited {
        struct loop *loop;
        json_t *answer;
        struct err *error;
};

static void on_waited(void *arg, const json_t *answer, const struct err *error) {
        struct waited *w = arg;
        if (error)
                (void)err_set(&w->error, error->code, "%s", error->message);
        else
                w->answer = json_incref((json_t *)answer);
        loop_stop(w->loop, 0);
}

static int call_and_wait(struct api *a, const char *method, const char *path, const json_t *body, bool slow,
                         struct buf *bytes, json_t **ret, struct err **err) {
        struct waited w = {.loop = a->loop};
        int r = send_call(a, method, path, body, slow, bytes, on_waited, &w, err);
        if (r < 0)
                return r;
        (void)loop_run(a->loop);
        if (w.error)
                return err_move(err, w.error);
        if (!w.answer)
                return err_set(err, EINTR, "the call to %s was interrupted", a->context.server);
        if (ret)
                *ret = w.answer;
        else
                json_decref(w.answer);
        return 0;
}

int api_call(struct api *a, const char *method, const char *path, const json_t *body, json_t **ret,
             struct err **err) {
        return call_and_wait(a, method, path, body, false, NULL, ret, err);
}

int api_call_slow(struct api *a, const char *method, const char *path, const json_t *body, json_t **ret,
                  struct err **err) {
        return call_and_wait(a, method, path, body, true, NULL, ret, err);
}

int api_get_bytes(struct api *a, const char *path, char **ret_data, size_t *ret_len, struct err **err) {
        _cleanup_(buf_done) struct buf bytes = BUF_INIT;
        int r = call_and_wait(a, "GET", path, NULL, false, &bytes, NULL, err);
        if (r < 0)
                return r;
        size_t len = bytes.len;
        char *data = len > 0 ? buf_take(&bytes, NULL) : str_dup("");
        if (!data)
                return err_set_errno(err, ENOMEM, "call %s", a->context.server);
        *ret_data = data;
        *ret_len = len;
        return 0;
}

/* ---- streams */

struct api_stream {
        struct api *api;
        char *url;
        struct api_stream_handler handler;
        struct http_call *call;
        struct loop_timer *retry;
        struct backoff backoff;
        struct sse_reader reader;
        bool opened; /* at least once */
};

static void stream_connect(struct api_stream *s);

static int on_sse(void *arg, const struct sse_event *event) {
        struct api_stream *s = arg;
        _cleanup_json_ json_t *data = NULL;
        /* An event that we cannot read is not worth the connection: newer servers may say more than we know.
         */
        if (json_decode(event->data, strlen(event->data), &data, NULL) == 0)
                s->handler.on_event(s->handler.arg, event->type, data);
        return 0;
}

static int on_stream_data(void *arg, const char *p, size_t n) {
        struct api_stream *s = arg;
        backoff_reset(&s->backoff);
        return sse_feed(&s->reader, p, n);
}

static void on_stream_headers(void *arg, int status) {
        struct api_stream *s = arg;
        if (status != 200)
                return;
        s->opened = true;
        if (s->handler.on_open)
                s->handler.on_open(s->handler.arg);
}

static void on_stream_done(void *arg, const struct http_result *r) {
        struct api_stream *s = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        s->call = NULL;
        bool refused = r->error == 0 && r->status >= 400 && r->status < 500;
        if (r->error < 0)
                (void)transport_error(s->api, r, &err);
        else if (r->status < 200 || r->status > 299)
                (void)status_error(s->api, r->status, r->body, r->body_len, &err);
        else
                (void)err_set(&err, EHOSTUNREACH, "the server at %s closed the event stream",
                              s->api->context.server);
        if (refused || !s->opened) {
                s->handler.on_end(s->handler.arg, err); /* may free s */
                return;
        }
        loop_timer_set(s->retry, backoff_next(&s->backoff, &s->api->random, r->retry_after_ms));
        if (s->handler.on_lost)
                s->handler.on_lost(s->handler.arg, err); /* may free s */
}

static void on_stream_retry(void *arg) {
        stream_connect(arg);
}

static void stream_connect(struct api_stream *s) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *last = NULL;
        const char *headers[4];
        size_t n = 0;
        sse_reader_restart(&s->reader);
        headers[n++] = "Accept: text/event-stream";
        if (s->api->authorization)
                headers[n++] = s->api->authorization;
        if (*sse_last_id(&s->reader) && (last = str_format("Last-Event-ID: %s", sse_last_id(&s->reader))))
                headers[n++] = last;
        headers[n] = NULL;
        const struct http_request request = {
                .url = s->url,
                .headers = headers,
                .streaming = true,
                .on_data = on_stream_data,
                .on_headers = on_stream_headers,
                .done = on_stream_done,
                .arg = s,
        };
        if (http_client_send(s->api->client, &request, &s->call, &err) < 0)
                s->handler.on_end(s->handler.arg, err);
}

int api_stream_open(struct api *a, const char *path, const struct api_stream_handler *h,
                    struct api_stream **ret, struct err **err) {
        _cleanup_(api_stream_freep) struct api_stream *s = calloc(1, sizeof(*s));
        if (!s)
                return err_set_errno(err, ENOMEM, "follow the events of %s", a->context.server);
        s->api = a;
        s->handler = *h;
        s->backoff = (struct backoff)BACKOFF_INIT(500, 15000);
        sse_reader_init(&s->reader, on_sse, s);
        s->url = str_format("%s/api/v1%s", a->context.server, path);
        s->retry = loop_timer_new(a->loop, on_stream_retry, s);
        if (!s->url || !s->retry)
                return err_set_errno(err, ENOMEM, "follow the events of %s", a->context.server);
        /* Connected from the timer, so that no handler is called before the caller has its stream. */
        loop_timer_set(s->retry, 0);
        *ret = TAKE_PTR(s);
        return 0;
}

struct api_stream *api_stream_free(struct api_stream *s) {
        if (!s)
                return NULL;
        if (s->call)
                http_call_cancel(s->call);
        loop_timer_free(s->retry);
        sse_reader_done(&s->reader);
        free(s->url);
        free(s);
        return NULL;
}
