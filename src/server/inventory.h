/* SPDX-License-Identifier: Apache-2.0 */
/* The nodes: who they are, how they are labelled, whether they are there, what they report. */
#pragma once

#include "crypto/cert.h"
#include "server/control.h"
#include "server/pairs_pack.h"
#include "server/report.h"

struct assignment;
struct fleet;
struct inventory;

/* Certificates that a member may still show: the newest few. */
#define SERIALS_KEPT 4
struct serials {
        char items[SERIALS_KEPT][41]; /* newest first, "" where there are fewer */
};
void serials_add(struct serials *s, const char *serial);
bool serials_have(const struct serials *s, const char *serial);

/* Which report of a node was the newest that was taken (signed_report.h). */
struct report_order {
        char serial[41]; /* of the certificate it was signed under; "": none yet */
        int64_t sequence;
};

struct declaration { /* a Node document in Git */
        char *node, *source;
        struct pairs *labels, *variables;
};

struct node {
        char *name, *machine_id;
        msec_t created_at;
        struct serials serials;
        char *keys[SERIALS_KEPT]; /* of those certificates: PEM, NULL where it was not kept */
        struct report_order heard;
        msec_t certificate_not_after;
        msec_t revoked_at; /* 0: not revoked */
        char *revoked_reason;
        msec_t replace_until; /* another machine may enrol under its name until then; 0: none */
        msec_t imported_at;   /* made known by a list and not enrolled yet; 0: it has, or came by itself */
        char *duplicate; /* why it seems to be two machines, or the machine of another node; NULL: it does not
                          */
        char *boot_before; /* the boot id before that of its report */

        struct pairs *token_labels, *manual_labels;
        struct pairs *labels;                  /* what counts: Git over `node label` over the token */
        struct pairs *traits;                  /* labels over facts (inventory_facts.h): what selectors see */
        const struct declaration *declaration; /* or NULL */

        bool connected;
        msec_t last_seen_at;
        char *relay, *address; /* how it is or was connected; relay NULL: directly */
        struct report report;
        struct event_allowance speech; /* of the events it causes by itself */

        struct fleet *fleet; /* its one owner, or NULL */
        size_t n_owners;

        char *blocked; /* why the revision it should get cannot be given to it; NULL: nothing is in the way */
        /* What it is told to run, and what a rollback gives it: references, or NULL. */
        struct assignment *assigned, *fallback;
        int64_t version; /* of the newest assignment; never goes back */
};

int inventory_open(struct control *c, struct err **err);
struct inventory *inventory_free(struct inventory *i);

struct node *inventory_node(const struct control *c, const char *name); /* NULL: unknown */
size_t inventory_size(const struct control *c);
/* In order of enrolment; see table_next(). */
bool inventory_next(const struct control *c, size_t *position, struct node **ret);
/* Grows with every change of a node's labels: a compile that failed is worth another try then. */
uint64_t inventory_generation(const struct control *c);

/* A machine enrolled: a new node, or an old one with a new certificate. Takes labels. */
struct node *inventory_enrol(struct control *c, const char *name, const char *machine_id,
                             struct pairs *labels, const struct cert_info *certificate);
void inventory_renewed(struct control *c, struct node *n, const struct cert_info *certificate);
void inventory_presence(struct control *c, struct node *n, bool connected, const char *via,
                        const char *address);
/* What a node said, and proved to have said (signed_report_take()). */
void inventory_report(struct control *c, struct node *n, const json_t *status);
void inventory_set_labels(struct control *c, struct node *n, struct pairs *labels); /* takes labels */
void inventory_revoke(struct control *c, struct node *n, const char *reason, const char *actor);
void inventory_forget(struct control *c, struct node *n);
/* A person's word that another machine may take its name within ttl_ms; 0 takes it back. */
void inventory_replace(struct control *c, struct node *n, msec_t ttl_ms);
/* A node that has not come yet (inventory_import.h). Takes labels. */
void inventory_expect(struct control *c, const char *name, const char *machine_id, struct pairs *labels);
/* The node that the machine enrolled, or is expected, as; NULL: none. */
struct node *inventory_machine(const struct control *c, const char *machine_id);
/* Something proves that the node's identity is used by two machines. */
void inventory_alarm(struct control *c, struct node *n, const char *why);
/* All nodes of a relay that went. */
void inventory_relay_gone(struct control *c, const char *relay);

/* Git's view: replaces what a source declares. The array and what it holds stay the caller's. Nodes that
 * change are settled by fleets_settle_all() after. */
void inventory_declare(struct control *c, const char *source, const struct declaration *items, size_t n);
const struct declaration *inventory_declaration(const struct control *c, const char *node);

/* The API's shape. */
json_t *inventory_json(const struct control *c, const struct node *n) _must_use_;
