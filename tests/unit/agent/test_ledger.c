/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "fixture.h"

static const char *ledger_path(const struct fixture *f) {
        static char path[128];
        (void)snprintf(path, sizeof(path), "%s/ledger.json", f->state);
        return path;
}

/* What a crash at this point leaves: everything that was not saved is gone. */
static void crash(struct fixture *f) {
        ledger_free(f->ledger);
        f->ledger = NULL;
        assert_int_equal(ledger_open(ledger_path(f), &f->ledger, NULL), 0);
        f->host.ledger = f->ledger;
}

static void save(struct fixture *f) {
        assert_int_equal(ledger_save(f->ledger, NULL), 0);
}

static struct desired *version(struct fixture *f, const char *content) {
        _cleanup_(x_freep) char *apps = str_format("[{'name':'web','driver':'process','command':['/bin/"
                                                   "true'],'stopTimeoutMs':1234,'files':[{'path':'/etc/%s',"
                                                   "'sha256':'%s','size':%zu,'mode':420}]}]",
                                                   content, fixture_object(f, content), strlen(content));
        return fixture_desired(f, apps);
}

static void an_empty_one_is_empty(void **state) {
        struct fixture *f = *state;
        assert_null(ledger_stable(f->ledger));
        assert_null(ledger_target(f->ledger));
        assert_null(ledger_failure(f->ledger));
        assert_int_equal(ledger_n_apps(f->ledger), 0);
        save(f);
        assert_false(fixture_exists(ledger_path(f))); /* nothing changed: nothing written */
}

static void the_way_of_a_target(void **state) {
        struct fixture *f = *state;
        _cleanup_(desired_freep) struct desired *one = version(f, "one"), *two = version(f, "two");

        assert_int_equal(ledger_begin(f->ledger, one->source, 7), 0);
        save(f);
        crash(f);
        assert_string_equal(ledger_target(f->ledger)->id, one->source->id);
        assert_int_equal(ledger_target_assignment(f->ledger), 7);
        assert_int_equal(ledger_floor(f->ledger), 7);

        ledger_confirm(f->ledger);
        save(f);
        crash(f);
        assert_null(ledger_target(f->ledger));
        assert_string_equal(ledger_stable(f->ledger)->revision, one->source->revision);

        assert_int_equal(ledger_begin(f->ledger, two->source, 8), 0);
        char *failed[] = {(char *)(uintptr_t) "web", NULL};
        assert_int_equal(ledger_fail(f->ledger, "app web: no", failed), 0);
        save(f);
        crash(f);
        assert_null(ledger_target(f->ledger));
        const struct ledger_failure *failure = ledger_failure(f->ledger);
        assert_string_equal(failure->source, two->source->id);
        assert_int_equal(failure->assignment, 8);
        assert_string_equal(failure->reason, "app web: no");
        assert_true(strv_has(failure->apps, "web"));
        assert_int_equal(ledger_fail_app(f->ledger, "db"), 0);
        assert_true(strv_has(ledger_failure(f->ledger)->apps, "db"));
        assert_string_equal(ledger_stable(f->ledger)->id, one->source->id);
        ledger_prune_sources(f->ledger);
        assert_non_null(ledger_source(f->ledger, two->source->id)); /* what failed is still known */

        /* tried again under a newer assignment */
        assert_int_equal(ledger_begin(f->ledger, two->source, 9), 0);
        assert_null(ledger_failure(f->ledger));
        ledger_confirm(f->ledger);
        ledger_prune_sources(f->ledger);
        assert_null(ledger_source(f->ledger, one->source->id));
        assert_int_equal(ledger_floor(f->ledger), 9);
}

static void attempts_are_counted_over_restarts(void **state) {
        struct fixture *f = *state;
        _cleanup_(desired_freep) struct desired *one = version(f, "one");
        assert_int_equal(ledger_begin(f->ledger, one->source, 7), 0);
        for (int64_t i = 1; i <= 3; i++) {
                ledger_count_attempt(f->ledger);
                save(f);
                crash(f);
                assert_int_equal(ledger_attempts(f->ledger), i);
        }
        ledger_confirm(f->ledger);
        assert_int_equal(ledger_attempts(f->ledger), 0);
}

static struct ledger_app *web(struct fixture *f) {
        return ledger_app(f->ledger, "web");
}

static bool lists(const struct ledger_app *a, const char *path) {
        for (size_t i = 0; i < a->n_files; i++)
                if (str_eq(a->files[i].path, path))
                        return true;
        return false;
}

/* A crash before the act, between act and done, and after: nothing that exists is ever off the record. */
static void no_crash_point_loses_a_file(void **state) {
        struct fixture *f = *state;
        _cleanup_(desired_freep) struct desired *one = version(f, "one"), *two = version(f, "two");

        assert_int_equal(ledger_intend_apply(f->ledger, one->source, &one->units[0], 3), 0);
        crash(f); /* before the intent was saved: nothing was done either */
        assert_null(web(f));

        assert_int_equal(ledger_intend_apply(f->ledger, one->source, &one->units[0], 3), 0);
        save(f);
        crash(f);
        assert_int_equal(web(f)->step, LEDGER_APPLYING);
        assert_true(lists(web(f), "/etc/one"));
        assert_string_equal(web(f)->digest, one->units[0].digest);
        assert_int_equal(web(f)->order, 3);
        assert_int_equal(web(f)->driver, APP_DRIVER_PROCESS);
        assert_int_equal(web(f)->stop_timeout_ms, 1234);

        assert_int_equal(ledger_done_apply(f->ledger, &one->units[0]), 0);
        crash(f); /* the done was lost: still an intent */
        assert_int_equal(web(f)->step, LEDGER_APPLYING);
        assert_int_equal(ledger_done_apply(f->ledger, &one->units[0]), 0);
        save(f);
        crash(f);
        assert_int_equal(web(f)->step, LEDGER_APPLIED);

        /* the next version: while it is put in place both sets of files may exist */
        assert_int_equal(ledger_intend_apply(f->ledger, two->source, &two->units[0], 0), 0);
        save(f);
        crash(f);
        assert_true(lists(web(f), "/etc/one") && lists(web(f), "/etc/two"));
        /* and back again, from halfway */
        assert_int_equal(ledger_intend_apply(f->ledger, one->source, &one->units[0], 0), 0);
        save(f);
        crash(f);
        assert_true(lists(web(f), "/etc/one") && lists(web(f), "/etc/two"));
        assert_int_equal(ledger_done_apply(f->ledger, &one->units[0]), 0);
        assert_true(lists(web(f), "/etc/one") && !lists(web(f), "/etc/two"));
        save(f);

        assert_int_equal(ledger_intend_remove(f->ledger, "web"), 0);
        save(f);
        crash(f);
        assert_int_equal(web(f)->step, LEDGER_REMOVING);
        assert_true(lists(web(f), "/etc/one"));
        ledger_done_remove(f->ledger, "web");
        crash(f);
        assert_non_null(web(f)); /* removed again, which does no harm */
        ledger_done_remove(f->ledger, "web");
        save(f);
        crash(f);
        assert_null(web(f));
        assert_int_equal(ledger_intend_remove(f->ledger, "web"), -ENOENT);
}

static void paths_have_owners(void **state) {
        struct fixture *f = *state;
        _cleanup_(desired_freep) struct desired *one = version(f, "one");
        assert_int_equal(ledger_intend_apply(f->ledger, one->source, &one->units[0], 0), 0);
        assert_true(ledger_owns_path(f->ledger, "/etc/one", "other"));
        assert_false(ledger_owns_path(f->ledger, "/etc/one", "web"));
        assert_false(ledger_owns_path(f->ledger, "/etc/two", "other"));
}

static void damage_is_said_and_nothing_is_forgotten(void **state) {
        struct fixture *f = *state;
        _cleanup_(desired_freep) struct desired *one = version(f, "one");
        _cleanup_(x_freep) char *good = NULL;
        size_t len;
        assert_int_equal(ledger_begin(f->ledger, one->source, 7), 0);
        assert_int_equal(ledger_intend_apply(f->ledger, one->source, &one->units[0], 0), 0);
        save(f);
        assert_int_equal(file_read(ledger_path(f), 1 << 20, &good, &len, NULL), 0);
        struct ledger *l;
        /* cut at every place, and every byte spoilt: an error or a ledger, never a crash */
        for (size_t cut = 0; cut < len; cut += 7) {
                struct err *err = NULL;
                assert_int_equal(file_write_atomic(ledger_path(f), good, cut, 0600, NULL), 0);
                assert_int_equal(ledger_open(ledger_path(f), &l, &err), -EINVAL);
                assert_non_null(strstr(err_message(err), "ledger.json"));
                err_free(err);
        }
        for (size_t at = 0; at < len; at += 5) {
                char kept = good[at];
                good[at] = (char)(kept ^ 1);
                assert_int_equal(file_write_atomic(ledger_path(f), good, len, 0600, NULL), 0);
                if (ledger_open(ledger_path(f), &l, NULL) == 0)
                        ledger_free(l);
                good[at] = kept;
        }
        _cleanup_(x_freep) char *newer = str_dup(good);
        char *at = strstr(newer, "\"format\":1");
        at[strlen("\"format\":")] = '2';
        struct err *err = NULL;
        assert_int_equal(file_write_atomic(ledger_path(f), newer, len, 0600, NULL), 0);
        assert_int_equal(ledger_open(ledger_path(f), &l, &err), -EINVAL);
        assert_non_null(strstr(err_message(err), "newer agent"));
        err_free(err);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
        const struct CMUnitTest tests[] = {
                T(an_empty_one_is_empty),
                T(the_way_of_a_target),
                T(attempts_are_counted_over_restarts),
                T(no_crash_point_loses_a_file),
                T(paths_have_owners),
                T(damage_is_said_and_nothing_is_forgotten),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
