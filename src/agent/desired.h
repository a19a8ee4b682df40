/* SPDX-License-Identifier: Apache-2.0 */
/* Desired state of this node: a revision bound to the node's labels and variables, taken apart into units.
 *
 * A unit is one app as it shall run here: its bound spec plus the digests of its files' final (expanded)
 * contents. Its digest covers all of that, so a unit whose digest did not change between two revisions is
 * left alone. A `source` (revision digest, labels, variables) is all that has to be remembered to make
 * the same desired state again from the object store, for instance to go back to it. */
#pragma once

#include "base/buf.h"
#include "fleet/revision.h"
#include "repo/object_store.h"

struct source {
        char id[65];       /* SHA-256 over the rest */
        char revision[65]; /* the revision's digest */
        json_t *labels, *variables;
};
/* Takes references to labels and variables (objects of texts). -ENOMEM, -EINVAL. */
int source_make(const char *revision, const json_t *labels, const json_t *variables, struct source **ret,
                struct err **err);
struct source *source_copy(const struct source *s) _must_use_;
struct source *source_free(struct source *s);
DEFINE_CLEANUP(struct source, source_free)

struct unit_file {
        char sha256[65]; /* of the content as it lies on the node */
        int64_t size;
};
struct unit {
        const struct app_spec *spec; /* bound: no references left */
        char digest[65];
        struct unit_file *files; /* as many as spec->n_files */
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
 * fill. */
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
/* Every object the source needs; for sweeping the store. */
int desired_objects(struct object_store *objects, const struct source *s, char ***ret, struct err **err);
