/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/desired.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "fleet/sops.h"
#include "repo/artifact.h"

#define DESIRED_ARENA_MAX ((size_t)64 << 20)
#define UNIT_TEXT_MAX (2 * (size_t)REVISION_MAX)

/* ---- source */

static int digest_json(const json_t *j, size_t limit, char out[65], struct err **err) {
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        text.limit = limit;
        int r = json_encode_canonical(j, &text, err);
        if (r < 0)
                return r;
        sha256_hex(text.data, text.len, out);
        return 0;
}

int source_make(const char *revision, const json_t *labels, const json_t *variables, struct source **ret,
                struct err **err) {
        return source_make_with(revision, labels, variables, NULL, ret, err);
}

int source_make_with(const char *revision, const json_t *labels, const json_t *variables,
                     const json_t *artifacts, struct source **ret, struct err **err) {
        if (!sha256_hex_is_valid(revision))
                return err_set(err, EINVAL, "revision '%.80s' is no SHA-256", revision);

        _cleanup_(source_freep) struct source *s = calloc(1, sizeof(*s));
        _cleanup_json_ json_t *all =
                json_pack("{s:s, s:O, s:O}", "revision", revision, "labels", labels, "variables", variables);
        if (!s || !all)
                return err_set_errno(err, ENOMEM, "revision %.12s", revision);
        /* Left out where there are none: sources from before artifacts keep their id. */
        if (json_array_size(artifacts) > 0 && json_object_set(all, "artifacts", (json_t *)artifacts) < 0)
                return err_set_errno(err, ENOMEM, "revision %.12s", revision);
        int r = digest_json(all, UNIT_TEXT_MAX, s->id, err);
        if (r < 0)
                return r;
        memcpy(s->revision, revision, sizeof(s->revision));
        s->labels = json_incref(json_object_get(all, "labels"));
        s->variables = json_incref(json_object_get(all, "variables"));
        s->artifacts = json_incref(json_object_get(all, "artifacts"));
        *ret = TAKE_PTR(s);
        return 0;
}

struct source *source_copy(const struct source *s) {
        struct source *copy = malloc(sizeof(*copy));
        if (!copy)
                return NULL;
        *copy = *s;
        json_incref(copy->labels);
        json_incref(copy->variables);
        json_incref(copy->artifacts);
        return copy;
}

struct source *source_free(struct source *s) {
        if (!s)
                return NULL;
        json_decref(s->labels);
        json_decref(s->variables);
        json_decref(s->artifacts);
        free(s);
        return NULL;
}

/* ---- objects */

static int read_revision(struct object_store *objects, const char *digest, struct revision **ret,
                         struct err **err) {
        _cleanup_(x_freep) char *text = NULL;
        size_t len;
        int r = object_store_read(objects, digest, REVISION_MAX, &text, &len, err);
        if (r < 0)
                return err_wrap(err, "revision %.12s", digest);
        r = revision_decode(text, len, ret, err);
        return r < 0 ? err_wrap(err, "revision %.12s", digest) : 0;
}

static int collect_objects(struct object_store *objects, const struct source *s, bool only_missing,
                           char ***ret, struct err **err) {
        _cleanup_(strv_freep) char **list = NULL;
        _cleanup_(revision_freep) struct revision *revision = NULL;
        bool have = object_store_has(objects, s->revision);

        if ((!have || !only_missing) && strv_push(&list, s->revision) < 0)
                return err_set_errno(err, ENOMEM, "revision %.12s", s->revision);
        if (have) {
                int r = read_revision(objects, s->revision, &revision, err);
                if (r < 0)
                        return r;
                for (size_t i = 0; i < revision->n_apps; i++)
                        for (size_t k = 0; k < revision->apps[i].n_files + revision->apps[i].n_secrets; k++) {
                                const struct app_spec *app = &revision->apps[i];
                                const char *digest = k < app->n_files ? app->files[k].sha256
                                                                      : app->secrets[k - app->n_files].sha256;
                                if ((only_missing && object_store_has(objects, digest)) ||
                                    strv_has(list, digest))
                                        continue;
                                if (strv_push(&list, digest) < 0)
                                        return err_set_errno(err, ENOMEM, "revision %.12s", s->revision);
                        }
        }
        *ret = TAKE_PTR(list);
        return 0;
}

int desired_missing(struct object_store *objects, const struct source *s, char ***ret, struct err **err) {
        return collect_objects(objects, s, true, ret, err);
}

int desired_objects(struct object_store *objects, const struct source *s, char ***ret, struct err **err) {
        return collect_objects(objects, s, false, ret, err);
}

/* ---- units */

static json_t *texts_to_json(const char *const *texts) {
        json_t *a = json_array();
        for (size_t i = 0; a && texts && texts[i]; i++)
                if (json_array_append_new(a, json_string(texts[i])) < 0) {
                        json_decref(a);
                        return NULL;
                }
        return a;
}

/* Members that are unset are left out, so that a field which a later version adds does not change the
 * digest of apps that do not use it. */
static int set_text(json_t *o, const char *key, const char *value) {
        return value ? json_object_set_new(o, key, json_string(value)) : 0;
}
static int set_number(json_t *o, const char *key, int64_t value) {
        return value ? json_object_set_new(o, key, json_integer(value)) : 0;
}
static int set_texts(json_t *o, const char *key, const char *const *texts) {
        return texts && texts[0] ? json_object_set_new(o, key, texts_to_json(texts)) : 0;
}

static int files_to_json(json_t *o, const struct unit *u) {
        const struct app_spec *spec = u->spec;
        _cleanup_json_ json_t *files = json_array();
        if (!files)
                return -1;
        for (size_t i = 0; i < spec->n_files; i++) {
                _cleanup_json_ json_t *f = json_pack("{s:s, s:s, s:i}", "path", spec->files[i].path, "sha256",
                                                     u->files[i].sha256, "mode", (int)spec->files[i].mode);
                if (!f || set_text(f, "owner", spec->files[i].owner) < 0 ||
                    set_text(f, "group", spec->files[i].group) < 0 || json_array_append(files, f) < 0)
                        return -1;
        }
        return spec->n_files ? json_object_set(o, "files", files) : 0;
}

static int artifacts_to_json(json_t *o, const struct unit *u) {
        const struct app_spec *spec = u->spec;
        _cleanup_json_ json_t *artifacts = json_array();
        if (!artifacts)
                return -1;
        for (size_t i = 0; i < spec->n_artifacts; i++) {
                const struct app_artifact *a = &spec->artifacts[i];
                _cleanup_json_ json_t *j = json_pack("{s:s, s:s, s:s}", "name", a->name, "version",
                                                     a->version, "sha256", u->artifacts[i].sha256);
                if (!j || set_text(j, "path", a->path) < 0 || json_array_append(artifacts, j) < 0)
                        return -1;
        }
        return spec->n_artifacts ? json_object_set(o, "artifacts", artifacts) : 0;
}

static int secrets_to_json(json_t *o, const struct unit *u) {
        const struct app_spec *spec = u->spec;
        _cleanup_json_ json_t *secrets = json_array();
        if (!secrets)
                return -1;
        for (size_t i = 0; i < spec->n_secrets; i++) {
                const struct app_secret *s = &spec->secrets[i];
                _cleanup_json_ json_t *j = json_pack("{s:i, s:s, s:s}", "kind", (int)s->kind, "key", s->key,
                                                     "sha256", u->secrets[i].sha256);
                if (!j || set_text(j, "name", s->name) < 0 || set_text(j, "path", s->path) < 0 ||
                    set_number(j, "mode", s->mode) < 0 || set_text(j, "owner", s->owner) < 0 ||
                    set_text(j, "group", s->group) < 0 || json_array_append(secrets, j) < 0)
                        return -1;
        }
        return spec->n_secrets ? json_object_set(o, "secrets", secrets) : 0;
}

static int checks_to_json(json_t *o, const struct app_spec *spec) {
        _cleanup_json_ json_t *checks = json_array();
        if (!checks)
                return -1;
        for (size_t i = 0; i < spec->n_checks; i++) {
                const struct health_check *c = &spec->checks[i];
                _cleanup_json_ json_t *j = json_pack("{s:s, s:i}", "name", c->name, "type", (int)c->type);
                if (!j || set_texts(j, "command", c->command) < 0 || set_text(j, "host", c->host) < 0 ||
                    set_text(j, "port", c->port) < 0 || set_text(j, "path", c->path) < 0 ||
                    set_text(j, "scheme", c->scheme) < 0 || set_number(j, "interval", c->interval_ms) < 0 ||
                    set_number(j, "timeout", c->timeout_ms) < 0 ||
                    set_number(j, "grace", c->startup_grace_ms) < 0 ||
                    set_number(j, "failures", c->failure_threshold) < 0 ||
                    set_number(j, "successes", c->success_threshold) < 0 || json_array_append(checks, j) < 0)
                        return -1;
        }
        return spec->n_checks ? json_object_set(o, "checks", checks) : 0;
}

static int manifests_to_json(json_t *o, const struct app_spec *spec) {
        _cleanup_json_ json_t *manifests = json_array();
        if (!manifests)
                return -1;
        for (size_t i = 0; i < spec->n_manifests; i++)
                if (json_array_append(manifests, spec->manifests[i]) < 0)
                        return -1;
        return spec->n_manifests ? json_object_set(o, "manifests", manifests) : 0;
}

static int digest_unit(struct unit *u, struct err **err) {
        const struct app_spec *s = u->spec;
        _cleanup_json_ json_t *o =
                json_pack("{s:s, s:s}", "name", s->name, "driver", app_driver_name(s->driver));
        _cleanup_json_ json_t *environment = pairs_to_json(&s->environment);

        if (!o || !environment || set_texts(o, "command", s->command) < 0 ||
            set_text(o, "workingDirectory", s->working_directory) < 0 || set_text(o, "user", s->user) < 0 ||
            (s->environment.n && json_object_set(o, "environment", environment) < 0) ||
            files_to_json(o, u) < 0 || artifacts_to_json(o, u) < 0 || secrets_to_json(o, u) < 0 ||
            checks_to_json(o, s) < 0 || manifests_to_json(o, s) < 0 ||
            set_texts(o, "dependsOn", s->depends_on) < 0 ||
            set_number(o, "restart", (int64_t)s->restart) < 0 ||
            set_number(o, "backoff", s->restart_backoff_ms) < 0 ||
            set_number(o, "backoffCap", s->restart_backoff_cap_ms) < 0 ||
            set_number(o, "stopTimeout", s->stop_timeout_ms) < 0 ||
            set_number(o, "readyTimeout", s->ready_timeout_ms) < 0 ||
            set_number(o, "memoryMax", s->memory_max_bytes) < 0 ||
            set_number(o, "cpuMax", s->cpu_max_millis) < 0 || set_number(o, "pidsMax", s->pids_max) < 0 ||
            set_number(o, "keep", s->keep_on_prune) < 0)
                return err_set_errno(err, ENOMEM, "app %s", s->name);
        int r = digest_json(o, UNIT_TEXT_MAX, u->digest, err);
        return r < 0 ? err_wrap(err, "app %s", s->name) : 0;
}

/* Content as it shall lie on the node. */
static int make_content(const struct binding *binding, struct object_store *objects,
                        const struct app_file *file, struct buf *out, struct err **err) {
        _cleanup_(x_freep) char *data = NULL;
        size_t len;
        int r = object_store_read(objects, file->sha256, APP_FILE_MAX, &data, &len, err);
        if (r < 0)
                return err_wrap(err, "file %s", file->path);
        out->limit = APP_FILE_MAX;
        r = file->expand ? expand_text(data, len, binding, out, err) : buf_append(out, data, len);
        if (r == -EMSGSIZE)
                return err_set(err, EMSGSIZE, "file %s: longer than %u bytes once expanded", file->path,
                               APP_FILE_MAX);
        if (r < 0)
                return err_wrap(err, "file %s", file->path);
        return 0;
}

static int find_assigned(const struct source *s, const struct app_spec *spec, size_t i,
                         struct assigned_artifact *ret, struct err **err) {
        const struct app_artifact *a = &spec->artifacts[i];
        if (assigned_artifacts_find(s->artifacts, a->name, a->version, ret))
                return 0;
        return err_set(err, ENOKEY,
                       "app %s: artifact %s:%s was not assigned to this node (%s): publish it for this "
                       "platform and the node's hardware labels",
                       spec->name, a->name, a->version, platform_here());
}

/* Other recipients are no reason to apply an app again: only the value's own cipher text is. */
static int digest_secret(struct object_store *objects, const struct app_secret *s, struct unit_secret *ret,
                         struct err **err) {
        _cleanup_(sops_freep) struct sops *file = NULL;
        _cleanup_(x_freep) char *text = NULL;
        const char *cipher_text;
        size_t len;
        int r = object_store_read(objects, s->sha256, SOPS_FILE_MAX, &text, &len, err);
        if (r == 0)
                r = sops_parse(s->source, text, len, &file, err);
        if (r == 0)
                r = sops_find(file, s->key, &cipher_text, err);
        if (r == 0)
                sha256_hex(cipher_text, strlen(cipher_text), ret->sha256);
        return r;
}

static int make_unit(struct desired *d, struct object_store *objects, const struct app_spec *spec,
                     struct unit *u, struct err **err) {
        u->spec = spec;
        u->files = arena_calloc(d->arena, spec->n_files ? spec->n_files : 1, sizeof(*u->files));
        u->artifacts =
                arena_calloc(d->arena, spec->n_artifacts ? spec->n_artifacts : 1, sizeof(*u->artifacts));
        u->secrets = arena_calloc(d->arena, spec->n_secrets + 1, sizeof(*u->secrets));
        if (!u->files || !u->artifacts || !u->secrets)
                return err_set_errno(err, ENOMEM, "app %s", spec->name);
        for (size_t i = 0; i < spec->n_files; i++) {
                const struct app_file *file = &spec->files[i];
                if (!file->expand && object_store_has(objects, file->sha256)) {
                        /* Verified when it came and again when it is put in place. */
                        memcpy(u->files[i].sha256, file->sha256, sizeof(u->files[i].sha256));
                        u->files[i].size = file->size;
                        continue;
                }
                _cleanup_(buf_done) struct buf content = BUF_INIT;
                int r = make_content(&d->binding, objects, file, &content, err);
                if (r < 0)
                        return err_wrap(err, "app %s", spec->name);
                sha256_hex(content.data, content.len, u->files[i].sha256);
                u->files[i].size = (int64_t)content.len;
        }
        for (size_t i = 0; i < spec->n_artifacts; i++) {
                int r = find_assigned(d->source, spec, i, &u->artifacts[i], err);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < spec->n_secrets; i++) {
                int r = digest_secret(objects, &spec->secrets[i], &u->secrets[i], err);
                if (r < 0)
                        return err_wrap(err, "app %s", spec->name);
        }
        return digest_unit(u, err);
}

int desired_make(struct object_store *objects, const struct source *s, const char *node, struct desired **ret,
                 struct err **err) {
        _cleanup_(revision_freep) struct revision *revision = NULL;
        _cleanup_(desired_freep) struct desired *d = calloc(1, sizeof(*d));
        struct binding own;
        int r;

        if (!d)
                return err_set_errno(err, ENOMEM, "revision %.12s", s->revision);
        d->references = 1;
        d->arena = arena_new(DESIRED_ARENA_MAX);
        d->source = source_copy(s);
        if (!d->arena || !d->source)
                return err_set_errno(err, ENOMEM, "revision %.12s", s->revision);
        r = read_revision(objects, s->revision, &revision, err);
        if (r < 0)
                return r;

        own.node_name = arena_strdup(d->arena, node);
        if (!own.node_name)
                return err_set_errno(err, ENOMEM, "revision %.12s", s->revision);
        if ((r = pairs_from_json(d->arena, s->labels, NULL, NULL, &own.labels, err)) < 0 ||
            (r = pairs_from_json(d->arena, s->variables, NULL, NULL, &own.variables, err)) < 0)
                return err_wrap(err, "revision %.12s", s->revision);
        r = revision_binding(revision, &own, d->arena, &d->binding);
        if (r < 0)
                return err_set_errno(err, -r, "revision %.12s", s->revision);
        /* The merged pairs may still point into the revision, which goes away here. */
        struct binding merged = d->binding;
        if (pairs_copy(d->arena, &merged.labels, &d->binding.labels) < 0 ||
            pairs_copy(d->arena, &merged.variables, &d->binding.variables) < 0)
                return err_set_errno(err, ENOMEM, "revision %.12s", s->revision);
        d->binding.node_name = own.node_name;
        r = revision_bind(revision, &own, &d->revision, err);
        if (r < 0)
                return err_wrap(err, "revision %.12s", s->revision);

        d->n_units = d->revision->n_apps;
        d->units = arena_calloc(d->arena, d->n_units ? d->n_units : 1, sizeof(*d->units));
        if (!d->units)
                return err_set_errno(err, ENOMEM, "revision %.12s", s->revision);
        for (size_t i = 0; i < d->n_units; i++) {
                r = make_unit(d, objects, &d->revision->apps[i], &d->units[i], err);
                if (r < 0)
                        return err_wrap(err, "revision %.12s", s->revision);
        }
        *ret = TAKE_PTR(d);
        return 0;
}

struct desired *desired_ref(struct desired *d) {
        d->references++;
        return d;
}

struct desired *desired_free(struct desired *d) {
        if (!d || --d->references > 0)
                return NULL;
        revision_free(d->revision);
        source_free(d->source);
        arena_free(d->arena);
        free(d);
        return NULL;
}

const struct unit *desired_unit(const struct desired *d, const char *app) {
        for (size_t i = 0; i < d->n_units; i++)
                if (str_eq(d->units[i].spec->name, app))
                        return &d->units[i];
        return NULL;
}

int desired_read_file(const struct desired *d, struct object_store *objects, const struct unit *u, size_t i,
                      struct buf *out, struct err **err) {
        char digest[SHA256_HEX_SIZE];
        int r = make_content(&d->binding, objects, &u->spec->files[i], out, err);
        if (r < 0)
                return r;
        sha256_hex(out->data, out->len, digest);
        if (!str_eq(digest, u->files[i].sha256))
                return err_set(err, EBADMSG, "file %s: its content changed under us", u->spec->files[i].path);
        return 0;
}

int desired_check_artifacts(struct object_store *objects, const struct source *s, const char *node,
                            char **ret_fleet, struct err **err) {
        _cleanup_(desired_freep) struct desired *d = NULL;
        int r = desired_make(objects, s, node, &d, err);
        if (r < 0)
                return r;
        if (!ret_fleet)
                return 0;
        *ret_fleet = str_dup(d->revision->fleet);
        return *ret_fleet ? 0 : err_set_errno(err, ENOMEM, "revision %.12s", s->revision);
}
