/* SPDX-License-Identifier: Apache-2.0 */
/* skerry repo publish | status | verify | root. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "cli/print.h"
#include "cli/repo.h"

/* ---- publish */

struct publish_settings {
        struct repo_globals repo;
        char *output;
        bool sweep;
};
static const struct option_spec publish_options[] = {
        REPO_OPTIONS,
        {"sweep", 0, OPTION_BOOL, offsetof(struct publish_settings, sweep), NULL, NULL,
         "Then remove target files that nothing names any more"},
        REPO_KEY_OPTIONS,
        {"output", 'o', OPTION_CHOICE, offsetof(struct publish_settings, output), "FORMAT", "table",
         "How to print", "table,json,yaml"},
        OPTIONS_END,
};

static int run_publish(void *settings, char **arguments, size_t n) {
        const struct publish_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(tuf_publisher_freep) struct tuf_publisher *p = NULL;
        enum output output = output_from_text(s->output);
        struct tuf_publish_result done;
        size_t files = 0;
        int64_t bytes = 0;
        char text[32];
        if (repo_open(&s->repo, false, &p, &err) < 0 || tuf_publisher_publish(p, &done, &err) < 0 ||
            (s->sweep && tuf_publisher_sweep(p, &files, &bytes, &err) < 0))
                return cli_fail(err);
        repo_warn_of_expiry(p);
        repo_warn_of_clock(&done);
        if (output != OUTPUT_TABLE) {
                _cleanup_(json_decrefp) json_t *j =
                        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "root", (json_int_t)done.root,
                                  "timestamp", (json_int_t)done.timestamp, "snapshot",
                                  (json_int_t)done.snapshot, "targets", (json_int_t)done.targets, "newRoles",
                                  (json_int_t)done.roles, "sweptFiles", (json_int_t)files);
                return j ? print_json(j, output) : EXIT_FAILURE;
        }
        printf("Published: timestamp %lld, snapshot %lld, targets %lld, root %lld; %zu role%s new.\n",
               (long long)done.timestamp, (long long)done.snapshot, (long long)done.targets,
               (long long)done.root, done.roles, done.roles == 1 ? "" : "s");
        if (s->sweep)
                printf("%zu unused file%s removed, %s.\n", files, files == 1 ? "" : "s",
                       bytes_format(bytes, text, sizeof(text)));
        return EXIT_SUCCESS;
}

const struct command_spec repo_publish_command = {
        .name = "repo publish",
        .arguments = "",
        .summary = "Make what is staged public",
        .details = "Signs what is staged and a new snapshot and timestamp, and puts them into DIR/public, "
                   "timestamp last: "
                   "a reader sees the old state or the new. With nothing staged it renews the timestamp; let "
                   "a timer run "
                   "it daily. Upload with the timestamp last: 'rclone copy DIR/public remote:', then 'rclone "
                   "copy "
                   "DIR/public/metadata/timestamp.json remote:metadata'.",
        .options = publish_options,
        .settings_size = sizeof(struct publish_settings),
        .run = run_publish,
};

/* ---- status */

struct status_settings {
        struct repo_globals repo;
        char *output;
};
static const struct option_spec status_options[] = {
        REPO_OPTIONS,
        {"output", 'o', OPTION_CHOICE, offsetof(struct status_settings, output), "FORMAT", "table",
         "How to print", OUTPUT_CHOICES},
        OPTIONS_END,
};

static int put_role_json(void *arg, const struct tuf_publisher_role *r) {
        char text[TUF_TIME_SIZE];
        json_t *j = json_pack("{s:s, s:I, s:I, s:s*, s:I, s:I, s:I, s:I, s:s, s:b}", "name", r->name,
                              "published", (json_int_t)r->published, "staged", (json_int_t)r->staged,
                              "expires", r->expires_s ? tuf_time_format(r->expires_s, text) : NULL,
                              "signatures", (json_int_t)r->signatures, "threshold", (json_int_t)r->threshold,
                              "keys", (json_int_t)r->n_keys, "targets", (json_int_t)r->n_targets, "missing",
                              r->missing, "ready", r->ready);
        return j && json_array_append_new(arg, j) >= 0 ? 0 : -ENOMEM;
}

static void version_cell(struct columns *t, enum style style, int64_t version) {
        if (version)
                columns_cellf(t, style, "%lld", (long long)version);
        else
                columns_cell(t, style, "");
}

static int put_role_row(void *arg, const struct tuf_publisher_role *r) {
        struct columns *t = arg;
        char text[48];
        int64_t left = r->expires_s - clock_wall_ms(clock_system()) / 1000;
        columns_cell(t, STYLE_NONE, r->name);
        version_cell(t, STYLE_NONE, r->published);
        version_cell(t, STYLE_ACTIVE, r->staged);
        columns_cellf(t, r->ready ? STYLE_GOOD : STYLE_BAD, "%zu of %zu", r->signatures, r->threshold);
        columns_cellf(t, STYLE_NONE, "%zu", r->n_keys);
        columns_cell(t, r->expires_s && left <= 0 ? STYLE_BAD : STYLE_NONE,
                     r->expires_s ? repo_expiry_text(r->expires_s, text, sizeof(text)) : "");
        columns_cellf(t, STYLE_NONE, "%zu", r->n_targets);
        columns_cell(t, STYLE_NONE, r->missing);
        return 0;
}

static int run_status(void *settings, char **arguments, size_t n) {
        static const struct column columns[] = {
                {"ROLE", 0},
                {"PUBLIC", COLUMN_RIGHT},
                {"STAGED", COLUMN_RIGHT},
                {"SIGNED", 0},
                {"KEYS", COLUMN_RIGHT | COLUMN_OPTIONAL},
                {"EXPIRES", 0},
                {"TARGETS", COLUMN_RIGHT},
                {"CAN STILL SIGN", COLUMN_SHRINK},
        };
        const struct status_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(tuf_publisher_freep) struct tuf_publisher *p = NULL;
        _cleanup_(columns_freep) struct columns *t = columns_new(columns, ARRAY_SIZE(columns));
        _cleanup_(json_decrefp) json_t *all = json_array();
        enum output output = output_from_text(s->output);
        bool json = output == OUTPUT_JSON || output == OUTPUT_YAML;
        if (repo_open(&s->repo, true, &p, &err) < 0)
                return cli_fail(err);
        int r = !t || !all ? -ENOMEM
                           : tuf_publisher_each_role(p, json ? put_role_json : put_role_row,
                                                     json ? (void *)all : t);
        if (r < 0) {
                (void)err_set_errno(&err, -r, "list roles");
                return cli_fail(err);
        }
        int code = json ? print_json(all, output) : print_columns(t, output == OUTPUT_WIDE);
        repo_warn_of_expiry(p);
        return code;
}

const struct command_spec repo_status_command = {
        .name = "repo status",
        .arguments = "",
        .summary = "Show a repository's roles: what is public, what is staged, what is missing",
        .options = status_options,
        .settings_size = sizeof(struct status_settings),
        .run = run_status,
};

/* ---- verify */

struct verify_settings {
        struct repo_globals repo;
        char *root, *output;
        bool metadata_only;
};
static const struct option_spec verify_options[] = {
        REPO_OPTIONS,
        {"trusted-root", 0, OPTION_STRING, offsetof(struct verify_settings, root), "FILE", NULL,
         "The root.json that nodes were given (default: the folder's own 1.root.json)"},
        {"metadata-only", 0, OPTION_BOOL, offsetof(struct verify_settings, metadata_only), NULL, NULL,
         "Do not read the targets through; look only at their lengths"},
        {"output", 'o', OPTION_CHOICE, offsetof(struct verify_settings, output), "FORMAT", "table",
         "How to print", "table,json,yaml"},
        OPTIONS_END,
};

static int show_verified(const struct tuf_verify_result *v, enum output output) {
        char bytes[32], when[48];
        if (output == OUTPUT_TABLE) {
                printf("Good: %zu roles (root %lld, timestamp %lld, snapshot %lld, targets %lld), %zu "
                       "targets, %s; %s "
                       "expires first, %s.\n",
                       v->roles, (long long)v->root, (long long)v->timestamp, (long long)v->snapshot,
                       (long long)v->targets, v->files, bytes_format(v->bytes, bytes, sizeof(bytes)),
                       v->expires_role, repo_expiry_text(v->expires_s, when, sizeof(when)));
                return EXIT_SUCCESS;
        }
        char text[TUF_TIME_SIZE];
        _cleanup_(json_decrefp) json_t *j =
                json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s}", "root", (json_int_t)v->root,
                          "timestamp", (json_int_t)v->timestamp, "snapshot", (json_int_t)v->snapshot,
                          "targets", (json_int_t)v->targets, "roles", (json_int_t)v->roles, "files",
                          (json_int_t)v->files, "bytes", (json_int_t)v->bytes, "expires",
                          tuf_time_format(v->expires_s, text), "expiresRole", v->expires_role);
        return j ? print_json(j, output) : EXIT_FAILURE;
}

/* What was published, also where FOLDER is the work folder that it was published from. */
static char *published_folder(const char *folder) {
        _cleanup_(x_freep) char *settings = str_format("%s/repository.json", folder);
        return settings && access(settings, F_OK) == 0 ? str_format("%s/public", folder) : str_dup(folder);
}

static int run_verify(void *settings, char **arguments, size_t n) {
        const struct verify_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *root = NULL;
        _cleanup_(x_freep) char *folder = published_folder(n > 0 ? arguments[0] : s->repo.repository);
        struct tuf_verify_result result = {0};
        size_t len = 0;
        if (!folder || (s->root && repo_read(s->root, TUF_ROOT_MAX, &root, &len, &err) < 0))
                return cli_fail(err);
        const struct tuf_verify_options o = {.now_s = clock_wall_ms(clock_system()) / 1000,
                                             .trusted_root = root,
                                             .trusted_root_len = len,
                                             .metadata_only = s->metadata_only};
        if (tuf_verify_folder(folder, &o, &result, &err) < 0)
                return cli_fail(err);
        return show_verified(&result, output_from_text(s->output));
}

const struct command_spec repo_verify_command = {
        .name = "repo verify",
        .arguments = "[FOLDER]",
        .summary = "Check a published folder as a node would",
        .details =
                "FOLDER is a published folder, a copy of one, or the work folder that it was published from "
                "(default: DIR). All metadata is "
                "verified from "
                "the root on, and every target's length and digest.",
        .options = verify_options,
        .settings_size = sizeof(struct verify_settings),
        .max_arguments = 1,
        .completes = "dir",
        .run = run_verify,
};

/* ---- root */

static const struct option_spec root_options[] = {REPO_OPTIONS, OPTIONS_END};

static int run_root(void *settings, char **arguments, size_t n) {
        const struct repo_globals *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(tuf_publisher_freep) struct tuf_publisher *p = NULL;
        _cleanup_(x_freep) char *data = NULL;
        size_t len = 0;
        if (repo_open(s, true, &p, &err) < 0 || tuf_publisher_root(p, &data, &len, &err) < 0 ||
            repo_write(n > 0 ? arguments[0] : NULL, data, len, &err) < 0)
                return cli_fail(err);
        return EXIT_SUCCESS;
}

const struct command_spec repo_root_command = {
        .name = "repo root",
        .arguments = "[FILE]",
        .summary = "Write the newest public root, which nodes are given to begin with",
        .options = root_options,
        .settings_size = sizeof(struct repo_globals),
        .max_arguments = 1,
        .completes = "file",
        .run = run_root,
};
