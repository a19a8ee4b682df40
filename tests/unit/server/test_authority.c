/* SPDX-License-Identifier: Apache-2.0 */
#include "server/authority.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/fs.h"
#include "codec/json.h"
#include "server/memory.h"

#define DAY ((msec_t)24 * 3600 * 1000)
#define NOW ((msec_t)1790000000000)
#define HOUR ((msec_t)3600 * 1000)

struct fixture {
        char folder[64], pin[65];
        struct authority *authority;
};

static void make(struct fixture *f, const char *passphrase) {
        memset(f, 0, sizeof(*f));
        strcpy(f->folder, "/tmp/skerry-authority-XXXXXX");
        assert_non_null(mkdtemp(f->folder));
        assert_int_equal(authority_create(f->folder, "example.org", passphrase, NOW, f->pin, NULL), 0);
        assert_int_equal(authority_open(f->folder, "example.org", passphrase, 3, NOW, &f->authority, NULL),
                         0);
}

static void done(struct fixture *f) {
        authority_free(f->authority);
        path_remove(f->folder, NULL);
}

static char *issue(struct fixture *f, struct key *key, msec_t now, struct cert_info *info) {
        _cleanup_(err_freep) struct err *err = NULL;
        char *chain = NULL;
        if (authority_issue(f->authority, IDENTITY_NODE, "shop-1", key, NULL, HOUR, now, &chain, info, &err) <
            0)
                fail_msg("%s", err_message(err));
        return chain;
}

static void test_keys_are_private(void **state) {
        struct fixture f;
        make(&f, NULL);
        static const char *const keys[] = {"ca/root.key", "ca/intermediate.key", "ca/assignment.key"};
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
                _cleanup_(x_freep) char *path = must(path_join(f.folder, keys[i]));
                struct stat st;
                assert_int_equal(stat(path, &st), 0);
                assert_int_equal(st.st_mode & 0777, 0600);
        }
        done(&f);
}

static void test_a_passphrase_locks(void **state) {
        struct fixture f;
        make(&f, "correct horse");
        struct authority *a = NULL;
        assert_true(authority_open(f.folder, "example.org", NULL, 1, NOW, &a, NULL) < 0);
        assert_true(authority_open(f.folder, "example.org", "battery", 1, NOW, &a, NULL) < 0);
        assert_null(a);
        done(&f);
}

static void test_what_it_issues(void **state) {
        struct fixture f;
        make(&f, NULL);
        _cleanup_(key_freep) struct key *key = NULL;
        assert_int_equal(key_generate(&key, NULL), 0);
        struct cert_info info = {0};
        _cleanup_(x_freep) char *chain = issue(&f, key, NOW, &info), *id = NULL;
        assert_int_equal(
                cert_verify_svid(chain, authority_roots(f.authority), "example.org", NOW, 0, &id, NULL), 0);
        assert_string_equal(id, "spiffe://example.org/node/shop-1");
        char pin[65];
        assert_int_equal(cert_pin_of_root(chain, pin, NULL), 0); /* the root is the last of the chain */
        assert_string_equal(pin, f.pin);
        assert_string_equal(pin, authority_pin(f.authority));
        assert_int_equal(info.not_after / 1000, (NOW + HOUR) / 1000);
        cert_info_done(&info);
        done(&f);
}

static int renew(struct fixture *f, const char *csr, const char *chain, struct key *prover, msec_t now,
                 struct renewal *ret) {
        _cleanup_(x_freep) char *proof = NULL;
        assert_int_equal(key_sign(prover, csr, strlen(csr), &proof, NULL), 0);
        return authority_check_renewal(f->authority, csr, chain, proof, HOUR, now, ret, NULL);
}

static void test_renewals(void **state) {
        struct fixture f, other;
        make(&f, NULL);
        make(&other, NULL);
        _cleanup_(key_freep) struct key *old = NULL, *fresh = NULL;
        assert_int_equal(key_generate(&old, NULL), 0);
        assert_int_equal(key_generate(&fresh, NULL), 0);
        struct cert_info info = {0};
        _cleanup_(x_freep) char *chain = issue(&f, old, NOW, &info), *foreign = issue(&other, old, NOW, NULL),
                                *csr = NULL;
        assert_int_equal(csr_make(fresh, "shop-1", &csr, NULL), 0);
        struct renewal r = {0};
        assert_int_equal(renew(&f, csr, chain, old, NOW, &r), 0);
        assert_int_equal(r.kind, IDENTITY_NODE);
        assert_string_equal(r.name, "shop-1");
        assert_string_equal(r.serial, info.serial);
        char a[65], b[65];
        assert_int_equal(key_id(r.subject, a, NULL), 0);
        assert_int_equal(key_id(fresh, b, NULL), 0);
        assert_string_equal(a, b);
        renewal_done(&r);
        cert_info_done(&info);
        /* An hour of grace after its end, and no more. */
        assert_int_equal(renew(&f, csr, chain, old, NOW + 2 * HOUR - 1000, &r), 0);
        renewal_done(&r);
        assert_true(renew(&f, csr, chain, old, NOW + 2 * HOUR + 1000, &r) < 0);
        assert_true(renew(&f, csr, chain, fresh, NOW, &r) < 0); /* the new key proves nothing */
        assert_true(renew(&f, csr, foreign, old, NOW, &r) < 0); /* of another authority with our name */
        assert_true(renew(&f, "no request", chain, old, NOW, &r) < 0);
        assert_true(authority_check_renewal(f.authority, csr, chain, "bm8=", HOUR, NOW, &r, NULL) < 0);
        done(&f);
        done(&other);
}

static void test_signatures_verify_with_the_bundle(void **state) {
        struct fixture f;
        make(&f, NULL);
        json_t *bundle = authority_bundle(f.authority), *envelope;
        assert_string_equal(json_string_value(json_object_get(bundle, "trustDomain")), "example.org");
        assert_int_equal(json_integer_value(json_object_get(bundle, "sequence")), 3);
        envelope = authority_sign(f.authority, json_pack("{s:i, s:s}", "b", 1, "a", "x"));
        assert_non_null(envelope);
        const json_t *signature = json_array_get(json_object_get(envelope, "signatures"), 0);
        const char *id = json_string_value(json_object_get(signature, "keyid"));
        const char *pem = json_string_value(json_object_get(json_object_get(bundle, "assignmentKeys"), id));
        assert_non_null(pem);
        _cleanup_(key_freep) struct key *key = NULL;
        assert_int_equal(key_from_pem(pem, &key, NULL), 0);
        static const char text[] = "{\"a\":\"x\",\"b\":1}";
        const char *sig = json_string_value(json_object_get(signature, "sig"));
        assert_int_equal(key_verify(key, text, strlen(text), sig, NULL), 0);
        assert_int_equal(key_verify(key, text, strlen(text) - 1, sig, NULL), -EKEYREJECTED);
        assert_null(authority_sign(f.authority, json_pack("{s:f}", "real", 1.5))); /* has no canonical form */
        json_decref(envelope);
        json_decref(bundle);
        done(&f);
}

static void test_the_intermediate_is_renewed_in_time(void **state) {
        struct fixture f;
        make(&f, NULL);
        _cleanup_(key_freep) struct key *key = NULL;
        _cleanup_(x_freep) char *path = must(path_join(f.folder, "ca/intermediate.pem")), *before = NULL,
                                *same = NULL, *after = NULL, *id = NULL;
        msec_t late = NOW + 600 * DAY;
        size_t n;
        assert_int_equal(key_generate(&key, NULL), 0);
        assert_int_equal(file_read(path, CERT_PEM_MAX, &before, &n, NULL), 0);
        authority_free(f.authority);
        assert_int_equal(
                authority_open(f.folder, "example.org", NULL, 1, NOW + 300 * DAY, &f.authority, NULL), 0);
        assert_int_equal(file_read(path, CERT_PEM_MAX, &same, &n, NULL), 0);
        assert_string_equal(before, same);
        authority_free(f.authority);
        assert_int_equal(authority_open(f.folder, "example.org", NULL, 1, late, &f.authority, NULL), 0);
        assert_int_equal(file_read(path, CERT_PEM_MAX, &after, &n, NULL), 0);
        assert_string_not_equal(before, after);
        _cleanup_(x_freep) char *chain = issue(&f, key, late, NULL);
        assert_int_equal(
                cert_verify_svid(chain, authority_roots(f.authority), "example.org", late, 0, &id, NULL), 0);
        /* With the root's key kept elsewhere the old one goes on. */
        _cleanup_(x_freep) char *root = must(path_join(f.folder, "ca/root.key"));
        assert_int_equal(path_remove(root, NULL), 0);
        authority_free(f.authority);
        f.authority = NULL;
        assert_int_equal(
                authority_open(f.folder, "example.org", NULL, 1, late + 600 * DAY, &f.authority, NULL), 0);
        done(&f);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_keys_are_private),
                cmocka_unit_test(test_a_passphrase_locks),
                cmocka_unit_test(test_what_it_issues),
                cmocka_unit_test(test_renewals),
                cmocka_unit_test(test_signatures_verify_with_the_bundle),
                cmocka_unit_test(test_the_intermediate_is_renewed_in_time),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
