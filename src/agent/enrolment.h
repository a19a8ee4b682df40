/* SPDX-License-Identifier: Apache-2.0 */
/* Getting an identity: from a join token (enrolment), and from the one before it (renewal). */
#pragma once

#include "agent/edge_address.h"
#include "agent/identity.h"
#include "net/loop.h"

/* ---- enrolment */

struct enrolment_request {
        struct loop *loop;
        struct edge_address *edge;
        const char *state; /* strings live until done() */
        const char *token;
        const char *name;    /* wished, or NULL */
        const char *sysroot; /* whose machine id and os are told */
        bool keep_trying;    /* while the edge cannot be reached or is at fault; a refusal is final */
        void (*waiting)(void *arg, const char *why); /* tried again later; may be NULL */
        /* identity is handed over; NULL with err (borrowed) when it was refused. */
        void (*done)(void *arg, struct identity *identity, const struct err *err);
        void *arg;
};
struct enrolment;
/* -EINVAL: the token cannot be read. done() is not called then. */
int enrolment_start(const struct enrolment_request *request, struct enrolment **ret, struct err **err);
struct enrolment *enrolment_free(struct enrolment *e);

/* ---- renewal: at half of the certificate's life, with jitter; for ever */

struct renewal;
struct renewal_host {
        struct loop *loop;
        struct edge_address *edge;
        struct identity *identity;
        struct http_client *client; /* with the identity's TLS */
        void (*renewed)(void *arg);
        /* It did not work; it is tried again unless the node was revoked (final). */
        void (*failed)(void *arg, const char *why, bool final);
        void *arg;
};
int renewal_start(const struct renewal_host *host, struct renewal **ret, struct err **err);
/* Now, whatever the time. */
void renewal_now(struct renewal *r);
struct renewal *renewal_free(struct renewal *r);
/* When to renew a certificate of this life: half of it, less up to a tenth by `unit` in [0, 1). Pure. */
msec_t renewal_due(msec_t not_before, msec_t not_after, double unit);
