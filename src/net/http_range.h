/* SPDX-License-Identifier: Apache-2.0 */
/* Preconditions and ranges of a file (RFC 9110 sections 13 and 14). Pure. */
#pragma once

#include "base/macros.h"

enum http_range_result {
        HTTP_RANGE_WHOLE,        /* no range, several, or not one that we understand: send all */
        HTTP_RANGE_PART,         /* *ret_first to *ret_last, both included */
        HTTP_RANGE_UNSATISFIABLE /* 416 */
};
/* A Range field's value (NULL: none) against a file of size bytes. */
enum http_range_result http_range_parse(const char *value, uint64_t size, uint64_t *ret_first,
                                        uint64_t *ret_last);
/* Whether If-None-Match names the entity tag (given without quotes), by weak comparison. */
bool http_etag_matches(const char *if_none_match, const char *etag);
/* Whether If-Range (NULL: none) lets a range be sent: it must be this strong tag. */
bool http_if_range_holds(const char *if_range, const char *etag);
