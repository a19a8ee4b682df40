/* SPDX-License-Identifier: Apache-2.0 */
/* Targets of repo/tuf/publisher.h: files into public/targets, entries into staged roles. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/encode.h"
#include "base/fs.h"
#include "base/str.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "repo/artifact.h"
#include "repo/tuf/publisher_internal.h"

#define COPY_BYTES ((size_t)1 << 20)

/* ---- Files */

/* A file on its way in. */
struct incoming {
        char *path; /* DIR/incoming/..., removed in the end; NULL: linked from the source itself */
        char sha256[SHA256_HEX_SIZE];
        int64_t length;
};

static void incoming_done(struct incoming *i) {
        if (i->path)
                (void)unlink(i->path);
        free(i->path);
}

static int write_all(int fd, const char *p, size_t n) {
        while (n > 0) {
                ssize_t put = write(fd, p, n);
                if (put < 0 && errno != EINTR)
                        return -errno;
                if (put > 0) {
                        p += put;
                        n -= (size_t)put;
                }
        }
        return 0;
}

/* Reads the source to its end; out -1: only its digest. */
static int copy(int in, int out, struct incoming *i) {
        _cleanup_(x_freep) char *chunk = malloc(COPY_BYTES);
        _cleanup_(sha256_freep) struct sha256 *digest = sha256_new();
        uint8_t raw[SHA256_SIZE];
        if (!chunk || !digest)
                return -ENOMEM;
        for (i->length = 0;;) {
                ssize_t got = read(in, chunk, COPY_BYTES);
                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0)
                        return -errno;
                if (got == 0)
                        break;
                sha256_update(digest, chunk, (size_t)got);
                i->length += got;
                int r = out >= 0 ? write_all(out, chunk, (size_t)got) : 0;
                if (r < 0)
                        return r;
        }
        sha256_final(digest, raw);
        hex_encode(raw, sizeof(raw), i->sha256);
        return out >= 0 && fsync(out) < 0 ? -errno : 0;
}

static int open_incoming(struct tuf_publisher *p, struct incoming *i) {
        _cleanup_(x_freep) char *folder = publisher_path(p, "incoming", NULL);
        int r = folder ? publisher_before_change(p, "incoming") : -ENOMEM;
        if (r < 0 || (r = dir_make(folder, 0755, NULL)) < 0)
                return r;
        i->path = path_join(folder, "file");
        if (!i->path)
                return -ENOMEM;
        int fd = open(i->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
        return fd < 0 ? -errno : fd;
}

/* The folders from the file's up to public/targets, each told to the disk. */
static int sync_folders(const char *file, const char *top) {
        _cleanup_(x_freep) char *path = str_dup(file);
        int r = path ? 0 : -ENOMEM;
        for (char *slash; r == 0 && path && (slash = strrchr(path, '/')) && strlen(path) > strlen(top);) {
                *slash = '\0';
                _cleanup_(x_closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                if (fd < 0 || fsync(fd) < 0)
                        r = -errno;
        }
        return r;
}

/* Is it there already, undamaged? */
static bool is_whole(const char *file, const struct incoming *i) {
        _cleanup_(x_closep) int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        char digest[SHA256_HEX_SIZE];
        struct stat st;
        return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == i->length &&
               sha256_file_hex(fd, digest) >= 0 && str_eq(digest, i->sha256);
}

/* Puts it under its name. -EXDEV: it cannot be linked there, but copied. */
static int place(struct tuf_publisher *p, struct incoming *i, const char *target_path, const char *source,
                 struct err **err) {
        _cleanup_(x_freep) char *name = repository_target_file(target_path, i->sha256);
        _cleanup_(x_freep) char *file = name ? path_join(p->public_dir, name) : NULL;
        _cleanup_(x_freep) char *folder = file ? str_dup(file) : NULL;
        if (!folder)
                return err_set_errno(err, ENOMEM, "add %s", target_path);
        if (!i->path && !source)
                return err_set(err, EINVAL, "add %s: neither bytes nor a file", target_path);
        if (is_whole(file, i))
                return 0;
        char *slash = strrchr(folder, '/');
        if (slash)
                *slash = '\0';
        int r = publisher_before_change(p, file);
        if (r < 0)
                return err_set_errno(err, -r, "write %s", file);
        r = dir_make(folder, 0755, err);
        if (r < 0)
                return r;
        if (i->path ? rename(i->path, file) < 0 : link(source, file) < 0)
                return errno == EXDEV || errno == EPERM || errno == EMLINK || errno == EEXIST
                               ? -EXDEV
                               : err_set_errno(err, errno, "write %s", file);
        r = sync_folders(file, p->public_dir);
        if (r >= 0)
                r = publisher_before_change(p, file);
        return r < 0 ? err_set_errno(err, -r, "write %s", file) : 0;
}

static int bring_in(struct tuf_publisher *p, const char *target_path, const char *source, bool by_link,
                    struct incoming *ret, struct err **err) {
        _cleanup_(x_closep) int in = open(source, O_RDONLY | O_CLOEXEC);
        struct stat st;
        if (in < 0 || fstat(in, &st) < 0)
                return err_set_errno(err, errno, "read %s", source);
        if (!S_ISREG(st.st_mode))
                return err_set(err, EINVAL, "%s is not a file", source);
        int r;
        if (by_link) {
                r = copy(in, -1, ret);
                if (r >= 0 && fsync(in) < 0)
                        r = -errno;
                if (r < 0)
                        return err_set_errno(err, -r, "read %s", source);
                r = place(p, ret, target_path, source, err);
                if (r != -EXDEV)
                        return r;
                if (lseek(in, 0, SEEK_SET) < 0)
                        return err_set_errno(err, errno, "read %s", source);
        }
        _cleanup_(x_closep) int out = open_incoming(p, ret);
        r = out < 0 ? out : copy(in, out, ret);
        if (r < 0)
                return err_set_errno(err, -r, "copy %s into %s", source, p->dir);
        return place(p, ret, target_path, source, err);
}

/* ---- Entries */

static int check_path(struct tuf_publisher *p, const char *target_path, const char *role, struct err **err) {
        if (!tuf_target_path_is_valid(target_path))
                return err_set(err, EINVAL,
                               "'%s' is no path for a target: relative, no empty part, '.' or '..', at most "
                               "%d bytes",
                               target_path, TUF_TARGET_PATH_MAX);
        int r = publisher_check_writable(p, err);
        /* The whole chain must allow it, or no client would find it. */
        for (_cleanup_(x_freep) char *at = str_dup(role); r >= 0 && at && !str_eq(at, "targets");) {
                struct publisher_voucher by;
                r = publisher_voucher(p, at, &by, err);
                if (r >= 0 && (!by.delegation || !tuf_delegation_covers(by.delegation, target_path)))
                        r = err_set(err, EINVAL,
                                    "role %s may not name %s: %s does not delegate that path to it", at,
                                    target_path, by.name);
                if (r >= 0)
                        r = str_replace(&at, by.name);
        }
        return r;
}

/* custom is taken over. */
static int stage_entry(struct tuf_publisher *p, const char *role, const char *target_path, const char *sha256,
                       int64_t length, json_t *custom, struct err **err) {
        _cleanup_json_ json_t *content = NULL, *owned = custom;
        int r = publisher_edit(p, role, &content, err);
        if (r < 0)
                return r;
        json_t *entry = json_pack("{s:I, s:{s:s}}", "length", (json_int_t)length, "hashes", "sha256", sha256);
        if (entry && owned && json_object_set(entry, "custom", owned) < 0) {
                json_decref(entry);
                entry = NULL;
        }
        if (!entry || json_object_set_new(json_object_get(content, "targets"), target_path, entry) < 0)
                return err_set_errno(err, ENOMEM, "add %s", target_path);
        return publisher_stage(p, role, TAKE_PTR(content), err);
}

/* Would staging change anything? Adding the same again is no new version. */
static bool is_listed(const struct tuf_publisher *p, const char *role, const char *target_path,
                      const struct incoming *i, const json_t *custom) {
        const struct tuf_metadata *m = publisher_effective(p, role);
        struct tuf_target t;
        return m && tuf_metadata_target(m, target_path, &t) && t.length == i->length &&
               str_eq(t.sha256, i->sha256) && (t.custom ? custom && json_equal(t.custom, custom) : !custom);
}

int tuf_publisher_add_target(struct tuf_publisher *p, const char *target_path, const char *source_file,
                             json_t *custom, const char *role, bool link, struct err **err) {
        _cleanup_json_ json_t *owned = custom;
        _cleanup_(incoming_done) struct incoming file = {0};
        if (!role)
                role = "targets";
        int r = check_path(p, target_path, role, err);
        if (r < 0 || (r = bring_in(p, target_path, source_file, link, &file, err)) < 0)
                return r;
        if (is_listed(p, role, target_path, &file, owned))
                return 0;
        return stage_entry(p, role, target_path, file.sha256, file.length, TAKE_PTR(owned), err);
}

int tuf_publisher_add_target_bytes(struct tuf_publisher *p, const char *target_path, const void *data,
                                   size_t len, json_t *custom, const char *role, struct err **err) {
        _cleanup_json_ json_t *owned = custom;
        _cleanup_(incoming_done) struct incoming file = {.length = (int64_t)len};
        if (!role)
                role = "targets";
        int r = check_path(p, target_path, role, err);
        if (r < 0)
                return r;
        _cleanup_(x_closep) int out = open_incoming(p, &file);
        r = out < 0 ? out : write_all(out, data, len);
        if (r >= 0 && fsync(out) < 0)
                r = -errno;
        if (r < 0)
                return err_set_errno(err, -r, "write %s into %s", target_path, p->dir);
        sha256_hex(data, len, file.sha256);
        r = place(p, &file, target_path, NULL, err);
        if (r < 0 || is_listed(p, role, target_path, &file, owned))
                return r;
        return stage_entry(p, role, target_path, file.sha256, file.length, TAKE_PTR(owned), err);
}

int tuf_publisher_find(struct tuf_publisher *p, const char *target_path, const char *role,
                       struct tuf_target *ret, struct err **err) {
        _cleanup_(strv_freep) char **roles = NULL;
        int r = publisher_roles(p, &roles, err);
        if (r < 0)
                return r;
        for (char **name = roles + 1; *name; name++) {
                const struct tuf_metadata *m = publisher_effective(p, *name);
                struct tuf_target t;
                if ((role && !str_eq(role, *name)) || !m || !tuf_metadata_target(m, target_path, &t))
                        continue;
                struct publisher_voucher by;
                r = publisher_voucher(p, *name, &by, err);
                if (r < 0)
                        return r;
                t.role = by.delegation ? by.delegation->name : "targets";
                *ret = t;
                return 0;
        }
        return err_set(err, ENOENT, "%s%s does not list %s", role ? "role " : "the repository",
                       role ? role : "", target_path);
}

int tuf_publisher_set_custom(struct tuf_publisher *p, const char *target_path, json_t *custom,
                             const char *role, struct err **err) {
        _cleanup_json_ json_t *owned = custom;
        struct tuf_target t;
        int r = publisher_check_writable(p, err);
        if (r < 0 || (r = tuf_publisher_find(p, target_path, role, &t, err)) < 0)
                return r;
        _cleanup_(x_freep) char *in = str_dup(t.role);
        _cleanup_json_ json_t *content = NULL;
        if (!in)
                return err_set_errno(err, ENOMEM, "change %s", target_path);
        r = publisher_edit(p, in, &content, err);
        if (r < 0)
                return r;
        json_t *entry = json_object_get(json_object_get(content, "targets"), target_path);
        if (owned ? json_object_set(entry, "custom", owned) < 0
                  : json_object_get(entry, "custom") && json_object_del(entry, "custom") < 0)
                return err_set_errno(err, ENOMEM, "change %s", target_path);
        return publisher_stage(p, in, TAKE_PTR(content), err);
}

int tuf_publisher_remove_target(struct tuf_publisher *p, const char *target_path, const char *role,
                                struct err **err) {
        struct tuf_target t;
        int r = publisher_check_writable(p, err);
        if (r < 0 || (r = tuf_publisher_find(p, target_path, role, &t, err)) < 0)
                return r;
        _cleanup_(x_freep) char *in = str_dup(t.role);
        _cleanup_json_ json_t *content = NULL;
        r = in ? publisher_edit(p, in, &content, err) : err_set_errno(err, ENOMEM, "remove %s", target_path);
        if (r < 0)
                return r;
        (void)json_object_del(json_object_get(content, "targets"), target_path);
        return publisher_stage(p, in, TAKE_PTR(content), err);
}

struct each {
        const char *role;
        int (*fn)(void *arg, const struct tuf_target *t);
        void *arg;
};

static int each_one(void *arg, const struct tuf_target *t) {
        const struct each *e = arg;
        struct tuf_target with_role = *t;
        with_role.role = e->role;
        return e->fn(e->arg, &with_role);
}

int tuf_publisher_each(struct tuf_publisher *p, const char *role,
                       int (*fn)(void *arg, const struct tuf_target *t), void *arg) {
        _cleanup_(strv_freep) char **roles = NULL;
        int r = publisher_roles(p, &roles, NULL);
        for (char **name = roles ? roles + 1 : NULL; r == 0 && name && *name; name++) {
                const struct tuf_metadata *m = publisher_effective(p, *name);
                struct each e = {*name, fn, arg};
                if (m && (!role || str_eq(role, *name)))
                        r = tuf_metadata_each_target(m, each_one, &e);
        }
        return r;
}

/* ---- Sweeping */

struct sweep {
        struct tuf_publisher *p;
        struct table *named; /* files below public/ */
        struct root_dir *root;
        size_t files;
        int64_t bytes;
};

static int name_target(void *arg, const struct tuf_target *t) {
        struct sweep *s = arg;
        _cleanup_(x_freep) char *file = repository_target_file(t->path, t->sha256);
        return file ? table_set(s->named, file, s) : -ENOMEM;
}

static int name_all(struct sweep *s, const struct table *roles) {
        const char *role;
        void *m;
        int r = 0;
        for (size_t i = 0; r == 0 && table_next(roles, &i, &role, &m);)
                if (((struct tuf_metadata *)m)->type == TUF_TARGETS)
                        r = tuf_metadata_each_target(m, name_target, s);
        return r;
}

static int sweep_one(void *arg, const char *path, const struct stat *st) {
        struct sweep *s = arg;
        if (!S_ISREG(st->st_mode) || table_get(s->named, path))
                return 0;
        int r = publisher_before_change(s->p, path);
        if (r >= 0)
                r = root_dir_unlink(s->root, path, NULL);
        if (r >= 0) {
                s->files++;
                s->bytes += st->st_size;
        }
        return r;
}

int tuf_publisher_sweep(struct tuf_publisher *p, size_t *ret_files, int64_t *ret_bytes, struct err **err) {
        _cleanup_(table_freep) struct table *named = table_new(NULL);
        _cleanup_(root_dir_freep) struct root_dir *root = NULL;
        int r = publisher_check_writable(p, err);
        if (r < 0 || (r = root_dir_open(p->public_dir, &root, err)) < 0)
                return r;
        struct sweep s = {.p = p, .named = named, .root = root};
        r = named ? name_all(&s, p->published) : -ENOMEM;
        if (r >= 0)
                r = name_all(&s, p->staged);
        if (r < 0)
                return err_set_errno(err, -r, "look for unused files");
        r = root_dir_walk(root, "targets", sweep_one, &s, err);
        if (r < 0)
                return err_wrap_code(err, r, "remove unused files");
        *ret_files = s.files;
        *ret_bytes = s.bytes;
        return 0;
}
