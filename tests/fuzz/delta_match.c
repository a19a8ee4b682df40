/* SPDX-License-Identifier: Apache-2.0 */
/* Pairs of hostile files through matching, shared tables and predictors. Four bytes say how long the old one
 * is; it and the new one follow. */
#include "../unit/repo/delta_pairs.h"
#include "repo/delta/predict_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
        if (!holds)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (size < 4 || size > 200000)
                return 0;
        size_t n_old = MIN((size_t)delta_get32(data), size - 4);
        struct predicted_pair p;
        check(predicted_pair_init(&p, data + 4, n_old, data + 4 + n_old, size - 4 - n_old) == 0);
        check(pieces_hold(&p));
        check(wrong_bytes(&p, 0, p.pair.new_length, 97) >= 0);
        for (int64_t at = 0; at < p.pair.new_length; at += 61)
                check(delta_predictor_kind_at(p.predictor, at) != NULL);
        predicted_pair_done(&p);
        return 0;
}
