/* SPDX-License-Identifier: Apache-2.0 */
/* A delta made in a process of its own: the files it maps lie in a folder that others write, and one that is
 * cut off while it is read ends the process that reads it (SIGBUS). It takes up to a gigabyte, too: where
 * memory runs out it goes, and not the server. */
#pragma once

#include <stdatomic.h>

#include "base/err.h"

#define DELTA_PROCESS_COMMAND "_make-delta"

struct delta_process_options {
        /* A program whose command DELTA_PROCESS_COMMAND is delta_process_child(); NULL: this one. */
        const char *program;
        int seed_fd, target_fd, delta_fd;
        const atomic_bool *cancelled; /* or NULL */
};
/* Blocking; the child has the priority of the calling thread and ends with it. What delta_make() returns;
 * -EIO where the process was ended by a signal. */
int delta_process_run(const struct delta_process_options *o, struct err **err);
/* The child's side: what it works on are its file descriptors 3, 4 and 5. The process's exit code. */
int delta_process_child(void);
