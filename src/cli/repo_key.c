/* SPDX-License-Identifier: Apache-2.0 */
/* skerry repo key generate | add | list | show. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "cli/print.h"
#include "cli/repo.h"

struct settings {
        struct repo_globals repo;
        char *scheme, *file, *command, *output;
        bool no_passphrase;
};

static const struct option_spec options[] = {
        REPO_OPTIONS,
        {"key-type", 't', OPTION_CHOICE, offsetof(struct settings, scheme), "TYPE", "ed25519",
         "generate: which kind", REPO_SCHEMES},
        {"no-passphrase", 0, OPTION_BOOL, offsetof(struct settings, no_passphrase), NULL, NULL,
         "generate: keep the private key in the clear, for a timer to sign with"},
        {"private", 0, OPTION_STRING, offsetof(struct settings, file), "FILE", NULL,
         "add: where the private half is, at least sometimes (a stick that is plugged in)"},
        {"command", 0, OPTION_STRING, offsetof(struct settings, command), "COMMAND", NULL,
         "add: a command that gets the bytes on its standard input and prints their signature (HSM, KMS)"},
        REPO_KEY_OPTIONS,
        {"output", 'o', OPTION_CHOICE, offsetof(struct settings, output), "FORMAT", "table", "How to print",
         OUTPUT_CHOICES},
        OPTIONS_END,
};

static int generate(const struct settings *s, char **names, size_t n) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(tuf_publisher_freep) struct tuf_publisher *p = NULL;
        if (n != 1)
                return cli_usage("repo key", "generate takes one NAME");
        if (repo_open(&s->repo, false, &p, &err) < 0)
                return cli_fail(err);
        _cleanup_(x_freep) char *passphrase = NULL;
        if (!s->no_passphrase &&
            repo_new_passphrase(s->repo.passphrase_file, names[0], &passphrase, &err) < 0)
                return cli_fail(err);
        int r = tuf_publisher_generate_key(p, names[0], repo_scheme(s->scheme), passphrase, &err);
        if (passphrase)
                explicit_bzero(passphrase, strlen(passphrase));
        if (r < 0)
                return cli_fail(err);
        printf("Key %s made: %s/keys/%s.pem. No role lists it yet: 'skerry repo rotate ROLE --add %s' or "
               "'skerry repo "
               "delegate' does.\n",
               names[0], s->repo.repository, names[0], names[0]);
        return EXIT_SUCCESS;
}

static int add(const struct settings *s, char **arguments, size_t n) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(tuf_publisher_freep) struct tuf_publisher *p = NULL;
        _cleanup_(tuf_key_freep) struct tuf_key *key = NULL;
        if (n != 2)
                return cli_usage("repo key", "add takes a NAME and the FILE of the public key");
        if (s->file && s->command)
                return cli_usage("repo key", "give --private or --command, not both");
        _cleanup_(x_freep) char *file = s->file ? realpath(s->file, NULL) : NULL;
        if (s->file && !file) {
                (void)err_set_errno(&err, errno, "read %s", s->file);
                return cli_fail(err);
        }
        if (tuf_key_load(arguments[1], &key, &err) < 0 || repo_open(&s->repo, false, &p, &err) < 0 ||
            tuf_publisher_register_key(p, arguments[0], key, file, s->command, &err) < 0)
                return cli_fail(err);
        printf("Key %s (%.12s...) is known. No role lists it yet: 'skerry repo rotate ROLE --add %s' or "
               "'skerry repo "
               "delegate' does.\n",
               arguments[0], tuf_key_id(key), arguments[0]);
        return EXIT_SUCCESS;
}

static const char *where(const struct tuf_publisher_key *k) {
        return k->file ? k->file : k->command ? k->command : "";
}

static int put_json(void *arg, const struct tuf_publisher_key *k) {
        json_t *j = json_pack("{s:s, s:s, s:O, s:s*, s:s*, s:b, s:s}", "name", k->name, "keyid", k->id, "key",
                              tuf_key_json(k->key), "file", k->file, "command", k->command, "encrypted",
                              k->encrypted, "roles", k->roles);
        return j && json_array_append_new(arg, j) >= 0 ? 0 : -ENOMEM;
}

static int put_row(void *arg, const struct tuf_publisher_key *k) {
        struct columns *t = arg;
        columns_cell(t, STYLE_NONE, k->name);
        columns_cellf(t, STYLE_NONE, "%.12s", k->id);
        columns_cell(t, STYLE_NONE, json_string_value(json_object_get(tuf_key_json(k->key), "keytype")));
        columns_cell(t, STYLE_NONE, k->roles);
        columns_cell(t, k->encrypted || !k->file ? STYLE_NONE : STYLE_WARN,
                     k->file      ? k->encrypted ? "passphrase" : "in the clear"
                     : k->command ? "command"
                                  : "elsewhere");
        columns_cell(t, STYLE_DIM, where(k));
        return 0;
}

static int list(const struct settings *s, enum output output) {
        static const struct column columns[] = {{"NAME", 0},
                                                {"ID", 0},
                                                {"TYPE", COLUMN_OPTIONAL},
                                                {"ROLES", COLUMN_SHRINK},
                                                {"KEPT", 0},
                                                {"WHERE", COLUMN_SHRINK}};
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(tuf_publisher_freep) struct tuf_publisher *p = NULL;
        _cleanup_(columns_freep) struct columns *t = columns_new(columns, ARRAY_SIZE(columns));
        _cleanup_(json_decrefp) json_t *all = json_array();
        if (repo_open(&s->repo, true, &p, &err) < 0)
                return cli_fail(err);
        bool json = output == OUTPUT_JSON || output == OUTPUT_YAML;
        int r = !t || !all ? -ENOMEM
                           : tuf_publisher_each_key(p, json ? put_json : put_row, json ? (void *)all : t);
        if (r < 0) {
                (void)err_set_errno(&err, -r, "list keys");
                return cli_fail(err);
        }
        return json ? print_json(all, output) : print_columns(t, output == OUTPUT_WIDE);
}

static int put_one(void *arg, const struct tuf_publisher_key *k) {
        const char **wanted = arg;
        if (!str_eq(k->name, *wanted) && !str_eq(k->id, *wanted))
                return 0;
        _cleanup_(x_freep) char *text = json_dumps(tuf_key_json(k->key), JSON_INDENT(2) | JSON_SORT_KEYS);
        if (text)
                puts(text);
        return text ? 1 : -ENOMEM;
}

static int show(const struct settings *s, char **names, size_t n) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(tuf_publisher_freep) struct tuf_publisher *p = NULL;
        if (n != 1)
                return cli_usage("repo key", "show takes one NAME");
        if (repo_open(&s->repo, true, &p, &err) < 0)
                return cli_fail(err);
        if (tuf_publisher_each_key(p, put_one, &names[0]) == 1)
                return EXIT_SUCCESS;
        (void)err_set(&err, ENOENT, "there is no key %s; 'skerry repo key list' lists those there are",
                      names[0]);
        return cli_fail(err);
}

static int run(void *settings, char **arguments, size_t n) {
        const struct settings *s = settings;
        if (str_eq(arguments[0], "generate"))
                return generate(s, arguments + 1, n - 1);
        if (str_eq(arguments[0], "add"))
                return add(s, arguments + 1, n - 1);
        if (str_eq(arguments[0], "show"))
                return show(s, arguments + 1, n - 1);
        if (str_eq(arguments[0], "list") && n == 1)
                return list(s, output_from_text(s->output));
        return cli_usage("repo key", "'%s': it is generate NAME, add NAME PUBLIC-KEY-FILE, list or show NAME",
                         arguments[0]);
}

const struct command_spec repo_key_command = {
        .name = "repo key",
        .arguments = "generate|add|list|show [NAME [FILE]]",
        .summary = "Make and list the keys that sign a repository",
        .details = "generate NAME\tmakes a key in DIR/keys\n"
                   "add NAME FILE\ttakes a public key (PEM, or JSON as 'show' prints it) whose private half "
                   "is elsewhere: "
                   "in a file (--private), behind a command (--command), or on another machine, which signs "
                   "what "
                   "'skerry repo prepare' writes\n"
                   "list\tlists them, with the roles that they sign\n"
                   "show NAME\tprints the public key, to be added elsewhere",
        .options = options,
        .settings_size = sizeof(struct settings),
        .min_arguments = 1,
        .max_arguments = 3,
        .completes = "generate,add,list,show - file",
        .run = run,
};
