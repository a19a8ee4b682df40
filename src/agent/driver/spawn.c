/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/driver/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct spawn_failure { /* what the child tells when it cannot run the program */
        int code;
        int step;
};
enum { STEP_FOLDER, STEP_OUTPUT, STEP_USER, STEP_EXEC };
static const char *const step_texts[] = {
        [STEP_FOLDER] = "enter the working directory",
        [STEP_OUTPUT] = "set up standard input and output",
        [STEP_USER] = "change to the user",
        [STEP_EXEC] = "execute the program",
};

/* From here to the exec only what is async-signal-safe: we may have been one thread of several. */
_noreturn_ static void child_fail(int report, int step, int code) {
        struct spawn_failure f = {.code = code, .step = step};
        ssize_t ignored = write(report, &f, sizeof(f));
        (void)ignored;
        _exit(127);
}

static void child_reset_signals(void) {
        sigset_t none;
        struct sigaction standard;
        memset(&standard, 0, sizeof(standard));
        standard.sa_handler = SIG_DFL;
        for (int s = 1; s < NSIG; s++)
                (void)sigaction(s, &standard, NULL);
        sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

_noreturn_ static void child(const struct spawn_request *q, int gate, int report) {
        char go;

        (void)setsid();
        child_reset_signals();
        (void)umask(022);

        int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
        /* 0, 1 and 2 lose the close-on-exec flag by dup2; gate and report are above them. */
        if (input < 0 || dup2(input, 0) < 0 || dup2(q->output, 1) < 0 || dup2(q->output, 2) < 0)
                child_fail(report, STEP_OUTPUT, errno);
        if (q->folder >= 0 && fchdir(q->folder) < 0)
                child_fail(report, STEP_FOLDER, errno);
        if (q->change_user &&
            (setgroups(q->n_groups, q->groups) < 0 || setresgid(q->gid, q->gid, q->gid) < 0 ||
             setresuid(q->uid, q->uid, q->uid) < 0))
                child_fail(report, STEP_USER, errno);

        ssize_t n;
        do
                n = read(gate, &go, 1);
        while (n < 0 && errno == EINTR);
        if (n != 1)
                _exit(0);
        (void)execve(q->path, q->arguments, q->environment);
        child_fail(report, STEP_EXEC, errno);
}

/* A pipe with both ends above 2, so that the child's dup2 cannot hit them. */
static int make_pipe(int ret[2]) {
        int fds[2];
        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        for (int i = 0; i < 2; i++)
                if (fds[i] <= 2) {
                        int higher = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
                        int code = errno;
                        (void)close(fds[i]);
                        fds[i] = higher;
                        if (higher < 0) {
                                (void)close(fds[1 - i]);
                                return -code;
                        }
                }
        ret[0] = fds[0];
        ret[1] = fds[1];
        return 0;
}

int spawn_prepare(const struct spawn_request *q, struct spawned *ret, struct err **err) {
        int gate[2] = {-1, -1}, report[2] = {-1, -1};
        int r = make_pipe(gate);
        if (r < 0)
                return err_set_errno(err, -r, "start %s", q->path);
        r = make_pipe(report);
        if (r < 0) {
                (void)close(gate[0]);
                (void)close(gate[1]);
                return err_set_errno(err, -r, "start %s", q->path);
        }

        /* No signal handler of ours may run in the child. */
        sigset_t all, before;
        sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        pid_t pid = fork();
        int code = errno;
        if (pid == 0) {
                (void)close(gate[1]);
                (void)close(report[0]);
                child(q, gate[0], report[1]);
        }
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
        (void)close(gate[0]);
        (void)close(report[1]);
        if (pid < 0) {
                (void)close(gate[1]);
                (void)close(report[0]);
                return err_set_errno(err, code, "start %s", q->path);
        }
        *ret = (struct spawned){.pid = pid, .gate = gate[1], .report = report[0]};
        return 0;
}

static void close_both(struct spawned *s) {
        x_closep(&s->gate);
        x_closep(&s->report);
        s->gate = s->report = -1;
}

static void wait_for(pid_t pid) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
}

int spawn_release(struct spawned *s, struct err **err) {
        struct spawn_failure f;
        ssize_t n;

        do
                n = write(s->gate, "g", 1);
        while (n < 0 && errno == EINTR);
        do
                n = read(s->report, &f, sizeof(f));
        while (n < 0 && errno == EINTR);
        close_both(s);
        if (n == 0) /* closed by the exec */
                return 0;
        wait_for(s->pid);
        if (n != (ssize_t)sizeof(f) || f.step < 0 || (size_t)f.step >= ARRAY_SIZE(step_texts) || f.code <= 0)
                return err_set(err, EIO, "the child ended before it could run the program");
        return err_set_errno(err, f.code, "%s", step_texts[f.step]);
}

void spawn_abandon(struct spawned *s) {
        close_both(s);
        wait_for(s->pid);
}
