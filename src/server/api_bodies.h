/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON bodies of API calls, read strictly: unknown members, wrong types and values out of bounds are
 * -EINVAL with words. Pure. */
#pragma once

#include "server/pairs_pack.h"
#include "server/source_spec.h"

#define REASON_MAX 500

struct label_change {
        struct pairs *set;    /* owned */
        const json_t *remove; /* array of keys, borrowed from the body; NULL: none */
        const char *reason;   /* borrowed */
};
int body_label_change(const json_t *body, struct label_change *ret, struct err **err);
/* The labels with the change made; malloc'ed. -EINVAL: too many. */
int label_change_apply(const struct label_change *change, const struct pairs *to, struct pairs **ret,
                       struct err **err);

struct reason_body { /* borrowed */
        const char *reason;
        bool rollback;
        const char *wave;
};
int body_reason(const json_t *body, bool with_rollback, struct reason_body *ret, struct err **err);
/* What a person says of a rollout: "reason", with abort "rollback", with approve and promote "wave". */
int body_rollout_command(const json_t *body, const char *verb, struct reason_body *ret, struct err **err);

/* "to", "reason" */
int body_fleet_rollback(const json_t *body, const char **ret_to, const char **ret_reason, struct err **err);

int body_notify(const json_t *body, bool *ret_wait, struct err **err);

struct import_body { /* borrowed */
        const json_t *nodes;
        const char *reason;
        bool dry_run;
};
int body_import(const json_t *body, struct import_body *ret, struct err **err);

#define REPLACE_TTL_SECONDS_DEFAULT ((int64_t)24 * 3600)
#define REPLACE_TTL_SECONDS_MAX ((int64_t)30 * 24 * 3600)
struct replace_body {
        const char *reason; /* borrowed */
        int64_t ttl_seconds;
};
int body_replace(const json_t *body, struct replace_body *ret, struct err **err);

struct token_body {
        const char *kind, *name; /* borrowed */
        struct pairs *labels;    /* owned */
        int64_t uses, ttl_seconds;
        const char *reason; /* borrowed */
};
#define TOKEN_TTL_SECONDS_DEFAULT 3600
int body_token(const json_t *body, struct token_body *ret, struct err **err);

/* The member "reason" of any body; *ret stays where there is none. */
int body_why(const json_t *body, const char **ret, struct err **err);

int body_source(const json_t *body, const char **ret_name, struct source_spec *ret, struct err **err);
