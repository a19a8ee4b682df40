/* SPDX-License-Identifier: Apache-2.0 */
/* The blocking half of fetching an artifact (agent/artifact_fetch.h): one job at a time on the worker pool. A
 * job owns all that it touches, so that its fetch may go while it runs. */
#pragma once

#include <stdatomic.h>

#include "agent/artifact_store.h"
#include "net/loop.h"
#include "repo/chunk/fetch.h"

struct chunk_work { /* a rebuild from chunks, between its jobs */
        struct chunk_index *index;
        struct chunk_fetch *fetch;
        int *seeds;
        size_t n_seeds;
        int target;
};
struct chunk_work *chunk_work_free(struct chunk_work *w);

/* Suffixes of partial files of a delta from this seed (agent/artifact_store.h). */
#define DELTA_SUFFIX_MAX 40
struct delta_suffixes {
        char delta[DELTA_SUFFIX_MAX], part[DELTA_SUFFIX_MAX], journal[DELTA_SUFFIX_MAX];
};
void delta_suffixes_of(const char *from, struct delta_suffixes *ret);

enum fetch_job_kind {
        FETCH_JOB_OPEN_CHUNKS,   /* reads the index, looks what the seeds give */
        FETCH_JOB_FEED_CHUNKS,   /* takes bytes of the pack */
        FETCH_JOB_FINISH_CHUNKS, /* then the payload, ready to be used */
        FETCH_JOB_DELTA,         /* applies the delta; then the payload */
        FETCH_JOB_WHOLE,         /* checks what was fetched; then the payload */
        FETCH_JOB_PREPARE,       /* the payload is there */
};
struct fetch_job {
        enum fetch_job_kind kind;
        struct artifact_store *store;
        struct artifact *artifact;
        char **seeds;              /* OPEN_CHUNKS: digests */
        struct chunk_work *chunks; /* in and out */
        char *bytes;               /* FEED_CHUNKS */
        size_t n_bytes;
        char delta_sha256[65], from[65]; /* DELTA */
        int64_t delta_length;
        atomic_bool cancel;
        _Atomic int64_t done; /* bytes of the target made so far */

        int error;
        struct err *err;
        void (*finished)(struct fetch_job *j); /* on the loop; frees it */
        void *owner;                           /* NULL: nobody waits for it any more */
};
/* store outlives it; the artifact is copied. */
struct fetch_job *fetch_job_new(enum fetch_job_kind kind, struct artifact_store *store, const char *target,
                                const struct artifact *a) _must_use_;
struct fetch_job *fetch_job_free(struct fetch_job *j);
/* finished() is called once, never from within. */
int fetch_job_start(struct loop *l, struct fetch_job *j);
