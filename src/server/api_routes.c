/* SPDX-License-Identifier: Apache-2.0 */
/* Every call of the API. A test holds this table against docs/openapi.json. */
#include "server/api.h"

const char api_is_open[] = "open";

#define AT(path) "/api/v1" path

const struct http_route api_routes[] = {
        {"GET", AT("/version"), api_version, api_is_open},
        {"GET", AT("/healthz"), api_health, api_is_open},
        {"GET", AT("/openapi.json"), api_openapi, api_is_open},
        {"GET", AT("/status"), api_status, NULL},

        {"GET", AT("/nodes"), api_nodes_list, NULL},
        {"GET", AT("/nodes/:name"), api_nodes_get, NULL},
        {"GET", AT("/nodes/:name/assignment"), api_nodes_assignment, NULL},
        {"PATCH", AT("/nodes/:name/labels"), api_nodes_label, NULL},
        {"POST", AT("/nodes/import"), api_nodes_import, "import"},
        {"POST", AT("/nodes/check"), api_nodes_import, "check"},
        {"POST", AT("/nodes/:name/replace"), api_nodes_replace, NULL},
        {"POST", AT("/nodes/:name/revoke"), api_nodes_revoke, NULL},
        {"DELETE", AT("/nodes/:name"), api_nodes_delete, NULL},

        {"GET", AT("/fleets"), api_fleets_list, NULL},
        {"GET", AT("/fleets/:name"), api_fleets_get, NULL},
        {"POST", AT("/fleets/:name/rollback"), api_fleets_rollback, NULL},
        {"DELETE", AT("/fleets/:name/rollback"), api_fleets_follow, NULL},
        {"GET", AT("/apps"), api_apps_list, NULL},
        {"GET", AT("/apps/:name"), api_apps_get, NULL},

        {"GET", AT("/rollouts"), api_rollouts_list, NULL},
        {"GET", AT("/rollouts/:id"), api_rollouts_get, NULL},
        {"POST", AT("/rollouts/:id/pause"), api_rollouts_command, "pause"},
        {"POST", AT("/rollouts/:id/resume"), api_rollouts_command, "resume"},
        {"POST", AT("/rollouts/:id/abort"), api_rollouts_command, "abort"},
        {"POST", AT("/rollouts/:id/retry"), api_rollouts_command, "retry"},
        {"POST", AT("/rollouts/:id/approve"), api_rollouts_command, "approve"},
        {"POST", AT("/rollouts/:id/promote"), api_rollouts_command, "promote"},
        {"POST", AT("/rollouts/:id/emergency"), api_rollouts_command, "emergency"},

        {"GET", AT("/revisions"), api_revisions_list, NULL},
        {"GET", AT("/revisions/:digest"), api_revisions_get, NULL},
        {"GET", AT("/objects/:sha256"), api_objects_get, NULL},

        {"GET", AT("/repository"), api_repository_get, NULL},
        {"POST", AT("/repository/notify"), api_repository_notify, NULL},
        {"GET", AT("/repository/targets"), api_repository_targets, NULL},
        {"GET", AT("/repository/offers/:sha256"), api_repository_offer, NULL},
        {"GET", AT("/deltas"), api_deltas_list, NULL},

        {"GET", AT("/relays"), api_relays_list, NULL},
        {"GET", AT("/relays/:name"), api_relays_get, NULL},
        {"POST", AT("/relays/:name/revoke"), api_relays_revoke, NULL},
        {"DELETE", AT("/relays/:name"), api_relays_delete, NULL},

        {"GET", AT("/sources"), api_sources_list, NULL},
        {"POST", AT("/sources"), api_sources_create, NULL},
        {"GET", AT("/sources/:name"), api_sources_get, NULL},
        {"DELETE", AT("/sources/:name"), api_sources_delete, NULL},
        {"POST", AT("/sources/:name/notify"), api_sources_notify, NULL},

        {"POST", AT("/hooks/:host/:source"), api_hooks_receive, api_is_open},

        {"GET", AT("/tokens"), api_tokens_list, NULL},
        {"POST", AT("/tokens"), api_tokens_create, NULL},
        {"DELETE", AT("/tokens/:id"), api_tokens_delete, NULL},

        {"GET", AT("/events"), api_events_get, NULL},

        {"GET", AT("/audit"), api_audit_list, NULL},
        {"GET", AT("/audit/head"), api_audit_head, NULL},

        {NULL, NULL, NULL, NULL},
};
