/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/import_socket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/buf.h"
#include "base/str.h"
#include "codec/json.h"

#define IMPORT_LINE_MAX 8192

struct import_socket {
        struct import_host host;
        uv_pipe_t *listener;
        uv_pipe_t *peer; /* the one whose import runs; NULL: none, or it has gone */
        struct buf line;
        struct import *import;
        char *path;
};

static void closed(uv_handle_t *h) {
        free(h);
}

static void close_pipe(uv_pipe_t **p) {
        if (!*p)
                return;
        (*p)->data = NULL;
        uv_close((uv_handle_t *)*p, closed);
        *p = NULL;
}

/* ---- answering */

struct sending {
        uv_write_t request;
        char *text;
};

static void sent(uv_write_t *request, int status) {
        struct sending *w = CONTAINER_OF(request, struct sending, request);
        (void)status;
        free(w->text);
        free(w);
}

static void send_json(struct import_socket *s, json_t *j) {
        _cleanup_json_ _unused_ json_t *owned = j;
        struct sending *w = s->peer && j ? calloc(1, sizeof(*w)) : NULL;
        char *text = w ? json_encode_compact(j) : NULL;
        if (text)
                w->text = str_format("%s\n", text);
        free(text);
        if (!w || !w->text) {
                free(w);
                return;
        }
        uv_buf_t b = uv_buf_init(w->text, (unsigned)strlen(w->text));
        if (uv_write(&w->request, (uv_stream_t *)s->peer, &b, 1, sent) < 0)
                sent(&w->request, -1);
}

static void on_say(void *arg, const char *line) {
        send_json(arg, json_pack("{s:s}", "say", line));
}

static void on_done(void *arg, int error, const char *message) {
        struct import_socket *s = arg;
        send_json(s, json_pack("{s:i, s:s?}", "error", error, "message", message));
        s->import = import_free(s->import);
        close_pipe(&s->peer);
        buf_done(&s->line);
        s->line = (struct buf){.limit = IMPORT_LINE_MAX};
}

/* ---- being asked */

static void allocate(uv_handle_t *h, size_t size, uv_buf_t *b) {
        (void)size;
        (void)h;
        b->base = malloc(IMPORT_LINE_MAX);
        b->len = b->base ? IMPORT_LINE_MAX : 0;
}

static void begin(struct import_socket *s) {
        _cleanup_json_ json_t *j = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        const char *folder;
        struct import_host host = s->host;
        host.say = on_say;
        host.done = on_done;
        host.report_arg = s;
        int r = json_decode(buf_str(&s->line), s->line.len, &j, &err);
        if (r == 0)
                r = json_read_string(j, "folder", &folder, &err);
        if (r == 0 && folder[0] != '/')
                r = err_set(&err, EINVAL, "folder '%.200s' is not absolute", folder);
        if (r == 0)
                r = import_start(&host, folder, &s->import, &err);
        if (r < 0)
                on_done(s, r, err_message(err));
}

static void readable(uv_stream_t *stream, ssize_t n, const uv_buf_t *b) {
        struct import_socket *s = stream->data;
        _cleanup_(x_freep) char *data = b->base;
        if (!s || n == 0)
                return;
        if (n < 0) {
                /* The command has gone: the import goes on, nobody listens any more. */
                if (s->import)
                        close_pipe(&s->peer);
                else
                        on_done(s, -ECANCELED, "gone");
                return;
        }
        if (s->import)
                return;
        if (buf_append(&s->line, data, (size_t)n) < 0)
                on_done(s, -EMSGSIZE, "the request is too long");
        else if (memchr(s->line.data, '\n', s->line.len))
                begin(s);
}

static bool may_ask(const uv_pipe_t *p) {
        struct ucred peer;
        socklen_t len = sizeof(peer);
        uv_os_fd_t fd;
        return uv_fileno((const uv_handle_t *)p, &fd) == 0 &&
               getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
               (peer.uid == 0 || peer.uid == geteuid());
}

static void connected(uv_stream_t *listener, int status) {
        struct import_socket *s = listener->data;
        uv_pipe_t *p = status < 0 ? NULL : calloc(1, sizeof(*p));
        if (!p)
                return;
        if (uv_pipe_init(loop_uv(s->host.delivery.fetch.loop), p, 0) < 0) {
                free(p);
                return;
        }
        if (uv_accept(listener, (uv_stream_t *)p) < 0 || !may_ask(p) || s->peer || s->import) {
                close_pipe(&p); /* the command says that it was not answered */
                return;
        }
        p->data = s;
        s->peer = p;
        if (uv_read_start((uv_stream_t *)p, allocate, readable) < 0)
                close_pipe(&s->peer);
}

int import_socket_listen(const struct import_host *host, const char *state, struct import_socket **ret,
                         struct err **err) {
        struct import_socket *s = calloc(1, sizeof(*s));
        if (!s || !(s->path = str_format("%s/import.sock", state)) ||
            !(s->listener = calloc(1, sizeof(*s->listener)))) {
                import_socket_free(s);
                return err_set_errno(err, ENOMEM, "import");
        }
        s->host = *host;
        s->line = (struct buf){.limit = IMPORT_LINE_MAX};
        int r = uv_pipe_init(loop_uv(host->delivery.fetch.loop), s->listener, 0);
        if (r < 0) {
                free(TAKE_PTR(s->listener));
                import_socket_free(s);
                return err_set_errno(err, -r, "import");
        }
        s->listener->data = s;
        /* We hold the state folder's lock: what lies there is of an agent that has gone. */
        (void)unlink(s->path);
        mode_t before = umask(0177);
        r = strlen(s->path) < sizeof(((struct sockaddr_un *)NULL)->sun_path)
                    ? uv_pipe_bind(s->listener, s->path)
                    : -ENAMETOOLONG;
        (void)umask(before);
        if (r == 0)
                r = uv_listen((uv_stream_t *)s->listener, 4, connected);
        if (r < 0) {
                err_set_errno(err, -r, "listen at %s", s->path);
                import_socket_free(s);
                return r;
        }
        *ret = s;
        return 0;
}

struct import_socket *import_socket_free(struct import_socket *s) {
        if (!s)
                return NULL;
        import_free(s->import);
        close_pipe(&s->peer);
        close_pipe(&s->listener);
        if (s->path)
                (void)unlink(s->path);
        buf_done(&s->line);
        free(s->path);
        free(s);
        return NULL;
}

/* ---- asking */

static int connect_to(const char *path, struct err **err) {
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        if (strlen(path) >= sizeof(a.sun_path))
                return err_set(err, ENAMETOOLONG, "%s is too long for a socket: stop the agent to import",
                               path);
        memcpy(a.sun_path, path, strlen(path) + 1);
        _cleanup_(x_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
                return err_set_errno(err, errno, "ask the agent at %s", path);
        return TAKE_FD(fd);
}

/* True: that was the end. */
static bool take_line(const char *line, size_t len, int *ret_code) {
        _cleanup_json_ json_t *j = NULL;
        if (json_decode(line, len, &j, NULL) < 0)
                return false;
        const char *said = json_string_value(json_object_get(j, "say"));
        if (said) {
                (void)printf("%s\n", said);
                (void)fflush(stdout);
                return false;
        }
        const char *message = json_string_value(json_object_get(j, "message"));
        *ret_code = json_integer_value(json_object_get(j, "error")) < 0;
        if (*ret_code)
                (void)fprintf(stderr, "skerry-agent: %s\n", message ? message : "the import failed");
        return true;
}

int import_socket_ask(const char *state, const char *folder, struct err **err) {
        _cleanup_(x_freep) char *path = str_format("%s/import.sock", state), *text = NULL, *line = NULL;
        _cleanup_json_ json_t *j = json_pack("{s:s}", "folder", folder);
        _cleanup_(buf_done) struct buf in = BUF_INIT;
        char piece[4096];
        int code = 1;
        if (!path || !j || !(text = json_encode_compact(j)) || !(line = str_format("%s\n", text)))
                return err_set_errno(err, ENOMEM, "import");
        _cleanup_(x_closep) int fd = connect_to(path, err);
        if (fd < 0)
                return fd;
        if (send(fd, line, strlen(line), MSG_NOSIGNAL) != (ssize_t)strlen(line))
                return err_set_errno(err, EIO, "ask the agent");
        for (;;) {
                ssize_t n = read(fd, piece, sizeof(piece));
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return err_set(
                                err, EBUSY,
                                "the agent ended the import without a word: another one is under way, it was "
                                "stopped, or this user may not ask it");
                if (buf_append(&in, piece, (size_t)n) < 0)
                        return err_set_errno(err, ENOMEM, "import");
                for (const char *newline; in.len > 0 && (newline = memchr(in.data, '\n', in.len));) {
                        if (take_line(in.data, (size_t)(newline - in.data), &code))
                                return code;
                        buf_consume(&in, (size_t)(newline - in.data) + 1);
                }
        }
}
