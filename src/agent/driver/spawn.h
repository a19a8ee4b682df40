/* SPDX-License-Identifier: Apache-2.0 */
/* Starts a program that shall outlive us: in its own session, behind a gate.
 *
 * The child stands at the gate, with everything set up but the exec, until spawn_release(). In between
 * the caller writes down the child's number and puts it in its cgroup. Should we die before, the gate
 * closes and the child ends without having run anything; so no process runs that is not written down. */
#pragma once

#include <sys/types.h>

#include "base/err.h"

struct spawn_request {
        const char *path;       /* of the program, absolute */
        char *const *arguments; /* NULL-terminated, the program's name first */
        char *const *environment;
        int folder; /* descriptor of the working folder, or -1 */
        int output; /* descriptor for standard output and error; standard input is /dev/null */
        bool change_user;
        uid_t uid;
        gid_t gid;
        const gid_t *groups; /* with change_user */
        size_t n_groups;
};

struct spawned {
        pid_t pid;
        int gate;   /* ours to open */
        int report; /* says why the exec failed */
};

int spawn_prepare(const struct spawn_request *request, struct spawned *ret, struct err **err);
/* Opens the gate and waits for the exec: 0, or -Exxx with words; then the child has ended and has been
 * waited for. Closes the descriptors. */
int spawn_release(struct spawned *s, struct err **err);
/* Sends the child home: it ends without having run anything. Closes and waits. */
void spawn_abandon(struct spawned *s);
