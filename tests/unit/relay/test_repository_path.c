/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/repository_path.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "relay/repository_documents.h"
#include "relay/repository_transport.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static void test_every_kind_is_known(void **state) {
        static const struct {
                const char *path;
                enum repository_kind kind;
                bool immutable;
        } cases[] = {
                {"metadata/timestamp.json", REPOSITORY_TIMESTAMP, false},
                {"metadata/12.root.json", REPOSITORY_ROOT, true},
                {"metadata/3.snapshot.json", REPOSITORY_METADATA, true},
                {"metadata/3.team a.json", REPOSITORY_METADATA, true},
                {"targets/" A ".x", REPOSITORY_TARGET, true},
                {"targets/artifacts/web/1.0+b/" A ".linux-amd64", REPOSITORY_TARGET, true},
                {"chunks/aa/" A ".index", REPOSITORY_INDEX, true},
                {"chunks/aa/" A ".pack", REPOSITORY_PACK, true},
                {"deltas/aa/" A ".json", REPOSITORY_DELTA_LIST, false},
                {"deltas/aa/" A "/" B ".delta", REPOSITORY_DELTA, true},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct repository_path p;
                assert_int_equal(repository_path_parse(cases[i].path, &p), 0);
                assert_int_equal(p.kind, cases[i].kind);
                assert_int_equal(p.immutable, cases[i].immutable);
                assert_int_equal(strlen(p.etag) > 0, cases[i].immutable);
        }
        struct repository_path p;
        assert_int_equal(repository_path_parse("deltas/aa/" A "/" B ".delta", &p), 0);
        assert_string_equal(p.sha256, A);
        assert_string_equal(p.from, B);
        assert_int_equal(repository_path_parse("metadata/12.root.json", &p), 0);
        assert_int_equal(p.version, 12);
}

static void test_nothing_else_is(void **state) {
        static const char *const invalid[] = {"",
                                              "/metadata/timestamp.json",
                                              "metadata/../timestamp.json",
                                              "..",
                                              "metadata//timestamp.json",
                                              "targets/./" A ".x",
                                              "targets/\001/" A ".x",
                                              "metadata/"};
        static const char *const unknown[] = {"metadata",
                                              "metadata/root.json",
                                              "metadata/0.root.json",
                                              "metadata/01.root.json",
                                              "metadata/99999999999999999999.root.json",
                                              "metadata/1.json",
                                              "metadata/1..json",
                                              "metadata/1.root.jso",
                                              "metadata/1.a/b.json",
                                              "keys/secret",
                                              "targets/" A,
                                              "targets/" A ".",
                                              "targets/web",
                                              "chunks/ab/" A ".pack",
                                              "chunks/" A ".pack",
                                              "chunks/aa/" A ".pac",
                                              "chunks/aa/" A ".pack/x",
                                              "deltas/aa/" A,
                                              "deltas/aa/" A "/" B,
                                              "deltas/aa/" A "/" B ".json",
                                              "deltas/aa/" A "/" B ".delta/x",
                                              "deltas/a"};
        struct repository_path p;
        for (size_t i = 0; i < ARRAY_SIZE(invalid); i++)
                assert_int_equal(repository_path_parse(invalid[i], &p), -EINVAL);
        for (size_t i = 0; i < ARRAY_SIZE(unknown); i++)
                assert_int_equal(repository_path_parse(unknown[i], &p), -ENOENT);
        char long_path[REPOSITORY_PATH_MAX + 100];
        memset(long_path, 'a', sizeof(long_path));
        memcpy(long_path, "targets/", 8);
        long_path[sizeof(long_path) - 1] = '\0';
        assert_int_equal(repository_path_parse(long_path, &p), -EINVAL);
}

static void test_addresses_are_encoded(void **state) {
        char *url = repository_url("https://cdn.example.org/skerry/", "targets/1.0+b/a b%.x");
        assert_string_equal(url, "https://cdn.example.org/skerry/targets/1.0%2Bb/a%20b%25.x");
        free(url);
}

static void test_content_ranges(void **state) {
        int64_t first, last, total;
        assert_int_equal(repository_content_range("bytes 0-99/1234", &first, &last, &total), 0);
        assert_true(first == 0 && last == 99 && total == 1234);
        assert_int_equal(repository_content_range("bytes 5-5/*", &first, &last, &total), 0);
        assert_true(first == 5 && last == 5 && total == -1);
        assert_int_equal(repository_content_range("bytes */7", &first, &last, &total), 0);
        assert_true(first == -1 && total == 7);
        static const char *const bad[] = {"",
                                          "bytes",
                                          "bytes 0-",
                                          "bytes 0-9",
                                          "bytes 9-0/10",
                                          "bytes 0-10/10",
                                          "bytes */*",
                                          "items 0-1/2",
                                          "bytes 0-1/2x",
                                          "bytes -1-2/3",
                                          "bytes 0-1/99999999999999999999"};
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(repository_content_range(bad[i], &first, &last, &total), -EINVAL);
        assert_int_equal(repository_content_range(NULL, &first, &last, &total), -EINVAL);
}

static void test_documents_are_what_their_names_say(void **state) {
        struct repository_path p;
        int64_t version = 0;
#define CHECK(text) repository_document_check(&p, text, strlen(text), &version, NULL)
        assert_int_equal(repository_path_parse("metadata/4.snapshot.json", &p), 0);
        assert_int_equal(CHECK("{\"signed\":{\"version\":4},\"signatures\":[]}"), 0);
        assert_int_equal(version, 4);
        assert_int_equal(CHECK("{\"signed\":{\"version\":5},\"signatures\":[]}"), -EBADMSG);
        assert_int_equal(CHECK("{\"signed\":{},\"signatures\":[]}"), -EBADMSG);
        assert_int_equal(CHECK("<html></html>"), -EBADMSG);
        assert_int_equal(CHECK("[]"), -EBADMSG);
        assert_int_equal(repository_path_parse("deltas/aa/" A ".json", &p), 0);
        assert_int_equal(CHECK("{\"target\":\"" A "\",\"deltas\":[]}"), 0);
        assert_int_equal(CHECK("{\"target\":\"" B "\",\"deltas\":[]}"), -EBADMSG);
        assert_int_equal(CHECK("{\"target\":\"" A "\",\"deltas\":[{\"from\":\"x\"}]}"), -EBADMSG);
        static const char list[] =
                "{\"target\":\"" A "\",\"deltas\":[{\"from\":\"" B "\",\"length\":7,\"sha256\":\"" A "\"}]}";
        char sha256[SHA256_HEX_SIZE];
        int64_t length = 0;
        assert_int_equal(repository_delta_find(list, sizeof(list) - 1, A, B, sha256, &length, NULL), 0);
        assert_string_equal(sha256, A);
        assert_int_equal(length, 7);
        assert_int_equal(repository_delta_find(list, sizeof(list) - 1, A, A, sha256, &length, NULL), -ENOENT);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_every_kind_is_known),
                cmocka_unit_test(test_nothing_else_is),
                cmocka_unit_test(test_addresses_are_encoded),
                cmocka_unit_test(test_content_ranges),
                cmocka_unit_test(test_documents_are_what_their_names_say),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
