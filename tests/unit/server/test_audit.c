/* SPDX-License-Identifier: Apache-2.0 */
/* The audit log in the database: one transaction with the act, across restarts, with what tools noted. */
#include "server/audit.h"

#include "codec/json.h"
#include "control_fixture.h"
#include "server/tokens.h"

static int setup(void **state) {
        struct fixture *f = malloc(sizeof(*f));
        fixture_make(f);
        *state = f;
        return 0;
}

static int teardown(void **state) {
        fixture_done(*state);
        free(*state);
        return 0;
}

static void act(struct fixture *f, const char *name) {
        audit_add(f->control, &(struct audit_act){.actor = "ada",
                                                  .token = "abcdefghij",
                                                  .address = "192.0.2.7",
                                                  .act = "node.revoke",
                                                  .kind = "Node",
                                                  .name = name,
                                                  .reason = "because"});
}

/* Goes over the table; returns how many records there are. */
static int64_t check(struct fixture *f) {
        _cleanup_(db_rows_freep) struct db_rows *rows = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        struct audit_check c = {.head = AUDIT_HEAD_NONE};
        fixture_settle(f);
        assert_int_equal(db_query_now(f->control->db, &rows, NULL,
                                      "SELECT record, digest FROM audit ORDER BY sequence", ""),
                         0);
        for (size_t i = 0; i < db_rows_len(rows); i++) {
                json_t *j = NULL;
                const char *text = db_text(rows, i, 0);
                assert_int_equal(json_decode(text, strlen(text), &j, NULL), 0);
                json_object_set_new(j, "digest", json_string(db_text(rows, i, 1)));
                if (audit_check_record(&c, j, &err) < 0)
                        fail_msg("%s", err_message(err));
                json_decref(j);
        }
        assert_int_equal(audit_check_end(&c, audit_newest(f->control), NULL), 0);
        assert_string_equal(c.head.digest, audit_newest(f->control)->digest);
        return c.head.sequence;
}

static void write_now(struct fixture *f, const char *sql) {
        struct db_batch *b = must(db_batch_new());
        must_do(db_batch_add(b, sql, ""));
        assert_int_equal(db_write_now(f->control->db, b, NULL), 0);
}

static void test_goes_on_after_a_restart(void **state) {
        struct fixture *f = *state;
        assert_int_equal(check(f), 0);
        act(f, "a");
        act(f, "b");
        assert_int_equal(check(f), 2);
        fixture_restart(f);
        act(f, "c");
        assert_int_equal(check(f), 3);
}

/* A refused turn takes the record with it: there is none without its act. */
static void test_one_transaction(void **state) {
        struct fixture *f = *state;
        act(f, "a");
        fixture_settle(f);
        turns_write(f->control->turns, "INSERT INTO settings (key, value) VALUES ('audit_head', 'x')", "");
        act(f, "b");
        fixture_close(f);
        fixture_open(f);
        assert_int_equal(check(f), 1);
        act(f, "c");
        assert_int_equal(check(f), 2);
}

static void test_tools(void **state) {
        struct fixture *f = *state;
        _cleanup_(x_freep) char *one = NULL, *two = NULL;
        assert_int_equal(
                admin_token_create(f->control->db, "ada", "root", NULL, 0, 1700000000000, &one, NULL), 0);
        assert_int_equal(check(f), 0);
        audit_take_pending(f->control);
        audit_take_pending(f->control); /* while the first is under way */
        assert_int_equal(check(f), 1);
        assert_int_equal(
                admin_token_create(f->control->db, "bob", "root", NULL, 0, 1700000000001, &two, NULL), 0);
        fixture_restart(f);
        assert_int_equal(check(f), 2);
        _cleanup_(db_rows_freep) struct db_rows *rows = NULL;
        assert_int_equal(db_query_now(f->control->db, &rows, NULL,
                                      "SELECT record, time FROM audit WHERE sequence = 2", ""),
                         0);
        assert_int_equal(db_int(rows, 0, 1), 1700000000001);
        assert_non_null(strstr(db_text(rows, 0, 0), "\"actor\":\"root\""));
        assert_non_null(strstr(db_text(rows, 0, 0), "\"address\":\"console\""));
        assert_non_null(strstr(db_text(rows, 0, 0), "\"name\":\"bob\""));
        assert_null(strstr(db_text(rows, 0, 0), two));
        write_now(f, "INSERT INTO audit_pending (id, time, act) VALUES ('x', 1, 'no JSON')");
        fixture_restart(f);
        assert_int_equal(check(f), 3);
}

/* Cut off behind our back: the log goes on behind the gap, which stays to be seen. */
static void test_cut_off(void **state) {
        struct fixture *f = *state;
        act(f, "a");
        act(f, "b");
        act(f, "c");
        fixture_settle(f);
        write_now(f, "DELETE FROM audit WHERE sequence > 1");
        fixture_restart(f);
        assert_int_equal(audit_newest(f->control)->sequence, 3);
        act(f, "d");
        fixture_settle(f);
        _cleanup_(db_rows_freep) struct db_rows *rows = NULL;
        assert_int_equal(
                db_query_now(f->control->db, &rows, NULL, "SELECT MAX(sequence), COUNT(*) FROM audit", ""),
                0);
        assert_int_equal(db_int(rows, 0, 0), 4);
        assert_int_equal(db_int(rows, 0, 1), 2);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_goes_on_after_a_restart, setup, teardown),
                cmocka_unit_test_setup_teardown(test_one_transaction, setup, teardown),
                cmocka_unit_test_setup_teardown(test_tools, setup, teardown),
                cmocka_unit_test_setup_teardown(test_cut_off, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
