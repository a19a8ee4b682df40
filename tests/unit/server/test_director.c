/* SPDX-License-Identifier: Apache-2.0 */
/* What the director gives to whom: artifacts by platform and labels, nodes that nothing fits, revisions that
 * wait for a release. The catalog is said by the test; how it is read is catalog_reader.c's. */
#include "codec/json.h"
#include "control_fixture.h"

#define FLEET(version)                                                                                       \
        "=== fleet.yaml\n"                                                                                   \
        "apiVersion: skerry/v1alpha1\nkind: Fleet\nmetadata: {name: edge}\nspec:\n"                          \
        "  selector: {matchLabels: {fleet: edge}}\n  rollout: waves\n"                                       \
        "  template: {variables: {v: \"1\"}, apps: [web]}\n"                                                 \
        "=== web.yaml\n"                                                                                     \
        "apiVersion: skerry/v1alpha1\nkind: App\nmetadata: {name: web}\nspec:\n"                             \
        "  driver: files\n  artifacts: [{name: web, version: \"" version "\", path: /opt/web}]\n"            \
        "=== rollout.yaml\n"                                                                                 \
        "apiVersion: skerry/v1alpha1\nkind: Rollout\nmetadata: {name: waves}\nspec:\n"                       \
        "  waves: [{name: canary, limit: 1}, {name: rest}]\n"

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

/* ---- what the repository holds */

struct entry {
        const char *version, *platform, *more;
        int counter;
        char digit; /* its digest is made of it */
};

static void digest_of(char digit, char out[65]) {
        memset(out, digit, 64);
        out[64] = '\0';
}

static void add_artifact(struct catalog *c, const struct entry *e) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *path = must(artifact_target_path("web", e->version, e->platform));
        _cleanup_(x_freep) char *text = must(str_format(
                "{\"skerry\":{\"kind\":\"artifact\",\"name\":\"web\",\"version\":\"%s\",\"platform\":\"%s\","
                "\"type\":\"tree\",\"releaseCounter\":%d%s}}",
                e->version, e->platform, e->counter, e->more ? e->more : ""));
        json_t *custom = NULL;
        char digest[65];
        digest_of(e->digit, digest);
        assert_int_equal(json_decode(text, strlen(text), &custom, NULL), 0);
        if (catalog_add(c, path, 1000, digest, custom, &err) < 0)
                fail_msg("%s", err_message(err));
        json_decref(custom);
}

static void add_release(struct catalog *c, const char *digest, int64_t length, int counter) {
        _cleanup_(x_freep) char *path = must(str_format("revisions/edge/%s.json", digest));
        json_t *custom = json_pack("{s:{s:s, s:s, s:i}}", "skerry", "kind", "revision", "fleet", "edge",
                                   "releaseCounter", counter);
        assert_int_equal(catalog_add(c, path, length, digest, custom, NULL), 0);
        json_decref(custom);
}

static void publish(struct fixture *f, const struct entry *entries, size_t n) {
        struct catalog *c = must(catalog_new());
        for (size_t i = 0; i < n; i++)
                add_artifact(c, &entries[i]);
        catalog_seal(c);
        assert_int_equal(director_keep(f->control, c, NULL), 0);
        director_take(f->control, c);
        fixture_settle(f);
}

#define AMD64_1                                                                                              \
        { "1.0.0", "linux/amd64", NULL, 1, 'a' }
#define ARM64_1                                                                                              \
        { "1.0.0", "linux/arm64/v8", NULL, 2, 'b' }
#define AMD64_2                                                                                              \
        { "2.0.0", "linux/amd64", NULL, 3, 'c' }
#define PUBLISH(f, ...)                                                                                      \
        publish((f), (const struct entry[]){__VA_ARGS__},                                                    \
                sizeof((const struct entry[]){__VA_ARGS__}) / sizeof(struct entry))

/* ---- nodes */

static void say_platform(struct fixture *f, struct node *n, const char *platform) {
        json_t *j = json_pack("{s:b, s:s}", "full", 1, "platform", platform);
        inventory_report(f->control, n, j);
        json_decref(j);
        fixture_settle(f);
}

static struct node *node_of(struct fixture *f, const char *name, const char *platform) {
        struct node *n = fixture_node(f, name, "fleet", "edge");
        say_platform(f, n, platform);
        return n;
}

/* Keeps its platform, which a full report without one would take away. */
static void report_healthy(struct fixture *f, struct node *n) {
        json_t *j = json_pack("{s:I, s:s, s:s, s:s}", "assignment", (json_int_t)n->version, "revision",
                              n->assigned->revision, "target", n->assigned->revision, "state", "Healthy");
        inventory_report(f->control, n, j);
        json_decref(j);
        fixture_settle(f);
}

static const char *assigned_target(const struct node *n, size_t i) {
        const json_t *list = n->assigned ? n->assigned->artifacts : NULL;
        return json_string_value(json_object_get(json_array_get(list, i), "target"));
}

static const char *waits_for(struct fixture *f) {
        static char text[512];
        json_t *list = fleets_json(f->control, fleets_find(f->control, "edge"));
        const char *said = json_string_value(
                json_object_get(json_object_get(json_array_get(list, 0), "status"), "waitsFor"));
        (void)snprintf(text, sizeof(text), "%s", said ? said : "");
        json_decref(list);
        return text;
}

/* ---- tests */

static void test_each_gets_its_platforms(void **state) {
        struct fixture *f = *state;
        fixture_add_repository(f, "server");
        PUBLISH(f, AMD64_1, ARM64_1);
        struct node *a = node_of(f, "a", "linux/amd64"), *b = node_of(f, "b", "linux/arm64");
        fixture_commit(f, FLEET("1.0.0"));
        struct node *first = a->assigned ? a : b, *second = first == a ? b : a;
        report_healthy(f, first);
        report_healthy(f, second);
        assert_string_equal(fixture_phase(f), "Succeeded");
        assert_string_equal(assigned_target(a, 0), "artifacts/web/1.0.0/linux-amd64");
        assert_string_equal(assigned_target(b, 0), "artifacts/web/1.0.0/linux-arm64-v8");
        const json_t *one = json_array_get(a->assigned->artifacts, 0);
        assert_int_equal(json_array_size(a->assigned->artifacts), 1);
        assert_int_equal(json_integer_value(json_object_get(one, "length")), 1000);
        assert_int_equal(json_integer_value(json_object_get(one, "releaseCounter")), 1);
        assert_string_equal(json_string_value(json_object_get(one, "platform")), "linux/amd64");
        assert_int_equal(strlen(json_string_value(json_object_get(one, "sha256"))), 64);
        /* And all of it is there after a restart, before anything is read. */
        int64_t version = a->version;
        fixture_restart(f);
        director_start(f->control);
        fixture_settle(f);
        a = inventory_node(f->control, "a");
        assert_string_equal(assigned_target(a, 0), "artifacts/web/1.0.0/linux-amd64");
        assert_int_equal(a->version, version);
}

static void test_unknown_versions_do_not_compile(void **state) {
        struct fixture *f = *state;
        fixture_add_repository(f, "server");
        PUBLISH(f, AMD64_1);
        struct compiled *c = fixture_compile(f, "fleet", FLEET("3.0.0"));
        assert_int_equal(c->n_errors, 1);
        const json_t *d = json_array_get(c->diagnostics, 0);
        assert_string_equal(json_string_value(json_object_get(d, "message")),
                            "artifact \"web\" has no version \"3.0.0\" in the repository; there are 1.0.0");
        assert_string_equal(json_string_value(json_object_get(d, "file")), "web.yaml");
        assert_int_equal(json_integer_value(json_object_get(d, "line")), 6);
        assert_non_null(strstr(json_string_value(json_object_get(d, "suggestion")),
                               "skerry artifact push web:3.0.0"));
        compiled_free(c);
}

static void test_without_a_repository_it_is_said(void **state) {
        struct fixture *f = *state;
        struct compiled *c = fixture_compile(f, "fleet", FLEET("1.0.0"));
        assert_int_equal(c->n_errors, 1);
        assert_string_equal(json_string_value(json_object_get(json_array_get(c->diagnostics, 0), "message")),
                            "app \"web\" names artifacts, and the server has no repository");
        compiled_free(c);
}

static void test_who_nothing_fits_waits_alone(void **state) {
        struct fixture *f = *state;
        fixture_add_repository(f, "server");
        PUBLISH(f, AMD64_1);
        struct node *a = node_of(f, "a", "linux/amd64"), *odd = node_of(f, "odd", "linux/riscv64");
        fixture_commit(f, FLEET("1.0.0"));
        report_healthy(f, a);
        assert_string_equal(fixture_phase(f), "Succeeded");
        assert_null(odd->assigned);
        assert_string_equal(odd->blocked, "no artifact web:1.0.0 for linux/riscv64; there is linux/amd64");
        assert_string_equal(waits_for(f), "");
        json_t *shown = inventory_json(f->control, odd);
        _cleanup_(x_freep) char *text = json_dumps(shown, 0);
        assert_non_null(strstr(text, "NoArtifact"));
        json_decref(shown);
        /* Somebody pushes what it needs: it gets it in a rollout of its own; the other is left alone. */
        int64_t version = a->version;
        PUBLISH(f, AMD64_1, {"1.0.0", "linux/riscv64", NULL, 2, 'd'});
        assert_null(odd->blocked);
        assert_string_equal(assigned_target(odd, 0), "artifacts/web/1.0.0/linux-riscv64");
        assert_string_equal(odd->assigned->rollout, rollouts_id(rollouts_latest(f->control, "edge")));
        assert_int_equal(a->version, version);
        report_healthy(f, odd);
        assert_string_equal(fixture_phase(f), "Succeeded");
}

static void test_all_wait_then_go_in_waves(void **state) {
        struct fixture *f = *state;
        fixture_add_repository(f, "server");
        PUBLISH(f, ARM64_1);
        struct node *a = node_of(f, "a", "linux/amd64"), *b = node_of(f, "b", "linux/amd64");
        fixture_commit(f, FLEET("1.0.0"));
        assert_null(fleet_stable(fleets_find(f->control, "edge")));
        assert_non_null(strstr(waits_for(f), "no node of fleet edge can take revision"));
        assert_non_null(
                strstr(waits_for(f), "no artifact web:1.0.0 for linux/amd64; there is linux/arm64/v8"));
        PUBLISH(f, ARM64_1, AMD64_1);
        assert_string_equal(waits_for(f), "");
        assert_true(!a->assigned != !b->assigned); /* the canary alone */
        report_healthy(f, a->assigned ? a : b);
        assert_true(a->assigned && b->assigned);
}

static void test_a_label_chooses_another(void **state) {
        struct fixture *f = *state;
        fixture_add_repository(f, "server");
        PUBLISH(f, AMD64_1, {"1.0.0", "linux/arm64/v8", ",\"hardware\":{\"board\":\"rpi4\"}", 2, 'b'},
                {"1.0.0", "any", NULL, 3, 'c'});
        struct node *n = node_of(f, "n", "linux/arm64");
        fixture_commit(f, FLEET("1.0.0"));
        assert_string_equal(assigned_target(n, 0), "artifacts/web/1.0.0/any");
        report_healthy(f, n);
        int64_t version = n->version;
        /* A label that chooses nothing else changes nothing. */
        struct pair pairs[] = {{"board", "rpi4"}, {"colour", "red"}, {"fleet", "edge"}};
        inventory_set_labels(f->control, n, pairs_pack(&(struct pairs){pairs + 1, 2}));
        fixture_settle(f);
        assert_int_equal(n->version, version);
        inventory_set_labels(f->control, n, pairs_pack(&(struct pairs){pairs, 3}));
        fixture_settle(f);
        assert_true(n->version > version);
        assert_string_equal(assigned_target(n, 0), "artifacts/web/1.0.0/linux-arm64-v8");
}

/* The same version with another content is a change, and goes in waves; the way back is what was before. */
static void test_changed_content_rolls_out(void **state) {
        struct fixture *f = *state;
        fixture_add_repository(f, "server");
        PUBLISH(f, AMD64_1);
        struct node *a = node_of(f, "a", "linux/amd64"), *b = node_of(f, "b", "linux/amd64");
        fixture_commit(f, FLEET("1.0.0"));
        report_healthy(f, a->assigned ? a : b);
        report_healthy(f, a->assigned && !a->report.has_state ? a : b);
        assert_string_equal(fixture_phase(f), "Succeeded");
        int64_t of_a = a->version, of_b = b->version;
        PUBLISH(f, {"1.0.0", "linux/amd64", NULL, 9, 'f'});
        assert_string_equal(fixture_phase(f), "Progressing");
        assert_true((a->version > of_a) != (b->version > of_b));
        struct node *canary = a->version > of_a ? a : b;
        assert_int_equal(json_integer_value(json_object_get(json_array_get(canary->assigned->artifacts, 0),
                                                            "releaseCounter")),
                         9);
        assert_int_equal(json_integer_value(json_object_get(json_array_get(canary->fallback->artifacts, 0),
                                                            "releaseCounter")),
                         1);
        assert_true(assignments_give_back(f->control, canary, "r"));
        assert_int_equal(json_integer_value(json_object_get(json_array_get(canary->assigned->artifacts, 0),
                                                            "releaseCounter")),
                         1);
        fixture_settle(f);
}

static void test_a_new_node_says_first_what_it_is(void **state) {
        struct fixture *f = *state;
        fixture_add_repository(f, "server");
        PUBLISH(f, AMD64_1);
        struct node *n = fixture_node(f, "n", "fleet", "edge");
        fixture_commit(f, FLEET("1.0.0"));
        assert_null(n->assigned);
        assert_non_null(strstr(n->blocked, "has not said yet what platform it is"));
        say_platform(f, n, "linux/amd64");
        assert_null(n->blocked);
        assert_string_equal(assigned_target(n, 0), "artifacts/web/1.0.0/linux-amd64");
}

static void test_nothing_goes_out_unreleased(void **state) {
        struct fixture *f = *state;
        fixture_add_repository(f, "release-key");
        PUBLISH(f, AMD64_1, AMD64_2);
        struct node *n = node_of(f, "n", "linux/amd64");
        fixture_commit(f, FLEET("1.0.0"));
        const struct target *t = fleet_desired(fleets_find(f->control, "edge"));
        assert_null(n->assigned);
        assert_string_equal(fixture_phase(f), "none");
        assert_non_null(strstr(waits_for(f), "waits for a release: run skerry release"));
        /* Of another length, of another fleet's name: no release of this. */
        struct catalog *c = must(catalog_new());
        add_artifact(c, &(struct entry)AMD64_1);
        add_artifact(c, &(struct entry)AMD64_2);
        add_release(c, t->revision, t->length + 1, 1);
        catalog_seal(c);
        director_take(f->control, c);
        fixture_settle(f);
        assert_null(n->assigned);
        c = must(catalog_new());
        add_artifact(c, &(struct entry)AMD64_1);
        add_artifact(c, &(struct entry)AMD64_2);
        add_release(c, t->revision, t->length, 1);
        catalog_seal(c);
        director_take(f->control, c);
        fixture_settle(f);
        assert_string_equal(waits_for(f), "");
        assert_true(n->assigned && str_eq(n->assigned->revision, t->revision));
        report_healthy(f, n);
        /* The next one waits again, and what runs goes on; so it does after a restart. */
        char before[65];
        memcpy(before, t->revision, sizeof(before));
        fixture_commit(f, FLEET("2.0.0"));
        assert_string_equal(n->assigned->revision, before);
        assert_non_null(strstr(waits_for(f), "waits for a release"));
        fixture_restart(f);
        director_start(f->control);
        fixture_settle(f);
        n = inventory_node(f->control, "n");
        assert_string_equal(n->assigned->revision, before);
        assert_non_null(strstr(waits_for(f), "waits for a release"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_each_gets_its_platforms, setup, teardown),
                cmocka_unit_test_setup_teardown(test_unknown_versions_do_not_compile, setup, teardown),
                cmocka_unit_test_setup_teardown(test_without_a_repository_it_is_said, setup, teardown),
                cmocka_unit_test_setup_teardown(test_who_nothing_fits_waits_alone, setup, teardown),
                cmocka_unit_test_setup_teardown(test_all_wait_then_go_in_waves, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_label_chooses_another, setup, teardown),
                cmocka_unit_test_setup_teardown(test_changed_content_rolls_out, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_new_node_says_first_what_it_is, setup, teardown),
                cmocka_unit_test_setup_teardown(test_nothing_goes_out_unreleased, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
