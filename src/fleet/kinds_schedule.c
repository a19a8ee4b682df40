/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of the Schedule kind. */
#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "fleet/kinds.h"

#define MINUTE ((int64_t)60 * 1000)
#define DAY (24 * 60 * MINUTE)

#define EVERY_DAY 0x7f
/* That a window opens at all is tried from a day on that does not move: what a commit means does not depend
 * on when it is looked at. */
#define TRIED_FROM ((msec_t)1767225600000) /* 2026-01-01 */

static void read_clock(struct schema_decoder *d, const struct located *text, const char *field, int *ret) {
        if (text->text && schedule_parse_clock(text->text, ret) < 0)
                schema_error(d, &text->where, "write it as \"22:30\"",
                             "field \"%s\": \"%.40s\" is no time of the day from 00:00 to 24:00", field,
                             text->text);
}

static void read_days(struct schema_decoder *d, struct window_document *w) {
        unsigned day;

        w->window.weekdays = w->days.n == 0 ? EVERY_DAY : 0;
        for (size_t i = 0; i < w->days.n; i++) {
                if (schedule_parse_weekday(w->days.items[i].text, &day) < 0)
                        schema_error(d, &w->days.items[i].where, "write Mon, Tue, Wed, Thu, Fri, Sat or Sun",
                                     "\"%.40s\" is no day of the week", w->days.items[i].text);
                else
                        w->window.weekdays |= (uint8_t)(1u << day);
        }
}

static void check_window(struct schema_decoder *d, const struct value *v, void *object) {
        struct window_document *w = object;
        bool clock = w->from.text || w->to.text;

        if ((w->cron.text != NULL) == clock) {
                schema_error(d, &w->where, NULL,
                             "a window has either \"from\" and \"to\" or \"cron\" and \"duration\"");
                return;
        }
        w->window.start_grace_ms = w->start_grace;
        if (w->cron.text) {
                if (cron_parse(w->cron.text, &w->window.cron) < 0)
                        schema_error(d, &w->cron.where, "five fields: minute, hour, day, month, weekday",
                                     "field \"cron\": \"%.80s\" is no cron expression", w->cron.text);
                if (w->duration == 0)
                        schema_error(d, &w->where, NULL, "a window with \"cron\" needs a \"duration\"");
                if (w->days.n > 0)
                        schema_error(d, &w->where, "put the days into the expression",
                                     "\"days\" goes with \"from\" and \"to\", not with \"cron\"");
                if (w->duration > 0 && w->start_grace > w->duration)
                        schema_error(d, &w->where, NULL, "startGrace is longer than the window");
                w->window.cron_text = w->cron.text;
                w->window.duration_ms = w->duration;
                return;
        }
        if (!w->from.text || !w->to.text)
                schema_error(d, &w->where, NULL, "a window needs both \"from\" and \"to\"");
        if (w->duration > 0)
                schema_error(d, &w->where, "leave it out",
                             "\"duration\" goes with \"cron\"; this window ends at \"to\"");
        read_clock(d, &w->from, "from", &w->window.from);
        read_clock(d, &w->to, "to", &w->window.to);
        read_days(d, w);
}

static const struct schema window_schema = {
        .name = "window",
        .documentation = "A stretch of local time: from one time of the day to another, or opened by cron.",
        .size = sizeof(struct window_document),
        .where_offset = offsetof(struct window_document, where),
        .check = check_window,
        .fields =
                (const struct schema_field[]){
                        {.name = "from",
                         .type = SCHEMA_LOCATED,
                         .offset = offsetof(struct window_document, from),
                         .documentation = "When it opens: `\"22:00\"`."},
                        {.name = "to",
                         .type = SCHEMA_LOCATED,
                         .offset = offsetof(struct window_document, to),
                         .documentation =
                                 "When it closes; a time that is not after `from` is of the next day."},
                        {.name = "days",
                         .type = SCHEMA_TEXTS,
                         .offset = offsetof(struct window_document, days),
                         .max = 7,
                         .documentation = "Days on which it opens: `Mon` to `Sun`; every day without it."},
                        {.name = "cron",
                         .type = SCHEMA_LOCATED,
                         .offset = offsetof(struct window_document, cron),
                         .documentation =
                                 "When it opens, in five fields: minute, hour, day, month, weekday."},
                        {.name = "duration",
                         .type = SCHEMA_DURATION,
                         .offset = offsetof(struct window_document, duration),
                         .min = MINUTE,
                         .max = SCHEDULE_SPAN_MAX_MS,
                         .documentation = "How long it stays open; with `cron`."},
                        {.name = "startGrace",
                         .type = SCHEMA_DURATION,
                         .offset = offsetof(struct window_document, start_grace),
                         .min = MINUTE,
                         .max = DAY,
                         .documentation =
                                 "A node that did not begin within this time waits for the next window; "
                                 "without it, it may begin until the window closes."},
                        {NULL},
                },
};

static void check_freeze(struct schema_decoder *d, const struct value *v, void *object) {
        struct freeze_document *f = object;
        const struct located *dates[] = {&f->from, &f->to};
        int64_t *days[] = {&f->freeze.from, &f->freeze.to};

        for (size_t i = 0; i < 2; i++)
                if (dates[i]->text && calendar_parse(dates[i]->text, days[i]) < 0) {
                        schema_error(d, &dates[i]->where, "write it as 2026-12-24", "\"%.40s\" is no date",
                                     dates[i]->text);
                        return;
                }
        if (f->freeze.to < f->freeze.from)
                schema_error(d, &f->where, NULL, "the freeze ends before it begins");
        if (f->reason && strlen(f->reason) > SCHEDULE_REASON_MAX)
                schema_error(d, &f->where, NULL, "the reason is longer than %d bytes", SCHEDULE_REASON_MAX);
        f->freeze.reason = f->reason;
}

static const struct schema freeze_schema = {
        .name = "freeze",
        .documentation = "Days on which nothing is applied, whatever the windows say.",
        .size = sizeof(struct freeze_document),
        .where_offset = offsetof(struct freeze_document, where),
        .check = check_freeze,
        .fields =
                (const struct schema_field[]){
                        {.name = "from",
                         .type = SCHEMA_LOCATED,
                         .offset = offsetof(struct freeze_document, from),
                         .required = true,
                         .documentation = "First day: `\"2026-12-20\"`."},
                        {.name = "to",
                         .type = SCHEMA_LOCATED,
                         .offset = offsetof(struct freeze_document, to),
                         .required = true,
                         .documentation = "Last day."},
                        {.name = "reason",
                         .type = SCHEMA_TEXT,
                         .offset = offsetof(struct freeze_document, reason),
                         .documentation = "Shown while it holds."},
                        {NULL},
                },
};

static bool window_opens(const struct schedule_window *w, const struct time_zone *zone) {
        struct schedule s = {.name = "", .windows = (struct schedule_window *)w, .n_windows = 1};
        struct schedule_state state;

        schedule_next(&s, zone, SCHEDULE_APPLY, TRIED_FROM, &state);
        return state.open || state.next != 0;
}

static void check_opens(struct schema_decoder *d, const struct window_document *windows, size_t n,
                        const struct time_zone *zone) {
        for (size_t i = 0; i < n; i++)
                if (!window_opens(&windows[i].window, zone))
                        schema_error(d, &windows[i].where, NULL, "this window never opens");
}

static void check_schedule(struct schema_decoder *d, const struct value *v, void *object) {
        struct schedule_document *s = object;
        _cleanup_(time_zone_freep) struct time_zone *zone = NULL, *utc = time_zone_utc();
        _cleanup_(err_freep) struct err *err = NULL;
        const char *name = s->time_zone.text ? s->time_zone.text : "UTC";

        if (!str_eq(name, SCHEDULE_NODE_ZONE) && time_zone_open(TIME_ZONE_FOLDER, name, &zone, &err) < 0)
                schema_error(d, &s->time_zone.where,
                             "a name such as Europe/Berlin, UTC, or node for each node's own",
                             "field \"timeZone\": %s", err_message(err));
        if (!utc) {
                d->failed = -ENOMEM;
                return;
        }
        if (s->broken)
                return;
        if (s->n_windows == 0 && s->n_downloads == 0 && s->n_freezes == 0)
                schema_warning(d, &v->position, NULL, "the schedule says nothing: nodes apply at any time");
        check_opens(d, s->windows, s->n_windows, zone ? zone : utc);
        check_opens(d, s->downloads, s->n_downloads, zone ? zone : utc);
}

const struct schema schedule_spec_schema = {
        .name = "Schedule spec",
        .documentation = "When nodes may apply a change, and fetch it.",
        .size = sizeof(struct schedule_document),
        .broken_offset = offsetof(struct schedule_document, broken),
        .check = check_schedule,
        .fields =
                (const struct schema_field[]){
                        {.name = "timeZone",
                         .type = SCHEMA_LOCATED,
                         .offset = offsetof(struct schedule_document, time_zone),
                         .documentation = "Of all times here: a name such as `Europe/Berlin`, `node` for the "
                                          "zone each "
                                          "node is set to, or UTC without it."},
                        {.name = "windows",
                         .type = SCHEMA_OBJECTS,
                         .offset = offsetof(struct schedule_document, windows),
                         .max = SCHEDULE_WINDOWS_MAX,
                         .nested = &window_schema,
                         .documentation = "When a change may be applied; at any time without it."},
                        {.name = "downloadWindows",
                         .type = SCHEMA_OBJECTS,
                         .offset = offsetof(struct schedule_document, downloads),
                         .max = SCHEDULE_WINDOWS_MAX,
                         .nested = &window_schema,
                         .documentation = "When fetching it may begin; at any time without it."},
                        {.name = "freezes",
                         .type = SCHEMA_OBJECTS,
                         .offset = offsetof(struct schedule_document, freezes),
                         .max = SCHEDULE_FREEZES_MAX,
                         .nested = &freeze_schema,
                         .documentation = "Days on which nothing is applied."},
                        {NULL},
                },
};
