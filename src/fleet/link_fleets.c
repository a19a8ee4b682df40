/* SPDX-License-Identifier: Apache-2.0 */
/* Fleets: the apps they list, in the order they are applied, and the rollout they follow. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/str.h"
#include "fleet/compiler.h"

static int no_memory(struct compiler *c) {
        return err_set_errno(c->err, ENOMEM, "compile");
}

static bool lists(const struct fleet_entry *f, const struct app_entry *app) {
        for (size_t i = 0; i < f->n_apps; i++)
                if (f->apps[i] == app)
                        return true;
        return false;
}

/* Place of an app's name in the fleet's list. */
static const struct position *place_of(const struct fleet_entry *f, const struct app_entry *app) {
        const struct located_list *names = &f->document->fleet->template_.apps;
        for (size_t i = 0; i < names->n; i++)
                if (str_eq(names->items[i].text, app->name))
                        return &names->items[i].where;
        return &f->document->where;
}

/* Is one of the listed names, which no App has, a slip for this one? */
static bool is_listed_with_a_slip(const struct compiler *c, const struct fleet_entry *f, const char *app) {
        const struct located_list *names = &f->document->fleet->template_.apps;
        for (size_t i = 0; i < names->n; i++)
                if (compiler_find(c, FLEET_KIND_APP, names->items[i].text) < 0 &&
                    str_nearest(names->items[i].text, &app, 1))
                        return true;
        return false;
}

static void check_dependencies(struct compiler *c, const struct fleet_entry *f, const struct app_entry *app) {
        for (size_t i = 0; i < app->n_dependencies; i++) {
                const struct app_entry *dependency = app->dependencies[i];
                if (!lists(f, dependency) && !is_listed_with_a_slip(c, f, dependency->name))
                        compiler_error(c, place_of(f, app), "list it too",
                                       "app \"%s\" depends on \"%s\", which fleet \"%s\" does not list",
                                       app->name, dependency->name, f->document->called);
        }
}

static int choose_apps(struct compiler *c, struct fleet_entry *f) {
        const struct located_list *names = &f->document->fleet->template_.apps;

        f->apps = arena_calloc(c->arena, names->n + 1, sizeof(struct app_entry *));
        if (!f->apps)
                return no_memory(c);
        for (size_t i = 0; i < names->n; i++) {
                ssize_t found = compiler_find(c, FLEET_KIND_APP, names->items[i].text);
                if (found >= 0) {
                        f->apps[f->n_apps++] = &c->apps[found];
                        c->apps[found].used = true;
                } else if (str_eq(names->items[i].text, FILES_APP)) {
                        compiler_error(c, &names->items[i].where, "leave it out",
                                       "a fleet's files are applied without being listed");
                } else {
                        compiler_missing(c, FLEET_KIND_APP, &names->items[i]);
                }
        }
        for (size_t i = 0; i < f->n_apps && !f->document->fleet->template_.apps_unsure; i++)
                check_dependencies(c, f, f->apps[i]);
        return 0;
}

/* ---- The order of application: dependencies first, ties by name (the format of revisions). */

static bool is_ready(const struct fleet_entry *f, struct app_entry *const *left, size_t n_left,
                     const struct app_entry *app) {
        for (size_t i = 0; i < app->n_dependencies; i++)
                for (size_t j = 0; j < n_left; j++)
                        if (left[j] == app->dependencies[i])
                                return false;
        return true;
}

static int order_apps(struct compiler *c, struct fleet_entry *f) {
        struct app_entry **left = f->apps, **ordered;
        size_t n_left = f->n_apps, n = 0;

        ordered = arena_calloc(c->arena, n_left + 1, sizeof(struct app_entry *));
        if (!ordered)
                return no_memory(c);
        while (n_left > 0) {
                size_t best = n_left;
                for (size_t i = 0; i < n_left; i++)
                        if (is_ready(f, left, n_left, left[i]) &&
                            (best == n_left || strcmp(left[i]->name, left[best]->name) < 0))
                                best = i;
                if (best == n_left)
                        best = 0; /* a circle: reported already, there will be no revision */
                ordered[n++] = left[best];
                left[best] = left[--n_left];
        }
        f->apps = ordered;
        return 0;
}

/* ---- Two apps of one fleet cannot keep the same thing. */

static void check_files(struct compiler *c, struct table *seen, const struct fleet_entry *f,
                        struct app_entry *app, int *r) {
        for (size_t i = 0; i < app->n_files && *r == 0; i++) {
                const struct app_entry *other = table_get(seen, app->files[i].path);
                if (!other)
                        *r = table_set(seen, app->files[i].path, app) < 0 ? no_memory(c) : 0;
                else if (other->document)
                        compiler_error(
                                c, &app->file_places[i], NULL,
                                "file \"%.200s\" is kept by app \"%s\" too, and fleet \"%s\" lists both",
                                app->files[i].path, other->name, f->document->called);
                else
                        compiler_error(c, &app->file_places[i], NULL,
                                       "file \"%.200s\" is kept by the template of fleet \"%s\" too",
                                       app->files[i].path, f->document->called);
        }
}

static void check_secrets(struct compiler *c, struct table *seen, const struct fleet_entry *f,
                          struct app_entry *app, int *r) {
        for (size_t i = 0; i < app->n_secrets && *r == 0; i++) {
                const char *path = app->secrets[i].path;
                const struct app_entry *other = path ? table_get(seen, path) : NULL;
                if (other)
                        compiler_error(c, &app->linked_secrets[i].where, "choose another path",
                                       "path \"%.200s\" is kept by %s \"%s\" too, and fleet \"%s\" has both",
                                       path, other->document ? "app" : "the template of fleet",
                                       other->document ? other->name : f->document->called,
                                       f->document->called);
                else if (path)
                        *r = table_set(seen, path, app) < 0 ? no_memory(c) : 0;
        }
}

static void check_objects(struct compiler *c, struct table *seen, const struct fleet_entry *f,
                          struct app_entry *app, int *r) {
        for (size_t i = 0; i < app->n_objects && *r == 0; i++) {
                const struct manifest_object *o = app->objects[i];
                _cleanup_(x_freep) char *key = str_format("%s %s", o->kind, o->name);
                const struct app_entry *other = key ? table_get(seen, key) : NULL;

                if (!key || (!other && table_set(seen, key, app) < 0))
                        *r = no_memory(c);
                else if (other)
                        compiler_error(c, &o->where, "give it another name",
                                       "%s \"%.80s\" is in app \"%s\" too, and fleet \"%s\" lists both",
                                       o->kind, o->name, other->name, f->document->called);
        }
}

static int check_conflicts(struct compiler *c, const struct fleet_entry *f) {
        _cleanup_(table_freep) struct table *paths = table_new(NULL), *objects = table_new(NULL);
        int64_t size = f->files ? f->files->content_size : 0;
        int r = paths && objects ? 0 : no_memory(c);

        if (r == 0 && f->files)
                check_files(c, paths, f, f->files, &r);
        for (size_t i = 0; i < f->n_apps && r == 0; i++) {
                check_files(c, paths, f, f->apps[i], &r);
                check_secrets(c, paths, f, f->apps[i], &r);
                check_objects(c, objects, f, f->apps[i], &r);
                size += f->apps[i]->content_size;
        }
        if (r == 0 && size > APP_OBJECTS_MAX)
                compiler_error(c, &f->document->where, "publish large files another way",
                               "the files of fleet \"%s\" are larger than %u MiB together",
                               f->document->called, APP_OBJECTS_MAX >> 20);
        return r;
}

static int link_template_files(struct compiler *c, struct fleet_entry *f) {
        const struct fleet_document *d = f->document->fleet;
        struct app_entry *e;

        if (d->template_.n_files == 0)
                return 0;
        e = arena_alloc(c->arena, sizeof *e);
        if (!e || !(e->texts = arena_calloc(c->arena, d->template_.n_files, sizeof(struct parsed *))))
                return no_memory(c);
        e->name = FILES_APP;
        f->files = e;
        return link_files(c, e, d->template_.files, d->template_.n_files);
}

static int link_fleet(struct compiler *c, struct fleet_entry *f, bool rollout_used[]) {
        const struct fleet_document *d = f->document->fleet;
        int r;

        if (d->rollout.text) {
                ssize_t found = compiler_find(c, FLEET_KIND_ROLLOUT, d->rollout.text);
                if (found < 0) {
                        compiler_missing(c, FLEET_KIND_ROLLOUT, &d->rollout);
                } else {
                        f->rollout = c->kinds[FLEET_KIND_ROLLOUT].items[found];
                        rollout_used[found] = true;
                }
        }
        if (d->template_.apps.n == 0 && d->template_.n_files == 0 && !f->document->broken)
                compiler_warning(c, &f->document->where, "list apps or files in its template",
                                 "fleet \"%s\" has neither apps nor files: its nodes run nothing",
                                 f->document->called);
        r = link_template_files(c, f);
        if (r == 0)
                r = choose_apps(c, f);
        if (r == 0)
                r = order_apps(c, f);
        if (r == 0)
                r = check_conflicts(c, f);
        if (r == 0)
                r = check_artifact_paths(c, f);
        return r;
}

/* The schedules that rollouts name are there, and are named. */
static int link_schedules(struct compiler *c) {
        const struct named *schedules = &c->kinds[FLEET_KIND_SCHEDULE],
                           *rollouts = &c->kinds[FLEET_KIND_ROLLOUT];
        bool *used = arena_calloc(c->arena, schedules->n + 1, sizeof *used);

        if (!used)
                return no_memory(c);
        for (size_t i = 0; i < rollouts->n_all; i++) {
                const struct located *name = &rollouts->items[i]->rollout->schedule;
                ssize_t found = name->text ? compiler_find(c, FLEET_KIND_SCHEDULE, name->text) : -1;
                if (found >= 0)
                        used[found] = true;
                else if (name->text)
                        compiler_missing(c, FLEET_KIND_SCHEDULE, name);
        }
        for (size_t i = 0; i < schedules->n && diagnostics_errors(c->diagnostics) == 0; i++)
                if (!used[i])
                        compiler_warning(c, &schedules->items[i]->where,
                                         "name it in a rollout, or take it out",
                                         "no rollout uses schedule \"%s\"", schedules->names[i]);
        return 0;
}

int link_fleets(struct compiler *c) {
        const struct named *fleets = &c->kinds[FLEET_KIND_FLEET], *rollouts = &c->kinds[FLEET_KIND_ROLLOUT];
        bool *rollout_used = arena_calloc(c->arena, rollouts->n + 1, sizeof *rollout_used);

        c->fleets = arena_calloc(c->arena, fleets->n_all + 1, sizeof *c->fleets);
        if (!c->fleets || !rollout_used)
                return no_memory(c);
        for (size_t i = 0; i < fleets->n_all; i++) {
                int r;
                c->fleets[i].document = fleets->items[i];
                r = link_fleet(c, &c->fleets[i], rollout_used);
                if (r < 0)
                        return r;
        }
        int linked = link_schedules(c);
        if (linked < 0)
                return linked;
        if (diagnostics_errors(c->diagnostics) > 0)
                return 0; /* a slip in a name would make the right one look unused */
        for (size_t i = 0; i < c->kinds[FLEET_KIND_APP].n; i++)
                if (!c->apps[i].used)
                        compiler_warning(c, &c->apps[i].document->where,
                                         "list it in a fleet's template, or take it out",
                                         "no fleet uses app \"%s\"", c->apps[i].name);
        for (size_t i = 0; i < rollouts->n; i++)
                if (!rollout_used[i])
                        compiler_warning(c, &rollouts->items[i]->where, "name it in a fleet, or take it out",
                                         "no fleet uses rollout \"%s\"", rollouts->names[i]);
        return 0;
}
