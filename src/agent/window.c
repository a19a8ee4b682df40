/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/window.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"

#define WINDOW_ARENA_MAX ((size_t)1 << 20)

struct window {
        struct arena *arena;
        struct schedule *schedule;
        struct time_zone *zone; /* NULL: see problem */
        struct err *problem;
};

struct window *window_free(struct window *w) {
        if (!w)
                return NULL;
        time_zone_free(w->zone);
        err_free(w->problem);
        arena_free(w->arena);
        free(w);
        return NULL;
}

int window_new(const json_t *schedule, struct window **ret, struct err **err) {
        _cleanup_(window_freep) struct window *w = calloc(1, sizeof(*w));
        if (!w || !(w->arena = arena_new(WINDOW_ARENA_MAX)))
                return err_set_errno(err, ENOMEM, "maintenance windows");
        int r = schedule_from_json(w->arena, schedule, &w->schedule, err);
        if (r < 0)
                return r;
        if (str_eq(w->schedule->zone, SCHEDULE_NODE_ZONE))
                r = time_zone_open_file(WINDOW_LOCAL_ZONE, &w->zone, &w->problem);
        else
                r = time_zone_open(TIME_ZONE_FOLDER, w->schedule->zone, &w->zone, &w->problem);
        if (r == -ENOENT && str_eq(w->schedule->zone, SCHEDULE_NODE_ZONE)) {
                /* A machine that is set to no zone keeps UTC. */
                w->problem = err_free(w->problem);
                w->zone = time_zone_utc();
        }
        if (!w->zone && !w->problem)
                return err_set_errno(err, ENOMEM, "maintenance windows");
        *ret = TAKE_PTR(w);
        return 0;
}

static struct schedule_state look(const struct window *w, enum schedule_for what, msec_t now) {
        struct schedule_state s = {.open = true};
        if (!w)
                return s;
        if (!w->zone)
                return (struct schedule_state){0};
        schedule_next(w->schedule, w->zone, what, now, &s);
        return s;
}

bool window_is_open(const struct window *w, enum schedule_for what, msec_t now) {
        return look(w, what, now).open;
}

msec_t window_look_in(const struct window *w, enum schedule_for what, msec_t now) {
        struct schedule_state s = look(w, what, now);
        if (s.open)
                return 0;
        return s.next == 0 ? WINDOW_LOOK_MS : MIN(MAX(s.next - now, 1), WINDOW_LOOK_MS);
}

void window_say(const struct window *w, enum schedule_for what, msec_t now, char *out, size_t size) {
        struct schedule_state s = look(w, what, now);
        char when[TIME_TEXT_SIZE];
        const char *name = what == SCHEDULE_APPLY ? "window" : "download window";
        if (w && w->problem)
                (void)snprintf(out, size, "waits for its %s, and cannot know it: %s", name,
                               err_message(w->problem));
        else if (s.next == 0)
                (void)snprintf(out, size, "waits for its %s, which does not open", name);
        else if (s.freeze)
                (void)snprintf(out, size, "waits: frozen%s%s%s, goes on %s", s.freeze[0] ? " (" : "",
                               s.freeze, s.freeze[0] ? ")" : "", time_format(s.next, when));
        else
                (void)snprintf(out, size, "waits for its %s: opens %s", name, time_format(s.next, when));
}
