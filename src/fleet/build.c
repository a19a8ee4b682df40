/* SPDX-License-Identifier: Apache-2.0 */
/* The last stage: the model, and one revision a fleet where nothing was wrong. */
#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "fleet/compiler.h"

/* What an App has that sets nothing: so the revision leaves them out. */
#define FILES_BACKOFF 1000
#define FILES_BACKOFF_CAP 300000
#define FILES_STOP_TIMEOUT 10000
#define FILES_READY_TIMEOUT 120000

static int no_memory(struct compiler *c) {
        return err_set_errno(c->err, ENOMEM, "compile");
}

/* ---- Rollout policies */

/* The texts of a list; NULL where it is empty or memory is out (*r then). */
static const char **build_names(struct compiler *c, const struct located_list *list, int *r) {
        const char **texts = list->n > 0 ? arena_calloc(c->arena, list->n, sizeof *texts) : NULL;

        if (list->n > 0 && !texts)
                *r = no_memory(c);
        for (size_t i = 0; texts && i < list->n; i++)
                texts[i] = list->items[i].text;
        return texts;
}

static int build_waves(struct compiler *c, const struct rollout_document *d, struct rollout_policy *p) {
        int r = 0;

        p->waves = arena_calloc(c->arena, d->n_waves + 1, sizeof *p->waves);
        if (!p->waves)
                return no_memory(c);
        p->n_waves = d->n_waves;
        for (size_t j = 0; j < d->n_waves; j++) {
                const struct wave_document *w = &d->waves[j];
                p->waves[j] = (struct rollout_wave_policy){
                        .name = w->name,
                        .selector = w->selector.selector,
                        .limit = w->limit,
                        .pause_ms = w->pause.duration,
                        .success_threshold = w->success_threshold,
                        .failure_budget = w->failure_budget,
                        .min_sample = w->min_sample,
                        .approvals = w->approval == 1 ? MAX(w->approvals, 1) : 0,
                        .approvers = build_names(c, &w->approvers, &r),
                        .n_approvers = w->approvers.n,
                };
        }
        return r;
}

/* maxUnavailable is the budget of the group of all nodes. */
static int build_budgets(struct compiler *c, const struct rollout_document *d, struct rollout_policy *p) {
        int r = 0;

        if (!d->max_unavailable.is_set && d->n_budgets == 0)
                return 0;
        p->budgets = arena_calloc(c->arena, d->n_budgets + 1, sizeof *p->budgets);
        if (!p->budgets)
                return no_memory(c);
        if (d->max_unavailable.is_set)
                p->budgets[p->n_budgets++].max_unavailable = d->max_unavailable;
        for (size_t i = 0; i < d->n_budgets; i++)
                p->budgets[p->n_budgets++] = (struct rollout_budget){
                        .group_by = build_names(c, &d->budgets[i].group_by, &r),
                        .n_group_by = d->budgets[i].group_by.n,
                        .max_unavailable = d->budgets[i].max_unavailable,
                };
        return r;
}

static int build_windows(struct compiler *c, const struct window_document *from, size_t n,
                         struct schedule_window **ret, size_t *ret_n) {
        *ret = arena_calloc(c->arena, n + 1, sizeof **ret);
        if (!*ret)
                return no_memory(c);
        for (size_t i = 0; i < n; i++)
                (*ret)[i] = from[i].window;
        *ret_n = n;
        return 0;
}

static int build_schedule(struct compiler *c, const struct document *document, struct rollout_policy *p) {
        const struct schedule_document *d = document->schedule;
        struct schedule *s = arena_alloc(c->arena, sizeof *s);
        int r;

        if (!s)
                return no_memory(c);
        *s = (struct schedule){.name = document->called,
                               .zone = d->time_zone.text ? d->time_zone.text : "UTC",
                               .freezes = arena_calloc(c->arena, d->n_freezes + 1, sizeof *s->freezes),
                               .n_freezes = d->n_freezes};
        if (!s->freezes)
                return no_memory(c);
        for (size_t i = 0; i < d->n_freezes; i++)
                s->freezes[i] = d->freezes[i].freeze;
        r = build_windows(c, d->windows, d->n_windows, &s->windows, &s->n_windows);
        if (r == 0)
                r = build_windows(c, d->downloads, d->n_downloads, &s->downloads, &s->n_downloads);
        p->schedule = s;
        return r;
}

static int build_policies(struct compiler *c) {
        const struct named *k = &c->kinds[FLEET_KIND_ROLLOUT];
        struct fleet_model *m = c->model;

        m->policies = arena_calloc(c->arena, k->n + 1, sizeof *m->policies);
        if (!m->policies)
                return no_memory(c);
        for (size_t i = 0; i < k->n; i++) {
                const struct rollout_document *d = k->items[i]->rollout;
                struct rollout_policy *p = &m->policies[m->n_policies++];

                rollout_policy_default(p);
                p->name = k->names[i];
                int r = build_waves(c, d, p);
                if (r == 0)
                        r = build_budgets(c, d, p);
                ssize_t schedule =
                        d->schedule.text ? compiler_find(c, FLEET_KIND_SCHEDULE, d->schedule.text) : -1;
                if (r == 0 && schedule >= 0)
                        r = build_schedule(c, c->kinds[FLEET_KIND_SCHEDULE].items[schedule], p);
                if (r < 0)
                        return r;
                p->max_failed = d->max_failed;
                p->min_sample = d->min_sample;
                p->progress_deadline_ms = d->progress_deadline;
                p->defer_after_ms = d->defer_after;
                p->rollback_on_failure = d->rollback.on_failure;
                p->download_deadline_ms = d->deadlines.download;
                p->apply_deadline_ms = d->deadlines.apply;
                p->confirm_deadline_ms = d->deadlines.confirm;
        }
        return 0;
}

/* ---- Apps of a revision */

/* NULL-terminated texts of a list; NULL where it is empty or memory is out (*r then). */
static const char **build_texts(struct compiler *c, struct arena *arena, const struct located_list *list,
                                int *r) {
        const char **texts;

        if (list->n == 0)
                return NULL;
        texts = arena_calloc(arena, list->n + 1, sizeof *texts);
        if (!texts) {
                *r = no_memory(c);
                return NULL;
        }
        for (size_t i = 0; i < list->n; i++)
                texts[i] = list->items[i].text;
        return texts;
}

static int build_checks(struct compiler *c, struct arena *arena, const struct app_document *d,
                        struct app_spec *app) {
        static const char *const schemes[] = {"http", "https"};
        int r = 0;

        app->checks = arena_calloc(arena, d->n_checks + 1, sizeof *app->checks);
        if (!app->checks)
                return no_memory(c);
        app->n_checks = d->n_checks;
        for (size_t i = 0; i < d->n_checks; i++) {
                const struct check_document *from = &d->checks[i];
                struct health_check *to = &app->checks[i];

                *to = (struct health_check){
                        .name = from->name,
                        .interval_ms = from->interval,
                        .timeout_ms = from->timeout,
                        .startup_grace_ms = from->startup_grace,
                        .failure_threshold = from->failure_threshold,
                        .success_threshold = from->success_threshold,
                };
                if (from->exec.where.line) {
                        to->type = CHECK_EXEC;
                        to->command = build_texts(c, arena, &from->exec.command, &r);
                } else if (from->http.where.line) {
                        to->type = CHECK_HTTP;
                        to->host = from->http.host;
                        to->port = from->http.port;
                        to->path = from->http.path;
                        to->scheme = schemes[from->http.scheme];
                } else {
                        to->type = CHECK_TCP;
                        to->host = from->tcp.host;
                        to->port = from->tcp.port;
                }
        }
        return r;
}

static int compare_texts(const void *a, const void *b) {
        return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int build_depends_on(struct compiler *c, struct arena *arena, const struct app_entry *e, bool on_files,
                            struct app_spec *app) {
        size_t n = 0;

        if (e->n_dependencies == 0 && !on_files)
                return 0;
        app->depends_on = arena_calloc(arena, e->n_dependencies + 2, sizeof *app->depends_on);
        if (!app->depends_on)
                return no_memory(c);
        if (on_files)
                app->depends_on[n++] = FILES_APP;
        for (size_t i = 0; i < e->n_dependencies; i++)
                app->depends_on[n++] = e->dependencies[i]->name;
        qsort(app->depends_on, n, sizeof *app->depends_on, compare_texts);
        return 0;
}

static int build_artifacts(struct compiler *c, struct arena *arena, const struct app_document *d,
                           struct app_spec *app) {
        app->artifacts = arena_calloc(arena, d->n_artifacts + 1, sizeof *app->artifacts);
        if (!app->artifacts)
                return no_memory(c);
        for (size_t i = 0; i < d->n_artifacts; i++)
                app->artifacts[app->n_artifacts++] = (struct app_artifact){
                        .name = d->artifacts[i].name.text,
                        .version = d->artifacts[i].version.text,
                        .path = d->artifacts[i].path.text,
                };
        return 0;
}

static int build_app(struct compiler *c, struct arena *arena, const struct app_entry *e, bool on_files,
                     struct app_spec *app) {
        const struct app_document *d = e->document->app;
        int r = 0;

        *app = (struct app_spec){
                .name = e->name,
                .driver = (enum app_driver)d->driver,
                .command = build_texts(c, arena, &d->command, &r),
                .working_directory = d->working_directory,
                .user = d->user,
                .environment = d->environment,
                .files = e->files,
                .n_files = e->n_files,
                .secrets = e->secrets,
                .n_secrets = e->n_secrets,
                .restart = (enum restart_policy)d->restart.policy,
                .restart_backoff_ms = d->restart.backoff,
                .restart_backoff_cap_ms = d->restart.max_backoff,
                .stop_timeout_ms = d->stop_timeout,
                .ready_timeout_ms = d->ready_timeout,
                .memory_max_bytes = d->resources.memory_max,
                .cpu_max_millis = d->resources.cpu_max,
                .pids_max = d->resources.pids_max,
                .keep_on_prune = d->prune == 1,
        };
        if (r == 0)
                r = build_artifacts(c, arena, d, app);
        if (r == 0)
                r = build_checks(c, arena, d, app);
        if (r == 0)
                r = build_depends_on(c, arena, e, on_files, app);
        if (r < 0)
                return r;
        app->manifests = arena_calloc(arena, e->n_objects + 1, sizeof *app->manifests);
        if (!app->manifests)
                return no_memory(c);
        for (size_t i = 0; i < e->n_objects; i++)
                app->manifests[app->n_manifests++] = json_incref(e->objects[i]->json);
        return 0;
}

static void build_files_app(const struct app_entry *e, struct app_spec *app) {
        *app = (struct app_spec){
                .name = FILES_APP,
                .driver = APP_DRIVER_FILES,
                .files = e->files,
                .n_files = e->n_files,
                .restart_backoff_ms = FILES_BACKOFF,
                .restart_backoff_cap_ms = FILES_BACKOFF_CAP,
                .stop_timeout_ms = FILES_STOP_TIMEOUT,
                .ready_timeout_ms = FILES_READY_TIMEOUT,
        };
}

/* ---- Revisions. What is encoded is read back at once: the server and plan then work on exactly what nodes
 * will decode, and what a node would refuse never leaves the compiler. */

static int build_revision(struct compiler *c, const struct fleet_entry *f, struct fleet_spec *spec) {
        _cleanup_(revision_freep) struct revision *draft = revision_new();
        _cleanup_(err_freep) struct err *err = NULL;
        int r = 0;

        if (!draft)
                return no_memory(c);
        draft->fleet = spec->name;
        draft->variables = f->document->fleet->template_.variables;
        draft->requires_ = f->requires_;
        draft->n_requires = f->n_requires;
        draft->uses = f->uses;
        draft->n_uses = f->n_uses;
        draft->apps = arena_calloc(draft->arena, f->n_apps + 1, sizeof *draft->apps);
        if (!draft->apps)
                return no_memory(c);
        if (f->files && f->files->n_files > 0)
                build_files_app(f->files, &draft->apps[draft->n_apps++]);
        for (size_t i = 0; i < f->n_apps && r == 0; i++)
                r = build_app(c, draft->arena, f->apps[i], f->files && f->files->n_files > 0,
                              &draft->apps[draft->n_apps++]);
        if (r < 0)
                return r;
        r = revision_encode(draft, &spec->revision_json, &spec->revision_len, &err);
        if (r == 0)
                r = revision_decode(spec->revision_json, spec->revision_len, &spec->revision, &err);
        if (r == -ENOMEM)
                return no_memory(c);
        if (r < 0)
                compiler_error(c, &spec->where, NULL, "fleet \"%s\": %s", spec->name, err_message(err));
        return 0;
}

static int build_fleets(struct compiler *c) {
        const struct named *k = &c->kinds[FLEET_KIND_FLEET];
        struct fleet_model *m = c->model;

        m->fleets = arena_calloc(c->arena, k->n + 1, sizeof *m->fleets);
        if (!m->fleets)
                return no_memory(c);
        for (size_t i = 0; i < k->n; i++) {
                const struct document *d = k->items[i];
                m->fleets[m->n_fleets++] = (struct fleet_spec){
                        .name = k->names[i],
                        .where = d->where,
                        .labels = d->metadata.labels,
                        .selector = d->fleet->selector.selector,
                        .rollout = d->fleet->rollout.text,
                };
        }
        for (size_t i = 0; i < k->n && diagnostics_errors(c->diagnostics) == 0; i++) {
                int r = build_revision(c, &c->fleets[i], &m->fleets[i]);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < k->n && diagnostics_errors(c->diagnostics) > 0; i++) { /* all or none */
                m->fleets[i].revision = revision_free(m->fleets[i].revision);
                free(TAKE_PTR(m->fleets[i].revision_json));
        }
        return 0;
}

/* ---- Objects */

static int compare_objects(const void *a, const void *b) {
        return strcmp(((const struct fleet_object *)a)->sha256, ((const struct fleet_object *)b)->sha256);
}

static int build_objects(struct compiler *c) {
        struct fleet_model *m = c->model;
        void *value;

        m->objects = arena_calloc(c->arena, table_len(c->objects) + 1, sizeof *m->objects);
        if (!m->objects)
                return no_memory(c);
        for (size_t i = 0; table_next(c->objects, &i, NULL, &value);)
                m->objects[m->n_objects++] = *(struct fleet_object *)value;
        if (m->n_objects > 1)
                qsort(m->objects, m->n_objects, sizeof *m->objects, compare_objects);
        return 0;
}

int build_model(struct compiler *c) {
        int r;

        c->model->n_apps = c->kinds[FLEET_KIND_APP].n;
        r = build_policies(c);
        if (r == 0)
                r = build_fleets(c);
        if (r == 0)
                r = build_objects(c);
        return r;
}
