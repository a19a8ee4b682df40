/* SPDX-License-Identifier: Apache-2.0 */
/* The cache against sources that exist only here: what they answer, and when, the tests say. */
#include "relay/repository_cache.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/list.h"
#include "base/str.h"
#include "crypto/digest.h"
#include "relay/repository_path.h"

#define MIB ((int64_t)1 << 20)

struct asked {
        struct list link;
        struct fixture *fixture;
        struct repository_get get;
        char *path;
};

struct fixture {
        struct loop *loop;
        char folder[64], *work, *objects;
        struct object_store *store;
        struct repository_cache *cache;
        struct list open; /* calls that wait for an answer */
        int asked[3];     /* of each source */
        bool down[3], forges[3], none[3], hold;
        int64_t cut; /* bytes after which a body breaks off; 0: none */
        char *data;  /* of the one large file there is */
        size_t len;
        char sha256[SHA256_HEX_SIZE], path[200];
        int64_t version; /* of the timestamp */
        int answers, errors[16];
        int64_t read;
        bool right;
};

/* ---- the network */

static void answer(struct asked *a) {
        struct fixture *f = a->fixture;
        struct repository_get g = a->get;
        unsigned s = g.source;
        struct repository_result r = {.total = -1, .retry_after_ms = -1, .body = ""};
        char text[128];
        list_remove(&a->link);
        if (f->down[s]) {
                r.error = -ECONNREFUSED;
        } else if (str_eq(a->path, "metadata/timestamp.json")) {
                snprintf(text, sizeof(text), "{\"signed\":{\"version\":%d},\"signatures\":[]}",
                         (int)f->version);
                r.status = 200;
                r.body = text;
                r.body_len = strlen(text);
        } else if (str_eq(a->path, "metadata/7.snapshot.json")) {
                snprintf(text, sizeof(text), "{\"signed\":{\"version\":7%s},\"signatures\":[]}",
                         f->forges[s] ? ",\"forged\":1" : "");
                r.status = 200;
                r.body = text;
                r.body_len = strlen(text);
        } else if (f->none[s] || !str_eq(a->path, f->path)) {
                r.status = s == 2 ? 504 : 404;
        } else {
                int64_t last = MIN(g.last, (int64_t)f->len - 1);
                struct repository_head h = {.first = g.first, .total = (int64_t)f->len, .is_part = true};
                r.status = 206;
                r.error = g.on_head(g.arg, &h);
                for (int64_t at = g.first, sent = 0; r.error == 0 && at <= last;) {
                        char block[70001];
                        int64_t n = MIN((int64_t)sizeof(block), last - at + 1);
                        memcpy(block, f->data + at, (size_t)n);
                        if (f->forges[s])
                                block[0] ^= 1;
                        if (f->cut && sent + n > f->cut) {
                                r.error = -EIO;
                                break;
                        }
                        r.error = g.on_data(g.arg, block, (size_t)n);
                        at += n;
                        sent += n;
                }
        }
        free(a->path);
        free(a);
        g.done(g.arg, &r);
}

static void answer_all(struct fixture *f) {
        while (!list_is_empty(&f->open))
                answer(LIST_ENTRY(f->open.next, struct asked, link));
}

static void on_turn(void *arg) {
        struct fixture *f = arg;
        if (!f->hold)
                answer_all(f);
}

static int transport_get(void *arg, const struct repository_get *g, void **ret) {
        struct fixture *f = arg;
        struct asked *a = calloc(1, sizeof(*a));
        a->fixture = f;
        a->get = *g;
        a->path = strdup(g->path);
        list_append(&f->open, &a->link);
        f->asked[g->source]++;
        assert_int_equal(loop_post(f->loop, on_turn, f), 0);
        *ret = a;
        return 0;
}

static void transport_cancel(void *arg, void *call) {
        struct asked *a = call;
        list_remove(&a->link);
        free(a->path);
        free(a);
}

/* ---- the fixture: sources are server, mirror, peer */

static void open_cache(struct fixture *f, int64_t max) {
        static const struct repository_web_source sources[] = {{SOURCE_SERVER, "https://server"},
                                                               {SOURCE_MIRROR, "https://mirror"},
                                                               {SOURCE_PEER, "https://peer"}};
        struct repository_transport t = {.arg = f, .get = transport_get, .cancel = transport_cancel};
        assert_int_equal(object_store_open(f->objects, max, &f->store, NULL), 0);
        struct repository_cache_options o = {
                .work = f->work,
                .store = f->store,
                .prefetch = true,
                .transport = &t,
                .sources = sources,
                .n_sources = ARRAY_SIZE(sources),
                .lifetime_ms = 3600 * 1000,
        };
        assert_int_equal(repository_cache_new(f->loop, &o, &f->cache, NULL), 0);
}

static void close_cache(struct fixture *f) {
        f->cache = repository_cache_free(f->cache);
        f->loop = loop_free(f->loop);
        f->store = object_store_free(f->store);
        assert_int_equal(loop_new(&f->loop, NULL), 0);
}

static int make(void **state) {
        static struct fixture f;
        f = (struct fixture){.version = 1, .right = true};
        strcpy(f.folder, "/tmp/skerry-test-repository-XXXXXX");
        assert_non_null(mkdtemp(f.folder));
        f.work = path_join(f.folder, "work");
        f.objects = path_join(f.folder, "objects");
        list_init(&f.open);
        assert_int_equal(loop_new(&f.loop, NULL), 0);
        f.len = (size_t)(5 * MIB + 123);
        f.data = malloc(f.len);
        for (size_t i = 0; i < f.len; i++)
                f.data[i] = (char)(i * 7 + i / 1021);
        sha256_hex(f.data, f.len, f.sha256);
        snprintf(f.path, sizeof(f.path), "targets/artifacts/web/1/%s.any", f.sha256);
        open_cache(&f, 1 << 30);
        *state = &f;
        return 0;
}

static int clear(void **state) {
        struct fixture *f = *state;
        close_cache(f);
        loop_free(f->loop);
        (void)path_remove(f->folder, NULL);
        free(f->work);
        free(f->objects);
        free(f->data);
        return 0;
}

static void on_file(void *arg, const struct edge_repository_file *file) {
        struct fixture *f = arg;
        if (f->answers < 16)
                f->errors[f->answers] = file->error;
        f->answers++;
        if (file->error < 0)
                return;
        char *p = malloc(f->len);
        ssize_t n = pread(file->fd, p, f->len, 0);
        f->read = n;
        f->right &= n == (ssize_t)f->len && memcmp(p, f->data, f->len) == 0;
        free(p);
        close(file->fd);
}

static void ask_for(struct fixture *f, const char *path, const char *range, bool fresh, bool only_if_cached) {
        struct repository_path named;
        assert_int_equal(repository_path_parse(path, &named), 0);
        struct edge_repository_request q = {.path = path,
                                            .named = &named,
                                            .range = range,
                                            .fresh = fresh,
                                            .only_if_cached = only_if_cached};
        repository_cache_get(f->cache, &q, on_file, f);
}

/* The test's time limit is the end of patience. */
static void until_answers(struct fixture *f, int n) {
        while (f->answers < n)
                uv_run(loop_uv(f->loop), UV_RUN_ONCE);
}

/* ---- tests */

static void test_many_ask_and_one_fetch_is_made(void **state) {
        struct fixture *f = *state;
        f->none[2] = true;
        for (int i = 0; i < 100; i++)
                ask_for(f, f->path, NULL, false, false);
        until_answers(f, 100);
        assert_true(f->right);
        assert_int_equal(f->asked[1], 1);
        assert_int_equal(f->asked[0], 0);
        ask_for(f, f->path, NULL, false, false);
        until_answers(f, 101);
        assert_int_equal(f->asked[1], 1);
        struct repository_cache_stats s;
        repository_cache_stats(f->cache, &s);
        assert_int_equal(s.misses, 1);
        assert_int_equal(s.coalesced, 99);
        assert_int_equal(s.hits, 1);
        assert_int_equal(s.bytes_origin, f->len);
}

static void test_cuts_lose_nothing(void **state) {
        struct fixture *f = *state;
        f->none[0] = f->none[2] = true;
        f->cut = 300000;
        ask_for(f, f->path, NULL, false, false);
        until_answers(f, 1);
        assert_int_equal(f->errors[0], 0);
        assert_true(f->right);
        struct repository_cache_stats s;
        repository_cache_stats(f->cache, &s);
        assert_int_equal(s.bytes_origin, f->len);
}

static void test_a_kill_loses_less_than_a_block(void **state) {
        struct fixture *f = *state;
        struct repository_cache_stats s;
        f->none[0] = f->none[2] = true;
        f->cut = 3 * MIB + 200000;
        ask_for(f, f->path, NULL, false, false);
        for (bool cut = false; !cut;) { /* three blocks are on the disk, and the next request waits */
                uv_run(loop_uv(f->loop), UV_RUN_ONCE);
                repository_cache_stats(f->cache, &s);
                f->hold = f->asked[1] >= 1;
                cut = s.parts_bytes == 3 * MIB;
        }
        close_cache(f);
        assert_int_equal(f->answers, 1);
        assert_int_equal(f->errors[0], -ECANCELED);
        f->hold = false;
        f->cut = 0;
        open_cache(f, 1 << 30);
        ask_for(f, f->path, NULL, false, false);
        until_answers(f, 2);
        assert_true(f->right && f->errors[1] == 0);
        repository_cache_stats(f->cache, &s);
        assert_int_equal(s.bytes_origin, (int64_t)f->len - 3 * MIB);
}

static void test_who_forges_is_left(void **state) {
        struct fixture *f = *state;
        f->forges[2] = f->forges[1] = true;
        ask_for(f, f->path, NULL, false, false);
        until_answers(f, 1);
        assert_int_equal(f->errors[0], 0);
        assert_true(f->right);
        struct repository_cache_stats s;
        repository_cache_stats(f->cache, &s);
        assert_int_equal(s.refused, 2);
        assert_true(f->asked[0] >= 1);
}

static void test_forgers_alone_give_nothing(void **state) {
        struct fixture *f = *state;
        f->forges[0] = f->forges[1] = f->forges[2] = true;
        ask_for(f, f->path, NULL, false, false);
        until_answers(f, 1);
        assert_int_equal(f->errors[0], -EHOSTUNREACH);
        assert_false(object_store_has(f->store, f->sha256));
}

static void test_absent_is_not_unknown(void **state) {
        struct fixture *f = *state;
        f->none[0] = f->none[1] = f->none[2] = true;
        ask_for(f, f->path, NULL, false, false);
        until_answers(f, 1);
        assert_int_equal(f->errors[0], -ENOENT);
        f->down[0] = f->down[1] = f->down[2] = true;
        ask_for(f, "metadata/5.snapshot.json", NULL, false, false);
        until_answers(f, 2);
        assert_int_equal(f->errors[1], -EHOSTUNREACH);
}

static void test_a_pack_comes_in_parts(void **state) {
        struct fixture *f = *state;
        struct repository_cache_stats s;
        snprintf(f->path, sizeof(f->path), "chunks/%.2s/%s.pack", f->sha256, f->sha256);
        f->none[2] = true;
        ask_for(f, f->path, "bytes=2097160-2097200", false, false);
        ask_for(f, f->path, "bytes=2097152-2097160", false, false);
        until_answers(f, 2);
        assert_true(f->errors[0] == 0 && f->errors[1] == 0);
        repository_cache_stats(f->cache, &s);
        assert_int_equal(s.parts_bytes, MIB);
        assert_true(s.bytes_origin < 3 * MIB);
        /* What is here can be had by another relay, what is not cannot. */
        ask_for(f, f->path, "bytes=2097152-2097200", false, true);
        ask_for(f, f->path, "bytes=0-1", false, true);
        until_answers(f, 4);
        assert_int_equal(f->errors[2], 0);
        assert_int_equal(f->errors[3], -ETIME);
        f->right = true;
        ask_for(f, f->path, NULL, false, false);
        until_answers(f, 5);
        assert_true(f->right);
}

static void test_documents_grow_old_and_never_younger(void **state) {
        struct fixture *f = *state;
        for (int i = 0; i < 10; i++)
                ask_for(f, "metadata/timestamp.json", NULL, false, false);
        until_answers(f, 10);
        assert_int_equal(f->asked[0], 1);
        f->version = 20;
        repository_cache_expire(f->cache);
        ask_for(f, "metadata/timestamp.json", NULL, false, false);
        until_answers(f, 11);
        assert_int_equal(f->asked[0], 2);
        int64_t length = f->read;
        f->version = 1;
        f->down[0] = true; /* a mirror's word against the server's */
        repository_cache_expire(f->cache);
        ask_for(f, "metadata/timestamp.json", NULL, false, false);
        until_answers(f, 12);
        assert_int_equal(f->errors[11], 0);
        assert_int_equal(f->read, length);
        f->down[0] = f->down[1] = true;
        repository_cache_expire(f->cache);
        ask_for(f, "metadata/timestamp.json", NULL, false, false);
        until_answers(f, 13);
        assert_int_equal(f->errors[12], 0);
}

/* Nobody here can check a signature: a mirror's lie about the version must not outlive the next true word. */
static void test_a_version_that_is_too_high_does_not_stay(void **state) {
        struct fixture *f = *state;
        f->version = 2000000000;
        f->down[0] = true;
        ask_for(f, "metadata/timestamp.json", NULL, false, false);
        until_answers(f, 1);
        int64_t lie = f->read;
        f->version = 7;
        f->down[0] = false;
        repository_cache_expire(f->cache);
        ask_for(f, "metadata/timestamp.json", NULL, false, false);
        until_answers(f, 2);
        assert_int_equal(f->errors[1], 0);
        assert_int_equal(f->read, lie - 9);
        /* Nor where there are only mirrors: who said it may take it back. */
        f->down[0] = true;
        f->version = 2000000000;
        repository_cache_expire(f->cache);
        ask_for(f, "metadata/timestamp.json", NULL, false, false);
        until_answers(f, 3);
        assert_int_equal(f->read, lie);
        f->version = 8;
        repository_cache_expire(f->cache);
        ask_for(f, "metadata/timestamp.json", NULL, false, false);
        until_answers(f, 4);
        assert_int_equal(f->read, lie - 9);
}

/* What never changes and has no digest in its name: a mirror's lie is kept until a node says that it is one.
 */
static void test_a_lie_that_only_a_node_can_tell(void **state) {
        struct fixture *f = *state;
        f->none[2] = f->down[2] = true;
        f->forges[1] = true;
        ask_for(f, "metadata/7.snapshot.json", NULL, false, false);
        until_answers(f, 1);
        int64_t lie = f->read;
        ask_for(f, "metadata/7.snapshot.json", NULL, true, false);
        until_answers(f, 2);
        assert_true(f->read < lie);
        int64_t truth = f->read;
        int asked = f->asked[0] + f->asked[1];
        /* It is the same for everybody from then on, and not asked for at every word. */
        ask_for(f, "metadata/7.snapshot.json", NULL, true, false);
        ask_for(f, "metadata/7.snapshot.json", NULL, false, false);
        until_answers(f, 4);
        assert_int_equal(f->read, truth);
        assert_int_equal(f->asked[0] + f->asked[1], asked);
}

/* A target is its digest; what stands before it in the path anybody can make up. */
static void test_nobody_hides_a_file_behind_a_path_of_his_own(void **state) {
        struct fixture *f = *state;
        char other[200];
        snprintf(other, sizeof(other), "targets/nowhere/%s.any", f->sha256);
        ask_for(f, other, NULL, false, false);
        until_answers(f, 1);
        assert_int_equal(f->errors[0], -ENOENT);
        ask_for(f, f->path, NULL, false, false);
        until_answers(f, 2);
        assert_int_equal(f->errors[1], 0);
        assert_true(f->right);
}

/* Where nothing can be kept, nothing is remembered of what was asked for, either. */
static void test_a_folder_that_cannot_be_written_to_fills_no_memory(void **state) {
        struct fixture *f = *state;
        _cleanup_(x_freep) char *parts = path_join(f->work, "parts");
        struct repository_cache_stats s;
        assert_int_equal(path_remove(parts, NULL), 0);
        assert_int_equal(file_write_atomic(parts, "x", 1, 0600, NULL), 0);
        for (int i = 0; i < 50; i++) {
                char path[200], digest[SHA256_HEX_SIZE];
                sha256_hex(&i, sizeof(i), digest);
                snprintf(path, sizeof(path), "targets/artifacts/web/1/%s.any", digest);
                ask_for(f, path, NULL, false, false);
        }
        until_answers(f, 50);
        for (int i = 0; i < 16; i++)
                assert_true(f->errors[i] < 0);
        repository_cache_stats(f->cache, &s);
        assert_int_equal(s.known, 0);
        assert_int_equal(s.waiting, 0);
        /* And it goes on when it can be. */
        assert_int_equal(path_remove(parts, NULL), 0);
        assert_int_equal(dir_make(parts, 0700, NULL), 0);
        ask_for(f, f->path, NULL, false, false);
        until_answers(f, 51);
        assert_true(f->right);
        assert_int_equal(f->read, f->len);
}

static void test_two_paths_at_once(void **state) {
        struct fixture *f = *state;
        char other[200];
        snprintf(other, sizeof(other), "targets/nowhere/%s.any", f->sha256);
        ask_for(f, other, NULL, false, false);
        ask_for(f, f->path, NULL, false, false);
        ask_for(f, other, NULL, false, false);
        until_answers(f, 3);
        assert_int_equal(f->errors[0], -ENOENT);
        assert_int_equal(f->errors[1], -ENOENT);
        assert_int_equal(f->errors[2], 0);
        assert_true(f->right);
}

static void test_what_is_larger_than_the_cache_passes_through(void **state) {
        struct fixture *f = *state;
        close_cache(f);
        open_cache(f, 2 * MIB);
        f->none[2] = true;
        ask_for(f, f->path, NULL, false, false);
        until_answers(f, 1);
        assert_int_equal(f->errors[0], -ENOSPC);
        struct repository_cache_stats s;
        repository_cache_stats(f->cache, &s);
        assert_int_equal(s.parts_bytes, 0);
}

static void test_files_are_fetched_ahead(void **state) {
        struct fixture *f = *state;
        const char *paths[] = {"../secret", f->path, "metadata/timestamp.json"};
        struct repository_cache_stats s = {0};
        f->none[2] = true;
        repository_cache_prefetch(f->cache, paths, ARRAY_SIZE(paths));
        while (s.prefetched < 2) {
                uv_run(loop_uv(f->loop), UV_RUN_ONCE);
                repository_cache_stats(f->cache, &s);
        }
        assert_true(object_store_has(f->store, f->sha256));
        int asked = f->asked[1];
        ask_for(f, f->path, NULL, false, false);
        until_answers(f, 1);
        assert_int_equal(f->asked[1], asked);
}

int main(void) {
        const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, clear)
                TEST(test_many_ask_and_one_fetch_is_made),
                TEST(test_cuts_lose_nothing),
                TEST(test_a_kill_loses_less_than_a_block),
                TEST(test_who_forges_is_left),
                TEST(test_forgers_alone_give_nothing),
                TEST(test_absent_is_not_unknown),
                TEST(test_a_pack_comes_in_parts),
                TEST(test_documents_grow_old_and_never_younger),
                TEST(test_a_version_that_is_too_high_does_not_stay),
                TEST(test_a_lie_that_only_a_node_can_tell),
                TEST(test_nobody_hides_a_file_behind_a_path_of_his_own),
                TEST(test_a_folder_that_cannot_be_written_to_fills_no_memory),
                TEST(test_two_paths_at_once),
                TEST(test_what_is_larger_than_the_cache_passes_through),
                TEST(test_files_are_fetched_ahead),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
