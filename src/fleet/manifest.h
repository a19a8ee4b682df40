/* SPDX-License-Identifier: Apache-2.0 */
/* Kubernetes manifests as `podman kube play` (4.3, Debian 12) takes them: five kinds, and of those the fields
 * that it acts on. What it would pass over in silence is a warning here, and what cannot work is an error, so
 * that nobody believes in a readiness probe that never runs. */
#pragma once

#include <jansson.h>

#include "fleet/schema.h"

#define MANIFEST_OBJECTS_MAX 64 /* in one app */

struct manifest_object {
        const char *kind, *name;
        struct position where;
        json_t *json; /* owned by whoever owns the object; may hold references */
};

/* Checks the documents of one file and turns them into JSON. Faults become diagnostics and references are
 * collected in d; faulty objects are left out. The objects lie in d's arena, their json is to be released
 * with json_decref(). -ENOMEM only. */
int manifest_decode(struct schema_decoder *d, struct value *const *documents, size_t n,
                    struct manifest_object **ret, size_t *ret_n);

/* After references were replaced, text stands where Kubernetes wants numbers (`hostPort: ${vars.port}`):
 * makes them numbers, in place. -EINVAL names the field. */
int manifest_settle_numbers(json_t *object, struct err **err);

/* May a container engine fetch an image by this name? */
bool image_name_is_valid(const char *name);
