/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of age: keys as bytes, base64 without padding, armor. */
#pragma once

#include "crypto/age.h"
#include "crypto/age_primitives.h"

const uint8_t *age_identity_private(const struct age_identity *i);
const uint8_t *age_identity_public(const struct age_identity *i);
int age_recipient_key(const char *text, uint8_t ret[X25519_SIZE]); /* -EINVAL */

/* Base64 without padding, canonical alone. -EINVAL; exactly n bytes must come out. */
int age_base64_decode(const char *text, size_t len, uint8_t *ret, size_t n);
int age_base64_append(struct buf *out, const void *data, size_t n);

/* ASCII armor: strict PEM with lines of 64 columns. */
bool age_is_armored(const char *data, size_t n);
int age_armor(const void *data, size_t n, struct buf *out);
/* -EBADMSG with words. */
int age_unarmor(const char *text, size_t len, struct buf *out, struct err **err);
