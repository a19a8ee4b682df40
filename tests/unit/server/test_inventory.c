/* SPDX-License-Identifier: Apache-2.0 */
/* What the inventory makes of facts, lists, replaced machines and machines that are there twice. */
#include "codec/json.h"
#include "control_fixture.h"
#include "server/inventory_facts.h"
#include "server/inventory_import.h"

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

static void report(struct fixture *f, struct node *n, const char *boot, const char *facts) {
        json_t *j = NULL, *s = json_pack("{s:b, s:s}", "full", 1, "bootId", boot);
        assert_int_equal(json_decode(facts, strlen(facts), &j, NULL), 0);
        json_object_set_new(s, "facts", j);
        inventory_report(f->control, n, s);
        json_decref(s);
        fixture_settle(f);
}

static void test_facts(void **state) {
        static const char text[] =
                "{\"arch\":\"arm64\",\"cpus\":4,\"memoryBytes\":4100000000,\"diskBytes\":-1,\"tpm\":true,"
                "\"osId\":\"debian\",\"osVersion\":\"12\",\"kernel\":\"6.1.0-18-arm64\",\"hostname\":\"not a "
                "value\","
                "\"bootSlot\":7,\"other\":\"x\"}";
        _cleanup_(x_freep) struct pairs *p = facts_pairs(text, "linux/amd64");
        assert_string_equal(pairs_get(p, "facts.arch"), "arm64");
        assert_string_equal(pairs_get(p, "facts.cpus"), "4");
        assert_string_equal(pairs_get(p, "facts.memoryGiB"), "4");
        assert_string_equal(pairs_get(p, "facts.tpm"), "true");
        assert_string_equal(pairs_get(p, "facts.os"), "debian");
        assert_string_equal(pairs_get(p, "facts.osVersion"), "12");
        assert_string_equal(pairs_get(p, "facts.kernel"), "6.1.0-18-arm64");
        assert_int_equal(p->n, 7);
        for (size_t i = 1; i < p->n; i++)
                assert_true(strcmp(p->items[i - 1].key, p->items[i].key) < 0);
        _cleanup_(x_freep) struct pairs *old = facts_pairs(NULL, "linux/riscv64"),
                                        *none = facts_pairs("[]", NULL), *bad = facts_pairs("{", "x");
        assert_string_equal(pairs_get(old, "facts.arch"), "riscv64");
        assert_int_equal(none->n, 0);
        assert_int_equal(bad->n, 0);
}

/* Facts choose the fleet, and labels go over facts. */
static void test_facts_select(void **state) {
        struct fixture *f = *state;
        fixture_commit(f, "=== fleet.yaml\n"
                          "apiVersion: skerry/v1alpha1\nkind: Fleet\nmetadata: {name: edge}\nspec:\n"
                          "  selector: {matchLabels: {facts.arch: arm64}}\n"
                          "  template: {files: [{path: /etc/x, content: x}]}\n");
        struct node *n = fixture_node(f, "a", NULL, NULL);
        assert_null(n->fleet);
        report(f, n, "boot", "{\"arch\":\"arm64\",\"machineId\":\"machine\"}");
        assert_non_null(n->fleet);
        assert_null(pairs_get(n->labels, "facts.arch"));
        fixture_restart(f);
        n = inventory_node(f->control, "a");
        assert_non_null(n->fleet);
        report(f, n, "boot", "{\"arch\":\"amd64\",\"machineId\":\"machine\"}");
        assert_null(n->fleet);
}

static size_t import(struct fixture *f, const char *text, bool dry_run, const char *words) {
        json_t *items = NULL, *errors = NULL;
        size_t n = 0;
        assert_int_equal(json_decode(text, strlen(text), &items, NULL), 0);
        int r = inventory_import(f->control, items, dry_run, &n, &errors);
        assert_int_equal(r, words ? -EINVAL : 0);
        if (words) {
                char *said = json_dumps(errors, 0);
                if (!strstr(said, words))
                        fail_msg("%s", said);
                free(said);
        }
        json_decref(items);
        json_decref(errors);
        fixture_settle(f);
        return n;
}

static void test_import(void **state) {
        struct fixture *f = *state;
        static const char two[] = "[{\"name\":\"a\",\"labels\":{\"site\":\"kiel\"},\"machineId\":\"0a0b\"},"
                                  "{\"name\":\"b\"}]";
        assert_int_equal(import(f, two, true, NULL), 2);
        assert_int_equal(inventory_size(f->control), 0);
        assert_int_equal(import(f, two, false, NULL), 2);
        fixture_restart(f);
        struct node *a = inventory_node(f->control, "a");
        assert_int_equal(inventory_size(f->control), 2);
        assert_true(a->imported_at > 0);
        assert_string_equal(pairs_get(a->labels, "site"), "kiel");
        assert_ptr_equal(inventory_machine(f->control, "0a0b"), a);
        /* Again, as long as it has not come. */
        assert_int_equal(import(f, "[{\"name\":\"a\",\"labels\":{\"site\":\"ulm\"}}]", false, NULL), 1);
        assert_string_equal(pairs_get(a->labels, "site"), "ulm");
        assert_null(inventory_machine(f->control, "0a0b"));
        a = fixture_node(f, "a", "role", "shop");
        assert_int_equal(a->imported_at, 0);
        assert_string_equal(pairs_get(a->labels, "site"), "ulm");
        assert_string_equal(pairs_get(a->labels, "role"), "shop");

        import(f, "[{\"name\":\"c\"},{\"name\":\"a\"}]", false, "\"index\": 1");
        assert_null(inventory_node(f->control, "c"));
        import(f, "[{\"name\":\"c\"},{\"name\":\"c\"}]", false, "twice");
        import(f, "[{\"name\":\"C c\"}]", false, "DNS label");
        import(f, "[{}]", false, "name");
        import(f, "[7]", false, "expected an object");
        import(f, "[{\"name\":\"c\",\"machineId\":\"no/id\"}]", false, "machineId");
        import(f, "[{\"name\":\"c\",\"machineid\":\"00\"}]", false, "machineId");
        import(f, "[{\"name\":\"c\",\"labels\":{\"x\":\"a b\"}}]", false, "x");
        import(f, "[{\"name\":\"c\",\"machineId\":\"0d\"},{\"name\":\"d\",\"machineId\":\"0d\"}]", false,
               "twice");
        import(f, "[{\"name\":\"d\",\"machineId\":\"machine\"}]", false, "machineId");
        /* A name whose beginning, as the error shows it, ends within a character. */
        char far[400] = "[{\"name\":\"";
        for (int i = 0; i < 100; i++)
                strcat(far, i ? "\xc3\xb6" : "x");
        strcat(far, "\"}]");
        import(f, far, false, "far too long");
        assert_int_equal(inventory_size(f->control), 2);
}

/* A machine may call itself anything. */
static void test_hostile_facts(void **state) {
        struct fixture *f = *state;
        struct node *n = fixture_node(f, "a", NULL, NULL);
        report(f, n, "boot", "{\"machineId\":\"xxxxxxxxxxx\xc3\xb6\xc3\xb6\",\"arch\":7,\"cpus\":-1}");
        assert_non_null(strstr(n->duplicate, "machine xxxxxxxxxxx?..."));
        report(f, n, "boot", "{\"machineId\":[],\"memoryBytes\":9223372036854775807}");
        assert_string_equal(pairs_get(n->traits, "facts.memoryGiB"), "8589934592");
        _cleanup_(x_freep) struct pairs *list = facts_pairs("[1]", "linux/amd64");
        assert_string_equal(pairs_get(list, "facts.arch"), "amd64");
}

static void test_replace(void **state) {
        struct fixture *f = *state;
        struct node *n = fixture_node(f, "a", "role", "shop");
        inventory_set_labels(f->control, n, pairs_pack(&(struct pairs){&(struct pair){"site", "kiel"}, 1}));
        inventory_replace(f->control, n, 60000);
        fixture_restart(f);
        n = inventory_node(f->control, "a");
        assert_true(n->replace_until > control_now(f->control));
        struct cert_info certificate = {.serial = "other", .not_after = control_now(f->control) + 1000};
        inventory_revoke(f->control, n, "broken", "ada");
        inventory_enrol(f->control, "a", "other", pairs_pack(NULL), &certificate);
        fixture_restart(f);
        n = inventory_node(f->control, "a");
        assert_int_equal(n->replace_until, 0);
        assert_int_equal(n->revoked_at, 0);
        assert_string_equal(n->machine_id, "other");
        assert_string_equal(pairs_get(n->labels, "site"), "kiel");
        assert_true(serials_have(&n->serials, "other"));
        assert_false(serials_have(&n->serials, "a"));
        assert_null(n->duplicate);
        inventory_replace(f->control, n, 60000);
        inventory_replace(f->control, n, 0);
        assert_int_equal(n->replace_until, 0);
}

static void test_duplicates(void **state) {
        struct fixture *f = *state;
        struct node *a = fixture_node(f, "a", NULL, NULL), *b = fixture_node(f, "b", NULL, NULL);
        assert_null(a->duplicate);
        assert_non_null(b->duplicate); /* the fixture's machine once more */
        assert_non_null(strstr(b->duplicate, "is node a, too"));
        /* Reboots are none. */
        report(f, a, "one", "{\"machineId\":\"machine\"}");
        report(f, a, "two", "{\"machineId\":\"machine\"}");
        report(f, a, "two", "{\"machineId\":\"machine\"}");
        report(f, a, "three", "{\"machineId\":\"machine\"}");
        assert_null(a->duplicate);
        report(f, a, "two", "{\"machineId\":\"machine\"}");
        assert_non_null(strstr(a->duplicate, "different times"));
        a = fixture_node(f, "a", NULL, NULL);
        assert_true(!a->duplicate || strstr(a->duplicate, "is node b, too"));
        report(f, a, "four", "{\"machineId\":\"copy\"}");
        assert_non_null(strstr(a->duplicate, "its key is used on machine copy"));
        json_t *j = inventory_json(f->control, a);
        char *text = json_dumps(j, 0);
        assert_non_null(strstr(text, "\"Unique\""));
        free(text);
        json_decref(j);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_facts),
                cmocka_unit_test_setup_teardown(test_facts_select, setup, teardown),
                cmocka_unit_test_setup_teardown(test_import, setup, teardown),
                cmocka_unit_test_setup_teardown(test_hostile_facts, setup, teardown),
                cmocka_unit_test_setup_teardown(test_replace, setup, teardown),
                cmocka_unit_test_setup_teardown(test_duplicates, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
