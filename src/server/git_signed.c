/* SPDX-License-Identifier: Apache-2.0 */
#include "server/git_signed.h"

#include <errno.h>
#include <git2.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/encode.h"
#include "base/fs.h"
#include "base/str.h"
#include "crypto/digest.h"
#include "server/git_verifier.h"

#define SSH_BEGIN "-----BEGIN SSH SIGNATURE-----"
#define PGP_BEGIN "-----BEGIN PGP SIGNATURE-----"
#define KEYRING_BEGIN "-----BEGIN PGP PUBLIC KEY BLOCK-----"
#define KEYRING_END "-----END PGP PUBLIC KEY BLOCK-----"
#define PRINCIPALS_MAX 16
#define REASON_MAX 400

void git_signer_done(struct git_signer *s) {
        free(s->name);
        free(s->key);
        *s = (struct git_signer){0};
}

static int refuse(struct err **err, const char *reason) {
        return err_set(err, EKEYREJECTED, "%s", reason);
}

/* ---- what is signed */

struct signed_object {
        char *payload, *signature;
        msec_t made_at; /* as it says */
};

static void signed_object_done(struct signed_object *o) {
        free(o->payload);
        free(o->signature);
}

static int git_failed(struct err **err, const char *doing) {
        const git_error *e = git_error_last();
        return err_set(err, EIO, "%s: %s", doing, e && e->message ? e->message : "no reason given");
}

static int commit_take(git_repository *repository, git_oid *id, struct signed_object *ret, struct err **err) {
        git_buf signature = {0}, payload = {0};
        git_commit *commit = NULL;
        if (git_commit_lookup(&commit, repository, id) < 0)
                return git_failed(err, "read the commit");
        ret->made_at = (msec_t)git_commit_committer(commit)->when.time * 1000;
        git_commit_free(commit);
        int r = git_commit_extract_signature(&signature, &payload, repository, id, NULL);
        if (r == GIT_ENOTFOUND)
                r = refuse(err, "it is not signed");
        else if (r < 0)
                r = git_failed(err, "read the commit");
        else if (payload.size > GIT_SIGNED_OBJECT_MAX || strlen(payload.ptr) != payload.size ||
                 strlen(signature.ptr) != signature.size)
                r = refuse(err, "it is too long, or holds bytes that are no text");
        else {
                ret->payload = str_dup(payload.ptr);
                ret->signature = str_dup(signature.ptr);
                r = ret->payload && ret->signature ? 0 : -ENOMEM;
        }
        git_buf_dispose(&signature);
        git_buf_dispose(&payload);
        return r;
}

/* A tag's signature stands at the end of its message; the last one that begins a line counts. */
static const char *tag_signature(const char *text) {
        const char *found = NULL;
        for (const char *line = text; line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
                if (str_has_prefix(line, SSH_BEGIN) || str_has_prefix(line, PGP_BEGIN))
                        found = line;
        return found;
}

static int tag_take(git_repository *repository, git_oid *id, const char *name, struct signed_object *ret,
                    struct err **err) {
        git_odb *odb = NULL;
        git_odb_object *object = NULL;
        git_tag *tag = NULL;
        int r = 0;
        if (git_tag_lookup(&tag, repository, id) < 0)
                return refuse(err, "it is a plain tag, which nobody can sign: make it with git tag -s");
        if (!str_eq(git_tag_name(tag), name))
                r = refuse(err, "the tag was made under another name");
        else if (git_tag_target_type(tag) != GIT_OBJECT_COMMIT)
                r = refuse(err, "the tag names no commit");
        else if (!git_tag_tagger(tag))
                r = refuse(err, "the tag does not say when it was made");
        else
                ret->made_at = (msec_t)git_tag_tagger(tag)->when.time * 1000;
        git_tag_free(tag);
        if (r < 0)
                return r;
        if (git_repository_odb(&odb, repository) < 0 || git_odb_read(&object, odb, id) < 0)
                r = git_failed(err, "read the tag");
        else {
                const char *text = git_odb_object_data(object);
                size_t len = git_odb_object_size(object);
                ret->payload = len <= GIT_SIGNED_OBJECT_MAX ? str_dup_n(text, len) : NULL;
                const char *signature = ret->payload ? tag_signature(ret->payload) : NULL;
                if (len > GIT_SIGNED_OBJECT_MAX || (ret->payload && strlen(ret->payload) != len))
                        r = refuse(err, "it is too long, or holds bytes that are no text");
                else if (!ret->payload)
                        r = -ENOMEM;
                else if (!signature)
                        r = refuse(err, "it is not signed");
                else {
                        ret->signature = str_dup(signature);
                        ret->payload[signature - ret->payload] = '\0';
                        r = ret->signature ? 0 : -ENOMEM;
                }
        }
        git_odb_object_free(object);
        git_odb_free(odb);
        return r;
}

static int object_take(const char *folder, const char *id_text, const char *tag, struct signed_object *ret,
                       struct err **err) {
        git_repository *repository = NULL;
        git_oid id;
        int r;
        if (git_oid_fromstr(&id, id_text) < 0 || git_repository_open_bare(&repository, folder) < 0)
                return git_failed(err, "open the copy of the repository");
        if (tag)
                r = tag_take(repository, &id, tag, ret, err);
        else
                r = commit_take(repository, &id, ret, err);
        git_repository_free(repository);
        if (r >= 0 && strlen(ret->signature) > GIT_SIGNATURE_MAX)
                r = refuse(err, "its signature is too long");
        return r;
}

/* ---- SSH */

struct checking {
        struct git_verifier *verifier;
        const struct git_signed_policy *policy;
        const struct signed_object *object;
        const atomic_bool *cancelled;
        msec_t now;
};

static int ssh_keygen(const struct checking *c, const char *const *more, msec_t at, const char *input,
                      struct buf *output, int *ret_code, struct err **err) {
        const char *argv[20] = {"ssh-keygen", "-Y"};
        char when[48];
        size_t n = 2;
        while (*more)
                argv[n++] = *more++;
        if (at) {
                struct tm tm;
                time_t seconds = (time_t)(at / 1000);
                if (!gmtime_r(&seconds, &tm) || tm.tm_year > 8099 || tm.tm_year < 70 ||
                    strftime(when, sizeof(when), "-Overify-time=%Y%m%d%H%M%S", &tm) == 0)
                        return refuse(err, "the time it says that it was made at is none");
                argv[n++] = when;
        }
        return git_verifier_run(c->verifier, argv, "openssh-client", input, c->cancelled, output, ret_code,
                                err);
}

/* The line of what the program said that tells most, in people's words. */
static void said(const struct buf *output, char reason[REASON_MAX]) {
        static const char *const dull[] = {"No principal matched", "Could not verify", "Good ",
                                           "sig_verify:", ""};
        const char *text = buf_str(output);
        reason[0] = '\0';
        for (const char *line = text; line && *line;) {
                size_t n = strcspn(line, "\n");
                bool is_dull = n == 0;
                for (size_t i = 0; i + 1 < ARRAY_SIZE(dull); i++)
                        is_dull = is_dull || str_has_prefix(line, dull[i]);
                if (!is_dull) {
                        (void)snprintf(reason, REASON_MAX, "%.*s", (int)MIN(n, (size_t)REASON_MAX - 1), line);
                        return;
                }
                line += n + (line[n] == '\n');
        }
}

/* "... with ED25519 key SHA256:abc": the last word of the first line with a key. Malloc'ed, "" for none. */
static char *key_named(const struct buf *output) {
        const char *at = strstr(buf_str(output), "SHA256:");
        return at ? str_dup_n(at, strcspn(at, " \n")) : str_dup("");
}

/* Is the signature whole, of the right kind, and by which key? */
static int ssh_key(const struct checking *c, char **ret_key, struct err **err) {
        static const char *const arguments[] = {"check-novalidate", "-n", "git", "-s", "signature", NULL};
        _cleanup_(buf_done) struct buf output = BUF_INIT;
        char reason[REASON_MAX];
        int code = 0;
        int r = ssh_keygen(c, arguments, 0, "payload", &output, &code, err);
        if (r < 0)
                return r;
        if (code != 0) {
                said(&output, reason);
                if (strstr(reason, "namespace"))
                        return refuse(err,
                                      "its SSH signature was made for another purpose than Git (namespace)");
                if (strstr(reason, "incorrect signature"))
                        return refuse(err,
                                      "its SSH signature does not fit what it signs: it was changed since");
                return err_set(err, EKEYREJECTED, "its SSH signature cannot be read (%s)",
                               reason[0] ? reason : "no reason given");
        }
        *ret_key = key_named(&output);
        return *ret_key ? 0 : -ENOMEM;
}

static int ssh_not_allowed(const struct checking *c, const char *key, const struct buf *output, msec_t at,
                           struct err **err) {
        char reason[REASON_MAX], when[TIME_TEXT_SIZE];
        said(output, reason);
        return err_set(err, EKEYREJECTED,
                       "it is signed with key %s, which %s does not allow for Git at %s%s%s", key,
                       c->policy->allowed_signers_file, time_format(at, when), reason[0] ? ": " : "", reason);
}

/* The principal for whom the key was good then; -EKEYREJECTED. */
static int ssh_allowed(const struct checking *c, const char *key, msec_t at, char **ret_name,
                       struct err **err) {
        static const char *const find[] = {"find-principals", "-s", "signature", "-f", "signers", NULL};
        _cleanup_(buf_done) struct buf names = BUF_INIT, output = BUF_INIT;
        _cleanup_(strv_freep) char **list = NULL;
        int code = 0;
        int r = ssh_keygen(c, find, at, NULL, &names, &code, err);
        if (r < 0)
                return r;
        if (code != 0)
                return ssh_not_allowed(c, key, &names, at, err);
        list = strv_split(buf_str(&names), "\n");
        for (size_t i = 0; list && list[i] && i < PRINCIPALS_MAX; i++) {
                const char *const verify[] = {"verify", "-n",      "git", "-s",    "signature",
                                              "-f",     "signers", "-I",  list[i], NULL};
                buf_clear(&output);
                r = ssh_keygen(c, verify, at, "payload", &output, &code, err);
                if (r < 0)
                        return r;
                if (code == 0 && strstr(buf_str(&output), "Good \"git\" signature")) {
                        free(*ret_name);
                        *ret_name = str_dup(list[i]);
                        return *ret_name ? 0 : -ENOMEM;
                }
        }
        return ssh_not_allowed(c, key, &output, at, err);
}

static int file_take(const struct checking *c, const char *path, const char *name, struct err **err) {
        _cleanup_(x_freep) char *text = NULL;
        size_t len = 0;
        int r = file_read(path, GIT_SIGNERS_FILE_MAX, &text, &len, err);
        return r < 0 ? r : git_verifier_put(c->verifier, name, text, len, err);
}

static int ssh_check(const struct checking *c, struct git_signer *ret, struct err **err) {
        if (!c->policy->allowed_signers_file)
                return refuse(err,
                              "it is signed with SSH, and no allowedSignersFile says whose signatures count");
        int r = file_take(c, c->policy->allowed_signers_file, "signers", err);
        if (r >= 0)
                r = ssh_key(c, &ret->key, err);
        if (r >= 0)
                r = ssh_allowed(c, ret->key, c->object->made_at, &ret->name, err);
        if (r >= 0)
                r = ssh_allowed(c, ret->key, c->now, &ret->name, err);
        ret->format = "ssh";
        return r;
}

/* ---- OpenPGP */

/* gpgv reads binary keyrings alone; an armoured one (RFC 4880, section 6.2) is taken out of its armour. */
static int keyring_take(const char *text, size_t len, struct buf *out, struct err **err) {
        const char *begin = strstr(text, KEYRING_BEGIN);
        if (!begin)
                return buf_append(out, text, len);
        for (; begin; begin = strstr(begin, KEYRING_BEGIN)) {
                const char *end = strstr(begin, KEYRING_END), *line = strchr(begin, '\n');
                _cleanup_(buf_done) struct buf body = BUF_INIT;
                _cleanup_(x_freep) void *bytes = NULL;
                size_t n = 0;
                bool in_headers = true;
                if (!end)
                        return err_set(err, EINVAL, "the keyring's armour has no end: %s is missing",
                                       KEYRING_END);
                while (line && ++line < end) {
                        size_t width = strcspn(line, "\r\n");
                        if (in_headers)
                                in_headers = width > 0;
                        else if (*line == '=')
                                break; /* the checksum */
                        else
                                (void)buf_append(&body, line, width);
                        line = strchr(line, '\n');
                }
                if (buf_failed(&body) < 0 || base64_decode(buf_str(&body), body.len, &bytes, &n) < 0)
                        return err_set(
                                err, EINVAL,
                                "the keyring's armour cannot be read: export it anew with gpg --export");
                int r = buf_append(out, bytes, n);
                if (r < 0)
                        return r;
                begin = end;
        }
        return 0;
}

static int keyring_put(const struct checking *c, struct err **err) {
        _cleanup_(x_freep) char *text = NULL;
        _cleanup_(buf_done) struct buf keyring = BUF_INIT;
        size_t len = 0;
        int r = file_read(c->policy->keyring_file, GIT_SIGNERS_FILE_MAX, &text, &len, err);
        if (r >= 0)
                r = keyring_take(text, len, &keyring, err);
        if (r >= 0)
                r = git_verifier_put(c->verifier, "keyring", keyring.data, keyring.len, err);
        return r < 0 ? err_wrap(err, "%s", c->policy->keyring_file) : 0;
}

/* What follows "[GNUPG:] KEYWORD " in a line of the status, up to its end; malloc'ed, NULL: no such line. */
static char *status_line(const struct buf *output, const char *keyword) {
        _cleanup_(x_freep) char *prefix = str_format("[GNUPG:] %s", keyword);
        for (const char *line = buf_str(output); prefix && line && *line;) {
                size_t n = strcspn(line, "\n");
                const char *rest = str_after_prefix(line, prefix);
                if (rest && (*rest == ' ' || *rest == '\n' || !*rest)) {
                        rest += *rest == ' ';
                        return str_dup_n(rest, strcspn(rest, "\n"));
                }
                line += n + (line[n] == '\n');
        }
        return NULL;
}

static int pgp_refuse(const struct checking *c, const struct buf *output, struct err **err) {
        static const struct {
                const char *keyword, *reason;
        } reasons[] = {
                {"BADSIG", "its OpenPGP signature does not fit what it signs: it was changed since"},
                {"EXPSIG", "its OpenPGP signature has expired"},
                {"EXPKEYSIG", "it is signed with an OpenPGP key that has expired"},
                {"REVKEYSIG", "it is signed with an OpenPGP key that was revoked"},
                {"NO_PUBKEY", "it is signed with an OpenPGP key that is not in the keyring"},
                {"ERRSIG", "its OpenPGP signature is of a kind that is not taken"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
                _cleanup_(x_freep) char *line = status_line(output, reasons[i].keyword);
                if (line)
                        return err_set(err, EKEYREJECTED, "%s (%s, key %.*s)", reasons[i].reason,
                                       c->policy->keyring_file, (int)strcspn(line, " "), line);
        }
        return refuse(err, "its OpenPGP signature cannot be read");
}

static int pgp_check(const struct checking *c, struct git_signer *ret, struct err **err) {
        static const char *const argv[] = {"gpgv",      "--homedir",   ".",       "--keyring",
                                           "./keyring", "--status-fd", "1",       "--weak-digest",
                                           "SHA1",      "signature",   "payload", NULL};
        static const char *const bad[] = {"BADSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "ERRSIG"};
        _cleanup_(buf_done) struct buf output = BUF_INIT;
        int code = 0;
        if (!c->policy->keyring_file)
                return refuse(err,
                              "it is signed with OpenPGP, and no keyringFile says whose signatures count");
        int r = keyring_put(c, err);
        if (r >= 0)
                r = git_verifier_run(c->verifier, argv, "gpgv", NULL, c->cancelled, &output, &code, err);
        if (r < 0)
                return r;
        _cleanup_(x_freep) char *good = status_line(&output, "GOODSIG"),
                                *valid = status_line(&output, "VALIDSIG");
        bool is_bad = code != 0 || !good || !valid;
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_(x_freep) char *line = status_line(&output, bad[i]);
                is_bad = is_bad || line;
        }
        if (is_bad)
                return pgp_refuse(c, &output, err);
        const char *user = strchr(good, ' ');
        ret->format = "openpgp";
        ret->name = str_dup(user ? user + 1 : "");
        ret->key = str_dup_n(valid, strcspn(valid, " "));
        return ret->name && ret->key ? 0 : -ENOMEM;
}

/* ---- */

int git_signed_question(const char *object, const char *tag, const struct git_signed_policy *policy,
                        char ret[65], struct err **err) {
        const char *const files[] = {policy->allowed_signers_file, policy->keyring_file};
        _cleanup_(sha256_freep) struct sha256 *s = sha256_new();
        uint8_t digest[SHA256_SIZE];
        if (!s)
                return -ENOMEM;
        sha256_update(s, object, strlen(object) + 1);
        sha256_update(s, tag ? tag : "", strlen(tag ? tag : "") + 1);
        for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
                _cleanup_(x_freep) char *text = NULL;
                size_t len = 0;
                char hex[SHA256_HEX_SIZE] = "";
                if (files[i]) {
                        int r = file_read(files[i], GIT_SIGNERS_FILE_MAX, &text, &len, err);
                        if (r < 0)
                                return r;
                        sha256_hex(text, len, hex);
                }
                sha256_update(s, hex, sizeof(hex));
        }
        sha256_final(s, digest);
        hex_encode(digest, sizeof(digest), ret);
        return 0;
}

int git_signed_check(const char *folder, const char *object, const char *tag,
                     const struct git_signed_policy *policy, msec_t now, const atomic_bool *cancelled,
                     struct git_signer *ret, struct err **err) {
        _cleanup_(signed_object_done) struct signed_object o = {0};
        _cleanup_(git_verifier_closep) struct git_verifier *verifier = NULL;
        _cleanup_(git_signer_done) struct git_signer signer = {0};
        int r = object_take(folder, object, tag, &o, err);
        if (r >= 0)
                r = git_verifier_open(&verifier, err);
        if (r >= 0)
                r = git_verifier_put(verifier, "payload", o.payload, strlen(o.payload), err);
        if (r >= 0) {
                /* ssh-keygen wants the line's end. */
                _cleanup_(x_freep) char *text = str_format("%s\n", o.signature);
                r = text ? git_verifier_put(verifier, "signature", text, strlen(text), err) : -ENOMEM;
        }
        if (r < 0)
                return r;
        struct checking c = {verifier, policy, &o, cancelled, now};
        if (str_has_prefix(o.signature, SSH_BEGIN))
                r = ssh_check(&c, &signer, err);
        else if (str_has_prefix(o.signature, PGP_BEGIN))
                r = pgp_check(&c, &signer, err);
        else
                r = refuse(err, "its signature is neither SSH's nor OpenPGP's (X.509 is not taken)");
        if (r < 0)
                return r;
        *ret = signer;
        signer = (struct git_signer){0};
        return 0;
}
