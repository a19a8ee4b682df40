/* SPDX-License-Identifier: Apache-2.0 */
/* The entropy coder of deltas: a binary range coder, adaptive bits and numbers on top of it
 * (docs/formats/delta.md, "Coding").
 *
 * Coding is symmetrical: the same function, called in the same order with the same contexts, writes a value
 * or reads it, as `decoding` says. So maker and node cannot part ways. Integers only: the same on every
 * machine. One thread. */
#pragma once

#include "base/buf.h"

struct delta_coder {
        bool decoding;
        int failed; /* 0 or the first -Exxx: of read or write, -EBADMSG past the end; values read are then 0
                     */
        uint64_t low, range, code;
        /* encoding */
        uint64_t pending; /* units of 0xffff that a carry may still turn over */
        uint32_t cache;   /* the unit before them */
        bool started;
        uint64_t bytes; /* written */
        int (*write)(void *arg, const uint8_t *p, size_t n);
        /* decoding: at most n bytes, 0 at the end */
        ssize_t (*read)(void *arg, uint8_t *p, size_t n);
        void *arg;
        size_t at, n;
        unsigned past; /* bytes invented past the end */
        uint8_t window[16384];
};

void delta_coder_init_write(struct delta_coder *c, int (*write)(void *arg, const uint8_t *p, size_t n),
                            void *arg);
void delta_coder_init_read(struct delta_coder *c, ssize_t (*read)(void *arg, uint8_t *p, size_t n),
                           void *arg);
/* Ends a stream that is written. */
int delta_coder_finish(struct delta_coder *c);

uint32_t delta_coder_unit(struct delta_coder *c); /* next 16 bits; for delta_coder_bit() */
void delta_coder_shift(struct delta_coder *c);

/* What a bit changes when it is read, for loops that hold it in registers. */
struct delta_reading {
        uint64_t range, code;
};
static inline unsigned delta_coder_read_bit(struct delta_coder *c, struct delta_reading *r,
                                            uint32_t probability) {
        uint64_t bound = (r->range >> 16) * probability;
        unsigned bit = r->code < bound;
        if (bit)
                r->range = bound;
        else {
                r->code -= bound;
                r->range -= bound;
        }
        while (r->range < (1ull << 32)) {
                r->range <<= 16;
                r->code = r->code << 16 | delta_coder_unit(c);
        }
        return bit;
}
static inline void delta_coder_write_bit(struct delta_coder *c, uint32_t probability, unsigned bit) {
        uint64_t bound = (c->range >> 16) * probability;
        if (bit)
                c->range = bound;
        else {
                c->low += bound;
                c->range -= bound;
        }
        while (c->range < (1ull << 32)) {
                c->range <<= 16;
                delta_coder_shift(c);
        }
}

/* One bit, probability of 1 in 1/65536, 1 to 65535. */
static inline unsigned delta_coder_bit(struct delta_coder *c, uint32_t probability, unsigned bit) {
        if (!c->decoding) {
                delta_coder_write_bit(c, probability, bit);
                return bit;
        }
        struct delta_reading r = {c->range, c->code};
        bit = delta_coder_read_bit(c, &r, probability);
        c->range = r.range;
        c->code = r.code;
        return bit;
}

/* A bit whose probability is learnt: 22 bits of probability, 10 of how often it was seen. */
typedef uint32_t delta_bit;
#define DELTA_BIT_INIT ((delta_bit)1 << 31)
#define DELTA_BIT_LIMIT 250
extern const uint16_t delta_bit_rate[DELTA_BIT_LIMIT + 1]; /* 65536 / (n + 1.6) */

static inline uint32_t delta_bit_probability(delta_bit b) { /* of 65536 */
        uint32_t p = b >> 16;
        return p < 16 ? 16 : p > 65520 ? 65520 : p;
}
static inline void delta_bit_update(delta_bit *b, unsigned bit) {
        uint32_t n = *b & 1023;
        int32_t p = (int32_t)(*b >> 10);
        p += (int32_t)(((int64_t)((bit << 22) - bit) - p) * delta_bit_rate[n] / 65536);
        *b = (uint32_t)p << 10 | (n < DELTA_BIT_LIMIT ? n + 1 : n);
}
static inline unsigned delta_coder_adaptive(struct delta_coder *c, delta_bit *b, unsigned bit) {
        bit = delta_coder_bit(c, delta_bit_probability(*b), bit);
        delta_bit_update(b, bit);
        return bit;
}

/* Whole numbers below 2^62: the count of bits by a tree, then the bits, the three below the highest by their
 * own models. */
struct delta_number {
        delta_bit count[64];
        delta_bit top[64][8];
        delta_bit low[16]; /* the lowest four bits of longer ones: alignment shows there */
};
void delta_number_init(struct delta_number *m);
uint64_t delta_coder_number(struct delta_coder *c, struct delta_number *m, uint64_t value);
/* Also below zero: sign first. */
struct delta_signed {
        delta_bit zero, sign[2];
        struct delta_number size[2];
        unsigned last; /* sign of the one before */
};
void delta_signed_init(struct delta_signed *m);
int64_t delta_coder_signed(struct delta_coder *c, struct delta_signed *m, int64_t value);
/* 0 to 255 by a tree of 256 bits. */
unsigned delta_coder_symbol(struct delta_coder *c, delta_bit tree[256], unsigned value);
void delta_bits_init(delta_bit *b, size_t n);
