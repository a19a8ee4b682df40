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
