/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "crypto/spiffe_id.h"

static void test_good(void **state) {
        static const char *const good[] = {
                "spiffe://example.org",
                "spiffe://example.org/node/shop-1",
                "spiffe://example.org/node/shop-1/app/web",
                "spiffe://a_b-c.9/Mixed.Case_-path/...",
        };
        for (size_t i = 0; i < ARRAY_SIZE(good); i++)
                assert_int_equal(spiffe_id_check(good[i], NULL), 0);
}

static void test_bad(void **state) {
        static const char *const bad[] = {
                "",
                "https://example.org/node/a",
                "spiffe:/example.org/a",
                "SPIFFE://example.org/a",
                "spiffe://",
                "spiffe:///node/a",
                "spiffe://Example.org/a",
                "spiffe://example.org:8080/a",
                "spiffe://user@example.org/a",
                "spiffe://example.org/",
                "spiffe://example.org/a/",
                "spiffe://example.org//a",
                "spiffe://example.org/a/./b",
                "spiffe://example.org/a/../b",
                "spiffe://example.org/a%20b",
                "spiffe://example.org/a?b",
                "spiffe://example.org/a#b",
                "spiffe://example.org/\xc3\xa4",
        };
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_(err_freep) struct err *err = NULL;
                assert_int_equal(spiffe_id_check(bad[i], &err), -EINVAL);
                assert_non_null(err);
        }
}

static void test_limits(void **state) {
        char id[SPIFFE_ID_MAX + 2];
        memset(id, 'a', sizeof(id));
        memcpy(id, "spiffe://d/", 11);
        id[SPIFFE_ID_MAX] = '\0';
        assert_int_equal(spiffe_id_check(id, NULL), 0);
        id[SPIFFE_ID_MAX] = 'a';
        id[SPIFFE_ID_MAX + 1] = '\0';
        assert_int_equal(spiffe_id_check(id, NULL), -EINVAL);

        char domain[TRUST_DOMAIN_MAX + 2];
        memset(domain, 'd', sizeof(domain));
        domain[TRUST_DOMAIN_MAX] = '\0';
        assert_true(trust_domain_is_valid(domain));
        domain[TRUST_DOMAIN_MAX] = 'd';
        domain[TRUST_DOMAIN_MAX + 1] = '\0';
        assert_false(trust_domain_is_valid(domain));
        assert_false(trust_domain_is_valid(""));
        assert_false(trust_domain_is_valid(NULL));
}

static void test_parse(void **state) {
        _cleanup_(x_freep) char *domain = NULL, *path = NULL;
        assert_int_equal(spiffe_id_parse("spiffe://example.org/node/a", &domain, &path, NULL), 0);
        assert_string_equal(domain, "example.org");
        assert_string_equal(path, "/node/a");
        free(domain);
        free(path);
        domain = path = NULL;
        assert_int_equal(spiffe_id_parse("spiffe://example.org", &domain, &path, NULL), 0);
        assert_string_equal(path, "");
        assert_int_equal(spiffe_id_parse("spiffe://", &domain, &path, NULL), -EINVAL);
        assert_string_equal(domain, "example.org"); /* untouched on failure */
}

static void check_member(const char *id, enum identity_kind want, const char *name) {
        enum identity_kind kind = IDENTITY_OTHER;
        _cleanup_(x_freep) char *got = NULL;
        assert_int_equal(spiffe_id_member(id, "example.org", &kind, &got), 0);
        assert_int_equal(kind, want);
        assert_string_equal(got, name);
        _cleanup_(x_freep) char *again = spiffe_id_make("example.org", kind, got);
        assert_string_equal(again, id);
}

static void test_members(void **state) {
        check_member("spiffe://example.org/node/shop-1", IDENTITY_NODE, "shop-1");
        check_member("spiffe://example.org/relay/kiel", IDENTITY_RELAY, "kiel");
        check_member("spiffe://example.org/server/one", IDENTITY_SERVER, "one");
        check_member("spiffe://example.org/user/eve", IDENTITY_USER, "eve");
        /* A workload of a node is not the node. */
        check_member("spiffe://example.org/node/shop-1/app/web", IDENTITY_OTHER, "/node/shop-1/app/web");
        check_member("spiffe://example.org/nodes/x", IDENTITY_OTHER, "/nodes/x");
        check_member("spiffe://example.org/node", IDENTITY_OTHER, "/node");
        check_member("spiffe://example.org", IDENTITY_OTHER, "");

        enum identity_kind kind = IDENTITY_USER;
        char *name = NULL;
        assert_int_equal(spiffe_id_member("spiffe://other.org/node/a", "example.org", &kind, &name), -EXDEV);
        assert_int_equal(spiffe_id_member("spiffe://example.org.evil/node/a", "example.org", &kind, &name),
                         -EXDEV);
        assert_int_equal(spiffe_id_member("node/a", "example.org", &kind, &name), -EINVAL);
        assert_int_equal(kind, IDENTITY_USER);
        assert_null(name);
        assert_string_equal(identity_kind_name(IDENTITY_RELAY), "relay");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_good),  cmocka_unit_test(test_bad),     cmocka_unit_test(test_limits),
                cmocka_unit_test(test_parse), cmocka_unit_test(test_members),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
