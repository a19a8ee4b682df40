/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kept_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "codec/json.h"
#include "fixture.h"

struct place {
        struct fixture *f;
        char path[128], spare[136];
};

static int setup(void **state) {
        struct place *p = calloc(1, sizeof(*p));
        void *f;
        if (fixture_setup(&f) < 0)
                return -1;
        p->f = f;
        (void)snprintf(p->path, sizeof(p->path), "%s/state.json", p->f->folder);
        (void)snprintf(p->spare, sizeof(p->spare), "%s.spare", p->path);
        *state = p;
        return 0;
}

static int teardown(void **state) {
        struct place *p = *state;
        void *f = p->f;
        free(p);
        return fixture_teardown(&f);
}

static void write_number(struct place *p, int64_t n) {
        _cleanup_json_ json_t *j = json_pack("{s:i, s:I}", "format", 1, "number", (json_int_t)n);
        assert_int_equal(kept_state_write(p->path, j, NULL), 0);
}

/* The number, or the error. */
static int64_t read_number(struct place *p, unsigned *ret_damaged) {
        _cleanup_json_ json_t *j = NULL;
        int r = kept_state_read(p->path, &j, ret_damaged, NULL);
        return r < 0 ? r : json_integer_value(json_object_get(j, "number"));
}

static char *content(const char *path, size_t *ret_len) {
        char *text = NULL;
        assert_int_equal(file_read(path, 1 << 20, &text, ret_len, NULL), 0);
        return text;
}

static void put(const char *path, const void *data, size_t len) {
        /* Thousands of them: none waits for the disk. */
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, data, len), (ssize_t)len);
        (void)close(fd);
}

static void test_none_is_not_damaged(void **state) {
        unsigned damaged = 9;
        assert_int_equal(read_number(*state, &damaged), -ENOENT);
}

static void test_what_was_written_is_read(void **state) {
        struct place *p = *state;
        unsigned damaged = 9;
        for (int64_t n = 1; n < 5; n++) {
                write_number(p, n * 1000);
                assert_int_equal(read_number(p, &damaged), n * 1000);
                assert_int_equal(damaged, 0);
        }
}

/* Every bit of either copy, alone. */
static void test_any_flipped_bit_costs_nothing(void **state) {
        struct place *p = *state;
        write_number(p, 41);
        write_number(p, 42);
        for (int which = 0; which < 2; which++) {
                const char *path = which ? p->spare : p->path;
                size_t len;
                _cleanup_(x_freep) char *right = content(path, &len);
                for (size_t i = 0; i < len * 8; i++) {
                        unsigned damaged = 9;
                        right[i / 8] ^= (char)(1 << (i % 8));
                        put(path, right, len);
                        assert_int_equal(read_number(p, &damaged), 42);
                        assert_int_equal(damaged, 1);
                        right[i / 8] ^= (char)(1 << (i % 8));
                }
                put(path, right, len);
        }
}

static void test_both_damaged_is_said(void **state) {
        struct place *p = *state;
        unsigned damaged = 9;
        write_number(p, 42);
        put(p->path, "{\"saved\":", 9);
        put(p->spare, "", 0);
        assert_int_equal(read_number(p, &damaged), -EBADMSG);
        assert_int_equal(damaged, 2);
        /* One gone and one damaged is no new beginning either. */
        assert_int_equal(unlink(p->spare), 0);
        assert_int_equal(read_number(p, &damaged), -EBADMSG);
        write_number(p, 43);
        assert_int_equal(read_number(p, &damaged), 43);
        assert_int_equal(damaged, 0);
}

/* Power goes between the two: the newer one counts, and numbers go on from it. */
static void test_power_cut_between_the_copies(void **state) {
        struct place *p = *state;
        unsigned damaged = 9;
        size_t len;
        write_number(p, 1);
        _cleanup_(x_freep) char *old = content(p->path, &len);
        write_number(p, 2);
        put(p->path, old, len);
        assert_int_equal(read_number(p, &damaged), 2);
        assert_int_equal(damaged, 0);
        write_number(p, 3);
        assert_int_equal(read_number(p, &damaged), 3);
        assert_int_equal(unlink(p->path), 0);
        assert_int_equal(read_number(p, &damaged), 3);
        assert_int_equal(damaged, 1);
}

static void test_file_from_before_there_were_spares(void **state) {
        struct place *p = *state;
        unsigned damaged = 9;
        static const char text[] = "{\"format\":1,\"number\":7}";
        put(p->path, text, sizeof(text) - 1);
        assert_int_equal(read_number(p, &damaged), 7);
        assert_int_equal(damaged, 0);
        write_number(p, 8);
        /* From then on it is not taken any more. */
        put(p->path, text, sizeof(text) - 1);
        assert_int_equal(read_number(p, &damaged), 8);
        assert_int_equal(damaged, 1);
}

static void test_folder_that_is_gone_is_an_error(void **state) {
        struct place *p = *state;
        _cleanup_json_ json_t *j = json_object();
        _cleanup_(err_freep) struct err *err = NULL;
        (void)snprintf(p->path, sizeof(p->path), "%s/none/state.json", p->f->folder);
        assert_true(kept_state_write(p->path, j, &err) < 0);
        assert_non_null(strstr(err_message(err), "none/state.json"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_none_is_not_damaged),
                TEST(test_what_was_written_is_read),
                TEST(test_any_flipped_bit_costs_nothing),
                TEST(test_both_damaged_is_said),
                TEST(test_power_cut_between_the_copies),
                TEST(test_file_from_before_there_were_spares),
                TEST(test_folder_that_is_gone_is_an_error),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
