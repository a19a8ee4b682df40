/* SPDX-License-Identifier: Apache-2.0 */
/* Bech32 (BIP 173) without its limit on length, as age writes recipients and identities: 32 bytes under a
 * prefix. Lower case alone, or upper case alone. */
#pragma once

#include "base/macros.h"

#define BECH32_BYTES 32
#define BECH32_TEXT_MAX 128

/* prefix in lower case; out needs strlen(prefix) + 60 bytes, at most BECH32_TEXT_MAX. -EINVAL: too long. */
int bech32_encode(const char *prefix, const uint8_t data[BECH32_BYTES], bool upper,
                  char out[BECH32_TEXT_MAX]);
/* -EINVAL: another prefix, mixed case, a wrong letter, checksum, length or padding. */
int bech32_decode(const char *prefix, const char *text, uint8_t ret[BECH32_BYTES]);
