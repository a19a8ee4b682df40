/* SPDX-License-Identifier: Apache-2.0 */
/* A node as the API shows it (docs/api.md, "Shapes"). */
#include <string.h>

#include "codec/json.h"
#include "server/assignments.h"
#include "server/fleets.h"
#include "server/inventory.h"
#include "server/memory.h"
#include "server/shapes.h"

static void condition_add(json_t *list, const char *type, bool holds, const char *reason,
                          const char *message) {
        json_t *j = json_object_new();
        json_put(j, "type", json_text(type));
        json_put(j, "status", json_text(holds ? "True" : "False"));
        json_put(j, "reason", json_text(reason));
        json_put(j, "message", json_text(message));
        json_add(list, j);
}

static json_t *conditions_json(const struct control *c, const struct node *n) {
        json_t *list = json_array_new();
        condition_add(list, "Connected", n->connected,
                      n->revoked_at  ? "Revoked"
                      : n->connected ? "Connected"
                                     : "Away",
                      n->revoked_at ? n->revoked_reason : NULL);
        if (n->n_owners > 1) {
                _cleanup_(x_freep) char *names = fleets_owners_text(c, n);
                _cleanup_(x_freep) char *message =
                        must(str_format("fleets %s all select it, so it gets no new assignment: let only one "
                                        "selector match its labels",
                                        names));
                condition_add(list, "Owned", false, "MultipleOwners", message);
        } else if (n->n_owners == 0)
                condition_add(list, "Owned", false, "NoFleet", "no fleet's selector matches its labels");
        else
                condition_add(list, "Owned", true, "Fleet", NULL);
        if (n->duplicate)
                condition_add(list, "Unique", false, "Duplicate", n->duplicate);
        if (n->blocked)
                condition_add(list, "Assignable", false, "NoArtifact", n->blocked);
        const struct report *r = &n->report;
        condition_add(list, "Healthy", r->has_state && r->state == MEMBER_HEALTHY,
                      r->has_state ? member_state_name(r->state) : "NoReport", r->message);
        return list;
}

static json_t *desired_json(const struct node *n) {
        const struct assignment *a = n->assigned;
        json_t *j = json_object_new();
        json_put(j, "revision", json_text(a ? a->revision : NULL));
        json_put(j, "rollout", json_text(a ? a->rollout : NULL));
        json_put(j, "commit", json_text(a ? a->commit : NULL));
        json_put(j, "assignment", json_number(n->version));
        json_put(j, "artifacts", a && a->artifacts ? json_incref(a->artifacts) : json_array_new());
        return j;
}

static json_t *observed_json(const struct report *r) {
        json_t *j = json_object_new();
        json_put(j, "revision", json_text(r->revision[0] ? r->revision : NULL));
        json_put(j, "state", json_text(r->has_state ? member_state_name(r->state) : NULL));
        json_put(j, "message", json_text(r->message && r->message[0] ? r->message : NULL));
        return j;
}

json_t *inventory_json(const struct control *c, const struct node *n) {
        const struct report *r = &n->report;
        json_t *metadata = json_object_new(), *spec = json_object_new(), *status = json_object_new(),
               *facts = NULL;
        json_put(metadata, "name", json_text(n->name));
        json_put(metadata, "labels", pairs_json(n->labels));
        json_put(metadata, "createdAt", json_time(n->created_at));
        json_put(spec, "variables", pairs_json(n->declaration ? n->declaration->variables : NULL));
        json_put(status, "connected", json_boolean(n->connected));
        json_put(status, "lastSeenAt", json_time(n->last_seen_at));
        json_put(status, "relay", json_text(n->relay));
        json_put(status, "address", json_text(n->address));
        json_put(status, "agentVersion", json_text(r->agent_version));
        json_put(status, "platform", json_text(r->platform));
        json_put(status, "fleet", json_text(n->fleet ? fleet_name(n->fleet) : NULL));
        json_put(status, "conditions", conditions_json(c, n));
        json_put(status, "desired", desired_json(n));
        json_put(status, "observed", observed_json(r));
        json_put(status, "apps", report_apps_json(r));
        json_put(status, "artifacts", report_artifacts_json(&r->artifacts));
        json_put(status, "driftCorrected", json_number(r->drift_corrected));
        json_put(status, "revoked", json_boolean(n->revoked_at != 0));
        json_put(status, "expected", json_boolean(n->imported_at != 0));
        json_put(status, "replaceUntil", json_time(n->replace_until > control_now(c) ? n->replace_until : 0));
        json_put(status, "certificateNotAfter", json_time(n->certificate_not_after));
        if (!r->facts || json_decode(r->facts, strlen(r->facts), &facts, NULL) < 0)
                facts = json_object_new();
        json_put(status, "facts", facts);
        return shape("Node", metadata, spec, status);
}
