/* SPDX-License-Identifier: Apache-2.0 */
/* How a relay becomes a member: a join token, which pins the server's root, against a certificate. */
#pragma once

#include "net/loop.h"
#include "relay/identity.h"

struct enrolment_options {
        const char *state;  /* the identity is stored here */
        const char *server; /* https://host:port of the server's edge */
        const char *token;
        const char *name; /* or NULL: the token's, or the host's */
        bool patient;     /* try again while the server cannot be reached */
};

/* Runs the loop until it is settled. -EACCES: the server refuses; -ECANCELED: somebody stopped the loop;
 * other codes as net/http_client.h has them. */
int enrolment_run(struct loop *l, const struct enrolment_options *o, struct identity **ret, struct err **err);
