/* SPDX-License-Identifier: Apache-2.0 */
/* Tables for people: columns as wide as they need, made to fit the terminal.
 *
 * Where the rows are wider than the terminal, columns of a wide table that hold nothing are left out, then
 * those marked COLUMN_SHRINK give way (down to 8 columns, COLUMN_TEXT down to 24), then those marked
 * COLUMN_OPTIONAL or COLUMN_WIDE are left out, from the right, then what is left is cut. */
#pragma once

#include "cli/style.h"

enum {
        COLUMN_WIDE = 1,     /* only in wide tables */
        COLUMN_SHRINK = 2,   /* text that may be cut */
        COLUMN_OPTIONAL = 4, /* may be left out */
        COLUMN_RIGHT = 8,    /* numbers */
        COLUMN_TEXT = 16,    /* sentences: may be cut, but a word or two tell nothing */
        COLUMN_AGE = 32,     /* changes as time goes by, without anything having happened */
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
/* A row's cells as one text, without those of COLUMN_AGE and, unless wide, of COLUMN_WIDE: two rows with the
 * same text say the same. NULL when memory is out. */
char *columns_row_text(const struct columns *t, size_t row, bool wide) _must_use_;

struct columns_look {
        size_t width; /* of the terminal; 0: no limit */
        bool wide, colour, unicode, no_titles;
        bool only_changes; /* with widths: titles only where columns had to move */
        size_t *widths;    /* one for each column, at first 0: columns never get narrower than in the prints
                              before that had the same array, and titles are printed again where columns had to
                              move; NULL: each print for itself */
        struct buf *left_out; /* receives the titles of wide columns that there was no room for ("A, B"); may
                                 be NULL */
};
/* -ENOMEM. */
int columns_print(const struct columns *t, const struct columns_look *look, struct buf *out);
