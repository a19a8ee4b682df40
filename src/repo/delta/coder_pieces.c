/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/coder_pieces.h"

#include <errno.h>

#include "repo/delta/coder_mix.h"

#define CONTEXTS DELTA_MIX_BITS
#define TABLE_BITS 16
#define KNOWN_BITS 15 /* what followed two pieces the last time */

enum { FIELD_GAP, FIELD_JUMP, FIELD_LENGTH };

struct known {
        struct delta_piece_numbers next;
        uint32_t trust; /* how often in a row that was right, at most 15; 0 with no numbers: never met */
};

struct delta_piece_coder {
        struct delta_logistic l;
        delta_bit *tables[CONTEXTS];
        struct known *known;
        delta_bit as_known[16][4];
        struct delta_mixer mixer;
        unsigned kind, hits;                /* hits: of the last pieces, which were as known */
        struct delta_piece_numbers past[2]; /* the newest first */
};

struct delta_piece_coder *delta_piece_coder_free(struct delta_piece_coder *x) {
        if (!x)
                return NULL;
        for (unsigned i = 0; i < CONTEXTS; i++)
                free(x->tables[i]);
        free(x->known);
        delta_mixer_done(&x->mixer);
        free(x);
        return NULL;
}

int delta_piece_coder_new(struct delta_piece_coder **ret) {
        _cleanup_(delta_piece_coder_freep) struct delta_piece_coder *x = calloc(1, sizeof(*x));
        if (!x)
                return -ENOMEM;
        delta_logistic_init(&x->l);
        for (unsigned i = 0; i < CONTEXTS; i++) {
                x->tables[i] = malloc(sizeof(delta_bit) << TABLE_BITS);
                if (!x->tables[i])
                        return -ENOMEM;
                delta_bits_init(x->tables[i], (size_t)1 << TABLE_BITS);
        }
        x->known = calloc((size_t)1 << KNOWN_BITS, sizeof(*x->known));
        if (!x->known || delta_mixer_init(&x->mixer, 1024) < 0)
                return -ENOMEM;
        delta_bits_init(&x->as_known[0][0], 64);
        *ret = TAKE_PTR(x);
        return 0;
}

void delta_piece_coder_begin(struct delta_piece_coder *x, unsigned kind) {
        x->kind = kind;
        for (unsigned i = 0; i < ARRAY_SIZE(x->past); i++)
                x->past[i] = (struct delta_piece_numbers){0, 0, 0};
}

/* One bit at `node`, a place in the number that names all bits of it before. */
static unsigned code_bit(struct delta_piece_coder *x, struct delta_coder *c, unsigned field,
                         const uint64_t context[CONTEXTS], uint32_t node, unsigned place, unsigned bit) {
        delta_bit *bits[CONTEXTS];
        for (unsigned i = 0; i < CONTEXTS; i++)
                bits[i] = &x->tables[i][delta_mix_hash(context[i] + (uint64_t)node * 0xd6e8feb86659fd93u) >>
                                        (32 - TABLE_BITS)];
        uint32_t seen = (*bits[1] & 1023 ? 1u : 0u) | (*bits[2] & 1023 ? 2u : 0u);
        return delta_mixer_code(&x->mixer, &x->l, c, NULL, field << 8 | MIN(place, 63u) << 2 | seen, bits,
                                bit);
}

/* The count of bits of value + 1 in a tree of six, then those bits below the highest, highest first. */
static uint64_t code_number(struct delta_piece_coder *x, struct delta_coder *c, unsigned field,
                            const uint64_t context[CONTEXTS], uint64_t value) {
        unsigned count = c->decoding ? 0 : 63u - (unsigned)__builtin_clzll(value + 1), node = 1;
        if (code_bit(x, c, field, context, 0, 0, count == 0))
                return 0;
        for (unsigned i = 6; i-- > 0;)
                node = node << 1 | code_bit(x, c, field, context, node, 6 - i, count >> i & 1);
        count = node & 63;
        uint64_t v = 1;
        for (unsigned i = count; i-- > 0;) {
                unsigned bit = (unsigned)((value + 1) >> i) & 1;
                if (i < 20)
                        bit = code_bit(x, c, field, context, (uint32_t)(v * 64 + count) + 64, 7 + count - i,
                                       bit);
                else
                        bit = delta_coder_bit(c, 32768, bit);
                v = v << 1 | bit;
        }
        return (c->failed ? 1 : v) - 1;
}

static uint64_t hash3(uint64_t a, uint64_t b, uint64_t c) {
        return ((a * 0xff51afd7ed558ccdu ^ b) * 0xc4ceb9fe1a85ec53u ^ c) * 0x9e3779b97f4a7c15u;
}

static uint64_t size_of(uint64_t v) {
        return 63u - (unsigned)__builtin_clzll(v + 1);
}

static bool is_same(const struct delta_piece_numbers *a, const struct delta_piece_numbers *b) {
        return a->gap == b->gap && a->jump == b->jump && a->length == b->length;
}

static void code_numbers(struct delta_piece_coder *x, struct delta_coder *c, uint64_t last,
                         struct delta_piece_numbers *n) {
        const struct delta_piece_numbers *p = x->past;
        const uint64_t gap[CONTEXTS] = {
                hash3(2, size_of(p[0].length) << 8 | size_of(p[0].gap), x->kind),
                hash3(3, p[0].length, x->kind),
                last + 5,
        };
        n->gap = code_number(x, c, FIELD_GAP, gap, n->gap);
        const uint64_t jump[CONTEXTS] = {
                hash3(12, n->gap, size_of(p[0].length) << 8 | x->kind),
                hash3(13, n->gap, (uint64_t)p[0].jump),
                hash3(15, last, n->gap),
        };
        uint64_t zigzag = n->jump < 0 ? ((uint64_t)-n->jump << 1) - 1 : (uint64_t)n->jump << 1;
        zigzag = code_number(x, c, FIELD_JUMP, jump, zigzag);
        n->jump = zigzag & 1 ? -(int64_t)(zigzag >> 1) - 1 : (int64_t)(zigzag >> 1);
        const uint64_t length[CONTEXTS] = {
                hash3(21, size_of(p[0].length), x->kind),
                hash3(22, n->gap, (uint64_t)n->jump),
                hash3(25, hash3(n->gap, (uint64_t)n->jump, 0), last),
        };
        n->length = code_number(x, c, FIELD_LENGTH, length, n->length);
}

void delta_piece_coder_code(struct delta_piece_coder *x, struct delta_coder *c,
                            struct delta_piece_numbers *n) {
        const struct delta_piece_numbers *p = x->past;
        uint64_t last = hash3(p[0].gap, (uint64_t)p[0].jump, p[0].length),
                 before = hash3(p[1].gap, (uint64_t)p[1].jump, p[1].length);
        struct known *known = &x->known[delta_mix_hash(hash3(6, last, before)) >> (32 - KNOWN_BITS)];
        bool hit = !c->decoding && is_same(n, &known->next);
        hit = delta_coder_adaptive(c, &x->as_known[known->trust][x->hits & 3], hit);
        x->hits = x->hits << 1 | hit;
        if (hit) {
                *n = known->next;
                known->trust = MIN(known->trust + 1, 15u);
        } else {
                code_numbers(x, c, last, n);
                *known = (struct known){*n, 1};
        }
        x->past[1] = x->past[0];
        x->past[0] = *n;
}
