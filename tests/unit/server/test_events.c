/* SPDX-License-Identifier: Apache-2.0 */
/* What a node says of itself fills only so much of the event log. */
#include "control_fixture.h"
#include "server/events.h"

static int setup(void **state) {
        struct fixture *f = malloc(sizeof(*f));
        fixture_make(f);
        *state = f;
        return 0;
}

static int teardown(void **state) {
        fixture_done(*state);
        free(*state);
        return 0;
}

static void test_allowance(void **state) {
        struct event_allowance a = {0};
        unsigned unsaid = 7;
        msec_t now = 1000;
        for (int i = 0; i < EVENTS_AT_ONCE; i++) {
                assert_true(event_allowance_take(&a, now, &unsaid));
                assert_int_equal(unsaid, 0);
        }
        assert_false(event_allowance_take(&a, now, &unsaid));
        assert_false(event_allowance_take(&a, now + EVENTS_EVERY_MS - 1, &unsaid));
        assert_true(event_allowance_take(&a, now + EVENTS_EVERY_MS, &unsaid));
        assert_int_equal(unsaid, 2);
        assert_false(event_allowance_take(&a, now + EVENTS_EVERY_MS, &unsaid));
        /* Rest gives all of it back, and no more. */
        now += 2 * EVENTS_AT_ONCE * (msec_t)EVENTS_EVERY_MS;
        for (int i = 0; i < EVENTS_AT_ONCE; i++)
                assert_true(event_allowance_take(&a, now, &unsaid));
        assert_false(event_allowance_take(&a, now, &unsaid));
}

static void test_a_node_cannot_fill_the_log(void **state) {
        struct fixture *f = *state;
        struct node *a = fixture_node(f, "a", NULL, NULL), *b = fixture_node(f, "b", NULL, NULL);
        int64_t before = events_newest(f->control->events);
        for (int i = 0; i < 500; i++) {
                json_t *j = json_pack("{s:s}", "state", i % 2 ? "Healthy" : "Failed");
                inventory_report(f->control, a, j);
                json_decref(j);
                inventory_presence(f->control, a, i % 2 != 0, NULL, "127.0.0.1");
        }
        fixture_settle(f);
        int64_t after = events_newest(f->control->events);
        /* One was spent on its coming; time goes on meanwhile, hence not exactly. */
        assert_true(after - before >= EVENTS_AT_ONCE - 1 && after - before < 2 * EVENTS_AT_ONCE);
        fixture_report_of(f, b, 0, NULL, NULL, "Failed", NULL);
        assert_int_equal(events_newest(f->control->events), after + 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_allowance),
                cmocka_unit_test_setup_teardown(test_a_node_cannot_fill_the_log, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
