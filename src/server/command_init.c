/* SPDX-License-Identifier: Apache-2.0 */
/* skerry-server init: keys, database, first admin token. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fs.h"
#include "codec/json.h"
#include "crypto/spiffe_id.h"
#include "server/audit.h"
#include "server/authority.h"
#include "server/commands.h"
#include "server/git_source.h"
#include "server/memory.h"
#include "server/migrations.h"
#include "server/settings.h"
#include "server/source_spec.h"
#include "server/tokens.h"

struct init_settings {
        char *state, *domain, *name, *passphrase_file, *admin_token_file;
        char **dns_names, **sources;
};

static const struct option_spec options[] = {
        STATE_OPTION(struct init_settings),
        {"domain", 'd', OPTION_STRING, offsetof(struct init_settings, domain), "DOMAIN", NULL,
         "Trust domain: names every node as spiffe://DOMAIN/node/NAME, for ever", NULL, true},
        {"name", 'n', OPTION_STRING, offsetof(struct init_settings, name), "NAME", "server",
         "Name of this server"},
        {"dns-name", 0, OPTION_STRINGS, offsetof(struct init_settings, dns_names), "NAME", NULL,
         "Name or address by which the server is reached; its certificate carries it"},
        PASSPHRASE_OPTION(struct init_settings),
        {"admin-token-file", 0, OPTION_STRING, offsetof(struct init_settings, admin_token_file), "FILE", NULL,
         "Write the first admin token there (mode 0600) and do not print it", "file"},
        {"source", 0, OPTION_STRINGS, offsetof(struct init_settings, sources), "NAME=URL[#BRANCH[:PATH]]",
         NULL, "Follow this Git repository from the first start on"},
        OPTIONS_END,
};

static int check_folder(const char *state, struct err **err) {
        if (settings_exist(state))
                return err_set(err, EEXIST,
                               "%s holds a server already and is left alone: take another folder, or remove "
                               "that one "
                               "if its nodes may be lost",
                               state);
        DIR *dir = opendir(state);
        if (!dir)
                return 0;
        size_t n = 0;
        for (struct dirent *e; (e = readdir(dir));)
                n += !str_eq(e->d_name, ".") && !str_eq(e->d_name, "..") && !str_eq(e->d_name, "lost+found");
        closedir(dir);
        return n ? err_set(err, ENOTEMPTY, "%s is not empty: give an empty or a new folder", state) : 0;
}

/* The given names, and those by which a server on this machine is found anyway. */
static char **certificate_names(char *const *given) {
        char **names = NULL, host[256] = "";
        const char *own[] = {NULL, "localhost", "127.0.0.1", "::1"};
        if (gethostname(host, sizeof(host) - 1) == 0 && host[0])
                own[0] = host;
        for (size_t i = 0; given && given[i]; i++)
                if (!strv_has(names, given[i]))
                        must_do(strv_push(&names, given[i]));
        for (size_t i = 0; i < ARRAY_SIZE(own); i++)
                if (own[i] && !strv_has(names, own[i]))
                        must_do(strv_push(&names, own[i]));
        return names;
}

static int add_source(struct db *db, const char *text, msec_t now, struct err **err) {
        const char *equals = strchr(text, '=');
        _cleanup_(x_freep) char *name = must(equals ? str_dup_n(text, (size_t)(equals - text)) : str_dup(""));
        _cleanup_(source_spec_done) struct source_spec spec = {0};
        if (!equals || !name_is_dns_label(name))
                return err_set(err, EINVAL,
                               "--source %s: write NAME=URL[#BRANCH[:PATH]], NAME of a-z, 0-9 and -", text);
        int r = source_spec_parse(equals + 1, &spec, err);
        if (r < 0)
                return err_wrap(err, "--source %s", text);
        json_t *j = source_spec_json(&spec);
        _cleanup_(x_freep) char *spec_text = must(json_encode_compact(j));
        json_decref(j);
        struct db_batch *batch = must(db_batch_new());
        must_do(db_batch_add(batch,
                             "INSERT INTO sources (name, created_at, spec, status) VALUES ($1, $2, $3, '{}')",
                             "sis", name, (int64_t)now, spec_text));
        j = source_spec_json(&spec);
        audit_note(batch,
                   &(struct audit_act){.actor = "skerry-server init",
                                       .act = "source.create",
                                       .kind = "Source",
                                       .name = name,
                                       .detail = j},
                   now);
        json_decref(j);
        r = db_write_now(db, batch, err);
        return r < 0 ? err_wrap(err, "--source %s", text) : 0;
}

static int fill_database(const struct init_settings *s, const char *pin, msec_t now, char **ret_token,
                         struct err **err) {
        _cleanup_(x_freep) char *url = must(str_format("sqlite:%s/skerry.db", s->state));
        struct db *db = NULL;
        int r = db_open(NULL, url, migrations, migrations_len, &db, err);
        if (r < 0)
                return r;
        r = admin_token_create(db, "init", "skerry-server init", pin, 0, now, ret_token, err);
        for (size_t i = 0; r >= 0 && s->sources && s->sources[i]; i++)
                r = add_source(db, s->sources[i], now, err);
        db_close(db);
        return r;
}

static int make(const struct init_settings *s, const char *passphrase, char **ret_token, struct err **err) {
        _cleanup_(strv_freep) char **names = certificate_names(s->dns_names);
        msec_t now = clock_wall_ms(clock_system());
        char pin[65];
        int r = dir_make(s->state, 0700, err);
        if (r >= 0)
                r = authority_create(s->state, s->domain, passphrase, now, pin, err);
        if (r >= 0)
                r = fill_database(s, pin, now, ret_token, err);
        /* Last: a folder with this file in it is whole. */
        return r < 0 ? r : settings_create(s->state, s->domain, s->name, names, err);
}

static void print_next(const struct init_settings *s, const char *token) {
        printf("Made the server %s of trust domain %s in %s.\n\n", s->name, s->domain, s->state);
        if (s->admin_token_file)
                printf("The admin token is in %s.\n\n", s->admin_token_file);
        else
                printf("Admin token, shown this once:\n\n  %s\n\n", token);
        printf("Development trust: the key that decides what nodes run is on this server.\n\n"
               "Next:\n"
               "  skerry-server run --state %s%s%s\n"
               "  skerry context add %s --server https://127.0.0.1:8443 --token-file %s\n"
               "  skerry source add fleet --url URL --branch main\n"
               "  skerry token create --labels role=shop --ttl 1h --uses 10\n",
               s->state, s->passphrase_file ? " --passphrase-file " : "",
               s->passphrase_file ? s->passphrase_file : "", s->name,
               s->admin_token_file ? s->admin_token_file : "FILE-WITH-THE-TOKEN");
}

static int run(void *settings, char **arguments, size_t n) {
        const struct init_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *passphrase = NULL, *token = NULL;
        git_source_init(); /* checks names of branches */
        int r = 0;
        if (!trust_domain_is_valid(s->domain))
                r = err_set(&err, EINVAL, "--domain %s: a trust domain is made of a-z, 0-9, '.', '-' and '_'",
                            s->domain);
        else if (!name_is_dns_label(s->name))
                r = err_set(&err, EINVAL, "--name %s: a name is made of a-z, 0-9 and '-'", s->name);
        if (r >= 0)
                r = check_folder(s->state, &err);
        if (r >= 0)
                r = settings_read_passphrase(s->passphrase_file, &passphrase, &err);
        if (r >= 0)
                r = make(s, passphrase, &token, &err);
        if (r >= 0 && s->admin_token_file) {
                _cleanup_(x_freep) char *line = must(str_format("%s\n", token));
                r = file_write_atomic(s->admin_token_file, line, strlen(line), 0600, &err);
        }
        if (r >= 0)
                print_next(s, token);
        git_source_done();
        return r < 0 ? command_failed(err) : EXIT_SUCCESS;
}

const struct command_spec init_command = {
        .name = "init",
        .arguments = "",
        .summary = "Make a server: its certificate authority, database and first admin token",
        .details = "Makes a root and an intermediate certificate, the key that signs what nodes are told to "
                   "run, the database, and "
                   "an admin token that is shown once. Nothing that is there already is touched.",
        .options = options,
        .settings_size = sizeof(struct init_settings),
        .run = run,
};
