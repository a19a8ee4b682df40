/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/block_file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/str.h"

static char folder[64], path[80], map[96];

static int make(void **state) {
        strcpy(folder, "/tmp/skerry-test-blocks-XXXXXX");
        assert_non_null(mkdtemp(folder));
        snprintf(path, sizeof(path), "%s/file", folder);
        snprintf(map, sizeof(map), "%s.map", path);
        return 0;
}

static int clear(void **state) {
        return path_remove(folder, NULL);
}

static void fill(char *p, size_t n, unsigned seed) {
        for (size_t i = 0; i < n; i++)
                p[i] = (char)(seed * 31 + i * 7 + i / 251);
}

static void write_block(struct block_file *f, int64_t i) {
        size_t n = (size_t)block_file_size(f, i);
        char *p = malloc(n);
        fill(p, n, (unsigned)i);
        assert_int_equal(block_file_write(f, i, p, n), 0);
        block_file_add(f, i);
        free(p);
}

static void damage(const char *file, off_t at) {
        int fd = open(file, O_WRONLY | O_CLOEXEC);
        assert_int_equal(pwrite(fd, "damage", 6, at), 6);
        close(fd);
}

static void test_blocks_come_in_any_order_and_outlive_a_kill(void **state) {
        struct block_file *f = NULL;
        assert_int_equal(block_file_open(path, &f, NULL), 0);
        assert_int_equal(block_file_length(f), -1);
        assert_int_equal(block_file_set_length(f, 3 * BLOCK_BYTES + 100, NULL), 0);
        assert_int_equal(block_file_count(f), 4);
        assert_int_equal(block_file_size(f, 3), 100);
        write_block(f, 3);
        write_block(f, 1);
        assert_int_equal(block_file_missing(f, 0), 0);
        assert_int_equal(block_file_missing(f, 1), 2);
        block_file_free(f); /* nothing is said to it before: as a kill would leave it */
        assert_int_equal(block_file_open(path, &f, NULL), 0);
        assert_int_equal(block_file_length(f), 3 * BLOCK_BYTES + 100);
        assert_false(block_file_has(f, 0));
        assert_true(block_file_has(f, 1) && block_file_has(f, 3));
        assert_int_equal(block_file_bytes(f), BLOCK_BYTES + 100);
        assert_false(block_file_is_checked(f, 1));
        assert_int_equal(block_file_check(f, 1), 0);
        damage(path, BLOCK_BYTES + 7);
        assert_int_equal(block_file_check(f, 1), -EBADMSG);
        assert_int_equal(block_file_drop(f, 1), 0);
        assert_int_equal(block_file_bytes(f), 100);
        block_file_free(f);
        assert_int_equal(block_file_open(path, &f, NULL), 0);
        assert_false(block_file_has(f, 1));
        block_file_free(f);
}

static void test_what_fits_no_more_is_begun_anew(void **state) {
        struct block_file *f = NULL;
        assert_int_equal(block_file_open(path, &f, NULL), 0);
        assert_int_equal(block_file_set_length(f, BLOCK_BYTES, NULL), 0);
        write_block(f, 0);
        assert_int_equal(block_file_set_length(f, BLOCK_BYTES, NULL), 0);
        assert_true(block_file_has(f, 0));
        assert_int_equal(block_file_set_length(f, 2 * BLOCK_BYTES, NULL), 0);
        assert_false(block_file_has(f, 0));
        assert_int_equal(block_file_set_length(f, BLOCK_FILE_MAX + 1, NULL), -EFBIG);
        assert_int_equal(block_file_write(f, 7, "x", 1), -EINVAL);
        assert_int_equal(block_file_write(f, 0, "x", 1), -EINVAL);
        block_file_free(f);
        /* A map of another file, cut short, or of nonsense. */
        for (int how = 0; how < 3; how++) {
                if (how == 0)
                        damage(map, 0);
                else if (how == 1)
                        assert_int_equal(truncate(map, 20), 0);
                else
                        assert_int_equal(truncate(path, 5), 0);
                assert_int_equal(block_file_open(path, &f, NULL), 0);
                assert_int_equal(block_file_length(f), -1);
                assert_int_equal(block_file_set_length(f, BLOCK_BYTES, NULL), 0);
                write_block(f, 0);
                block_file_free(f);
        }
        block_file_remove(path);
        assert_int_equal(access(path, F_OK), -1);
        assert_int_equal(access(map, F_OK), -1);
}

static void test_an_empty_file_has_no_blocks(void **state) {
        struct block_file *f = NULL;
        assert_int_equal(block_file_open(path, &f, NULL), 0);
        assert_int_equal(block_file_set_length(f, 0, NULL), 0);
        assert_int_equal(block_file_count(f), 0);
        assert_int_equal(block_file_missing(f, 0), 0);
        block_file_free(f);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_blocks_come_in_any_order_and_outlive_a_kill, make,
                                                clear),
                cmocka_unit_test_setup_teardown(test_what_fits_no_more_is_begun_anew, make, clear),
                cmocka_unit_test_setup_teardown(test_an_empty_file_has_no_blocks, make, clear),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
