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
#include "fleet/sops.h"

#define IDENTITY "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"
#define RECIPIENT "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
#define TIME "2026-11-20T22:00:00Z"

static struct age_identity *identity(void) {
        struct age_identity *i = NULL;
        assert_int_equal(age_identity_parse(IDENTITY, &i, NULL), 0);
        return i;
}

static int open_text(const char *name, const char *text, size_t len, struct sops **ret, struct err **err) {
        _cleanup_(age_identity_freep) struct age_identity *i = identity();
        const struct age_identity *all[] = {i};
        int r = sops_parse(name, text, len, ret, err);
        return r < 0 ? r : sops_open(*ret, all, 1, err);
}

/* Files that sops 3.8.1 wrote. */
/* Not inlined: gcc 12 would take what strstr() finds in the text for a pointer to the variable `text`. */
__attribute__((noinline)) static char *sample(const char *name, size_t *ret_len) {
        _cleanup_(x_freep) char *path = path_join(TEST_DATA "/sops", name);
        char *text = NULL;
        assert_int_equal(file_read(path, SOPS_FILE_MAX, &text, ret_len, NULL), 0);
        return text;
}

static void check_plain(const struct sops *s, const char *pointer, const char *value) {
        _cleanup_(secret_freep) struct secret *plain = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        if (sops_value(s, pointer, &plain, &err) < 0)
                fail_msg("%s", err_message(err));
        assert_string_equal(secret_text(plain), value);
        assert_int_equal(secret_len(plain), strlen(value));
}

static void files_of_sops_are_read(void **state) {
        (void)state;
        static const struct {
                const char *pointer, *value;
        } values[] = {
                {"db/user", "shop"},
                {"db/password", "s3cr\\et \"quoted\" \xc3\xbc"},
                {"db/port", "5432"},
                {"db/ratio", "0.5"},
                {"db/big", "1000000000000000000000"},
                {"db/tiny", "0.0000001"},
                {"db/on", "true"},
                {"db/off", "false"},
                {"db/list/0", "one"},
                {"db/list/1", "2"},
                {"db/list/2/deep", "x"},
                {"db/multi", "line one\nline two\n"},
        };
        size_t len;
        _cleanup_(x_freep) char *text = sample("sample.yaml", &len);
        _cleanup_(sops_freep) struct sops *s = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        if (open_text("sample.yaml", text, len, &s, &err) < 0)
                fail_msg("%s", err_message(err));
        for (size_t i = 0; i < ARRAY_SIZE(values); i++)
                check_plain(s, values[i].pointer, values[i].value);
        assert_int_equal(sops_recipients(s), 1);
        assert_true(sops_has_recipient(s, RECIPIENT));
        assert_null(sops_other_keys(s));
}

static void every_rule_of_sops_is_followed(void **state) {
        (void)state;
        static const char *const names[] = {"sample.json", "suffix.yaml", "regex.yaml", "unregex.yaml",
                                            "maconly.yaml"};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                size_t len;
                _cleanup_(x_freep) char *text = sample(names[i], &len);
                _cleanup_(sops_freep) struct sops *s = NULL;
                _cleanup_(err_freep) struct err *err = NULL;
                if (open_text(names[i], text, len, &s, &err) < 0)
                        fail_msg("%s", err_message(err));
                check_plain(s, "a/b_secret", "x");
        }
}

static void expect_find(const struct sops *s, const char *pointer, int code, const char *words) {
        _cleanup_(err_freep) struct err *err = NULL;
        const char *text;
        assert_int_equal(sops_find(s, pointer, &text, &err), code);
        if (!strstr(err_message(err), words))
                fail_msg("\"%s\" does not say \"%s\"", err_message(err), words);
}

static void pointers_name_one_value(void **state) {
        (void)state;
        size_t len;
        _cleanup_(x_freep) char *text = sample("sample.yaml", &len);
        _cleanup_(sops_freep) struct sops *s = NULL;
        const char *cipher;
        assert_int_equal(sops_parse("f", text, len, &s, NULL), 0);
        assert_int_equal(sops_find(s, "db/user", &cipher, NULL), 0);
        assert_true(str_has_prefix(cipher, "ENC["));
        expect_find(s, "db/usr", -ENOENT, "did you mean \"user\"?");
        expect_find(s, "db", -EISDIR, "is a map");
        expect_find(s, "db/list", -EISDIR, "is a list");
        expect_find(s, "db/list/9", -ENOENT, "nothing at");
        expect_find(s, "db/user/more", -ENOENT, "nothing at");
        expect_find(s, "", -ENOENT, "nothing at");
        expect_find(s, "sops/mac", -ENOENT, "nothing at");
        expect_find(s, "plain_unencrypted", -ENOKEY, "not encrypted");
        struct secret *plain = NULL;
        assert_int_equal(sops_value(s, "db/user", &plain, NULL), -ENOKEY); /* not open */
}

/* Any letter of any cipher text, and what can be done to the document as a whole. */
static void what_was_changed_is_refused(void **state) {
        (void)state;
        size_t len, tried = 0;
        _cleanup_(x_freep) char *text = sample("sample.yaml", &len);
        for (char *at = text; (at = strstr(at, "data:")); at++, tried++) {
                if (at - text > 8 && memmem(at, 300, "type:comment", 12) &&
                    (char *)memmem(at, 300, "type:comment", 12) < strchr(at, '\n'))
                        continue; /* comments are in no MAC, and nothing reads them */
                for (int part = 0; part < 3; part++) {
                        static const char *const names[] = {"data:", ",iv:", ",tag:"};
                        char *letter = strstr(at, names[part]) + strlen(names[part]), was = *letter;
                        struct sops *s = NULL;
                        *letter = was == 'A' ? 'B' : 'A';
                        assert_int_equal(open_text("f", text, len, &s, NULL), -EBADMSG);
                        *letter = was;
                        sops_free(s);
                }
        }
        assert_true(tried > 12);
        static const struct {
                const char *from, *to;
        } changes[] = {
                {"type:int]", "type:str]"},
                {"type:str]", "type:bin]"},
                {"plain_unencrypted: hello", "plain_unencrypted: hullo"},
                {"num_unencrypted: 42", "num_unencrypted: 43"},
                {"    user: ENC", "    usir: ENC"},
                {"nothing: null", "nothing: more"},
                {"lastmodified: \"2026", "lastmodified: \"2025"},
                {"suffix: _unencrypted", "suffix: _other"},
                {"WMug7UU=", ""},
        };
        for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
                char *at = strstr(text, changes[i].from);
                if (!at)
                        continue; /* not of this sample's making */
                _cleanup_(x_freep) char *changed = str_format("%.*s%s%s", (int)(at - text), text,
                                                              changes[i].to, at + strlen(changes[i].from));
                _cleanup_(sops_freep) struct sops *s = NULL;
                int r = open_text("f", changed, strlen(changed), &s, NULL);
                /* The type says how a value is shown; the MAC covers what it holds. */
                if (!str_eq(changes[i].from, "type:int]") && r != -EBADMSG)
                        fail_msg("\"%s\" for \"%s\" gave %d", changes[i].to, changes[i].from, r);
        }
}

static void expect_parse(const char *text, int code, const char *words) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(sops_freep) struct sops *s = NULL;
        assert_int_equal(sops_parse("f.yaml", text, strlen(text), &s, &err), code);
        if (!strstr(err_message(err), words))
                fail_msg("\"%s\" does not say \"%s\"", err_message(err), words);
}

#define REST "lastmodified: \"" TIME "\"\n    mac: x\n"

static void other_files_are_refused(void **state) {
        (void)state;
        expect_parse("", -EINVAL, "not a SOPS file");
        expect_parse("a: b\n", -EINVAL, "not a SOPS file");
        expect_parse("a: [\n", -EINVAL, "f.yaml:");
        expect_parse("sops:\n    mac: x\n", -EINVAL, "lastmodified");
        expect_parse("a: 1\n---\nsops:\n    " REST, -EOPNOTSUPP, "more than one document");
        expect_parse("sops:\n    key_groups: [{}]\n    " REST, -EOPNOTSUPP, "Shamir");
        expect_parse("sops:\n    encrypted_comment_regex: x\n    " REST, -EOPNOTSUPP, "not taken");
        expect_parse("sops:\n    encrypted_regex: 'a{1,255}'\n    " REST, -EOPNOTSUPP, "POSIX");
        expect_parse("sops:\n    encrypted_regex: '(a)\\1'\n    " REST, -EOPNOTSUPP, "POSIX");
        expect_parse("sops:\n    encrypted_regex: a\n    encrypted_suffix: b\n    " REST, -EINVAL,
                     "only one");
        expect_parse("sops:\n    age: [{recipient: a}]\n    " REST, -EINVAL, "has no recipient and enc");
        expect_parse("sops:\n    age: [{recipient: a, enc: b}, {recipient: a, enc: c}]\n    " REST, -EINVAL,
                     "twice");
        expect_parse("sops:\n    age: yes\n    " REST, -EINVAL, "not a list");
}

static const char plain[] = "# note\ndb:\n  password: \"a: b # c\"\n  port: 5432\n  on: true\n  ratio: 0.1\n"
                            "  empty: \"\"\n  none: null\n  list: [x, {y: z}]\n  multi: |\n    one\n    two\n"
                            "  \"odd/key~ yes\": v\n\"1\": one\nn_unencrypted: 7\nf_unencrypted: 2.50\n";

static void encrypt_plain(const char *const *recipients, size_t n, const struct sops *before, bool keep,
                          const char *text, struct buf *out) {
        const struct sops_encryption e = {.recipients = recipients,
                                          .n_recipients = n,
                                          .before = before,
                                          .keep_key = keep,
                                          .time = TIME};
        _cleanup_(err_freep) struct err *err = NULL;
        if (sops_encrypt("plain", text, strlen(text), &e, out, &err) < 0)
                fail_msg("%s", err_message(err));
}

static void what_we_write_we_read(void **state) {
        (void)state;
        const char *recipients[] = {RECIPIENT};
        _cleanup_(buf_done) struct buf file = BUF_INIT, shown = BUF_INIT;
        _cleanup_(sops_freep) struct sops *s = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        encrypt_plain(recipients, 1, NULL, false, plain, &file);
        assert_null(strstr(file.data, "a: b # c"));
        assert_null(strstr(file.data, "5432"));
        if (open_text("f", file.data, file.len, &s, &err) < 0)
                fail_msg("%s\n%s", err_message(err), file.data);
        check_plain(s, "db/password", "a: b # c");
        check_plain(s, "db/on", "true");
        check_plain(s, "db/ratio", "0.1");
        check_plain(s, "db/list/1/y", "z");
        check_plain(s, "db/multi", "one\ntwo\n");
        check_plain(s, "db/odd~1key~0 yes", "v");
        check_plain(s, "1", "one");
        assert_int_equal(sops_plain(s, &shown, &err), 0);
        assert_non_null(strstr(shown.data, "password: \"a: b # c\"\n"));
        assert_non_null(strstr(shown.data, "port: 5432\n"));
        assert_non_null(strstr(shown.data, "    multi: |\n        one\n        two\n"));
        assert_null(strstr(shown.data, "sops"));
}

static size_t count(const char *text, const char *what) {
        size_t n = 0;
        for (const char *p = text; (p = strstr(p, what)); p++)
                n++;
        return n;
}

/* Edited with its key kept, only what changed is written anew. */
static void an_edit_changes_what_was_edited(void **state) {
        (void)state;
        const char *recipients[] = {RECIPIENT};
        _cleanup_(buf_done) struct buf file = BUF_INIT, again = BUF_INIT, rotated = BUF_INIT;
        _cleanup_(sops_freep) struct sops *s = NULL, *t = NULL;
        _cleanup_(x_freep) char *edited = str_dup(plain);
        const char *one, *two;
        encrypt_plain(recipients, 1, NULL, false, plain, &file);
        assert_int_equal(open_text("f", file.data, file.len, &s, NULL), 0);
        memcpy(strstr(edited, "5432"), "5433", 4);
        encrypt_plain(recipients, 1, s, true, edited, &again);
        assert_int_equal(open_text("f", again.data, again.len, &t, NULL), 0);
        check_plain(t, "db/port", "5433");
        assert_int_equal(sops_find(s, "db/password", &one, NULL), 0);
        assert_int_equal(sops_find(t, "db/password", &two, NULL), 0);
        assert_string_equal(one, two);
        assert_int_equal(sops_find(s, "db/port", &one, NULL), 0);
        assert_int_equal(sops_find(t, "db/port", &two, NULL), 0);
        assert_string_not_equal(one, two);
        encrypt_plain(recipients, 1, s, false, plain, &rotated);
        sops_free(TAKE_PTR(t));
        assert_int_equal(open_text("f", rotated.data, rotated.len, &t, NULL), 0);
        assert_int_equal(sops_find(s, "db/password", &one, NULL), 0);
        assert_int_equal(sops_find(t, "db/password", &two, NULL), 0);
        assert_string_not_equal(one, two);
        check_plain(t, "db/password", "a: b # c");
}

static void recipients_come_and_go(void **state) {
        (void)state;
        _cleanup_(age_identity_freep) struct age_identity *other = NULL;
        assert_int_equal(age_identity_generate(&other, NULL), 0);
        const char *both[] = {RECIPIENT, age_identity_recipient(other)};
        const struct age_identity *theirs[] = {other};
        size_t len;
        _cleanup_(x_freep) char *text = sample("sample.yaml", &len);
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        _cleanup_(sops_freep) struct sops *s = NULL, *t = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        assert_int_equal(open_text("f", text, len, &s, NULL), 0);
        assert_int_equal(sops_open(s, theirs, 1, &err), -ENOKEY);
        assert_non_null(strstr(err_message(err), both[1]));
        assert_int_equal(sops_write_recipients(s, both, 2, &out, NULL), 0);
        /* What stands before the section is as it was, comments and all. */
        assert_memory_equal(out.data, text, (size_t)(strstr(text, "\nsops:") - text));
        assert_int_equal(count(out.data, "BEGIN AGE"), 2);
        assert_int_equal(sops_parse("f", out.data, out.len, &t, NULL), 0);
        assert_int_equal(sops_open(t, theirs, 1, NULL), 0);
        check_plain(t, "db/user", "shop");
        assert_int_equal(sops_write_recipients(s, both, 0, &out, NULL), -EINVAL);
}

/* The key of another file put in, under a recipient's name that is not its own. */
static void a_borrowed_key_is_refused(void **state) {
        (void)state;
        size_t len;
        _cleanup_(x_freep) char *text = sample("sample.yaml", &len), *other = sample("suffix.yaml", &len);
        char *to = strstr(text, "-----BEGIN AGE"), *from = strstr(other, "-----BEGIN AGE");
        size_t n = (size_t)(strstr(from, "-----END") - from);
        assert_int_equal(n, strstr(to, "-----END") - to);
        memcpy(to, from, n);
        _cleanup_(sops_freep) struct sops *s = NULL;
        assert_int_equal(open_text("f", text, strlen(text), &s, NULL), -EBADMSG);
}

static void doubtful_plain_text_is_refused(void **state) {
        (void)state;
        static const char *const texts[] = {"a: 0777\n",
                                            "a: 2026-11-20\n",
                                            "a: 1_000\n",
                                            "a: .nan\n",
                                            "- a\n",
                                            "a: b\nsops: {}\n",
                                            "a: ENC[AES256_GCM,data:x]\n",
                                            "a: 1\n---\nb: 2\n"};
        const char *recipients[] = {RECIPIENT};
        const struct sops_encryption e = {.recipients = recipients, .n_recipients = 1, .time = TIME};
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                _cleanup_(buf_done) struct buf out = BUF_INIT;
                if (sops_encrypt("plain", texts[i], strlen(texts[i]), &e, &out, NULL) >= 0)
                        fail_msg("taken: %s", texts[i]);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(files_of_sops_are_read),
                cmocka_unit_test(every_rule_of_sops_is_followed),
                cmocka_unit_test(pointers_name_one_value),
                cmocka_unit_test(what_was_changed_is_refused),
                cmocka_unit_test(other_files_are_refused),
                cmocka_unit_test(what_we_write_we_read),
                cmocka_unit_test(an_edit_changes_what_was_edited),
                cmocka_unit_test(recipients_come_and_go),
                cmocka_unit_test(a_borrowed_key_is_refused),
                cmocka_unit_test(doubtful_plain_text_is_refused),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
