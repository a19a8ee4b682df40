/* SPDX-License-Identifier: Apache-2.0 */
/* One look at a Git host on a thread of its own: fetch, and compile where that makes sense. A thread and not
 * the worker pool, since a host that stalls must not keep the database or another source waiting. */
#pragma once

#include <stdatomic.h>

#include "net/loop.h"
#include "server/compile_job.h"
#include "server/git_signed.h"
#include "server/git_source.h"
#include "server/source_spec.h"

struct source_job {
        /* what to do; owned by the job */
        char *source, *folder;
        struct source_spec spec;
        char *previous;         /* commit fetched before, or NULL */
        char accepted[65];      /* question (git_signed.h) that was answered with yes before, or "" */
        char compiled_tree[65]; /* a compile of this tree would change nothing */
        struct arena *arena;    /* of the inventory */
        struct fleet_node *inventory;
        size_t n_inventory;
        /* borrowed; used by one job at a time */
        struct catalog *catalog; /* a reference, or NULL */
        char *why_no_catalog;    /* or NULL */
        struct fleet_cache *cache;
        struct object_store *objects;
        const atomic_bool *cancelled;
        /* what came of it */
        struct git_fetched fetched; /* id "" when the fetch failed */
        struct compiled *compiled;  /* NULL: not compiled */
        struct err *error;
        struct git_signer signer; /* of the commit or tag; format NULL: not asked, or asked before */
        char question[65];        /* that was answered with yes now; "" when no signature is required */
        bool is_refused;          /* for its signature: `error` says why */
        msec_t fetched_at;        /* wall */
        msec_t fetch_ms, compile_ms;
        /* called on the loop's thread when it has ended */
        void (*done)(void *arg, struct source_job *job);
        void *arg;
};

struct source_threads; /* counts them, so that the process can wait for their end */
struct source_threads *source_threads_new(struct loop *l) _must_use_;
void source_threads_wait(struct source_threads *t);
struct source_threads *source_threads_free(struct source_threads *t);

/* Takes the job; done() frees it with source_job_free(). */
int source_job_start(struct source_threads *t, struct source_job *job);
struct source_job *source_job_free(struct source_job *job);
