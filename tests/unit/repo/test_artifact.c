/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "codec/json.h"
#include "repo/artifact.h"

#define DIGEST "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"

static void test_types(void **state) {
        const enum artifact_type all[] = {ARTIFACT_FILE, ARTIFACT_TREE, ARTIFACT_OCI, ARTIFACT_IMAGE};
        for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
                enum artifact_type t = ARTIFACT_FILE;
                assert_int_equal(artifact_type_from_name(artifact_type_name(all[i]), &t), 0);
                assert_int_equal(t, all[i]);
        }
        enum artifact_type t = ARTIFACT_OCI;
        assert_int_equal(artifact_type_from_name("folder", &t), -EINVAL);
        assert_int_equal(t, ARTIFACT_OCI);
}

static void test_names(void **state) {
        const char *const good[] = {"web", "a", "0", "web.shop", "a-b.c-d.e", "x1.2"};
        const char *const bad[] = {"",     ".",    "web.", ".web", "a..b", "Web",
                                   "we b", "web/", "-a",   "a-",   "a_b",  "../a"};
        for (size_t i = 0; i < ARRAY_SIZE(good); i++)
                assert_true(artifact_name_is_valid(good[i]));
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_false(artifact_name_is_valid(bad[i]));
        assert_false(artifact_name_is_valid(NULL));

        char label[65], name[300];
        memset(label, 'a', 64);
        label[64] = '\0';
        assert_false(artifact_name_is_valid(label));
        assert_true(artifact_name_is_valid(label + 1));
        memset(name, 'a', sizeof(name));
        for (size_t i = 63; i < sizeof(name); i += 64)
                name[i] = '.';
        name[254] = '\0';
        assert_false(artifact_name_is_valid(name));
        name[253] = '\0';
        assert_true(artifact_name_is_valid(name));
}

static void test_versions(void **state) {
        const char *const good[] = {"1", "1.2.0", "v1", "2026-11-20", "1.0+build.7", "A_b", "1..2"};
        const char *const bad[] = {"", ".", "..", "-1", "+1", "1/2", "1 2", "1:2", "1\n", "\xc3\xa4", "_a"};
        for (size_t i = 0; i < ARRAY_SIZE(good); i++)
                assert_true(artifact_version_is_valid(good[i]));
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_false(artifact_version_is_valid(bad[i]));
        assert_false(artifact_version_is_valid(NULL));
        char version[ARTIFACT_VERSION_MAX + 2];
        memset(version, '1', sizeof(version) - 1);
        version[ARTIFACT_VERSION_MAX + 1] = '\0';
        assert_false(artifact_version_is_valid(version));
        version[ARTIFACT_VERSION_MAX] = '\0';
        assert_true(artifact_version_is_valid(version));
}

static void test_references(void **state) {
        _cleanup_(x_freep) char *name = NULL, *version = NULL;
        assert_int_equal(artifact_reference_parse("web.shop:1.2.0+x", &name, &version, NULL), 0);
        assert_string_equal(name, "web.shop");
        assert_string_equal(version, "1.2.0+x");
        const struct {
                const char *text, *says;
        } bad[] = {
                {"web", "NAME:VERSION"},   {"Web:1", "'Web'"},   {":1", "artifact's name"},
                {"web:", "not a version"}, {"web:1:2", "'1:2'"}, {"web:../../x", "not a version"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_(err_freep) struct err *err = NULL;
                char *n = NULL, *v = NULL;
                assert_int_equal(artifact_reference_parse(bad[i].text, &n, &v, &err), -EINVAL);
                assert_non_null(strstr(err_message(err), bad[i].says));
                assert_null(n);
                assert_null(v);
        }
}

static void test_platforms_are_normalised(void **state) {
        const struct {
                const char *text, *is, *file;
        } good[] = {
                {"linux/amd64", "linux/amd64", "linux-amd64"},
                {"linux/x86_64", "linux/amd64", "linux-amd64"},
                {"linux/amd64/v1", "linux/amd64", "linux-amd64"},
                {"linux/amd64/v3", "linux/amd64/v3", "linux-amd64-v3"},
                {"Linux/ARM64", "linux/arm64/v8", "linux-arm64-v8"},
                {"linux/aarch64", "linux/arm64/v8", "linux-arm64-v8"},
                {"linux/arm64/8", "linux/arm64/v8", "linux-arm64-v8"},
                {"linux/arm64/v9", "linux/arm64/v9", "linux-arm64-v9"},
                {"linux/arm", "linux/arm/v7", "linux-arm-v7"},
                {"linux/armhf", "linux/arm/v7", "linux-arm-v7"},
                {"linux/arm/v6", "linux/arm/v6", "linux-arm-v6"},
                {"linux/riscv64", "linux/riscv64", "linux-riscv64"},
                {"any", "any", "any"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                char platform[PLATFORM_MAX], again[PLATFORM_MAX], file[PLATFORM_MAX];
                assert_int_equal(platform_parse(good[i].text, platform, NULL), 0);
                assert_string_equal(platform, good[i].is);
                assert_int_equal(platform_parse(platform, again, NULL), 0);
                assert_string_equal(again, platform);
                platform_file_name(platform, file);
                assert_string_equal(file, good[i].file);
        }
        const char *const bad[] = {
                "",
                "linux",
                "/",
                "linux/",
                "/amd64",
                "linux/amd64/",
                "a/b/c/d",
                "linux/a-b",
                "linux/..",
                "li nux/amd64",
                "linux/amd64/\n",
                "../../etc",
                "linux/arm64/v8/x",
                "linux//v8",
                "linux/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "linux/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx/8",
                "linux/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx/8v",
        };
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                char platform[PLATFORM_MAX] = "untouched";
                _cleanup_(err_freep) struct err *err = NULL;
                assert_int_equal(platform_parse(bad[i], platform, &err), -EINVAL);
                assert_non_null(err);
                assert_string_equal(platform, "untouched");
        }
        char here[PLATFORM_MAX];
        assert_int_equal(platform_parse(platform_here(), here, NULL), 0);
        assert_string_equal(here, platform_here());
}

static void test_platforms_match(void **state) {
        assert_true(platform_match("linux/amd64", "linux/amd64") > platform_match("linux/amd64", "any"));
        assert_true(platform_match("linux/amd64", "any") > 0);
        assert_int_equal(platform_match("linux/amd64", "linux/arm64/v8"), 0);
        assert_int_equal(platform_match("linux/amd64", "linux/amd64/v2"), 0);
        assert_int_equal(platform_match("windows/amd64", "linux/amd64"), 0);
        assert_int_equal(platform_match("linux/arm/v6", "linux/arm/v7"), 0);
        assert_int_equal(platform_match("linux/arm64/v8", "linux/arm/v7"), 0);
        assert_int_equal(platform_match("linux/arm/v7", "linux/arm/hard"), 0);
        assert_int_equal(platform_match("nonsense", "linux/arm/v7"), 0);
        int same = platform_match("linux/amd64/v3", "linux/amd64/v3");
        int second = platform_match("linux/amd64/v3", "linux/amd64/v2");
        int first = platform_match("linux/amd64/v3", "linux/amd64");
        assert_true(same > second && second > first && first > platform_match("linux/amd64/v3", "any"));
        assert_true(platform_match("linux/arm64/v8.2", "linux/arm64/v8") > 0);
        assert_int_equal(platform_match("linux/arm64/v8", "linux/arm64/v8.2"), 0);
}

static struct artifact *from_text(const char *path, const char *text, struct err **err) {
        _cleanup_json_ json_t *custom = NULL;
        struct artifact *a = NULL;
        assert_int_equal(json_decode(text, strlen(text), &custom, NULL), 0);
        int r = artifact_from_target(path, 12, DIGEST, custom, &a, err);
        assert_true(r == 0 ? a != NULL : r == -EINVAL && a == NULL);
        return a;
}

static void test_custom_goes_round(void **state) {
        const char *const texts[] = {
                "{\"skerry\":{\"kind\":\"artifact\",\"name\":\"web\",\"version\":\"1.2.0\",\"platform\":"
                "\"linux/"
                "arm64/"
                "v8\",\"type\":\"file\",\"releaseCounter\":7,\"hardware\":{\"board\":\"rpi4\"},\"fileName\":"
                "\"web-bin\",\"mode\":493,\"yanked\":true,\"replacedBy\":\"1.2.1\",\"reason\":\"does not "
                "start\",\"sbom\":\"artifacts/web/"
                "1.2.0/linux-arm64-v8.sbom.json\",\"provenance\":\"artifacts/web/1.2.0/"
                "linux-arm64-v8.provenance.json\"}}",
                "{\"skerry\":{\"kind\":\"artifact\",\"name\":\"web\",\"version\":\"1.2.0\",\"platform\":"
                "\"linux/"
                "arm64/v8\",\"type\":\"tree\",\"releaseCounter\":1}}",
        };
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                _cleanup_(artifact_freep) struct artifact *a =
                        from_text("artifacts/web/1.2.0/linux-arm64-v8", texts[i], NULL);
                assert_non_null(a);
                assert_string_equal(a->name, "web");
                assert_string_equal(a->version, "1.2.0");
                assert_string_equal(a->platform, "linux/arm64/v8");
                assert_int_equal(a->length, 12);
                assert_string_equal(a->sha256, DIGEST);
                if (i == 0) {
                        assert_int_equal(a->mode, 0755);
                        assert_true(a->yanked);
                        assert_string_equal(a->replaced_by, "1.2.1");
                        assert_string_equal(a->reason, "does not start");
                        assert_string_equal(a->file_name, "web-bin");
                } else {
                        assert_int_equal(a->type, ARTIFACT_TREE);
                        assert_null(a->hardware);
                        assert_false(a->yanked);
                        assert_null(a->replaced_by);
                }
                _cleanup_json_ json_t *custom = artifact_custom(a);
                assert_non_null(custom);
                _cleanup_(x_freep) char *text = json_encode_compact(custom);
                assert_string_equal(text, texts[i]);
        }
}

static void test_custom_that_contradicts_is_refused(void **state) {
#define HEAD "{\"skerry\":{\"kind\":\"artifact\",\"name\":\"web\",\"version\":\"1\",\"platform\":\"any\","
#define PATH "artifacts/web/1/any"
        const struct {
                const char *path, *text, *says;
        } bad[] = {
                {PATH, "{}", "no description"},
                {PATH, "{\"skerry\":[]}", "no description"},
                {PATH, "{\"skerry\":{\"kind\":\"revision\"}}", "revision"},
                {PATH, HEAD "\"type\":\"tree\"}}", "releaseCounter"},
                {PATH, HEAD "\"type\":\"tree\",\"releaseCounter\":0}}", "releaseCounter"},
                {PATH, HEAD "\"type\":\"tree\",\"releaseCounter\":9007199254740993}}", "releaseCounter"},
                {PATH, HEAD "\"type\":\"folder\",\"releaseCounter\":1}}", "folder"},
                {"artifacts/web/2/any", HEAD "\"type\":\"tree\",\"releaseCounter\":1}}", PATH},
                {"artifacts/web/1/linux-amd64", HEAD "\"type\":\"tree\",\"releaseCounter\":1}}", PATH},
                {PATH, HEAD "\"type\":\"file\",\"releaseCounter\":1,\"fileName\":\"../x\"}}", "fileName"},
                {PATH, HEAD "\"type\":\"file\",\"releaseCounter\":1,\"fileName\":\"..\"}}", "fileName"},
                {PATH, HEAD "\"type\":\"file\",\"releaseCounter\":1,\"fileName\":\"\"}}", "fileName"},
                {PATH, HEAD "\"type\":\"file\",\"releaseCounter\":1,\"mode\":2541}}", "mode"},
                {PATH, HEAD "\"type\":\"file\",\"releaseCounter\":1,\"mode\":-1}}", "mode"},
                {PATH, HEAD "\"type\":\"tree\",\"releaseCounter\":1,\"hardware\":{\"a\":1}}}", "hardware"},
                {PATH, HEAD "\"type\":\"tree\",\"releaseCounter\":1,\"hardware\":\"a\"}}", "hardware"},
                {PATH, HEAD "\"type\":\"tree\",\"releaseCounter\":1,\"yanked\":\"yes\"}}", "yanked"},
                {PATH, HEAD "\"type\":\"tree\",\"releaseCounter\":1,\"reason\":\"a\\nb\"}}", "reason"},
                {PATH, HEAD "\"type\":\"tree\",\"releaseCounter\":1,\"replacedBy\":\"../x\"}}", "replacedBy"},
                {PATH,
                 HEAD "\"type\":\"tree\",\"releaseCounter\":1,\"sbom\":\"artifacts/b/1/any.sbom.json\"}}",
                 "sbom"},
                {PATH, HEAD "\"type\":\"tree\",\"releaseCounter\":1,\"provenance\":\"/etc/passwd\"}}",
                 "provenance"},
                {PATH,
                 "{\"skerry\":{\"kind\":\"artifact\",\"name\":\"web\",\"version\":\"1\",\"platform\":\"linux/"
                 "arm64\",\"type\":\"tree\",\"releaseCounter\":1}}",
                 "linux/arm64/v8"},
                {"artifacts/../1/any",
                 "{\"skerry\":{\"kind\":\"artifact\",\"name\":\"..\",\"version\":\"1\",\"platform\":\"any\","
                 "\"type\":\"tree\",\"releaseCounter\":1}}",
                 "name"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_(err_freep) struct err *err = NULL;
                assert_null(from_text(bad[i].path, bad[i].text, &err));
                assert_non_null(strstr(err_message(err), bad[i].path));
                if (!strstr(err_message(err), bad[i].says))
                        fail_msg("'%s' does not say '%s'", err_message(err), bad[i].says);
        }
        struct artifact *a = NULL;
        _cleanup_json_ json_t *custom = NULL;
        const char *text = HEAD "\"type\":\"tree\",\"releaseCounter\":1}}";
        assert_int_equal(json_decode(text, strlen(text), &custom, NULL), 0);
        assert_int_equal(artifact_from_target(PATH, -1, DIGEST, custom, &a, NULL), -EINVAL);
        assert_int_equal(artifact_from_target(PATH, 1, "", custom, &a, NULL), -EINVAL);
        assert_int_equal(artifact_from_target(PATH, 1, NULL, custom, &a, NULL), -EINVAL);
        assert_int_equal(artifact_from_target(PATH, 1, DIGEST, NULL, &a, NULL), -EINVAL);
        assert_null(a);
}

static void test_more_hardware_than_allowed_is_refused(void **state) {
        for (int n = ARTIFACT_HARDWARE_MAX; n <= ARTIFACT_HARDWARE_MAX + 1; n++) {
                _cleanup_json_ json_t *hardware = json_object();
                for (int i = 0; i < n; i++) {
                        char key[16];
                        (void)snprintf(key, sizeof(key), "k%d", i);
                        assert_int_equal(json_object_set_new(hardware, key, json_string("v")), 0);
                }
                _cleanup_json_ json_t *custom =
                        json_pack("{s:{s:s,s:s,s:s,s:s,s:s,s:i,s:O}}", "skerry", "kind", "artifact", "name",
                                  "web", "version", "1", "platform", "any", "type", "tree", "releaseCounter",
                                  1, "hardware", hardware);
                struct artifact *a = NULL;
                int r = artifact_from_target(PATH, 1, DIGEST, custom, &a, NULL);
                assert_int_equal(r, n > ARTIFACT_HARDWARE_MAX ? -EINVAL : 0);
                artifact_free(a);
        }
}

static struct artifact made(const char *platform, json_t *hardware, bool yanked, int64_t counter) {
        struct artifact a = {.hardware = hardware, .yanked = yanked, .release_counter = counter};
        assert_int_equal(platform_parse(platform, a.platform, NULL), 0);
        return a;
}

static void test_choice(void **state) {
        _cleanup_json_ json_t *pi = json_pack("{s:s}", "board", "rpi4");
        _cleanup_json_ json_t *pi_camera = json_pack("{s:s,s:s}", "board", "rpi4", "camera", "yes");
        _cleanup_json_ json_t *labels_pi = json_pack("{s:s,s:s}", "board", "rpi4", "site", "kiel");
        _cleanup_json_ json_t *labels_camera = json_pack("{s:s,s:s}", "board", "rpi4", "camera", "yes");
        struct artifact any = made("any", NULL, false, 1), v8 = made("linux/arm64", NULL, false, 1),
                        for_pi = made("linux/arm64", pi, false, 1),
                        for_camera = made("linux/arm64", pi_camera, false, 1),
                        amd64 = made("linux/amd64", NULL, false, 1),
                        v6 = made("linux/arm/v6", NULL, false, 1), v7 = made("linux/arm/v7", NULL, false, 1),
                        bad = made("linux/amd64", NULL, true, 9), newer = made("linux/amd64", NULL, false, 2);

        const struct artifact *const all[] = {&any, &v8, &for_pi, &for_camera, &amd64, &v6, &v7};
        const size_t n = ARRAY_SIZE(all);
        assert_ptr_equal(artifact_choose(all, n, "linux/arm64/v8", NULL), &v8);
        assert_ptr_equal(artifact_choose(all, n, "linux/arm64/v8", labels_pi), &for_pi);
        assert_ptr_equal(artifact_choose(all, n, "linux/arm64/v8", labels_camera), &for_camera);
        assert_ptr_equal(artifact_choose(all, n, "linux/amd64", labels_pi), &amd64);
        assert_ptr_equal(artifact_choose(all, n, "linux/arm/v7", NULL), &v7);
        assert_ptr_equal(artifact_choose(all, n, "linux/arm/v6", NULL), &v6);
        assert_ptr_equal(artifact_choose(all, n, "linux/riscv64", NULL), &any);
        assert_null(artifact_choose(all + 1, n - 1, "linux/riscv64", NULL));
        assert_null(artifact_choose(NULL, 0, "linux/amd64", NULL));

        const struct artifact *const only_pi[] = {&for_pi};
        assert_null(artifact_choose(only_pi, 1, "linux/arm64/v8", NULL));

        const struct artifact *const yanked[] = {&bad, &any};
        assert_ptr_equal(artifact_choose(yanked, 2, "linux/amd64", NULL), &any);
        assert_ptr_equal(artifact_choose(yanked, 1, "linux/amd64", NULL), &bad);
        const struct artifact *const two[] = {&amd64, &newer, &amd64};
        assert_ptr_equal(artifact_choose(two, 3, "linux/amd64", NULL), &newer);
}

static void assert_path(char *path, const char *expected) {
        assert_non_null(path);
        assert_string_equal(path, expected);
        free(path);
}

static void test_paths(void **state) {
        assert_path(artifact_target_path("web", "1.2.0", "linux/arm64/v8"),
                    "artifacts/web/1.2.0/linux-arm64-v8");
        assert_path(repository_target_file("artifacts/web/1.2.0/linux-amd64", DIGEST),
                    "targets/artifacts/web/1.2.0/" DIGEST ".linux-amd64");
        assert_path(repository_target_file("plain", DIGEST), "targets/" DIGEST ".plain");
        assert_path(repository_chunk_index(DIGEST), "chunks/01/" DIGEST ".index");
        assert_path(repository_chunk_pack(DIGEST), "chunks/01/" DIGEST ".pack");
        assert_path(repository_delta_list(DIGEST), "deltas/01/" DIGEST ".json");
        assert_path(repository_delta(DIGEST, OTHER), "deltas/01/" DIGEST "/" OTHER ".delta");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_types),
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_versions),
                cmocka_unit_test(test_references),
                cmocka_unit_test(test_platforms_are_normalised),
                cmocka_unit_test(test_platforms_match),
                cmocka_unit_test(test_custom_goes_round),
                cmocka_unit_test(test_custom_that_contradicts_is_refused),
                cmocka_unit_test(test_more_hardware_than_allowed_is_refused),
                cmocka_unit_test(test_choice),
                cmocka_unit_test(test_paths),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
