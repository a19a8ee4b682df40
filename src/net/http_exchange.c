/* SPDX-License-Identifier: Apache-2.0 */
/* Exchanges: what handlers see of a request, and what they answer. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "net/http_exchange.h"
#include "net/http_target.h"

struct http_note {
        struct http_note *next;
        char text[];
};

/* ---- heads */

int http_head_add(struct http_head *h, const char *name, size_t name_len, const char *value,
                  size_t value_len) {
        h->bytes += name_len + value_len + 32;
        int r = buf_append(&h->text, name, name_len);
        if (r >= 0)
                r = buf_putc(&h->text, '\0');
        if (r >= 0)
                r = buf_append(&h->text, value, value_len);
        if (r >= 0)
                r = buf_putc(&h->text, '\0');
        return r;
}

bool http_field_next(const char **at, const char *end, const char **ret_name, const char **ret_value) {
        if (*at >= end)
                return false;
        *ret_name = *at;
        *ret_value = *ret_name + strlen(*ret_name) + 1;
        *at = *ret_value + strlen(*ret_value) + 1;
        return true;
}

static const char *field_find(const char *at, const char *end, const char *wanted) {
        const char *name, *value;
        while (http_field_next(&at, end, &name, &value))
                if (strcasecmp(name, wanted) == 0)
                        return value;
        return NULL;
}

/* ---- life */

/* One piece of memory holds the struct, the head's text, the decoded path and room for the parameters. */
int http_exchange_new(struct http_connection *c, const struct http_head *h, struct http_exchange **ret) {
        const char *text = h->text.data, *text_end = text ? text + h->text.len : NULL;
        const char *method = h->text.len ? field_find(text, text_end, ":method") : NULL;
        const char *target = h->text.len ? field_find(text, text_end, ":path") : NULL;
        if (!text || !method || !target)
                return -EPROTO;
        size_t path_len = strcspn(target, "?");
        size_t parameters = HTTP_PARAMETERS_MAX * sizeof(char *);
        size_t size = sizeof(struct http_exchange) + parameters + h->text.len + path_len + 1 + path_len +
                      HTTP_PARAMETERS_MAX;
        struct http_exchange *x = calloc(1, size);
        if (!x)
                return -ENOMEM;
        x->parameters = (const char **)(x + 1);
        char *fields = (char *)(x + 1) + parameters;
        memcpy(fields, text, h->text.len);
        x->fields = fields;
        x->fields_end = fields + h->text.len;
        x->connection = c;
        x->method = fields + (method - text);
        x->is_head = str_eq(x->method, "HEAD");
        target = fields + (target - text);
        x->query = target[path_len] == '?' ? target + path_len + 1 : NULL;
        char *path = fields + h->text.len;
        /* An empty path says that the target was bad; start() then answers 400. */
        if (http_target_path(target, path_len, path) < 0 ||
            (x->query && !http_target_query_is_valid(x->query)))
                path[0] = '\0';
        x->path = path;
        x->body_length = HTTP_LENGTH_UNKNOWN;
        x->response_length = HTTP_LENGTH_UNKNOWN;
        x->started = x->body_at = http_connection_now(c);
        list_append(&c->exchanges, &x->link);
        c->exchange_count++;
        c->used = true;
        c->service->stats.exchanges++;
        c->service->stats.open_exchanges++;
        *ret = x;
        return 0;
}

static void release_held(struct http_exchange *x) {
        x->connection->held -= x->held.len;
        x->connection->service->held -= x->held.len;
        buf_done(&x->held);
        x->held = (struct buf)BUF_INIT;
}

void http_exchange_end(struct http_exchange *x) {
        struct http_connection *c = x->connection;
        struct http_service *s = c->service;
        list_remove(&x->link);
        x->ended = true;
        if (x->file)
                http_file_detach(TAKE_PTR(x->file));
        if (x->on_close)
                x->on_close(x, x->on_close_arg);
        msec_t now = http_connection_now(c);
        if (s->after)
                s->after(x, x->status, x->bytes_out, now - x->started, s->arg);
        s->stats.open_exchanges--;
        if (--c->exchange_count == 0)
                c->idle_since = now;
        release_held(x);
        buf_done(&x->response_fields);
        http_queue_done(&x->out);
        while (x->notes) {
                struct http_note *next = x->notes->next;
                free(x->notes);
                x->notes = next;
        }
        free(x);
}

/* The room for parameters lies behind the path. */
static void keep_parameters(struct http_exchange *x, const struct http_match *m) {
        char *out = (char *)x->path + strlen(x->path) + 1;
        for (size_t i = 0; i < m->count; i++) {
                memcpy(out, m->values[i].start, m->values[i].len);
                out[m->values[i].len] = '\0';
                x->parameters[i] = out;
                out += m->values[i].len + 1;
        }
}

static void refuse(struct http_exchange *x, int status) {
        switch (status) {
        case 417:
                http_respond_error(x, status, "expectation_failed",
                                   "the only expectation known is 100-continue");
                break;
        case 431:
                http_respond_error(x, status, "header_too_large",
                                   "the request's header fields are larger than this server takes");
                break;
        default: http_respond_error(x, 400, "bad_request", "the request is malformed");
        }
}

void http_exchange_start(struct http_exchange *x, int refusal) {
        struct http_service *s = x->connection->service;
        if (refusal) {
                refuse(x, refusal);
                return;
        }
        if (x->path[0] == '\0') {
                http_respond_error(
                        x, 400, "bad_request",
                        "the path or query is malformed: UTF-8 in correct %XX, without \"..\" and NUL");
                return;
        }
        struct http_match m;
        int r = http_router_find(s->routes, x->method, x->path, &m);
        if (r < 0) {
                if (s->before && !s->before(x, s->arg))
                        return;
                if (r == -EPERM) {
                        char methods[256];
                        http_set_header(x, "Allow",
                                        http_router_methods(s->routes, x->path, methods, sizeof(methods)));
                        http_respond_error(x, 405, "method_not_allowed", "this path has other methods");
                } else
                        http_respond_error(x, 404, "not_found", "there is nothing at this path");
                return;
        }
        x->route = m.route;
        keep_parameters(x, &m);
        if (!s->before || s->before(x, s->arg))
                m.route->handler(x, s->arg);
}

static msec_t body_deadline(const struct http_exchange *x) {
        msec_t patience = x->connection->service->limits.body_ms;
        if (x->body_ended || x->body_mode == BODY_UNCLAIMED || x->body_paused)
                return INT64_MAX;
        return x->body_at + (x->response == RESPONSE_SENT ? MIN(patience, (msec_t)HTTP_REST_MS) : patience);
}

static msec_t write_deadline(const struct http_exchange *x) {
        return http_queue_len(&x->out) > 0 ? x->write_at + x->connection->service->limits.write_ms
                                           : INT64_MAX;
}

msec_t http_exchange_deadline(const struct http_exchange *x) {
        return x->aborted ? INT64_MAX : MIN(body_deadline(x), write_deadline(x));
}

void http_exchange_expire(struct http_exchange *x, msec_t now) {
        if (write_deadline(x) <= now)
                http_abort(x);
        else if (body_deadline(x) > now)
                return;
        else if (x->response == RESPONSE_NONE)
                http_respond_error(x, 408, "timeout", "the request's body did not come in time");
        else
                http_abort(x);
}

/* ---- reading the request */

const char *http_method(const struct http_exchange *x) {
        return x->method;
}

const char *http_path(const struct http_exchange *x) {
        return x->path;
}

const char *http_parameter(const struct http_exchange *x, const char *name) {
        int i = x->route ? http_router_parameter(x->route->pattern, name) : -1;
        return i >= 0 ? x->parameters[i] : NULL;
}

const char *http_query(const struct http_exchange *x, const char *name) {
        size_t len = 0;
        const char *value = x->query ? http_target_query_find(x->query, name, &len) : NULL;
        if (!value)
                return NULL;
        struct http_note *note = malloc(sizeof(*note) + len + 1);
        if (!note)
                return NULL;
        http_target_query_decode(value, len, note->text);
        /* Asked for again and again, it must not pile up. */
        for (struct http_note *n = x->notes; n; n = n->next)
                if (str_eq(n->text, note->text)) {
                        free(note);
                        return n->text;
                }
        struct http_exchange *owner = (struct http_exchange *)x;
        note->next = owner->notes;
        owner->notes = note;
        return note->text;
}

const char *http_header(const struct http_exchange *x, const char *name) {
        const char *value = field_find(x->fields, x->fields_end, name);
        if (!value && strcasecmp(name, "host") == 0)
                value = field_find(x->fields, x->fields_end, ":authority");
        return value;
}

const char *http_peer_address(const struct http_exchange *x) {
        return x->connection->address;
}

const char *http_peer_spiffe_id(const struct http_exchange *x) {
        return x->connection->spiffe_id;
}

const char *http_peer_serial(const struct http_exchange *x) {
        return x->connection->serial;
}

bool http_peer_has_expired(const struct http_exchange *x) {
        const struct http_connection *c = x->connection;
        return c->peer_not_after != 0 && clock_wall_ms(c->service->clock) > c->peer_not_after;
}

const void *http_route_context(const struct http_exchange *x) {
        return x->route ? x->route->context : NULL;
}

/* ---- the request's body */

static void refuse_body(struct http_exchange *x, int status, const char *code, const char *message) {
        if (x->response == RESPONSE_NONE)
                http_respond_error(x, status, code, message);
        else
                http_abort(x);
}

static void refuse_too_large(struct http_exchange *x) {
        char message[96];
        snprintf(message, sizeof(message), "the request's body is larger than the %zu bytes taken here",
                 x->body_limit);
        refuse_body(x, 413, "too_large", message);
}

/* Keeps bytes for a handler that has not asked yet, has paused, or wants the whole. */
static void hold(struct http_exchange *x, const char *p, size_t n) {
        struct http_connection *c = x->connection;
        struct http_service *s = c->service;
        if (n > HTTP_HELD_PER_CONNECTION - c->held || n > HTTP_HELD_PER_SERVER - s->held ||
            buf_append(&x->held, p, n) < 0) {
                refuse_body(x, 503, "unavailable", "the server holds too much already, try again later");
                return;
        }
        c->held += n;
        s->held += n;
}

/* Hands over what is held, and the end, as far as the handler takes it now. */
static void deliver(struct http_exchange *x) {
        if (x->body_mode == BODY_STREAM && !x->body_paused && x->held.len > 0) {
                struct buf b = x->held;
                x->held = (struct buf)BUF_INIT;
                x->connection->held -= b.len;
                x->connection->service->held -= b.len;
                x->chunk(x, b.data, b.len, x->body_arg);
                x->connection->protocol->consumed(x, b.len);
                buf_done(&b);
        }
        if (!x->body_ended || x->body_told || x->ended || x->aborted)
                return;
        if (x->body_mode == BODY_STREAM && !x->body_paused) {
                x->body_told = true;
                x->chunk(x, "", 0, x->body_arg);
        } else if (x->body_mode == BODY_COLLECT) {
                struct buf b = x->held;
                x->held = (struct buf)BUF_INIT;
                x->connection->held -= b.len;
                x->connection->service->held -= b.len;
                x->body_told = true;
                x->ready(x, buf_str(&b), b.len, x->body_arg);
                buf_done(&b);
        }
}

bool http_exchange_takes_body(const struct http_exchange *x) {
        return x->body_mode != BODY_UNCLAIMED && !x->body_paused &&
               (x->body_mode != BODY_DISCARD || x->discarded < HTTP_DISCARD_MAX);
}

void http_exchange_body(struct http_exchange *x, const char *p, size_t n) {
        x->body_at = http_connection_now(x->connection);
        if (x->ended || x->aborted || n == 0)
                return;
        if (x->body_mode == BODY_STREAM && !x->body_paused) {
                x->chunk(x, p, n, x->body_arg);
                x->connection->protocol->consumed(x, n);
        } else if (x->body_mode == BODY_COLLECT) {
                if (n > x->body_limit - x->held.len)
                        refuse_too_large(x);
                else
                        hold(x, p, n);
                x->connection->protocol->consumed(x, n);
        } else if (x->body_mode == BODY_DISCARD) {
                x->discarded += n;
                /* Past the limit the peer's window stays shut. */
                if (x->discarded <= HTTP_DISCARD_MAX)
                        x->connection->protocol->consumed(x, n);
        } else
                hold(x, p, n);
}

void http_exchange_body_end(struct http_exchange *x) {
        x->body_ended = true;
        deliver(x);
}

void http_exchange_body_broken(struct http_exchange *x) {
        refuse_body(x, 400, "bad_request", "the request's body is malformed");
}

static bool claim(struct http_exchange *x, enum http_body_mode mode) {
        struct http_connection *c = x->connection;
        if (x->ended || x->aborted || x->body_mode != BODY_UNCLAIMED)
                return false;
        x->body_mode = (uint8_t)mode;
        if (x->body_ended)
                return true;
        x->body_at = http_connection_now(c);
        http_connection_expect(c, c->service->limits.body_ms);
        if (x->expects_continue) {
                x->expects_continue = false;
                if (x->response == RESPONSE_NONE)
                        c->protocol->send_continue(x);
        }
        c->protocol->body_wanted(x);
        return true;
}

void http_read_body(struct http_exchange *x, size_t limit,
                    void (*ready)(struct http_exchange *x, const char *body, size_t len, void *arg),
                    void *arg) {
        size_t most = limit ? limit : x->connection->service->limits.body_bytes;
        x->body_limit = most;
        if (x->body_mode == BODY_UNCLAIMED && !x->ended && !x->aborted &&
            ((x->body_length != HTTP_LENGTH_UNKNOWN && x->body_length > most) || x->held.len > most)) {
                refuse_too_large(x);
                return;
        }
        x->ready = ready;
        x->body_arg = arg;
        if (!claim(x, BODY_COLLECT))
                return;
        if (x->held.len > 0)
                x->connection->protocol->consumed(x, x->held.len);
        deliver(x);
}

void http_stream_body(struct http_exchange *x,
                      void (*chunk)(struct http_exchange *x, const char *p, size_t n, void *arg), void *arg) {
        if (x->body_mode != BODY_UNCLAIMED)
                return;
        x->chunk = chunk;
        x->body_arg = arg;
        if (claim(x, BODY_STREAM))
                deliver(x);
}

void http_pause_body(struct http_exchange *x) {
        x->body_paused = true;
}

void http_resume_body(struct http_exchange *x) {
        if (!x->body_paused || x->ended || x->aborted)
                return;
        x->body_paused = false;
        x->body_at = http_connection_now(x->connection);
        http_connection_expect(x->connection, x->connection->service->limits.body_ms);
        x->connection->protocol->body_wanted(x);
        deliver(x);
}

/* ---- answering */

static bool is_field_name(const char *s) {
        return *s &&
               strspn(s, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") ==
                       strlen(s);
}

static bool is_field_value(const char *s) {
        for (const unsigned char *p = (const unsigned char *)s; *p; p++)
                if ((*p < 0x20 && *p != '\t') || *p == 0x7f)
                        return false;
        return true;
}

/* What the protocols write themselves. */
static bool is_connection_field(const char *name) {
        static const char *const names[] = {"connection", "transfer-encoding", "keep-alive",
                                            "upgrade",    "proxy-connection",  "date"};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (strcasecmp(name, names[i]) == 0)
                        return true;
        return false;
}

void http_set_header(struct http_exchange *x, const char *name, const char *value) {
        if (x->ended || x->response != RESPONSE_NONE || !is_field_name(name) || is_connection_field(name))
                return;
        if (!is_field_value(value) || x->response_fields_count == HTTP_RESPONSE_FIELDS_MAX) {
                x->failed_fields = true;
                return;
        }
        if (strcasecmp(name, "content-length") == 0) {
                if (str_to_u64(value, &x->response_length) < 0)
                        x->failed_fields = true;
                return;
        }
        struct http_head h = {.text = x->response_fields};
        size_t before = h.text.len, name_len = strlen(name);
        int r = http_head_add(&h, name, name_len, value, strlen(value));
        x->response_fields = h.text;
        if (r < 0) {
                x->failed_fields = true;
                return;
        }
        for (char *p = x->response_fields.data + before; *p; p++)
                if (*p >= 'A' && *p <= 'Z')
                        *p = (char)(*p | 0x20);
        x->response_fields_count++;
}

bool http_exchange_has_content(const struct http_exchange *x) {
        return !x->is_head && x->status != 204 && x->status != 304;
}

/* An answer is final: what still comes of the request's body goes nowhere. */
static void finish(struct http_exchange *x) {
        x->response = RESPONSE_FINISHED;
        if (!x->body_ended && x->body_mode != BODY_DISCARD) {
                size_t unread = x->body_mode == BODY_COLLECT ? 0 : x->held.len;
                x->body_mode = BODY_DISCARD;
                x->body_paused = false;
                x->body_at = http_connection_now(x->connection);
                http_connection_expect(x->connection, x->connection->service->limits.body_ms);
                release_held(x);
                if (unread > 0)
                        x->connection->protocol->consumed(x, unread);
        }
}

static bool begin(struct http_exchange *x, int status, const char *content_type) {
        if (x->ended || x->aborted || x->response != RESPONSE_NONE)
                return false;
        if (content_type)
                http_set_header(x, "content-type", content_type);
        if (x->failed_fields) {
                http_abort(x);
                return false;
        }
        x->status = (uint16_t)status;
        return true;
}

static int enqueue(struct http_exchange *x, const void *p, size_t n) {
        struct http_connection *c = x->connection;
        if (n == 0)
                return 0;
        if (http_queue_len(&x->out) == 0) {
                x->write_at = http_connection_now(c);
                http_connection_expect(c, c->service->limits.write_ms);
        }
        return http_queue_append(&x->out, p, n);
}

void http_respond(struct http_exchange *x, int status, const char *content_type, const void *body,
                  size_t len) {
        if (!begin(x, status, content_type))
                return;
        x->response_length = len;
        if (http_exchange_has_content(x) && enqueue(x, body, len) < 0) {
                http_abort(x);
                return;
        }
        x->response_queued = len;
        finish(x);
        x->connection->protocol->respond(x);
        buf_done(&x->response_fields);
        x->response_fields = (struct buf)BUF_INIT;
}

static void append_json_string(struct buf *b, const char *s) {
        (void)buf_putc(b, '"');
        if (!utf8_is_valid(s, strlen(s)))
                s = "?";
        for (; *s; s++) {
                if (*s == '"' || *s == '\\')
                        (void)buf_printf(b, "\\%c", *s);
                else if ((unsigned char)*s < 0x20)
                        (void)buf_printf(b, "\\u%04x", (unsigned)(unsigned char)*s);
                else
                        (void)buf_putc(b, *s);
        }
        (void)buf_putc(b, '"');
}

void http_respond_error(struct http_exchange *x, int status, const char *code, const char *message) {
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        (void)buf_puts(&b, "{\"error\":{\"code\":");
        append_json_string(&b, code);
        (void)buf_puts(&b, ",\"message\":");
        append_json_string(&b, message);
        (void)buf_puts(&b, "}}\n");
        if (buf_failed(&b) < 0)
                buf_clear(&b);
        http_respond(x, status, "application/json", buf_str(&b), b.len);
}

int http_begin(struct http_exchange *x, int status, const char *content_type) {
        if (!begin(x, status, content_type))
                return -EPIPE;
        x->response = RESPONSE_BEGUN;
        x->connection->protocol->respond(x);
        buf_done(&x->response_fields);
        x->response_fields = (struct buf)BUF_INIT;
        return 0;
}

size_t http_write_room(const struct http_exchange *x) {
        size_t queued = http_queue_len(&x->out), most = x->connection->service->limits.write_buffer_bytes;
        return queued < most ? most - queued : 0;
}

int http_write(struct http_exchange *x, const void *p, size_t n) {
        if (x->ended || x->aborted || x->response != RESPONSE_BEGUN)
                return -EPIPE;
        if (x->response_length != HTTP_LENGTH_UNKNOWN && n > x->response_length - x->response_queued)
                return -EMSGSIZE;
        if (http_exchange_has_content(x)) {
                if (n > http_write_room(x) && http_queue_len(&x->out) > 0) {
                        x->wants_drain = true;
                        return -EAGAIN;
                }
                if (enqueue(x, p, n) < 0) {
                        http_abort(x);
                        return -EPIPE;
                }
                x->connection->protocol->written(x);
        }
        x->response_queued += n;
        return 0;
}

void http_finish(struct http_exchange *x) {
        if (x->ended || x->aborted || x->response != RESPONSE_BEGUN)
                return;
        if (http_exchange_has_content(x) && x->response_length != HTTP_LENGTH_UNKNOWN &&
            x->response_queued < x->response_length) {
                http_abort(x); /* the peer must not take a part for the whole */
                return;
        }
        finish(x);
        x->connection->protocol->written(x);
}

void http_abort(struct http_exchange *x) {
        if (x->ended || x->aborted)
                return;
        x->aborted = true;
        http_queue_done(&x->out);
        x->connection->protocol->abort(x);
        http_connection_wake(x->connection);
}

void http_exchange_sent(struct http_exchange *x, size_t n) {
        struct http_connection *c = x->connection;
        http_queue_consume(&x->out, n);
        x->bytes_out += n;
        x->write_at = http_connection_now(c);
        if (x->wants_drain && http_write_room(x) >= c->service->limits.write_buffer_bytes / 2)
                c->drain_due = true;
}

void http_exchange_drain(struct http_exchange *x) {
        if (!x->wants_drain || x->ended || x->aborted ||
            http_write_room(x) < x->connection->service->limits.write_buffer_bytes / 2)
                return;
        x->wants_drain = false;
        if (x->file)
                http_file_drain(x->file);
        else if (x->on_drain)
                x->on_drain(x, x->on_drain_arg);
}

void http_on_close(struct http_exchange *x, void (*on_close)(struct http_exchange *x, void *arg), void *arg) {
        x->on_close = on_close;
        x->on_close_arg = arg;
}

void http_on_drain(struct http_exchange *x, void (*on_drain)(struct http_exchange *x, void *arg), void *arg) {
        x->on_drain = on_drain;
        x->on_drain_arg = arg;
}
