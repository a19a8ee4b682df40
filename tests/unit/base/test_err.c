/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"

static void set_formats_and_returns_the_code(void **state) {
        _cleanup_(err_freep) struct err *e = NULL;
        assert_int_equal(err_set(&e, ENOENT, "file %s, line %d", "a.yaml", 3), -ENOENT);
        assert_string_equal(err_message(e), "file a.yaml, line 3");
        assert_int_equal(err_code(e), -ENOENT);
        assert_int_equal(e->code, ENOENT);
}

static void nobody_listens(void **state) {
        assert_int_equal(err_set(NULL, EINVAL, "x"), -EINVAL);
        assert_int_equal(err_set_errno(NULL, EACCES, "x"), -EACCES);
        assert_int_equal(err_wrap(NULL, "x"), -EIO);
        assert_string_equal(err_message(NULL), "unknown error");
        assert_int_equal(err_code(NULL), -EIO);
        assert_null(err_free(NULL));
        assert_int_equal(err_wrap_code(NULL, -ENOKEY, "x"), -ENOKEY);
        struct err *e = NULL;
        err_set(&e, EINVAL, "dropped");
        assert_int_equal(err_move(NULL, e), -EINVAL);
}

static void set_errno_names_the_reason(void **state) {
        _cleanup_(err_freep) struct err *e = NULL;
        assert_int_equal(err_set_errno(&e, EACCES, "read %s", "/etc/x"), -EACCES);
        assert_string_equal(err_message(e), "read /etc/x: Permission denied");
}

static void wrap_puts_what_was_done_before(void **state) {
        _cleanup_(err_freep) struct err *e = NULL;
        err_set(&e, ENOSPC, "disk full");
        assert_int_equal(err_wrap(&e, "write %s", "a"), -ENOSPC);
        assert_int_equal(err_wrap(&e, "deploy"), -ENOSPC);
        assert_string_equal(err_message(e), "deploy: write a: disk full");
        assert_int_equal(err_code(e), -ENOSPC);
}

static void wrap_without_an_error_makes_one(void **state) {
        _cleanup_(err_freep) struct err *e = NULL;
        assert_int_equal(err_wrap(&e, "deploy"), -EIO);
        assert_string_equal(err_message(e), "deploy: unknown error");
        assert_int_equal(err_wrap_code(&e, -ENOKEY, "again"), -ENOKEY);
        assert_string_equal(err_message(e), "again: deploy: unknown error");
        assert_int_equal(err_code(e), -ENOKEY);
}

/* The words of the new error may come from the old one. */
static void arguments_may_point_into_the_old_error(void **state) {
        _cleanup_(err_freep) struct err *e = NULL;
        err_set(&e, EINVAL, "first");
        assert_int_equal(err_set(&e, EBADMSG, "%s, then second", e->message), -EBADMSG);
        assert_string_equal(err_message(e), "first, then second");
        assert_int_equal(err_set_errno(&e, ENOENT, "%s", e->message), -ENOENT);
        assert_string_equal(err_message(e), "first, then second: No such file or directory");
        assert_int_equal(err_wrap(&e, "%.5s", e->message), -ENOENT);
        assert_string_equal(err_message(e), "first: first, then second: No such file or directory");
}

static void a_code_that_is_no_code(void **state) {
        _cleanup_(err_freep) struct err *e = NULL;
        assert_int_equal(err_set(&e, -ENOENT, "x"), -ENOENT);
        assert_int_equal(e->code, ENOENT);
        assert_int_equal(err_set(&e, 0, "x"), -EIO);
}

static void move_replaces(void **state) {
        _cleanup_(err_freep) struct err *to = NULL;
        struct err *from = NULL;
        err_set(&to, EINVAL, "old");
        err_set(&from, ENOENT, "new");
        assert_int_equal(err_move(&to, from), -ENOENT);
        assert_string_equal(err_message(to), "new");
        assert_int_equal(err_move(&to, to), -ENOENT); /* onto itself */
        assert_string_equal(err_message(to), "new");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(set_formats_and_returns_the_code),
                cmocka_unit_test(nobody_listens),
                cmocka_unit_test(set_errno_names_the_reason),
                cmocka_unit_test(wrap_puts_what_was_done_before),
                cmocka_unit_test(wrap_without_an_error_makes_one),
                cmocka_unit_test(arguments_may_point_into_the_old_error),
                cmocka_unit_test(a_code_that_is_no_code),
                cmocka_unit_test(move_replaces),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
