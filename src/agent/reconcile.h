/* SPDX-License-Identifier: Apache-2.0 */
/* The reconcile loop: takes assignments, fetches what they name, and brings the node to it, or back.
 *
 * There is always one goal: the target of the newest assignment; or, when that failed, the stable revision
 * the node had before (without one, the target less the apps that failed). After every event the planner
 * (agent/planner.h) says what lies between the goal and what is there, and what of that may be done now.
 * An assignment may say that the node is to wait for leave to apply it. Then everything is brought here, what
 * runs goes on running, and the target becomes the goal when a newer assignment of the same content gives
 * leave. The target becomes stable when every app of it was seen well; one app that fails takes the whole
 * node back, and the target is not tried again until an assignment with a higher version comes. */
#pragma once

#include "agent/app.h"
#include "agent/assignment.h"
#include "agent/delivery.h"

enum node_state {
        NODE_DOWNLOADING,
        NODE_STAGED,
        NODE_WAITING_WINDOW, /* all is here; its window is closed */
        NODE_APPLYING,
        NODE_CONFIRMING,
        NODE_HEALTHY,
        NODE_FAILED,
        NODE_ROLLED_BACK,
};
const char *node_state_name(enum node_state s); /* the words of docs/protocol.md */

struct reconcile_host {
        const struct driver_host *driver;
        const struct health_host *health;
        struct delivery_host delivery; /* node, and what artifacts ask of us, are filled in */
        struct ledger *ledger;
        msec_t check_interval_ms;
        void (*changed)(void *arg); /* the report may have changed */
        void *arg;
};

struct reconcile;
int reconcile_new(const struct reconcile_host *host, struct reconcile **ret, struct err **err);
struct reconcile *reconcile_free(struct reconcile *r); /* what runs goes on */

/* Once, at start: goes on from the ledger. held: the stored assignment, or NULL. */
void reconcile_start(struct reconcile *r, const struct assignment *held);
/* A newer assignment, verified and stored. */
void reconcile_assign(struct reconcile *r, const struct assignment *a);
/* The edge can be reached again. */
void reconcile_online(struct reconcile *r);
/* Ends everything that runs, keeps files and ledger; done() when nothing runs, or with words when
 * something could not be ended. Nothing is started any more. */
void reconcile_stop_all(struct reconcile *r, void (*done)(void *arg, const char *problem), void *arg);

/* Something is on its way here, or waited for. */
bool reconcile_is_fetching(const struct reconcile *r);

struct node_report {
        int64_t assignment; /* 0: none yet */
        enum node_state state;
        char revision[65]; /* observed; "" for none */
        char target[65];   /* "" for none */
        char message[APP_MESSAGE_MAX + 128];
        int64_t drift_corrected;
        bool converged; /* since this process started, the node was at its goal once */
};
void reconcile_report(const struct reconcile *r, struct node_report *ret);

/* Artifacts that are being brought, or were for the last assignment that was carried out. */
bool reconcile_artifact(const struct reconcile *r, size_t i, struct delivery_artifact *ret);

struct app_report {
        const char *name;
        enum app_driver driver;
        enum app_state state;
        const char *message; /* "" for none */
        int64_t restarts, drift_corrected;
};
/* Apps of the goal in dependency order, then those being removed:
 *   for (size_t i = 0; reconcile_next_app(r, &i, &report);) */
bool reconcile_next_app(const struct reconcile *r, size_t *position, struct app_report *ret);
