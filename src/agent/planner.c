/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/planner.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"

const char *action_kind_name(enum action_kind k) {
        static const char *const names[] = {
                [ACTION_FORGET] = "forget",
                [ACTION_REMOVE] = "remove",
                [ACTION_STOP] = "stop",
                [ACTION_APPLY] = "apply",
        };
        return (unsigned)k < ARRAY_SIZE(names) ? names[k] : "unknown";
}

struct planning {
        const struct planner_app *apps;
        size_t n_apps;
        const struct planner_unit *units;
        size_t n_units;
        bool *unwanted; /* per unit: excluded, itself or through what it depends on */
        struct action *actions;
        size_t n_actions;
};

static const struct planner_app *find_app(const struct planning *p, const char *name) {
        for (size_t i = 0; i < p->n_apps; i++)
                if (str_eq(p->apps[i].name, name))
                        return &p->apps[i];
        return NULL;
}

static const struct planner_unit *find_unit(const struct planning *p, const char *name) {
        for (size_t i = 0; i < p->n_units; i++)
                if (!p->unwanted[i] && str_eq(p->units[i].name, name))
                        return &p->units[i];
        return NULL;
}

/* Units come in dependency order, so one pass carries an exclusion to all that depend on it. */
static void spread_exclusion(struct planning *p) {
        for (size_t i = 0; i < p->n_units; i++) {
                const char *const *names = p->units[i].depends_on;
                p->unwanted[i] = p->units[i].excluded;
                for (size_t d = 0; names && names[d] && !p->unwanted[i]; d++)
                        for (size_t k = 0; k < i; k++)
                                if (p->unwanted[k] && str_eq(p->units[k].name, names[d]))
                                        p->unwanted[i] = true;
        }
}

/* A version in place cannot be written over when another driver put it there. */
static bool must_go(const struct planning *p, const struct planner_app *a) {
        const struct planner_unit *u = find_unit(p, a->name);
        return !u || u->driver != a->driver;
}

static bool is_changed(const struct planning *p, const struct planner_app *a) {
        const struct planner_unit *u = find_unit(p, a->name);
        return u && !str_eq(u->digest, a->digest);
}

static struct action *add(struct planning *p, enum action_kind kind, const char *app) {
        struct action *a = &p->actions[p->n_actions++];
        *a = (struct action){.kind = kind, .app = app, .ready = true};
        return a;
}

static int by_order_descending(const void *x, const void *y) {
        const struct planner_app *const *a = x, *const *b = y;
        if ((*a)->order != (*b)->order)
                return (*a)->order < (*b)->order ? 1 : -1;
        return strcmp((*b)->name, (*a)->name);
}

/* Takes down, dependents first: one after the other, since the ledger keeps the order of apps but not
 * the dependencies of versions that are long gone. */
static bool plan_down(struct planning *p, const struct planner_app **sorted, bool going_back) {
        const char *blocker = NULL;
        for (size_t i = 0; i < p->n_apps; i++) {
                const struct planner_app *a = sorted[i];
                struct action *action;
                if (must_go(p, a))
                        action = add(p, a->keep && !find_unit(p, a->name) ? ACTION_FORGET : ACTION_REMOVE,
                                     a->name);
                else if (going_back && is_changed(p, a) && !a->stopped)
                        action = add(p, ACTION_STOP, a->name);
                else
                        continue;
                if (action->kind == ACTION_FORGET) {
                        action->ready = !a->busy;
                        continue;
                }
                action->ready = !blocker && !a->busy;
                action->waits_for = blocker;
                blocker = a->name;
        }
        return blocker;
}

static const char *unmet_dependency(const struct planning *p, const struct planner_unit *u) {
        for (size_t i = 0; u->depends_on && u->depends_on[i]; i++) {
                const char *name = u->depends_on[i];
                const struct planner_app *a = find_app(p, name);
                const struct planner_unit *wanted = find_unit(p, name);
                if (!wanted)
                        continue; /* the compiler refuses these; nothing can be waited for */
                if (!a || !a->in_hand || !a->well || a->busy || !str_eq(a->digest, wanted->digest))
                        return name;
        }
        return NULL;
}

static void plan_up(struct planning *p, bool down_first) {
        for (size_t i = 0; i < p->n_units; i++) {
                const struct planner_unit *u = &p->units[i];
                const struct planner_app *a = find_app(p, u->name);
                if (p->unwanted[i] || (a && a->in_hand && !a->stopped && str_eq(a->digest, u->digest) &&
                                       a->driver == u->driver))
                        continue;
                struct action *action = add(p, ACTION_APPLY, u->name);
                action->unit = i;
                action->waits_for = unmet_dependency(p, u);
                action->ready = !down_first && !action->waits_for && !(a && a->busy);
        }
}

int planner_plan(const struct planner_app *apps, size_t n_apps, const struct planner_unit *units,
                 size_t n_units, bool going_back, struct action *actions, size_t *ret_n) {
        struct planning p = {
                .apps = apps, .n_apps = n_apps, .units = units, .n_units = n_units, .actions = actions};
        _cleanup_(x_freep) const struct planner_app **sorted =
                calloc(n_apps + 1, sizeof(const struct planner_app *));
        _cleanup_(x_freep) bool *unwanted = calloc(n_units + 1, sizeof(bool));

        if (!sorted || !unwanted)
                return -ENOMEM;
        p.unwanted = unwanted;
        spread_exclusion(&p);
        for (size_t i = 0; i < n_apps; i++)
                sorted[i] = &apps[i];
        qsort(sorted, n_apps, sizeof(const struct planner_app *), by_order_descending);

        bool down_first = plan_down(&p, sorted, going_back);
        plan_up(&p, down_first);
        *ret_n = p.n_actions;
        return 0;
}
