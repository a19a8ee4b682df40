/* SPDX-License-Identifier: Apache-2.0 */
/* Numbered steps that bring a database from any older schema to the newest. Each runs once, in one
 * transaction with the row in schema_version that says so. */
#include <errno.h>
#include <stdarg.h>

#include "db/backend.h"

static int run(struct db_connection *c, struct db_rows **ret_rows, struct err **err, const char *sql,
               const char *types, ...) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(0);
        struct db_statement *s = NULL;
        if (!arena)
                return err_set(err, ENOMEM, "out of memory");
        va_list ap;
        va_start(ap, types);
        int r = db_statement_make(arena, sql, types, ap, &s);
        va_end(ap);
        if (r < 0)
                return err_set_errno(err, -r, "%.80s", sql);
        return c->backend->execute(c, s, ret_rows, err);
}

/* A newer program made this database: an older one would write rows it does not understand. */
static int check_age(struct db_connection *c, int64_t newest, struct err **err) {
        _cleanup_(db_rows_freep) struct db_rows *rows = NULL;
        int r = run(c, &rows, err, "SELECT MAX(number) FROM schema_version", "");
        if (r < 0)
                return r;
        if (db_int(rows, 0, 0) > newest)
                return err_set(
                        err, EPROTO,
                        "it was made by a newer version of this program (schema %lld, this one knows %lld): "
                        "run that version or a later one",
                        (long long)db_int(rows, 0, 0), (long long)newest);
        return 0;
}

static int apply(struct db_connection *c, const struct db_migration *m, msec_t now, struct err **err) {
        _cleanup_(db_rows_freep) struct db_rows *rows = NULL;
        int r = run(c, &rows, err, "SELECT number FROM schema_version WHERE number = $1", "i",
                    (int64_t)m->number);
        if (r < 0 || db_rows_len(rows) > 0)
                return r;
        r = c->backend->script(c, m->sql, err);
        if (r < 0)
                return r;
        return run(c, NULL, err, "INSERT INTO schema_version (number, name, applied_at) VALUES ($1, $2, $3)",
                   "isi", (int64_t)m->number, m->name, (int64_t)now);
}

static int in_transaction(struct db_connection *c, const struct db_migration *m, msec_t now,
                          struct err **err) {
        int r = c->backend->begin(c, err);
        if (r == 0)
                r = apply(c, m, now, err);
        if (r == 0)
                r = c->backend->commit(c, err);
        if (r < 0)
                c->backend->rollback(c);
        return r;
}

int db_migrate(struct db_connection *c, const struct db_migration *migrations, size_t n, msec_t now,
               struct err **err) {
        for (size_t i = 0; i < n; i++)
                if (migrations[i].number <= (i > 0 ? migrations[i - 1].number : 0))
                        return err_set(err, EINVAL, "migration %d %s: numbers must rise from 1",
                                       migrations[i].number, migrations[i].name);
        int r = run(c, NULL, err,
                    "CREATE TABLE IF NOT EXISTS schema_version "
                    "(number BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)",
                    "");
        if (r == 0)
                r = check_age(c, n > 0 ? migrations[n - 1].number : 0, err);
        for (size_t i = 0; i < n && r == 0; i++) {
                r = in_transaction(c, &migrations[i], now, err);
                if (r < 0)
                        (void)err_wrap(err, "migration %d %s", migrations[i].number, migrations[i].name);
        }
        return r;
}
