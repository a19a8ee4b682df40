/* SPDX-License-Identifier: Apache-2.0 */
#include "server/inventory.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/table.h"
#include "codec/json.h"
#include "server/assignments.h"
#include "server/edge_backend.h"
#include "server/fleets.h"
#include "server/inventory_facts.h"
#include "server/memory.h"
#include "server/rollouts.h"
#include "server/tokens.h"

struct inventory {
        struct table *nodes;        /* name -> struct node */
        struct table *declarations; /* name -> struct declaration */
        struct table *machines;     /* machine id -> struct node, borrowed: the one that came last */
        uint64_t generation;
};

void serials_add(struct serials *s, const char *serial) {
        memmove(s->items[1], s->items[0], sizeof(s->items) - sizeof(s->items[0]));
        memset(s->items[0], 0, sizeof(s->items[0]));
        memcpy(s->items[0], serial, MIN(strlen(serial), sizeof(s->items[0]) - 1));
}

bool serials_have(const struct serials *s, const char *serial) {
        for (size_t i = 0; serial && *serial && i < SERIALS_KEPT; i++)
                if (str_eq(s->items[i], serial))
                        return true;
        return false;
}

static void node_certificate_add(struct node *n, const char *serial, const char *public_key) {
        serials_add(&n->serials, serial);
        free(n->keys[SERIALS_KEPT - 1]);
        memmove(n->keys + 1, n->keys, sizeof(n->keys) - sizeof(n->keys[0]));
        n->keys[0] = copy_text(public_key);
}

static void node_certificates_drop(struct node *n) {
        memset(&n->serials, 0, sizeof(n->serials));
        for (size_t i = 0; i < SERIALS_KEPT; i++)
                replace_text(&n->keys[i], NULL);
        n->heard = (struct report_order){0};
}

static void node_destroy(void *p) {
        struct node *n = p;
        node_certificates_drop(n);
        free(n->name);
        free(n->machine_id);
        free(n->revoked_reason);
        free(n->token_labels);
        free(n->manual_labels);
        free(n->labels);
        free(n->traits);
        free(n->duplicate);
        free(n->boot_before);
        free(n->relay);
        free(n->address);
        free(n->blocked);
        report_done(&n->report);
        assignment_unref(n->assigned);
        assignment_unref(n->fallback);
        free(n);
}

static void declaration_destroy(void *p) {
        struct declaration *d = p;
        free(d->node);
        free(d->source);
        free(d->labels);
        free(d->variables);
        free(d);
}

struct node *inventory_node(const struct control *c, const char *name) {
        return name ? table_get(c->inventory->nodes, name) : NULL;
}

struct node *inventory_machine(const struct control *c, const char *machine_id) {
        return machine_id && *machine_id ? table_get(c->inventory->machines, machine_id) : NULL;
}

static void machine_set(struct control *c, struct node *n, const char *machine_id) {
        if (inventory_machine(c, n->machine_id) == n)
                table_remove(c->inventory->machines, n->machine_id);
        replace_text(&n->machine_id, machine_id);
        if (machine_id && *machine_id)
                must_do(table_set(c->inventory->machines, machine_id, n));
}

size_t inventory_size(const struct control *c) {
        return table_len(c->inventory->nodes);
}

bool inventory_next(const struct control *c, size_t *position, struct node **ret) {
        const char *key;
        void *value;
        if (!table_next(c->inventory->nodes, position, &key, &value))
                return false;
        *ret = value;
        return true;
}

uint64_t inventory_generation(const struct control *c) {
        return c->inventory->generation;
}

const struct declaration *inventory_declaration(const struct control *c, const char *node) {
        return table_get(c->inventory->declarations, node);
}

/* ---- rows */

static void node_store(struct control *c, const struct node *n) {
        _cleanup_(x_freep) char *token_labels = pairs_text(n->token_labels),
                                *labels = pairs_text(n->manual_labels);
        turns_write(
                c->turns,
                "INSERT INTO nodes (name, created_at, machine_id, token_labels, labels, last_seen_at, relay, "
                "address, certificate_not_after, revoked_at, revoked_reason, replace_until, imported_at) "
                "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, NULLIF($10, 0), $11, $12, $13) ON CONFLICT "
                "(name) DO "
                "UPDATE SET "
                "created_at = excluded.created_at, machine_id = excluded.machine_id, token_labels = "
                "excluded.token_labels, "
                "labels = excluded.labels, last_seen_at = excluded.last_seen_at, relay = excluded.relay, "
                "address = excluded.address, certificate_not_after = excluded.certificate_not_after, "
                "revoked_at = excluded.revoked_at, revoked_reason = excluded.revoked_reason, "
                "replace_until = excluded.replace_until, imported_at = excluded.imported_at",
                "sisssissiisii", n->name, (int64_t)n->created_at, n->machine_id, token_labels, labels,
                (int64_t)n->last_seen_at, n->relay, n->address, (int64_t)n->certificate_not_after,
                (int64_t)n->revoked_at, n->revoked_reason, (int64_t)n->replace_until,
                (int64_t)n->imported_at);
}

static void certificate_store(struct control *c, const struct node *n, const struct cert_info *certificate) {
        turns_write(c->turns,
                    "INSERT INTO certificates (serial, kind, name, issued_at, not_after, public_key) "
                    "VALUES ($1, 'node', $2, $3, $4, $5)",
                    "ssiis", certificate->serial, n->name, (int64_t)control_now(c),
                    (int64_t)certificate->not_after, certificate->public_key);
}

/* ---- labels */

static bool labels_refresh(struct control *c, struct node *n) {
        struct pairs *next = pairs_pack_merged(n->token_labels, n->manual_labels,
                                               n->declaration ? n->declaration->labels : NULL);
        free(n->labels);
        n->labels = next;
        _cleanup_(x_freep) struct pairs *facts = facts_pairs(n->report.facts, n->report.platform);
        struct pairs *traits = pairs_pack_merged(facts, next, NULL);
        bool changed = !pairs_same(n->traits, traits);
        free(n->traits);
        n->traits = traits;
        if (changed)
                c->inventory->generation++;
        return changed;
}

void inventory_set_labels(struct control *c, struct node *n, struct pairs *labels) {
        free(n->manual_labels);
        n->manual_labels = labels;
        node_store(c, n);
        if (labels_refresh(c, n))
                fleets_settle_node(c, n);
}

static void declaration_store(struct control *c, const struct declaration *d) {
        _cleanup_(x_freep) char *labels = pairs_text(d->labels), *variables = pairs_text(d->variables);
        turns_write(c->turns,
                    "INSERT INTO declarations (node, source, labels, variables) VALUES ($1, $2, $3, $4) "
                    "ON CONFLICT (node) DO UPDATE SET source = excluded.source, labels = excluded.labels, "
                    "variables = excluded.variables",
                    "ssss", d->node, d->source, labels, variables);
}

static void declaration_set(struct control *c, const struct declaration *from) {
        struct declaration *d = NEW(struct declaration);
        d->node = copy_text(from->node);
        d->source = copy_text(from->source);
        d->labels = pairs_pack(from->labels);
        d->variables = pairs_pack(from->variables);
        struct node *n = inventory_node(c, d->node);
        if (n)
                n->declaration = NULL;
        must_do(table_set(c->inventory->declarations, d->node, d));
        if (n) {
                n->declaration = d;
                (void)labels_refresh(c, n);
        }
}

static void declaration_remove(struct control *c, const char *name) {
        struct node *n = inventory_node(c, name);
        if (n)
                n->declaration = NULL;
        turns_write(c->turns, "DELETE FROM declarations WHERE node = $1", "s", name);
        table_remove(c->inventory->declarations, name);
        if (n)
                (void)labels_refresh(c, n);
}

static int declaration_order(const void *key, const void *item) {
        return strcmp(key, ((const struct declaration *)item)->node);
}

void inventory_declare(struct control *c, const char *source, const struct declaration *items, size_t n) {
        const char *name;
        void *value;
        char **gone = NULL;
        for (size_t i = 0; table_next(c->inventory->declarations, &i, &name, &value);) {
                const struct declaration *d = value;
                if (str_eq(d->source, source) &&
                    !(n && bsearch(name, items, n, sizeof(*items), declaration_order)))
                        must_do(strv_push(&gone, name));
        }
        for (size_t i = 0; gone && gone[i]; i++)
                declaration_remove(c, gone[i]);
        strv_free(gone);
        for (size_t i = 0; i < n; i++) {
                const struct declaration *had = inventory_declaration(c, items[i].node);
                if (had && str_eq(had->source, source) && pairs_same(had->labels, items[i].labels) &&
                    pairs_same(had->variables, items[i].variables))
                        continue;
                if (had && !str_eq(had->source, source))
                        continue; /* the other source declared it first; the compile said so */
                declaration_set(c, &items[i]);
                declaration_store(c, &items[i]);
        }
}

/* ---- coming, going */

static struct node *node_new(struct control *c, const char *name) {
        struct node *n = NEW(struct node);
        n->name = copy_text(name);
        n->declaration = inventory_declaration(c, name);
        must_do(table_set(c->inventory->nodes, name, n));
        return n;
}

struct node *inventory_enrol(struct control *c, const char *name, const char *machine_id,
                             struct pairs *labels, const struct cert_info *certificate) {
        struct node *n = inventory_node(c, name);
        if (!n) {
                n = node_new(c, name);
                n->created_at = control_now(c);
        } else {
                /* The same machine without its state: what it held before counts no longer. */
                turns_write(c->turns, "DELETE FROM certificates WHERE kind = 'node' AND name = $1", "s",
                            name);
                turns_write(c->turns,
                            "UPDATE nodes SET heard_serial = NULL, heard_sequence = NULL WHERE name = $1",
                            "s", name);
                node_certificates_drop(n);
        }
        const struct node *other = inventory_machine(c, machine_id);
        bool replaced = n->machine_id && n->imported_at == 0 && !str_eq(n->machine_id, machine_id);
        machine_set(c, n, machine_id);
        n->replace_until = n->imported_at = n->revoked_at = 0;
        replace_text(&n->revoked_reason, NULL);
        replace_text(&n->duplicate, NULL);
        replace_text(&n->boot_before, NULL);
        free(n->token_labels);
        n->token_labels = labels;
        n->last_seen_at = control_now(c);
        node_certificate_add(n, certificate->serial, certificate->public_key);
        n->certificate_not_after = certificate->not_after;
        node_store(c, n);
        certificate_store(c, n, certificate);
        (void)labels_refresh(c, n);
        _cleanup_(x_freep) char *message =
                must(str_format(replaced ? "%s was replaced by another machine" : "%s enrolled", name));
        events_add(c->events, &(struct event){.type = replaced ? "NodeReplaced" : "NodeEnrolled",
                                              .message = message,
                                              .node = name});
        if (replaced) /* the machine before */
                edge_backend_drop_later(c, IDENTITY_NODE, name);
        if (other && other != n && !other->revoked_at) {
                char id[MACHINE_ID_SHORT];
                _cleanup_(x_freep) char *why =
                        must(str_format("its machine (id %s...) is node %s, too: a disk was copied, or it "
                                        "enrolled twice",
                                        machine_id_short(machine_id, id), other->name));
                inventory_alarm(c, n, why);
        }
        fleets_settle_node(c, n);
        return n;
}

void inventory_renewed(struct control *c, struct node *n, const struct cert_info *certificate) {
        /* One certificate that was issued and never used must not push the one in use out: at most
         * SERIALS_KEPT renewals in a row can be lost. */
        node_certificate_add(n, certificate->serial, certificate->public_key);
        n->certificate_not_after = certificate->not_after;
        turns_write(c->turns, "UPDATE nodes SET certificate_not_after = $2 WHERE name = $1", "si", n->name,
                    (int64_t)certificate->not_after);
        certificate_store(c, n, certificate);
        turns_write(c->turns,
                    "DELETE FROM certificates WHERE kind = 'node' AND name = $1 AND serial NOT IN ($2, $3, "
                    "$4, $5)",
                    "sssss", n->name, n->serials.items[0], n->serials.items[1], n->serials.items[2],
                    n->serials.items[3]);
}

/* Events that a node causes by what it says are bounded; the last of a series says how many are missing. */
static void node_event(struct control *c, struct node *n, const char *type, const char *message,
                       const char *rollout) {
        unsigned unsaid = 0;
        if (!event_allowance_take(&n->speech, clock_mono_ms(c->clock), &unsaid))
                return;
        _cleanup_(x_freep) char *longer = NULL;
        if (unsaid > 0)
                longer = must(
                        str_format("%s (%u events of it before this one were left out)", message, unsaid));
        events_add(c->events, &(struct event){.type = type,
                                              .message = longer ? longer : message,
                                              .node = n->name,
                                              .fleet = n->fleet ? fleet_name(n->fleet) : NULL,
                                              .rollout = rollout});
}

static void presence_event(struct control *c, struct node *n) {
        _cleanup_(x_freep) char *message =
                n->connected ? must(str_format("%s connected%s%s", n->name, n->relay ? " through relay " : "",
                                               n->relay ? n->relay : ""))
                             : must(str_format("%s disconnected", n->name));
        node_event(c, n, n->connected ? "NodeConnected" : "NodeDisconnected", message, NULL);
}

void inventory_presence(struct control *c, struct node *n, bool connected, const char *via,
                        const char *address) {
        bool changed = n->connected != connected || (connected && !str_eq(n->relay, via));
        n->last_seen_at = control_now(c);
        if (!changed)
                return;
        n->connected = connected;
        if (connected) {
                replace_text(&n->relay, via);
                replace_text(&n->address, address);
        }
        turns_write(c->turns, "UPDATE nodes SET last_seen_at = $2, relay = $3, address = $4 WHERE name = $1",
                    "siss", n->name, (int64_t)n->last_seen_at, n->relay, n->address);
        presence_event(c, n);
        rollouts_node_presence(c, n);
}

void inventory_relay_gone(struct control *c, const char *relay) {
        struct node *n;
        for (size_t i = 0; inventory_next(c, &i, &n);)
                if (n->connected && str_eq(n->relay, relay))
                        inventory_presence(c, n, false, NULL, NULL);
}

static void report_event(struct control *c, struct node *n) {
        const struct report *r = &n->report;
        bool speaks = r->message && r->message[0];
        _cleanup_(x_freep) char *message =
                must(str_format("%s is %s%s%s", n->name, member_state_name(r->state), speaks ? ": " : "",
                                speaks ? r->message : ""));
        node_event(c, n, "NodeState", message, n->assigned ? n->assigned->rollout : NULL);
}

void inventory_alarm(struct control *c, struct node *n, const char *why) {
        if (str_eq(n->duplicate, why))
                return;
        replace_text(&n->duplicate, why);
        _cleanup_(x_freep) char *message = must(str_format("%s is not alone: %s", n->name, why));
        node_event(c, n, "NodeDuplicate", message, NULL);
}

/* One identity on two machines: the state folder was copied. Either the machine's id tells, or, where the
 * whole disk was copied, that the node goes back to a boot that had ended. */
static void watch_machine(struct control *c, struct node *n, const json_t *status, const char *boot) {
        char machine[129];
        facts_machine_id(json_object_get(status, "facts"), machine);
        if (machine[0] && n->machine_id && *n->machine_id && !str_eq(machine, n->machine_id)) {
                char here[MACHINE_ID_SHORT], there[MACHINE_ID_SHORT];
                _cleanup_(x_freep) char *why = must(
                        str_format("its key is used on machine %s..., and it enrolled on %s...: revoke "
                                   "it, and enrol both anew",
                                   machine_id_short(machine, here), machine_id_short(n->machine_id, there)));
                inventory_alarm(c, n, why);
        }
        if (!boot || !*boot || str_eq(boot, n->report.boot_id))
                return;
        if (str_eq(n->boot_before, n->report.boot_id))
                inventory_alarm(
                        c, n,
                        "its key is used on two machines that were started at different times: revoke it, "
                        "and enrol both anew");
        replace_text(&n->boot_before, boot);
}

void inventory_report(struct control *c, struct node *n, const json_t *status) {
        _cleanup_(err_freep) struct err *err = NULL;
        bool had_state = n->report.has_state;
        enum member_state before = n->report.state;
        char revision[65];
        memcpy(revision, n->report.revision, sizeof(revision));
        _cleanup_(x_freep) char *platform = copy_text(n->report.platform),
                                *boot = copy_text(n->report.boot_id);
        if (report_apply(&n->report, status, &err) < 0) {
                log_warning("a status report was refused", "node", n->name, "error", err_message(err), NULL);
                return;
        }
        n->last_seen_at = control_now(c);
        watch_machine(c, n, status, boot);
        json_t *whole = report_to_json(&n->report);
        _cleanup_(x_freep) char *text = must(json_encode_compact(whole));
        json_decref(whole);
        turns_write(c->turns, "UPDATE nodes SET report = $2, last_seen_at = $3 WHERE name = $1", "ssi",
                    n->name, text, (int64_t)n->last_seen_at);
        if (n->report.has_state &&
            (!had_state || before != n->report.state || !str_eq(revision, n->report.revision)))
                report_event(c, n);
        rollouts_node_report(c, n);
        bool new_traits = json_object_get(status, "facts") && labels_refresh(c, n);
        if (new_traits || !str_eq(platform, n->report.platform)) /* fleets, and artifacts, are chosen by it */
                fleets_settle_node(c, n);
}

void inventory_revoke(struct control *c, struct node *n, const char *reason, const char *actor) {
        if (n->revoked_at == 0) {
                n->revoked_at = control_now(c);
                replace_text(&n->revoked_reason, reason);
                node_store(c, n);
                turns_write(c->turns,
                            "UPDATE certificates SET revoked_at = $2 WHERE kind = 'node' AND name = $1", "si",
                            n->name, (int64_t)n->revoked_at);
                _cleanup_(x_freep) char *message = must(
                        str_format("%s was revoked%s%s", n->name, reason ? ": " : "", reason ? reason : ""));
                events_add(c->events, &(struct event){.type = "NodeRevoked",
                                                      .message = message,
                                                      .node = n->name,
                                                      .actor = actor});
                fleets_settle_node(c, n);
        }
        edge_backend_drop_later(c, IDENTITY_NODE, n->name);
}

void inventory_forget(struct control *c, struct node *n) {
        fleets_drop_node(c, n);
        turns_write(c->turns, "DELETE FROM certificates WHERE kind = 'node' AND name = $1", "s", n->name);
        turns_write(c->turns, "DELETE FROM nodes WHERE name = $1", "s", n->name);
        tokens_forget_member(c, "node", n->name);
        edge_backend_drop_later(c, IDENTITY_NODE, n->name);
        c->inventory->generation++;
        machine_set(c, n, NULL);
        table_remove(c->inventory->nodes, n->name);
}

void inventory_replace(struct control *c, struct node *n, msec_t ttl_ms) {
        n->replace_until = ttl_ms > 0 ? control_now(c) + ttl_ms : 0;
        node_store(c, n);
}

void inventory_expect(struct control *c, const char *name, const char *machine_id, struct pairs *labels) {
        struct node *n = inventory_node(c, name);
        if (!n) {
                n = node_new(c, name);
                n->created_at = control_now(c);
                n->token_labels = pairs_pack(NULL);
        }
        n->imported_at = control_now(c);
        machine_set(c, n, machine_id);
        free(n->manual_labels);
        n->manual_labels = labels;
        node_store(c, n);
        if (labels_refresh(c, n))
                fleets_settle_node(c, n);
}

/* ---- loading */

static void node_load(struct control *c, const struct db_rows *rows, size_t i) {
        struct node *n = node_new(c, db_text(rows, i, 0));
        n->created_at = db_int(rows, i, 1);
        machine_set(c, n, db_text(rows, i, 2));
        n->token_labels = pairs_from_text(db_text(rows, i, 3));
        n->manual_labels = pairs_from_text(db_text(rows, i, 4));
        n->last_seen_at = db_int(rows, i, 5);
        n->relay = copy_text(db_text(rows, i, 6));
        n->address = copy_text(db_text(rows, i, 7));
        n->certificate_not_after = db_int(rows, i, 8);
        n->revoked_at = db_int(rows, i, 9);
        n->revoked_reason = copy_text(db_text(rows, i, 10));
        const char *report = db_text(rows, i, 11), *heard = db_text(rows, i, 12);
        (void)snprintf(n->heard.serial, sizeof(n->heard.serial), "%s", heard ? heard : "");
        n->heard.sequence = db_int(rows, i, 13);
        n->replace_until = db_int(rows, i, 14);
        n->imported_at = db_int(rows, i, 15);
        json_t *j = NULL;
        if (report && json_decode(report, strlen(report), &j, NULL) == 0)
                (void)report_apply(&n->report, j, NULL);
        json_decref(j);
        (void)labels_refresh(c, n);
}

int inventory_open(struct control *c, struct err **err) {
        _cleanup_(db_rows_freep) struct db_rows *declarations = NULL, *nodes = NULL, *certificates = NULL;
        struct inventory *inventory = NEW(struct inventory);
        inventory->nodes = must(table_new(node_destroy));
        inventory->declarations = must(table_new(declaration_destroy));
        inventory->machines = must(table_new(NULL));
        inventory->generation = 1;
        c->inventory = inventory;
        int r = db_query_now(c->db, &declarations, err,
                             "SELECT node, source, labels, variables FROM declarations", "");
        if (r >= 0)
                r = db_query_now(c->db, &nodes, err,
                                 "SELECT name, created_at, machine_id, token_labels, labels, last_seen_at, "
                                 "relay, address, "
                                 "certificate_not_after, revoked_at, revoked_reason, report, "
                                 "heard_serial, heard_sequence, replace_until, imported_at FROM nodes ORDER "
                                 "BY created_at, name",
                                 "");
        if (r >= 0)
                r = db_query_now(c->db, &certificates, err,
                                 "SELECT name, serial, public_key FROM certificates WHERE kind = 'node' AND "
                                 "revoked_at IS NULL ORDER BY issued_at",
                                 "");
        if (r < 0)
                return r;
        for (size_t i = 0; i < db_rows_len(declarations); i++) {
                struct declaration *d = NEW(struct declaration);
                d->node = copy_text(db_text(declarations, i, 0));
                d->source = copy_text(db_text(declarations, i, 1));
                d->labels = pairs_from_text(db_text(declarations, i, 2));
                d->variables = pairs_from_text(db_text(declarations, i, 3));
                must_do(table_set(inventory->declarations, d->node, d));
        }
        for (size_t i = 0; i < db_rows_len(nodes); i++)
                node_load(c, nodes, i);
        for (size_t i = 0; i < db_rows_len(certificates); i++) {
                struct node *n = inventory_node(c, db_text(certificates, i, 0));
                if (n)
                        node_certificate_add(n, db_text(certificates, i, 1), db_text(certificates, i, 2));
        }
        return 0;
}

struct inventory *inventory_free(struct inventory *i) {
        if (!i)
                return NULL;
        table_free(i->machines);
        table_free(i->nodes);
        table_free(i->declarations);
        free(i);
        return NULL;
}
