/* SPDX-License-Identifier: Apache-2.0 */
/* The artifact repository as this server hands it on (docs/formats/repository.md): a published folder on its
 * disk, or somebody's web server, whose files are then kept as a relay keeps them.
 *
 * The server needs no key of it, and nobody need trust what it hands on. */
#pragma once

#include <jansson.h>

#include "server/control.h"

struct edge_repository_request;
struct edge_repository_file;
struct repository;

/* Without --repository there is none, and all calls below say so: -ENOENT, NULL. */
int repository_open(struct control *c, struct err **err);
/* Reads the newest root now and from then on now and then. */
void repository_start(struct control *c);
/* Takes it off the loop; what waits is told -ECANCELED. */
void repository_stop(struct control *c);
struct repository *repository_free(struct repository *r);
bool repository_is_there(const struct control *c);

/* Opens a file by its path below the published folder ("metadata/timestamp.json"), all of it. Calls done
 * once, perhaps at once: a descriptor, the caller's, or -Exxx: -ENOENT there is none, -EHOSTUNREACH not known
 * now, -EINVAL no path of a repository. fresh: what changes is asked for anew at its origin, however short
 * ago it was read. */
void repository_read(struct control *c, const char *path, bool fresh, void (*done)(void *arg, int fd),
                     void *arg);

/* For the edge's route. */
void repository_serve(struct control *c, const struct edge_repository_request *q,
                      void (*done)(void *arg, const struct edge_repository_file *f), void *arg);

/* The bundle's "repository" member; new reference, NULL while no root is known. */
json_t *repository_bundle(const struct control *c);
/* The newest root.json that is known; borrowed, NULL. */
const json_t *repository_root(const struct control *c);

/* true the first time that it is asked for a digest; see repository_ahead.h. */
bool repository_say_once(struct control *c, const char *sha256);
/* Tells the relays that these files (paths below the published folder) will be asked for soon. */
void repository_prefetch(struct control *c, const char *const *paths, size_t n);
