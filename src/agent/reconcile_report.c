/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/reconcile_internal.h"

static const char *const state_names[] = {
        [NODE_DOWNLOADING] = "Downloading",
        [NODE_STAGED] = "Staged",
        [NODE_WAITING_WINDOW] = "WaitingWindow",
        [NODE_APPLYING] = "Applying",
        [NODE_CONFIRMING] = "Confirming",
        [NODE_HEALTHY] = "Healthy",
        [NODE_FAILED] = "Failed",
        [NODE_ROLLED_BACK] = "RolledBack",
};

const char *node_state_name(enum node_state s) {
        return (unsigned)s < ARRAY_SIZE(state_names) ? state_names[s] : "Failed";
}

static const struct app *first_in(const struct reconcile *r, bool (*is)(enum app_state s)) {
        for (size_t i = 0; r->goal && i < r->goal->n_units; i++) {
                const struct app *a = reconcile_find_app(r, r->goal->units[i].spec->name);
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
                if (!reconcile_is_excluded(r, r->goal->units[i].spec->name) &&
                    !reconcile_find_app(r, r->goal->units[i].spec->name))
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

        if (r->delivery) {
                n.state = !r->refused ? NODE_DOWNLOADING : stable ? NODE_ROLLED_BACK : NODE_FAILED;
                (void)snprintf(n.message, sizeof(n.message), "%s",
                               r->delivery_message ? r->delivery_message : "");
        } else if (r->staged) {
                msec_t now = clock_wall_ms(loop_clock(r->host.driver->loop));
                bool open = window_is_open(r->window, SCHEDULE_APPLY, now);
                n.state = open ? NODE_STAGED : NODE_WAITING_WINDOW;
                if (open)
                        (void)snprintf(n.message, sizeof(n.message), "waits for its turn to apply");
                else
                        window_say(r->window, SCHEDULE_APPLY, now, n.message, sizeof(n.message));
        } else if (r->fetch_waits) {
                n.state = NODE_WAITING_WINDOW;
                window_say(r->window, SCHEDULE_DOWNLOAD, clock_wall_ms(loop_clock(r->host.driver->loop)),
                           n.message, sizeof(n.message));
        } else if (reconcile_is_forward(r)) {
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
                a = reconcile_find_app(r, spec->name);
                *ret = (struct app_report){
                        .name = spec->name, .driver = spec->driver, .state = APP_PENDING, .message = ""};
                if (a && app_unit(a)) {
                        ret->state = app_state(a);
                        ret->message = app_message(a);
                        ret->restarts = app_restarts(a);
                        ret->drift_corrected = app_drift_corrected(a);
                } else if (reconcile_is_excluded(r, spec->name)) {
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

bool reconcile_artifact(const struct reconcile *r, size_t i, struct delivery_artifact *ret) {
        const struct delivery *d = r->delivery ? r->delivery : r->delivered;
        return d && delivery_artifact(d, i, ret);
}

bool reconcile_is_fetching(const struct reconcile *r) {
        return r->delivery;
}
