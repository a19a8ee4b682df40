/* SPDX-License-Identifier: Apache-2.0 */
/* skerry status: everything that matters, on one screen. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "cli/kinds.h"
#include "cli/rollout_view.h"
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
                /* Of those that are away nobody knows. */
                if (str_eq(state, "Failed") || str_eq(state, "RolledBack"))
                        c->failed++;
                else if (!field_bool(o, "status.connected"))
                        continue;
                else if (str_eq(state, "Healthy"))
                        c->healthy++;
                else if (*state)
                        c->working++;
        }
}

#define TITLE_WIDTH 10 /* of "Nodes" and its like */

static void put_title(struct buf *out, const struct columns_look *look, const char *title) {
        style_puts(out, look->colour, STYLE_BOLD, title);
        buf_printf(out, "%*s", (int)(TITLE_WIDTH - strlen(title)), "");
}

static void put_count(struct buf *out, bool colour, const char **separator, size_t n, const char *what,
                      enum style style) {
        if (n == 0)
                return;
        buf_puts(out, *separator);
        style_printf(out, colour, style, "%zu %s", n, what);
        *separator = ", ";
}

static void put_nodes(struct buf *out, const json_t *items, const struct columns_look *look) {
        const char *separator = "";
        struct node_counts c = {0};
        bool colour = look->colour;
        count_nodes(items, &c);
        put_title(out, look, "Nodes");
        if (c.all == 0) {
                buf_puts(out, "none yet; 'skerry token create' makes a token by which they join\n");
                return;
        }
        buf_printf(out, "%zu: ", c.all);
        put_count(out, colour, &separator, c.connected, "connected",
                  c.connected == c.all ? STYLE_GOOD : STYLE_NONE);
        put_count(out, colour, &separator, c.away, "away", STYLE_WARN);
        separator = "; ";
        put_count(out, colour, &separator, c.healthy, "healthy",
                  c.healthy == c.all ? STYLE_GOOD : STYLE_NONE);
        put_count(out, colour, &separator, c.working, "under way", STYLE_ACTIVE);
        put_count(out, colour, &separator, c.failed, "failed", STYLE_BAD);
        put_count(out, colour, &separator, c.unowned, "in no fleet", STYLE_WARN);
        buf_putc(out, '\n');
        if (c.revoked > 0)
                style_printf(out, colour, STYLE_DIM, "%*sand %zu revoked\n", TITLE_WIDTH, "", c.revoked);
}

static bool has_failed(const json_t *o) {
        const char *state = field_text(o, "status.observed.state");
        return !field_bool(o, "status.revoked") && (str_eq(state, "Failed") || str_eq(state, "RolledBack"));
}

static bool is_away(const json_t *o) {
        return !field_bool(o, "status.revoked") && !field_bool(o, "status.connected") && !has_failed(o);
}

static void put_words(struct buf *out, const char *text, size_t at, const struct columns_look *look) {
        _cleanup_(buf_done) struct buf safe = BUF_INIT;
        text_put_safe(&safe, text);
        text_put_wrapped(out, buf_str(&safe), at, TITLE_WIDTH + 2, look->width);
        buf_putc(out, '\n');
}

/* The first nodes that this is said of, with what there is to say. */
static void put_some_nodes(struct buf *out, const json_t *items, bool (*is_meant)(const json_t *o),
                           const char *what, enum style style, const struct columns_look *look) {
        msec_t now = clock_wall_ms(clock_system());
        size_t i, shown = 0, all = 0;
        json_t *o;
        json_array_foreach ((json_t *)items, i, o) {
                _cleanup_(buf_done) struct buf words = BUF_INIT;
                const char *message = field_text(o, "status.observed.message");
                char age[AGE_SIZE];
                if (!is_meant(o) || all++ >= NAMES_SHOWN)
                        continue;
                shown++;
                buf_printf(out, "%*s", TITLE_WIDTH, "");
                style_puts(out, look->colour, style, what);
                buf_printf(&words, " %s", object_name(o));
                if (!field_bool(o, "status.connected"))
                        buf_printf(&words, ", last seen %s ago", field_age(o, "status.lastSeenAt", now, age));
                if (*message)
                        buf_printf(&words, ": %s", message);
                put_words(out, buf_str(&words), TITLE_WIDTH + strlen(what), look);
        }
        if (all > shown)
                buf_printf(out, "%*sand %zu more: skerry get nodes\n", TITLE_WIDTH, "", all - shown);
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
                        k->notes(out, o, look);
}

/* Under way, or the last word about its fleet and not a good one. */
static bool matters(const json_t *rollout, const json_t *fleets) {
        const char *phase = field_text(rollout, "status.phase");
        size_t i;
        json_t *fleet;
        if (!rollout_is_final(rollout))
                return true;
        if (!str_eq(phase, "Failed") && !str_eq(phase, "RolledBack") && !str_eq(phase, "Aborted"))
                return false;
        json_array_foreach ((json_t *)fleets, i, fleet)
                if (str_eq(field_text(fleet, "status.rollout"), object_name(rollout)))
                        return true;
        return false;
}

static void drop_what_does_not_matter(json_t *rollouts, const json_t *fleets) {
        for (size_t i = json_array_size(rollouts); i-- > 0;)
                if (!matters(json_array_get(rollouts, i), fleets))
                        (void)json_array_remove(rollouts, i);
}

static void put_rollouts(struct buf *out, const json_t *rollouts, const struct columns_look *look) {
        size_t i;
        json_t *o;
        put_kind(out, "Rollouts", kind_find("rollouts", NULL), rollouts, look);
        json_array_foreach ((json_t *)rollouts, i, o) {
                _cleanup_(x_freep) char *next = rollout_next_step(o);
                _cleanup_(buf_done) struct buf words = BUF_INIT, safe = BUF_INIT;
                if (!next)
                        continue;
                buf_printf(&words, "%s: %s%s%s", field_text(o, "spec.fleet"), field_text(o, "status.reason"),
                           *field_text(o, "status.reason") ? ". " : "", next);
                text_put_safe(&safe, buf_str(&words));
                text_put_wrapped(out, buf_str(&safe), 0, 2, look->width);
                buf_putc(out, '\n');
        }
}

static void put_trust(struct buf *out, const json_t *version, const struct columns_look *look) {
        static const char loud[] = " DEVELOPMENT TRUST ";
        if (!str_eq(field_text(version, "trust"), "server"))
                return;
        buf_putc(out, '\n');
        style_puts(out, look->colour, STYLE_LOUD, loud);
        text_put_wrapped(out, " This server could sign revisions itself: whoever holds it holds the fleet.",
                         strlen(loud), strlen(loud) + 1, look->width);
        buf_putc(out, '\n');
}

/* Nobody waits for a delta; so only what went wrong is said. */
static void put_deltas(struct buf *out, const json_t *deltas, const struct columns_look *look) {
        size_t failed = 0, retrying = 0, i;
        const char *separator = "";
        json_t *o;
        json_array_foreach ((json_t *)deltas, i, o) {
                failed += str_eq(field_text(o, "state"), "Failed");
                retrying += str_eq(field_text(o, "state"), "Retrying");
        }
        if (failed + retrying == 0)
                return;
        put_title(out, look, "Deltas");
        put_count(out, look->colour, &separator, retrying, "to be tried again", STYLE_WARN);
        put_count(out, look->colour, &separator, failed, "failed", STYLE_WARN);
        buf_puts(out, ": skerry get deltas\n");
}

static int run(void *settings, char **arguments, size_t n) {
        static const char *const kinds[] = {"nodes", "fleets", "rollouts", "sources", "relays", "deltas"};
        static const char *const queries[] = {"", "", "", "", "", ""};
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
        drop_what_does_not_matter((json_t *)field(all, "rollouts.items"), field(all, "fleets.items"));
        if (output == OUTPUT_JSON || output == OUTPUT_YAML) {
                (void)json_object_set(all, "version", version);
                return print_json(all, output);
        }

        const json_t *nodes = field(all, "nodes.items"), *relays = field(all, "relays.items");
        put_title(&out, &look, "Server");
        buf_printf(&out, "%s, skerry ", api_server(api));
        text_put_safe(&out, field_text(version, "version"));
        buf_puts(&out, "\n");
        put_title(&out, &look, "Trust");
        text_put_safe(&out, field_text(version, "trustDomain"));
        buf_puts(&out, str_eq(field_text(version, "trust"), "server") ? ", keys on the server\n" : "\n");
        put_nodes(&out, nodes, &look);
        put_some_nodes(&out, nodes, has_failed, "Failed", STYLE_BAD, &look);
        put_some_nodes(&out, nodes, is_away, "Away", STYLE_WARN, &look);
        if (json_array_size(relays) > 0) {
                size_t connected = 0, n_relays = json_array_size(relays), i;
                json_t *o;
                json_array_foreach ((json_t *)relays, i, o)
                        connected += field_bool(o, "status.connected");
                put_title(&out, &look, "Relays");
                style_printf(&out, look.colour, connected < n_relays ? STYLE_WARN : STYLE_NONE,
                             "%zu: %zu connected\n", n_relays, connected);
        }
        put_deltas(&out, field(all, "deltas.items"), &look);
        put_kind(&out, "Fleets", kind_find("fleets", NULL), field(all, "fleets.items"), &look);
        put_rollouts(&out, field(all, "rollouts.items"), &look);
        put_kind(&out, "Sources", kind_find("sources", NULL), field(all, "sources.items"), &look);
        if (json_array_size(field(all, "sources.items")) == 0)
                buf_puts(&out, "\nNo repository is followed yet: 'skerry source add NAME --url URL'.\n");
        put_trust(&out, version, &look);
        return print_buf(&out);
}

const struct command_spec status_command = {
        "status", "",  "Show the whole fleet on one screen", NULL, options, sizeof(struct settings), 0, 0,
        NULL,     run,
};
