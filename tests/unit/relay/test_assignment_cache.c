/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../folder.h"
#include "base/fs.h"
#include "base/str.h"
#include "codec/json.h"
#include "relay/assignment_cache.h"

static struct assignment_cache *open_cache(void) {
        struct assignment_cache *c = NULL;
        _cleanup_(x_freep) char *path = path_join(folder, "assignments");
        assert_int_equal(assignment_cache_open(path, &c, NULL), 0);
        return c;
}

static json_t *event(const char *node, int version) {
        return json_pack("{s:s, s:s, s:{s:s, s:i, s:s, s:{s:s}}, s:[{s:s, s:s}]}", "type", "assignment",
                         "node", node, "signed", "_type", "assignment", "version", version, "node", node,
                         "labels", "site", "Kiel \xc3\xbc", "signatures", "keyid", "k", "sig", "c2ln");
}

static int put(struct assignment_cache *c, const char *node, int version) {
        _cleanup_json_ json_t *e = event(node, version);
        assert_non_null(e);
        return assignment_cache_put(c, node, e, NULL);
}

static void test_newest_is_kept_over_restarts(void **state) {
        {
                _cleanup_(assignment_cache_freep) struct assignment_cache *c = open_cache();
                assert_int_equal(assignment_cache_version(c, "shop-1"), 0);
                assert_null(assignment_cache_get(c, "shop-1"));
                assert_int_equal(put(c, "shop-1", 3), 0);
                assert_int_equal(put(c, "shop-1", 7), 0);
                assert_int_equal(put(c, "shop-1", 7), -ESTALE);
                assert_int_equal(put(c, "shop-1", 5), -ESTALE);
                assert_int_equal(put(c, "shop-2", 1), 0);
                assert_int_equal(assignment_cache_version(c, "shop-1"), 7);
        }
        _cleanup_(assignment_cache_freep) struct assignment_cache *c = open_cache();
        assert_int_equal(assignment_cache_version(c, "shop-1"), 7);
        assert_int_equal(put(c, "shop-1", 6), -ESTALE);
        _cleanup_json_ json_t *kept = assignment_cache_get(c, "shop-1");
        _cleanup_json_ json_t *sent = event("shop-1", 7);
        /* What is signed comes back as it was; what the line had around it does not. */
        assert_true(json_equal(json_object_get(kept, "signed"), json_object_get(sent, "signed")));
        assert_true(json_equal(json_object_get(kept, "signatures"), json_object_get(sent, "signatures")));
        assert_int_equal(json_object_size(kept), 2);
}

static void test_removed(void **state) {
        _cleanup_(assignment_cache_freep) struct assignment_cache *c = open_cache();
        assert_int_equal(put(c, "shop-1", 3), 0);
        assignment_cache_remove(c, "shop-1");
        assert_int_equal(assignment_cache_version(c, "shop-1"), 0);
        assert_null(assignment_cache_get(c, "shop-1"));
        assignment_cache_remove(c, "never-there");
        assert_int_equal(put(c, "shop-1", 1), 0); /* a new node of that name starts over */
}

static void test_what_is_no_assignment(void **state) {
        _cleanup_(assignment_cache_freep) struct assignment_cache *c = open_cache();
        static const char *const bad[] = {
                "{}",
                "{\"signed\":{\"node\":\"shop-1\",\"version\":1}}",
                "{\"signed\":[],\"signatures\":[]}",
                "{\"signed\":{\"node\":\"shop-1\"},\"signatures\":[]}",
                "{\"signed\":{\"node\":\"shop-1\",\"version\":\"1\"},\"signatures\":[]}",
                "{\"signed\":{\"node\":\"shop-1\",\"version\":0},\"signatures\":[]}",
                "{\"signed\":{\"node\":\"other\",\"version\":1},\"signatures\":[]}",
        };
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_json_ json_t *j = NULL;
                assert_int_equal(json_decode(bad[i], strlen(bad[i]), &j, NULL), 0);
                assert_int_equal(assignment_cache_put(c, "shop-1", j, NULL), -EINVAL);
        }
        assert_int_equal(assignment_cache_version(c, "shop-1"), 0);
        /* A name never becomes a path. */
        _cleanup_json_ json_t *e = event("../../etc/x", 1);
        assert_int_equal(assignment_cache_put(c, "../../etc/x", e, NULL), -EINVAL);
        assert_int_equal(assignment_cache_version(c, "../shop-1"), 0);
        assert_null(assignment_cache_get(c, "../shop-1"));
        assignment_cache_remove(c, "../shop-1");
}

static void test_damaged_files_count_as_none(void **state) {
        static const char *const damage[] = {
                "", "{\"signed\":{\"node\":\"shop-1\",\"ver", "[]",
                "{\"signed\":{\"node\":\"other\",\"version\":9},\"signatures\":[]}"};
        for (size_t i = 0; i < ARRAY_SIZE(damage); i++) {
                _cleanup_(assignment_cache_freep) struct assignment_cache *c = open_cache();
                _cleanup_(x_freep) char *path = path_join(folder, "assignments/shop-1.json");
                assert_int_equal(file_write_atomic(path, damage[i], strlen(damage[i]), 0600, NULL), 0);
                assert_int_equal(assignment_cache_version(c, "shop-1"), 0);
                assert_null(assignment_cache_get(c, "shop-1"));
                assert_int_equal(put(c, "shop-1", 2), 0);
                assert_int_equal(assignment_cache_version(c, "shop-1"), 2);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_newest_is_kept_over_restarts, make_folder,
                                                remove_folder),
                cmocka_unit_test_setup_teardown(test_removed, make_folder, remove_folder),
                cmocka_unit_test_setup_teardown(test_what_is_no_assignment, make_folder, remove_folder),
                cmocka_unit_test_setup_teardown(test_damaged_files_count_as_none, make_folder, remove_folder),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
