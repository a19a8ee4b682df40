/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define DAY_MS ((msec_t)24 * 60 * 60 * 1000)

static msec_t read_clock(clockid_t id) {
        struct timespec t;
        if (clock_gettime(id, &t) < 0)
                return 0;
        return (msec_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static msec_t system_wall(const struct clock *c) {
        return read_clock(CLOCK_REALTIME);
}

static msec_t system_mono(const struct clock *c) {
        return read_clock(CLOCK_BOOTTIME);
}

const struct clock *clock_system(void) {
        static const struct clock system = {.wall_ms = system_wall, .mono_ms = system_mono};
        return &system;
}

static msec_t virtual_wall(const struct clock *c) {
        return CONTAINER_OF(c, const struct virtual_clock, clock)->wall;
}

static msec_t virtual_mono(const struct clock *c) {
        return CONTAINER_OF(c, const struct virtual_clock, clock)->mono;
}

void virtual_clock_init(struct virtual_clock *c, msec_t wall_start) {
        *c = (struct virtual_clock){
                .clock = {.wall_ms = virtual_wall, .mono_ms = virtual_mono},
                .wall = wall_start,
        };
}

void virtual_clock_advance(struct virtual_clock *c, msec_t ms) {
        c->wall += ms;
        c->mono += ms;
}

/* Days from 1970-01-01 to a date of the Gregorian calendar and back, counted in years that begin in March so
 * that the leap day comes last. */
static int64_t days_from_date(int64_t year, int month, int day) {
        if (month <= 2)
                year--;
        int64_t era = (year >= 0 ? year : year - 399) / 400;
        int64_t year_of_era = year - era * 400;
        int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
        return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static void date_from_days(int64_t days, int64_t *year, int *month, int *day) {
        days += 719468;
        int64_t era = (days >= 0 ? days : days - 146096) / 146097;
        int64_t day_of_era = days - era * 146097;
        int64_t year_of_era =
                (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
        int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        int shifted = (int)((5 * day_of_year + 2) / 153);
        *day = (int)(day_of_year - (153 * shifted + 2) / 5 + 1);
        *month = shifted < 10 ? shifted + 3 : shifted - 9;
        *year = year_of_era + era * 400 + (*month <= 2 ? 1 : 0);
}

const char *time_format(msec_t wall, char out[TIME_TEXT_SIZE]) {
        /* RFC 3339 has four digits for the year; a clock beyond them is set wrong anyway. */
        const msec_t first = days_from_date(0, 1, 1) * DAY_MS;
        const msec_t last = days_from_date(10000, 1, 1) * DAY_MS - 1;
        wall = MIN(MAX(wall, first), last);
        int64_t days = wall / DAY_MS;
        msec_t rest = wall % DAY_MS;
        if (rest < 0) {
                rest += DAY_MS;
                days--;
        }
        int64_t year;
        int month, day;
        date_from_days(days, &year, &month, &day);
        /* Unsigned and reduced, so that the compiler sees that the text fits. */
        (void)snprintf(out, TIME_TEXT_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", (unsigned)year % 10000,
                       (unsigned)month % 100, (unsigned)day % 100, (unsigned)(rest / 3600000 % 24),
                       (unsigned)(rest / 60000 % 60), (unsigned)(rest / 1000 % 60), (unsigned)(rest % 1000));
        return out;
}

/* Exactly n digits; moves *s past them. */
static bool read_digits(const char **s, int n, int *ret) {
        int value = 0;
        for (int i = 0; i < n; i++, (*s)++) {
                if (**s < '0' || **s > '9')
                        return false;
                value = value * 10 + (**s - '0');
        }
        *ret = value;
        return true;
}

static bool read_char(const char **s, char c) {
        if (**s != c)
                return false;
        (*s)++;
        return true;
}

static int days_of_month(int year, int month) {
        static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
        bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        return month == 2 && leap ? 29 : days[month - 1];
}

int time_parse(const char *s, msec_t *ret_wall) {
        int year, month, day, hour, minute, second, milliseconds = 0, offset = 0;
        if (!s || !read_digits(&s, 4, &year) || !read_char(&s, '-') || !read_digits(&s, 2, &month) ||
            !read_char(&s, '-') || !read_digits(&s, 2, &day))
                return -EINVAL;
        if (!read_char(&s, 'T') && !read_char(&s, 't') && !read_char(&s, ' '))
                return -EINVAL;
        if (!read_digits(&s, 2, &hour) || !read_char(&s, ':') || !read_digits(&s, 2, &minute) ||
            !read_char(&s, ':') || !read_digits(&s, 2, &second))
                return -EINVAL;
        if (month < 1 || month > 12 || day < 1 || day > days_of_month(year, month) || hour > 23 ||
            minute > 59 || second > 60) /* 60: a leap second, which Unix time counts as the next one */
                return -EINVAL;
        if (read_char(&s, '.')) {
                if (*s < '0' || *s > '9')
                        return -EINVAL;
                for (int scale = 100; *s >= '0' && *s <= '9'; s++, scale /= 10)
                        milliseconds += (*s - '0') * scale;
        }
        if (*s == 'Z' || *s == 'z')
                s++;
        else if (*s == '+' || *s == '-') {
                int sign = *s++ == '-' ? -1 : 1, hours, minutes;
                if (!read_digits(&s, 2, &hours) || !read_char(&s, ':') || !read_digits(&s, 2, &minutes) ||
                    hours > 23 || minutes > 59)
                        return -EINVAL;
                offset = sign * (hours * 60 + minutes);
        } else
                return -EINVAL;
        if (*s)
                return -EINVAL;
        *ret_wall = days_from_date(year, month, day) * DAY_MS +
                    (msec_t)(hour * 60 + minute - offset) * 60000 + (msec_t)second * 1000 + milliseconds;
        return 0;
}

const char *age_format(msec_t ms, char *out, size_t size) {
        msec_t seconds = MAX(ms, 0) / 1000;
        if (seconds < 120)
                (void)snprintf(out, size, "%" PRId64 "s", seconds);
        else if (seconds < 120 * 60)
                (void)snprintf(out, size, "%" PRId64 "m", seconds / 60);
        else if (seconds < 48 * 3600)
                (void)snprintf(out, size, "%" PRId64 "h", seconds / 3600);
        else
                (void)snprintf(out, size, "%" PRId64 "d", seconds / 86400);
        return out;
}
