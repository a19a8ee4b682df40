/* SPDX-License-Identifier: Apache-2.0 */
/* A small application, and an HTTP connection without a socket on a virtual clock. */
#pragma once

#include <string.h>

#include "base/str.h"
#include "net/http_exchange.h"

struct app {
        struct http_exchange *later; /* of /later and /stream: answered by the test */
        int calls, closes, afters, refuse_next;
        int last_status;
        char body[256]; /* what a handler was given */
        size_t body_len, chunks;
        bool body_ended, pause;
        size_t big_left; /* of /big */
};

static inline void app_on_close(struct http_exchange *x, void *arg) {
        struct app *a = arg;
        a->closes++;
        if (a->later == x)
                a->later = NULL;
}

static inline void app_hello(struct http_exchange *x, void *arg) {
        ((struct app *)arg)->calls++;
        http_respond(x, 200, "text/plain", "hi", 2);
}

static inline void app_later(struct http_exchange *x, void *arg) {
        struct app *a = arg;
        a->calls++;
        a->later = x;
        http_on_close(x, app_on_close, a);
}

static inline void app_stream(struct http_exchange *x, void *arg) {
        app_later(x, arg);
        (void)http_begin(x, 200, "text/event-stream");
}

static inline void app_body_ready(struct http_exchange *x, const char *body, size_t len, void *arg) {
        struct app *a = arg;
        a->body_len = len;
        memcpy(a->body, body, MIN(len, sizeof(a->body)));
        http_respond(x, 200, "text/plain", body, len);
}

static inline void app_echo(struct http_exchange *x, void *arg) {
        ((struct app *)arg)->calls++;
        http_on_close(x, app_on_close, arg);
        http_read_body(x, 0, app_body_ready, arg);
}

static inline void app_chunk(struct http_exchange *x, const char *p, size_t n, void *arg) {
        struct app *a = arg;
        memcpy(a->body + MIN(a->body_len, sizeof(a->body)), p,
               MIN(n, sizeof(a->body) - MIN(a->body_len, sizeof(a->body))));
        a->body_len += n;
        a->chunks++;
        if (n == 0) {
                a->body_ended = true;
                http_respond(x, 200, "text/plain", "done", 4);
        } else if (a->pause)
                http_pause_body(x);
}

static inline void app_count(struct http_exchange *x, void *arg) {
        app_later(x, arg);
        http_stream_body(x, app_chunk, arg);
}

static inline void app_named(struct http_exchange *x, void *arg) {
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        const char *colour = http_query(x, "colour");
        const char *name = http_parameter(x, "name"), *rest = http_parameter(x, "*");
        ((struct app *)arg)->calls++;
        (void)buf_printf(&b, "%s|%s|%s|%s", http_path(x), name ? name : "-", rest ? rest : "-",
                         colour ? colour : "-");
        http_respond(x, 200, "text/plain", b.data, b.len);
}

static inline void app_pour(struct http_exchange *x, void *arg) {
        struct app *a = arg;
        static const char block[1000] = "big";
        while (a->big_left > 0) {
                if (http_write(x, block, sizeof(block)) < 0)
                        return;
                a->big_left -= sizeof(block);
        }
        http_finish(x);
}

static inline void app_big(struct http_exchange *x, void *arg) {
        app_later(x, arg);
        http_on_drain(x, app_pour, arg);
        (void)http_begin(x, 200, "application/octet-stream");
        app_pour(x, arg);
}

static inline bool app_before(struct http_exchange *x, void *arg) {
        struct app *a = arg;
        if (!a->refuse_next)
                return true;
        a->refuse_next--;
        http_set_header(x, "WWW-Authenticate", "Bearer");
        http_respond_error(x, 401, "unauthorized", "a \"token\" is needed");
        return false;
}

static inline void app_after(struct http_exchange *x, int status, uint64_t bytes, msec_t took, void *arg) {
        struct app *a = arg;
        a->afters++;
        a->last_status = status;
}

static const struct http_route app_routes[] = {
        {"GET", "/hello", app_hello, NULL},
        {"GET", "/later", app_later, NULL},
        {"GET", "/stream", app_stream, NULL},
        {"POST", "/echo", app_echo, NULL},
        {"PUT", "/echo", app_echo, NULL},
        {"POST", "/count", app_count, NULL},
        {"POST", "/later", app_later, NULL},
        {"GET", "/nodes/:name", app_named, NULL},
        {"GET", "/nodes/:name/log", app_named, NULL},
        {"GET", "/files/*", app_named, NULL},
        {"GET", "/big", app_big, NULL},
        {NULL, NULL, NULL, NULL},
};

struct wire {
        struct app app;
        struct virtual_clock clock;
        struct http_service service;
        struct http_connection connection;
        struct buf out; /* what the server sent and the test has not looked at yet */
        int result;     /* of the last feed */
};

static inline void wire_open(struct wire *w, const struct http_limits *limits,
                             const struct http_protocol *protocol) {
        *w = (struct wire){.out = BUF_INIT};
        const struct http_server_options o = {.routes = app_routes,
                                              .arg = &w->app,
                                              .before = app_before,
                                              .after = app_after,
                                              .limits = limits ? *limits : (struct http_limits){0}};
        assert_int_equal(http_service_init(&w->service, NULL, &o), 0);
        virtual_clock_init(&w->clock, 784111777000); /* Sun, 06 Nov 1994 08:49:37 GMT */
        virtual_clock_advance(&w->clock, 1000000);
        w->service.clock = &w->clock.clock;
        http_connection_init(&w->connection, &w->service);
        if (protocol)
                assert_int_equal(http_connection_choose(&w->connection, protocol), 0);
}

static inline void wire_close(struct wire *w) {
        http_connection_done(&w->connection);
        http_service_done(&w->service);
        buf_done(&w->out);
}

/* Takes what the server has to say, `step` bytes at a time. */
static inline void wire_drain(struct wire *w, size_t step) {
        char part[4096];
        for (size_t n; (n = http_connection_produce(&w->connection, part, MIN(step, sizeof(part)))) > 0;)
                assert_int_equal(buf_append(&w->out, part, n), 0);
}

static inline void wire_feed(struct wire *w, const void *p, size_t n) {
        if (!w->connection.closing && !w->connection.failed)
                w->result = http_connection_feed(&w->connection, p, n);
        wire_drain(w, 4096);
}

/* As the driver does it: looks whether a deadline has passed, and answers it. */
static inline void wire_pass(struct wire *w, msec_t ms) {
        virtual_clock_advance(&w->clock, ms);
        if (http_connection_deadline(&w->connection) <= w->clock.mono)
                http_connection_expire(&w->connection);
        wire_drain(w, 4096);
}
