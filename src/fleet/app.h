/* SPDX-License-Identifier: Apache-2.0 */
/* An app as the model knows it: read from YAML by the compiler, carried in a revision as JSON, run by
 * the agent's drivers. Storage belongs to the arena it was read into. Strings may still hold `${}`
 * references until revision_bind() has expanded them. */
#pragma once

#include <jansson.h>

#include "base/clock.h"
#include "fleet/labels.h"

enum app_driver { APP_DRIVER_FILES, APP_DRIVER_PROCESS, APP_DRIVER_PODMAN };
const char *app_driver_name(enum app_driver d); /* "files", "process", "podman" */
int app_driver_from_name(const char *name, enum app_driver *ret);

#define APP_FILE_MAX (8u << 20)     /* one managed file */
#define APP_OBJECTS_MAX (64u << 20) /* all files of one fleet */

struct app_file {
        const char *path;   /* absolute on the node, resolved beneath its sysroot */
        const char *sha256; /* of the content before expansion */
        int64_t size;
        unsigned mode;             /* 0644 */
        const char *owner, *group; /* names or numbers; NULL: as the agent */
        bool expand;               /* content holds `${}` references */
};

struct app_artifact { /* from the signed repository (repo/artifact.h) */
        const char *name, *version;
        /* Absolute on the node, beneath its sysroot: where a tree or file shows (a symbolic link into the
         * agent's store, replaced atomically). NULL: no link is made; a process app's relative command and
         * working directory are found in its first tree or file. Never set for driver podman, which loads the
         * image as localhost/<name>:<version>. */
        const char *path;
};
#define APP_ARTIFACTS_MAX 16

/* A value of a SOPS file (fleet/sops.h), which the node decrypts: fleet/app_secret.h. */
enum secret_kind { SECRET_ENVIRONMENT, SECRET_CREDENTIAL, SECRET_FILE };
struct app_secret {
        enum secret_kind kind;
        const char *name;          /* of the variable or credential */
        const char *path;          /* SECRET_FILE: as of a file; a symbolic link to a file in memory */
        unsigned mode;             /* SECRET_FILE */
        const char *owner, *group; /* SECRET_FILE; names or numbers, or NULL */
        const char *source;        /* the file in the repository, for messages */
        const char *key;           /* pointer to the value in it */
        const char *sha256;        /* of the file, which is cipher text */
        int64_t size;
};
#define APP_SECRETS_MAX 64

/* Absolute, beneath the root, without ".", ".." and "//". Where references have not been replaced yet only
 * the rest is judged. */
bool app_path_is_safe(const char *path, bool expanded);
/* The same of a relative path, as a command within an artifact. */
bool app_path_is_safe_below(const char *path);

enum check_type { CHECK_EXEC, CHECK_HTTP, CHECK_TCP };
struct health_check {
        const char *name;
        enum check_type type;
        const char **command; /* exec; NULL-terminated */
        const char *host;     /* http, tcp; default 127.0.0.1 */
        const char *port;     /* text, since it may be a `${}` reference */
        const char *path;     /* http; default "/" */
        const char *scheme;   /* http: "http" or "https" */
        msec_t interval_ms, timeout_ms, startup_grace_ms;
        int64_t failure_threshold, success_threshold;
};

enum restart_policy { RESTART_ALWAYS, RESTART_ON_FAILURE, RESTART_NEVER };

struct app_spec {
        const char *name;
        enum app_driver driver;
        const char **command; /* process; NULL-terminated */
        const char *working_directory;
        const char *user; /* process; name or NULL */
        struct pairs environment;
        struct app_file *files;
        size_t n_files;
        struct app_artifact *artifacts;
        size_t n_artifacts;
        struct app_secret *secrets;
        size_t n_secrets;
        json_t **manifests; /* podman: Kubernetes objects (references freed by the owner's destructor) */
        size_t n_manifests;
        struct health_check *checks;
        size_t n_checks;
        const char **depends_on; /* names, NULL-terminated; may be NULL */
        enum restart_policy restart;
        msec_t restart_backoff_ms, restart_backoff_cap_ms;
        msec_t stop_timeout_ms;                             /* SIGTERM to SIGKILL */
        msec_t ready_timeout_ms;                            /* how long a new version has to become healthy */
        int64_t memory_max_bytes, cpu_max_millis, pids_max; /* 0: no limit */
        bool keep_on_prune; /* leave it on the node when it goes from the repository */
};
