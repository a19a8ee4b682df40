/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/str.h"
#include "crypto/digest.h"
#include "repo/payload.h"
#include "repo/payload/pax.h"

static char *folder;

static int make_folder(void **state) {
        char path[] = "/var/tmp/skerry-test-payload-XXXXXX";
        if (!mkdtemp(path))
                return -1;
        folder = strdup(path);
        return folder ? 0 : -1;
}

static int remove_folder(void **state) {
        int r = path_remove(folder, NULL);
        free(folder);
        return r;
}

static void shell(const char *format, ...) _printf_(1, 2);
static void shell(const char *format, ...) {
        char command[8192];
        int n = snprintf(command, sizeof(command), "set -e; umask 022; cd %s; ", folder);
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(command + n, sizeof(command) - (size_t)n, format, ap);
        va_end(ap);
        assert_int_equal(system(command), 0);
}

static int temporary(void) {
        int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        return fd;
}

static int pack(enum artifact_type type, const char *name, const char *platform, struct err **err,
                int *ret_fd) {
        _cleanup_(x_freep) char *path = path_join(folder, name);
        int fd = temporary();
        int r = payload_pack(type, path, platform, 0, fd, NULL, err);
        if (r < 0) {
                close(fd);
                return r;
        }
        *ret_fd = fd;
        return 0;
}

static int pack_tree(const char *name) {
        _cleanup_(err_freep) struct err *err = NULL;
        int fd = -1;
        if (pack(ARTIFACT_TREE, name, NULL, &err, &fd) < 0)
                fail_msg("%s", err_message(err));
        return fd;
}

static void digest_of(int fd, char out[SHA256_HEX_SIZE]) {
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        assert_int_equal(sha256_file_hex(fd, out), 0);
}

static void assert_same(int a, int b) {
        char x[SHA256_HEX_SIZE], y[SHA256_HEX_SIZE];
        digest_of(a, x);
        digest_of(b, y);
        assert_string_equal(x, y);
}

static int unpack(int fd, const char *name, const struct payload_unpack_options *o, struct err **err) {
        _cleanup_(x_freep) char *path = path_join(folder, name);
        _cleanup_(root_dir_freep) struct root_dir *root = NULL;
        assert_int_equal(dir_make(path, 0755, NULL), 0);
        assert_int_equal(root_dir_open(path, &root, NULL), 0);
        return payload_unpack_tree(fd, root, o, err);
}

static unsigned check(int fd, const char *name, bool quick, char first[256]) {
        _cleanup_(x_freep) char *path = path_join(folder, name);
        _cleanup_(root_dir_freep) struct root_dir *root = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        unsigned differ = 0;
        assert_int_equal(root_dir_open(path, &root, NULL), 0);
        if (payload_check_tree(fd, root, quick, &differ, first, 256, &err) < 0)
                fail_msg("%s", err_message(err));
        return differ;
}

/* A folder with one of everything. */
static void make_tree(const char *name) {
        shell("mkdir -p %s/bin %s/a/b/c %s/empty; cd %s; printf hello > bin/web; chmod 755 bin/web; printf "
              "HELlo > plain;"
              "printf x > a-b; ln a-b a/second; ln bin/web a/b/web2; ln -s ../bin/web a/link; ln -s "
              "/etc/passwd out;"
              "head -c 300000 /dev/urandom > a/b/big; truncate -s 10M sparse; printf data | dd of=sparse "
              "bs=1 "
              "seek=5000000 conv=notrunc status=none; : > nothing; truncate -s 1M zeros; mkfifo pipe; chmod "
              "1777 empty;"
              "long=$(printf 'n%%.0s' $(seq 120)); mkdir $long; echo deep > $long/$long; ln -s $long/$long "
              "far;"
              "printf u > 'umlaut-\303\244'; printf raw > $(printf 'raw-\377'); printf n > 'new\nline'; "
              "chmod 500 a/b;"
              "python3 -c \"import os; [os.setxattr(f, 'user.note', b'a=b') for f in ('bin/web', 'plain')]; "
              "os.setxattr('a', "
              "'user.folder', b'x')\"",
              name, name, name, name);
}

static void test_a_tree_goes_round(void **state) {
        char first[256];
        make_tree("one");
        int fd = pack_tree("one");
        assert_int_equal(unpack(fd, "back", NULL, NULL), 0);
        assert_int_equal(check(fd, "back", false, first), 0);
        assert_string_equal(first, "");
        shell("diff -r --no-dereference -x pipe one back; test -p back/pipe; cmp one/sparse back/sparse;"
              "test $(stat -c %%b back/sparse) -lt 1000; test $(stat -c %%b back/zeros) -lt 100;"
              "test $(stat -c %%h back/a-b) = 2; test back/a-b -ef back/a/second; test back/bin/web -ef "
              "back/a/b/web2;"
              "test $(stat -c %%a back/a/b) = 500; test $(stat -c %%a back/empty) = 1777;"
              "test \"$(readlink back/out)\" = /etc/passwd; test $(stat -c %%Y back/a) = 0;"
              "test $(python3 -c \"import os; print(os.getxattr('back/bin/web', 'user.note').decode())\") = "
              "a=b;"
              "test $(python3 -c \"import os; print(os.getxattr('back/a', 'user.folder').decode())\") = x");
        close(fd);
}

static void test_the_same_tree_gives_the_same_bytes(void **state) {
        make_tree("first");
        /* Another order of making, other times, holes filled, other inodes. */
        shell("mkdir copy; cd first; find . -mindepth 1 -print0 | LC_ALL=C sort -rz | tar --null "
              "--no-recursion -T - -cf - | "
              "tar -C ../copy -xpf -; cd ../copy; cp --sparse=never sparse x; mv x sparse; touch -d "
              "2001-01-01 a-b");
        shell("python3 -c \"import os; [os.setxattr(f, 'user.note', b'a=b') for f in ('copy/bin/web', "
              "'copy/plain')]; "
              "os.setxattr('copy/a', 'user.folder', b'x')\"");
        int a = pack_tree("first"), b = pack_tree("copy");
        assert_same(a, b);

        /* And so does an archive of it, by another tool, compressed or not, in another order. (Names in
         * archives are UTF-8.) */
        _cleanup_(err_freep) struct err *err = NULL;
        int fd = -1;
        shell("tar --format=pax -cf raw.tar first");
        assert_int_equal(pack(ARTIFACT_TREE, "raw.tar", NULL, &err, &fd), -EINVAL);
        assert_non_null(strstr(err_message(err), "not UTF-8"));
        shell("rm first/raw*");
        close(a);
        a = pack_tree("first");
        shell("cd first; test $(id -u) = 0 || own='--owner=0 --group=0'; tar $own --xattrs --format=pax -cf "
              "../t.tar .; tar $own --xattrs --format=pax -czf ../t.tgz *;"
              "tar $own --xattrs --sparse --format=pax -cf - --sort=name . | zstd -q > ../t.tar.zst");
        const char *const archives[] = {"t.tar", "t.tgz", "t.tar.zst"};
        for (size_t i = 0; i < ARRAY_SIZE(archives); i++) {
                int c = pack_tree(archives[i]);
                assert_same(a, c);
                close(c);
        }
        /* What is written is read by other tools. */
        close(b);
        _cleanup_(x_freep) char *path = path_join(folder, "ours.tar");
        b = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        _cleanup_(x_freep) char *from = path_join(folder, "first");
        assert_int_equal(payload_pack(ARTIFACT_TREE, from, NULL, 0, b, NULL, NULL), 0);
        assert_same(a, b);
        shell("mkdir byTar; tar --xattrs --xattrs-include='*' -xpf ours.tar -C byTar; diff -r "
              "--no-dereference -x pipe first byTar;"
              "test byTar/a-b -ef byTar/a/second; test $(stat -c %%b byTar/sparse) -lt 1000;"
              "python3 -c \"import tarfile; t = tarfile.open('ours.tar'); n = t.getnames(); assert n == "
              "sorted(n, key=lambda "
              "x: x.encode('utf8', 'surrogateescape')), n\"");
        close(a);
        close(b);
}

/* Digests of versions that were published stand in signed metadata: another byte would be another version. */
static void test_the_format_never_changes(void **state) {
        char digest[SHA256_HEX_SIZE];
        shell("mkdir -p golden/bin golden/a/b; cd golden; printf hello > bin/web; chmod 755 bin/web; ln "
              "bin/web a/b/web; "
              "ln -s ../bin/web a/link; printf x > a-b; long=$(printf 'n%%.0s' $(seq 120)); printf y > "
              "$long; ln -s $long far; "
              "truncate -s 200000 sparse; printf data | dd of=sparse bs=1 seek=100000 conv=notrunc "
              "status=none; mkfifo pipe; "
              "chmod 644 a-b $long sparse pipe; chmod 755 a a/b bin");
        int fd = pack_tree("golden");
        digest_of(fd, digest);
        assert_string_equal(digest, "8faa69c9b2ffd8019a967e4f0f2d618522f2464f3e8442e6de5d00242671db20");
        close(fd);
}

static void test_time_is_what_was_asked_for(void **state) {
        shell("mkdir timed; printf x > timed/f");
        _cleanup_(x_freep) char *path = path_join(folder, "timed");
        int fd = temporary();
        assert_int_equal(payload_pack(ARTIFACT_TREE, path, NULL, 1700000000, fd, NULL, NULL), 0);
        assert_int_equal(unpack(fd, "timed-back", NULL, NULL), 0);
        shell("test $(stat -c %%Y timed-back/f) = 1700000000");
        close(fd);
}

static void test_an_empty_tree(void **state) {
        shell("mkdir void");
        int fd = pack_tree("void");
        assert_int_equal(lseek(fd, 0, SEEK_END), 1024);
        assert_int_equal(unpack(fd, "void-back", NULL, NULL), 0);
        close(fd);
}

static void test_check_sees_every_difference(void **state) {
        static const struct {
                const char *command, *says;
                bool quick_too;
        } changes[] = {
                {"printf HELLO > plain", "plain: its content differs", false},
                {"printf more >> plain", "plain: its size differs", true},
                {"chmod 600 plain", "plain: its mode differs", true},
                {"rm a/link; ln -s elsewhere a/link", "a/link: it links to something else", true},
                {"rm nothing", "nothing: it is missing", true},
                {"printf x > more", "more: it is not of the artifact", true},
                {"rm nothing; mkdir nothing", "nothing: it is of another kind", true},
                {"rm a/second; printf x > a/second", "a/second: it is not linked any more", true},
                {"python3 -c \"import os; os.setxattr('plain', 'user.note', b'other')\"",
                 "plain: its extended attributes differ", false},
                {"printf y | dd of=sparse bs=1 seek=9000000 conv=notrunc status=none",
                 "sparse: its content differs", false},
                {"rm pipe; printf x > pipe", "pipe: it is of another kind", true},
        };
        make_tree("checked");
        int fd = pack_tree("checked");
        for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
                char first[256], quick[256];
                shell("test ! -e drift || chmod -R u+rwx drift; rm -rf drift");
                assert_int_equal(unpack(fd, "drift", NULL, NULL), 0);
                shell("cd drift; %s", changes[i].command);
                assert_int_equal(check(fd, "drift", false, first), 1);
                assert_string_equal(first, changes[i].says);
                assert_int_equal(check(fd, "drift", true, quick), changes[i].quick_too);
        }
        close(fd);
}

static void test_limits_of_unpacking(void **state) {
        _cleanup_(err_freep) struct err *err = NULL;
        shell("mkdir limited; cd limited; head -c 1000 /dev/zero > a; head -c 1000 /dev/zero > b; truncate "
              "-s 1G c");
        int fd = pack_tree("limited");
        assert_int_equal(unpack(fd, "l1", &(struct payload_unpack_options){.max_bytes = 1999}, &err),
                         -EINVAL);
        assert_non_null(strstr(err_message(err), "'b'"));
        err = err_free(err);
        assert_int_equal(unpack(fd, "l2", &(struct payload_unpack_options){.max_bytes = 100000}, &err),
                         -EINVAL);
        assert_non_null(strstr(err_message(err), "'c'"));
        err = err_free(err);
        assert_int_equal(unpack(fd, "l3", &(struct payload_unpack_options){.max_entries = 2}, &err), -EINVAL);
        assert_non_null(strstr(err_message(err), "'c'"));
        err = err_free(err);
        assert_int_equal(unpack(fd, "l4", NULL, NULL), 0);
        assert_int_equal(unpack(fd, "l4", NULL, &err), -ENOTEMPTY);
        close(fd);
}

static void test_bits_and_devices_only_when_asked_for(void **state) {
        _cleanup_(err_freep) struct err *err = NULL;
        if (geteuid() != 0)
                skip();
        shell("mkdir privileged; cd privileged; printf x > f; chown 7:8 f; chmod 4755 f; mknod null c 1 3; "
              "mknod disk b 7 "
              "200");
        int fd = pack_tree("privileged");
        assert_int_equal(unpack(fd, "p1", &(struct payload_unpack_options){.keep_owner = true}, &err),
                         -EINVAL);
        assert_non_null(strstr(err_message(err), "block device"));
        assert_int_equal(
                unpack(fd, "p2", &(struct payload_unpack_options){.keep_owner = true, .devices = true}, NULL),
                0);
        shell("test \"$(stat -c '%%u %%g %%a' p2/f)\" = '7 8 4755'; test \"$(stat -c '%%t %%T %%F' "
              "p2/null)\" = '1 3 "
              "character special file'; test \"$(stat -c '%%t %%T' p2/disk)\" = '7 c8'");
        assert_int_equal(unpack(fd, "p3", &(struct payload_unpack_options){.devices = true}, NULL), 0);
        shell("test \"$(stat -c '%%u %%g %%a' p3/f)\" = '0 0 755'");
        char first[256];
        assert_int_equal(check(fd, "p2", false, first), 0);
        assert_int_equal(check(fd, "p3", false, first), 0);
        close(fd);
}

static void test_what_cannot_be_carried_is_named(void **state) {
        _cleanup_(err_freep) struct err *err = NULL;
        int fd = -1;
        shell("mkdir -p socket/in; python3 -c \"import socket; s = socket.socket(socket.AF_UNIX); "
              "s.bind('socket/in/s')\"");
        assert_int_equal(pack(ARTIFACT_TREE, "socket", NULL, &err, &fd), -EINVAL);
        assert_non_null(strstr(err_message(err), "in/s"));
        assert_non_null(strstr(err_message(err), "socket"));
        err = err_free(err);
        assert_int_equal(pack(ARTIFACT_TREE, "absent", NULL, &err, &fd), -ENOENT);
        err = err_free(err);
        assert_int_equal(pack(ARTIFACT_FILE, "socket", NULL, &err, &fd), -EISDIR);
        assert_non_null(strstr(err_message(err), "--type tree"));
}

static void test_a_full_disk_is_said(void **state) {
        shell("mkdir filling small; cd filling; for i in $(seq 40); do head -c 20000 /dev/urandom > f$i; "
              "done");
        char small[256]; /* on the stack: skip() does not come back */
        (void)snprintf(small, sizeof(small), "%s/small", folder);
        int fd = pack_tree("filling");
        /* Full at another place each time, the folders' attributes included. */
        for (int kilobytes = 4; kilobytes < 800; kilobytes += 128) {
                _cleanup_(err_freep) struct err *err = NULL;
                char options[64];
                (void)snprintf(options, sizeof(options), "size=%dk", kilobytes);
                if (mount("none", small, "tmpfs", MS_NODEV, options) < 0)
                        skip();
                int r = unpack(fd, "small", NULL, &err);
                assert_int_equal(umount(small), 0);
                assert_int_equal(r, -ENOSPC);
                assert_non_null(strstr(err_message(err), "the entry 'f"));
        }
        close(fd);
        int full = open("/dev/full", O_RDWR | O_CLOEXEC);
        _cleanup_(x_freep) char *from = path_join(folder, "filling");
        assert_int_equal(payload_pack(ARTIFACT_TREE, from, NULL, 0, full, NULL, NULL), -ENOSPC);
        close(full);
}

/* ---- payloads of other people's making, built with the writer so that everything but the fault is right */

struct made {
        struct pax_entry e;
        const char *data;
};

static int make_payload(const struct made *all, size_t n) {
        struct pax_writer w;
        int fd = temporary();
        assert_int_equal(pax_writer_init(&w, fd), 0);
        for (size_t i = 0; i < n; i++) {
                struct pax_entry e = all[i].e;
                struct pax_extent whole = {0, all[i].data ? (int64_t)strlen(all[i].data) : 0};
                if (!e.extents && whole.length) {
                        e.size = whole.length;
                        e.extents = &whole;
                        e.n_extents = 1;
                }
                assert_int_equal(pax_write_entry(&w, &e, NULL), 0);
                if (all[i].data)
                        assert_int_equal(pax_write_data(&w, all[i].data, strlen(all[i].data), NULL), 0);
        }
        assert_int_equal(pax_write_end(&w, NULL), 0);
        pax_writer_done(&w);
        return fd;
}

static void assert_refused(int fd, const char *says) {
        static int number;
        char name[32];
        _cleanup_(err_freep) struct err *err = NULL;
        (void)snprintf(name, sizeof(name), "refused%d", number++);
        int r = unpack(fd, name, NULL, &err);
        assert_int_equal(r, -EINVAL);
        if (!strstr(err_message(err), says))
                fail_msg("'%s' does not say '%s'", err_message(err), says);
        close(fd);
}

#define P(text) ((char *)(uintptr_t)(text))
#define MADE(...) make_payload((struct made[]){__VA_ARGS__}, ARRAY_SIZE(((struct made[]){__VA_ARGS__})))
#define FILE_AT(at, text)                                                                                    \
        { {.kind = PAX_FILE, .path = P(at), .mode = 0644}, text }
#define LINK_AT(at, to)                                                                                      \
        { {.kind = PAX_SYMBOLIC_LINK, .path = P(at), .link = P(to), .mode = 0777}, NULL }
#define HARD_AT(at, to)                                                                                      \
        { {.kind = PAX_HARD_LINK, .path = P(at), .link = P(to), .mode = 0644}, NULL }
#define FOLDER_AT(at)                                                                                        \
        { {.kind = PAX_FOLDER, .path = P(at), .mode = 0755}, NULL }

static void test_hostile_payloads_are_refused(void **state) {
        char deep[600], wide[300], outside[512];
        memset(deep, 0, sizeof(deep));
        for (int i = 0; i < 70; i++)
                strcat(deep, "d/");
        strcat(deep, "x");
        memset(wide, 'w', sizeof(wide) - 1);
        wide[sizeof(wide) - 1] = '\0';
        (void)snprintf(outside, sizeof(outside), "%s/victim", folder);
        shell("mkdir -p victim; printf safe > victim/file");

        assert_refused(MADE(FILE_AT("../x", "x")), "'../x'");
        assert_refused(MADE(FILE_AT("a/../../x", "x")), "not a path below");
        assert_refused(MADE(FILE_AT("/etc/x", "x")), "'/etc/x'");
        assert_refused(MADE(FILE_AT("./x", "x")), "'./x'");
        assert_refused(MADE(FILE_AT("a//x", "x")), "'a//x'");
        assert_refused(MADE(FILE_AT("", "x")), "not a path below");
        assert_refused(MADE(FILE_AT(deep, "x")), "not a path below");
        assert_refused(MADE(FILE_AT(wide, "x")), "not a path below");
        assert_refused(MADE(FILE_AT("a/x", "x")), "no folder of the archive");
        assert_refused(MADE(FILE_AT("a", "x"), FILE_AT("a/x", "x")), "no folder of the archive");
        assert_refused(MADE(FILE_AT("a", "x"), FILE_AT("a", "y")), "there twice");
        assert_refused(MADE(FOLDER_AT("a"), FOLDER_AT("a")), "there twice");
        assert_refused(MADE(FILE_AT("b", "x"), FILE_AT("a", "y")), "not in order");
        assert_refused(MADE(LINK_AT("a", outside), FILE_AT("a/file", "stolen")), "no folder of the archive");
        assert_refused(MADE(LINK_AT("a", ".."), FILE_AT("a/file", "stolen")), "no folder of the archive");
        assert_refused(MADE(FOLDER_AT("a"), LINK_AT("a/b", outside), FILE_AT("a/b/file", "stolen")),
                       "no folder of the archive");
        assert_refused(MADE(LINK_AT("a", "")), "leads to nothing");
        assert_refused(MADE(HARD_AT("a", "/etc/passwd")), "no entry before it");
        assert_refused(MADE(HARD_AT("a", "../victim/file")), "no entry before it");
        assert_refused(MADE(HARD_AT("b", "a")), "'a'");
        assert_refused(MADE(HARD_AT("a", "b"), FILE_AT("b", "x")), "no entry before it");
        assert_refused(MADE(FOLDER_AT("a"), HARD_AT("b", "a")), "no file of the archive");
        assert_refused(MADE(LINK_AT("a", "/etc/passwd"), HARD_AT("b", "a")), "no file of the archive");
        assert_refused(MADE(LINK_AT("a", outside), HARD_AT("b", "a/file")), "no folder of the archive");
        assert_refused(MADE({{.kind = PAX_BLOCK_DEVICE, .path = P("disk"), .major = 8}, NULL}),
                       "not asked for");
        struct pax_attribute attribute = {P("security.selinux"), P("x"), 1};
        assert_refused(
                MADE({{.kind = PAX_FILE, .path = P("a"), .attributes = &attribute, .n_attributes = 1}, NULL}),
                "security.selinux");
        shell("test \"$(cat victim/file)\" = safe; test $(ls victim | wc -l) = 1");
}

static void test_sparse_abuse_is_refused(void **state) {
        /* Written by hand below: the map is text, so it can be changed in place. */
        struct pax_extent two[] = {{1000000, 4}, {2000000, 4}};
        const struct {
                const char *map, *says;
        } bad[] = {
                {"2\n1000000\n4\n1000002\n4\n", "overlap"},
                {"2\n2000000\n4\n1000000\n4\n", "overlap"},
                {"2\n1000000\n4\n9000000\n4\n", "outside"},
                {"2\n1000000\n4\n2999998\n4\n", "outside"},
                {"2\n1000000\n4\n2000000\n8\n", "other than its length"},
                {"2\n1000000\n4\n-200000\n4\n", "numbers in lines"},
                {"9999999999999999999\n1\n", "numbers in lines"},
                {"99999999\n1000000\n4\n", "more than"},
                {"2\n1000000\n4\n\n2000000\n", "numbers in lines"},
                {"2\n1000000\n9223372036854775807\n", "numbers in lines"},
                {"200\n1000000\n4\n2000000\n4\n", "numbers in lines"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                int fd = MADE(
                        {{.kind = PAX_FILE, .path = P("s"), .size = 3000000, .extents = two, .n_extents = 2},
                         "datadata"});
                char map[512] = {0};
                memcpy(map, bad[i].map, strlen(bad[i].map));
                assert_int_equal(pwrite(fd, map, sizeof(map), 3 * 512), sizeof(map));
                assert_refused(fd, bad[i].says);
        }
        /* A file that is a petabyte of nothing, and more of it. */
        struct pax_extent none = {0, 0};
        assert_refused(
                MADE({{.kind = PAX_FILE, .path = P("s"), .size = (int64_t)1 << 45, .extents = &none}, NULL}),
                "more than the");
        assert_refused(MADE({{.kind = PAX_FILE, .path = P("s"), .size = INT64_MAX, .extents = &none}, NULL}),
                       "holes said in a way");
}

static void put_checksum(char *block) {
        unsigned sum = 0;
        memset(block + 148, ' ', 8);
        for (int i = 0; i < 512; i++)
                sum += (unsigned char)block[i];
        (void)snprintf(block + 148, 8, "%06o", sum);
}

static void test_damaged_headers_are_refused(void **state) {
        static const struct {
                size_t at;
                const char *bytes;
                size_t n;
                const char *says;
        } bad[] = {
                {124, "77777777777", 12, "more than the payload has left"},
                {124, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12, "number that is none"},
                {124, "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 12, "number that is none"},
                {124, "-0000000001", 12, "number that is none"},
                {124, "00000000009", 12, "number that is none"},
                {124, "           ", 12, "number that is none"},
                {108, "zzzzzzz", 8, "number that is none"},
                {156, "L", 1, "type that payloads do not have"},
                {156, "g", 1, "type that payloads do not have"},
                {156, "S", 1, "type that payloads do not have"},
                {156, "7", 1, "type that payloads do not have"},
                {156, "5", 1, "has data"},
                {156, "1", 1, "hard link"},
                {156, "x", 1, "extended header"},
                {257, "ustar  ", 8, "no pax header"},
                {345, "/etc", 5, "two parts"},
                {157, "target", 7, "link's target"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                int fd = MADE(FILE_AT("name", "content"));
                char block[512];
                assert_int_equal(pread(fd, block, 512, 0), 512);
                memcpy(block + bad[i].at, bad[i].bytes, bad[i].n);
                put_checksum(block);
                assert_int_equal(pwrite(fd, block, 512, 0), 512);
                assert_refused(fd, bad[i].says);
        }
        /* Wrong sum; every way to cut it short; something after the end. */
        int fd = MADE(FILE_AT("name", "content"));
        assert_int_equal(pwrite(fd, "N", 1, 0), 1);
        assert_refused(fd, "no pax header");
        for (off_t length = 0; length < 2048; length += 256) {
                fd = MADE(FILE_AT("name", "content"));
                assert_int_equal(lseek(fd, 0, SEEK_END), 2048);
                assert_int_equal(ftruncate(fd, length), 0);
                assert_refused(fd, length >= 1024 ? "" : "payload");
        }
        fd = MADE(FILE_AT("name", "content"));
        assert_int_equal(pwrite(fd, "x", 1, 2060), 1);
        assert_refused(fd, "followed by something else");
}

static void test_damaged_extended_headers_are_refused(void **state) {
        static const char *const bad[] = {
                "13 path=abc\n",
                "10 path=abc\n",
                "11 path=abc",
                "999999999 path=a\n",
                "x path=abc\n",
                "8 path=\n11 path=\n",
                "0 \n",
                "5 a=\n\n",
                "16 size=-000001\n",
                "18 size=9999999999\n",
                "30 size=9999999999999999999999\n",
                "14 uid=-00001\n",
                "21 uid=999999999999\n",
                "12 path=abc\n12 path=abd\n",
                "22 GNU.sparse.major=2\n22 GNU.sparse.minor=0\n",
                "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n27 GNU.sparse.realsize=-1\n",
                "25 SCHILY.acl.access=abc\n",
                "27 GNU.sparse.size=12345678\n",
                "30 hdrcharset=BINARYBINARYBINA\n",
                "14 path=../xy\n",
                "11 path=/ab\n",
                "12 path=a\0bc\n",
        };
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                /* An entry whose name is too long has an extended header; its text is put in its place. */
                char name[160], block[512] = {0};
                memset(name, 'n', sizeof(name) - 1);
                name[sizeof(name) - 1] = '\0';
                int fd = MADE(FILE_AT(name, "content"));
                size_t n = i + 1 == ARRAY_SIZE(bad) ? 12 : strlen(bad[i]);
                memcpy(block, bad[i], n);
                assert_int_equal(pwrite(fd, block, 512, 512), 512);
                assert_int_equal(pread(fd, block, 512, 0), 512);
                (void)snprintf(block + 124, 12, "%011o", (unsigned)n & 07777);
                put_checksum(block);
                assert_int_equal(pwrite(fd, block, 512, 0), 512);
                assert_refused(fd, "");
        }
}

static void test_every_flipped_byte_is_refused_or_harmless(void **state) {
        make_tree("flipped");
        shell("chmod u+w flipped/a/b; rm flipped/a/b/big flipped/a/b/web2 flipped/sparse");
        int fd = pack_tree("flipped");
        off_t length = lseek(fd, 0, SEEK_END);
        unsigned refused = 0;
        for (off_t at = 0; at < length; at += 37) {
                char byte, other;
                _cleanup_(err_freep) struct err *err = NULL;
                assert_int_equal(pread(fd, &byte, 1, at), 1);
                other = (char)(byte ^ (1 << (at % 8)));
                assert_int_equal(pwrite(fd, &other, 1, at), 1);
                struct pax_reader r;
                struct pax_entry e = {0};
                int s;
                assert_int_equal(pax_reader_init(&r, fd, NULL), 0);
                while ((s = pax_read_entry(&r, &e, &err)) > 0)
                        pax_entry_done(&e);
                refused += s < 0;
                assert_true(s == 0 || s == -EINVAL);
                pax_reader_done(&r);
                assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        }
        assert_true(refused > 20);
        close(fd);
}

/* ---- archives of other people's making, pushed */

static void python(const char *text) {
        _cleanup_(x_freep) char *path = path_join(folder, "make.py");
        _cleanup_(x_freep) char *whole =
                str_format("import io, os, sys, tarfile\n"
                           "os.chdir(sys.argv[1])\n"
                           "t = tarfile.open('bad.tar', 'w', format=tarfile.PAX_FORMAT)\n"
                           "def add(name, data=b'', **k):\n"
                           "    i = tarfile.TarInfo(name)\n"
                           "    i.size = len(data)\n"
                           "    for a, b in k.items(): setattr(i, a, b)\n"
                           "    t.addfile(i, io.BytesIO(data) if data else None)\n"
                           "%s\n"
                           "t.close()\n",
                           text);
        assert_int_equal(file_write_atomic(path, whole, strlen(whole), 0600, NULL), 0);
        shell("python3 make.py %s", folder);
}

static void test_hostile_archives_are_not_pushed(void **state) {
        static const struct {
                const char *text, *says;
        } bad[] = {
                {"add('../x', b'x')", "'../x'"},
                {"add('a/../../x', b'x')", "leads out"},
                {"add('/etc/x', b'x')", "absolute"},
                {"add('a', type=tarfile.SYMTYPE, linkname='/etc'); add('a/passwd', b'x')", "symbolic link"},
                {"add('a', b'x'); add('a', b'y')", "there twice"},
                {"add('a', type=tarfile.SYMTYPE, linkname='/etc/passwd'); add('a', b'y')", "there twice"},
                {"add('a', b'x'); add('a/b', b'y')", "would lie in 'a'"},
                {"add('a', type=tarfile.LNKTYPE, linkname='/etc/passwd')", "hard link"},
                {"add('a', type=tarfile.LNKTYPE, linkname='../../etc/passwd')", "hard link"},
                {"add('a', type=tarfile.LNKTYPE, linkname='later'); add('later', b'x')", "no file before it"},
                {"add('a', type=tarfile.SYMTYPE, linkname='b'); add('c', type=tarfile.LNKTYPE, linkname='a')",
                 "no file before it"},
                {"add('a', b'x', uid=2**40)", "owner"},
                {"add('a', b'', size=2**50)", ""},
        };
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_(err_freep) struct err *err = NULL;
                int fd = -1;
                python(bad[i].text);
                int r = pack(ARTIFACT_TREE, "bad.tar", NULL, &err, &fd);
                if (r >= 0)
                        fail_msg("pushed: %s", bad[i].text);
                assert_true(r == -EINVAL || r == -EFBIG);
                if (!strstr(err_message(err), bad[i].says))
                        fail_msg("'%s' does not say '%s'", err_message(err), bad[i].says);
        }
        _cleanup_(err_freep) struct err *err = NULL;
        int fd = -1;
        shell("printf 'no archive at all' > bad.tar");
        assert_int_equal(pack(ARTIFACT_TREE, "bad.tar", NULL, &err, &fd), -EINVAL);
        err = err_free(err);
        shell("python3 -c \"\nimport tarfile\nclass Zeros:\n def read(self, n): return bytes(n)\nt = "
              "tarfile.open('bomb.tgz', 'w|gz')\ni = tarfile.TarInfo('zeros')\ni.size = 1200 << "
              "20\nt.addfile(i, "
              "Zeros())\nt.close()\"");
        assert_int_equal(pack(ARTIFACT_TREE, "bomb.tgz", NULL, &err, &fd), -EFBIG);
        assert_non_null(strstr(err_message(err), "times its size"));
        shell("rm bomb.tgz");
}

static void test_archives_without_folders_get_them(void **state) {
        python("add('a/b/c', b'x', mode=0o600); add('a/d', type=tarfile.LNKTYPE, linkname='a/b/c')");
        int fd = pack_tree("bad.tar");
        assert_int_equal(unpack(fd, "implied", NULL, NULL), 0);
        shell("test $(stat -c %%a implied/a/b) = 755; test $(cat implied/a/d) = x; test implied/a/d -ef "
              "implied/a/b/c");
        close(fd);
}

/* ---- differences */

static void note_change(void *arg, const struct payload_change *c) {
        static const char signs[] = "+-~";
        struct buf *b = arg;
        buf_printf(b, "%c%s %lld %lld %s\n", signs[c->what], c->path, (long long)c->old_size,
                   (long long)c->new_size, c->note);
}

static void test_tree_diff(void **state) {
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        shell("mkdir -p old/d; cd old; printf a > same; printf abc > changed; printf abc > content; printf x "
              "> gone; ln -s a "
              "link; chmod 644 same; cd ..; cp -a old new; cd new; printf abcd > changed; printf abd > "
              "content; rm gone; "
              "printf new > d/new; ln -sf b link; chmod 755 same");
        int a = pack_tree("old"), b = pack_tree("new");
        assert_int_equal(payload_diff(ARTIFACT_TREE, a, b, note_change, &out, NULL), 0);
        assert_string_equal(buf_str(&out), "~changed 3 4 \n"
                                           "~content 3 3 \n"
                                           "+d/new -1 3 \n"
                                           "-gone 1 -1 \n"
                                           "~link 0 0 link a -> b\n"
                                           "~same 1 1 mode 0644 -> 0755\n");
        buf_clear(&out);
        assert_int_equal(payload_diff(ARTIFACT_TREE, a, a, note_change, &out, NULL), 0);
        assert_string_equal(buf_str(&out), "");
        assert_int_equal(payload_diff(ARTIFACT_FILE, a, b, note_change, &out, NULL), 0);
        assert_int_equal(out.data[0], '~');
        close(a);
        close(b);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_tree_goes_round),
                cmocka_unit_test(test_the_same_tree_gives_the_same_bytes),
                cmocka_unit_test(test_the_format_never_changes),
                cmocka_unit_test(test_time_is_what_was_asked_for),
                cmocka_unit_test(test_an_empty_tree),
                cmocka_unit_test(test_check_sees_every_difference),
                cmocka_unit_test(test_limits_of_unpacking),
                cmocka_unit_test(test_bits_and_devices_only_when_asked_for),
                cmocka_unit_test(test_what_cannot_be_carried_is_named),
                cmocka_unit_test(test_a_full_disk_is_said),
                cmocka_unit_test(test_hostile_payloads_are_refused),
                cmocka_unit_test(test_sparse_abuse_is_refused),
                cmocka_unit_test(test_damaged_headers_are_refused),
                cmocka_unit_test(test_damaged_extended_headers_are_refused),
                cmocka_unit_test(test_every_flipped_byte_is_refused_or_harmless),
                cmocka_unit_test(test_hostile_archives_are_not_pushed),
                cmocka_unit_test(test_archives_without_folders_get_them),
                cmocka_unit_test(test_tree_diff),
        };
        return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
