/* SPDX-License-Identifier: Apache-2.0 */
/* A plan for people and for programs. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "fleet/plan_internal.h"
#include "repo/artifact.h"

#define SHOWN_NODES 12
#define ONE_LINE_MAX 60 /* bytes of a name and two values that stand side by side */
#define SHORT_DIGEST 12

static const char signs[] = {[PLAN_CREATE] = '+', [PLAN_CHANGE] = '~', [PLAN_REMOVE] = '-'};

struct writer {
        struct buf *out;
        bool colour;
        size_t width;
        bool nodes; /* each node's artifacts one by one */
};

static const char *colour_of(char sign) {
        return sign == '+'                  ? "\033[32m"
               : sign == '-'                ? "\033[31m"
               : sign == '~' || sign == '>' ? "\033[33m"
                                            : NULL;
}

static void write_line(struct writer *w, char sign, const char *indent, const char *format, ...)
        _printf_(4, 5);
static void write_line(struct writer *w, char sign, const char *indent, const char *format, ...) {
        const char *colour = w->colour ? colour_of(sign) : NULL;
        va_list ap;

        buf_printf(w->out, "%s%s%c ", indent, colour ? colour : "", sign);
        va_start(ap, format);
        buf_vprintf(w->out, format, ap);
        va_end(ap);
        buf_printf(w->out, "%s\n", colour ? "\033[0m" : "");
}

static char sign_of(const struct plan_change *c) {
        return c->lines || (c->before && c->after) ? '~' : c->after ? '+' : '-';
}

/* "artifacts[web].version" and "artifacts[web]" are read as "artifact web". */
static bool artifact_name(const char *path, char *out, size_t size) {
        const char *name = str_after_prefix(path, "artifacts["), *end = name ? strchr(name, ']') : NULL;

        if (!end || !(str_eq(end, "]") || str_eq(end, "].version")))
                return false;
        (void)snprintf(out, size, "%.*s", (int)(end - name), name);
        return true;
}

static void write_change(struct writer *w, const struct plan_change *c, const char *indent,
                         const char *what) {
        char artifact[ARTIFACT_NAME_MAX + 1];

        if (artifact_name(c->path, artifact, sizeof artifact)) {
                bool both = c->before && c->after;
                write_line(w, sign_of(c), indent, "artifact %s %s%s%s", artifact,
                           c->before ? c->before : c->after, both ? " -> " : "", both ? c->after : "");
                return;
        }
        if (c->lines) {
                write_line(w, '~', indent, "%s%s", what, c->path);
                for (size_t i = 0; i < c->n_lines; i++)
                        write_line(w, c->lines[i][0], "            ", "%s", c->lines[i] + 1);
        } else if (c->before && c->after &&
                   strlen(c->path) + strlen(c->before) + strlen(c->after) <= ONE_LINE_MAX) {
                write_line(w, '~', indent, "%s%s: %s -> %s", what, c->path, c->before, c->after);
        } else if (c->before && c->after) {
                write_line(w, '~', indent, "%s%s", what, c->path);
                write_line(w, '-', "            ", "%s", c->before);
                write_line(w, '+', "            ", "%s", c->after);
        } else {
                write_line(w, sign_of(c), indent, "%s%s: %s", what, c->path, c->after ? c->after : c->before);
        }
}

/* From column `indent` on, in as many lines as it takes. */
static void write_nodes(struct writer *w, const struct plan_wave *wave, size_t indent) {
        static const char such_as[] = "such as ";
        size_t at = indent;

        if (!wave->exact) {
                buf_puts(w->out, such_as);
                at += strlen(such_as);
        }
        for (size_t i = 0; i < wave->n_nodes && i < SHOWN_NODES; i++) {
                bool last = i + 1 == wave->n_nodes || i + 1 == SHOWN_NODES;
                size_t len = strlen(wave->nodes[i]) + !last; /* and a comma */
                if (i > 0 && w->width > 0 && at + 1 + len > w->width) {
                        buf_printf(w->out, "\n%*s", (int)indent, "");
                        at = indent;
                } else if (i > 0) {
                        buf_putc(w->out, ' ');
                        at++;
                }
                buf_printf(w->out, "%s%s", wave->nodes[i], last ? "" : ",");
                at += len;
        }
        if (wave->n_nodes > SHOWN_NODES)
                buf_printf(w->out, " and %zu more", wave->n_nodes - SHOWN_NODES);
}

static const char *bytes_text(int64_t bytes, char out[24]) {
        static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
        double n = (double)bytes;
        size_t unit = 0;

        for (; n >= 999.5 && unit + 1 < ARRAY_SIZE(units); unit++)
                n /= 1000;
        (void)snprintf(out, 24, unit == 0 || n >= 100 ? "%.0f %s" : "%.1f %s", n, units[unit]);
        return out;
}

static bool same_artifact(const struct plan_transfer *a, const struct plan_transfer *b) {
        return str_eq(a->artifact, b->artifact) && str_eq(a->version, b->version);
}

/* "artifact web 1.3.0: 11 by delta, 1 whole; 143 MB", for each artifact of the wave. */
static void write_sums(struct writer *w, const struct plan_transfer *all, size_t n) {
        static const char *const how[] = {[FETCH_NOTHING] = "there already",
                                          [FETCH_DELTA] = "by delta",
                                          [FETCH_CHUNKS] = "by chunks",
                                          [FETCH_WHOLE] = "whole",
                                          [FETCH_REFUSED] = "not at all"};
        char text[24];

        for (size_t i = 0; i < n; i++) {
                size_t counts[ARRAY_SIZE(how)] = {0}, first = 0;
                int64_t bytes = 0;
                const char *separator = ": ";

                while (!same_artifact(&all[first], &all[i]))
                        first++;
                if (first < i)
                        continue; /* summed up already */
                for (size_t j = i; j < n; j++)
                        if (same_artifact(&all[i], &all[j])) {
                                counts[all[j].way]++;
                                bytes += all[j].bytes;
                        }
                buf_printf(w->out, "           artifact %s %s", all[i].artifact, all[i].version);
                for (size_t k = 0; k < ARRAY_SIZE(how); k++)
                        if (counts[k] > 0) {
                                buf_printf(w->out, "%s%zu %s", separator, counts[k], how[k]);
                                separator = ", ";
                        }
                buf_printf(w->out, "; %s to fetch\n", bytes_text(bytes, text));
        }
}

static void write_transfers(struct writer *w, const struct plan_fleet *f, const struct plan_wave *wave) {
        const struct plan_transfer *all = f->transfers + wave->first_transfer;
        char text[24], whole[24];

        if (!w->nodes) {
                write_sums(w, all, wave->n_transfers);
                return;
        }
        for (size_t i = 0; i < wave->n_transfers; i++)
                buf_printf(w->out, "           %s: %s %s, %s, %s of %s: %s\n", all[i].node, all[i].artifact,
                           all[i].version, fetch_way_name(all[i].way), bytes_text(all[i].bytes, text),
                           bytes_text(all[i].bytes_whole, whole), all[i].reason);
}

static void write_blocked(struct writer *w, const struct plan_fleet *f) {
        for (size_t i = 0; i < f->n_blocked && i < SHOWN_NODES; i++)
                write_line(w, '-', "    ", "node %s waits: %s", f->blocked[i].node, f->blocked[i].reason);
        if (f->n_blocked > SHOWN_NODES)
                buf_printf(w->out, "      and %zu nodes more wait\n", f->n_blocked - SHOWN_NODES);
}

static void write_waves(struct writer *w, const struct plan_fleet *f) {
        size_t width = 0;

        if (f->n_waves == 0) {
                buf_puts(w->out, "    no node is selected\n");
                return;
        }
        for (size_t i = 0; i < f->n_waves; i++)
                width = MAX(width, strlen(f->waves[i].name));
        buf_printf(w->out, "    %zu node%s in %zu wave%s%s%s\n", f->n_nodes, f->n_nodes == 1 ? "" : "s",
                   f->n_waves, f->n_waves == 1 ? "" : "s", f->rollout ? ", rollout " : "",
                   f->rollout ? f->rollout : "");
        for (size_t i = 0; i < f->n_waves; i++) {
                const struct plan_wave *wave = &f->waves[i];
                buf_printf(w->out, "      %zu. %-*s  %4zu node%s  ", i + 1, (int)width, wave->name,
                           wave->n_nodes, wave->n_nodes == 1 ? " " : "s");
                write_nodes(w, wave, strlen("      1.   1000 nodes  ") + width + (i + 1 >= 10));
                buf_putc(w->out, '\n');
                write_transfers(w, f, wave);
        }
        write_blocked(w, f);
}

static void write_fleet(struct writer *w, const struct plan_fleet *f) {
        if (f->action == PLAN_REMOVE) {
                write_line(w, '-', "", "fleet %s: its %zu node%s", f->name, f->n_nodes,
                           f->n_nodes == 1 ? " keeps what it runs" : "s keep what they run");
                return;
        }
        if (f->before)
                write_line(w, '~', "", "fleet %s: revision %.*s -> %.*s", f->name, SHORT_DIGEST, f->before,
                           SHORT_DIGEST, f->after);
        else
                write_line(w, '+', "", "fleet %s: revision %.*s", f->name, SHORT_DIGEST, f->after);
        for (size_t i = 0; i < f->variables.n; i++)
                write_change(w, &f->variables.items[i], "    ", "variable ");
        for (size_t i = 0; i < f->n_apps; i++) {
                write_line(w, signs[f->apps[i].action], "    ", "app %s (%s)", f->apps[i].name,
                           f->apps[i].driver);
                for (size_t j = 0; j < f->apps[i].changes.n; j++)
                        write_change(w, &f->apps[i].changes.items[j], "        ", "");
        }
        write_waves(w, f);
}

static void write_node(struct writer *w, const struct plan_node_change *n) {
        switch (n->action) {
        case PLAN_NODE_MOVE:
                write_line(w, '>', "", "node %s moves from fleet %s to fleet %s", n->name, n->from, n->to);
                break;
        case PLAN_NODE_JOIN: write_line(w, '+', "", "node %s joins fleet %s", n->name, n->to); break;
        case PLAN_NODE_LEAVE:
                write_line(w, '-', "", "node %s leaves fleet %s and keeps what it runs", n->name, n->from);
                break;
        case PLAN_NODE_SETTINGS:
                write_line(w, '~', "", "node %s gets other labels or variables", n->name);
                break;
        }
}

static void format(const struct plan *p, struct writer w) {
        struct buf *out = w.out;

        if (plan_is_empty(p)) {
                buf_puts(out, "nothing would change\n");
                return;
        }
        for (size_t i = 0; i < p->n_fleets; i++) {
                if (i > 0)
                        buf_putc(out, '\n');
                write_fleet(&w, &p->fleets[i]);
        }
        if (p->n_fleets > 0 && p->n_nodes > 0)
                buf_putc(out, '\n');
        for (size_t i = 0; i < p->n_nodes; i++)
                write_node(&w, &p->nodes[i]);
}

void plan_format(const struct plan *p, bool colour, size_t width, struct buf *out) {
        format(p, (struct writer){out, colour, width, false});
}

void plan_format_nodes(const struct plan *p, bool colour, size_t width, struct buf *out) {
        format(p, (struct writer){out, colour, width, true});
}

/* ---- JSON */

/* Values are cut between characters and come from JSON or UTF-8 files, so json_string() takes them. NULL in
 * items makes the whole fail, which is right: only memory can be short. */

static json_t *text_or_null(const char *s) {
        return s ? json_string(s) : json_null();
}

static json_t *change_to_json(const struct plan_change *c) {
        json_t *j = json_pack("{s:s}", "path", c->path), *lines;

        if (j && c->before)
                (void)json_object_set_new(j, "before", json_string(c->before));
        if (j && c->after)
                (void)json_object_set_new(j, "after", json_string(c->after));
        if (j && c->lines) {
                lines = json_array();
                for (size_t i = 0; i < c->n_lines; i++)
                        (void)json_array_append_new(lines, json_string(c->lines[i]));
                (void)json_object_set_new(j, "diff", lines);
        }
        return j;
}

static json_t *changes_to_json(const struct plan_changes *c) {
        json_t *j = json_array();
        for (size_t i = 0; i < c->n; i++)
                (void)json_array_append_new(j, change_to_json(&c->items[i]));
        return j;
}

static json_t *apps_to_json(const struct plan_fleet *f) {
        json_t *j = json_array();
        for (size_t i = 0; i < f->n_apps; i++)
                (void)json_array_append_new(j, json_pack("{s:s, s:s, s:s, s:o}", "name", f->apps[i].name,
                                                         "driver", f->apps[i].driver, "action",
                                                         plan_action_names[f->apps[i].action], "changes",
                                                         changes_to_json(&f->apps[i].changes)));
        return j;
}

static json_t *waves_to_json(const struct plan_fleet *f) {
        json_t *j = json_array();
        for (size_t i = 0; i < f->n_waves; i++) {
                json_t *nodes = json_array();
                for (size_t k = 0; k < f->waves[i].n_nodes; k++)
                        (void)json_array_append_new(nodes, json_string(f->waves[i].nodes[k]));
                json_t *wave = json_pack("{s:s, s:b, s:o}", "name", f->waves[i].name, "exact",
                                         (int)f->waves[i].exact, "nodes", nodes);
                int64_t bytes = 0;
                for (size_t k = 0; k < f->waves[i].n_transfers; k++)
                        bytes += f->transfers[f->waves[i].first_transfer + k].bytes;
                if (wave && f->blocked)
                        (void)json_object_set_new(wave, "bytes", json_integer(bytes));
                (void)json_array_append_new(j, wave);
        }
        return j;
}

static void add_transfers(json_t *fleet, const struct plan_fleet *f) {
        json_t *transfers = json_array(), *blocked = json_array();

        for (size_t i = 0; i < f->n_transfers; i++) {
                const struct plan_transfer *t = &f->transfers[i];
                (void)json_array_append_new(transfers,
                                            json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:s}", "node",
                                                      t->node, "artifact", t->artifact, "version", t->version,
                                                      "platform", t->platform, "way", fetch_way_name(t->way),
                                                      "bytes", (json_int_t)t->bytes, "bytesWhole",
                                                      (json_int_t)t->bytes_whole, "reason", t->reason));
        }
        for (size_t i = 0; i < f->n_blocked; i++)
                (void)json_array_append_new(blocked, json_pack("{s:s, s:s}", "node", f->blocked[i].node,
                                                               "reason", f->blocked[i].reason));
        (void)json_object_set_new(fleet, "transfers", transfers);
        (void)json_object_set_new(fleet, "blocked", blocked);
}

json_t *plan_to_json(const struct plan *p) {
        json_t *fleets = json_array(), *nodes = json_array();

        for (size_t i = 0; i < p->n_fleets; i++) {
                const struct plan_fleet *f = &p->fleets[i];
                json_t *fleet = json_pack(
                        "{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "name", f->name, "action",
                        plan_action_names[f->action], "before", text_or_null(f->before), "after",
                        text_or_null(f->after), "rollout", text_or_null(f->rollout), "variables",
                        changes_to_json(&f->variables), "apps", apps_to_json(f), "waves", waves_to_json(f));
                if (fleet && f->blocked)
                        add_transfers(fleet, f);
                (void)json_array_append_new(fleets, fleet);
        }
        for (size_t i = 0; i < p->n_nodes; i++)
                (void)json_array_append_new(
                        nodes, json_pack("{s:s, s:s, s:o, s:o}", "name", p->nodes[i].name, "action",
                                         plan_node_action_names[p->nodes[i].action], "from",
                                         text_or_null(p->nodes[i].from), "to", text_or_null(p->nodes[i].to)));
        return json_pack("{s:b, s:o, s:o}", "changes", (int)!plan_is_empty(p), "fleets", fleets, "nodes",
                         nodes);
}
