/* SPDX-License-Identifier: Apache-2.0 */
#include "server/git_signed.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "server/git_source.h"

/* A folder with a repository R, keys K and L, made with the real programs. */
static char folder[64];

static void shell(const char *script) {
        _cleanup_(x_freep) char *command =
                str_format("cd %s && export HOME=$PWD GNUPGHOME=$PWD/gnupg GIT_CONFIG_NOSYSTEM=1 && exec "
                           ">>log 2>&1 && set -e && %s",
                           folder, script);
        if (system(command) != 0) /* NOLINT(cert-env33-c): scripts of ours */
                fail_msg("%s", script);
}

static char *said(const char *name) {
        _cleanup_(x_freep) char *path = str_format("%s/%s", folder, name);
        char *text = NULL;
        size_t len = 0;
        assert_int_equal(file_read(path, 65536, &text, &len, NULL), 0);
        text[strcspn(text, "\n")] = '\0';
        return text;
}

static int set_up(void **state) {
        const char *place = getenv("TMPDIR");
        (void)snprintf(folder, sizeof(folder), "%s/signed-XXXXXX",
                       place && strlen(place) < 40 ? place : "/tmp");
        assert_non_null(mkdtemp(folder));
        git_source_init();
        shell("ssh-keygen -q -t ed25519 -N '' -C k -f K && ssh-keygen -q -t ecdsa -N '' -C l -f L &&"
              "ssh-keygen -q -t rsa -b 2048 -N '' -C r -f M && ssh-keygen -q -t ed25519 -N '' -f CA &&"
              "ssh-keygen -q -s CA -I who -n carol@example.org K.pub &&"
              "git init -q R && cd R && git config user.email a@example.org && git config user.name A &&"
              "git config gpg.format ssh && git config user.signingkey ../K");
        return 0;
}

static int tear_down(void **state) {
        git_source_done();
        return path_remove(folder, NULL);
}

/* Judges HEAD (or the tag) of R with what the file in the folder allows. */
static int judge_at(const char *tag, const char *signers, const char *keyring, msec_t now,
                    struct git_signer *ret, struct err **err) {
        _cleanup_(x_freep) char *command = str_format("git -C R rev-parse %s > id", tag ? tag : "HEAD"),
                                *repository = str_format("%s/R/.git", folder),
                                *signers_file = signers ? str_format("%s/%s", folder, signers) : NULL,
                                *keyring_file = keyring ? str_format("%s/%s", folder, keyring) : NULL;
        shell(command);
        _cleanup_(x_freep) char *id = said("id");
        const struct git_signed_policy policy = {signers_file, keyring_file};
        return git_signed_check(repository, id, tag, &policy, now, NULL, ret, err);
}

static void accepts(const char *tag, const char *signers, const char *keyring, const char *name) {
        _cleanup_(git_signer_done) struct git_signer signer = {0};
        _cleanup_(err_freep) struct err *err = NULL;
        if (judge_at(tag, signers, keyring, clock_wall_ms(clock_system()), &signer, &err) != 0)
                fail_msg("%s", err_message(err));
        assert_non_null(strstr(signer.name, name));
        assert_true(strlen(signer.key) > 20);
        assert_string_equal(signer.format, keyring ? "openpgp" : "ssh");
}

static void refuses_at(const char *tag, const char *signers, const char *keyring, msec_t now,
                       const char *says) {
        _cleanup_(git_signer_done) struct git_signer signer = {0};
        _cleanup_(err_freep) struct err *err = NULL;
        assert_int_equal(judge_at(tag, signers, keyring, now, &signer, &err), -EKEYREJECTED);
        if (!strstr(err_message(err), says))
                fail_msg("%s, not: %s", err_message(err), says);
        assert_null(signer.name);
}

static void refuses(const char *tag, const char *signers, const char *keyring, const char *says) {
        refuses_at(tag, signers, keyring, clock_wall_ms(clock_system()), says);
}

static void test_ssh(void **state) {
        shell("cd R && git commit -q -S --allow-empty -m one");
        shell("echo \"a@example.org,b@example.org $(cat K.pub)\" > allowed; (echo '# ours'; echo "
              "\"*@example.org"
              " namespaces=\\\"git\\\" $(cat L.pub)\"; echo \"x@example.org namespaces=\\\"file,git\\\" "
              "$(cat M.pub)\")"
              " > others; echo \"a@example.org namespaces=\\\"file\\\" $(cat K.pub)\" > wrong-namespace;"
              "echo \"a@example.org valid-before=\\\"20010101\\\" $(cat K.pub)\" > over;"
              "echo \"a@example.org valid-after=\\\"20010101\\\",valid-before=\\\"21000101\\\" $(cat "
              "K.pub)\" > within;"
              "echo \"a@example.org valid-after=\\\"21000101\\\" $(cat K.pub)\" > early; : > nobody; echo "
              "'what?' > odd");
        accepts(NULL, "allowed", NULL, "a@example.org");
        accepts(NULL, "within", NULL, "a@example.org");
        refuses(NULL, "others", NULL, "does not allow");
        refuses(NULL, "wrong-namespace", NULL, "namespace");
        refuses(NULL, "over", NULL, "expired");
        refuses(NULL, "early", NULL, "not yet valid");
        refuses(NULL, "nobody", NULL, "does not allow");
        refuses(NULL, "odd", NULL, "does not allow");
        /* Valid when it was made, as it says, but not any more. */
        refuses_at(NULL, "within", NULL, (msec_t)4200000000 * 1000, "expired");
        /* Keys of the other kinds. */
        shell("cd R && git -c user.signingkey=../L commit -q -S --allow-empty -m two");
        accepts(NULL, "others", NULL, "@example.org");
        refuses(NULL, "allowed", NULL, "does not allow");
        shell("cd R && git -c user.signingkey=../M commit -q -S --allow-empty -m three");
        accepts(NULL, "others", NULL, "x@example.org");
}

static void test_ssh_by_certificate(void **state) {
        shell("echo \"*@example.org cert-authority $(cat CA.pub)\" > authority;"
              "echo \"*@example.com cert-authority $(cat CA.pub)\" > other-authority;"
              "cd R && git -c user.signingkey=../K-cert.pub commit -q -S --allow-empty -m certified");
        accepts(NULL, "authority", NULL, "carol@example.org");
        refuses(NULL, "other-authority", NULL, "does not allow");
        shell("cd R && git commit -q -S --allow-empty -m plain");
        refuses(NULL, "authority", NULL, "does not allow"); /* the bare key is not certified */
}

static void test_unsigned_and_changed(void **state) {
        shell("echo \"a@example.org $(cat K.pub)\" > allowed; cd R && git commit -q --no-gpg-sign "
              "--allow-empty -m plain");
        refuses(NULL, "allowed", NULL, "not signed");
        shell("cd R && git commit -q -S --allow-empty -m before && git cat-file commit HEAD | sed "
              "s/before/after/ >"
              " ../changed && git update-ref HEAD $(git hash-object -t commit -w ../changed)");
        refuses(NULL, "allowed", NULL, "changed since");
        /* A signature for another purpose. */
        shell("cd R && git commit -q -S --allow-empty -m other && git cat-file commit HEAD | sed -e "
              "'/^gpgsig/,/END/d' >"
              " ../bare && ssh-keygen -q -Y sign -n file -f ../K < ../bare > ../bare.sig && (sed -n "
              "'1,/^committer/p' ../bare;"
              "sed -e '1s/^/gpgsig /' -e '2,$s/^/ /' ../bare.sig; sed -e '1,/^committer/d' ../bare) > "
              "../forged &&"
              "git update-ref HEAD $(git hash-object -t commit -w ../forged)");
        refuses(NULL, "allowed", NULL, "another purpose");
        shell("cd R && (sed -n '1,/^committer/p' ../bare; echo 'gpgsig -----BEGIN SSH SIGNATURE-----'; echo "
              "' AAAA';"
              "echo ' -----END SSH SIGNATURE-----'; sed -e '1,/^committer/d' ../bare) > ../broken &&"
              "git update-ref HEAD $(git hash-object -t commit -w ../broken)");
        refuses(NULL, "allowed", NULL, "cannot be read");
        shell("cd R && sed s/SSH/SIGNED/ ../broken > ../unknown &&"
              "git update-ref HEAD $(git hash-object -t commit -w ../unknown)");
        refuses(NULL, "allowed", NULL, "neither");
}

static void test_tags(void **state) {
        shell("echo \"a@example.org $(cat K.pub)\" > allowed; cd R && git commit -q --no-gpg-sign "
              "--allow-empty -m plain &&"
              "git tag -s -m signed v1.0.0 && git tag -a --no-sign -m unsigned v1.1.0 && git tag v1.2.0 &&"
              "git update-ref refs/tags/v9.0.0 $(git rev-parse v1.0.0)");
        accepts("v1.0.0", "allowed", NULL, "a@example.org");
        refuses("v1.1.0", "allowed", NULL, "not signed");
        refuses("v1.2.0", "allowed", NULL, "plain tag");
        refuses("v9.0.0", "allowed", NULL, "another name"); /* an old release shown as a new one */
}

static void test_openpgp(void **state) {
        shell("mkdir -m 700 gnupg && for who in alice mallory; do gpg -q --batch --pinentry-mode loopback "
              "--passphrase ''"
              " --quick-gen-key $who@example.org ed25519 sign never; done;"
              "gpg -q --batch --pinentry-mode loopback --passphrase '' --faked-system-time 20200101T000000!"
              " --quick-gen-key old@example.org ed25519 sign 30d;"
              "for who in alice mallory old; do gpg -q --export $who@example.org > $who.gpg; done;"
              "gpg -q --armor --export alice@example.org > alice.asc; cat alice.gpg mallory.gpg > both.gpg;"
              "echo '-----BEGIN PGP PUBLIC KEY BLOCK-----' > torn.asc;"
              "cd R && git config gpg.format openpgp && git config user.signingkey alice@example.org &&"
              "git commit -q -S --allow-empty -m pgp && git tag -s -m signed v2.0.0");
        accepts(NULL, NULL, "alice.gpg", "alice@example.org");
        accepts(NULL, NULL, "alice.asc", "alice@example.org");
        accepts(NULL, NULL, "both.gpg", "alice@example.org");
        accepts("v2.0.0", NULL, "alice.gpg", "alice@example.org");
        refuses(NULL, NULL, "mallory.gpg", "not in the keyring");
        refuses(NULL, "K.pub", NULL, "no keyringFile");
        _cleanup_(git_signer_done) struct git_signer signer = {0};
        _cleanup_(err_freep) struct err *err = NULL;
        assert_int_equal(judge_at(NULL, NULL, "torn.asc", 1, &signer, &err), -EINVAL);
        assert_non_null(strstr(err_message(err), "torn.asc"));
        shell("cd R && git cat-file commit HEAD | sed s/pgp/evil/ > ../changed &&"
              "git update-ref HEAD $(git hash-object -t commit -w ../changed)");
        refuses(NULL, NULL, "alice.gpg", "changed since");
        /* Signed while the key was valid, which it is not any more. */
        shell("printf '#!/bin/sh\\nexec gpg --faked-system-time 20200110T000000! \"$@\"\\n' > then && chmod "
              "+x then && cd R &&"
              "GIT_COMMITTER_DATE=2020-01-10T00:00:00Z git -c gpg.program=../then -c "
              "user.signingkey=old@example.org"
              " commit -q -S --allow-empty -m then");
        refuses(NULL, NULL, "old.gpg", "expired");
        shell("cd R && git config gpg.format ssh && git commit -q --no-gpg-sign --allow-empty -m none; "
              "gpgconf --kill all");
        refuses(NULL, NULL, "alice.gpg", "not signed");
}

static void test_the_question(void **state) {
        _cleanup_(x_freep) char *file = str_format("%s/question", folder);
        const struct git_signed_policy policy = {file, NULL};
        char a[65], b[65];
        assert_int_equal(git_signed_question("1", NULL, &policy, a, NULL), -ENOENT);
        shell("echo one > question");
        assert_int_equal(git_signed_question("1", NULL, &policy, a, NULL), 0);
        assert_int_equal(git_signed_question("1", NULL, &policy, b, NULL), 0);
        assert_string_equal(a, b);
        assert_int_equal(git_signed_question("2", NULL, &policy, b, NULL), 0);
        assert_string_not_equal(a, b);
        assert_int_equal(git_signed_question("1", "v1", &policy, b, NULL), 0);
        assert_string_not_equal(a, b);
        shell("echo two > question");
        assert_int_equal(git_signed_question("1", NULL, &policy, b, NULL), 0);
        assert_string_not_equal(a, b);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_ssh),
                cmocka_unit_test(test_ssh_by_certificate),
                cmocka_unit_test(test_unsigned_and_changed),
                cmocka_unit_test(test_tags),
                cmocka_unit_test(test_openpgp),
                cmocka_unit_test(test_the_question),
        };
        return cmocka_run_group_tests(tests, set_up, tear_down);
}
