/* SPDX-License-Identifier: Apache-2.0 */
/* An app as it stands in a revision: docs/formats/revision.md. */
#pragma once

#include "base/err.h"
#include "fleet/app.h"

#define APP_LIST_MAX 1024 /* most items of any list of an app: arguments, files, manifests, checks */

/* Strict: unknown fields, wrong types and numbers out of bounds are -EINVAL. What it says is not checked
 * against itself yet: app_spec_check(). Whatever the outcome, *ret wants app_spec_release(). */
int app_spec_from_json(struct arena *arena, const json_t *j, struct app_spec *ret, struct err **err);
/* The inverse; members at their default are left out. NULL when memory is out. */
json_t *app_spec_to_json(const struct app_spec *a) _must_use_;

/* Is it fit to be run: names, paths that stay beneath the root, digests, bounds, what the driver needs?
 * expanded: its references have been replaced, so that paths and ports can be judged as they are. */
int app_spec_check(const struct app_spec *a, bool expanded, struct err **err);

/* Drops the references to manifests; all else belongs to the arena. */
void app_spec_release(struct app_spec *a);
