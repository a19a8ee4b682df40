/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/fs.h"
#include "base/str.h"
#include "crypto/digest.h"
#include "fleet/app_secret.h"
#include "fleet/sops.h"

#define IDENTITY_PATH "identity/age-identity.txt"
#define PROC_FILE_MAX ((size_t)1 << 20)

struct secrets {
        char *identity_path;
        char *folder; /* given; NULL: look for one */
        char tag[17]; /* several agents may share a machine: their state folders tell them apart */
        struct age_identity *identity;
};

static const char *const usual_folders[] = {"/run/skerry-secrets", "/dev/shm/skerry-secrets"};

struct secrets *secrets_free(struct secrets *s) {
        if (!s)
                return NULL;
        age_identity_free(s->identity);
        free(s->identity_path);
        free(s->folder);
        free(s);
        return NULL;
}

int secrets_new(const char *state, const char *folder, struct secrets **ret, struct err **err) {
        _cleanup_(secrets_freep) struct secrets *s = calloc(1, sizeof(*s));
        char digest[SHA256_HEX_SIZE];
        if (!s || !(s->identity_path = path_join(state, IDENTITY_PATH)) ||
            (folder && !(s->folder = str_dup(folder))))
                return err_set_errno(err, ENOMEM, "secrets");
        _cleanup_(x_freep) char *whole = realpath(state, NULL);
        const char *named = whole ? whole : state;
        sha256_hex(named, strlen(named), digest);
        (void)snprintf(s->tag, sizeof(s->tag), "%.16s", digest);
        _cleanup_(err_freep) struct err *problem = NULL;
        int r = age_identity_load(s->identity_path, &s->identity, &problem);
        if (r < 0 && r != -ENOENT)
                return err_move(err, TAKE_PTR(problem));
        *ret = TAKE_PTR(s);
        return 0;
}

int secrets_ensure_identity(struct secrets *s, struct err **err) {
        _cleanup_(age_identity_freep) struct age_identity *fresh = NULL;
        if (s->identity)
                return 0;
        int r = age_identity_generate(&fresh, err);
        if (r == 0)
                r = age_identity_save(fresh, s->identity_path, err);
        if (r == 0)
                s->identity = TAKE_PTR(fresh);
        return r;
}

const char *secrets_recipient(const struct secrets *s) {
        return s->identity ? age_identity_recipient(s->identity) : NULL;
}

/* ---- decrypting */

int secrets_read(const struct secrets *s, struct object_store *objects, const char *node,
                 const struct app_secret *what, struct secret **ret, struct err **err) {
        _cleanup_(sops_freep) struct sops *file = NULL;
        _cleanup_(x_freep) char *text = NULL;
        char label[160];
        size_t len;
        app_secret_label(what, label, sizeof(label));
        if (!s || !s->identity)
                return err_set(err, ENOKEY,
                               "secret %s: this node has no age identity; it is made when the node enrols",
                               label);
        int r = object_store_read(objects, what->sha256, SOPS_FILE_MAX, &text, &len, err);
        if (r == 0)
                r = sops_parse(what->source, text, len, &file, err);
        if (r == 0 && !sops_has_recipient(file, secrets_recipient(s)))
                return err_set(err, ENOKEY,
                               "secret %s: this node is no recipient of %s: run 'skerry secret add --node %s "
                               "%s' and "
                               "commit (its recipient is %s)",
                               label, what->source, node, what->source, secrets_recipient(s));
        if (r == 0)
                r = sops_open(file, (const struct age_identity *const *)&s->identity, 1, err);
        if (r == 0)
                r = sops_value(file, what->key, ret, err);
        return r < 0 ? err_wrap_code(err, r, "secret %s", label) : 0;
}

/* ---- memory that is never swapped */

bool secrets_swap_leads_to_disk(const char *proc_swaps) {
        const char *line = strchr(proc_swaps, '\n'); /* the first line is the table's head */
        for (; line && line[1]; line = strchr(line + 1, '\n'))
                if (!str_has_prefix(line + 1, "/dev/zram"))
                        return true;
        return false;
}

static bool machine_swaps(void) {
        _cleanup_(x_freep) char *text = NULL;
        size_t len;
        int fd = open("/proc/swaps", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return errno != ENOENT; /* a kernel without swap has no such file */
        text = calloc(1, PROC_FILE_MAX);
        ssize_t n = text ? read(fd, text, PROC_FILE_MAX - 1) : -1;
        (void)close(fd);
        len = n > 0 ? (size_t)n : 0;
        return n < 0 || (len > 0 && secrets_swap_leads_to_disk(text));
}

/* The options of the mount that the path lies in say noswap. */
static bool mounted_noswap(const char *path) {
        bool noswap = false;
        size_t longest = 0;
        char line[4096], place[1024], options[1024];
        FILE *f = fopen("/proc/self/mounts", "re");
        while (f && fgets(line, sizeof(line), f)) {
                if (sscanf(line, "%*s %1023s %*s %1023s", place, options) != 2)
                        continue;
                size_t n = strcmp(place, "/") == 0 ? 0 : strlen(place);
                if (strncmp(path, place, n) == 0 && (path[n] == '/' || !path[n]) && n >= longest) {
                        longest = n;
                        noswap = strstr(options, "noswap") != NULL;
                }
        }
        if (f)
                (void)fclose(f);
        return noswap;
}

/* Does what is written there stay in memory? */
static bool stays_in_memory(const char *path) {
        struct statfs fs;
        if (statfs(path, &fs) < 0)
                return false;
        if ((unsigned long)fs.f_type == RAMFS_MAGIC)
                return true;
        return (unsigned long)fs.f_type == TMPFS_MAGIC && (mounted_noswap(path) || !machine_swaps());
}

/* A folder that is ours alone to write in; others may pass through to what they may read. */
static int make_own_folder(const char *path, struct err **err) {
        struct stat st;
        if (mkdir(path, 0711) < 0 && errno != EEXIST)
                return err_set_errno(err, errno, "folder for secrets %s", path);
        _cleanup_(x_closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0)
                return err_set_errno(err, errno, "folder for secrets %s", path);
        if (st.st_uid != geteuid())
                return err_set(err, EPERM, "folder for secrets %s belongs to user %u: remove it", path,
                               (unsigned)st.st_uid);
        if ((st.st_mode & 07777) != 0711 && fchmod(fd, 0711) < 0)
                return err_set_errno(err, errno, "folder for secrets %s", path);
        return 0;
}

static int use_folder(const char *folder, bool may_mount, struct err **err) {
        int r = make_own_folder(folder, err);
        if (r < 0 || stays_in_memory(folder))
                return r;
        if (may_mount &&
            mount("skerry-secrets", folder, "ramfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0711") == 0)
                return make_own_folder(folder, err);
        (void)rmdir(folder);
        return err_set(err, EOPNOTSUPP,
                       "no memory for secrets at %s that is never written to a disk: mount a tmpfs with "
                       "noswap, or a "
                       "ramfs, and name it with --secrets-folder",
                       folder);
}

/* What is there already comes before what would have to be mounted. */
static int find_base(struct secrets *s, struct err **err) {
        if (s->folder)
                return use_folder(s->folder, true, err);
        for (size_t i = 0; i < 2 * ARRAY_SIZE(usual_folders); i++) {
                const char *folder = usual_folders[i % ARRAY_SIZE(usual_folders)];
                _cleanup_(err_freep) struct err *problem = NULL;
                int r = use_folder(folder, i >= ARRAY_SIZE(usual_folders), &problem);
                if (r == 0)
                        return (s->folder = str_dup(folder)) ? 0 : err_set_errno(err, ENOMEM, "secrets");
                if (i + 1 == 2 * ARRAY_SIZE(usual_folders))
                        return err_move(err, TAKE_PTR(problem));
        }
        return -EOPNOTSUPP;
}

char *secrets_find_folder(const struct secrets *s, const char *app) {
        for (size_t i = 0; i < (s->folder ? 1 : ARRAY_SIZE(usual_folders)); i++) {
                char *path = str_format("%s/%s/%s", s->folder ? s->folder : usual_folders[i], s->tag, app);
                if (path && access(path, F_OK) == 0)
                        return path;
                free(path);
        }
        return NULL;
}

int secrets_make_folder(struct secrets *s, const char *app, char **ret, struct err **err) {
        int r = find_base(s, err);
        if (r < 0)
                return r;
        _cleanup_(x_freep) char *ours = path_join(s->folder, s->tag),
                                *path = ours ? path_join(ours, app) : NULL;
        if (!path)
                return err_set_errno(err, ENOMEM, "secrets");
        if ((r = make_own_folder(ours, err)) < 0 || (r = make_own_folder(path, err)) < 0)
                return r;
        *ret = TAKE_PTR(path);
        return 0;
}
