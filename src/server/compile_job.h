/* SPDX-License-Identifier: Apache-2.0 */
/* Compiling a commit on a worker thread: the fleet compiler over a Git tree, and what the control plane
 * needs of its result, in memory that outlives the compile. */
#pragma once

#include "fleet/compile.h"
#include "repo/object_store.h"
#include "server/inventory.h"

struct compiled_fleet {
        char *name;
        char *spec; /* JSON text: labels, selector, rollout, policy, apps, drivers, variables */
        char digest[65];
        int64_t length;
        char key[65];              /* names the target: see fleets.h */
        char *apps;                /* JSON text: [{name, driver}] */
        struct revision *revision; /* decoded */
};

struct compiled {
        struct compiled_fleet *fleets; /* sorted by name */
        size_t n_fleets;
        struct declaration *nodes; /* sorted by name */
        size_t n_nodes;
        json_t *diagnostics; /* array, for the API */
        size_t n_errors;     /* not 0: fleets and nodes are not to be used */
        char *source, *commit, *subject, *author;
};
struct compiled *compiled_free(struct compiled *c);
DEFINE_CLEANUP(struct compiled, compiled_free)

struct compile_input {
        const char *source, *commit, *subject, *author;
        const struct fleet_tree *tree;
        const struct fleet_node *inventory; /* sorted by name */
        size_t n_inventory;
        struct fleet_cache *cache;
        const struct catalog *catalog; /* NULL: there is no repository, or */
        const char *why_no_catalog;    /* it could not be read yet; NULL otherwise */
        struct object_store *objects;  /* receives revisions and files */
};
/* Negative only for failures of the machine. */
int compile_run(const struct compile_input *input, struct compiled **ret, struct err **err);
/* Adds an error of the server's own (two sources that declare one fleet). */
void compiled_add_error(struct compiled *c, const char *suggestion, const char *format, ...) _printf_(3, 4);
