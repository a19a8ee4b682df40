/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/artifact_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/fs.h"
#include "base/list.h"
#include "base/str.h"
#include "base/table.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "repo/payload.h"

#define STORE_FORMAT 1
#define STORE_INDEX_MAX ((size_t)8 << 20)
#define STORE_ENTRIES_MAX 4096
#define STORE_NEW ".new" /* suffix of what is being made */

struct entry {
        char *name; /* "<sha256> <target>" */
        char *target;
        struct artifact *artifact;
        int64_t last_use; /* Unix seconds */
};

struct artifact_store {
        char *state;
        struct artifact_budget budget;
        const struct clock *clock;
        struct table *entries; /* by name */
        char **running, **previous;
        struct table *claimed; /* digests; values are the store */
};

/* ---- budget */

int artifact_budget_parse(const char *text, struct artifact_budget *ret, struct err **err) {
        static const char units[] = "KMGT";
        size_t len = strlen(text);
        char last = len > 0 ? text[len - 1] : '\0';
        const char *unit = last ? strchr(units, last >= 'a' && last <= 'z' ? last - 'a' + 'A' : last) : NULL;
        _cleanup_(x_freep) char *digits = str_dup_n(text, last == '%' || unit ? len - 1 : len);
        uint64_t n = 0;

        if (!digits)
                return err_set_errno(err, ENOMEM, "artifact budget");
        if (str_to_u64(digits, &n) < 0)
                return err_set(err, EINVAL,
                               "artifact budget '%.40s': expected a number of bytes, with K, M, G or T, or a "
                               "percentage of the file system: 2G, 20%%",
                               text);
        if (last == '%') {
                if (n > 100)
                        return err_set(err, EINVAL, "artifact budget '%.40s': over 100%%", text);
                *ret = (struct artifact_budget){.bytes = -1, .percent = (unsigned)n};
                return 0;
        }
        unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
        if (n > (uint64_t)INT64_MAX >> shift)
                return err_set(err, EINVAL, "artifact budget '%.40s': too large", text);
        *ret = (struct artifact_budget){.bytes = (int64_t)(n << shift)};
        return 0;
}

static int64_t budget_bytes(const struct artifact_store *s) {
        struct statvfs v;
        if (s->budget.bytes >= 0)
                return s->budget.bytes;
        if (statvfs(s->state, &v) < 0)
                return INT64_MAX;
        return (int64_t)(v.f_blocks * v.f_frsize / 100 * s->budget.percent);
}

/* ---- paths */

static char *path_of(const struct artifact_store *s, const char *folder, const char *sha256,
                     const char *suffix) {
        return str_format("%s/%s/%s%s", s->state, folder, sha256, suffix);
}

char *artifact_store_payload(const struct artifact_store *s, const char *sha256) {
        return path_of(s, "artifacts", sha256, "");
}

char *artifact_store_partial(const struct artifact_store *s, const char *sha256, const char *suffix) {
        return path_of(s, "partial", sha256, suffix);
}

char *artifact_store_folder(const struct artifact_store *s, const struct artifact *a) {
        return path_of(s, a->type == ARTIFACT_TREE ? "trees" : "files", a->sha256, "");
}

static const char *file_name_of(const struct artifact *a) {
        return a->file_name ? a->file_name : a->name;
}

char *artifact_store_place(const struct artifact_store *s, const struct artifact *a) {
        _cleanup_(x_freep) char *folder = artifact_store_folder(s, a);
        if (!folder || a->type == ARTIFACT_TREE)
                return TAKE_PTR(folder);
        return path_join(folder, file_name_of(a));
}

/* ---- the index */

static void free_entry(void *value) {
        struct entry *e = value;
        if (!e)
                return;
        artifact_free(e->artifact);
        free(e->name);
        free(e->target);
        free(e);
}
static void free_entryp(struct entry **e) {
        free_entry(*e);
}

static char *name_of(const char *target, const char *sha256) {
        return str_format("%s %s", sha256, target);
}

static int64_t now_s(const struct artifact_store *s) {
        return clock_wall_ms(s->clock) / 1000;
}

static int add_entry(struct artifact_store *s, const char *target, int64_t length, const char *sha256,
                     const json_t *custom, int64_t last_use, struct err **err) {
        _cleanup_(free_entryp) struct entry *e = calloc(1, sizeof(*e));
        if (!e || !(e->target = str_dup(target)) || !(e->name = name_of(target, sha256)))
                return err_set_errno(err, ENOMEM, "artifact %s", target);
        if (!table_get(s->entries, e->name) && table_len(s->entries) >= STORE_ENTRIES_MAX)
                return err_set(err, ENOSPC, "more than %d artifacts are known on this node",
                               STORE_ENTRIES_MAX);
        int r = artifact_from_target(target, length, sha256, custom, &e->artifact, err);
        if (r < 0)
                return r;
        e->last_use = last_use;
        r = table_set(s->entries, e->name, e);
        if (r < 0)
                return err_set_errno(err, -r, "artifact %s", target);
        (void)TAKE_PTR(e);
        return 0;
}

static json_t *names_to_json(char *const *names) {
        json_t *list = json_array();
        for (size_t i = 0; list && names && names[i]; i++)
                if (json_array_append_new(list, json_string(names[i])) < 0) {
                        json_decref(list);
                        return NULL;
                }
        return list;
}

static json_t *entry_to_json(const struct entry *e) {
        return json_pack("{s:s, s:s, s:I, s:o, s:I}", "target", e->target, "sha256", e->artifact->sha256,
                         "length", (json_int_t)e->artifact->length, "custom", artifact_custom(e->artifact),
                         "lastUse", (json_int_t)e->last_use);
}

static int save(const struct artifact_store *s, struct err **err) {
        _cleanup_json_ json_t *list = json_array();
        _cleanup_(x_freep) char *path = path_join(s->state, "artifacts.json"), *text = NULL;
        void *value;
        for (size_t i = 0; table_next(s->entries, &i, NULL, &value);)
                if (json_array_append_new(list, entry_to_json(value)) < 0)
                        return err_set_errno(err, ENOMEM, "artifacts");
        _cleanup_json_ json_t *all =
                json_pack("{s:i, s:O, s:o, s:o}", "format", STORE_FORMAT, "artifacts", list, "running",
                          names_to_json(s->running), "previous", names_to_json(s->previous));
        if (!path || !all || !(text = json_encode_compact(all)))
                return err_set_errno(err, ENOMEM, "artifacts");
        return file_write_atomic(path, text, strlen(text), 0600, err);
}

static int read_names(const json_t *o, const char *key, char ***ret) {
        const json_t *list = json_object_get(o, key), *item;
        size_t i;
        json_array_foreach (list, i, item)
                if (json_is_string(item) && strv_push(ret, json_string_value(item)) < 0)
                        return -ENOMEM;
        return 0;
}

/* What does not read is as if it had not been: the assignment describes it again. */
static int load(struct artifact_store *s, struct err **err) {
        _cleanup_(x_freep) char *path = path_join(s->state, "artifacts.json"), *text = NULL;
        _cleanup_json_ json_t *all = NULL;
        const json_t *item;
        size_t len, i;
        int64_t format = 0;

        if (!path)
                return err_set_errno(err, ENOMEM, "artifacts");
        if (file_read(path, STORE_INDEX_MAX, &text, &len, NULL) < 0 ||
            json_decode(text, len, &all, NULL) < 0 || json_read_int(all, "format", &format, NULL) < 0 ||
            format != STORE_FORMAT)
                return 0;
        json_array_foreach (json_object_get(all, "artifacts"), i, item) {
                const char *target, *sha256;
                int64_t length, last_use = 0;
                if (json_read_string(item, "target", &target, NULL) < 0 ||
                    json_read_string(item, "sha256", &sha256, NULL) < 0 ||
                    json_read_int(item, "length", &length, NULL) < 0 ||
                    json_read_optional_int(item, "lastUse", &last_use, NULL) < 0)
                        continue;
                (void)add_entry(s, target, length, sha256, json_object_get(item, "custom"), last_use, NULL);
        }
        if (read_names(all, "running", &s->running) < 0 || read_names(all, "previous", &s->previous) < 0)
                return err_set_errno(err, ENOMEM, "artifacts");
        return 0;
}

int artifact_store_describe(struct artifact_store *s, const char *target, const struct artifact *a,
                            struct err **err) {
        _cleanup_json_ json_t *custom = artifact_custom(a);
        const struct artifact *known = artifact_store_find(s, target, a->sha256);
        _cleanup_json_ json_t *before = known ? artifact_custom(known) : NULL;
        if (!custom)
                return err_set_errno(err, ENOMEM, "artifact %s", target);
        if (before && json_equal(before, custom) && known->length == a->length)
                return 0;
        int r = add_entry(s, target, a->length, a->sha256, custom, now_s(s), err);
        return r < 0 ? r : save(s, err);
}

const struct artifact *artifact_store_find(const struct artifact_store *s, const char *target,
                                           const char *sha256) {
        _cleanup_(x_freep) char *name = name_of(target, sha256);
        const struct entry *e = name ? table_get(s->entries, name) : NULL;
        return e ? e->artifact : NULL;
}

static bool same_names(char *const *a, char *const *b) {
        if (strv_len(a) != strv_len(b))
                return false;
        for (size_t i = 0; a && a[i]; i++)
                if (!strv_has(b, a[i]))
                        return false;
        return true;
}

int artifact_store_set_running(struct artifact_store *s, char *const *names, struct err **err) {
        _cleanup_(strv_freep) char **fresh = NULL;
        if (same_names(names, s->running))
                return 0;
        for (size_t i = 0; names && names[i]; i++) {
                struct entry *e = table_get(s->entries, names[i]);
                if (e)
                        e->last_use = now_s(s);
                if (strv_push(&fresh, names[i]) < 0)
                        return err_set_errno(err, ENOMEM, "artifacts");
        }
        strv_free(s->previous);
        s->previous = s->running;
        s->running = TAKE_PTR(fresh);
        return save(s, err);
}

bool artifact_store_is_running(const struct artifact_store *s, const char *target, const char *sha256) {
        _cleanup_(x_freep) char *name = name_of(target, sha256);
        return name && strv_has(s->running, name);
}

bool artifact_store_is_held(const struct artifact_store *s, const char *target, const char *sha256) {
        _cleanup_(x_freep) char *name = name_of(target, sha256);
        return name && (strv_has(s->running, name) || strv_has(s->previous, name));
}

static bool image_in(const struct artifact_store *s, char *const *names, const char *reference) {
        for (size_t i = 0; names && names[i]; i++) {
                const struct entry *e = table_get(s->entries, names[i]);
                _cleanup_(x_freep) char *image =
                        e ? str_format("localhost/%s:%s", e->artifact->name, e->artifact->version) : NULL;
                if (image && str_eq(image, reference))
                        return true;
        }
        return false;
}

bool artifact_store_holds_image(const struct artifact_store *s, const char *reference) {
        return image_in(s, s->running, reference) || image_in(s, s->previous, reference);
}

/* ---- opening */

/* Calls fn for every name in a folder of the state. */
static int each_name(const struct artifact_store *s, const char *folder,
                     int (*fn)(const struct artifact_store *s, const char *folder, const char *name,
                               void *arg),
                     void *arg, struct err **err) {
        _cleanup_(x_freep) char *path = path_join(s->state, folder);
        if (!path)
                return err_set_errno(err, ENOMEM, "artifacts");
        DIR *d = opendir(path);
        if (!d)
                return err_set_errno(err, errno, "read %s", path);
        int r = 0;
        for (struct dirent *e; r == 0 && (e = readdir(d));)
                if (!str_eq(e->d_name, ".") && !str_eq(e->d_name, ".."))
                        r = fn(s, folder, e->d_name, arg);
        (void)closedir(d);
        return r < 0 ? err_set_errno(err, -r, "read %s", path) : 0;
}

static int remove_name(const struct artifact_store *s, const char *folder, const char *name) {
        _cleanup_(x_freep) char *path = str_format("%s/%s/%s", s->state, folder, name);
        return path ? path_remove(path, NULL) : -ENOMEM;
}

static int sweep_unfinished(const struct artifact_store *s, const char *folder, const char *name, void *arg) {
        if (!sha256_hex_is_valid(name))
                (void)remove_name(s, folder, name);
        return 0;
}

static int make_folders(const struct artifact_store *s, struct err **err) {
        static const struct {
                const char *name;
                mode_t mode;
        } folders[] = {{"artifacts", 0711}, {"files", 0711}, {"trees", 0711}, {"partial", 0700}};
        for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
                _cleanup_(x_freep) char *path = path_join(s->state, folders[i].name);
                int r = path ? dir_make(path, folders[i].mode, err) : err_set_errno(err, ENOMEM, "artifacts");
                if (r < 0)
                        return r;
                if (chmod(path, folders[i].mode) < 0)
                        return err_set_errno(err, errno, "%s", path);
        }
        /* Apps that run as another user come through here; what else lies in it keeps to itself. */
        _cleanup_(x_freep) char *objects = path_join(s->state, "objects");
        if (objects && chmod(objects, 0700) < 0 && errno != ENOENT)
                return err_set_errno(err, errno, "%s", objects);
        if (chmod(s->state, 0711) < 0)
                return err_set_errno(err, errno, "%s", s->state);
        return 0;
}

int artifact_store_open(const char *state, const struct artifact_budget *budget, const struct clock *clock,
                        struct artifact_store **ret, struct err **err) {
        static const char *const folders[] = {"artifacts", "files", "trees"};
        _cleanup_(artifact_store_freep) struct artifact_store *s = calloc(1, sizeof(*s));
        if (!s || !(s->state = str_dup(state)) || !(s->entries = table_new(free_entry)) ||
            !(s->claimed = table_new(NULL)))
                return err_set_errno(err, ENOMEM, "artifacts");
        s->budget = *budget;
        s->clock = clock;
        int r = make_folders(s, err);
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(folders); i++)
                r = each_name(s, folders[i], sweep_unfinished, NULL, err);
        if (r == 0)
                r = load(s, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

struct artifact_store *artifact_store_free(struct artifact_store *s) {
        if (!s)
                return NULL;
        table_free(s->entries);
        table_free(s->claimed);
        strv_free(s->running);
        strv_free(s->previous);
        free(s->state);
        free(s);
        return NULL;
}

int artifact_store_claim(struct artifact_store *s, const char *sha256) {
        if (table_get(s->claimed, sha256))
                return -EBUSY;
        return table_set(s->claimed, sha256, s);
}

void artifact_store_release(struct artifact_store *s, const char *sha256) {
        (void)table_remove(s->claimed, sha256);
}

/* ---- payloads */

bool artifact_store_has(const struct artifact_store *s, const char *sha256, int64_t length) {
        _cleanup_(x_freep) char *path = artifact_store_payload(s, sha256);
        struct stat st;
        return path && lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == length;
}

int artifact_store_open_payload(const struct artifact_store *s, const char *sha256) {
        _cleanup_(x_freep) char *path = artifact_store_payload(s, sha256);
        if (!path)
                return -ENOMEM;
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        return fd < 0 ? -errno : fd;
}

static int push_name(const struct artifact_store *s, const char *folder, const char *name, void *arg) {
        return sha256_hex_is_valid(name) ? strv_push(arg, name) : 0;
}

int artifact_store_seeds(const struct artifact_store *s, const char *name, char ***ret, struct err **err) {
        _cleanup_(strv_freep) char **seeds = NULL;
        int r = each_name(s, "artifacts", push_name, &seeds, err);
        if (r < 0)
                return r;
        size_t first = 0, n = strv_len(seeds);
        void *value;
        for (size_t i = 0; table_next(s->entries, &i, NULL, &value);) {
                const struct artifact *a = ((const struct entry *)value)->artifact;
                for (size_t k = first; k < n && str_eq(a->name, name); k++)
                        if (str_eq(seeds[k], a->sha256)) {
                                char *swapped = seeds[first];
                                seeds[first++] = seeds[k];
                                seeds[k] = swapped;
                                break;
                        }
        }
        *ret = TAKE_PTR(seeds);
        return 0;
}

static int remove_partial_of(const struct artifact_store *s, const char *folder, const char *name,
                             void *arg) {
        if (str_has_prefix(name, arg))
                (void)remove_name(s, folder, name);
        return 0;
}

void artifact_store_drop_partial(const struct artifact_store *s, const char *sha256) {
        (void)each_name(s, "partial", remove_partial_of, (void *)(uintptr_t)sha256, NULL);
}

static int sync_folder(const struct artifact_store *s, const char *folder) {
        _cleanup_(x_freep) char *path = path_join(s->state, folder);
        if (!path)
                return -ENOMEM;
        _cleanup_(x_closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* Digest and length of an open payload. */
static int verify_fd(int fd, const struct artifact *a, const char *what, struct err **err) {
        char digest[SHA256_HEX_SIZE];
        struct stat st;
        if (fstat(fd, &st) < 0)
                return err_set_errno(err, errno, "%s", what);
        if (st.st_size != a->length)
                return err_set(err, EBADMSG, "%s has %lld bytes, not %lld", what, (long long)st.st_size,
                               (long long)a->length);
        int r = sha256_file_hex(fd, digest);
        if (r < 0)
                return err_set_errno(err, -r, "read %s", what);
        if (!str_eq(digest, a->sha256))
                return err_set(err, EBADMSG, "%s has the digest %.12s, not %.12s", what, digest, a->sha256);
        return 0;
}

int artifact_store_commit(const struct artifact_store *s, const struct artifact *a, const char *suffix,
                          bool verify, struct err **err) {
        _cleanup_(x_freep) char *part = artifact_store_partial(s, a->sha256, suffix),
                                *payload = artifact_store_payload(s, a->sha256);
        if (!part || !payload)
                return err_set_errno(err, ENOMEM, "%s:%s", a->name, a->version);
        _cleanup_(x_closep) int fd = open(part, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return err_set_errno(err, errno, "open %s", part);
        int r = verify ? verify_fd(fd, a, "what was fetched", err) : 0;
        if (r < 0) {
                if (r == -EBADMSG)
                        (void)unlink(part);
                return r;
        }
        mode_t mode = 0444 | (a->type == ARTIFACT_FILE ? a->mode & 0111 : 0);
        if (fchmod(fd, mode) < 0 || fsync(fd) < 0 || rename(part, payload) < 0)
                return err_set_errno(err, errno, "keep %s", payload);
        r = sync_folder(s, "artifacts");
        if (r < 0)
                return err_set_errno(err, -r, "keep %s", payload);
        artifact_store_drop_partial(s, a->sha256);
        return 0;
}

/* ---- trees and files */

bool artifact_store_is_ready(const struct artifact_store *s, const struct artifact *a) {
        struct stat st;
        if (a->type != ARTIFACT_TREE && a->type != ARTIFACT_FILE)
                return artifact_store_has(s, a->sha256, a->length);
        _cleanup_(x_freep) char *place = artifact_store_place(s, a);
        if (!place || lstat(place, &st) < 0)
                return false;
        if (a->type == ARTIFACT_TREE)
                return S_ISDIR(st.st_mode);
        return S_ISREG(st.st_mode) && st.st_size == a->length;
}

/* Puts what was made at `fresh` where `path` is, in one step. */
static int exchange(const char *fresh, const char *path, struct err **err) {
        if (renameat2(AT_FDCWD, fresh, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
                return 0;
        if (errno != EEXIST && errno != EINVAL)
                return err_set_errno(err, errno, "make %s", path);
        if (renameat2(AT_FDCWD, fresh, AT_FDCWD, path, RENAME_EXCHANGE) < 0) {
                /* A file system without it: a moment without the folder. */
                int r = path_remove(path, err);
                if (r < 0)
                        return r;
                if (rename(fresh, path) < 0)
                        return err_set_errno(err, errno, "make %s", path);
        }
        return path_remove(fresh, err);
}

static int unpack_tree(const struct artifact_store *s, const struct artifact *a, int payload,
                       struct err **err) {
        _cleanup_(x_freep) char *path = path_of(s, "trees", a->sha256, ""),
                                *fresh = path_of(s, "trees", a->sha256, STORE_NEW);
        _cleanup_(root_dir_freep) struct root_dir *into = NULL;
        struct payload_unpack_options options = {.keep_owner = geteuid() == 0};
        int r;
        if (!path || !fresh)
                return err_set_errno(err, ENOMEM, "%s:%s", a->name, a->version);
        if ((r = path_remove(fresh, err)) < 0 || (r = dir_make(fresh, 0755, err)) < 0 ||
            (r = chmod(fresh, 0755) < 0 ? err_set_errno(err, errno, "%s", fresh) : 0) < 0 || /* umask */
            (r = root_dir_open(fresh, &into, err)) < 0)
                return r;
        r = payload_unpack_tree(payload, into, &options, err);
        if (r < 0) {
                (void)path_remove(fresh, NULL);
                return r;
        }
        if ((r = exchange(fresh, path, err)) < 0)
                return r;
        r = sync_folder(s, "trees");
        return r < 0 ? err_set_errno(err, -r, "make %s", path) : 0;
}

static int link_file(const struct artifact_store *s, const struct artifact *a, int payload,
                     struct err **err) {
        _cleanup_(x_freep) char *folder = artifact_store_folder(s, a), *place = artifact_store_place(s, a),
                                *source = artifact_store_payload(s, a->sha256);
        struct stat st;
        if (!folder || !place || !source)
                return err_set_errno(err, ENOMEM, "%s:%s", a->name, a->version);
        int r = dir_make(folder, 0755, err);
        if (r < 0)
                return r;
        if (chmod(folder, 0755) < 0) /* whatever the umask left of it: its app may be another user's */
                return err_set_errno(err, errno, "%s", folder);
        (void)unlink(place);
        if (fstat(payload, &st) < 0 || fchmod(payload, (st.st_mode & 07777) | 0444 | (a->mode & 0111)) < 0 ||
            link(source, place) < 0)
                return err_set_errno(err, errno, "make %s", place);
        return 0;
}

int artifact_store_prepare(const struct artifact_store *s, const struct artifact *a, bool again,
                           struct err **err) {
        if (!again && artifact_store_is_ready(s, a))
                return 0;
        _cleanup_(x_closep) int payload = artifact_store_open_payload(s, a->sha256);
        if (payload < 0)
                return err_set_errno(err, -payload, "payload of %s:%s", a->name, a->version);
        int r = again ? verify_fd(payload, a, "its payload on this node", err) : 0;
        if (r == 0 && a->type == ARTIFACT_TREE)
                r = unpack_tree(s, a, payload, err);
        else if (r == 0 && a->type == ARTIFACT_FILE)
                r = link_file(s, a, payload, err);
        if (r == -EBADMSG)
                (void)remove_name(s, "artifacts", a->sha256);
        return r < 0 ? err_wrap_code(err, r, "artifact %s:%s", a->name, a->version) : 0;
}

int artifact_store_check(const struct artifact_store *s, const struct artifact *a, unsigned *ret_differ,
                         char *first, size_t first_size, struct err **err) {
        _cleanup_(x_freep) char *place = artifact_store_place(s, a);
        _cleanup_(root_dir_freep) struct root_dir *folder = NULL;
        if (a->type != ARTIFACT_TREE || !artifact_store_is_ready(s, a)) {
                *ret_differ = !artifact_store_is_ready(s, a);
                (void)snprintf(first, first_size, "%s", file_name_of(a));
                return 0;
        }
        _cleanup_(x_closep) int payload = artifact_store_open_payload(s, a->sha256);
        if (payload < 0)
                return err_set_errno(err, -payload, "payload of %s:%s", a->name, a->version);
        int r = place ? root_dir_open(place, &folder, err) : err_set_errno(err, ENOMEM, "artifact");
        if (r == 0)
                r = payload_check_tree(payload, folder, true, ret_differ, first, first_size, err);
        return r < 0 ? err_wrap_code(err, r, "artifact %s:%s", a->name, a->version) : 0;
}

/* ---- room */

struct usage {
        char sha256[65];
        int64_t bytes, last_use;
};
struct inventory {
        struct usage *items;
        size_t n, cap;
        int64_t total;
};

static int count_payload(const struct artifact_store *s, const char *folder, const char *name, void *arg) {
        struct inventory *v = arg;
        struct stat st;
        _cleanup_(x_freep) char *path = path_of(s, folder, name, ""), *tree = path_of(s, "trees", name, "");
        if (!path || !tree)
                return -ENOMEM;
        if (!sha256_hex_is_valid(name) || lstat(path, &st) < 0)
                return 0;
        if (v->n == v->cap) {
                size_t cap = v->cap ? v->cap * 2 : 16;
                struct usage *more = reallocarray(v->items, cap, sizeof(*more));
                if (!more)
                        return -ENOMEM;
                v->items = more;
                v->cap = cap;
        }
        struct usage *u = &v->items[v->n++];
        *u = (struct usage){.bytes = (int64_t)st.st_blocks * 512};
        memcpy(u->sha256, name, sizeof(u->sha256));
        if (access(tree, F_OK) == 0)
                u->bytes *= 2; /* about as much again */
        v->total += u->bytes;
        void *value;
        for (size_t i = 0; table_next(s->entries, &i, NULL, &value);) {
                const struct entry *e = value;
                if (str_eq(e->artifact->sha256, name))
                        u->last_use = MAX(u->last_use, e->last_use);
        }
        return 0;
}

static int by_use(const void *a, const void *b) {
        const struct usage *x = a, *y = b;
        return x->last_use < y->last_use ? -1 : x->last_use > y->last_use;
}

int64_t artifact_store_bytes(const struct artifact_store *s) {
        struct inventory v = {0};
        (void)each_name(s, "artifacts", count_payload, &v, NULL);
        free(v.items);
        return v.total;
}

static bool names_digest(char *const *names, const char *sha256) {
        for (size_t i = 0; names && names[i]; i++)
                if (str_has_prefix(names[i], sha256))
                        return true;
        return false;
}

struct sweep {
        bool (*keep)(void *arg, const char *sha256);
        void *arg;
};

static bool is_needed(const struct artifact_store *s, const struct sweep *w, const char *sha256) {
        return names_digest(s->running, sha256) || names_digest(s->previous, sha256) ||
               table_get(s->claimed, sha256) || w->keep(w->arg, sha256);
}

static int sweep_partial(const struct artifact_store *s, const char *folder, const char *name, void *arg) {
        const struct sweep *w = arg;
        _cleanup_(x_freep) char *digest = str_dup_n(name, 64);
        if (!digest)
                return -ENOMEM;
        if (!sha256_hex_is_valid(digest)) {
                (void)remove_name(s, folder, name);
                return 0;
        }
        _cleanup_(x_freep) char *payload = artifact_store_payload(s, digest);
        if (!payload)
                return -ENOMEM;
        /* Also what a kill left between the payload's being there and the end of its partial files. */
        bool whole = access(payload, F_OK) == 0;
        if (!table_get(s->claimed, digest) && (whole || !w->keep(w->arg, digest)))
                (void)remove_name(s, folder, name);
        return 0;
}

/* Trees and files whose payload has gone. */
static int sweep_orphan(const struct artifact_store *s, const char *folder, const char *name, void *arg) {
        _cleanup_(x_freep) char *payload = artifact_store_payload(s, name);
        if (payload && access(payload, F_OK) < 0 && !is_needed(s, arg, name))
                (void)remove_name(s, folder, name);
        return 0;
}

static bool forget_gone(struct artifact_store *s, const struct sweep *w) {
        bool any = false;
        void *value;
        for (size_t i = 0; table_next(s->entries, &i, NULL, &value);) {
                const struct entry *e = value;
                if (is_needed(s, w, e->artifact->sha256) ||
                    artifact_store_has(s, e->artifact->sha256, e->artifact->length))
                        continue;
                _cleanup_(x_freep) char *name = str_dup(e->name);
                if (name)
                        any |= table_remove(s->entries, name);
        }
        return any;
}

int artifact_store_sweep(struct artifact_store *s, bool (*keep)(void *arg, const char *sha256), void *arg,
                         bool all, size_t *ret_removed, struct err **err) {
        struct sweep w = {keep, arg};
        struct inventory v = {0};
        int64_t budget = all ? 0 : budget_bytes(s);
        size_t removed = 0;
        int r = each_name(s, "artifacts", count_payload, &v, err);
        if (r == 0 && v.n > 1)
                qsort(v.items, v.n, sizeof(*v.items), by_use);
        for (size_t i = 0; r == 0 && i < v.n && v.total > budget; i++) {
                const char *digest = v.items[i].sha256;
                if (is_needed(s, &w, digest))
                        continue;
                /* What shows goes first: a tree without its payload could not be checked. */
                if (remove_name(s, "trees", digest) < 0 || remove_name(s, "files", digest) < 0 ||
                    remove_name(s, "artifacts", digest) < 0)
                        continue;
                v.total -= v.items[i].bytes;
                removed++;
        }
        free(v.items);
        if (r == 0 && (r = each_name(s, "partial", sweep_partial, &w, err)) == 0 &&
            (r = each_name(s, "trees", sweep_orphan, &w, err)) == 0)
                r = each_name(s, "files", sweep_orphan, &w, err);
        if (r == 0 && forget_gone(s, &w))
                r = save(s, err);
        if (ret_removed)
                *ret_removed = removed;
        return r;
}
