/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of object that the API lists, and how each is shown: one table. */
#pragma once

#include "cli/api.h"
#include "cli/print.h"

struct kind {
        const char *plural, *singular; /* "nodes", "node" */
        const char *names;             /* further ones: "no" */
        const char *path;              /* of the list in the API: "/nodes" */
        const struct column *columns;
        size_t n_columns;
        /* Adds one row for object o. */
        void (*row)(struct columns *t, const json_t *o, msec_t now);
        /* Words beneath the table, for what does not fit in it; may be NULL. */
        void (*notes)(struct buf *out, const json_t *o, const struct columns_look *look);
        /* Writes everything there is to say, for people. */
        void (*describe)(struct buf *out, const json_t *o, msec_t now, const struct columns_look *look);
        /* Prefixes of event types ("Node Rollout") after which the list may have changed. */
        const char *events;
        bool has_labels;   /* -l goes to the server */
        bool by_prefix;    /* names are digests: a unique beginning will do */
        bool lists_fields; /* reading one object by name gives more than the list does */
        bool by_time;      /* the server's order tells something; others are listed by name */
        const char *none;  /* what to do when there are none at all */
};

/* NULL with the nearest kind in the error (-EINVAL). */
const struct kind *kind_find(const char *word, struct err **err);
/* By index, for completion; NULL past the end. */
const struct kind *kind_at(size_t i);

/* The name that an object goes by ("" when it has none). */
const char *object_name(const json_t *o);

/* The list of a kind: *ret is the whole answer with its "items". query is "" or "a=b&c=d", encoded. */
int kind_list(struct api *a, const struct kind *k, const char *query, json_t **ret, struct err **err);
/* Puts a list in the order in which it is shown: by name, numbers in names as numbers, where time tells
 * nothing.
 */
void kind_sort(const struct kind *k, json_t *list);
/* One object. A name that there is none of gives -ENOENT with the nearest one in its words. */
int kind_get(struct api *a, const struct kind *k, const char *name, json_t **ret, struct err **err);

/* Calls METHOD PATH/NAME followed by rest ("/revoke"); an unknown name is told as by kind_get(). */
int kind_call(struct api *a, const struct kind *k, const char *method, const char *name, const char *rest,
              const json_t *body, json_t **ret, struct err **err);

/* What `skerry get KIND` and the like do: list all of a kind in the format named. Exit code. */
int list_kind(const struct cli_globals *g, const char *kind, const char *query, const char *output);
/* "No nodes. ..." on standard error. all: nothing was filtered out. */
void print_none(const struct kind *k, bool all);
/* Prints the table's rows, and on a terminal what it had no room for. Exit code. */
int print_table(const struct columns *t, struct columns_look *look, struct buf *out);
/* Prints a list answer. Exit code. */
int print_list(const struct kind *k, const json_t *list, enum output output);
