/* SPDX-License-Identifier: Apache-2.0 */
/* The audit log as a chain: each record holds the digest of the one before it, so that none can be changed,
 * taken out, put in or moved without all after it being made anew; and a digest of the newest one, noted
 * elsewhere, shows that too, and that none was cut off the end.
 *
 * A record is the JSON object
 *
 *   {"sequence": 7, "time": RFC 3339, "actor", "token", "address", "act": "rollout.pause",
 *    "on": {"kind", "name"}, "reason", "detail": {}, "previous": DIGEST, "digest": DIGEST}
 *
 * where what does not concern it is left out. "digest" is the SHA-256 of the canonical form (codec/json.h) of
 * the object without it; the first record, of sequence 1, has 64 zeroes as "previous". Pure. */
#pragma once

#include <jansson.h>

#include "base/clock.h"
#include "base/err.h"
#include "crypto/digest.h"

struct audit_head { /* the newest record; {0, zeroes}: none yet */
        int64_t sequence;
        char digest[SHA256_HEX_SIZE];
};
#define AUDIT_HEAD_NONE                                                                                      \
        ((struct audit_head){0, "0000000000000000000000000000000000000000000000000000000000000000"})

struct audit_act {           /* fields but act may be NULL */
        const char *actor;   /* who: the name that the token was given */
        const char *token;   /* its id; never its secret */
        const char *address; /* where the call came from */
        const char *act;     /* "rollout.pause" */
        const char *kind, *name;
        const char *reason;
        const json_t *detail; /* object: what else there is to know; borrowed */
};

/* The record that follows head, without digest in it. -ENOMEM. */
int audit_record_make(const struct audit_head *head, const struct audit_act *act, msec_t time, json_t **ret);
/* -EINVAL: it holds what has no canonical form. A member "digest" is left out of it. */
int audit_record_digest(const json_t *record, char out[SHA256_HEX_SIZE], struct err **err);

/* Goes over records in the order in which they are kept. A list may begin behind the first record: then what
 * came before is taken on trust. */
struct audit_check {
        struct audit_head head; /* the last good record */
        int64_t first;          /* sequence of the first one looked at; 0: none yet */
};
/* -EBADMSG names the first record that is not as it was written. Nothing is to be made of what comes after.
 */
int audit_check_record(struct audit_check *c, const json_t *record, struct err **err);
/* At the end: -EBADMSG when the newest record is known to be a later one, so that some were cut off. */
int audit_check_end(const struct audit_check *c, const struct audit_head *newest, struct err **err);

/* "7:digest", as it is noted and given. -EINVAL. */
int audit_head_parse(const char *text, struct audit_head *ret, struct err **err);
