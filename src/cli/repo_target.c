/* SPDX-License-Identifier: Apache-2.0 */
/* skerry repo add | remove: targets of any kind. Artifacts have `skerry artifact push`. */
#include <errno.h>
#include <stdio.h>

#include "base/str.h"
#include "cli/repo.h"
#include "codec/json.h"

#define CUSTOM_MAX ((size_t)256 * 1024)

struct settings {
        struct repo_globals repo;
        char *role, *custom;
};

static const struct option_spec add_options[] = {
        REPO_OPTIONS,
        {"role", 0, OPTION_STRING, offsetof(struct settings, role), "ROLE", "targets",
         "The role that vouches for it"},
        {"custom", 0, OPTION_STRING, offsetof(struct settings, custom), "FILE", NULL,
         "File with a JSON object that is signed along, as the target's 'custom'"},
        OPTIONS_END,
};

static int run_add(void *settings, char **arguments, size_t n) {
        const struct settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(tuf_publisher_freep) struct tuf_publisher *p = NULL;
        _cleanup_(x_freep) char *text = NULL;
        _cleanup_json_ json_t *custom = NULL;
        size_t len = 0;
        if (s->custom && (repo_read(s->custom, CUSTOM_MAX, &text, &len, &err) < 0 ||
                          json_decode(text, len, &custom, &err) < 0)) {
                (void)err_wrap(&err, "%s", s->custom);
                return cli_fail(err);
        }
        if (custom && !json_is_object(custom))
                return cli_usage("repo add", "%s does not hold a JSON object", s->custom);
        if (repo_open(&s->repo, false, &p, &err) < 0 ||
            tuf_publisher_add_target(p, arguments[0], arguments[1], TAKE_PTR(custom), s->role, false, &err) <
                    0)
                return cli_fail(err);
        printf("%s is staged in role %s; 'skerry repo publish' makes it public.\n", arguments[0], s->role);
        return EXIT_SUCCESS;
}

const struct command_spec repo_add_command = {
        .name = "repo add",
        .arguments = "TARGET FILE",
        .summary = "Add a file to a repository, or replace it, under a target path",
        .details = "The file is copied. Nothing is public before 'skerry repo publish'.",
        .options = add_options,
        .settings_size = sizeof(struct settings),
        .min_arguments = 2,
        .max_arguments = 2,
        .completes = "- file",
        .run = run_add,
};

static const struct option_spec remove_options[] = {
        REPO_OPTIONS,
        {"role", 0, OPTION_STRING, offsetof(struct settings, role), "ROLE", NULL,
         "The role to take it out of (default: the one that lists it)"},
        OPTIONS_END,
};

static int run_remove(void *settings, char **arguments, size_t n) {
        const struct settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(tuf_publisher_freep) struct tuf_publisher *p = NULL;
        if (repo_open(&s->repo, false, &p, &err) < 0)
                return cli_fail(err);
        for (size_t i = 0; i < n; i++) {
                if (tuf_publisher_remove_target(p, arguments[i], s->role, &err) < 0)
                        return cli_fail(err);
                printf("%s is taken out, staged; 'skerry repo publish' makes that public.\n", arguments[i]);
        }
        return EXIT_SUCCESS;
}

const struct command_spec repo_remove_command = {
        .name = "repo remove",
        .arguments = "TARGET...",
        .summary = "Take targets out of a repository",
        .details = "The files stay until 'skerry repo publish --sweep'. For an artifact that nodes run "
                   "'skerry artifact "
                   "yank' says what they shall run instead.",
        .options = remove_options,
        .settings_size = sizeof(struct settings),
        .min_arguments = 1,
        .max_arguments = SIZE_MAX,
        .completes = "-",
        .run = run_remove,
};
