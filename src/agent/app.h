/* SPDX-License-Identifier: Apache-2.0 */
/* One app on this node, in one version: drives its parts through their operations, watches its health,
 * restarts it, and says in which state it is (agent/app_state.h).
 *
 * The reconciler decides what is to happen to it (apply, stop, remove) and one such task runs at a time;
 * in between the app looks after itself: it checks for drift, and what ends or fails its checks is
 * restarted, with a backoff that doubles. Freeing an app lets what runs go on. */
#pragma once

#include "agent/app_state.h"
#include "agent/health.h"

#define APP_MESSAGE_MAX 640

struct app;
enum app_task {
        APP_TASK_NONE,
        APP_TASK_APPLY,
        APP_TASK_STOP,
        APP_TASK_REMOVE,
        APP_TASK_RESTART,
        APP_TASK_CHECK
};

struct app_host { /* outlives every app */
        const struct driver_host *driver;
        const struct health_host *health;
        msec_t check_interval_ms; /* of the slow full check */
        /* An apply, stop or removal has ended (also an apply that the app tried again by itself). May be
         * called from within the asking call. Then, and whenever state, message or counters changed or it
         * has become free for the next task: changed(). In neither may the app be freed or given a task. */
        void (*finished)(void *arg, struct app *a, enum app_task task, int error);
        void (*changed)(void *arg, struct app *a);
        void *arg;
};

/* An app in state Pending. */
int app_new(const struct app_host *host, struct desired *desired, const struct unit *unit, struct app **ret,
            struct err **err);
/* One that is known by its ledger record only: it can be stopped and removed. */
int app_new_from_record(const struct app_host *host, const struct ledger_app *record, struct app **ret,
                        struct err **err);
struct app *app_free(struct app *a);
DEFINE_CLEANUP(struct app, app_free)

/* Tasks; app_is_busy() must be false. going_back: when well, it is RolledBack rather than Healthy, with
 * `reason` as its message. */
void app_apply(struct app *a, bool going_back, const char *reason);
void app_stop(struct app *a);
void app_remove(struct app *a);
/* Looks for drift soon. */
void app_check_soon(struct app *a);

const char *app_name(const struct app *a);
const struct unit *app_unit(const struct app *a); /* NULL when made from a record */
enum app_driver app_kind(const struct app *a);
enum app_state app_state(const struct app *a);
const char *app_message(const struct app *a); /* "" when there is nothing to say */
bool app_is_busy(const struct app *a);
bool app_is_applied(const struct app *a); /* the last apply succeeded */
bool app_is_stopped(const struct app *a); /* by app_stop() */
int64_t app_restarts(const struct app *a);
int64_t app_drift_corrected(const struct app *a);
/* Carries the counters of the version before over. */
void app_take_counters(struct app *a, const struct app *before);
/* The state that the reconciler puts it in: Pending, RollingBack, or the settled state by another name. */
void app_settle_as(struct app *a, bool rolled_back, const char *reason);
