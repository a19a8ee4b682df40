/* SPDX-License-Identifier: Apache-2.0 */
/* One step of a rollout under way, and what can happen to a member in it. Inside of the rollout alone. */
#pragma once

#include "fleet/rollout_index.h"
#include "fleet/rollout_rules.h"

struct step {
        struct rollout *r;
        msec_t now;
        struct rollout_effects *effects;
        size_t first_effect; /* of this step */
        bool changed;        /* the rollout itself is to be stored */
        bool finished;
        size_t culprit; /* the member that failed in this step; SIZE_MAX: none */
        int error;      /* memory ran out */
};

/* ---- effects and words. Memory that is out is remembered in `error`. */
void step_push(struct step *s, enum rollout_effect_type type, size_t member, char *text); /* takes text */
char *step_text(struct step *s, const char *format, ...) _printf_(2, 3);
void step_note(struct step *s, char *text); /* takes text; NULL is nothing */

/* ---- members. Every change of one lies between edit and done. */
struct rollout_member *member_edit(struct step *s, size_t i);
void member_done(struct step *s, size_t i);

void member_offer(struct step *s, size_t i);
void member_grant(struct step *s, size_t i); /* it waits, and has room: it may apply */
/* Its deadline is over: Deferred, TimedOut, or waited for on its way back no longer. */
void member_expire(struct step *s, size_t i);
/* It says where it is with the rollout's revision; or, told to go back, with its previous one. States that no
 * node reports are ignored. */
void member_take_report(struct step *s, size_t i, enum member_state to, const char *reason);
void member_take_report_back(struct step *s, size_t i, enum member_state state, const char *reason);
void member_send_back(struct step *s, size_t i);
void member_give_up_way_back(struct step *s, size_t i);
/* It failed, and is at work again by itself: from now it is waited for. */
void member_forgive(struct step *s, size_t i);
/* As if nothing had been offered to it. */
void member_reset(struct step *s, size_t i);
void member_set_connected(struct step *s, size_t i, bool connected);
void member_remove(struct step *s, size_t i);
void member_waive(struct step *s, size_t i);
/* It is still at work in a wave that passes without it: a straggler from now on. */
void member_leave_behind(struct step *s, size_t i);

/* ---- the rollout (rollout_step.c) */
void step_set_phase(struct step *s, enum rollout_phase to);
void step_set_reason(struct step *s, char *text);                         /* takes text */
void step_finish(struct step *s, enum rollout_phase phase, char *reason); /* takes reason */
void step_roll_back(struct step *s, char *reason);                        /* takes reason */
bool rollout_wave_has_begun(const struct rollout *r, const struct rollout_member *m);
/* Between its start and the way back or the end, paused or not; and not paused. */
static inline bool rollout_is_under_way(const struct rollout *r) {
        return r->phase == ROLLOUT_PROGRESSING || r->phase == ROLLOUT_SOAKING ||
               r->phase == ROLLOUT_AWAITING_APPROVAL;
}
bool rollout_may_offer(const struct rollout *r);
/* After Succeeded stragglers still come, and are given slots. */
static inline bool rollout_may_grant(const struct rollout *r) {
        return (rollout_is_under_way(r) || r->phase == ROLLOUT_SUCCEEDED) && !r->paused;
}

/* ---- people (rollout_people.c) */
int step_person(struct step *s, const struct rollout_event *event, struct err **err);
char *rollout_approvers_text(const struct rollout_wave_policy *p) _must_use_;
void rollout_forget_approvals(struct rollout *r);
