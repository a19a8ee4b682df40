/* SPDX-License-Identifier: Apache-2.0 */
/* Desired state of this node: a revision bound to the node's labels and variables, taken apart into units.
 *
 * A unit is one app as it shall run here: its bound spec plus the digests of its files' final (expanded)
 * contents. Its digest covers all of that, so a unit whose digest did not change between two revisions is
 * left alone. A `source` (revision digest, labels, variables, artifacts) is all that has to be remembered to
 * make the same desired state again from the object store, for instance to go back to it. */
#pragma once

#include "agent/assigned_artifact.h"
#include "base/buf.h"
#include "fleet/revision.h"
#include "repo/object_store.h"

struct source {
        char id[65];       /* SHA-256 over the rest */
        char revision[65]; /* the revision's digest */
        json_t *labels, *variables;
        json_t *artifacts; /* what the director chose, a checked list (agent/assigned_artifact.h); NULL: none
                            */
};
/* Takes references to labels and variables (objects of texts). -ENOMEM, -EINVAL. */
int source_make(const char *revision, const json_t *labels, const json_t *variables, struct source **ret,
                struct err **err);
/* With artifacts (may be NULL); they are part of the id, so that other bytes are another source. */
int source_make_with(const char *revision, const json_t *labels, const json_t *variables,
                     const json_t *artifacts, struct source **ret, struct err **err);
struct source *source_copy(const struct source *s) _must_use_;
struct source *source_free(struct source *s);
DEFINE_CLEANUP(struct source, source_free)

struct unit_file {
        char sha256[65]; /* of the content as it lies on the node */
        int64_t size;
};
struct unit_secret {
        char sha256[65]; /* of the value's cipher text: the same as long as the value is not encrypted anew */
};
struct unit {
        const struct app_spec *spec; /* bound: no references left */
        char digest[65];
        struct unit_file *files;             /* as many as spec->n_files */
        struct unit_secret *secrets;         /* as many as spec->n_secrets */
        struct assigned_artifact *artifacts; /* as many as spec->n_artifacts; texts belong to the source */
};

struct desired { /* shared by reference; belongs to the loop's thread */
        unsigned references;
        struct source *source;
        struct revision *revision; /* bound */
        struct binding binding;    /* for the contents of files that expand */
        struct unit *units;        /* in dependency order */
        size_t n_units;
        struct arena *arena;
};

/* Which objects (hex digests) are not in the store yet. Without the revision itself only that one is
 * known. A NULL-terminated vector, NULL when nothing is missing. -EBADMSG, -EINVAL: the revision cannot
 * be read. */
int desired_missing(struct object_store *objects, const struct source *s, char ***ret, struct err **err);

/* Everything must be in the store: -ENOENT names what is not; -ENOKEY a reference that the node cannot
 * fill, or an artifact that was not assigned. Payloads of artifacts are not looked at. */
int desired_make(struct object_store *objects, const struct source *s, const char *node, struct desired **ret,
                 struct err **err);
struct desired *desired_ref(struct desired *d);
struct desired *desired_free(struct desired *d); /* drops a reference */
DEFINE_CLEANUP(struct desired, desired_free)

/* NULL when there is no such app. */
const struct unit *desired_unit(const struct desired *d, const char *app);
/* Final content of the unit's file i, checked against its digest. */
int desired_read_file(const struct desired *d, struct object_store *objects, const struct unit *u, size_t i,
                      struct buf *out, struct err **err);
/* Does the assignment give every artifact that the revision names? -ENOKEY says which it does not; the
 * revision must be in the store. ret_fleet (may be NULL): the fleet it is for, malloc'ed. */
int desired_check_artifacts(struct object_store *objects, const struct source *s, const char *node,
                            char **ret_fleet, struct err **err);
/* Every object the source needs; for sweeping the store. */
int desired_objects(struct object_store *objects, const struct source *s, char ***ret, struct err **err);
