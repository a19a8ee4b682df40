/* SPDX-License-Identifier: Apache-2.0 */
/* skerry release: signs what a fleet repository compiles to, so that nodes take it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "cli/print.h"
#include "cli/repo.h"
#include "cli/repository.h"
#include "codec/json.h"
#include "fleet/catalog.h"

struct settings {
        struct repo_globals repo;
        char *role, **sign_with, **fleets, *output;
        bool again, no_way_back, dry_run, no_publish;
};

static const struct option_spec options[] = {
        REPO_OPTIONS,
        REPO_KEY_OPTIONS,
        {"fleet", 0, OPTION_STRINGS, offsetof(struct settings, fleets), "NAME", NULL,
         "Only this fleet; may be given again"},
        {"sign-with", 0, OPTION_STRINGS, offsetof(struct settings, sign_with), "KEY", NULL,
         "Sign with this key of the repository; may be given again (default: all that are at hand)"},
        {"role", 0, OPTION_STRING, offsetof(struct settings, role), "ROLE", NULL,
         "The role that vouches for revisions (default: revisions where it is delegated, else targets)"},
        {"again", 0, OPTION_BOOL, offsetof(struct settings, again), NULL, NULL,
         "Release what was released before, and is not the newest, anew: the only way back to it"},
        {"no-way-back", 0, OPTION_BOOL, offsetof(struct settings, no_way_back), NULL, NULL,
         "Nodes that took it take no earlier release any more, not even in an automatic rollback"},
        {"no-publish", 0, OPTION_BOOL, offsetof(struct settings, no_publish), NULL, NULL,
         "Sign it only; 'skerry repo publish' makes it public"},
        {"dry-run", 0, OPTION_BOOL, offsetof(struct settings, dry_run), NULL, NULL,
         "Say what would be released, and change nothing"},
        {"output", 'o', OPTION_CHOICE, offsetof(struct settings, output), "FORMAT", "table", "How to print",
         "table,json,yaml"},
        OPTIONS_END,
};

/* ---- the repository */

struct gathering {
        struct catalog *catalog;
        struct err **err;
};

static int gather(void *arg, const struct tuf_target *t) {
        struct gathering *g = arg;
        int r = catalog_add(g->catalog, t->path, t->length, t->sha256, t->custom, g->err);
        if (r == -EINVAL) { /* not of our making; nodes pass it over too */
                err_free(*g->err);
                *g->err = NULL;
                return 0;
        }
        return r;
}

/* Everything that is staged or public. */
static int read_catalog(struct tuf_publisher *p, struct catalog **ret, struct err **err) {
        _cleanup_(catalog_unrefp) struct catalog *c = catalog_new();
        struct gathering g = {c, err};
        if (!c)
                return err_set_errno(err, ENOMEM, "read the repository");
        int r = tuf_publisher_each(p, NULL, gather, &g);
        if (r < 0)
                return r;
        catalog_seal(c);
        *ret = TAKE_PTR(c);
        return 0;
}

struct role_search {
        const char *name;
        bool found;
        struct tuf_publisher_role role; /* its texts are the publisher's */
};

static int match_role(void *arg, const struct tuf_publisher_role *r) {
        struct role_search *s = arg;
        if (str_eq(r->name, s->name)) {
                s->found = true;
                s->role = *r;
        }
        return 0;
}

/* *ret_staged: a version of it is being edited, or gathers signatures. */
static int choose_role(struct tuf_publisher *p, const char *wanted, const char **ret, bool *ret_staged,
                       struct err **err) {
        struct role_search s = {.name = wanted ? wanted : "revisions"};
        int r = tuf_publisher_each_role(p, match_role, &s);
        if (r < 0)
                return r;
        if (wanted && !s.found)
                return err_set(err, ENOENT,
                               "the repository has no role %s: skerry repo delegate %s --key KEY --path "
                               "'revisions/*/*' makes one",
                               wanted, wanted);
        if (!s.found) {
                s.name = "targets";
                r = tuf_publisher_each_role(p, match_role, &s);
        }
        *ret = s.name;
        *ret_staged = s.found && s.role.staged > 0;
        return r;
}

/* ---- what there is to release */

struct release {
        const struct fleet_spec *fleet;
        int64_t counter, newest;
        bool is_new;
};

/* The server compiles the same files to the same bytes: what they are called where, and which nodes there
 * are, is no part of a revision. */
static int compile(const char *dir, const struct catalog *catalog, struct fleet_model **ret,
                   struct err **err) {
        struct fleet_model *m = NULL;
        int r = repository_compile_with(
                dir, &(struct fleet_compile_options){.check_artifacts = true, .catalog = catalog}, &m, err);
        if (r < 0)
                return r;
        size_t errors = diagnostics_errors(m->diagnostics);
        if (diagnostics_len(m->diagnostics) > 0) {
                _cleanup_(buf_done) struct buf out = BUF_INIT;
                const struct diagnostics_look look = diagnostics_look_of(STDERR_FILENO, dir);
                repository_put_diagnostics(&out, m->diagnostics, &look);
                fputs(buf_str(&out), stderr);
        }
        if (errors > 0) {
                fleet_model_free(m);
                return err_set(err, EINVAL, "%s has %zu error%s: nothing is released", dir, errors,
                               errors == 1 ? "" : "s");
        }
        *ret = m;
        return 0;
}

static int choose_releases(const struct settings *s, const struct fleet_model *m,
                           const struct catalog *catalog, struct release **ret, size_t *ret_n,
                           struct err **err) {
        _cleanup_(x_freep) struct release *list = calloc(m->n_fleets + 1, sizeof *list);
        size_t n = 0;
        if (!list)
                return err_set_errno(err, ENOMEM, "release");
        for (size_t i = 0; s->fleets && s->fleets[i]; i++)
                if (!fleet_model_fleet(m, s->fleets[i]))
                        return err_set(err, ENOENT, "--fleet: there is no fleet %s", s->fleets[i]);
        for (size_t i = 0; i < m->n_fleets; i++) {
                const struct fleet_spec *f = &m->fleets[i];
                if (s->fleets && !strv_has(s->fleets, f->name))
                        continue;
                bool there =
                        catalog_has_revision(catalog, f->name, f->revision->digest, (int64_t)f->revision_len);
                int64_t newest = catalog_release_counter(catalog, f->name),
                        counter = catalog_revision_counter(catalog, f->name, f->revision->digest);
                bool is_new = !there || (s->again && counter < newest);
                list[n++] = (struct release){f, is_new ? newest + 1 : counter, newest, is_new};
        }
        *ret = TAKE_PTR(list);
        *ret_n = n;
        return 0;
}

static int stage(struct tuf_publisher *p, const char *role, const struct release *r, bool no_way_back,
                 struct err **err) {
        _cleanup_(x_freep) char *path =
                str_format("revisions/%s/%s.json", r->fleet->name, r->fleet->revision->digest);
        json_t *custom = json_pack("{s:{s:s, s:s, s:I}}", "skerry", "kind", "revision", "fleet",
                                   r->fleet->name, "releaseCounter", (json_int_t)r->counter);
        if (!path || !custom ||
            (no_way_back && json_object_set_new(json_object_get(custom, "skerry"), "lowestCounter",
                                                json_integer(r->counter)) < 0)) {
                json_decref(custom);
                return err_set_errno(err, ENOMEM, "release");
        }
        return tuf_publisher_add_target_bytes(p, path, r->fleet->revision_json, r->fleet->revision_len,
                                              custom, role, err);
}

/* ---- the whole */

struct outcome {
        const char *role;
        size_t n_new;
        bool was_staged, published;
        char *missing; /* why it is not, in words */
};

static int sign_and_publish(const struct settings *s, struct tuf_publisher *p, struct outcome *o,
                            struct err **err) {
        _cleanup_(err_freep) struct err *why = NULL;
        size_t made = 0;
        int r = tuf_publisher_sign(p, o->role, (const char *const *)s->sign_with, strv_len(s->sign_with),
                                   &made, err);
        if (r < 0)
                return r;
        if (s->no_publish)
                return 0;
        r = tuf_publisher_publish(p, NULL, &why);
        if (r == -ENOKEY) { /* others sign it after us */
                o->missing = str_dup(err_message(why));
                return o->missing ? 0 : err_set_errno(err, ENOMEM, "release");
        }
        if (r < 0) {
                *err = TAKE_PTR(why);
                return r;
        }
        o->published = true;
        return 0;
}

static const char *state_of(const struct settings *s, const struct release *r, const struct outcome *o) {
        return !r->is_new && !o->was_staged ? "released before"
               : s->dry_run                 ? "would be released"
               : o->published               ? "released"
                                            : "staged";
}

static int print_result(const struct settings *s, const struct release *list, size_t n,
                        const struct outcome *o) {
        enum output output = output_from_text(s->output);
        if (output == OUTPUT_JSON || output == OUTPUT_YAML) {
                _cleanup_json_ json_t *items = json_array(), *j = NULL;
                for (size_t i = 0; i < n; i++)
                        (void)json_array_append_new(
                                items,
                                json_pack("{s:s, s:s, s:I, s:I, s:s}", "fleet", list[i].fleet->name,
                                          "revision", list[i].fleet->revision->digest, "length",
                                          (json_int_t)list[i].fleet->revision_len, "releaseCounter",
                                          (json_int_t)list[i].counter, "state", state_of(s, &list[i], o)));
                j = json_pack("{s:s, s:b, s:s?, s:O}", "role", o->role, "published", (int)o->published,
                              "missing", o->missing, "releases", items);
                return j ? print_json(j, output) : EXIT_FAILURE;
        }
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        for (size_t i = 0; i < n; i++) {
                buf_printf(&out, "fleet %s: revision %.12s, release %lld: %s\n", list[i].fleet->name,
                           list[i].fleet->revision->digest, (long long)list[i].counter,
                           state_of(s, &list[i], o));
                if (list[i].counter < list[i].newest)
                        buf_printf(&out,
                                   "Release %lld came after it, so nodes may refuse it; --again releases it "
                                   "as number %lld.\n",
                                   (long long)list[i].newest, (long long)list[i].newest + 1);
        }
        if (n == 0)
                buf_puts(&out, "There is no fleet to release.\n");
        if (o->missing)
                buf_printf(&out,
                           "Not public yet: %s\nOthers go on with 'skerry repo prepare %s' or 'skerry repo "
                           "sign', "
                           "and 'skerry repo publish'.\n",
                           o->missing, o->role);
        else if (s->no_publish && o->n_new > 0)
                buf_puts(&out, "Not public yet: 'skerry repo publish' makes it so.\n");
        return print_buf(&out);
}

static int release(const struct settings *s, const char *dir, int *ret_code, struct err **err) {
        _cleanup_(tuf_publisher_freep) struct tuf_publisher *p = NULL;
        _cleanup_(catalog_unrefp) struct catalog *catalog = NULL;
        _cleanup_(fleet_model_freep) struct fleet_model *model = NULL;
        _cleanup_(x_freep) struct release *list = NULL;
        struct outcome outcome = {0};
        size_t n = 0;
        int r = repo_open(&s->repo, s->dry_run, &p, err);
        if (r == 0)
                r = choose_role(p, s->role, &outcome.role, &outcome.was_staged, err);
        if (r == 0)
                r = read_catalog(p, &catalog, err);
        if (r == 0)
                r = compile(dir, catalog, &model, err);
        if (r == 0)
                r = choose_releases(s, model, catalog, &list, &n, err);
        for (size_t i = 0; i < n && r == 0; i++) {
                outcome.n_new += list[i].is_new;
                if (list[i].is_new && !s->dry_run)
                        r = stage(p, outcome.role, &list[i], s->no_way_back, err);
        }
        if (r == 0 && !s->dry_run && (outcome.n_new > 0 || outcome.was_staged))
                r = sign_and_publish(s, p, &outcome, err);
        if (r < 0)
                return r;
        *ret_code = print_result(s, list, n, &outcome);
        free(outcome.missing);
        return 0;
}

static int run(void *settings, char **arguments, size_t n) {
        _cleanup_(err_freep) struct err *err = NULL;
        int code = EXIT_SUCCESS;
        return release(settings, n ? arguments[0] : ".", &code, &err) < 0 ? cli_fail(err) : code;
}

const struct command_spec release_command = {
        .name = "release",
        .arguments = "[DIR]",
        .summary = "Sign what a fleet repository compiles to",
        .details =
                "Compiles the fleet files beneath DIR (default: here), exactly as a server does, and lists "
                "each "
                "fleet's revision in the artifact repository, signed: nodes of a server with --trust "
                "release-key "
                "take no other. The release counter of each fleet rises. What was released before stays as "
                "it "
                "is, so the command may run on every commit.\n"
                "\n"
                "Nodes go back by three releases at most, which is what an automatic rollback may need, and "
                "never behind one that was made with --no-way-back. To return to an older commit run the "
                "command on it with --again.\n"
                "\n"
                "Where the role needs the signatures of several people, each runs it on the same commit with "
                "their "
                "own copy of the work folder, or the first stages it and the others go on with 'skerry repo "
                "prepare', 'sign' and 'submit'; it becomes public with the last signature.",
        .options = options,
        .settings_size = sizeof(struct settings),
        .max_arguments = 1,
        .completes = "dir",
        .run = run,
};
