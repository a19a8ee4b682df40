/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that the agent supervises but that do not hang on it: each is a session of its own, prints
 * into a file, and is written down in <state>/run/<app>.json before it runs:
 *   {"pid","startTime","bootId","digest","outputStart","ended":null|{"success":bool}}
 * So an agent that was restarted, even after SIGKILL, knows it again by number and start time and watches it
 * by pidfd; nothing is started twice. The record need not be durable: a power cut ends the process too.
 *
 * The process is the command itself. When it ends, whatever is left of its session's process group is
 * killed, so that a restart finds its ports free. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "agent/driver/cgroup.h"
#include "agent/driver/driver.h"
#include "agent/driver/launch.h"
#include "agent/driver/output.h"
#include "agent/driver/spawn.h"
#include "agent/proc.h"
#include "agent/state_file.h"
#include "base/str.h"
#include "codec/json.h"

#define RUN_RECORD_MAX 4096
#define OUTPUT_CHECK_MIN_MS 1000
#define OUTPUT_CHECK_MAX_MS 60000
#define KILL_WAIT_MS 10000 /* SIGKILL to the end, before we give up on a process stuck in the kernel */

enum process_operation {
        OPERATION_NONE,
        OPERATION_APPLY,
        OPERATION_RESTART,
        OPERATION_STOP,
        OPERATION_REMOVE
};

struct process_part {
        struct driver_part part;
        char *app;
        struct desired *desired;
        const struct unit *unit; /* NULL: only to stop */
        msec_t stop_timeout_ms;

        pid_t pid; /* 0: nothing runs */
        int pidfd; /* of pid */
        uv_poll_t *poll;
        uint64_t start_time;
        char digest[65]; /* unit that runs */
        bool completed;  /* what the record says of one that ended */
        bool completed_well;

        char *run_path, *output_path;
        off_t output_start;
        off_t output_size;
        msec_t output_wait_ms;
        struct loop_timer *output_timer;

        enum process_operation operation;
        driver_done done;
        void *done_arg;
        bool killed;
        struct loop_timer *stop_timer;
};

/* ---- the record of what runs */

static void write_record(struct process_part *p) {
        char boot[BOOT_ID_SIZE];
        proc_boot_id(boot);
        _cleanup_json_ json_t *j = json_pack(
                "{s:i, s:I, s:s, s:s, s:I, s:o}", "pid", (int)p->pid, "startTime", (json_int_t)p->start_time,
                "bootId", boot, "digest", p->digest, "outputStart", (json_int_t)p->output_start, "ended",
                p->completed ? json_pack("{s:b}", "success", (int)p->completed_well) : json_null());
        _cleanup_(x_freep) char *text = j ? json_encode_compact(j) : NULL;
        if (text)
                (void)state_file_write(p->run_path, text, strlen(text), NULL);
}

static void read_record(struct process_part *p) {
        char boot[BOOT_ID_SIZE];
        _cleanup_(x_freep) char *text = NULL;
        _cleanup_json_ json_t *j = NULL;
        const char *boot_id = "", *digest = "";
        int64_t pid = 0, start_time = 0, output_start = 0;
        size_t len;

        if (file_read(p->run_path, RUN_RECORD_MAX, &text, &len, NULL) < 0 ||
            json_decode(text, len, &j, NULL) < 0 || json_read_int(j, "pid", &pid, NULL) < 0 ||
            json_read_int(j, "startTime", &start_time, NULL) < 0 ||
            json_read_string(j, "bootId", &boot_id, NULL) < 0 ||
            json_read_string(j, "digest", &digest, NULL) < 0 ||
            json_read_optional_int(j, "outputStart", &output_start, NULL) < 0)
                return;
        proc_boot_id(boot);
        if (!str_eq(boot, boot_id) || pid <= 1 || pid > INT32_MAX || strlen(digest) != 64)
                return;
        const json_t *ended = json_object_get(j, "ended");
        p->pid = (pid_t)pid;
        p->start_time = (uint64_t)start_time;
        p->output_start = (off_t)output_start;
        memcpy(p->digest, digest, sizeof(p->digest));
        p->completed = json_is_object(ended);
        p->completed_well = p->completed && json_is_true(json_object_get(ended, "success"));
}

/* ---- making and freeing */

static void poll_closed(uv_handle_t *h) {
        free(h);
}

static void unwatch(struct process_part *p) {
        if (p->poll) {
                (void)uv_poll_stop(p->poll);
                uv_close((uv_handle_t *)p->poll, poll_closed);
                p->poll = NULL;
        }
        x_closep(&p->pidfd);
        p->pidfd = -1;
}

static struct driver_part *process_free(struct driver_part *part) {
        struct process_part *p = (struct process_part *)part;
        unwatch(p);
        if (p->stop_timer)
                loop_timer_free(p->stop_timer);
        if (p->output_timer)
                loop_timer_free(p->output_timer);
        desired_free(p->desired);
        free(p->app);
        free(p->run_path);
        free(p->output_path);
        free(p);
        return NULL;
}

static void stop_late(void *arg);
static void output_due(void *arg);

static int process_new(const struct driver_host *host, const struct driver_app *app,
                       const struct driver_listener *listener, struct driver_part **ret, struct err **err) {
        struct process_part *p = calloc(1, sizeof(*p));
        if (!p)
                return err_set_errno(err, ENOMEM, "app %s", app->name);
        p->part = (struct driver_part){.driver = &process_driver, .host = host, .listener = *listener};
        p->pidfd = -1;
        p->unit = app->unit;
        p->desired = app->unit ? desired_ref(app->desired) : NULL;
        p->stop_timeout_ms = app->stop_timeout_ms;
        p->app = str_dup(app->name);
        p->run_path = driver_state_path(host, "run", app->name, ".json");
        p->output_path = driver_state_path(host, "logs", app->name, ".log");
        p->stop_timer = loop_timer_new(host->loop, stop_late, p);
        p->output_timer = loop_timer_new(host->loop, output_due, p);
        if (!p->app || !p->run_path || !p->output_path || !p->stop_timer || !p->output_timer) {
                process_free(&p->part);
                return err_set_errno(err, ENOMEM, "app %s", app->name);
        }
        *ret = &p->part;
        return 0;
}

/* ---- output */

static void output_due(void *arg) {
        struct process_part *p = arg;
        off_t before = p->output_size;
        if (p->pid == 0)
                return;
        (void)output_trim(p->output_path, &p->output_size);
        /* One that prints much is looked at often, one that is quiet hardly ever. */
        bool busy = p->output_size < before || p->output_size - before > OUTPUT_FILE_MAX / 8;
        p->output_wait_ms = busy ? OUTPUT_CHECK_MIN_MS : MIN(p->output_wait_ms * 2, OUTPUT_CHECK_MAX_MS);
        loop_timer_set(p->output_timer, p->output_wait_ms);
}

static void watch_output(struct process_part *p) {
        p->output_wait_ms = OUTPUT_CHECK_MIN_MS;
        loop_timer_set(p->output_timer, p->output_wait_ms);
}

static void process_last_output(struct driver_part *part, char *out, size_t size) {
        const struct process_part *p = (struct process_part *)part;
        output_last_line(p->output_path, p->output_start, out, size);
}

/* ---- the end of a process */

static void complete(struct process_part *p, int error, const char *message) {
        driver_done done = p->done;
        p->operation = OPERATION_NONE;
        p->done = NULL;
        loop_timer_cancel(p->stop_timer);
        driver_finish(done, p->done_arg, error, message);
}

static void start_and_complete(struct process_part *p);

/* Nothing runs any more: what did the operation want it for? */
static void after_end(struct process_part *p) {
        loop_timer_cancel(p->stop_timer);
        switch (p->operation) {
        case OPERATION_APPLY:
        case OPERATION_RESTART: start_and_complete(p); return;
        case OPERATION_STOP:
        case OPERATION_REMOVE:
                (void)unlink(p->run_path);
                complete(p, 0, NULL);
                return;
        case OPERATION_NONE: return;
        }
}

/* The exit status of our own child; of one that we took over nobody tells us. */
static bool read_status(struct process_part *p, char *text, size_t size) {
        siginfo_t info = {0};
        if (waitid(P_PIDFD, (id_t)p->pidfd, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0) {
                (void)snprintf(text, size,
                               "ended; its exit status is unknown, since the agent was restarted in between");
                return false;
        }
        if (info.si_code == CLD_EXITED) {
                (void)snprintf(text, size, "exited with status %d", info.si_status);
                return info.si_status == 0;
        }
        const char *name = sigabbrev_np(info.si_status);
        (void)snprintf(text, size, "was killed by signal %d (SIG%s)", info.si_status, name ? name : "?");
        return false;
}

/* Kills what is left of the group. While the leader is ours and not waited for, or somebody of the group
 * lives, the number cannot belong to another. */
static void kill_group(struct process_part *p) {
        struct proc_stat st;
        if (proc_stat(p->pid, &st) == 0 && st.start_time != p->start_time)
                return;
        (void)kill(-p->pid, SIGKILL);
        if (p->part.host->cgroup)
                cgroup_kill(p->part.host->cgroup, p->app);
}

static void process_ended(struct process_part *p) {
        char status[128], line[256], message[448];
        kill_group(p);
        bool success = read_status(p, status, sizeof(status));
        unwatch(p);
        loop_timer_cancel(p->output_timer);
        (void)output_trim(p->output_path, &p->output_size);
        if (p->part.host->cgroup)
                cgroup_remove(p->part.host->cgroup, p->app);
        p->completed = true;
        p->completed_well = success;
        if (p->operation != OPERATION_NONE) {
                p->pid = 0;
                after_end(p);
                return;
        }
        write_record(p);
        p->pid = 0;
        output_last_line(p->output_path, p->output_start, line, sizeof(line));
        (void)snprintf(message, sizeof(message), "process %s%s%s", status, *line ? "; last output: " : "",
                       line);
        p->part.listener.event(
                p->part.listener.arg,
                &(struct driver_event){.type = DRIVER_ENDED, .success = success, .message = message});
}

static void pidfd_readable(uv_poll_t *poll, int status, int events) {
        (void)status;
        (void)events;
        process_ended(poll->data);
}

static int watch(struct process_part *p, struct err **err) {
        uv_poll_t *poll = calloc(1, sizeof(*poll));
        if (!poll || uv_poll_init(loop_uv(p->part.host->loop), poll, p->pidfd) < 0) {
                free(poll);
                return err_set_errno(err, ENOMEM, "watch process %d", (int)p->pid);
        }
        poll->data = p;
        p->poll = poll;
        (void)uv_poll_start(poll, UV_READABLE, pidfd_readable);
        return 0;
}

/* ---- starting */

static void enter_cgroup(struct process_part *p, pid_t pid) {
        const struct driver_host *host = p->part.host;
        const struct app_spec *spec = p->unit->spec;
        _cleanup_(err_freep) struct err *err = NULL;
        struct cgroup_limits limits = {spec->memory_max_bytes, spec->cpu_max_millis, spec->pids_max};

        if (!limits.memory_max_bytes && !limits.cpu_max_millis && !limits.pids_max)
                return;
        if (!host->cgroup) {
                host->warn(host->warn_arg,
                           "apps state resource limits, but no control groups of version 2 are mounted: the "
                           "limits are not enforced");
                return;
        }
        if (cgroup_make(host->cgroup, p->app, &limits, &err) < 0 ||
            cgroup_enter(host->cgroup, p->app, pid, &err) < 0) {
                _cleanup_(x_freep) char *message =
                        str_format("resource limits are not enforced: %s", err_message(err));
                if (message)
                        host->warn(host->warn_arg, message);
        }
}

static int start(struct process_part *p, struct err **err) {
        const struct app_spec *spec = p->unit->spec;
        _cleanup_(launch_done) struct launch launch = {.folder_fd = -1};
        _cleanup_(x_closep) int output = -1;
        struct spawned child;
        struct proc_stat st;
        int r;

        (void)output_trim(p->output_path, &p->output_size);
        if ((r = launch_prepare(p->part.host, p->desired, spec, spec->command, &launch, err)) < 0 ||
            (r = output_open(p->output_path, &output, &p->output_size, err)) < 0)
                return r;
        p->output_start = p->output_size;

        struct spawn_request request = {.path = launch.path,
                                        .arguments = launch.arguments,
                                        .environment = launch.environment,
                                        .folder = launch.folder_fd,
                                        .output = output,
                                        .change_user = launch.change_user,
                                        .uid = launch.uid,
                                        .gid = launch.gid,
                                        .groups = launch.groups,
                                        .n_groups = launch.n_groups};
        r = spawn_prepare(&request, &child, err);
        if (r < 0)
                return r;
        if (proc_stat(child.pid, &st) < 0) {
                spawn_abandon(&child);
                return err_set(err, EIO, "start %s: /proc does not show the new process", launch.path);
        }
        enter_cgroup(p, child.pid);
        p->pid = child.pid;
        p->start_time = st.start_time;
        p->completed = false;
        memcpy(p->digest, p->unit->digest, sizeof(p->digest));
        p->pidfd = proc_open(child.pid, st.start_time);
        r = p->pidfd < 0 ? err_set_errno(err, -p->pidfd, "watch process %d", (int)child.pid) : watch(p, err);
        if (r < 0) {
                spawn_abandon(&child);
                unwatch(p);
                p->pid = 0;
                return r;
        }
        write_record(p);
        r = spawn_release(&child, err);
        if (r < 0) {
                unwatch(p);
                (void)unlink(p->run_path);
                p->pid = 0;
                return err_wrap(err, "start %s", launch.path);
        }
        watch_output(p);
        return 0;
}

static void start_and_complete(struct process_part *p) {
        _cleanup_(err_freep) struct err *err = NULL;
        int r = start(p, &err);
        complete(p, r, r < 0 ? err_message(err) : NULL);
}

/* ---- taking over, and ending */

/* Finds what an earlier part, in this process or in one before, has started. */
static void take_over(struct process_part *p) {
        if (p->pid)
                return;
        read_record(p);
        if (!p->pid || p->completed) {
                p->pid = 0;
                return;
        }
        p->pidfd = proc_open(p->pid, p->start_time);
        if (p->pidfd < 0 || watch(p, NULL) < 0) {
                /* Gone while nobody looked. Its group may not be. */
                kill_group(p);
                unwatch(p);
                p->pid = 0;
                return;
        }
        watch_output(p);
}

static void stop_late(void *arg) {
        struct process_part *p = arg;
        if (!p->pid)
                return;
        if (p->killed) {
                complete(p, -ETIMEDOUT, "the process does not end, not even by SIGKILL");
                return;
        }
        p->killed = true;
        kill_group(p);
        loop_timer_set(p->stop_timer, KILL_WAIT_MS);
}

static void end(struct process_part *p) {
        if (!p->pid) {
                after_end(p);
                return;
        }
        p->killed = false;
        /* It has not ended by our last look; a descriptor tells without a race. */
        struct pollfd fd = {.fd = p->pidfd, .events = POLLIN};
        if (poll(&fd, 1, 0) == 0)
                (void)kill(-p->pid, SIGTERM);
        loop_timer_set(p->stop_timer, p->stop_timeout_ms);
}

static void begin(struct process_part *p, enum process_operation operation, driver_done done, void *arg) {
        p->operation = operation;
        p->done = done;
        p->done_arg = arg;
        take_over(p);
}

static void process_apply(struct driver_part *part, driver_done done, void *arg) {
        struct process_part *p = (struct process_part *)part;
        begin(p, OPERATION_APPLY, done, arg);
        bool same = str_eq(p->digest, p->unit->digest);
        if (p->pid && same) {
                complete(p, 0, NULL);
                return;
        }
        if (!p->pid && same && p->completed && p->completed_well &&
            p->unit->spec->restart != RESTART_ALWAYS) {
                /* It ran to its end in this version already, and is not one to run again. */
                struct driver_listener listener = p->part.listener;
                complete(p, 0, NULL);
                listener.event(listener.arg,
                               &(struct driver_event){.type = DRIVER_ENDED,
                                                      .success = true,
                                                      .message = "process exited with status 0"});
                return;
        }
        end(p);
}

static void process_restart(struct driver_part *part, driver_done done, void *arg) {
        struct process_part *p = (struct process_part *)part;
        begin(p, OPERATION_RESTART, done, arg);
        end(p);
}

static void process_stop(struct driver_part *part, driver_done done, void *arg) {
        struct process_part *p = (struct process_part *)part;
        begin(p, OPERATION_STOP, done, arg);
        end(p);
}

static void process_remove(struct driver_part *part, driver_done done, void *arg) {
        struct process_part *p = (struct process_part *)part;
        begin(p, OPERATION_REMOVE, done, arg);
        end(p);
}

static void process_check(struct driver_part *part, driver_done done, void *arg) {
        struct process_part *p = (struct process_part *)part;
        (void)output_trim(p->output_path, &p->output_size);
        if (!p->pid && !p->completed)
                driver_finish(done, arg, -ESRCH, "the process does not run");
        else
                driver_finish(done, arg, 0, NULL);
}

const struct driver process_driver = {
        .name = "process",
        .kind = APP_DRIVER_PROCESS,
        .part_new = process_new,
        .apply = process_apply,
        .restart = process_restart,
        .stop = process_stop,
        .remove = process_remove,
        .check = process_check,
        .last_output = process_last_output,
        .part_free = process_free,
};
