/* SPDX-License-Identifier: Apache-2.0 */
#include "server/source_hooks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static enum hook_verdict take(struct source_hooks *h, const char *number, const char *body, msec_t now) {
        return source_hooks_take(h, number, body, strlen(body), now);
}

static void test_the_same_again_says_nothing(void **state) {
        struct source_hooks h = {0};
        assert_int_equal(take(&h, "1", "one", 1), HOOK_NEW);
        assert_int_equal(take(&h, "1", "two", 2), HOOK_REPLAY); /* the number */
        assert_int_equal(take(&h, "2", "one", 3),
                         HOOK_REPLAY); /* the body, under a number that is not signed */
        assert_int_equal(take(&h, NULL, "one", 4), HOOK_REPLAY);
        assert_int_equal(take(&h, NULL, "two", 5), HOOK_NEW);
        assert_int_equal(take(&h, "1", "one", 1 + HOOKS_WINDOW_MS), HOOK_NEW);
        source_hooks_done(&h);
}

static void test_a_flood_is_bounded_and_forgets_nothing(void **state) {
        struct source_hooks h = {0};
        char body[16];
        msec_t now = 1000;
        int taken = 0;
        for (int i = 0; i < 1000; i++) {
                (void)snprintf(body, sizeof(body), "%d", i);
                taken += take(&h, NULL, body, now) == HOOK_NEW;
        }
        assert_int_equal(taken, HOOKS_AT_ONCE);
        assert_int_equal(take(&h, NULL, "later", now), HOOK_FLOOD);
        now += HOOKS_EVERY_MS;
        assert_int_equal(take(&h, NULL, "later", now), HOOK_NEW); /* what was turned away may come again */
        assert_int_equal(take(&h, NULL, "and more", now), HOOK_FLOOD);
        now += (msec_t)1000 * HOOKS_EVERY_MS;
        taken = 0;
        for (int i = 0; i < 1000; i++) {
                (void)snprintf(body, sizeof(body), "again %d", i);
                taken += take(&h, body, body, now) == HOOK_NEW;
        }
        assert_int_equal(taken, HOOKS_AT_ONCE); /* not more than that were saved up */
        source_hooks_done(&h);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_the_same_again_says_nothing),
                cmocka_unit_test(test_a_flood_is_bounded_and_forgets_nothing),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
