/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/csv.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"

void csv_init(struct csv_reader *r, const char *text, size_t len) {
        *r = (struct csv_reader){.text = text, .len = len, .line = 1, .next_line = 1};
        if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
                r->at = 3; /* spreadsheets like to begin so */
}

static bool at_end_of_line(const struct csv_reader *r) {
        return r->at >= r->len || r->text[r->at] == '\n' ||
               (r->text[r->at] == '\r' && (r->at + 1 == r->len || r->text[r->at + 1] == '\n'));
}

static void skip_end_of_line(struct csv_reader *r) {
        if (r->at < r->len && r->text[r->at] == '\r')
                r->at++;
        if (r->at < r->len && r->text[r->at] == '\n')
                r->at++;
        r->next_line++;
}

static int read_quoted(struct csv_reader *r, struct buf *field, struct err **err) {
        size_t begun = r->next_line;
        for (r->at++; r->at < r->len; r->at++) {
                char c = r->text[r->at];
                if (c == '"' && r->at + 1 < r->len && r->text[r->at + 1] == '"')
                        r->at++;
                else if (c == '"') {
                        r->at++;
                        if (!at_end_of_line(r) && r->text[r->at] != ',')
                                return err_set(err, EINVAL,
                                               "line %zu: a comma or the end of the line must follow "
                                               "the closing quote",
                                               r->next_line);
                        return 0;
                }
                r->next_line += c == '\n';
                buf_putc(field, c);
        }
        return err_set(err, EINVAL, "line %zu: the quote that begins there does not end", begun);
}

static int read_field(struct csv_reader *r, struct buf *field, struct err **err) {
        if (r->at < r->len && r->text[r->at] == '"')
                return read_quoted(r, field, err);
        for (; !at_end_of_line(r) && r->text[r->at] != ','; r->at++) {
                if (r->text[r->at] == '"')
                        return err_set(err, EINVAL,
                                       "line %zu: a quote within a field: put the whole field in quotes",
                                       r->next_line);
                buf_putc(field, r->text[r->at]);
        }
        return 0;
}

int csv_next(struct csv_reader *r, char ***ret_fields, struct err **err) {
        _cleanup_(strv_freep) char **fields = NULL;
        size_t n = 0;
        while (r->at < r->len && at_end_of_line(r))
                skip_end_of_line(r);
        if (r->at >= r->len)
                return 0;
        r->line = r->next_line;
        for (;;) {
                _cleanup_(buf_done) struct buf field = BUF_INIT;
                int k = read_field(r, &field, err);
                if (k < 0)
                        return k;
                if (field.len > 0 && memchr(field.data, 0, field.len))
                        return err_set(err, EINVAL, "line %zu: a NUL is no text", r->line);
                if (++n > CSV_FIELDS_MAX)
                        return err_set(err, EINVAL, "line %zu: more than %d fields", r->line, CSV_FIELDS_MAX);
                if (buf_failed(&field) || strv_push(&fields, buf_str(&field)) < 0)
                        return err_set_errno(err, ENOMEM, "line %zu", r->line);
                if (at_end_of_line(r))
                        break;
                r->at++; /* the comma; a field follows it, even an empty one */
        }
        skip_end_of_line(r);
        *ret_fields = TAKE_PTR(fields);
        return 1;
}
