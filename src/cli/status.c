/* SPDX-License-Identifier: Apache-2.0 */
/* skerry status: everything that matters, on one screen. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "cli/kinds.h"
#include "codec/json.h"

#define NAMES_SHOWN 5 /* of nodes that are not well */

struct settings {
        struct cli_globals globals;
        char *output;
};

static const struct option_spec options[] = {
        {"output", 'o', OPTION_CHOICE, offsetof(struct settings, output), "FORMAT", "table", "How to print",
         OUTPUT_CHOICES},
        OPTIONS_END,
};

struct node_counts {
        size_t all, connected, away, revoked, healthy, failed, working, unowned;
};

static void count_nodes(const json_t *items, struct node_counts *c) {
        size_t i;
        json_t *o;
        json_array_foreach ((json_t *)items, i, o) {
                const char *state = field_text(o, "status.observed.state");
                if (field_bool(o, "status.revoked")) {
                        c->revoked++;
                        continue;
                }
                c->all++;
                if (field_bool(o, "status.connected"))
                        c->connected++;
                else
                        c->away++;
                if (!*field_text(o, "status.fleet"))
                        c->unowned++;
                if (str_eq(state, "Healthy"))
                        c->healthy++;
                else if (str_eq(state, "Failed") || str_eq(state, "RolledBack"))
                        c->failed++;
                else if (*state)
                        c->working++;
        }
}

static void put_count(struct buf *out, bool colour, size_t n, const char *what, enum style style) {
        if (n == 0)
                return;
        buf_puts(out, out->len && out->data[out->len - 1] != ' ' ? ", " : "");
        style_printf(out, colour, style, "%zu %s", n, what);
}

static void put_nodes(struct buf *out, const json_t *items, bool colour) {
        struct node_counts c = {0};
        count_nodes(items, &c);
        style_puts(out, colour, STYLE_BOLD, "Nodes     ");
        if (c.all == 0) {
                buf_puts(out, "none yet; 'skerry token create' makes a token by which agents join\n");
                return;
        }
        put_count(out, colour, c.connected, "connected", c.connected == c.all ? STYLE_GOOD : STYLE_NONE);
        put_count(out, colour, c.away, "away", STYLE_WARN);
        put_count(out, colour, c.healthy, "healthy", c.healthy == c.all ? STYLE_GOOD : STYLE_NONE);
        put_count(out, colour, c.working, "under way", STYLE_ACTIVE);
        put_count(out, colour, c.failed, "failed", STYLE_BAD);
        put_count(out, colour, c.unowned, "in no fleet", STYLE_WARN);
        put_count(out, colour, c.revoked, "revoked", STYLE_DIM);
        buf_printf(out, ", of %zu\n", c.all);
}

/* The first nodes that failed, with what they say. */
static void put_failed_nodes(struct buf *out, const json_t *items, bool colour) {
        size_t i, shown = 0, failed = 0;
        json_t *o;
        json_array_foreach ((json_t *)items, i, o) {
                const char *state = field_text(o, "status.observed.state");
                if (field_bool(o, "status.revoked") ||
                    (!str_eq(state, "Failed") && !str_eq(state, "RolledBack")))
                        continue;
                failed++;
                if (shown == NAMES_SHOWN)
                        continue;
                shown++;
                buf_puts(out, "          ");
                style_puts(out, colour, STYLE_BAD, state);
                buf_puts(out, " ");
                text_put_safe(out, object_name(o));
                if (*field_text(o, "status.observed.message")) {
                        buf_puts(out, ": ");
                        text_put_safe(out, field_text(o, "status.observed.message"));
                }
                buf_putc(out, '\n');
        }
        if (failed > shown)
                buf_printf(out, "          and %zu more: skerry get nodes\n", failed - shown);
}

static void put_kind(struct buf *out, const char *title, const struct kind *k, const json_t *items,
                     const struct columns_look *look) {
        _cleanup_(columns_freep) struct columns *t = columns_new(k->columns, k->n_columns);
        size_t i;
        json_t *o;
        if (!t || json_array_size(items) == 0)
                return;
        json_array_foreach ((json_t *)items, i, o)
                k->row(t, o, clock_wall_ms(clock_system()));
        buf_putc(out, '\n');
        style_puts(out, look->colour, STYLE_BOLD, title);
        buf_putc(out, '\n');
        if (columns_print(t, look, out) < 0)
                out->failed = -ENOMEM;
        json_array_foreach ((json_t *)items, i, o)
                if (k->notes)
                        k->notes(out, o, look->colour);
}

static void put_trust(struct buf *out, const json_t *version, bool colour) {
        if (!str_eq(field_text(version, "trust"), "server"))
                return;
        buf_putc(out, '\n');
        style_puts(out, colour, STYLE_LOUD, " DEVELOPMENT TRUST ");
        buf_puts(out, " this server could sign revisions itself: whoever holds it holds the fleet.\n");
}

static int run(void *settings, char **arguments, size_t n) {
        static const char *const kinds[] = {"nodes", "fleets", "rollouts", "sources", "relays"};
        static const char *const queries[] = {"", "", "active=true", "", ""};
        const struct settings *s = settings;
        const struct columns_look look = look_of_stdout(false);
        enum output output = output_from_text(s->output);
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(api_freep) struct api *api = NULL;
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        _cleanup_json_ json_t *version = NULL, *all = json_object();
        int r = api_open(&s->globals, &api, &err);
        if (r == 0)
                r = api_call(api, "GET", "/version", NULL, &version, &err);
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(kinds); i++) {
                json_t *list = NULL;
                r = kind_list(api, kind_find(kinds[i], NULL), queries[i], &list, &err);
                if (r == 0 && json_object_set_new(all, kinds[i], list) < 0)
                        r = err_set_errno(&err, ENOMEM, "read the fleet's state");
        }
        if (r < 0)
                return cli_fail(err);
        if (output == OUTPUT_JSON || output == OUTPUT_YAML) {
                (void)json_object_set(all, "version", version);
                return print_json(all, output);
        }

        const json_t *nodes = field(all, "nodes.items"), *relays = field(all, "relays.items");
        style_puts(&out, look.colour, STYLE_BOLD, "Server    ");
        buf_printf(&out, "%s, skerry ", api_server(api));
        text_put_safe(&out, field_text(version, "version"));
        buf_puts(&out, "\n");
        style_puts(&out, look.colour, STYLE_BOLD, "Trust     ");
        text_put_safe(&out, field_text(version, "trustDomain"));
        buf_puts(&out, str_eq(field_text(version, "trust"), "server") ? ", keys on the server\n" : "\n");
        put_nodes(&out, nodes, look.colour);
        put_failed_nodes(&out, nodes, look.colour);
        if (json_array_size(relays) > 0) {
                size_t connected = 0, i;
                json_t *o;
                json_array_foreach ((json_t *)relays, i, o)
                        connected += field_bool(o, "status.connected");
                style_puts(&out, look.colour, STYLE_BOLD, "Relays    ");
                style_printf(&out, look.colour, connected < json_array_size(relays) ? STYLE_WARN : STYLE_NONE,
                             "%zu connected, of %zu\n", connected, json_array_size(relays));
        }
        put_kind(&out, "Fleets", kind_find("fleets", NULL), field(all, "fleets.items"), &look);
        put_kind(&out, "Active rollouts", kind_find("rollouts", NULL), field(all, "rollouts.items"), &look);
        put_kind(&out, "Sources", kind_find("sources", NULL), field(all, "sources.items"), &look);
        put_trust(&out, version, look.colour);
        return print_buf(&out);
}

const struct command_spec status_command = {
        "status", "",  "Show the whole fleet on one screen", NULL, options, sizeof(struct settings), 0, 0,
        NULL,     run,
};
