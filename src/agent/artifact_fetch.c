/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/artifact_fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/artifact_fetch_work.h"
#include "agent/range_window.h"
#include "base/buf.h"
#include "base/fs.h"
#include "base/str.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "net/backoff.h"

#define FETCH_BASE_MS 1000
#define FETCH_CAP_MS 300000
#define FETCH_BUSY_MS 200
#define FETCH_BUDGET_MS 60000
#define FETCH_DISK_MS 3000
#define FETCH_ROOM ((int64_t)1 << 20) /* that must be there before a full disk is tried again */
/* Between rounds that brought bytes which were all wrong: doubled each time, up to this. */
#define FETCH_ROUND_CAP_MS ((msec_t)6 * 3600 * 1000)
#define FETCH_ROUND_BYTES ((int64_t)64 << 10)
#define FETCH_LIST_MAX ((size_t)256 << 10)
#define FETCH_DELTAS_MAX 256
#define FETCH_RANGE ((int64_t)128 << 10) /* what a kill may lose; several are under way */
/* Answers of this way that were wrong before it is given up. */
#define FETCH_WRONG_MAX 3
/* What an index comes to, before it was fetched: 19 bytes for a chunk of some 5 KiB. */
#define FETCH_INDEX_SHARE 256
#define FETCH_PROGRESS_STEP ((int64_t)64 << 10)
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

        struct loop_timer *timer;
        struct backoff backoff;
        struct prng random;
        struct download *download;
        struct fetch_job *job;
        size_t first_source;

        bool listed, index_asked, has_index;
        struct buf body; /* list of deltas */
        int file;        /* what is being fetched goes there */
        struct delta_offer *deltas;
        size_t n_deltas;
        const struct delta_offer *delta; /* chosen */
        struct chunk_work *chunks;
        struct range_window *ranges; /* of the pack, under way */
        char *feed;                  /* the range that came, for the worker */
        size_t n_feed;

        struct fetch_plan plan;
        unsigned failed_ways, wrong, turns;
        unsigned wasted_rounds;   /* in which every way was tried, and what came was of no use */
        int64_t fetched_at_round; /* `fetched` when this one began */
        bool disk_was_full;
        enum artifact_fetch_state state;
        enum fetch_way way;
        int64_t predicted, fetched, told;
};

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

static void set_state(struct artifact_fetch *f, enum artifact_fetch_state s) {
        if (f->state == s)
                return;
        f->state = s;
        f->listener.changed(f->listener.arg);
}

static void count_bytes(struct artifact_fetch *f, int64_t n) {
        f->fetched += n;
        if (f->fetched - f->told >= MAX(FETCH_PROGRESS_STEP, f->predicted / 16)) {
                f->told = f->fetched;
                f->listener.changed(f->listener.arg);
        }
}

/* ---- going on, waiting, giving up a way */

static void soon(struct artifact_fetch *f) {
        loop_timer_set(f->timer, 0);
}

/* What is under way was asked for behind a range that did not come as it should: it is asked for anew. */
static void drop_ranges(struct artifact_fetch *f) {
        if (f->ranges)
                f->fetched += range_window_drop(f->ranges);
}

static void drop_chunks(struct artifact_fetch *f) {
        drop_ranges(f);
        f->chunks = chunk_work_free(f->chunks);
}

static void unlink_partial(struct artifact_fetch *f, const char *suffix) {
        _cleanup_(x_freep) char *path =
                artifact_store_partial(f->host.artifacts, f->artifact->sha256, suffix);
        if (path)
                (void)unlink(path);
}

static void unlink_delta(struct artifact_fetch *f) {
        struct delta_suffixes names;
        if (!f->delta)
                return;
        delta_suffixes_of(f->delta->from, &names);
        unlink_partial(f, names.delta);
        unlink_partial(f, names.part);
        unlink_partial(f, names.journal);
}

static void wait_and_retry(struct artifact_fetch *f, msec_t at_least_ms, const char *message) {
        _cleanup_(x_freep) char *text =
                str_format("artifact %s:%s: %s", f->artifact->name, f->artifact->version, message);
        loop_timer_set(f->timer, backoff_next(&f->backoff, &f->random, at_least_ms));
        f->state = ARTIFACT_FETCH_WAITING;
        f->listener.delayed(f->listener.arg, text ? text : message);
}

static void give_up_way(struct artifact_fetch *f, enum fetch_way way) {
        f->failed_ways |= 1u << way;
        f->wrong = 0;
        switch (way) {
        case FETCH_DELTA: unlink_delta(f); break;
        case FETCH_CHUNKS:
                drop_chunks(f);
                f->has_index = false;
                unlink_partial(f, ".index");
                unlink_partial(f, ".chunks");
                unlink_partial(f, ".chunks-journal");
                break;
        case FETCH_WHOLE: unlink_partial(f, ".whole"); break;
        case FETCH_NOTHING:
        case FETCH_REFUSED: break;
        }
}

static void disk_full(struct artifact_fetch *f, const char *message) {
        /* What was open for chunks may be in any state; it is found again by its journal. */
        drop_chunks(f);
        if (f->host.make_room && f->host.make_room(f->host.arg) && f->turns++ < FETCH_WRONG_MAX) {
                soon(f);
                return;
        }
        f->disk_was_full = true;
        wait_and_retry(f, -1, message);
        /* Not the network's trouble: looking again costs nothing, since it begins with a look at the disk. */
        loop_timer_set(f->timer, FETCH_DISK_MS + (msec_t)prng_below(&f->random, FETCH_DISK_MS));
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
        return error != ENOSPC && error != EDQUOT && error != EROFS;
}

static bool is_full(int error) {
        return error == -ENOSPC || error == -EDQUOT || error == -EROFS;
}

/* A download ended badly, for the way that is being taken. */
static void download_failed(struct artifact_fetch *f, enum fetch_way way, const struct download_result *r) {
        const char *words = r->message ? r->message : strerror(-r->error);
        switch (r->error) {
        case -ENOENT:
        case -EOPNOTSUPP: give_up_way(f, way); break;
        case -ESTALE:
                if (way == FETCH_DELTA)
                        unlink_delta(f);
                else if (way == FETCH_WHOLE)
                        unlink_partial(f, ".whole");
                f->first_source++;
                if (++f->wrong >= FETCH_WRONG_MAX)
                        give_up_way(f, way);
                break;
        case -EBADMSG:
        case -EMSGSIZE:
        case -ELOOP:
                f->first_source++;
                if (++f->wrong >= FETCH_WRONG_MAX || f->host.once)
                        give_up_way(f, way);
                break;
        default:
                if (is_full(r->error)) {
                        disk_full(f, words);
                        return;
                }
                f->first_source++;
                break;
        }
        if (f->host.once && r->error != -ENOENT && r->error != -EBADMSG)
                give_up_way(f, way);
        if (f->host.once || (r->error == -ENOENT || r->error == -EOPNOTSUPP))
                soon(f);
        else
                wait_and_retry(f, r->retry_after_ms, words);
}

/* ---- worker jobs */

static void start_job(struct artifact_fetch *f, enum fetch_job_kind kind,
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
                wait_and_retry(f, -1, "out of memory");
                return;
        }
        f->job = j;
}

static void done(struct artifact_fetch *f) {
        drop_chunks(f);
        if (f->claimed)
                artifact_store_release(f->host.artifacts, f->artifact->sha256);
        f->claimed = false;
        f->predicted = MAX(f->predicted, 0);
        f->state = ARTIFACT_FETCH_READY;
        f->listener.done(f->listener.arg);
}

static enum fetch_way way_of_job(enum fetch_job_kind kind) {
        switch (kind) {
        case FETCH_JOB_OPEN_CHUNKS:
        case FETCH_JOB_FEED_CHUNKS:
        case FETCH_JOB_FINISH_CHUNKS: return FETCH_CHUNKS;
        case FETCH_JOB_DELTA: return FETCH_DELTA;
        case FETCH_JOB_WHOLE:
        case FETCH_JOB_PREPARE: return FETCH_WHOLE;
        }
        return FETCH_WHOLE;
}

static void job_failed(struct artifact_fetch *f, enum fetch_job_kind kind, int error, const struct err *err) {
        enum fetch_way way = way_of_job(kind);
        drop_ranges(f);
        if (is_full(error)) {
                disk_full(f, err_message(err));
                return;
        }
        if (error != -EBADMSG && error != -EINVAL && error != -EMSGSIZE && error != -E2BIG) {
                drop_chunks(f);
                if (kind == FETCH_JOB_OPEN_CHUNKS) /* perhaps the index is not there any more */
                        f->has_index = f->index_asked = false;
                if (f->host.once)
                        give_up_way(f, way);
                wait_and_retry(f, -1, err_message(err));
                return;
        }
        f->first_source++;
        f->wrong++;
        /* A range of the pack that was wrong is asked for again, from the next mirror. What was fetched whole
         * and is wrong: once more, since one bad source spoils it. A tree that does not unpack never will. */
        bool again = (kind == FETCH_JOB_FEED_CHUNKS || kind == FETCH_JOB_WHOLE ||
                      (kind == FETCH_JOB_DELTA && repository_sources_count(f->host.sources) > 1)) &&
                     f->wrong < FETCH_WRONG_MAX && !f->host.once && error == -EBADMSG;
        if (!again)
                give_up_way(f, way);
        else if (kind == FETCH_JOB_DELTA)
                unlink_delta(f);
        wait_and_retry(f, -1, err_message(err));
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
        f->chunks = TAKE_PTR(j->chunks);
        fetch_job_free(j);
        if (error < 0) {
                job_failed(f, kind, error, err);
        } else if (kind == FETCH_JOB_OPEN_CHUNKS || kind == FETCH_JOB_FEED_CHUNKS) {
                if (kind == FETCH_JOB_FEED_CHUNKS)
                        backoff_reset(&f->backoff);
                soon(f);
        } else {
                done(f);
        }
}

/* ---- small files: the list of deltas, the chunk index */

static int keep_body(void *arg, int64_t at, const char *p, size_t n) {
        struct artifact_fetch *f = arg;
        (void)at;
        return buf_append(&f->body, p, n);
}

static int keep_file(void *arg, int64_t at, const char *p, size_t n) {
        struct artifact_fetch *f = arg;
        while (n > 0) {
                ssize_t k = pwrite(f->file, p, n, at);
                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                p += k;
                at += k;
                n -= (size_t)k;
        }
        return 0;
}

static void start_download(struct artifact_fetch *f, struct download_request *q, enum fetch_way way) {
        _cleanup_(err_freep) struct err *err = NULL;
        q->first_source = f->first_source;
        q->limit = f->host.limit;
        q->arg = f;
        int r = q->path ? download_start(f->host.sources, q, &f->download, &err) : -ENOMEM;
        if (r < 0)
                wait_and_retry(f, -1, err ? err_message(err) : "out of memory");
}

static void end_download(struct artifact_fetch *f, const struct download_result *r) {
        f->download = NULL;
        x_closep(&f->file);
        f->file = -1;
        count_bytes(f, r->wire);
}

/* Bytes that were of use are reason to hope; a portal's pages are not. */
static void note_progress(struct artifact_fetch *f, const struct download_result *r) {
        if (r->error == 0 ||
            (r->wire > 0 && r->error != -EBADMSG && r->error != -EMSGSIZE && r->error != -ELOOP))
                backoff_reset(&f->backoff);
}

static void read_list(struct artifact_fetch *f) {
        _cleanup_json_ json_t *list = NULL;
        const json_t *item;
        const char *target = NULL;
        size_t i;
        if (json_decode(buf_str(&f->body), f->body.len, &list, NULL) < 0 ||
            json_read_string(list, "target", &target, NULL) < 0 || !str_eq(target, f->artifact->sha256))
                return; /* of no use; it only would have saved bytes */
        free(f->deltas);
        f->n_deltas = 0;
        f->deltas = calloc(FETCH_DELTAS_MAX, sizeof(*f->deltas));
        json_array_foreach (json_object_get(list, "deltas"), i, item) {
                struct delta_offer d = {0};
                const char *from, *sha256;
                if (!f->deltas || f->n_deltas == FETCH_DELTAS_MAX)
                        return;
                if (json_read_string(item, "from", &from, NULL) < 0 ||
                    json_read_string(item, "sha256", &sha256, NULL) < 0 ||
                    json_read_int(item, "length", &d.length, NULL) < 0 || d.length <= 0 ||
                    d.length > f->artifact->length * 2 + 65536 || !sha256_hex_is_valid(from) ||
                    !sha256_hex_is_valid(sha256))
                        continue;
                memcpy(d.from, from, sizeof(d.from));
                memcpy(d.sha256, sha256, sizeof(d.sha256));
                f->deltas[f->n_deltas++] = d;
        }
}

static void list_done(void *arg, const struct download_result *r) {
        struct artifact_fetch *f = arg;
        end_download(f, r);
        if (r->error < 0)
                f->first_source++;
        if (r->error < 0 && r->error != -ENOENT && !f->host.once && ++f->wrong < FETCH_WRONG_MAX) {
                wait_and_retry(f, r->retry_after_ms, r->message);
                return;
        }
        if (r->error == 0)
                read_list(f);
        /* Network trouble is worth waiting for; without an answer the way stays open for the next round. */
        if (r->error < 0 && r->error != -ENOENT && r->error != -EBADMSG && r->error != -EMSGSIZE &&
            !f->host.once) {
                f->wrong = 0;
                wait_and_retry(f, r->retry_after_ms, r->message);
                return;
        }
        f->listed = true;
        f->wrong = 0;
        soon(f);
}

static void fetch_list(struct artifact_fetch *f) {
        _cleanup_(x_freep) char *path = repository_delta_list(f->artifact->sha256);
        struct download_request q = {.path = path,
                                     .length = -1,
                                     .total = -1,
                                     .max_bytes = (int64_t)FETCH_LIST_MAX,
                                     .optional = true,
                                     .on_data = keep_body,
                                     .done = list_done};
        buf_done(&f->body);
        f->body = (struct buf){.limit = FETCH_LIST_MAX + 1};
        start_download(f, &q, FETCH_DELTA);
}

static void index_done(void *arg, const struct download_result *r) {
        struct artifact_fetch *f = arg;
        _cleanup_(x_freep) char *part = artifact_store_partial(f->host.artifacts, f->artifact->sha256,
                                                               ".index-part"),
                                *path = artifact_store_partial(f->host.artifacts, f->artifact->sha256,
                                                               ".index");
        end_download(f, r);
        if (r->error < 0) {
                f->index_asked = r->error == -ENOENT;
                download_failed(f, FETCH_CHUNKS, r);
                return;
        }
        f->index_asked = true;
        f->has_index = part && path && rename(part, path) == 0;
        soon(f);
}

static bool open_file(struct artifact_fetch *f, const char *suffix, bool anew, int64_t *ret_length) {
        _cleanup_(x_freep) char *path =
                artifact_store_partial(f->host.artifacts, f->artifact->sha256, suffix);
        struct stat st;
        if (!path) {
                wait_and_retry(f, -1, "out of memory");
                return false;
        }
        f->file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | (anew ? O_TRUNC : 0), 0600);
        if (f->file < 0 || fstat(f->file, &st) < 0) {
                int error = errno;
                char text[FETCH_MESSAGE_MAX];
                (void)snprintf(text, sizeof(text), "%s: %s", path, strerror(error));
                if (is_full(-error))
                        disk_full(f, text);
                else
                        wait_and_retry(f, -1, text);
                return false;
        }
        *ret_length = st.st_size;
        return true;
}

static void fetch_index(struct artifact_fetch *f) {
        _cleanup_(x_freep) char *path = repository_chunk_index(f->artifact->sha256);
        int64_t length;
        struct download_request q = {.path = path,
                                     .length = -1,
                                     .total = -1,
                                     .max_bytes = CHUNK_INDEX_MAX,
                                     .optional = true,
                                     .on_data = keep_file,
                                     .done = index_done};
        if (open_file(f, ".index-part", true, &length))
                start_download(f, &q, FETCH_CHUNKS);
}

/* ---- planning */

static int64_t partial_length(const struct artifact_fetch *f, const char *suffix) {
        _cleanup_(x_freep) char *path =
                artifact_store_partial(f->host.artifacts, f->artifact->sha256, suffix);
        struct stat st;
        return path && lstat(path, &st) == 0 && S_ISREG(st.st_mode) ? st.st_size : 0;
}

static int make_plan(struct artifact_fetch *f, char **seeds) {
        struct fetch_delta *deltas = calloc(f->n_deltas + 1, sizeof(*deltas));
        if (!deltas)
                return -ENOMEM;
        int64_t whole_there = partial_length(f, ".whole");
        for (size_t i = 0; i < f->n_deltas; i++) {
                struct delta_suffixes names;
                delta_suffixes_of(f->deltas[i].from, &names);
                memcpy(deltas[i].from, f->deltas[i].from, sizeof(deltas[i].from));
                /* What is there of it need not come again. */
                deltas[i].length = MAX(f->deltas[i].length - partial_length(f, names.delta), 1);
        }
        struct fetch_offer offer = {.length = f->artifact->length,
                                    .whole_wire = MAX(f->artifact->length - whole_there, 1),
                                    .deltas = deltas,
                                    .n_deltas = f->n_deltas,
                                    .has_chunks = f->chunks || !f->index_asked};
        if (f->chunks) {
                offer.chunk_pack_length = f->chunks->index->pack_length;
        } else {
                offer.chunk_index_length = f->artifact->length / FETCH_INDEX_SHARE + 1;
                offer.chunk_pack_length = f->artifact->length;
        }
        struct fetch_situation situation = {
                .seeds = (const char *const *)seeds,
                .n_seeds = strv_len(seeds),
                .chunks_missing = f->chunks ? chunk_fetch_missing(f->chunks->fetch) : -1,
                .never_full = f->host.never_full,
                .budget_left = f->host.budget_left ? f->host.budget_left(f->host.budget_arg) : -1,
                .failed_ways = f->failed_ways};
        fetch_plan_make(&offer, &situation, &f->plan);
        free(deltas);
        return 0;
}

static const struct delta_offer *find_delta(const struct artifact_fetch *f, const char *from) {
        for (size_t i = 0; i < f->n_deltas; i++)
                if (str_eq(f->deltas[i].from, from))
                        return &f->deltas[i];
        return NULL;
}

/* ---- carrying out */

static void fill_delta(struct artifact_fetch *f, struct fetch_job *j) {
        memcpy(j->delta_sha256, f->delta->sha256, sizeof(j->delta_sha256));
        memcpy(j->from, f->delta->from, sizeof(j->from));
}

static void fill_chunks(struct artifact_fetch *f, struct fetch_job *j) {
        j->chunks = TAKE_PTR(f->chunks);
}

static void fill_feed(struct artifact_fetch *f, struct fetch_job *j) {
        j->chunks = TAKE_PTR(f->chunks);
        j->bytes = TAKE_PTR(f->feed);
        j->n_bytes = f->n_feed;
}

static void fill_seeds(struct artifact_fetch *f, struct fetch_job *j) {
        (void)artifact_store_seeds(f->host.artifacts, f->artifact->name, &j->seeds, NULL);
}

static void delta_done(void *arg, const struct download_result *r) {
        struct artifact_fetch *f = arg;
        end_download(f, r);
        note_progress(f, r);
        if (r->error < 0) {
                download_failed(f, FETCH_DELTA, r);
                return;
        }
        set_state(f, ARTIFACT_FETCH_APPLYING);
        start_job(f, FETCH_JOB_DELTA, fill_delta);
}

static void fetch_delta(struct artifact_fetch *f) {
        int64_t there;
        const struct delta_offer *d = find_delta(f, f->plan.from);
        if (!d) {
                give_up_way(f, FETCH_DELTA);
                soon(f);
                return;
        }
        struct delta_suffixes names;
        delta_suffixes_of(d->from, &names);
        f->delta = d;
        _cleanup_(x_freep) char *path = repository_delta(f->artifact->sha256, d->from);
        if (!open_file(f, names.delta, false, &there))
                return;
        if (there > d->length && ftruncate(f->file, 0) == 0)
                there = 0;
        struct download_request q = {.path = path,
                                     .offset = there,
                                     .length = -1,
                                     .total = d->length,
                                     .on_data = keep_file,
                                     .done = delta_done};
        start_download(f, &q, FETCH_DELTA);
}

static void whole_done(void *arg, const struct download_result *r) {
        struct artifact_fetch *f = arg;
        end_download(f, r);
        note_progress(f, r);
        if (r->error < 0) {
                download_failed(f, FETCH_WHOLE, r);
                return;
        }
        set_state(f, ARTIFACT_FETCH_APPLYING);
        start_job(f, FETCH_JOB_WHOLE, NULL);
}

static void fetch_whole(struct artifact_fetch *f) {
        int64_t there;
        _cleanup_(x_freep) char *path = repository_target_file(f->target, f->artifact->sha256);
        if (!open_file(f, ".whole", false, &there))
                return;
        if (there > f->artifact->length && ftruncate(f->file, 0) == 0)
                there = 0;
        struct download_request q = {.path = path,
                                     .offset = there,
                                     .length = -1,
                                     .total = f->artifact->length,
                                     .on_data = keep_file,
                                     .done = whole_done};
        start_download(f, &q, FETCH_WHOLE);
}

/* The first range under way, when it has ended and the worker is free for it. */
static void take_range(void *arg) {
        struct artifact_fetch *f = arg;
        struct range_result r;
        if (f->job || !f->chunks || !range_window_take(f->ranges, &r))
                return;
        count_bytes(f, r.wire);
        if (r.error < 0)
                drop_ranges(f);
        if (r.n > 0) { /* also what came before it broke off */
                if (r.error < 0 && r.error != -EOPNOTSUPP)
                        f->turns++;
                free(f->feed);
                f->feed = r.bytes;
                f->n_feed = r.n;
                start_job(f, FETCH_JOB_FEED_CHUNKS, fill_feed);
        } else if (r.error < 0) {
                const struct download_result result = {
                        .error = r.error, .message = r.message, .retry_after_ms = r.retry_after_ms};
                drop_chunks(f);
                download_failed(f, FETCH_CHUNKS, &result);
        } else {
                soon(f);
        }
}

/* As many ranges as the window holds, so that no round trip is waited for. */
static int ask_ranges(struct artifact_fetch *f, struct err **err) {
        _cleanup_(x_freep) char *path = repository_chunk_pack(f->artifact->sha256);
        int64_t offset, length;
        if (!f->chunks)
                return err_set(err, ENOENT, "the chunk index is not open");
        int r = path ? 0 : -ENOMEM;
        if (r == 0 && !f->ranges)
                r = range_window_new(f->host.sources, f->host.limit, take_range, f, &f->ranges);
        while (r == 0 && range_window_has_room(f->ranges)) {
                bool more = range_window_is_empty(f->ranges)
                                    ? chunk_fetch_next(f->chunks->fetch, FETCH_RANGE, &offset, &length)
                                    : chunk_fetch_ahead(f->chunks->fetch, FETCH_RANGE, &offset, &length);
                if (!more)
                        break;
                r = range_window_ask(f->ranges, path, offset, length, f->chunks->index->pack_length,
                                     f->first_source, err);
        }
        return r;
}

static void fetch_chunks(struct artifact_fetch *f) {
        _cleanup_(err_freep) struct err *err = NULL;
        if (ask_ranges(f, &err) < 0) {
                drop_ranges(f);
                wait_and_retry(f, -1, err ? err_message(err) : "out of memory");
        } else if (range_window_is_empty(f->ranges)) {
                set_state(f, ARTIFACT_FETCH_APPLYING);
                start_job(f, FETCH_JOB_FINISH_CHUNKS, fill_chunks);
        } else {
                take_range(f);
        }
}

static void refused(struct artifact_fetch *f) {
        char reason[sizeof(f->plan.reason)];
        (void)snprintf(reason, sizeof(reason), "%s", f->plan.reason);
        if (f->host.once) {
                f->listener.failed(f->listener.arg, -ENOENT, reason);
                return;
        }
        msec_t wait = FETCH_BUDGET_MS;
        /* A new round, from the list on: the repository may have more by then. */
        if (f->failed_ways) {
                f->failed_ways = 0;
                f->listed = f->index_asked = false;
                if (f->fetched - f->fetched_at_round >= FETCH_ROUND_BYTES) {
                        wait = MIN(wait << MIN(f->wasted_rounds, 10u), FETCH_ROUND_CAP_MS);
                        f->wasted_rounds++;
                }
                f->fetched_at_round = f->fetched;
        }
        wait_and_retry(f, wait + (msec_t)prng_below(&f->random, (uint64_t)wait / 2), reason);
}

static void carry_out(struct artifact_fetch *f) {
        if (f->way != f->plan.way || f->predicted < 0) {
                f->way = f->plan.way;
                f->predicted = f->fetched + f->plan.bytes;
                f->listener.changed(f->listener.arg);
        }
        if (f->plan.way != FETCH_CHUNKS && f->plan.way != FETCH_REFUSED)
                drop_chunks(f);
        switch (f->plan.way) {
        case FETCH_DELTA:
                set_state(f, ARTIFACT_FETCH_FETCHING);
                fetch_delta(f);
                return;
        case FETCH_CHUNKS:
                set_state(f, ARTIFACT_FETCH_FETCHING);
                fetch_chunks(f);
                return;
        case FETCH_WHOLE:
        case FETCH_NOTHING:
                set_state(f, ARTIFACT_FETCH_FETCHING);
                fetch_whole(f);
                return;
        case FETCH_REFUSED: refused(f); return;
        }
}

static void plan_and_go(struct artifact_fetch *f) {
        _cleanup_(strv_freep) char **seeds = NULL;
        if (artifact_store_seeds(f->host.artifacts, f->artifact->name, &seeds, NULL) < 0 ||
            make_plan(f, seeds) < 0) {
                wait_and_retry(f, -1, "out of memory");
                return;
        }
        bool chunks_failed = f->failed_ways & 1u << FETCH_CHUNKS;
        if (!f->chunks && !chunks_failed && (f->plan.wants_chunk_index || f->plan.way != FETCH_DELTA)) {
                if (!f->has_index && !f->index_asked) {
                        fetch_index(f);
                        return;
                }
                if (f->has_index) {
                        start_job(f, FETCH_JOB_OPEN_CHUNKS, fill_seeds);
                        return;
                }
        }
        carry_out(f);
}

static void step(void *arg) {
        struct artifact_fetch *f = arg;
        /* A range that ended before the timer came has begun the next piece of work already; its end sets the
         * timer again. */
        if (f->job || f->download)
                return;
        if (!f->claimed) {
                if (artifact_store_claim(f->host.artifacts, f->artifact->sha256) < 0) {
                        loop_timer_set(f->timer, FETCH_BUSY_MS);
                        return;
                }
                f->claimed = true;
        }
        if (f->disk_was_full && !has_room(f)) {
                disk_full(f, "the disk is full");
                return;
        }
        f->disk_was_full = false;
        if (f->state == ARTIFACT_FETCH_WAITING)
                f->state = ARTIFACT_FETCH_PLANNING;
        if (artifact_store_has(f->host.artifacts, f->artifact->sha256, f->artifact->length)) {
                f->way = f->fetched ? f->way : FETCH_NOTHING;
                set_state(f, ARTIFACT_FETCH_APPLYING);
                start_job(f, FETCH_JOB_PREPARE, NULL);
        } else if (f->chunks && f->way == FETCH_CHUNKS) {
                fetch_chunks(f);
        } else if (!f->listed) {
                fetch_list(f);
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
        f->has_index = partial_length(f, ".index") > 0;
        f->index_asked = f->has_index;
        soon(f);
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
        drop_chunks(f);
        range_window_free(f->ranges);
        free(f->feed);
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
        if (f->download || f->job || (f->ranges && !range_window_is_empty(f->ranges)) || f->wasted_rounds > 0)
                return;
        backoff_reset(&f->backoff);
        soon(f);
}

void artifact_fetch_progress(const struct artifact_fetch *f, struct artifact_fetch_progress *ret) {
        *ret = (struct artifact_fetch_progress){.state = f->state,
                                                .way = f->way,
                                                .predicted = f->predicted,
                                                .fetched = f->fetched,
                                                .total = f->artifact->length};
}
