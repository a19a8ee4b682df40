/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void bytes_come_out_as_they_went_in(void **state) {
        struct http_queue q = {0};
        unsigned in = 0, out = 0;
        /* In uneven steps, so that the bytes move about in every way. */
        for (int round = 0; round < 500; round++) {
                unsigned char part[97];
                size_t n = (size_t)(round * 31) % sizeof(part);
                for (size_t i = 0; i < n; i++)
                        part[i] = (unsigned char)in++;
                assert_int_equal(http_queue_append(&q, part, n), 0);
                size_t take = MIN(http_queue_len(&q), (size_t)(round * 17) % 89);
                for (size_t i = 0; i < take; i++)
                        assert_int_equal((unsigned char)http_queue_front(&q)[i], (unsigned char)out++);
                if (take > 0)
                        http_queue_consume(&q, take);
        }
        assert_int_equal(http_queue_len(&q), in - out);
        http_queue_done(&q);
}

static void empty_means_no_memory(void **state) {
        struct http_queue q = {0};
        assert_int_equal(http_queue_append(&q, "abc", 3), 0);
        http_queue_consume(&q, 3);
        assert_null(q.data);
        assert_int_equal(http_queue_len(&q), 0);
        http_queue_done(&q);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(bytes_come_out_as_they_went_in),
                cmocka_unit_test(empty_means_no_memory),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
