/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/command.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "agent/driver/output.h"
#include "base/buf.h"
#include "base/str.h"

#define COMMAND_TAIL 2048
/* A grandchild may hold the pipes open for ever: how long after the end we still read. */
#define COMMAND_DRAIN_MS 300
#define COMMAND_REAP_MS 200

struct stream {
        uv_pipe_t pipe;
        bool open, closing;
        char tail[COMMAND_TAIL]; /* the end of what came */
        size_t tail_len;
};

struct command {
        uv_process_t process;
        bool running, exited;
        int64_t exit_status;
        int signal;
        bool timed_out, too_long;
        struct stream streams[2]; /* output, error */
        struct buf output;
        size_t output_limit;
        struct loop_timer *timer;
        char *name;
        int handles; /* not closed yet */
        bool dead;   /* freed by its owner: only waiting for handles to close */
        void (*done)(void *arg, const struct command_result *r);
        void *arg;
        char chunk[4096];
};

static void release(struct command *c) {
        buf_done(&c->output);
        free(c->name);
        free(c);
}

static void handle_closed(uv_handle_t *h) {
        struct command *c = h->data;
        if (--c->handles == 0)
                release(c);
}

static void close_stream(struct stream *s) {
        if (s->open && !s->closing) {
                s->closing = true;
                uv_close((uv_handle_t *)&s->pipe, handle_closed);
        }
}

static void kill_session(struct command *c) {
        /* It was started as the leader of a session of its own. */
        if (c->running && !c->exited && c->process.pid > 1)
                (void)kill(-c->process.pid, SIGKILL);
}

/* A killed child ends at once, but for one that hangs in the kernel: that one is left to libuv. */
static void reap_killed(struct command *c) {
        if (!c->running || c->exited)
                return;
        int fd = (int)syscall(SYS_pidfd_open, c->process.pid, 0);
        struct pollfd ended = {.fd = fd, .events = POLLIN};
        if (fd >= 0 && poll(&ended, 1, COMMAND_REAP_MS) > 0 && waitpid(c->process.pid, NULL, WNOHANG) > 0)
                c->exited = true;
        x_closep(&fd);
}

static void close_all(struct command *c) {
        c->dead = true;
        if (c->timer)
                c->timer = loop_timer_free(c->timer);
        for (size_t i = 0; i < ARRAY_SIZE(c->streams); i++)
                close_stream(&c->streams[i]);
        /* libuv waits for the child only while its handle is open: otherwise that is closed on exit. */
        if (c->running && c->exited)
                uv_close((uv_handle_t *)&c->process, handle_closed);
}

struct command *command_free(struct command *c) {
        if (c && !c->dead) {
                kill_session(c);
                reap_killed(c);
                close_all(c);
        }
        return NULL;
}

struct command *command_abandon(struct command *c) {
        if (c && !c->dead) {
                c->exited = true;
                close_all(c);
        }
        return NULL;
}

static void last_line(const struct command *c, char *out, size_t size) {
        const struct stream *s = &c->streams[1];
        if (s->tail_len == 0)
                s = &c->streams[0];
        text_last_line(s->tail, s->tail_len, out, size);
}

static void describe(const struct command *c, const char *line, char *out, size_t size) {
        const char *separator = *line ? ": " : "";
        if (c->timed_out)
                (void)snprintf(out, size, "%s did not end in its time%s%s", c->name, separator, line);
        else if (c->too_long)
                (void)snprintf(out, size, "%s printed more than %zu bytes", c->name, c->output_limit);
        else if (c->signal)
                (void)snprintf(out, size, "%s was killed by signal %d%s%s", c->name, c->signal, separator,
                               line);
        else
                (void)snprintf(out, size, "%s exited with status %d%s%s", c->name, (int)c->exit_status,
                               separator, line);
}

static void finish(struct command *c) {
        char message[448], line[256];
        struct command_result r = {.exit_status = c->signal || c->timed_out ? -1 : (int)c->exit_status,
                                   .output = buf_str(&c->output),
                                   .output_len = c->output.len,
                                   .last_line = line};
        if (c->dead)
                return;
        last_line(c, line, sizeof(line));
        if (c->timed_out)
                r.error = -ETIMEDOUT;
        else if (c->too_long)
                r.error = -EMSGSIZE;
        else if (c->signal || c->exit_status)
                r.error = -EIO;
        if (r.error) {
                describe(c, line, message, sizeof(message));
                r.message = message;
        }
        /* The owner may free it in done(): its handles are closed before, and it is released with the last.
         */
        c->handles++;
        close_all(c);
        c->done(c->arg, &r);
        if (--c->handles == 0)
                release(c);
}

static bool drained(const struct command *c) {
        return (!c->streams[0].open || c->streams[0].closing) &&
               (!c->streams[1].open || c->streams[1].closing);
}

static void on_timer(void *arg) {
        struct command *c = arg;
        if (c->exited) {
                finish(c);
                return;
        }
        c->timed_out = true;
        kill_session(c);
}

static void on_exit_status(uv_process_t *process, int64_t exit_status, int signal) {
        struct command *c = process->data;
        c->exited = true;
        c->exit_status = exit_status;
        c->signal = signal;
        if (c->dead) {
                uv_close((uv_handle_t *)process, handle_closed);
                return;
        }
        if (drained(c))
                finish(c);
        else
                loop_timer_set(c->timer, COMMAND_DRAIN_MS);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf) {
        struct command *c = h->data;
        (void)suggested;
        *buf = uv_buf_init(c->chunk, sizeof(c->chunk));
}

static void keep_tail(struct stream *s, const char *p, size_t n) {
        if (n > COMMAND_TAIL) {
                p += n - COMMAND_TAIL;
                n = COMMAND_TAIL;
        }
        if (s->tail_len + n > COMMAND_TAIL) {
                size_t drop = s->tail_len + n - COMMAND_TAIL;
                memmove(s->tail, s->tail + drop, s->tail_len - drop);
                s->tail_len -= drop;
        }
        memcpy(s->tail + s->tail_len, p, n);
        s->tail_len += n;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
        struct command *c = stream->data;
        struct stream *s = &c->streams[(uv_pipe_t *)stream == &c->streams[1].pipe];
        if (c->dead || n == 0)
                return;
        if (n < 0) {
                close_stream(s);
                if (c->exited && drained(c))
                        finish(c);
                return;
        }
        keep_tail(s, buf->base, (size_t)n);
        if (s == &c->streams[0] && c->output_limit && !c->too_long &&
            buf_append(&c->output, buf->base, (size_t)n) < 0) {
                c->too_long = true;
                kill_session(c);
        }
}

static int open_streams(struct loop *l, struct command *c) {
        for (size_t i = 0; i < ARRAY_SIZE(c->streams); i++) {
                if (uv_pipe_init(loop_uv(l), &c->streams[i].pipe, 0) < 0)
                        return -ENOMEM;
                c->streams[i].pipe.data = c;
                c->streams[i].open = true;
                c->handles++;
        }
        return 0;
}

int command_start(struct loop *l, const struct command_request *q,
                  void (*done)(void *arg, const struct command_result *r), void *arg, struct command **ret,
                  struct err **err) {
        struct command *c = calloc(1, sizeof(*c));
        if (!c)
                return err_set_errno(err, ENOMEM, "run %s", q->path);
        c->done = done;
        c->arg = arg;
        c->output_limit = q->output_limit;
        c->output.limit = q->output_limit;
        c->name = str_dup(q->arguments[0]);
        c->timer = loop_timer_new(l, on_timer, c);
        c->process.data = c;
        if (!c->name || !c->timer || open_streams(l, c) < 0) {
                close_all(c);
                if (c->handles == 0)
                        release(c);
                return err_set_errno(err, ENOMEM, "run %s", q->path);
        }

        uv_stdio_container_t stdio[3] = {
                {.flags = UV_IGNORE},
                {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE,
                 .data.stream = (uv_stream_t *)&c->streams[0].pipe},
                {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE,
                 .data.stream = (uv_stream_t *)&c->streams[1].pipe},
        };
        uv_process_options_t options = {
                .file = q->path,
                .args = (char **)(uintptr_t)q->arguments,
                .env = (char **)(uintptr_t)q->environment,
                .cwd = q->folder,
                .exit_cb = on_exit_status,
                .flags = UV_PROCESS_DETACHED | (q->change_user ? UV_PROCESS_SETUID | UV_PROCESS_SETGID : 0u),
                .stdio_count = 3,
                .stdio = stdio,
                .uid = q->uid,
                .gid = q->gid,
        };
        int r = uv_spawn(loop_uv(l), &c->process, &options);
        c->handles++; /* a handle whose spawn failed wants to be closed too */
        c->running = true;
        if (r < 0) {
                c->exited = true;
                close_all(c);
                return err_set_errno(err, -r, "run %s", q->path);
        }
        (void)uv_read_start((uv_stream_t *)&c->streams[0].pipe, on_alloc, on_read);
        (void)uv_read_start((uv_stream_t *)&c->streams[1].pipe, on_alloc, on_read);
        if (q->timeout_ms > 0)
                loop_timer_set(c->timer, q->timeout_ms);
        if (ret)
                *ret = c;
        return 0;
}
