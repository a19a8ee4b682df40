/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/encode.h"
#include "base/random.h"

static void hex_both_ways(void **state) {
        char text[9];
        hex_encode("\x00\xff\x1a\x7e", 4, text);
        assert_string_equal(text, "00ff1a7e");
        unsigned char bytes[4];
        assert_int_equal(hex_decode("00fF1A7e", 8, bytes, 4), 0);
        assert_memory_equal(bytes, "\x00\xff\x1a\x7e", 4);
        hex_encode(NULL, 0, text);
        assert_string_equal(text, "");
        assert_int_equal(hex_decode("", 0, bytes, 0), 0);
}

static void hex_refuses(void **state) {
        unsigned char bytes[4] = {9, 9, 9, 9};
        assert_int_equal(hex_decode("00ff1a7", 7, bytes, 4), -EINVAL);
        assert_int_equal(hex_decode("00ff1a", 6, bytes, 4), -EINVAL);
        assert_int_equal(hex_decode("00ff1a7e00", 10, bytes, 4), -EINVAL);
        assert_int_equal(hex_decode("00ff1a7g", 8, bytes, 4), -EINVAL);
        assert_int_equal(hex_decode("00 f1a7e", 8, bytes, 4), -EINVAL);
        assert_memory_equal(bytes, "\x09\x09\x09\x09", 4); /* untouched */
}

/* RFC 4648 section 10 */
static void base64_test_vectors(void **state) {
        static const char *const vectors[][2] = {
                {"", ""},
                {"f", "Zg=="},
                {"fo", "Zm8="},
                {"foo", "Zm9v"},
                {"foob", "Zm9vYg=="},
                {"fooba", "Zm9vYmE="},
                {"foobar", "Zm9vYmFy"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
                _cleanup_(x_freep) char *text = base64_encode(vectors[i][0], strlen(vectors[i][0]));
                assert_string_equal(text, vectors[i][1]);
                void *data = NULL;
                size_t len = 99;
                assert_int_equal(base64_decode(text, strlen(text), &data, &len), 0);
                assert_string_equal(data, vectors[i][0]);
                assert_int_equal(len, strlen(vectors[i][0]));
                free(data);
        }
}

static void alphabets_and_padding(void **state) {
        static const unsigned char bytes[] = {0xfb, 0xff, 0xbf, 0xfe};
        _cleanup_(x_freep) char *standard = base64_encode(bytes, 4), *url = base64url_encode(bytes, 4);
        assert_string_equal(standard, "+/+//g==");
        assert_string_equal(url, "-_-__g");
        static const char *const texts[] = {"+/+//g==", "+/+//g", "-_-__g", "-_-__g=="};
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                _cleanup_(x_freep) void *data = NULL;
                size_t len;
                assert_int_equal(base64_decode(texts[i], strlen(texts[i]), &data, &len), 0);
                assert_int_equal(len, 4);
                assert_memory_equal(data, bytes, 4);
        }
}

static void base64_refuses(void **state) {
        static const char *const texts[] = {
                "Z",     /* no byte in six bits */
                "Zg=",   /* padding cut short */
                "Zg===", /* and too long */
                "Zm9v====", "=",        "==",   "Zm 9v", "Zm9v\n",
                "Zm9*",     "Zg==Zg==", "=Zg=", "Zh==", /* bits left over: Zg== is the one text of "f" */
                "Zm9=",
        };
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                void *data = (void *)texts;
                size_t len = 7;
                assert_int_equal(base64_decode(texts[i], strlen(texts[i]), &data, &len), -EINVAL);
                assert_ptr_equal(data, texts);
                assert_int_equal(len, 7);
        }
        void *data;
        size_t len;
        assert_int_equal(base64_decode("Zm\0v", 4, &data, &len), -EINVAL);
}

static void all_lengths_come_back(void **state) {
        struct prng r;
        prng_seed(&r, 3);
        for (size_t n = 0; n < 200; n++) {
                unsigned char bytes[200];
                for (size_t i = 0; i < n; i++)
                        bytes[i] = (unsigned char)prng_next(&r);
                for (int form = 0; form < 2; form++) {
                        _cleanup_(x_freep) char *text =
                                form ? base64url_encode(bytes, n) : base64_encode(bytes, n);
                        _cleanup_(x_freep) void *data = NULL;
                        size_t len;
                        assert_int_equal(base64_decode(text, strlen(text), &data, &len), 0);
                        assert_int_equal(len, n);
                        assert_memory_equal(data, bytes, n);
                }
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(hex_both_ways),       cmocka_unit_test(hex_refuses),
                cmocka_unit_test(base64_test_vectors), cmocka_unit_test(alphabets_and_padding),
                cmocka_unit_test(base64_refuses),      cmocka_unit_test(all_lengths_come_back),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
