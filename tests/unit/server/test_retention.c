/* SPDX-License-Identifier: Apache-2.0 */
/* Stored revisions and files: what is used stays however old it is, the rest goes when it is old. */
#include "control_fixture.h"
#include "repo/object_store.h"
#include "server/revisions.h"

#define FLEET(text)                                                                                          \
        "=== fleet.yaml\napiVersion: skerry/v1alpha1\nkind: Fleet\nmetadata: {name: edge}\nspec:\n"          \
        "  selector: {matchLabels: {fleet: edge}}\n"                                                         \
        "  template: {files: [{path: /etc/text, content: \"" text "\"}]}\n"

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

static size_t gone;

static void removed(void *arg, size_t n) {
        struct fixture *f = arg;
        gone = n;
        loop_stop(f->loop, 0);
}

static void sweep(struct fixture *f, msec_t older_than) {
        gone = SIZE_MAX;
        assert_int_equal(retention_run(f->control, older_than, removed, f), 0);
        assert_int_equal(retention_run(f->control, older_than, removed, f), -EBUSY);
        loop_run(f->loop);
        fixture_settle(f);
}

static size_t revisions(struct fixture *f) {
        json_t *j = revisions_json(f->control, NULL);
        size_t n = json_array_size(j);
        json_decref(j);
        return n;
}

static void test_unused_ones_go(void **state) {
        struct fixture *f = *state;
        struct fleet *fleet;
        char first[65], last[65];
        fixture_commit(f, FLEET("one"));
        fleet = fleets_find(f->control, "edge");
        strcpy(first, fleet_stable(fleet)->revision);
        fixture_commit(f, FLEET("two"));
        fixture_commit(f, FLEET("three"));
        strcpy(last, fleet_stable(fleet)->revision);
        sweep(f, 3600 * 1000);
        assert_int_equal(gone, 0);
        assert_int_equal(revisions(f), 3);
        sweep(f, -1000);
        assert_int_equal(gone, 4); /* two revisions and a file each */
        assert_int_equal(revisions(f), 1);
        assert_false(object_store_has(f->control->objects, first));
        assert_true(object_store_has(f->control->objects, last));
        fixture_restart(f);
        assert_int_equal(revisions(f), 1);
        /* What went is made again when a commit wants it again. */
        fixture_commit(f, FLEET("one"));
        assert_true(object_store_has(f->control->objects, first));
}

static void test_what_a_node_was_told_stays(void **state) {
        struct fixture *f = *state;
        struct node *a = fixture_node(f, "a", "fleet", "edge");
        char first[65];
        fixture_commit(f, FLEET("one"));
        fixture_report_healthy(f, a);
        strcpy(first, a->assigned->revision);
        /* It leaves the fleet, and the fleet moves on. */
        inventory_set_labels(f->control, a, NULL);
        struct pair pair = {"fleet", "none"};
        inventory_set_labels(f->control, a, pairs_pack(&(struct pairs){&pair, 1}));
        fixture_settle(f);
        assert_null(a->fleet);
        fixture_commit(f, FLEET("two"));
        sweep(f, -1000);
        assert_true(object_store_has(f->control->objects, first));
}

/* A node may claim to run anything, a file that it was given for one. */
static void test_a_lying_node_does_not_stop_it(void **state) {
        struct fixture *f = *state;
        fixture_commit(f, FLEET("one"));
        fixture_commit(f, FLEET("two"));
        struct node *a = fixture_node(f, "a", "fleet", "edge");
        const struct revision *r =
                revisions_decoded(f->control, fleet_stable(fleets_find(f->control, "edge"))->revision);
        assert_non_null(r);
        memcpy(a->report.revision, r->apps[0].files[0].sha256, sizeof(a->report.revision));
        sweep(f, -1000);
        assert_int_equal(gone, 2); /* the first revision and its file */
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_unused_ones_go, setup, teardown),
                cmocka_unit_test_setup_teardown(test_what_a_node_was_told_stays, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_lying_node_does_not_stop_it, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
