/* SPDX-License-Identifier: Apache-2.0 */
/* skerry version: ours, and the server's when there is one. */
#include "version.h"

#include <stdio.h>

#include "base/str.h"
#include "cli/kinds.h"
#include "codec/json.h"

struct settings {
        struct cli_globals globals;
        char *output;
        bool client;
};

static const struct option_spec options[] = {
        {"output", 'o', OPTION_CHOICE, offsetof(struct settings, output), "FORMAT", "table", "How to print",
         OUTPUT_CHOICES},
        {"client", 0, OPTION_BOOL, offsetof(struct settings, client), NULL, NULL, "Do not ask the server"},
        OPTIONS_END,
};

static int run(void *settings, char **arguments, size_t n) {
        const struct settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(api_freep) struct api *api = NULL;
        _cleanup_json_ json_t *answer = NULL;
        enum output output = output_from_text(s->output);
        if (!s->client && context_exists(&s->globals) && api_open(&s->globals, &api, &err) == 0)
                (void)api_call(api, "GET", "/version", NULL, &answer, &err);
        if (output == OUTPUT_JSON || output == OUTPUT_YAML) {
                _cleanup_json_ json_t *j =
                        json_pack("{s:{s:s}, s:O*}", "client", "version", SKERRY_VERSION, "server", answer);
                int code = j ? print_json(j, output) : EXIT_FAILURE;
                return err ? cli_fail(err) : code;
        }
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        buf_printf(&out, "Client  %s\n", SKERRY_VERSION);
        if (answer) {
                buf_puts(&out, "Server  ");
                text_put_safe(&out, field_text(answer, "version"));
                buf_printf(&out, " at %s, trust domain ", api_server(api));
                text_put_safe(&out, field_text(answer, "trustDomain"));
                buf_puts(&out, ", database ");
                text_put_safe(&out, field_text(answer, "database"));
                buf_putc(&out, '\n');
        }
        int code = print_buf(&out);
        return err ? cli_fail(err) : code;
}

const struct command_spec version_command = {
        "version", "",      "Show the version of this program and of the server",
        NULL,      options, sizeof(struct settings),
        0,         0,       NULL,
        run,
};
