/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/driver/artifacts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/driver/shown_link.h"
#include "base/str.h"

struct artifacts_part;

/* What runs on the worker pool. Owns all it touches: the part may go meanwhile. */
struct artifacts_job {
        struct artifacts_part *part; /* NULL: nobody waits any more */
        struct artifact_store *store;
        struct artifact **artifacts;
        size_t n;
        bool check; /* compare and put back; else only make ready */
        unsigned corrected;
        int error;
        struct err *err;
};

struct artifacts_part {
        struct driver_part part;
        struct desired *desired;
        const struct unit *unit; /* NULL after a removal */
        struct artifacts_job *job;
        driver_done done;
        void *done_arg;
};

bool artifacts_are_shown(const struct unit *unit) {
        return unit && unit->spec->n_artifacts > 0 && unit->spec->driver != APP_DRIVER_PODMAN;
}

static const struct artifact *find(const struct driver_host *host, const struct assigned_artifact *a,
                                   struct err **err) {
        const struct artifact *known =
                host->artifacts ? artifact_store_find(host->artifacts, a->target, a->sha256) : NULL;
        if (!known)
                (void)err_set(err, ENOENT, "artifact %s:%s is not on this node", a->name, a->version);
        return known;
}

/* ---- names */

static bool is_shown_type(const struct artifact *a) {
        return a->type == ARTIFACT_TREE || a->type == ARTIFACT_FILE;
}

static int join_beneath(const char *folder, const char *name, char **ret, struct err **err) {
        while (str_has_prefix(name, "./"))
                name += 2;
        if (!path_is_beneath(name))
                return err_set(err, EXDEV, "'%s' leads out of its artifact", name);
        *ret = path_join(folder, name);
        return *ret ? 0 : err_set_errno(err, ENOMEM, "%s", name);
}

static int resolve_relative(const struct driver_host *host, const struct unit *unit, const char *name,
                            char **ret, struct err **err) {
        for (size_t i = 0; i < unit->spec->n_artifacts; i++) {
                const struct artifact *a = find(host, &unit->artifacts[i], err);
                if (!a)
                        return -ENOENT;
                if (!is_shown_type(a))
                        continue;
                _cleanup_(x_freep) char *folder = artifact_store_folder(host->artifacts, a);
                if (!folder)
                        return err_set_errno(err, ENOMEM, "%s", name);
                if (str_eq(name, ".") || str_eq(name, "./")) {
                        *ret = TAKE_PTR(folder);
                        return 0;
                }
                return join_beneath(folder, name, ret, err);
        }
        return 0;
}

static int resolve_below_path(const struct driver_host *host, const struct unit *unit, const char *name,
                              char **ret, struct err **err) {
        for (size_t i = 0; i < unit->spec->n_artifacts; i++) {
                const char *path = unit->spec->artifacts[i].path;
                const char *rest = path ? str_after_prefix(name, path) : NULL;
                if (!rest || (*rest && *rest != '/'))
                        continue;
                const struct artifact *a = find(host, &unit->artifacts[i], err);
                if (!a)
                        return -ENOENT;
                _cleanup_(x_freep) char *place = artifact_store_place(host->artifacts, a);
                while (*rest == '/')
                        rest++;
                if (!place)
                        return err_set_errno(err, ENOMEM, "%s", name);
                if (*rest)
                        return join_beneath(place, rest, ret, err);
                *ret = TAKE_PTR(place);
                return 0;
        }
        return 0;
}

int artifacts_resolve(const struct driver_host *host, const struct unit *unit, const char *name, char **ret,
                      struct err **err) {
        *ret = NULL;
        if (!unit || unit->spec->n_artifacts == 0)
                return 0;
        return name[0] == '/' ? resolve_below_path(host, unit, name, ret, err)
                              : resolve_relative(host, unit, name, ret, err);
}

/* ---- jobs */

static struct artifacts_job *job_free(struct artifacts_job *j) {
        if (!j)
                return NULL;
        for (size_t i = 0; i < j->n; i++)
                artifact_free(j->artifacts[i]);
        free(j->artifacts);
        err_free(j->err);
        free(j);
        return NULL;
}
DEFINE_CLEANUP(struct artifacts_job, job_free)

static int job_new(const struct artifacts_part *p, bool check, struct artifacts_job **ret, struct err **err) {
        _cleanup_(job_freep) struct artifacts_job *j = calloc(1, sizeof(*j));
        const struct app_spec *spec = p->unit->spec;
        if (!j || !(j->artifacts = calloc(spec->n_artifacts + 1, sizeof(*j->artifacts))))
                return err_set_errno(err, ENOMEM, "artifacts");
        j->store = p->part.host->artifacts;
        j->check = check;
        for (size_t i = 0; i < spec->n_artifacts; i++) {
                const struct artifact *a = find(p->part.host, &p->unit->artifacts[i], err);
                if (!a)
                        return -ENOENT;
                _cleanup_(json_decrefp) json_t *custom = artifact_custom(a);
                int r = custom ? artifact_from_target(p->unit->artifacts[i].target, a->length, a->sha256,
                                                      custom, &j->artifacts[j->n], err)
                               : err_set_errno(err, ENOMEM, "artifacts");
                if (r < 0)
                        return r;
                j->n++;
        }
        *ret = TAKE_PTR(j);
        return 0;
}

static int put_right(struct artifacts_job *j, const struct artifact *a) {
        char first[160] = "";
        unsigned differ = 0;
        int r = 0;
        if (!is_shown_type(a))
                return 0;
        if (j->check) {
                if ((r = artifact_store_check(j->store, a, &differ, first, sizeof(first), &j->err)) < 0)
                        return r;
                if (differ == 0)
                        return 0;
                r = artifact_store_prepare(j->store, a, true, &j->err);
                j->corrected += r == 0 ? differ : 0;
                return r < 0 ? err_wrap_code(&j->err, r, "%u entries had changed, %s first", differ, first)
                             : 0;
        }
        return artifact_store_prepare(j->store, a, false, &j->err);
}

static void work(void *arg) {
        struct artifacts_job *j = arg;
        for (size_t i = 0; j->error == 0 && i < j->n; i++)
                j->error = put_right(j, j->artifacts[i]);
}

/* ---- links */

static int make_links(struct artifacts_part *p, unsigned *ret_changed, struct err **err) {
        const struct app_spec *spec = p->unit->spec;
        for (size_t i = 0; i < spec->n_artifacts; i++) {
                bool changed = false;
                if (!spec->artifacts[i].path)
                        continue;
                const struct artifact *a = find(p->part.host, &p->unit->artifacts[i], err);
                if (!a)
                        return -ENOENT;
                if (!is_shown_type(a))
                        return err_set(err, EINVAL,
                                       "artifact %s:%s is of type %s: only a tree or a file can have a path",
                                       a->name, a->version, artifact_type_name(a->type));
                _cleanup_(x_freep) char *place = artifact_store_place(p->part.host->artifacts, a);
                int r = place ? shown_link_put(p->part.host->sysroot, spec->artifacts[i].path, place,
                                               &changed, err)
                              : err_set_errno(err, ENOMEM, "link");
                if (r < 0)
                        return r;
                *ret_changed += changed;
        }
        return 0;
}

/* ---- operations */

static void end(struct artifacts_part *p, int error, const struct err *err, unsigned corrected) {
        driver_done done = p->done;
        p->done = NULL;
        done(p->done_arg, &(struct driver_outcome){.error = error,
                                                   .message = error < 0 ? err_message(err) : NULL,
                                                   .corrected = corrected});
}

static void work_done(void *arg) {
        _cleanup_(job_freep) struct artifacts_job *j = arg;
        struct artifacts_part *p = j->part;
        unsigned linked = 0;
        if (!p)
                return;
        p->job = NULL;
        if (j->error == 0)
                j->error = make_links(p, &linked, &j->err);
        end(p, j->error, j->err, j->check ? j->corrected + linked : 0);
}

static void begin(struct artifacts_part *p, bool check, driver_done done, void *arg) {
        _cleanup_(err_freep) struct err *err = NULL;
        p->done = done;
        p->done_arg = arg;
        if (!p->unit) {
                end(p, 0, NULL, 0);
                return;
        }
        int r = job_new(p, check, &p->job, &err);
        if (r == 0) {
                p->job->part = p;
                r = loop_work(p->part.host->loop, work, work_done, p->job);
                if (r < 0)
                        p->job = job_free(p->job);
        }
        if (r < 0)
                end(p, r, err, 0);
}

static void artifacts_apply(struct driver_part *part, driver_done done, void *arg) {
        begin((struct artifacts_part *)part, false, done, arg);
}

static void artifacts_check(struct driver_part *part, driver_done done, void *arg) {
        begin((struct artifacts_part *)part, true, done, arg);
}

static void artifacts_stop(struct driver_part *part, driver_done done, void *arg) {
        (void)part;
        driver_finish(done, arg, 0, NULL);
}

static void artifacts_remove(struct driver_part *part, driver_done done, void *arg) {
        struct artifacts_part *p = (struct artifacts_part *)part;
        p->unit = NULL;
        driver_finish(done, arg, 0, NULL);
}

static struct driver_part *artifacts_free(struct driver_part *part) {
        struct artifacts_part *p = (struct artifacts_part *)part;
        if (p->job)
                p->job->part = NULL;
        desired_free(p->desired);
        free(p);
        return NULL;
}

static int artifacts_new(const struct driver_host *host, const struct driver_app *app,
                         const struct driver_listener *listener, struct driver_part **ret, struct err **err) {
        struct artifacts_part *p = calloc(1, sizeof(*p));
        if (!p)
                return err_set_errno(err, ENOMEM, "app %s", app->name);
        p->part = (struct driver_part){.driver = &artifacts_driver, .host = host, .listener = *listener};
        p->unit = app->unit;
        p->desired = app->unit ? desired_ref(app->desired) : NULL;
        *ret = &p->part;
        return 0;
}

const struct driver artifacts_driver = {
        .name = "artifacts",
        .kind = APP_DRIVER_FILES, /* never looked up by it */
        .part_new = artifacts_new,
        .apply = artifacts_apply,
        .restart = artifacts_apply,
        .stop = artifacts_stop,
        .remove = artifacts_remove,
        .check = artifacts_check,
        .part_free = artifacts_free,
};
