/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/import.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/assignment.h"
#include "base/str.h"
#include "codec/json.h"
#include "crypto/digest.h"

#define IMPORT_ARTIFACTS_MAX 1024
#define IMPORT_BUSY_MS 300
#define IMPORT_BUSY_TURNS 100

struct candidate {
        char *target;
        struct artifact *artifact;
};

struct import {
        struct import_host host;
        struct root_dir *folder;
        struct repository_sources *sources;
        struct candidate *candidates;
        size_t n_candidates, at;
        struct artifact_fetch *fetch;
        struct loop_timer *timer;
        void (*next)(struct import *i); /* step that the timer begins */
        unsigned busy_turns;
        bool asking;
        struct assignment *assignment;
        unsigned n_taken, n_there, n_failed, n_objects;
        char problem[512]; /* the first */
};

static void import_ask(struct import *i);
static void import_list(struct import *i);
static void import_artifact(struct import *i);
static void import_objects(struct import *i);
static void import_assignment(struct import *i);

static void say(struct import *i, const char *format, ...) _printf_(2, 3);
static void say(struct import *i, const char *format, ...) {
        char line[512];
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(line, sizeof(line), format, ap);
        va_end(ap);
        i->host.say(i->host.report_arg, line);
}

static void end(struct import *i, int error, const char *message) {
        i->host.done(i->host.report_arg, error, message); /* may free i */
}

static void go_on(struct import *i, void (*next)(struct import *i), msec_t in_ms) {
        i->next = next;
        loop_timer_set(i->timer, in_ms);
}

static void on_timer(void *arg) {
        struct import *i = arg;
        i->next(i);
}

static void note_problem(struct import *i, const char *message) {
        i->n_failed++;
        if (!*i->problem)
                (void)snprintf(i->problem, sizeof(i->problem), "%s", message);
        say(i, "not taken: %s", message);
}

/* ---- artifacts */

static bool folder_has(const struct import *i, char *path) {
        _cleanup_(x_freep) char *owned = path;
        if (!owned)
                return false;
        _cleanup_(x_closep) int fd = root_dir_openat(i->folder, owned, O_PATH, 0);
        return fd >= 0;
}

/* An export holds part of what the metadata lists. */
static bool is_carried(const struct import *i, const struct candidate *c) {
        const char *digest = c->artifact->sha256;
        return folder_has(i, repository_target_file(c->target, digest)) ||
               folder_has(i, repository_delta_list(digest)) || folder_has(i, repository_chunk_index(digest));
}

static void add_candidate(void *arg, const char *target, const struct artifact *a) {
        struct import *i = arg;
        _cleanup_json_ json_t *custom = artifact_custom(a);
        struct candidate c = {0};
        if (i->n_candidates == IMPORT_ARTIFACTS_MAX || !custom || !(c.target = str_dup(target)) ||
            artifact_from_target(target, a->length, a->sha256, custom, &c.artifact, NULL) < 0) {
                free(c.target);
                return;
        }
        struct candidate *more = NULL;
        if (is_carried(i, &c))
                more = reallocarray(i->candidates, i->n_candidates + 1, sizeof(*more));
        if (!more) {
                artifact_free(c.artifact);
                free(c.target);
                return;
        }
        i->candidates = more;
        i->candidates[i->n_candidates++] = c;
}

static void listed(void *arg, int error, const char *message) {
        struct import *i = arg;
        i->asking = false;
        repository_use_sources(i->host.delivery.repository, NULL);
        if (error < 0) {
                end(i, error, message);
                return;
        }
        go_on(i, import_artifact, 0);
}

/* The agent may be asking the repository at this moment. */
static void try_again(struct import *i, void (*next)(struct import *i), const struct err *err) {
        repository_use_sources(i->host.delivery.repository, NULL);
        if (err_code(err) == -EBUSY && i->busy_turns++ < IMPORT_BUSY_TURNS)
                go_on(i, next, IMPORT_BUSY_MS);
        else
                end(i, err_code(err), err_message(err));
}

static void import_list(struct import *i) {
        _cleanup_(err_freep) struct err *err = NULL;
        if (repository_is_busy(i->host.delivery.repository)) {
                (void)err_set(&err, EBUSY, "the agent goes on asking the repository");
                try_again(i, import_list, err);
                return;
        }
        repository_use_sources(i->host.delivery.repository, i->sources);
        if (repository_list(i->host.delivery.repository, add_candidate, listed, i, &err) < 0)
                try_again(i, import_list, err);
        else
                i->asking = true;
}

static void artifact_done(void *arg) {
        struct import *i = arg;
        const struct artifact *a = i->candidates[i->at].artifact;
        struct artifact_fetch_progress p;
        artifact_fetch_progress(i->fetch, &p);
        i->fetch = artifact_fetch_free(i->fetch);
        if (p.way == FETCH_NOTHING)
                i->n_there++;
        else
                i->n_taken++;
        say(i, "artifact %s:%s (%s): %s, %" PRId64 " of %" PRId64 " bytes read", a->name, a->version,
            a->platform, fetch_way_name(p.way), p.fetched, p.total);
        i->at++;
        go_on(i, import_artifact, 0);
}

static void artifact_delayed(void *arg, const char *message) {
        struct import *i = arg;
        say(i, "waiting: %s", message);
}

static void artifact_failed(void *arg, int error, const char *message) {
        struct import *i = arg;
        const struct artifact *a = i->candidates[i->at].artifact;
        char text[512];
        (void)error;
        (void)snprintf(text, sizeof(text), "artifact %s:%s: %s", a->name, a->version, message);
        i->fetch = artifact_fetch_free(i->fetch);
        note_problem(i, text);
        i->at++;
        go_on(i, import_artifact, 0);
}

static void artifact_changed(void *arg) {
        (void)arg;
}

static void import_artifact(struct import *i) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct artifact_fetch_host host = i->host.delivery.artifact;
        struct artifact_fetch_listener listener = {.done = artifact_done,
                                                   .delayed = artifact_delayed,
                                                   .failed = artifact_failed,
                                                   .changed = artifact_changed,
                                                   .arg = i};
        if (i->at == i->n_candidates) {
                go_on(i, import_objects, 0);
                return;
        }
        const struct candidate *c = &i->candidates[i->at];
        host.sources = i->sources;
        host.once = true;
        host.limit = NULL; /* no link is used */
        host.budget_left = NULL;
        host.never_full = false;
        host.make_room = NULL;
        if (artifact_store_describe(i->host.delivery.artifacts, c->target, c->artifact, &err) < 0 ||
            artifact_fetch_new(&host, c->target, c->artifact, &listener, &i->fetch, &err) < 0) {
                note_problem(i, err_message(err));
                i->at++;
                go_on(i, import_artifact, 0);
        }
}

/* ---- objects and the assignment */

static int take_object(void *arg, const char *path, const struct stat *st) {
        struct import *i = arg;
        const char *slash = strrchr(path, '/'), *digest = slash ? slash + 1 : path;
        _cleanup_(x_freep) char *data = NULL;
        size_t len;
        if (!S_ISREG(st->st_mode) || !sha256_hex_is_valid(digest) ||
            object_store_has(i->host.delivery.fetch.objects, digest))
                return 0;
        if (root_dir_read(i->folder, path, APP_FILE_MAX, &data, &len, NULL, NULL) == 0 &&
            object_store_put(i->host.delivery.fetch.objects, digest, data, len, NULL) == 0)
                i->n_objects++;
        return 0;
}

static void import_objects(struct import *i) {
        _cleanup_(err_freep) struct err *err = NULL;
        int r = root_dir_walk(i->folder, "objects", take_object, i, &err);
        if (r < 0 && r != -ENOENT)
                note_problem(i, err_message(err));
        if (i->host.assign)
                import_assignment(i);
        else
                import_ask(i);
}

/* The revision is a target too, where it was released. */
static void take_revision(struct import *i, const struct assignment *a) {
        _cleanup_(x_freep) char *target = str_format("revisions/%s/%s.json", a->fleet, a->revision);
        _cleanup_(x_freep) char *path = target ? repository_target_file(target, a->revision) : NULL,
                                *data = NULL;
        size_t len;
        if (path && root_dir_read(i->folder, path, REVISION_MAX, &data, &len, NULL, NULL) == 0 &&
            object_store_put(i->host.delivery.fetch.objects, a->revision, data, len, NULL) == 0)
                i->n_objects++;
}

static void import_assignment(struct import *i) {
        _cleanup_(x_freep) char *path = str_format("assignments/%s.json", i->host.delivery.node),
                                *data = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_json_ json_t *document = NULL;
        size_t len;
        int r = path ? root_dir_read(i->folder, path, ASSIGNMENT_MAX * 2, &data, &len, NULL, &err) : -ENOMEM;
        if (r == -ENOENT) {
                import_ask(i);
                return;
        }
        if (r == 0)
                r = json_decode(data, len, &document, &err);
        if (r == 0)
                r = assignment_parse(document, &i->assignment, &err);
        if (r < 0) {
                (void)err_wrap(&err, "%s", path);
                note_problem(i, err_message(err));
        } else if (i->assignment->revision && i->assignment->fleet) {
                take_revision(i, i->assignment);
        }
        import_ask(i);
}

static void finish(struct import *i) {
        _cleanup_(err_freep) struct err *err = NULL;
        char text[768], assigned[96] = "";
        if (i->assignment && i->host.assign) {
                int r = i->host.assign(i->host.arg, i->assignment->document, &err);
                if (r < 0 && r != -EALREADY)
                        note_problem(i, err_message(err));
                else
                        (void)snprintf(assigned, sizeof(assigned), "; assignment %" PRId64 "%s",
                                       i->assignment->version, r == -EALREADY ? " was held already" : "");
        }
        if (i->host.arrived)
                i->host.arrived(i->host.arg);
        (void)snprintf(text, sizeof(text), "artifacts taken: %u, there already: %u, objects: %u%s",
                       i->n_taken, i->n_there, i->n_objects, assigned);
        say(i, "%s", text);
        if (i->n_failed > 0)
                end(i, -EBADMSG, i->problem);
        else
                end(i, 0, NULL);
}

static void word_given(void *arg, int error, const char *message) {
        struct import *i = arg;
        i->asking = false;
        repository_use_sources(i->host.delivery.repository, NULL);
        /* Not for us to judge: the delivery says it where people look for it. Here it is told as well. */
        if (error < 0)
                say(i, "the assignment does not fit yet: %s", message);
        finish(i);
}

/* Lets the image role vouch, from the folder, for what the assignment gives. */
static void import_ask(struct import *i) {
        _cleanup_(err_freep) struct err *err = NULL;
        const struct assignment *a = i->assignment;
        if (!a || !a->revision || !a->fleet) {
                finish(i);
                return;
        }
        struct repository_question q = {.artifacts = a->artifacts,
                                        .revision = a->revision,
                                        .revision_length = a->revision_length,
                                        .fleet = a->fleet};
        if (repository_is_busy(i->host.delivery.repository)) {
                (void)err_set(&err, EBUSY, "the agent goes on asking the repository");
                try_again(i, import_ask, err);
                return;
        }
        repository_use_sources(i->host.delivery.repository, i->sources);
        if (repository_ask(i->host.delivery.repository, &q, word_given, i, &err) < 0)
                try_again(i, import_ask, err);
        else
                i->asking = true;
}

/* ---- making and freeing */

int import_start(const struct import_host *host, const char *folder, struct import **ret, struct err **err) {
        struct import *i = calloc(1, sizeof(*i));
        struct loop *l = host->delivery.fetch.loop;
        int r;
        if (!i)
                return err_set_errno(err, ENOMEM, "import");
        i->host = *host;
        i->timer = loop_timer_new(l, on_timer, i);
        r = i->timer ? root_dir_open(folder, &i->folder, err) : err_set_errno(err, ENOMEM, "import");
        if (r == 0)
                r = repository_sources_new_folder(l, folder, &i->sources, err);
        if (r == 0 && !repository_is_configured(host->delivery.repository))
                r = err_set(err, ENOKEY, "%s", REPOSITORY_UNCONFIGURED);
        if (r < 0) {
                import_free(i);
                return err_wrap_code(err, r, "import %s", folder);
        }
        go_on(i, import_list, 0);
        *ret = i;
        return 0;
}

struct import *import_free(struct import *i) {
        if (!i)
                return NULL;
        if (i->asking) {
                repository_cancel(i->host.delivery.repository);
                repository_use_sources(i->host.delivery.repository, NULL);
        }
        artifact_fetch_free(i->fetch);
        if (i->timer)
                loop_timer_free(i->timer);
        for (size_t k = 0; k < i->n_candidates; k++) {
                artifact_free(i->candidates[k].artifact);
                free(i->candidates[k].target);
        }
        free(i->candidates);
        assignment_free(i->assignment);
        repository_sources_free(i->sources);
        root_dir_free(i->folder);
        free(i);
        return NULL;
}
