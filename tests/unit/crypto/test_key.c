/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "../folder.h"
#include "base/fs.h"
#include "base/str.h"
#include "crypto/digest.h"
#include "crypto/key.h"

static void test_sign_and_verify(void **state) {
        _cleanup_(key_freep) struct key *k = NULL, *other = NULL, *public = NULL;
        _cleanup_(x_freep) char *signature = NULL, *pem = NULL;
        assert_int_equal(key_generate(&k, NULL), 0);
        assert_int_equal(key_generate(&other, NULL), 0);
        assert_int_equal(key_sign(k, "message", 7, &signature, NULL), 0);
        assert_int_equal(key_verify(k, "message", 7, signature, NULL), 0);
        assert_int_equal(key_verify(k, "messagf", 7, signature, NULL), -EKEYREJECTED);
        assert_int_equal(key_verify(k, "message", 6, signature, NULL), -EKEYREJECTED);
        assert_int_equal(key_verify(other, "message", 7, signature, NULL), -EKEYREJECTED);

        /* The public half alone verifies and cannot sign. */
        assert_int_equal(key_public_pem(k, &pem, NULL), 0);
        assert_int_equal(key_from_pem(pem, &public, NULL), 0);
        assert_int_equal(key_verify(public, "message", 7, signature, NULL), 0);
        char *none = NULL;
        assert_int_equal(key_sign(public, "message", 7, &none, NULL), -EINVAL);
        assert_int_equal(key_to_pem(public, &none, NULL), -EINVAL);
        assert_null(none);
        assert_int_equal(ERR_peek_error(), 0);
}

static void test_bad_signatures(void **state) {
        _cleanup_(key_freep) struct key *k = NULL;
        assert_int_equal(key_generate(&k, NULL), 0);
        assert_int_equal(key_verify(k, "m", 1, "", NULL), -EINVAL);
        assert_int_equal(key_verify(k, "m", 1, "no base64 at all!", NULL), -EINVAL);
        assert_int_equal(key_verify(k, "m", 1, "AAAA", NULL), -EINVAL);
        char huge[2048];
        memset(huge, 'A', sizeof(huge) - 1);
        huge[sizeof(huge) - 1] = '\0';
        assert_int_equal(key_verify(k, "m", 1, huge, NULL), -EINVAL);
        assert_int_equal(ERR_peek_error(), 0);
}

static void test_ids_name_keys(void **state) {
        _cleanup_(key_freep) struct key *k = NULL, *public = NULL, *other = NULL;
        _cleanup_(x_freep) char *pem = NULL;
        char a[65], b[65], c[65];
        assert_int_equal(key_generate(&k, NULL), 0);
        assert_int_equal(key_generate(&other, NULL), 0);
        assert_int_equal(key_public_pem(k, &pem, NULL), 0);
        assert_int_equal(key_from_pem(pem, &public, NULL), 0);
        assert_int_equal(key_id(k, a, NULL), 0);
        assert_int_equal(key_id(public, b, NULL), 0);
        assert_int_equal(key_id(other, c, NULL), 0);
        assert_true(sha256_hex_is_valid(a));
        assert_string_equal(a, b);
        assert_string_not_equal(a, c);
}

static void test_files(void **state) {
        _cleanup_(key_freep) struct key *k = NULL, *plain = NULL, *sealed = NULL, *none = NULL;
        _cleanup_(x_freep) char *path = path_join(folder, "key.pem"),
                                *locked = path_join(folder, "locked.pem");
        char a[65], b[65], c[65];
        assert_int_equal(key_generate(&k, NULL), 0);
        assert_int_equal(key_save(k, path, NULL, NULL), 0);
        assert_int_equal(key_save(k, locked, "correct horse", NULL), 0);
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);

        assert_int_equal(key_load(path, NULL, &plain, NULL), 0);
        assert_int_equal(key_load(locked, "correct horse", &sealed, NULL), 0);
        assert_int_equal(key_id(k, a, NULL), 0);
        assert_int_equal(key_id(plain, b, NULL), 0);
        assert_int_equal(key_id(sealed, c, NULL), 0);
        assert_string_equal(a, b);
        assert_string_equal(a, c);
        _cleanup_(x_freep) char *signature = NULL;
        assert_int_equal(key_sign(sealed, "x", 1, &signature, NULL), 0);

        _cleanup_(x_freep) char *text = NULL;
        size_t len = 0;
        assert_int_equal(file_read(locked, 65536, &text, &len, NULL), 0);
        assert_non_null(strstr(text, "BEGIN ENCRYPTED PRIVATE KEY"));

        _cleanup_(err_freep) struct err *err = NULL;
        assert_int_equal(key_load(locked, "wrong", &none, &err), -EKEYREJECTED);
        assert_non_null(strstr(err_message(err), locked));
        assert_int_equal(key_load(locked, NULL, &none, &err), -EKEYREJECTED);
        assert_non_null(strstr(err_message(err), "passphrase"));
        assert_int_equal(key_load("/nonexistent/key", NULL, &none, &err), -ENOENT);
        assert_null(none);
        assert_int_equal(ERR_peek_error(), 0);
}

static char *pem_of(EVP_PKEY *evp) {
        BIO *bio = BIO_new(BIO_s_mem());
        assert_int_equal(PEM_write_bio_PUBKEY(bio, evp), 1);
        char *data = NULL;
        long len = BIO_get_mem_data(bio, &data);
        char *copy = str_dup_n(data, (size_t)len);
        BIO_free(bio);
        EVP_PKEY_free(evp);
        return copy;
}

static void test_other_kinds_are_refused(void **state) {
        _cleanup_(x_freep) char *rsa = pem_of(EVP_RSA_gen(2048));
        _cleanup_(x_freep) char *small = pem_of(EVP_EC_gen("P-224"));
        _cleanup_(x_freep) char *koblitz = pem_of(EVP_EC_gen("secp256k1"));
        _cleanup_(x_freep) char *large = pem_of(EVP_EC_gen("P-384"));
        _cleanup_(key_freep) struct key *k = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        assert_int_equal(key_from_pem(rsa, &k, &err), -EKEYREJECTED);
        assert_non_null(strstr(err_message(err), "RSA"));
        assert_int_equal(key_from_pem(small, &k, NULL), -EKEYREJECTED);
        assert_int_equal(key_from_pem(koblitz, &k, NULL), -EKEYREJECTED);
        assert_int_equal(key_from_pem("rubbish", &k, NULL), -EINVAL);
        assert_int_equal(
                key_from_pem("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", &k, NULL),
                -EINVAL);
        assert_null(k);
        assert_int_equal(key_from_pem(large, &k, NULL), 0);
        assert_int_equal(ERR_peek_error(), 0);
}

static void test_public_keys(void **state) {
        _cleanup_(key_freep) struct key *k = NULL, *public = NULL, *large = NULL, *none = NULL;
        _cleanup_(x_freep) char *pem = NULL, *signature = NULL, *large_pem = NULL;
        char ours[65], theirs[65];
        assert_int_equal(key_generate(&k, NULL), 0);
        assert_int_equal(key_public_pem(k, &pem, NULL), 0);
        assert_int_equal(key_from_public_pem(pem, &public, NULL), 0);
        assert_int_equal(key_id(k, ours, NULL), 0);
        assert_int_equal(key_id(public, theirs, NULL), 0);
        assert_string_equal(ours, theirs);
        assert_int_equal(key_sign(k, "message", 7, &signature, NULL), 0);
        assert_int_equal(key_verify(public, "message", 7, signature, NULL), 0);
        assert_int_equal(key_verify(public, "massage", 7, signature, NULL), -EKEYREJECTED);
        assert_int_not_equal(key_sign(public, "message", 7, &signature, NULL), 0);

        /* A point that is not on the curve, and texts that are cut or changed. */
        char *changed = str_dup(pem), *last = strrchr(changed, '=');
        last[-4] = last[-4] == 'A' ? 'B' : 'A';
        assert_true(key_from_public_pem(changed, &none, NULL) < 0);
        free(changed);
        for (size_t n = 0; n < strlen(pem) - 1; n += 7) {
                _cleanup_(x_freep) char *cut = str_dup_n(pem, n);
                assert_true(key_from_public_pem(cut, &none, NULL) < 0);
        }
        assert_null(none);

        EVP_PKEY *p384 = EVP_EC_gen("P-384");
        BIO *out = BIO_new(BIO_s_mem());
        char *data;
        assert_int_equal(PEM_write_bio_PUBKEY(out, p384), 1);
        long n = BIO_get_mem_data(out, &data);
        large_pem = str_dup_n(data, (size_t)n);
        assert_int_equal(key_from_public_pem(large_pem, &large, NULL), 0);
        BIO_free(out);
        EVP_PKEY_free(p384);
}

static void test_references(void **state) {
        struct key *k = NULL;
        assert_int_equal(key_generate(&k, NULL), 0);
        struct key *same = key_ref(k);
        assert_null(key_free(k));
        char id[65];
        assert_int_equal(key_id(same, id, NULL), 0);
        assert_null(key_free(same));
        assert_null(key_free(NULL));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_sign_and_verify),
                cmocka_unit_test(test_bad_signatures),
                cmocka_unit_test(test_ids_name_keys),
                cmocka_unit_test(test_files),
                cmocka_unit_test(test_other_kinds_are_refused),
                cmocka_unit_test(test_references),
                cmocka_unit_test(test_public_keys),
        };
        return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
