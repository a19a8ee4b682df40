/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include <zstd.h>

#include "chunk_data.h"
#include "crypto/digest.h"

#define SIZE ((size_t)3 << 20)

static void test_what_is_made_is_read(void **state) {
        _cleanup_(x_freep) uint8_t *data = make_content(SIZE, 1);
        _cleanup_(made_done) struct made m = {0};
        make_chunks(data, SIZE, 2, &m);
        const struct chunk_index *i = m.parsed;
        char hex[SHA256_HEX_SIZE];
        sha256_hex(data, SIZE, hex);
        assert_string_equal(i->target_sha256, hex);
        assert_int_equal(i->target_length, SIZE);
        assert_int_equal(i->pack_length, m.pack_length);
        assert_true(m.pack_length < SIZE / 2);
        assert_true(m.index_length < SIZE / 50);
        size_t at = 0, kinds[3] = {0}, zeros = 0;
        int64_t pack = 0;
        for (size_t k = 0; k < i->n_chunks; k++) {
                const struct chunk *c = &i->chunks[k];
                uint8_t digest[SHA256_SIZE];
                kinds[c->kind]++;
                sha256_of(data + at, c->length, digest);
                if (c->kind == CHUNK_ZERO)
                        zeros += c->length;
                else
                        assert_memory_equal(digest, c->digest, 16);
                if (c->kind == CHUNK_FRAME) {
                        assert_true(c->offset == pack);
                        pack += c->packed;
                }
                at += c->length;
        }
        assert_int_equal(at, SIZE);
        assert_int_equal(pack, m.pack_length);
        assert_true(zeros > 150000 && kinds[CHUNK_ZERO] <= 2);
        assert_true(kinds[CHUNK_REPEAT] > 20); /* the 100,000 bytes that come twice */
}

static void test_threads_change_nothing(void **state) {
        _cleanup_(x_freep) uint8_t *data = make_content(SIZE, 2);
        _cleanup_(made_done) struct made one = {0}, many = {0};
        make_chunks(data, SIZE, 1, &one);
        make_chunks(data, SIZE, 5, &many);
        assert_int_equal(one.index_length, many.index_length);
        assert_int_equal(one.pack_length, many.pack_length);
        assert_memory_equal(one.index, many.index, one.index_length);
        assert_memory_equal(one.pack, many.pack, one.pack_length);
}

static void test_small_targets(void **state) {
        static const size_t sizes[] = {0, 1, 511, 512, 513, 5000, 70000};
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                _cleanup_(x_freep) uint8_t *data = calloc(1, sizes[i] + 1);
                _cleanup_(made_done) struct made m = {0}, zeros = {0};
                make_chunks(data, sizes[i], 1, &zeros);
                assert_int_equal(zeros.pack_length, 0);
                assert_int_equal(zeros.parsed->n_chunks, sizes[i] > 0);
                struct prng r;
                prng_seed(&r, i);
                for (size_t k = 0; k < sizes[i]; k++)
                        data[k] = (uint8_t)(1 + prng_below(&r, 255));
                make_chunks(data, sizes[i], 1, &m);
                assert_int_equal(m.parsed->target_length, sizes[i]);
                assert_int_equal(m.pack_length, sizes[i]); /* noise is stored as it is */
        }
}

static int64_t last_done, last_total;

static void on_progress(void *arg, int64_t done, int64_t total) {
        assert_true(done >= last_done && done <= total);
        last_done = done;
        last_total = total;
        ++*(int *)arg;
}

static void test_progress(void **state) {
        _cleanup_(x_freep) uint8_t *data = make_content(SIZE, 3);
        int target = file_of(data, SIZE), index = file_of("", 0), pack = file_of("", 0), calls = 0;
        assert_int_equal(chunk_index_make(target, index, pack, 0, on_progress, &calls, NULL), 0);
        assert_true(calls >= 3);
        assert_int_equal(last_done, SIZE);
        assert_int_equal(last_total, SIZE);
        close(target);
        close(index);
        close(pack);
}

static void test_errors_of_files(void **state) {
        _cleanup_(x_freep) uint8_t *data = make_content(SIZE, 4);
        int target = file_of(data, SIZE), index = file_of("", 0), pack = file_of("", 0);
        _cleanup_(err_freep) struct err *err = NULL;
        int full = open("/dev/full", O_WRONLY | O_CLOEXEC), folder = open("/", O_RDONLY | O_CLOEXEC);
        assert_int_equal(chunk_index_make(target, index, full, 2, NULL, NULL, &err), -ENOSPC);
        assert_non_null(strstr(err_message(err), "cut a target into chunks"));
        assert_int_equal(chunk_index_make(target, full, pack, 2, NULL, NULL, NULL), -ENOSPC);
        assert_int_equal(chunk_index_make(-1, index, pack, 2, NULL, NULL, NULL), -EBADF);
        assert_true(chunk_index_make(folder, index, pack, 2, NULL, NULL, NULL) < 0);
        close(target);
        close(index);
        close(pack);
        close(full);
        close(folder);
}

/* ---- Bad input */

static void assert_refused(const void *p, size_t n, const char *said) {
        struct chunk_index *i = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        int r = chunk_index_parse(p, n, &i, &err);
        if (r == 0)
                chunk_index_free(i);
        assert_int_equal(r, -EBADMSG);
        assert_null(i);
        if (!strstr(err_message(err), said))
                print_error("%s\n", err_message(err));
        assert_non_null(strstr(err_message(err), said));
}

static void test_cut_off_and_flipped(void **state) {
        _cleanup_(x_freep) uint8_t *data = make_content(SIZE, 5);
        _cleanup_(made_done) struct made m = {0};
        make_chunks(data, SIZE, 2, &m);
        for (size_t n = 0; n < m.index_length; n += n < 100 ? 1 : 997)
                assert_refused(m.index, n, "");
        struct prng r;
        prng_seed(&r, 5);
        for (unsigned i = 0; i < 2000; i++) {
                size_t bit = i < 72 * 8 ? i : 72 * 8 + prng_below(&r, (m.index_length - 72) * 8);
                struct chunk_index *parsed = NULL;
                m.index[bit / 8] ^= (uint8_t)(1u << bit % 8);
                int e = chunk_index_parse(m.index, m.index_length, &parsed, NULL);
                /* The target's digest and the average can be anything here; what is rebuilt is checked. */
                bool free_bits = (bit >= 24 * 8 && bit < 56 * 8) || (bit >= 60 * 8 && bit < 63 * 8);
                assert_true(free_bits ? e == 0 || e == -EBADMSG : e < 0);
                chunk_index_free(parsed);
                m.index[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
}

/* What an index of these chunks says when it is read. */
static void assert_lie(struct chunk *chunks, size_t n, int64_t target, int64_t pack, const char *said) {
        struct chunk_index i = {.target_length = target,
                                .pack_length = pack,
                                .average_log = 12,
                                .window_log = 20,
                                .segment_log = 15,
                                .chunks = chunks,
                                .n_chunks = n};
        memset(i.target_sha256, 'a', 64);
        _cleanup_(x_freep) void *p = NULL;
        size_t length;
        assert_int_equal(chunk_index_encode(&i, &p, &length), 0);
        if (!said) {
                struct chunk_index *parsed = NULL;
                assert_int_equal(chunk_index_parse(p, length, &parsed, NULL), 0);
                chunk_index_free(parsed);
        } else
                assert_refused(p, length, said);
}

static void test_lies(void **state) {
        struct chunk c[3] = {{.length = 1000, .packed = 500},
                             {.length = 70000, .kind = CHUNK_ZERO},
                             {.length = 1000, .packed = 500, .kind = CHUNK_REPEAT}};
        assert_lie(c, 3, 72000, 500, NULL);
        assert_lie(c, 3, 72001, 500, "add up to the target");
        assert_lie(c, 3, 71999, 500, "add up to the target");
        assert_lie(c, 3, 72000, 499, "add up to the pack");
        assert_lie(c, 3, 72000, 501, "add up to the pack");
        assert_lie(c, 3, (int64_t)1 << 41, 500, "too long");
        assert_lie(c, 3, -1, 500, "too long");
        assert_lie(c, 3, 72000, 72001, "too long");
        assert_lie(c, 3, 72000, -1, "too long");
        c[2].length = 999;
        assert_lie(c, 3, 71999, 500, "no frame of its length");
        c[2].length = 1000;
        c[0].packed = 1001;
        assert_lie(c, 3, 72000, 1001, "frame's length");
        c[0].packed = 0;
        assert_lie(c, 3, 72000, 0, "frame's length");
        c[0].packed = 500;
        c[0].length = c[2].length = CHUNK_MAX + 1;
        assert_lie(c, 3, 70000 + 2 * ((int64_t)CHUNK_MAX + 1), 500, "length out of bounds");
        c[0].length = c[2].length = 0;
        assert_lie(c, 3, 70000, 500, "length out of bounds");
        c[0].length = c[2].length = 1000;
        c[1].length = CHUNK_ZERO_MAX;
        assert_lie(c, 3, 2000 + (int64_t)CHUNK_ZERO_MAX, 500, NULL);
        c[1].length = CHUNK_ZERO_MAX + 1;
        assert_lie(c, 3, 2001 + (int64_t)CHUNK_ZERO_MAX, 500, "length out of bounds");
        c[1].kind = 3;
        assert_lie(c, 3, 2001 + (int64_t)CHUNK_ZERO_MAX, 500, "unknown kind");
        assert_lie(NULL, 0, 0, 0, NULL);
        assert_lie(NULL, 0, 1, 0, "add up to the target");
}

/* A head whose body says something else about its length, or is a bomb. */
static void test_bodies_that_lie(void **state) {
        const size_t many = 32u << 20;
        _cleanup_(x_freep) uint8_t *zeros = calloc(1, many), *file = calloc(1, many);
        assert_non_null(zeros);
        assert_non_null(file);
        memcpy(file, "SkCI\1\0\0\0", 8);
        file[60] = 12;
        file[61] = 20;
        file[62] = 15;
        size_t n = ZSTD_compress(file + 72, many - 72, zeros, many, 3);
        assert_false(ZSTD_isError(n));
        file[56] = 100; /* chunks */
        file[64] = 200; /* bytes */
        assert_refused(file, 72 + n, "does not unpack");
        file[66] = 1;
        assert_refused(file, 72 + n, "too many chunks");
        memset(file + 56, 0xff, 4);
        memset(file + 64, 0xff, 4);
        assert_refused(file, 72 + n, "too many chunks");
        n = ZSTD_compress(file + 72, many - 72, zeros, 100, 3);
        memcpy(file + 56, "\144\0\0\0", 4);
        memcpy(file + 64, "\310\0\0\0", 4);
        assert_refused(file, 72 + n, "does not unpack"); /* 100 of 200 bytes */
        memcpy(file + 64, "\143\0\0\0", 4);
        assert_refused(file, 72 + n, "too many chunks"); /* not even the kinds */
        file[60] = 40;
        assert_refused(file, 72 + n, "");
        assert_refused(file, CHUNK_INDEX_MAX + (size_t)1, "longer than any");

        struct chunk_index *i = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        file[4] = 2;
        assert_int_equal(chunk_index_parse(file, 72 + n, &i, &err), -EPROTONOSUPPORT);
        assert_non_null(strstr(err_message(err), "install a newer one"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_what_is_made_is_read),
                cmocka_unit_test(test_threads_change_nothing),
                cmocka_unit_test(test_small_targets),
                cmocka_unit_test(test_progress),
                cmocka_unit_test(test_errors_of_files),
                cmocka_unit_test(test_cut_off_and_flipped),
                cmocka_unit_test(test_lies),
                cmocka_unit_test(test_bodies_that_lie),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
