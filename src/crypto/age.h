/* SPDX-License-Identifier: Apache-2.0 */
/* The age v1 file format (age-encryption.org/v1, C2SP age.md): a random file key is wrapped for each
 * recipient by X25519, HKDF-SHA-256 and ChaCha20-Poly1305 in a header under a MAC; the payload follows in
 * chunks of 64 KiB (STREAM). Binary and armored (PEM) form.
 *
 * Recipients are "age1...", identities "AGE-SECRET-KEY-1...". Other kinds of stanzas are passed over; a
 * passphrase (scrypt) is never tried, so that no file can make us work for it.
 *
 * Files are judged before anything is made of them: at most AGE_FILE_MAX bytes, AGE_STANZAS_MAX stanzas,
 * AGE_HEADER_MAX bytes of header. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"

#define AGE_FILE_MAX ((size_t)16 << 20)
#define AGE_HEADER_MAX ((size_t)256 << 10)
#define AGE_STANZAS_MAX 1024
#define AGE_RECIPIENT_SIZE 63 /* with NUL */
#define AGE_IDENTITY_SIZE 75  /* with NUL */

struct age_identity; /* a private key, in locked memory, and its recipient */
int age_identity_generate(struct age_identity **ret, struct err **err);
/* One "AGE-SECRET-KEY-1...". -EINVAL. The text is never part of an error. */
int age_identity_parse(const char *text, struct age_identity **ret, struct err **err);
struct age_identity *age_identity_free(struct age_identity *i);
DEFINE_CLEANUP(struct age_identity, age_identity_free)
const char *age_identity_recipient(const struct age_identity *i);
/* A file as age-keygen writes it, and its reader: 0600, replaced atomically; comments and blank lines are
 * passed over, the first identity is taken. -ENOENT: no such file; -EINVAL: it holds none. */
int age_identity_save(const struct age_identity *i, const char *path, struct err **err);
int age_identity_load(const char *path, struct age_identity **ret, struct err **err);

/* Is it an X25519 recipient of the right form? */
bool age_recipient_is_valid(const char *text);

/* Encrypts for every recipient; at least one. -EINVAL: one of them is none. */
int age_encrypt(const void *data, size_t n, const char *const *recipients, size_t n_recipients, bool armored,
                struct buf *out, struct err **err);
/* Either form. -ENOKEY: for other identities; -EBADMSG: not an age file of this version, damaged or tampered
 * with; -E2BIG: over a limit. ret holds the plain text. */
int age_decrypt(const void *data, size_t n, const struct age_identity *const *identities, size_t n_identities,
                struct secret **ret, struct err **err);
