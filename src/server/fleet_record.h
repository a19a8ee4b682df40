/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a fleet: for fleets.c and what shows it (fleets_json.c) alone. */
#pragma once

#include "fleet/rollout_policy.h"
#include "server/fleets.h"

struct fleet {
        char *name, *source;
        char *spec_text; /* as compiled, to see what changed */
        json_t *spec;
        struct arena *arena; /* of the two below */
        struct selector selector;
        struct rollout_policy policy;
        struct target desired, stable; /* revision "" for none */
        char failed_key[65];           /* the target that failed, "" for none */
        char *waits_for;               /* what must come before the desired target can roll out; NULL */
};

struct fleets {
        struct table *all; /* name -> struct fleet */
};
