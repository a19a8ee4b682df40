/* SPDX-License-Identifier: Apache-2.0 */
/* Cutting and packing. The caller's thread cuts, digests and writes, in order; workers pack groups of
 * segments, each reading its part of the target, and the window before it, by itself. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include "base/encode.h"
#include "crypto/digest.h"
#include "repo/chunk/cut.h"
#include "repo/chunk/frame.h"
#include "repo/chunk/index.h"

#define GROUP_LOG (CHUNK_SEGMENT_LOG + 3)
#define GROUP ((size_t)1 << GROUP_LOG)
#define WINDOW ((size_t)1 << CHUNK_WINDOW_LOG)
#define THREADS_MAX 16     /* each with its window and the tables over it: about 15 MB */
#define SMALL (128u << 20) /* bytes; the shortest chunks are for targets up to this */
#define COUNT_WISHED (256u << 10)

enum job_state { JOB_FREE, JOB_WAITING, JOB_TAKEN, JOB_DONE };

struct job { /* frames that begin in one group */
        enum job_state state;
        uint32_t *entries; /* of the index */
        size_t n, room;
        int64_t begin, end; /* of the bytes packed */
        uint8_t *out;
        size_t out_length, out_room;
        int error;
};

struct maker {
        int target_fd, pack_fd;
        struct chunk_cutter cutter;
        struct chunk_index *index;
        size_t room; /* of index->chunks */
        uint32_t *table;
        size_t table_size; /* a power of two */
        struct sha256 *whole;
        int64_t done, total;
        void (*progress)(void *arg, int64_t done, int64_t total);
        void *progress_arg;

        struct job *jobs; /* a ring in the target's order */
        size_t n_jobs;
        struct job *current; /* being filled, or NULL */
        size_t first;        /* the oldest not written */
        size_t next;         /* the one to be filled next */

        pthread_mutex_t lock; /* of the jobs' states, their errors, and `stop` */
        pthread_cond_t work, finished;
        bool stop;
        pthread_t threads[THREADS_MAX];
        size_t n_threads;
};

static int read_at(int fd, void *p, size_t n, int64_t offset) {
        for (size_t got = 0; got < n;) {
                ssize_t r = pread(fd, (uint8_t *)p + got, n - got, offset + (int64_t)got);
                if (r < 0 && errno == EINTR)
                        continue;
                if (r <= 0)
                        return r < 0 ? -errno : -EBADMSG; /* it became shorter */
                got += (size_t)r;
        }
        return 0;
}

static int write_all(int fd, const void *p, size_t n) {
        for (size_t put = 0; put < n;) {
                ssize_t r = write(fd, (const uint8_t *)p + put, n - put);
                if (r < 0 && errno == EINTR)
                        continue;
                if (r < 0)
                        return -errno;
                put += (size_t)r;
        }
        return 0;
}

/* ---- Workers */

static int grow_output(struct job *job, size_t more) {
        if (job->out_length + more <= job->out_room)
                return 0;
        size_t room = MAX(job->out_room * 2, job->out_length + more);
        uint8_t *out = realloc(job->out, room);
        if (!out)
                return -ENOMEM;
        job->out = out;
        job->out_room = room;
        return 0;
}

/* Chunks are told by the offset where each begins, which no entry holds before it is written: kept in the
 * `offset` of a frame until then. */
static int pack_job(struct maker *m, struct job *job, struct chunk_packer *packer, uint8_t *buffer) {
        int64_t begin, end, window_of = -1;
        chunk_window(job->begin, CHUNK_WINDOW_LOG, CHUNK_SEGMENT_LOG, &begin, &end);
        uint8_t *bytes = buffer + 1;
        buffer[0] = 0;
        const int64_t base = begin;
        int r = read_at(m->target_fd, bytes, (size_t)(job->end - base), base);
        for (size_t i = 0; r == 0 && i < job->n; i++) {
                struct chunk *c = &m->index->chunks[job->entries[i]];
                const uint8_t *data = bytes + (c->offset - base);
                size_t packed;
                chunk_window(c->offset, CHUNK_WINDOW_LOG, CHUNK_SEGMENT_LOG, &begin, &end);
                if (end != window_of) {
                        uint8_t *before = bytes + (begin - base) - 1, kept = *before;
                        *before = 0;
                        r = chunk_packer_set_window(packer, before, (size_t)(end - begin) + 1);
                        *before = kept;
                        window_of = end;
                }
                if (r == 0)
                        r = grow_output(job, c->length);
                if (r == 0)
                        r = chunk_pack(packer, data, c->length, job->out + job->out_length, &packed);
                if (r == 0) {
                        c->packed = (uint32_t)packed & 0x3fffffffu;
                        job->out_length += packed;
                }
        }
        return r;
}

static struct job *job_waiting(struct maker *m) {
        for (size_t i = m->first; i < m->next; i++)
                if (m->jobs[i % m->n_jobs].state == JOB_WAITING)
                        return &m->jobs[i % m->n_jobs];
        return NULL;
}

static void *work(void *arg) {
        struct maker *m = arg;
        _cleanup_(chunk_packer_freep) struct chunk_packer *packer = NULL;
        _cleanup_(x_freep) uint8_t *buffer = malloc(1 + WINDOW + GROUP + CHUNK_MAX);
        int r = !buffer ? -ENOMEM : chunk_packer_new(&packer);
        pthread_mutex_lock(&m->lock);
        while (!m->stop) {
                struct job *job = job_waiting(m);
                if (!job) {
                        pthread_cond_wait(&m->work, &m->lock);
                        continue;
                }
                job->state = JOB_TAKEN;
                pthread_mutex_unlock(&m->lock);
                int e = r < 0 ? r : pack_job(m, job, packer, buffer);
                pthread_mutex_lock(&m->lock);
                job->error = e;
                job->state = JOB_DONE;
                pthread_cond_signal(&m->finished);
        }
        pthread_mutex_unlock(&m->lock);
        return NULL;
}

/* ---- The caller's thread */

/* Waits for the oldest job and writes what it packed. */
static int write_oldest(struct maker *m) {
        struct job *job = &m->jobs[m->first % m->n_jobs];
        pthread_mutex_lock(&m->lock);
        while (job->state != JOB_DONE)
                pthread_cond_wait(&m->finished, &m->lock);
        pthread_mutex_unlock(&m->lock);
        int r = job->error;
        if (r == 0)
                r = write_all(m->pack_fd, job->out, job->out_length);
        for (size_t i = 0; r == 0 && i < job->n; i++) {
                struct chunk *c = &m->index->chunks[job->entries[i]];
                c->offset = m->index->pack_length;
                m->index->pack_length += c->packed;
        }
        job->n = job->out_length = 0;
        pthread_mutex_lock(&m->lock);
        job->state = JOB_FREE;
        m->first++;
        pthread_mutex_unlock(&m->lock);
        return r;
}

static void submit(struct maker *m) {
        if (!m->current)
                return;
        pthread_mutex_lock(&m->lock);
        m->current->state = JOB_WAITING;
        m->next++;
        pthread_cond_signal(&m->work);
        pthread_mutex_unlock(&m->lock);
        m->current = NULL;
}

static int add_frame(struct maker *m, uint32_t entry) {
        struct chunk *c = &m->index->chunks[entry];
        if (m->current && m->current->begin >> GROUP_LOG != c->offset >> GROUP_LOG)
                submit(m);
        if (!m->current) {
                if (m->next - m->first == m->n_jobs) {
                        int r = write_oldest(m);
                        if (r < 0)
                                return r;
                }
                m->current = &m->jobs[m->next % m->n_jobs];
                m->current->begin = c->offset;
        }
        struct job *job = m->current;
        if (job->n == job->room) {
                size_t room = MAX(job->room * 2, (size_t)256);
                uint32_t *entries = realloc(job->entries, room * sizeof(*entries));
                if (!entries)
                        return -ENOMEM;
                job->entries = entries;
                job->room = room;
        }
        job->entries[job->n++] = entry;
        job->end = c->offset + c->length;
        return 0;
}

/* The slot of a digest: the frame that has it, or UINT32_MAX. */
static uint32_t *slot_of(struct maker *m, const uint8_t digest[16]) {
        uint64_t h;
        memcpy(&h, digest, sizeof(h));
        for (size_t i = (size_t)h & (m->table_size - 1);; i = (i + 1) & (m->table_size - 1)) {
                uint32_t entry = m->table[i];
                if (entry == UINT32_MAX || memcmp(m->index->chunks[entry].digest, digest, 16) == 0)
                        return &m->table[i];
        }
}

static int on_chunk(void *arg, const struct cut_chunk *cut) {
        struct maker *m = arg;
        struct chunk_index *index = m->index;
        sha256_update(m->whole, cut->data, cut->length);
        m->done += cut->length;
        if (m->progress && (m->done >> 20) != ((m->done - cut->length) >> 20))
                m->progress(m->progress_arg, MIN(m->done, m->total), m->total);
        if (cut->zero && index->n_chunks > 0) {
                struct chunk *last = &index->chunks[index->n_chunks - 1];
                if (last->kind == CHUNK_ZERO && last->length <= CHUNK_ZERO_MAX - cut->length) {
                        last->length += cut->length;
                        return 0;
                }
        }
        if (index->n_chunks == m->room) /* never moved: workers hold pointers into it */
                return -EOVERFLOW;
        uint32_t entry = (uint32_t)index->n_chunks++;
        struct chunk *c = &index->chunks[entry];
        *c = (struct chunk){.length = cut->length, .kind = CHUNK_ZERO};
        if (cut->zero)
                return 0;
        memcpy(c->digest, cut->digest, sizeof(c->digest));
        uint32_t *slot = slot_of(m, c->digest);
        if (*slot != UINT32_MAX) {
                c->kind = CHUNK_REPEAT;
                c->packed = *slot & 0x3fffffffu; /* until the frames are all written */
                return 0;
        }
        *slot = entry;
        c->kind = CHUNK_FRAME;
        c->offset = cut->offset;
        return add_frame(m, entry);
}

static struct maker *maker_free(struct maker *m) {
        pthread_mutex_lock(&m->lock);
        m->stop = true;
        pthread_cond_broadcast(&m->work);
        pthread_mutex_unlock(&m->lock);
        for (size_t i = 0; i < m->n_threads; i++)
                pthread_join(m->threads[i], NULL);
        for (size_t i = 0; m->jobs && i < m->n_jobs; i++) {
                free(m->jobs[i].entries);
                free(m->jobs[i].out);
        }
        free(m->jobs);
        free(m->table);
        sha256_free(m->whole);
        chunk_index_free(m->index);
        pthread_mutex_destroy(&m->lock);
        pthread_cond_destroy(&m->work);
        pthread_cond_destroy(&m->finished);
        free(m);
        return NULL;
}
DEFINE_CLEANUP(struct maker, maker_free)

static int maker_new(int target_fd, int pack_fd, int64_t total, unsigned average_log, unsigned threads,
                     struct maker **ret) {
        struct maker *m = calloc(1, sizeof(*m));
        if (!m)
                return -ENOMEM;
        pthread_mutex_init(&m->lock, NULL);
        pthread_cond_init(&m->work, NULL);
        pthread_cond_init(&m->finished, NULL);
        m->target_fd = target_fd;
        m->pack_fd = pack_fd;
        m->total = total;
        chunk_cutter_init(&m->cutter, average_log);
        /* Every chunk but the last is at least this long. */
        m->room = (size_t)MIN((uint64_t)total / m->cutter.least * 2 + 2, (uint64_t)CHUNK_COUNT_MAX);
        for (m->table_size = 1024; m->table_size < m->room * 2; m->table_size *= 2)
                ;
        m->n_jobs = threads * 2 + 2;
        m->jobs = calloc(m->n_jobs, sizeof(*m->jobs));
        m->table = malloc(m->table_size * sizeof(*m->table));
        m->whole = sha256_new();
        m->index = calloc(1, sizeof(*m->index));
        if (m->index)
                m->index->chunks = calloc(m->room, sizeof(*m->index->chunks));
        if (!m->jobs || !m->table || !m->whole || !m->index || !m->index->chunks) {
                maker_free(m);
                return -ENOMEM;
        }
        memset(m->table, 0xff, m->table_size * sizeof(*m->table));
        m->index->average_log = average_log;
        m->index->window_log = CHUNK_WINDOW_LOG;
        m->index->segment_log = CHUNK_SEGMENT_LOG;
        for (; m->n_threads < threads; m->n_threads++)
                if (pthread_create(&m->threads[m->n_threads], NULL, work, m) != 0)
                        break;
        if (m->n_threads == 0) {
                maker_free(m);
                return -EAGAIN;
        }
        *ret = m;
        return 0;
}

/* One try with one average. -EOVERFLOW: more chunks than an index holds. */
static int make(int target_fd, int pack_fd, int64_t total, unsigned average_log, unsigned threads,
                void (*progress)(void *arg, int64_t done, int64_t total), void *progress_arg, void **ret,
                size_t *ret_length) {
        _cleanup_(maker_freep) struct maker *m = NULL;
        int r = maker_new(target_fd, pack_fd, total, average_log, threads, &m);
        if (r < 0)
                return r;
        m->progress = progress;
        m->progress_arg = progress_arg;
        r = chunk_cut_file(&m->cutter, target_fd, on_chunk, m);
        submit(m);
        while (r == 0 && m->first < m->next)
                r = write_oldest(m);
        if (r < 0)
                return r;
        struct chunk_index *index = m->index;
        for (size_t i = 0; i < index->n_chunks; i++) {
                struct chunk *c = &index->chunks[i];
                if (c->kind != CHUNK_REPEAT)
                        continue;
                const struct chunk *of = &index->chunks[c->packed];
                c->packed = of->packed;
                c->offset = of->offset;
        }
        uint8_t digest[SHA256_SIZE];
        sha256_final(m->whole, digest);
        hex_encode(digest, sizeof(digest), index->target_sha256);
        index->target_length = m->done;
        if (progress)
                progress(progress_arg, m->done, m->done);
        return chunk_index_encode(index, ret, ret_length);
}

int chunk_index_make(int target_fd, int index_fd, int pack_fd, unsigned threads,
                     void (*progress)(void *arg, int64_t done, int64_t total), void *progress_arg,
                     struct err **err) {
        int64_t total = lseek(target_fd, 0, SEEK_END);
        if (total < 0)
                return err_set_errno(err, errno, "cut a target into chunks");
        if (threads == 0) {
                long n = sysconf(_SC_NPROCESSORS_ONLN);
                threads = n > 0 ? (unsigned)n : 1;
        }
        threads = MIN(threads, (unsigned)THREADS_MAX);
        unsigned average_log = CHUNK_AVERAGE_LOG_MIN;
        if (total > (int64_t)SMALL)
                average_log++;
        while (average_log < CHUNK_AVERAGE_LOG_MAX && total >> average_log > COUNT_WISHED)
                average_log++;
        const off_t start = lseek(pack_fd, 0, SEEK_CUR);
        _cleanup_(x_freep) void *data = NULL;
        size_t length = 0;
        int r;
        for (;;) {
                r = make(target_fd, pack_fd, total, average_log, threads, progress, progress_arg, &data,
                         &length);
                if (r != -EOVERFLOW || average_log == CHUNK_AVERAGE_LOG_MAX)
                        break;
                /* Its content makes for shorter chunks than its length promised. */
                average_log++;
                if (start < 0 || ftruncate(pack_fd, start) < 0 || lseek(pack_fd, start, SEEK_SET) < 0)
                        return err_set_errno(err, errno, "write the chunks of a target anew");
        }
        if (r == -EOVERFLOW)
                return err_set(
                        err, EFBIG,
                        "the target is too large to be cut into chunks (%lld bytes make more than %u): "
                        "publish it without chunks, or in parts",
                        (long long)total, CHUNK_COUNT_MAX);
        if (r == 0)
                r = write_all(index_fd, data, length);
        if (r < 0)
                return err_set_errno(err, -r, "cut a target into chunks");
        return 0;
}
