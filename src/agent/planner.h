/* SPDX-License-Identifier: Apache-2.0 */
/* The planner: what lies between what a node runs and what it shall run, as an ordered list of actions.
 *
 * Pure: values in, actions out. The reconciler asks again after every event, starts those actions that
 * are ready, and is done when the list is empty. So a crash, a newer goal or a failure halfway need no
 * special case: the next list starts from what is there then.
 *
 * Order: what is to go, dependents first; then what is to come, dependencies first. An app is applied
 * when all it depends on are well in the version wanted. Going back first takes every changed app out of
 * service in reverse dependency order, so that no old version meets a new one, then puts the old
 * versions back in dependency order. */
#pragma once

#include "fleet/app.h"

struct planner_app { /* what is there: one per app in the ledger */
        const char *name;
        const char *digest; /* unit that was applied, or is being */
        enum app_driver driver;
        int64_t order; /* dependency order it was applied in */
        bool keep;     /* not removed when it is not wanted any more */
        bool in_hand;  /* this process has set about applying it and looks after it */
        bool stopped;  /* taken out of service on the way back */
        bool busy;     /* an action on it is under way */
        bool well;     /* runs with all checks passed */
};
struct planner_unit { /* what is wanted, in dependency order */
        const char *name;
        const char *digest;
        enum app_driver driver;
        const char *const *depends_on; /* NULL-terminated, may be NULL */
        bool excluded;                 /* failed: neither it nor what depends on it is wanted */
};

enum action_kind {
        ACTION_FORGET, /* leave it on the node, unmanaged */
        ACTION_REMOVE, /* stop it and take away all it put there */
        ACTION_STOP,   /* out of service, for the way back */
        ACTION_APPLY,  /* make it so; puts a new version over an old one */
};
const char *action_kind_name(enum action_kind k);

struct action {
        enum action_kind kind;
        const char *app;       /* borrowed from the input */
        size_t unit;           /* ACTION_APPLY: index into the wanted units */
        bool ready;            /* may be started now */
        const char *waits_for; /* an app it waits for, or NULL: for its own current action */
};

/* Room for planner_max(n_apps, n_units) actions; how many there are in *ret_n. -ENOMEM. */
static inline size_t planner_max(size_t n_apps, size_t n_units) {
        return n_apps + n_units;
}
int planner_plan(const struct planner_app *apps, size_t n_apps, const struct planner_unit *units,
                 size_t n_units, bool going_back, struct action *actions, size_t *ret_n);
