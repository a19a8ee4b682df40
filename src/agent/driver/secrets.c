/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/driver/secrets.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/driver/accounts.h"
#include "agent/driver/shown_link.h"
#include "agent/secrets.h"
#include "base/str.h"
#include "crypto/digest.h"

#define CREDENTIALS "credentials"
#define FILES "files"

struct given_file {
        bool verified; /* `seen` is of a file whose content was right */
        struct stat seen;
};

struct secrets_part {
        struct driver_part part;
        char *app;
        struct desired *desired;
        const struct unit *unit; /* NULL: only to remove */
        struct given_file *files;
};

static bool is_file(const struct app_secret *s) {
        return s->kind != SECRET_ENVIRONMENT;
}

static size_t count(const struct app_spec *spec, enum secret_kind kind) {
        size_t n = 0;
        for (size_t i = 0; i < spec->n_secrets; i++)
                n += spec->secrets[i].kind == kind;
        return n;
}

bool secrets_are_given(const struct driver_host *host, const struct unit *unit, const char *app) {
        if (unit && (count(unit->spec, SECRET_CREDENTIAL) || count(unit->spec, SECRET_FILE)))
                return true;
        _cleanup_(x_freep) char *left = host->secrets ? secrets_find_folder(host->secrets, app) : NULL;
        return left;
}

/* ---- variables */

int secrets_variables(const struct driver_host *host, const struct app_spec *spec, struct secret **ret,
                      size_t *ret_n, struct err **err) {
        struct secret *values[APP_SECRETS_MAX] = {NULL};
        size_t size = 0, n = 0, at = 0;
        int r = 0;
        for (size_t i = 0; r == 0 && i < spec->n_secrets; i++) {
                const struct app_secret *s = &spec->secrets[i];
                if (s->kind != SECRET_ENVIRONMENT)
                        continue;
                r = secrets_read(host->secrets, host->objects, host->node, s, &values[i], err);
                if (r == 0 && strlen(secret_text(values[i])) != secret_len(values[i]))
                        r = err_set(
                                err, EINVAL,
                                "secret environment %s: the value holds a NUL, which a variable cannot: use "
                                "a credential",
                                s->name);
                if (r == 0) {
                        size += strlen(s->name) + secret_len(values[i]) + 2;
                        n++;
                }
        }
        _cleanup_(secret_freep) struct secret *all = r == 0 && n ? secret_new(size, true) : NULL;
        if (r == 0 && n && !all)
                r = err_set_errno(err, ENOMEM, "secrets of the environment");
        for (size_t i = 0; r == 0 && i < spec->n_secrets; i++)
                if (values[i])
                        at += (size_t)snprintf(secret_data(all) + at, size - at + 1, "%s=%s",
                                               spec->secrets[i].name, secret_text(values[i])) +
                              1;
        for (size_t i = 0; i < APP_SECRETS_MAX; i++)
                secret_free(values[i]);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(all);
        *ret_n = n;
        return 0;
}

int secrets_credentials(const struct driver_host *host, const struct app_spec *spec, char **ret,
                        struct err **err) {
        _cleanup_(x_freep) char *folder = NULL;
        *ret = NULL;
        if (count(spec, SECRET_CREDENTIAL) == 0)
                return 0;
        int r = host->secrets ? secrets_make_folder(host->secrets, spec->name, &folder, err)
                              : err_set(err, EOPNOTSUPP, "this agent keeps no secrets");
        if (r < 0)
                return r;
        *ret = path_join(folder, CREDENTIALS);
        return *ret ? 0 : err_set_errno(err, ENOMEM, "credentials");
}

/* ---- files */

static int find_attributes(const struct secrets_part *p, const struct app_secret *s,
                           struct file_attributes *ret, struct err **err) {
        const struct app_spec *spec = p->unit->spec;
        const char *owner = s->kind == SECRET_CREDENTIAL ? spec->user : s->owner;
        struct root_dir *sysroot = p->part.host->sysroot;
        gid_t own_group = (gid_t)-1;
        int r;
        *ret = (struct file_attributes){.mode = s->kind == SECRET_CREDENTIAL ? 0400 : (mode_t)s->mode & 0777,
                                        .uid = (uid_t)-1,
                                        .gid = (gid_t)-1};
        if ((owner && (r = accounts_user(sysroot, owner, &ret->uid, &own_group, err)) < 0) ||
            (s->group && (r = accounts_group(sysroot, s->group, &ret->gid, err)) < 0))
                return r;
        if (geteuid() != 0 && owner && ret->uid != geteuid())
                return err_set(err, EPERM, "owner '%s' needs an agent that runs as root", owner);
        return 0;
}

/* Names of its own: a path may be as long as it likes. */
static void file_name(const struct app_secret *s, char out[SHA256_HEX_SIZE + 16]) {
        char digest[SHA256_HEX_SIZE];
        sha256_hex(s->path, strlen(s->path), digest);
        (void)snprintf(out, SHA256_HEX_SIZE + 16, "%.32s", digest);
}

static int make_folder(const char *in, const char *name, mode_t mode, const struct file_attributes *owner,
                       char **ret, struct err **err) {
        _cleanup_(x_freep) char *path = path_join(in, name);
        if (!path)
                return err_set_errno(err, ENOMEM, "%s", name);
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
                return err_set_errno(err, errno, "%s", path);
        /* Our own parent folder: nobody else can have put a link there. */
        if (chmod(path, mode) < 0 ||
            (owner && owner->uid != (uid_t)-1 && chown(path, owner->uid, (gid_t)-1) < 0))
                return err_set_errno(err, errno, "%s", path);
        *ret = TAKE_PTR(path);
        return 0;
}

static bool same(const struct stat *a, const struct stat *b) {
        return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
               a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
               a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static int write_all(int fd, const char *data, size_t n) {
        while (n > 0) {
                ssize_t done = write(fd, data, n);
                if (done < 0 && errno == EINTR)
                        continue;
                if (done <= 0)
                        return done < 0 ? -errno : -EIO;
                data += done;
                n -= (size_t)done;
        }
        return 0;
}

/* Old or new, never half: a new file under another name, put in its place. */
static int write_file(const char *folder, const char *name, const struct secret *value,
                      const struct file_attributes *a, struct stat *ret_seen, struct err **err) {
        _cleanup_(x_freep) char *path = path_join(folder, name),
                                *fresh = str_format("%s/.%s.new", folder, name);
        if (!path || !fresh)
                return err_set_errno(err, ENOMEM, "%s", name);
        (void)unlink(fresh);
        _cleanup_(x_closep) int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        int r = fd < 0 ? -errno : write_all(fd, secret_text(value), secret_len(value));
        if (r == 0 && ((a->uid != (uid_t)-1 || a->gid != (gid_t)-1) && fchown(fd, a->uid, a->gid) < 0))
                r = -errno;
        if (r == 0 && (fchmod(fd, a->mode) < 0 || rename(fresh, path) < 0 || fstat(fd, ret_seen) < 0))
                r = -errno;
        if (r < 0) {
                (void)unlink(fresh);
                return err_set_errno(err, -r, "%s", path);
        }
        return 0;
}

static int put_one(struct secrets_part *p, size_t i, const char *folder, bool *ret_changed,
                   struct err **err) {
        const struct app_secret *s = &p->unit->spec->secrets[i];
        const struct driver_host *host = p->part.host;
        struct given_file *g = &p->files[i];
        struct file_attributes attributes;
        char name[SHA256_HEX_SIZE + 16];
        struct stat st;
        if (s->kind == SECRET_FILE)
                file_name(s, name);
        const char *called = s->kind == SECRET_FILE ? name : s->name;
        _cleanup_(x_freep) char *path = path_join(folder, called);
        _cleanup_(secret_freep) struct secret *value = NULL;
        int r = path ? find_attributes(p, s, &attributes, err) : err_set_errno(err, ENOMEM, "secret");
        if (r < 0)
                return r;
        if (!g->verified || lstat(path, &st) < 0 || !same(&st, &g->seen)) {
                r = secrets_read(host->secrets, host->objects, host->node, s, &value, err);
                if (r == 0)
                        r = write_file(folder, called, value, &attributes, &g->seen, err);
                if (r < 0)
                        return r;
                *ret_changed = true;
                g->verified = true;
        }
        return s->kind == SECRET_FILE ? shown_link_put(host->sysroot, s->path, path, ret_changed, err) : 0;
}

static bool is_wanted(const struct app_spec *spec, enum secret_kind kind, const char *name) {
        char own[SHA256_HEX_SIZE + 16];
        for (size_t i = 0; i < spec->n_secrets; i++) {
                if (spec->secrets[i].kind != kind)
                        continue;
                if (kind == SECRET_FILE)
                        file_name(&spec->secrets[i], own);
                if (str_eq(name, kind == SECRET_FILE ? own : spec->secrets[i].name))
                        return true;
        }
        return false;
}

/* What an earlier version had, or an interrupted write left. */
static int remove_unwanted(const char *folder, const struct app_spec *spec, enum secret_kind kind,
                           struct err **err) {
        DIR *dir = opendir(folder);
        int r = 0;
        if (!dir)
                return err_set_errno(err, errno, "%s", folder);
        for (struct dirent *e; r == 0 && (e = readdir(dir));)
                if (!str_eq(e->d_name, ".") && !str_eq(e->d_name, "..") &&
                    !is_wanted(spec, kind, e->d_name) && unlinkat(dirfd(dir), e->d_name, 0) < 0 &&
                    errno != ENOENT)
                        r = err_set_errno(err, errno, "%s/%s", folder, e->d_name);
        (void)closedir(dir);
        return r;
}

static int put_all(struct secrets_part *p, unsigned *ret_changed, struct err **err) {
        const struct app_spec *spec = p->unit->spec;
        _cleanup_(x_freep) char *base = NULL, *credentials = NULL, *files = NULL;
        struct file_attributes user;
        const struct app_secret of_user = {.kind = SECRET_CREDENTIAL};
        int r = p->part.host->secrets ? secrets_make_folder(p->part.host->secrets, p->app, &base, err)
                                      : err_set(err, EOPNOTSUPP, "this agent keeps no secrets");
        if (r == 0)
                r = find_attributes(p, &of_user, &user, err);
        if (r == 0)
                r = make_folder(base, CREDENTIALS, 0500, NULL, &credentials, err);
        if (r == 0)
                r = make_folder(base, FILES, 0711, NULL, &files, err);
        /* Without the user's name on it while we write: an agent that is not root has to. */
        if (r == 0 && chmod(credentials, 0700) < 0)
                r = err_set_errno(err, errno, "%s", credentials);
        for (size_t i = 0; r == 0 && i < spec->n_secrets; i++) {
                bool changed = false;
                if (!is_file(&spec->secrets[i]))
                        continue;
                r = put_one(p, i, spec->secrets[i].kind == SECRET_FILE ? files : credentials, &changed, err);
                *ret_changed += changed;
        }
        if (r == 0)
                r = remove_unwanted(files, spec, SECRET_FILE, err);
        if (r == 0)
                r = remove_unwanted(credentials, spec, SECRET_CREDENTIAL, err);
        free(TAKE_PTR(credentials));
        if (r == 0)
                r = make_folder(base, CREDENTIALS, 0500, &user, &credentials, err);
        return r;
}

/* ---- operations */

static bool wants_files(const struct secrets_part *p) {
        return p->unit && (count(p->unit->spec, SECRET_CREDENTIAL) || count(p->unit->spec, SECRET_FILE));
}

static int clear(struct secrets_part *p, struct err **err) {
        _cleanup_(x_freep) char *folder =
                p->part.host->secrets ? secrets_find_folder(p->part.host->secrets, p->app) : NULL;
        for (size_t i = 0; p->unit && i < p->unit->spec->n_secrets; i++)
                p->files[i].verified = false;
        return folder ? path_remove(folder, err) : 0;
}

static void finish(driver_done done, void *arg, int r, const struct err *err, unsigned corrected) {
        done(arg, &(struct driver_outcome){
                          .error = r, .message = r < 0 ? err_message(err) : NULL, .corrected = corrected});
}

static void secrets_apply(struct driver_part *part, driver_done done, void *arg) {
        struct secrets_part *p = (struct secrets_part *)part;
        _cleanup_(err_freep) struct err *err = NULL;
        unsigned changed = 0;
        int r = wants_files(p) ? put_all(p, &changed, &err) : clear(p, &err);
        finish(done, arg, r, err, 0);
}

static void secrets_check(struct driver_part *part, driver_done done, void *arg) {
        struct secrets_part *p = (struct secrets_part *)part;
        _cleanup_(err_freep) struct err *err = NULL;
        unsigned changed = 0;
        int r = wants_files(p) ? put_all(p, &changed, &err) : 0;
        finish(done, arg, r, err, changed);
}

/* What does not run needs no plain text. */
static void secrets_stop(struct driver_part *part, driver_done done, void *arg) {
        _cleanup_(err_freep) struct err *err = NULL;
        int r = clear((struct secrets_part *)part, &err);
        finish(done, arg, r, err, 0);
}

static struct driver_part *secrets_part_free(struct driver_part *part) {
        struct secrets_part *p = (struct secrets_part *)part;
        desired_free(p->desired);
        free(p->files);
        free(p->app);
        free(p);
        return NULL;
}

static int secrets_part_new(const struct driver_host *host, const struct driver_app *app,
                            const struct driver_listener *listener, struct driver_part **ret,
                            struct err **err) {
        struct secrets_part *p = calloc(1, sizeof(*p));
        if (!p)
                return err_set_errno(err, ENOMEM, "app %s", app->name);
        p->part = (struct driver_part){.driver = &secrets_driver, .host = host, .listener = *listener};
        p->unit = app->unit;
        p->desired = app->unit ? desired_ref(app->desired) : NULL;
        p->app = str_dup(app->name);
        p->files = calloc((app->unit ? app->unit->spec->n_secrets : 0) + 1, sizeof(*p->files));
        if (!p->app || !p->files) {
                secrets_part_free(&p->part);
                return err_set_errno(err, ENOMEM, "app %s", app->name);
        }
        *ret = &p->part;
        return 0;
}

const struct driver secrets_driver = {
        .name = "secrets",
        .kind = APP_DRIVER_FILES, /* never looked up by it */
        .part_new = secrets_part_new,
        .apply = secrets_apply,
        .restart = secrets_apply,
        .stop = secrets_stop,
        .remove = secrets_stop,
        .check = secrets_check,
        .part_free = secrets_part_free,
};
