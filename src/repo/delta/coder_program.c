/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/coder_program.h"

#include <errno.h>
#include <string.h>

/* A file that is open. */
struct open_file {
        struct delta_program_file *file;
        int64_t at;     /* next byte of the new file */
        uint32_t piece; /* first piece that ends past `at` */
};

struct delta_program {
        struct delta_columns *c;
        struct delta_program_io io;
        struct delta_difference difference;
        struct delta_shared *shared;
        struct delta_predictor *predictor; /* of the file below */
        const struct delta_program_file *predicted;
        struct delta_map map;
        int64_t position;
        struct delta_seed_places seed;

        struct open_file *open;
        uint32_t n_open;
        struct delta_held held;

        uint8_t predicted_bytes[DELTA_CHUNK], bytes[DELTA_CHUNK];
};

static struct delta_program_file *file_free(struct delta_program_file *f) {
        delta_program_file_done(f);
        free(f);
        return NULL;
}
DEFINE_CLEANUP(struct delta_program_file, file_free)

int delta_program_new(struct delta_columns *c, const struct delta_program_io *io,
                      struct delta_program **ret) {
        _cleanup_(delta_program_freep) struct delta_program *p = calloc(1, sizeof(*p));
        if (!p)
                return -ENOMEM;
        p->c = c;
        p->io = *io;
        p->seed.length = io->seed_length;
        p->difference.columns = c;
        p->open = calloc(DELTA_FILES_OPEN_MAX, sizeof(*p->open));
        if (!p->open)
                return -ENOMEM;
        *ret = TAKE_PTR(p);
        return 0;
}

struct delta_program *delta_program_free(struct delta_program *p) {
        if (!p)
                return NULL;
        delta_predictor_free(p->predictor);
        for (uint32_t i = 0; i < p->n_open; i++)
                file_free(p->open[i].file);
        free(p->open);
        delta_shared_free(p->shared);
        free(p);
        return NULL;
}

int64_t delta_program_position(const struct delta_program *p) {
        return p->position;
}

bool delta_program_has_room(const struct delta_program *p, size_t pieces, size_t extents, size_t side,
                            int64_t packed) {
        return p->n_open < DELTA_FILES_OPEN_MAX &&
               delta_held_has_room(&p->held, pieces, extents, side, packed);
}

static int damaged(const struct delta_program *p, const char *what, struct err **err) {
        int r = delta_columns_failed(p->c);
        if (r < 0 && r != -EBADMSG)
                return err_set_errno(err, -r, "code the delta");
        return err_set(err, EBADMSG, "the delta is damaged: %s at byte %lld of the target", what,
                       (long long)p->position);
}

/* For reports: what is said from now on is said of such a run. */
static void note_kind(struct delta_program *p, const struct delta_run *run) {
        if (p->io.kind)
                p->io.kind(p->io.arg, run);
}

/* ---- Tables */

int delta_program_shared(struct delta_program *p, const void *tables, size_t n, struct err **err) {
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        const struct delta_run run = {DELTA_OP_FILE, "shared tables", 0, 0, 0};
        note_kind(p, &run);
        int r = delta_columns_reading(p->c) ? 0 : buf_append(&b, tables, n);
        if (r == 0)
                r = delta_side_code(p->c, DELTA_SHARED_MAX, &b);
        if (r < 0)
                return r == -EBADMSG ? damaged(p, "its shared tables break a limit", err)
                                     : err_set_errno(err, -r, "hold the delta's shared tables");
        r = delta_shared_parse(b.data ? b.data : "", b.len, &p->shared, err);
        return r < 0 ? err_wrap_code(err, r, "the delta's shared tables") : 0;
}

static int open_file(struct delta_program *p, struct delta_op *op, struct err **err) {
        _cleanup_(file_freep) struct delta_program_file *f = NULL;
        if (p->n_open == DELTA_FILES_OPEN_MAX) {
                if (!delta_columns_reading(p->c))
                        file_free(TAKE_PTR(op->file));
                return damaged(p, "too many files are open", err);
        }
        if (delta_columns_reading(p->c))
                f = calloc(1, sizeof(*f));
        else
                f = TAKE_PTR(op->file);
        if (!f)
                return err_set_errno(err, ENOMEM, "hold a file's table");
        const char *what = "a file's table";
        int r = delta_file_code(p->c, &p->seed, &p->held, p->io.target_length, f, &what);
        if (r < 0)
                return r == -EBADMSG ? damaged(p, what, err) : err_set_errno(err, -r, "code a file's table");
        delta_held_add(&p->held, f);
        p->open[p->n_open++] = (struct open_file){.file = TAKE_PTR(f)};
        return 0;
}

static void close_file(struct delta_program *p, uint32_t i) {
        struct delta_program_file *f = p->open[i].file;
        if (p->predicted == f) {
                p->predictor = delta_predictor_free(p->predictor);
                p->predicted = NULL;
        }
        delta_held_remove(&p->held, f);
        file_free(f);
        p->n_open--;
        memmove(p->open + i, p->open + i + 1, (p->n_open - i) * sizeof(*p->open));
}

/* ---- Old files */

static int read_old(struct delta_program *p, const struct delta_program_file *f, int64_t offset, void *out,
                    size_t n) {
        uint8_t *to = out;
        if (offset < 0 || (int64_t)n > f->old_length || offset > f->old_length - (int64_t)n)
                return -EINVAL;
        for (uint32_t i = 0; n > 0 && i < f->n_extents; i++) {
                const struct delta_extent *x = &f->extents[i];
                if (offset >= x->length) {
                        offset -= x->length;
                        continue;
                }
                size_t k = MIN(n, (size_t)(x->length - offset));
                int r = p->io.read_seed(p->io.arg, x->offset + offset, to, k);
                if (r < 0)
                        return r;
                to += k;
                n -= k;
                offset = 0;
        }
        return n == 0 ? 0 : -EINVAL;
}

static int predictor_read(void *arg, int64_t offset, void *out, size_t n) {
        struct delta_program *p = arg;
        return read_old(p, p->predicted, offset, out, n);
}

static int need_predictor(struct delta_program *p, const struct delta_program_file *f, struct err **err) {
        if (f->predictor == DELTA_PREDICT_NONE || p->predicted == f)
                return 0;
        p->predictor = delta_predictor_free(p->predictor);
        p->predicted = f;
        p->map = (struct delta_map){f->pieces, f->by_old, f->n_pieces};
        const struct delta_file old = {f->old_length, predictor_read, p};
        int r = delta_predictor_new(f->predictor, &old, f->new_length, &p->map,
                                    f->side.data ? f->side.data : "", f->side.len, p->shared, &p->predictor,
                                    err);
        if (r < 0)
                p->predicted = NULL;
        return r;
}

/* ---- Runs of bytes */

static const char *content_name(unsigned content) {
        static const char *const names[] = {"binary", "text", "metadata", "code", "other", "other"};
        return content < ARRAY_SIZE(names) ? names[content] : "other";
}

/* How a chunk of new bytes is told. */
enum { NEW_CODED, NEW_RAW, NEW_ZERO };

static uint8_t choose_new(const uint8_t *p, size_t n) {
        unsigned count[256] = {0};
        for (size_t i = 0; i < n; i++)
                count[p[i]]++;
        if (count[0] == n)
                return NEW_ZERO;
        if (n < 48)
                return NEW_CODED;
        /* Random bytes: the sum of squared counts is near what chance makes. */
        uint64_t squares = 0;
        for (unsigned i = 0; i < 256; i++)
                squares += (uint64_t)count[i] * count[i];
        /* chance: n + n(n-1)/256 */
        return squares * 256 < (uint64_t)n * 256 + (uint64_t)n * (n - 1) + (uint64_t)n * 64 + n * n / 8
                       ? NEW_RAW
                       : NEW_CODED;
}

static uint8_t code_flag(struct delta_program *p, uint8_t v) {
        delta_columns_bytes(p->c, DELTA_OPERATIONS, &v, 1);
        return v;
}

static int code_new(struct delta_program *p, const char *kind, size_t n, struct err **err) {
        struct delta_run run = {DELTA_OP_LITERAL, kind, p->position, (int64_t)n, 0};
        bool reading = delta_columns_reading(p->c);
        uint8_t mode = NEW_CODED;
        if (!reading) {
                int r = p->io.read_target(p->io.arg, p->position, p->bytes, n);
                if (r < 0)
                        return err_set_errno(err, -r, "read the target");
                mode = choose_new(p->bytes, n);
                run.type = mode == NEW_RAW ? DELTA_OP_RAW : mode == NEW_ZERO ? DELTA_OP_ZERO : run.type;
        }
        note_kind(p, &run);
        mode = code_flag(p, mode);
        if (mode == NEW_ZERO)
                memset(p->bytes, 0, n);
        else if (mode == NEW_CODED || mode == NEW_RAW)
                delta_columns_bytes(p->c, mode == NEW_RAW ? DELTA_RAW : DELTA_NEW, p->bytes, n);
        else
                return damaged(p, "bytes are told in no known way", err);
        if (delta_columns_failed(p->c))
                return damaged(p, "it ends early", err);
        return reading ? p->io.made(p->io.arg, &run, p->bytes) : 0;
}

/* Bytes of which p->predicted_bytes are the prediction. */
static int code_difference(struct delta_program *p, const char *kind, size_t n, struct err **err) {
        const struct delta_run run = {DELTA_OP_MATCH, kind, p->position, (int64_t)n, 0};
        if (!delta_columns_reading(p->c)) {
                int r = p->io.read_target(p->io.arg, p->position, p->bytes, n);
                if (r < 0)
                        return err_set_errno(err, -r, "read the target");
                note_kind(p, &run);
                delta_difference_code(&p->difference, p->predicted_bytes, p->bytes, n);
                return delta_columns_failed(p->c) ? damaged(p, "it cannot be written", err) : 0;
        }
        delta_difference_code(&p->difference, p->predicted_bytes, p->predicted_bytes, n);
        if (delta_columns_failed(p->c))
                return damaged(p, "it ends early", err);
        return p->io.made(p->io.arg, &run, p->predicted_bytes);
}

static int seed_error(int r, struct err **err) {
        return r == -ENODATA ? err_set(err, EBADMSG, "the seed is shorter than the delta says")
                             : err_set_errno(err, -r, "read the seed");
}

/* ---- Packed files: made whole when they are begun */

static int code_plain_bytes(struct delta_program *p, const struct delta_program_file *f, const uint8_t *old,
                            uint8_t *plain, struct err **err) {
        int64_t at = 0, end = f->packed->new_plain_length;
        for (uint32_t i = 0; at < end; i++) {
                const struct delta_piece *x = i < f->n_pieces ? &f->pieces[i] : NULL;
                if (x && !old)
                        return damaged(p, "a piece of an old file that it does not name", err);
                for (int64_t to = x ? x->new_offset : end; at < to;) {
                        size_t k = (size_t)MIN(to - at, (int64_t)DELTA_CHUNK);
                        delta_columns_bytes(p->c, DELTA_NEW, plain + at, k);
                        at += (int64_t)k;
                }
                for (int64_t to = x ? at + x->length : at; at < to;) {
                        size_t k = (size_t)MIN(to - at, (int64_t)DELTA_CHUNK);
                        const uint8_t *predicted = old + x->old_offset + (at - x->new_offset);
                        if (delta_columns_reading(p->c))
                                memcpy(plain + at, predicted, k);
                        delta_difference_code(&p->difference, predicted, plain + at, k);
                        at += (int64_t)k;
                }
                if (delta_columns_failed(p->c))
                        return damaged(p, "it ends early", err);
        }
        return 0;
}

static int code_packed(struct delta_program *p, struct delta_program_file *f, struct err **err) {
        struct delta_packed *x = f->packed;
        _cleanup_(x_freep) uint8_t *old = NULL;
        const struct delta_run run = {DELTA_OP_MATCH, "gzip", p->position, f->new_length, 0};
        if (!x)
                return 0;
        note_kind(p, &run);
        p->predictor = delta_predictor_free(p->predictor); /* its memory is wanted */
        p->predicted = f;
        int r = 0;
        if (x->old_plain_length > 0) {
                const struct delta_file file = {f->old_length, predictor_read, p};
                r = delta_packed_unpack(&file, x->old_skip, x->old_plain_length, &old);
        }
        p->predicted = NULL;
        if (r < 0)
                return r == -EBADMSG
                               ? err_set(err, EBADMSG, "the seed holds another gzip file than the delta says")
                               : seed_error(r, err);
        if (delta_columns_reading(p->c)) {
                x->plain = malloc((size_t)x->new_plain_length + 1);
                x->bytes = malloc((size_t)f->new_length + 1);
                if (!x->plain || !x->bytes)
                        return err_set_errno(err, ENOMEM, "hold a packed file");
        }
        r = code_plain_bytes(p, f, old, x->plain, err);
        if (r < 0)
                return r;
        int64_t rest = x->head_length + x->kept;
        delta_columns_bytes(p->c, DELTA_NEW, x->bytes, (size_t)x->head_length);
        delta_columns_bytes(p->c, DELTA_NEW, x->bytes + rest, (size_t)(f->new_length - rest));
        if (delta_columns_failed(p->c))
                return damaged(p, "it ends early", err);
        if (!delta_columns_reading(p->c))
                return 0;
        free(TAKE_PTR(old));
        r = delta_packer_begin(p->io.packer, x, f->new_length, &x->packing);
        return r < 0 ? err_set_errno(err, -r, "pack a file") : 0;
}

static int packed_bytes(struct delta_program *p, struct open_file *o, int64_t n) {
        const struct delta_run run = {DELTA_OP_MATCH, "gzip", p->position, n, 0};
        int64_t at = o->at;
        p->position += n;
        o->at += n;
        if (!delta_columns_reading(p->c))
                return 0;
        return p->io.made_packed(p->io.arg, &run, o->file->packed->packing, at);
}

static int code_file_bytes(struct delta_program *p, struct open_file *o, int64_t n, struct err **err) {
        const struct delta_program_file *f = o->file;
        if (f->packed)
                return packed_bytes(p, o, n);
        int r = need_predictor(p, f, err);
        if (r < 0)
                return r;
        while (n > 0) {
                while (o->piece < f->n_pieces &&
                       f->pieces[o->piece].new_offset + f->pieces[o->piece].length <= o->at)
                        o->piece++;
                const struct delta_piece *x = o->piece < f->n_pieces ? &f->pieces[o->piece] : NULL;
                const char *kind = content_name(f->content);
                if (f->predictor != DELTA_PREDICT_NONE && p->io.kind)
                        kind = delta_predictor_kind_at(p->predictor, o->at);
                bool matched = x && x->new_offset <= o->at;
                int64_t end = matched ? x->new_offset + x->length : x ? x->new_offset : f->new_length;
                size_t k = (size_t)MIN(MIN(end - o->at, n), (int64_t)DELTA_CHUNK);
                if (matched) {
                        int64_t old = x->old_offset + (o->at - x->new_offset);
                        r = f->predictor == DELTA_PREDICT_NONE
                                    ? read_old(p, f, old, p->predicted_bytes, k)
                                    : delta_predictor_predict(p->predictor, old, o->at, k,
                                                              p->predicted_bytes);
                        if (r < 0)
                                return seed_error(r, err);
                        r = code_difference(p, kind, k, err);
                } else
                        r = code_new(p, kind, k, err);
                if (r < 0)
                        return r;
                p->position += (int64_t)k;
                o->at += (int64_t)k;
                n -= (int64_t)k;
        }
        return 0;
}

/* ---- Operations */

static int code_seed(struct delta_program *p, struct delta_op *op, struct err **err) {
        int64_t *next = &p->seed.next[p->position % 4096 != 0 || op->length < 4096];
        int64_t jump = delta_columns_jump(p->c, DELTA_JUMPS, op->seed - *next);
        if (jump < -*next || jump > p->io.seed_length - *next ||
            op->length > p->io.seed_length - *next - jump)
                return damaged(p, "it copies from outside of the seed", err);
        op->seed = *next + jump;
        *next = op->seed + op->length;
        return 0;
}

static int made(struct delta_program *p, struct delta_op *op) {
        const struct delta_run run = {op->type, NULL, p->position, op->length, op->seed};
        p->position += op->length;
        return delta_columns_reading(p->c) ? p->io.made(p->io.arg, &run, NULL) : 0;
}

static int code_plain(struct delta_program *p, struct delta_op *op, struct err **err) {
        for (int64_t done = 0; done < op->length;) {
                size_t k = (size_t)MIN(op->length - done, (int64_t)DELTA_CHUNK);
                int r;
                if (op->type == DELTA_OP_MATCH) {
                        r = p->io.read_seed(p->io.arg, op->seed + done, p->predicted_bytes, k);
                        if (r < 0)
                                return seed_error(r, err);
                        r = code_difference(p, content_name(op->content), k, err);
                } else
                        r = code_new(p, content_name(op->content), k, err);
                if (r < 0)
                        return r;
                p->position += (int64_t)k;
                done += (int64_t)k;
        }
        return 0;
}

static int begin_file(struct delta_program *p, struct delta_op *op, struct err **err) {
        const struct delta_run run = {DELTA_OP_FILE, "file tables", p->position, 0, 0};
        note_kind(p, &run);
        int r = open_file(p, op, err);
        if (r < 0)
                return r;
        op->index = 0;
        return code_packed(p, p->open[p->n_open - 1].file, err);
}

static int code_file_op(struct delta_program *p, struct delta_op *op, struct err **err) {
        int r;
        if (op->type == DELTA_OP_FILE) {
                r = begin_file(p, op, err);
                if (r < 0)
                        return r;
        } else {
                uint64_t index = delta_columns_number(p->c, DELTA_FILES, op->index);
                if (index >= p->n_open)
                        return damaged(p, "it goes on with a file that is not open", err);
                op->index = (uint32_t)index;
        }
        op->skip = delta_columns_signed(p->c, DELTA_FILES, op->skip);
        uint32_t i = p->n_open - 1 - op->index;
        struct open_file *o = &p->open[i];
        if (op->skip < -o->at || op->skip > o->file->new_length - o->at ||
            op->length > o->file->new_length - o->at - op->skip)
                return damaged(p, "it makes more of a file than there is", err);
        o->at += op->skip;
        if (op->skip < 0)
                o->piece = 0;
        r = code_file_bytes(p, o, op->length, err);
        if (r < 0)
                return r;
        if (op->last)
                close_file(p, i);
        return 0;
}

/* The last part of a file has a type of its own: what is odd closes it. */
static enum delta_op_type code_type(struct delta_program *p, struct delta_op *op) {
        uint8_t v = code_flag(p, (uint8_t)(op->type << 1 | op->last));
        op->last = v & 1;
        return (enum delta_op_type)(v >> 1);
}

int delta_program_step(struct delta_program *p, struct delta_op *op, struct err **err) {
        const struct delta_run run = {DELTA_OP_END, "operations", p->position, 0, 0};
        note_kind(p, &run);
        op->type = code_type(p, op);
        if (delta_columns_failed(p->c))
                return damaged(p, "it ends early", err);
        if (op->type >= DELTA_OP_TYPES || op->type == DELTA_OP_RAW)
                return damaged(p, "an unknown operation", err);
        if (op->type == DELTA_OP_END && !delta_columns_reading(p->c))
                delta_difference_finish(&p->difference);
        if (op->type == DELTA_OP_END)
                return p->position == p->io.target_length ? 0 : damaged(p, "it ends before the target", err);
        uint64_t length = delta_columns_place(p->c, DELTA_LENGTHS, (uint64_t)op->length);
        if (delta_columns_failed(p->c) || length == 0 ||
            length > (uint64_t)(p->io.target_length - p->position))
                return damaged(p, "it makes more than the target", err);
        op->length = (int64_t)length;
        if (op->type == DELTA_OP_COPY || op->type == DELTA_OP_MATCH) {
                int r = code_seed(p, op, err);
                if (r < 0)
                        return r;
        }
        switch (op->type) {
        case DELTA_OP_ZERO:
        case DELTA_OP_COPY: return made(p, op);
        case DELTA_OP_FILE:
        case DELTA_OP_MORE: return code_file_op(p, op, err);
        default: return code_plain(p, op, err);
        }
}
