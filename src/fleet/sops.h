/* SPDX-License-Identifier: Apache-2.0 */
/* SOPS files: YAML or JSON whose values are encrypted one by one (AES-256-GCM, the path as additional data)
 * under a data key, which the section `sops` holds encrypted for each age recipient, with a MAC over all
 * values. Format as SOPS 3.8 writes and reads it (getsops/sops: aes/cipher.go, sops.go, stores/).
 *
 * A parsed file holds cipher text alone. Opened, it also holds the data key, and gives values out in locked
 * memory. Values are named by a pointer: keys and list positions joined by slashes, "db/password" ("~1" is a
 * slash, "~0" a tilde, as in RFC 6901).
 *
 * Not taken: several documents in a file, Shamir's secret sharing, rules by comment, and regular expressions
 * beyond POSIX extended ones without counts and references. */
#pragma once

#include "base/buf.h"
#include "base/secret.h"
#include "codec/value.h"
#include "crypto/age.h"

#define SOPS_FILE_MAX ((size_t)4 << 20)
#define SOPS_RECIPIENTS_MAX 1024
#define SOPS_VALUES_MAX 20000
#define SOPS_SECTION "sops"

struct sops;

/* name stands for the file in messages. -EINVAL: not YAML or JSON, or no SOPS file; -EOPNOTSUPP: one of a
 * kind that is not taken; -E2BIG: over a limit. No key is needed. */
int sops_parse(const char *name, const char *text, size_t len, struct sops **ret, struct err **err);
struct sops *sops_free(struct sops *s);
DEFINE_CLEANUP(struct sops, sops_free)
bool sops_is_json(const struct sops *s);

size_t sops_recipients(const struct sops *s);
const char *sops_recipient(const struct sops *s, size_t i);
bool sops_has_recipient(const struct sops *s, const char *recipient);
/* Can others than age recipients open it (pgp, kms, ...)? Names the first kind, or NULL. */
const char *sops_other_keys(const struct sops *s);

/* The cipher text of a value, as it stands in the file. -ENOENT: nothing there (the error names the nearest);
 * -EISDIR: not one value; -ENOKEY: it is not encrypted. */
int sops_find(const struct sops *s, const char *pointer, const char **ret, struct err **err);

/* Decrypts the data key and checks the MAC over every value. -ENOKEY: none of the identities is a recipient;
 * -EBADMSG: damaged or tampered with. */
int sops_open(struct sops *s, const struct age_identity *const *identities, size_t n, struct err **err);
/* Of an open file: the plain text of a value (true and false in lower case). */
int sops_value(const struct sops *s, const char *pointer, struct secret **ret, struct err **err);
/* The whole document in plain text, as its own format, without the section. */
int sops_plain(const struct sops *s, struct buf *out, struct err **err);

/* ---- writing */

struct sops_rules { /* at most one; none: suffix "_unencrypted" */
        const char *unencrypted_suffix, *encrypted_suffix, *unencrypted_regex, *encrypted_regex;
};
struct sops_encryption {
        const char *const *recipients;
        size_t n_recipients;
        const struct sops_rules *rules; /* NULL: those of `before`, or the default */
        /* Open; NULL: a new file. Its rules and what else its section says stay. */
        const struct sops *before;
        /* Keep the data key of `before`, and the cipher text of values that did not change. */
        bool keep_key;
        const char *time; /* RFC 3339, UTC: "2026-11-20T22:00:00Z" */
};
/* Encrypts a document in plain text (YAML or JSON; comments are left out). */
int sops_encrypt(const char *name, const char *plain, size_t len, const struct sops_encryption *e,
                 struct buf *out, struct err **err);
/* The open file with other recipients, its data key, values and MAC unchanged: in YAML only the section is
 * written anew, when it stands last. */
int sops_write_recipients(const struct sops *s, const char *const *recipients, size_t n, struct buf *out,
                          struct err **err);
