/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a fleet: for fleets.c, fleets_pin.c and what shows it alone. */
#pragma once

#include "fleet/rollout_policy.h"
#include "server/fleets.h"

struct fleet_pin {         /* a person's word above Git's: `desired` is the pinned target */
        struct target git; /* what Git wants meanwhile */
        char *by, *reason;
        msec_t at; /* 0: there is no pin */
};
void fleet_pin_done(struct fleet_pin *p);
json_t *fleet_pin_to_json(const struct fleet_pin *p) _must_use_;
void fleet_pin_from_json(const json_t *j, struct fleet_pin *ret); /* none where it cannot be read */

struct fleet {
        char *name, *source;
        char *spec_text; /* as compiled, to see what changed */
        json_t *spec;
        struct arena *arena; /* of the two below */
        struct selector selector;
        struct rollout_policy policy;
        struct target desired, stable; /* revision "" for none */
        char failed_key[65];           /* the target that failed, "" for none */
        struct fleet_pin pin;
        char *waits_for; /* what must come before the desired target can roll out; NULL */
};

struct fleets {
        struct table *all; /* name -> struct fleet */
};

/* For fleets_pin.c. */
void fleet_store(struct control *c, const struct fleet *f);
void fleet_advance(struct control *c, struct fleet *f, bool is_new);
