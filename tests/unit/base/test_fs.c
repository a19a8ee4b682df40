/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../kernel.h"
#include "base/buf.h"
#include "base/fs.h"
#include "base/str.h"

struct place {
        char *dir; /* a folder of our own */
        char *root, *outside;
        struct root_dir *r;
};

static char *in(const char *dir, const char *name) {
        char *path = path_join(dir, name);
        assert_non_null(path);
        return path;
}

static int setup(void **state) {
        struct place *p = calloc(1, sizeof(*p));
        const char *base = getenv("TMPDIR");
        p->dir = str_format("%s/skerry-fs-XXXXXX", base ? base : "/tmp");
        if (!p->dir || !mkdtemp(p->dir))
                return -1;
        p->root = in(p->dir, "root");
        p->outside = in(p->dir, "outside");
        if (mkdir(p->root, 0755) < 0 || mkdir(p->outside, 0755) < 0 ||
            root_dir_open(p->root, &p->r, NULL) < 0)
                return -1;
        *state = p;
        return 0;
}

static int teardown(void **state) {
        struct place *p = *state;
        root_dir_free(p->r);
        int r = path_remove(p->dir, NULL);
        free(p->dir);
        free(p->root);
        free(p->outside);
        free(p);
        return r;
}

static void put(const char *dir, const char *name, const char *text) {
        _cleanup_(x_freep) char *path = in(dir, name);
        assert_int_equal(file_write_atomic(path, text, strlen(text), 0644, NULL), 0);
}

static void assert_content(const char *dir, const char *name, const char *text) {
        _cleanup_(x_freep) char *path = in(dir, name), *data = NULL;
        size_t len = 0;
        assert_int_equal(file_read(path, 1000, &data, &len, NULL), 0);
        assert_int_equal(len, strlen(text));
        assert_string_equal(data, text);
}

static void link_to(const char *target, const char *dir, const char *name) {
        _cleanup_(x_freep) char *path = in(dir, name);
        assert_int_equal(symlink(target, path), 0);
}

static bool exists(const char *dir, const char *name) {
        _cleanup_(x_freep) char *path = in(dir, name);
        struct stat st;
        return lstat(path, &st) == 0;
}

static void test_read_limits(void **state) {
        struct place *p = *state;
        _cleanup_(x_freep) char *path = in(p->dir, "f"), *data = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        size_t len = 77;
        put(p->dir, "f", "12345");
        assert_int_equal(file_read(path, 4, &data, &len, &err), -EFBIG);
        assert_null(data);
        assert_int_equal(len, 77);
        assert_non_null(strstr(err_message(err), path));
        assert_int_equal(file_read(path, 5, &data, &len, NULL), 0);
        assert_int_equal(len, 5);
        err = err_free(err);
        assert_int_equal(file_read(p->dir, 10, &data, &len, &err), -EISDIR);
        x_freep(&data);
        data = NULL;
        /* Files of /proc have no size but do have contents. */
        assert_int_equal(file_read("/proc/self/stat", 1 << 16, &data, &len, NULL), 0);
        assert_true(len > 0);
}

static void test_read_does_not_wait_for_a_fifo(void **state) {
        struct place *p = *state;
        _cleanup_(x_freep) char *path = in(p->dir, "fifo"), *data = NULL;
        size_t len;
        assert_int_equal(mkfifo(path, 0600), 0);
        assert_int_equal(file_read(path, 10, &data, &len, NULL), -EINVAL);
}

static void test_atomic_write_replaces_and_leaves_nothing(void **state) {
        struct place *p = *state;
        _cleanup_(x_freep) char *path = in(p->root, "f");
        struct stat st;
        put(p->root, "f", "old");
        assert_int_equal(file_write_atomic(path, "new", 3, 0600, NULL), 0);
        assert_content(p->root, "f", "new");
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        /* Onto a folder it fails, and the temporary file is gone. */
        _cleanup_(x_freep) char *folder = in(p->root, "d");
        assert_int_equal(mkdir(folder, 0755), 0);
        _cleanup_(err_freep) struct err *err = NULL;
        assert_int_equal(file_write_atomic(folder, "x", 1, 0600, &err), -EISDIR);
        assert_non_null(strstr(err_message(err), folder));
        assert_int_equal(rmdir(folder), 0);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(rmdir(p->root), 0);
        assert_int_equal(mkdir(p->root, 0755), 0);
}

static void test_temporary_names_are_recognised(void **state) {
        assert_true(file_name_is_temporary(".config.ini.skerry-0badcafe"));
        assert_true(file_name_is_temporary(".a.skerry-x.skerry-01234567"));
        assert_false(file_name_is_temporary("config.ini.skerry-0badcafe"));
        assert_false(file_name_is_temporary(".config.ini.skerry-0badcaf"));
        assert_false(file_name_is_temporary(".config.ini.skerry-0badcafe.bak"));
        assert_false(file_name_is_temporary(".config.ini.skerry-0BADCAFE"));
        assert_false(file_name_is_temporary(".profile"));
        assert_false(file_name_is_temporary(""));
}

static void test_dir_make(void **state) {
        struct place *p = *state;
        _cleanup_(x_freep) char *deep = in(p->root, "a//b/c/"), *through = in(p->root, "f/x");
        assert_int_equal(dir_make(deep, 0755, NULL), 0);
        assert_int_equal(dir_make(deep, 0755, NULL), 0);
        assert_true(exists(p->root, "a/b/c"));
        put(p->root, "f", "a file");
        assert_int_equal(dir_make(through, 0755, NULL), -ENOTDIR);
        assert_int_equal(dir_make("", 0755, NULL), -EINVAL);
        assert_int_equal(dir_make("/", 0755, NULL), 0);
}

static void test_remove_never_follows_links(void **state) {
        struct place *p = *state;
        put(p->outside, "keep", "keep");
        _cleanup_(x_freep) char *tree = in(p->dir, "tree"), *sub = in(p->dir, "tree/sub");
        _cleanup_(x_freep) char *link = in(p->dir, "link/");
        assert_int_equal(dir_make(sub, 0755, NULL), 0);
        link_to(p->outside, sub, "out");
        put(sub, "f", "x");
        assert_int_equal(path_remove(tree, NULL), 0);
        assert_false(exists(p->dir, "tree"));
        /* A trailing slash must not turn the link into what it points at. */
        link_to(p->outside, p->dir, "link");
        assert_int_equal(path_remove(link, NULL), 0);
        assert_false(exists(p->dir, "link"));
        assert_content(p->outside, "keep", "keep");
        assert_int_equal(path_remove(link, NULL), 0); /* absent is fine */
        assert_int_equal(path_remove("", NULL), -EINVAL);
        assert_int_equal(path_remove("/", NULL), -EINVAL);
        assert_int_equal(path_remove("..", NULL), -EINVAL);
}

static void test_remove_deep_and_locked_folders(void **state) {
        struct place *p = *state;
        _cleanup_(x_freep) char *deep = in(p->dir, "deep"), *locked = in(p->dir, "deep/locked");
        assert_int_equal(dir_make(locked, 0755, NULL), 0);
        put(locked, "f", "x");
        assert_int_equal(chmod(locked, 0555), 0);
        /* Deeper than we keep folders open at once. */
        int at = open(deep, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (int i = 0; i < 1500; i++) {
                assert_int_equal(mkdirat(at, "d", 0755), 0);
                int next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                assert_true(next >= 0);
                close(at);
                at = next;
        }
        close(at);
        assert_int_equal(path_remove(deep, NULL), 0);
        assert_false(exists(p->dir, "deep"));
}

static void test_path_text(void **state) {
        static const char *const good[] = {"a", "a/b", ".a", "..a/b..", "a b/c"};
        static const char *const bad[] = {"",       "/a",  "a/",  "a//b", ".",    "..",
                                          "a/../b", "./a", "a/.", "a\nb", "a\x7f"};
        for (size_t i = 0; i < ARRAY_SIZE(good); i++)
                assert_true(path_is_beneath(good[i]));
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_false(path_is_beneath(bad[i]));
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        while (b.len < 4096)
                buf_putc(&b, 'a');
        assert_true(path_is_beneath(buf_str(&b)));
        buf_putc(&b, 'a');
        assert_false(path_is_beneath(buf_str(&b)));

        static const char *const joins[][3] = {{"a", "b", "a/b"},
                                               {"a/", "/b", "a/b"},
                                               {"/", "b", "/b"},
                                               {"", "b", "b"},
                                               {"a//", "b/c", "a/b/c"}};
        for (size_t i = 0; i < ARRAY_SIZE(joins); i++) {
                _cleanup_(x_freep) char *s = path_join(joins[i][0], joins[i][1]);
                assert_string_equal(s, joins[i][2]);
        }
}

static void test_root_writes_and_reads(void **state) {
        struct place *p = *state;
        _cleanup_(x_freep) char *data = NULL;
        size_t len;
        struct stat st;
        const struct file_attributes a = {.mode = 0640, .uid = getuid(), .gid = getgid()};
        assert_int_equal(root_dir_write(p->r, "/etc/shop/config.ini", "site", 4, &a, NULL), 0);
        assert_content(p->root, "etc/shop/config.ini", "site");
        assert_int_equal(root_dir_read(p->r, "etc/shop/config.ini", 10, &data, &len, &st, NULL), 0);
        assert_string_equal(data, "site");
        assert_int_equal(st.st_mode & 07777, 0640);
        x_freep(&data);
        data = NULL;
        assert_int_equal(root_dir_read(p->r, "etc/shop", 10, &data, &len, NULL, NULL), -EISDIR);
        assert_int_equal(root_dir_read(p->r, "etc/shop/config.ini", 3, &data, &len, NULL, NULL), -EFBIG);
        assert_int_equal(root_dir_read(p->r, "etc/none", 3, &data, &len, NULL, NULL), -ENOENT);
        assert_int_equal(root_dir_write(p->r, "etc/shop", "x", 1, &a, NULL), -EISDIR);
        assert_int_equal(root_dir_unlink(p->r, "etc/shop", NULL), -EISDIR);
        assert_int_equal(root_dir_unlink(p->r, "/etc/shop/config.ini", NULL), 0);
        assert_int_equal(root_dir_unlink(p->r, "/etc/shop/config.ini", NULL), 0);
        assert_int_equal(root_dir_unlink(p->r, "/none/at/all", NULL), 0);
        assert_false(exists(p->root, "etc/shop/config.ini"));
        assert_int_equal(root_dir_remove(p->r, "/etc", NULL), 0);
        assert_false(exists(p->root, "etc"));
        assert_int_equal(root_dir_remove(p->r, "/", NULL), -EINVAL);
}

static void test_root_cannot_be_left(void **state) {
        struct place *p = *state;
        const struct file_attributes a = {.mode = 0644, .uid = (uid_t)-1, .gid = (gid_t)-1};
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *data = NULL;
        size_t len;
        put(p->outside, "secret", "secret");
        link_to(p->outside, p->root, "absolute");
        link_to("../outside", p->root, "relative");
        link_to("../outside/secret", p->root, "file");
        static const char *const ways[] = {"absolute/secret", "relative/secret", "../outside/secret", "file"};
        for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
                assert_true(root_dir_read(p->r, ways[i], 100, &data, &len, NULL, NULL) < 0);
                assert_true(root_dir_openat(p->r, ways[i], O_RDONLY, 0) == -EXDEV);
        }
        assert_int_equal(root_dir_read(p->r, "file", 100, &data, &len, NULL, NULL), -ELOOP);
        assert_null(data);
        assert_int_equal(root_dir_write(p->r, "relative/secret", "mine", 4, &a, &err), -EXDEV);
        assert_non_null(strstr(err_message(err), "relative/secret"));
        assert_true(root_dir_write(p->r, "../outside/secret", "mine", 4, &a, NULL) < 0);
        assert_true(root_dir_write(p->r, "absolute/new/file", "mine", 4, &a, NULL) < 0);
        assert_true(root_dir_remove(p->r, "relative/secret", NULL) < 0);
        assert_true(root_dir_unlink(p->r, "../outside/secret", NULL) < 0);
        assert_content(p->outside, "secret", "secret");
        assert_false(exists(p->outside, "new"));

        /* A link in the place of the file itself is replaced, and its target stays as it was. */
        assert_int_equal(root_dir_write(p->r, "file", "mine", 4, &a, NULL), 0);
        assert_content(p->root, "file", "mine");
        assert_content(p->outside, "secret", "secret");

        /* Links that stay inside are fine. */
        assert_int_equal(root_dir_write(p->r, "real/f", "in", 2, &a, NULL), 0);
        link_to("real", p->root, "inside");
        assert_int_equal(root_dir_write(p->r, "inside/sub/g", "in", 2, &a, NULL), 0);
        assert_content(p->root, "real/sub/g", "in");
}

struct seen {
        struct buf text;
        const char *skip;
        int stop_after;
};

static int note(void *arg, const char *path, const struct stat *st) {
        struct seen *s = arg;
        buf_printf(&s->text, "%s%s ", path, S_ISDIR(st->st_mode) ? "/" : S_ISLNK(st->st_mode) ? "@" : "");
        if (s->stop_after && --s->stop_after == 0)
                return -ECANCELED;
        return s->skip && str_eq(path, s->skip) ? ROOT_DIR_SKIP : 0;
}

static void test_walk(void **state) {
        struct place *p = *state;
        const struct file_attributes a = {.mode = 0644, .uid = (uid_t)-1, .gid = (gid_t)-1};
        assert_int_equal(root_dir_write(p->r, "b/2", "", 0, &a, NULL), 0);
        assert_int_equal(root_dir_write(p->r, "b/1", "", 0, &a, NULL), 0);
        assert_int_equal(root_dir_write(p->r, "a/x/f", "", 0, &a, NULL), 0);
        put(p->outside, "f", "");
        link_to("../outside", p->root, "c");
        struct seen s = {.text = BUF_INIT};
        assert_int_equal(root_dir_walk(p->r, "", note, &s, NULL), 0);
        assert_string_equal(buf_str(&s.text), "a/ a/x/ a/x/f b/ b/1 b/2 c@ ");
        buf_clear(&s.text);
        s.skip = "a/x";
        assert_int_equal(root_dir_walk(p->r, "/a", note, &s, NULL), 0);
        assert_string_equal(buf_str(&s.text), "a/x/ ");
        buf_clear(&s.text);
        s.stop_after = 2;
        assert_int_equal(root_dir_walk(p->r, "/", note, &s, NULL), -ECANCELED);
        assert_string_equal(buf_str(&s.text), "a/ a/x/ ");
        assert_int_equal(root_dir_walk(p->r, "c", note, &s, NULL), -EXDEV);
        assert_int_equal(root_dir_walk(p->r, "none", note, &s, NULL), -ENOENT);
        buf_done(&s.text);
}

static void test_walk_has_a_bottom(void **state) {
        struct place *p = *state;
        _cleanup_(buf_done) struct buf path = BUF_INIT;
        struct seen s = {.text = BUF_INIT};
        for (int i = 0; i <= ROOT_DIR_MAX_DEPTH; i++)
                buf_puts(&path, "d/");
        buf_puts(&path, "d");
        _cleanup_(x_freep) char *full = in(p->root, buf_str(&path));
        assert_int_equal(dir_make(full, 0755, NULL), 0);
        _cleanup_(err_freep) struct err *err = NULL;
        assert_int_equal(root_dir_walk(p->r, "", note, &s, &err), -ELOOP);
        assert_non_null(strstr(err_message(err), "nested deeper"));
        buf_done(&s.text);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_read_limits, setup, teardown),
                cmocka_unit_test_setup_teardown(test_read_does_not_wait_for_a_fifo, setup, teardown),
                cmocka_unit_test_setup_teardown(test_atomic_write_replaces_and_leaves_nothing, setup,
                                                teardown),
                cmocka_unit_test(test_temporary_names_are_recognised),
                cmocka_unit_test_setup_teardown(test_dir_make, setup, teardown),
                cmocka_unit_test_setup_teardown(test_remove_never_follows_links, setup, teardown),
                cmocka_unit_test_setup_teardown(test_remove_deep_and_locked_folders, setup, teardown),
                cmocka_unit_test(test_path_text),
                cmocka_unit_test_setup_teardown(test_root_writes_and_reads, setup, teardown),
                cmocka_unit_test_setup_teardown(test_root_cannot_be_left, setup, teardown),
                cmocka_unit_test_setup_teardown(test_walk, setup, teardown),
                cmocka_unit_test_setup_teardown(test_walk_has_a_bottom, setup, teardown),
        };
        int failed = cmocka_run_group_tests(tests, NULL, NULL);
        /* And again as on a kernel without openat2(2), which this process will not have from here on. */
        if (!lacks_openat2() && refuse_openat2(EPERM) == 0)
                failed += cmocka_run_group_tests_name("tests without openat2", tests, NULL, NULL);
        return failed;
}
