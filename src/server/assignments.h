/* SPDX-License-Identifier: Apache-2.0 */
/* Assignments: what a node is told to run. Immutable once made; a change is a new one with a higher
 * version. Signed when sent; the signed text is the same each time but for the signature. */
#pragma once

#include "server/control.h"
#include "server/inventory.h"

struct assignments;
struct revision;

struct assignment {
        unsigned references;
        int64_t version;
        msec_t issued_at;
        char *fleet, *rollout, *commit; /* rollout NULL: given directly, no wave was waited for */
        char revision[65];
        int64_t length;       /* bytes of the revision */
        char fingerprint[65]; /* of the binding below, and of the artifacts */
        struct pairs *labels, *variables;
        json_t *artifacts; /* the list that was chosen (docs/protocol.md); NULL: the revision names none */
        bool waits;        /* the node may fetch it and prepare it, and not apply it yet */
        json_t *schedule;  /* when the node may apply and fetch (fleet/schedule.h); NULL: at any time */
};
struct assignment *assignment_ref(struct assignment *a);
struct assignment *assignment_unref(struct assignment *a);
/* As the database keeps it. */
json_t *assignment_to_json(const struct assignment *a) _must_use_;
struct assignment *assignment_from_text(const char *text); /* NULL when text is NULL or damaged */

/* The node's newest assignment as it is sent to it: {"signed","signatures"}; NULL: it has none, or it cannot
 * be signed. */
json_t *assignments_signed(const struct control *c, const struct node *n) _must_use_;

int assignments_open(struct control *c, struct err **err);
void assignments_stop(struct control *c); /* lets go of the loop */
struct assignments *assignments_free(struct assignments *a);

struct assignment_offer {
        const char *fleet, *rollout, *commit;
        const struct revision *revision;
        int64_t length;
        bool waits;
        json_t *schedule; /* borrowed; NULL: none */
};
/* How the node's newest assignment stands to a revision. BLOCKED: the revision cannot be given to it now, as
 * when the repository has no artifact for its platform; node.blocked says why until it can. */
enum assignment_standing { ASSIGNMENT_CURRENT, ASSIGNMENT_OTHER, ASSIGNMENT_BLOCKED };
enum assignment_standing assignment_standing(struct control *c, struct node *n,
                                             const struct revision *revision);
/* Gives it a new assignment; keep_fallback: the present one is not known to be good, so what a rollback
 * would give stays as it is. false: it is blocked, and keeps what it has. */
bool assignments_give(struct control *c, struct node *n, const struct assignment_offer *offer,
                      bool keep_fallback);
/* Gives what the node has (held: its revision) again, where its labels have changed since and that makes a
 * difference to it: the same rollout and variables, the labels of now. false: nothing to give, or blocked. */
bool assignments_rebind(struct control *c, struct node *n, const struct revision *held);
/* Gives the fallback, under the rollout that goes back. false: there is none. */
bool assignments_give_back(struct control *c, struct node *n, const char *rollout);
/* The node connected holding `version`: sends the newest when that is older. */
void assignments_catch_up(struct control *c, struct node *n, int64_t version);
