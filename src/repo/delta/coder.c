/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/coder.h"

#include <errno.h>
#include <string.h>

/* The interval is [low, low + range) of 48 bits; units of 16 bits leave at the top. A carry out of the top
 * turns over the unit held back in `cache` and the 0xffff units counted in `pending`. */
#define RANGE_TOP ((uint64_t)1 << 48)

/* 65536 / (n + 1.6), that is 655360 / (10 n + 16): quick at first, then steady. */
const uint16_t delta_bit_rate[DELTA_BIT_LIMIT + 1] = {
#define R1(n) (uint16_t)(655360 / (10 * (n) + 16))
#define R10(n)                                                                                               \
        R1(n), R1((n) + 1), R1((n) + 2), R1((n) + 3), R1((n) + 4), R1((n) + 5), R1((n) + 6), R1((n) + 7),    \
                R1((n) + 8), R1((n) + 9)
        R10(0),   R10(10),  R10(20),  R10(30),  R10(40),  R10(50),  R10(60),  R10(70),  R10(80),
        R10(90),  R10(100), R10(110), R10(120), R10(130), R10(140), R10(150), R10(160), R10(170),
        R10(180), R10(190), R10(200), R10(210), R10(220), R10(230), R10(240), R1(250),
#undef R10
#undef R1
};

static void init(struct delta_coder *c) {
        memset(c, 0, offsetof(struct delta_coder, window));
        c->range = RANGE_TOP - 1;
}

void delta_coder_init_write(struct delta_coder *c, int (*write)(void *arg, const uint8_t *p, size_t n),
                            void *arg) {
        init(c);
        c->write = write;
        c->arg = arg;
}

void delta_coder_init_read(struct delta_coder *c, ssize_t (*read)(void *arg, uint8_t *p, size_t n),
                           void *arg) {
        init(c);
        c->decoding = true;
        c->read = read;
        c->arg = arg;
        for (int i = 0; i < 3; i++)
                c->code = c->code << 16 | delta_coder_unit(c);
}

static uint32_t next_byte(struct delta_coder *c) {
        if (c->at == c->n) {
                ssize_t n = c->failed ? 0 : c->read(c->arg, c->window, sizeof(c->window));
                if (n < 0)
                        c->failed = (int)n;
                if (n <= 0) {
                        /* The encoder ends with all it owes, so nothing is ever read past its end by need
                         * but the bytes that fill the code register. */
                        if (++c->past > 8 && !c->failed)
                                c->failed = -EBADMSG;
                        return 0;
                }
                c->at = 0;
                c->n = (size_t)n;
        }
        return c->window[c->at++];
}

uint32_t delta_coder_unit(struct delta_coder *c) {
        uint32_t high = next_byte(c);
        return high << 8 | next_byte(c);
}

static void flush(struct delta_coder *c) {
        if (!c->failed)
                c->failed = c->write(c->arg, c->window, c->n);
        c->bytes += c->n;
        c->n = 0;
}

static void put(struct delta_coder *c, uint32_t unit) {
        if (c->n + 2 > sizeof(c->window))
                flush(c);
        c->window[c->n++] = (uint8_t)(unit >> 8);
        c->window[c->n++] = (uint8_t)unit;
}

void delta_coder_shift(struct delta_coder *c) {
        uint32_t carry = (uint32_t)(c->low >> 48), unit = (uint32_t)(c->low >> 32) & 0xffff;
        if (carry || unit != 0xffff) {
                if (c->started)
                        put(c, (c->cache + carry) & 0xffff);
                for (; c->pending; c->pending--)
                        put(c, carry ? 0 : 0xffff);
                c->started = true;
                c->cache = unit;
        } else if (c->started)
                c->pending++;
        else { /* the very first unit may be 0xffff */
                c->started = true;
                c->cache = unit;
        }
        c->low = (c->low & 0xffffffff) << 16;
}

int delta_coder_finish(struct delta_coder *c) {
        for (int i = 0; i < 4; i++)
                delta_coder_shift(c);
        flush(c);
        return c->failed;
}

void delta_bits_init(delta_bit *b, size_t n) {
        for (size_t i = 0; i < n; i++)
                b[i] = DELTA_BIT_INIT;
}

void delta_number_init(struct delta_number *m) {
        delta_bits_init(m->count, ARRAY_SIZE(m->count));
        delta_bits_init(&m->top[0][0], 64 * 8);
        delta_bits_init(m->low, ARRAY_SIZE(m->low));
}

uint64_t delta_coder_number(struct delta_coder *c, struct delta_number *m, uint64_t value) {
        /* value + 1 has `count` + 1 bits */
        value++;
        unsigned count = c->decoding ? 0 : 63u - (unsigned)__builtin_clzll(value);
        unsigned node = 1;
        for (int i = 5; i >= 0; i--)
                node = node << 1 | delta_coder_adaptive(c, &m->count[node], count >> i & 1);
        count = node & 63;
        uint64_t v = 1;
        unsigned top = 1;
        for (unsigned i = count; i-- > 0;) {
                unsigned bit = (unsigned)(value >> i) & 1;
                if (count - i <= 3) {
                        bit = delta_coder_adaptive(c, &m->top[count][top], bit);
                        top = top << 1 | bit;
                } else if (i < 4)
                        bit = delta_coder_adaptive(c, &m->low[8u >> i | ((unsigned)v & ((8u >> i) - 1))],
                                                   bit);
                else
                        bit = delta_coder_bit(c, 32768, bit);
                v = v << 1 | bit;
        }
        return (c->failed ? 1 : v) - 1;
}

void delta_signed_init(struct delta_signed *m) {
        delta_bits_init(&m->zero, 1);
        delta_bits_init(m->sign, 2);
        delta_number_init(&m->size[0]);
        delta_number_init(&m->size[1]);
        m->last = 0;
}

int64_t delta_coder_signed(struct delta_coder *c, struct delta_signed *m, int64_t value) {
        if (delta_coder_adaptive(c, &m->zero, value == 0))
                return 0;
        unsigned negative = delta_coder_adaptive(c, &m->sign[m->last], value < 0);
        m->last = negative;
        uint64_t size = (uint64_t)(negative ? -value : value) - 1;
        size = delta_coder_number(c, &m->size[negative], size) & (((uint64_t)1 << 62) - 1);
        return negative ? -(int64_t)size - 1 : (int64_t)size + 1;
}

unsigned delta_coder_symbol(struct delta_coder *c, delta_bit tree[256], unsigned value) {
        unsigned node = 1;
        for (int i = 7; i >= 0; i--)
                node = node << 1 | delta_coder_adaptive(c, &tree[node], value >> i & 1);
        return node & 255;
}
