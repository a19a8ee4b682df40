/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/driver/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/driver/accounts.h"
#include "agent/driver/artifacts.h"
#include "agent/driver/secrets.h"
#include "base/str.h"

#define LAUNCH_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define LAUNCH_GROUPS_MAX 256

void launch_done(struct launch *l) {
        free(l->path);
        strv_free(l->arguments);
        for (size_t i = 0; l->environment && i < l->n_open; i++)
                free(l->environment[i]);
        free(l->environment);
        secret_free(l->hidden);
        free(l->folder);
        free(l->groups);
        x_closep(&l->folder_fd);
        *l = (struct launch){.folder_fd = -1};
}

static bool is_program(const char *path) {
        struct stat st;
        return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static int search_path(const char *name, const char *path, char **ret, struct err **err) {
        _cleanup_(strv_freep) char **folders = strv_split(path, ":");
        for (size_t i = 0; folders && folders[i]; i++) {
                _cleanup_(x_freep) char *candidate = path_join(folders[i], name);
                if (candidate && is_program(candidate)) {
                        *ret = TAKE_PTR(candidate);
                        return 0;
                }
        }
        return err_set(err, ENOENT, "command '%s' is in none of the folders of PATH (%s)", name, path);
}

static int find_in_artifact(const struct driver_host *host, const struct unit *unit, const char *name,
                            char **ret, struct err **err) {
        _cleanup_(x_freep) char *found = NULL;
        int r = artifacts_resolve(host, unit, name, &found, err);
        if (r < 0)
                return err_wrap_code(err, r, "command '%s'", name);
        /* A bare name may also be one of PATH, a shell say. */
        if (found && !strchr(name, '/') && access(found, F_OK) < 0)
                return 0;
        if (found && access(found, F_OK) < 0)
                return err_set(err, ENOENT, "command '%s' is not in the app's artifact (%s)", name, found);
        if (found && !is_program(found))
                return err_set(err, EACCES, "command '%s' is not an executable file", found);
        *ret = TAKE_PTR(found);
        return 0;
}

static int find_program(const struct driver_host *host, const struct app_spec *spec, const struct unit *unit,
                        const char *name, char **ret, struct err **err) {
        const char *path = pairs_get(&spec->environment, "PATH");

        int r = find_in_artifact(host, unit, name, ret, err);
        if (r < 0 || *ret)
                return r;
        if (!strchr(name, '/'))
                return search_path(name, path ? path : LAUNCH_PATH, ret, err);
        if (name[0] != '/')
                return err_set(err, EINVAL, "command '%s': neither an absolute path nor a bare name", name);
        /* What exists beneath the sysroot is taken from there; a symlink cannot lead out of it. */
        struct stat st;
        _cleanup_(x_closep) int fd = root_dir_openat(host->sysroot, name, O_PATH, 0);
        _cleanup_(x_freep) char *found = NULL;
        if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
                found = str_eq(root_dir_path(host->sysroot), "/")
                                ? str_dup(name)
                                : str_format("%s%s", root_dir_path(host->sysroot), name);
        else
                found = str_dup(name);
        if (!found)
                return err_set_errno(err, ENOMEM, "command %s", name);
        if (access(found, F_OK) < 0)
                return err_set(err, ENOENT,
                               "command '%s' does not exist, neither beneath the sysroot %s nor on the host",
                               name, root_dir_path(host->sysroot));
        if (!is_program(found))
                return err_set(err, EACCES, "command '%s' is not an executable file", found);
        *ret = TAKE_PTR(found);
        return 0;
}

static int find_user(const struct driver_host *host, const struct app_spec *spec, struct launch *l,
                     char **ret_home, struct err **err) {
        bool whole = str_eq(root_dir_path(host->sysroot), "/");
        const struct passwd *p;
        int n = LAUNCH_GROUPS_MAX;

        if (!spec->user) {
                p = getpwuid(geteuid());
                return p && !(*ret_home = str_dup(p->pw_dir)) ? err_set_errno(err, ENOMEM, "user") : 0;
        }
        int r = accounts_user(host->sysroot, spec->user, &l->uid, &l->gid, err);
        if (r < 0)
                return r;
        p = whole ? getpwuid(l->uid) : NULL;
        if (p && !(*ret_home = str_dup(p->pw_dir)))
                return err_set_errno(err, ENOMEM, "user");
        if (geteuid() != 0) {
                if (l->uid != geteuid())
                        return err_set(err, EPERM,
                                       "user '%s' needs an agent that runs as root; this one runs as user %u",
                                       spec->user, (unsigned)geteuid());
                return 0;
        }
        l->change_user = true;
        l->groups = calloc(LAUNCH_GROUPS_MAX, sizeof(*l->groups));
        if (!l->groups)
                return err_set_errno(err, ENOMEM, "user");
        if (p && getgrouplist(p->pw_name, l->gid, l->groups, &n) >= 0) {
                l->n_groups = (size_t)n;
        } else {
                l->groups[0] = l->gid;
                l->n_groups = 1;
        }
        return 0;
}

static int open_folder(const struct driver_host *host, const struct app_spec *spec, const struct unit *unit,
                       struct launch *l, struct err **err) {
        const char *name = spec->working_directory ? spec->working_directory : "/";
        int r = artifacts_resolve(host, unit, name, &l->folder, err);
        if (r < 0)
                return err_wrap_code(err, r, "working directory");
        if (l->folder) {
                l->folder_fd = open(l->folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
                return l->folder_fd < 0 ? err_set_errno(err, errno, "working directory %s", l->folder) : 0;
        }
        l->folder_fd =
                root_dir_openat(host->sysroot, str_eq(name, "/") ? "." : name, O_PATH | O_DIRECTORY, 0);
        if (l->folder_fd < 0)
                return err_set_errno(err, -l->folder_fd, "working directory %s beneath the sysroot %s", name,
                                     root_dir_path(host->sysroot));
        l->folder = str_eq(root_dir_path(host->sysroot), "/")
                            ? str_dup(name)
                            : str_format("%s%s", root_dir_path(host->sysroot), name);
        return l->folder ? 0 : err_set_errno(err, ENOMEM, "working directory");
}

static int set_variable(char ***environment, const char *key, const char *value) {
        _cleanup_(x_freep) char *text = str_format("%s=%s", key, value);
        size_t n = strlen(key);
        if (!text)
                return -ENOMEM;
        for (char **v = *environment; v && *v; v++)
                if (strncmp(*v, key, n) == 0 && (*v)[n] == '=') {
                        free(*v);
                        *v = TAKE_PTR(text);
                        return 0;
                }
        return strv_push(environment, text);
}

static int make_environment(const struct driver_host *host, const struct desired *desired,
                            const struct app_spec *spec, const char *home, char ***ret) {
        _cleanup_(strv_freep) char **e = NULL;
        int r;

        if ((r = set_variable(&e, "PATH", LAUNCH_PATH)) < 0 ||
            (r = set_variable(&e, "HOME", home ? home : "/")) < 0 ||
            (r = set_variable(&e, "LANG", "C.UTF-8")) < 0 ||
            (r = set_variable(&e, "SKERRY_NODE", host->node)) < 0 ||
            (r = set_variable(&e, "SKERRY_APP", spec->name)) < 0 ||
            (r = set_variable(&e, "SKERRY_REVISION", desired->source->revision)) < 0 ||
            (r = set_variable(&e, "SKERRY_SYSROOT", root_dir_path(host->sysroot))) < 0)
                return r;
        for (size_t i = 0; i < spec->environment.n; i++)
                if ((r = set_variable(&e, spec->environment.items[i].key, spec->environment.items[i].value)) <
                    0)
                        return r;
        *ret = TAKE_PTR(e);
        return 0;
}

static bool is_hidden(const struct app_spec *spec, const char *variable) {
        for (size_t i = 0; i < spec->n_secrets; i++) {
                const char *name = spec->secrets[i].kind == SECRET_ENVIRONMENT ? spec->secrets[i].name : NULL;
                const char *rest = name ? str_after_prefix(variable, name) : NULL;
                if (rest && *rest == '=')
                        return true;
        }
        return false;
}

/* Puts the variables that secrets give behind the others, which they win over. */
static int add_secrets(const struct driver_host *host, const struct app_spec *spec, char **open,
                       struct launch *l, struct err **err) {
        size_t n = 0, n_hidden = 0;
        int r = secrets_variables(host, spec, &l->hidden, &n_hidden, err);
        if (r < 0)
                return r;
        l->environment = calloc(strv_len(open) + n_hidden + 1, sizeof(*l->environment));
        if (!l->environment)
                return err_set_errno(err, ENOMEM, "environment");
        for (size_t i = 0; open[i]; i++)
                if (!is_hidden(spec, open[i])) {
                        if (!(l->environment[n] = str_dup(open[i])))
                                return err_set_errno(err, ENOMEM, "environment");
                        l->n_open = ++n;
                }
        char *at = l->hidden ? secret_data(l->hidden) : NULL;
        for (size_t i = 0; at && i < n_hidden; i++, at += strlen(at) + 1)
                l->environment[n++] = at;
        return 0;
}

int launch_prepare(const struct driver_host *host, const struct desired *desired, const struct app_spec *spec,
                   const char *const *command, struct launch *ret, struct err **err) {
        _cleanup_(launch_done) struct launch l = {.folder_fd = -1};
        _cleanup_(x_freep) char *home = NULL, *credentials = NULL;
        _cleanup_(strv_freep) char **open = NULL;
        int r;

        if (!command || !command[0])
                return err_set(err, EINVAL, "the command is empty");
        for (size_t i = 0; command[i]; i++)
                if (strv_push(&l.arguments, command[i]) < 0)
                        return err_set_errno(err, ENOMEM, "command");
        const struct unit *unit = desired_unit(desired, spec->name);
        if ((r = find_program(host, spec, unit, command[0], &l.path, err)) < 0 ||
            (r = find_user(host, spec, &l, &home, err)) < 0 ||
            (r = open_folder(host, spec, unit, &l, err)) < 0)
                return r;
        if ((r = secrets_credentials(host, spec, &credentials, err)) < 0)
                return r;
        r = make_environment(host, desired, spec, home, &open);
        if (r == 0 && credentials)
                r = set_variable(&open, "CREDENTIALS_DIRECTORY", credentials);
        if (r < 0)
                return err_set_errno(err, -r, "environment");
        if ((r = add_secrets(host, spec, open, &l, err)) < 0)
                return r;
        *ret = l;
        l = (struct launch){.folder_fd = -1};
        return 0;
}
