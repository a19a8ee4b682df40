/* SPDX-License-Identifier: Apache-2.0 */
/* Windows and freezes, with the system's time zones: clocks that jump, and windows that never open. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "fleet/schedule.h"

struct test {
        struct arena *arena;
        struct schedule *schedule;
        struct time_zone *zone;
        struct err *err;
};

static int setup(void **state) {
        struct test *t = calloc(1, sizeof(*t));
        assert_non_null(t);
        t->arena = arena_new(0);
        *state = t;
        return 0;
}

static int teardown(void **state) {
        struct test *t = *state;
        time_zone_free(t->zone);
        err_free(t->err);
        arena_free(t->arena);
        free(t);
        return 0;
}

/* JSON with ' for ". */
static int read_text(struct test *t, const char *text) {
        char copy[2048];
        json_t *j = NULL;
        (void)snprintf(copy, sizeof(copy), "%s", text);
        for (char *p = copy; *p; p++)
                if (*p == '\'')
                        *p = '"';
        if (json_decode(copy, strlen(copy), &j, &t->err) < 0)
                fail_msg("%s", err_message(t->err));
        int r = schedule_from_json(t->arena, j, &t->schedule, &t->err);
        if (r == 0) {
                json_t *back = schedule_to_json(t->schedule);
                assert_true(json_equal(j, back));
                json_decref(back);
        }
        json_decref(j);
        return r;
}

static void use(struct test *t, const char *zone, const char *text) {
        time_zone_free(t->zone);
        t->zone = NULL;
        if (read_text(t, text) < 0 || time_zone_open(TIME_ZONE_FOLDER, zone, &t->zone, &t->err) < 0)
                fail_msg("%s", err_message(t->err));
}

static msec_t at(const char *time) {
        msec_t ms;
        assert_int_equal(time_parse(time, &ms), 0);
        return ms;
}

static struct schedule_state next(const struct test *t, const char *now) {
        struct schedule_state s;
        schedule_next(t->schedule, t->zone, SCHEDULE_APPLY, at(now), &s);
        return s;
}

#define assert_open(t, now, end)                                                                             \
        do {                                                                                                 \
                struct schedule_state s_ = next((t), (now));                                                 \
                assert_true(s_.open);                                                                        \
                assert_int_equal(s_.until, at(end));                                                         \
        } while (0)
#define assert_closed(t, now, opens)                                                                         \
        do {                                                                                                 \
                struct schedule_state s_ = next((t), (now));                                                 \
                assert_false(s_.open);                                                                       \
                assert_int_equal(s_.next, at(opens));                                                        \
        } while (0)

static void a_night_ends_on_the_day_after(void **state) {
        struct test *t = *state;
        use(t, "UTC",
            "{'name':'nights','timeZone':'UTC','windows':[{'from':'22:00','to':'04:00','weekdays':[1,2,3,4,5]"
            "}]}");
        assert_closed(t, "2026-11-20T21:59:59Z", "2026-11-20T22:00:00Z"); /* a Friday */
        assert_open(t, "2026-11-20T22:00:00Z", "2026-11-21T04:00:00Z");
        assert_open(t, "2026-11-21T03:59:59Z", "2026-11-21T04:00:00Z");
        assert_closed(t, "2026-11-21T04:00:00Z", "2026-11-23T22:00:00Z"); /* the weekend has none */
}

static void the_clock_is_the_zone_s(void **state) {
        struct test *t = *state;
        const char *text =
                "{'name':'x','timeZone':'Europe/Berlin','windows':[{'from':'01:00','to':'05:00','weekdays':"
                "[0,1,2,3,4,5,6]}]}";
        use(t, "Europe/Berlin", text);
        assert_closed(t, "2026-07-01T20:00:00Z", "2026-07-01T23:00:00Z");
        assert_closed(t, "2026-12-01T20:00:00Z", "2026-12-02T00:00:00Z");
        use(t, "Asia/Kolkata", text);
        assert_closed(t, "2026-12-01T10:00:00Z", "2026-12-01T19:30:00Z");
        use(t, "Pacific/Kiritimati", text);
        assert_closed(t, "2026-12-01T00:00:00Z", "2026-12-01T11:00:00Z");
}

/* Berlin, 29 March 2026: 02:00 becomes 03:00. */
static void a_window_in_the_gap_opens_when_the_clock_jumps(void **state) {
        struct test *t = *state;
        use(t, "Europe/Berlin",
            "{'name':'x','timeZone':'Europe/"
            "Berlin','windows':[{'from':'02:30','to':'05:00','weekdays':[0]}]}");
        assert_closed(t, "2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z");
        assert_open(t, "2026-03-29T01:00:00Z", "2026-03-29T03:00:00Z");
        use(t, "Europe/Berlin",
            "{'name':'x','timeZone':'Europe/"
            "Berlin','windows':[{'from':'02:00','to':'03:00','weekdays':[0]}]}");
        assert_closed(t, "2026-03-28T12:00:00Z", "2026-04-05T00:00:00Z"); /* an hour that was not */
}

/* Berlin, 25 October 2026: 03:00 becomes 02:00. */
static void a_window_in_the_fold_opens_at_the_first(void **state) {
        struct test *t = *state;
        use(t, "Europe/Berlin",
            "{'name':'x','timeZone':'Europe/"
            "Berlin','windows':[{'from':'02:30','to':'04:00','weekdays':[0]}]}");
        assert_closed(t, "2026-10-24T23:00:00Z", "2026-10-25T00:30:00Z");
        assert_open(t, "2026-10-25T00:30:00Z", "2026-10-25T03:00:00Z");
        assert_open(t, "2026-10-25T01:40:00Z", "2026-10-25T03:00:00Z"); /* the second 02:40 */
}

/* Samoa had no 30 December 2011. */
static void a_day_that_was_skipped(void **state) {
        struct test *t = *state;
        use(t, "Pacific/Apia",
            "{'name':'x','timeZone':'Pacific/"
            "Apia','windows':[{'from':'10:00','to':'12:00','weekdays':[5]}]}");
        assert_closed(t, "2011-12-29T12:00:00Z", "2012-01-05T20:00:00Z");
}

static void beyond_the_table_the_rule_goes_on(void **state) {
        struct test *t = *state;
        use(t, "Europe/Berlin",
            "{'name':'x','timeZone':'Europe/"
            "Berlin','windows':[{'from':'12:00','to':'13:00','weekdays':[0,1,2,3,4,5,6]}]}");
        assert_closed(t, "2075-07-01T00:00:00Z", "2075-07-01T10:00:00Z");
        assert_closed(t, "2075-12-01T00:00:00Z", "2075-12-01T11:00:00Z");
        use(t, "Australia/Lord_Howe",
            "{'name':'x','timeZone':'Australia/Lord_Howe','windows':[{'from':'12:00','to':'13:00',"
            "'weekdays':[0,1,2,3,4,5,6]}]}");
        assert_closed(t, "2075-07-01T00:00:00Z", "2075-07-01T01:30:00Z");
        assert_closed(t, "2075-12-31T00:00:00Z", "2075-12-31T01:00:00Z"); /* half an hour of summer time */
}

static void a_start_grace_ends_before_the_window(void **state) {
        struct test *t = *state;
        use(t, "UTC",
            "{'name':'x','timeZone':'UTC','windows':[{'startGraceMs':1800000,'from':'22:00','to':'04:00','"
            "weekdays':[0,"
            "1,2,3,4,5,6]}]}");
        assert_open(t, "2026-11-20T22:10:00Z", "2026-11-20T22:30:00Z");
        assert_closed(t, "2026-11-20T22:30:00Z", "2026-11-21T22:00:00Z");
}

static void cron_opens_for_its_duration(void **state) {
        struct test *t = *state;
        use(t, "UTC",
            "{'name':'x','timeZone':'UTC','windows':[{'cron':'30 1 * * mon-fri','durationMs':7200000}]}");
        assert_closed(t, "2026-11-20T03:30:00Z", "2026-11-23T01:30:00Z");
        assert_open(t, "2026-11-23T02:00:00Z", "2026-11-23T03:30:00Z");
        use(t, "UTC",
            "{'name':'x','timeZone':'UTC','windows':[{'cron':'0 0 29 feb *','durationMs':3600000}]}");
        assert_closed(t, "2026-11-20T00:00:00Z", "2028-02-29T00:00:00Z");
        use(t, "UTC",
            "{'name':'x','timeZone':'UTC','windows':[{'cron':'*/15 8-9 1,15 * 7','durationMs':60000}]}");
        assert_closed(t, "2026-11-16T00:00:00Z", "2026-11-22T08:00:00Z"); /* a date or a weekday */
        assert_closed(t, "2026-11-22T08:01:00Z", "2026-11-22T08:15:00Z");
        use(t, "UTC", "{'name':'x','timeZone':'UTC','windows':[{'cron':'0 0 31 2 *','durationMs':60000}]}");
        struct schedule_state s = next(t, "2026-11-20T00:00:00Z");
        assert_false(s.open);
        assert_int_equal(s.next, 0);
}

static void what_is_no_cron_is_refused(void **state) {
        struct cron c;
        static const char *const bad[] = {
                "",          "* * * *",    "* * * * * *",  "60 * * * *",  "* 24 * * *",
                "* * 0 * *", "* * * 13 *", "* * * * 8",    "*/0 * * * *", "5-1 * * * *",
                "a * * * *", "1, * * * *", "* * * mars *", "1-* * * * *", "111 * * * *",
                "@daily",    "* * * * */", "1//2 * * * *"};
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                if (cron_parse(bad[i], &c) == 0)
                        fail_msg("\"%s\" was taken", bad[i]);
        assert_int_equal(cron_parse("  0  0-5/2,23 * jan,Dec sun ", &c), 0);
        assert_int_equal(c.hours, 1u | 1u << 2 | 1u << 4 | 1u << 23);
        assert_int_equal(c.months, 1u << 1 | 1u << 12);
        assert_int_equal(c.weekdays, 1);
}

static void a_freeze_closes_what_is_open(void **state) {
        struct test *t = *state;
        use(t, "Europe/Berlin",
            "{'name':'x','timeZone':'Europe/"
            "Berlin','windows':[{'from':'22:00','to':'04:00','weekdays':[0,1,2,3,4,5,6]}],"
            "'freezes':[{'from':'2026-12-20','to':'2027-01-06','reason':'Christmas'},{'from':'2027-01-07','"
            "to':'2027-01-07'}]}");
        assert_open(t, "2026-12-19T21:30:00Z", "2026-12-19T23:00:00Z"); /* until midnight */
        assert_closed(t, "2026-12-24T22:00:00Z",
                      "2027-01-07T23:00:00Z"); /* the night that began in it goes on after */
        assert_string_equal(next(t, "2026-12-24T22:00:00Z").freeze, "Christmas");
        assert_string_equal(next(t, "2027-01-07T12:00:00Z").freeze, "");
        assert_null(next(t, "2027-01-08T12:00:00Z").freeze);
        struct schedule_state s;
        schedule_next(t->schedule, t->zone, SCHEDULE_DOWNLOAD, at("2026-12-24T22:00:00Z"), &s);
        assert_true(s.open);
        assert_int_equal(s.until, 0);
}

static void freezes_alone_leave_the_rest_open(void **state) {
        struct test *t = *state;
        use(t, "UTC", "{'name':'x','timeZone':'UTC','freezes':[{'from':'2026-12-20','to':'2026-12-21'}]}");
        assert_open(t, "2026-12-01T00:00:00Z", "2026-12-20T00:00:00Z");
        assert_closed(t, "2026-12-20T00:00:00Z", "2026-12-22T00:00:00Z");
        struct schedule_state s = next(t, "2026-12-22T00:00:00Z");
        assert_true(s.open);
        assert_int_equal(s.until, 0);
}

static void fetching_has_windows_of_its_own(void **state) {
        struct test *t = *state;
        struct schedule_state s;
        use(t, "UTC",
            "{'name':'x','timeZone':'UTC','windows':[{'from':'22:00','to':'04:00','weekdays':[6]}],'"
            "downloads':[{'from':'00:00'"
            ",'to':'24:00','weekdays':[1]}]}");
        schedule_next(t->schedule, t->zone, SCHEDULE_DOWNLOAD, at("2026-11-20T00:00:00Z"), &s);
        assert_int_equal(s.next, at("2026-11-23T00:00:00Z"));
        schedule_next(t->schedule, t->zone, SCHEDULE_DOWNLOAD, at("2026-11-23T23:59:59Z"), &s);
        assert_true(s.open);
        assert_int_equal(s.until, at("2026-11-24T00:00:00Z"));
}

static void bad_schedules_are_refused(void **state) {
        struct test *t = *state;
        static const char *const bad[][2] = {
                {"[]", "schedule: expected an object"},
                {"{}", "schedule: field timeZone: missing"},
                {"{'timeZone':'../etc/passwd'}",
                 "schedule: field timeZone: \"../etc/passwd\" is no name of a time zone"},
                {"{'timeZone':'UTC','windows':[{'from':'22:00','to':'25:00','weekdays':[1]}]}",
                 "schedule: windows: item 1: field to: \"25:00\" is no time of the day"},
                {"{'timeZone':'UTC','windows':[{'from':'22:00','to':'23:00','weekdays':[]}]}",
                 "schedule: windows: item 1: field weekdays: the list is empty"},
                {"{'timeZone':'UTC','windows':[{'from':'22:00','to':'23:00','weekdays':[7]}]}",
                 "schedule: windows: item 1: field weekdays: item 1 is not from 0 to 6"},
                {"{'timeZone':'UTC','downloads':[{'cron':'* * * * *','durationMs':59999}]}",
                 "schedule: downloads: item 1: field durationMs: less than a minute"},
                {"{'timeZone':'UTC','freezes':[{'from':'2026-02-30','to':'2026-03-01'}]}",
                 "schedule: freezes: item 1: field from: \"2026-02-30\" is no date"},
                {"{'timeZone':'UTC','freezes':[{'from':'2026-03-02','to':'2026-03-01'}]}",
                 "schedule: freezes: item 1: it ends before it begins, or its reason is too long"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                t->err = err_free(t->err);
                assert_int_equal(read_text(t, bad[i][0]), -EINVAL);
                if (i != 1)
                        assert_string_equal(err_message(t->err), bad[i][1]);
        }
}

static void zones_that_are_none_are_refused(void **state) {
        struct test *t = *state;
        assert_int_equal(time_zone_open(TIME_ZONE_FOLDER, "Europe/Atlantis", &t->zone, &t->err), -ENOENT);
        assert_non_null(strstr(err_message(t->err), "time zone Europe/Atlantis is not known here"));
        t->err = err_free(t->err);
        assert_int_equal(time_zone_open(TIME_ZONE_FOLDER, "../../etc/passwd", &t->zone, &t->err), -EINVAL);
        t->err = err_free(t->err);
        assert_int_equal(time_zone_open_file("/etc/passwd", &t->zone, &t->err), -EINVAL);
        assert_string_equal(err_message(t->err), "/etc/passwd: it is no TZif file");
}

/* Cut anywhere, or with any byte turned, it is refused or read: never more. */
static void damaged_files_do_no_harm(void **state) {
        struct test *t = *state;
        FILE *f = fopen(TIME_ZONE_FOLDER "/Europe/Berlin", "rb");
        assert_non_null(f);
        uint8_t data[8192];
        size_t len = fread(data, 1, sizeof(data), f);
        (void)fclose(f);
        assert_true(len > 500);
        assert_int_equal(time_zone_parse(data, len, &t->zone, NULL), 0);
        for (size_t i = 0; i < len; i++) {
                struct time_zone *z = NULL;
                assert_int_equal(time_zone_parse(data, i, &z, NULL), -EINVAL);
        }
        for (size_t i = 0; i < len; i++) {
                struct time_zone *z = NULL;
                data[i] ^= 0x95;
                if (time_zone_parse(data, len, &z, NULL) == 0) {
                        (void)time_zone_offset(z, 1790000000);
                        (void)time_zone_moment(z, 20000, 3600);
                }
                time_zone_free(z);
                data[i] ^= 0x95;
        }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        const struct CMUnitTest tests[] = {
                TEST(a_night_ends_on_the_day_after),
                TEST(the_clock_is_the_zone_s),
                TEST(a_window_in_the_gap_opens_when_the_clock_jumps),
                TEST(a_window_in_the_fold_opens_at_the_first),
                TEST(a_day_that_was_skipped),
                TEST(beyond_the_table_the_rule_goes_on),
                TEST(a_start_grace_ends_before_the_window),
                TEST(cron_opens_for_its_duration),
                TEST(what_is_no_cron_is_refused),
                TEST(a_freeze_closes_what_is_open),
                TEST(freezes_alone_leave_the_rest_open),
                TEST(fetching_has_windows_of_its_own),
                TEST(bad_schedules_are_refused),
                TEST(zones_that_are_none_are_refused),
                TEST(damaged_files_do_no_harm),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
