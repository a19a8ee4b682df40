/* SPDX-License-Identifier: Apache-2.0 */
/* The work folder: opening it, reading what is published and staged, staging edits. */
#include "repo/tuf/publisher.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "base/fs.h"
#include "base/str.h"
#include "codec/json.h"
#include "repo/tuf/publisher_internal.h"

#define DELEGATION_DEPTH_MAX 32 /* clients visit so many roles */
#define DAY_S ((int64_t)86400)

/* How long new versions are good for where repository.json does not say. A node that hears nothing newer
 * within the timestamp's time stops taking what it is offered. */
static const struct {
        const char *role;
        int64_t seconds;
} default_expiry[] = {{"root", 365 * DAY_S}, {"snapshot", 30 * DAY_S}, {"timestamp", 7 * DAY_S}};
#define TARGETS_EXPIRY_S (365 * DAY_S)

int64_t publisher_now_s(const struct tuf_publisher *p) {
        return clock_wall_ms(p->options.clock ? p->options.clock : clock_system()) / 1000;
}

int publisher_check_writable(const struct tuf_publisher *p, struct err **err) {
        return p->options.read_only ? err_set(err, EROFS, "%s was opened for reading", p->dir) : 0;
}

const char *tuf_publisher_public_dir(const struct tuf_publisher *p) {
        return p->public_dir;
}

/* ---- Changes on the disk */

int publisher_before_change(const struct tuf_publisher *p, const char *what) {
        return p->options.before_change ? p->options.before_change(p->options.before_change_arg, what) : 0;
}

int publisher_write(const struct tuf_publisher *p, const char *path, const void *data, size_t len,
                    mode_t mode, struct err **err) {
        int r = publisher_before_change(p, path);
        if (r < 0)
                return err_set_errno(err, -r, "write %s", path);
        r = file_write_atomic(path, data, len, mode, err);
        return r < 0 ? r : publisher_before_change(p, path);
}

int publisher_remove(const struct tuf_publisher *p, const char *path, struct err **err) {
        int r = publisher_before_change(p, path);
        if (r < 0)
                return err_set_errno(err, -r, "remove %s", path);
        return unlink(path) < 0 && errno != ENOENT ? err_set_errno(err, errno, "remove %s", path) : 0;
}

char *publisher_path(const struct tuf_publisher *p, const char *a, const char *b) {
        return b ? str_format("%s/%s/%s", p->dir, a, b) : str_format("%s/%s", p->dir, a);
}

int publisher_save_config(struct tuf_publisher *p, json_t *config, struct err **err) {
        _cleanup_json_ json_t *owned = config;
        _cleanup_(x_freep) char *text = json_encode_pretty(config),
                                *path = publisher_path(p, "repository.json", NULL);
        if (!text || !path)
                return err_set_errno(err, ENOMEM, "write repository.json");
        int r = publisher_write(p, path, text, strlen(text), 0644, err);
        if (r < 0)
                return r;
        json_decref(p->config);
        p->config = json_incref(owned);
        return 0;
}

/* ---- Roles */

enum tuf_type publisher_type(const char *role) {
        for (int t = 0; t < TUF_TYPES; t++)
                if (str_eq(tuf_type_name((enum tuf_type)t), role))
                        return (enum tuf_type)t;
        return TUF_TARGETS;
}

struct tuf_metadata *publisher_effective(const struct tuf_publisher *p, const char *role) {
        struct tuf_metadata *m = table_get(p->staged, role);
        return m ? m : table_get(p->published, role);
}

/* Adds what m delegates to, each followed by what it delegates to. */
static int add_delegated(const struct tuf_publisher *p, const struct tuf_metadata *m, struct table *seen,
                         char ***roles, unsigned depth) {
        for (size_t i = 0; m && depth < DELEGATION_DEPTH_MAX && i < m->n_delegations; i++) {
                const char *name = m->delegations[i].name;
                if (table_get(seen, name))
                        continue;
                if (table_set(seen, name, seen) < 0 || strv_push(roles, name) < 0)
                        return -ENOMEM;
                int r = add_delegated(p, publisher_effective(p, name), seen, roles, depth + 1);
                if (r < 0)
                        return r;
        }
        return 0;
}

int publisher_roles(const struct tuf_publisher *p, char ***ret, struct err **err) {
        _cleanup_(strv_freep) char **roles = NULL;
        _cleanup_(table_freep) struct table *seen = table_new(NULL);
        if (!seen || strv_push(&roles, "root") < 0 || strv_push(&roles, "targets") < 0 ||
            add_delegated(p, publisher_effective(p, "targets"), seen, &roles, 0) < 0)
                return err_set_errno(err, ENOMEM, "list roles");
        *ret = TAKE_PTR(roles);
        return 0;
}

int publisher_voucher(const struct tuf_publisher *p, const char *role, struct publisher_voucher *ret,
                      struct err **err) {
        _cleanup_(strv_freep) char **roles = NULL;
        if (tuf_role_is_top_level(role)) {
                const struct tuf_metadata *root = publisher_effective(p, "root");
                *ret = (struct publisher_voucher){"root", root, &root->roles[publisher_type(role)], NULL};
                return 0;
        }
        int r = publisher_roles(p, &roles, err);
        if (r < 0)
                return r;
        for (char **name = roles ? roles + 1 : NULL; name && *name; name++) {
                const struct tuf_metadata *m = publisher_effective(p, *name);
                const struct tuf_delegation *d = m ? tuf_metadata_delegation(m, role) : NULL;
                if (!d)
                        continue;
                /* "targets", or a name in its own delegator's metadata: it must outlive the list. */
                const char *kept = "targets";
                if (!str_eq(*name, "targets")) {
                        struct publisher_voucher above = {0};
                        r = publisher_voucher(p, *name, &above, err);
                        if (r < 0)
                                return r;
                        if (above.delegation)
                                kept = above.delegation->name;
                }
                *ret = (struct publisher_voucher){kept, m, &d->role, d};
                return 0;
        }
        return err_set(err, ENOENT, "there is no role %s; 'skerry repo status' lists those there are", role);
}

int publisher_check_ready(const struct tuf_publisher *p, const char *role, const struct tuf_metadata *m,
                          struct err **err) {
        struct publisher_voucher by;
        int r = publisher_voucher(p, role, &by, err);
        if (r < 0 || (r = tuf_metadata_verify(m, role, by.m, by.role, err)) < 0)
                return r;
        const struct tuf_metadata *old = table_get(p->published, "root");
        if (str_eq(role, "root") && old)
                return tuf_metadata_verify(m, "root", old, &old->roles[TUF_ROOT], err);
        return 0;
}

/* ---- Staging */

int64_t publisher_expires(const struct tuf_publisher *p, const char *role) {
        const json_t *periods = json_object_get(p->config, "expiry");
        int64_t seconds = json_integer_value(json_object_get(periods, role));
        for (size_t i = 0; seconds <= 0 && i < ARRAY_SIZE(default_expiry); i++)
                if (str_eq(default_expiry[i].role, role))
                        seconds = default_expiry[i].seconds;
        if (seconds <= 0)
                seconds = json_integer_value(json_object_get(periods, "default"));
        return publisher_now_s(p) + (seconds > 0 ? seconds : TARGETS_EXPIRY_S);
}

int publisher_put_version(json_t *content, int64_t version, int64_t expires_s) {
        char text[TUF_TIME_SIZE];
        return json_object_set_new(content, "version", json_integer(version)) < 0 ||
                               json_object_set_new(content, "expires",
                                                   json_string(tuf_time_format(expires_s, text))) < 0
                       ? -ENOMEM
                       : 0;
}

json_t *publisher_empty_targets(const struct tuf_publisher *p, const char *role) {
        char text[TUF_TIME_SIZE];
        return json_pack("{s:s, s:s, s:i, s:s, s:{}}", "_type", "targets", "spec_version", TUF_SPEC_VERSION,
                         "version", 1, "expires", tuf_time_format(publisher_expires(p, role), text),
                         "targets");
}

int publisher_edit(struct tuf_publisher *p, const char *role, json_t **ret_signed, struct err **err) {
        const struct tuf_metadata *now = publisher_effective(p, role);
        const struct tuf_metadata *published = table_get(p->published, role);
        const int64_t *highest = table_get(p->highest, role);
        int r = publisher_check_writable(p, err);
        if (r < 0)
                return r;
        if (!now)
                return err_set(err, ENOENT, "there is no role %s; 'skerry repo status' lists those there are",
                               role);
        int64_t version = published ? published->version : 0;
        if (highest &&
            *highest > version) /* of a publication that was cut off: readers may have seen the file */
                version = *highest;
        _cleanup_json_ json_t *content = json_deep_copy(tuf_metadata_signed(now));
        if (!content || publisher_put_version(content, version + 1, publisher_expires(p, role)) < 0 ||
            json_object_set_new(content, "spec_version", json_string(TUF_SPEC_VERSION)) < 0)
                return err_set_errno(err, ENOMEM, "edit role %s", role);
        *ret_signed = TAKE_PTR(content);
        return 0;
}

static void destroy_metadata(void *m) {
        tuf_metadata_free(m);
}

int publisher_stage_document(struct tuf_publisher *p, const char *role, json_t *document, struct err **err) {
        _cleanup_json_ json_t *owned = document;
        _cleanup_(tuf_metadata_freep) struct tuf_metadata *m = NULL;
        _cleanup_(x_freep) char *data = NULL, *name = str_format("%s.json", role), *path = NULL;
        size_t len = 0;
        int r = tuf_metadata_from_json(publisher_type(role), owned, &m, err);
        if (r < 0 || (r = tuf_metadata_serialise(m, &data, &len, err)) < 0)
                return err_wrap_code(err, r, "stage role %s", role);
        if (len > tuf_type_max(m->type))
                return err_set(err, EFBIG,
                               "role %s would have %zu bytes, and clients take %zu: remove targets, or "
                               "delegate some to "
                               "other roles",
                               role, len, tuf_type_max(m->type));
        path = name ? publisher_path(p, "staged", name) : NULL;
        if (!path)
                return err_set_errno(err, ENOMEM, "stage role %s", role);
        r = publisher_write(p, path, data, len, 0644, err);
        if (r < 0)
                return r;
        if (table_set(p->staged, role, m) < 0)
                return err_set_errno(err, ENOMEM, "stage role %s", role);
        m = NULL;
        return 0;
}

int publisher_stage(struct tuf_publisher *p, const char *role, json_t *content, struct err **err) {
        json_t *document = json_pack("{s:[], s:o}", "signatures", "signed", content);
        if (!document)
                return err_set_errno(err, ENOMEM, "stage role %s", role);
        return publisher_stage_document(p, role, document, err);
}

int tuf_publisher_renew(struct tuf_publisher *p, const char *role, struct err **err) {
        json_t *content = NULL;
        if (str_eq(role, "snapshot") || str_eq(role, "timestamp"))
                return err_set(err, EINVAL, "%s is made anew whenever something is published", role);
        int r = publisher_edit(p, role, &content, err);
        return r < 0 ? r : publisher_stage(p, role, content, err);
}

/* ---- Opening */

static int load_file(const char *path, enum tuf_type type, struct tuf_metadata **ret, struct err **err) {
        _cleanup_(x_freep) char *data = NULL;
        size_t len = 0;
        int r = file_read(path, tuf_type_max(type), &data, &len, err);
        if (r < 0)
                return r;
        r = tuf_metadata_parse(type, data, len, ret, err);
        return r < 0 ? err_wrap_code(err, r, "%s", path) : 0;
}

static int load_published(struct tuf_publisher *p, const char *role, int64_t version, struct err **err) {
        struct tuf_metadata *m = NULL;
        _cleanup_(x_freep) char *path =
                version > 0 ? str_format("%s/metadata/%lld.%s.json", p->public_dir, (long long)version, role)
                            : str_format("%s/metadata/%s.json", p->public_dir, role);
        if (!path)
                return err_set_errno(err, ENOMEM, "read role %s", role);
        int r = load_file(path, publisher_type(role), &m, err);
        if (r >= 0 && table_set(p->published, role, m) < 0) {
                tuf_metadata_free(m);
                r = err_set_errno(err, ENOMEM, "read role %s", role);
        }
        return r;
}

static int note_highest(struct tuf_publisher *p, const char *file) {
        char *end = NULL;
        errno = 0;
        long long version = strtoll(file, &end, 10);
        if (end == file || *end != '.' || errno || version < 1 || !str_has_suffix(end, ".json") ||
            strlen(end) < 7)
                return 0;
        _cleanup_(x_freep) char *role = str_dup_n(end + 1, strlen(end) - 1 - strlen(".json"));
        int64_t *known = role ? table_get(p->highest, role) : NULL;
        if (known) {
                *known = MAX(*known, (int64_t)version);
                return 0;
        }
        known = role ? malloc(sizeof(*known)) : NULL;
        if (!known)
                return -ENOMEM;
        *known = version;
        if (table_set(p->highest, role, known) < 0) {
                free(known);
                return -ENOMEM;
        }
        return 0;
}

static int read_highest(struct tuf_publisher *p, struct err **err) {
        _cleanup_(x_freep) char *path = path_join(p->public_dir, "metadata");
        DIR *d = path ? opendir(path) : NULL;
        if (!d)
                return err_set_errno(err, path ? errno : ENOMEM, "read %s/metadata", p->public_dir);
        int r = 0;
        for (const struct dirent *e; r >= 0 && (e = readdir(d));)
                r = note_highest(p, e->d_name);
        closedir(d);
        return r < 0 ? err_set_errno(err, -r, "read %s", path) : 0;
}

/* What the public timestamp leads to, and the newest root. */
static int load_public(struct tuf_publisher *p, struct err **err) {
        int r = read_highest(p, err);
        const int64_t *root = table_get(p->highest, "root");
        if (r < 0 || !root || (r = load_published(p, "root", *root, err)) < 0)
                return r;
        _cleanup_(err_freep) struct err *why = NULL;
        struct tuf_file file;
        r = load_published(p, "timestamp", 0, &why);
        if (r == -ENOENT)
                return 0; /* the first publication was cut off */
        if (r < 0)
                return err_move(err, TAKE_PTR(why));
        if (!tuf_metadata_file(table_get(p->published, "timestamp"), "snapshot.json", &file))
                return err_set(err, EBADMSG, "%s/metadata/timestamp.json does not list a snapshot",
                               p->public_dir);
        r = load_published(p, "snapshot", file.version, err);
        if (r < 0)
                return r;
        const char *name;
        json_t *entry;
        const struct tuf_metadata *snapshot = table_get(p->published, "snapshot");
        json_object_foreach (json_object_get(tuf_metadata_signed(snapshot), "meta"), name, entry) {
                _cleanup_(x_freep) char *role = str_dup_n(name, strlen(name) - strlen(".json"));
                if (!role)
                        return err_set_errno(err, ENOMEM, "read role %s", name);
                r = load_published(p, role, json_integer_value(json_object_get(entry, "version")), err);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* A staged role that is public already was left by a publication that was cut off at its very end. */
static int load_one_staged(struct tuf_publisher *p, const char *file, struct err **err) {
        _cleanup_(x_freep) char *role = str_dup_n(file, strlen(file) - strlen(".json"));
        _cleanup_(x_freep) char *path = publisher_path(p, "staged", file);
        _cleanup_(tuf_metadata_freep) struct tuf_metadata *m = NULL;
        if (!role || !path)
                return err_set_errno(err, ENOMEM, "read staged role %s", file);
        int r = load_file(path, publisher_type(role), &m, err);
        if (r < 0)
                return err_wrap_code(err, r, "damaged (remove the file to drop this edit)");
        const struct tuf_metadata *public = table_get(p->published, role);
        if (public && public->version == m->version && public->canonical_len == m->canonical_len &&
            memcmp(public->canonical, m->canonical, m->canonical_len) == 0)
                return p->options.read_only ? 0 : publisher_remove(p, path, err);
        if (table_set(p->staged, role, m) < 0)
                return err_set_errno(err, ENOMEM, "read staged role %s", role);
        m = NULL;
        return 0;
}

static int load_staged(struct tuf_publisher *p, struct err **err) {
        _cleanup_(x_freep) char *path = publisher_path(p, "staged", NULL);
        DIR *d = path ? opendir(path) : NULL;
        if (!d)
                return err_set_errno(err, path ? errno : ENOMEM, "read %s/staged", p->dir);
        int r = 0;
        for (const struct dirent *e; r >= 0 && (e = readdir(d));)
                if (e->d_name[0] != '.' && str_has_suffix(e->d_name, ".json"))
                        r = load_one_staged(p, e->d_name, err);
        closedir(d);
        return r;
}

static int take_lock(struct tuf_publisher *p, struct err **err) {
        char text[32];
        _cleanup_(x_freep) char *path = publisher_path(p, ".lock", NULL);
        p->lock_fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644) : -1;
        if (p->lock_fd < 0)
                return err_set_errno(err, path ? errno : ENOMEM, "lock %s", p->dir);
        if (flock(p->lock_fd, LOCK_EX | LOCK_NB) < 0) {
                if (errno != EWOULDBLOCK)
                        return err_set_errno(err, errno, "lock %s", path);
                ssize_t n = pread(p->lock_fd, text, sizeof(text) - 1, 0);
                text[MAX(n, (ssize_t)0)] = '\0';
                text[strspn(text, "0123456789")] = '\0';
                return err_set(err, EBUSY, "%s is being worked on by process %s: try again when it has ended",
                               p->dir, *text ? text : "(unknown)");
        }
        int n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
        if (ftruncate(p->lock_fd, 0) < 0 || pwrite(p->lock_fd, text, (size_t)n, 0) != n)
                return err_set_errno(err, errno, "lock %s", path);
        return 0;
}

static int read_config(struct tuf_publisher *p, struct err **err) {
        _cleanup_(x_freep) char *path = publisher_path(p, "repository.json", NULL), *text = NULL;
        _cleanup_(err_freep) struct err *why = NULL;
        size_t len = 0;
        int64_t format = 0;
        const json_t *keys = NULL;
        int r = path ? file_read(path, REPOSITORY_FILE_MAX, &text, &len, &why) : -ENOMEM;
        if (r == -ENOENT)
                return err_set(err, ENOENT, "%s is no repository: 'skerry repo init %s' makes one", p->dir,
                               p->dir);
        if (r < 0)
                return err_move(err, TAKE_PTR(why));
        r = json_decode(text, len, &p->config, err);
        if (r >= 0)
                r = json_read_int(p->config, "format", &format, err);
        if (r >= 0 && format != REPOSITORY_FORMAT)
                r = err_set(err, EINVAL, "format %lld is not known, only %d is", (long long)format,
                            REPOSITORY_FORMAT);
        if (r >= 0)
                r = json_read_object(p->config, "keys", &keys, err);
        return r < 0 ? err_wrap_code(err, r, "%s", path) : 0;
}

static void destroy_signer(void *s) {
        tuf_signer_free(s);
}

/* What a copy that was cut off left. */
static void clean_incoming(const struct tuf_publisher *p) {
        _cleanup_(x_freep) char *path = publisher_path(p, "incoming", NULL);
        if (path && !p->options.read_only)
                (void)path_remove(path, NULL);
}

static int allocate(const char *dir, const struct tuf_publisher_options *o, struct tuf_publisher **ret,
                    struct err **err) {
        _cleanup_(tuf_publisher_freep) struct tuf_publisher *p = calloc(1, sizeof(*p));
        if (!p)
                return err_set_errno(err, ENOMEM, "open %s", dir);
        p->lock_fd = -1;
        if (o)
                p->options = *o;
        p->dir = str_dup(dir);
        p->public_dir = path_join(dir, "public");
        p->published = table_new(destroy_metadata);
        p->staged = table_new(destroy_metadata);
        p->highest = table_new(free);
        p->signers = table_new(destroy_signer);
        p->absent = table_new(NULL);
        if (!p->dir || !p->public_dir || !p->published || !p->staged || !p->highest || !p->signers ||
            !p->absent)
                return err_set_errno(err, ENOMEM, "open %s", dir);
        *ret = TAKE_PTR(p);
        return 0;
}

int tuf_publisher_open(const char *dir, const struct tuf_publisher_options *o, struct tuf_publisher **ret,
                       struct err **err) {
        _cleanup_(tuf_publisher_freep) struct tuf_publisher *p = NULL;
        int r = allocate(dir, o, &p, err);
        if (r < 0 || (r = read_config(p, err)) < 0 || (!p->options.read_only && (r = take_lock(p, err)) < 0))
                return r;
        clean_incoming(p);
        if ((r = load_public(p, err)) < 0 || (r = load_staged(p, err)) < 0)
                return r;
        if (!publisher_effective(p, "root") || !publisher_effective(p, "targets"))
                return err_set(err, EBADMSG, "%s has neither staged nor published root and targets metadata",
                               dir);
        *ret = TAKE_PTR(p);
        return 0;
}

struct tuf_publisher *tuf_publisher_free(struct tuf_publisher *p) {
        if (p) {
                if (p->lock_fd >= 0)
                        (void)close(p->lock_fd);
                json_decref(p->config);
                table_free(p->published);
                table_free(p->staged);
                table_free(p->highest);
                table_free(p->signers);
                table_free(p->absent);
                free(p->public_dir);
                free(p->dir);
                free(p);
        }
        return NULL;
}

/* ---- Making one */

static const struct {
        const char *key;
        bool offline; /* its key is put under the passphrase */
} first_keys[TUF_TYPES] = {
        [TUF_ROOT] = {"root-1", true},
        [TUF_TIMESTAMP] = {"timestamp-1", false},
        [TUF_SNAPSHOT] = {"snapshot-1", false},
        [TUF_TARGETS] = {"targets-1", true},
};

/* The key of one role: given, made, or the one made before for all. */
static int first_key(struct tuf_publisher *p, const struct tuf_publisher_init *i, enum tuf_type type,
                     const json_t **ret_key, const char **ret_id, struct err **err) {
        const char *name = i->one_key ? "online" : first_keys[type].key;
        const json_t *entry = NULL;
        int r = 0;
        if (i->keys[type]) {
                entry = publisher_key_entry(p, tuf_key_id(i->keys[type]));
                if (!entry)
                        r = tuf_publisher_register_key(p, name, i->keys[type], NULL, NULL, err);
                if (r >= 0)
                        entry = publisher_key_entry(p, tuf_key_id(i->keys[type]));
        } else if (i->no_keys)
                return err_set(err, EINVAL, "role %s has no key", tuf_type_name(type));
        else {
                entry = json_object_get(json_object_get(p->config, "keys"), name);
                if (!entry) {
                        r = tuf_publisher_generate_key(
                                p, name, i->scheme,
                                first_keys[type].offline && !i->one_key ? i->passphrase : NULL, err);
                        entry = json_object_get(json_object_get(p->config, "keys"), name);
                }
        }
        if (r < 0)
                return r;
        *ret_key = json_object_get(entry, "key");
        *ret_id = json_string_value(json_object_get(entry, "keyid"));
        return 0;
}

static int stage_first_root(struct tuf_publisher *p, const struct tuf_publisher_init *i, struct err **err) {
        char text[TUF_TIME_SIZE];
        _cleanup_json_ json_t *root = json_pack("{s:s, s:s, s:i, s:s, s:b, s:{}, s:{}}", "_type", "root",
                                                "spec_version", TUF_SPEC_VERSION, "version", 1, "expires",
                                                tuf_time_format(publisher_expires(p, "root"), text),
                                                "consistent_snapshot", true, "keys", "roles");
        for (int t = 0; root && t < TUF_TYPES; t++) {
                const json_t *key = NULL;
                const char *id = NULL;
                int r = first_key(p, i, (enum tuf_type)t, &key, &id, err);
                if (r < 0)
                        return r;
                if (json_object_set(json_object_get(root, "keys"), id, (json_t *)key) < 0 ||
                    json_object_set_new(json_object_get(root, "roles"), tuf_type_name((enum tuf_type)t),
                                        json_pack("{s:[s], s:i}", "keyids", id, "threshold", 1)) < 0)
                        return err_set_errno(err, ENOMEM, "make root");
        }
        if (!root)
                return err_set_errno(err, ENOMEM, "make root");
        return publisher_stage(p, "root", TAKE_PTR(root), err);
}

static int make_folders(const struct tuf_publisher *p, struct err **err) {
        static const struct {
                const char *name;
                mode_t mode;
        } folders[] = {{"public/metadata", 0755}, {"public/targets", 0755}, {"staged", 0755}, {"keys", 0700}};
        int r = 0;
        for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(folders); i++) {
                _cleanup_(x_freep) char *path = publisher_path(p, folders[i].name, NULL);
                r = path ? dir_make(path, folders[i].mode, err)
                         : err_set_errno(err, ENOMEM, "make %s", p->dir);
        }
        return r;
}

/* Not there, or empty? A folder where an earlier try was cut off has no repository.json, but keys: those are
 * never overwritten. */
static int check_empty(const char *dir, struct err **err) {
        DIR *d = opendir(dir);
        if (!d)
                return errno == ENOENT ? 0 : err_set_errno(err, errno, "make repository %s", dir);
        bool empty = true;
        for (const struct dirent *e; empty && (e = readdir(d));)
                empty = str_eq(e->d_name, ".") || str_eq(e->d_name, "..");
        closedir(d);
        return empty ? 0 : err_set(err, EEXIST, "make repository: %s is there already, and not empty", dir);
}

static int give_passphrase(void *arg, const char *key_name, char **ret, struct err **err) {
        const char *text = arg;
        *ret = text ? str_dup(text) : NULL;
        return *ret ? 0 : -ENOKEY;
}

int tuf_publisher_init(const char *dir, const struct tuf_publisher_init *i,
                       const struct tuf_publisher_options *o, struct err **err) {
        _cleanup_(tuf_publisher_freep) struct tuf_publisher *p = NULL;
        int r = check_empty(dir, err);
        if (r < 0 || (r = dir_make(dir, 0755, err)) < 0 || (r = allocate(dir, o, &p, err)) < 0)
                return r;
        p->options.read_only = false;
        p->options.passphrase = give_passphrase;
        p->options.passphrase_arg = (void *)i->passphrase;
        if ((r = take_lock(p, err)) < 0 || (r = make_folders(p, err)) < 0)
                return r;
        p->config = json_pack("{s:i, s:{}, s:{}}", "format", REPOSITORY_FORMAT, "keys", "expiry");
        json_t *targets = p->config ? publisher_empty_targets(p, "targets") : NULL;
        if (!targets)
                return err_set_errno(err, ENOMEM, "make repository %s", dir);
        r = publisher_stage(p, "targets", targets, err);
        if (r < 0 || (r = stage_first_root(p, i, err)) < 0)
                return r;
        return tuf_publisher_sign(p, NULL, NULL, 0, NULL, err);
}
