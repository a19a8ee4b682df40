/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "crypto/age.h"

/* The identity and the recipient that the specification of the format shows. */
#define IDENTITY "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"
#define RECIPIENT "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"

/* Made by age 1.1.1 for RECIPIENT. */
static const char made_by_age[] = "-----BEGIN AGE ENCRYPTED FILE-----\n"
                                  "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSAzeVg2eTZsZ2NjeHNHNE1x\n"
                                  "UFhSYnJLR3BxOG93ZmpSM0pPVWN5UHkwRWpjCkFNSUFucmhKOFpqUkVSaENYMmoz\n"
                                  "cXNpL0VBczZSMElyZmdPWHp3Mkg3SDAKLS0tICtLNlRha1FMUWtuaDNyTlZERkEv\n"
                                  "UEFkd1FqcjhXbk1FQTJYRklDUGpnZDAKrRUbycT/Ay2ePOKkcmM92O5lT54kkz1h\n"
                                  "VFFLwdQMTmWNiuUuZ5be5n6HW9uUF2g=\n"
                                  "-----END AGE ENCRYPTED FILE-----\n";

static struct age_identity *identity(void) {
        struct age_identity *i = NULL;
        assert_int_equal(age_identity_parse(IDENTITY, &i, NULL), 0);
        return i;
}

static int open_with(const struct age_identity *i, const void *data, size_t n, struct secret **ret,
                     struct err **err) {
        return age_decrypt(data, n, &i, 1, ret, err);
}

static void known_identity_gives_its_recipient(void **state) {
        (void)state;
        _cleanup_(age_identity_freep) struct age_identity *i = identity();
        assert_string_equal(age_identity_recipient(i), RECIPIENT);
        assert_true(age_recipient_is_valid(RECIPIENT));
}

static void wrong_keys_are_refused(void **state) {
        (void)state;
        static const char *const identities[] = {
                "",
                "AGE-SECRET-KEY-1",
                RECIPIENT,
                "age-secret-key-1gfpyysjzgfpyysjzgfpyysjzgfpyysjzgfpyysjzgfpyysjzgfpq4egaex",
                "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEz",
                "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEZ",
                "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEXX",
        };
        for (size_t k = 0; k < ARRAY_SIZE(identities); k++) {
                _cleanup_(err_freep) struct err *err = NULL;
                struct age_identity *i = NULL;
                assert_int_equal(age_identity_parse(identities[k], &i, &err), -EINVAL);
                assert_null(strstr(err_message(err), "GFPYY")); /* never in words */
        }
        assert_false(age_recipient_is_valid(NULL));
        assert_false(age_recipient_is_valid(IDENTITY));
        assert_false(
                age_recipient_is_valid("age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwk"));
        assert_false(
                age_recipient_is_valid("AGE1ZVKYG2LQZRAA2LNJVQEJ32NKUU0UES2S82HZRYE869XEEXVN73EQUNUJWJ"));
}

static void a_file_of_age_is_read(void **state) {
        (void)state;
        _cleanup_(age_identity_freep) struct age_identity *i = identity(), *other = NULL;
        _cleanup_(secret_freep) struct secret *plain = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        assert_int_equal(open_with(i, made_by_age, strlen(made_by_age), &plain, &err), 0);
        assert_string_equal(secret_text(plain), "the tide is out");
        assert_int_equal(age_identity_generate(&other, NULL), 0);
        struct secret *none = NULL;
        assert_int_equal(open_with(other, made_by_age, strlen(made_by_age), &none, &err), -ENOKEY);
        assert_null(none);
}

static void what_we_write_we_read(void **state) {
        (void)state;
        static const size_t sizes[] = {0, 1, 65535, 65536, 65537, 200000};
        _cleanup_(age_identity_freep) struct age_identity *a = identity(), *b = NULL;
        assert_int_equal(age_identity_generate(&b, NULL), 0);
        const char *recipients[] = {RECIPIENT, age_identity_recipient(b)};
        for (size_t k = 0; k < 2 * ARRAY_SIZE(sizes); k++) {
                _cleanup_(buf_done) struct buf file = BUF_INIT;
                size_t n = sizes[k / 2];
                _cleanup_(x_freep) char *data = malloc(n + 1);
                for (size_t at = 0; at < n; at++)
                        data[at] = (char)(at * 7 + at / 251);
                assert_int_equal(age_encrypt(data, n, recipients, 2, k % 2, &file, NULL), 0);
                for (int who = 0; who < 2; who++) {
                        _cleanup_(secret_freep) struct secret *plain = NULL;
                        assert_int_equal(open_with(who ? b : a, file.data, file.len, &plain, NULL), 0);
                        assert_int_equal(secret_len(plain), n);
                        assert_memory_equal(secret_text(plain), data, n);
                }
        }
}

static void every_change_is_noticed(void **state) {
        (void)state;
        _cleanup_(age_identity_freep) struct age_identity *i = identity();
        _cleanup_(buf_done) struct buf file = BUF_INIT;
        const char *recipients[] = {RECIPIENT};
        assert_int_equal(age_encrypt("low water", 9, recipients, 1, false, &file, NULL), 0);
        for (size_t at = 0; at < file.len; at++) {
                struct secret *plain = NULL;
                file.data[at] ^= 1;
                int r = open_with(i, file.data, file.len, &plain, NULL);
                file.data[at] ^= 1;
                assert_null(plain);
                assert_true(r == -EBADMSG || r == -ENOKEY);
        }
        for (size_t n = 0; n < file.len; n++) {
                struct secret *plain = NULL;
                assert_int_equal(open_with(i, file.data, n, &plain, NULL), -EBADMSG);
                assert_null(plain);
        }
        assert_int_equal(buf_append(&file, "x", 1), 0);
        struct secret *plain = NULL;
        assert_int_equal(open_with(i, file.data, file.len, &plain, NULL), -EBADMSG);
}

/* A file whose chunks were put in another order, or whose last was taken away. */
static void chunks_stay_where_they_are(void **state) {
        (void)state;
        enum { CHUNK = 65536 + 16 };
        _cleanup_(age_identity_freep) struct age_identity *i = identity();
        _cleanup_(buf_done) struct buf file = BUF_INIT;
        _cleanup_(x_freep) char *data = calloc(1, 3 * 65536);
        const char *recipients[] = {RECIPIENT};
        struct secret *plain = NULL;
        assert_int_equal(age_encrypt(data, (size_t)3 * 65536, recipients, 1, false, &file, NULL), 0);
        assert_int_equal(open_with(i, file.data, file.len - CHUNK, &plain, NULL), -EBADMSG);
        char *first = file.data + file.len - 3 * CHUNK;
        for (size_t at = 0; at < CHUNK; at++) {
                char c = first[at];
                first[at] = first[CHUNK + at];
                first[CHUNK + at] = c;
        }
        assert_int_equal(open_with(i, file.data, file.len, &plain, NULL), -EBADMSG);
        assert_null(plain);
}

static void expect(const char *text, int code, const char *words) {
        _cleanup_(age_identity_freep) struct age_identity *i = identity();
        _cleanup_(err_freep) struct err *err = NULL;
        struct secret *plain = NULL;
        assert_int_equal(open_with(i, text, strlen(text), &plain, &err), code);
        if (!strstr(err_message(err), words))
                fail_msg("\"%s\" does not say \"%s\"", err_message(err), words);
}

#define HEAD "age-encryption.org/v1\n"
#define MAC "--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
#define B43 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static void hostile_headers_are_refused(void **state) {
        (void)state;
        expect("", -EBADMSG, "does not begin");
        expect("age-encryption.org/v2\n" MAC, -EBADMSG, "does not begin");
        expect(HEAD MAC, -EBADMSG, "no recipient");
        expect(HEAD "-> X25519\n\n" MAC, -EBADMSG, "form");
        expect(HEAD "-> X25519 " B43 "\n\n" MAC, -EBADMSG, "form");
        expect(HEAD "-> X25519 " B43 " more\n" B43 "\n" MAC, -EBADMSG, "form");
        expect(HEAD "-> X25519 " B43 "\n" B43 "\n" MAC, -EBADMSG, "low order");
        expect(HEAD "->  X25519 " B43 "\n" B43 "\n" MAC, -EBADMSG, "empty argument");
        expect(HEAD "-> X25519 " B43 "\n" B43 "=\n" MAC, -EBADMSG, "base64");
        expect(HEAD "-> other\n" B43 "\n" MAC, -ENOKEY, "none of its recipients");
        expect(HEAD "-> other\n" B43 "\n" MAC "payload", -ENOKEY, "none of its recipients");
        expect(HEAD "-> other\n" B43 "\n--- AAAA\n", -EBADMSG, "MAC");
        expect(HEAD "-> other\n" B43 "\nwhat\n", -EBADMSG, "neither a stanza");
        /* 2^62 rounds of scrypt: never begun. */
        expect(HEAD "-> scrypt AAAAAAAAAAAAAAAAAAAAAA 62\n" B43 "\n" MAC, -ENOKEY, "passphrase");
        expect(HEAD "-> scrypt AAAAAAAAAAAAAAAAAAAAAA 62\n" B43 "\n-> other\n\n" MAC, -EBADMSG,
               "beside other");
        expect("-----BEGIN AGE ENCRYPTED FILE-----\n", -EBADMSG, "no end");
        expect("-----BEGIN AGE ENCRYPTED FILE-----\nAAA\n-----END AGE ENCRYPTED FILE-----\n", -EBADMSG,
               "base64");
}

static void limits_hold(void **state) {
        (void)state;
        _cleanup_(age_identity_freep) struct age_identity *i = identity();
        _cleanup_(buf_done) struct buf many = BUF_INIT, wide = BUF_INIT, deep = BUF_INIT;
        struct secret *plain = NULL;
        buf_puts(&many, HEAD);
        for (int k = 0; k <= AGE_STANZAS_MAX; k++)
                buf_puts(&many, "-> other\n\n");
        buf_puts(&many, MAC);
        assert_int_equal(open_with(i, many.data, many.len, &plain, NULL), -E2BIG);
        buf_puts(&wide, HEAD "-> ");
        for (size_t k = 0; k < AGE_HEADER_MAX; k++)
                buf_putc(&wide, 'a');
        assert_int_equal(open_with(i, wide.data, wide.len, &plain, NULL), -E2BIG);
        buf_puts(&deep, HEAD "-> other\n");
        for (size_t k = 0; k < 1000; k++)
                buf_puts(&deep, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n");
        assert_int_equal(open_with(i, deep.data, deep.len, &plain, NULL), -E2BIG);
        const char *wrong[] = {"age1nobody"};
        assert_int_equal(age_encrypt("x", 1, wrong, 1, true, &deep, NULL), -EINVAL);
        assert_int_equal(age_encrypt("x", 1, wrong, 0, true, &deep, NULL), -EINVAL);
}

static void identities_are_kept_in_files(void **state) {
        (void)state;
        char folder[] = "/tmp/skerry-age-XXXXXX";
        struct stat st;
        assert_non_null(mkdtemp(folder));
        _cleanup_(x_freep) char *path = path_join(folder, "identity"), *text = NULL;
        _cleanup_(age_identity_freep) struct age_identity *i = identity(), *again = NULL;
        size_t len;
        assert_int_equal(age_identity_load(path, &again, NULL), -ENOENT);
        assert_int_equal(age_identity_save(i, path, NULL), 0);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(file_read(path, 4096, &text, &len, NULL), 0);
        assert_string_equal(text, "# public key: " RECIPIENT "\n" IDENTITY "\n");
        assert_int_equal(age_identity_load(path, &again, NULL), 0);
        assert_string_equal(age_identity_recipient(again), RECIPIENT);
        assert_int_equal(path_remove(folder, NULL), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(known_identity_gives_its_recipient),
                cmocka_unit_test(wrong_keys_are_refused),
                cmocka_unit_test(a_file_of_age_is_read),
                cmocka_unit_test(what_we_write_we_read),
                cmocka_unit_test(every_change_is_noticed),
                cmocka_unit_test(chunks_stay_where_they_are),
                cmocka_unit_test(hostile_headers_are_refused),
                cmocka_unit_test(limits_hold),
                cmocka_unit_test(identities_are_kept_in_files),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
