/* SPDX-License-Identifier: Apache-2.0 */
#include "net/member.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "codec/json.h"
#include "crypto/cert.h"

static struct key *fresh(void) {
        struct key *k = NULL;
        assert_int_equal(key_generate(&k, NULL), 0);
        return k;
}

static const char *text(const json_t *j, const char *key) {
        return json_string_value(json_object_get(j, key));
}

static void test_enrolment_names_what_it_knows(void **state) {
        _cleanup_(key_freep) struct key *k = fresh();
        _cleanup_json_ json_t *facts = json_pack("{s:s}", "hostname", "h"), *with = NULL, *without = NULL;
        assert_int_equal(member_enrol_body(k, "token", "shop-1", "node", facts, &with, NULL), 0);
        assert_string_equal(text(with, "token"), "token");
        assert_string_equal(text(with, "name"), "shop-1");
        assert_string_equal(text(json_object_get(with, "facts"), "hostname"), "h");
        assert_non_null(strstr(text(with, "csr"), "CERTIFICATE REQUEST"));
        assert_int_equal(member_enrol_body(k, "token", NULL, "node", facts, &without, NULL), 0);
        assert_null(json_object_get(without, "name"));
}

static void test_renewal_is_proven_by_the_key_that_is_held(void **state) {
        _cleanup_(key_freep) struct key *held = fresh(), *next = fresh();
        _cleanup_json_ json_t *body = NULL;
        assert_int_equal(member_renew_body(next, held, "shop-1", "chain", &body, NULL), 0);
        assert_string_equal(text(body, "certificate"), "chain");
        const char *csr = text(body, "csr"), *proof = text(body, "proof");
        assert_int_equal(key_verify(held, csr, strlen(csr), proof, NULL), 0);
        assert_true(key_verify(next, csr, strlen(csr), proof, NULL) < 0);
}

static void test_a_name_is_of_a_kind_and_a_domain(void **state) {
        char *name = NULL;
        assert_int_equal(
                member_name("spiffe://example.org/node/shop-1", "example.org", IDENTITY_NODE, &name, NULL),
                0);
        assert_string_equal(name, "shop-1");
        free(name);
        static const char *const others[] = {"spiffe://example.org/relay/shop-1",
                                             "spiffe://elsewhere.org/node/shop-1", "nonsense", NULL};
        for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
                _cleanup_(err_freep) struct err *err = NULL;
                name = NULL;
                assert_int_equal(member_name(others[i], "example.org", IDENTITY_NODE, &name, &err), -EINVAL);
                assert_null(name);
                assert_non_null(strstr(err_message(err), others[i] ? others[i] : "nobody"));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_enrolment_names_what_it_knows),
                cmocka_unit_test(test_renewal_is_proven_by_the_key_that_is_held),
                cmocka_unit_test(test_a_name_is_of_a_kind_and_a_domain),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
