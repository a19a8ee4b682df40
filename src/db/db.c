/* SPDX-License-Identifier: Apache-2.0 */
/* The interface, the queue of batches and the group commit. What SQLite or PostgreSQL do differently is
 * behind struct db_backend.
 *
 * Batches wait in `queue`. One job at a time runs on the worker pool: it takes a group from the front, writes
 * it in one transaction, and moves it to `finished`, or puts it back to the front when the machine
 * failed. On the loop's thread the job's end calls done() for what is finished and starts the next job, at
 * once or after a backoff. `lock` guards what both threads touch. */
#include "db/db.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/str.h"
#include "db/backend.h"

#define GROUP_BATCHES_MAX 512
#define GROUP_STATEMENTS_MAX 20000
#define RETRY_FIRST_MS 100
#define RETRY_MAX_MS 10000
#define CLOSE_TRIES 4 /* of a group, with waits of 100, 200, 400 ms between, beyond the busy timeout */
#define READERS_MAX 8 /* connections kept; more are opened and closed again in a burst */
#define STUCK_MS 15000
#define HEALTH_SIZE 256

static const struct db_backend *const backends[] = {&db_sqlite_backend};

struct batch_list {
        struct db_batch *first, *last;
        size_t n;
};

struct db {
        size_t n_refs; /* the owner's, and one a job or query on the worker pool */
        struct loop *loop;
        const struct db_backend *backend;
        char *location;

        pthread_mutex_t lock;
        pthread_cond_t idle; /* writing became false */
        struct db_connection *writer;
        bool writing; /* a thread uses the writer */
        struct batch_list queue, finished;
        struct err *trouble; /* why the last group could not be written; NULL when it could */
        msec_t writing_since;
        struct db_connection *readers[READERS_MAX];
        size_t n_readers;

        /* The loop's thread alone: */
        bool job_out; /* a write job is on the worker pool, or its end has not been handled */
        bool closed;
        struct loop_timer *retry;
        msec_t retry_ms;
        struct db_query *queries; /* outstanding */
        char *health;
};

/* ---- lists of batches */

static void list_put(struct batch_list *l, struct db_batch *b) {
        b->next = NULL;
        if (l->last)
                l->last->next = b;
        else
                l->first = b;
        l->last = b;
        l->n++;
}

static struct db_batch *batch_list_take(struct batch_list *l) {
        struct db_batch *b = l->first;
        if (!b)
                return NULL;
        l->first = b->next;
        if (!l->first)
                l->last = NULL;
        l->n--;
        b->next = NULL;
        return b;
}

/* Puts all of `from` before what `to` holds, or behind. */
static void batch_list_prepend(struct batch_list *to, struct batch_list *from) {
        if (!from->first)
                return;
        from->last->next = to->first;
        to->first = from->first;
        if (!to->last)
                to->last = from->last;
        to->n += from->n;
        *from = (struct batch_list){0};
}

static void batch_list_append(struct batch_list *to, struct batch_list *from) {
        batch_list_prepend(from, to);
        *to = *from;
        *from = (struct batch_list){0};
}

/* ---- writing a group (any thread, the writer in hand) */

static bool is_own_fault(int error) { /* see backend.h */
        return error == -EEXIST || error == -EINVAL || error == -E2BIG;
}

static int run_sql(struct db *db, const char *sql, struct err **err) {
        const struct db_statement s = {.sql = sql};
        return db->backend->execute(db->writer, &s, NULL, err);
}

static int run_statements(struct db *db, const struct db_batch *b, struct err **err) {
        if (b->failed < 0)
                return err_set(err, EINVAL, "the batch was not put together whole: %s", strerror(-b->failed));
        for (const struct db_statement *s = b->first; s; s = s->next) {
                int r = db->backend->execute(db->writer, s, NULL, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* A batch whose own fault it is is marked and its savepoint undone; then the result is 0. */
static int apply_batch(struct db *db, struct db_batch *b, struct err **err) {
        _cleanup_(err_freep) struct err *e = NULL;
        b->error = 0;
        free(TAKE_PTR(b->message));
        int r = run_sql(db, "SAVEPOINT batch", err);
        if (r < 0)
                return r;
        r = run_statements(db, b, &e);
        if (r == 0)
                return run_sql(db, "RELEASE SAVEPOINT batch", err);
        if (!is_own_fault(r))
                return err_move(err, TAKE_PTR(e));
        b->error = r;
        b->message = str_dup(err_message(e));
        r = run_sql(db, "ROLLBACK TO SAVEPOINT batch", err);
        return r < 0 ? r : run_sql(db, "RELEASE SAVEPOINT batch", err);
}

/* All in one transaction. Negative: nothing was written. */
static int apply_transaction(struct db *db, struct db_batch *first, size_t n, struct err **err) {
        int r = db->backend->begin(db->writer, err);
        struct db_batch *b = first;
        for (size_t i = 0; i < n && r == 0; i++, b = b->next)
                r = apply_batch(db, b, err);
        if (r == 0)
                r = db->backend->commit(db->writer, err);
        if (r < 0)
                db->backend->rollback(db->writer);
        return r;
}

/* Writes what it can of a group; *ret_n says how many batches are settled (written, or failed by their own
 * fault). Negative: the machine failed at the one after. */
static int apply_group(struct db *db, struct batch_list *group, size_t *ret_n, struct err **err) {
        _cleanup_(err_freep) struct err *e = NULL;
        *ret_n = 0;
        if (group->n == 0)
                return 0;
        int r = apply_transaction(db, group->first, group->n, &e);
        if (r == 0) {
                *ret_n = group->n;
                return 0;
        }
        if (!is_own_fault(r))
                return err_move(err, TAKE_PTR(e));
        /* A fault that only showed at the commit (a deferred foreign key), or one that undid the whole
         * transaction. One at a time finds the batch that has it. */
        for (struct db_batch *b = group->first; b; b = b->next) {
                _cleanup_(err_freep) struct err *alone = NULL;
                r = apply_transaction(db, b, 1, &alone);
                if (r < 0 && !is_own_fault(r))
                        return err_move(err, TAKE_PTR(alone));
                if (r < 0 && b->error == 0) {
                        b->error = r;
                        b->message = str_dup(err_message(alone));
                }
                (*ret_n)++;
        }
        return 0;
}

/* With the lock held: moves the next group out of the queue. */
static void take_group(struct db *db, struct batch_list *group) {
        size_t statements = 0;
        while (db->queue.first && group->n < GROUP_BATCHES_MAX) {
                statements += db->queue.first->n_statements;
                if (group->n > 0 && statements > GROUP_STATEMENTS_MAX)
                        break;
                list_put(group, batch_list_take(&db->queue));
        }
}

/* One group, on any thread; waits for the writer. 0: it is in `finished` (or the queue was empty). */
static int write_group(struct db *db, struct err **err) {
        _cleanup_(err_freep) struct err *e = NULL;
        struct batch_list group = {0}, settled = {0};
        pthread_mutex_lock(&db->lock);
        while (db->writing)
                pthread_cond_wait(&db->idle, &db->lock);
        take_group(db, &group);
        db->writing = true;
        db->writing_since = clock_mono_ms(clock_system());
        pthread_mutex_unlock(&db->lock);

        size_t n = 0;
        int r = apply_group(db, &group, &n, &e);
        for (; n > 0; n--)
                list_put(&settled, batch_list_take(&group));

        pthread_mutex_lock(&db->lock);
        batch_list_append(&db->finished, &settled);
        batch_list_prepend(&db->queue, &group);
        db->writing = false;
        db->trouble = err_free(db->trouble);
        if (r < 0)
                (void)err_set(&db->trouble, -r, "%s", err_message(e));
        pthread_cond_broadcast(&db->idle);
        pthread_mutex_unlock(&db->lock);
        return r < 0 ? err_move(err, TAKE_PTR(e)) : 0;
}

/* ---- the loop's side */

static struct db *db_unref(struct db *db) {
        if (--db->n_refs > 0)
                return NULL;
        pthread_mutex_destroy(&db->lock);
        pthread_cond_destroy(&db->idle);
        free(db->health);
        free(db->location);
        free(db);
        return NULL;
}

static void call_done(struct db *db) {
        struct batch_list finished = {0};
        pthread_mutex_lock(&db->lock);
        batch_list_append(&finished, &db->finished);
        pthread_mutex_unlock(&db->lock);
        for (struct db_batch *b; (b = batch_list_take(&finished));) {
                if (b->done)
                        b->done(b->arg, b->error,
                                b->error < 0 ? (b->message ? b->message : "out of memory") : NULL);
                db_batch_free(b);
        }
}

static void write_work(void *arg) {
        (void)write_group(arg, NULL); /* the reason stays in db->trouble */
}

static void write_done(void *arg);

static void retry_later(struct db *db) {
        loop_timer_set(db->retry, db->retry_ms);
        db->retry_ms = MIN(db->retry_ms * 2, (msec_t)RETRY_MAX_MS);
}

static void start_job(struct db *db) {
        if (db->job_out || db->closed || loop_timer_is_set(db->retry))
                return;
        if (loop_work(db->loop, write_work, write_done, db) < 0) {
                retry_later(db);
                return;
        }
        db->n_refs++;
        db->job_out = true;
}

static void retry_now(void *arg) {
        start_job(arg);
}

static void write_done(void *arg) {
        struct db *db = arg;
        db->job_out = false;
        if (!db->closed) {
                pthread_mutex_lock(&db->lock);
                bool trouble = db->trouble, more = db->queue.n > 0;
                pthread_mutex_unlock(&db->lock);
                if (!trouble)
                        db->retry_ms = RETRY_FIRST_MS;
                if (trouble && more)
                        retry_later(db);
                else if (more)
                        start_job(db); /* before done(), which may take its time */
                call_done(db);
        }
        db_unref(db);
}

void db_submit(struct db *db, struct db_batch *b, void (*done)(void *arg, int error, const char *message),
               void *arg) {
        b->done = done;
        b->arg = arg;
        if (db->closed) { /* by a done() that db_close() calls */
                if (done)
                        done(arg, -ECANCELED, "the database is closed");
                db_batch_free(b);
                return;
        }
        pthread_mutex_lock(&db->lock);
        list_put(&db->queue, b);
        pthread_mutex_unlock(&db->lock);
        start_job(db);
}

/* Writes what is queued, here and now; a group the machine fails at is tried `tries` times. */
static int flush(struct db *db, int tries, struct err **err) {
        msec_t wait = RETRY_FIRST_MS;
        for (;;) {
                _cleanup_(err_freep) struct err *e = NULL;
                pthread_mutex_lock(&db->lock);
                while (db->writing)
                        pthread_cond_wait(&db->idle, &db->lock);
                bool empty = db->queue.n == 0;
                pthread_mutex_unlock(&db->lock);
                if (empty)
                        return 0;
                int r = write_group(db, &e);
                if (r == 0)
                        continue;
                if (--tries <= 0)
                        return err_move(err, TAKE_PTR(e));
                struct timespec t = {.tv_sec = wait / 1000, .tv_nsec = (wait % 1000) * 1000000};
                (void)nanosleep(&t, NULL);
                wait *= 2;
        }
}

static void post_done(void *arg) {
        struct db *db = arg;
        if (!db->closed)
                call_done(db);
        db_unref(db);
}

int db_write_now(struct db *db, struct db_batch *b, struct err **err) {
        _cleanup_(db_batch_freep) struct db_batch *batch = b;
        int r = flush(db, 1, err);
        if (r < 0)
                return r;
        /* What the flush wrote for others is told to them by the loop, not in the middle of our caller. */
        pthread_mutex_lock(&db->lock);
        bool owed = db->finished.n > 0;
        pthread_mutex_unlock(&db->lock);
        if (owed && !db->job_out && loop_post(db->loop, post_done, db) == 0)
                db->n_refs++;
        struct batch_list group = {0};
        size_t n = 0;
        list_put(&group, batch);
        r = apply_group(db, &group, &n, err);
        if (r < 0)
                return r;
        if (batch->error < 0)
                return err_set(err, -batch->error, "%s", batch->message ? batch->message : "out of memory");
        return 0;
}

/* ---- reading */

struct db_query {
        struct db *db;
        struct db_query *next, *previous;
        struct arena *arena; /* holds the statement */
        struct db_statement *statement;
        void (*done)(void *arg, const struct db_rows *rows, const struct err *err);
        void *arg;
        struct db_rows *rows;
        struct err *err;
};

static struct db_query *query_free(struct db_query *q) {
        if (!q)
                return NULL;
        arena_free(q->arena);
        db_rows_free(q->rows);
        err_free(q->err);
        free(q);
        return NULL;
}
DEFINE_CLEANUP(struct db_query, query_free)

static int query_new(struct db *db, const char *sql, const char *types, va_list ap, struct db_query **ret) {
        _cleanup_(query_freep) struct db_query *q = calloc(1, sizeof(*q));
        if (!q)
                return -ENOMEM;
        q->db = db;
        q->arena = arena_new(0);
        if (!q->arena)
                return -ENOMEM;
        const char *text = arena_strdup(q->arena, sql);
        int r = text ? db_statement_make(q->arena, text, types, ap, &q->statement) : -ENOMEM;
        if (r < 0)
                return r;
        *ret = TAKE_PTR(q);
        return 0;
}

/* A reader from the shelf, or a new one; goes back there after. Any thread. */
static int query_run(struct db_query *q, struct db_rows **ret, struct err **err) {
        struct db *db = q->db;
        struct db_connection *c = NULL;
        pthread_mutex_lock(&db->lock);
        if (db->n_readers > 0)
                c = db->readers[--db->n_readers];
        pthread_mutex_unlock(&db->lock);
        int r = c ? 0 : db->backend->open(db->location, false, &c, err);
        if (r < 0)
                return r;
        r = db->backend->execute(c, q->statement, ret, err);
        pthread_mutex_lock(&db->lock);
        if (db->n_readers < READERS_MAX && !db->closed)
                db->readers[db->n_readers++] = TAKE_PTR(c);
        pthread_mutex_unlock(&db->lock);
        db_connection_close(c);
        return r;
}

int db_query_now(struct db *db, struct db_rows **ret, struct err **err, const char *sql, const char *types,
                 ...) {
        _cleanup_(query_freep) struct db_query *q = NULL;
        va_list ap;
        va_start(ap, types);
        int r = query_new(db, sql, types, ap, &q);
        va_end(ap);
        if (r < 0)
                return err_set_errno(err, -r, "query %.80s", sql);
        return query_run(q, ret, err);
}

static void query_work(void *arg) {
        struct db_query *q = arg;
        if (query_run(q, &q->rows, &q->err) < 0 && !q->err)
                (void)err_set(&q->err, ENOMEM, "out of memory");
}

static void query_unlink(struct db_query *q) {
        if (q->next)
                q->next->previous = q->previous;
        if (q->previous)
                q->previous->next = q->next;
        else
                q->db->queries = q->next;
}

static void query_done(void *arg) {
        struct db_query *q = arg;
        struct db *db = q->db;
        if (!db->closed) { /* else db_close() has told its owner */
                query_unlink(q);
                q->done(q->arg, q->rows, q->err);
        }
        query_free(q);
        db_unref(db);
}

int db_query(struct db *db, void (*done)(void *arg, const struct db_rows *rows, const struct err *err),
             void *arg, const char *sql, const char *types, ...) {
        _cleanup_(query_freep) struct db_query *q = NULL;
        va_list ap;
        va_start(ap, types);
        int r = query_new(db, sql, types, ap, &q);
        va_end(ap);
        if (r < 0)
                return r;
        q->done = done;
        q->arg = arg;
        r = loop_work(db->loop, query_work, query_done, q);
        if (r < 0)
                return r;
        db->n_refs++;
        q->next = db->queries;
        if (q->next)
                q->next->previous = q;
        db->queries = TAKE_PTR(q);
        return 0;
}

/* ---- health, opening, closing */

const char *db_health(const struct db *db) {
        struct db *shared = (struct db *)db; /* only for its lock */
        bool well = true;
        pthread_mutex_lock(&shared->lock);
        size_t waiting = db->queue.n;
        if (db->trouble) {
                (void)snprintf(db->health, HEALTH_SIZE, "%s; %zu batches wait", err_message(db->trouble),
                               waiting);
                well = false;
        } else if (db->writing) {
                msec_t for_ms = clock_mono_ms(clock_system()) - db->writing_since;
                if (for_ms >= STUCK_MS) {
                        (void)snprintf(db->health, HEALTH_SIZE, "a write takes %lld s; %zu batches wait",
                                       (long long)(for_ms / 1000), waiting);
                        well = false;
                }
        }
        pthread_mutex_unlock(&shared->lock);
        return well ? NULL : db->health;
}

static struct db *db_new(struct loop *l, const struct db_backend *backend, const char *location) {
        struct db *db = calloc(1, sizeof(*db));
        if (!db)
                return NULL;
        db->n_refs = 1;
        db->loop = l;
        db->backend = backend;
        db->retry_ms = RETRY_FIRST_MS;
        pthread_mutex_init(&db->lock, NULL);
        pthread_cond_init(&db->idle, NULL);
        db->location = str_dup(location);
        db->health = malloc(HEALTH_SIZE);
        if (l)
                db->retry = loop_timer_new(l, retry_now, db);
        if (!db->location || !db->health || (l && !db->retry))
                return db_close(db);
        return db;
}

int db_open(struct loop *l, const char *url, const struct db_migration *migrations, size_t n, struct db **ret,
            struct err **err) {
        for (size_t i = 0; i < ARRAY_SIZE(backends); i++) {
                const char *location = str_after_prefix(url, backends[i]->scheme);
                if (!location)
                        continue;
                _cleanup_(db_closep) struct db *db = db_new(l, backends[i], location);
                if (!db)
                        return err_set(err, ENOMEM, "open database %s: out of memory", url);
                int r = backends[i]->open(location, true, &db->writer, err);
                if (r < 0)
                        return r;
                r = db_migrate(db->writer, migrations, n, clock_wall_ms(clock_system()), err);
                if (r < 0) {
                        (void)err_wrap(err, "open database %s", location);
                        return r;
                }
                *ret = TAKE_PTR(db);
                return 0;
        }
        return err_set(err, EINVAL, "no database of the kind \"%s\": write sqlite:/path/to/file", url);
}

/* Nothing waits, nothing is being written by the worker, nobody is still to be told. */
static bool is_idle(struct db *db) {
        pthread_mutex_lock(&db->lock);
        bool idle = db->queue.n == 0 && !db->writing && db->finished.n == 0;
        pthread_mutex_unlock(&db->lock);
        return idle;
}

/* What done() submits in its turn is written too; a chain without end is cut. */
static void drain(struct db *db, struct err **err) {
        for (int round = 0; round < 100; round++) {
                int r = flush(db, CLOSE_TRIES, err);
                call_done(db);
                if (r < 0 || is_idle(db))
                        return;
        }
}

struct db *db_close(struct db *db) {
        if (!db)
                return NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        if (db->writer)
                drain(db, &err);

        pthread_mutex_lock(&db->lock);
        while (db->writing)
                pthread_cond_wait(&db->idle, &db->lock);
        db->closed = true;
        for (struct db_batch *b; (b = batch_list_take(&db->queue));) {
                b->error = err ? err_code(err) : -ECANCELED;
                free(b->message);
                b->message = str_dup(err ? err_message(err) : "the database is closed");
                list_put(&db->finished, b);
        }
        pthread_mutex_unlock(&db->lock);
        call_done(db);

        _cleanup_(err_freep) struct err *cancelled = NULL;
        (void)err_set(&cancelled, ECANCELED, "the database is closed");
        while (db->queries) { /* their memory is freed when the worker is through with them */
                struct db_query *q = db->queries;
                query_unlink(q);
                q->done(q->arg, NULL, cancelled);
        }
        pthread_mutex_lock(&db->lock);
        while (db->n_readers > 0)
                db_connection_close(db->readers[--db->n_readers]);
        pthread_mutex_unlock(&db->lock);
        db->writer = db_connection_close(db->writer);
        db->trouble = err_free(db->trouble);
        db->retry = loop_timer_free(db->retry);
        return db_unref(db);
}
