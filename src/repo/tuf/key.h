/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and signatures as TUF metadata holds them (specification 1.0.34, section 4.2).
 *
 * keytype and scheme: ed25519; ecdsa or ecdsa-sha2-nistp256 with scheme ecdsa-sha2-nistp256; rsa with
 * rsassa-pss-sha256 (verified only). A key id is the SHA-256 of the key's canonical JSON; ids in other
 * people's metadata are taken as they stand there (TAP 12), and what counts against a threshold is the public
 * key itself, once, under whatever ids it comes. */
#pragma once

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"
#include "crypto/signing_key.h"

#define TUF_KEY_ID_MAX 128 /* characters */

struct tuf_key; /* public; immutable, counted */
/* -EOPNOTSUPP for a keytype or scheme we do not know (its signatures count for nothing, which is no mistake
 * of the document); -EINVAL where the key is damaged. */
int tuf_key_from_json(const json_t *j, struct tuf_key **ret, struct err **err);
/* As it would be listed in a document of ours: keytype "ecdsa" with PEM, "ed25519" with hex. */
int tuf_key_from_signing_key(const struct signing_key *k, struct tuf_key **ret, struct err **err);
/* A PEM public key, or a key as JSON; a private key in the clear gives its public half. */
int tuf_key_load(const char *path, struct tuf_key **ret, struct err **err);
struct tuf_key *tuf_key_ref(struct tuf_key *k);
struct tuf_key *tuf_key_free(struct tuf_key *k); /* drops one reference */
DEFINE_CLEANUP(struct tuf_key, tuf_key_free)
const json_t *tuf_key_json(const struct tuf_key *k);
const char *tuf_key_id(const struct tuf_key *k);          /* 64 hex digits */
const char *tuf_key_fingerprint(const struct tuf_key *k); /* of the public key, whatever its id */
/* 0, -EKEYREJECTED (also: not hex, too long). */
int tuf_key_verify(const struct tuf_key *k, const void *p, size_t n, const char *signature_hex);

/* ---- Signers: whatever can sign with the private half of a key. */
struct tuf_signer;
struct tuf_signer *tuf_signer_free(struct tuf_signer *s);
DEFINE_CLEANUP(struct tuf_signer, tuf_signer_free)
/* A private key at hand. */
int tuf_signer_from_key(struct signing_key *k, struct tuf_signer **ret, struct err **err);
/* A PEM file. -EKEYREJECTED: it wants another passphrase (or one at all). */
int tuf_signer_from_file(const char *path, const char *passphrase, struct tuf_signer **ret, struct err **err);
/* A command, run by /bin/sh, which gets the bytes to be signed on standard input and prints the signature as
 * hex or base64; exit code 0. In its environment SKERRY_KEY_ID and SKERRY_KEY_NAME. What it says on standard
 * error becomes part of the error. It is given TUF_SIGNER_COMMAND_S seconds. */
#define TUF_SIGNER_COMMAND_S 300
int tuf_signer_from_command(const char *command, const char *name, struct tuf_key *public_key,
                            struct tuf_signer **ret, struct err **err);
struct tuf_key *tuf_signer_key(const struct tuf_signer *s); /* borrowed */
/* Hex, malloc'ed; checked with the public key before it is handed out. Blocking. */
int tuf_sign(struct tuf_signer *s, const void *p, size_t n, char **ret_hex, struct err **err);
