/* SPDX-License-Identifier: Apache-2.0 */
/* Logistic mixing in whole numbers: several probabilities of the next bit, weighed by how well each did
 * (M. Mahoney, "Adaptive Weighing of Context Models for Lossless Data Compression", 2005). */
#pragma once

#include "repo/delta/coder.h"

#define DELTA_MIX_BITS 3 /* learnt bits that are mixed; a constant is the fourth input */

/* Domain: 1/256 of ln(p / (1 - p)), -2047 to 2047. */
struct delta_logistic {
        uint16_t squash[4096]; /* of 65536, for x + 2048 */
        int16_t stretch[4096]; /* for p of 4096 */
};
void delta_logistic_init(struct delta_logistic *l);

struct delta_mixer {
        uint32_t mask; /* sets of weights - 1 */
        int32_t (*weights)[DELTA_MIX_BITS + 1];
};
/* sets: a power of two. -ENOMEM. */
int delta_mixer_init(struct delta_mixer *m, unsigned sets);
void delta_mixer_done(struct delta_mixer *m);

/* Codes a bit by what three learnt bits say of it. Products are of 64 bits and sums wrap around: the same on
 * every machine. r: the coder reads, and this stands for its state; or NULL. */
static inline unsigned delta_mixer_code(struct delta_mixer *m, const struct delta_logistic *l,
                                        struct delta_coder *c, struct delta_reading *r, uint32_t set,
                                        delta_bit *const bits[DELTA_MIX_BITS], unsigned bit) {
        int32_t *w = m->weights[set & m->mask];
        int32_t x0 = l->stretch[*bits[0] >> 20], x1 = l->stretch[*bits[1] >> 20],
                x2 = l->stretch[*bits[2] >> 20];
        int64_t sum =
                ((int64_t)x0 * w[0] + (int64_t)x1 * w[1] + (int64_t)x2 * w[2] + (int64_t)256 * w[3]) >> 16;
        int dot = sum > 2047 ? 2047 : sum < -2047 ? -2047 : (int)sum;
        int32_t guess = l->squash[2048 + dot];
        uint32_t p = (uint32_t)(guess < 32 ? 32 : guess > 65504 ? 65504 : guess);
        bit = r ? delta_coder_read_bit(c, r, p) : delta_coder_bit(c, p, bit);
        int32_t error = (int32_t)(bit << 16) - guess;
        w[0] = (int32_t)((uint32_t)w[0] + (uint32_t)((x0 * error + (1 << 15)) >> 16));
        w[1] = (int32_t)((uint32_t)w[1] + (uint32_t)((x1 * error + (1 << 15)) >> 16));
        w[2] = (int32_t)((uint32_t)w[2] + (uint32_t)((x2 * error + (1 << 15)) >> 16));
        w[3] = (int32_t)((uint32_t)w[3] + (uint32_t)((256 * error + (1 << 15)) >> 16));
        for (unsigned i = 0; i < DELTA_MIX_BITS; i++)
                delta_bit_update(bits[i], bit);
        return bit;
}

static inline uint32_t delta_mix_hash(uint64_t v) {
        v *= 0x9e3779b97f4a7c15u;
        return (uint32_t)(v >> 32) ^ (uint32_t)v;
}
