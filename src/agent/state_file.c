/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "base/fs.h"
#include "base/str.h"

#define LOCK_WAIT_MS 3000
#define LOCK_PAUSE_MS 50

static int write_all(int fd, const char *p, size_t n) {
        while (n > 0) {
                ssize_t k = write(fd, p, n);
                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                p += k;
                n -= (size_t)k;
        }
        return 0;
}

int state_file_write(const char *path, const void *data, size_t len, struct err **err) {
        _cleanup_(x_freep) char *temporary = str_format("%s.new", path);
        if (!temporary)
                return err_set_errno(err, ENOMEM, "write %s", path);
        _cleanup_(x_closep) int fd =
                open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return err_set_errno(err, errno, "write %s", temporary);
        int r = write_all(fd, data, len);
        if (r == 0 && rename(temporary, path) < 0)
                r = -errno;
        if (r < 0) {
                (void)unlink(temporary);
                return err_set_errno(err, -r, "write %s", path);
        }
        return 0;
}

/* A child that an agent was just about to start when it was killed holds its lock until it runs its program.
 */
static int lock_soon(int fd) {
        const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000L};
        for (int waited = 0;; waited += LOCK_PAUSE_MS) {
                if (flock(fd, LOCK_EX | LOCK_NB) == 0)
                        return 0;
                if (errno != EWOULDBLOCK || waited >= LOCK_WAIT_MS)
                        return -errno;
                (void)nanosleep(&pause, NULL);
        }
}

int state_lock(const char *state, int *ret_fd, struct err **err) {
        int r = dir_make(state, 0700, err);
        if (r < 0)
                return r;
        _cleanup_(x_freep) char *path = path_join(state, "lock");
        if (!path)
                return err_set_errno(err, ENOMEM, "lock %s", state);
        _cleanup_(x_closep) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return err_set_errno(err, errno, "open %s", path);
        r = lock_soon(fd);
        if (r < 0) {
                char holder[32] = "";
                if (r != -EWOULDBLOCK)
                        return err_set_errno(err, -r, "lock %s", path);
                if (read(fd, holder, sizeof(holder) - 1) <= 0)
                        (void)snprintf(holder, sizeof(holder), "unknown");
                holder[strcspn(holder, "\n")] = '\0';
                return err_set(err, EBUSY, "%s is in use by another agent (process %s); stop that one first",
                               state, holder);
        }
        char text[32];
        int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
        if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) < 0)
                return err_set_errno(err, errno, "write %s", path);
        *ret_fd = TAKE_FD(fd);
        return 0;
}
