/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of a plan: plan.c makes it, plan_diff.c compares apps, plan_text.c shows it. */
#pragma once

#include "fleet/plan.h"

enum plan_action { PLAN_CREATE, PLAN_CHANGE, PLAN_REMOVE };
extern const char *const plan_action_names[]; /* "create", "change", "remove" */

struct plan_change {
        const char *path;           /* "healthChecks[page].interval" */
        const char *before, *after; /* one line each; NULL: not there */
        const char **lines;         /* "+new", "-old", " same"; NULL: none */
        size_t n_lines;
};
struct plan_changes {
        struct plan_change *items;
        size_t n, cap;
};

struct plan_app {
        enum plan_action action;
        const char *name, *driver;
        struct plan_changes changes;
};

struct plan_wave {
        const char *name;
        bool exact;
        const char **nodes;
        size_t n_nodes;
        size_t first_transfer, n_transfers; /* among the fleet's */
};

struct plan_transfer { /* one artifact for one node */
        const char *node, *artifact, *version;
        char platform[PLATFORM_MAX];
        enum fetch_way way;
        int64_t bytes, bytes_whole;
        const char *reason;
};
struct plan_blocked { /* a node that the revision cannot be given to */
        const char *node, *reason;
};

struct plan_fleet {
        enum plan_action action;
        const char *name;
        const char *before, *after; /* digests; NULL: none */
        const char *rollout;        /* name, or NULL for the default */
        struct plan_changes variables;
        struct plan_app *apps;
        size_t n_apps;
        struct plan_wave *waves;
        size_t n_waves, n_nodes;
        struct plan_transfer *transfers; /* by wave, then by node */
        size_t n_transfers, cap_transfers;
        struct plan_blocked *blocked;
        size_t n_blocked;
};

enum plan_node_action { PLAN_NODE_MOVE, PLAN_NODE_JOIN, PLAN_NODE_LEAVE, PLAN_NODE_SETTINGS };
extern const char *const plan_node_action_names[];
struct plan_node_change {
        enum plan_node_action action;
        const char *name, *from, *to;
};

struct plan {
        struct arena *arena;
        struct plan_fleet *fleets;
        size_t n_fleets;
        struct plan_node_change *nodes;
        size_t n_nodes;
};

/* Content by digest: what is new from the model, what is old from the caller. */
struct plan_source {
        struct arena *arena;
        const struct fleet_model *model;
        const struct plan_contents *contents; /* may be NULL */
};

/* What a node of a fleet would fetch for the revision, appended; or why it cannot have it. b: as it will be.
 */
int plan_transfer(struct arena *arena, const struct plan_repository *repository, const struct plan_node *now,
                  const struct binding *b, const struct revision *revision, struct plan_fleet *fleet,
                  struct err **err);

/* All that differs between two apps; either may be NULL. -ENOMEM. */
int plan_compare_apps(const struct plan_source *s, const struct app_spec *before,
                      const struct app_spec *after, struct plan_changes *ret);
int plan_compare_variables(const struct plan_source *s, const struct pairs *before, const struct pairs *after,
                           struct plan_changes *ret);
