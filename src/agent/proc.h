/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc says of a process: enough to know it again after we were restarted, and not to take another
 * one for it that got its number since. */
#pragma once

#include <sys/types.h>

#include "base/macros.h"

#define BOOT_ID_SIZE 37

/* The kernel's random id of this boot; "" when /proc does not tell. */
void proc_boot_id(char out[BOOT_ID_SIZE]);

struct proc_stat {
        char state; /* 'R', 'S', 'Z', ... */
        pid_t parent, group, session;
        uint64_t start_time; /* clock ticks since boot (proc(5) field 22) */
};
/* -ESRCH when there is no such process. */
int proc_stat(pid_t pid, struct proc_stat *ret);
/* A descriptor that becomes readable when the process ends; made sure that it is the one that started at
 * start_time. -ESRCH when that one is gone (a zombie counts as there until it is waited for). */
int proc_open(pid_t pid, uint64_t start_time);
