/* SPDX-License-Identifier: Apache-2.0 */
/* What nodes say of their machines, as far as selectors may ask for it. */
#pragma once

#include "server/pairs_pack.h"

/* Facts as pairs that stand beside labels: "facts.arch", "facts.cpus", "facts.memoryGiB", ... from the JSON
 * of a report; what is absent, of another type or no label's value is left out. facts may be NULL. Never
 * NULL. */
struct pairs *facts_pairs(const char *facts, const char *platform) _must_use_;
#define MACHINE_ID_SHORT 13
/* Its beginning, for people; a machine may call itself anything, so what is not ASCII is shown as '?'. */
const char *machine_id_short(const char *id, char out[MACHINE_ID_SHORT]);
/* The machine's id in the facts; "" where there is none. */
void facts_machine_id(const json_t *facts, char out[129]);
