/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/artifact_fetch_internal.h"
#include "base/str.h"

#define FETCH_LIST_MAX ((size_t)256 << 10)
#define FETCH_RANGE ((int64_t)128 << 10) /* what a kill may lose; several are under way */

/* ---- partial files */

void ways_unlink(struct artifact_fetch *f, const char *suffix) {
        _cleanup_(x_freep) char *path =
                artifact_store_partial(f->host.artifacts, f->artifact->sha256, suffix);
        if (path)
                (void)unlink(path);
}

void ways_unlink_delta(struct artifact_fetch *f) {
        struct delta_suffixes names;
        if (!*f->delta.from)
                return;
        delta_suffixes_of(f->delta.from, &names);
        ways_unlink(f, names.delta);
        ways_unlink(f, names.part);
        ways_unlink(f, names.journal);
}

int64_t ways_partial_length(const struct artifact_fetch *f, const char *suffix) {
        _cleanup_(x_freep) char *path =
                artifact_store_partial(f->host.artifacts, f->artifact->sha256, suffix);
        struct stat st;
        return path && lstat(path, &st) == 0 && S_ISREG(st.st_mode) ? st.st_size : 0;
}

static void close_file(struct artifact_fetch *f) {
        x_closep(&f->file);
        f->file = -1;
}

static bool open_file(struct artifact_fetch *f, const char *suffix, bool anew, int64_t *ret_length) {
        _cleanup_(x_freep) char *path =
                artifact_store_partial(f->host.artifacts, f->artifact->sha256, suffix);
        struct stat st;
        if (!path) {
                fetch_wait(f, -1, "out of memory");
                return false;
        }
        f->file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | (anew ? O_TRUNC : 0), 0600);
        if (f->file < 0 || fstat(f->file, &st) < 0) {
                int error = errno;
                close_file(f);
                char text[FETCH_MESSAGE_MAX];
                (void)snprintf(text, sizeof(text), "%s: %s", path, strerror(error));
                if (fetch_error_is_full(-error))
                        fetch_disk_full(f, text);
                else
                        fetch_wait(f, -1, text);
                return false;
        }
        *ret_length = st.st_size;
        return true;
}

/* ---- downloads into files and into memory */

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

/* The link's limits let nothing through now. */
static void waits(void *arg, const char *message) {
        fetch_say(arg, message);
}

static void start_download(struct artifact_fetch *f, struct download_request *q) {
        _cleanup_(err_freep) struct err *err = NULL;
        q->first_source = f->first_source;
        q->limit = f->host.limit;
        q->fresh = f->in_doubt;
        q->waits = waits;
        q->arg = f;
        int r = q->path ? download_start(f->host.sources, q, &f->download, &err) : -ENOMEM;
        if (r < 0) {
                close_file(f);
                fetch_wait(f, -1, err ? err_message(err) : "out of memory");
                return;
        }
        fetch_begins(f);
}

static void end_download(struct artifact_fetch *f, const struct download_result *r) {
        f->download = NULL;
        close_file(f);
        fetch_count_bytes(f, r->wire);
}

/* Bytes that were of use are reason to hope; a portal's pages are not. */
static void note_progress(struct artifact_fetch *f, const struct download_result *r) {
        if (r->error == 0 ||
            (r->wire > 0 && r->error != -EBADMSG && r->error != -EMSGSIZE && r->error != -ELOOP)) {
                backoff_reset(&f->backoff);
                f->room_made = 0;
        }
}

/* ---- small files: the list of deltas, the chunk index */

static void list_done(void *arg, const struct download_result *r) {
        struct artifact_fetch *f = arg;
        end_download(f, r);
        if (r->error < 0)
                f->first_source++;
        if (r->error < 0 && r->error != -ENOENT && !f->host.once && ++f->wrong < FETCH_WRONG_MAX) {
                fetch_wait(f, r->retry_after_ms, r->message);
                return;
        }
        if (r->error == 0)
                ladder_read_list(f);
        /* Network trouble is worth waiting for; without an answer the way stays open for the next round. */
        if (r->error < 0 && r->error != -ENOENT && r->error != -EBADMSG && r->error != -EMSGSIZE &&
            r->error != -ELOOP && !f->host.once) {
                f->wrong = 0;
                fetch_wait(f, r->retry_after_ms, r->message);
                return;
        }
        f->listed = true;
        f->wrong = 0;
        fetch_soon(f);
}

void ways_fetch_list(struct artifact_fetch *f) {
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
        start_download(f, &q);
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
                ladder_download_failed(f, FETCH_CHUNKS, r);
                return;
        }
        f->index_asked = true;
        f->has_index = part && path && rename(part, path) == 0;
        fetch_soon(f);
}

void ways_fetch_index(struct artifact_fetch *f) {
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
                start_download(f, &q);
}

/* ---- delta, whole */

static void fill_delta(struct artifact_fetch *f, struct fetch_job *j) {
        memcpy(j->delta_sha256, f->delta.sha256, sizeof(j->delta_sha256));
        memcpy(j->from, f->delta.from, sizeof(j->from));
}

static void delta_done(void *arg, const struct download_result *r) {
        struct artifact_fetch *f = arg;
        end_download(f, r);
        note_progress(f, r);
        if (r->error < 0) {
                ladder_download_failed(f, FETCH_DELTA, r);
                return;
        }
        fetch_set_state(f, ARTIFACT_FETCH_APPLYING);
        fetch_start_job(f, FETCH_JOB_DELTA, fill_delta);
}

static void fetch_delta(struct artifact_fetch *f) {
        int64_t there;
        const struct delta_offer *d = ladder_delta(f, f->plan.from);
        if (!d) {
                ladder_give_up(f, FETCH_DELTA);
                fetch_soon(f);
                return;
        }
        struct delta_suffixes names;
        delta_suffixes_of(d->from, &names);
        f->delta = *d;
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
        start_download(f, &q);
}

static void whole_done(void *arg, const struct download_result *r) {
        struct artifact_fetch *f = arg;
        end_download(f, r);
        note_progress(f, r);
        if (r->error < 0) {
                ladder_download_failed(f, FETCH_WHOLE, r);
                return;
        }
        fetch_set_state(f, ARTIFACT_FETCH_APPLYING);
        fetch_start_job(f, FETCH_JOB_WHOLE, NULL);
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
        start_download(f, &q);
}

/* ---- chunks */

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

void ways_open_chunks(struct artifact_fetch *f) {
        fetch_start_job(f, FETCH_JOB_OPEN_CHUNKS, fill_seeds);
}

void ways_drop_ranges(struct artifact_fetch *f) {
        if (f->ranges)
                f->fetched += range_window_drop(f->ranges);
}

void ways_drop_chunks(struct artifact_fetch *f) {
        ways_drop_ranges(f);
        f->chunks = chunk_work_free(f->chunks);
}

/* The first range under way, when it has ended and the worker is free for it. */
static void take_range(void *arg) {
        struct artifact_fetch *f = arg;
        struct range_result r;
        if (f->job || !f->chunks || !range_window_take(f->ranges, &r))
                return;
        fetch_count_bytes(f, r.wire);
        if (r.error < 0)
                ways_drop_ranges(f);
        if (r.n > 0 && r.error != -EOPNOTSUPP) { /* also what came before it broke off */
                free(f->feed);
                f->feed = r.bytes;
                f->n_feed = r.n;
                f->feed_is_cut = r.error < 0;
                f->feed_error = r.error;
                free(f->feed_message);
                f->feed_message = r.error < 0 && r.message ? str_dup(r.message) : NULL;
                f->feed_before = chunk_fetch_missing(f->chunks->fetch);
                if (r.error < 0)
                        f->first_source++;
                fetch_start_job(f, FETCH_JOB_FEED_CHUNKS, fill_feed);
        } else if (r.error < 0) {
                const struct download_result result = {
                        .error = r.error, .message = r.message, .retry_after_ms = r.retry_after_ms};
                free(r.bytes);
                ladder_download_failed(f, FETCH_CHUNKS, &result);
        } else {
                fetch_soon(f);
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
                r = range_window_new(f->host.sources, f->host.limit, take_range, waits, f, &f->ranges);
        while (r == 0 && range_window_has_room(f->ranges)) {
                bool more = range_window_is_empty(f->ranges)
                                    ? chunk_fetch_next(f->chunks->fetch, FETCH_RANGE, &offset, &length)
                                    : chunk_fetch_ahead(f->chunks->fetch, FETCH_RANGE, &offset, &length);
                if (!more)
                        break;
                r = range_window_ask(f->ranges, path, offset, length, f->chunks->index->pack_length,
                                     f->first_source, f->in_doubt, err);
        }
        return r;
}

void ways_fetch_chunks(struct artifact_fetch *f) {
        _cleanup_(err_freep) struct err *err = NULL;
        if (ask_ranges(f, &err) < 0) {
                ways_drop_ranges(f);
                fetch_wait(f, -1, err ? err_message(err) : "out of memory");
        } else if (range_window_is_empty(f->ranges)) {
                fetch_set_state(f, ARTIFACT_FETCH_APPLYING);
                fetch_start_job(f, FETCH_JOB_FINISH_CHUNKS, fill_chunks);
        } else {
                take_range(f);
        }
}

void ways_carry_out(struct artifact_fetch *f) {
        if (f->plan.way != FETCH_CHUNKS)
                ways_drop_chunks(f);
        fetch_set_state(f, ARTIFACT_FETCH_FETCHING);
        if (f->plan.way == FETCH_CHUNKS)
                ways_fetch_chunks(f);
        else if (f->plan.way == FETCH_DELTA)
                fetch_delta(f);
        else
                fetch_whole(f);
}
