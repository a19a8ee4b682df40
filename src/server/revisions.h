/* SPDX-License-Identifier: Apache-2.0 */
/* Revisions: what is known of each, and the decoded ones that fleets want or run. */
#pragma once

#include <jansson.h>

#include "server/control.h"

struct revision;
struct revisions;

int revisions_open(struct control *c, struct err **err);
struct revisions *revisions_free(struct revisions *r);

struct revision_about {
        const char *digest, *fleet, *source, *commit, *apps; /* apps: JSON text */
        int64_t bytes;
};
/* Takes the decoded revision, which may be NULL. Known already: the commit that made it first stays. */
void revisions_add(struct control *c, const struct revision_about *about, struct revision *decoded);
/* Is this the digest of a revision that was made here? */
bool revisions_have(const struct control *c, const char *digest);
/* Decoded, read from the object store where needed; borrowed until revisions_trim(). NULL: it cannot be read
 * (the message is in the log). */
const struct revision *revisions_decoded(struct control *c, const char *digest);
/* Drops decoded revisions that no fleet wants or runs. */
void revisions_trim(struct control *c);

/* Forgets those made before `before` that are not among `kept` (a table by digest); those that stay are added
 * to it. */
struct table;
void revisions_forget(struct control *c, msec_t before, struct table *kept);

json_t *revisions_json(const struct control *c, const char *fleet) _must_use_; /* array, newest first */
/* One with its content; NULL: unknown. A prefix of the digest of at least 8 digits that fits only one does.
 */
json_t *revisions_one_json(struct control *c, const char *digest) _must_use_;
