/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/apply_target.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "repo/delta/format.h"

#define BUFFER_SIZE ((size_t)128 << 10)
#define BUFFERS 8
#define JOBS 256
#define SMALL_RUN 16384
#define JOURNAL_MAGIC "SKDJOURN"
#define JOURNAL_HEAD 48 /* magic, identity, zero */

struct job {
        enum { JOB_BYTES, JOB_ZEROS, JOB_COPY, JOB_PACKED, JOB_END } type;
        unsigned buffer;
        int64_t seed, length; /* seed: where to copy from; within the file that is packed */
        struct delta_packing *packing;
};

/* Tells torn from whole, not more: the signed digest decides. Whatever the cuts of the bytes. Four words are
 * taken side by side, so that their products do not wait for each other. */
#define CHECK_LANES 4
struct check {
        uint64_t lanes[CHECK_LANES];
        uint8_t rest[CHECK_LANES * 8];
        size_t n_rest;
};

struct delta_target {
        struct delta_target_options o;
        int journal_fd;
        bool is_device;
        int64_t resumed_at, position; /* of what was handed in */
        int64_t written;              /* by the thread */
        struct sha256 *digest;
        struct check check; /* of the window so far; windows are whole words */
        int64_t window_left;

        pthread_t thread;
        bool running;
        pthread_mutex_t lock;
        pthread_cond_t more, less;
        struct job jobs[JOBS];
        unsigned first_job, n_jobs;
        uint8_t *buffers[BUFFERS];
        unsigned first_buffer, n_buffers; /* those in use by jobs */
        size_t filled;                    /* of the next */
        int failed;
        const char *failed_at;
        bool damaged; /* why it failed: a packed file is shorter than it says */
        uint8_t *copy_buffer;
};

/* ---- Journal */

struct journal_record {
        uint64_t check, self; /* self: of the record, so that a torn one is seen */
};

static inline void check_block(uint64_t lanes[CHECK_LANES], const uint8_t *p) {
        for (unsigned i = 0; i < CHECK_LANES; i++) {
                uint64_t v;
                memcpy(&v, p + i * 8, 8);
                lanes[i] = (lanes[i] ^ v) * 0x9e3779b97f4a7c15u;
                lanes[i] ^= lanes[i] >> 29;
        }
}

static void check_bytes(struct check *c, const uint8_t *p, size_t n) {
        const size_t block = sizeof(c->rest);
        if (c->n_rest > 0) {
                size_t k = MIN(n, block - c->n_rest);
                memcpy(c->rest + c->n_rest, p, k);
                c->n_rest += k;
                p += k;
                n -= k;
                if (c->n_rest < block)
                        return;
                check_block(c->lanes, c->rest);
                c->n_rest = 0;
        }
        uint64_t lanes[CHECK_LANES];
        memcpy(lanes, c->lanes, sizeof(lanes));
        for (; n >= block; p += block, n -= block)
                check_block(lanes, p);
        memcpy(c->lanes, lanes, sizeof(lanes));
        memcpy(c->rest, p, n);
        c->n_rest = n;
}

/* Of a window, which is whole blocks. */
static uint64_t check_result(const struct check *c) {
        uint64_t v = 0;
        for (unsigned i = 0; i < CHECK_LANES; i++)
                v = (v ^ c->lanes[i]) * 0xc2b2ae3d27d4eb4fu;
        return v ^ v >> 31;
}

static uint64_t record_self(uint64_t check, int64_t window) {
        return (check ^ (uint64_t)window * 0xc2b2ae3d27d4eb4fu) * 0x9e3779b97f4a7c15u + 1;
}

static int journal_begin(struct delta_target *t, int64_t windows) {
        uint8_t head[JOURNAL_HEAD] = JOURNAL_MAGIC;
        memcpy(head + 8, t->o.identity, SHA256_SIZE);
        if (ftruncate(t->journal_fd,
                      windows > 0 ? JOURNAL_HEAD + windows * (int64_t)sizeof(struct journal_record) : 0) < 0)
                return -errno;
        return windows > 0 ? 0 : delta_write_at(t->journal_fd, head, sizeof(head), 0);
}

/* How far the target holds what the journal says, and digests that. */
static int journal_resume(struct delta_target *t, int64_t *ret_windows, struct err **err) {
        uint8_t head[JOURNAL_HEAD];
        int64_t windows = 0;
        if (delta_read_at(t->journal_fd, head, sizeof(head), 0) < 0 || memcmp(head, JOURNAL_MAGIC, 8) != 0 ||
            memcmp(head + 8, t->o.identity, SHA256_SIZE) != 0) {
                *ret_windows = 0;
                return 0;
        }
        for (;; windows++) {
                struct journal_record record;
                int64_t from = windows * DELTA_JOURNAL_WINDOW, end = from + DELTA_JOURNAL_WINDOW;
                if (end > t->o.length ||
                    delta_read_at(t->journal_fd, &record, sizeof(record),
                                  JOURNAL_HEAD + windows * (int64_t)sizeof(record)) < 0 ||
                    record.self != record_self(record.check, windows))
                        break;
                struct check check = {0};
                bool whole = true;
                for (int64_t at = from; at < end && whole; at += (int64_t)BUFFER_SIZE) {
                        if (t->o.cancel && atomic_load_explicit(t->o.cancel, memory_order_relaxed))
                                return err_set(err, ECANCELED, "canceled");
                        whole = delta_read_at(t->o.fd, t->copy_buffer, BUFFER_SIZE, at) == 0;
                        if (whole)
                                check_bytes(&check, t->copy_buffer, BUFFER_SIZE);
                }
                if (!whole || check_result(&check) != record.check)
                        break;
                for (int64_t at = from; at < end; at += (int64_t)BUFFER_SIZE) {
                        int r = delta_read_at(t->o.fd, t->copy_buffer, BUFFER_SIZE, at);
                        if (r < 0)
                                return err_set_errno(err, -r, "read the target back");
                        sha256_update(t->digest, t->copy_buffer, BUFFER_SIZE);
                }
        }
        *ret_windows = windows;
        return 0;
}

static int journal_note(struct delta_target *t) {
        if (t->journal_fd < 0)
                return 0;
        int64_t window = t->written / DELTA_JOURNAL_WINDOW - 1;
        uint64_t check = check_result(&t->check);
        struct journal_record record = {check, record_self(check, window)};
        return delta_write_at(t->journal_fd, &record, sizeof(record),
                              JOURNAL_HEAD + window * (int64_t)sizeof(record));
}

/* ---- The thread */

static bool is_canceled(const struct delta_target *t) {
        return t->o.cancel && atomic_load_explicit(t->o.cancel, memory_order_relaxed);
}

/* Bytes that are in the target now. */
static int account(struct delta_target *t, const uint8_t *p, size_t n) {
        sha256_update(t->digest, p, n);
        while (n > 0) {
                size_t k = (size_t)MIN((int64_t)n, t->window_left);
                if (t->journal_fd >= 0)
                        check_bytes(&t->check, p, k);
                t->window_left -= (int64_t)k;
                t->written += (int64_t)k;
                p += k;
                n -= k;
                if (t->window_left == 0) {
                        int r = journal_note(t);
                        if (r < 0) {
                                t->failed_at = "write the journal";
                                return r;
                        }
                        t->check = (struct check){0};
                        t->window_left = DELTA_JOURNAL_WINDOW;
                        if (t->o.fd >= 0)
                                (void)sync_file_range(t->o.fd, t->written - DELTA_JOURNAL_WINDOW,
                                                      DELTA_JOURNAL_WINDOW, SYNC_FILE_RANGE_WRITE);
                }
        }
        return 0;
}

#define HOLE 4096

static bool is_zero(const uint8_t *p, size_t n) {
        return n > 0 && p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

/* Whole blocks of zeros are left out: the file was made as one hole. */
static int write_sparse(struct delta_target *t, const uint8_t *p, size_t n) {
        int64_t at = t->written;
        for (size_t done = 0, from = 0;;) {
                size_t k = MIN((size_t)(HOLE - (at + (int64_t)done) % HOLE), n - done);
                bool hole = done == n || (k == HOLE && is_zero(p + done, k));
                if (hole && done > from) {
                        int r = delta_write_at(t->o.fd, p + from, done - from, at + (int64_t)from);
                        if (r < 0)
                                return r;
                }
                if (done == n)
                        return 0;
                done += k;
                if (hole)
                        from = done;
        }
}

static int put(struct delta_target *t, const uint8_t *p, size_t n, bool zero) {
        int r = 0;
        if (t->o.fd >= 0 && t->is_device)
                r = delta_write_at(t->o.fd, p, n, t->written);
        else if (t->o.fd >= 0 && !zero)
                r = write_sparse(t, p, n);
        if (r < 0) {
                t->failed_at = "write the target";
                return r;
        }
        return account(t, p, n);
}

static int do_job(struct delta_target *t, const struct job *job) {
        if (is_canceled(t))
                return -ECANCELED;
        if (job->type == JOB_BYTES)
                return put(t, t->buffers[job->buffer], (size_t)job->length, false);
        if (job->type == JOB_PACKED) {
                const uint8_t *bytes;
                int r = delta_packing_wait(job->packing, &bytes);
                if (r == -EBADMSG)
                        t->damaged = true;
                return r < 0 ? r : put(t, bytes + job->seed, (size_t)job->length, false);
        }
        if (job->type == JOB_ZEROS)
                memset(t->copy_buffer, 0, BUFFER_SIZE);
        for (int64_t done = 0; done < job->length;) {
                size_t n = (size_t)MIN(job->length - done, (int64_t)BUFFER_SIZE);
                if (is_canceled(t))
                        return -ECANCELED;
                if (job->type == JOB_COPY) {
                        int r = delta_read_at(t->o.seed_fd, t->copy_buffer, n, job->seed + done);
                        if (r < 0) {
                                t->failed_at = "read the seed";
                                return r == -ENODATA ? -EBADMSG : r;
                        }
                }
                int r = put(t, t->copy_buffer, n, job->type == JOB_ZEROS);
                if (r < 0)
                        return r;
                done += (int64_t)n;
        }
        return 0;
}

static void *work(void *arg) {
        struct delta_target *t = arg;
        for (;;) {
                pthread_mutex_lock(&t->lock);
                while (t->n_jobs == 0)
                        pthread_cond_wait(&t->more, &t->lock);
                struct job job = t->jobs[t->first_job];
                int failed = t->failed;
                pthread_mutex_unlock(&t->lock);
                if (job.type == JOB_END)
                        return NULL;
                int r = failed ? 0 : do_job(t, &job);
                delta_packing_unref(job.packing);
                pthread_mutex_lock(&t->lock);
                if (r < 0)
                        t->failed = r;
                t->first_job = (t->first_job + 1) % JOBS;
                t->n_jobs--;
                if (job.type == JOB_BYTES)
                        t->n_buffers--;
                pthread_cond_signal(&t->less);
                pthread_mutex_unlock(&t->lock);
        }
}

static int push(struct delta_target *t, struct job job) {
        pthread_mutex_lock(&t->lock);
        while (t->n_jobs == JOBS)
                pthread_cond_wait(&t->less, &t->lock);
        t->jobs[(t->first_job + t->n_jobs++) % JOBS] = job;
        int r = t->failed;
        pthread_cond_signal(&t->more);
        pthread_mutex_unlock(&t->lock);
        return r;
}

/* Hands over the buffer that is being filled. */
static int push_bytes(struct delta_target *t) {
        if (t->filled == 0)
                return 0;
        pthread_mutex_lock(&t->lock);
        unsigned buffer = (t->first_buffer) % BUFFERS;
        t->first_buffer = (t->first_buffer + 1) % BUFFERS;
        t->n_buffers++;
        pthread_mutex_unlock(&t->lock);
        int r = push(t, (struct job){JOB_BYTES, buffer, 0, (int64_t)t->filled, NULL});
        t->filled = 0;
        pthread_mutex_lock(&t->lock);
        while (t->n_buffers == BUFFERS) /* the next one must be free */
                pthread_cond_wait(&t->less, &t->lock);
        pthread_mutex_unlock(&t->lock);
        return r;
}

/* ---- The caller's side */

struct delta_target *delta_target_free(struct delta_target *t) {
        if (!t)
                return NULL;
        if (t->running) {
                pthread_mutex_lock(&t->lock);
                if (!t->failed)
                        t->failed = -ECANCELED;
                pthread_mutex_unlock(&t->lock);
                (void)push(t, (struct job){.type = JOB_END});
                pthread_join(t->thread, NULL);
        }
        for (unsigned i = 0; i < BUFFERS; i++)
                free(t->buffers[i]);
        free(t->copy_buffer);
        sha256_free(t->digest);
        x_closep(&t->journal_fd);
        pthread_cond_destroy(&t->more);
        pthread_cond_destroy(&t->less);
        pthread_mutex_destroy(&t->lock);
        free(t);
        return NULL;
}

static int prepare_file(struct delta_target *t, struct err **err) {
        struct stat st;
        int64_t windows = 0;
        if (t->o.fd < 0)
                return 0;
        if (fstat(t->o.fd, &st) < 0)
                return err_set_errno(err, errno, "look at the target");
        t->is_device = !S_ISREG(st.st_mode);
        if (t->o.journal) {
                t->journal_fd = open(t->o.journal, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
                if (t->journal_fd < 0)
                        return err_set_errno(err, errno, "open the journal %s", t->o.journal);
                int r = journal_resume(t, &windows, err);
                if (r < 0)
                        return r;
                r = journal_begin(t, windows);
                if (r < 0)
                        return err_set_errno(err, -r, "begin the journal %s", t->o.journal);
        }
        t->written = t->resumed_at = windows * DELTA_JOURNAL_WINDOW;
        if (!t->is_device && (ftruncate(t->o.fd, t->resumed_at) < 0 || ftruncate(t->o.fd, t->o.length) < 0))
                return err_set_errno(err, errno, "make room for the target");
        return 0;
}

int delta_target_open(const struct delta_target_options *o, struct delta_target **ret, struct err **err) {
        _cleanup_(delta_target_freep) struct delta_target *t = calloc(1, sizeof(*t));
        if (!t)
                return err_set_errno(err, ENOMEM, "apply a delta");
        pthread_mutex_init(&t->lock, NULL);
        pthread_cond_init(&t->more, NULL);
        pthread_cond_init(&t->less, NULL);
        t->o = *o;
        t->journal_fd = -1;
        t->window_left = DELTA_JOURNAL_WINDOW;
        t->digest = sha256_new();
        t->copy_buffer = malloc(BUFFER_SIZE);
        for (unsigned i = 0; i < BUFFERS; i++)
                t->buffers[i] = malloc(BUFFER_SIZE);
        for (unsigned i = 0; i < BUFFERS; i++)
                if (!t->buffers[i])
                        return err_set_errno(err, ENOMEM, "apply a delta");
        if (!t->digest || !t->copy_buffer)
                return err_set_errno(err, ENOMEM, "apply a delta");
        int r = prepare_file(t, err);
        if (r < 0)
                return r;
        r = pthread_create(&t->thread, NULL, work, t);
        if (r != 0)
                return err_set_errno(err, r, "start the thread that writes the target");
        t->running = true;
        *ret = TAKE_PTR(t);
        return 0;
}

int64_t delta_target_resumed_at(const struct delta_target *t) {
        return t->resumed_at;
}

/* How many of the next n bytes are there already. */
static int64_t present(struct delta_target *t, int64_t n) {
        int64_t skip = t->position >= t->resumed_at ? 0 : MIN(t->resumed_at - t->position, n);
        t->position += n;
        return skip;
}

int delta_target_bytes(struct delta_target *t, const uint8_t *p, size_t n) {
        size_t skip = (size_t)present(t, (int64_t)n);
        p += skip;
        n -= skip;
        while (n > 0) {
                size_t k = MIN(n, BUFFER_SIZE - t->filled);
                memcpy(t->buffers[t->first_buffer] + t->filled, p, k);
                t->filled += k;
                p += k;
                n -= k;
                if (t->filled == BUFFER_SIZE) {
                        int r = push_bytes(t);
                        if (r < 0)
                                return r;
                }
        }
        return is_canceled(t) ? -ECANCELED : 0;
}

static int push_run(struct delta_target *t, struct job job) {
        int64_t skip = present(t, job.length);
        job.length -= skip;
        job.seed += skip;
        if (job.length == 0)
                return is_canceled(t) ? -ECANCELED : 0;
        int r = push_bytes(t);
        if (r < 0)
                return r;
        if (job.packing)
                delta_packing_ref(job.packing);
        return push(t, job);
}

int delta_target_zeros(struct delta_target *t, int64_t n) {
        static const uint8_t zeros[SMALL_RUN];
        if (n <= (int64_t)sizeof(zeros))
                return delta_target_bytes(t, zeros, (size_t)n);
        return push_run(t, (struct job){JOB_ZEROS, 0, 0, n, NULL});
}

/* Few bytes are better put into the buffer that is being filled than into a job of their own. */
static int copy_small(struct delta_target *t, int64_t seed, size_t n) {
        uint8_t bytes[SMALL_RUN];
        int r = delta_read_at(t->o.seed_fd, bytes, n, seed);
        if (r < 0)
                return r == -ENODATA ? -EBADMSG : r;
        return delta_target_bytes(t, bytes, n);
}

int delta_target_copy(struct delta_target *t, int64_t seed, int64_t n) {
        if (n <= SMALL_RUN)
                return copy_small(t, seed, (size_t)n);
        return push_run(t, (struct job){JOB_COPY, 0, seed, n, NULL});
}

int delta_target_packed(struct delta_target *t, struct delta_packing *packing, int64_t at, int64_t n) {
        return push_run(t, (struct job){JOB_PACKED, 0, at, n, packing});
}

int delta_target_error(struct delta_target *t, int r, struct err **err) {
        if (r == -ECANCELED)
                return err_set(err, ECANCELED, "canceled at byte %lld of the target", (long long)t->position);
        if (r == -EBADMSG && t->damaged)
                return err_set(err, EBADMSG, "the delta is damaged: a packed file is shorter than it says");
        if (r == -EBADMSG)
                return err_set(err, EBADMSG, "the seed is shorter than the delta says");
        return err_set_errno(err, -r, "%s", t->failed_at ? t->failed_at : "write the target");
}

int delta_target_finish(struct delta_target *t, uint8_t ret_sha256[SHA256_SIZE], struct err **err) {
        int r = push_bytes(t);
        (void)push(t, (struct job){.type = JOB_END});
        pthread_join(t->thread, NULL);
        t->running = false;
        r = t->failed ? t->failed : r;
        if (r == 0 && t->o.fd >= 0 && fdatasync(t->o.fd) < 0) {
                r = -errno;
                t->failed_at = "write the target to the disk";
        }
        if (r < 0)
                return delta_target_error(t, r, err);
        sha256_final(t->digest, ret_sha256);
        return 0;
}

void delta_target_drop_journal(struct delta_target *t) {
        if (t->o.journal)
                (void)unlink(t->o.journal);
}
