/* SPDX-License-Identifier: Apache-2.0 */
#include "server/webhook.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* GitHub's own example: "Validating webhook deliveries", section "Testing the webhook payload validation". */
#define SECRET "It's a Secret to Everybody"
#define BODY "Hello, World!"
#define MAC "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

static void test_signatures(void **state) {
        assert_true(webhook_signature_is_valid(WEBHOOK_GITHUB, "sha256=" MAC, SECRET, BODY, strlen(BODY)));
        assert_true(webhook_signature_is_valid(WEBHOOK_GITEA, MAC, SECRET, BODY, strlen(BODY)));
        assert_true(webhook_signature_is_valid(WEBHOOK_GITLAB, SECRET, SECRET, BODY, strlen(BODY)));
        static const struct {
                enum webhook_host host;
                const char *signature, *secret, *body;
        } wrong[] = {
                {WEBHOOK_GITHUB, MAC, SECRET, BODY}, /* without its prefix */
                {WEBHOOK_GITHUB, "sha1=" MAC, SECRET, BODY},
                {WEBHOOK_GITHUB, "sha256=" MAC, SECRET, "Hello, World?"},
                {WEBHOOK_GITHUB, "sha256=" MAC, "another", BODY},
                {WEBHOOK_GITHUB, "sha256=" MAC "00", SECRET, BODY},
                {WEBHOOK_GITHUB, "sha256=", SECRET, BODY},
                {WEBHOOK_GITHUB, "", SECRET, BODY},
                {WEBHOOK_GITHUB, NULL, SECRET, BODY},
                {WEBHOOK_GITEA, "sha256=" MAC, SECRET, BODY},
                {WEBHOOK_GITEA, "zz7107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17", SECRET,
                 BODY},
                {WEBHOOK_GITLAB, "It's a Secret to Everybod", SECRET, BODY},
                {WEBHOOK_GITLAB, "It's a Secret to Everybody!", SECRET, BODY},
                {WEBHOOK_GITLAB, "", "", BODY},
                {WEBHOOK_GITLAB, NULL, SECRET, BODY},
        };
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
                assert_false(webhook_signature_is_valid(wrong[i].host, wrong[i].signature, wrong[i].secret,
                                                        wrong[i].body, strlen(wrong[i].body)));
}

static void test_hosts(void **state) {
        enum webhook_host host;
        assert_int_equal(webhook_host_from_name("gitlab", &host), 0);
        assert_int_equal(host, WEBHOOK_GITLAB);
        assert_string_equal(webhook_headers(host)->signature, "x-gitlab-token");
        assert_int_equal(webhook_host_from_name("bitbucket", &host), -EINVAL);
        assert_int_equal(webhook_host_from_name(NULL, &host), -EINVAL);
}

static void test_what_it_is_about(void **state) {
        static const struct {
                enum webhook_host host;
                const char *event, *branch, *body;
                enum webhook_verdict verdict;
        } cases[] = {
                {WEBHOOK_GITHUB, "push", "main", "{\"ref\":\"refs/heads/main\"}", WEBHOOK_FETCH},
                {WEBHOOK_GITHUB, "push", "main", "{\"ref\":\"refs/heads/main2\"}", WEBHOOK_IGNORE},
                {WEBHOOK_GITHUB, "push", "main", "{\"ref\":\"refs/tags/main\"}", WEBHOOK_IGNORE},
                {WEBHOOK_GITHUB, "push", "a/b", "{\"ref\":\"refs/heads/a/b\",\"x\":[1]}", WEBHOOK_FETCH},
                {WEBHOOK_GITHUB, "ping", "main", "{\"zen\":\"Keep it logically awesome.\"}", WEBHOOK_IGNORE},
                {WEBHOOK_GITLAB, "Push Hook", "main", "{\"ref\":\"refs/heads/main\"}", WEBHOOK_FETCH},
                {WEBHOOK_GITLAB, "Tag Push Hook", "main", "{\"ref\":\"refs/heads/main\"}", WEBHOOK_IGNORE},
                {WEBHOOK_GITEA, NULL, NULL, "{\"ref\":\"refs/heads/any\"}", WEBHOOK_FETCH},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                enum webhook_verdict verdict = WEBHOOK_FETCH;
                assert_int_equal(webhook_judge(cases[i].host, cases[i].event,
                                               &(struct webhook_follows){.branch = cases[i].branch},
                                               cases[i].body, strlen(cases[i].body), &verdict, NULL),
                                 0);
                assert_int_equal(verdict, cases[i].verdict);
        }
        enum webhook_verdict verdict;
        static const char *const bad[] = {"", "{", "[]", "{\"ref\":1}", "{}", "{\"ref\":null}"};
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(webhook_judge(WEBHOOK_GITHUB, "push",
                                               &(struct webhook_follows){.branch = "main"}, bad[i],
                                               strlen(bad[i]), &verdict, NULL),
                                 -EINVAL);
}

static void test_tags(void **state) {
        static const struct {
                enum webhook_host host;
                const char *event, *ref;
                bool fetch;
        } cases[] = {
                {WEBHOOK_GITHUB, "push", "refs/tags/fleet-1.2.3", true},
                {WEBHOOK_GITHUB, "push", "refs/tags/other-1.2.3", false},
                {WEBHOOK_GITHUB, "push", "refs/heads/main", false},
                {WEBHOOK_GITLAB, "Tag Push Hook", "refs/tags/fleet-1", true},
                {WEBHOOK_GITLAB, "Push Hook", "refs/tags/fleet-1", false},
                {WEBHOOK_GITEA, "push", "refs/tags/fleet-1", true},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                char body[128];
                enum webhook_verdict verdict;
                (void)snprintf(body, sizeof(body), "{\"ref\": \"%s\"}", cases[i].ref);
                assert_int_equal(webhook_judge(cases[i].host, cases[i].event,
                                               &(struct webhook_follows){.tags = true, .prefix = "fleet-"},
                                               body, strlen(body), &verdict, NULL),
                                 0);
                assert_int_equal(verdict, cases[i].fetch ? WEBHOOK_FETCH : WEBHOOK_IGNORE);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_signatures),
                cmocka_unit_test(test_hosts),
                cmocka_unit_test(test_what_it_is_about),
                cmocka_unit_test(test_tags),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
