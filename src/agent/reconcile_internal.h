/* SPDX-License-Identifier: Apache-2.0 */
/* What the reconcile loop (reconcile.c) and its report (reconcile_report.c) share. */
#pragma once

#include "agent/reconcile.h"
#include "agent/window.h"
#include "base/str.h"
#include "base/table.h"

struct reconcile {
        struct reconcile_host host;
        struct app_host app_host;
        int64_t assignment;    /* version */
        char target[65];       /* revision the assignment names, "" for none */
        struct source *wanted; /* being brought for it, or here and waiting for leave */
        bool staged;           /* wanted is all here */
        bool waits;            /* the assignment says to wait for leave to apply it */
        struct window *window; /* of the assignment; NULL: always open */
        struct loop_timer *window_timer;
        bool fetch_waits; /* wanted is to be fetched when its window opens */
        struct delivery *delivery;
        struct delivery *delivered; /* the last one that was ready, for the report */
        char *delivery_message, *delivery_logged;
        struct podman_images *tidying;
        bool refused; /* what was assigned does not fit */
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

static inline struct app *reconcile_find_app(const struct reconcile *r, const char *name) {
        return table_get(r->apps, name);
}

static inline bool reconcile_is_excluded(const struct reconcile *r, const char *name) {
        const struct ledger_failure *f = ledger_failure(r->host.ledger);
        return r->going_back && f && !ledger_stable(r->host.ledger) && f->apps && strv_has(f->apps, name);
}

static inline bool reconcile_is_forward(const struct reconcile *r) {
        return ledger_target(r->host.ledger) != NULL;
}
