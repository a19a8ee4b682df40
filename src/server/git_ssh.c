/* SPDX-License-Identifier: Apache-2.0 */
#include "server/git_ssh.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <git2/errors.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "base/str.h"

#define COMPLAINT_MAX ((size_t)4096) /* bytes kept of what ssh says on standard error */
#define POLL_MS 200

struct ssh_git {
        git_smart_subtransport base; /* first: libgit2 hands this pointer back */
        const struct git_access *access;
        struct ssh_git_stream *stream; /* the one conversation, while it is open */
};

struct ssh_git_stream {
        git_smart_subtransport_stream base;
        struct ssh_git *owner;
        pid_t pid;
        int in, out, err; /* our ends of its standard input, output and error */
        struct buf complaint;
};

static int fail(const char *text) {
        git_error_set_str(GIT_ERROR_SSH, text);
        return -1;
}

static int fail_text(char *text) { /* takes text */
        int r = fail(text ? text : "out of memory");
        free(text);
        return r;
}

/* ---- the address */

static bool is_safe_word(const char *s) { /* nothing that ssh would take for an option or a second word */
        if (str_is_empty(s) || *s == '-')
                return false;
        for (; *s; s++)
                if ((unsigned char)*s <= ' ' || *s == 0x7f || strchr("'\"\\$`;&|<>()*?[]{}", *s))
                        return false;
        return true;
}

bool git_ssh_url_parse(const char *url, char **ret_user, char **ret_host, char **ret_port, char **ret_path) {
        const char *rest = str_after_prefix(url, "ssh://"), *path, *at, *host, *end;
        _cleanup_(x_freep) char *user = NULL, *name = NULL, *port = NULL, *where = NULL;
        bool is_url = rest != NULL;
        if (!is_url)
                rest = url;
        path = strchr(rest, is_url ? '/' : ':');
        if (!path || (!is_url && memchr(rest, '/', (size_t)(path - rest))))
                return false;
        at = memchr(rest, '@', (size_t)(path - rest));
        host = at ? at + 1 : rest;
        end = path;
        if (at)
                user = str_dup_n(rest, (size_t)(at - rest));
        if (is_url && *host == '[') { /* an IPv6 address */
                const char *close = memchr(host, ']', (size_t)(end - host));
                if (!close)
                        return false;
                name = str_dup_n(host + 1, (size_t)(close - host - 1));
                if (close[1] == ':')
                        port = str_dup_n(close + 2, (size_t)(end - close - 2));
        } else {
                const char *colon = is_url ? memchr(host, ':', (size_t)(end - host)) : NULL;
                name = str_dup_n(host, (size_t)((colon ? colon : end) - host));
                if (colon)
                        port = str_dup_n(colon + 1, (size_t)(end - colon - 1));
        }
        where = str_dup(is_url ? path : path + 1);
        if (is_url && str_has_prefix(where, "/~")) /* ssh://host/~user/x is relative to a home */
                memmove(where, where + 1, strlen(where));
        uint64_t number;
        if (!where || !*where || *where == '-' || *where == ':' || !is_safe_word(name) ||
            (user && !is_safe_word(user)) ||
            (port && (str_to_u64(port, &number) < 0 || number == 0 || number > 65535)))
                return false;
        *ret_user = TAKE_PTR(user);
        *ret_host = TAKE_PTR(name);
        *ret_port = TAKE_PTR(port);
        *ret_path = TAKE_PTR(where);
        return true;
}

/* git-upload-pack 'PATH' as the far shell must see it. */
static char *remote_command(const char *path) {
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        buf_puts(&b, "git-upload-pack '");
        for (; *path; path++)
                if (*path == '\'')
                        buf_puts(&b, "'\\''");
                else
                        buf_putc(&b, *path);
        buf_putc(&b, '\'');
        return buf_take(&b, NULL);
}

/* ---- the process */

static int spawn(struct ssh_git_stream *s, char *const *argv) {
        int in[2] = {-1, -1}, out[2] = {-1, -1}, complaint[2] = {-1, -1};
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        sigset_t none, defaults;
        if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(complaint, O_CLOEXEC) < 0) {
                int error = errno;
                for (int i = 0; i < 2; i++) {
                        x_closep(&in[i]);
                        x_closep(&out[i]);
                        x_closep(&complaint[i]);
                }
                return -error;
        }
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
        posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
        posix_spawn_file_actions_adddup2(&actions, complaint[1], STDERR_FILENO);
        posix_spawnattr_init(&attributes);
        sigemptyset(&none);
        sigfillset(&defaults);
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setsigdefault(&attributes, &defaults);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
        int r = posix_spawnp(&s->pid, "ssh", &actions, &attributes, argv, environ);
        posix_spawn_file_actions_destroy(&actions);
        posix_spawnattr_destroy(&attributes);
        close(in[0]);
        close(out[1]);
        close(complaint[1]);
        s->in = in[1];
        s->out = out[0];
        s->err = complaint[0];
        if (r != 0) {
                s->pid = 0;
                return -r;
        }
        (void)fcntl(s->in, F_SETFL, O_NONBLOCK);
        (void)fcntl(s->out, F_SETFL, O_NONBLOCK);
        (void)fcntl(s->err, F_SETFL, O_NONBLOCK);
        return 0;
}

static int start(struct ssh_git_stream *s) {
        const struct git_access *a = s->owner->access;
        _cleanup_(x_freep) char *user = NULL, *host = NULL, *port = NULL, *path = NULL, *command = NULL,
                                *known = NULL, *timeout = NULL;
        _cleanup_(strv_freep) char **argv = NULL;
        if (!git_ssh_url_parse(a->url, &user, &host, &port, &path))
                return fail_text(str_format(
                        "%s is no ssh address: write ssh://user@host/path or user@host:path", a->url));
        command = remote_command(path);
        timeout = str_format("ConnectTimeout=%d", GIT_CONNECT_SECONDS);
        /* Nothing of the machine's or a person's own settings; no questions; nobody unknown. */
        static const char *const fixed[] = {"ssh",       "-F",
                                            "/dev/null", "-T",
                                            "-x",        "-a",
                                            "-o",        "BatchMode=yes",
                                            "-o",        "StrictHostKeyChecking=yes",
                                            "-o",        "UpdateHostKeys=no",
                                            "-o",        "CheckHostIP=no",
                                            "-o",        "ServerAliveInterval=15",
                                            "-o",        "ServerAliveCountMax=3",
                                            "-o",        "PasswordAuthentication=no"};
        int r = command && timeout ? 0 : -ENOMEM;
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(fixed); i++)
                r = strv_push(&argv, fixed[i]);
        const char *more[16];
        size_t n = 0;
        more[n++] = "-o";
        more[n++] = timeout;
        if (a->known_hosts_file) {
                known = str_format("UserKnownHostsFile=%s", a->known_hosts_file);
                more[n++] = "-o";
                more[n++] = known;
                more[n++] = "-o";
                more[n++] = "GlobalKnownHostsFile=/dev/null";
        }
        if (a->ssh_key_file) {
                more[n++] = "-o";
                more[n++] = "IdentitiesOnly=yes";
                more[n++] = "-i";
                more[n++] = a->ssh_key_file;
        }
        if (user) {
                more[n++] = "-l";
                more[n++] = user;
        }
        if (port) {
                more[n++] = "-p";
                more[n++] = port;
        }
        for (size_t i = 0; r == 0 && i < n; i++)
                r = more[i] ? strv_push(&argv, more[i]) : -ENOMEM;
        if (r == 0)
                r = strv_push(&argv, "--");
        if (r == 0)
                r = strv_push(&argv, host);
        if (r == 0)
                r = strv_push(&argv, command);
        if (r == 0)
                r = spawn(s, argv);
        if (r == -ENOENT)
                return fail("the program ssh is not installed; install the package openssh-client");
        return r < 0 ? fail_text(str_format("ssh cannot be started: %s", strerror(-r))) : 0;
}

static void complaint_read(struct ssh_git_stream *s) {
        char chunk[512];
        ssize_t n;
        while (s->err >= 0 && (n = read(s->err, chunk, sizeof(chunk))) > 0)
                if (s->complaint.len < COMPLAINT_MAX)
                        buf_append(&s->complaint, chunk, (size_t)n);
}

/* The conversation ended early: what ssh said of it, in one line. */
static int fail_by_complaint(struct ssh_git_stream *s) {
        const struct git_access *a = s->owner->access;
        complaint_read(s);
        char *text = s->complaint.data;
        for (size_t i = 0; i < s->complaint.len; i++)
                if (iscntrl((unsigned char)text[i]))
                        text[i] = ' ';
        for (size_t i = s->complaint.len; i > 0 && text[i - 1] == ' '; i--)
                text[i - 1] = '\0';
        const char *said = buf_str(&s->complaint);
        while (*said == ' ')
                said++;
        if (strstr(said, "Host key verification failed"))
                return fail_text(str_format("the host key is not the one in %s: %s",
                                            a->known_hosts_file ? a->known_hosts_file : "the known hosts",
                                            said));
        if (strstr(said, "Permission denied"))
                return fail_text(str_format("the host refused the key %s: %s",
                                            a->ssh_key_file ? a->ssh_key_file : "(sshKeyFile is not set)",
                                            said));
        return fail_text(str_format("ssh ended: %s", *said ? said : "the host closed the connection"));
}

/* Waits until fd is ready; drains standard error meanwhile. */
static int wait_ready(struct ssh_git_stream *s, int fd, short events) {
        const struct git_access *a = s->owner->access;
        for (int waited = 0; waited < GIT_STALL_SECONDS * 1000; waited += POLL_MS) {
                struct pollfd p = {.fd = fd, .events = events};
                if (a->cancelled && atomic_load(a->cancelled))
                        return fail("stopped");
                int n = poll(&p, 1, POLL_MS);
                complaint_read(s);
                if (n > 0)
                        return 0;
                if (n < 0 && errno != EINTR)
                        return fail("the conversation with ssh broke");
        }
        return fail_text(str_format("the host said nothing for %d seconds", GIT_STALL_SECONDS));
}

static int stream_read(git_smart_subtransport_stream *base, char *out, size_t size, size_t *ret) {
        struct ssh_git_stream *s = (struct ssh_git_stream *)base;
        for (;;) {
                ssize_t n = read(s->out, out, size);
                if (n > 0) {
                        *ret = (size_t)n;
                        return git_access_count(s->owner->access, (size_t)n) ? 0 : -1;
                }
                if (n == 0)
                        return fail_by_complaint(s);
                if (errno != EAGAIN && errno != EINTR)
                        return fail("the conversation with ssh broke");
                int r = wait_ready(s, s->out, POLLIN);
                if (r < 0)
                        return r;
        }
}

static int stream_write(git_smart_subtransport_stream *base, const char *p, size_t len) {
        struct ssh_git_stream *s = (struct ssh_git_stream *)base;
        while (len > 0) {
                ssize_t n = write(s->in, p, len);
                if (n > 0) {
                        p += n;
                        len -= (size_t)n;
                        continue;
                }
                if (n < 0 && errno == EPIPE)
                        return fail_by_complaint(s);
                if (n < 0 && errno != EAGAIN && errno != EINTR)
                        return fail("the conversation with ssh broke");
                int r = wait_ready(s, s->in, POLLOUT);
                if (r < 0)
                        return r;
        }
        return 0;
}

static void stream_free(git_smart_subtransport_stream *base) {
        struct ssh_git_stream *s = (struct ssh_git_stream *)base;
        if (s->owner->stream == s)
                s->owner->stream = NULL;
        x_closep(&s->in);
        x_closep(&s->out);
        x_closep(&s->err);
        if (s->pid > 0) {
                (void)kill(s->pid, SIGTERM);
                while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
                        ;
        }
        buf_done(&s->complaint);
        free(s);
}

static int action(git_smart_subtransport_stream **out, git_smart_subtransport *base, const char *url,
                  git_smart_service_t service) {
        struct ssh_git *g = (struct ssh_git *)base;
        if (service == GIT_SERVICE_UPLOADPACK && g->stream) { /* goes on in the same conversation */
                *out = &g->stream->base;
                return 0;
        }
        if (service != GIT_SERVICE_UPLOADPACK_LS)
                return fail("only fetching is spoken here");
        struct ssh_git_stream *s = calloc(1, sizeof(*s));
        if (!s)
                return fail("out of memory");
        s->owner = g;
        s->in = s->out = s->err = -1;
        s->base.subtransport = base;
        s->base.read = stream_read;
        s->base.write = stream_write;
        s->base.free = stream_free;
        int r = start(s);
        if (r < 0) {
                stream_free(&s->base);
                return r;
        }
        g->stream = s;
        *out = &s->base;
        return 0;
}

static int subtransport_close(git_smart_subtransport *base) {
        return 0;
}

static void subtransport_free(git_smart_subtransport *base) {
        free(base);
}

int git_ssh_subtransport(git_smart_subtransport **out, git_transport *owner, void *access) {
        struct ssh_git *g = calloc(1, sizeof(*g));
        if (!g)
                return fail("out of memory");
        g->access = access;
        g->base.action = action;
        g->base.close = subtransport_close;
        g->base.free = subtransport_free;
        *out = &g->base;
        return 0;
}
