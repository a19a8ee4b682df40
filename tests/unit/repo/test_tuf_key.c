/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/tuf/key.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
/* cmocka wants the above first */
#include <cmocka.h>

#include "base/str.h"
#include "codec/json.h"

/* What securesystemslib's encode_canonical() gives for each. */
static const struct {
        const char *json, *canonical; /* NULL: refused */
} vectors[] = {
        {"{}", "{}"},
        {"[]", "[]"},
        {"[1, 2,3 ]", "[1,2,3]"},
        {"{\"b\": 1, \"a\": {\"d\": null, \"c\": true}}", "{\"a\":{\"c\":true,\"d\":null},\"b\":1}"},
        {"[\"a\\\"b\\\\c\"]", "[\"a\\\"b\\\\c\"]"},
        {"[\"line\\nbreak\\ttab\\u0001\"]", "[\"line\nbreak\ttab\x01\"]"},
        {"[\"\\u00fc\\u65e5\\ud83d\\ude00\"]", "[\"ü日😀\"]"},
        {"[\"/\\/\"]", "[\"//\"]"},
        {"{\"\\u00e9\": 1, \"z\": 2, \"\\ud83d\\ude00\": 3, \"\\uffee\": 4}",
         "{\"z\":2,\"é\":1,\"\uffee\":4,\"😀\":3}"},
        {"[-0, -5, 9223372036854775807]", "[0,-5,9223372036854775807]"},
        {"[1.0]", NULL},
        {"[1e3]", NULL},
};

static void test_canonical(void **state) {
        for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
                _cleanup_json_ json_t *j = NULL;
                _cleanup_(buf_done) struct buf out = BUF_INIT;
                _cleanup_(err_freep) struct err *err = NULL;
                assert_int_equal(json_decode(vectors[i].json, strlen(vectors[i].json), &j, NULL), 0);
                int r = json_encode_olpc(j, &out, &err);
                if (vectors[i].canonical) {
                        assert_int_equal(r, 0);
                        assert_string_equal(buf_str(&out), vectors[i].canonical);
                } else
                        assert_int_equal(r, -EINVAL);
        }
}

/* Ids as python-tuf computes them for the same keys. */
static const struct {
        const char *json, *id;
} ids[] = {
#include "tuf_key_vectors.h"
};

static void test_ids(void **state) {
        assert_true(ARRAY_SIZE(ids) >= 3);
        for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
                _cleanup_json_ json_t *j = NULL;
                _cleanup_(tuf_key_freep) struct tuf_key *k = NULL;
                assert_int_equal(json_decode(ids[i].json, strlen(ids[i].json), &j, NULL), 0);
                assert_int_equal(tuf_key_from_json(j, &k, NULL), 0);
                assert_string_equal(tuf_key_id(k), ids[i].id);
                assert_true(json_equal(tuf_key_json(k), j));
        }
}

static int take(const char *json, struct err **err) {
        _cleanup_json_ json_t *j = NULL;
        _cleanup_(tuf_key_freep) struct tuf_key *k = NULL;
        assert_int_equal(json_decode(json, strlen(json), &j, NULL), 0);
        return tuf_key_from_json(j, &k, err);
}

static void test_strange_keys(void **state) {
        static const struct {
                const char *json;
                int code;
        } cases[] = {
                {"{\"keytype\":\"sphincs\",\"scheme\":\"x\",\"keyval\":{\"public\":\"1\"}}", -EOPNOTSUPP},
                {"{\"keytype\":\"ed25519\",\"scheme\":\"rsassa-pss-sha256\",\"keyval\":{\"public\":\"1\"}}",
                 -EOPNOTSUPP},
                {"{\"keytype\":\"ed25519\",\"scheme\":\"ed25519\",\"keyval\":{\"public\":\"12\"}}", -EINVAL},
                {"{\"keytype\":\"ed25519\",\"scheme\":\"ed25519\",\"keyval\":{}}", -EINVAL},
                {"{\"keytype\":\"ed25519\",\"scheme\":\"ed25519\",\"keyval\":7}", -EINVAL},
                {"{\"keytype\":\"ecdsa\",\"scheme\":\"ecdsa-sha2-nistp256\",\"keyval\":{\"public\":\"04ab\"}"
                 "}",
                 -EINVAL},
                {"{\"keytype\":1,\"scheme\":\"ed25519\",\"keyval\":{\"public\":\"12\"}}", -EINVAL},
                {"[]", -EINVAL},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(err_freep) struct err *err = NULL;
                assert_int_equal(take(cases[i].json, &err), cases[i].code);
                assert_non_null(err);
        }
        /* Two names for one kind. */
        _cleanup_(signing_key_freep) struct signing_key *secret = NULL;
        _cleanup_(tuf_key_freep) struct tuf_key *key = NULL, *renamed = NULL;
        _cleanup_json_ json_t *other = NULL;
        assert_int_equal(signing_key_generate(SIGNING_ECDSA_P256, &secret, NULL), 0);
        assert_int_equal(tuf_key_from_signing_key(secret, &key, NULL), 0);
        other = json_deep_copy(tuf_key_json(key));
        assert_string_equal(json_string_value(json_object_get(other, "keytype")), "ecdsa");
        json_object_set_new(other, "keytype", json_string("ecdsa-sha2-nistp256"));
        assert_int_equal(tuf_key_from_json(other, &renamed, NULL), 0);
        assert_string_not_equal(tuf_key_id(key), tuf_key_id(renamed));
        assert_string_equal(tuf_key_fingerprint(key), tuf_key_fingerprint(renamed));
}

static void test_signers(void **state) {
        static const enum signing_scheme schemes[] = {SIGNING_ED25519, SIGNING_ECDSA_P256};
        for (size_t i = 0; i < ARRAY_SIZE(schemes); i++) {
                _cleanup_(signing_key_freep) struct signing_key *secret = NULL;
                _cleanup_(tuf_signer_freep) struct tuf_signer *s = NULL;
                _cleanup_(x_freep) char *hex = NULL;
                assert_int_equal(signing_key_generate(schemes[i], &secret, NULL), 0);
                assert_int_equal(tuf_signer_from_key(secret, &s, NULL), 0);
                assert_int_equal(tuf_sign(s, "bytes", 5, &hex, NULL), 0);
                struct tuf_key *k = tuf_signer_key(s);
                assert_int_equal(tuf_key_verify(k, "bytes", 5, hex), 0);
                assert_int_equal(tuf_key_verify(k, "bytez", 5, hex), -EKEYREJECTED);
                static const char *const bad[] = {"", "0", "zz", "00", "no hex"};
                for (size_t b = 0; b < ARRAY_SIZE(bad); b++)
                        assert_int_equal(tuf_key_verify(k, "bytes", 5, bad[b]), -EKEYREJECTED);
                hex[0] = hex[0] == '0' ? '1' : '0';
                assert_int_equal(tuf_key_verify(k, "bytes", 5, hex), -EKEYREJECTED);
                _cleanup_(x_freep) char *endless = malloc(100000);
                memset(endless, 'a', 99999);
                endless[99999] = '\0';
                assert_int_equal(tuf_key_verify(k, "bytes", 5, endless), -EKEYREJECTED);
        }
}

/* A command's answer, whatever it is, is checked. */
static void test_command(void **state) {
        _cleanup_(signing_key_freep) struct signing_key *secret = NULL;
        _cleanup_(tuf_signer_freep) struct tuf_signer *at_hand = NULL;
        _cleanup_(x_freep) char *hex = NULL;
        assert_int_equal(signing_key_generate(SIGNING_ED25519, &secret, NULL), 0);
        assert_int_equal(tuf_signer_from_key(secret, &at_hand, NULL), 0);
        assert_int_equal(tuf_sign(at_hand, "bytes", 5, &hex, NULL), 0);
        _cleanup_(x_freep) char *right =
                str_format("test \"$(cat)\" = bytes && test \"$SKERRY_KEY_NAME\" = name && "
                           "echo '%.64s'; echo ' %s'",
                           hex, hex + 64);
        _cleanup_(x_freep) char *unread = str_format("echo %s", hex);
        const struct {
                const char *command;
                int code;
                const char *says;
        } cases[] = {
                {right, 0, NULL},
                {unread, 0, NULL},
                {"cat >/dev/null; echo 0011", -EKEYREJECTED, "does not fit"},
                {"cat", -EINVAL, "printed no signature"}, /* the bytes themselves */
                {"cat >/dev/null", -EINVAL, "printed no signature"},
                {"cat >/dev/null; echo '!?'", -EINVAL, "printed no signature"},
                {"echo no card in the reader >&2; exit 4", -EIO, "no card in the reader"},
                {"kill -9 $$", -EIO, "signal 9"},
                {"/nowhere/signer", -EIO, "127"},
                {"head -c 10000000 /dev/zero | tr '\\0' a", -EINVAL, "printed no signature"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(tuf_signer_freep) struct tuf_signer *s = NULL;
                _cleanup_(err_freep) struct err *err = NULL;
                _cleanup_(x_freep) char *out = NULL;
                assert_int_equal(
                        tuf_signer_from_command(cases[i].command, "name", tuf_signer_key(at_hand), &s, NULL),
                        0);
                int r = tuf_sign(s, "bytes", 5, &out, &err);
                if (r != cases[i].code || (cases[i].says && !strstr(err_message(err), cases[i].says)))
                        fail_msg("%s: %d %s", cases[i].command, r, err_message(err));
                if (r == 0)
                        assert_string_equal(out, hex);
        }
}

int main(void) {
        (void)signal(SIGPIPE, SIG_IGN);
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_canonical),    cmocka_unit_test(test_ids),
                cmocka_unit_test(test_strange_keys), cmocka_unit_test(test_signers),
                cmocka_unit_test(test_command),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
