/* SPDX-License-Identifier: Apache-2.0 */
/* Managed files: content, mode and owner, put in place atomically and only beneath the sysroot.
 *
 * A file is compared by what stat(2) says; content is read again only when inode, size or one of its times
 * changed since it was last found right. Files that an earlier version of the app had are known from the
 * ledger and removed once the new ones are in place. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "agent/drift.h"
#include "agent/driver/accounts.h"
#include "agent/driver/driver.h"
#include "base/str.h"
#include "crypto/digest.h"

struct managed_file {
        struct file_attributes attributes;
        struct drift_watch *watch;
        bool verified; /* `seen` is of a file whose content was right */
        struct stat seen;
};

struct files_part {
        struct driver_part part;
        char *app;
        struct desired *desired;
        const struct unit *unit; /* NULL: only to remove */
        struct managed_file *files;
        bool resolved; /* owners have been looked up */
};

static size_t n_files(const struct files_part *p) {
        return p->unit ? p->unit->spec->n_files : 0;
}

static struct driver_part *files_free(struct driver_part *part) {
        struct files_part *p = (struct files_part *)part;
        for (size_t i = 0; p->files && i < n_files(p); i++)
                drift_watch_free(p->files[i].watch);
        free(p->files);
        desired_free(p->desired);
        free(p->app);
        free(p);
        return NULL;
}

static int files_new(const struct driver_host *host, const struct driver_app *app,
                     const struct driver_listener *listener, struct driver_part **ret, struct err **err) {
        struct files_part *p = calloc(1, sizeof(*p));
        if (!p)
                return err_set_errno(err, ENOMEM, "app %s", app->name);
        p->part = (struct driver_part){.driver = &files_driver, .host = host, .listener = *listener};
        p->unit = app->unit;
        p->desired = app->unit ? desired_ref(app->desired) : NULL;
        p->app = str_dup(app->name);
        p->files = calloc(n_files(p) + 1, sizeof(*p->files));
        if (!p->app || !p->files) {
                files_free(&p->part);
                return err_set_errno(err, ENOMEM, "app %s", app->name);
        }
        *ret = &p->part;
        return 0;
}

/* ---- owners */

static bool in_own_groups(gid_t gid) {
        gid_t groups[64];
        int n = getgroups(ARRAY_SIZE(groups), groups);
        for (int i = 0; i < n; i++)
                if (groups[i] == gid)
                        return true;
        return gid == getegid();
}

static int resolve_owner(struct files_part *p, size_t i, struct err **err) {
        const struct app_file *f = &p->unit->spec->files[i];
        struct file_attributes *a = &p->files[i].attributes;
        gid_t ignored;
        int r;

        *a = (struct file_attributes){.mode = (mode_t)f->mode & 07777, .uid = (uid_t)-1, .gid = (gid_t)-1};
        if (f->owner && (r = accounts_user(p->part.host->sysroot, f->owner, &a->uid, &ignored, err)) < 0)
                return err_wrap(err, "file %s", f->path);
        if (f->group && (r = accounts_group(p->part.host->sysroot, f->group, &a->gid, err)) < 0)
                return err_wrap(err, "file %s", f->path);
        if (geteuid() == 0)
                return 0;
        if (f->owner && a->uid != geteuid())
                return err_set(
                        err, EPERM,
                        "file %s: owner '%s' needs an agent that runs as root; this one runs as user %u",
                        f->path, f->owner, (unsigned)geteuid());
        if (f->group && !in_own_groups(a->gid))
                return err_set(err, EPERM, "file %s: group '%s' is none of the groups this agent runs with",
                               f->path, f->group);
        /* Ours already: no need to ask the kernel for it. */
        a->uid = (uid_t)-1;
        return 0;
}

static int resolve_owners(struct files_part *p, struct err **err) {
        if (p->resolved)
                return 0;
        for (size_t i = 0; i < n_files(p); i++) {
                int r = resolve_owner(p, i, err);
                if (r < 0)
                        return r;
        }
        p->resolved = true;
        return 0;
}

/* ---- comparing and putting in place */

static bool same_time(const struct timespec *a, const struct timespec *b) {
        return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool same_content_since(const struct stat *a, const struct stat *b) {
        return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
               same_time(&a->st_mtim, &b->st_mtim) && same_time(&a->st_ctim, &b->st_ctim);
}

static bool attributes_fit(const struct file_attributes *want, const struct stat *is) {
        return (is->st_mode & 07777) == want->mode && (want->uid == (uid_t)-1 || is->st_uid == want->uid) &&
               (want->gid == (gid_t)-1 || is->st_gid == want->gid);
}

/* Is file i as it shall be? Whatever keeps us from finding out counts as no. */
static bool file_is_right(struct files_part *p, size_t i) {
        const struct unit_file *want = &p->unit->files[i];
        struct managed_file *m = &p->files[i];
        char digest[SHA256_HEX_SIZE];
        struct stat st;

        _cleanup_(x_closep) int fd = root_dir_openat(p->part.host->sysroot, p->unit->spec->files[i].path,
                                                     O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size != want->size ||
            !attributes_fit(&m->attributes, &st))
                return false;
        if (m->verified && same_content_since(&m->seen, &st))
                return true;
        if (sha256_file_hex(fd, digest) < 0 || !str_eq(digest, want->sha256))
                return false;
        m->verified = true;
        m->seen = st;
        return true;
}

static int put_file(struct files_part *p, size_t i, struct err **err) {
        const char *path = p->unit->spec->files[i].path;
        _cleanup_(buf_done) struct buf content = BUF_INIT;
        int r = desired_read_file(p->desired, p->part.host->objects, p->unit, i, &content, err);
        if (r < 0)
                return r;
        p->files[i].verified = false;
        r = root_dir_write(p->part.host->sysroot, path, content.data ? content.data : "", content.len,
                           &p->files[i].attributes, err);
        return r < 0 ? err_wrap(err, "file %s", path) : 0;
}

/* Puts in place what is not right; counts it. Goes through all of them, and keeps the first error. */
static int put_files(struct files_part *p, unsigned *ret_put, struct err **err) {
        int result = 0;
        unsigned put = 0;
        for (size_t i = 0; i < n_files(p); i++) {
                if (file_is_right(p, i))
                        continue;
                _cleanup_(err_freep) struct err *problem = NULL;
                int r = put_file(p, i, &problem);
                if (r < 0 && result == 0)
                        result = err_move(err, TAKE_PTR(problem));
                if (r == 0)
                        put++;
        }
        *ret_put = put;
        return result;
}

/* ---- watching */

static void file_changed(void *arg) {
        struct files_part *p = arg;
        p->part.listener.event(p->part.listener.arg, &(struct driver_event){.type = DRIVER_CHANGED});
}

static void watch_files(struct files_part *p) {
        if (!p->part.host->drift)
                return;
        for (size_t i = 0; i < n_files(p); i++) {
                struct managed_file *m = &p->files[i];
                if (m->watch)
                        drift_watch_refresh(m->watch);
                else /* without memory for a watch the slow check is left */
                        m->watch = drift_watch_new(p->part.host->drift, p->unit->spec->files[i].path,
                                                   file_changed, p);
        }
}

static void unwatch_files(struct files_part *p) {
        for (size_t i = 0; i < n_files(p); i++)
                p->files[i].watch = drift_watch_free(p->files[i].watch);
}

/* ---- operations */

static bool is_wanted(const struct files_part *p, const char *path) {
        for (size_t i = 0; i < n_files(p); i++)
                if (str_eq(p->unit->spec->files[i].path, path))
                        return true;
        /* Links to artifacts and secrets are made by parts of their own, and replaced in one step. */
        for (size_t i = 0; p->unit && i < p->unit->spec->n_artifacts; i++)
                if (str_eq(p->unit->spec->artifacts[i].path, path))
                        return true;
        for (size_t i = 0; p->unit && i < p->unit->spec->n_secrets; i++)
                if (str_eq(p->unit->spec->secrets[i].path, path))
                        return true;
        return false;
}

/* What the ledger lists and the unit (if any) does not have. */
static int remove_unwanted(struct files_part *p, struct err **err) {
        const struct ledger_app *record = ledger_app(p->part.host->ledger, p->app);
        int result = 0;
        for (size_t i = 0; record && i < record->n_files; i++) {
                const char *path = record->files[i].path;
                if (is_wanted(p, path) || ledger_owns_path(p->part.host->ledger, path, p->app))
                        continue;
                _cleanup_(err_freep) struct err *problem = NULL;
                int r = root_dir_unlink(p->part.host->sysroot, path, &problem);
                /* A folder that is a symlink out of the sysroot by now, or is gone: nothing of ours there. */
                if (r < 0 && r != -ENOENT && r != -EXDEV && r != -ENOTDIR && r != -ELOOP && result == 0) {
                        err_wrap(&problem, "remove file %s", path);
                        result = err_move(err, TAKE_PTR(problem));
                }
        }
        return result;
}

static void finish(driver_done done, void *arg, int r, const struct err *err, unsigned corrected) {
        done(arg, &(struct driver_outcome){
                          .error = r, .message = r < 0 ? err_message(err) : NULL, .corrected = corrected});
}

static void files_apply(struct driver_part *part, driver_done done, void *arg) {
        struct files_part *p = (struct files_part *)part;
        _cleanup_(err_freep) struct err *err = NULL;
        unsigned put;
        int r = resolve_owners(p, &err);
        if (r == 0)
                r = put_files(p, &put, &err);
        if (r == 0)
                r = remove_unwanted(p, &err);
        if (r == 0)
                watch_files(p);
        finish(done, arg, r, err, 0);
}

static void files_check(struct driver_part *part, driver_done done, void *arg) {
        struct files_part *p = (struct files_part *)part;
        _cleanup_(err_freep) struct err *err = NULL;
        unsigned put = 0;
        int r = resolve_owners(p, &err);
        if (r == 0)
                r = put_files(p, &put, &err);
        watch_files(p);
        finish(done, arg, r, err, put);
}

static void files_stop(struct driver_part *part, driver_done done, void *arg) {
        unwatch_files((struct files_part *)part);
        finish(done, arg, 0, NULL, 0);
}

static void files_remove(struct driver_part *part, driver_done done, void *arg) {
        struct files_part *p = (struct files_part *)part;
        _cleanup_(err_freep) struct err *err = NULL;
        unwatch_files(p);
        p->desired = desired_free(p->desired);
        free(p->files);
        p->files = NULL;
        p->unit = NULL; /* nothing is wanted any more */
        int r = remove_unwanted(p, &err);
        finish(done, arg, r, err, 0);
}

const struct driver files_driver = {
        .name = "files",
        .kind = APP_DRIVER_FILES,
        .part_new = files_new,
        .apply = files_apply,
        .restart = files_apply,
        .stop = files_stop,
        .remove = files_remove,
        .check = files_check,
        .part_free = files_free,
};
