/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <nghttp2/nghttp2.h>

#include "http_fixture.h"

enum { STREAMS = 64 };

/* What the client saw of stream 2 * i + 1. */
struct seen {
        int status, informational;
        char body[512], fields[512];
        size_t body_len;
        bool ended, closed;
        uint32_t error;
        const char *upload; /* still to be sent */
        size_t upload_len;
};

struct client {
        struct wire w;
        nghttp2_session *session;
        struct seen seen[STREAMS];
        bool goaway;
        uint32_t goaway_error;
        int32_t goaway_last;
        int goaways;
        bool no_windows; /* never gives the server room */
};

static struct seen *seen_of(struct client *c, int32_t stream) {
        return &c->seen[(stream / 2) % STREAMS];
}

static int on_field(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                    size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *arg) {
        struct seen *s = seen_of(arg, frame->hd.stream_id);
        if (strcmp((const char *)name, ":status") == 0) {
                int status = atoi((const char *)value);
                if (status < 200)
                        s->informational = status;
                else
                        s->status = status;
        }
        size_t len = strlen(s->fields);
        (void)snprintf(s->fields + len, sizeof(s->fields) - len, "%s: %s\n", (const char *)name,
                       (const char *)value);
        return 0;
}

static int on_bytes(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *p, size_t n,
                    void *arg) {
        struct client *c = arg;
        struct seen *s = seen_of(c, stream);
        size_t room = sizeof(s->body) - 1 - MIN(s->body_len, sizeof(s->body) - 1);
        memcpy(s->body + MIN(s->body_len, sizeof(s->body) - 1), p, MIN(n, room));
        s->body_len += n;
        if (!c->no_windows)
                (void)nghttp2_session_consume(session, stream, n);
        return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg) {
        struct client *c = arg;
        if ((frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
            frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
                seen_of(c, frame->hd.stream_id)->ended = true;
        if (frame->hd.type == NGHTTP2_GOAWAY) {
                c->goaways++;
                c->goaway_error = frame->goaway.error_code;
                c->goaway_last = frame->goaway.last_stream_id;
        }
        return 0;
}

static int on_closed(nghttp2_session *session, int32_t stream, uint32_t error, void *arg) {
        seen_of(arg, stream)->closed = true;
        seen_of(arg, stream)->error = error;
        return 0;
}

static void client_open(struct client *c, const struct http_limits *limits) {
        *c = (struct client){0};
        wire_open(&c->w, limits, NULL);
        nghttp2_session_callbacks *callbacks = NULL;
        nghttp2_option *option = NULL;
        assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
        assert_int_equal(nghttp2_option_new(&option), 0);
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_session_callbacks_set_on_header_callback(callbacks, on_field);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_bytes);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_closed);
        assert_int_equal(nghttp2_session_client_new2(&c->session, callbacks, c, option), 0);
        nghttp2_session_callbacks_del(callbacks);
        nghttp2_option_del(option);
        assert_int_equal(nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, NULL, 0), 0);
}

static void client_close(struct client *c) {
        nghttp2_session_del(c->session);
        wire_close(&c->w);
}

static void to_server(struct client *c) {
        const uint8_t *p;
        for (ssize_t n; (n = nghttp2_session_mem_send(c->session, &p)) > 0;)
                if (!c->w.connection.closing && !c->w.connection.failed)
                        c->w.result = http_connection_feed(&c->w.connection, (const char *)p, (size_t)n);
}

static void to_client(struct client *c) {
        wire_drain(&c->w, 1000);
        if (c->w.out.len > 0)
                assert_int_equal(
                        nghttp2_session_mem_recv(c->session, (const uint8_t *)c->w.out.data, c->w.out.len),
                        (ssize_t)c->w.out.len);
        buf_clear(&c->w.out);
}

/* Carries bytes to and fro until both are quiet. */
static void pump(struct client *c) {
        for (int i = 0; i < 200; i++) {
                to_server(c);
                to_client(c);
        }
}

static nghttp2_nv field(const char *name, const char *value) {
        return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), 0};
}

static ssize_t on_upload(nghttp2_session *session, int32_t stream, uint8_t *out, size_t size, uint32_t *flags,
                         nghttp2_data_source *source, void *arg) {
        struct seen *s = seen_of(arg, stream);
        size_t n = MIN(size, s->upload_len);
        memcpy(out, s->upload, n);
        s->upload += n;
        s->upload_len -= n;
        if (s->upload_len == 0)
                *flags |= NGHTTP2_DATA_FLAG_EOF;
        return (ssize_t)n;
}

/* Sends a request; extra: one more field or NULL; body NULL: none. The stream's number. */
static int32_t ask(struct client *c, const char *method, const char *path, const char *extra_name,
                   const char *extra_value, const char *body, size_t body_len) {
        nghttp2_nv nv[8];
        size_t n = 0;
        nv[n++] = field(":method", method);
        nv[n++] = field(":scheme", "http");
        nv[n++] = field(":authority", "a");
        nv[n++] = field(":path", path);
        if (extra_name)
                nv[n++] = field(extra_name, extra_value);
        const nghttp2_data_provider source = {.read_callback = on_upload};
        int32_t stream = nghttp2_submit_request(c->session, NULL, nv, n, body ? &source : NULL, NULL);
        assert_true(stream > 0);
        *seen_of(c, stream) = (struct seen){.upload = body, .upload_len = body_len};
        return stream;
}

static struct seen *get(struct client *c, const char *path) {
        int32_t stream = ask(c, "GET", path, NULL, NULL, NULL, 0);
        pump(c);
        return seen_of(c, stream);
}

static void requests_are_answered(void **state) {
        struct client c;
        client_open(&c, NULL);
        struct seen *s = get(&c, "/hello");
        assert_ptr_equal(c.w.connection.protocol, &http2_protocol);
        assert_int_equal(s->status, 200);
        assert_string_equal(s->body, "hi");
        assert_true(s->ended && s->closed);
        assert_int_equal(s->error, NGHTTP2_NO_ERROR);
        assert_non_null(strstr(s->fields, "date: Sun, 06 Nov 1994 09:06:17 GMT\n"));
        assert_non_null(strstr(s->fields, "content-length: 2\n"));
        s = get(&c, "/nothing");
        assert_int_equal(s->status, 404);
        s = get(&c, "/nodes/n%20m?colour=red");
        assert_string_equal(s->body, "/nodes/n m|n m|-|red");
        s = get(&c, "/files/../x");
        assert_int_equal(s->status, 400);
        int32_t stream = ask(&c, "DELETE", "/hello", NULL, NULL, NULL, 0);
        pump(&c);
        assert_int_equal(seen_of(&c, stream)->status, 405);
        assert_non_null(strstr(seen_of(&c, stream)->fields, "allow: GET, HEAD\n"));
        assert_int_equal(c.w.service.stats.open_exchanges, 0);
        assert_int_equal(c.w.app.afters, 5);
        client_close(&c);
}

static void head_has_no_body(void **state) {
        struct client c;
        client_open(&c, NULL);
        int32_t stream = ask(&c, "HEAD", "/hello", NULL, NULL, NULL, 0);
        pump(&c);
        assert_int_equal(seen_of(&c, stream)->status, 200);
        assert_int_equal(seen_of(&c, stream)->body_len, 0);
        assert_true(seen_of(&c, stream)->ended);
        assert_non_null(strstr(seen_of(&c, stream)->fields, "content-length: 2\n"));
        client_close(&c);
}

static void exchanges_overlap(void **state) {
        struct client c;
        client_open(&c, NULL);
        int32_t slow = ask(&c, "GET", "/later", NULL, NULL, NULL, 0);
        int32_t quick = ask(&c, "GET", "/hello", NULL, NULL, NULL, 0);
        pump(&c);
        assert_int_equal(seen_of(&c, quick)->status, 200);
        assert_int_equal(seen_of(&c, slow)->status, 0);
        http_respond(c.w.app.later, 200, "text/plain", "now", 3);
        pump(&c);
        assert_string_equal(seen_of(&c, slow)->body, "now");
        assert_int_equal(c.w.app.closes, 1);
        client_close(&c);
}

static void bodies_are_collected_within_limits(void **state) {
        struct client c;
        const struct http_limits limits = {.body_bytes = 100000};
        _cleanup_(x_freep) char *body = calloc(1, 500000);
        assert_non_null(body);
        memset(body, 'x', 500000);
        client_open(&c, &limits);
        int32_t fits = ask(&c, "POST", "/echo", NULL, NULL, body, 100000);
        pump(&c);
        assert_int_equal(seen_of(&c, fits)->status, 200);
        assert_int_equal(seen_of(&c, fits)->body_len, 100000);
        int32_t promised = ask(&c, "POST", "/echo", "content-length", "500000", body, 500000);
        pump(&c);
        assert_int_equal(seen_of(&c, promised)->status, 413);
        assert_true(seen_of(&c, promised)->ended);
        int32_t grows = ask(&c, "POST", "/echo", NULL, NULL, body, 500000);
        pump(&c);
        assert_int_equal(seen_of(&c, grows)->status, 413);
        /* Who goes on sending meets a shut window, and after a while a reset without reproach. */
        assert_false(seen_of(&c, grows)->closed);
        wire_pass(&c.w, HTTP_REST_MS);
        pump(&c);
        assert_true(seen_of(&c, grows)->closed);
        assert_int_equal(seen_of(&c, grows)->error, NGHTTP2_NO_ERROR);
        assert_int_equal(c.w.service.stats.open_exchanges, 0);
        assert_int_equal(c.w.service.held, 0);
        assert_int_equal(get(&c, "/hello")->status, 200);
        client_close(&c);
}

static void expectations_are_met_or_refused(void **state) {
        struct client c;
        client_open(&c, NULL);
        int32_t stream = ask(&c, "POST", "/echo", "expect", "100-continue", "body", 4);
        pump(&c);
        assert_int_equal(seen_of(&c, stream)->informational, 100);
        assert_string_equal(seen_of(&c, stream)->body, "body");
        stream = ask(&c, "POST", "/echo", "expect", "miracles", "body", 4);
        pump(&c);
        assert_int_equal(seen_of(&c, stream)->status, 417);
        client_close(&c);
}

static void a_paused_body_shuts_its_window_and_no_other(void **state) {
        struct client c;
        _cleanup_(x_freep) char *body = calloc(1, 2000000);
        assert_non_null(body);
        client_open(&c, NULL);
        c.w.app.pause = true;
        int32_t stream = ask(&c, "POST", "/count", NULL, NULL, body, 2000000);
        pump(&c);
        size_t held = 2000000 - seen_of(&c, stream)->upload_len;
        assert_true(held <= 300 * 1024);
        assert_true(c.w.app.body_len <= 20000);
        assert_int_equal(get(&c, "/hello")->status, 200);
        c.w.app.pause = false;
        http_resume_body(c.w.app.later);
        pump(&c);
        assert_true(c.w.app.body_ended);
        assert_int_equal(c.w.app.body_len, 2000000);
        assert_string_equal(seen_of(&c, stream)->body, "done");
        assert_int_equal(c.w.service.held, 0);
        client_close(&c);
}

static void a_body_waits_for_a_handler_that_asks_late(void **state) {
        struct client c;
        client_open(&c, NULL);
        int32_t stream = ask(&c, "POST", "/later", NULL, NULL, "late", 4);
        pump(&c);
        assert_int_equal(c.w.service.held, 4);
        http_read_body(c.w.app.later, 0, app_body_ready, &c.w.app);
        pump(&c);
        assert_string_equal(seen_of(&c, stream)->body, "late");
        assert_int_equal(c.w.service.held, 0);
        client_close(&c);
}

static void what_nobody_reads_is_held_within_bounds(void **state) {
        struct client c;
        _cleanup_(x_freep) char *body = calloc(1, 300000);
        assert_non_null(body);
        client_open(&c, NULL);
        int32_t streams[50];
        for (size_t i = 0; i < ARRAY_SIZE(streams); i++)
                streams[i] = ask(&c, "POST", "/later", NULL, NULL, body, 300000);
        for (int i = 0; i < 20; i++)
                pump(&c);
        assert_true(c.w.connection.held <= HTTP_HELD_PER_CONNECTION);
        int refused = 0;
        for (size_t i = 0; i < ARRAY_SIZE(streams); i++)
                refused += seen_of(&c, streams[i])->status == 503;
        assert_true(refused >= 50 - (int)(HTTP_HELD_PER_CONNECTION / 200000));
        client_close(&c);
        assert_int_equal(c.w.service.held, 0);
}

static void streams_come_as_they_are_written(void **state) {
        struct client c;
        client_open(&c, NULL);
        struct seen *s = get(&c, "/stream");
        assert_int_equal(s->status, 200);
        assert_int_equal(http_write(c.w.app.later, "one", 3), 0);
        pump(&c);
        assert_string_equal(s->body, "one");
        wire_pass(&c.w, 3600 * 1000);
        assert_int_equal(http_write(c.w.app.later, "two", 3), 0);
        pump(&c);
        assert_string_equal(s->body, "onetwo");
        assert_false(s->ended);
        http_finish(c.w.app.later);
        pump(&c);
        assert_true(s->ended && s->closed);
        assert_int_equal(c.w.app.closes, 1);
        client_close(&c);
}

static void a_large_answer_waits_for_its_reader(void **state) {
        struct client c;
        const struct http_limits limits = {.write_buffer_bytes = 20000, .write_ms = 1000};
        client_open(&c, &limits);
        c.w.app.big_left = 1000000;
        struct seen *s = get(&c, "/big");
        assert_int_equal(s->body_len, 1000000);
        assert_true(s->ended);

        client_close(&c);

        client_open(&c, &limits);
        c.no_windows = true;
        c.w.app.big_left = 1000000;
        s = get(&c, "/big");
        assert_int_equal(s->body_len, 65535);
        assert_true(c.w.app.big_left >= 1000000 - 65535 - 21000);
        wire_pass(&c.w, 999);
        pump(&c);
        assert_false(s->closed);
        wire_pass(&c.w, 1);
        pump(&c);
        assert_true(s->closed);
        assert_int_equal(s->error, NGHTTP2_CANCEL);
        assert_int_equal(c.w.app.closes, 1);
        client_close(&c);
}

static void a_cancelled_exchange_is_reported_once(void **state) {
        struct client c;
        client_open(&c, NULL);
        int32_t stream = ask(&c, "GET", "/later", NULL, NULL, NULL, 0);
        pump(&c);
        assert_non_null(c.w.app.later);
        assert_int_equal(nghttp2_submit_rst_stream(c.session, 0, stream, NGHTTP2_CANCEL), 0);
        pump(&c);
        assert_null(c.w.app.later);
        assert_int_equal(c.w.app.closes, 1);
        assert_int_equal(c.w.app.last_status, 0);
        assert_int_equal(get(&c, "/hello")->status, 200);
        client_close(&c);
        assert_int_equal(c.w.app.closes, 1);
}

static void an_abort_resets_the_stream_alone(void **state) {
        struct client c;
        client_open(&c, NULL);
        struct seen *s = get(&c, "/stream");
        http_abort(c.w.app.later);
        pump(&c);
        assert_true(s->closed);
        assert_int_equal(s->error, NGHTTP2_CANCEL);
        assert_int_equal(c.w.app.closes, 1);
        assert_int_equal(get(&c, "/hello")->status, 200);
        client_close(&c);
}

static void a_lost_connection_ends_all_exchanges(void **state) {
        struct client c;
        client_open(&c, NULL);
        (void)ask(&c, "GET", "/later", NULL, NULL, NULL, 0);
        (void)ask(&c, "GET", "/stream", NULL, NULL, NULL, 0);
        pump(&c);
        http_connection_end_of_input(&c.w.connection);
        assert_true(c.w.connection.failed);
        client_close(&c);
        assert_int_equal(c.w.app.closes, 2);
        assert_int_equal(c.w.app.afters, 2);
}

static void large_heads_are_refused_and_larger_ones_cut_off(void **state) {
        struct client c;
        const struct http_limits limits = {.header_bytes = 1000};
        char value[3000];
        memset(value, 'x', sizeof(value));
        value[1500] = '\0';
        client_open(&c, &limits);
        pump(&c);
        int32_t stream = ask(&c, "GET", "/hello", "x-large", value, NULL, 0);
        pump(&c);
        assert_int_equal(seen_of(&c, stream)->status, 431);
        assert_int_equal(c.w.app.calls, 0);
        assert_false(c.w.connection.failed);

        /* Refused as well when it comes to its limit bit by bit, each of them small on the wire. */
        value[1500] = 'x';
        value[900] = '\0';
        nghttp2_nv nv[12] = {field(":method", "GET"), field(":scheme", "http"), field(":authority", "a"),
                             field(":path", "/hello")};
        for (size_t i = 4; i < ARRAY_SIZE(nv); i++)
                nv[i] = field("x-bomb", value);
        assert_true(nghttp2_submit_request(c.session, NULL, nv, ARRAY_SIZE(nv), NULL, NULL) > 0);
        to_server(&c);
        assert_true(c.w.connection.failed);
        client_close(&c);
}

static void rapid_resets_end_the_connection(void **state) {
        struct client c;
        client_open(&c, NULL);
        pump(&c);
        int sent = 0;
        for (; sent < 1000 && !c.w.connection.closing && c.goaways == 0; sent++) {
                int32_t stream = ask(&c, "GET", "/later", NULL, NULL, NULL, 0);
                to_server(&c);
                assert_int_equal(nghttp2_submit_rst_stream(c.session, 0, stream, NGHTTP2_CANCEL), 0);
                to_server(&c);
                to_client(&c);
        }
        assert_in_range(sent, 100, 400);
        assert_int_equal(c.goaway_error, NGHTTP2_ENHANCE_YOUR_CALM);
        pump(&c);
        assert_true(c.w.connection.closing);
        client_close(&c);
}

static void patient_cancelling_is_no_attack(void **state) {
        struct client c;
        client_open(&c, NULL);
        pump(&c);
        for (int i = 0; i < 1000; i++) {
                int32_t stream = ask(&c, "GET", "/later", NULL, NULL, NULL, 0);
                to_server(&c);
                assert_int_equal(nghttp2_submit_rst_stream(c.session, 0, stream, NGHTTP2_CANCEL), 0);
                to_server(&c);
                to_client(&c);
                wire_pass(&c.w, 100);
        }
        assert_int_equal(c.goaways, 0);
        assert_int_equal(get(&c, "/hello")->status, 200);
        client_close(&c);
}

static void frame(struct buf *b, uint8_t type, uint8_t flags, uint32_t stream, const void *p, size_t n) {
        const uint8_t head[9] = {(uint8_t)(n >> 16),
                                 (uint8_t)(n >> 8),
                                 (uint8_t)n,
                                 type,
                                 flags,
                                 (uint8_t)(stream >> 24),
                                 (uint8_t)(stream >> 16),
                                 (uint8_t)(stream >> 8),
                                 (uint8_t)stream};
        assert_int_equal(buf_append(b, head, sizeof(head)), 0);
        assert_int_equal(buf_append(b, p, n), 0);
}

/* Sends a frame over and over; how many the server took before it had enough. */
static int flood(uint8_t type, uint8_t flags, uint32_t stream, const void *p, size_t n, bool open_first) {
        static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        /* POST http a /later, the last two as literals */
        static const uint8_t head[] = {0x83, 0x86, 0x41, 1, 'a', 0x04, 6, '/', 'l', 'a', 't', 'e', 'r'};
        struct wire w;
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        int count = 0;
        wire_open(&w, NULL, NULL);
        assert_int_equal(buf_append(&b, preface, sizeof(preface) - 1), 0);
        frame(&b, NGHTTP2_SETTINGS, 0, 0, "", 0);
        if (open_first)
                frame(&b, NGHTTP2_HEADERS, type == NGHTTP2_CONTINUATION ? 0 : NGHTTP2_FLAG_END_HEADERS, 1,
                      head, sizeof(head));
        wire_feed(&w, b.data, b.len);
        buf_clear(&b);
        frame(&b, type, flags, stream, p, n);
        for (; count < 5000 && !w.connection.closing && !w.connection.failed; count++) {
                wire_feed(&w, b.data, b.len);
                buf_clear(&w.out);
        }
        wire_close(&w);
        return count;
}

static void floods_end_the_connection(void **state) {
        static const uint8_t zeros[8] = {0};
        assert_in_range(flood(NGHTTP2_PING, 0, 0, zeros, 8, false), 100, 400);
        assert_in_range(flood(NGHTTP2_SETTINGS, 0, 0, "", 0, false), 100, 400);
        assert_in_range(flood(NGHTTP2_PRIORITY, 0, 3, zeros, 5, false), 100, 400);
        assert_in_range(flood(NGHTTP2_DATA, 0, 1, "", 0, true), 100, 400);
        assert_in_range(flood(NGHTTP2_CONTINUATION, 0, 1, "", 0, true), 1, 20);
        /* Windows opened too far, and frames where none may be. */
        assert_in_range(flood(NGHTTP2_WINDOW_UPDATE, 0, 0, "\x7f\xff\xff\xff", 4, false), 1, 3);
        assert_in_range(flood(NGHTTP2_DATA, 0, 0, "x", 1, false), 1, 2);
        assert_in_range(flood(NGHTTP2_PUSH_PROMISE, 0, 1, zeros, 4, true), 1, 2);
}

static void a_head_that_does_not_end_is_given_up(void **state) {
        static const uint8_t head[] = {0x82, 0x86};
        struct wire w;
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        const struct http_limits limits = {.header_ms = 500};
        wire_open(&w, &limits, NULL);
        assert_int_equal(buf_puts(&b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 0);
        frame(&b, NGHTTP2_SETTINGS, 0, 0, "", 0);
        frame(&b, NGHTTP2_HEADERS, 0, 1, head, sizeof(head));
        wire_feed(&w, b.data, b.len);
        wire_pass(&w, 499);
        assert_false(w.connection.failed);
        wire_pass(&w, 1);
        assert_true(w.connection.failed);
        wire_close(&w);
}

static void slow_bodies_are_given_up(void **state) {
        struct client c;
        const struct http_limits limits = {.body_ms = 1000};
        client_open(&c, &limits);
        nghttp2_nv nv[] = {field(":method", "POST"), field(":scheme", "http"), field(":authority", "a"),
                           field(":path", "/echo")};
        int32_t stream =
                nghttp2_submit_headers(c.session, NGHTTP2_FLAG_NONE, -1, NULL, nv, ARRAY_SIZE(nv), NULL);
        assert_true(stream > 0);
        pump(&c);
        wire_pass(&c.w, 999);
        pump(&c);
        assert_int_equal(seen_of(&c, stream)->status, 0);
        wire_pass(&c.w, 1);
        pump(&c);
        assert_int_equal(seen_of(&c, stream)->status, 408);
        wire_pass(&c.w, 1000);
        pump(&c);
        assert_true(seen_of(&c, stream)->closed);
        assert_int_equal(get(&c, "/hello")->status, 200);
        client_close(&c);
}

static void more_streams_than_allowed_are_refused(void **state) {
        struct client c;
        const struct http_limits limits = {.streams = 3};
        client_open(&c, &limits);
        int32_t streams[4]; /* sent before the client has heard of the limit */
        for (size_t i = 0; i < 4; i++)
                streams[i] = ask(&c, "GET", "/later", NULL, NULL, NULL, 0);
        pump(&c);
        assert_int_equal(c.w.app.calls, 3);
        assert_true(seen_of(&c, streams[3])->closed);
        assert_int_equal(seen_of(&c, streams[3])->error, NGHTTP2_REFUSED_STREAM);
        client_close(&c);
}

static void an_idle_connection_is_told_goodbye(void **state) {
        struct client c;
        const struct http_limits limits = {.idle_ms = 5000, .header_ms = 700};
        client_open(&c, &limits);
        assert_int_equal(get(&c, "/hello")->status, 200);
        wire_pass(&c.w, 4999);
        pump(&c);
        assert_int_equal(c.goaways, 0);
        wire_pass(&c.w, 1);
        pump(&c);
        assert_int_equal(c.goaways, 1);
        assert_int_equal(c.goaway_error, NGHTTP2_NO_ERROR);
        /* A client without open streams has nothing to say to that but to close; if it does not, we do. */
        assert_false(nghttp2_session_want_read(c.session));
        wire_pass(&c.w, 700);
        assert_true(c.w.connection.failed);
        client_close(&c);
}

static void a_graceful_stop_serves_what_is_on_its_way(void **state) {
        struct client c;
        client_open(&c, NULL);
        int32_t open = ask(&c, "GET", "/later", NULL, NULL, NULL, 0);
        pump(&c);
        int32_t crossing =
                ask(&c, "GET", "/hello", NULL, NULL, NULL, 0); /* not yet sent when the server stops */
        http_connection_shut_down(&c.w.connection);
        pump(&c);
        assert_int_equal(seen_of(&c, crossing)->status, 200);
        assert_int_equal(c.goaways, 2);
        assert_int_equal(c.goaway_last, crossing);
        assert_false(c.w.connection.closing);
        http_respond(c.w.app.later, 200, NULL, "last", 4);
        pump(&c);
        assert_string_equal(seen_of(&c, open)->body, "last");
        assert_true(c.w.connection.closing);
        client_close(&c);
}

static void a_peer_that_does_not_answer_goodbye_is_cut_off(void **state) {
        struct client c;
        const struct http_limits limits = {.header_ms = 700};
        client_open(&c, &limits);
        assert_int_equal(get(&c, "/hello")->status, 200);
        http_connection_shut_down(&c.w.connection);
        wire_pass(&c.w, 699);
        assert_false(c.w.connection.failed);
        wire_pass(&c.w, 1);
        assert_true(c.w.connection.failed);
        client_close(&c);
}

static void what_is_no_http2_is_not_taken_for_it(void **state) {
        struct wire w;
        wire_open(&w, NULL, NULL);
        wire_feed(&w, "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 24);
        assert_ptr_equal(w.connection.protocol, &http1_protocol);
        assert_true(str_has_prefix(buf_str(&w.out), "HTTP/1.1 "));
        wire_close(&w);
        wire_open(&w, NULL, &http2_protocol);
        wire_feed(&w, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27);
        assert_true(w.connection.failed);
        wire_close(&w);
}

static void cooling_costs_nothing_but_memory(void **state) {
        struct client c;
        client_open(&c, NULL);
        struct seen *s = get(&c, "/stream");
        http_connection_cool(&c.w.connection);
        assert_int_equal(http_write(c.w.app.later, "warm again", 10), 0);
        http_connection_cool(&c.w.connection); /* something waits to be sent: leaves it alone */
        pump(&c);
        assert_string_equal(s->body, "warm again");
        http_connection_cool(&c.w.connection);
        assert_int_equal(get(&c, "/hello")->status, 200);
        client_close(&c);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(requests_are_answered),
                cmocka_unit_test(head_has_no_body),
                cmocka_unit_test(exchanges_overlap),
                cmocka_unit_test(bodies_are_collected_within_limits),
                cmocka_unit_test(expectations_are_met_or_refused),
                cmocka_unit_test(a_paused_body_shuts_its_window_and_no_other),
                cmocka_unit_test(a_body_waits_for_a_handler_that_asks_late),
                cmocka_unit_test(what_nobody_reads_is_held_within_bounds),
                cmocka_unit_test(streams_come_as_they_are_written),
                cmocka_unit_test(a_large_answer_waits_for_its_reader),
                cmocka_unit_test(a_cancelled_exchange_is_reported_once),
                cmocka_unit_test(an_abort_resets_the_stream_alone),
                cmocka_unit_test(a_lost_connection_ends_all_exchanges),
                cmocka_unit_test(large_heads_are_refused_and_larger_ones_cut_off),
                cmocka_unit_test(rapid_resets_end_the_connection),
                cmocka_unit_test(patient_cancelling_is_no_attack),
                cmocka_unit_test(floods_end_the_connection),
                cmocka_unit_test(a_head_that_does_not_end_is_given_up),
                cmocka_unit_test(slow_bodies_are_given_up),
                cmocka_unit_test(more_streams_than_allowed_are_refused),
                cmocka_unit_test(an_idle_connection_is_told_goodbye),
                cmocka_unit_test(a_graceful_stop_serves_what_is_on_its_way),
                cmocka_unit_test(a_peer_that_does_not_answer_goodbye_is_cut_off),
                cmocka_unit_test(what_is_no_http2_is_not_taken_for_it),
                cmocka_unit_test(cooling_costs_nothing_but_memory),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
