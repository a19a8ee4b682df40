/* SPDX-License-Identifier: Apache-2.0 */
/* How a file of a repository is asked for at one of its sources: an interface, and HTTP behind it. Tests put
 * a network of their own there. */
#pragma once

#include "net/http_client.h"

enum repository_source_kind {
        SOURCE_SERVER, /* the edge of our own server: what it says is the newest there is */
        SOURCE_MIRROR, /* a web server or CDN with the published folder */
        SOURCE_PEER,   /* another relay of the site, asked only for what it has */
};

#define REPOSITORY_SOURCES_MAX 32

struct repository_head { /* of an answer that is a file or a part of one */
        int64_t first;   /* where what follows lies in the file */
        int64_t total;   /* bytes of the whole file; -1: not said */
        bool is_part;    /* 206: else it is the whole, whatever was asked for */
        bool is_page;    /* a web page: of a captive portal, or an error dressed as a success */
};

struct repository_result {
        int status; /* of HTTP; 0: no answer */
        int error;  /* 0, or -Exxx when the transfer failed or was ended by a callback */
        const char *message;
        const char *body; /* with `limit` */
        size_t body_len;
        const char *etag; /* with its quotes; NULL */
        bool is_page;
        bool has_none; /* a server that has no repository at all: its word settles nothing */
        int64_t total; /* of a 416: the file's length, -1 */
        msec_t retry_after_ms;
};

struct repository_get {
        unsigned source;
        const char *path;    /* below the published folder */
        int64_t first, last; /* first -1: all */
        const char *etag;    /* with its quotes: only if it is another; NULL */
        size_t limit;        /* the body is collected, at most so many bytes of it; 0: it goes to on_data */
        int (*on_head)(void *arg,
                       const struct repository_head *head); /* with on_data: before the first byte */
        int (*on_data)(void *arg, const char *p, size_t n);
        void (*done)(void *arg, const struct repository_result *r);
        void *arg;
};

struct repository_transport {
        void *arg;
        /* 0: done() is called once, later, unless it is cancelled. */
        int (*get)(void *arg, const struct repository_get *g, void **ret_call);
        void (*cancel)(void *arg, void *call);
};

/* ---- over HTTP */

struct repository_web_source {
        enum repository_source_kind kind;
        const char
                *url; /* "https://relay-b:8444" for servers and peers, the published folder's for mirrors */
};
struct repository_web;
/* tls: for the server and for peers; mirrors are judged by the system's trust store. */
int repository_web_new(struct loop *l, struct tls_config *tls, const struct repository_web_source *sources,
                       size_t n, struct repository_web **ret, struct err **err);
/* Cancels what is open. */
struct repository_web *repository_web_free(struct repository_web *w);
DEFINE_CLEANUP(struct repository_web, repository_web_free)
struct repository_transport repository_web_transport(struct repository_web *w);
/* A new certificate. */
void repository_web_reconnect(struct repository_web *w);

/* "bytes 0-99/1234", "bytes 0-99/ *", "bytes * /1234" (without the blanks): -EINVAL for anything else. Pure.
 */
int repository_content_range(const char *value, int64_t *ret_first, int64_t *ret_last, int64_t *ret_total);
