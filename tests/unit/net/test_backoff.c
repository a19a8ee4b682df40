/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "net/backoff.h"

static void test_grows_to_the_cap(void **state) {
        struct prng random;
        prng_seed(&random, 1);
        struct backoff b = BACKOFF_INIT(100, 5000);
        msec_t bound = 100;
        for (int i = 0; i < 200; i++) {
                msec_t wait = backoff_next(&b, &random, 0);
                assert_true(wait >= 25 && wait <= bound);
                bound = MIN(bound * 2, 5000);
        }
}

static void test_jitter_is_full(void **state) {
        struct prng random;
        prng_seed(&random, 2);
        struct backoff b = {.base_ms = 1000, .cap_ms = 1000, .floor_ms = 0};
        int quarter[4] = {0};
        for (int i = 0; i < 4000; i++) {
                msec_t wait = backoff_next(&b, &random, 0);
                quarter[MIN(wait / 250, 3)]++;
        }
        for (int i = 0; i < 4; i++)
                assert_true(quarter[i] > 800); /* each about 1,000 */
}

static void test_reset_starts_over(void **state) {
        struct prng random;
        prng_seed(&random, 3);
        struct backoff b = BACKOFF_INIT(100, 1000000);
        for (int i = 0; i < 20; i++)
                (void)backoff_next(&b, &random, 0);
        backoff_reset(&b);
        assert_true(backoff_next(&b, &random, 0) <= 100);
}

static void test_peer_may_ask_for_more(void **state) {
        struct prng random;
        prng_seed(&random, 4);
        struct backoff b = BACKOFF_INIT(100, 1000);
        assert_int_equal(backoff_next(&b, &random, 30000), 30000);
        assert_true(backoff_next(&b, &random, -1) >= 25);
}

static void test_no_overflow(void **state) {
        struct prng random;
        prng_seed(&random, 5);
        struct backoff b = {
                .base_ms = INT64_MAX / 3, .cap_ms = INT64_MAX - 1, .floor_ms = 1, .failures = UINT32_MAX};
        for (int i = 0; i < 5; i++)
                assert_true(backoff_next(&b, &random, 0) >= 1);
        assert_int_equal(b.failures, UINT32_MAX);
        struct backoff none = {0};
        assert_int_equal(backoff_next(&none, &random, 0), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_grows_to_the_cap),  cmocka_unit_test(test_jitter_is_full),
                cmocka_unit_test(test_reset_starts_over), cmocka_unit_test(test_peer_may_ask_for_more),
                cmocka_unit_test(test_no_overflow),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
