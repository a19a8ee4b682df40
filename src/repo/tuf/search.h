/* SPDX-License-Identifier: Apache-2.0 */
/* The search for a target through the delegations: pre-order, depth first, each role once
 * (specification 1.0.34, section 5.6.7). For repo/tuf/client.c and repo/tuf/trusted.c alone. */
#pragma once

#include "repo/tuf/trusted.h"

struct tuf_visit {
        char *role, *delegator; /* delegator NULL: root */
};
struct tuf_search {
        char *path;               /* NULL: visit every role there is */
        struct tuf_visit *visits; /* still to be made, the next one last */
        size_t n_visits, room;
        struct table *visited;
};
int tuf_search_init(struct tuf_search *s, const char *path, struct err **err);
void tuf_search_done(struct tuf_search *s);
/* 0: found; TUF_LACKS: call again when the role was taken; -ENOENT: in no role; -ELOOP: too many roles; or
 * what is wrong with a role on the way. What is returned lives in the role's metadata. */
int tuf_search_run(struct tuf_search *s, struct tuf_trusted *t, struct tuf_target *ret, struct err **err);
