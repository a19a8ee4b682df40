/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/str.h"
#include "crypto/cert.h"
#include "crypto/cert_openssl.h"
#include "crypto/digest.h"

#define NOW ((msec_t)1790000000000)
#define HOUR ((msec_t)3600 * 1000)
#define DAY (24 * HOUR)
#define DOMAIN "example.org"
#define NODE "spiffe://" DOMAIN "/node/shop-1"

struct ca {
        struct key *root_key, *key;
        char *root, *intermediate, *chain; /* chain: intermediate and root */
};

static void ca_make(struct ca *c, const char *domain) {
        assert_int_equal(key_generate(&c->root_key, NULL), 0);
        assert_int_equal(key_generate(&c->key, NULL), 0);
        assert_int_equal(cert_make_root(c->root_key, domain, NOW, &c->root, NULL), 0);
        assert_int_equal(
                cert_make_intermediate(c->key, domain, c->root, c->root_key, NOW, &c->intermediate, NULL), 0);
        c->chain = str_format("%s%s", c->intermediate, c->root);
        assert_non_null(c->chain);
}

static void ca_done(struct ca *c) {
        key_free(c->root_key);
        key_free(c->key);
        free(c->root);
        free(c->intermediate);
        free(c->chain);
}

static struct ca ca;

static int setup(void **state) {
        ca_make(&ca, DOMAIN);
        return 0;
}
static int teardown(void **state) {
        ca_done(&ca);
        return 0;
}

static char *issue(const struct ca *c, const char *id, msec_t not_after, struct key **ret_key) {
        struct key *k = NULL;
        char *leaf = NULL;
        assert_int_equal(key_generate(&k, NULL), 0);
        struct cert_request request = {.spiffe_id = id, .not_after = not_after};
        assert_int_equal(cert_issue(k, &request, c->intermediate, c->key, NOW, &leaf, NULL), 0);
        if (ret_key)
                *ret_key = k;
        else
                key_free(k);
        return leaf;
}

static X509 *parse(const char *pem) {
        BIO *bio = BIO_new_mem_buf(pem, -1);
        X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        BIO_free(bio);
        assert_non_null(x);
        return x;
}

static char *text_of(X509 *x) {
        BIO *bio = BIO_new(BIO_s_mem());
        assert_int_equal(X509_print(bio, x), 1);
        char *data = NULL;
        long len = BIO_get_mem_data(bio, &data);
        char *copy = str_dup_n(data, (size_t)len);
        BIO_free(bio);
        return copy;
}

static void test_issue_and_verify(void **state) {
        _cleanup_(x_freep) char *leaf = issue(&ca, NODE, NOW + DAY, NULL);
        _cleanup_(x_freep) char *chain = str_format("%s%s", leaf, ca.chain);
        _cleanup_(x_freep) char *id = NULL;
        assert_int_equal(cert_verify_svid(chain, ca.root, DOMAIN, NOW, 0, &id, NULL), 0);
        assert_string_equal(id, NODE);
        assert_int_equal(ERR_peek_error(), 0);

        /* A clock that is behind by less than an hour takes it too. */
        free(TAKE_PTR(id));
        assert_int_equal(cert_verify_svid(chain, ca.root, DOMAIN, NOW - HOUR + 1000, 0, &id, NULL), 0);
        free(TAKE_PTR(id));
        assert_int_equal(cert_verify_svid(chain, ca.root, DOMAIN, NOW - HOUR - 1000, 0, &id, NULL),
                         -EKEYREJECTED);
        /* Without the intermediate there is no chain. */
        assert_int_equal(cert_verify_svid(leaf, ca.root, DOMAIN, NOW, 0, &id, NULL), -EKEYREJECTED);
        assert_null(id);
}

static void test_leaf_profile(void **state) {
        _cleanup_(x_freep) char *pem = issue(&ca, NODE, NOW + DAY, NULL);
        X509 *x = parse(pem);
        _cleanup_(x_freep) char *text = text_of(x);
        assert_non_null(strstr(text, "Key Usage: critical\n                Digital Signature\n"));
        assert_non_null(strstr(text, "TLS Web Server Authentication, TLS Web Client Authentication\n"));
        assert_non_null(strstr(text, "Basic Constraints: critical\n                CA:FALSE\n"));
        assert_non_null(strstr(text, "Subject Alternative Name: \n                URI:" NODE "\n"));
        assert_non_null(strstr(text, "CN=shop-1\n"));
        assert_non_null(X509_get0_subject_key_id(x));
        assert_non_null(X509_get0_authority_key_id(x));
        X509_free(x);

        struct cert_info info = {0};
        assert_int_equal(cert_inspect(pem, &info, NULL), 0);
        assert_string_equal(info.spiffe_id, NODE);
        assert_int_equal(info.not_before, NOW - HOUR);
        assert_int_equal(info.not_after, NOW + DAY);
        assert_int_equal(strlen(info.serial), 32);
        assert_true(sha256_hex_is_valid(info.fingerprint));
        assert_false(info.is_ca);
        cert_info_done(&info);
}

static void test_ca_profile(void **state) {
        const char *both[] = {ca.root, ca.intermediate};
        for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
                X509 *x = parse(both[i]);
                _cleanup_(x_freep) char *text = text_of(x);
                assert_non_null(
                        strstr(text, "Key Usage: critical\n                Certificate Sign, CRL Sign\n"));
                assert_non_null(strstr(text, "URI:spiffe://" DOMAIN "\n"));
                assert_non_null(strstr(text, i == 0 ? "CA:TRUE\n" : "CA:TRUE, pathlen:1\n"));
                assert_non_null(X509_get0_subject_key_id(x));
                assert_non_null(X509_get0_authority_key_id(x));
                X509_free(x);
                struct cert_info info = {0};
                assert_int_equal(cert_inspect(both[i], &info, NULL), 0);
                assert_true(info.is_ca);
                assert_int_equal(info.not_after, NOW + (i == 0 ? 3650 : 730) * DAY);
                cert_info_done(&info);
        }
        /* Two CAs of the same domain never share a subject. */
        struct ca other = {0};
        ca_make(&other, DOMAIN);
        X509 *a = parse(ca.root), *b = parse(other.root);
        assert_int_not_equal(X509_NAME_cmp(X509_get_subject_name(a), X509_get_subject_name(b)), 0);
        X509_free(a);
        X509_free(b);
        ca_done(&other);
}

static void test_long_name_leaves_subject_empty(void **state) {
        char id[256];
        snprintf(
                id, sizeof(id), "spiffe://" DOMAIN "/node/%.*s", 70,
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
        _cleanup_(x_freep) char *pem = issue(&ca, id, NOW + DAY, NULL);
        X509 *x = parse(pem);
        assert_int_equal(X509_NAME_entry_count(X509_get_subject_name(x)), 0);
        int at = X509_get_ext_by_NID(x, NID_subject_alt_name, -1);
        assert_true(at >= 0);
        assert_int_equal(X509_EXTENSION_get_critical(X509_get_ext(x, at)), 1);
        X509_free(x);
}

static void test_dns_names(void **state) {
        _cleanup_(key_freep) struct key *k = NULL;
        _cleanup_(x_freep) char *pem = NULL;
        assert_int_equal(key_generate(&k, NULL), 0);
        const char *names[] = {"relay.example.org", "127.0.0.1", "::1", NULL};
        struct cert_request request = {"spiffe://" DOMAIN "/relay/kiel", names, NOW + DAY};
        assert_int_equal(cert_issue(k, &request, ca.intermediate, ca.key, NOW, &pem, NULL), 0);
        X509 *x = parse(pem);
        assert_int_equal(X509_check_host(x, "relay.example.org", 0, 0, NULL), 1);
        assert_int_equal(X509_check_ip_asc(x, "127.0.0.1", 0), 1);
        assert_int_equal(X509_check_ip_asc(x, "::1", 0), 1);
        assert_int_equal(X509_check_host(x, "evil.example.org", 0, 0, NULL), 0);
        X509_free(x);

        const char *evil[] = {"a,URI:spiffe://" DOMAIN "/node/other", NULL};
        request.dns_names = evil;
        char *none = NULL;
        assert_int_equal(cert_issue(k, &request, ca.intermediate, ca.key, NOW, &none, NULL), -EINVAL);
        assert_null(none);
}

static void test_issue_refuses(void **state) {
        _cleanup_(key_freep) struct key *k = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        char *none = NULL;
        assert_int_equal(key_generate(&k, NULL), 0);
        struct cert_request request = {.spiffe_id = "spiffe://other.org/node/a", .not_after = NOW + DAY};
        assert_int_equal(cert_issue(k, &request, ca.intermediate, ca.key, NOW, &none, &err), -EINVAL);
        assert_non_null(strstr(err_message(err), "other.org"));
        request.spiffe_id = "spiffe://" DOMAIN;
        assert_int_equal(cert_issue(k, &request, ca.intermediate, ca.key, NOW, &none, NULL), -EINVAL);
        request.spiffe_id = "spiffe://" DOMAIN "/node/..";
        assert_int_equal(cert_issue(k, &request, ca.intermediate, ca.key, NOW, &none, NULL), -EINVAL);
        request.spiffe_id = NODE;
        request.not_after = NOW;
        assert_int_equal(cert_issue(k, &request, ca.intermediate, ca.key, NOW, &none, NULL), -EINVAL);
        request.not_after = NOW + DAY;
        /* Wrong key for the issuer; an issuer that is a leaf. */
        assert_int_equal(cert_issue(k, &request, ca.intermediate, ca.root_key, NOW, &none, NULL), -EINVAL);
        _cleanup_(key_freep) struct key *leaf_key = NULL;
        _cleanup_(x_freep) char *leaf = issue(&ca, NODE, NOW + DAY, &leaf_key);
        assert_int_equal(cert_issue(k, &request, leaf, leaf_key, NOW, &none, NULL), -EINVAL);
        assert_int_equal(cert_make_root(k, "Not A Domain", NOW, &none, NULL), -EINVAL);
        assert_null(none);
        assert_int_equal(ERR_peek_error(), 0);
}

static void test_never_longer_than_issuer(void **state) {
        _cleanup_(x_freep) char *leaf = issue(&ca, NODE, NOW + 5000 * DAY, NULL);
        struct cert_info a = {0}, b = {0};
        assert_int_equal(cert_inspect(leaf, &a, NULL), 0);
        assert_int_equal(cert_inspect(ca.intermediate, &b, NULL), 0);
        assert_int_equal(a.not_after, b.not_after);
        cert_info_done(&a);
        cert_info_done(&b);
}

static void test_short_life_is_not_all_in_the_past(void **state) {
        _cleanup_(x_freep) char *leaf = issue(&ca, NODE, NOW + 60000, NULL);
        struct cert_info info = {0};
        assert_int_equal(cert_inspect(leaf, &info, NULL), 0);
        assert_int_equal(info.not_before, NOW - 6000);
        cert_info_done(&info);
}

static void test_expiry_and_grace(void **state) {
        _cleanup_(x_freep) char *leaf = issue(&ca, NODE, NOW + DAY, NULL);
        _cleanup_(x_freep) char *chain = str_format("%s%s", leaf, ca.intermediate);
        _cleanup_(err_freep) struct err *err = NULL;
        char *id = NULL;
        assert_int_equal(cert_verify_svid(chain, ca.root, DOMAIN, NOW + DAY + 1000, 0, &id, &err),
                         -EKEYREJECTED);
        assert_non_null(strstr(err_message(err), "expired"));
        assert_int_equal(cert_verify_svid(chain, ca.root, DOMAIN, NOW + 32 * DAY, 30 * DAY, &id, NULL),
                         -EKEYREJECTED);
        assert_null(id);
        assert_int_equal(cert_verify_svid(chain, ca.root, DOMAIN, NOW + 31 * DAY, 30 * DAY, &id, NULL), 0);
        free(id);
        id = NULL;
        assert_int_equal(cert_verify_svid(chain, ca.root, DOMAIN, NOW + DAY - 1000, 30 * DAY, &id, NULL), 0);
        free(id);
        /* The grace is for age alone: a stranger's expired certificate stays a stranger's. */
        struct ca other = {0};
        ca_make(&other, DOMAIN);
        id = NULL;
        assert_int_equal(cert_verify_svid(chain, other.root, DOMAIN, NOW + 2 * DAY, 30 * DAY, &id, NULL),
                         -EKEYREJECTED);
        assert_null(id);
        ca_done(&other);
}

static void test_verify_refuses_strangers(void **state) {
        struct ca other = {0}, same = {0};
        ca_make(&other, "other.org");
        ca_make(&same, DOMAIN);
        char *id = NULL;

        _cleanup_(x_freep) char *leaf = issue(&other, "spiffe://other.org/node/shop-1", NOW + DAY, NULL);
        _cleanup_(x_freep) char *chain = str_format("%s%s", leaf, other.intermediate);
        _cleanup_(err_freep) struct err *err = NULL;
        /* Another trust domain is refused even where its root is in the bundle. */
        _cleanup_(x_freep) char *both = str_format("%s%s", ca.root, other.root);
        assert_int_equal(cert_verify_svid(chain, both, DOMAIN, NOW, 0, &id, &err), -EKEYREJECTED);
        assert_non_null(strstr(err_message(err), "trust domain"));

        /* The right name from the wrong CA. */
        _cleanup_(x_freep) char *forged = issue(&same, NODE, NOW + DAY, NULL);
        _cleanup_(x_freep) char *forged_chain = str_format("%s%s%s", forged, same.intermediate, same.root);
        assert_int_equal(cert_verify_svid(forged_chain, ca.root, DOMAIN, NOW, 0, &id, NULL), -EKEYREJECTED);

        /* A CA as a leaf. */
        assert_int_equal(cert_verify_svid(ca.intermediate, ca.root, DOMAIN, NOW, 0, &id, &err),
                         -EKEYREJECTED);
        assert_non_null(strstr(err_message(err), "CA"));
        assert_null(id);
        assert_int_equal(ERR_peek_error(), 0);
        ca_done(&other);
        ca_done(&same);
}

/* A leaf with extensions of the test's choosing, signed by the intermediate. */
static char *handmade(const char *key_usage, const char *extended, const char *constraints,
                      const char *names) {
        struct key *k = NULL;
        assert_int_equal(key_generate(&k, NULL), 0);
        X509 *issuer = parse(ca.intermediate), *x = X509_new();
        X509_set_version(x, X509_VERSION_3);
        ASN1_INTEGER_set(X509_get_serialNumber(x), 7);
        ASN1_TIME_set(X509_getm_notBefore(x), NOW / 1000 - 60);
        ASN1_TIME_set(X509_getm_notAfter(x), NOW / 1000 + 86400);
        X509_set_pubkey(x, key_evp(k));
        X509_set_issuer_name(x, X509_get_subject_name(issuer));
        X509V3_CTX context;
        X509V3_set_ctx(&context, issuer, x, NULL, NULL, 0);
        const struct {
                int nid;
                const char *value;
        } extensions[] = {{NID_key_usage, key_usage},
                          {NID_ext_key_usage, extended},
                          {NID_basic_constraints, constraints},
                          {NID_subject_alt_name, names}};
        for (size_t i = 0; i < ARRAY_SIZE(extensions); i++) {
                if (!extensions[i].value)
                        continue;
                X509_EXTENSION *e =
                        X509V3_EXT_nconf_nid(NULL, &context, extensions[i].nid, extensions[i].value);
                assert_non_null(e);
                X509_add_ext(x, e, -1);
                X509_EXTENSION_free(e);
        }
        assert_true(X509_sign(x, key_evp(ca.key), EVP_sha256()) > 0);
        BIO *bio = BIO_new(BIO_s_mem());
        PEM_write_bio_X509(bio, x);
        char *data = NULL;
        long len = BIO_get_mem_data(bio, &data);
        _cleanup_(x_freep) char *leaf = str_dup_n(data, (size_t)len);
        char *chain = str_format("%s%s", leaf, ca.intermediate);
        BIO_free(bio);
        X509_free(x);
        X509_free(issuer);
        key_free(k);
        return chain;
}

static void test_verify_refuses_bad_profiles(void **state) {
        static const char usage[] = "critical,digitalSignature";
        static const char extended[] = "serverAuth,clientAuth";
        static const char leaf[] = "critical,CA:FALSE";
        static const struct {
                const char *why, *usage, *extended, *constraints, *names;
                int want;
        } cases[] = {
                {"as it should be", usage, extended, leaf, "URI:" NODE, 0},
                {"extended key usage may be absent", usage, NULL, leaf, "URI:" NODE, 0},
                {"other kinds of names do not matter", usage, extended, leaf, "URI:" NODE ",DNS:a.example",
                 0},
                {"two URIs", usage, extended, leaf, "URI:" NODE ",URI:spiffe://" DOMAIN "/node/b",
                 -EKEYREJECTED},
                {"no URI", usage, extended, leaf, "DNS:shop-1", -EKEYREJECTED},
                {"no names", usage, extended, leaf, NULL, -EKEYREJECTED},
                {"no ID", usage, extended, leaf, "URI:https://" DOMAIN "/node/a", -EKEYREJECTED},
                {"root path", usage, extended, leaf, "URI:spiffe://" DOMAIN, -EKEYREJECTED},
                {"no key usage", NULL, extended, leaf, "URI:" NODE, -EKEYREJECTED},
                {"key usage not critical", "digitalSignature", extended, leaf, "URI:" NODE, -EKEYREJECTED},
                {"no signature", "critical,keyAgreement", extended, leaf, "URI:" NODE, -EKEYREJECTED},
                {"may sign CRLs", "critical,digitalSignature,cRLSign", extended, leaf, "URI:" NODE,
                 -EKEYREJECTED},
                {"may sign certificates", "critical,digitalSignature,keyCertSign", extended, leaf,
                 "URI:" NODE, -EKEYREJECTED},
                {"server only", usage, "serverAuth", leaf, "URI:" NODE, -EKEYREJECTED},
                {"client only", usage, "clientAuth", leaf, "URI:" NODE, -EKEYREJECTED},
                {"a CA", usage, extended, "critical,CA:TRUE", "URI:" NODE, -EKEYREJECTED},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(x_freep) char *chain =
                        handmade(cases[i].usage, cases[i].extended, cases[i].constraints, cases[i].names);
                _cleanup_(x_freep) char *id = NULL;
                int r = cert_verify_svid(chain, ca.root, DOMAIN, NOW, 0, &id, NULL);
                if (r != cases[i].want)
                        fail_msg("%s: %d", cases[i].why, r);
                if (r == 0)
                        assert_string_equal(id, NODE);
                else
                        assert_null(id);
        }
}

static void test_leaf_cannot_issue(void **state) {
        /* A node that signs a certificate with its own key gains nothing by it. */
        _cleanup_(key_freep) struct key *node_key = NULL;
        _cleanup_(x_freep) char *node = issue(&ca, NODE, NOW + DAY, &node_key);
        X509 *issuer = parse(node), *x = X509_new();
        struct key *k = NULL;
        assert_int_equal(key_generate(&k, NULL), 0);
        X509_set_version(x, X509_VERSION_3);
        ASN1_INTEGER_set(X509_get_serialNumber(x), 9);
        ASN1_TIME_set(X509_getm_notBefore(x), NOW / 1000 - 60);
        ASN1_TIME_set(X509_getm_notAfter(x), NOW / 1000 + 600);
        X509_set_pubkey(x, key_evp(k));
        X509_set_issuer_name(x, X509_get_subject_name(issuer));
        X509V3_CTX context;
        X509V3_set_ctx(&context, issuer, x, NULL, NULL, 0);
        const int nids[] = {NID_key_usage, NID_basic_constraints, NID_subject_alt_name};
        const char *values[] = {"critical,digitalSignature", "critical,CA:FALSE",
                                "URI:spiffe://" DOMAIN "/node/victim"};
        for (size_t i = 0; i < ARRAY_SIZE(nids); i++) {
                X509_EXTENSION *e = X509V3_EXT_nconf_nid(NULL, &context, nids[i], values[i]);
                X509_add_ext(x, e, -1);
                X509_EXTENSION_free(e);
        }
        assert_true(X509_sign(x, key_evp(node_key), EVP_sha256()) > 0);
        BIO *bio = BIO_new(BIO_s_mem());
        PEM_write_bio_X509(bio, x);
        char *data = NULL;
        long len = BIO_get_mem_data(bio, &data);
        _cleanup_(x_freep) char *leaf = str_dup_n(data, (size_t)len);
        _cleanup_(x_freep) char *chain = str_format("%s%s%s", leaf, node, ca.chain);
        char *id = NULL;
        assert_int_equal(cert_verify_svid(chain, ca.root, DOMAIN, NOW, 0, &id, NULL), -EKEYREJECTED);
        assert_null(id);
        BIO_free(bio);
        X509_free(x);
        X509_free(issuer);
        key_free(k);
}

static void test_hostile_text(void **state) {
        char *id = NULL;
        assert_int_equal(cert_verify_svid("", ca.root, DOMAIN, NOW, 0, &id, NULL), -EINVAL);
        assert_int_equal(cert_verify_svid(ca.chain, "", DOMAIN, NOW, 0, &id, NULL), -EINVAL);
        _cleanup_(x_freep) char *damaged = str_dup(ca.chain);
        damaged[strlen(damaged) / 4] = '!';
        assert_int_equal(cert_verify_svid(damaged, ca.root, DOMAIN, NOW, 0, &id, NULL), -EINVAL);
        /* Too many certificates, and too many bytes. */
        char *many = str_dup("");
        for (int i = 0; i <= CERT_CHAIN_MAX; i++) {
                char *more = str_format("%s%s", many, ca.root);
                free(many);
                many = more;
        }
        assert_int_equal(cert_verify_svid(many, ca.root, DOMAIN, NOW, 0, &id, NULL), -EINVAL);
        free(many);
        char *huge = malloc(CERT_PEM_MAX + 2);
        memset(huge, 'A', CERT_PEM_MAX + 1);
        huge[CERT_PEM_MAX + 1] = '\0';
        assert_int_equal(cert_verify_svid(huge, ca.root, DOMAIN, NOW, 0, &id, NULL), -EINVAL);
        struct cert_info info = {0};
        assert_int_equal(cert_inspect(huge, &info, NULL), -EINVAL);
        free(huge);
        assert_null(id);
        assert_int_equal(ERR_peek_error(), 0);
}

static void test_requests(void **state) {
        _cleanup_(key_freep) struct key *k = NULL, *public = NULL;
        _cleanup_(x_freep) char *csr = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        char a[65], b[65];
        assert_int_equal(key_generate(&k, NULL), 0);
        assert_int_equal(csr_make(k, "shop-1", &csr, NULL), 0);
        assert_int_equal(csr_check(csr, &public, NULL), 0);
        assert_int_equal(key_id(k, a, NULL), 0);
        assert_int_equal(key_id(public, b, NULL), 0);
        assert_string_equal(a, b);

        struct key *none = NULL;
        assert_int_equal(csr_check("", &none, NULL), -EINVAL);
        assert_int_equal(csr_check(ca.root, &none, NULL), -EINVAL);
        char huge[17 * 1024];
        memset(huge, 'A', sizeof(huge) - 1);
        huge[sizeof(huge) - 1] = '\0';
        assert_int_equal(csr_check(huge, &none, NULL), -EINVAL);

        /* The right key's name over a signature by another. */
        X509_REQ *request = X509_REQ_new();
        _cleanup_(key_freep) struct key *other = NULL;
        assert_int_equal(key_generate(&other, NULL), 0);
        X509_REQ_set_pubkey(request, key_evp(k));
        assert_true(X509_REQ_sign(request, key_evp(other), EVP_sha256()) > 0);
        BIO *bio = BIO_new(BIO_s_mem());
        PEM_write_bio_X509_REQ(bio, request);
        char *data = NULL;
        long len = BIO_get_mem_data(bio, &data);
        _cleanup_(x_freep) char *forged = str_dup_n(data, (size_t)len);
        assert_int_equal(csr_check(forged, &none, &err), -EKEYREJECTED);
        BIO_free(bio);
        X509_REQ_free(request);

        /* A weak key. */
        EVP_PKEY *weak = EVP_EC_gen("P-224");
        request = X509_REQ_new();
        X509_REQ_set_pubkey(request, weak);
        X509_REQ_sign(request, weak, EVP_sha256());
        bio = BIO_new(BIO_s_mem());
        PEM_write_bio_X509_REQ(bio, request);
        len = BIO_get_mem_data(bio, &data);
        _cleanup_(x_freep) char *weak_text = str_dup_n(data, (size_t)len);
        assert_int_equal(csr_check(weak_text, &none, NULL), -EKEYREJECTED);
        BIO_free(bio);
        X509_REQ_free(request);
        EVP_PKEY_free(weak);
        assert_null(none);
        assert_int_equal(ERR_peek_error(), 0);
}

static void test_pin(void **state) {
        char from_root[65], from_chain[65], id[65];
        assert_int_equal(cert_pin_of_root(ca.root, from_root, NULL), 0);
        assert_int_equal(cert_pin_of_root(ca.chain, from_chain, NULL), 0);
        assert_string_equal(from_root, from_chain);
        assert_int_equal(key_id(ca.root_key, id, NULL), 0);
        assert_string_equal(from_root, id);
        _cleanup_(key_freep) struct key *k = NULL;
        assert_int_equal(cert_public_key(ca.chain, &k, NULL), 0);
        assert_int_equal(key_id(k, id, NULL), 0);
        assert_string_not_equal(from_root, id); /* the first certificate's, which is the intermediate */
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_issue_and_verify),
                cmocka_unit_test(test_leaf_profile),
                cmocka_unit_test(test_ca_profile),
                cmocka_unit_test(test_long_name_leaves_subject_empty),
                cmocka_unit_test(test_dns_names),
                cmocka_unit_test(test_issue_refuses),
                cmocka_unit_test(test_never_longer_than_issuer),
                cmocka_unit_test(test_short_life_is_not_all_in_the_past),
                cmocka_unit_test(test_expiry_and_grace),
                cmocka_unit_test(test_verify_refuses_strangers),
                cmocka_unit_test(test_verify_refuses_bad_profiles),
                cmocka_unit_test(test_leaf_cannot_issue),
                cmocka_unit_test(test_hostile_text),
                cmocka_unit_test(test_requests),
                cmocka_unit_test(test_pin),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
