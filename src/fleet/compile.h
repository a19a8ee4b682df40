/* SPDX-License-Identifier: Apache-2.0 */
/* The compiler: files of a fleet repository -> model -> one revision per fleet. Used alike by
 * `skerry validate`, `skerry plan` and the server. No I/O: files come through `struct fleet_tree`.
 *
 * Fleet files are the *.yaml and *.yml whose documents say `apiVersion: skerry/...`. Other YAML lies beside
 * them undisturbed (manifests that an App names are read through the tree). Hidden folders are
 * skipped. */
#pragma once

#include "fleet/diagnostic.h"
#include "fleet/revision.h"
#include "fleet/rollout_policy.h"

#define FLEET_FILES_MAX 200000

struct fleet_tree_entry {
        const char *path;       /* relative, '/' separated */
        const char *content_id; /* equal ids mean equal content (a Git blob id); NULL: unknown */
        int64_t size;           /* -1: unknown */
};
struct fleet_tree {
        const struct fleet_tree_entry *entries; /* sorted by path */
        size_t n;
        /* Malloc'ed content of an entry; at most limit bytes (-EFBIG). Called on the compiling thread. */
        int (*read)(void *arg, const struct fleet_tree_entry *e, size_t limit, char **ret_data,
                    size_t *ret_len, struct err **err);
        void *arg;
};

struct fleet_node { /* a node declared in Git, or known from the inventory */
        const char *name;
        struct pairs labels, variables;
        const char *recipient; /* age recipient that it told, or NULL */
        struct position where; /* file NULL: from the inventory */
};
struct fleet_spec {
        const char *name;
        struct position where;
        struct pairs labels;
        struct selector selector;
        const char *rollout; /* name or NULL: the default policy */
        struct revision *revision;
        char *revision_json;
        size_t revision_len;
};
struct fleet_object { /* file content that revisions refer to */
        char sha256[65];
        char *data;
        size_t len;
};

struct fleet_model {
        struct arena *arena;
        struct diagnostics *diagnostics;
        struct fleet_spec *fleets; /* sorted by name */
        size_t n_fleets;
        struct fleet_node *nodes; /* declared in Git, sorted by name */
        size_t n_nodes;
        struct rollout_policy *policies; /* sorted by name */
        size_t n_policies;
        struct fleet_object *objects; /* sorted by digest, unique */
        size_t n_objects;
        size_t n_apps;
};

/* Keeps parsed files between compiles, by content id, so that only what changed is parsed again. One
 * thread at a time. May be NULL in fleet_compile(). */
struct fleet_cache;
struct fleet_cache *fleet_cache_new(void) _must_use_;
struct fleet_cache *fleet_cache_free(struct fleet_cache *c);
DEFINE_CLEANUP(struct fleet_cache, fleet_cache_free)

/* inventory: nodes the server knows, so that their labels are checked too; n 0 for none. Returns 0 when
 * the compile ran, be it with errors: look at model->diagnostics (any error: revisions are not to be
 * used). Negative only for failures of the machine (-ENOMEM, -EIO from read). */
int fleet_compile(const struct fleet_tree *tree, const struct fleet_node *inventory, size_t n_inventory,
                  struct fleet_cache *cache, struct fleet_model **ret, struct err **err);
/* The same, with what else is known. */
struct catalog;
struct fleet_compile_options {
        const struct fleet_node *inventory;
        size_t n_inventory;
        struct fleet_cache *cache;
        bool check_artifacts;          /* that the catalog has them, with a type that the driver takes */
        const struct catalog *catalog; /* NULL: see why_no_catalog */
        const char *why_no_catalog;    /* in words; NULL: the server has no repository */
};
int fleet_compile_with(const struct fleet_tree *tree, const struct fleet_compile_options *options,
                       struct fleet_model **ret, struct err **err);
struct fleet_model *fleet_model_free(struct fleet_model *m);
DEFINE_CLEANUP(struct fleet_model, fleet_model_free)

const struct fleet_spec *fleet_model_fleet(const struct fleet_model *m, const char *name);
const struct rollout_policy *fleet_model_policy(const struct fleet_model *m, const char *name);
const struct fleet_node *fleet_model_node(const struct fleet_model *m, const char *name);
/* The fleets that select these labels: how many, first one in *ret (NULL when none). */
size_t fleet_model_owner(const struct fleet_model *m, const struct pairs *labels,
                         const struct fleet_spec **ret);

/* A folder on disk as a tree (for the command line): walks, skips hidden folders, does not follow
 * symlinks. */
int fleet_tree_open_folder(const char *path, struct fleet_tree **ret, struct err **err);
struct fleet_tree *fleet_tree_close_folder(struct fleet_tree *t);
