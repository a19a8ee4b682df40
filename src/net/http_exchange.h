/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the HTTP server: an exchange, between the protocol that carries it and the handler that answers.
 * What handlers call is in http_server.h; this is for the protocols. See http_connection.h for who may end
 * it. */
#pragma once

#include "base/buf.h"
#include "net/http_connection.h"
#include "net/http_queue.h"
#include "net/http_router.h"

#define HTTP_RESPONSE_FIELDS_MAX 24
/* A request body that nobody wants is read to its end, so that the connection can go on, up to here. */
#define HTTP_DISCARD_MAX (64 * 1024)
#define HTTP_REST_MS 2000 /* and this much patience with it, once the answer is out */
#define HTTP_LENGTH_UNKNOWN UINT64_MAX

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
