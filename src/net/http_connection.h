/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the HTTP server: a connection as an object without a socket.
 *
 *   bytes in  -> http_connection_feed()    -> protocol (http1.c, http2.c) -> exchange -> handler
 *   bytes out <- http_connection_produce() <- protocol                    <- exchange <- http_respond(), ...
 *
 * http_socket.c drives it over TCP and TLS; tests and fuzz targets drive it with bytes. Deadlines are asked
 * for and reported (http_connection_deadline(), _expire()); when the connection has something to do that did
 * not come from its driver it calls wake().
 *
 * Lifetimes: no call of the public interface frees an exchange or a connection. Exchanges end inside feed(),
 * produce(), expire() and free(); a connection that wants to end says so by `closing` (after what is queued)
 * or `failed` (at once), and its driver frees it. */
#pragma once

#include "base/buf.h"
#include "base/list.h"
#include "net/http_server.h"

#define HTTP_ADDRESS_SIZE 46
/* Bodies held in memory for handlers: of one connection, and of the whole server. Past it: 503. */
#define HTTP_HELD_PER_CONNECTION ((size_t)8 << 20)
#define HTTP_HELD_PER_SERVER ((size_t)256 << 20)

struct frame_pool;

/* What the connections of a server share. */
struct http_service {
        struct loop *loop;
        const struct clock *clock;
        struct http_limits limits; /* without zeros */
        const struct http_route *routes;
        void *arg;
        bool (*before)(struct http_exchange *x, void *arg);
        void (*after)(struct http_exchange *x, int status, uint64_t bytes_out, msec_t took_ms, void *arg);
        struct http_server_stats stats;
        struct frame_pool *frames;
        struct http2_shared *http2;
        size_t held;
        bool stopping;
        msec_t date_at;
        char date[32];
};
int http_service_init(struct http_service *s, struct loop *l, const struct http_server_options *o);
void http_service_done(struct http_service *s);
/* For the Date field: "Sun, 06 Nov 1994 08:49:37 GMT". */
const char *http_service_date(struct http_service *s);

/* ---- protocols */

struct http_protocol {
        int (*open)(struct http_connection *c); /* 0 or -Exxx */
        void (*close)(struct http_connection *c);
        /* Takes all n bytes (what it cannot use yet it keeps); -Exxx ends the connection at once. */
        int (*feed)(struct http_connection *c, const char *p, size_t n);
        size_t (*produce)(struct http_connection *c, char *out, size_t size);
        bool (*wants_read)(const struct http_connection *c); /* else its memory for input is full */
        void (*end_of_input)(struct http_connection *c);
        void (*shut_down)(struct http_connection *c); /* no new exchanges; close when the open ones ended */
        void (*turn_out)(struct http_connection *c,
                         const char *reason);                /* say why it is closed; may be NULL */
        void (*cool)(struct http_connection *c);             /* quiet for a while: give memory back */
        msec_t (*deadline)(const struct http_connection *c); /* for a request's head; INT64_MAX: none */
        void (*expire)(struct http_connection *c);

        void (*respond)(struct http_exchange *x); /* status and fields are known */
        void (*written)(struct http_exchange *x); /* the queue has more, or the response is finished */
        void (*send_continue)(struct http_exchange *x);
        void (*consumed)(struct http_exchange *x, size_t n); /* of the request body */
        void (*body_wanted)(struct http_exchange *x);        /* claimed, or resumed */
        void (*abort)(struct http_exchange *x);
};
extern const struct http_protocol http1_protocol, http2_protocol;

struct http_connection {
        struct http_service *service;
        const struct http_protocol *protocol; /* NULL: not known yet */
        void *state;                          /* the protocol's */
        void (*wake)(struct http_connection *c);
        struct list exchanges;
        uint32_t exchange_count;
        uint8_t preface_seen; /* bytes of the HTTP/2 preface, while the protocol is not known */
        bool closing, failed;
        bool linger;    /* the peer may still be sending: close in a way that lets it read our last words */
        bool woken;     /* something changed since the last produce() */
        bool drain_due; /* an exchange asked for on_drain and has room now */
        bool used;      /* has had an exchange */
        bool shut_down; /* takes no new exchanges */
        size_t held;
        msec_t idle_since;     /* meaningful without exchanges */
        msec_t soonest;        /* a deadline that came up since the driver looked last, else INT64_MAX */
        msec_t peer_not_after; /* 0: no certificate */
        char *spiffe_id, *serial;
        char address[HTTP_ADDRESS_SIZE];
};

/* c is zeroed but for wake and address. The protocol is told by the first bytes, unless it is chosen. */
void http_connection_init(struct http_connection *c, struct http_service *s);
/* Ends all exchanges (on_close) and releases; the struct itself is the driver's. */
void http_connection_done(struct http_connection *c);
/* The protocol is known now (ALPN). */
int http_connection_choose(struct http_connection *c, const struct http_protocol *protocol);
/* -Exxx: close at once. The caller then flushes what produce() gives. */
int http_connection_feed(struct http_connection *c, const char *p, size_t n);
/* 0: nothing to send now. Calls on_drain where there is room again. */
size_t http_connection_produce(struct http_connection *c, char *out, size_t size);
bool http_connection_wants_read(const struct http_connection *c);
void http_connection_end_of_input(struct http_connection *c);
void http_connection_shut_down(struct http_connection *c);
/* Closes, with its exchanges, once the reason is sent where the protocol has a word for it. */
void http_connection_turn_out(struct http_connection *c, const char *reason);
void http_connection_cool(struct http_connection *c);
msec_t http_connection_deadline(struct http_connection *c); /* on the clock's mono; INT64_MAX: none */
void http_connection_expire(struct http_connection *c);
/* For protocols: a deadline `in` from now may be the soonest. */
void http_connection_expect(struct http_connection *c, msec_t in);
void http_connection_wake(struct http_connection *c);
static inline msec_t http_connection_now(const struct http_connection *c) {
        return clock_mono_ms(c->service->clock);
}
