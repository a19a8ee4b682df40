/* SPDX-License-Identifier: Apache-2.0 */
/* skerry validate: everything that is wrong with a fleet repository, in one go. */
#include <errno.h>
#include <stdio.h>

#include "base/str.h"
#include "cli/print.h"
#include "cli/repository.h"
#include "codec/json.h"
#include "fleet/kinds.h"

struct settings {
        struct cli_globals globals;
        char *output;
        bool strict;
};

static const struct option_spec options[] = {
        {"output", 'o', OPTION_CHOICE, offsetof(struct settings, output), "FORMAT", "table", "How to print",
         "table,json,yaml"},
        {"strict", 0, OPTION_BOOL, offsetof(struct settings, strict), NULL, NULL,
         "Fail on warnings too, and where there is nothing to check"},
        OPTIONS_END,
};

static bool is_empty(const struct fleet_model *m) {
        return m->n_fleets + m->n_apps + m->n_nodes + m->n_policies == 0;
}

static int print_result(const char *dir, const struct fleet_model *m, bool failed, enum output output) {
        const struct diagnostics *d = m->diagnostics;
        size_t errors = diagnostics_errors(d), all = diagnostics_len(d);
        size_t warnings = 0;
        for (size_t i = 0; i < all; i++)
                warnings += diagnostics_at(d, i)->severity == SEVERITY_WARNING;
        if (output == OUTPUT_JSON || output == OUTPUT_YAML) {
                json_t *list = diagnostics_to_json(d);
                json_t *j = json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:o}", "valid", !failed, "errors",
                                      (json_int_t)errors, "warnings", (json_int_t)warnings, "fleets",
                                      (json_int_t)m->n_fleets, "apps", (json_int_t)m->n_apps, "nodes",
                                      (json_int_t)m->n_nodes, "diagnostics", list);
                int code = j ? print_json(j, output) : EXIT_FAILURE;
                json_decref(j);
                return code;
        }
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        const struct diagnostics_look look = diagnostics_look_of(STDOUT_FILENO, dir);
        repository_put_diagnostics(&out, d, &look);
        if (errors > 0 || (failed && !is_empty(m)))
                buf_printf(&out, "%zu error%s, %zu warning%s\n", errors, errors == 1 ? "" : "s", warnings,
                           warnings == 1 ? "" : "s");
        else if (is_empty(m))
                buf_printf(&out,
                           "Nothing to check: no file beneath %s says \"apiVersion: " FLEET_API_VERSION
                           "\". 'skerry init' begins a repository.\n",
                           dir);
        else
                buf_printf(&out, "Valid: %zu fleet%s, %zu app%s, %zu node%s%s.\n", m->n_fleets,
                           m->n_fleets == 1 ? "" : "s", m->n_apps, m->n_apps == 1 ? "" : "s", m->n_nodes,
                           m->n_nodes == 1 ? "" : "s", warnings ? "; see the warnings" : "");
        return print_buf(&out);
}

static int run(void *settings, char **arguments, size_t n) {
        const struct settings *s = settings;
        const char *dir = n ? arguments[0] : ".";
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(fleet_model_freep) struct fleet_model *model = NULL;
        if (repository_compile(dir, NULL, 0, &model, &err) < 0)
                return cli_fail(err);
        bool failed = diagnostics_errors(model->diagnostics) > 0 ||
                      (s->strict && (diagnostics_len(model->diagnostics) > 0 || is_empty(model)));
        int code = print_result(dir, model, failed, output_from_text(s->output));
        return failed ? EXIT_FAILURE : code;
}

const struct command_spec validate_command = {
        "validate",
        "[DIR]",
        "Check a fleet repository",
        "Compiles the fleet files beneath DIR (default: here) as the server would, and prints every fault "
        "with its place"
        " as file:line:column. Needs no server. The exit code is 1 when there are errors.",
        options,
        sizeof(struct settings),
        0,
        1,
        "dir",
        run,
};
