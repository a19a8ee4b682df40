/* SPDX-License-Identifier: Apache-2.0 */
/* What podman 4.3 makes of each field of the Kubernetes kinds it plays, as tables. Sources:
 * podman-kube-play(1) of Debian 12, podman's docs/kubernetes_support.md, and trials. */
#pragma once

#include "base/macros.h"

enum manifest_shape {
        MANIFEST_ANY,
        MANIFEST_TEXT,
        MANIFEST_NUMBER,
        MANIFEST_BOOL,
        MANIFEST_MAP,  /* with `fields`: of these; without: any */
        MANIFEST_LIST, /* with `fields`: of maps of these; without: any */
        MANIFEST_TEXTS,
        MANIFEST_PAIRS, /* map of texts */
};

enum manifest_fate {
        MANIFEST_PLAYED,
        MANIFEST_IGNORED, /* silently, by podman: a warning with the advice */
        MANIFEST_REFUSED, /* cannot work: an error with the advice */
};

struct manifest_field {
        const char *name; /* NULL ends the table */
        enum manifest_shape shape;
        enum manifest_fate fate;
        const struct manifest_field *fields;
        const char *advice; /* NULL: leave it out */
};

struct manifest_kind {
        const char *name, *api_version;
        const struct manifest_field *fields; /* NULL: podman does not play it, `advice` says what to do */
        const char *advice;
};

/* NULL when the kind is unknown. */
const struct manifest_kind *manifest_kind_find(const char *name) _pure_;
/* Names of the kinds that are played, for suggestions. */
extern const char *const manifest_played_kinds[5];
