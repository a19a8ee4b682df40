/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/plan.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "fleet/plan_internal.h"

const char *const plan_action_names[] = {"create", "change", "remove"};
const char *const plan_node_action_names[] = {"move", "join", "leave", "settings"};

struct maker {
        const struct fleet_model *model;
        const struct plan_fleet_before *before;
        size_t n_before;
        struct plan_source source;
        const struct plan_repository *repository; /* or NULL */
        struct plan *plan;
        struct arena *arena;
        struct known_node {
                struct plan_node now;
                struct pairs labels, variables; /* after the change */
                const struct fleet_spec *owner; /* after the change; NULL: none */
        } * nodes;                              /* sorted by name */
        size_t n_nodes;
        struct err **err;
};

static int no_memory(const struct maker *m) {
        return err_set_errno(m->err, ENOMEM, "plan");
}

static const struct revision *revision_before(const struct maker *m, const char *fleet) {
        for (size_t i = 0; i < m->n_before; i++)
                if (str_eq(m->before[i].fleet, fleet))
                        return m->before[i].revision;
        return NULL;
}

/* ---- Nodes and their owners after the change */

static int compare_known(const void *a, const void *b) {
        return strcmp(((const struct known_node *)a)->now.name, ((const struct known_node *)b)->now.name);
}

static bool is_known(const struct maker *m, size_t n, const char *name) {
        struct known_node key = {.now = {.name = name}};
        return bsearch(&key, m->nodes, n, sizeof *m->nodes, compare_known) != NULL;
}

static int gather_nodes(struct maker *m, const struct plan_node *nodes, size_t n_nodes) {
        size_t n_given = n_nodes;

        m->nodes = arena_calloc(m->arena, n_nodes + m->model->n_nodes + 1, sizeof *m->nodes);
        if (!m->nodes)
                return no_memory(m);
        for (size_t i = 0; i < n_nodes; i++) {
                const struct fleet_node *declared = fleet_model_node(m->model, nodes[i].name);
                struct known_node *k = &m->nodes[m->n_nodes++];

                k->now = nodes[i];
                k->labels = nodes[i].labels;
                if (declared && pairs_merge(m->arena, &nodes[i].labels, &declared->labels, &k->labels) < 0)
                        return no_memory(m);
                k->variables = declared ? declared->variables : (struct pairs){0};
        }
        qsort(m->nodes, n_given, sizeof *m->nodes, compare_known);
        for (size_t i = 0; i < m->model->n_nodes; i++) {
                const struct fleet_node *declared = &m->model->nodes[i];
                if (is_known(m, n_given, declared->name))
                        continue;
                m->nodes[m->n_nodes++] = (struct known_node){
                        /* Nobody knows whether it is there: it is planned for as if it were. */
                        .now = {.name = declared->name, .connected = true},
                        .labels = declared->labels,
                        .variables = declared->variables,
                };
        }
        qsort(m->nodes, m->n_nodes, sizeof *m->nodes, compare_known);
        for (size_t i = 0; i < m->n_nodes; i++)
                if (fleet_model_owner(m->model, &m->nodes[i].labels, &m->nodes[i].owner) > 1)
                        m->nodes[i].owner = NULL; /* two fleets want it: neither gets it */
        return 0;
}

/* ---- Waves, by the same code that will make them */

static const struct rollout_policy *policy_of(const struct maker *m, const struct fleet_spec *f,
                                              struct rollout_policy *fallback) {
        const struct rollout_policy *p = f->rollout ? fleet_model_policy(m->model, f->rollout) : NULL;
        if (p)
                return p;
        rollout_policy_default(fallback);
        return fallback;
}

/* Does a limit leave some of the nodes for later that the wave would take? Then which ones it takes is chosen
 * when the rollout starts, and no later wave is certain either. */
static bool limit_bites(const struct rollout *r, const struct rollout_candidate *candidates, size_t wave) {
        const struct rollout_wave_policy *w = NULL;

        for (size_t i = 0; i < r->policy.n_waves && !w; i++)
                if (str_eq(r->policy.waves[i].name, r->waves[wave].name))
                        w = &r->policy.waves[i];
        if (!w || !w->limit.is_set)
                return false;
        for (size_t i = 0; i < r->n_members; i++) /* both are sorted by node */
                if (r->members[i].wave > wave && selector_matches(&w->selector, &candidates[i].labels))
                        return true;
        return false;
}

static int plan_waves(struct maker *m, const struct fleet_spec *f, struct plan_fleet *ret) {
        struct rollout_candidate *candidates = arena_calloc(m->arena, m->n_nodes + 1, sizeof *candidates);
        _cleanup_(rollout_freep) struct rollout *rollout = NULL;
        struct rollout_policy fallback;
        bool exact = true;
        size_t n = 0;
        int r;

        if (!candidates)
                return no_memory(m);
        for (size_t i = 0; i < m->n_nodes; i++)
                if (m->nodes[i].owner == f)
                        candidates[n++] = (struct rollout_candidate){
                                .node = m->nodes[i].now.name,
                                .labels = m->nodes[i].labels,
                                .connected = m->nodes[i].now.connected,
                                .previous_revision = m->nodes[i].now.revision,
                        };
        ret->n_nodes = n;
        if (n == 0)
                return 0;
        r = rollout_new("plan", f->name, f->revision->digest, policy_of(m, f, &fallback), candidates, n, 0,
                        &rollout, m->err);
        if (r < 0)
                return err_wrap(m->err, "plan the waves of fleet %s", f->name);
        ret->waves = arena_calloc(m->arena, rollout->n_waves + 1, sizeof *ret->waves);
        if (!ret->waves)
                return no_memory(m);
        ret->n_waves = rollout->n_waves;
        for (size_t i = 0; i < rollout->n_waves; i++) {
                struct plan_wave *w = &ret->waves[i];

                exact = exact && !limit_bites(rollout, candidates, i);
                w->name = arena_strdup(m->arena, rollout->waves[i].name);
                w->nodes = arena_calloc(m->arena, n, sizeof *w->nodes);
                if (!w->name || !w->nodes)
                        return no_memory(m);
                w->exact = exact;
        }
        for (size_t i = 0; i < rollout->n_members; i++) {
                struct plan_wave *w = &ret->waves[rollout->members[i].wave];
                w->nodes[w->n_nodes] = arena_strdup(m->arena, rollout->members[i].node);
                if (!w->nodes[w->n_nodes++])
                        return no_memory(m);
        }
        return 0;
}

/* ---- What each node would fetch, wave by wave */

static int plan_transfers(struct maker *m, const struct fleet_spec *f, struct plan_fleet *ret) {
        if (!m->repository || !revision_has_artifacts(f->revision) || ret->n_nodes == 0)
                return 0;
        ret->blocked = arena_calloc(m->arena, ret->n_nodes + 1, sizeof *ret->blocked);
        if (!ret->blocked)
                return no_memory(m);
        for (size_t i = 0; i < ret->n_waves; i++) {
                struct plan_wave *w = &ret->waves[i];
                w->first_transfer = ret->n_transfers;
                for (size_t j = 0; j < w->n_nodes; j++) {
                        struct known_node key = {.now = {.name = w->nodes[j]}};
                        const struct known_node *k =
                                bsearch(&key, m->nodes, m->n_nodes, sizeof *m->nodes, compare_known);
                        const struct binding b = {
                                .node_name = k->now.name, .labels = k->labels, .variables = k->variables};
                        int r = plan_transfer(m->arena, m->repository, &k->now, &b, f->revision, ret, m->err);
                        if (r < 0)
                                return r;
                }
                w->n_transfers = ret->n_transfers - w->first_transfer;
        }
        return 0;
}

/* ---- Apps */

static const struct app_spec *find_app(const struct revision *r, const char *name) {
        for (size_t i = 0; r && i < r->n_apps; i++)
                if (str_eq(r->apps[i].name, name))
                        return &r->apps[i];
        return NULL;
}

static int plan_app(struct maker *m, struct plan_fleet *f, const struct app_spec *before,
                    const struct app_spec *after) {
        const struct app_spec *either = after ? after : before;
        struct plan_app app = {
                .action = !before  ? PLAN_CREATE
                          : !after ? PLAN_REMOVE
                                   : PLAN_CHANGE,
                .name = arena_strdup(m->arena, either->name),
                .driver = app_driver_name(either->driver),
        };

        if (!app.name)
                return no_memory(m);
        if (before && plan_compare_apps(&m->source, before, after, &app.changes) < 0)
                return no_memory(m);
        if (app.action != PLAN_CHANGE || app.changes.n > 0)
                f->apps[f->n_apps++] = app;
        return 0;
}

static int compare_plan_apps(const void *a, const void *b) {
        return strcmp(((const struct plan_app *)a)->name, ((const struct plan_app *)b)->name);
}

static int plan_revision(struct maker *m, const struct revision *before, const struct revision *after,
                         struct plan_fleet *ret) {
        static const struct pairs none;
        size_t n_before = before ? before->n_apps : 0, n_after = after ? after->n_apps : 0;
        int r = 0;

        ret->apps = arena_calloc(m->arena, n_before + n_after + 1, sizeof *ret->apps);
        if (!ret->apps)
                return no_memory(m);
        for (size_t i = 0; i < n_after && r == 0; i++)
                r = plan_app(m, ret, find_app(before, after->apps[i].name), &after->apps[i]);
        for (size_t i = 0; i < n_before && r == 0; i++)
                if (!find_app(after, before->apps[i].name))
                        r = plan_app(m, ret, &before->apps[i], NULL);
        if (r < 0)
                return r;
        qsort(ret->apps, ret->n_apps, sizeof *ret->apps, compare_plan_apps);
        if (before && after &&
            plan_compare_variables(&m->source, &before->variables, &after->variables, &ret->variables) < 0)
                return no_memory(m);
        if (!before && plan_compare_variables(&m->source, &none, &after->variables, &ret->variables) < 0)
                return no_memory(m);
        return 0;
}

static int plan_fleet(struct maker *m, const struct fleet_spec *f) {
        const struct revision *before = revision_before(m, f->name);
        struct plan_fleet *ret = &m->plan->fleets[m->plan->n_fleets];
        int r;

        if (before && str_eq(before->digest, f->revision->digest))
                return 0;
        *ret = (struct plan_fleet){
                .action = before ? PLAN_CHANGE : PLAN_CREATE,
                .name = arena_strdup(m->arena, f->name),
                .before = before ? arena_strdup(m->arena, before->digest) : NULL,
                .after = arena_strdup(m->arena, f->revision->digest),
                .rollout = f->rollout ? arena_strdup(m->arena, f->rollout) : NULL,
        };
        if (!ret->name || (before && !ret->before) || !ret->after || (f->rollout && !ret->rollout))
                return no_memory(m);
        r = plan_revision(m, before, f->revision, ret);
        if (r == 0)
                r = plan_waves(m, f, ret);
        if (r == 0)
                r = plan_transfers(m, f, ret);
        m->plan->n_fleets++;
        return r;
}

static int plan_removed_fleet(struct maker *m, const struct plan_fleet_before *before) {
        struct plan_fleet *ret = &m->plan->fleets[m->plan->n_fleets++];

        *ret = (struct plan_fleet){
                .action = PLAN_REMOVE,
                .name = arena_strdup(m->arena, before->fleet),
                .before = before->revision ? arena_strdup(m->arena, before->revision->digest) : NULL,
        };
        for (size_t i = 0; i < m->n_nodes; i++)
                ret->n_nodes += str_eq(m->nodes[i].now.fleet, before->fleet);
        return ret->name ? 0 : no_memory(m);
}

static int compare_fleets(const void *a, const void *b) {
        return strcmp(((const struct plan_fleet *)a)->name, ((const struct plan_fleet *)b)->name);
}

static int plan_fleets(struct maker *m) {
        struct plan *p = m->plan;
        int r = 0;

        p->fleets = arena_calloc(m->arena, m->model->n_fleets + m->n_before + 1, sizeof *p->fleets);
        if (!p->fleets)
                return no_memory(m);
        for (size_t i = 0; i < m->model->n_fleets && r == 0; i++) {
                if (!m->model->fleets[i].revision)
                        return err_set(m->err, EINVAL,
                                       "the fleet repository has errors: there is nothing to plan");
                r = plan_fleet(m, &m->model->fleets[i]);
        }
        for (size_t i = 0; i < m->n_before && r == 0; i++)
                if (!fleet_model_fleet(m->model, m->before[i].fleet))
                        r = plan_removed_fleet(m, &m->before[i]);
        if (p->n_fleets > 1)
                qsort(p->fleets, p->n_fleets, sizeof *p->fleets, compare_fleets);
        return r;
}

/* ---- Nodes that change for other reasons than a rollout */

static bool has_new_revision(const struct maker *m, const struct fleet_spec *f) {
        const struct revision *before = f ? revision_before(m, f->name) : NULL;
        return f && (!before || !str_eq(before->digest, f->revision->digest));
}

static bool has_new_settings(const struct known_node *k) {
        const struct binding b = {.node_name = k->now.name, .labels = k->labels, .variables = k->variables};
        char fingerprint[65];

        return k->owner && k->now.fingerprint &&
               revision_binding_fingerprint(k->owner->revision, &b, fingerprint) == 0 &&
               !str_eq(fingerprint, k->now.fingerprint);
}

static int plan_nodes(struct maker *m) {
        struct plan *p = m->plan;

        p->nodes = arena_calloc(m->arena, m->n_nodes + 1, sizeof *p->nodes);
        if (!p->nodes)
                return no_memory(m);
        for (size_t i = 0; i < m->n_nodes; i++) {
                const struct known_node *k = &m->nodes[i];
                const char *from = k->now.fleet, *to = k->owner ? k->owner->name : NULL;
                struct plan_node_change *c = &p->nodes[p->n_nodes];

                if (from && !to)
                        c->action = PLAN_NODE_LEAVE;
                else if (from && to && !str_eq(from, to))
                        c->action = PLAN_NODE_MOVE;
                else if (!from && to && !has_new_revision(m, k->owner))
                        c->action = PLAN_NODE_JOIN;
                else if (from && to && !has_new_revision(m, k->owner) && has_new_settings(k))
                        c->action = PLAN_NODE_SETTINGS;
                else
                        continue;
                c->name = arena_strdup(m->arena, k->now.name);
                c->from = from ? arena_strdup(m->arena, from) : NULL;
                c->to = to ? arena_strdup(m->arena, to) : NULL;
                if (!c->name || (from && !c->from) || (to && !c->to))
                        return no_memory(m);
                p->n_nodes++;
        }
        return 0;
}

/* ---- The whole */

int plan_make_with(const struct fleet_model *model, const struct plan_fleet_before *before, size_t n_before,
                   const struct plan_node *nodes, size_t n_nodes, const struct plan_sources *sources,
                   struct plan **ret, struct err **err) {
        _cleanup_(plan_freep) struct plan *p = calloc(1, sizeof *p);
        struct maker m = {.model = model, .before = before, .n_before = n_before, .plan = p, .err = err};
        int r;

        if (!p || !(p->arena = arena_new(0)))
                return no_memory(&m);
        m.arena = p->arena;
        m.source = (struct plan_source){.arena = p->arena, .model = model, .contents = sources->contents};
        m.repository = sources->repository;
        r = gather_nodes(&m, nodes, n_nodes);
        if (r == 0)
                r = plan_fleets(&m);
        if (r == 0)
                r = plan_nodes(&m);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(p);
        return 0;
}

int plan_make_with_contents(const struct fleet_model *model, const struct plan_fleet_before *before,
                            size_t n_before, const struct plan_node *nodes, size_t n_nodes,
                            const struct plan_contents *contents, struct plan **ret, struct err **err) {
        return plan_make_with(model, before, n_before, nodes, n_nodes,
                              &(struct plan_sources){.contents = contents}, ret, err);
}

int plan_make(const struct fleet_model *model, const struct plan_fleet_before *before, size_t n_before,
              const struct plan_node *nodes, size_t n_nodes, struct plan **ret, struct err **err) {
        return plan_make_with_contents(model, before, n_before, nodes, n_nodes, NULL, ret, err);
}

struct plan *plan_free(struct plan *p) {
        if (!p)
                return NULL;
        arena_free(p->arena);
        free(p);
        return NULL;
}

bool plan_is_empty(const struct plan *p) {
        return p->n_fleets == 0 && p->n_nodes == 0;
}
