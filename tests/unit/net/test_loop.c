/* SPDX-License-Identifier: Apache-2.0 */
#include "net/loop.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>

#include <cmocka.h>

struct trace {
        struct loop *loop;
        struct loop_timer *timer;
        char text[32];
        size_t len;
        size_t stop_at;
};

static void trace_add(struct trace *t, char c) {
        t->text[t->len++] = c;
        if (t->len == t->stop_at)
                loop_stop(t->loop, 7);
}

static void add_a(void *arg) {
        trace_add(arg, 'a');
}
static void add_b(void *arg) {
        trace_add(arg, 'b');
}
static void add_c(void *arg) {
        trace_add(arg, 'c');
}

static void timers_fire_by_due_time_then_by_order_of_arming(void **state) {
        struct loop *l = NULL;
        assert_int_equal(loop_new(&l, NULL), 0);
        struct trace trace = {.loop = l, .stop_at = 3};
        struct loop_timer *a = loop_timer_new(l, add_a, &trace);
        struct loop_timer *b = loop_timer_new(l, add_b, &trace);
        struct loop_timer *c = loop_timer_new(l, add_c, &trace);
        loop_timer_set(b, 20);
        loop_timer_set(c, -5);
        loop_timer_set(a, 1000000);
        loop_timer_set(a, 0); /* armed again: the first time does not count */
        assert_true(loop_timer_is_set(a));
        assert_int_equal(loop_run(l), 7);
        assert_string_equal(trace.text, "cab");
        assert_false(loop_timer_is_set(a));
        loop_timer_free(a);
        loop_timer_free(b);
        loop_timer_free(c);
        loop_free(l);
}

static void free_in_own_callback(void *arg) {
        struct trace *t = arg;
        t->timer = loop_timer_free(t->timer);
        trace_add(t, 'f');
}

static void a_cancelled_timer_stays_silent_and_one_may_free_itself(void **state) {
        struct loop *l = NULL;
        assert_int_equal(loop_new(&l, NULL), 0);
        struct trace trace = {.loop = l, .stop_at = 2};
        struct loop_timer *a = loop_timer_new(l, add_a, &trace);
        struct loop_timer *b = loop_timer_new(l, add_b, &trace);
        trace.timer = loop_timer_new(l, free_in_own_callback, &trace);
        loop_timer_set(a, 0);
        loop_timer_set(trace.timer, 1);
        loop_timer_set(b, 5);
        loop_timer_cancel(a);
        loop_timer_cancel(a);
        (void)loop_run(l);
        assert_string_equal(trace.text, "fb");
        assert_null(trace.timer);
        loop_timer_free(a);
        loop_timer_free(b);
        assert_null(loop_timer_free(NULL));
        loop_free(l);
}

static void again_and_again(void *arg) {
        struct trace *t = arg;
        loop_timer_set(t->timer, 0);
        if (t->len < 5)
                trace_add(t, 'r');
}

static void a_timer_that_rearms_itself_lets_others_run(void **state) {
        struct loop *l = NULL;
        assert_int_equal(loop_new(&l, NULL), 0);
        struct trace trace = {.loop = l, .stop_at = 5};
        trace.timer = loop_timer_new(l, again_and_again, &trace);
        struct loop_timer *b = loop_timer_new(l, add_b, &trace);
        loop_timer_set(trace.timer, 0);
        loop_timer_set(b, 0);
        (void)loop_run(l);
        assert_int_equal(trace.text[1], 'b');
        loop_timer_free(trace.timer);
        loop_timer_free(b);
        loop_free(l);
}

static void many_timers_keep_their_order(void **state) {
        enum { COUNT = 300 };
        struct loop *l = NULL;
        assert_int_equal(loop_new(&l, NULL), 0);
        struct trace trace = {.loop = l, .stop_at = 3};
        struct loop_timer *timers[COUNT];
        for (size_t i = 0; i < COUNT; i++) {
                timers[i] = loop_timer_new(l, i == 17 ? add_a : i == 250 ? add_b : add_c, &trace);
                assert_non_null(timers[i]);
                loop_timer_set(timers[i], (msec_t)((i * 7919) % COUNT) + 60000);
        }
        for (size_t i = 0; i < COUNT; i += 2)
                loop_timer_cancel(timers[i]);
        loop_timer_set(timers[17], 0);
        loop_timer_set(timers[250], 1);
        loop_timer_set(timers[42], 2);
        (void)loop_run(l);
        assert_string_equal(trace.text, "abc");
        for (size_t i = 0; i < COUNT; i++)
                loop_timer_free(timers[i]);
        loop_free(l);
}

static void work(void *arg) {
        struct trace *t = arg;
        t->text[30] = 'w'; /* the loop's thread does not touch this one */
}

static void work_done(void *arg) {
        struct trace *t = arg;
        assert_int_equal(t->text[30], 'w');
        trace_add(t, 'd');
}

static void post_from_worker(void *arg) {
        struct trace *t = arg;
        assert_int_equal(loop_post(t->loop, add_a, t), 0);
        assert_int_equal(loop_post(t->loop, add_b, t), 0);
}

static void workers_finish_and_post(void **state) {
        struct loop *l = NULL;
        assert_int_equal(loop_new(&l, NULL), 0);
        struct trace trace = {.loop = l, .stop_at = 1};
        assert_int_equal(loop_work(l, work, work_done, &trace), 0);
        (void)loop_run(l);
        assert_int_equal(trace.text[0], 'd');
        trace.stop_at = 3;
        assert_int_equal(loop_work(l, post_from_worker, NULL, &trace), 0);
        (void)loop_run(l);
        assert_memory_equal(trace.text, "dab", 3);
        loop_free(l);
}

static void free_still_calls_what_was_posted(void **state) {
        struct loop *l = NULL;
        assert_int_equal(loop_new(&l, NULL), 0);
        struct trace trace = {.loop = l};
        assert_int_equal(loop_post(l, add_a, &trace), 0);
        assert_int_equal(loop_work(l, post_from_worker, NULL, &trace), 0);
        loop_free(l);
        assert_string_equal(trace.text, "aab");
}

static void on_signal(void *arg, int number) {
        struct trace *t = arg;
        trace_add(t, number == SIGTERM ? 't' : number == SIGINT ? 'i' : 'h');
        if (number == SIGHUP)
                (void)raise(SIGTERM);
        if (number == SIGTERM)
                (void)raise(SIGINT);
        if (number == SIGINT)
                (void)raise(SIGINT); /* a second one stops */
}

static void signals_arrive_and_a_second_interrupt_stops(void **state) {
        struct loop *l = NULL;
        assert_int_equal(loop_new(&l, NULL), 0);
        struct trace trace = {.loop = l};
        assert_int_equal(loop_on_signals(l, on_signal, &trace), 0);
        (void)raise(SIGHUP);
        assert_int_equal(loop_run(l), 130);
        assert_string_equal(trace.text, "hti");
        loop_free(l);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(timers_fire_by_due_time_then_by_order_of_arming),
                cmocka_unit_test(a_cancelled_timer_stays_silent_and_one_may_free_itself),
                cmocka_unit_test(a_timer_that_rearms_itself_lets_others_run),
                cmocka_unit_test(many_timers_keep_their_order),
                cmocka_unit_test(workers_finish_and_post),
                cmocka_unit_test(free_still_calls_what_was_posted),
                cmocka_unit_test(signals_arrive_and_a_second_interrupt_stops),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
