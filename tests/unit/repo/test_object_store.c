/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "../folder.h"
#include "base/fs.h"
#include "base/str.h"
#include "crypto/digest.h"
#include "repo/object_store.h"

static struct object_store *open_store(int64_t max) {
        struct object_store *s = NULL;
        _cleanup_(x_freep) char *root = path_join(folder, "store");
        assert_int_equal(object_store_open(root, max, &s, NULL), 0);
        return s;
}

static char *path_of(const char *sha256) {
        return str_format("%s/store/sha256/%.2s/%s", folder, sha256, sha256 + 2);
}

static size_t temporaries(void) {
        char command[256];
        size_t n = 0;
        snprintf(command, sizeof(command), "find %s/store/tmp -type f | wc -l", folder);
        FILE *p = popen(command, "r");
        assert_non_null(p);
        assert_int_equal(fscanf(p, "%zu", &n), 1);
        pclose(p);
        return n;
}

static void put_text(struct object_store *s, const char *text, char sha256[SHA256_HEX_SIZE]) {
        sha256_hex(text, strlen(text), sha256);
        assert_int_equal(object_store_put(s, sha256, text, strlen(text), NULL), 0);
}

static void test_put_and_read(void **state) {
        _cleanup_(object_store_freep) struct object_store *s = open_store(0);
        char sha256[SHA256_HEX_SIZE];
        _cleanup_(x_freep) char *data = NULL, *again = NULL;
        size_t len = 0;
        put_text(s, "hello", sha256);
        assert_true(object_store_has(s, sha256));
        assert_int_equal(object_store_read(s, sha256, 5, &data, &len, NULL), 0);
        assert_int_equal(len, 5);
        assert_string_equal(data, "hello");
        assert_int_equal(object_store_read(s, sha256, 4, &again, &len, NULL), -EFBIG);
        assert_null(again);

        _cleanup_(x_closep) int fd = object_store_open_object(s, sha256);
        assert_true(fd >= 0);
        char read_back[8] = {0};
        assert_int_equal(read(fd, read_back, sizeof(read_back)), 5);
        assert_string_equal(read_back, "hello");

        put_text(s, "hello", sha256); /* again is no error */
        put_text(s, "", sha256);      /* and nothing is an object too */
        assert_int_equal(object_store_read(s, sha256, 0, &again, &len, NULL), 0);
        assert_int_equal(len, 0);
        assert_int_equal(object_store_bytes(s), 5);
}

static void test_unknown_and_malformed(void **state) {
        _cleanup_(object_store_freep) struct object_store *s = open_store(0);
        static const char *const malformed[] = {
                "", "abc", "../../../../etc/passwd",
                "ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ"};
        char sha256[SHA256_HEX_SIZE];
        char *data = NULL;
        size_t len = 0;
        sha256_hex("never stored", 12, sha256);
        assert_false(object_store_has(s, sha256));
        assert_int_equal(object_store_open_object(s, sha256), -ENOENT);
        assert_int_equal(object_store_read(s, sha256, 100, &data, &len, NULL), -ENOENT);
        assert_int_equal(object_store_check(s, sha256, NULL), -ENOENT);
        for (size_t i = 0; i < ARRAY_SIZE(malformed); i++) {
                struct object_writer *w = NULL;
                assert_false(object_store_has(s, malformed[i]));
                assert_int_equal(object_store_open_object(s, malformed[i]), -EINVAL);
                assert_int_equal(object_store_read(s, malformed[i], 100, &data, &len, NULL), -EINVAL);
                assert_int_equal(object_store_put(s, malformed[i], "x", 1, NULL), -EINVAL);
                assert_int_equal(object_writer_new(s, malformed[i], 1, &w, NULL), -EINVAL);
                assert_null(w);
        }
        assert_null(data);
}

static void test_wrong_digest(void **state) {
        _cleanup_(object_store_freep) struct object_store *s = open_store(0);
        char sha256[SHA256_HEX_SIZE];
        _cleanup_(err_freep) struct err *err = NULL;
        sha256_hex("what was promised", 17, sha256);
        assert_int_equal(object_store_put(s, sha256, "what came", 9, &err), -EBADMSG);
        assert_non_null(strstr(err_message(err), sha256));
        assert_false(object_store_has(s, sha256));
}

static void test_damage_is_found(void **state) {
        _cleanup_(object_store_freep) struct object_store *s = open_store(0);
        char sha256[SHA256_HEX_SIZE];
        char *data = NULL;
        size_t len = 0;
        for (int by_check = 0; by_check < 2; by_check++) {
                put_text(s, "precious", sha256);
                assert_int_equal(object_store_check(s, sha256, NULL), 0);
                _cleanup_(x_freep) char *path = path_of(sha256);
                int fd = open(path, O_WRONLY | O_CLOEXEC);
                assert_int_equal(pwrite(fd, "X", 1, 3), 1);
                close(fd);
                int r = by_check ? object_store_check(s, sha256, NULL)
                                 : object_store_read(s, sha256, 100, &data, &len, NULL);
                assert_int_equal(r, -EBADMSG);
                assert_null(data);
                assert_false(object_store_has(s, sha256));
        }
        put_text(s, "precious", sha256);
        assert_int_equal(object_store_read(s, sha256, 100, &data, &len, NULL), 0);
        assert_string_equal(data, "precious");
        free(data);

        /* Cut short by a power cut: put again writes it again. */
        _cleanup_(x_freep) char *path = path_of(sha256);
        assert_int_equal(truncate(path, 2), 0);
        put_text(s, "precious", sha256);
        assert_int_equal(object_store_check(s, sha256, NULL), 0);
}

static void test_streamed(void **state) {
        _cleanup_(object_store_freep) struct object_store *s = open_store(0);
        char sha256[SHA256_HEX_SIZE];
        sha256_hex("onetwothree", 11, sha256);
        {
                _cleanup_(object_writer_freep) struct object_writer *w = NULL;
                assert_int_equal(object_writer_new(s, sha256, 11, &w, NULL), 0);
                assert_int_equal(object_writer_append(w, "one", 3, NULL), 0);
                assert_int_equal(object_writer_append(w, "two", 3, NULL), 0);
                assert_false(object_store_has(s, sha256));
                assert_int_equal(object_writer_append(w, "three", 5, NULL), 0);
                assert_int_equal(object_writer_append(w, "!", 1, NULL), -EFBIG);
                assert_int_equal(object_writer_commit(w, NULL), 0);
                assert_int_equal(object_writer_commit(w, NULL), -EINVAL);
        }
        assert_true(object_store_has(s, sha256));
        assert_int_equal(temporaries(), 0);
}

static void test_abandoned(void **state) {
        _cleanup_(object_store_freep) struct object_store *s = open_store(0);
        char sha256[SHA256_HEX_SIZE];
        struct object_writer *w = NULL;
        sha256_hex("abandoned", 9, sha256);
        assert_int_equal(object_writer_new(s, sha256, 100, &w, NULL), 0);
        assert_int_equal(object_writer_append(w, "aband", 5, NULL), 0);
        assert_int_equal(temporaries(), 1);
        w = object_writer_free(w);
        assert_int_equal(temporaries(), 0);

        assert_int_equal(object_writer_new(s, sha256, 100, &w, NULL), 0);
        assert_int_equal(object_writer_append(w, "other", 5, NULL), 0);
        assert_int_equal(object_writer_commit(w, NULL), -EBADMSG);
        w = object_writer_free(w);
        assert_false(object_store_has(s, sha256));

        /* A process that dies leaves its temporary file; the next one clears it. */
        _cleanup_(x_freep) char *left = str_format("%s/store/tmp/left-behind", folder);
        assert_int_equal(file_write_atomic(left, "x", 1, 0600, NULL), 0);
        assert_int_equal(temporaries(), 1);
        _cleanup_(object_store_freep) struct object_store *again = open_store(0);
        assert_int_equal(temporaries(), 0);
}

struct job {
        struct object_store *store;
        int failures;
};

static void *put_many(void *arg) {
        struct job *job = arg;
        for (int i = 0; i < 40; i++) {
                char text[64], sha256[SHA256_HEX_SIZE];
                int len = snprintf(text, sizeof(text), "shared object %d", i);
                sha256_hex(text, (size_t)len, sha256);
                if (object_store_put(job->store, sha256, text, (size_t)len, NULL) < 0)
                        job->failures++;
        }
        return NULL;
}

static void test_concurrent_puts(void **state) {
        _cleanup_(object_store_freep) struct object_store *s = open_store(0);
        pthread_t threads[4];
        struct job jobs[4];
        for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
                jobs[i] = (struct job){s, 0};
                assert_int_equal(pthread_create(&threads[i], NULL, put_many, &jobs[i]), 0);
        }
        for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
                pthread_join(threads[i], NULL);
                assert_int_equal(jobs[i].failures, 0);
        }
        for (int i = 0; i < 40; i++) {
                char text[64], sha256[SHA256_HEX_SIZE];
                int len = snprintf(text, sizeof(text), "shared object %d", i);
                sha256_hex(text, (size_t)len, sha256);
                assert_int_equal(object_store_check(s, sha256, NULL), 0);
        }
        assert_int_equal(temporaries(), 0);
}

static void set_used(const char *sha256, time_t when) {
        _cleanup_(x_freep) char *path = path_of(sha256);
        struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = when}};
        assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void test_trim_removes_the_least_recently_used(void **state) {
        _cleanup_(object_store_freep) struct object_store *s = open_store(1000);
        char names[5][SHA256_HEX_SIZE];
        char block[250];
        for (int i = 0; i < 5; i++) {
                memset(block, 'a' + i, sizeof(block));
                sha256_hex(block, sizeof(block), names[i]);
                if (i == 4) /* four fill the store and stay */
                        assert_int_equal(object_store_trim(s, NULL), 0);
                assert_int_equal(object_store_put(s, names[i], block, sizeof(block), NULL), 0);
                set_used(names[i], 1000 + i);
        }
        assert_int_equal(object_store_bytes(s), 1250);
        int fd = object_store_open_object(s, names[0]); /* the oldest is used again */
        assert_true(fd >= 0);
        close(fd);
        assert_int_equal(object_store_trim(s, NULL), 0);
        assert_true(object_store_has(s, names[0]));
        assert_false(object_store_has(s, names[1]));
        assert_false(object_store_has(s, names[2]));
        assert_true(object_store_has(s, names[3]));
        assert_true(object_store_has(s, names[4]));
        assert_int_equal(object_store_bytes(s), 750);

        /* The count is the same when somebody counts afresh. */
        _cleanup_(object_store_freep) struct object_store *again = open_store(1000);
        assert_int_equal(object_store_bytes(again), 750);
}

static void test_room_is_made(void **state) {
        _cleanup_(object_store_freep) struct object_store *s = open_store(1000000);
        char names[4][SHA256_HEX_SIZE], block[100];
        for (int i = 0; i < 4; i++) {
                memset(block, 'a' + i, sizeof(block));
                sha256_hex(block, sizeof(block), names[i]);
                assert_int_equal(object_store_put(s, names[i], block, sizeof(block), NULL), 0);
                set_used(names[i], 1000 + i);
        }
        assert_int_equal(object_store_make_room(s, 150, NULL), 0);
        assert_false(object_store_has(s, names[0]));
        assert_false(object_store_has(s, names[1]));
        assert_true(object_store_has(s, names[2]));
        assert_int_equal(object_store_bytes(s), 200);
        assert_int_equal(object_store_make_room(s, 1000000, NULL), 0);
        assert_int_equal(object_store_bytes(s), 0);
        assert_int_equal(object_store_make_room(s, 1, NULL), 0);
}

static void test_unbounded_store_keeps_all(void **state) {
        _cleanup_(object_store_freep) struct object_store *s = open_store(0);
        char sha256[SHA256_HEX_SIZE];
        put_text(s, "kept for ever", sha256);
        assert_int_equal(object_store_trim(s, NULL), 0);
        assert_int_equal(object_store_make_room(s, 1, NULL), -ENOSPC);
        assert_true(object_store_has(s, sha256));
}

static bool keep_one(void *arg, const char *sha256) {
        return str_eq(arg, sha256);
}

static void test_sweep(void **state) {
        _cleanup_(object_store_freep) struct object_store *s = open_store(0);
        char keep[SHA256_HEX_SIZE], other[SHA256_HEX_SIZE];
        size_t removed = 0;
        put_text(s, "keep me", keep);
        put_text(s, "not me", other);
        assert_int_equal(object_store_sweep(s, keep_one, keep, &removed, NULL), 0);
        assert_true(removed >= 1);
        assert_true(object_store_has(s, keep));
        assert_false(object_store_has(s, other));
        assert_int_equal(object_store_bytes(s), 7);
        assert_int_equal(object_store_sweep(s, keep_one, keep, &removed, NULL), 0);
        assert_int_equal(removed, 0);
}

static void test_folder_that_cannot_be(void **state) {
        struct object_store *s = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *path = path_join(folder, "file");
        assert_int_equal(file_write_atomic(path, "x", 1, 0600, NULL), 0);
        assert_true(object_store_open(path, 0, &s, &err) < 0);
        assert_non_null(strstr(err_message(err), path));
        assert_null(s);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_put_and_read, make_folder, remove_folder),
                cmocka_unit_test_setup_teardown(test_unknown_and_malformed, make_folder, remove_folder),
                cmocka_unit_test_setup_teardown(test_wrong_digest, make_folder, remove_folder),
                cmocka_unit_test_setup_teardown(test_damage_is_found, make_folder, remove_folder),
                cmocka_unit_test_setup_teardown(test_streamed, make_folder, remove_folder),
                cmocka_unit_test_setup_teardown(test_abandoned, make_folder, remove_folder),
                cmocka_unit_test_setup_teardown(test_concurrent_puts, make_folder, remove_folder),
                cmocka_unit_test_setup_teardown(test_trim_removes_the_least_recently_used, make_folder,
                                                remove_folder),
                cmocka_unit_test_setup_teardown(test_room_is_made, make_folder, remove_folder),
                cmocka_unit_test_setup_teardown(test_unbounded_store_keeps_all, make_folder, remove_folder),
                cmocka_unit_test_setup_teardown(test_sweep, make_folder, remove_folder),
                cmocka_unit_test_setup_teardown(test_folder_that_cannot_be, make_folder, remove_folder),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
