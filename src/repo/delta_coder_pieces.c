/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta_coder_pieces.h"

#include <errno.h>

#include "repo/delta_coder_mix.h"

#define CONTEXTS 6
#define TABLE_BITS 16

enum { FIELD_GAP, FIELD_JUMP, FIELD_LENGTH };

struct delta_piece_coder {
        struct delta_logistic l;
        delta_bit *tables[CONTEXTS];
        struct delta_mixer by_field, by_node;
        unsigned kind;
        struct delta_piece_numbers past[3]; /* the newest first */
};

struct delta_piece_coder *delta_piece_coder_free(struct delta_piece_coder *x) {
        if (!x)
                return NULL;
        for (unsigned i = 0; i < CONTEXTS; i++)
                free(x->tables[i]);
        delta_mixer_done(&x->by_field);
        delta_mixer_done(&x->by_node);
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
        if (delta_mixer_init(&x->by_field, CONTEXTS + 1, 64, 65536 / 3) < 0 ||
            delta_mixer_init(&x->by_node, CONTEXTS + 1, 1024, 65536 / 3) < 0)
                return -ENOMEM;
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
        int32_t in[DELTA_MIX_INPUTS];
        for (unsigned i = 0; i < CONTEXTS; i++) {
                uint32_t hash = delta_mix_hash(context[i] + (uint64_t)node * 0xd6e8feb86659fd93u);
                bits[i] = &x->tables[i][hash >> (32 - TABLE_BITS)];
                /* What was never seen says nothing; what was seen often is trusted. */
                int32_t s = x->l.stretch[*bits[i] >> 20];
                uint32_t n = *bits[i] & 1023;
                in[i] = n == 0 ? 0 : n < 3 ? s * 3 / 4 : s;
        }
        in[CONTEXTS] = 256;
        in[CONTEXTS + 1] = 0;
        uint32_t seen = (*bits[4] & 1023 ? 1u : 0u) | (*bits[5] & 1023 ? 2u : 0u);
        int a = delta_mixer_dot(&x->by_field, in, field << 4 | seen << 2 | (*bits[3] & 1023 ? 1u : 0u));
        int b = delta_mixer_dot(&x->by_node, in, field << 8 | MIN(place, 63u) << 2 | seen);
        bit = delta_coder_bit(c, delta_logistic_mean(&x->l, a, b), bit);
        delta_mixer_update(&x->by_field, in, (int32_t)(bit << 16) - x->l.squash[2048 + a]);
        delta_mixer_update(&x->by_node, in, (int32_t)(bit << 16) - x->l.squash[2048 + b]);
        for (unsigned i = 0; i < CONTEXTS; i++)
                delta_bit_update(bits[i], bit);
        return bit;
}

/* The count of bits of value + 1 in a tree of six, then those bits below the highest, highest first. */
static uint64_t code_number(struct delta_piece_coder *x, struct delta_coder *c, unsigned field,
                            const uint64_t context[CONTEXTS], uint64_t value) {
        unsigned count = c->decoding ? 0 : 63u - (unsigned)__builtin_clzll(value + 1), node = 1;
        for (unsigned i = 6; i-- > 0;)
                node = node << 1 | code_bit(x, c, field, context, node, 5 - i, count >> i & 1);
        count = node & 63;
        uint64_t v = 1;
        for (unsigned i = count; i-- > 0;) {
                unsigned bit = (unsigned)((value + 1) >> i) & 1;
                if (i < 20)
                        bit = code_bit(x, c, field, context, (uint32_t)(v * 64 + count) + 64, 6 + count - i,
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

void delta_piece_coder_code(struct delta_piece_coder *x, struct delta_coder *c,
                            struct delta_piece_numbers *n) {
        const struct delta_piece_numbers *p = x->past;
        uint64_t last = hash3(p[0].gap, (uint64_t)p[0].jump, p[0].length),
                 before = hash3(p[1].gap, (uint64_t)p[1].jump, p[1].length);
        const uint64_t gap[CONTEXTS] = {
                hash3(1, x->kind, 0),
                hash3(2, size_of(p[0].length), size_of(p[0].gap)),
                hash3(3, p[0].length, x->kind),
                hash3(4, p[0].gap, (uint64_t)p[0].jump),
                last + 5,
                hash3(6, last, before),
        };
        n->gap = code_number(x, c, FIELD_GAP, gap, n->gap);
        const uint64_t jump[CONTEXTS] = {
                hash3(11, MIN(n->gap, (uint64_t)64), x->kind),
                hash3(12, n->gap, size_of(p[0].length)),
                hash3(13, n->gap, (uint64_t)p[0].jump),
                hash3(14, n->gap, p[0].length),
                hash3(15, last, n->gap),
                hash3(16, hash3(last, before, 0), n->gap),
        };
        uint64_t zigzag = n->jump < 0 ? ((uint64_t)-n->jump << 1) - 1 : (uint64_t)n->jump << 1;
        zigzag = code_number(x, c, FIELD_JUMP, jump, zigzag);
        n->jump = zigzag & 1 ? -(int64_t)(zigzag >> 1) - 1 : (int64_t)(zigzag >> 1);
        const uint64_t length[CONTEXTS] = {
                hash3(21, size_of(p[0].length), x->kind),
                hash3(22, n->gap, (uint64_t)n->jump),
                hash3(23, p[0].length, p[1].length),
                hash3(24, hash3(n->gap, (uint64_t)n->jump, 0), p[0].length),
                hash3(25, hash3(n->gap, (uint64_t)n->jump, 0), last),
                hash3(26, hash3(n->gap, (uint64_t)n->jump, 0), hash3(last, before, 0)),
        };
        n->length = code_number(x, c, FIELD_LENGTH, length, n->length);
        x->past[2] = x->past[1];
        x->past[1] = x->past[0];
        x->past[0] = *n;
}
