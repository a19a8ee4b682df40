/* SPDX-License-Identifier: Apache-2.0 */
/* The common shape of what the API shows: kind, metadata, spec, status. */
#pragma once

#include "base/clock.h"
#include "server/memory.h"

/* Takes the parts; NULL ones are left out. */
static inline json_t *shape(const char *kind, json_t *metadata, json_t *spec, json_t *status) {
        json_t *j = json_object_new();
        json_put(j, "kind", json_text(kind));
        if (metadata)
                json_put(j, "metadata", metadata);
        if (spec)
                json_put(j, "spec", spec);
        if (status)
                json_put(j, "status", status);
        return j;
}

/* RFC 3339, or null for 0. */
static inline json_t *json_time(msec_t t) {
        char text[TIME_TEXT_SIZE];
        return json_text(t > 0 ? time_format(t, text) : NULL);
}
