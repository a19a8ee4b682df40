/* SPDX-License-Identifier: Apache-2.0 */
/* A node's predictor with hostile everything: three lengths of two bytes (side information, shared tables,
 * pieces), these, then the old file. A piece is three numbers of three bytes: a gap in the new file, where it
 * stands in the old one, its length. */
#include "../unit/repo/delta_pairs.h"
#include "repo/delta/predict_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
        if (!holds)
                abort();
}

static uint32_t get24(const uint8_t *p) {
        return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (size < 6 || size > 200000)
                return 0;
        size_t n_side = delta_get16(data), n_shared = delta_get16(data + 2), n_pieces = delta_get16(data + 4);
        if (n_side + n_shared + 9 * n_pieces > size - 6 || n_pieces > 300)
                return 0;
        const uint8_t *side = data + 6, *shared = side + n_side, *pieces = shared + n_shared;
        const uint8_t *old_data = pieces + 9 * n_pieces;
        struct predicted_pair p = {.pair = {old_data, NULL, (int64_t)(data + size - old_data), 1 << 18}};
        p.match.pieces = calloc(n_pieces + 1, sizeof(*p.match.pieces));
        check(p.match.pieces != NULL);
        int64_t end = 0;
        for (size_t i = 0; i < n_pieces; i++) {
                const uint8_t *at = pieces + 9 * i;
                struct delta_piece piece = {get24(at + 3), end + get24(at), get24(at + 6)};
                if (piece.length == 0 || piece.old_offset + piece.length > p.pair.old_length ||
                    piece.new_offset + piece.length > p.pair.new_length)
                        continue;
                end = piece.new_offset + piece.length;
                p.match.pieces[p.match.n_pieces++] = piece;
        }
        p.by_old = order_by_old(p.match.pieces, p.match.n_pieces);
        p.map = (struct delta_map){p.match.pieces, p.by_old, p.match.n_pieces};
        p.old_file = (struct delta_file){p.pair.old_length, pair_read, &p.pair};
        if (delta_shared_parse(shared, n_shared, &p.shared, NULL) == 0 &&
            delta_predictor_new(DELTA_PREDICT_ELF, &p.old_file, p.pair.new_length, &p.map, side, n_side,
                                p.shared, &p.predictor, NULL) == 0) {
                check(wrong_bytes(&p, 0, 0, 101) >= 0);
                check(delta_predictor_kind_at(p.predictor, 4711) != NULL);
        }
        predicted_pair_done(&p);
        return 0;
}
