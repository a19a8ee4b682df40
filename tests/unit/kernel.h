/* SPDX-License-Identifier: Apache-2.0 */
/* What a machine may lack, so that tests of it are skipped in so many words instead of failing. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TEST_SKIPPED 77 /* to Meson */

/* Root folders resolve names by openat2(2). The user-mode emulation of Debian 12's QEMU does not pass it on,
 * so that what needs it cannot run under it. Says so. */
static inline bool lacks_openat2(void) {
        struct open_how how = {.flags = O_PATH | O_CLOEXEC};
        long fd = syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how));
        bool lacking = fd < 0 && errno == ENOSYS;
        if (fd >= 0)
                close((int)fd);
        if (lacking)
                puts("skipped: no openat2(2) here, as under QEMU's user-mode emulation");
        return lacking;
}

/* For a program nearly all of whose tests need it: first in main(), so that nothing that ran before is
 * hidden. */
static inline void skip_all_without_openat2(void) {
        if (lacks_openat2())
                exit(TEST_SKIPPED);
}
