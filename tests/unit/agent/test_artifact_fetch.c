/* SPDX-License-Identifier: Apache-2.0 */
/* Fetching an artifact from servers that behave and servers that do not. The server is a thread that speaks
 * HTTP/1.1 over a folder laid out as a published repository. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "agent/artifact_fetch.h"
#include "base/fs.h"
#include "base/random.h"
#include "base/str.h"
#include "crypto/digest.h"
#include "fixture.h"
#include "repo/chunk/index.h"
#include "repo/delta/make.h"

#define PAYLOAD ((size_t)600 << 10)

enum manner {
        BEHAVES,
        IGNORES_RANGE,
        LIES_LONGER,  /* Content-Length says more than the file has */
        LIES_SHORTER, /* the file there is shorter, and says so */
        WRONG_BYTES,  /* right length, wrong content */
        PORTAL,       /* a web page for everything */
        CIRCLES,      /* redirects to itself */
        BREAKS_OFF,   /* the connection ends after some 100 KB */
        NOT_FOUND,
        CHANGES_TAG,  /* another ETag each time, and breaks off */
        ENDLESS_PART, /* the first range of a file without end, to whoever asks for all of it */
        SENDS_AWAY,   /* one redirect, to the same server's other name for it */
};

#define ENDLESS ((long long)4 * CHUNK_INDEX_MAX)

struct server {
        pthread_t thread;
        int listener;
        unsigned port;
        char folder[96];
        _Atomic enum manner manner;
        char only[16];           /* the manner holds for paths with this in them; "" for all */
        _Atomic unsigned rounds; /* so many answers in that manner, then it behaves */
        _Atomic int64_t sent;
        _Atomic unsigned requests, tag;
        atomic_bool stop;
};

static bool send_all(struct server *s, int fd, const char *p, size_t n) {
        while (n > 0) {
                ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
                if (k <= 0)
                        return false;
                s->sent += k;
                p += k;
                n -= (size_t)k;
        }
        return true;
}

static bool misbehaves(struct server *s, const char *path) {
        if (s->manner == BEHAVES || (*s->only && !strstr(path, s->only)) || s->rounds == 0)
                return false;
        s->rounds--;
        return true;
}

static void answer(struct server *s, int fd, const char *request) {
        char path[512] = "", head[800], *data = NULL;
        size_t len = 0;
        long long first = 0, last = -1;
        s->requests++;
        if (sscanf(request, "GET /%500s", path) != 1)
                return;
        const char *range = strcasestr(request, "\r\nrange: bytes=");
        if (range)
                (void)sscanf(range + 15, "%lld-%lld", &first, &last);
        enum manner m = misbehaves(s, path) ? s->manner : BEHAVES;
        if (m == PORTAL) {
                static const char page[] = "<!DOCTYPE html><html><body>Please log in</body></html>";
                (void)snprintf(
                        head, sizeof(head),
                        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %zu\r\nConnection: "
                        "close\r\n\r\n",
                        sizeof(page) - 1);
                send_all(s, fd, head, strlen(head));
                send_all(s, fd, page, sizeof(page) - 1);
                return;
        }
        if (m == ENDLESS_PART) {
                static const char zeros[65536];
                (void)snprintf(head, sizeof(head),
                               "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-%lld/%lld\r\n"
                               "Content-Length: %lld\r\nConnection: close\r\n\r\n",
                               ENDLESS - 1, ENDLESS, ENDLESS);
                send_all(s, fd, head, strlen(head));
                for (long long at = 0; at < ENDLESS; at += (long long)sizeof(zeros))
                        if (!send_all(s, fd, zeros, sizeof(zeros)))
                                return;
                return;
        }
        if (m == CIRCLES || (m == SENDS_AWAY && !str_has_prefix(path, "away/"))) {
                (void)snprintf(head, sizeof(head),
                               "HTTP/1.1 302 Found\r\nLocation: /%s%s\r\nContent-Length: 0\r\nConnection: "
                               "close\r\n\r\n",
                               m == CIRCLES ? "" : "away/", path);
                send_all(s, fd, head, strlen(head));
                return;
        }
        const char *wanted = str_has_prefix(path, "away/") ? path + 5 : path;
        _cleanup_(x_freep) char *file = str_format("%s/%s", s->folder, wanted);
        if (m == NOT_FOUND || file_read(file, (size_t)64 << 20, &data, &len, NULL) < 0) {
                static const char none[] =
                        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                send_all(s, fd, none, sizeof(none) - 1);
                return;
        }
        _cleanup_(x_freep) char *owned = data;
        if (m == WRONG_BYTES)
                memset(data, 'x', len);
        if (m == LIES_SHORTER)
                len /= 2;
        if (range && m != IGNORES_RANGE && (size_t)first >= len) {
                static const char none[] = "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: "
                                           "0\r\nConnection: close\r\n\r\n";
                send_all(s, fd, none, sizeof(none) - 1);
                return;
        }
        size_t from = range && m != IGNORES_RANGE ? (size_t)first : 0;
        size_t to = range && m != IGNORES_RANGE && last >= 0 ? MIN((size_t)last + 1, len) : len;
        if (range && m != IGNORES_RANGE)
                (void)snprintf(head, sizeof(head),
                               "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %zu-%zu/%zu\r\n"
                               "Content-Length: %zu\r\nETag: \"%u\"\r\nConnection: close\r\n\r\n",
                               from, to - 1, len, to - from, m == CHANGES_TAG ? ++s->tag : 0);
        else
                (void)snprintf(
                        head, sizeof(head),
                        "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nETag: \"%u\"\r\nConnection: close\r\n\r\n",
                        len + (m == LIES_LONGER ? 1000 : 0), m == CHANGES_TAG ? ++s->tag : 0);
        send_all(s, fd, head, strlen(head));
        if (m == BREAKS_OFF || m == CHANGES_TAG)
                to = MIN(to, from + 100000);
        send_all(s, fd, data + from, to - from);
}

static void *serve(void *arg) {
        struct server *s = arg;
        char request[4096];
        while (!s->stop) {
                int fd = accept(s->listener, NULL, NULL);
                if (fd < 0)
                        continue;
                size_t n = 0;
                while (n < sizeof(request) - 1) {
                        ssize_t k = recv(fd, request + n, sizeof(request) - 1 - n, 0);
                        if (k <= 0)
                                break;
                        n += (size_t)k;
                        request[n] = '\0';
                        if (strstr(request, "\r\n\r\n"))
                                break;
                }
                request[n] = '\0';
                if (n > 0 && !s->stop)
                        answer(s, fd, request);
                (void)close(fd);
        }
        return NULL;
}

static void server_start(struct server *s, const char *folder) {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof(a);
        (void)snprintf(s->folder, sizeof(s->folder), "%s", folder);
        s->rounds = 1000000;
        s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(s->listener, (struct sockaddr *)&a, sizeof(a)), 0);
        assert_int_equal(listen(s->listener, 16), 0);
        assert_int_equal(getsockname(s->listener, (struct sockaddr *)&a, &len), 0);
        s->port = ntohs(a.sin_port);
        assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_stop(struct server *s) {
        s->stop = true;
        struct sockaddr_in a = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)s->port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        (void)connect(fd, (struct sockaddr *)&a, sizeof(a));
        (void)close(fd);
        (void)pthread_join(s->thread, NULL);
        (void)close(s->listener);
}

/* ---- a node and a repository */

struct node {
        struct fixture *f;
        struct artifact_store *store;
        struct repository_sources *sources;
        struct server servers[2];
        size_t n_servers;
        char repository[80];
        struct artifact *old, *new;
        char *new_target;
        struct artifact_fetch *fetch;
        bool done;
        unsigned delays;
        char delay[600];
        bool stop_at_delay;
};

static char *make_payload(struct node *n, uint64_t seed, bool changed) {
        struct prng r;
        char *p = malloc(PAYLOAD);
        prng_seed(&r, seed);
        for (size_t i = 0; i < PAYLOAD; i++)
                p[i] = (char)prng_next(&r);
        if (changed)
                for (size_t i = PAYLOAD / 2; i < PAYLOAD / 2 + 3000; i++)
                        p[i] = (char)(p[i] + 1);
        return p;
}

static void write_file(const char *root, const char *path, const void *data, size_t len) {
        _cleanup_(x_freep) char *full = path_join(root, path);
        char *slash = strrchr(full, '/');
        *slash = '\0';
        assert_int_equal(dir_make(full, 0755, NULL), 0);
        *slash = '/';
        assert_int_equal(file_write_atomic(full, data, len, 0644, NULL), 0);
}

static struct artifact *make_artifact(const char *version, int64_t counter, const char *data, size_t len,
                                      char **ret_target) {
        struct artifact a = {.name = (char *)"web",
                             .version = (char *)version,
                             .type = ARTIFACT_FILE,
                             .release_counter = counter,
                             .file_name = (char *)"web",
                             .mode = 0755};
        char digest[SHA256_HEX_SIZE];
        struct artifact *made = NULL;
        (void)snprintf(a.platform, sizeof(a.platform), "%s", platform_here());
        sha256_hex(data, len, digest);
        char *target = artifact_target_path("web", version, a.platform);
        json_t *custom = artifact_custom(&a);
        struct err *err = NULL;
        if (artifact_from_target(target, (int64_t)len, digest, custom, &made, &err) < 0)
                fail_msg("%s", err_message(err));
        json_decref(custom);
        *ret_target = target;
        return made;
}

static int create(const char *root, char *path) {
        _cleanup_(x_freep) char *relative = path;
        write_file(root, relative, "", 0);
        _cleanup_(x_freep) char *full = path_join(root, relative);
        int fd = open(full, O_RDWR | O_TRUNC | O_CLOEXEC);
        assert_true(fd >= 0);
        return fd;
}

static void publish_chunks(struct node *n, const char *payload) {
        const char *digest = n->new->sha256;
        _cleanup_(x_freep) char *file = repository_target_file(n->new_target, digest);
        write_file(n->repository, file, payload, PAYLOAD);
        _cleanup_(x_freep) char *full = path_join(n->repository, file);
        int target = open(full, O_RDONLY | O_CLOEXEC),
            index = create(n->repository, repository_chunk_index(digest)),
            pack = create(n->repository, repository_chunk_pack(digest));
        assert_int_equal(chunk_index_make(target, index, pack, 1, NULL, NULL, NULL), 0);
        (void)close(target);
        (void)close(index);
        (void)close(pack);
}

static void publish_delta(struct node *n) {
        _cleanup_(x_freep) char *file = repository_target_file(n->new_target, n->new->sha256);
        _cleanup_(x_freep) char *full = path_join(n->repository, file);
        _cleanup_(x_freep) char *seed = artifact_store_payload(n->store, n->old->sha256);
        struct delta_make_options o = {
                .seed_fd = open(seed, O_RDONLY | O_CLOEXEC),
                .target_fd = open(full, O_RDONLY | O_CLOEXEC),
                .delta_fd = create(n->repository, repository_delta(n->new->sha256, n->old->sha256)),
                .threads = 1};
        struct err *err = NULL;
        char digest[SHA256_HEX_SIZE];
        struct stat st;
        if (delta_make(&o, NULL, &err) < 0)
                fail_msg("%s", err_message(err));
        assert_int_equal(fstat(o.delta_fd, &st), 0);
        assert_int_equal(sha256_file_hex(o.delta_fd, digest), 0);
        (void)close(o.seed_fd);
        (void)close(o.target_fd);
        (void)close(o.delta_fd);
        _cleanup_(x_freep) char *list = str_format(
                "{\"target\":\"%s\",\"deltas\":[{\"from\":\"%s\",\"length\":%lld,\"sha256\":\"%s\"}]}",
                n->new->sha256, n->old->sha256, (long long)st.st_size, digest);
        _cleanup_(x_freep) char *path = repository_delta_list(n->new->sha256);
        write_file(n->repository, path, list, strlen(list));
}

/* The old version lies on the node. */
static void have_old(struct node *n) {
        _cleanup_(x_freep) char *payload = make_payload(n, 1, false), *target = NULL;
        n->old = make_artifact("1.0.0", 1, payload, PAYLOAD, &target);
        _cleanup_(x_freep) char *part = artifact_store_partial(n->store, n->old->sha256, ".whole");
        assert_int_equal(file_write_atomic(part, payload, PAYLOAD, 0600, NULL), 0);
        assert_int_equal(artifact_store_describe(n->store, target, n->old, NULL), 0);
        assert_int_equal(artifact_store_commit(n->store, n->old, ".whole", true, NULL), 0);
}

static int setup(void **state) {
        struct node *n = calloc(1, sizeof(*n));
        void *f;
        if (fixture_setup(&f) < 0)
                return -1;
        n->f = f;
        struct artifact_budget budget = {.bytes = -1, .percent = 100};
        assert_int_equal(artifact_store_open(n->f->state, &budget, loop_clock(n->f->loop), &n->store, NULL),
                         0);
        (void)snprintf(n->repository, sizeof(n->repository), "%s/repository", n->f->folder);
        _cleanup_(x_freep) char *payload = make_payload(n, 1, true);
        n->new = make_artifact("1.1.0", 2, payload, PAYLOAD, &n->new_target);
        publish_chunks(n, payload);
        server_start(&n->servers[0], n->repository);
        server_start(&n->servers[1], n->repository);
        n->n_servers = 1;
        *state = n;
        return 0;
}

static int teardown(void **state) {
        struct node *n = *state;
        artifact_fetch_free(n->fetch);
        repository_sources_free(n->sources);
        server_stop(&n->servers[0]);
        server_stop(&n->servers[1]);
        void *f = n->f;
        artifact_free(n->old);
        artifact_free(n->new);
        free(n->new_target);
        /* The loop first: workers use the store. */
        struct artifact_store *store = n->store;
        free(n);
        int r = fixture_teardown(&f);
        artifact_store_free(store);
        return r;
}

static void on_done(void *arg) {
        ((struct node *)arg)->done = true;
}
static void on_delayed(void *arg, const char *message) {
        struct node *n = arg;
        n->delays++;
        (void)snprintf(n->delay, sizeof(n->delay), "%s", message);
        if (!n->stop_at_delay)
                artifact_fetch_hurry(n->fetch);
}
static void on_failed(void *arg, int error, const char *message) {
        fail_msg("%s", message);
}
static void on_changed(void *arg) {
}

static bool is_done(void *arg) {
        struct node *n = arg;
        return n->done || (n->stop_at_delay && n->delays > 0);
}

static void start_with(struct node *n, bool never_full) {
        char url[2][64], *mirrors[3] = {NULL};
        struct repository_edge none = {0};
        for (size_t i = 0; i < n->n_servers; i++) {
                (void)snprintf(url[i], sizeof(url[i]), "http://127.0.0.1:%u", n->servers[i].port);
                mirrors[i] = url[i];
        }
        repository_sources_free(n->sources);
        assert_int_equal(repository_sources_new(n->f->loop, &none, mirrors, &n->sources, NULL), 0);
        struct artifact_fetch_host host = {
                .loop = n->f->loop, .sources = n->sources, .artifacts = n->store, .never_full = never_full};
        struct artifact_fetch_listener listener = {
                .done = on_done, .delayed = on_delayed, .failed = on_failed, .changed = on_changed, .arg = n};
        assert_int_equal(artifact_store_describe(n->store, n->new_target, n->new, NULL), 0);
        assert_int_equal(artifact_fetch_new(&host, n->new_target, n->new, &listener, &n->fetch, NULL), 0);
}

static struct artifact_fetch_progress run(struct node *n) {
        struct artifact_fetch_progress p;
        start_with(n, false);
        fixture_run(n->f, is_done, n);
        artifact_fetch_progress(n->fetch, &p);
        return p;
}

/* The payload is there, right, shown, and nothing half is left. */
static void expect_there(struct node *n) {
        _cleanup_(x_freep) char *place = artifact_store_place(n->store, n->new);
        char digest[SHA256_HEX_SIZE];
        struct stat st;
        int fd = open(place, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(sha256_file_hex(fd, digest), 0);
        assert_string_equal(digest, n->new->sha256);
        assert_int_equal(fstat(fd, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0555);
        (void)close(fd);
        _cleanup_(x_freep) char *partial = str_format("%s/partial", n->f->state);
        assert_int_equal(rmdir(partial), 0); /* empty */
}

static void expect_nothing(struct node *n) {
        assert_false(artifact_store_has(n->store, n->new->sha256, n->new->length));
}

/* ---- tests */

static void test_whole_when_there_is_nothing_else(void **state) {
        struct node *n = *state;
        _cleanup_(x_freep) char *index = repository_chunk_index(n->new->sha256);
        _cleanup_(x_freep) char *full = path_join(n->repository, index);
        assert_int_equal(unlink(full), 0);
        struct artifact_fetch_progress p = run(n);
        assert_int_equal(p.way, FETCH_WHOLE);
        assert_int_equal(p.fetched, (int64_t)PAYLOAD);
        assert_int_equal(p.predicted, (int64_t)PAYLOAD);
        expect_there(n);
}

static void test_chunks_from_an_older_version(void **state) {
        struct node *n = *state;
        have_old(n);
        struct artifact_fetch_progress p = run(n);
        assert_int_equal(p.way, FETCH_CHUNKS);
        assert_true(p.fetched < (int64_t)PAYLOAD / 2);
        assert_true(p.fetched <= p.predicted + 4096);
        expect_there(n);
}

static void test_delta_from_an_older_version(void **state) {
        struct node *n = *state;
        have_old(n);
        publish_delta(n);
        struct artifact_fetch_progress p = run(n);
        assert_int_equal(p.way, FETCH_DELTA);
        assert_true(p.fetched < 20000);
        assert_int_equal(p.fetched, p.predicted);
        expect_there(n);
}

static void test_damaged_delta_gives_way_to_chunks(void **state) {
        struct node *n = *state;
        have_old(n);
        publish_delta(n);
        n->servers[0].manner = WRONG_BYTES;
        (void)snprintf(n->servers[0].only, sizeof(n->servers[0].only), ".delta");
        struct artifact_fetch_progress p = run(n);
        assert_int_equal(p.way, FETCH_CHUNKS);
        expect_there(n);
}

static void test_damaged_pack_gives_way_to_the_whole(void **state) {
        struct node *n = *state;
        have_old(n);
        n->servers[0].manner = WRONG_BYTES;
        (void)snprintf(n->servers[0].only, sizeof(n->servers[0].only), ".pack");
        struct artifact_fetch_progress p = run(n);
        assert_int_equal(p.way, FETCH_WHOLE);
        expect_there(n);
}

static void test_damaged_index_gives_way_to_the_whole(void **state) {
        struct node *n = *state;
        have_old(n);
        n->servers[0].manner = WRONG_BYTES;
        (void)snprintf(n->servers[0].only, sizeof(n->servers[0].only), ".index");
        struct artifact_fetch_progress p = run(n);
        assert_int_equal(p.way, FETCH_WHOLE);
        expect_there(n);
}

static void test_wrong_payload_is_never_shown(void **state) {
        struct node *n = *state;
        n->servers[0].manner = WRONG_BYTES;
        (void)snprintf(n->servers[0].only, sizeof(n->servers[0].only), "targets/");
        _cleanup_(x_freep) char *index = repository_chunk_index(n->new->sha256);
        _cleanup_(x_freep) char *full = path_join(n->repository, index);
        assert_int_equal(unlink(full), 0);
        n->stop_at_delay = true;
        (void)run(n);
        expect_nothing(n);
        assert_non_null(strstr(n->delay, "digest"));
}

static bool has_tried_all(void *arg) {
        const struct node *n = arg;
        return strstr(n->delay, "every way was tried") != NULL;
}

/* Each round of a source that has only wrong bytes costs what the file costs: they become rare, and a new
 * connection does not hurry them. */
static void test_rounds_of_wrong_bytes_become_rare(void **state) {
        struct node *n = *state;
        n->servers[0].manner = WRONG_BYTES;
        start_with(n, false);
        fixture_run(n->f, has_tried_all, n);
        unsigned requests = n->servers[0].requests;
        artifact_fetch_hurry(n->fetch);
        for (int i = 0; i < 10; i++)
                fixture_turn(n->f);
        assert_int_equal(n->servers[0].requests, requests);
        expect_nothing(n);
}

static void test_wrong_mirror_then_a_right_one(void **state) {
        struct node *n = *state;
        n->servers[0].manner = WRONG_BYTES;
        n->n_servers = 2;
        (void)run(n);
        expect_there(n);
}

static void test_server_that_ignores_range(void **state) {
        struct node *n = *state;
        have_old(n);
        n->servers[0].manner = IGNORES_RANGE;
        struct artifact_fetch_progress p = run(n);
        assert_true(p.way == FETCH_WHOLE || p.way == FETCH_CHUNKS);
        assert_true(p.fetched <= 3 * (int64_t)PAYLOAD);
        expect_there(n);
}

static void test_resumes_where_it_broke_off(void **state) {
        struct node *n = *state;
        n->servers[0].manner = BREAKS_OFF;
        struct artifact_fetch_progress p = run(n);
        assert_true(p.fetched <= (int64_t)PAYLOAD + (int64_t)PAYLOAD / 4);
        expect_there(n);
}

static void test_goes_on_after_the_agent_died(void **state) {
        struct node *n = *state;
        int64_t sent = 0;
        n->servers[0].manner = BREAKS_OFF;
        n->stop_at_delay = true;
        for (unsigned i = 0; i < 30 && !n->done; i++) {
                n->delays = 0;
                (void)run(n);
                n->fetch = artifact_fetch_free(n->fetch);
        }
        assert_true(n->done);
        sent = n->servers[0].sent;
        assert_true(sent < 2 * (int64_t)PAYLOAD);
        expect_there(n);
}

static void test_server_that_lies_about_length(void **state) {
        struct node *n = *state;
        n->n_servers = 2;
        n->servers[0].manner = LIES_LONGER;
        (void)run(n);
        expect_there(n);
}

/* An index has no known length: one that says a range, of a file without end, is left all the same. */
static void test_endless_index_is_left(void **state) {
        struct node *n = *state;
        have_old(n);
        n->servers[0].manner = ENDLESS_PART;
        n->servers[0].rounds = 1;
        (void)snprintf(n->servers[0].only, sizeof(n->servers[0].only), ".index");
        struct artifact_fetch_progress p = run(n);
        assert_int_equal(p.way, FETCH_CHUNKS);
        assert_true(n->servers[0].sent < ENDLESS);
        expect_there(n);
}

static void test_server_with_a_shorter_file(void **state) {
        struct node *n = *state;
        n->n_servers = 2;
        n->servers[0].manner = LIES_SHORTER;
        (void)run(n);
        expect_there(n);
}

static void test_captive_portal_is_named_and_left(void **state) {
        struct node *n = *state;
        n->servers[0].manner = PORTAL;
        n->stop_at_delay = true;
        (void)run(n);
        expect_nothing(n);
        assert_non_null(strstr(n->delay, "captive portal"));
        /* Somebody logs in. */
        n->servers[0].manner = BEHAVES;
        n->stop_at_delay = false;
        artifact_fetch_hurry(n->fetch);
        fixture_run(n->f, is_done, n);
        expect_there(n);
}

static void test_redirects_in_circles_end(void **state) {
        struct node *n = *state;
        n->servers[0].manner = CIRCLES;
        n->stop_at_delay = true;
        (void)run(n);
        assert_non_null(strstr(n->delay, "circles"));
        assert_true(n->servers[0].requests < 50);
        expect_nothing(n);
}

static void test_one_redirect_is_followed(void **state) {
        struct node *n = *state;
        n->servers[0].manner = SENDS_AWAY;
        (void)run(n);
        expect_there(n);
}

static void test_file_that_changes_mid_way(void **state) {
        struct node *n = *state;
        n->servers[0].manner = CHANGES_TAG;
        n->servers[0].rounds = 6;
        (void)run(n);
        expect_there(n);
}

static void test_not_there_yet(void **state) {
        struct node *n = *state;
        n->servers[0].manner = NOT_FOUND;
        n->stop_at_delay = true;
        (void)run(n);
        expect_nothing(n);
        n->servers[0].manner = BEHAVES;
        n->stop_at_delay = false;
        artifact_fetch_hurry(n->fetch);
        fixture_run(n->f, is_done, n);
        expect_there(n);
}

static void test_never_full_waits_for_a_delta(void **state) {
        struct node *n = *state;
        n->stop_at_delay = true;
        start_with(n, true);
        fixture_run(n->f, is_done, n);
        assert_non_null(strstr(n->delay, "neverFull"));
        expect_nothing(n);
        have_old(n);
        publish_delta(n);
        n->fetch = artifact_fetch_free(n->fetch);
        n->stop_at_delay = false;
        start_with(n, true);
        fixture_run(n->f, is_done, n);
        expect_there(n);
}

static void test_nobody_listens(void **state) {
        struct node *n = *state;
        n->n_servers = 0;
        n->stop_at_delay = true;
        (void)run(n);
        assert_non_null(strstr(n->delay, "no edge and no mirror"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_whole_when_there_is_nothing_else),
                TEST(test_chunks_from_an_older_version),
                TEST(test_delta_from_an_older_version),
                TEST(test_damaged_delta_gives_way_to_chunks),
                TEST(test_damaged_pack_gives_way_to_the_whole),
                TEST(test_damaged_index_gives_way_to_the_whole),
                TEST(test_wrong_payload_is_never_shown),
                TEST(test_rounds_of_wrong_bytes_become_rare),
                TEST(test_wrong_mirror_then_a_right_one),
                TEST(test_server_that_ignores_range),
                TEST(test_resumes_where_it_broke_off),
                TEST(test_goes_on_after_the_agent_died),
                TEST(test_server_that_lies_about_length),
                TEST(test_endless_index_is_left),
                TEST(test_server_with_a_shorter_file),
                TEST(test_captive_portal_is_named_and_left),
                TEST(test_redirects_in_circles_end),
                TEST(test_one_redirect_is_followed),
                TEST(test_file_that_changes_mid_way),
                TEST(test_not_there_yet),
                TEST(test_never_full_waits_for_a_delta),
                TEST(test_nobody_listens),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
