/* SPDX-License-Identifier: Apache-2.0 */
/* One delta into a published folder, and what is in the way of it. */
#include "server/delta_job.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fs.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "repo/artifact.h"
#include "server/delta_process.h"
#include "server/memory.h"

#define OLD_PATH "artifacts/web/1/any"
#define NEW_PATH "artifacts/web/2/any"
#define SIZE ((size_t)100000)

struct folder {
        char path[64];
        char old[65], new[65];
};

static void put(const struct folder *f, const char *target, const char *data, size_t len, char digest[65]) {
        sha256_hex(data, len, digest);
        _cleanup_(x_freep) char *below = must(repository_target_file(target, digest)),
                                *path = must(path_join(f->path, below)), *parent = copy_text(path);
        *strrchr(parent, '/') = '\0';
        assert_int_equal(dir_make(parent, 0755, NULL), 0);
        assert_int_equal(file_write_atomic(path, data, len, 0644, NULL), 0);
}

static int setup(void **state) {
        struct folder *f = NEW(struct folder);
        _cleanup_(x_freep) char *data = new0(SIZE);
        strcpy(f->path, "/tmp/skerry-delta-XXXXXX");
        assert_non_null(mkdtemp(f->path));
        for (uint32_t i = 0, x = 1; i < SIZE; i++) { /* nothing that a compressor could make small */
                x = x * 1664525u + 1013904223u;
                data[i] = (char)(x >> 24);
        }
        put(f, OLD_PATH, data, SIZE, f->old);
        memcpy(data + SIZE / 2, "changed", 7);
        put(f, NEW_PATH, data, SIZE, f->new);
        *state = f;
        return 0;
}

static int teardown(void **state) {
        struct folder *f = *state;
        assert_int_equal(path_remove(f->path, NULL), 0);
        free(f);
        return 0;
}

static char *list_path(const struct folder *f) {
        _cleanup_(x_freep) char *below = must(repository_delta_list(f->new));
        return must(path_join(f->path, below));
}

static json_t *list_of(const struct folder *f) {
        _cleanup_(x_freep) char *path = list_path(f), *text = NULL;
        size_t len = 0;
        json_t *j = NULL;
        assert_int_equal(file_read(path, 1u << 20, &text, &len, NULL), 0);
        assert_int_equal(json_decode(text, len, &j, NULL), 0);
        return j;
}

static int run_by(const struct folder *f, const char *program, const atomic_bool *cancelled, int64_t *length,
                  struct err **err) {
        const struct delta_job job = {.folder = f->path,
                                      .from_path = OLD_PATH,
                                      .from_sha256 = f->old,
                                      .to_path = NEW_PATH,
                                      .to_sha256 = f->new,
                                      .cancelled = cancelled,
                                      .program = program};
        return delta_job_run(&job, length, err);
}

static int run(const struct folder *f, const atomic_bool *cancelled, int64_t *length, struct err **err) {
        return run_by(f, NULL, cancelled, length, err);
}

static void a_delta_is_made_and_listed(void **state) {
        const struct folder *f = *state;
        _cleanup_(err_freep) struct err *err = NULL;
        int64_t length = 0;
        assert_false(delta_job_is_done(f->path, f->old, f->new));
        if (run(f, NULL, &length, &err) < 0)
                fail_msg("%s", err_message(err));
        assert_true(length > 0 && length < (int64_t)SIZE / 10);
        assert_true(delta_job_is_done(f->path, f->old, f->new));
        assert_false(delta_job_is_done(f->path, f->new, f->old));
        json_t *j = list_of(f), *one = json_array_get(json_object_get(j, "deltas"), 0);
        assert_string_equal(json_string_value(json_object_get(j, "target")), f->new);
        assert_int_equal(json_array_size(json_object_get(j, "deltas")), 1);
        assert_string_equal(json_string_value(json_object_get(one, "from")), f->old);
        assert_int_equal(json_integer_value(json_object_get(one, "length")), length);
        /* What it says is what lies there. */
        _cleanup_(x_freep) char *below = must(repository_delta(f->new, f->old)),
                                *path = must(path_join(f->path, below)), *text = NULL;
        size_t len = 0;
        char digest[65];
        assert_int_equal(file_read(path, 1u << 20, &text, &len, NULL), 0);
        sha256_hex(text, len, digest);
        assert_int_equal(len, length);
        assert_string_equal(json_string_value(json_object_get(one, "sha256")), digest);
        json_decref(j);
        /* Listed, and the file is gone: not done; made again it is listed once. */
        assert_int_equal(unlink(path), 0);
        assert_false(delta_job_is_done(f->path, f->old, f->new));
        assert_int_equal(run(f, NULL, &length, NULL), 0);
        j = list_of(f);
        assert_int_equal(json_array_size(json_object_get(j, "deltas")), 1);
        json_decref(j);
}

/* The server's unit has the umask 0077, and another user serves the folder. */
static void what_is_made_can_be_served_by_another_user(void **state) {
        const struct folder *f = *state;
        int64_t length = 0;
        _cleanup_(x_freep) char *below = must(repository_delta(f->new, f->old)),
                                *path = must(path_join(f->path, below));
        struct stat st;
        mode_t before = umask(0077);
        int r = run(f, NULL, &length, NULL);
        (void)umask(before);
        assert_int_equal(r, 0);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0644);
        for (int i = 0; i < 3; i++) {
                *strrchr(path, '/') = '\0';
                assert_int_equal(stat(path, &st), 0);
                assert_int_equal(st.st_mode & 07777, 0755);
        }
        assert_true(str_has_suffix(path, "/deltas"));
}

static void a_list_of_others_is_kept_and_a_damaged_one_replaced(void **state) {
        const struct folder *f = *state;
        int64_t length = 0;
        _cleanup_(x_freep) char *path = list_path(f), *parent = copy_text(path);
        *strrchr(parent, '/') = '\0';
        assert_int_equal(dir_make(parent, 0755, NULL), 0);
        _cleanup_(x_freep) char *others = must(str_format(
                "{\"target\":\"%s\",\"deltas\":[{\"from\":\"%s\",\"length\":7,\"sha256\":\"%s\"}]}", f->new,
                f->new, f->old));
        assert_int_equal(file_write_atomic(path, others, strlen(others), 0644, NULL), 0);
        assert_int_equal(run(f, NULL, &length, NULL), 0);
        json_t *j = list_of(f);
        assert_int_equal(json_array_size(json_object_get(j, "deltas")), 2);
        json_decref(j);
        static const char *const damaged[] = {"", "[", "[]", "{\"target\":\"x\",\"deltas\":[]}",
                                              "{\"deltas\":7}"};
        for (size_t i = 0; i < ARRAY_SIZE(damaged); i++) {
                assert_int_equal(file_write_atomic(path, damaged[i], strlen(damaged[i]), 0644, NULL), 0);
                assert_false(delta_job_is_done(f->path, f->old, f->new));
                assert_int_equal(run(f, NULL, &length, NULL), 0);
                j = list_of(f);
                assert_int_equal(json_array_size(json_object_get(j, "deltas")), 1);
                json_decref(j);
        }
}

static void what_fails_leaves_nothing(void **state) {
        struct folder *f = *state;
        _cleanup_(err_freep) struct err *err = NULL, *other = NULL;
        _cleanup_(x_freep) char *list = list_path(f);
        atomic_bool cancelled = true;
        int64_t length = -1;
        assert_int_equal(run(f, &cancelled, &length, &err), -ECANCELED);
        assert_int_equal(length, -1);
        assert_int_not_equal(access(list, F_OK), 0);
        memset(f->old, 'a', 64); /* a seed that is not there */
        assert_int_equal(run(f, NULL, &length, &other), -ENOENT);
        assert_non_null(strstr(err_message(other), "targets/artifacts/web/1/"));
        assert_int_not_equal(access(list, F_OK), 0);
}

static void assert_nothing_is_left(const struct folder *f) {
        _cleanup_(x_freep) char *list = list_path(f), *below = must(repository_delta(f->new, f->old)),
                                *path = must(path_join(f->path, below)),
                                *temporary = must(str_format("%s.server.new", path));
        assert_int_not_equal(access(list, F_OK), 0);
        assert_int_not_equal(access(path, F_OK), 0);
        assert_int_not_equal(access(temporary, F_OK), 0);
}

static char *script(const struct folder *f, const char *body) {
        char *path = must(path_join(f->path, "script"));
        _cleanup_(x_freep) char *text = must(str_format("#!/bin/sh\n%s\n", body));
        assert_int_equal(file_write_atomic(path, text, strlen(text), 0755, NULL), 0);
        return path;
}

/* A file that is cut off while it is read, no memory left: the process dies, and its caller says why. */
static void a_process_that_dies_is_an_error(void **state) {
        const struct folder *f = *state;
        int64_t length = -1;
        static const struct {
                const char *body, *words;
                int error;
        } cases[] = {
                {"kill -BUS $$", "cut off", EIO},
                {"kill -KILL $$", "signal 9", EIO},
                {"echo too much >&2; exit 12", "too much", ENOMEM},
                {"exit 22", "Invalid argument", EINVAL},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(err_freep) struct err *err = NULL;
                _cleanup_(x_freep) char *program = script(f, cases[i].body);
                assert_int_equal(run_by(f, program, NULL, &length, &err), -cases[i].error);
                assert_non_null(strstr(err_message(err), cases[i].words));
                assert_nothing_is_left(f);
        }
        assert_int_equal(length, -1);
}

static void a_process_that_hangs_is_cancelled(void **state) {
        const struct folder *f = *state;
        int64_t length = -1;
        const atomic_bool cancelled = true;
        _cleanup_(x_freep) char *program = script(f, "exec sleep 1000");
        assert_int_equal(run_by(f, program, &cancelled, &length, NULL), -ECANCELED);
        assert_nothing_is_left(f);
}

static void a_file_that_is_not_what_its_name_says_is_refused(void **state) {
        const struct folder *f = *state;
        _cleanup_(err_freep) struct err *err = NULL;
        int64_t length = -1;
        _cleanup_(x_freep) char *below = must(repository_target_file(NEW_PATH, f->new)),
                                *path = must(path_join(f->path, below));
        assert_int_equal(truncate(path, SIZE / 2), 0);
        assert_int_equal(run(f, NULL, &length, &err), -EBADMSG);
        assert_non_null(strstr(err_message(err), NEW_PATH " is not the file that its name says"));
        assert_nothing_is_left(f);
}

int main(int argc, char **argv) {
        if (argc == 2 && str_eq(argv[1], DELTA_PROCESS_COMMAND))
                return delta_process_child();
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(a_delta_is_made_and_listed, setup, teardown),
                cmocka_unit_test_setup_teardown(what_is_made_can_be_served_by_another_user, setup, teardown),
                cmocka_unit_test_setup_teardown(a_list_of_others_is_kept_and_a_damaged_one_replaced, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(what_fails_leaves_nothing, setup, teardown),
                cmocka_unit_test_setup_teardown(a_process_that_dies_is_an_error, setup, teardown),
                cmocka_unit_test_setup_teardown(a_process_that_hangs_is_cancelled, setup, teardown),
                cmocka_unit_test_setup_teardown(a_file_that_is_not_what_its_name_says_is_refused, setup,
                                                teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
