/* SPDX-License-Identifier: Apache-2.0 */
/* The SQLite back end. https://www.sqlite.org/wal.html, https://www.sqlite.org/rescode.html
 *
 * WAL, so that readers and the writer do not wait for each other; synchronous=FULL, so that a commit is on
 * the disk when it returns (NORMAL would lose the last ones with the power). One fsync a commit, shared by
 * the whole group. */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>

#include "base/str.h"
#include "db/backend.h"

#define STATEMENTS_MAX 64    /* prepared statements kept per connection */
#define BUSY_TIMEOUT_MS 2000 /* another program (a backup, the sqlite3 shell) holds the file */

struct cached {
        sqlite3_stmt *stmt;
        uint64_t hash; /* of its text */
        uint64_t used; /* tick of the last use */
};

struct sqlite_connection {
        struct db_connection base;
        sqlite3 *handle;
        struct cached cache[STATEMENTS_MAX];
        size_t n_cached;
        uint64_t tick;
};

static struct sqlite_connection *from_base(struct db_connection *c) {
        return CONTAINER_OF(c, struct sqlite_connection, base);
}

/* See backend.h: -EEXIST, -EINVAL and -E2BIG are the statement's fault, all else may pass. */
static int code_of(int extended) {
        switch (extended) {
        case SQLITE_CONSTRAINT_UNIQUE:
        case SQLITE_CONSTRAINT_PRIMARYKEY:
        case SQLITE_CONSTRAINT_ROWID: return -EEXIST;
        default: break;
        }
        switch (extended & 0xff) {
        case SQLITE_CONSTRAINT:
        case SQLITE_ERROR:
        case SQLITE_MISMATCH:
        case SQLITE_RANGE:
        case SQLITE_MISUSE:
        case SQLITE_AUTH: return -EINVAL;
        case SQLITE_TOOBIG: return -E2BIG;
        case SQLITE_FULL: return -ENOSPC;
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
        case SQLITE_PROTOCOL: return -EBUSY;
        case SQLITE_NOMEM: return -ENOMEM;
        case SQLITE_READONLY: return -EROFS;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB: return -EUCLEAN;
        case SQLITE_PERM:
        case SQLITE_CANTOPEN: return -EACCES;
        default: return -EIO;
        }
}

static int fail(const struct sqlite_connection *c, struct err **err) {
        int r = code_of(sqlite3_extended_errcode(c->handle));
        if (r == -ENOSPC)
                return err_set(err, ENOSPC, "disk full");
        return err_set(err, -r, "%s", sqlite3_errmsg(c->handle));
}

/* ---- prepared statements */

static uint64_t hash_text(const char *s) { /* FNV-1a; the texts are ours */
        uint64_t h = 0xcbf29ce484222325u;
        for (; *s; s++)
                h = (h ^ (unsigned char)*s) * 0x100000001b3u;
        return h;
}

static int prepare(struct sqlite_connection *c, const char *sql, sqlite3_stmt **ret, struct err **err) {
        uint64_t hash = hash_text(sql);
        struct cached *oldest = c->cache;
        c->tick++;
        for (struct cached *k = c->cache; k < c->cache + c->n_cached; k++) {
                if (k->hash == hash && strcmp(sqlite3_sql(k->stmt), sql) == 0) {
                        k->used = c->tick;
                        *ret = k->stmt;
                        return 0;
                }
                if (k->used < oldest->used)
                        oldest = k;
        }
        sqlite3_stmt *stmt = NULL;
        const char *tail = NULL;
        if (sqlite3_prepare_v3(c->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, &tail) != SQLITE_OK)
                return fail(c, err);
        if (!stmt || *tail != '\0') { /* what follows would silently not run */
                sqlite3_finalize(stmt);
                return err_set(err, EINVAL, "must be one SQL statement with nothing behind it: %.80s", sql);
        }
        struct cached *slot = oldest;
        if (c->n_cached < STATEMENTS_MAX)
                slot = &c->cache[c->n_cached++];
        else
                sqlite3_finalize(slot->stmt);
        *slot = (struct cached){.stmt = stmt, .hash = hash, .used = c->tick};
        *ret = stmt;
        return 0;
}

/* SQLite takes "$1" for a name and numbers names as they appear; here they are numbers. */
static int bind_values(struct sqlite_connection *c, sqlite3_stmt *stmt, const struct db_statement *s,
                       struct err **err) {
        bool used[DB_PARAMETERS_MAX] = {false};
        int n = sqlite3_bind_parameter_count(stmt);
        for (int i = 1; i <= n; i++) {
                const char *name = sqlite3_bind_parameter_name(stmt, i);
                uint64_t number;
                if (!name || name[0] != '$' || str_to_u64(name + 1, &number) < 0 || number < 1 ||
                    number > s->n_values)
                        return err_set(err, EINVAL, "parameter %s of %zu given: %.80s", name ? name : "?",
                                       s->n_values, s->sql);
                const struct db_value *v = &s->values[number - 1];
                used[number - 1] = true;
                int r = SQLITE_OK;
                switch (v->type) {
                case DB_NULL: r = sqlite3_bind_null(stmt, i); break;
                case DB_INT: r = sqlite3_bind_int64(stmt, i, v->integer); break;
                case DB_TEXT:
                        r = sqlite3_bind_text64(stmt, i, v->data, v->len, SQLITE_STATIC, SQLITE_UTF8);
                        break;
                case DB_BLOB: r = sqlite3_bind_blob64(stmt, i, v->data, v->len, SQLITE_STATIC); break;
                }
                if (r != SQLITE_OK)
                        return fail(c, err);
        }
        for (size_t i = 0; i < s->n_values; i++)
                if (!used[i])
                        return err_set(err, EINVAL, "parameter $%zu is given but not used: %.80s", i + 1,
                                       s->sql);
        return 0;
}

static int read_row(sqlite3_stmt *stmt, struct db_rows *rows, int columns) {
        struct db_value *row = db_rows_add(rows);
        if (!row)
                return -ENOMEM;
        for (int i = 0; i < columns; i++) {
                int r = 0;
                switch (sqlite3_column_type(stmt, i)) {
                case SQLITE_NULL: break;
                case SQLITE_INTEGER:
                case SQLITE_FLOAT:
                        row[i].type = DB_INT;
                        row[i].integer = sqlite3_column_int64(stmt, i);
                        break;
                case SQLITE_TEXT: {
                        const unsigned char *text = sqlite3_column_text(stmt, i);
                        r = text ? db_rows_put(rows, &row[i], DB_TEXT, text,
                                               (size_t)sqlite3_column_bytes(stmt, i))
                                 : -ENOMEM;
                        break;
                }
                default: {
                        const void *data = sqlite3_column_blob(stmt, i); /* NULL for an empty one */
                        r = db_rows_put(rows, &row[i], DB_BLOB, data, (size_t)sqlite3_column_bytes(stmt, i));
                        break;
                }
                }
                if (r < 0)
                        return r;
        }
        return 0;
}

static int run(struct sqlite_connection *c, sqlite3_stmt *stmt, struct db_rows **ret_rows, struct err **err) {
        int columns = sqlite3_column_count(stmt);
        _cleanup_(db_rows_freep) struct db_rows *rows = NULL;
        if (ret_rows) {
                rows = db_rows_new((size_t)columns);
                if (!rows)
                        return err_set(err, ENOMEM, "out of memory");
        }
        for (;;) {
                int r = sqlite3_step(stmt);
                if (r == SQLITE_DONE)
                        break;
                if (r != SQLITE_ROW)
                        return fail(c, err);
                if (rows && read_row(stmt, rows, columns) < 0)
                        return err_set(err, ENOMEM, "the result is too large");
        }
        if (ret_rows)
                *ret_rows = TAKE_PTR(rows);
        return 0;
}

static int sqlite_execute(struct db_connection *base, const struct db_statement *s, struct db_rows **ret_rows,
                          struct err **err) {
        struct sqlite_connection *c = from_base(base);
        sqlite3_stmt *stmt = NULL;
        int r = prepare(c, s->sql, &stmt, err);
        if (r < 0)
                return r;
        r = bind_values(c, stmt, s, err);
        if (r == 0)
                r = run(c, stmt, ret_rows, err);
        sqlite3_reset(stmt); /* repeats the error of the step, which is dealt with */
        sqlite3_clear_bindings(stmt);
        return r;
}

static int sqlite_script(struct db_connection *base, const char *sql, struct err **err) {
        struct sqlite_connection *c = from_base(base);
        return sqlite3_exec(c->handle, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(c, err);
}

/* ---- transactions */

static int sqlite_begin(struct db_connection *base, struct err **err) {
        /* IMMEDIATE: a lock that cannot be had is met here and not in the middle. */
        static const struct db_statement s = {.sql = "BEGIN IMMEDIATE"};
        return sqlite_execute(base, &s, NULL, err);
}

static int sqlite_commit(struct db_connection *base, struct err **err) {
        static const struct db_statement s = {.sql = "COMMIT"};
        return sqlite_execute(base, &s, NULL, err);
}

static void sqlite_rollback(struct db_connection *base) {
        static const struct db_statement s = {.sql = "ROLLBACK"};
        /* SQLite ends the transaction by itself on some errors (full disk). */
        if (!sqlite3_get_autocommit(from_base(base)->handle))
                (void)sqlite_execute(base, &s, NULL, NULL);
}

/* ---- opening */

static struct db_connection *sqlite_close(struct db_connection *base) {
        struct sqlite_connection *c = from_base(base);
        for (size_t i = 0; i < c->n_cached; i++)
                sqlite3_finalize(c->cache[i].stmt);
        sqlite3_close(c->handle);
        free(c);
        return NULL;
}

/* The file is made here, because SQLite would leave it readable by everyone; it gives its -wal and -shm
 * the same mode. */
static int create_file(const char *path, struct err **err) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
        if (fd < 0)
                return err_set_errno(err, errno, "open database %s", path);
        (void)close(fd);
        return 0;
}

static int use_wal(struct sqlite_connection *c, const char *path, struct err **err) {
        static const struct db_statement s = {.sql = "PRAGMA journal_mode=WAL"};
        _cleanup_(db_rows_freep) struct db_rows *rows = NULL;
        int r = sqlite_execute(&c->base, &s, &rows, err);
        if (r < 0)
                return r;
        if (!str_eq(db_text(rows, 0, 0), "wal"))
                return err_set(err, EOPNOTSUPP,
                               "the file system of %s cannot hold a write-ahead log; use a local disk", path);
        return 0;
}

static int configure(struct sqlite_connection *c, const char *path, bool writer, struct err **err) {
        sqlite3_extended_result_codes(c->handle, 1);
        sqlite3_busy_timeout(c->handle, BUSY_TIMEOUT_MS);
        /* Schema texts from the file cannot call functions with side effects; double quotes are names. */
        sqlite3_db_config(c->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        sqlite3_db_config(c->handle, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
        sqlite3_db_config(c->handle, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
        if (!writer)
                return sqlite_script(&c->base, "PRAGMA query_only=ON", err);
        int r = use_wal(c, path, err);
        if (r < 0)
                return r;
        return sqlite_script(&c->base,
                             "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; "
                             "PRAGMA journal_size_limit=67108864; PRAGMA temp_store=MEMORY",
                             err);
}

static int sqlite_open(const char *path, bool writer, struct db_connection **ret, struct err **err) {
        if (*path == '\0')
                return err_set(err, EINVAL, "the database url names no file: write sqlite:/path/to/file");
        int r = writer ? create_file(path, err) : 0;
        if (r < 0)
                return r;
        struct sqlite_connection *c = calloc(1, sizeof(*c));
        if (!c)
                return err_set(err, ENOMEM, "out of memory");
        c->base.backend = &db_sqlite_backend;
        /* NOMUTEX: db.c sees to it that one thread at a time uses a connection. */
        r = sqlite3_open_v2(path, &c->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
        if (r != SQLITE_OK) {
                r = c->handle ? fail(c, err) : err_set(err, ENOMEM, "out of memory");
        } else {
                r = configure(c, path, writer, err);
        }
        if (r < 0) {
                sqlite_close(&c->base);
                return err ? err_wrap(err, "open database %s", path) : r;
        }
        *ret = &c->base;
        return 0;
}

const struct db_backend db_sqlite_backend = {
        .scheme = "sqlite:",
        .open = sqlite_open,
        .close = sqlite_close,
        .begin = sqlite_begin,
        .commit = sqlite_commit,
        .rollback = sqlite_rollback,
        .execute = sqlite_execute,
        .script = sqlite_script,
};
