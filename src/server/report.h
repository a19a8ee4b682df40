/* SPDX-License-Identifier: Apache-2.0 */
/* What a node last said of itself (docs/protocol.md, "Status"), and what that means for a rollout.
 * Pure: values in, values out. Everything a node sends is bounded here. */
#pragma once

#include <jansson.h>

#include "fleet/rollout.h"
#include "server/report_artifacts.h"

#define REPORT_APPS_MAX 256
#define REPORT_TEXT_MAX 1024  /* bytes of a message; longer ones are cut */
#define REPORT_FACTS_MAX 8192 /* bytes of JSON; more is refused */

struct report_app {
        char *name, *driver, *message;
        enum member_state state;
        int64_t restarts, drift_corrected;
};

struct report {
        bool is_known; /* a report has come */
        int64_t sequence, assignment, drift_corrected;
        msec_t certificate_not_after;
        char revision[65], target[65]; /* "" for none */
        enum member_state state;
        bool has_state;
        char *message, *boot_id, *agent_version, *platform;
        char *facts; /* JSON object as text, or NULL */
        struct report_app *apps;
        size_t n_apps;
        struct report_artifacts artifacts;
};
void report_done(struct report *r);

/* Takes a status document over what was known: a full one replaces it, another changes what it names.
 * -EINVAL: it is no status, nothing was taken. */
int report_apply(struct report *r, const json_t *status, struct err **err);
/* The whole of it as a full status document: for the database. */
json_t *report_to_json(const struct report *r) _must_use_;
/* The API's `status.apps`. */
json_t *report_apps_json(const struct report *r) _must_use_;

/* What a report means for a member of a rollout: false when it says nothing about it (it speaks of an
 * older assignment, or of another revision). version: the assignment the member was last given. */
/* Is the node out of service for a change, as it last said? */
bool report_is_applying(const struct report *r);
bool report_member_state(const struct report *r, int64_t version, const char *revision,
                         enum member_state *ret_state);
