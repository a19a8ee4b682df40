/* SPDX-License-Identifier: Apache-2.0 */
/* Tables for people: columns as wide as they need, made to fit the terminal.
 *
 * Where the rows are wider than the terminal, columns marked COLUMN_SHRINK give way first (down to 8
 * columns), then those marked COLUMN_OPTIONAL are left out, from the right, then what is left is cut. */
#pragma once

#include "cli/style.h"

enum {
        COLUMN_WIDE = 1,     /* only in wide tables */
        COLUMN_SHRINK = 2,   /* text that may be cut */
        COLUMN_OPTIONAL = 4, /* may be left out */
        COLUMN_RIGHT = 8,    /* numbers */
};

struct column {
        const char *title; /* "LAST SEEN" */
        unsigned flags;
};

struct columns;
/* The column descriptions are kept by reference. NULL when memory is out. */
struct columns *columns_new(const struct column *columns, size_t n) _must_use_;
struct columns *columns_free(struct columns *t);
DEFINE_CLEANUP(struct columns, columns_free)

/* Cells are added from left to right, row after row; a row has exactly n of them. The text is made safe. NULL
 * or "" shows as "-". Failure of memory is found by columns_print(). */
void columns_cell(struct columns *t, enum style style, const char *text);
void columns_cellf(struct columns *t, enum style style, const char *format, ...) _printf_(3, 4);
size_t columns_rows(const struct columns *t);

struct columns_look {
        size_t width; /* of the terminal; 0: no limit */
        bool wide, colour, unicode, no_titles;
        size_t *widths; /* one for each column, at first 0: columns never get narrower than in the prints
                           before that had the same array; NULL: each print for itself */
};
/* -ENOMEM. */
int columns_print(const struct columns *t, const struct columns_look *look, struct buf *out);
