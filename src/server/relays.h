/* SPDX-License-Identifier: Apache-2.0 */
/* The relays: who they are and whether they are there. */
#pragma once

#include "server/control.h"
#include "server/inventory.h"

struct relays;
struct relay {
        char *name, *machine_id, *address;
        msec_t created_at, last_seen_at, certificate_not_after, revoked_at;
        struct serials serials;
        bool connected;
        struct event_allowance speech, refusals;
        uint64_t reports_refused; /* that it brought and its nodes did not sign, since the server's start */
};

int relays_open(struct control *c, struct err **err);
struct relays *relays_free(struct relays *r);
struct relay *relays_find(const struct control *c, const char *name);
struct relay *relays_enrol(struct control *c, const char *name, const char *machine_id,
                           const struct cert_info *certificate);
void relays_renewed(struct control *c, struct relay *r, const struct cert_info *certificate);
void relays_presence(struct control *c, struct relay *r, bool connected, const char *address);
void relays_revoke(struct control *c, struct relay *r, const char *reason, const char *actor);
void relays_forget(struct control *c, struct relay *r);
json_t *relays_json(const struct control *c, const char *name) _must_use_; /* array; name NULL: all */
