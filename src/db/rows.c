/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "db/backend.h"

struct db_rows {
        struct arena *arena; /* text and blobs */
        struct db_value *cells;
        size_t columns, n, cap; /* in rows */
};

struct db_rows *db_rows_new(size_t columns) {
        struct db_rows *r = calloc(1, sizeof(*r));
        if (!r)
                return NULL;
        r->columns = columns;
        r->arena = arena_new(DB_ROWS_MAX_BYTES);
        return r->arena ? r : db_rows_free(r);
}

struct db_rows *db_rows_free(struct db_rows *r) {
        if (!r)
                return NULL;
        arena_free(r->arena);
        free(r->cells);
        free(r);
        return NULL;
}

struct db_value *db_rows_add(struct db_rows *r) {
        size_t width = MAX(r->columns, 1u);
        if (r->n == r->cap) {
                size_t cap = MAX(r->cap * 2, 16u);
                if (cap > DB_ROWS_MAX_BYTES / sizeof(struct db_value) / width)
                        return NULL;
                struct db_value *cells = reallocarray(r->cells, cap * width, sizeof(*cells));
                if (!cells)
                        return NULL;
                r->cells = cells;
                r->cap = cap;
        }
        struct db_value *row = r->cells + r->n * width;
        memset(row, 0, width * sizeof(*row));
        r->n++;
        return row;
}

int db_rows_put(struct db_rows *r, struct db_value *cell, enum db_type type, const void *data, size_t len) {
        char *copy = len < DB_ROWS_MAX_BYTES ? arena_alloc(r->arena, len + 1) : NULL;
        if (!copy)
                return -ENOMEM;
        if (len > 0)
                memcpy(copy, data, len);
        *cell = (struct db_value){.type = type, .data = copy, .len = len};
        return 0;
}

/* A cell outside the result reads as NULL. */
static const struct db_value *cell_at(const struct db_rows *r, size_t row, size_t column) {
        static const struct db_value null_value = {.type = DB_NULL};
        if (!r || row >= r->n || column >= r->columns)
                return &null_value;
        return &r->cells[row * r->columns + column];
}

size_t db_rows_len(const struct db_rows *r) {
        return r ? r->n : 0;
}

bool db_is_null(const struct db_rows *r, size_t row, size_t column) {
        return cell_at(r, row, column)->type == DB_NULL;
}

int64_t db_int(const struct db_rows *r, size_t row, size_t column) {
        return cell_at(r, row, column)->integer;
}

const char *db_text(const struct db_rows *r, size_t row, size_t column) {
        const struct db_value *v = cell_at(r, row, column);
        return v->type == DB_TEXT ? v->data : NULL;
}

const void *db_blob(const struct db_rows *r, size_t row, size_t column, size_t *ret_len) {
        const struct db_value *v = cell_at(r, row, column);
        bool has_bytes = v->type == DB_BLOB || v->type == DB_TEXT;
        *ret_len = has_bytes ? v->len : 0;
        return has_bytes ? v->data : NULL;
}
