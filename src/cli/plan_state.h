/* SPDX-License-Identifier: Apache-2.0 */
/* How things stand now, for `skerry plan` to compare with: as the server has it, as another folder says, or
 * nothing at all. */
#pragma once

#include "cli/api.h"
#include "fleet/plan.h"

struct plan_state {
        struct api *api; /* the server that was asked, for more questions; NULL otherwise */
        struct arena *arena;
        struct revision **revisions; /* what `before` points at, where we own it */
        size_t n_revisions;
        struct fleet_model *model; /* of the other folder */
        struct plan_fleet_before *before;
        size_t n_before;
        struct plan_node *nodes;
        size_t n_nodes;
        struct fleet_node
                *inventory; /* the same nodes as the compiler takes them; NULL when no server knows them */
};

/* What the server has from one source (NULL: it follows none yet): its fleets, and the nodes that no other
 * source's fleet owns. The connection is taken over. */
int plan_state_from_server(struct api *a, const char *source, struct plan_state *ret, struct err **err);
/* model is taken over; it must be without errors. */
int plan_state_from_model(struct fleet_model *model, struct plan_state *ret, struct err **err);
void plan_state_done(struct plan_state *s);

/* One revision of the server's, and the fleet that it is of (malloc'ed). digest: or the first 8 or more
 * digits. */
int plan_state_read_revision(struct api *a, const char *digest, struct revision **ret, char **ret_fleet,
                             struct err **err);

/* The bytes of a file as it is now (struct plan_contents.read). arg: the plan_state. */
int plan_state_read_object(void *arg, const char *sha256, char **ret_data, size_t *ret_len);
