/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the compiler, shared by its stages: compile.c reads files, link_apps.c and link_fleets.c check
 * what documents say of each other, reach.c holds fleets against nodes, build.c makes revisions. */
#pragma once

#include "base/table.h"
#include "fleet/catalog.h"
#include "fleet/compile.h"
#include "fleet/parsed.h"

#define FILES_APP "files" /* what a fleet template's own files become */

struct linked_secret {
        struct position where;
        const char **recipients; /* of its file, ended by NULL */
};

struct app_entry {
        const char *name;                /* not a valid one perhaps where it is not used further */
        const struct document *document; /* NULL: the files of a fleet template */
        struct app_file *files;
        const struct position *file_places; /* of each one's path */
        size_t n_files;
        struct app_secret *secrets;
        struct linked_secret *linked_secrets; /* their places and recipients */
        size_t n_secrets;
        const struct manifest_object **objects;
        size_t n_objects;
        struct app_entry **dependencies; /* those that exist; by name */
        size_t n_dependencies;
        const struct parsed **texts; /* manifests and expanded contents: what else holds references */
        size_t n_texts;
        int64_t content_size;
        bool used;
        unsigned mark; /* of walks over the graph */
};

struct fleet_entry {
        const struct document *document;
        const struct document *rollout; /* NULL: the default */
        struct app_entry *files;        /* NULL: none */
        struct app_entry **apps;        /* those that exist, in dependency order, without `files` */
        size_t n_apps;
        size_t *nodes; /* known nodes that it selects: indices into compiler.nodes */
        size_t n_nodes;
        const char **requires_, **uses; /* names of references; sorted */
        size_t n_requires, n_uses;
};

struct named {                         /* the documents of one kind */
        const struct document **items; /* sorted by name, each name once: the first n; then those that have no
                                          valid name, or one that is taken: what they say is checked too */
        size_t n, n_all;
        const char **names; /* of the first n */
};

struct compiler {
        const struct fleet_tree *tree;
        const struct fleet_tree_entry **entries; /* sorted by path */
        struct fleet_cache *cache;
        struct table *parsed; /* kind and path -> struct parsed, borrowed from the model */
        struct fleet_model *model;
        struct arena *arena; /* the model's */
        struct diagnostics *diagnostics;
        struct named kinds[FLEET_KINDS];
        struct table *seeming;              /* kind or -1, and name: see struct seeming_name */
        const struct parsed **unread_files; /* no YAML, and not known to be ours */
        size_t n_unread_files;
        bool unread[FLEET_KINDS]; /* what is missing may stand in a document that could not be read */
        struct app_entry *apps;   /* as kinds[FLEET_KIND_APP].items */
        struct fleet_entry *fleets;
        struct fleet_node *nodes; /* all known: declared and inventory; sorted by name */
        size_t n_nodes;
        struct table *objects; /* digest -> struct fleet_object in the model's arena */
        bool check_artifacts;
        const struct catalog *catalog; /* NULL: there is none, for this reason: */
        const char *why_no_catalog;
        struct err **err;
};

/* What an entry of the tree holds, from the cache where it may be. Its diagnostics are taken over once.
 * -EFBIG when it is larger than limit; other failures are the machine's. */
int compiler_parse(struct compiler *c, enum parsed_kind kind, const struct fleet_tree_entry *e, size_t limit,
                   const struct parsed **ret);
/* A file that a document names: resolved beside it, found, reported when it is not there. *ret NULL then. */
int compiler_find_file(struct compiler *c, const struct located *name, const struct fleet_tree_entry **ret);
/* Index of a name among a kind's documents; -1: none. */
ssize_t compiler_find(const struct compiler *c, enum fleet_kind kind, const char *name);
void compiler_error(struct compiler *c, const struct position *where, const char *suggestion,
                    const char *format, ...) _printf_(4, 5);
void compiler_warning(struct compiler *c, const struct position *where, const char *suggestion,
                      const char *format, ...) _printf_(4, 5);
/* Reports a name that no document of the kind has; not one that a faulty document may have. */
void compiler_missing(struct compiler *c, enum fleet_kind kind, const struct located *name);

/* Resolves file documents into e->files (with places and texts); faults are reported. */
int link_files(struct compiler *c, struct app_entry *e, const struct file_document *files, size_t n);
/* Do the paths of a fleet's artifacts get along with each other and with its files? */
int check_artifact_paths(struct compiler *c, const struct fleet_entry *f);
/* Has the catalog the artifacts that apps in use name? */
void check_artifact_versions(struct compiler *c);
/* And those whose version says another on each node, for the nodes that the fleet selects? */
int check_bound_versions(struct compiler *c, const struct fleet_entry *f);
/* Finds the values that secrets name; faults are reported. */
int link_secrets(struct compiler *c, struct app_entry *e);
/* Are the nodes of the fleet whose recipient is known recipients of its secrets? Warns. */
void check_recipients(struct compiler *c, const struct fleet_entry *f);
/* The model keeps each content once; the bytes stay where they were read. */
int compiler_keep_object(struct compiler *c, const char *sha256, const char *data, size_t len);
int link_apps(struct compiler *c);
int link_fleets(struct compiler *c);
/* Which fleet reaches which node; whether every reference is known there. */
int check_reach(struct compiler *c);
/* Fills c->model; only when nothing was wrong are there revisions. */
int build_model(struct compiler *c);
