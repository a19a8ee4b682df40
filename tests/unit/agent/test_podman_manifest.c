/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "agent/driver/podman_manifest.h"
#include "base/str.h"
#include "codec/json.h"

static json_t *parse(const char *text) {
        json_t *j = NULL;
        char *copy = str_dup(text);
        for (char *p = copy; *p; p++)
                if (*p == '\'')
                        *p = '"';
        assert_int_equal(json_decode(copy, strlen(copy), &j, NULL), 0);
        free(copy);
        return j;
}

static const char deployment[] =
        "{'apiVersion':'apps/v1','kind':'Deployment','metadata':{'name':'web'},'spec':{'template':{'spec':{"
        "'containers':[{'name':'httpd','image':'i'},{'name':'side','image':'i'}]}}}}";
static const char job[] =
        "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'job','labels':{'a':'b'}},'spec':{"
        "'restartPolicy':'OnFailure','containers':[{'name':'once','image':'i'}]}}";
static const char secret[] = "{'apiVersion':'v1','kind':'Secret','metadata':{'name':'sec'},'data':{'a':'QQ=='"
                             "},'stringData':{'b':'B'}}";
static const char claim[] =
        "{'apiVersion':'v1','kind':'PersistentVolumeClaim','metadata':{'name':'vol'},'spec':{}}";

static void pods_get_labels_and_the_input_is_left_alone(void **state) {
        json_t *manifests[] = {parse(deployment), parse(job), parse(secret), parse(claim)};
        json_t *before = json_deep_copy(manifests[0]);
        struct podman_plan p;
        assert_int_equal(podman_plan_make(manifests, 4, "shop-1", "web", "abc", &p, NULL), 0);
        assert_true(json_equal(before, manifests[0]));
        const json_t *labels = json_object_get(
                json_object_get(
                        json_object_get(json_object_get(json_array_get(p.documents, 0), "spec"), "template"),
                        "metadata"),
                "labels");
        assert_string_equal(json_string_value(json_object_get(labels, PODMAN_LABEL_APP)), "web");
        assert_string_equal(json_string_value(json_object_get(labels, PODMAN_LABEL_NODE)), "shop-1");
        assert_string_equal(json_string_value(json_object_get(labels, PODMAN_LABEL_DIGEST)), "abc");
        labels = json_object_get(json_object_get(json_array_get(p.documents, 1), "metadata"), "labels");
        assert_string_equal(json_string_value(json_object_get(labels, "a")), "b");
        assert_string_equal(json_string_value(json_object_get(labels, PODMAN_LABEL_APP)), "web");

        const json_t *values = json_object_get(p.secrets, "sec");
        assert_string_equal(json_string_value(json_object_get(values, "a")), "QQ==");
        assert_string_equal(json_string_value(json_object_get(values, "b")), "Qg==");

        /* a line each, and back */
        _cleanup_(x_freep) char *all = podman_plan_text(&p, NULL, false), *fewer = NULL;
        assert_non_null(strstr(all, "---\n{"));
        _cleanup_json_ json_t *names = podman_text_secrets(all), *existing = json_pack("[s]", "vol");
        assert_int_equal(json_array_size(names), 1);
        assert_string_equal(json_string_value(json_array_get(names, 0)), "sec");
        fewer = podman_plan_text(&p, existing, true);
        assert_null(strstr(fewer, "Secret"));
        assert_null(strstr(fewer, "PersistentVolumeClaim"));
        assert_non_null(strstr(fewer, "Deployment"));
        _cleanup_json_ json_t *none = podman_text_secrets("no json\n---\n{\"broken\n");
        assert_int_equal(json_array_size(none), 0);

        podman_plan_done(&p);
        json_decref(before);
        for (size_t i = 0; i < ARRAY_SIZE(manifests); i++)
                json_decref(manifests[i]);
}

static struct podman_verdict judge(const char *containers) {
        json_t *manifests[] = {parse(deployment), parse(job)};
        _cleanup_json_ json_t *list = parse(containers);
        struct podman_verdict v;
        assert_int_equal(podman_judge(list, manifests, 2, "abc", &v), 0);
        json_decref(manifests[0]);
        json_decref(manifests[1]);
        return v;
}

#define C(name, state, code, digest)                                                                         \
        "{'Names':['" name "'],'State':'" state "','ExitCode':" code ",'Labels':{'" PODMAN_LABEL_DIGEST      \
        "':'" digest "'}}"

static void the_list_is_held_against_the_manifests(void **state) {
        static const struct {
                const char *containers;
                bool current, any;
                const char *problem, *container;
        } cases[] = {
                {"[]", false, false, "container httpd is not there", ""},
                {"[" C("web-pod-httpd", "running", "0", "abc") "," C(
                         "web-pod-side", "running", "0", "abc") "," C("job-once", "running", "0", "abc") "]",
                 true, true, "", ""},
                /* a job that is done is done; a service that ended is not well, even with status 0 */
                {"[" C("web-pod-httpd", "running", "0", "abc") "," C(
                         "web-pod-side", "running", "0", "abc") "," C("job-once", "exited", "0", "abc") "]",
                 true, true, "", ""},
                {"[" C("web-pod-httpd", "exited", "0", "abc") "," C(
                         "web-pod-side", "running", "0", "abc") "," C("job-once", "exited", "0", "abc") "]",
                 false, true, "container httpd exited with status 0", "web-pod-httpd"},
                {"[" C("web-pod-httpd", "running", "0", "abc") "," C(
                         "web-pod-side", "running", "0", "abc") "," C("job-once", "exited", "3", "abc") "]",
                 false, true, "container once exited with status 3", "job-once"},
                {"[" C("web-pod-httpd", "created", "0", "abc") "," C(
                         "web-pod-side", "running", "0", "abc") "," C("job-once", "running", "0", "abc") "]",
                 false, true, "container httpd is created", "web-pod-httpd"},
                /* another version does not count */
                {"[" C("web-pod-httpd", "running", "0", "old") "," C(
                         "web-pod-side", "running", "0", "abc") "," C("job-once", "running", "0", "abc") "]",
                 false, true, "container httpd is not there", ""},
                /* what podman may print one day must not crash us */
                {"[7,{},{'Names':'x'},{'Names':[]},{'Names':[null],'Labels':null}]", false, true,
                 "container httpd is not there", ""},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct podman_verdict v = judge(cases[i].containers);
                assert_int_equal(v.current, cases[i].current);
                assert_int_equal(v.any, cases[i].any);
                assert_string_equal(v.problem, cases[i].problem);
                assert_string_equal(v.container, cases[i].container);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(pods_get_labels_and_the_input_is_left_alone),
                cmocka_unit_test(the_list_is_held_against_the_manifests),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
