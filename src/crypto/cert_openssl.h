/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates as OpenSSL objects; for crypto/ and net/ only. */
#pragma once

#include <openssl/x509.h>

#include "base/clock.h"
#include "base/err.h"

#define CERT_CHAIN_MAX 8   /* certificates in a chain */
#define CERT_BUNDLE_MAX 64 /* roots in a bundle */

/* All certificates of a PEM text, in order; -EINVAL for none, more than max, or a damaged one. */
int cert_parse_pem(const char *pem, int max, STACK_OF(X509) * *ret, struct err **err);
STACK_OF(X509) * cert_stack_free(STACK_OF(X509) * s);

/* Unix milliseconds of a certificate's time; 0 when it cannot be read. */
msec_t cert_time_ms(const ASN1_TIME *t);

/* The first URI SAN (malloc'ed, NULL when there is none or it is no plain text) and how many there are. */
int cert_uri_names(const X509 *x, char **ret_first, size_t *ret_count);

/* The X.509-SVID rules that a leaf must keep whatever its chain (specification sections 2 to 5): CA:FALSE,
 * key usage as it should be, exactly one URI SAN, which is an ID with a path in `domain` (NULL: in any).
 * Malloc'ed ID. -EKEYREJECTED with the reason. For verify callbacks that check the chain themselves. */
int cert_check_svid_leaf(const X509 *leaf, const char *domain, char **ret_spiffe_id, struct err **err);
