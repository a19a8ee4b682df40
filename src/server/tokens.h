/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens: what people call the API with (ska_), and what machines join with (skj_). Both are kept hashed. */
#pragma once

#include "crypto/token.h"
#include "server/control.h"
#include "server/pairs_pack.h"

#define ADMIN_TOKEN_PREFIX "ska"
#define JOIN_TOKEN_PREFIX "skj"
#define JOIN_TOKEN_USES_MAX 1000000
#define JOIN_TOKEN_TTL_MAX_SECONDS ((int64_t)366 * 24 * 3600)
#define JOIN_TOKENS_MAX 10000

struct tokens;
int tokens_open(struct control *c, struct err **err);
struct tokens *tokens_free(struct tokens *t);
/* Forgets join tokens that ended long ago. */
void tokens_prune(struct control *c);

/* ---- admin tokens: made and deleted by `skerry-server admin-token` too, while the server runs; it sees that
 * within ADMIN_TOKENS_REFRESH_MS. */
#define ADMIN_TOKENS_REFRESH_MS 5000
struct admin_holder { /* borrowed */
        const char *id, *name;
};
/* Whose token is it? false: unknown, wrong, or past its end. */
bool tokens_admin_holder(struct control *c, const char *text, struct admin_holder *ret);
/* Its name alone, or NULL. */
const char *tokens_check_admin(struct control *c, const char *text);
/* For tools: straight to the database, with a note for the audit log that says who did it (by). ttl_ms 0: no
 * end. Text malloc'ed. */
int admin_token_create(struct db *db, const char *name, const char *by, const char *pin, msec_t ttl_ms,
                       msec_t now, char **ret_text, struct err **err);

/* ---- join tokens */
struct join_token {
        char id[TOKEN_ID_SIZE];
        char hash[65];
        char *kind; /* "node" or "relay" */
        char *name; /* of the node to be, or NULL */
        struct pairs *labels;
        int64_t uses, used;
        msec_t created_at, expires_at;
        struct table *keys; /* ids of the keys that enrolled with it -> char *, the name each got */
};
struct join_request { /* what a person asks for */
        const char *kind, *name;
        struct pairs *labels; /* taken on success */
        int64_t uses, ttl_seconds;
};
/* -EINVAL says what is wrong, -E2BIG. Text malloc'ed, not kept. */
int tokens_create_join(struct control *c, struct join_request *q, const char *actor, struct join_token **ret,
                       char **ret_text, struct err **err);
struct join_token *tokens_find_join(const struct control *c, const char *id);
void tokens_delete_join(struct control *c, struct join_token *t);

/* May a machine with this key join now? The same key that joined before may ask again (its answer was lost).
 * -EACCES with the reason. */
int join_token_check(const struct join_token *t, const char *key_id, msec_t now, struct err **err);
/* The name that the key got with this token, or NULL: a use is for one name. */
const char *join_token_joined(const struct join_token *t, const char *key_id);
/* Counts the use; belongs into the turn of the enrolment. */
void tokens_use_join(struct control *c, struct join_token *t, const char *key_id, const char *name);
/* A node or relay was deleted: the keys that made it are like unknown ones from now on, so that what was
 * used up cannot bring it back. */
void tokens_forget_member(struct control *c, const char *kind, const char *name);
/* The token that the text names and proves, or NULL. */
struct join_token *tokens_check_join(struct control *c, const char *text);

json_t *join_token_json(const struct join_token *t, const char *text)
        _must_use_;                                           /* text NULL but at creation */
json_t *tokens_join_json(const struct control *c) _must_use_; /* array */
