/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/app_state.h"

static const char *const names[APP_N_STATES] = {
        [APP_PENDING] = "Pending",          [APP_APPLYING] = "Applying",      [APP_CONFIRMING] = "Confirming",
        [APP_HEALTHY] = "Healthy",          [APP_DEGRADED] = "Degraded",      [APP_FAILED] = "Failed",
        [APP_ROLLING_BACK] = "RollingBack", [APP_ROLLED_BACK] = "RolledBack", [APP_REMOVING] = "Removing",
};

/* The edge knows fewer words: what is not well any more has failed, what is on its way is applying. */
static const char *const reports[APP_N_STATES] = {
        [APP_PENDING] = "Pending",       [APP_APPLYING] = "Applying",      [APP_CONFIRMING] = "Confirming",
        [APP_HEALTHY] = "Healthy",       [APP_DEGRADED] = "Failed",        [APP_FAILED] = "Failed",
        [APP_ROLLING_BACK] = "Applying", [APP_ROLLED_BACK] = "RolledBack", [APP_REMOVING] = "Applying",
};

#define TO(s) (1u << (s))

static const unsigned transitions[APP_N_STATES] = {
        [APP_PENDING] = TO(APP_APPLYING) | TO(APP_ROLLING_BACK) | TO(APP_REMOVING),
        [APP_APPLYING] = TO(APP_CONFIRMING) | TO(APP_FAILED) | TO(APP_ROLLING_BACK) | TO(APP_REMOVING),
        [APP_CONFIRMING] = TO(APP_HEALTHY) | TO(APP_ROLLED_BACK) | TO(APP_FAILED) | TO(APP_APPLYING) |
                           TO(APP_ROLLING_BACK) | TO(APP_REMOVING),
        [APP_HEALTHY] = TO(APP_DEGRADED) | TO(APP_APPLYING) | TO(APP_ROLLING_BACK) | TO(APP_REMOVING),
        [APP_DEGRADED] = TO(APP_HEALTHY) | TO(APP_ROLLED_BACK) | TO(APP_FAILED) | TO(APP_APPLYING) |
                         TO(APP_ROLLING_BACK) | TO(APP_REMOVING),
        /* A failed app that nothing can replace is still looked after, and may come round. */
        [APP_FAILED] = TO(APP_APPLYING) | TO(APP_CONFIRMING) | TO(APP_HEALTHY) | TO(APP_ROLLED_BACK) |
                       TO(APP_ROLLING_BACK) | TO(APP_REMOVING),
        [APP_ROLLING_BACK] = TO(APP_APPLYING) | TO(APP_FAILED) | TO(APP_REMOVING),
        [APP_ROLLED_BACK] = TO(APP_DEGRADED) | TO(APP_APPLYING) | TO(APP_HEALTHY) | TO(APP_ROLLING_BACK) |
                            TO(APP_REMOVING),
        [APP_REMOVING] = TO(APP_FAILED),
};

const char *app_state_name(enum app_state s) {
        return (unsigned)s < APP_N_STATES ? names[s] : "Unknown";
}

const char *app_state_report(enum app_state s) {
        return (unsigned)s < APP_N_STATES ? reports[s] : "Failed";
}

bool app_state_may_follow(enum app_state from, enum app_state to) {
        return (unsigned)from < APP_N_STATES && (unsigned)to < APP_N_STATES && (transitions[from] & TO(to));
}
