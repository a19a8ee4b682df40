/* SPDX-License-Identifier: Apache-2.0 */
/* What people say to a rollout. */
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "fleet/rollout_member.h"

static int refuse(const struct rollout *r, const char *verb, struct err **err) {
        return err_set(err, EINVAL, "cannot %s: the rollout is %s", verb, rollout_phase_name(r->phase));
}

static int on_start(struct step *s, struct err **err) {
        if (s->r->phase != ROLLOUT_PENDING)
                return refuse(s->r, "start", err);
        step_set_phase(s, ROLLOUT_PROGRESSING);
        step_note(s, step_text(s, "rollout begins: %zu nodes in %zu waves", s->r->n_members, s->r->n_waves));
        return 0;
}

static int on_pause(struct step *s, const char *reason, struct err **err) {
        struct rollout *r = s->r;
        if (rollout_phase_is_final(r->phase) || r->phase == ROLLOUT_ROLLING_BACK)
                return refuse(r, "pause", err);
        if (r->paused)
                return err_set(err, EINVAL, "cannot pause: the rollout is paused already");
        r->paused = true;
        step_set_reason(s, reason ? step_text(s, "%s", reason) : NULL);
        step_note(s, step_text(s, "paused%s%s", reason ? ": " : "", reason ? reason : ""));
        return 0;
}

/* Who came back while nothing could be offered. */
static void offer_to_returned(struct step *s) {
        for (size_t i = 0; i < s->r->n_members; i++) {
                const struct rollout_member *m = &s->r->members[i];
                if (m->state == MEMBER_DEFERRED && m->connected && !m->removed &&
                    rollout_wave_has_begun(s->r, m))
                        member_offer(s, i);
        }
}

/* Resumed in spite of its failures: they are seen, and count no longer. */
static void waive_failures(struct step *s) {
        for (size_t i = 0; i < s->r->n_members; i++) {
                const struct rollout_member *m = &s->r->members[i];
                if (m->failed && !m->waived && !m->removed)
                        member_waive(s, i);
        }
}

static int on_resume(struct step *s, struct err **err) {
        struct rollout *r = s->r;
        if (!r->paused)
                return err_set(err, EINVAL, "cannot resume: the rollout is not paused");
        if (r->gave_up)
                waive_failures(s);
        r->paused = r->gave_up = false;
        step_set_reason(s, NULL);
        step_note(s, step_text(s, "resumed"));
        if (rollout_may_offer(r))
                offer_to_returned(s);
        return 0;
}

/* Stops waiting: the rollout ends here. */
static void forget_way_back(struct step *s) {
        for (size_t i = 0; i < s->r->n_members; i++)
                if (s->r->members[i].going_back)
                        member_give_up_way_back(s, i);
}

static int on_abort(struct step *s, const struct rollout_event *event, struct err **err) {
        struct rollout *r = s->r;
        if (rollout_phase_is_final(r->phase))
                return refuse(r, "abort", err);
        if (r->phase == ROLLOUT_ROLLING_BACK && event->rollback)
                return err_set(err, EINVAL, "cannot abort: the rollout is rolling back already");
        char *reason = event->reason ? step_text(s, "%s", event->reason) : NULL;
        if (event->rollback && r->phase != ROLLOUT_PENDING) {
                step_roll_back(s, reason);
                return 0;
        }
        forget_way_back(s);
        step_finish(s, r->gave_up ? ROLLOUT_FAILED : ROLLOUT_ABORTED, reason);
        return 0;
}

static bool may_retry(const struct rollout *r, const struct rollout_member *m) {
        return !m->removed && m->failed && m->state != MEMBER_HEALTHY && m->wave <= r->wave;
}

/* Failed members once more, the rollout goes on where it is. */
static int retry_failed(struct step *s, struct err **err) {
        struct rollout *r = s->r;
        size_t n = 0;
        if (r->paused && !r->gave_up)
                return err_set(err, EINVAL, "cannot retry: the rollout is paused, resume it first");
        for (size_t i = 0; i < r->n_members; i++)
                n += may_retry(r, &r->members[i]);
        if (n == 0)
                return err_set(err, EINVAL, "cannot retry: no node has failed");
        for (size_t i = 0; i < r->n_members; i++) {
                if (!may_retry(r, &r->members[i]))
                        continue;
                if (member_state_is_failure(r->members[i].state))
                        member_offer(s, i);
                else
                        member_forgive(s, i);
        }
        if (r->gave_up) {
                r->gave_up = r->paused = false;
                step_set_reason(s, NULL);
        }
        step_note(s, step_text(s, "%zu failed node%s retried", n, n == 1 ? "" : "s"));
        return 0;
}

/* The whole again, from its first wave. Who still has the revision assigned keeps it until then. */
static void begin_anew(struct step *s) {
        struct rollout *r = s->r;
        for (size_t i = 0; i < r->n_members; i++)
                if (!r->members[i].removed && r->members[i].state != MEMBER_PENDING)
                        member_reset(s, i);
        for (size_t i = 0; i < r->n_waves; i++)
                r->waves[i].started_at = r->waves[i].healthy_at = r->waves[i].soaked_ms =
                        r->waves[i].passed_at = 0;
        for (size_t i = 0; i < r->n_waves; i++)
                r->waves[i].promoted = false;
        rollout_forget_approvals(r);
        r->wave = 0;
        r->finished_at = 0;
        r->paused = r->gave_up = false;
        step_set_reason(s, NULL);
        step_set_phase(s, ROLLOUT_PROGRESSING);
        step_note(s, step_text(s, "retried: begins again with its first wave"));
}

static int on_retry(struct step *s, struct err **err) {
        switch (s->r->phase) {
        case ROLLOUT_PROGRESSING:
        case ROLLOUT_SOAKING:
        case ROLLOUT_AWAITING_APPROVAL: return retry_failed(s, err);
        case ROLLOUT_FAILED:
        case ROLLOUT_ABORTED:
        case ROLLOUT_ROLLED_BACK: begin_anew(s); return 0;
        case ROLLOUT_PENDING:
        case ROLLOUT_SUCCEEDED:
        case ROLLOUT_ROLLING_BACK:
        case ROLLOUT_SUPERSEDED: break;
        }
        return refuse(s->r, "retry", err);
}

static int on_supersede(struct step *s, const char *reason, struct err **err) {
        if (rollout_phase_is_final(s->r->phase))
                return refuse(s->r, "supersede", err);
        forget_way_back(s);
        step_finish(s, ROLLOUT_SUPERSEDED, reason ? step_text(s, "%s", reason) : NULL);
        return 0;
}

/* ---- what they agree to */

static const char *const approval_kinds[] = {
        [ROLLOUT_APPROVAL_WAVE] = "Wave",
        [ROLLOUT_APPROVAL_EMERGENCY] = "Emergency",
        [ROLLOUT_APPROVAL_PROMOTE] = "Promote",
};

const char *rollout_approval_kind_name(enum rollout_approval_kind k) {
        return (size_t)k < ARRAY_SIZE(approval_kinds) ? approval_kinds[k] : "Unknown";
}

void rollout_forget_approvals(struct rollout *r) {
        for (size_t i = 0; i < r->n_approvals; i++) {
                free(r->approvals[i].by);
                free(r->approvals[i].reason);
        }
        free(r->approvals);
        r->approvals = NULL;
        r->n_approvals = 0;
        r->emergency = false;
}

/* An emergency is of the whole rollout: the wave it was said in does not matter. */
static bool is_about(const struct rollout_approval *a, enum rollout_approval_kind kind, size_t wave) {
        return a->kind == kind && (kind == ROLLOUT_APPROVAL_EMERGENCY || a->wave == wave);
}

static size_t count_approvals(const struct rollout *r, enum rollout_approval_kind kind, size_t wave) {
        size_t n = 0;
        for (size_t i = 0; i < r->n_approvals; i++)
                n += is_about(&r->approvals[i], kind, wave);
        return n;
}

size_t rollout_wave_approvals(const struct rollout *r, size_t wave) {
        return count_approvals(r, ROLLOUT_APPROVAL_WAVE, wave);
}

size_t rollout_wave_missing_approvals(const struct rollout *r, size_t wave) {
        const struct rollout_wave_policy *p = r->waves[wave].policy;
        size_t needed = p ? (size_t)p->approvals : 0, has = rollout_wave_approvals(r, wave);
        return needed > has ? needed - has : 0;
}

/* "anna", "anna or ben", "anna, ben or carl", "anybody who may act on it"; malloc'ed. */
char *rollout_approvers_text(const struct rollout_wave_policy *p) {
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        if (!p || p->n_approvers == 0)
                return str_dup("anybody who may act on it");
        for (size_t i = 0; i < p->n_approvers; i++) {
                if (i > 0)
                        buf_puts(&text, i + 1 == p->n_approvers ? " or " : ", ");
                buf_puts(&text, p->approvers[i]);
        }
        return buf_take(&text, NULL);
}

static bool may_approve(const struct rollout_wave_policy *p, const char *by) {
        if (!p || p->n_approvers == 0)
                return true;
        for (size_t i = 0; i < p->n_approvers; i++)
                if (str_eq(p->approvers[i], by))
                        return true;
        return false;
}

static int check_person(const struct rollout *r, const struct rollout_event *event, const char *verb,
                        enum rollout_approval_kind kind, struct err **err) {
        size_t len = event->by ? strlen(event->by) : 0;
        if (len == 0 || len > ROLLOUT_PERSON_MAX)
                return err_set(err, EINVAL, "cannot %s: nobody is named who says so", verb);
        if (event->wave && !str_eq(event->wave, r->waves[r->wave].name))
                return err_set(err, EINVAL, "cannot %s: the rollout is at wave %s, not at %.63s", verb,
                               r->waves[r->wave].name, event->wave);
        for (size_t i = 0; i < r->n_approvals; i++)
                if (is_about(&r->approvals[i], kind, r->wave) && str_eq(r->approvals[i].by, event->by))
                        return err_set(err, EINVAL, "cannot %s: %s has said so already", verb, event->by);
        if (r->n_approvals >= ROLLOUT_APPROVALS_KEPT)
                return err_set(err, EINVAL, "cannot %s: the rollout has %zu approvals already", verb,
                               r->n_approvals);
        return 0;
}

static void add_approval(struct step *s, const struct rollout_event *event, enum rollout_approval_kind kind) {
        struct rollout *r = s->r;
        struct rollout_approval *more = reallocarray(r->approvals, r->n_approvals + 1, sizeof(*r->approvals));
        if (!more) {
                s->error = -ENOMEM;
                return;
        }
        r->approvals = more;
        struct rollout_approval *a = &more[r->n_approvals++];
        *a = (struct rollout_approval){.kind = kind,
                                       .wave = r->wave,
                                       .by = str_dup(event->by),
                                       .reason = str_dup(event->reason),
                                       .at = s->now};
        if (!a->by || (event->reason && !a->reason))
                s->error = -ENOMEM;
        s->changed = true;
}

static int on_approve(struct step *s, const struct rollout_event *event, struct err **err) {
        struct rollout *r = s->r;
        if (r->phase != ROLLOUT_AWAITING_APPROVAL)
                return err_set(err, EINVAL, "cannot approve: no wave waits for it, the rollout is %s",
                               rollout_phase_name(r->phase));
        const struct rollout_wave *w = &r->waves[r->wave];
        int k = check_person(r, event, "approve", ROLLOUT_APPROVAL_WAVE, err);
        if (k < 0)
                return k;
        if (!may_approve(w->policy, event->by)) {
                _cleanup_(x_freep) char *who = rollout_approvers_text(w->policy);
                return err_set(err, EINVAL, "cannot approve: wave %s is to be approved by %s, not by %s",
                               w->name, who ? who : "others", event->by);
        }
        add_approval(s, event, ROLLOUT_APPROVAL_WAVE);
        step_note(s, step_text(s, "wave %s approved by %s%s%s", w->name, event->by, event->reason ? ": " : "",
                               event->reason ? event->reason : ""));
        return 0;
}

/* What only two people together can do: true when both have said so. */
static bool both_agree(struct step *s, const struct rollout_event *event, enum rollout_approval_kind kind,
                       const char *what) {
        add_approval(s, event, kind);
        bool both = count_approvals(s->r, kind, s->r->wave) >= ROLLOUT_TWO_PEOPLE || !RULE_HOLDS(TWO_PEOPLE);
        step_note(s, step_text(s, "%s: %s by %s%s%s", what,
                               both ? "agreed" : "asked for, a second person must agree", event->by,
                               event->reason ? ": " : "", event->reason ? event->reason : ""));
        return both;
}

static int on_emergency(struct step *s, const struct rollout_event *event, struct err **err) {
        struct rollout *r = s->r;
        if (!rollout_is_under_way(r) || r->n_waves == 0)
                return refuse(r, "skip the soak", err);
        if (r->emergency)
                return err_set(err, EINVAL, "cannot skip the soak: it is skipped already");
        int k = check_person(r, event, "skip the soak", ROLLOUT_APPROVAL_EMERGENCY, err);
        if (k < 0)
                return k;
        r->emergency = both_agree(s, event, ROLLOUT_APPROVAL_EMERGENCY, "emergency, no more soaks");
        return 0;
}

/* Who is still at work in a wave that people let pass is not waited for. */
static int on_promote(struct step *s, const struct rollout_event *event, struct err **err) {
        struct rollout *r = s->r;
        if (!rollout_is_under_way(r) || r->n_waves == 0)
                return refuse(r, "promote", err);
        if (r->waves[r->wave].started_at == 0)
                return err_set(err, EINVAL, "cannot promote: wave %s has not begun", r->waves[r->wave].name);
        if (r->gave_up)
                return err_set(err, EINVAL,
                               "cannot promote: too many nodes have failed, resume or retry first");
        if (r->waves[r->wave].promoted)
                return err_set(err, EINVAL, "cannot promote: wave %s is promoted already",
                               r->waves[r->wave].name);
        int k = check_person(r, event, "promote", ROLLOUT_APPROVAL_PROMOTE, err);
        if (k < 0)
                return k;
        if (!both_agree(s, event, ROLLOUT_APPROVAL_PROMOTE, "wave promoted"))
                return 0;
        r->waves[r->wave].promoted = true;
        for (size_t i = 0; i < r->n_members; i++) {
                const struct rollout_member *m = &r->members[i];
                if (m->wave == r->wave && !m->removed && !m->straggler && !m->proven &&
                    (m->state == MEMBER_OFFERED || member_state_is_at_work(m->state)))
                        member_leave_behind(s, i);
        }
        return 0;
}

int step_person(struct step *s, const struct rollout_event *event, struct err **err) {
        switch (event->type) {
        case ROLLOUT_EVENT_START: return on_start(s, err);
        case ROLLOUT_EVENT_PAUSE: return on_pause(s, event->reason, err);
        case ROLLOUT_EVENT_RESUME: return on_resume(s, err);
        case ROLLOUT_EVENT_ABORT: return on_abort(s, event, err);
        case ROLLOUT_EVENT_RETRY: return on_retry(s, err);
        case ROLLOUT_EVENT_SUPERSEDE: return on_supersede(s, event->reason, err);
        case ROLLOUT_EVENT_APPROVE: return on_approve(s, event, err);
        case ROLLOUT_EVENT_EMERGENCY: return on_emergency(s, event, err);
        case ROLLOUT_EVENT_PROMOTE: return on_promote(s, event, err);
        case ROLLOUT_EVENT_TICK:
        case ROLLOUT_EVENT_NODE_STATE:
        case ROLLOUT_EVENT_CONNECTED:
        case ROLLOUT_EVENT_DISCONNECTED:
        case ROLLOUT_EVENT_NODE_REMOVED:
        case ROLLOUT_EVENT_TIME_GAP: break;
        }
        return err_set(err, EINVAL, "event %d is not for people", (int)event->type);
}
