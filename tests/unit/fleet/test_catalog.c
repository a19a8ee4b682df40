/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "codec/json.h"
#include "fleet/catalog.h"

#define D(c)                                                                                                 \
        c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c  \
                c c c c c c c c c c c c c c
#define A D("a")
#define B D("b")
#define C D("c")

static json_t *parsed(const char *text) {
        _cleanup_(err_freep) struct err *err = NULL;
        json_t *j = NULL;
        if (json_decode(text, strlen(text), &j, &err) < 0)
                fail_msg("%s: %s", text, err_message(err));
        return j;
}

/* more: further members of the description, with a comma in front. */
static void add(struct catalog *c, const char *name, const char *version, const char *platform,
                const char *sha256, int counter, const char *more) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *path = artifact_target_path(name, version, platform);
        _cleanup_(x_freep) char *text = str_format(
                "{\"skerry\":{\"kind\":\"artifact\",\"name\":\"%s\",\"version\":\"%s\",\"platform\":\"%s\","
                "\"type\":\"tree\",\"releaseCounter\":%d%s}}",
                name, version, platform, counter, more);
        _cleanup_json_ json_t *custom = parsed(text);
        if (catalog_add(c, path, 1000 + counter, sha256, custom, &err) < 0)
                fail_msg("%s", err_message(err));
}

static void release(struct catalog *c, const char *fleet, const char *sha256, int counter) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *path = str_format("revisions/%s/%s.json", fleet, sha256);
        _cleanup_(x_freep) char *text =
                str_format("{\"skerry\":{\"kind\":\"revision\",\"fleet\":\"%s\",\"releaseCounter\":%d}}",
                           fleet, counter);
        _cleanup_json_ json_t *custom = parsed(text);
        if (catalog_add(c, path, 77, sha256, custom, &err) < 0)
                fail_msg("%s", err_message(err));
}

static struct catalog *sample(void) {
        struct catalog *c = catalog_new();
        add(c, "web", "1.10.0", "linux/amd64", A, 4, "");
        add(c, "web", "1.2.0", "linux/amd64", B, 1, "");
        add(c, "web", "1.3.0", "linux/arm64/v8", C, 3, ",\"hardware\":{\"board\":\"rpi4\"}");
        add(c, "web", "1.3.0", "linux/amd64", B, 2, "");
        add(c, "data", "7", "any", C, 1, "");
        add(c, "old", "1", "any", A, 1, ",\"yanked\":true,\"replacedBy\":\"2\"");
        release(c, "shops", B, 3);
        release(c, "shops", A, 2);
        release(c, "depots", C, 9);
        catalog_seal(c);
        return c;
}

static void finds_what_is_there(void **state) {
        _cleanup_(catalog_unrefp) struct catalog *c = sample();
        const struct artifact *const *all;
        char text[128];
        const char *replaced_by;
        assert_int_equal(catalog_artifacts(c), 6);
        assert_int_equal(catalog_find(c, "web", "1.3.0", &all), 2);
        assert_string_equal(all[0]->platform, "linux/amd64");
        assert_string_equal(all[1]->platform, "linux/arm64/v8");
        assert_int_equal(catalog_find(c, "web", "1.3", &all), 0);
        assert_null(all);
        assert_int_equal(catalog_find(c, "we", "1.3.0", &all), 0);
        assert_int_equal(catalog_find(NULL, "web", "1.3.0", &all), 0);
        /* By release counter, not by the alphabet. */
        assert_string_equal(catalog_versions_text(c, "web", text, sizeof text), "1.10.0, 1.3.0, 1.2.0");
        assert_string_equal(catalog_versions_text(c, "old", text, sizeof text), "");
        assert_string_equal(catalog_versions_text(c, "none", text, sizeof text), "");
        assert_string_equal(catalog_nearest_name(c, "wep"), "web");
        assert_null(catalog_nearest_name(c, "something-else"));
        assert_true(catalog_is_yanked(c, "old", "1", &replaced_by));
        assert_string_equal(replaced_by, "2");
        assert_false(catalog_is_yanked(c, "web", "1.3.0", &replaced_by));
        assert_null(replaced_by);
}

static void many_versions_are_cut(void **state) {
        _cleanup_(catalog_unrefp) struct catalog *c = catalog_new();
        char text[64], version[16];
        for (int i = 1; i <= 20; i++) {
                (void)snprintf(version, sizeof version, "v%d", i);
                add(c, "web", version, "any", A, i, "");
        }
        catalog_seal(c);
        assert_string_equal(catalog_versions_text(c, "web", text, sizeof text),
                            "v20, v19, v18, v17, v16 and 15 more");
        catalog_versions_text(c, "web", text, 8);
        assert_string_equal(text, "v20, v1");
}

static void releases_are_exact(void **state) {
        _cleanup_(catalog_unrefp) struct catalog *c = sample();
        assert_true(catalog_has_revision(c, "shops", A, 77));
        assert_true(catalog_has_revision(c, "shops", B, 77));
        assert_false(catalog_has_revision(c, "shops", C, 77)); /* another fleet's */
        assert_false(catalog_has_revision(c, "shops", A, 78));
        assert_false(catalog_has_revision(c, "shops", "aa", 77));
        assert_false(catalog_has_revision(NULL, "shops", A, 77));
        assert_int_equal(catalog_release_counter(c, "shops"), 3);
        assert_int_equal(catalog_release_counter(c, "none"), 0);
}

static void refused(const char *path, const char *sha256, const char *custom_text) {
        _cleanup_(catalog_unrefp) struct catalog *c = catalog_new();
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_json_ json_t *custom = custom_text ? parsed(custom_text) : NULL;
        if (catalog_add(c, path, 1, sha256, custom, &err) != -EINVAL)
                fail_msg("taken: %s", path);
        assert_non_null(strstr(err_message(err), path));
        catalog_seal(c);
        assert_int_equal(catalog_artifacts(c), 0);
        assert_int_equal(catalog_release_counter(c, "shops"), 0);
}

#define REVISION(fleet, counter)                                                                             \
        "{\"skerry\":{\"kind\":\"revision\",\"fleet\":\"" fleet "\",\"releaseCounter\":" counter "}}"

static void contradictions_are_refused(void **state) {
        _cleanup_(catalog_unrefp) struct catalog *c = catalog_new();
        refused("revisions/shops/" A ".json", A, NULL);
        refused("revisions/shops/" A ".json", B, REVISION("shops", "1"));
        refused("revisions/shops/" A ".json", A, REVISION("depots", "1"));
        refused("revisions/shops/" A ".json", A, REVISION("shops", "0"));
        refused("revisions/shops/" A ".json", A, REVISION("shops", "\"1\""));
        refused("revisions/shops/" A ".txt", A, REVISION("shops", "1"));
        refused("revisions/../" A ".json", A, REVISION("..", "1"));
        refused("revisions/shops", A, REVISION("shops", "1"));
        refused("artifacts/web/1/any", A,
                "{\"skerry\":{\"kind\":\"artifact\",\"name\":\"web\",\"version\":\"2\",\"platform\":\"any\","
                "\"type\":"
                "\"tree\",\"releaseCounter\":1}}");
        refused("artifacts/web/1/any", "", "{\"skerry\":{\"kind\":\"artifact\"}}");
        /* Attachments, and whatever else a repository holds, are none of our business. */
        assert_int_equal(catalog_add(c, "artifacts/web/1/any.sbom.json", 1, A, NULL, NULL), 0);
        assert_int_equal(catalog_add(c, "file1.txt", 1, "", NULL, NULL), 0);
        assert_int_equal(catalog_artifacts(c), 0);
}

static void text_is_the_inverse(void **state) {
        _cleanup_(catalog_unrefp) struct catalog *c = sample(), *back = NULL;
        _cleanup_json_ json_t *j = catalog_to_json(c), *again = NULL, *bad = parsed("{\"targets\":[{}]}");
        _cleanup_(err_freep) struct err *err = NULL;
        assert_int_equal(catalog_from_json(j, &back, &err), 0);
        again = catalog_to_json(back);
        assert_true(json_equal(j, again));
        assert_true(catalog_has_revision(back, "depots", C, 77));
        struct catalog *none = NULL;
        assert_int_equal(catalog_from_json(bad, &none, &err), -EINVAL);
        assert_null(none);
}

/* ---- what a node gets */

#define REVISION_OF(apps)                                                                                    \
        "{\"apiVersion\":\"skerry/v1alpha1\",\"apps\":[" apps "],\"fleet\":\"shops\",\"kind\":\"Revision\"," \
        "\"requires\":[],\"uses\":[\"labels.board\",\"vars.v\"],\"variables\":{\"v\":\"1.2.0\"}}"
#define APP(name, list)                                                                                      \
        "{\"name\":\"" name "\",\"driver\":\"process\",\"command\":[\"x\"],\"artifacts\":[" list "]}"
#define ARTIFACT(name, version) "{\"name\":\"" name "\",\"version\":\"" version "\"}"

static int chosen(const char *text, const struct binding *b, const char *platform, const char *expected) {
        _cleanup_(catalog_unrefp) struct catalog *c = sample();
        _cleanup_(arena_freep) struct arena *arena = arena_new(0);
        _cleanup_(revision_freep) struct revision *r = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        struct catalog_choice *choice = NULL;
        size_t n = 0;
        if (revision_decode(text, strlen(text), &r, &err) < 0)
                fail_msg("%s", err_message(err));
        int e = catalog_choose(c, r, b, platform, arena, &choice, &n, &err);
        for (size_t i = 0; i < n; i++)
                buf_printf(&out, "%s:%s %s %d\n", choice[i].name, choice[i].version,
                           choice[i].artifact->platform, (int)choice[i].artifact->release_counter);
        assert_string_equal(e < 0 ? err_message(err) : buf_str(&out), expected);
        return e;
}

static void a_node_gets_what_fits(void **state) {
        struct pair labels[] = {{"board", "rpi4"}}, own[] = {{"v", "1.3.0"}};
        const struct binding plain = {.node_name = "n"}, pi = {.node_name = "p", .labels = {labels, 1}},
                             newer = {.node_name = "m", .variables = {own, 1}};
        static const char fixed[] = REVISION_OF(APP("a", ARTIFACT("web", "1.3.0")));
        static const char varied[] =
                REVISION_OF(APP("a", ARTIFACT("web", "${vars.v}") "," ARTIFACT("data", "7")) "," APP(
                        "b", ARTIFACT("web", "1.3.0") "," ARTIFACT("data", "7")));
        assert_int_equal(chosen(fixed, &plain, "linux/amd64", "web:1.3.0 linux/amd64 2\n"), 0);
        assert_int_equal(chosen(fixed, &pi, "linux/arm64/v8", "web:1.3.0 linux/arm64/v8 3\n"), 0);
        assert_int_equal(chosen(varied, &plain, "linux/amd64",
                                "data:7 any 1\nweb:1.2.0 linux/amd64 1\nweb:1.3.0 linux/amd64 2\n"),
                         0);
        assert_int_equal(chosen(varied, &newer, "linux/amd64", "data:7 any 1\nweb:1.3.0 linux/amd64 2\n"), 0);
        assert_int_equal(chosen(REVISION_OF(""), &plain, NULL, ""), 0);
}

static void or_is_told_why_not(void **state) {
        const struct binding plain = {.node_name = "n"};
        static const char fixed[] = REVISION_OF(APP("a", ARTIFACT("web", "1.3.0")));
        assert_int_equal(
                chosen(fixed, &plain, "linux/riscv64",
                       "no artifact web:1.3.0 for linux/riscv64 and its labels; there are linux/amd64, "
                       "linux/arm64/v8 with board=rpi4"),
                -ENOENT);
        assert_int_equal(chosen(REVISION_OF(APP("a", ARTIFACT("web", "1.2.0"))), &plain, "linux/riscv64",
                                "no artifact web:1.2.0 for linux/riscv64; there is linux/amd64"),
                         -ENOENT);
        assert_int_equal(
                chosen(fixed, &plain, "linux/arm64/v8",
                       "no artifact web:1.3.0 for linux/arm64/v8 and its labels; there are linux/amd64, "
                       "linux/arm64/v8 with board=rpi4"),
                -ENOENT);
        assert_int_equal(chosen(REVISION_OF(APP("a", ARTIFACT("web", "9"))), &plain, "linux/amd64",
                                "no artifact web:9 in the repository; there are the versions 1.10.0, 1.3.0, "
                                "1.2.0"),
                         -ENOENT);
        assert_int_equal(chosen(REVISION_OF(APP("a", ARTIFACT("x", "9"))), &plain, "linux/amd64",
                                "no artifact x:9 in the repository; there is none of that name"),
                         -ENOENT);
        assert_int_equal(
                chosen(fixed, &plain, NULL,
                       "it has not said yet what platform it is, so artifact web:1.3.0 cannot be chosen"),
                -EAGAIN);
        assert_int_equal(
                chosen(REVISION_OF(APP("a", ARTIFACT("web", "${labels.board}"))), &plain, "linux/amd64",
                       "artifact web: version: ${labels.board} is not known for node n: set it, or give a "
                       "default as in ${labels.board:-x}"),
                -ENOKEY);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(finds_what_is_there), cmocka_unit_test(many_versions_are_cut),
                cmocka_unit_test(releases_are_exact),  cmocka_unit_test(contradictions_are_refused),
                cmocka_unit_test(text_is_the_inverse), cmocka_unit_test(a_node_gets_what_fits),
                cmocka_unit_test(or_is_told_why_not),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
