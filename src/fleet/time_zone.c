/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/time_zone.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"

#define DAY INT64_C(86400)
#define TYPES_MAX 256u
#define TRANSITIONS_MAX 8192u
#define OFFSET_MAX (26 * 3600) /* RFC 9636, 3.2 */
#define HEADER_SIZE 44u

/* A day of the year on which the clock changes (POSIX, "TZ"). */
struct rule {
        enum { RULE_MONTH, RULE_JULIAN, RULE_DAY } type;
        unsigned month, week, day; /* Mm.w.d; Jn and n in day */
        int32_t time;              /* seconds of local time, may be below 0 */
};

struct time_zone {
        size_t n;
        int64_t *at;     /* transitions, ascending */
        int32_t *after;  /* the offset from then on */
        int32_t first;   /* before the first */
        bool has_footer; /* after the last */
        bool has_summer;
        int32_t standard, summer;
        struct rule begins, ends; /* of summer time */
};

/* ---- the calendar (days from civil, civil from days: the algorithms of the proleptic Gregorian calendar by
 * eras of 400 years) */

int64_t calendar_day(int64_t year, unsigned month, unsigned day) {
        year -= month <= 2;
        int64_t era = (year >= 0 ? year : year - 399) / 400;
        int64_t of_era = year - era * 400;
        int64_t of_year = (153 * (int64_t)(month > 2 ? month - 3 : month + 9) + 2) / 5 + (int64_t)day - 1;
        return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

void calendar_date(int64_t days, int64_t *ret_year, unsigned *ret_month, unsigned *ret_day) {
        days += 719468;
        int64_t era = (days >= 0 ? days : days - 146096) / 146097;
        int64_t of_era = days - era * 146097;
        int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
        int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
        int64_t shifted = (5 * of_year + 2) / 153;
        *ret_day = (unsigned)(of_year - (153 * shifted + 2) / 5 + 1);
        *ret_month = (unsigned)(shifted < 10 ? shifted + 3 : shifted - 9);
        *ret_year = year + era * 400 + (*ret_month <= 2);
}

unsigned calendar_weekday(int64_t days) {
        return (unsigned)(((days + 4) % 7 + 7) % 7);
}

int calendar_parse(const char *text, int64_t *ret_days) {
        unsigned year, month, day;
        int64_t back_year;
        unsigned back_month, back_day;
        if (strlen(text) != 10 || text[4] != '-' || text[7] != '-')
                return -EINVAL;
        for (size_t i = 0; i < 10; i++)
                if (i != 4 && i != 7 && !isdigit((unsigned char)text[i]))
                        return -EINVAL;
        year = (unsigned)strtoul(text, NULL, 10);
        month = (unsigned)strtoul(text + 5, NULL, 10);
        day = (unsigned)strtoul(text + 8, NULL, 10);
        if (year < 1970 || month < 1 || month > 12 || day < 1 || day > 31)
                return -EINVAL;
        int64_t days = calendar_day(year, month, day);
        calendar_date(days, &back_year, &back_month, &back_day);
        if (back_month != month)
                return -EINVAL; /* the 30th of February */
        *ret_days = days;
        return 0;
}

/* ---- the footer: a POSIX TZ text */

static bool skip_name(const char **p) {
        const char *s = *p;
        if (*s == '<') {
                const char *end = strchr(s, '>');
                if (!end || end - s < 4)
                        return false;
                *p = end + 1;
                return true;
        }
        while (isalpha((unsigned char)*s))
                s++;
        if (s - *p < 3)
                return false;
        *p = s;
        return true;
}

static bool read_number(const char **p, unsigned max, unsigned *ret) {
        unsigned value = 0, digits = 0;
        for (; isdigit((unsigned char)**p); (*p)++) {
                value = value * 10 + (unsigned)(**p - '0');
                if (++digits > 4)
                        return false;
        }
        *ret = value;
        return digits > 0 && value <= max;
}

/* [+-]hh[:mm[:ss]] */
static bool read_time(const char **p, unsigned max_hours, int32_t *ret) {
        unsigned hours, minutes = 0, seconds = 0;
        int sign = 1;
        if (**p == '+' || **p == '-')
                sign = *(*p)++ == '-' ? -1 : 1;
        if (!read_number(p, max_hours, &hours))
                return false;
        if (**p == ':') {
                (*p)++;
                if (!read_number(p, 59, &minutes))
                        return false;
                if (**p == ':') {
                        (*p)++;
                        if (!read_number(p, 59, &seconds))
                                return false;
                }
        }
        *ret = sign * (int32_t)(hours * 3600 + minutes * 60 + seconds);
        return true;
}

static bool read_rule(const char **p, struct rule *ret) {
        *ret = (struct rule){.time = 2 * 3600};
        if (*(*p)++ != ',')
                return false;
        if (**p == 'M') {
                (*p)++;
                ret->type = RULE_MONTH;
                if (!read_number(p, 12, &ret->month) || ret->month < 1 || *(*p)++ != '.' ||
                    !read_number(p, 5, &ret->week) || ret->week < 1 || *(*p)++ != '.' ||
                    !read_number(p, 6, &ret->day))
                        return false;
        } else {
                ret->type = **p == 'J' ? RULE_JULIAN : RULE_DAY;
                if (**p == 'J')
                        (*p)++;
                if (!read_number(p, 365, &ret->day) || (ret->type == RULE_JULIAN && ret->day < 1))
                        return false;
        }
        if (**p == '/') {
                (*p)++;
                return read_time(p, 167, &ret->time);
        }
        return true;
}

static bool read_footer(const char *p, struct time_zone *z) {
        int32_t west;
        if (!skip_name(&p) || !read_time(&p, 24, &west))
                return false;
        z->standard = -west;
        z->has_footer = true;
        if (*p == '\0')
                return true;
        if (!skip_name(&p))
                return false;
        z->summer = z->standard + 3600;
        if (*p != ',') {
                if (!read_time(&p, 24, &west))
                        return false;
                z->summer = -west;
        }
        z->has_summer = true;
        return read_rule(&p, &z->begins) && read_rule(&p, &z->ends) && *p == '\0';
}

static bool is_leap(int64_t year) {
        return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* The local moment of the change in that year, as seconds since 1970 of local time. */
static int64_t rule_moment(const struct rule *r, int64_t year) {
        int64_t day;
        if (r->type == RULE_MONTH) {
                int64_t first = calendar_day(year, r->month, 1);
                int64_t next =
                        r->month == 12 ? calendar_day(year + 1, 1, 1) : calendar_day(year, r->month + 1, 1);
                day = first + (7 + (int64_t)r->day - (int64_t)calendar_weekday(first)) % 7 +
                      7 * ((int64_t)r->week - 1);
                while (day >= next)
                        day -= 7;
        } else {
                day = calendar_day(year, 1, 1) + (int64_t)r->day;
                if (r->type == RULE_JULIAN) /* the 29th of February is never counted */
                        day -= is_leap(year) && r->day >= 60 ? 0 : 1;
        }
        return day * DAY + r->time;
}

static int32_t footer_offset(const struct time_zone *z, int64_t t) {
        int64_t year;
        unsigned month, day;
        if (!z->has_summer)
                return z->standard;
        int64_t local = t + z->standard;
        calendar_date(local >= 0 ? local / DAY : (local - DAY + 1) / DAY, &year, &month, &day);
        int64_t begins = rule_moment(&z->begins, year) - z->standard;
        int64_t ends = rule_moment(&z->ends, year) - z->summer;
        bool summer = begins < ends ? t >= begins && t < ends : !(t >= ends && t < begins);
        return summer ? z->summer : z->standard;
}

/* ---- the file */

static int64_t read_big_endian(const uint8_t *p, size_t n) {
        uint64_t v = p[0] & 0x80 && n < 8 ? UINT64_MAX : 0;
        for (size_t i = 0; i < n; i++)
                v = v << 8 | p[i];
        return (int64_t)v;
}

struct block {
        uint32_t n_utc, n_standard, n_leap, n_times, n_types, n_chars;
        uint8_t version;
};

static bool read_header(const uint8_t *p, size_t len, struct block *ret) {
        if (len < HEADER_SIZE || memcmp(p, "TZif", 4) != 0)
                return false;
        uint32_t n[6];
        for (size_t i = 0; i < 6; i++) {
                n[i] = (uint32_t)read_big_endian(p + 20 + 4 * i, 4);
                if (n[i] > TIME_ZONE_FILE_MAX)
                        return false;
        }
        *ret = (struct block){.n_utc = n[0],
                              .n_standard = n[1],
                              .n_leap = n[2],
                              .n_times = n[3],
                              .n_types = n[4],
                              .n_chars = n[5],
                              .version = p[4]};
        return true;
}

static size_t block_size(const struct block *b, size_t time_size) {
        return b->n_times * (time_size + 1) + b->n_types * (size_t)6 + b->n_chars +
               b->n_leap * (time_size + 4) + b->n_standard + b->n_utc;
}

static int read_block(const uint8_t *p, const struct block *b, size_t time_size, struct time_zone *z,
                      struct err **err) {
        if (b->n_types == 0 || b->n_types > TYPES_MAX || b->n_times > TRANSITIONS_MAX)
                return err_set(err, EINVAL, "it has %u kinds of time and %u changes", b->n_types, b->n_times);
        z->at = calloc(b->n_times + 1, sizeof(*z->at));
        z->after = calloc(b->n_times + 1, sizeof(*z->after));
        if (!z->at || !z->after)
                return err_set(err, ENOMEM, "out of memory");
        const uint8_t *types = p + b->n_times * time_size, *kinds = types + b->n_times;
        for (uint32_t i = 0; i < b->n_types; i++) {
                int64_t offset = read_big_endian(kinds + 6 * (size_t)i, 4);
                if (offset < -OFFSET_MAX || offset > OFFSET_MAX)
                        return err_set(err, EINVAL, "it has an offset of %lld seconds", (long long)offset);
        }
        z->first = (int32_t)read_big_endian(kinds, 4);
        for (uint32_t i = 0; i < b->n_times; i++) {
                z->at[i] = read_big_endian(p + i * time_size, time_size);
                if (types[i] >= b->n_types || (i > 0 && z->at[i] <= z->at[i - 1]))
                        return err_set(err, EINVAL, "its changes are out of order");
                z->after[i] = (int32_t)read_big_endian(kinds + 6 * (size_t)types[i], 4);
        }
        z->n = b->n_times;
        return 0;
}

int time_zone_parse(const void *data, size_t len, struct time_zone **ret, struct err **err) {
        const uint8_t *p = data;
        struct block b;
        size_t time_size = 4;
        if (!read_header(p, len, &b))
                return err_set(err, EINVAL, "it is no TZif file");
        p += HEADER_SIZE;
        len -= HEADER_SIZE;
        if (block_size(&b, 4) > len)
                return err_set(err, EINVAL, "the TZif file is cut off");
        if (b.version >= '2') { /* all again, with 64 bits */
                len -= block_size(&b, 4);
                p += block_size(&b, 4);
                if (!read_header(p, len, &b) || (len -= HEADER_SIZE, block_size(&b, 8) > len))
                        return err_set(err, EINVAL, "the TZif file is cut off");
                p += HEADER_SIZE;
                time_size = 8;
        }
        _cleanup_(time_zone_freep) struct time_zone *z = calloc(1, sizeof(*z));
        if (!z)
                return err_set(err, ENOMEM, "out of memory");
        int r = read_block(p, &b, time_size, z, err);
        if (r < 0)
                return r;
        p += block_size(&b, time_size);
        len -= block_size(&b, time_size);
        if (time_size == 8) {
                char text[128];
                const uint8_t *end = len > 1 && p[0] == '\n' ? memchr(p + 1, '\n', len - 1) : NULL;
                if (!end || (size_t)(end - p) > sizeof(text))
                        return err_set(err, EINVAL, "the TZif file has no footer");
                size_t n = (size_t)(end - p - 1);
                memcpy(text, p + 1, n);
                text[n] = '\0';
                if (n > 0 && !read_footer(text, z))
                        return err_set(err, EINVAL, "the TZif file's footer \"%s\" cannot be read", text);
        }
        *ret = TAKE_PTR(z);
        return 0;
}

bool time_zone_name_is_valid(const char *name) {
        size_t len = strlen(name);
        if (len == 0 || len > TIME_ZONE_NAME_MAX || !isalpha((unsigned char)name[0]))
                return false;
        for (const char *p = name; *p; p++)
                if (!isalnum((unsigned char)*p) && !strchr("_+-/", *p))
                        return false;
        return name[len - 1] != '/' && !strstr(name, "//");
}

struct time_zone *time_zone_utc(void) {
        struct time_zone *z = calloc(1, sizeof(*z));
        if (z)
                z->has_footer = true;
        return z;
}

int time_zone_open_file(const char *path, struct time_zone **ret, struct err **err) {
        _cleanup_(x_freep) char *data = NULL;
        size_t len;
        int r = file_read(path, TIME_ZONE_FILE_MAX, &data, &len, err);
        if (r < 0)
                return r;
        r = time_zone_parse(data, len, ret, err);
        return r < 0 ? err_wrap(err, "%s", path) : 0;
}

int time_zone_open(const char *folder, const char *name, struct time_zone **ret, struct err **err) {
        if (!time_zone_name_is_valid(name))
                return err_set(err, EINVAL, "\"%.80s\" is no name of a time zone, such as Europe/Berlin",
                               name);
        if (str_eq(name, "UTC")) {
                struct time_zone *utc = time_zone_utc();
                if (!utc)
                        return err_set(err, ENOMEM, "out of memory");
                *ret = utc;
                return 0;
        }
        _cleanup_(x_freep) char *path = str_format("%s/%s", folder, name);
        _cleanup_(err_freep) struct err *why = NULL;
        if (!path)
                return err_set(err, ENOMEM, "out of memory");
        int r = time_zone_open_file(path, ret, &why);
        if (r == -ENOENT)
                return err_set(err, ENOENT, "time zone %s is not known here (the package tzdata has them)",
                               name);
        return r < 0 ? err_set(err, -r, "time zone %s: %s", name, err_message(why)) : 0;
}

struct time_zone *time_zone_free(struct time_zone *z) {
        if (!z)
                return NULL;
        free(z->at);
        free(z->after);
        free(z);
        return NULL;
}

/* ---- asking */

int32_t time_zone_offset(const struct time_zone *z, int64_t t) {
        size_t low = 0, high = z->n;
        while (low < high) { /* the first change after t */
                size_t middle = low + (high - low) / 2;
                if (z->at[middle] <= t)
                        low = middle + 1;
                else
                        high = middle;
        }
        if (low == z->n && z->has_footer)
                return footer_offset(z, t);
        return low == 0 ? z->first : z->after[low - 1];
}

void time_zone_local(const struct time_zone *z, int64_t t, int64_t *ret_day, int64_t *ret_seconds) {
        int64_t local = t + time_zone_offset(z, t);
        *ret_day = local >= 0 ? local / DAY : (local - DAY + 1) / DAY;
        *ret_seconds = local - *ret_day * DAY;
}

/* The offsets before and after a change that lies near are known; where one of them gives the time asked for,
 * the earlier one counts. Else the clock jumps over it, and the change is between the two. */
int64_t time_zone_moment(const struct time_zone *z, int64_t day, int64_t seconds) {
        int64_t local = day * DAY + seconds;
        int64_t before = local - time_zone_offset(z, local - DAY),
                after = local - time_zone_offset(z, local + DAY);
        int64_t first = before < after ? before : after, second = before < after ? after : before;
        if (first + time_zone_offset(z, first) == local)
                return first;
        if (second + time_zone_offset(z, second) == local)
                return second;
        int64_t low = first - 1, high = second; /* not yet at low, past it at high */
        while (high - low > 1) {
                int64_t middle = low + (high - low) / 2;
                if (middle + time_zone_offset(z, middle) < local)
                        low = middle;
                else
                        high = middle;
        }
        return high;
}
