/* SPDX-License-Identifier: Apache-2.0 */
/* skerry context add | list | use | remove. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "cli/context.h"
#include "cli/print.h"
#include "crypto/token.h"

#define TOKEN_LIMIT 4096 /* bytes of a token file */

static int load(const struct cli_globals *g, struct context_file *ret, struct err **err) {
        _cleanup_(x_freep) char *path = NULL;
        int r = context_file_path(g, &path, err);
        return r < 0 ? r : context_file_load(path, ret, err);
}

/* ---- add */

struct add_settings {
        struct cli_globals globals;
        char *server, *token, *token_file, *pin;
        bool use;
};

static const struct option_spec add_options[] = {
        {"server", 's', OPTION_STRING, offsetof(struct add_settings, server), "URL", NULL,
         "Where the server's API is, as in https://fleet.example.org:8443", .required = true},
        {"token", 0, OPTION_STRING, offsetof(struct add_settings, token), "TOKEN", NULL,
         "The token; others on this machine may see it, so --token-file is better"},
        {"token-file", 0, OPTION_STRING, offsetof(struct add_settings, token_file), "FILE", NULL,
         "File that holds the token, - for standard input"},
        {"pin", 0, OPTION_STRING, offsetof(struct add_settings, pin), "SHA256", NULL,
         "SHA-256 of the server's root key; needed only where the token does not end in it"},
        {"use", 0, OPTION_BOOL, offsetof(struct add_settings, use), NULL, NULL,
         "Make it the current context even when there is one"},
        OPTIONS_END,
};

static int read_standard_input(char **ret, struct err **err) {
        char *text = calloc(1, TOKEN_LIMIT + 1);
        if (!text)
                return err_set_errno(err, ENOMEM, "read the token");
        size_t len = fread(text, 1, TOKEN_LIMIT, stdin);
        if (ferror(stdin) || !feof(stdin)) {
                free(text);
                return err_set(err, EINVAL,
                               "read the token from standard input: it does not end within %d bytes",
                               TOKEN_LIMIT);
        }
        text[len] = '\0';
        *ret = text;
        return 0;
}

static int read_token(const struct add_settings *s, char **ret, struct err **err) {
        _cleanup_(x_freep) char *text = NULL;
        size_t len;
        if (s->token && s->token_file)
                return err_set(err, EINVAL, "give --token or --token-file, not both");
        if (!s->token && !s->token_file)
                return 0;
        int r = 0;
        if (s->token)
                text = str_dup(s->token);
        else if (str_eq(s->token_file, "-"))
                r = read_standard_input(&text, err);
        else
                r = file_read(s->token_file, TOKEN_LIMIT, &text, &len, err);
        if (r < 0)
                return r;
        if (!text)
                return err_set_errno(err, ENOMEM, "read the token");
        text[strcspn(text, " \t\r\n")] = '\0';
        struct token token = {0};
        r = token_parse(text, &token, err);
        if (r < 0) {
                (void)err_wrap(err, "token%s%s", s->token_file ? " in " : "",
                               s->token_file ? s->token_file : "");
                return r;
        }
        bool admin = str_eq(token.prefix, "ska");
        token_done(&token);
        if (!admin)
                return err_set(err, EINVAL,
                               "this is no token for people (those begin with 'ska_'); join tokens are for "
                               "agents and relays");
        *ret = TAKE_PTR(text);
        return 0;
}

static bool pin_is_valid(const char *pin) {
        return strlen(pin) == 64 && strspn(pin, "0123456789abcdef") == 64;
}

static int run_add(void *settings, char **arguments, size_t n) {
        const struct add_settings *s = settings;
        const char *name = arguments[0];
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(context_file_done) struct context_file f = {0};
        _cleanup_(x_freep) char *url = NULL, *token = NULL;
        if (s->pin && !pin_is_valid(s->pin))
                return cli_usage("context add", "--pin takes 64 hexadecimal digits, lower case");
        if (!*name || strlen(name) > 253 || strcspn(name, " \t\n/:") != strlen(name))
                return cli_usage("context add", "'%s' is not a good name for a context", name);
        if (server_url_normalise(s->server, &url, &err) < 0)
                return cli_usage("context add", "%s", err_message(err));
        if (read_token(s, &token, &err) < 0 || load(&s->globals, &f, &err) < 0)
                return cli_fail(err);
        bool replaced = context_file_find(&f, name, NULL) != NULL;
        int r = context_file_set(&f, name, url, token, s->pin, &err);
        if (r == 0 && (!f.current || s->use) && str_replace(&f.current, name) < 0)
                r = err_set_errno(&err, ENOMEM, "add context %s", name);
        if (r == 0)
                r = context_file_save(&f, &err);
        if (r < 0)
                return cli_fail(err);
        printf("Context %s %s%s.\n", name, replaced ? "replaced" : "added",
               str_eq(f.current, name) ? "; it is the current one" : "");
        return EXIT_SUCCESS;
}

const struct command_spec context_add_command = {
        "context add",
        "NAME",
        "Make a server known, or replace what is known of it",
        "The token is what 'skerry-server init' printed or wrote to a file. It ends in the pin by which the "
        "server is"
        " recognised, so no certificate has to be installed. The first context becomes the current one.",
        add_options,
        sizeof(struct add_settings),
        1,
        1,
        "-",
        run_add,
};

/* ---- list */

struct list_settings {
        struct cli_globals globals;
        char *output;
};
static const struct option_spec list_options[] = {
        {"output", 'o', OPTION_CHOICE, offsetof(struct list_settings, output), "FORMAT", "table",
         "How to print", OUTPUT_CHOICES},
        OPTIONS_END,
};

static int print_list(const struct context_file *f, enum output output) {
        static const struct column columns[] = {
                {"CURRENT", 0}, {"NAME", 0}, {"SERVER", COLUMN_SHRINK}, {"TOKEN", COLUMN_SHRINK}};
        _cleanup_(columns_freep) struct columns *t = columns_new(columns, ARRAY_SIZE(columns));
        if (!t)
                return EXIT_FAILURE;
        for (size_t i = 0; i < f->n; i++) {
                const struct cli_context *c = &f->items[i];
                bool current = str_eq(f->current, c->name);
                /* Its id tells tokens apart; the secret is never shown. */
                columns_cell(t, STYLE_GOOD, current ? "*" : " ");
                columns_cell(t, current ? STYLE_BOLD : STYLE_NONE, c->name);
                columns_cell(t, STYLE_NONE, c->server);
                columns_cellf(t, STYLE_NONE, "%.*s", c->token ? (int)strcspn(c->token, ".") : 0,
                              c->token ? c->token : "");
        }
        return print_columns(t, output == OUTPUT_WIDE);
}

static int run_list(void *settings, char **arguments, size_t n) {
        const struct list_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(context_file_done) struct context_file f = {0};
        enum output output = output_from_text(s->output);
        if (load(&s->globals, &f, &err) < 0)
                return cli_fail(err);
        if (output == OUTPUT_NAME) {
                for (size_t i = 0; i < f.n; i++)
                        puts(f.items[i].name);
                return EXIT_SUCCESS;
        }
        if (output == OUTPUT_JSON || output == OUTPUT_YAML) {
                json_t *items = json_array();
                for (size_t i = 0; i < f.n; i++)
                        (void)json_array_append_new(items,
                                                    json_pack("{s:s, s:s, s:b}", "name", f.items[i].name,
                                                              "server", f.items[i].server, "current",
                                                              str_eq(f.current, f.items[i].name)));
                json_t *list = json_pack("{s:s, s:o}", "kind", "ContextList", "items", items);
                int code = list ? print_json(list, output) : EXIT_FAILURE;
                json_decref(list);
                return code;
        }
        if (f.n == 0) {
                fprintf(stderr, "No contexts in %s.\n", f.path);
                return EXIT_SUCCESS;
        }
        return print_list(&f, output);
}

const struct command_spec context_list_command = {
        "context list",
        "",
        "List the servers that are known",
        NULL,
        list_options,
        sizeof(struct list_settings),
        0,
        0,
        NULL,
        run_list,
};

/* ---- use, remove */

struct name_settings {
        struct cli_globals globals;
};
static const struct option_spec no_options[] = {OPTIONS_END};

static int run_use(void *settings, char **arguments, size_t n) {
        const struct name_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(context_file_done) struct context_file f = {0};
        if (load(&s->globals, &f, &err) < 0)
                return cli_fail(err);
        const struct cli_context *c = context_file_find(&f, arguments[0], &err);
        if (!c)
                return cli_fail(err);
        if (str_replace(&f.current, arguments[0]) < 0)
                (void)err_set_errno(&err, ENOMEM, "use context %s", arguments[0]);
        if (err || context_file_save(&f, &err) < 0)
                return cli_fail(err);
        printf("Context %s is the current one: %s\n", arguments[0], c->server);
        return EXIT_SUCCESS;
}

const struct command_spec context_use_command = {
        "context use",
        "NAME",
        "Choose the current context",
        NULL,
        no_options,
        sizeof(struct name_settings),
        1,
        1,
        "contexts",
        run_use,
};

static int run_remove(void *settings, char **arguments, size_t n) {
        const struct name_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(context_file_done) struct context_file f = {0};
        if (load(&s->globals, &f, &err) < 0)
                return cli_fail(err);
        bool current = str_eq(f.current, arguments[0]);
        if (context_file_remove(&f, arguments[0], &err) < 0 || context_file_save(&f, &err) < 0)
                return cli_fail(err);
        printf("Context %s removed%s.\n", arguments[0], current ? "; none is current now" : "");
        return EXIT_SUCCESS;
}

const struct command_spec context_remove_command = {
        "context remove",
        "NAME",
        "Forget a server and its token",
        NULL,
        no_options,
        sizeof(struct name_settings),
        1,
        1,
        "contexts",
        run_remove,
};
