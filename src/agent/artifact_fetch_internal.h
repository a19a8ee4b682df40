/* SPDX-License-Identifier: Apache-2.0 */
/* What the three parts of fetching an artifact share, and nobody else:
 *
 *   artifact_fetch.c         the state machine: what is under way, waiting, jobs, claim and release
 *   artifact_fetch_ladder.c  what the repository offers, the plan, which way is given up and why
 *   artifact_fetch_ways.c    carrying out: list, index, delta, chunks, whole
 *
 * At any time one of these holds, and nothing else moves a fetch on:
 *   - the timer is set, and step() comes;
 *   - a download (list, index, delta, whole) is under way, and its done() comes;
 *   - a worker has a job, and job_finished() comes;
 *   - ranges of the pack are under way and none of the above: the first one's end comes.
 * Ranges may also be under way beside the timer or a job. What begins a download or a job cancels the timer
 * (fetch_begins()), so that a range which ended between the end of a job and the timer does not have the
 * timer begin a second job over the first.
 *
 * The listener is told last in every function here: of `done` and `failed` because it may free the fetch, of
 * `delayed` because it may hurry it. */
#pragma once

#include "agent/artifact_fetch.h"
#include "agent/artifact_fetch_work.h"
#include "agent/range_window.h"
#include "base/buf.h"
#include "net/backoff.h"

/* Answers of one way that were wrong before it is given up. */
#define FETCH_WRONG_MAX 3
#define FETCH_MESSAGE_MAX 480

struct delta_offer {
        char from[65], sha256[65];
        int64_t length;
};

struct artifact_fetch {
        struct artifact_fetch_host host;
        struct artifact_fetch_listener listener;
        char *target;
        struct artifact *artifact;
        bool claimed;

        /* the machine */
        struct loop_timer *timer;
        struct backoff backoff;
        struct prng random;
        struct download *download;
        struct fetch_job *job;
        enum artifact_fetch_state state;
        unsigned room_made; /* times that room was made, with no progress since */
        bool disk_was_full;
        unsigned wasted_rounds;   /* in which every way was tried, and what came was of no use */
        int64_t fetched_at_round; /* `fetched` when this one began */
        int64_t predicted, fetched, told;

        /* the ladder */
        bool listed, index_asked, has_index;
        struct delta_offer *deltas;
        size_t n_deltas;
        struct fetch_plan plan;
        enum fetch_way way;
        unsigned failed_ways, wrong;
        size_t first_source;
        bool in_doubt; /* what came was wrong: caches on the way shall look again */

        /* carrying out */
        struct buf body;          /* list of deltas */
        int file;                 /* what is being fetched goes there; -1 */
        struct delta_offer delta; /* chosen; from "" for none */
        struct chunk_work *chunks;
        struct range_window *ranges; /* of the pack, under way */
        char *feed;                  /* the range that came, for the worker */
        size_t n_feed;
        bool feed_is_cut; /* it broke off: without progress that is a failure */
        int feed_error;   /* with this */
        char *feed_message;
        int64_t feed_before; /* bytes of the pack that were missing before it */
};

/* ---- the machine */

/* Something begins that will move the fetch on by itself. */
void fetch_begins(struct artifact_fetch *f);
void fetch_soon(struct artifact_fetch *f);
void fetch_wait(struct artifact_fetch *f, msec_t at_least_ms, const char *message);
/* Tells what is in the way, and goes on. */
void fetch_say(struct artifact_fetch *f, const char *message);
/* Waits exactly so long. */
void fetch_wait_for(struct artifact_fetch *f, msec_t ms, const char *message);
void fetch_disk_full(struct artifact_fetch *f, const char *message);
bool fetch_error_is_full(int error);
void fetch_set_state(struct artifact_fetch *f, enum artifact_fetch_state s);
void fetch_count_bytes(struct artifact_fetch *f, int64_t n);
/* fill: gives the job what it works on. */
void fetch_start_job(struct artifact_fetch *f, enum fetch_job_kind kind,
                     void (*fill)(struct artifact_fetch *f, struct fetch_job *j));

/* ---- the ladder */

void ladder_read_list(struct artifact_fetch *f);
int ladder_plan(struct artifact_fetch *f, char **seeds);
/* The delta from there; NULL. */
const struct delta_offer *ladder_delta(const struct artifact_fetch *f, const char *from);
void ladder_give_up(struct artifact_fetch *f, enum fetch_way way);
/* A download for this way ended badly: gives it up or not, and waits or goes on. */
void ladder_download_failed(struct artifact_fetch *f, enum fetch_way way, const struct download_result *r);
void ladder_job_failed(struct artifact_fetch *f, enum fetch_job_kind kind, int error, const struct err *err);
/* No way is left, or none is allowed now. */
void ladder_refused(struct artifact_fetch *f);

/* ---- the ways */

void ways_fetch_list(struct artifact_fetch *f);
void ways_fetch_index(struct artifact_fetch *f);
/* What the plan says. */
void ways_carry_out(struct artifact_fetch *f);
/* Goes on with chunks, which are open. */
void ways_fetch_chunks(struct artifact_fetch *f);
void ways_open_chunks(struct artifact_fetch *f);
/* What is under way was asked for behind a range that did not come as it should: it is asked for anew. */
void ways_drop_ranges(struct artifact_fetch *f);
void ways_drop_chunks(struct artifact_fetch *f);
void ways_unlink(struct artifact_fetch *f, const char *suffix);
void ways_unlink_delta(struct artifact_fetch *f);
int64_t ways_partial_length(const struct artifact_fetch *f, const char *suffix);
