/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP/2 connection over TLS, as small as can be: thousands of them stand in one process. */
#pragma once

#include <openssl/ssl.h>
#include <uv.h>

#include "base/err.h"

struct h2_client;

struct h2_call {
        const char *method, *path; /* live until the call is sent */
        const char *body;          /* NUL-terminated, taken over; NULL: none */
        /* A part of the answer's body; n is 0 at its end, status 0 where it broke off. */
        void (*on_data)(void *arg, int status, const char *p, size_t n);
        void *arg;
};

struct h2_client_options {
        uv_loop_t *loop;
        SSL_CTX *context;
        const char *host; /* an address */
        int port;
        const char *from;                                   /* source address, or NULL */
        SSL_SESSION *session;                               /* to resume, or NULL */
        int (*prepare)(void *arg, SSL *ssl);                /* certificate and key, or NULL */
        void (*ready)(void *arg);                           /* the handshake is done */
        void (*closed)(void *arg, const char *why);         /* once; the client is gone after it */
        void (*resumable)(void *arg, SSL_SESSION *session); /* taken over by the callee */
        void *arg;
};
int h2_client_new(const struct h2_client_options *o, struct h2_client **ret);
/* No callback comes after it. */
void h2_client_free(struct h2_client *c);
int h2_client_send(struct h2_client *c, const struct h2_call *call);
/* Once for each context whose clients want `resumable`. */
void h2_client_prepare_context(SSL_CTX *context);
