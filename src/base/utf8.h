/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8: validity, decoding, and the columns a terminal needs. */
#pragma once

#include "base/macros.h"

/* Valid UTF-8 per RFC 3629 (no overlongs, no surrogates)? */
bool utf8_is_valid(const char *s, size_t len);
/* Columns a terminal needs (East Asian wide counts two, combining zero; invalid bytes one each). */
size_t utf8_width(const char *s, size_t len);
/* Bytes of the first character and its code point; 0 when it is cut short or invalid. */
size_t utf8_decode(const char *s, size_t len, uint32_t *ret_code_point);
