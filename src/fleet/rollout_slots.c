/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/rollout_slots.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/table.h"
#include "fleet/rollout_index.h"
#include "fleet/rollout_rules.h"

#define NOBODY UINT32_MAX

struct cell {
        uint32_t first, last; /* who waits in it, NOBODY: nobody */
        size_t active;        /* its place among the active cells, while somebody waits */
};

struct rollout_slots {
        struct group_tally *groups;
        struct cell *cells;
        size_t n_cells;
        uint32_t *cell_of;         /* of each member */
        uint32_t *next, *previous; /* of each member that waits */
        bool *waits;
        uint32_t *active; /* cells in which somebody waits */
        size_t n_active;
        size_t turn;  /* where the last search ended: no cell comes first for ever */
        bool settled; /* nothing changed since a search found nobody */
};

/* ---- groups */

char *rollout_group_name(const struct rollout_budget *b, const struct pairs *labels) {
        _cleanup_(buf_done) struct buf name = BUF_INIT;
        buf_puts(&name, "");
        for (size_t i = 0; i < b->n_group_by; i++) {
                const char *value = pairs_get(labels, b->group_by[i]);
                buf_printf(&name, "%s%s=%s", i > 0 ? "," : "", b->group_by[i], value ? value : "");
        }
        return buf_failed(&name) < 0 ? NULL : str_dup(buf_str(&name));
}

static int group_index(struct rollout *r, struct table *known, uint32_t budget, const char *name,
                       uint32_t *ret) {
        _cleanup_(x_freep) char *key = str_format("%u/%s", budget, name);
        if (!key)
                return -ENOMEM;
        const void *found = table_get(known, key);
        if (found) {
                *ret = (uint32_t)((uintptr_t)found - 1);
                return 0;
        }
        if ((r->n_groups & (r->n_groups + 1)) == 0) { /* grows by powers of two */
                struct rollout_group *more =
                        reallocarray(r->groups, 2 * (r->n_groups + 1), sizeof(*r->groups));
                if (!more)
                        return -ENOMEM;
                r->groups = more;
        }
        char *copy = str_dup(name);
        if (!copy)
                return -ENOMEM;
        r->groups[r->n_groups] = (struct rollout_group){.name = copy, .budget = budget};
        *ret = (uint32_t)r->n_groups++;
        return table_set(known, key, (void *)(uintptr_t)r->n_groups);
}

int rollout_groups_build(struct rollout *r, char *const *names, struct err **err) {
        _cleanup_(table_freep) struct table *known = table_new(NULL);
        size_t n = r->policy.n_budgets;
        if (n == 0)
                return 0;
        if (!known)
                return err_set(err, ENOMEM, "out of memory");
        for (size_t i = 0; i < r->n_members; i++) {
                r->members[i].groups = calloc(n, sizeof(*r->members[i].groups));
                if (!r->members[i].groups)
                        return err_set(err, ENOMEM, "out of memory");
                for (size_t b = 0; b < n; b++)
                        if (group_index(r, known, (uint32_t)b, names[i * n + b], &r->members[i].groups[b]) <
                            0)
                                return err_set(err, ENOMEM, "out of memory");
        }
        return 0;
}

static size_t group_limit(const struct rollout *r, const struct rollout_slots *x, uint32_t group) {
        const struct rollout_budget *b = &r->policy.budgets[r->groups[group].budget];
        return (size_t)quantity_of(&b->max_unavailable, (int64_t)x->groups[group].total);
}

void rollout_group_count(const struct rollout *r, size_t group, struct group_counts *ret) {
        const struct rollout_slots *x = r->index->slots;
        *ret = (struct group_counts){.total = x->groups[group].total,
                                     .used = x->groups[group].used,
                                     .allowed = group_limit(r, x, (uint32_t)group)};
}

static bool has_room(const struct rollout *r, const struct rollout_slots *x, const struct rollout_member *m) {
        for (size_t b = 0; b < r->policy.n_budgets; b++)
                if (x->groups[m->groups[b]].used >= group_limit(r, x, m->groups[b]))
                        return false;
        return true;
}

bool rollout_slots_have_room(const struct rollout *r, const struct rollout_member *m) {
        return !r->index->slots || has_room(r, r->index->slots, m);
}

/* ---- who waits */

/* It has all that it needs, and is there to hear that it may go. */
static bool is_waiting(const struct rollout_member *m) {
        return m->state == MEMBER_STAGED && m->assigned && m->connected && !m->granted && !m->slot &&
               !m->removed && !m->going_back;
}

static void wait_begin(struct rollout_slots *x, uint32_t i) {
        struct cell *c = &x->cells[x->cell_of[i]];
        x->waits[i] = true;
        x->settled = false;
        x->next[i] = NOBODY;
        x->previous[i] = c->last;
        if (c->last != NOBODY) {
                x->next[c->last] = i;
        } else {
                c->first = i;
                c->active = x->n_active;
                x->active[x->n_active++] = x->cell_of[i];
        }
        c->last = i;
}

static void wait_end(struct rollout_slots *x, uint32_t i) {
        struct cell *c = &x->cells[x->cell_of[i]];
        x->waits[i] = false;
        if (x->previous[i] != NOBODY)
                x->next[x->previous[i]] = x->next[i];
        else
                c->first = x->next[i];
        if (x->next[i] != NOBODY)
                x->previous[x->next[i]] = x->previous[i];
        else
                c->last = x->previous[i];
        if (c->first != NOBODY)
                return;
        x->active[c->active] = x->active[--x->n_active];
        x->cells[x->active[c->active]].active = c->active;
}

size_t rollout_slots_next(const struct rollout *r, struct rollout_slots *x) {
        if (!x || x->settled)
                return SIZE_MAX;
        for (size_t i = 0; i < x->n_active; i++) {
                size_t at = (x->turn + i) % x->n_active;
                uint32_t member = x->cells[x->active[at]].first;
                if (RULE_HOLDS(SLOT) && !has_room(r, x, &r->members[member]))
                        continue;
                x->turn = at + 1;
                return member;
        }
        x->settled = true;
        return SIZE_MAX;
}

/* ---- counting */

static void count(const struct rollout *r, struct rollout_slots *x, const struct rollout_member *m,
                  size_t by) {
        if (m->removed)
                return;
        for (size_t b = 0; b < r->policy.n_budgets; b++) {
                struct group_tally *g = &x->groups[m->groups[b]];
                g->total += by;
                if (m->slot)
                        g->used += by;
        }
}

void rollout_slots_take(const struct rollout *r, struct rollout_slots *x, const struct rollout_member *m) {
        if (!x)
                return;
        count(r, x, m, SIZE_MAX);
        if (m->slot && RULE_HOLDS(SLOT_FREED))
                x->settled = false;
}

void rollout_slots_put(const struct rollout *r, struct rollout_slots *x, const struct rollout_member *m) {
        if (!x)
                return;
        uint32_t i = (uint32_t)(m - r->members);
        count(r, x, m, 1);
        if (is_waiting(m) == x->waits[i])
                return;
        if (x->waits[i])
                wait_end(x, i);
        else
                wait_begin(x, i);
}

/* ---- the whole */

struct rollout_slots *rollout_slots_free(struct rollout_slots *x) {
        if (!x)
                return NULL;
        free(x->groups);
        free(x->cells);
        free(x->cell_of);
        free(x->next);
        free(x->previous);
        free(x->waits);
        free(x->active);
        free(x);
        return NULL;
}

static int make_cells(const struct rollout *r, struct rollout_slots *x) {
        _cleanup_(table_freep) struct table *known = table_new(NULL);
        if (!known)
                return -ENOMEM;
        for (size_t i = 0; i < r->n_members; i++) {
                char key[ROLLOUT_BUDGETS_MAX * 12 + 1];
                size_t len = 0;
                for (size_t b = 0; b < r->policy.n_budgets; b++)
                        len += (size_t)snprintf(key + len, sizeof(key) - len, "%u/", r->members[i].groups[b]);
                const void *found = table_get(known, key);
                if (found) {
                        x->cell_of[i] = (uint32_t)((uintptr_t)found - 1);
                        continue;
                }
                x->cells[x->n_cells] = (struct cell){.first = NOBODY, .last = NOBODY};
                x->cell_of[i] = (uint32_t)x->n_cells++;
                if (table_set(known, key, (void *)(uintptr_t)x->n_cells) < 0)
                        return -ENOMEM;
        }
        return 0;
}

struct arrival {
        msec_t since;
        uint32_t member;
};

static int compare_arrivals(const void *a, const void *b) {
        const struct arrival *x = a, *y = b;
        if (x->since != y->since)
                return x->since < y->since ? -1 : 1;
        return x->member < y->member ? -1 : x->member > y->member;
}

int rollout_slots_new(const struct rollout *r, struct rollout_slots **ret) {
        if (r->policy.n_budgets == 0) {
                *ret = NULL;
                return 0;
        }
        _cleanup_(rollout_slots_freep) struct rollout_slots *x = calloc(1, sizeof(*x));
        size_t n = MAX(r->n_members, 1u), n_arrivals = 0;
        _cleanup_(x_freep) struct arrival *arrivals = calloc(n, sizeof(*arrivals));
        if (!x || !arrivals)
                return -ENOMEM;
        x->groups = calloc(MAX(r->n_groups, 1u), sizeof(*x->groups));
        x->cells = calloc(n, sizeof(*x->cells));
        x->cell_of = calloc(n, sizeof(*x->cell_of));
        x->next = calloc(n, sizeof(*x->next));
        x->previous = calloc(n, sizeof(*x->previous));
        x->waits = calloc(n, sizeof(*x->waits));
        x->active = calloc(n, sizeof(*x->active));
        if (!x->groups || !x->cells || !x->cell_of || !x->next || !x->previous || !x->waits || !x->active ||
            make_cells(r, x) < 0)
                return -ENOMEM;
        for (size_t i = 0; i < r->n_members; i++) {
                count(r, x, &r->members[i], 1);
                if (is_waiting(&r->members[i]))
                        arrivals[n_arrivals++] = (struct arrival){r->members[i].since, (uint32_t)i};
        }
        qsort(arrivals, n_arrivals, sizeof(*arrivals), compare_arrivals);
        for (size_t i = 0; i < n_arrivals; i++)
                wait_begin(x, arrivals[i].member);
        *ret = TAKE_PTR(x);
        return 0;
}

bool rollout_slots_are_equal(const struct rollout *r, const struct rollout_slots *a,
                             const struct rollout_slots *b) {
        if (!a || !b)
                return a == b;
        return memcmp(a->groups, b->groups, r->n_groups * sizeof(*a->groups)) == 0 &&
               memcmp(a->waits, b->waits, r->n_members * sizeof(*a->waits)) == 0 &&
               a->n_active == b->n_active;
}
