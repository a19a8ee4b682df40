/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/tuf/metadata.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/table.h"
#include "codec/json.h"

static const struct {
        const char *name;
        size_t max;
} types[TUF_TYPES] = {
        [TUF_ROOT] = {"root", TUF_ROOT_MAX},
        [TUF_TIMESTAMP] = {"timestamp", TUF_TIMESTAMP_MAX},
        [TUF_SNAPSHOT] = {"snapshot", TUF_SNAPSHOT_MAX},
        [TUF_TARGETS] = {"targets", TUF_TARGETS_MAX},
};

const char *tuf_type_name(enum tuf_type t) {
        return types[t].name;
}

size_t tuf_type_max(enum tuf_type t) {
        return types[t].max;
}

bool tuf_role_is_top_level(const char *role) {
        for (size_t i = 0; i < TUF_TYPES; i++)
                if (str_eq(types[i].name, role))
                        return true;
        return false;
}

/* ---- Times */

int tuf_time_parse(const char *s, int64_t *ret_s) {
        static const char shape[] = "0000-00-00T00:00:00Z";
        msec_t ms = 0;
        if (strnlen(s, sizeof(shape)) != sizeof(shape) - 1)
                return -EINVAL;
        for (size_t i = 0; shape[i]; i++)
                if (shape[i] == '0' ? s[i] < '0' || s[i] > '9' : s[i] != shape[i])
                        return -EINVAL;
        if (time_parse(s, &ms) < 0)
                return -EINVAL;
        *ret_s = ms / 1000;
        return 0;
}

const char *tuf_time_format(int64_t unix_s, char out[TUF_TIME_SIZE]) {
        char text[TIME_TEXT_SIZE];
        char *dot;
        (void)snprintf(out, TUF_TIME_SIZE, "%s", time_format(unix_s * 1000, text));
        dot = strchr(out, '.');
        if (dot)
                memcpy(dot, "Z", 2);
        return out;
}

/* ---- Reading */

static bool is_plain(const char *s, size_t max) {
        size_t len = strnlen(s, max + 1);
        if (len == 0 || len > max)
                return false;
        for (size_t i = 0; i < len; i++)
                if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
                        return false;
        return true;
}

static int read_version(const json_t *o, const char *key, int64_t *ret, struct err **err) {
        int64_t version = 0;
        int r = json_read_int(o, key, &version, err);
        if (r < 0)
                return r;
        if (version < 1 || version > TUF_VERSION_MAX)
                return err_set(err, EINVAL, "field %s: expected a whole number from 1 to 2^53, found %lld",
                               key, (long long)version);
        *ret = version;
        return 0;
}

/* "1.x" or "1.x.y": another major version may mean anything by its members. */
static int check_spec_version(const json_t *content, struct err **err) {
        const char *text = NULL;
        int r = json_read_string(content, "spec_version", &text, err);
        if (r < 0)
                return r;
        size_t dots = 0, digits = 0;
        for (const char *c = text; *c; c++) {
                if (*c == '.' && digits > 0) {
                        dots++;
                        digits = 0;
                } else if (*c >= '0' && *c <= '9')
                        digits++;
                else
                        return err_set(err, EINVAL, "spec_version \"%.40s\" is no version", text);
        }
        if (digits == 0 || dots < 1 || dots > 2)
                return err_set(err, EINVAL, "spec_version \"%.40s\" is no version", text);
        if (!str_has_prefix(text, "1."))
                return err_set(err, EINVAL, "spec_version %.40s is not supported, only 1.x is", text);
        return 0;
}

static int read_head(struct tuf_metadata *m, const json_t *content, struct err **err) {
        const char *text = NULL;
        int r = json_read_string(content, "_type", &text, err);
        if (r < 0)
                return r;
        if (!str_eq(text, types[m->type].name))
                return err_set(err, EINVAL, "field _type: expected \"%s\", found \"%.40s\"",
                               types[m->type].name, text);
        if ((r = check_spec_version(content, err)) < 0 ||
            (r = read_version(content, "version", &m->version, err)) < 0 ||
            (r = json_read_string(content, "expires", &text, err)) < 0)
                return r;
        if (tuf_time_parse(text, &m->expires_s) < 0)
                return err_set(err, EINVAL, "field expires: expected YYYY-MM-DDTHH:MM:SSZ, found \"%.40s\"",
                               text);
        return 0;
}

static int check_signatures(const json_t *document, struct err **err) {
        const json_t *list = NULL;
        _cleanup_(table_freep) struct table *seen = table_new(NULL);
        int r = json_read_array(document, "signatures", &list, err);
        if (r < 0)
                return r;
        if (json_array_size(list) > TUF_KEYS_MAX)
                return err_set(err, EINVAL, "there are more than %d signatures", TUF_KEYS_MAX);
        for (size_t i = 0; i < json_array_size(list); i++) {
                const json_t *item = json_array_get(list, i);
                const char *id = NULL, *signature = NULL;
                if (!json_is_object(item))
                        return err_set(err, EINVAL, "signature %zu is not an object", i + 1);
                if ((r = json_read_string(item, "keyid", &id, err)) < 0 ||
                    (r = json_read_string(item, "sig", &signature, err)) < 0)
                        return err_wrap_code(err, r, "signature %zu", i + 1);
                if (seen && table_get(seen, id))
                        return err_set(err, EINVAL, "there are two signatures of key %.80s", id);
                if (!seen || table_set(seen, id, (void *)item) < 0)
                        return err_set_errno(err, ENOMEM, "read signatures");
        }
        return 0;
}

static void destroy_key(void *k) {
        tuf_key_free(k);
}

/* Keys that are of no use to us stay out of the table: what they sign counts for nothing, and the document is
 * none the worse. So it can be read by clients of every age. */
static int read_keys(struct tuf_metadata *m, const json_t *o, struct err **err) {
        const json_t *keys = NULL;
        int r = json_read_object(o, "keys", &keys, err);
        if (r < 0)
                return r;
        if (json_object_size(keys) > TUF_KEYS_MAX)
                return err_set(err, EINVAL, "there are more than %d keys", TUF_KEYS_MAX);
        m->keys = table_new(destroy_key);
        if (!m->keys)
                return err_set_errno(err, ENOMEM, "read keys");
        const char *id;
        json_t *value;
        json_object_foreach ((json_t *)keys, id, value) {
                struct tuf_key *key = NULL;
                if (!json_is_object(value) || !json_is_string(json_object_get(value, "keytype")) ||
                    !json_is_string(json_object_get(value, "scheme")) ||
                    !json_is_object(json_object_get(value, "keyval")))
                        return err_set(err, EINVAL, "key %.80s: expected keytype, scheme and keyval", id);
                r = tuf_key_from_json(value, &key, NULL);
                if (r == -ENOMEM)
                        return err_set_errno(err, ENOMEM, "read keys");
                if (r < 0)
                        continue;
                if (table_set(m->keys, id, key) < 0) {
                        tuf_key_free(key);
                        return err_set_errno(err, ENOMEM, "read keys");
                }
        }
        return 0;
}

static int read_role(const json_t *o, struct tuf_role *ret, struct err **err) {
        const json_t *ids = NULL;
        int r = json_read_array(o, "keyids", &ids, err);
        if (r < 0 || (r = json_read_int(o, "threshold", &ret->threshold, err)) < 0)
                return r;
        if (ret->threshold < 1)
                return err_set(err, EINVAL, "field threshold: expected a whole number from 1, found %lld",
                               (long long)ret->threshold);
        size_t n = json_array_size(ids);
        if (n > TUF_KEYS_MAX)
                return err_set(err, EINVAL, "there are more than %d keyids", TUF_KEYS_MAX);
        _cleanup_(table_freep) struct table *seen = table_new(NULL);
        ret->key_ids = calloc(n ? n : 1, sizeof(*ret->key_ids));
        if (!seen || !ret->key_ids)
                return err_set_errno(err, ENOMEM, "read role");
        for (size_t i = 0; i < n; i++) {
                const char *id = json_string_value(json_array_get(ids, i));
                if (!id)
                        return err_set(err, EINVAL, "keyid %zu is not text", i + 1);
                if (table_get(seen, id))
                        return err_set(err, EINVAL, "key %.80s is listed twice", id);
                if (table_set(seen, id, (void *)id) < 0)
                        return err_set_errno(err, ENOMEM, "read role");
                ret->key_ids[ret->n_key_ids++] = id;
        }
        return 0;
}

static int read_root(struct tuf_metadata *m, const json_t *content, struct err **err) {
        const json_t *roles = NULL, *role = NULL;
        int r = json_read_optional_bool(content, "consistent_snapshot", &m->consistent_snapshot, err);
        if (r < 0 || (r = read_keys(m, content, err)) < 0 ||
            (r = json_read_object(content, "roles", &roles, err)) < 0)
                return r;
        for (size_t i = 0; i < TUF_TYPES; i++) {
                r = json_read_object(roles, types[i].name, &role, err);
                if (r >= 0)
                        r = read_role(role, &m->roles[i], err);
                if (r < 0)
                        return err_wrap_code(err, r, "role %s", types[i].name);
        }
        return 0;
}

/* {"sha256": hex, ...}: at least one, all text. */
static int read_hashes(const json_t *o, const char **ret_sha256, const char **ret_sha512, struct err **err) {
        const json_t *hashes = NULL;
        int r = json_read_object(o, "hashes", &hashes, err);
        if (r < 0)
                return r;
        if (json_object_size(hashes) == 0)
                return err_set(err, EINVAL, "field hashes is empty");
        const char *name;
        json_t *value;
        json_object_foreach ((json_t *)hashes, name, value)
                if (!json_is_string(value))
                        return err_set(err, EINVAL, "hash %.40s is not text", name);
        const char *sha256 = json_string_value(json_object_get(hashes, "sha256"));
        const char *sha512 = json_string_value(json_object_get(hashes, "sha512"));
        if ((sha256 && strnlen(sha256, 65) != 64) || (sha512 && strnlen(sha512, 129) != 128) ||
            (sha256 && strspn(sha256, "0123456789abcdef") != 64) ||
            (sha512 && strspn(sha512, "0123456789abcdef") != 128))
                return err_set(err, EINVAL, "a hash is not of its kind's length in lower-case hex digits");
        *ret_sha256 = sha256;
        *ret_sha512 = sha512;
        return 0;
}

static int read_file_entry(const json_t *o, struct tuf_file *ret, struct err **err) {
        *ret = (struct tuf_file){.length = -1};
        if (!json_is_object(o))
                return err_set(err, EINVAL, "expected an object");
        int r = read_version(o, "version", &ret->version, err);
        if (r < 0 || (r = json_read_optional_int(o, "length", &ret->length, err)) < 0)
                return r;
        if (json_object_get(o, "length") && ret->length < 0)
                return err_set(err, EINVAL, "field length is below 0");
        ret->has_hashes = json_object_get(o, "hashes") != NULL;
        return ret->has_hashes ? read_hashes(o, &ret->sha256, &ret->sha512, err) : 0;
}

/* Timestamp and snapshot. */
static int check_meta(const struct tuf_metadata *m, const json_t *content, struct err **err) {
        const json_t *meta = NULL;
        int r = json_read_object(content, "meta", &meta, err);
        if (r < 0)
                return r;
        const char *name;
        json_t *value;
        json_object_foreach ((json_t *)meta, name, value) {
                struct tuf_file file;
                if (!is_plain(name, TUF_ROLE_NAME_MAX + strlen(".json")) || !str_has_suffix(name, ".json"))
                        return err_set(err, EINVAL, "\"%.80s\" is no name of a metadata file", name);
                r = read_file_entry(value, &file, err);
                if (r < 0)
                        return err_wrap_code(err, r, "file %s", name);
        }
        if (m->type == TUF_TIMESTAMP && !json_object_get(meta, "snapshot.json"))
                return err_set(err, EINVAL, "snapshot.json is not listed");
        return 0;
}

static int read_target(const json_t *o, struct tuf_target *ret, struct err **err) {
        const char *sha256 = NULL;
        if (!json_is_object(o))
                return err_set(err, EINVAL, "expected an object");
        int r = json_read_int(o, "length", &ret->length, err);
        if (r < 0 || (r = read_hashes(o, &sha256, &ret->sha512, err)) < 0)
                return r;
        if (ret->length < 0)
                return err_set(err, EINVAL, "field length is below 0");
        if (sha256)
                memcpy(ret->sha256, sha256, sizeof(ret->sha256));
        ret->custom = json_object_get(o, "custom");
        if (json_is_null(ret->custom))
                ret->custom = NULL;
        return 0;
}

static int check_text_list(const json_t *list, const char *key, size_t max, struct err **err) {
        if (!json_is_array(list) || json_array_size(list) > TUF_PATTERNS_MAX)
                return err_set(err, EINVAL, "field %s: expected a list of at most %d texts", key,
                               TUF_PATTERNS_MAX);
        for (size_t i = 0; i < json_array_size(list); i++) {
                const char *text = json_string_value(json_array_get(list, i));
                if (!text || strnlen(text, max + 1) > max)
                        return err_set(err, EINVAL, "field %s: item %zu is no text of at most %zu bytes", key,
                                       i + 1, max);
        }
        return 0;
}

static int read_delegation(const json_t *o, struct tuf_delegation *d, struct err **err) {
        if (!json_is_object(o))
                return err_set(err, EINVAL, "expected an object");
        int r = json_read_string(o, "name", &d->name, err);
        if (r < 0)
                return r;
        if (!is_plain(d->name, TUF_ROLE_NAME_MAX) || tuf_role_is_top_level(d->name))
                return err_set(err, EINVAL, "\"%.100s\" cannot be the name of a delegated role", d->name);
        d->paths = json_object_get(o, "paths");
        d->hash_prefixes = json_object_get(o, "path_hash_prefixes");
        if (!d->paths == !d->hash_prefixes)
                return err_set(err, EINVAL, "expected one of paths and path_hash_prefixes");
        r = d->paths ? check_text_list(d->paths, "paths", TUF_TARGET_PATH_MAX, err)
                     : check_text_list(d->hash_prefixes, "path_hash_prefixes", 64, err);
        if (r < 0)
                return r;
        if (!json_is_boolean(json_object_get(o, "terminating")))
                return err_set(err, EINVAL, "field terminating: expected true or false");
        d->terminating = json_is_true(json_object_get(o, "terminating"));
        return read_role(o, &d->role, err);
}

static int read_delegations(struct tuf_metadata *m, const json_t *content, struct err **err) {
        const json_t *delegations = NULL, *roles = NULL;
        if (!json_object_get(content, "delegations"))
                return 0;
        int r = json_read_object(content, "delegations", &delegations, err);
        if (r < 0 || (r = read_keys(m, delegations, err)) < 0 ||
            (r = json_read_array(delegations, "roles", &roles, err)) < 0)
                return r;
        size_t n = json_array_size(roles);
        if (n > TUF_DELEGATED_MAX)
                return err_set(err, EINVAL, "there are more than %d delegations", TUF_DELEGATED_MAX);
        _cleanup_(table_freep) struct table *seen = table_new(NULL);
        m->delegations = calloc(n ? n : 1, sizeof(*m->delegations));
        if (!seen || !m->delegations)
                return err_set_errno(err, ENOMEM, "read delegations");
        for (size_t i = 0; i < n; i++) {
                struct tuf_delegation *d = &m->delegations[m->n_delegations++];
                r = read_delegation(json_array_get(roles, i), d, err);
                if (r < 0)
                        return err_wrap_code(err, r, "delegation %zu", i + 1);
                if (table_get(seen, d->name))
                        return err_set(err, EINVAL, "role %s is delegated to twice", d->name);
                if (table_set(seen, d->name, d) < 0)
                        return err_set_errno(err, ENOMEM, "read delegations");
        }
        return 0;
}

static int read_targets(struct tuf_metadata *m, const json_t *content, struct err **err) {
        const json_t *targets = NULL;
        int r = json_read_object(content, "targets", &targets, err);
        if (r < 0)
                return r;
        const char *path;
        json_t *value;
        json_object_foreach ((json_t *)targets, path, value) {
                struct tuf_target t = {0};
                if (!is_plain(path, TUF_TARGET_PATH_MAX))
                        return err_set(
                                err, EINVAL,
                                "a target's path is empty, longer than %d bytes or has control characters",
                                TUF_TARGET_PATH_MAX);
                r = read_target(value, &t, err);
                if (r < 0)
                        return err_wrap_code(err, r, "target %s", path);
        }
        return read_delegations(m, content, err);
}

int tuf_metadata_from_json(enum tuf_type type, json_t *document, struct tuf_metadata **ret,
                           struct err **err) {
        const json_t *content = NULL;
        _cleanup_(buf_done) struct buf canonical = BUF_INIT;
        int r = json_is_object(document) ? 0 : err_set(err, EINVAL, "expected an object");
        if (r < 0 || (r = json_read_object(document, "signed", &content, err)) < 0 ||
            (r = check_signatures(document, err)) < 0)
                return r;
        _cleanup_(tuf_metadata_freep) struct tuf_metadata *m = calloc(1, sizeof(*m));
        if (!m)
                return err_set_errno(err, ENOMEM, "read metadata");
        m->type = type;
        m->document = json_incref(document);
        r = read_head(m, content, err);
        if (r < 0)
                return r;
        switch (type) {
        case TUF_ROOT: r = read_root(m, content, err); break;
        case TUF_TIMESTAMP:
        case TUF_SNAPSHOT: r = check_meta(m, content, err); break;
        case TUF_TARGETS: r = read_targets(m, content, err); break;
        }
        if (r < 0 || (r = json_encode_olpc(content, &canonical, err)) < 0)
                return r;
        m->canonical = buf_take(&canonical, &m->canonical_len);
        if (!m->canonical)
                return err_set_errno(err, ENOMEM, "read metadata");
        *ret = TAKE_PTR(m);
        return 0;
}

int tuf_metadata_parse(enum tuf_type type, const char *data, size_t len, struct tuf_metadata **ret,
                       struct err **err) {
        _cleanup_json_ json_t *document = NULL;
        if (len > types[type].max)
                return err_set(err, EFBIG, "%s metadata is longer than %zu bytes", types[type].name,
                               types[type].max);
        int r = json_decode(data, len, &document, err);
        return r < 0 ? r : tuf_metadata_from_json(type, document, ret, err);
}

struct tuf_metadata *tuf_metadata_free(struct tuf_metadata *m) {
        if (m) {
                for (size_t i = 0; i < TUF_TYPES; i++)
                        free(m->roles[i].key_ids);
                for (size_t i = 0; i < m->n_delegations; i++)
                        free(m->delegations[i].role.key_ids);
                free(m->delegations);
                table_free(m->keys);
                free(m->canonical);
                json_decref(m->document);
                free(m);
        }
        return NULL;
}

const json_t *tuf_metadata_signed(const struct tuf_metadata *m) {
        return json_object_get(m->document, "signed");
}

int tuf_metadata_serialise(const struct tuf_metadata *m, char **ret, size_t *ret_len, struct err **err) {
        _cleanup_(x_freep) char *text = json_dumps(m->document, JSON_COMPACT | JSON_SORT_KEYS);
        char *data = text ? str_format("%s\n", text) : NULL;
        if (!data)
                return err_set_errno(err, ENOMEM, "write metadata");
        *ret_len = strlen(data);
        *ret = data;
        return 0;
}

/* ---- Signatures */

const char *tuf_metadata_signature(const struct tuf_metadata *m, const char *key_id) {
        const json_t *list = json_object_get(m->document, "signatures");
        for (size_t i = 0; i < json_array_size(list); i++) {
                const json_t *item = json_array_get(list, i);
                if (str_eq(json_string_value(json_object_get(item, "keyid")), key_id))
                        return json_string_value(json_object_get(item, "sig"));
        }
        return NULL;
}

/* Counts public keys, not key ids: one key under two ids is one. Stops at `enough`. */
static size_t count_signatures(const struct tuf_metadata *m, const struct tuf_metadata *delegator,
                               const struct tuf_role *role, size_t enough) {
        _cleanup_(table_freep) struct table *seen = table_new(NULL);
        if (!seen || !delegator->keys)
                return 0;
        for (size_t i = 0; i < role->n_key_ids && table_len(seen) < enough; i++) {
                struct tuf_key *key = table_get(delegator->keys, role->key_ids[i]);
                const char *signature = key ? tuf_metadata_signature(m, role->key_ids[i]) : NULL;
                if (!signature || table_get(seen, tuf_key_fingerprint(key)))
                        continue;
                if (tuf_key_verify(key, m->canonical, m->canonical_len, signature) >= 0 &&
                    table_set(seen, tuf_key_fingerprint(key), key) < 0)
                        return 0;
        }
        return table_len(seen);
}

size_t tuf_metadata_count_signatures(const struct tuf_metadata *m, const struct tuf_metadata *delegator,
                                     const struct tuf_role *role) {
        return count_signatures(m, delegator, role, SIZE_MAX);
}

int tuf_metadata_verify(const struct tuf_metadata *m, const char *name, const struct tuf_metadata *delegator,
                        const struct tuf_role *role, struct err **err) {
        size_t enough = (uint64_t)role->threshold > TUF_KEYS_MAX ? SIZE_MAX : (size_t)role->threshold;
        size_t n = count_signatures(m, delegator, role, enough);
        if (n >= enough)
                return 0;
        return err_set(err, EKEYREJECTED,
                       "%s version %lld has %zu valid signature%s of the %lld that %s version %lld asks for",
                       name, (long long)m->version, n, n == 1 ? "" : "s", (long long)role->threshold,
                       types[delegator->type].name, (long long)delegator->version);
}

/* ---- Looking */

bool tuf_metadata_file(const struct tuf_metadata *m, const char *name, struct tuf_file *ret) {
        const json_t *o = json_object_get(json_object_get(tuf_metadata_signed(m), "meta"), name);
        return o && read_file_entry(o, ret, NULL) >= 0;
}

bool tuf_metadata_target(const struct tuf_metadata *m, const char *path, struct tuf_target *ret) {
        json_t *targets = json_object_get(tuf_metadata_signed(m), "targets");
        void *at = json_object_iter_at(targets, path);
        *ret = (struct tuf_target){0};
        if (!at || read_target(json_object_iter_value(at), ret, NULL) < 0)
                return false;
        ret->path = json_object_iter_key(at);
        return true;
}

int tuf_metadata_each_target(const struct tuf_metadata *m, int (*fn)(void *arg, const struct tuf_target *t),
                             void *arg) {
        const char *path;
        json_t *value;
        json_object_foreach (json_object_get(tuf_metadata_signed(m), "targets"), path, value) {
                struct tuf_target t = {.path = path};
                int r = read_target(value, &t, NULL);
                if (r >= 0)
                        r = fn(arg, &t);
                if (r != 0)
                        return r;
        }
        return 0;
}

const struct tuf_delegation *tuf_metadata_delegation(const struct tuf_metadata *m, const char *name) {
        for (size_t i = 0; i < m->n_delegations; i++)
                if (str_eq(m->delegations[i].name, name))
                        return &m->delegations[i];
        return NULL;
}
