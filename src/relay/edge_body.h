/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies that peers send to the edge (docs/protocol.md), read and checked. Sans I/O.
 *
 * What these hand out may be read without further checks of shape: every member named below has the
 * type it should have. Unknown members stay in: they may be for a newer server behind an older relay. */
#pragma once

#include "codec/json.h"

#define EDGE_ENROL_MAX ((size_t)64 * 1024)
#define EDGE_RENEW_MAX ((size_t)128 * 1024)
#define EDGE_STATUS_MAX ((size_t)256 * 1024)
#define EDGE_STATUS_APPS_MAX 256
#define EDGE_SIGNATURE_MAX 1024  /* bytes of its base64 */
#define EDGE_STATUS_DEPTH_MAX 16 /* of its JSON: a batch holds it deeper, and must still be readable */
#define EDGE_BATCH_MAX ((size_t)6 * 1024 * 1024)
#define EDGE_BATCH_ITEMS_MAX 50000
#define EDGE_BATCH_STATUS_MAX 1024 /* reports among them: each costs the server the check of a signature */

/* {"token","csr","name"?,"facts"?}: texts, and facts an object. */
int edge_body_enrol(const char *text, size_t len, json_t **ret, struct err **err);
/* {"csr","certificate","proof"}: texts. */
int edge_body_renew(const char *text, size_t len, json_t **ret, struct err **err);
/* {"signed":{...},"signature":{"serial","sig"}}: a signed report. Nobody here checks the signature. */
int edge_body_status(const char *text, size_t len, json_t **ret, struct err **err);
/* {"reset"?:bool,"items":[...]}; an item has a node name and either a boolean "connected" (with optional
 * text "address", integer "assignment", boolean "revoked") or an object "status". */
int edge_body_batch(const char *text, size_t len, json_t **ret, struct err **err);
