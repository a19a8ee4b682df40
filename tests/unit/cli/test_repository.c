/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/str.h"
#include "cli/plan_state.h"
#include "cli/repository.h"
#include "fleet/plan.h"

static const char fleet[] = "apiVersion: skerry/v1alpha1\n"
                            "kind: Fleet\n"
                            "metadata: {name: shops}\n"
                            "spec:\n"
                            "  selector: {matchLabels: {role: shop}}\n"
                            "  template:\n"
                            "    files: [{path: /etc/a, content: \"one\\n\"}]\n";
static const char node[] = "apiVersion: skerry/v1alpha1\n"
                           "kind: Node\n"
                           "metadata: {name: kiel-1, labels: {role: shop}}\n";

static int setup(void **state) {
        char *dir = str_dup("/tmp/skerry-repository-XXXXXX");
        *state = dir;
        return dir && mkdtemp(dir) ? 0 : -1;
}
static int teardown(void **state) {
        int r = path_remove(*state, NULL);
        free(*state);
        return r;
}

static void put(const char *dir, const char *name, const char *text) {
        _cleanup_(x_freep) char *path = path_join(dir, name);
        assert_int_equal(file_write_atomic(path, text, strlen(text), 0644, NULL), 0);
}

static void test_faults_are_shown_in_their_line(void **state) {
        _cleanup_(fleet_model_freep) struct fleet_model *m = NULL;
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        put(*state, "fleet.yaml",
            "apiVersion: skerry/v1alpha1\nkind: Fleet\nmetadata: {name: shops}\nspec:\n"
            "  selector: {matchLabels: {role: shop}}\n"
            "  template: {apps: [], variables: {a: \"\xc3\xbc\"}, fils: []}\n");
        assert_int_equal(repository_compile(*state, NULL, 0, &m, NULL), 0);
        assert_true(diagnostics_errors(m->diagnostics) > 0);
        repository_put_diagnostics(&out, m->diagnostics, &(struct diagnostics_look){.dir = *state});
        /* The place counts bytes, the mark stands under the column that one sees. */
        assert_non_null(strstr(buf_str(&out), "fleet.yaml:6:46: error: "));
        assert_non_null(strstr(buf_str(&out),
                               "    6 |   template: {apps: [], variables: {a: \"\xc3\xbc\"}, fils: []}\n"
                               "      |                                             ^\n"));
        buf_clear(&out);
        repository_put_diagnostics(&out, m->diagnostics, &(struct diagnostics_look){0});
        assert_null(strstr(buf_str(&out), "|"));
        assert_null(strstr(buf_str(&out), "\n    "));
        /* On a terminal lines are broken between words. */
        buf_clear(&out);
        repository_put_diagnostics(&out, m->diagnostics, &(struct diagnostics_look){.width = 60});
        assert_non_null(strstr(buf_str(&out), "fleet.yaml:6:46: error: unknown field \"fils\" in fleet\n"
                                              "    template (did you mean \"files\"?)\n"));
}

static void test_a_missing_folder_is_told(void **state) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct fleet_model *m = NULL;
        assert_true(repository_compile("/nonexistent/fleet", NULL, 0, &m, &err) < 0);
        assert_non_null(strstr(err_message(err), "/nonexistent/fleet"));
        assert_null(m);
}

static void test_a_folder_compared_with_itself_and_another(void **state) {
        struct fleet_model *before = NULL;
        _cleanup_(fleet_model_freep) struct fleet_model *after = NULL;
        _cleanup_(plan_state_done) struct plan_state s = {0};
        _cleanup_(plan_freep) struct plan *same = NULL, *changed = NULL;
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        const struct plan_contents contents = {plan_state_read_object, &s};
        put(*state, "fleet.yaml", fleet);
        put(*state, "node.yaml", node);
        assert_int_equal(repository_compile(*state, NULL, 0, &before, NULL), 0);
        assert_int_equal(diagnostics_errors(before->diagnostics), 0);
        assert_int_equal(plan_state_from_model(before, &s, NULL), 0);
        assert_int_equal(s.n_before, 1);
        assert_int_equal(s.n_nodes, 1);
        assert_string_equal(s.nodes[0].fleet, "shops");
        assert_int_equal(plan_make(before, s.before, s.n_before, s.nodes, s.n_nodes, &same, NULL), 0);
        assert_true(plan_is_empty(same));

        _cleanup_(x_freep) char *text =
                str_format("%.*stwo\\n\"}]\n", (int)(strstr(fleet, "one") - fleet), fleet);
        put(*state, "fleet.yaml", text);
        assert_int_equal(repository_compile(*state, NULL, 0, &after, NULL), 0);
        assert_int_equal(plan_make_with_contents(after, s.before, s.n_before, s.nodes, s.n_nodes, &contents,
                                                 &changed, NULL),
                         0);
        assert_false(plan_is_empty(changed));
        plan_format(changed, false, 0, &out);
        assert_non_null(strstr(buf_str(&out), "- one"));
        assert_non_null(strstr(buf_str(&out), "+ two"));
        assert_non_null(strstr(buf_str(&out), "kiel-1"));

        char *data = NULL;
        size_t len = 0;
        assert_int_equal(plan_state_read_object(&s, "00", &data, &len), -ENOENT);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_faults_are_shown_in_their_line, setup, teardown),
                cmocka_unit_test(test_a_missing_folder_is_told),
                cmocka_unit_test_setup_teardown(test_a_folder_compared_with_itself_and_another, setup,
                                                teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
