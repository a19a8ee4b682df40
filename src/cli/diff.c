/* SPDX-License-Identifier: Apache-2.0 */
/* skerry diff: what lies between two commits, folders or revisions. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/plan_print.h"
#include "codec/json.h"

struct settings {
        struct cli_globals globals;
        char *dir, *path, *output;
        bool revisions;
};

static const struct option_spec options[] = {
        {"dir", 'C', OPTION_STRING, offsetof(struct settings, dir), "DIR", ".",
         "The clone that commits are looked up in"},
        {"path", 'p', OPTION_STRING, offsetof(struct settings, path), "FOLDER", NULL,
         "Where in the repository the fleet files are (default: everywhere)"},
        {"revisions", 0, OPTION_BOOL, offsetof(struct settings, revisions), NULL, NULL,
         "OLD and NEW are revisions on the server, of one fleet"},
        {"output", 'o', OPTION_CHOICE, offsetof(struct settings, output), "FORMAT", "table", "How to print",
         "table,json,yaml,markdown"},
        OPTIONS_END,
};

/* ---- commits */

/* Git's own words go to standard error, which is where they belong. */
static int unpack(const char *dir, const char *commit, const char *into, struct err **err) {
        static const char script[] =
                "id=$(git -C \"$1\" rev-parse --verify --quiet --end-of-options \"$2^{commit}\") || exit 3\n"
                "git -C \"$1\" archive --format=tar -o \"$3.tar\" \"$id\" || exit 4\n"
                "mkdir \"$3\" && tar -xf \"$3.tar\" -C \"$3\" && rm \"$3.tar\"";
        int status = 0;
        (void)fflush(NULL);
        pid_t pid = fork();
        if (pid < 0)
                return err_set_errno(err, errno, "start git");
        if (pid == 0) {
                (void)execl("/bin/sh", "sh", "-c", script, "sh", dir, commit, into, (char *)NULL);
                _exit(127);
        }
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return err_set_errno(err, errno, "wait for git");
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                return 0;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 3)
                return err_set(err, ENOENT, "%s is no folder, and no commit of the clone %s", commit, dir);
        return err_set(err, EIO, "the files of commit %s cannot be unpacked (are git and tar installed?)",
                       commit);
}

/* The folder with the fleet files of one side: given as it is, or unpacked below `store`. */
static int side_folder(const struct settings *s, const char *what, const char *store, const char *name,
                       char **ret, struct err **err) {
        bool is_folder = strchr(what, '/') && access(what, F_OK) == 0;
        _cleanup_(x_freep) char *root =
                is_folder || str_eq(what, ".") ? str_dup(what) : path_join(store, name);
        int r = root ? 0 : -ENOMEM;
        if (r == 0 && !is_folder && !str_eq(what, "."))
                r = unpack(s->dir, what, root, err);
        if (r < 0)
                return r;
        *ret = s->path ? path_join(root, s->path) : str_dup(root);
        if (!*ret)
                return -ENOMEM;
        return access(*ret, F_OK) == 0 ? 0 : err_set(err, ENOENT, "%s has no folder %s", what, s->path);
}

static int plan_commits(const struct settings *s, char **sides, const char *store, struct plan **ret,
                        struct err **err) {
        _cleanup_(plan_state_done) struct plan_state none = {0}, before = {0};
        _cleanup_(fleet_model_freep) struct fleet_model *model = NULL;
        _cleanup_(x_freep) char *old = NULL, *new = NULL;
        struct fleet_model *other = NULL;
        const struct plan_contents contents = {plan_state_read_object, &before};
        int r = side_folder(s, sides[0], store, "old", &old, err);
        if (r >= 0)
                r = side_folder(s, sides[1], store, "new", &new, err);
        if (r >= 0)
                r = plan_compile(old, &none, NULL, &other, err);
        if (r >= 0)
                r = plan_state_from_model(other, &before, err);
        if (r >= 0)
                r = plan_compile(new, &before, NULL, &model, err);
        if (r >= 0)
                r = plan_make_with_contents(model, before.before, before.n_before, before.nodes,
                                            before.n_nodes, &contents, ret, err);
        return r;
}

static int diff_commits(const struct settings *s, char **sides, struct plan **ret, struct err **err) {
        const char *place = getenv("TMPDIR");
        _cleanup_(x_freep) char *store =
                str_format("%s/skerry-diff-XXXXXX", place && *place ? place : "/tmp");
        if (!store)
                return -ENOMEM;
        if (!mkdtemp(store))
                return err_set_errno(err, errno, "make a folder for the files (%s)", store);
        int r = plan_commits(s, sides, store, ret, err);
        (void)path_remove(store, NULL);
        return r;
}

/* ---- revisions */

static int diff_revisions(const struct settings *s, char **sides, struct plan **ret, struct err **err) {
        _cleanup_(api_freep) struct api *api = NULL;
        _cleanup_(revision_freep) struct revision *old = NULL, *new = NULL;
        _cleanup_(x_freep) char *old_fleet = NULL, *new_fleet = NULL;
        int r = api_open(&s->globals, &api, err);
        if (r >= 0)
                r = plan_state_read_revision(api, sides[0], &old, &old_fleet, err);
        if (r >= 0)
                r = plan_state_read_revision(api, sides[1], &new, &new_fleet, err);
        if (r < 0)
                return r;
        if (!str_eq(old_fleet, new_fleet))
                return err_set(
                        err, EINVAL,
                        "%s is a revision of fleet %s, and %s one of fleet %s: they have nothing in common",
                        sides[0], old_fleet, sides[1], new_fleet);
        /* A repository of this one fleet, without nodes. */
        struct fleet_spec fleet = {.name = new_fleet, .revision = new};
        struct fleet_model model = {
                .arena = arena_new(0), .diagnostics = NULL, .fleets = &fleet, .n_fleets = 1};
        const struct plan_fleet_before before = {old_fleet, old};
        model.diagnostics = diagnostics_new();
        r = model.arena && model.diagnostics ? plan_make(&model, &before, 1, NULL, 0, ret, err) : -ENOMEM;
        diagnostics_free(model.diagnostics);
        arena_free(model.arena);
        return r;
}

static int run(void *settings, char **arguments, size_t n) {
        const struct settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(plan_freep) struct plan *plan = NULL;
        if (s->revisions && s->path)
                return cli_usage("diff", "--path goes with commits, not with --revisions");
        int r = s->revisions ? diff_revisions(s, arguments, &plan, &err)
                             : diff_commits(s, arguments, &plan, &err);
        return r < 0 ? cli_fail(err) : plan_print(plan, s->output, false);
}

const struct command_spec diff_command = {
        "diff",
        "OLD NEW",
        "Show what differs between two commits, for each fleet and app",
        "OLD and NEW are commits, branches or tags of the clone in DIR, or folders (with a / in their "
        "names). With "
        "--revisions they are revisions that the server made, by their first 8 or more digits. No server is "
        "asked "
        "otherwise, and nothing of the clone is changed.\n"
        "\n"
        "The exit code is 2 when there are differences, 0 when there are none, and 1 when they cannot be "
        "told.",
        options,
        sizeof(struct settings),
        2,
        2,
        "-",
        run,
};
