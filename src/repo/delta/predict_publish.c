/* SPDX-License-Identifier: Apache-2.0 */
/* The publisher's side of the predictors; nodes do not link it. */
#include <errno.h>
#include <string.h>

#include "repo/delta/elf_match.h"
#include "repo/delta/match.h"
#include "repo/delta/predict_internal.h"

/* ---- Matching */

void delta_match_done(struct delta_match *m) {
        free(m->pieces);
        buf_done(&m->side);
        *m = (struct delta_match){0};
}

static bool is_elf(const uint8_t *p, int64_t n) {
        return n >= 64 && memcmp(p, "\177ELF", 4) == 0;
}

int delta_match_pair(const struct delta_pair *pair, struct delta_match *ret, struct err **err) {
        struct delta_pieces pieces = {0};
        struct buf side = BUF_INIT;
        unsigned kind = DELTA_PREDICT_NONE;
        int r = -EBADMSG;
        if (is_elf(pair->old_data, pair->old_length) && is_elf(pair->new_data, pair->new_length)) {
                r = delta_elf_match(pair, &pieces, &side);
                if (r == 0)
                        kind = DELTA_PREDICT_ELF;
        }
        if (r == -EBADMSG) {
                r = delta_match_bytes(pair->old_data, (size_t)pair->old_length, pair->new_data,
                                      (size_t)pair->new_length, 0, 0, &pieces);
                if (r == 0)
                        delta_pieces_sort(&pieces);
        }
        if (r < 0) {
                delta_pieces_done(&pieces);
                buf_done(&side);
                return err_set(err, -r, "delta: no memory to match files of %lld and %lld bytes",
                               (long long)pair->old_length, (long long)pair->new_length);
        }
        *ret = (struct delta_match){.kind = kind, .pieces = pieces.items, .n_pieces = pieces.n, .side = side};
        return 0;
}
