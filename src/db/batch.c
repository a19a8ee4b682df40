/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "db/backend.h"

struct db_batch *db_batch_new(void) {
        struct db_batch *b = calloc(1, sizeof(*b));
        if (!b)
                return NULL;
        b->arena = arena_new(0);
        if (!b->arena) {
                free(b);
                return NULL;
        }
        return b;
}

struct db_batch *db_batch_free(struct db_batch *b) {
        if (!b)
                return NULL;
        arena_free(b->arena);
        free(b->message);
        free(b);
        return NULL;
}

bool db_batch_is_empty(const struct db_batch *b) {
        return b->n_statements == 0;
}

/* Text and blobs get a NUL behind them either way, so that text can be read as a C string. */
static int value_copy(struct arena *arena, struct db_value *v, enum db_type type, const void *data,
                      size_t len) {
        if (!data && (type == DB_TEXT || len == 0)) {
                v->type = data || type == DB_TEXT ? DB_NULL : DB_BLOB;
                v->data = "";
                return 0;
        }
        if (!data || len > SIZE_MAX - 1)
                return -EINVAL;
        char *copy = arena_alloc(arena, len + 1);
        if (!copy)
                return -ENOMEM;
        memcpy(copy, data, len);
        *v = (struct db_value){.type = type, .data = copy, .len = len};
        return 0;
}

static int statement_fill(struct arena *arena, struct db_statement *s, const char *types, va_list ap) {
        for (size_t i = 0; i < s->n_values; i++) {
                struct db_value *v = &s->values[i];
                int r = 0;
                switch (types[i]) {
                case 's': {
                        const char *text = va_arg(ap, const char *);
                        r = value_copy(arena, v, DB_TEXT, text, text ? strlen(text) : 0);
                        break;
                }
                case 'i': *v = (struct db_value){.type = DB_INT, .integer = va_arg(ap, int64_t)}; break;
                case 'b': {
                        const void *data = va_arg(ap, const void *);
                        size_t len = va_arg(ap, size_t);
                        r = value_copy(arena, v, DB_BLOB, data, len);
                        break;
                }
                case 'n': v->type = DB_NULL; break;
                default: r = -EINVAL; break;
                }
                if (r < 0)
                        return r;
        }
        return 0;
}

int db_statement_make(struct arena *arena, const char *sql, const char *types, va_list ap,
                      struct db_statement **ret) {
        size_t n = strlen(types);
        if (n > DB_PARAMETERS_MAX)
                return -EINVAL;
        struct db_statement *s = arena_alloc(arena, sizeof(*s));
        if (!s)
                return -ENOMEM;
        s->sql = sql;
        s->n_values = n;
        s->values = n > 0 ? arena_calloc(arena, n, sizeof(*s->values)) : NULL;
        if (n > 0 && !s->values)
                return -ENOMEM;
        int r = statement_fill(arena, s, types, ap);
        if (r < 0)
                return r;
        *ret = s;
        return 0;
}

int db_batch_add(struct db_batch *b, const char *sql, const char *types, ...) {
        /* A batch often says the same thing of many rows: keep one copy of the text. */
        const char *text =
                b->last && strcmp(b->last->sql, sql) == 0 ? b->last->sql : arena_strdup(b->arena, sql);
        struct db_statement *s = NULL;
        int r = text ? 0 : -ENOMEM;
        if (r == 0) {
                va_list ap;
                va_start(ap, types);
                r = db_statement_make(b->arena, text, types, ap, &s);
                va_end(ap);
        }
        if (r < 0) {
                b->failed = r;
                return r;
        }
        if (b->last)
                b->last->next = s;
        else
                b->first = s;
        b->last = s;
        b->n_statements++;
        return 0;
}
