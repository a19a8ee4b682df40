/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "../net/tls_fixture.h"
#include "base/fs.h"
#include "codec/json.h"
#include "relay/identity.h"

#define HOUR ((msec_t)3600 * 1000)
#define DOMAIN "example.org"
#define KIEL "spiffe://" DOMAIN "/relay/kiel"

static struct authority authority;
static char *folder;

static int setup(void **state) {
        char path[] = "/tmp/skerry-test-identity-XXXXXX";
        authority_init(&authority);
        if (!mkdtemp(path))
                return -1;
        folder = strdup(path);
        return folder ? 0 : -1;
}

static int teardown(void **state) {
        authority_done(&authority);
        int r = path_remove(folder, NULL);
        free(folder);
        return r;
}

static json_t *bundle(int sequence) {
        return json_pack("{s:s, s:i, s:s, s:{s:s}}", "trustDomain", DOMAIN, "sequence", sequence, "roots",
                         authority.root, "assignmentKeys", "k1", "PEM");
}

/* What a server answers to the request: a certificate of this ID for the request's key. */
static char *answer(const char *request, const char *id, const char *name, int sequence) {
        _cleanup_json_ json_t *j = NULL;
        _cleanup_(key_freep) struct key *subject = NULL;
        _cleanup_(x_freep) char *leaf = NULL;
        msec_t now = clock_wall_ms(clock_system());
        assert_int_equal(json_decode(request, strlen(request), &j, NULL), 0);
        assert_int_equal(csr_check(json_string_value(json_object_get(j, "csr")), &subject, NULL), 0);
        struct cert_request r = {.spiffe_id = id, .not_after = now + 10 * HOUR};
        assert_int_equal(cert_issue(subject, &r, authority.intermediate, authority.key, now, &leaf, NULL), 0);
        _cleanup_(x_freep) char *chain = str_format("%s%s%s", leaf, authority.intermediate, authority.root);
        _cleanup_json_ json_t *a = json_pack("{s:s, s:s, s:s, s:o}", "name", name, "kind", "relay",
                                             "certificate", chain, "bundle", bundle(sequence));
        return json_encode_compact(a);
}

static int take(const char *text, const char *key_pem, const struct identity *previous, struct identity **ret,
                struct err **err) {
        return identity_from_answer(text, strlen(text), key_pem, "https://server:1", previous,
                                    clock_wall_ms(clock_system()), ret, err);
}

static struct identity *enrolled(void) {
        _cleanup_(x_freep) char *request = NULL, *key = NULL;
        struct identity *i = NULL;
        assert_int_equal(identity_enrol_request("join_x", "kiel", &request, &key, NULL), 0);
        _cleanup_(x_freep) char *text = answer(request, KIEL, "kiel", 5);
        assert_int_equal(take(text, key, NULL, &i, NULL), 0);
        return i;
}

static void test_enrolment(void **state) {
        _cleanup_(x_freep) char *request = NULL, *key = NULL;
        _cleanup_json_ json_t *j = NULL;
        assert_int_equal(identity_enrol_request("join_x", NULL, &request, &key, NULL), 0);
        assert_int_equal(json_decode(request, strlen(request), &j, NULL), 0);
        assert_string_equal(json_string_value(json_object_get(j, "token")), "join_x");
        assert_null(json_object_get(j, "name"));
        assert_non_null(json_object_get(json_object_get(j, "facts"), "hostname"));
        assert_null(strstr(request, "PRIVATE"));

        _cleanup_(identity_freep) struct identity *i = enrolled();
        assert_string_equal(i->name, "kiel");
        assert_string_equal(i->trust_domain, DOMAIN);
        assert_int_equal(i->bundle_sequence, 5);
        msec_t now = clock_wall_ms(clock_system());
        assert_true(identity_renew_at(i) > now + 4 * HOUR && identity_renew_at(i) < now + 6 * HOUR);
}

static void test_kept_on_disk(void **state) {
        _cleanup_(identity_freep) struct identity *i = enrolled(), *again = NULL, *none = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        assert_int_equal(identity_load(folder, &none, NULL), -ENOENT);
        assert_int_equal(identity_save(i, folder, NULL), 0);
        _cleanup_(x_freep) char *path = path_join(folder, "identity.json");
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(identity_load(folder, &again, NULL), 0);
        assert_string_equal(again->key_pem, i->key_pem);
        assert_string_equal(again->certificate_pem, i->certificate_pem);
        assert_string_equal(again->server, "https://server:1");
        assert_int_equal(identity_renew_at(again), identity_renew_at(i));
        assert_true(json_equal(again->bundle, i->bundle));
        assert_int_equal(file_write_atomic(path, "{}", 2, 0600, NULL), 0);
        assert_int_equal(identity_load(folder, &none, &err), -EINVAL);
        assert_non_null(strstr(err_message(err), path));
        assert_null(none);
        assert_int_equal(path_remove(path, NULL), 0);
}

static void test_renewal(void **state) {
        _cleanup_(identity_freep) struct identity *i = enrolled(), *fresh = NULL;
        _cleanup_(x_freep) char *request = NULL, *key = NULL;
        _cleanup_json_ json_t *j = NULL;
        _cleanup_(key_freep) struct key *old = NULL;
        assert_int_equal(identity_renew_request(i, &request, &key, NULL), 0);
        assert_string_not_equal(key, i->key_pem);
        /* The proof is the old key's, over the new request. */
        assert_int_equal(json_decode(request, strlen(request), &j, NULL), 0);
        const char *csr = json_string_value(json_object_get(j, "csr"));
        assert_int_equal(cert_public_key(i->certificate_pem, &old, NULL), 0);
        assert_int_equal(
                key_verify(old, csr, strlen(csr), json_string_value(json_object_get(j, "proof")), NULL), 0);
        _cleanup_(x_freep) char *text = answer(request, KIEL, "kiel", 6);
        assert_int_equal(take(text, key, i, &fresh, NULL), 0);
        assert_int_equal(fresh->bundle_sequence, 6);
}

static void test_answers_that_are_refused(void **state) {
        _cleanup_(identity_freep) struct identity *i = enrolled();
        _cleanup_(x_freep) char *request = NULL, *key = NULL, *other_request = NULL, *other_key = NULL;
        struct identity *none = NULL;
        assert_int_equal(identity_renew_request(i, &request, &key, NULL), 0);
        assert_int_equal(identity_renew_request(i, &other_request, &other_key, NULL), 0);
        _cleanup_(x_freep) char *good = answer(request, KIEL, "kiel", 6);
        _cleanup_(x_freep) char *node = answer(request, "spiffe://" DOMAIN "/node/kiel", "kiel", 6);
        _cleanup_(x_freep) char *other_name = answer(request, "spiffe://" DOMAIN "/relay/bonn", "bonn", 6);
        _cleanup_(x_freep) char *misnamed = answer(request, KIEL, "bonn", 6);
        _cleanup_(x_freep) char *older = answer(request, KIEL, "kiel", 4);
        _cleanup_(err_freep) struct err *err = NULL;
        assert_int_equal(take(node, key, NULL, &none, &err), -EINVAL);
        assert_non_null(strstr(err_message(err), "join token"));
        assert_int_equal(take(other_name, key, i, &none, NULL), -EINVAL);
        assert_int_equal(take(misnamed, key, NULL, &none, NULL), -EINVAL);
        assert_int_equal(take(older, key, i, &none, NULL), -ESTALE);
        assert_int_equal(take(good, other_key, i, &none, NULL), -EINVAL); /* for another key */
        assert_int_equal(take("", key, i, &none, NULL), -EINVAL);
        assert_int_equal(take("{\"name\":\"kiel\"}", key, i, &none, NULL), -EINVAL);

        /* A certificate that its own bundle does not vouch for. */
        struct authority other;
        authority_init(&other);
        _cleanup_json_ json_t *j = NULL;
        assert_int_equal(json_decode(good, strlen(good), &j, NULL), 0);
        json_object_set_new(json_object_get(j, "bundle"), "roots", json_string(other.root));
        _cleanup_(x_freep) char *forged = json_encode_compact(j);
        assert_int_equal(take(forged, key, NULL, &none, NULL), -EKEYREJECTED);
        authority_done(&other);
        assert_null(none);
}

static void test_bundles(void **state) {
        _cleanup_(identity_freep) struct identity *i = enrolled();
        _cleanup_json_ json_t *newer = bundle(9), *same = bundle(9), *foreign = bundle(20),
                              *broken = bundle(20);
        json_object_set_new(newer, "type", json_string("bundle"));
        assert_int_equal(identity_take_bundle(i, newer, NULL), 0);
        assert_int_equal(i->bundle_sequence, 9);
        assert_null(json_object_get(i->bundle, "type"));
        assert_int_equal(identity_take_bundle(i, same, NULL), -ESTALE);
        json_object_set_new(foreign, "trustDomain", json_string("other.org"));
        assert_int_equal(identity_take_bundle(i, foreign, NULL), -EINVAL);
        json_object_set_new(broken, "roots", json_string("none"));
        assert_int_equal(identity_take_bundle(i, broken, NULL), -EINVAL);
        assert_int_equal(i->bundle_sequence, 9);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_enrolment), cmocka_unit_test(test_kept_on_disk),
                cmocka_unit_test(test_renewal),   cmocka_unit_test(test_answers_that_are_refused),
                cmocka_unit_test(test_bundles),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
