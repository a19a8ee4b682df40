/* SPDX-License-Identifier: Apache-2.0 */
/* skerry-server status: what the state folder holds, for a look on the server's own machine. */
#include <errno.h>
#include <stdio.h>

#include "base/fs.h"
#include "crypto/cert.h"
#include "server/commands.h"
#include "server/memory.h"
#include "server/migrations.h"
#include "server/settings.h"

struct status_settings {
        char *state;
};
static const struct option_spec options[] = {STATE_OPTION(struct status_settings), OPTIONS_END};

static void print_count(struct db *db, const char *what, const char *sql) {
        _cleanup_(db_rows_freep) struct db_rows *rows = NULL;
        if (db_query_now(db, &rows, NULL, sql, "") == 0 && db_rows_len(rows) == 1)
                printf("%-14s %lld\n", what, (long long)db_int(rows, 0, 0));
}

static void print_certificate(const char *state, const char *what, const char *file) {
        _cleanup_(x_freep) char *path = must(path_join(state, file)), *pem = NULL;
        struct cert_info info = {0};
        char when[TIME_TEXT_SIZE];
        size_t len;
        if (file_read(path, CERT_PEM_MAX, &pem, &len, NULL) < 0 || cert_inspect(pem, &info, NULL) < 0) {
                printf("%-14s cannot be read\n", what);
                return;
        }
        printf("%-14s until %s\n", what, time_format(info.not_after, when));
        cert_info_done(&info);
}

static int run(void *settings, char **arguments, size_t n) {
        const struct status_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(settings_done) struct settings state = {0};
        _cleanup_(x_freep) char *url = must(str_format("sqlite:%s/skerry.db", s->state));
        struct db *db = NULL;
        int r = settings_load(s->state, &state, &err);
        if (r >= 0)
                r = db_open(NULL, url, migrations, migrations_len, &db, &err);
        if (r < 0)
                return command_failed(err);
        bool runs = settings_lock(&state, NULL) == -EBUSY;
        printf("%-14s %s\n%-14s %s\n%-14s %s\n%-14s development: assignments are signed by a key on this "
               "server\n",
               "server", state.name, "trust domain", state.domain, "running", runs ? "yes" : "no", "trust");
        print_certificate(s->state, "root", "ca/root.pem");
        print_certificate(s->state, "intermediate", "ca/intermediate.pem");
        print_count(db, "nodes", "SELECT COUNT(*) FROM nodes WHERE revoked_at IS NULL");
        print_count(db, "relays", "SELECT COUNT(*) FROM relays WHERE revoked_at IS NULL");
        print_count(db, "fleets", "SELECT COUNT(*) FROM fleets");
        print_count(db, "sources", "SELECT COUNT(*) FROM sources");
        print_count(db, "rollouts", "SELECT COUNT(*) FROM rollouts WHERE active = 1");
        db_close(db);
        return EXIT_SUCCESS;
}

const struct command_spec status_command = {
        .name = "status",
        .arguments = "",
        .summary = "Show what the state folder holds and whether a server runs on it",
        .options = options,
        .settings_size = sizeof(struct status_settings),
        .run = run,
};
