/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/revision.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "base/table.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "fleet/app_json.h"

#define REVISION_KIND "Revision"

struct revision *revision_new(void) {
        struct revision *r = calloc(1, sizeof(*r));
        if (!r)
                return NULL;
        r->arena = arena_new(0);
        if (!r->arena)
                return revision_free(r);
        return r;
}

struct revision *revision_free(struct revision *r) {
        if (!r)
                return NULL;
        for (size_t i = 0; i < r->n_apps; i++)
                app_spec_release(&r->apps[i]);
        arena_free(r->arena);
        free(r);
        return NULL;
}

/* ---- Checking: of what came in and of what goes out alike ---- */

/* Every app once, and after all it depends on; so there is no cycle either. */
static int check_order(const struct revision *r, struct err **err) {
        static char seen_mark; /* values of a table are never NULL */
        _cleanup_(table_freep) struct table *seen = table_new(NULL);
        if (!seen)
                return err_set_errno(err, ENOMEM, "read revision");
        for (size_t i = 0; i < r->n_apps; i++) {
                const struct app_spec *a = &r->apps[i];
                for (size_t j = 0; a->depends_on && a->depends_on[j]; j++)
                        if (!table_get(seen, a->depends_on[j]))
                                return err_set(err, EINVAL,
                                               "app %s depends on %.100s, which does not come before it",
                                               a->name, a->depends_on[j]);
                if (table_get(seen, a->name))
                        return err_set(err, EINVAL, "two apps have the name %s", a->name);
                if (table_set(seen, a->name, &seen_mark) < 0)
                        return err_set_errno(err, ENOMEM, "read revision");
        }
        return 0;
}

static int check_names(const char *what, const char *const *names, size_t n, struct err **err) {
        if (n > REVISION_REFERENCES_MAX)
                return err_set(err, EINVAL, "%s: more than %d names", what, REVISION_REFERENCES_MAX);
        for (size_t i = 0; i < n; i++) {
                if (!reference_name_is_valid(names[i]))
                        return err_set(err, EINVAL, "%s: \"%.100s\" is no reference", what, names[i]);
                if (i > 0 && strcmp(names[i - 1], names[i]) >= 0)
                        return err_set(err, EINVAL, "%s: not sorted, or twice the same", what);
        }
        return 0;
}

static bool has_name(const char *const *names, size_t n, const char *name) {
        size_t low = 0, high = n;
        while (low < high) {
                size_t middle = low + (high - low) / 2;
                int r = strcmp(names[middle], name);
                if (r == 0)
                        return true;
                if (r < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return false;
}

static int check(const struct revision *r, struct err **err) {
        int e;
        if (!name_is_dns_label(r->fleet))
                return err_set(err, EINVAL, "fleet \"%.100s\": not a DNS label", r->fleet ? r->fleet : "");
        for (size_t i = 0; i < r->variables.n; i++)
                if (!variable_name_is_valid(r->variables.items[i].key) ||
                    !variable_value_is_valid(r->variables.items[i].value))
                        return err_set(err, EINVAL, "variable \"%.100s\": not a valid name or value",
                                       r->variables.items[i].key);
        if ((e = check_names("requires", r->requires_, r->n_requires, err)) < 0 ||
            (e = check_names("uses", r->uses, r->n_uses, err)) < 0)
                return e;
        for (size_t i = 0; i < r->n_requires; i++)
                if (!has_name(r->uses, r->n_uses, r->requires_[i]))
                        return err_set(err, EINVAL, "requires: %s is missing in uses", r->requires_[i]);
        if (r->n_apps > REVISION_APPS_MAX)
                return err_set(err, EINVAL, "%zu apps: at most %d are taken", r->n_apps, REVISION_APPS_MAX);
        for (size_t i = 0; i < r->n_apps; i++)
                if ((e = app_spec_check(&r->apps[i], false, err)) < 0)
                        return e;
        return check_order(r, err);
}

/* ---- Reading ---- */

static int read_names(struct arena *arena, const json_t *j, const char *key, const char ***ret, size_t *ret_n,
                      struct err **err) {
        const json_t *list;
        int r = json_read_array(j, key, &list, err);
        if (r < 0)
                return r;
        size_t n = json_array_size(list);
        if (n > REVISION_REFERENCES_MAX)
                return err_set(err, EINVAL, "%s: more than %d names", key, REVISION_REFERENCES_MAX);
        const char **names = arena_calloc(arena, n, sizeof(*names));
        if (!names)
                return err_set_errno(err, ENOMEM, "read revision");
        for (size_t i = 0; i < n; i++) {
                const json_t *item = json_array_get(list, i);
                if (!json_is_string(item))
                        return err_set(err, EINVAL, "%s[%zu]: expected text", key, i);
                names[i] = arena_strdup(arena, json_string_value(item));
                if (!names[i])
                        return err_set_errno(err, ENOMEM, "read revision");
        }
        *ret = names;
        *ret_n = n;
        return 0;
}

static int read_revision(const json_t *j, struct revision *r, struct err **err) {
        static const char *const fields[] = {"apiVersion", "kind", "fleet", "variables",
                                             "requires",   "uses", "apps"};
        const char *api_version, *kind, *fleet;
        const json_t *variables, *apps;
        int e;
        if ((e = json_check_fields(j, fields, ARRAY_SIZE(fields), err)) < 0 ||
            (e = json_read_string(j, "apiVersion", &api_version, err)) < 0 ||
            (e = json_read_string(j, "kind", &kind, err)) < 0 ||
            (e = json_read_string(j, "fleet", &fleet, err)) < 0 ||
            (e = json_read_object(j, "variables", &variables, err)) < 0 ||
            (e = json_read_array(j, "apps", &apps, err)) < 0)
                return e;
        if (strcmp(api_version, REVISION_API_VERSION) != 0 || strcmp(kind, REVISION_KIND) != 0)
                return err_set(err, EINVAL,
                               "is a %.100s of %.100s: expected a " REVISION_KIND " of " REVISION_API_VERSION,
                               kind, api_version);
        r->fleet = arena_strdup(r->arena, fleet);
        if (!r->fleet)
                return err_set_errno(err, ENOMEM, "read revision");
        e = pairs_from_json(r->arena, variables, variable_name_is_valid, variable_value_is_valid,
                            &r->variables, err);
        if (e < 0)
                return err_wrap_code(err, e, "variables");
        if ((e = read_names(r->arena, j, "requires", &r->requires_, &r->n_requires, err)) < 0 ||
            (e = read_names(r->arena, j, "uses", &r->uses, &r->n_uses, err)) < 0)
                return e;
        size_t n = json_array_size(apps);
        if (n > REVISION_APPS_MAX)
                return err_set(err, EINVAL, "%zu apps: at most %d are taken", n, REVISION_APPS_MAX);
        r->apps = arena_calloc(r->arena, n, sizeof(*r->apps));
        if (!r->apps)
                return err_set_errno(err, ENOMEM, "read revision");
        for (size_t i = 0; i < n; i++) {
                r->n_apps = i + 1; /* first: a half read one is released too */
                e = app_spec_from_json(r->arena, json_array_get(apps, i), &r->apps[i], err);
                if (e < 0)
                        return e;
        }
        return check(r, err);
}

int revision_decode(const char *json, size_t len, struct revision **ret, struct err **err) {
        if (len > REVISION_MAX)
                return err_set(err, EINVAL, "revision of %zu bytes: at most %u are taken", len, REVISION_MAX);
        _cleanup_json_ json_t *j = NULL;
        _cleanup_(revision_freep) struct revision *r = NULL;
        int e = json_decode(json, len, &j, err);
        if (e < 0)
                return err_wrap_code(err, e, "revision");
        r = revision_new();
        if (!r)
                return err_set_errno(err, ENOMEM, "read revision");
        e = read_revision(j, r, err);
        if (e < 0)
                return err_wrap_code(err, e, "revision");
        sha256_hex(json, len, r->digest);
        *ret = TAKE_PTR(r);
        return 0;
}

/* ---- Writing ---- */

static json_t *names_to_json(const char *const *names, size_t n) {
        json_t *list = json_array();
        for (size_t i = 0; list && i < n; i++)
                if (json_array_append_new(list, json_string(names[i])) < 0) {
                        json_decref(list);
                        return NULL;
                }
        return list;
}

static json_t *revision_to_json(const struct revision *r) {
        _cleanup_json_ json_t *apps = json_array();
        for (size_t i = 0; apps && i < r->n_apps; i++)
                if (json_array_append_new(apps, app_spec_to_json(&r->apps[i])) < 0)
                        return NULL;
        return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:O}", "apiVersion", REVISION_API_VERSION, "kind",
                         REVISION_KIND, "fleet", r->fleet, "variables", pairs_to_json(&r->variables),
                         "requires", names_to_json(r->requires_, r->n_requires), "uses",
                         names_to_json(r->uses, r->n_uses), "apps", apps);
}

int revision_encode(struct revision *r, char **ret_json, size_t *ret_len, struct err **err) {
        int e = check(r, err);
        if (e < 0)
                return err_wrap_code(err, e, "revision");
        _cleanup_json_ json_t *j = revision_to_json(r);
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        if (!j)
                return err_set_errno(err, ENOMEM, "write revision");
        out.limit = REVISION_MAX;
        e = json_encode_canonical(j, &out, err);
        if (e == -EMSGSIZE)
                return err_set(err, EMSGSIZE,
                               "revision of fleet %s: larger than %u bytes, spread it over more fleets",
                               r->fleet, REVISION_MAX);
        if (e < 0)
                return err_wrap_code(err, e, "revision of fleet %s", r->fleet);
        char digest[SHA256_HEX_SIZE];
        sha256_hex(out.data, out.len, digest);
        size_t len;
        char *text = buf_take(&out, &len);
        if (!text)
                return err_set_errno(err, ENOMEM, "write revision");
        memcpy(r->digest, digest, sizeof(r->digest));
        *ret_json = text;
        *ret_len = len;
        return 0;
}
