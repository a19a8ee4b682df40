/* SPDX-License-Identifier: Apache-2.0 */
/* Limits by control groups, version 2 (kernel Documentation/admin-guide/cgroup-v2.rst).
 *
 * Each app with limits gets a group below the one the agent was started in. A group that holds processes
 * itself cannot hand controllers to its children ("no internal processes"), so the agent moves into a leaf
 * of its own first; where that is not allowed (another process shares our group, the hierarchy is not
 * delegated, or not unified) limits cannot be set and the caller is told why. */
#pragma once

#include <sys/types.h>

#include "base/err.h"

struct cgroup;
struct cgroup_limits {
        int64_t memory_max_bytes, cpu_max_millis, pids_max; /* 0: none */
};

/* Looks where we are; changes nothing. tag keeps the groups of several agents apart. mount NULL: found in
 * /proc/self/mountinfo. -ENOTSUP when there is no version 2 hierarchy. */
int cgroup_open(const char *mount, const char *tag, struct cgroup **ret, struct err **err);
struct cgroup *cgroup_free(struct cgroup *c);
DEFINE_CLEANUP(struct cgroup, cgroup_free)

/* Makes (or adjusts) the app's group with these limits; nothing is in it yet. */
int cgroup_make(struct cgroup *c, const char *app, const struct cgroup_limits *limits, struct err **err);
int cgroup_enter(struct cgroup *c, const char *app, pid_t pid, struct err **err);
/* Kills all in the group, at once. */
void cgroup_kill(struct cgroup *c, const char *app);
/* Removes the group when it is empty. */
void cgroup_remove(struct cgroup *c, const char *app);
