/* SPDX-License-Identifier: Apache-2.0 */
/* The newest assignment of each node, on the relay's disk, for the time that the server is away.
 *
 * STATE/assignments/<node>.json holds {"signed","signatures"} as it came. The relay cannot check the
 * signature's worth for the node, and need not: the node does. Files are replaced whole but not forced to
 * disk: what a power cut takes is what the server sends again, and a damaged file counts as none. */
#pragma once

#include <jansson.h>

#include "base/err.h"

struct assignment_cache;

int assignment_cache_open(const char *folder, struct assignment_cache **ret, struct err **err);
struct assignment_cache *assignment_cache_free(struct assignment_cache *c);
DEFINE_CLEANUP(struct assignment_cache, assignment_cache_free)

/* Keeps an assignment event's body when it is newer than what is there: 0, -ESTALE, -EINVAL for what is not
 * an assignment of this node, or a write error. */
int assignment_cache_put(struct assignment_cache *c, const char *node, const json_t *event, struct err **err);
/* Version of what is kept; 0 for none. */
int64_t assignment_cache_version(struct assignment_cache *c, const char *node);
/* {"signed","signatures"}, new reference; NULL for none. */
json_t *assignment_cache_get(struct assignment_cache *c, const char *node) _must_use_;
void assignment_cache_remove(struct assignment_cache *c, const char *node);
