/* SPDX-License-Identifier: Apache-2.0 */
#include "server/audit.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/random.h"
#include "codec/json.h"
#include "server/api.h"
#include "server/memory.h"

struct audit {
        struct audit_head head;
        bool taking; /* what was pending is on its way into the chain */
};

/* ---- writing */

static void record_add(struct control *c, const struct audit_act *act, msec_t time) {
        struct audit_head *head = &c->audit->head;
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        _cleanup_(x_freep) char *noted = NULL;
        json_t *record = NULL;
        must_do(audit_record_make(head, act, time, &record));
        /* Canonical, as the digest wants it. There are no reals in it: it cannot fail but for memory. */
        must_do(json_encode_canonical(record, &text, NULL));
        must_do(buf_failed(&text));
        json_decref(record);
        head->sequence++;
        sha256_hex(text.data, text.len, head->digest);
        turns_write(c->turns, "INSERT INTO audit (sequence, time, record, digest) VALUES ($1, $2, $3, $4)",
                    "iiss", head->sequence, (int64_t)time, buf_str(&text), head->digest);
        /* So that records cut off the end are missed. */
        noted = must(str_format("%lld:%s", (long long)head->sequence, head->digest));
        turns_write(c->turns,
                    "INSERT INTO settings (key, value) VALUES ('audit_head', $1) "
                    "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                    "s", noted);
}

void audit_add(struct control *c, const struct audit_act *act) {
        record_add(c, act, control_now(c));
        log_info("act", "act", act->act, "on", act->name, "actor", act->actor, "address", act->address,
                 "reason", act->reason, NULL);
}

const struct audit_head *audit_newest(const struct control *c) {
        return &c->audit->head;
}

/* ---- what tools noted */

/* From a command line: it need not be UTF-8. */
static void put_given(json_t *j, const char *key, const char *text) {
        json_t *value = text ? json_string(text) : NULL;
        json_put(j, key, value ? value : json_text(text ? "(no text)" : NULL));
}

void audit_note(struct db_batch *batch, const struct audit_act *act, msec_t now) {
        char id[27];
        json_t *j = json_object_new();
        put_given(j, "actor", act->actor);
        put_given(j, "act", act->act);
        put_given(j, "kind", act->kind);
        put_given(j, "name", act->name);
        put_given(j, "reason", act->reason);
        if (act->detail)
                json_put(j, "detail", json_incref((json_t *)act->detail));
        _cleanup_(x_freep) char *text = must(json_encode_compact(j));
        json_decref(j);
        id_make(now, id);
        must_do(db_batch_add(batch, "INSERT INTO audit_pending (id, time, act) VALUES ($1, $2, $3)", "sis",
                             id, (int64_t)now, text));
}

static void pending_taken(void *arg, int error) {
        ((struct control *)arg)->audit->taking = false;
}

void audit_take_pending(struct control *c) {
        _cleanup_(db_rows_freep) struct db_rows *rows = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        if (c->audit->taking)
                return;
        if (db_query_now(c->db, &rows, &err, "SELECT id, time, act FROM audit_pending ORDER BY id LIMIT 1000",
                         "") < 0) {
                log_warning("acts of tools could not be read", "error", err_message(err), NULL);
                return;
        }
        for (size_t i = 0; i < db_rows_len(rows); i++) {
                const char *text = db_text(rows, i, 2);
                json_t *j = NULL;
                struct audit_act act = {.act = "unreadable"};
                if (text && json_decode(text, strlen(text), &j, NULL) == 0) {
                        act = (struct audit_act){.actor = json_string_value(json_object_get(j, "actor")),
                                                 .address = "console",
                                                 .act = json_string_value(json_object_get(j, "act")),
                                                 .kind = json_string_value(json_object_get(j, "kind")),
                                                 .name = json_string_value(json_object_get(j, "name")),
                                                 .reason = json_string_value(json_object_get(j, "reason")),
                                                 .detail = json_object_get(j, "detail")};
                }
                record_add(c, &act, db_int(rows, i, 1));
                turns_write(c->turns, "DELETE FROM audit_pending WHERE id = $1", "s", db_text(rows, i, 0));
                json_decref(j);
        }
        if (db_rows_len(rows) > 0) {
                c->audit->taking = true;
                turns_after(c->turns, pending_taken, c);
        }
}

/* ---- reading */

struct listing {
        struct control *control;
        struct audit_filter filter;
        struct http_exchange *x; /* NULL: left */
};

static void listing_closed(struct http_exchange *x, void *arg) {
        ((struct listing *)arg)->x = NULL;
}

/* As it is kept: what was tampered with is shown as it is now, for the client to find. */
static json_t *record_json(const struct db_rows *rows, size_t i) {
        const char *text = db_text(rows, i, 1), *digest = db_text(rows, i, 2);
        json_t *j = NULL;
        if (!text || json_decode(text, strlen(text), &j, NULL) < 0 || !json_is_object(j)) {
                json_decref(j);
                j = json_object_new();
                json_put(j, "sequence", json_number(db_int(rows, i, 0)));
                json_put(j, "unreadable", json_boolean(true));
        }
        json_put(j, "digest", json_text(digest ? digest : ""));
        return j;
}

static void listing_rows(void *arg, const struct db_rows *rows, const struct err *err) {
        struct listing *l = arg;
        struct http_exchange *x = TAKE_PTR(l->x);
        free(l);
        if (!x)
                return;
        http_on_close(x, NULL, NULL);
        if (err) {
                http_respond_error(x, 503, "unavailable", err_message(err));
                return;
        }
        json_t *items = json_array_new();
        for (size_t i = 0; i < db_rows_len(rows); i++)
                json_add(items, record_json(rows, i));
        api_answer_list(x, "AuditList", items);
}

/* Once what tools noted is in the chain, too. */
static void listing_go(void *arg, int error) {
        struct listing *l = arg;
        const struct audit_filter *f = &l->filter;
        struct http_exchange *x = l->x;
        if (!x || error == -ECANCELED) {
                free(l);
                return;
        }
        int64_t limit = f->limit > 0 ? MIN(f->limit, (int64_t)AUDIT_PAGE_MAX) : AUDIT_PAGE_MAX;
        if (db_query(l->control->db, listing_rows, l,
                     "SELECT sequence, record, digest FROM audit WHERE sequence > $1 AND time >= $2 "
                     "ORDER BY sequence LIMIT $3",
                     "iii", f->after, (int64_t)f->since, limit) < 0) {
                http_on_close(x, NULL, NULL);
                free(l);
                http_respond_error(x, 503, "unavailable", "the audit log cannot be read now");
        }
}

void audit_answer_list(struct control *c, struct http_exchange *x, const struct audit_filter *f) {
        struct listing *l = NEW(struct listing);
        *l = (struct listing){c, *f, x};
        http_on_close(x, listing_closed, l);
        turns_after(c->turns, listing_go, l);
}

/* ---- loading */

/* Goes on from the head that was noted, also when the log does not reach it any more: that it was cut must
 * stay to be seen. */
int audit_open(struct control *c, struct err **err) {
        _cleanup_(db_rows_freep) struct db_rows *noted = NULL, *last = NULL;
        c->audit = NEW(struct audit);
        c->audit->head = AUDIT_HEAD_NONE;
        int r = db_query_now(c->db, &noted, err, "SELECT value FROM settings WHERE key = 'audit_head'", "");
        if (r >= 0)
                r = db_query_now(c->db, &last, err,
                                 "SELECT sequence, digest FROM audit ORDER BY sequence DESC LIMIT 1", "");
        if (r < 0)
                return r;
        struct audit_head *head = &c->audit->head, kept = *head;
        if (db_rows_len(last) > 0 && db_text(last, 0, 1)) {
                kept.sequence = db_int(last, 0, 0);
                (void)snprintf(kept.digest, sizeof(kept.digest), "%s", db_text(last, 0, 1));
        }
        if (db_rows_len(noted) == 0 || !db_text(noted, 0, 0) ||
            audit_head_parse(db_text(noted, 0, 0), head, NULL) < 0 || head->sequence < kept.sequence)
                *head = kept;
        if (head->sequence != kept.sequence || !str_eq(head->digest, kept.digest))
                log_error("the audit log does not end as it did: 'skerry audit verify' says more", NULL);
        audit_take_pending(c);
        return 0;
}

struct audit *audit_free(struct audit *a) {
        free(a);
        return NULL;
}
