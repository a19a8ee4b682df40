/* SPDX-License-Identifier: Apache-2.0 */
#include "server/git_verifier.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"

#define POLL_MS 100
#define MEMORY_MAX ((rlim_t)1 << 30)
#define FILE_MAX ((rlim_t)64 << 20)
#define FILES_MAX 64

struct git_verifier {
        char *folder;
};

int git_verifier_open(struct git_verifier **ret, struct err **err) {
        const char *place = getenv("TMPDIR");
        _cleanup_(x_freep) char *folder =
                str_format("%s/skerry-verify-XXXXXX", place && *place ? place : "/tmp");
        struct git_verifier *v = calloc(1, sizeof(*v));
        if (!folder || !v) {
                free(v);
                return -ENOMEM;
        }
        if (!mkdtemp(folder)) {
                free(v);
                return err_set_errno(err, errno, "make a folder for checking signatures (%s)", folder);
        }
        v->folder = TAKE_PTR(folder);
        *ret = v;
        return 0;
}

struct git_verifier *git_verifier_close(struct git_verifier *v) {
        if (!v)
                return NULL;
        (void)path_remove(v->folder, NULL);
        free(v->folder);
        free(v);
        return NULL;
}

int git_verifier_put(struct git_verifier *v, const char *name, const void *data, size_t len,
                     struct err **err) {
        _cleanup_(x_freep) char *path = path_join(v->folder, name);
        return path ? file_write_atomic(path, data, len, 0600, err) : -ENOMEM;
}

/* ---- the child: nothing but system calls from here to execve() */

static void bound(int what, rlim_t most) {
        const struct rlimit limit = {most, most};
        (void)setrlimit((__rlimit_resource_t)what, &limit);
}

/* Writing only below its home. Older kernels have no Landlock: then the other walls stand. */
static void wall_in(int home) {
        const uint64_t writing = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
                                 LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
                                 LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                                 LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
                                 LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM;
        const struct landlock_ruleset_attr rules = {.handled_access_fs = writing};
        int fd = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules), 0);
        if (fd < 0)
                return;
        const struct landlock_path_beneath_attr beneath = {.allowed_access = writing, .parent_fd = home};
        /* OpenSSH's programs look at it before anything else. */
        const struct landlock_path_beneath_attr null = {.allowed_access = LANDLOCK_ACCESS_FS_WRITE_FILE,
                                                        .parent_fd = open("/dev/null", O_PATH | O_CLOEXEC)};
        if (syscall(SYS_landlock_add_rule, fd, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) == 0 &&
            syscall(SYS_landlock_add_rule, fd, LANDLOCK_RULE_PATH_BENEATH, &null, 0) == 0)
                (void)syscall(SYS_landlock_restrict_self, fd, 0);
}

static _Noreturn void child(const char *program, char *const *argv, char *const *environment, int home,
                            int input, int output) {
        sigset_t none;
        sigemptyset(&none);
        for (int i = 1; i < NSIG; i++)
                (void)signal(i, SIG_DFL);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        if (fchdir(home) < 0 || dup2(input, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
            dup2(output, STDERR_FILENO) < 0)
                _exit(126);
        bound(RLIMIT_AS, MEMORY_MAX);
        bound(RLIMIT_FSIZE, FILE_MAX);
        bound(RLIMIT_NOFILE, FILES_MAX);
        bound(RLIMIT_CORE, 0);
        bound(RLIMIT_CPU, GIT_VERIFIER_SECONDS);
        /* As an ordinary user only together with a user namespace, where those are let. */
        if (unshare(CLONE_NEWNET | CLONE_NEWIPC) < 0)
                (void)unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC);
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                _exit(126);
        wall_in(home);
        (void)syscall(SYS_close_range, 3U, ~0U, 0U);
        (void)execve(program, argv, environment);
        _exit(127);
}

/* ---- the parent */

static int program_find(const char *name, const char *package, char **ret, struct err **err) {
        static const char *const folders[] = {"/usr/bin", "/bin"};
        for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
                char *path = path_join(folders[i], name);
                if (!path)
                        return -ENOMEM;
                if (access(path, X_OK) == 0) {
                        *ret = path;
                        return 0;
                }
                free(path);
        }
        return err_set(err, ENOENT, "the program %s is not installed on the server; install the package %s",
                       name, package);
}

static void keep_text(struct buf *output, const char *p, ssize_t n) {
        for (ssize_t i = 0; i < n && output->len < GIT_VERIFIER_OUTPUT_MAX; i++) {
                bool is_text = (p[i] >= ' ' && p[i] < 0x7f) || p[i] == '\n';
                (void)buf_putc(output, is_text ? p[i] : '?');
        }
}

/* Reads until the program closes its output. */
static int listen_to(int fd, const atomic_bool *cancelled, struct buf *output) {
        const struct clock *clock = clock_system();
        msec_t end = clock_mono_ms(clock) + GIT_VERIFIER_SECONDS * 1000;
        for (;;) {
                struct pollfd p = {.fd = fd, .events = POLLIN};
                char chunk[1024];
                if (cancelled && atomic_load(cancelled))
                        return -ECANCELED;
                if (clock_mono_ms(clock) > end)
                        return -ETIMEDOUT;
                if (poll(&p, 1, POLL_MS) <= 0)
                        continue;
                ssize_t n = read(fd, chunk, sizeof(chunk));
                if (n == 0)
                        return 0;
                if (n > 0)
                        keep_text(output, chunk, n);
                else if (errno != EINTR && errno != EAGAIN)
                        return -errno;
        }
}

static int run(const char *program, const char *const *argv, char *const *environment, int home, int input,
               const atomic_bool *cancelled, struct buf *output, int *ret_status) {
        int out[2], status = 0;
        if (pipe2(out, O_CLOEXEC) < 0)
                return -errno;
        pid_t pid = fork();
        if (pid == 0)
                child(program, (char *const *)argv, environment, home, input, out[1]);
        int r = pid < 0 ? -errno : 0;
        close(out[1]);
        if (r == 0) {
                r = listen_to(out[0], cancelled, output);
                if (r < 0)
                        (void)kill(pid, SIGKILL);
                while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                        ;
        }
        close(out[0]);
        if (r == 0)
                *ret_status = status;
        return r;
}

int git_verifier_run(const struct git_verifier *v, const char *const *argv, const char *package,
                     const char *input, const atomic_bool *cancelled, struct buf *output, int *ret_code,
                     struct err **err) {
        _cleanup_(x_freep) char *program = NULL, *home_variable = str_format("HOME=%s", v->folder),
                                *input_path = input ? path_join(v->folder, input) : str_dup("/dev/null");
        char *environment[] = {home_variable, (char *)"LC_ALL=C", (char *)"TZ=UTC", NULL};
        int status = 0;
        if (!home_variable || !input_path)
                return -ENOMEM;
        int r = program_find(argv[0], package, &program, err);
        if (r < 0)
                return r;
        _cleanup_(x_closep) int home = open(v->folder, O_PATH | O_DIRECTORY | O_CLOEXEC),
                                in = open(input_path, O_RDONLY | O_CLOEXEC);
        if (home < 0 || in < 0)
                return err_set_errno(err, errno, "open %s", v->folder);
        r = run(program, argv, environment, home, in, cancelled, output, &status);
        if (r == -ETIMEDOUT)
                return err_set(err, ETIMEDOUT, "%s did not end within %d seconds", argv[0],
                               GIT_VERIFIER_SECONDS);
        if (r < 0)
                return err_set_errno(err, -r, "run %s", argv[0]);
        /* 126 and 127 are the child's own, before there is a program. */
        if (!WIFEXITED(status) || WEXITSTATUS(status) == 126 || WEXITSTATUS(status) == 127)
                return err_set(err, EIO, "%s could not do its work (%s %d)", argv[0],
                               WIFEXITED(status) ? "exit code" : "signal",
                               WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
        *ret_code = WEXITSTATUS(status);
        return 0;
}
