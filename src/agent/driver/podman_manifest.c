/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/driver/podman_manifest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "base/str.h"
#include "codec/json.h"

static const char *text(const json_t *o, const char *key) {
        return json_string_value(json_object_get(o, key));
}

static const char *object_name(const json_t *o) {
        const char *name = text(json_object_get(o, "metadata"), "name");
        return name ? name : "";
}

/* The object that holds metadata and spec of the pod that a manifest makes; NULL for what makes none. */
static json_t *pod_of(const json_t *manifest) {
        const char *kind = text(manifest, "kind");
        if (str_eq(kind, "Pod"))
                return (json_t *)manifest;
        if (str_eq(kind, "Deployment") || str_eq(kind, "DaemonSet") || str_eq(kind, "Job"))
                return json_object_get(json_object_get(manifest, "spec"), "template");
        return NULL;
}

/* ---- what podman is given */

static json_t *member_object(json_t *o, const char *key) {
        json_t *m = json_object_get(o, key);
        if (!json_is_object(m)) {
                m = json_object();
                if (!m || json_object_set_new(o, key, m) < 0)
                        return NULL;
        }
        return m;
}

static int add_labels(json_t *pod, const char *node, const char *app, const char *digest) {
        json_t *metadata = member_object(pod, "metadata");
        json_t *labels = metadata ? member_object(metadata, "labels") : NULL;
        if (!labels || json_object_set_new(labels, PODMAN_LABEL_NODE, json_string(node)) < 0 ||
            json_object_set_new(labels, PODMAN_LABEL_APP, json_string(app)) < 0 ||
            json_object_set_new(labels, PODMAN_LABEL_DIGEST, json_string(digest)) < 0)
                return -ENOMEM;
        return 0;
}

/* data is base64 already; stringData is plain and wins. */
static int add_secret(json_t *secrets, const json_t *manifest) {
        json_t *values = json_object(), *value;
        const char *key;
        if (!values || json_object_set_new(secrets, object_name(manifest), values) < 0)
                return -ENOMEM;
        json_object_foreach (json_object_get(manifest, "data"), key, value)
                if (json_is_string(value) && json_object_set(values, key, value) < 0)
                        return -ENOMEM;
        json_object_foreach (json_object_get(manifest, "stringData"), key, value) {
                if (!json_is_string(value))
                        continue;
                _cleanup_(x_freep) char *encoded =
                        base64_encode(json_string_value(value), json_string_length(value));
                if (!encoded || json_object_set_new(values, key, json_string(encoded)) < 0)
                        return -ENOMEM;
        }
        return 0;
}

static int add_manifest(struct podman_plan *p, const json_t *manifest, const char *node, const char *app,
                        const char *digest) {
        json_t *copy = json_deep_copy(manifest);
        if (!copy || json_array_append_new(p->documents, copy) < 0)
                return -ENOMEM;
        json_t *pod = pod_of(copy);
        if (pod)
                return add_labels(pod, node, app, digest);
        if (str_eq(text(copy, "kind"), "Secret"))
                return add_secret(p->secrets, copy);
        if (str_eq(text(copy, "kind"), "PersistentVolumeClaim"))
                return json_array_append_new(p->volumes, json_string(object_name(copy)));
        return 0;
}

int podman_plan_make(json_t *const *manifests, size_t n, const char *node, const char *app,
                     const char *digest, struct podman_plan *ret, struct err **err) {
        struct podman_plan p = {json_array(), json_object(), json_array()};
        bool ok = p.documents && p.secrets && p.volumes;
        for (size_t i = 0; ok && i < n; i++)
                ok = add_manifest(&p, manifests[i], node, app, digest) == 0;
        if (!ok) {
                podman_plan_done(&p);
                return err_set_errno(err, ENOMEM, "manifests of app %s", app);
        }
        *ret = p;
        return 0;
}

void podman_plan_done(struct podman_plan *p) {
        json_decref(p->documents);
        json_decref(p->secrets);
        json_decref(p->volumes);
        *p = (struct podman_plan){NULL, NULL, NULL};
}

static bool has_text(const json_t *array, const char *s) {
        const json_t *item;
        size_t i;
        json_array_foreach (array, i, item)
                if (str_eq(json_string_value(item), s))
                        return true;
        return false;
}

char *podman_plan_text(const struct podman_plan *p, const json_t *existing, bool without_secrets) {
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        const json_t *d;
        size_t i;
        json_array_foreach (p->documents, i, d) {
                const char *kind = text(d, "kind");
                if ((without_secrets && str_eq(kind, "Secret")) ||
                    (str_eq(kind, "PersistentVolumeClaim") && has_text(existing, object_name(d))))
                        continue;
                _cleanup_(x_freep) char *line = json_encode_compact(d);
                if (!line || buf_printf(&out, "---\n%s\n", line) < 0)
                        return NULL;
        }
        return out.len ? buf_take(&out, NULL) : str_dup("");
}

json_t *podman_text_secrets(const char *all) {
        json_t *names = json_array();
        while (names && *all) {
                size_t n = strcspn(all, "\n");
                _cleanup_json_ json_t *d = NULL;
                if (all[0] == '{' && json_decode(all, n, &d, NULL) == 0 &&
                    str_eq(text(d, "kind"), "Secret") &&
                    json_array_append_new(names, json_string(object_name(d))) < 0) {
                        json_decref(names);
                        return NULL;
                }
                all += n + (all[n] == '\n');
        }
        return names;
}

/* ---- what is expected to run */

static const char *first_name(const json_t *container) {
        const char *s = json_string_value(json_array_get(json_object_get(container, "Names"), 0));
        return s ? s : "";
}

/* podman names a container "<pod>-<container>". */
static bool is_named(const json_t *container, const char *name) {
        const char *full = first_name(container);
        size_t n = strlen(full), m = strlen(name);
        return n > m && full[n - m - 1] == '-' && str_eq(full + n - m, name);
}

static bool is_version(const json_t *container, const char *digest) {
        return str_eq(text(json_object_get(container, "Labels"), PODMAN_LABEL_DIGEST), digest);
}

static bool is_ended_well(const json_t *container, const char *restart_policy) {
        return str_eq(text(container, "State"), "exited") &&
               json_integer_value(json_object_get(container, "ExitCode")) == 0 &&
               (str_eq(restart_policy, "Never") || str_eq(restart_policy, "OnFailure"));
}

/* Looks for one expected container among those not taken yet. */
static void expect(const json_t *containers, bool *taken, const char *name, const char *restart_policy,
                   const char *digest, struct podman_verdict *v) {
        const json_t *c, *stopped = NULL;
        size_t i;
        json_array_foreach (containers, i, c) {
                if (taken[i] || !is_version(c, digest) || !is_named(c, name))
                        continue;
                if (str_eq(text(c, "State"), "running") || is_ended_well(c, restart_policy)) {
                        taken[i] = true;
                        return;
                }
                stopped = c;
        }
        if (!v->current)
                return; /* the first problem is told */
        v->current = false;
        if (!stopped) {
                (void)snprintf(v->problem, sizeof(v->problem), "container %s is not there", name);
                return;
        }
        (void)snprintf(v->container, sizeof(v->container), "%s", first_name(stopped));
        if (str_eq(text(stopped, "State"), "exited"))
                (void)snprintf(v->problem, sizeof(v->problem), "container %s exited with status %lld", name,
                               (long long)json_integer_value(json_object_get(stopped, "ExitCode")));
        else
                (void)snprintf(v->problem, sizeof(v->problem), "container %s is %s", name,
                               text(stopped, "State") ? text(stopped, "State") : "in no known state");
}

int podman_judge(const json_t *containers, json_t *const *manifests, size_t n, const char *digest,
                 struct podman_verdict *ret) {
        struct podman_verdict v = {.current = true, .any = json_array_size(containers) > 0};
        _cleanup_(x_freep) bool *taken = calloc(json_array_size(containers) + 1, sizeof(bool));
        if (!taken)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                const json_t *spec = json_object_get(pod_of(manifests[i]), "spec"), *c;
                size_t k;
                json_array_foreach (json_object_get(spec, "containers"), k, c) {
                        const char *name = text(c, "name");
                        expect(containers, taken, name ? name : "", text(spec, "restartPolicy"), digest, &v);
                }
        }
        *ret = v;
        return 0;
}
