/* SPDX-License-Identifier: Apache-2.0 */
/* skerry token create | list | delete: join tokens, by which machines enrol. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "cli/kinds.h"
#include "cli/labels_argument.h"
#include "cli/reason.h"
#include "codec/json.h"

struct create_settings {
        struct cli_globals globals;
        char *kind, *labels, *name, *reason, *output;
        int64_t ttl, uses;
};

static const struct option_spec create_options[] = {
        {"kind", 'k', OPTION_CHOICE, offsetof(struct create_settings, kind), "KIND", "node",
         "What may join with it", "node,relay"},
        {"labels", 'l', OPTION_STRING, offsetof(struct create_settings, labels), "KEY=VALUE,...", NULL,
         "Labels that the joining nodes get"},
        {"ttl", 't', OPTION_DURATION, offsetof(struct create_settings, ttl), "DURATION", "1h",
         "How long it is good for"},
        {"uses", 'u', OPTION_INT, offsetof(struct create_settings, uses), "N", "1",
         "How many machines may join with it"},
        {"name", 'n', OPTION_STRING, offsetof(struct create_settings, name), "NAME", NULL,
         "The name the machine gets when it asks for none; for tokens of one use"},
        REASON_OPTION(struct create_settings),
        {"output", 'o', OPTION_CHOICE, offsetof(struct create_settings, output), "FORMAT", "table",
         "How to print; 'table' is the token alone", OUTPUT_CHOICES},
        OPTIONS_END,
};

static int run_create(void *settings, char **arguments, size_t n) {
        const struct create_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(api_freep) struct api *api = NULL;
        _cleanup_json_ json_t *body = NULL, *answer = NULL, *labels = json_object();
        _cleanup_(reason_done) struct reason why = {.given = s->reason};
        enum output output = output_from_text(s->output);
        if (s->uses < 1 || s->uses > 1000000)
                return cli_usage("token create", "--uses takes 1 to 1000000");
        if (s->ttl < 1000)
                return cli_usage("token create", "--ttl takes at least one second");
        if (s->name && s->uses != 1)
                return cli_usage("token create",
                                 "a token with a --name is for one machine: --uses must be 1");
        if (s->labels && labels_argument_parse(s->labels, labels, NULL, &err) < 0)
                return cli_usage("token create", "%s", err_message(err));
        if (labels)
                body = json_pack("{s:s, s:O, s:I, s:I, s:s*}", "kind", s->kind, "labels", labels,
                                 "ttlSeconds", (json_int_t)((s->ttl + 999) / 1000), "uses",
                                 (json_int_t)s->uses, "name", s->name);
        if (!body)
                return cli_usage("token create", "the name is not text");
        if (api_open(&s->globals, &api, &err) < 0 ||
            reason_call(api, "POST", "/tokens", body, &why, &answer, &err) < 0)
                return cli_fail(err);
        const char *text = field_text(answer, "status.token");
        if (!*text) {
                (void)err_set(&err, EPROTO, "the server made a token but did not tell it");
                return cli_fail(err);
        }
        if (output == OUTPUT_JSON || output == OUTPUT_YAML)
                return print_json(answer, output);
        if (output == OUTPUT_NAME) {
                printf("token/%s\n", object_name(answer));
                return EXIT_SUCCESS;
        }
        puts(text);
        if (isatty(STDERR_FILENO) == 1 && isatty(STDOUT_FILENO) == 1) {
                char ttl[32];
                fprintf(stderr, "Good for %lld %s%s during the next %s. It is shown only this once.\n",
                        (long long)s->uses, s->kind, s->uses == 1 ? "" : "s",
                        duration_format(s->ttl, ttl, sizeof(ttl)));
                fprintf(stderr,
                        "There: skerry-%s run --server https://THE-SERVER-OR-A-RELAY:PORT --token TOKEN\n",
                        str_eq(s->kind, "relay") ? "relay" : "agent");
        }
        return EXIT_SUCCESS;
}

const struct command_spec token_create_command = {
        "token create",
        "",
        "Make a token that lets machines join",
        "Prints the token, once; the server keeps only its hash. Give it to the agent or relay with --token "
        "or in a"
        " file. It ends in the pin by which the machine recognises its server.",
        create_options,
        sizeof(struct create_settings),
        0,
        0,
        NULL,
        run_create,
};

struct list_settings {
        struct cli_globals globals;
        char *output;
};
static const struct option_spec list_options[] = {
        {"output", 'o', OPTION_CHOICE, offsetof(struct list_settings, output), "FORMAT", "table",
         "How to print", OUTPUT_CHOICES},
        OPTIONS_END,
};

static int run_list(void *settings, char **arguments, size_t n) {
        const struct list_settings *s = settings;
        return list_kind(&s->globals, "tokens", "", s->output);
}

const struct command_spec token_list_command = {
        "token list",
        "",
        "List the join tokens",
        NULL,
        list_options,
        sizeof(struct list_settings),
        0,
        0,
        NULL,
        run_list,
};

struct delete_settings {
        struct cli_globals globals;
        char *reason;
};
static const struct option_spec delete_options[] = {REASON_OPTION(struct delete_settings), OPTIONS_END};

static int run_delete(void *settings, char **arguments, size_t n) {
        const struct delete_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(api_freep) struct api *api = NULL;
        _cleanup_(reason_done) struct reason why = {.given = s->reason};
        if (api_open(&s->globals, &api, &err) < 0)
                return cli_fail(err);
        for (size_t i = 0; i < n; i++) {
                _cleanup_(buf_done) struct buf path = BUF_INIT;
                buf_puts(&path, "/tokens/");
                url_put(&path, arguments[i]);
                if (reason_call(api, "DELETE", buf_str(&path), NULL, &why, NULL, &err) < 0) {
                        (void)err_wrap(&err, "delete token %s", arguments[i]);
                        return cli_fail(err);
                }
                printf("Token %s deleted: nobody joins with it any more.\n", arguments[i]);
        }
        return EXIT_SUCCESS;
}

const struct command_spec token_delete_command = {
        "token delete",
        "ID...",
        "Delete join tokens; machines that joined stay",
        NULL,
        delete_options,
        sizeof(struct delete_settings),
        1,
        SIZE_MAX,
        "tokens",
        run_delete,
};
