/* SPDX-License-Identifier: Apache-2.0 */
/* tuf_verify_folder() of repo/tuf/publisher.h: a published folder through a client's eyes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "base/table.h"
#include "crypto/digest.h"
#include "repo/tuf/client.h"
#include "repo/tuf/publisher.h"

/* ---- A store in memory: the folder is judged by itself alone. It remembers what was stored. */
struct stored {
        char *data;
        size_t len;
};
static void destroy_stored(void *p) {
        struct stored *s = p;
        free(s->data);
        free(s);
}

static int memory_load(void *arg, const char *name, char **ret, size_t *ret_len) {
        const struct stored *s = table_get(arg, name);
        char *copy = s ? str_dup_n(s->data, s->len) : NULL;
        if (!copy)
                return s ? -ENOMEM : -ENOENT;
        *ret = copy;
        *ret_len = s->len;
        return 0;
}

static int memory_save(void *arg, const char *name, const char *data, size_t len, struct err **err) {
        struct stored *s = calloc(1, sizeof(*s));
        if (s)
                s->data = str_dup_n(data, len);
        if (!s || !s->data || table_set(arg, name, s) < 0) {
                if (s)
                        destroy_stored(s);
                return err_set_errno(err, ENOMEM, "verify");
        }
        s->len = len;
        return 0;
}

static int memory_remove(void *arg, const char *name) {
        (void)table_remove(arg, name);
        return 0;
}

/* ---- Verifying */

struct verify {
        const char *dir;
        const struct tuf_verify_options *o;
        struct root_dir *root;
        struct tuf_client *client;
        struct tuf_verify_result result;
        int64_t total;
        struct err **err;
};

static int feed(struct verify *v, struct err **err) {
        const struct tuf_need *need;
        while ((need = tuf_client_need(v->client))) {
                _cleanup_(x_freep) char *data = NULL;
                _cleanup_(err_freep) struct err *why = NULL;
                size_t len = 0;
                int r = root_dir_read(v->root, need->path, need->max_bytes, &data, &len, NULL, &why);
                if (r >= 0)
                        tuf_client_give(v->client, data, len);
                else if (r == -ENOENT)
                        tuf_client_missing(v->client);
                else
                        tuf_client_abandon(v->client, r, err_message(why));
        }
        return tuf_client_result(v->client, err);
}

static int count_one(void *arg, const struct tuf_target *t) {
        struct verify *v = arg;
        v->total += t->length;
        return 0;
}

static int check_digest(struct verify *v, int fd, const char *file, const struct tuf_target *t) {
        char digest[SHA256_HEX_SIZE];
        int r = sha256_file_hex(fd, digest);
        if (r < 0)
                return err_set_errno(v->err, -r, "read %s/%s", v->dir, file);
        return str_eq(digest, t->sha256) ? 0
                                         : err_set(v->err, EBADMSG,
                                                   "%s/%s is damaged: it does not have the digest that it is "
                                                   "named by; put it back from "
                                                   "a mirror, or add the target again",
                                                   v->dir, file);
}

static int check_one(void *arg, const struct tuf_target *t) {
        struct verify *v = arg;
        _cleanup_(x_freep) char *file = tuf_client_target_file(v->client, t);
        struct stat st;
        if (!file || !t->sha256[0])
                return err_set(v->err, EBADMSG, "target %s has no SHA-256", t->path);
        _cleanup_(x_closep) int fd = root_dir_openat(v->root, file, O_RDONLY | O_NONBLOCK, 0);
        if (fd < 0)
                return err_set_errno(v->err, -fd, "target %s: %s/%s", t->path, v->dir, file);
        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size != t->length)
                return err_set(v->err, EBADMSG, "%s/%s has %lld bytes, and %s lists %lld", v->dir, file,
                               (long long)st.st_size, t->role, (long long)t->length);
        int r = v->o->metadata_only ? 0 : check_digest(v, fd, file, t);
        if (r < 0)
                return r;
        v->result.files++;
        v->result.bytes += t->length;
        if (v->o->progress)
                v->o->progress(v->o->arg, v->result.bytes, v->total);
        return 0;
}

/* The earliest end among all that was verified. */
static void note_expiry(struct verify *v, struct table *store) {
        const char *name;
        void *value;
        for (size_t i = 0; table_next(store, &i, &name, &value);) {
                const struct stored *s = value;
                _cleanup_(tuf_metadata_freep) struct tuf_metadata *m = NULL;
                _cleanup_(x_freep) char *role = str_dup_n(name, strlen(name) - strlen(".json"));
                enum tuf_type type = TUF_TARGETS;
                for (int t = 0; role && t < TUF_TYPES; t++)
                        if (str_eq(tuf_type_name((enum tuf_type)t), role))
                                type = (enum tuf_type)t;
                if (!role || tuf_metadata_parse(type, s->data, s->len, &m, NULL) < 0)
                        continue;
                v->result.roles++;
                if (v->result.expires_s == 0 || m->expires_s < v->result.expires_s) {
                        v->result.expires_s = m->expires_s;
                        (void)snprintf(v->result.expires_role, sizeof(v->result.expires_role), "%s", role);
                }
        }
}

static int begin(struct verify *v, struct table *memory, struct err **err) {
        _cleanup_(x_freep) char *first = NULL;
        const char *root = v->o->trusted_root;
        size_t len = v->o->trusted_root_len;
        if (!root) {
                int r = root_dir_read(v->root, "metadata/1.root.json", TUF_ROOT_MAX, &first, &len, NULL, err);
                if (r < 0)
                        return err_wrap_code(err, r, "%s", v->dir);
                root = first;
        }
        const struct tuf_store store = {memory, memory_load, memory_save, memory_remove};
        return tuf_client_new(&store, root, len, &v->client, err);
}

int tuf_verify_folder(const char *public_dir, const struct tuf_verify_options *o,
                      struct tuf_verify_result *ret, struct err **err) {
        _cleanup_(table_freep) struct table *memory = table_new(destroy_stored);
        _cleanup_(root_dir_freep) struct root_dir *root = NULL;
        struct tuf_versions versions;
        if (!memory)
                return err_set_errno(err, ENOMEM, "verify %s", public_dir);
        int r = root_dir_open(public_dir, &root, err);
        if (r < 0)
                return r;
        struct verify v = {.dir = public_dir, .o = o, .root = root, .err = err};
        r = begin(&v, memory, err);
        _cleanup_(tuf_client_freep) struct tuf_client *client = v.client;
        if (r < 0)
                return r;
        tuf_client_refresh(client, o->now_s);
        if ((r = feed(&v, err)) < 0)
                return r;
        tuf_client_load_all(client);
        if ((r = feed(&v, err)) < 0)
                return r;
        r = tuf_client_each(client, count_one, &v);
        if (r >= 0)
                r = tuf_client_each(client, check_one, &v);
        if (r < 0)
                return r;
        note_expiry(&v, memory);
        tuf_client_versions(client, &versions);
        v.result.root = versions.root;
        v.result.timestamp = versions.timestamp;
        v.result.snapshot = versions.snapshot;
        v.result.targets = versions.targets;
        *ret = v.result;
        return 0;
}
