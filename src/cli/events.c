/* SPDX-License-Identifier: Apache-2.0 */
/* skerry events: what happened, and with --watch what happens. */
#include <errno.h>
#include <stdio.h>

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
        bool colour, lost;
        enum output output;
};

/* One event as a line: "15:04:05  RolloutWave  rollout/01k...  wave canary passed". */
static void put_event(struct buf *out, const json_t *event, bool colour, bool wide) {
        static const char *const objects[] = {"node", "rollout", "fleet", "source"};
        const char *time = field_text(event, "time"), *type = field_text(event, "type");
        _cleanup_(buf_done) struct buf object = BUF_INIT;
        /* "2026-11-20T15:04:05.123Z": the time of day is enough, unless asked for more. */
        if (wide || !str_has_suffix(time, "Z"))
                text_put_safe(out, time);
        else
                buf_printf(out, "%.8s", time[10] == 'T' ? time + 11 : time);
        buf_puts(out, "  ");
        style_printf(out, colour, style_of_event(type), "%-19s", type);
        for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
                if (*field_text(event, objects[i])) {
                        buf_printf(&object, "%s/%s", objects[i], field_text(event, objects[i]));
                        break;
                }
        buf_puts(out, "  ");
        text_put_safe(out, buf_str(&object));
        if (object.len > 0)
                buf_puts(out, "  ");
        text_put_safe(out, field_text(event, "message"));
        if (*field_text(event, "actor")) {
                buf_puts(out, " (");
                text_put_safe(out, field_text(event, "actor"));
                buf_puts(out, ")");
        }
        buf_putc(out, '\n');
}

static void print_event(const struct watch *w, const json_t *event) {
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        if (w->output == OUTPUT_JSON) {
                _cleanup_(x_freep) char *text = json_encode_compact(event);
                buf_printf(&out, "%s\n", text ? text : "");
        } else if (w->output == OUTPUT_YAML) {
                _cleanup_(x_freep) char *text = json_encode_yaml(event);
                buf_printf(&out, "---\n%s", text ? text : "");
        } else {
                put_event(&out, event, w->colour, w->output == OUTPUT_WIDE);
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
                .colour = look_of_stdout(false).colour,
                .output = output_from_text(s->output),
        };
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
        bool colour = look_of_stdout(false).colour;
        json_array_foreach ((json_t *)field(list, "items"), i, event)
                put_event(&out, event, colour, output == OUTPUT_WIDE);
        return print_buf(&out);
}

const struct command_spec events_command = {
        "events",
        "",
        "Show what happened, or with --watch what happens",
        "One line an event: the time of day (UTC), its type, what it is about, and words. 'get events' shows "
        "the same as"
        " a table.",
        options,
        sizeof(struct settings),
        0,
        0,
        NULL,
        run,
};
