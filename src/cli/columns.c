/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/columns.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/str.h"

#define GAP 2       /* blanks between columns */
#define SHRINK_TO 8 /* a text column is cut down to this before others suffer */
#define SHRINK_TEXT_TO 24
#define LAST_RESORT 3 /* no column gets narrower than this */

struct cell {
        char *text;
        size_t width;
        enum style style;
};

struct columns {
        const struct column *columns;
        size_t n;
        struct cell *cells;
        size_t n_cells, cap;
        bool failed;
};

struct columns *columns_new(const struct column *columns, size_t n) {
        struct columns *t = calloc(1, sizeof(*t));
        if (t) {
                t->columns = columns;
                t->n = n;
        }
        return t;
}

struct columns *columns_free(struct columns *t) {
        if (!t)
                return NULL;
        for (size_t i = 0; i < t->n_cells; i++)
                free(t->cells[i].text);
        free(t->cells);
        free(t);
        return NULL;
}

void columns_cell(struct columns *t, enum style style, const char *text) {
        _cleanup_(buf_done) struct buf safe = BUF_INIT;
        if (t->n_cells == t->cap) {
                size_t cap = t->cap ? 2 * t->cap : 64;
                struct cell *cells = reallocarray(t->cells, cap, sizeof(*cells));
                if (!cells) {
                        t->failed = true;
                        return;
                }
                t->cells = cells;
                t->cap = cap;
        }
        text_put_safe(&safe, str_is_empty(text) ? "-" : text);
        char *copy = buf_take(&safe, NULL);
        if (!copy) {
                t->failed = true;
                return;
        }
        t->cells[t->n_cells++] = (struct cell){copy, utf8_width(copy, strlen(copy)), style};
}

void columns_cellf(struct columns *t, enum style style, const char *format, ...) {
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        va_list ap;
        va_start(ap, format);
        buf_vprintf(&text, format, ap);
        va_end(ap);
        columns_cell(t, style, buf_str(&text));
}

size_t columns_rows(const struct columns *t) {
        return t->n ? t->n_cells / t->n : 0;
}

/* What the shown columns need together. A width of 0 means: not shown. */
static size_t total_width(const size_t *widths, size_t n) {
        size_t total = 0, shown = 0;
        for (size_t i = 0; i < n; i++)
                if (widths[i] > 0) {
                        total += widths[i];
                        shown++;
                }
        return shown ? total + (shown - 1) * GAP : 0;
}

/* Takes columns off the widest of those chosen by flag until the row fits or all are down at the least. */
static void shrink(const struct columns *t, size_t *widths, size_t limit, unsigned flag, size_t least) {
        size_t total = total_width(widths, t->n);
        while (total > limit) {
                size_t widest = t->n;
                for (size_t i = 0; i < t->n; i++)
                        if ((!flag || (t->columns[i].flags & flag)) && widths[i] > least &&
                            (widest == t->n || widths[i] > widths[widest]))
                                widest = i;
                if (widest == t->n)
                        return;
                widths[widest]--;
                total--;
        }
}

static bool is_blank(const struct columns *t, size_t column) {
        for (size_t c = column; c < t->n_cells; c += t->n)
                if (!str_eq(t->cells[c].text, "-"))
                        return false;
        return true;
}

/* Leaves columns with this flag out, from the right, until the row fits. */
static void leave_out(const struct columns *t, size_t *widths, size_t limit, unsigned flag) {
        for (size_t i = t->n; i-- > 0 && total_width(widths, t->n) > limit;)
                if (t->columns[i].flags & flag)
                        widths[i] = 0;
}

/* Gives back what columns gave, where leaving others out left room. */
static void grow(const struct columns *t, size_t *widths, size_t limit, const size_t *natural) {
        for (size_t total = total_width(widths, t->n); total < limit; total++) {
                size_t narrowest = t->n;
                for (size_t i = 0; i < t->n; i++)
                        if (widths[i] > 0 && widths[i] < natural[i] &&
                            (narrowest == t->n || widths[i] < widths[narrowest]))
                                narrowest = i;
                if (narrowest == t->n)
                        return;
                widths[narrowest]++;
        }
}

/* widths: what the columns want, then what they get. */
static void fit(const struct columns *t, size_t *widths, const size_t *natural,
                const struct columns_look *look) {
        if (look->width == 0)
                return;
        for (size_t i = 0; look->wide && !look->widths && i < t->n; i++)
                if ((t->columns[i].flags & (COLUMN_WIDE | COLUMN_OPTIONAL | COLUMN_TEXT)) && is_blank(t, i) &&
                    total_width(widths, t->n) > look->width)
                        widths[i] = 0;
        shrink(t, widths, look->width, COLUMN_SHRINK, SHRINK_TO);
        shrink(t, widths, look->width, COLUMN_TEXT, SHRINK_TEXT_TO);
        leave_out(t, widths, look->width, COLUMN_OPTIONAL | COLUMN_WIDE);
        grow(t, widths, look->width, natural);
        shrink(t, widths, look->width, COLUMN_TEXT, SHRINK_TO);
        shrink(t, widths, look->width, 0, LAST_RESORT);
}

static void put_cell(const struct columns *t, const struct columns_look *look, const size_t *widths, size_t i,
                     const char *text, size_t text_width, enum style style, bool last, struct buf *out) {
        _cleanup_(buf_done) struct buf cut = BUF_INIT;
        size_t shown = MIN(text_width, widths[i]), padding = widths[i] - shown;
        text_put_cut(&cut, text, widths[i], look->unicode);
        if (t->columns[i].flags & COLUMN_RIGHT)
                buf_printf(out, "%*s", (int)padding, "");
        style_puts(out, look->colour, style, buf_str(&cut));
        if (last)
                return;
        if (!(t->columns[i].flags & COLUMN_RIGHT))
                buf_printf(out, "%*s", (int)padding, "");
        buf_printf(out, "%*s", GAP, "");
}

char *columns_row_text(const struct columns *t, size_t row, bool wide) {
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        buf_puts(&out, "");
        for (size_t i = 0; i < t->n && (row + 1) * t->n <= t->n_cells; i++)
                if (!(t->columns[i].flags & COLUMN_AGE) && (wide || !(t->columns[i].flags & COLUMN_WIDE)))
                        buf_printf(&out, "%s\n", t->cells[row * t->n + i].text);
        return buf_take(&out, NULL);
}

/* What each column wants: its widest cell, and what it had. */
static void natural_widths(const struct columns *t, const struct columns_look *look, size_t *widths) {
        for (size_t i = 0; i < t->n; i++) {
                if ((t->columns[i].flags & COLUMN_WIDE) && !look->wide)
                        continue;
                widths[i] = look->no_titles && !look->widths ? 1 : strlen(t->columns[i].title);
                for (size_t c = i; c < t->n_cells; c += t->n)
                        widths[i] = MAX(widths[i], t->cells[c].width);
                if (look->widths)
                        widths[i] = MAX(widths[i], look->widths[i]);
        }
}

static size_t last_shown(const struct columns *t, const size_t *widths) {
        size_t last = 0;
        for (size_t i = 0; i < t->n; i++)
                if (widths[i] > 0)
                        last = i;
        return last;
}

/* Do columns stand elsewhere than in the print before? Takes note of what they want now. */
static bool have_moved(const struct columns *t, const struct columns_look *look, const size_t *natural,
                       const size_t *widths) {
        _cleanup_(x_freep) size_t *before = calloc(t->n + 1, sizeof(*before));
        bool began = false, moved = false;
        if (!before)
                return false;
        memcpy(before, look->widths, t->n * sizeof(*before));
        fit(t, before, look->widths, look);
        for (size_t i = 0; i < t->n; i++) {
                began |= look->widths[i] > 0;
                look->widths[i] = natural[i];
        }
        for (size_t i = 0; i < last_shown(t, widths); i++)
                moved |= before[i] != widths[i];
        return began && (moved || last_shown(t, before) != last_shown(t, widths));
}

static void note_left_out(const struct columns *t, const struct columns_look *look, const size_t *natural,
                          const size_t *widths) {
        for (size_t i = 0; i < t->n; i++)
                if (natural[i] > 0 && widths[i] == 0 && !is_blank(t, i))
                        buf_printf(look->left_out, "%s%s", look->left_out->len ? ", " : "",
                                   t->columns[i].title);
}

int columns_print(const struct columns *t, const struct columns_look *look, struct buf *out) {
        if (t->failed)
                return -ENOMEM;
        _cleanup_(x_freep) size_t *natural = calloc(t->n + 1, sizeof(*natural));
        _cleanup_(x_freep) size_t *widths = calloc(t->n + 1, sizeof(*widths));
        if (!natural || !widths)
                return -ENOMEM;
        natural_widths(t, look, natural);
        memcpy(widths, natural, t->n * sizeof(*widths));
        fit(t, widths, natural, look);
        bool moved = look->widths && have_moved(t, look, natural, widths);
        bool titles = !look->no_titles && (moved || !look->only_changes);
        if (look->left_out)
                note_left_out(t, look, natural, widths);
        size_t last = last_shown(t, widths);
        if (titles) {
                for (size_t i = 0; i < t->n; i++)
                        if (widths[i] > 0)
                                put_cell(t, look, widths, i, t->columns[i].title, strlen(t->columns[i].title),
                                         STYLE_DIM, i == last, out);
                buf_putc(out, '\n');
        }
        for (size_t c = 0; c + t->n <= t->n_cells; c += t->n) {
                for (size_t i = 0; i < t->n; i++)
                        if (widths[i] > 0)
                                put_cell(t, look, widths, i, t->cells[c + i].text, t->cells[c + i].width,
                                         t->cells[c + i].style, i == last, out);
                buf_putc(out, '\n');
        }
        return buf_failed(out) ? -ENOMEM : 0;
}
