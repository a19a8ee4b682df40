/* SPDX-License-Identifier: Apache-2.0 */
/* skerry repo delegate | rotate: who signs what, and for how long. */
#include <errno.h>
#include <stdio.h>

#include "base/str.h"
#include "cli/repo.h"

struct delegate_settings {
        struct repo_globals repo;
        char *by, **keys, **paths, **prefixes;
        int64_t threshold;
        bool terminating, withdraw;
};

static const struct option_spec delegate_options[] = {
        REPO_OPTIONS,
        {"key", 'k', OPTION_STRINGS, offsetof(struct delegate_settings, keys), "NAME", NULL,
         "A key that signs the role; may be repeated"},
        {"threshold", 0, OPTION_INT, offsetof(struct delegate_settings, threshold), "N", "1",
         "How many of the keys must sign"},
        {"path", 'p', OPTION_STRINGS, offsetof(struct delegate_settings, paths), "PATTERN", NULL,
         "Target paths it may name; '*' and '?' stand for anything but '/'; may be repeated"},
        {"hash-prefix", 0, OPTION_STRINGS, offsetof(struct delegate_settings, prefixes), "HEX", NULL,
         "Instead of patterns: how the SHA-256 of a target path begins; may be repeated"},
        {"terminating", 0, OPTION_BOOL, offsetof(struct delegate_settings, terminating), NULL, NULL,
         "What the role does not list under these paths is in no other role either"},
        {"by", 0, OPTION_STRING, offsetof(struct delegate_settings, by), "ROLE", "targets",
         "The role that delegates"},
        {"withdraw", 0, OPTION_BOOL, offsetof(struct delegate_settings, withdraw), NULL, NULL,
         "Take the delegation back"},
        OPTIONS_END,
};

static int run_delegate(void *settings, char **arguments, size_t n) {
        const struct delegate_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(tuf_publisher_freep) struct tuf_publisher *p = NULL;
        const struct tuf_publisher_delegation d = {
                .name = arguments[0],
                .keys = (const char *const *)s->keys,
                .n_keys = strv_len(s->keys),
                .threshold = s->threshold,
                .paths = (const char *const *)s->paths,
                .n_paths = strv_len(s->paths),
                .hash_prefixes = (const char *const *)s->prefixes,
                .n_hash_prefixes = strv_len(s->prefixes),
                .terminating = s->terminating,
        };
        if (!s->withdraw && d.n_keys == 0)
                return cli_usage("repo delegate", "name a key that signs role %s: --key", d.name);
        if (repo_open(&s->repo, false, &p, &err) < 0)
                return cli_fail(err);
        int r = s->withdraw ? tuf_publisher_undelegate(p, s->by, d.name, &err)
                            : tuf_publisher_delegate(p, s->by, &d, &err);
        if (r < 0)
                return cli_fail(err);
        printf("%s %s to role %s, staged; 'skerry repo publish' makes it public.\n", s->by,
               s->withdraw ? "delegates no more" : "delegates", d.name);
        return EXIT_SUCCESS;
}

const struct command_spec repo_delegate_command = {
        .name = "repo delegate",
        .arguments = "ROLE",
        .summary = "Let other keys sign some of the targets",
        .details = "Adds the role, or changes its delegation; it then signs the targets under its paths, "
                   "with keys of its "
                   "own. A team can so publish its artifacts without a key that speaks for all others: "
                   "'skerry repo "
                   "prepare', 'sign' and 'submit' carry its metadata back and forth.",
        .options = delegate_options,
        .settings_size = sizeof(struct delegate_settings),
        .min_arguments = 1,
        .max_arguments = 1,
        .completes = "-",
        .run = run_delegate,
};

struct rotate_settings {
        struct repo_globals repo;
        char **add, **remove;
        int64_t threshold, expires;
};

static const struct option_spec rotate_options[] = {
        REPO_OPTIONS,
        {"add", 'a', OPTION_STRINGS, offsetof(struct rotate_settings, add), "NAME", NULL,
         "A key that signs the role from now on; may be repeated"},
        {"remove", 'd', OPTION_STRINGS, offsetof(struct rotate_settings, remove), "NAME", NULL,
         "A key that does so no more; may be repeated"},
        {"threshold", 0, OPTION_INT, offsetof(struct rotate_settings, threshold), "N", NULL,
         "How many of the keys must sign (default: as it is)"},
        {"expires", 0, OPTION_DURATION, offsetof(struct rotate_settings, expires), "DURATION", NULL,
         "How long new versions of the role are good for"},
        OPTIONS_END,
};

static int run_rotate(void *settings, char **arguments, size_t n) {
        const struct rotate_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(tuf_publisher_freep) struct tuf_publisher *p = NULL;
        bool keys = s->add || s->remove || s->threshold != 0;
        if (!keys && s->expires == 0)
                return cli_usage("repo rotate",
                                 "say what changes: --add, --remove, --threshold or --expires");
        if (s->threshold < 0)
                return cli_usage("repo rotate", "--threshold takes a number from 1");
        if (repo_open(&s->repo, false, &p, &err) < 0)
                return cli_fail(err);
        if (s->expires != 0 && tuf_publisher_set_expiry(p, arguments[0], s->expires / 1000, &err) < 0)
                return cli_fail(err);
        if (keys &&
            tuf_publisher_rotate(p, arguments[0], (const char *const *)s->add, strv_len(s->add),
                                 (const char *const *)s->remove, strv_len(s->remove), s->threshold, &err) < 0)
                return cli_fail(err);
        if (keys)
                printf("The keys of role %s change, staged; 'skerry repo publish' makes it public.\n",
                       arguments[0]);
        else
                printf("New versions of role %s have the new expiry time.\n", arguments[0]);
        return EXIT_SUCCESS;
}

const struct command_spec repo_rotate_command = {
        .name = "repo rotate",
        .arguments = "ROLE",
        .summary = "Change the keys of a role, its threshold or its expiry time",
        .details = "A new root is signed by the keys of the old and of the new one, so that every node can "
                   "follow; keep "
                   "an old key until the new root is public. Rotating the timestamp and snapshot keys also "
                   "makes nodes "
                   "forget the versions that were signed before: that is how a repository recovers from a "
                   "stolen key that "
                   "was used to sign very high versions, or from being restored out of a backup.",
        .options = rotate_options,
        .settings_size = sizeof(struct rotate_settings),
        .min_arguments = 1,
        .max_arguments = 1,
        .completes = "root,targets,snapshot,timestamp",
        .run = run_rotate,
};
