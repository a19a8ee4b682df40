/* SPDX-License-Identifier: Apache-2.0 */
/* The metadata that a TUF client trusts now, and the checks by which new metadata becomes trusted
 * (specification 1.0.34, section 5.3 to 5.6). For repo/tuf/client.c and repo/tuf/search.c alone. */
#pragma once

#include "base/table.h"
#include "repo/tuf/client.h"

struct tuf_held {   /* verified metadata, and what its referrer may ask of the file */
        char *name; /* of the role */
        struct tuf_metadata *m;
        int64_t length;
        char sha256[65], sha512[129];
        struct table *verified_by; /* delegated roles: names of delegators by whose keys it was verified */
};

struct tuf_trusted {
        struct tuf_store store;
        int64_t now_s;
        struct tuf_held root, timestamp, snapshot; /* .m NULL: none */
        struct table *roles;                       /* name -> struct tuf_held: targets and delegated */
        /* What a function that returned TUF_LACKS needs; the path is the caller's to take. */
        char *lack_path, *lack_role, *lack_delegator;
        size_t lack_max;
};

/* The file at lack_path is needed: bring it to tuf_trusted_take_...(). */
#define TUF_LACKS 1

int tuf_trusted_init(struct tuf_trusted *t, const struct tuf_store *store, const char *root, size_t len,
                     struct err **err);
void tuf_trusted_done(struct tuf_trusted *t);

int tuf_trusted_take_root(struct tuf_trusted *t, const char *data, size_t len, struct err **err);
int tuf_trusted_root_is_fresh(const struct tuf_trusted *t, struct err **err);

/* What is stored, if it still verifies; else it is dropped. */
void tuf_trusted_load_timestamp(struct tuf_trusted *t);
int tuf_trusted_take_timestamp(struct tuf_trusted *t, const char *data, size_t len, struct err **err);
int tuf_trusted_timestamp_is_fresh(const struct tuf_trusted *t, struct err **err);

/* Is the snapshot that the timestamp names at hand? 0 or TUF_LACKS. */
int tuf_trusted_snapshot(struct tuf_trusted *t, struct err **err);
int tuf_trusted_take_snapshot(struct tuf_trusted *t, const char *data, size_t len, struct err **err);

/* Is the version of this role that the snapshot names at hand, and signed as its delegator (NULL: root) asks
 * for? 0 or TUF_LACKS. */
int tuf_trusted_role(struct tuf_trusted *t, const char *role, const char *delegator, struct err **err);
/* The role that was lacked last. */
int tuf_trusted_take_role(struct tuf_trusted *t, const char *data, size_t len, struct err **err);
const struct tuf_held *tuf_trusted_held(const struct tuf_trusted *t, const char *role);

int tuf_trusted_each(struct tuf_trusted *t, int (*fn)(void *arg, const struct tuf_target *target), void *arg);
