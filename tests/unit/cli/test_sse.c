/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "cli/sse.h"

struct seen {
        struct buf text;
        int answer;
};

static int note(void *arg, const struct sse_event *e) {
        struct seen *s = arg;
        buf_printf(&s->text, "<%s|%s|%s>", e->type, e->data, e->id);
        return s->answer;
}

/* Feeds the text in pieces of `step` bytes. */
static int feed(struct sse_reader *r, const char *text, size_t step) {
        size_t len = strlen(text);
        for (size_t i = 0; i < len; i += step) {
                int e = sse_feed(r, text + i, MIN(step, len - i));
                if (e != 0)
                        return e;
        }
        return 0;
}

static void test_events_in_any_pieces(void **state) {
        static const char text[] = "\xef\xbb\xbf: hello\n"
                                   "id: 7\nevent: NodeState\ndata: {\"a\":1}\n\n"
                                   "data: one\r\ndata:two\r\n\r\n"
                                   "event: Empty\n\n"
                                   "retry: 5\nunknown\nid\rdata\rdata: x\r\r"
                                   "data: half";
        for (size_t step = 1; step < sizeof(text); step++) {
                struct seen s = {.text = BUF_INIT};
                struct sse_reader r;
                sse_reader_init(&r, note, &s);
                assert_int_equal(feed(&r, text, step), 0);
                assert_string_equal(buf_str(&s.text),
                                    "<NodeState|{\"a\":1}|7><message|one\ntwo|7><message|\nx|>");
                sse_reader_done(&r);
                buf_done(&s.text);
        }
}

static void test_a_new_connection_keeps_the_id(void **state) {
        struct seen s = {.text = BUF_INIT};
        struct sse_reader r;
        sse_reader_init(&r, note, &s);
        assert_string_equal(sse_last_id(&r), "");
        assert_int_equal(feed(&r, "id: 41\ndata: a\n\nevent: x\ndata: lost", 100), 0);
        sse_reader_restart(&r);
        assert_string_equal(sse_last_id(&r), "41");
        assert_int_equal(feed(&r, "data: b\n\n", 100), 0);
        assert_string_equal(buf_str(&s.text), "<message|a|41><message|b|41>");
        sse_reader_done(&r);
        buf_done(&s.text);
}

static void test_limits_and_answers(void **state) {
        struct seen s = {.text = BUF_INIT};
        struct sse_reader r;
        sse_reader_init(&r, note, &s);
        static char much[1 << 16];
        memset(much, 'a', sizeof(much));
        int e = 0;
        for (int i = 0; i < 32 && e == 0; i++)
                e = sse_feed(&r, much, sizeof(much));
        assert_int_equal(e, -EMSGSIZE);
        sse_reader_done(&r);

        /* Lines within the limit that make too much data together. */
        sse_reader_init(&r, note, &s);
        e = 0;
        for (int i = 0; i < 40 && e == 0; i++) {
                e = feed(&r, "data: ", 6);
                if (e == 0)
                        e = sse_feed(&r, much, sizeof(much));
                if (e == 0)
                        e = feed(&r, "\n", 1);
        }
        assert_int_equal(e, -EMSGSIZE);
        sse_reader_done(&r);

        sse_reader_init(&r, note, &s);
        s.answer = -ECANCELED;
        assert_int_equal(feed(&r, "data: a\n\ndata: b\n\n", 100), -ECANCELED);
        assert_string_equal(buf_str(&s.text), "<message|a|>");
        sse_reader_done(&r);
        buf_done(&s.text);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_events_in_any_pieces),
                cmocka_unit_test(test_a_new_connection_keeps_the_id),
                cmocka_unit_test(test_limits_and_answers),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
