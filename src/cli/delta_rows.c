/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/delta_rows.h"

#include <stdio.h>
#include <stdlib.h>

#include "cli/print.h"

#define ROWS_SHOWN 14

json_t *delta_rows_json(const struct delta_report *report) {
        json_t *rows = json_array();
        for (size_t i = 0; i < report->n; i++)
                (void)json_array_append_new(rows,
                                            json_pack("{s:s, s:I, s:I}", "kind", report->rows[i].kind,
                                                      "targetBytes", (json_int_t)report->rows[i].target_bytes,
                                                      "deltaBytes", (json_int_t)report->rows[i].delta_bytes));
        return rows;
}

static int dearest_first(const void *a, const void *b) {
        const struct delta_report_row *x = *(const struct delta_report_row *const *)a,
                                      *y = *(const struct delta_report_row *const *)b;
        return x->delta_bytes < y->delta_bytes ? 1 : -(x->delta_bytes > y->delta_bytes);
}

static void put_row(struct buf *out, const char *indent, const char *kind, int64_t target, int64_t delta) {
        char a[32], b[32];
        buf_printf(out, "%s%-32s %14s %14s\n", indent, kind, bytes_format(target, a, sizeof(a)),
                   bytes_format(delta, b, sizeof(b)));
}

void delta_rows_put(struct buf *out, const char *indent, const struct delta_report *report) {
        const struct delta_report_row *rows[DELTA_REPORT_MAX];
        int64_t target = 0, delta = 0;
        char others[32];
        for (size_t i = 0; i < report->n; i++)
                rows[i] = &report->rows[i];
        qsort(rows, report->n, sizeof(*rows), dearest_first);
        /* One line that says "1 other" would take no less room than that one. */
        size_t shown = report->n <= ROWS_SHOWN + 1 ? report->n : ROWS_SHOWN;
        buf_printf(out, "%s%-32s %14s %14s\n", indent, "KIND", "REBUILDS", "COSTS");
        for (size_t i = 0; i < shown; i++)
                put_row(out, indent, rows[i]->kind, rows[i]->target_bytes, rows[i]->delta_bytes);
        for (size_t i = shown; i < report->n; i++) {
                target += rows[i]->target_bytes;
                delta += rows[i]->delta_bytes;
        }
        (void)snprintf(others, sizeof(others), "%zu others", report->n - shown);
        if (shown < report->n)
                put_row(out, indent, others, target, delta);
}
