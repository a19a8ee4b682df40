/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/columns.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/str.h"

#define GAP 2         /* blanks between columns */
#define SHRINK_TO 8   /* a text column is cut down to this before others suffer */
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

static void fit(const struct columns *t, size_t *widths, size_t limit) {
        shrink(t, widths, limit, COLUMN_SHRINK, SHRINK_TO);
        for (size_t i = t->n; i-- > 0 && total_width(widths, t->n) > limit;)
                if (t->columns[i].flags & COLUMN_OPTIONAL)
                        widths[i] = 0;
        shrink(t, widths, limit, 0, LAST_RESORT);
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

int columns_print(const struct columns *t, const struct columns_look *look, struct buf *out) {
        if (t->failed)
                return -ENOMEM;
        _cleanup_(x_freep) size_t *widths = calloc(t->n + 1, sizeof(*widths));
        if (!widths)
                return -ENOMEM;
        size_t last = 0;
        for (size_t i = 0; i < t->n; i++) {
                if ((t->columns[i].flags & COLUMN_WIDE) && !look->wide)
                        continue;
                widths[i] = look->no_titles ? 1 : strlen(t->columns[i].title);
                for (size_t c = i; c < t->n_cells; c += t->n)
                        widths[i] = MAX(widths[i], t->cells[c].width);
                if (look->widths)
                        widths[i] = look->widths[i] = MAX(widths[i], look->widths[i]);
        }
        if (look->width > 0)
                fit(t, widths, look->width);
        for (size_t i = 0; i < t->n; i++)
                if (widths[i] > 0)
                        last = i;
        if (!look->no_titles) {
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
