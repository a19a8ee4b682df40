/* SPDX-License-Identifier: Apache-2.0 */
/* Kubernetes manifests as podman is given them, and what is expected to run then. Pure.
 *
 * Every pod gets the labels below, which podman hands on to its containers: so the driver finds what
 * belongs to an app, and in which version, whatever podman names it. */
#pragma once

#include <jansson.h>

#include "base/err.h"

#define PODMAN_LABEL_NODE "skerry.dev/node"
#define PODMAN_LABEL_APP "skerry.dev/app"
#define PODMAN_LABEL_DIGEST "skerry.dev/digest"

/* Secrets before podman 4.4: `kube play` stores them in a form that it cannot read back itself
 * (containers/podman#16269), so the driver makes them by `podman secret create`. */
struct podman_plan {
        json_t *documents; /* for `kube play`, labelled */
        json_t *secrets;   /* {"name": {"key": base64}} */
        json_t *volumes;   /* names of PersistentVolumeClaims */
};
int podman_plan_make(json_t *const *manifests, size_t n, const char *node, const char *app,
                     const char *digest, struct podman_plan *ret, struct err **err);
void podman_plan_done(struct podman_plan *p);

/* One JSON text a line, parted by "---" lines: YAML to podman, and easy to read back. Claims whose volume
 * exists (`existing`: array of names, may be NULL) are left out, since podman 4.3 refuses them; so are
 * Secrets with without_secrets. Malloc'ed. */
char *podman_plan_text(const struct podman_plan *p, const json_t *existing, bool without_secrets) _must_use_;
/* Names of the Secrets in such a text; for removal. */
json_t *podman_text_secrets(const char *text) _must_use_;

/* Holds what `podman ps -a --format json` lists against what the manifests ask for. */
struct podman_verdict {
        bool current;        /* all expected containers are there, in this version, and run (or have done) */
        bool any;            /* something of the app is there */
        char problem[256];   /* what does not run, for people */
        char container[128]; /* its name, to ask for its output; "" when it is not there at all */
};
int podman_judge(const json_t *containers, json_t *const *manifests, size_t n, const char *digest,
                 struct podman_verdict *ret);
