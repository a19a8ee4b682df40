/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a rollout's record: for rollouts.c and what shows it (rollouts_json.c) alone. */
#pragma once

#include "fleet/rollout.h"
#include "server/rollouts.h"

struct rollout_record {
        char id[27];
        char *fleet;
        struct target target;
        msec_t created_at;
        bool succeeded;
        struct rollout *rollout; /* the fleet's newest one; else NULL and */
        char *state_text;        /* its JSON without members */
};

struct rollouts {
        struct table *all;    /* id -> struct rollout_record, oldest first */
        struct table *latest; /* fleet -> the newest of them, borrowed */
        struct loop_timer *timer, *settle;
};

/* What the database kept: state, and a result with one column, the JSON of each member. */
int rollout_record_read(const char *state, const struct db_rows *members, struct rollout **ret,
                        struct err **err);
enum rollout_phase rollout_record_phase(const char *state);
