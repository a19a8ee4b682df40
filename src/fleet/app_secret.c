/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/app_secret.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "codec/json.h"
#include "crypto/digest.h"

static const char *const kind_names[] = {
        [SECRET_ENVIRONMENT] = "environment",
        [SECRET_CREDENTIAL] = "credential",
        [SECRET_FILE] = "file",
};

bool app_variable_name_is_valid(const char *s) {
        size_t n = strlen(s);
        return n > 0 && n <= 128 && !isdigit((unsigned char)*s) &&
               strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") == n;
}

bool app_credential_name_is_valid(const char *s) {
        size_t n = strlen(s);
        return n > 0 && n <= 128 && *s != '.' &&
               strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}

const char *app_secret_label(const struct app_secret *s, char *out, size_t size) {
        (void)snprintf(out, size, "%s %s", kind_names[s->kind], s->kind == SECRET_FILE ? s->path : s->name);
        return out;
}

static int read_text(struct arena *arena, const json_t *j, const char *key, const char **ret,
                     struct err **err) {
        const char *text = NULL;
        int r = json_read_optional_string(j, key, &text, err);
        if (r < 0 || !text)
                return r;
        *ret = arena_strdup(arena, text);
        return *ret ? 0 : err_set_errno(err, ENOMEM, "read app");
}

static int read_secret(struct arena *arena, const json_t *j, struct app_secret *s, struct err **err) {
        static const char *const fields[] = {"kind",  "name",   "path", "mode",   "owner",
                                             "group", "source", "key",  "sha256", "size"};
        const char *kind;
        int64_t mode = 0;
        size_t k = 0;
        int r;
        if ((r = json_check_fields(j, fields, ARRAY_SIZE(fields), err)) < 0 ||
            (r = json_read_string(j, "kind", &kind, err)) < 0 ||
            (r = read_text(arena, j, "name", &s->name, err)) < 0 ||
            (r = read_text(arena, j, "path", &s->path, err)) < 0 ||
            (r = read_text(arena, j, "owner", &s->owner, err)) < 0 ||
            (r = read_text(arena, j, "group", &s->group, err)) < 0 ||
            (r = read_text(arena, j, "source", &s->source, err)) < 0 ||
            (r = read_text(arena, j, "key", &s->key, err)) < 0 ||
            (r = read_text(arena, j, "sha256", &s->sha256, err)) < 0 ||
            (r = json_read_int(j, "size", &s->size, err)) < 0 ||
            (r = json_read_optional_int(j, "mode", &mode, err)) < 0)
                return r;
        while (k < ARRAY_SIZE(kind_names) && !str_eq(kind, kind_names[k]))
                k++;
        if (k == ARRAY_SIZE(kind_names))
                return err_set(err, EINVAL, "kind: unknown value \"%.100s\"", kind);
        if (mode < 0 || mode > 07777)
                return err_set(err, EINVAL, "mode: %" PRId64 " is not within 0 and 4095", mode);
        s->kind = (enum secret_kind)k;
        s->mode = (unsigned)mode;
        return 0;
}

int app_secrets_from_json(struct arena *arena, const json_t *list, struct app_spec *a, struct err **err) {
        if (!list)
                return 0;
        if (!json_is_array(list) || json_array_size(list) > APP_SECRETS_MAX)
                return err_set(err, EINVAL, "secrets: expected a list of at most %d", APP_SECRETS_MAX);
        a->secrets = arena_calloc(arena, json_array_size(list) + 1, sizeof(*a->secrets));
        if (!a->secrets)
                return err_set_errno(err, ENOMEM, "read app");
        for (size_t i = 0; i < json_array_size(list); i++) {
                int r = read_secret(arena, json_array_get(list, i), &a->secrets[i], err);
                if (r < 0)
                        return err_wrap_code(err, r, "secrets[%zu]", i);
                a->n_secrets = i + 1;
        }
        return 0;
}

static int put_text(json_t *j, const char *key, const char *text) {
        return text ? json_object_set_new(j, key, json_string(text)) : 0;
}

json_t *app_secret_to_json(const struct app_secret *s) {
        _cleanup_json_ json_t *j =
                json_pack("{s:s, s:s, s:s, s:s, s:I}", "kind", kind_names[s->kind], "source", s->source,
                          "key", s->key, "sha256", s->sha256, "size", (json_int_t)s->size);
        if (!j || put_text(j, "name", s->name) < 0 || put_text(j, "path", s->path) < 0 ||
            put_text(j, "owner", s->owner) < 0 || put_text(j, "group", s->group) < 0 ||
            (s->mode && json_object_set_new(j, "mode", json_integer(s->mode)) < 0))
                return NULL;
        return TAKE_PTR(j);
}

static bool is_word(const char *s) {
        for (const char *p = s; *p; p++)
                if ((unsigned char)*p <= 0x20 || *p == 0x7f)
                        return false;
        return *s;
}

static int check_secret(const struct app_spec *a, const struct app_secret *s, bool expanded,
                        struct err **err) {
        bool file = s->kind == SECRET_FILE;
        if (!s->source || !*s->source || !s->key || !*s->key || !s->sha256 ||
            !sha256_hex_is_valid(s->sha256) || s->size < 0 || s->size > APP_FILE_MAX)
                return err_set(err, EINVAL, "it does not name a value of a file");
        if (file ? s->name || !s->path : !s->name || s->path || s->mode || s->owner || s->group)
                return err_set(err, EINVAL, "kind %s does not have these fields", kind_names[s->kind]);
        if (!file && a->driver != APP_DRIVER_PROCESS)
                return err_set(err, EINVAL, "kind %s is for driver process", kind_names[s->kind]);
        if (file && !app_path_is_safe(s->path, expanded))
                return err_set(err, EINVAL, "%.300s is not an absolute path beneath the root", s->path);
        if ((s->kind == SECRET_ENVIRONMENT && !app_variable_name_is_valid(s->name)) ||
            (s->kind == SECRET_CREDENTIAL && !app_credential_name_is_valid(s->name)))
                return err_set(err, EINVAL, "\"%.100s\" is not a name", s->name);
        if ((s->owner && !is_word(s->owner)) || (s->group && !is_word(s->group)))
                return err_set(err, EINVAL, "owner or group is not a name");
        return 0;
}

int app_secrets_check(const struct app_spec *a, bool expanded, struct err **err) {
        char label[160];
        if (a->n_secrets > APP_SECRETS_MAX)
                return err_set(err, EINVAL, "secrets: more than %d", APP_SECRETS_MAX);
        for (size_t i = 0; i < a->n_secrets; i++) {
                const struct app_secret *s = &a->secrets[i];
                int r = check_secret(a, s, expanded, err);
                if (r < 0)
                        return err_wrap_code(err, r, "secrets[%zu]", i);
                for (size_t k = 0; k < i; k++)
                        if (s->kind == a->secrets[k].kind && str_eq(s->name, a->secrets[k].name) &&
                            str_eq(s->path, a->secrets[k].path))
                                return err_set(err, EINVAL, "secrets: %s is there twice",
                                               app_secret_label(s, label, sizeof(label)));
                for (size_t k = 0; s->kind == SECRET_ENVIRONMENT && k < a->environment.n; k++)
                        if (str_eq(s->name, a->environment.items[k].key))
                                return err_set(err, EINVAL, "secrets: %s is in the environment already",
                                               s->name);
        }
        return 0;
}
