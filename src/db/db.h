/* SPDX-License-Identifier: Apache-2.0 */
/* The database behind one interface; SQLite today, PostgreSQL next. No type of either leaks out.
 *
 * SQL is the common subset, parameters are $1, $2, ... (each given one is used); one statement a call,
 * nothing behind it. Writes are gathered into batches; a batch is written whole or not at all. Batches are
 * applied in the order given, by one writer on the worker pool, several to a transaction when they queue
 * up (group commit). done() is called on the loop's thread after the commit is durable, in the order of
 * submission. A batch that cannot be written (disk full, busy) is tried again with backoff until it
 * can: order is kept, nothing is lost while the process lives; db_health() says so meanwhile. A batch
 * that violates a constraint is a programming error: it fails alone, with a message (-EEXIST: a unique
 * key is taken; -EINVAL: another constraint, or SQL that cannot run; -E2BIG: a value too large).
 *
 * All functions belong to the loop's thread. A query sees every batch whose done() was called; later
 * ones perhaps. */
#pragma once

#include "base/err.h"
#include "net/loop.h"

struct db;
struct db_batch;

struct db_migration { /* numbered SQL files, compiled in */
        int number;
        const char *name;
        const char *sql;
};

/* url: "sqlite:/path/file"; the file is made (mode 0600) when it is absent. Runs the migrations that are
 * missing, each in a transaction, and notes them in the table schema_version (synchronous, before the
 * loop runs). migrations rise by number. -EPROTO when the file was made by a newer program.
 * l may be NULL for tools: then only db_query_now(), db_write_now() and db_close() work. */
int db_open(struct loop *l, const char *url, const struct db_migration *migrations, size_t n, struct db **ret,
            struct err **err);
/* Writes what is queued (synchronous, tried for a few seconds), closes. Every done() still owed is called
 * before it returns: of batches with 0 or the error that kept them from being written, of queries with
 * -ECANCELED. The loop must still exist. Not to be called from inside a done(). */
struct db *db_close(struct db *db);
DEFINE_CLEANUP(struct db, db_close)

/* ---- writing. types: one letter a parameter: s text (NULL: SQL NULL), i int64_t, b const void * + size_t
 * (two arguments), n NULL without argument. At most 64. SQL, text and blobs are copied. */
struct db_batch *db_batch_new(void) _must_use_;
struct db_batch *db_batch_free(struct db_batch *b);
DEFINE_CLEANUP(struct db_batch, db_batch_free)
/* -EINVAL (unknown type letter), -ENOMEM. The batch remembers it: submitted all the same, it fails whole. */
int db_batch_add(struct db_batch *b, const char *sql, const char *types, ...);
bool db_batch_is_empty(const struct db_batch *b);
/* Takes the batch. done may be NULL; message is NULL on success. */
void db_submit(struct db *db, struct db_batch *b, void (*done)(void *arg, int error, const char *message),
               void *arg);
/* At once, on the calling thread, behind what is queued (start-up and tools). Takes the batch. Not tried
 * again: on failure it is not written. */
int db_write_now(struct db *db, struct db_batch *b, struct err **err);

/* ---- reading */
struct db_rows; /* a whole result. A cell reads as its own type only; outside the result all is NULL. */
size_t db_rows_len(const struct db_rows *r);
bool db_is_null(const struct db_rows *r, size_t row, size_t column);
int64_t db_int(const struct db_rows *r, size_t row, size_t column);      /* 0 for NULL */
const char *db_text(const struct db_rows *r, size_t row, size_t column); /* NULL for NULL */
const void *db_blob(const struct db_rows *r, size_t row, size_t column, size_t *ret_len);
struct db_rows *db_rows_free(struct db_rows *r);
DEFINE_CLEANUP(struct db_rows, db_rows_free)

/* At once, on the calling thread (start-up and tools). */
int db_query_now(struct db *db, struct db_rows **ret, struct err **err, const char *sql, const char *types,
                 ...);
/* On the worker pool; done() on the loop's thread, rows are freed after it. On failure (-EINVAL, -ENOMEM)
 * done() is not called. Queries may overtake each other. */
int db_query(struct db *db, void (*done)(void *arg, const struct db_rows *rows, const struct err *err),
             void *arg, const char *sql, const char *types, ...);

/* NULL when well; else what is wrong ("disk full; 12 batches wait"), for health and status pages. */
const char *db_health(const struct db *db);
