/* SPDX-License-Identifier: Apache-2.0 */
/* Pods by `podman kube play`: Kubernetes manifests without a cluster.
 *
 * An operation is a list of steps, each one podman command or a look at what an earlier one printed; a
 * failed command ends it with the last line podman printed. The manifests as played lie in
 * <state>/podman/<app>.yaml. What runs is found by labels, so a restarted agent knows it again. Containers
 * are watched by the pidfd of their first process; podman itself restarts them by the pod's restart
 * policy, and only what stays down, or keeps falling over, is told to the app. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/command.h"
#include "agent/driver/driver.h"
#include "agent/driver/output.h"
#include "agent/driver/podman_images.h"
#include "agent/driver/podman_manifest.h"
#include "agent/proc.h"
#include "agent/state_file.h"
#include "base/buf.h"
#include "base/str.h"
#include "codec/json.h"

#define PODMAN_OUTPUT_MAX ((size_t)4 << 20)
#define PODMAN_MANIFEST_MAX ((size_t)16 << 20)
#define PODMAN_COMMAND_MS 60000
#define PODMAN_ARGUMENTS_MAX 64
#define PODMAN_WATCHES_MAX 64
/* After the start of a pod, and after the end of a container: how long podman gets before we look. */
#define PODMAN_SETTLE_MS 300
#define PODMAN_LOOK_MS 1000
/* Containers that end this often in a row, each time within the limit, do not run. */
#define PODMAN_ENDS_MAX 3
#define PODMAN_ENDS_MS 30000

struct podman_part;
struct container_watch {
        struct podman_part *part;
        int pidfd;
        uv_poll_t *poll;
        char name[128];
};

/* A step begins something and returns; its end calls next() or fail(). */
typedef void (*podman_step)(struct podman_part *p);

struct podman_part {
        struct driver_part part;
        char *app;
        struct desired *desired;
        const struct unit *unit; /* NULL: only to stop and remove */
        msec_t stop_timeout_ms;
        char *manifest_path, *secret_path;

        bool taking_down;         /* the operation is a stop or a removal */
        const podman_step *steps; /* of the operation under way, ended by NULL; NULL: none */
        driver_done done;
        void *done_arg;
        struct command *command;
        struct podman_images *images;
        void (*command_done)(struct podman_part *p, const struct command_result *r);
        struct loop_timer *settle;
        struct podman_plan plan;
        bool old_podman; /* before 4.4 */
        size_t at;       /* volume or secret */
        json_t *existing_volumes;
        json_t *pods;         /* ids to remove */
        json_t *secrets_gone; /* names to remove */
        struct podman_verdict verdict;

        bool looking; /* a look of our own, between operations */
        struct loop_timer *look;
        unsigned ends;
        msec_t ended_at;
        char ended[128];     /* container that ended last; "" when its output was asked for */
        char last_line[192]; /* that it printed */
        struct container_watch watches[PODMAN_WATCHES_MAX];
        size_t n_watches;
};

/* ---- running podman */

struct arguments {
        const char *v[PODMAN_ARGUMENTS_MAX];
        size_t n;
        char *allocated[2];
};

static void arguments_done(struct arguments *a) {
        for (size_t i = 0; i < ARRAY_SIZE(a->allocated); i++)
                free(a->allocated[i]);
}

static void add(struct arguments *a, const char *text) {
        if (a->n < PODMAN_ARGUMENTS_MAX - 1)
                a->v[a->n++] = text;
}

static void add_option(struct arguments *a, const char *option, const char *value) {
        if (value) {
                add(a, option);
                add(a, value);
        }
}

static void begin_arguments(const struct podman_part *p, struct arguments *a) {
        const struct podman_settings *s = &p->part.host->podman;
        add(a, s->program);
        add_option(a, "--root", s->root);
        add_option(a, "--runroot", s->runroot);
        add_option(a, "--storage-driver", s->storage_driver);
        if (s->image_store && (a->allocated[0] = str_format(".imagestore=%s", s->image_store)))
                add_option(a, "--storage-opt", a->allocated[0]);
}

static void fail(struct podman_part *p, int error, const char *message);
static void operation_end(struct podman_part *p, int error, const char *message);

static void on_command(void *arg, const struct command_result *r) {
        struct podman_part *p = arg;
        p->command = NULL;
        p->command_done(p, r);
}

static int run(struct podman_part *p, struct arguments *a, msec_t timeout_ms,
               void (*done)(struct podman_part *p, const struct command_result *r), struct err **err) {
        struct command_request request = {.path = p->part.host->podman.program,
                                          .arguments = a->v,
                                          .timeout_ms = timeout_ms,
                                          .output_limit = PODMAN_OUTPUT_MAX};
        a->v[a->n] = NULL;
        p->command_done = done;
        int r = command_start(p->part.host->loop, &request, on_command, p, &p->command, err);
        if (r == -ENOENT)
                return err_set(err, ENOENT,
                               "podman is not installed (no program '%s'); install the package podman",
                               a->v[0]);
        return r;
}

static void run_step(struct podman_part *p, struct arguments *a, msec_t timeout_ms,
                     void (*done)(struct podman_part *p, const struct command_result *r)) {
        _cleanup_(err_freep) struct err *err = NULL;
        int r = run(p, a, timeout_ms, done, &err);
        if (r == -ENOENT && p->taking_down)
                operation_end(p, 0, NULL); /* without podman nothing of it runs */
        else if (r < 0)
                fail(p, r, err_message(err));
}

/* ---- steps */

static void operation_end(struct podman_part *p, int error, const char *message) {
        driver_done done = p->done;
        void *arg = p->done_arg;
        p->steps = NULL;
        p->done = NULL;
        podman_plan_done(&p->plan);
        driver_finish(done, arg, error, message);
}

static void fail(struct podman_part *p, int error, const char *message) {
        operation_end(p, error, message);
}

static void next(struct podman_part *p) {
        podman_step step = *p->steps;
        if (!step) {
                operation_end(p, 0, NULL);
                return;
        }
        p->steps++;
        p->at = 0;
        step(p);
}

static void begin(struct podman_part *p, const podman_step *steps, bool taking_down, driver_done done,
                  void *arg) {
        loop_timer_cancel(p->look);
        if (p->looking) {
                p->command = command_free(p->command);
                p->looking = false;
        }
        p->steps = steps;
        p->taking_down = taking_down;
        p->done = done;
        p->done_arg = arg;
        next(p);
}

/* A command that only has to succeed. */
static void expect_success(struct podman_part *p, const struct command_result *r) {
        if (r->error)
                fail(p, r->error, r->message);
        else
                next(p);
}

/* ---- version: what this podman can do */

static void version_known(struct podman_part *p, const struct command_result *r) {
        unsigned major = 0, minor = 0;
        if (r->error) {
                fail(p, r->error, r->message);
                return;
        }
        if (sscanf(r->output, "podman version %u.%u", &major, &minor) == 2)
                p->old_podman = major < 4 || (major == 4 && minor < 4);
        next(p);
}

static void step_version(struct podman_part *p) {
        _cleanup_(arguments_done) struct arguments a = {.n = 0};
        add(&a, p->part.host->podman.program);
        add(&a, "--version");
        run_step(p, &a, PODMAN_COMMAND_MS, version_known);
}

/* ---- images that are artifacts */

static void images_loaded(void *arg, int error, const char *message) {
        struct podman_part *p = arg;
        _cleanup_(x_freep) char *why = message ? str_dup(message) : NULL;
        p->images = podman_images_free(p->images);
        if (error < 0)
                fail(p, error, why ? why : strerror(-error));
        else
                next(p);
}

static void step_images(struct podman_part *p) {
        _cleanup_(err_freep) struct err *err = NULL;
        if (p->unit->spec->n_artifacts == 0) {
                next(p);
                return;
        }
        int r = podman_images_load(p->part.host, p->unit, images_loaded, p, &p->images, &err);
        if (r < 0)
                fail(p, r, err_message(err));
}

/* ---- looking at what runs */

static void unwatch(struct podman_part *p);
static void watch_containers(struct podman_part *p, const json_t *containers);

static int start_look(struct podman_part *p,
                      void (*done)(struct podman_part *p, const struct command_result *r), struct err **err) {
        _cleanup_(arguments_done) struct arguments a = {.n = 0};
        _cleanup_(x_freep) char *app = str_format("label=%s=%s", PODMAN_LABEL_APP, p->app),
                                *node = str_format("label=%s=%s", PODMAN_LABEL_NODE, p->part.host->node);
        if (!app || !node)
                return err_set_errno(err, ENOMEM, "podman");
        begin_arguments(p, &a);
        add(&a, "ps");
        add(&a, "-a");
        add_option(&a, "--filter", app);
        /* `stop-apps` does not know the node's name: there the state folder's own storage must do. */
        if (*p->part.host->node)
                add_option(&a, "--filter", node);
        add_option(&a, "--format", "json");
        return run(p, &a, PODMAN_COMMAND_MS, done, err);
}

/* Reads the list and judges it; watches what runs. */
static int judge(struct podman_part *p, const struct command_result *r, struct err **err) {
        _cleanup_json_ json_t *containers = NULL;
        const struct app_spec *spec = p->unit->spec;
        if (r->error)
                return err_set(err, -r->error, "%s", r->message);
        if (json_decode(r->output, r->output_len, &containers, err) < 0 || !json_is_array(containers))
                return err_set(err, EPROTO, "podman ps did not print a list");
        int rc = podman_judge(containers, spec->manifests, spec->n_manifests, p->unit->digest, &p->verdict);
        if (rc < 0)
                return err_set_errno(err, -rc, "podman");
        watch_containers(p, containers);
        return 0;
}

static void looked_before(struct podman_part *p, const struct command_result *r) {
        _cleanup_(err_freep) struct err *err = NULL;
        int rc = judge(p, r, &err);
        if (rc < 0)
                fail(p, rc, err_message(err));
        else if (p->verdict.current)
                operation_end(p, 0, NULL); /* runs in this very version: taken over */
        else
                next(p);
}

static void step_look_before(struct podman_part *p) {
        _cleanup_(err_freep) struct err *err = NULL;
        int r = start_look(p, looked_before, &err);
        if (r < 0)
                fail(p, r, err_message(err));
}

static void tell_ended(struct podman_part *p, const char *why) {
        p->part.listener.event(
                p->part.listener.arg,
                &(struct driver_event){.type = DRIVER_ENDED, .success = false, .message = why});
}

static void looked_after(struct podman_part *p, const struct command_result *r) {
        _cleanup_(err_freep) struct err *err = NULL;
        int rc = judge(p, r, &err);
        if (rc < 0) {
                fail(p, rc, err_message(err));
                return;
        }
        bool current = p->verdict.current;
        next(p);
        /* It was started; that it did not stay up is the app's to judge, within its time. */
        if (!current && !p->steps)
                loop_timer_set(p->look, 0);
}

static void step_look_after(struct podman_part *p) {
        _cleanup_(err_freep) struct err *err = NULL;
        int r = start_look(p, looked_after, &err);
        if (r < 0)
                fail(p, r, err_message(err));
}

static void step_settle(struct podman_part *p) {
        loop_timer_set(p->settle, PODMAN_SETTLE_MS);
}

static void settled(void *arg) {
        next(arg);
}

static void check_done(struct podman_part *p, const struct command_result *r) {
        _cleanup_(err_freep) struct err *err = NULL;
        int rc = judge(p, r, &err);
        if (rc < 0) {
                fail(p, rc, err_message(err));
        } else if (p->verdict.current) {
                operation_end(p, 0, NULL);
        } else {
                char problem[sizeof(p->verdict.problem)];
                (void)snprintf(problem, sizeof(problem), "%s", p->verdict.problem);
                operation_end(p, -ESRCH, problem);
        }
}

static void step_check(struct podman_part *p) {
        _cleanup_(err_freep) struct err *err = NULL;
        int r = start_look(p, check_done, &err);
        if (r < 0)
                fail(p, r, err_message(err));
}

/* ---- removing pods */

static void pods_listed(struct podman_part *p, const struct command_result *r) {
        if (r->error) {
                fail(p, r->error, r->message);
                return;
        }
        _cleanup_(strv_freep) char **ids = strv_split(r->output, " \t\r\n");
        json_decref(p->pods);
        p->pods = json_array();
        for (size_t i = 0; ids && ids[i]; i++)
                (void)json_array_append_new(p->pods, json_string(ids[i]));
        next(p);
}

static void step_list_pods(struct podman_part *p) {
        loop_timer_cancel(p->look);
        _cleanup_(arguments_done) struct arguments a = {.n = 0};
        _cleanup_(x_freep) char *app = str_format("label=%s=%s", PODMAN_LABEL_APP, p->app),
                                *node = str_format("label=%s=%s", PODMAN_LABEL_NODE, p->part.host->node);
        if (!app || !node) {
                fail(p, -ENOMEM, strerror(ENOMEM));
                return;
        }
        unwatch(p);
        begin_arguments(p, &a);
        add(&a, "pod");
        add(&a, "ps");
        add_option(&a, "--filter", app);
        if (*p->part.host->node)
                add_option(&a, "--filter", node);
        add(&a, "--no-trunc");
        add_option(&a, "--format", "{{.Id}}");
        run_step(p, &a, PODMAN_COMMAND_MS, pods_listed);
}

static void step_remove_pods(struct podman_part *p) {
        _cleanup_(arguments_done) struct arguments a = {.n = 0};
        const json_t *id;
        char seconds[24];
        size_t i;
        if (json_array_size(p->pods) == 0) {
                next(p);
                return;
        }
        /* Whole seconds: rounded up, so that nobody gets less than was asked for. */
        (void)snprintf(seconds, sizeof(seconds), "%lld", (long long)((p->stop_timeout_ms + 999) / 1000));
        begin_arguments(p, &a);
        add(&a, "pod");
        add(&a, "rm");
        add(&a, "-f");
        add_option(&a, "-t", seconds);
        json_array_foreach (p->pods, i, id)
                add(&a, json_string_value(id));
        run_step(p, &a, PODMAN_COMMAND_MS + p->stop_timeout_ms, expect_success);
}

/* ---- volumes and secrets */

static void step_volumes(struct podman_part *p);

static void volume_known(struct podman_part *p, const struct command_result *r) {
        /* Status 1: there is no such volume, kube play will make it. */
        if (r->error && r->exit_status != 1) {
                fail(p, r->error, r->message);
                return;
        }
        if (!r->error)
                (void)json_array_append(p->existing_volumes, json_array_get(p->plan.volumes, p->at));
        p->at++;
        step_volumes(p);
}

static void step_volumes(struct podman_part *p) {
        _cleanup_(arguments_done) struct arguments a = {.n = 0};
        const char *name = json_string_value(json_array_get(p->plan.volumes, p->at));
        if (p->at == 0) {
                json_decref(p->existing_volumes);
                p->existing_volumes = json_array();
        }
        if (!name) {
                next(p);
                return;
        }
        begin_arguments(p, &a);
        add(&a, "volume");
        add(&a, "exists");
        add(&a, name);
        run_step(p, &a, PODMAN_COMMAND_MS, volume_known);
}

static void *nth_secret(const struct podman_part *p) {
        void *it = json_object_iter(p->plan.secrets);
        for (size_t i = 0; it && i < p->at; i++)
                it = json_object_iter_next(p->plan.secrets, it);
        return it;
}

static void step_secrets(struct podman_part *p);

static void secret_made(struct podman_part *p, const struct command_result *r) {
        (void)unlink(p->secret_path);
        if (r->error) {
                fail(p, r->error, r->message);
                return;
        }
        p->at++;
        step_secrets(p);
}

static void secret_gone(struct podman_part *p, const struct command_result *r) {
        _cleanup_(arguments_done) struct arguments a = {.n = 0};
        _cleanup_(err_freep) struct err *err = NULL;
        void *it = nth_secret(p);
        _cleanup_(x_freep) char *text = json_encode_compact(json_object_iter_value(it));
        (void)r; /* there may have been none */
        if (!text || state_file_write(p->secret_path, text, strlen(text), &err) < 0) {
                fail(p, err_code(err), err_message(err));
                return;
        }
        begin_arguments(p, &a);
        add(&a, "secret");
        add(&a, "create");
        add(&a, json_object_iter_key(it));
        add(&a, p->secret_path);
        run_step(p, &a, PODMAN_COMMAND_MS, secret_made);
}

/* Makes each secret anew: `secret create` of this podman cannot replace one. */
static void step_secrets(struct podman_part *p) {
        _cleanup_(arguments_done) struct arguments a = {.n = 0};
        void *it = p->old_podman ? nth_secret(p) : NULL;
        if (!it) {
                next(p);
                return;
        }
        begin_arguments(p, &a);
        add(&a, "secret");
        add(&a, "rm");
        add(&a, json_object_iter_key(it));
        run_step(p, &a, PODMAN_COMMAND_MS, secret_gone);
}

/* ---- playing */

static void step_plan(struct podman_part *p) {
        _cleanup_(err_freep) struct err *err = NULL;
        const struct app_spec *spec = p->unit->spec;
        int r = podman_plan_make(spec->manifests, spec->n_manifests, p->part.host->node, p->app,
                                 p->unit->digest, &p->plan, &err);
        if (r < 0)
                fail(p, r, err_message(err));
        else
                next(p);
}

static void played(struct podman_part *p, const struct command_result *r) {
        /* The file on disk is what removal reads the secrets from. */
        _cleanup_(x_freep) char *text = podman_plan_text(&p->plan, NULL, false);
        if (text)
                (void)state_file_write(p->manifest_path, text, strlen(text), NULL);
        expect_success(p, r);
}

static void step_play(struct podman_part *p) {
        _cleanup_(arguments_done) struct arguments a = {.n = 0};
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *text = podman_plan_text(&p->plan, p->existing_volumes, p->old_podman);
        if (!text || state_file_write(p->manifest_path, text, strlen(text), &err) < 0) {
                fail(p, err_code(err), err_message(err));
                return;
        }
        begin_arguments(p, &a);
        add(&a, "kube");
        add(&a, "play");
        add(&a, "--replace");
        add(&a, p->manifest_path);
        /* Pulling the image counts into the app's time. */
        run_step(p, &a, MAX(p->unit->spec->ready_timeout_ms, PODMAN_COMMAND_MS), played);
}

/* ---- removing secrets and files */

static void step_list_secrets(struct podman_part *p) {
        _cleanup_(x_freep) char *text = NULL;
        size_t len;
        json_decref(p->secrets_gone);
        p->secrets_gone = file_read(p->manifest_path, PODMAN_MANIFEST_MAX, &text, &len, NULL) == 0
                                  ? podman_text_secrets(text)
                                  : NULL;
        next(p);
}

static void step_remove_secrets(struct podman_part *p);

static void secret_removed(struct podman_part *p, const struct command_result *r) {
        (void)r; /* one that is gone already is as well */
        p->at++;
        step_remove_secrets(p);
}

static void step_remove_secrets(struct podman_part *p) {
        _cleanup_(arguments_done) struct arguments a = {.n = 0};
        const char *name = json_string_value(json_array_get(p->secrets_gone, p->at));
        if (!name) {
                (void)unlink(p->manifest_path);
                next(p);
                return;
        }
        begin_arguments(p, &a);
        add(&a, "secret");
        add(&a, "rm");
        add(&a, name);
        run_step(p, &a, PODMAN_COMMAND_MS, secret_removed);
}

/* ---- watching containers */

static void poll_closed(uv_handle_t *h) {
        free(h);
}

static void unwatch(struct podman_part *p) {
        for (size_t i = 0; i < p->n_watches; i++) {
                (void)uv_poll_stop(p->watches[i].poll);
                uv_close((uv_handle_t *)p->watches[i].poll, poll_closed);
                (void)close(p->watches[i].pidfd);
        }
        p->n_watches = 0;
}

static void note_end(struct podman_part *p, const char *name) {
        msec_t now = clock_mono_ms(loop_clock(p->part.host->loop));
        (void)snprintf(p->ended, sizeof(p->ended), "%s", name);
        p->ends = now - p->ended_at < PODMAN_ENDS_MS ? p->ends + 1 : 1;
        p->ended_at = now;
        loop_timer_set(p->look, PODMAN_LOOK_MS);
}

static void container_ended(uv_poll_t *poll, int status, int events) {
        const struct container_watch *w = poll->data;
        (void)status;
        (void)events;
        (void)uv_poll_stop(poll);
        note_end(w->part, w->name);
}

static void watch_one(struct podman_part *p, pid_t pid, const char *name) {
        struct container_watch *w = &p->watches[p->n_watches];
        struct proc_stat st;
        if (pid <= 1)
                return;
        w->part = p;
        (void)snprintf(w->name, sizeof(w->name), "%s", name ? name : "");
        w->pidfd = proc_stat(pid, &st) < 0 ? -ESRCH : proc_open(pid, st.start_time);
        if (w->pidfd < 0) {
                /* It ended between podman's look and ours. */
                note_end(p, w->name);
                return;
        }
        w->poll = calloc(1, sizeof(*w->poll));
        if (!w->poll || uv_poll_init(loop_uv(p->part.host->loop), w->poll, w->pidfd) < 0) {
                free(w->poll);
                (void)close(w->pidfd);
                return;
        }
        w->poll->data = w;
        (void)uv_poll_start(w->poll, UV_READABLE, container_ended);
        p->n_watches++;
}

static void watch_containers(struct podman_part *p, const json_t *containers) {
        const json_t *c;
        size_t i;
        unwatch(p);
        json_array_foreach (containers, i, c) {
                if (p->n_watches == PODMAN_WATCHES_MAX)
                        return;
                watch_one(p, (pid_t)json_integer_value(json_object_get(c, "Pid")),
                          json_string_value(json_array_get(json_object_get(c, "Names"), 0)));
        }
}

/* ---- looks between operations */

static void tell(struct podman_part *p) {
        char why[sizeof(p->verdict.problem) + sizeof(p->last_line) + 32];
        const char *problem = p->verdict.problem;
        if (p->verdict.current) {
                if (p->ends == 0)
                        return;
                if (p->ends < PODMAN_ENDS_MAX) {
                        p->part.listener.event(p->part.listener.arg,
                                               &(struct driver_event){.type = DRIVER_REVIVED});
                        return;
                }
                p->ends = 0;
                problem = "a container keeps ending and being restarted";
        }
        (void)snprintf(why, sizeof(why), "%s%s%s", problem, *p->last_line ? "; last output: " : "",
                       p->last_line);
        tell_ended(p, why);
}

static void last_line_known(struct podman_part *p, const struct command_result *r) {
        p->looking = false;
        (void)snprintf(p->last_line, sizeof(p->last_line), "%s", r->error ? "" : r->last_line);
        tell(p);
}

static void looked(struct podman_part *p, const struct command_result *r) {
        _cleanup_(arguments_done) struct arguments a = {.n = 0};
        p->looking = false;
        if (judge(p, r, NULL) < 0)
                return; /* the slow check will see */
        const char *container = *p->verdict.container ? p->verdict.container : p->ended;
        if (*container) {
                /* Its last words, before telling. */
                begin_arguments(p, &a);
                add(&a, "logs");
                add_option(&a, "--tail", "1");
                add(&a, container);
                p->looking = run(p, &a, PODMAN_COMMAND_MS, last_line_known, NULL) == 0;
                p->ended[0] = '\0';
        }
        if (!p->looking)
                tell(p);
}

static void podman_last_output(struct driver_part *part, char *out, size_t size) {
        (void)snprintf(out, size, "%s", ((struct podman_part *)part)->last_line);
}

static void look_due(void *arg) {
        struct podman_part *p = arg;
        if (!p->unit)
                return;
        if (p->steps || p->looking) {
                loop_timer_set(p->look, PODMAN_LOOK_MS);
                return;
        }
        p->looking = start_look(p, looked, NULL) == 0;
}

/* ---- making, freeing, operations */

static struct driver_part *podman_free(struct driver_part *part) {
        struct podman_part *p = (struct podman_part *)part;
        unwatch(p);
        /* Busy parts are freed only when the agent ends. */
        if (p->steps)
                command_abandon(p->command);
        else
                command_free(p->command);
        podman_images_free(p->images);
        if (p->settle)
                loop_timer_free(p->settle);
        if (p->look)
                loop_timer_free(p->look);
        podman_plan_done(&p->plan);
        json_decref(p->existing_volumes);
        json_decref(p->pods);
        json_decref(p->secrets_gone);
        desired_free(p->desired);
        free(p->app);
        free(p->manifest_path);
        free(p->secret_path);
        free(p);
        return NULL;
}

static int podman_new(const struct driver_host *host, const struct driver_app *app,
                      const struct driver_listener *listener, struct driver_part **ret, struct err **err) {
        struct podman_part *p = calloc(1, sizeof(*p));
        if (!p)
                return err_set_errno(err, ENOMEM, "app %s", app->name);
        p->part = (struct driver_part){.driver = &podman_driver, .host = host, .listener = *listener};
        p->unit = app->unit;
        p->desired = app->unit ? desired_ref(app->desired) : NULL;
        p->stop_timeout_ms = app->stop_timeout_ms;
        p->app = str_dup(app->name);
        p->manifest_path = driver_state_path(host, "podman", app->name, ".yaml");
        p->secret_path = driver_state_path(host, "podman", app->name, ".secret");
        p->settle = loop_timer_new(host->loop, settled, p);
        p->look = loop_timer_new(host->loop, look_due, p);
        if (!p->app || !p->manifest_path || !p->secret_path || !p->settle || !p->look) {
                podman_free(&p->part);
                return err_set_errno(err, ENOMEM, "app %s", app->name);
        }
        *ret = &p->part;
        return 0;
}

static void podman_apply(struct driver_part *part, driver_done done, void *arg) {
        static const podman_step steps[] = {step_look_before, step_version, step_images,     step_list_pods,
                                            step_remove_pods, step_plan,    step_volumes,    step_secrets,
                                            step_play,        step_settle,  step_look_after, NULL};
        begin((struct podman_part *)part, steps, false, done, arg);
}

static void podman_restart(struct driver_part *part, driver_done done, void *arg) {
        static const podman_step steps[] = {
                step_version, step_images, step_list_pods, step_remove_pods, step_plan, step_volumes,
                step_secrets, step_play,   step_settle,    step_look_after,  NULL};
        begin((struct podman_part *)part, steps, false, done, arg);
}

static void podman_stop(struct driver_part *part, driver_done done, void *arg) {
        static const podman_step steps[] = {step_list_pods, step_remove_pods, NULL};
        begin((struct podman_part *)part, steps, true, done, arg);
}

static void podman_remove(struct driver_part *part, driver_done done, void *arg) {
        static const podman_step steps[] = {step_list_pods, step_remove_pods, step_list_secrets,
                                            step_remove_secrets, NULL};
        begin((struct podman_part *)part, steps, true, done, arg);
}

static void podman_check(struct driver_part *part, driver_done done, void *arg) {
        static const podman_step steps[] = {step_check, NULL};
        begin((struct podman_part *)part, steps, false, done, arg);
}

const struct driver podman_driver = {
        .name = "podman",
        .kind = APP_DRIVER_PODMAN,
        .part_new = podman_new,
        .apply = podman_apply,
        .restart = podman_restart,
        .stop = podman_stop,
        .remove = podman_remove,
        .check = podman_check,
        .last_output = podman_last_output,
        .part_free = podman_free,
};
