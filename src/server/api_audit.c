/* SPDX-License-Identifier: Apache-2.0 */
/* The audit log, and what every call that acts does: ask whether it may, and leave a record. */
#include <string.h>

#include "server/api.h"
#include "server/api_bodies.h"
#include "server/audit.h"
#include "server/tokens.h"

/* ---- acting */

bool api_may_act(struct control *c, struct http_exchange *x, const char *reason) {
        if (!api_actor(c, x)) { /* it ended while the body came */
                http_respond_error(x, 401, "unauthorized", "this token was deleted, or has ended");
                return false;
        }
        if (c->settings->require_reason && (!reason || !reason[strspn(reason, " \t\r\n")])) {
                http_respond_error(x, 422, "reason_required",
                                   "reason: this server wants to know why: give one with --reason");
                return false;
        }
        return true;
}

bool api_query_reason(struct http_exchange *x, const char **ret) {
        const char *reason = http_query(x, "reason");
        _cleanup_(x_freep) char *message = NULL;
        json_t *text = reason ? json_string(reason) : NULL;
        if (reason && !text)
                message = must(str_dup("reason: expected text in UTF-8"));
        else if (reason && strlen(reason) > REASON_MAX)
                message = must(str_format("reason: longer than %d bytes", REASON_MAX));
        json_decref(text);
        if (message) {
                http_respond_error(x, 422, "invalid", message);
                return false;
        }
        *ret = reason;
        return true;
}

void api_record(struct control *c, const struct http_exchange *x, const struct audit_act *act) {
        struct audit_act whole = *act;
        struct admin_holder holder = {0};
        (void)api_holder(c, x, &holder);
        whole.actor = holder.name;
        whole.token = holder.id;
        whole.address = http_peer_address(x);
        audit_add(c, &whole);
}

/* ---- reading */

static bool take_number(struct http_exchange *x, const char *what, int64_t *ret) {
        const char *text = http_query(x, what);
        int64_t n;
        if (!text)
                return true;
        if (str_to_i64(text, &n) < 0 || n < 0) {
                _cleanup_(x_freep) char *message = must(str_format("%s: %.40s is no number", what, text));
                http_respond_error(x, 400, "invalid", message);
                return false;
        }
        *ret = n;
        return true;
}

void api_audit_list(struct http_exchange *x, void *arg) {
        struct control *c = arg;
        struct audit_filter filter = {0};
        const char *since = http_query(x, "since");
        if (!take_number(x, "after", &filter.after) || !take_number(x, "limit", &filter.limit))
                return;
        if (since && time_parse(since, &filter.since) < 0) {
                http_respond_error(x, 400, "invalid", "since: expected a time as 2026-01-31T12:00:00Z");
                return;
        }
        audit_take_pending(c);
        audit_answer_list(c, x, &filter);
}

void api_audit_head(struct http_exchange *x, void *arg) {
        struct control *c = arg;
        audit_take_pending(c);
        json_t *head = json_object_new();
        json_put(head, "sequence", json_number(audit_newest(c)->sequence));
        json_put(head, "digest", json_text(audit_newest(c)->digest));
        api_answer_after(c, x, 200, head);
}
