/* SPDX-License-Identifier: Apache-2.0 */
#include "server/git_status.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "base/str.h"
#include "codec/json.h"

static void test_where_the_project_is(void **state) {
        static const struct {
                enum status_host host;
                const char *repository, *given, *base;
        } cases[] = {
                {STATUS_GITHUB, "https://github.com/acme/fleet.git", NULL,
                 "https://api.github.com/repos/acme/fleet"},
                {STATUS_GITHUB, "git@github.com:acme/fleet.git", NULL,
                 "https://api.github.com/repos/acme/fleet"},
                {STATUS_GITHUB, "https://git.example.org/acme/fleet", NULL,
                 "https://git.example.org/api/v3/repos/acme/fleet"},
                {STATUS_GITLAB, "ssh://git@gitlab.example.org:2222/acme/edge/fleet.git", NULL,
                 "https://gitlab.example.org/api/v4/projects/acme%2Fedge%2Ffleet"},
                {STATUS_GITEA, "https://gitea.example.org:3000/acme/fleet/", NULL,
                 "https://gitea.example.org:3000/api/v1/repos/acme/fleet"},
                {STATUS_GITEA, "/srv/fleet.git", "http://127.0.0.1:1/repos/a/b/",
                 "http://127.0.0.1:1/repos/a/b"},
                {STATUS_GITEA, "/srv/fleet.git", NULL, NULL},
                {STATUS_GITHUB, "https://github.com/fleet", NULL, NULL},
                {STATUS_GITHUB, "file:///srv/fleet.git", NULL, NULL},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(x_freep) char *base = NULL;
                _cleanup_(err_freep) struct err *err = NULL;
                int r = git_status_base(cases[i].host, cases[i].repository, cases[i].given, &base, &err);
                assert_int_equal(r, cases[i].base ? 0 : -EINVAL);
                if (cases[i].base)
                        assert_string_equal(base, cases[i].base);
        }
}

static void check(enum status_host host, const char *header, const char *name_of_context, const char *state) {
        _cleanup_(git_status_request_done) struct git_status_request r = {0};
        const struct git_status s = {.commit = "abc",
                                     .context = "skerry/fleet",
                                     .state = STATUS_FAILURE,
                                     .description = "it failed",
                                     .target_url = "https://here/"};
        json_t *j = NULL;
        assert_int_equal(git_status_request(host, "https://api/repos/a/b", "token", &s, &r, NULL), 0);
        assert_string_equal(r.url, "https://api/repos/a/b/statuses/abc");
        assert_true(strv_has(r.headers, header));
        assert_int_equal(json_decode(r.body, strlen(r.body), &j, NULL), 0);
        assert_string_equal(json_string_value(json_object_get(j, name_of_context)), "skerry/fleet");
        assert_string_equal(json_string_value(json_object_get(j, "state")), state);
        assert_string_equal(json_string_value(json_object_get(j, "description")), "it failed");
        assert_string_equal(json_string_value(json_object_get(j, "target_url")), "https://here/");
        assert_int_equal(json_object_size(j), 4);
        json_decref(j);
}

static void test_shapes(void **state) {
        check(STATUS_GITHUB, "Authorization: Bearer token", "context", "failure");
        check(STATUS_GITLAB, "PRIVATE-TOKEN: token", "name", "failed");
        check(STATUS_GITEA, "Authorization: token token", "context", "failure");
}

static void test_long_words_are_cut_between_characters(void **state) {
        char text[2001];
        for (int i = 0; i < 1000; i++)
                memcpy(text + 2 * (size_t)i, "\xc3\xa4", 2);
        text[2000] = '\0';
        for (int more = 0; more < 2; more++) {
                _cleanup_(git_status_request_done) struct git_status_request r = {0};
                json_t *j = NULL;
                size_t count = 0;
                text[2 * (140 + more)] = '\0';
                const struct git_status s = {.commit = "a", .context = "b", .description = text};
                assert_int_equal(git_status_request(STATUS_GITHUB, "u", "t", &s, &r, NULL), 0);
                assert_int_equal(json_decode(r.body, strlen(r.body), &j, NULL), 0); /* UTF-8 still */
                const char *shown = json_string_value(json_object_get(j, "description"));
                for (const char *p = shown; *p; p++)
                        count += ((unsigned char)*p & 0xc0) != 0x80;
                assert_int_equal(count, 140);
                assert_int_equal(str_has_suffix(shown, "..."), more == 1);
                json_decref(j);
                text[2 * (140 + more)] = '\xc3';
        }
}

static void test_a_token_is_one_line(void **state) {
        _cleanup_(git_status_request_done) struct git_status_request r = {0};
        const struct git_status s = {.commit = "a", .context = "b", .description = "c"};
        assert_int_equal(git_status_request(STATUS_GITHUB, "u", "a\r\nX: y", &s, &r, NULL), -EINVAL);
        assert_int_equal(git_status_request(STATUS_GITHUB, "u", "", &s, &r, NULL), -EINVAL);
}

static void test_answers(void **state) {
        assert_int_equal(git_status_judge(STATUS_GITHUB, 201, "{}"), STATUS_TAKEN);
        assert_int_equal(git_status_judge(STATUS_GITHUB, 422, "{}"), STATUS_NEVER);
        assert_int_equal(git_status_judge(STATUS_GITHUB, 403, "{}"), STATUS_LATER);
        assert_int_equal(git_status_judge(STATUS_GITHUB, 429, NULL), STATUS_LATER);
        assert_int_equal(git_status_judge(STATUS_GITEA, 500, "{}"), STATUS_LATER);
        const char *known = "{\"message\":\"Cannot transition status via :enqueue from :pending\"}";
        assert_int_equal(git_status_judge(STATUS_GITLAB, 400, known), STATUS_TAKEN);
        assert_int_equal(git_status_judge(STATUS_GITLAB, 400, "{}"), STATUS_NEVER);
        assert_int_equal(git_status_judge(STATUS_GITEA, 400, known), STATUS_NEVER);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_where_the_project_is),
                cmocka_unit_test(test_shapes),
                cmocka_unit_test(test_long_words_are_cut_between_characters),
                cmocka_unit_test(test_a_token_is_one_line),
                cmocka_unit_test(test_answers),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
