/* SPDX-License-Identifier: Apache-2.0 */
/* Effects come after the rows they depend on are durable, in the order they were made. */
#include "server/turns.h"

#include <errno.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/fs.h"
#include "server/memory.h"

static const struct db_migration schema[] = {{1, "t", "CREATE TABLE t (id INTEGER PRIMARY KEY);"}};

struct fixture {
        char folder[64];
        struct loop *loop;
        struct db *db;
        struct turns *turns;
        char log[64]; /* a letter for each effect: rows durable by then, or 'x' for an error, 'c' for
                         cancelled */
        size_t n;
};

static int64_t rows_now(struct fixture *f) {
        _cleanup_(db_rows_freep) struct db_rows *rows = NULL;
        assert_int_equal(db_query_now(f->db, &rows, NULL, "SELECT COUNT(*) FROM t", ""), 0);
        return db_int(rows, 0, 0);
}

static void note(void *arg, int error) {
        struct fixture *f = arg;
        f->log[f->n++] = error == -ECANCELED ? 'c' : error ? 'x' : (char)('0' + rows_now(f));
}

static void stop(void *arg, int error) {
        struct fixture *f = arg;
        loop_stop(f->loop, 0);
}

static int setup(void **state) {
        struct fixture *f = calloc(1, sizeof(*f));
        strcpy(f->folder, "/tmp/skerry-turns-XXXXXX");
        assert_non_null(mkdtemp(f->folder));
        _cleanup_(x_freep) char *url = must(str_format("sqlite:%s/db", f->folder));
        assert_int_equal(loop_new(&f->loop, NULL), 0);
        assert_int_equal(db_open(f->loop, url, schema, 1, &f->db, NULL), 0);
        f->turns = turns_new(f->loop, f->db);
        *state = f;
        return 0;
}

static void close_all(struct fixture *f) {
        turns_finish(f->turns);
        db_close(f->db);
        loop_free(f->loop);
        turns_free(f->turns);
}

static int teardown(void **state) {
        struct fixture *f = *state;
        if (f->turns)
                close_all(f);
        path_remove(f->folder, NULL);
        free(f);
        return 0;
}

static void test_order(void **state) {
        struct fixture *f = *state;
        turns_after(f->turns, note, f); /* of what was added so far: nothing */
        turns_write(f->turns, "INSERT INTO t VALUES (1)", "");
        turns_after(f->turns, note, f);
        turns_write(f->turns, "INSERT INTO t VALUES (2)", "");
        turns_after(f->turns, note, f);
        assert_int_equal(f->n, 0); /* never from inside the call */
        turns_after(f->turns, stop, f);
        loop_run(f->loop);
        assert_string_equal(f->log, "222"); /* one turn is one batch */
        turns_after(f->turns, note, f);
        turns_after(f->turns, stop, f);
        loop_run(f->loop);
        assert_string_equal(f->log, "2222");
}

static void more(void *arg) {
        struct fixture *f = arg;
        turns_after(f->turns, note, f); /* has no rows, yet waits for those before it */
        turns_after(f->turns, stop, f);
}

static void test_a_turn_without_rows_keeps_its_place(void **state) {
        struct fixture *f = *state;
        turns_write(f->turns, "INSERT INTO t VALUES (1)", "");
        turns_after(f->turns, note, f);
        assert_int_equal(loop_post(f->loop, more, f), 0);
        loop_run(f->loop);
        assert_string_equal(f->log, "11");
}

static void test_a_refused_batch_says_so(void **state) {
        struct fixture *f = *state;
        turns_write(f->turns, "INSERT INTO t VALUES (1)", "");
        turns_write(f->turns, "INSERT INTO t VALUES (1)", "");
        turns_after(f->turns, note, f);
        turns_after(f->turns, stop, f);
        loop_run(f->loop);
        turns_write(f->turns, "INSERT INTO t VALUES (7)", "");
        turns_after(f->turns, note, f);
        turns_after(f->turns, stop, f);
        loop_run(f->loop);
        assert_string_equal(f->log, "x1");
}

static void count_after_close(void *arg, int error) {
        struct fixture *f = arg;
        assert_int_equal(error, -ECANCELED);
        f->log[f->n++] = 'c';
}

static void test_at_the_end_rows_are_kept_and_effects_cancelled(void **state) {
        struct fixture *f = *state;
        _cleanup_(x_freep) char *url = must(str_format("sqlite:%s/db", f->folder));
        turns_write(f->turns, "INSERT INTO t VALUES (1)", "");
        turns_after(f->turns, count_after_close, f);
        close_all(f);
        f->turns = NULL;
        assert_string_equal(f->log, "c");
        struct db *db = NULL;
        _cleanup_(db_rows_freep) struct db_rows *rows = NULL;
        assert_int_equal(db_open(NULL, url, schema, 1, &db, NULL), 0);
        assert_int_equal(db_query_now(db, &rows, NULL, "SELECT COUNT(*) FROM t", ""), 0);
        assert_int_equal(db_int(rows, 0, 0), 1);
        db_close(db);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_order, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_turn_without_rows_keeps_its_place, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_refused_batch_says_so, setup, teardown),
                cmocka_unit_test_setup_teardown(test_at_the_end_rows_are_kept_and_effects_cancelled, setup,
                                                teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
