/* SPDX-License-Identifier: Apache-2.0 */
/* How a rollout moves. The tables here are those of docs/rollouts.md.
 *
 * Every event ends in settle(), which looks at the counters alone and does what they call for, so that no
 * order of events leads to another outcome than the counts do. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "fleet/rollout_member.h"

/* ---- phases */

/* Takes the text. */
void step_set_reason(struct step *s, char *text) {
        free(s->r->reason);
        s->r->reason = text;
        s->changed = true;
}

#define PHASE(x) (1u << ROLLOUT_##x)
#define ANY_END (PHASE(SUCCEEDED) | PHASE(FAILED) | PHASE(ABORTED) | PHASE(SUPERSEDED))

static const uint32_t phase_next[] = {
        [ROLLOUT_PENDING] = PHASE(PROGRESSING) | PHASE(ABORTED) | PHASE(SUPERSEDED),
        [ROLLOUT_PROGRESSING] = PHASE(SOAKING) | PHASE(AWAITING_APPROVAL) | PHASE(ROLLING_BACK) | ANY_END,
        [ROLLOUT_SOAKING] = PHASE(PROGRESSING) | PHASE(ROLLING_BACK) | ANY_END,
        [ROLLOUT_AWAITING_APPROVAL] = PHASE(PROGRESSING) | PHASE(ROLLING_BACK) | ANY_END,
        [ROLLOUT_ROLLING_BACK] = PHASE(ROLLED_BACK) | PHASE(FAILED) | PHASE(ABORTED) | PHASE(SUPERSEDED),
        [ROLLOUT_SUCCEEDED] = 0,
        [ROLLOUT_FAILED] = PHASE(PROGRESSING),
        [ROLLOUT_ABORTED] = PHASE(PROGRESSING),
        [ROLLOUT_ROLLED_BACK] = PHASE(PROGRESSING),
        [ROLLOUT_SUPERSEDED] = 0,
};

void step_set_phase(struct step *s, enum rollout_phase to) {
        if (s->r->phase == to)
                return;
        if (!((phase_next[s->r->phase] >> to) & 1u)) {
                s->error = -ENOTRECOVERABLE;
                return;
        }
        s->r->phase = to;
        s->changed = true;
}

/* Takes the reason. */
void step_finish(struct step *s, enum rollout_phase phase, char *reason) {
        step_set_phase(s, phase);
        s->r->finished_at = s->now;
        s->r->paused = false;
        step_set_reason(s, reason);
        step_note(s, step_text(s, "rollout %s%s%s", rollout_phase_name(phase), reason ? ": " : "",
                               reason ? reason : ""));
        s->finished = true;
}

static char *text_of_stragglers(struct step *s) {
        const struct wave_tally *t = rollout_tally_all(s->r);
        size_t k = t->total - t->ok - t->bad - t->waived;
        return k > 0 ? step_text(s, "%zu deferred", k) : NULL;
}

/* Everybody who goes back has confirmed, or is waited for no longer. */
static void finish_rollback(struct step *s) {
        struct rollout *r = s->r;
        size_t unconfirmed = 0;
        bool had_previous = false;
        for (size_t i = 0; i < r->n_members; i++) {
                const struct rollout_member *m = &r->members[i];
                if (m->removed || m->offered == 0 || !m->previous_revision)
                        continue;
                had_previous = true;
                /* One that never answered an offer never left its previous revision. */
                unconfirmed += !m->went_back && !(m->state == MEMBER_DEFERRED && m->accepted == 0);
        }
        const char *why = r->reason ? r->reason : "by request";
        if (!had_previous)
                step_finish(s, r->gave_up ? ROLLOUT_FAILED : ROLLOUT_ABORTED,
                            step_text(s, "%s; there is nothing to go back to", why));
        else if (unconfirmed > 0)
                step_finish(s, ROLLOUT_ROLLED_BACK,
                            step_text(s, "%s; %zu node%s not confirmed", why, unconfirmed,
                                      unconfirmed == 1 ? "" : "s"));
        else
                step_finish(s, ROLLOUT_ROLLED_BACK, step_text(s, "%s", why));
}

/* Takes the reason. */
void step_roll_back(struct step *s, char *reason) {
        struct rollout *r = s->r;
        size_t n = 0;
        step_set_phase(s, ROLLOUT_ROLLING_BACK);
        r->paused = false;
        step_set_reason(s, reason);
        for (size_t i = 0; i < r->n_members; i++) {
                if (!r->members[i].assigned || r->members[i].removed)
                        continue;
                if (!RULE_HOLDS(WAY_BACK) && r->members[i].state == MEMBER_HEALTHY)
                        continue;
                member_send_back(s, i);
                n++;
        }
        step_note(s, step_text(s, "rolling %zu node%s back: %s", n, n == 1 ? "" : "s",
                               reason ? reason : "by request"));
}

/* The limit of failures is met. Takes the reason. */
static void give_up(struct step *s, char *reason) {
        struct rollout *r = s->r;
        r->gave_up = true;
        s->changed = true;
        if (r->policy.rollback_on_failure) {
                step_roll_back(s, reason);
                return;
        }
        r->paused = true;
        step_set_reason(s, reason);
        step_note(s, step_text(s, "paused: %s", reason ? reason : "failed"));
}

static char *text_of_failure(struct step *s, char *what) {
        const struct rollout_member *m = s->culprit != SIZE_MAX ? &s->r->members[s->culprit] : NULL;
        if (!what || !m)
                return what;
        char *text = step_text(s, "%s (%s: %s)", what, m->node,
                               m->reason ? m->reason : member_state_name(m->state));
        free(what);
        return text;
}

static void begin_wave(struct step *s) {
        struct rollout *r = s->r;
        struct rollout_wave *w = &r->waves[r->wave];
        w->started_at = s->now;
        s->changed = true;
        step_note(s, step_text(s, "wave %s begins: %zu node%s", w->name, rollout_tally(r, r->wave)->total,
                               rollout_tally(r, r->wave)->total == 1 ? "" : "s"));
        for (size_t i = 0; i < r->n_members; i++) {
                const struct rollout_member *m = &r->members[i];
                if ((m->wave == r->wave || !RULE_HOLDS(ONE_WAVE)) && m->state == MEMBER_PENDING &&
                    !m->removed)
                        member_offer(s, i);
        }
}

static char *text_of_wait(struct step *s) {
        const struct rollout *r = s->r;
        const struct rollout_wave *w = &r->waves[r->wave];
        _cleanup_(x_freep) char *who = rollout_approvers_text(w->policy);
        size_t has = rollout_wave_approvals(r, r->wave), missing = rollout_wave_missing_approvals(r, r->wave);
        if (!who)
                s->error = -ENOMEM;
        return who ? step_text(s, "wave %s waits to be approved by %s (%zu of %zu)", w->name, who, has,
                               has + missing)
                   : NULL;
}

/* People must say that the wave may begin. True: they have not all said so yet. */
static bool await_approval(struct step *s) {
        struct rollout *r = s->r;
        if (rollout_wave_missing_approvals(r, r->wave) == 0 || !RULE_HOLDS(APPROVAL)) {
                if (r->phase == ROLLOUT_AWAITING_APPROVAL) {
                        step_set_phase(s, ROLLOUT_PROGRESSING);
                        if (!r->paused)
                                step_set_reason(s, NULL);
                }
                return false;
        }
        bool begins = r->phase != ROLLOUT_AWAITING_APPROVAL;
        step_set_phase(s, ROLLOUT_AWAITING_APPROVAL);
        char *text = text_of_wait(s);
        if (begins && text)
                step_note(s, step_text(s, "%s", text));
        if (r->paused || str_eq(r->reason, text))
                free(text);
        else
                step_set_reason(s, text);
        return true;
}

static void pass_wave(struct step *s) {
        struct rollout *r = s->r;
        struct rollout_wave *w = &r->waves[r->wave];
        const struct wave_tally *t = rollout_tally(r, r->wave);
        w->passed_at = s->now;
        s->changed = true;
        step_note(s, step_text(s, "wave %s passed: %zu healthy, %zu failed, %zu deferred", w->name, t->ok,
                               t->bad + t->waived, t->total - t->ok - t->bad - t->waived));
        if (r->wave + 1 == r->n_waves) {
                step_finish(s, ROLLOUT_SUCCEEDED, text_of_stragglers(s));
                return;
        }
        r->wave++;
        step_set_phase(s, ROLLOUT_PROGRESSING);
}

/* Real successes that the wave needs: min_sample, or all where it is smaller. */
static size_t wave_need(const struct rollout *r, size_t wave) {
        const struct wave_tally *t = rollout_tally(r, wave);
        const struct rollout_wave_policy *p = r->waves[wave].policy;
        int64_t sample = p && p->min_sample > 0 ? p->min_sample : r->policy.min_sample;
        if (!RULE_HOLDS(SAMPLE))
                return 0;
        return (size_t)MIN(sample, (int64_t)(t->total - t->waived));
}

/* Failures of one wave above its own budget, whether it is the current one or has passed: a text, or NULL. */
static char *find_overspent_wave(struct step *s) {
        const struct rollout *r = s->r;
        for (size_t i = 0; i < r->n_waves && i <= r->wave; i++) {
                const struct rollout_wave_policy *p = r->waves[i].policy;
                const struct wave_tally *t = rollout_tally(r, i);
                if (!p || !p->failure_budget.is_set)
                        continue;
                int64_t budget = quantity_of(&p->failure_budget, (int64_t)t->total);
                if (RULE_HOLDS(WAVE_BUDGET) && (int64_t)t->failures > budget)
                        return step_text(s, "%zu node%s of wave %s failed, %" PRId64 " tolerated",
                                         t->failures, t->failures == 1 ? "" : "s", r->waves[i].name, budget);
        }
        return NULL;
}

static int64_t tolerated_failures(const struct rollout *r) {
        return quantity_of(&r->policy.max_failed, (int64_t)rollout_tally_all(r)->total);
}

/* Why the rollout cannot succeed any more, or NULL. */
static char *find_failure(struct step *s) {
        const struct rollout *r = s->r;
        int64_t tolerated = tolerated_failures(r);
        if (RULE_HOLDS(MAX_FAILED) && (int64_t)rollout_tally_all(r)->failures > tolerated)
                return text_of_failure(s,
                                       step_text(s, "%zu node%s failed, %" PRId64 " tolerated",
                                                 rollout_tally_all(r)->failures,
                                                 rollout_tally_all(r)->failures == 1 ? "" : "s", tolerated));
        char *overspent = find_overspent_wave(s);
        if (overspent)
                return text_of_failure(s, overspent);
        const struct rollout_wave *w = &r->waves[r->wave];
        if (w->started_at == 0 || w->promoted)
                return NULL;
        const struct wave_tally *t = rollout_tally(r, r->wave);
        size_t possible = t->ok + t->undecided + t->late + t->relapsed;
        if (possible + t->deferred < wave_need(r, r->wave))
                return text_of_failure(s, step_text(s, "wave %s cannot have %zu healthy node%s any more",
                                                    w->name, wave_need(r, r->wave),
                                                    wave_need(r, r->wave) == 1 ? "" : "s"));
        int64_t needed = quantity_of(&w->success_threshold, (int64_t)(possible + t->bad));
        if ((int64_t)possible < needed) {
                char text[QUANTITY_TEXT_SIZE];
                return text_of_failure(
                        s, step_text(s, "wave %s cannot meet its success threshold of %s any more", w->name,
                                     quantity_format(&w->success_threshold, text)));
        }
        return NULL;
}

/* Of those that are decided or were Healthy before, are enough Healthy now? Without a threshold, as many as
 * may still fail need not be. */
static bool threshold_is_met(const struct rollout *r) {
        const struct wave_tally *t = rollout_tally(r, r->wave);
        const struct quantity *threshold = &r->waves[r->wave].success_threshold;
        if (!threshold->is_set)
                return (int64_t)(rollout_tally_all(r)->failures + t->relapsed) <= tolerated_failures(r);
        return (int64_t)t->ok >= quantity_of(threshold, (int64_t)(t->ok + t->bad + t->relapsed));
}

static bool wave_is_healthy(const struct rollout *r) {
        const struct wave_tally *t = rollout_tally(r, r->wave);
        if (t->total == 0 && r->paused)
                return false; /* see on_removed() */
        if (r->waves[r->wave].promoted)
                return true;
        return (t->undecided == 0 || !RULE_HOLDS(UNDECIDED)) && t->ok >= wave_need(r, r->wave) &&
               threshold_is_met(r);
}

static bool soak_is_observed(const struct rollout *r) {
        return !RULE_HOLDS(OBSERVED) || rollout_tally(r, r->wave)->observed >= wave_need(r, r->wave);
}

/* The wave is as it should be: lets it soak, or pass when it has. True: it passed. */
static bool soak(struct step *s) {
        struct rollout *r = s->r;
        struct rollout_wave *w = &r->waves[r->wave];
        if (w->healthy_at == 0) {
                char pause[32];
                w->healthy_at = s->now;
                s->changed = true;
                if (rollout_soak_until(r, w) > s->now)
                        step_note(s, step_text(s, "wave %s is healthy: soaks for %s", w->name,
                                               duration_format(w->pause_ms - w->soaked_ms, pause,
                                                               sizeof(pause))));
        }
        if (r->paused || (!w->promoted && ((RULE_HOLDS(SOAK) && s->now < rollout_soak_until(r, w)) ||
                                           !soak_is_observed(r)))) {
                step_set_phase(s, ROLLOUT_SOAKING);
                return false;
        }
        pass_wave(s);
        return true;
}

/* The clock of the soak stands still until the wave is healthy again. */
static void interrupt_soak(struct step *s) {
        struct rollout_wave *w = &s->r->waves[s->r->wave];
        if (w->healthy_at == 0)
                return;
        w->soaked_ms = MIN(w->soaked_ms + MAX(s->now - w->healthy_at, 0), w->pause_ms);
        w->healthy_at = 0;
        s->changed = true;
        step_set_phase(s, ROLLOUT_PROGRESSING);
        step_note(s, step_text(s, "wave %s is not healthy any more: its soak stands still", w->name));
}

static void grant_slots(struct step *s) {
        while (rollout_may_grant(s->r) && s->error == 0) {
                size_t member = rollout_slots_next(s->r, s->r->index->slots);
                if (member == SIZE_MAX)
                        return;
                member_grant(s, member);
        }
}

/* Does what the counters call for. */
static void settle_phase(struct step *s) {
        struct rollout *r = s->r;
        while (rollout_is_under_way(r) && !r->gave_up && s->error == 0) {
                if (r->n_waves == 0) {
                        step_finish(s, ROLLOUT_SUCCEEDED, NULL);
                        return;
                }
                char *failure = find_failure(s);
                if (failure) {
                        give_up(s, failure);
                        break;
                }
                if (r->waves[r->wave].started_at == 0) {
                        if (await_approval(s) || r->paused)
                                return;
                        begin_wave(s);
                } else if (!wave_is_healthy(r)) {
                        interrupt_soak(s);
                        return;
                } else if (!soak(s)) {
                        return;
                }
        }
        if (r->phase == ROLLOUT_ROLLING_BACK && r->index->going_back == 0)
                finish_rollback(s);
}

static void settle(struct step *s) {
        settle_phase(s);
        grant_slots(s);
}

/* ---- events of nodes and of time */

static void tell_stragglers(struct step *s) {
        char *text = text_of_stragglers(s);
        if (str_eq(text, s->r->reason))
                free(text);
        else
                step_set_reason(s, text);
}

/* Slots are kept after Succeeded, too. */
static bool has_clocks(const struct rollout *r) {
        return !rollout_phase_is_final(r->phase) || (r->phase == ROLLOUT_SUCCEEDED && r->index->slots);
}

static void on_tick(struct step *s) {
        size_t member;
        msec_t wake;
        while (has_clocks(s->r) && rollout_index_first(s->r, &member, &wake) && wake <= s->now &&
               s->error == 0)
                member_expire(s, member);
        if (s->r->phase == ROLLOUT_SUCCEEDED)
                tell_stragglers(s);
}

bool rollout_wave_has_begun(const struct rollout *r, const struct rollout_member *m) {
        return r->waves[m->wave].started_at != 0;
}

bool rollout_may_offer(const struct rollout *r) {
        return rollout_is_under_way(r) && (!r->paused || !RULE_HOLDS(PAUSE));
}

static void on_presence(struct step *s, size_t i, bool connected) {
        const struct rollout_member *m = &s->r->members[i];
        if (m->connected == connected)
                return;
        member_set_connected(s, i, connected);
        if (connected && m->state == MEMBER_DEFERRED && rollout_wave_has_begun(s->r, m) &&
            rollout_may_offer(s->r))
                member_offer(s, i);
}

static void on_node_state(struct step *s, size_t i, const struct rollout_event *event) {
        struct rollout *r = s->r;
        const struct rollout_member *m = &r->members[i];
        if (!event->revision)
                return;
        if (r->phase == ROLLOUT_ROLLING_BACK) {
                if (str_eq(event->revision, m->previous_revision))
                        member_take_report_back(s, i, event->state, event->reason);
                return;
        }
        if (str_eq(event->revision, r->revision) || !RULE_HOLDS(OTHER_REVISION))
                member_take_report(s, i, event->state, event->reason);
}

static void on_removed(struct step *s, size_t i) {
        struct rollout *r = s->r;
        member_remove(s, i);
        s->changed = true; /* its totals */
        /* A wave without nodes proves nothing: that the next one may begin is for a person to say. */
        if (rollout_is_under_way(r) && !r->paused && r->members[i].wave == r->wave &&
            r->waves[r->wave].started_at != 0 && r->waves[r->wave].passed_at == 0 &&
            r->wave + 1 < r->n_waves && rollout_tally(r, r->wave)->total == 0) {
                char *reason = step_text(
                        s, "all nodes of wave %s were removed: resume to go on without it, or abort",
                        r->waves[r->wave].name);
                r->paused = true;
                step_note(s, step_text(s, "paused: %s", reason ? reason : "a wave lost its nodes"));
                step_set_reason(s, reason);
        }
}

/* After Succeeded, those who are not Healthy still report, so that the rollout's "k deferred" stays true. */
static void on_straggler(struct step *s, size_t i, const struct rollout_event *event) {
        if (event->type != ROLLOUT_EVENT_NODE_STATE || s->r->members[i].state == MEMBER_HEALTHY)
                return;
        on_node_state(s, i, event);
        tell_stragglers(s);
}

static int on_node(struct step *s, const struct rollout_event *event, struct err **err) {
        if (!event->node)
                return err_set(err, EINVAL, "an event of a node that names no node");
        size_t i = rollout_find_member(s->r, event->node);
        if (i == SIZE_MAX || s->r->members[i].removed)
                return 0;
        if (s->r->phase == ROLLOUT_SUCCEEDED)
                on_straggler(s, i, event);
        if (rollout_phase_is_final(s->r->phase)) {
                /* Who may be given a slot is for those who are there alone. */
                if (s->r->phase == ROLLOUT_SUCCEEDED && s->r->index->slots &&
                    event->type != ROLLOUT_EVENT_NODE_STATE) {
                        if (event->type == ROLLOUT_EVENT_NODE_REMOVED)
                                member_remove(s, i);
                        else if (s->r->members[i].connected != (event->type == ROLLOUT_EVENT_CONNECTED))
                                member_set_connected(s, i, event->type == ROLLOUT_EVENT_CONNECTED);
                }
                return 0;
        }
        if (event->type == ROLLOUT_EVENT_NODE_STATE)
                on_node_state(s, i, event);
        else if (event->type == ROLLOUT_EVENT_NODE_REMOVED)
                on_removed(s, i);
        else
                on_presence(s, i, event->type == ROLLOUT_EVENT_CONNECTED);
        return 0;
}

/* The time in which nobody was there to listen counts for no deadline and no soak. */
static int on_time_gap(struct step *s, msec_t gap, struct err **err) {
        struct rollout *r = s->r;
        if (gap < 0 || gap > ROLLOUT_TIME_MAX_MS)
                return err_set(err, EINVAL, "a time gap of %" PRId64 " ms", gap);
        if (gap == 0 || !has_clocks(r))
                return 0;
        rollout_index_shift(r, gap); /* first: then the members below are where they belong */
        for (size_t i = 0; i < r->n_members; i++) {
                struct rollout_member *m = &r->members[i];
                if (m->removed || (m->deadline == 0 && m->gone_at == 0))
                        continue;
                if (m->deadline != 0)
                        m->deadline += gap;
                if (m->phase_deadline != 0)
                        m->phase_deadline += gap;
                if (m->gone_at != 0)
                        m->gone_at += gap;
                step_push(s, ROLLOUT_EFFECT_MEMBER, i, NULL);
        }
        if (r->n_waves > 0 && r->waves[r->wave].healthy_at != 0 && r->waves[r->wave].passed_at == 0) {
                r->waves[r->wave].healthy_at += gap;
                s->changed = true;
        }
        return 0;
}

/* ---- the step */

static int dispatch(struct step *s, const struct rollout_event *event, struct err **err) {
        switch (event->type) {
        case ROLLOUT_EVENT_TICK: on_tick(s); return 0;
        case ROLLOUT_EVENT_NODE_STATE:
        case ROLLOUT_EVENT_CONNECTED:
        case ROLLOUT_EVENT_DISCONNECTED:
        case ROLLOUT_EVENT_NODE_REMOVED: return on_node(s, event, err);
        case ROLLOUT_EVENT_TIME_GAP: return on_time_gap(s, event->gap_ms, err);
        case ROLLOUT_EVENT_START:
        case ROLLOUT_EVENT_PAUSE:
        case ROLLOUT_EVENT_RESUME:
        case ROLLOUT_EVENT_ABORT:
        case ROLLOUT_EVENT_RETRY:
        case ROLLOUT_EVENT_SUPERSEDE:
        case ROLLOUT_EVENT_APPROVE:
        case ROLLOUT_EVENT_EMERGENCY:
        case ROLLOUT_EVENT_PROMOTE: return step_person(s, event, err);
        }
        return err_set(err, EINVAL, "unknown event %d", (int)event->type);
}

int rollout_step(struct rollout *r, const struct rollout_event *event, msec_t now,
                 struct rollout_effects *effects, struct err **err) {
        struct step s = {
                .r = r, .now = now, .effects = effects, .first_effect = effects->n, .culprit = SIZE_MAX};
        if (now <= 0)
                return err_set(err, EINVAL, "the time %" PRId64 " is before 1970", now);
        int k = dispatch(&s, event, err);
        if (k < 0)
                return k;
        settle(&s);
        if (s.changed)
                step_push(&s, ROLLOUT_EFFECT_CHANGED, SIZE_MAX, NULL);
        if (s.finished)
                step_push(&s, ROLLOUT_EFFECT_FINISHED, SIZE_MAX, NULL);
        for (size_t i = s.first_effect; i < effects->n; i++)
                if (effects->items[i].type == ROLLOUT_EFFECT_MEMBER)
                        r->index->touched[effects->items[i].member] = false;
        if (s.error == -ENOTRECOVERABLE)
                return err_set(err, ENOTRECOVERABLE, "rollout %s took a step that its tables forbid", r->id);
        return s.error < 0 ? err_set(err, ENOMEM, "rollout %s: out of memory", r->id) : 0;
}

int rollout_restart(const struct rollout *r, struct rollout_effects *effects) {
        struct step s = {.effects = effects};
        bool ended_back = r->phase == ROLLOUT_ROLLING_BACK || r->phase == ROLLOUT_ROLLED_BACK ||
                          r->phase == ROLLOUT_FAILED || r->phase == ROLLOUT_ABORTED;
        for (size_t i = 0; i < r->n_members; i++) {
                const struct rollout_member *m = &r->members[i];
                if (m->removed || r->phase == ROLLOUT_SUPERSEDED)
                        continue;
                if (m->assigned)
                        step_push(&s, ROLLOUT_EFFECT_ASSIGN, i, NULL);
                else if (m->offered != 0 && ended_back)
                        step_push(&s, ROLLOUT_EFFECT_ASSIGN_BACK, i, NULL);
        }
        if (rollout_phase_is_final(r->phase))
                step_push(&s, ROLLOUT_EFFECT_FINISHED, SIZE_MAX, NULL);
        return s.error;
}

msec_t rollout_next_wake(const struct rollout *r) {
        size_t member;
        msec_t wake = 0;
        if (!has_clocks(r))
                return 0;
        if (!rollout_index_first(r, &member, &wake))
                wake = 0;
        /* A soak that nobody observes ends when somebody comes, not by time. */
        if (r->phase == ROLLOUT_SOAKING && !r->paused && soak_is_observed(r)) {
                msec_t end = rollout_soak_until(r, &r->waves[r->wave]);
                wake = wake == 0 ? end : MIN(wake, end);
        }
        return wake;
}
