/* SPDX-License-Identifier: Apache-2.0 */
/* Drives an HTTP connection without a socket, with handlers that answer at once, late, in pieces, or never.
 */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "net/http_exchange.h"

struct driven {
        struct http_service service;
        struct http_connection connection;
        struct virtual_clock clock;
        struct http_exchange *open[256]; /* that somebody else than the handler will answer */
        size_t open_count, calls, body_bytes;
        bool meddling;
};

static void driven_left(struct http_exchange *x, void *arg) {
        struct driven *d = arg;
        for (size_t i = 0; i < d->open_count; i++)
                if (d->open[i] == x) {
                        d->open[i] = d->open[--d->open_count];
                        return;
                }
        abort(); /* told of an exchange that was not open, or twice */
}

static void driven_keep(struct driven *d, struct http_exchange *x) {
        if (d->open_count == ARRAY_SIZE(d->open))
                abort(); /* more exchanges than the limits let through */
        d->open[d->open_count++] = x;
        http_on_close(x, driven_left, d);
}

static void driven_hello(struct http_exchange *x, void *arg) {
        ((struct driven *)arg)->calls++;
        const char *who = http_query(x, "who"), *name = http_parameter(x, "name");
        http_set_header(x, "X-Who", who ? who : name ? name : "nobody");
        http_respond(x, 200, "text/plain", "hello", 5);
}

static void driven_ready(struct http_exchange *x, const char *body, size_t len, void *arg) {
        ((struct driven *)arg)->body_bytes += len;
        http_respond(x, 200, "application/octet-stream", body, len);
}

static void driven_echo(struct http_exchange *x, void *arg) {
        ((struct driven *)arg)->calls++;
        http_read_body(x, 0, driven_ready, arg);
}

static void driven_chunk(struct http_exchange *x, const char *p, size_t n, void *arg) {
        struct driven *d = arg;
        d->body_bytes += n;
        if (n == 0)
                http_respond(x, 204, NULL, NULL, 0);
        else if (d->meddling && (n & 1))
                http_pause_body(x);
}

static void driven_stream(struct http_exchange *x, void *arg) {
        ((struct driven *)arg)->calls++;
        driven_keep(arg, x);
        http_stream_body(x, driven_chunk, arg);
}

static void driven_later(struct http_exchange *x, void *arg) {
        ((struct driven *)arg)->calls++;
        driven_keep(arg, x);
}

static void driven_events(struct http_exchange *x, void *arg) {
        driven_later(x, arg);
        (void)http_begin(x, 200, "text/event-stream");
        (void)http_write(x, "event", 5);
}

static const struct http_route driven_routes[] = {
        {"GET", "/", driven_hello, NULL},
        {"GET", "/hello", driven_hello, NULL},
        {"GET", "/n/:name", driven_hello, NULL},
        {"POST", "/echo", driven_echo, NULL},
        {"POST", "/stream", driven_stream, NULL},
        {"GET", "/later", driven_later, NULL},
        {"POST", "/later", driven_later, NULL},
        {"GET", "/events", driven_events, NULL},
        {NULL, NULL, NULL, NULL},
};

/* What the rest of the program might do meanwhile. */
static void driven_act(struct driven *d, unsigned turn) {
        if (d->open_count == 0)
                return;
        struct http_exchange *x = d->open[turn % d->open_count];
        switch (turn % 7) {
        case 0: http_respond(x, 200, "text/plain", "late", 4); break;
        case 1: http_resume_body(x); break;
        case 2: (void)http_write(x, "more", 4); break;
        case 3: http_finish(x); break;
        case 4: http_read_body(x, 100, driven_ready, d); break;
        case 5: http_stream_body(x, driven_chunk, d); break;
        default: http_abort(x);
        }
}

static void driven_flush(struct driven *d, size_t step) {
        char out[4096];
        while (http_connection_produce(&d->connection, out, MIN(step, sizeof(out))) > 0)
                ;
}

/* All of the data, `step` bytes at a time; with meddling the program acts and time passes in between. */
static void driven_run(struct driven *d, const struct http_protocol *protocol, const uint8_t *data,
                       size_t size, size_t step, bool meddling) {
        const struct http_server_options o = {
                .routes = driven_routes,
                .arg = d,
                .limits = {.header_bytes = 2000,
                           .body_bytes = 5000,
                           .write_buffer_bytes = 3000,
                           .connections = 1,
                           .streams = 50},
        };
        if (http_service_init(&d->service, NULL, &o) < 0)
                abort();
        virtual_clock_init(&d->clock, 784111777000);
        d->service.clock = &d->clock.clock;
        http_connection_init(&d->connection, &d->service);
        if (http_connection_choose(&d->connection, protocol) < 0)
                abort();
        d->meddling = meddling;
        unsigned turn = 0;
        for (size_t at = 0; at < size && !d->connection.failed && !d->connection.closing; at += step) {
                size_t n = MIN(step, size - at);
                (void)http_connection_feed(&d->connection, (const char *)data + at, n);
                driven_flush(d, meddling ? 1 + turn % 100 : 4096);
                if (!meddling)
                        continue;
                driven_act(d, turn++);
                if (turn % 50 == 0) {
                        virtual_clock_advance(&d->clock, 3000);
                        if (http_connection_deadline(&d->connection) <= d->clock.mono)
                                http_connection_expire(&d->connection);
                        http_connection_cool(&d->connection);
                }
        }
        driven_flush(d, 4096);
        if (meddling && !d->connection.failed)
                http_connection_shut_down(&d->connection);
        driven_flush(d, 100);
        if (!d->connection.failed)
                http_connection_end_of_input(&d->connection);
        driven_flush(d, 4096);
        http_connection_done(&d->connection);
        if (d->open_count > 0 || d->service.held > 0 || d->service.stats.open_exchanges > 0)
                abort(); /* something was lost */
        http_service_done(&d->service);
}
