/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side of TUF 1.0.34 (section 5, detailed client workflow): from a trusted root to verified
 * metadata to a verified description of a target. Sans-I/O: it says which file of the repository it needs,
 * the caller brings the bytes, from wherever.
 *
 *   tuf_client_refresh(c, now);             or  tuf_client_find(c, "artifacts/web/1.2.0/linux-amd64")
 *   while ((need = tuf_client_need(c)))
 *           bytes or absence -> tuf_client_give() / tuf_client_missing() / tuf_client_abandon()
 *   tuf_client_result(c, &err)
 *
 * What was verified is kept by the store it is given (each file replaced atomically), the trusted root first;
 * nothing that failed verification is ever stored. No stored state makes it unrecoverable: what does not
 * verify any more is dropped and fetched anew. One caller, any thread. */
#pragma once

#include <jansson.h>

#include "base/clock.h"
#include "base/err.h"
#include "repo/tuf/metadata.h"

#define TUF_ROOT_ROTATIONS_MAX 256 /* in one refresh */
#define TUF_DELEGATIONS_MAX 32     /* roles visited in one search */

struct tuf_store { /* trusted metadata of one repository: "root.json", "timestamp.json", ... "<role>.json" */
        void *arg;
        int (*load)(void *arg, const char *name, char **ret, size_t *ret_len); /* -ENOENT */
        int (*save)(void *arg, const char *name, const char *data, size_t len,
                    struct err **err); /* durable */
        int (*remove)(void *arg, const char *name);
};
/* A folder; created when missing. */
struct tuf_folder;
int tuf_folder_open(const char *path, struct tuf_folder **ret, struct err **err);
struct tuf_folder *tuf_folder_free(struct tuf_folder *f);
struct tuf_store tuf_folder_store(struct tuf_folder *f);

struct tuf_client;
/* trusted_root: bytes of a root.json to begin with, used when the store holds none (the store's own, verified
 * before, is otherwise newer); NULL with an empty store is -ENOKEY. */
int tuf_client_new(const struct tuf_store *store, const char *trusted_root, size_t len,
                   struct tuf_client **ret, struct err **err);
struct tuf_client *tuf_client_free(struct tuf_client *c);
DEFINE_CLEANUP(struct tuf_client, tuf_client_free)

struct tuf_need {
        const char *path; /* below the repository: "metadata/3.root.json"; quoted as in URLs */
        size_t max_bytes; /* more is refused: stop reading there */
        bool optional;    /* absence (404, 403) is an answer: tuf_client_missing() */
};

/* Begins the workflow: newer roots, timestamp, snapshot, top-level targets. now: Unix seconds, held fixed for
 * this refresh. */
void tuf_client_refresh(struct tuf_client *c, int64_t now_s);
/* The same from the store alone, without a network: need() is NULL at once. -ENODATA: something is not
 * stored. */
void tuf_client_resume(struct tuf_client *c, int64_t now_s);
/* Begins a search for one target through the delegations, in pre-order, after a refresh that succeeded. */
void tuf_client_find(struct tuf_client *c, const char *target_path);
/* Begins loading every delegated role (for listing); roles over TUF_DELEGATIONS_MAX are an error. */
void tuf_client_load_all(struct tuf_client *c);

/* NULL: what was begun has ended, ask tuf_client_result(). */
const struct tuf_need *tuf_client_need(struct tuf_client *c);
void tuf_client_give(struct tuf_client *c, const char *data, size_t len);
void tuf_client_missing(struct tuf_client *c);
/* The file could not be had (network): ends what was begun with this error; trusted state stays as it is. */
void tuf_client_abandon(struct tuf_client *c, int error, const char *message);

/* 0, or: -EKEYREJECTED signatures below threshold; -ESTALE a version went back (rollback, or a snapshot that
 * drops a role); -ETIMEDOUT metadata expired (freeze); -EBADMSG not what its referrer's hash, length or
 * version says; -EINVAL not well-formed; -EFBIG; -ENOENT the target is in no role; -ELOOP too many
 * delegations, or too many new roots at once (they are kept: refresh again); -ENODATA the repository lacks a
 * file that must be there; what tuf_client_abandon() was given. The message names role, version and what to
 * do. */
int tuf_client_result(struct tuf_client *c, struct err **err);

/* After a search that succeeded; valid until the next thing that is begun. */
const struct tuf_target *tuf_client_found(const struct tuf_client *c);
/* Every target of the roles loaded, first-listed role wins; stops when fn returns non-zero and returns that.
 */
int tuf_client_each(const struct tuf_client *c, int (*fn)(void *arg, const struct tuf_target *t), void *arg);

/* Versions of what is trusted now, for reports: 0 where nothing is. */
struct tuf_versions {
        int64_t root, timestamp, snapshot, targets;
        int64_t timestamp_expires_s;
};
void tuf_client_versions(const struct tuf_client *c, struct tuf_versions *ret);

/* Where a target's file lies below the repository: "targets/<folder>/<digest>.<name>", or without the digest
 * where the root says that snapshots are not consistent. Not quoted. malloc'ed; NULL when memory is out or
 * the target has no digest that we know. */
char *tuf_client_target_file(const struct tuf_client *c, const struct tuf_target *t) _must_use_;
