/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/driver/podman_images.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/command.h"
#include "base/str.h"
#include "codec/json.h"
#include "repo/payload.h"

#define IMAGES_FORMAT 1
#define IMAGES_FILE_MAX ((size_t)1 << 20)
#define IMAGES_COMMAND_MS 60000
#define IMAGES_LOAD_MS (20 * 60000)
#define IMAGES_ARGUMENTS_MAX 32
#define IMAGES_REMOVED_AT_ONCE 8

/* Reading an archive blocks: on the worker pool, with all it touches its own. */
struct summary_job {
        struct podman_images *owner; /* NULL: gone */
        const struct artifact_store *store;
        char sha256[65];
        struct oci_summary summary;
        int error;
        struct err *err;
};

struct podman_images {
        const struct driver_host *host;
        const struct unit *unit; /* NULL: tidying */
        size_t at;
        podman_images_done done;
        void *arg;
        struct command *command;
        struct summary_job *job;
        struct loop_timer *timer;
        char id[65];
        char *reference;
        char **gone; /* being removed */
};

static char *list_path(const struct driver_host *host) {
        return str_format("%s/podman/images.json", host->state);
}

/* References that were loaded; an empty list where nothing reads. */
static json_t *read_list(const struct driver_host *host) {
        _cleanup_(x_freep) char *path = list_path(host), *text = NULL;
        _cleanup_json_ json_t *j = NULL;
        size_t len;
        if (path && file_read(path, IMAGES_FILE_MAX, &text, &len, NULL) == 0 &&
            json_decode(text, len, &j, NULL) == 0 && json_is_array(json_object_get(j, "images")))
                return json_incref(json_object_get(j, "images"));
        return json_array();
}

static int write_list(const struct driver_host *host, json_t *images, struct err **err) {
        _cleanup_json_ json_t *j = json_pack("{s:i, s:O}", "format", IMAGES_FORMAT, "images", images);
        _cleanup_(x_freep) char *path = list_path(host), *text = j ? json_encode_compact(j) : NULL;
        if (!path || !text)
                return err_set_errno(err, ENOMEM, "podman images");
        return file_write_atomic(path, text, strlen(text), 0600, err);
}

static bool has_reference(const json_t *images, const char *reference) {
        const json_t *item;
        size_t i;
        json_array_foreach (images, i, item)
                if (str_eq(json_string_value(item), reference))
                        return true;
        return false;
}

struct podman_images *podman_images_free(struct podman_images *p) {
        if (!p)
                return NULL;
        if (p->job)
                p->job->owner = NULL;
        command_free(p->command);
        if (p->timer)
                loop_timer_free(p->timer);
        strv_free(p->gone);
        free(p->reference);
        free(p);
        return NULL;
}

static void end(struct podman_images *p, int error, const char *message) {
        p->done(p->arg, error, message); /* may free p */
}

/* ---- running podman */

struct arguments {
        const char *v[IMAGES_ARGUMENTS_MAX];
        size_t n;
        char *store;
};
static void arguments_done(struct arguments *a) {
        free(a->store);
}

static void add(struct arguments *a, const char *text) {
        if (text && a->n < IMAGES_ARGUMENTS_MAX - 1)
                a->v[a->n++] = text;
}

static void add_option(struct arguments *a, const char *option, const char *value) {
        if (value) {
                add(a, option);
                add(a, value);
        }
}

static void begin_arguments(const struct driver_host *host, struct arguments *a) {
        const struct podman_settings *s = &host->podman;
        add(a, s->program);
        add_option(a, "--root", s->root);
        add_option(a, "--runroot", s->runroot);
        add_option(a, "--storage-driver", s->storage_driver);
        if (s->image_store && (a->store = str_format(".imagestore=%s", s->image_store)))
                add_option(a, "--storage-opt", a->store);
}

static int run(struct podman_images *p, struct arguments *a, msec_t timeout_ms,
               void (*done)(void *arg, const struct command_result *r), struct err **err) {
        struct command_request request = {
                .path = p->host->podman.program, .arguments = a->v, .timeout_ms = timeout_ms};
        a->v[a->n] = NULL;
        int r = command_start(p->host->loop, &request, done, p, &p->command, err);
        if (r == -ENOENT)
                return err_set(err, ENOENT,
                               "podman is not installed (no program '%s'); install the package podman",
                               a->v[0]);
        return r;
}

static void run_or_end(struct podman_images *p, struct arguments *a, msec_t timeout_ms,
                       void (*done)(void *arg, const struct command_result *r)) {
        _cleanup_(err_freep) struct err *err = NULL;
        int r = run(p, a, timeout_ms, done, &err);
        if (r < 0)
                end(p, r, err_message(err));
}

/* ---- loading: summary, is it there, load, tag */

static void load_next(void *arg);

static void fail_artifact(struct podman_images *p, int error, const char *message) {
        const struct app_artifact *a = &p->unit->spec->artifacts[p->at];
        char text[512];
        (void)snprintf(text, sizeof(text), "artifact %s:%s: %s", a->name, a->version, message);
        end(p, error, text);
}

static void tagged(void *arg, const struct command_result *r) {
        struct podman_images *p = arg;
        p->command = NULL;
        if (r->error) {
                fail_artifact(p, r->error, r->message);
                return;
        }
        p->at++;
        load_next(p);
}

static void tag(struct podman_images *p) {
        _cleanup_(arguments_done) struct arguments a = {.n = 0};
        begin_arguments(p->host, &a);
        add(&a, "tag");
        add(&a, p->id);
        add(&a, p->reference);
        run_or_end(p, &a, IMAGES_COMMAND_MS, tagged);
}

static void loaded(void *arg, const struct command_result *r) {
        struct podman_images *p = arg;
        p->command = NULL;
        if (r->error)
                fail_artifact(p, r->error, r->message);
        else
                tag(p);
}

static void looked(void *arg, const struct command_result *r) {
        struct podman_images *p = arg;
        p->command = NULL;
        if (r->error == 0) {
                tag(p);
                return;
        }
        if (r->exit_status != 1) { /* 1: it is not there */
                fail_artifact(p, r->error, r->message);
                return;
        }
        _cleanup_(arguments_done) struct arguments a = {.n = 0};
        _cleanup_(x_freep) char *payload =
                artifact_store_payload(p->host->artifacts, p->unit->artifacts[p->at].sha256);
        begin_arguments(p->host, &a);
        add(&a, "load");
        add(&a, "--quiet");
        add_option(&a, "--input", payload);
        run_or_end(p, &a, IMAGES_LOAD_MS, loaded);
}

/* Written down before it is loaded, so that it can always be found to be removed. */
static int remember(struct podman_images *p, struct err **err) {
        const struct app_artifact *a = &p->unit->spec->artifacts[p->at];
        _cleanup_json_ json_t *images = read_list(p->host);
        free(p->reference);
        p->reference = str_format("localhost/%s:%s", a->name, a->version);
        if (!p->reference || !images)
                return err_set_errno(err, ENOMEM, "podman images");
        if (has_reference(images, p->reference))
                return 0;
        if (json_array_append_new(images, json_string(p->reference)) < 0)
                return err_set_errno(err, ENOMEM, "podman images");
        return write_list(p->host, images, err);
}

static void summary_work(void *arg) {
        struct summary_job *j = arg;
        _cleanup_(x_closep) int fd = artifact_store_open_payload(j->store, j->sha256);
        j->error = fd < 0 ? err_set_errno(&j->err, -fd, "open its payload")
                          : payload_oci_summary(fd, &j->summary, &j->err);
}

static void summary_done(void *arg) {
        struct summary_job *j = arg;
        struct podman_images *p = j->owner;
        _cleanup_(err_freep) struct err *err = TAKE_PTR(j->err);
        int error = j->error;
        if (p) {
                p->job = NULL;
                memcpy(p->id, j->summary.config_sha256, sizeof(p->id));
        }
        free(j);
        if (!p)
                return;
        if (error == 0)
                error = remember(p, &err);
        if (error < 0) {
                fail_artifact(p, error, err_message(err));
                return;
        }
        _cleanup_(arguments_done) struct arguments a = {.n = 0};
        begin_arguments(p->host, &a);
        add(&a, "image");
        add(&a, "exists");
        add(&a, p->id);
        run_or_end(p, &a, IMAGES_COMMAND_MS, looked);
}

static int start_summary(struct podman_images *p, struct err **err) {
        const struct assigned_artifact *want = &p->unit->artifacts[p->at];
        const struct artifact *a =
                p->host->artifacts ? artifact_store_find(p->host->artifacts, want->target, want->sha256)
                                   : NULL;
        if (!a)
                return err_set(err, ENOENT, "it is not on this node");
        if (a->type != ARTIFACT_OCI)
                return err_set(err, EINVAL, "it is of type %s, not oci: podman cannot run it",
                               artifact_type_name(a->type));
        struct summary_job *j = calloc(1, sizeof(*j));
        if (!j)
                return err_set_errno(err, ENOMEM, "podman images");
        j->owner = p;
        j->store = p->host->artifacts;
        memcpy(j->sha256, a->sha256, sizeof(j->sha256));
        int r = loop_work(p->host->loop, summary_work, summary_done, j);
        if (r < 0) {
                free(j);
                return err_set_errno(err, -r, "podman images");
        }
        p->job = j;
        return 0;
}

static void load_next(void *arg) {
        struct podman_images *p = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        if (p->at >= p->unit->spec->n_artifacts) {
                end(p, 0, NULL);
                return;
        }
        int r = start_summary(p, &err);
        if (r < 0)
                fail_artifact(p, r, err_message(err));
}

static int make(const struct driver_host *host, void (*begin)(void *arg), podman_images_done done, void *arg,
                struct podman_images **ret, struct err **err) {
        struct podman_images *p = calloc(1, sizeof(*p));
        if (!p)
                return err_set_errno(err, ENOMEM, "podman images");
        p->host = host;
        p->done = done;
        p->arg = arg;
        p->timer = loop_timer_new(host->loop, begin, p);
        if (!p->timer) {
                free(p);
                return err_set_errno(err, ENOMEM, "podman images");
        }
        loop_timer_set(p->timer, 0);
        *ret = p;
        return 0;
}

int podman_images_load(const struct driver_host *host, const struct unit *unit, podman_images_done done,
                       void *arg, struct podman_images **ret, struct err **err) {
        int r = make(host, load_next, done, arg, ret, err);
        if (r == 0)
                (*ret)->unit = unit;
        return r;
}

/* ---- tidying */

struct naming {
        const char *reference;
        bool named;
};

static void look_in_source(void *arg, const struct source *s) {
        struct naming *n = arg;
        const json_t *item;
        size_t i;
        json_array_foreach (s->artifacts, i, item) {
                _cleanup_(x_freep) char *reference =
                        str_format("localhost/%s:%s", json_string_value(json_object_get(item, "name")),
                                   json_string_value(json_object_get(item, "version")));
                n->named = n->named || !reference || str_eq(reference, n->reference);
        }
}

static bool is_named(const struct driver_host *host, const char *reference) {
        struct naming n = {.reference = reference};
        ledger_sources(host->ledger, look_in_source, &n);
        return n.named || (host->artifacts && artifact_store_holds_image(host->artifacts, reference));
}

static void removed(void *arg, const struct command_result *r) {
        struct podman_images *p = arg;
        _cleanup_json_ json_t *images = read_list(p->host), *left = json_array();
        const json_t *item;
        size_t i;
        p->command = NULL;
        /* One that is in use by something of somebody else's, or gone already: no more ours either way. */
        (void)r;
        json_array_foreach (images, i, item)
                if (!strv_has(p->gone, json_string_value(item)))
                        (void)json_array_append(left, (json_t *)item);
        (void)write_list(p->host, left, NULL);
        end(p, 0, NULL);
}

static void remove_gone(void *arg) {
        struct podman_images *p = arg;
        _cleanup_(arguments_done) struct arguments a = {.n = 0};
        begin_arguments(p->host, &a);
        add(&a, "rmi");
        add(&a, "--ignore");
        for (size_t i = 0; p->gone[i]; i++)
                add(&a, p->gone[i]);
        run_or_end(p, &a, IMAGES_COMMAND_MS, removed);
}

int podman_images_tidy(const struct driver_host *host, podman_images_done done, void *arg,
                       struct podman_images **ret, struct err **err) {
        _cleanup_json_ json_t *images = read_list(host);
        _cleanup_(strv_freep) char **gone = NULL;
        const json_t *item;
        size_t i;
        json_array_foreach (images, i, item) {
                const char *reference = json_string_value(item);
                if (reference && strv_len(gone) < IMAGES_REMOVED_AT_ONCE && !is_named(host, reference) &&
                    strv_push(&gone, reference) < 0)
                        return err_set_errno(err, ENOMEM, "podman images");
        }
        *ret = NULL;
        if (!gone)
                return 0;
        int r = make(host, remove_gone, done, arg, ret, err);
        if (r == 0)
                (*ret)->gone = TAKE_PTR(gone);
        return r;
}
