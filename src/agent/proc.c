/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

static int read_small(const char *path, char *out, size_t size) {
        _cleanup_(x_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        ssize_t n = read(fd, out, size - 1);
        if (n < 0)
                return -errno;
        out[n] = '\0';
        return 0;
}

void proc_boot_id(char out[BOOT_ID_SIZE]) {
        if (read_small("/proc/sys/kernel/random/boot_id", out, BOOT_ID_SIZE) < 0)
                out[0] = '\0';
}

int proc_stat(pid_t pid, struct proc_stat *ret) {
        char path[40], text[1024];
        int parent, group, session;
        unsigned long long start;
        char state;

        (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        if (read_small(path, text, sizeof(text)) < 0)
                return -ESRCH;
        /* The name in brackets may hold anything, brackets too. */
        const char *rest = strrchr(text, ')');
        if (!rest ||
            sscanf(rest + 1, " %c %d %d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                   &state, &parent, &group, &session, &start) != 5)
                return -ESRCH;
        *ret = (struct proc_stat){state, parent, group, session, start};
        return 0;
}

int proc_open(pid_t pid, uint64_t start_time) {
        struct proc_stat st;
        _cleanup_(x_closep) int fd = (int)syscall(SYS_pidfd_open, pid, 0);
        if (fd < 0)
                return errno == EINVAL ? -ESRCH : -errno;
        /* The number may have gone to another process before we held it: look only now. */
        if (proc_stat(pid, &st) < 0 || st.start_time != start_time)
                return -ESRCH;
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
                return -errno;
        return TAKE_FD(fd);
}
