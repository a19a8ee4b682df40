/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/artifact_fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/artifact_fetch_internal.h"
#include "base/fs.h"
#include "base/str.h"
#include "codec/json.h"

#define FETCH_BASE_MS 1000
#define FETCH_CAP_MS 300000
#define FETCH_BUSY_MS 200
#define FETCH_DISK_MS 3000
#define FETCH_ROOM ((int64_t)1 << 20) /* that must be there before a full disk is tried again */
#define FETCH_ROOM_TURNS 3            /* times that room is made without progress, before it is waited */
#define FETCH_PROGRESS_STEP ((int64_t)64 << 10)

static void step(void *arg);
static void job_finished(struct fetch_job *j);

const char *artifact_fetch_state_name(enum artifact_fetch_state s) {
        static const char *const names[] = {
                [ARTIFACT_FETCH_PLANNING] = "Planning", [ARTIFACT_FETCH_FETCHING] = "Fetching",
                [ARTIFACT_FETCH_APPLYING] = "Applying", [ARTIFACT_FETCH_WAITING] = "Waiting",
                [ARTIFACT_FETCH_READY] = "Ready",
        };
        return (unsigned)s < ARRAY_SIZE(names) ? names[s] : "Waiting";
}

void fetch_set_state(struct artifact_fetch *f, enum artifact_fetch_state s) {
        if (f->state == s)
                return;
        f->state = s;
        f->listener.changed(f->listener.arg);
}

void fetch_count_bytes(struct artifact_fetch *f, int64_t n) {
        f->fetched += n;
        if (f->fetched - f->told >= MAX(FETCH_PROGRESS_STEP, f->predicted / 16)) {
                f->told = f->fetched;
                f->listener.changed(f->listener.arg);
        }
}

/* ---- going on, and waiting */

static bool is_under_way(const struct artifact_fetch *f) {
        return f->download || f->job;
}

void fetch_begins(struct artifact_fetch *f) {
        loop_timer_cancel(f->timer);
}

void fetch_soon(struct artifact_fetch *f) {
        loop_timer_set(f->timer, 0);
}

void fetch_say(struct artifact_fetch *f, const char *message) {
        _cleanup_(x_freep) char *text =
                str_format("artifact %s:%s: %s", f->artifact->name, f->artifact->version, message);
        f->listener.delayed(f->listener.arg, text ? text : message);
}

void fetch_wait_for(struct artifact_fetch *f, msec_t ms, const char *message) {
        loop_timer_set(f->timer, ms);
        f->state = ARTIFACT_FETCH_WAITING;
        fetch_say(f, message);
}

void fetch_wait(struct artifact_fetch *f, msec_t at_least_ms, const char *message) {
        fetch_wait_for(f, backoff_next(&f->backoff, &f->random, at_least_ms), message);
}

bool fetch_error_is_full(int error) {
        return error == -ENOSPC || error == -EDQUOT || error == -EROFS;
}

void fetch_disk_full(struct artifact_fetch *f, const char *message) {
        /* What was open for chunks may be in any state; it is found again by its journal. */
        ways_drop_chunks(f);
        if (f->room_made < FETCH_ROOM_TURNS && f->host.make_room && f->host.make_room(f->host.arg)) {
                f->room_made++;
                fetch_soon(f);
                return;
        }
        f->room_made = 0; /* more may be to be had by then */
        f->disk_was_full = true;
        /* Not the network's trouble: looking again costs nothing, since it begins with a look at the disk. */
        fetch_wait_for(f, FETCH_DISK_MS + (msec_t)prng_below(&f->random, FETCH_DISK_MS), message);
}

/* Is there room again? Asked of the disk, and not by having bytes come that cannot be kept. */
static bool has_room(const struct artifact_fetch *f) {
        _cleanup_(x_freep) char *path =
                artifact_store_partial(f->host.artifacts, f->artifact->sha256, ".room");
        _cleanup_(x_closep) int fd =
                path ? open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
        int error = fd < 0 ? errno : posix_fallocate(fd, 0, (off_t)MIN(FETCH_ROOM, f->artifact->length + 1));
        if (fd >= 0)
                (void)unlink(path);
        return !fetch_error_is_full(-error);
}

/* ---- worker jobs */

void fetch_start_job(struct artifact_fetch *f, enum fetch_job_kind kind,
                     void (*fill)(struct artifact_fetch *f, struct fetch_job *j)) {
        struct fetch_job *j = fetch_job_new(kind, f->host.artifacts, f->target, f->artifact);
        if (j && fill)
                fill(f, j);
        if (j) {
                j->finished = job_finished;
                j->owner = f;
        }
        if (!j || fetch_job_start(f->host.loop, j) < 0) {
                fetch_job_free(j);
                ways_drop_ranges(f); /* what they continue may have gone with the job */
                fetch_wait(f, -1, "out of memory");
                return;
        }
        fetch_begins(f);
        f->job = j;
}

static void done(struct artifact_fetch *f) {
        loop_timer_cancel(f->timer);
        ways_drop_chunks(f);
        if (f->claimed)
                artifact_store_release(f->host.artifacts, f->artifact->sha256);
        f->claimed = false;
        f->predicted = MAX(f->predicted, 0);
        f->state = ARTIFACT_FETCH_READY;
        f->listener.done(f->listener.arg);
}

/* A range was fed. What broke off and brought nothing on is a failure of its source. */
static void fed(struct artifact_fetch *f) {
        bool cut = f->feed_is_cut;
        f->feed_is_cut = false;
        if (chunk_fetch_missing(f->chunks->fetch) < f->feed_before) {
                backoff_reset(&f->backoff);
                f->wrong = f->room_made = 0;
                f->in_doubt = false;
                fetch_soon(f);
                if (cut)
                        fetch_say(f, f->feed_message ? f->feed_message : strerror(-f->feed_error));
        } else if (cut) {
                const struct download_result r = {
                        .error = f->feed_error, .message = f->feed_message, .retry_after_ms = -1};
                ladder_download_failed(f, FETCH_CHUNKS, &r);
        } else {
                fetch_soon(f); /* a frame longer than a range: its end comes with the next */
        }
}

static void job_finished(struct fetch_job *j) {
        struct artifact_fetch *f = j->owner;
        if (!f) {
                artifact_store_release(j->store, j->artifact->sha256);
                fetch_job_free(j);
                return;
        }
        _cleanup_(err_freep) struct err *err = TAKE_PTR(j->err);
        enum fetch_job_kind kind = j->kind;
        int error = j->error;
        f->job = NULL;
        if (j->chunks) {
                chunk_work_free(f->chunks);
                f->chunks = TAKE_PTR(j->chunks);
        }
        fetch_job_free(j);
        if (error < 0)
                ladder_job_failed(f, kind, error, err);
        else if (kind == FETCH_JOB_OPEN_CHUNKS)
                fetch_soon(f);
        else if (kind == FETCH_JOB_FEED_CHUNKS)
                fed(f);
        else
                done(f);
}

/* ---- steps */

static void plan_and_go(struct artifact_fetch *f) {
        _cleanup_(strv_freep) char **seeds = NULL;
        if (artifact_store_seeds(f->host.artifacts, f->artifact->name, &seeds, NULL) < 0 ||
            ladder_plan(f, seeds) < 0) {
                fetch_wait(f, -1, "out of memory");
                return;
        }
        bool chunks_failed = f->failed_ways & 1u << FETCH_CHUNKS;
        if (!f->chunks && !chunks_failed && (f->plan.wants_chunk_index || f->plan.way != FETCH_DELTA)) {
                if (!f->has_index && !f->index_asked) {
                        ways_fetch_index(f);
                        return;
                }
                if (f->has_index) {
                        ways_open_chunks(f);
                        return;
                }
        }
        if (f->way != f->plan.way || f->predicted < 0) {
                f->way = f->plan.way;
                f->predicted = f->fetched + f->plan.bytes;
                f->listener.changed(f->listener.arg);
        }
        if (f->plan.way == FETCH_REFUSED)
                ladder_refused(f);
        else
                ways_carry_out(f);
}

/* Until then what lies in the partial folder belongs to whoever has the target in hand. */
static bool claim(struct artifact_fetch *f) {
        if (f->claimed)
                return true;
        if (artifact_store_claim(f->host.artifacts, f->artifact->sha256) < 0) {
                loop_timer_set(f->timer, FETCH_BUSY_MS);
                return false;
        }
        f->claimed = true;
        f->has_index = f->index_asked = ways_partial_length(f, ".index") > 0;
        return true;
}

static void step(void *arg) {
        struct artifact_fetch *f = arg;
        /* Cannot be: what begins either cancels the timer. */
        if (is_under_way(f) || f->state == ARTIFACT_FETCH_READY || !claim(f))
                return;
        if (f->disk_was_full && !has_room(f)) {
                fetch_disk_full(f, "the disk is full");
                return;
        }
        f->disk_was_full = false;
        if (f->state == ARTIFACT_FETCH_WAITING)
                f->state = ARTIFACT_FETCH_PLANNING;
        if (artifact_store_has(f->host.artifacts, f->artifact->sha256, f->artifact->length)) {
                ways_drop_chunks(f);
                f->way = f->fetched ? f->way : FETCH_NOTHING;
                fetch_set_state(f, ARTIFACT_FETCH_APPLYING);
                fetch_start_job(f, FETCH_JOB_PREPARE, NULL);
        } else if (f->chunks && f->way == FETCH_CHUNKS) {
                ways_fetch_chunks(f);
        } else if (!f->listed) {
                ways_fetch_list(f);
        } else {
                plan_and_go(f);
        }
}

/* ---- making and freeing */

int artifact_fetch_new(const struct artifact_fetch_host *host, const char *target, const struct artifact *a,
                       const struct artifact_fetch_listener *listener, struct artifact_fetch **ret,
                       struct err **err) {
        struct artifact_fetch *f = calloc(1, sizeof(*f));
        _cleanup_json_ json_t *custom = artifact_custom(a);
        if (!f || !custom) {
                free(f);
                return err_set_errno(err, ENOMEM, "artifact %s:%s", a->name, a->version);
        }
        f->host = *host;
        f->listener = *listener;
        f->file = -1;
        f->predicted = -1;
        f->way = FETCH_NOTHING;
        f->backoff = (struct backoff)BACKOFF_INIT(FETCH_BASE_MS, FETCH_CAP_MS);
        prng_seed_random(&f->random);
        f->target = str_dup(target);
        f->timer = loop_timer_new(host->loop, step, f);
        int r = f->target && f->timer
                        ? artifact_from_target(target, a->length, a->sha256, custom, &f->artifact, err)
                        : err_set_errno(err, ENOMEM, "artifact %s:%s", a->name, a->version);
        if (r < 0) {
                artifact_fetch_free(f);
                return r;
        }
        fetch_soon(f);
        *ret = f;
        return 0;
}

struct artifact_fetch *artifact_fetch_free(struct artifact_fetch *f) {
        if (!f)
                return NULL;
        download_free(f->download);
        if (f->job) { /* it ends by itself, and lets go of the target then */
                f->job->owner = NULL;
                atomic_store(&f->job->cancel, true);
        } else if (f->claimed) {
                artifact_store_release(f->host.artifacts, f->artifact->sha256);
        }
        if (f->timer)
                loop_timer_free(f->timer);
        ways_drop_chunks(f);
        range_window_free(f->ranges);
        free(f->feed);
        free(f->feed_message);
        x_closep(&f->file);
        buf_done(&f->body);
        artifact_free(f->artifact);
        free(f->deltas);
        free(f->target);
        free(f);
        return NULL;
}

void artifact_fetch_hurry(struct artifact_fetch *f) {
        /* After whole rounds of wrong bytes a new connection is no reason to have them all again. */
        if (f->state == ARTIFACT_FETCH_READY || is_under_way(f) ||
            (f->ranges && !range_window_is_empty(f->ranges)) || f->wasted_rounds > 0)
                return;
        backoff_reset(&f->backoff);
        fetch_soon(f);
}

void artifact_fetch_progress(const struct artifact_fetch *f, struct artifact_fetch_progress *ret) {
        *ret = (struct artifact_fetch_progress){.state = f->state,
                                                .way = f->way,
                                                .predicted = f->predicted,
                                                .fetched = f->fetched,
                                                .total = f->artifact->length};
}
