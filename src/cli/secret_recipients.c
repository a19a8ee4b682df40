/* SPDX-License-Identifier: Apache-2.0 */
/* skerry secret recipients | add | remove | check: who can read a file. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "cli/print.h"
#include "cli/repository.h"
#include "cli/secret.h"
#include "codec/json.h"

struct settings {
        struct secret_globals secret;
        char **fleets, **nodes, **recipients, *output;
};

#define WHO_OPTIONS                                                                                          \
        {"fleet",                                                                                            \
         0,                                                                                                  \
         OPTION_STRINGS,                                                                                     \
         offsetof(struct settings, fleets),                                                                  \
         "NAME",                                                                                             \
         NULL,                                                                                               \
         "Every node of this fleet, as the server knows it; may be given again",                             \
         "@fleets"},                                                                                         \
                {"node",                                                                                     \
                 0,                                                                                          \
                 OPTION_STRINGS,                                                                             \
                 offsetof(struct settings, nodes),                                                           \
                 "NAME",                                                                                     \
                 NULL,                                                                                       \
                 "This node; may be given again",                                                            \
                 "@nodes"},                                                                                  \
        {                                                                                                    \
                "recipient", 'r', OPTION_STRINGS, offsetof(struct settings, recipients), "AGE1...", NULL,    \
                        "This age recipient, as that of a person; may be given again"                        \
        }

/* ---- recipients */

static const struct option_spec list_options[] = {
        {"output", 'o', OPTION_CHOICE, offsetof(struct settings, output), "FORMAT", "table", "How to print",
         "table,json,yaml"},
        OPTIONS_END,
};

/* Names come from the server, where there is one: the list is as good without them. */
static void names_if_known(const struct settings *s, struct secret_nodes *nodes) {
        _cleanup_(err_freep) struct err *err = NULL;
        if (secret_nodes_read(&s->secret.globals, NULL, NULL, nodes, &err) < 0)
                *nodes = (struct secret_nodes){0};
}

static int run_list(void *settings, char **arguments, size_t n) {
        const struct settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(sops_freep) struct sops *file = NULL;
        _cleanup_(secret_nodes_done) struct secret_nodes nodes = {0};
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        _cleanup_json_ json_t *list = json_array();
        enum output output = output_from_text(s->output);
        (void)n;
        if (secret_load(arguments[0], &file, &err) < 0)
                return cli_fail(err);
        names_if_known(s, &nodes);
        for (size_t i = 0; i < sops_recipients(file); i++) {
                const char *recipient = sops_recipient(file, i), *name = secret_nodes_name(&nodes, recipient);
                buf_printf(&out, "%s  %s\n", recipient, name ? name : "-");
                (void)json_array_append_new(list,
                                            json_pack("{s:s, s:s?}", "recipient", recipient, "node", name));
        }
        if (output == OUTPUT_JSON || output == OUTPUT_YAML)
                return print_json(list, output);
        if (sops_other_keys(file))
                buf_printf(&out, "and keys of kind %s\n", sops_other_keys(file));
        return print_buf(&out);
}

const struct command_spec secret_recipients_command = {
        "secret recipients",
        "FILE",
        "List who can read an encrypted file",
        "Prints the age recipients of a SOPS file, with the names of the nodes that the server knows them "
        "by.",
        list_options,
        sizeof(struct settings),
        1,
        1,
        "file",
        run_list,
};

/* ---- add, remove */

struct change {
        char **recipients; /* who is named */
        char **labels;     /* in words, as many */
};

static void change_done(struct change *c) {
        strv_free(c->recipients);
        strv_free(c->labels);
}

static int change_push(struct change *c, const char *recipient, const char *name, struct err **err) {
        _cleanup_(x_freep) char *label = name ? str_format("%s (%s)", name, recipient) : str_dup(recipient);
        if (strv_has(c->recipients, recipient))
                return 0;
        return !label || strv_push(&c->recipients, recipient) < 0 || strv_push(&c->labels, label) < 0
                       ? err_set_errno(err, ENOMEM, "recipients")
                       : 0;
}

static int gather(const struct settings *s, struct change *c, struct err **err) {
        _cleanup_(secret_nodes_done) struct secret_nodes nodes = {0};
        int r = 0;
        for (size_t i = 0; r == 0 && s->recipients && s->recipients[i]; i++)
                r = age_recipient_is_valid(s->recipients[i])
                            ? change_push(c, s->recipients[i], NULL, err)
                            : err_set(err, EINVAL,
                                      "--recipient %.80s: not an age recipient of the form age1...",
                                      s->recipients[i]);
        if (r == 0 && (s->fleets || s->nodes))
                r = secret_nodes_read(&s->secret.globals, s->fleets, s->nodes, &nodes, err);
        for (size_t i = 0; r == 0 && i < nodes.n; i++) {
                if (nodes.items[i].recipient)
                        r = change_push(c, nodes.items[i].recipient, nodes.items[i].name, err);
                else
                        (void)fprintf(
                                stderr,
                                "skerry: node %s has told no recipient yet: its agent is older, or was never "
                                "connected\n",
                                nodes.items[i].name);
        }
        return r;
}

static bool names_nobody(const struct settings *s) {
        return !s->fleets && !s->nodes && !s->recipients;
}

static int all_of(const struct sops *file, char ***ret) {
        for (size_t i = 0; i < sops_recipients(file); i++)
                if (strv_push(ret, sops_recipient(file, i)) < 0)
                        return -ENOMEM;
        return 0;
}

static int add_to(const struct settings *s, const char *path, const struct change *c, struct err **err) {
        _cleanup_(sops_freep) struct sops *file = NULL;
        _cleanup_(strv_freep) char **all = NULL;
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        size_t added = 0;
        int r = secret_load_open(&s->secret, path, &file, err);
        if (r < 0)
                return r;
        if (all_of(file, &all) < 0)
                return err_set_errno(err, ENOMEM, "%s", path);
        for (size_t i = 0; c->recipients && c->recipients[i]; i++) {
                if (strv_has(all, c->recipients[i]))
                        continue;
                if (strv_push(&all, c->recipients[i]) < 0)
                        return err_set_errno(err, ENOMEM, "%s", path);
                printf("%s: %s can read it now\n", path, c->labels[i]);
                added++;
        }
        if (added == 0) {
                printf("%s: they can all read it already\n", path);
                return 0;
        }
        r = sops_write_recipients(file, (const char *const *)all, strv_len(all), &out, err);
        return r < 0 ? r : secret_store(path, &out, err);
}

/* Who is taken out knows the data key: so there is a new one, and every value is encrypted anew. */
static int remove_from(const struct settings *s, const char *path, const struct change *c, struct err **err) {
        _cleanup_(sops_freep) struct sops *file = NULL;
        _cleanup_(strv_freep) char **left = NULL;
        _cleanup_(buf_done) struct buf plain = BUF_INIT, out = BUF_INIT;
        size_t removed = 0;
        char now[32];
        int r = secret_load_open(&s->secret, path, &file, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < sops_recipients(file); i++) {
                const char *recipient = sops_recipient(file, i);
                if (strv_has(c->recipients, recipient))
                        removed++;
                else if (strv_push(&left, recipient) < 0)
                        return err_set_errno(err, ENOMEM, "%s", path);
        }
        if (removed == 0) {
                printf("%s: none of them can read it\n", path);
                return 0;
        }
        secret_time(now);
        const struct sops_encryption e = {.recipients = (const char *const *)left,
                                          .n_recipients = strv_len(left),
                                          .before = file,
                                          .time = now};
        r = sops_plain(file, &plain, err);
        if (r == 0)
                r = sops_encrypt(path, buf_str(&plain), plain.len, &e, &out, err);
        if (plain.data)
                explicit_bzero(plain.data, plain.len);
        if (r == 0)
                r = secret_store(path, &out, err);
        if (r == 0)
                printf("%s: %zu recipient%s removed, encrypted anew under another key. What they could read "
                       "they may "
                       "have kept: change the values themselves.\n",
                       path, removed, removed == 1 ? "" : "s");
        return r;
}

static const struct option_spec change_options[] = {
        WHO_OPTIONS,
        SECRET_IDENTITY_OPTION(struct settings),
        OPTIONS_END,
};

static int change_files(const struct settings *s, const char *command, char **files, size_t n,
                        int (*act)(const struct settings *s, const char *path, const struct change *c,
                                   struct err **err)) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(change_done) struct change c = {0};
        if (names_nobody(s))
                return cli_usage(command, "say who: --fleet, --node or --recipient");
        int r = gather(s, &c, &err);
        if (r == 0 && !c.recipients)
                r = err_set(&err, ENOENT, "no recipient to %s: the nodes that were named have told none",
                            str_has_suffix(command, "add") ? "add" : "remove");
        for (size_t i = 0; r == 0 && i < n; i++)
                r = act(s, files[i], &c, &err);
        return r < 0 ? cli_fail(err) : EXIT_SUCCESS;
}

static int run_add(void *settings, char **arguments, size_t n) {
        return change_files(settings, "secret add", arguments, n, add_to);
}
static int run_remove(void *settings, char **arguments, size_t n) {
        return change_files(settings, "secret remove", arguments, n, remove_from);
}

const struct command_spec secret_add_command = {
        "secret add",
        "FILE...",
        "Let nodes or people read encrypted files",
        "Encrypts the data key of each file for the recipients named too; the values stay as they are, so no "
        "app is "
        "applied again for it. What nodes' recipients are is the server's word: hold it against "
        "'skerry-agent status -o "
        "json' on the node where the server is not to be trusted with it.",
        change_options,
        sizeof(struct settings),
        1,
        SIZE_MAX,
        "file",
        run_add,
};

const struct command_spec secret_remove_command = {
        "secret remove",
        "FILE...",
        "Take nodes or people out of encrypted files",
        "Takes the recipients out and encrypts every value anew under another data key, so that the old one "
        "opens "
        "nothing new. Comments are left out. What a recipient could read before it may have kept.",
        change_options,
        sizeof(struct settings),
        1,
        SIZE_MAX,
        "file",
        run_remove,
};

/* ---- check */

static const struct option_spec check_options[] = {
        {"output", 'o', OPTION_CHOICE, offsetof(struct settings, output), "FORMAT", "table", "How to print",
         "table,json,yaml"},
        OPTIONS_END,
};

static int check_file(const char *dir, const char *source, const char *fleet,
                      const struct secret_nodes *nodes, json_t *list, size_t *ret_missing, struct err **err) {
        _cleanup_(x_freep) char *path = str_format("%s/%s", dir, source);
        _cleanup_(sops_freep) struct sops *file = NULL;
        int r = path ? secret_load(path, &file, err) : err_set_errno(err, ENOMEM, "%s", source);
        for (size_t i = 0; r == 0 && i < nodes->n; i++) {
                const struct secret_node *n = &nodes->items[i];
                const char *state = !n->recipient                            ? "unknown"
                                    : sops_has_recipient(file, n->recipient) ? "ok"
                                                                             : "missing";
                *ret_missing += !str_eq(state, "ok");
                if (json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s?}", "file", source,
                                                          "fleet", fleet, "node", n->name, "state", state,
                                                          "recipient", n->recipient)) < 0)
                        return err_set_errno(err, ENOMEM, "%s", source);
        }
        return r;
}

/* Each file once, for the fleet at hand. */
static int check_fleet(const struct settings *s, const char *dir, const struct fleet_spec *f, json_t *list,
                       size_t *ret_missing, struct err **err) {
        _cleanup_(secret_nodes_done) struct secret_nodes nodes = {0};
        _cleanup_(strv_freep) char **seen = NULL;
        char *fleets[] = {(char *)(uintptr_t)f->name, NULL};
        int r = 0;
        for (size_t a = 0; f->revision && a < f->revision->n_apps; a++)
                for (size_t i = 0; r == 0 && i < f->revision->apps[a].n_secrets; i++) {
                        const char *source = f->revision->apps[a].secrets[i].source;
                        if (strv_has(seen, source))
                                continue;
                        if (!seen)
                                r = secret_nodes_read(&s->secret.globals, fleets, NULL, &nodes, err);
                        if (r == 0 && strv_push(&seen, source) < 0)
                                r = err_set_errno(err, ENOMEM, "%s", source);
                        if (r == 0)
                                r = check_file(dir, source, f->name, &nodes, list, ret_missing, err);
                }
        return r;
}

static int run_check(void *settings, char **arguments, size_t n) {
        const struct settings *s = settings;
        const char *dir = n ? arguments[0] : ".";
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(fleet_model_freep) struct fleet_model *m = NULL;
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        _cleanup_json_ json_t *list = json_array();
        enum output output = output_from_text(s->output);
        size_t missing = 0, i;
        const json_t *one;
        int r = repository_compile_with(dir, &(struct fleet_compile_options){0}, &m, &err);
        if (r == 0 && diagnostics_errors(m->diagnostics) > 0)
                r = err_set(&err, EINVAL, "%s has errors: 'skerry validate' tells them", dir);
        for (size_t k = 0; r == 0 && k < m->n_fleets; k++)
                r = check_fleet(s, dir, &m->fleets[k], list, &missing, &err);
        if (r < 0)
                return cli_fail(err);
        json_array_foreach (list, i, one) {
                const char *state = json_string_value(json_object_get(one, "state"));
                if (!str_eq(state, "ok"))
                        buf_printf(&out, "%s: node %s of fleet %s %s\n",
                                   json_string_value(json_object_get(one, "file")),
                                   json_string_value(json_object_get(one, "node")),
                                   json_string_value(json_object_get(one, "fleet")),
                                   str_eq(state, "missing") ? "is no recipient"
                                                            : "has told no recipient yet");
        }
        if (missing == 0)
                buf_printf(&out, "Every node can read what it needs (%zu checked).\n", json_array_size(list));
        else
                buf_puts(&out,
                         "'skerry secret add --fleet NAME FILE' makes the nodes of a fleet recipients.\n");
        int code =
                output == OUTPUT_JSON || output == OUTPUT_YAML ? print_json(list, output) : print_buf(&out);
        return code == EXIT_SUCCESS && missing > 0 ? EXIT_FAILURE : code;
}

const struct command_spec secret_check_command = {
        "secret check",
        "[DIR]",
        "Check that nodes can read the secrets meant for them",
        "Compiles the fleet files beneath DIR (default: here) and holds the recipients of each file that an "
        "app of a "
        "fleet names against the nodes of that fleet, as the server knows them. The exit code is 1 when a "
        "node cannot "
        "read a file.",
        check_options,
        sizeof(struct settings),
        0,
        1,
        "dir",
        run_check,
};
