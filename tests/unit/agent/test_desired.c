/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "crypto/digest.h"
#include "fixture.h"

static const char *app_with(const char *more) {
        static char text[2][800];
        static unsigned at;
        char *out = text[at++ % 2];
        (void)snprintf(out, sizeof(text[0]), "[{'name':'web','driver':'process','command':['/bin/true']%s}]",
                       more);
        return out;
}

static void digest_of(struct fixture *f, const char *apps, char out[65]) {
        _cleanup_(desired_freep) struct desired *d = fixture_desired(f, apps);
        memcpy(out, d->units[0].digest, 65);
}

static void every_member_counts_in_the_digest(void **state) {
        struct fixture *f = *state;
        char plain[65], other[65];
        static const char *const members[] = {
                ",'environment':{'A':'b'}",
                ",'workingDirectory':'/srv'",
                ",'user':'till'",
                ",'memoryMaxBytes':1",
                ",'cpuMaxMillis':1",
                ",'pidsMax':1",
                ",'restart':'Never'",
                ",'restartBackoffMs':51",
                ",'restartBackoffCapMs':201",
                ",'stopTimeoutMs':5001",
                ",'readyTimeoutMs':30001",
                ",'keepOnPrune':true",
                ",'healthChecks':[{'name':'a','type':'tcp','host':'127.0.0.1','port':'1'}]",
                ",'healthChecks':[{'name':'a','type':'tcp','host':'127.0.0.1','port':'2'}]",
                ",'healthChecks':[{'name':'a','type':'tcp','host':'127.0.0.1','port':'1','intervalMs':51}]",
                ",'healthChecks':[{'name':'a','type':'exec','command':['x']}]",
                ",'healthChecks':[{'name':'a','type':'exec','command':['y']}]",
        };
        char seen[ARRAY_SIZE(members)][65];
        digest_of(f, app_with(""), plain);
        digest_of(f, app_with(""), other);
        assert_string_equal(plain, other);
        for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
                digest_of(f, app_with(members[i]), seen[i]);
                if (str_eq(seen[i], plain))
                        fail_msg("%s does not change the digest", members[i]);
                for (size_t k = 0; k < i; k++)
                        assert_string_not_equal(seen[i], seen[k]);
        }
}

static const char *with_file(struct fixture *f, const char *content, bool expand) {
        static char more[300];
        (void)snprintf(more, sizeof(more),
                       ",'files':[{'path':'/etc/a','sha256':'%s','size':%zu,'mode':420,'expand':%s}]",
                       fixture_object(f, content), strlen(content), expand ? "true" : "false");
        return app_with(more);
}

static void a_files_final_content_counts(void **state) {
        struct fixture *f = *state;
        char here[65], there[65], plain[65];
        const char *apps = with_file(f, "site ${labels.site}", true);
        digest_of(f, apps, here);
        _cleanup_(source_freep) struct source *s = fixture_source(f, apps), *moved = NULL;
        _cleanup_json_ json_t *labels = json_pack("{s:s}", "site", "rostock"), *none = json_object();
        assert_int_equal(source_make(s->revision, labels, none, &moved, NULL), 0);
        assert_string_not_equal(s->id, moved->id);
        _cleanup_(desired_freep) struct desired *d = NULL;
        assert_int_equal(desired_make(f->objects, moved, "shop-1", &d, NULL), 0);
        memcpy(there, d->units[0].digest, 65);
        assert_string_not_equal(here, there);
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        assert_int_equal(desired_read_file(d, f->objects, &d->units[0], 0, &text, NULL), 0);
        assert_string_equal(buf_str(&text), "site rostock");
        assert_int_equal(d->units[0].files[0].size, strlen("site rostock"));

        /* without references the same file is the same everywhere, expanded or not */
        digest_of(f, with_file(f, "plain", true), here);
        digest_of(f, with_file(f, "plain", false), plain);
        assert_string_equal(here, plain);
}

static void what_is_missing_is_named(void **state) {
        struct fixture *f = *state;
        _cleanup_(source_freep) struct source *s = fixture_source(
                f, app_with(",'files':[{'path':'/etc/a','sha256':'"
                            "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','size':1,'"
                            "mode':420},"
                            "{'path':'/etc/"
                            "b','sha256':'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc',"
                            "'size':1,'mode':420}]"));
        _cleanup_(strv_freep) char **missing = NULL, **all = NULL, **first = NULL;
        assert_int_equal(desired_missing(f->objects, s, &missing, NULL), 0);
        assert_int_equal(strv_len(missing), 1);
        assert_int_equal(missing[0][0], 'c');
        assert_int_equal(desired_objects(f->objects, s, &all, NULL), 0);
        assert_int_equal(strv_len(all), 2);
        struct desired *d = NULL;
        struct err *err = NULL;
        assert_int_equal(desired_make(f->objects, s, "shop-1", &d, &err), -ENOENT);
        assert_non_null(strstr(err_message(err), "/etc/a"));
        err_free(err);

        _cleanup_json_ json_t *none = json_object();
        _cleanup_(source_freep) struct source *unknown = NULL;
        assert_int_equal(source_make("dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd", none,
                                     none, &unknown, NULL),
                         0);
        assert_int_equal(desired_missing(f->objects, unknown, &first, NULL), 0);
        assert_int_equal(strv_len(first), 1);
        assert_string_equal(first[0], unknown->revision);
        struct source *bad = NULL;
        assert_int_equal(source_make("../../etc/passwd", none, none, &bad, NULL), -EINVAL);
}

static void damage_in_the_store_is_noticed(void **state) {
        struct fixture *f = *state;
        _cleanup_(desired_freep) struct desired *d = fixture_desired(f, with_file(f, "right content", false));
        char path[200];
        const char *digest = d->units[0].files[0].sha256;
        (void)snprintf(path, sizeof(path), "%s/objects/sha256/%.2s/%s", f->state, digest, digest + 2);
        assert_int_equal(file_write_atomic(path, "wrong content", 13, 0644, NULL), 0);
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        struct err *err = NULL;
        assert_int_equal(desired_read_file(d, f->objects, &d->units[0], 0, &text, &err), -EBADMSG);
        err_free(err);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
        const struct CMUnitTest tests[] = {
                T(every_member_counts_in_the_digest),
                T(a_files_final_content_counts),
                T(what_is_missing_is_named),
                T(damage_in_the_store_is_noticed),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
