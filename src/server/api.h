/* SPDX-License-Identifier: Apache-2.0 */
/* The REST API (docs/api.md, docs/openapi.json): what its resources share. One file each: api_<resource>.c.
 */
#pragma once

#include "fleet/audit_chain.h"
#include "net/http_server.h"
#include "server/control.h"
#include "server/memory.h"

#define API_BODY_MAX ((size_t)256 * 1024)
#define API_HOOK_MAX ((size_t)2 << 20) /* a push with many commits makes a long webhook */
#define API_HOOKS_AT_ONCE 16           /* anybody may send one: so many are read at a time */

/* Routes whose context is this need no token. */
extern const char api_is_open[];
extern const struct http_route api_routes[];

int api_start(struct control *c, struct tls_config *tls, struct err **err);

/* ---- answering */
void api_answer(struct http_exchange *x, int status, json_t *body);             /* takes body */
void api_answer_list(struct http_exchange *x, const char *kind, json_t *items); /* takes items */
/* The first item, or 404 with the words; takes items. */
void api_answer_only(struct http_exchange *x, json_t *items, const char *what, const char *name);
void api_answer_missing(struct http_exchange *x, const char *what, const char *name);
/* 400, 404, 409, 422, 503 by the error's code. */
void api_answer_error(struct http_exchange *x, int error, const struct err *err);
/* When everything changed so far is durable; takes body (NULL: an empty answer). */
void api_answer_after(struct control *c, struct http_exchange *x, int status, json_t *body);
/* A list of many, rendered piece by piece as the client takes it. next() gives items until NULL; done() is
 * called once, also when the client leaves. */
struct api_stream {
        json_t *(*next)(void *arg);
        void (*done)(void *arg);
        void *arg;
};
void api_answer_stream(struct http_exchange *x, const char *kind, const struct api_stream *s);

/* ---- reading */
/* The JSON object of a request. NULL: answered with 400 already. */
json_t *api_read_object(struct http_exchange *x, const char *body, size_t len);
/* The same where a body may be left out: {} then. */
json_t *api_read_optional_object(struct http_exchange *x, const char *body, size_t len);
/* Who calls, for the event log; borrowed until the loop's turn ends. */
const char *api_actor(struct control *c, const struct http_exchange *x);
struct admin_holder;
bool api_holder(struct control *c, const struct http_exchange *x,
                struct admin_holder *ret); /* borrowed, too */

/* ---- acting: whatever a person changes. First api_may_act(), then the act, then api_record() in the same
 * turn, so that the act and its record are one transaction. */
/* false: answered; the token ended meanwhile, or the server wants a reason and there is none. */
bool api_may_act(struct control *c, struct http_exchange *x, const char *reason);
/* For calls without a body: ?reason=TEXT, NULL without. false: answered with 422. */
bool api_query_reason(struct http_exchange *x, const char **ret);
/* Adds who and from where to it. */
void api_record(struct control *c, const struct http_exchange *x, const struct audit_act *act);

/* ---- handlers; arg is the struct control */
void api_version(struct http_exchange *x, void *arg);
void api_health(struct http_exchange *x, void *arg);
void api_status(struct http_exchange *x, void *arg);
void api_openapi(struct http_exchange *x, void *arg);
void api_nodes_list(struct http_exchange *x, void *arg);
void api_nodes_get(struct http_exchange *x, void *arg);
void api_nodes_assignment(struct http_exchange *x, void *arg);
void api_nodes_label(struct http_exchange *x, void *arg);
void api_nodes_import(struct http_exchange *x, void *arg);
void api_nodes_replace(struct http_exchange *x, void *arg);
void api_nodes_revoke(struct http_exchange *x, void *arg);
void api_nodes_delete(struct http_exchange *x, void *arg);
void api_fleets_list(struct http_exchange *x, void *arg);
void api_fleets_get(struct http_exchange *x, void *arg);
void api_fleets_rollback(struct http_exchange *x, void *arg);
void api_fleets_follow(struct http_exchange *x, void *arg);
void api_apps_list(struct http_exchange *x, void *arg);
void api_apps_get(struct http_exchange *x, void *arg);
void api_rollouts_list(struct http_exchange *x, void *arg);
void api_rollouts_get(struct http_exchange *x, void *arg);
void api_rollouts_command(struct http_exchange *x, void *arg);
void api_revisions_list(struct http_exchange *x, void *arg);
void api_revisions_get(struct http_exchange *x, void *arg);
void api_objects_get(struct http_exchange *x, void *arg);
void api_repository_get(struct http_exchange *x, void *arg);
void api_repository_notify(struct http_exchange *x, void *arg);
void api_repository_targets(struct http_exchange *x, void *arg);
void api_repository_offer(struct http_exchange *x, void *arg);
void api_deltas_list(struct http_exchange *x, void *arg);
void api_relays_list(struct http_exchange *x, void *arg);
void api_relays_get(struct http_exchange *x, void *arg);
void api_relays_revoke(struct http_exchange *x, void *arg);
void api_relays_delete(struct http_exchange *x, void *arg);
void api_sources_list(struct http_exchange *x, void *arg);
void api_sources_get(struct http_exchange *x, void *arg);
void api_sources_create(struct http_exchange *x, void *arg);
void api_sources_delete(struct http_exchange *x, void *arg);
void api_sources_notify(struct http_exchange *x, void *arg);
void api_hooks_receive(struct http_exchange *x, void *arg);
void api_tokens_list(struct http_exchange *x, void *arg);
void api_tokens_create(struct http_exchange *x, void *arg);
void api_tokens_delete(struct http_exchange *x, void *arg);
void api_events_get(struct http_exchange *x, void *arg);
void api_audit_list(struct http_exchange *x, void *arg);
void api_audit_head(struct http_exchange *x, void *arg);
