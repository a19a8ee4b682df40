/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "crypto/token.h"

static const char pin[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

static void test_round_trip(void **state) {
        struct token made = {0}, read = {0};
        _cleanup_(x_freep) char *text = NULL;
        assert_int_equal(token_make("join", pin, &made, &text), 0);
        assert_int_equal(token_parse(text, &read, NULL), 0);
        assert_string_equal(read.prefix, "join");
        assert_string_equal(read.id, made.id);
        assert_int_equal(strlen(read.id), TOKEN_ID_SIZE - 1);
        assert_true(token_hash_equal(read.secret_sha256, made.secret_sha256));
        assert_string_equal(read.pin, pin);
        assert_null(strstr(text, made.secret_sha256));
        token_done(&made);
        token_done(&read);
        assert_null(read.pin);
}

static void test_without_pin(void **state) {
        struct token made = {0}, read = {0};
        _cleanup_(x_freep) char *text = NULL;
        assert_int_equal(token_make("admin", NULL, &made, &text), 0);
        /* "<prefix>_<id>.<43 characters>" */
        assert_int_equal(strlen(text), 5 + 1 + 10 + 1 + 43);
        assert_int_equal(token_parse(text, &read, NULL), 0);
        assert_null(read.pin);
        token_done(&made);
        token_done(&read);
}

static void test_never_the_same(void **state) {
        struct token a = {0}, b = {0};
        _cleanup_(x_freep) char *text_a = NULL, *text_b = NULL;
        assert_int_equal(token_make("join", NULL, &a, &text_a), 0);
        assert_int_equal(token_make("join", NULL, &b, &text_b), 0);
        assert_string_not_equal(a.id, b.id);
        assert_false(token_hash_equal(a.secret_sha256, b.secret_sha256));
        token_done(&a);
        token_done(&b);
}

static void test_one_character_off(void **state) {
        struct token made = {0}, read = {0};
        _cleanup_(x_freep) char *text = NULL;
        assert_int_equal(token_make("join", NULL, &made, &text), 0);
        char *last = text + strlen(text) - 1;
        *last = *last == 'A' ? 'B' : 'A';
        assert_int_equal(token_parse(text, &read, NULL), 0);
        assert_false(token_hash_equal(read.secret_sha256, made.secret_sha256));
        token_done(&made);
        token_done(&read);
}

static void test_malformed(void **state) {
        static const char secret[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        char text[2048];
        struct token t = {.id = "untouched"};
        assert_int_equal(token_parse("", &t, NULL), -EINVAL);
        assert_int_equal(token_parse(NULL, &t, NULL), -EINVAL);
        static const char *const heads[] = {"join",
                                            "join_",
                                            "_0123456789",
                                            "join_012345678",
                                            "join_0123456789a",
                                            "JOIN_0123456789",
                                            "toolongprefix_0123456789",
                                            "join_01234567!9"};
        for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
                _cleanup_(err_freep) struct err *err = NULL;
                snprintf(text, sizeof(text), "%s.%s", heads[i], secret);
                assert_int_equal(token_parse(text, &t, &err), -EINVAL);
                assert_null(strstr(err_message(err), secret)); /* a secret is never repeated */
        }
        snprintf(text, sizeof(text), "join_0123456789.%s", secret + 1);
        assert_int_equal(token_parse(text, &t, NULL), -EINVAL);
        snprintf(text, sizeof(text), "join_0123456789.%s ", secret);
        assert_int_equal(token_parse(text, &t, NULL), -EINVAL);
        snprintf(text, sizeof(text), "join_0123456789.%s.", secret);
        assert_int_equal(token_parse(text, &t, NULL), -EINVAL);
        snprintf(text, sizeof(text), "join_0123456789.%s.%s0", secret, pin);
        assert_int_equal(token_parse(text, &t, NULL), -EINVAL);
        memset(text, 'a', sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        assert_int_equal(token_parse(text, &t, NULL), -EINVAL);
        assert_string_equal(t.id, "untouched");
}

static void test_make_refuses(void **state) {
        struct token t = {0};
        char *text = NULL;
        assert_int_equal(token_make("", NULL, &t, &text), -EINVAL);
        assert_int_equal(token_make("farTooLong", NULL, &t, &text), -EINVAL);
        assert_int_equal(token_make("join", "no digest", &t, &text), -EINVAL);
        assert_null(text);
        assert_false(token_hash_equal("", ""));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_without_pin),
                cmocka_unit_test(test_never_the_same), cmocka_unit_test(test_one_character_off),
                cmocka_unit_test(test_malformed),      cmocka_unit_test(test_make_refuses),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
