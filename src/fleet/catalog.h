/* SPDX-License-Identifier: Apache-2.0 */
/* What a signed repository holds, as far as fleets are concerned: artifacts by name and version, and the
 * revisions that were released. Made from verified metadata (or from what a server says of it); the compiler,
 * the director and plans ask it. Immutable once sealed, counted, usable from any thread then. */
#pragma once

#include "fleet/revision.h"
#include "repo/artifact.h"

#define CATALOG_TARGETS_MAX 1000000

struct catalog;
struct catalog *catalog_new(void) _must_use_;
struct catalog *catalog_ref(struct catalog *c);
struct catalog *catalog_unref(struct catalog *c);
static inline void catalog_unrefp(struct catalog **c) {
        catalog_unref(*c);
}

/* Takes a target over if it is an artifact or a revision; others are passed over. -EINVAL: it says that it is
 * one and is none, nothing was taken; -EFBIG past CATALOG_TARGETS_MAX. custom may be NULL. */
int catalog_add(struct catalog *c, const char *path, int64_t length, const char *sha256, const json_t *custom,
                struct err **err);
/* Ends the adding. */
void catalog_seal(struct catalog *c);
size_t catalog_artifacts(const struct catalog *c);
/* By name, version, platform. */
const struct artifact *catalog_artifact(const struct catalog *c, size_t i);

/* The platforms of one version; *ret is borrowed. 0: there is no such version. */
size_t catalog_find(const struct catalog *c, const char *name, const char *version,
                    const struct artifact *const **ret);
/* "1.3.0, 1.2.0 and 4 more", newest first; "" where the name is unknown. */
const char *catalog_versions_text(const struct catalog *c, const char *name, char *buf, size_t size);
/* The known name nearest to this one, or NULL. */
const char *catalog_nearest_name(const struct catalog *c, const char *name);
/* A yanked version is one of which every platform is. replaced_by: of the first that says, or NULL. */
bool catalog_is_yanked(const struct catalog *c, const char *name, const char *version,
                       const char **ret_replaced_by);

/* Was this revision released: is it listed with this digest and length? */
bool catalog_has_revision(const struct catalog *c, const char *fleet, const char *sha256, int64_t length);
/* Its release's counter; 0: it was not. */
int64_t catalog_revision_counter(const struct catalog *c, const char *fleet, const char *sha256);
/* The highest counter of a fleet's releases; 0: none. */
int64_t catalog_release_counter(const struct catalog *c, const char *fleet);

/* ---- What one node gets. */
struct catalog_choice {
        const char *name, *version;      /* as the revision names it, references replaced */
        const struct artifact *artifact; /* borrowed from the catalog */
};
/* For every artifact that the revision names, once, by name and version; in the arena. platform as
 * platform_parse() leaves it; NULL: not known yet. -ENOENT: something does not fit, and the message says what
 * and what there is; -EAGAIN: its platform is not known yet. -ENOKEY, -EINVAL: a version cannot be told. A
 * revision without artifacts gives none, even without a catalog (c NULL). */
int catalog_choose(const struct catalog *c, const struct revision *r, const struct binding *b,
                   const char *platform, struct arena *arena, struct catalog_choice **ret, size_t *ret_n,
                   struct err **err);
bool revision_has_artifacts(const struct revision *r);

/* ---- As text: {"targets":[{"path","length","sha256","custom"}]}. */
json_t *catalog_to_json(const struct catalog *c) _must_use_;
/* Sealed. What does not fit is -EINVAL. */
int catalog_from_json(const json_t *j, struct catalog **ret, struct err **err);
