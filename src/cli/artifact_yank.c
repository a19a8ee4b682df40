/* SPDX-License-Identifier: Apache-2.0 */
/* skerry artifact yank: a signed step forward to the good version, never a silent step back. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "cli/artifact.h"
#include "codec/json.h"

struct settings {
        struct repo_globals globals;
        char *use, *reason;
        bool no_publish;
};
static const struct option_spec options[] = {
        REPO_OPTIONS,
        {"use", 'u', OPTION_STRING, offsetof(struct settings, use), "VERSION", NULL,
         "The good version, which is published again under a higher release counter", .required = true},
        {"reason", 0, OPTION_STRING, offsetof(struct settings, reason), "TEXT", NULL, "Why, for people"},
        {"no-publish", 0, OPTION_BOOL, offsetof(struct settings, no_publish), NULL, NULL,
         "Stage it only; 'skerry repo publish' makes it public"},
        REPO_KEY_OPTIONS,
        OPTIONS_END,
};

static int restate(struct artifact_set *set, struct artifact *a, const char *role, struct err **err) {
        _cleanup_(x_freep) char *target = artifact_target_path(a->name, a->version, a->platform);
        _cleanup_json_ json_t *custom = artifact_custom(a);
        struct artifact *checked = NULL;
        if (!target || !custom)
                return err_set(err, EINVAL, "the reason is not UTF-8");
        /* What a node would refuse is not signed. */
        int r = artifact_from_target(target, a->length, a->sha256, custom, &checked, err);
        artifact_free(checked);
        return r < 0 ? r : tuf_publisher_set_custom(set->publisher, target, TAKE_PTR(custom), role, err);
}

static int yank(const struct settings *s, struct artifact_set *set, const char *name, const char *version,
                struct err **err) {
        _cleanup_(x_freep) const struct artifact **bad = NULL, **good = NULL;
        size_t n_bad = 0, n_good = 0;
        if (str_eq(version, s->use))
                return err_set(err, EINVAL, "a version cannot replace itself: --use names a good one");
        int r = artifact_set_find(set, name, version, &bad, &n_bad, err);
        if (r == 0)
                r = artifact_set_find(set, name, s->use, &good, &n_good, err);
        if (r < 0 || !good)
                return r;
        if (good[0]->yanked)
                return err_set(err, EINVAL, "%s:%s was yanked itself; --use names a good one", name, s->use);
        for (size_t i = 0; i < n_bad; i++)
                if (!artifact_of_platform(good, n_good, bad[i]->platform))
                        fprintf(stderr,
                                "skerry: %s:%s has nothing for %s; nodes of that platform stay on what they "
                                "have\n",
                                name, s->use, bad[i]->platform);
        int64_t counter = artifact_highest_counter(set, name) + 1;
        for (size_t i = 0; r == 0 && i < set->n; i++) {
                struct artifact *a = set->all[i];
                bool is_bad = str_eq(a->name, name) && str_eq(a->version, version);
                bool is_good = str_eq(a->name, name) && str_eq(a->version, s->use);
                if (!is_bad && !is_good)
                        continue;
                if (is_bad) {
                        a->yanked = true;
                        if (str_replace(&a->replaced_by, s->use) < 0 ||
                            str_replace(&a->reason, s->reason) < 0)
                                return err_set_errno(err, ENOMEM, "yank");
                } else {
                        a->release_counter = counter;
                }
                r = restate(set, a, set->roles[i], err);
        }
        return r;
}

static int run(void *settings, char **arguments, size_t n) {
        const struct settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(artifact_set_freep) struct artifact_set *set = NULL;
        _cleanup_(x_freep) char *name = NULL, *version = NULL, *what = NULL;
        if (artifact_reference_parse(arguments[0], &name, &version, &err) < 0)
                return cli_usage("artifact yank", "%s", err_message(err));
        if (artifact_set_open(&s->globals, false, &set, &err) < 0)
                return cli_fail(err);
        if (yank(s, set, name, version, &err) < 0) {
                (void)err_wrap(&err, "yank %s", arguments[0]);
                return cli_fail(err);
        }
        what = str_format("The end of %s, with %s:%s in its place,", arguments[0], name, s->use);
        if (!what)
                return EXIT_FAILURE;
        if (s->no_publish) {
                printf("%s is staged; 'skerry repo publish' makes it public.\n", what);
                return EXIT_SUCCESS;
        }
        return artifact_publish(set, what);
}

const struct command_spec artifact_yank_command = {
        .name = "artifact yank",
        .arguments = "NAME:VERSION",
        .summary = "Take a bad version back, in favour of a good one",
        .details = "The version stays in the repository, marked as yanked and replaced. The good version is "
                   "published again, "
                   "the same bytes under a release counter higher than all before: so nodes go forward to "
                   "it, and no node "
                   "can be made to step back by replaying old metadata.",
        .options = options,
        .settings_size = sizeof(struct settings),
        .min_arguments = 1,
        .max_arguments = 1,
        .completes = "-",
        .run = run,
};
