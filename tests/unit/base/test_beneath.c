/* SPDX-License-Identifier: Apache-2.0 */
/* Every case goes through the kernel's walk, where there is one, and through the one by hand, and both must
 * say what stands here. */
#include "base/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "../kernel.h"
#include "base/buf.h"
#include "base/fs.h"
#include "base/str.h"

struct way {
        const char *name;
        int (*open)(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve);
};

static const struct way ways[] = {
        {"by hand", open_beneath_by_hand},
        {"whichever there is", open_beneath},
        {"by the kernel", open_beneath_by_kernel}, /* last: left out where there is none */
};

static size_t n_ways(void) {
        return ARRAY_SIZE(ways) - (lacks_openat2() ? 1 : 0);
}

struct place {
        char *dir; /* root/ and outside/ are in it */
        int root;
};

static void put(int at, const char *name, const char *text) {
        int fd = openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
        close(fd);
}

static int setup(void **state) {
        struct place *p = calloc(1, sizeof(*p));
        const char *base = getenv("TMPDIR");
        p->dir = str_format("%s/skerry-beneath-XXXXXX", base ? base : "/tmp");
        assert_non_null(mkdtemp(p->dir));
        int top = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        static const char *const folders[] = {"root", "outside", "root/a", "root/a/b", "root/a/b/c"};
        for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
                assert_int_equal(mkdirat(top, folders[i], 0755), 0);
        put(top, "outside/secret", "secret");
        put(top, "root/f", "f");
        put(top, "root/a/b/c/g", "g");
        p->root = openat(top, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        static const struct {
                const char *target, *name;
        } links[] = {
                {"../outside", "up"},
                {"../outside/secret", "up-file"},
                {"a/b/../../../outside", "zig"},
                {"a", "in"},
                {"a/", "in-slash"},
                {"f", "in-file"},
                {"b/c/../../../f", "a/home"},
                {"loop", "loop"},
                {"pong", "ping"},
                {"ping", "pong"},
                {"none", "dangling"},
                {"../none", "dangling-up"},
                {"/", "slash"},
                {"..", "parent"},
                {".", "here"},
                {"in/b", "two"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(links); i++)
                assert_int_equal(symlinkat(links[i].target, p->root, links[i].name), 0);
        _cleanup_(x_freep) char *outside = path_join(p->dir, "outside");
        _cleanup_(x_freep) char *inside = path_join(p->dir, "root/a");
        assert_int_equal(symlinkat(outside, p->root, "absolute"), 0);
        assert_int_equal(symlinkat(inside, p->root, "absolute-in"), 0); /* "/" would not be what it was */
        /* 40 links may be followed in a row, not 41. */
        for (int i = 0; i <= 40; i++) {
                char name[16], target[16];
                (void)snprintf(name, sizeof(name), "link-%d", i + 1);
                (void)snprintf(target, sizeof(target), i ? "link-%d" : "f", i);
                assert_int_equal(symlinkat(target, p->root, name), 0);
        }
        close(top);
        *state = p;
        return 0;
}

static int teardown(void **state) {
        struct place *p = *state;
        close(p->root);
        int r = path_remove(p->dir, NULL);
        free(p->dir);
        free(p);
        return r;
}

#define RESOLVE_STRICT RESOLVE_NO_SYMLINKS

struct opening {
        const char *path;
        int flags;
        int result;          /* -Exxx, or 0 */
        const char *same_as; /* as a plain path beneath root: what must have been opened */
        uint64_t resolve;
};

static const struct opening openings[] = {
        /* Plain names. */
        {"f", O_RDONLY, 0, "f", 0},
        {"a/b/c/g", O_RDONLY, 0, "a/b/c/g", 0},
        {"a//b/./c//g", O_RDONLY, 0, "a/b/c/g", 0},
        {".", O_RDONLY, 0, ".", 0},
        {"./", O_RDONLY | O_DIRECTORY, 0, ".", 0},
        {"a/", O_RDONLY, 0, "a", 0},
        {"a/.", O_PATH, 0, "a", 0},
        {"none", O_RDONLY, -ENOENT, NULL, 0},
        {"none/f", O_RDONLY, -ENOENT, NULL, 0},
        {"", O_RDONLY, -ENOENT, NULL, 0},
        {"f/", O_RDONLY, -ENOTDIR, NULL, 0},
        {"f/.", O_RDONLY, -ENOTDIR, NULL, 0},
        {"f/g", O_RDONLY, -ENOTDIR, NULL, 0},
        {"f/..", O_RDONLY, -ENOTDIR, NULL, 0},
        {"f", O_RDONLY | O_DIRECTORY, -ENOTDIR, NULL, 0},
        {"f", O_PATH | O_DIRECTORY, -ENOTDIR, NULL, 0},
        {"a", O_WRONLY, -EISDIR, NULL, 0},
        {"f", O_PATH | O_CREAT, -EINVAL, NULL, 0},
        /* "..": as far as the root, not above it. */
        {"a/..", O_RDONLY, 0, ".", 0},
        {"a/../f", O_RDONLY, 0, "f", 0},
        {"a/b/c/../../../a/b/../b/c/g", O_RDONLY, 0, "a/b/c/g", 0},
        {"a/b/..", O_RDONLY | O_NOFOLLOW, 0, "a", 0},
        {"a/b/../", O_PATH, 0, "a", 0},
        {"..", O_PATH, -EXDEV, NULL, 0},
        {"../root/f", O_RDONLY, -EXDEV, NULL, 0},
        {"../outside/secret", O_RDONLY, -EXDEV, NULL, 0},
        {"a/../../outside/secret", O_RDONLY, -EXDEV, NULL, 0},
        {"a/../..", O_PATH, -EXDEV, NULL, 0},
        {"./..", O_PATH, -EXDEV, NULL, 0},
        /* Absolute paths and links, wherever they lead. */
        {"/", O_PATH, -EXDEV, NULL, 0},
        {"/etc/passwd", O_RDONLY, -EXDEV, NULL, 0},
        {"absolute", O_RDONLY, -EXDEV, NULL, 0},
        {"absolute/secret", O_RDONLY, -EXDEV, NULL, 0},
        {"absolute-in/b", O_RDONLY, -EXDEV, NULL, 0},
        {"slash", O_PATH, -EXDEV, NULL, 0},
        {"in/../absolute/secret", O_RDONLY, -EXDEV, NULL, 0},
        {"absolute", O_PATH | O_NOFOLLOW, 0, "absolute", 0},
        /* Links that lead up and out. */
        {"up/secret", O_RDONLY, -EXDEV, NULL, 0},
        {"up", O_PATH, -EXDEV, NULL, 0},
        {"up/", O_PATH | O_NOFOLLOW, -EXDEV, NULL, 0},
        {"up-file", O_RDONLY, -EXDEV, NULL, 0},
        {"up-file", O_WRONLY | O_TRUNC, -EXDEV, NULL, 0},
        {"zig/secret", O_RDONLY, -EXDEV, NULL, 0},
        {"parent/outside/secret", O_RDONLY, -EXDEV, NULL, 0},
        {"dangling-up", O_WRONLY | O_CREAT, -EXDEV, NULL, 0},
        /* Links that stay. */
        {"in", O_RDONLY, 0, "a", 0},
        {"in/", O_RDONLY | O_NOFOLLOW, 0, "a", 0},
        {"in-slash", O_RDONLY, 0, "a", 0},
        {"in-slash/b", O_RDONLY, 0, "a/b", 0},
        {"in/b/c/g", O_RDONLY, 0, "a/b/c/g", 0},
        {"two/c/g", O_RDONLY, 0, "a/b/c/g", 0},
        {"two/..", O_RDONLY, 0, "a", 0},
        {"in-file", O_RDONLY, 0, "f", 0},
        {"in-file/", O_RDONLY, -ENOTDIR, NULL, 0},
        {"in-file/x", O_RDONLY, -ENOTDIR, NULL, 0},
        {"a/home", O_RDONLY, 0, "f", 0},
        {"here/here/f", O_RDONLY, 0, "f", 0},
        {"dangling", O_RDONLY, -ENOENT, NULL, 0},
        /* Links that are not to be followed. */
        {"in-file", O_RDONLY | O_NOFOLLOW, -ELOOP, NULL, 0},
        {"in", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, -ENOTDIR, NULL, 0},
        {"in-file", O_PATH | O_NOFOLLOW, 0, "in-file", 0},
        {"in-file", O_WRONLY | O_CREAT | O_EXCL, -EEXIST, NULL, 0},
        {"dangling", O_WRONLY | O_CREAT | O_EXCL, -EEXIST, NULL, 0},
        {"a/b", O_RDONLY, 0, "a/b", RESOLVE_STRICT},
        {"in/b", O_RDONLY, -ELOOP, NULL, RESOLVE_STRICT},
        {"in", O_PATH, -ELOOP, NULL, RESOLVE_STRICT},
        {"in", O_PATH | O_NOFOLLOW, 0, "in", RESOLVE_STRICT},
        {"absolute/secret", O_RDONLY, -ELOOP, NULL, RESOLVE_STRICT},
        /* Loops and bounds. */
        {"loop", O_RDONLY, -ELOOP, NULL, 0},
        {"loop/f", O_RDONLY, -ELOOP, NULL, 0},
        {"ping", O_RDONLY, -ELOOP, NULL, 0},
        {"link-40", O_RDONLY, 0, "f", 0},
        {"link-41", O_RDONLY, -ELOOP, NULL, 0},
        {"link-39/../f", O_RDONLY, -ENOTDIR, NULL, 0},
        {"in/../link-40", O_RDONLY, -ELOOP, NULL, 0},
        /* Where something would be made. */
        {"new/", O_WRONLY | O_CREAT, -EISDIR, NULL, 0},
        {"a", O_WRONLY | O_CREAT, -EISDIR, NULL, 0},
        {"a/..", O_WRONLY | O_CREAT, -EISDIR, NULL, 0},
        {"none/new", O_WRONLY | O_CREAT, -ENOENT, NULL, 0},
        {"f", O_WRONLY | O_CREAT | O_EXCL, -EEXIST, NULL, 0},
};

static void test_openings(void **state) {
        struct place *p = *state;
        for (size_t w = 0; w < n_ways(); w++)
                for (size_t i = 0; i < ARRAY_SIZE(openings); i++) {
                        const struct opening *o = &openings[i];
                        _cleanup_(x_closep) int fd =
                                ways[w].open(p->root, o->path, o->flags, 0644, o->resolve);
                        if (MIN(fd, 0) != o->result)
                                fail_msg("%s, '%s', flags 0%o: %d (%s) instead of %d (%s)", ways[w].name,
                                         o->path, (unsigned)o->flags, fd, strerror(-MIN(fd, 0)), o->result,
                                         strerror(-o->result));
                        if (fd < 0)
                                continue;
                        struct stat wanted, got;
                        assert_int_equal(fstatat(p->root, o->same_as, &wanted, AT_SYMLINK_NOFOLLOW), 0);
                        assert_int_equal(fstat(fd, &got), 0);
                        assert_int_equal(got.st_ino, wanted.st_ino);
                        assert_int_equal(got.st_dev, wanted.st_dev);
                        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
                }
        /* And nothing was made on the way. */
        assert_int_equal(faccessat(p->root, "../none", F_OK, 0), -1);
        assert_int_equal(faccessat(p->root, "new", F_OK, 0), -1);
}

static void test_files_are_made_where_the_path_leads(void **state) {
        struct place *p = *state;
        mode_t mask = umask(022);
        for (size_t w = 0; w < n_ways(); w++) {
                struct stat st;
                _cleanup_(x_closep) int plain =
                        ways[w].open(p->root, "in/b/new", O_WRONLY | O_CREAT, 0640, 0);
                _cleanup_(x_closep) int through =
                        ways[w].open(p->root, "dangling", O_WRONLY | O_CREAT, 0600, 0);
                _cleanup_(x_closep) int unnamed = ways[w].open(p->root, "in", O_WRONLY | O_TMPFILE, 0600, 0);
                assert_true(plain >= 0 && through >= 0);
                assert_true(unnamed >= 0 || unnamed == -EOPNOTSUPP);
                assert_int_equal(fstatat(p->root, "a/b/new", &st, AT_SYMLINK_NOFOLLOW), 0);
                assert_int_equal(st.st_mode, S_IFREG | 0640);
                assert_int_equal(fstatat(p->root, "none", &st, AT_SYMLINK_NOFOLLOW), 0);
                assert_int_equal(st.st_mode, S_IFREG | 0600);
                assert_int_equal(unlinkat(p->root, "a/b/new", 0), 0);
                assert_int_equal(unlinkat(p->root, "none", 0), 0);
        }
        (void)umask(mask);
}

static void test_long_and_deep_paths(void **state) {
        struct place *p = *state;
        /* 2,000 folders down, which no descriptor each would be enough for, then up again all the way. */
        _cleanup_(buf_done) struct buf down = BUF_INIT, up = BUF_INIT, name = BUF_INIT, path = BUF_INIT;
        int at = fcntl(p->root, F_DUPFD_CLOEXEC, 3);
        for (int i = 0; i < 2000; i++) {
                assert_int_equal(mkdirat(at, "d", 0755), 0);
                int next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                assert_true(next >= 0);
                close(at);
                at = next;
                buf_puts(&down, "d/");
                if (i < 1200)
                        buf_puts(&up, "../");
        }
        put(at, "bottom", "");
        struct stat bottom, st;
        assert_int_equal(fstatat(at, "bottom", &bottom, 0), 0);
        /* Back up by links that are nearly as long as a path can be. */
        assert_int_equal(symlinkat(buf_str(&up), at, "up"), 0);
        close(at);
        for (size_t w = 0; w < n_ways(); w++) {
                buf_clear(&path);
                buf_printf(&path, "%sbottom", buf_str(&down));
                int fd = ways[w].open(p->root, buf_str(&path), O_RDONLY, 0, 0);
                assert_true(fd >= 0);
                assert_int_equal(fstat(fd, &st), 0);
                assert_int_equal(st.st_ino, bottom.st_ino);
                close(fd);
                buf_clear(&path);
                buf_printf(&path, "%sup", buf_str(&down));
                fd = ways[w].open(p->root, buf_str(&path), O_RDONLY, 0, 0);
                assert_true(fd >= 0); /* at 800 */
                close(fd);
                fd = ways[w].open(p->root, buf_str(&up), O_RDONLY, 0, 0);
                assert_int_equal(fd, -EXDEV);

                buf_clear(&name);
                while (name.len < NAME_MAX)
                        buf_putc(&name, 'n');
                assert_int_equal(ways[w].open(p->root, buf_str(&name), O_RDONLY, 0, 0), -ENOENT);
                buf_putc(&name, 'n');
                assert_int_equal(ways[w].open(p->root, buf_str(&name), O_RDONLY, 0, 0), -ENAMETOOLONG);
                buf_putc(&name, '/');
                assert_int_equal(ways[w].open(p->root, buf_str(&name), O_RDONLY, 0, 0), -ENAMETOOLONG);
                buf_clear(&path);
                while (path.len < PATH_MAX - 2)
                        buf_puts(&path, "./");
                buf_putc(&path, 'f'); /* 4,095 bytes and the NUL */
                fd = ways[w].open(p->root, buf_str(&path), O_PATH, 0, 0);
                assert_true(fd >= 0);
                close(fd);
                buf_putc(&path, '/');
                assert_int_equal(ways[w].open(p->root, buf_str(&path), O_PATH, 0, 0), -ENAMETOOLONG);
        }
}

static void test_magic_links_are_refused(void **state) {
        _cleanup_(x_closep) int self = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (self < 0) {
                puts("skipped: no /proc here");
                skip();
        }
        for (size_t w = 0; w < n_ways(); w++) {
                assert_int_equal(ways[w].open(self, "root/etc", O_PATH, 0, 0), -ELOOP);
                assert_int_equal(ways[w].open(self, "cwd", O_PATH, 0, 0), -ELOOP);
                assert_int_equal(ways[w].open(self, "fd/0", O_RDONLY, 0, 0), -ELOOP);
                int fd = ways[w].open(self, "cwd", O_PATH | O_NOFOLLOW, 0, 0);
                assert_true(fd >= 0);
                close(fd);
        }
}

/* ---- others that rename while we walk */

struct swapper {
        int root;
        atomic_bool done;
};

static void *swap(void *arg) {
        struct swapper *s = arg;
        /* "door" is a folder, then a way out, then a folder; "lift/car" is inside, then beside the root. */
        while (!atomic_load(&s->done)) {
                (void)syscall(SYS_renameat2, s->root, "door", s->root, "way-out", RENAME_EXCHANGE);
                (void)renameat(s->root, "lift/car", s->root, "../outside/car");
                (void)renameat(s->root, "../outside/car", s->root, "lift/car");
        }
        return NULL;
}

static void test_a_race_does_not_lead_out(void **state) {
        struct place *p = *state;
        assert_int_equal(mkdirat(p->root, "door", 0755), 0);
        put(p->root, "door/secret", "inside");
        assert_int_equal(symlinkat("../outside", p->root, "way-out"), 0);
        assert_int_equal(mkdirat(p->root, "lift", 0755), 0);
        put(p->root, "lift/secret", "inside");
        assert_int_equal(mkdirat(p->root, "lift/car", 0755), 0);
        struct swapper s = {.root = p->root};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, swap, &s), 0);
        static const char *const paths[] = {"door/secret", "lift/car/../secret", "door/../door/secret",
                                            "in-file"};
        for (size_t w = 0; w < n_ways(); w++)
                for (int i = 0; i < 4000; i++) {
                        char text[8] = "";
                        int fd = ways[w].open(p->root, paths[i % 4], O_RDONLY, 0, 0);
                        if (fd < 0) {
                                assert_true(fd == -EXDEV || fd == -ENOENT || fd == -EAGAIN);
                                continue;
                        }
                        assert_true(read(fd, text, sizeof(text) - 1) > 0);
                        close(fd);
                        assert_string_equal(text, i % 4 == 3 ? "f" : "inside");
                }
        atomic_store(&s.done, true);
        pthread_join(thread, NULL);
        assert_int_equal(openat(p->root, "lift/car/none", O_RDONLY | O_CLOEXEC), -1);
}

/* ---- mounts, in a name space of our own */

#define CANNOT 3

static int in_mounts(struct place *p) {
        if (unshare(CLONE_NEWNS) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
                return CANNOT;
        _cleanup_(x_freep) char *bound = path_join(p->dir, "root/a/b/c");
        _cleanup_(x_freep) char *fresh = path_join(p->dir, "root/fresh");
        _cleanup_(x_freep) char *outside = path_join(p->dir, "outside");
        if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mkdir(fresh, 0755) < 0 ||
            mount(outside, bound, NULL, MS_BIND, NULL) < 0 ||
            mount("tmpfs", fresh, "tmpfs", 0, "size=64k") < 0)
                return CANNOT;
        /* A descriptor from before would look at the mounts from before. */
        _cleanup_(x_freep) char *path = path_join(p->dir, "root");
        _cleanup_(x_closep) int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (size_t w = 0; w < n_ways(); w++) {
                static const struct {
                        const char *path;
                        int flags;
                        bool crosses;
                } cases[] = {
                        {"a/b/c/secret", O_RDONLY, true}, {"a/b/c", O_RDONLY | O_DIRECTORY, true},
                        {"a/b/c/..", O_PATH, true},       {"fresh", O_PATH, true},
                        {"fresh/.", O_PATH, true},        {"fresh", O_PATH | O_NOFOLLOW, true},
                        {"two/c/secret", O_PATH, true},   {"a/b", O_PATH, false},
                        {"a/../f", O_RDONLY, false},
                };
                for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                        int free_to = ways[w].open(root, cases[i].path, cases[i].flags, 0, 0);
                        int bound_to = ways[w].open(root, cases[i].path, cases[i].flags, 0, RESOLVE_NO_XDEV);
                        if (free_to < 0 || (cases[i].crosses ? bound_to != -EXDEV : bound_to < 0)) {
                                fprintf(stderr, "%s, '%s': %d, kept to one mount %d\n", ways[w].name,
                                        cases[i].path, free_to, bound_to);
                                return 1;
                        }
                        close(free_to);
                        x_closep(&bound_to);
                }
                /* ".." out of a mounted folder is the folder it is mounted in, and never above the root. */
                struct stat parent, st;
                _cleanup_(x_closep) int up = ways[w].open(root, "a/b/c/..", O_PATH, 0, 0);
                if (up < 0 || fstat(up, &st) < 0 || fstatat(root, "a/b", &parent, 0) < 0 ||
                    st.st_ino != parent.st_ino)
                        return 2;
                if (ways[w].open(root, "a/b/c/../../../../outside", O_PATH, 0, 0) != -EXDEV)
                        return 2;
        }
        return 0;
}

static void test_mounts(void **state) {
        struct place *p = *state;
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
                _exit(in_mounts(p));
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == CANNOT) {
                puts("skipped: no right to mount here");
                skip();
        }
        assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- the choice */

static int with_openat2_refused(struct place *p, int error) {
        if (refuse_openat2(error) < 0)
                return CANNOT;
        if (open_beneath_by_kernel(p->root, "f", O_RDONLY, 0, 0) != -error)
                return 1;
        _cleanup_(x_closep) int fd = open_beneath(p->root, "in/b/c/g", O_RDONLY, 0, 0);
        return fd >= 0 && open_beneath(p->root, "up/secret", O_RDONLY, 0, 0) == -EXDEV ? 0 : 1;
}

static void test_a_refused_call_is_made_up_for(void **state) {
        struct place *p = *state;
        static const int errors[] = {ENOSYS, EPERM};
        for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
                pid_t child = fork();
                assert_true(child >= 0);
                if (child == 0)
                        _exit(with_openat2_refused(p, errors[i]));
                int status;
                assert_int_equal(waitpid(child, &status, 0), child);
                assert_true(WIFEXITED(status));
                if (WEXITSTATUS(status) == CANNOT) {
                        puts("skipped: system calls cannot be filtered here");
                        skip();
                }
                assert_int_equal(WEXITSTATUS(status), 0);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_openings, setup, teardown),
                cmocka_unit_test_setup_teardown(test_files_are_made_where_the_path_leads, setup, teardown),
                cmocka_unit_test_setup_teardown(test_long_and_deep_paths, setup, teardown),
                cmocka_unit_test(test_magic_links_are_refused),
                cmocka_unit_test_setup_teardown(test_a_race_does_not_lead_out, setup, teardown),
                cmocka_unit_test_setup_teardown(test_mounts, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_refused_call_is_made_up_for, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
