/* SPDX-License-Identifier: Apache-2.0 */
/* skerry __complete WHAT [ARGUMENT...]: candidates for the shell, one a line. Quiet about every failure,
 * since it runs while somebody types. */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "cli/kinds.h"
#include "codec/json.h"

struct settings {
        struct cli_globals globals;
};

static void complete_kinds(void) {
        for (size_t i = 0; kind_at(i); i++)
                printf("%s\n%s\n", kind_at(i)->plural, kind_at(i)->singular);
}

static void complete_contexts(const struct cli_globals *g) {
        _cleanup_(context_file_done) struct context_file f = {0};
        _cleanup_(x_freep) char *path = NULL;
        if (context_file_path(g, &path, NULL) < 0 || context_file_load(path, &f, NULL) < 0)
                return;
        for (size_t i = 0; i < f.n; i++)
                puts(f.items[i].name);
}

static void complete_names(const struct cli_globals *g, const struct kind *k) {
        _cleanup_(api_freep) struct api *api = NULL;
        _cleanup_json_ json_t *list = NULL;
        size_t i;
        json_t *o;
        if (api_open(g, &api, NULL) < 0 || kind_list(api, k, "", &list, NULL) < 0)
                return;
        bool rollouts = str_eq(k->plural, "rollouts");
        json_array_foreach ((json_t *)field(list, "items"), i, o) {
                _cleanup_(buf_done) struct buf name = BUF_INIT;
                text_put_safe(&name, object_name(o));
                puts(buf_str(&name));
                /* Their fleets are easier to type, and do as well. */
                if (rollouts)
                        puts(field_text(o, "spec.fleet"));
        }
}

static int run(void *settings, char **arguments, size_t n) {
        const struct settings *s = settings;
        const char *what = arguments[0];
        if (str_eq(what, "kinds")) {
                complete_kinds();
                return EXIT_SUCCESS;
        }
        if (str_eq(what, "contexts")) {
                complete_contexts(&s->globals);
                return EXIT_SUCCESS;
        }
        /* "objects": the names of the kind that stands before. */
        if (str_eq(what, "objects"))
                what = n > 1 ? arguments[1] : "";
        const struct kind *k = kind_find(what, NULL);
        if (k)
                complete_names(&s->globals, k);
        return EXIT_SUCCESS;
}

static const struct option_spec options[] = {OPTIONS_END};

const struct command_spec complete_command = {
        "__complete",
        "WHAT [ARGUMENT...]",
        "Candidates for shell completion",
        NULL,
        options,
        sizeof(struct settings),
        1,
        SIZE_MAX,
        NULL,
        run,
};
