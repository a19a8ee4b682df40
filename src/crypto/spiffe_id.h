/* SPDX-License-Identifier: Apache-2.0 */
/* SPIFFE IDs (SPIFFE-ID specification sections 2.1 to 2.4): spiffe://<trust domain>/<path>. */
#pragma once

#include "base/err.h"

#define SPIFFE_ID_MAX 2048
#define TRUST_DOMAIN_MAX 255

/* Lower-case letters, digits, '.', '-', '_', 1 to 255 bytes. */
bool trust_domain_is_valid(const char *s);
/* Checks the whole ID; -EINVAL says what is wrong. */
int spiffe_id_check(const char *id, struct err **err);
/* Splits into malloc'ed trust domain and path ("/node/x"; "" for the domain itself). */
int spiffe_id_parse(const char *id, char **ret_domain, char **ret_path, struct err **err);

/* The kinds of member that hold a certificate; each has its folder in the path. */
enum identity_kind { IDENTITY_NODE, IDENTITY_RELAY, IDENTITY_SERVER, IDENTITY_USER, IDENTITY_OTHER };
const char *identity_kind_name(enum identity_kind kind); /* "node", "relay", "server", "user" */

/* "spiffe://<domain>/<kind>/<name>"; malloc'ed, NULL when memory is out. */
char *spiffe_id_make(const char *domain, enum identity_kind kind, const char *name) _must_use_;
/* Takes apart an ID of our domain: kind and malloc'ed name. -EXDEV for another trust domain,
 * -EINVAL for what is no ID; a path of another form gives IDENTITY_OTHER with the path as name. */
int spiffe_id_member(const char *id, const char *domain, enum identity_kind *ret_kind, char **ret_name);
