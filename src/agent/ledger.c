/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ledger.h"

#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "codec/json.h"
#include "crypto/digest.h"

#define LEDGER_FORMAT 1
#define LEDGER_MAX ((size_t)32 << 20)

struct ledger {
        char *path;
        bool changed;
        int64_t floor;
        char stable[65], target[65]; /* "" for none */
        int64_t target_assignment, attempts;
        struct ledger_failure *failure;
        struct table *sources; /* id -> struct source */
        struct table *apps;    /* name -> struct ledger_app */
};

static const char *const step_names[] = {
        [LEDGER_APPLYING] = "applying",
        [LEDGER_APPLIED] = "applied",
        [LEDGER_REMOVING] = "removing",
};

/* ---- records */

static void free_files(struct ledger_file *files, size_t n) {
        for (size_t i = 0; i < n; i++)
                free(files[i].path);
        free(files);
}

static void free_app(void *value) {
        struct ledger_app *a = value;
        if (!a)
                return;
        free(a->name);
        free_files(a->files, a->n_files);
        free(a);
}

static void free_appp(struct ledger_app **a) {
        free_app(*a);
}

static struct ledger_failure *free_failure(struct ledger_failure *f) {
        if (!f)
                return NULL;
        free(f->reason);
        strv_free(f->apps);
        free(f);
        return NULL;
}

static void free_source(void *value) {
        source_free(value);
}

static int add_source(struct ledger *l, const struct source *s) {
        if (table_get(l->sources, s->id))
                return 0;
        struct source *copy = source_copy(s);
        if (!copy)
                return -ENOMEM;
        int r = table_set(l->sources, copy->id, copy);
        if (r < 0)
                source_free(copy);
        return r;
}

static int add_file(struct ledger_app *a, const char *path, const char *sha256) {
        struct ledger_file *grown = realloc(a->files, (a->n_files + 1) * sizeof(*grown));
        if (!grown)
                return -ENOMEM;
        a->files = grown;
        char *copy = str_dup(path);
        if (!copy)
                return -ENOMEM;
        a->files[a->n_files].path = copy;
        memcpy(a->files[a->n_files].sha256, sha256, sizeof(a->files[a->n_files].sha256));
        a->n_files++;
        return 0;
}

/* ---- reading */

static int read_digest(const json_t *o, const char *key, char out[65], struct err **err) {
        const char *text = NULL;
        int r = json_read_optional_string(o, key, &text, err);
        if (r < 0)
                return r;
        out[0] = '\0';
        if (!text)
                return 0;
        if (!sha256_hex_is_valid(text))
                return err_set(err, EINVAL, "field %s: '%.80s' is no SHA-256", key, text);
        memcpy(out, text, 65);
        return 0;
}

static int read_sources(struct ledger *l, const json_t *o, struct err **err) {
        const char *id;
        json_t *item;
        json_object_foreach ((json_t *)o, id, item) {
                _cleanup_(source_freep) struct source *s = NULL;
                const char *revision;
                const json_t *labels, *variables;
                int r;
                if ((r = json_read_string(item, "revision", &revision, err)) < 0 ||
                    (r = json_read_object(item, "labels", &labels, err)) < 0 ||
                    (r = json_read_object(item, "variables", &variables, err)) < 0 ||
                    (r = assigned_artifacts_check(json_object_get(item, "artifacts"), err)) < 0 ||
                    (r = source_make_with(revision, labels, variables, json_object_get(item, "artifacts"), &s,
                                          err)) < 0)
                        return err_wrap(err, "source %.12s", id);
                if (!str_eq(s->id, id))
                        return err_set(err, EINVAL, "source %.12s: its content is that of %.12s", id, s->id);
                r = table_set(l->sources, id, s);
                if (r < 0)
                        return err_set_errno(err, -r, "source %.12s", id);
                (void)TAKE_PTR(s);
        }
        return 0;
}

static int read_files(struct ledger_app *a, const json_t *files, struct err **err) {
        const json_t *item;
        size_t i;
        json_array_foreach (files, i, item) {
                const char *path, *digest;
                int r;
                if ((r = json_read_string(item, "path", &path, err)) < 0 ||
                    (r = json_read_string(item, "sha256", &digest, err)) < 0)
                        return r;
                if (!sha256_hex_is_valid(digest))
                        return err_set(err, EINVAL, "file %s: '%.80s' is no SHA-256", path, digest);
                r = add_file(a, path, digest);
                if (r < 0)
                        return err_set_errno(err, -r, "file %s", path);
        }
        return 0;
}

static int read_step(const char *name, enum ledger_step *ret) {
        for (size_t i = 0; i < ARRAY_SIZE(step_names); i++)
                if (str_eq(name, step_names[i])) {
                        *ret = (enum ledger_step)i;
                        return 0;
                }
        return -EINVAL;
}

static int read_app(struct ledger *l, const char *name, const json_t *o, struct err **err) {
        _cleanup_(free_appp) struct ledger_app *a = calloc(1, sizeof(*a));
        const char *driver, *step;
        const json_t *files;
        int r;

        if (!a || !(a->name = str_dup(name)))
                return err_set_errno(err, ENOMEM, "app %.64s", name);
        if (!name_is_dns_label(name))
                return err_set(err, EINVAL, "app '%.64s': not a DNS label", name);
        if ((r = read_digest(o, "source", a->source, err)) < 0 ||
            (r = read_digest(o, "digest", a->digest, err)) < 0 ||
            (r = json_read_string(o, "driver", &driver, err)) < 0 ||
            (r = json_read_int(o, "order", &a->order, err)) < 0 ||
            (r = json_read_optional_bool(o, "keep", &a->keep, err)) < 0 ||
            (r = json_read_optional_int(o, "stopTimeout", &a->stop_timeout_ms, err)) < 0 ||
            (r = json_read_string(o, "step", &step, err)) < 0 ||
            (r = json_read_array(o, "files", &files, err)) < 0 || (r = read_files(a, files, err)) < 0)
                return err_wrap(err, "app %s", name);
        if (app_driver_from_name(driver, &a->driver) < 0)
                return err_set(err, EINVAL, "app %s: unknown driver '%.32s'", name, driver);
        if (read_step(step, &a->step) < 0)
                return err_set(err, EINVAL, "app %s: unknown step '%.32s'", name, step);
        r = table_set(l->apps, name, a);
        if (r < 0)
                return err_set_errno(err, -r, "app %s", name);
        (void)TAKE_PTR(a);
        return 0;
}

static int read_failure(struct ledger *l, const json_t *o, struct err **err) {
        const char *reason;
        const json_t *apps, *item;
        size_t i;
        int r;

        l->failure = calloc(1, sizeof(*l->failure));
        if (!l->failure)
                return err_set_errno(err, ENOMEM, "failed");
        if ((r = read_digest(o, "source", l->failure->source, err)) < 0 ||
            (r = json_read_int(o, "assignment", &l->failure->assignment, err)) < 0 ||
            (r = json_read_string(o, "reason", &reason, err)) < 0 ||
            (r = json_read_array(o, "apps", &apps, err)) < 0)
                return err_wrap(err, "failed");
        l->failure->reason = str_dup(reason);
        if (!l->failure->reason)
                return err_set_errno(err, ENOMEM, "failed");
        json_array_foreach (apps, i, item) {
                if (!json_is_string(item))
                        return err_set(err, EINVAL, "failed: apps: expected texts");
                if (strv_push(&l->failure->apps, json_string_value(item)) < 0)
                        return err_set_errno(err, ENOMEM, "failed");
        }
        return 0;
}

static int read_ledger(struct ledger *l, const json_t *o, struct err **err) {
        const json_t *sources, *apps, *failed;
        const char *name;
        int64_t format;
        json_t *item;
        int r;

        if ((r = json_read_int(o, "format", &format, err)) < 0)
                return r;
        if (format != LEDGER_FORMAT)
                return err_set(err, EINVAL,
                               "written in format %lld, this agent knows %d: a newer agent has run here",
                               (long long)format, LEDGER_FORMAT);
        if ((r = json_read_int(o, "floor", &l->floor, err)) < 0 ||
            (r = read_digest(o, "stable", l->stable, err)) < 0 ||
            (r = read_digest(o, "target", l->target, err)) < 0 ||
            (r = json_read_int(o, "targetAssignment", &l->target_assignment, err)) < 0 ||
            (r = json_read_int(o, "attempts", &l->attempts, err)) < 0 ||
            (r = json_read_object(o, "sources", &sources, err)) < 0 ||
            (r = json_read_object(o, "apps", &apps, err)) < 0 || (r = read_sources(l, sources, err)) < 0)
                return r;
        json_object_foreach ((json_t *)apps, name, item) {
                r = read_app(l, name, item, err);
                if (r < 0)
                        return r;
        }
        failed = json_object_get(o, "failed");
        if (failed && !json_is_null(failed) && (r = read_failure(l, failed, err)) < 0)
                return r;
        if ((l->stable[0] && !ledger_source(l, l->stable)) || (l->target[0] && !ledger_source(l, l->target)))
                return err_set(err, EINVAL, "stable or target names a source that is not there");
        return 0;
}

int ledger_open(const char *path, struct ledger **ret, struct err **err) {
        _cleanup_(ledger_freep) struct ledger *l = calloc(1, sizeof(*l));
        _cleanup_(err_freep) struct err *problem = NULL;
        _cleanup_(x_freep) char *text = NULL;
        _cleanup_json_ json_t *j = NULL;
        size_t len;

        if (!l || !(l->path = str_dup(path)) || !(l->sources = table_new(free_source)) ||
            !(l->apps = table_new(free_app)))
                return err_set_errno(err, ENOMEM, "ledger");
        int r = file_read(path, LEDGER_MAX, &text, &len, &problem);
        if (r == -ENOENT) {
                *ret = TAKE_PTR(l);
                return 0;
        }
        if (r < 0)
                return err_move(err, TAKE_PTR(problem));
        if (json_decode(text, len, &j, err) < 0 || read_ledger(l, j, err) < 0) {
                err_wrap(err, "ledger %s", path);
                return -EINVAL;
        }
        *ret = TAKE_PTR(l);
        return 0;
}

struct ledger *ledger_free(struct ledger *l) {
        if (!l)
                return NULL;
        table_free(l->sources);
        table_free(l->apps);
        free_failure(l->failure);
        free(l->path);
        free(l);
        return NULL;
}

/* ---- writing */

static json_t *text_or_null(const char *s) {
        return *s ? json_string(s) : json_null();
}

static json_t *app_to_json(const struct ledger_app *a) {
        _cleanup_json_ json_t *files = json_array();
        for (size_t i = 0; files && i < a->n_files; i++)
                if (json_array_append_new(files, json_pack("{s:s, s:s}", "path", a->files[i].path, "sha256",
                                                           a->files[i].sha256)) < 0)
                        return NULL;
        return json_pack("{s:o, s:o, s:s, s:I, s:b, s:I, s:s, s:O}", "source", text_or_null(a->source),
                         "digest", text_or_null(a->digest), "driver", app_driver_name(a->driver), "order",
                         (json_int_t)a->order, "keep", (int)a->keep, "stopTimeout",
                         (json_int_t)a->stop_timeout_ms, "step", step_names[a->step], "files", files);
}

static json_t *failure_to_json(const struct ledger_failure *f) {
        if (!f)
                return json_null();
        json_t *apps = json_array();
        for (size_t i = 0; apps && i < strv_len(f->apps); i++)
                if (json_array_append_new(apps, json_string(f->apps[i])) < 0) {
                        json_decref(apps);
                        return NULL;
                }
        return json_pack("{s:o, s:I, s:s, s:o}", "source", text_or_null(f->source), "assignment",
                         (json_int_t)f->assignment, "reason", f->reason, "apps", apps);
}

static json_t *ledger_to_json(const struct ledger *l) {
        _cleanup_json_ json_t *sources = json_object();
        _cleanup_json_ json_t *apps = json_object();
        const char *key;
        void *value;

        for (size_t i = 0; table_next(l->sources, &i, &key, &value);) {
                const struct source *s = value;
                if (json_object_set_new(sources, key,
                                        json_pack("{s:s, s:O, s:O, s:O*}", "revision", s->revision, "labels",
                                                  s->labels, "variables", s->variables, "artifacts",
                                                  s->artifacts)) < 0)
                        return NULL;
        }
        for (size_t i = 0; table_next(l->apps, &i, &key, &value);)
                if (json_object_set_new(apps, key, app_to_json(value)) < 0)
                        return NULL;
        return json_pack("{s:i, s:I, s:o, s:o, s:I, s:I, s:o, s:O, s:O}", "format", LEDGER_FORMAT, "floor",
                         (json_int_t)l->floor, "stable", text_or_null(l->stable), "target",
                         text_or_null(l->target), "targetAssignment", (json_int_t)l->target_assignment,
                         "attempts", (json_int_t)l->attempts, "failed", failure_to_json(l->failure),
                         "sources", sources, "apps", apps);
}

int ledger_save(struct ledger *l, struct err **err) {
        if (!l->changed)
                return 0;
        _cleanup_json_ json_t *j = ledger_to_json(l);
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        if (!j)
                return err_set_errno(err, ENOMEM, "ledger %s", l->path);
        text.limit = LEDGER_MAX;
        int r = json_encode_canonical(j, &text, err);
        if (r < 0)
                return err_wrap(err, "ledger %s", l->path);
        r = file_write_atomic(l->path, text.data, text.len, 0600, err);
        if (r < 0)
                return err_wrap(err, "ledger");
        l->changed = false;
        return 0;
}

/* ---- sources */

const struct source *ledger_source(const struct ledger *l, const char *id) {
        return *id ? table_get(l->sources, id) : NULL;
}

const struct source *ledger_stable(const struct ledger *l) {
        return ledger_source(l, l->stable);
}

const struct source *ledger_target(const struct ledger *l) {
        return ledger_source(l, l->target);
}

int64_t ledger_target_assignment(const struct ledger *l) {
        return l->target_assignment;
}

int64_t ledger_attempts(const struct ledger *l) {
        return l->attempts;
}

int64_t ledger_floor(const struct ledger *l) {
        return l->floor;
}

const struct ledger_failure *ledger_failure(const struct ledger *l) {
        return l->failure;
}

void ledger_sources(const struct ledger *l, void (*visit)(void *arg, const struct source *s), void *arg) {
        void *value;
        for (size_t i = 0; table_next(l->sources, &i, NULL, &value);)
                visit(arg, value);
}

int ledger_begin(struct ledger *l, const struct source *target, int64_t assignment) {
        int r = add_source(l, target);
        if (r < 0)
                return r;
        memcpy(l->target, target->id, sizeof(l->target));
        l->target_assignment = assignment;
        l->floor = MAX(l->floor, assignment);
        l->attempts = 0;
        l->failure = free_failure(l->failure);
        l->changed = true;
        return 0;
}

void ledger_count_attempt(struct ledger *l) {
        l->attempts++;
        l->changed = true;
}

void ledger_confirm(struct ledger *l) {
        if (!l->target[0])
                return;
        memcpy(l->stable, l->target, sizeof(l->stable));
        l->target[0] = '\0';
        l->attempts = 0;
        l->changed = true;
}

int ledger_fail(struct ledger *l, const char *reason, char *const *apps) {
        struct ledger_failure *f = calloc(1, sizeof(*f));
        if (!f || !(f->reason = str_dup(reason)))
                goto no_memory;
        for (size_t i = 0; apps && apps[i]; i++)
                if (strv_push(&f->apps, apps[i]) < 0)
                        goto no_memory;
        memcpy(f->source, l->target, sizeof(f->source));
        f->assignment = l->target_assignment;
        free_failure(l->failure);
        l->failure = f;
        l->attempts = 0;
        l->target[0] = '\0';
        l->changed = true;
        return 0;

no_memory:
        free_failure(f);
        return -ENOMEM;
}

int ledger_fail_app(struct ledger *l, const char *app) {
        if (!l->failure || strv_has(l->failure->apps, app))
                return 0;
        l->changed = true;
        return strv_push(&l->failure->apps, app);
}

static bool source_is_needed(const struct ledger *l, const char *id) {
        void *value;
        if (str_eq(id, l->stable) || str_eq(id, l->target) || (l->failure && str_eq(id, l->failure->source)))
                return true;
        for (size_t i = 0; table_next(l->apps, &i, NULL, &value);)
                if (str_eq(id, ((struct ledger_app *)value)->source))
                        return true;
        return false;
}

void ledger_prune_sources(struct ledger *l) {
        const char *id;
        for (size_t i = 0; table_next(l->sources, &i, &id, NULL);)
                if (!source_is_needed(l, id)) {
                        table_remove(l->sources, id);
                        l->changed = true;
                }
}

/* ---- apps */

struct ledger_app *ledger_app(const struct ledger *l, const char *name) {
        return table_get(l->apps, name);
}

bool ledger_next_app(const struct ledger *l, size_t *position, struct ledger_app **ret) {
        void *value;
        if (!table_next(l->apps, position, NULL, &value))
                return false;
        *ret = value;
        return true;
}

size_t ledger_n_apps(const struct ledger *l) {
        return table_len(l->apps);
}

static bool app_has_path(const struct ledger_app *a, const char *path) {
        for (size_t i = 0; i < a->n_files; i++)
                if (str_eq(a->files[i].path, path))
                        return true;
        return false;
}

bool ledger_owns_path(const struct ledger *l, const char *path, const char *except_app) {
        struct ledger_app *a;
        for (size_t i = 0; ledger_next_app(l, &i, &a);)
                if (!str_eq(a->name, except_app) && app_has_path(a, path))
                        return true;
        return false;
}

int ledger_intend_apply(struct ledger *l, const struct source *source, const struct unit *u, int64_t order) {
        const struct app_spec *spec = u->spec;
        struct ledger_app *a = ledger_app(l, spec->name);
        int r = add_source(l, source);
        if (r < 0)
                return r;
        if (!a) {
                _cleanup_(free_appp) struct ledger_app *fresh = calloc(1, sizeof(*fresh));
                if (!fresh || !(fresh->name = str_dup(spec->name)))
                        return -ENOMEM;
                r = table_set(l->apps, spec->name, fresh);
                if (r < 0)
                        return r;
                a = TAKE_PTR(fresh);
        }
        /* From here on a failure leaves more listed than exists, which is the safe side. */
        l->changed = true;
        for (size_t i = 0; i < spec->n_files; i++)
                if (!app_has_path(a, spec->files[i].path) &&
                    (r = add_file(a, spec->files[i].path, u->files[i].sha256)) < 0)
                        return r;
        for (size_t i = 0; i < spec->n_artifacts; i++)
                if (spec->artifacts[i].path && !app_has_path(a, spec->artifacts[i].path) &&
                    (r = add_file(a, spec->artifacts[i].path, u->artifacts[i].sha256)) < 0)
                        return r;
        for (size_t i = 0; i < spec->n_secrets; i++)
                if (spec->secrets[i].path && !app_has_path(a, spec->secrets[i].path) &&
                    (r = add_file(a, spec->secrets[i].path, u->secrets[i].sha256)) < 0)
                        return r;
        memcpy(a->source, source->id, sizeof(a->source));
        memcpy(a->digest, u->digest, sizeof(a->digest));
        a->driver = spec->driver;
        a->order = order;
        a->keep = spec->keep_on_prune;
        a->stop_timeout_ms = spec->stop_timeout_ms;
        a->step = LEDGER_APPLYING;
        return 0;
}

int ledger_done_apply(struct ledger *l, const struct unit *u) {
        struct ledger_app *a = ledger_app(l, u->spec->name);
        if (!a)
                return -ENOENT;
        struct ledger_app fresh = {0};
        int r = 0;
        for (size_t i = 0; r == 0 && i < u->spec->n_files; i++)
                r = add_file(&fresh, u->spec->files[i].path, u->files[i].sha256);
        for (size_t i = 0; r == 0 && i < u->spec->n_artifacts; i++)
                if (u->spec->artifacts[i].path)
                        r = add_file(&fresh, u->spec->artifacts[i].path, u->artifacts[i].sha256);
        for (size_t i = 0; r == 0 && i < u->spec->n_secrets; i++)
                if (u->spec->secrets[i].path)
                        r = add_file(&fresh, u->spec->secrets[i].path, u->secrets[i].sha256);
        if (r < 0) {
                free_files(fresh.files, fresh.n_files);
                return r;
        }
        free_files(a->files, a->n_files);
        a->files = fresh.files;
        a->n_files = fresh.n_files;
        a->step = LEDGER_APPLIED;
        l->changed = true;
        return 0;
}

int ledger_intend_remove(struct ledger *l, const char *name) {
        struct ledger_app *a = ledger_app(l, name);
        if (!a)
                return -ENOENT;
        if (a->step != LEDGER_REMOVING) {
                a->step = LEDGER_REMOVING;
                l->changed = true;
        }
        return 0;
}

void ledger_done_remove(struct ledger *l, const char *name) {
        if (table_remove(l->apps, name))
                l->changed = true;
}
