/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/artifact_fetch_work.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/str.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "repo/delta/apply.h"

#define SEEDS_MAX 16 /* payloads that chunks are looked for in: each is read through */

struct chunk_work *chunk_work_free(struct chunk_work *w) {
        if (!w)
                return NULL;
        chunk_fetch_free(w->fetch);
        chunk_index_free(w->index);
        for (size_t i = 0; i < w->n_seeds; i++)
                (void)close(w->seeds[i]);
        free(w->seeds);
        x_closep(&w->target);
        free(w);
        return NULL;
}
DEFINE_CLEANUP(struct chunk_work, chunk_work_free)

struct fetch_job *fetch_job_new(enum fetch_job_kind kind, struct artifact_store *store, const char *target,
                                const struct artifact *a) {
        struct fetch_job *j = calloc(1, sizeof(*j));
        _cleanup_json_ json_t *custom = artifact_custom(a);
        if (!j || !custom ||
            artifact_from_target(target, a->length, a->sha256, custom, &j->artifact, NULL) < 0) {
                free(j);
                return NULL;
        }
        j->kind = kind;
        j->store = store;
        return j;
}

struct fetch_job *fetch_job_free(struct fetch_job *j) {
        if (!j)
                return NULL;
        artifact_free(j->artifact);
        strv_free(j->seeds);
        chunk_work_free(j->chunks);
        free(j->bytes);
        err_free(j->err);
        free(j);
        return NULL;
}

/* ---- chunks */

static int read_index(struct fetch_job *j, struct chunk_work *w) {
        _cleanup_(x_freep) char *path = artifact_store_partial(j->store, j->artifact->sha256, ".index"),
                                *data = NULL;
        size_t len;
        int r = path ? file_read(path, CHUNK_INDEX_MAX, &data, &len, &j->err) : -ENOMEM;
        if (r == 0)
                r = chunk_index_parse(data, len, &w->index, &j->err);
        if (r < 0 || !w->index)
                return r < 0 ? r : -EBADMSG;
        if (!str_eq(w->index->target_sha256, j->artifact->sha256) ||
            w->index->target_length != j->artifact->length)
                return err_set(&j->err, EBADMSG, "the chunk index is one of another target");
        return 0;
}

static int open_chunks(struct fetch_job *j) {
        _cleanup_(chunk_work_freep) struct chunk_work *w = calloc(1, sizeof(*w));
        const char *digest = j->artifact->sha256;
        _cleanup_(x_freep) char *part = artifact_store_partial(j->store, digest, ".chunks"),
                                *journal = artifact_store_partial(j->store, digest, ".chunks-journal");
        if (!w || !part || !journal)
                return -ENOMEM;
        w->target = -1;
        int r = read_index(j, w);
        if (r < 0)
                return r;
        w->seeds = calloc(SEEDS_MAX, sizeof(*w->seeds));
        if (!w->seeds)
                return -ENOMEM;
        for (size_t i = 0; j->seeds && j->seeds[i] && w->n_seeds < SEEDS_MAX; i++) {
                int fd = artifact_store_open_payload(j->store, j->seeds[i]);
                if (fd >= 0)
                        w->seeds[w->n_seeds++] = fd;
        }
        w->target = open(part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (w->target < 0)
                return err_set_errno(&j->err, errno, "open %s", part);
        r = chunk_fetch_open(w->index, w->seeds, w->n_seeds, w->target, journal, &w->fetch, &j->err);
        if (r < 0)
                return r;
        j->chunks = TAKE_PTR(w);
        return 0;
}

/* ---- delta */

void delta_suffixes_of(const char *from, struct delta_suffixes *ret) {
        (void)snprintf(ret->delta, sizeof(ret->delta), ".delta-%.16s", from);
        (void)snprintf(ret->part, sizeof(ret->part), ".part-%.16s", from);
        (void)snprintf(ret->journal, sizeof(ret->journal), ".journal-%.16s", from);
}

static void delta_progress(void *arg, int64_t done, int64_t total) {
        struct fetch_job *j = arg;
        (void)total;
        atomic_store(&j->done, done);
}

static int check_delta(struct fetch_job *j, int fd) {
        char digest[SHA256_HEX_SIZE];
        struct delta_header header;
        int r = sha256_file_hex(fd, digest);
        if (r < 0)
                return err_set_errno(&j->err, -r, "read the delta");
        if (!str_eq(digest, j->delta_sha256))
                return err_set(&j->err, EBADMSG, "the delta that came has the digest %.12s, not %.12s",
                               digest, j->delta_sha256);
        if ((r = delta_read_header(fd, &header, &j->err)) < 0)
                return r;
        if (!str_eq(header.target_sha256, j->artifact->sha256) ||
            header.target_length != j->artifact->length || !str_eq(header.seed_sha256, j->from))
                return err_set(&j->err, EBADMSG, "the delta is one for another seed or target");
        return 0;
}

static int apply_delta(struct fetch_job *j) {
        const char *digest = j->artifact->sha256;
        struct delta_suffixes names;
        delta_suffixes_of(j->from, &names);
        _cleanup_(x_freep) char *delta = artifact_store_partial(j->store, digest, names.delta),
                                *part = artifact_store_partial(j->store, digest, names.part),
                                *journal = artifact_store_partial(j->store, digest, names.journal);
        if (!delta || !part || !journal)
                return -ENOMEM;
        _cleanup_(x_closep) int delta_fd = open(delta, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (delta_fd < 0)
                return err_set_errno(&j->err, errno, "open %s", delta);
        int r = check_delta(j, delta_fd);
        if (r < 0)
                return r;
        _cleanup_(x_closep) int seed = artifact_store_open_payload(j->store, j->from);
        if (seed < 0)
                return err_set_errno(&j->err, seed == -ENOENT ? EBADMSG : -seed, "the seed %.12s", j->from);
        _cleanup_(x_closep) int target = open(part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (target < 0)
                return err_set_errno(&j->err, errno, "open %s", part);
        struct delta_apply_options o = {.delta_fd = delta_fd,
                                        .seed_fd = seed,
                                        .target_fd = target,
                                        .journal = journal,
                                        .target_length = j->artifact->length,
                                        .target_sha256 = digest,
                                        .progress = delta_progress,
                                        .progress_arg = j,
                                        .cancel = &j->cancel};
        return delta_apply(&o, &j->err);
}

/* ---- running */

/* The payload is there under this name: keep it, and make it ready. */
static int keep(struct fetch_job *j, const char *suffix, bool verify) {
        int r = artifact_store_commit(j->store, j->artifact, suffix, verify, &j->err);
        return r < 0 ? r : artifact_store_prepare(j->store, j->artifact, false, &j->err);
}

static int run_job(struct fetch_job *j) {
        struct delta_suffixes names;
        int r;
        switch (j->kind) {
        case FETCH_JOB_OPEN_CHUNKS: return open_chunks(j);
        case FETCH_JOB_FEED_CHUNKS: return chunk_fetch_feed(j->chunks->fetch, j->bytes, j->n_bytes, &j->err);
        case FETCH_JOB_FINISH_CHUNKS:
                r = chunk_fetch_finish(j->chunks->fetch, &j->err);
                return r < 0 ? r : keep(j, ".chunks", false);
        case FETCH_JOB_DELTA:
                r = apply_delta(j);
                delta_suffixes_of(j->from, &names);
                return r < 0 ? r : keep(j, names.part, false);
        case FETCH_JOB_WHOLE: return keep(j, ".whole", true);
        case FETCH_JOB_PREPARE:
                artifact_store_drop_partial(j->store, j->artifact->sha256); /* a kill may have left them */
                return artifact_store_prepare(j->store, j->artifact, false, &j->err);
        }
        return -EINVAL;
}

static void work(void *arg) {
        struct fetch_job *j = arg;
        j->error = run_job(j);
        if (j->error < 0 && !j->err)
                (void)err_set_errno(&j->err, -j->error, "artifact %s:%s", j->artifact->name,
                                    j->artifact->version);
}

static void work_done(void *arg) {
        struct fetch_job *j = arg;
        j->finished(j);
}

int fetch_job_start(struct loop *l, struct fetch_job *j) {
        return loop_work(l, work, work_done, j);
}
