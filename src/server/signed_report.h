/* SPDX-License-Identifier: Apache-2.0 */
/* Reports as nodes sign them (docs/protocol.md, "Status"): whoever carries one can withhold it, and no more.
 *
 * A report counts when the node's own key signed it, in the node's own name, under a certificate that the
 * node still may use, and when it is newer than the newest one taken. Newer means: under a later certificate,
 * or under the same one with a higher number. So a node whose numbers went back (a state folder put back from
 * a backup) is heard again after its next renewal. A check takes about 0.1 ms of the loop's time. */
#pragma once

#include "server/inventory.h"

/* The status inside, borrowed, and the order of it. Pure. -ESTALE: not newer than the newest taken (nothing
 * else was checked, it has no effect anyway). -ENOKEY: signed under a certificate that an older server issued
 * without keeping its key. -EKEYREJECTED: the node did not say this, and err says why. */
int signed_report_check(const json_t *report, const struct node *n, const json_t **ret_status,
                        struct report_order *ret_order, struct err **err);

/* Checks, then takes (inventory_report()) or drops. What is refused is counted and told as an event, of the
 * relay that brought it (via) or of the node (via NULL). */
void signed_report_take(struct control *c, struct node *n, const char *via, const json_t *report);
