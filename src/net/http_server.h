/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP server interface over HTTP/2 (nghttp2) and HTTP/1.1 (http-parser), chosen by ALPN.
 *
 * Routes are matched by method and path pattern ("/api/v1/nodes/:name"; a last segment "*" takes the
 * rest). A handler is called when the headers are in. It answers at once or later, in one piece or as
 * a stream, from the loop's thread; it must end every exchange by http_respond*(), http_finish() or
 * http_abort(). An exchange that its client leaves is reported by on_close, once, and is dead after.
 *
 * Of several routes that fit the first in the table is taken. Without a route: 404; a path known under other
 * methods: 405 with Allow. Errors the server makes itself have the API's JSON error body. HEAD is served by
 * GET routes. */
#pragma once

#include "base/err.h"
#include "net/loop.h"
#include "net/tls.h"

struct http_server;
struct http_exchange;
struct http_connection;

struct http_limits {                      /* 0: the default */
        size_t header_bytes;              /* 16 KiB for all header fields together: 431 */
        size_t body_bytes;                /* 1 MiB where a handler buffers the body: 413 */
        uint32_t streams;                 /* 100 open exchanges on an HTTP/2 connection */
        uint32_t connections;             /* 20,000 on this server; more are closed at accept */
        uint32_t connections_per_address; /* 1,000; loopback is not counted */
        uint32_t connections_per_peer;    /* 64 of one certificate's name; the oldest then gives way */
        msec_t handshake_ms;              /* 10 s for TLS */
        msec_t header_ms;                 /* 10 s from first byte to whole header */
        msec_t body_ms;                   /* 30 s without a byte of an expected body */
        msec_t write_ms;                  /* 60 s without progress while we have bytes to send */
        msec_t idle_ms;                   /* 10 min with no exchange open; 30 s before the first one */
        msec_t dead_peer_ms;              /* 2 min until a peer that vanished from the network is given up */
        size_t write_buffer_bytes;        /* 256 KiB queued in one exchange before it is "full" */
};

typedef void (*http_handler)(struct http_exchange *x, void *arg);

struct http_route {
        const char *method;  /* "GET" */
        const char *pattern; /* "/api/v1/nodes/:name" */
        http_handler handler;
        const void *context; /* for the program's own use: see http_route_context() */
};

struct http_server_options {
        const char *name;       /* for logs and metrics: "api", "edge" */
        const char *address;    /* "127.0.0.1:8443", "[::]:8443"; port 0: any */
        struct tls_config *tls; /* NULL: plain HTTP/1.1 and HTTP/2 by prior knowledge */
        struct http_limits limits;
        const struct http_route *routes; /* ended by a NULL method; kept by reference */
        void *arg;                       /* handed to every handler */
        /* Called before the handler; false: it has answered already (authentication). May be NULL. */
        bool (*before)(struct http_exchange *x, void *arg);
        /* Called when an exchange has ended, for access logs and metrics; status 0: the client left before
         * an answer. Not for bytes that are no HTTP request: those are answered 400 and closed. May be NULL.
         */
        void (*after)(struct http_exchange *x, int status, uint64_t bytes_out, msec_t took_ms, void *arg);
};

int http_server_start(struct loop *l, const struct http_server_options *o, struct http_server **ret,
                      struct err **err);
uint16_t http_server_port(const struct http_server *s);
/* Graceful: no new connections, GOAWAY, open exchanges get grace_ms, then all is closed and done() is
 * called (may be NULL). Frees the server. */
void http_server_stop(struct http_server *s, msec_t grace_ms, void (*done)(void *arg), void *arg);
/* Closes every live connection whose verified peer has this SPIFFE ID; how many there were. */
size_t http_server_drop_peer(struct http_server *s, const char *spiffe_id);

struct http_server_stats {
        uint64_t accepted, refused, turned_out, exchanges, open_connections, open_exchanges, bytes_in,
                bytes_out;
};
void http_server_stats(const struct http_server *s, struct http_server_stats *ret);

/* ---- reading the request (strings live as long as the exchange) */
const char *http_method(const struct http_exchange *x);
const char *http_path(const struct http_exchange *x);                        /* decoded, without the query */
const char *http_parameter(const struct http_exchange *x, const char *name); /* ":name", or "*" */
const char *http_query(const struct http_exchange *x, const char *name);     /* decoded, or NULL */
const char *http_header(const struct http_exchange *x, const char *name);    /* any case, or NULL */
const char *http_peer_address(const struct http_exchange *x);
const char *http_peer_spiffe_id(const struct http_exchange *x); /* verified, or NULL */
const char *http_peer_serial(const struct http_exchange *x);    /* verified, or NULL */
/* Has the certificate run out since the connection began? TLS asks only then. */
bool http_peer_has_expired(const struct http_exchange *x);
const void *http_route_context(const struct http_exchange *x);

/* Collects the body, then calls ready(x, body, len, arg), at once where it is there already (body is "" when
 * there is none); the bytes live until ready returns. Answers 413, 408 or 400 by itself when the body is over
 * the limit (0: the server's) or fails to come, and 503 when the server holds too many. */
void http_read_body(struct http_exchange *x, size_t limit,
                    void (*ready)(struct http_exchange *x, const char *body, size_t len, void *arg),
                    void *arg);
/* Streams the body: chunk(x, p, n, arg) as it comes, n == 0 at the end. http_pause_body() stops reading
 * (flow control reaches the peer) until http_resume_body(). */
void http_stream_body(struct http_exchange *x,
                      void (*chunk)(struct http_exchange *x, const char *p, size_t n, void *arg), void *arg);
void http_pause_body(struct http_exchange *x);
void http_resume_body(struct http_exchange *x);

/* ---- answering */
void http_set_header(struct http_exchange *x, const char *name, const char *value); /* before the status */
/* Whole answers. */
void http_respond(struct http_exchange *x, int status, const char *content_type, const void *body,
                  size_t len);
/* {"error":{"code":CODE,"message":MESSAGE}} with the status. code: "not_found", "invalid", ... */
void http_respond_error(struct http_exchange *x, int status, const char *code, const char *message);
/* A byte range or all of a file, streamed from disk on the worker pool: ETag, If-None-Match, Range,
 * If-Range, HEAD. Takes the descriptor. etag without quotes; immutable sets Cache-Control. */
void http_respond_file(struct http_exchange *x, int fd, const char *content_type, const char *etag,
                       bool immutable);
/* Streams: begin, then http_write() any number of times, then http_finish(). http_write() copies and
 * returns -EPIPE when the peer is gone, -EAGAIN when there is no room for n bytes (nothing taken; on_drain
 * is called when half of the queue is free), else 0. An empty queue takes any n. With a Content-Length field
 * set before, exactly so many bytes must be written. */
int http_begin(struct http_exchange *x, int status, const char *content_type);
int http_write(struct http_exchange *x, const void *p, size_t n);
size_t http_write_room(const struct http_exchange *x);
void http_finish(struct http_exchange *x);
void http_abort(struct http_exchange *x); /* RST_STREAM, or closes an HTTP/1.1 connection */

/* on_close: the exchange ended for whatever reason (x is dead when it returns); on_drain: room again. */
void http_on_close(struct http_exchange *x, void (*on_close)(struct http_exchange *x, void *arg), void *arg);
void http_on_drain(struct http_exchange *x, void (*on_drain)(struct http_exchange *x, void *arg), void *arg);
