/* SPDX-License-Identifier: Apache-2.0 */
/* Request targets (RFC 9112 section 3.2): the path, decoded once and checked, and the query. */
#pragma once

#include "base/macros.h"

/* Decodes the path (up to '?') into out, which has room for path_len + 1 bytes. -EINVAL: not starting with
 * a slash, a broken %XX, an encoded slash or control byte, a "." or ".." segment, not UTF-8. */
int http_target_path(const char *path, size_t path_len, char *out);
/* Whether the query can be decoded: no broken %XX, no NUL, UTF-8. */
bool http_target_query_is_valid(const char *query);
/* The value of a name in a valid query, or NULL; *ret_len bytes, still encoded. */
const char *http_target_query_find(const char *query, const char *name, size_t *ret_len);
/* Decodes a valid query's value ('+' is a blank); out has room for len + 1 bytes. */
void http_target_query_decode(const char *value, size_t len, char *out);
