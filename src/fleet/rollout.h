/* SPDX-License-Identifier: Apache-2.0 */
/* The rollout state machine. Pure: (state, event, now) -> (state, effects). No clock, no I/O.
 *
 * Times are Unix milliseconds given by the caller. The caller stores the rollout and its changed
 * members in one transaction, and only then carries out the effects; after a crash it loads them back
 * and calls rollout_restart(), so that nothing is lost or done twice in a way that matters
 * (assignments are idempotent).
 *
 * Rules (docs/rollouts.md): membership of every wave is frozen at the start and named by a digest. A
 * wave's denominator is the members that accepted the offer. A member never reached becomes Deferred
 * after defer_after: neither success nor failure; when it comes back it goes on. A member silent after
 * it began applying keeps its slot until its deadline, then is TimedOut, which counts as a failure. A
 * wave passes when no member is undecided, at least success_threshold of the accepted and at least
 * min_sample (or all members, where the wave is smaller) are Healthy, stay so through the soak, and
 * failures are within max_failed. A wave whose members are all Deferred does not pass: the rollout
 * waits (Progressing) until one is reached. Only the last wave, "catch-up" semantics: the rollout
 * succeeds with stragglers Deferred once min_sample holds. */
#pragma once

#include "fleet/rollout_policy.h"

enum rollout_phase {
        ROLLOUT_PENDING,
        ROLLOUT_PROGRESSING,
        ROLLOUT_SOAKING,
        ROLLOUT_SUCCEEDED,
        ROLLOUT_FAILED,  /* over budget, and nothing to go back to or rollback switched off by abort */
        ROLLOUT_ABORTED, /* by a person, without rollback */
        ROLLOUT_ROLLING_BACK,
        ROLLOUT_ROLLED_BACK,
        ROLLOUT_SUPERSEDED, /* a newer revision took over */
};
const char *rollout_phase_name(enum rollout_phase p); /* "RollingBack" */
int rollout_phase_from_name(const char *s, enum rollout_phase *ret);
bool rollout_phase_is_final(enum rollout_phase p);

enum member_state {
        MEMBER_PENDING, /* its wave has not begun */
        MEMBER_OFFERED, /* assignment made, not acknowledged */
        MEMBER_DOWNLOADING,
        MEMBER_STAGED,
        MEMBER_WAITING_WINDOW,
        MEMBER_APPLYING,
        MEMBER_CONFIRMING, /* applied, health not yet proven */
        MEMBER_HEALTHY,
        MEMBER_FAILED,      /* it said so, with a reason */
        MEMBER_ROLLED_BACK, /* runs the previous revision again */
        MEMBER_TIMED_OUT,
        MEMBER_DEFERRED,
};
const char *member_state_name(enum member_state s); /* "WaitingWindow" */
int member_state_from_name(const char *s, enum member_state *ret);

struct rollout_member {
        char *node;
        uint32_t wave;
        enum member_state state;
        bool connected;
        bool failed;     /* it failed in this rollout, whatever its state is now */
        msec_t since;    /* when the state was entered */
        msec_t accepted; /* when it first acknowledged the offer, 0: not yet */
        char *reason;    /* or NULL */
        /* What it goes back to: the revision it ran before, or NULL where it ran none. */
        char *previous_revision;
};

struct rollout_wave {
        char *name;
        msec_t started_at, healthy_at, passed_at; /* 0: not yet */
};

struct rollout {
        char id[27];
        char *fleet, *revision;
        char members_digest[65]; /* SHA-256 over "wave/node\n" lines, sorted */
        enum rollout_phase phase;
        bool paused;
        char *reason; /* why it is paused, failed, aborted; NULL */
        struct rollout_policy policy;
        struct arena *arena; /* the policy's */
        struct rollout_wave *waves;
        size_t n_waves;
        size_t wave;                    /* index of the current one */
        struct rollout_member *members; /* sorted by node */
        size_t n_members;
        msec_t created_at, finished_at;
};

struct rollout_candidate { /* a node of the fleet when the rollout begins */
        const char *node;
        struct pairs labels;
        bool connected;
        const char *previous_revision; /* NULL: none */
};

/* Copies everything. Nodes are taken into waves in policy order; where a limit bites, connected nodes
 * come first and then the order of SHA-256(id + node), so that canaries differ between rollouts. Waves
 * that take no node are dropped. */
int rollout_new(const char *id, const char *fleet, const char *revision, const struct rollout_policy *policy,
                const struct rollout_candidate *candidates, size_t n, msec_t now, struct rollout **ret,
                struct err **err);
struct rollout *rollout_free(struct rollout *r);
DEFINE_CLEANUP(struct rollout, rollout_free)

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
        ROLLOUT_EVENT_RETRY, /* failed members of the current wave are offered again; also takes a
                                Failed or RolledBack rollout up again */
        ROLLOUT_EVENT_SUPERSEDE,
        ROLLOUT_EVENT_TIME_GAP, /* we were away for gap_ms: every running deadline moves */
};

struct rollout_event {
        enum rollout_event_type type;
        const char *node;        /* NODE_*, CONNECTED, DISCONNECTED */
        const char *revision;    /* NODE_STATE: the revision the report is about */
        enum member_state state; /* NODE_STATE */
        const char *reason;      /* NODE_STATE, PAUSE, ABORT, SUPERSEDE; may be NULL */
        bool rollback;           /* ABORT */
        msec_t gap_ms;           /* TIME_GAP */
};

enum rollout_effect_type {
        ROLLOUT_EFFECT_ASSIGN,      /* give member the rollout's revision */
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
 * resume: the rollout is not paused"); -ENOMEM (nothing changed). Reports about other revisions and
 * unknown nodes are ignored. */
int rollout_step(struct rollout *r, const struct rollout_event *event, msec_t now,
                 struct rollout_effects *effects, struct err **err);
/* When a TICK is next needed (0: never). */
msec_t rollout_next_wake(const struct rollout *r);

struct wave_counts {
        size_t total, pending, progressing, healthy, failed, deferred;
};
void rollout_count(const struct rollout *r, size_t wave, struct wave_counts *ret); /* SIZE_MAX: all waves */
/* "Pending", "Progressing", "Soaking", "Passed", "Failed" for display. */
const char *rollout_wave_state(const struct rollout *r, size_t wave);

/* The whole state, members included: for the database and the API (same shape; see docs/api.md). */
json_t *rollout_to_json(const struct rollout *r, bool with_members) _must_use_;
/* Reads back what the database kept: rollout JSON and members (JSON of each member). */
int rollout_from_json(const json_t *rollout, const json_t *members, struct rollout **ret, struct err **err);
json_t *rollout_member_to_json(const struct rollout *r, size_t member) _must_use_;
