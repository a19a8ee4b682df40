/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "base/table.h"

static size_t destroyed;
static void destroy(void *value) {
        destroyed++;
        free(value);
}

static int *number(int n) {
        int *p = malloc(sizeof(*p));
        assert_non_null(p);
        *p = n;
        return p;
}

static int reset(void **state) {
        destroyed = 0;
        return 0;
}

static void set_get_replace_remove(void **state) {
        _cleanup_(table_freep) struct table *t = table_new(destroy);
        assert_null(table_get(t, "a"));
        assert_false(table_remove(t, "a"));
        assert_null(table_take(t, "a"));
        assert_int_equal(table_set(t, "a", number(1)), 0);
        assert_int_equal(table_set(t, "", number(2)), 0);
        assert_int_equal(*(int *)table_get(t, "a"), 1);
        assert_int_equal(*(int *)table_get(t, ""), 2);
        assert_null(table_get(t, "b"));
        assert_null(table_get(t, NULL));
        assert_int_equal(table_set(t, "a", number(3)), 0);
        assert_int_equal(destroyed, 1);
        assert_int_equal(table_set(t, "a", table_get(t, "a")), 0); /* onto itself */
        assert_int_equal(destroyed, 1);
        assert_int_equal(*(int *)table_get(t, "a"), 3);
        assert_int_equal(table_len(t), 2);
        int *taken = table_take(t, "a");
        assert_int_equal(*taken, 3);
        free(taken);
        assert_int_equal(destroyed, 1);
        assert_true(table_remove(t, ""));
        assert_int_equal(destroyed, 2);
        assert_int_equal(table_len(t), 0);
}

static void freed_with_all_it_holds(void **state) {
        struct table *t = table_new(destroy);
        for (int i = 0; i < 100; i++) {
                char key[16];
                (void)snprintf(key, sizeof(key), "%d", i);
                assert_int_equal(table_set(t, key, number(i)), 0);
        }
        for (int i = 0; i < 100; i += 2) {
                char key[16];
                (void)snprintf(key, sizeof(key), "%d", i);
                assert_true(table_remove(t, key));
        }
        assert_int_equal(destroyed, 50);
        assert_null(table_free(t));
        assert_int_equal(destroyed, 100);
        assert_null(table_free(NULL));
}

static void order_is_that_of_insertion(void **state) {
        _cleanup_(table_freep) struct table *t = table_new(NULL);
        static char values[4];
        table_set(t, "zebra", &values[0]);
        table_set(t, "ant", &values[1]);
        table_set(t, "mole", &values[2]);
        table_set(t, "zebra", &values[3]); /* replaced in its place */
        table_remove(t, "ant");
        table_set(t, "ant", &values[1]); /* and back, as the last */
        static const char *const expected[] = {"zebra", "mole", "ant"};
        const char *key;
        void *value;
        size_t n = 0;
        for (size_t i = 0; table_next(t, &i, &key, &value); n++)
                assert_string_equal(key, expected[n]);
        assert_int_equal(n, 3);
        assert_ptr_equal(table_get(t, "zebra"), &values[3]);
}

static void removing_while_iterating(void **state) {
        _cleanup_(table_freep) struct table *t = table_new(destroy);
        for (int i = 0; i < 1000; i++) {
                char key[16];
                (void)snprintf(key, sizeof(key), "%d", i);
                assert_int_equal(table_set(t, key, number(i)), 0);
        }
        const char *key;
        void *value;
        int seen = 0;
        for (size_t i = 0; table_next(t, &i, &key, &value);) {
                assert_int_equal(*(int *)value, seen++);
                if (seen % 3 != 0)
                        assert_true(table_remove(t, key)); /* its own key, which goes away in there */
        }
        assert_int_equal(seen, 1000);
        assert_int_equal(table_len(t), 333);
        seen = 0;
        for (size_t i = 0; table_next(t, &i, NULL, &value); seen++)
                assert_int_equal(*(int *)value % 3, 2);
        assert_int_equal(seen, 333);
}

/* As a queue: added behind, taken from the front, for ever; the holes must not pile up. */
static void used_as_a_queue(void **state) {
        _cleanup_(table_freep) struct table *t = table_new(NULL);
        static char mark;
        char key[16];
        for (int i = 0; i < 20; i++) {
                (void)snprintf(key, sizeof(key), "%d", i);
                assert_int_equal(table_set(t, key, &mark), 0);
        }
        for (int i = 20; i < 50000; i++) {
                const char *first;
                size_t position = 0;
                assert_true(table_next(t, &position, &first, NULL));
                (void)snprintf(key, sizeof(key), "%d", i - 20);
                assert_string_equal(first, key);
                assert_true(table_remove(t, key));
                (void)snprintf(key, sizeof(key), "%d", i);
                assert_int_equal(table_set(t, key, &mark), 0);
                assert_int_equal(table_len(t), 20);
        }
}

/* Any run of changes against a plain array. */
static void agrees_with_an_array(void **state) {
        enum { KEYS = 300 };
        _cleanup_(table_freep) struct table *t = table_new(destroy);
        int expected[KEYS];
        size_t len = 0;
        struct prng r;
        prng_seed(&r, 11);
        for (int i = 0; i < KEYS; i++)
                expected[i] = -1;
        for (int step = 0; step < 50000; step++) {
                int k = (int)prng_below(&r, KEYS);
                char key[64];
                (void)snprintf(key, sizeof(key), "key-%d%s", k,
                               k % 3 ? "" : "-that-is-much-longer-than-eight-bytes");
                if (prng_below(&r, 2)) {
                        len += expected[k] < 0;
                        expected[k] = step;
                        assert_int_equal(table_set(t, key, number(step)), 0);
                } else {
                        assert_int_equal(table_remove(t, key), expected[k] >= 0);
                        len -= expected[k] >= 0;
                        expected[k] = -1;
                }
                assert_int_equal(table_len(t), len);
                int *found = table_get(t, key);
                assert_int_equal(found ? *found : -1, expected[k]);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(set_get_replace_remove, reset),
                cmocka_unit_test_setup(freed_with_all_it_holds, reset),
                cmocka_unit_test(order_is_that_of_insertion),
                cmocka_unit_test(removing_while_iterating),
                cmocka_unit_test(used_as_a_queue),
                cmocka_unit_test(agrees_with_an_array),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
