/* SPDX-License-Identifier: Apache-2.0 */
/* Texts that stand for numbers: amounts of memory, shares of a processor. */
#include <errno.h>

#include "base/str.h"
#include "fleet/schema.h"

struct unit {
        const char *suffix;
        int64_t factor;
};

/* DIGITS[.DIGITS]SUFFIX times scale; a fraction that is no whole number of units is refused. */
static int parse_with_unit(const char *text, const struct unit *units, size_t n_units, int64_t *ret) {
        int64_t number = 0, divisor = 1, value;
        const char *p = text;
        size_t digits = 0;

        for (; *p >= '0' && *p <= '9'; p++, digits++)
                if (__builtin_mul_overflow(number, 10, &number) ||
                    __builtin_add_overflow(number, *p - '0', &number))
                        return -ERANGE;
        if (digits == 0)
                return -EINVAL;
        if (*p == '.') {
                digits = 0;
                for (p++; *p >= '0' && *p <= '9'; p++, digits++)
                        if (__builtin_mul_overflow(number, 10, &number) ||
                            __builtin_add_overflow(number, *p - '0', &number) ||
                            __builtin_mul_overflow(divisor, 10, &divisor))
                                return -ERANGE;
                if (digits == 0)
                        return -EINVAL;
        }
        for (size_t i = 0; i < n_units; i++) {
                if (!str_eq(p, units[i].suffix))
                        continue;
                if (__builtin_mul_overflow(number, units[i].factor, &value))
                        return -ERANGE;
                if (value % divisor != 0)
                        return -EINVAL;
                *ret = value / divisor;
                return 0;
        }
        return -EINVAL;
}

int schema_parse_bytes(const char *text, int64_t *ret) {
        static const struct unit units[] = {
                {"", 1},
                {"k", 1000},
                {"M", 1000000},
                {"G", 1000000000},
                {"T", 1000000000000},
                {"Ki", INT64_C(1) << 10},
                {"Mi", INT64_C(1) << 20},
                {"Gi", INT64_C(1) << 30},
                {"Ti", INT64_C(1) << 40},
        };
        return parse_with_unit(text, units, ARRAY_SIZE(units), ret);
}

int schema_parse_cpu(const char *text, int64_t *ret) {
        static const struct unit units[] = {{"", 1000}, {"m", 1}};
        return parse_with_unit(text, units, ARRAY_SIZE(units), ret);
}
