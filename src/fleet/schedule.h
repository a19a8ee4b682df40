/* SPDX-License-Identifier: Apache-2.0 */
/* The Schedule kind: when nodes may apply a change, and fetch it. Pure: the server shows by it what is to
 * come, and the node keeps to it by itself, with no network; both by the same function. */
#pragma once

#include "base/arena.h"
#include "base/clock.h"
#include "codec/json.h"
#include "fleet/time_zone.h"

#define SCHEDULE_WINDOWS_MAX 16
#define SCHEDULE_FREEZES_MAX 64
#define SCHEDULE_REASON_MAX 200
#define SCHEDULE_SPAN_MAX_MS ((msec_t)7 * 86400 * 1000) /* of one window */
#define SCHEDULE_NODE_ZONE "node"                       /* the zone that each node is set to */

/* "MIN HOUR DAY MONTH WEEKDAY" as in crontab(5): lists, ranges, steps, names; 7 is Sunday, too. Where day and
 * weekday are both given, either will do. */
struct cron {
        uint64_t minutes;
        uint32_t hours, days; /* days: bit 1 to 31 */
        uint16_t months;      /* bit 1 to 12 */
        uint8_t weekdays;     /* bit 0 Sunday */
        bool any_day, any_weekday;
};
int cron_parse(const char *text, struct cron *ret); /* -EINVAL */

struct schedule_window {
        const char *cron_text; /* NULL: from and to */
        struct cron cron;
        msec_t duration_ms;    /* cron */
        int from, to;          /* minutes of the local day; `to` not after `from`: of the day after */
        uint8_t weekdays;      /* on which it begins; bit 0 Sunday */
        msec_t start_grace_ms; /* what is to be done must begin within it; 0: within the window */
};
struct schedule_freeze { /* whole local days, both included */
        int64_t from, to;
        const char *reason; /* or NULL */
};
struct schedule {
        const char *name;
        const char *zone;                /* "UTC", "Europe/Berlin" or SCHEDULE_NODE_ZONE */
        struct schedule_window *windows; /* for applying; none: at any time */
        size_t n_windows;
        struct schedule_window *downloads; /* for fetching; none: at any time */
        size_t n_downloads;
        struct schedule_freeze *freezes; /* nothing is applied in them; fetching goes on */
        size_t n_freezes;
};

/* "22:00" to minutes, up to "24:00"; -EINVAL. */
int schedule_parse_clock(const char *text, int *ret_minutes);
/* "Mon", "Monday": 1. -EINVAL */
int schedule_parse_weekday(const char *text, unsigned *ret);

/* {"name","timeZone","windows":[{"from":"22:00","to":"04:00","weekdays":[1],"startGraceMs"}|
 * {"cron","durationMs","startGraceMs"}],"downloads":[],"freezes":[{"from":"2026-12-20","to","reason"}]}; what
 * is empty is absent. Copies into the arena. -EINVAL names what is wrong. */
json_t *schedule_to_json(const struct schedule *s) _must_use_;
int schedule_from_json(struct arena *arena, const json_t *j, struct schedule **ret, struct err **err);

enum schedule_for { SCHEDULE_APPLY, SCHEDULE_DOWNLOAD };
struct schedule_state {
        bool open;
        msec_t until;       /* open: until when it may be begun; 0: no end */
        msec_t next;        /* closed: when it opens; 0: never within SCHEDULE_HORIZON_DAYS */
        const char *freeze; /* closed by a freeze: its reason, or "" */
};
#define SCHEDULE_HORIZON_DAYS 1830 /* a leap day is never further away */
/* What the schedule says at `now`. */
void schedule_next(const struct schedule *s, const struct time_zone *zone, enum schedule_for what, msec_t now,
                   struct schedule_state *ret);
