/* SPDX-License-Identifier: Apache-2.0 */
/* What `skerry plan` and `skerry diff` have in common. */
#pragma once

#include "cli/plan_repository.h"
#include "cli/plan_state.h"

/* Compiles and, where there are errors, says so on standard error. offers may be NULL. */
int plan_compile(const char *dir, const struct plan_state *state, const struct plan_offers *offers,
                 struct fleet_model **ret, struct err **err);
/* format: "table", "json", "yaml", "markdown". Exit code: 2 where there are changes. */
int plan_print(const struct plan *plan, const char *format, bool verbose);
