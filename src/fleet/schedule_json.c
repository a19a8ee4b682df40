/* SPDX-License-Identifier: Apache-2.0 */
/* A Schedule as it travels: in a rollout's policy, and over a signature to the nodes. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "fleet/schedule.h"

/* ---- writing: any non-zero is an error */

static int put(json_t *o, const char *key, json_t *value) {
        return json_object_set_new(o, key, value);
}

static json_t *give(json_t *j, int failed) {
        if (failed == 0)
                return j;
        json_decref(j);
        return NULL;
}

static json_t *clock_to_json(int minutes) {
        char text[8];
        (void)snprintf(text, sizeof(text), "%02u:%02u", (unsigned)minutes / 60 % 100, (unsigned)minutes % 60);
        return json_string(text);
}

static json_t *window_to_json(const struct schedule_window *w) {
        json_t *o = json_object(), *days = NULL;
        int r = 0;
        if (w->cron_text) {
                r |= put(o, "cron", json_string(w->cron_text));
                r |= put(o, "durationMs", json_integer(w->duration_ms));
        } else {
                r |= put(o, "from", clock_to_json(w->from));
                r |= put(o, "to", clock_to_json(w->to));
                days = json_array();
                for (int i = 0; i < 7; i++)
                        if ((w->weekdays >> i) & 1)
                                r |= json_array_append_new(days, json_integer(i));
                r |= put(o, "weekdays", days);
        }
        if (w->start_grace_ms > 0)
                r |= put(o, "startGraceMs", json_integer(w->start_grace_ms));
        return give(o, r);
}

static int put_windows(json_t *o, const char *key, const struct schedule_window *windows, size_t n) {
        if (n == 0)
                return 0;
        json_t *list = json_array();
        int r = 0;
        for (size_t i = 0; i < n; i++)
                r |= json_array_append_new(list, window_to_json(&windows[i]));
        return r | put(o, key, list);
}

static json_t *date_to_json(int64_t days) {
        char text[32];
        int64_t year;
        unsigned month, day;
        calendar_date(days, &year, &month, &day);
        (void)snprintf(text, sizeof(text), "%04" PRId64 "-%02u-%02u", year, month, day);
        return json_string(text);
}

static json_t *freeze_to_json(const struct schedule_freeze *f) {
        json_t *o = json_object();
        int r = put(o, "from", date_to_json(f->from)) | put(o, "to", date_to_json(f->to));
        if (f->reason)
                r |= put(o, "reason", json_string(f->reason));
        return give(o, r);
}

json_t *schedule_to_json(const struct schedule *s) {
        json_t *o = json_object();
        int r = put(o, "name", json_string(s->name)) | put(o, "timeZone", json_string(s->zone));
        r |= put_windows(o, "windows", s->windows, s->n_windows);
        r |= put_windows(o, "downloads", s->downloads, s->n_downloads);
        if (s->n_freezes > 0) {
                json_t *list = json_array();
                for (size_t i = 0; i < s->n_freezes; i++)
                        r |= json_array_append_new(list, freeze_to_json(&s->freezes[i]));
                r |= put(o, "freezes", list);
        }
        return give(o, r);
}

/* ---- reading */

static int read_span(const json_t *o, const char *key, msec_t *ret, struct err **err) {
        int64_t value = *ret;
        int r = json_read_optional_int(o, key, &value, err);
        if (r < 0)
                return r;
        if (value < 0 || value > SCHEDULE_SPAN_MAX_MS)
                return err_set(err, EINVAL, "field %s: %" PRId64 " is out of range", key, value);
        *ret = value;
        return 0;
}

static int read_clock(const json_t *o, const char *key, int *ret, struct err **err) {
        const char *text;
        int r = json_read_string(o, key, &text, err);
        if (r < 0)
                return r;
        return schedule_parse_clock(text, ret) < 0
                       ? err_set(err, EINVAL, "field %s: \"%.20s\" is no time of the day", key, text)
                       : 0;
}

static int read_weekdays(const json_t *o, uint8_t *ret, struct err **err) {
        const json_t *list, *item;
        size_t i;
        int r = json_read_array(o, "weekdays", &list, err);
        if (r < 0)
                return r;
        json_array_foreach (list, i, item) {
                json_int_t day = json_is_integer(item) ? json_integer_value(item) : -1;
                if (day < 0 || day > 6)
                        return err_set(err, EINVAL, "field weekdays: item %zu is not from 0 to 6", i + 1);
                *ret |= (uint8_t)(1u << day);
        }
        return *ret == 0 ? err_set(err, EINVAL, "field weekdays: the list is empty") : 0;
}

static int read_window(struct arena *arena, const json_t *o, struct schedule_window *ret, struct err **err) {
        const char *cron = NULL;
        int r = json_read_optional_string(o, "cron", &cron, err);
        if (r == 0)
                r = read_span(o, "startGraceMs", &ret->start_grace_ms, err);
        if (r < 0)
                return r;
        if (!cron) {
                r = read_clock(o, "from", &ret->from, err);
                if (r == 0)
                        r = read_clock(o, "to", &ret->to, err);
                return r < 0 ? r : read_weekdays(o, &ret->weekdays, err);
        }
        if (cron_parse(cron, &ret->cron) < 0)
                return err_set(err, EINVAL, "field cron: \"%.80s\" is no cron expression", cron);
        ret->cron_text = arena_strdup(arena, cron);
        if (!ret->cron_text)
                return err_set(err, ENOMEM, "out of memory");
        r = read_span(o, "durationMs", &ret->duration_ms, err);
        if (r < 0)
                return r;
        return ret->duration_ms < 60000 ? err_set(err, EINVAL, "field durationMs: less than a minute") : 0;
}

/* 0 items where the list is absent. */
static int read_list(const json_t *j, const char *key, size_t max, const json_t **ret, struct err **err) {
        *ret = json_object_get(j, key);
        if (*ret && (!json_is_array(*ret) || json_array_size(*ret) > max))
                return err_set(err, EINVAL, "field %s: expected a list of at most %zu", key, max);
        return 0;
}

static int read_windows(struct arena *arena, const json_t *j, const char *key, struct schedule_window **ret,
                        size_t *ret_n, struct err **err) {
        const json_t *list, *item;
        size_t i;
        int r = read_list(j, key, SCHEDULE_WINDOWS_MAX, &list, err);
        if (r < 0)
                return r;
        *ret = arena_calloc(arena, json_array_size(list) + 1, sizeof(**ret));
        if (!*ret)
                return err_set(err, ENOMEM, "out of memory");
        json_array_foreach (list, i, item) {
                r = read_window(arena, item, &(*ret)[(*ret_n)++], err);
                if (r < 0) {
                        (void)err_wrap(err, "%s: item %zu", key, i + 1);
                        return r;
                }
        }
        return 0;
}

static int read_date(const json_t *o, const char *key, int64_t *ret, struct err **err) {
        const char *text;
        int r = json_read_string(o, key, &text, err);
        if (r < 0)
                return r;
        return calendar_parse(text, ret) < 0
                       ? err_set(err, EINVAL, "field %s: \"%.20s\" is no date", key, text)
                       : 0;
}

static int read_freezes(struct arena *arena, const json_t *j, struct schedule *s, struct err **err) {
        const json_t *list, *item;
        size_t i;
        int r = read_list(j, "freezes", SCHEDULE_FREEZES_MAX, &list, err);
        if (r < 0)
                return r;
        s->freezes = arena_calloc(arena, json_array_size(list) + 1, sizeof(*s->freezes));
        if (!s->freezes)
                return err_set(err, ENOMEM, "out of memory");
        json_array_foreach (list, i, item) {
                struct schedule_freeze *f = &s->freezes[s->n_freezes++];
                const char *reason = NULL;
                r = read_date(item, "from", &f->from, err);
                if (r == 0)
                        r = read_date(item, "to", &f->to, err);
                if (r == 0)
                        r = json_read_optional_string(item, "reason", &reason, err);
                if (r == 0 && (f->to < f->from || (reason && strlen(reason) > SCHEDULE_REASON_MAX)))
                        r = err_set(err, EINVAL, "it ends before it begins, or its reason is too long");
                if (r < 0) {
                        (void)err_wrap(err, "freezes: item %zu", i + 1);
                        return r;
                }
                f->reason = reason ? arena_strdup(arena, reason) : NULL;
                if (reason && !f->reason)
                        return err_set(err, ENOMEM, "out of memory");
        }
        return 0;
}

int schedule_from_json(struct arena *arena, const json_t *j, struct schedule **ret, struct err **err) {
        const char *name = "", *zone = NULL;
        if (!json_is_object(j))
                return err_set(err, EINVAL, "schedule: expected an object");
        struct schedule *s = arena_alloc(arena, sizeof(*s));
        if (!s)
                return err_set(err, ENOMEM, "out of memory");
        *s = (struct schedule){0};
        int r = json_read_optional_string(j, "name", &name, err);
        if (r == 0)
                r = json_read_string(j, "timeZone", &zone, err);
        if (r == 0 && !str_eq(zone, SCHEDULE_NODE_ZONE) && !time_zone_name_is_valid(zone))
                r = err_set(err, EINVAL, "field timeZone: \"%.80s\" is no name of a time zone", zone);
        if (r == 0)
                r = read_windows(arena, j, "windows", &s->windows, &s->n_windows, err);
        if (r == 0)
                r = read_windows(arena, j, "downloads", &s->downloads, &s->n_downloads, err);
        if (r == 0)
                r = read_freezes(arena, j, s, err);
        if (r < 0) {
                (void)err_wrap(err, "schedule");
                return r;
        }
        s->name = arena_strdup(arena, name);
        s->zone = arena_strdup(arena, zone);
        if (!s->name || !s->zone)
                return err_set(err, ENOMEM, "out of memory");
        *ret = s;
        return 0;
}
