/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "agent/event_reader.h"
#include "base/str.h"

struct seen {
        struct buf types;
        int answer;
};

static int take(void *arg, const char *type, const json_t *event, struct err **err) {
        struct seen *s = arg;
        assert_true(json_is_object(event));
        buf_printf(&s->types, "%s ", type);
        return s->answer;
}

static const char text[] =
        "{\"type\":\"hello\",\"heartbeat\":240}\n\n  \r\n{\"type\":\"ping\"}\r\n{\"type\":\"news\"}\n";

static void lines_arrive_in_any_pieces(void **state) {
        for (size_t piece = 1; piece < sizeof(text); piece++) {
                struct seen s = {BUF_INIT, 0};
                struct event_reader r;
                event_reader_init(&r, take, &s);
                for (size_t at = 0; at < sizeof(text) - 1; at += piece)
                        assert_int_equal(
                                event_reader_feed(&r, text + at, MIN(piece, sizeof(text) - 1 - at), NULL), 0);
                assert_string_equal(buf_str(&s.types), "hello ping news ");
                assert_null(r.line.data); /* between lines nothing is held */
                event_reader_done(&r);
                buf_done(&s.types);
        }
}

static int feed(const char *p, size_t n) {
        struct seen s = {BUF_INIT, 0};
        struct event_reader r;
        struct err *err = NULL;
        event_reader_init(&r, take, &s);
        int rc = event_reader_feed(&r, p, n, &err);
        assert_true((rc < 0) == (err != NULL));
        err_free(err);
        event_reader_done(&r);
        buf_done(&s.types);
        return rc;
}

static void what_is_no_edge_is_refused(void **state) {
        static const char *const lines[] = {"<html>please log in</html>\n",
                                            "[1]\n",
                                            "7\n",
                                            "{}\n",
                                            "{\"type\":7}\n",
                                            "{\"type\":\"a\"} x\n",
                                            "{\"type\":\"a\",\"type\":\"b\"}\n"};
        for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
                if (feed(lines[i], strlen(lines[i])) != -EINVAL)
                        fail_msg("%s was taken", lines[i]);
}

static void a_line_has_a_limit(void **state) {
        char *big = malloc(EVENT_LINE_MAX + 2);
        memset(big, ' ', EVENT_LINE_MAX + 2);
        assert_int_equal(feed(big, EVENT_LINE_MAX), 0);
        assert_int_equal(feed(big, EVENT_LINE_MAX + 1), -EMSGSIZE);
        big[EVENT_LINE_MAX + 1] = '\n';
        assert_int_equal(feed(big, EVENT_LINE_MAX + 2), -EMSGSIZE);
        free(big);
}

static void an_answer_ends_the_reading(void **state) {
        struct seen s = {BUF_INIT, -ESTALE};
        struct event_reader r;
        event_reader_init(&r, take, &s);
        assert_int_equal(event_reader_feed(&r, text, sizeof(text) - 1, NULL), -ESTALE);
        assert_string_equal(buf_str(&s.types), "hello ");
        event_reader_done(&r);
        buf_done(&s.types);
}

static void a_reset_forgets_half_a_line(void **state) {
        struct seen s = {BUF_INIT, 0};
        struct event_reader r;
        event_reader_init(&r, take, &s);
        assert_int_equal(event_reader_feed(&r, "{\"type\":", 8, NULL), 0);
        event_reader_reset(&r);
        assert_int_equal(event_reader_feed(&r, text, sizeof(text) - 1, NULL), 0);
        assert_string_equal(buf_str(&s.types), "hello ping news ");
        event_reader_done(&r);
        buf_done(&s.types);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(lines_arrive_in_any_pieces),  cmocka_unit_test(what_is_no_edge_is_refused),
                cmocka_unit_test(a_line_has_a_limit),          cmocka_unit_test(an_answer_ends_the_reading),
                cmocka_unit_test(a_reset_forgets_half_a_line),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
