/* SPDX-License-Identifier: Apache-2.0 */
/* A time zone of the IANA database, as the system keeps it (TZif, RFC 9636). Times are Unix seconds; local
 * times are days since 1970-01-01 and seconds of the day. Reading is bounded: a file that is damaged or not a
 * TZif file is refused, never trusted. Leap seconds are not counted, as POSIX time does not. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define TIME_ZONE_FOLDER "/usr/share/zoneinfo"
#define TIME_ZONE_FILE_MAX ((size_t)256 << 10)
#define TIME_ZONE_NAME_MAX 64

struct time_zone;

/* "Europe/Berlin", "UTC"; no dots, so that a name stays within its folder. */
bool time_zone_name_is_valid(const char *name);
/* -EINVAL with what is wrong. */
int time_zone_parse(const void *data, size_t len, struct time_zone **ret, struct err **err);
/* Reads one of the system's ("UTC" needs none), or the machine's own from its file, which may be a link.
 * -ENOENT: the system does not know it; -EINVAL. */
int time_zone_open(const char *folder, const char *name, struct time_zone **ret, struct err **err);
int time_zone_open_file(const char *path, struct time_zone **ret, struct err **err);
struct time_zone *time_zone_utc(void); /* NULL: memory */
struct time_zone *time_zone_free(struct time_zone *z);
DEFINE_CLEANUP(struct time_zone, time_zone_free)

/* Seconds east of UTC at that moment. */
int32_t time_zone_offset(const struct time_zone *z, int64_t unix_s);
/* When it is that time there. Where it is twice (a clock put back), the first; where it is never (a clock put
 * forward), the moment of the change. seconds may be 86400 and above. */
int64_t time_zone_moment(const struct time_zone *z, int64_t day, int64_t seconds);
/* The local day and second of the day at a moment. */
void time_zone_local(const struct time_zone *z, int64_t unix_s, int64_t *ret_day, int64_t *ret_seconds);

/* The calendar: days since 1970-01-01 of a date, and back. month 1 to 12. */
int64_t calendar_day(int64_t year, unsigned month, unsigned day);
void calendar_date(int64_t days, int64_t *ret_year, unsigned *ret_month, unsigned *ret_day);
unsigned calendar_weekday(int64_t days); /* 0 Sunday */
/* "2026-12-24"; -EINVAL, also for a day that no month has. */
int calendar_parse(const char *text, int64_t *ret_days);
