/* SPDX-License-Identifier: Apache-2.0 */
/* A relay's link to its server: one HTTP/2 connection with the events response and all calls on it.
 *
 * It is up from the server's `hello` until the response ends or goes silent for 2.5 heartbeats, and comes
 * back by itself with backoff and jitter. */
#pragma once

#include <jansson.h>

#include "net/http_client.h"

struct upstream;

struct upstream_options {
        const char *server;     /* https://host:port */
        struct tls_config *tls; /* client, with the relay's certificate */
        msec_t heartbeat_ms;    /* wished; 0: 30 s */
        void *arg;
        void (*up)(void *arg);
        /* why: for the log; status: of the HTTP answer that ended it, or 0. */
        void (*down)(void *arg, const char *why, int status);
        void (*event)(void *arg, const char *type, const json_t *event);
};

int upstream_new(struct loop *l, const struct upstream_options *o, struct upstream **ret, struct err **err);
/* Ends all calls: those made by upstream_post() are told -ECANCELED. */
struct upstream *upstream_free(struct upstream *u);
DEFINE_CLEANUP(struct upstream, upstream_free)
void upstream_start(struct upstream *u);

bool upstream_is_up(const struct upstream *u);
msec_t upstream_up_since(const struct upstream *u); /* wall clock; 0 while it is down */
/* Makes new calls connect afresh (a new certificate); an open events response goes on, a link that is down
 * is tried at once. */
void upstream_reconnect(struct upstream *u);
/* Ends the link and begins anew after a pause: the server does not know of it. */
void upstream_fail(struct upstream *u, const char *why);

/* Posts a JSON body. done is called once, never from inside this call; status 0 and a message when no answer
 * came, at once while the link is down. */
struct upstream_answer {
        int status;
        const char *body;
        size_t len;
        const char *message; /* status 0: what went wrong */
        msec_t retry_after_ms;
};
void upstream_post(struct upstream *u, const char *path, const char *body,
                   void (*done)(void *arg, const struct upstream_answer *a), void *arg);

/* For calls of another shape. */
struct http_client *upstream_client(struct upstream *u);
char *upstream_url(const struct upstream *u, const char *path) _must_use_;
