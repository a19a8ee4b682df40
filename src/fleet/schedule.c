/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/schedule.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"

#define DAY_S INT64_C(86400)
#define DAY_MINUTES 1440

static const char *const weekday_names[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                            "Thursday", "Friday", "Saturday"};
static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun",
                                          "jul", "aug", "sep", "oct", "nov", "dec"};

/* ---- words */

int schedule_parse_clock(const char *text, int *ret_minutes) {
        size_t len = strlen(text);
        if (len != 5 || text[2] != ':')
                return -EINVAL;
        for (size_t i = 0; i < len; i++)
                if (i != 2 && !isdigit((unsigned char)text[i]))
                        return -EINVAL;
        int minutes = ((text[0] - '0') * 10 + text[1] - '0') * 60 + (text[3] - '0') * 10 + text[4] - '0';
        if (text[3] > '5' || minutes > DAY_MINUTES)
                return -EINVAL;
        *ret_minutes = minutes;
        return 0;
}

int schedule_parse_weekday(const char *text, unsigned *ret) {
        size_t len = strlen(text);
        for (unsigned i = 0; i < 7; i++)
                if ((len == 3 || len == strlen(weekday_names[i])) &&
                    strncasecmp(text, weekday_names[i], len) == 0) {
                        *ret = i;
                        return 0;
                }
        return -EINVAL;
}

/* ---- cron */

struct cron_field {
        unsigned min, max;
        const char *const *names; /* of three letters, from name_base on; NULL: none */
        size_t n_names;
        unsigned name_base;
};

static bool read_cron_value(const char **p, const struct cron_field *f, unsigned *ret) {
        if (isdigit((unsigned char)**p)) {
                char *end;
                unsigned long value = strtoul(*p, &end, 10);
                if (end - *p > 2 || value < f->min || value > f->max)
                        return false;
                *p = end;
                *ret = (unsigned)value;
                return true;
        }
        for (size_t i = 0; i < f->n_names; i++)
                if (strncasecmp(*p, f->names[i], 3) == 0 && !isalnum((unsigned char)(*p)[3])) {
                        *p += 3;
                        *ret = f->name_base + (unsigned)i;
                        return true;
                }
        return false;
}

/* value, value-value, star, each with /step; several with commas. */
static bool read_cron_field(const char **p, const struct cron_field *f, uint64_t *ret_bits, bool *ret_any) {
        uint64_t bits = 0;
        *ret_any = **p == '*';
        do {
                unsigned from = f->min, to = f->max, step = 1;
                if (**p == '*') {
                        (*p)++;
                } else {
                        if (!read_cron_value(p, f, &from))
                                return false;
                        to = from;
                        if (**p == '-') {
                                (*p)++;
                                if (!read_cron_value(p, f, &to) || to < from)
                                        return false;
                        } else if (**p == '/') {
                                to = f->max;
                        }
                }
                if (**p == '/') {
                        char *end;
                        if (!isdigit((unsigned char)(*p)[1]))
                                return false;
                        unsigned long value = strtoul(*p + 1, &end, 10);
                        if (end - *p > 3 || value < 1)
                                return false;
                        step = (unsigned)value;
                        *p = end;
                }
                for (unsigned i = from; i <= to; i += step)
                        bits |= UINT64_C(1) << i;
        } while (**p == ',' && (*p)++);
        *ret_bits = bits;
        return **p == ' ' || **p == '\0';
}

int cron_parse(const char *text, struct cron *ret) {
        static const char *const days[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
        static const struct cron_field fields[] = {
                {0, 59, NULL, 0, 0},         {0, 23, NULL, 0, 0}, {1, 31, NULL, 0, 0},
                {1, 12, month_names, 12, 1}, {0, 7, days, 7, 0},
        };
        uint64_t bits[5];
        bool any[5];
        if (strlen(text) > 256)
                return -EINVAL;
        for (size_t i = 0; i < 5; i++) {
                while (*text == ' ')
                        text++;
                if (!read_cron_field(&text, &fields[i], &bits[i], &any[i]))
                        return -EINVAL;
        }
        while (*text == ' ')
                text++;
        if (*text != '\0')
                return -EINVAL;
        *ret = (struct cron){.minutes = bits[0],
                             .hours = (uint32_t)bits[1],
                             .days = (uint32_t)bits[2],
                             .months = (uint16_t)bits[3],
                             .weekdays = (uint8_t)((bits[4] | bits[4] >> 7) & 0x7f),
                             .any_day = any[2],
                             .any_weekday = any[4]};
        return 0;
}

static bool cron_has_day(const struct cron *c, int64_t day) {
        int64_t year;
        unsigned month, of_month;
        calendar_date(day, &year, &month, &of_month);
        if (!((c->months >> month) & 1u))
                return false;
        bool by_date = (c->days >> of_month) & 1u, by_weekday = (c->weekdays >> calendar_weekday(day)) & 1u;
        return c->any_day || c->any_weekday ? by_date && by_weekday : by_date || by_weekday;
}

/* ---- when */

struct search {
        const struct schedule *schedule;
        const struct time_zone *zone;
        enum schedule_for what;
        int64_t now;            /* seconds */
        int64_t best, best_end; /* the earliest stretch that is open and not over; best_end -1: none yet */
};

static msec_t span_of(const struct schedule_window *w) {
        return w->cron_text ? w->duration_ms : (msec_t)2 * DAY_S * 1000;
}

/* The first moment from t on that no freeze covers; the freeze that covers t in *ret, or NULL. */
static int64_t after_freezes(const struct search *s, int64_t t, const struct schedule_freeze **ret) {
        *ret = NULL;
        if (s->what != SCHEDULE_APPLY)
                return t;
        for (bool moved = true; moved;) {
                moved = false;
                for (size_t i = 0; i < s->schedule->n_freezes; i++) {
                        const struct schedule_freeze *f = &s->schedule->freezes[i];
                        int64_t from = time_zone_moment(s->zone, f->from, 0);
                        int64_t to = time_zone_moment(s->zone, f->to + 1, 0);
                        if (t < from || t >= to)
                                continue;
                        if (!*ret)
                                *ret = f;
                        t = to;
                        moved = true;
                }
        }
        return t;
}

/* The start of the next freeze after t; INT64_MAX: none. */
static int64_t next_freeze(const struct search *s, int64_t t) {
        int64_t next = INT64_MAX;
        for (size_t i = 0; s->what == SCHEDULE_APPLY && i < s->schedule->n_freezes; i++) {
                int64_t from = time_zone_moment(s->zone, s->schedule->freezes[i].from, 0);
                if (from > t && from < next)
                        next = from;
        }
        return next;
}

/* A stretch in which the schedule is open but for freezes. Windows that touch or overlap go on into each
 * other: of two that hold now, the later end counts. */
static void look_at(struct search *s, int64_t from, int64_t to) {
        const struct schedule_freeze *freeze;
        int64_t begin = after_freezes(s, from > s->now ? from : s->now, &freeze);
        if (begin >= to)
                return;
        int64_t stop = next_freeze(s, begin), end = to < stop ? to : stop;
        if (s->best_end < 0 || begin < s->best || (begin == s->best && end > s->best_end)) {
                s->best = begin;
                s->best_end = end;
        }
}

static void look_at_opening(struct search *s, const struct schedule_window *w, int64_t opens,
                            int64_t closes) {
        if (w->start_grace_ms > 0 && opens + w->start_grace_ms / 1000 < closes)
                closes = opens + w->start_grace_ms / 1000;
        look_at(s, opens, closes);
}

/* What opens on that local day. */
static void look_at_day(struct search *s, const struct schedule_window *w, int64_t day) {
        if (!w->cron_text) {
                if (!((w->weekdays >> calendar_weekday(day)) & 1u))
                        return;
                look_at_opening(s, w, time_zone_moment(s->zone, day, w->from * 60),
                                time_zone_moment(s->zone, w->to > w->from ? day : day + 1, w->to * 60));
                return;
        }
        if (!cron_has_day(&w->cron, day))
                return;
        for (int64_t hour = 0; hour < 24; hour++)
                for (int64_t minute = 0; minute < 60 && (w->cron.hours >> hour) & 1u; minute++)
                        if ((w->cron.minutes >> minute) & 1u) {
                                int64_t opens = time_zone_moment(s->zone, day, (hour * 60 + minute) * 60);
                                look_at_opening(s, w, opens, opens + w->duration_ms / 1000);
                        }
}

static void search_windows(struct search *s, const struct schedule_window *windows, size_t n) {
        int64_t today, seconds, back = 1;
        time_zone_local(s->zone, s->now, &today, &seconds);
        for (size_t i = 0; i < n; i++) {
                int64_t days = span_of(&windows[i]) / 1000 / DAY_S + 2;
                back = days > back ? days : back;
        }
        for (int64_t day = today - back; day <= today + SCHEDULE_HORIZON_DAYS; day++) {
                if (s->best_end >= 0 && time_zone_moment(s->zone, day, 0) > s->best)
                        return; /* nothing that opens from here on is earlier */
                for (size_t i = 0; i < n; i++)
                        look_at_day(s, &windows[i], day);
        }
}

void schedule_next(const struct schedule *s, const struct time_zone *zone, enum schedule_for what, msec_t now,
                   struct schedule_state *ret) {
        struct search search = {.schedule = s, .zone = zone, .what = what, .now = now / 1000, .best_end = -1};
        const struct schedule_window *windows = what == SCHEDULE_APPLY ? s->windows : s->downloads;
        size_t n = what == SCHEDULE_APPLY ? s->n_windows : s->n_downloads;
        const struct schedule_freeze *freeze;

        if (n == 0)
                look_at(&search, search.now, INT64_MAX);
        else
                search_windows(&search, windows, n);
        *ret = (struct schedule_state){0};
        if (search.best_end >= 0 && search.best <= search.now) {
                ret->open = true;
                ret->until = search.best_end == INT64_MAX ? 0 : search.best_end * 1000;
                return;
        }
        (void)after_freezes(&search, search.now, &freeze);
        ret->next = search.best_end >= 0 ? search.best * 1000 : 0;
        ret->freeze = freeze ? (freeze->reason ? freeze->reason : "") : NULL;
}
