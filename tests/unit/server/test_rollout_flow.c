/* SPDX-License-Identifier: Apache-2.0 */
/* From a commit that compiled to what each node is told to run, and back from their reports; restarts
 * between. */
#include "control_fixture.h"

#define FLEET(text, extra)                                                                                   \
        "=== fleet.yaml\n"                                                                                   \
        "apiVersion: skerry/v1alpha1\nkind: Fleet\nmetadata: {name: edge}\nspec:\n"                          \
        "  selector: {matchLabels: {fleet: edge}}\n  rollout: waves\n"                                       \
        "  template:\n    variables: {port: \"80\"}\n    files:\n"                                           \
        "    - {path: /etc/text, content: \"" text " ${vars.port} ${node.name}\"}\n"                         \
        "=== rollout.yaml\n"                                                                                 \
        "apiVersion: skerry/v1alpha1\nkind: Rollout\nmetadata: {name: waves}\nspec:\n"                       \
        "  waves: [{name: canary, limit: 1}, {name: rest}]\n" extra

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

static bool has(const struct node *n, const char *revision) {
        return n->assigned && str_eq(n->assigned->revision, revision);
}

/* The member of the canary wave. */
static struct node *canary_of(struct node *a, struct node *b, const char *revision) {
        assert_true(has(a, revision) != has(b, revision));
        return has(a, revision) ? a : b;
}

static void test_without_nodes_it_is_stable_at_once(void **state) {
        struct fixture *f = *state;
        fixture_commit(f, FLEET("one", ""));
        struct fleet *fleet = fleets_find(f->control, "edge");
        assert_non_null(fleet_stable(fleet));
        assert_string_equal(fixture_phase(f), "none");
        struct node *n = fixture_node(f, "a", "fleet", "edge");
        assert_true(has(n, fleet_stable(fleet)->revision));
        assert_null(n->assigned->rollout);
        assert_string_equal(fixture_phase(f), "none");
}

static void test_waves_then_stable(void **state) {
        struct fixture *f = *state;
        struct node *a = fixture_node(f, "a", "fleet", "edge"), *b = fixture_node(f, "b", "fleet", "edge");
        struct node *other = fixture_node(f, "other", "fleet", "another");
        fixture_commit(f, FLEET("one", ""));
        struct fleet *fleet = fleets_find(f->control, "edge");
        assert_null(fleet_stable(fleet));
        struct node *canary = canary_of(a, b, fleet_desired(fleet)->revision), *rest = canary == a ? b : a;
        assert_string_equal(canary->assigned->rollout, rollouts_id(rollouts_latest(f->control, "edge")));
        assert_null(rest->assigned);
        fixture_report_healthy(f, canary);
        assert_true(has(rest, fleet_desired(fleet)->revision));
        assert_string_equal(fixture_phase(f), "Progressing");
        fixture_report_healthy(f, rest);
        assert_string_equal(fixture_phase(f), "Succeeded");
        assert_string_equal(fleet_stable(fleet)->revision, fleet_desired(fleet)->revision);
        assert_null(other->assigned);
        assert_int_equal(other->n_owners, 0);
}

static void both_healthy(struct fixture *f, struct node *a, struct node *b) {
        struct node *canary = canary_of(a, b, fleet_desired(fleets_find(f->control, "edge"))->revision);
        fixture_report_healthy(f, canary);
        fixture_report_healthy(f, canary == a ? b : a);
        assert_string_equal(fixture_phase(f), "Succeeded");
}

static void test_a_failed_target_goes_back_and_is_not_tried_again(void **state) {
        struct fixture *f = *state;
        struct node *a = fixture_node(f, "a", "fleet", "edge"), *b = fixture_node(f, "b", "fleet", "edge");
        fixture_commit(f, FLEET("one", ""));
        both_healthy(f, a, b);
        char good[65];
        strcpy(good, a->assigned->revision);
        fixture_commit(f, FLEET("bad", ""));
        struct fleet *fleet = fleets_find(f->control, "edge");
        struct node *canary = canary_of(a, b, fleet_desired(fleet)->revision);
        int64_t version = canary->version;
        fixture_report_rolled_back(f, canary, good);
        assert_true(has(canary, good));
        assert_true(canary->version > version);
        fixture_report_healthy(f, canary);
        assert_string_equal(fixture_phase(f), "RolledBack");
        assert_string_equal(fleet_stable(fleet)->revision, good);
        char first[27];
        strcpy(first, rollouts_id(rollouts_latest(f->control, "edge")));

        fixture_commit(f, FLEET("bad", "=== README.md\nhello\n"));
        assert_string_equal(rollouts_id(rollouts_latest(f->control, "edge")), first);
        struct node *late = fixture_node(f, "late", "fleet", "edge");
        assert_true(has(late, good));

        fixture_restart(f);
        a = inventory_node(f->control, "a");
        assert_true(has(a, good));
        fixture_commit(f, FLEET("bad", ""));
        assert_string_equal(rollouts_id(rollouts_latest(f->control, "edge")), first);
        fixture_commit(f, FLEET("mended", ""));
        assert_string_not_equal(rollouts_id(rollouts_latest(f->control, "edge")), first);
        assert_string_equal(fixture_phase(f), "Progressing");
}

#define SITE_FLEET(text)                                                                                     \
        "=== fleet.yaml\n"                                                                                   \
        "apiVersion: skerry/v1alpha1\nkind: Fleet\nmetadata: {name: edge}\nspec:\n"                          \
        "  selector: {matchLabels: {fleet: edge}}\n"                                                         \
        "  template:\n    variables: {port: \"80\"}\n    files:\n"                                           \
        "    - {path: /etc/text, content: \"" text " ${vars.port} ${labels.site:-none}\"}\n"                 \
        "=== other.yaml\n"                                                                                   \
        "apiVersion: skerry/v1alpha1\nkind: Fleet\nmetadata: {name: other}\nspec:\n"                         \
        "  selector: {matchLabels: {fleet: other}}\n"                                                        \
        "  template: {files: [{path: /etc/other, content: x}]}\n"                                            \
        "=== node.yaml\napiVersion: skerry/v1alpha1\nkind: Node\nmetadata: {name: a}\n"                      \
        "spec: {variables: {port: \"" text "\"}}\n"

static void label(struct fixture *f, struct node *n, const char *key, const char *value) {
        struct pair pair = {(char *)key, (char *)value};
        inventory_set_labels(f->control, n, pairs_pack(&(struct pairs){&pair, 1}));
}

/* After a rollout that failed nothing is tried again; but new labels mean what they say at once. */
static void test_labels_count_after_a_failure(void **state) {
        struct fixture *f = *state;
        struct node *a = fixture_node(f, "a", "fleet", "edge");
        fixture_commit(f, SITE_FLEET("81"));
        fixture_report_healthy(f, a);
        char good[65];
        strcpy(good, a->assigned->revision);
        fixture_commit(f, SITE_FLEET("82"));
        assert_false(has(a, good));
        fixture_report_rolled_back(f, a, good);
        fixture_report_healthy(f, a);
        assert_string_equal(fixture_phase(f), "RolledBack");
        assert_true(has(a, good));
        int64_t version = a->version;
        label(f, a, "unused", "x");
        assert_int_equal(a->version, version);
        label(f, a, "site", "kiel");
        assert_true(a->version > version);
        assert_true(has(a, good));
        assert_string_equal(pairs_get(a->assigned->labels, "site"), "kiel");
        assert_string_equal(pairs_get(a->assigned->variables, "port"), "81");
        version = a->version;
        /* A restart, and a commit that changes nothing, leave it so. */
        fixture_restart(f);
        a = inventory_node(f->control, "a");
        fixture_commit(f, SITE_FLEET("82"));
        assert_int_equal(a->version, version);
        /* Into another fleet, and back. */
        label(f, a, "fleet", "other");
        assert_string_equal(a->assigned->fleet, "other");
        assert_false(has(a, good));
        label(f, a, "site", "ulm");
        assert_string_equal(a->assigned->fleet, "edge");
        assert_true(has(a, good));
        assert_string_equal(pairs_get(a->assigned->labels, "site"), "ulm");
}

static void test_retry_takes_it_up_again(void **state) {
        struct fixture *f = *state;
        _cleanup_(err_freep) struct err *err = NULL;
        struct node *a = fixture_node(f, "a", "fleet", "edge");
        fixture_commit(f, FLEET("one", ""));
        fixture_report_healthy(f, a);
        char good[65];
        strcpy(good, a->assigned->revision);
        fixture_commit(f, FLEET("two", ""));
        char wanted[65];
        strcpy(wanted, a->assigned->revision);
        fixture_report_rolled_back(f, a, good);
        fixture_report_healthy(f, a);
        assert_string_equal(fixture_phase(f), "RolledBack");
        struct rollout_record *r = rollouts_latest(f->control, "edge");
        assert_int_equal(rollouts_command(f->control, r, &(struct rollout_command){.verb = "resume"}, &err),
                         -EINVAL);
        assert_int_equal(rollouts_command(f->control, r, &(struct rollout_command){.verb = "dance"}, NULL),
                         -EINVAL);
        assert_int_equal(rollouts_command(f->control, r,
                                          &(struct rollout_command){.verb = "retry", .actor = "ada"}, NULL),
                         0);
        assert_true(has(a, wanted));
        fixture_report_healthy(f, a);
        assert_string_equal(fixture_phase(f), "Succeeded");
        assert_string_equal(fleet_stable(fleets_find(f->control, "edge"))->revision, wanted);
}

static void test_a_newer_commit_takes_over_and_the_way_back_stays_good(void **state) {
        struct fixture *f = *state;
        struct node *a = fixture_node(f, "a", "fleet", "edge");
        fixture_commit(f, FLEET("one", ""));
        fixture_report_healthy(f, a);
        char good[65];
        strcpy(good, a->assigned->revision);
        fixture_commit(f, FLEET("two", ""));
        char first[27];
        strcpy(first, rollouts_id(rollouts_latest(f->control, "edge")));
        fixture_commit(f, FLEET("three", ""));
        assert_string_not_equal(rollouts_id(rollouts_latest(f->control, "edge")), first);
        json_t *j = rollouts_one_json(rollouts_find(f->control, first), NULL);
        assert_string_equal(json_string_value(json_object_get(json_object_get(j, "status"), "phase")),
                            "Superseded");
        json_decref(j);
        /* "two" never proved itself, so "three" goes back to "one". */
        fixture_report_rolled_back(f, a, good);
        assert_true(has(a, good));
}

static void test_old_reports_prove_nothing(void **state) {
        struct fixture *f = *state;
        struct node *a = fixture_node(f, "a", "fleet", "edge");
        fixture_commit(f, FLEET("one", ""));
        fixture_report_of(f, a, a->version - 1, a->assigned->revision, a->assigned->revision, "Healthy",
                          NULL);
        assert_string_equal(fixture_phase(f), "Progressing");
        fixture_report_of(f, a, a->version, NULL, a->assigned->revision, "Healthy", NULL);
        assert_string_equal(fixture_phase(f), "Progressing");
        fixture_report_healthy(f, a);
        assert_string_equal(fixture_phase(f), "Succeeded");
}

#define NODE_A(port)                                                                                         \
        "=== nodes.yaml\napiVersion: skerry/v1alpha1\nkind: Node\nmetadata: {name: a, labels: {fleet: "      \
        "edge}}\n"                                                                                           \
        "spec: {variables: {port: \"" port "\"}}\n"

static void test_a_nodes_variables_roll_out_and_back(void **state) {
        struct fixture *f = *state;
        struct node *a = fixture_node(f, "a", NULL, NULL), *b = fixture_node(f, "b", "fleet", "edge");
        fixture_commit(f, FLEET("one", NODE_A("81")));
        both_healthy(f, a, b);
        int64_t b_version = b->version;
        char good[65];
        strcpy(good, a->assigned->revision);
        assert_string_equal(pairs_get(a->assigned->variables, "port"), "81");
        fixture_commit(f, FLEET("one", NODE_A("82")));
        assert_string_equal(fixture_phase(f), "Progressing");
        assert_string_equal(pairs_get(a->assigned->variables, "port"), "82");
        assert_string_equal(a->assigned->revision, good);
        assert_int_equal(b->version, b_version);
        fixture_report_rolled_back(f, a, good);
        assert_string_equal(pairs_get(a->assigned->variables, "port"), "81");
        fixture_report_healthy(f, a);
        assert_string_equal(fixture_phase(f), "RolledBack");
        fixture_restart(f);
        a = inventory_node(f->control, "a");
        assert_string_equal(pairs_get(a->assigned->variables, "port"), "81");
}

#define SECOND_FLEET                                                                                         \
        "=== second.yaml\napiVersion: skerry/v1alpha1\nkind: Fleet\nmetadata: {name: second}\nspec:\n"       \
        "  selector: {matchLabels: {also: \"yes\"}}\n"                                                       \
        "  template: {files: [{path: /etc/second, content: x}]}\n"

static void test_two_owners_get_nothing_new(void **state) {
        struct fixture *f = *state;
        fixture_commit(f, FLEET("one", SECOND_FLEET));
        struct node *a = fixture_node(f, "a", "fleet", "edge");
        int64_t version = a->version;
        struct pair pair = {"also", "yes"};
        inventory_set_labels(f->control, a, pairs_pack(&(struct pairs){&pair, 1}));
        fixture_settle(f);
        assert_int_equal(a->n_owners, 2);
        assert_null(a->fleet);
        _cleanup_(x_freep) char *owners = fleets_owners_text(f->control, a);
        assert_string_equal(owners, "edge, second");
        assert_int_equal(a->version, version);
        inventory_set_labels(f->control, a, pairs_pack(NULL));
        fixture_settle(f);
        assert_int_equal(a->n_owners, 1);
        assert_int_equal(a->version, version);
}

static void test_a_fleet_that_goes_leaves_its_nodes_as_they_are(void **state) {
        struct fixture *f = *state;
        struct node *a = fixture_node(f, "a", "fleet", "edge");
        fixture_commit(f, FLEET("one", ""));
        fixture_report_healthy(f, a);
        int64_t version = a->version;
        fixture_commit(f, SECOND_FLEET);
        assert_null(fleets_find(f->control, "edge"));
        assert_null(a->fleet);
        assert_int_equal(a->n_owners, 0);
        assert_int_equal(a->version, version);
        fixture_commit(f, FLEET("one", ""));
        assert_int_equal(a->version, version);
        assert_non_null(fleet_stable(fleets_find(f->control, "edge")));
}

static void test_a_restart_in_the_middle_goes_on(void **state) {
        struct fixture *f = *state;
        struct node *a = fixture_node(f, "a", "fleet", "edge"), *b = fixture_node(f, "b", "fleet", "edge");
        fixture_commit(f, FLEET("one", ""));
        both_healthy(f, a, b);
        fixture_commit(f, FLEET("two", ""));
        char wanted[65], id[27];
        strcpy(wanted, fleet_desired(fleets_find(f->control, "edge"))->revision);
        strcpy(id, rollouts_id(rollouts_latest(f->control, "edge")));
        fixture_restart(f);
        assert_string_equal(rollouts_id(rollouts_latest(f->control, "edge")), id);
        assert_string_equal(fixture_phase(f), "Progressing");
        a = inventory_node(f->control, "a");
        b = inventory_node(f->control, "b");
        assert_false(a->connected);
        inventory_presence(f->control, a, true, NULL, "127.0.0.1");
        inventory_presence(f->control, b, true, NULL, "127.0.0.1");
        struct node *canary = canary_of(a, b, wanted);
        fixture_report_healthy(f, canary);
        fixture_restart(f);
        a = inventory_node(f->control, "a");
        b = inventory_node(f->control, "b");
        assert_true(has(a, wanted) && has(b, wanted));
        inventory_presence(f->control, a, true, NULL, "127.0.0.1");
        inventory_presence(f->control, b, true, NULL, "127.0.0.1");
        fixture_report_healthy(f, a);
        fixture_report_healthy(f, b);
        assert_string_equal(fixture_phase(f), "Succeeded");
}

static void test_a_revoked_node_is_out(void **state) {
        struct fixture *f = *state;
        struct node *a = fixture_node(f, "a", "fleet", "edge"), *b = fixture_node(f, "b", "fleet", "edge");
        fixture_commit(f, FLEET("one", ""));
        struct node *canary = canary_of(a, b, fleet_desired(fleets_find(f->control, "edge"))->revision);
        struct node *rest = canary == a ? b : a;
        inventory_revoke(f->control, canary, "stolen", "ada");
        fixture_settle(f);
        assert_null(canary->fleet);
        char gone[8];
        strcpy(gone, canary->name);
        /* It was its whole wave: whether the rollout goes on without a canary is for a person to say. */
        assert_string_equal(fixture_phase(f), "Progressing");
        assert_null(rest->assigned);
        struct rollout_record *r = rollouts_active(f->control, "edge");
        assert_int_equal(rollouts_command(f->control, r,
                                          &(struct rollout_command){.verb = "resume", .actor = "ada"}, NULL),
                         0);
        fixture_settle(f);
        /* Nothing waits for it any more, and it gets nothing new. */
        fixture_report_healthy(f, rest);
        assert_string_equal(fixture_phase(f), "Succeeded");
        int64_t version = canary->version;
        fixture_commit(f, FLEET("two", ""));
        fixture_restart(f);
        canary = inventory_node(f->control, gone);
        assert_true(canary->revoked_at > 0);
        assert_int_equal(canary->version, version);
        assert_null(canary->fleet);
        inventory_forget(f->control, canary);
        fixture_restart(f);
        assert_null(inventory_node(f->control, gone));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_without_nodes_it_is_stable_at_once, setup, teardown),
                cmocka_unit_test_setup_teardown(test_waves_then_stable, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_failed_target_goes_back_and_is_not_tried_again, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(test_labels_count_after_a_failure, setup, teardown),
                cmocka_unit_test_setup_teardown(test_retry_takes_it_up_again, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_newer_commit_takes_over_and_the_way_back_stays_good,
                                                setup, teardown),
                cmocka_unit_test_setup_teardown(test_old_reports_prove_nothing, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_nodes_variables_roll_out_and_back, setup, teardown),
                cmocka_unit_test_setup_teardown(test_two_owners_get_nothing_new, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_fleet_that_goes_leaves_its_nodes_as_they_are, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(test_a_restart_in_the_middle_goes_on, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_revoked_node_is_out, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
