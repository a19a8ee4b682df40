/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "crypto/digest.h"
#include "repo/chunk/cut.h"
#include "repo/chunk/index.h"

static uint8_t *noise(size_t n, uint64_t seed) {
        uint8_t *p = malloc(n);
        struct prng r;
        assert_non_null(p);
        prng_seed(&r, seed);
        for (size_t i = 0; i < n; i++)
                p[i] = (uint8_t)prng_next(&r);
        return p;
}

/* Computed by another implementation of the format's page: whoever changes them has another format. */
static void test_gear_and_cuts_are_fixed(void **state) {
        static const size_t expected[] = {2605, 3449, 1682, 4698, 4561, 4777, 5877, 5593,
                                          4283, 5873, 4629, 4299, 5613, 4684, 2913};
        struct chunk_cutter c;
        uint8_t digest[SHA256_SIZE];
        chunk_cutter_init(&c, 12);
        sha256_of("skerry chunk gear 255", 21, digest);
        for (unsigned i = 0; i < 8; i++)
                assert_int_equal((uint8_t)(c.gear[255] >> (56 - 8 * i)), digest[i]);
        assert_int_equal(c.least, 1024);
        assert_int_equal(c.most, 32768);
        assert_true(c.mask_before == 0xfffc000000000000u);
        assert_true(c.mask_after == 0xffc0000000000000u);

        /* SHA-256 of 0, 1, 2, ... as little-endian words, one after the other. */
        _cleanup_(x_freep) uint8_t *data = malloc(65536);
        assert_non_null(data);
        for (uint32_t i = 0; i < 65536 / SHA256_SIZE; i++) {
                const uint8_t word[4] = {(uint8_t)i, (uint8_t)(i >> 8), 0, 0};
                sha256_of(word, 4, data + i * SHA256_SIZE);
        }
        size_t at = 0;
        for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
                bool zero;
                size_t n = chunk_cut(&c, data + at, 65536 - at, &zero);
                if (n != expected[i])
                        print_error("cut %zu: %zu\n", i, n);
                assert_int_equal(n, expected[i]);
                assert_false(zero);
                at += n;
        }
}

static void test_lengths_keep_their_bounds(void **state) {
        const size_t n = 4u << 20;
        _cleanup_(x_freep) uint8_t *data = noise(n, 1);
        for (unsigned log = CHUNK_AVERAGE_LOG_MIN; log <= CHUNK_AVERAGE_LOG_MAX; log++) {
                struct chunk_cutter c;
                size_t chunks = 0;
                bool zero;
                chunk_cutter_init(&c, log);
                assert_true(c.most <= CHUNK_MAX);
                for (size_t at = 0, k; at < n; at += k, chunks++) {
                        k = chunk_cut(&c, data + at, n - at, &zero);
                        assert_false(zero);
                        assert_true(k <= c.most && (k >= c.least || at + k == n));
                }
                assert_in_range(n / chunks, c.average * 3 / 4, c.average * 2);
        }
}

static void test_end_of_the_file(void **state) {
        struct chunk_cutter c;
        bool zero;
        uint8_t few[100] = {1};
        chunk_cutter_init(&c, 12);
        assert_int_equal(chunk_cut(&c, few, 0, &zero), 0);
        assert_int_equal(chunk_cut(&c, few, 1, &zero), 1);
        assert_int_equal(chunk_cut(&c, few, 100, &zero), 100);
        assert_false(zero);
        assert_int_equal(chunk_cut(&c, few + 1, 99, &zero), 99); /* short, but all that is left is zeros */
        assert_true(zero);
}

struct seen {
        const uint8_t *data;
        uint64_t ends[4096], starts[4096];
        size_t n, zeros;
        int64_t next;
};

static int on_chunk(void *arg, const struct cut_chunk *chunk) {
        struct seen *s = arg;
        assert_true(chunk->offset == s->next);
        assert_memory_equal(chunk->data, s->data + chunk->offset, chunk->length);
        s->next += chunk->length;
        if (chunk->zero) {
                assert_int_equal(zero_prefix(chunk->data, chunk->length), chunk->length);
                s->zeros += chunk->length;
                return 0;
        }
        uint8_t digest[SHA256_SIZE];
        sha256_of(chunk->data, chunk->length, digest);
        assert_memory_equal(digest, chunk->digest, 16);
        assert_true(s->n < ARRAY_SIZE(s->ends));
        s->starts[s->n] = (uint64_t)chunk->offset;
        s->ends[s->n++] = (uint64_t)s->next;
        return 0;
}

static struct seen *cut(const uint8_t *data, size_t n) {
        struct chunk_cutter c;
        struct seen *s = calloc(1, sizeof(*s));
        char path[] = "/tmp/skerry-test-cut-XXXXXX";
        int fd = mkstemp(path);
        assert_non_null(s);
        assert_true(fd >= 0);
        assert_int_equal(unlink(path), 0);
        for (size_t at = 0; at < n;) {
                ssize_t r = write(fd, data + at, n - at);
                assert_true(r > 0);
                at += (size_t)r;
        }
        s->data = data;
        chunk_cutter_init(&c, 12);
        assert_int_equal(chunk_cut_file(&c, fd, on_chunk, s), 0);
        assert_int_equal(s->next, n);
        close(fd);
        return s;
}

/* Bytes put in move all that follows, and the cuts with it: past the next few they are the same. */
static void test_cuts_follow_the_content(void **state) {
        const size_t n = 6u << 20, at = 1000000, more = 1234567;
        _cleanup_(x_freep) uint8_t *data = noise(n, 2), *longer = malloc(n + more), *put = noise(more, 3);
        assert_non_null(longer);
        memcpy(longer, data, at);
        memcpy(longer + at, put, more);
        memcpy(longer + at + more, data + at, n - at);
        _cleanup_(x_freep) struct seen *a = cut(data, n), *b = cut(longer, n + more);
        size_t same = 0;
        for (size_t i = 0, k = 0; i < a->n; i++) {
                uint64_t end = a->ends[i] < at ? a->ends[i] : a->ends[i] + more;
                while (k < b->n && b->ends[k] < end)
                        k++;
                same += k < b->n && b->ends[k] == end;
        }
        assert_true(same >= a->n - 5);
}

/* A run of zeros is cut where it ends, wherever the reader's buffer ends. */
static void test_zeros_are_chunks_of_their_own(void **state) {
        const size_t n = 14u << 20, zeros = 9u << 20;
        for (size_t from = 2u << 20; from < (2u << 20) + 40000; from += 13331) {
                _cleanup_(x_freep) uint8_t *data = noise(n, 4);
                memset(data + from, 0, zeros);
                data[from - 1] = data[from + zeros] = 1;
                _cleanup_(x_freep) struct seen *s = cut(data, n);
                assert_true(s->zeros > zeros - 32768 && s->zeros <= zeros);
                bool starts_behind = false;
                for (size_t i = 0; i < s->n; i++)
                        starts_behind = starts_behind || s->starts[i] == from + zeros;
                assert_true(starts_behind);
        }
}

static void test_zero_prefix(void **state) {
        uint8_t p[300];
        for (size_t i = 0; i < sizeof(p); i++) {
                memset(p, 0, sizeof(p));
                p[i] = 0x80;
                assert_int_equal(zero_prefix(p, sizeof(p)), i);
                assert_int_equal(zero_prefix(p, i), i);
        }
        assert_int_equal(zero_prefix(p, 0), 0);
}

static int stop(void *arg, const struct cut_chunk *chunk) {
        ++*(int *)arg;
        return 7;
}

static void test_reading_ends_when_told(void **state) {
        struct chunk_cutter c;
        int calls = 0, fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
        chunk_cutter_init(&c, 12);
        assert_true(fd >= 0);
        assert_int_equal(chunk_cut_file(&c, fd, stop, &calls), 7);
        assert_int_equal(calls, 1);
        close(fd);
        fd = open("/", O_RDONLY | O_CLOEXEC);
        assert_int_equal(chunk_cut_file(&c, fd, stop, &calls), -EISDIR);
        close(fd);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_gear_and_cuts_are_fixed),
                cmocka_unit_test(test_lengths_keep_their_bounds),
                cmocka_unit_test(test_end_of_the_file),
                cmocka_unit_test(test_cuts_follow_the_content),
                cmocka_unit_test(test_zeros_are_chunks_of_their_own),
                cmocka_unit_test(test_zero_prefix),
                cmocka_unit_test(test_reading_ends_when_told),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
