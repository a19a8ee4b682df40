/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of repository_objects.c, repository_object.c and repository_run.c: one file, and the request that
 * brings the next part of it. */
#pragma once

#include "base/list.h"
#include "relay/repository_objects.h"
#include "repo/block_file.h"
#include "repo/transfer_limit.h"

/* Asked for in one request: enough that a round trip costs little, and what a slow disk makes us hold. */
#define REQUEST_BYTES_MAX ((int64_t)8 << 20)
#define REQUEST_BYTES_MIN ((int64_t)64 << 10) /* not less for the sake of a bandwidth */
#define RUNS_MAX 16                           /* requests under way */
#define WRITES_MAX 8                          /* blocks of one file that workers may have */
#define ROUNDS_MAX 6                          /* times that all sources are asked without a byte */
#define ROOM_BYTES ((int64_t)16 << 20)        /* freed on a full disk beyond what is needed */
#define NO_ROOM_MS 30000
#define DOUBT_EVERY_MS 10000 /* how often a node's word that a file is wrong is taken */

struct waiter {
        struct list link;
        void (*done)(void *arg, const struct edge_repository_file *f);
        void *arg;
        msec_t until;
        bool head, fresh, waited;
        const char *range; /* in text, or NULL */
        const char *path;  /* in text: the same file may be asked for by several, and not all of them exist */
        char text[];
};

struct run {
        void *call; /* NULL: none under way */
        unsigned source;
        int64_t at, end;  /* next byte that is expected, and behind the last one asked for */
        int64_t skip;     /* bytes that come first and are here already */
        int64_t received; /* in this request */
        char *buffer;     /* of the block that at lies in; its first `fill` bytes are there */
        size_t fill;
        int error; /* our own verdict on what came */
        bool lied;
};

struct object {
        struct repository_objects *all; /* NULL: gone while a worker had it */
        struct object_store *store;
        char key[SHA256_HEX_SIZE + 8], sha256[SHA256_HEX_SIZE];
        char *path, *file_path;
        int64_t expected, seen_length, counted;
        struct block_file *file;
        struct list waiters;
        struct list ready; /* in all->ready: waits for its turn to ask */
        struct run run;
        struct loop_timer *retry;
        struct backoff backoff;
        unsigned rounds, lies;
        source_mask tried, absent, contributed, distrusted, without; /* without: peers that have it not */
        bool in_conflict;                                            /* sources do not agree on its length */
        msec_t used_at, no_room_until, doubted_at;
        unsigned working; /* workers that have it */
        unsigned writes;  /* blocks among them: */
        int64_t writing[WRITES_MAX];
        bool busy; /* one of them has all of it */
        bool made_room;
        int write_error;
        /* for and from that worker */
        int result;
        bool in_store, was_damaged;
        int64_t check_first, check_last, check_bad, n_bad, room;
};

struct repository_objects {
        struct repository_context *context;
        char *folder;
        struct table *table; /* key -> struct object, all that lie on the disk */
        struct list ready;
        struct table *doubted; /* digests that were read through again since doubted_since */
        msec_t doubted_since;
        struct loop_timer *tick, *turn;
        msec_t patience_ms;
        int64_t bytes;
        uint64_t n_waiting;
        unsigned runs;
        bool is_limited;
        struct transfer_limit limit;
};

/* repository_objects.c: all of them, and who waits for them */
void object_tell(struct object *o, struct waiter *w, int error, int fd, const char *message);
void object_fail(struct object *o, int error, const char *message);
void object_is_absent(struct object *o);
bool object_take_next_path(struct object *o);
bool object_is_idle(const struct object *o);
void object_forget(struct object *o);
bool object_is_back(struct object *o);
void object_forget_empty(struct object *o);
void object_count_bytes(struct object *o, int64_t bytes);
void objects_make_room(struct repository_objects *all, int64_t most);
void objects_close_idle(struct repository_objects *all);

/* repository_object.c: one of them */
void object_open(struct object *o);
void object_advance(struct object *o);
void object_no_room(struct object *o, int error);
bool object_is_here(struct object *o, const struct repository_want *q);

/* repository_run.c: asks for blocks first to last, now or when it is its turn. */
void object_run_when_ready(struct object *o, int64_t first, int64_t last);
void object_run_cancel(struct object *o);
void objects_take_turns(void *arg);
/* NULL: no limit. */
void objects_limit_begin(struct repository_objects *all, const struct transfer_policy *policy);
