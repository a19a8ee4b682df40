/* SPDX-License-Identifier: Apache-2.0 */
/* A revision made one node's own: every reference replaced by what the node substitutes. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/table.h"
#include "crypto/digest.h"
#include "fleet/app_json.h"
#include "fleet/manifest.h"
#include "fleet/revision.h"

int revision_binding(const struct revision *r, const struct binding *b, struct arena *arena,
                     struct binding *ret) {
        struct binding bound = {0};
        if (b->node_name && !(bound.node_name = arena_strdup(arena, b->node_name)))
                return -ENOMEM;
        if (pairs_copy(arena, &b->labels, &bound.labels) < 0 ||
            pairs_merge(arena, &r->variables, &b->variables, &bound.variables) < 0)
                return -ENOMEM;
        *ret = bound;
        return 0;
}

/* A node's own variables win over the fleet's. */
static const char *effective_value(const struct revision *r, const struct binding *b, const char *name) {
        const char *value = binding_get(b, name);
        if (value)
                return value;
        const struct binding fleet = {.variables = r->variables};
        return binding_get(&fleet, name);
}

int revision_binding_fingerprint(const struct revision *r, const struct binding *b, char out[65]) {
        /* "name=value" or "name", each ended by a NUL: names hold no '=' and nothing here holds a NUL, so
         * that two bindings give the same bytes only when they are the same. */
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        for (size_t i = 0; i < r->n_uses; i++) {
                const char *value = effective_value(r, b, r->uses[i]);
                buf_puts(&text, r->uses[i]);
                if (value) {
                        buf_putc(&text, '=');
                        buf_puts(&text, value);
                }
                buf_putc(&text, '\0');
        }
        if (buf_failed(&text) < 0)
                return buf_failed(&text);
        sha256_hex(buf_str(&text), text.len, out);
        return 0;
}

/* ---- Binding ---- */

struct binder {
        struct arena *arena;
        struct binding binding;
        struct buf text;
        size_t left; /* bytes of replaced text that may still come */
        struct err **err;
};

static int no_memory(const struct binder *b) {
        return err_set_errno(b->err, ENOMEM, "replace references");
}

static bool holds_reference(const char *s) {
        return strstr(s, "${") != NULL;
}

/* Into b->text. */
static int expand(struct binder *b, const char *from) {
        buf_clear(&b->text);
        b->text.limit = b->left;
        int r = b->left > 0 ? expand_text(from, strlen(from), &b->binding, &b->text, b->err) : -EMSGSIZE;
        if (r == -EMSGSIZE)
                return err_set(b->err, EMSGSIZE, "more than %u bytes once references are replaced",
                               REVISION_BOUND_MAX);
        if (r == 0)
                b->left -= b->text.len;
        return r;
}

static int bind_text(struct binder *b, const char *what, const char **text) {
        if (!*text)
                return 0;
        const char *copy;
        if (holds_reference(*text)) {
                int r = expand(b, *text);
                if (r < 0)
                        return err_wrap_code(b->err, r, "%s", what);
                copy = arena_strdup(b->arena, buf_str(&b->text));
        } else
                copy = arena_strdup(b->arena, *text);
        if (!copy)
                return no_memory(b);
        *text = copy;
        return 0;
}

static int copy_text(struct binder *b, const char **text) {
        if (*text && !(*text = arena_strdup(b->arena, *text)))
                return no_memory(b);
        return 0;
}

static int bind_texts(struct binder *b, const char *what, const char ***texts, bool replace) {
        if (!*texts)
                return 0;
        size_t n = 0;
        while ((*texts)[n])
                n++;
        const char **copy = arena_memdup(b->arena, *texts, (n + 1) * sizeof(*copy));
        if (!copy)
                return no_memory(b);
        for (size_t i = 0; i < n; i++) {
                int r = replace ? bind_text(b, what, &copy[i]) : copy_text(b, &copy[i]);
                if (r < 0)
                        return r;
        }
        *texts = copy;
        return 0;
}

static int bind_environment(struct binder *b, struct pairs *environment) {
        struct pairs copy;
        if (pairs_copy(b->arena, environment, &copy) < 0)
                return no_memory(b);
        for (size_t i = 0; i < copy.n; i++) {
                int r = bind_text(b, copy.items[i].key, &copy.items[i].value);
                if (r < 0)
                        return err_wrap_code(b->err, r, "environment");
        }
        *environment = copy;
        return 0;
}

static int bind_files(struct binder *b, struct app_spec *a) {
        struct app_file *files = arena_memdup(b->arena, a->files, a->n_files * sizeof(*files));
        if (!files)
                return no_memory(b);
        for (size_t i = 0; i < a->n_files; i++) {
                int r = bind_text(b, files[i].path, &files[i].path);
                if (r < 0 || (r = copy_text(b, &files[i].sha256)) < 0 ||
                    (r = copy_text(b, &files[i].owner)) < 0 || (r = copy_text(b, &files[i].group)) < 0)
                        return r;
        }
        a->files = files;
        return 0;
}

static int bind_artifacts(struct binder *b, struct app_spec *a) {
        struct app_artifact *artifacts =
                arena_memdup(b->arena, a->artifacts, a->n_artifacts * sizeof(*artifacts));
        if (!artifacts)
                return no_memory(b);
        for (size_t i = 0; i < a->n_artifacts; i++) {
                struct app_artifact *x = &artifacts[i];
                int r = copy_text(b, &x->name);
                if (r < 0)
                        return r;
                if ((r = bind_text(b, "version", &x->version)) < 0 ||
                    (r = bind_text(b, "path", &x->path)) < 0)
                        return err_wrap_code(b->err, r, "artifact %s", x->name);
        }
        a->artifacts = artifacts;
        return 0;
}

static int bind_secrets(struct binder *b, struct app_spec *a) {
        struct app_secret *secrets = arena_memdup(b->arena, a->secrets, a->n_secrets * sizeof(*secrets));
        if (!secrets)
                return no_memory(b);
        for (size_t i = 0; i < a->n_secrets; i++) {
                struct app_secret *s = &secrets[i];
                int r;
                if ((r = copy_text(b, &s->name)) < 0 || (r = bind_text(b, "secret", &s->path)) < 0 ||
                    (r = copy_text(b, &s->owner)) < 0 || (r = copy_text(b, &s->group)) < 0 ||
                    (r = copy_text(b, &s->source)) < 0 || (r = copy_text(b, &s->key)) < 0 ||
                    (r = copy_text(b, &s->sha256)) < 0)
                        return r;
        }
        a->secrets = secrets;
        return 0;
}

static int bind_checks(struct binder *b, struct app_spec *a) {
        struct health_check *checks = arena_memdup(b->arena, a->checks, a->n_checks * sizeof(*checks));
        if (!checks)
                return no_memory(b);
        for (size_t i = 0; i < a->n_checks; i++) {
                struct health_check *c = &checks[i];
                int r = copy_text(b, &c->name);
                if (r < 0 || (r = bind_texts(b, "command", &c->command, true)) < 0 ||
                    (r = bind_text(b, "host", &c->host)) < 0 || (r = bind_text(b, "port", &c->port)) < 0 ||
                    (r = bind_text(b, "path", &c->path)) < 0 || (r = bind_text(b, "scheme", &c->scheme)) < 0)
                        return c->name ? err_wrap_code(b->err, r, "health check %s", c->name) : r;
        }
        a->checks = checks;
        return 0;
}

/* A copy with references in all text replaced; keys stay as they are. Recursion goes as deep as the JSON,
 * which was read with a limit. */
static int bind_json(struct binder *b, const json_t *from, json_t **ret) {
        json_t *copy = NULL;
        int r = 0;
        if (json_is_object(from)) {
                const char *key;
                json_t *value, *bound;
                copy = json_object();
                json_object_foreach ((json_t *)from, key, value) {
                        if (!copy || (r = bind_json(b, value, &bound)) < 0)
                                break;
                        if (json_object_set_new_nocheck(copy, key, bound) < 0) {
                                r = no_memory(b);
                                break;
                        }
                }
                if (r < 0 && r != -ENOMEM)
                        r = err_wrap_code(b->err, r, "%.100s", key);
        } else if (json_is_array(from)) {
                json_t *bound;
                copy = json_array();
                for (size_t i = 0; copy && r == 0 && i < json_array_size(from); i++) {
                        r = bind_json(b, json_array_get(from, i), &bound);
                        if (r == 0 && json_array_append_new(copy, bound) < 0)
                                r = no_memory(b);
                }
        } else if (json_is_string(from) && holds_reference(json_string_value(from))) {
                r = expand(b, json_string_value(from));
                if (r == 0)
                        copy = json_stringn_nocheck(buf_str(&b->text), b->text.len);
        } else
                copy = json_deep_copy(from);
        if (r == 0 && !copy)
                r = no_memory(b);
        if (r < 0) {
                json_decref(copy);
                return r;
        }
        *ret = copy;
        return 0;
}

/* a holds pointers into the original: each is replaced by a copy. */
static int bind_app(struct binder *b, struct app_spec *a) {
        int r;
        json_t **manifests = a->manifests;
        size_t n_manifests = a->n_manifests;
        a->n_manifests = 0; /* those of the original are not ours to release */
        if ((r = copy_text(b, &a->name)) < 0 || (r = bind_texts(b, "command", &a->command, true)) < 0 ||
            (r = bind_text(b, "workingDirectory", &a->working_directory)) < 0 ||
            (r = copy_text(b, &a->user)) < 0 || (r = bind_environment(b, &a->environment)) < 0 ||
            (r = bind_artifacts(b, a)) < 0 || (r = bind_secrets(b, a)) < 0 || (r = bind_files(b, a)) < 0 ||
            (r = bind_checks(b, a)) < 0 || (r = bind_texts(b, "dependsOn", &a->depends_on, false)) < 0)
                return r;
        a->manifests = arena_calloc(b->arena, n_manifests, sizeof(*a->manifests));
        if (!a->manifests)
                return no_memory(b);
        for (size_t i = 0; i < n_manifests; i++) {
                r = bind_json(b, manifests[i], &a->manifests[i]);
                if (r < 0)
                        return r == -ENOMEM ? r : err_wrap_code(b->err, r, "manifests[%zu]", i);
                a->n_manifests = i + 1;
                r = manifest_settle_numbers(a->manifests[i], b->err);
                if (r < 0)
                        return r == -ENOMEM ? r : err_wrap(b->err, "manifests[%zu]", i);
        }
        return 0;
}

/* Who keeps the artifact that shows at this path or at a folder above it? */
static const struct app_spec *artifact_above(const struct table *owners, const char *path) {
        char above[PATH_MAX];
        const struct app_spec *owner = NULL;
        if (snprintf(above, sizeof above, "%s", path) >= (int)sizeof above)
                return NULL;
        for (char *slash; !owner && (slash = strrchr(above, '/')) && slash > above;) {
                *slash = '\0';
                owner = table_get(owners, above);
        }
        return owner;
}

/* An artifact is a link: what lies in its place, or would lie beneath it, fights with it. */
static int check_artifact_paths(const struct revision *r, const struct table *files, struct err **err) {
        _cleanup_(table_freep) struct table *owners = table_new(NULL);
        if (!owners)
                return err_set_errno(err, ENOMEM, "replace references");
        for (size_t i = 0; i < r->n_apps; i++)
                for (size_t j = 0; j < r->apps[i].n_artifacts; j++) {
                        const char *path = r->apps[i].artifacts[j].path;
                        if (!path)
                                continue;
                        const struct app_spec *owner = table_get(owners, path);
                        if (!owner)
                                owner = table_get(files, path);
                        if (owner)
                                return err_set(err, EINVAL, "path %.300s is in app %s and in app %s", path,
                                               owner->name, r->apps[i].name);
                        if (table_set(owners, path, &r->apps[i]) < 0)
                                return err_set_errno(err, ENOMEM, "replace references");
                }
        for (size_t i = 0; i < r->n_apps; i++) {
                const struct app_spec *a = &r->apps[i];
                for (size_t j = 0; j < a->n_files + a->n_artifacts + a->n_secrets; j++) {
                        const char *path = j < a->n_files ? a->files[j].path
                                           : j < a->n_files + a->n_artifacts
                                                   ? a->artifacts[j - a->n_files].path
                                                   : a->secrets[j - a->n_files - a->n_artifacts].path;
                        const struct app_spec *owner = path ? artifact_above(owners, path) : NULL;
                        if (owner)
                                return err_set(err, EINVAL,
                                               "path %.300s of app %s lies within an artifact of app %s",
                                               path, a->name, owner->name);
                }
        }
        return 0;
}

/* Two apps that keep the same file in different states would undo each other for ever; before the references
 * are replaced the clash cannot always be seen. */
static int check_paths(const struct revision *r, struct err **err) {
        _cleanup_(table_freep) struct table *owners = table_new(NULL);
        if (!owners)
                return err_set_errno(err, ENOMEM, "replace references");
        for (size_t i = 0; i < r->n_apps; i++)
                for (size_t j = 0; j < r->apps[i].n_files; j++) {
                        const char *path = r->apps[i].files[j].path;
                        const struct app_spec *owner = table_get(owners, path);
                        if (owner)
                                return err_set(err, EINVAL, "file %.300s is in app %s and in app %s", path,
                                               owner->name, r->apps[i].name);
                        if (table_set(owners, path, &r->apps[i]) < 0)
                                return err_set_errno(err, ENOMEM, "replace references");
                }
        for (size_t i = 0; i < r->n_apps; i++)
                for (size_t j = 0; j < r->apps[i].n_secrets; j++) {
                        const char *path = r->apps[i].secrets[j].path;
                        const struct app_spec *owner = path ? table_get(owners, path) : NULL;
                        if (owner)
                                return err_set(err, EINVAL, "path %.300s is in app %s and in app %s", path,
                                               owner->name, r->apps[i].name);
                        if (path && table_set(owners, path, &r->apps[i]) < 0)
                                return err_set_errno(err, ENOMEM, "replace references");
                }
        return check_artifact_paths(r, owners, err);
}

static int bind_all(struct binder *b, const struct revision *from, struct revision *to) {
        int r;
        memcpy(to->digest, from->digest, sizeof(to->digest));
        to->fleet = from->fleet;
        if ((r = copy_text(b, &to->fleet)) < 0)
                return r;
        if (pairs_copy(to->arena, &from->variables, &to->variables) < 0)
                return no_memory(b);
        const struct {
                const char *const *from;
                size_t n;
                const char ***to;
                size_t *to_n;
        } lists[] = {
                {from->requires_, from->n_requires, &to->requires_, &to->n_requires},
                {from->uses, from->n_uses, &to->uses, &to->n_uses},
        };
        for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
                const char **copy = arena_memdup(to->arena, lists[i].from, lists[i].n * sizeof(*copy));
                if (!copy)
                        return no_memory(b);
                for (size_t j = 0; j < lists[i].n; j++)
                        if ((r = copy_text(b, &copy[j])) < 0)
                                return r;
                *lists[i].to = copy;
                *lists[i].to_n = lists[i].n;
        }
        to->apps = arena_memdup(to->arena, from->apps, from->n_apps * sizeof(*to->apps));
        if (!to->apps)
                return no_memory(b);
        for (size_t i = 0; i < from->n_apps; i++) {
                to->n_apps = i; /* an app counts once its manifests are its own */
                r = bind_app(b, &to->apps[i]);
                to->n_apps = i + 1;
                if (r < 0)
                        return r == -ENOMEM ? r : err_wrap_code(b->err, r, "app %s", from->apps[i].name);
                if ((r = app_spec_check(&to->apps[i], true, b->err)) < 0)
                        return r;
        }
        return check_paths(to, b->err);
}

int revision_bind(const struct revision *r, const struct binding *b, struct revision **ret,
                  struct err **err) {
        _cleanup_(revision_freep) struct revision *bound = revision_new();
        if (!bound)
                return err_set_errno(err, ENOMEM, "replace references");
        struct binder binder = {.arena = bound->arena, .left = REVISION_BOUND_MAX, .err = err};
        int e = revision_binding(r, b, bound->arena, &binder.binding);
        if (e < 0)
                return err_set_errno(err, -e, "replace references");
        e = bind_all(&binder, r, bound);
        buf_done(&binder.text);
        if (e < 0)
                return e;
        *ret = TAKE_PTR(bound);
        return 0;
}
