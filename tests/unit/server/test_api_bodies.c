/* SPDX-License-Identifier: Apache-2.0 */
#include "server/api_bodies.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "codec/json.h"
#include "server/git_source.h"
#include "server/git_transport.h"
#include "server/memory.h"

static json_t *read_json(const char *text) {
        json_t *j = NULL;
        assert_int_equal(json_decode(text, strlen(text), &j, NULL), 0);
        return j;
}

static void test_labels(void **state) {
        struct pair had[] = {{"a", "1"}, {"b", "2"}};
        const struct pairs before = {had, 2};
        struct label_change change = {0};
        struct pairs *after = NULL;
        json_t *j = read_json("{\"set\":{\"b\":\"3\",\"c\":\"\"},\"remove\":[\"a\",\"nosuch\"]}");
        assert_int_equal(body_label_change(j, &change, NULL), 0);
        assert_int_equal(label_change_apply(&change, &before, &after, NULL), 0);
        assert_int_equal(after->n, 2);
        assert_null(pairs_get(after, "a"));
        assert_string_equal(pairs_get(after, "b"), "3");
        assert_string_equal(pairs_get(after, "c"), "");
        free(after);
        free(change.set);
        json_decref(j);

        static const char *const bad[] = {"{\"set\":[]}",
                                          "{\"remove\":{}}",
                                          "{\"remove\":[1]}",
                                          "{\"set\":{\"a\":1}}",
                                          "{\"set\":{\"a b\":\"c\"}}",
                                          "{\"set\":{\"a\":\"b c\"}}",
                                          "{\"sets\":{\"a\":\"b\"}}"};
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                j = read_json(bad[i]);
                assert_int_equal(body_label_change(j, &change, NULL), -EINVAL);
                json_decref(j);
        }
        json_t *many = json_object();
        for (int i = 0; i <= LABELS_MAX; i++) {
                char name[8];
                (void)snprintf(name, sizeof(name), "k%d", i);
                json_object_set_new(many, name, json_string("v"));
        }
        j = json_pack("{s:o}", "set", many);
        assert_int_equal(body_label_change(j, &change, NULL), -EINVAL);
        json_decref(j);
}

static void test_tokens(void **state) {
        struct token_body b = {0};
        json_t *j = read_json("{}");
        assert_int_equal(body_token(j, &b, NULL), 0);
        assert_string_equal(b.kind, "node");
        assert_int_equal(b.uses, 1);
        assert_int_equal(b.ttl_seconds, TOKEN_TTL_SECONDS_DEFAULT);
        assert_int_equal(b.labels->n, 0);
        free(b.labels);
        json_decref(j);
        j = read_json(
                "{\"kind\":\"relay\",\"uses\":3,\"ttlSeconds\":7,\"name\":\"x\",\"labels\":{\"a\":\"b\"}}");
        assert_int_equal(body_token(j, &b, NULL), 0);
        assert_string_equal(b.kind, "relay");
        assert_int_equal(b.uses, 3);
        assert_int_equal(b.labels->n, 1);
        free(b.labels);
        json_decref(j);
        _cleanup_(err_freep) struct err *err = NULL;
        j = read_json("{\"ttlSecond\":7}");
        assert_int_equal(body_token(j, &b, &err), -EINVAL);
        assert_non_null(strstr(err_message(err), "did you mean ttlSeconds"));
        json_decref(j);
}

static void test_reasons(void **state) {
        struct reason_body b = {0};
        bool wait = false;
        json_t *j = read_json("{\"reason\":\"lunch\",\"rollback\":true}");
        assert_int_equal(body_reason(j, true, &b, NULL), 0);
        assert_string_equal(b.reason, "lunch");
        assert_true(b.rollback);
        assert_int_equal(body_reason(j, false, &b, NULL), -EINVAL);
        assert_int_equal(body_notify(j, &wait, NULL), -EINVAL);
        json_decref(j);
        j = read_json("{\"wait\":true}");
        assert_int_equal(body_notify(j, &wait, NULL), 0);
        assert_true(wait);
        json_decref(j);
        char text[REASON_MAX + 20];
        memset(text, 'x', sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        j = json_pack("{s:s}", "reason", text);
        assert_int_equal(body_reason(j, false, &b, NULL), -EINVAL);
        json_decref(j);
}

static int source(const char *text, struct source_spec *spec, struct err **err) {
        json_t *j = read_json(text);
        const char *name = NULL;
        int r = body_source(j, &name, spec, err);
        json_decref(j);
        return r;
}

static void test_sources(void **state) {
        struct source_spec s = {0};
        assert_int_equal(source("{\"name\":\"fleet\",\"url\":\"https://git.example.org/"
                                "fleet.git\",\"branch\":\"main\","
                                "\"path\":\"site/ours/\",\"pollSeconds\":0,\"caFile\":\"/etc/ca.pem\"}",
                                &s, NULL),
                         0);
        assert_string_equal(s.path, "site/ours");
        assert_int_equal(s.poll_seconds, 0);
        source_spec_done(&s);
        static const char *const good[] = {
                "/srv/fleet.git",     "file:///srv/fleet.git", "ssh://git@host:2222/fleet.git",
                "git@host:fleet.git", "http://host/fleet",     "ssh://git@[::1]:22/fleet.git"};
        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                _cleanup_(x_freep) char *text = must(str_format("{\"name\":\"a\",\"url\":\"%s\"}", good[i]));
                assert_int_equal(source(text, &s, NULL), 0);
                assert_int_equal(s.poll_seconds, SOURCE_POLL_SECONDS);
                source_spec_done(&s);
        }
        static const char *const bad[] = {
                "{\"url\":\"/srv/x\"}",
                "{\"name\":\"a\"}",
                "{\"name\":\"A B\",\"url\":\"/srv/x\"}",
                "{\"name\":\"a\",\"url\":\"\"}",
                "{\"name\":\"a\",\"url\":\"srv/x\"}",
                "{\"name\":\"a\",\"url\":\"../x\"}",
                "{\"name\":\"a\",\"url\":\"git://host/x\"}",
                "{\"name\":\"a\",\"url\":\"ext::sh -c true\"}",
                "{\"name\":\"a\",\"url\":\"https://\"}",
                "{\"name\":\"a\",\"url\":\"https://user:secret@host/x\"}",
                "{\"name\":\"a\",\"url\":\"ssh://-oProxyCommand=true/x\"}",
                "{\"name\":\"a\",\"url\":\"-oProxyCommand=true:x\"}",
                "{\"name\":\"a\",\"url\":\"/srv/x\\u0001\"}",
                "{\"name\":\"a\",\"url\":\"/srv/x\",\"branch\":\"a..b\"}",
                "{\"name\":\"a\",\"url\":\"/srv/x\",\"branch\":\"-x\"}",
                "{\"name\":\"a\",\"url\":\"/srv/x\",\"branch\":\"a b\"}",
                "{\"name\":\"a\",\"url\":\"/srv/x\",\"path\":\"../y\"}",
                "{\"name\":\"a\",\"url\":\"/srv/x\",\"path\":\"/y\"}",
                "{\"name\":\"a\",\"url\":\"/srv/x\",\"pollSeconds\":1}",
                "{\"name\":\"a\",\"url\":\"/srv/x\",\"pollSeconds\":\"60\"}",
                "{\"name\":\"a\",\"url\":\"/srv/x\",\"caFile\":\"ca.pem\"}",
                "{\"name\":\"a\",\"url\":\"/srv/x\",\"nosuch\":1}",
        };
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_(err_freep) struct err *err = NULL;
                if (source(bad[i], &s, &err) != -EINVAL)
                        fail_msg("%s was taken", bad[i]);
                assert_null(strstr(err_message(err), "secret@"));
        }
}

static void test_sources_on_the_command_line(void **state) {
        struct source_spec s = {0};
        assert_int_equal(source_spec_parse("https://host/fleet.git#main:site/ours", &s, NULL), 0);
        assert_string_equal(s.url, "https://host/fleet.git");
        assert_string_equal(s.branch, "main");
        assert_string_equal(s.path, "site/ours");
        source_spec_done(&s);
        assert_int_equal(source_spec_parse("/srv/fleet.git", &s, NULL), 0);
        assert_null(s.branch);
        assert_null(s.path);
        source_spec_done(&s);
        assert_int_equal(source_spec_parse("/srv/fleet.git#a..b", &s, NULL), -EINVAL);
}

static void test_ssh_addresses(void **state) {
        static const struct {
                const char *url, *user, *host, *port, *path;
        } good[] = {
                {"ssh://git@host/a/b.git", "git", "host", NULL, "/a/b.git"},
                {"ssh://host:2222/a", NULL, "host", "2222", "/a"},
                {"ssh://u@[fe80::1]:22/a", "u", "fe80::1", "22", "/a"},
                {"ssh://u@host/~me/a", "u", "host", NULL, "~me/a"},
                {"git@host:a/b.git", "git", "host", NULL, "a/b.git"},
                {"host:/a", NULL, "host", NULL, "/a"},
        };
        static const char *const bad[] = {"ssh://host",
                                          "ssh:///a",
                                          "ssh://@host/a",
                                          "ssh://u@/a",
                                          "ssh://host:0/a",
                                          "ssh://host:x/a",
                                          "ssh://host:99999/a",
                                          "ssh://-host/a",
                                          "ssh://-u@host/a",
                                          "ssh://ho st/a",
                                          "ssh://ho;st/a",
                                          "host",
                                          "/a:b",
                                          "host:",
                                          "host:-a",
                                          "ssh://[::1/a"};
        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                _cleanup_(x_freep) char *user = NULL, *host = NULL, *port = NULL, *path = NULL;
                assert_true(git_ssh_url_parse(good[i].url, &user, &host, &port, &path));
                assert_true(str_eq(user, good[i].user));
                assert_true(str_eq(host, good[i].host));
                assert_true(str_eq(port, good[i].port));
                assert_true(str_eq(path, good[i].path));
        }
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                char *user = NULL, *host = NULL, *port = NULL, *path = NULL;
                if (git_ssh_url_parse(bad[i], &user, &host, &port, &path))
                        fail_msg("%s was taken", bad[i]);
        }
}

static int start(void **state) {
        git_source_init();
        return 0;
}
static int end(void **state) {
        git_source_done();
        return 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_labels),        cmocka_unit_test(test_tokens),
                cmocka_unit_test(test_reasons),       cmocka_unit_test(test_sources),
                cmocka_unit_test(test_ssh_addresses), cmocka_unit_test(test_sources_on_the_command_line),
        };
        return cmocka_run_group_tests(tests, start, end);
}
