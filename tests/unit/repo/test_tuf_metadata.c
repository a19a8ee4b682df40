/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/tuf/metadata.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
/* cmocka wants the above first */
#include <cmocka.h>

#include "base/str.h"
#include "codec/json.h"

static void test_times(void **state) {
        static const char *const bad[] = {"",
                                          "2026-11-20",
                                          "2026-11-20T18:00:00",
                                          "2026-11-20 18:00:00Z",
                                          "2026-11-20T18:00:00.5Z",
                                          "2026-11-20T18:00:00+00:00",
                                          "2026-13-20T18:00:00Z",
                                          "2026-02-30T18:00:00Z",
                                          "x026-11-20T18:00:00Z"};
        int64_t s = 0;
        char text[TUF_TIME_SIZE];
        assert_int_equal(tuf_time_parse("2026-11-20T18:00:00Z", &s), 0);
        assert_int_equal(s, 1795197600);
        assert_string_equal(tuf_time_format(s, text), "2026-11-20T18:00:00Z");
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(tuf_time_parse(bad[i], &s), -EINVAL);
}

static void test_patterns(void **state) {
        static const struct {
                const char *pattern, *path;
                bool matches;
        } cases[] = {
                {"*", "a", true},
                {"*", "", true},
                {"*", "a/b", false},
                {"*/*", "a/b", true},
                {"a/*", "a/", true},
                {"a/*/c", "a/b/c", true},
                {"a/*/c", "a/c", false},
                {"?", "ü", true},
                {"?", "", false},
                {"?", "/", false},
                {"a*c", "abbbc", true},
                {"a*c*e", "abcde", true},
                {"a*c*e", "abcdef", false},
                {"[abc]", "b", true},
                {"[!abc]", "b", false},
                {"[!abc]", "d", true},
                {"[a-c]x", "bx", true},
                {"[]]", "]", true},
                {"[!]]", "]", false},
                {"[a-]", "-", true},
                {"[", "[", true},
                {"[a", "[a", true},
                {"\\*", "\\x", true},
                {"\\*", "*", false},
                {"A", "a", false},
                {"**", "abc", true},
                {"*a*", "bab", true},
                {"[ü-ý]", "ü", true},
                {"x/[a/b]", "x/a/b", false},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                if (tuf_pattern_matches(cases[i].pattern, cases[i].path) != cases[i].matches)
                        fail_msg("%s against %s", cases[i].pattern, cases[i].path);
        /* Patterns that make careless matchers run for ever. */
        char pattern[TUF_TARGET_PATH_MAX + 1], path[TUF_TARGET_PATH_MAX + 1];
        for (size_t i = 0; i + 2 < sizeof(pattern); i += 2)
                memcpy(pattern + i, "*a", 2);
        pattern[sizeof(pattern) - 1] = '\0';
        memset(path, 'a', sizeof(path) - 1);
        path[sizeof(path) - 2] = 'b';
        path[sizeof(path) - 1] = '\0';
        assert_false(tuf_pattern_matches(pattern, path));
}

static void test_quoting(void **state) {
        _cleanup_(x_freep) char *plain = tuf_role_quote("a-Z_0.9~"), *odd = tuf_role_quote("../a b%ü");
        assert_string_equal(plain, "a-Z_0.9~");
        assert_string_equal(odd, "..%2Fa%20b%25%C3%BC");
        assert_true(tuf_target_path_is_valid("a/b"));
        assert_false(tuf_target_path_is_valid("/a"));
        assert_false(tuf_target_path_is_valid("a/../b"));
        assert_false(tuf_target_path_is_valid("\xff"));
        assert_false(tuf_target_path_is_valid(""));
}

/* ---- Documents: a good one, and what is wrong with its like. */

static int parse(enum tuf_type type, const char *content, struct tuf_metadata **ret, struct err **err) {
        _cleanup_(x_freep) char *text = str_format("{\"signed\":%s,\"signatures\":[]}", content);
        return tuf_metadata_parse(type, text, strlen(text), ret, err);
}

#define HEAD(type)                                                                                           \
        "\"_type\":\"" type                                                                                  \
        "\",\"spec_version\":\"1.0.34\",\"version\":1,\"expires\":\"2030-01-01T00:00:00Z\""
#define SHA "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\""
#define TARGET "{\"length\":1,\"hashes\":{\"sha256\":" SHA "}}"
#define ROLE "\"keyids\":[\"k\"],\"threshold\":1"
#define DELEGATION(members)                                                                                  \
        "{" HEAD("targets") ",\"targets\":{},\"delegations\":{\"keys\":{},\"roles\":[{" members "}]}}"

static void test_good(void **state) {
        _cleanup_(tuf_metadata_freep) struct tuf_metadata *targets = NULL, *snapshot = NULL;
        struct tuf_target t;
        struct tuf_file f;
        _cleanup_(err_freep) struct err *err = NULL;
        assert_int_equal(
                parse(TUF_TARGETS,
                      "{" HEAD("targets") ",\"x-own\":{\"kept\":true},\"targets\":{\"a/b\":" TARGET "},"
                                          "\"delegations\":{\"keys\":{},\"roles\":[{\"name\":\"r\"," ROLE
                                          ",\"terminating\":true,\"path_hash_prefixes\":[\"ca\"]}]}}",
                      &targets, &err),
                0);
        assert_true(tuf_metadata_target(targets, "a/b", &t));
        assert_int_equal(t.length, 1);
        assert_null(t.custom);
        assert_false(tuf_metadata_target(targets, "a", &t));
        const struct tuf_delegation *d = tuf_metadata_delegation(targets, "r");
        assert_true(d && d->terminating && d->role.threshold == 1 && d->role.n_key_ids == 1);
        /* SHA-256 of "a" begins with ca978. */
        assert_true(tuf_delegation_covers(d, "a"));
        assert_false(tuf_delegation_covers(d, "b"));
        assert_non_null(strstr(targets->canonical, "\"x-own\":{\"kept\":true}"));
        _cleanup_(x_freep) char *text = NULL;
        size_t len = 0;
        assert_int_equal(tuf_metadata_serialise(targets, &text, &len, NULL), 0);
        assert_non_null(strstr(text, "x-own"));
        assert_int_equal(parse(TUF_SNAPSHOT,
                               "{" HEAD("snapshot") ",\"meta\":{\"targets.json\":{\"version\":3},\"r.json\":{"
                                                    "\"version\":"
                                                    "4,\"length\":7,\"hashes\":{\"sha256\":" SHA
                                                    ",\"blake\":\"x\"}}}}",
                               &snapshot, &err),
                         0);
        assert_true(tuf_metadata_file(snapshot, "targets.json", &f) && f.version == 3 && f.length == -1 &&
                    !f.has_hashes);
        assert_true(tuf_metadata_file(snapshot, "r.json", &f) && f.length == 7 && f.sha256 && !f.sha512);
        assert_false(tuf_metadata_file(snapshot, "s.json", &f));
}

static void test_refused(void **state) {
        static const struct {
                enum tuf_type type;
                const char *content;
        } cases[] = {
                {TUF_TARGETS, "[]"},
                {TUF_TARGETS, "{" HEAD("snapshot") ",\"targets\":{}}"},
                {TUF_TARGETS, "{" HEAD("targets") "}"},
                {TUF_TARGETS, "{" HEAD("targets") ",\"targets\":{\"\":" TARGET "}}"},
                {TUF_TARGETS, "{" HEAD("targets") ",\"targets\":{\"a\\nb\":" TARGET "}}"},
                {TUF_TARGETS, "{" HEAD("targets") ",\"targets\":{\"a\":{\"length\":1}}}"},
                {TUF_TARGETS,
                 "{" HEAD("targets") ",\"targets\":{\"a\":{\"length\":-1,\"hashes\":{\"sha256\":" SHA "}}}}"},
                {TUF_TARGETS, "{" HEAD("targets") ",\"targets\":{\"a\":{\"length\":1,\"hashes\":{}}}}"},
                {TUF_TARGETS,
                 "{" HEAD("targets") ",\"targets\":{\"a\":{\"length\":1,\"hashes\":{\"sha256\":\"ab\"}}}}"},
                {TUF_TARGETS,
                 "{" HEAD("targets") ",\"targets\":{\"a\":{\"length\":1.5,\"hashes\":{\"sha256\":" SHA
                                     "}}}}"},
                {TUF_TARGETS, "{" HEAD("targets") ",\"targets\":{},\"extra\":1.5}"}, /* cannot be canonical */
                {TUF_TARGETS, DELEGATION("\"name\":\"r\"," ROLE ",\"terminating\":true")},
                {TUF_TARGETS, DELEGATION("\"name\":\"r\"," ROLE
                                         ",\"terminating\":true,\"paths\":[],\"path_hash_prefixes\":[]")},
                {TUF_TARGETS, DELEGATION("\"name\":\"root\"," ROLE ",\"terminating\":true,\"paths\":[]")},
                {TUF_TARGETS, DELEGATION("\"name\":\"\"," ROLE ",\"terminating\":true,\"paths\":[]")},
                {TUF_TARGETS, DELEGATION("\"name\":\"r\"," ROLE ",\"terminating\":1,\"paths\":[]")},
                {TUF_TARGETS, DELEGATION("\"name\":\"r\"," ROLE ",\"terminating\":true,\"paths\":[7]")},
                {TUF_TARGETS, DELEGATION("\"name\":\"r\",\"keyids\":[\"k\"],\"threshold\":0,\"terminating\":"
                                         "true,\"paths\":[]")},
                {TUF_TARGETS, DELEGATION("\"name\":\"r\",\"keyids\":[\"k\",\"k\"],\"threshold\":1,"
                                         "\"terminating\":true,\"paths\":[]")},
                {TUF_TARGETS,
                 DELEGATION(
                         "\"name\":\"r\",\"keyids\":[1],\"threshold\":1,\"terminating\":true,\"paths\":[]")},
                {TUF_TARGETS,
                 DELEGATION("\"name\":\"r\"," ROLE ",\"terminating\":true,\"paths\":[]},{\"name\":\"r\"," ROLE
                            ",\"terminating\":true,\"paths\":[]")},
                {TUF_SNAPSHOT, "{" HEAD("snapshot") ",\"meta\":{\"targets\":{\"version\":1}}}"},
                {TUF_SNAPSHOT, "{" HEAD("snapshot") ",\"meta\":{\"targets.json\":{}}}"},
                {TUF_TIMESTAMP, "{" HEAD("timestamp") ",\"meta\":{\"targets.json\":{\"version\":1}}}"},
                {TUF_ROOT, "{" HEAD("root") ",\"keys\":{},\"roles\":{\"root\":{" ROLE "}}}"},
                {TUF_ROOT, "{" HEAD("root") ",\"keys\":{\"k\":7},\"roles\":{}}"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(tuf_metadata_freep) struct tuf_metadata *m = NULL;
                _cleanup_(err_freep) struct err *err = NULL;
                int r = parse(cases[i].type, cases[i].content, &m, &err);
                if (r != -EINVAL || m || !err)
                        fail_msg("%d for %s", r, cases[i].content);
        }
}

/* ---- Thresholds */

static json_t *signed_by(struct signing_key *const *secrets, const char *const *ids, size_t n,
                         const json_t *content) {
        _cleanup_(buf_done) struct buf bytes = BUF_INIT;
        json_t *document = json_pack("{s:O, s:[]}", "signed", content, "signatures");
        assert_int_equal(json_encode_olpc(content, &bytes, NULL), 0);
        for (size_t i = 0; i < n; i++) {
                _cleanup_(tuf_signer_freep) struct tuf_signer *s = NULL;
                _cleanup_(x_freep) char *hex = NULL;
                assert_int_equal(tuf_signer_from_key(secrets[i], &s, NULL), 0);
                assert_int_equal(tuf_sign(s, bytes.data, bytes.len, &hex, NULL), 0);
                json_array_append_new(json_object_get(document, "signatures"),
                                      json_pack("{s:s, s:s}", "keyid", ids[i], "sig", hex));
        }
        return document;
}

static void test_thresholds(void **state) {
        _cleanup_(signing_key_freep) struct signing_key *a = NULL, *b = NULL, *stranger = NULL;
        _cleanup_(tuf_key_freep) struct tuf_key *key_a = NULL, *key_b = NULL;
        _cleanup_(tuf_metadata_freep) struct tuf_metadata *delegator = NULL;
        assert_int_equal(signing_key_generate(SIGNING_ED25519, &a, NULL), 0);
        assert_int_equal(signing_key_generate(SIGNING_ECDSA_P256, &b, NULL), 0);
        assert_int_equal(signing_key_generate(SIGNING_ED25519, &stranger, NULL), 0);
        assert_int_equal(tuf_key_from_signing_key(a, &key_a, NULL), 0);
        assert_int_equal(tuf_key_from_signing_key(b, &key_b, NULL), 0);
        /* Ids are what the document says: "a", "b", and "alias", which is a again. */
        _cleanup_json_ json_t *content =
                json_loads("{" HEAD("targets") ",\"targets\":{},\"delegations\":{\"keys\":{},\"roles\":[{"
                                               "\"name\":\"r\",\"keyids\":"
                                               "[\"a\",\"b\",\"alias\",\"nowhere\"],\"threshold\":2,"
                                               "\"terminating\":false,\"paths\":"
                                               "[\"*\"]}]}}",
                           0, NULL);
        json_t *keys = json_object_get(json_object_get(content, "delegations"), "keys");
        json_object_set(keys, "a", (json_t *)tuf_key_json(key_a));
        json_object_set(keys, "alias", (json_t *)tuf_key_json(key_a));
        json_object_set(keys, "b", (json_t *)tuf_key_json(key_b));
        _cleanup_json_ json_t *outer = json_pack("{s:O, s:[]}", "signed", content, "signatures");
        assert_int_equal(tuf_metadata_from_json(TUF_TARGETS, outer, &delegator, NULL), 0);
        const struct tuf_role *role = &delegator->delegations[0].role;
        _cleanup_json_ json_t *inner = json_loads("{" HEAD("targets") ",\"targets\":{}}", 0, NULL);
        const struct {
                struct signing_key *secrets[3];
                const char *ids[3];
                size_t n, counts;
        } cases[] = {
                {{a}, {"a"}, 1, 1},
                {{a, b}, {"a", "b"}, 2, 2},
                {{a, a}, {"a", "alias"}, 2, 1},
                {{a, stranger}, {"a", "b"}, 2, 1},
                {{a, stranger}, {"a", "stranger"}, 2, 1},
                {{a, b, a}, {"alias", "b", "a"}, 3, 2},
                {{b}, {"nowhere"}, 1, 0},
                {{b, a}, {"a", "b"}, 2, 0},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_json_ json_t *document =
                        signed_by(cases[i].secrets, cases[i].ids, cases[i].n, inner);
                _cleanup_(tuf_metadata_freep) struct tuf_metadata *m = NULL;
                _cleanup_(err_freep) struct err *err = NULL;
                assert_int_equal(tuf_metadata_from_json(TUF_TARGETS, document, &m, NULL), 0);
                assert_int_equal(tuf_metadata_count_signatures(m, delegator, role), cases[i].counts);
                assert_int_equal(tuf_metadata_verify(m, "r", delegator, role, &err),
                                 cases[i].counts >= 2 ? 0 : -EKEYREJECTED);
        }
        /* Two signatures under one id are refused whatever they are. */
        struct tuf_metadata *none = NULL;
        _cleanup_json_ json_t *twice =
                signed_by((struct signing_key *const[]){a, b}, (const char *const[]){"a", "a"}, 2, inner);
        assert_int_equal(tuf_metadata_from_json(TUF_TARGETS, twice, &none, NULL), -EINVAL);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_times),   cmocka_unit_test(test_patterns),
                cmocka_unit_test(test_quoting), cmocka_unit_test(test_good),
                cmocka_unit_test(test_refused), cmocka_unit_test(test_thresholds),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
