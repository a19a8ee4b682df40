/* SPDX-License-Identifier: Apache-2.0 */
#include "base/random.h"

#include <errno.h>
#include <sys/random.h>

void random_bytes(void *p, size_t n) {
        unsigned char *at = p;
        while (n > 0) {
                ssize_t got = getrandom(at, MIN(n, (size_t)1 << 20), 0);
                if (got < 0) {
                        if (errno == EINTR)
                                continue;
                        abort();
                }
                at += got;
                n -= (size_t)got;
        }
}

static uint64_t rotate_left(uint64_t x, int k) {
        return (x << k) | (x >> (64 - k));
}

void prng_seed(struct prng *r, uint64_t seed) {
        /* SplitMix64 (Steele, Lea, Flood 2014) spreads the seed, as the generator's authors advise: a state
         * of all zeros, from which it would never leave, cannot come out of it. */
        for (size_t i = 0; i < ARRAY_SIZE(r->s); i++) {
                seed += UINT64_C(0x9e3779b97f4a7c15);
                uint64_t z = seed;
                z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
                z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
                r->s[i] = z ^ (z >> 31);
        }
}

void prng_seed_random(struct prng *r) {
        uint64_t seed;
        random_bytes(&seed, sizeof(seed));
        prng_seed(r, seed);
}

uint64_t prng_next(struct prng *r) {
        uint64_t *s = r->s;
        uint64_t result = rotate_left(s[1] * 5, 7) * 9;
        uint64_t t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = rotate_left(s[3], 45);
        return result;
}

uint64_t prng_below(struct prng *r, uint64_t n) {
        if (n == 0)
                return 0;
        /* 2^64 mod n values at the bottom would make the small remainders likelier: draw again. */
        uint64_t skip = -n % n, x;
        do
                x = prng_next(r);
        while (x < skip);
        return x % n;
}

double prng_unit(struct prng *r) {
        return (double)(prng_next(r) >> 11) * 0x1.0p-53;
}

void id_make(int64_t wall_ms, char out[ID_SIZE]) {
        static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";
        uint64_t time = (uint64_t)MAX(wall_ms, 0) & ((UINT64_C(1) << 48) - 1);
        for (int i = 9; i >= 0; i--, time >>= 5)
                out[i] = digits[time & 31];
        /* 80 random bits are 16 digits; taking 5 bits of each of 16 bytes gives just as many. */
        uint8_t bytes[16];
        random_bytes(bytes, sizeof(bytes));
        for (size_t i = 0; i < sizeof(bytes); i++)
                out[10 + i] = digits[bytes[i] & 31];
        out[ID_SIZE - 1] = '\0';
}
