/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
/* */
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "codec/json.h"
#include "fleet/parsed.h"

#define DIGEST "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_image_names(void **state) {
        static const char *const good[] = {
                "nginx",
                "nginx:1.27",
                "library/nginx",
                "localhost/skerry-demo/web:1",
                "docker.io/library/nginx@" DIGEST,
                "registry.example.org:5000/a/b_c/d--e/f__g:v1.2-rc_3@" DIGEST,
                "10.0.0.1:5000/x",
                "a.b/c.d:E",
        };
        static const char *const bad[] = {
                "",
                ":",
                "/",
                "nginx:",
                "Nginx",
                "nginx:1:2/x:",
                "a//b",
                "a/",
                "/a",
                "a b",
                "nginx@sha256:1",
                "nginx@md5:" DIGEST,
                "a..b/c/d..e",
                "-a",
                "a-",
                "docker.io/A",
                "nginx:-1",
                "nginx:\xc3\xa4",
                "x@" DIGEST "0",
        };
        for (size_t i = 0; i < ARRAY_SIZE(good); i++)
                if (!image_name_is_valid(good[i]))
                        fail_msg("%s should be an image", good[i]);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                if (image_name_is_valid(bad[i]))
                        fail_msg("%s should be no image", bad[i]);
        char tag[200] = "a:";
        memset(tag + 2, 'x', 128);
        assert_true(image_name_is_valid(tag));
        tag[130] = 'x';
        assert_false(image_name_is_valid(tag));
}

static struct parsed *parse(const char *text) {
        struct parsed *p = NULL;
        char *copy = strdup(text);
        assert_int_equal(parsed_new(PARSED_MANIFEST, "m.yaml", copy, strlen(text), &p), 0);
        return p;
}

static void test_objects(void **state) {
        struct parsed *p = parse("apiVersion: v1\n"
                                 "kind: Pod\n"
                                 "metadata: {name: web, annotations: {a: \"${vars.x:-y}\"}}\n"
                                 "spec:\n"
                                 "  containers:\n"
                                 "    - name: c\n"
                                 "      image: example.org/web:1\n"
                                 "      ports: [{containerPort: 80, hostPort: \"${vars.port}\"}]\n"
                                 "      resources: {limits: {cpu: 0.5, memory: 64Mi}}\n"
                                 "      securityContext: {privileged: false}\n"
                                 "---\n"
                                 "apiVersion: v1\n"
                                 "kind: Secret\n"
                                 "metadata: {name: s}\n"
                                 "data: {password: aHVudGVyMg==}\n");
        assert_int_equal(diagnostics_len(p->diagnostics), 0);
        assert_int_equal(p->manifest.n_objects, 2);
        assert_string_equal(p->manifest.objects[0].kind, "Pod");
        assert_string_equal(p->manifest.objects[0].name, "web");
        assert_int_equal(p->n_references, 2);
        assert_string_equal(p->references[0].name, "vars.x");
        assert_true(p->references[0].has_default);
        assert_string_equal(p->references[1].name, "vars.port");
        assert_int_equal(p->references[1].where.line, 8);
        assert_int_equal(p->references[1].where.column, 46);
        const json_t *container = json_array_get(
                json_object_get(json_object_get(p->manifest.objects[0].json, "spec"), "containers"), 0);
        const json_t *limits = json_object_get(json_object_get(container, "resources"), "limits");
        assert_string_equal(json_string_value(json_object_get(limits, "cpu")),
                            "0.5"); /* revisions hold no fractions */
        assert_true(
                json_is_false(json_object_get(json_object_get(container, "securityContext"), "privileged")));
        parsed_unref(p);
}

static void test_settled_numbers(void **state) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_json_ json_t *pod = json_pack("{s:s, s:{s:[{s:[{s:s, s:s}]}]}}", "kind", "Pod", "spec",
                                               "containers", "ports", "hostPort", "8080", "protocol", "80");
        assert_int_equal(manifest_settle_numbers(pod, &err), 0);
        const json_t *port = json_array_get(
                json_object_get(
                        json_array_get(json_object_get(json_object_get(pod, "spec"), "containers"), 0),
                        "ports"),
                0);
        assert_int_equal(json_integer_value(json_object_get(port, "hostPort")), 8080);
        assert_string_equal(json_string_value(json_object_get(port, "protocol")), "80"); /* text by right */
        json_object_set_new((json_t *)port, "hostPort", json_string("80x"));
        assert_int_equal(manifest_settle_numbers(pod, &err), -EINVAL);
        assert_string_equal(err_message(err), "field \"hostPort\": expected a whole number, found \"80x\"");
        _cleanup_json_ json_t *other = json_pack("{s:s}", "kind", "Unknown");
        assert_int_equal(manifest_settle_numbers(other, NULL), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_image_names),
                cmocka_unit_test(test_objects),
                cmocka_unit_test(test_settled_numbers),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
