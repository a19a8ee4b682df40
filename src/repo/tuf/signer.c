/* SPDX-License-Identifier: Apache-2.0 */
/* Signers of repo/tuf/key.h: a private key at hand, or a command that has one. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/str.h"
#include "repo/tuf/key.h"

#define COMMAND_OUTPUT_MAX ((size_t)64 * 1024)

struct tuf_signer {
        struct tuf_key *key;
        struct signing_key *private; /* or */
        char *command, *name;
};

struct tuf_signer *tuf_signer_free(struct tuf_signer *s) {
        if (s) {
                tuf_key_free(s->key);
                signing_key_free(s->private);
                free(s->command);
                free(s->name);
                free(s);
        }
        return NULL;
}

struct tuf_key *tuf_signer_key(const struct tuf_signer *s) {
        return s->key;
}

int tuf_signer_from_key(struct signing_key *k, struct tuf_signer **ret, struct err **err) {
        if (!signing_key_is_private(k))
                return err_set(err, EINVAL, "the key holds no private half; signing needs it");
        if (signing_key_scheme(k) == SIGNING_RSA_PSS)
                return err_set(
                        err, EOPNOTSUPP,
                        "RSA keys are verified only; sign with an Ed25519 or P-256 key, or by a command");
        _cleanup_(tuf_signer_freep) struct tuf_signer *s = calloc(1, sizeof(*s));
        if (!s)
                return err_set_errno(err, ENOMEM, "make signer");
        s->private = signing_key_ref(k);
        int r = tuf_key_from_signing_key(k, &s->key, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

int tuf_signer_from_file(const char *path, const char *passphrase, struct tuf_signer **ret,
                         struct err **err) {
        _cleanup_(signing_key_freep) struct signing_key *k = NULL;
        int r = signing_key_load(path, passphrase, &k, err);
        if (r < 0)
                return r;
        r = tuf_signer_from_key(k, ret, err);
        return r < 0 ? err_wrap_code(err, r, "key %s", path) : 0;
}

int tuf_signer_from_command(const char *command, const char *name, struct tuf_key *public_key,
                            struct tuf_signer **ret, struct err **err) {
        _cleanup_(tuf_signer_freep) struct tuf_signer *s = calloc(1, sizeof(*s));
        if (!s || !(s->command = str_dup(command)) || !(s->name = str_dup(name)))
                return err_set_errno(err, ENOMEM, "make signer");
        s->key = tuf_key_ref(public_key);
        *ret = TAKE_PTR(s);
        return 0;
}

/* ---- Running a command */

static void close_pair(int fds[2]) {
        for (int i = 0; i < 2; i++)
                if (fds[i] >= 0)
                        (void)close(fds[i]);
}

static char **make_environment(const struct tuf_signer *s) {
        char **all = NULL;
        _cleanup_(x_freep) char *id = str_format("SKERRY_KEY_ID=%s", tuf_key_id(s->key));
        _cleanup_(x_freep) char *name = str_format("SKERRY_KEY_NAME=%s", s->name);
        bool ok = id && name && strv_push(&all, id) >= 0 && strv_push(&all, name) >= 0;
        for (char **e = environ; ok && e && *e; e++)
                if (!str_has_prefix(*e, "SKERRY_KEY_ID=") && !str_has_prefix(*e, "SKERRY_KEY_NAME="))
                        ok = strv_push(&all, *e) >= 0;
        return ok ? all : strv_free(all);
}

/* Starts it with pipes for all three streams, in a process group of its own so that all of it can be ended.
 */
static int spawn_command(const struct tuf_signer *s, int in, int out, int error, pid_t *ret_pid) {
        char *const argv[] = {(char *)"sh", (char *)"-c", s->command, NULL};
        _cleanup_(strv_freep) char **environment = make_environment(s);
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        sigset_t none, defaults;
        if (!environment || posix_spawn_file_actions_init(&actions) != 0)
                return -ENOMEM;
        if (posix_spawnattr_init(&attributes) != 0) {
                posix_spawn_file_actions_destroy(&actions);
                return -ENOMEM;
        }
        sigemptyset(&none);
        sigemptyset(&defaults);
        sigaddset(&defaults, SIGPIPE);
        int r = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
        if (r == 0)
                r = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
        if (r == 0)
                r = posix_spawn_file_actions_adddup2(&actions, error, STDERR_FILENO);
        if (r == 0)
                r = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                                  POSIX_SPAWN_SETSIGDEF);
        if (r == 0)
                r = posix_spawnattr_setpgroup(&attributes, 0);
        if (r == 0)
                r = posix_spawnattr_setsigmask(&attributes, &none);
        if (r == 0)
                r = posix_spawnattr_setsigdefault(&attributes, &defaults);
        if (r == 0)
                r = posix_spawn(ret_pid, "/bin/sh", &actions, &attributes, argv, environment);
        posix_spawn_file_actions_destroy(&actions);
        posix_spawnattr_destroy(&attributes);
        return -r;
}

struct exchange {
        int in, out, error; /* ours; -1: done with */
        const char *p;      /* still to be written */
        size_t n;
        struct buf output, complaint;
};

static void exchange_done(struct exchange *x) {
        int fds[3] = {x->in, x->out, x->error};
        for (int i = 0; i < 3; i++)
                if (fds[i] >= 0)
                        (void)close(fds[i]);
        buf_done(&x->output);
        buf_done(&x->complaint);
}

static void shut(int *fd) {
        (void)close(*fd);
        *fd = -1;
}

/* More than fits is read and dropped: a talkative command must not block. */
static void read_some(int *fd, struct buf *into) {
        char chunk[4096];
        ssize_t got = read(*fd, chunk, sizeof(chunk));
        if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN))
                shut(fd);
        else if (got > 0)
                (void)buf_append(into, chunk, (size_t)got);
}

/* One turn of the pipes; a command that does not read its input is no error (its signature will tell). */
static int exchange_step(struct exchange *x, int timeout_ms) {
        struct pollfd fds[3] = {{.fd = x->in, .events = POLLOUT},
                                {.fd = x->out, .events = POLLIN},
                                {.fd = x->error, .events = POLLIN}};
        int r = poll(fds, 3, timeout_ms);
        if (r <= 0)
                return r == 0 ? -ETIMEDOUT : errno == EINTR ? 0 : -errno;
        if (fds[0].revents) {
                ssize_t put = write(x->in, x->p, x->n);
                if (put > 0) {
                        x->p += put;
                        x->n -= (size_t)put;
                }
                if (x->n == 0 || (put < 0 && errno != EINTR && errno != EAGAIN))
                        shut(&x->in);
        }
        if (fds[1].revents)
                read_some(&x->out, &x->output);
        if (fds[2].revents)
                read_some(&x->error, &x->complaint);
        return 0;
}

/* Waits for the end of the process, at most until the deadline; ends it where it goes on. */
static int reap(pid_t pid, msec_t deadline) {
        const struct clock *clock = clock_system();
        for (;;) {
                int status = 0;
                pid_t got = waitpid(pid, &status, WNOHANG);
                if (got == pid)
                        return status;
                if (got < 0 && errno != EINTR)
                        return 0;
                if (clock_mono_ms(clock) >= deadline)
                        (void)kill(-pid, SIGKILL);
                (void)nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
        }
}

static int run_command(const struct tuf_signer *s, const void *p, size_t n, struct exchange *x,
                       int *ret_status, struct err **err) {
        int in[2] = {-1, -1}, out[2] = {-1, -1}, error[2] = {-1, -1};
        pid_t pid = 0;
        int r = pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(error, O_CLOEXEC) < 0 ? -errno
                                                                                                     : 0;
        if (r == 0)
                r = spawn_command(s, in[0], out[1], error[1], &pid);
        if (r < 0) {
                close_pair(in);
                close_pair(out);
                close_pair(error);
                return err_set_errno(err, -r, "start the signer of key %s", s->name);
        }
        (void)close(in[0]);
        (void)close(out[1]);
        (void)close(error[1]);
        x->in = in[1];
        x->out = out[0];
        x->error = error[0];
        x->p = p;
        x->n = n;
        x->output.limit = x->complaint.limit = COMMAND_OUTPUT_MAX;
        (void)fcntl(x->in, F_SETFL, O_NONBLOCK);
        msec_t deadline = clock_mono_ms(clock_system()) + (msec_t)TUF_SIGNER_COMMAND_S * 1000;
        for (r = 0; r >= 0 && (x->out >= 0 || x->error >= 0);) {
                msec_t left = deadline - clock_mono_ms(clock_system());
                r = left <= 0 ? -ETIMEDOUT : exchange_step(x, (int)left);
        }
        if (r < 0)
                (void)kill(-pid, SIGKILL);
        *ret_status = reap(pid, deadline);
        if (r == -ETIMEDOUT)
                return err_set(err, ETIMEDOUT, "the signer of key %s gave no answer in %d seconds", s->name,
                               TUF_SIGNER_COMMAND_S);
        return r < 0 ? err_set_errno(err, -r, "talk with the signer of key %s", s->name) : 0;
}

/* What it printed as hex. Hex of a signature is longer than any base64 could be taken for it: a text of hex
 * digits alone is hex. */
static int read_signature(const char *text, char **ret_hex) {
        _cleanup_(buf_done) struct buf joined = BUF_INIT;
        for (const char *c = text; *c; c++)
                if (!strchr(" \t\r\n", *c))
                        buf_putc(&joined, *c);
        const char *s = buf_str(&joined);
        size_t len = joined.len, n = 0;
        _cleanup_(x_freep) void *raw = NULL;
        if (buf_failed(&joined) || len == 0)
                return -EINVAL;
        if (strspn(s, "0123456789abcdefABCDEF") == len && len % 2 == 0) {
                n = len / 2;
                raw = malloc(n);
                if (!raw || hex_decode(s, len, raw, n) < 0)
                        return -EINVAL;
        } else if (base64_decode(s, len, &raw, &n) < 0)
                return -EINVAL;
        if (n == 0 || n > SIGNING_SIGNATURE_MAX)
                return -EINVAL;
        char *hex = malloc(2 * n + 1);
        if (!hex)
                return -ENOMEM;
        hex_encode(raw, n, hex);
        *ret_hex = hex;
        return 0;
}

static void exchange_cleanup(struct exchange *x) {
        exchange_done(x);
}

static int sign_by_command(const struct tuf_signer *s, const void *p, size_t n, char **ret_hex,
                           struct err **err) {
        _cleanup_(exchange_cleanup) struct exchange x = {.in = -1, .out = -1, .error = -1};
        int status = 0;
        int r = run_command(s, p, n, &x, &status, err);
        if (r < 0)
                return r;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
                const char *said = buf_str(&x.complaint);
                said += strspn(said, " \t\r\n");
                return err_set(err, EIO, "the signer of key %s ended with %s %d%s%.*s", s->name,
                               WIFEXITED(status) ? "exit code" : "signal",
                               WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), *said ? ": " : "",
                               (int)strcspn(said, "\n"), said);
        }
        if (read_signature(buf_str(&x.output), ret_hex) < 0)
                return err_set(
                        err, EINVAL,
                        "the signer of key %s printed no signature: expected hex or base64 on its standard "
                        "output",
                        s->name);
        return 0;
}

int tuf_sign(struct tuf_signer *s, const void *p, size_t n, char **ret_hex, struct err **err) {
        _cleanup_(x_freep) char *hex = NULL;
        int r = 0;
        if (s->private) {
                uint8_t signature[SIGNING_SIGNATURE_MAX];
                size_t len = 0;
                r = signing_key_sign(s->private, p, n, signature, &len, err);
                if (r >= 0 && !(hex = malloc(2 * len + 1)))
                        r = err_set_errno(err, ENOMEM, "sign");
                if (r >= 0 && hex)
                        hex_encode(signature, len, hex);
        } else
                r = sign_by_command(s, p, n, &hex, err);
        if (r < 0)
                return r;
        if (!hex || tuf_key_verify(s->key, p, n, hex) < 0)
                return err_set(err, EKEYREJECTED,
                               "what the signer of key %s made does not fit its public key: is it the right "
                               "key, and "
                               "does it sign the bytes themselves (not their digest)?",
                               s->name ? s->name : tuf_key_id(s->key));
        *ret_hex = TAKE_PTR(hex);
        return 0;
}
