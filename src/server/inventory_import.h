/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes that are made known before they enrol: their names are held, their labels wait for them. */
#pragma once

#include "server/inventory.h"

#define IMPORT_NODES_MAX 10000 /* at a time */

/* items: [{"name", "labels"?, "machineId"?}]. All or nothing: -EINVAL with ret_errors, an array of
 * {"index", "message"}, a new reference, when any of them will not do; then nothing was changed. dry_run:
 * nothing is changed in any case. Known nodes that have not enrolled yet may be given again, those that have
 * are errors. ret_n: how many were, or would be, made known. */
int inventory_import(struct control *c, const json_t *items, bool dry_run, size_t *ret_n,
                     json_t **ret_errors);
