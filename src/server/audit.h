/* SPDX-License-Identifier: Apache-2.0 */
/* The audit log: what people and tokens did, each act one record of a chain (fleet/audit_chain.h), written in
 * the same turn as the act and so in the same transaction: there is neither an act without its record nor a
 * record without its act. Never pruned.
 *
 * What tools do to the database beside a server (skerry-server admin-token, init) is noted in the table
 * audit_pending, in the same transaction as well, and taken into the chain by the server: at its start, and
 * then within a minute. */
#pragma once

#include "fleet/audit_chain.h"
#include "net/http_server.h"
#include "server/control.h"

struct audit;
int audit_open(struct control *c, struct err **err);
struct audit *audit_free(struct audit *a);

/* Belongs into the turn of the act. */
void audit_add(struct control *c, const struct audit_act *act);
/* What tools noted. */
void audit_take_pending(struct control *c);
/* Of this turn: durable when the turn is. */
const struct audit_head *audit_newest(const struct control *c);

/* For tools: the act's note, into the batch of the act. */
void audit_note(struct db_batch *batch, const struct audit_act *act, msec_t now);

struct audit_filter {
        int64_t after; /* records after this one */
        msec_t since;  /* and not before this time; 0: any */
        int64_t limit; /* AUDIT_PAGE_MAX at most */
};
#define AUDIT_PAGE_MAX 1000
/* Answers with an AuditList, oldest first. */
void audit_answer_list(struct control *c, struct http_exchange *x, const struct audit_filter *f);
