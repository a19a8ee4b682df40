/* SPDX-License-Identifier: Apache-2.0 */
/* Deltas end to end: made, applied, killed, resumed, refused. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <zlib.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/str.h"
#include "crypto/digest.h"
#include "repo/delta/apply.h"
#include "repo/delta/make.h"

static char *folder;
static uint8_t *big_new; /* of big_pair() */

static int make_folder(void **state) {
        char path[] = "/tmp/skerry-test-delta-XXXXXX";
        if (!mkdtemp(path))
                return -1;
        folder = strdup(path);
        return folder ? 0 : -1;
}

static int remove_folder(void **state) {
        int r = path_remove(folder, NULL);
        free(folder);
        free(big_new);
        return r;
}

/* ---- Bytes */

static uint64_t chance_state;
static uint64_t chance(void) {
        chance_state ^= chance_state << 13;
        chance_state ^= chance_state >> 7;
        chance_state ^= chance_state << 17;
        return chance_state;
}

static void fill_text(uint8_t *p, size_t n) {
        static const char *const words[] = {"harbour ",  "skerry ",     "lamp\n",
                                            "tide=12; ", "return 0;\n", "the "};
        for (size_t at = 0; at < n;) {
                const char *word = words[chance() % ARRAY_SIZE(words)];
                for (; *word && at < n; word++)
                        p[at++] = (uint8_t)*word;
        }
}

static void fill_random(uint8_t *p, size_t n) {
        for (size_t i = 0; i < n; i++)
                p[i] = (uint8_t)chance();
}

/* A file like those of images: text, noise, zeros. */
static uint8_t *make_seed(size_t n) {
        uint8_t *p = calloc(1, n + 1);
        assert_non_null(p);
        for (size_t at = 0; at < n;) {
                size_t k = chance() % 30000 + 1;
                k = MIN(n - at, k);
                if (chance() % 4 == 0)
                        fill_random(p + at, k);
                else if (chance() % 4 != 0)
                        fill_text(p + at, k);
                at += k;
        }
        return p;
}

/* Copies pieces of the seed about, changes bytes in them, and puts new bytes between them. */
static uint8_t *make_target(const uint8_t *seed, size_t n_seed, size_t n) {
        uint8_t *p = calloc(1, n + 1);
        assert_non_null(p);
        for (size_t at = 0; at < n;) {
                size_t k = chance() % 60000 + 1;
                k = MIN(n - at, k);
                switch (chance() % 6) {
                case 0: fill_text(p + at, k = MIN(k, (size_t)700)); break;
                case 1: fill_random(p + at, k = MIN(k, (size_t)500)); break;
                case 2: break;
                default: {
                        k = MIN(k, n_seed);
                        memcpy(p + at, seed + (n_seed > k ? chance() % (n_seed - k) : 0), k);
                        for (size_t i = chance() % 20; i > 0 && k > 0; i--)
                                p[at + chance() % k] = (uint8_t)chance();
                }
                }
                at += k;
        }
        return p;
}

/* ---- Files */

static char *path_of(const char *name) {
        char *path = path_join(folder, name);
        assert_non_null(path);
        return path;
}

static void remove_file(const char *name) {
        _cleanup_(x_freep) char *path = path_of(name);
        (void)unlink(path);
}

static void write_file(const char *name, const uint8_t *p, size_t n) {
        _cleanup_(x_freep) char *path = path_of(name);
        (void)unlink(path); /* it may be linked with another */
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        for (size_t done = 0; done < n;) {
                ssize_t k = write(fd, p + done, n - done);
                assert_true(k > 0);
                done += (size_t)k;
        }
        close(fd);
}

static int open_file(const char *name, int flags) {
        _cleanup_(x_freep) char *path = path_of(name);
        return open(path, flags | O_CLOEXEC, 0600);
}

static void read_file(const char *name, char **ret, size_t *ret_n) {
        _cleanup_(x_freep) char *path = path_of(name);
        assert_int_equal(file_read(path, 1u << 30, ret, ret_n, NULL), 0);
}

static int make_files(struct delta_report *report, struct err **err) {
        _cleanup_(x_closep) int old = open_file("old", O_RDONLY);
        _cleanup_(x_closep) int new = open_file("new", O_RDONLY);
        remove_file("delta");
        _cleanup_(x_closep) int delta = open_file("delta", O_RDWR | O_CREAT | O_TRUNC);
        const struct delta_make_options o = {
                .seed_fd = old, .target_fd = new, .delta_fd = delta, .threads = 2};
        return delta_make(&o, report, err);
}

static int apply_with(const char *seed, const char *delta_name, const char *out, bool with_journal,
                      const atomic_bool *cancel, struct err **err) {
        _cleanup_(x_closep) int old = open_file(seed, O_RDONLY);
        _cleanup_(x_closep) int delta = open_file(delta_name, O_RDONLY);
        _cleanup_(x_closep) int target = open_file(out, O_RDWR | O_CREAT);
        _cleanup_(x_freep) char *journal = path_of("journal");
        struct delta_header header;
        int r = delta_read_header(delta, &header, err);
        if (r < 0)
                return r;
        const struct delta_apply_options o = {.seed_fd = old,
                                              .delta_fd = delta,
                                              .target_fd = target,
                                              .journal = with_journal ? journal : NULL,
                                              .target_length = header.target_length,
                                              .target_sha256 = header.target_sha256,
                                              .cancel = cancel};
        return delta_apply(&o, err);
}

static int apply_files(const char *seed, bool with_journal, struct err **err) {
        return apply_with(seed, "delta", "out", with_journal, NULL, err);
}

static bool exists(const char *name) {
        _cleanup_(x_freep) char *path = path_of(name);
        return access(path, F_OK) == 0;
}

static void assert_made(const uint8_t *want, size_t n) {
        _cleanup_(x_freep) char *got = NULL;
        size_t n_got = 0;
        read_file("out", &got, &n_got);
        assert_int_equal(n_got, n);
        assert_memory_equal(got, want, n);
}

static int64_t delta_length(void) {
        struct stat st;
        _cleanup_(x_freep) char *path = path_of("delta");
        assert_int_equal(stat(path, &st), 0);
        return st.st_size;
}

static void make_and_apply(const uint8_t *old, size_t n_old, const uint8_t *new, size_t n_new) {
        _cleanup_(err_freep) struct err *err = NULL;
        write_file("old", old, n_old);
        write_file("new", new, n_new);
        remove_file("out");
        if (make_files(NULL, &err) < 0)
                fail_msg("%s", err_message(err));
        if (apply_files("old", true, &err) < 0)
                fail_msg("%s", err_message(err));
        assert_made(new, n_new);
        assert_false(exists("journal"));
}

/* ---- Tests */

static void test_any_two_files(void **state) {
        static const size_t lengths[] = {0, 1, 511, 4096, 70000, 500000};
        for (size_t i = 0; i < ARRAY_SIZE(lengths); i++)
                for (size_t k = 0; k < ARRAY_SIZE(lengths); k++) {
                        chance_state = 17 * i + k + 1;
                        _cleanup_(x_freep) uint8_t *old = make_seed(lengths[i]);
                        _cleanup_(x_freep) uint8_t *new = make_target(old, lengths[i], lengths[k]);
                        make_and_apply(old, lengths[i], new, lengths[k]);
                }
}

static void test_a_small_change_is_small(void **state) {
        chance_state = 99;
        size_t n = 3000000;
        _cleanup_(x_freep) uint8_t *old = make_seed(n);
        _cleanup_(x_freep) uint8_t *new = malloc(n);
        assert_non_null(new);
        memcpy(new, old, n);
        memcpy(new + 1234567, "eleven byte", 11);
        make_and_apply(old, n, new, n);
        assert_true(delta_length() < 420);
}

static void test_random_bytes_cost_themselves(void **state) {
        chance_state = 5;
        size_t n = 1000000;
        _cleanup_(x_freep) uint8_t *old = make_seed(100);
        _cleanup_(x_freep) uint8_t *new = malloc(n);
        assert_non_null(new);
        fill_random(new, n);
        make_and_apply(old, 100, new, n);
        assert_true(delta_length() < (int64_t)n + 500);
}

static void test_zeros_leave_holes(void **state) {
        chance_state = 5;
        size_t n = (size_t)24 << 20;
        _cleanup_(x_freep) uint8_t *old = make_seed(5000);
        _cleanup_(x_freep) uint8_t *new = calloc(1, n);
        assert_non_null(new);
        memcpy(new, old, 5000);
        memcpy(new + n - 5000, old, 5000);
        make_and_apply(old, 5000, new, n);
        struct stat st;
        _cleanup_(x_freep) char *path = path_of("out");
        assert_int_equal(stat(path, &st), 0);
        assert_true(st.st_blocks * 512 < (int64_t)n / 2);
}

/* As gzip members are made by zlib; deflate's streams of both files are told by their plain bytes. */
static uint8_t *gzip_of(uint8_t *plain, size_t n, size_t *ret_n) {
        z_stream z = {0};
        assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
        size_t room = deflateBound(&z, n);
        uint8_t *p = malloc(room);
        assert_non_null(p);
        z.next_in = plain;
        z.avail_in = (unsigned)n;
        z.next_out = p;
        z.avail_out = (unsigned)room;
        assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
        *ret_n = z.total_out;
        deflateEnd(&z);
        return p;
}

static void test_gzip_is_packed_again(void **state) {
        static const size_t lengths[] = {20000, 300000, 3000000}; /* packed ahead, and not */
        for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
                chance_state = 12 + i;
                size_t n = lengths[i], n_old = 0, n_new = 0;
                _cleanup_(x_freep) uint8_t *plain = malloc(n);
                assert_non_null(plain);
                fill_text(plain, n);
                _cleanup_(x_freep) uint8_t *old = gzip_of(plain, n, &n_old);
                memcpy(plain + n / 3, "a new line\n", 11);
                _cleanup_(x_freep) uint8_t *new = gzip_of(plain, n, &n_new);
                make_and_apply(old, n_old, new, n_new);
                assert_true(delta_length() < 500);
        }
}

static void test_report_says_where_bytes_go(void **state) {
        chance_state = 21;
        _cleanup_(x_freep) uint8_t *old = make_seed(400000);
        _cleanup_(x_freep) uint8_t *new = make_target(old, 400000, 500000);
        _cleanup_(x_freep) struct delta_report *report = calloc(1, sizeof(*report));
        write_file("old", old, 400000);
        write_file("new", new, 500000);
        assert_int_equal(make_files(report, NULL), 0);
        int64_t sum = 0;
        for (size_t i = 0; i < report->n; i++)
                sum += report->rows[i].delta_bytes;
        assert_int_equal(report->length, delta_length());
        assert_true(sum <= report->length && sum + 400 >= report->length);
}

/* Two 9 MB files, made once: their delta spans several windows of the journal. */
#define BIG ((size_t)9 << 20)

static void big_pair(uint8_t **ret_new, size_t *ret_n) {
        if (!big_new) {
                chance_state = 4711;
                _cleanup_(x_freep) uint8_t *old = make_seed(BIG);
                big_new = malloc(BIG);
                assert_non_null(big_new);
                memcpy(big_new, old + 1000, BIG - 1000);
                memcpy(big_new + BIG - 1000, old, 1000);
                for (size_t i = 0; i < 3000; i++)
                        big_new[chance() % BIG] ^= 1;
                fill_text(big_new + 5000000, 20000);
                write_file("big-old", old, BIG);
                write_file("big-new", big_new, BIG);
        }
        _cleanup_(x_freep) char *old_path = path_of("big-old");
        _cleanup_(x_freep) char *new_path = path_of("big-new");
        _cleanup_(x_freep) char *delta_path = path_of("big-delta");
        _cleanup_(x_freep) char *old = path_of("old");
        _cleanup_(x_freep) char *new = path_of("new");
        _cleanup_(x_freep) char *delta = path_of("delta");
        const char *const names[][2] = {{old_path, old}, {new_path, new}, {delta_path, delta}};
        bool is_made = access(delta_path, F_OK) == 0;
        for (size_t i = 0; i < (is_made ? 3u : 2u); i++) {
                (void)unlink(names[i][1]);
                assert_int_equal(link(names[i][0], names[i][1]), 0);
        }
        if (!is_made) {
                assert_int_equal(make_files(NULL, NULL), 0);
                assert_int_equal(link(delta, delta_path), 0);
        }
        *ret_new = big_new;
        *ret_n = BIG;
}

/* Ends the process when so much was done. */
struct killer {
        int64_t at;
};
static void kill_at(void *arg, int64_t done, int64_t total) {
        const struct killer *k = arg;
        if (done >= k->at)
                raise(SIGKILL);
}

static void apply_and_die(int64_t at) {
        struct killer killer = {at};
        int old = open_file("old", O_RDONLY), delta = open_file("delta", O_RDONLY),
            target = open_file("out", O_RDWR | O_CREAT);
        struct delta_header header;
        char *journal = path_of("journal");
        if (delta_read_header(delta, &header, NULL) < 0)
                _exit(2);
        const struct delta_apply_options o = {.seed_fd = old,
                                              .delta_fd = delta,
                                              .target_fd = target,
                                              .journal = journal,
                                              .target_length = header.target_length,
                                              .target_sha256 = header.target_sha256,
                                              .progress = kill_at,
                                              .progress_arg = &killer};
        _exit(delta_apply(&o, NULL) < 0 ? 3 : 0);
}

static void test_killed_anywhere_goes_on(void **state) {
        uint8_t *new = NULL;
        size_t n = 0;
        big_pair(&new, &n);
        for (uint64_t seed = 1; seed <= 4; seed++) {
                chance_state = seed * 7919;
                remove_file("out");
                remove_file("journal");
                for (int kills = 0; kills < 3; kills++) {
                        int64_t at = (int64_t)(chance() % n);
                        pid_t child = fork();
                        assert_true(child >= 0);
                        if (child == 0)
                                apply_and_die(at);
                        int status = 0;
                        assert_int_equal(waitpid(child, &status, 0), child);
                        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
                        if (kills == 1 && exists("out")) {
                                /* power was lost: what had been written last is not all there */
                                _cleanup_(x_freep) char *path = path_of("out");
                                _cleanup_(x_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);
                                assert_true(fd >= 0);
                                assert_int_equal(pwrite(fd, "torn", 4, (off_t)(chance() % n)), 4);
                        }
                }
                _cleanup_(err_freep) struct err *err = NULL;
                if (apply_files("old", true, &err) < 0)
                        fail_msg("seed %llu: %s", (unsigned long long)seed, err_message(err));
                assert_made(new, n);
                assert_false(exists("journal"));
        }
}

static void test_canceled_and_resumed(void **state) {
        uint8_t *new = NULL;
        size_t n = 0;
        big_pair(&new, &n);
        remove_file("out");
        atomic_bool cancel = true;
        _cleanup_(err_freep) struct err *err = NULL;
        assert_int_equal(apply_with("old", "delta", "out", true, &cancel, &err), -ECANCELED);
        assert_true(exists("journal"));
        assert_int_equal(apply_files("old", true, NULL), 0);
        assert_made(new, n);
}

static void test_wrong_seed_is_named(void **state) {
        chance_state = 3;
        _cleanup_(x_freep) uint8_t *old = make_seed(300000);
        _cleanup_(x_freep) uint8_t *new = make_target(old, 300000, 310000);
        make_and_apply(old, 300000, new, 310000);
        remove_file("out");
        for (size_t i = 0; i < 300000; i += 50)
                old[i] ^= 1;
        write_file("other", old, 300000);
        _cleanup_(err_freep) struct err *err = NULL;
        assert_int_equal(apply_files("other", true, &err), -EBADMSG);
        assert_true(strstr(err_message(err), "not the one") || strstr(err_message(err), "damaged"));
        assert_false(exists("journal"));

        write_file("other", old, 299999);
        _cleanup_(err_freep) struct err *shorter = NULL;
        assert_int_equal(apply_files("other", true, &shorter), -EBADMSG);
        assert_non_null(strstr(err_message(shorter), "299999"));
}

static void test_damaged_delta_is_refused(void **state) {
        chance_state = 8;
        _cleanup_(x_freep) uint8_t *old = make_seed(90000);
        _cleanup_(x_freep) uint8_t *new = make_target(old, 90000, 80000);
        make_and_apply(old, 90000, new, 80000);
        _cleanup_(x_freep) char *delta = NULL;
        size_t n = 0;
        read_file("delta", &delta, &n);
        for (int i = 0; i < 60; i++) {
                _cleanup_(x_freep) uint8_t *bad = malloc(n);
                assert_non_null(bad);
                memcpy(bad, delta, n);
                size_t at = chance() % n, k = n;
                if (i % 3 == 0)
                        k = at; /* cut short */
                else
                        bad[at] ^= (uint8_t)(1u << chance() % 8);
                write_file("bad", bad, k);
                remove_file("out");
                int r = apply_with("old", "bad", "out", true, NULL, NULL);
                /* The last byte or two may not matter to what is decoded; then the target is right. */
                assert_true(r == -EBADMSG || (r == 0 && i % 3 != 0));
                if (r == 0)
                        assert_made(new, 80000);
                assert_false(exists("journal"));
        }
}

static void test_full_disk_goes_on_later(void **state) {
        uint8_t *new = NULL;
        size_t n = 0;
        big_pair(&new, &n);
        remove_file("out");
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
                /* A limit on the size of files stands for a full disk: EFBIG where that would say ENOSPC. */
                signal(SIGXFSZ, SIG_IGN);
                struct rlimit limit = {6u << 20, 6u << 20};
                int target = open_file("out", O_RDWR | O_CREAT);
                if (target < 0 || ftruncate(target, (off_t)n) < 0 || setrlimit(RLIMIT_FSIZE, &limit) < 0)
                        _exit(2);
                int r = apply_files("old", true, NULL);
                _exit(r == -EFBIG ? 0 : 3);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        assert_int_equal(apply_files("old", true, NULL), 0);
        assert_made(new, n);
}

static void test_header_is_read_alone(void **state) {
        struct delta_header header;
        chance_state = 6;
        _cleanup_(x_freep) uint8_t *old = make_seed(1000);
        char hex[SHA256_HEX_SIZE];
        make_and_apply(old, 1000, old, 900);
        _cleanup_(x_closep) int fd = open_file("delta", O_RDONLY);
        assert_int_equal(delta_read_header(fd, &header, NULL), 0);
        assert_int_equal(header.seed_length, 1000);
        assert_int_equal(header.target_length, 900);
        sha256_hex(old, 1000, hex);
        assert_string_equal(header.seed_sha256, hex);
        sha256_hex(old, 900, hex);
        assert_string_equal(header.target_sha256, hex);
        _cleanup_(x_closep) int other = open_file("old", O_RDONLY);
        assert_int_equal(delta_read_header(other, &header, NULL), -EBADMSG);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_any_two_files),
                cmocka_unit_test(test_a_small_change_is_small),
                cmocka_unit_test(test_random_bytes_cost_themselves),
                cmocka_unit_test(test_zeros_leave_holes),
                cmocka_unit_test(test_gzip_is_packed_again),
                cmocka_unit_test(test_report_says_where_bytes_go),
                cmocka_unit_test(test_killed_anywhere_goes_on),
                cmocka_unit_test(test_canceled_and_resumed),
                cmocka_unit_test(test_wrong_seed_is_named),
                cmocka_unit_test(test_damaged_delta_is_refused),
                cmocka_unit_test(test_full_disk_goes_on_later),
                cmocka_unit_test(test_header_is_read_alone),
        };
        return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
