/* SPDX-License-Identifier: Apache-2.0 */
#include "server/delta_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/str.h"
#include "repo/delta/make.h"
#include "server/memory.h"

#define MEMORY_MAX ((int64_t)1 << 30) /* the machine has other work */
#define MESSAGE_MAX 4096
#define LOOK_MS 200 /* whether it was cancelled */
#define OOM_SCORE "500"
enum { SEED_FD = 3, TARGET_FD, DELTA_FD, FIRST_FREE_FD };

/* ---- the child */

int delta_process_child(void) {
        /* The thread that waits for it is gone: nobody wants the delta any more. */
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)signal(SIGBUS, SIG_DFL); /* the parent has words for it; nobody else's handler does */
        _cleanup_(x_closep) int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
        if (score >= 0) /* where it cannot be said, it is as likely to go as others */
                (void)!write(score, OOM_SCORE, strlen(OOM_SCORE));
        _cleanup_(err_freep) struct err *err = NULL;
        const struct delta_make_options o = {.seed_fd = SEED_FD,
                                             .target_fd = TARGET_FD,
                                             .delta_fd = DELTA_FD,
                                             .threads = 1,
                                             .memory_max = MEMORY_MAX};
        int r = delta_make(&o, NULL, &err);
        if (r < 0)
                fputs(err ? err_message(err) : strerror(-r), stderr);
        return -r;
}

/* ---- the parent */

static int spawn(const char *program, const int fds[3], int complaints, pid_t *ret) {
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        sigset_t none, defaults;
        char name[] = "skerry-server", command[] = DELTA_PROCESS_COMMAND;
        char *const argv[] = {name, command, NULL};
        posix_spawn_file_actions_init(&actions);
        posix_spawnattr_init(&attributes);
        sigemptyset(&none);
        sigfillset(&defaults);
        int r = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        if (r == 0)
                r = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
        if (r == 0)
                r = posix_spawn_file_actions_adddup2(&actions, complaints, STDERR_FILENO);
        for (int i = 0; r == 0 && i < 3; i++)
                r = posix_spawn_file_actions_adddup2(&actions, fds[i], SEED_FD + i);
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setsigdefault(&attributes, &defaults);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
        if (r == 0)
                r = posix_spawn(ret, program ? program : "/proc/self/exe", &actions, &attributes, argv,
                                environ);
        posix_spawn_file_actions_destroy(&actions);
        posix_spawnattr_destroy(&attributes);
        return -r;
}

/* Until the child has closed its standard error, which it does by ending. */
static void listen_to(int fd, pid_t child, const atomic_bool *cancelled, struct buf *message) {
        char piece[512];
        struct pollfd p = {.fd = fd, .events = POLLIN};
        for (;;) {
                if (cancelled && atomic_load(cancelled))
                        (void)kill(child, SIGKILL);
                if (poll(&p, 1, LOOK_MS) <= 0)
                        continue;
                ssize_t n = read(fd, piece, sizeof(piece));
                if (n == 0 || (n < 0 && errno != EINTR))
                        return;
                if (n > 0 && message->len < MESSAGE_MAX)
                        must_do(buf_append(message, piece, (size_t)n));
        }
}

static int result_of(int status, const struct buf *message, struct err **err) {
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS)
                return err_set(err, EIO,
                               "an artifact was cut off or could not be read while the delta was made");
        if (WIFSIGNALED(status))
                return err_set(err, EIO, "the process that made it was ended by signal %d (%s)",
                               WTERMSIG(status), strsignal(WTERMSIG(status)));
        if (WEXITSTATUS(status) == 0)
                return 0;
        return err_set(err, WEXITSTATUS(status), "%s",
                       message->len > 0 ? buf_str(message) : strerror(WEXITSTATUS(status)));
}

int delta_process_run(const struct delta_process_options *o, struct err **err) {
        /* Above the numbers that they get in the child, so that none is put over another. */
        _cleanup_(x_closep) int seed = fcntl(o->seed_fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
        _cleanup_(x_closep) int target = fcntl(o->target_fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
        _cleanup_(x_closep) int delta = fcntl(o->delta_fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
        _cleanup_(buf_done) struct buf message = BUF_INIT;
        int ends[2];
        if (seed < 0 || target < 0 || delta < 0 || pipe2(ends, O_CLOEXEC) < 0)
                return err_set_errno(err, errno, "start the making of a delta");
        _cleanup_(x_closep) int complaints = ends[0];
        _cleanup_(x_closep) int child_end = fcntl(ends[1], F_DUPFD_CLOEXEC, FIRST_FREE_FD);
        int r = child_end < 0 ? -errno : 0, status;
        (void)close(ends[1]);
        const int fds[] = {seed, target, delta};
        pid_t child = -1;
        if (r == 0)
                r = spawn(o->program, fds, child_end, &child);
        if (r < 0)
                return err_set_errno(err, -r, "start the making of a delta");
        x_closep(&child_end);
        child_end = -1;
        listen_to(complaints, child, o->cancelled, &message);
        while (waitpid(child, &status, 0) < 0)
                if (errno != EINTR)
                        return err_set_errno(err, errno, "wait for the making of a delta");
        if (o->cancelled && atomic_load(o->cancelled))
                return err_set(err, ECANCELED, "canceled");
        return result_of(status, &message, err);
}
