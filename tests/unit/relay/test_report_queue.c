/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "codec/json.h"
#include "relay/report_queue.h"

static json_t *parse(const char *text) {
        json_t *j = NULL;
        assert_int_equal(json_decode(text, strlen(text), &j, NULL), 0);
        return j;
}

static void assert_json(const json_t *j, const char *want) {
        _cleanup_json_ json_t *wanted = parse(want);
        if (!j || !json_equal(j, wanted)) {
                char *got = j ? json_encode_compact(j) : NULL;
                fail_msg("%s\nis not\n%s", got ? got : "nothing", want);
        }
}

static void report(struct report_queue *q, const char *node, const char *status) {
        _cleanup_json_ json_t *j = parse(status);
        assert_int_equal(report_queue_status(q, node, j), 0);
}

static int presence(struct report_queue *q, const char *node, bool connected, const char *address,
                    int64_t version) {
        struct presence p = {.connected = connected, .address = address, .version = version};
        return report_queue_presence(q, node, &p);
}

static void expect_batch(struct report_queue *q, size_t max, const char *want) {
        _cleanup_json_ json_t *batch = report_queue_take(q, max, 1 << 20);
        assert_json(batch, want);
}

#define PART(n) "{\"signed\":{\"seq\":" #n "},\"signature\":{\"sig\":\"" #n "\"}}"
#define FULL(n) "{\"signed\":{\"seq\":" #n ",\"full\":true},\"signature\":{\"sig\":\"" #n "\"}}"
#define SAYS(node, report) "{\"node\":\"" node "\",\"status\":" report "}"
#define BATCH(items) "{\"reset\":false,\"items\":[" items "]}"

/* What was signed must arrive as it was signed, in the order in which it was said. */
static void test_reports_keep_their_order(void **state) {
        _cleanup_(report_queue_freep) struct report_queue *q = report_queue_new(1 << 20);
        assert_int_equal(report_queue_ready(q), 0);
        assert_null(report_queue_take(q, 10, 1 << 20));
        assert_int_equal(presence(q, "a", true, "10.0.0.1", 3), 0);
        report(q, "b", PART(1));
        report(q, "a", FULL(1));
        report(q, "a", PART(2));
        report(q, "a", PART(3));
        assert_int_equal(report_queue_ready(q), 2);
        assert_int_equal(report_queue_nodes(q), 1);
        expect_batch(
                q, 10,
                BATCH("{\"node\":\"a\",\"connected\":true,\"address\":\"10.0.0.1\",\"assignment\":3}," SAYS(
                        "a", FULL(1)) "," SAYS("a", PART(2)) "," SAYS("a", PART(3)) "," SAYS("b", PART(1))));
        /* One batch at a time. */
        report(q, "a", PART(4));
        assert_int_equal(report_queue_ready(q), 0);
        assert_null(report_queue_take(q, 10, 1 << 20));
        report_queue_arrived(q);
        expect_batch(q, 10, BATCH(SAYS("a", PART(4))));
        report_queue_arrived(q);
        assert_int_equal(report_queue_ready(q), 0);
        assert_int_equal(report_queue_bytes(q), 0);
}

static void test_a_full_report_stands_for_all_before(void **state) {
        _cleanup_(report_queue_freep) struct report_queue *q = report_queue_new(1 << 20);
        report(q, "a", PART(1));
        report(q, "a", PART(2));
        report(q, "b", PART(7));
        report(q, "a", FULL(3));
        report(q, "a", PART(4));
        expect_batch(q, 10, BATCH(SAYS("a", FULL(3)) "," SAYS("a", PART(4)) "," SAYS("b", PART(7))));
        /* Also for those that are on their way, should they be lost. */
        report(q, "a", FULL(5));
        report_queue_failed(q);
        expect_batch(q, 10, BATCH(SAYS("a", FULL(5)) "," SAYS("b", PART(7))));
        report_queue_arrived(q);
        assert_int_equal(report_queue_bytes(q), 0);
        assert_int_equal(report_queue_ready(q), 0);
}

static void test_a_batch_that_failed_is_said_again(void **state) {
        _cleanup_(report_queue_freep) struct report_queue *q = report_queue_new(1 << 20);
        assert_int_equal(presence(q, "a", true, NULL, 1), 0);
        report(q, "a", FULL(1));
        report(q, "a", PART(2));
        _cleanup_json_ json_t *lost = report_queue_take(q, 10, 1 << 20);
        assert_non_null(lost);
        size_t bytes = report_queue_bytes(q);
        report(q, "a", PART(3));
        assert_int_equal(presence(q, "a", false, NULL, 0), 0);
        report_queue_failed(q);
        assert_true(report_queue_bytes(q) > bytes);
        expect_batch(q, 10,
                     BATCH(SAYS("a", FULL(1)) "," SAYS("a", PART(2)) "," SAYS(
                             "a", PART(3)) ",{\"node\":\"a\",\"connected\":false}"));
        report_queue_arrived(q);
        assert_int_equal(report_queue_ready(q), 0);
        assert_int_equal(report_queue_nodes(q), 0);
        assert_int_equal(report_queue_bytes(q), 0);
}

static void test_a_nodes_share_is_bounded(void **state) {
        _cleanup_(report_queue_freep) struct report_queue *q = report_queue_new((size_t)8 << 20);
        _cleanup_json_ json_t *part = parse(PART(1)), *batch = NULL;
        for (int i = 0; i < 40; i++)
                assert_int_equal(report_queue_status(q, "a", part), 0);
        batch = report_queue_take(q, 10, 1000); /* a node's are never parted */
        assert_int_equal(json_array_size(json_object_get(batch, "items")), 40);
        for (int i = 40; i < REPORTS_HELD_MAX; i++)
                assert_int_equal(report_queue_status(q, "a", part), 0);
        /* One too many: all of it goes, and the node says everything anew. */
        assert_int_equal(report_queue_status(q, "a", part), -EMSGSIZE);
        assert_int_equal(report_queue_bytes(q), 0);
        report(q, "a", FULL(9));
        report_queue_failed(q);
        expect_batch(q, 10, BATCH(SAYS("a", FULL(9))));
        report_queue_arrived(q);

        char *long_text = malloc(REPORTS_BYTES_MAX / 2);
        assert_non_null(long_text);
        memset(long_text, 'x', REPORTS_BYTES_MAX / 2 - 1);
        long_text[REPORTS_BYTES_MAX / 2 - 1] = '\0';
        _cleanup_json_ json_t *large = json_pack("{s:{s:s}}", "signed", "message", long_text);
        free(long_text);
        assert_int_equal(report_queue_status(q, "a", large), 0);
        assert_int_equal(report_queue_status(q, "a", large), -EMSGSIZE);
        assert_int_equal(report_queue_bytes(q), 0);
        assert_int_equal(report_queue_ready(q), 0);
}

static void test_batches_are_bounded(void **state) {
        _cleanup_(report_queue_freep) struct report_queue *q = report_queue_new(1 << 20);
        char name[16];
        for (int i = 0; i < 100; i++) {
                snprintf(name, sizeof(name), "n%d", i);
                report(q, name, "{\"seq\":1}");
        }
        size_t got = 0, batches = 0;
        while (report_queue_ready(q) > 0) {
                _cleanup_json_ json_t *batch = report_queue_take(q, 30, 1 << 20);
                size_t n = json_array_size(json_object_get(batch, "items"));
                assert_true(n <= 30);
                snprintf(name, sizeof(name), "n%zu", got); /* in the order they came */
                assert_string_equal(json_string_value(json_object_get(
                                            json_array_get(json_object_get(batch, "items"), 0), "node")),
                                    name);
                got += n;
                batches++;
                report_queue_arrived(q);
        }
        assert_int_equal(got, 100);
        assert_int_equal(batches, 4);
}

static void test_reset_says_who_is_there(void **state) {
        _cleanup_(report_queue_freep) struct report_queue *q = report_queue_new(1 << 20);
        assert_int_equal(presence(q, "stays", true, NULL, 5), 0);
        assert_int_equal(presence(q, "left", true, NULL, 1), 0);
        report_queue_failed(q); /* harmless: nothing is on its way */
        _cleanup_json_ json_t *first = report_queue_take(q, 10, 1 << 20);
        assert_non_null(first);
        report_queue_arrived(q);
        assert_int_equal(presence(q, "left", false, NULL, 0), 0);
        report(q, "stays", "{\"seq\":9}");

        report_queue_reset(q);
        assert_int_equal(report_queue_ready(q), 3);
        /* A reset is not cut short by the bound, and what was reported follows. */
        expect_batch(q, 0,
                     "{\"reset\":true,\"items\":[{\"node\":\"stays\",\"connected\":true,\"assignment\":5}]}");
        report_queue_failed(q);
        expect_batch(q, 0,
                     "{\"reset\":true,\"items\":[{\"node\":\"stays\",\"connected\":true,\"assignment\":5}]}");
        report_queue_arrived(q);
        expect_batch(q, 10, "{\"reset\":false,\"items\":[{\"node\":\"stays\",\"status\":{\"seq\":9}}]}");
        report_queue_arrived(q);
        assert_int_equal(report_queue_ready(q), 0);
        assert_int_equal(report_queue_nodes(q), 1);

        /* With nobody there a reset is still said. */
        assert_int_equal(presence(q, "stays", false, NULL, 0), 0);
        report_queue_reset(q);
        expect_batch(q, 10, "{\"reset\":true,\"items\":[]}");
        report_queue_arrived(q);
        assert_int_equal(report_queue_ready(q), 0);
}

static void test_a_node_that_was_dropped_is_asked_about(void **state) {
        _cleanup_(report_queue_freep) struct report_queue *q = report_queue_new(1 << 20);
        struct presence p = {.connected = true, .version = 2, .revoked = true};
        assert_int_equal(report_queue_presence(q, "a", &p), 0);
        expect_batch(q, 10,
                     "{\"reset\":false,\"items\":[{\"node\":\"a\",\"connected\":true,\"revoked\":true,"
                     "\"assignment\":2}]}");
        report_queue_arrived(q);
        p.revoked = false;
        assert_int_equal(report_queue_presence(q, "a", &p), 0);
        expect_batch(q, 10,
                     "{\"reset\":false,\"items\":[{\"node\":\"a\",\"connected\":true,\"assignment\":2}]}");
}

static void test_memory_is_bounded(void **state) {
        _cleanup_(report_queue_freep) struct report_queue *q = report_queue_new(1000);
        char name[16];
        int refused = 0;
        _cleanup_json_ json_t *status = parse("{\"message\":\"0123456789012345678901234567890123456789\"}");
        for (int i = 0; i < 100; i++) {
                snprintf(name, sizeof(name), "n%d", i);
                int r = report_queue_status(q, name, status);
                assert_true(r == 0 || r == -EMSGSIZE);
                refused += r < 0;
                assert_true(report_queue_bytes(q) <= 1000);
        }
        assert_true(refused > 50);
        /* By bytes too a batch is bounded, but never empty. */
        _cleanup_json_ json_t *two = report_queue_take(q, 100, 130);
        assert_int_equal(json_array_size(json_object_get(two, "items")), 2);
        report_queue_arrived(q);
        _cleanup_json_ json_t *last = report_queue_take(q, 100, 1);
        assert_int_equal(json_array_size(json_object_get(last, "items")), 1);

        /* A thousand full reports by one node take no more than one. */
        _cleanup_(report_queue_freep) struct report_queue *one = report_queue_new(1000);
        for (int i = 0; i < 1000; i++)
                report(one, "n", FULL(1));
        assert_true(report_queue_bytes(one) < 100);
}

static void test_leaving_with_a_batch_on_its_way(void **state) {
        struct report_queue *q = report_queue_new(1000);
        report(q, "a", "{\"seq\":1}");
        assert_int_equal(presence(q, "a", true, "::1", 1), 0);
        _cleanup_json_ json_t *batch = report_queue_take(q, 10, 1 << 20);
        assert_non_null(batch);
        report(q, "a", "{\"seq\":2}");
        assert_null(report_queue_free(q));
        assert_null(report_queue_free(NULL));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_reports_keep_their_order),
                cmocka_unit_test(test_a_full_report_stands_for_all_before),
                cmocka_unit_test(test_a_nodes_share_is_bounded),
                cmocka_unit_test(test_a_batch_that_failed_is_said_again),
                cmocka_unit_test(test_batches_are_bounded),
                cmocka_unit_test(test_reset_says_who_is_there),
                cmocka_unit_test(test_a_node_that_was_dropped_is_asked_about),
                cmocka_unit_test(test_memory_is_bounded),
                cmocka_unit_test(test_leaving_with_a_batch_on_its_way),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
