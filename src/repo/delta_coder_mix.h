/* SPDX-License-Identifier: Apache-2.0 */
/* Logistic mixing in whole numbers: several probabilities of the next bit, weighed by how well each did
 * (M. Mahoney, "Adaptive Weighing of Context Models for Lossless Data Compression", 2005). */
#pragma once

#include "base/macros.h"

#define DELTA_MIX_INPUTS 8 /* of every mixer; those that are not used are 0 */

/* Domain: 1/256 of ln(p / (1 - p)), -2047 to 2047. */
struct delta_logistic {
        uint16_t squash[4096]; /* of 65536, for x + 2048 */
        int16_t stretch[4096]; /* for p of 4096 */
};
void delta_logistic_init(struct delta_logistic *l);

/* The mean of two outcomes in the domain, as a probability that the range coder takes. */
static inline uint32_t delta_logistic_mean(const struct delta_logistic *l, int a, int b) {
        uint32_t p = l->squash[2048 + (a + b) / 2];
        return p < 32 ? 32 : p > 65504 ? 65504 : p;
}

struct delta_mixer {
        unsigned mask; /* sets of weights - 1 */
        int32_t *weights;
        int32_t *chosen;
};
/* sets: a power of two. -ENOMEM. */
int delta_mixer_init(struct delta_mixer *m, unsigned inputs, unsigned sets, int32_t weight);
void delta_mixer_done(struct delta_mixer *m);

/* Products wrap around rather than overflow: the same on every machine. */
static inline int delta_mixer_dot(struct delta_mixer *m, const int32_t x[DELTA_MIX_INPUTS], unsigned set) {
        const int32_t *w = m->chosen = m->weights + (size_t)(set & m->mask) * DELTA_MIX_INPUTS;
        int32_t sum = 0;
        for (unsigned i = 0; i < DELTA_MIX_INPUTS; i++)
                sum += (int32_t)((uint32_t)x[i] * (uint32_t)w[i]) >> 8;
        sum >>= 8;
        return sum > 2047 ? 2047 : sum < -2047 ? -2047 : sum;
}

/* With the set chosen last. error: bit << 16 minus the probability that this mixer had given. */
static inline void delta_mixer_update(struct delta_mixer *m, const int32_t x[DELTA_MIX_INPUTS],
                                      int32_t error) {
        int32_t *w = m->chosen;
        for (unsigned i = 0; i < DELTA_MIX_INPUTS; i++) /* below 2^28 */
                w[i] = (int32_t)((uint32_t)w[i] + (uint32_t)((x[i] * error + (1 << 16)) >> 17));
}

static inline uint32_t delta_mix_hash(uint64_t v) {
        v *= 0x9e3779b97f4a7c15u;
        return (uint32_t)(v >> 32) ^ (uint32_t)v;
}
