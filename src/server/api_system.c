/* SPDX-License-Identifier: Apache-2.0 */
/* What the server says of itself. */
#include <malloc.h>
#include <string.h>

#include "base/fs.h"
#include "relay/edge.h"
#include "server/api.h"
#include "server/director.h"
#include "server/inventory.h"
#include "server/openapi.h"
#include "server/sources.h"
#include "version.h"

/* Who can decide what nodes run: the server alone, by the key it signs assignments with; or, beside it,
 * whoever holds a release key. */
static const char *trust_of(const struct control *c) {
        return director_wants_releases(c) ? "release-key" : "server";
}

void api_version(struct http_exchange *x, void *arg) {
        const struct control *c = arg;
        json_t *j = json_object_new();
        json_put(j, "version", json_text(SKERRY_VERSION));
        json_put(j, "trustDomain", json_text(c->settings->domain));
        json_put(j, "trust", json_text(trust_of(c)));
        json_put(j, "database", json_text("sqlite"));
        api_answer(x, 200, j);
}

void api_health(struct http_exchange *x, void *arg) {
        const struct control *c = arg;
        const char *database = db_health(c->db);
        json_t *j = json_object_new();
        json_put(j, "status", json_text(database ? "unhealthy" : "ok"));
        if (database) {
                json_t *reasons = json_array_new();
                json_add(reasons, json_text(database));
                json_put(j, "reasons", reasons);
        }
        http_set_header(x, "cache-control", "no-store");
        api_answer(x, database ? 503 : 200, j);
}

void api_openapi(struct http_exchange *x, void *arg) {
        http_respond(x, 200, "application/json", openapi_document, openapi_document_len);
}

static json_t *listener_json(const struct http_server_stats *s) {
        json_t *j = json_object_new();
        json_put(j, "openConnections", json_number((int64_t)s->open_connections));
        json_put(j, "openExchanges", json_number((int64_t)s->open_exchanges));
        json_put(j, "accepted", json_number((int64_t)s->accepted));
        json_put(j, "refused", json_number((int64_t)s->refused));
        json_put(j, "exchanges", json_number((int64_t)s->exchanges));
        json_put(j, "bytesIn", json_number((int64_t)s->bytes_in));
        json_put(j, "bytesOut", json_number((int64_t)s->bytes_out));
        return j;
}

/* Resident memory in KiB, 0 where it is not told. */
static int64_t resident_kb(void) {
        _cleanup_(x_freep) char *text = NULL; /* "size resident shared ...", in pages */
        size_t len = 0;
        if (file_read("/proc/self/statm", 256, &text, &len, NULL) < 0)
                return 0;
        const char *resident = strchr(text, ' ');
        return resident ? strtol(resident, NULL, 10) * (sysconf(_SC_PAGESIZE) / 1024) : 0;
}

void api_status(struct http_exchange *x, void *arg) {
        const struct control *c = arg;
        struct edge_stats edge = {0};
        struct http_server_stats api = {0};
        json_t *j = json_object_new(), *e = json_object_new();
        if (c->edge)
                edge_stats(c->edge, &edge);
        if (c->api)
                http_server_stats(c->api, &api);
        json_put(j, "version", json_text(SKERRY_VERSION));
        json_put(j, "trustDomain", json_text(c->settings->domain));
        json_put(j, "trust", json_text(trust_of(c)));
        json_put(j, "database", json_text(db_health(c->db) ? db_health(c->db) : "ok"));
        json_put(j, "nodes", json_number((int64_t)inventory_size(c)));
        json_put(j, "sources", json_number((int64_t)sources_count(c)));
        json_put(j, "newestEvent", json_number(events_newest(c->events)));
        json_put(j, "turnsWaiting", json_number((int64_t)turns_waiting(c->turns)));
        json_put(j, "residentKilobytes", json_number(resident_kb()));
        struct mallinfo2 heap = mallinfo2();
        json_put(j, "heapUsedKilobytes", json_number((int64_t)(heap.uordblks + heap.hblkhd) / 1024));
        json_put(j, "heapFreeKilobytes", json_number((int64_t)heap.fordblks / 1024));
        json_put(e, "nodesDirect", json_number((int64_t)edge.nodes_direct));
        json_put(e, "nodesViaRelay", json_number((int64_t)edge.nodes_via_relay));
        json_put(e, "relays", json_number((int64_t)edge.relays));
        json_put(e, "eventsSent", json_number((int64_t)edge.events_sent));
        json_put(e, "statusReceived", json_number((int64_t)edge.status_received));
        json_put(e, "objectsServed", json_number((int64_t)edge.objects_served));
        json_put(e, "http", listener_json(&edge.http));
        json_put(j, "edge", e);
        json_put(j, "api", listener_json(&api));
        api_answer(x, 200, j);
}
