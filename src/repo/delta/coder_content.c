/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/coder_content.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "repo/delta/coder_mix.h"

#define HISTORY_SIZE ((uint32_t)2 << 20) /* of new bytes, for the match model */
#define MATCH_BITS 16
#define MATCH_MIN 5
#define TRUSTS 32 /* levels of how far a match is trusted */
#define FLAG_BITS 15
#define CONTEXTS DELTA_MIX_BITS
#define BLOCK 32  /* one flag says that all of a block is as predicted */
#define GROUP 512 /* and of a group of blocks */

/* Bytes told by three contexts, hashed: each has a line of 16 learnt bits for either half of a byte. */
struct byte_model {
        delta_bit *table[CONTEXTS];
        unsigned bits;
        struct delta_mixer mixer;
};

struct delta_content {
        struct delta_logistic l;
        delta_bit *tables;
        struct byte_model literal, miss;
        uint64_t before; /* the bytes before, the nearest lowest */

        uint8_t *history;
        uint32_t *match_index;
        uint32_t written, match_at, match_length;
        delta_bit match_right[DELTA_KINDS][TRUSTS], shift_right[DELTA_KINDS][8];

        delta_bit group_clean[DELTA_KINDS][8], block_clean[DELTA_KINDS][16];
        delta_bit segment_clean[DELTA_KINDS][24];
        delta_bit *flags[CONTEXTS];
        struct delta_mixer flag_mixer;
        unsigned groups_past, blocks_past, shifts_past;
        uint32_t misses; /* the last flags, 1: differs */
        uint8_t last_old, last_new;
};

/* Learnt bits lie together: reads jump about, and one large page spares most of the translation. */
static int make_tables(struct delta_content *m, unsigned bits) {
        const size_t large = (size_t)2 << 20;
        size_t literal = (size_t)1 << bits, miss = literal / 2, flag = (size_t)1 << FLAG_BITS;
        size_t size = CONTEXTS * (literal + miss + flag) * sizeof(delta_bit);
        delta_bit *at = m->tables = aligned_alloc(large, (size + large - 1) / large * large);
        if (!at)
                return -ENOMEM;
        if (size > large / 2)
                (void)madvise(at, size, MADV_HUGEPAGE);
        m->literal.bits = bits;
        m->miss.bits = bits - 1;
        for (unsigned i = 0; i < CONTEXTS; i++) {
                delta_bits_init(m->literal.table[i] = at, literal);
                delta_bits_init(m->miss.table[i] = at + literal, miss);
                m->flags[i] = at + literal + miss;
                for (size_t k = 0; k < flag; k++)
                        m->flags[i][k] = (delta_bit)1 << 29;
                at += literal + miss + flag;
        }
        return 0;
}

struct delta_content *delta_content_free(struct delta_content *m) {
        if (!m)
                return NULL;
        free(m->tables);
        delta_mixer_done(&m->literal.mixer);
        delta_mixer_done(&m->miss.mixer);
        delta_mixer_done(&m->flag_mixer);
        free(m->history);
        free(m->match_index);
        free(m);
        return NULL;
}

int delta_content_new(unsigned bits, struct delta_content **ret) {
        _cleanup_(delta_content_freep) struct delta_content *m = calloc(1, sizeof(*m));
        if (!m)
                return -ENOMEM;
        delta_logistic_init(&m->l);
        m->history = calloc(1, HISTORY_SIZE);
        m->match_index = calloc((size_t)1 << MATCH_BITS, sizeof(uint32_t));
        if (!m->history || !m->match_index || make_tables(m, bits) < 0 ||
            delta_mixer_init(&m->literal.mixer, DELTA_KINDS * 2 * 256) < 0 ||
            delta_mixer_init(&m->miss.mixer, DELTA_KINDS * 2 * 256) < 0 ||
            delta_mixer_init(&m->flag_mixer, DELTA_KINDS * 8) < 0)
                return -ENOMEM;
        delta_bits_init(&m->match_right[0][0], DELTA_KINDS * TRUSTS);
        delta_bits_init(&m->shift_right[0][0], DELTA_KINDS * 8);
        delta_bits_init(&m->group_clean[0][0], DELTA_KINDS * 8);
        delta_bits_init(&m->block_clean[0][0], DELTA_KINDS * 16);
        delta_bits_init(&m->segment_clean[0][0], DELTA_KINDS * 24);
        *ret = TAKE_PTR(m);
        return 0;
}

void delta_content_forget(struct delta_content *m) {
        m->before = 0;
        m->match_length = 0;
}

void delta_content_note(struct delta_content *m, const uint8_t *p, size_t n) {
        for (size_t i = n > 8 ? n - 8 : 0; i < n; i++)
                m->before = m->before << 8 | p[i];
}

static inline delta_bit *line_of(const struct byte_model *b, unsigned i, uint32_t hash) {
        return b->table[i] + ((size_t)(hash >> (36 - b->bits)) << 4);
}

/* hash: of the contexts; set: of 2 * DELTA_KINDS, chooses the mixer's weights. */
static inline unsigned code_bits(struct delta_content *m, struct delta_coder *c, struct delta_reading *r,
                                 struct byte_model *b, const uint32_t hash[CONTEXTS], unsigned set,
                                 unsigned value) {
        delta_bit *lines[CONTEXTS];
        unsigned node = 1;
        for (unsigned half = 0; half < 2; half++) {
                for (unsigned k = 0; k < CONTEXTS; k++)
                        lines[k] = line_of(b, k, half ? (hash[k] + node) * 0x9e3779b1u : hash[k]);
                for (unsigned i = 0, in_half = 1; i < 4; i++) {
                        unsigned shift = 7 - half * 4 - i;
                        delta_bit *const bits[CONTEXTS] = {lines[0] + in_half, lines[1] + in_half,
                                                           lines[2] + in_half};
                        unsigned bit = delta_mixer_code(&b->mixer, &m->l, c, r, set << 8 | node, bits,
                                                        value >> shift & 1);
                        node = node << 1 | bit;
                        in_half = in_half << 1 | bit;
                }
        }
        return node & 255;
}

static unsigned code_byte(struct delta_content *m, struct delta_coder *c, struct byte_model *b,
                          const uint32_t hash[CONTEXTS], unsigned set, unsigned value) {
        if (!c->decoding)
                return code_bits(m, c, NULL, b, hash, set, value);
        struct delta_reading r = {c->range, c->code};
        value = code_bits(m, c, &r, b, hash, set, 0);
        c->range = r.range;
        c->code = r.code;
        return value;
}

/* ---- New bytes */

static uint32_t *match_slot(const struct delta_content *m) {
        return &m->match_index[delta_mix_hash(m->before & 0xffffffffffull) >> (32 - MATCH_BITS)];
}

/* slot: that of the five bytes before this one. It was asked for a byte earlier, so that memory had time. */
static void match_update(struct delta_content *m, uint32_t *slot, uint8_t byte) {
        uint32_t at = m->written++, place = *slot;
        if (m->match_length && m->history[m->match_at % HISTORY_SIZE] == byte) {
                m->match_at++;
                if (m->match_length < 65535)
                        m->match_length++;
        } else
                m->match_length = 0;
        m->history[at % HISTORY_SIZE] = byte;
        if (!m->match_length && place && m->history[place % HISTORY_SIZE] == byte) {
                uint32_t n = 1;
                while (n < 32 && n <= place && at - place + n < HISTORY_SIZE &&
                       m->history[(place - n) % HISTORY_SIZE] == m->history[(at - n) % HISTORY_SIZE])
                        n++;
                if (n >= MATCH_MIN && at - place < HISTORY_SIZE - 1) {
                        m->match_at = place + 1;
                        m->match_length = n;
                }
        }
        *slot = at;
}

static unsigned match_trust(const struct delta_content *m) {
        unsigned n = m->match_length;
        return n < 16    ? n
               : n < 32  ? 16 + (n - 16) / 4
               : n < 64  ? 20 + (n - 32) / 8
               : n < 512 ? 24 + n / 128
                         : 29;
}

static uint8_t code_literal(struct delta_content *m, struct delta_coder *c, unsigned kind, int64_t at,
                            uint8_t value) {
        uint64_t w = m->before;
        if (m->match_length) {
                uint8_t expected = m->history[m->match_at % HISTORY_SIZE];
                if (delta_coder_adaptive(c, &m->match_right[kind][match_trust(m)], value == expected))
                        return expected;
        }
        const uint32_t hash[CONTEXTS] = {
                delta_mix_hash((w & 0xff) | ((uint64_t)at & 3) << 8 | (uint64_t)kind << 16 | 1ull << 56),
                delta_mix_hash((w & 0xffff) | (uint64_t)kind << 16 | 2ull << 56),
                delta_mix_hash((w & 0xffffff) | 3ull << 56),
        };
        return (uint8_t)code_byte(m, c, &m->literal, hash, kind * 2 + (m->match_length > 0), value);
}

void delta_content_literal(struct delta_content *m, struct delta_coder *c, unsigned kind, int64_t at,
                           uint8_t *p, size_t n) {
        uint32_t *slot = match_slot(m);
        kind %= DELTA_KINDS;
        for (size_t i = 0; i < n; i++, at++) {
                __builtin_prefetch(&m->history[*slot % HISTORY_SIZE]);
                if (c->failed) { /* what is left would be noise: it takes long and is thrown away */
                        memset(p + i, 0, c->decoding ? n - i : 0);
                        return;
                }
                p[i] = code_literal(m, c, kind, at, p[i]);
                m->before = m->before << 8 | p[i];
                uint32_t *next = match_slot(m);
                __builtin_prefetch(next);
                match_update(m, slot, p[i]);
                slot = next;
        }
}

/* ---- Bytes that have a prediction */

static bool code_flag(struct delta_content *m, struct delta_coder *c, unsigned kind, int64_t at,
                      const uint8_t *predicted, size_t i, size_t n, bool miss) {
        uint64_t w = m->before;
        uint32_t p = predicted[i], next = i + 1 < n ? predicted[i + 1] : 256, past = m->misses;
        const uint32_t hash[CONTEXTS] = {
                delta_mix_hash(kind | (past & 0xff) << 8 | (uint64_t)(at & 7) << 24 | 1ull << 56),
                delta_mix_hash(p | (w & 0xff) << 8 | (past & 3) << 24 | (uint64_t)kind << 32 | 2ull << 56),
                delta_mix_hash(p | (uint64_t)next << 8 | (w & 0xff) << 24 | (uint64_t)(past & 15) << 40 |
                               4ull << 56),
        };
        delta_bit *const bits[CONTEXTS] = {&m->flags[0][hash[0] >> (32 - FLAG_BITS)],
                                           &m->flags[1][hash[1] >> (32 - FLAG_BITS)],
                                           &m->flags[2][hash[2] >> (32 - FLAG_BITS)]};
        unsigned bit = delta_mixer_code(&m->flag_mixer, &m->l, c, NULL, kind * 8 + (past & 7), bits, miss);
        m->misses = past << 1 | bit;
        return bit;
}

static uint8_t code_miss(struct delta_content *m, struct delta_coder *c, unsigned kind, int64_t at,
                         uint8_t predicted, uint8_t value) {
        uint64_t w = m->before, p = predicted;
        uint8_t difference = (uint8_t)(m->last_new - m->last_old), expected = (uint8_t)(p + difference);
        bool right = false;
        if (difference) {
                right = delta_coder_adaptive(c, &m->shift_right[kind][m->shifts_past & 7], value == expected);
                m->shifts_past = m->shifts_past << 1 | right;
                value = right ? expected : value;
        }
        if (!right) {
                const uint32_t hash[CONTEXTS] = {
                        delta_mix_hash(kind | ((uint64_t)at & 7) << 8 | (uint64_t)(m->misses >> 1 & 3) << 16 |
                                       11ull << 56),
                        delta_mix_hash(p | (w & 0xff) << 8 | (uint64_t)kind << 16 | 12ull << 56),
                        delta_mix_hash(p | (uint64_t)m->last_old << 8 | (uint64_t)m->last_new << 16 |
                                       13ull << 56),
                };
                value = (uint8_t)code_byte(m, c, &m->miss, hash, kind * 2 + (m->misses >> 1 & 1), value);
        }
        m->last_old = predicted;
        m->last_new = value;
        return value;
}

static void code_block(struct delta_content *m, struct delta_coder *c, unsigned kind, int64_t at,
                       const uint8_t *predicted, uint8_t *p, size_t n, size_t known) {
        bool any = false;
        for (size_t i = 0; i < n; i++) {
                bool miss = p[i] != predicted[i];
                /* A dirty block has a difference: the last byte must be it when no other was. */
                if (i + 1 < n || any)
                        miss = code_flag(m, c, kind, at + (int64_t)i, predicted, i, known, miss);
                else
                        miss = true;
                any |= miss;
                if (miss)
                        p[i] = code_miss(m, c, kind, at + (int64_t)i, predicted[i], p[i]);
                else
                        p[i] = predicted[i];
                m->before = m->before << 8 | p[i];
        }
}

static size_t to_boundary(int64_t at, size_t n, size_t unit) {
        size_t left = unit - (size_t)((uint64_t)at % unit);
        return MIN(left, n);
}

static void code_group(struct delta_content *m, struct delta_coder *c, unsigned kind, int64_t at,
                       const uint8_t *predicted, uint8_t *p, size_t n, size_t known) {
        for (size_t done = 0; done < n;) {
                size_t k = to_boundary(at + (int64_t)done, n - done, BLOCK);
                bool clean = !c->decoding && memcmp(p + done, predicted + done, k) == 0;
                clean = delta_coder_adaptive(c, &m->block_clean[kind][m->blocks_past & 15], clean);
                m->blocks_past = m->blocks_past << 1 | !clean;
                if (clean) {
                        memcpy(p + done, predicted + done, k);
                        delta_content_note(m, p + done, k);
                        m->misses = 0;
                } else
                        code_block(m, c, kind, at + (int64_t)done, predicted + done, p + done, k,
                                   known - done);
                done += k;
        }
}

void delta_content_difference(struct delta_content *m, struct delta_coder *c, unsigned kind, int64_t at,
                              const uint8_t *predicted, uint8_t *p, size_t n) {
        kind %= DELTA_KINDS;
        if (n == 0)
                return;
        if (c->failed) {
                memset(p, 0, c->decoding ? n : 0);
                return;
        }
        unsigned size = 63u - (unsigned)__builtin_clzll(n);
        bool clean = !c->decoding && memcmp(p, predicted, n) == 0;
        clean = delta_coder_adaptive(c, &m->segment_clean[kind][MIN(size, 23u)], clean);
        if (clean) {
                memcpy(p, predicted, n);
                delta_content_note(m, p, n);
                return;
        }
        for (size_t done = 0; done < n;) {
                size_t k = to_boundary(at + (int64_t)done, n - done, GROUP);
                clean = !c->decoding && memcmp(p + done, predicted + done, k) == 0;
                clean = delta_coder_adaptive(c, &m->group_clean[kind][m->groups_past & 7], clean);
                m->groups_past = m->groups_past << 1 | !clean;
                if (clean) {
                        memcpy(p + done, predicted + done, k);
                        delta_content_note(m, p + done, k);
                } else
                        code_group(m, c, kind, at + (int64_t)done, predicted + done, p + done, k, n - done);
                done += k;
        }
}
