/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/app_json.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "fleet/app_secret.h"
#include "repo/artifact.h"

#define DURATION_MAX (INT64_C(36525) * 86400000) /* a hundred years, as str_to_duration_ms() */

/* ---- Members that are alike: one table each for reading, writing and checking ---- */

struct number_member {
        const char *name;
        size_t offset; /* of an int64_t */
        int64_t fallback, min, max;
};
static const struct number_member app_numbers[] = {
        {"restartBackoffMs", offsetof(struct app_spec, restart_backoff_ms), 1000, 0, DURATION_MAX},
        {"restartBackoffCapMs", offsetof(struct app_spec, restart_backoff_cap_ms), 300000, 0, DURATION_MAX},
        {"stopTimeoutMs", offsetof(struct app_spec, stop_timeout_ms), 10000, 0, DURATION_MAX},
        {"readyTimeoutMs", offsetof(struct app_spec, ready_timeout_ms), 120000, 0, DURATION_MAX},
        {"memoryMaxBytes", offsetof(struct app_spec, memory_max_bytes), 0, 0, INT64_MAX},
        {"cpuMaxMillis", offsetof(struct app_spec, cpu_max_millis), 0, 0, INT32_MAX},
        {"pidsMax", offsetof(struct app_spec, pids_max), 0, 0, INT32_MAX},
};
static const struct number_member check_numbers[] = {
        {"intervalMs", offsetof(struct health_check, interval_ms), 10000, 1, DURATION_MAX},
        {"timeoutMs", offsetof(struct health_check, timeout_ms), 2000, 1, DURATION_MAX},
        {"startupGraceMs", offsetof(struct health_check, startup_grace_ms), 0, 0, DURATION_MAX},
        {"failureThreshold", offsetof(struct health_check, failure_threshold), 3, 1, 1000},
        {"successThreshold", offsetof(struct health_check, success_threshold), 1, 1, 1000},
};

static const char *const check_type_names[] = {
        [CHECK_EXEC] = "exec",
        [CHECK_HTTP] = "http",
        [CHECK_TCP] = "tcp",
};
static const char *const restart_names[] = {
        [RESTART_ALWAYS] = "Always",
        [RESTART_ON_FAILURE] = "OnFailure",
        [RESTART_NEVER] = "Never",
};

#define CHECK_HOST "127.0.0.1"
#define CHECK_PATH "/"
#define CHECK_SCHEME "http"

static int64_t *number_at(const void *object, const struct number_member *m) {
        return (int64_t *)(void *)((char *)(uintptr_t)object + m->offset);
}

static int check_number(const void *object, const struct number_member *m, struct err **err) {
        int64_t value = *number_at(object, m);
        if (value < m->min || value > m->max)
                return err_set(err, EINVAL, "%s: %" PRId64 " is not within %" PRId64 " and %" PRId64, m->name,
                               value, m->min, m->max);
        return 0;
}

static int read_numbers(const json_t *j, void *object, const struct number_member *members, size_t n,
                        struct err **err) {
        for (size_t i = 0; i < n; i++) {
                int64_t *value = number_at(object, &members[i]);
                *value = members[i].fallback;
                int r = json_read_optional_int(j, members[i].name, value, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- Reading ---- */

static int no_memory(struct err **err) {
        return err_set_errno(err, ENOMEM, "read app");
}

static int read_text(struct arena *arena, const json_t *j, const char *key, const char **ret,
                     struct err **err) {
        const char *text = NULL;
        int r = json_read_optional_string(j, key, &text, err);
        if (r < 0 || !text)
                return r;
        const char *copy = arena_strdup(arena, text);
        if (!copy)
                return no_memory(err);
        *ret = copy;
        return 0;
}

/* A list of at most APP_LIST_MAX; *ret stays NULL when it is absent. */
static int read_list(const json_t *j, const char *key, const json_t **ret, struct err **err) {
        const json_t *list = json_object_get(j, key);
        if (!list)
                return 0;
        int r = json_read_array(j, key, &list, err);
        if (r < 0)
                return r;
        if (json_array_size(list) > APP_LIST_MAX)
                return err_set(err, EINVAL, "%s: %zu items, at most %d are taken", key, json_array_size(list),
                               APP_LIST_MAX);
        *ret = list;
        return 0;
}

static int read_texts(struct arena *arena, const json_t *j, const char *key, const char ***ret,
                      struct err **err) {
        const json_t *list = NULL;
        int r = read_list(j, key, &list, err);
        if (r < 0 || !list)
                return r;
        size_t n = json_array_size(list);
        const char **texts = arena_calloc(arena, n + 1, sizeof(*texts));
        if (!texts)
                return no_memory(err);
        for (size_t i = 0; i < n; i++) {
                const json_t *item = json_array_get(list, i);
                if (!json_is_string(item))
                        return err_set(err, EINVAL, "%s[%zu]: expected text", key, i);
                texts[i] = arena_strdup(arena, json_string_value(item));
                if (!texts[i])
                        return no_memory(err);
        }
        *ret = texts;
        return 0;
}

static int read_name(const json_t *j, const char *key, const char *const *names, size_t n, int *ret,
                     struct err **err) {
        const char *name = NULL;
        int r = json_read_optional_string(j, key, &name, err);
        if (r < 0 || !name)
                return r;
        for (size_t i = 0; i < n; i++)
                if (strcmp(names[i], name) == 0) {
                        *ret = (int)i;
                        return 0;
                }
        return err_set(err, EINVAL, "%s: unknown value \"%.100s\"", key, name);
}

static int read_file(struct arena *arena, const json_t *j, struct app_file *f, struct err **err) {
        static const char *const fields[] = {"path", "sha256", "size", "mode", "owner", "group", "expand"};
        int64_t mode = 0;
        const char *required;
        int r;
        if ((r = json_check_fields(j, fields, ARRAY_SIZE(fields), err)) < 0 ||
            (r = json_read_string(j, "path", &required, err)) < 0 ||
            (r = json_read_string(j, "sha256", &required, err)) < 0 ||
            (r = json_read_int(j, "size", &f->size, err)) < 0 ||
            (r = json_read_int(j, "mode", &mode, err)) < 0 ||
            (r = read_text(arena, j, "path", &f->path, err)) < 0 ||
            (r = read_text(arena, j, "sha256", &f->sha256, err)) < 0 ||
            (r = read_text(arena, j, "owner", &f->owner, err)) < 0 ||
            (r = read_text(arena, j, "group", &f->group, err)) < 0 ||
            (r = json_read_optional_bool(j, "expand", &f->expand, err)) < 0)
                return r;
        if (mode < 0 || mode > 07777)
                return err_set(err, EINVAL, "mode: %" PRId64 " is not within 0 and 4095", mode);
        f->mode = (unsigned)mode;
        return 0;
}

static int read_artifact(struct arena *arena, const json_t *j, struct app_artifact *a, struct err **err) {
        static const char *const fields[] = {"name", "version", "path"};
        const char *required;
        int r;
        if ((r = json_check_fields(j, fields, ARRAY_SIZE(fields), err)) < 0 ||
            (r = json_read_string(j, "name", &required, err)) < 0 ||
            (r = json_read_string(j, "version", &required, err)) < 0 ||
            (r = read_text(arena, j, "name", &a->name, err)) < 0 ||
            (r = read_text(arena, j, "version", &a->version, err)) < 0)
                return r;
        return read_text(arena, j, "path", &a->path, err);
}

static int read_artifacts(struct arena *arena, const json_t *j, struct app_spec *a, struct err **err) {
        const json_t *list = NULL;
        int r = read_list(j, "artifacts", &list, err);
        if (r < 0 || !list)
                return r;
        if (json_array_size(list) > APP_ARTIFACTS_MAX)
                return err_set(err, EINVAL, "artifacts: %zu items, at most %d are taken",
                               json_array_size(list), APP_ARTIFACTS_MAX);
        a->artifacts = arena_calloc(arena, json_array_size(list), sizeof(*a->artifacts));
        if (!a->artifacts)
                return no_memory(err);
        for (size_t i = 0; i < json_array_size(list); i++) {
                r = read_artifact(arena, json_array_get(list, i), &a->artifacts[i], err);
                if (r < 0)
                        return err_wrap_code(err, r, "artifacts[%zu]", i);
                a->n_artifacts = i + 1;
        }
        return 0;
}

static int read_files(struct arena *arena, const json_t *j, struct app_spec *a, struct err **err) {
        const json_t *list = NULL;
        int r = read_list(j, "files", &list, err);
        if (r < 0 || !list)
                return r;
        a->files = arena_calloc(arena, json_array_size(list), sizeof(*a->files));
        if (!a->files)
                return no_memory(err);
        for (size_t i = 0; i < json_array_size(list); i++) {
                r = read_file(arena, json_array_get(list, i), &a->files[i], err);
                if (r < 0)
                        return err_wrap_code(err, r, "files[%zu]", i);
                a->n_files = i + 1;
        }
        return 0;
}

/* Canonical JSON holds no numbers with a fraction. */
static bool holds_real(const json_t *j) {
        if (json_is_real(j))
                return true;
        for (size_t i = 0; i < json_array_size(j); i++)
                if (holds_real(json_array_get(j, i)))
                        return true;
        const char *key;
        json_t *value;
        json_object_foreach ((json_t *)j, key, value)
                if (holds_real(value))
                        return true;
        return false;
}

static int read_manifests(struct arena *arena, const json_t *j, struct app_spec *a, struct err **err) {
        const json_t *list = NULL;
        int r = read_list(j, "manifests", &list, err);
        if (r < 0 || !list)
                return r;
        a->manifests = arena_calloc(arena, json_array_size(list), sizeof(*a->manifests));
        if (!a->manifests)
                return no_memory(err);
        for (size_t i = 0; i < json_array_size(list); i++) {
                json_t *manifest = json_array_get(list, i);
                if (holds_real(manifest))
                        return err_set(err, EINVAL, "manifests[%zu]: a number with a fraction, expected text",
                                       i);
                a->manifests[i] = json_incref(manifest);
                a->n_manifests = i + 1;
        }
        return 0;
}

static int read_check(struct arena *arena, const json_t *j, struct health_check *c, struct err **err) {
        static const char *const fields[] = {
                "name",      "type",           "command",          "host",
                "port",      "path",           "scheme",           "intervalMs",
                "timeoutMs", "startupGraceMs", "failureThreshold", "successThreshold"};
        const char *required;
        int type = 0, r;
        if ((r = json_check_fields(j, fields, ARRAY_SIZE(fields), err)) < 0 ||
            (r = json_read_string(j, "name", &required, err)) < 0 ||
            (r = json_read_string(j, "type", &required, err)) < 0 ||
            (r = read_text(arena, j, "name", &c->name, err)) < 0 ||
            (r = read_name(j, "type", check_type_names, ARRAY_SIZE(check_type_names), &type, err)) < 0 ||
            (r = read_texts(arena, j, "command", &c->command, err)) < 0)
                return r;
        c->type = (enum check_type)type;
        if (c->type != CHECK_EXEC)
                c->host = CHECK_HOST;
        if (c->type == CHECK_HTTP) {
                c->path = CHECK_PATH;
                c->scheme = CHECK_SCHEME;
        }
        if ((r = read_text(arena, j, "host", &c->host, err)) < 0 ||
            (r = read_text(arena, j, "port", &c->port, err)) < 0 ||
            (r = read_text(arena, j, "path", &c->path, err)) < 0 ||
            (r = read_text(arena, j, "scheme", &c->scheme, err)) < 0)
                return r;
        return read_numbers(j, c, check_numbers, ARRAY_SIZE(check_numbers), err);
}

static int read_checks(struct arena *arena, const json_t *j, struct app_spec *a, struct err **err) {
        const json_t *list = NULL;
        int r = read_list(j, "healthChecks", &list, err);
        if (r < 0 || !list)
                return r;
        a->checks = arena_calloc(arena, json_array_size(list), sizeof(*a->checks));
        if (!a->checks)
                return no_memory(err);
        for (size_t i = 0; i < json_array_size(list); i++) {
                r = read_check(arena, json_array_get(list, i), &a->checks[i], err);
                if (r < 0)
                        return err_wrap_code(err, r, "healthChecks[%zu]", i);
                a->n_checks = i + 1;
        }
        return 0;
}

static int read_members(struct arena *arena, const json_t *j, struct app_spec *a, struct err **err) {
        static const char *const fields[] = {"name",
                                             "driver",
                                             "command",
                                             "workingDirectory",
                                             "user",
                                             "environment",
                                             "artifacts",
                                             "secrets",
                                             "files",
                                             "manifests",
                                             "healthChecks",
                                             "dependsOn",
                                             "restart",
                                             "restartBackoffMs",
                                             "restartBackoffCapMs",
                                             "stopTimeoutMs",
                                             "readyTimeoutMs",
                                             "memoryMaxBytes",
                                             "cpuMaxMillis",
                                             "pidsMax",
                                             "keepOnPrune"};
        const char *driver;
        int restart = RESTART_ALWAYS, r;
        if ((r = json_check_fields(j, fields, ARRAY_SIZE(fields), err)) < 0 ||
            (r = json_read_string(j, "driver", &driver, err)) < 0)
                return r;
        if (app_driver_from_name(driver, &a->driver) < 0)
                return err_set(err, EINVAL, "driver: unknown value \"%.100s\"", driver);
        if ((r = read_texts(arena, j, "command", &a->command, err)) < 0 ||
            (r = read_text(arena, j, "workingDirectory", &a->working_directory, err)) < 0 ||
            (r = read_text(arena, j, "user", &a->user, err)) < 0 ||
            (r = read_texts(arena, j, "dependsOn", &a->depends_on, err)) < 0 ||
            (r = read_name(j, "restart", restart_names, ARRAY_SIZE(restart_names), &restart, err)) < 0 ||
            (r = read_numbers(j, a, app_numbers, ARRAY_SIZE(app_numbers), err)) < 0 ||
            (r = json_read_optional_bool(j, "keepOnPrune", &a->keep_on_prune, err)) < 0)
                return r;
        a->restart = (enum restart_policy)restart;
        r = pairs_from_json(arena, json_object_get(j, "environment"), NULL, NULL, &a->environment, err);
        if (r < 0)
                return err_wrap_code(err, r, "environment");
        if ((r = read_artifacts(arena, j, a, err)) < 0 || (r = read_files(arena, j, a, err)) < 0 ||
            (r = app_secrets_from_json(arena, json_object_get(j, "secrets"), a, err)) < 0 ||
            (r = read_manifests(arena, j, a, err)) < 0)
                return r;
        return read_checks(arena, j, a, err);
}

int app_spec_from_json(struct arena *arena, const json_t *j, struct app_spec *ret, struct err **err) {
        *ret = (struct app_spec){0};
        const char *name;
        int r = json_read_string(j, "name", &name, err);
        if (r < 0)
                return r;
        ret->name = arena_strdup(arena, name);
        if (!ret->name)
                return no_memory(err);
        r = read_members(arena, j, ret, err);
        return r < 0 ? err_wrap_code(err, r, "app %.100s", name) : 0;
}

void app_spec_release(struct app_spec *a) {
        for (size_t i = 0; i < a->n_manifests; i++)
                json_decref(a->manifests[i]);
        a->n_manifests = 0;
}

/* ---- Writing ---- */

static int write_text(json_t *j, const char *key, const char *text, const char *fallback) {
        if (!text || (fallback && strcmp(text, fallback) == 0))
                return 0;
        return json_object_set_new(j, key, json_string(text));
}

static int write_texts(json_t *j, const char *key, const char *const *texts) {
        if (!texts || !texts[0])
                return 0;
        json_t *list = json_array();
        int r = json_object_set_new(j, key, list);
        for (size_t i = 0; r == 0 && texts[i]; i++)
                r = json_array_append_new(list, json_string(texts[i]));
        return r;
}

static int write_numbers(json_t *j, const void *object, const struct number_member *members, size_t n) {
        int r = 0;
        for (size_t i = 0; r == 0 && i < n; i++)
                if (*number_at(object, &members[i]) != members[i].fallback)
                        r = json_object_set_new(j, members[i].name,
                                                json_integer(*number_at(object, &members[i])));
        return r;
}

static json_t *file_to_json(const struct app_file *f) {
        _cleanup_json_ json_t *j = json_pack("{s:s, s:s, s:I, s:i}", "path", f->path, "sha256", f->sha256,
                                             "size", (json_int_t)f->size, "mode", (int)f->mode);
        if (!j || write_text(j, "owner", f->owner, NULL) < 0 || write_text(j, "group", f->group, NULL) < 0 ||
            (f->expand && json_object_set_new(j, "expand", json_true()) < 0))
                return NULL;
        return TAKE_PTR(j);
}

static json_t *artifact_to_json(const struct app_artifact *a) {
        _cleanup_json_ json_t *j = json_pack("{s:s, s:s}", "name", a->name, "version", a->version);
        if (!j || write_text(j, "path", a->path, NULL) < 0)
                return NULL;
        return TAKE_PTR(j);
}

static json_t *check_to_json(const struct health_check *c) {
        _cleanup_json_ json_t *j =
                json_pack("{s:s, s:s}", "name", c->name, "type", check_type_names[c->type]);
        if (!j || write_texts(j, "command", c->command) < 0 ||
            write_text(j, "host", c->host, CHECK_HOST) < 0 || write_text(j, "port", c->port, NULL) < 0 ||
            write_text(j, "path", c->path, CHECK_PATH) < 0 ||
            write_text(j, "scheme", c->scheme, CHECK_SCHEME) < 0 ||
            write_numbers(j, c, check_numbers, ARRAY_SIZE(check_numbers)) < 0)
                return NULL;
        return TAKE_PTR(j);
}

static int write_lists(json_t *j, const struct app_spec *a) {
        int r = 0;
        if (a->n_artifacts > 0) {
                json_t *list = json_array();
                r = json_object_set_new(j, "artifacts", list);
                for (size_t i = 0; r == 0 && i < a->n_artifacts; i++)
                        r = json_array_append_new(list, artifact_to_json(&a->artifacts[i]));
        }
        if (r == 0 && a->n_secrets > 0) {
                json_t *list = json_array();
                r = json_object_set_new(j, "secrets", list);
                for (size_t i = 0; r == 0 && i < a->n_secrets; i++)
                        r = json_array_append_new(list, app_secret_to_json(&a->secrets[i]));
        }
        if (r == 0 && a->n_files > 0) {
                json_t *list = json_array();
                r = json_object_set_new(j, "files", list);
                for (size_t i = 0; r == 0 && i < a->n_files; i++)
                        r = json_array_append_new(list, file_to_json(&a->files[i]));
        }
        if (r == 0 && a->n_manifests > 0) {
                json_t *list = json_array();
                r = json_object_set_new(j, "manifests", list);
                for (size_t i = 0; r == 0 && i < a->n_manifests; i++)
                        r = json_array_append(list, a->manifests[i]);
        }
        if (r == 0 && a->n_checks > 0) {
                json_t *list = json_array();
                r = json_object_set_new(j, "healthChecks", list);
                for (size_t i = 0; r == 0 && i < a->n_checks; i++)
                        r = json_array_append_new(list, check_to_json(&a->checks[i]));
        }
        return r;
}

json_t *app_spec_to_json(const struct app_spec *a) {
        _cleanup_json_ json_t *j =
                json_pack("{s:s, s:s}", "name", a->name, "driver", app_driver_name(a->driver));
        if (!j || write_texts(j, "command", a->command) < 0 ||
            write_text(j, "workingDirectory", a->working_directory, NULL) < 0 ||
            write_text(j, "user", a->user, NULL) < 0 ||
            (a->environment.n > 0 &&
             json_object_set_new(j, "environment", pairs_to_json(&a->environment)) < 0) ||
            write_lists(j, a) < 0 || write_texts(j, "dependsOn", a->depends_on) < 0 ||
            (a->restart != RESTART_ALWAYS && write_text(j, "restart", restart_names[a->restart], NULL) < 0) ||
            write_numbers(j, a, app_numbers, ARRAY_SIZE(app_numbers)) < 0 ||
            (a->keep_on_prune && json_object_set_new(j, "keepOnPrune", json_true()) < 0))
                return NULL;
        return TAKE_PTR(j);
}

/* ---- Checking ---- */

static bool is_one_line(const char *s) {
        for (; *s; s++)
                if ((unsigned char)*s < 0x20 || *s == 0x7f)
                        return false;
        return true;
}

static bool is_word(const char *s) { /* not empty, no blanks: what stands in a request or names a user */
        return *s && is_one_line(s) && !strchr(s, ' ');
}

static bool holds_reference(const char *s, bool expanded) {
        return !expanded && strstr(s, "${");
}

static bool port_is_valid(const char *port, bool expanded) {
        uint64_t n;
        return holds_reference(port, expanded) || (str_to_u64(port, &n) == 0 && n >= 1 && n <= 65535);
}

static int check_file(const struct app_file *f, bool expanded, struct err **err) {
        if (!f->path || !f->sha256)
                return err_set(err, EINVAL, "a file without path or digest");
        if (!app_path_is_safe(f->path, expanded))
                return err_set(err, EINVAL, "file %.300s: not an absolute path beneath the root", f->path);
        if (!sha256_hex_is_valid(f->sha256))
                return err_set(err, EINVAL, "file %.300s: \"%.100s\" is not a SHA-256", f->path, f->sha256);
        if (f->size < 0 || f->size > APP_FILE_MAX)
                return err_set(err, EINVAL, "file %.300s: size %" PRId64 " is not within 0 and %u", f->path,
                               f->size, APP_FILE_MAX);
        if (f->mode > 07777)
                return err_set(err, EINVAL, "file %.300s: mode %o is not within 0 and 7777", f->path,
                               f->mode);
        if ((f->owner && !is_word(f->owner)) || (f->group && !is_word(f->group)))
                return err_set(err, EINVAL, "file %.300s: owner or group is not a name", f->path);
        return 0;
}

static int check_artifacts(const struct app_spec *a, bool expanded, struct err **err) {
        if (a->n_artifacts > APP_ARTIFACTS_MAX)
                return err_set(err, EINVAL, "artifacts: %zu items, at most %d are taken", a->n_artifacts,
                               APP_ARTIFACTS_MAX);
        for (size_t i = 0; i < a->n_artifacts; i++) {
                const struct app_artifact *x = &a->artifacts[i];
                if (!x->name || !artifact_name_is_valid(x->name))
                        return err_set(err, EINVAL, "artifact \"%.300s\": not a name",
                                       x->name ? x->name : "");
                if (!x->version ||
                    (!holds_reference(x->version, expanded) && !artifact_version_is_valid(x->version)))
                        return err_set(err, EINVAL, "artifact %s: \"%.200s\" is not a version", x->name,
                                       x->version ? x->version : "");
                if (x->path && a->driver == APP_DRIVER_PODMAN)
                        return err_set(err, EINVAL, "artifact %s: driver podman takes no path", x->name);
                if (!x->path && a->driver == APP_DRIVER_FILES)
                        return err_set(err, EINVAL, "artifact %s: driver files needs a path", x->name);
                if (x->path && !app_path_is_safe(x->path, expanded))
                        return err_set(err, EINVAL,
                                       "artifact %s: %.300s is not an absolute path beneath the root",
                                       x->name, x->path);
                for (size_t j = 0; j < i; j++) {
                        if (str_eq(x->name, a->artifacts[j].name))
                                return err_set(err, EINVAL, "artifact %s is there twice", x->name);
                        if (x->path && str_eq(x->path, a->artifacts[j].path))
                                return err_set(err, EINVAL, "artifacts %s and %s have the same path %.300s",
                                               a->artifacts[j].name, x->name, x->path);
                }
        }
        return 0;
}

static int check_health_check(const struct health_check *c, bool expanded, struct err **err) {
        if (!c->name || !*c->name || !is_one_line(c->name))
                return err_set(err, EINVAL, "a health check without a name");
        if ((size_t)c->type >= ARRAY_SIZE(check_type_names))
                return err_set(err, EINVAL, "health check %.100s: unknown type", c->name);
        if (c->type == CHECK_EXEC) {
                if (!c->command || !c->command[0])
                        return err_set(err, EINVAL, "health check %.100s: exec without a command", c->name);
                if (c->host || c->port || c->path || c->scheme)
                        return err_set(err, EINVAL, "health check %.100s: exec takes a command alone",
                                       c->name);
        } else {
                if (c->command)
                        return err_set(err, EINVAL, "health check %.100s: a command is for exec", c->name);
                if (!c->port || !port_is_valid(c->port, expanded))
                        return err_set(err, EINVAL,
                                       "health check %.100s: port %.100s is not within 1 and 65535", c->name,
                                       c->port ? c->port : "(none)");
                if (c->host && !holds_reference(c->host, expanded) && !is_word(c->host))
                        return err_set(err, EINVAL, "health check %.100s: \"%.100s\" is not a host", c->name,
                                       c->host);
        }
        if (c->type == CHECK_TCP && (c->path || c->scheme))
                return err_set(err, EINVAL, "health check %.100s: path and scheme are for http", c->name);
        if (c->type == CHECK_HTTP) {
                /* It goes into a request as it is: a line break would begin a header. */
                if (c->path && !holds_reference(c->path, expanded) &&
                    (c->path[0] != '/' || !is_word(c->path)))
                        return err_set(err, EINVAL, "health check %.100s: \"%.100s\" is not a path", c->name,
                                       c->path);
                if (c->scheme && strcmp(c->scheme, "http") != 0 && strcmp(c->scheme, "https") != 0)
                        return err_set(err, EINVAL,
                                       "health check %.100s: scheme \"%.100s\": use http or https", c->name,
                                       c->scheme);
        }
        for (size_t i = 0; i < ARRAY_SIZE(check_numbers); i++)
                if (check_number(c, &check_numbers[i], err) < 0)
                        return err_wrap_code(err, -EINVAL, "health check %.100s", c->name);
        return 0;
}

static int check_driver(const struct app_spec *a, struct err **err) {
        if ((size_t)a->restart >= ARRAY_SIZE(restart_names))
                return err_set(err, EINVAL, "unknown restart policy");
        bool has_command = a->command && a->command[0];
        if (a->driver == APP_DRIVER_PROCESS ? !has_command : has_command)
                return err_set(err, EINVAL, "driver %s %s command", app_driver_name(a->driver),
                               has_command ? "takes no" : "needs a");
        if (a->driver == APP_DRIVER_PODMAN ? a->n_manifests == 0 : a->n_manifests > 0)
                return err_set(err, EINVAL, "driver %s %s manifests", app_driver_name(a->driver),
                               a->n_manifests > 0 ? "takes no" : "needs");
        for (size_t i = 0; i < a->n_manifests; i++)
                if (!json_is_string(json_object_get(a->manifests[i], "apiVersion")) ||
                    !json_is_string(json_object_get(a->manifests[i], "kind")))
                        return err_set(err, EINVAL,
                                       "manifests[%zu]: expected an object with apiVersion and kind", i);
        return 0;
}

static int check_members(const struct app_spec *a, bool expanded, struct err **err) {
        int r = check_driver(a, err);
        if (r < 0)
                return r;
        if (a->n_files > APP_LIST_MAX || a->n_manifests > APP_LIST_MAX || a->n_checks > APP_LIST_MAX)
                return err_set(err, EINVAL, "a list of more than %d items", APP_LIST_MAX);
        if (a->user && !is_word(a->user))
                return err_set(err, EINVAL, "user: \"%.100s\" is not a name", a->user);
        for (size_t i = 0; i < a->environment.n; i++) {
                const char *key = a->environment.items[i].key;
                if (!*key || strchr(key, '='))
                        return err_set(err, EINVAL, "environment: \"%.100s\" is not a name", key);
        }
        if ((r = check_artifacts(a, expanded, err)) < 0 || (r = app_secrets_check(a, expanded, err)) < 0)
                return r;
        for (size_t i = 0; i < a->n_files; i++)
                if ((r = check_file(&a->files[i], expanded, err)) < 0)
                        return r;
        for (size_t i = 0; i < a->n_checks; i++) {
                if ((r = check_health_check(&a->checks[i], expanded, err)) < 0)
                        return r;
                for (size_t j = 0; j < i; j++)
                        if (strcmp(a->checks[i].name, a->checks[j].name) == 0)
                                return err_set(err, EINVAL, "two health checks have the name %.100s",
                                               a->checks[i].name);
        }
        for (size_t i = 0; i < ARRAY_SIZE(app_numbers); i++)
                if ((r = check_number(a, &app_numbers[i], err)) < 0)
                        return r;
        return 0;
}

int app_spec_check(const struct app_spec *a, bool expanded, struct err **err) {
        if (!name_is_dns_label(a->name))
                return err_set(err, EINVAL, "app \"%.100s\": not a DNS label", a->name ? a->name : "");
        int r = check_members(a, expanded, err);
        return r < 0 ? err_wrap_code(err, r, "app %s", a->name) : 0;
}
