/* SPDX-License-Identifier: Apache-2.0 */
/* The trust bundle as the edge hands it out (docs/protocol.md): roots that servers and relays chain to,
 * and the keys that sign assignments. Immutable once made. */
#pragma once

#include "base/table.h"
#include "codec/json.h"
#include "crypto/key.h"

#define BUNDLE_KEYS_MAX 16

struct bundle {
        const char *trust_domain; /* strings are borrowed from the document */
        int64_t sequence;
        const char *roots;  /* PEM */
        struct table *keys; /* key id -> struct key, public */
        json_t *document;   /* with `repository`, where there is one: a TUF root and how far it is trusted */
};

/* Checks shape and limits and reads the keys; members it does not know are left out of the document that
 * is kept. -EINVAL. */
int bundle_from_json(const json_t *j, struct bundle **ret, struct err **err);
struct bundle *bundle_free(struct bundle *b);
DEFINE_CLEANUP(struct bundle, bundle_free)
/* Borrowed; NULL when there is no such key. */
struct key *bundle_assignment_key(const struct bundle *b, const char *key_id);
