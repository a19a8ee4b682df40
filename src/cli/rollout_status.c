/* SPDX-License-Identifier: Apache-2.0 */
/* skerry rollout status: the waves of a rollout; --watch draws them live until it ends. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "base/terminal.h"
#include "cli/rollout_find.h"
#include "cli/rollout_view.h"
#include "cli/screen.h"
#include "codec/json.h"

#define TICK_MS 1000     /* countdowns move */
#define SETTLE_MS 150    /* events come in bursts: one look for all of them */
#define AT_LEAST_MS 5000 /* look this often even when no event comes */

struct settings {
        struct cli_globals globals;
        char *output;
        bool watch;
};

static const struct option_spec options[] = {
        {"watch", 'w', OPTION_BOOL, offsetof(struct settings, watch), NULL, NULL,
         "Follow it to its end; drawn in place on a terminal, line by line elsewhere"},
        {"output", 'o', OPTION_CHOICE, offsetof(struct settings, output), "FORMAT", "table", "How to print",
         "table,json,yaml"},
        OPTIONS_END,
};

struct watch {
        struct api *api;
        struct loop *loop;
        struct api_stream *stream;
        struct loop_timer *look, *tick;
        struct screen screen;
        json_t *rollout; /* as last seen */
        char *fleet;     /* follow the fleet's newest rollout, not just this one; or NULL */
        struct err *error;
        const char *trouble; /* shown beneath while the connection is lost */
        bool live, busy, again;
        msec_t looked_at; /* mono */
};

static msec_t wall_now(const struct watch *w) {
        return clock_wall_ms(loop_clock(w->loop));
}

static void draw(struct watch *w) {
        _cleanup_(buf_done) struct buf picture = BUF_INIT;
        const struct rollout_look look = {
                .width = terminal_width(STDOUT_FILENO),
                /* A line for the trouble, and one so that the terminal does not scroll. */
                .height = MAX(terminal_height(STDOUT_FILENO), (size_t)6) - 2,
                .colour = terminal_has_colour(STDOUT_FILENO),
                .unicode = locale_is_unicode(),
                .whole = rollout_is_final(w->rollout),
        };
        rollout_draw(&picture, w->rollout, wall_now(w), &look);
        if (w->trouble)
                style_printf(&picture, look.colour, STYLE_WARN, "%s\n", w->trouble);
        if (screen_draw(&w->screen, buf_str(&picture)) < 0)
                loop_stop(w->loop, EXIT_FAILURE);
}

static void print_changes(struct watch *w, const json_t *before) {
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        rollout_tell(&text, before, w->rollout, wall_now(w));
        (void)print_buf(&text);
        if (ferror(stdout))
                loop_stop(w->loop, EXIT_FAILURE);
}

static void look_soon(struct watch *w, msec_t in_ms) {
        if (!loop_timer_is_set(w->look))
                loop_timer_set(w->look, in_ms);
}

/* A new state is here. Takes the reference. */
static void show(struct watch *w, json_t *rollout) {
        json_t *before = w->rollout;
        w->rollout = rollout;
        if (w->live)
                draw(w);
        else
                print_changes(w, before);
        json_decref(before);
        if (!rollout_is_final(rollout))
                return;
        /* A fleet's rollout that a newer one took over from: go on with that one. */
        if (w->fleet && str_eq(field_text(rollout, "status.phase"), "Superseded")) {
                look_soon(w, SETTLE_MS);
                return;
        }
        loop_stop(w->loop, rollout_exit_code(rollout));
}

static void looked(struct watch *w, const struct err *error) {
        w->busy = false;
        if (error && (error->code == EKEYREJECTED || error->code == ENOENT)) {
                (void)err_set(&w->error, error->code, "%s", error->message);
                loop_stop(w->loop, EXIT_FAILURE);
                return;
        }
        if (w->again)
                look_soon(w, SETTLE_MS);
        w->again = false;
}

static void on_rollout(void *arg, const json_t *answer, const struct err *error) {
        struct watch *w = arg;
        if (answer)
                show(w, json_incref((json_t *)answer));
        looked(w, error);
}

/* The fleet's rollouts: is there a newer one than ours? */
static void on_fleet_rollouts(void *arg, const json_t *answer, const struct err *error) {
        struct watch *w = arg;
        const char *newest = object_name(w->rollout);
        size_t i;
        json_t *o;
        json_array_foreach ((json_t *)field(answer, "items"), i, o)
                if (strcmp(object_name(o), newest) > 0)
                        newest = object_name(o);
        _cleanup_(buf_done) struct buf path = BUF_INIT;
        buf_puts(&path, "/rollouts/");
        url_put(&path, newest);
        /* Nothing newer yet: the server is just about to begin it. */
        bool same = str_eq(newest, object_name(w->rollout));
        if (!answer || same || api_get(w->api, buf_str(&path), on_rollout, w, NULL) < 0) {
                if (same)
                        look_soon(w, TICK_MS);
                looked(w, error);
        }
}

static void look(void *arg) {
        struct watch *w = arg;
        if (w->busy) {
                w->again = true;
                return;
        }
        _cleanup_(buf_done) struct buf path = BUF_INIT;
        bool superseded = w->fleet && str_eq(field_text(w->rollout, "status.phase"), "Superseded");
        buf_puts(&path, superseded ? "/rollouts?fleet=" : "/rollouts/");
        url_put(&path, superseded ? w->fleet : object_name(w->rollout));
        w->looked_at = clock_mono_ms(loop_clock(w->loop));
        w->busy = api_get(w->api, buf_str(&path), superseded ? on_fleet_rollouts : on_rollout, w, NULL) == 0;
}

static void on_tick(void *arg) {
        struct watch *w = arg;
        if (w->live)
                draw(w);
        if (clock_mono_ms(loop_clock(w->loop)) - w->looked_at >= AT_LEAST_MS)
                look_soon(w, 0);
        loop_timer_set(w->tick, TICK_MS);
}

static void on_event(void *arg, const char *type, const json_t *event) {
        if (str_has_prefix(type, "Node") || str_has_prefix(type, "Rollout"))
                look_soon(arg, SETTLE_MS);
}

static void on_open(void *arg) {
        struct watch *w = arg;
        if (w->trouble && !w->live)
                fputs("skerry: connected again\n", stderr);
        w->trouble = NULL;
        look_soon(w, 0);
}

static void on_lost(void *arg, const struct err *error) {
        struct watch *w = arg;
        if (!w->trouble && !w->live)
                fprintf(stderr, "skerry: %s; trying again\n", err_message(error));
        w->trouble = "The connection to the server is lost; trying again.";
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

static int watch(struct watch *w) {
        const struct api_stream_handler handler = {on_event, on_open, on_lost, on_end, w};
        int code = EXIT_FAILURE;
        w->look = loop_timer_new(w->loop, look, w);
        w->tick = loop_timer_new(w->loop, on_tick, w);
        if (!w->look || !w->tick || loop_on_signals(w->loop, on_signal, w) < 0)
                (void)err_set_errno(&w->error, ENOMEM, "watch the rollout");
        else
                (void)api_stream_open(w->api, "/events", &handler, &w->stream, &w->error);
        if (!w->error) {
                if (w->live)
                        draw(w);
                else
                        print_changes(w, NULL);
                loop_timer_set(w->tick, TICK_MS);
                code = loop_run(w->loop);
        }
        screen_end(&w->screen);
        if (w->error)
                code = cli_fail(w->error);
        api_stream_free(w->stream);
        loop_timer_free(w->look);
        loop_timer_free(w->tick);
        err_free(w->error);
        free(w->fleet);
        return code;
}

static int print_once(const json_t *rollout, struct err **err) {
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        const struct rollout_look look = {
                .width = isatty(STDOUT_FILENO) == 1 ? terminal_width(STDOUT_FILENO) : 160,
                .colour = terminal_has_colour(STDOUT_FILENO),
                .unicode = locale_is_unicode(),
                .whole = true,
        };
        rollout_draw(&out, rollout, clock_wall_ms(clock_system()), &look);
        int code = print_buf(&out);
        return code == EXIT_SUCCESS ? rollout_exit_code(rollout) : code;
}

static int run(void *settings, char **arguments, size_t n) {
        const struct settings *s = settings;
        const char *target = n ? arguments[0] : NULL;
        enum output output = output_from_text(s->output);
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(api_freep) struct api *api = NULL;
        json_t *rollout = NULL;
        bool by_fleet = false;
        if (api_open(&s->globals, &api, &err) < 0 || rollout_find(api, target, &rollout, &by_fleet, &err) < 0)
                return cli_fail(err);
        int code;
        /* Superseded by a newer one that began since, or over already: nothing to watch, unless a fleet is.
         */
        bool over = rollout_is_final(rollout) &&
                    !(by_fleet && str_eq(field_text(rollout, "status.phase"), "Superseded"));
        if (output == OUTPUT_JSON || output == OUTPUT_YAML) {
                if (s->watch && !over) {
                        json_decref(rollout);
                        return cli_usage("rollout status",
                                         "--watch goes with -o table; for programs there is 'get rollouts"
                                         " --watch -o json'");
                }
                code = print_json(rollout, output);
                if (code == EXIT_SUCCESS)
                        code = rollout_exit_code(rollout);
        } else if (!s->watch || (over && terminal_is_live(STDOUT_FILENO))) {
                code = print_once(rollout, &err);
        } else if (over) {
                _cleanup_(buf_done) struct buf text = BUF_INIT;
                rollout_tell(&text, NULL, rollout, clock_wall_ms(clock_system()));
                code = print_buf(&text);
                if (code == EXIT_SUCCESS)
                        code = rollout_exit_code(rollout);
        } else {
                struct watch w = {
                        .api = api,
                        .loop = api_loop(api),
                        .screen = {.fd = STDOUT_FILENO},
                        .rollout = rollout,
                        .fleet = by_fleet ? str_dup(field_text(rollout, "spec.fleet")) : NULL,
                        .live = terminal_is_live(STDOUT_FILENO),
                };
                code = watch(&w);
                rollout = w.rollout;
                if (code == EXIT_FAILURE && str_eq(field_text(rollout, "status.phase"), "Superseded"))
                        fputs("skerry: a newer rollout took over; watch the fleet to follow it\n", stderr);
        }
        json_decref(rollout);
        return code;
}

const struct command_spec rollout_status_command = {
        "rollout status",
        "[ROLLOUT|FLEET]",
        "Show the waves of a rollout, live with --watch",
        "Without a name: the active rollout, or the last one. For each wave a bar shows which of its nodes "
        "are healthy,"
        " failed, gone back with the others, under way, deferred (not reached) and still to come; beneath "
        "are the nodes that failed, "
        "with their"
        " reasons. With a fleet's name and --watch, a newer rollout that takes over is followed.\n"
        "\n"
        "The exit code is 0 when the rollout succeeded (or is under way, without --watch), 1 when it failed, "
        "was rolled"
        " back, aborted or superseded.",
        options,
        sizeof(struct settings),
        0,
        1,
        "rollouts",
        run,
};
