/* SPDX-License-Identifier: Apache-2.0 */
/* A revision: the desired state of one fleet as canonical JSON, named by its SHA-256, the same for all
 * nodes. Layout in docs/formats/revision.md. */
#pragma once

#include "fleet/app.h"
#include "fleet/expand.h"

#define REVISION_MAX (16u << 20) /* bytes of JSON */
#define REVISION_APPS_MAX 256

struct revision {
        char digest[65];
        const char *fleet;
        struct pairs variables; /* the fleet's; a node's own win */
        const char **requires_; /* references without default: "labels.site", ... sorted, unique */
        size_t n_requires;
        const char **uses; /* all references, with and without default; sorted, unique */
        size_t n_uses;
        struct app_spec *apps; /* in dependency order */
        size_t n_apps;
        struct arena *arena;
};

/* Strict: unknown fields, wrong types, unordered or cyclic apps, escaping paths and over-long lists
 * are -EINVAL. The digest is computed from the bytes as given. */
int revision_decode(const char *json, size_t len, struct revision **ret, struct err **err);
/* Canonical JSON of what was compiled; malloc'ed. Also sets r->digest. */
int revision_encode(struct revision *r, char **ret_json, size_t *ret_len, struct err **err);
struct revision *revision_free(struct revision *r);
DEFINE_CLEANUP(struct revision, revision_free)

/* A copy with every reference expanded for one node (variables of the binding go over the fleet's).
 * File contents are not here: expand those that say so with revision_binding(). -ENOKEY names what
 * is missing. */
int revision_bind(const struct revision *r, const struct binding *b, struct revision **ret, struct err **err);
/* The node's binding with the fleet's variables beneath; storage in the arena. */
int revision_binding(const struct revision *r, const struct binding *b, struct arena *arena,
                     struct binding *ret);
/* Hex SHA-256 over those labels, variables and name that the revision uses: a node whose fingerprint
 * is unchanged needs no new assignment. */
int revision_binding_fingerprint(const struct revision *r, const struct binding *b, char out[65]);
