/* SPDX-License-Identifier: Apache-2.0 */
/* The server's own certificate: issued by itself at start for a key that never leaves memory, renewed at half
 * its life under the running listeners. */
#pragma once

#include "net/tls.h"
#include "server/control.h"

struct server_identity;
int server_identity_new(struct control *c, struct server_identity **ret, struct err **err);
struct server_identity *server_identity_free(struct server_identity *i);
struct tls_config *server_identity_api(struct server_identity *i);  /* borrowed */
struct tls_config *server_identity_edge(struct server_identity *i); /* borrowed */
