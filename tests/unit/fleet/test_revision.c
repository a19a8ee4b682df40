/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "fleet/revision.h"

#define DIGEST "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ENDING(apps)                                                                                         \
        "{\"apiVersion\":\"skerry/v1alpha1\",\"apps\":[" apps "],\"fleet\":\"shops\",\"kind\":\"Revision\","
#define REVISION(apps) ENDING(apps) "\"requires\":[],\"uses\":[],\"variables\":{}}"

static const char full[] =
        "{\"apiVersion\":\"skerry/v1alpha1\",\"apps\":["
        "{\"driver\":\"files\",\"files\":[{\"expand\":true,\"mode\":420,\"path\":\"/etc/${labels.site}/"
        "shop.ini\",\"sha256\":\"" DIGEST "\",\"size\":12}],\"name\":\"files\"},"
        "{\"dependsOn\":[\"files\"],\"driver\":\"podman\",\"manifests\":[{\"apiVersion\":\"v1\",\"kind\":"
        "\"ConfigMap\","
        "\"data\":{\"${node.name}\":\"${vars.greeting} from ${node.name}\",\"list\":[1,true,null,[\"$${x} "
        "${vars.port}\"]]}}],\"name\":\"web\"},"
        "{\"command\":[\"/usr/bin/"
        "till\",\"--port\",\"${vars.port}\"],\"dependsOn\":[\"files\",\"web\"],\"driver\":\"process\","
        "\"environment\":{\"PLAIN\":\"x\",\"SITE\":\"${labels.site}\"},\"healthChecks\":[{\"host\":\"${vars."
        "host:-localhost}\","
        "\"name\":\"h\",\"path\":\"/${labels.site}\",\"port\":\"${vars.port}\",\"type\":\"http\"},"
        "{\"command\":[\"/bin/"
        "check\",\"${node.name}\"],\"name\":\"e\",\"type\":\"exec\"}],\"name\":\"till\",\"user\":\"till\","
        "\"workingDirectory\":\"/srv/${labels.site}\"}"
        "],\"fleet\":\"shops\",\"kind\":\"Revision\",\"requires\":[\"labels.site\"],"
        "\"uses\":[\"labels.site\",\"node.name\",\"vars.greeting\",\"vars.host\",\"vars.port\"],"
        "\"variables\":{\"greeting\":\"Moin\",\"port\":\"8080\"}}";

static struct revision *decoded(const char *text) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct revision *r = NULL;
        if (revision_decode(text, strlen(text), &r, &err) < 0)
                fail_msg("%s: %s", text, err_message(err));
        return r;
}

/* The JSON text above is written for reading; this is its canonical form. */
static char *canonical(const char *text) {
        _cleanup_json_ json_t *j = NULL;
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        assert_int_equal(json_decode(text, strlen(text), &j, NULL), 0);
        assert_int_equal(json_encode_canonical(j, &out, NULL), 0);
        return buf_take(&out, NULL);
}

static void refused(const char *text, const char *words) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct revision *r = NULL;
        if (revision_decode(text, strlen(text), &r, &err) != -EINVAL)
                fail_msg("taken: %s", text);
        assert_null(r);
        if (!strstr(err_message(err), words))
                fail_msg("%s: %s", text, err_message(err));
        assert_int_equal(revision_decode(text, strlen(text), &r, NULL), -EINVAL);
}

static void decode_reads_everything(void **state) {
        _cleanup_(revision_freep) struct revision *r = decoded(full);
        char digest[SHA256_HEX_SIZE];
        sha256_hex(full, strlen(full), digest);
        assert_string_equal(r->digest, digest);
        assert_string_equal(r->fleet, "shops");
        assert_string_equal(pairs_get(&r->variables, "port"), "8080");
        assert_int_equal(r->n_requires, 1);
        assert_string_equal(r->requires_[0], "labels.site");
        assert_int_equal(r->n_uses, 5);
        assert_int_equal(r->n_apps, 3);
        assert_string_equal(r->apps[2].name, "till");
        assert_string_equal(r->apps[2].command[2], "${vars.port}");
        assert_null(r->apps[2].command[3]);
        assert_string_equal(r->apps[2].depends_on[1], "web");
        assert_null(r->apps[0].depends_on);
        assert_int_equal(r->apps[0].files[0].mode, 0644);
        assert_true(r->apps[0].files[0].expand);
        assert_int_equal(r->apps[1].n_manifests, 1);
}

static void encode_is_the_inverse(void **state) {
        _cleanup_(x_freep) char *canonical_full = canonical(full);
        const char *const texts[] = {canonical_full, REVISION("")};
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                _cleanup_(revision_freep) struct revision *r = decoded(texts[i]);
                char before[65];
                memcpy(before, r->digest, sizeof(before));
                _cleanup_(x_freep) char *text = NULL;
                size_t len;
                assert_int_equal(revision_encode(r, &text, &len, NULL), 0);
                assert_string_equal(text, texts[i]);
                assert_int_equal(len, strlen(texts[i]));
                assert_string_equal(r->digest, before);
        }
        /* Another spelling of the same state has one text and so one digest. */
        _cleanup_(revision_freep) struct revision *other =
                decoded(" {\"kind\":\"Revision\", \"fleet\":\"shops\", \"apiVersion\":\"skerry/v1alpha1\", "
                        "\"variables\":{}, \"uses\":[],"
                        " \"requires\":[], \"apps\":[]} ");
        _cleanup_(x_freep) char *text = NULL;
        size_t len;
        assert_int_equal(revision_encode(other, &text, &len, NULL), 0);
        assert_string_equal(text, REVISION(""));
}

static void wrong_revisions(void **state) {
        static const char *const cases[][2] = {
                {"", "line 1"},
                {"[]", "expected an object"},
                {"{}", "field apiVersion"},
                {"{\"apiVersion\":\"skerry/"
                 "v1alpha1\",\"apps\":[],\"fleet\":\"shops\",\"kind\":\"Revision\",\"requires\":[],"
                 "\"uses\":[],\"variables\":{},\"extra\":1}",
                 "unknown field \"extra\""},
                {"{\"apiVersion\":\"skerry/"
                 "v1\",\"apps\":[],\"fleet\":\"shops\",\"kind\":\"Revision\",\"requires\":[],\"uses\":[],"
                 "\"variables\":{}}",
                 "of skerry/v1: expected"},
                {"{\"apiVersion\":\"skerry/"
                 "v1alpha1\",\"apps\":[],\"fleet\":\"shops\",\"kind\":\"Fleet\",\"requires\":[],\"uses\":[],"
                 "\"variables\":{}}",
                 "is a Fleet"},
                {"{\"apiVersion\":\"skerry/"
                 "v1alpha1\",\"apps\":[],\"fleet\":\"Shops\",\"kind\":\"Revision\",\"requires\":[],\"uses\":["
                 "],"
                 "\"variables\":{}}",
                 "fleet \"Shops\": not a DNS label"},
                {ENDING("") "\"uses\":[],\"variables\":{}}", "field requires"},
                {ENDING("") "\"requires\":[],\"uses\":[],\"variables\":{\"a-b\":\"x\"}}",
                 "\"a-b\" is not a valid name"},
                {ENDING("") "\"requires\":[],\"uses\":[],\"variables\":{\"a\":1}}", "a: expected text"},
                {ENDING("") "\"requires\":[],\"uses\":[\"labels.b\",\"labels.a\"],\"variables\":{}}",
                 "uses: not sorted"},
                {ENDING("") "\"requires\":[],\"uses\":[\"labels.a\",\"labels.a\"],\"variables\":{}}",
                 "twice the same"},
                {ENDING("") "\"requires\":[],\"uses\":[\"site\"],\"variables\":{}}",
                 "\"site\" is no reference"},
                {ENDING("") "\"requires\":[],\"uses\":[1],\"variables\":{}}", "uses[0]: expected text"},
                {ENDING("") "\"requires\":[\"labels.a\"],\"uses\":[],\"variables\":{}}",
                 "labels.a is missing in uses"},
                {REVISION("1"), "field name"},
                {REVISION("{\"name\":\"a\"}"), "app a: field driver"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                refused(cases[i][0], cases[i][1]);
}

#define APP(name, depends)                                                                                   \
        "{\"name\":\"" name "\",\"driver\":\"process\",\"command\":[\"/x\"],\"dependsOn\":[" depends "]}"

static void order_of_apps(void **state) {
        _cleanup_(revision_freep) struct revision *r =
                decoded(REVISION(APP("z", "") "," APP("a", "\"z\"") "," APP("b", "\"a\",\"z\"")));
        assert_int_equal(r->n_apps, 3);
        refused(REVISION(APP("a", "\"b\"") "," APP("b", "")),
                "app a depends on b, which does not come before it");
        refused(REVISION(APP("a", "\"b\"") "," APP("b", "\"a\"")), "app a depends on b");
        refused(REVISION(APP("a", "\"a\"")), "app a depends on a");
        refused(REVISION(APP("a", "\"gone\"")), "app a depends on gone");
        refused(REVISION(APP("a", "") "," APP("a", "")), "two apps have the name a");
}

static void sizes_are_bounded(void **state) {
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        for (int n = REVISION_APPS_MAX; n <= REVISION_APPS_MAX + 1; n++) {
                buf_clear(&b);
                buf_puts(&b, "{\"apiVersion\":\"skerry/v1alpha1\",\"apps\":[");
                for (int i = 0; i < n; i++)
                        buf_printf(&b, "%s{\"name\":\"a%d\",\"driver\":\"process\",\"command\":[\"/x\"]}",
                                   i ? "," : "", i);
                buf_puts(&b, "],\"fleet\":\"shops\",\"kind\":\"Revision\",\"requires\":[],\"uses\":[],"
                             "\"variables\":{}}");
                if (n > REVISION_APPS_MAX)
                        refused(b.data, "257 apps");
                else {
                        _cleanup_(revision_freep) struct revision *r = decoded(b.data);
                        assert_int_equal(r->n_apps, REVISION_APPS_MAX);
                }
        }
        buf_clear(&b);
        while (b.len <= REVISION_MAX)
                buf_puts(&b, "                                                                ");
        refused(b.data, "at most 16777216");
}

static void encode_refuses_what_decode_would(void **state) {
        _cleanup_(revision_freep) struct revision *r = decoded(full);
        _cleanup_(err_freep) struct err *err = NULL;
        char *text = NULL, digest[65];
        size_t len = 77;
        memcpy(digest, r->digest, sizeof(digest));
        r->apps[0].files[0].path = "/etc/../shadow";
        assert_int_equal(revision_encode(r, &text, &len, &err), -EINVAL);
        assert_non_null(strstr(err_message(err), "/etc/../shadow"));
        r->apps[0].files[0].path = "/etc/x";
        const char *swapped[] = {"vars.b", "vars.a"};
        r->uses = swapped;
        r->n_uses = 2;
        r->n_requires = 0;
        assert_int_equal(revision_encode(r, &text, &len, NULL), -EINVAL);
        r->n_uses = 0;
        r->fleet = NULL;
        assert_int_equal(revision_encode(r, &text, &len, NULL), -EINVAL);
        assert_null(text);
        assert_int_equal(len, 77);
        assert_string_equal(r->digest, digest);
}

static void too_large_to_encode(void **state) {
        _cleanup_(revision_freep) struct revision *r = decoded(REVISION(APP("a", "")));
        char *large = arena_alloc(r->arena, REVISION_MAX + 1);
        memset(large, 'x', REVISION_MAX);
        r->apps[0].command[0] = large;
        _cleanup_(err_freep) struct err *err = NULL;
        char *text = NULL;
        size_t len;
        assert_int_equal(revision_encode(r, &text, &len, &err), -EMSGSIZE);
        assert_non_null(strstr(err_message(err), "fleet shops"));
}

/* ---- Binding ---- */

static struct pair site[] = {{"site", "kiel"}};
static struct pair own_port[] = {{"port", "9090"}};
static const struct binding shop_1 = {
        .node_name = "shop-1",
        .labels = {.items = site, .n = 1},
        .variables = {.items = own_port, .n = 1},
};

static void bind_replaces_everything(void **state) {
        struct revision *r = decoded(full);
        _cleanup_(revision_freep) struct revision *b = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        if (revision_bind(r, &shop_1, &b, &err) < 0)
                fail_msg("%s", err_message(err));
        /* The original is as it was, and may go. */
        assert_string_equal(r->apps[2].command[2], "${vars.port}");
        assert_string_equal(b->digest, r->digest);
        revision_free(r);
        assert_string_equal(b->fleet, "shops");
        assert_int_equal(b->n_uses, 5);
        assert_string_equal(b->uses[4], "vars.port");
        assert_string_equal(b->apps[0].files[0].path, "/etc/kiel/shop.ini");
        assert_string_equal(b->apps[0].files[0].sha256, DIGEST);
        const struct app_spec *till = &b->apps[2];
        assert_string_equal(till->command[0], "/usr/bin/till");
        assert_string_equal(till->command[2], "9090"); /* its own wins over the fleet's */
        assert_null(till->command[3]);
        assert_string_equal(till->working_directory, "/srv/kiel");
        assert_string_equal(till->user, "till");
        assert_string_equal(pairs_get(&till->environment, "SITE"), "kiel");
        assert_string_equal(pairs_get(&till->environment, "PLAIN"), "x");
        assert_string_equal(till->checks[0].host, "localhost");
        assert_string_equal(till->checks[0].port, "9090");
        assert_string_equal(till->checks[0].path, "/kiel");
        assert_string_equal(till->checks[1].command[1], "shop-1");
        assert_string_equal(till->depends_on[1], "web");
        _cleanup_(x_freep) char *manifest = json_encode_compact(b->apps[1].manifests[0]);
        assert_string_equal(manifest, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"data\":{\"${node.name}"
                                      "\":\"Moin from shop-1\","
                                      "\"list\":[1,true,null,[\"${x} 9090\"]]}}");
}

static void bind_fails(const char *text, const struct binding *b, int code, const char *words) {
        _cleanup_(revision_freep) struct revision *r = decoded(text);
        _cleanup_(err_freep) struct err *err = NULL;
        struct revision *bound = NULL;
        assert_int_equal(revision_bind(r, b, &bound, &err), code);
        assert_null(bound);
        if (!strstr(err_message(err), words))
                fail_msg("%s", err_message(err));
        assert_int_equal(revision_bind(r, b, &bound, NULL), code);
}

static void bind_names_what_is_missing(void **state) {
        const struct binding nothing = {.node_name = "shop-2"};
        bind_fails(full, &nothing, -ENOKEY,
                   "app files: /etc/${labels.site}/shop.ini: ${labels.site} is not known for node shop-2");
        bind_fails(REVISION("{\"name\":\"a\",\"driver\":\"podman\",\"manifests\":[{\"apiVersion\":\"v1\","
                            "\"kind\":\"Pod\",\"spec\":"
                            "{\"x\":[{\"y\":\"${vars.none}\"}]}}]}"),
                   &nothing, -ENOKEY, "app a: manifests[0]: spec: x: y: ${vars.none}");
        bind_fails(REVISION("{\"name\":\"a\",\"driver\":\"process\",\"command\":[\"/x\",\"${HOME}\"]}"),
                   &nothing, -EINVAL, "app a: command: \"${HOME}\" is none of");
}

#define FILE_AT(path) "{\"path\":\"" path "\",\"sha256\":\"" DIGEST "\",\"size\":1,\"mode\":420}"
#define FILES_APP(name, files) "{\"name\":\"" name "\",\"driver\":\"files\",\"files\":[" files "]}"

static void bind_checks_what_came_in(void **state) {
        struct pair items[] = {{"up", "../.."}};
        struct binding b = {.node_name = "n", .variables = {.items = items, .n = 1}};
        static const char *const ways[] = {"..", "../../etc", "a/../b", "", "/", "a/", "x\ny"};
        for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
                items[0].value = ways[i];
                bind_fails(REVISION(FILES_APP("a", FILE_AT("/srv/${vars.up}"))), &b, -EINVAL,
                           "not an absolute path");
        }
        items[0].value = "etc/x"; /* relative where the reference begins the path */
        bind_fails(REVISION(FILES_APP("a", FILE_AT("${vars.up}"))), &b, -EINVAL, "not an absolute path");
        items[0].value = "0";
        bind_fails(REVISION("{\"name\":\"a\",\"driver\":\"process\",\"command\":[\"/"
                            "x\"],\"healthChecks\":[{\"name\":\"h\",\"type\":"
                            "\"tcp\",\"port\":\"${vars.up}\"}]}"),
                   &b, -EINVAL, "port 0");
        items[0].value = "x HTTP/1.1\r\nX: y";
        bind_fails(REVISION("{\"name\":\"a\",\"driver\":\"process\",\"command\":[\"/"
                            "x\"],\"healthChecks\":[{\"name\":\"h\",\"type\":"
                            "\"http\",\"port\":\"1\",\"path\":\"/${vars.up}\"}]}"),
                   &b, -EINVAL, "is not a path");
        bind_fails(REVISION("{\"name\":\"a\",\"driver\":\"process\",\"command\":[\"/"
                            "x\"],\"healthChecks\":[{\"name\":\"h\",\"type\":"
                            "\"http\",\"port\":\"1\",\"host\":\"${vars.up}\"}]}"),
                   &b, -EINVAL, "is not a host");
}

#define TREE_AT(name, version, path)                                                                         \
        "{\"name\":\"" name "\",\"version\":\"" version "\",\"path\":\"" path "\"}"
#define TREE_APP(name, trees, files)                                                                         \
        "{\"name\":\"" name "\",\"driver\":\"files\",\"artifacts\":[" trees "],\"files\":[" files "]}"

static void bind_resolves_artifacts(void **state) {
        _cleanup_(revision_freep) struct revision *r = decoded(
                REVISION(TREE_APP("a", TREE_AT("web", "${vars.port}", "/srv/${labels.site}/web"), "")));
        _cleanup_(revision_freep) struct revision *b = NULL;
        assert_int_equal(revision_bind(r, &shop_1, &b, NULL), 0);
        assert_int_equal(b->apps[0].n_artifacts, 1);
        assert_string_equal(b->apps[0].artifacts[0].name, "web");
        assert_string_equal(b->apps[0].artifacts[0].version, "9090");
        assert_string_equal(b->apps[0].artifacts[0].path, "/srv/kiel/web");
        assert_string_equal(r->apps[0].artifacts[0].version, "${vars.port}");

        struct pair items[] = {{"v", "../1"}};
        const struct binding bad = {.node_name = "n", .variables = {.items = items, .n = 1}};
        bind_fails(REVISION(TREE_APP("a", TREE_AT("web", "${vars.v}", "/srv/web"), "")), &bad, -EINVAL,
                   "artifact web: \"../1\" is not a version");
        bind_fails(REVISION(TREE_APP("a", TREE_AT("web", "1", "/srv/${vars.v}"), "")), &bad, -EINVAL,
                   "is not an absolute path");
        bind_fails(REVISION(TREE_APP("a", TREE_AT("web", "${vars.w}", "/srv/web"), "")), &bad, -ENOKEY,
                   "app a: artifact web: version: ${vars.w} is not known");
}

static void bind_refuses_paths_within_artifacts(void **state) {
        const struct binding b = {.node_name = "n"};
        bind_fails(REVISION(TREE_APP("a", TREE_AT("web", "1", "/srv/web"),
                                     "") "," TREE_APP("b", TREE_AT("web", "1", "/srv/${vars.x:-web}"), "")),
                   &b, -EINVAL, "path /srv/web is in app a and in app b");
        bind_fails(REVISION(TREE_APP("a", TREE_AT("web", "1", "/srv/web"), FILE_AT("/srv/${vars.x:-web}"))),
                   &b, -EINVAL, "path /srv/web is in app a and in app a");
        bind_fails(REVISION(TREE_APP("a", TREE_AT("web", "1", "/srv/web"),
                                     "") "," FILES_APP("b", FILE_AT("/srv/${vars.x:-web}/a/b"))),
                   &b, -EINVAL, "path /srv/web/a/b of app b lies within an artifact of app a");
        bind_fails(REVISION(TREE_APP("a", TREE_AT("web", "1", "/srv/web") "," TREE_AT("x", "1", "/srv/web/x"),
                                     "")),
                   &b, -EINVAL, "path /srv/web/x of app a lies within an artifact of app a");
}

static void bind_refuses_one_file_in_two_apps(void **state) {
        const struct binding b = {.node_name = "n"};
        bind_fails(REVISION(FILES_APP("a", FILE_AT("/etc/x")) "," FILES_APP("b",
                                                                            FILE_AT("/etc/${vars.none:-x}"))),
                   &b, -EINVAL, "file /etc/x is in app a and in app b");
        bind_fails(REVISION(FILES_APP("a", FILE_AT("/etc/x") "," FILE_AT("/etc/x"))), &b, -EINVAL,
                   "in app a and in app a");
}

/* Sixteen megabytes of references to four kilobytes each would be eight gigabytes. */
static void bind_is_bounded(void **state) {
        char value[4097];
        memset(value, 'x', 4096);
        value[4096] = '\0';
        struct pair items[] = {{"v", value}};
        const struct binding b = {.node_name = "n", .variables = {.items = items, .n = 1}};
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        buf_puts(&text, "{\"apiVersion\":\"skerry/"
                        "v1alpha1\",\"apps\":[{\"name\":\"a\",\"driver\":\"process\",\"command\":[\"/x\"");
        for (int i = 0; i < 20; i++) {
                buf_puts(&text, ",\"");
                for (int j = 0; j < 1000; j++)
                        buf_puts(&text, "${vars.v}");
                buf_putc(&text, '"');
        }
        buf_puts(&text, "]}],\"fleet\":\"shops\",\"kind\":\"Revision\",\"requires\":[],\"uses\":[],"
                        "\"variables\":{}}");
        bind_fails(text.data, &b, -EMSGSIZE, "more than 67108864 bytes");
}

static void binding_puts_the_nodes_variables_on_top(void **state) {
        struct revision *r = decoded(full);
        _cleanup_(arena_freep) struct arena *arena = arena_new(0);
        struct binding b;
        assert_int_equal(revision_binding(r, &shop_1, arena, &b), 0);
        revision_free(r); /* it stands alone */
        assert_string_equal(b.node_name, "shop-1");
        assert_string_equal(pairs_get(&b.labels, "site"), "kiel");
        assert_string_equal(pairs_get(&b.variables, "greeting"), "Moin");
        assert_string_equal(pairs_get(&b.variables, "port"), "9090");
}

static void fingerprint_sees_what_is_used_alone(void **state) {
        _cleanup_(revision_freep) struct revision *r = decoded(full);
        struct pair labels[] = {{"site", "kiel"}, {"unused", "1"}};
        struct pair variables[] = {{"other", "1"}, {"port", "9090"}};
        struct binding b = {.node_name = "shop-1", .labels = {labels, 2}, .variables = {variables, 2}};
        char first[65], now[65];
        assert_int_equal(revision_binding_fingerprint(r, &b, first), 0);
        assert_true(sha256_hex_is_valid(first));
        labels[1].value = "2";
        variables[0].value = "2";
        assert_int_equal(revision_binding_fingerprint(r, &b, now), 0);
        assert_string_equal(now, first);
        b.variables = (struct pairs){variables, 0};
        assert_int_equal(revision_binding_fingerprint(r, &b, now), 0);
        assert_string_not_equal(now, first); /* the fleet's port now */
        variables[1].value = "8080";         /* the same, said by the node itself */
        b.variables = (struct pairs){variables + 1, 1};
        char again[65];
        assert_int_equal(revision_binding_fingerprint(r, &b, again), 0);
        assert_string_equal(again, now);
        labels[0].value = "husum";
        assert_int_equal(revision_binding_fingerprint(r, &b, again), 0);
        assert_string_not_equal(again, now);
        labels[0].value = "";
        char empty[65], absent[65];
        assert_int_equal(revision_binding_fingerprint(r, &b, empty), 0);
        b.labels = (struct pairs){0};
        assert_int_equal(revision_binding_fingerprint(r, &b, absent), 0);
        assert_string_not_equal(empty, absent);
        b.node_name = "shop-2";
        assert_int_equal(revision_binding_fingerprint(r, &b, now), 0);
        assert_string_not_equal(now, absent);
}

static void new_and_free(void **state) {
        _cleanup_(revision_freep) struct revision *r = revision_new();
        assert_non_null(r->arena);
        assert_int_equal(r->n_apps, 0);
        assert_null(revision_free(NULL));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(decode_reads_everything),
                cmocka_unit_test(encode_is_the_inverse),
                cmocka_unit_test(wrong_revisions),
                cmocka_unit_test(order_of_apps),
                cmocka_unit_test(sizes_are_bounded),
                cmocka_unit_test(encode_refuses_what_decode_would),
                cmocka_unit_test(too_large_to_encode),
                cmocka_unit_test(bind_replaces_everything),
                cmocka_unit_test(bind_names_what_is_missing),
                cmocka_unit_test(bind_checks_what_came_in),
                cmocka_unit_test(bind_refuses_one_file_in_two_apps),
                cmocka_unit_test(bind_resolves_artifacts),
                cmocka_unit_test(bind_refuses_paths_within_artifacts),
                cmocka_unit_test(bind_is_bounded),
                cmocka_unit_test(binding_puts_the_nodes_variables_on_top),
                cmocka_unit_test(fingerprint_sees_what_is_used_alone),
                cmocka_unit_test(new_and_free),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
