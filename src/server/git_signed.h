/* SPDX-License-Identifier: Apache-2.0 */
/* Who signed a commit or an annotated tag, and may they? SSH signatures (gpgsig with an SSHSIG of namespace
 * "git"; judged by ssh-keygen with an allowed-signers file: principals, namespaces, valid-after,
 * valid-before, cert-authority) and OpenPGP ones (judged by gpgv with a keyring). See
 * docs/decisions/0012-commit-signatures.md.
 *
 * A key must have been valid when the commit or tag says that it was made, and be valid now: what is
 * written in a commit is its maker's to choose. Blocks; for worker threads. */
#pragma once

#include <stdatomic.h>

#include "base/clock.h"
#include "base/err.h"

#define GIT_SIGNERS_FILE_MAX ((size_t)4 << 20)
#define GIT_SIGNATURE_MAX 65536
#define GIT_SIGNED_OBJECT_MAX ((size_t)1 << 20)

struct git_signed_policy {
        const char *allowed_signers_file, *keyring_file; /* either may be NULL, not both */
};

struct git_signer {
        const char *format; /* "ssh" or "openpgp" */
        char *name;         /* the principal, or the primary user ID */
        char *key;          /* SHA256:... or the fingerprint */
};
void git_signer_done(struct git_signer *s);

/* Names the question, for remembering that the answer was yes: object, the tag's name (NULL for a commit) and
 * both files' contents. */
int git_signed_question(const char *object, const char *tag, const struct git_signed_policy *policy,
                        char ret[65], struct err **err);

/* object: id of a commit, or of an annotated tag, that is in the repository in folder. tag: the name it was
 * found under, which the tag must carry itself; NULL for a commit. -EKEYREJECTED: not signed, or not by whom
 * it should be; the error says why and what to do. Everything else: could not be told. */
int git_signed_check(const char *folder, const char *object, const char *tag,
                     const struct git_signed_policy *policy, msec_t now, const atomic_bool *cancelled,
                     struct git_signer *ret, struct err **err);
