/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <time.h>

#include "base/clock.h"

static msec_t parsed(const char *s) {
        msec_t t = INT64_MIN;
        assert_int_equal(time_parse(s, &t), 0);
        return t;
}

static void formats_known_times(void **state) {
        char text[TIME_TEXT_SIZE];
        assert_string_equal(time_format(0, text), "1970-01-01T00:00:00.000Z");
        assert_string_equal(time_format(-1, text), "1969-12-31T23:59:59.999Z");
        assert_string_equal(time_format(INT64_C(951782400000), text), "2000-02-29T00:00:00.000Z");
        assert_string_equal(time_format(INT64_C(1795187045123), text), "2026-11-20T15:04:05.123Z");
        assert_string_equal(time_format(INT64_MAX, text), "9999-12-31T23:59:59.999Z");
        assert_string_equal(time_format(INT64_MIN, text), "0000-01-01T00:00:00.000Z");
}

static void parses_offsets_and_fractions(void **state) {
        assert_int_equal(parsed("1970-01-01T00:00:00Z"), 0);
        assert_int_equal(parsed("2026-11-20T15:04:05.123Z"), INT64_C(1795187045123));
        assert_int_equal(parsed("2026-11-20T16:04:05.123+01:00"), INT64_C(1795187045123));
        assert_int_equal(parsed("2026-11-20t09:34:05.1239999-05:30"), INT64_C(1795187045123));
        assert_int_equal(parsed("2026-11-20 15:04:05.1z"), INT64_C(1795187045100));
        assert_int_equal(parsed("2016-12-31T23:59:60Z"), parsed("2017-01-01T00:00:00Z")); /* leap second */
        assert_int_equal(parsed("2000-02-29T00:00:00-00:00"), INT64_C(951782400000));
}

static void refuses_what_is_no_time(void **state) {
        static const char *const texts[] = {
                "",
                "2026-11-20",
                "2026-11-20T15:04:05",
                "2026-11-20T15:04:05Zx",
                "2026-11-20T15:04:05+0100",
                "2026-11-20T15:04:05.Z",
                "2026-13-20T15:04:05Z",
                "2026-00-20T15:04:05Z",
                "2026-02-29T15:04:05Z",
                "1900-02-29T15:04:05Z",
                "2026-11-31T15:04:05Z",
                "2026-11-20T24:04:05Z",
                "2026-11-20T15:60:05Z",
                "2026-11-20T15:04:61Z",
                "2026-11-20T15:04:05+24:00",
                "26-11-20T15:04:05Z",
                " 2026-11-20T15:04:05Z",
                "-026-11-20T15:04:05Z",
        };
        msec_t t = 77;
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                assert_int_equal(time_parse(texts[i], &t), -EINVAL);
                assert_int_equal(t, 77);
        }
        assert_int_equal(time_parse(NULL, &t), -EINVAL);
}

/* Against the C library, over each day of four centuries and more. */
static void agrees_with_the_calendar(void **state) {
        const msec_t day = INT64_C(86400000);
        for (int64_t days = -150000; days < 150000; days++) {
                char text[TIME_TEXT_SIZE], expected[64];
                time_t seconds = (time_t)(days * 86400);
                struct tm tm;
                assert_non_null(gmtime_r(&seconds, &tm));
                (void)snprintf(expected, sizeof(expected), "%04d-%02d-%02dT00:00:00.000Z", tm.tm_year + 1900,
                               tm.tm_mon + 1, tm.tm_mday);
                assert_string_equal(time_format(days * day, text), expected);
                assert_int_equal(parsed(text), days * day);
        }
}

static void ages(void **state) {
        char text[16];
        assert_string_equal(age_format(0, text, sizeof(text)), "0s");
        assert_string_equal(age_format(-5000, text, sizeof(text)), "0s");
        assert_string_equal(age_format(3999, text, sizeof(text)), "3s");
        assert_string_equal(age_format(119999, text, sizeof(text)), "119s");
        assert_string_equal(age_format(12 * 60000, text, sizeof(text)), "12m");
        assert_string_equal(age_format(5 * 3600000, text, sizeof(text)), "5h");
        assert_string_equal(age_format(INT64_C(9) * 86400000, text, sizeof(text)), "9d");
        assert_string_equal(age_format(INT64_C(9) * 86400000, text, 2), "9");
}

static void virtual_time_moves_when_told(void **state) {
        struct virtual_clock c;
        virtual_clock_init(&c, 5000);
        assert_int_equal(clock_wall_ms(&c.clock), 5000);
        assert_int_equal(clock_mono_ms(&c.clock), 0);
        virtual_clock_advance(&c, 250);
        assert_int_equal(clock_wall_ms(&c.clock), 5250);
        assert_int_equal(clock_mono_ms(&c.clock), 250);
}

static void system_time_runs(void **state) {
        const struct clock *c = clock_system();
        msec_t before = clock_mono_ms(c);
        assert_true(before > 0);
        assert_true(clock_mono_ms(c) >= before);
        assert_true(clock_wall_ms(c) > parsed("2020-01-01T00:00:00Z"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(formats_known_times),
                cmocka_unit_test(parses_offsets_and_fractions),
                cmocka_unit_test(refuses_what_is_no_time),
                cmocka_unit_test(agrees_with_the_calendar),
                cmocka_unit_test(ages),
                cmocka_unit_test(virtual_time_moves_when_told),
                cmocka_unit_test(system_time_runs),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
