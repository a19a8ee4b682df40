/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http_fixture.h"

static void say(struct wire *w, const char *text) {
        wire_feed(w, text, strlen(text));
}

static int feed_only(struct wire *w, const char *text) {
        return http_connection_feed(&w->connection, text, strlen(text));
}

/* What came back, forgotten after. The text lives until the next call. */
static const char *heard(struct wire *w) {
        static char text[65536];
        assert_true(w->out.len < sizeof(text));
        memcpy(text, buf_str(&w->out), w->out.len + 1);
        buf_clear(&w->out);
        return text;
}

static void assert_heard(struct wire *w, const char *start, const char *end) {
        const char *text = heard(w);
        if (!str_has_prefix(text, start) || !str_has_suffix(text, end))
                fail_msg("expected %s ... %s, heard: %s", start, end, text);
}

static void a_get_is_answered_to_the_letter(void **state) {
        struct wire w;
        wire_open(&w, NULL, NULL);
        say(&w, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_string_equal(heard(&w), "HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 09:06:17 GMT\r\n"
                                       "content-type: text/plain\r\ncontent-length: 2\r\n\r\nhi");
        assert_false(w.connection.closing);
        assert_int_equal(w.app.afters, 1);
        assert_int_equal(w.app.last_status, 200);
        assert_int_equal(w.service.stats.open_exchanges, 0);
        wire_close(&w);
}

static void bytes_may_come_and_go_one_at_a_time(void **state) {
        static const char request[] =
                "\r\nPOST /echo?x=1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                "3;name=\"v\"\r\nabc\r\n1\r\nd\r\n0\r\nTrailer: t\r\n\r\n"
                "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        struct wire w;
        wire_open(&w, NULL, NULL);
        for (size_t i = 0; i < sizeof(request) - 1; i++) {
                assert_int_equal(http_connection_feed(&w.connection, request + i, 1), 0);
                wire_drain(&w, 1);
        }
        const char *text = heard(&w);
        assert_non_null(strstr(text, "content-length: 4\r\n\r\nabcdHTTP/1.1 200 OK"));
        assert_true(str_has_suffix(text, "connection: close\r\n\r\nhi"));
        assert_true(w.connection.closing);
        wire_close(&w);
}

static void pipelined_requests_are_answered_in_order(void **state) {
        struct wire w;
        wire_open(&w, NULL, NULL);
        say(&w, "GET /later HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyz");
        assert_int_equal(w.app.calls, 1);
        assert_int_equal(w.out.len, 0);
        assert_true(http_connection_wants_read(&w.connection));
        http_respond(w.app.later, 200, NULL, "first", 5);
        wire_drain(&w, 4096);
        const char *text = heard(&w);
        const char *first = strstr(text, "first"), *second = strstr(text, "hi"), *third = strstr(text, "xyz");
        assert_true(first && second && third && first < second && second < third);
        assert_int_equal(w.app.calls, 3);
        assert_int_equal(w.app.closes, 2);
        wire_close(&w);
}

static void what_waits_in_the_pipeline_is_bounded(void **state) {
        struct wire w;
        const struct http_limits limits = {.header_bytes = 500};
        wire_open(&w, &limits, NULL);
        say(&w, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
        for (int i = 0; i < 20 && http_connection_wants_read(&w.connection); i++)
                say(&w, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_false(http_connection_wants_read(&w.connection));
        http_respond(w.app.later, 204, NULL, NULL, 0);
        wire_drain(&w, 4096);
        assert_true(http_connection_wants_read(&w.connection));
        assert_int_equal(w.app.calls, 1 + (500 + 32) / 33);
        wire_close(&w);
}

static void requests_that_two_could_read_in_two_ways_are_refused(void **state) {
        static const char *const bad[] = {
                /* lengths */
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: "
                "chunked\r\n\r\n0\r\n\r\n",
                "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: "
                "3\r\n\r\n0\r\n\r\n",
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc",
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc",
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\nabc",
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nabc",
                /* encodings */
                "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
                "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
                "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
                "identity\r\n\r\n",
                "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
                "chunked\r\n\r\n",
                "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
                "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0b chunked\r\n\r\n0\r\n\r\n",
                "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                /* lines */
                "GET /hello HTTP/1.1\nHost: a\n\n",
                "GET /hello HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
                "GET /hello HTTP/1.1\r\nHost: a\r\nX: y\r z\r\n\r\n",
                "GET /hello HTTP/1.1\r\nHost: a\r\nX: y\r\n folded\r\n\r\n",
                "GET /hello HTTP/1.1\r\nHost: a\r\nX: y\r\n\tfolded\r\n\r\n",
                "GET /hello HTTP/1.1\r\n Host: a\r\n\r\n",
                "GET /hello HTTP/1.1\r\nHost: a\r\nX y: z\r\n\r\n",
                "GET /hello HTTP/1.1\r\nHost: a\r\n: z\r\n\r\n",
                "GET /hello HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
                /* hosts, versions, targets, methods */
                "GET /hello HTTP/1.1\r\n\r\n",
                "GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                "GET /hello\r\nHost: a\r\n\r\n",
                "GET /hello HTTP/1.x\r\nHost: a\r\n\r\n",
                "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
                "NONSENSE /hello HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET / hello HTTP/1.1\r\nHost: a\r\n\r\n",
                "\x16\x03\x01\x02\r\n\r\n",
        };
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct wire w;
                wire_open(&w, NULL, NULL);
                say(&w, bad[i]);
                say(&w, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
                const char *text = heard(&w);
                if (!str_has_prefix(text, "HTTP/1.1 400 Bad Request\r\n") || !w.connection.closing ||
                    w.app.calls > 0 || strstr(text + 1, "HTTP/1.1 2"))
                        fail_msg("%s\nwas answered: %s", bad[i], text);
                assert_non_null(strstr(text, "connection: close\r\n"));
                wire_close(&w);
        }
}

static void a_nul_in_a_head_is_refused(void **state) {
        static const char request[] = "GET /hello HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n";
        struct wire w;
        wire_open(&w, NULL, NULL);
        wire_feed(&w, request, sizeof(request) - 1);
        assert_heard(&w, "HTTP/1.1 400 ", "}\n");
        wire_close(&w);
}

static void other_versions_are_named(void **state) {
        struct wire w;
        wire_open(&w, NULL, NULL);
        say(&w, "GET /hello HTTP/2.0\r\nHost: a\r\n\r\n");
        assert_heard(&w, "HTTP/1.1 505 ", "this server speaks HTTP/1.1 and HTTP/2\"}}\n");
        wire_close(&w);
}

static void broken_chunks_end_the_connection(void **state) {
        static const char *const bad[] = {
                "x\r\n",
                "\r\n",
                "3\nabc\r\n0\r\n\r\n",
                "3\r\nabcd\r\n0\r\n\r\n",
                "3\r\nabc0\r\n\r\n",
                "3 \r\nabc\r\n",
                "-3\r\nabc\r\n",
                "0x3\r\nabc\r\n",
                "fffffffffffffffff\r\n",
                "20000000000001\r\n",
                "3\r\nabc\r\n0\r\nTrailer\n\r\n",
                "3\rx\nabc\r\n",
        };
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct wire w;
                wire_open(&w, NULL, NULL);
                say(&w, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
                say(&w, bad[i]);
                const char *text = heard(&w);
                if (!str_has_prefix(text, "HTTP/1.1 400 ") || !w.connection.closing)
                        fail_msg("%s\nwas answered: %s", bad[i], text);
                assert_int_equal(w.app.closes, 1);
                wire_close(&w);
        }
}

static void a_chunk_line_without_end_is_refused(void **state) {
        struct wire w;
        wire_open(&w, NULL, NULL);
        say(&w, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;");
        for (int i = 0; i < 30; i++)
                say(&w, "extension=");
        assert_heard(&w, "HTTP/1.1 400 ", "}\n");
        wire_close(&w);
}

static void large_heads_and_bodies_meet_their_limits(void **state) {
        struct wire w;
        const struct http_limits limits = {.header_bytes = 300, .body_bytes = 10};
        wire_open(&w, &limits, NULL);
        say(&w, "GET /hello HTTP/1.1\r\nHost: a\r\nX: ");
        for (int i = 0; i < 30; i++)
                say(&w, "0123456789");
        assert_heard(&w, "HTTP/1.1 431 ", "}\n");
        assert_true(w.connection.closing && w.connection.linger);
        wire_close(&w);

        wire_open(&w, &limits, NULL);
        say(&w, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n");
        assert_heard(&w, "HTTP/1.1 413 ", "larger than the 10 bytes taken here\"}}\n");
        say(&w, "01234567890GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_heard(&w, "HTTP/1.1 200 ", "hi"); /* the short rest was dropped, the connection lives */
        say(&w, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                "chunked\r\n\r\n6\r\n123456\r\n6\r\n123456\r\n");
        assert_heard(&w, "HTTP/1.1 413 ", "}\n");
        say(&w, "0\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_heard(&w, "HTTP/1.1 200 ", "hi");
        wire_close(&w);

        wire_open(&w, &limits, NULL);
        say(&w, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
        assert_heard(&w, "HTTP/1.1 413 ", "}\n");
        assert_true(w.connection.closing && w.connection.linger);
        wire_close(&w);
}

static void expectations_are_met_or_refused(void **state) {
        struct wire w;
        wire_open(&w, NULL, NULL);
        say(&w, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
        assert_string_equal(heard(&w), "HTTP/1.1 100 Continue\r\n\r\n");
        say(&w, "ok");
        assert_heard(&w, "HTTP/1.1 200 ", "ok");
        say(&w, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: miracles\r\n\r\nno");
        assert_heard(&w, "HTTP/1.1 417 ", "}\n");
        say(&w, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_heard(&w, "HTTP/1.1 200 ", "hi");
        /* Refused before it was asked for: whether the body comes is anybody's guess, so that was the last.
         */
        w.app.refuse_next = 1;
        say(&w, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
        assert_non_null(strstr(heard(&w), "connection: close\r\n"));
        assert_true(w.connection.closing);
        wire_close(&w);
}

static void head_is_get_without_the_body(void **state) {
        struct wire w;
        wire_open(&w, NULL, NULL);
        say(&w, "HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_heard(&w, "HTTP/1.1 200 ", "content-length: 2\r\n\r\n");
        say(&w, "HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_int_equal(http_write(w.app.later, "abc", 3), 0);
        http_finish(w.app.later);
        wire_drain(&w, 4096);
        assert_heard(&w, "HTTP/1.1 200 ", "text/event-stream\r\n\r\n");
        say(&w, "HEAD /nothing HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_heard(&w, "HTTP/1.1 404 ", "\r\n\r\n");
        wire_close(&w);
}

static void wrong_paths_and_methods_are_told_apart(void **state) {
        struct wire w;
        wire_open(&w, NULL, NULL);
        say(&w, "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_heard(&w, "HTTP/1.1 404 ",
                     "{\"error\":{\"code\":\"not_found\",\"message\":\"there is nothing at this path\"}}\n");
        say(&w, "DELETE /echo HTTP/1.1\r\nHost: a\r\n\r\n");
        const char *text = heard(&w);
        assert_true(str_has_prefix(text, "HTTP/1.1 405 "));
        assert_non_null(strstr(text, "allow: POST, PUT\r\n"));
        w.app.refuse_next = 1; /* who may not come in does not learn what is there */
        say(&w, "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n");
        text = heard(&w);
        assert_true(str_has_prefix(text, "HTTP/1.1 401 "));
        assert_non_null(strstr(text, "www-authenticate: Bearer\r\n"));
        assert_true(str_has_suffix(text, "\"a \\\"token\\\" is needed\"}}\n"));
        assert_int_equal(w.app.last_status, 401);
        assert_int_equal(w.app.calls, 0);
        wire_close(&w);
}

static void targets_are_decoded_once_and_checked(void **state) {
        struct wire w;
        wire_open(&w, NULL, NULL);
        say(&w, "GET /nodes/caf%C3%A9?size=1&col%6Fur=dark+red%21 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_heard(&w, "HTTP/1.1 200 ", "/nodes/caf\xc3\xa9|caf\xc3\xa9|-|dark red!");
        say(&w, "GET http://example.org/nodes/a/log?colour HTTP/1.1\r\nHost: example.org\r\n\r\n");
        assert_heard(&w, "HTTP/1.1 200 ", "/nodes/a/log|a|-|");
        say(&w, "GET /files/x/y%20z HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_heard(&w, "HTTP/1.1 200 ", "/files/x/y z|-|x/y z|-");
        static const char *const bad[] = {
                "/nodes/%",     "/nodes/%4",       "/nodes/%zz",   "/nodes/%00", "/nodes/%0a",
                "/files/../x",  "/files/%2e%2e/x", "/files/.",     "/a%2fb",     "/nodes/%ff",
                "/hello?a=%00", "/hello?a=%f",     "/hello?%c3=1", "*"};
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_(x_freep) char *request = str_format("GET %s HTTP/1.1\r\nHost: a\r\n\r\n", bad[i]);
                say(&w, request);
                assert_heard(&w, "HTTP/1.1 400 ", "}\n");
        }
        assert_int_equal(w.app.calls, 3);
        wire_close(&w);
}

static void streams_are_chunked(void **state) {
        struct wire w;
        wire_open(&w, NULL, NULL);
        say(&w, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_heard(&w, "HTTP/1.1 200 ", "transfer-encoding: chunked\r\n\r\n");
        assert_int_equal(http_write(w.app.later, "hello", 5), 0);
        wire_drain(&w, 4096);
        assert_string_equal(heard(&w), "5\r\nhello\r\n");
        http_finish(w.app.later);
        wire_drain(&w, 4096);
        assert_string_equal(heard(&w), "0\r\n\r\n");
        assert_int_equal(w.app.closes, 1);
        say(&w, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_heard(&w, "HTTP/1.1 200 ", "hi");
        wire_close(&w);
}

static void old_clients_see_the_end_by_the_end(void **state) {
        struct wire w;
        wire_open(&w, NULL, NULL);
        say(&w, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_non_null(strstr(heard(&w), "connection: keep-alive\r\n"));
        say(&w, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_heard(&w, "HTTP/1.1 200 ", "connection: close\r\n\r\n");
        assert_int_equal(http_write(w.app.later, "raw", 3), 0);
        http_finish(w.app.later);
        wire_drain(&w, 4096);
        assert_string_equal(heard(&w), "raw");
        assert_true(w.connection.closing);
        wire_close(&w);
}

static void a_full_queue_says_so_and_calls_back(void **state) {
        struct wire w;
        const struct http_limits limits = {.write_buffer_bytes = 5000};
        wire_open(&w, &limits, NULL);
        w.app.big_left = 100000;
        assert_int_equal(feed_only(&w, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n"), 0);
        assert_int_equal(w.app.big_left, 95000);
        assert_int_equal(http_write_room(w.app.later), 0);
        wire_drain(&w, 700);
        assert_int_equal(w.app.big_left, 0);
        assert_int_equal(w.app.closes, 1);
        size_t payload = 0;
        for (const char *p = w.out.data; (p = memmem(p, w.out.len - (size_t)(p - w.out.data), "big", 3)); p++)
                payload++;
        assert_int_equal(payload, 100);
        wire_close(&w);
}

static void promised_lengths_are_kept_or_the_connection_breaks(void **state) {
        struct wire w;
        wire_open(&w, NULL, NULL);
        say(&w, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
        http_set_header(w.app.later, "Content-Length", "10");
        assert_int_equal(http_begin(w.app.later, 200, NULL), 0);
        assert_int_equal(http_write(w.app.later, "12345", 5), 0);
        assert_int_equal(http_write(w.app.later, "123456", 6), -EMSGSIZE);
        http_finish(w.app.later);
        assert_true(w.connection.failed);
        wire_close(&w);
        assert_int_equal(w.app.closes, 1);
}

static void fields_cannot_split_an_answer(void **state) {
        struct wire w;
        wire_open(&w, NULL, NULL);
        say(&w, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
        http_set_header(w.app.later, "Transfer-Encoding", "chunked"); /* not the handler's business */
        http_set_header(w.app.later, "X-Good", "yes");
        http_respond(w.app.later, 200, NULL, "x", 1);
        wire_drain(&w, 4096);
        const char *text = heard(&w);
        assert_null(strstr(text, "chunked"));
        assert_non_null(strstr(text, "x-good: yes\r\n"));
        say(&w, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
        http_set_header(w.app.later, "X-Bad", "a\r\nSet-Cookie: b");
        http_respond(w.app.later, 200, NULL, "x", 1);
        assert_true(w.connection.failed);
        assert_int_equal(w.out.len, 0);
        wire_close(&w);
}

static void a_paused_body_stops_the_reading(void **state) {
        struct wire w;
        wire_open(&w, NULL, NULL);
        w.app.pause = true;
        say(&w, "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        assert_int_equal(w.app.body_len, 3);
        say(&w, "3\r\ndef\r\n0\r\n\r\n");
        assert_int_equal(w.app.body_len, 3);
        assert_false(http_connection_wants_read(&w.connection));
        http_resume_body(w.app.later);
        wire_drain(&w, 4096);
        assert_int_equal(w.app.body_len, 6);
        w.app.pause = false;
        http_resume_body(w.app.later);
        wire_drain(&w, 4096);
        assert_true(w.app.body_ended);
        assert_memory_equal(w.app.body, "abcdef", 6);
        assert_heard(&w, "HTTP/1.1 200 ", "done");
        wire_close(&w);
}

static void a_body_waits_for_a_handler_that_asks_late(void **state) {
        struct wire w;
        wire_open(&w, NULL, NULL);
        say(&w, "POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nlate");
        assert_non_null(w.app.later);
        http_read_body(w.app.later, 0, app_body_ready, &w.app);
        wire_drain(&w, 4096);
        assert_heard(&w, "HTTP/1.1 200 ", "late");
        wire_close(&w);
}

static void slow_clients_are_given_up(void **state) {
        struct wire w;
        const struct http_limits limits = {.header_ms = 100, .body_ms = 200, .write_ms = 300, .idle_ms = 400};
        wire_open(&w, &limits, NULL);
        say(&w, "GET /hello HT");
        wire_pass(&w, 60);
        say(&w, "TP/1.1\r\n"); /* a drip does not buy time */
        wire_pass(&w, 60);
        assert_heard(&w, "HTTP/1.1 408 ", "}\n");
        assert_true(w.connection.closing);
        wire_close(&w);

        wire_open(&w, &limits, NULL);
        say(&w, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
        wire_pass(&w, 150);
        say(&w, "c");
        wire_pass(&w, 150);
        assert_int_equal(w.out.len, 0);
        wire_pass(&w, 60);
        assert_heard(&w, "HTTP/1.1 408 ", "}\n");
        wire_pass(&w, 200);
        assert_true(w.connection.closing);
        wire_close(&w);
        assert_int_equal(w.app.closes, 1);

        wire_open(&w, &limits, NULL);
        w.app.big_left = 100000000;
        assert_int_equal(feed_only(&w, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n"), 0);
        char part[1000];
        for (int i = 0; i < 3; i++) {
                virtual_clock_advance(&w.clock, 200);
                assert_true(http_connection_deadline(&w.connection) > w.clock.mono);
                assert_true(http_connection_produce(&w.connection, part, sizeof(part)) > 0);
        }
        virtual_clock_advance(&w.clock, 300);
        assert_true(http_connection_deadline(&w.connection) <= w.clock.mono);
        http_connection_expire(&w.connection);
        assert_true(w.connection.failed);
        wire_close(&w);
        assert_int_equal(w.app.closes, 1);

        wire_open(&w, &limits, NULL);
        say(&w, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        wire_pass(&w, 399);
        assert_false(w.connection.closing);
        wire_pass(&w, 1);
        assert_true(w.connection.closing);
        wire_close(&w);

        wire_open(&w, &limits, NULL); /* never asked for anything: 3 x header_ms */
        wire_pass(&w, 300);
        assert_true(w.connection.closing);
        wire_close(&w);
}

static void an_open_answer_is_not_idle(void **state) {
        struct wire w;
        const struct http_limits limits = {.header_ms = 100, .body_ms = 200, .write_ms = 300, .idle_ms = 400};
        wire_open(&w, &limits, NULL);
        say(&w, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_true(http_connection_deadline(&w.connection) == INT64_MAX);
        wire_pass(&w, 1000000);
        assert_non_null(w.app.later);
        http_finish(w.app.later);
        wire_drain(&w, 4096);
        assert_true(http_connection_deadline(&w.connection) == w.clock.mono + 400);
        wire_close(&w);
}

static void a_client_that_leaves_is_reported_once(void **state) {
        struct wire w;
        wire_open(&w, NULL, NULL);
        say(&w, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
        http_connection_end_of_input(&w.connection);
        assert_true(w.connection.failed);
        wire_close(&w);
        assert_int_equal(w.app.closes, 1);
        assert_int_equal(w.app.afters, 1);
        assert_int_equal(w.app.last_status, 0);

        wire_open(&w, NULL, NULL); /* it only stopped sending and still gets what is ready */
        assert_int_equal(feed_only(&w, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"), 0);
        http_connection_end_of_input(&w.connection);
        wire_drain(&w, 4096);
        assert_heard(&w, "HTTP/1.1 200 ", "hi");
        assert_true(w.connection.closing && !w.connection.failed);
        wire_close(&w);
}

static void a_graceful_stop_lets_the_open_one_finish(void **state) {
        struct wire w;
        wire_open(&w, NULL, NULL);
        say(&w, "GET /later HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        http_connection_shut_down(&w.connection);
        assert_false(w.connection.closing);
        http_respond(w.app.later, 200, NULL, "last", 4);
        wire_drain(&w, 4096);
        assert_heard(&w, "HTTP/1.1 200 ", "connection: close\r\n\r\nlast");
        assert_true(w.connection.closing);
        assert_int_equal(w.app.calls, 1);
        wire_close(&w);

        wire_open(&w, NULL, NULL);
        say(&w, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        http_connection_shut_down(&w.connection);
        assert_true(w.connection.closing);
        wire_close(&w);
}

static void an_abort_cuts_the_connection(void **state) {
        struct wire w;
        wire_open(&w, NULL, NULL);
        say(&w, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
        http_abort(w.app.later);
        assert_int_equal(http_write(w.app.later, "x", 1), -EPIPE);
        assert_true(w.connection.failed);
        wire_close(&w);
        assert_int_equal(w.app.closes, 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_get_is_answered_to_the_letter),
                cmocka_unit_test(bytes_may_come_and_go_one_at_a_time),
                cmocka_unit_test(pipelined_requests_are_answered_in_order),
                cmocka_unit_test(what_waits_in_the_pipeline_is_bounded),
                cmocka_unit_test(requests_that_two_could_read_in_two_ways_are_refused),
                cmocka_unit_test(a_nul_in_a_head_is_refused),
                cmocka_unit_test(other_versions_are_named),
                cmocka_unit_test(broken_chunks_end_the_connection),
                cmocka_unit_test(a_chunk_line_without_end_is_refused),
                cmocka_unit_test(large_heads_and_bodies_meet_their_limits),
                cmocka_unit_test(expectations_are_met_or_refused),
                cmocka_unit_test(head_is_get_without_the_body),
                cmocka_unit_test(wrong_paths_and_methods_are_told_apart),
                cmocka_unit_test(targets_are_decoded_once_and_checked),
                cmocka_unit_test(streams_are_chunked),
                cmocka_unit_test(old_clients_see_the_end_by_the_end),
                cmocka_unit_test(a_full_queue_says_so_and_calls_back),
                cmocka_unit_test(promised_lengths_are_kept_or_the_connection_breaks),
                cmocka_unit_test(fields_cannot_split_an_answer),
                cmocka_unit_test(a_paused_body_stops_the_reading),
                cmocka_unit_test(a_body_waits_for_a_handler_that_asks_late),
                cmocka_unit_test(slow_clients_are_given_up),
                cmocka_unit_test(an_open_answer_is_not_idle),
                cmocka_unit_test(a_client_that_leaves_is_reported_once),
                cmocka_unit_test(a_graceful_stop_lets_the_open_one_finish),
                cmocka_unit_test(an_abort_cuts_the_connection),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
