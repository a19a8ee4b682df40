/* SPDX-License-Identifier: Apache-2.0 */
/* Artifacts that apps name: that their paths get along with what else a fleet keeps, and that the repository
 * has their versions. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "fleet/compiler.h"

static int no_memory(struct compiler *c) {
        return err_set_errno(c->err, ENOMEM, "compile");
}

/* ---- Paths. An artifact shows as a link: what lies in its place, or would lie beneath it, fights with it.
 */

struct shown {
        const struct artifact_document *artifact;
        const struct app_entry *app;
};

static const struct shown *shown_above(const struct table *shown, const char *path) {
        _cleanup_(x_freep) char *above = str_dup(path);
        const struct shown *found = NULL;

        for (char *slash; above && !found && (slash = strrchr(above, '/')) && slash > above;) {
                *slash = '\0';
                found = table_get(shown, above);
        }
        return found;
}

static void report_shown(struct compiler *c, const struct fleet_entry *f, const struct position *where,
                         const char *path, const char *how, const struct shown *other) {
        const struct position *place = &other->artifact->path.where;

        compiler_error(c, where, "choose another path",
                       "path \"%.200s\" %s artifact \"%.100s\" at %s:%" PRIu32 ", and fleet \"%s\" has both",
                       path, how, other->artifact->name.text ? other->artifact->name.text : "", place->file,
                       place->line, f->document->called);
}

static int gather_shown(struct compiler *c, const struct fleet_entry *f, struct table *shown) {
        for (size_t i = 0; i < f->n_apps; i++) {
                const struct app_document *d = f->apps[i]->document->app;
                for (size_t j = 0; j < d->n_artifacts; j++) {
                        const struct located *path = &d->artifacts[j].path;
                        const struct shown *other = path->text ? table_get(shown, path->text) : NULL;
                        struct shown *s;

                        if (!path->text || (other && other->app == f->apps[i]))
                                continue; /* within one app it was reported when it was read */
                        if (other) {
                                report_shown(c, f, &path->where, path->text, "is taken by", other);
                                continue;
                        }
                        s = arena_alloc(c->arena, sizeof *s);
                        if (!s || table_set(shown, path->text, s) < 0)
                                return no_memory(c);
                        *s = (struct shown){&d->artifacts[j], f->apps[i]};
                }
        }
        return 0;
}

static void check_files(struct compiler *c, const struct fleet_entry *f, const struct table *shown,
                        const struct app_entry *app) {
        for (size_t i = 0; app && i < app->n_files; i++) {
                const char *path = app->files[i].path;
                const struct shown *same = table_get(shown, path), *above = shown_above(shown, path);
                if (same || above)
                        report_shown(c, f, &app->file_places[i], path, same ? "is taken by" : "lies within",
                                     same ? same : above);
        }
}

int check_artifact_paths(struct compiler *c, const struct fleet_entry *f) {
        _cleanup_(table_freep) struct table *shown = table_new(NULL);
        void *value;
        int r = shown ? gather_shown(c, f, shown) : no_memory(c);

        if (r < 0 || table_len(shown) == 0)
                return r;
        check_files(c, f, shown, f->files);
        for (size_t i = 0; i < f->n_apps; i++)
                check_files(c, f, shown, f->apps[i]);
        for (size_t i = 0; table_next(shown, &i, NULL, &value);) {
                const struct shown *s = value, *above = shown_above(shown, s->artifact->path.text);
                if (above)
                        report_shown(c, f, &s->artifact->path.where, s->artifact->path.text, "lies within",
                                     above);
        }
        return 0;
}

/* ---- Versions: does the repository have them? */

static bool driver_takes(int driver, enum artifact_type type) {
        return (driver == APP_DRIVER_PODMAN) == (type == ARTIFACT_OCI);
}

static void check_type(struct compiler *c, const struct app_entry *app, const struct artifact_document *d,
                       const struct artifact *a) {
        int driver = app->document->app->driver;

        if (driver >= 0 && !driver_takes(driver, a->type))
                compiler_error(c, &d->name.where,
                               driver == APP_DRIVER_PODMAN ? "driver podman takes images: --type oci"
                                                           : "an image is for driver podman",
                               "artifact \"%s:%s\" is of type %s, and app \"%s\" has driver %s", a->name,
                               a->version, artifact_type_name(a->type), app->name,
                               app_driver_name((enum app_driver)driver));
}

static void report_unknown(struct compiler *c, const struct artifact_document *d, const char *version,
                           const char *of) {
        char versions[512], way_out[SUGGESTION_SIZE];
        const char *name = d->name.text, *nearest;

        catalog_versions_text(c->catalog, name, versions, sizeof versions);
        (void)snprintf(way_out, sizeof way_out,
                       "push it: skerry artifact push %.128s:%.128s --platform ... PATH", name, version);
        if (*versions) {
                compiler_error(
                        c, &d->version.where, way_out,
                        "artifact \"%.128s\" has no version \"%.128s\" in the repository%s; there are %s",
                        name, version, of, versions);
                return;
        }
        nearest = catalog_nearest_name(c->catalog, name);
        if (nearest)
                (void)snprintf(way_out, sizeof way_out, "did you mean \"%s\"?", nearest);
        compiler_error(c, &d->name.where, way_out, "no artifact \"%.128s\" is in the repository", name);
}

static void check_version(struct compiler *c, const struct app_entry *app, const struct artifact_document *d,
                          const char *version, const char *of) {
        const struct artifact *const *all;
        char way_out[SUGGESTION_SIZE];
        const char *replaced_by;
        size_t n = catalog_find(c->catalog, d->name.text, version, &all);

        if (n == 0) {
                report_unknown(c, d, version, of);
                return;
        }
        check_type(c, app, d, all[0]);
        if (!catalog_is_yanked(c->catalog, d->name.text, version, &replaced_by))
                return;
        if (replaced_by)
                (void)snprintf(way_out, sizeof way_out, "take %.128s instead", replaced_by);
        compiler_warning(c, &d->version.where, replaced_by ? way_out : "take another version",
                         "artifact \"%.128s:%.128s\" was yanked%s", d->name.text, version, of);
}

static bool can_be_checked(const struct artifact_document *d) {
        return d->name.text && d->version.text && artifact_name_is_valid(d->name.text);
}

void check_artifact_versions(struct compiler *c) {
        for (size_t i = 0; i < c->kinds[FLEET_KIND_APP].n_all; i++) {
                const struct app_entry *app = &c->apps[i];
                const struct app_document *d = app->document->app;

                for (size_t j = 0; app->used && j < d->n_artifacts; j++) {
                        const struct artifact_document *a = &d->artifacts[j];
                        if (!c->catalog)
                                compiler_error(c, &a->name.where,
                                               c->why_no_catalog ? NULL : "start it with --repository",
                                               "app \"%s\" names artifacts, and %s", app->name,
                                               c->why_no_catalog ? c->why_no_catalog
                                                                 : "the server has no repository");
                        else if (can_be_checked(a) && !strstr(a->version.text, "${") &&
                                 artifact_version_is_valid(a->version.text))
                                check_version(c, app, a, a->version.text, "");
                        if (!c->catalog)
                                break;
                }
        }
}

/* Each different version once, with the first node that asks for it. What is unknown on a node was told. */
static int check_bound(struct compiler *c, const struct fleet_entry *f, const struct app_entry *app,
                       const struct artifact_document *d) {
        _cleanup_(table_freep) struct table *seen = table_new(NULL);
        _cleanup_(arena_freep) struct arena *arena = arena_new(0);
        static char mark;

        if (!seen || !arena)
                return no_memory(c);
        for (size_t i = 0; i < f->n_nodes; i++) {
                const struct fleet_node *node = &c->nodes[f->nodes[i]];
                struct binding b = {.node_name = node->name, .labels = node->labels};
                _cleanup_(buf_done) struct buf version = {.limit = 4096};
                char of[160];

                if (pairs_merge(arena, &f->document->fleet->template_.variables, &node->variables,
                                &b.variables) < 0)
                        return no_memory(c);
                if (expand_text(d->version.text, strlen(d->version.text), &b, &version, NULL) < 0 ||
                    table_get(seen, buf_str(&version)))
                        continue;
                if (table_set(seen, buf_str(&version), &mark) < 0)
                        return no_memory(c);
                (void)snprintf(of, sizeof of, ", as node %s wants it", node->name);
                if (!artifact_version_is_valid(buf_str(&version)))
                        compiler_error(c, &d->version.where, NULL, "\"%.128s\" is not a version%s",
                                       buf_str(&version), of);
                else
                        check_version(c, app, d, buf_str(&version), of);
        }
        return 0;
}

int check_bound_versions(struct compiler *c, const struct fleet_entry *f) {
        for (size_t i = 0; c->catalog && i < f->n_apps; i++) {
                const struct app_document *d = f->apps[i]->document->app;
                for (size_t j = 0; j < d->n_artifacts; j++)
                        if (can_be_checked(&d->artifacts[j]) && strstr(d->artifacts[j].version.text, "${") &&
                            check_bound(c, f, f->apps[i], &d->artifacts[j]) < 0)
                                return -ENOMEM;
        }
        return 0;
}
