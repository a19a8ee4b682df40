/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/driver/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/str.h"

#define CGROUP_OWN_LEAF "skerry-agent"
#define CGROUP_CPU_PERIOD_US 100000

struct cgroup {
        char *base; /* the group we were started in */
        char *tag;
        bool prepared;
};

static int read_text(const char *path, char **ret) {
        /* Kernel files say size 0: read by hand. */
        char text[16384];
        _cleanup_(x_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        size_t len = 0;
        for (;;) {
                ssize_t n = read(fd, text + len, sizeof(text) - 1 - len);
                if (n < 0)
                        return -errno;
                if (n == 0 || len + (size_t)n >= sizeof(text) - 1) {
                        len += (size_t)n;
                        break;
                }
                len += (size_t)n;
        }
        char *copy = str_dup_n(text, len);
        if (!copy)
                return -ENOMEM;
        *ret = copy;
        return 0;
}

static int write_text(const char *folder, const char *file, const char *text) {
        _cleanup_(x_freep) char *path = path_join(folder, file);
        if (!path)
                return -ENOMEM;
        _cleanup_(x_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/* Mount point of the version 2 hierarchy: "36 35 98:0 /root /mount options - cgroup2 ...". */
static char *find_mount(void) {
        _cleanup_(x_freep) char *text = NULL;
        if (read_text("/proc/self/mountinfo", &text) < 0)
                return NULL;
        _cleanup_(strv_freep) char **lines = strv_split(text, "\n");
        for (size_t i = 0; lines && lines[i]; i++) {
                if (!strstr(lines[i], " - cgroup2 "))
                        continue;
                _cleanup_(strv_freep) char **fields = strv_split(lines[i], " ");
                if (strv_len(fields) > 4)
                        return str_dup(fields[4]);
        }
        return NULL;
}

/* "0::/user.slice/...": our group in that hierarchy. */
static char *own_group(void) {
        _cleanup_(x_freep) char *text = NULL;
        if (read_text("/proc/self/cgroup", &text) < 0)
                return NULL;
        _cleanup_(strv_freep) char **lines = strv_split(text, "\n");
        for (size_t i = 0; lines && lines[i]; i++) {
                const char *path = str_after_prefix(lines[i], "0::");
                if (!path)
                        continue;
                /* Restarted in place: we are in our leaf already. */
                size_t len = strlen(path);
                if (str_has_suffix(path, "/" CGROUP_OWN_LEAF))
                        len -= strlen("/" CGROUP_OWN_LEAF);
                return str_dup_n(path, len);
        }
        return NULL;
}

int cgroup_open(const char *mount, const char *tag, struct cgroup **ret, struct err **err) {
        _cleanup_(x_freep) char *found = mount ? str_dup(mount) : find_mount();
        _cleanup_(x_freep) char *group = own_group();
        _cleanup_(cgroup_freep) struct cgroup *c = calloc(1, sizeof(*c));
        if (!found || !group)
                return err_set(err, ENOTSUP, "no control groups of version 2 are mounted");
        if (!c || !(c->tag = str_dup(tag)) ||
            !(c->base = str_format("%s%s", found, str_eq(group, "/") ? "" : group)))
                return err_set_errno(err, ENOMEM, "control groups");
        *ret = TAKE_PTR(c);
        return 0;
}

struct cgroup *cgroup_free(struct cgroup *c) {
        if (!c)
                return NULL;
        free(c->base);
        free(c->tag);
        free(c);
        return NULL;
}

static bool has_word(const char *text, const char *word) {
        _cleanup_(strv_freep) char **words = strv_split(text, " \n");
        return words && strv_has(words, word);
}

static int enable_controllers(struct cgroup *c) {
        return write_text(c->base, "cgroup.subtree_control", "+memory +cpu +pids");
}

static int prepare(struct cgroup *c, struct err **err) {
        _cleanup_(x_freep) char *controllers = NULL, *path = path_join(c->base, "cgroup.controllers"),
                                *enabled = NULL, *enabled_path = path_join(c->base, "cgroup.subtree_control"),
                                *leaf = path_join(c->base, CGROUP_OWN_LEAF);
        char self[24];

        if (c->prepared)
                return 0;
        if (!path || !enabled_path || !leaf)
                return err_set_errno(err, ENOMEM, "control groups");
        if (read_text(path, &controllers) < 0 || !has_word(controllers, "memory") ||
            !has_word(controllers, "cpu") || !has_word(controllers, "pids"))
                return err_set(err, ENOTSUP,
                               "%s does not offer the controllers memory, cpu and pids (hierarchy not "
                               "unified, or not delegated to this service)",
                               c->base);
        if (read_text(enabled_path, &enabled) == 0 && has_word(enabled, "memory") &&
            has_word(enabled, "cpu") && has_word(enabled, "pids")) {
                c->prepared = true;
                return 0;
        }
        int r = enable_controllers(c);
        if (r == -EBUSY) {
                (void)snprintf(self, sizeof(self), "%d", (int)getpid());
                if (mkdir(leaf, 0755) < 0 && errno != EEXIST)
                        return err_set_errno(err, errno, "make %s", leaf);
                r = write_text(leaf, "cgroup.procs", self);
                if (r == 0 && (r = enable_controllers(c)) < 0) {
                        /* Somebody else is in there with us: leave things as they were. */
                        (void)write_text(c->base, "cgroup.procs", self);
                        (void)rmdir(leaf);
                }
        }
        if (r < 0)
                return err_set_errno(err, -r, "hand out the controllers of %s", c->base);
        c->prepared = true;
        return 0;
}

static char *group_path(const struct cgroup *c, const char *app) {
        return str_format("%s/skerry-%s-%s", c->base, c->tag, app);
}

static int set_limit(const char *folder, const char *file, const char *text, struct err **err) {
        int r = write_text(folder, file, text);
        return r < 0 ? err_set_errno(err, -r, "write %s/%s", folder, file) : 0;
}

int cgroup_make(struct cgroup *c, const char *app, const struct cgroup_limits *limits, struct err **err) {
        char text[64];
        int r = prepare(c, err);
        if (r < 0)
                return r;
        _cleanup_(x_freep) char *folder = group_path(c, app);
        if (!folder)
                return err_set_errno(err, ENOMEM, "control groups");
        if (mkdir(folder, 0755) < 0 && errno != EEXIST)
                return err_set_errno(err, errno, "make %s", folder);

        if (limits->memory_max_bytes)
                (void)snprintf(text, sizeof(text), "%lld", (long long)limits->memory_max_bytes);
        else
                (void)snprintf(text, sizeof(text), "max");
        if ((r = set_limit(folder, "memory.max", text, err)) < 0)
                return r;
        if (limits->cpu_max_millis)
                (void)snprintf(text, sizeof(text), "%lld %d",
                               (long long)(limits->cpu_max_millis * (CGROUP_CPU_PERIOD_US / 1000)),
                               CGROUP_CPU_PERIOD_US);
        else
                (void)snprintf(text, sizeof(text), "max %d", CGROUP_CPU_PERIOD_US);
        if ((r = set_limit(folder, "cpu.max", text, err)) < 0)
                return r;
        if (limits->pids_max)
                (void)snprintf(text, sizeof(text), "%lld", (long long)limits->pids_max);
        else
                (void)snprintf(text, sizeof(text), "max");
        return set_limit(folder, "pids.max", text, err);
}

int cgroup_enter(struct cgroup *c, const char *app, pid_t pid, struct err **err) {
        _cleanup_(x_freep) char *folder = group_path(c, app);
        char text[24];
        if (!folder)
                return err_set_errno(err, ENOMEM, "control groups");
        (void)snprintf(text, sizeof(text), "%d", (int)pid);
        return set_limit(folder, "cgroup.procs", text, err);
}

void cgroup_kill(struct cgroup *c, const char *app) {
        _cleanup_(x_freep) char *folder = group_path(c, app);
        if (folder)
                (void)write_text(folder, "cgroup.kill", "1");
}

void cgroup_remove(struct cgroup *c, const char *app) {
        _cleanup_(x_freep) char *folder = group_path(c, app);
        if (folder)
                (void)rmdir(folder);
}
