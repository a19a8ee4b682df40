/* SPDX-License-Identifier: Apache-2.0 */
/* Who this node is: key and certificate (an X.509-SVID), and the trust bundle, kept in
 * <state>/identity/: `node.pem` (0600: private key, then the certificate chain, so that both change in one
 * atomic step), `certificate.pem` (a copy of the chain for people) and `bundle.json`. */
#pragma once

#include "agent/bundle.h"
#include "base/clock.h"
#include "net/tls.h"

struct identity;

/* -ENOENT: this machine has not enrolled yet. */
int identity_load(const char *state, struct identity **ret, struct err **err);
/* Stores what an enrolment gave, and is it from then on. */
int identity_create(const char *state, struct key *key, const char *certificate, const json_t *bundle,
                    struct identity **ret, struct err **err);
struct identity *identity_free(struct identity *i);
DEFINE_CLEANUP(struct identity, identity_free)

const char *identity_name(const struct identity *i);
const struct bundle *identity_bundle(const struct identity *i);
const char *identity_certificate(const struct identity *i); /* chain, PEM */
const char *identity_serial(const struct identity *i);      /* its serial number, lower-case hex */
struct key *identity_key(const struct identity *i);         /* borrowed */
msec_t identity_not_before(const struct identity *i);       /* Unix ms */
msec_t identity_not_after(const struct identity *i);

/* The client's TLS material: our certificate, peers of our bundle. Reloaded in place whenever it changes;
 * borrowed. */
struct tls_config *identity_tls(struct identity *i);
/* The same without showing our certificate: for renewing one that has expired. Caller's reference. */
int identity_anonymous_tls(const struct identity *i, struct tls_config **ret, struct err **err);

/* A renewed certificate for a new key: checked (our name, the key, the bundle), stored, used. */
int identity_renew(struct identity *i, struct key *key, const char *certificate, msec_t now,
                   struct err **err);
/* A newer bundle: stored and used. An older sequence is -ESTALE, the same one does nothing. */
int identity_take_bundle(struct identity *i, const json_t *bundle, struct err **err);
