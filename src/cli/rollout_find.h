/* SPDX-License-Identifier: Apache-2.0 */
/* Which rollout is meant: by its id, or by the name of its fleet (then the newest one). */
#pragma once

#include "cli/kinds.h"

/* target NULL: the only active one, else the newest of all. *ret is the whole object, members included;
 * *ret_fleet (may be NULL) says whether target was a fleet. -ENOENT with the nearest fleet. */
int rollout_find(struct api *a, const char *target, json_t **ret, bool *ret_fleet, struct err **err);
