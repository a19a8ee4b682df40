/* SPDX-License-Identifier: Apache-2.0 */
#include "net/peer_connections.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct peer_connection *add(struct peer_connections *p, const char *id, struct peer_connection *c) {
        struct peer_connection *oldest = NULL;
        assert_int_equal(peer_connections_add(p, id, c, 2, &oldest), 0);
        return oldest;
}

static void test_the_oldest_of_a_peer_is_named(void **state) {
        struct peer_connections *p = peer_connections_new();
        struct peer_connection a[4] = {0}, b = {0}, nobody = {0};
        assert_null(add(p, "a", &a[0]));
        assert_null(add(p, "b", &b));
        assert_null(add(p, "a", &a[1]));
        assert_ptr_equal(add(p, "a", &a[2]), &a[0]);
        peer_connections_remove(p, &a[0]);
        assert_ptr_equal(add(p, "a", &a[3]), &a[1]);
        /* One that left by itself makes room. */
        peer_connections_remove(p, &a[3]);
        peer_connections_remove(p, &a[2]);
        assert_null(add(p, "a", &a[0]));
        peer_connections_remove(p, &nobody);
        peer_connections_remove(p, &a[0]);
        peer_connections_remove(p, &a[0]);
        peer_connections_remove(p, &a[1]);
        peer_connections_remove(p, &b);
        /* Nothing is left of who has gone. */
        assert_null(add(p, "a", &a[0]));
        peer_connections_remove(p, &a[0]);
        peer_connections_free(p);
}

int main(void) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_oldest_of_a_peer_is_named)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}
