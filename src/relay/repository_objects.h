/* SPDX-License-Identifier: Apache-2.0 */
/* The large files of a repository: targets, deltas and packs, fetched in blocks by as few requests as there
 * can be, and kept. Belongs to repository_cache.c.
 *
 * A file with a digest is wanted whole, and goes into the object store once it is whole and right; until then
 * nobody gets a byte of it. A pack has no digest: its blocks come as they are asked for. */
#pragma once

#include "relay/repository_context.h"
#include "repo/transfer_limit.h"

struct repository_objects;

struct repository_objects_options {
        struct repository_context *context;
        const struct transfer_policy *limit; /* of bytes from afar; NULL: none */
        msec_t patience_ms;
};
int repository_objects_new(const struct repository_objects_options *o, struct repository_objects **ret,
                           struct err **err);
struct repository_objects *repository_objects_free(struct repository_objects *o);

struct repository_want {
        const char *path;    /* below the published folder */
        const char *key;     /* its name in the working folder */
        const char *sha256;  /* that it must have; NULL: a pack */
        int64_t length;      /* that it must have; -1: not known */
        const char *range;   /* a pack: a Range field; NULL: all */
        bool head;           /* a pack: the length is enough */
        bool fresh;          /* look through what lies here again */
        bool only_if_cached; /* -ETIME where it is not here */
        bool patient;        /* waits as long as it takes */
};
/* done: error, fd, length (where it is known); the rest is the caller's. */
void repository_objects_get(struct repository_objects *o, const struct repository_want *w,
                            void (*done)(void *arg, const struct edge_repository_file *f), void *arg);
/* A source is back: those that wait for one need not wait longer. */
void repository_objects_wake(struct repository_objects *o);
int64_t repository_objects_bytes(const struct repository_objects *o); /* on the disk, beside the store */
size_t repository_objects_known(const struct repository_objects *o);  /* of which something is remembered */
uint64_t repository_objects_waiting(const struct repository_objects *o);
