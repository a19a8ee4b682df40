/* SPDX-License-Identifier: Apache-2.0 */
#include "db/db.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/random.h"
#include "base/str.h"

static const struct db_migration schema[] = {
        {1, "items",
         "CREATE TABLE item (id BIGINT PRIMARY KEY, part BIGINT NOT NULL, name TEXT UNIQUE, data BLOB);"},
        {2, "owners",
         "CREATE TABLE owner (id BIGINT PRIMARY KEY);"
         "CREATE TABLE pet (id BIGINT PRIMARY KEY, owner BIGINT REFERENCES owner(id) DEFERRABLE INITIALLY "
         "DEFERRED);"},
};

struct fixture {
        char folder[64];
        char *url;
        struct loop *loop;
        struct db *db;
};

static void open_db(struct fixture *f) {
        struct err *err = NULL;
        int r = db_open(f->loop, f->url, schema, ARRAY_SIZE(schema), &f->db, &err);
        if (r < 0)
                fail_msg("%s", err_message(err));
}

static int setup(void **state) {
        struct fixture *f = calloc(1, sizeof(*f));
        strcpy(f->folder, "/tmp/skerry-db-XXXXXX");
        assert_non_null(mkdtemp(f->folder));
        f->url = str_format("sqlite:%s/test.db", f->folder);
        assert_int_equal(loop_new(&f->loop, NULL), 0);
        open_db(f);
        *state = f;
        return 0;
}

static int teardown(void **state) {
        struct fixture *f = *state;
        db_close(f->db);
        loop_free(f->loop);
        assert_int_equal(path_remove(f->folder, NULL), 0);
        free(f->url);
        free(f);
        return 0;
}

/* ---- helpers: what done() said, in order */

struct outcome {
        struct loop *loop;
        int wanted, n;
        int order[512], errors[512];
        char message[256];
};
struct ticket {
        struct outcome *outcome;
        int number;
};

static void on_done(void *arg, int error, const char *message) {
        struct ticket *t = arg;
        struct outcome *o = t->outcome;
        o->order[o->n] = t->number;
        o->errors[o->n] = error;
        o->n++;
        assert_true((error == 0) == (message == NULL));
        if (message)
                (void)snprintf(o->message, sizeof(o->message), "%s", message);
        free(t);
        if (o->n == o->wanted && o->loop)
                loop_stop(o->loop, 0);
}

static void submit(struct db *db, struct outcome *o, int number, struct db_batch *b) {
        struct ticket *t = malloc(sizeof(*t));
        *t = (struct ticket){o, number};
        db_submit(db, b, on_done, t);
}

static struct db_batch *item_batch(int id) {
        struct db_batch *b = db_batch_new();
        assert_int_equal(
                db_batch_add(b, "INSERT INTO item (id, part) VALUES ($1, $2)", "ii", (int64_t)id, (int64_t)0),
                0);
        return b;
}

static int64_t one_int(struct db *db, const char *sql) {
        _cleanup_(db_rows_freep) struct db_rows *rows = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        if (db_query_now(db, &rows, &err, sql, "") < 0)
                fail_msg("%s", err_message(err));
        assert_int_equal(db_rows_len(rows), 1);
        return db_int(rows, 0, 0);
}

/* ---- tests */

static void values_come_back_as_they_went(void **state) {
        struct fixture *f = *state;
        struct db_batch *b = db_batch_new();
        assert_true(db_batch_is_empty(b));
        char name[] = "Flensburg \xc3\xbc";
        assert_int_equal(db_batch_add(b, "INSERT INTO item (id, part, name, data) VALUES ($2, $1, $3, $4)",
                                      "iisb", (int64_t)-7, INT64_MAX, name, (const void *)"a\0b", (size_t)3),
                         0);
        name[0] = 'X'; /* the batch has a copy */
        assert_int_equal(db_batch_add(b, "INSERT INTO item (id, part, name, data) VALUES ($1, $1, $2, $3)",
                                      "isn", (int64_t)2, NULL),
                         0);
        assert_int_equal(db_batch_add(b, "INSERT INTO item (id, part, data) VALUES ($1, $1, $2)", "ib",
                                      (int64_t)3, NULL, (size_t)0),
                         0);
        assert_false(db_batch_is_empty(b));
        assert_int_equal(db_write_now(f->db, b, NULL), 0);

        _cleanup_(db_rows_freep) struct db_rows *rows = NULL;
        assert_int_equal(
                db_query_now(
                        f->db, &rows, NULL,
                        "SELECT id, part, name, data FROM item WHERE part = $1 OR id < $2 ORDER BY id DESC",
                        "ii", (int64_t)-7, (int64_t)4),
                0);
        assert_int_equal(db_rows_len(rows), 3);
        assert_true(db_int(rows, 0, 0) == INT64_MAX);
        assert_int_equal(db_int(rows, 0, 1), -7);
        assert_string_equal(db_text(rows, 0, 2), "Flensburg \xc3\xbc");
        size_t len = 0;
        const void *data = db_blob(rows, 0, 3, &len);
        assert_int_equal(len, 3);
        assert_memory_equal(data, "a\0b", 3);
        assert_false(db_is_null(rows, 1, 3)); /* an empty blob is no NULL */
        assert_true(db_is_null(rows, 2, 2));
        assert_null(db_text(rows, 2, 2));
        assert_null(db_blob(rows, 2, 3, &len));
        assert_int_equal(db_int(rows, 2, 3), 0);
        assert_true(db_is_null(rows, 3, 0)); /* outside */
        assert_true(db_is_null(rows, 0, 4));
}

static void batches_are_written_in_order_and_told_in_order(void **state) {
        struct fixture *f = *state;
        struct outcome o = {.loop = f->loop, .wanted = 300};
        for (int i = 0; i < o.wanted; i++) {
                struct db_batch *b = db_batch_new();
                /* The last one wins: the value tells the order. */
                db_batch_add(
                        b,
                        "INSERT INTO item (id, part) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET part = $1",
                        "i", (int64_t)i);
                submit(f->db, &o, i, b);
        }
        loop_run(f->loop);
        for (int i = 0; i < o.wanted; i++) {
                assert_int_equal(o.order[i], i);
                assert_int_equal(o.errors[i], 0);
        }
        assert_int_equal(one_int(f->db, "SELECT part FROM item"), 299);
        assert_null(db_health(f->db));
}

static void a_violation_fails_its_batch_alone_and_whole(void **state) {
        struct fixture *f = *state;
        struct outcome o = {.loop = f->loop, .wanted = 5};
        submit(f->db, &o, 0, item_batch(1));
        struct db_batch *b = item_batch(2);
        db_batch_add(b, "INSERT INTO item (id, part) VALUES (1, 0)", "");
        submit(f->db, &o, 1, b);
        submit(f->db, &o, 2, item_batch(3));
        b = item_batch(4);
        db_batch_add(b, "INSERT INTO nowhere VALUES (1)", "");
        submit(f->db, &o, 3, b);
        b = item_batch(5);
        db_batch_add(b, "INSERT INTO item (id, part) VALUES (6, $1)", "n");
        submit(f->db, &o, 4, b);
        loop_run(f->loop);
        static const int errors[] = {0, -EEXIST, 0, -EINVAL, -EINVAL};
        assert_memory_equal(o.errors, errors, sizeof(errors));
        assert_non_null(strstr(o.message, "item.part"));
        assert_int_equal(one_int(f->db, "SELECT count(*) FROM item"), 2);
        assert_int_equal(one_int(f->db, "SELECT sum(id) FROM item"), 4);
}

/* Deferred foreign keys show only at the commit, which the batch shares with others. */
static void a_violation_at_the_commit_finds_its_batch(void **state) {
        struct fixture *f = *state;
        struct outcome o = {.loop = f->loop, .wanted = 40};
        for (int i = 0; i < o.wanted; i++) {
                struct db_batch *b = db_batch_new();
                db_batch_add(b, "INSERT INTO pet (id, owner) VALUES ($1, $2)", "ii", (int64_t)i, (int64_t)i);
                if (i % 10 != 5)
                        db_batch_add(b, "INSERT INTO owner (id) VALUES ($1)", "i", (int64_t)i);
                submit(f->db, &o, i, b);
        }
        loop_run(f->loop);
        for (int i = 0; i < o.wanted; i++) {
                assert_int_equal(o.order[i], i);
                assert_int_equal(o.errors[i], i % 10 == 5 ? -EINVAL : 0);
        }
        assert_int_equal(one_int(f->db, "SELECT count(*) FROM pet"), 36);
        assert_int_equal(one_int(f->db, "SELECT count(*) FROM pet WHERE id % 10 = 5"), 0);
}

static void an_incomplete_batch_is_not_written(void **state) {
        struct fixture *f = *state;
        _cleanup_(err_freep) struct err *err = NULL;
        struct db_batch *b = item_batch(1);
        assert_int_equal(db_batch_add(b, "INSERT INTO item (id, part) VALUES ($1, 0)", "x"), -EINVAL);
        assert_int_equal(db_write_now(f->db, b, &err), -EINVAL);
        assert_int_equal(one_int(f->db, "SELECT count(*) FROM item"), 0);
}

static void parameters_and_statements_are_checked(void **state) {
        struct fixture *f = *state;
        static const char *const bad[] = {
                "SELECT $2",
                "SELECT ?",
                "SELECT $1, $3",
                "SELECT 1",
                "SELECT $1; SELECT 2",
                "SELECT $1 FROM x",
                "DELETE FROM item WHERE id = $1",
                "SELECT $0",
                "",
        };
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct db_rows *rows = NULL;
                _cleanup_(err_freep) struct err *err = NULL;
                int r = db_query_now(f->db, &rows, &err, bad[i], "i", (int64_t)1);
                if (r >= 0)
                        fail_msg("was taken: %s", bad[i]);
                assert_non_null(err);
                assert_null(rows);
        }
}

static void on_rows(void *arg, const struct db_rows *rows, const struct err *err) {
        struct outcome *o = arg;
        assert_true((rows == NULL) == (err != NULL));
        o->errors[o->n] = err ? err_code(err) : 0;
        o->order[o->n++] = rows ? (int)db_int(rows, 0, 0) : -1;
        if (o->n == o->wanted && o->loop)
                loop_stop(o->loop, 0);
}

static void queries_run_beside_the_loop(void **state) {
        struct fixture *f = *state;
        struct outcome o = {.loop = f->loop, .wanted = 101};
        for (int i = 0; i < 100; i++)
                assert_int_equal(db_query(f->db, on_rows, &o, "SELECT $1 + 1", "i", (int64_t)i), 0);
        assert_int_equal(db_query(f->db, on_rows, &o, "SELECT nothing", ""), 0);
        assert_int_equal(db_query(f->db, on_rows, &o, "SELECT 1", "x"), -EINVAL);
        loop_run(f->loop);
        int sum = 0, failed = 0;
        for (int i = 0; i < o.n; i++) {
                sum += o.errors[i] == 0 ? o.order[i] : 0;
                failed += o.errors[i] == -EINVAL;
        }
        assert_int_equal(sum, 5050);
        assert_int_equal(failed, 1);
}

/* More texts than statements are kept, so that some are prepared again. */
static void the_statement_cache_is_bounded(void **state) {
        struct fixture *f = *state;
        for (int round = 0; round < 3; round++)
                for (int i = 0; i < 150; i++) {
                        _cleanup_(x_freep) char *sql = str_format("SELECT %d", i);
                        assert_int_equal(one_int(f->db, sql), i);
                }
}

static void close_writes_what_waits(void **state) {
        struct fixture *f = *state;
        struct outcome o = {.wanted = 400}, q = {.wanted = 3};
        for (int i = 0; i < o.wanted; i++)
                submit(f->db, &o, i, item_batch(i));
        for (int i = 0; i < q.wanted; i++)
                assert_int_equal(db_query(f->db, on_rows, &q, "SELECT 1", ""), 0);
        f->db = db_close(f->db);
        assert_int_equal(o.n, 400);
        for (int i = 0; i < o.n; i++) {
                assert_int_equal(o.order[i], i);
                assert_int_equal(o.errors[i], 0);
        }
        for (int i = 0; i < q.n; i++)
                assert_int_equal(q.errors[i], -ECANCELED);
        assert_int_equal(q.n, 3);
        open_db(f);
        assert_int_equal(one_int(f->db, "SELECT count(*) FROM item"), 400);
}

struct chain {
        struct db *db;
        int left;
};
static void submit_next(void *arg, int error, const char *message) {
        struct chain *c = arg;
        assert_int_equal(error, 0);
        if (c->left-- > 0)
                db_submit(c->db, item_batch(c->left), submit_next, c);
}

static void close_writes_what_done_submits(void **state) {
        struct fixture *f = *state;
        struct chain c = {f->db, 5};
        db_submit(f->db, item_batch(1000), submit_next, &c);
        f->db = db_close(f->db);
        assert_int_equal(c.left, -1);
        open_db(f);
        assert_int_equal(one_int(f->db, "SELECT count(*) FROM item"), 6);
}

static void write_now_comes_behind_the_queue(void **state) {
        struct fixture *f = *state;
        struct outcome o = {.loop = f->loop, .wanted = 50};
        for (int i = 0; i < o.wanted; i++)
                submit(f->db, &o, i, item_batch(i));
        struct db_batch *b = db_batch_new();
        db_batch_add(b, "UPDATE item SET part = 9", "");
        assert_int_equal(db_write_now(f->db, b, NULL), 0);
        assert_int_equal(o.n, 0); /* told by the loop */
        assert_int_equal(one_int(f->db, "SELECT count(*) FROM item WHERE part = 9"), 50);
        loop_run(f->loop);
        for (int i = 0; i < o.n; i++)
                assert_int_equal(o.order[i], i);

        _cleanup_(err_freep) struct err *err = NULL;
        assert_int_equal(db_write_now(f->db, item_batch(3), &err), -EEXIST);
        assert_non_null(strstr(err_message(err), "item.id"));
}

static void tools_need_no_loop(void **state) {
        struct fixture *f = *state;
        f->db = db_close(f->db);
        _cleanup_(db_closep) struct db *db = NULL;
        assert_int_equal(db_open(NULL, f->url, schema, ARRAY_SIZE(schema), &db, NULL), 0);
        assert_int_equal(db_write_now(db, item_batch(1), NULL), 0);
        assert_int_equal(one_int(db, "SELECT count(*) FROM item"), 1);
}

/* ---- schema */

static void migrations_run_once_and_in_order(void **state) {
        struct fixture *f = *state;
        f->db = db_close(f->db);
        static const struct db_migration next[] = {
                schema[0],
                schema[1],
                {5, "more", "CREATE TABLE more (id BIGINT); INSERT INTO more VALUES (1);"},
        };
        for (int i = 0; i < 2; i++) {
                _cleanup_(db_closep) struct db *db = NULL;
                assert_int_equal(db_open(f->loop, f->url, next, ARRAY_SIZE(next), &db, NULL), 0);
                assert_int_equal(one_int(db, "SELECT count(*) FROM more"), 1);
                assert_int_equal(one_int(db, "SELECT count(*) FROM schema_version"), 3);
        }
}

static void a_migration_that_fails_leaves_nothing(void **state) {
        struct fixture *f = *state;
        f->db = db_close(f->db);
        static const struct db_migration bad[] = {
                schema[0],
                schema[1],
                {3, "half", "CREATE TABLE half (id BIGINT); INSERT INTO absent VALUES (1);"},
        };
        struct db *db = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        assert_int_equal(db_open(f->loop, f->url, bad, ARRAY_SIZE(bad), &db, &err), -EINVAL);
        assert_non_null(strstr(err_message(err), "migration 3 half"));
        assert_null(db);
        open_db(f);
        assert_int_equal(one_int(f->db, "SELECT count(*) FROM sqlite_master WHERE name = 'half'"), 0);
        assert_int_equal(one_int(f->db, "SELECT max(number) FROM schema_version"), 2);
}

static void a_newer_schema_is_refused(void **state) {
        struct fixture *f = *state;
        f->db = db_close(f->db);
        struct db *db = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        assert_int_equal(db_open(f->loop, f->url, schema, 1, &db, &err), -EPROTO);
        assert_non_null(strstr(err_message(err), "schema 2, this one knows 1"));
        assert_non_null(strstr(err_message(err), f->folder));
        assert_null(db);
}

static void what_cannot_be_opened_says_why(void **state) {
        struct fixture *f = *state;
        _cleanup_(x_freep) char *absent = str_format("sqlite:%s/no/such/folder.db", f->folder);
        _cleanup_(x_freep) char *folder = str_format("sqlite:%s", f->folder);
        _cleanup_(x_freep) char *text = str_format("%s/text", f->folder);
        _cleanup_(x_freep) char *text_url = str_format("sqlite:%s", text);
        char junk[8192];
        memset(junk, 'x', sizeof(junk));
        assert_int_equal(file_write_atomic(text, junk, sizeof(junk), 0600, NULL), 0);
        const char *const urls[] = {absent, folder, text_url, "sqlite:", "mysql://x", ""};
        for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
                struct db *db = NULL;
                _cleanup_(err_freep) struct err *err = NULL;
                if (db_open(f->loop, urls[i], schema, ARRAY_SIZE(schema), &db, &err) >= 0)
                        fail_msg("was opened: %s", urls[i]);
                assert_non_null(err);
                assert_null(db);
        }
}

static void the_file_is_for_its_owner_alone(void **state) {
        struct fixture *f = *state;
        assert_int_equal(db_write_now(f->db, item_batch(1), NULL), 0);
        static const char *const names[] = {"test.db", "test.db-wal", "test.db-shm"};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                _cleanup_(x_freep) char *path = path_join(f->folder, names[i]);
                struct stat st;
                assert_int_equal(stat(path, &st), 0);
                assert_int_equal(st.st_mode & 0777, 0600);
        }
}

/* ---- trouble with the machine */

struct trouble {
        struct fixture *f;
        struct loop_timer *timer;
        void (*cure)(struct fixture *f);
        char health[256];
        struct outcome *outcome;
};

/* Looks until the database says that it is unwell, then takes the cause away. */
static void watch(void *arg) {
        struct trouble *t = arg;
        const char *health = db_health(t->f->db);
        if (!health) {
                assert_int_not_equal(t->outcome->n, t->outcome->wanted);
                loop_timer_set(t->timer, 5);
                return;
        }
        (void)snprintf(t->health, sizeof(t->health), "%s", health);
        t->cure(t->f);
}

static void large_batches(struct db *db, struct outcome *o) {
        _cleanup_(x_freep) char *data = calloc(1, 64u << 10);
        for (int i = 0; i < o->wanted; i++) {
                struct db_batch *b = db_batch_new();
                db_batch_add(b, "INSERT INTO item (id, part, data) VALUES ($1, $1, $2)", "ib", (int64_t)i,
                             (const void *)data, (size_t)64 << 10);
                submit(db, o, i, b);
        }
}

static void suffer(struct fixture *f, int n, void (*cure)(struct fixture *f), char *ret_health) {
        struct outcome o = {.loop = f->loop, .wanted = n};
        struct trouble t = {.f = f, .cure = cure, .outcome = &o};
        t.timer = loop_timer_new(f->loop, watch, &t);
        loop_timer_set(t.timer, 1);
        large_batches(f->db, &o);
        loop_run(f->loop);
        loop_timer_free(t.timer);
        assert_int_equal(o.n, n);
        for (int i = 0; i < n; i++) {
                assert_int_equal(o.order[i], i);
                assert_int_equal(o.errors[i], 0);
        }
        assert_int_equal(one_int(f->db, "SELECT count(*) FROM item"), n);
        assert_int_equal(one_int(f->db, "SELECT count(*) FROM item WHERE length(data) = 65536"), n);
        assert_null(db_health(f->db));
        (void)snprintf(ret_health, 256, "%s", t.health);
}

static struct rlimit old_limit;

static void raise_limit(struct fixture *f) {
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old_limit), 0);
}

static void a_file_that_cannot_grow_is_waited_for(void **state) {
        struct fixture *f = *state;
        char health[256];
        signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
        struct rlimit low = {.rlim_cur = 1u << 20, .rlim_max = old_limit.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
        suffer(f, 40, raise_limit, health);
        assert_non_null(strstr(health, "batches wait"));
}

static void remove_ballast(struct fixture *f) {
        _cleanup_(x_freep) char *path = path_join(f->folder, "small/ballast");
        assert_int_equal(unlink(path), 0);
}

static void a_full_disk_is_waited_for(void **state) {
        struct fixture *f = *state;
        char health[256];
        _cleanup_(x_freep) char *small = path_join(f->folder, "small");
        assert_int_equal(mkdir(small, 0700), 0);
        if (mount("tmpfs", small, "tmpfs", 0, "size=16m") < 0) {
                print_message("skipped: a small tmpfs cannot be mounted here (%s)\n", strerror(errno));
                skip();
        }
        f->db = db_close(f->db);
        free(f->url);
        f->url = str_format("sqlite:%s/test.db", small);
        open_db(f);
        _cleanup_(x_freep) char *ballast = path_join(small, "ballast");
        int fd = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        char block[64 << 10] = {1};
        int blocks = 0;
        while (write(fd, block, sizeof(block)) == (ssize_t)sizeof(block))
                blocks++;
        assert_int_equal(ftruncate(fd, (blocks - 8) * (off_t)sizeof(block)), 0); /* half a MiB is free */
        close(fd);
        suffer(f, 60, remove_ballast, health);
        assert_non_null(strstr(health, "disk full"));
        assert_non_null(strstr(health, "batches wait"));
        f->db = db_close(f->db);
        assert_int_equal(umount(small), 0);
}

/* close() does not hang on a machine that does not recover: it says which batches were not written. */
static void close_gives_up_on_a_full_disk(void **state) {
        struct fixture *f = *state;
        signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
        struct rlimit low = {.rlim_cur = 1u << 20, .rlim_max = old_limit.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
        struct outcome o = {.wanted = 40};
        large_batches(f->db, &o);
        f->db = db_close(f->db);
        raise_limit(f);
        assert_int_equal(o.n, 40);
        int written = 0;
        for (int i = 0; i < o.n; i++) {
                assert_int_equal(o.order[i], i);
                written += o.errors[i] == 0;
        }
        assert_in_range(written, 0, 39);
        open_db(f);
        assert_int_equal(one_int(f->db, "SELECT count(*) FROM item"), written);
}

static void on_unlocked(void *arg, int error, const char *message) {
        assert_int_equal(error, 0);
        loop_stop(arg, 0);
}

/* Another program holds the write lock for longer than one try takes. */
static void a_locked_database_is_waited_for(void **state) {
        struct fixture *f = *state;
        int down[2], up[2];
        assert_int_equal(pipe(down), 0);
        assert_int_equal(pipe(up), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                close(down[1]);
                close(up[0]);
                dup2(down[0], 0);
                dup2(up[1], 1);
                _cleanup_(x_freep) char *path = path_join(f->folder, "test.db");
                execlp("python3", "python3", "-c",
                       "import sqlite3,sys\n"
                       "c=sqlite3.connect(sys.argv[1],isolation_level=None)\n"
                       "c.execute('BEGIN IMMEDIATE')\n"
                       "print('locked',flush=True)\n"
                       "sys.stdin.read()\n",
                       path, (char *)NULL);
                _exit(127);
        }
        close(down[0]);
        close(up[1]);
        char word[16] = "";
        if (read(up[0], word, sizeof(word)) <= 0) {
                print_message("skipped: python3 with sqlite3 is not here\n");
                waitpid(pid, NULL, 0);
                skip();
        }
        db_submit(f->db, item_batch(1), on_unlocked, f->loop);
        const char *health;
        while (!(health = db_health(f->db)))
                uv_run(loop_uv(f->loop), UV_RUN_ONCE);
        assert_non_null(strstr(health, "locked"));
        close(down[1]);
        waitpid(pid, NULL, 0);
        close(up[0]);
        loop_run(f->loop);
        assert_int_equal(one_int(f->db, "SELECT count(*) FROM item"), 1);
}

/* ---- SIGKILL in the middle of writes */

struct writer {
        struct db *db;
        int ack_fd;
        int next, told;
        struct prng random;
};
struct numbered {
        struct writer *writer;
        int32_t number;
};

static void write_more(struct writer *w);

static void acknowledge(void *arg, int error, const char *message) {
        struct numbered *n = arg;
        struct writer *w = n->writer;
        if (error < 0)
                print_error("batch %d: %s\n", n->number, message);
        if (error < 0 || write(w->ack_fd, &n->number, sizeof(n->number)) != sizeof(n->number))
                _exit(3);
        w->told++;
        free(n);
        write_more(w);
}

/* Keeps a few dozen batches under way. */
static void write_more(struct writer *w) {
        if (w->next - w->told > 24)
                return;
        for (uint64_t n = 1 + prng_below(&w->random, 8); n > 0; n--) {
                struct numbered *numbered = malloc(sizeof(*numbered));
                struct db_batch *b = db_batch_new();
                for (int part = 0; part < 3; part++)
                        db_batch_add(b, "INSERT INTO item (id, part) VALUES ($1, $2)", "ii",
                                     (int64_t)w->next * 3 + part, (int64_t)w->next);
                *numbered = (struct numbered){w, w->next++};
                db_submit(w->db, b, acknowledge, numbered);
        }
}

static _noreturn_ void write_until_killed(struct fixture *f, int ack_fd, int first, uint64_t seed) {
        struct loop *loop = NULL;
        struct writer w = {.ack_fd = ack_fd, .next = first, .told = first};
        struct err *err = NULL;
        if (loop_new(&loop, &err) < 0 || db_open(loop, f->url, schema, ARRAY_SIZE(schema), &w.db, &err) < 0) {
                print_error("%s\n", err_message(err));
                _exit(2);
        }
        prng_seed(&w.random, seed);
        write_more(&w);
        loop_run(loop);
        _exit(4);
}

static void what_was_acknowledged_survives_sigkill(void **state) {
        struct fixture *f = *state;
        f->db = db_close(f->db);
        struct prng random;
        uint64_t seed = 20261120;
        prng_seed(&random, seed);
        int first = 0;
        for (int round = 0; round < 12; round++) {
                int pipe_fds[2];
                assert_int_equal(pipe(pipe_fds), 0);
                uint64_t child_seed = prng_next(&random);
                pid_t pid = fork();
                assert_true(pid >= 0);
                if (pid == 0) {
                        close(pipe_fds[0]);
                        write_until_killed(f, pipe_fds[1], first, child_seed);
                }
                close(pipe_fds[1]);
                int32_t number;
                int acknowledged = first - 1;
                for (uint64_t n = 1 + prng_below(&random, 60); n > 0; n--) {
                        assert_int_equal(read(pipe_fds[0], &number, sizeof(number)), sizeof(number));
                        assert_int_equal(number, acknowledged + 1);
                        acknowledged = number;
                }
                assert_int_equal(kill(pid, SIGKILL), 0);
                while (read(pipe_fds[0], &number, sizeof(number)) == sizeof(number)) {
                        assert_int_equal(number, acknowledged + 1);
                        acknowledged = number;
                }
                close(pipe_fds[0]);
                int status = 0;
                assert_int_equal(waitpid(pid, &status, 0), pid);
                assert_true(WIFSIGNALED(status));

                open_db(f);
                int64_t last = one_int(f->db, "SELECT coalesce(max(part), -1) FROM item");
                assert_true(last >= acknowledged);
                /* None in part, none skipped, none written before its predecessor. */
                assert_int_equal(one_int(f->db, "SELECT count(*) FROM item"), (last + 1) * 3);
                assert_int_equal(one_int(f->db, "SELECT count(DISTINCT part) FROM item"), last + 1);
                f->db = db_close(f->db);
                first = (int)last + 1;
        }
        assert_true(first > 0);
        open_db(f);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        const struct CMUnitTest tests[] = {
                TEST(what_was_acknowledged_survives_sigkill), /* first: it forks before any thread is started
                                                               */
                TEST(values_come_back_as_they_went),
                TEST(batches_are_written_in_order_and_told_in_order),
                TEST(a_violation_fails_its_batch_alone_and_whole),
                TEST(a_violation_at_the_commit_finds_its_batch),
                TEST(an_incomplete_batch_is_not_written),
                TEST(parameters_and_statements_are_checked),
                TEST(queries_run_beside_the_loop),
                TEST(the_statement_cache_is_bounded),
                TEST(close_writes_what_waits),
                TEST(close_writes_what_done_submits),
                TEST(write_now_comes_behind_the_queue),
                TEST(tools_need_no_loop),
                TEST(migrations_run_once_and_in_order),
                TEST(a_migration_that_fails_leaves_nothing),
                TEST(a_newer_schema_is_refused),
                TEST(what_cannot_be_opened_says_why),
                TEST(the_file_is_for_its_owner_alone),
                TEST(a_file_that_cannot_grow_is_waited_for),
                TEST(a_full_disk_is_waited_for),
                TEST(close_gives_up_on_a_full_disk),
                TEST(a_locked_database_is_waited_for),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
