/* SPDX-License-Identifier: Apache-2.0 */
/* skerry get: objects as a table, JSON, YAML or names; --watch shows what changes. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/str.h"
#include "base/table.h"
#include "cli/kinds.h"
#include "cli/style.h"
#include "codec/json.h"

#define SETTLE_MS 200 /* events come in bursts: look once for all of them */
#define REST 4 /* times as long as an answer took, nothing is asked: a large fleet in motion has no pause */

struct settings {
        struct cli_globals globals;
        char *selector, *output, *fleet;
        bool watch, no_headers;
};

static const struct option_spec options[] = {
        {"output", 'o', OPTION_CHOICE, offsetof(struct settings, output), "FORMAT", "table", "How to print",
         OUTPUT_CHOICES},
        {"selector", 'l', OPTION_STRING, offsetof(struct settings, selector), "SELECTOR", NULL,
         "Only objects with these labels, as in 'site=kiel,role in (shop,bar),!old'"},
        {"fleet", 'f', OPTION_STRING, offsetof(struct settings, fleet), "FLEET", NULL,
         "Only what belongs to this fleet", "@fleets"},
        {"watch", 'w', OPTION_BOOL, offsetof(struct settings, watch), NULL, NULL,
         "Go on, and print what changes, until interrupted"},
        {"no-headers", 0, OPTION_BOOL, offsetof(struct settings, no_headers), NULL, NULL,
         "Leave the line of titles out"},
        OPTIONS_END,
};

struct get {
        const struct settings *settings;
        const struct kind *kind;
        enum output output;
        struct api *api;
        char **names;
        size_t n_names;
        char *query;
};

static int print_name(const struct kind *k, const json_t *o, struct buf *out) {
        buf_printf(out, "%s/", k->singular);
        text_put_safe(out, object_name(o));
        return buf_putc(out, '\n');
}

static struct columns *make_rows(const struct get *g, const json_t *items) {
        const struct clock *clock = clock_system();
        struct columns *t = columns_new(g->kind->columns, g->kind->n_columns);
        size_t i;
        json_t *o;
        if (t)
                json_array_foreach ((json_t *)items, i, o)
                        g->kind->row(t, o, clock_wall_ms(clock));
        return t;
}

/* Rows of items as a table, and notes beneath it. widths: of a table that goes on, or NULL. */
static int print_rows(const struct get *g, const json_t *items, bool only_changes, size_t *widths) {
        struct columns_look look = look_of_stdout(g->output == OUTPUT_WIDE);
        _cleanup_(columns_freep) struct columns *t = make_rows(g, items);
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        size_t i;
        json_t *o;
        look.no_titles = g->settings->no_headers;
        look.only_changes = only_changes;
        look.widths = widths;
        if (!t || print_table(t, &look, &out) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        json_array_foreach ((json_t *)items, i, o)
                if (g->kind->notes)
                        g->kind->notes(&out, o, &look);
        return print_buf(&out);
}

static int print_items(const struct get *g, const json_t *whole, const json_t *items) {
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        size_t i;
        json_t *o;
        switch (g->output) {
        case OUTPUT_JSON:
        case OUTPUT_YAML: return print_json(whole, g->output);
        case OUTPUT_NAME:
                json_array_foreach ((json_t *)items, i, o)
                        (void)print_name(g->kind, o, &out);
                return print_buf(&out);
        case OUTPUT_TABLE:
        case OUTPUT_WIDE: break;
        }
        if (json_array_size(items) == 0) {
                print_none(g->kind, !g->settings->selector && !g->settings->fleet);
                return EXIT_SUCCESS;
        }
        return print_rows(g, items, false, NULL);
}

/* Reads what was asked for: *ret is a list object with "items". */
static int read_items(const struct get *g, json_t **ret, struct err **err) {
        if (g->n_names == 0)
                return kind_list(g->api, g->kind, g->query, ret, err);
        _cleanup_json_ json_t *items = json_array();
        for (size_t i = 0; i < g->n_names; i++) {
                json_t *o = NULL;
                int r = kind_get(g->api, g->kind, g->names[i], &o, err);
                if (r < 0)
                        return r;
                if (!items || json_array_append_new(items, o) < 0)
                        return err_set_errno(err, ENOMEM, "get %s", g->kind->plural);
        }
        _cleanup_json_ json_t *list = json_pack("{s:s, s:O}", "kind", "List", "items", items);
        if (!list)
                return err_set_errno(err, ENOMEM, "get %s", g->kind->plural);
        *ret = TAKE_PTR(list);
        return 0;
}

static int make_query(const struct settings *s, const struct kind *k, char **ret, struct err **err) {
        _cleanup_(buf_done) struct buf query = BUF_INIT;
        if (s->selector) {
                if (!k->has_labels)
                        return err_set(err, EINVAL, "%s have no labels to select by; --selector is for nodes",
                                       k->plural);
                buf_puts(&query, "selector=");
                url_put(&query, s->selector);
        }
        if (s->fleet) {
                buf_printf(&query, "%sfleet=", query.len ? "&" : "");
                url_put(&query, s->fleet);
        }
        buf_puts(&query, "");
        *ret = str_dup(buf_str(&query));
        return *ret ? 0 : err_set_errno(err, ENOMEM, "get %s", k->plural);
}

/* ---- watching */

struct watch {
        struct get *get;
        size_t *widths;      /* of the columns so far, so that later lines stand under the titles */
        struct table *shown; /* name -> what was last shown of it */
        msec_t asked_at;     /* mono */
        msec_t took;         /* the last answer */
        struct loop_timer *settle;
        struct api_stream *stream;
        struct err *error;
        bool busy, again, began;
};

static void look(void *arg);

/* What the output shows of an object: where that is the same, nothing happened. */
static char *shown_text(const struct get *g, const struct columns *rows, size_t row, const json_t *o) {
        if (g->output == OUTPUT_NAME)
                return str_dup(object_name(o));
        if (g->output != OUTPUT_TABLE && g->output != OUTPUT_WIDE)
                return json_encode_compact(o);
        _cleanup_(x_freep) char *text = rows ? columns_row_text(rows, row, g->output == OUTPUT_WIDE) : NULL;
        _cleanup_(buf_done) struct buf notes = BUF_INIT;
        buf_puts(&notes, text ? text : "");
        if (g->kind->notes)
                g->kind->notes(&notes, o, &(struct columns_look){0});
        return buf_take(&notes, NULL);
}

/* Prints those objects that are not as they were. */
static void show_changes(struct watch *w, json_t *list) {
        const struct get *g = w->get;
        _cleanup_json_ json_t *changed = json_array();
        kind_sort(g->kind, list);
        _cleanup_(columns_freep) struct columns *rows = make_rows(g, field(list, "items"));
        size_t i;
        json_t *o;
        json_array_foreach ((json_t *)field(list, "items"), i, o) {
                if (g->n_names > 0 && !strv_has(g->names, object_name(o)))
                        continue;
                char *text = shown_text(g, rows, i, o);
                const char *before = table_get(w->shown, object_name(o));
                if (!text || str_eq(before, text) || table_set(w->shown, object_name(o), text) < 0) {
                        free(text);
                        continue;
                }
                (void)json_array_append(changed, o);
        }
        if (json_array_size(changed) == 0)
                return;
        switch (g->output) {
        case OUTPUT_JSON:
                json_array_foreach (changed, i, o) {
                        _cleanup_(x_freep) char *text = json_encode_compact(o);
                        puts(text ? text : "");
                }
                break;
        case OUTPUT_YAML:
                json_array_foreach (changed, i, o) {
                        puts("---");
                        (void)print_json(o, OUTPUT_YAML);
                }
                break;
        case OUTPUT_NAME: (void)print_items(g, list, changed); break;
        case OUTPUT_TABLE:
        case OUTPUT_WIDE: (void)print_rows(g, changed, w->began, w->widths); break;
        }
        w->began = true;
        if (fflush(stdout) != 0)
                loop_stop(api_loop(g->api), EXIT_FAILURE); /* nobody reads any more */
}

static msec_t settle_ms(const struct watch *w) {
        return MAX((msec_t)SETTLE_MS, REST * w->took);
}

static void on_list(void *arg, const json_t *list, const struct err *error) {
        struct watch *w = arg;
        w->busy = false;
        w->took = clock_mono_ms(loop_clock(api_loop(w->get->api))) - w->asked_at;
        if (!error) {
                _cleanup_json_ json_t *copy =
                        json_pack("{s:o}", "items", json_copy((json_t *)field(list, "items")));
                show_changes(w, copy);
        }
        if (w->again || error)
                loop_timer_set(w->settle, error ? 2000 : settle_ms(w));
        w->again = false;
}

static void look(void *arg) {
        struct watch *w = arg;
        if (w->busy) {
                w->again = true;
                return;
        }
        _cleanup_(x_freep) char *path =
                str_format("%s%s%s", w->get->kind->path, *w->get->query ? "?" : "", w->get->query);
        w->asked_at = clock_mono_ms(loop_clock(api_loop(w->get->api)));
        if (path && api_get(w->get->api, path, on_list, w, NULL) == 0)
                w->busy = true;
        else
                loop_timer_set(w->settle, 2000);
}

/* Does the event concern what we show? kind->events holds beginnings of types. */
static bool is_of_interest(const struct get *g, const char *type, const json_t *event) {
        _cleanup_(strv_freep) char **prefixes = strv_split(g->kind->events, " ");
        const char *object = field_text(event, g->kind->singular), *fleet = field_text(event, "fleet");
        bool kind = false;
        for (char **p = prefixes; p && *p; p++)
                kind |= str_has_prefix(type, *p);
        /* An event that names another object of the kind, or another fleet, is none of ours. */
        if (g->n_names > 0 && *object && !strv_has(g->names, object))
                return false;
        if (g->settings->fleet && *fleet && !str_eq(fleet, g->settings->fleet))
                return false;
        return kind;
}

static void on_event(void *arg, const char *type, const json_t *event) {
        struct watch *w = arg;
        if (is_of_interest(w->get, type, event) && !loop_timer_is_set(w->settle))
                loop_timer_set(w->settle, settle_ms(w));
}

static void on_open(void *arg) {
        struct watch *w = arg;
        loop_timer_set(w->settle, 0); /* what happened while we were not connected */
}

static void on_lost(void *arg, const struct err *error) {
        fprintf(stderr, "skerry: %s; trying again\n", err_message(error));
}

static void on_end(void *arg, const struct err *error) {
        struct watch *w = arg;
        (void)err_set(&w->error, error->code, "%s", error->message);
        loop_stop(api_loop(w->get->api), EXIT_FAILURE);
}

static void on_signal(void *arg, int number) {
        struct watch *w = arg;
        loop_stop(api_loop(w->get->api), 128 + number);
}

static int watch(struct get *g) {
        struct watch w = {
                .get = g, .shown = table_new(free), .widths = calloc(g->kind->n_columns, sizeof(size_t))};
        const struct api_stream_handler handler = {on_event, on_open, on_lost, on_end, &w};
        struct loop *loop = api_loop(g->api);
        int code;
        w.settle = loop_timer_new(loop, look, &w);
        if (!w.shown || !w.settle || !w.widths)
                (void)err_set_errno(&w.error, ENOMEM, "watch %s", g->kind->plural);
        else if (loop_on_signals(loop, on_signal, &w) < 0 ||
                 api_stream_open(g->api, "/events", &handler, &w.stream, &w.error) < 0)
                (void)err_wrap(&w.error, "watch %s", g->kind->plural);
        code = w.error ? cli_fail(w.error) : loop_run(loop);
        if (code == EXIT_FAILURE && w.stream && w.error)
                code = cli_fail(w.error);
        api_stream_free(w.stream);
        loop_timer_free(w.settle);
        table_free(w.shown);
        free(w.widths);
        err_free(w.error);
        return code;
}

static int run(void *settings, char **arguments, size_t n) {
        const struct settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(api_freep) struct api *api = NULL;
        _cleanup_(x_freep) char *query = NULL;
        _cleanup_json_ json_t *list = NULL;
        /* "nodes/shop-1" is as good as "nodes shop-1": it is what -o name prints. */
        char *slash = strchr(arguments[0], '/');
        if (slash)
                *slash = '\0';
        const struct kind *k = kind_find(arguments[0], &err);
        if (!k)
                return cli_usage("get", "%s", err_message(err));
        struct get g = {.settings = s,
                        .kind = k,
                        .output = output_from_text(s->output),
                        .names = arguments + 1,
                        .n_names = n - 1};
        char *single[2] = {slash ? slash + 1 : NULL, NULL};
        if (slash) {
                if (n > 1)
                        return cli_usage("get", "give KIND/NAME, or KIND and names");
                g.names = single;
                g.n_names = 1;
        }
        if (make_query(s, k, &query, &err) < 0)
                return cli_usage("get", "%s", err_message(err));
        g.query = query;
        if (api_open(&s->globals, &api, &err) < 0)
                return cli_fail(err);
        g.api = api;
        if (s->watch) {
                if (!*k->events)
                        return cli_usage("get", "use 'skerry events --watch' to watch events");
                return watch(&g);
        }
        if (str_eq(k->plural, "events") && g.n_names > 0)
                return cli_usage("get", "events have no names; see 'skerry events --help'");
        if (read_items(&g, &list, &err) < 0)
                return cli_fail(err);
        const json_t *items = field(list, "items");
        /* One object asked for by name is printed as itself. */
        bool alone = g.n_names == 1 && json_array_size(items) == 1;
        return print_items(&g, alone ? json_array_get(items, 0) : list, items);
}

const struct command_spec get_command = {
        "get",
        "KIND [NAME...]",
        "Show objects",
        "KIND is one of these, in the plural, in the singular or short:\n"
        "\n"
        "nodes, no\tmachines that run the agent\n"
        "fleets, fl\tgroups of nodes with one desired state\n"
        "apps\twhat runs on the nodes\n"
        "rollouts, ro\tchanges on their way through a fleet, newest first\n"
        "sources, src\tGit repositories that are followed, and what is wrong with them\n"
        "revisions, rev\tcompiled states of fleets; a unique beginning of the digest will do as a name\n"
        "relays\tmachines between server and nodes\n"
        "deltas\tdifferences that the server makes between versions of artifacts, and why one failed\n"
        "events, ev\twhat happened last\n"
        "tokens\tjoin tokens\n"
        "\n"
        "With --watch the table is followed by a line for each object that changes.",
        options,
        sizeof(struct settings),
        1,
        SIZE_MAX,
        "kinds objects",
        run,
};
