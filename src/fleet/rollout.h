/* SPDX-License-Identifier: Apache-2.0 */
/* The rollout state machine. Pure: (state, event, now) -> (state, effects). No clock, no I/O. The whole of
 * the rules, with tables, is in docs/rollouts.md.
 *
 * Times are Unix milliseconds above 0, given by the caller. The caller stores the rollout and its changed
 * members in one transaction, and only then carries out the effects; after a crash it loads them back
 * and calls rollout_restart(), so that nothing is lost or done twice in a way that matters
 * (assignments are idempotent).
 *
 * Rules: membership of every wave is frozen at the start and named by a digest. A member is offered the
 * revision when its wave begins, and has accepted it with the first report about it. One that is not
 * reached within defer_after of the offer (or does not answer within progress_deadline) becomes Deferred:
 * neither success nor failure. From then on it is a straggler: it is offered the revision again when it
 * comes back, and counts once it is Healthy or has failed, but nothing waits for it. A member that accepted
 * and is not Healthy at its deadline is TimedOut, which is a failure (it may be bricked); only one that was
 * cut off while still downloading is Deferred.
 *
 * A wave is healthy when none but stragglers are undecided, at least min_sample (or all members, where the
 * wave is smaller) are Healthy, and at least success_threshold of those that accepted and are decided. It
 * passes when it has been so for its pause (the soak; its clock stands still while the wave is not healthy),
 * and at least min_sample of the Healthy ones are connected, so that their health is seen and not remembered.
 * A wave that lacks its min_sample because its members are Deferred waits (Progressing) for one to come back.
 * The last wave passes by the same rule; with it the rollout has Succeeded, with k deferred. A Healthy member
 * that goes to work again (an app restarts, drift is put back) is not waited for, but must be Healthy again
 * by its deadline.
 *
 * Where the policy has budgets (max_unavailable, disruption budgets), a node is assigned the revision without
 * a grant: it fetches it, reports Staged and waits. It is given a slot, and with it the grant, as soon as
 * every group that it is in has one free; it keeps the slot until it is Healthy, has failed, or its deadline
 * has passed in silence. Who is at work without a slot (an app restarts, drift is put back) takes one, too:
 * nothing new is granted then, but nobody can forbid it.
 *
 * A rollout fails when more than max_failed members have failed, in any wave and at any time, or when the
 * wave cannot meet min_sample or success_threshold any more. Then it rolls back, or pauses where the policy
 * says so. */
#pragma once

#include "fleet/rollout_policy.h"

enum rollout_phase {
        ROLLOUT_PENDING,
        ROLLOUT_PROGRESSING,
        ROLLOUT_SOAKING,
        ROLLOUT_AWAITING_APPROVAL, /* the current wave has not begun: people must approve it first */
        ROLLOUT_SUCCEEDED,
        ROLLOUT_FAILED,  /* over budget, and nothing to go back to or the rollback was aborted */
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

        msec_t offered;   /* when it was last offered the revision, 0: never */
        msec_t deadline;  /* of what runs now: the offer, the work, the way back; 0: none */
        msec_t remaining; /* while its deadline stands still (it waits for a window or a slot): what is left
                           */
        msec_t gone_at;   /* when it disconnected, 0: it did not since the start */
        bool assigned;    /* the rollout's revision is what it was last told to run */
        bool going_back;  /* told to run its previous revision, and waited for */
        bool went_back;   /* and confirmed that it does */
        bool straggler;   /* was Deferred once: nothing waits for it */
        bool proven;      /* was Healthy once since the offer */
        bool waived;      /* a person resumed in spite of its failure, which counts no longer */
        bool removed;     /* left the fleet: out of every count */

        msec_t phase_deadline; /* of Downloading, Applying or Confirming alone; 0: none */
        /* Slots (only where the policy has budgets). */
        bool granted;     /* its assignment lets it apply; else it stages and waits */
        bool slot;        /* counts as out of service in each of its groups */
        uint32_t *groups; /* of the rollout's groups, one for each budget of the policy; NULL: no budgets */
};

struct rollout_wave {
        char *name;
        msec_t started_at, healthy_at, passed_at; /* 0: not yet */
        msec_t soaked_ms;                         /* in earlier stretches of health */
        msec_t pause_ms;                          /* of the policy; a dropped wave is not here */
        struct quantity success_threshold;
        const struct rollout_wave_policy *policy; /* NULL: the policy does not speak of it ("rest") */
        bool promoted;                            /* people said that it has passed */
};

/* Nodes that share the labels of a budget. */
struct rollout_group {
        char *name; /* "site=kiel", "site=kiel,rack=2"; "" for all nodes, "site=" for those without one */
        uint32_t budget;    /* of the policy's */
        size_t total, used; /* members that are not removed; of them, those that hold a slot */
};

enum rollout_approval_kind {
        ROLLOUT_APPROVAL_WAVE,      /* the wave may begin */
        ROLLOUT_APPROVAL_EMERGENCY, /* no wave soaks from here on: two people */
        ROLLOUT_APPROVAL_PROMOTE,   /* the wave has passed, whatever it lacks: two people */
};
struct rollout_approval { /* what a named person agreed to; kept with the rollout */
        enum rollout_approval_kind kind;
        size_t wave;
        char *by, *reason; /* reason may be NULL */
        msec_t at;
};
const char *rollout_approval_kind_name(enum rollout_approval_kind k); /* "Wave", "Emergency", "Promote" */
#define ROLLOUT_TWO_PEOPLE 2u
#define ROLLOUT_APPROVALS_KEPT 1024u /* in one rollout: the policy's limits allow no more */

struct rollout_index; /* counters and deadlines, kept up with every change of a member */

struct rollout {
        char id[27];
        char *fleet, *revision;
        char members_digest[65]; /* SHA-256 over "wave/node\n" lines, sorted */
        enum rollout_phase phase;
        bool paused;
        bool gave_up; /* it met its limit of failures: it is paused, goes back, or has ended for that */
        char *reason; /* why it is paused, failed, aborted, who is missing; NULL */
        struct rollout_policy policy;
        struct arena *arena; /* the policy's */
        struct rollout_wave *waves;
        size_t n_waves;
        size_t wave;                    /* index of the current one */
        struct rollout_member *members; /* sorted by node */
        size_t n_members;
        msec_t created_at, finished_at;
        struct rollout_approval *approvals; /* in the order in which they came */
        size_t n_approvals;
        bool emergency;               /* two people said that no wave soaks */
        struct rollout_group *groups; /* in no order */
        size_t n_groups;
        struct rollout_index *index;
};

struct rollout_candidate { /* a node of the fleet when the rollout begins */
        const char *node;
        struct pairs labels;
        bool connected;
        const char *previous_revision; /* NULL: none */
        bool unavailable; /* out of service for an earlier change: holds a slot until it says where it is */
};

#define ROLLOUT_MEMBERS_MAX 1000000u

/* Copies everything. Nodes are taken into waves in policy order; where a limit bites, connected nodes
 * come first and then the order of SHA-256(id + node), so that canaries differ between rollouts. Waves
 * that take no node are dropped. -EINVAL: id is not 1 to 26 bytes, a node is there twice, too many. */
int rollout_new(const char *id, const char *fleet, const char *revision, const struct rollout_policy *policy,
                const struct rollout_candidate *candidates, size_t n, msec_t now, struct rollout **ret,
                struct err **err);
struct rollout *rollout_free(struct rollout *r);
DEFINE_CLEANUP(struct rollout, rollout_free)

/* The member's index, SIZE_MAX: no such member. */
size_t rollout_find_member(const struct rollout *r, const char *node) _pure_;

/* Each member counts in one. progressing holds those that are on their way back too; rolled_back those
 * that went back without having failed themselves. */
struct wave_counts {
        size_t total, pending, progressing, healthy, failed, deferred, rolled_back;
};
void rollout_count(const struct rollout *r, size_t wave, struct wave_counts *ret); /* SIZE_MAX: all waves */
/* "Pending", "AwaitingApproval", "Progressing", "Soaking", "Passed", "Failed", "Stopped" for display. */
const char *rollout_wave_state(const struct rollout *r, size_t wave);
/* Counts everything anew and compares with the counters and deadlines kept: for tests. */
bool rollout_is_consistent(const struct rollout *r) _must_use_;
/* Approvals that the wave has, and still needs to begin. */
size_t rollout_wave_approvals(const struct rollout *r, size_t wave);
size_t rollout_wave_missing_approvals(const struct rollout *r, size_t wave);

/* The whole state, members included: for the database and the API. One flat object: id, fleet, revision,
 * policy (rollout_policy.h), createdAt, and what docs/api.md has in a Rollout's `status` under the same
 * names; beyond those waves[] carry healthyAt, passedAt, pauseMs, successThreshold, rolledBack, and members
 * what the state machine remembers of them. Reading it back restores the rollout exactly. */
json_t *rollout_to_json(const struct rollout *r, bool with_members) _must_use_;
/* Reads back what the database kept: rollout JSON and members (an array, JSON of each member, any order;
 * NULL: they are in `rollout`). -EINVAL names what is wrong. */
int rollout_from_json(const json_t *rollout, const json_t *members, struct rollout **ret, struct err **err);
json_t *rollout_member_to_json(const struct rollout *r, size_t member) _must_use_;

struct group_counts {
        size_t total, used; /* members that are not removed; of them, those that hold a slot */
        size_t allowed;     /* so many may, at most */
};
void rollout_group_count(const struct rollout *r, size_t group, struct group_counts *ret);

#include "fleet/rollout_step.h"
