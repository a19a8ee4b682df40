/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include <zstd.h>

#include "base/fs.h"
#include "base/str.h"
#include "chunk_data.h"
#include "crypto/digest.h"
#include "repo/chunk/fetch.h"

#define SIZE ((size_t)3 << 20)

static char *folder, *journal;

static int make_folder(void **state) {
        char path[] = "/tmp/skerry-test-fetch-XXXXXX";
        if (!mkdtemp(path))
                return -1;
        folder = strdup(path);
        journal = path_join(folder, "journal");
        return folder && journal ? 0 : -1;
}

static int remove_folder(void **state) {
        int r = path_remove(folder, NULL);
        free(folder);
        free(journal);
        return r;
}

static int target_open(void) {
        _cleanup_(x_freep) char *path = path_join(folder, "target");
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        return fd;
}

static struct chunk_fetch *fetch_open(const struct made *m, const int *seeds, size_t n, int target) {
        struct chunk_fetch *f = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        if (chunk_fetch_open(m->parsed, seeds, n, target, journal, &f, &err) < 0)
                fail_msg("%s", err_message(err));
        return f;
}

/* Answers every range, in pieces of at most `piece` bytes; how many bytes went over. */
static int64_t fetch_all(struct chunk_fetch *f, const struct made *m, int64_t most, size_t piece) {
        int64_t offset, length, total = 0;
        _cleanup_(err_freep) struct err *err = NULL;
        while (chunk_fetch_next(f, most, &offset, &length)) {
                assert_true(offset >= 0 && length > 0 && offset + length <= (int64_t)m->pack_length);
                for (int64_t at = 0; at < length;) {
                        size_t n = MIN(piece, (size_t)(length - at));
                        if (chunk_fetch_feed(f, m->pack + offset + at, n, &err) < 0)
                                fail_msg("%s", err_message(err));
                        at += (int64_t)n;
                }
                total += length;
        }
        return total;
}

static void assert_finished(struct chunk_fetch *f, int target, const uint8_t *data, size_t n) {
        _cleanup_(err_freep) struct err *err = NULL;
        if (chunk_fetch_finish(f, &err) < 0)
                fail_msg("%s", err_message(err));
        size_t length;
        _cleanup_(x_freep) uint8_t *got = bytes_of(target, &length);
        assert_int_equal(length, n);
        assert_true(memcmp(got, data, n) == 0);
        assert_int_equal(access(journal, F_OK), -1);
}

static void test_without_seeds(void **state) {
        static const struct {
                int64_t most;
                size_t piece;
        } ways[] = {{INT64_MAX, SIZE}, {100000, 1000}, {1, 100}, {5000, 1}};
        _cleanup_(x_freep) uint8_t *data = make_content(SIZE, 1);
        _cleanup_(made_done) struct made m = {0};
        make_chunks(data, SIZE, 2, &m);
        for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
                _cleanup_(x_closep) int target = target_open();
                _cleanup_(chunk_fetch_freep) struct chunk_fetch *f = fetch_open(&m, NULL, 0, target);
                assert_int_equal(chunk_fetch_missing(f), m.pack_length);
                assert_int_equal(chunk_fetch_finish(f, NULL), -EAGAIN);
                assert_int_equal(fetch_all(f, &m, ways[i].most, ways[i].piece), m.pack_length);
                assert_int_equal(chunk_fetch_missing(f), 0);
                assert_finished(f, target, data, SIZE);
                assert_int_equal(ftruncate(target, 0), 0);
        }
}

static void test_seeds_give_what_they_have(void **state) {
        _cleanup_(x_freep) uint8_t *old = make_content(SIZE, 2), *data = make_changed(old, SIZE, 30, 2);
        _cleanup_(made_done) struct made m = {0};
        make_chunks(data, SIZE, 2, &m);
        _cleanup_(x_closep) int same = file_of(data, SIZE), before = file_of(old, SIZE),
                                target = target_open();
        _cleanup_(x_closep) int half = file_of(data, SIZE / 2), is_folder = open("/", O_RDONLY | O_CLOEXEC);
        int64_t missing = -1;

        assert_int_equal(chunk_fetch_predict(m.parsed, &same, 1, &missing, NULL), 0);
        assert_int_equal(missing, 0);
        assert_int_equal(chunk_fetch_predict(m.parsed, NULL, 0, &missing, NULL), 0);
        assert_int_equal(missing, m.pack_length);
        /* A seed that cannot be read gives nothing, and stops nothing. */
        assert_int_equal(chunk_fetch_predict(m.parsed, &is_folder, 1, &missing, NULL), 0);
        assert_int_equal(missing, m.pack_length);

        int seeds[] = {is_folder, before};
        assert_int_equal(chunk_fetch_predict(m.parsed, seeds, 2, &missing, NULL), 0);
        assert_in_range(missing, 1, m.pack_length / 4);
        struct chunk_fetch *f = fetch_open(&m, seeds, 2, target);
        assert_int_equal(chunk_fetch_missing(f), missing);
        assert_int_equal(fetch_all(f, &m, 20000, 333), missing);
        assert_finished(f, target, data, SIZE);
        chunk_fetch_free(f);

        seeds[0] = half; /* two seeds give more than one */
        int64_t less;
        assert_int_equal(chunk_fetch_predict(m.parsed, seeds, 2, &less, NULL), 0);
        assert_true(less < missing);

        assert_int_equal(ftruncate(target, 0), 0);
        f = fetch_open(&m, &same, 1, target);
        assert_int_equal(chunk_fetch_missing(f), 0);
        int64_t offset, length;
        assert_false(chunk_fetch_next(f, 1000, &offset, &length));
        assert_finished(f, target, data, SIZE);
        chunk_fetch_free(f);
}

static void test_predicted_from_indexes(void **state) {
        _cleanup_(x_freep) uint8_t *old = make_content(SIZE, 20), *data = make_changed(old, SIZE, 30, 20);
        _cleanup_(made_done) struct made m = {0}, before = {0};
        make_chunks(data, SIZE, 2, &m);
        make_chunks(old, SIZE, 2, &before);
        _cleanup_(x_closep) int seed = file_of(old, SIZE);
        const struct chunk_index *seeds[] = {before.parsed, m.parsed};
        int64_t by_bytes, missing;
        assert_int_equal(chunk_fetch_predict(m.parsed, &seed, 1, &by_bytes, NULL), 0);
        assert_int_equal(chunk_fetch_predict_indexes(m.parsed, seeds, 1, &missing, NULL), 0);
        assert_int_equal(missing, by_bytes);
        assert_in_range(missing, 1, m.pack_length / 4);
        assert_int_equal(chunk_fetch_predict_indexes(m.parsed, seeds, 2, &missing, NULL), 0);
        assert_int_equal(missing, 0);
        assert_int_equal(chunk_fetch_predict_indexes(m.parsed, NULL, 0, &missing, NULL), 0);
        assert_int_equal(missing, m.pack_length);
}

/* Several requests under way at once; what comes is what was asked for, in order. */
static void test_ahead(void **state) {
        _cleanup_(x_freep) uint8_t *old = make_content(SIZE, 3), *data = make_changed(old, SIZE, 200, 3);
        _cleanup_(made_done) struct made m = {0};
        make_chunks(data, SIZE, 2, &m);
        _cleanup_(x_closep) int seed = file_of(old, SIZE), target = target_open();
        struct chunk_fetch *f = fetch_open(&m, &seed, 1, target);
        int64_t expected = chunk_fetch_missing(f), total = 0, rounds = 0;
        for (;;) {
                int64_t offsets[CHUNK_FETCH_AHEAD], lengths[CHUNK_FETCH_AHEAD];
                size_t n = 0;
                while (chunk_fetch_ahead(f, 3000, &offsets[n], &lengths[n])) {
                        assert_true(n == 0 || offsets[n] >= offsets[n - 1] + lengths[n - 1]);
                        if (++n == CHUNK_FETCH_AHEAD) {
                                int64_t o, l;
                                assert_false(chunk_fetch_ahead(f, 3000, &o, &l));
                                break;
                        }
                }
                if (n == 0)
                        break;
                _cleanup_(x_freep) uint8_t *all = malloc(SIZE);
                size_t length = 0;
                for (size_t i = 0; i < n; i++) {
                        memcpy(all + length, m.pack + offsets[i], (size_t)lengths[i]);
                        length += (size_t)lengths[i];
                }
                assert_int_equal(chunk_fetch_feed(f, all, length, NULL), 0); /* over the ranges' ends */
                total += (int64_t)length;
                rounds++;
        }
        /* max_bytes divides what would be joined: fewer gaps are fetched along. */
        assert_true(total <= expected && total > expected / 2 && rounds > 1);
        assert_finished(f, target, data, SIZE);
        chunk_fetch_free(f);
}

/* A wider gap makes fewer requests of more bytes, and the same target. */
static void test_gap(void **state) {
        _cleanup_(x_freep) uint8_t *old = make_content(SIZE, 21), *data = make_changed(old, SIZE, 200, 21);
        _cleanup_(made_done) struct made m = {0};
        make_chunks(data, SIZE, 2, &m);
        _cleanup_(x_closep) int seed = file_of(old, SIZE), target = target_open();
        int64_t bytes[3];
        unsigned requests[3] = {0};
        for (size_t i = 0; i < 3; i++) {
                const int64_t gap = (const int64_t[]){-5, CHUNK_FETCH_GAP, INT64_MAX}[i];
                assert_int_equal(ftruncate(target, 0), 0);
                struct chunk_fetch *f = fetch_open(&m, &seed, 1, target);
                chunk_fetch_set_gap(f, gap);
                bytes[i] = chunk_fetch_missing(f);
                int64_t total = 0, offset, length;
                for (; chunk_fetch_next(f, INT64_MAX, &offset, &length); requests[i]++, total += length)
                        assert_int_equal(chunk_fetch_feed(f, m.pack + offset, (size_t)length, NULL), 0);
                assert_int_equal(total, bytes[i]);
                assert_finished(f, target, data, SIZE);
                chunk_fetch_free(f);
        }
        assert_true(bytes[0] < bytes[1] && bytes[1] < bytes[2]);
        assert_true(requests[0] > requests[1] && requests[1] > requests[2]);
        assert_int_equal(requests[2], 1);
}

static void test_damage_on_the_way(void **state) {
        _cleanup_(x_freep) uint8_t *data = make_content(SIZE, 4);
        _cleanup_(made_done) struct made m = {0};
        make_chunks(data, SIZE, 2, &m);
        _cleanup_(x_closep) int target = target_open();
        struct chunk_fetch *f = fetch_open(&m, NULL, 0, target);
        struct prng r;
        prng_seed(&r, 4);
        int64_t offset, length;
        unsigned refused = 0;
        for (unsigned i = 0; i < 200 && chunk_fetch_next(f, 30000, &offset, &length); i++) {
                _cleanup_(err_freep) struct err *err = NULL;
                _cleanup_(x_freep) uint8_t *answer = malloc((size_t)length);
                memcpy(answer, m.pack + offset, (size_t)length);
                if (i % 2 == 0)
                        answer[prng_below(&r, (uint64_t)length)] ^= (uint8_t)(1 + prng_below(&r, 255));
                int64_t before = chunk_fetch_missing(f);
                int e = chunk_fetch_feed(f, answer, (size_t)length, &err);
                if (i % 2 == 0 && e < 0) { /* a flip can leave what is unpacked as it was */
                        refused++;
                        assert_int_equal(e, -EBADMSG);
                        assert_non_null(strstr(err_message(err), "ask another mirror"));
                        assert_true(chunk_fetch_missing(f) > before - length);
                        assert_int_equal(chunk_fetch_feed(f, answer, 1, NULL), -EBADMSG); /* given up */
                } else
                        assert_int_equal(e, 0);
        }
        assert_true(refused > 10);
        fetch_all(f, &m, INT64_MAX, 10000);
        assert_int_equal(chunk_fetch_feed(f, data, 1, NULL), -EBADMSG);
        assert_finished(f, target, data, SIZE);
        chunk_fetch_free(f);

        /* The bytes of somewhere else. */
        assert_int_equal(ftruncate(target, 0), 0);
        f = fetch_open(&m, NULL, 0, target);
        assert_true(chunk_fetch_next(f, 1000, &offset, &length));
        assert_int_equal(chunk_fetch_feed(f, m.pack + 5000, (size_t)length, NULL), -EBADMSG);
        chunk_fetch_free(f);
}

/* Nothing that came whole is fetched twice, whenever it was left off, as long as the target stands. */
static void test_goes_on_where_it_was(void **state) {
        _cleanup_(x_freep) uint8_t *old = make_content(SIZE, 5), *data = make_changed(old, SIZE, 60, 5);
        _cleanup_(made_done) struct made m = {0};
        make_chunks(data, SIZE, 2, &m);
        _cleanup_(x_closep) int seed = file_of(old, SIZE), target = target_open();
        struct chunk_fetch *f = fetch_open(&m, &seed, 1, target);
        int64_t offset, length, left = chunk_fetch_missing(f);
        for (;;) {
                if (!chunk_fetch_next(f, 4000, &offset, &length))
                        break;
                assert_int_equal(chunk_fetch_feed(f, m.pack + offset, (size_t)length, NULL), 0);
                int64_t now = chunk_fetch_missing(f);
                assert_true(now < left);
                chunk_fetch_free(f);
                f = fetch_open(&m, NULL, 0, target); /* the seeds are not needed any more */
                assert_int_equal(chunk_fetch_missing(f), now);
                left = now;
        }
        assert_int_equal(left, 0);
        assert_finished(f, target, data, SIZE);
        chunk_fetch_free(f);

        /* Without a journal, with another's, and with one that is damaged: what stands there is found all the
         * same. */
        f = fetch_open(&m, NULL, 0, target);
        assert_int_equal(chunk_fetch_missing(f), 0);
        chunk_fetch_free(f);
        _cleanup_(made_done) struct made other = {0};
        make_chunks(old, SIZE, 2, &other);
        f = fetch_open(&other, NULL, 0, target);
        assert_in_range(chunk_fetch_missing(f), 1, other.pack_length - 1);
        chunk_fetch_free(f);
        assert_int_equal(file_write_atomic(journal, "skerry chunk journal 1\n", 23, 0600, NULL), 0);
        f = fetch_open(&other, &seed, 1, target);
        assert_int_equal(chunk_fetch_missing(f), 0);
        assert_finished(f, target, old, SIZE);
        chunk_fetch_free(f);
}

/* A disk that lost or changed what was written: found when it is opened again, and only that is had anew. */
static void test_damage_in_the_target(void **state) {
        _cleanup_(x_freep) uint8_t *old = make_content(SIZE, 6), *data = make_changed(old, SIZE, 40, 6);
        _cleanup_(made_done) struct made m = {0};
        make_chunks(data, SIZE, 2, &m);
        _cleanup_(x_closep) int seed = file_of(old, SIZE), target = target_open();
        struct chunk_fetch *f = fetch_open(&m, &seed, 1, target);
        int64_t missing = chunk_fetch_missing(f), offset, length;
        while (chunk_fetch_next(f, 5000, &offset, &length) && chunk_fetch_missing(f) > missing / 2)
                assert_int_equal(chunk_fetch_feed(f, m.pack + offset, (size_t)length, NULL), 0);
        chunk_fetch_free(f);
        struct prng r;
        prng_seed(&r, 6);
        for (unsigned i = 0; i < 40; i++)
                assert_int_equal(pwrite(target, "?", 1, (off_t)prng_below(&r, SIZE)), 1);
        assert_int_equal(pwrite(target, "?", 1, (off_t)SIZE / 2 + 100000), 1); /* where zeros belong */
        assert_int_equal(ftruncate(target, (off_t)SIZE - 60000), 0);
        f = fetch_open(&m, &seed, 1, target);
        assert_true(chunk_fetch_missing(f) < missing);
        fetch_all(f, &m, 5000, 777);
        assert_finished(f, target, data, SIZE);
        chunk_fetch_free(f);
}

/* A kill after one of two places of the same chunk was written. */
static void test_half_of_the_repeats(void **state) {
        _cleanup_(x_freep) uint8_t *data = make_content(SIZE, 7);
        _cleanup_(made_done) struct made m = {0};
        make_chunks(data, SIZE, 2, &m);
        _cleanup_(x_closep) int target = target_open();
        for (int first = 0; first < 2; first++) {
                struct chunk_fetch *f = fetch_open(&m, NULL, 0, target);
                fetch_all(f, &m, INT64_MAX, SIZE);
                chunk_fetch_free(f);
                uint8_t nothing[50000] = {0};
                assert_int_equal(
                        pwrite(target, nothing, sizeof(nothing), (off_t)(first ? 20000 : SIZE - 120000)),
                        sizeof(nothing));
                f = fetch_open(&m, NULL, 0, target);
                assert_int_equal(chunk_fetch_missing(f), 0);
                assert_finished(f, target, data, SIZE);
                chunk_fetch_free(f);
        }
}

/* ---- Hostile */

static void test_chunks_that_do_not_make_the_target(void **state) {
        _cleanup_(x_freep) uint8_t *data = make_content(SIZE, 8);
        _cleanup_(made_done) struct made m = {0};
        _cleanup_(err_freep) struct err *err = NULL;
        make_chunks(data, SIZE, 2, &m);
        m.parsed->target_sha256[0] = m.parsed->target_sha256[0] == 'a' ? 'b' : 'a';
        _cleanup_(x_closep) int target = target_open();
        _cleanup_(chunk_fetch_freep) struct chunk_fetch *f = fetch_open(&m, NULL, 0, target);
        fetch_all(f, &m, INT64_MAX, SIZE);
        assert_int_equal(chunk_fetch_finish(f, &err), -EBADMSG);
        assert_non_null(strstr(err_message(err), "do not make the target"));
        assert_int_equal(access(journal, F_OK), -1);
}

/* Frames that unpack to more than the index says, to less, and to nothing. */
static void test_frames_that_lie(void **state) {
        const size_t bomb = 64u << 20;
        _cleanup_(x_freep) uint8_t *zeros = calloc(1, bomb), *frame = malloc(100000);
        _cleanup_(x_closep) int target = target_open();
        for (unsigned i = 0; i < 4; i++) {
                size_t unpacked = (const size_t[]){bomb, 5001, 4999, 0}[i];
                size_t n = ZSTD_compress(frame, 100000, zeros, unpacked, 3) - 4;
                struct chunk c = {.length = 5000, .packed = (uint32_t)n & 0xffffff};
                struct chunk_index index = {.target_length = 5000,
                                            .pack_length = (int64_t)n,
                                            .average_log = 12,
                                            .window_log = 20,
                                            .segment_log = 15,
                                            .chunks = &c,
                                            .n_chunks = 1};
                struct chunk_fetch *f = NULL;
                int64_t offset, length;
                memset(index.target_sha256, 'a', 64);
                assert_int_equal(chunk_fetch_open(&index, NULL, 0, target, journal, &f, NULL), 0);
                assert_true(chunk_fetch_next(f, 10, &offset, &length));
                assert_int_equal(chunk_fetch_feed(f, frame + 4, n, NULL), -EBADMSG);
                assert_int_equal(chunk_fetch_missing(f), n);
                chunk_fetch_free(f);
        }
}

/* The same digest for chunks of different lengths, and for all: none is written where it does not belong. */
static void test_digests_that_lie(void **state) {
        enum { N = 20000 };
        _cleanup_(x_freep) struct chunk *chunks = calloc(N, sizeof(*chunks));
        _cleanup_(x_freep) uint8_t *data = malloc(N);
        uint8_t digest[SHA256_SIZE];
        assert_non_null(chunks);
        assert_non_null(data);
        memset(data, 'x', N);
        sha256_of(data, 1, digest);
        struct chunk_index index = {
                .average_log = 12, .window_log = 20, .segment_log = 15, .chunks = chunks, .n_chunks = N};
        for (size_t i = 0; i < N; i++) {
                chunks[i] =
                        (struct chunk){.length = 1 + i % 2, .packed = 1 + i % 2, .offset = index.pack_length};
                memcpy(chunks[i].digest, digest, 16);
                index.target_length = index.pack_length += 1 + (int64_t)i % 2;
        }
        memset(index.target_sha256, 'a', 64);
        _cleanup_(x_closep) int target = target_open();
        _cleanup_(chunk_fetch_freep) struct chunk_fetch *f = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        assert_int_equal(chunk_fetch_open(&index, NULL, 0, target, journal, &f, NULL), 0);
        int64_t offset, length;
        assert_true(chunk_fetch_next(f, 1, &offset, &length));
        assert_int_equal(length, 1);
        assert_int_equal(chunk_fetch_feed(f, data, 1, NULL), 0); /* writes every chunk of one byte */
        assert_true(chunk_fetch_next(f, 1, &offset, &length));
        assert_int_equal(offset, 1);
        assert_int_equal(length, 2);
        assert_int_equal(chunk_fetch_feed(f, data, 2, &err), -EBADMSG);
        uint8_t got[6];
        assert_int_equal(pread(target, got, 6, 0), 6);
        assert_memory_equal(got, "x\0\0x\0\0", 6);
}

/* ---- Kills */

struct shared {
        int64_t fed;
        bool done;
};

/* A process that fetches until it is told to die, after `pieces` of them, or is done. */
static void child(const struct made *m, int seed, int64_t pieces, struct shared *shared) {
        struct chunk_fetch *f = NULL;
        _cleanup_(x_freep) char *path = path_join(folder, "target");
        int target = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (chunk_fetch_open(m->parsed, &seed, 1, target, journal, &f, NULL) < 0)
                _exit(1);
        int64_t offset, length;
        while (chunk_fetch_next(f, 30000, &offset, &length))
                for (int64_t at = 0, n; at < length; at += n) {
                        if (pieces-- == 0)
                                raise(SIGKILL);
                        n = MIN(length - at, (int64_t)500);
                        __atomic_add_fetch(&shared->fed, n, __ATOMIC_SEQ_CST);
                        if (chunk_fetch_feed(f, m->pack + offset + at, (size_t)n, NULL) < 0)
                                _exit(2);
                }
        if (chunk_fetch_finish(f, NULL) < 0)
                _exit(3);
        shared->done = true;
        _exit(0);
}

static void killed(bool at_pieces, uint64_t seed_number) {
        _cleanup_(x_freep) uint8_t *old = make_content(SIZE, seed_number),
                                   *data = make_changed(old, SIZE, 150, seed_number);
        _cleanup_(made_done) struct made m = {0};
        make_chunks(data, SIZE, 2, &m);
        _cleanup_(x_closep) int seed = file_of(old, SIZE), target = target_open();
        int64_t missing;
        assert_int_equal(chunk_fetch_predict(m.parsed, &seed, 1, &missing, NULL), 0);
        struct shared *shared =
                mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        assert_true(shared != MAP_FAILED);
        struct prng r;
        prng_seed(&r, seed_number);
        int64_t kills = 0;
        while (!shared->done) {
                assert_true(kills < 2000);
                pid_t pid = fork();
                assert_true(pid >= 0);
                if (pid == 0)
                        child(&m, seed, at_pieces ? (int64_t)prng_below(&r, 60) : -1, shared);
                prng_next(&r);
                if (!at_pieces) { /* anywhere: while seeds are read, the journal or the target is written;
                                     later and later, so that it comes to an end */
                        usleep((useconds_t)prng_below(&r, (uint64_t)(1000 + 3000 * kills)));
                        kill(pid, SIGKILL);
                }
                int status;
                assert_int_equal(waitpid(pid, &status, 0), pid);
                if (WIFEXITED(status))
                        assert_int_equal(WEXITSTATUS(status), 0);
                else
                        kills++;
        }
        int64_t largest = 0;
        for (size_t i = 0; i < m.parsed->n_chunks; i++)
                largest = MAX(largest, (int64_t)m.parsed->chunks[i].packed);
        /* Each kill costs at most the frame that was coming in; ranges that begin anew join fewer gaps. */
        assert_true(shared->fed <= missing + kills * largest);
        size_t n;
        _cleanup_(x_freep) uint8_t *got = bytes_of(target, &n);
        assert_int_equal(n, SIZE);
        assert_true(memcmp(got, data, SIZE) == 0);
        assert_int_equal(access(journal, F_OK), -1);
        print_message("%lld kills, %lld of %lld bytes\n", (long long)kills, (long long)shared->fed,
                      (long long)missing);
        munmap(shared, sizeof(*shared));
}

static void test_killed_between_pieces(void **state) {
        killed(true, 9);
}

static void test_killed_anywhere(void **state) {
        killed(false, 10);
}

/* ---- Full disks */

static void test_a_file_that_cannot_grow(void **state) {
        _cleanup_(x_freep) uint8_t *data = make_content(SIZE, 11);
        _cleanup_(made_done) struct made m = {0};
        _cleanup_(err_freep) struct err *err = NULL;
        make_chunks(data, SIZE, 2, &m);
        _cleanup_(x_closep) int seed = file_of(data, SIZE), target = target_open();
        struct rlimit old, low;
        signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
        low = (struct rlimit){1u << 20, old.rlim_max};
        struct chunk_fetch *f = NULL;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
        int r = chunk_fetch_open(m.parsed, &seed, 1, target, journal, &f, &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(r, -EFBIG);
        assert_null(f);
        f = fetch_open(&m, &seed, 1, target);
        assert_int_equal(chunk_fetch_missing(f), 0);
        assert_finished(f, target, data, SIZE);
        chunk_fetch_free(f);
}

static void fill(const char *path, int *ret_fd, int64_t leave) {
        static const char block[16384] = {1};
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        off_t n = 0;
        ssize_t r;
        while ((r = write(fd, block, sizeof(block))) > 0)
                n += r;
        assert_int_equal(errno, ENOSPC);
        assert_int_equal(ftruncate(fd, MAX((off_t)0, n - leave)), 0);
        *ret_fd = fd;
}

static void test_a_full_disk(void **state) {
        _cleanup_(x_freep) char *small = path_join(folder, "small"), *ballast = path_join(small, "ballast"),
                                *path = path_join(small, "target"),
                                *other_journal = path_join(small, "journal");
        assert_int_equal(mkdir(small, 0700), 0);
        if (mount("tmpfs", small, "tmpfs", 0, "size=8m") < 0) {
                print_message("skipped: a small tmpfs cannot be mounted here (%s)\n", strerror(errno));
                skip();
        }
        _cleanup_(x_freep) uint8_t *old = make_content(SIZE, 12), *data = make_changed(old, SIZE, 60, 12);
        _cleanup_(made_done) struct made m = {0};
        make_chunks(data, SIZE, 2, &m);
        int seed = file_of(old, SIZE), target = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), full;
        struct chunk_fetch *f = NULL;
        int64_t missing, offset, length, total = 0;
        unsigned met = 0;
        assert_int_equal(chunk_fetch_predict(m.parsed, &seed, 1, &missing, NULL), 0);
        /* From no room at all: a little more each time, in the journal, the seeds' chunks, and what is
         * fetched.
         */
        fill(ballast, &full, 0);
        for (unsigned round = 0; !f; round++) {
                _cleanup_(err_freep) struct err *err = NULL;
                int r = chunk_fetch_open(m.parsed, &seed, 1, target, other_journal, &f, &err);
                if (r == 0)
                        break;
                assert_int_equal(r, -ENOSPC);
                assert_null(f);
                assert_true(round < 100);
                met++;
                struct stat st;
                assert_int_equal(fstat(full, &st), 0);
                assert_int_equal(ftruncate(full, MAX((off_t)0, st.st_size - 150000)), 0);
        }
        assert_true(met > 5);
        assert_int_equal(chunk_fetch_missing(f), missing);
        close(full);
        fill(ballast, &full, 0);
        met = 0;
        while (chunk_fetch_next(f, 20000, &offset, &length)) {
                _cleanup_(err_freep) struct err *err = NULL;
                int r = chunk_fetch_feed(f, m.pack + offset, (size_t)length, &err);
                total += length;
                if (r == 0)
                        continue;
                assert_int_equal(r, -ENOSPC);
                assert_non_null(strstr(err_message(err), "make room, it goes on where it was"));
                met++;
                struct stat st;
                assert_int_equal(fstat(full, &st), 0);
                assert_int_equal(ftruncate(full, MAX((off_t)0, st.st_size - 30000)), 0);
        }
        assert_true(met > 2);
        assert_true(total <= missing + met * 20000);
        assert_int_equal(chunk_fetch_finish(f, NULL), 0);
        size_t n;
        _cleanup_(x_freep) uint8_t *got = bytes_of(target, &n);
        assert_int_equal(n, SIZE);
        assert_true(memcmp(got, data, SIZE) == 0);
        chunk_fetch_free(f);
        close(full);
        close(seed);
        close(target);
        assert_int_equal(umount(small), 0);
}

int main(void) {
#define TEST(x) cmocka_unit_test_setup_teardown(x, make_folder, remove_folder)
        const struct CMUnitTest tests[] = {
                TEST(test_without_seeds),
                TEST(test_seeds_give_what_they_have),
                TEST(test_predicted_from_indexes),
                TEST(test_ahead),
                TEST(test_gap),
                TEST(test_damage_on_the_way),
                TEST(test_goes_on_where_it_was),
                TEST(test_damage_in_the_target),
                TEST(test_half_of_the_repeats),
                TEST(test_chunks_that_do_not_make_the_target),
                TEST(test_frames_that_lie),
                TEST(test_digests_that_lie),
                TEST(test_killed_between_pieces),
                TEST(test_killed_anywhere),
                TEST(test_a_file_that_cannot_grow),
                TEST(test_a_full_disk),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
