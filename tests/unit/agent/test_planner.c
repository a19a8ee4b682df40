/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/planner.h"
#include "base/buf.h"
#include "base/random.h"
#include "base/str.h"

static const char *const on_db[] = {"db", NULL};
static const char *const on_web[] = {"web", NULL};

/* "remove web!, apply db, apply web<db": ! may be started now, < names what it waits for. */
static const char *plan(const struct planner_app *apps, size_t n_apps, const struct planner_unit *units,
                        size_t n_units, bool going_back) {
        static char text[512];
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        struct action actions[16];
        size_t n = 0;
        assert_true(planner_max(n_apps, n_units) <= ARRAY_SIZE(actions));
        assert_int_equal(planner_plan(apps, n_apps, units, n_units, going_back, actions, &n), 0);
        for (size_t i = 0; i < n; i++)
                buf_printf(&out, "%s%s %s%s%s%s", i ? ", " : "", action_kind_name(actions[i].kind),
                           actions[i].app, actions[i].ready ? "!" : "", actions[i].waits_for ? "<" : "",
                           actions[i].waits_for ? actions[i].waits_for : "");
        (void)snprintf(text, sizeof(text), "%s", buf_str(&out));
        return text;
}

#define PLAN(apps, units, back) plan(apps, ARRAY_SIZE(apps), units, ARRAY_SIZE(units), back)
#define RUNNING(n, d, o)                                                                                     \
        { .name = n, .digest = d, .order = o, .in_hand = true, .well = true }

static void nothing_to_do(void **state) {
        const struct planner_app apps[] = {RUNNING("db", "1", 0), RUNNING("web", "1", 1)};
        const struct planner_unit units[] = {{"db", "1", 0, NULL, false}, {"web", "1", 0, on_db, false}};
        assert_string_equal(PLAN(apps, units, false), "");
        assert_string_equal(PLAN(apps, units, true), "");
}

static void installs_in_dependency_order(void **state) {
        const struct planner_unit units[] = {
                {"db", "1", 0, NULL, false}, {"web", "1", 0, on_db, false}, {"log", "1", 0, NULL, false}};
        assert_string_equal(plan(NULL, 0, units, 3, false), "apply db!, apply web<db, apply log!");
        /* db is being applied, then confirmed, then well */
        struct planner_app apps[] = {RUNNING("db", "1", 0)};
        apps[0].well = false;
        assert_string_equal(PLAN(apps, units, false), "apply web<db, apply log!");
        apps[0].well = true;
        assert_string_equal(PLAN(apps, units, false), "apply web!, apply log!");
        apps[0].busy = true;
        assert_string_equal(PLAN(apps, units, false), "apply web<db, apply log!");
}

static void changes_only_what_changed(void **state) {
        const struct planner_app apps[] = {RUNNING("db", "1", 0), RUNNING("web", "1", 1)};
        const struct planner_unit units[] = {{"db", "1", 0, NULL, false}, {"web", "2", 0, on_db, false}};
        assert_string_equal(PLAN(apps, units, false), "apply web!");
}

static void waits_for_the_new_version_of_a_dependency(void **state) {
        const struct planner_app apps[] = {RUNNING("db", "1", 0), RUNNING("web", "1", 1)};
        const struct planner_unit units[] = {{"db", "2", 0, NULL, false}, {"web", "2", 0, on_db, false}};
        assert_string_equal(PLAN(apps, units, false), "apply db!, apply web<db");
}

static void removes_dependents_first_and_before_anything_comes(void **state) {
        struct planner_app apps[] = {RUNNING("db", "1", 0), RUNNING("web", "1", 1), RUNNING("old", "1", 2)};
        const struct planner_unit units[] = {{"new", "1", 0, NULL, false}};
        assert_string_equal(PLAN(apps, units, false),
                            "remove old!, remove web<old, remove db<web, apply new");
        apps[2].busy = true;
        assert_string_equal(PLAN(apps, units, false), "remove old, remove web<old, remove db<web, apply new");
        apps[1].keep = true;
        apps[2].busy = false;
        assert_string_equal(PLAN(apps, units, false), "remove old!, forget web!, remove db<old, apply new");
}

static void another_driver_means_remove_and_apply(void **state) {
        struct planner_app apps[] = {RUNNING("web", "1", 0)};
        apps[0].driver = APP_DRIVER_PROCESS;
        apps[0].keep = true; /* of no account: the app itself stays */
        const struct planner_unit units[] = {{"web", "2", APP_DRIVER_PODMAN, NULL, false}};
        assert_string_equal(PLAN(apps, units, false), "remove web!, apply web");
        assert_string_equal(plan(NULL, 0, units, 1, false), "apply web!");
}

static void going_back_stops_in_reverse_then_restores_in_order(void **state) {
        struct planner_app apps[] = {RUNNING("db", "2", 0), RUNNING("web", "2", 1), RUNNING("same", "1", 2),
                                     RUNNING("added", "1", 3)};
        const struct planner_unit units[] = {
                {"db", "1", 0, NULL, false}, {"web", "1", 0, on_db, false}, {"same", "1", 0, NULL, false}};
        assert_string_equal(PLAN(apps, units, true),
                            "remove added!, stop web<added, stop db<web, apply db, apply web<db");
        assert_string_equal(plan(apps, 3, units, 3, true), "stop web!, stop db<web, apply db, apply web<db");
        apps[1].stopped = true;
        assert_string_equal(plan(apps, 3, units, 3, true), "stop db!, apply db, apply web<db");
        apps[0].stopped = true;
        assert_string_equal(plan(apps, 3, units, 3, true), "apply db!, apply web<db");
        /* db is back */
        apps[0] = (struct planner_app)RUNNING("db", "1", 0);
        assert_string_equal(plan(apps, 3, units, 3, true), "apply web!");
}

static void a_newer_goal_takes_over_from_going_back(void **state) {
        struct planner_app apps[] = {RUNNING("db", "2", 0), RUNNING("web", "2", 1)};
        const struct planner_unit units[] = {{"db", "2", 0, NULL, false}, {"web", "3", 0, on_db, false}};
        apps[0].stopped = apps[1].stopped = true;
        apps[0].well = apps[1].well = false;
        assert_string_equal(PLAN(apps, units, false), "apply db!, apply web<db");
}

static void excluded_apps_and_their_dependents_are_not_wanted(void **state) {
        const struct planner_app apps[] = {RUNNING("db", "1", 0), RUNNING("web", "1", 1),
                                           RUNNING("log", "1", 2)};
        const struct planner_unit units[] = {{"db", "1", 0, NULL, true},
                                             {"web", "1", 0, on_db, false},
                                             {"probe", "1", 0, on_web, false},
                                             {"log", "1", 0, NULL, false}};
        assert_string_equal(PLAN(apps, units, true), "remove web!, remove db<web");
        assert_string_equal(plan(NULL, 0, units, 4, true), "apply log!");
}

static void a_restarted_agent_takes_everything_in_hand(void **state) {
        struct planner_app apps[] = {RUNNING("db", "1", 0), RUNNING("web", "1", 1)};
        const struct planner_unit units[] = {{"db", "1", 0, NULL, false}, {"web", "1", 0, on_db, false}};
        apps[0].in_hand = apps[0].well = apps[1].in_hand = apps[1].well = false;
        assert_string_equal(PLAN(apps, units, false), "apply db!, apply web<db");
}

/* Carries plans out one ready action at a time, in random order, and holds the end against the goal. */
static void any_order_of_events_reaches_the_goal(void **state) {
        static const char *const names[] = {"a", "b", "c", "d", "e"};
        static const char *const digests[] = {"1", "2"};
        struct prng random;
        prng_seed(&random, 20261120);
        for (unsigned round = 0; round < 2000; round++) {
                struct planner_app apps[10];
                struct planner_unit units[5];
                const char *depends[5][3];
                size_t n_apps = 0, n_units = 0;
                bool back = prng_below(&random, 2);
                for (size_t i = 0; i < 5; i++) {
                        if (prng_below(&random, 3))
                                apps[n_apps++] =
                                        (struct planner_app){.name = names[i],
                                                             .digest = digests[prng_below(&random, 2)],
                                                             .order = (int64_t)i,
                                                             .in_hand = prng_below(&random, 2),
                                                             .well = false};
                        if (!prng_below(&random, 3))
                                continue;
                        memset(depends[n_units], 0, sizeof(depends[n_units]));
                        if (n_units > 0 && prng_below(&random, 2))
                                depends[n_units][0] = units[prng_below(&random, n_units)].name;
                        units[n_units] = (struct planner_unit){.name = names[i],
                                                               .digest = digests[prng_below(&random, 2)],
                                                               .depends_on = depends[n_units]};
                        n_units++;
                }
                for (size_t i = 0; i < n_apps; i++)
                        apps[i].well = apps[i].in_hand;
                for (unsigned steps = 0;; steps++) {
                        struct action actions[16];
                        size_t n, ready[16], n_ready = 0;
                        assert_true(steps < 40);
                        assert_int_equal(planner_plan(apps, n_apps, units, n_units, back, actions, &n), 0);
                        if (n == 0)
                                break;
                        for (size_t i = 0; i < n; i++)
                                if (actions[i].ready)
                                        ready[n_ready++] = i;
                        assert_true(n_ready > 0); /* never stuck */
                        const struct action *act = &actions[ready[prng_below(&random, n_ready)]];
                        size_t at = 0;
                        while (at < n_apps && !str_eq(apps[at].name, act->app))
                                at++;
                        if (act->kind == ACTION_REMOVE) {
                                apps[at] = apps[--n_apps];
                        } else if (act->kind == ACTION_STOP) {
                                apps[at].stopped = true;
                                apps[at].well = false;
                        } else {
                                const struct planner_unit *u = &units[act->unit];
                                for (size_t d = 0; u->depends_on[d]; d++) {
                                        size_t k = 0;
                                        while (k < n_apps && !str_eq(apps[k].name, u->depends_on[d]))
                                                k++;
                                        assert_true(k < n_apps && apps[k].well);
                                }
                                if (at == n_apps)
                                        n_apps++;
                                apps[at] = (struct planner_app){.name = u->name,
                                                                .digest = u->digest,
                                                                .order = (int64_t)act->unit,
                                                                .in_hand = true,
                                                                .well = true};
                        }
                }
                assert_int_equal(n_apps, n_units);
                for (size_t i = 0; i < n_units; i++) {
                        size_t at = 0;
                        while (at < n_apps && !str_eq(apps[at].name, units[i].name))
                                at++;
                        assert_true(at < n_apps);
                        assert_string_equal(apps[at].digest, units[i].digest);
                        assert_true(apps[at].well && !apps[at].stopped);
                }
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(nothing_to_do),
                cmocka_unit_test(installs_in_dependency_order),
                cmocka_unit_test(changes_only_what_changed),
                cmocka_unit_test(waits_for_the_new_version_of_a_dependency),
                cmocka_unit_test(removes_dependents_first_and_before_anything_comes),
                cmocka_unit_test(another_driver_means_remove_and_apply),
                cmocka_unit_test(going_back_stops_in_reverse_then_restores_in_order),
                cmocka_unit_test(a_newer_goal_takes_over_from_going_back),
                cmocka_unit_test(excluded_apps_and_their_dependents_are_not_wanted),
                cmocka_unit_test(a_restarted_agent_takes_everything_in_hand),
                cmocka_unit_test(any_order_of_events_reaches_the_goal),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
