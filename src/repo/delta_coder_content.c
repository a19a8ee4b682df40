/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta_coder_content.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "repo/delta_coder_mix.h"

#define LINES_BITS 17 /* of 64 bytes: four slots */
#define INPUTS DELTA_MIX_INPUTS
#define HISTORY_SIZE ((uint32_t)2 << 20) /* of new bytes, for the match model */
#define MATCH_BITS 17
#define MATCH_MIN 5
#define CONTEXTS 6        /* of a byte */
#define DIRECT_CONTEXTS 2 /* those with a table of their own */
#define DIRECT_ROWS 1024
#define FLAG_BITS 15
#define FLAG_CONTEXTS 6
#define BLOCK 32  /* one flag says that all of a block is as predicted */
#define GROUP 512 /* and of a group of blocks */

/* ---- Bit histories: how often 0 and 1 were seen in a context, in one byte. */

struct history_state {
        uint8_t n[2];
};

static unsigned larger_max(unsigned smaller) {
        static const uint8_t max[] = {40, 20, 10, 7, 6, 6};
        return smaller < ARRAY_SIZE(max) ? max[smaller] : 0;
}

/* States are (n0, n1, last bit), the last bit being kept only where both were seen. */
struct state_table {
        struct history_state states[256];
        uint8_t next[256][2], confidence[256];
        uint8_t of[48][48][2];
        unsigned n;
};

static void states_init(struct state_table *t) {
        memset(t, 0, sizeof(*t));
        t->n = 0;
        for (unsigned total = 0; total <= 64; total++)
                for (unsigned n1 = 0; n1 <= total; n1++) {
                        unsigned n0 = total - n1;
                        if (MAX(n0, n1) > larger_max(MIN(n0, n1)))
                                continue;
                        for (unsigned last = 0; last < 2; last++) {
                                if (last && (!n0 || !n1)) {
                                        t->of[n0][n1][1] = t->of[n0][n1][0];
                                        continue;
                                }
                                t->states[t->n].n[0] = (uint8_t)n0;
                                t->states[t->n].n[1] = (uint8_t)n1;
                                t->of[n0][n1][last] = (uint8_t)t->n++;
                        }
                }
        for (unsigned s = 0; s < t->n; s++)
                for (unsigned bit = 0; bit < 2; bit++) {
                        unsigned n[2] = {t->states[s].n[0], t->states[s].n[1]};
                        /* What was seen long ago counts less once the other bit comes. */
                        if (n[!bit] > 2)
                                n[!bit] = 32u - (unsigned)__builtin_clz(n[!bit] - 1);
                        n[bit]++;
                        while (MAX(n[0], n[1]) > larger_max(MIN(n[0], n[1])))
                                n[n[0] < n[1]]--;
                        t->next[s][bit] = t->of[n[0]][n[1]][bit];
                        t->confidence[s] = (uint8_t)(t->states[s].n[0] + t->states[s].n[1]);
                }
}

/* ---- Bytes from hashed contexts */

struct byte_model {
        uint8_t *direct[DIRECT_CONTEXTS]; /* rows of 256 histories */
        uint32_t hash[CONTEXTS];
        delta_bit map[CONTEXTS][256];
        struct delta_mixer by_kind, by_state;
};

struct delta_content {
        struct delta_logistic l;
        struct state_table states;
        uint8_t *lines;
        struct byte_model literal, miss;
        uint64_t before; /* the bytes before, the nearest lowest */

        uint8_t *history;
        uint32_t *match_index;
        uint32_t written, match_at, match_length;
        delta_bit match_map[64][2];

        delta_bit group_clean[DELTA_KINDS][8], block_clean[DELTA_KINDS][16];
        delta_bit segment_clean[DELTA_KINDS][24];
        delta_bit *flags[FLAG_CONTEXTS];
        struct delta_mixer flag_by_kind, flag_by_past;
        unsigned groups_past, blocks_past;
        uint32_t misses; /* the last flags, 1: differs */
        uint8_t last_old, last_new;
};

static int byte_model_init(struct byte_model *b, const struct delta_content *m, unsigned sets_a,
                           unsigned sets_b) {
        for (unsigned i = 0; i < CONTEXTS; i++)
                for (unsigned s = 0; s < 256; s++) {
                        unsigned n0 = m->states.states[s].n[0], n1 = m->states.states[s].n[1];
                        uint32_t p = (uint32_t)(((uint64_t)(10 * n1 + 4) << 22) / (10 * (n0 + n1) + 8));
                        b->map[i][s] = (p > 4194303 ? 4194303 : p) << 10;
                }
        for (unsigned i = 0; i < DIRECT_CONTEXTS; i++) {
                b->direct[i] = calloc(DIRECT_ROWS, 256);
                if (!b->direct[i])
                        return -ENOMEM;
        }
        int r = delta_mixer_init(&b->by_kind, CONTEXTS + 1, sets_a, 65536 * 3 / 8);
        return r < 0 ? r : delta_mixer_init(&b->by_state, CONTEXTS + 1, sets_b, 65536 * 3 / 8);
}

static void byte_model_done(struct byte_model *b) {
        for (unsigned i = 0; i < DIRECT_CONTEXTS; i++)
                free(b->direct[i]);
        delta_mixer_done(&b->by_kind);
        delta_mixer_done(&b->by_state);
}

struct delta_content *delta_content_free(struct delta_content *m) {
        if (!m)
                return NULL;
        byte_model_done(&m->literal);
        byte_model_done(&m->miss);
        for (unsigned i = 0; i < FLAG_CONTEXTS; i++)
                free(m->flags[i]);
        delta_mixer_done(&m->flag_by_kind);
        delta_mixer_done(&m->flag_by_past);
        free(m->lines);
        free(m->history);
        free(m->match_index);
        free(m);
        return NULL;
}

int delta_content_new(struct delta_content **ret) {
        _cleanup_(delta_content_freep) struct delta_content *m = calloc(1, sizeof(*m));
        if (!m)
                return -ENOMEM;
        delta_logistic_init(&m->l);
        states_init(&m->states);
        m->lines = aligned_alloc((size_t)2 << 20, (size_t)64 << LINES_BITS);
        m->history = calloc(1, HISTORY_SIZE);
        m->match_index = calloc((size_t)1 << MATCH_BITS, sizeof(uint32_t));
        if (m->lines) {
                /* Reads jump about: large pages spare most of the translation. */
                (void)madvise(m->lines, (size_t)64 << LINES_BITS, MADV_HUGEPAGE);
                memset(m->lines, 0, (size_t)64 << LINES_BITS);
        }
        if (!m->lines || !m->history || !m->match_index ||
            byte_model_init(&m->literal, m, DELTA_KINDS * 8, 256 * 2) < 0 ||
            byte_model_init(&m->miss, m, DELTA_KINDS * 8, 256 * 2) < 0 ||
            delta_mixer_init(&m->flag_by_kind, FLAG_CONTEXTS + 1, DELTA_KINDS * 8, 65536 / 4) < 0 ||
            delta_mixer_init(&m->flag_by_past, FLAG_CONTEXTS + 1, 256, 65536 / 4) < 0)
                return -ENOMEM;
        for (unsigned i = 0; i < FLAG_CONTEXTS; i++) {
                m->flags[i] = malloc(sizeof(delta_bit) << FLAG_BITS);
                if (!m->flags[i])
                        return -ENOMEM;
                for (size_t k = 0; k < (size_t)1 << FLAG_BITS; k++)
                        m->flags[i][k] = (uint32_t)1 << 29;
        }
        delta_bits_init(&m->match_map[0][0], 128);
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

/* A line holds four slots: a check, then the 15 histories of one nibble. The poorest gives way. */
static uint8_t *find_slot(const struct delta_content *m, uint8_t *line, uint8_t check) {
        uint8_t *poorest = line;
        unsigned least = 255;
        for (uint8_t *slot = line; slot < line + 64; slot += 16) {
                if (slot[0] == check)
                        return slot;
                unsigned n = m->states.confidence[slot[1]];
                if (n < least) {
                        least = n;
                        poorest = slot;
                }
        }
        memset(poorest, 0, 16);
        poorest[0] = check;
        return poorest;
}

static inline uint8_t *line_of(const struct delta_content *m, uint32_t hash) {
        return m->lines + ((size_t)(hash >> (32 - LINES_BITS)) << 6);
}

/* expected: the byte that some other knowledge says comes next, or -1; trust: how far, by how often that was
 * right. set_kind and set_state choose mixing weights. */
static unsigned code_byte(struct delta_content *m, struct delta_coder *c, struct byte_model *b,
                          const uint32_t row[DIRECT_CONTEXTS], int expected, unsigned trust,
                          unsigned set_kind, unsigned set_state, unsigned value) {
        uint8_t *direct[DIRECT_CONTEXTS], *line[CONTEXTS], *slot[CONTEXTS];
        unsigned node = 1;
        for (unsigned k = DIRECT_CONTEXTS; k < CONTEXTS; k++) {
                line[k] = line_of(m, b->hash[k]);
                __builtin_prefetch(line[k]);
        }
        for (unsigned k = 0; k < DIRECT_CONTEXTS; k++)
                direct[k] = b->direct[k] + ((size_t)row[k] << 8);
        for (unsigned half = 0; half < 2; half++) {
                for (unsigned k = DIRECT_CONTEXTS; k < CONTEXTS; k++) {
                        uint32_t h = b->hash[k] * 0x2545f491u + half * node * 0x9e3779b1u;
                        if (half && k == DIRECT_CONTEXTS) /* the shortest has many continuations */
                                line[k] = line_of(m, h);
                        slot[k] = find_slot(m, line[k], (uint8_t)(h >> 20 & 255 ? h >> 20 : 1));
                }
                unsigned in_nibble = 1;
                for (unsigned i = 0; i < 4; i++) {
                        unsigned shift = 7 - half * 4 - i;
                        int32_t x[INPUTS];
                        uint8_t *history[CONTEXTS];
                        for (unsigned k = 0; k < DIRECT_CONTEXTS; k++)
                                history[k] = direct[k] + node;
                        for (unsigned k = DIRECT_CONTEXTS; k < CONTEXTS; k++)
                                history[k] = slot[k] + in_nibble;
                        for (unsigned k = 0; k < CONTEXTS; k++)
                                x[k] = m->l.stretch[b->map[k][*history[k]] >> 20];
                        delta_bit *match = NULL;
                        x[CONTEXTS] = 0;
                        if (((unsigned)expected | 256) >> (shift + 1) == node) {
                                match = &m->match_map[trust][(unsigned)expected >> shift & 1];
                                x[CONTEXTS] = m->l.stretch[*match >> 20];
                        }
                        x[CONTEXTS + 1] = 256;
                        int dot_a = delta_mixer_dot(&b->by_kind, x, set_kind);
                        int dot_b = delta_mixer_dot(&b->by_state, x, set_state << 8 | node);
                        uint32_t p = delta_logistic_mean(&m->l, dot_a, dot_b);
                        unsigned bit = delta_coder_bit(c, p, value >> shift & 1);

                        delta_mixer_update(&b->by_kind, x, (int32_t)(bit << 16) - m->l.squash[2048 + dot_a]);
                        delta_mixer_update(&b->by_state, x, (int32_t)(bit << 16) - m->l.squash[2048 + dot_b]);
                        for (unsigned k = 0; k < CONTEXTS; k++) {
                                delta_bit_update(&b->map[k][*history[k]], bit);
                                *history[k] = m->states.next[*history[k]][bit];
                        }
                        if (match)
                                delta_bit_update(match, bit);
                        node = node << 1 | bit;
                        in_nibble = in_nibble << 1 | bit;
                }
        }
        return node & 255;
}

/* ---- New bytes */

static int match_expected(const struct delta_content *m) {
        return m->match_length ? m->history[m->match_at % HISTORY_SIZE] : -1;
}

static void match_update(struct delta_content *m, uint8_t byte) {
        if (m->match_length && m->history[m->match_at % HISTORY_SIZE] == byte) {
                m->match_at++;
                if (m->match_length < 65535)
                        m->match_length++;
        } else
                m->match_length = 0;
        m->history[m->written++ % HISTORY_SIZE] = byte;
        uint32_t hash = delta_mix_hash(m->before & 0xffffffffffull) >> (32 - MATCH_BITS);
        if (!m->match_length && m->match_index[hash]) {
                m->match_at = m->match_index[hash];
                uint32_t n = 0;
                while (n < 32 && n + 1 < m->written && m->written - m->match_at + n < HISTORY_SIZE - 1 &&
                       m->history[(m->match_at - n - 1) % HISTORY_SIZE] ==
                               m->history[(m->written - n - 1) % HISTORY_SIZE])
                        n++;
                m->match_length = n >= MATCH_MIN ? n : 0;
        }
        m->match_index[hash] = m->written;
}

static unsigned match_trust(const struct delta_content *m) {
        unsigned n = m->match_length;
        return n < 16    ? n
               : n < 32  ? 16 + (n - 16) / 4
               : n < 64  ? 20 + (n - 32) / 8
               : n < 512 ? 24 + n / 128
                         : 29;
}

void delta_content_literal(struct delta_content *m, struct delta_coder *c, unsigned kind, int64_t at,
                           uint8_t *p, size_t n) {
        struct byte_model *b = &m->literal;
        kind %= DELTA_KINDS;
        for (size_t i = 0; i < n; i++, at++) {
                if (c->failed) { /* what is left would be noise: it takes long and is thrown away */
                        memset(p + i, 0, c->decoding ? n - i : 0);
                        return;
                }
                uint64_t w = m->before;
                const uint32_t row[DIRECT_CONTEXTS] = {(uint32_t)(w & 0xff),
                                                       (uint32_t)((w >> 8 & 0xff) << 2 | ((uint64_t)at & 3))};
                b->hash[2] = delta_mix_hash((w & 0xffff) | 2ull << 56);
                b->hash[3] = delta_mix_hash((w & 0xffffff) | 3ull << 56);
                b->hash[4] = delta_mix_hash((w & 0xffffffff) | 4ull << 56);
                b->hash[5] = delta_mix_hash((w & 0xffffffffffffull) | 5ull << 56);
                unsigned trust = match_trust(m);
                unsigned set = trust == 0 ? 0 : trust < 16 ? 1 : trust < 24 ? 2 : 3;
                p[i] = (uint8_t)code_byte(m, c, b, row, match_expected(m), trust, kind * 8 + set,
                                          m->match_length > 0, p[i]);
                m->before = w << 8 | p[i];
                match_update(m, p[i]);
        }
}

/* ---- Bytes that have a prediction */

static bool code_flag(struct delta_content *m, struct delta_coder *c, unsigned kind, int64_t at,
                      const uint8_t *predicted, size_t i, size_t n, bool miss) {
        uint64_t w = m->before;
        uint32_t p = predicted[i], next = i + 1 < n ? predicted[i + 1] : 256, past = m->misses;
        uint32_t hash[FLAG_CONTEXTS] = {
                delta_mix_hash(kind | (past & 0xff) << 8 | (uint64_t)(at & 7) << 24 | 1ull << 56),
                delta_mix_hash(p | (w & 0xff) << 8 | (past & 3) << 24 | (uint64_t)kind << 32 | 2ull << 56),
                delta_mix_hash(p | (w & 0xffff) << 8 | (past & 3) << 24 | 3ull << 56),
                delta_mix_hash(p | (uint64_t)next << 8 | (w & 0xff) << 24 | (uint64_t)(past & 15) << 40 |
                               4ull << 56),
                delta_mix_hash((w & 0xffffff) | (uint64_t)(past & 15) << 24 | (uint64_t)kind << 32 |
                               5ull << 56),
                delta_mix_hash((uint64_t)(at % 24) | (past & 0xfff) << 8 | (uint64_t)kind << 32 | 6ull << 56),
        };
        delta_bit *bits[FLAG_CONTEXTS];
        int32_t x[INPUTS];
        for (unsigned k = 0; k < FLAG_CONTEXTS; k++) {
                bits[k] = &m->flags[k][hash[k] >> (32 - FLAG_BITS)];
                x[k] = m->l.stretch[*bits[k] >> 20];
        }
        x[FLAG_CONTEXTS] = 256;
        x[FLAG_CONTEXTS + 1] = 0;
        int dot_a = delta_mixer_dot(&m->flag_by_kind, x, kind * 8 + (past & 7));
        int dot_b = delta_mixer_dot(&m->flag_by_past, x, past & 255);
        uint32_t q = delta_logistic_mean(&m->l, dot_a, dot_b);
        unsigned bit = delta_coder_bit(c, q, miss);
        delta_mixer_update(&m->flag_by_kind, x, (int32_t)(bit << 16) - m->l.squash[2048 + dot_a]);
        delta_mixer_update(&m->flag_by_past, x, (int32_t)(bit << 16) - m->l.squash[2048 + dot_b]);
        for (unsigned k = 0; k < FLAG_CONTEXTS; k++)
                delta_bit_update(bits[k], bit);
        m->misses = past << 1 | bit;
        return bit;
}

static uint8_t code_miss(struct delta_content *m, struct delta_coder *c, unsigned kind, int64_t at,
                         uint8_t predicted, unsigned next, uint8_t value) {
        struct byte_model *b = &m->miss;
        uint64_t w = m->before, p = predicted;
        const uint32_t row[DIRECT_CONTEXTS] = {predicted,
                                               kind << 5 | ((uint32_t)at & 7) << 2 | (m->misses >> 1 & 3)};
        b->hash[2] = delta_mix_hash(p | (w & 0xff) << 8 | 12ull << 56);
        b->hash[3] = delta_mix_hash(p | (w & 0xffff) << 8 | 13ull << 56);
        b->hash[4] =
                delta_mix_hash(p | (uint64_t)m->last_old << 8 | (uint64_t)m->last_new << 16 | 15ull << 56);
        b->hash[5] = delta_mix_hash(p | (w & 0xffff) << 8 | (uint64_t)next << 24 | 17ull << 56);
        uint8_t difference = (uint8_t)(m->last_new - m->last_old);
        int expected = (uint8_t)(predicted + difference);
        value = (uint8_t)code_byte(m, c, b, row, difference ? expected : -1, 32 + (kind & 31),
                                   kind * 8 + (m->misses >> 1 & 7), m->misses >> 1 & 1, value);
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
                        p[i] = code_miss(m, c, kind, at + (int64_t)i, predicted[i],
                                         i + 1 < known ? predicted[i + 1] : 256, p[i]);
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
