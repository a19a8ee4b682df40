/* SPDX-License-Identifier: Apache-2.0 */
/* Tells the relays what nodes are about to ask for, so that it is there for the waves to come: the deltas
 * that lead to an artifact where there are some, else its chunk index, else the whole. Said once for each
 * artifact. */
#pragma once

#include <jansson.h>

#include "server/control.h"

/* artifacts: the list of an assignment that was just given; NULL: none. */
void repository_ahead(struct control *c, const json_t *artifacts);
