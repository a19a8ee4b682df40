/* SPDX-License-Identifier: Apache-2.0 */
#include "server/api_bodies.h"

#include <errno.h>
#include <string.h>

#include "codec/json.h"
#include "server/memory.h"

static int only_members(const json_t *body, const char *const *known, size_t n, struct err **err) {
        const char *key;
        json_t *value;
        json_object_foreach ((json_t *)body, key, value) {
                bool found = false;
                for (size_t i = 0; i < n; i++)
                        found = found || str_eq(known[i], key);
                if (!found) {
                        const char *near = str_nearest(key, known, n);
                        return err_set(err, EINVAL, "unknown field %.100s%s%s%s", key,
                                       near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
                }
        }
        return 0;
}
#define ONLY(body, err, ...)                                                                                 \
        only_members((body), (const char *const[]){__VA_ARGS__},                                             \
                     sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *), (err))

int body_why(const json_t *body, const char **ret, struct err **err) {
        const char *reason = NULL;
        int r = json_read_optional_string(body, "reason", &reason, err);
        if (r >= 0 && reason && strlen(reason) > REASON_MAX)
                r = err_set(err, EINVAL, "reason: longer than %d bytes", REASON_MAX);
        if (r >= 0 && reason)
                *ret = reason;
        return r < 0 ? r : 0;
}

int body_label_change(const json_t *body, struct label_change *ret, struct err **err) {
        const json_t *set = json_object_get(body, "set"), *remove = json_object_get(body, "remove"), *key;
        size_t i;
        const char *reason = NULL;
        int r = ONLY(body, err, "set", "remove", "reason");
        if (r >= 0)
                r = body_why(body, &reason, err);
        if (r < 0)
                return r;
        if (set && !json_is_object(set))
                return err_set(err, EINVAL, "set: expected an object of labels");
        if (remove && !json_is_array(remove))
                return err_set(err, EINVAL, "remove: expected a list of label keys");
        json_array_foreach (remove, i, key)
                if (!json_is_string(key))
                        return err_set(err, EINVAL, "remove: expected a list of label keys");
        struct pairs *labels = NULL;
        r = pairs_from_request(set, &labels, err);
        if (r < 0)
                return r;
        *ret = (struct label_change){labels, remove, reason};
        return 0;
}

int label_change_apply(const struct label_change *change, const struct pairs *to, struct pairs **ret,
                       struct err **err) {
        _cleanup_(x_freep) struct pairs *merged = pairs_pack_merged(to, change->set, NULL);
        struct pairs kept = {.items = merged->items};
        for (size_t i = 0; i < merged->n; i++) {
                bool gone = false;
                size_t k;
                const json_t *key;
                json_array_foreach (change->remove, k, key)
                        gone = gone || str_eq(json_string_value(key), merged->items[i].key);
                if (!gone)
                        kept.items[kept.n++] = merged->items[i];
        }
        if (kept.n > LABELS_MAX)
                return err_set(err, EINVAL, "%zu labels are too many, at most %d may be set", kept.n,
                               LABELS_MAX);
        *ret = pairs_pack(&kept);
        return 0;
}

int body_reason(const json_t *body, bool with_rollback, struct reason_body *ret, struct err **err) {
        struct reason_body b = {0};
        int r = with_rollback ? ONLY(body, err, "reason", "rollback") : ONLY(body, err, "reason");
        if (r >= 0)
                r = body_why(body, &b.reason, err);
        if (r >= 0 && with_rollback)
                r = json_read_optional_bool(body, "rollback", &b.rollback, err);
        if (r < 0)
                return r;
        *ret = b;
        return 0;
}

int body_rollout_command(const json_t *body, const char *verb, struct reason_body *ret, struct err **err) {
        struct reason_body b = {0};
        if (!str_eq(verb, "approve") && !str_eq(verb, "promote"))
                return body_reason(body, str_eq(verb, "abort"), ret, err);
        int r = ONLY(body, err, "reason", "wave");
        if (r >= 0)
                r = body_why(body, &b.reason, err);
        if (r >= 0)
                r = json_read_optional_string(body, "wave", &b.wave, err);
        if (r < 0)
                return r;
        *ret = b;
        return 0;
}

int body_fleet_rollback(const json_t *body, const char **ret_to, const char **ret_reason, struct err **err) {
        const char *to = NULL, *reason = NULL;
        int r = ONLY(body, err, "to", "reason");
        if (r >= 0)
                r = json_read_string(body, "to", &to, err);
        if (r >= 0)
                r = body_why(body, &reason, err);
        if (r < 0)
                return r;
        *ret_to = to;
        *ret_reason = reason;
        return 0;
}

int body_notify(const json_t *body, bool *ret_wait, struct err **err) {
        bool wait = false;
        int r = ONLY(body, err, "wait");
        if (r >= 0)
                r = json_read_optional_bool(body, "wait", &wait, err);
        if (r < 0)
                return r;
        *ret_wait = wait;
        return 0;
}

int body_import(const json_t *body, struct import_body *ret, struct err **err) {
        struct import_body b = {0};
        int r = ONLY(body, err, "nodes", "dryRun", "reason");
        if (r >= 0)
                r = json_read_array(body, "nodes", &b.nodes, err);
        if (r >= 0)
                r = json_read_optional_bool(body, "dryRun", &b.dry_run, err);
        if (r >= 0)
                r = body_why(body, &b.reason, err);
        if (r < 0)
                return r;
        *ret = b;
        return 0;
}

int body_replace(const json_t *body, struct replace_body *ret, struct err **err) {
        struct replace_body b = {.ttl_seconds = REPLACE_TTL_SECONDS_DEFAULT};
        int r = ONLY(body, err, "ttlSeconds", "reason");
        if (r >= 0)
                r = json_read_optional_int(body, "ttlSeconds", &b.ttl_seconds, err);
        if (r >= 0 && (b.ttl_seconds < 0 || b.ttl_seconds > REPLACE_TTL_SECONDS_MAX))
                r = err_set(err, EINVAL, "ttlSeconds: must be between 0 (take it back) and %lld",
                            (long long)REPLACE_TTL_SECONDS_MAX);
        if (r >= 0)
                r = body_why(body, &b.reason, err);
        if (r < 0)
                return r;
        *ret = b;
        return 0;
}

int body_token(const json_t *body, struct token_body *ret, struct err **err) {
        struct token_body b = {.kind = "node", .uses = 1, .ttl_seconds = TOKEN_TTL_SECONDS_DEFAULT};
        const json_t *labels = json_object_get(body, "labels");
        int r = ONLY(body, err, "kind", "name", "labels", "ttlSeconds", "uses", "reason");
        if (r >= 0)
                r = body_why(body, &b.reason, err);
        if (r >= 0)
                r = json_read_optional_string(body, "kind", &b.kind, err);
        if (r >= 0)
                r = json_read_optional_string(body, "name", &b.name, err);
        if (r >= 0)
                r = json_read_optional_int(body, "uses", &b.uses, err);
        if (r >= 0)
                r = json_read_optional_int(body, "ttlSeconds", &b.ttl_seconds, err);
        if (r >= 0 && labels && !json_is_object(labels) && !json_is_null(labels))
                r = err_set(err, EINVAL, "labels: expected an object of labels");
        if (r >= 0)
                r = pairs_from_request(json_is_object(labels) ? labels : NULL, &b.labels, err);
        if (r < 0)
                return r;
        *ret = b;
        return 0;
}

int body_source(const json_t *body, const char **ret_name, struct source_spec *ret, struct err **err) {
        static const char *const also[] = {"name", "reason", NULL};
        const char *name = NULL;
        int r = json_read_string(body, "name", &name, err);
        if (r >= 0 && !name_is_dns_label(name))
                r = err_set(err, EINVAL, "name: %.100s is not a DNS label (a-z, 0-9, -, at most 63)", name);
        if (r >= 0)
                r = source_spec_read(body, also, ret, err);
        if (r < 0)
                return r;
        *ret_name = name;
        return 0;
}
