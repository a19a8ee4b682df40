/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/encode.h"
#include "crypto/digest.h"

/* FIPS 180-4 examples, as published by NIST. */
static void test_known_answers(void **state) {
        char hex[SHA256_HEX_SIZE];
        sha256_hex("abc", 3, hex);
        assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        sha256_hex(NULL, 0, hex);
        assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void test_in_pieces(void **state) {
        _cleanup_(sha256_freep) struct sha256 *s = sha256_new();
        assert_non_null(s);
        const char *text = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        for (size_t i = 0; i < strlen(text); i++)
                sha256_update(s, text + i, 1);
        sha256_update(s, NULL, 0);
        uint8_t digest[SHA256_SIZE];
        char hex[SHA256_HEX_SIZE];
        sha256_final(s, digest);
        hex_encode(digest, sizeof(digest), hex);
        assert_string_equal(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

/* RFC 4231, test cases 2 and 6 (a key longer than a block). */
static void test_hmac(void **state) {
        uint8_t mac[SHA256_SIZE];
        char hex[SHA256_HEX_SIZE];
        hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, mac);
        hex_encode(mac, sizeof(mac), hex);
        assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        uint8_t key[131];
        memset(key, 0xaa, sizeof(key));
        const char *text = "Test Using Larger Than Block-Size Key - Hash Key First";
        hmac_sha256(key, sizeof(key), text, strlen(text), mac);
        hex_encode(mac, sizeof(mac), hex);
        assert_string_equal(hex, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void test_hex_form(void **state) {
        char hex[SHA256_HEX_SIZE + 1] = {0};
        sha256_hex("x", 1, hex);
        assert_true(sha256_hex_is_valid(hex));
        hex[64] = '0';
        assert_false(sha256_hex_is_valid(hex));
        hex[63] = '\0';
        assert_false(sha256_hex_is_valid(hex));
        assert_false(sha256_hex_is_valid(NULL));
        assert_false(sha256_hex_is_valid("BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"));
}

static void test_file(void **state) {
        FILE *f = tmpfile();
        assert_non_null(f);
        for (int i = 0; i < 1000000; i++)
                fputc('a', f);
        fflush(f);
        char hex[SHA256_HEX_SIZE];
        assert_int_equal(sha256_file_hex(fileno(f), hex), 0);
        /* The long example of FIPS 180: a million times "a". */
        assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
        fclose(f);
        assert_int_equal(sha256_file_hex(-1, hex), -EBADF);
}

static void test_compare(void **state) {
        assert_true(bytes_equal_constant_time("same", "same", 4));
        assert_false(bytes_equal_constant_time("same", "sane", 4));
        assert_true(bytes_equal_constant_time("a", "b", 0));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_known_answers), cmocka_unit_test(test_in_pieces),
                cmocka_unit_test(test_hmac),          cmocka_unit_test(test_hex_form),
                cmocka_unit_test(test_file),          cmocka_unit_test(test_compare),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
