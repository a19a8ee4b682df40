/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
/* */
#include <cmocka.h>
#include <dirent.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/fs.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "fleet/catalog.h"
#include "memory_tree.h"

static char *read_text(const char *path) {
        _cleanup_(err_freep) struct err *err = NULL;
        char *text = NULL;
        size_t len = 0;
        if (file_read(path, 64u << 20, &text, &len, &err) < 0)
                fail_msg("%s", err_message(err));
        return text;
}

static struct fleet_model *compile_with(const struct fleet_tree *tree, const struct fleet_node *inventory,
                                        size_t n, struct fleet_cache *cache) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct fleet_model *m = NULL;
        if (fleet_compile(tree, inventory, n, cache, &m, &err) < 0)
                fail_msg("%s", err_message(err));
        return m;
}

static struct fleet_model *compile(const char *text) {
        struct memory_tree t;
        memory_tree_init(&t, text);
        struct fleet_model *m = compile_with(&t.tree, NULL, 0, NULL);
        memory_tree_done(&t);
        return m;
}

static void assert_diagnostics(const struct fleet_model *m, const char *expected) {
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        diagnostics_format(m->diagnostics, &out);
        assert_string_equal(buf_str(&out), expected);
}

/* ---- Artifacts against what the repository has */

static void catalog_entry(struct catalog *c, const char *name, const char *version, const char *type,
                          int counter, const char *more) {
        _cleanup_(x_freep) char *path = artifact_target_path(name, version, "any");
        _cleanup_(x_freep) char *text = str_format(
                "{\"skerry\":{\"kind\":\"artifact\",\"name\":\"%s\",\"version\":\"%s\",\"platform\":\"any\","
                "\"type\":\"%s\",\"releaseCounter\":%d%s}}",
                name, version, type, counter, more);
        json_t *custom = NULL;
        char digest[SHA256_HEX_SIZE];
        sha256_hex(path, strlen(path), digest);
        assert_int_equal(json_decode(text, strlen(text), &custom, NULL), 0);
        assert_int_equal(catalog_add(c, path, 1, digest, custom, NULL), 0);
        json_decref(custom);
}

static const char with_artifacts[] =
        "=== a.yaml\n"
        "apiVersion: skerry/v1alpha1\nkind: Fleet\nmetadata: {name: shops}\n"
        "spec: {selector: {matchLabels: {role: shop}}, template: {variables: {v: \"1.2.0\"}, apps: [web]}}\n"
        "---\napiVersion: skerry/v1alpha1\nkind: App\nmetadata: {name: web}\nspec:\n"
        "  driver: process\n  command: [x]\n  artifacts:\n"
        "    - {name: web, version: \"${vars.v}\"}\n"
        "    - {name: old, version: \"1\"}\n"
        "    - {name: image, version: \"1\"}\n"
        "    - {name: wep, version: \"1\"}\n"
        "    - {name: data, version: \"3\"}\n"
        "---\napiVersion: skerry/v1alpha1\nkind: App\nmetadata: {name: unused}\n"
        "spec: {driver: files, artifacts: [{name: nowhere, version: \"1\", path: /x}]}\n"
        "---\napiVersion: skerry/v1alpha1\nkind: Node\nmetadata: {name: n1, labels: {role: shop}}\n"
        "---\napiVersion: skerry/v1alpha1\nkind: Node\nmetadata: {name: n2, labels: {role: shop}}\n"
        "spec: {variables: {v: \"9.9.9\"}}\n"
        "---\napiVersion: skerry/v1alpha1\nkind: Node\nmetadata: {name: n3, labels: {role: shop}}\n"
        "spec: {variables: {v: \"no/version\"}}\n";

#define UNUSED                                                                                               \
        "a.yaml:21:18: warning: no fleet uses app \"unused\" (list it in a fleet's template, or take it "    \
        "out)\n"

static struct fleet_model *compile_checked(const char *text, const struct fleet_compile_options *options) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct fleet_model *m = NULL;
        struct memory_tree t;
        memory_tree_init(&t, text);
        if (fleet_compile_with(&t.tree, options, &m, &err) < 0)
                fail_msg("%s", err_message(err));
        memory_tree_done(&t);
        return m;
}

static void test_artifacts_of_the_repository(void **state) {
        struct catalog *c = catalog_new();
        catalog_entry(c, "web", "1.2.0", "tree", 1, "");
        catalog_entry(c, "old", "1", "tree", 1, ",\"yanked\":true,\"replacedBy\":\"2\"");
        catalog_entry(c, "image", "1", "oci", 1, "");
        catalog_entry(c, "data", "1", "file", 1, "");
        catalog_entry(c, "data", "2", "file", 2, "");
        catalog_seal(c);
        const struct fleet_compile_options options = {.check_artifacts = true, .catalog = c};
        struct fleet_model *m = compile_checked(with_artifacts, &options);
        assert_diagnostics(
                m, "a.yaml:13:28: error: artifact \"web\" has no version \"9.9.9\" in the repository, as "
                   "node n2 "
                   "wants it; there are 1.2.0 (push it: skerry artifact push web:9.9.9 --platform ... PATH)\n"
                   "a.yaml:13:28: error: \"no/version\" is not a version, as node n3 wants it\n"
                   "a.yaml:14:28: warning: artifact \"old:1\" was yanked (take 2 instead)\n"
                   "a.yaml:15:14: error: artifact \"image:1\" is of type oci, and app \"web\" has driver "
                   "process (an "
                   "image is for driver podman)\n"
                   "a.yaml:16:14: error: no artifact \"wep\" is in the repository (did you mean \"web\"?)\n"
                   "a.yaml:17:29: error: artifact \"data\" has no version \"3\" in the repository; there are "
                   "2, 1 "
                   "(push it: skerry artifact push data:3 --platform ... PATH)\n"
                   "a.yaml:21:18: warning: no fleet uses app \"unused\" (list it in a fleet's template, or "
                   "take it "
                   "out)\n");
        fleet_model_free(m);
        /* Where nobody says what there is, it is told once an app, with the reason where one is known. */
        const struct fleet_compile_options none = {.check_artifacts = true},
                                           late = {.check_artifacts = true,
                                                   .why_no_catalog = "the moon is full"};
        m = compile_checked(with_artifacts, &none);
        assert_diagnostics(
                m, "a.yaml:13:14: error: app \"web\" names artifacts, and the server has no repository "
                   "(start it with --repository)\n" UNUSED);
        fleet_model_free(m);
        m = compile_checked(with_artifacts, &late);
        assert_diagnostics(m,
                           "a.yaml:13:14: error: app \"web\" names artifacts, and the moon is full\n" UNUSED);
        fleet_model_free(m);
        catalog_unref(c);
}

/* ---- Secrets: what a revision says of them, and which nodes cannot read them */

static void test_secrets(void **state) {
        _cleanup_(x_freep) char *enc = read_text(TEST_DATA "/sops/suffix.yaml");
        _cleanup_(x_freep) char *text = str_format(
                "=== a.yaml\napiVersion: skerry/v1alpha1\nkind: Fleet\nmetadata: {name: shops}\n"
                "spec: {selector: {matchLabels: {role: shop}}, template: {apps: [web]}}\n---\n"
                "apiVersion: skerry/v1alpha1\nkind: App\nmetadata: {name: web}\nspec:\n  driver: process\n"
                "  command: [/bin/web]\n  secrets:\n"
                "    - {secret: s/shop.enc.yaml#a/b_secret, environment: TOKEN}\n"
                "    - {secret: s/shop.enc.yaml#a/b_secret, credential: token}\n"
                "    - {secret: s/shop.enc.yaml#a/b_secret, path: /etc/token, owner: web}\n"
                "=== s/shop.enc.yaml\n%s",
                enc);
        struct pairs labels = {.items = (struct pair[]){{"role", "shop"}}, .n = 1};
        const struct fleet_node nodes[] = {
                {.name = "n1",
                 .labels = labels,
                 .recipient = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"},
                {.name = "n2", .labels = labels},
                {.name = "n3", .labels = labels, .recipient = "age1other"},
        };
        struct memory_tree t;
        memory_tree_init(&t, text);
        struct fleet_model *m = compile_with(&t.tree, nodes, ARRAY_SIZE(nodes), NULL);
        assert_diagnostics(
                m, "a.yaml:13:16: warning: app \"web\" of fleet \"shops\" will fail on 1 node (n3) that "
                   "cannot read \"s/shop.enc.yaml\" (skerry secret add --fleet shops s/shop.enc.yaml)\n");
        const struct app_spec *app = &m->fleets[0].revision->apps[0];
        assert_int_equal(app->n_secrets, 3);
        assert_int_equal(app->secrets[0].kind, SECRET_ENVIRONMENT);
        assert_string_equal(app->secrets[0].name, "TOKEN");
        assert_string_equal(app->secrets[1].key, "a/b_secret");
        assert_string_equal(app->secrets[2].path, "/etc/token");
        assert_int_equal(app->secrets[2].mode, 0400);
        assert_string_equal(app->secrets[2].source, "s/shop.enc.yaml");
        /* The model carries the file as it is: cipher text. */
        assert_int_equal(m->n_objects, 1);
        assert_string_equal(m->objects[0].sha256, app->secrets[0].sha256);
        assert_int_equal(m->objects[0].len, strlen(enc));
        fleet_model_free(m);
        memory_tree_done(&t);
}

/* ---- Every repository in bad/ says exactly what its section "expect" holds. */

static void test_bad_repositories(void **state) {
        DIR *dir = opendir(TEST_DATA "/bad");
        size_t n = 0, wrong = 0;

        assert_non_null(dir);
        for (struct dirent *e; (e = readdir(dir));) {
                if (!str_has_suffix(e->d_name, ".txt"))
                        continue;
                _cleanup_(x_freep) char *path = path_join(TEST_DATA "/bad", e->d_name);
                _cleanup_(x_freep) char *text = read_text(path);
                _cleanup_(buf_done) struct buf out = BUF_INIT;
                struct memory_tree t;

                memory_tree_init(&t, text);
                assert_non_null(t.expect);
                struct fleet_model *m = compile_with(&t.tree, NULL, 0, NULL);
                diagnostics_format(m->diagnostics, &out);
                if (strcmp(buf_str(&out), t.expect) != 0) {
                        print_error("%s says\n%sinstead of\n%s", e->d_name, buf_str(&out), t.expect);
                        wrong++;
                }
                if (diagnostics_errors(m->diagnostics) > 0)
                        for (size_t i = 0; i < m->n_fleets; i++)
                                assert_null(m->fleets[i].revision);
                fleet_model_free(m);
                memory_tree_done(&t);
                n++;
        }
        closedir(dir);
        assert_int_equal(wrong, 0);
        assert_true(n >= 25);
}

/* ---- What the example compiles to. SKERRY_WRITE_EXPECTED=1 in the environment writes it anew. */

static void test_example(void **state) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct fleet_tree *tree = NULL;

        if (fleet_tree_open_folder(EXAMPLE, &tree, &err) < 0)
                fail_msg("%s", err_message(err));
        struct fleet_model *m = compile_with(tree, NULL, 0, NULL);
        assert_diagnostics(m, "");
        assert_int_equal(m->n_fleets, 1);
        assert_int_equal(m->n_nodes, 12);
        assert_int_equal(m->n_policies, 1);
        _cleanup_(x_freep) char *expected = read_text(TEST_DATA "/example_revision.json");
        _cleanup_json_ json_t *j = NULL;
        assert_int_equal(json_decode(m->fleets[0].revision_json, m->fleets[0].revision_len, &j, NULL), 0);
        _cleanup_(x_freep) char *shown = json_encode_pretty(j);
        if (getenv("SKERRY_WRITE_EXPECTED"))
                assert_int_equal(file_write_atomic(TEST_DATA "/example_revision.json", shown, strlen(shown),
                                                   0644, NULL),
                                 0);
        assert_string_equal(shown, expected);

        /* Every node of it can be bound. */
        for (size_t i = 0; i < m->n_nodes; i++) {
                const struct binding b = {m->nodes[i].name, m->nodes[i].labels, m->nodes[i].variables};
                struct revision *bound = NULL;
                if (revision_bind(m->fleets[0].revision, &b, &bound, &err) < 0)
                        fail_msg("%s", err_message(err));
                revision_free(bound);
        }
        fleet_model_free(m);
        fleet_tree_close_folder(tree);
}

/* ---- A small good repository */

#define GOOD                                                                                                 \
        "=== apps/apps.yaml\n"                                                                               \
        "apiVersion: skerry/v1alpha1\n"                                                                      \
        "kind: App\n"                                                                                        \
        "metadata: {name: a}\n"                                                                              \
        "spec: {driver: process, command: [/bin/a, \"${vars.port}\"], dependsOn: [c]}\n"                     \
        "---\n"                                                                                              \
        "apiVersion: skerry/v1alpha1\n"                                                                      \
        "kind: App\n"                                                                                        \
        "metadata: {name: c}\n"                                                                              \
        "spec: {driver: process, command: [c], files: [{path: /c, source: ../files/c.conf, expand: "         \
        "true}]}\n"                                                                                          \
        "---\n"                                                                                              \
        "apiVersion: skerry/v1alpha1\n"                                                                      \
        "kind: App\n"                                                                                        \
        "metadata: {name: b}\n"                                                                              \
        "spec: {driver: process, command: [b]}\n"                                                            \
        "=== files/c.conf\n"                                                                                 \
        "site = ${labels.site}\n"                                                                            \
        "=== fleet.yaml\n"                                                                                   \
        "apiVersion: skerry/v1alpha1\n"                                                                      \
        "kind: Fleet\n"                                                                                      \
        "metadata: {name: edge, labels: {team: x}}\n"                                                        \
        "spec:\n"                                                                                            \
        "  selector: {matchLabels: {role: edge}}\n"                                                          \
        "  template:\n"                                                                                      \
        "    variables: {port: \"80\"}\n"                                                                    \
        "    files: [{path: /etc/motd, content: \"hello ${node.name}\\n\"}, {path: /plain, content: x, "     \
        "mode: \"0600\"}]\n"                                                                                 \
        "    apps: [c, b, a]\n"                                                                              \
        "=== nodes.yaml\n"                                                                                   \
        "apiVersion: skerry/v1alpha1\n"                                                                      \
        "kind: Node\n"                                                                                       \
        "metadata: {name: n1, labels: {role: edge, site: kiel}}\n"

static void test_order_and_files(void **state) {
        struct fleet_model *m = compile(GOOD);
        assert_diagnostics(m, "");
        const struct fleet_spec *f = fleet_model_fleet(m, "edge");
        assert_non_null(f);
        assert_string_equal(pairs_get(&f->labels, "team"), "x");
        const struct revision *r = f->revision;

        /* Files first, then by dependency, ties by name. */
        static const char *const order[] = {"files", "b", "c", "a"};
        assert_int_equal(r->n_apps, ARRAY_SIZE(order));
        for (size_t i = 0; i < ARRAY_SIZE(order); i++)
                assert_string_equal(r->apps[i].name, order[i]);
        assert_int_equal(r->apps[0].driver, APP_DRIVER_FILES);
        assert_string_equal(r->apps[1].depends_on[0], "files");
        assert_null(r->apps[1].depends_on[1]);
        assert_string_equal(r->apps[3].depends_on[0], "c");
        assert_string_equal(r->apps[3].depends_on[1], "files");

        assert_true(r->apps[0].files[0].expand);
        assert_false(r->apps[0].files[1].expand); /* there is nothing to expand in it */
        assert_int_equal(r->apps[0].files[1].mode, 0600);
        assert_true(r->apps[2].files[0].expand);

        /* All contents, by digest. */
        assert_int_equal(m->n_objects, 3);
        for (size_t i = 0; i < m->n_objects; i++) {
                char sha256[SHA256_HEX_SIZE];
                sha256_hex(m->objects[i].data, m->objects[i].len, sha256);
                assert_string_equal(sha256, m->objects[i].sha256);
                assert_true(i == 0 || strcmp(m->objects[i - 1].sha256, m->objects[i].sha256) < 0);
        }

        static const char *const uses[] = {"labels.site", "node.name", "vars.port"};
        assert_int_equal(r->n_requires, ARRAY_SIZE(uses));
        for (size_t i = 0; i < ARRAY_SIZE(uses); i++)
                assert_string_equal(r->requires_[i], uses[i]);
        fleet_model_free(m);
}

static void test_lookups(void **state) {
        struct fleet_model *m = compile(GOOD);
        const struct fleet_spec *owner = NULL;
        assert_int_equal(fleet_model_owner(m, &fleet_model_node(m, "n1")->labels, &owner), 1);
        assert_string_equal(owner->name, "edge");
        const struct pairs none = {0};
        assert_int_equal(fleet_model_owner(m, &none, &owner), 0);
        assert_null(owner);
        assert_null(fleet_model_fleet(m, "x"));
        assert_null(fleet_model_node(m, "n2"));
        assert_null(fleet_model_policy(m, "careful"));
        assert_null(fleet_model_policy(m, NULL));
        fleet_model_free(m);
}

static void test_policy(void **state) {
        struct fleet_model *m = compile(
                "=== r.yaml\n"
                "apiVersion: skerry/v1alpha1\n"
                "kind: Rollout\n"
                "metadata: {name: r}\n"
                "spec:\n"
                "  waves:\n"
                "    - {name: one, selector: {matchLabels: {a: b}}, limit: 10%, pause: {duration: 90s}}\n"
                "    - {name: two, successThreshold: 3}\n"
                "  maxFailed: 2\n"
                "  progressDeadlineSeconds: 30\n"
                "  rollback: {onFailure: false}\n");
        const struct rollout_policy *p = fleet_model_policy(m, "r");
        assert_non_null(p);
        assert_int_equal(p->n_waves, 2);
        assert_string_equal(p->waves[0].name, "one");
        assert_string_equal(pairs_get(&p->waves[0].selector.match_labels, "a"), "b");
        assert_true(p->waves[0].limit.is_set && p->waves[0].limit.is_percent);
        assert_int_equal(p->waves[0].limit.value, 10);
        assert_int_equal(p->waves[0].pause_ms, 90000);
        assert_false(p->waves[0].success_threshold.is_set);
        assert_false(p->waves[1].limit.is_set);
        assert_int_equal(p->waves[1].success_threshold.value, 3);
        assert_int_equal(p->max_failed.value, 2);
        assert_int_equal(p->min_sample, 1);
        assert_int_equal(p->progress_deadline_ms, 30000);
        assert_int_equal(p->defer_after_ms, 60000);
        assert_false(p->rollback_on_failure);
        fleet_model_free(m);
}

/* The revision says what the repository says, not in which files or in which order it is said. */
static void test_digest_depends_on_meaning_alone(void **state) {
        struct fleet_model *a = compile(GOOD);
        struct fleet_model *b =
                compile("=== all.yaml\n"
                        "apiVersion: skerry/v1alpha1\n"
                        "kind: Fleet\n"
                        "metadata: {name: edge}\n"
                        "spec:\n"
                        "  template:\n"
                        "    apps: [a, b, c]\n"
                        "    files:\n"
                        "      - {content: \"hello ${node.name}\\n\", path: /etc/motd}\n"
                        "      - {path: /plain, mode: \"600\", content: x, expand: true}\n"
                        "    variables:\n"
                        "      port: \"80\"\n"
                        "  selector: {matchLabels: {role: edge, site: kiel}}\n"
                        "---\n"
                        "apiVersion: skerry/v1alpha1\n"
                        "kind: App\n"
                        "metadata: {name: b}\n"
                        "spec: {command: [b], driver: process}\n"
                        "---\n"
                        "apiVersion: skerry/v1alpha1\n"
                        "kind: App\n"
                        "metadata: {name: c}\n"
                        "spec:\n"
                        "  driver: process\n"
                        "  command: [c]\n"
                        "  stopTimeout: 10s\n"
                        "  restart: {policy: Always}\n"
                        "  files:\n"
                        "    - path: /c\n"
                        "      content: |\n"
                        "        site = ${labels.site}\n"
                        "---\n"
                        "apiVersion: skerry/v1alpha1\n"
                        "kind: App\n"
                        "metadata: {name: a}\n"
                        "spec: {driver: process, dependsOn: [c], command: [/bin/a, \"${vars.port}\"]}\n");
        assert_diagnostics(b, "");
        assert_string_equal(a->fleets[0].revision->digest, b->fleets[0].revision->digest);
        fleet_model_free(a);
        fleet_model_free(b);
}

/* A reference may stand where Kubernetes wants a number: on the node it is one. */
static void test_numbers_in_manifests(void **state) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct fleet_model *m =
                compile("=== fleet.yaml\n"
                        "apiVersion: skerry/v1alpha1\n"
                        "kind: Fleet\n"
                        "metadata: {name: f}\n"
                        "spec: {selector: {}, template: {apps: [web], variables: {port: \"80\"}}}\n"
                        "---\n"
                        "apiVersion: skerry/v1alpha1\n"
                        "kind: App\n"
                        "metadata: {name: web}\n"
                        "spec: {driver: podman, manifests: [pod.yaml]}\n"
                        "=== pod.yaml\n"
                        "apiVersion: v1\n"
                        "kind: Pod\n"
                        "metadata: {name: p}\n"
                        "spec:\n"
                        "  containers:\n"
                        "    - name: c\n"
                        "      image: example.org/c:1\n"
                        "      args: [\"${vars.port}\"]\n"
                        "      ports: [{containerPort: \"${vars.port}\"}]\n");
        assert_diagnostics(m, "");
        static struct pair port[] = {{"port", "8080"}}, word[] = {{"port", "http"}};
        const struct binding good = {.node_name = "n", .variables = {port, 1}},
                             bad = {.node_name = "n", .variables = {word, 1}};
        struct revision *bound = NULL;
        assert_int_equal(revision_bind(m->fleets[0].revision, &good, &bound, &err), 0);
        const json_t *c = json_array_get(
                json_object_get(json_object_get(bound->apps[0].manifests[0], "spec"), "containers"), 0);
        assert_int_equal(json_integer_value(json_object_get(json_array_get(json_object_get(c, "ports"), 0),
                                                            "containerPort")),
                         8080);
        assert_string_equal(json_string_value(json_array_get(json_object_get(c, "args"), 0)), "8080");
        revision_free(bound);
        assert_int_equal(revision_bind(m->fleets[0].revision, &bad, &bound, &err), -EINVAL);
        assert_string_equal(err_message(err),
                            "app web: manifests[0]: field \"containerPort\": expected a whole number, "
                            "found \"http\"");
        fleet_model_free(m);
}

/* ---- What the server knows of nodes */

static void test_inventory(void **state) {
        static struct pair known[] = {{"role", "edge"}}, all[] = {{"role", "edge"}, {"site", "kiel"}};
        const struct fleet_node bare = {.name = "n2", .labels = {known, 1}},
                                full = {.name = "n2", .labels = {all, 2}},
                                declared = {.name = "n1", .labels = {known, 1}};
        struct memory_tree t;

        memory_tree_init(&t, GOOD);
        struct fleet_model *m = compile_with(&t.tree, &bare, 1, NULL);
        assert_diagnostics(
                m, "files/c.conf:1:8: error: ${labels.site} is not known on node n2 of fleet \"edge\" "
                   "(set the label, let the selector demand it, or give a default: ${labels.site:-...})\n");
        fleet_model_free(m);
        m = compile_with(&t.tree, &full, 1, NULL);
        assert_diagnostics(m, "");
        assert_int_equal(m->n_nodes, 1); /* only those that Git declares */
        fleet_model_free(m);
        /* A declared node's labels lie over those the server has. */
        m = compile_with(&t.tree, &declared, 1, NULL);
        assert_diagnostics(m, "");
        fleet_model_free(m);
        memory_tree_done(&t);
}

/* Declared for its variable, while its labels come with its join token: offline that is not known. */
static void test_labels_from_elsewhere(void **state) {
        struct fleet_model *m = compile("=== all.yaml\n"
                                        "apiVersion: skerry/v1alpha1\n"
                                        "kind: Fleet\n"
                                        "metadata: {name: f}\n"
                                        "spec:\n"
                                        "  selector: {matchLabels: {role: edge}}\n"
                                        "  template: {files: [{path: /a, content: \"${vars.port}\"}]}\n"
                                        "---\n"
                                        "apiVersion: skerry/v1alpha1\n"
                                        "kind: Node\n"
                                        "metadata: {name: n1}\n"
                                        "spec: {variables: {port: \"1\"}}\n");
        assert_diagnostics(m, "");
        fleet_model_free(m);
}

/* ---- The cache */

static void test_cache(void **state) {
        _cleanup_(fleet_cache_freep) struct fleet_cache *cache = fleet_cache_new();
        struct memory_tree t;

        assert_non_null(cache);
        memory_tree_init(&t, GOOD);
        for (size_t i = 0; i < t.tree.n; i++)
                t.entries[i].content_id = "1";
        struct fleet_model *first = compile_with(&t.tree, NULL, 0, cache);
        assert_int_equal(t.reads, 4);
        struct fleet_model *second = compile_with(&t.tree, NULL, 0, cache);
        assert_int_equal(t.reads, 4);
        assert_string_equal(first->fleets[0].revision->digest, second->fleets[0].revision->digest);

        /* One file changes: it alone is read. */
        assert_string_equal(t.entries[3].path, "nodes.yaml");
        t.entries[3].content_id = "2";
        struct fleet_model *third = compile_with(&t.tree, NULL, 0, cache);
        assert_int_equal(t.reads, 5);

        /* A file that moved says its new place. */
        t.entries[3].path = "somewhere.yaml";
        struct fleet_model *fourth = compile_with(&t.tree, NULL, 0, cache);
        assert_int_equal(t.reads, 6);
        assert_string_equal(fourth->nodes[0].where.file, "somewhere.yaml");

        /* What was unused in one compile is forgotten; models live on without the cache. */
        t.entries[3].path = "nodes.yaml";
        fleet_model_free(first);
        fleet_model_free(compile_with(&t.tree, NULL, 0, cache));
        assert_int_equal(t.reads, 7);
        cache = fleet_cache_free(cache);
        assert_string_equal(third->nodes[0].name, "n1");
        assert_string_equal(pairs_get(&third->nodes[0].labels, "site"), "kiel");
        assert_int_equal(third->objects[0].len, strlen(third->objects[0].data));
        fleet_model_free(second);
        fleet_model_free(third);
        fleet_model_free(fourth);
        memory_tree_done(&t);
}

static void test_cached_faults_are_told_again(void **state) {
        _cleanup_(fleet_cache_freep) struct fleet_cache *cache = fleet_cache_new();
        static const char expected[] = "a.yaml:2:7: error: unknown kind \"Flet\" (did you mean \"Fleet\"?)\n";
        struct memory_tree t;

        memory_tree_init(&t, "=== a.yaml\napiVersion: skerry/v1alpha1\nkind: Flet\n");
        t.entries[0].content_id = "1";
        for (int i = 0; i < 2; i++) {
                struct fleet_model *m = compile_with(&t.tree, NULL, 0, cache);
                assert_diagnostics(m, expected);
                fleet_model_free(m);
        }
        assert_int_equal(t.reads, 1);
        memory_tree_done(&t);
}

/* ---- Limits and the machine's failures */

struct large_tree {
        struct memory_tree memory;
        const char *large; /* path */
        size_t size;
        bool is_fleet_file;
};

static int read_large(void *arg, const struct fleet_tree_entry *e, size_t limit, char **ret_data,
                      size_t *ret_len, struct err **err) {
        struct large_tree *t = arg;
        static const char head[] = "apiVersion: skerry/v1alpha1\n#";

        if (strcmp(e->path, t->large) != 0)
                return memory_tree_read(&t->memory, e, limit, ret_data, ret_len, err);
        if (t->size > limit)
                return err_set(err, EFBIG, "too large");
        *ret_data = malloc(t->size + 1);
        assert_non_null(*ret_data);
        memset(*ret_data, 'x', t->size);
        if (t->is_fleet_file)
                memcpy(*ret_data, head, sizeof head - 1);
        (*ret_data)[t->size] = '\0';
        *ret_len = t->size;
        return 0;
}

static struct fleet_model *compile_large(const char *path, size_t size, bool is_fleet_file) {
        struct large_tree t = {.large = path, .size = size, .is_fleet_file = is_fleet_file};

        memory_tree_init(&t.memory, GOOD "=== big.yaml\n=== tiny\n");
        for (size_t i = 0; i < t.memory.tree.n; i++)
                if (strcmp(t.memory.entries[i].path, path) == 0)
                        t.memory.entries[i].size = -1; /* nobody knows until it is read */
        t.memory.tree.read = read_large;
        t.memory.tree.arg = &t;
        struct fleet_model *m = compile_with(&t.memory.tree, NULL, 0, NULL);
        memory_tree_done(&t.memory);
        return m;
}

static void test_large_files(void **state) {
        struct fleet_model *m = compile_large("files/c.conf", (8u << 20) + 1, false);
        assert_diagnostics(m, "apps/apps.yaml:9:66: error: file \"files/c.conf\" is larger than 8 MiB "
                              "(publish large files another way)\n");
        fleet_model_free(m);
        m = compile_large("files/c.conf", 8u << 20, false);
        assert_diagnostics(m, "");
        fleet_model_free(m);
        m = compile_large("big.yaml", 5u << 20, true);
        assert_int_equal(diagnostics_errors(m->diagnostics), 1);
        assert_non_null(strstr(diagnostics_at(m->diagnostics, 0)->message, "split it"));
        fleet_model_free(m);
        m = compile_large("big.yaml", 5u << 20, false); /* somebody else's */
        assert_diagnostics(m, "");
        fleet_model_free(m);
        m = compile_large("big.yaml", 17u << 20, false);
        assert_diagnostics(m, "big.yaml: warning: the file is larger than 16 MiB and was not read "
                              "(split it, if it belongs to the fleet)\n");
        fleet_model_free(m);
}

static void test_too_many_bytes_in_a_fleet(void **state) {
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        struct large_tree t = {.large = "big", .size = 8u << 20};

        buf_puts(&text,
                 "=== big\n=== fleet.yaml\napiVersion: skerry/v1alpha1\nkind: Fleet\nmetadata: {name: f}\n"
                 "spec:\n  selector: {}\n  template:\n    files:\n");
        for (int i = 0; i < 9; i++)
                buf_printf(&text, "      - {path: /%d, source: big}\n", i);
        memory_tree_init(&t.memory, buf_str(&text));
        t.memory.entries[0].size = -1;
        t.memory.tree.read = read_large;
        t.memory.tree.arg = &t;
        struct fleet_model *m = compile_with(&t.memory.tree, NULL, 0, NULL);
        assert_diagnostics(m,
                           "fleet.yaml:3:18: error: the files of fleet \"f\" are larger than 64 MiB together "
                           "(publish large files another way)\n");
        fleet_model_free(m);
        memory_tree_done(&t.memory);
}

static int read_broken(void *arg, const struct fleet_tree_entry *e, size_t limit, char **ret_data,
                       size_t *ret_len, struct err **err) {
        return err_set(err, EIO, "the disk is gone");
}

static void test_read_failure_is_no_diagnostic(void **state) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct fleet_model *m = NULL;
        struct memory_tree t;

        memory_tree_init(&t, GOOD);
        t.tree.read = read_broken;
        assert_int_equal(fleet_compile(&t.tree, NULL, 0, NULL, &m, &err), -EIO);
        assert_null(m);
        assert_string_equal(err_message(err), "compile apps/apps.yaml: the disk is gone");
        memory_tree_done(&t);
}

static void test_empty_repository(void **state) {
        struct fleet_model *m = compile("");
        assert_diagnostics(m, "");
        assert_int_equal(m->n_fleets + m->n_nodes + m->n_policies + m->n_objects + m->n_apps, 0);
        fleet_model_free(m);
        assert_null(fleet_model_free(NULL));
        assert_null(fleet_cache_free(NULL));
}

/* A long chain of apps neither overflows the stack nor takes for ever. */
static void test_long_chain(void **state) {
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        const int n = 3000;

        buf_puts(&text, "=== a.yaml\n");
        for (int i = 0; i < n; i++)
                buf_printf(&text,
                           "---\napiVersion: skerry/v1alpha1\nkind: App\nmetadata: {name: a%04d}\n"
                           "spec: {driver: process, command: [x], dependsOn: [a%04d]}\n",
                           i, (i + 1) % n);
        struct fleet_model *m = compile(buf_str(&text));
        assert_int_equal(diagnostics_errors(m->diagnostics), 1);
        assert_non_null(
                strstr(diagnostics_at(m->diagnostics, 0)->message, "circle: a0000 -> a0001 -> a0002"));
        fleet_model_free(m);
}

/* ---- A folder on disk */

static void write_file(const char *folder, const char *name, const char *text) {
        _cleanup_(x_freep) char *path = path_join(folder, name);
        char *slash = strrchr(path, '/');
        *slash = '\0';
        assert_int_equal(dir_make(path, 0755, NULL), 0);
        *slash = '/';
        assert_int_equal(file_write_atomic(path, text, strlen(text), 0644, NULL), 0);
}

static void test_folder(void **state) {
        static const char document[] = "apiVersion: skerry/v1alpha1\nkind: Node\nmetadata: {name: n1}\n";
        char folder[] = "/tmp/skerry-test-XXXXXX";
        _cleanup_(err_freep) struct err *err = NULL;
        struct fleet_tree *tree = NULL;

        assert_non_null(mkdtemp(folder));
        write_file(folder, "b/n.yaml", document);
        write_file(folder, "b.yaml", "x: y\n");
        write_file(folder, "a.txt", "hello");
        write_file(folder, ".git/config.yaml", document);
        write_file(folder, "b/.hidden/x.yaml", document);
        _cleanup_(x_freep) char *link = path_join(folder, "link.yaml"), *loop = path_join(folder, "b/loop");
        assert_int_equal(symlink("/etc/passwd", link), 0);
        assert_int_equal(symlink("..", loop), 0);

        if (fleet_tree_open_folder(folder, &tree, &err) < 0)
                fail_msg("%s", err_message(err));
        static const char *const expected[] = {"a.txt", "b.yaml", "b/n.yaml"};
        assert_int_equal(tree->n, ARRAY_SIZE(expected));
        for (size_t i = 0; i < tree->n; i++)
                assert_string_equal(tree->entries[i].path, expected[i]);
        assert_int_equal(tree->entries[0].size, 5);
        struct fleet_model *m = compile_with(tree, NULL, 0, NULL);
        assert_int_equal(m->n_nodes, 1);
        fleet_model_free(m);
        fleet_tree_close_folder(tree);

        _cleanup_(x_freep) char *absent = path_join(folder, "absent");
        assert_int_equal(fleet_tree_open_folder(absent, &tree, &err), -ENOENT);
        assert_non_null(strstr(err_message(err), "absent"));
        assert_int_equal(path_remove(folder, NULL), 0);
        assert_null(fleet_tree_close_folder(NULL));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_bad_repositories),
                cmocka_unit_test(test_secrets),
                cmocka_unit_test(test_artifacts_of_the_repository),
                cmocka_unit_test(test_example),
                cmocka_unit_test(test_order_and_files),
                cmocka_unit_test(test_lookups),
                cmocka_unit_test(test_policy),
                cmocka_unit_test(test_digest_depends_on_meaning_alone),
                cmocka_unit_test(test_numbers_in_manifests),
                cmocka_unit_test(test_inventory),
                cmocka_unit_test(test_labels_from_elsewhere),
                cmocka_unit_test(test_cache),
                cmocka_unit_test(test_cached_faults_are_told_again),
                cmocka_unit_test(test_large_files),
                cmocka_unit_test(test_too_many_bytes_in_a_fleet),
                cmocka_unit_test(test_read_failure_is_no_diagnostic),
                cmocka_unit_test(test_empty_repository),
                cmocka_unit_test(test_long_chain),
                cmocka_unit_test(test_folder),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
