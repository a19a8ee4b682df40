/* SPDX-License-Identifier: Apache-2.0 */
/* Comma-separated values (RFC 4180): fields may be quoted, "" inside is a quote, lines end with CRLF or LF,
 * quoted fields may hold line ends. Pure. */
#pragma once

#include "base/err.h"

#define CSV_FIELDS_MAX 256 /* in a record */

struct csv_reader {
        const char *text;
        size_t len, at, line; /* line: of the record that csv_next() gave, from 1 */
        size_t next_line;
};
void csv_init(struct csv_reader *r, const char *text, size_t len);
/* 1 and the fields of the next record (a strv of malloc'ed texts) that is not empty, 0 at the end, -EINVAL
 * with the line: a quote that does not end, or stands in the middle, too many fields, NUL; -ENOMEM. */
int csv_next(struct csv_reader *r, char ***ret_fields, struct err **err);
