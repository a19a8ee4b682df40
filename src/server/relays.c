/* SPDX-License-Identifier: Apache-2.0 */
#include "server/relays.h"

#include <string.h>

#include "base/table.h"
#include "server/edge_backend.h"
#include "server/shapes.h"
#include "server/tokens.h"

struct relays {
        struct table *all; /* name -> struct relay */
};

static void relay_destroy(void *p) {
        struct relay *r = p;
        free(r->name);
        free(r->machine_id);
        free(r->address);
        free(r);
}

struct relay *relays_find(const struct control *c, const char *name) {
        return name ? table_get(c->relays->all, name) : NULL;
}

static struct relay *relay_new(struct control *c, const char *name) {
        struct relay *r = NEW(struct relay);
        r->name = copy_text(name);
        must_do(table_set(c->relays->all, name, r));
        return r;
}

static void relay_store(struct control *c, const struct relay *r) {
        turns_write(
                c->turns,
                "INSERT INTO relays (name, created_at, machine_id, last_seen_at, address, "
                "certificate_not_after, revoked_at) "
                "VALUES ($1, $2, $3, $4, $5, $6, NULLIF($7, 0)) ON CONFLICT (name) DO UPDATE SET "
                "machine_id = excluded.machine_id, last_seen_at = excluded.last_seen_at, address = "
                "excluded.address, "
                "certificate_not_after = excluded.certificate_not_after, revoked_at = excluded.revoked_at",
                "sisisii", r->name, (int64_t)r->created_at, r->machine_id, (int64_t)r->last_seen_at,
                r->address, (int64_t)r->certificate_not_after, (int64_t)r->revoked_at);
}

static void certificate_take(struct control *c, struct relay *r, const struct cert_info *certificate) {
        serials_add(&r->serials, certificate->serial);
        r->certificate_not_after = certificate->not_after;
        relay_store(c, r);
        turns_write(c->turns,
                    "INSERT INTO certificates (serial, kind, name, issued_at, not_after) VALUES ($1, "
                    "'relay', $2, $3, $4)",
                    "ssii", certificate->serial, r->name, (int64_t)control_now(c),
                    (int64_t)certificate->not_after);
        turns_write(c->turns,
                    "DELETE FROM certificates WHERE kind = 'relay' AND name = $1 AND serial NOT IN ($2, $3, "
                    "$4, $5)",
                    "sssss", r->name, r->serials.items[0], r->serials.items[1], r->serials.items[2],
                    r->serials.items[3]);
}

struct relay *relays_enrol(struct control *c, const char *name, const char *machine_id,
                           const struct cert_info *certificate) {
        struct relay *r = relays_find(c, name);
        if (!r) {
                r = relay_new(c, name);
                r->created_at = control_now(c);
        }
        memset(&r->serials, 0, sizeof(r->serials));
        replace_text(&r->machine_id, machine_id);
        r->last_seen_at = control_now(c);
        certificate_take(c, r, certificate);
        return r;
}

void relays_renewed(struct control *c, struct relay *r, const struct cert_info *certificate) {
        certificate_take(c, r, certificate);
}

void relays_presence(struct control *c, struct relay *r, bool connected, const char *address) {
        r->last_seen_at = control_now(c);
        if (r->connected == connected)
                return;
        r->connected = connected;
        if (connected)
                replace_text(&r->address, address);
        relay_store(c, r);
        _cleanup_(x_freep) char *message =
                must(str_format("relay %s %s", r->name, connected ? "connected" : "disconnected"));
        unsigned unsaid = 0;
        if (event_allowance_take(&r->speech, clock_mono_ms(c->clock), &unsaid))
                events_add(c->events,
                           &(struct event){.type = connected ? "RelayConnected" : "RelayDisconnected",
                                           .message = message});
        if (!connected)
                inventory_relay_gone(c, r->name);
}

void relays_revoke(struct control *c, struct relay *r, const char *reason, const char *actor) {
        if (r->revoked_at == 0) {
                r->revoked_at = control_now(c);
                relay_store(c, r);
                _cleanup_(x_freep) char *message = must(str_format("relay %s was revoked%s%s", r->name,
                                                                   reason ? ": " : "", reason ? reason : ""));
                events_add(c->events,
                           &(struct event){.type = "RelayRevoked", .message = message, .actor = actor});
        }
        edge_backend_drop_later(c, IDENTITY_RELAY, r->name);
}

void relays_forget(struct control *c, struct relay *r) {
        turns_write(c->turns, "DELETE FROM certificates WHERE kind = 'relay' AND name = $1", "s", r->name);
        turns_write(c->turns, "DELETE FROM relays WHERE name = $1", "s", r->name);
        tokens_forget_member(c, "relay", r->name);
        edge_backend_drop_later(c, IDENTITY_RELAY, r->name);
        table_remove(c->relays->all, r->name);
}

json_t *relays_json(const struct control *c, const char *name) {
        _cleanup_(table_freep) struct table *behind = must(table_new(free));
        json_t *list = json_array_new();
        struct node *n;
        const char *key;
        void *value;
        for (size_t i = 0; inventory_next(c, &i, &n);) {
                if (!n->connected || !n->relay)
                        continue;
                int64_t *count = table_get(behind, n->relay);
                if (!count) {
                        count = NEW(int64_t);
                        must_do(table_set(behind, n->relay, count));
                }
                ++*count;
        }
        for (size_t i = 0; table_next(c->relays->all, &i, &key, &value);) {
                const struct relay *r = value;
                const int64_t *count = table_get(behind, r->name);
                if (name && !str_eq(name, r->name))
                        continue;
                json_t *metadata = json_object_new(), *status = json_object_new();
                json_put(metadata, "name", json_text(r->name));
                json_put(metadata, "createdAt", json_time(r->created_at));
                json_put(status, "connected", json_boolean(r->connected));
                json_put(status, "lastSeenAt", json_time(r->last_seen_at));
                json_put(status, "address", json_text(r->address));
                json_put(status, "nodes", json_number(count ? *count : 0));
                json_put(status, "reportsRefused", json_number((int64_t)r->reports_refused));
                json_put(status, "revoked", json_boolean(r->revoked_at != 0));
                json_put(status, "certificateNotAfter", json_time(r->certificate_not_after));
                json_add(list, shape("Relay", metadata, NULL, status));
        }
        return list;
}

int relays_open(struct control *c, struct err **err) {
        _cleanup_(db_rows_freep) struct db_rows *rows = NULL, *certificates = NULL;
        c->relays = NEW(struct relays);
        c->relays->all = must(table_new(relay_destroy));
        int r = db_query_now(c->db, &rows, err,
                             "SELECT name, created_at, machine_id, last_seen_at, address, "
                             "certificate_not_after, revoked_at "
                             "FROM relays ORDER BY name",
                             "");
        if (r >= 0)
                r = db_query_now(
                        c->db, &certificates, err,
                        "SELECT name, serial FROM certificates WHERE kind = 'relay' ORDER BY issued_at", "");
        if (r < 0)
                return r;
        for (size_t i = 0; i < db_rows_len(rows); i++) {
                struct relay *relay = relay_new(c, db_text(rows, i, 0));
                relay->created_at = db_int(rows, i, 1);
                relay->machine_id = copy_text(db_text(rows, i, 2));
                relay->last_seen_at = db_int(rows, i, 3);
                relay->address = copy_text(db_text(rows, i, 4));
                relay->certificate_not_after = db_int(rows, i, 5);
                relay->revoked_at = db_int(rows, i, 6);
        }
        for (size_t i = 0; i < db_rows_len(certificates); i++) {
                struct relay *relay = relays_find(c, db_text(certificates, i, 0));
                if (relay)
                        serials_add(&relay->serials, db_text(certificates, i, 1));
        }
        return 0;
}

struct relays *relays_free(struct relays *r) {
        if (!r)
                return NULL;
        table_free(r->all);
        free(r);
        return NULL;
}
