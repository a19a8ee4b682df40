/* SPDX-License-Identifier: Apache-2.0 */
/* A revision: the desired state of one fleet as canonical JSON, named by its SHA-256, the same for all
 * nodes. Layout in docs/formats/revision.md. */
#pragma once

#include "fleet/app.h"
#include "fleet/expand.h"

#define REVISION_MAX (16u << 20) /* bytes of JSON */
#define REVISION_APPS_MAX 256
#define REVISION_REFERENCES_MAX 4096
#define REVISION_BOUND_MAX (64u << 20) /* bytes of text that references may become in revision_bind() */
#define REVISION_API_VERSION "skerry/v1alpha1"

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

/* An empty one with an arena for what is put into it. NULL when memory is out. */
struct revision *revision_new(void) _must_use_;
/* Also drops the references that its apps hold to manifests, and the arena. */
struct revision *revision_free(struct revision *r);
DEFINE_CLEANUP(struct revision, revision_free)

/* Strict: unknown fields, wrong types, unordered or cyclic apps, escaping paths and over-long lists
 * are -EINVAL. The digest is computed from the bytes as given. */
int revision_decode(const char *json, size_t len, struct revision **ret, struct err **err);
/* Canonical JSON of what was compiled; malloc'ed. Also sets r->digest. What revision_decode() would refuse
 * is -EINVAL here too; -EMSGSIZE past REVISION_MAX. */
int revision_encode(struct revision *r, char **ret_json, size_t *ret_len, struct err **err);

/* A copy with every reference expanded for one node (variables of the binding go over the fleet's).
 * File contents are not here: expand those that say so with revision_binding(). -ENOKEY names what
 * is missing. -EINVAL when a path then leaves the root, or two apps have the same file; -EMSGSIZE past
 * REVISION_BOUND_MAX. */
int revision_bind(const struct revision *r, const struct binding *b, struct revision **ret, struct err **err);
/* The node's binding with the fleet's variables beneath; storage in the arena. */
int revision_binding(const struct revision *r, const struct binding *b, struct arena *arena,
                     struct binding *ret);
/* Hex SHA-256 over those labels, variables and name that the revision uses: a node whose fingerprint
 * is unchanged needs no new assignment. */
int revision_binding_fingerprint(const struct revision *r, const struct binding *b, char out[65]);
