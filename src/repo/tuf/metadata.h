/* SPDX-License-Identifier: Apache-2.0 */
/* TUF 1.0.34 metadata as values: the four roles, read strictly and within bounds (section 4 of the
 * specification). Members we do not know are kept: they are under the signature. Pure functions.
 *
 * What is refused as -EINVAL: JSON that json_decode() refuses (depth over 64, duplicate keys, numbers past 64
 * bits), a spec_version other than 1.x, versions that are not whole numbers from 1, expiry times that are not
 * "YYYY-MM-DDTHH:MM:SSZ", two signatures under one key id, paths and role names that are empty, too long or
 * with control characters, counts over the bounds below. A key of an unknown type is no error. */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "repo/tuf/key.h"

#define TUF_SPEC_VERSION "1.0.34"
#define TUF_ROOT_MAX (512u << 10) /* bytes of a file */
#define TUF_TIMESTAMP_MAX (16u << 10)
#define TUF_SNAPSHOT_MAX (4u << 20)
#define TUF_TARGETS_MAX (32u << 20)
#define TUF_VERSION_MAX ((int64_t)1 << 53) /* what every JSON reader can tell apart */
#define TUF_KEYS_MAX 1024                  /* in one document, and signatures */
#define TUF_DELEGATED_MAX 16384            /* roles that one document delegates to */
#define TUF_PATTERNS_MAX 4096              /* paths or prefixes of one delegation */
#define TUF_ROLE_NAME_MAX 80               /* bytes; three times that when quoted, and a file name still */
#define TUF_TARGET_PATH_MAX 1024           /* bytes */

enum tuf_type { TUF_ROOT, TUF_TIMESTAMP, TUF_SNAPSHOT, TUF_TARGETS };
#define TUF_TYPES 4
const char *tuf_type_name(enum tuf_type t); /* "root", ... */
size_t tuf_type_max(enum tuf_type t);       /* TUF_ROOT_MAX, ... */

struct tuf_role {             /* who may sign a role */
        const char **key_ids; /* borrowed from the document; none twice */
        size_t n_key_ids;
        int64_t threshold; /* from 1; may be more than there are keys: then nothing is good enough */
};
struct tuf_delegation {
        const char *name;
        struct tuf_role role;
        const json_t *paths; /* list of patterns, or NULL */
        const json_t
                *hash_prefixes; /* list of prefixes of the path's SHA-256, or NULL; one of the two is there */
        bool terminating;
};
struct tuf_file { /* a metadata file as timestamp or snapshot lists it */
        int64_t version;
        int64_t length;     /* -1: not listed */
        bool has_hashes;    /* at least one, perhaps none of those we know: then the file cannot be taken */
        const char *sha256; /* hex, or NULL */
        const char *sha512; /* hex, or NULL */
};
struct tuf_target {
        const char *path;
        int64_t length;
        char sha256[65];      /* empty: not listed (then only sha512 is, or neither: it cannot be taken) */
        const char *sha512;   /* or NULL */
        const json_t *custom; /* or NULL */
        const char *role;     /* that vouches for it */
};

struct tuf_metadata {
        enum tuf_type type;
        int64_t version;
        int64_t expires_s; /* Unix seconds */
        json_t *document;  /* {"signed", "signatures"} */
        char *canonical;   /* of "signed": what signatures cover */
        size_t canonical_len;
        struct table *keys; /* key id -> struct tuf_key; root, and targets with delegations; else NULL */
        /* root */
        bool consistent_snapshot;
        struct tuf_role roles[TUF_TYPES];
        /* targets */
        struct tuf_delegation *delegations; /* in order */
        size_t n_delegations;
};
struct tuf_metadata *tuf_metadata_free(struct tuf_metadata *m);
DEFINE_CLEANUP(struct tuf_metadata, tuf_metadata_free)
/* Parses and checks all of it. */
int tuf_metadata_parse(enum tuf_type type, const char *data, size_t len, struct tuf_metadata **ret,
                       struct err **err);
/* From a document at hand (a reference is taken, and it must not change after). */
int tuf_metadata_from_json(enum tuf_type type, json_t *document, struct tuf_metadata **ret, struct err **err);
const json_t *tuf_metadata_signed(const struct tuf_metadata *m);
/* The file's bytes: one line of JSON with sorted keys. (Not the canonical form: with line breaks left as they
 * are in strings that is no JSON.) malloc'ed. */
int tuf_metadata_serialise(const struct tuf_metadata *m, char **ret, size_t *ret_len, struct err **err);

/* How many different keys of `role` have signed m. keys: of the delegator (root, or targets). */
size_t tuf_metadata_count_signatures(const struct tuf_metadata *m, const struct tuf_metadata *delegator,
                                     const struct tuf_role *role);
/* 0, or -EKEYREJECTED with both numbers. name: for the message. */
int tuf_metadata_verify(const struct tuf_metadata *m, const char *name, const struct tuf_metadata *delegator,
                        const struct tuf_role *role, struct err **err);
/* The signature under a key id, or NULL. */
const char *tuf_metadata_signature(const struct tuf_metadata *m, const char *key_id);

/* timestamp: "snapshot.json"; snapshot: "targets.json", "<role>.json". False: not listed. */
bool tuf_metadata_file(const struct tuf_metadata *m, const char *name, struct tuf_file *ret);
/* targets: the entry of a path. False: not listed. ret->role is left NULL. */
bool tuf_metadata_target(const struct tuf_metadata *m, const char *path, struct tuf_target *ret);
/* Every target of a document in its order; stops when fn returns non-zero and returns that. */
int tuf_metadata_each_target(const struct tuf_metadata *m, int (*fn)(void *arg, const struct tuf_target *t),
                             void *arg);
const struct tuf_delegation *tuf_metadata_delegation(const struct tuf_metadata *m, const char *name);

/* May this delegation speak of the path? '*' and '?' do not match '/', "[a-z]" and "[!a-z]" are sets; case
 * counts. Never slower than pattern times path. */
bool tuf_delegation_covers(const struct tuf_delegation *d, const char *target_path);
bool tuf_pattern_matches(const char *pattern, const char *path);

/* Is s fit for the path of a target: path_is_beneath(), UTF-8, at most TUF_TARGET_PATH_MAX bytes? (What
 * others publish may be more liberal; then only the file cannot be made from it.) */
bool tuf_target_path_is_valid(const char *s);
/* A role's name as it stands in URLs and file names: all but [A-Za-z0-9_.~-] as %XX. malloc'ed. */
char *tuf_role_quote(const char *role) _must_use_;
bool tuf_role_is_top_level(const char *role); /* root, timestamp, snapshot, targets */

/* "2026-11-20T18:00:00Z". */
#define TUF_TIME_SIZE 32
int tuf_time_parse(const char *s, int64_t *ret_s);
const char *tuf_time_format(int64_t unix_s, char out[TUF_TIME_SIZE]);
