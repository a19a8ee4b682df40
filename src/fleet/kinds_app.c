/* SPDX-License-Identifier: Apache-2.0 */
/* The App kind. */
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "fleet/kinds.h"
#include "repo/artifact.h"

#define SECOND 1000
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define LIST_MAX 1000

/* ---- Health checks */

static const char *const scheme_names[] = {"http", "https", NULL};

static void check_http(struct schema_decoder *d, const struct value *v, void *object) {
        struct http_document *h = object;
        const struct value *path = value_get(v, "path");
        if (h->path && h->path[0] != '/' && !str_has_prefix(h->path, "${"))
                schema_error(d, &path->position, "begin it with a slash",
                             "field \"path\": \"%.200s\" is not absolute", h->path);
}

static const struct schema http_schema = {
        .name = "http check",
        .documentation = "Healthy when a GET is answered with a status from 200 to 399.",
        .size = sizeof(struct http_document),
        .where_offset = offsetof(struct http_document, where),
        .check = check_http,
        .fields =
                (const struct schema_field[]){
                        {.name = "port",
                         .type = SCHEMA_PORT,
                         .offset = offsetof(struct http_document, port),
                         .required = true,
                         .expands = true,
                         .documentation = "Number, or text with a reference."},
                        {.name = "path",
                         .type = SCHEMA_WORD,
                         .offset = offsetof(struct http_document, path),
                         .expands = true,
                         .fallback = "/",
                         .documentation = "What to ask for."},
                        {.name = "host",
                         .type = SCHEMA_WORD,
                         .offset = offsetof(struct http_document, host),
                         .expands = true,
                         .fallback = "127.0.0.1",
                         .documentation = "Where to ask."},
                        {.name = "scheme",
                         .type = SCHEMA_CHOICE,
                         .offset = offsetof(struct http_document, scheme),
                         .choices = scheme_names,
                         .fallback = "http",
                         .documentation = "With `https` the certificate is not checked."},
                        {NULL},
                },
};

static const struct schema exec_schema = {
        .name = "exec check",
        .documentation = "Healthy when a command ends with 0.",
        .size = sizeof(struct exec_document),
        .where_offset = offsetof(struct exec_document, where),
        .fields =
                (const struct schema_field[]){
                        {.name = "command",
                         .type = SCHEMA_TEXTS,
                         .offset = offsetof(struct exec_document, command),
                         .required = true,
                         .expands = true,
                         .max = LIST_MAX,
                         .documentation = "Program and arguments; no shell."},
                        {NULL},
                },
};

static const struct schema tcp_schema = {
        .name = "tcp check",
        .documentation = "Healthy when a connection is accepted.",
        .size = sizeof(struct tcp_document),
        .where_offset = offsetof(struct tcp_document, where),
        .fields =
                (const struct schema_field[]){
                        {.name = "port",
                         .type = SCHEMA_PORT,
                         .offset = offsetof(struct tcp_document, port),
                         .required = true,
                         .expands = true,
                         .documentation = "Number, or text with a reference."},
                        {.name = "host",
                         .type = SCHEMA_WORD,
                         .offset = offsetof(struct tcp_document, host),
                         .expands = true,
                         .fallback = "127.0.0.1",
                         .documentation = "Where to connect."},
                        {NULL},
                },
};

static void check_check(struct schema_decoder *d, const struct value *v, void *object) {
        struct check_document *c = object;
        size_t n = 0;

        n += value_get(v, "http") != NULL;
        n += value_get(v, "exec") != NULL;
        n += value_get(v, "tcp") != NULL;
        if (n != 1)
                schema_error(d, &v->position, "give exactly one of exec, http and tcp",
                             n == 0 ? "health check says nothing to check"
                                    : "health check has more than one way to check");
        if (!c->name)
                c->name = c->http.where.line ? "http" : c->exec.where.line ? "exec" : "tcp";
}

static const struct schema check_schema = {
        .name = "health check",
        .documentation = "How to tell that the app works; exactly one of `exec`, `http`, `tcp`.",
        .size = sizeof(struct check_document),
        .where_offset = offsetof(struct check_document, where),
        .check = check_check,
        .fields =
                (const struct schema_field[]){
                        {.name = "name",
                         .type = SCHEMA_NAME,
                         .offset = offsetof(struct check_document, name),
                         .documentation = "Shown when it fails; `exec`, `http` or `tcp` where left out."},
                        {.name = "exec",
                         .type = SCHEMA_OBJECT,
                         .offset = offsetof(struct check_document, exec),
                         .nested = &exec_schema,
                         .documentation = "Runs a command."},
                        {.name = "http",
                         .type = SCHEMA_OBJECT,
                         .offset = offsetof(struct check_document, http),
                         .nested = &http_schema,
                         .documentation = "Asks over HTTP."},
                        {.name = "tcp",
                         .type = SCHEMA_OBJECT,
                         .offset = offsetof(struct check_document, tcp),
                         .nested = &tcp_schema,
                         .documentation = "Opens a connection."},
                        {.name = "interval",
                         .type = SCHEMA_DURATION,
                         .offset = offsetof(struct check_document, interval),
                         .fallback = "10s",
                         .min = 100,
                         .max = HOUR,
                         .documentation = "Time between two checks."},
                        {.name = "timeout",
                         .type = SCHEMA_DURATION,
                         .offset = offsetof(struct check_document, timeout),
                         .fallback = "2s",
                         .min = 10,
                         .max = HOUR,
                         .documentation = "Longer counts as failed."},
                        {.name = "failureThreshold",
                         .type = SCHEMA_INTEGER,
                         .offset = offsetof(struct check_document, failure_threshold),
                         .fallback = "3",
                         .min = 1,
                         .max = 1000,
                         .documentation = "Failures in a row that make the app unhealthy."},
                        {.name = "successThreshold",
                         .type = SCHEMA_INTEGER,
                         .offset = offsetof(struct check_document, success_threshold),
                         .fallback = "1",
                         .min = 1,
                         .max = 1000,
                         .documentation = "Successes in a row that make it healthy."},
                        {.name = "startupGrace",
                         .type = SCHEMA_DURATION,
                         .offset = offsetof(struct check_document, startup_grace),
                         .fallback = "0s",
                         .max = HOUR,
                         .documentation = "Failures so soon after the start do not count."},
                        {NULL},
                },
};

/* ---- Artifacts */

static bool holds_reference(const char *text) {
        return strstr(text, "${") != NULL;
}

static void check_artifact(struct schema_decoder *d, const struct value *v, void *object) {
        const struct artifact_document *a = object;

        if (a->name.text && !artifact_name_is_valid(a->name.text))
                schema_error(d, &a->name.where, "use DNS labels joined by dots, as in \"shop.web\"",
                             "field \"name\": \"%.200s\" is not the name of an artifact", a->name.text);
        if (a->version.text && !holds_reference(a->version.text) &&
            !artifact_version_is_valid(a->version.text))
                schema_error(d, &a->version.where,
                             "use at most 128 letters, digits and ._+-, with a letter or digit first",
                             "field \"version\": \"%.200s\" is not a version", a->version.text);
        if (a->path.text && !app_path_is_safe(a->path.text, false))
                schema_error(
                        d, &a->path.where, "write it from the root, as /opt/web",
                        "field \"path\": \"%.200s\" is not an absolute path without \".\", \"..\" and \"//\"",
                        a->path.text);
}

static const struct schema artifact_schema = {
        .name = "artifact",
        .documentation = "A version of an artifact from the signed repository; the node gets what fits its "
                         "platform and labels.",
        .size = sizeof(struct artifact_document),
        .where_offset = offsetof(struct artifact_document, where),
        .check = check_artifact,
        .fields =
                (const struct schema_field[]){
                        {.name = "name",
                         .type = SCHEMA_LOCATED,
                         .offset = offsetof(struct artifact_document, name),
                         .required = true,
                         .documentation = "As it was pushed."},
                        {.name = "version",
                         .type = SCHEMA_LOCATED,
                         .offset = offsetof(struct artifact_document, version),
                         .required = true,
                         .expands = true,
                         .documentation = "Quoted where it looks like a number."},
                        {.name = "path",
                         .type = SCHEMA_LOCATED,
                         .offset = offsetof(struct artifact_document, path),
                         .expands = true,
                         .documentation =
                                 "Where a tree or file shows on the node, as a symbolic link that is "
                                 "replaced in one step; not for podman."},
                        {NULL},
                },
};

/* ---- App */

static const char *const driver_names[] = {
        [APP_DRIVER_FILES] = "files",
        [APP_DRIVER_PROCESS] = "process",
        [APP_DRIVER_PODMAN] = "podman",
        NULL,
};
static const char *const restart_names[] = {
        [RESTART_ALWAYS] = "Always",
        [RESTART_ON_FAILURE] = "OnFailure",
        [RESTART_NEVER] = "Never",
        NULL,
};
static const char *const prune_names[] = {"Delete", "Keep", NULL};

static const struct schema resources_schema = {
        .name = "resources",
        .documentation = "Limits (cgroup v2), where the node can set them.",
        .size = sizeof(((struct app_document *)0)->resources),
        .fields =
                (const struct schema_field[]){
                        {.name = "memoryMax",
                         .type = SCHEMA_BYTES,
                         .documentation = "Such as 64Mi; more is not given, and the process may be killed."},
                        {.name = "cpuMax",
                         .type = SCHEMA_CPU,
                         .offset = offsetof(struct app_document, resources.cpu_max) -
                                   offsetof(struct app_document, resources),
                         .documentation = "Processors: 500m is half of one."},
                        {.name = "pidsMax",
                         .type = SCHEMA_INTEGER,
                         .offset = offsetof(struct app_document, resources.pids_max) -
                                   offsetof(struct app_document, resources),
                         .min = 1,
                         .max = 4194304,
                         .documentation = "Processes and threads."},
                        {NULL},
                },
};

static const struct schema restart_schema = {
        .name = "restart",
        .documentation = "What happens when the process ends.",
        .size = sizeof(((struct app_document *)0)->restart),
        .fields =
                (const struct schema_field[]){
                        {.name = "policy",
                         .type = SCHEMA_CHOICE,
                         .choices = restart_names,
                         .fallback = "Always",
                         .documentation = "`OnFailure`: not when it ended with 0."},
                        {.name = "backoff",
                         .type = SCHEMA_DURATION,
                         .offset = offsetof(struct app_document, restart.backoff) -
                                   offsetof(struct app_document, restart),
                         .fallback = "1s",
                         .min = 10,
                         .max = HOUR,
                         .documentation = "First wait; it doubles with every restart."},
                        {.name = "maxBackoff",
                         .type = SCHEMA_DURATION,
                         .offset = offsetof(struct app_document, restart.max_backoff) -
                                   offsetof(struct app_document, restart),
                         .fallback = "5m",
                         .min = 10,
                         .max = 24 * HOUR,
                         .documentation = "Longest wait."},
                        {NULL},
                },
};

/* Fields that one driver alone understands: elsewhere they would be ignored, so they are refused. */
static const struct {
        const char *field;
        enum app_driver driver;
        const char *way_out;
} driver_fields[] = {
        {"command", APP_DRIVER_PROCESS, "write it in the manifest's containers"},
        {"workingDirectory", APP_DRIVER_PROCESS, "write workingDir in the manifest's containers"},
        {"user", APP_DRIVER_PROCESS, "write securityContext in the manifest's containers"},
        {"environment", APP_DRIVER_PROCESS, "write env in the manifest's containers"},
        {"resources", APP_DRIVER_PROCESS, "write resources in the manifest's containers"},
        {"restart", APP_DRIVER_PROCESS, "write restartPolicy in the manifest's pod"},
        {"manifests", APP_DRIVER_PODMAN, "set driver: podman"},
};

static void check_driver_fields(struct schema_decoder *d, const struct value *v,
                                const struct app_document *a) {
        for (size_t i = 0; i < ARRAY_SIZE(driver_fields); i++) {
                const char *way_out =
                        a->driver == APP_DRIVER_PODMAN || driver_fields[i].driver == APP_DRIVER_PODMAN
                                ? driver_fields[i].way_out
                                : "set driver: process";
                const struct value *field = value_get(v, driver_fields[i].field);
                if (field && (int)driver_fields[i].driver != a->driver)
                        schema_error(d, &field->position, way_out,
                                     "field \"%s\" is for driver %s, this app has driver %s",
                                     driver_fields[i].field, driver_names[driver_fields[i].driver],
                                     driver_names[a->driver]);
        }
        if (a->driver == APP_DRIVER_PROCESS && !value_get(v, "command"))
                schema_error(d, &v->position, NULL, "App spec: driver process needs a \"command\"");
        if (a->driver == APP_DRIVER_PODMAN && !value_get(v, "manifests"))
                schema_error(d, &v->position, "list Kubernetes YAML files that lie beside this one",
                             "App spec: driver podman needs \"manifests\"");
        if (a->driver == APP_DRIVER_FILES && a->n_files == 0 && a->n_artifacts == 0 && a->n_secrets == 0)
                schema_error(d, &v->position, NULL,
                             "App spec: driver files needs \"files\", \"artifacts\" or \"secrets\"");
        for (size_t i = 0; i < a->n_artifacts; i++) {
                const struct artifact_document *artifact = &a->artifacts[i];
                if (a->driver == APP_DRIVER_PODMAN && artifact->path.text)
                        schema_error(d, &artifact->path.where,
                                     "leave it out: the image is loaded as localhost/NAME:VERSION",
                                     "artifact \"%.200s\": \"path\" is not for driver podman",
                                     artifact->name.text ? artifact->name.text : "");
                else if (a->driver == APP_DRIVER_FILES && !artifact->path.text)
                        schema_error(d, &artifact->where, "say where it shall show, as in /opt/web",
                                     "artifact \"%.200s\": driver files needs a \"path\"",
                                     artifact->name.text ? artifact->name.text : "");
        }
}

static void check_artifacts(struct schema_decoder *d, const struct app_document *a) {
        for (size_t i = 0; i < a->n_artifacts; i++)
                for (size_t j = 0; j < i; j++) {
                        const struct artifact_document *x = &a->artifacts[i], *first = &a->artifacts[j];
                        if (x->name.text && str_eq(x->name.text, first->name.text)) {
                                schema_error(d, &x->name.where, "take one version of it",
                                             "artifact \"%.200s\" is there twice, first in line %u",
                                             x->name.text, first->name.where.line);
                                break;
                        }
                        if (x->path.text && str_eq(x->path.text, first->path.text)) {
                                schema_error(d, &x->path.where, "give each a path of its own",
                                             "path \"%.200s\" is taken by artifact \"%.200s\" in line %u",
                                             x->path.text, first->name.text ? first->name.text : "",
                                             first->path.where.line);
                                break;
                        }
                }
}

/* A path within the app's first tree or file. */
static bool is_within_artifact(const struct app_document *a, const char *text) {
        return a->n_artifacts > 0 && app_path_is_safe_below(text);
}

/* An absolute path, a bare name that is looked for in PATH, or a path within the app's artifact. */
static void check_program(struct schema_decoder *d, const struct app_document *a) {
        const struct located *program = &a->command.items[0];
        const char *text = program->text;
        if (*text == '\0')
                schema_error(d, &program->where, "begin the list with a program",
                             "command: the program's name is empty");
        else if (text[0] != '/' && strchr(text, '/') && !str_has_prefix(text, "${") &&
                 !is_within_artifact(a, text))
                schema_error(d, &program->where,
                             a->n_artifacts
                                     ? "write it without \".\", \"..\" and \"//\": it is looked for in "
                                       "the app's first artifact"
                                     : "write its whole path, or its bare name",
                             "command: \"%.200s\" is a relative path", text);
        else if (strchr(text, ' '))
                schema_error(d, &program->where,
                             "write each argument as an item of its own: there is no shell",
                             "command: \"%.200s\" is one word with blanks in it", text);
}

static void check_secrets(struct schema_decoder *d, const struct app_document *a) {
        for (size_t i = 0; i < a->n_secrets; i++) {
                const struct secret_document *s = &a->secrets[i];
                const struct located *own = s->environment.text  ? &s->environment
                                            : s->credential.text ? &s->credential
                                                                 : &s->path;
                if (!s->path.text && own->text && a->driver != APP_DRIVER_PROCESS)
                        schema_error(d, &own->where, "give it a \"path\"",
                                     "a secret as environment or credential is for driver process");
                for (size_t j = 0; s->environment.text && j < a->environment.n; j++)
                        if (str_eq(a->environment.items[j].key, s->environment.text))
                                schema_error(d, &s->environment.where, "take one of the two out",
                                             "variable \"%.100s\" is in \"environment\" too",
                                             s->environment.text);
                for (size_t j = 0; j < i; j++) {
                        const struct secret_document *first = &a->secrets[j];
                        if (own->text && str_eq(s->environment.text, first->environment.text) &&
                            str_eq(s->credential.text, first->credential.text) &&
                            str_eq(s->path.text, first->path.text)) {
                                schema_error(d, &own->where, "take one of the two out",
                                             "\"%.200s\" gets a secret twice, first in line %u", own->text,
                                             first->where.line);
                                break;
                        }
                }
        }
}

static void check_app(struct schema_decoder *d, const struct value *v, void *object) {
        struct app_document *a = object;
        const struct value *directory = value_get(v, "workingDirectory");

        if (value_get(v, "driver") && a->driver >= 0)
                check_driver_fields(d, v, a);
        check_artifacts(d, a);
        check_secrets(d, a);
        if (a->working_directory && a->working_directory[0] != '/' &&
            !str_has_prefix(a->working_directory, "${") && !is_within_artifact(a, a->working_directory))
                schema_error(d, &directory->position, "begin it with a slash",
                             "field \"workingDirectory\": \"%.200s\" is not absolute", a->working_directory);
        if (a->command.n > 0)
                check_program(d, a);
        if (a->restart.backoff > a->restart.max_backoff)
                schema_error(d, &value_get(v, "restart")->position, NULL,
                             "restart: \"backoff\" is longer than \"maxBackoff\"");
        for (size_t i = 0; i < a->n_checks; i++)
                for (size_t j = 0; j < i; j++)
                        if (str_eq(a->checks[i].name, a->checks[j].name)) {
                                schema_error(d, &a->checks[i].where, "give each a \"name\" of its own",
                                             "health check \"%s\" is there twice, first in line %u",
                                             a->checks[i].name, a->checks[j].where.line);
                                break;
                        }
}

const struct schema app_spec_schema = {
        .name = "App spec",
        .documentation = "One thing that runs, or lies, on nodes.",
        .size = sizeof(struct app_document),
        .check = check_app,
        .fields =
                (const struct schema_field[]){
                        {.name = "driver",
                         .type = SCHEMA_CHOICE,
                         .offset = offsetof(struct app_document, driver),
                         .required = true,
                         .choices = driver_names,
                         .documentation = "`process`: a program of the node; `podman`: Kubernetes manifests "
                                          "without a cluster; `files`: files alone."},
                        {.name = "command",
                         .type = SCHEMA_TEXTS,
                         .offset = offsetof(struct app_document, command),
                         .expands = true,
                         .max = LIST_MAX,
                         .documentation = "Program (its path, or a name to look for in PATH) and arguments, "
                                          "without a shell; process only."},
                        {.name = "workingDirectory",
                         .type = SCHEMA_TEXT,
                         .offset = offsetof(struct app_document, working_directory),
                         .expands = true,
                         .documentation = "Where the process starts; process only."},
                        {.name = "user",
                         .type = SCHEMA_WORD,
                         .offset = offsetof(struct app_document, user),
                         .documentation = "Who it runs as; process only."},
                        {.name = "environment",
                         .type = SCHEMA_PAIRS,
                         .offset = offsetof(struct app_document, environment),
                         .expands = true,
                         .max = LIST_MAX,
                         .documentation = "Environment variables; process only."},
                        {.name = "files",
                         .type = SCHEMA_OBJECTS,
                         .offset = offsetof(struct app_document, files),
                         .max = LIST_MAX,
                         .nested = &file_schema,
                         .documentation = "Files of the app; when one changes the app is applied again."},
                        {.name = "artifacts",
                         .type = SCHEMA_OBJECTS,
                         .offset = offsetof(struct app_document, artifacts),
                         .max = APP_ARTIFACTS_MAX,
                         .nested = &artifact_schema,
                         .documentation = "What it runs or shows, from the signed repository. A relative "
                                          "command or working directory is looked for in the first tree or "
                                          "file."},
                        {.name = "secrets",
                         .type = SCHEMA_OBJECTS,
                         .offset = offsetof(struct app_document, secrets),
                         .max = APP_SECRETS_MAX,
                         .nested = &secret_schema,
                         .documentation = "Values of SOPS files that only the node decrypts, in memory."},
                        {.name = "manifests",
                         .type = SCHEMA_TEXTS,
                         .offset = offsetof(struct app_document, manifests),
                         .max = 100,
                         .documentation = "Kubernetes YAML files, relative to this one; podman only."},
                        {.name = "resources",
                         .type = SCHEMA_OBJECT,
                         .offset = offsetof(struct app_document, resources),
                         .nested = &resources_schema,
                         .documentation = "Limits; process only."},
                        {.name = "restart",
                         .type = SCHEMA_OBJECT,
                         .offset = offsetof(struct app_document, restart),
                         .nested = &restart_schema,
                         .documentation = "When the process ends; process only."},
                        {.name = "stopTimeout",
                         .type = SCHEMA_DURATION,
                         .offset = offsetof(struct app_document, stop_timeout),
                         .fallback = "10s",
                         .max = HOUR,
                         .documentation = "From asking it to stop to killing it."},
                        {.name = "readyTimeout",
                         .type = SCHEMA_DURATION,
                         .offset = offsetof(struct app_document, ready_timeout),
                         .fallback = "2m",
                         .min = 100,
                         .max = 24 * HOUR,
                         .documentation = "A new version not healthy by then is rolled back."},
                        {.name = "healthChecks",
                         .type = SCHEMA_OBJECTS,
                         .offset = offsetof(struct app_document, checks),
                         .max = 16,
                         .nested = &check_schema,
                         .documentation = "All must succeed."},
                        {.name = "dependsOn",
                         .type = SCHEMA_NAMES,
                         .offset = offsetof(struct app_document, depends_on),
                         .max = 256,
                         .documentation = "Apps that are applied first."},
                        {.name = "prune",
                         .type = SCHEMA_CHOICE,
                         .offset = offsetof(struct app_document, prune),
                         .choices = prune_names,
                         .fallback = "Delete",
                         .documentation = "What happens to it on the node when it leaves the repository."},
                        {NULL},
                },
};
