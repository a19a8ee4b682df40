/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of the delta's predictors do with a pair of files: match, predict every piece whole and in
 * parts, and count what is not right. */
#pragma once

#include <string.h>

#include "repo/delta/predict.h"

struct predicted_pair {
        struct delta_pair pair;
        struct delta_match match;
        struct delta_map map;
        uint32_t *by_old;
        struct delta_file old_file;
        struct delta_shared *shared;
        struct delta_predictor *predictor;
};

static inline int pair_read(void *arg, int64_t offset, void *p, size_t n) {
        const struct delta_pair *pair = arg;
        if (offset < 0 || (uint64_t)n > INT64_MAX || offset > pair->old_length - (int64_t)n)
                return -5; /* EIO: a predictor asked for what is not there */
        memcpy(p, pair->old_data + offset, n);
        return 0;
}

/* The order of the pieces by old offset; pieces are few. */
static inline uint32_t *order_by_old(const struct delta_piece *pieces, size_t n) {
        uint32_t *order = calloc(n + 1, sizeof(*order));
        for (size_t i = 0; order && i < n; i++) {
                size_t j = i;
                for (; j > 0 && pieces[order[j - 1]].old_offset > pieces[i].old_offset; j--)
                        order[j] = order[j - 1];
                order[j] = (uint32_t)i;
        }
        return order;
}

/* Matches, makes and reads back shared tables, makes a predictor. */
static inline int predicted_pair_init(struct predicted_pair *p, const void *old_data, size_t n_old,
                                      const void *new_data, size_t n_new) {
        *p = (struct predicted_pair){.pair = {old_data, new_data, (int64_t)n_old, (int64_t)n_new}};
        int r = delta_match_pair(&p->pair, &p->match, NULL);
        if (r < 0)
                return r;
        struct delta_shared_maker *maker = NULL;
        struct buf tables = BUF_INIT;
        r = delta_shared_maker_new(&maker);
        if (r == 0)
                r = delta_shared_maker_add(maker, &p->pair, &p->match);
        if (r == 0)
                r = delta_shared_maker_encode(maker, &tables);
        if (r == 0)
                r = delta_shared_parse(tables.data, tables.len, &p->shared, NULL);
        delta_shared_maker_free(maker);
        buf_done(&tables);
        if (r < 0)
                return r;
        p->by_old = order_by_old(p->match.pieces, p->match.n_pieces);
        p->map = (struct delta_map){p->match.pieces, p->by_old, p->match.n_pieces};
        p->old_file = (struct delta_file){p->pair.old_length, pair_read, &p->pair};
        return delta_predictor_new(p->match.kind, &p->old_file, p->pair.new_length, &p->map,
                                   p->match.side.data, p->match.side.len, p->shared, &p->predictor, NULL);
}

static inline void predicted_pair_done(struct predicted_pair *p) {
        delta_predictor_free(p->predictor);
        delta_shared_free(p->shared);
        delta_match_done(&p->match);
        free(p->by_old);
        *p = (struct predicted_pair){0};
}

/* Whether pieces rise in the new file without overlap and lie within both files. */
static inline bool pieces_hold(const struct predicted_pair *p) {
        int64_t end = 0;
        for (size_t i = 0; i < p->match.n_pieces; i++) {
                const struct delta_piece *piece = &p->match.pieces[i];
                if (piece->length <= 0 || piece->old_offset < 0 || piece->new_offset < end ||
                    piece->old_offset > p->pair.old_length - piece->length ||
                    piece->new_offset > p->pair.new_length - piece->length)
                        return false;
                end = piece->new_offset + piece->length;
        }
        return true;
}

/* New bytes in [from, to) that no piece covers or that are predicted otherwise; -1: a prediction failed, or
 * came out otherwise in parts of `step` bytes, from the last to the first. */
static inline int64_t wrong_bytes(struct predicted_pair *p, int64_t from, int64_t to, size_t step) {
        int64_t wrong = to - from;
        for (size_t i = 0; i < p->match.n_pieces; i++) {
                const struct delta_piece *piece = &p->match.pieces[i];
                size_t n = (size_t)piece->length;
                uint8_t *whole = calloc(1, n), *parts = calloc(1, n);
                int r = delta_predictor_predict(p->predictor, piece->old_offset, piece->new_offset, n, whole);
                for (size_t at = (n - 1) / step * step;; at -= step) {
                        if (r == 0)
                                r = delta_predictor_predict(p->predictor, piece->old_offset + (int64_t)at,
                                                            piece->new_offset + (int64_t)at,
                                                            MIN(step, n - at), parts + at);
                        if (at == 0)
                                break;
                }
                if (r < 0 || memcmp(whole, parts, n) != 0)
                        wrong = INT64_MIN;
                for (size_t k = 0; k < n && wrong != INT64_MIN; k++) {
                        int64_t at = piece->new_offset + (int64_t)k;
                        if (at >= from && at < to && whole[k] == p->pair.new_data[at])
                                wrong--;
                }
                free(whole);
                free(parts);
                if (wrong == INT64_MIN)
                        return -1;
        }
        return wrong;
}
