/* SPDX-License-Identifier: Apache-2.0 */
/* Randomness: secure bytes from the kernel, and a seedable generator for jitter and tests. */
#pragma once

#include "base/macros.h"

/* Fills p from getrandom(2). Aborts the process when the kernel cannot give any: nothing that needs
 * secrets may go on without. */
void random_bytes(void *p, size_t n);

/* A small fast generator (xoshiro256**, Blackman and Vigna 2018); not for secrets. */
struct prng {
        uint64_t s[4];
};
void prng_seed(struct prng *r, uint64_t seed);
void prng_seed_random(struct prng *r);
uint64_t prng_next(struct prng *r);
/* Uniform in [0, n); 0 for n == 0. */
uint64_t prng_below(struct prng *r, uint64_t n);
/* Uniform in [0, 1). */
double prng_unit(struct prng *r);

/* A random id that sorts by time: 26 characters of Crockford base32 (ULID), lower case. */
#define ID_SIZE 27
void id_make(int64_t wall_ms, char out[ID_SIZE]);
