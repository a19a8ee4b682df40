/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/reconcile.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/planner.h"
#include "base/log.h"
#include "base/str.h"

/* How long to wait after something that cannot be retried at once (disk full, a removal that failed). */
#define RECONCILE_PAUSE_MS 5000
/* A target under which the agent itself was stopped this often is not trusted any more. */
#define RECONCILE_ATTEMPTS_MAX 3

struct reconcile {
        struct reconcile_host host;
        struct app_host app_host;
        int64_t assignment;    /* version */
        char target[65];       /* revision the assignment names, "" for none */
        struct source *wanted; /* being fetched for it */
        struct fetch *fetch;
        char *fetch_message;
        struct desired *goal;
        bool going_back;
        char *goal_problem; /* why the goal cannot be worked towards */
        struct table *apps; /* name -> struct app */
        struct loop_timer *plan;
        bool paused;
        bool converged, at_goal;
        int64_t drift_of_removed;
        bool stopping;
        void (*stopped)(void *arg, const char *problem);
        void *stopped_arg;
};

static const char *const state_names[] = {
        [NODE_DOWNLOADING] = "Downloading", [NODE_STAGED] = "Staged",   [NODE_APPLYING] = "Applying",
        [NODE_CONFIRMING] = "Confirming",   [NODE_HEALTHY] = "Healthy", [NODE_FAILED] = "Failed",
        [NODE_ROLLED_BACK] = "RolledBack",
};

const char *node_state_name(enum node_state s) {
        return (unsigned)s < ARRAY_SIZE(state_names) ? state_names[s] : "Failed";
}

static void replan(void *arg);

static void plan_soon(struct reconcile *r) {
        if (!r->paused)
                loop_timer_set(r->plan, 0);
}

static void plan_after_pause(struct reconcile *r) {
        r->paused = true;
        loop_timer_set(r->plan, RECONCILE_PAUSE_MS);
}

static void tell(struct reconcile *r) {
        r->host.changed(r->host.arg);
}

static bool save(struct reconcile *r) {
        _cleanup_(err_freep) struct err *err = NULL;
        if (ledger_save(r->host.ledger, &err) == 0)
                return true;
        log_error("cannot write the ledger; nothing is changed until it can be", "error", err_message(err),
                  NULL);
        (void)str_replace(&r->goal_problem, err_message(err));
        plan_after_pause(r);
        tell(r);
        return false;
}

/* ---- apps */

static void app_changed(void *arg, struct app *a) {
        struct reconcile *r = arg;
        (void)a;
        plan_soon(r);
        tell(r);
}

static void app_finished(void *arg, struct app *a, enum app_task task, int error) {
        struct reconcile *r = arg;
        if (task == APP_TASK_APPLY && error == 0 && app_unit(a)) {
                (void)ledger_done_apply(r->host.ledger, app_unit(a));
        } else if (task == APP_TASK_REMOVE && error == 0) {
                ledger_done_remove(r->host.ledger, app_name(a));
        } else if (error < 0) {
                log_warning("an action on an app failed", "app", app_name(a), "error", app_message(a), NULL);
                if (task != APP_TASK_APPLY)
                        plan_after_pause(r);
        }
        plan_soon(r);
}

static void destroy_app(void *value) {
        app_free(value);
}

static struct app *find_app(const struct reconcile *r, const char *name) {
        return table_get(r->apps, name);
}

/* Is this app object of the version that the ledger has on record? */
static bool is_in_hand(const struct app *a, const struct ledger_app *record) {
        return a && app_unit(a) && app_state(a) != APP_PENDING && str_eq(app_unit(a)->digest, record->digest);
}

/* Objects of apps that are off the ledger are done with. */
static void drop_removed(struct reconcile *r) {
        const char *name;
        void *value;
        for (size_t i = 0; table_next(r->apps, &i, &name, &value);)
                if (!ledger_app(r->host.ledger, name) && !app_is_busy(value)) {
                        r->drift_of_removed += app_drift_corrected(value);
                        table_remove(r->apps, name);
                }
}

/* ---- the goal */

static bool is_excluded(const struct reconcile *r, const char *name) {
        const struct ledger_failure *f = ledger_failure(r->host.ledger);
        return r->going_back && f && !ledger_stable(r->host.ledger) && f->apps && strv_has(f->apps, name);
}

static bool is_forward(const struct reconcile *r) {
        return ledger_target(r->host.ledger) != NULL;
}

/* Sets the goal by what the ledger says. */
static void choose_goal(struct reconcile *r) {
        const struct ledger *l = r->host.ledger;
        const struct ledger_failure *f = ledger_failure(l);
        const struct source *s = ledger_target(l);
        _cleanup_(err_freep) struct err *err = NULL;
        struct desired *goal = NULL;

        r->going_back = !s && f;
        if (!s)
                s = ledger_stable(l);
        if (!s && f)
                s = ledger_source(l, f->source);
        (void)str_replace(&r->goal_problem, NULL);
        r->at_goal = false;
        if (s && r->goal && str_eq(r->goal->source->id, s->id))
                return;
        if (s && desired_make(r->host.driver->objects, s, r->host.driver->node, &goal, &err) < 0) {
                log_error("the goal cannot be read from the state folder", "error", err_message(err), NULL);
                (void)str_replace(&r->goal_problem, err_message(err));
        }
        desired_free(r->goal);
        r->goal = goal;
}

/* ---- going back */

static void report_failure(const struct reconcile *r, const char *reason) {
        bool back = ledger_stable(r->host.ledger);
        log_warning(back ? "the target did not become healthy: going back"
                         : "the target did not become healthy",
                    "reason", reason, NULL);
}

static void fail_target(struct reconcile *r, const char *reason, char *const *apps) {
        if (ledger_fail(r->host.ledger, reason, apps) < 0) {
                plan_after_pause(r);
                return;
        }
        report_failure(r, reason);
        choose_goal(r);
        (void)save(r);
}

/* The apps of the goal that have failed; the first one's words in reason. */
static char **failed_apps(const struct reconcile *r, char *reason, size_t size) {
        char **names = NULL;
        for (size_t i = 0; i < r->goal->n_units; i++) {
                const struct unit *u = &r->goal->units[i];
                const struct app *a = find_app(r, u->spec->name);
                if (!a || app_state(a) != APP_FAILED || !app_unit(a) ||
                    !str_eq(app_unit(a)->digest, u->digest) || is_excluded(r, u->spec->name))
                        continue;
                if (!names)
                        (void)snprintf(reason, size, "app %s: %s", u->spec->name, app_message(a));
                if (strv_push(&names, u->spec->name) < 0)
                        break;
        }
        return names;
}

/* True when the goal changed. */
static bool handle_failures(struct reconcile *r) {
        char reason[APP_MESSAGE_MAX + 80];
        if (is_forward(r)) {
                _cleanup_(strv_freep) char **names = failed_apps(r, reason, sizeof(reason));
                if (!names)
                        return false;
                fail_target(r, reason, names);
                return true;
        }
        if (r->going_back && !ledger_stable(r->host.ledger)) {
                /* Nothing to go back to: what fails later than the first is taken away as well. */
                _cleanup_(strv_freep) char **names = failed_apps(r, reason, sizeof(reason));
                for (size_t i = 0; names && names[i]; i++)
                        (void)ledger_fail_app(r->host.ledger, names[i]);
                return names;
        }
        return false;
}

/* ---- planning and acting */

struct view {
        struct planner_app *apps;
        size_t n_apps;
        struct planner_unit *units;
        size_t n_units;
        struct action *actions;
        size_t n_actions;
};

static void view_done(struct view *v) {
        free(v->apps);
        free(v->units);
        free(v->actions);
}

static int look(const struct reconcile *r, struct view *v) {
        const struct ledger *l = r->host.ledger;
        struct ledger_app *record;

        v->n_units = r->goal->n_units;
        v->apps = calloc(ledger_n_apps(l) + 1, sizeof(*v->apps));
        v->units = calloc(v->n_units + 1, sizeof(*v->units));
        v->actions = calloc(planner_max(ledger_n_apps(l), v->n_units) + 1, sizeof(*v->actions));
        if (!v->apps || !v->units || !v->actions)
                return -ENOMEM;
        for (size_t i = 0; ledger_next_app(l, &i, &record);) {
                const struct app *a = find_app(r, record->name);
                bool in_hand = is_in_hand(a, record);
                v->apps[v->n_apps++] = (struct planner_app){
                        .name = record->name,
                        .digest = record->digest,
                        .driver = record->driver,
                        .order = record->order,
                        .keep = record->keep,
                        .in_hand = in_hand,
                        .stopped = a && app_is_stopped(a),
                        .busy = a && app_is_busy(a),
                        .well = in_hand && app_state_is_well(app_state(a)),
                };
        }
        for (size_t i = 0; i < v->n_units; i++) {
                const struct unit *u = &r->goal->units[i];
                v->units[i] = (struct planner_unit){.name = u->spec->name,
                                                    .digest = u->digest,
                                                    .driver = u->spec->driver,
                                                    .depends_on = (const char *const *)u->spec->depends_on,
                                                    .excluded = is_excluded(r, u->spec->name)};
        }
        return planner_plan(v->apps, v->n_apps, v->units, v->n_units, r->going_back, v->actions,
                            &v->n_actions);
}

static int intend(struct reconcile *r, const struct action *action) {
        struct ledger *l = r->host.ledger;
        const struct ledger_app *record = ledger_app(l, action->app);
        if (action->kind == ACTION_REMOVE)
                return ledger_intend_remove(l, action->app);
        if (action->kind != ACTION_APPLY)
                return 0;
        const struct unit *u = &r->goal->units[action->unit];
        /* Applied in this very version: doing it again changes nothing that is not on record. */
        if (record && record->step == LEDGER_APPLIED && str_eq(record->digest, u->digest) &&
            str_eq(record->source, r->goal->source->id))
                return 0;
        return ledger_intend_apply(l, r->goal->source, u, (int64_t)action->unit);
}

static int replace_app(struct reconcile *r, const char *name, struct app *fresh) {
        const struct app *before = find_app(r, name);
        if (before)
                app_take_counters(fresh, before);
        int rc = table_set(r->apps, name, fresh); /* frees the one before */
        if (rc < 0)
                app_free(fresh);
        return rc;
}

static int act(struct reconcile *r, const struct action *action, struct err **err) {
        struct app *a = find_app(r, action->app);
        int rc;

        log_info("acting on an app", "app", action->app, "action", action_kind_name(action->kind), NULL);
        if (action->kind == ACTION_APPLY) {
                const struct ledger_failure *f = ledger_failure(r->host.ledger);
                const struct unit *u = &r->goal->units[action->unit];
                struct app *fresh;
                if ((rc = app_new(&r->app_host, r->goal, u, &fresh, err)) < 0)
                        return rc;
                if ((rc = replace_app(r, action->app, fresh)) < 0)
                        return err_set_errno(err, -rc, "app %s", action->app);
                bool back = r->going_back && ledger_stable(r->host.ledger);
                app_apply(fresh, back, back && f ? f->reason : NULL);
                return 0;
        }
        if (action->kind == ACTION_FORGET) {
                ledger_done_remove(r->host.ledger, action->app);
                plan_soon(r);
                return 0;
        }
        if (!a) {
                rc = app_new_from_record(&r->app_host, ledger_app(r->host.ledger, action->app), &a, err);
                if (rc < 0)
                        return rc;
                if ((rc = replace_app(r, action->app, a)) < 0)
                        return err_set_errno(err, -rc, "app %s", action->app);
        }
        if (action->kind == ACTION_STOP)
                app_stop(a);
        else
                app_remove(a);
        return 0;
}

static void carry_out(struct reconcile *r, const struct view *v) {
        _cleanup_(err_freep) struct err *err = NULL;
        bool any = false;

        for (size_t i = 0; i < v->n_actions; i++)
                if (v->actions[i].ready) {
                        any = true;
                        if (intend(r, &v->actions[i]) < 0) {
                                plan_after_pause(r);
                                return;
                        }
                }
        /* Every intent is on disk before the first act. */
        if (!any || !save(r))
                return;
        for (size_t i = 0; i < v->n_actions; i++)
                if (v->actions[i].ready && act(r, &v->actions[i], &err) < 0) {
                        log_error("cannot act on an app", "app", v->actions[i].app, "error", err_message(err),
                                  NULL);
                        err = err_free(err);
                        plan_after_pause(r);
                }
}

static bool all_well(const struct reconcile *r) {
        for (size_t i = 0; i < r->goal->n_units; i++) {
                const struct unit *u = &r->goal->units[i];
                const struct app *a = find_app(r, u->spec->name);
                if (is_excluded(r, u->spec->name))
                        continue;
                if (!a || !app_unit(a) || !str_eq(app_unit(a)->digest, u->digest) ||
                    !app_state_is_well(app_state(a)))
                        return false;
        }
        return true;
}

static void keep_objects(void *arg, const struct source *s) {
        void **context = arg;
        struct reconcile *r = context[0];
        struct table *keep = context[1];
        _cleanup_(strv_freep) char **digests = NULL;
        if (desired_objects(r->host.driver->objects, s, &digests, NULL) < 0) {
                context[1] = NULL; /* not known: keep everything this time */
                return;
        }
        for (size_t i = 0; keep && digests && digests[i]; i++)
                if (table_set(keep, digests[i], r) < 0)
                        context[1] = NULL;
}

static bool is_kept(void *arg, const char *sha256) {
        return table_get(arg, sha256);
}

static void sweep_objects(struct reconcile *r) {
        _cleanup_(table_freep) struct table *keep = table_new(NULL);
        void *context[2] = {r, keep};
        if (!keep)
                return;
        ledger_sources(r->host.ledger, keep_objects, context);
        if (context[1] && r->wanted)
                keep_objects(context, r->wanted);
        if (context[1])
                (void)object_store_sweep(r->host.driver->objects, is_kept, keep, NULL, NULL);
}

/* Nothing is left to do. */
static void arrive(struct reconcile *r) {
        bool forward = is_forward(r);
        if (r->at_goal && !forward)
                return;
        r->at_goal = r->converged = true;
        if (forward) {
                ledger_confirm(r->host.ledger);
                log_info("revision is healthy", "goal", r->goal->source->revision, NULL);
        }
        for (size_t i = 0; i < r->goal->n_units; i++) {
                struct app *a = find_app(r, r->goal->units[i].spec->name);
                /* What was rolled back earlier and is part of a healthy revision now is simply healthy. */
                if (a && !r->going_back)
                        app_settle_as(a, false, NULL);
        }
        ledger_prune_sources(r->host.ledger);
        if (save(r) && !r->fetch)
                sweep_objects(r);
        tell(r);
}

static void replan_stopping(struct reconcile *r);

static void replan(void *arg) {
        struct reconcile *r = arg;
        _cleanup_(view_done) struct view v = {0};

        r->paused = false;
        drop_removed(r);
        if (r->stopping) {
                replan_stopping(r);
                return;
        }
        if (!r->goal)
                return;
        for (unsigned i = 0; i < 2 && handle_failures(r); i++)
                if (!r->goal)
                        return;
        if (look(r, &v) < 0) {
                plan_after_pause(r);
                return;
        }
        carry_out(r, &v);
        if (v.n_actions == 0 && all_well(r))
                arrive(r);
        tell(r);
}

/* ---- assignments */

static void begin(struct reconcile *r, const struct source *s) {
        if (ledger_begin(r->host.ledger, s, r->assignment) < 0) {
                plan_after_pause(r);
                return;
        }
        choose_goal(r);
        if (!r->goal) {
                /* It can be read but not be made: its references cannot be filled here. */
                _cleanup_(x_freep) char *reason =
                        str_dup(r->goal_problem ? r->goal_problem : "out of memory");
                fail_target(r, reason ? reason : "out of memory", NULL);
        }
        plan_soon(r);
        tell(r);
}

static void fetch_ended(struct reconcile *r) {
        r->fetch = fetch_free(r->fetch);
        (void)str_replace(&r->fetch_message, NULL);
}

static void fetch_ready(void *arg) {
        struct reconcile *r = arg;
        _cleanup_(source_freep) struct source *s = TAKE_PTR(r->wanted);
        fetch_ended(r);
        if (s)
                begin(r, s);
}

static void fetch_delayed(void *arg, const char *message) {
        struct reconcile *r = arg;
        (void)str_replace(&r->fetch_message, message);
        log_debug("fetch is delayed", "error", message, NULL);
        tell(r);
}

static void fetch_failed(void *arg, const char *message) {
        struct reconcile *r = arg;
        _cleanup_(source_freep) struct source *s = TAKE_PTR(r->wanted);
        _cleanup_(x_freep) char *reason = str_dup(message);
        fetch_ended(r);
        if (!s || ledger_begin(r->host.ledger, s, r->assignment) < 0)
                return;
        fail_target(r, reason ? reason : "out of memory", NULL);
        plan_soon(r);
        tell(r);
}

static void start_fetch(struct reconcile *r, struct source *s) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct fetch_listener listener = {
                .ready = fetch_ready, .delayed = fetch_delayed, .failed = fetch_failed, .arg = r};
        fetch_ended(r);
        source_free(r->wanted);
        r->wanted = s;
        if (fetch_new(&r->host.fetch, s, &listener, &r->fetch, &err) < 0)
                log_error("cannot fetch", "error", err_message(err), NULL);
}

/* Where the ledger knows this source already, nothing is to be fetched. */
static bool is_known(const struct reconcile *r, const struct source *s, int64_t version, bool starting) {
        const struct ledger *l = r->host.ledger;
        const struct source *target = ledger_target(l), *stable = ledger_stable(l);
        const struct ledger_failure *f = ledger_failure(l);

        if (f && str_eq(f->source, s->id) && f->assignment == version)
                return true; /* tried, and not again */
        if (target)
                return str_eq(target->id, s->id) && (starting || r->goal);
        return !f && stable && str_eq(stable->id, s->id) && (starting || r->goal);
}

static void take(struct reconcile *r, const struct assignment *a, bool starting) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct source *s = NULL;

        r->assignment = a->version;
        (void)snprintf(r->target, sizeof(r->target), "%s", a->revision ? a->revision : "");
        log_context_set("revision", a->revision);
        log_context_set("rollout", a->rollout);
        if (!a->revision) {
                /* No fleet selects the node: it keeps what it runs. */
                fetch_ended(r);
                r->wanted = source_free(r->wanted);
                return;
        }
        if (source_make(a->revision, a->labels, a->variables, &s, &err) < 0) {
                log_error("assignment cannot be used", "error", err_message(err), NULL);
                return;
        }
        if (is_known(r, s, a->version, starting)) {
                fetch_ended(r);
                r->wanted = source_free(r->wanted);
                source_free(s);
                return;
        }
        start_fetch(r, s);
}

void reconcile_assign(struct reconcile *r, const struct assignment *a) {
        take(r, a, false);
        plan_soon(r);
        tell(r);
}

void reconcile_start(struct reconcile *r, const struct assignment *held) {
        struct ledger *l = r->host.ledger;
        /* First the fetch: with everything local it is through before the first plan, so that a node does
         * not go by the old revision to the new one. */
        if (held)
                take(r, held, true);
        if (ledger_target(l)) {
                ledger_count_attempt(l);
                if (ledger_attempts(l) > RECONCILE_ATTEMPTS_MAX && ledger_stable(l)) {
                        char reason[128];
                        (void)snprintf(reason, sizeof(reason),
                                       "the agent was stopped %d times while it applied it",
                                       RECONCILE_ATTEMPTS_MAX);
                        (void)ledger_fail(l, reason, NULL);
                }
                (void)save(r);
        }
        choose_goal(r);
        if (!r->goal && !r->fetch) {
                /* What the ledger wants is damaged or gone from the object store: have it again. */
                const struct source *lost = ledger_target(l) ? ledger_target(l) : ledger_stable(l);
                struct source *s = lost ? source_copy(lost) : NULL;
                if (s)
                        start_fetch(r, s);
        }
        plan_soon(r);
}

void reconcile_online(struct reconcile *r) {
        if (r->fetch)
                fetch_hurry(r->fetch);
}

/* ---- stopping everything */

static void replan_stopping(struct reconcile *r) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct ledger_app *record;
        char problem[APP_MESSAGE_MAX + 80] = "";
        bool busy = false;

        for (size_t i = 0; ledger_next_app(r->host.ledger, &i, &record);) {
                struct app *a = find_app(r, record->name);
                if (!a) {
                        if (app_new_from_record(&r->app_host, record, &a, &err) < 0 ||
                            replace_app(r, record->name, a) < 0) {
                                (void)snprintf(problem, sizeof(problem), "app %s: %s", record->name,
                                               err_message(err));
                                continue;
                        }
                }
                if (app_is_busy(a)) {
                        busy = true;
                } else if (app_state(a) == APP_FAILED && !app_unit(a)) {
                        (void)snprintf(problem, sizeof(problem), "app %s: %s", record->name, app_message(a));
                } else if (!app_is_stopped(a)) {
                        app_stop(a);
                        busy = busy || app_is_busy(a);
                        plan_soon(r);
                        busy = true;
                }
        }
        if (!busy && r->stopped) {
                void (*stopped)(void *arg, const char *problem) = TAKE_PTR(r->stopped);
                stopped(r->stopped_arg, *problem ? problem : NULL);
        }
}

void reconcile_stop_all(struct reconcile *r, void (*done)(void *arg, const char *problem), void *arg) {
        r->stopping = true;
        r->stopped = done;
        r->stopped_arg = arg;
        r->paused = false;
        plan_soon(r);
}

/* ---- making and freeing */

int reconcile_new(const struct reconcile_host *host, struct reconcile **ret, struct err **err) {
        struct reconcile *r = calloc(1, sizeof(*r));
        if (!r)
                return err_set_errno(err, ENOMEM, "reconcile");
        r->host = *host;
        r->app_host = (struct app_host){.driver = host->driver,
                                        .health = host->health,
                                        .check_interval_ms = host->check_interval_ms,
                                        .finished = app_finished,
                                        .changed = app_changed,
                                        .arg = r};
        r->apps = table_new(destroy_app);
        r->plan = loop_timer_new(host->driver->loop, replan, r);
        if (!r->apps || !r->plan) {
                reconcile_free(r);
                return err_set_errno(err, ENOMEM, "reconcile");
        }
        *ret = r;
        return 0;
}

struct reconcile *reconcile_free(struct reconcile *r) {
        if (!r)
                return NULL;
        fetch_free(r->fetch);
        table_free(r->apps);
        if (r->plan)
                loop_timer_free(r->plan);
        desired_free(r->goal);
        source_free(r->wanted);
        free(r->fetch_message);
        free(r->goal_problem);
        free(r);
        return NULL;
}

/* ---- the report */

static const struct app *first_in(const struct reconcile *r, bool (*is)(enum app_state s)) {
        for (size_t i = 0; r->goal && i < r->goal->n_units; i++) {
                const struct app *a = find_app(r, r->goal->units[i].spec->name);
                if (a && is(app_state(a)))
                        return a;
        }
        return NULL;
}

static bool is_unwell(enum app_state s) {
        return s == APP_DEGRADED || s == APP_FAILED;
}

static bool is_confirming(enum app_state s) {
        return s == APP_CONFIRMING;
}

static bool is_before_confirming(enum app_state s) {
        return s == APP_PENDING || s == APP_APPLYING || s == APP_ROLLING_BACK || s == APP_REMOVING;
}

static bool all_apps_started(const struct reconcile *r) {
        for (size_t i = 0; r->goal && i < r->goal->n_units; i++)
                if (!is_excluded(r, r->goal->units[i].spec->name) &&
                    !find_app(r, r->goal->units[i].spec->name))
                        return false;
        return !first_in(r, is_before_confirming);
}

static void say_app(struct node_report *n, const struct app *a) {
        if (a)
                (void)snprintf(n->message, sizeof(n->message), "app %s: %s", app_name(a), app_message(a));
}

static void report_at_rest(const struct reconcile *r, struct node_report *n) {
        const struct ledger_failure *f = ledger_failure(r->host.ledger);
        const struct app *unwell = first_in(r, is_unwell);

        if (f)
                (void)snprintf(n->message, sizeof(n->message), "%s", f->reason);
        if (r->goal_problem) {
                n->state = NODE_FAILED;
                if (!f)
                        (void)snprintf(n->message, sizeof(n->message), "%s", r->goal_problem);
        } else if (f && !ledger_stable(r->host.ledger)) {
                n->state = NODE_FAILED;
        } else if (unwell) {
                n->state = NODE_FAILED;
                if (!f)
                        say_app(n, unwell);
                else
                        (void)snprintf(n->message, sizeof(n->message),
                                       "%s; after going back app %s is not well: %s", f->reason,
                                       app_name(unwell), app_message(unwell));
        } else if (!r->goal || r->at_goal) {
                n->state = f ? NODE_ROLLED_BACK : NODE_HEALTHY;
        } else {
                n->state = all_apps_started(r) ? NODE_CONFIRMING : NODE_APPLYING;
        }
}

void reconcile_report(const struct reconcile *r, struct node_report *ret) {
        const struct source *stable = ledger_stable(r->host.ledger);
        struct node_report n = {.assignment = r->assignment, .converged = r->converged || !r->goal};
        void *value;

        /* Observed means seen by this process, not read from a file. */
        if (stable && r->converged)
                (void)snprintf(n.revision, sizeof(n.revision), "%s", stable->revision);
        (void)snprintf(n.target, sizeof(n.target), "%s", r->target);
        n.drift_corrected = r->drift_of_removed;
        for (size_t i = 0; table_next(r->apps, &i, NULL, &value);)
                n.drift_corrected += app_drift_corrected(value);

        if (r->fetch) {
                n.state = NODE_DOWNLOADING;
                (void)snprintf(n.message, sizeof(n.message), "%s", r->fetch_message ? r->fetch_message : "");
        } else if (is_forward(r)) {
                if (first_in(r, is_confirming) && all_apps_started(r))
                        n.state = NODE_CONFIRMING;
                else
                        n.state = r->goal && table_len(r->apps) == 0 ? NODE_STAGED : NODE_APPLYING;
                say_app(&n, first_in(r, is_unwell));
        } else {
                report_at_rest(r, &n);
        }
        *ret = n;
}

static bool is_in_goal(const struct reconcile *r, const char *name) {
        return r->goal && desired_unit(r->goal, name);
}

bool reconcile_next_app(const struct reconcile *r, size_t *position, struct app_report *ret) {
        const struct ledger_failure *f = ledger_failure(r->host.ledger);
        size_t n_units = r->goal ? r->goal->n_units : 0;
        const struct app *a;
        void *value;

        if (*position < n_units) {
                const struct app_spec *spec = r->goal->units[(*position)++].spec;
                a = find_app(r, spec->name);
                *ret = (struct app_report){
                        .name = spec->name, .driver = spec->driver, .state = APP_PENDING, .message = ""};
                if (a && app_unit(a)) {
                        ret->state = app_state(a);
                        ret->message = app_message(a);
                        ret->restarts = app_restarts(a);
                        ret->drift_corrected = app_drift_corrected(a);
                } else if (is_excluded(r, spec->name)) {
                        ret->state = APP_FAILED;
                        ret->message = f->reason;
                }
                return true;
        }
        for (size_t i = *position - n_units; table_next(r->apps, &i, NULL, &value);) {
                a = value;
                *position = n_units + i;
                if (is_in_goal(r, app_name(a)))
                        continue;
                *ret = (struct app_report){.name = app_name(a),
                                           .driver = app_kind(a),
                                           .state = app_state(a),
                                           .message = app_message(a),
                                           .restarts = app_restarts(a),
                                           .drift_corrected = app_drift_corrected(a)};
                return true;
        }
        return false;
}
