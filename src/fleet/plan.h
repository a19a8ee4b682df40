/* SPDX-License-Identifier: Apache-2.0 */
/* What a change would do: differences between two states of a fleet, node by node and wave by wave. */
#pragma once

#include "fleet/compile.h"
#include "fleet/rollout.h"

struct plan_fleet_before { /* how things stand now */
        const char *fleet;
        const struct revision *revision; /* NULL: none yet */
};
struct plan_node {
        const char *name;
        struct pairs labels, variables;
        bool connected;
        const char *fleet;       /* owner now, or NULL */
        const char *revision;    /* digest it is assigned now, or NULL */
        const char *fingerprint; /* of its binding now, or NULL */
};

struct plan;
/* before may be empty (everything is new). */
int plan_make(const struct fleet_model *model, const struct plan_fleet_before *before, size_t n_before,
              const struct plan_node *nodes, size_t n_nodes, struct plan **ret, struct err **err);
struct plan *plan_free(struct plan *p);
DEFINE_CLEANUP(struct plan, plan_free)
bool plan_is_empty(const struct plan *p);
/* A readable diff: "+ app web (podman)", "~ app till: command ...", then waves with node counts. */
void plan_format(const struct plan *p, bool colour, struct buf *out);
json_t *plan_to_json(const struct plan *p) _must_use_;
