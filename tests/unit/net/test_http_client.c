/* SPDX-License-Identifier: Apache-2.0 */
/* The client against a server of another make: Python's http.server, HTTP/1.1 in the clear. HTTP/2 over TLS
 * with our own server is in test_http_pair.c. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/str.h"
#include "net/http_client.h"

static const char server_script[] =
        "import http.server, socketserver\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    protocol_version = 'HTTP/1.1'\n"
        "    def log_message(self, *a): pass\n"
        "    def answer(self, status, body, **headers):\n"
        "        self.send_response(status)\n"
        "        for k, v in headers.items(): self.send_header(k.replace('_', '-'), v)\n"
        "        self.send_header('Content-Length', str(len(body)))\n"
        "        self.end_headers()\n"
        "        if self.command != 'HEAD': self.wfile.write(body)\n"
        "    def do_GET(self):\n"
        "        if self.path == '/hello': self.answer(200, b'hello', ETag='\"abc\"', "
        "Content_Type='text/x')\n"
        "        elif self.path == '/agent': self.answer(200, self.headers['User-Agent'].encode())\n"
        "        elif self.path == '/custom': self.answer(200, self.headers['X-Custom'].encode())\n"
        "        elif self.path == '/busy': self.answer(503, b'{\"error\":1}', Retry_After='7')\n"
        "        elif self.path == '/big': self.answer(200, b'x' * 300000)\n"
        "        elif self.path == '/never':\n"
        "            while self.rfile.read(1): pass\n"
        "        elif self.path == '/cut':\n"
        "            self.wfile.write(b'HTTP/1.1 200 OK\\r\\nContent-Length: 100\\r\\n\\r\\nhalf')\n"
        "            self.close_connection = True\n"
        "        elif self.path == '/rubbish':\n"
        "            self.wfile.write(b'\\x00\\x01\\x02 not http at all\\r\\n\\r\\n')\n"
        "            self.close_connection = True\n"
        "        else: self.answer(404, b'nothing here')\n"
        "    do_HEAD = do_GET\n"
        "    def do_POST(self):\n"
        "        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))\n"
        "        what = '%s %s ' % (self.command, self.headers.get('Content-Type'))\n"
        "        self.answer(201, what.encode() + body)\n"
        "    do_PUT = do_DELETE = do_POST\n"
        "class S(socketserver.ThreadingMixIn, http.server.HTTPServer):\n"
        "    daemon_threads = True\n"
        "    def handle_error(self, *a): pass\n"
        "s = S(('127.0.0.1', 0), H)\n"
        "print(s.server_address[1], flush=True)\n"
        "s.serve_forever()\n";

static pid_t server_pid;
static int server_port;

static int start_server(void **state) {
        int ends[2];
        if (pipe(ends) < 0)
                return -1;
        server_pid = fork();
        if (server_pid == 0) {
                dup2(ends[1], STDOUT_FILENO);
                close(ends[0]);
                close(ends[1]);
                execlp("python3", "python3", "-c", server_script, NULL);
                _exit(127);
        }
        close(ends[1]);
        FILE *f = fdopen(ends[0], "r");
        int n = f ? fscanf(f, "%d", &server_port) : 0;
        if (f)
                fclose(f);
        return server_pid > 0 && n == 1 ? 0 : -1;
}

static int stop_server(void **state) {
        kill(server_pid, SIGKILL);
        return waitpid(server_pid, NULL, 0) == server_pid ? 0 : -1;
}

struct fixture {
        struct loop *loop;
        struct http_client *client;
};

static int make(void **state) {
        static struct fixture f;
        f = (struct fixture){0};
        if (loop_new(&f.loop, NULL) < 0)
                return -1;
        struct http_client_options o = {0};
        if (http_client_new(f.loop, &o, &f.client, NULL) < 0)
                return -1;
        *state = &f;
        return 0;
}

static int release(void **state) {
        struct fixture *f = *state;
        http_client_free(f->client);
        loop_free(f->loop);
        return 0;
}

/* What a call came to. */
struct outcome {
        struct fixture *f;
        int finished, status, error, headers_status;
        struct buf body;
        char content_type[64], etag[64], message[512];
        msec_t retry_after_ms;
        struct buf streamed;
        int (*on_data)(struct outcome *o);
        struct http_call *call;
        struct outcome *next; /* started from inside this one */
        int waiting_for;      /* stops the loop when this many ended */
        int *ended;
};

static void on_done(void *arg, const struct http_result *r) {
        struct outcome *o = arg;
        o->finished++;
        o->status = r->status;
        o->error = r->error;
        o->retry_after_ms = r->retry_after_ms;
        assert_int_equal(buf_append(&o->body, r->body, r->body_len), 0);
        assert_int_equal(r->body[r->body_len], '\0');
        if (r->content_type)
                snprintf(o->content_type, sizeof(o->content_type), "%s", r->content_type);
        if (r->etag)
                snprintf(o->etag, sizeof(o->etag), "%s", r->etag);
        if (r->error < 0)
                assert_non_null(r->message);
        if (r->message)
                snprintf(o->message, sizeof(o->message), "%s", r->message);
        if (++*o->ended == o->waiting_for)
                loop_stop(o->f->loop, 0);
}

static void on_headers(void *arg, int status) {
        struct outcome *o = arg;
        assert_int_equal(o->headers_status, 0);
        o->headers_status = status;
}

static int on_data(void *arg, const char *p, size_t n) {
        struct outcome *o = arg;
        assert_int_equal(buf_append(&o->streamed, p, n), 0);
        return o->on_data ? o->on_data(o) : 0;
}

static int ended;

static int begin(struct fixture *f, struct outcome *o, struct http_request *q, const char *path,
                 int waiting_for) {
        _cleanup_(x_freep) char *url = str_format("http://127.0.0.1:%d%s", server_port, path);
        o->f = f;
        o->ended = &ended;
        o->waiting_for = waiting_for;
        q->url = url;
        q->done = on_done;
        q->on_headers = on_headers;
        q->arg = o;
        return http_client_send(f->client, q, &o->call, NULL);
}

static void run(struct fixture *f, struct outcome *o, struct http_request *q, const char *path) {
        ended = 0;
        assert_int_equal(begin(f, o, q, path, 1), 0);
        loop_run(f->loop);
        assert_int_equal(o->finished, 1);
}

static void outcome_done(struct outcome *o) {
        buf_done(&o->body);
        buf_done(&o->streamed);
}

static void test_get(void **state) {
        _cleanup_(outcome_done) struct outcome o = {0};
        struct http_request q = {0};
        run(*state, &o, &q, "/hello");
        assert_int_equal(o.status, 200);
        assert_int_equal(o.error, 0);
        assert_int_equal(o.headers_status, 200);
        assert_string_equal(buf_str(&o.body), "hello");
        assert_string_equal(o.etag, "\"abc\"");
        assert_string_equal(o.content_type, "text/x");
        assert_int_equal(o.retry_after_ms, -1);
}

static void test_headers(void **state) {
        _cleanup_(outcome_done) struct outcome o = {0}, agent = {0}, bad = {0};
        const char *headers[] = {"X-Custom: yes", NULL};
        struct http_request q = {.headers = headers};
        run(*state, &o, &q, "/custom");
        assert_string_equal(buf_str(&o.body), "yes");
        q.headers = NULL;
        run(*state, &agent, &q, "/agent");
        assert_true(str_has_prefix(buf_str(&agent.body), "skerry/"));
        const char *split[] = {"X-Custom: yes\r\nX-Other: no", NULL};
        q.headers = split;
        assert_int_equal(begin(*state, &bad, &q, "/custom", 1), -EINVAL);
}

static void test_bodies(void **state) {
        static const char *const methods[] = {"POST", "PUT", "DELETE"};
        for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
                _cleanup_(outcome_done) struct outcome o = {0};
                struct http_request q = {.method = methods[i], .body = "{\"a\":1}", .body_len = 7};
                run(*state, &o, &q, "/echo");
                assert_int_equal(o.status, 201);
                _cleanup_(x_freep) char *want = str_format("%s application/json {\"a\":1}", methods[i]);
                assert_string_equal(buf_str(&o.body), want);
        }
        _cleanup_(outcome_done) struct outcome empty = {0}, typed = {0};
        const char *headers[] = {"content-type: text/plain", NULL};
        struct http_request q = {.method = "POST"};
        run(*state, &empty, &q, "/echo");
        assert_int_equal(empty.status, 201);
        q = (struct http_request){.method = "POST", .body = "x", .body_len = 1, .headers = headers};
        run(*state, &typed, &q, "/echo");
        assert_string_equal(buf_str(&typed.body), "POST text/plain x");
}

static void test_head(void **state) {
        _cleanup_(outcome_done) struct outcome o = {0};
        struct http_request q = {.method = "HEAD"};
        run(*state, &o, &q, "/hello");
        assert_int_equal(o.status, 200);
        assert_int_equal(o.body.len, 0);
        assert_string_equal(o.etag, "\"abc\"");
}

static void test_error_statuses(void **state) {
        _cleanup_(outcome_done) struct outcome o = {0}, missing = {0};
        struct http_request q = {.on_data = on_data};
        run(*state, &o, &q, "/busy");
        assert_int_equal(o.status, 503);
        assert_int_equal(o.error, 0);
        assert_int_equal(o.retry_after_ms, 7000);
        /* Only a 2xx answer is streamed; what else is said can be read whole. */
        assert_int_equal(o.streamed.len, 0);
        assert_string_equal(buf_str(&o.body), "{\"error\":1}");
        run(*state, &missing, &q, "/missing");
        assert_int_equal(missing.status, 404);
}

static void test_limit(void **state) {
        _cleanup_(outcome_done) struct outcome o = {0}, all = {0};
        struct http_request q = {.limit = 299999};
        run(*state, &o, &q, "/big");
        assert_int_equal(o.error, -EMSGSIZE);
        q.limit = 300000;
        run(*state, &all, &q, "/big");
        assert_int_equal(all.error, 0);
        assert_int_equal(all.body.len, 300000);
}

static void test_streamed(void **state) {
        _cleanup_(outcome_done) struct outcome o = {0};
        struct http_request q = {.on_data = on_data, .limit = 10};
        run(*state, &o, &q, "/big");
        assert_int_equal(o.error, 0);
        assert_int_equal(o.streamed.len, 300000);
        assert_int_equal(o.body.len, 0);
}

static int refuse(struct outcome *o) {
        return -ENOSPC;
}

static void test_reader_gives_up(void **state) {
        _cleanup_(outcome_done) struct outcome o = {.on_data = refuse};
        struct http_request q = {.on_data = on_data};
        run(*state, &o, &q, "/big");
        assert_int_equal(o.error, -ENOSPC);
        assert_int_equal(o.status, 200);
}

static int start_another(struct outcome *o) {
        if (o->next->f)
                return 0;
        struct http_request q = {0};
        assert_int_equal(begin(o->f, o->next, &q, "/hello", 2), 0);
        return 0;
}

static void test_send_from_inside(void **state) {
        _cleanup_(outcome_done) struct outcome second = {0},
                                               first = {.on_data = start_another, .next = &second};
        struct http_request q = {.on_data = on_data};
        struct fixture *f = *state;
        ended = 0;
        assert_int_equal(begin(f, &first, &q, "/big", 2), 0);
        loop_run(f->loop);
        assert_int_equal(first.error, 0);
        assert_string_equal(buf_str(&second.body), "hello");
}

static void stop_loop(void *arg) {
        loop_stop(arg, 0);
}

static int cancel_self(struct outcome *o) {
        http_call_cancel(o->call);
        loop_post(o->f->loop, stop_loop, o->f->loop);
        return 0;
}

static void test_cancel(void **state) {
        struct fixture *f = *state;
        _cleanup_(outcome_done) struct outcome unstarted = {0}, inside = {.on_data = cancel_self};
        struct http_request q = {0};
        ended = 0;
        assert_int_equal(begin(f, &unstarted, &q, "/hello", 1), 0);
        http_call_cancel(unstarted.call);
        q.on_data = on_data;
        assert_int_equal(begin(f, &inside, &q, "/big", 1), 0);
        loop_run(f->loop);
        assert_int_equal(unstarted.finished, 0);
        assert_int_equal(inside.finished, 0);
        assert_true(inside.streamed.len > 0);
        http_call_cancel(NULL);
}

static int free_client(struct outcome *o) {
        o->f->client = http_client_free(o->f->client);
        loop_post(o->f->loop, stop_loop, o->f->loop);
        return 0;
}

static void test_free_from_inside(void **state) {
        struct fixture *f = *state;
        _cleanup_(outcome_done) struct outcome o = {.on_data = free_client}, other = {0};
        struct http_request q = {0};
        assert_int_equal(begin(f, &other, &q, "/never", 1), 0);
        q.on_data = on_data;
        assert_int_equal(begin(f, &o, &q, "/big", 1), 0);
        loop_run(f->loop);
        assert_null(f->client);
        assert_int_equal(o.finished + other.finished, 0);
}

static void free_in_done(void *arg, const struct http_result *r) {
        struct outcome *o = arg;
        o->finished++;
        o->f->client = http_client_free(o->f->client);
        loop_stop(o->f->loop, 0);
}

static void test_free_from_done(void **state) {
        struct fixture *f = *state;
        struct outcome o = {.f = f};
        _cleanup_(x_freep) char *url = str_format("http://127.0.0.1:%d/hello", server_port);
        struct http_request q = {.url = url, .done = free_in_done, .arg = &o};
        assert_int_equal(http_client_send(f->client, &q, NULL, NULL), 0);
        loop_run(f->loop);
        assert_int_equal(o.finished, 1);
}

static void test_failures(void **state) {
        static const struct {
                const char *path;
                int error;
        } cases[] = {{"/cut", -EIO}, {"/rubbish", -EIO}};
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(outcome_done) struct outcome o = {0};
                struct http_request q = {0};
                run(*state, &o, &q, cases[i].path);
                assert_int_equal(o.error, cases[i].error);
                assert_non_null(strstr(o.message, cases[i].path));
        }
        _cleanup_(outcome_done) struct outcome late = {0};
        struct http_request q = {.timeout_ms = 50};
        run(*state, &late, &q, "/never");
        assert_int_equal(late.error, -ETIMEDOUT);
        assert_int_equal(late.status, 0);
}

static void test_nobody_there(void **state) {
        struct fixture *f = *state;
        _cleanup_(outcome_done) struct outcome o = {.f = f, .ended = &ended, .waiting_for = 1};
        struct http_request q = {.url = "http://127.0.0.1:1/", .done = on_done, .arg = &o};
        ended = 0;
        assert_int_equal(http_client_send(f->client, &q, NULL, NULL), 0);
        loop_run(f->loop);
        assert_int_equal(o.error, -ECONNREFUSED);
        assert_non_null(strstr(o.message, "127.0.0.1:1"));
        _cleanup_(err_freep) struct err *err = NULL;
        q.url = "ftp://127.0.0.1/";
        assert_int_equal(http_client_send(f->client, &q, NULL, &err), -EINVAL);
        assert_non_null(strstr(err_message(err), "ftp://"));
}

static void test_connections_are_kept_and_renewed(void **state) {
        struct fixture *f = *state;
        struct http_client_stats s;
        for (int i = 0; i < 3; i++) {
                _cleanup_(outcome_done) struct outcome o = {0};
                struct http_request q = {0};
                run(f, &o, &q, "/hello");
        }
        http_client_stats(f->client, &s);
        assert_int_equal(s.connections, 1);
        assert_int_equal(s.calls, 3);
        assert_true(s.bytes_in > 15);
        assert_true(s.bytes_out > 0);

        /* An open call goes on over the old connection. */
        _cleanup_(outcome_done) struct outcome open = {0}, fresh = {0};
        struct http_request q = {.on_data = on_data};
        ended = 0;
        assert_int_equal(begin(f, &open, &q, "/big", 2), 0);
        http_client_reconnect(f->client);
        http_client_reconnect(f->client);
        assert_int_equal(begin(f, &fresh, &q, "/hello", 2), 0);
        loop_run(f->loop);
        assert_int_equal(open.streamed.len, 300000);
        assert_string_equal(buf_str(&fresh.streamed), "hello");
        http_client_stats(f->client, &s);
        assert_int_equal(s.connections, 2);
        assert_int_equal(s.failures, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_get, make, release),
                cmocka_unit_test_setup_teardown(test_headers, make, release),
                cmocka_unit_test_setup_teardown(test_bodies, make, release),
                cmocka_unit_test_setup_teardown(test_head, make, release),
                cmocka_unit_test_setup_teardown(test_error_statuses, make, release),
                cmocka_unit_test_setup_teardown(test_limit, make, release),
                cmocka_unit_test_setup_teardown(test_streamed, make, release),
                cmocka_unit_test_setup_teardown(test_reader_gives_up, make, release),
                cmocka_unit_test_setup_teardown(test_send_from_inside, make, release),
                cmocka_unit_test_setup_teardown(test_cancel, make, release),
                cmocka_unit_test_setup_teardown(test_free_from_inside, make, release),
                cmocka_unit_test_setup_teardown(test_free_from_done, make, release),
                cmocka_unit_test_setup_teardown(test_failures, make, release),
                cmocka_unit_test_setup_teardown(test_nobody_there, make, release),
                cmocka_unit_test_setup_teardown(test_connections_are_kept_and_renewed, make, release),
        };
        return cmocka_run_group_tests(tests, start_server, stop_server);
}
