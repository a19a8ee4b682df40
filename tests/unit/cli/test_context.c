/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../folder.h"
#include "base/fs.h"
#include "base/str.h"
#include "cli/context.h"

struct place {
        char *path;
};

static int setup(void **state) {
        struct place *p = calloc(1, sizeof(*p));
        if (make_folder(state) < 0)
                return -1;
        p->path = path_join(folder, "new/skerry/config.yaml");
        static const char *const names[] = {"SKERRY_SERVER", "SKERRY_TOKEN", "SKERRY_CONTEXT",
                                            "SKERRY_CONFIG"};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                unsetenv(names[i]);
        *state = p;
        return 0;
}

static int teardown(void **state) {
        struct place *p = *state;
        free(p->path);
        free(p);
        return remove_folder(NULL);
}

static void save_two(const char *path) {
        _cleanup_(context_file_done) struct context_file f = {0};
        assert_int_equal(context_file_load(path, &f, NULL), 0); /* absent: empty */
        assert_int_equal(f.n, 0);
        assert_int_equal(context_file_set(&f, "home", "https://a:1", "ska_x.y", NULL, NULL), 0);
        assert_int_equal(context_file_set(&f, "away", "https://b: yes", NULL, "00ff", NULL), 0);
        assert_int_equal(str_replace(&f.current, "home"), 0);
        assert_int_equal(context_file_save(&f, NULL), 0);
}

static void test_round_trip_and_mode(void **state) {
        struct place *p = *state;
        _cleanup_(context_file_done) struct context_file f = {0};
        struct stat st;
        save_two(p->path);
        assert_int_equal(stat(p->path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(context_file_load(p->path, &f, NULL), 0);
        assert_int_equal(f.n, 2);
        assert_string_equal(f.current, "home");
        const struct cli_context *c = context_file_find(&f, "away", NULL);
        assert_string_equal(c->server, "https://b: yes");
        assert_null(c->token);
        assert_string_equal(c->pin, "00ff");
        assert_string_equal(context_file_find(&f, "home", NULL)->token, "ska_x.y");
}

static void test_replace_and_remove(void **state) {
        struct place *p = *state;
        _cleanup_(context_file_done) struct context_file f = {0};
        _cleanup_(err_freep) struct err *err = NULL;
        save_two(p->path);
        assert_int_equal(context_file_load(p->path, &f, NULL), 0);
        assert_int_equal(context_file_set(&f, "home", "https://c", NULL, NULL, NULL), 0);
        assert_int_equal(f.n, 2);
        assert_null(context_file_find(&f, "home", NULL)->token);
        assert_int_equal(context_file_remove(&f, "hom", &err), -ENOENT);
        assert_non_null(strstr(err_message(err), "did you mean 'home'?"));
        assert_int_equal(context_file_remove(&f, "home", NULL), 0);
        assert_null(f.current);
        assert_int_equal(f.n, 1);
        assert_string_equal(f.items[0].name, "away");
}

static void test_wrong_files_are_told(void **state) {
        static const struct {
                const char *text, *says;
        } cases[] = {
                {"contexts: 5\n", ":1:11: 'contexts' must be a list"},
                {"contexts:\n- name: a\n", ":2:3: 'server' is missing"},
                {"contexts:\n- name: [a]\n  server: b\n", ":2:9: 'name' is a list, not text"},
                {"- a\n", "expected a map"},
                {"a: [\n", "config.yaml:"},
        };
        _cleanup_(x_freep) char *path = path_join(folder, "config.yaml");
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(err_freep) struct err *err = NULL;
                _cleanup_(context_file_done) struct context_file f = {0};
                assert_int_equal(file_write_atomic(path, cases[i].text, strlen(cases[i].text), 0600, NULL),
                                 0);
                assert_int_equal(context_file_load(path, &f, &err), -EINVAL);
                if (!strstr(err_message(err), cases[i].says))
                        fail_msg("'%s' does not say '%s'", err_message(err), cases[i].says);
        }
}

static void test_which_one(void **state) {
        struct place *p = *state;
        struct cli_globals g = {.config = p->path};
        struct cli_context c = {0};
        _cleanup_(err_freep) struct err *err = NULL;
        assert_false(context_exists(&g));
        assert_int_equal(context_resolve(&g, &c, &err), -ENOENT);
        assert_non_null(strstr(err_message(err), "skerry context add"));
        save_two(p->path);
        assert_int_equal(context_resolve(&g, &c, NULL), 0);
        assert_string_equal(c.name, "home");
        cli_context_done(&c);
        g.context = (char *)"away";
        assert_int_equal(context_resolve(&g, &c, NULL), 0);
        assert_string_equal(c.server, "https://b: yes");
        cli_context_done(&c);
        /* The environment goes over it, */
        setenv("SKERRY_TOKEN", "ska_other", 1);
        assert_int_equal(context_resolve(&g, &c, NULL), 0);
        assert_string_equal(c.token, "ska_other");
        cli_context_done(&c);
        /* and is enough alone. */
        g = (struct cli_globals){.config = (char *)"/nonexistent/config.yaml"};
        setenv("SKERRY_SERVER", "fleet.example.org", 1);
        assert_int_equal(context_resolve(&g, &c, NULL), 0);
        assert_string_equal(c.server, "https://fleet.example.org");
        cli_context_done(&c);
        setenv("SKERRY_SERVER", "ftp://x", 1);
        assert_int_equal(context_resolve(&g, &c, NULL), -EINVAL);
        unsetenv("SKERRY_SERVER");
        unsetenv("SKERRY_TOKEN");
}

static void test_place(void **state) {
        struct cli_globals g = {0};
        _cleanup_(x_freep) char *xdg = NULL, *home = NULL;
        char *old = str_dup(getenv("HOME"));
        setenv("XDG_CONFIG_HOME", "/x", 1);
        assert_int_equal(context_file_path(&g, &xdg, NULL), 0);
        assert_string_equal(xdg, "/x/skerry/config.yaml");
        unsetenv("XDG_CONFIG_HOME");
        setenv("HOME", "/h", 1);
        assert_int_equal(context_file_path(&g, &home, NULL), 0);
        assert_string_equal(home, "/h/.config/skerry/config.yaml");
        unsetenv("HOME");
        char *none = NULL;
        assert_int_equal(context_file_path(&g, &none, NULL), -ENOENT);
        if (old)
                setenv("HOME", old, 1);
        free(old);
}

static void test_addresses(void **state) {
        static const char *const good[][2] = {
                {"fleet.example.org", "https://fleet.example.org"},
                {"https://fleet.example.org:8443/", "https://fleet.example.org:8443"},
                {"https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"},
                {"http://127.0.0.1:80", "http://127.0.0.1:80"},
                {"http://localhost", "http://localhost"},
                {"http://[::1]:1//", "http://[::1]:1"},
        };
        static const char *const bad[] = {
                "",
                "https://",
                "http://fleet.example.org",
                "http://127.0.0.1.example.org",
                "http://localhost@evil.org",
                "ssh://x",
                "https://host/api/v1",
                "https://host?x=1",
                "https://us er",
                "http://[::1].evil.org",
                "host:",
                "host:80x",
                "https://[::1",
                "a:b:c",
        };
        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                _cleanup_(x_freep) char *url = NULL;
                assert_int_equal(server_url_normalise(good[i][0], &url, NULL), 0);
                assert_string_equal(url, good[i][1]);
        }
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                char *url = NULL;
                if (server_url_normalise(bad[i], &url, NULL) != -EINVAL)
                        fail_msg("'%s' was taken", bad[i]);
                assert_null(url);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_round_trip_and_mode, setup, teardown),
                cmocka_unit_test_setup_teardown(test_replace_and_remove, setup, teardown),
                cmocka_unit_test_setup_teardown(test_wrong_files_are_told, setup, teardown),
                cmocka_unit_test_setup_teardown(test_which_one, setup, teardown),
                cmocka_unit_test(test_place),
                cmocka_unit_test(test_addresses),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
