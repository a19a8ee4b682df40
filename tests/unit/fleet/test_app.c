/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "codec/json.h"
#include "fleet/app_json.h"

#define DIGEST "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static int setup(void **state) {
        *state = arena_new(0);
        return *state ? 0 : -1;
}
static int teardown(void **state) {
        arena_free(*state);
        return 0;
}

static void driver_names(void **state) {
        static const enum app_driver all[] = {APP_DRIVER_FILES, APP_DRIVER_PROCESS, APP_DRIVER_PODMAN};
        for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
                enum app_driver back = APP_DRIVER_FILES;
                assert_int_equal(app_driver_from_name(app_driver_name(all[i]), &back), 0);
                assert_int_equal(back, all[i]);
        }
        enum app_driver kept = APP_DRIVER_PODMAN;
        assert_int_equal(app_driver_from_name("docker", &kept), -EINVAL);
        assert_int_equal(app_driver_from_name("", &kept), -EINVAL);
        assert_int_equal(app_driver_from_name(NULL, &kept), -EINVAL);
        assert_int_equal(kept, APP_DRIVER_PODMAN);
        assert_non_null(app_driver_name((enum app_driver)77));
}

/* Reads, checks, writes. */
static int read_app(struct arena *arena, const char *text, bool expanded, char **ret_text, struct err **err) {
        _cleanup_json_ json_t *j = NULL;
        if (json_decode(text, strlen(text), &j, err) < 0)
                fail_msg("%s: %s", text, err_message(*err));
        struct app_spec app;
        int r = app_spec_from_json(arena, j, &app, err);
        if (r == 0)
                r = app_spec_check(&app, expanded, err);
        if (r == 0) {
                _cleanup_json_ json_t *back = app_spec_to_json(&app);
                _cleanup_(buf_done) struct buf out = BUF_INIT;
                assert_int_equal(json_encode_canonical(back, &out, NULL), 0);
                *ret_text = buf_take(&out, NULL);
        }
        app_spec_release(&app);
        return r;
}

static void comes_back_as(struct arena *arena, const char *text, const char *expected) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *back = NULL;
        if (read_app(arena, text, false, &back, &err) < 0)
                fail_msg("%s: %s", text, err_message(err));
        assert_string_equal(back, expected);
}

static void everything_comes_back(void **state) {
        static const char text[] =
                "{\"command\":[\"/usr/bin/"
                "till\",\"--port\",\"${vars.port}\"],\"cpuMaxMillis\":500,\"dependsOn\":[\"db\",\"web\"],"
                "\"driver\":\"process\",\"environment\":{\"A\":\"1\",\"GREETING\":\"${vars.greeting}\"},"
                "\"files\":[{\"expand\":true,\"group\":\"root\",\"mode\":420,\"owner\":\"0\",\"path\":\"/etc/"
                "till.ini\","
                "\"sha256\":\"" DIGEST
                "\",\"size\":12},{\"mode\":4095,\"path\":\"${vars.dir}/x\",\"sha256\":\"" DIGEST
                "\",\"size\":0}],"
                "\"healthChecks\":[{\"command\":[\"/bin/true\"],\"name\":\"e\",\"type\":\"exec\"},"
                "{\"failureThreshold\":5,\"host\":\"10.0.0.1\",\"intervalMs\":5000,\"name\":\"h\",\"path\":"
                "\"/healthz\","
                "\"port\":\"${vars.port}\",\"scheme\":\"https\",\"startupGraceMs\":1,\"successThreshold\":2,"
                "\"timeoutMs\":100,"
                "\"type\":\"http\"},{\"name\":\"t\",\"port\":\"80\",\"type\":\"tcp\"}],"
                "\"keepOnPrune\":true,\"memoryMaxBytes\":67108864,\"name\":\"till\",\"pidsMax\":100,"
                "\"readyTimeoutMs\":0,"
                "\"restart\":\"OnFailure\",\"restartBackoffCapMs\":60000,\"restartBackoffMs\":10,"
                "\"stopTimeoutMs\":0,"
                "\"user\":\"till\",\"workingDirectory\":\"/srv\"}";
        comes_back_as(*state, text, text);
        static const char pods[] =
                "{\"driver\":\"podman\",\"manifests\":[{\"apiVersion\":\"v1\",\"kind\":\"Pod\","
                "\"spec\":{\"n\":[1,null,true,\"x\"]}}],\"name\":\"web\"}";
        comes_back_as(*state, pods, pods);
}

static void defaults_are_left_out(void **state) {
        comes_back_as(*state,
                      "{\"name\":\"a\",\"driver\":\"process\",\"command\":[\"/"
                      "x\"],\"environment\":{},\"files\":[],\"dependsOn\":[],"
                      "\"healthChecks\":[{\"name\":\"h\",\"type\":\"http\",\"port\":\"1\",\"host\":\"127.0.0."
                      "1\",\"path\":\"/\","
                      "\"scheme\":\"http\",\"intervalMs\":10000,\"timeoutMs\":2000,\"startupGraceMs\":0,"
                      "\"failureThreshold\":3,"
                      "\"successThreshold\":1}],\"restart\":\"Always\",\"restartBackoffMs\":1000,"
                      "\"restartBackoffCapMs\":300000,"
                      "\"stopTimeoutMs\":10000,\"readyTimeoutMs\":120000,\"memoryMaxBytes\":0,"
                      "\"cpuMaxMillis\":0,\"pidsMax\":0,"
                      "\"keepOnPrune\":false}",
                      "{\"command\":[\"/"
                      "x\"],\"driver\":\"process\",\"healthChecks\":[{\"name\":\"h\",\"port\":\"1\","
                      "\"type\":\"http\"}],\"name\":\"a\"}");
}

static void defaults_are_filled_in(void **state) {
        _cleanup_json_ json_t *j = NULL;
        static const char text[] = "{\"name\":\"a\",\"driver\":\"process\",\"command\":[\"/x\"],"
                                   "\"healthChecks\":[{\"name\":\"h\",\"type\":\"http\",\"port\":\"1\"}]}";
        assert_int_equal(json_decode(text, strlen(text), &j, NULL), 0);
        struct app_spec a;
        assert_int_equal(app_spec_from_json(*state, j, &a, NULL), 0);
        assert_int_equal(a.restart, RESTART_ALWAYS);
        assert_int_equal(a.restart_backoff_ms, 1000);
        assert_int_equal(a.restart_backoff_cap_ms, 300000);
        assert_int_equal(a.stop_timeout_ms, 10000);
        assert_int_equal(a.ready_timeout_ms, 120000);
        assert_int_equal(a.memory_max_bytes, 0);
        assert_string_equal(a.checks[0].host, "127.0.0.1");
        assert_string_equal(a.checks[0].path, "/");
        assert_string_equal(a.checks[0].scheme, "http");
        assert_int_equal(a.checks[0].interval_ms, 10000);
        assert_int_equal(a.checks[0].failure_threshold, 3);
        app_spec_release(&a);
}

static void refused(struct arena *arena, bool expanded, const char *text, const char *words) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *back = NULL;
        if (read_app(arena, text, expanded, &back, &err) != -EINVAL)
                fail_msg("taken: %s", text);
        if (!strstr(err_message(err), words))
                fail_msg("%s: %s", text, err_message(err));
}

#define PROCESS "\"name\":\"a\",\"driver\":\"process\",\"command\":[\"/x\"]"
#define FILES(members) "{\"name\":\"a\",\"driver\":\"files\",\"files\":[{" members "}]}"
#define CHECK(members) "{" PROCESS ",\"healthChecks\":[{" members "}]}"

static void wrong_shapes(void **state) {
        static const char *const cases[][2] = {
                {"[]", "field name"},
                {"{}", "field name"},
                {"{\"name\":\"a\"}", "app a: field driver"},
                {"{\"name\":1,\"driver\":\"files\"}", "field name"},
                {"{\"name\":\"a\",\"driver\":\"docker\"}", "unknown value \"docker\""},
                {"{\"name\":\"A\",\"driver\":\"files\"}", "not a DNS label"},
                {"{\"name\":\"\",\"driver\":\"files\"}", "not a DNS label"},
                {"{" PROCESS ",\"comand\":[]}", "unknown field \"comand\" (did you mean \"command\"?)"},
                {"{" PROCESS ",\"user\":5}", "field user: expected text"},
                {"{" PROCESS ",\"user\":\"\"}", "user: \"\" is not a name"},
                {"{" PROCESS ",\"user\":\"a b\"}", "is not a name"},
                {"{\"name\":\"a\",\"driver\":\"process\",\"command\":\"/x\"}",
                 "field command: expected a list"},
                {"{\"name\":\"a\",\"driver\":\"process\",\"command\":[1]}", "command[0]: expected text"},
                {"{\"name\":\"a\",\"driver\":\"process\",\"command\":[]}", "driver process needs a command"},
                {"{\"name\":\"a\",\"driver\":\"process\"}", "driver process needs a command"},
                {"{\"name\":\"a\",\"driver\":\"podman\"}", "driver podman needs manifests"},
                {"{\"name\":\"a\",\"driver\":\"files\",\"command\":[\"/x\"]}",
                 "driver files takes no command"},
                {"{" PROCESS ",\"manifests\":[{\"apiVersion\":\"v1\",\"kind\":\"Pod\"}]}",
                 "takes no manifests"},
                {"{\"name\":\"a\",\"driver\":\"podman\",\"manifests\":[1]}",
                 "expected an object with apiVersion"},
                {"{\"name\":\"a\",\"driver\":\"podman\",\"manifests\":[{\"kind\":\"Pod\"}]}",
                 "expected an object with apiVersion"},
                {"{\"name\":\"a\",\"driver\":\"podman\",\"manifests\":[{\"apiVersion\":\"v1\",\"kind\":"
                 "\"Pod\",\"x\":[{\"y\":0.5}]}]}",
                 "manifests[0]: a number with a fraction"},
                {"{" PROCESS ",\"environment\":[]}", "environment: expected an object"},
                {"{" PROCESS ",\"environment\":{\"A\":1}}", "environment: A: expected text"},
                {"{" PROCESS ",\"environment\":{\"A=B\":\"\"}}", "environment: \"A=B\" is not a name"},
                {"{" PROCESS ",\"environment\":{\"\":\"\"}}", "environment: \"\" is not a name"},
                {"{" PROCESS ",\"restart\":\"always\"}", "restart: unknown value \"always\""},
                {"{" PROCESS ",\"readyTimeoutMs\":-1}", "readyTimeoutMs: -1 is not within"},
                {"{" PROCESS ",\"stopTimeoutMs\":1.5}", "expected a whole number"},
                {"{" PROCESS ",\"restartBackoffMs\":9223372036854775807}", "restartBackoffMs"},
                {"{" PROCESS ",\"pidsMax\":2147483648}", "pidsMax"},
                {"{" PROCESS ",\"memoryMaxBytes\":-1}", "memoryMaxBytes"},
                {"{" PROCESS ",\"keepOnPrune\":1}", "expected true or false"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                refused(*state, false, cases[i][0], cases[i][1]);
}

static void wrong_files(void **state) {
        static const char *const bad_paths[] = {"",
                                                "etc/x",
                                                "/",
                                                "/..",
                                                "/etc/../x",
                                                "/etc/..",
                                                "/./etc",
                                                "//etc/x",
                                                "/etc//x",
                                                "/etc/",
                                                "/a\\nb",
                                                "x/${vars.a}",
                                                "/${vars.a}/../x",
                                                "/${vars.a:-/../}",
                                                "${vars.a}/..",
                                                "/a/${vars.a}\\u0001"};
        for (size_t i = 0; i < ARRAY_SIZE(bad_paths); i++)
                refused(*state, false,
                        arena_printf(
                                *state,
                                FILES("\"path\":\"%s\",\"sha256\":\"" DIGEST "\",\"size\":1,\"mode\":420"),
                                bad_paths[i]),
                        "not an absolute path");
        /* With references replaced nothing is left to hope for. */
        static const char *const bad_when_expanded[] = {"/etc/${x}/..", "${vars.a}/x", "/a/../b"};
        for (size_t i = 0; i < ARRAY_SIZE(bad_when_expanded); i++)
                refused(*state, true,
                        arena_printf(
                                *state,
                                FILES("\"path\":\"%s\",\"sha256\":\"" DIGEST "\",\"size\":1,\"mode\":420"),
                                bad_when_expanded[i]),
                        "not an absolute path");
#define FILE_BEGIN "\"path\":\"/x\",\"sha256\":\"" DIGEST "\""
        static const char *const cases[][2] = {
                {FILES("\"sha256\":\"" DIGEST "\",\"size\":1,\"mode\":420"), "files[0]: field path"},
                {FILES("\"path\":\"/x\",\"size\":1,\"mode\":420"), "files[0]: field sha256"},
                {FILES(FILE_BEGIN ",\"mode\":420"), "field size"},
                {FILES(FILE_BEGIN ",\"size\":1"), "field mode"},
                {FILES(FILE_BEGIN ",\"size\":-1,\"mode\":420"), "size -1"},
                {FILES(FILE_BEGIN ",\"size\":8388609,\"mode\":420"), "size 8388609"},
                {FILES(FILE_BEGIN ",\"size\":1,\"mode\":-1"), "mode: -1"},
                {FILES(FILE_BEGIN ",\"size\":1,\"mode\":4096"), "mode: 4096"},
                {FILES(FILE_BEGIN ",\"size\":1,\"mode\":\"0644\""), "field mode: expected a whole number"},
                {FILES(FILE_BEGIN ",\"size\":1,\"mode\":420,\"owner\":\"a b\""), "owner or group"},
                {FILES(FILE_BEGIN ",\"size\":1,\"mode\":420,\"group\":\"\""), "owner or group"},
                {FILES(FILE_BEGIN ",\"size\":1,\"mode\":420,\"expand\":\"yes\""), "expected true or false"},
                {FILES(FILE_BEGIN ",\"size\":1,\"mode\":420,\"content\":\"x\""), "unknown field \"content\""},
                {FILES("\"path\":\"/x\",\"sha256\":\"0123\",\"size\":1,\"mode\":420"), "is not a SHA-256"},
                {"{\"name\":\"a\",\"driver\":\"files\",\"files\":{}}", "expected a list"},
                {"{\"name\":\"a\",\"driver\":\"files\",\"files\":[5]}", "files[0]: expected an object"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                refused(*state, false, cases[i][0], cases[i][1]);
}

static void wrong_checks(void **state) {
        static const char *const cases[][2] = {
                {CHECK("\"type\":\"tcp\",\"port\":\"1\""), "healthChecks[0]: field name"},
                {CHECK("\"name\":\"h\",\"port\":\"1\""), "field type"},
                {CHECK("\"name\":\"\",\"type\":\"tcp\",\"port\":\"1\""), "without a name"},
                {CHECK("\"name\":\"h\",\"type\":\"udp\",\"port\":\"1\""), "unknown value \"udp\""},
                {CHECK("\"name\":\"h\",\"type\":\"exec\""), "exec without a command"},
                {CHECK("\"name\":\"h\",\"type\":\"exec\",\"command\":[\"/x\"],\"port\":\"1\""),
                 "command alone"},
                {CHECK("\"name\":\"h\",\"type\":\"tcp\""), "port (none)"},
                {CHECK("\"name\":\"h\",\"type\":\"tcp\",\"port\":80"), "field port: expected text"},
                {CHECK("\"name\":\"h\",\"type\":\"tcp\",\"port\":\"0\""), "port 0"},
                {CHECK("\"name\":\"h\",\"type\":\"tcp\",\"port\":\"65536\""), "port 65536"},
                {CHECK("\"name\":\"h\",\"type\":\"tcp\",\"port\":\"http\""), "port http"},
                {CHECK("\"name\":\"h\",\"type\":\"tcp\",\"port\":\"1\",\"path\":\"/\""), "are for http"},
                {CHECK("\"name\":\"h\",\"type\":\"tcp\",\"port\":\"1\",\"command\":[\"/x\"]"), "is for exec"},
                {CHECK("\"name\":\"h\",\"type\":\"tcp\",\"port\":\"1\",\"host\":\"a b\""), "is not a host"},
                {CHECK("\"name\":\"h\",\"type\":\"http\",\"port\":\"1\",\"path\":\"healthz\""),
                 "is not a path"},
                {CHECK("\"name\":\"h\",\"type\":\"http\",\"port\":\"1\",\"path\":\"/x HTTP/1.1\\r\\nHost: "
                       "y\""),
                 "is not a path"},
                {CHECK("\"name\":\"h\",\"type\":\"http\",\"port\":\"1\",\"scheme\":\"ftp\""),
                 "use http or https"},
                {CHECK("\"name\":\"h\",\"type\":\"tcp\",\"port\":\"1\",\"intervalMs\":0"),
                 "intervalMs: 0 is not within"},
                {CHECK("\"name\":\"h\",\"type\":\"tcp\",\"port\":\"1\",\"timeoutMs\":0"), "timeoutMs"},
                {CHECK("\"name\":\"h\",\"type\":\"tcp\",\"port\":\"1\",\"failureThreshold\":0"),
                 "failureThreshold"},
                {CHECK("\"name\":\"h\",\"type\":\"tcp\",\"port\":\"1\",\"successThreshold\":1001"),
                 "successThreshold"},
                {CHECK("\"name\":\"h\",\"type\":\"tcp\",\"port\":\"1\"},{\"name\":\"h\",\"type\":\"tcp\","
                       "\"port\":\"2\""),
                 "two health checks have the name h"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                refused(*state, false, cases[i][0], cases[i][1]);
        refused(*state, true, CHECK("\"name\":\"h\",\"type\":\"tcp\",\"port\":\"${vars.port}\""),
                "port ${vars.port}");
}

#define ARTIFACTS(driver, list) "{\"name\":\"a\",\"driver\":\"" driver "\",\"artifacts\":[" list "]"
#define ARTIFACT "\"name\":\"web\",\"version\":\"1\""

static void artifacts_come_back(void **state) {
        static const char tree[] =
                "{\"artifacts\":[{\"name\":\"shop.web\",\"path\":\"/opt/web\",\"version\":\"1.2.0+a_b-c\"},"
                "{\"name\":\"tools\",\"version\":\"${vars.tools}\"}],\"command\":[\"bin/web\"],"
                "\"driver\":\"process\",\"name\":\"a\",\"workingDirectory\":\"share\"}";
        comes_back_as(*state, tree, tree);
        static const char folder[] = "{\"artifacts\":[{\"name\":\"web\",\"path\":\"/srv/${vars.site}/web\","
                                     "\"version\":\"1\"}],\"driver\":\"files\",\"name\":\"a\"}";
        comes_back_as(*state, folder, folder);
        comes_back_as(*state, "{\"name\":\"a\",\"driver\":\"files\",\"artifacts\":[]}",
                      "{\"driver\":\"files\",\"name\":\"a\"}");
}

static void wrong_artifacts(void **state) {
        static const char *const cases[][2] = {
                {ARTIFACTS("files", "5") "}", "artifacts[0]: expected an object"},
                {"{\"name\":\"a\",\"driver\":\"files\",\"artifacts\":{}}",
                 "field artifacts: expected a list"},
                {ARTIFACTS("files", "{\"version\":\"1\"}") "}", "artifacts[0]: field name"},
                {ARTIFACTS("files", "{\"name\":\"web\"}") "}", "artifacts[0]: field version"},
                {ARTIFACTS("files", "{\"name\":\"web\",\"version\":1}") "}", "field version: expected text"},
                {ARTIFACTS("files", "{" ARTIFACT ",\"sha256\":\"x\"}") "}", "unknown field \"sha256\""},
                {ARTIFACTS("files", "{\"name\":\"We/b\",\"version\":\"1\"}") "}", "\"We/b\": not a name"},
                {ARTIFACTS("files", "{\"name\":\"..\",\"version\":\"1\"}") "}", "not a name"},
                {ARTIFACTS("files", "{\"name\":\"web\",\"version\":\"../1\"}") "}", "is not a version"},
                {ARTIFACTS("files", "{\"name\":\"web\",\"version\":\"\"}") "}", "is not a version"},
                {ARTIFACTS("files", "{" ARTIFACT ",\"path\":\"opt\"}") "}", "not an absolute path"},
                {ARTIFACTS("files", "{" ARTIFACT ",\"path\":\"/opt/../etc\"}") "}", "not an absolute path"},
                {ARTIFACTS("files", "{" ARTIFACT "}") "}", "driver files needs a path"},
                {ARTIFACTS(
                         "podman",
                         "{" ARTIFACT
                         ",\"path\":\"/opt\"}") ",\"manifests\":[{\"apiVersion\":\"v1\",\"kind\":\"Pod\"}]}",
                 "driver podman takes no path"},
                {ARTIFACTS("files", "{" ARTIFACT ",\"path\":\"/a\"},{" ARTIFACT ",\"path\":\"/b\"}") "}",
                 "artifact web is there twice"},
                {ARTIFACTS("files",
                           "{" ARTIFACT ",\"path\":\"/a\"},{\"name\":\"x\",\"version\":\"1\",\"path\":"
                           "\"/a\"}") "}",
                 "have the same path /a"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                refused(*state, false, cases[i][0], cases[i][1]);
        refused(*state, true,
                ARTIFACTS("process", "{\"name\":\"web\",\"version\":\"${vars.x}\"}") ",\"command\":[\"x\"]}",
                "\"${vars.x}\" is not a version");
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        for (int n = APP_ARTIFACTS_MAX; n <= APP_ARTIFACTS_MAX + 1; n++) {
                buf_clear(&b);
                buf_puts(&b, "{\"artifacts\":[");
                for (int i = 0; i < n; i++)
                        buf_printf(&b, "%s{\"name\":\"a%d\",\"version\":\"1\"}", i ? "," : "", i);
                buf_puts(&b, "],\"command\":[\"/x\"],\"driver\":\"process\",\"name\":\"a\"}");
                if (n == APP_ARTIFACTS_MAX)
                        comes_back_as(*state, b.data, b.data);
                else
                        refused(*state, false, b.data, "artifacts: 17 items, at most 16");
        }
}

static void lists_are_bounded(void **state) {
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        for (int n = APP_LIST_MAX; n <= APP_LIST_MAX + 1; n++) {
                buf_clear(&b);
                buf_puts(&b, "{\"command\":[\"/x\"");
                for (int i = 1; i < n; i++)
                        buf_puts(&b, ",\"y\"");
                buf_puts(&b, "],\"driver\":\"process\",\"name\":\"a\"}");
                if (n == APP_LIST_MAX)
                        comes_back_as(*state, b.data, b.data);
                else
                        refused(*state, false, b.data, "command: 1025 items");
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(driver_names),
                cmocka_unit_test_setup_teardown(everything_comes_back, setup, teardown),
                cmocka_unit_test_setup_teardown(defaults_are_left_out, setup, teardown),
                cmocka_unit_test_setup_teardown(defaults_are_filled_in, setup, teardown),
                cmocka_unit_test_setup_teardown(wrong_shapes, setup, teardown),
                cmocka_unit_test_setup_teardown(wrong_files, setup, teardown),
                cmocka_unit_test_setup_teardown(wrong_checks, setup, teardown),
                cmocka_unit_test_setup_teardown(artifacts_come_back, setup, teardown),
                cmocka_unit_test_setup_teardown(wrong_artifacts, setup, teardown),
                cmocka_unit_test_setup_teardown(lists_are_bounded, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
