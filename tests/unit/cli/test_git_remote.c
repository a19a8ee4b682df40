/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/str.h"
#include "cli/git_remote.h"

static int setup(void **state) {
        char *dir = str_dup("/tmp/skerry-remote-XXXXXX");
        *state = dir;
        return dir && mkdtemp(dir) ? 0 : -1;
}
static int teardown(void **state) {
        int r = path_remove(*state, NULL);
        free(*state);
        return r;
}

static void put_config(const char *dir, const char *text) {
        _cleanup_(x_freep) char *git = path_join(dir, ".git"), *config = path_join(git, "config");
        assert_int_equal(dir_make(git, 0755, NULL), 0);
        assert_int_equal(file_write_atomic(config, text, strlen(text), 0644, NULL), 0);
}

static char **remotes(const char *dir) {
        char **urls = NULL;
        assert_int_equal(git_remote_urls(dir, &urls, NULL), 0);
        return urls;
}

static void test_urls_of_remotes(void **state) {
        put_config(*state,
                   "[core]\n\tbare = false\n\turl = /not/this\n"
                   "[remote \"origin\"]\r\n\turl = git@example.org:ops/fleet.git\r\n\tfetch = +refs/*\n"
                   "  URL=\"/srv/fleet.git\"\n\tpushurl = /not/this\n\turl =\n"
                   "[branch \"main\"]\n\turl = /nor/this\n\t[Remote \"b\"]\nurl = https://b/c");
        _cleanup_(strv_freep) char **urls = remotes(*state);
        assert_int_equal(strv_len(urls), 3);
        assert_string_equal(urls[0], "git@example.org:ops/fleet.git");
        assert_string_equal(urls[1], "/srv/fleet.git");
        assert_string_equal(urls[2], "https://b/c");
}

static void test_a_folder_of_a_clone(void **state) {
        _cleanup_(x_freep) char *folder = path_join(*state, "a/b");
        _cleanup_(strv_freep) char **none = NULL, **urls = NULL;
        assert_int_equal(dir_make(folder, 0755, NULL), 0);
        none = remotes(folder); /* a clone may be above the temporary folder, but not this one */
        assert_false(strv_has(none, "/srv/fleet.git"));
        put_config(*state, "[remote \"origin\"]\n\turl = /srv/fleet.git\n");
        urls = remotes(folder);
        assert_int_equal(strv_len(urls), 1);
        assert_string_equal(urls[0], "/srv/fleet.git");
        _cleanup_(x_freep) char *absent = path_join(*state, "absent");
        char **untouched = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        assert_int_equal(git_remote_urls(absent, &untouched, &err), -ENOENT);
        assert_non_null(strstr(err_message(err), "absent"));
}

static void test_same_repository(void **state) {
        static const char *const same[] = {
                "https://git.example.org/ops/fleet.git",
                "https://git.example.org/ops/fleet",
                "https://Git.Example.org:8443/ops/fleet/",
                "http://ada@git.example.org/ops/fleet.git/",
                "ssh://git@git.example.org:2222/ops/fleet.git",
                "git@git.example.org:ops/fleet.git",
                "git.example.org:/ops/fleet",
        };
        static const char *const other[] = {
                "https://git.example.org/ops/fleets",
                "https://git.example.com/ops/fleet.git",
                "https://git.example.org/Ops/fleet.git",
                "/ops/fleet.git",
                "git.example.org/ops/fleet",
                "",
        };
        static const char *const local[] = {"/srv/fleet", "/srv/fleet.git", "/srv/fleet/", "/srv/fleet/.git",
                                            "file:///srv/fleet.git"};
        for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
                assert_true(git_same_repository(same[0], same[i]));
                for (size_t j = 0; j + 2 < ARRAY_SIZE(other); j++)
                        assert_false(git_same_repository(same[i], other[j]));
                assert_false(git_same_repository(same[i], ""));
        }
        for (size_t i = 0; i < ARRAY_SIZE(local); i++) {
                assert_true(git_same_repository(local[0], local[i]));
                assert_false(git_same_repository(local[i], "/srv/fleet2"));
                assert_false(git_same_repository(local[i], "host:/srv/fleet"));
        }
}

static json_t *source(const char *name, const char *url) {
        return json_pack("{s:{s:s}, s:{s:s}}", "metadata", "name", name, "spec", "url", url);
}

static void refused(const json_t *sources, const char *wanted, const char *dir, int code, const char *words) {
        _cleanup_(err_freep) struct err *err = NULL;
        const char *name = "untouched";
        assert_int_equal(git_choose_source(sources, wanted, dir, &name, &err), code);
        assert_string_equal(name, "untouched");
        if (!strstr(err_message(err), words))
                fail_msg("\"%s\" does not say \"%s\"", err_message(err), words);
}

static void chosen(const json_t *sources, const char *wanted, const char *dir, const char *expected) {
        const char *name = "untouched";
        assert_int_equal(git_choose_source(sources, wanted, dir, &name, NULL), 0);
        if (expected)
                assert_string_equal(name, expected);
        else
                assert_null(name);
}

static void test_choosing(void **state) {
        json_t *items = json_array(), *sources = json_pack("{s:o}", "items", items);
        chosen(sources, NULL, *state, NULL);
        refused(sources, "shops", *state, -ENOENT, "no repository yet");

        json_array_append_new(items, source("shops", "https://git.example.org/shops.git"));
        chosen(sources, NULL, *state, "shops"); /* the only one, whatever the folder is */
        refused(sources, "bars", *state, -ENOENT, "there is shops");

        json_array_append_new(items, source("bars", "https://git.example.org/bars.git"));
        refused(sources, NULL, *state, -EINVAL, "(shops, bars): say which source");
        put_config(*state, "[remote \"origin\"]\n\turl = git@git.example.org:bars.git\n");
        chosen(sources, NULL, *state, "bars");
        chosen(sources, "shops", *state, "shops");

        json_array_append_new(items, source("bars-next", "https://git.example.org/bars.git"));
        refused(sources, NULL, *state, -EINVAL, "(bars, bars-next): say which one with --source");
        for (int i = 0; i < 20; i++)
                json_array_append_new(items, source("more", "/srv/x"));
        refused(sources, "none", *state, -ENOENT, "more, ...");
        json_decref(sources);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_urls_of_remotes, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_folder_of_a_clone, setup, teardown),
                cmocka_unit_test(test_same_repository),
                cmocka_unit_test_setup_teardown(test_choosing, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
