/* SPDX-License-Identifier: Apache-2.0 */
/* The server on real sockets: the client is libcurl, or a bare socket, in a thread of its own. */
#include "net/http_server.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/fs.h"
#include "tls_fixture.h"

#define NODE_ID "spiffe://example.org/node/shop-1"
#define LARGE ((size_t)5000000)

static struct authority authority;
static struct member server_member, node_member;
static char folder[] = "/tmp/skerry-http-XXXXXX";
static char *large; /* LARGE bytes, also in the file "large" */

static char *in_folder(const char *name) {
        char *path = path_join(folder, name);
        assert_non_null(path);
        return path;
}

static void write_file(const char *name, const void *data, size_t len) {
        _cleanup_(x_freep) char *path = in_folder(name);
        assert_int_equal(file_write_atomic(path, data, len, 0600, NULL), 0);
}

static int set_up(void **state) {
        assert_non_null(mkdtemp(folder));
        curl_global_init(CURL_GLOBAL_DEFAULT);
        authority_init(&authority);
        member_init(&server_member, &authority, "spiffe://example.org/server/main", "localhost", 3600000);
        member_init(&node_member, &authority, NODE_ID, NULL, 3600000);
        large = malloc(LARGE);
        assert_non_null(large);
        for (size_t i = 0; i < LARGE; i++)
                large[i] = (char)(i * 2654435761u >> 13);
        write_file("large", large, LARGE);
        write_file("small", "hello world", 11);
        write_file("empty", "", 0);
        write_file("root.pem", authority.root, strlen(authority.root));
        write_file("node.pem", node_member.chain, strlen(node_member.chain));
        write_file("node.key", node_member.key, strlen(node_member.key));
        return 0;
}

static int tear_down(void **state) {
        member_done(&server_member);
        member_done(&node_member);
        authority_done(&authority);
        free(large);
        curl_global_cleanup();
        return path_remove(folder, NULL);
}

/* ---- the server's side */

static bool outcome[16]; /* of the steps of a client; looked at when its thread is gone */

struct scene {
        struct loop *loop;
        struct http_server *server;
        struct tls_config *tls;
        struct http_exchange *open;
        int closes, afters;
        int last_status;
        uint64_t last_bytes;
        size_t uploaded;
        bool upload_matches;
        bool stop_after, stopped;
        char url[64];
        uint16_t port;
        void (*client)(struct scene *s);
        CURL *handles[2]; /* for HTTP/2 and for HTTP/1.1: libcurl would use a connection again for the other
                           */
};

static void scene_stop_loop(void *arg) {
        loop_stop(((struct scene *)arg)->loop, 0);
}

static void on_close(struct http_exchange *x, void *arg) {
        struct scene *s = arg;
        s->closes++;
        s->open = NULL;
}

static void who(struct http_exchange *x, void *arg) {
        char text[512];
        int n = snprintf(text, sizeof(text), "%s %s %s", http_peer_address(x),
                         http_peer_spiffe_id(x) ? http_peer_spiffe_id(x) : "-",
                         http_peer_serial(x) ? http_peer_serial(x) : "-");
        http_respond(x, 200, "text/plain", text, (size_t)n);
}

static void file(struct http_exchange *x, void *arg) {
        _cleanup_(x_freep) char *path = in_folder(http_parameter(x, "name"));
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                http_respond_error(x, 404, "not_found", "no such file");
        else
                http_respond_file(x, fd, "application/octet-stream", "tag-1",
                                  http_query(x, "immutable") != NULL);
}

static void upload_chunk(struct http_exchange *x, const char *p, size_t n, void *arg) {
        struct scene *s = arg;
        if (n == 0) {
                http_respond(x, 204, NULL, NULL, 0);
                return;
        }
        s->upload_matches =
                s->upload_matches && s->uploaded + n <= LARGE && memcmp(large + s->uploaded, p, n) == 0;
        s->uploaded += n;
}

static void upload(struct http_exchange *x, void *arg) {
        struct scene *s = arg;
        s->uploaded = 0;
        s->upload_matches = true;
        http_stream_body(x, upload_chunk, s);
}

static void hold(struct http_exchange *x, void *arg) {
        struct scene *s = arg;
        s->open = x;
        http_on_close(x, on_close, s);
        (void)http_begin(x, 200, "text/plain");
        (void)http_write(x, "held\n", 5);
}

static void drop(struct http_exchange *x, void *arg) {
        struct scene *s = arg;
        char text[16];
        int n = snprintf(text, sizeof(text), "%zu", http_server_drop_peer(s->server, NODE_ID));
        http_respond(x, 200, "text/plain", text, (size_t)n);
}

static void pour(struct http_exchange *x, void *arg) {
        while (http_write(x, large, 10000) == 0)
                ;
}

static void endless(struct http_exchange *x, void *arg) {
        hold(x, arg);
        http_on_drain(x, pour, arg);
        pour(x, arg);
}

static void after(struct http_exchange *x, int status, uint64_t bytes, msec_t took, void *arg) {
        struct scene *s = arg;
        s->afters++;
        s->last_status = status;
        s->last_bytes = bytes;
}

static const struct http_route routes[] = {
        {"GET", "/who", who, NULL},   {"GET", "/file/:name", file, NULL}, {"POST", "/upload", upload, NULL},
        {"GET", "/hold", hold, NULL}, {"POST", "/drop", drop, NULL},      {"GET", "/endless", endless, NULL},
        {NULL, NULL, NULL, NULL},
};

static void *client_thread(void *arg) {
        struct scene *s = arg;
        for (size_t i = 0; i < 2; i++)
                s->handles[i] = curl_easy_init();
        s->client(s);
        for (size_t i = 0; i < 2; i++)
                curl_easy_cleanup(s->handles[i]);
        (void)loop_post(s->loop, scene_stop_loop, s);
        return NULL;
}

static void on_stopped(void *arg) {
        ((struct scene *)arg)->stopped = true;
        loop_stop(((struct scene *)arg)->loop, 0);
}

static void play(struct scene *s, bool tls, const struct http_limits *limits,
                 void (*client)(struct scene *s)) {
        memset(outcome, 0, sizeof(outcome));
        assert_int_equal(loop_new(&s->loop, NULL), 0);
        if (tls) {
                const struct tls_material m = {.certificate_pem = server_member.chain,
                                               .key_pem = server_member.key,
                                               .bundle_pem = authority.root,
                                               .peer = TLS_PEER_OPTIONAL,
                                               .trust_domain = "example.org"};
                assert_int_equal(tls_server_new(&m, &s->tls, NULL), 0);
        }
        const struct http_server_options o = {.name = "test",
                                              .address = "127.0.0.1:0",
                                              .tls = s->tls,
                                              .limits = limits ? *limits : (struct http_limits){0},
                                              .routes = routes,
                                              .arg = s,
                                              .after = after};
        assert_int_equal(http_server_start(s->loop, &o, &s->server, NULL), 0);
        s->port = http_server_port(s->server);
        (void)snprintf(s->url, sizeof(s->url), "%s://localhost:%u", tls ? "https" : "http", s->port);
        s->client = client;
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, client_thread, s), 0);
        (void)loop_run(s->loop);
        (void)pthread_join(thread, NULL);
        if (s->server) {
                http_server_stop(s->server, 0, on_stopped, s);
                (void)loop_run(s->loop);
                assert_true(s->stopped);
        }
        loop_free(s->loop);
        tls_config_free(s->tls);
}

/* ---- the client's side: no assertions here, they belong to the main thread */

struct reply {
        CURLcode code;
        long status, version;
        struct buf body, head;
};

struct wish {
        long version;
        const char *path, *field, *method;
        const char *upload;
        size_t upload_len;
        bool certificate, fresh;
        size_t (*on_body)(char *p, size_t size, size_t n, void *arg);
};

static size_t keep(char *p, size_t size, size_t n, void *arg) {
        return buf_append(arg, p, size * n) < 0 ? 0 : size * n;
}

static struct reply ask(struct scene *s, struct wish w) {
        CURL *easy = s->handles[w.version == CURL_HTTP_VERSION_1_1];
        struct reply r = {.body = BUF_INIT, .head = BUF_INIT};
        char url[256], root[256], certificate[256], key[256];
        (void)snprintf(url, sizeof(url), "%s%s", s->url, w.path);
        (void)snprintf(root, sizeof(root), "%s/root.pem", folder);
        (void)snprintf(certificate, sizeof(certificate), "%s/node.pem", folder);
        (void)snprintf(key, sizeof(key), "%s/node.key", folder);
        curl_easy_reset(easy);
        curl_easy_setopt(easy, CURLOPT_URL, url);
        curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
        curl_easy_setopt(easy, CURLOPT_IPRESOLVE, CURL_IPRESOLVE_V4);
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(easy, CURLOPT_TIMEOUT, 60L);
        curl_easy_setopt(easy, CURLOPT_CAINFO, root);
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, w.version);
        /* libcurl 7.88 fails to use a prior knowledge connection again. */
        bool fresh = w.fresh || w.version == CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE;
        curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, fresh ? 1L : 0L);
        if (w.certificate) {
                curl_easy_setopt(easy, CURLOPT_SSLCERT, certificate);
                curl_easy_setopt(easy, CURLOPT_SSLKEY, key);
        }
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, w.on_body ? w.on_body : keep);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, &r.body);
        curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, keep);
        curl_easy_setopt(easy, CURLOPT_HEADERDATA, &r.head);
        struct curl_slist *fields = w.field ? curl_slist_append(NULL, w.field) : NULL;
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, fields);
        if (w.upload) {
                curl_easy_setopt(easy, CURLOPT_POSTFIELDS, w.upload);
                curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)w.upload_len);
        }
        if (w.method && strcmp(w.method, "HEAD") == 0)
                curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
        r.code = curl_easy_perform(easy);
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &r.status);
        curl_easy_getinfo(easy, CURLINFO_HTTP_VERSION, &r.version);
        curl_slist_free_all(fields);
        return r;
}

static void reply_done(struct reply *r) {
        buf_done(&r->body);
        buf_done(&r->head);
}

static bool reply_is(struct reply r, long status, const char *body) {
        bool is = r.code == CURLE_OK && r.status == status && str_eq(buf_str(&r.body), body);
        if (!is)
                fprintf(stderr, "got %d %ld %s\n", (int)r.code, r.status, buf_str(&r.body));
        reply_done(&r);
        return is;
}

/* The line of a field in a reply's head, with its value. */
static bool has_field(const struct reply *r, const char *line) {
        return r->head.len > 0 && strcasestr(buf_str(&r->head), line) != NULL;
}

static int plain_socket(struct scene *s) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in a = {
                .sin_family = AF_INET, .sin_port = htons(s->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        struct timeval patience = {.tv_sec = 60};
        if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
                (void)close(fd);
                return -1;
        }
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        return fd;
}

/* Reads to the end of the connection; 0 or -errno. */
static int read_to_end(int fd, struct buf *b) {
        char part[4096];
        ssize_t n;
        while ((n = recv(fd, part, sizeof(part), 0)) > 0)
                if (b && buf_append(b, part, (size_t)n) < 0)
                        return -ENOMEM;
        return n < 0 ? -errno : 0;
}

/* ---- scenes */

static void assert_outcomes(size_t n) {
        for (size_t i = 0; i < n; i++)
                if (!outcome[i])
                        fail_msg("step %zu of the client failed", i);
}

static const long plain_versions[] = {CURL_HTTP_VERSION_1_1, CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE};
static const long tls_versions[] = {CURL_HTTP_VERSION_1_1, CURL_HTTP_VERSION_2TLS};

static void plain_client(struct scene *s) {
        for (size_t v = 0; v < 2; v++) {
                struct reply r = ask(s, (struct wish){.version = plain_versions[v], .path = "/who"});
                outcome[2 * v] = r.version == (v ? CURL_HTTP_VERSION_2_0 : CURL_HTTP_VERSION_1_1);
                outcome[2 * v + 1] = reply_is(r, 200, "127.0.0.1 - -");
        }
}

static void both_versions_are_spoken_in_the_clear(void **state) {
        struct scene s = {0};
        play(&s, false, NULL, plain_client);
        assert_outcomes(4);
        assert_int_equal(s.afters, 2);
        assert_int_equal(s.last_status, 200);
        assert_int_equal(s.last_bytes, 13);
}

static void tls_client(struct scene *s) {
        struct cert_info info = {0};
        char known[256];
        (void)cert_inspect(node_member.chain, &info, NULL);
        (void)snprintf(known, sizeof(known), "127.0.0.1 %s %s", NODE_ID, info.serial);
        cert_info_done(&info);
        for (size_t v = 0; v < 2; v++) {
                struct reply r = ask(s, (struct wish){.version = tls_versions[v], .path = "/who"});
                outcome[4 * v] = r.version == (v ? CURL_HTTP_VERSION_2_0 : CURL_HTTP_VERSION_1_1);
                outcome[4 * v + 1] = reply_is(r, 200, "127.0.0.1 - -");
                struct wish w = {
                        .version = tls_versions[v], .path = "/who", .certificate = true, .fresh = true};
                outcome[4 * v + 2] = reply_is(ask(s, w), 200, known);
                outcome[4 * v + 3] = reply_is(ask(s, w), 200, known); /* by a resumed session */
        }
}

static void members_are_known_by_their_certificate(void **state) {
        struct scene s = {0};
        play(&s, true, NULL, tls_client);
        assert_outcomes(8);
}

static void file_client(struct scene *s) {
        const long *versions = s->tls ? tls_versions : plain_versions;
        bool ok[9] = {true, true, true, true, true, true, true, true, true};
        for (size_t v = 0; v < 2; v++) {
                struct wish w = {.version = versions[v], .path = "/file/large"};
                struct reply r = ask(s, w);
                ok[0] &= r.code == CURLE_OK && r.status == 200 && r.body.len == LARGE &&
                         memcmp(r.body.data, large, LARGE) == 0 && has_field(&r, "etag: \"tag-1\"") &&
                         has_field(&r, "cache-control: no-cache") && has_field(&r, "content-length: 5000000");
                reply_done(&r);

                w.field = "Range: bytes=1000000-1999999";
                r = ask(s, w);
                ok[1] &= r.code == CURLE_OK && r.status == 206 && r.body.len == 1000000 &&
                         memcmp(r.body.data, large + 1000000, 1000000) == 0 &&
                         has_field(&r, "content-range: bytes 1000000-1999999/5000000");
                reply_done(&r);

                w.path = "/file/small?immutable";
                w.field = "Range: bytes=-5";
                r = ask(s, w);
                ok[2] &= has_field(&r, "cache-control: public, max-age=31536000, immutable");
                ok[2] &= reply_is(r, 206, "world");

                w.path = "/file/small";
                w.field = "Range: bytes=0-1,3-4";
                ok[3] &= reply_is(ask(s, w), 200, "hello world");

                w.field = "Range: bytes=11-";
                r = ask(s, w);
                ok[4] &= r.code == CURLE_OK && r.status == 416 && has_field(&r, "content-range: bytes */11");
                reply_done(&r);

                w.field = "If-None-Match: \"other\", W/\"tag-1\"";
                ok[5] &= reply_is(ask(s, w), 304, "");

                w.method = "HEAD";
                w.field = "Range: bytes=0-1";
                r = ask(s, w);
                ok[6] &= has_field(&r, "content-length: 11");
                ok[6] &= reply_is(r, 200, "");

                w.method = NULL;
                w.path = "/file/empty";
                w.field = NULL;
                ok[7] &= reply_is(ask(s, w), 200, "");

                w.path = "/file/absent";
                r = ask(s, w);
                ok[8] &= r.code == CURLE_OK && r.status == 404;
                reply_done(&r);
        }
        memcpy(outcome, ok, sizeof(ok));
}

static void files_come_whole_and_by_range(void **state) {
        struct scene s = {0};
        play(&s, false, NULL, file_client);
        assert_outcomes(9);
        struct scene t = {0};
        play(&t, true, NULL, file_client);
        assert_outcomes(9);
        /* A queue smaller than what is read at a time. */
        struct scene u = {0};
        play(&u, true, &(struct http_limits){.write_buffer_bytes = 3000}, file_client);
        assert_outcomes(9);
}

static void upload_client(struct scene *s) {
        const long *versions = s->tls ? tls_versions : plain_versions;
        for (size_t v = 0; v < 2; v++) {
                struct wish w = {
                        .version = versions[v], .path = "/upload", .upload = large, .upload_len = LARGE};
                outcome[2 * v] = reply_is(ask(s, w), 204, "");
                outcome[2 * v + 1] = s->uploaded == LARGE && s->upload_matches;
                w.field = "Expect: 100-continue";
                outcome[4 + 2 * v] = reply_is(ask(s, w), 204, "");
                outcome[4 + 2 * v + 1] = s->uploaded == LARGE && s->upload_matches;
        }
}

static void bodies_are_streamed_up(void **state) {
        struct scene s = {0};
        play(&s, false, NULL, upload_client);
        assert_outcomes(8);
        struct scene t = {0};
        play(&t, true, NULL, upload_client);
        assert_outcomes(8);
}

/* Asks, once "held" has come, with a second connection that the first be dropped. */
static struct scene *dropping;

static size_t drop_on_body(char *p, size_t size, size_t n, void *arg) {
        struct wish w = {.version = CURL_HTTP_VERSION_1_1, .path = "/drop", .upload = "", .upload_len = 0};
        outcome[0] = reply_is(ask(dropping, w), 200, "1");
        return size * n;
}

static void drop_client(struct scene *s) {
        dropping = s;
        struct wish w = {.version = CURL_HTTP_VERSION_2TLS,
                         .path = "/hold",
                         .certificate = true,
                         .on_body = drop_on_body};
        struct reply r = ask(s, w);
        outcome[1] = r.code != CURLE_OK && r.code != CURLE_OPERATION_TIMEDOUT;
        reply_done(&r);
}

static void a_revoked_peer_is_cut_off(void **state) {
        struct scene s = {0};
        play(&s, true, NULL, drop_client);
        assert_outcomes(2);
        assert_int_equal(s.closes, 1);
}

static void finish_open(void *arg) {
        struct scene *s = arg;
        (void)http_write(s->open, "last", 4);
        http_finish(s->open);
}

static void stop_server(void *arg) {
        struct scene *s = arg;
        http_server_stop(TAKE_PTR(s->server), 60000, on_stopped, s);
        (void)loop_post(s->loop, finish_open, s);
}

static void cut_server(void *arg) {
        struct scene *s = arg;
        http_server_stop(TAKE_PTR(s->server), 0, on_stopped, s);
}

static size_t stop_on_body(char *p, size_t size, size_t n, void *arg) {
        struct buf *b = arg;
        if (b->len == 0)
                (void)loop_post(dropping->loop, dropping->stop_after ? stop_server : cut_server, dropping);
        return keep(p, size, n, arg);
}

static void stop_client(struct scene *s) {
        dropping = s;
        struct wish w = {.version = s->tls ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1,
                         .path = "/hold",
                         .on_body = stop_on_body};
        struct reply r = ask(s, w);
        outcome[0] = s->stop_after ? reply_is(r, 200, "held\nlast") : r.code != CURLE_OK;
        if (!s->stop_after)
                reply_done(&r);
        int fd = plain_socket(s); /* and nobody new gets in */
        outcome[1] = fd < 0;
        if (fd >= 0)
                (void)close(fd);
}

static void a_stop_lets_what_is_open_finish_or_cuts_it(void **state) {
        for (int i = 0; i < 4; i++) {
                struct scene s = {.stop_after = i & 1};
                play(&s, i & 2, NULL, stop_client);
                assert_outcomes(2);
                assert_int_equal(s.closes, 1);
                assert_null(s.server);
                assert_true(s.stopped);
        }
}

static void slow_client(struct scene *s) {
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        int fd = plain_socket(s);
        outcome[0] = send(fd, "GET /who HT", 11, MSG_NOSIGNAL) == 11 && read_to_end(fd, &b) != -EAGAIN &&
                     str_has_prefix(buf_str(&b), s->tls ? "" : "HTTP/1.1 408 ");
        (void)close(fd);
        fd = plain_socket(s); /* says nothing at all */
        outcome[1] = read_to_end(fd, NULL) == 0;
        (void)close(fd);
}

static void who_says_nothing_is_shown_out(void **state) {
        const struct http_limits limits = {.handshake_ms = 50, .header_ms = 50};
        struct scene s = {0};
        play(&s, false, &limits, slow_client);
        assert_outcomes(2);
        struct scene t = {0};
        play(&t, true, &limits, slow_client);
        assert_outcomes(2);
}

static void deaf_client(struct scene *s) {
        int fd = plain_socket(s), small = 4096;
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
        static const char request[] = "GET /endless HTTP/1.1\r\nHost: a\r\n\r\n";
        outcome[0] = send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) == sizeof(request) - 1;
        /* Not reading; the server gives up, which shows as a reset on the next bytes we send. */
        for (int i = 0; i < 6000 && !outcome[1]; i++) {
                (void)usleep(10000);
                outcome[1] = send(fd, "x", 1, MSG_NOSIGNAL) < 0;
        }
        (void)close(fd);
}

static void who_does_not_read_is_given_up(void **state) {
        const struct http_limits limits = {.write_ms = 100};
        struct scene s = {0};
        play(&s, false, &limits, deaf_client);
        assert_outcomes(2);
        assert_int_equal(s.closes, 1);
}

static void crowd_client(struct scene *s) {
        int fds[3] = {plain_socket(s), plain_socket(s), plain_socket(s)};
        outcome[0] = read_to_end(fds[2], NULL) != -EAGAIN; /* one too many: closed at once */
        (void)close(fds[0]);
        for (int i = 0; i < 1000 && !outcome[1]; i++) { /* until the server has seen that one left */
                struct reply r = ask(s, (struct wish){.path = "/who", .fresh = true});
                outcome[1] = r.code == CURLE_OK && r.status == 200;
                reply_done(&r);
        }
        (void)close(fds[1]);
        (void)close(fds[2]);
}

static void no_more_connections_than_allowed(void **state) {
        const struct http_limits limits = {.connections = 2};
        struct scene s = {0};
        play(&s, false, &limits, crowd_client);
        assert_outcomes(2);
}

static void churn_client(struct scene *s) {
        outcome[0] = true;
        for (int i = 0; i < 40; i++) {
                int fd = plain_socket(s);
                (void)send(fd, "\x16\x03\x01garbage", (size_t)(i % 10), MSG_NOSIGNAL);
                (void)close(fd);
                struct wish w = {.version = tls_versions[i & 1],
                                 .path = "/who",
                                 .fresh = true,
                                 .certificate = i % 3 == 0};
                struct reply r = ask(s, w);
                outcome[0] &= r.code == CURLE_OK && r.status == 200;
                reply_done(&r);
        }
}

static void connections_come_and_go(void **state) {
        struct scene s = {0};
        play(&s, true, NULL, churn_client);
        assert_outcomes(1);
        assert_int_equal(s.afters, 40);
}

static void half_client(struct scene *s) {
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        static const char request[] = "GET /file/large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        int fd = plain_socket(s);
        outcome[0] = send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) == sizeof(request) - 1 &&
                     read_to_end(fd, &b) == 0 && b.len > LARGE &&
                     memcmp(b.data + b.len - LARGE, large, LARGE) == 0;
        (void)close(fd);
        /* A refused upload: the answer arrives although the client goes on talking for a while. */
        static const char post[] = "POST /who HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n";
        buf_clear(&b);
        fd = plain_socket(s);
        outcome[1] = send(fd, post, sizeof(post) - 1, MSG_NOSIGNAL) == sizeof(post) - 1 &&
                     send(fd, large, 900000, MSG_NOSIGNAL) > 0 && read_to_end(fd, &b) == 0 &&
                     str_has_prefix(buf_str(&b), "HTTP/1.1 405 ");
        (void)close(fd);
}

static void last_words_are_heard(void **state) {
        struct scene s = {0};
        play(&s, false, NULL, half_client);
        assert_outcomes(2);
}

static void addresses_are_checked(void **state) {
        static const char *const bad[] = {
                "",       "127.0.0.1", "127.0.0.1:",     "127.0.0.1:65536", "127.0.0.1:x", "localhost:80",
                "::1:80", "[::1:80",   "[127.0.0.1]:80", "256.0.0.1:80"};
        struct loop *l = NULL;
        assert_int_equal(loop_new(&l, NULL), 0);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_(err_freep) struct err *err = NULL;
                struct http_server *server = NULL;
                const struct http_server_options o = {.address = bad[i], .routes = routes};
                assert_int_equal(http_server_start(l, &o, &server, &err), -EINVAL);
                assert_null(server);
                assert_non_null(strstr(err_message(err), bad[i]));
                assert_non_null(strstr(err_message(err), "is no address to listen on"));
        }
        /* A port that is taken. */
        struct http_server *first = NULL, *second = NULL;
        struct http_server_options o = {.address = "127.0.0.1:0", .routes = routes};
        assert_int_equal(http_server_start(l, &o, &first, NULL), 0);
        char taken[32];
        (void)snprintf(taken, sizeof(taken), "127.0.0.1:%u", http_server_port(first));
        o.address = taken;
        _cleanup_(err_freep) struct err *err = NULL;
        assert_int_equal(http_server_start(l, &o, &second, &err), -EADDRINUSE);
        assert_non_null(strstr(err_message(err), taken));
        struct scene s = {.loop = l};
        http_server_stop(first, 0, on_stopped, &s);
        (void)loop_run(l);
        assert_true(s.stopped);
        loop_free(l);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(both_versions_are_spoken_in_the_clear),
                cmocka_unit_test(members_are_known_by_their_certificate),
                cmocka_unit_test(files_come_whole_and_by_range),
                cmocka_unit_test(bodies_are_streamed_up),
                cmocka_unit_test(a_revoked_peer_is_cut_off),
                cmocka_unit_test(a_stop_lets_what_is_open_finish_or_cuts_it),
                cmocka_unit_test(who_says_nothing_is_shown_out),
                cmocka_unit_test(who_does_not_read_is_given_up),
                cmocka_unit_test(no_more_connections_than_allowed),
                cmocka_unit_test(connections_come_and_go),
                cmocka_unit_test(last_words_are_heard),
                cmocka_unit_test(addresses_are_checked),
        };
        return cmocka_run_group_tests(tests, set_up, tear_down);
}
