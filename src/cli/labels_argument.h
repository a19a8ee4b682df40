/* SPDX-License-Identifier: Apache-2.0 */
/* Labels as people type them: "site=kiel,role=shop", and "site-" for taking one away (as kubectl does). */
#pragma once

#include <jansson.h>

#include "base/err.h"

/* Adds pairs to the object `set`, and keys that end in '-' to the array `remove` (NULL: they are errors).
 * -EINVAL names the piece that is wrong. */
int labels_argument_parse(const char *text, json_t *set, json_t *remove, struct err **err);
