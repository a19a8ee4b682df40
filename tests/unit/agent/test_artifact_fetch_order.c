/* SPDX-License-Identifier: Apache-2.0 */
/* The order in which what a fetch has under way may end: every download and every worker job is held back,
 * and ends when the test says so. The linker puts our download_start(), download_free() and loop_work() in
 * the place of the real ones (meson.build). */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/artifact_fetch.h"
#include "base/fs.h"
#include "base/list.h"
#include "base/random.h"
#include "base/str.h"
#include "crypto/digest.h"
#include "fixture.h"
#include "repo/chunk/index.h"
#include "repo/delta/make.h"

#define PAYLOAD ((size_t)600 << 10)
#define HELD_MAX 64

/* ---- downloads that the test ends */

struct download {
        struct download_request request;
        char *path;
};
static struct {
        struct download *downloads[HELD_MAX];
        size_t n_downloads;
        struct held_work {
                void (*work)(void *arg);
                void (*done)(void *arg);
                void *arg;
        } works[HELD_MAX];
        size_t n_works;
        unsigned n_begun; /* jobs, ever */
} held;

int __wrap_download_start(struct repository_sources *sources, const struct download_request *request,
                          struct download **ret, struct err **err);
int __wrap_download_start(struct repository_sources *sources, const struct download_request *request,
                          struct download **ret, struct err **err) {
        struct download *d = calloc(1, sizeof(*d));
        assert_non_null(d);
        assert_true(held.n_downloads < HELD_MAX);
        d->request = *request;
        d->path = str_dup(request->path);
        held.downloads[held.n_downloads++] = d;
        *ret = d;
        return 0;
}

static void forget(struct download *d) {
        for (size_t i = 0; i < held.n_downloads; i++)
                if (held.downloads[i] == d)
                        held.downloads[i] = held.downloads[--held.n_downloads];
        free(d->path);
        free(d);
}

struct download *__wrap_download_free(struct download *d);
struct download *__wrap_download_free(struct download *d) {
        if (d)
                forget(d);
        return NULL;
}

int __wrap_loop_work(struct loop *l, void (*work)(void *arg), void (*done)(void *arg), void *arg);
int __wrap_loop_work(struct loop *l, void (*work)(void *arg), void (*done)(void *arg), void *arg) {
        assert_true(held.n_works < HELD_MAX);
        held.works[held.n_works++] = (struct held_work){work, done, arg};
        held.n_begun++;
        return 0;
}

/* ---- a node and a repository */

struct node {
        struct fixture *f;
        struct artifact_store *store;
        struct repository_sources *sources;
        char repository[80];
        struct artifact *old, *new;
        char *old_target, *new_target;
        struct artifact_fetch *fetch;
        bool done;
        unsigned delays;
        char delay[600];
};

static char *make_payload(bool changed) {
        struct prng r;
        char *p = malloc(PAYLOAD);
        assert_non_null(p);
        prng_seed(&r, 1);
        for (size_t i = 0; i < PAYLOAD; i++)
                p[i] = (char)prng_next(&r);
        /* In many places, so that many ranges are to be had. */
        for (size_t at = 20000; changed && at + 3000 < PAYLOAD; at += 60000)
                for (size_t i = at; i < at + 3000; i++)
                        p[i] = (char)(p[i] + 1);
        return p;
}

static struct artifact *make_artifact(const char *version, int64_t counter, const char *data,
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
        sha256_hex(data, PAYLOAD, digest);
        *ret_target = artifact_target_path("web", version, a.platform);
        json_t *custom = artifact_custom(&a);
        assert_int_equal(artifact_from_target(*ret_target, (int64_t)PAYLOAD, digest, custom, &made, NULL), 0);
        json_decref(custom);
        return made;
}

static void write_file(const char *root, const char *path, const void *data, size_t len) {
        _cleanup_(x_freep) char *full = path_join(root, path);
        char *slash = strrchr(full, '/');
        *slash = '\0';
        assert_int_equal(dir_make(full, 0755, NULL), 0);
        *slash = '/';
        assert_int_equal(file_write_atomic(full, data, len, 0644, NULL), 0);
}

static int create(const char *root, char *path) {
        _cleanup_(x_freep) char *relative = path;
        write_file(root, relative, "", 0);
        _cleanup_(x_freep) char *full = path_join(root, relative);
        int fd = open(full, O_RDWR | O_TRUNC | O_CLOEXEC);
        assert_true(fd >= 0);
        return fd;
}

static void publish(struct node *n, const char *payload) {
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
        char digest[SHA256_HEX_SIZE];
        struct stat st;
        assert_int_equal(delta_make(&o, NULL, NULL), 0);
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

static void have_old(struct node *n, const char *payload) {
        n->old = make_artifact("1.0.0", 1, payload, &n->old_target);
        _cleanup_(x_freep) char *part = artifact_store_partial(n->store, n->old->sha256, ".whole");
        assert_int_equal(file_write_atomic(part, payload, PAYLOAD, 0600, NULL), 0);
        assert_int_equal(artifact_store_describe(n->store, n->old_target, n->old, NULL), 0);
        assert_int_equal(artifact_store_commit(n->store, n->old, ".whole", true, NULL), 0);
}

static int setup(void **state) {
        struct node *n = calloc(1, sizeof(*n));
        void *f;
        if (fixture_setup(&f) < 0)
                return -1;
        memset(&held, 0, sizeof(held));
        n->f = f;
        struct artifact_budget budget = {.bytes = -1, .percent = 100};
        assert_int_equal(artifact_store_open(n->f->state, &budget, loop_clock(n->f->loop), &n->store, NULL),
                         0);
        (void)snprintf(n->repository, sizeof(n->repository), "%s/repository", n->f->folder);
        assert_int_equal(dir_make(n->repository, 0755, NULL), 0);
        assert_int_equal(repository_sources_new_folder(n->f->loop, n->repository, &n->sources, NULL), 0);
        _cleanup_(x_freep) char *before = make_payload(false), *after = make_payload(true);
        have_old(n, before);
        n->new = make_artifact("1.1.0", 2, after, &n->new_target);
        assert_int_equal(artifact_store_describe(n->store, n->new_target, n->new, NULL), 0);
        publish(n, after);
        *state = n;
        return 0;
}

static void end_work(size_t i);

static int teardown(void **state) {
        struct node *n = *state;
        artifact_fetch_free(n->fetch);
        assert_int_equal(held.n_downloads, 0);
        while (held.n_works > 0)
                end_work(0);
        repository_sources_free(n->sources);
        void *f = n->f;
        artifact_free(n->old);
        artifact_free(n->new);
        free(n->old_target);
        free(n->new_target);
        struct artifact_store *store = n->store;
        free(n);
        int r = fixture_teardown(&f);
        artifact_store_free(store);
        return r;
}

static void on_done(void *arg) {
        struct node *n = arg;
        assert_false(n->done);
        n->done = true;
}
static void on_delayed(void *arg, const char *message) {
        struct node *n = arg;
        n->delays++;
        (void)snprintf(n->delay, sizeof(n->delay), "%s", message);
}
static void on_failed(void *arg, int error, const char *message) {
        fail_msg("%s", message);
}
static void on_changed(void *arg) {
}

static void begin(struct node *n) {
        struct artifact_fetch_host host = {.loop = n->f->loop, .sources = n->sources, .artifacts = n->store};
        struct artifact_fetch_listener listener = {
                .done = on_done, .delayed = on_delayed, .failed = on_failed, .changed = on_changed, .arg = n};
        assert_int_equal(artifact_fetch_new(&host, n->new_target, n->new, &listener, &n->fetch, NULL), 0);
}

/* ---- ending what is held */

/* The job runs, and its end is told. */
static void end_work(size_t i) {
        struct held_work w = held.works[i];
        held.works[i] = held.works[--held.n_works];
        w.work(w.arg);
        w.done(w.arg);
}

/* `come` bytes of what was asked for come, damaged or not, and then it ends so. 0: what is there. */
static void end_download(struct node *n, struct download *d, int error, int64_t come, bool damaged) {
        _cleanup_(x_freep) char *full = path_join(n->repository, d->path), *data = NULL;
        struct download_request q = d->request;
        size_t len = 0;
        if (error == 0 && file_read(full, (size_t)64 << 20, &data, &len, NULL) < 0)
                error = -ENOENT;
        if (error < 0 && error != -ENOENT)
                (void)file_read(full, (size_t)64 << 20, &data, &len, NULL);
        int64_t end = q.length >= 0 ? q.offset + q.length : (int64_t)len, wire = 0;
        end = MIN(end, (int64_t)len);
        if (error < 0)
                end = MIN(end, q.offset + come);
        if (data && end > q.offset) {
                wire = end - q.offset;
                if (damaged)
                        data[q.offset + wire / 2] ^= 0x40;
                int r = q.on_data(q.arg, q.offset, data + q.offset, (size_t)wire);
                error = r < 0 ? r : error;
        }
        forget(d);
        const struct download_result result = {.error = error,
                                               .message = error < 0 ? "the test ended it" : NULL,
                                               .wire = wire,
                                               .retry_after_ms = -1};
        q.done(q.arg, &result);
}

static struct download *find_range(int64_t offset) {
        struct download *first = NULL;
        for (size_t i = 0; i < held.n_downloads; i++)
                if (held.downloads[i]->request.range_only && held.downloads[i]->request.offset >= offset &&
                    (!first || held.downloads[i]->request.offset < first->request.offset))
                        first = held.downloads[i];
        return first;
}

static void expect_there(struct node *n) {
        _cleanup_(x_freep) char *place = artifact_store_place(n->store, n->new);
        char digest[SHA256_HEX_SIZE];
        int fd = open(place, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(sha256_file_hex(fd, digest), 0);
        assert_string_equal(digest, n->new->sha256);
        (void)close(fd);
        _cleanup_(x_freep) char *partial = str_format("%s/partial", n->f->state);
        assert_int_equal(rmdir(partial), 0); /* empty */
        assert_int_equal(mkdir(partial, 0700), 0);
}

/* Lets everything end well until ranges of the pack are under way, with no job. */
static void until_ranges(struct node *n) {
        for (int i = 0; i < 1000 && (!find_range(0) || held.n_works > 0); i++) {
                fixture_turn(n->f);
                if (held.n_works > 0)
                        end_work(0);
                else if (held.n_downloads > 0 && !held.downloads[0]->request.range_only)
                        end_download(n, held.downloads[0], 0, 0, false);
        }
        assert_non_null(find_range(0));
        assert_int_equal(held.n_works, 0);
}

static void until_done(struct node *n) {
        for (int i = 0; i < 5000 && !n->done; i++) {
                artifact_fetch_hurry(n->fetch);
                fixture_turn(n->f);
                if (held.n_works > 0)
                        end_work(0);
                else if (held.n_downloads > 0)
                        end_download(n, held.downloads[0], 0, 0, false);
        }
        assert_true(n->done);
}

/* ---- tests */

static void test_everything_ends_well(void **state) {
        struct node *n = *state;
        begin(n);
        until_done(n);
        expect_there(n);
}

/* A range that ends after a job has, before the timer which the job's end set: it begins the next job, and
 * the timer must not begin one as well. */
static void test_range_ends_between_a_jobs_end_and_the_timer(void **state) {
        struct node *n = *state;
        begin(n);
        until_ranges(n);
        struct download *first = find_range(0), *second = find_range(first->request.offset + 1);
        assert_non_null(second);
        int64_t at = second->request.offset;
        end_download(n, first, 0, 0, false);
        assert_int_equal(held.n_works, 1);
        unsigned begun = held.n_begun;
        end_work(0); /* sets the timer; it has not fired */
        assert_int_equal(held.n_works, 0);
        second = find_range(at);
        assert_int_equal(second->request.offset, at);
        end_download(n, second, 0, 0, false); /* begins a job */
        assert_int_equal(held.n_begun, begun + 1);
        fixture_turn(n->f); /* the timer */
        assert_int_equal(held.n_begun, begun + 1);
        assert_int_equal(held.n_works, 1);
        until_done(n);
        expect_there(n);
}

/* Ranges that end in another order than they were asked for. */
static void test_ranges_end_backwards(void **state) {
        struct node *n = *state;
        begin(n);
        until_ranges(n);
        for (int i = 0; i < 1000 && !n->done; i++) {
                struct download *last = NULL;
                for (size_t k = 0; k < held.n_downloads; k++)
                        if (!last || held.downloads[k]->request.offset > last->request.offset)
                                last = held.downloads[k];
                if (last)
                        end_download(n, last, 0, 0, false);
                else if (held.n_works > 0)
                        end_work(0);
                else
                        fixture_turn(n->f);
        }
        assert_true(n->done);
        expect_there(n);
}

/* One byte of each range comes: no progress, and so no haste. */
static void test_ranges_that_bring_nothing_on_are_waited_after(void **state) {
        struct node *n = *state;
        begin(n);
        until_ranges(n);
        unsigned delays = n->delays;
        end_download(n, find_range(0), -ECONNRESET, 1, false);
        assert_int_equal(held.n_downloads, 0);
        assert_int_equal(held.n_works, 1);
        end_work(0);
        assert_int_equal(n->delays, delays + 1);
        fixture_turn(n->f);
        assert_int_equal(held.n_downloads, 0); /* not at once */
        until_done(n);
        expect_there(n);
}

/* The fetch is given up while a worker has its files, and the same is wanted again: the new one waits. */
static void test_new_fetch_waits_for_the_job_of_the_old(void **state) {
        struct node *n = *state;
        begin(n);
        until_ranges(n);
        end_download(n, find_range(0), 0, 0, false);
        assert_int_equal(held.n_works, 1);
        n->fetch = artifact_fetch_free(n->fetch);
        assert_int_equal(held.n_downloads, 0);
        begin(n);
        for (int i = 0; i < 5; i++) {
                artifact_fetch_hurry(n->fetch);
                fixture_turn(n->f);
        }
        assert_int_equal(held.n_downloads, 0);
        assert_int_equal(held.n_works, 1);
        end_work(0); /* lets go of it */
        until_done(n);
        expect_there(n);
}

/* A list that comes anew no longer has the delta that is being given up. */
static void test_delta_that_was_withdrawn(void **state) {
        struct node *n = *state;
        publish_delta(n);
        begin(n);
        for (int i = 0; i < 100 && !(held.n_downloads == 1 && strstr(held.downloads[0]->path, ".delta") &&
                                     !strstr(held.downloads[0]->path, ".json"));
             i++) {
                fixture_turn(n->f);
                if (held.n_downloads == 1 && held.downloads[0]->request.optional)
                        end_download(n, held.downloads[0], 0, 0, false);
        }
        _cleanup_(x_freep) char *list = repository_delta_list(n->new->sha256);
        _cleanup_(x_freep) char *none = str_format("{\"target\":\"%s\",\"deltas\":[]}", n->new->sha256);
        write_file(n->repository, list, none, strlen(none));
        until_done(n);
        expect_there(n);
}

static void test_hurry_after_the_end_begins_nothing(void **state) {
        struct node *n = *state;
        begin(n);
        until_done(n);
        unsigned begun = held.n_begun;
        artifact_fetch_hurry(n->fetch);
        fixture_turn(n->f);
        assert_int_equal(held.n_begun, begun);
        assert_int_equal(held.n_works, 0);
}

/* What was wrong is asked for past the caches on the way. */
static void test_wrong_bytes_are_asked_for_past_caches(void **state) {
        struct node *n = *state;
        begin(n);
        until_ranges(n);
        assert_false(find_range(0)->request.fresh);
        end_download(n, find_range(0), 0, 0, true);
        end_work(0);
        for (int i = 0; i < 100 && !find_range(0); i++) {
                artifact_fetch_hurry(n->fetch);
                fixture_turn(n->f);
        }
        assert_true(find_range(0)->request.fresh);
        end_download(n, find_range(0), 0, 0, false);
        end_work(0);
        until_done(n);
        expect_there(n);
}

static void test_wrong_index_is_asked_for_past_caches(void **state) {
        struct node *n = *state;
        bool fresh = false;
        unsigned asked = 0;
        begin(n);
        for (int i = 0; i < 1000 && !find_range(0); i++) {
                artifact_fetch_hurry(n->fetch);
                fixture_turn(n->f);
                if (held.n_works > 0) {
                        end_work(0);
                } else if (held.n_downloads > 0 && !find_range(0)) {
                        struct download *d = held.downloads[0];
                        bool index = strstr(d->path, ".index") != NULL;
                        asked += index;
                        fresh = index ? d->request.fresh : fresh;
                        end_download(n, d, 0, 0, index && asked == 1);
                }
        }
        assert_int_equal(asked, 2);
        assert_true(fresh);
        until_done(n);
        expect_there(n);
}

/* ---- anything, in any order */

static void act(struct node *n, struct prng *r) {
        static const int errors[] = {-ECONNRESET, -ETIMEDOUT,  -EHOSTUNREACH, -EIO,    -EBADMSG,
                                     -EMSGSIZE,   -EOPNOTSUPP, -ESTALE,       -ENOENT, -ENOSPC};
        switch (prng_below(r, 16)) {
        case 0: artifact_fetch_hurry(n->fetch); break;
        case 1:
                if (prng_below(r, 8) == 0) {
                        n->fetch = artifact_fetch_free(n->fetch);
                        begin(n);
                }
                break;
        case 2:
        case 3:
        case 4: fixture_turn(n->f); break;
        case 5:
        case 6:
        case 7:
        case 8:
                if (held.n_works > 0)
                        end_work(prng_below(r, held.n_works));
                break;
        case 9:
                if (held.n_downloads > 0) {
                        struct download *d = held.downloads[prng_below(r, held.n_downloads)];
                        int error = errors[prng_below(r, ARRAY_SIZE(errors))];
                        end_download(n, d, error, (int64_t)prng_below(r, 200000), prng_below(r, 4) == 0);
                }
                break;
        case 10:
                if (held.n_downloads > 0)
                        end_download(n, held.downloads[prng_below(r, held.n_downloads)], 0, 0, true);
                break;
        default:
                if (held.n_downloads > 0)
                        end_download(n, held.downloads[prng_below(r, held.n_downloads)], 0, 0, false);
                break;
        }
}

/* One job of this fetch at a time; others are those of fetches that were given up. */
static void expect_one_job(const struct node *n, unsigned given_up) {
        assert_true(held.n_works <= given_up + 1);
}

static void test_anything_in_any_order(void **state) {
        struct node *n = *state;
        publish_delta(n);
        for (uint64_t seed = 1; seed <= 30; seed++) {
                struct prng r;
                prng_seed(&r, seed);
                n->done = false;
                begin(n);
                for (int i = 0; i < 250 && !n->done; i++) {
                        act(n, &r);
                        /* A fetch that was given up leaves its job; no other begins one before that ended,
                         * since it holds the target. */
                        expect_one_job(n, 0);
                }
                if (!n->done) {
                        /* Whole rounds of wrong bytes are not hurried: as after a restart. */
                        n->fetch = artifact_fetch_free(n->fetch);
                        begin(n);
                        until_done(n);
                }
                n->fetch = artifact_fetch_free(n->fetch);
                while (held.n_works > 0)
                        end_work(0);
                expect_there(n);
                /* Again, from the old version alone. */
                _cleanup_(x_freep) char *payload = artifact_store_payload(n->store, n->new->sha256),
                                        *folder = artifact_store_folder(n->store, n->new);
                assert_int_equal(path_remove(payload, NULL), 0);
                assert_int_equal(path_remove(folder, NULL), 0);
        }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_everything_ends_well),
                TEST(test_range_ends_between_a_jobs_end_and_the_timer),
                TEST(test_ranges_end_backwards),
                TEST(test_ranges_that_bring_nothing_on_are_waited_after),
                TEST(test_new_fetch_waits_for_the_job_of_the_old),
                TEST(test_delta_that_was_withdrawn),
                TEST(test_hurry_after_the_end_begins_nothing),
                TEST(test_wrong_bytes_are_asked_for_past_caches),
                TEST(test_wrong_index_is_asked_for_past_caches),
                TEST(test_anything_in_any_order),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
