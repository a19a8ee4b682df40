/* SPDX-License-Identifier: Apache-2.0 */
/* How a command of an app is run on this machine: program, environment, folder and user.
 *
 * The sysroot is a root for files, not a chroot. A relative name, and one below the `path` of an artifact,
 * leads into the artifact (driver/artifacts.h). A program named by an absolute path is taken from the sysroot
 * where it exists there, else as it is named; a bare name is looked for in PATH. The environment is small and
 * the same everywhere: PATH, HOME, LANG, SKERRY_NODE, SKERRY_APP, SKERRY_REVISION, SKERRY_SYSROOT, and then
 * the app's own, which wins, and its secrets; CREDENTIALS_DIRECTORY where it has credentials. */
#pragma once

#include "agent/driver/driver.h"
#include "base/secret.h"

struct launch {
        char *path;         /* absolute, on the host */
        char **arguments;   /* the command */
        char **environment; /* the first n_open are ours, the rest lie in `hidden` */
        size_t n_open;
        struct secret *hidden; /* variables from secrets; NULL: none */
        char *folder;          /* on the host */
        int folder_fd;
        bool change_user;
        uid_t uid;
        gid_t gid;
        gid_t *groups;
        size_t n_groups;
};

/* -ENOENT: no such program, folder or user; -EPERM: the user needs root. */
int launch_prepare(const struct driver_host *host, const struct desired *desired, const struct app_spec *spec,
                   const char *const *command, struct launch *ret, struct err **err);
void launch_done(struct launch *l);
