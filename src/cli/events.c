/* SPDX-License-Identifier: Apache-2.0 */
/* skerry events: what happened, and with --watch what happens. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "cli/describe.h"
#include "cli/kinds.h"
#include "codec/json.h"

struct settings {
        struct cli_globals globals;
        char *node, *rollout, *output;
        int64_t limit, since;
        bool watch;
};

static const struct option_spec options[] = {
        {"watch", 'w', OPTION_BOOL, offsetof(struct settings, watch), NULL, NULL,
         "Go on with what happens, until interrupted"},
        {"node", 'n', OPTION_STRING, offsetof(struct settings, node), "NAME", NULL, "Only about this node",
         "@nodes"},
        {"rollout", 'r', OPTION_STRING, offsetof(struct settings, rollout), "ID", NULL,
         "Only about this rollout", "@rollouts"},
        {"limit", 0, OPTION_INT, offsetof(struct settings, limit), "N", "50", "How many at most"},
        {"since", 0, OPTION_INT, offsetof(struct settings, since), "SEQ", "0",
         "Only those after this number (the SEQ of -o wide)"},
        {"output", 'o', OPTION_CHOICE, offsetof(struct settings, output), "FORMAT", "table", "How to print",
         "table,wide,json,yaml"},
        OPTIONS_END,
};

struct watch {
        const struct settings *settings;
        struct loop *loop;
        struct err *error;
        struct columns_look look;
        bool lost;
        enum output output;
        char day[11]; /* of the last event printed: "2026-11-20" */
};

#define TIME_WIDTH 9  /* "15:04:05Z" */
#define TYPE_WIDTH 19 /* "RolloutRollingBack " */

/* One event as a line: "15:04:05Z  RolloutWave  edge: wave canary passed". A line with the date goes before
 * what did not happen on the same day as the event before it, or at first: today. */
static void put_event(struct buf *out, const json_t *event, const struct columns_look *look, char day[11]) {
        const char *time = field_text(event, "time"), *type = field_text(event, "type");
        bool known = strlen(time) > 19 && time[10] == 'T' && str_has_suffix(time, "Z");
        size_t at;
        if (look->wide || !known) {
                text_put_safe(out, time);
                at = strlen(time);
        } else {
                if (strncmp(time, day, 10) != 0) {
                        (void)snprintf(day, 11, "%.10s", time);
                        style_printf(out, look->colour, STYLE_DIM, "%s", day);
                        buf_putc(out, '\n');
                }
                buf_printf(out, "%.8sZ", time + 11);
                at = TIME_WIDTH;
        }
        buf_puts(out, "  ");
        style_printf(out, look->colour, style_of_event(type), "%-*s", TYPE_WIDTH, type);
        buf_puts(out, " ");
        describe_event(out, event, at + 2 + MAX(strlen(type), (size_t)TYPE_WIDTH) + 1, look);
}

static void today(char day[11]) {
        char now[TIME_TEXT_SIZE];
        (void)snprintf(day, 11, "%.10s", time_format(clock_wall_ms(clock_system()), now));
}

static void print_event(struct watch *w, const json_t *event) {
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        if (w->output == OUTPUT_JSON) {
                _cleanup_(x_freep) char *text = json_encode_compact(event);
                buf_printf(&out, "%s\n", text ? text : "");
        } else if (w->output == OUTPUT_YAML) {
                _cleanup_(x_freep) char *text = json_encode_yaml(event);
                buf_printf(&out, "---\n%s", text ? text : "");
        } else {
                put_event(&out, event, &w->look, w->day);
        }
        (void)print_buf(&out);
        if (ferror(stdout))
                loop_stop(w->loop, EXIT_FAILURE); /* nobody reads any more */
}

static void on_event(void *arg, const char *type, const json_t *event) {
        print_event(arg, event);
}

static void on_open(void *arg) {
        struct watch *w = arg;
        if (w->lost)
                fputs("skerry: connected again\n", stderr);
        w->lost = false;
}

static void on_lost(void *arg, const struct err *error) {
        struct watch *w = arg;
        if (!w->lost)
                fprintf(stderr, "skerry: %s; trying again\n", err_message(error));
        w->lost = true;
}

static void on_end(void *arg, const struct err *error) {
        struct watch *w = arg;
        (void)err_set(&w->error, error->code, "%s", error->message);
        loop_stop(w->loop, EXIT_FAILURE);
}

static void on_signal(void *arg, int number) {
        struct watch *w = arg;
        loop_stop(w->loop, 128 + number);
}

static void make_path(const struct settings *s, struct buf *path) {
        buf_printf(path, "/events?limit=%lld", (long long)s->limit);
        if (s->since > 0)
                buf_printf(path, "&since=%lld", (long long)s->since);
        if (s->node) {
                buf_puts(path, "&node=");
                url_put(path, s->node);
        }
        if (s->rollout) {
                buf_puts(path, "&rollout=");
                url_put(path, s->rollout);
        }
}

static int watch(const struct settings *s, struct api *api, const char *path) {
        struct watch w = {
                .settings = s,
                .loop = api_loop(api),
                .output = output_from_text(s->output),
        };
        w.look = look_of_stdout(w.output == OUTPUT_WIDE);
        today(w.day);
        const struct api_stream_handler handler = {on_event, on_open, on_lost, on_end, &w};
        _cleanup_(api_stream_freep) struct api_stream *stream = NULL;
        if (loop_on_signals(w.loop, on_signal, &w) < 0)
                (void)err_set(&w.error, EIO, "cannot wait for signals");
        else
                (void)api_stream_open(api, path, &handler, &stream, &w.error);
        int code = w.error ? EXIT_FAILURE : loop_run(w.loop);
        if (w.error)
                code = cli_fail(w.error);
        err_free(w.error);
        return code;
}

static int run(void *settings, char **arguments, size_t n) {
        const struct settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(api_freep) struct api *api = NULL;
        _cleanup_(buf_done) struct buf path = BUF_INIT, out = BUF_INIT;
        _cleanup_json_ json_t *list = NULL;
        enum output output = output_from_text(s->output);
        size_t i;
        json_t *event;
        if (s->limit < 1 || s->limit > 1000)
                return cli_usage("events", "--limit takes 1 to 1000");
        make_path(s, &path);
        if (api_open(&s->globals, &api, &err) < 0)
                return cli_fail(err);
        if (s->watch)
                return watch(s, api, buf_str(&path));
        if (api_call(api, "GET", buf_str(&path), NULL, &list, &err) < 0)
                return cli_fail(err);
        if (output == OUTPUT_JSON || output == OUTPUT_YAML)
                return print_json(list, output);
        const struct columns_look look = look_of_stdout(output == OUTPUT_WIDE);
        char day[11];
        today(day);
        json_array_foreach ((json_t *)field(list, "items"), i, event)
                put_event(&out, event, &look, day);
        return print_buf(&out);
}

const struct command_spec events_command = {
        "events",
        "",
        "Show what happened, or with --watch what happens",
        "One line an event: the time of day (UTC), its type, and words. 'get events' shows "
        "the same as"
        " a table.",
        options,
        sizeof(struct settings),
        0,
        0,
        NULL,
        run,
};
