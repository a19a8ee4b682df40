/* SPDX-License-Identifier: Apache-2.0 */
#include "server/tokens.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/table.h"
#include "codec/json.h"
#include "server/audit.h"
#include "server/authority.h"
#include "server/shapes.h"

#define EXPIRED_KEPT_MS ((msec_t)30 * 24 * 3600 * 1000)

struct admin_token {
        char id[TOKEN_ID_SIZE];
        char hash[65];
        char *name;
        msec_t expires_at; /* 0: no end */
};

struct tokens {
        struct table *admin; /* id -> struct admin_token */
        struct table *join;  /* id -> struct join_token */
        msec_t refreshed;    /* monotonic: when the admin tokens were last read */
};

static void admin_destroy(void *p) {
        struct admin_token *t = p;
        free(t->name);
        free(t);
}

static void join_destroy(void *p) {
        struct join_token *t = p;
        free(t->kind);
        free(t->name);
        free(t->labels);
        table_free(t->keys);
        free(t);
}

static void hash_copy(char out[65], const char *s) {
        if (s && strlen(s) == 64)
                memcpy(out, s, 65);
}

/* ---- admin tokens */

static int admin_load(struct control *c, struct err **err) {
        _cleanup_(db_rows_freep) struct db_rows *rows = NULL;
        _cleanup_(table_freep) struct table *all = must(table_new(admin_destroy));
        int r = db_query_now(c->db, &rows, err, "SELECT id, hash, name, expires_at FROM admin_tokens", "");
        if (r < 0)
                return r;
        for (size_t i = 0; i < db_rows_len(rows); i++) {
                struct admin_token *t = NEW(struct admin_token);
                (void)snprintf(t->id, sizeof(t->id), "%s", db_text(rows, i, 0));
                hash_copy(t->hash, db_text(rows, i, 1));
                t->name = copy_text(db_text(rows, i, 2));
                t->expires_at = db_int(rows, i, 3);
                must_do(table_set(all, db_text(rows, i, 0), t));
        }
        table_free(c->tokens->admin);
        c->tokens->admin = TAKE_PTR(all);
        c->tokens->refreshed = clock_mono_ms(c->clock);
        return 0;
}

static void admin_refresh(struct control *c) {
        _cleanup_(err_freep) struct err *err = NULL;
        if (clock_mono_ms(c->clock) - c->tokens->refreshed < ADMIN_TOKENS_REFRESH_MS)
                return;
        c->tokens->refreshed = clock_mono_ms(c->clock);
        if (admin_load(c, &err) < 0)
                log_warning("admin tokens could not be read again", "error", err_message(err), NULL);
}

bool tokens_admin_holder(struct control *c, const char *text, struct admin_holder *ret) {
        struct token shown = {0};
        admin_refresh(c);
        if (token_parse(text, &shown, NULL) < 0)
                return false;
        /* An unknown id takes as long as a wrong secret. */
        static const char nothing[65] = "0000000000000000000000000000000000000000000000000000000000000000";
        const struct admin_token *t =
                str_eq(shown.prefix, ADMIN_TOKEN_PREFIX) ? table_get(c->tokens->admin, shown.id) : NULL;
        bool right = token_hash_equal(shown.secret_sha256, t ? t->hash : nothing);
        token_done(&shown);
        if (!t || !right || (t->expires_at != 0 && t->expires_at <= control_now(c)))
                return false;
        *ret = (struct admin_holder){t->id, t->name};
        return true;
}

const char *tokens_check_admin(struct control *c, const char *text) {
        struct admin_holder holder;
        return tokens_admin_holder(c, text, &holder) ? holder.name : NULL;
}

int admin_token_create(struct db *db, const char *name, const char *by, const char *pin, msec_t ttl_ms,
                       msec_t now, char **ret_text, struct err **err) {
        struct token t = {0};
        _cleanup_(x_freep) char *text = NULL;
        int r = token_make(ADMIN_TOKEN_PREFIX, pin, &t, &text);
        if (r < 0)
                return err_set_errno(err, -r, "make a token");
        struct db_batch *batch = must(db_batch_new());
        if (ttl_ms > 0)
                must_do(db_batch_add(batch,
                                     "INSERT INTO admin_tokens (id, hash, name, created_at, expires_at) "
                                     "VALUES ($1, $2, $3, $4, $5)",
                                     "sssii", t.id, t.secret_sha256, name, (int64_t)now,
                                     (int64_t)(now + ttl_ms)));
        else
                must_do(db_batch_add(
                        batch,
                        "INSERT INTO admin_tokens (id, hash, name, created_at) VALUES ($1, $2, $3, $4)",
                        "sssi", t.id, t.secret_sha256, name, (int64_t)now));
        json_t *detail = json_object_new();
        json_put(detail, "id", json_text(t.id));
        audit_note(batch,
                   &(struct audit_act){.actor = by,
                                       .act = "admin-token.create",
                                       .kind = "AdminToken",
                                       .name = name,
                                       .detail = detail},
                   now);
        json_decref(detail);
        r = db_write_now(db, batch, err);
        token_done(&t);
        if (r < 0)
                return r;
        *ret_text = TAKE_PTR(text);
        return 0;
}

/* ---- join tokens */

struct join_token *tokens_find_join(const struct control *c, const char *id) {
        return id ? table_get(c->tokens->join, id) : NULL;
}

static int request_check(const struct join_request *q, struct err **err) {
        if (!str_eq(q->kind, "node") && !str_eq(q->kind, "relay"))
                return err_set(err, EINVAL, "kind: %s is neither node nor relay", q->kind);
        if (q->name && !name_is_dns_label(q->name))
                return err_set(err, EINVAL, "name: %s is not a DNS label (a-z, 0-9, -, at most 63)", q->name);
        if (q->uses < 1 || q->uses > JOIN_TOKEN_USES_MAX)
                return err_set(err, EINVAL, "uses: must be between 1 and %d", JOIN_TOKEN_USES_MAX);
        if (q->name && q->uses > 1)
                return err_set(err, EINVAL, "uses: a token that carries a name is for one machine");
        if (q->ttl_seconds < 1 || q->ttl_seconds > JOIN_TOKEN_TTL_MAX_SECONDS)
                return err_set(err, EINVAL, "ttlSeconds: must be between 1 and %lld",
                               (long long)JOIN_TOKEN_TTL_MAX_SECONDS);
        if (q->labels && q->labels->n > 0 && str_eq(q->kind, "relay"))
                return err_set(err, EINVAL, "labels: a relay carries none");
        return 0;
}

int tokens_create_join(struct control *c, struct join_request *q, const char *actor, struct join_token **ret,
                       char **ret_text, struct err **err) {
        struct token made = {0};
        _cleanup_(x_freep) char *text = NULL;
        int r = request_check(q, err);
        if (r < 0)
                return r;
        if (table_len(c->tokens->join) >= JOIN_TOKENS_MAX)
                return err_set(err, E2BIG, "there are %d join tokens already: delete some", JOIN_TOKENS_MAX);
        r = token_make(JOIN_TOKEN_PREFIX, authority_pin(c->authority), &made, &text);
        if (r < 0)
                return err_set_errno(err, -r, "make a token");
        struct join_token *t = NEW(struct join_token);
        memcpy(t->id, made.id, sizeof(t->id));
        hash_copy(t->hash, made.secret_sha256);
        token_done(&made);
        t->kind = copy_text(q->kind);
        t->name = copy_text(q->name);
        t->labels = q->labels ? TAKE_PTR(q->labels) : pairs_pack(NULL);
        t->uses = q->uses;
        t->created_at = control_now(c);
        t->expires_at = t->created_at + q->ttl_seconds * 1000;
        t->keys = must(table_new(free));
        must_do(table_set(c->tokens->join, t->id, t));
        _cleanup_(x_freep) char *labels = pairs_text(t->labels);
        turns_write(c->turns,
                    "INSERT INTO join_tokens (id, hash, kind, name, labels, uses, used, created_at, "
                    "expires_at, created_by) "
                    "VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, $9)",
                    "sssssiiis", t->id, t->hash, t->kind, t->name, labels, t->uses, (int64_t)t->created_at,
                    (int64_t)t->expires_at, actor);
        _cleanup_(x_freep) char *message =
                must(str_format("join token %s for %s%s%s was created", t->id, t->kind, t->name ? " " : "s",
                                t->name ? t->name : ""));
        events_add(c->events, &(struct event){.type = "TokenCreated", .message = message, .actor = actor});
        *ret = t;
        *ret_text = TAKE_PTR(text);
        return 0;
}

void tokens_delete_join(struct control *c, struct join_token *t) {
        turns_write(c->turns, "DELETE FROM join_tokens WHERE id = $1", "s", t->id);
        table_remove(c->tokens->join, t->id);
}

struct join_token *tokens_check_join(struct control *c, const char *text) {
        struct token shown = {0};
        static const char nothing[65] = "0000000000000000000000000000000000000000000000000000000000000000";
        if (token_parse(text, &shown, NULL) < 0)
                return NULL;
        struct join_token *t = str_eq(shown.prefix, JOIN_TOKEN_PREFIX) ? tokens_find_join(c, shown.id) : NULL;
        bool right = token_hash_equal(shown.secret_sha256, t ? t->hash : nothing);
        token_done(&shown);
        return right ? t : NULL;
}

int join_token_check(const struct join_token *t, const char *key_id, msec_t now, struct err **err) {
        char when[TIME_TEXT_SIZE];
        if (now >= t->expires_at)
                return err_set(err, EACCES, "join token %s expired at %s: make another one", t->id,
                               time_format(t->expires_at, when));
        if (t->used >= t->uses && !table_get(t->keys, key_id))
                return err_set(err, EACCES, "join token %s is used up (%lld of %lld): make another one",
                               t->id, (long long)t->used, (long long)t->uses);
        return 0;
}

const char *join_token_joined(const struct join_token *t, const char *key_id) {
        return table_get(t->keys, key_id);
}

void tokens_forget_member(struct control *c, const char *kind, const char *name) {
        const char *id, *key;
        void *value, *made;
        for (size_t i = 0; table_next(c->tokens->join, &i, &id, &value);) {
                struct join_token *t = value;
                if (!str_eq(t->kind, kind))
                        continue;
                for (size_t k = 0; table_next(t->keys, &k, &key, &made);) {
                        if (!str_eq(made, name))
                                continue;
                        turns_write(c->turns, "DELETE FROM enrolments WHERE token = $1 AND key_id = $2", "ss",
                                    t->id, key);
                        (void)table_remove(t->keys, key);
                }
        }
}

void tokens_use_join(struct control *c, struct join_token *t, const char *key_id, const char *name) {
        if (table_get(t->keys, key_id))
                return;
        must_do(table_set(t->keys, key_id, copy_text(name)));
        t->used++;
        turns_write(c->turns, "UPDATE join_tokens SET used = $2 WHERE id = $1", "si", t->id, t->used);
        turns_write(c->turns, "INSERT INTO enrolments (token, key_id, name, at) VALUES ($1, $2, $3, $4)",
                    "sssi", t->id, key_id, name, (int64_t)control_now(c));
}

void tokens_prune(struct control *c) {
        const char *id;
        void *value;
        for (size_t i = 0; table_next(c->tokens->join, &i, &id, &value);) {
                struct join_token *t = value;
                if (control_now(c) - t->expires_at > EXPIRED_KEPT_MS)
                        tokens_delete_join(c, t);
        }
}

json_t *join_token_json(const struct join_token *t, const char *text) {
        json_t *metadata = json_object_new(), *spec = json_object_new(), *status = json_object_new();
        json_put(metadata, "name", json_text(t->id));
        json_put(metadata, "createdAt", json_time(t->created_at));
        json_put(spec, "kind", json_text(t->kind));
        json_put(spec, "name", json_text(t->name));
        json_put(spec, "labels", pairs_json(t->labels));
        json_put(spec, "uses", json_number(t->uses));
        json_put(status, "used", json_number(t->used));
        json_put(status, "expiresAt", json_time(t->expires_at));
        if (text)
                json_put(status, "token", json_text(text));
        return shape("Token", metadata, spec, status);
}

json_t *tokens_join_json(const struct control *c) {
        json_t *list = json_array_new();
        const char *id;
        void *value;
        for (size_t i = 0; table_next(c->tokens->join, &i, &id, &value);)
                json_add(list, join_token_json(value, NULL));
        return list;
}

/* ---- loading */

static int join_load(struct control *c, struct err **err) {
        _cleanup_(db_rows_freep) struct db_rows *rows = NULL, *keys = NULL;
        int r = db_query_now(
                c->db, &rows, err,
                "SELECT id, hash, kind, name, labels, uses, used, created_at, expires_at FROM join_tokens "
                "ORDER BY created_at, id",
                "");
        if (r >= 0)
                r = db_query_now(c->db, &keys, err, "SELECT token, key_id, name FROM enrolments", "");
        if (r < 0)
                return r;
        for (size_t i = 0; i < db_rows_len(rows); i++) {
                struct join_token *t = NEW(struct join_token);
                const char *id = db_text(rows, i, 0);
                memcpy(t->id, id, MIN(strlen(id), sizeof(t->id) - 1));
                hash_copy(t->hash, db_text(rows, i, 1));
                t->kind = copy_text(db_text(rows, i, 2));
                t->name = copy_text(db_text(rows, i, 3));
                t->labels = pairs_from_text(db_text(rows, i, 4));
                t->uses = db_int(rows, i, 5);
                t->used = db_int(rows, i, 6);
                t->created_at = db_int(rows, i, 7);
                t->expires_at = db_int(rows, i, 8);
                t->keys = must(table_new(free));
                must_do(table_set(c->tokens->join, t->id, t));
        }
        for (size_t i = 0; i < db_rows_len(keys); i++) {
                struct join_token *t = tokens_find_join(c, db_text(keys, i, 0));
                if (t)
                        must_do(table_set(t->keys, db_text(keys, i, 1), copy_text(db_text(keys, i, 2))));
        }
        return 0;
}

int tokens_open(struct control *c, struct err **err) {
        c->tokens = NEW(struct tokens);
        c->tokens->admin = must(table_new(admin_destroy));
        c->tokens->join = must(table_new(join_destroy));
        int r = admin_load(c, err);
        return r < 0 ? r : join_load(c, err);
}

struct tokens *tokens_free(struct tokens *t) {
        if (!t)
                return NULL;
        table_free(t->admin);
        table_free(t->join);
        free(t);
        return NULL;
}
