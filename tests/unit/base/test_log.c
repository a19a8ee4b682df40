/* SPDX-License-Identifier: Apache-2.0 */
/* Records are read back from the other end of standard error. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/str.h"

struct capture {
        int saved, pipe[2];
};

static int setup(void **state) {
        static struct capture c;
        c.saved = dup(STDERR_FILENO);
        if (pipe2(c.pipe, O_NONBLOCK | O_CLOEXEC) < 0 || dup2(c.pipe[1], STDERR_FILENO) < 0)
                return -1;
        log_init("test", LOG_LEVEL_INFO);
        *state = &c;
        return 0;
}

static int teardown(void **state) {
        struct capture *c = *state;
        dup2(c->saved, STDERR_FILENO);
        close(c->saved);
        close(c->pipe[0]);
        close(c->pipe[1]);
        return 0;
}

/* What was logged since, without the time in front, which is checked for its shape. */
static const char *logged(struct capture *c, char *out, size_t size) {
        ssize_t n = read(c->pipe[0], out, size - 1);
        if (n <= 0)
                return "";
        out[n] = '\0';
        assert_true(n > 25);
        assert_int_equal(out[4], '-');
        assert_int_equal(out[10], 'T');
        assert_int_equal(out[23], 'Z');
        return out + 25;
}

static void test_line(void **state) {
        char out[4096];
        errno = ENOENT;
        log_info("wave started", "rollout", "01k", "wave", "canary east", "skipped", NULL, "empty", "", NULL);
        assert_int_equal(errno, ENOENT);
        assert_string_equal(logged(*state, out, sizeof(out)),
                            "info    wave started rollout=01k wave=\"canary east\" empty=\"\"\n");
        log_error("it broke", NULL);
        assert_string_equal(logged(*state, out, sizeof(out)), "error   it broke\n");
}

static void test_lines_cannot_be_forged(void **state) {
        char out[4096];
        log_warning("a\nb", "k", "x\n2026 error   fake\x1b[2J \"q\" \\", NULL);
        assert_string_equal(logged(*state, out, sizeof(out)),
                            "warning a\\nb k=\"x\\n2026 error   fake\\x1b[2J \\\"q\\\" \\\\\"\n");
}

static void test_levels(void **state) {
        char out[4096];
        enum log_level level;
        log_debug("quiet", NULL);
        assert_string_equal(logged(*state, out, sizeof(out)), "");
        assert_int_equal(log_level_from_string("Debug", &level), 0);
        log_set_max_level(level);
        log_debug("loud", NULL);
        assert_string_equal(logged(*state, out, sizeof(out)), "debug   loud\n");
        log_set_max_level(LOG_LEVEL_ERROR);
        log_warning("quiet", NULL);
        assert_string_equal(logged(*state, out, sizeof(out)), "");
        assert_int_equal(log_level_from_string("chatty", &level), -EINVAL);
        assert_int_equal(log_level_from_string(NULL, &level), -EINVAL);
}

static void test_context(void **state) {
        char out[4096];
        log_context_set("node", "shop-1");
        log_context_set("revision", "aa");
        log_context_set("revision", "bb");
        log_info("x", NULL);
        assert_string_equal(logged(*state, out, sizeof(out)), "info    x node=shop-1 revision=bb\n");
        log_info("x", "revision", "cc", NULL);
        assert_string_equal(logged(*state, out, sizeof(out)), "info    x revision=cc node=shop-1\n");
        log_context_set("node", NULL);
        log_context_set("absent", NULL);
        log_info("x", NULL);
        assert_string_equal(logged(*state, out, sizeof(out)), "info    x revision=bb\n");
        log_context_set("revision", NULL);
        /* More fields than there is room for are left out, and do no harm. */
        for (int i = 0; i < 40; i++) {
                char key[16];
                (void)snprintf(key, sizeof(key), "k%d", i);
                log_context_set(key, "v");
        }
        log_info("x", NULL);
        const char *line = logged(*state, out, sizeof(out));
        assert_non_null(strstr(line, "k15=v"));
        assert_null(strstr(line, "k16=v"));
        for (int i = 0; i < 40; i++) {
                char key[16];
                (void)snprintf(key, sizeof(key), "k%d", i);
                log_context_set(key, NULL);
        }
}

static void test_long_values_are_cut(void **state) {
        static char value[20000], out[40000];
        memset(value, 'a', sizeof(value) - 1);
        memcpy(value + 8191, "\xc3\xa9", 2); /* would be cut in the middle */
        log_info("x", "k", value, "after", "y", NULL);
        const char *line = logged(*state, out, sizeof(out));
        assert_int_equal(strlen(line), strlen("info    x k= after=y\n") + 8191);
        assert_true(utf8_is_valid(line, strlen(line)));
}

/* JOURNAL_STREAM that names another stream than standard error must not send records to the journal. */
static void test_foreign_journal_stream(void **state) {
        char out[4096];
        setenv("JOURNAL_STREAM", "1:2", 1);
        log_init("test", LOG_LEVEL_INFO);
        log_info("here", NULL);
        assert_string_equal(logged(*state, out, sizeof(out)), "info    here\n");
        setenv("JOURNAL_STREAM", "nonsense", 1);
        log_init("test", LOG_LEVEL_INFO);
        log_info("here", NULL);
        assert_string_equal(logged(*state, out, sizeof(out)), "info    here\n");
        unsetenv("JOURNAL_STREAM");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_line, setup, teardown),
                cmocka_unit_test_setup_teardown(test_lines_cannot_be_forged, setup, teardown),
                cmocka_unit_test_setup_teardown(test_levels, setup, teardown),
                cmocka_unit_test_setup_teardown(test_context, setup, teardown),
                cmocka_unit_test_setup_teardown(test_long_values_are_cut, setup, teardown),
                cmocka_unit_test_setup_teardown(test_foreign_journal_stream, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
