/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/utf8.h"

#define VALID(s) utf8_is_valid(s, sizeof(s) - 1)
#define WIDTH(s) utf8_width(s, sizeof(s) - 1)

static void valid_text(void **state) {
        assert_true(VALID(""));
        assert_true(VALID("plain"));
        assert_true(VALID("a\0b"));
        assert_true(VALID("\xc2\x80"));         /* U+0080, the least of two bytes */
        assert_true(VALID("\xdf\xbf"));         /* U+07FF */
        assert_true(VALID("\xe0\xa0\x80"));     /* U+0800 */
        assert_true(VALID("\xed\x9f\xbf"));     /* U+D7FF, before the surrogates */
        assert_true(VALID("\xee\x80\x80"));     /* U+E000, after them */
        assert_true(VALID("\xf0\x90\x80\x80")); /* U+10000 */
        assert_true(VALID("\xf4\x8f\xbf\xbf")); /* U+10FFFF */
}

static void invalid_text(void **state) {
        assert_false(VALID("\x80")); /* continuation alone */
        assert_false(VALID("\xc3")); /* cut short */
        assert_false(VALID("\xc3("));
        assert_false(VALID("\xc0\x80"));         /* NUL in two bytes */
        assert_false(VALID("\xc1\xbf"));         /* overlong */
        assert_false(VALID("\xe0\x9f\xbf"));     /* overlong */
        assert_false(VALID("\xf0\x8f\xbf\xbf")); /* overlong */
        assert_false(VALID("\xed\xa0\x80"));     /* surrogate */
        assert_false(VALID("\xed\xbf\xbf"));     /* surrogate */
        assert_false(VALID("\xf4\x90\x80\x80")); /* past U+10FFFF */
        assert_false(VALID("\xf5\x80\x80\x80"));
        assert_false(VALID("\xfe"));
        assert_false(VALID("ok \xe2\x82"));
}

static void decoding(void **state) {
        uint32_t c = 0;
        assert_int_equal(utf8_decode("", 0, &c), 0);
        assert_int_equal(utf8_decode("ab", 2, &c), 1);
        assert_int_equal(c, 'a');
        assert_int_equal(utf8_decode("\xe2\x82\xac!", 4, &c), 3);
        assert_int_equal(c, 0x20ac);
        assert_int_equal(utf8_decode("\xe2\x82\xac", 2, &c), 0);
        assert_int_equal(utf8_decode("\xf0\x9f\x9a\x80", 4, &c), 4);
        assert_int_equal(c, 0x1f680);
}

static void columns(void **state) {
        assert_int_equal(WIDTH(""), 0);
        assert_int_equal(WIDTH("kiel"), 4);
        assert_int_equal(WIDTH("K\xc3\xb6ln"), 4);
        assert_int_equal(WIDTH("e\xcc\x81"), 1);                            /* e and a combining accent */
        assert_int_equal(WIDTH("\xe6\x9d\xb1\xe4\xba\xac"), 4);             /* two Han characters */
        assert_int_equal(WIDTH("\xed\x95\x9c"), 2);                         /* a Hangul syllable */
        assert_int_equal(WIDTH("\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab"), 2); /* the same, in its letters */
        assert_int_equal(WIDTH("\xf0\x9f\x9a\x80"), 2);                     /* an emoji */
        assert_int_equal(WIDTH("\xe2\x80\x8b"), 0);                         /* zero width space */
        assert_int_equal(WIDTH("\xc2\xad"), 1); /* soft hyphen, which terminals show */
        assert_int_equal(WIDTH("a\xff\xfe"), 3);
        assert_int_equal(WIDTH("\xe2\x82"), 2); /* cut short: each byte by itself */
        assert_int_equal(WIDTH("a\x1b\x7f"), 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(valid_text),
                cmocka_unit_test(invalid_text),
                cmocka_unit_test(decoding),
                cmocka_unit_test(columns),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
