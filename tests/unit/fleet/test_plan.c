/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
/* */
#include <cmocka.h>

#include "codec/json.h"
#include "fleet/plan.h"
#include "memory_tree.h"

/* What differs between two states of one repository. */
struct variant {
        const char *greeting, *command, *apps, *content, *data, *more;
};
static const struct variant BASE = {
        .greeting = "Moin",
        .command = "[/bin/till, --slow]",
        .apps = "[till, web]",
        .content = "one\\ntwo\\nthree\\nfour\\nfive\\nsix\\n",
        .data = "hello",
        .more = "",
};

static struct fleet_model *compile(const struct variant *v) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        struct fleet_model *m = NULL;
        struct memory_tree t;

        buf_printf(&text,
                   "=== a.yaml\n"
                   "apiVersion: skerry/v1alpha1\n"
                   "kind: Fleet\n"
                   "metadata: {name: shops}\n"
                   "spec:\n"
                   "  selector: {matchLabels: {role: shop}}\n"
                   "  rollout: careful\n"
                   "  template: {variables: {greeting: \"%s\"}, apps: %s}\n"
                   "---\n"
                   "apiVersion: skerry/v1alpha1\n"
                   "kind: Rollout\n"
                   "metadata: {name: careful}\n"
                   "spec: {waves: [{name: canary, selector: {matchLabels: {canary: \"true\"}}}, {name: some, "
                   "limit: 1}]}\n"
                   "---\n"
                   "apiVersion: skerry/v1alpha1\n"
                   "kind: App\n"
                   "metadata: {name: till}\n"
                   "spec:\n"
                   "  driver: process\n"
                   "  command: %s\n"
                   "  readyTimeout: 30s\n"
                   "  files: [{path: /etc/till, content: \"%s\"}]\n"
                   "---\n"
                   "apiVersion: skerry/v1alpha1\n"
                   "kind: App\n"
                   "metadata: {name: web}\n"
                   "spec: {driver: podman, manifests: [web.k8s.yaml]}\n"
                   "---\n"
                   "apiVersion: skerry/v1alpha1\n"
                   "kind: App\n"
                   "metadata: {name: extra}\n"
                   "spec: {driver: process, command: [x, \"${vars.port:-1}\"]}\n"
                   "---\n"
                   "apiVersion: skerry/v1alpha1\n"
                   "kind: Node\n"
                   "metadata: {name: n1, labels: {role: shop, canary: \"true\"}}\n"
                   "---\n"
                   "apiVersion: skerry/v1alpha1\n"
                   "kind: Node\n"
                   "metadata: {name: n2, labels: {role: shop}}\n"
                   "%s"
                   "=== web.k8s.yaml\n"
                   "apiVersion: v1\n"
                   "kind: ConfigMap\n"
                   "metadata: {name: page}\n"
                   "data: {text: \"%s\"}\n",
                   v->greeting, v->apps, v->command, v->content, v->more, v->data);
        memory_tree_init(&t, buf_str(&text));
        if (fleet_compile(&t.tree, NULL, 0, NULL, &m, &err) < 0)
                fail_msg("%s", err_message(err));
        memory_tree_done(&t);
        if (diagnostics_errors(m->diagnostics) > 0)
                fail_msg("%s", diagnostics_at(m->diagnostics, 0)->message);
        return m;
}

static struct plan *plan(const struct fleet_model *m, const struct fleet_model *before,
                         const struct plan_node *nodes, size_t n_nodes,
                         const struct plan_contents *contents) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct plan_fleet_before fleets[8];
        struct plan *p = NULL;
        size_t n = 0;

        for (size_t i = 0; before && i < before->n_fleets; i++)
                fleets[n++] = (struct plan_fleet_before){before->fleets[i].name, before->fleets[i].revision};
        if (plan_make_with_contents(m, fleets, n, nodes, n_nodes, contents, &p, &err) < 0)
                fail_msg("%s", err_message(err));
        return p;
}

/* Digests are replaced by '#', so that the expected text does not change with every detail. */
static void assert_plan(const struct plan *p, const char *expected) {
        _cleanup_(buf_done) struct buf out = BUF_INIT, plain = BUF_INIT;

        plan_format(p, false, 0, &out);
        for (const char *s = buf_str(&out); *s;) {
                size_t hex = strspn(s, "0123456789abcdef");
                if (hex == 12) {
                        buf_putc(&plain, '#');
                        s += hex;
                } else {
                        buf_append(&plain, s, hex ? hex : 1);
                        s += hex ? hex : 1;
                }
        }
        assert_string_equal(buf_str(&plain), expected);
}

static int read_old(void *arg, const char *sha256, char **ret_data, size_t *ret_len) {
        const struct fleet_model *m = arg;
        for (size_t i = 0; i < m->n_objects; i++)
                if (strcmp(m->objects[i].sha256, sha256) == 0) {
                        *ret_data = str_dup_n(m->objects[i].data, m->objects[i].len);
                        *ret_len = m->objects[i].len;
                        return 0;
                }
        return -ENOENT;
}

static void test_everything_is_new(void **state) {
        struct fleet_model *m = compile(&BASE);
        struct plan *p = plan(m, NULL, NULL, 0, NULL);
        assert_false(plan_is_empty(p));
        assert_plan(p, "+ fleet shops: revision #\n"
                       "    + variable greeting: Moin\n"
                       "    + app till (process)\n"
                       "    + app web (podman)\n"
                       "    2 nodes in 2 waves, rollout careful\n"
                       "      1. canary     1 node   n1\n"
                       "      2. some       1 node   n2\n");
        plan_free(p);
        fleet_model_free(m);
}

static void test_markdown(void **state) {
        struct variant v = BASE;
        v.greeting = "``` </details> |";
        struct fleet_model *before = compile(&BASE), *after = compile(&v);
        struct plan *p = plan(after, before, NULL, 0, NULL), *none = plan(after, after, NULL, 0, NULL);
        _cleanup_(buf_done) struct buf out = BUF_INIT, many = BUF_INIT;
        plan_format_markdown(p, &out);
        assert_non_null(strstr(buf_str(&out), "| `shops` | change | none | 2 | `canary` 1, `some` 1 |"));
        /* The fence is longer than what the text holds, and differences begin their lines. */
        assert_non_null(strstr(buf_str(&out), "\n````diff\n"));
        const char *end = strstr(buf_str(&out), "\n````\n\n</details>\n");
        assert_non_null(end);
        assert_string_equal(end, "\n````\n\n</details>\n");
        assert_non_null(strstr(buf_str(&out), "\n~ fleet shops"));
        plan_format_markdown(none, &many);
        assert_true(str_has_prefix(buf_str(&many), "### What this changes\n\n"));
        assert_true(out.len < PLAN_MARKDOWN_MAX + 1000);
        plan_free(p);
        plan_free(none);
        fleet_model_free(before);
        fleet_model_free(after);
}

static void test_nothing_changes(void **state) {
        struct fleet_model *m = compile(&BASE);
        struct plan *p = plan(m, m, NULL, 0, NULL);
        /* Both nodes are declared and in no fleet yet, as far as anybody knows. */
        assert_plan(p, "+ node n1 joins fleet shops\n+ node n2 joins fleet shops\n");
        plan_free(p);
        const struct plan_node nodes[] = {
                {.name = "n2", .labels = m->nodes[1].labels, .fleet = "shops"},
                {.name = "n1", .labels = m->nodes[0].labels, .fleet = "shops"},
        };
        p = plan(m, m, nodes, 2, NULL);
        assert_true(plan_is_empty(p));
        assert_plan(p, "nothing would change\n");
        _cleanup_json_ json_t *j = plan_to_json(p);
        assert_true(json_is_false(json_object_get(j, "changes")));
        plan_free(p);
        fleet_model_free(m);
}

static void test_fields_and_files(void **state) {
        struct variant v = BASE;
        v.greeting = "Hello";
        v.command = "[/bin/till]";
        v.apps = "[till, extra]";
        v.content = "one\\ntwo\\nthree\\nfour\\n5\\nsix\\nseven\\n";
        struct fleet_model *before = compile(&BASE), *after = compile(&v);
        const struct plan_contents contents = {read_old, before};
        struct plan *p = plan(after, before, NULL, 0, &contents);
        assert_plan(p, "~ fleet shops: revision # -> #\n"
                       "    ~ variable greeting: Moin -> Hello\n"
                       "    + app extra (process)\n"
                       "    ~ app till (process)\n"
                       "        ~ files[/etc/till]\n"
                       "              ...\n"
                       "              three\n"
                       "              four\n"
                       "            - five\n"
                       "            + 5\n"
                       "              six\n"
                       "            + seven\n"
                       "        ~ command: /bin/till --slow -> /bin/till\n"
                       "    - app web (podman)\n"
                       "    2 nodes in 2 waves, rollout careful\n"
                       "      1. canary     1 node   n1\n"
                       "      2. some       1 node   n2\n");
        plan_free(p);
        /* Without the old content its size is told. */
        p = plan(after, before, NULL, 0, NULL);
        _cleanup_json_ json_t *j = plan_to_json(p);
        const json_t *fleet = json_array_get(json_object_get(j, "fleets"), 0),
                     *till = json_array_get(json_object_get(fleet, "apps"), 1),
                     *file = json_array_get(json_object_get(till, "changes"), 0);
        assert_string_equal(json_string_value(json_object_get(fleet, "action")), "change");
        assert_string_equal(json_string_value(json_object_get(till, "name")), "till");
        assert_string_equal(json_string_value(json_object_get(file, "path")), "files[/etc/till]");
        assert_true(str_has_prefix(json_string_value(json_object_get(file, "before")), "28 bytes, "));
        assert_int_equal(json_array_size(json_object_get(fleet, "waves")), 2);
        plan_free(p);
        fleet_model_free(before);
        fleet_model_free(after);
}

static void test_manifests(void **state) {
        struct variant v = BASE;
        v.data = "bye";
        struct fleet_model *before = compile(&BASE), *after = compile(&v);
        struct plan *p = plan(after, before, NULL, 0, NULL);
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        plan_format(p, true, 0, &out);
        assert_non_null(strstr(buf_str(&out), "manifests[ConfigMap/page].data.text: hello -> bye"));
        assert_non_null(strstr(buf_str(&out), "\033[33m~ "));
        plan_free(p);
        fleet_model_free(before);
        fleet_model_free(after);
}

static void test_artifacts(void **state) {
        struct variant v = BASE, w = BASE;
        v.command = "[bin/till]\n"
                    "  artifacts: [{name: till, version: \"1.2.0\"}, {name: data, version: \"7\", path: "
                    "/srv/data}, {name: gone, version: \"1\"}]";
        w.command = "[bin/till]\n"
                    "  artifacts: [{name: till, version: \"1.3.0\"}, {name: data, version: \"7\", path: "
                    "/srv/other}, {name: come, version: \"${vars.greeting}\", path: /srv/come}]";
        struct fleet_model *before = compile(&v), *after = compile(&w);
        struct plan *p = plan(after, before, NULL, 0, NULL);
        assert_plan(p, "~ fleet shops: revision # -> #\n"
                       "    ~ app till (process)\n"
                       "        ~ artifact till 1.2.0 -> 1.3.0\n"
                       "        ~ artifacts[data].path: /srv/data -> /srv/other\n"
                       "        - artifact gone 1\n"
                       "        + artifact come ${vars.greeting} at /srv/come\n"
                       "    2 nodes in 2 waves, rollout careful\n"
                       "      1. canary     1 node   n1\n"
                       "      2. some       1 node   n2\n");
        plan_free(p);
        fleet_model_free(before);
        fleet_model_free(after);
}

static bool some_offer(void *arg, const struct artifact *a, const char *const *seeds, size_t n_seeds,
                       struct fetch_offer *ret, int64_t *ret_missing) {
        static const struct fetch_delta deltas[] = {
                {.from = "1111111111111111111111111111111111111111111111111111111111111111",
                 .length = 2200000}};
        (*(int *)arg)++;
        *ret = (struct fetch_offer){.deltas = deltas, .n_deltas = 1};
        return str_eq(a->platform, "linux/amd64");
}

static void test_transfers(void **state) {
        struct variant v = BASE;
        static struct pair shop[] = {{"canary", "true"}, {"role", "shop"}};
        static const char *const old[] = {"1111111111111111111111111111111111111111111111111111111111111111"};
        static const char *const new[] = {"2222222222222222222222222222222222222222222222222222222222222222"};
        int asked = 0;
        v.command = "[bin/till]\n  artifacts: [{name: till, version: \"1.3.0\"}]";
        struct fleet_model *after = compile(&v);
        struct catalog *c = catalog_new();
        _cleanup_json_ json_t *custom = NULL;
        static const char text[] =
                "{\"skerry\":{\"kind\":\"artifact\",\"name\":\"till\",\"version\":\"1.3.0\",\"platform\":"
                "\"linux/amd64\",\"type\":\"tree\",\"releaseCounter\":1}}";
        assert_int_equal(json_decode(text, strlen(text), &custom, NULL), 0);
        assert_int_equal(catalog_add(c, "artifacts/till/1.3.0/linux-amd64", 30000000, new[0], custom, NULL),
                         0);
        catalog_seal(c);
        const struct plan_repository repository = {c, some_offer, &asked};
        const struct plan_node nodes[] = {
                {.name = "n1", .labels = {shop, 2}, .platform = "linux/amd64", .seeds = old, .n_seeds = 1},
                {.name = "n2", .labels = {shop + 1, 1}, .platform = "linux/amd64"},
                {.name = "n3", .labels = {shop, 2}, .platform = "linux/amd64", .seeds = new, .n_seeds = 1},
                {.name = "n4", .labels = {shop, 2}, .platform = "linux/riscv64"},
                {.name = "n5", .labels = {shop, 2}},
        };
        struct plan *p = NULL;
        assert_int_equal(plan_make_with(after, NULL, 0, nodes, 5,
                                        &(struct plan_sources){.repository = &repository}, &p, NULL),
                         0);
        assert_plan(p, "+ fleet shops: revision #\n"
                       "    + variable greeting: Moin\n"
                       "    + app till (process)\n"
                       "    + app web (podman)\n"
                       "    5 nodes in 2 waves, rollout careful\n"
                       "      1. canary     4 nodes  n1, n3, n4, n5\n"
                       "           artifact till 1.3.0: 1 there already, 1 by delta; 2.2 MB to fetch\n"
                       "      2. some       1 node   n2\n"
                       "           artifact till 1.3.0: 1 whole; 30.0 MB to fetch\n"
                       "    - node n4 waits: no artifact till:1.3.0 for linux/riscv64; there is linux/amd64\n"
                       "    - node n5 waits: it has not said yet what platform it is, so artifact till:1.3.0 "
                       "cannot be chosen\n");
        _cleanup_(buf_done) struct buf each = BUF_INIT;
        plan_format_nodes(p, false, 0, &each);
        assert_non_null(strstr(buf_str(&each), "n1: till 1.3.0, delta, 2.2 MB of 30.0 MB: "));
        _cleanup_json_ json_t *j = plan_to_json(p);
        const json_t *fleet = json_array_get(json_object_get(j, "fleets"), 0),
                     *transfers = json_object_get(fleet, "transfers");
        assert_int_equal(json_array_size(transfers), 3);
        assert_string_equal(json_string_value(json_object_get(json_array_get(transfers, 0), "way")), "delta");
        assert_int_equal(json_array_size(json_object_get(fleet, "blocked")), 2);
        assert_int_equal(json_integer_value(json_object_get(
                                 json_array_get(json_object_get(fleet, "waves"), 0), "bytes")),
                         2200000);
        assert_true(asked > 0);
        plan_free(p);
        catalog_unref(c);
        fleet_model_free(after);
}

static void test_nodes_move(void **state) {
        struct variant v = BASE;
        v.more = "---\n"
                 "apiVersion: skerry/v1alpha1\n"
                 "kind: Fleet\n"
                 "metadata: {name: depots}\n"
                 "spec: {selector: {matchLabels: {role: depot}}, template: {apps: [extra]}}\n"
                 "---\n"
                 "apiVersion: skerry/v1alpha1\n"
                 "kind: Node\n"
                 "metadata: {name: n3, labels: {role: depot}}\n"
                 "spec: {variables: {port: \"2\"}}\n";
        static struct pair shop[] = {{"role", "shop"}}, depot[] = {{"role", "depot"}};
        struct fleet_model *before = compile(&BASE), *after = compile(&v);
        char fingerprint[65];
        const struct binding old = {.node_name = "n4", .labels = {depot, 1}};
        assert_int_equal(
                revision_binding_fingerprint(fleet_model_fleet(after, "depots")->revision, &old, fingerprint),
                0);
        const struct plan_node nodes[] = {
                {.name = "n1", .labels = before->nodes[0].labels, .fleet = "shops"},
                {.name = "n2", .labels = before->nodes[1].labels, .fleet = "shops"},
                {.name = "n3",
                 .labels = {shop, 1},
                 .fleet = "shops"}, /* its Node document makes it a depot */
                {.name = "n4", .labels = {shop, 1}, .fleet = "old"},
        };
        struct plan *p = plan(after, before, nodes, 4, NULL);
        assert_plan(p, "+ fleet depots: revision #\n"
                       "    + app extra (process)\n"
                       "    1 node in 1 wave\n"
                       "      1. rest     1 node   n3\n"
                       "\n"
                       "> node n3 moves from fleet shops to fleet depots\n"
                       "> node n4 moves from fleet old to fleet shops\n");
        plan_free(p);

        /* The same fleets, but n3's variable is news to it and n4 is in none any more. */
        const struct plan_node later[] = {
                {.name = "n1", .labels = before->nodes[0].labels, .fleet = "shops"},
                {.name = "n2", .labels = before->nodes[1].labels, .fleet = "shops"},
                {.name = "n3", .labels = {depot, 1}, .fleet = "depots", .fingerprint = fingerprint},
                {.name = "n4", .fleet = "shops"},
        };
        p = plan(after, after, later, 4, NULL);
        assert_plan(p, "~ node n3 gets other labels or variables\n"
                       "- node n4 leaves fleet shops and keeps what it runs\n");
        plan_free(p);

        /* And a fleet goes. */
        p = plan(before, after, later, 4, NULL);
        assert_plan(p, "- fleet depots: its 1 node keeps what it runs\n"
                       "\n"
                       "- node n3 leaves fleet depots and keeps what it runs\n"
                       "- node n4 leaves fleet shops and keeps what it runs\n");
        plan_free(p);
        fleet_model_free(before);
        fleet_model_free(after);
}

/* Where a limit chooses among more nodes, the plan says that it does not know which. */
static void test_limits_are_not_exact(void **state) {
        static struct pair shop[] = {{"role", "shop"}};
        struct fleet_model *m = compile(&BASE);
        const struct plan_node nodes[] = {{.name = "n5", .labels = {shop, 1}, .connected = true}};
        struct plan *p = plan(m, NULL, nodes, 1, NULL);
        _cleanup_json_ json_t *j = plan_to_json(p);
        const json_t *waves = json_object_get(json_array_get(json_object_get(j, "fleets"), 0), "waves");
        assert_int_equal(json_array_size(waves), 3);
        assert_true(json_is_true(json_object_get(json_array_get(waves, 0), "exact")));
        assert_false(json_is_true(json_object_get(json_array_get(waves, 1), "exact")));
        assert_false(json_is_true(json_object_get(json_array_get(waves, 2), "exact")));
        plan_free(p);
        fleet_model_free(m);
}

static void test_a_broken_repository_has_no_plan(void **state) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct fleet_model *m = NULL;
        struct plan *p = NULL;
        struct memory_tree t;

        memory_tree_init(
                &t, "=== a.yaml\napiVersion: skerry/v1alpha1\nkind: Fleet\nmetadata: {name: f}\nspec: {}\n");
        assert_int_equal(fleet_compile(&t.tree, NULL, 0, NULL, &m, &err), 0);
        assert_int_equal(plan_make(m, NULL, 0, NULL, 0, &p, &err), -EINVAL);
        assert_null(p);
        assert_null(plan_free(NULL));
        fleet_model_free(m);
        memory_tree_done(&t);
}

/* Values that are too long to stand side by side, files that come, and more nodes than fit a line. */
static void test_long_lines(void **state) {
        static struct pair shop[] = {{"role", "shop"}};
        struct variant v = BASE;
        struct plan_node nodes[9];
        char names[ARRAY_SIZE(nodes)][32];
        _cleanup_(buf_done) struct buf out = BUF_INIT;

        v.command = "[/bin/till, --with, a-first-argument, --and, another-one]\n"
                    "  workingDirectory: /srv";
        v.content = "one\", mode: \"0600\", owner: till}, {path: /etc/new, content: \"new\\n";
        v.apps = "[till, web]";
        struct fleet_model *before = compile(&BASE), *after = compile(&v);
        for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
                (void)snprintf(names[i], sizeof names[i], "a-shop-of-the-north-%zu", i);
                nodes[i] = (struct plan_node){
                        .name = names[i], .labels = {shop, 1}, .connected = true, .fleet = "shops"};
        }
        struct plan *p = plan(after, before, nodes, ARRAY_SIZE(nodes), NULL);
        plan_format(p, false, 72, &out);
        assert_non_null(strstr(buf_str(&out),
                               "        ~ command\n"
                               "            - /bin/till --slow\n"
                               "            + /bin/till --with a-first-argument --and another-one\n"));
        assert_non_null(strstr(buf_str(&out), "        + files[/etc/new]: 4 bytes, "));
        assert_non_null(strstr(buf_str(&out), ", mode 0644\n"));
        const char *waves = strstr(buf_str(&out), " in 3 waves");
        assert_non_null(waves);
        assert_non_null(strstr(waves, "9 nodes  such as a-shop-of-the-north-"));
        assert_non_null(strstr(waves, ",\n                             a-shop-of-the-north-"));
        for (const char *s = waves; *s; s += strcspn(s, "\n") + 1)
                assert_true(strcspn(s, "\n") <= 72);
        plan_free(p);
        fleet_model_free(before);
        fleet_model_free(after);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_everything_is_new),
                cmocka_unit_test(test_markdown),
                cmocka_unit_test(test_nothing_changes),
                cmocka_unit_test(test_fields_and_files),
                cmocka_unit_test(test_manifests),
                cmocka_unit_test(test_artifacts),
                cmocka_unit_test(test_transfers),
                cmocka_unit_test(test_nodes_move),
                cmocka_unit_test(test_long_lines),
                cmocka_unit_test(test_limits_are_not_exact),
                cmocka_unit_test(test_a_broken_repository_has_no_plan),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
