/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/apply.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/encode.h"
#include "repo/delta/apply_target.h"
#include "repo/delta/coder_program.h"
#include "repo/delta/format.h"

#define WINDOW_SIZE ((size_t)32 << 10) /* of the seed */
#define WINDOWS 24

struct window {
        int64_t offset;
        size_t n;
        uint64_t used;
        uint8_t *bytes;
};

struct apply {
        const struct delta_apply_options *o;
        struct delta_head head;
        struct delta_target *target;
        struct delta_packer *packer;           /* outlives it */
        struct window windows[WINDOWS], *last; /* last: used */
        uint64_t clock;
        int64_t reported;
        int target_failed; /* what the target said */
};

static ssize_t read_column(void *arg, enum delta_column column, int64_t offset, uint8_t *p, size_t n) {
        struct apply *a = arg;
        int64_t begin = DELTA_HEAD_SIZE;
        for (unsigned i = 0; i < column; i++)
                begin += a->head.lengths[i];
        n = (size_t)MIN((int64_t)n, a->head.lengths[column] - offset);
        int r = delta_read_at(a->o->delta_fd, p, n, begin + offset);
        if (r < 0)
                return r == -ENODATA ? -EBADMSG : r;
        return (ssize_t)n;
}

static int fill(struct apply *a, int64_t offset, struct window **ret) {
        struct window *w = a->last;
        if (w && w->n > 0 && w->offset == offset) {
                *ret = w;
                return 0;
        }
        w = &a->windows[0];
        for (unsigned i = 0; i < WINDOWS; i++) {
                if (a->windows[i].n > 0 && a->windows[i].offset == offset) {
                        a->windows[i].used = ++a->clock;
                        *ret = a->last = &a->windows[i];
                        return 0;
                }
                if (a->windows[i].used < w->used)
                        w = &a->windows[i];
        }
        size_t n = (size_t)MIN((int64_t)WINDOW_SIZE, a->head.seed_length - offset);
        w->n = 0;
        int r = delta_read_at(a->o->seed_fd, w->bytes, n, offset);
        if (r < 0)
                return r;
        w->n = n;
        w->offset = offset;
        w->used = ++a->clock;
        *ret = a->last = w;
        return 0;
}

static int read_seed(void *arg, int64_t offset, void *p, size_t n) {
        struct apply *a = arg;
        if (offset < 0 || offset > a->head.seed_length || (int64_t)n > a->head.seed_length - offset)
                return -ENODATA;
        while (n > 0) {
                struct window *w;
                int64_t start = offset / (int64_t)WINDOW_SIZE * (int64_t)WINDOW_SIZE;
                int r = fill(a, start, &w);
                if (r < 0)
                        return r;
                size_t at = (size_t)(offset - start), k = MIN(n, w->n - at);
                memcpy(p, w->bytes + at, k);
                p = (uint8_t *)p + k;
                offset += (int64_t)k;
                n -= k;
        }
        return 0;
}

/* What the target said of a run. */
static int note_made(struct apply *a, const struct delta_run *run, int r) {
        if (r < 0)
                a->target_failed = r;
        int64_t done = run->target + run->length;
        if (a->o->progress && done >= a->reported + ((int64_t)1 << 20)) {
                a->reported = done;
                a->o->progress(a->o->progress_arg, done, a->head.target_length);
        }
        return r;
}

static int made(void *arg, const struct delta_run *run, const uint8_t *p) {
        struct apply *a = arg;
        int r = p                            ? delta_target_bytes(a->target, p, (size_t)run->length)
                : run->type == DELTA_OP_COPY ? delta_target_copy(a->target, run->seed, run->length)
                                             : delta_target_zeros(a->target, run->length);
        return note_made(a, run, r);
}

static int made_packed(void *arg, const struct delta_run *run, struct delta_packing *packing, int64_t at) {
        struct apply *a = arg;
        return note_made(a, run, delta_target_packed(a->target, packing, at, run->length));
}

static int read_head(int fd, uint8_t bytes[DELTA_HEAD_SIZE], struct delta_head *ret, struct err **err) {
        struct stat st;
        if (fstat(fd, &st) < 0)
                return err_set_errno(err, errno, "look at the delta");
        int r = delta_read_at(fd, bytes, DELTA_HEAD_SIZE, 0);
        if (r == -ENODATA)
                return err_set(err, EBADMSG, "the delta has only %lld bytes", (long long)st.st_size);
        if (r < 0)
                return err_set_errno(err, -r, "read the delta");
        return delta_head_decode(bytes, st.st_size, ret, err);
}

int delta_read_header(int delta_fd, struct delta_header *ret, struct err **err) {
        uint8_t bytes[DELTA_HEAD_SIZE];
        struct delta_head head;
        int r = read_head(delta_fd, bytes, &head, err);
        if (r < 0)
                return r;
        ret->seed_length = head.seed_length;
        ret->target_length = head.target_length;
        hex_encode(head.seed_sha256, SHA256_SIZE, ret->seed_sha256);
        hex_encode(head.target_sha256, SHA256_SIZE, ret->target_sha256);
        return 0;
}

static int run_program(struct apply *a, struct err **err) {
        const struct delta_columns_source source = {a, read_column};
        _cleanup_(delta_columns_freep) struct delta_columns *c = NULL;
        _cleanup_(delta_program_freep) struct delta_program *p = NULL;
        const struct delta_program_io io = {
                .arg = a,
                .read_seed = read_seed,
                .seed_length = a->head.seed_length,
                .target_length = a->head.target_length,
                .made = made,
                .made_packed = made_packed,
                .packer = a->packer,
                .cancel = a->o->cancel,
        };
        int r = delta_columns_new_read(&source, &c);
        if (r == 0)
                r = delta_program_new(c, &io, &p);
        if (r < 0)
                return err_set_errno(err, -r, "apply a delta");
        r = delta_program_shared(p, NULL, 0, err);
        struct delta_op op = {DELTA_OP_ZERO};
        while (r == 0) {
                r = delta_program_step(p, &op, err);
                if (a->target_failed) {
                        if (err)
                                *err = err_free(*err);
                        return delta_target_error(a->target, a->target_failed, err);
                }
                if (r == 0 && op.type == DELTA_OP_END)
                        return 0;
        }
        return r;
}

static int wrong_result(struct apply *a, struct err **err) {
        char hex[SHA256_HEX_SIZE], want[SHA256_HEX_SIZE];
        hex_encode(a->head.seed_sha256, SHA256_SIZE, want);
        if (sha256_file_hex(a->o->seed_fd, hex) == 0 && strcmp(hex, want) != 0)
                return err_set(
                        err, EBADMSG,
                        "the seed is not the one that the delta was made from: it has SHA-256 %s, not %s",
                        hex, want);
        return err_set(err, EBADMSG, "the delta made something else than the target it names");
}

static int apply_once(struct apply *a, const struct delta_target_options *to, bool *ret_resumed,
                      struct err **err) {
        uint8_t digest[SHA256_SIZE];
        a->reported = 0;
        a->target_failed = 0;
        int r = delta_target_open(to, &a->target, err);
        if (r < 0)
                return r;
        *ret_resumed = delta_target_resumed_at(a->target) > 0;
        r = delta_packer_new(a->o->cancel, &a->packer);
        if (r < 0)
                (void)err_set_errno(err, -r, "apply a delta");
        else
                r = run_program(a, err);
        if (r == 0)
                r = delta_target_finish(a->target, digest, err);
        if (r == 0 && memcmp(digest, a->head.target_sha256, SHA256_SIZE) != 0)
                r = wrong_result(a, err);
        if (r == 0 || r == -EBADMSG)
                delta_target_drop_journal(a->target);
        a->target = delta_target_free(a->target);
        a->packer = delta_packer_free(a->packer);
        return r;
}

static int check_against(const struct apply *a, struct err **err) {
        char hex[SHA256_HEX_SIZE];
        int64_t length = lseek(a->o->seed_fd, 0, SEEK_END);
        hex_encode(a->head.target_sha256, SHA256_SIZE, hex);
        if (a->head.target_length != a->o->target_length || strcmp(hex, a->o->target_sha256) != 0)
                return err_set(err, EBADMSG, "the delta makes %s of %lld bytes, not %s of %lld", hex,
                               (long long)a->head.target_length, a->o->target_sha256,
                               (long long)a->o->target_length);
        /* A block device may be longer than what was put on it. */
        if (length < a->head.seed_length)
                return err_set(err, EBADMSG, "the seed has %lld bytes where the delta wants %lld",
                               (long long)length, (long long)a->head.seed_length);
        return 0;
}

int delta_apply(const struct delta_apply_options *o, struct err **err) {
        struct apply *a = calloc(1, sizeof(*a));
        uint8_t *memory = malloc(WINDOW_SIZE * WINDOWS), head[DELTA_HEAD_SIZE];
        bool resumed = false;
        int r = a && memory ? 0 : err_set_errno(err, ENOMEM, "apply a delta");
        if (r == 0) {
                a->o = o;
                for (size_t i = 0; i < WINDOWS; i++)
                        a->windows[i].bytes = memory + WINDOW_SIZE * i;
                r = read_head(o->delta_fd, head, &a->head, err);
                if (r == 0)
                        r = check_against(a, err);
        }
        if (r == 0) {
                struct delta_target_options to = {o->seed_fd,       o->target_fd, o->journal,
                                                  o->target_length, {0},          o->cancel};
                sha256_of(head, sizeof(head), to.identity);
                r = apply_once(a, &to, &resumed, err);
                /* What an interrupted run left may have been changed since: once more, from the start. */
                if (r == -EBADMSG && resumed) {
                        if (err)
                                *err = err_free(*err);
                        r = apply_once(a, &to, &resumed, err);
                }
        }
        if (r == 0 && o->progress)
                o->progress(o->progress_arg, o->target_length, o->target_length);
        free(memory);
        free(a);
        return r;
}
