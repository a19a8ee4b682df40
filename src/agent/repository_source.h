/* SPDX-License-Identifier: Apache-2.0 */
/* Where files of the artifact repository are to be had, in the order they are asked: the edge, then mirrors
 * (those of the command line, then those of the bundle); or one folder alone, for an import. None of them is
 * trusted with more than bytes. */
#pragma once

#include <jansson.h>

#include "base/fs.h"
#include "net/http_client.h"

#define REPOSITORY_MIRRORS_MAX 16

struct repository_sources;
struct repository_edge {
        /* The client and the address of a path on the edge at the moment (malloc'ed); false: there is no edge
         * to ask now. */
        bool (*find)(void *arg, const char *path, struct http_client **ret_client, char **ret_url);
        void *arg;
};

/* mirrors: base URLs, http or https, NULL-terminated, may be NULL. -EINVAL names one that is none. edge.find
 * may be NULL. */
int repository_sources_new(struct loop *l, const struct repository_edge *edge, char *const *mirrors,
                           struct repository_sources **ret, struct err **err);
/* -ENOENT, -ENOTDIR: no such folder. */
int repository_sources_new_folder(struct loop *l, const char *folder, struct repository_sources **ret,
                                  struct err **err);
struct repository_sources *repository_sources_free(struct repository_sources *s);
DEFINE_CLEANUP(struct repository_sources, repository_sources_free)

/* Those of the bundle, instead of the ones it gave before; what is no URL is left out. */
void repository_sources_set_bundle(struct repository_sources *s, const json_t *mirrors);
/* Closes connections to mirrors; none may be in use. */
void repository_sources_rest(struct repository_sources *s);

struct repository_place {
        struct root_dir *folder;    /* not NULL: the path is to be read there */
        struct http_client *client; /* else */
        char *url;                  /* malloc'ed, the caller's */
        char *name;                 /* for messages, malloc'ed */
        bool is_edge;
};
void repository_place_done(struct repository_place *p);

size_t repository_sources_count(const struct repository_sources *s);
struct loop *repository_sources_loop(const struct repository_sources *s);
/* Source i of a path below the repository. -EHOSTUNREACH: not to be asked now. */
int repository_sources_place(struct repository_sources *s, size_t i, const char *path,
                             struct repository_place *ret, struct err **err);
