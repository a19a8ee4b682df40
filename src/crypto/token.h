/* SPDX-License-Identifier: Apache-2.0 */
/* Bearer tokens: random secrets shown once and kept hashed.
 *
 * Text form "<prefix>_<id>.<secret>" with a 10-character id (may be logged) and 43 characters of
 * base64url secret (256 bits, so one SHA-256 is enough at rest). A join token ends in ".<pin>", the
 * SHA-256 of the root's public key in hex, so that one string lets a machine trust its server. */
#pragma once

#include "base/err.h"

#define TOKEN_ID_SIZE 11

struct token {
        char prefix[8];
        char id[TOKEN_ID_SIZE];
        char secret_sha256[65]; /* hex; what the database keeps */
        char *pin;              /* hex or NULL */
};
void token_done(struct token *t);

/* Makes one; the text is malloc'ed and never stored. pin may be NULL. */
int token_make(const char *prefix, const char *pin, struct token *ret, char **ret_text);
/* Takes a text apart and hashes the secret. -EINVAL. */
int token_parse(const char *text, struct token *ret, struct err **err);
/* Constant-time comparison of two hex digests. */
bool token_hash_equal(const char *a, const char *b);
