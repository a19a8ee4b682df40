/* SPDX-License-Identifier: Apache-2.0 */
/* What every member does to become and to stay one (docs/protocol.md, "Enrolment" and "Renewal"), node or
 * relay: the bodies it asks with, and how it tells that a certificate is its own. How the identity is kept,
 * and when it asks, is the program's. Pure but for the randomness of keys and signatures. */
#pragma once

#include <jansson.h>

#include "crypto/key.h"
#include "crypto/spiffe_id.h"

/* The body of an enrolment for key. name: the one that is wished, or NULL (then `otherwise` stands in the
 * request, which the server does not heed). facts: {"hostname","machineId","platform",...}, borrowed. */
int member_enrol_body(struct key *key, const char *token, const char *name, const char *otherwise,
                      json_t *facts, json_t **ret, struct err **err);
/* The body of a renewal for key, proven by the key of the certificate that is held. */
int member_renew_body(struct key *key, struct key *held, const char *name, const char *certificate,
                      json_t **ret, struct err **err);
/* Is the certificate for this key? -EINVAL. */
int member_check_key(struct key *key, const char *certificate, struct err **err);
/* The name that a SPIFFE ID gives a member of that kind; malloc'ed. -EINVAL: it is somebody else's, or
 * nobody's (NULL). */
int member_name(const char *spiffe_id, const char *trust_domain, enum identity_kind kind, char **ret,
                struct err **err);
