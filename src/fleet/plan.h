/* SPDX-License-Identifier: Apache-2.0 */
/* What a change would do: differences between two states of a fleet, node by node and wave by wave. */
#pragma once

#include "fleet/catalog.h"
#include "fleet/compile.h"
#include "fleet/rollout.h"
#include "repo/fetch_plan.h"

struct plan_fleet_before { /* how things stand now */
        const char *fleet;
        const struct revision *revision; /* NULL: none yet */
};
struct plan_node {
        const char *name;
        struct pairs labels, variables;
        bool connected;
        const char *fleet;        /* owner now, or NULL */
        const char *revision;     /* digest it is assigned now, or NULL */
        const char *fingerprint;  /* of its binding now, or NULL */
        const char *platform;     /* as it says, or NULL */
        const char *const *seeds; /* SHA-256 of the artifacts that lie there: what deltas may begin with */
        size_t n_seeds;
};

/* What the repository has, so that the plan says which node gets what, by which way, in how many bytes. */
struct plan_repository {
        const struct catalog *catalog;
        /* What there is to fetch an artifact with, and how many bytes of its chunks the seeds do not give
         * (*ret_missing; -1: not known); false: that cannot be told now, the whole is planned for. */
        bool (*offer)(void *arg, const struct artifact *a, const char *const *seeds, size_t n_seeds,
                      struct fetch_offer *ret, int64_t *ret_missing);
        void *arg;
};

/* Where the content of files that run now comes from, so that a changed file is shown line by line. Without
 * it the sizes are told. */
struct plan_contents {
        /* Malloc'ed bytes of an object; any failure means that there is no diff. */
        int (*read)(void *arg, const char *sha256, char **ret_data, size_t *ret_len);
        void *arg;
};

struct plan;
/* before may be empty (everything is new). nodes are those the server knows; those that Git declares and the
 * server does not are added. A node's labels are what is given with its Node document over them. contents may
 * be NULL. Nothing is kept of the model or the rest. The model must be without errors (-EINVAL). */
int plan_make(const struct fleet_model *model, const struct plan_fleet_before *before, size_t n_before,
              const struct plan_node *nodes, size_t n_nodes, struct plan **ret, struct err **err);
/* contents and repository may be NULL. */
struct plan_sources {
        const struct plan_contents *contents;
        const struct plan_repository *repository;
};
int plan_make_with(const struct fleet_model *model, const struct plan_fleet_before *before, size_t n_before,
                   const struct plan_node *nodes, size_t n_nodes, const struct plan_sources *sources,
                   struct plan **ret, struct err **err);
int plan_make_with_contents(const struct fleet_model *model, const struct plan_fleet_before *before,
                            size_t n_before, const struct plan_node *nodes, size_t n_nodes,
                            const struct plan_contents *contents, struct plan **ret, struct err **err);
struct plan *plan_free(struct plan *p);
DEFINE_CLEANUP(struct plan, plan_free)
bool plan_is_empty(const struct plan *p);
/* A readable diff: "+ app web (podman)", "~ app till: command ...", then waves with node counts. width: of
 * the terminal, for lists of nodes; 0: no limit. */
void plan_format(const struct plan *p, bool colour, size_t width, struct buf *out);
/* With each node's artifacts one by one. */
void plan_format_nodes(const struct plan *p, bool colour, size_t width, struct buf *out);
/* For a comment on a pull request: a table of the fleets, and the plan itself folded below. At most
 * PLAN_MARKDOWN_MAX bytes, which GitHub and GitLab take. */
#define PLAN_MARKDOWN_MAX 60000
void plan_format_markdown(const struct plan *p, struct buf *out);
/* {"changes":bool,"fleets":[{"name","action":"create"|"change"|"remove","before","after","rollout",
 *   "variables":[CHANGE],"apps":[{"name","driver","action","changes":[CHANGE]}],
 *   "waves":[{"name","exact":bool,"nodes":[name],"bytes"?}],
 *   "transfers"?:[{"node","artifact","version","platform","way","bytes","bytesWhole","reason"}],
 *   "blocked"?:[{"node","reason"}]}],
 *  "nodes":[{"name","action":"move"|"join"|"leave"|"settings","from","to"}]}
 * CHANGE: {"path","before"?,"after"?,"diff"?:[line]}. Fleets without a change are left out. exact: false
 * where a limit chooses among more nodes, which the rollout does when it starts. */
json_t *plan_to_json(const struct plan *p) _must_use_;
