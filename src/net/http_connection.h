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
#include "net/http_queue.h"
#include "net/http_router.h"
#include "net/http_server.h"

#define HTTP_ADDRESS_SIZE 46
#define HTTP_RESPONSE_FIELDS_MAX 24
/* A request body that nobody wants is read to its end, so that the connection can go on, up to here. */
#define HTTP_DISCARD_MAX (64 * 1024)
#define HTTP_REST_MS 2000 /* and this much patience with it, once the answer is out */
/* Bodies held in memory for handlers: of one connection, and of the whole server. Past it: 503. */
#define HTTP_HELD_PER_CONNECTION ((size_t)8 << 20)
#define HTTP_HELD_PER_SERVER ((size_t)256 << 20)
#define HTTP_LENGTH_UNKNOWN UINT64_MAX

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
        void (*cool)(struct http_connection *c);      /* quiet for a while: give memory back */
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
        msec_t idle_since; /* meaningful without exchanges */
        msec_t soonest;    /* a deadline that came up since the driver looked last, else INT64_MAX */
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
void http_connection_cool(struct http_connection *c);
msec_t http_connection_deadline(struct http_connection *c); /* on the clock's mono; INT64_MAX: none */
void http_connection_expire(struct http_connection *c);
/* For protocols: a deadline `in` from now may be the soonest. */
void http_connection_expect(struct http_connection *c, msec_t in);
void http_connection_wake(struct http_connection *c);
static inline msec_t http_connection_now(const struct http_connection *c) {
        return clock_mono_ms(c->service->clock);
}

/* ---- exchanges */

enum http_body_mode { BODY_UNCLAIMED, BODY_COLLECT, BODY_STREAM, BODY_DISCARD };
enum http_response_state {
        RESPONSE_NONE,
        RESPONSE_BEGUN,
        RESPONSE_FINISHED, /* all is in the queue */
        RESPONSE_SENT
};

struct http_note; /* a string that lives as long as the exchange */
struct http_file;

struct http_exchange {
        struct list link; /* in connection->exchanges */
        struct http_connection *connection;
        const struct http_route *route;
        const char *method, *path, *query; /* query: raw, or NULL */
        const char *fields, *fields_end;   /* name NUL value NUL ... */
        const char **parameters;           /* one for each in the route's pattern, in its order */
        struct http_note *notes;
        int32_t stream;

        uint8_t body_mode, response;
        bool is_head, body_ended, body_told, body_paused; /* told: the handler knows that it ended */
        bool expects_continue;
        bool deferred; /* HTTP/2: the data source waits for written() */
        bool aborted, ended, wants_drain;
        bool failed_fields; /* a response field could not be kept */
        uint8_t response_fields_count;
        uint16_t status;
        uint64_t body_length; /* promised, or HTTP_LENGTH_UNKNOWN */
        uint64_t discarded;   /* of the body */
        struct buf held;      /* of the request body */
        size_t body_limit;
        union {
                void (*ready)(struct http_exchange *x, const char *body, size_t len, void *arg);
                void (*chunk)(struct http_exchange *x, const char *p, size_t n, void *arg);
        };
        void *body_arg;

        struct buf response_fields; /* name NUL value NUL ..., names in lower case */
        uint64_t response_length;   /* promised, or HTTP_LENGTH_UNKNOWN */
        uint64_t response_queued;   /* so far */
        uint64_t bytes_out;
        struct http_queue out;
        msec_t started, body_at, write_at; /* write_at: last progress of the queue */
        struct http_file *file;
        void (*on_close)(struct http_exchange *x, void *arg);
        void (*on_drain)(struct http_exchange *x, void *arg);
        void *on_close_arg, *on_drain_arg;
};

/* A request's head as it is read: name NUL value NUL ..., with ":method", ":path", ":authority" among the
 * names. */
struct http_head {
        struct buf text;
        size_t bytes; /* as RFC 9113 counts them: names, values, 32 for each field */
};
int http_head_add(struct http_head *h, const char *name, size_t name_len, const char *value,
                  size_t value_len);

/* Makes the exchange of a head; the caller sets stream, body_length and body_ended and calls start().
 * -ENOMEM; -EPROTO without method or path. */
int http_exchange_new(struct http_connection *c, const struct http_head *h, struct http_exchange **ret);
/* Finds the route and calls the handler. refusal: 0, or the status to answer with instead. */
void http_exchange_start(struct http_exchange *x, int refusal);
/* Bytes of the request body. HTTP/1.1 hands them over only while http_exchange_takes_body(). */
void http_exchange_body(struct http_exchange *x, const char *p, size_t n);
void http_exchange_body_end(struct http_exchange *x);
bool http_exchange_takes_body(const struct http_exchange *x);
/* The body broke off or is malformed: answers 400 when nothing was answered yet, else aborts. */
void http_exchange_body_broken(struct http_exchange *x);
/* The protocol took n bytes out of the queue. */
void http_exchange_sent(struct http_exchange *x, size_t n);
/* The end, whatever the reason: calls on_close and after, frees. */
void http_exchange_end(struct http_exchange *x);
/* Whether the response may have content by its status and method. */
bool http_exchange_has_content(const struct http_exchange *x);
msec_t http_exchange_deadline(const struct http_exchange *x);
void http_exchange_expire(struct http_exchange *x, msec_t now);
/* Iterates over name/value pairs: const char *at = start; while (http_field_next(&at, end, &n, &v)). */
bool http_field_next(const char **at, const char *end, const char **ret_name, const char **ret_value);
void http_exchange_drain(struct http_exchange *x); /* calls on_drain */

/* The client left: the file's reader lets go of the exchange. */
void http_file_detach(struct http_file *f);
void http_file_drain(struct http_file *f); /* room again */
