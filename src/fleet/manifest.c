/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/manifest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "base/fs.h"
#include "base/str.h"
#include "fleet/manifest_fields.h"

#define NAMES_MAX 64

static bool has_reference(const char *text) {
        return strstr(text, "${") != NULL;
}

static const char *text_of(const struct value *v) {
        return v && v->type == VALUE_STRING ? v->text : NULL;
}

/* ---- Shapes and fields */

static const char *const shape_names[] = {
        [MANIFEST_ANY] = "anything",
        [MANIFEST_TEXT] = "text",
        [MANIFEST_NUMBER] = "a whole number",
        [MANIFEST_BOOL] = "true or false",
        [MANIFEST_MAP] = "a map",
        [MANIFEST_LIST] = "a list",
        [MANIFEST_TEXTS] = "a list of texts",
        [MANIFEST_PAIRS] = "a map of texts",
};

static void report_shape(struct schema_decoder *d, const char *name, enum manifest_shape shape,
                         const struct value *v) {
        char found[128], way_out[SUGGESTION_SIZE];
        int64_t number;
        bool unquote =
                shape == MANIFEST_NUMBER && v->type == VALUE_STRING && str_to_i64(v->text, &number) == 0;
        bool quote = shape == MANIFEST_TEXT && v->type != VALUE_LIST && v->type != VALUE_MAP &&
                     v->type != VALUE_NULL;

        if (quote)
                (void)snprintf(way_out, sizeof way_out, "write \"%.60s\" in quotes", v->text);
        else if (unquote)
                (void)snprintf(way_out, sizeof way_out, "write %.60s without quotes", v->text);
        schema_error(d, &v->position, quote || unquote ? way_out : NULL,
                     "field \"%s\": expected %s, found %s", name, shape_names[shape],
                     schema_describe(v, found, sizeof found));
}

static bool shape_fits(const struct value *v, enum manifest_shape shape) {
        switch (shape) {
        case MANIFEST_ANY: return true;
        case MANIFEST_TEXT: return v->type == VALUE_STRING;
        case MANIFEST_NUMBER:
                return v->type == VALUE_INT || (v->type == VALUE_STRING && has_reference(v->text));
        case MANIFEST_BOOL: return v->type == VALUE_BOOL;
        case MANIFEST_MAP:
        case MANIFEST_PAIRS: return v->type == VALUE_MAP;
        case MANIFEST_LIST:
        case MANIFEST_TEXTS: return v->type == VALUE_LIST;
        }
        return false;
}

static void report_unknown(struct schema_decoder *d, const struct value_pair *p,
                           const struct manifest_field *fields, const char *within) {
        const char *names[NAMES_MAX];
        char suggestion[SUGGESTION_SIZE];
        size_t n = 0;

        for (; n < NAMES_MAX && fields[n].name; n++)
                names[n] = fields[n].name;
        if (suggest_nearest(p->key, names, n, suggestion, sizeof suggestion))
                schema_error(d, &p->key_position, suggestion, "unknown field \"%.80s\" in %s", p->key,
                             within);
        else
                schema_warning(d, &p->key_position, "leave it out",
                               "unknown field \"%.80s\" in %s: podman ignores it", p->key, within);
}

static void check_fields(struct schema_decoder *d, const struct value *v, const struct manifest_field *fields,
                         const char *within) {
        for (size_t i = 0; i < v->n_pairs; i++) {
                const struct value_pair *p = &v->pairs[i];
                const struct manifest_field *f = fields;

                while (f->name && !str_eq(f->name, p->key))
                        f++;
                if (!f->name) {
                        report_unknown(d, p, fields, within);
                        continue;
                }
                if (f->fate == MANIFEST_IGNORED) {
                        schema_warning(d, &p->key_position, f->advice ? f->advice : "leave it out",
                                       "podman ignores \"%s\"", f->name);
                        continue;
                }
                if (f->fate == MANIFEST_REFUSED) {
                        schema_error(d, &p->key_position, f->advice, "podman has no \"%s\"", f->name);
                        continue;
                }
                if (p->value->type == VALUE_NULL)
                        continue;
                if (!shape_fits(p->value, f->shape)) {
                        report_shape(d, f->name, f->shape, p->value);
                        continue;
                }
                if (f->shape == MANIFEST_MAP && f->fields)
                        check_fields(d, p->value, f->fields, f->name);
                for (size_t j = 0; f->shape == MANIFEST_LIST && f->fields && j < p->value->n_items; j++) {
                        if (p->value->items[j]->type == VALUE_MAP)
                                check_fields(d, p->value->items[j], f->fields, f->name);
                        else
                                report_shape(d, f->name, MANIFEST_MAP, p->value->items[j]);
                }
                for (size_t j = 0; f->shape == MANIFEST_TEXTS && j < p->value->n_items; j++)
                        if (p->value->items[j]->type != VALUE_STRING)
                                report_shape(d, f->name, MANIFEST_TEXT, p->value->items[j]);
                for (size_t j = 0; f->shape == MANIFEST_PAIRS && j < p->value->n_pairs; j++)
                        if (p->value->pairs[j].value->type != VALUE_STRING)
                                report_shape(d, p->value->pairs[j].key, MANIFEST_TEXT,
                                             p->value->pairs[j].value);
        }
}

/* ---- Images */

static bool is_lower_or_digit(char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_tag_character(char c, bool first) {
        return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z') || c == '_' ||
               (!first && (c == '.' || c == '-'));
}

/* The OCI distribution form: [host[:port]/]path[:tag][@algorithm:hex]. */
bool image_name_is_valid(const char *name) {
        const char *digest = strchr(name, '@'), *slash, *tag = NULL, *p = name, *end;

        if (digest && (!str_has_prefix(digest, "@sha256:") || strlen(digest + 8) != 64 ||
                       digest[8 + strspn(digest + 8, "0123456789abcdef")]))
                return false;
        end = digest ? digest : name + strlen(name);
        if (end == name || end - name > 255)
                return false;
        for (const char *q = name; q < end; q++)
                if (*q == '/')
                        tag = NULL;
                else if (*q == ':')
                        tag = q;
        if (tag) {
                for (const char *q = tag + 1; q < end; q++)
                        if (!is_tag_character(*q, q == tag + 1))
                                return false;
                if (tag + 1 == end || end - tag > 129)
                        return false;
                end = tag;
        }
        slash = memchr(name, '/', (size_t)(end - name));
        if (slash && (memchr(name, '.', (size_t)(slash - name)) ||
                      memchr(name, ':', (size_t)(slash - name)) || str_has_prefix(name, "localhost/"))) {
                for (; p < slash; p++)
                        if (!is_tag_character(*p, false) && *p != ':')
                                return false;
                p = slash + 1;
        }
        /* The path: lower-case words with single separators between them. */
        for (bool word = false; p < end; p++) {
                if (is_lower_or_digit(*p))
                        word = true;
                else if (!word || p + 1 == end || !strchr("/._-", *p))
                        return false;
                else
                        word = *p != '/' && (*p == '-' || *p == '_');
                if (p + 1 == end)
                        return is_lower_or_digit(*p);
        }
        return false;
}

static void check_image(struct schema_decoder *d, const struct value *v) {
        const char *name = v->text, *slash, *last, *tag;

        if (has_reference(name))
                return;
        if (!image_name_is_valid(name)) {
                schema_error(d, &v->position, "write it as registry/path:tag in lower case",
                             "\"%.200s\" is not the name of an image", name);
                return;
        }
        slash = strchr(name, '/');
        if (!slash || (!memchr(name, '.', (size_t)(slash - name)) &&
                       !memchr(name, ':', (size_t)(slash - name)) && !str_has_prefix(name, "localhost/")))
                schema_warning(d, &v->position, "write it whole, as docker.io/library/nginx:1.27",
                               "image \"%s\" names no registry: nodes may not find it", name);
        last = strrchr(name, '/');
        tag = strchr(last ? last : name, ':');
        if (!strchr(name, '@') && (!tag || str_eq(tag, ":latest")))
                schema_warning(d, &v->position, "name a version or a digest",
                               "image \"%s\" may mean something else tomorrow", name);
}

/* ---- What pods use of other objects */

/* A decoder for one file: the schema decoder, and what was found so far. */
struct reader {
        struct schema_decoder *d;
        struct manifest *manifest;
};

static void note_use(struct reader *r, enum manifest_use_kind kind, const struct value *parent,
                     const char *field) {
        const struct value *name = value_get(parent, field), *optional = value_get(parent, "optional");
        struct manifest *m = r->manifest;

        if (!text_of(name) || has_reference(name->text))
                return;
        if (m->n_uses == MANIFEST_USES_MAX) {
                schema_error(r->d, &name->position, "split the file",
                             "more than %d references to ConfigMaps and Secrets", MANIFEST_USES_MAX);
                return;
        }
        if ((m->n_uses & (m->n_uses - 1)) == 0) { /* none, or a power of two: full */
                struct manifest_use *grown =
                        arena_calloc(r->d->arena, MAX(m->n_uses * 2, (size_t)1), sizeof *grown);
                if (!grown) {
                        r->d->failed = -ENOMEM;
                        return;
                }
                if (m->n_uses)
                        memcpy(grown, m->uses, m->n_uses * sizeof *grown);
                m->uses = grown;
        }
        m->uses[m->n_uses++] = (struct manifest_use){
                .kind = kind,
                .name = name->text,
                .where = name->position,
                .optional = optional && optional->type == VALUE_BOOL && optional->boolean,
        };
}

static void note_environment(struct reader *r, const struct value *container) {
        const struct value *environment = value_get(container, "env"),
                           *from = value_get(container, "envFrom");

        for (size_t i = 0; environment && environment->type == VALUE_LIST && i < environment->n_items; i++) {
                const struct value *source = value_get(environment->items[i], "valueFrom");
                note_use(r, MANIFEST_USES_CONFIG_MAP, value_get(source, "configMapKeyRef"), "name");
                note_use(r, MANIFEST_USES_SECRET_ENVIRONMENT, value_get(source, "secretKeyRef"), "name");
        }
        for (size_t i = 0; from && from->type == VALUE_LIST && i < from->n_items; i++) {
                note_use(r, MANIFEST_USES_CONFIG_MAP, value_get(from->items[i], "configMapRef"), "name");
                note_use(r, MANIFEST_USES_SECRET_ENVIRONMENT, value_get(from->items[i], "secretRef"), "name");
        }
}

/* ---- Pods */

static void check_host_path(struct schema_decoder *d, const struct value *volume) {
        static const char *const kinds[] = {
                "",       "DirectoryOrCreate", "Directory",  "FileOrCreate", "File",
                "Socket", "CharDevice",        "BlockDevice"};
        const struct value *host_path = value_get(volume, "hostPath"), *path = value_get(host_path, "path"),
                           *type = value_get(host_path, "type");
        char suggestion[SUGGESTION_SIZE];
        bool known = !text_of(type);

        if (!host_path)
                return;
        if (!text_of(path))
                schema_error(d, &host_path->position, NULL, "hostPath: field \"path\" is missing");
        else if (!has_reference(path->text) &&
                 (path->text[0] != '/' || (path->text[1] && !path_is_beneath(path->text + 1))))
                schema_error(d, &path->position, "write it from the root, as /var/lib/app",
                             "hostPath \"%.200s\" is not an absolute path without \".\" and \"..\"",
                             path->text);
        for (size_t i = 0; !known && i < ARRAY_SIZE(kinds); i++)
                known = str_eq(kinds[i], type->text);
        if (!known)
                schema_error(
                        d, &type->position,
                        suggest_nearest(type->text, kinds, ARRAY_SIZE(kinds), suggestion, sizeof suggestion),
                        "hostPath: unknown type \"%.80s\"", type->text);
}

static void check_secret_volume(struct reader *r, const struct value *secret) {
        const struct value *optional = value_get(secret, "optional");

        if (!secret || secret->type != VALUE_MAP)
                return;
        if (!optional || optional->type != VALUE_BOOL)
                schema_error(r->d, &secret->position, "write optional: false",
                             "podman 4.3 crashes on a secret volume that does not say \"optional\"");
        note_use(r, MANIFEST_USES_SECRET_VOLUME, secret, "secretName");
}

static void check_volumes(struct reader *r, const struct value *volumes) {
        static const char *const sources[] = {"hostPath", "emptyDir", "configMap", "secret",
                                              "persistentVolumeClaim"};
        struct schema_decoder *d = r->d;

        for (size_t i = 0; volumes && volumes->type == VALUE_LIST && i < volumes->n_items; i++) {
                const struct value *volume = volumes->items[i], *name = value_get(volume, "name");
                bool has_source = false;

                if (volume->type != VALUE_MAP)
                        continue;
                if (!text_of(name))
                        schema_error(d, &volume->position, NULL, "volume: field \"name\" is missing");
                for (size_t j = 0; name && text_of(name) && j < i; j++)
                        if (str_eq(text_of(value_get(volumes->items[j], "name")), name->text))
                                schema_error(d, &name->position, NULL, "volume \"%.80s\" is there twice",
                                             name->text);
                for (size_t j = 0; j < ARRAY_SIZE(sources); j++)
                        has_source = has_source || value_get(volume, sources[j]);
                if (!has_source && volume->n_pairs < 2)
                        schema_error(d, &volume->position,
                                     "use hostPath, emptyDir, configMap, secret or persistentVolumeClaim",
                                     "volume \"%.80s\" has no source", text_of(name) ? name->text : "");
                check_host_path(d, volume);
                check_secret_volume(r, value_get(volume, "secret"));
                note_use(r, MANIFEST_USES_CONFIG_MAP, value_get(volume, "configMap"), "name");
        }
}

static void check_mounts(struct schema_decoder *d, const struct value *container,
                         const struct value *volumes) {
        const struct value *mounts = value_get(container, "volumeMounts");

        for (size_t i = 0; mounts && mounts->type == VALUE_LIST && i < mounts->n_items; i++) {
                const struct value *name = value_get(mounts->items[i], "name");
                const char *names[NAMES_MAX];
                char suggestion[SUGGESTION_SIZE];
                size_t n = 0;
                bool found = false;

                if (!text_of(name))
                        continue;
                for (size_t j = 0; volumes && volumes->type == VALUE_LIST && j < volumes->n_items; j++) {
                        const char *volume = text_of(value_get(volumes->items[j], "name"));
                        found = found || str_eq(volume, name->text);
                        if (volume && n < NAMES_MAX)
                                names[n++] = volume;
                }
                if (!found)
                        schema_error(d, &name->position,
                                     suggest_nearest(name->text, names, n, suggestion, sizeof suggestion),
                                     "volumeMounts: the pod has no volume \"%.80s\"", name->text);
        }
}

static void check_containers(struct reader *r, const struct value *spec, const char *field, bool required) {
        const struct value *containers = value_get(spec, field);
        struct schema_decoder *d = r->d;

        if (!containers || containers->type != VALUE_LIST || containers->n_items == 0) {
                if (required)
                        schema_error(d, containers ? &containers->position : &spec->position, NULL,
                                     "the pod has no containers");
                return;
        }
        for (size_t i = 0; i < containers->n_items; i++) {
                const struct value *c = containers->items[i], *name = value_get(c, "name"),
                                   *image = value_get(c, "image");

                if (c->type != VALUE_MAP)
                        continue;
                if (!name)
                        schema_error(d, &c->position, NULL, "container: field \"name\" is missing");
                else if (text_of(name) && !has_reference(name->text) && !name_is_dns_label(name->text))
                        schema_error(d, &name->position, NULL, "container name \"%.80s\" is not a DNS label",
                                     name->text);
                for (size_t j = 0; name && text_of(name) && j < i; j++)
                        if (str_eq(text_of(value_get(containers->items[j], "name")), name->text))
                                schema_error(d, &name->position, NULL, "container \"%.80s\" is there twice",
                                             name->text);
                if (!image)
                        schema_error(d, &c->position, NULL, "container: field \"image\" is missing");
                else if (text_of(image))
                        check_image(d, image);
                check_mounts(d, c, value_get(spec, "volumes"));
                note_environment(r, c);
        }
}

static void check_choice(struct schema_decoder *d, const struct value *parent, const char *field,
                         const char *const *choices, size_t n) {
        const struct value *v = value_get(parent, field);
        char suggestion[SUGGESTION_SIZE];

        if (!text_of(v))
                return;
        for (size_t i = 0; i < n; i++)
                if (str_eq(choices[i], v->text))
                        return;
        schema_error(d, &v->position, suggest_nearest(v->text, choices, n, suggestion, sizeof suggestion),
                     "field \"%s\": unknown value \"%.80s\"", field, v->text);
}

static void check_pod_spec(struct reader *r, const struct value *spec, const struct position *parent) {
        static const char *const policies[] = {"Always", "OnFailure", "Never"};

        if (!spec || spec->type != VALUE_MAP) {
                if (!spec)
                        schema_error(r->d, parent, NULL, "the pod has no \"spec\"");
                return;
        }
        check_containers(r, spec, "containers", true);
        check_containers(r, spec, "initContainers", false);
        check_volumes(r, value_get(spec, "volumes"));
        check_choice(r->d, spec, "restartPolicy", policies, ARRAY_SIZE(policies));
}

/* ---- Objects */

static void check_deployment(struct reader *r, const struct value *v) {
        const struct value *spec = value_get(v, "spec"), *replicas = value_get(spec, "replicas"),
                           *template = value_get(spec, "template");

        if (replicas && replicas->type == VALUE_INT && replicas->integer != 1)
                schema_warning(r->d, &replicas->position, "set replicas to 1, or write further Deployments",
                               "podman 4.3 starts %.20s pods on each node, later versions one",
                               replicas->text);
        if (!template)
                schema_error(r->d, spec ? &spec->position : &v->position, NULL,
                             "Deployment: field \"spec.template\" is missing");
        else
                check_pod_spec(r, value_get(template, "spec"), &template->position);
}

static void check_base64(struct schema_decoder *d, const struct value *data) {
        for (size_t i = 0; data && data->type == VALUE_MAP && i < data->n_pairs; i++) {
                const struct value_pair *p = &data->pairs[i];
                _cleanup_(x_freep) void *decoded = NULL;
                size_t len = 0;

                if (!text_of(p->value))
                        continue;
                if (has_reference(p->value->text))
                        schema_error(d, &p->value->position, NULL,
                                     "\"%.80s\": a reference cannot stand in base64", p->key);
                else if (base64_decode(p->value->text, strlen(p->value->text), &decoded, &len) < 0)
                        schema_error(d, &p->value->position, "encode it with base64 -w0",
                                     "\"%.80s\" is not base64", p->key);
        }
}

static bool object_name_is_valid(const char *s) { /* RFC 1123 subdomain */
        size_t n = strlen(s);
        if (n == 0 || n > 253 || !is_lower_or_digit(s[0]) || !is_lower_or_digit(s[n - 1]))
                return false;
        for (; *s; s++)
                if (!is_lower_or_digit(*s) && *s != '-' && *s != '.')
                        return false;
        return true;
}

static void check_name(struct schema_decoder *d, const struct value *v, const char *kind) {
        const struct value *metadata = value_get(v, "metadata"), *name = value_get(metadata, "name");

        if (!name || name->type == VALUE_NULL)
                schema_error(d, metadata ? &metadata->position : &v->position, NULL,
                             "%s: field \"metadata.name\" is missing", kind);
        else if (text_of(name) && !has_reference(name->text) && !object_name_is_valid(name->text))
                schema_error(d, &name->position, "use a-z, 0-9, - and .",
                             "\"%.80s\" cannot be the name of a %s", name->text, kind);
}

static const struct manifest_kind *find_kind(struct schema_decoder *d, const struct value *v) {
        const struct value *kind = value_get(v, "kind"), *api_version = value_get(v, "apiVersion");
        const struct manifest_kind *k;
        char suggestion[SUGGESTION_SIZE];

        if (v->type != VALUE_MAP || !text_of(kind)) {
                schema_error(d, &v->position, NULL, "not a Kubernetes object: it has no \"kind\"");
                return NULL;
        }
        k = manifest_kind_find(kind->text);
        if (!k) {
                const char *near =
                        suggest_nearest(kind->text, manifest_played_kinds, ARRAY_SIZE(manifest_played_kinds),
                                        suggestion, sizeof suggestion);
                schema_error(
                        d, &kind->position,
                        near ? near
                             : "podman plays Pod, Deployment, ConfigMap, Secret and PersistentVolumeClaim",
                        "podman does not play kind \"%.80s\"", kind->text);
                return NULL;
        }
        if (!k->fields) {
                schema_error(d, &kind->position, k->advice, "podman does not play kind %s", k->name);
                return NULL;
        }
        if (!str_eq(text_of(api_version), k->api_version)) {
                (void)snprintf(suggestion, sizeof suggestion, "write apiVersion: %s", k->api_version);
                schema_error(d, api_version ? &api_version->position : &v->position, suggestion,
                             api_version ? "apiVersion \"%.80s\" has no kind %s"
                                         : "%.0sapiVersion is missing in this %s",
                             text_of(api_version) ? api_version->text : "", k->name);
        }
        return k;
}

/* ---- To JSON */

static json_t *to_json(struct schema_decoder *d, const struct value *v, bool may_be_fraction) {
        json_t *j;

        switch (v->type) {
        case VALUE_NULL: return json_null();
        case VALUE_BOOL: return json_boolean(v->boolean);
        case VALUE_INT: return json_integer(v->integer);
        case VALUE_FLOAT:
                /* A revision is hashed, so it holds no floating point. Kubernetes takes amounts as text too.
                 */
                if (!may_be_fraction)
                        schema_error(d, &v->position, "write it in quotes, or as a whole number",
                                     "number %.40s has a fraction", v->text);
                return json_string(v->text);
        case VALUE_STRING: schema_collect_references(d, v); return json_string(v->text);
        case VALUE_LIST:
                j = json_array();
                for (size_t i = 0; j && i < v->n_items; i++)
                        if (json_array_append_new(j, to_json(d, v->items[i], may_be_fraction)) < 0)
                                d->failed = -ENOMEM;
                return j;
        case VALUE_MAP:
                j = json_object();
                for (size_t i = 0; j && i < v->n_pairs; i++)
                        if (json_object_set_new(
                                    j, v->pairs[i].key,
                                    to_json(d, v->pairs[i].value,
                                            may_be_fraction || str_eq(v->pairs[i].key, "resources"))) < 0)
                                d->failed = -ENOMEM;
                return j;
        }
        return NULL;
}

static int decode_object(struct reader *r, const struct value *v) {
        struct schema_decoder *d = r->d;
        size_t errors_before = diagnostics_errors(d->diagnostics);
        const struct manifest_kind *k = find_kind(d, v);
        const struct value *name;
        json_t *j;

        if (!k)
                return 0;
        check_fields(d, v, k->fields, k->name);
        check_name(d, v, k->name);
        if (str_eq(k->name, "Pod"))
                check_pod_spec(r, value_get(v, "spec"), &v->position);
        else if (str_eq(k->name, "Deployment"))
                check_deployment(r, v);
        else if (str_eq(k->name, "Secret"))
                check_base64(d, value_get(v, "data"));
        else if (str_eq(k->name, "ConfigMap"))
                check_base64(d, value_get(v, "binaryData"));
        j = to_json(d, v, diagnostics_errors(d->diagnostics) > errors_before);
        if (!j || d->failed) {
                json_decref(j);
                return d->failed = -ENOMEM;
        }
        if (diagnostics_errors(d->diagnostics) > errors_before) {
                json_decref(j);
                return 0;
        }
        name = value_get(value_get(v, "metadata"), "name");
        r->manifest->objects[r->manifest->n_objects++] = (struct manifest_object){
                .kind = k->name,
                .name = name->text,
                .where = name->position,
                .json = j,
        };
        return 0;
}

int manifest_decode(struct schema_decoder *d, struct value *const *documents, size_t n,
                    struct manifest *ret) {
        struct manifest m = {.objects = arena_calloc(d->arena, n + 1, sizeof *m.objects)};
        struct reader reader = {.d = d, .manifest = &m};
        int r = m.objects ? 0 : -ENOMEM;

        for (size_t i = 0; i < n && r == 0; i++)
                r = decode_object(&reader, documents[i]);
        if (r < 0) {
                while (m.n_objects > 0)
                        json_decref(m.objects[--m.n_objects].json);
                return r;
        }
        *ret = m;
        return 0;
}

/* ---- After expansion */

static int settle(json_t *object, const struct manifest_field *fields, struct err **err) {
        for (const struct manifest_field *f = fields; f->name; f++) {
                json_t *v = json_object_get(object, f->name), *item;
                size_t i;
                int r = 0;

                if (!v)
                        continue;
                if (f->shape == MANIFEST_NUMBER && json_is_string(v)) {
                        int64_t number;
                        if (str_to_i64(json_string_value(v), &number) < 0)
                                return err_set(err, EINVAL,
                                               "field \"%s\": expected a whole number, found \"%.80s\"",
                                               f->name, json_string_value(v));
                        if (json_object_set_new(object, f->name, json_integer(number)) < 0)
                                return err_set_errno(err, ENOMEM, "field \"%s\"", f->name);
                } else if (f->fields && json_is_object(v)) {
                        r = settle(v, f->fields, err);
                } else if (f->fields && json_is_array(v)) {
                        json_array_foreach (v, i, item) {
                                r = json_is_object(item) ? settle(item, f->fields, err) : 0;
                                if (r < 0)
                                        break;
                        }
                }
                if (r < 0)
                        return r;
        }
        return 0;
}

int manifest_settle_numbers(json_t *object, struct err **err) {
        const struct manifest_kind *k =
                manifest_kind_find(json_string_value(json_object_get(object, "kind")));
        return k && k->fields ? settle(object, k->fields, err) : 0;
}
