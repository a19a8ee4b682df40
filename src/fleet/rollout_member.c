/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/rollout_member.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

/* ---- transitions */

#define TO(x) (1u << MEMBER_##x)
#define AT_WORK (TO(DOWNLOADING) | TO(STAGED) | TO(WAITING_WINDOW) | TO(APPLYING) | TO(CONFIRMING))
#define REPORTED (AT_WORK | TO(HEALTHY) | TO(FAILED) | TO(ROLLED_BACK))

/* Pending is reached again by RETRY of a rollout that has ended; RolledBack and Failed from anywhere on the
 * way back. */
static const uint32_t member_next[] = {
        [MEMBER_PENDING] = TO(OFFERED) | TO(ROLLED_BACK) | TO(FAILED),
        [MEMBER_OFFERED] = REPORTED | TO(DEFERRED) | TO(PENDING),
        [MEMBER_DOWNLOADING] = REPORTED | TO(TIMED_OUT) | TO(DEFERRED) | TO(PENDING),
        [MEMBER_STAGED] = REPORTED | TO(TIMED_OUT) | TO(DEFERRED) | TO(PENDING),
        [MEMBER_WAITING_WINDOW] = REPORTED | TO(PENDING),
        [MEMBER_APPLYING] = REPORTED | TO(TIMED_OUT) | TO(PENDING),
        [MEMBER_CONFIRMING] = REPORTED | TO(TIMED_OUT) | TO(PENDING),
        [MEMBER_HEALTHY] = AT_WORK | TO(FAILED) | TO(ROLLED_BACK) | TO(PENDING),
        [MEMBER_FAILED] = REPORTED | TO(OFFERED) | TO(PENDING),
        [MEMBER_ROLLED_BACK] = REPORTED | TO(OFFERED) | TO(PENDING),
        [MEMBER_TIMED_OUT] = REPORTED | TO(OFFERED) | TO(PENDING),
        [MEMBER_DEFERRED] = REPORTED | TO(OFFERED) | TO(PENDING),
};

static bool member_may_become(const struct rollout_member *m, enum member_state to) {
        return (member_next[m->state] >> to) & 1u;
}

static bool is_report(enum member_state state) {
        return (unsigned)state <= MEMBER_DEFERRED && ((REPORTED >> state) & 1u);
}

/* ---- effects */

void step_push(struct step *s, enum rollout_effect_type type, size_t member, char *text) {
        struct rollout_effects *e = s->effects;
        if (e->n == e->cap) {
                size_t cap = MAX(e->cap * 2, 16u);
                struct rollout_effect *items = reallocarray(e->items, cap, sizeof(*items));
                if (!items) {
                        free(text);
                        s->error = -ENOMEM;
                        return;
                }
                e->items = items;
                e->cap = cap;
        }
        e->items[e->n++] = (struct rollout_effect){.type = type, .member = member, .text = text};
}

void rollout_effects_done(struct rollout_effects *e) {
        for (size_t i = 0; i < e->n; i++)
                free(e->items[i].text);
        free(e->items);
        *e = (struct rollout_effects){0};
}

char *step_text(struct step *s, const char *format, ...) {
        char *text = NULL;
        va_list ap;
        va_start(ap, format);
        if (vasprintf(&text, format, ap) < 0) {
                text = NULL;
                s->error = -ENOMEM;
        }
        va_end(ap);
        return text;
}

/* Takes the text (NULL when memory was out). */
void step_note(struct step *s, char *text) {
        if (text)
                step_push(s, ROLLOUT_EFFECT_NOTE, SIZE_MAX, text);
}

static void set_text(struct step *s, char **dst, const char *src) {
        if (*dst != src && !str_eq(*dst, src) && str_replace(dst, src) < 0)
                s->error = -ENOMEM;
}

/* ---- members: every change lies between member_edit() and member_done() */

struct rollout_member *member_edit(struct step *s, size_t i) {
        rollout_index_take(s->r, i);
        return &s->r->members[i];
}

void member_done(struct step *s, size_t i) {
        rollout_index_put(s->r, i);
        if (!s->r->index->touched[i] && (RULE_HOLDS(STORED) || s->r->members[i].state != MEMBER_STAGED)) {
                s->r->index->touched[i] = true;
                step_push(s, ROLLOUT_EFFECT_MEMBER, i, NULL);
        }
}

/* The one gate of member states. */
static void set_state(struct step *s, struct rollout_member *m, enum member_state to) {
        if (m->state == to)
                return;
        if (!member_may_become(m, to)) { /* a mistake in this file: stop before it is stored */
                s->error = -ENOTRECOVERABLE;
                return;
        }
        m->state = to;
        m->since = s->now;
}

static void stop_clock(struct rollout_member *m) {
        m->deadline = m->remaining = m->phase_deadline = 0;
}

/* It waits for leave to apply, not we for it. */
static bool stands_still(const struct rollout_member *m, enum member_state state) {
        return state == MEMBER_WAITING_WINDOW || (state == MEMBER_STAGED && !m->granted);
}

void member_offer(struct step *s, size_t i) {
        struct rollout_member *m = member_edit(s, i);
        set_state(s, m, MEMBER_OFFERED);
        stop_clock(m);
        m->deadline = s->now + s->r->policy.progress_deadline_ms;
        m->offered = s->now;
        m->accepted = 0;
        m->assigned = true;
        m->went_back = false;
        m->failed = m->waived = m->proven = false;
        m->granted = !rollout_policy_has_slots(&s->r->policy);
        set_text(s, &m->reason, NULL);
        member_done(s, i);
        step_push(s, ROLLOUT_EFFECT_ASSIGN, i, NULL);
}

static void mark_failed(struct step *s, struct rollout_member *m) {
        m->failed = true;
        m->waived = false;
        m->slot = false;
        stop_clock(m);
        s->culprit = (size_t)(m - s->r->members);
}

static void defer(struct step *s, size_t i) {
        char after[32];
        struct rollout_member *m = member_edit(s, i);
        duration_format(m->connected ? s->r->policy.progress_deadline_ms : s->r->policy.defer_after_ms, after,
                        sizeof(after));
        free(m->reason);
        if (m->state == MEMBER_DOWNLOADING)
                m->reason = step_text(s, "went away while downloading");
        else if (m->state == MEMBER_STAGED)
                m->reason = step_text(s, "went away before its turn to apply");
        else if (m->connected)
                m->reason = step_text(s, "connected, but did not answer the offer within %s", after);
        else
                m->reason = step_text(s, "not reached within %s", after);
        set_state(s, m, MEMBER_DEFERRED);
        stop_clock(m);
        m->accepted = 0;
        m->straggler = true;
        m->slot = false;
        member_done(s, i);
}

/* What the policy gives one phase of the work alone; 0: nothing of its own. */
static msec_t phase_deadline(const struct rollout *r, enum member_state state) {
        switch (state) {
        case MEMBER_DOWNLOADING: return r->policy.download_deadline_ms;
        case MEMBER_APPLYING: return r->policy.apply_deadline_ms;
        case MEMBER_CONFIRMING: return r->policy.confirm_deadline_ms;
        case MEMBER_PENDING:
        case MEMBER_OFFERED:
        case MEMBER_STAGED:
        case MEMBER_WAITING_WINDOW:
        case MEMBER_HEALTHY:
        case MEMBER_FAILED:
        case MEMBER_ROLLED_BACK:
        case MEMBER_TIMED_OUT:
        case MEMBER_DEFERRED: break;
        }
        return 0;
}

static void time_out(struct step *s, size_t i) {
        char within[32];
        struct rollout_member *m = member_edit(s, i);
        bool phase = m->phase_deadline != 0 && m->phase_deadline <= s->now && m->deadline > s->now;
        duration_format(phase ? phase_deadline(s->r, m->state) : s->r->policy.progress_deadline_ms, within,
                        sizeof(within));
        free(m->reason);
        m->reason = step_text(s, phase ? "more than %s %s%s" : "not healthy within %s, last seen %s%s",
                              within, member_state_name(m->state), m->connected ? "" : ", silent since");
        set_state(s, m, MEMBER_TIMED_OUT);
        mark_failed(s, m);
        member_done(s, i);
}

void member_give_up_way_back(struct step *s, size_t i) {
        struct rollout_member *m = member_edit(s, i);
        m->going_back = false;
        stop_clock(m);
        set_text(s, &m->reason, "did not confirm that it went back");
        member_done(s, i);
}

/* It kept a slot in which it does nothing, and was asked long enough. */
static void member_release(struct step *s, size_t i) {
        struct rollout_member *m = member_edit(s, i);
        m->slot = false;
        m->deadline = 0;
        member_done(s, i);
}

/* Its time is over. */
void member_expire(struct step *s, size_t i) {
        const struct rollout_member *m = &s->r->members[i];
        if (m->going_back)
                member_give_up_way_back(s, i);
        else if (m->state == MEMBER_OFFERED || (m->state == MEMBER_DOWNLOADING && !m->connected) ||
                 rollout_member_may_go_away(m) ||
                 (!RULE_HOLDS(SILENCE) && m->state <= MEMBER_STAGED && m->state != MEMBER_PENDING))
                defer(s, i);
        else if (m->state == MEMBER_PENDING || m->state == MEMBER_WAITING_WINDOW || m->failed)
                member_release(s, i);
        else
                time_out(s, i);
}

/* The clock of a member that is at work now. It runs from the acceptance, stands still while the member waits
 * for a window or a slot, and runs for one that failed only as
 * long as that may keep its slot: the rest is decided. */
static void run_clock(struct step *s, struct rollout_member *m, enum member_state from,
                      enum member_state to) {
        const struct rollout *r = s->r;
        bool fresh = !member_state_is_at_work(from) || (m->remaining == 0 && m->deadline == 0);
        msec_t left = fresh              ? r->policy.progress_deadline_ms
                      : m->remaining > 0 ? m->remaining
                                         : MAX(m->deadline - s->now, 1);
        bool live = !rollout_phase_is_final(r->phase) || (r->phase == ROLLOUT_SUCCEEDED && m->slot);
        stop_clock(m);
        if (m->failed) {
                /* Nobody waits for it, but for the slot that it took. */
                if (m->slot && live)
                        m->deadline = s->now + r->policy.progress_deadline_ms;
                return;
        }
        if (stands_still(m, to))
                m->remaining = left;
        if (!live)
                return;
        if (stands_still(m, to)) {
                if (m->slot) /* it is to give its slot back */
                        m->deadline = s->now + r->policy.progress_deadline_ms;
                return;
        }
        m->deadline = s->now + left;
        msec_t phase = phase_deadline(r, to);
        if (phase > 0)
                m->phase_deadline = s->now + phase;
}

/* Does the member need to be told again what it may do? Keeps its slot in step with where it is. A member in
 * its window's waiting room does not need one: it gives it back, and asks again when the window opens. It has
 * given it back when it says that it waits on an assignment without a grant (reports about older assignments
 * do not come this far). */
static bool adjust_slot(struct step *s, struct rollout_member *m) {
        bool applies = m->state == MEMBER_APPLYING || m->state == MEMBER_CONFIRMING;
        if (!rollout_policy_has_slots(&s->r->policy))
                return false;
        if (!member_state_is_at_work(m->state)) {
                m->slot = false;
                return false;
        }
        if (m->state == MEMBER_WAITING_WINDOW) {
                m->slot = m->granted && RULE_HOLDS(SLOT_REVOKED); /* until it has heard that it has none */
                m->granted = false;
                return m->slot || !RULE_HOLDS(SLOT_REVOKED);
        }
        if (m->state == MEMBER_STAGED && m->slot && !m->granted) {
                m->slot = m->granted = rollout_may_grant(s->r);
                return m->granted;
        }
        m->slot |= applies || m->granted;
        return false;
}

/* A member says where it is with the rollout's revision. */
void member_take_report(struct step *s, size_t i, enum member_state to, const char *reason) {
        const struct rollout_member *old = &s->r->members[i];
        if (!is_report(to) || old->state == MEMBER_PENDING)
                return; /* Pending: nothing was offered, so it speaks of something else */
        bool gives_back = old->slot && !old->granted && old->state == to && to == MEMBER_WAITING_WINDOW;
        if (old->state == to ? str_eq(old->reason, reason) && !gives_back : !member_may_become(old, to))
                return;
        struct rollout_member *m = member_edit(s, i);
        enum member_state from = m->state;
        bool tell = false;
        set_text(s, &m->reason, reason);
        if (m->accepted == 0)
                m->accepted = s->now;
        set_state(s, m, to);
        if (to != from || gives_back) {
                tell = adjust_slot(s, m);
                if (member_state_is_at_work(to))
                        run_clock(s, m, from, to);
                else if (member_state_is_failure(to))
                        mark_failed(s, m);
                else
                        stop_clock(m);
                m->proven |= to == MEMBER_HEALTHY;
        }
        member_done(s, i);
        if (tell)
                step_push(s, ROLLOUT_EFFECT_ASSIGN, i, NULL);
}

void member_grant(struct step *s, size_t i) {
        struct rollout_member *m = member_edit(s, i);
        m->granted = m->slot = true;
        run_clock(s, m, m->state, m->state);
        member_done(s, i);
        step_push(s, ROLLOUT_EFFECT_ASSIGN, i, NULL);
}

/* A member that was told to go back says where it is with its previous revision. */
void member_take_report_back(struct step *s, size_t i, enum member_state state, const char *reason) {
        const struct rollout_member *old = &s->r->members[i];
        bool failed = member_state_is_failure(state);
        if (old->assigned || old->offered == 0 || old->went_back || (state != MEMBER_HEALTHY && !failed))
                return;
        if (failed && !old->going_back)
                return;
        struct rollout_member *m = member_edit(s, i);
        m->going_back = false;
        stop_clock(m);
        if (failed) {
                free(m->reason);
                m->reason = step_text(s, "could not go back: %s", reason ? reason : "no reason given");
                set_state(s, m, MEMBER_FAILED);
                m->failed = true;
        } else {
                m->went_back = true;
                if (!m->failed)
                        set_text(s, &m->reason, NULL);
                set_state(s, m, MEMBER_ROLLED_BACK);
        }
        member_done(s, i);
}

void member_send_back(struct step *s, size_t i) {
        struct rollout_member *m = member_edit(s, i);
        m->assigned = false;
        m->went_back = false;
        m->slot = m->granted = false;
        stop_clock(m);
        if (m->previous_revision && !(m->state == MEMBER_DEFERRED && m->accepted == 0)) {
                m->going_back = true;
                m->deadline = s->now + s->r->policy.progress_deadline_ms;
        }
        member_done(s, i);
        step_push(s, ROLLOUT_EFFECT_ASSIGN_BACK, i, NULL);
}

/* ---- what rollout_step.c decides about a member */

void member_forgive(struct step *s, size_t i) {
        struct rollout_member *m = member_edit(s, i);
        m->failed = m->waived = false;
        run_clock(s, m, MEMBER_OFFERED, m->state);
        member_done(s, i);
}

void member_reset(struct step *s, size_t i) {
        struct rollout_member *m = member_edit(s, i);
        set_state(s, m, MEMBER_PENDING);
        stop_clock(m);
        m->failed = m->waived = m->straggler = m->proven = m->going_back = m->went_back = false;
        m->slot = m->granted = false;
        m->accepted = 0;
        if (!m->assigned)
                m->offered = 0;
        set_text(s, &m->reason, NULL);
        member_done(s, i);
}

void member_set_connected(struct step *s, size_t i, bool connected) {
        struct rollout_member *m = member_edit(s, i);
        m->connected = connected;
        if (!RULE_HOLDS(SLOT_SILENCE) && !connected)
                m->slot = false;
        m->gone_at = connected ? 0 : s->now;
        member_done(s, i);
}

void member_remove(struct step *s, size_t i) {
        struct rollout_member *m = member_edit(s, i);
        m->removed = true;
        m->going_back = m->slot = false;
        stop_clock(m);
        member_done(s, i);
}

void member_waive(struct step *s, size_t i) {
        struct rollout_member *m = member_edit(s, i);
        m->waived = true;
        member_done(s, i);
}

void member_leave_behind(struct step *s, size_t i) {
        struct rollout_member *m = member_edit(s, i);
        m->straggler = true;
        member_done(s, i);
}
