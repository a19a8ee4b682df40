/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP client (libcurl multi) on the loop: HTTP/2 over one shared connection per host, HTTP/1.1
 * where the peer has only that, proxy from the environment, resumed TLS sessions.
 *
 * A call ends exactly once, by done(). A call that is cancelled ends without it. */
#pragma once

#include "base/err.h"
#include "net/loop.h"
#include "net/tls.h"

struct http_client;
struct http_call;

struct http_client_options {
        struct tls_config *tls; /* NULL: the system's trust store */
        const char *user_agent; /* NULL: "skerry/VERSION" */
        msec_t connect_ms;      /* 0: 15 s, TLS included */
        msec_t stall_ms;        /* 0: 60 s without a byte in either direction ends a call; calls with
                                   `streaming` are exempt */
        /* For health checks of what runs on this very machine: */
        bool direct;     /* no proxy, whatever the environment says */
        bool unverified; /* without `tls`: an https peer's certificate is not looked at */
};
int http_client_new(struct loop *l, const struct http_client_options *o, struct http_client **ret,
                    struct err **err);
/* Cancels what is open and frees. */
struct http_client *http_client_free(struct http_client *c);
DEFINE_CLEANUP(struct http_client, http_client_free)
/* Closes idle connections and makes new calls connect afresh (after a certificate renewal, an address
 * change, a resume from suspend). Open calls go on. */
void http_client_reconnect(struct http_client *c);

struct http_result {
        int status;          /* HTTP status; 0 when no answer came */
        int error;           /* 0, or -Exxx when the transfer failed: -ECONNREFUSED, -ETIMEDOUT,
                                -EKEYREJECTED (TLS), -EHOSTUNREACH, -EMSGSIZE (body over limit), -EIO */
        const char *message; /* for people, NULL on success */
        const char *body;    /* NUL-terminated; "" with `on_data` */
        size_t body_len;
        const char *content_type, *etag; /* or NULL */
        msec_t retry_after_ms;           /* -1: not given */
};

struct http_request {
        const char *method; /* NULL: GET */
        const char *url;
        const char *const *headers; /* "Name: value", NULL-terminated; may be NULL. A body without a
                                       Content-Type is sent as application/json */
        const void *body;           /* copied */
        size_t body_len;
        size_t limit;      /* most bytes of answer kept: 0: 1 MiB. With on_data: no limit */
        bool streaming;    /* a long response: no stall limit, TCP keepalive on */
        msec_t timeout_ms; /* 0: none beyond the stall limit */
        /* When given, bytes of a 2xx answer go here as they come; non-zero return cancels the transfer
         * with that error. Other statuses still collect into result->body. */
        int (*on_data)(void *arg, const char *p, size_t n);
        /* Called once with the status when the headers are in. May be NULL. */
        void (*on_headers)(void *arg, int status);
        void (*done)(void *arg, const struct http_result *r); /* r lives until done returns */
        void *arg;
};
/* 0 or -Exxx when it cannot even start (done is not called then). The handle may be used for
 * http_call_cancel() until done() is called; ret may be NULL. */
int http_client_send(struct http_client *c, const struct http_request *r, struct http_call **ret,
                     struct err **err);
/* Over HTTP/2 the peer hears of it with what is sent next on that connection (libcurl since 7.88 does not
 * send RST_STREAM by itself, curl/curl#17611); http_client_reconnect() after it makes sure. */
void http_call_cancel(struct http_call *call);

/* A field of the answer's head, from `on_headers` on; borrowed until the next call for this handle, NULL:
 * absent.
 */
const char *http_call_header(struct http_call *call, const char *name);

/* Counters for the status page: bytes on the wire as libcurl saw them, connections made. */
struct http_client_stats {
        uint64_t calls, failures, connections, bytes_in, bytes_out;
};
void http_client_stats(const struct http_client *c, struct http_client_stats *ret);
