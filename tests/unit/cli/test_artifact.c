/* SPDX-License-Identifier: Apache-2.0 */
/* What a push guesses, how artifacts are named on the command line, and what is looked up in lists. */
#include <elf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../folder.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "cli/artifact.h"
#include "cli/artifact_guess.h"
#include "codec/json.h"

#define HEAD 2048

struct place {
        char *path;
        char head[HEAD];
};

static int setup(void **state) {
        struct place *p = calloc(1, sizeof(*p));
        if (make_folder(state) < 0)
                return -1;
        p->path = path_join(folder, "it");
        *state = p;
        return 0;
}

static int teardown(void **state) {
        struct place *p = *state;
        free(p->path);
        free(p);
        return remove_folder(NULL);
}

static void write_head(const struct place *p, size_t len) {
        assert_int_equal(file_write_atomic(p->path, p->head, len, 0644, NULL), 0);
}

static enum artifact_type type_of(const char *path) {
        enum artifact_type type;
        assert_int_equal(artifact_guess_type(NULL, path, &type, NULL), 0);
        return type;
}

static void test_images(void **state) {
        static const struct {
                size_t at;
                const char *magic;
        } cases[] = {{1024, "\xe2\xe1\xf5\xe0"}, {0, "hsqs"}, {1080, "\x53\xef"}, {512, "EFI PART"}};
        struct place *p = *state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                size_t len = strlen(cases[i].magic);
                memset(p->head, 0, sizeof(p->head));
                memcpy(p->head + cases[i].at, cases[i].magic, len);
                write_head(p, cases[i].at + len);
                assert_int_equal(type_of(p->path), ARTIFACT_IMAGE);
                write_head(p, cases[i].at + len - 1); /* cut off before the mark ends */
                assert_int_equal(type_of(p->path), ARTIFACT_FILE);
        }
        write_head(p, 0);
        assert_int_equal(type_of(p->path), ARTIFACT_FILE);
}

static void test_folders(void **state) {
        _cleanup_(x_freep) char *layout = path_join(folder, "oci-layout");
        _cleanup_(x_freep) char *index = path_join(folder, "index.json");
        assert_int_equal(type_of(folder), ARTIFACT_TREE);
        assert_int_equal(file_write_atomic(layout, "{}", 2, 0644, NULL), 0);
        assert_int_equal(type_of(folder), ARTIFACT_TREE);
        assert_int_equal(file_write_atomic(index, "{}", 2, 0644, NULL), 0);
        assert_int_equal(type_of(folder), ARTIFACT_OCI);
}

static void test_types_that_are_asked_for(void **state) {
        static const char *const names[] = {"a.tar", "a.tar.gz", "a.tgz", "a.tar.xz", "a.tar.zst"};
        struct place *p = *state;
        enum artifact_type type = ARTIFACT_IMAGE;
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                _cleanup_(x_freep) char *path = path_join(folder, names[i]);
                _cleanup_(err_freep) struct err *err = NULL;
                assert_int_equal(file_write_atomic(path, "x", 1, 0644, NULL), 0);
                assert_int_equal(artifact_guess_type(NULL, path, &type, &err), -EINVAL);
                assert_non_null(strstr(err_message(err), "--type tree"));
                assert_int_equal(artifact_guess_type("tree", path, &type, NULL), 0);
                assert_int_equal(type, ARTIFACT_TREE);
                type = ARTIFACT_IMAGE;
        }
        assert_int_equal(artifact_guess_type(NULL, p->path, &type, NULL), -ENOENT);
        assert_int_equal(type, ARTIFACT_IMAGE); /* untouched on failure */
}

static void test_platforms(void **state) {
        static const struct {
                unsigned char data, low, high;
                const char *platform;
        } cases[] = {
                {ELFDATA2LSB, EM_X86_64, 0, "linux/amd64"}, {ELFDATA2LSB, EM_AARCH64, 0, "linux/arm64/v8"},
                {ELFDATA2LSB, EM_ARM, 0, "linux/arm/v7"},   {ELFDATA2LSB, EM_RISCV, 0, "linux/riscv64"},
                {ELFDATA2MSB, 0, EM_S390, "linux/s390x"},
        };
        struct place *p = *state;
        char platform[PLATFORM_MAX] = "untouched";
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                memset(p->head, 0, sizeof(p->head));
                memcpy(p->head, ELFMAG, SELFMAG);
                p->head[EI_DATA] = (char)cases[i].data;
                p->head[18] = (char)cases[i].low;
                p->head[19] = (char)cases[i].high;
                write_head(p, 64);
                assert_int_equal(artifact_guess_platform(NULL, ARTIFACT_FILE, p->path, platform, NULL), 0);
                assert_string_equal(platform, cases[i].platform);
        }
        p->head[18] = p->head[19] = 0x7f; /* a machine that nobody knows is a question */
        write_head(p, 64);
        assert_int_equal(artifact_guess_platform(NULL, ARTIFACT_FILE, p->path, platform, NULL), -EINVAL);
        write_head(p, 19); /* an ELF header that is cut off is a file like any other */
        assert_int_equal(artifact_guess_platform(NULL, ARTIFACT_FILE, p->path, platform, NULL), 0);
        assert_string_equal(platform, "any");
        assert_int_equal(artifact_guess_platform(NULL, ARTIFACT_TREE, folder, platform, NULL), -EINVAL);
        assert_int_equal(artifact_guess_platform("aarch64", ARTIFACT_TREE, folder, platform, NULL), -EINVAL);
        assert_int_equal(artifact_guess_platform("linux/arm64", ARTIFACT_TREE, folder, platform, NULL), 0);
        assert_string_equal(platform, "linux/arm64/v8");
        assert_int_equal(artifact_guess_platform(NULL, ARTIFACT_OCI, folder, platform, NULL), 0);
        assert_string_equal(platform, "");
}

static void test_arguments(void **state) {
        static const char *const bad[] = {"", "Web", "web:", ":1", "web:1:2", "../web", "web:1/2", "web: 1"};
        _cleanup_(x_freep) char *name = NULL, *version = NULL, *name2 = NULL, *version2 = NULL;
        assert_int_equal(artifact_argument("web", &name, &version, NULL), 0);
        assert_string_equal(name, "web");
        assert_null(version);
        assert_int_equal(artifact_argument("shop.web:1.2.0+a", &name2, &version2, NULL), 0);
        assert_string_equal(name2, "shop.web");
        assert_string_equal(version2, "1.2.0+a");
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_(err_freep) struct err *err = NULL;
                char *n = (char *)"untouched", *v = (char *)"untouched";
                assert_int_equal(artifact_argument(bad[i], &n, &v, &err), -EINVAL);
                assert_non_null(err);
                assert_string_equal(n, "untouched");
        }
}

static void test_lists(void **state) {
        _cleanup_json_ json_t *list = json_pack("{s:[{s:s,s:i},{s:s,s:i}]}", "deltas", "from", "aa", "length",
                                                7, "from", "bb", "length", 9);
        _cleanup_json_ json_t *empty = json_object();
        assert_int_equal(artifact_delta_length(list, "bb"), 9);
        assert_int_equal(artifact_delta_length(list, "cc"), -1);
        assert_int_equal(artifact_delta_length(empty, "aa"), -1);

        struct artifact amd64 = {.platform = "linux/amd64"}, any = {.platform = "any"};
        const struct artifact *const all[] = {&amd64, &any};
        assert_ptr_equal(artifact_of_platform(all, 2, "any"), &any);
        assert_null(artifact_of_platform(all, 2, "linux/arm64/v8"));
}

static void test_expiry(void **state) {
        char text[64];
        int64_t now = clock_wall_ms(clock_system()) / 1000;
        assert_string_equal(repo_expiry_text(0, text, sizeof(text)), "");
        assert_int_equal(strncmp(repo_expiry_text(now + 86400 * 9, text, sizeof(text)), "in ", 3), 0);
        assert_true(str_has_suffix(repo_expiry_text(now - 86400, text, sizeof(text)), " ago"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_images, setup, teardown),
                cmocka_unit_test_setup_teardown(test_folders, setup, teardown),
                cmocka_unit_test_setup_teardown(test_types_that_are_asked_for, setup, teardown),
                cmocka_unit_test_setup_teardown(test_platforms, setup, teardown),
                cmocka_unit_test(test_arguments),
                cmocka_unit_test(test_lists),
                cmocka_unit_test(test_expiry),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
