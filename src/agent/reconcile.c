/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/reconcile.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/driver/podman_images.h"
#include "agent/planner.h"
#include "agent/reconcile_internal.h"
#include "base/log.h"
#include "base/str.h"

/* How long to wait after something that cannot be retried at once (disk full, a removal that failed). */
#define RECONCILE_PAUSE_MS 5000
/* A target under which the agent itself was stopped this often is not trusted any more. */
#define RECONCILE_ATTEMPTS_MAX 3

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
                const struct app *a = reconcile_find_app(r, u->spec->name);
                if (!a || app_state(a) != APP_FAILED || !app_unit(a) ||
                    !str_eq(app_unit(a)->digest, u->digest) || reconcile_is_excluded(r, u->spec->name))
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
        if (reconcile_is_forward(r)) {
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
                const struct app *a = reconcile_find_app(r, record->name);
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
                                                    .excluded = reconcile_is_excluded(r, u->spec->name)};
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
        const struct app *before = reconcile_find_app(r, name);
        if (before)
                app_take_counters(fresh, before);
        int rc = table_set(r->apps, name, fresh); /* frees the one before */
        if (rc < 0)
                app_free(fresh);
        return rc;
}

static int act(struct reconcile *r, const struct action *action, struct err **err) {
        struct app *a = reconcile_find_app(r, action->app);
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
                const struct app *a = reconcile_find_app(r, u->spec->name);
                if (reconcile_is_excluded(r, u->spec->name))
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

/* ---- artifacts */

static void keep_artifacts(void *arg, const struct source *s) {
        struct table *keep = arg;
        const json_t *item;
        size_t i;
        json_array_foreach (s->artifacts, i, item) {
                const char *digest = json_string_value(json_object_get(item, "sha256"));
                if (digest)
                        (void)table_set(keep, digest, keep);
        }
}

/* Removes payloads that nothing names, as far as the budget asks; all: as many as there are. */
static size_t sweep_artifacts(struct reconcile *r, bool all) {
        _cleanup_(table_freep) struct table *keep = table_new(NULL);
        _cleanup_(err_freep) struct err *err = NULL;
        size_t removed = 0;
        if (!keep || !r->host.delivery.artifacts)
                return 0;
        ledger_sources(r->host.ledger, keep_artifacts, keep);
        if (r->wanted)
                keep_artifacts(keep, r->wanted);
        if (artifact_store_sweep(r->host.delivery.artifacts, is_kept, keep, all, &removed, &err) < 0)
                log_warning("artifacts could not be tidied", "error", err_message(err), NULL);
        return removed;
}

static bool make_room(void *arg) {
        return sweep_artifacts(arg, true) > 0;
}

static void images_tidied(void *arg, int error, const char *message) {
        struct reconcile *r = arg;
        if (error < 0)
                log_debug("images could not be tidied", "error", message, NULL);
        r->tidying = podman_images_free(r->tidying);
}

static void tidy_images(struct reconcile *r) {
        if (!r->tidying)
                (void)podman_images_tidy(r->host.driver, images_tidied, r, &r->tidying, NULL);
}

/* What runs was seen well: it is held, and the one before it too. */
static void confirm_artifacts(struct reconcile *r) {
        const struct delivery_host *host = &r->host.delivery;
        _cleanup_(strv_freep) char **names = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        const json_t *artifacts = r->goal->source->artifacts, *item;
        size_t i;
        if (!host->artifacts)
                return;
        json_array_foreach (artifacts, i, item) {
                _cleanup_(x_freep) char *name =
                        str_format("%s %s", json_string_value(json_object_get(item, "sha256")),
                                   json_string_value(json_object_get(item, "target")));
                if (!name || strv_push(&names, name) < 0)
                        return;
        }
        if (artifact_store_set_running(host->artifacts, names, &err) < 0)
                log_warning("artifacts could not be written down", "error", err_message(err), NULL);
        err = err_free(err);
        if (host->repository && repository_confirm(host->repository, artifacts, &err) < 0)
                log_error("counters of artifacts cannot be written down; nothing new is taken until they can "
                          "be",
                          "error", err_message(err), NULL);
}

/* Nothing is left to do. */
static void arrive(struct reconcile *r) {
        bool forward = reconcile_is_forward(r);
        if (r->at_goal && !forward)
                return;
        r->at_goal = r->converged = true;
        if (forward) {
                ledger_confirm(r->host.ledger);
                log_info("revision is healthy", "goal", r->goal->source->revision, NULL);
        }
        for (size_t i = 0; i < r->goal->n_units; i++) {
                struct app *a = reconcile_find_app(r, r->goal->units[i].spec->name);
                /* What was rolled back earlier and is part of a healthy revision now is simply healthy. */
                if (a && !r->going_back)
                        app_settle_as(a, false, NULL);
        }
        ledger_prune_sources(r->host.ledger);
        if (!r->going_back)
                confirm_artifacts(r);
        if (save(r) && !r->delivery) {
                sweep_objects(r);
                (void)sweep_artifacts(r, false);
                tidy_images(r);
        }
        tell(r);
}

static void replan_stopping(struct reconcile *r);
static void start_delivery(struct reconcile *r, struct source *s);

/* A payload that was found damaged is gone, and what shows of it must not be trusted: have it again. */
static void have_lost_again(struct reconcile *r) {
        if (r->delivery || r->wanted || !r->at_goal ||
            delivery_has_artifacts(&r->host.delivery, r->goal->source))
                return;
        struct source *s = source_copy(r->goal->source);
        if (s)
                start_delivery(r, s);
}

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
        have_lost_again(r);
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

static void delivery_ended(struct reconcile *r) {
        r->delivery = delivery_free(r->delivery);
        r->refused = false;
        (void)str_replace(&r->delivery_message, NULL);
}

static void look_at_window_in(struct reconcile *r, msec_t ms) {
        loop_timer_set(r->window_timer, ms);
}

/* All that is wanted is here: goes on with it where there is leave to, in its window. */
static void begin_staged(struct reconcile *r) {
        msec_t look =
                window_look_in(r->window, SCHEDULE_APPLY, clock_wall_ms(loop_clock(r->host.driver->loop)));
        if (!r->staged)
                return;
        if (look > 0) {
                look_at_window_in(r, look);
                return;
        }
        if (r->waits)
                return;
        _cleanup_(source_freep) struct source *s = TAKE_PTR(r->wanted);
        r->staged = false;
        if (s)
                begin(r, s);
}

static void delivery_ready(void *arg) {
        struct reconcile *r = arg;
        delivery_free(r->delivered);
        r->delivered = TAKE_PTR(r->delivery);
        delivery_ended(r);
        r->staged = r->wanted != NULL;
        begin_staged(r);
        tell(r);
}

static void forget_wanted(struct reconcile *r) {
        delivery_ended(r);
        r->staged = r->fetch_waits = false;
        r->wanted = source_free(r->wanted);
}

static void delivery_delayed(void *arg, const char *message, bool refused) {
        struct reconcile *r = arg;
        if (refused && !r->refused)
                log_warning("the assignment is not carried out", "reason", message, NULL);
        else if (!str_eq(message, r->delivery_logged))
                log_info("waiting for what was assigned", "reason", message, NULL);
        (void)str_replace(&r->delivery_logged, message);
        r->refused = refused;
        (void)str_replace(&r->delivery_message, message);
        tell(r);
}

static void delivery_changed(void *arg) {
        struct reconcile *r = arg;
        (void)str_replace(&r->delivery_message, NULL);
        tell(r);
}

static void delivery_failed(void *arg, const char *message) {
        struct reconcile *r = arg;
        _cleanup_(source_freep) struct source *s = TAKE_PTR(r->wanted);
        _cleanup_(x_freep) char *reason = str_dup(message);
        delivery_ended(r);
        if (!s || ledger_begin(r->host.ledger, s, r->assignment) < 0)
                return;
        fail_target(r, reason ? reason : "out of memory", NULL);
        plan_soon(r);
        tell(r);
}

static void start_delivery(struct reconcile *r, struct source *s) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct delivery_listener listener = {.ready = delivery_ready,
                                             .delayed = delivery_delayed,
                                             .failed = delivery_failed,
                                             .changed = delivery_changed,
                                             .arg = r};
        struct delivery_host host = r->host.delivery;
        host.node = r->host.driver->node;
        host.artifact.make_room = make_room;
        host.artifact.arg = r;
        forget_wanted(r);
        r->wanted = s;
        if (delivery_new(&host, s, &listener, &r->delivery, &err) < 0)
                log_error("cannot fetch", "error", err_message(err), NULL);
}

/* Where the ledger knows this source already, and its payloads are there, nothing is to be fetched. */
static bool is_known(const struct reconcile *r, const struct source *s, int64_t version, bool starting) {
        const struct ledger *l = r->host.ledger;
        const struct source *target = ledger_target(l), *stable = ledger_stable(l);
        const struct ledger_failure *f = ledger_failure(l);

        if (f && str_eq(f->source, s->id) && f->assignment == version)
                return true; /* tried, and not again */
        if (!delivery_has_artifacts(&r->host.delivery, s))
                return false;
        if (target)
                return str_eq(target->id, s->id) && (starting || r->goal);
        return !f && stable && str_eq(stable->id, s->id) && (starting || r->goal);
}

/* Fetches what is wanted, in its window. */
static void fetch_wanted(struct reconcile *r) {
        msec_t look =
                window_look_in(r->window, SCHEDULE_DOWNLOAD, clock_wall_ms(loop_clock(r->host.driver->loop)));
        r->fetch_waits = look > 0;
        if (look > 0)
                look_at_window_in(r, look);
        else if (r->wanted)
                start_delivery(r, TAKE_PTR(r->wanted));
}

static void take(struct reconcile *r, const struct assignment *a, bool starting) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct source *s = NULL;

        r->assignment = a->version;
        r->waits = a->waits;
        r->window = window_free(r->window);
        if (a->schedule && window_new(a->schedule, &r->window, &err) < 0) {
                log_error("assignment cannot be used", "error", err_message(err), NULL);
                return;
        }
        (void)snprintf(r->target, sizeof(r->target), "%s", a->revision ? a->revision : "");
        log_context_set("revision", a->revision);
        log_context_set("rollout", a->rollout);
        if (!a->revision) {
                /* No fleet selects the node: it keeps what it runs. */
                forget_wanted(r);
                return;
        }
        if (source_make_with(a->revision, a->labels, a->variables, a->artifacts, &s, &err) < 0) {
                log_error("assignment cannot be used", "error", err_message(err), NULL);
                return;
        }
        if (is_known(r, s, a->version, starting)) {
                r->waits = false; /* it had leave before */
                r->window = window_free(r->window);
                forget_wanted(r);
                source_free(s);
                return;
        }
        /* The same again, with leave to apply it or without: what was brought for it stays. */
        if (r->wanted && str_eq(r->wanted->id, s->id) && (r->staged || r->delivery) && !r->refused) {
                source_free(s);
                begin_staged(r);
                return;
        }
        forget_wanted(r);
        r->wanted = s;
        fetch_wanted(r);
}

static void window_due(void *arg) {
        struct reconcile *r = arg;
        if (r->fetch_waits)
                fetch_wanted(r);
        else
                begin_staged(r);
        tell(r);
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
        if (!r->delivery && !r->wanted &&
            (!r->goal || !delivery_has_artifacts(&r->host.delivery, r->goal->source))) {
                /* What the ledger wants is damaged or gone from the state folder: have it again. */
                const struct source *lost = ledger_target(l) ? ledger_target(l) : ledger_stable(l);
                struct source *s = lost ? source_copy(lost) : NULL;
                if (s) {
                        r->waits = false; /* it had leave before */
                        r->window = window_free(r->window);
                        start_delivery(r, s);
                }
        }
        plan_soon(r);
}

void reconcile_online(struct reconcile *r) {
        if (r->delivery)
                delivery_hurry(r->delivery);
}

/* ---- stopping everything */

static void replan_stopping(struct reconcile *r) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct ledger_app *record;
        char problem[APP_MESSAGE_MAX + 80] = "";
        bool busy = false;

        for (size_t i = 0; ledger_next_app(r->host.ledger, &i, &record);) {
                struct app *a = reconcile_find_app(r, record->name);
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
        r->window_timer = loop_timer_new(host->driver->loop, window_due, r);
        if (!r->apps || !r->plan || !r->window_timer) {
                reconcile_free(r);
                return err_set_errno(err, ENOMEM, "reconcile");
        }
        *ret = r;
        return 0;
}

struct reconcile *reconcile_free(struct reconcile *r) {
        if (!r)
                return NULL;
        delivery_free(r->delivery);
        delivery_free(r->delivered);
        podman_images_free(r->tidying);
        table_free(r->apps);
        if (r->plan)
                loop_timer_free(r->plan);
        if (r->window_timer)
                loop_timer_free(r->window_timer);
        window_free(r->window);
        desired_free(r->goal);
        source_free(r->wanted);
        free(r->delivery_message);
        free(r->delivery_logged);
        free(r->goal_problem);
        free(r);
        return NULL;
}
