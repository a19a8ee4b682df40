/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/coder_deflate.h"

#include <errno.h>
#include <string.h>

/* Choices after P. Deutsch, RFC 1951 (section 4), and what the two programs are seen to do: hash chains with
 * lazy evaluation; Huffman codes by a heap that prefers rare, then shallow nodes; lengths limited by moving
 * the deepest leaves. */
#define MATCH_MIN 3u
#define MATCH_MAX 258u
#define WINDOW 32768u
#define DISTANCE_MAX (WINDOW - (MATCH_MAX + MATCH_MIN + 1))
#define FAR_FOR_THREE 4096u
#define NOWHERE 0u /* chain end; so the first byte is never matched, as in theirs */

#define LITERALS 286u
#define DISTANCES 30u
#define LENGTH_CODES 19u
#define END_OF_BLOCK 256u

const struct delta_deflate_style delta_deflate_styles[DELTA_DEFLATE_STYLES] = {
        {9, 15, 15, 1}, /* gzip */
        {9, 15, 14, 0}, /* zlib's memLevel 8 */
        {9, 16, 15, 0}, /* zlib's memLevel 9 */
};

/* How hard is sought: from this length on less, none, or enough; steps along a chain. */
struct effort {
        uint16_t good, lazy, nice, chain;
};
static const struct effort efforts[] = {{4, 4, 16, 16},    {8, 16, 32, 32},      {8, 16, 128, 128},
                                        {8, 32, 128, 256}, {32, 128, 258, 1024}, {32, 258, 258, 4096}};

static const uint16_t length_base[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                         31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
static const uint8_t length_extra[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                         2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
static const uint16_t distance_base[30] = {1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
                                           33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
                                           1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
static const uint8_t code_order[LENGTH_CODES] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                 11, 4,  12, 3, 13, 2, 14, 1, 15};

static unsigned distance_extra(unsigned code) {
        return code < 4 ? 0 : code / 2 - 1;
}
static unsigned distance_code(unsigned distance) {
        unsigned d = distance - 1;
        if (d < 4)
                return d;
        unsigned bits = 31u - (unsigned)__builtin_clz(d);
        return bits * 2 + (d >> (bits - 1) & 1);
}
static unsigned length_code(unsigned length) {
        unsigned v = length - MATCH_MIN;
        if (v < 8 || length == MATCH_MAX)
                return v < 8 ? v : 28;
        unsigned bits = 31u - (unsigned)__builtin_clz(v);
        return bits * 4 - 4 + (v >> (bits - 2) & 3);
}

struct symbol {
        uint16_t distance; /* 0: a literal */
        uint8_t value;     /* or length - 3 */
};

#define NODES_MAX (2 * LITERALS + 1)
struct tree {
        uint32_t frequency[NODES_MAX];
        uint16_t parent[NODES_MAX];
        uint8_t depth[NODES_MAX], length[NODES_MAX];
        uint16_t code[LITERALS];
        unsigned elements, length_max, last; /* last: highest symbol in use */
};

struct deflate {
        const struct delta_deflate_style *style;
        const atomic_bool *cancel;
        struct buf *out;
        const uint8_t *p;
        size_t n, at, block_start;
        uint32_t *head, *previous;
        struct symbol *symbols;
        unsigned n_symbols, n_matches, symbols_max;
        struct tree literals, distances, lengths;
        uint64_t bits_total, bits_fixed; /* of the block, by its own codes and by the fixed ones */
        uint64_t held;
        unsigned n_held;
};

/* ---- Bits */

static void put_bits(struct deflate *d, uint32_t value, unsigned n) {
        d->held |= (uint64_t)value << d->n_held;
        d->n_held += n;
        while (d->n_held >= 8) {
                (void)buf_putc(d->out, (char)d->held); /* checked once at the end */
                d->held >>= 8;
                d->n_held -= 8;
        }
}

static void align(struct deflate *d) {
        if (d->n_held > 0)
                put_bits(d, 0, 8 - d->n_held);
}

/* ---- Codes */

static bool is_before(const struct tree *t, unsigned a, unsigned b) {
        return t->frequency[a] < t->frequency[b] ||
               (t->frequency[a] == t->frequency[b] && t->depth[a] <= t->depth[b]);
}

static void sink(const struct tree *t, uint16_t *heap, unsigned n, unsigned at) {
        uint16_t v = heap[at];
        for (unsigned child = at * 2; child <= n; child *= 2) {
                if (child < n && is_before(t, heap[child + 1], heap[child]))
                        child++;
                if (is_before(t, v, heap[child]))
                        break;
                heap[at] = heap[child];
                at = child;
        }
        heap[at] = v;
}

static unsigned fixed_length(const struct deflate *d, const struct tree *t, unsigned symbol) {
        if (t == &d->distances)
                return 5;
        return symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8;
}

static unsigned extra_bits(const struct deflate *d, const struct tree *t, unsigned symbol) {
        if (t == &d->literals)
                return symbol > END_OF_BLOCK ? length_extra[symbol - 257] : 0;
        if (t == &d->distances)
                return distance_extra(symbol);
        return symbol == 16 ? 2 : symbol == 17 ? 3 : symbol == 18 ? 7 : 0;
}

/* Gives lengths from the root down, at most length_max; order holds the nodes, rarest last. */
static void set_lengths(struct deflate *d, struct tree *t, const uint16_t *order, unsigned n) {
        unsigned count[16] = {0};
        int over = 0;
        t->length[order[0]] = 0;
        for (unsigned i = 1; i < n; i++) {
                unsigned node = order[i], length = t->length[t->parent[node]] + 1u;
                if (length > t->length_max) {
                        length = t->length_max;
                        over++;
                }
                t->length[node] = (uint8_t)length;
                if (node <= t->last)
                        count[length]++;
        }
        if (over > 0) {
                for (; over > 0; over -= 2) {
                        unsigned length = t->length_max - 1;
                        while (count[length] == 0)
                                length--;
                        count[length]--;
                        count[length + 1] += 2;
                        count[t->length_max]--;
                }
                unsigned i = n;
                for (unsigned length = t->length_max; length > 0; length--)
                        for (unsigned left = count[length]; left > 0;) {
                                unsigned node = order[--i];
                                if (node > t->last)
                                        continue;
                                t->length[node] = (uint8_t)length;
                                left--;
                        }
        }
        for (unsigned s = 0; s <= t->last; s++)
                if (t->frequency[s] > 0) {
                        unsigned extra = extra_bits(d, t, s);
                        d->bits_total += (uint64_t)t->frequency[s] * (t->length[s] + extra);
                        if (t != &d->lengths)
                                d->bits_fixed += (uint64_t)t->frequency[s] * (fixed_length(d, t, s) + extra);
                }
}

static void set_codes(struct tree *t) {
        unsigned count[16] = {0}, next[16] = {0};
        for (unsigned s = 0; s <= t->last; s++)
                count[t->length[s]]++;
        count[0] = 0;
        for (unsigned length = 1; length < 16; length++)
                next[length] = (next[length - 1] + count[length - 1]) << 1;
        for (unsigned s = 0; s <= t->last; s++) {
                unsigned length = t->length[s], code = length ? next[length]++ : 0, reversed = 0;
                for (unsigned i = 0; i < length; i++)
                        reversed |= (code >> i & 1) << (length - 1 - i);
                t->code[s] = (uint16_t)reversed;
        }
}

static void build_tree(struct deflate *d, struct tree *t) {
        uint16_t heap[NODES_MAX + 1], order[NODES_MAX] = {0};
        unsigned n = 0, node = t->elements, first = NODES_MAX;
        int last = -1;
        for (unsigned s = 0; s < t->elements; s++) {
                t->depth[s] = 0;
                t->length[s] = 0;
                if (t->frequency[s] > 0) {
                        heap[++n] = (uint16_t)s;
                        last = (int)s;
                }
        }
        while (n < 2) { /* at least two codes, which cost nothing */
                unsigned s = last < 2 ? (unsigned)++last : 0;
                heap[++n] = (uint16_t)s;
                t->frequency[s] = 1;
                d->bits_total--;
                if (t != &d->lengths)
                        d->bits_fixed -= fixed_length(d, t, s);
        }
        t->last = (unsigned)last;
        for (unsigned i = n / 2; i >= 1; i--)
                sink(t, heap, n, i);
        while (n >= 2) {
                unsigned a = heap[1];
                heap[1] = heap[n--];
                sink(t, heap, n, 1);
                unsigned b = heap[1];
                order[--first] = (uint16_t)a;
                order[--first] = (uint16_t)b;
                t->frequency[node] = t->frequency[a] + t->frequency[b];
                t->depth[node] = (uint8_t)(MAX(t->depth[a], t->depth[b]) + 1);
                t->parent[a] = t->parent[b] = (uint16_t)node;
                heap[1] = (uint16_t)node++;
                sink(t, heap, n, 1);
        }
        order[--first] = heap[1];
        set_lengths(d, t, order + first, NODES_MAX - first);
        set_codes(t);
}

/* Code lengths as they are sent: runs. Counts them, or puts them out. */
static void lengths_of(struct deflate *d, const struct tree *t, bool put) {
        struct tree *l = &d->lengths;
        int before = -1;
        for (unsigned s = 0; s <= t->last;) {
                unsigned length = t->length[s], run = 1;
                unsigned max = length == 0             ? 138
                               : (int)length == before ? 6
                                                       : 7,
                         min = length == 0 || (int)length == before ? 3 : 4;
                while (run < max && s + run <= t->last && t->length[s + run] == length)
                        run++;
                if (run < min) {
                        for (unsigned i = 0; i < run; i++)
                                if (put)
                                        put_bits(d, l->code[length], l->length[length]);
                                else
                                        l->frequency[length]++;
                } else if (length != 0) {
                        unsigned left = run;
                        if ((int)length != before) {
                                left--;
                                if (put)
                                        put_bits(d, l->code[length], l->length[length]);
                                else
                                        l->frequency[length]++;
                        }
                        if (put) {
                                put_bits(d, l->code[16], l->length[16]);
                                put_bits(d, left - 3, 2);
                        } else
                                l->frequency[16]++;
                } else {
                        unsigned symbol = run <= 10 ? 17 : 18;
                        if (put) {
                                put_bits(d, l->code[symbol], l->length[symbol]);
                                put_bits(d, run - (run <= 10 ? 3 : 11), run <= 10 ? 3 : 7);
                        } else
                                l->frequency[symbol]++;
                }
                before = (int)length;
                s += run;
        }
}

/* ---- Blocks */

static void begin_block(struct deflate *d) {
        memset(d->literals.frequency, 0, sizeof(d->literals.frequency));
        memset(d->distances.frequency, 0, sizeof(d->distances.frequency));
        memset(d->lengths.frequency, 0, sizeof(d->lengths.frequency));
        d->literals.frequency[END_OF_BLOCK] = 1;
        d->n_symbols = d->n_matches = 0;
        d->bits_total = d->bits_fixed = 0;
        d->block_start = d->at;
}

static void fixed_codes(struct deflate *d) {
        for (unsigned s = 0; s < LITERALS; s++)
                d->literals.length[s] = (uint8_t)fixed_length(d, &d->literals, s);
        /* 286 and 287 never occur but take part in the fixed code. */
        for (unsigned s = 0; s < LITERALS; s++) {
                unsigned code = s < 144   ? 48 + s
                                : s < 256 ? 400 + s - 144
                                : s < 280 ? s - 256
                                          : 192 + s - 280;
                unsigned length = d->literals.length[s], reversed = 0;
                for (unsigned i = 0; i < length; i++)
                        reversed |= (code >> i & 1) << (length - 1 - i);
                d->literals.code[s] = (uint16_t)reversed;
        }
        for (unsigned s = 0; s < DISTANCES; s++) {
                d->distances.length[s] = 5;
                d->distances.code[s] =
                        (uint16_t)((s & 1) << 4 | (s & 2) << 2 | (s & 4) | (s & 8) >> 2 | (s & 16) >> 4);
        }
}

static void put_symbols(struct deflate *d) {
        const struct tree *l = &d->literals, *x = &d->distances;
        for (unsigned i = 0; i < d->n_symbols; i++) {
                const struct symbol *s = &d->symbols[i];
                if (s->distance == 0) {
                        put_bits(d, l->code[s->value], l->length[s->value]);
                        continue;
                }
                unsigned length = s->value + MATCH_MIN, code = length_code(length);
                put_bits(d, l->code[257 + code], l->length[257 + code]);
                put_bits(d, length - length_base[code], length_extra[code]);
                code = distance_code(s->distance);
                put_bits(d, x->code[code], x->length[code]);
                put_bits(d, s->distance - distance_base[code], distance_extra(code));
        }
        put_bits(d, l->code[END_OF_BLOCK], l->length[END_OF_BLOCK]);
}

static void put_stored(struct deflate *d, size_t n, bool last) {
        put_bits(d, last, 3);
        align(d);
        put_bits(d, (uint32_t)n, 16);
        put_bits(d, (uint32_t)~n & 0xffff, 16);
        (void)buf_append(d->out, d->p + d->block_start, n);
}

static void end_block(struct deflate *d, bool last) {
        size_t stored = d->at - d->block_start;
        build_tree(d, &d->literals);
        build_tree(d, &d->distances);
        lengths_of(d, &d->literals, false);
        lengths_of(d, &d->distances, false);
        build_tree(d, &d->lengths);
        unsigned codes = LENGTH_CODES;
        while (codes > 4 && d->lengths.length[code_order[codes - 1]] == 0)
                codes--;
        d->bits_total += 3 * codes + 14;
        uint64_t own = (d->bits_total + 3 + 7) / 8, fixed = (d->bits_fixed + 3 + 7) / 8;
        uint64_t best = MIN(own, fixed);
        if (stored + 4 <= best && stored < 65536)
                put_stored(d, stored, last);
        else if (fixed == best) {
                put_bits(d, 1u << 1 | last, 3);
                fixed_codes(d);
                put_symbols(d);
        } else {
                put_bits(d, 2u << 1 | last, 3);
                put_bits(d, d->literals.last - 256, 5);
                put_bits(d, d->distances.last, 5);
                put_bits(d, codes - 4, 4);
                for (unsigned i = 0; i < codes; i++)
                        put_bits(d, d->lengths.length[code_order[i]], 3);
                lengths_of(d, &d->literals, true);
                lengths_of(d, &d->distances, true);
                put_symbols(d);
        }
        begin_block(d);
}

/* True: the block is full, or looks as if it should end. */
static bool note(struct deflate *d, unsigned distance, unsigned value) {
        d->symbols[d->n_symbols++] = (struct symbol){(uint16_t)distance, (uint8_t)value};
        if (distance == 0)
                d->literals.frequency[value]++;
        else {
                d->n_matches++;
                d->literals.frequency[257 + length_code(value + MATCH_MIN)]++;
                d->distances.frequency[distance_code(distance)]++;
        }
        if (d->style->truncates && d->n_symbols % 4096 == 0) {
                uint64_t out = (uint64_t)d->n_symbols * 8, in = d->at - d->block_start;
                for (unsigned code = 0; code < DISTANCES; code++)
                        out += (uint64_t)d->distances.frequency[code] * (5 + distance_extra(code));
                if (d->n_matches < d->n_symbols / 2 && out / 8 < in / 2)
                        return true;
        }
        return d->n_symbols == d->symbols_max;
}

/* ---- Matches */

static uint32_t insert(struct deflate *d, size_t at) {
        if (at + MATCH_MIN > d->n)
                return NOWHERE;
        unsigned shift = (d->style->hash_bits + 2u) / 3;
        uint32_t hash = ((uint32_t)d->p[at] << 2 * shift ^ (uint32_t)d->p[at + 1] << shift ^ d->p[at + 2]) &
                        ((1u << d->style->hash_bits) - 1);
        uint32_t found = d->head[hash];
        d->previous[at % WINDOW] = found;
        d->head[hash] = (uint32_t)at;
        return found;
}

static inline uint16_t load16(const uint8_t *p) {
        uint16_t v;
        memcpy(&v, p, sizeof(v));
        return v;
}

static unsigned same_bytes(const uint8_t *a, const uint8_t *b, unsigned max) {
        unsigned n = 0;
        for (; n + 8 <= max; n += 8) {
                uint64_t x, y;
                memcpy(&x, a + n, 8);
                memcpy(&y, b + n, 8);
                if (x != y)
                        break;
        }
        while (n < max && a[n] == b[n])
                n++;
        return n;
}

static unsigned longest_match(const struct deflate *d, const struct effort *e, uint32_t from, unsigned best,
                              size_t *ret_at) {
        unsigned chain = best >= e->good ? e->chain / 4u : e->chain;
        unsigned max = (unsigned)MIN((size_t)MATCH_MAX, d->n - d->at), nice = MIN((unsigned)e->nice, max);
        size_t limit = d->at > DISTANCE_MAX ? d->at - DISTANCE_MAX : NOWHERE;
        const uint8_t *scan = d->p + d->at;
        const uint32_t *previous = d->previous;
        if (best >= max)
                return max;
        uint16_t end = load16(scan + best - 1);
        do {
                const uint8_t *match = d->p + from;
                if (load16(match + best - 1) == end && load16(match) == load16(scan)) {
                        unsigned length = same_bytes(match, scan, max);
                        if (length > best) {
                                best = length;
                                *ret_at = from;
                                if (length >= nice)
                                        break;
                                end = load16(scan + best - 1);
                        }
                }
                from = previous[from % WINDOW];
        } while (from > limit && --chain != 0);
        return MIN(best, max);
}

static int compress(struct deflate *d) {
        const struct effort *e = &efforts[d->style->level - 4];
        unsigned length = MATCH_MIN - 1;
        size_t match = 0;
        bool waiting = false; /* the byte before has not been told yet */
        while (d->at < d->n) {
                if (d->cancel && atomic_load_explicit(d->cancel, memory_order_relaxed))
                        return -ECANCELED;
                uint32_t from = insert(d, d->at);
                unsigned length_before = length;
                size_t match_before = match;
                length = MATCH_MIN - 1;
                if (from != NOWHERE && length_before < e->lazy && d->at - from <= DISTANCE_MAX) {
                        length = longest_match(d, e, from, length_before, &match);
                        if (length == MATCH_MIN && d->at - match > FAR_FOR_THREE)
                                length = MATCH_MIN - 1;
                }
                if (length_before >= MATCH_MIN && length <= length_before) {
                        bool full = note(d, (unsigned)(d->at - 1 - match_before), length_before - MATCH_MIN);
                        for (unsigned i = 2; i < length_before; i++)
                                insert(d, ++d->at);
                        d->at++;
                        waiting = false;
                        length = MATCH_MIN - 1;
                        if (full)
                                end_block(d, false);
                } else {
                        if (waiting && note(d, 0, d->p[d->at - 1]))
                                end_block(d, false);
                        waiting = true;
                        d->at++;
                }
        }
        if (waiting)
                note(d, 0, d->p[d->at - 1]);
        end_block(d, true);
        align(d);
        return 0;
}

int delta_deflate(const struct delta_deflate_style *style, const uint8_t *p, size_t n,
                  const atomic_bool *cancel, struct buf *ret) {
        if (style->level < 4 || style->level > 9 || style->hash_bits < 15 || style->hash_bits > 16 ||
            style->block_bits < 14 || style->block_bits > 15 || n > UINT32_MAX / 2)
                return -EINVAL;
        struct deflate *d = calloc(1, sizeof(*d));
        if (!d)
                return -ENOMEM;
        d->style = style;
        d->cancel = cancel;
        d->out = ret;
        d->p = p;
        d->n = n;
        d->symbols_max = (1u << style->block_bits) - 1;
        d->literals = (struct tree){.elements = LITERALS, .length_max = 15};
        d->distances = (struct tree){.elements = DISTANCES, .length_max = 15};
        d->lengths = (struct tree){.elements = LENGTH_CODES, .length_max = 7};
        d->head = calloc((size_t)1 << style->hash_bits, sizeof(*d->head));
        d->previous = calloc(WINDOW, sizeof(*d->previous));
        d->symbols = calloc((size_t)1 << style->block_bits, sizeof(*d->symbols));
        int r = d->head && d->previous && d->symbols ? 0 : -ENOMEM;
        if (r == 0) {
                begin_block(d);
                r = compress(d);
                r = r < 0 ? r : buf_failed(ret);
        }
        free(d->symbols);
        free(d->previous);
        free(d->head);
        free(d);
        return r;
}
