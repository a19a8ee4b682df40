/* SPDX-License-Identifier: Apache-2.0 */
/* The states of an app on a node, and which may follow which. Pure. */
#pragma once

#include "base/macros.h"

enum app_state {
        APP_PENDING,      /* known, waits for its turn or for what it depends on */
        APP_APPLYING,     /* files are being written, the driver is at work */
        APP_CONFIRMING,   /* it runs; not every check has passed yet */
        APP_HEALTHY,      /* every check passed */
        APP_DEGRADED,     /* was healthy, is not now; being restarted */
        APP_FAILED,       /* did not become healthy in its time, or could not be applied */
        APP_ROLLING_BACK, /* taken out of service, its previous version comes next */
        APP_ROLLED_BACK,  /* its previous version is back and healthy */
        APP_REMOVING,     /* being removed */
        APP_N_STATES
};

/* "Pending", "RollingBack", ... for people and logs. */
const char *app_state_name(enum app_state s);
/* The word of docs/protocol.md for it. */
const char *app_state_report(enum app_state s);
/* May `to` follow `from`? A state may not follow itself. */
bool app_state_may_follow(enum app_state from, enum app_state to);
/* Runs, with every check passed: others may depend on it. */
static inline bool app_state_is_well(enum app_state s) {
        return s == APP_HEALTHY || s == APP_ROLLED_BACK;
}
