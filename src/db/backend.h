/* SPDX-License-Identifier: Apache-2.0 */
/* What a database back end gives to db.c, and what db.c, the batches and the rows share.
 *
 * A back end opens connections and runs statements on them; queue, group commit, migrations and retry are
 * db.c's and the same for all. A connection is used by one thread at a time. Everything but begin()
 * that PostgreSQL and SQLite say alike (SAVEPOINT, ROLLBACK TO, RELEASE) goes through execute().
 *
 * Error codes: -EEXIST (unique key), -EINVAL (other constraint, or SQL that cannot run), -E2BIG (value too
 * large for the database): the statement's own fault, it would fail again. Everything else (-ENOSPC,
 * -EIO, -EBUSY, ...) is the machine's fault and worth another try. */
#pragma once

#include "base/arena.h"
#include "db/db.h"

enum db_type { DB_NULL, DB_INT, DB_TEXT, DB_BLOB };

struct db_value {
        enum db_type type;
        int64_t integer;
        const char *data; /* text (NUL-terminated too) and blobs */
        size_t len;
};

struct db_statement {
        const char *sql;
        struct db_value *values; /* $1 is values[0] */
        size_t n_values;
        struct db_statement *next;
};

#define DB_PARAMETERS_MAX 64

/* ---- batches (batch.c) */
struct db_batch {
        struct arena *arena; /* holds all below */
        struct db_statement *first, *last;
        size_t n_statements;
        int failed; /* an add failed: it must not be written in part */

        /* Of db_submit(): */
        void (*done)(void *arg, int error, const char *message);
        void *arg;
        int error;
        char *message;
        struct db_batch *next;
};

/* A statement with its parameters copied into the arena. */
int db_statement_make(struct arena *arena, const char *sql, const char *types, va_list ap,
                      struct db_statement **ret);

/* ---- rows (rows.c). A result may take DB_ROWS_MAX_BYTES. */
#define DB_ROWS_MAX_BYTES ((size_t)1 << 30)

struct db_rows *db_rows_new(size_t columns) _must_use_;
/* The next row's cells, `columns` of them, all NULL; NULL when memory or the limit is out. */
struct db_value *db_rows_add(struct db_rows *r) _must_use_;
/* Copies text or blob into a cell; 0 or -ENOMEM. */
int db_rows_put(struct db_rows *r, struct db_value *cell, enum db_type type, const void *data, size_t len);

/* ---- back ends */
struct db_connection {
        const struct db_backend *backend;
};

struct db_backend {
        const char *scheme; /* of the url, with colon: "sqlite:" */
        /* Only the writer may create the database and write to it. */
        int (*open)(const char *location, bool writer, struct db_connection **ret, struct err **err);
        struct db_connection *(*close)(struct db_connection *c);
        int (*begin)(struct db_connection *c, struct err **err);
        int (*commit)(struct db_connection *c, struct err **err); /* 0: it is durable */
        void (*rollback)(struct db_connection *c);                /* nothing where no transaction is open */
        /* One statement. ret_rows NULL: its rows are dropped. */
        int (*execute)(struct db_connection *c, const struct db_statement *s, struct db_rows **ret_rows,
                       struct err **err);
        /* Several statements without parameters. */
        int (*script)(struct db_connection *c, const char *sql, struct err **err);
};

extern const struct db_backend db_sqlite_backend;

/* Brings the schema up to date (migration.c); see db_open(). */
int db_migrate(struct db_connection *c, const struct db_migration *migrations, size_t n, msec_t now,
               struct err **err);

static inline struct db_connection *db_connection_close(struct db_connection *c) {
        return c ? c->backend->close(c) : NULL;
}
DEFINE_CLEANUP(struct db_connection, db_connection_close)
