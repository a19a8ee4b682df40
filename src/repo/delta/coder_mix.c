/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/coder_mix.h"

#include <errno.h>

void delta_logistic_init(struct delta_logistic *l) {
        /* e^(-1/256) in units of 2^-32, multiplied up: the same everywhere */
        uint64_t e = (uint64_t)1 << 40;
        for (int x = 0; x < 2048; x++) {
                uint64_t p = ((uint64_t)65536 << 40) / (((uint64_t)1 << 40) + e);
                p = p > 65535 ? 65535 : p;
                l->squash[2048 + x] = (uint16_t)p;
                l->squash[2048 - x] = (uint16_t)(65536 - p > 65535 ? 65535 : 65536 - p);
                e = (uint64_t)(((unsigned __int128)e * 4278222831u) >> 32);
        }
        l->squash[0] = l->squash[1];
        int x = -2047;
        for (int p = 0; p < 4096; p++) {
                while (x < 2047 && l->squash[2048 + x] < p * 16 + 8)
                        x++;
                l->stretch[p] = (int16_t)x;
        }
}

int delta_mixer_init(struct delta_mixer *m, unsigned sets) {
        m->mask = sets - 1;
        m->weights = malloc(sets * sizeof(*m->weights));
        if (!m->weights)
                return -ENOMEM;
        for (unsigned i = 0; i < sets; i++)
                for (unsigned k = 0; k <= DELTA_MIX_BITS; k++)
                        m->weights[i][k] = k < DELTA_MIX_BITS ? 65536 * 2 / 5 : 0;
        return 0;
}

void delta_mixer_done(struct delta_mixer *m) {
        free(m->weights);
        m->weights = NULL;
}
