/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "sim.h"

#define EFFECTS_DONE _cleanup_(rollout_effects_done)

/* ---- what must always hold */

static size_t count_failures(const struct rollout *r) {
        size_t n = 0;
        for (size_t i = 0; i < r->n_members; i++)
                n += r->members[i].failed && !r->members[i].waived && !r->members[i].removed;
        return n;
}

static size_t count_live(const struct rollout *r) {
        size_t n = 0;
        for (size_t i = 0; i < r->n_members; i++)
                n += !r->members[i].removed;
        return n;
}

/* Different people who agreed to it, counted by hand. */
static size_t count_people(const struct rollout *r, enum rollout_approval_kind kind, size_t wave) {
        size_t n = 0;
        for (size_t i = 0; i < r->n_approvals; i++) {
                const struct rollout_approval *a = &r->approvals[i];
                bool again = a->kind != kind || (kind != ROLLOUT_APPROVAL_EMERGENCY && a->wave != wave);
                for (size_t k = 0; k < i && !again; k++)
                        again = r->approvals[k].kind == kind && str_eq(r->approvals[k].by, a->by) &&
                                (kind == ROLLOUT_APPROVAL_EMERGENCY || r->approvals[k].wave == wave);
                n += !again;
        }
        return n;
}

static void check_people(const struct sim *s) {
        const struct rollout *r = s->rollout;
        if (r->emergency && count_people(r, ROLLOUT_APPROVAL_EMERGENCY, 0) < 2)
                sim_fail(s, "one person alone skipped the soaks");
        for (size_t w = 0; w < r->n_waves; w++) {
                const struct rollout_wave_policy *p = r->waves[w].policy;
                if (r->waves[w].promoted && count_people(r, ROLLOUT_APPROVAL_PROMOTE, w) < 2)
                        sim_fail(s, "one person alone promoted wave %zu", w);
                if (r->waves[w].started_at != 0 && p &&
                    (int64_t)count_people(r, ROLLOUT_APPROVAL_WAVE, w) < p->approvals)
                        sim_fail(s, "wave %zu began without its approvals", w);
        }
}

static void check_waves(const struct sim *s) {
        const struct rollout *r = s->rollout;
        check_people(s);
        for (size_t w = 0; w < r->n_waves; w++) {
                if (r->waves[w].started_at != 0 && w > 0 && r->waves[w - 1].passed_at == 0)
                        sim_fail(s, "wave %zu began before wave %zu passed", w, w - 1);
                if (r->waves[w].passed_at != 0 && r->waves[w].started_at == 0)
                        sim_fail(s, "wave %zu passed and never began", w);
                if (w > r->wave && r->waves[w].started_at != 0)
                        sim_fail(s, "wave %zu began while wave %zu is the current one", w, r->wave);
        }
        if (r->phase == ROLLOUT_SUCCEEDED && r->n_waves > 0 && r->waves[r->n_waves - 1].passed_at == 0)
                sim_fail(s, "succeeded before the last wave passed");
}

static void check_member(const struct sim *s, size_t i) {
        const struct rollout *r = s->rollout;
        const struct rollout_member *m = &r->members[i];
        const struct sim_node *n = &s->nodes[s->node_of_member[i]];
        if (m->removed)
                return;
        if (m->state != MEMBER_PENDING && r->waves[m->wave].started_at == 0 && m->offered == 0)
                sim_fail(s, "%s is %s before its wave began", m->node, member_state_name(m->state));
        if (m->state == MEMBER_DEFERRED && m->failed)
                sim_fail(s, "%s is deferred and failed", m->node);
        if (m->state == MEMBER_DEFERRED && n->by_rollout == s->rollout_number && m->assigned &&
            n->said_anything && n->said != MEMBER_DOWNLOADING && !rollout_phase_is_final(r->phase) &&
            (n->said != MEMBER_STAGED || n->leave))
                sim_fail(s, "%s had said %s and was deferred", m->node, member_state_name(n->said));
        if (m->state == MEMBER_HEALTHY && m->assigned && n->by_rollout == s->rollout_number &&
            !n->said_healthy)
                sim_fail(s, "%s counts as healthy and never said so", m->node);
        if (m->going_back && (r->phase != ROLLOUT_ROLLING_BACK || !m->previous_revision))
                sim_fail(s, "%s goes back in phase %s", m->node, rollout_phase_name(r->phase));
        bool runs = r->phase == ROLLOUT_PROGRESSING || r->phase == ROLLOUT_SOAKING;
        bool undecided = m->state == MEMBER_OFFERED ||
                         (m->state >= MEMBER_DOWNLOADING && m->state <= MEMBER_CONFIRMING);
        if (runs && undecided && !m->failed && !m->removed && m->state != MEMBER_WAITING_WINDOW &&
            !(m->state == MEMBER_STAGED && !m->granted) && m->deadline == 0)
                sim_fail(s, "%s is %s without a deadline", m->node, member_state_name(m->state));
}

static bool same_group(const struct sim *s, size_t budget, size_t a, size_t b) {
        if (s->rollout->policy.budgets[budget].n_group_by == 0)
                return true;
        return str_eq(s->nodes[s->node_of_member[a]].labels[1].value,
                      s->nodes[s->node_of_member[b]].labels[1].value);
}

/* Is the node out of service for this rollout, or may it be at any moment? Seen from the node. */
static bool occupies(const struct sim *s, size_t i) {
        const struct rollout_member *m = &s->rollout->members[i];
        const struct sim_node *n = &s->nodes[s->node_of_member[i]];
        if (m->removed || m->failed || n->given_up || n->by_rollout != s->rollout_number ||
            n->assigned != s->revision)
                return false;
        if (n->target == s->revision && n->out_of_service)
                return true;
        if (n->leave)
                return !n->said_healthy && !m->proven;
        /* Leave was taken from it, and it has not heard yet. One that does not answer for long is let go. */
        return n->target == s->revision && n->held < n->version && n->held_leave && m->connected &&
               n->running != s->revision && n->state != MEMBER_FAILED && n->state != MEMBER_ROLLED_BACK;
}

/* No group has more of its nodes out of service than it may. And nothing lies idle that could go: a node that
 * has all it needs, and is there, has its slot unless its group is full. */
static void check_slots(struct sim *s) {
        const struct rollout *r = s->rollout;
        bool runs = r->phase == ROLLOUT_PROGRESSING || r->phase == ROLLOUT_SOAKING ||
                    r->phase == ROLLOUT_AWAITING_APPROVAL || r->phase == ROLLOUT_SUCCEEDED;
        if (r->policy.n_budgets == 0 || !runs || prng_below(&s->random, (uint64_t)s->check_odds) != 0)
                return;
        for (size_t b = 0; b < r->policy.n_budgets; b++) {
                /* By site, or all as the one group. */
                size_t first[4], used[4] = {0}, holders[4] = {0}, live[4] = {0}, waiting[4] = {0},
                                 total[4] = {0}, n = 0;
                for (size_t i = 0; i < r->n_members; i++) {
                        size_t g = 0;
                        const struct rollout_member *m = &r->members[i];
                        while (g < n && !same_group(s, b, first[g], i))
                                g++;
                        if (g == n)
                                first[n++] = i;
                        total[g]++;
                        live[g] += !m->removed;
                        used[g] += occupies(s, i);
                        holders[g] += m->slot && !m->removed;
                        waiting[g] += m->state == MEMBER_STAGED && !m->granted && m->connected &&
                                      m->assigned && !m->removed;
                }
                for (size_t g = 0; g < n; g++) {
                        const struct quantity *q = &r->policy.budgets[b].max_unavailable;
                        if ((int64_t)used[g] > quantity_of(q, (int64_t)total[g]))
                                sim_fail(s, "%zu nodes of a group are out of service, %lld may be", used[g],
                                         (long long)quantity_of(q, (int64_t)total[g]));
                        if (r->policy.n_budgets == 1 && !r->paused && waiting[g] > 0 &&
                            (int64_t)holders[g] < quantity_of(q, (int64_t)live[g]))
                                sim_fail(s, "%zu nodes wait for a slot while there are free ones",
                                         waiting[g]);
                }
        }
}

static void check_wave_budgets(const struct sim *s) {
        const struct rollout *r = s->rollout;
        bool runs = (r->phase == ROLLOUT_PROGRESSING || r->phase == ROLLOUT_SOAKING ||
                     r->phase == ROLLOUT_AWAITING_APPROVAL) &&
                    !r->gave_up;
        for (size_t w = 0; w < r->n_waves && runs; w++) {
                const struct rollout_wave_policy *p = r->waves[w].policy;
                int64_t failed = 0, total = 0;
                for (size_t i = 0; i < r->n_members; i++) {
                        const struct rollout_member *m = &r->members[i];
                        total += m->wave == w && !m->removed;
                        failed += m->wave == w && !m->removed && m->failed && !m->waived;
                }
                if (p && p->failure_budget.is_set && failed > quantity_of(&p->failure_budget, total))
                        sim_fail(s, "%lld failed in wave %zu, over its budget, and it goes on",
                                 (long long)failed, w);
        }
}

static void check_budget(const struct sim *s) {
        const struct rollout *r = s->rollout;
        int64_t tolerated = quantity_of(&r->policy.max_failed, (int64_t)count_live(r));
        bool runs = (r->phase == ROLLOUT_PROGRESSING || r->phase == ROLLOUT_SOAKING) && !r->gave_up;
        if (runs && (int64_t)count_failures(r) > tolerated)
                sim_fail(s, "%zu failed, %lld tolerated, and it goes on", count_failures(r),
                         (long long)tolerated);
}

static int64_t sample_of(const struct rollout *r, size_t wave) {
        const struct rollout_wave_policy *p = r->waves[wave].policy;
        return p && p->min_sample > 0 ? p->min_sample : r->policy.min_sample;
}

bool sim_server_waits_for_somebody(const struct sim *s) {
        const struct rollout *r = s->rollout;
        if (r->phase == ROLLOUT_PENDING || r->phase == ROLLOUT_AWAITING_APPROVAL || r->paused)
                return true; /* a person */
        size_t ok = 0, observed = 0, waived = 0, total = 0, away = 0, window = 0;
        for (size_t i = 0; i < r->n_members; i++) {
                const struct rollout_member *m = &r->members[i];
                if (m->wave != r->wave || m->removed)
                        continue;
                total++;
                ok += m->state == MEMBER_HEALTHY;
                observed += m->state == MEMBER_HEALTHY && m->connected;
                waived += m->waived && m->state != MEMBER_HEALTHY;
                away += m->state == MEMBER_DEFERRED;
                window += m->state == MEMBER_WAITING_WINDOW;
        }
        size_t need = (size_t)MIN(sample_of(r, r->wave), (int64_t)(total - waived));
        if (window > 0)
                return true;
        if (ok < need)
                return away > 0;
        return r->phase == ROLLOUT_SOAKING && observed < need;
}

static void check_wake(const struct sim *s) {
        const struct rollout *r = s->rollout;
        msec_t wake = rollout_next_wake(r);
        if (r->phase == ROLLOUT_SUCCEEDED && r->policy.n_budgets > 0)
                return; /* slots have deadlines after that, too */
        if (rollout_phase_is_final(r->phase) ? wake != 0 : wake == 0 && !sim_server_waits_for_somebody(s))
                sim_fail(s, "phase %s%s, wave %zu: wakes at %lld", rollout_phase_name(r->phase),
                         r->paused ? " (paused)" : "", r->wave, (long long)wake);
}

/* What the database was told is what memory holds: nothing that changed went without its effect. */
static void check_disk(const struct sim *s) {
        struct err *err = NULL;
        struct rollout *loaded = NULL;
        json_t *members = json_array();
        for (size_t i = 0; i < s->rollout->n_members; i++)
                json_array_append(members, s->disk_members[i]);
        if (rollout_from_json(s->disk_rollout, members, &loaded, &err) < 0)
                sim_fail(s, "%s", err_message(err));
        json_t *there = rollout_to_json(loaded, true), *here = rollout_to_json(s->rollout, true);
        if (!json_equal(there, here)) {
                char *a = json_dumps(there, JSON_SORT_KEYS | JSON_INDENT(1)),
                     *b = json_dumps(here, JSON_SORT_KEYS | JSON_INDENT(1));
                fprintf(stderr, "database: %s\nmemory: %s\n", a, b);
                sim_fail(s, "the database does not hold what memory does");
        }
        json_decref(there);
        json_decref(here);
        json_decref(members);
        rollout_free(loaded);
}

static void check(struct sim *s) {
        const struct rollout *r = s->rollout;
        check_waves(s);
        check_wake(s);
        s->n_steps++;
        if (prng_below(&s->random, (uint64_t)s->check_odds) != 0)
                return;
        check_budget(s);
        check_wave_budgets(s);
        for (size_t i = 0; i < r->n_members; i++)
                if (r->members[i].state == MEMBER_TIMED_OUT)
                        s->nodes[s->node_of_member[i]].given_up = true;
        for (size_t i = 0; i < r->n_members; i++)
                check_member(s, i);
        if (!rollout_is_consistent(r))
                sim_fail(s, "the counters are not those of the members");
        if (prng_below(&s->random, 48) == 0)
                check_disk(s);
}

/* What a step may do, given how things stood before it. */
struct before {
        enum rollout_phase phase;
        size_t wave;
        bool paused;
        msec_t passed_at;
};

static void check_pass(const struct sim *s, size_t wave) {
        const struct rollout *r = s->rollout;
        const struct rollout_wave *w = &r->waves[wave];
        if (w->promoted)
                return; /* people said so */
        if (!r->emergency && w->passed_at - w->healthy_at + w->soaked_ms < w->pause_ms)
                sim_fail(s, "wave %zu passed before its soak was over", wave);
        size_t seen = 0, total = 0, waived = 0;
        for (size_t i = 0; i < r->n_members; i++) {
                const struct rollout_member *m = &r->members[i];
                if (m->wave != wave || m->removed)
                        continue;
                total++;
                waived += m->waived && m->state != MEMBER_HEALTHY;
                seen += m->state == MEMBER_HEALTHY && m->connected &&
                        s->nodes[s->node_of_member[i]].said_healthy;
                if (m->state == MEMBER_PENDING)
                        sim_fail(s, "wave %zu passed and %s was never offered anything", wave, m->node);
                bool at_work = m->state >= MEMBER_OFFERED && m->state <= MEMBER_CONFIRMING;
                if (at_work && !m->failed && !m->straggler && !m->proven)
                        sim_fail(s, "wave %zu passed and %s is %s", wave, m->node,
                                 member_state_name(m->state));
        }
        if ((int64_t)seen < MIN(sample_of(r, wave), (int64_t)(total - waived)))
                sim_fail(s, "wave %zu passed with %zu healthy nodes of %zu", wave, seen, total);
}

static void check_effects(const struct sim *s, const struct before *b, enum rollout_event_type cause,
                          const struct rollout_effects *effects) {
        const struct rollout *r = s->rollout;
        for (size_t i = 0; i < effects->n; i++) {
                const struct rollout_effect *e = &effects->items[i];
                if (e->type != ROLLOUT_EFFECT_ASSIGN)
                        continue;
                if (r->members[e->member].wave > r->wave)
                        sim_fail(s, "%s of a later wave was offered the revision",
                                 r->members[e->member].node);
                if (b->phase == ROLLOUT_ROLLING_BACK || r->phase == ROLLOUT_ROLLING_BACK)
                        sim_fail(s, "%s was offered the revision while rolling back",
                                 r->members[e->member].node);
                if (e->type == ROLLOUT_EFFECT_ASSIGN && r->policy.n_budgets > 0 &&
                    r->members[e->member].granted && r->paused)
                        sim_fail(s, "%s was given a slot while paused", r->members[e->member].node);
                if (b->paused && r->members[e->member].state == MEMBER_OFFERED &&
                    cause != ROLLOUT_EVENT_RESUME && cause != ROLLOUT_EVENT_RETRY)
                        sim_fail(s, "%s was offered the revision while paused", r->members[e->member].node);
        }
        if (b->wave < r->wave && b->phase != ROLLOUT_PENDING)
                for (size_t w = b->wave; w < r->wave; w++)
                        check_pass(s, w);
        if (r->phase == ROLLOUT_SUCCEEDED && b->phase != ROLLOUT_SUCCEEDED && r->n_waves > 0)
                check_pass(s, r->n_waves - 1);
        if (rollout_phase_is_final(b->phase) && r->phase != b->phase && cause != ROLLOUT_EVENT_RETRY)
                sim_fail(s, "%s became %s", rollout_phase_name(b->phase), rollout_phase_name(r->phase));
}

/* A tick may bring something that is due at once (a wave that begins with nodes that are away, where
 * defer_after is 0), but not for ever. */
static void check_ticks(struct sim *s, enum rollout_event_type cause) {
        if (cause != ROLLOUT_EVENT_TICK || s->now != s->last_tick)
                s->n_ticks = 0;
        s->last_tick = s->now;
        if (++s->n_ticks > 2 * s->rollout->n_waves + 2)
                sim_fail(s, "ticks do not do what is due");
}

/* ---- storing and carrying out */

static void store(struct sim *s, const struct rollout_effects *effects, bool all) {
        bool changed = all;
        for (size_t i = 0; i < (all ? s->rollout->n_members : effects->n); i++) {
                size_t member = i;
                if (!all) {
                        changed |= effects->items[i].type == ROLLOUT_EFFECT_CHANGED;
                        if (effects->items[i].type != ROLLOUT_EFFECT_MEMBER)
                                continue;
                        member = effects->items[i].member;
                }
                json_decref(s->disk_members[member]);
                s->disk_members[member] = rollout_member_to_json(s->rollout, member);
        }
        if (changed) {
                json_decref(s->disk_rollout);
                s->disk_rollout = rollout_to_json(s->rollout, false);
        }
}

static void assign(struct sim *s, size_t member, int revision, bool leave) {
        struct sim_node *n = &s->nodes[s->node_of_member[member]];
        n->leave = leave;
        n->assigned = revision;
        n->by_rollout = s->rollout_number;
        n->version++;
        n->said_healthy = n->said_anything = false;
}

static void carry_out(struct sim *s, const struct rollout_effects *effects, bool again) {
        for (size_t i = 0; i < effects->n; i++) {
                const struct rollout_effect *e = &effects->items[i];
                if (e->type == ROLLOUT_EFFECT_FINISHED && !again)
                        s->finished++;
                if (e->type != ROLLOUT_EFFECT_ASSIGN && e->type != ROLLOUT_EFFECT_ASSIGN_BACK)
                        continue;
                struct sim_node *n = &s->nodes[s->node_of_member[e->member]];
                const struct rollout_member *m = &s->rollout->members[e->member];
                bool back = e->type == ROLLOUT_EFFECT_ASSIGN_BACK;
                int revision = back ? n->good : s->revision;
                bool has_it = n->by_rollout == s->rollout_number && n->assigned == revision;
                /* Given again after a crash: one that has answered keeps its assignment. */
                if (again && has_it && (back ? m->went_back : m->state != MEMBER_OFFERED) &&
                    n->leave == (back || m->granted))
                        continue;
                assign(s, e->member, revision, back || m->granted);
        }
        /* Only then do the nodes hear of it: what they say comes as events of their own. */
        for (size_t i = 0; i < effects->n; i++)
                if (effects->items[i].type == ROLLOUT_EFFECT_ASSIGN ||
                    effects->items[i].type == ROLLOUT_EFFECT_ASSIGN_BACK) {
                        size_t node = s->node_of_member[effects->items[i].member];
                        sim_node_tell(s, node);
                }
}

/* ---- crashes */

static void load(struct sim *s) {
        struct err *err = NULL;
        json_t *members = json_array();
        for (size_t i = 0; i < s->rollout->n_members; i++)
                json_array_append(members, s->disk_members[i]);
        rollout_free(s->rollout);
        s->rollout = NULL;
        if (rollout_from_json(s->disk_rollout, members, &s->rollout, &err) < 0)
                sim_fail(s, "load: %s", err_message(err));
        json_decref(members);
}

/* SIGKILL: memory is gone, every connection too; after a while the server is back and reads its database. */
static void crash(struct sim *s) {
        EFFECTS_DONE struct rollout_effects effects = {0};
        msec_t gap = sim_span(s, 5 * MINUTE);
        int odds = s->crash_odds;
        s->n_crashes++;
        s->crash_odds = 0;
        load(s);
        s->now += gap;
        for (size_t i = 0; i < s->rollout->n_members; i++) { /* it knows what it stored, no more */
                struct sim_node *n = &s->nodes[s->node_of_member[i]];
                n->said_anything = false;
                n->said_healthy = s->rollout->members[i].state == MEMBER_HEALTHY;
        }
        if (rollout_restart(s->rollout, &effects) < 0)
                abort();
        if (!rollout_phase_is_final(s->rollout->phase))
                s->finished = 0;
        (void)sim_server_step(s, &(struct rollout_event){.type = ROLLOUT_EVENT_TIME_GAP, .gap_ms = gap});
        carry_out(s, &effects, true);
        for (size_t i = 0; i < s->rollout->n_members; i++) {
                size_t node = s->node_of_member[i];
                if (s->rollout->members[i].connected != s->nodes[node].online)
                        sim_server_presence(s, node);
                if (s->nodes[node].online)
                        sim_node_sync(s, node);
        }
        s->crash_odds = odds;
}

static bool crashes_here(struct sim *s) {
        return s->crash_odds > 0 && prng_below(&s->random, (uint64_t)s->crash_odds) == 0;
}

/* A person retried what was given up: who is still at work on it is not counted twice. */
static void forget_lost(struct sim *s) {
        for (size_t i = 0; i < s->rollout->n_members; i++) {
                struct sim_node *n = &s->nodes[s->node_of_member[i]];
                n->given_up |= n->out_of_service;
        }
}

int sim_server_step(struct sim *s, const struct rollout_event *event) {
        EFFECTS_DONE struct rollout_effects effects = {0};
        struct err *err = NULL;
        const struct rollout *r = s->rollout;
        struct before before = {.phase = r->phase, .wave = r->wave, .paused = r->paused};
        int k = rollout_step(s->rollout, event, s->now, &effects, &err);
        if (k < 0 && k != -EINVAL)
                sim_fail(s, "%s", err_message(err));
        if (k < 0) {
                if (effects.n > 0)
                        sim_fail(s, "refused (%s), yet with effects", err_message(err));
                err_free(err);
                return k;
        }
        if (s->verbose)
                for (size_t i = 0; i < effects.n; i++)
                        if (effects.items[i].type == ROLLOUT_EFFECT_NOTE)
                                printf("%8.1f s  %s\n", (double)(s->now - SIM_START) / 1000,
                                       effects.items[i].text);
        check_effects(s, &before, event->type, &effects);
        check_ticks(s, event->type);
        if (crashes_here(s)) { /* before it is stored: it never happened */
                crash(s);
                return 0;
        }
        store(s, &effects, false);
        if (rollout_phase_is_final(before.phase) && !rollout_phase_is_final(r->phase))
                s->finished = 0;
        check(s);
        if (crashes_here(s)) { /* stored, and not carried out */
                crash(s);
                return 0;
        }
        carry_out(s, &effects, false);
        if (event->type == ROLLOUT_EVENT_RETRY)
                forget_lost(s);
        check_slots(s);
        return 0;
}

/* ---- what nodes do */

static size_t member_of(const struct sim *s, size_t node) {
        return s->rollout ? rollout_find_member(s->rollout, s->nodes[node].name) : SIZE_MAX;
}

void sim_server_presence(struct sim *s, size_t node) {
        if (member_of(s, node) == SIZE_MAX)
                return;
        (void)sim_server_step(s, &(struct rollout_event){.type = s->nodes[node].online
                                                                         ? ROLLOUT_EVENT_CONNECTED
                                                                         : ROLLOUT_EVENT_DISCONNECTED,
                                                         .node = s->nodes[node].name});
}

void sim_server_report(struct sim *s, size_t node) {
        struct sim_node *n = &s->nodes[node];
        char revision[24];
        /* Now and then what it says of an older assignment is late, and comes to the wrong rollout. */
        if (s->rollout && n->held < n->version && n->running != s->revision && n->running != 0 &&
            s->rollout->phase != ROLLOUT_ROLLING_BACK && sim_chance(s, 0.1)) {
                sim_revision_name(n->running, revision);
                (void)sim_server_step(s, &(struct rollout_event){.type = ROLLOUT_EVENT_NODE_STATE,
                                                                 .node = n->name,
                                                                 .revision = revision,
                                                                 .state = MEMBER_HEALTHY});
                return;
        }
        if (!s->rollout || n->by_rollout != s->rollout_number || n->held != n->version || n->assigned == 0)
                return;
        n->said_healthy |= n->state == MEMBER_HEALTHY;
        n->said_anything = true;
        n->said = n->state;
        sim_revision_name(n->assigned, revision);
        (void)sim_server_step(s, &(struct rollout_event){.type = ROLLOUT_EVENT_NODE_STATE,
                                                         .node = n->name,
                                                         .revision = revision,
                                                         .state = n->state,
                                                         .reason = n->reason[0] ? n->reason : NULL});
}

void sim_server_remove(struct sim *s, size_t node) {
        s->nodes[node].removed = true;
        if (member_of(s, node) != SIZE_MAX)
                (void)sim_server_step(s, &(struct rollout_event){.type = ROLLOUT_EVENT_NODE_REMOVED,
                                                                 .node = s->nodes[node].name});
}

/* ---- rollouts */

static void settle_good(struct sim *s) {
        if (!s->rollout || s->rollout->phase != ROLLOUT_SUCCEEDED)
                return;
        for (size_t i = 0; i < s->rollout->n_members; i++)
                if (s->rollout->members[i].state == MEMBER_HEALTHY)
                        s->nodes[s->node_of_member[i]].good = s->revision;
}

void sim_server_done(struct sim *s) {
        if (!s->rollout)
                return;
        settle_good(s);
        for (size_t i = 0; i < s->rollout->n_members; i++)
                json_decref(s->disk_members[i]);
        json_decref(s->disk_rollout);
        s->disk_rollout = NULL;
        free(s->disk_members);
        free(s->node_of_member);
        s->disk_members = NULL;
        s->node_of_member = NULL;
        s->rollout = rollout_free(s->rollout);
}

static struct quantity draw_quantity(struct sim *s, int64_t number, int64_t percent) {
        double p = prng_unit(&s->random);
        if (p < 0.4)
                return (struct quantity){0};
        if (p < 0.7)
                return (struct quantity){true, false, (int64_t)prng_below(&s->random, (uint64_t)number + 1)};
        return (struct quantity){true, true, (int64_t)prng_below(&s->random, (uint64_t)percent + 1)};
}

static void draw_people(struct sim *s, struct rollout_policy *p) {
        for (size_t i = 0; i < p->n_waves; i++) {
                if (sim_chance(s, 0.2))
                        p->waves[i].approvals = 1 + (int64_t)prng_below(&s->random, 2);
                if (sim_chance(s, 0.3))
                        p->waves[i].failure_budget = draw_quantity(s, 2, 30);
                if (sim_chance(s, 0.2))
                        p->waves[i].min_sample = 1 + (int64_t)prng_below(&s->random, 4);
        }
        if (sim_chance(s, 0.3))
                p->download_deadline_ms = sim_span(s, 2 * MINUTE);
        if (sim_chance(s, 0.3))
                p->apply_deadline_ms = sim_span(s, 2 * MINUTE);
        if (sim_chance(s, 0.3))
                p->confirm_deadline_ms = sim_span(s, 2 * MINUTE);
}

static void draw_budgets(struct sim *s, struct rollout_policy *p, struct rollout_budget budgets[2]) {
        static const char *site[] = {"site"};
        p->budgets = budgets;
        if (sim_chance(s, 0.4))
                budgets[p->n_budgets++] =
                        (struct rollout_budget){.max_unavailable = {true, sim_chance(s, 0.5),
                                                                    1 + (int64_t)prng_below(&s->random, 30)}};
        if (sim_chance(s, 0.4))
                budgets[p->n_budgets++] =
                        (struct rollout_budget){.group_by = site,
                                                .n_group_by = 1,
                                                .max_unavailable = {true, sim_chance(s, 0.5),
                                                                    1 + (int64_t)prng_below(&s->random, 10)}};
}

static void draw_policy(struct sim *s, struct rollout_policy *p, struct rollout_wave_policy waves[4],
                        struct pair canary[1], struct rollout_budget budgets[2]) {
        static const char *const names[] = {"canary", "early", "many", "late"};
        rollout_policy_default(p);
        p->n_waves = prng_below(&s->random, 5);
        p->waves = waves;
        canary[0] = (struct pair){"canary", "true"};
        for (size_t i = 0; i < p->n_waves; i++) {
                waves[i] = (struct rollout_wave_policy){.name = names[i], .limit = draw_quantity(s, 10, 50)};
                if (i == 0 && sim_chance(s, 0.6))
                        waves[i].selector.match_labels = (struct pairs){canary, 1};
                if (waves[i].limit.is_set && waves[i].limit.value == 0)
                        waves[i].limit.value = 1;
                if (sim_chance(s, 0.6))
                        waves[i].pause_ms = sim_span(s, MINUTE);
                if (sim_chance(s, 0.3))
                        waves[i].success_threshold =
                                (struct quantity){true, true, 50 + (int64_t)prng_below(&s->random, 51)};
        }
        draw_people(s, p);
        draw_budgets(s, p, budgets);
        p->max_failed = draw_quantity(s, 3, 20);
        p->min_sample = 1 + (int64_t)prng_below(&s->random, 3);
        p->progress_deadline_ms = sim_span(s, 5 * MINUTE);
        p->defer_after_ms = sim_chance(s, 0.1) ? 0 : sim_span(s, 40 * SECOND);
        p->rollback_on_failure = sim_chance(s, 0.75);
}

/* No node is in two waves, everyone is in one: the rollout holds the fleet. */
static void map_members(struct sim *s) {
        struct rollout *r = s->rollout;
        s->node_of_member = calloc(MAX(r->n_members, 1u), sizeof(*s->node_of_member));
        s->disk_members = calloc(MAX(r->n_members, 1u), sizeof(*s->disk_members));
        if (!s->node_of_member || !s->disk_members)
                abort();
        for (size_t i = 0; i < s->n_nodes; i++) {
                size_t member = member_of(s, i);
                if ((member == SIZE_MAX) != s->nodes[i].removed)
                        sim_fail(s, "%s is no member", s->nodes[i].name);
                if (member != SIZE_MAX)
                        s->node_of_member[member] = i;
        }
}

void sim_server_begin(struct sim *s) {
        struct rollout_policy policy;
        struct rollout_wave_policy waves[4];
        struct pair canary[1];
        struct rollout_budget budgets[2];
        struct err *err = NULL;
        if (s->rollout && !rollout_phase_is_final(s->rollout->phase))
                (void)sim_server_step(s, &(struct rollout_event){.type = ROLLOUT_EVENT_SUPERSEDE});
        sim_server_done(s);
        s->rollout_number++;
        s->revision = s->n_revisions++;
        s->badness[s->revision] = sim_chance(s, 0.6) ? 0.01 : prng_unit(&s->random);
        draw_policy(s, &policy, waves, canary, budgets);

        struct rollout_candidate *candidates = calloc(MAX(s->n_nodes, 1u), sizeof(*candidates));
        char(*names)[24] = calloc(MAX(s->n_nodes, 1u), sizeof(*names));
        size_t n = 0;
        if (!candidates || !names)
                abort();
        for (size_t i = 0; i < s->n_nodes; i++) {
                struct sim_node *node = &s->nodes[i];
                if (node->removed)
                        continue;
                sim_revision_name(node->good, names[n]);
                candidates[n] = (struct rollout_candidate){.node = node->name,
                                                           .labels = {node->labels, 2},
                                                           .connected = node->online,
                                                           .previous_revision = node->good ? names[n] : NULL};
                n++;
        }
        char id[27], revision[24];
        (void)snprintf(id, sizeof(id), "rollout-%d", s->rollout_number);
        sim_revision_name(s->revision, revision);
        if (rollout_new(id, "fleet", revision, &policy, candidates, n, s->now, &s->rollout, &err) < 0)
                sim_fail(s, "%s", err_message(err));
        free(candidates);
        free(names);
        map_members(s);
        s->finished = 0;
        store(s, NULL, true);
        (void)sim_server_step(s, &(struct rollout_event){.type = ROLLOUT_EVENT_START});
}
