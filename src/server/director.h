/* SPDX-License-Identifier: Apache-2.0 */
/* The director: reads the repository's metadata as any client does (verified, on the worker pool), keeps what
 * it holds as a catalog, and chooses from it what each node gets. It signs nothing of the repository; what it
 * chooses a node takes only where the repository's own signatures say the same.
 *
 * STATE/director/catalog.json   what it held, so that a start needs no repository within reach */
#pragma once

#include <jansson.h>

#include "fleet/catalog.h"
#include "server/control.h"
#include "server/inventory.h"

struct director;

int director_open(struct control *c, struct err **err);
void director_start(struct control *c);
struct director *director_free(struct director *d);

/* A new catalog, taken: stored (director_keep(), which may be called on a worker), then taken over; what
 * waited for it goes on. */
int director_keep(const struct control *c, const struct catalog *catalog, struct err **err);
void director_take(struct control *c, struct catalog *catalog);
/* How the reading goes: members for director_json(), taken; why it failed, NULL: it did not. */
void director_note(struct control *c, json_t *reading, const char *error);
/* What was last verified; borrowed until the loop's turn ends. NULL: there is no repository, or nothing was
 * read yet. */
struct catalog *director_catalog(const struct control *c);
/* In words, malloc'ed; NULL: there is a catalog, or no repository. */
char *director_why_no_catalog(const struct control *c) _must_use_;
/* Grows with every change of the catalog. */
uint64_t director_generation(const struct control *c);

/* Of a node and a revision: the list for its assignment (NULL where the revision names no artifacts; a new
 * reference), and what the choice adds to the fingerprint of its binding. -ENOENT, -ENOKEY, -EINVAL: nothing
 * fits, in words. */
int director_choose(struct control *c, const struct node *n, const struct revision *r, json_t **ret,
                    char fingerprint[65], struct err **err);

/* May it be given to nodes? With trust release-key only a revision that the repository lists. *ret_why: what
 * it waits for, malloc'ed. */
bool director_may_give(const struct control *c, const char *fleet, const char *revision, int64_t length,
                       char **ret_why);
/* The same, of a new target for a fleet that runs another: nodes do not go back far (agent/repository.h). */
bool director_may_turn_to(const struct control *c, const char *fleet, const char *revision,
                          const char *running, char **ret_why);
bool director_wants_releases(const struct control *c);

/* {"location","trust","versions":{},"timestampExpiresAt","checkedAt","changedAt","artifacts","error"}; NULL
 * where there is no repository. */
json_t *director_json(const struct control *c) _must_use_;
