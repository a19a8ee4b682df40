/* SPDX-License-Identifier: Apache-2.0 */
/* How text is dressed for a terminal, and made harmless before it is shown. */
#pragma once

#include "base/buf.h"

enum style {
        STYLE_NONE,
        STYLE_GOOD,   /* green */
        STYLE_BAD,    /* red */
        STYLE_WARN,   /* yellow */
        STYLE_ACTIVE, /* cyan: under way */
        STYLE_DIM,
        STYLE_BOLD,
        STYLE_LOUD, /* bold on red */
};

/* Appends text in a style (plain where colour is false). */
void style_puts(struct buf *out, bool colour, enum style style, const char *text);
void style_printf(struct buf *out, bool colour, enum style style, const char *format, ...) _printf_(4, 5);

/* Appends what somebody else wrote: control characters, which could steer the terminal, become blanks or '?',
 * bytes that are no UTF-8 become '?'. */
void text_put_safe(struct buf *out, const char *text);
/* Appends at most `columns` columns of (safe, unstyled) text, the end cut off by "…" where it does not fit.
 */
void text_put_cut(struct buf *out, const char *text, size_t columns, bool unicode);

/* Appends (safe, unstyled) text that begins at column `at` of a line, broken at blanks so that no line passes
 * `width` columns (0: never broken). Further lines begin with `indent` blanks, or fewer on a narrow terminal.
 * A word longer than a line stays whole: it may have to be copied. */
void text_put_wrapped(struct buf *out, const char *text, size_t at, size_t indent, size_t width);

/* May we draw with characters beyond ASCII? (By the locale: LC_ALL, LC_CTYPE, LANG.) */
bool locale_is_unicode(void);

/* The style that fits a state's name: Healthy, Failed, Progressing, ... */
enum style style_of_state(const char *state);
