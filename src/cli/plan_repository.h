/* SPDX-License-Identifier: Apache-2.0 */
/* What the server's artifact repository has, for `skerry plan`. */
#pragma once

#include "cli/api.h"
#include "fleet/plan.h"

struct plan_offers;
/* The connection is borrowed. *ret NULL: the server has no repository. */
int plan_offers_read(struct api *a, struct plan_offers **ret, struct err **err);
struct plan_offers *plan_offers_free(struct plan_offers *o);
DEFINE_CLEANUP(struct plan_offers, plan_offers_free)
const struct catalog *plan_offers_catalog(const struct plan_offers *o);
/* Borrows o, which asks the server further while the plan is made. */
struct plan_repository plan_offers_repository(struct plan_offers *o);
