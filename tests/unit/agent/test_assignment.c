/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/assignment.h"
#include "base/fs.h"
#include "base/str.h"
#include "crypto/cert.h"

#define REVISION "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

struct world {
        struct key *signer, *stranger;
        char signer_id[65], stranger_id[65];
        struct bundle *bundle;
};

static json_t *bundle_json(struct key *signer, const char *id) {
        _cleanup_(key_freep) struct key *root = NULL;
        _cleanup_(x_freep) char *pem = NULL, *public = NULL;
        assert_int_equal(key_generate(&root, NULL), 0);
        assert_int_equal(cert_make_root(root, "fleet.test", 1763650000000, &pem, NULL), 0);
        assert_int_equal(key_public_pem(signer, &public, NULL), 0);
        return json_pack("{s:s, s:i, s:s, s:{s:s}}", "trustDomain", "fleet.test", "sequence", 1, "roots", pem,
                         "assignmentKeys", id, public);
}

static int setup(void **state) {
        struct world *w = calloc(1, sizeof(*w));
        assert_int_equal(key_generate(&w->signer, NULL), 0);
        assert_int_equal(key_generate(&w->stranger, NULL), 0);
        assert_int_equal(key_id(w->signer, w->signer_id, NULL), 0);
        assert_int_equal(key_id(w->stranger, w->stranger_id, NULL), 0);
        _cleanup_json_ json_t *j = bundle_json(w->signer, w->signer_id);
        assert_int_equal(bundle_from_json(j, &w->bundle, NULL), 0);
        *state = w;
        return 0;
}

static int teardown(void **state) {
        struct world *w = *state;
        key_free(w->signer);
        key_free(w->stranger);
        bundle_free(w->bundle);
        free(w);
        return 0;
}

static json_t *body(int64_t version, const char *node) {
        return json_pack("{s:s, s:I, s:s, s:I, s:s, s:n, s:s, s:{s:s, s:i}, s:{s:s}, s:{s:s}}", "_type",
                         "assignment", "version", (json_int_t)version, "node", node, "issuedAt",
                         (json_int_t)1763650000000, "fleet", "shops", "rollout", "commit", "c0ffee",
                         "revision", "sha256", REVISION, "length", 12, "labels", "site", "kiel", "variables",
                         "port", "8081");
}

/* Takes the body. */
static json_t *sign(json_t *signed_, struct key *k, const char *id) {
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        _cleanup_(x_freep) char *signature = NULL;
        assert_int_equal(json_encode_canonical(signed_, &text, NULL), 0);
        assert_int_equal(key_sign(k, text.data, text.len, &signature, NULL), 0);
        return json_pack("{s:s, s:o, s:[{s:s, s:s}]}", "type", "assignment", "signed", signed_, "signatures",
                         "keyid", id, "sig", signature);
}

static void a_good_one_is_taken(void **state) {
        struct world *w = *state;
        _cleanup_json_ json_t *j = sign(body(7, "shop-1"), w->signer, w->signer_id);
        _cleanup_(assignment_freep) struct assignment *a = NULL, *again = NULL;
        assert_int_equal(assignment_verify(j, w->bundle, "shop-1", NULL, 0, &a, NULL), 0);
        assert_int_equal(a->version, 7);
        assert_string_equal(a->revision, REVISION);
        assert_string_equal(a->fleet, "shops");
        assert_null(a->rollout);
        assert_int_equal(a->revision_length, 12);
        assert_string_equal(json_string_value(json_object_get(a->labels, "site")), "kiel");

        char path[64] = "/tmp/skerry-assignment-XXXXXX";
        int fd = mkstemp(path);
        assert_true(fd >= 0);
        (void)close(fd);
        assert_int_equal(assignment_store(a, path, NULL), 0);
        assert_int_equal(assignment_load(path, &again, NULL), 0);
        assert_true(json_equal(a->document, again->document));
        assert_int_equal(unlink(path), 0);
        assignment_free(again);
        again = NULL;
        assert_int_equal(assignment_load(path, &again, NULL), -ENOENT);
}

static int verify(struct world *w, json_t *j, const struct assignment *held, int64_t floor) {
        struct assignment *a = NULL;
        struct err *err = NULL;
        int r = assignment_verify(j, w->bundle, "shop-1", held, floor, &a, &err);
        assert_true((r == 0) == (a != NULL));
        assert_true((r < 0) == (err != NULL));
        assignment_free(a);
        err_free(err);
        json_decref(j);
        return r;
}

static void a_wrong_key_is_refused(void **state) {
        struct world *w = *state;
        assert_int_equal(verify(w, sign(body(7, "shop-1"), w->stranger, w->stranger_id), NULL, 0),
                         -EKEYREJECTED);
        /* under the known key's name */
        assert_int_equal(verify(w, sign(body(7, "shop-1"), w->stranger, w->signer_id), NULL, 0),
                         -EKEYREJECTED);
        json_t *none = sign(body(7, "shop-1"), w->signer, w->signer_id);
        json_array_clear(json_object_get(none, "signatures"));
        assert_int_equal(verify(w, none, NULL, 0), -EKEYREJECTED);
}

static void a_second_signature_by_a_known_key_is_enough(void **state) {
        struct world *w = *state;
        json_t *j = sign(body(7, "shop-1"), w->signer, w->signer_id);
        json_array_insert_new(json_object_get(j, "signatures"), 0,
                              json_pack("{s:s, s:s}", "keyid", w->stranger_id, "sig", "AAAA"));
        assert_int_equal(verify(w, j, NULL, 0), 0);
}

static void every_tampered_member_is_noticed(void **state) {
        struct world *w = *state;
        static const char *const keys[] = {"version", "issuedAt", "fleet",  "rollout",
                                           "commit",  "revision", "labels", "variables"};
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
                json_t *j = sign(body(7, "shop-1"), w->signer, w->signer_id),
                       *s = json_object_get(j, "signed");
                json_t *other = str_eq(keys[i], "version") || str_eq(keys[i], "issuedAt") ? json_integer(8)
                                : str_eq(keys[i], "revision")                             ? json_null()
                                : json_is_object(json_object_get(s, keys[i])) ? json_pack("{s:s}", "x", "y")
                                                                              : json_string("other");
                json_object_set_new(s, keys[i], other);
                assert_int_equal(verify(w, j, NULL, 0), -EKEYREJECTED);
        }
        json_t *j = sign(body(7, "shop-1"), w->signer, w->signer_id);
        json_object_set_new(json_object_get(j, "signed"), "added", json_true());
        assert_int_equal(verify(w, j, NULL, 0), -EKEYREJECTED);
}

static void another_nodes_is_refused(void **state) {
        struct world *w = *state;
        assert_int_equal(verify(w, sign(body(7, "shop-2"), w->signer, w->signer_id), NULL, 0), -EXDEV);
}

static void versions_only_rise(void **state) {
        struct world *w = *state;
        _cleanup_json_ json_t *j = sign(body(7, "shop-1"), w->signer, w->signer_id);
        _cleanup_(assignment_freep) struct assignment *held = NULL;
        assert_int_equal(assignment_verify(j, w->bundle, "shop-1", NULL, 0, &held, NULL), 0);
        assert_int_equal(verify(w, sign(body(6, "shop-1"), w->signer, w->signer_id), held, 0), -ESTALE);
        assert_int_equal(verify(w, sign(body(7, "shop-1"), w->signer, w->signer_id), held, 0), -EALREADY);
        assert_int_equal(verify(w, sign(body(8, "shop-1"), w->signer, w->signer_id), held, 0), 0);
        /* the same version, other content: signed twice, or a server that was set back */
        json_t *other = body(7, "shop-1");
        json_object_set_new(other, "commit", json_string("beef"));
        assert_int_equal(verify(w, sign(other, w->signer, w->signer_id), held, 0), -ESTALE);
        /* the stored assignment was lost, the ledger still knows */
        assert_int_equal(verify(w, sign(body(7, "shop-1"), w->signer, w->signer_id), NULL, 9), -ESTALE);
        assert_int_equal(verify(w, sign(body(9, "shop-1"), w->signer, w->signer_id), NULL, 9), 0);
}

static void bad_shapes_are_refused(void **state) {
        struct world *w = *state;
        static const struct {
                const char *key, *json;
        } cases[] = {
                {"_type", "\"root\""},
                {"version", "0"},
                {"version", "-1"},
                {"version", "\"7\""},
                {"node", "null"},
                {"fleet", "7"},
                {"labels", "[]"},
                {"labels", "{\"si te\":\"x\"}"},
                {"labels", "{\"site\":7}"},
                {"variables", "{\"1x\":\"y\"}"},
                {"revision", "{\"sha256\":\"short\",\"length\":1}"},
                {"revision", "{\"sha256\":\"../../../../etc/passwd\",\"length\":1}"},
                {"revision", "{\"length\":1}"},
                {"revision", "{\"sha256\":\"" REVISION "\",\"length\":-1}"},
                {"revision", "{\"sha256\":\"" REVISION "\",\"length\":99999999999}"},
                {"revision", "\"" REVISION "\""},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                json_t *b = body(7, "shop-1"), *value;
                char wrapped[256];
                (void)snprintf(wrapped, sizeof(wrapped), "{\"x\":%s}", cases[i].json);
                _cleanup_json_ json_t *o = NULL;
                assert_int_equal(json_decode(wrapped, strlen(wrapped), &o, NULL), 0);
                value = json_object_get(o, "x");
                json_object_set(b, cases[i].key, value);
                int r = verify(w, sign(b, w->signer, w->signer_id), NULL, 0);
                if (r != -EINVAL)
                        fail_msg("%s = %s gave %d", cases[i].key, cases[i].json, r);
        }
        json_t *nothing = json_object();
        assert_int_equal(verify(w, nothing, NULL, 0), -EINVAL);
}

static void no_fleet_means_no_revision(void **state) {
        struct world *w = *state;
        json_t *b = body(7, "shop-1");
        json_object_set_new(b, "fleet", json_null());
        json_object_set_new(b, "revision", json_null());
        _cleanup_json_ json_t *j = sign(b, w->signer, w->signer_id);
        _cleanup_(assignment_freep) struct assignment *a = NULL;
        assert_int_equal(assignment_verify(j, w->bundle, "shop-1", NULL, 0, &a, NULL), 0);
        assert_null(a->revision);
        assert_null(a->fleet);
}

static void bundles_are_checked(void **state) {
        struct world *w = *state;
        struct bundle *b = NULL;
        _cleanup_json_ json_t *good = bundle_json(w->signer, "k1");
        static const struct {
                const char *key, *value;
        } cases[] = {{"trustDomain", "Not A Domain"}, {"roots", "no pem"}, {"roots", ""}};
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_json_ json_t *j = json_deep_copy(good);
                json_object_set_new(j, cases[i].key, json_string(cases[i].value));
                assert_true(bundle_from_json(j, &b, NULL) < 0);
        }
        _cleanup_json_ json_t *negative = json_deep_copy(good), *many = json_deep_copy(good),
                              *bad_key = json_deep_copy(good);
        json_object_set_new(negative, "sequence", json_integer(-1));
        assert_int_equal(bundle_from_json(negative, &b, NULL), -EINVAL);
        json_t *keys = json_object_get(many, "assignmentKeys");
        for (int i = 0; i < BUNDLE_KEYS_MAX; i++) {
                char id[16];
                (void)snprintf(id, sizeof(id), "more-%d", i);
                json_object_set(keys, id, json_object_get(keys, "k1"));
        }
        assert_int_equal(bundle_from_json(many, &b, NULL), -EINVAL);
        json_object_set_new(json_object_get(bad_key, "assignmentKeys"), "k1", json_string("no pem"));
        assert_true(bundle_from_json(bad_key, &b, NULL) < 0);
        assert_null(b);
        assert_int_equal(bundle_from_json(good, &b, NULL), 0);
        assert_non_null(bundle_assignment_key(b, "k1"));
        assert_null(bundle_assignment_key(b, "k2"));
        bundle_free(b);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_good_one_is_taken),
                cmocka_unit_test(a_wrong_key_is_refused),
                cmocka_unit_test(a_second_signature_by_a_known_key_is_enough),
                cmocka_unit_test(every_tampered_member_is_noticed),
                cmocka_unit_test(another_nodes_is_refused),
                cmocka_unit_test(versions_only_rise),
                cmocka_unit_test(bad_shapes_are_refused),
                cmocka_unit_test(no_fleet_means_no_revision),
                cmocka_unit_test(bundles_are_checked),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
