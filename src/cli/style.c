/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/style.h"

#include <string.h>
#include <strings.h>

#include "base/str.h"

#define WRAP_LEAST                                                                                           \
        24 /* columns that text has at least to the right of its indent, where the terminal has them */

static const char *const codes[] = {
        [STYLE_NONE] = "",         [STYLE_GOOD] = "\x1b[32m",      [STYLE_BAD] = "\x1b[31m",
        [STYLE_WARN] = "\x1b[33m", [STYLE_ACTIVE] = "\x1b[36m",    [STYLE_DIM] = "\x1b[2m",
        [STYLE_BOLD] = "\x1b[1m",  [STYLE_LOUD] = "\x1b[1;37;41m",
};

void style_puts(struct buf *out, bool colour, enum style style, const char *text) {
        bool dressed = colour && style != STYLE_NONE && *text;
        if (dressed)
                buf_puts(out, codes[style]);
        buf_puts(out, text);
        if (dressed)
                buf_puts(out, "\x1b[0m");
}

void style_printf(struct buf *out, bool colour, enum style style, const char *format, ...) {
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        va_list ap;
        va_start(ap, format);
        buf_vprintf(&text, format, ap);
        va_end(ap);
        style_puts(out, colour, style, buf_str(&text));
}

/* Bytes of the UTF-8 sequence at s; 0 when it is none. */
static size_t sequence_len(const char *s, size_t len) {
        for (size_t n = 1; n <= 4 && n <= len; n++)
                if (utf8_is_valid(s, n))
                        return n;
        return 0;
}

void text_put_safe(struct buf *out, const char *text) {
        size_t len = strlen(text);
        while (len > 0) {
                unsigned char c = (unsigned char)*text;
                size_t n = sequence_len(text, len);
                if (c == '\n' || c == '\t' || c == '\r')
                        buf_putc(out, ' ');
                else if (n == 0 || c < 0x20 || c == 0x7f ||
                         (n == 2 && c == 0xc2 && (unsigned char)text[1] < 0xa0))
                        buf_putc(out, '?');
                else
                        buf_append(out, text, n);
                text += MAX(n, (size_t)1);
                len -= MAX(n, (size_t)1);
        }
}

void text_put_cut(struct buf *out, const char *text, size_t columns, bool unicode) {
        size_t len = strlen(text);
        if (utf8_width(text, len) <= columns) {
                buf_append(out, text, len);
                return;
        }
        if (columns == 0)
                return;
        size_t used = 0;
        while (len > 0) {
                size_t n = MAX(sequence_len(text, len), (size_t)1), width = utf8_width(text, n);
                if (used + width > columns - 1)
                        break;
                buf_append(out, text, n);
                used += width;
                text += n;
                len -= n;
        }
        buf_puts(out, unicode ? "…" : "~");
}

void text_put_wrapped(struct buf *out, const char *text, size_t at, size_t indent, size_t width) {
        if (width == 0) {
                buf_puts(out, text);
                return;
        }
        if (width < indent + WRAP_LEAST)
                indent = MIN(width / 8, indent);
        for (bool first = true; *text; first = false) {
                size_t blanks = strspn(text, " "), word = strcspn(text + blanks, " ");
                size_t needed = blanks + utf8_width(text + blanks, word);
                if (word == 0)
                        return; /* blanks at the end */
                if (at + needed <= width || (first && at <= indent)) {
                        buf_append(out, text, blanks + word);
                        at += needed;
                } else {
                        buf_printf(out, "\n%*s", (int)indent, "");
                        buf_append(out, text + blanks, word);
                        at = indent + needed - blanks;
                }
                text += blanks + word;
        }
}

bool locale_is_unicode(void) {
        static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                const char *value = getenv(names[i]);
                if (!str_is_empty(value))
                        return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
        }
        return false;
}

enum style style_of_state(const char *state) {
        static const struct {
                const char *name;
                enum style style;
        } states[] = {
                {"Healthy", STYLE_GOOD},       {"Succeeded", STYLE_GOOD},       {"Passed", STYLE_GOOD},
                {"Connected", STYLE_GOOD},     {"Failed", STYLE_BAD},           {"RolledBack", STYLE_BAD},
                {"TimedOut", STYLE_BAD},       {"Aborted", STYLE_BAD},          {"Revoked", STYLE_BAD},
                {"RollingBack", STYLE_BAD},    {"Deferred", STYLE_WARN},        {"Away", STYLE_WARN},
                {"Paused", STYLE_WARN},        {"Superseded", STYLE_DIM},       {"Pending", STYLE_DIM},
                {"Progressing", STYLE_ACTIVE}, {"Soaking", STYLE_ACTIVE},       {"Offered", STYLE_ACTIVE},
                {"Downloading", STYLE_ACTIVE}, {"Staged", STYLE_ACTIVE},        {"Applying", STYLE_ACTIVE},
                {"Confirming", STYLE_ACTIVE},  {"WaitingWindow", STYLE_ACTIVE}, {"Never", STYLE_DIM},
        };
        for (size_t i = 0; state && i < ARRAY_SIZE(states); i++)
                if (str_eq(states[i].name, state))
                        return states[i].style;
        return STYLE_NONE;
}
