/* SPDX-License-Identifier: Apache-2.0 */
/* skerry-server admin-token: on the server's own machine, with or without a running server. */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fs.h"
#include "server/audit.h"
#include "server/authority.h"
#include "server/commands.h"
#include "server/memory.h"
#include "server/migrations.h"
#include "server/settings.h"
#include "server/tokens.h"

#define ROOT_PEM_MAX ((size_t)64 * 1024)

struct token_settings {
        char *state, *name, *file, *reason;
        int64_t ttl;
};

static const struct option_spec create_options[] = {
        STATE_OPTION(struct token_settings),
        {"name", 'n', OPTION_STRING, offsetof(struct token_settings, name), "NAME", "admin",
         "Whose it is; events and the journal say so"},
        {"ttl", 0, OPTION_DURATION, offsetof(struct token_settings, ttl), "TIME", "0",
         "How long it holds, 0 for ever"},
        {"file", 'f', OPTION_STRING, offsetof(struct token_settings, file), "FILE", NULL,
         "Write the token there (mode 0600) and do not print it", "file"},
        OPTIONS_END,
};
static const struct option_spec state_options[] = {STATE_OPTION(struct token_settings), OPTIONS_END};
static const struct option_spec delete_options[] = {
        STATE_OPTION(struct token_settings),
        {"reason", 'r', OPTION_STRING, offsetof(struct token_settings, reason), "TEXT", NULL,
         "Why; the audit log keeps it"},
        OPTIONS_END,
};

static int open_database(const char *state, struct settings *s, struct db **ret, struct err **err) {
        int r = settings_load(state, s, err);
        if (r < 0)
                return r;
        _cleanup_(x_freep) char *url = must(str_format("sqlite:%s/skerry.db", state));
        return db_open(NULL, url, migrations, migrations_len, ret, err);
}

static int read_pin(const char *state, char out[65], struct err **err) {
        _cleanup_(x_freep) char *path = must(path_join(state, "ca/root.pem")), *pem = NULL;
        size_t len;
        int r = file_read(path, ROOT_PEM_MAX, &pem, &len, err);
        return r < 0 ? r : cert_pin_of_root(pem, out, err);
}

/* Who sits at the console, for the audit log. */
#define PERSON_SIZE 80
static const char *person(char out[PERSON_SIZE]) {
        const char *sudo = getenv("SUDO_USER");
        const struct passwd *p = getpwuid(getuid());
        if (sudo && *sudo)
                (void)snprintf(out, PERSON_SIZE, "%.60s (sudo)", sudo);
        else if (p)
                (void)snprintf(out, PERSON_SIZE, "%.60s", p->pw_name);
        else
                (void)snprintf(out, PERSON_SIZE, "uid %u", (unsigned)getuid());
        return out;
}

static int create(void *settings, char **arguments, size_t n) {
        const struct token_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(settings_done) struct settings state = {0};
        _cleanup_(x_freep) char *token = NULL;
        struct db *db = NULL;
        char pin[65], who[PERSON_SIZE];
        int r = open_database(s->state, &state, &db, &err);
        if (r >= 0)
                r = read_pin(s->state, pin, &err);
        if (r >= 0)
                r = admin_token_create(db, s->name, person(who), pin, s->ttl, clock_wall_ms(clock_system()),
                                       &token, &err);
        db_close(db);
        if (r >= 0 && s->file) {
                _cleanup_(x_freep) char *line = must(str_format("%s\n", token));
                r = file_write_atomic(s->file, line, strlen(line), 0600, &err);
        } else if (r >= 0)
                puts(token);
        return r < 0 ? command_failed(err) : EXIT_SUCCESS;
}

static int list(void *settings, char **arguments, size_t n) {
        const struct token_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(settings_done) struct settings state = {0};
        _cleanup_(db_rows_freep) struct db_rows *rows = NULL;
        struct db *db = NULL;
        char made[TIME_TEXT_SIZE], ends[TIME_TEXT_SIZE];
        int r = open_database(s->state, &state, &db, &err);
        if (r >= 0)
                r = db_query_now(
                        db, &rows, &err,
                        "SELECT id, name, created_at, expires_at FROM admin_tokens ORDER BY created_at", "");
        db_close(db);
        if (r < 0)
                return command_failed(err);
        printf("%-12s %-20s %-26s %s\n", "ID", "NAME", "CREATED", "ENDS");
        for (size_t i = 0; i < db_rows_len(rows); i++)
                printf("%-12s %-20s %-26s %s\n", db_text(rows, i, 0), db_text(rows, i, 1),
                       time_format(db_int(rows, i, 2), made),
                       db_is_null(rows, i, 3) ? "never" : time_format(db_int(rows, i, 3), ends));
        return EXIT_SUCCESS;
}

static int delete (void *settings, char **arguments, size_t n) {
        const struct token_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(settings_done) struct settings state = {0};
        _cleanup_(db_rows_freep) struct db_rows *rows = NULL;
        struct db *db = NULL;
        int r = open_database(s->state, &state, &db, &err);
        if (r >= 0)
                r = db_query_now(db, &rows, &err, "SELECT name FROM admin_tokens WHERE id = $1", "s",
                                 arguments[0]);
        if (r >= 0 && db_rows_len(rows) == 0)
                r = err_set(&err, ENOENT, "there is no admin token %s (see skerry-server admin-token list)",
                            arguments[0]);
        if (r >= 0) {
                struct db_batch *batch = must(db_batch_new());
                char who[PERSON_SIZE];
                json_t *detail = json_object_new();
                json_put(detail, "id", json_text(arguments[0]));
                must_do(db_batch_add(batch, "DELETE FROM admin_tokens WHERE id = $1", "s", arguments[0]));
                audit_note(batch,
                           &(struct audit_act){.actor = person(who),
                                               .act = "admin-token.delete",
                                               .kind = "AdminToken",
                                               .name = db_text(rows, 0, 0),
                                               .reason = s->reason,
                                               .detail = detail},
                           clock_wall_ms(clock_system()));
                json_decref(detail);
                r = db_write_now(db, batch, &err);
        }
        db_close(db);
        return r < 0 ? command_failed(err) : EXIT_SUCCESS;
}

const struct command_spec admin_token_create_command = {
        .name = "admin-token create",
        .arguments = "",
        .summary = "Make a token for the API",
        .options = create_options,
        .settings_size = sizeof(struct token_settings),
        .run = create,
};
const struct command_spec admin_token_list_command = {
        .name = "admin-token list",
        .arguments = "",
        .summary = "Show the tokens for the API, without their secrets",
        .options = state_options,
        .settings_size = sizeof(struct token_settings),
        .run = list,
};
const struct command_spec admin_token_delete_command = {
        .name = "admin-token delete",
        .arguments = "ID",
        .summary = "Delete a token; a running server refuses it within seconds",
        .options = delete_options,
        .settings_size = sizeof(struct token_settings),
        .min_arguments = 1,
        .max_arguments = 1,
        .run = delete,
};
