/* SPDX-License-Identifier: Apache-2.0 */
/* A rollout as a database might hold it, damaged or not: what is taken is written and read back alike, and
 * goes through every kind of event without harm. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/json.h"
#include "fleet/rollout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(const struct rollout *r) {
        json_t *first = rollout_to_json(r, true);
        struct rollout *again = NULL;
        if (!first || rollout_from_json(first, NULL, &again, NULL) < 0)
                abort();
        json_t *second = rollout_to_json(again, true);
        if (!json_equal(first, second) || !rollout_is_consistent(again))
                abort();
        json_decref(first);
        json_decref(second);
        rollout_free(again);
}

static void step(struct rollout *r, struct rollout_event e, msec_t now) {
        struct rollout_effects effects = {0};
        struct err *err = NULL;
        (void)rollout_step(r, &e, now, &effects, &err);
        rollout_effects_done(&effects);
        err_free(err);
        (void)rollout_next_wake(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        json_t *j = NULL;
        struct rollout *r = NULL;
        if (json_decode((const char *)data, size, &j, NULL) < 0)
                return 0;
        if (rollout_from_json(j, NULL, &r, NULL) == 0) {
                if (!rollout_is_consistent(r))
                        abort();
                check_round_trip(r);
                for (int type = ROLLOUT_EVENT_START; type <= ROLLOUT_EVENT_TIME_GAP; type++)
                        for (size_t i = 0; i < MIN(r->n_members, 4u); i++)
                                step(r,
                                     (struct rollout_event){.type = (enum rollout_event_type)type,
                                                            .node = r->members[i].node,
                                                            .revision = r->revision,
                                                            .state = (enum member_state)(size % 12),
                                                            .rollback = size % 2,
                                                            .gap_ms = 1000},
                                     1790000000000 + type * 100000);
                rollout_free(r);
        }
        json_decref(j);
        return 0;
}
