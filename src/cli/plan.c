/* SPDX-License-Identifier: Apache-2.0 */
/* skerry plan: what a fleet repository would change, on which nodes, in which wave. */
#include <errno.h>
#include <stdio.h>

#include "base/str.h"
#include "base/terminal.h"
#include "cli/git_remote.h"
#include "cli/kinds.h"
#include "cli/plan_print.h"
#include "cli/plan_repository.h"
#include "cli/plan_state.h"
#include "cli/print.h"
#include "cli/repository.h"
#include "codec/json.h"
#include "fleet/plan.h"

struct settings {
        struct cli_globals globals;
        char *against, *source, *output;
        bool server, verbose;
};

static const struct option_spec options[] = {
        {"server", 's', OPTION_BOOL, offsetof(struct settings, server), NULL, NULL,
         "Compare with what the server has now"},
        {"source", 0, OPTION_STRING, offsetof(struct settings, source), "NAME", NULL,
         "With --server: the source that DIR stands for (default: the only one, or the one whose repository "
         "DIR "
         "is a clone of)",
         "@sources"},
        {"against", 'a', OPTION_STRING, offsetof(struct settings, against), "DIR", NULL,
         "Compare with another folder, as a checkout of the main branch"},
        {"verbose", 'v', OPTION_BOOL, offsetof(struct settings, verbose), NULL, NULL,
         "Show for each node how it would get each artifact"},
        {"output", 'o', OPTION_CHOICE, offsetof(struct settings, output), "FORMAT", "table", "How to print",
         "table,json,yaml,markdown"},
        OPTIONS_END,
};

int plan_compile(const char *dir, const struct plan_state *state, const struct plan_offers *offers,
                 struct fleet_model **ret, struct err **err) {
        const struct fleet_compile_options known = {.inventory = state->inventory,
                                                    .n_inventory = state->inventory ? state->n_nodes : 0,
                                                    .check_artifacts = state->api != NULL,
                                                    .catalog = offers ? plan_offers_catalog(offers) : NULL};
        struct fleet_model *m = NULL;
        int r = repository_compile_with(dir, &known, &m, err);
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
                return err_set(err, EINVAL, "%s has %zu error%s: there is nothing to plan until it is valid",
                               dir, errors, errors == 1 ? "" : "s");
        }
        *ret = m;
        return 0;
}

static int read_server(const struct settings *s, const char *dir, struct plan_state *state, bool *ret_unclear,
                       struct err **err) {
        _cleanup_(api_freep) struct api *api = NULL;
        _cleanup_json_ json_t *sources = NULL;
        const char *source = NULL;
        int r = api_open(&s->globals, &api, err);
        if (r == 0)
                r = kind_list(api, kind_find("sources", NULL), "", &sources, err);
        if (r < 0)
                return r;
        r = git_choose_source(sources, s->source, dir, &source, err);
        if (r < 0) {
                *ret_unclear = r == -EINVAL;
                return r;
        }
        return plan_state_from_server(TAKE_PTR(api), source, state, err);
}

/* *ret_unclear: the user has to say more. */
static int read_state(const struct settings *s, const char *dir, struct plan_state *state, bool *ret_unclear,
                      struct err **err) {
        struct fleet_model *other = NULL;
        if (s->server)
                return read_server(s, dir, state, ret_unclear, err);
        if (!s->against)
                return 0;
        int r = plan_compile(s->against, state, NULL, &other, err);
        return r < 0 ? r : plan_state_from_model(other, state, err);
}

int plan_print(const struct plan *plan, const char *format, bool verbose) {
        bool markdown = str_eq(format, "markdown");
        enum output output = markdown ? OUTPUT_TABLE : output_from_text(format);
        int code;
        if (output == OUTPUT_JSON || output == OUTPUT_YAML) {
                _cleanup_json_ json_t *j = plan_to_json(plan);
                code = j ? print_json(j, output) : EXIT_FAILURE;
        } else if (markdown) {
                _cleanup_(buf_done) struct buf out = BUF_INIT;
                plan_format_markdown(plan, &out);
                code = print_buf(&out);
        } else if (plan_is_empty(plan)) {
                puts("No changes.");
                code = EXIT_SUCCESS;
        } else {
                _cleanup_(buf_done) struct buf out = BUF_INIT;
                (verbose ? plan_format_nodes
                         : plan_format)(plan, terminal_has_colour(STDOUT_FILENO),
                                        isatty(STDOUT_FILENO) == 1 ? terminal_width(STDOUT_FILENO) : 0, &out);
                code = print_buf(&out);
        }
        if (code != EXIT_SUCCESS)
                return code;
        return plan_is_empty(plan) ? EXIT_SUCCESS : EXIT_CHANGES;
}

static int run(void *settings, char **arguments, size_t n) {
        const struct settings *s = settings;
        const char *dir = n ? arguments[0] : ".";
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(plan_state_done) struct plan_state state = {0};
        _cleanup_(fleet_model_freep) struct fleet_model *model = NULL;
        _cleanup_(plan_freep) struct plan *plan = NULL;
        _cleanup_(plan_offers_freep) struct plan_offers *offers = NULL;
        const struct plan_contents contents = {plan_state_read_object, &state};
        struct plan_sources sources = {.contents = &contents};
        struct plan_repository repository;
        if (s->server && s->against)
                return cli_usage("plan", "--server and --against are two things to compare with; choose one");
        if (s->source && !s->server)
                return cli_usage("plan",
                                 "--source says what of the server's to compare with; give --server too");
        bool unclear = false;
        if (read_state(s, dir, &state, &unclear, &err) < 0)
                return unclear ? cli_usage("plan", "%s", err_message(err)) : cli_fail(err);
        if (state.api && plan_offers_read(state.api, &offers, &err) < 0)
                return cli_fail(err);
        if (offers) {
                repository = plan_offers_repository(offers);
                sources.repository = &repository;
        }
        if (plan_compile(dir, &state, offers, &model, &err) < 0 ||
            plan_make_with(model, state.before, state.n_before, state.nodes, state.n_nodes, &sources, &plan,
                           &err) < 0)
                return cli_fail(err);

        return plan_print(plan, s->output, s->verbose);
}

const struct command_spec plan_command = {
        "plan",
        "[DIR]",
        "Show what a fleet repository would change",
        "Compiles the fleet files beneath DIR (default: here) and shows, for each fleet, what differs in its "
        "apps, files"
        " and variables, which nodes that concerns, and in which wave each gets it. Without --server or "
        "--against"
        " everything is new. With --server only the fleets of one source are looked at, and only the nodes "
        "that "
        "no fleet of another source owns; where the server has an artifact repository, each wave says how "
        "its "
        "nodes would get their artifacts, and in how many bytes.\n"
        "\n"
        "-o markdown is for comments on pull requests: a table of the fleets, and the whole plan folded "
        "below it.\n"
        "\n"
        "The exit code is 2 when there are changes, 0 when there are none, and 1 when the files are not "
        "valid or the"
        " plan cannot be made.",
        options,
        sizeof(struct settings),
        0,
        1,
        "dir",
        run,
};
