/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/diagnostic.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"

#define KEPT_MAX 1000

struct kept {
        struct diagnostic diagnostic;
        size_t order; /* of arrival: what stands at one place stays in it */
};

struct diagnostics {
        struct arena *arena;
        struct kept *items;
        size_t n, cap;
        size_t n_added, n_errors; /* those not kept included */
};

struct diagnostics *diagnostics_new(void) {
        struct diagnostics *d = calloc(1, sizeof(*d));
        if (!d)
                return NULL;
        d->arena = arena_new(0);
        if (!d->arena)
                return diagnostics_free(d);
        return d;
}

struct diagnostics *diagnostics_free(struct diagnostics *d) {
        if (!d)
                return NULL;
        arena_free(d->arena);
        free(d->items);
        free(d);
        return NULL;
}

/* A place for one more; where there is none an error takes that of the newest warning. NULL: not kept. */
static struct kept *place_for(struct diagnostics *d, enum severity s) {
        if (d->n == KEPT_MAX) {
                if (s == SEVERITY_ERROR)
                        for (size_t i = d->n; i-- > 0;)
                                if (d->items[i].diagnostic.severity == SEVERITY_WARNING)
                                        return &d->items[i];
                return NULL;
        }
        if (d->n == d->cap) {
                size_t cap = MAX(d->cap * 2, (size_t)16);
                struct kept *grown = reallocarray(d->items, cap, sizeof(*grown));
                if (!grown)
                        return NULL;
                d->items = grown;
                d->cap = cap;
        }
        return &d->items[d->n++];
}

void diagnostics_add(struct diagnostics *d, enum severity s, const struct position *where,
                     const char *suggestion, const char *format, ...) {
        d->n_added++;
        if (s == SEVERITY_ERROR)
                d->n_errors++;
        struct kept *k = place_for(d, s);
        if (!k)
                return;
        char *text = NULL;
        va_list ap;
        va_start(ap, format);
        if (vasprintf(&text, format, ap) < 0)
                text = NULL;
        va_end(ap);
        /* Without memory for its words it still is told that and where something is wrong. */
        const char *message = text ? arena_strdup(d->arena, text) : NULL;
        free(text);
        *k = (struct kept){
                .order = d->n_added,
                .diagnostic =
                        {
                                .severity = s,
                                .file = where && where->file ? arena_strdup(d->arena, where->file) : "",
                                .line = where ? where->line : 0,
                                .column = where ? where->column : 0,
                                .message = message ? message : "no memory to say what is wrong",
                                .suggestion = suggestion ? arena_strdup(d->arena, suggestion) : NULL,
                        },
        };
        if (!k->diagnostic.file)
                k->diagnostic.file = "";
}

size_t diagnostics_len(const struct diagnostics *d) {
        return d->n;
}

size_t diagnostics_errors(const struct diagnostics *d) {
        return d->n_errors;
}

const struct diagnostic *diagnostics_at(const struct diagnostics *d, size_t i) {
        return i < d->n ? &d->items[i].diagnostic : NULL;
}

static int compare(const void *a, const void *b) {
        const struct kept *x = a, *y = b;
        int r = strcmp(x->diagnostic.file, y->diagnostic.file);
        if (r != 0)
                return r;
        if (x->diagnostic.line != y->diagnostic.line)
                return x->diagnostic.line < y->diagnostic.line ? -1 : 1;
        if (x->diagnostic.column != y->diagnostic.column)
                return x->diagnostic.column < y->diagnostic.column ? -1 : 1;
        return (x->order > y->order) - (x->order < y->order);
}

void diagnostics_sort(struct diagnostics *d) {
        if (d->n > 1)
                qsort(d->items, d->n, sizeof(*d->items), compare);
}

static const char *severity_name(enum severity s) {
        return s == SEVERITY_ERROR ? "error" : "warning";
}

void diagnostics_format(const struct diagnostics *d, struct buf *out) {
        for (size_t i = 0; i < d->n; i++) {
                const struct diagnostic *x = &d->items[i].diagnostic;
                if (x->file[0]) {
                        buf_puts(out, x->file);
                        if (x->line > 0)
                                buf_printf(out, ":%" PRIu32 ":%" PRIu32, x->line, x->column);
                        buf_puts(out, ": ");
                }
                buf_printf(out, "%s: %s", severity_name(x->severity), x->message);
                if (x->suggestion)
                        buf_printf(out, " (%s)", x->suggestion);
                buf_putc(out, '\n');
        }
        if (d->n_added > d->n)
                buf_printf(out, "and %zu more\n", d->n_added - d->n);
}

/* Words may quote what is not UTF-8, which JSON cannot hold: other words then. */
static json_t *text_or(const char *text, const char *other) {
        json_t *j = text ? json_string(text) : NULL;
        if (j)
                return j;
        return other ? json_string(other) : json_null();
}

json_t *diagnostics_to_json(const struct diagnostics *d) {
        json_t *list = json_array();
        for (size_t i = 0; list && i < d->n; i++) {
                const struct diagnostic *x = &d->items[i].diagnostic;
                json_t *one = json_pack("{s:s, s:o, s:I, s:I, s:o, s:o}", "severity",
                                        severity_name(x->severity), "file", text_or(x->file, "?"), "line",
                                        (json_int_t)x->line, "column", (json_int_t)x->column, "message",
                                        text_or(x->message, "the text here is not UTF-8"), "suggestion",
                                        text_or(x->suggestion, NULL));
                if (!one || json_array_append_new(list, one) < 0) {
                        json_decref(list);
                        return NULL;
                }
        }
        return list;
}
