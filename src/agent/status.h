/* SPDX-License-Identifier: Apache-2.0 */
/* The node's status as docs/protocol.md has it: whole, as the difference to what the edge last took, and as
 * the file that `skerry-agent status` reads. Pure, but for that file. */
#pragma once

#include <stdio.h>

#include "agent/reconcile.h"
#include "crypto/key.h"

struct status_facts { /* what does not come from the reconciler */
        const char *node;
        const char *boot_id;
        const char *agent_version;
        const char *platform;
        msec_t certificate_not_after; /* Unix ms, 0: none */
        const json_t *facts;
        const char *problem; /* of what the node keeps; goes before what else the message says; "" for none */
};

/* Every member and app; without `seq` and `full`. NULL when memory is out. */
json_t *status_make(const struct reconcile *r, const struct status_facts *f) _must_use_;

/* What differs from `before` (NULL: all), with the members that every report has. NULL in *ret when nothing
 * differs. -ENOMEM. */
int status_difference(const json_t *before, const json_t *now, int64_t seq, bool full, json_t **ret);

/* The text of the report that a status makes: it with `_type` and `node` added, signed by the key of the
 * certificate with that serial number (docs/protocol.md, "Status"). -ENOMEM, -EINVAL. */
int status_sign(json_t *status, const char *node, const struct key *key, const char *serial, char **ret_text);

/* Lines for people. json: status with "node" and "link". */
int status_print(const json_t *status, FILE *out);
