/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/coder_program.h"

#include <errno.h>
#include <string.h>

/* Lengths and places, often whole blocks. */
struct place_model {
        delta_bit whole[4];
        struct delta_number bytes, blocks;
};
struct jump_model {
        delta_bit whole[2];
        struct delta_signed bytes, blocks;
};

/* A file that is open. */
struct open_file {
        struct delta_program_file *file;
        int64_t at;     /* next byte of the new file */
        uint32_t piece; /* first piece that ends past `at` */
};

struct delta_program {
        struct delta_coder *c;
        struct delta_tables *tables;
        struct delta_program_io io;
        struct delta_content *content;
        struct delta_shared *shared;
        struct delta_predictor *predictor; /* of the file below */
        const struct delta_program_file *predicted;
        struct delta_map map;
        int64_t position;
        int64_t seed_next[2];
        unsigned last_type;

        struct open_file *open;
        uint32_t n_open, n_pieces, n_extents;
        size_t side;
        int64_t packed;

        delta_bit type[DELTA_OP_TYPES][8], last[2], skips, is_packed, gap_mode[DELTA_KINDS][4], class[16];
        struct place_model length[DELTA_OP_TYPES], extent_length[2];
        struct jump_model seed[2];
        struct delta_signed skip;
        struct delta_number index, n_extents_model;
        struct delta_number packed_skip, packed_length, packed_kept, packed_style[4];
        struct delta_signed new_length;

        uint8_t predicted_bytes[DELTA_CHUNK], bytes[DELTA_CHUNK];
};

void delta_program_file_done(struct delta_program_file *f) {
        if (!f)
                return;
        free(f->extents);
        free(f->pieces);
        free(f->by_old);
        buf_done(&f->side);
        f->packed = delta_packed_free(f->packed);
}

static struct delta_program_file *file_free(struct delta_program_file *f) {
        delta_program_file_done(f);
        free(f);
        return NULL;
}
DEFINE_CLEANUP(struct delta_program_file, file_free)

static void place_init(struct place_model *m) {
        delta_bits_init(m->whole, ARRAY_SIZE(m->whole));
        delta_number_init(&m->bytes);
        delta_number_init(&m->blocks);
}

static uint64_t code_place(struct delta_coder *c, struct place_model *m, uint64_t v) {
        if (delta_coder_adaptive(c, &m->whole[0], v != 0 && v % 4096 == 0))
                return (delta_coder_number(c, &m->blocks, v / 4096 - 1) + 1) << 12;
        return delta_coder_number(c, &m->bytes, v);
}

static void jump_init(struct jump_model *m) {
        delta_bits_init(m->whole, ARRAY_SIZE(m->whole));
        delta_signed_init(&m->bytes);
        delta_signed_init(&m->blocks);
}

static int64_t code_jump(struct delta_coder *c, struct jump_model *m, int64_t v) {
        if (delta_coder_adaptive(c, &m->whole[0], v % 4096 == 0))
                return (int64_t)((uint64_t)delta_coder_signed(c, &m->blocks, v / 4096) << 12);
        return delta_coder_signed(c, &m->bytes, v);
}

int delta_program_new(struct delta_coder *c, struct delta_tables *tables, const struct delta_program_io *io,
                      struct delta_program **ret) {
        _cleanup_(delta_program_freep) struct delta_program *p = calloc(1, sizeof(*p));
        if (!p)
                return -ENOMEM;
        p->c = c;
        p->tables = tables;
        p->io = *io;
        p->open = calloc(DELTA_FILES_OPEN_MAX, sizeof(*p->open));
        if (!p->open || delta_content_new(DELTA_CONTENT_BITS, &p->content) < 0)
                return -ENOMEM;
        delta_bits_init(&p->type[0][0], sizeof(p->type) / sizeof(delta_bit));
        delta_bits_init(p->last, 2);
        delta_bits_init(&p->skips, 1);
        delta_bits_init(&p->is_packed, 1);
        delta_number_init(&p->packed_skip);
        delta_number_init(&p->packed_length);
        delta_number_init(&p->packed_kept);
        for (unsigned i = 0; i < 4; i++)
                delta_number_init(&p->packed_style[i]);
        delta_bits_init(&p->gap_mode[0][0], sizeof(p->gap_mode) / sizeof(delta_bit));
        delta_bits_init(p->class, 16);
        for (unsigned i = 0; i < DELTA_OP_TYPES; i++)
                place_init(&p->length[i]);
        for (unsigned i = 0; i < 2; i++) {
                place_init(&p->extent_length[i]);
                jump_init(&p->seed[i]);
        }
        delta_signed_init(&p->skip);
        delta_number_init(&p->index);
        delta_number_init(&p->n_extents_model);
        delta_signed_init(&p->new_length);
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
        delta_content_free(p->content);
        delta_shared_free(p->shared);
        free(p);
        return NULL;
}

int64_t delta_program_position(const struct delta_program *p) {
        return p->position;
}

bool delta_program_has_room(const struct delta_program *p, size_t pieces, size_t extents, size_t side,
                            int64_t packed) {
        return p->n_open < DELTA_FILES_OPEN_MAX && pieces <= DELTA_PIECES_MAX - p->n_pieces &&
               extents <= DELTA_EXTENTS_MAX - p->n_extents && side <= DELTA_SIDE_MAX - p->side &&
               packed <= DELTA_PACKED_MAX - p->packed;
}

static int damaged(const struct delta_program *p, const char *what, struct err **err) {
        if (p->c->failed && p->c->failed != -EBADMSG)
                return err_set_errno(err, -p->c->failed, "read the delta");
        return err_set(err, EBADMSG, "the delta is damaged: %s at byte %lld of the target", what,
                       (long long)p->position);
}

static unsigned code_tree(struct delta_coder *c, delta_bit *tree, unsigned bits, unsigned v) {
        unsigned node = 1;
        for (unsigned i = bits; i-- > 0;)
                node = node << 1 | delta_coder_adaptive(c, &tree[node], v >> i & 1);
        return node - (1u << bits);
}

/* ---- Tables */

static int table_error(const struct delta_program *p, int r, struct err **err) {
        return r == -EBADMSG ? damaged(p, "a table breaks a limit", err) : err_set_errno(err, -r, "tables");
}

int delta_program_shared(struct delta_program *p, const void *tables, size_t n, struct err **err) {
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        int r = p->c->decoding ? delta_tables_get_shared(p->tables, &b)
                               : delta_tables_put_shared(p->tables, tables, n);
        if (r < 0)
                return table_error(p, r, err);
        if (p->c->decoding) {
                tables = b.data ? b.data : "";
                n = b.len;
        }
        r = delta_shared_parse(tables, n, &p->shared, err);
        return r < 0 ? err_wrap_code(err, r, "the delta's shared tables") : 0;
}

static int sort_by_old(const void *a, const void *b, void *arg) {
        const struct delta_piece *pieces = arg;
        uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
        int64_t ox = pieces[x].old_offset, oy = pieces[y].old_offset;
        return ox != oy ? (ox < oy ? -1 : 1) : x < y ? -1 : x > y;
}

/* What of the table stands in the stream of tables. Pieces are placed later, when lengths are known. */
static int code_table(struct delta_program *p, struct delta_program_file *f, struct err **err) {
        struct delta_table t = {f->predictor, f->content, f->n_pieces, f->pieces, f->side};
        int r;
        if (!p->c->decoding)
                r = delta_tables_put(p->tables, &t);
        else {
                r = delta_tables_get(p->tables, &t);
                if (r == 0) {
                        f->predictor = t.predictor;
                        f->content = t.content;
                        f->n_pieces = t.n_pieces;
                        f->pieces = t.pieces;
                        f->side = t.side;
                }
        }
        if (r < 0)
                return table_error(p, r, err);
        if (!delta_program_has_room(p, f->n_pieces, 0, f->side.len, 0))
                return damaged(p, "too many pieces, or too much side information", err);
        return 0;
}

static int place_pieces(struct delta_program *p, struct delta_program_file *f, struct err **err) {
        struct delta_table t = {f->predictor, f->content, f->n_pieces, f->pieces, f->side};
        f->by_old = calloc((size_t)f->n_pieces + 1, sizeof(*f->by_old));
        if (!f->by_old)
                return err_set_errno(err, ENOMEM, "hold a file's table");
        if (p->c->decoding && delta_table_place(&t, f->packed ? f->packed->old_plain_length : f->old_length,
                                                f->packed ? f->packed->new_plain_length : f->new_length) < 0)
                return damaged(p, "a piece of a file lies outside of it", err);
        bool sorted = true;
        for (uint32_t i = 0; i < f->n_pieces; i++) {
                f->by_old[i] = i;
                sorted = sorted && (i == 0 || f->pieces[i].old_offset >= f->pieces[i - 1].old_offset);
        }
        if (!sorted)
                qsort_r(f->by_old, f->n_pieces, sizeof(*f->by_old), sort_by_old, f->pieces);
        return 0;
}

static int code_extents(struct delta_program *p, struct delta_program_file *f, struct err **err) {
        f->old_length = 0;
        for (uint32_t i = 0; i < f->n_extents; i++) {
                struct delta_extent *x = &f->extents[i];
                unsigned slot = i > 0;
                uint64_t length = code_place(p->c, &p->extent_length[slot], (uint64_t)x->length);
                int64_t jump = code_jump(p->c, &p->seed[slot], x->offset - p->seed_next[slot]);
                if (p->c->failed || length > (uint64_t)p->io.seed_length || jump < -p->seed_next[slot] ||
                    jump > p->io.seed_length - p->seed_next[slot] ||
                    (int64_t)length > p->io.seed_length - p->seed_next[slot] - jump)
                        return damaged(p, "an old file lies outside of the seed", err);
                x->offset = p->seed_next[slot] + jump;
                x->length = (int64_t)length;
                p->seed_next[slot] = x->offset + x->length;
                f->old_length += x->length;
                if (f->old_length > DELTA_LENGTH_MAX)
                        return damaged(p, "an old file is too long", err);
        }
        return 0;
}

/* How a packed file is made. */
static int code_packed_head(struct delta_program *p, struct delta_program_file *f, struct err **err) {
        struct delta_coder *c = p->c;
        if (!delta_coder_adaptive(c, &p->is_packed, f->packed != NULL))
                return 0;
        if (c->decoding)
                f->packed = calloc(1, sizeof(*f->packed));
        struct delta_packed *x = f->packed;
        if (!x)
                return err_set_errno(err, ENOMEM, "hold a packed file");
        uint64_t skip = delta_coder_number(c, &p->packed_skip, (uint64_t)x->old_skip),
                 old = delta_coder_number(c, &p->packed_length, (uint64_t)x->old_plain_length),
                 new = delta_coder_number(c, &p->packed_length, (uint64_t)x->new_plain_length),
                 head = delta_coder_number(c, &p->packed_skip, (uint64_t)x->head_length),
                 kept = delta_coder_number(c, &p->packed_kept,
                                           (uint64_t)(f->new_length - x->head_length - x->kept));
        uint8_t *style[] = {&x->style.level, &x->style.hash_bits, &x->style.block_bits, &x->style.truncates};
        for (unsigned i = 0; i < 4; i++)
                *style[i] = (uint8_t)delta_coder_number(c, &p->packed_style[i], *style[i]);
        if (c->failed || f->predictor != DELTA_PREDICT_NONE || skip > (uint64_t)f->old_length ||
            old > DELTA_PLAIN_MAX || new > DELTA_PLAIN_MAX || f->new_length > DELTA_PACKED_MAX ||
            !delta_program_has_room(p, 0, 0, 0, f->new_length) || head > (uint64_t)f->new_length ||
            kept > (uint64_t)f->new_length - head)
                return damaged(p, "a packed file is past its limits", err);
        x->old_skip = (int64_t)skip;
        x->old_plain_length = (int64_t)old;
        x->new_plain_length = (int64_t) new;
        x->head_length = (int64_t)head;
        x->kept = f->new_length - (int64_t)head - (int64_t)kept;
        return 0;
}

/* Codes the table of a file; when decoding, f is empty before. */
static int code_file(struct delta_program *p, struct delta_program_file *f, struct err **err) {
        struct delta_coder *c = p->c;
        int r = code_table(p, f, err);
        if (r < 0)
                return r;
        uint64_t extents = delta_coder_number(c, &p->n_extents_model, f->n_extents);
        if (extents > DELTA_EXTENTS_MAX || !delta_program_has_room(p, 0, extents, 0, 0))
                return damaged(p, "too many extents", err);
        if (c->decoding)
                f->extents = calloc(extents + 1, sizeof(*f->extents));
        if (!f->extents)
                return err_set_errno(err, ENOMEM, "hold a file's table");
        f->n_extents = (uint32_t)extents;
        r = code_extents(p, f, err);
        if (r < 0)
                return r;
        int64_t grown = delta_coder_signed(c, &p->new_length, f->new_length - f->old_length);
        if (grown < -f->old_length || grown > p->io.target_length - f->old_length)
                return damaged(p, "a file is longer than the target", err);
        f->new_length = f->old_length + grown;
        r = code_packed_head(p, f, err);
        if (r < 0)
                return r;

        r = place_pieces(p, f, err);
        if (r < 0)
                return r;
        return c->failed ? damaged(p, "a file's table ends early", err) : 0;
}

static int open_file(struct delta_program *p, struct delta_op *op, struct err **err) {
        _cleanup_(file_freep) struct delta_program_file *f = NULL;
        if (p->n_open == DELTA_FILES_OPEN_MAX) {
                if (!p->c->decoding)
                        file_free(TAKE_PTR(op->file));
                return damaged(p, "too many files are open", err);
        }
        if (p->c->decoding)
                f = calloc(1, sizeof(*f));
        else
                f = TAKE_PTR(op->file);
        if (!f)
                return err_set_errno(err, ENOMEM, "hold a file's table");
        delta_content_forget(p->content);
        int r = code_file(p, f, err);
        if (r < 0)
                return r;
        p->n_pieces += f->n_pieces;
        p->n_extents += f->n_extents;
        p->side += f->side.len;
        p->packed += f->packed ? f->new_length : 0;
        p->open[p->n_open++] = (struct open_file){.file = TAKE_PTR(f)};
        return 0;
}

static void close_file(struct delta_program *p, uint32_t i) {
        struct delta_program_file *f = p->open[i].file;
        if (p->predicted == f) {
                p->predictor = delta_predictor_free(p->predictor);
                p->predicted = NULL;
        }
        p->n_pieces -= f->n_pieces;
        p->n_extents -= f->n_extents;
        p->side -= f->side.len;
        p->packed -= f->packed ? f->new_length : 0;
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

static uint64_t bits_written(const struct delta_program *p) {
        uint64_t bits = 0;
        const struct delta_coder *coders[] = {p->c, p->io.tables_coder};
        for (unsigned i = 0; i < 2 && p->io.cost; i++)
                bits += (coders[i]->bytes + coders[i]->n + 2 * coders[i]->pending) * 8 +
                        (uint64_t)__builtin_clzll(coders[i]->range);
        return bits;
}

static void note_cost(struct delta_program *p, const struct delta_run *run, uint64_t since) {
        if (p->io.cost)
                p->io.cost(p->io.arg, run, bits_written(p) - since);
}

static const char *content_name(unsigned content) {
        static const char *const names[] = {"binary", "text", "metadata", "code", "other", "other"};
        return content < ARRAY_SIZE(names) ? names[content] : "other";
}

/* How a chunk of new bytes is told. */
enum { NEW_CODED, NEW_RAW, NEW_ZERO };

static unsigned choose_new(const uint8_t *p, size_t n) {
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

static int code_new(struct delta_program *p, unsigned content, const char *kind, int64_t at, size_t n,
                    struct err **err) {
        int r = 0;
        struct delta_run run = {DELTA_OP_LITERAL, kind, p->position, (int64_t)n, 0};
        uint64_t since = bits_written(p), extra = 0;
        unsigned mode = NEW_CODED;
        if (!p->c->decoding) {
                r = p->io.read_target(p->io.arg, p->position, p->bytes, n);
                if (r < 0)
                        return err_set_errno(err, -r, "read the target");
                mode = choose_new(p->bytes, n);
        }
        mode = code_tree(p->c, p->gap_mode[content], 2, mode);
        if (mode == NEW_CODED)
                delta_content_literal(p->content, p->c, content, at, p->bytes, n);
        else if (mode == NEW_ZERO) {
                memset(p->bytes, 0, n);
                delta_content_note(p->content, p->bytes, n);
                run.type = DELTA_OP_ZERO;
        } else if (mode == NEW_RAW) {
                r = p->c->decoding ? p->io.read_raw(p->io.arg, p->bytes, n)
                                   : p->io.write_raw(p->io.arg, p->bytes, n);
                if (r == -ENODATA)
                        return damaged(p, "its raw bytes end early", err);
                if (r < 0)
                        return err_set_errno(err, -r, "raw bytes");
                run.type = DELTA_OP_RAW;
                extra = 8 * n;
                delta_content_note(p->content, p->bytes, n);
        } else
                return damaged(p, "bytes are told in no known way", err);
        if (p->c->failed)
                return damaged(p, "it ends early", err);
        note_cost(p, &run, since - extra);
        return p->c->decoding ? p->io.made(p->io.arg, &run, p->bytes) : 0;
}

/* Bytes of which p->predicted_bytes are the prediction. */
static int code_difference(struct delta_program *p, unsigned content, const char *kind, int64_t at, size_t n,
                           struct err **err) {
        struct delta_run run = {DELTA_OP_MATCH, kind, p->position, (int64_t)n, 0};
        uint64_t since = bits_written(p);
        if (!p->c->decoding) {
                int r = p->io.read_target(p->io.arg, p->position, p->bytes, n);
                if (r < 0)
                        return err_set_errno(err, -r, "read the target");
        }
        delta_content_difference(p->content, p->c, content, at, p->predicted_bytes, p->bytes, n);
        if (p->c->failed)
                return damaged(p, "it ends early", err);
        note_cost(p, &run, since);
        return p->c->decoding ? p->io.made(p->io.arg, &run, p->bytes) : 0;
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
                for (int64_t to = x ? x->new_offset : end; at < to;) {
                        size_t k = (size_t)MIN(to - at, (int64_t)DELTA_CHUNK);
                        delta_content_literal(p->content, p->c, DELTA_CONTENT_TEXT, at, plain + at, k);
                        at += (int64_t)k;
                }
                for (int64_t to = x ? at + x->length : at; at < to;) {
                        size_t k = (size_t)MIN(to - at, (int64_t)DELTA_CHUNK);
                        delta_content_difference(p->content, p->c, DELTA_CONTENT_TEXT, at,
                                                 old + x->old_offset + (at - x->new_offset), plain + at, k);
                        at += (int64_t)k;
                }
                if (p->c->failed)
                        return damaged(p, "it ends early", err);
        }
        return 0;
}

static int code_packed(struct delta_program *p, struct delta_program_file *f, struct err **err) {
        struct delta_packed *x = f->packed;
        _cleanup_(x_freep) uint8_t *old = NULL;
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        const struct delta_run run = {DELTA_OP_MATCH, "gzip", p->position, f->new_length, 0};
        uint64_t since = bits_written(p);
        if (!x)
                return 0;
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
        if (p->c->decoding) {
                x->plain = malloc((size_t)x->new_plain_length + 1);
                x->bytes = malloc((size_t)f->new_length + 1);
                if (!x->plain || !x->bytes)
                        return err_set_errno(err, ENOMEM, "hold a packed file");
        }
        r = code_plain_bytes(p, f, old, x->plain, err);
        if (r < 0)
                return r;
        int64_t rest = x->head_length + x->kept;
        delta_content_literal(p->content, p->c, DELTA_CONTENT_BINARY, 0, x->bytes, (size_t)x->head_length);
        delta_content_literal(p->content, p->c, DELTA_CONTENT_BINARY, rest, x->bytes + rest,
                              (size_t)(f->new_length - rest));
        if (p->c->failed)
                return damaged(p, "it ends early", err);
        note_cost(p, &run, since);
        if (!p->c->decoding)
                return 0;
        free(TAKE_PTR(old));
        out.limit = (size_t)DELTA_PACKED_MAX * 2;
        r = delta_deflate(&x->style, x->plain, (size_t)x->new_plain_length, p->io.cancel, &out);
        free(TAKE_PTR(x->plain));
        if (r == -ECANCELED)
                return err_set(err, ECANCELED, "canceled at byte %lld of the target", (long long)p->position);
        if (r == -ENOMEM)
                return err_set_errno(err, ENOMEM, "pack a file");
        if (r < 0 || (int64_t)out.len < x->kept)
                return damaged(p, "a packed file is shorter than it says", err);
        if (x->kept > 0)
                memcpy(x->bytes + x->head_length, out.data, (size_t)x->kept);
        return 0;
}

static int packed_bytes(struct delta_program *p, struct open_file *o, int64_t n) {
        const struct delta_run run = {DELTA_OP_MATCH, "gzip", p->position, n, 0};
        const uint8_t *bytes = o->file->packed->bytes + o->at;
        p->position += n;
        o->at += n;
        return p->c->decoding ? p->io.made(p->io.arg, &run, bytes) : 0;
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
                unsigned content = f->content;
                if (f->predictor != DELTA_PREDICT_NONE) {
                        kind = delta_predictor_kind_at(p->predictor, o->at);
                        content = delta_content_kind(kind);
                }
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
                        r = code_difference(p, content, kind, o->at, k, err);
                } else
                        r = code_new(p, content, kind, o->at, k, err);
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
        unsigned slot = p->position % 4096 != 0 || op->length < 4096;
        int64_t jump = code_jump(p->c, &p->seed[slot], op->seed - p->seed_next[slot]);
        if (jump < -p->seed_next[slot] || jump > p->io.seed_length - p->seed_next[slot] ||
            op->length > p->io.seed_length - p->seed_next[slot] - jump)
                return damaged(p, "it copies from outside of the seed", err);
        op->seed = p->seed_next[slot] + jump;
        p->seed_next[slot] = op->seed + op->length;
        return 0;
}

static int made(struct delta_program *p, struct delta_op *op) {
        const struct delta_run run = {op->type, NULL, p->position, op->length, op->seed};
        delta_content_forget(p->content);
        p->position += op->length;
        return p->c->decoding ? p->io.made(p->io.arg, &run, NULL) : 0;
}

static int code_plain(struct delta_program *p, struct delta_op *op, struct err **err) {
        delta_content_forget(p->content);
        for (int64_t done = 0; done < op->length;) {
                size_t k = (size_t)MIN(op->length - done, (int64_t)DELTA_CHUNK);
                int r;
                if (op->type == DELTA_OP_MATCH) {
                        r = p->io.read_seed(p->io.arg, op->seed + done, p->predicted_bytes, k);
                        if (r < 0)
                                return seed_error(r, err);
                        r = code_difference(p, op->content, content_name(op->content), p->position, k, err);
                } else
                        r = code_new(p, op->content, content_name(op->content), p->position, k, err);
                if (r < 0)
                        return r;
                p->position += (int64_t)k;
                done += (int64_t)k;
        }
        return 0;
}

static int code_file_op(struct delta_program *p, struct delta_op *op, struct err **err) {
        int r;
        if (op->type == DELTA_OP_FILE) {
                struct delta_run run = {DELTA_OP_FILE, "file tables", p->position, 0, 0};
                uint64_t since = bits_written(p);
                r = open_file(p, op, err);
                if (r < 0)
                        return r;
                op->index = 0;
                note_cost(p, &run, since);
                r = code_packed(p, p->open[p->n_open - 1].file, err);
                if (r < 0)
                        return r;
        } else {
                uint64_t index = delta_coder_number(p->c, &p->index, op->index);
                if (index >= p->n_open)
                        return damaged(p, "it goes on with a file that is not open", err);
                op->index = (uint32_t)index;
                delta_content_forget(p->content);
        }
        uint32_t i = p->n_open - 1 - op->index;
        struct open_file *o = &p->open[i];
        if (delta_coder_adaptive(p->c, &p->skips, op->skip != 0))
                op->skip = delta_coder_signed(p->c, &p->skip, op->skip);
        else
                op->skip = 0;
        op->last = delta_coder_adaptive(p->c, &p->last[op->type == DELTA_OP_MORE], op->last);
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

int delta_program_step(struct delta_program *p, struct delta_op *op, struct err **err) {
        struct delta_run run = {DELTA_OP_END, "operations", p->position, 0, 0};
        uint64_t since = bits_written(p);
        op->type = (enum delta_op_type)code_tree(p->c, p->type[p->last_type], 3, op->type);
        if (p->c->failed)
                return damaged(p, "it ends early", err);
        p->last_type = op->type;
        if (op->type == DELTA_OP_END && !p->c->decoding) {
                int r = delta_tables_put_end(p->tables);
                if (r < 0)
                        return err_set_errno(err, -r, "write the delta's tables");
        }
        if (op->type == DELTA_OP_END)
                return p->position == p->io.target_length ? 0 : damaged(p, "it ends before the target", err);
        uint64_t length = code_place(p->c, &p->length[op->type], (uint64_t)op->length);
        if (p->c->failed || length == 0 || length > (uint64_t)(p->io.target_length - p->position))
                return damaged(p, "it makes more than the target", err);
        op->length = (int64_t)length;
        int r = 0;
        switch (op->type) {
        case DELTA_OP_ZERO: break;
        case DELTA_OP_MATCH:
        case DELTA_OP_LITERAL:
        case DELTA_OP_RAW: op->content = code_tree(p->c, p->class, 3, op->content); break;
        default: break;
        }
        if (op->type == DELTA_OP_COPY || op->type == DELTA_OP_MATCH)
                r = code_seed(p, op, err);
        if (r < 0)
                return r;
        note_cost(p, &run, since);
        switch (op->type) {
        case DELTA_OP_ZERO:
        case DELTA_OP_COPY: return made(p, op);
        case DELTA_OP_FILE:
        case DELTA_OP_MORE: return code_file_op(p, op, err);
        default: return code_plain(p, op, err);
        }
}
