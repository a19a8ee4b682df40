/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/signing_key.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
/* cmocka wants the above first */
#include <cmocka.h>

#include "base/encode.h"
#include "base/fs.h"
#include "base/str.h"

/* RFC 8032 section 7.1, test 2. */
static void test_ed25519_vector(void **state) {
        static const char public_hex[] = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
        static const char signature_hex[] =
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
        uint8_t public_key[32], again[32], signature[64];
        _cleanup_(signing_key_freep) struct signing_key *k = NULL;
        assert_int_equal(hex_decode(public_hex, 64, public_key, 32), 0);
        assert_int_equal(hex_decode(signature_hex, 128, signature, 64), 0);
        assert_int_equal(signing_key_from_ed25519(public_key, &k, NULL), 0);
        assert_int_equal(signing_key_verify(k, "\x72", 1, signature, 64), 0);
        assert_int_equal(signing_key_verify(k, "\x73", 1, signature, 64), -EKEYREJECTED);
        assert_int_equal(signing_key_verify(k, "\x72", 1, signature, 63), -EKEYREJECTED);
        assert_int_equal(signing_key_verify(k, "\x72", 1, signature, 0), -EKEYREJECTED);
        assert_int_equal(signing_key_public_ed25519(k, again), 0);
        assert_memory_equal(again, public_key, 32);
        assert_false(signing_key_is_private(k));
        size_t len = 0;
        uint8_t out[SIGNING_SIGNATURE_MAX];
        assert_int_equal(signing_key_sign(k, "x", 1, out, &len, NULL), -EINVAL);
}

static void test_round_trip(void **state) {
        static const enum signing_scheme schemes[] = {SIGNING_ED25519, SIGNING_ECDSA_P256};
        char dir[] = "/tmp/skerry-test-XXXXXX";
        assert_non_null(mkdtemp(dir));
        for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
                for (int sealed = 0; sealed < 2; sealed++) {
                        _cleanup_(signing_key_freep) struct signing_key *k = NULL, *loaded = NULL,
                                                                        *public_half = NULL, *none = NULL;
                        _cleanup_(err_freep) struct err *err = NULL;
                        _cleanup_(x_freep) char *path = path_join(dir, "key.pem"), *text = NULL, *pem = NULL;
                        const char *passphrase = sealed ? "a passphrase" : NULL;
                        uint8_t signature[SIGNING_SIGNATURE_MAX];
                        char one[65], other[65];
                        size_t len = 0;
                        struct stat st;
                        assert_int_equal(signing_key_generate(schemes[i], &k, NULL), 0);
                        assert_int_equal(signing_key_save(k, path, passphrase, NULL), 0);
                        assert_int_equal(stat(path, &st), 0);
                        assert_int_equal(st.st_mode & 0777, 0600);
                        assert_int_equal(file_read(path, 10000, &text, &len, NULL), 0);
                        assert_int_equal(signing_key_pem_is_encrypted(text), sealed);
                        if (sealed) {
                                assert_int_equal(signing_key_load(path, NULL, &none, &err), -EKEYREJECTED);
                                assert_int_equal(signing_key_load(path, "wrong", &none, &err), -EKEYREJECTED);
                                assert_null(none);
                        }
                        assert_int_equal(signing_key_load(path, passphrase, &loaded, NULL), 0);
                        assert_true(signing_key_is_private(loaded));
                        assert_int_equal(signing_key_sign(loaded, "message", 7, signature, &len, NULL), 0);
                        assert_int_equal(signing_key_public_pem(k, &pem, NULL), 0);
                        assert_int_equal(signing_key_from_pem(pem, NULL, &public_half, NULL), 0);
                        assert_int_equal(signing_key_scheme(public_half), schemes[i]);
                        assert_false(signing_key_is_private(public_half));
                        assert_int_equal(signing_key_verify(public_half, "message", 7, signature, len), 0);
                        signature[len / 2] ^= 1;
                        assert_int_equal(signing_key_verify(public_half, "message", 7, signature, len),
                                         -EKEYREJECTED);
                        assert_int_equal(signing_key_fingerprint(k, one, NULL), 0);
                        assert_int_equal(signing_key_fingerprint(public_half, other, NULL), 0);
                        assert_string_equal(one, other);
                }
        assert_int_equal(path_remove(dir, NULL), 0);
}

static void test_refused(void **state) {
        /* P-384 */
        static const char p384[] = "-----BEGIN PUBLIC KEY-----\n"
                                   "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEq9BPsyFQ1DPLYqJEsIPLVTrWRgIzvyhE\n"
                                   "not a key at all\n-----END PUBLIC KEY-----\n";
        _cleanup_(err_freep) struct err *err = NULL;
        struct signing_key *k = NULL;
        assert_int_equal(signing_key_from_pem(p384, NULL, &k, &err), -EINVAL);
        assert_int_equal(signing_key_from_pem("", NULL, &k, &err), -EINVAL);
        assert_int_equal(signing_key_generate(SIGNING_RSA_PSS, &k, &err), -EOPNOTSUPP);
        assert_null(k);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_ed25519_vector),
                cmocka_unit_test(test_round_trip),
                cmocka_unit_test(test_refused),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
