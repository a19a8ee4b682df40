/* SPDX-License-Identifier: Apache-2.0 */
/* What moves a rollout (fleet/rollout.h), and what follows from it. */
#pragma once

#include "fleet/rollout.h"

enum rollout_event_type {
        ROLLOUT_EVENT_START,      /* Pending -> Progressing */
        ROLLOUT_EVENT_TICK,       /* time has passed */
        ROLLOUT_EVENT_NODE_STATE, /* the node reports its state for `revision` */
        ROLLOUT_EVENT_CONNECTED,
        ROLLOUT_EVENT_DISCONNECTED,
        ROLLOUT_EVENT_NODE_REMOVED, /* revoked or left the fleet: out of every count */
        ROLLOUT_EVENT_PAUSE,
        ROLLOUT_EVENT_RESUME,
        ROLLOUT_EVENT_ABORT, /* with rollback when `rollback`, else leave as is */
        ROLLOUT_EVENT_RETRY, /* failed members of the waves begun are offered again; a Failed, Aborted or
                                RolledBack rollout begins anew with its first wave */
        ROLLOUT_EVENT_SUPERSEDE,
        ROLLOUT_EVENT_TIME_GAP, /* we were away for gap_ms: every running deadline moves */

        /* What named people agree to: `by` says who (needed), `reason` why. The same person cannot agree
         * twice. -EINVAL: nothing waits for it, or it is not for this person. */
        ROLLOUT_EVENT_APPROVE,   /* the wave that waits (AwaitingApproval) may begin */
        ROLLOUT_EVENT_EMERGENCY, /* no wave soaks from here on, once a second person says so too */
        ROLLOUT_EVENT_PROMOTE,   /* the current wave has passed, once a second person says so too: soak,
                                    threshold and sample are not waited for. Failures still count. */
};

struct rollout_event {
        enum rollout_event_type type;
        const char *node;        /* NODE_*, CONNECTED, DISCONNECTED */
        const char *revision;    /* NODE_STATE: the revision the report is about */
        enum member_state state; /* NODE_STATE */
        const char *reason;      /* NODE_STATE and whatever people say; may be NULL */
        const char *by;          /* who says so: needed for APPROVE, EMERGENCY and PROMOTE */
        const char *wave; /* APPROVE, PROMOTE: the wave that is meant, refused when it is not the current
                             one; NULL: the current one */
        bool rollback;    /* ABORT */
        msec_t gap_ms;    /* TIME_GAP */
};

enum rollout_effect_type {
        ROLLOUT_EFFECT_ASSIGN,      /* give member the rollout's revision; member.granted says whether it may
                                       apply it, or only stage. Again with a grant, and without one any more */
        ROLLOUT_EFFECT_ASSIGN_BACK, /* give member its previous_revision */
        ROLLOUT_EFFECT_MEMBER,      /* member changed: store it */
        ROLLOUT_EFFECT_CHANGED,     /* phase, wave, pause or reason changed: store the rollout */
        ROLLOUT_EFFECT_NOTE,        /* `text` belongs in the event log */
        ROLLOUT_EFFECT_FINISHED,    /* a final phase was reached */
};
struct rollout_effect {
        enum rollout_effect_type type;
        size_t member; /* index, for the member kinds */
        char *text;    /* NOTE */
};
struct rollout_effects { /* grows; release with rollout_effects_done() */
        struct rollout_effect *items;
        size_t n, cap;
};
void rollout_effects_done(struct rollout_effects *e);

/* 0; -EINVAL when the event makes no sense in this phase (nothing changed, the error says why: "cannot
 * resume: the rollout is not paused"); -ENOMEM: memory ran out half-way, throw the rollout away and load it
 * again (nothing of the step is to be stored).
 *
 * NODE_STATE: only what speaks of the assignment made for this rollout may be given in, not what a node
 * says of an older one; a node that ASSIGN told nothing new is to be reported by the caller. While
 * RollingBack, `revision` is the member's previous one and Healthy confirms it. Reports about other
 * revisions, of unknown nodes and of members not yet offered anything are ignored. What nodes do (not what
 * people say) is never -EINVAL. After Succeeded, reports
 * still bring members that are not Healthy up to date; in the other final phases events of nodes change
 * nothing. Costs O(log n) but where many members change. */
int rollout_step(struct rollout *r, const struct rollout_event *event, msec_t now,
                 struct rollout_effects *effects, struct err **err);
/* After loading: gives every effect again that may have been lost with the process (ASSIGN, ASSIGN_BACK,
 * FINISHED). Not for a rollout whose place a newer one has taken. 0 or -ENOMEM. */
int rollout_restart(const struct rollout *r, struct rollout_effects *effects) _must_use_;
/* When a TICK is next needed (0: never). */
msec_t rollout_next_wake(const struct rollout *r);
