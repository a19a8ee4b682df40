/* SPDX-License-Identifier: Apache-2.0 */
/* JSON (jansson): strict reading with limits, canonical writing, and YAML output for people. */
#pragma once

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"
#include "codec/value.h"

#define _cleanup_json_ _cleanup_(json_decrefp)

/* One JSON text, nothing after it; duplicate keys, NULs in strings and depth over 64 are refused.
 * "line 3 column 7: ..." in the error. */
int json_decode(const char *text, size_t len, json_t **ret, struct err **err);

/* Canonical form, the bytes that digests and signatures cover: UTF-8, object keys sorted by bytes, no
 * blanks, strings with only `\\`, `\"` and control characters as \u00xx escaped, integers only (a
 * real number is -EINVAL). */
int json_encode_canonical(const json_t *j, struct buf *out, struct err **err);
/* Canonical JSON as OLPC laid it down and securesystemslib writes it, the bytes that TUF's signatures and key
 * ids cover: the same, but control characters stand in strings as they are. */
int json_encode_olpc(const json_t *j, struct buf *out, struct err **err);
/* Hex SHA-256 of the canonical form is made by callers with crypto/. */

char *json_encode_compact(const json_t *j) _must_use_; /* malloc'ed, keys in insertion order */
char *json_encode_pretty(const json_t *j) _must_use_;  /* two blanks, trailing newline */
char *json_encode_yaml(const json_t *j) _must_use_;    /* block style, for `-o yaml` */

/* A decoded YAML value as JSON (positions dropped). */
json_t *json_from_value(const struct value *v) _must_use_;

/* Readers for what peers send: -EINVAL with "field x: expected text" when type or presence is wrong.
 * Optional ones leave *ret alone when the key is absent or null. Borrowed from the object. */
int json_read_string(const json_t *o, const char *key, const char **ret, struct err **err);
int json_read_optional_string(const json_t *o, const char *key, const char **ret, struct err **err);
int json_read_int(const json_t *o, const char *key, int64_t *ret, struct err **err);
int json_read_optional_int(const json_t *o, const char *key, int64_t *ret, struct err **err);
int json_read_optional_bool(const json_t *o, const char *key, bool *ret, struct err **err);
int json_read_object(const json_t *o, const char *key, const json_t **ret, struct err **err);
int json_read_array(const json_t *o, const char *key, const json_t **ret, struct err **err);
/* Is it an object of none but these fields? -EINVAL names the first other one, and the nearest known. */
int json_check_fields(const json_t *o, const char *const *names, size_t n, struct err **err);
