/* SPDX-License-Identifier: Apache-2.0 */
/* Roles of repo/tuf/publisher.h: who signs what, until when. */
#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "codec/json.h"
#include "repo/tuf/publisher_internal.h"

#define EXPIRY_MAX_S ((int64_t)20 * 366 * 86400)

/* ---- Showing */

static size_t count_targets(const struct tuf_metadata *m) {
        return json_object_size(json_object_get(tuf_metadata_signed(m), "targets"));
}

/* Names of the keys that could still sign. */
static char *missing_keys(const struct tuf_publisher *p, const char *role,
                          const struct tuf_metadata *staged) {
        _cleanup_(strv_freep) char **ids = NULL;
        struct buf out = BUF_INIT;
        if (publisher_useful_keys(p, role, &ids, NULL) < 0)
                return NULL;
        for (char **id = ids; staged && id && *id; id++)
                if (!tuf_metadata_signature(staged, *id))
                        buf_printf(&out, "%s%s", out.len ? ", " : "", publisher_key_name(p, *id));
        return out.len ? buf_take(&out, NULL) : str_dup("");
}

int tuf_publisher_each_role(struct tuf_publisher *p, int (*fn)(void *arg, const struct tuf_publisher_role *r),
                            void *arg) {
        _cleanup_(strv_freep) char **roles = NULL;
        int r = publisher_roles(p, &roles, NULL);
        if (r < 0 || strv_push(&roles, "snapshot") < 0 || strv_push(&roles, "timestamp") < 0)
                return -ENOMEM;
        for (char **name = roles; *name; name++) {
                const struct tuf_metadata *published = table_get(p->published, *name);
                const struct tuf_metadata *staged = table_get(p->staged, *name);
                const struct tuf_metadata *now = staged ? staged : published;
                struct publisher_voucher by;
                r = publisher_voucher(p, *name, &by, NULL);
                if (r < 0)
                        return r;
                _cleanup_(x_freep) char *missing = missing_keys(p, *name, staged);
                if (!missing)
                        return -ENOMEM;
                const struct tuf_publisher_role role = {
                        .name = *name,
                        .published = published ? published->version : 0,
                        .staged = staged ? staged->version : 0,
                        .expires_s = published ? published->expires_s : 0,
                        .signatures = now ? tuf_metadata_count_signatures(now, by.m, by.role) : 0,
                        .threshold = (size_t)by.role->threshold,
                        .n_keys = by.role->n_key_ids,
                        .n_targets = now && now->type == TUF_TARGETS ? count_targets(now) : 0,
                        .missing = missing,
                        .ready = now && publisher_check_ready(p, *name, now, NULL) >= 0,
                };
                r = fn(arg, &role);
                if (r != 0)
                        return r;
        }
        return 0;
}

/* ---- Delegations */

static bool role_name_is_valid(const char *name) {
        size_t len = strlen(name);
        return len > 0 && len <= TUF_ROLE_NAME_MAX && name[0] != '.' && name[0] != '-' &&
               strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == len && !tuf_role_is_top_level(name);
}

/* The names or ids in `wanted` as keys: into `keys` (id -> key), their ids appended to `ids`. */
static int put_keys(struct tuf_publisher *p, const char *const *wanted, size_t n, json_t *keys, json_t *ids,
                    struct err **err) {
        for (size_t i = 0; i < n; i++) {
                const char *name = NULL;
                const json_t *entry = NULL;
                int r = publisher_find_key(p, wanted[i], &name, &entry, err);
                if (r < 0)
                        return r;
                json_t *id = json_object_get(entry, "keyid");
                bool known = false;
                for (size_t k = 0; k < json_array_size(ids); k++)
                        known = known || json_equal(json_array_get(ids, k), id);
                if (json_object_set(keys, json_string_value(id), json_object_get(entry, "key")) < 0 ||
                    (!known && json_array_append(ids, id) < 0))
                        return err_set_errno(err, ENOMEM, "list keys");
        }
        return 0;
}

static bool is_listed(const json_t *role, const char *id) {
        const json_t *ids = json_object_get(role, "keyids");
        for (size_t i = 0; i < json_array_size(ids); i++)
                if (str_eq(json_string_value(json_array_get(ids, i)), id))
                        return true;
        return false;
}

/* Keys that no role lists any more go. roles: the object of root, or the list of delegations. */
static void drop_unused_keys(json_t *keys, json_t *roles) {
        const char *id;
        json_t *key;
        void *next;
        json_object_foreach_safe (keys, next, id, key) {
                bool used = false;
                const char *name;
                json_t *role;
                for (size_t i = 0; i < json_array_size(roles); i++)
                        used = used || is_listed(json_array_get(roles, i), id);
                if (json_is_object(roles))
                        json_object_foreach (roles, name, role)
                                used = used || is_listed(role, id);
                if (!used)
                        (void)json_object_del(keys, id);
        }
}

static json_t *text_list(const char *const *texts, size_t n) {
        json_t *list = json_array();
        for (size_t i = 0; list && i < n; i++)
                if (json_array_append_new(list, json_string(texts[i])) < 0) {
                        json_decref(list);
                        return NULL;
                }
        return list;
}

static int check_delegation(struct tuf_publisher *p, const char *delegator,
                            const struct tuf_publisher_delegation *d, struct err **err) {
        struct publisher_voucher by;
        if (!role_name_is_valid(d->name))
                return err_set(err, EINVAL,
                               "'%s' is no name for a role: lower-case letters, digits, '.', '_' and '-', at "
                               "most %d",
                               d->name, TUF_ROLE_NAME_MAX);
        if (!publisher_effective(p, delegator) || publisher_type(delegator) != TUF_TARGETS)
                return err_set(err, ENOENT, "there is no role %s that could delegate", delegator);
        if (!d->n_paths == !d->n_hash_prefixes)
                return err_set(err, EINVAL, "role %s: give paths, or prefixes of their hashes, and not both",
                               d->name);
        if (d->threshold < 0 || (d->threshold > 0 && (size_t)d->threshold > d->n_keys) || d->n_keys == 0)
                return err_set(err, EINVAL, "role %s: %zu keys cannot give %lld signatures", d->name,
                               d->n_keys, (long long)MAX(d->threshold, (int64_t)1));
        for (size_t i = 0; i < d->n_hash_prefixes; i++) {
                size_t len = strlen(d->hash_prefixes[i]);
                if (len == 0 || len > 64 || strspn(d->hash_prefixes[i], "0123456789abcdef") != len)
                        return err_set(err, EINVAL, "'%s' is no beginning of a SHA-256 in lower-case hex",
                                       d->hash_prefixes[i]);
        }
        if (publisher_voucher(p, d->name, &by, NULL) >= 0 && !str_eq(by.name, delegator))
                return err_set(err, EEXIST, "role %s is delegated to by %s already", d->name, by.name);
        return publisher_check_writable(p, err);
}

/* Where the delegation stands in the list, or is to be put. */
static size_t find_delegation(const json_t *roles, const char *name) {
        size_t i = 0;
        while (i < json_array_size(roles) &&
               !str_eq(json_string_value(json_object_get(json_array_get(roles, i), "name")), name))
                i++;
        return i;
}

int tuf_publisher_delegate(struct tuf_publisher *p, const char *delegator,
                           const struct tuf_publisher_delegation *d, struct err **err) {
        _cleanup_json_ json_t *content = NULL;
        int r = check_delegation(p, delegator, d, err);
        if (r < 0 || (r = publisher_edit(p, delegator, &content, err)) < 0)
                return r;
        json_t *delegations = json_object_get(content, "delegations");
        if (!delegations) {
                delegations = json_pack("{s:{}, s:[]}", "keys", "roles");
                if (!delegations || json_object_set_new(content, "delegations", delegations) < 0)
                        return err_set_errno(err, ENOMEM, "delegate to %s", d->name);
        }
        json_t *roles = json_object_get(delegations, "roles"), *keys = json_object_get(delegations, "keys");
        json_t *entry = json_pack("{s:s, s:[], s:I, s:b, s:o}", "name", d->name, "keyids", "threshold",
                                  (json_int_t)MAX(d->threshold, (int64_t)1), "terminating", d->terminating,
                                  d->n_paths ? "paths" : "path_hash_prefixes",
                                  d->n_paths ? text_list(d->paths, d->n_paths)
                                             : text_list(d->hash_prefixes, d->n_hash_prefixes));
        if (!entry)
                return err_set_errno(err, ENOMEM, "delegate to %s", d->name);
        size_t at = find_delegation(roles, d->name);
        r = at < json_array_size(roles) ? json_array_set_new(roles, at, entry)
                                        : json_array_append_new(roles, entry);
        if (r < 0)
                return err_set_errno(err, ENOMEM, "delegate to %s", d->name);
        r = put_keys(p, d->keys, d->n_keys, keys, json_object_get(entry, "keyids"), err);
        if (r < 0)
                return r;
        drop_unused_keys(keys, roles);
        if (!publisher_effective(
                    p, d->name)) { /* first, so that nobody ever delegates to a role that is not there */
                json_t *first = publisher_empty_targets(p, d->name);
                r = first ? publisher_stage(p, d->name, first, err)
                          : err_set_errno(err, ENOMEM, "delegate to %s", d->name);
                if (r < 0)
                        return r;
        }
        return publisher_stage(p, delegator, TAKE_PTR(content), err);
}

int tuf_publisher_undelegate(struct tuf_publisher *p, const char *delegator, const char *role,
                             struct err **err) {
        _cleanup_json_ json_t *content = NULL;
        int r = publisher_edit(p, delegator, &content, err);
        if (r < 0)
                return r;
        json_t *delegations = json_object_get(content, "delegations");
        json_t *roles = json_object_get(delegations, "roles");
        size_t at = find_delegation(roles, role);
        if (at >= json_array_size(roles))
                return err_set(err, ENOENT, "role %s is not delegated to by %s", role, delegator);
        (void)json_array_remove(roles, at);
        drop_unused_keys(json_object_get(delegations, "keys"), roles);
        r = publisher_stage(p, delegator, TAKE_PTR(content), err);
        return r < 0 || !table_get(p->staged, role) ? r : tuf_publisher_discard(p, role, err);
}

/* ---- Who signs */

static int change_role(struct tuf_publisher *p, const char *name, json_t *role, json_t *keys,
                       const char *const *add, size_t n_add, const char *const *remove, size_t n_remove,
                       int64_t threshold, struct err **err) {
        json_t *ids = json_object_get(role, "keyids");
        for (size_t i = 0; i < n_remove; i++) {
                const char *key_name = NULL;
                const json_t *entry = NULL;
                int r = publisher_find_key(p, remove[i], &key_name, &entry, err);
                if (r < 0)
                        return r;
                size_t k = 0;
                while (k < json_array_size(ids) &&
                       !json_equal(json_array_get(ids, k), json_object_get(entry, "keyid")))
                        k++;
                if (k == json_array_size(ids))
                        return err_set(err, ENOENT, "key %s does not sign role %s", key_name, name);
                (void)json_array_remove(ids, k);
        }
        int r = put_keys(p, add, n_add, keys, ids, err);
        if (r < 0)
                return r;
        if (threshold == 0)
                threshold = json_integer_value(json_object_get(role, "threshold"));
        if (threshold < 1 || (size_t)threshold > json_array_size(ids))
                return err_set(err, EINVAL,
                               "role %s would have %zu keys and need %lld signatures: add keys, or set "
                               "another threshold",
                               name, json_array_size(ids), (long long)threshold);
        return json_object_set_new(role, "threshold", json_integer(threshold)) < 0
                       ? err_set_errno(err, ENOMEM, "change role %s", name)
                       : 0;
}

int tuf_publisher_rotate(struct tuf_publisher *p, const char *role, const char *const *add, size_t n_add,
                         const char *const *remove, size_t n_remove, int64_t threshold, struct err **err) {
        _cleanup_json_ json_t *content = NULL;
        struct publisher_voucher by;
        int r = publisher_check_writable(p, err);
        if (r < 0 || (r = publisher_voucher(p, role, &by, err)) < 0)
                return r;
        _cleanup_(x_freep) char *delegator = str_dup(by.name); /* by is of metadata that is about to change */
        if (!delegator)
                return err_set_errno(err, ENOMEM, "change role %s", role);
        if ((r = publisher_edit(p, delegator, &content, err)) < 0)
                return r;
        json_t *holder = tuf_role_is_top_level(role) ? content : json_object_get(content, "delegations");
        json_t *keys = json_object_get(holder, "keys"), *roles = json_object_get(holder, "roles");
        json_t *entry = json_is_object(roles) ? json_object_get(roles, role)
                                              : json_array_get(roles, find_delegation(roles, role));
        r = change_role(p, role, entry, keys, add, n_add, remove, n_remove, threshold, err);
        if (r < 0)
                return r;
        drop_unused_keys(keys, roles);
        r = publisher_stage(p, delegator, TAKE_PTR(content), err);
        if (r < 0 || publisher_type(role) != TUF_TARGETS || table_get(p->staged, role))
                return r;
        /* Its signatures must be of its keys now; those there are may still do. */
        r = publisher_check_ready(p, role, table_get(p->published, role), NULL);
        return r < 0 ? tuf_publisher_renew(p, role, err) : 0;
}

/* ---- Until when */

int tuf_publisher_set_expiry(struct tuf_publisher *p, const char *role, int64_t seconds, struct err **err) {
        struct publisher_voucher by;
        int r = publisher_check_writable(p, err);
        if (r < 0 || (role && (r = publisher_voucher(p, role, &by, err)) < 0))
                return r;
        if (seconds < 60 || seconds > EXPIRY_MAX_S)
                return err_set(err, EINVAL, "metadata is good for one minute to 20 years");
        _cleanup_json_ json_t *config = json_deep_copy(p->config);
        json_t *periods = json_object_get(config, "expiry");
        if (config && !json_is_object(periods)) {
                periods = json_object();
                if (json_object_set_new(config, "expiry", periods) < 0)
                        periods = NULL;
        }
        if (!periods || json_object_set_new(periods, role ? role : "default", json_integer(seconds)) < 0)
                return err_set_errno(err, ENOMEM, "set expiry");
        return publisher_save_config(p, TAKE_PTR(config), err);
}

int tuf_publisher_discard(struct tuf_publisher *p, const char *role, struct err **err) {
        int r = publisher_check_writable(p, err);
        if (r < 0)
                return r;
        if (!table_get(p->staged, role))
                return err_set(err, ENOENT, "nothing of role %s is staged", role);
        if (tuf_role_is_top_level(role) && !table_get(p->published, role))
                return err_set(err, EINVAL,
                               "role %s was never published: its first version cannot be dropped", role);
        _cleanup_(x_freep) char *name = str_format("%s.json", role);
        _cleanup_(x_freep) char *path = name ? publisher_path(p, "staged", name) : NULL;
        if (!path)
                return err_set_errno(err, ENOMEM, "discard role %s", role);
        r = publisher_remove(p, path, err);
        if (r >= 0)
                (void)table_remove(p->staged, role);
        return r;
}
