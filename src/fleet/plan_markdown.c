/* SPDX-License-Identifier: Apache-2.0 */
/* A plan as a comment on a pull request. Everything that comes from the repository stands in code: it cannot
 * mention people, draw links or end the fold. */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "fleet/plan_internal.h"

/* Text of a table's cell, as code. */
static void put_code(struct buf *out, const char *text) {
        buf_puts(out, "`");
        for (const char *p = text; *p; p++)
                buf_putc(out, *p == '`' ? '\'' : *p == '|' ? '/' : (unsigned char)*p < ' ' ? ' ' : *p);
        buf_puts(out, "`");
}

static void put_apps(struct buf *out, const struct plan_fleet *f) {
        static const char *const words[] = {
                [PLAN_CREATE] = "new", [PLAN_CHANGE] = "changed", [PLAN_REMOVE] = "removed"};
        size_t counts[ARRAY_SIZE(words)] = {0};
        bool any = false;
        for (size_t i = 0; i < f->n_apps; i++)
                counts[f->apps[i].action]++;
        for (size_t i = 0; i < ARRAY_SIZE(words); i++)
                if (counts[i]) {
                        buf_printf(out, "%s%zu %s", any ? ", " : "", counts[i], words[i]);
                        any = true;
                }
        if (!any)
                buf_puts(out, "none");
}

static void put_fleet(struct buf *out, const struct plan_fleet *f) {
        int64_t bytes = 0;
        for (size_t i = 0; i < f->n_transfers; i++)
                bytes += f->transfers[i].bytes;
        buf_puts(out, "| ");
        put_code(out, f->name);
        buf_printf(out, " | %s | ", plan_action_names[f->action]);
        put_apps(out, f);
        buf_printf(out, " | %zu | ", f->n_nodes);
        for (size_t i = 0; i < f->n_waves; i++) {
                buf_puts(out, i ? ", " : "");
                put_code(out, f->waves[i].name);
                buf_printf(out, " %zu", f->waves[i].n_nodes);
        }
        if (f->n_transfers)
                buf_printf(out, " | %.1f MB", (double)bytes / 1e6);
        else
                buf_puts(out, " | ");
        if (f->n_blocked)
                buf_printf(out, " | **%zu cannot take it** |\n", f->n_blocked);
        else
                buf_puts(out, " | |\n");
}

/* A fence that the text cannot close: longer than any run of backticks in it. */
static size_t fence_length(const char *text) {
        size_t longest = 2, run = 0;
        for (const char *p = text; *p; p++) {
                run = *p == '`' ? run + 1 : 0;
                longest = MAX(longest, run);
        }
        return longest + 1;
}

static void put_fence(struct buf *out, size_t n) {
        for (size_t i = 0; i < n; i++)
                buf_putc(out, '`');
}

/* Indented signs are moved to the line's beginning, where highlighting of differences looks for them. */
static void put_diff(struct buf *out, const char *text, size_t limit) {
        size_t fence = fence_length(text);
        buf_puts(out, "\n<details><summary>The whole plan</summary>\n\n");
        put_fence(out, fence);
        buf_puts(out, "diff\n");
        for (const char *line = text; *line;) {
                size_t n = strcspn(line, "\n"), blanks = strspn(line, " ");
                if (out->len + n + 200 > limit) {
                        buf_puts(out, "... and more: run skerry plan for the rest\n");
                        break;
                }
                if (blanks > 0 && blanks < n && strchr("+-", line[blanks]) && line[blanks + 1] == ' ') {
                        buf_putc(out, line[blanks]);
                        buf_append(out, line, blanks);
                        buf_append(out, line + blanks + 1, n - blanks - 1);
                } else
                        buf_append(out, line, n);
                buf_putc(out, '\n');
                line += n + (line[n] == '\n');
        }
        put_fence(out, fence);
        buf_puts(out, "\n\n</details>\n");
}

void plan_format_markdown(const struct plan *p, struct buf *out) {
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        buf_puts(out, "### What this changes\n\n");
        if (plan_is_empty(p)) {
                buf_puts(out, "No changes.\n");
                return;
        }
        if (p->n_fleets)
                buf_puts(out, "| fleet | is | apps | nodes | waves | to fetch | "
                              "|\n|---|---|---|---:|---|---:|---|\n");
        for (size_t i = 0; i < p->n_fleets; i++) {
                if (out->len > PLAN_MARKDOWN_MAX / 2) {
                        buf_printf(out, "\n... and %zu more fleets\n", p->n_fleets - i);
                        break;
                }
                put_fleet(out, &p->fleets[i]);
        }
        if (p->n_nodes)
                buf_printf(out, "\n%zu node%s change%s fleet or settings.\n", p->n_nodes,
                           p->n_nodes == 1 ? "" : "s", p->n_nodes == 1 ? "s" : "");
        plan_format(p, false, 0, &text);
        put_diff(out, buf_str(&text), PLAN_MARKDOWN_MAX);
}
