/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "fixture.h"

struct outcome {
        bool done;
        int error, exit_status;
        char message[500], output[200], last_line[200];
        size_t output_len;
};

static void done(void *arg, const struct command_result *r) {
        struct outcome *o = arg;
        o->done = true;
        o->error = r->error;
        o->exit_status = r->exit_status;
        o->output_len = r->output_len;
        (void)snprintf(o->message, sizeof(o->message), "%s", r->message ? r->message : "");
        (void)snprintf(o->output, sizeof(o->output), "%s", r->output);
        (void)snprintf(o->last_line, sizeof(o->last_line), "%s", r->last_line);
}

static bool is_done(void *arg) {
        return ((struct outcome *)arg)->done;
}

static struct outcome run(struct fixture *f, const char *script, msec_t timeout_ms, size_t limit) {
        const char *arguments[] = {"sh", "-c", script, NULL};
        struct command_request q = {
                .path = "/bin/sh", .arguments = arguments, .timeout_ms = timeout_ms, .output_limit = limit};
        struct outcome o = {0};
        assert_int_equal(command_start(f->loop, &q, done, &o, NULL, NULL), 0);
        assert_false(o.done);
        fixture_run(f, is_done, &o);
        return o;
}

static void results(void **state) {
        struct fixture *f = *state;
        struct outcome o = run(f, "echo out; echo err >&2", 0, 100);
        assert_int_equal(o.error, 0);
        assert_string_equal(o.output, "out\n");
        assert_string_equal(o.last_line, "err");
        assert_string_equal(o.message, "");

        o = run(f, "echo out; echo first >&2; echo last words >&2; exit 7", 0, 0);
        assert_int_equal(o.error, -EIO);
        assert_int_equal(o.exit_status, 7);
        assert_string_equal(o.message, "sh exited with status 7: last words");
        assert_string_equal(o.output, "");

        o = run(f, "kill -9 $$", 0, 0);
        assert_int_equal(o.error, -EIO);
        assert_int_equal(o.exit_status, -1);
        assert_non_null(strstr(o.message, "signal 9"));
}

static void its_time_is_limited(void **state) {
        struct fixture *f = *state;
        struct outcome o = run(f, "echo waiting; sleep 1000; echo over", 50, 0);
        assert_int_equal(o.error, -ETIMEDOUT);
        assert_string_equal(o.message, "sh did not end in its time: waiting");
}

static void its_output_is_limited(void **state) {
        struct fixture *f = *state;
        struct outcome o = run(f, "while true; do echo 0123456789; done", 0, 1000);
        assert_int_equal(o.error, -EMSGSIZE);
        /* without a limit asked for, only the end is kept, however much there is */
        o = run(f, "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; exit 1", 0, 0);
        assert_string_equal(o.last_line, "line 2999");
}

static void a_grandchild_that_holds_the_pipe_is_not_waited_for(void **state) {
        struct fixture *f = *state;
        struct outcome o = run(f, "setsid sleep 5 & echo done", 0, 100);
        assert_int_equal(o.error, 0);
        assert_string_equal(o.output, "done\n");
}

static void what_is_not_there_is_said_at_once(void **state) {
        struct fixture *f = *state;
        const char *arguments[] = {"nothing", NULL};
        struct command_request q = {.path = "/no/such/program", .arguments = arguments};
        struct outcome o = {0};
        struct err *err = NULL;
        assert_int_equal(command_start(f->loop, &q, done, &o, NULL, &err), -ENOENT);
        assert_non_null(strstr(err_message(err), "/no/such/program"));
        err_free(err);
        fixture_turn(f);
        assert_false(o.done);
}

static void one_that_is_freed_is_not_heard_of_again(void **state) {
        struct fixture *f = *state;
        const char *arguments[] = {"sleep", "1000", NULL};
        struct command_request q = {.path = "/bin/sleep", .arguments = arguments};
        for (int turns = 0; turns < 3; turns++) {
                struct outcome o = {0};
                struct command *c = NULL;
                assert_int_equal(command_start(f->loop, &q, done, &o, &c, NULL), 0);
                for (int i = 0; i < turns; i++)
                        fixture_turn(f);
                assert_null(command_free(c));
                fixture_turn(f);
                assert_false(o.done);
        }
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
        const struct CMUnitTest tests[] = {
                T(results),
                T(its_time_is_limited),
                T(its_output_is_limited),
                T(a_grandchild_that_holds_the_pipe_is_not_waited_for),
                T(what_is_not_there_is_said_at_once),
                T(one_that_is_freed_is_not_heard_of_again),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
