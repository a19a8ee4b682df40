/* SPDX-License-Identifier: Apache-2.0 */
/* Kubernetes manifests as `podman kube play` (4.3, Debian 12) takes them: five kinds, and of those the fields
 * that it acts on. What it would pass over in silence is a warning here, and what cannot work is an error, so
 * that nobody believes in a readiness probe that never runs. */
#pragma once

#include <jansson.h>

#include "fleet/schema.h"

#define MANIFEST_OBJECTS_MAX 64 /* in one app */
#define MANIFEST_USES_MAX 1024  /* in one file */

struct manifest_object {
        const char *kind, *name;
        struct position where;
        json_t *json; /* owned by whoever owns the object; may hold references */
};

/* Where a pod names another object, which may stand in another file of the app. */
enum manifest_use_kind {
        MANIFEST_USES_CONFIG_MAP, /* in the environment or as a volume */
        MANIFEST_USES_SECRET_ENVIRONMENT,
        MANIFEST_USES_SECRET_VOLUME,
};
struct manifest_use {
        enum manifest_use_kind kind;
        const char *name;
        struct position where;
        bool optional;
};

struct manifest {
        struct manifest_object *objects;
        size_t n_objects;
        struct manifest_use *uses;
        size_t n_uses;
};

/* Checks the documents of one file and turns them into JSON. Faults become diagnostics and references are
 * collected in d; faulty objects are left out. All lies in d's arena but the objects' json, which is to be
 * released with json_decref(). -ENOMEM only. */
int manifest_decode(struct schema_decoder *d, struct value *const *documents, size_t n, struct manifest *ret);

/* After references were replaced, text stands where Kubernetes wants numbers (`hostPort: ${vars.port}`):
 * makes them numbers, in place. -EINVAL names the field. */
int manifest_settle_numbers(json_t *object, struct err **err);

/* May a container engine fetch an image by this name? */
bool image_name_is_valid(const char *name);
