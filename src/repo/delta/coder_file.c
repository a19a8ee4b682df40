/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/coder_file.h"

#include <errno.h>
#include <string.h>

#include "repo/delta/format.h"

void delta_program_file_done(struct delta_program_file *f) {
        if (!f)
                return;
        free(f->extents);
        free(f->pieces);
        free(f->by_old);
        buf_done(&f->side);
        f->packed = delta_packed_free(f->packed);
}

/* ---- Limits */

bool delta_held_has_room(const struct delta_held *h, size_t pieces, size_t extents, size_t side,
                         int64_t packed) {
        return pieces <= DELTA_PIECES_MAX - h->pieces && extents <= DELTA_EXTENTS_MAX - h->extents &&
               side <= DELTA_SIDE_MAX - h->side && packed <= DELTA_PACKED_MAX - h->packed;
}

void delta_held_add(struct delta_held *h, const struct delta_program_file *f) {
        h->pieces += f->n_pieces;
        h->extents += f->n_extents;
        h->side += f->side.len;
        h->packed += f->packed ? f->new_length : 0;
}

void delta_held_remove(struct delta_held *h, const struct delta_program_file *f) {
        h->pieces -= f->n_pieces;
        h->extents -= f->n_extents;
        h->side -= f->side.len;
        h->packed -= f->packed ? f->new_length : 0;
}

static int damaged(const struct delta_columns *c, const char *what, const char **ret_what) {
        *ret_what = what;
        int r = delta_columns_failed(c);
        return r < 0 ? r : -EBADMSG;
}

/* ---- Parts of a table */

int delta_side_code(struct delta_columns *c, size_t max, struct buf *b) {
        uint64_t n = delta_columns_number(c, DELTA_FILES, b->len);
        if (delta_columns_failed(c) || n > max)
                return -EBADMSG;
        if (delta_columns_reading(c) && n > 0) {
                int r = buf_reserve(b, n);
                if (r < 0)
                        return r;
                b->len = n;
        }
        if (n > 0)
                delta_columns_bytes(c, DELTA_SIDE, (uint8_t *)b->data, n);
        return delta_columns_failed(c);
}

static int code_extents(struct delta_columns *c, struct delta_seed_places *seed,
                        const struct delta_held *held, struct delta_program_file *f, const char **ret_what) {
        uint64_t n = delta_columns_number(c, DELTA_FILES, f->n_extents);
        if (n > DELTA_EXTENTS_MAX || !delta_held_has_room(held, 0, n, 0, 0))
                return damaged(c, "too many extents", ret_what);
        if (delta_columns_reading(c))
                f->extents = calloc(n + 1, sizeof(*f->extents));
        if (!f->extents)
                return -ENOMEM;
        f->n_extents = (uint32_t)n;
        f->old_length = 0;
        for (uint32_t i = 0; i < f->n_extents; i++) {
                struct delta_extent *x = &f->extents[i];
                int64_t *next = &seed->next[i > 0];
                uint64_t length = delta_columns_place(c, DELTA_FILES, (uint64_t)x->length);
                int64_t jump = delta_columns_jump(c, DELTA_JUMPS, x->offset - *next);
                if (delta_columns_failed(c) || length > (uint64_t)seed->length || jump < -*next ||
                    jump > seed->length - *next || (int64_t)length > seed->length - *next - jump)
                        return damaged(c, "an old file lies outside of the seed", ret_what);
                x->offset = *next + jump;
                x->length = (int64_t)length;
                *next = x->offset + x->length;
                f->old_length += x->length;
                if (f->old_length > DELTA_LENGTH_MAX)
                        return damaged(c, "an old file is too long", ret_what);
        }
        return 0;
}

/* How a packed file is made; a number of 0 says that this is none. */
static int code_packed(struct delta_columns *c, const struct delta_held *held, struct delta_program_file *f,
                       const char **ret_what) {
        if (delta_columns_number(c, DELTA_FILES, f->packed != NULL) == 0)
                return 0;
        if (delta_columns_reading(c))
                f->packed = calloc(1, sizeof(*f->packed));
        struct delta_packed *x = f->packed;
        if (!x)
                return -ENOMEM;
        uint64_t numbers[] = {(uint64_t)x->old_skip, (uint64_t)x->old_plain_length,
                              (uint64_t)x->new_plain_length, (uint64_t)x->head_length,
                              (uint64_t)(f->new_length - x->head_length - x->kept)};
        for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++)
                numbers[i] = delta_columns_number(c, DELTA_FILES, numbers[i]);
        uint8_t *style[] = {&x->style.level, &x->style.hash_bits, &x->style.block_bits, &x->style.truncates};
        for (unsigned i = 0; i < ARRAY_SIZE(style); i++)
                *style[i] = (uint8_t)delta_columns_number(c, DELTA_FILES, *style[i]);
        if (delta_columns_failed(c) || f->predictor != DELTA_PREDICT_NONE ||
            numbers[0] > (uint64_t)f->old_length || numbers[1] > DELTA_PLAIN_MAX ||
            numbers[2] > DELTA_PLAIN_MAX || f->new_length > DELTA_PACKED_MAX ||
            !delta_held_has_room(held, 0, 0, 0, f->new_length) || numbers[3] > (uint64_t)f->new_length ||
            numbers[4] > (uint64_t)f->new_length - numbers[3])
                return damaged(c, "a packed file is past its limits", ret_what);
        x->old_skip = (int64_t)numbers[0];
        x->old_plain_length = (int64_t)numbers[1];
        x->new_plain_length = (int64_t)numbers[2];
        x->head_length = (int64_t)numbers[3];
        x->kept = f->new_length - (int64_t)numbers[3] - (int64_t)numbers[4];
        return 0;
}

static int sort_by_old(const void *a, const void *b, void *arg) {
        const struct delta_piece *pieces = arg;
        uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
        int64_t ox = pieces[x].old_offset, oy = pieces[y].old_offset;
        return ox != oy ? (ox < oy ? -1 : 1) : x < y ? -1 : x > y;
}

static int code_pieces(struct delta_columns *c, const struct delta_held *held, struct delta_program_file *f,
                       const char **ret_what) {
        int64_t old_length = f->packed ? f->packed->old_plain_length : f->old_length;
        int64_t new_length = f->packed ? f->packed->new_plain_length : f->new_length;
        uint64_t n = delta_columns_number(c, DELTA_FILES, f->n_pieces);
        if (n > DELTA_PIECES_MAX || !delta_held_has_room(held, n, 0, 0, 0))
                return damaged(c, "too many pieces", ret_what);
        if (delta_columns_reading(c))
                f->pieces = calloc(n + 1, sizeof(*f->pieces));
        f->by_old = calloc(n + 1, sizeof(*f->by_old));
        if (!f->pieces || !f->by_old)
                return -ENOMEM;
        f->n_pieces = (uint32_t)n;
        int64_t at = 0, old = 0;
        bool sorted = true;
        for (uint32_t i = 0; i < f->n_pieces; i++) {
                struct delta_piece *x = &f->pieces[i];
                uint64_t gap = delta_columns_number(c, DELTA_PIECE_GAPS, (uint64_t)(x->new_offset - at));
                int64_t jump = delta_columns_signed(c, DELTA_PIECE_JUMPS, x->old_offset - old);
                uint64_t length = delta_columns_number(c, DELTA_PIECE_LENGTHS, (uint64_t)x->length - 1);
                if (delta_columns_failed(c) || gap > (uint64_t)(new_length - at) ||
                    length >= (uint64_t)(new_length - at) - gap || jump < -old || jump > old_length - old ||
                    length >= (uint64_t)(old_length - old - jump))
                        return damaged(c, "a piece of a file lies outside of it", ret_what);
                sorted = sorted && (i == 0 || jump >= -f->pieces[i - 1].length);
                *x = (struct delta_piece){old + jump, at + (int64_t)gap, (int64_t)length + 1};
                at = x->new_offset + x->length;
                old = x->old_offset + x->length;
                f->by_old[i] = i;
        }
        if (!sorted)
                qsort_r(f->by_old, f->n_pieces, sizeof(*f->by_old), sort_by_old, f->pieces);
        return 0;
}

/* ---- The whole */

int delta_file_code(struct delta_columns *c, struct delta_seed_places *seed, const struct delta_held *held,
                    int64_t target_length, struct delta_program_file *f, const char **ret_what) {
        f->predictor = (unsigned)delta_columns_number(c, DELTA_FILES, f->predictor);
        if (f->predictor >= DELTA_PREDICT_KINDS_MAX)
                return damaged(c, "an unknown predictor", ret_what);
        int r = code_extents(c, seed, held, f, ret_what);
        if (r < 0)
                return r;
        int64_t grown = delta_columns_signed(c, DELTA_FILES, f->new_length - f->old_length);
        if (grown < -f->old_length || grown > target_length - f->old_length)
                return damaged(c, "a file is longer than the target", ret_what);
        f->new_length = f->old_length + grown;
        r = code_packed(c, held, f, ret_what);
        if (r == 0)
                r = code_pieces(c, held, f, ret_what);
        if (r < 0)
                return r;
        r = delta_side_code(c, DELTA_SIDE_MAX, &f->side);
        if (r < 0 || !delta_held_has_room(held, 0, 0, f->side.len, 0))
                return r == -ENOMEM ? r : damaged(c, "too much side information", ret_what);
        return delta_columns_failed(c) ? damaged(c, "a file's table ends early", ret_what) : 0;
}
