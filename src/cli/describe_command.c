/* SPDX-License-Identifier: Apache-2.0 */
/* skerry describe: one object, written out for people, with its latest events. */
#include <string.h>

#include "base/str.h"
#include "cli/describe.h"
#include "cli/kinds.h"
#include "cli/rollout_find.h"
#include "codec/json.h"

#define EVENTS_SHOWN 10

struct settings {
        struct cli_globals globals;
};

/* What happened to the object lately; nothing when the server does not say. */
static void put_events(struct buf *out, struct api *api, const struct kind *k, const json_t *o,
                       const struct columns_look *look) {
        _cleanup_(buf_done) struct buf path = BUF_INIT;
        _cleanup_json_ json_t *list = NULL;
        bool by_node = str_eq(k->singular, "node"), by_rollout = str_eq(k->singular, "rollout");
        if (!by_node && !by_rollout)
                return;
        buf_printf(&path, "/events?limit=%d&%s=", EVENTS_SHOWN, k->singular);
        url_put(&path, object_name(o));
        if (api_call(api, "GET", buf_str(&path), NULL, &list, NULL) < 0)
                return;
        size_t i, width = 0;
        json_t *event;
        msec_t now = clock_wall_ms(clock_system());
        json_array_foreach ((json_t *)field(list, "items"), i, event)
                width = MAX(width, strlen(field_text(event, "type")));
        json_array_foreach ((json_t *)field(list, "items"), i, event) {
                const char *type = field_text(event, "type");
                char age[AGE_SIZE];
                if (i == 0) {
                        buf_putc(out, '\n');
                        style_puts(out, look->colour, STYLE_BOLD, "Events");
                        buf_putc(out, '\n');
                }
                buf_printf(out, "  %5s ago  ", field_age(event, "time", now, age));
                style_printf(out, look->colour, style_of_event(type), "%-*s", (int)width, type);
                buf_puts(out, "  ");
                describe_event(out, event, 2 + 5 + strlen(" ago  ") + width + 2, look);
        }
}

/* A rollout may go by its fleet's name, as everywhere: the newest is meant. */
static int get_one(struct api *api, const struct kind *k, const char *name, json_t **ret, struct err **err) {
        if (str_eq(k->singular, "rollout"))
                return rollout_find(api, name, ret, NULL, err);
        return kind_get(api, k, name, ret, err);
}

static int run(void *settings, char **arguments, size_t n) {
        const struct settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(api_freep) struct api *api = NULL;
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        const struct columns_look look = look_of_stdout(false);
        const char *first = n > 1 ? arguments[1] : NULL;
        char *slash = strchr(arguments[0], '/');
        if (slash && n == 1) {
                *slash = '\0';
                first = slash + 1;
        }
        if (!first)
                return cli_usage("describe",
                                 "which one? give a kind and a name, as in 'skerry describe node shop-1'");
        const struct kind *k = kind_find(arguments[0], &err);
        if (!k)
                return cli_usage("describe", "%s", err_message(err));
        if (!k->describe)
                return cli_usage("describe", "%s are shown by 'skerry events'", k->plural);
        if (api_open(&s->globals, &api, &err) < 0)
                return cli_fail(err);
        for (size_t i = 1; i < MAX(n, (size_t)2); i++) {
                _cleanup_json_ json_t *o = NULL;
                if (get_one(api, k, i == 1 ? first : arguments[i], &o, &err) < 0) {
                        (void)print_buf(&out);
                        return cli_fail(err);
                }
                if (i > 1)
                        buf_puts(&out, "\n\n");
                k->describe(&out, o, clock_wall_ms(clock_system()), &look);
                put_events(&out, api, k, o, &look);
        }
        return print_buf(&out);
}

static const struct option_spec options[] = {OPTIONS_END};

const struct command_spec describe_command = {
        "describe",
        "KIND NAME...",
        "Show everything about one object",
        "KIND is as for 'get'; a rollout may also be named by its fleet: its newest is meant then. What is "
        "printed "
        "is for people; use 'get -o yaml' for programs.",
        options,
        sizeof(struct settings),
        1,
        SIZE_MAX,
        "kinds objects",
        run,
};
