/* SPDX-License-Identifier: Apache-2.0 */
/* Where the edge is: one address, or several to fall back on in turn; and what its answers mean. */
#pragma once

#include "net/http_client.h"

struct edge_address;
/* "https://relay-1:8444,https://server:8444"; blanks around commas are fine. -EINVAL: an address that is
 * not https, or has a path or a query. */
int edge_address_parse(const char *text, struct edge_address **ret, struct err **err);
struct edge_address *edge_address_free(struct edge_address *e);
DEFINE_CLEANUP(struct edge_address, edge_address_free)

const char *edge_address_current(const struct edge_address *e); /* "https://relay-1:8444" */
/* Turns to the next one; the last is followed by the first. */
void edge_address_next(struct edge_address *e);
char *edge_address_url(const struct edge_address *e, const char *path) _must_use_; /* malloc'ed */

/* The call failed, or was not answered with a 2xx: why, in words that name the edge ("https://... answered
 * 403: forbidden: ..."). A body that is no JSON of ours is shown as what it is: something else answers in
 * the edge's place (a captive portal, a proxy). */
int edge_answer_error(const struct edge_address *e, const struct http_result *r, struct err **err);
