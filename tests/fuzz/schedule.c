/* SPDX-License-Identifier: Apache-2.0 */
/* A schedule as an assignment brings it: what is taken is written again as it is, and answers. */
#include <stdlib.h>

#include "fleet/schedule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(const struct schedule *s) {
        struct time_zone *utc = time_zone_utc();
        struct schedule_state state;
        if (!utc)
                abort();
        schedule_next(s, utc, SCHEDULE_APPLY, 1790000000000, &state);
        if (state.open ? state.until != 0 && state.until <= 1790000000000
                       : state.next != 0 && state.next <= 1790000000000)
                abort();
        schedule_next(s, utc, SCHEDULE_DOWNLOAD, 1790000000000, &state);
        time_zone_free(utc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        json_t *j = NULL, *again = NULL, *third = NULL;
        struct arena *arena = arena_new((size_t)8 << 20);
        struct schedule *s = NULL;
        if (json_decode((const char *)data, size, &j, NULL) == 0 &&
            schedule_from_json(arena, j, &s, NULL) == 0) {
                again = schedule_to_json(s);
                ask(s);
                if (!again || schedule_from_json(arena, again, &s, NULL) < 0)
                        abort();
                third = schedule_to_json(s);
                if (!json_equal(again, third))
                        abort();
        }
        json_decref(third);
        json_decref(again);
        json_decref(j);
        arena_free(arena);
        return 0;
}
